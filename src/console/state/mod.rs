//! What the console knows: plain data, ids instead of row numbers, no I/O.

pub mod detail;
pub mod doc;
pub mod evidence;
pub mod input;
mod locate;
pub mod opinion;
pub mod overlay;
pub mod playbook;
pub mod queue;
pub mod triage;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::keymap::{Key, Keymap};
use super::theme::{Role, Theme};
use super::words::Said;
use crate::desk::Link;
use crate::desk::Platform;
use crate::desk::case::CaseView;
use crate::model::action::{ActionDef, Request};
use crate::model::alert::Status;
use crate::model::case::{Case, SavedView, Suppression};
use crate::model::ids::{AlertId, CaseId, PersonId, RequestId, SuppressionId};
use crate::model::opinion::TriageQueue;
use crate::model::person::{Person, Roster};
use crate::model::query::Count;
use crate::text::Untrusted;
pub use detail::{DetailPane, Reveal};
pub use locate::bytes_of;
pub use overlay::{Decide, FilterInput, Form, Overlay, Picker, RawView, Sheet};
pub use playbook::{PlaybookPage, RunPage};
pub use queue::Queue;
pub use triage::{Asking, Run, TriagePage, TriageSetup, Unanswered};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tab {
    Queue,
    Cases,
    Playbooks,
    Approvals,
    Slo,
    Sla,
    Checklists,
    Rollouts,
    Backups,
    Triage,
    Status,
    Views,
    Suppressions,
}

impl Tab {
    /// Everything that can be in front, in the order of the tab line.
    pub const ALL: [Self; 13] = [
        Self::Queue,
        Self::Cases,
        Self::Playbooks,
        Self::Approvals,
        Self::Slo,
        Self::Sla,
        Self::Checklists,
        Self::Rollouts,
        Self::Backups,
        Self::Triage,
        Self::Status,
        Self::Views,
        Self::Suppressions,
    ];

    /// The tab line, numbered from 1: each with the pages it holds.
    pub const BAR: [&'static [Self]; 9] = [
        &[Self::Queue],
        &[Self::Cases, Self::Playbooks],
        &[Self::Approvals],
        &[Self::Slo, Self::Sla, Self::Checklists],
        &[Self::Rollouts],
        &[Self::Backups],
        &[Self::Triage],
        &[Self::Status],
        &[Self::Views, Self::Suppressions],
    ];

    /// Its place in the tab line.
    pub fn at(self) -> usize {
        Self::BAR.iter().position(|pages| pages.contains(&self)).unwrap_or(0)
    }

    /// Itself and the pages beside it.
    pub fn pages(self) -> &'static [Self] {
        Self::BAR[self.at()]
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Queue => "Queue",
            Self::Cases => "Cases",
            Self::Playbooks => "Playbooks",
            Self::Approvals => "Approvals",
            Self::Slo => "SLO",
            Self::Sla => "SLA",
            Self::Checklists => "Checklists",
            Self::Rollouts => "Rollouts",
            Self::Backups => "Backups",
            Self::Triage => "Triage",
            Self::Status => "Status",
            Self::Views => "Views",
            Self::Suppressions => "Suppressions",
        }
    }

    /// In the tab line, where there is room.
    pub fn long(self) -> &'static str {
        if self == Self::Views { "Lists" } else { self.title() }
    }

    /// In the tab line, where there is little.
    pub fn short(self) -> &'static str {
        match self {
            Self::Approvals => "Appr",
            Self::Rollouts => "Roll",
            Self::Backups => "Back",
            Self::Triage => "Tri",
            Self::Status => "Stat",
            Self::Views => "List",
            other => other.long(),
        }
    }

    /// Drawn from the platform's reading.
    pub fn is_platform(self) -> bool {
        matches!(self, Self::Slo | Self::Sla | Self::Checklists | Self::Rollouts | Self::Backups)
    }
}

/// How things look in this session.
#[derive(Clone, Debug)]
pub struct Look {
    pub theme: Theme,
    pub ascii: bool,
    /// Columns of the queue, as indexes into [`super::columns::COLUMNS`].
    pub columns: Vec<usize>,
    pub keymap: Arc<Keymap>,
    /// Names of all themes there are, and the person's own ones (name, TOML).
    pub themes: Vec<String>,
    pub own_themes: Arc<Vec<(String, String)>>,
    /// Colours the terminal has.
    pub depth: super::theme::Depth,
}

/// What the header says about the desk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    pub backend: Option<Backend>,
    pub links: Vec<Link>,
    pub dead_letters: u64,
    pub kill: Option<(PersonId, Timestamp)>,
    /// What governs the desk and was changed past it in the last day.
    pub outside: Vec<(&'static str, Timestamp)>,
    pub queue: TriageQueue,
}

/// The backend that forms opinions, or a server of it. `None`: not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backend {
    pub name: Said,
    pub up: bool,
    pub running: Option<u32>,
    pub waiting: Option<u32>,
    /// Shares, 0 to 1.
    pub kv_cache: Option<f32>,
    pub prefix_hits: Option<f32>,
    pub ttft_p95_ms: Option<u64>,
    pub detail: Said,
    pub servers: Vec<Backend>,
    /// Asked only when all others are out.
    pub backup: bool,
}

/// Where one stands in a list of the platform's health, and how far its detail is scrolled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spot {
    pub cursor: Option<String>,
    pub scroll: usize,
}

/// Whether what is on screen is the present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Live {
    Starting,
    Live,
    /// The person stopped it.
    Paused,
    /// The store does not answer: since when, and why.
    Stale {
        since: Timestamp,
        why: Said,
    },
}

/// Empty, loading, broken or ready: every pane is one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    Waiting { since: Timestamp },
    Ready { at: Timestamp },
    Broken { what: Said, since: Timestamp, last_good: Option<Timestamp> },
}

impl Load {
    pub fn last_good(&self) -> Option<Timestamp> {
        match self {
            Self::Ready { at } => Some(*at),
            Self::Broken { last_good, .. } => *last_good,
            Self::Waiting { .. } => None,
        }
    }

    pub fn breaks(&mut self, what: Said, now: Timestamp) {
        let since = if let Self::Broken { since, .. } = self { *since } else { now };
        *self = Self::Broken { what, since, last_good: self.last_good() };
    }
}

/// A short list that is held whole, with its cursor on an id.
#[derive(Clone, Debug)]
pub struct Table<Id, T> {
    pub rows: Vec<T>,
    pub cursor: Option<Id>,
    pub scroll: usize,
    pub load: Load,
}

impl<Id: Clone + PartialEq, T> Table<Id, T> {
    pub fn new(now: Timestamp) -> Self {
        Self { rows: Vec::new(), cursor: None, scroll: 0, load: Load::Waiting { since: now } }
    }

    pub fn index(&self, id_of: impl Fn(&T) -> Id) -> Option<usize> {
        let cursor = self.cursor.as_ref()?;
        self.rows.iter().position(|r| id_of(r) == *cursor)
    }

    /// New rows: the cursor stays on its id, or else at its place.
    pub fn put(&mut self, rows: Vec<T>, now: Timestamp, id_of: impl Fn(&T) -> Id + Copy) {
        let at = self.index(id_of).unwrap_or(0);
        self.rows = rows;
        if self.index(id_of).is_none() {
            self.cursor = self.rows.get(at.min(self.rows.len().saturating_sub(1))).map(id_of);
        }
        self.load = Load::Ready { at: now };
    }

    pub fn step(&mut self, by: isize, id_of: impl Fn(&T) -> Id + Copy) {
        let at = self.index(id_of).unwrap_or(0) as isize;
        let last = self.rows.len() as isize - 1;
        self.cursor =
            usize::try_from((at.saturating_add(by)).min(last).max(0)).ok().and_then(|i| self.rows.get(i)).map(id_of);
    }
}

/// A case in full.
#[derive(Clone, Debug)]
pub struct CasePage {
    pub id: CaseId,
    pub shown: Option<Box<CaseView>>,
    pub broken: Option<Said>,
    pub scroll: usize,
}

/// A line at the foot that tells what became of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub role: Role,
    pub text: Said,
}

/// A saved view with how much it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewRow {
    pub view: SavedView,
    pub count: Result<Count, Said>,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct State {
    /// The time of the last message; views never ask a clock.
    pub now: Timestamp,
    pub size: (u16, u16),
    pub look: Look,
    pub me: Option<Person>,
    pub roster: Arc<Roster>,
    pub switchable: Vec<Person>,
    pub catalogue: Arc<Vec<ActionDef>>,
    /// Why no step's search can be run here.
    pub no_search: Option<Said>,
    /// `CLUSTER/NAMESPACE` of Velero, by the name of the source that is read from it.
    pub velero: BTreeMap<String, String>,
    /// URL and repository of OpenSearch, by the name of the source that is read from it.
    pub snapshots: BTreeMap<String, (String, String)>,
    pub environment: Said,
    /// `normal`, `caution` or `danger`.
    pub environment_role: Role,
    pub desk_name: Said,
    /// The second header line of a demo or a drill.
    pub exercise: Option<Said>,
    pub read_only: bool,
    pub facts: Facts,
    pub live: Live,
    pub tab: Tab,
    /// The alert fills the screen.
    pub full: bool,
    pub queue: Queue,
    pub detail: DetailPane,
    pub cases: Table<CaseId, Case>,
    /// The case that is open, or was open last.
    pub case: Option<CasePage>,
    pub playbook: PlaybookPage,
    pub requests: Table<RequestId, Request>,
    pub views: Table<String, ViewRow>,
    pub suppressions: Table<SuppressionId, Suppression>,
    pub status_scroll: usize,
    /// The platform's newest reading, and where one stands in each of its panes.
    pub platform: Arc<Platform>,
    pub spots: BTreeMap<Tab, Spot>,
    /// The last one has the focus.
    pub overlays: Vec<Overlay>,
    /// Keys of an unfinished chord.
    pub chord: Vec<Key>,
    /// Show what the keys do, until the next one.
    pub which_keys: bool,
    pub notice: Option<Notice>,
    /// Opinions and answers being formed, oldest first.
    pub runs: Vec<Run>,
    /// Drafts of playbooks the model is writing, oldest first.
    pub drafting: Vec<playbook::Drafting>,
    pub unanswered: Option<Unanswered>,
    /// A beat is on its way: once a second while something on screen counts seconds.
    pub beating: bool,
    pub triage: TriagePage,
    pub setup: TriageSetup,
    /// Filters and reasons typed before, newest last, by the name of their field.
    pub history: BTreeMap<&'static str, Vec<String>>,
    /// Cases, views and the rest were asked for: after the first page of the queue, which must come first.
    pub lists_asked: bool,
    /// Acts sent whose answer is awaited.
    pub acting: usize,
    /// The abort of a rollout was asked for, and the answer is awaited.
    pub aborting: bool,
    pub quitting: bool,
    /// Draw the whole screen anew once.
    pub repaint: bool,
}

/// What a new console needs to know.
#[derive(Clone, Debug)]
pub struct Start {
    pub now: Timestamp,
    pub size: (u16, u16),
    pub look: Look,
    pub me: Option<Person>,
    pub roster: Arc<Roster>,
    pub switchable: Vec<Person>,
    pub catalogue: Arc<Vec<ActionDef>>,
    pub no_search: Option<String>,
    pub velero: BTreeMap<String, String>,
    pub snapshots: BTreeMap<String, (String, String)>,
    pub environment: String,
    pub environment_class: String,
    pub desk_name: String,
    pub exercise: Option<String>,
    pub read_only: bool,
    pub filter: String,
    pub sort: crate::model::query::SortKey,
    pub triage: TriageSetup,
}

impl State {
    pub fn new(start: Start) -> Self {
        let now = start.now;
        Self {
            now,
            size: start.size,
            look: start.look,
            me: start.me,
            roster: start.roster,
            switchable: start.switchable,
            catalogue: start.catalogue,
            no_search: start.no_search.map(|why| Said::of(&why)),
            velero: start.velero,
            snapshots: start.snapshots,
            environment: Said::of(&start.environment),
            environment_role: match start.environment_class.as_str() {
                "danger" => Role::Critical,
                "caution" => Role::Warn,
                _ => Role::Good,
            },
            desk_name: Said::of(&start.desk_name),
            exercise: start.exercise.map(|e| Said::of(&e)),
            read_only: start.read_only,
            facts: Facts::default(),
            live: Live::Starting,
            tab: Tab::Queue,
            full: false,
            queue: Queue::new(start.filter, start.sort, now),
            detail: DetailPane::default(),
            cases: Table::new(now),
            case: None,
            playbook: PlaybookPage::new(now),
            requests: Table::new(now),
            views: Table::new(now),
            suppressions: Table::new(now),
            status_scroll: 0,
            platform: Arc::default(),
            spots: BTreeMap::new(),
            overlays: Vec::new(),
            chord: Vec::new(),
            which_keys: false,
            notice: None,
            runs: Vec::new(),
            drafting: Vec::new(),
            unanswered: None,
            beating: false,
            triage: TriagePage::new(now),
            setup: start.triage,
            history: BTreeMap::new(),
            lists_asked: false,
            acting: 0,
            aborting: false,
            quitting: false,
            repaint: false,
        }
    }

    /// The one alert that keys speak of: the raw view's, else the cursor's.
    pub fn alert_in_hand(&self) -> Option<AlertId> {
        if self.tab != Tab::Queue {
            return None;
        }
        self.queue.cursor
    }

    /// The alerts an act is for: the marked ones in the list, else the one in hand.
    pub fn alerts_in_hand(&self) -> Vec<AlertId> {
        if self.tab != Tab::Queue {
            return Vec::new();
        }
        if !self.full && !self.queue.marks.is_empty() {
            return self.queue.marks.iter().copied().collect();
        }
        self.queue.cursor.into_iter().collect()
    }

    pub fn status_of(&self, id: AlertId) -> Option<Status> {
        let row = self.queue.rows.iter().find(|r| r.id == id).map(|r| r.status);
        row.or_else(|| self.detail.shown.as_ref().filter(|d| d.alert.id == id).map(|d| d.alert.status))
    }

    /// The request under the cursor or being decided.
    pub fn request_in_hand(&self) -> Option<&Request> {
        if let Some(Overlay::Decide(d)) = self.overlays.last() {
            return Some(&d.request);
        }
        if self.tab != Tab::Approvals {
            return None;
        }
        let at = self.requests.index(|r| r.body.id.clone())?;
        self.requests.rows.get(at)
    }

    /// What is being formed about an alert.
    pub fn run_of(&self, alert: AlertId, question: bool) -> Option<&Run> {
        self.runs.iter().find(|r| r.alert == alert && r.what.is_question() == question)
    }

    /// Something is being formed about the alert in hand.
    pub fn run_of_hand(&self) -> bool {
        self.runs.iter().any(|r| Some(r.alert) == self.alert_in_hand())
    }

    /// The bulk under way as (done, asked for), if there is one.
    pub fn bulk(&self) -> Option<(u64, u64)> {
        let q = &self.facts.queue;
        (q.asked > q.done).then_some((q.done, q.asked))
    }

    pub fn my_id(&self) -> Option<&PersonId> {
        self.me.as_ref().map(|p| &p.id)
    }

    pub fn tell(&mut self, role: Role, text: Said) {
        self.notice = Some(Notice { role, text });
    }

    /// Wide enough for the alert beside the list.
    pub fn beside(&self) -> bool {
        self.size.0 >= 120
    }

    /// Too small to show a pane.
    pub fn tiny(&self) -> bool {
        self.size.0 < 60 || self.size.1 < 15
    }

    /// Requests waiting for somebody, as the tab shows.
    pub fn waiting_requests(&self) -> usize {
        use crate::model::action::RequestState::{Approved, Pending};
        self.requests.rows.iter().filter(|r| matches!(r.state, Pending | Approved)).count()
    }

    pub fn remember(&mut self, field: &'static str, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        let list = self.history.entry(field).or_default();
        list.retain(|t| t != text);
        list.push(text.to_owned());
        if list.len() > 50 {
            list.remove(0);
        }
    }
}

/// Something a person typed, on its way to the desk.
pub fn own_words(text: &str) -> Untrusted {
    Untrusted::new(text)
}
