//! One look at a rollout: which revisions it is between, what must be asked, and what the answers come to. Pure; what
//! is asked is asked by [`super::ask`].

use jiff::SignedDuration;
use jiff::Timestamp;

use super::config::ErrorRules;
use super::config::REVISION;
use super::config::Rules;
use super::gate::gate;
use super::gate::other;
use super::gate::other::Patience;
use super::gate::ratio;
use super::gate::ratio::Against;
use super::gate::ratio::Baseline;
use super::gate::ratio::Reading;
use super::gate::ratio::Side;
use super::stage;
use super::stage::Facts;
use super::stage::Place;
use super::stage::StagePlan;
use super::stage::StageState;
use crate::model::health::Tri;
use crate::model::rollout::Advice;
use crate::model::rollout::Gate;
use crate::model::rollout::Revision;
use crate::model::rollout::Rollout;
use crate::model::rollout::RolloutKind;
use crate::model::rollout::RolloutPhase;
use crate::model::rollout::RolloutVerb;
use crate::model::rollout::Step;
use crate::model::sla::ChecklistRun;
use crate::model::slo::GateAnswer;
use crate::text::clean;

/// Counters are looked at no further back than this.
const FURTHEST: SignedDuration = SignedDuration::from_hours(6);
/// Besides the stage itself: the last sample before it is where counting starts.
const BEFORE: i64 = 150;
/// A cluster that was not heard of for so long says nothing about now.
const FRESH: SignedDuration = SignedDuration::from_secs(60);

/// The two revisions a rollout is between.
#[derive(Clone, Copy, Debug)]
pub struct Between<'a> {
    pub new: Option<&'a Revision>,
    pub old: Option<&'a Revision>,
    /// Blue-green: whether the traffic goes to the new one.
    pub switched: Option<bool>,
    /// It is on its way, or is still being watched.
    pub moving: bool,
}

/// What to ask the server of metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Asks {
    /// What happened before is not counted.
    pub from: Timestamp,
    /// How many seconds of samples that takes.
    pub seconds: i64,
    pub new: Ask,
    pub old: OldSide,
}

/// The selectors of one side.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    pub id: String,
    pub errors: String,
    pub total: String,
}

/// What the new side is held against.
#[derive(Clone, Debug, PartialEq)]
pub enum OldSide {
    Live(Ask),
    /// Its traffic is gone: what was frozen before, if it was.
    Frozen(String, Option<Baseline>),
    Nothing(String),
}

/// Everything that was heard from others than the cluster. `None`: it was not asked for, see the rules.
#[derive(Clone, Debug, Default)]
pub struct Heard<'a> {
    /// Errors and requests of the new side, and of the old one where it is asked.
    pub counted: Option<Counted>,
    pub budget: Option<GateAnswer>,
    pub readiness: Option<&'a ChecklistRun>,
    pub smoke: Option<Vec<(String, Result<String, String>)>>,
}

#[derive(Clone, Debug)]
pub struct Counted {
    pub new: (Reading, Reading),
    pub old: Option<(Reading, Reading)>,
}

/// What a look comes to.
#[derive(Clone, Debug)]
pub struct Looked {
    pub facts: Facts,
    pub at: Option<(Place, Timestamp)>,
}

/// The name of a revision.
pub fn name(r: &Revision) -> String {
    let text = if r.hash.is_empty() { &r.replica_set } else { &r.hash };
    text.expose().to_owned()
}

fn has_pods(r: &Revision) -> bool {
    r.desired > 0 || r.ready > 0
}

/// Which revisions these are. `state`: what is kept of the rollout, for what the cluster alone does not show: that a
/// revision which serves already is still being watched.
pub fn between<'a>(r: &'a Rollout, state: Option<&StageState>) -> Between<'a> {
    let role = |role: &str| r.revisions.iter().find(|v| v.role == role);
    let other = |than: &Revision| r.revisions.iter().find(|v| v.hash != than.hash);
    let watched =
        |v: &Revision| state.is_some_and(|s| s.revision == name(v) && !matches!(s.at, Place::Done | Place::Aborted));
    let weighed =
        |new: &str, old: &str| match role(new).filter(|v| r.kind != RolloutKind::ReplicaCanary || v.desired > 0) {
            Some(v) => Between { new: Some(v), old: role(old), switched: None, moving: !r.aborted },
            None => {
                let v = role(old);
                Between { new: v, old: v.and_then(other), switched: None, moving: v.is_some_and(watched) }
            }
        };
    match r.kind {
        RolloutKind::Rolling => {
            let new = r.revisions.first();
            let old = r.revisions.iter().skip(1).find(|v| has_pods(v));
            Between { new, old, switched: None, moving: r.phase != RolloutPhase::Healthy && old.is_some() }
        }
        RolloutKind::Flagger => {
            let moving = matches!(r.phase, RolloutPhase::Progressing | RolloutPhase::Paused);
            Between { new: role("canary"), old: role("stable"), switched: None, moving }
        }
        RolloutKind::ReplicaCanary => weighed("canary", "stable"),
        RolloutKind::Argo if r.set_weight.is_some() => weighed("canary", "stable"),
        RolloutKind::Argo | RolloutKind::BlueGreen => two_sides(r, state, watched),
    }
}

/// Blue-green: the side that came last is the new one, whether it serves or not.
fn two_sides<'a>(r: &'a Rollout, state: Option<&StageState>, watched: impl Fn(&Revision) -> bool) -> Between<'a> {
    let active = r.revisions.iter().find(|v| v.role == "active");
    let preview = r.revisions.iter().find(|v| v.role == "preview").or_else(|| {
        // Argo without a Service for the preview: the newest one, while it does not serve.
        r.revisions.first().filter(|v| r.kind == RolloutKind::Argo && v.role.is_empty() && v.desired > 0)
    });
    let (Some(active), preview) = (active, preview.filter(|p| active.is_none_or(|a| a.hash != p.hash))) else {
        return Between { new: None, old: None, switched: None, moving: false };
    };
    let comes = |p: &&Revision| {
        let kept = state.is_some_and(|s| s.revision == name(p));
        kept || (p.desired > 0 && p.since > active.since)
    };
    match preview.filter(comes) {
        Some(p) => {
            Between { new: Some(p), old: Some(active), switched: Some(false), moving: !r.aborted && p.desired > 0 }
        }
        None => {
            let old = preview.or_else(|| r.revisions.iter().find(|v| v.hash != active.hash && has_pods(v)));
            let fresh = state.is_none_or(|s| s.revision != name(active)) && old.is_some_and(has_pods);
            Between { new: Some(active), old, switched: Some(true), moving: watched(active) || fresh }
        }
    }
}

/// What the cluster shows of it; gates and measurements are still to be added.
fn seen(r: &Rollout, b: &Between<'_>) -> Facts {
    Facts {
        revision: b.new.map(name),
        phase: r.phase,
        aborted: r.aborted,
        weight: r.set_weight.filter(|_| r.actual_weight.is_some()),
        switched: b.switched,
        old_is_gone: b.switched.map(|_| b.old.is_none_or(|o| !has_pods(o))),
        gates: Vec::new(),
        measured: false,
        baseline: None,
    }
}

/// Where it is and since when.
pub fn standing(rules: &Rules, r: &Rollout, state: Option<&StageState>, now: Timestamp) -> Option<(Place, Timestamp)> {
    let b = between(r, state);
    match rules.plan(r) {
        Some(plan) => stage::standing(&plan, state, &seen(r, &b), now),
        None => b.new.and_then(|v| v.since).map(|since| (Place::Watch, since)),
    }
}

/// What must be asked about the traffic. `None`: nothing, for nothing is being rolled out, nothing is said about errors,
/// or the new side has no traffic yet.
pub fn asks(rules: &Rules, r: &Rollout, state: Option<&StageState>, now: Timestamp) -> Option<Asks> {
    let errors = rules.errors.as_ref()?;
    let b = between(r, state);
    let new = b.new.filter(|_| b.moving)?;
    let (at, since) = standing(rules, r, state, now)?;
    let id = errors.names.as_ref().map_or_else(|| name(new), |n| n.0.clone());
    let old = errors.names.as_ref().map_or_else(|| b.old.map(name).unwrap_or_default(), |n| n.1.clone());
    let old = match rules.plan(r) {
        Some(StagePlan::Canary { freeze_from, .. }) => match at {
            Place::Weight { percent } if percent <= freeze_from => OldSide::Live(ask(errors, old)),
            Place::Weight { .. } => {
                OldSide::Frozen(old, state.filter(|s| s.revision == name(new)).and_then(|s| s.baseline))
            }
            _ => return None,
        },
        Some(StagePlan::BlueGreen { .. }) if at == Place::Watch => OldSide::Nothing(old),
        Some(StagePlan::BlueGreen { .. }) => return None,
        None => OldSide::Live(ask(errors, old)),
    };
    let from = since.max(now.checked_sub(FURTHEST).unwrap_or(since)).min(now);
    let seconds = now.duration_since(from).as_secs() + BEFORE.max(errors.limits.recent_seconds);
    Some(Asks { from, seconds, new: ask(errors, id), old })
}

fn ask(rules: &ErrorRules, id: String) -> Ask {
    let fill = |query: &str| query.replace(REVISION, &id);
    Ask { errors: fill(&rules.errors), total: fill(&rules.total), id }
}

impl Ask {
    /// A name that could change the meaning of a query is not asked about.
    pub fn is_plain(&self) -> bool {
        !self.id.is_empty() && self.id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    }
}

/// Judges everything that was heard.
pub fn judge(rules: &Rules, r: &Rollout, state: Option<&StageState>, heard: &Heard<'_>, now: Timestamp) -> Looked {
    let b = between(r, state);
    let at = standing(rules, r, state, now);
    let mut facts = seen(r, &b);
    let patience = Patience { since: at.map_or(now, |a| a.1), seconds: rules.ready };
    if now.duration_since(r.seen) > FRESH {
        let why = format!("the cluster was last seen at {:.0}", r.seen);
        facts.gates.push(gate("cluster", Tri::Unknown, why));
    }
    if r.phase == RolloutPhase::Degraded && !r.aborted {
        let said = clean(&r.message);
        facts.gates.push(gate("controller", Tri::Fail, format!("degraded: {}", said.as_str())));
    }
    if let Some(asks) = asks(rules, r, state, now) {
        let limits = rules.errors.as_ref().map(|e| e.limits.clone()).unwrap_or_default();
        let judged = ratio::judge(&new_side(&asks, heard), &against(&asks, heard), &limits, asks.from, now);
        facts.measured = judged.measured;
        facts.baseline = judged.baseline;
        facts.gates.push(judged.gate);
    } else if b.moving && rules.errors.is_none() {
        facts.gates.push(gate("error ratio", Tri::Unknown, "rollouts.toml has no [rollouts.errors] for it"));
    }
    facts.gates.push(other::ready(b.new, patience, now));
    facts.gates.extend(other::zones(&r.zones, rules.zone_minimum, patience, now));
    if b.moving {
        facts.gates.extend(b.new.and_then(|v| other::analysis(&v.analyses)));
    }
    let before = matches!(at, Some((Place::Preview, _)));
    if rules.smoke.is_some() && before && b.moving {
        facts.gates.push(other::smoke(heard.smoke.as_deref(), patience, now));
    }
    if rules.budget.is_some() {
        facts.gates.push(other::budget(heard.budget.as_ref()));
    }
    if let Some(list) = &rules.readiness {
        facts.gates.push(other::readiness(&list.list, heard.readiness, list.valid, now));
    }
    Looked { facts, at }
}

fn new_side(asks: &Asks, heard: &Heard<'_>) -> Side {
    side(&asks.new.id, heard.counted.as_ref().map(|c| c.new.clone()))
}

fn side(id: &str, read: Option<(Reading, Reading)>) -> Side {
    let none = || Err("it was not asked".to_owned());
    let (errors, total) = read.unwrap_or_else(|| (none(), none()));
    Side { id: id.to_owned(), errors, total }
}

fn against(asks: &Asks, heard: &Heard<'_>) -> Against {
    match &asks.old {
        OldSide::Live(ask) => Against::Live(side(&ask.id, heard.counted.as_ref().and_then(|c| c.old.clone()))),
        OldSide::Frozen(id, Some(baseline)) => Against::Frozen { id: id.clone(), baseline: *baseline },
        OldSide::Frozen(id, None) => Against::Missing { id: id.clone() },
        OldSide::Nothing(id) => Against::Nothing { id: id.clone() },
    }
}

/// The advice for a rollout that has no stages: one that goes by itself can only be taken back.
pub fn by_itself(r: &Rollout, gates: &[Gate]) -> Advice {
    let hold = |why: String| Advice { verb: None, why, due: None };
    let failed = gates.iter().find(|g| g.answer == Tri::Fail && !stage::only_holds(&g.name));
    match (r.kind, failed) {
        (RolloutKind::Rolling, Some(g)) => {
            Advice { verb: Some(RolloutVerb::Undo), why: format!("{}: {}", g.name, g.why), due: None }
        }
        (RolloutKind::Flagger, _) => hold("Flagger moves it by itself, and nothing here can change that".into()),
        _ => hold("it rolls by itself".into()),
    }
}

/// The advice of the stage machine in words that fit this kind of rollout.
pub fn fit(advice: Advice, r: &Rollout, b: &Between<'_>) -> Advice {
    let hold =
        |advice: Advice, why: &str| Advice { verb: None, why: format!("{}; {why}", advice.why), due: advice.due };
    let undo = |advice: Advice| Advice { verb: Some(RolloutVerb::Undo), ..advice };
    if r.kind != RolloutKind::Argo {
        return advice;
    }
    // Its stable revision is the new one: there is nothing left to abort.
    let through = b.new.is_some_and(|v| v.role == "stable" || v.role == "active");
    let timed = || r.step.and_then(|i| r.steps.get(i)).is_some_and(|s| matches!(s, Step::Pause { seconds: Some(_) }));
    match advice.verb {
        Some(RolloutVerb::Abort) if through => undo(advice),
        Some(RolloutVerb::SwitchSelector) if b.switched == Some(true) => undo(advice),
        Some(RolloutVerb::SwitchSelector) => Advice { verb: Some(RolloutVerb::Promote), ..advice },
        Some(RolloutVerb::Scale) => hold(advice, "the controller scales it down by itself"),
        Some(RolloutVerb::Promote) if r.phase != RolloutPhase::Paused => {
            hold(advice, "the controller is still at work")
        }
        Some(RolloutVerb::Promote) if timed() => hold(advice, "its pause ends by itself"),
        _ => advice,
    }
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
