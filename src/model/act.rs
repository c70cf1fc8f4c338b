//! What a person does to alerts. Each act is one atomic change with one undo.
//!
//! A verdict cannot become an [`Act`]: nothing converts one into the other, and every act carries the
//! person who did it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::alert::Disposition;
use super::ids::{AlertId, CaseId, PersonId, UndoId};
use super::priority::Priority;
use crate::text::Untrusted;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
pub enum Act {
    /// Take it. Refused when somebody else has it.
    Claim,
    /// Give it back to the queue.
    Release,
    /// Give it to somebody, whoever has it now.
    Assign {
        to: PersonId,
    },
    Close {
        disposition: Disposition,
        reason: Untrusted,
        comment: Option<Untrusted>,
    },
    Reopen,
    Snooze {
        until: Timestamp,
        reason: Untrusted,
    },
    /// End a snooze now.
    Wake,
    /// Put into a case; `None` makes a new one with this title.
    Merge {
        case: Option<CaseId>,
        title: Untrusted,
    },
    /// Take out of its case.
    Detach,
    Note {
        text: Untrusted,
    },
    /// A person may set any priority, with a reason.
    Prioritise {
        to: Priority,
        reason: Untrusted,
    },
}

impl Act {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Release => "release",
            Self::Assign { .. } => "assign",
            Self::Close { .. } => "close",
            Self::Reopen => "reopen",
            Self::Snooze { .. } => "snooze",
            Self::Wake => "wake",
            Self::Merge { .. } => "merge",
            Self::Detach => "detach",
            Self::Note { .. } => "note",
            Self::Prioritise { .. } => "prioritise",
        }
    }
}

/// Why an alert was left as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Refusal {
    NotFound,
    /// The second analyst is told who has it.
    HeldBy {
        person: PersonId,
        since: Timestamp,
    },
    /// It is in a state the act makes no sense in, such as claiming a closed alert.
    WrongState {
        status: super::alert::Status,
    },
    /// It changed after the act that was to be undone.
    ChangedSince {
        by: Option<PersonId>,
    },
    NoSuchCase,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub id: AlertId,
    #[serde(flatten)]
    pub why: Refusal,
}

/// What became of an act over several alerts. `done` and `refused` together name each id once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActReport {
    pub done: Vec<AlertId>,
    pub refused: Vec<Refused>,
    /// Set when something was done that can be undone.
    pub undo: Option<UndoId>,
    /// The case, for a merge.
    pub case: Option<CaseId>,
}

/// A line of an alert's timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEvent {
    pub at: Timestamp,
    pub alert: AlertId,
    /// `None`: the desk itself.
    pub by: Option<PersonId>,
    /// `ingest`, `repeat`, an act's word, `undo`, `verdict`, `raise`, `note`, `action`, `writeback`.
    pub kind: String,
    /// What happened, in words; may hold text a person or a model wrote.
    pub text: Untrusted,
}
