//! The running engine: wires the rooms above, owns tasks and shutdown. The doors (`console`, `cli`, later `serve`)
//! talk to a [`Desk`] and to nothing below it but `model` and `text`.
//!
//! Methods are blocking unless they are `async`; the console's effect runner calls the blocking ones on a blocking
//! thread.

pub mod scenario;

use crate::model::act::TimelineEvent;
use crate::model::alert::{Alert, AlertRow};
use crate::model::fields::Field;
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
}

#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    pub alike: &'static str,
    pub counts: Vec<(crate::model::alert::Disposition, u64)>,
    pub total: u64,
}

/// How a live source or backend is doing, for the header and the status pane.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    pub name: String,
    pub kind: &'static str,
    pub state: LinkState,
    /// In our words, with the other side's text cleaned by whoever shows it.
    pub detail: Untrusted,
    pub last_good: Option<jiff::Timestamp>,
    pub next_try: Option<jiff::Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    Starting,
    Live,
    Retrying,
    Stopped,
}

/// Why the desk did not do it; each maps to one exit status of the command line.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// Exit 2.
    #[error("{0}")]
    Usage(String),
    /// Exit 3.
    #[error("{0}")]
    Unreachable(String),
    /// Exit 4.
    #[error("{0}")]
    Refused(String),
    /// Exit 1.
    #[error("{0}")]
    No(String),
}
