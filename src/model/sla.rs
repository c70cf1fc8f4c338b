//! Service level agreements: uptime of a month from this desk's own probes, what is excluded, what is owed; and
//! checklists.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::health::Tri;
use super::ids::PersonId;
use crate::text::Untrusted;

/// One probe of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeResult {
    pub at: Timestamp,
    pub up: bool,
    pub millis: u32,
    pub detail: Untrusted,
}

/// Time that does not count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exclusion {
    pub id: String,
    pub service: String,
    pub from: Timestamp,
    pub until: Timestamp,
    /// `maintenance` counts only when announced seven days before.
    pub kind: ExclusionKind,
    pub reason: Untrusted,
    pub announced: Timestamp,
    pub asked_by: PersonId,
    /// Not the one who asked. `None`: it does not count yet.
    pub approved_by: Option<PersonId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExclusionKind {
    Maintenance,
    ForceMajeure,
    Customer,
}

/// A month of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlaMonth {
    pub service: String,
    pub month: String,
    /// Share promised, 0 to 1.
    pub target: f64,
    pub from: Timestamp,
    pub until: Timestamp,
    pub up_seconds: f64,
    pub down_seconds: f64,
    /// Without a probe: neither up nor down.
    pub unknown_seconds: f64,
    pub excluded_seconds: f64,
    /// Up over up and down; `None`: nothing was probed.
    pub uptime: Option<f64>,
    /// The same if all that is unknown was down.
    pub uptime_at_worst: Option<f64>,
    pub met: Tri,
    /// Percent of the fee owed back.
    pub credit_percent: u32,
    pub outages: Vec<Outage>,
    pub exclusions: Vec<(Exclusion, bool, String)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outage {
    pub from: Timestamp,
    pub until: Timestamp,
    pub known: bool,
    pub detail: Untrusted,
}

/// An item of a checklist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckItem {
    pub id: String,
    pub section: String,
    pub text: String,
    /// The role that answers for it.
    pub owner: String,
    /// What shows it is so.
    pub evidence: String,
    /// A fact the desk can see, by name.
    #[serde(default)]
    pub auto: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checklist {
    pub name: String,
    pub title: String,
    /// Everything must be ticked before what it guards.
    pub hard: bool,
    pub items: Vec<CheckItem>,
}

/// What a person or the desk says of an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    pub item: String,
    pub answer: Tri,
    /// `None`: the desk itself.
    pub by: Option<PersonId>,
    pub at: Timestamp,
    pub evidence: Untrusted,
}

/// A checklist being worked through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChecklistRun {
    pub list: Checklist,
    pub ticks: Vec<Tick>,
    /// Pass only when every item passes.
    pub answer: Tri,
    pub signed: Option<(PersonId, Timestamp)>,
}
