//! What the doors are shown.

use crate::model::act::TimelineEvent;
use crate::model::alert::Alert;
use crate::model::alert::AlertRow;
use crate::model::alert::Disposition;
use crate::model::fields::Field;
use crate::model::ids::PersonId;
use crate::model::opinion::Agreement;
use crate::model::opinion::Answered;
use crate::model::opinion::ContextLine;
use crate::model::opinion::Review;
use crate::model::opinion::Taint;
use crate::model::playbook::Suggested;
use crate::model::playbook_run::RunState;
use crate::model::risk::Risk;
use crate::model::verdict::Verdict;
use crate::text::Untrusted;

/// Everything the detail pane shows of one alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Detail {
    pub alert: Alert,
    pub fields: Vec<Field>,
    pub risk: Risk,
    pub related: Vec<AlertRow>,
    /// What is alike, and how it was closed before, such as `rule+host: 47 FP of 48`.
    pub past: Vec<Past>,
    pub timeline: Vec<TimelineEvent>,
    /// Newest first.
    pub verdicts: Vec<Verdict>,
    /// What people said to its verdicts, newest first.
    pub reviews: Vec<Review>,
    /// How often people agreed on this rule, by backend and model.
    pub agreement: Vec<Agreement>,
    /// What is told to a model besides the alert, most useful first.
    pub context: Vec<ContextLine>,
    /// Text in it that addresses its reader.
    pub taint: Vec<Taint>,
    /// Questions of people and the answers so far, oldest first.
    pub asked: Vec<Answered>,
    /// The playbook that fits it best, and why.
    pub suggested: Option<Suggested>,
    /// Playbooks started for it that everybody may see, newest first.
    pub at_work: Vec<AtWork>,
}

/// A playbook that was started for an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtWork {
    pub run: String,
    pub title: Untrusted,
    pub state: RunState,
    pub started_by: PersonId,
}

/// How alike alerts were closed.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    pub alike: &'static str,
    pub counts: Vec<(Disposition, u64)>,
    pub total: u64,
}

/// How a live source or backend is doing, for the header and the status pane.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    pub name: String,
    pub kind: &'static str,
    pub state: LinkState,
    /// What it does or why it does not; may quote the other side.
    pub detail: Untrusted,
    pub last_good: Option<jiff::Timestamp>,
    pub next_try: Option<jiff::Timestamp>,
    /// Alerts taken since it started.
    pub accepted: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    Starting,
    Live,
    Retrying,
    Stopped,
}

impl LinkState {
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Retrying => "retrying",
            Self::Stopped => "stopped",
        }
    }
}
