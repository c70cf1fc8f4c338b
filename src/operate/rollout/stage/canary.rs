//! A canary: from weight to weight, each watched for its time.

use jiff::Timestamp;

use super::{Facts, Place, StageState, advise, held, hold};
use crate::model::rollout::{Advice, RolloutPhase, RolloutVerb};

/// Where it is by what the cluster shows. `None`: that cannot be seen.
pub(super) fn place(before: Option<&StageState>, facts: &Facts) -> Option<Place> {
    // One that is only degraded (its deadline is over, say) still waits for somebody to abort it.
    if facts.aborted {
        return Some(Place::Aborted);
    }
    if facts.phase == RolloutPhase::Unknown {
        return None;
    }
    let done = before.is_some_and(|s| s.at == Place::Done && facts.revision.as_ref() == Some(&s.revision));
    match facts.weight {
        Some(100) if done => Some(Place::Done),
        Some(percent) if percent <= 100 => Some(Place::Weight { percent }),
        _ => None,
    }
}

/// Keeps how the stable revision did, up to the end of the stage from which on it may lose its traffic.
pub(super) fn freeze(state: &mut StageState, facts: &Facts, freeze_from: u32) {
    if let Place::Weight { percent } = state.at
        && percent <= freeze_from
        && state.failed.is_none()
        && let Some(b) = facts.baseline
    {
        state.baseline = Some(b);
    }
}

pub(super) fn advice(state: &mut StageState, facts: &Facts, weights: &[u32], seconds: i64, now: Timestamp) -> Advice {
    let percent = match state.at {
        Place::Weight { percent } => percent,
        Place::Done => return hold("every stage was passed", None),
        _ => return hold("it was aborted", None),
    };
    if let Some((since, why)) = &state.failed {
        return advise(RolloutVerb::Abort, format!("{why} (since {since:.0})"));
    }
    let due = state.due(seconds, now);
    if percent > 0 && !weights.contains(&percent) {
        let words: Vec<String> = weights.iter().map(u32::to_string).collect();
        return hold(format!("{percent} % is no stage; the plan has {}", words.join(", ")), None);
    }
    if let Some(why) = held(facts) {
        return hold(why, due);
    }
    if percent == 0 {
        return hold("the new revision has no traffic yet", None);
    }
    if state.measured < seconds {
        return hold(format!("{percent} % measured for {} of {seconds} s", state.measured), due);
    }
    match weights.iter().find(|w| **w > percent) {
        Some(next) => advise(
            RolloutVerb::Promote,
            format!("every gate passes; {percent} % measured for {seconds} s: on to {next} %"),
        ),
        // The controller calls it healthy: there is nothing left to promote.
        None if facts.phase == RolloutPhase::Healthy => {
            state.at = Place::Done;
            hold("every stage was passed", None)
        }
        None => {
            advise(RolloutVerb::Promote, format!("every gate passes; {percent} % measured for {seconds} s: keep it"))
        }
    }
}
