//! What the cursor stands on, and what can be done with it.

use super::super::state::{State, Tab};
use super::super::words::{Said, say};
use super::index;
use crate::desk::Offer;
use crate::model::action::{ActionDef, Executor, Request, RequestState};
use crate::model::backup::AssetStatus;
use crate::model::rollout::{Rollout, RolloutKind, RolloutPhase, RolloutVerb, Step};

pub fn rollout_in_hand(s: &State) -> Option<&Rollout> {
    if s.tab != Tab::Rollouts {
        return None;
    }
    s.platform.rollouts.get(index(s, Tab::Rollouts)?)
}

pub fn asset_in_hand(s: &State) -> Option<&AssetStatus> {
    if s.tab != Tab::Backups {
        return None;
    }
    s.platform.assets.get(index(s, Tab::Backups)?)
}

/// Whether an action takes, restores or tries backups.
pub fn is_backup_act(def: &ActionDef) -> bool {
    match def.executor {
        Executor::OpensearchSnapshot { .. } | Executor::Velero { .. } => true,
        // What stands for one where nothing is real.
        Executor::Demo { .. } => def.name.ends_with("-snapshot"),
        _ => false,
    }
}

pub fn offer_of(s: &State, r: &Rollout, verb: RolloutVerb) -> Option<Offer> {
    s.platform.offers(r).into_iter().find(|o| o.verb == verb)
}

/// Requests about a rollout that somebody has to decide or run, newest first.
pub fn requests_about<'s>(s: &'s State, r: &Rollout) -> impl Iterator<Item = &'s Request> {
    // A pair is asked about by the names of what it is made of, which are full ones.
    let members = s.platform.pairs.get(&r.id.to_string()).map(|pair| pair.members.clone());
    let own = || vec![r.id.to_string(), r.id.name.clone(), format!("{}/{}", r.id.namespace, r.id.name)];
    let ids = members.unwrap_or_else(own);
    s.requests.rows.iter().filter(move |q| {
        let open = matches!(q.state, RequestState::Pending | RequestState::Approved | RequestState::Executing);
        open && q.body.action.starts_with("rollout-") && q.body.targets.iter().any(|t| ids.contains(t))
    })
}

/// What an act would do to this rollout.
pub fn offer_words(r: &Rollout, o: &Offer) -> Said {
    if matches!(r.kind, RolloutKind::BlueGreen | RolloutKind::ReplicaCanary) {
        return pair_words(o);
    }
    match (o.verb, o.full) {
        (RolloutVerb::Promote, true) => say!("promote in full, no more steps"),
        (RolloutVerb::Promote, false) if r.phase == RolloutPhase::Paused && r.paused_since.is_none() => {
            say!("resume it")
        }
        (RolloutVerb::Promote, false) => match next_weight(r) {
            Some(percent) => say!("promote, on to ", percent, " %"),
            None => say!("promote to the next step"),
        },
        (RolloutVerb::Abort, _) => say!("ABORT, back to the stable one"),
        (RolloutVerb::Retry, _) => say!("retry from the first step"),
        (RolloutVerb::Pause, _) => say!("pause it where it is"),
        (RolloutVerb::Undo, _) => say!("undo, to an earlier revision"),
        (RolloutVerb::Scale, _) => say!("change the replicas"),
        (RolloutVerb::SwitchSelector, _) => say!("point its Service elsewhere"),
    }
}

/// For two Deployments, with what would be changed.
fn pair_words(o: &Offer) -> Said {
    let end = match o.verb {
        RolloutVerb::Promote => say!("promote"),
        RolloutVerb::Abort => say!("ABORT, back to the old one"),
        RolloutVerb::Undo => say!("undo, back to the old one"),
        RolloutVerb::Scale => say!("let the old side go"),
        RolloutVerb::SwitchSelector => say!("switch its Service"),
        verb => say!(verb.word()),
    };
    match &o.patch {
        Ok(what) if !what.is_empty() => say!(end, ": ", Said::of(what)),
        _ => end,
    }
}

/// The weight after the step it waits at.
fn next_weight(r: &Rollout) -> Option<u32> {
    let at = r.step.filter(|_| !r.steps.is_empty())?;
    let weight = |s: &Step| if let Step::Weight { percent } = s { Some(*percent) } else { None };
    Some(r.steps.iter().skip(at + 1).find_map(weight).unwrap_or(100))
}
