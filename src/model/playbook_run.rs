//! A playbook at work: what people did of it, so far. Pinned to the version it was started with.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use super::ids::AlertId;
use super::ids::CaseId;
use super::ids::PersonId;
use super::ids::RequestId;
use super::person::Role;
use crate::text::Untrusted;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    Running,
    Done,
    Failed,
    Cancelled,
}

impl RunState {
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How one visit of a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VisitState {
    /// Its delay has not run out.
    Waiting,
    /// For somebody to take.
    Ready,
    /// Somebody is at it.
    Active,
    /// Its branches are worked.
    Open,
    /// Its condition asks for what nobody knows: a person decides.
    Undecided,
    /// It failed, and the step for exceptions is worked.
    Escalated,
    /// It failed and leads nowhere: a person says whether to try again, to go on or to give it up.
    Held,
    Done,
    Failed,
    Skipped,
    Cancelled,
}

impl VisitState {
    pub const ALL: [Self; 11] = [
        Self::Waiting,
        Self::Ready,
        Self::Active,
        Self::Open,
        Self::Undecided,
        Self::Escalated,
        Self::Held,
        Self::Done,
        Self::Failed,
        Self::Skipped,
        Self::Cancelled,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Active => "active",
            Self::Open => "open",
            Self::Undecided => "undecided",
            Self::Escalated => "escalated",
            Self::Held => "held",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }

    /// Nothing happens to it any more.
    pub fn over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Skipped | Self::Cancelled)
    }

    /// A person can do something about it now.
    pub fn wants_somebody(self) -> bool {
        matches!(self, Self::Ready | Self::Active | Self::Undecided | Self::Held)
    }
}

/// What a variable holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub kind: String,
    /// `None`: not known.
    pub value: Option<Untrusted>,
    pub constant: bool,
    pub by: Option<PersonId>,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub by: PersonId,
    pub at: Timestamp,
    pub text: Untrusted,
}

/// A file that is kept by what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Hex.
    pub sha256: String,
    pub bytes: u64,
    pub name: Untrusted,
    pub by: PersonId,
    pub at: Timestamp,
    /// What it says, where it is the answer of a search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Box<Found>>,
}

/// What the answer of a search says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Indices and patterns that were searched.
    pub index: String,
    /// Documents that match; `None`: the answer does not say.
    pub hits: Option<u64>,
    /// There may be more.
    pub at_least: bool,
    /// Documents asked for, and kept.
    pub asked: u64,
    pub kept: u64,
    pub took_ms: Option<u64>,
    /// Why not everything was looked at, or that this is not known.
    pub partial: Option<Untrusted>,
    /// The first of it, a line each.
    pub first: Vec<Untrusted>,
}

impl Found {
    /// On one line. Of a failure it tells what the server says, so it is shown cleaned.
    pub fn words(&self) -> String {
        let n = match (self.hits, self.at_least) {
            (Some(n), false) => n.to_string(),
            (Some(n), true) => format!("at least {n}"),
            (None, _) => "an unknown number of".into(),
        };
        let whole = self.hits == Some(self.kept) && !self.at_least;
        let kept = match whole {
            true if self.kept == 0 => String::new(),
            true => ", all kept".into(),
            false => format!(", {} kept (TRUNCATED)", self.kept),
        };
        let took = self.took_ms.map_or_else(|| "in an unknown time".to_owned(), |ms| format!("in {ms} ms"));
        let partial = self.partial.as_ref().map_or_else(String::new, |w| format!("; PARTIAL: {}", w.expose()));
        let hits = if self.hits == Some(1) && !self.at_least { "hit" } else { "hits" };
        format!("{n} {hits} in {}{kept}, {took}{partial}", self.index)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignOff {
    /// As the playbook asks for it: a role, or somebody outside the roster such as `legal`.
    pub role: String,
    /// Who recorded it; of a role of the roster, who gave it.
    pub by: PersonId,
    /// Who outside the roster gave it, and how it is shown.
    pub named: Option<Untrusted>,
    pub at: Timestamp,
}

/// A branch of a step that opened some. `ended`: how it ended, if it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    pub word: String,
    pub ended: Option<bool>,
}

/// One time a step was come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// From 1, in the order they were come to.
    pub n: u32,
    /// The step's id.
    pub step: String,
    /// Its short name.
    pub key: String,
    /// The visit whose branch this is on, and the branch's word.
    pub parent: Option<u32>,
    pub branch: String,
    /// How often the loop it is in went round before.
    pub round: u32,
    pub state: VisitState,
    pub owner: Option<PersonId>,
    /// It was given to its owner, and so is what follows on its branch.
    pub assigned: bool,
    pub entered_at: Timestamp,
    /// When its delay is or was over.
    pub ready_at: Timestamp,
    pub began_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub ended_by: Option<PersonId>,
    /// By when somebody should be told, and by when it has failed.
    pub box_until: Option<Timestamp>,
    pub fails_at: Option<Timestamp>,
    /// Its time box ran out.
    pub overdue: bool,
    pub outputs: BTreeMap<String, Option<Untrusted>>,
    /// Why it failed, was skipped or decided so.
    pub reason: Option<Untrusted>,
    pub notes: Vec<Note>,
    pub evidence: Vec<Evidence>,
    pub signed: Vec<SignOff>,
    pub branches: Vec<Branch>,
    /// The run of another playbook it waits for.
    pub child: Option<String>,
    /// Actions that were proposed from it, oldest first.
    #[serde(default)]
    pub requests: Vec<RequestId>,
    /// What a model said to the step's question. It changes nothing.
    #[serde(default)]
    pub advice: Vec<Advice>,
}

/// The answer of a model to the question of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    pub by: PersonId,
    pub at: Timestamp,
    /// With the values that were known put in.
    pub question: Untrusted,
    pub text: Untrusted,
    /// What it quotes of the alert, each with whether it stands there.
    pub quotes: Vec<(Untrusted, bool)>,
    pub model: Untrusted,
    /// SHA-256 of the prompt, hex.
    pub prompt: String,
    /// Of the exchange with the model.
    pub request_id: String,
}

/// What people said of a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeadlineWord {
    Told,
    /// Counsel says that it does not apply.
    Excluded,
}

impl DeadlineWord {
    pub fn word(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::Excluded => "does not apply",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadlineMark {
    pub word: DeadlineWord,
    pub by: PersonId,
    pub at: Timestamp,
    /// The receipt's number, or the reason.
    pub text: Untrusted,
}

/// Who has to hear of a breach, and by when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deadline {
    pub id: String,
    pub to: String,
    pub law: String,
    pub applies: String,
    /// `72 h`, `4 business days`, `without undue delay`.
    pub within: String,
    /// The variable that holds when it began.
    pub from: String,
    /// `None`: not known.
    pub began: Option<Timestamp>,
    /// `None`: it has not begun, or no number is written.
    pub due: Option<Timestamp>,
    pub mark: Option<DeadlineMark>,
}

impl Deadline {
    /// Nobody said that it was told or does not apply.
    pub fn open(&self) -> bool {
        self.mark.is_none()
    }

    /// Nobody was told in time.
    pub fn late(&self, now: Timestamp) -> bool {
        self.open() && self.due.is_some_and(|due| due < now)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// A ULID.
    pub id: String,
    /// The playbook's short name, id and title.
    pub playbook: String,
    pub playbook_id: String,
    pub title: Untrusted,
    /// SHA-256 of the document it is pinned to.
    pub version: String,
    pub alert: Option<AlertId>,
    pub case: Option<CaseId>,
    pub started_by: PersonId,
    pub started_at: Timestamp,
    pub state: RunState,
    pub ended_at: Option<Timestamp>,
    pub ended_why: Option<Untrusted>,
    /// What was said of the signature of its file when it was started.
    #[serde(default)]
    pub signed: Option<Untrusted>,
    /// Roles that see it; empty: everybody.
    pub restricted: Vec<String>,
    /// People who see it besides them.
    pub named: Vec<PersonId>,
    pub variables: BTreeMap<String, Held>,
    /// By the id of the clock.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deadlines: BTreeMap<String, DeadlineMark>,
    pub visits: Vec<Visit>,
    /// The run and visit that wait for this one.
    pub parent: Option<(String, u32)>,
    /// Transitions so far.
    pub seq: u64,
}

impl Run {
    pub fn visit(&self, n: u32) -> Option<&Visit> {
        self.visits.get(usize::try_from(n).ok()?.checked_sub(1)?)
    }

    /// Visits a person can do something about, in the order they were come to.
    pub fn open(&self) -> impl Iterator<Item = &Visit> {
        self.visits.iter().filter(|v| v.state.wants_somebody())
    }

    /// When the next clock runs out: a delay, a time box, a timeout.
    pub fn due(&self) -> Option<Timestamp> {
        let next = |v: &Visit| match v.state {
            VisitState::Waiting => Some(v.ready_at),
            VisitState::Ready | VisitState::Active => {
                [v.fails_at, v.box_until.filter(|_| !v.overdue)].into_iter().flatten().min()
            }
            _ => None,
        };
        self.visits.iter().filter(|_| self.state == RunState::Running).filter_map(next).min()
    }

    /// Whether this person may see it.
    pub fn seen_by(&self, person: &PersonId, roles: &[Role]) -> bool {
        self.restricted.is_empty()
            || self.started_by == *person
            || self.named.contains(person)
            || roles.iter().any(|r| self.restricted.iter().any(|w| w == r.word()))
    }
}

/// What happens to a run. Visits by number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// Somebody begins, or takes it over from who has it.
    Take {
        visit: u32,
        over: bool,
    },
    /// It is given to somebody; what follows on its branch goes to them too.
    Assign {
        visit: u32,
        to: PersonId,
    },
    /// It succeeded. Outputs by the names of its variables; `None`: found to be not known.
    Done {
        visit: u32,
        outputs: BTreeMap<String, Option<Untrusted>>,
    },
    Fail {
        visit: u32,
        reason: Untrusted,
    },
    Skip {
        visit: u32,
        reason: Untrusted,
    },
    Retry {
        visit: u32,
    },
    /// Which branch an undecided step takes: its word, or `on` to leave a loop or to go past it.
    Decide {
        visit: u32,
        branch: String,
        reason: Untrusted,
    },
    Sign {
        visit: u32,
        role: String,
        named: Option<Untrusted>,
    },
    Note {
        visit: u32,
        text: Untrusted,
    },
    Attach {
        visit: u32,
        evidence: Evidence,
    },
    /// An action was proposed from this step; it goes the way of every request.
    Proposed {
        visit: u32,
        request: RequestId,
    },
    /// A model answered the step's question.
    Advise {
        visit: u32,
        advice: Box<Advice>,
    },
    /// A variable gets another value, or becomes unknown.
    Set {
        name: String,
        value: Option<Untrusted>,
    },
    /// Somebody was told, or need not be. `None`: it is open after all.
    Deadline {
        clock: String,
        word: Option<DeadlineWord>,
        text: Untrusted,
    },
    /// Somebody may see a restricted run.
    Admit {
        person: PersonId,
    },
    Cancel {
        reason: Untrusted,
    },
    /// Nobody did anything; time passed.
    Tick,
    /// The run a visit waits for was begun.
    Begun {
        visit: u32,
        child: String,
    },
    /// The run a visit waits for is over.
    Ended {
        visit: u32,
        ok: bool,
    },
}
