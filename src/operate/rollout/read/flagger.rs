//! Canaries of Flagger, which moves by itself: read only.

use super::Index;
use super::Kept;
use super::Kind;
use super::common;
use super::kept;
use crate::model::rollout::Rollout;
use crate::model::rollout::RolloutKind;
use crate::model::rollout::RolloutPhase;
use crate::model::rollout::Step;

pub fn rollout(index: &Index<'_>, c: &kept::Canary) -> Rollout {
    let seen = index.snapshot.seen(Kind::Canary, index.now);
    let object = "flagger.app/v1beta1 Canary";
    let mut rollout = common::blank(index, &c.metadata, RolloutKind::Flagger, object, seen);
    let s = &c.status;
    rollout.phase = phase(c);
    let promoted = common::condition(&s.conditions, "Promoted", "False")
        .or_else(|| s.conditions.iter().find(|c| c.kind == "Promoted"));
    rollout.message = promoted.map_or_else(|| s.phase.as_str().into(), common::said);
    rollout.aborted = s.phase == "Failed";
    rollout.conditions = common::conditions(&s.conditions);
    rollout.set_weight = Some(s.canary_weight);
    rollout.steps = steps(&c.spec.analysis);
    if rollout.phase == RolloutPhase::Progressing {
        let done =
            rollout.steps.iter().filter(|w| matches!(w, Step::Weight { percent } if *percent <= s.canary_weight));
        rollout.step = Some(done.count().saturating_sub(1));
    }
    if matches!(rollout.phase, RolloutPhase::Degraded | RolloutPhase::Paused) {
        rollout.stuck = s.last_transition_time.map(|at| (rollout.message.clone(), at));
    }
    // The named Deployment is the canary, and Flagger's copy of it is what serves.
    let target = &c.spec.target_ref.name;
    for (name, role) in [(format!("{target}-primary"), "stable"), (target.clone(), "canary")] {
        let Some(Kept::Deployment(d)) = index.snapshot.get(Kind::Deployment, &c.metadata.namespace, &name) else {
            continue;
        };
        rollout.replicas += d.spec.replicas.unwrap_or(1);
        rollout.ready += d.status.ready_replicas;
        rollout.available += d.status.available_replicas;
        if role == "canary" {
            rollout.updated = d.status.ready_replicas;
        }
        let mut revisions = common::revisions(index, &d.metadata.uid, kept::HASH, |_| "");
        if let Some(newest) = revisions.first_mut() {
            role.clone_into(&mut newest.role);
        }
        rollout.revisions.extend(revisions);
    }
    rollout.zones = common::zones(&rollout.revisions);
    rollout
}

/// Whether a Deployment is one of a canary's two, and so no rollout of its own.
pub fn leads(index: &Index<'_>, namespace: &str, deployment: &str) -> bool {
    let target = |name: &str| {
        index.snapshot.all(Kind::Canary).any(|object| {
            let Kept::Canary(c) = object else { return false };
            c.metadata.namespace == namespace
                && c.spec.target_ref.name == name
                && c.spec.target_ref.kind == "Deployment"
        })
    };
    target(deployment) || deployment.strip_suffix("-primary").is_some_and(target)
}

/// Flagger's phases.
fn phase(c: &kept::Canary) -> RolloutPhase {
    match c.status.phase.as_str() {
        _ if c.spec.suspend => RolloutPhase::Paused,
        "Initialized" | "Succeeded" => RolloutPhase::Healthy,
        "Initializing" | "Progressing" | "Promoting" | "Finalising" | "Terminating" => RolloutPhase::Progressing,
        "Waiting" | "WaitingPromotion" => RolloutPhase::Paused,
        "Failed" => RolloutPhase::Degraded,
        _ => RolloutPhase::Unknown,
    }
}

fn steps(analysis: &kept::CanaryAnalysis) -> Vec<Step> {
    if !analysis.step_weights.is_empty() {
        return analysis.step_weights.iter().map(|w| Step::Weight { percent: *w }).collect();
    }
    let (Some(step), Some(most)) = (analysis.step_weight.filter(|s| *s > 0), analysis.max_weight) else {
        return Vec::new();
    };
    (step..=most.min(100)).step_by(step as usize).map(|percent| Step::Weight { percent }).collect()
}
