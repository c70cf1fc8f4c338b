//! Rollouts: what a cluster is changing from what to what, how far it got, and whether it may go on.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::health::Tri;
use crate::text::Untrusted;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutKind {
    /// A Deployment that rolls.
    Rolling,
    /// Two Deployments behind one Service selector.
    BlueGreen,
    /// Two Deployments behind one Service, weighed by their replicas.
    ReplicaCanary,
    /// Argo Rollouts.
    Argo,
    /// Flagger's Canary: read only.
    Flagger,
}

impl RolloutKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Rolling => "rolling",
            Self::BlueGreen => "blue-green",
            Self::ReplicaCanary => "replica canary",
            Self::Argo => "argo",
            Self::Flagger => "flagger",
        }
    }
}

/// `CLUSTER/NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RolloutId {
    pub cluster: String,
    pub namespace: String,
    pub name: String,
}

impl std::fmt::Display for RolloutId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.cluster, self.namespace, self.name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutPhase {
    /// Nothing is being changed.
    Healthy,
    Progressing,
    Paused,
    /// It failed, or was aborted.
    Degraded,
    /// The controller has not yet seen the newest spec, or says nothing we know.
    Unknown,
}

impl RolloutPhase {
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Progressing => "progressing",
            Self::Paused => "paused",
            Self::Degraded => "degraded",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Step {
    Weight {
        percent: u32,
    },
    /// `None`: until somebody promotes.
    Pause {
        seconds: Option<u64>,
    },
    Analysis,
    Experiment,
    Scale,
    Other {
        what: Untrusted,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    pub name: Untrusted,
    pub phase: Untrusted,
    pub ready: bool,
    pub restarts: u32,
    pub zone: Option<Untrusted>,
    pub node: Option<Untrusted>,
    pub since: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    pub number: Option<u64>,
    pub replica_set: Untrusted,
    pub hash: Untrusted,
    /// `stable`, `canary`, `active`, `preview` or empty.
    pub role: String,
    pub images: Vec<Image>,
    pub desired: u32,
    pub ready: u32,
    pub available: u32,
    pub since: Option<Timestamp>,
    pub pods: Vec<Pod>,
    pub analyses: Vec<Analysis>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    pub reference: Untrusted,
    pub digest: Option<Untrusted>,
    /// Named by a tag that moves (`latest`, or none).
    pub floating: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    pub name: Untrusted,
    pub phase: Untrusted,
    pub message: Untrusted,
    pub metrics: Vec<AnalysisMetric>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnalysisMetric {
    pub name: Untrusted,
    pub phase: Untrusted,
    pub successful: u32,
    pub failed: u32,
    pub inconclusive: u32,
    pub error: u32,
    /// The newest measurement's value, as the controller wrote it.
    pub value: Option<Untrusted>,
    pub at: Option<Timestamp>,
}

/// One thing that must hold before the next step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// `error ratio`, `budget`, `ready`, `zones`, ...
    pub name: String,
    pub answer: Tri,
    pub why: String,
    pub canary: Option<f64>,
    pub stable: Option<f64>,
    /// What the canary's value may be at most, or the value must be at least; in words which.
    pub limit: Option<f64>,
    pub limit_word: String,
    pub events: Option<f64>,
    pub samples: Option<u32>,
    pub newest: Option<Timestamp>,
    /// Measured values over time, oldest first.
    pub history: Vec<(Timestamp, Option<f64>)>,
}

/// Ready pods in one zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Zone {
    pub name: Untrusted,
    pub ready: u32,
    pub total: u32,
}

/// A rollout with all a person needs to decide about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    pub id: RolloutId,
    pub kind: RolloutKind,
    pub phase: RolloutPhase,
    /// The controller's own word and message.
    pub message: Untrusted,
    /// `apps/v1 Deployment`, `argoproj.io/v1alpha1 Rollout`, ...
    pub object: String,
    pub uid: String,
    pub resource_version: String,
    pub generation: i64,
    pub replicas: u32,
    pub updated: u32,
    pub ready: u32,
    pub available: u32,
    /// Percent of traffic the new revision is meant to have, and has.
    pub set_weight: Option<u32>,
    pub actual_weight: Option<u32>,
    pub steps: Vec<Step>,
    /// The step it is at; `steps.len()` when all are done.
    pub step: Option<usize>,
    pub paused_since: Option<Timestamp>,
    pub aborted: bool,
    pub revisions: Vec<Revision>,
    /// For blue-green: which of `blue` and `green` the Service points at.
    pub active: Option<String>,
    pub conditions: Vec<Condition>,
    /// The condition that blocks it and since when, if it does not move.
    pub stuck: Option<(Untrusted, Timestamp)>,
    pub zones: Vec<Zone>,
    /// Ready pods each zone must have.
    pub zone_minimum: Option<u32>,
    /// Until when going back needs no new pods.
    pub fast_rollback_until: Option<Timestamp>,
    pub gates: Vec<Gate>,
    /// What the stage machine thinks should be done next.
    pub advice: Option<Advice>,
    pub seen: Timestamp,
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    pub kind: Untrusted,
    pub status: Untrusted,
    pub reason: Untrusted,
    pub message: Untrusted,
    pub since: Option<Timestamp>,
}

/// What to do with a rollout. Each is an action of the catalogue: `rollout-promote`, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutVerb {
    Promote,
    Abort,
    Retry,
    Pause,
    Undo,
    Scale,
    SwitchSelector,
}

impl RolloutVerb {
    pub const ALL: [Self; 7] =
        [Self::Promote, Self::Abort, Self::Retry, Self::Pause, Self::Undo, Self::Scale, Self::SwitchSelector];

    pub fn word(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Abort => "abort",
            Self::Retry => "retry",
            Self::Pause => "pause",
            Self::Undo => "undo",
            Self::Scale => "scale",
            Self::SwitchSelector => "switch-selector",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Advice {
    /// `None`: hold.
    pub verb: Option<RolloutVerb>,
    pub why: String,
    /// When the stage's time is over.
    pub due: Option<Timestamp>,
}
