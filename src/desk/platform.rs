//! The platform's health as the doors see it: the newest reading, kept by the background work of this process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;

use jiff::Timestamp;
use serde::Serialize;

use super::Desk;
use super::PairOffers;
use crate::model::backup::AssetStatus;
use crate::model::health::SourceState;
use crate::model::health::Tri;
use crate::model::query::Glob;
use crate::model::rollout::Rollout;
use crate::model::sla::{ChecklistRun, SlaMonth};
use crate::model::slo::{ChangeClass, GateAnswer, Slo, SloStatus};
use crate::operate::slo;
use crate::respond::Budgets;

/// One reading. Lists are in the order they are shown: worst first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Platform {
    pub at: Option<Timestamp>,
    pub slos: Vec<(Slo, SloStatus)>,
    /// For a normal change, then critical, then emergency; empty without objectives.
    pub gate: Vec<GateAnswer>,
    pub rollouts: Vec<Rollout>,
    /// What can be done with rollouts that are two Deployments, by `CLUSTER/NAMESPACE/NAME`.
    pub pairs: BTreeMap<String, PairOffers>,
    pub assets: Vec<AssetStatus>,
    pub sla: Vec<SlaMonth>,
    pub checklists: Vec<ChecklistRun>,
    pub sources: Vec<SourceState>,
}

/// A reading of an objective older than this says nothing about its budget now.
const READING: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// The answer to whether the budgets allow a change, from the newest reading.
pub(super) fn budgets(platform: &Arc<Mutex<Arc<Platform>>>) -> Budgets {
    let platform = Arc::clone(platform);
    Arc::new(move |class, slos| {
        let reading = platform.lock().map(|p| Arc::clone(&p)).unwrap_or_default();
        allows(&reading, class, slos, Timestamp::now())
    })
}

/// Every objective that counts must allow it; what is not known, or was read too long ago, does not.
pub(super) fn allows(reading: &Platform, class: ChangeClass, slos: &[String], now: Timestamp) -> GateAnswer {
    let unknown = |why: String| GateAnswer { class, answer: Tri::Unknown, reasons: vec![why] };
    let counts = |id: &str| slos.iter().any(|p| Glob::new(p).is_match(id));
    let mine: Vec<(Slo, SloStatus)> = reading.slos.iter().filter(|(_, s)| counts(&s.id)).cloned().collect();
    if mine.is_empty() {
        return unknown("no objective that counts was read".into());
    }
    if let Some((_, old)) = mine.iter().find(|(_, s)| now.duration_since(s.at) > READING) {
        return unknown(format!("{} was last read at {:.0}", old.id, old.at));
    }
    slo::gate::gate(&mine, class, &slo::gate::bands())
}

impl Desk {
    /// The newest reading; empty until the first one.
    pub fn platform(&self) -> std::sync::Arc<Platform> {
        self.platform.lock().map(|p| std::sync::Arc::clone(&p)).unwrap_or_default()
    }

    /// Replaces a part of the reading.
    pub(super) fn read_platform(&self, change: impl FnOnce(&mut Platform)) {
        if let Ok(mut slot) = self.platform.lock() {
            let mut next = (**slot).clone();
            change(&mut next);
            next.at = Some(Timestamp::now());
            *slot = std::sync::Arc::new(next);
        }
    }
}
