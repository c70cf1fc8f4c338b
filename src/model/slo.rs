//! Service level objectives: what is promised, and how it stands.
//!
//! Shares are 0 to 1 (`0.999` is 99.9 %), durations seconds, unless a name says otherwise.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::health::Tri;
use crate::text::Untrusted;

/// How events or slices of time are counted (OpenSLO v1 `budgetingMethod`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Method {
    /// Good events over all events.
    Occurrences,
    /// Slices of time whose own share of good events is at least `target`, over all slices that have events.
    Timeslices { slice_seconds: u64, target: f64 },
    /// The mean of the slices' shares: each slice counts the same, however many events it has.
    RatioTimeslices { slice_seconds: u64 },
}

impl Method {
    pub fn word(self) -> &'static str {
        match self {
            Self::Occurrences => "occurrences",
            Self::Timeslices { .. } => "timeslices",
            Self::RatioTimeslices { .. } => "ratio timeslices",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CalendarUnit {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// The time a budget is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Window {
    Rolling {
        seconds: u64,
    },
    /// `count` units at a time, the first from `start`, in an IANA time zone.
    Calendar {
        unit: CalendarUnit,
        count: u32,
        zone: String,
        start: Timestamp,
    },
}

/// A query and where it is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricQuery {
    /// A name of `operate.prometheus`; `None`: the only one there is.
    pub source: Option<String>,
    /// PromQL. In Sloth's form it holds `{{.window}}`.
    pub query: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compare {
    Lt,
    Lte,
    Gt,
    Gte,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Indicator {
    /// Counters of events. One of `good` and `bad` is there.
    Ratio { good: Option<MetricQuery>, bad: Option<MetricQuery>, total: MetricQuery },
    /// Gauges, or counters already made rates: a share of bad events as the query gives it (Sloth's `raw`).
    ErrorRatio { query: MetricQuery },
    /// A gauge that is good while it compares so (`value op threshold`).
    Threshold { query: MetricQuery, op: Compare, threshold: f64 },
    /// What this desk measures of itself.
    Desk { sli: DeskSli, threshold: f64 },
}

/// The desk's own events as indicators. Good: at or below the threshold (seconds, or for the rate a closed alert that is
/// no false positive, whose threshold means nothing).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeskSli {
    /// t_event to t_alert (t_ingest if unknown).
    TimeToDetect,
    /// t_ingest to t_claim.
    TimeToAcknowledge,
    /// t_verdict to t_contain for true positives.
    TimeToRespond,
    /// t_claim to t_close.
    TriageTime,
    /// Closed alerts that were no false positives.
    FalsePositives,
    /// t_ingest to the first verdict.
    AnalysisLatency,
    /// How long a model took to answer.
    InferenceLatency,
}

/// One condition of a multi-window, multi-burn-rate alert (SRE Workbook, chapter 5): fires when the burn rate is above
/// `factor` over both windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BurnRule {
    /// `page` or `ticket`.
    pub severity: String,
    pub short_seconds: u64,
    pub long_seconds: u64,
    pub factor: f64,
}

/// One objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slo {
    /// Unique on a desk: `service/name`.
    pub id: String,
    pub service: String,
    pub name: String,
    pub title: String,
    pub description: String,
    /// Share of good events or slices promised, between 0 and 1.
    pub target: f64,
    pub window: Window,
    pub method: Method,
    pub indicator: Indicator,
    /// The name of a preset (`workbook`, `sloth`) or `custom`.
    pub alerting: String,
    pub burn_rules: Vec<BurnRule>,
    /// Newest sample older than this: stale.
    pub fresh_seconds: u64,
    pub labels: std::collections::BTreeMap<String, String>,
    /// `FILE:LINE` it was read from.
    pub from: String,
    /// What is odd about it but no error, such as an alert that can never fire.
    pub notes: Vec<String>,
}

/// What its state is called on screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SloState {
    /// Less than half of the budget spent.
    Healthy,
    /// Samples come, and there is no traffic: nothing to be good or bad.
    Quiet,
    /// From 50 %.
    SlowDown,
    /// From 75 %.
    Freeze,
    /// All of it spent.
    Emergency,
    /// Samples came, but the newest is too old.
    Stale,
    /// The metric does not exist.
    Absent,
    /// It could not be asked, or covers too little of the window.
    Unknown,
}

impl SloState {
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Quiet => "quiet",
            Self::SlowDown => "slow down",
            Self::Freeze => "freeze",
            Self::Emergency => "exhausted",
            Self::Stale => "stale",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the budget is known at all.
    pub fn is_known(self) -> bool {
        matches!(self, Self::Healthy | Self::SlowDown | Self::Freeze | Self::Emergency)
    }
}

/// The burn rate over one window: the share of bad over the share allowed. `None`: no traffic, or not known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Burn {
    pub window_seconds: u64,
    pub rate: Option<f64>,
    pub events: f64,
    /// Share of the window that has samples.
    pub coverage: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BurnAlert {
    pub rule: BurnRule,
    pub state: Tri,
    /// Since when it fires.
    pub since: Option<Timestamp>,
}

/// A point of the burn-down: how much of the budget was left, and how many events a second there were.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetPoint {
    pub at: Timestamp,
    /// Share of the budget, below 0 when overspent; `None`: not known.
    pub left: Option<f64>,
    pub events_per_second: Option<f64>,
    /// Burn rate over this point's step.
    pub burn: Option<f64>,
}

/// A calendar month of an objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonthRow {
    /// `2026-10`.
    pub month: String,
    pub sli: Option<f64>,
    pub spent: Option<f64>,
    pub events: f64,
    pub coverage: f64,
}

/// How an objective stands. Nothing is clamped: spent may be above 1, left below 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SloStatus {
    pub id: String,
    pub at: Timestamp,
    pub state: SloState,
    /// Why it is so, in words; may quote a server.
    pub why: Untrusted,
    pub method: Method,
    pub target: f64,
    pub from: Timestamp,
    pub until: Timestamp,
    /// Share of good, and of what: events, or slices.
    pub sli: Option<f64>,
    pub good: f64,
    pub total: f64,
    /// Of the whole window: `(1 - target) x window`.
    pub budget_seconds: f64,
    pub spent_seconds: Option<f64>,
    /// Events that may be bad among those seen, and those that were.
    pub budget_events: Option<f64>,
    pub spent_events: Option<f64>,
    /// Shares of the budget.
    pub spent: Option<f64>,
    pub left: Option<f64>,
    pub burn: Vec<Burn>,
    pub alerts: Vec<BurnAlert>,
    /// Seconds until the budget is spent at the present rate (6 h window). `None`: not at this rate, or not known.
    pub exhausted_in_seconds: Option<f64>,
    /// What would exhaust it, in words.
    pub exhausts: String,
    /// Share of the window that has samples.
    pub coverage: f64,
    pub newest: Option<Timestamp>,
    pub points: Vec<BudgetPoint>,
    pub months: Vec<MonthRow>,
}

/// How urgent a change is, for the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeClass {
    Normal,
    Critical,
    Emergency,
}

impl ChangeClass {
    pub const ALL: [Self; 3] = [Self::Normal, Self::Critical, Self::Emergency];

    pub fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Critical => "critical",
            Self::Emergency => "emergency",
        }
    }
}

/// From which share of the budget spent which changes are blocked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetBand {
    /// Share spent from which it holds, 0 to 1.
    pub from: f64,
    pub word: String,
    /// Classes that may still go ahead.
    pub allows: Vec<ChangeClass>,
}

/// What the gate says of a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateAnswer {
    pub class: ChangeClass,
    pub answer: Tri,
    /// One line for each objective that does not pass, worst first.
    pub reasons: Vec<String>,
}
