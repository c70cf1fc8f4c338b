//! What the desk knows about an alert besides its own record: gathered before a backend is asked, shown to the analyst as
//! context, never as evidence.

mod tell;

use jiff::Timestamp;

use crate::config::inventory::Asset;
use crate::model::alert::Disposition;
use crate::model::case::Case;
use crate::model::ids::AlertId;
use crate::model::severity::Severity;
use crate::model::verdict::VerdictKind;
use crate::text::Untrusted;

pub(super) use self::tell::{Line, tell};
pub use self::tell::{lines, tokens};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// When it was gathered: ages are told from then.
    pub at: Option<Timestamp>,
    /// How alike alerts were closed before, narrowest likeness first.
    pub past: Vec<PastCount>,
    /// Alerts near it in time on the same host, user or address, nearest first.
    pub neighbours: Vec<Neighbour>,
    /// ATT&CK ids the detector names.
    pub techniques: Vec<String>,
    /// How many alerts of this rule came in the last 30 days (itself included), and of all rules.
    pub rule_seen: u64,
    pub all_seen: u64,
    /// Its own case and open cases of its neighbours.
    pub cases: Vec<Case>,
    /// Facts of the inventory about its host and its user.
    pub asset: Option<Asset>,
    pub identity: Option<Asset>,
    /// The playbook of this desk that fits best.
    pub playbook: Option<PlaybookRef>,
}

/// How alerts of one kind were disposed of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PastCount {
    /// What is alike, such as `rule+host`.
    pub alike: String,
    pub true_positive: u64,
    pub benign_true_positive: u64,
    pub false_positive: u64,
    pub undetermined: u64,
    /// Alike ones in all, closed or not.
    pub total: u64,
    /// The four counts again, in the same order, each closing weighted by its age: one half after a half-life.
    pub weighted: [f64; 4],
    pub last_closed: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    pub id: AlertId,
    pub title: Untrusted,
    /// From this alert to that one; negative: it came before.
    pub seconds: i64,
    /// What they share: `group`, `host`, `user`, `address`.
    pub shares: Vec<&'static str>,
    pub severity: Severity,
    pub techniques: Vec<String>,
    pub disposition: Option<Disposition>,
    pub verdict: Option<VerdictKind>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaybookRef {
    pub name: String,
    pub title: String,
    pub first_steps: Vec<String>,
}

#[cfg(test)]
impl Neighbour {
    pub fn named(title: &str, seconds: i64) -> Self {
        Self {
            id: AlertId(0),
            title: title.into(),
            seconds,
            shares: vec!["host"],
            severity: Severity::Medium,
            techniques: Vec::new(),
            disposition: None,
            verdict: None,
        }
    }
}
