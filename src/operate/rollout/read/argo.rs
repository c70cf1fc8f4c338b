//! Rollouts of Argo Rollouts, worded and counted as `kubectl argo rollouts get rollout` does.

use jiff::Timestamp;
use serde_json::Map;
use serde_json::Value;

use super::Index;
use super::Kind;
use super::common;
use super::kept;
use crate::model::rollout::Revision;
use crate::model::rollout::Rollout;
use crate::model::rollout::RolloutKind;
use crate::model::rollout::RolloutPhase;
use crate::model::rollout::Step;
use crate::text::Untrusted;

pub fn rollout(index: &Index<'_>, r: &kept::ArgoRollout) -> Rollout {
    let seen = index.snapshot.seen(Kind::Rollout, index.now);
    let object = "argoproj.io/v1alpha1 Rollout";
    let mut rollout = common::blank(index, &r.metadata, RolloutKind::Argo, object, seen);
    let s = &r.status;
    rollout.replicas = r.spec.replicas.unwrap_or(1);
    rollout.updated = s.updated_replicas;
    rollout.ready = s.ready_replicas;
    rollout.available = s.available_replicas;
    rollout.aborted = s.abort;
    rollout.conditions = common::conditions(&s.conditions);
    rollout.revisions = common::revisions(index, &r.metadata.uid, kept::ARGO_HASH, |hash| role(r, hash));
    rollout.zones = common::zones(&rollout.revisions);
    rollout.fast_rollback_until = fast_rollback(index, r);
    rollout.paused_since = s.pause_conditions.iter().filter_map(|p| p.start_time).min();
    if let Some(canary) = &r.spec.strategy.canary {
        rollout.steps = canary.steps.iter().map(step).collect();
        if !rollout.steps.is_empty() {
            rollout.step = s.current_step_index.map(|i| i.min(rollout.steps.len()));
        }
        rollout.set_weight = Some(set_weight(r, &rollout.steps));
        rollout.actual_weight = actual_weight(r, &rollout.revisions);
    }
    (rollout.phase, rollout.message) = phase(r);
    rollout.stuck = stuck(r, &rollout);
    rollout
}

fn promoted(r: &kept::ArgoRollout) -> bool {
    !r.status.stable_rs.is_empty() && r.status.stable_rs == r.status.current_pod_hash
}

fn role(r: &kept::ArgoRollout, hash: &str) -> &'static str {
    let s = &r.status;
    if hash.is_empty() {
        ""
    } else if r.spec.strategy.blue_green.is_some() {
        match hash {
            h if h == s.blue_green.active_selector => "active",
            h if h == s.blue_green.preview_selector => "preview",
            _ => "",
        }
    } else {
        match hash {
            h if h == s.stable_rs => "stable",
            h if h == s.current_pod_hash => "canary",
            _ => "",
        }
    }
}

fn phase(r: &kept::ArgoRollout) -> (RolloutPhase, Untrusted) {
    let s = &r.status;
    // Until 1.0 this was a hash, which says nothing about order.
    if s.observed_generation.parse::<i64>().is_ok_and(|seen| seen < r.metadata.generation) {
        return (RolloutPhase::Unknown, "the controller has not yet seen the newest spec".into());
    }
    let phase = match s.phase.as_str() {
        "Healthy" => RolloutPhase::Healthy,
        "Progressing" => RolloutPhase::Progressing,
        "Paused" => RolloutPhase::Paused,
        "Degraded" => RolloutPhase::Degraded,
        "" => return (RolloutPhase::Unknown, "no controller has said anything yet".into()),
        other => return (RolloutPhase::Unknown, other.into()),
    };
    (phase, s.message.as_str().into())
}

/// The condition that blocks: an invalid spec, an abort, a deadline, a pause only a person ends, missing availability.
fn stuck(r: &kept::ArgoRollout, rollout: &Rollout) -> Option<(Untrusted, Timestamp)> {
    let c = &r.status.conditions;
    let since = |c: &kept::Condition| Some((common::said(c), c.last_transition_time?));
    match rollout.phase {
        RolloutPhase::Degraded => common::condition(c, "InvalidSpec", "True")
            .or_else(|| common::condition(c, "Progressing", "False"))
            .or_else(|| common::condition(c, "ReplicaFailure", "True"))
            .and_then(since),
        RolloutPhase::Paused => {
            let timed = |step: &Step| matches!(step, Step::Pause { seconds: Some(_) });
            if rollout.step.and_then(|i| rollout.steps.get(i)).is_some_and(timed) {
                return None;
            }
            let pause = r.status.pause_conditions.first()?;
            Some((pause.reason.as_str().into(), pause.start_time?))
        }
        RolloutPhase::Progressing => common::condition(c, "Available", "False").and_then(since),
        RolloutPhase::Healthy | RolloutPhase::Unknown => None,
    }
}

/// Until when an old ReplicaSet still has its pods: going back to it needs no new ones.
fn fast_rollback(index: &Index<'_>, r: &kept::ArgoRollout) -> Option<Timestamp> {
    let sets = index.replica_sets.get(r.metadata.uid.as_str())?;
    let kept = sets.iter().filter(|s| s.status.available_replicas > 0);
    kept.filter_map(|s| s.metadata.annotations.get(kept::SCALE_DOWN)?.parse().ok()).max()
}

/// As Argo's `GetCurrentSetWeight`: the newest `setWeight` at or before the step it is at; 0 when aborted, 100 when all
/// steps are done or there are none.
fn set_weight(r: &kept::ArgoRollout, steps: &[Step]) -> u32 {
    if r.status.abort {
        return 0;
    }
    let Some(at) = r.status.current_step_index.filter(|i| *i < steps.len()) else { return 100 };
    let weight = |s: &Step| if let Step::Weight { percent } = s { Some(*percent) } else { None };
    steps.iter().take(at + 1).rev().find_map(weight).unwrap_or(0)
}

/// What the traffic router reported; without one, the canary's share of the available pods.
fn actual_weight(r: &kept::ArgoRollout, revisions: &[Revision]) -> Option<u32> {
    if promoted(r) {
        return Some(100);
    }
    if let Some(weights) = &r.status.canary.weights {
        return Some(weights.canary.weight);
    }
    let canary = revisions.iter().filter(|v| v.role == "canary").map(|v| v.available).sum();
    common::percent(canary, revisions.iter().map(|v| v.available).sum())
}

fn step(step: &Map<String, Value>) -> Step {
    let Some((what, value)) = step.iter().next() else { return Step::Other { what: "empty".into() } };
    match (what.as_str(), value) {
        ("setWeight", v) => match v.as_u64().and_then(|v| u32::try_from(v).ok()) {
            Some(percent) => Step::Weight { percent },
            None => Step::Other { what: format!("setWeight {v}").into() },
        },
        ("pause", v) => match v.get("duration") {
            None | Some(Value::Null) => Step::Pause { seconds: None },
            Some(d) => match seconds(d) {
                Some(seconds) => Step::Pause { seconds: Some(seconds) },
                None => Step::Other { what: format!("pause {d}").into() },
            },
        },
        ("analysis", _) => Step::Analysis,
        ("experiment", _) => Step::Experiment,
        ("setCanaryScale", _) => Step::Scale,
        (other, _) => Step::Other { what: other.into() },
    }
}

/// A number of seconds, the same as text, or a Go duration such as `1h30m`.
fn seconds(duration: &Value) -> Option<u64> {
    if let Some(n) = duration.as_u64() {
        return Some(n);
    }
    let text = duration.as_str()?.trim();
    if let Ok(n) = text.parse() {
        return Some(n);
    }
    let mut total = 0_f64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|n| *n > 0)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let scale = match unit {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    // Cannot be negative or huge: digits only, and a float clamps.
    (!text.is_empty()).then_some(total.round() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_of_pauses() {
        let cases = [
            (json!(30), Some(30)),
            (json!("30"), Some(30)),
            (json!("10m"), Some(600)),
            (json!("1h30m"), Some(5_400)),
            (json!("1.5h"), Some(5_400)),
            (json!("h"), None),
            (json!("5d"), None),
            (json!(""), None),
        ];
        for (given, wanted) in cases {
            assert_eq!(seconds(&given), wanted, "{given}");
        }
    }
}
