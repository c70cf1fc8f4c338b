//! Rollouts and rules for tests.

use std::path::Path;

use super::*;
use crate::config::doc::Doc;
use crate::model::rollout::RolloutId;
use crate::operate::rollout::config;

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).unwrap()
}

pub fn rules(text: &str) -> Rules {
    let doc = Doc::parse(Path::new("rollouts.toml"), text.to_owned()).unwrap();
    config::parse(&doc, None).unwrap_or_else(|e| panic!("{e}")).rollouts.remove(0)
}

/// A revision that came so many seconds after the beginning.
pub fn revision(number: u64, hash: &str, role: &str, desired: u32, since: i64) -> Revision {
    Revision {
        number: Some(number),
        replica_set: format!("web-{hash}").as_str().into(),
        hash: hash.into(),
        role: role.into(),
        images: vec![],
        desired,
        ready: desired,
        available: desired,
        since: Some(at(since)),
        pods: vec![],
        analyses: vec![],
    }
}

pub fn rollout(kind: RolloutKind, phase: RolloutPhase, revisions: Vec<Revision>) -> Rollout {
    Rollout {
        id: RolloutId { cluster: "prod".into(), namespace: "shop".into(), name: "web".into() },
        kind,
        phase,
        message: "".into(),
        object: "argoproj.io/v1alpha1 Rollout".into(),
        uid: "u".into(),
        resource_version: "1".into(),
        generation: 1,
        replicas: revisions.iter().map(|r| r.desired).sum(),
        updated: 0,
        ready: 0,
        available: 0,
        set_weight: None,
        actual_weight: None,
        steps: vec![],
        step: None,
        paused_since: None,
        aborted: false,
        revisions,
        active: None,
        conditions: vec![],
        stuck: None,
        zones: vec![],
        zone_minimum: None,
        fast_rollback_until: None,
        gates: vec![],
        advice: None,
        seen: at(0),
        labels: Default::default(),
    }
}

/// An Argo canary at this weight, paused.
pub fn argo(weight: u32) -> Rollout {
    let revisions = vec![revision(2, "new", "canary", 1, 100), revision(1, "old", "stable", 19, 0)];
    let mut r = rollout(RolloutKind::Argo, RolloutPhase::Paused, revisions);
    (r.set_weight, r.actual_weight) = (Some(weight), Some(weight));
    r
}

pub fn replica_canary(stable: u32, canary: u32) -> (Rules, Rollout) {
    let rules = rules(
        "[[rollouts]]\ntarget = \"prod/shop/web\"\n[rollouts.replica_canary]\nstable = \"web\"\ncanary = \"web-canary\"\n",
    );
    let revisions = vec![revision(1, "old", "stable", stable, 0), revision(1, "new", "canary", canary, 100)];
    let mut r = rollout(RolloutKind::ReplicaCanary, RolloutPhase::Paused, revisions);
    r.set_weight = Some(canary * 100 / (stable + canary));
    r.actual_weight = r.set_weight;
    (rules, r)
}

/// Two sides with pods; `active` is the one the Service points at.
pub fn blue_green(active: &str, new_is_green: bool) -> (Rules, Rollout) {
    let rules = rules(
        "[[rollouts]]\ntarget = \"prod/shop/web\"\nfast_rollback = \"30m\"\n[rollouts.blue_green]\nservice = \"web\"\n\
         blue = \"web-blue\"\ngreen = \"web-green\"\n[rollouts.errors]\nerrors = 'e{pod=~\"{{revision}}.*\"}'\n\
         total = 't{pod=~\"{{revision}}.*\"}'\n",
    );
    let role = |side: &str| if side == active { "active" } else { "preview" };
    let (blue, green) = if new_is_green { (0, 100) } else { (100, 0) };
    let revisions =
        vec![revision(1, "bluehash", role("blue"), 5, blue), revision(1, "greenhash", role("green"), 5, green)];
    let mut r = rollout(RolloutKind::BlueGreen, RolloutPhase::Healthy, revisions);
    r.active = Some(active.into());
    (rules, r)
}
