//! What can stand over a pane: forms, lists to pick from, the decision screen, raw bytes, help.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::super::action::Do;
use super::super::theme::Role;
use super::super::words::Said;
use super::doc::Doc;
use super::evidence::Mark;
use super::input::Input;
use super::playbook::For;
use crate::desk::playbook_draft::DraftPage;
use crate::desk::{Asked, OfferedAct, StepOffer};
use crate::model::act::Act;
use crate::model::action::{Draft, Finding, Request, Suggested, Tried};
use crate::model::alert::AlertRow;
use crate::model::course::Rung;
use crate::model::ids::{AlertId, CaseId, PersonId, RequestId};
use crate::model::playbook_run::Event;
use crate::model::query::{Count, Query, QueryError};
use crate::model::verdict::{Claim, VerdictKind};

#[derive(Clone, Debug)]
pub enum Overlay {
    Filter(Box<FilterInput>),
    Form(Box<Form>),
    Picker(Box<Picker>),
    Decide(Box<Decide>),
    Raw(Box<RawView>),
    /// Text to read: help, an explanation.
    Sheet(Box<Sheet>),
    /// A draft of a playbook, to be decided about.
    Review(Box<Review>),
}

/// A draft as it was when it was opened or last changed.
#[derive(Clone, Debug)]
pub struct Review {
    pub page: DraftPage,
    pub doc: Doc,
    pub scroll: usize,
}

/// `/`.
#[derive(Clone, Debug)]
pub struct FilterInput {
    pub input: Input,
    /// What the desk says of the text, for exactly that text.
    pub parsed: Option<(String, Result<Query, QueryError>)>,
}

/// A field of a form.
#[derive(Clone, Debug)]
pub struct Field {
    pub label: &'static str,
    /// A name that is not ours, such as a parameter's: used instead of `label`.
    pub name: Option<String>,
    pub kind: FieldKind,
    pub hint: Said,
    pub required: bool,
}

#[derive(Clone, Debug)]
pub enum FieldKind {
    Text(Input),
    /// Options with the key that picks each, and which is chosen.
    Choice {
        options: Vec<(char, Said)>,
        chosen: Option<usize>,
    },
}

/// What a form is for; it decides what is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Purpose {
    Close,
    Snooze,
    Note,
    Prioritise,
    NewCase,
    SaveView,
    Suppress,
    Deny(RequestId),
    /// Why a closed error budget is set aside for this request.
    OverBudget(RequestId),
    /// A question about a request, or the answer to one.
    Talk {
        id: RequestId,
        answer: bool,
    },
    /// Why exactly these contents are to run on one person's word.
    BreakGlass {
        id: RequestId,
        digest: String,
    },
    /// What is found of something that ran so.
    GlassReview(RequestId),
    KillSwitch {
        on: bool,
    },
    Propose {
        action: String,
    },
    /// What a person says to the verdict of this request, which said that.
    Review {
        request: String,
        said: VerdictKind,
    },
    /// A question about an alert.
    Ask,
    Columns,
    /// Values a playbook asks for before it starts.
    StartPlaybook {
        key: String,
        of: For,
    },
    /// Something about a step of a run, by the number of its visit.
    Step {
        run: String,
        visit: u32,
        what: StepWhat,
    },
    /// Why a draft of this id and version ends.
    RejectDraft {
        id: String,
        hash: String,
    },
    /// The short form of a draft of this id and version.
    EditDraft {
        id: String,
        hash: String,
    },
    /// Why a run is given up.
    CancelPlaybook {
        run: String,
    },
    /// What is said of a deadline of a run, by its clock.
    Deadline {
        run: String,
        clock: String,
    },
    /// A time from which deadlines count, by its variable.
    DeadlineFrom {
        run: String,
        name: String,
    },
    /// An action a step proposes.
    ProposeStep {
        run: String,
        visit: u32,
        action: String,
        case: Option<CaseId>,
    },
    /// New contents of one's own request; its origin stays what it is.
    EditRequest {
        id: RequestId,
        action: String,
        suggested: Suggested,
        case: Option<CaseId>,
    },
    /// Where the run sheet is written.
    RunSheet {
        run: String,
    },
    CloseCase(CaseId),
    ReopenCase(CaseId),
}

/// What is said about a step.
#[derive(Clone, Debug, PartialEq)]
pub enum StepWhat {
    Done,
    Fail,
    Skip,
    Note,
    /// Roles that have not signed yet.
    Sign(Vec<String>),
    /// Branches to choose from.
    Decide(Vec<String>),
    /// A file to keep as evidence.
    Attach,
}

/// What a proposal would become, found out while the form is filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// What was asked about, without its reason.
    pub draft: Draft,
    pub since: Timestamp,
    /// The answer to this or an earlier one is awaited.
    pub in_flight: bool,
    pub result: Option<Result<Box<Tried>, Said>>,
}

/// How many alerts a suppression would hide, and some of them.
pub type Preview = Result<(Count, Vec<AlertRow>), Said>;

#[derive(Clone, Debug)]
pub struct Form {
    pub purpose: Purpose,
    pub title: Said,
    /// Lines above the fields.
    pub lead: Vec<(Said, Role)>,
    pub fields: Vec<Field>,
    pub focus: usize,
    pub error: Option<Said>,
    /// Sent and waiting for the desk, since then.
    pub busy: Option<Timestamp>,
    /// The alerts it is for, fixed when it was opened.
    pub alerts: Vec<AlertId>,
    /// For a suppression: what it would hide.
    pub preview: Option<(String, Preview)>,
    /// For a proposal that is tried out before it is made.
    pub trial: Option<Trial>,
    /// What is proposed with it, in this order, for the same reason.
    pub then: Vec<OfferedAct>,
}

impl Form {
    pub fn new(purpose: Purpose, title: Said) -> Self {
        Self {
            purpose,
            title,
            lead: Vec::new(),
            fields: Vec::new(),
            focus: 0,
            error: None,
            busy: None,
            alerts: Vec::new(),
            preview: None,
            trial: None,
            then: Vec::new(),
        }
    }

    #[must_use]
    pub fn lead(mut self, text: Said, role: Role) -> Self {
        self.lead.push((text, role));
        self
    }

    #[must_use]
    pub fn text(mut self, label: &'static str, input: Input, hint: Said, required: bool) -> Self {
        self.fields.push(Field { label, name: None, kind: FieldKind::Text(input), hint, required });
        self
    }

    #[must_use]
    pub fn choice(mut self, label: &'static str, options: Vec<(char, Said)>, chosen: Option<usize>) -> Self {
        self.fields.push(Field {
            label,
            name: None,
            kind: FieldKind::Choice { options, chosen },
            hint: Said::new(),
            required: true,
        });
        self
    }

    pub fn text_of(&self, label: &str) -> String {
        self.fields
            .iter()
            .find(|f| f.label == label && f.name.is_none())
            .and_then(|f| match &f.kind {
                FieldKind::Text(i) => Some(i.text()),
                FieldKind::Choice { .. } => None,
            })
            .unwrap_or_default()
    }

    pub fn chosen(&self, label: &str) -> Option<usize> {
        self.fields.iter().find(|f| f.label == label).and_then(|f| match &f.kind {
            FieldKind::Choice { chosen, .. } => *chosen,
            FieldKind::Text(_) => None,
        })
    }
}

/// What taking a line of a picker does.
#[derive(Clone, Debug, PartialEq)]
pub enum Pick {
    Run(Do),
    Filter(String),
    View(String),
    Act(Act),
    IntoCase(CaseId),
    NewCase,
    Person(PersonId),
    Theme(String),
    Sort(crate::model::query::SortKey),
    Action(String),
    /// An action with what it is for, known beforehand.
    ActOn {
        action: String,
        targets: Vec<String>,
        params: BTreeMap<String, String>,
        then: Vec<OfferedAct>,
    },
    OpenAlert(AlertId),
    Copy(String),
    /// A playbook, and the variables it asks for.
    StartPlaybook {
        key: String,
        title: Said,
        of: For,
        asks: Vec<Asked>,
    },
    /// One of the actions a step could propose.
    StepAction {
        offer: Box<StepOffer>,
        at: usize,
    },
    /// A draft, by its id.
    Review(String),
    /// A deadline of a run, by its clock.
    Deadline {
        run: String,
        clock: String,
    },
    /// The variable some deadlines count from.
    DeadlineFrom {
        run: String,
        name: String,
    },
    /// Something that happens to a run, with what is told when it did.
    Step {
        run: String,
        event: Box<Event>,
        done: Said,
    },
}

#[derive(Clone, Debug)]
pub struct PickItem {
    pub pick: Pick,
    pub label: Said,
    pub detail: Said,
    /// Why it cannot be taken now.
    pub disabled: Option<Said>,
}

/// A list to pick from, narrowed by typing.
#[derive(Clone, Debug)]
pub struct Picker {
    pub title: Said,
    pub input: Input,
    pub items: Vec<PickItem>,
    /// Indexes of `items` that match, best first, and the cursor in them.
    pub shown: Vec<usize>,
    pub at: usize,
    pub alerts: Vec<AlertId>,
}

impl Picker {
    pub fn new(title: Said, items: Vec<PickItem>) -> Self {
        let shown = (0..items.len()).collect();
        Self { title, input: Input::line(""), items, shown, at: 0, alerts: Vec::new() }
    }

    /// Narrows to what matches: all letters in order; whole words and beginnings first.
    pub fn narrow(&mut self) {
        let wanted = self.input.text().to_lowercase();
        let mut scored: Vec<(i32, usize)> = self
            .items
            .iter()
            .enumerate()
            .filter_map(|(i, item)| {
                let label = item.label.as_str().to_lowercase();
                let score = fuzzy(&wanted, &label)
                    .or_else(|| item.detail.as_str().to_lowercase().contains(&wanted).then_some(-100))?;
                Some((score, i))
            })
            .collect();
        scored.sort_by_key(|(score, i)| (-score, *i));
        self.shown = scored.into_iter().map(|(_, i)| i).collect();
        self.at = 0;
    }

    pub fn current(&self) -> Option<&PickItem> {
        self.items.get(*self.shown.get(self.at)?)
    }
}

/// How well `wanted` is contained in `text`, letters in order; `None`: not at all.
pub fn fuzzy(wanted: &str, text: &str) -> Option<i32> {
    if wanted.is_empty() {
        return Some(0);
    }
    if let Some(at) = text.find(wanted) {
        let start = at == 0 || !text[..at].ends_with(char::is_alphanumeric);
        return Some(100 + if at == 0 { 50 } else { 0 } + if start { 25 } else { 0 } - text.len() as i32 / 8);
    }
    let mut score = 0;
    let mut rest = text;
    let mut gap = 0;
    for c in wanted.chars().filter(|c| *c != ' ') {
        let at = rest.find(c)?;
        score += if at == 0 { 5 } else { 1 };
        gap += at as i32;
        rest = &rest[at + c.len_utf8()..];
    }
    Some(score - gap / 4)
}

/// What the decision screen is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deciding {
    Approve,
    Execute,
    /// Nothing to decide: it is read.
    Look,
}

/// The decision screen, frozen on one digest.
#[derive(Clone, Debug)]
pub struct Decide {
    pub what: Deciding,
    pub request: Request,
    pub opened: Timestamp,
    /// The last key while input was still ignored.
    pub last_key: Timestamp,
    /// Input counts from now on.
    pub armed: bool,
    /// The code to type for T2.
    pub code: String,
    pub typed: String,
    /// Keys go into `typed`.
    pub typing: bool,
    /// The request as it is now, if it is no longer what is shown.
    pub changed: Option<Box<Request>>,
    pub scroll: usize,
    pub error: Option<Said>,
    pub busy: bool,
    /// What the policy would say to this person's approval now. `None`: not asked, or no answer yet.
    pub standing: Option<Result<Vec<Finding>, Said>>,
    /// Who is told, and when, while nobody decides.
    pub ladder: Vec<Rung>,
    /// Why a closed error budget is set aside: the next signature is one over it.
    pub over: Option<String>,
}

impl Decide {
    /// What stands against signing it now.
    pub fn against(&self) -> Vec<&str> {
        let Some(Ok(found)) = &self.standing else { return Vec::new() };
        found.iter().filter(|f| f.refuses).map(|f| f.text.as_str()).collect()
    }
}

/// Ways to look at a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawMode {
    Text,
    Hex,
    Fields,
}

#[derive(Clone, Debug)]
pub struct RawView {
    pub alert: AlertId,
    pub mode: RawMode,
    pub scroll: usize,
    pub bytes: Option<Arc<Vec<u8>>>,
    pub doc: Doc,
    /// The claim whose evidence is shown.
    pub evidence: Option<Evidence>,
    pub broken: Option<Said>,
}

/// A claim, and where what it quotes stands.
#[derive(Clone, Debug)]
pub struct Evidence {
    pub claim: Claim,
    /// Which of how many, from 0.
    pub at: usize,
    pub of: usize,
    /// Known once the bytes are there.
    pub mark: Option<Mark>,
    /// The mark stands on screen (not in every way of looking at the record).
    pub seen: bool,
}

impl RawView {
    pub fn new(alert: AlertId, mode: RawMode) -> Self {
        Self { alert, mode, scroll: 0, bytes: None, doc: Doc::default(), evidence: None, broken: None }
    }

    /// Lines of it.
    pub fn lines(&self) -> usize {
        match self.mode {
            RawMode::Hex => self.bytes.as_ref().map_or(0, |b| b.len().div_ceil(16)),
            RawMode::Text | RawMode::Fields => self.doc.rows.len(),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Sheet {
    pub title: Said,
    pub doc: Doc,
    pub scroll: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzzy_prefers_words_and_beginnings() {
        let score = |t: &str| fuzzy("cl", t);
        assert!(score("claim") > score("into close"));
        assert!(score("into close") > score("cycle all"));
        assert_eq!(fuzzy("xyz", "claim"), None);
        assert!(fuzzy("tq", "tab-queue").is_some());
    }
}
