//! Deployments: one that rolls, and two that somebody declared to be one rollout.

use jiff::Timestamp;

use super::Index;
use super::Kept;
use super::Kind;
use super::Pair;
use super::common;
use super::kept;
use crate::model::rollout::Rollout;
use crate::model::rollout::RolloutKind;
use crate::model::rollout::RolloutPhase;
use crate::text::Untrusted;

pub fn rolling(index: &Index<'_>, d: &kept::Deployment) -> Rollout {
    let seen = index.snapshot.seen(Kind::Deployment, index.now);
    let mut rollout = common::blank(index, &d.metadata, RolloutKind::Rolling, "apps/v1 Deployment", seen);
    (rollout.phase, rollout.message, rollout.stuck) = phase(d);
    count(&mut rollout, d);
    rollout.conditions = common::conditions(&d.status.conditions);
    rollout.revisions = common::revisions(index, &d.metadata.uid, kept::HASH, |_| "");
    rollout.zones = common::zones(&rollout.revisions);
    rollout.actual_weight = common::percent(
        rollout.revisions.first().map_or(0, |newest| newest.available),
        rollout.revisions.iter().map(|r| r.available).sum(),
    );
    rollout
}

fn count(rollout: &mut Rollout, d: &kept::Deployment) {
    rollout.replicas += d.spec.replicas.unwrap_or(1);
    rollout.updated += d.status.updated_replicas;
    rollout.ready += d.status.ready_replicas;
    rollout.available += d.status.available_replicas;
}

type Phase = (RolloutPhase, Untrusted, Option<(Untrusted, Timestamp)>);

/// As `kubectl rollout status` decides it: a status counts only once the controller has seen the newest spec.
fn phase(d: &kept::Deployment) -> Phase {
    let conditions = &d.status.conditions;
    let wanted = d.spec.replicas.unwrap_or(1);
    let s = &d.status;
    let blocking = common::condition(conditions, "ReplicaFailure", "True")
        .or_else(|| common::condition(conditions, "Progressing", "False"));
    let since = |c: &kept::Condition| Some((common::said(c), c.last_transition_time?));
    if s.observed_generation < d.metadata.generation {
        return (RolloutPhase::Unknown, "the controller has not yet seen the newest spec".into(), None);
    }
    if d.spec.paused {
        return (RolloutPhase::Paused, "paused by its spec".into(), None);
    }
    if let Some(c) = blocking {
        return (RolloutPhase::Degraded, common::said(c), since(c));
    }
    let waits = if s.updated_replicas < wanted {
        format!("{} of {wanted} replicas are updated", s.updated_replicas)
    } else if s.replicas > s.updated_replicas {
        format!("{} old replicas are to end", s.replicas - s.updated_replicas)
    } else if s.available_replicas < s.updated_replicas {
        format!("{} of {} updated replicas are available", s.available_replicas, s.updated_replicas)
    } else {
        let word = common::condition(conditions, "Progressing", "True").map_or_else(Untrusted::default, common::said);
        return (RolloutPhase::Healthy, word, None);
    };
    let stuck = common::condition(conditions, "Available", "False").and_then(since);
    (RolloutPhase::Progressing, waits.into(), stuck)
}

/// Two Deployments as one rollout. What is not there is unknown, not nought.
pub fn pair(index: &Index<'_>, pair: &Pair) -> Rollout {
    let deployment = |name: &str| match index.snapshot.get(Kind::Deployment, &pair.namespace, name) {
        Some(Kept::Deployment(d)) => Some(d),
        _ => None,
    };
    let members = [deployment(&pair.first), deployment(&pair.second)];
    let seen = index.snapshot.seen(Kind::Deployment, index.now);
    let meta = kept::Meta {
        name: pair.name.clone(),
        namespace: pair.namespace.clone(),
        ..members.iter().flatten().next().map(|d| d.metadata.clone()).unwrap_or_default()
    };
    let mut rollout = common::blank(index, &meta, pair.kind, "apps/v1 Deployment", seen);
    for d in members.iter().flatten() {
        count(&mut rollout, d);
        rollout.conditions.extend(common::conditions(&d.status.conditions));
    }
    let [Some(first), Some(second)] = members else {
        let absent = if members[0].is_none() { &pair.first } else { &pair.second };
        rollout.message = format!("there is no Deployment {}/{absent}", pair.namespace).into();
        return rollout;
    };
    match pair.kind {
        RolloutKind::BlueGreen => blue_green(index, pair, first, second, &mut rollout),
        _ => replica_canary(first, second, &mut rollout),
    }
    let roles = match (pair.kind, rollout.active.as_deref()) {
        (RolloutKind::BlueGreen, Some("blue")) => ["active", "preview"],
        (RolloutKind::BlueGreen, Some("green")) => ["preview", "active"],
        (RolloutKind::BlueGreen, _) => ["", ""],
        _ => ["stable", "canary"],
    };
    for (d, role) in [first, second].into_iter().zip(roles) {
        // Only the newest ReplicaSet of each stands for its side.
        let mut revisions = common::revisions(index, &d.metadata.uid, kept::HASH, |_| "");
        if let Some(newest) = revisions.first_mut() {
            role.clone_into(&mut newest.role);
        }
        rollout.revisions.extend(revisions);
    }
    rollout.zones = common::zones(&rollout.revisions);
    worst(first, second, &mut rollout);
    rollout
}

/// A side that fails or moves is what the pair does.
fn worst(first: &kept::Deployment, second: &kept::Deployment, rollout: &mut Rollout) {
    let sides = [phase(first), phase(second)];
    for wanted in [RolloutPhase::Degraded, RolloutPhase::Unknown, RolloutPhase::Progressing] {
        if let Some((phase, message, stuck)) = sides.iter().find(|(p, _, _)| *p == wanted) {
            rollout.phase = *phase;
            rollout.message = message.clone();
            rollout.stuck.clone_from(stuck);
            return;
        }
    }
}

fn blue_green(
    index: &Index<'_>,
    pair: &Pair,
    blue: &kept::Deployment,
    green: &kept::Deployment,
    rollout: &mut Rollout,
) {
    let service = pair.service.as_deref().and_then(|name| index.snapshot.get(Kind::Service, &pair.namespace, name));
    let Some(Kept::Service(service)) = service else {
        let name = pair.service.as_deref().unwrap_or("(none named)");
        rollout.message = format!("there is no Service {}/{name}", pair.namespace).into();
        return;
    };
    let selector = &service.spec.selector;
    let chosen = |d: &kept::Deployment| {
        !selector.is_empty() && selector.iter().all(|(k, v)| d.spec.template.metadata.labels.get(k) == Some(v))
    };
    // The Service is what a switch changes.
    rollout.object = "v1 Service".into();
    rollout.uid.clone_from(&service.metadata.uid);
    rollout.resource_version.clone_from(&service.metadata.resource_version);
    let share = |d: &kept::Deployment| d.status.ready_replicas;
    let (active, weight) = match (chosen(blue), chosen(green)) {
        (true, false) => ("blue", 0),
        (false, true) => ("green", 100),
        (true, true) => {
            rollout.actual_weight = common::percent(share(green), share(blue) + share(green));
            rollout.message = "the Service points at both".into();
            return;
        }
        (false, false) => {
            rollout.message = "the Service points at neither".into();
            return;
        }
    };
    rollout.active = Some(active.to_owned());
    rollout.actual_weight = Some(weight);
    rollout.phase = RolloutPhase::Healthy;
    rollout.message = format!("the Service points at {active}").into();
}

fn replica_canary(stable: &kept::Deployment, canary: &kept::Deployment, rollout: &mut Rollout) {
    let wanted = |d: &kept::Deployment| d.spec.replicas.unwrap_or(1);
    let ready = |d: &kept::Deployment| d.status.ready_replicas;
    rollout.set_weight = common::percent(wanted(canary), wanted(stable) + wanted(canary));
    rollout.actual_weight = common::percent(ready(canary), ready(stable) + ready(canary));
    rollout.updated = canary.status.ready_replicas;
    rollout.phase = if wanted(canary) > 0 && wanted(stable) > 0 { RolloutPhase::Paused } else { RolloutPhase::Healthy };
    rollout.message = format!("{} stable and {} canary replicas wanted", wanted(stable), wanted(canary)).into();
}
