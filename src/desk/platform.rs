//! The platform's health as the doors see it: the newest reading, kept by the background work of this process.

use jiff::Timestamp;
use serde::Serialize;

use super::Desk;
use crate::model::backup::AssetStatus;
use crate::model::health::SourceState;
use crate::model::rollout::Rollout;
use crate::model::sla::{ChecklistRun, SlaMonth};
use crate::model::slo::{GateAnswer, Slo, SloStatus};

/// One reading. Lists are in the order they are shown: worst first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Platform {
    pub at: Option<Timestamp>,
    pub slos: Vec<(Slo, SloStatus)>,
    /// For a normal change, then critical, then emergency; empty without objectives.
    pub gate: Vec<GateAnswer>,
    pub rollouts: Vec<Rollout>,
    pub assets: Vec<AssetStatus>,
    pub sla: Vec<SlaMonth>,
    pub checklists: Vec<ChecklistRun>,
    pub sources: Vec<SourceState>,
}

impl Desk {
    /// The newest reading; empty until the first one.
    pub fn platform(&self) -> std::sync::Arc<Platform> {
        self.platform.lock().map(|p| std::sync::Arc::clone(&p)).unwrap_or_default()
    }

    /// Replaces a part of the reading.
    #[allow(dead_code, reason = "each reader of the platform fills in its own part")]
    pub(super) fn read_platform(&self, change: impl FnOnce(&mut Platform)) {
        if let Ok(mut slot) = self.platform.lock() {
            let mut next = (**slot).clone();
            change(&mut next);
            next.at = Some(Timestamp::now());
            *slot = std::sync::Arc::new(next);
        }
    }
}
