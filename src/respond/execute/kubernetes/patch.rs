//! The exact patch of an act on a rollout, made from what was seen of the object. Pure.
//!
//! Merge patches as RFC 7386. Argo's promote, abort and retry are what its own command line plugin sends to the status
//! subresource.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::model::rollout::RolloutVerb;

/// What a target turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Rollout,
    Deployment,
    Service,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Rollout => "Rollout",
            Self::Deployment => "Deployment",
            Self::Service => "Service",
        }
    }
}

/// What was seen of the object when it was proposed; part of what is approved. It must be so still when it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub kind: Kind,
    pub uid: String,
    pub generation: i64,
    /// Of the pods being rolled out.
    pub hash: Option<String>,
    pub stable: Option<String>,
    pub step: Option<i64>,
    pub steps: usize,
    pub aborted: bool,
    /// By a person, in `spec.paused`.
    pub paused: bool,
    /// By a step, in `status.pauseConditions`.
    pub holds: bool,
    pub replicas: Option<i64>,
    pub selector: BTreeMap<String, String>,
    /// For undo: the template of the revision to go back to, with its number.
    pub earlier: Option<Earlier>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Earlier {
    pub revision: i64,
    /// Merge patch that makes the present template that one.
    pub template: Value,
}

/// What is sent, and where: the object itself or its status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Patch {
    pub status: bool,
    pub body: Value,
}

/// The patch, or why there is none.
pub fn make(verb: RolloutVerb, seen: &Seen, params: &BTreeMap<String, String>) -> Result<Patch, String> {
    let spec = |body: Value| Ok(Patch { status: false, body: json!({ "spec": body }) });
    let status = |body: Value| Ok(Patch { status: true, body: json!({ "status": body }) });
    let no = |what: &str| Err(format!("a {} cannot be {what}", seen.kind.word()));
    match (verb, seen.kind) {
        (RolloutVerb::SwitchSelector, Kind::Service) => selector(seen, params),
        (RolloutVerb::SwitchSelector, _) => no("switched: name the Service"),
        (_, Kind::Service) => no("rolled out: name the workload"),
        (RolloutVerb::Promote, Kind::Rollout) => promote(seen, params),
        (RolloutVerb::Promote, Kind::Deployment) if seen.paused => spec(json!({ "paused": false })),
        (RolloutVerb::Promote, Kind::Deployment) => Err("it is not paused: there is nothing to promote".into()),
        (RolloutVerb::Abort, Kind::Rollout) if seen.aborted => Err("it is aborted already".into()),
        (RolloutVerb::Abort, Kind::Rollout) if !changing(seen) => Err("nothing is being rolled out".into()),
        (RolloutVerb::Abort, Kind::Rollout) => status(json!({ "abort": true })),
        (RolloutVerb::Abort, Kind::Deployment) => no("aborted: undo it"),
        (RolloutVerb::Retry, Kind::Rollout) if seen.aborted => status(json!({ "abort": false })),
        (RolloutVerb::Retry, Kind::Rollout) => Err("it is not aborted: there is nothing to retry".into()),
        (RolloutVerb::Retry, Kind::Deployment) => no("retried"),
        (RolloutVerb::Pause, _) if seen.paused => Err("it is paused already".into()),
        (RolloutVerb::Pause, _) => spec(json!({ "paused": true })),
        (RolloutVerb::Scale, _) => {
            let n: i64 = number(params, "replicas")?.ok_or("scale needs the parameter \"replicas\"")?;
            spec(json!({ "replicas": n }))
        }
        (RolloutVerb::Undo, _) => match &seen.earlier {
            Some(e) => spec(json!({ "template": e.template })),
            None => Err("no earlier revision is kept".into()),
        },
    }
}

/// As `kubectl argo rollouts promote [--full]`.
fn promote(seen: &Seen, params: &BTreeMap<String, String>) -> Result<Patch, String> {
    if seen.aborted {
        return Err("it is aborted: retry it first".into());
    }
    if params.get("full").is_some_and(|f| f == "yes") {
        if !changing(seen) {
            return Err("nothing is being rolled out".into());
        }
        return Ok(Patch { status: true, body: json!({ "status": { "promoteFull": true } }) });
    }
    if seen.paused {
        return Ok(Patch { status: false, body: json!({ "spec": { "paused": false } }) });
    }
    if seen.holds {
        return Ok(Patch { status: true, body: json!({ "status": { "pauseConditions": null } }) });
    }
    match seen.step {
        Some(step) if changing(seen) && usize::try_from(step).is_ok_and(|s| s < seen.steps) => {
            let body = json!({ "status": { "pauseConditions": null, "currentStepIndex": step + 1 } });
            Ok(Patch { status: true, body })
        }
        _ => Err("it waits for nobody: there is nothing to promote".into()),
    }
}

fn changing(seen: &Seen) -> bool {
    seen.hash.is_some() && seen.hash != seen.stable
}

fn selector(seen: &Seen, params: &BTreeMap<String, String>) -> Result<Patch, String> {
    let (Some(key), Some(value)) = (params.get("key"), params.get("value")) else {
        return Err("switch-selector needs the parameters \"key\" and \"value\"".into());
    };
    match seen.selector.get(key) {
        None => Err(format!("the Service does not select by {key:?}")),
        Some(now) if now == value => Err(format!("the Service selects {key}={value} already")),
        Some(_) => Ok(Patch { status: false, body: json!({ "spec": { "selector": { key: value } } }) }),
    }
}

pub fn number(params: &BTreeMap<String, String>, name: &str) -> Result<Option<i64>, String> {
    let given = params.get(name).filter(|v| !v.is_empty());
    given.map(|v| v.parse().map_err(|_| format!("parameter {name:?}: expected a whole number"))).transpose()
}

/// Whether what was seen still holds for this act. Going back must not be stopped by the controller's next step: it
/// needs only the same object and the same pods being rolled out.
pub fn still(verb: RolloutVerb, then: &Seen, now: &Seen) -> Result<(), String> {
    let differs = |what: &str, a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| {
        Err(format!("its {what} was {a:?} when it was proposed and is {b:?} now"))
    };
    if then.kind != now.kind || then.uid != now.uid {
        return Err("it is another object of that name now".into());
    }
    if then.hash != now.hash {
        return differs("revision", &then.hash, &now.hash);
    }
    if matches!(verb, RolloutVerb::Abort | RolloutVerb::Pause) {
        return Ok(());
    }
    if then.generation != now.generation {
        return differs("generation", &then.generation, &now.generation);
    }
    if then.step != now.step {
        return differs("step", &then.step, &now.step);
    }
    if then.selector != now.selector {
        return differs("selector", &then.selector, &now.selector);
    }
    let flags = |s: &Seen| (s.aborted, s.paused, s.holds);
    if flags(then) != flags(now) {
        return Err("it was paused, resumed or aborted since it was proposed".into());
    }
    if then.earlier != now.earlier { Err("the earlier revision is not the same any more".into()) } else { Ok(()) }
}

/// The merge patch (RFC 7386) that turns one value into another; null: they are equal.
pub fn merge_diff(from: &Value, to: &Value) -> Value {
    match (from, to) {
        (Value::Object(a), Value::Object(b)) => {
            let mut out = Map::new();
            for key in a.keys().filter(|k| !b.contains_key(*k)) {
                out.insert(key.clone(), Value::Null);
            }
            for (key, new) in b {
                match a.get(key) {
                    Some(old) if old == new => {}
                    Some(old) => {
                        out.insert(key.clone(), merge_diff(old, new));
                    }
                    None => {
                        out.insert(key.clone(), new.clone());
                    }
                }
            }
            if out.is_empty() { Value::Null } else { Value::Object(out) }
        }
        (a, b) if a == b => Value::Null,
        (_, b) => b.clone(),
    }
}

/// What differs, one JSON pointer a line, before and after; at most so many lines.
pub fn diff(before: &Value, after: &Value, max: usize) -> Vec<String> {
    let mut out = Vec::new();
    walk("", before, after, &mut out, max);
    out
}

/// Bookkeeping of the server, which differs after any write.
const NOISE: [&str; 3] = ["/metadata/managedFields", "/metadata/resourceVersion", "/metadata/generation"];

fn walk(at: &str, a: &Value, b: &Value, out: &mut Vec<String>, max: usize) {
    if a == b || NOISE.contains(&at) || out.len() >= max {
        return;
    }
    if let (Value::Object(x), Value::Object(y)) = (a, b) {
        let keys: std::collections::BTreeSet<&String> = x.keys().chain(y.keys()).collect();
        for key in keys {
            let path = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
            walk(&path, x.get(key).unwrap_or(&Value::Null), y.get(key).unwrap_or(&Value::Null), out, max);
        }
        return;
    }
    if !a.is_null() {
        out.push(format!("- {at}: {a}"));
    }
    if !b.is_null() {
        out.push(format!("+ {at}: {b}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(kind: Kind) -> Seen {
        Seen {
            kind,
            uid: "u1".into(),
            generation: 3,
            hash: Some("new".into()),
            stable: Some("old".into()),
            step: Some(1),
            steps: 4,
            aborted: false,
            paused: false,
            holds: true,
            replicas: Some(5),
            selector: BTreeMap::from([("version".into(), "blue".into())]),
            earlier: None,
        }
    }

    fn params(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn argo_patches_are_those_of_its_own_plugin() {
        let none = params(&[]);
        let at = |s: &Seen, v, p: &BTreeMap<String, String>| make(v, s, p).map(|p| (p.status, p.body.to_string()));
        let mut s = seen(Kind::Rollout);
        assert_eq!(
            at(&s, RolloutVerb::Promote, &none).unwrap(),
            (true, r#"{"status":{"pauseConditions":null}}"#.into())
        );
        assert_eq!(at(&s, RolloutVerb::Abort, &none).unwrap(), (true, r#"{"status":{"abort":true}}"#.into()));
        assert_eq!(
            at(&s, RolloutVerb::Promote, &params(&[("full", "yes")])).unwrap(),
            (true, r#"{"status":{"promoteFull":true}}"#.into())
        );
        s.holds = false;
        assert_eq!(
            at(&s, RolloutVerb::Promote, &none).unwrap(),
            (true, r#"{"status":{"pauseConditions":null,"currentStepIndex":2}}"#.into())
        );
        s.paused = true;
        assert_eq!(at(&s, RolloutVerb::Promote, &none).unwrap(), (false, r#"{"spec":{"paused":false}}"#.into()));
        assert!(at(&s, RolloutVerb::Pause, &none).is_err());
        (s.paused, s.aborted) = (false, true);
        assert_eq!(at(&s, RolloutVerb::Retry, &none).unwrap(), (true, r#"{"status":{"abort":false}}"#.into()));
        assert!(at(&s, RolloutVerb::Promote, &none).unwrap_err().contains("aborted"));
        assert!(at(&s, RolloutVerb::Abort, &none).is_err());
        s = Seen { hash: Some("old".into()), holds: false, ..seen(Kind::Rollout) };
        for verb in [RolloutVerb::Promote, RolloutVerb::Abort, RolloutVerb::Retry, RolloutVerb::Undo] {
            assert!(at(&s, verb, &none).is_err(), "{verb:?} of one that is healthy");
        }
    }

    #[test]
    fn a_selector_is_switched_only_from_what_it_was() {
        let s = seen(Kind::Service);
        let switch = |p: &[(&str, &str)]| make(RolloutVerb::SwitchSelector, &s, &params(p)).map(|p| p.body.to_string());
        assert_eq!(
            switch(&[("key", "version"), ("value", "green")]).unwrap(),
            r#"{"spec":{"selector":{"version":"green"}}}"#
        );
        assert!(switch(&[("key", "version"), ("value", "blue")]).is_err());
        assert!(switch(&[("key", "colour"), ("value", "green")]).is_err());
        assert!(make(RolloutVerb::Scale, &s, &params(&[("replicas", "3")])).is_err());
        let moved = Seen { selector: BTreeMap::from([("version".into(), "green".into())]), ..s.clone() };
        assert!(still(RolloutVerb::SwitchSelector, &s, &moved).is_err());
    }

    #[test]
    fn going_back_outlives_the_next_step_and_going_on_does_not() {
        let then = seen(Kind::Rollout);
        let now = Seen { step: Some(2), generation: 4, holds: false, ..then.clone() };
        assert_eq!(still(RolloutVerb::Abort, &then, &now), Ok(()));
        assert!(still(RolloutVerb::Promote, &then, &now).is_err());
        let other = Seen { hash: Some("newer".into()), ..then.clone() };
        assert!(still(RolloutVerb::Abort, &then, &other).is_err(), "another revision than the one that was looked at");
        assert!(still(RolloutVerb::Abort, &then, &Seen { uid: "u2".into(), ..then.clone() }).is_err());
    }

    #[test]
    fn a_merge_patch_takes_away_what_the_earlier_template_has_not() {
        let from = json!({"a": 1, "b": {"c": [1], "d": 2}, "e": 3});
        let to = json!({"a": 1, "b": {"c": [2]}, "f": 4});
        assert_eq!(merge_diff(&from, &to), json!({"e": null, "b": {"d": null, "c": [2]}, "f": 4}));
        assert_eq!(merge_diff(&from, &from), Value::Null);
        assert_eq!(diff(&from, &to, 10), ["- /b/c: [1]", "+ /b/c: [2]", "- /b/d: 2", "- /e: 3", "+ /f: 4"]);
    }
}
