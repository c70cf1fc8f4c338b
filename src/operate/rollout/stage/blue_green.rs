//! Blue-green: ready, smoke, switch, watch; scaling the old side to nothing is an act of its own.

use jiff::Timestamp;

use super::{Facts, Place, StageState, advise, held, hold};
use crate::model::rollout::{Advice, RolloutPhase, RolloutVerb};

pub(super) fn place(before: Option<&StageState>, facts: &Facts) -> Option<Place> {
    if facts.aborted {
        return Some(Place::Aborted);
    }
    if facts.phase == RolloutPhase::Unknown {
        return None;
    }
    let mine = before.filter(|s| facts.revision.as_ref() == Some(&s.revision));
    match (mine.map(|s| s.at), facts.switched?) {
        // Switched back.
        (Some(Place::Watch | Place::Drain | Place::Aborted), false) => Some(Place::Aborted),
        (_, false) => Some(Place::Preview),
        (Some(Place::Drain | Place::Done), true) if facts.old_is_gone == Some(true) => Some(Place::Done),
        (Some(Place::Drain | Place::Done), true) => Some(Place::Drain),
        (_, true) => Some(Place::Watch),
    }
}

pub(super) fn advice(state: &mut StageState, facts: &Facts, watch: i64, now: Timestamp) -> Advice {
    match state.at {
        Place::Done => return hold("the new side serves, the old one is gone", None),
        Place::Aborted => return hold("it was switched back", None),
        Place::Weight { .. } | Place::Preview | Place::Watch | Place::Drain => {}
    }
    if let Some((since, why)) = &state.failed {
        let verb = if state.at == Place::Preview { RolloutVerb::Abort } else { RolloutVerb::SwitchSelector };
        let word = if state.at == Place::Preview { "" } else { "switch back: " };
        return advise(verb, format!("{word}{why} (since {since:.0})"));
    }
    let due = (state.at == Place::Watch).then(|| state.due(watch, now)).flatten();
    if let Some(why) = held(facts) {
        return hold(why, due);
    }
    match state.at {
        Place::Preview => advise(RolloutVerb::SwitchSelector, "every gate passes: send the traffic to the new side"),
        Place::Watch if state.measured < watch => {
            hold(format!("watched for {} of {watch} s after the switch", state.measured), due)
        }
        _ => {
            state.at = Place::Drain;
            advise(RolloutVerb::Scale, "watched to the end: the old side may go to 0, which closes the fast way back")
        }
    }
}
