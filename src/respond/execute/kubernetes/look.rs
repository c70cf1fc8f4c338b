//! Reads the object of a target, and what of it decides.

use std::collections::BTreeMap;

use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use super::patch::{self, Earlier, Kind, Seen};
use super::{Place, api, in_time};
use crate::model::rollout::RolloutVerb;

/// The object of a target with what matters of it.
pub(super) async fn look(
    client: &kube::Client,
    at: &Place<'_>,
    verb: RolloutVerb,
    params: &BTreeMap<String, String>,
) -> Result<(Seen, Value), String> {
    let kinds: &[Kind] =
        if verb == RolloutVerb::SwitchSelector { &[Kind::Service] } else { &[Kind::Rollout, Kind::Deployment] };
    for kind in kinds {
        match in_time(api(client, at.namespace, *kind).get(at.name)).await {
            Ok(object) => {
                let object = serde_json::to_value(&object).map_err(|e| e.to_string())?;
                let mut seen = see(*kind, &object);
                if verb == RolloutVerb::Undo {
                    seen.earlier =
                        earlier(client, at, &object, patch::number(params, "revision")?.unwrap_or(0)).await?;
                }
                return Ok((seen, object));
            }
            Err(f) if f.missing => {}
            Err(f) => return Err(f.words),
        }
    }
    let kinds: Vec<&str> = kinds.iter().map(|k| k.word()).collect();
    Err(format!("there is no {} {} in {} of {}", kinds.join(" or "), at.name, at.namespace, at.cluster))
}

fn see(kind: Kind, o: &Value) -> Seen {
    let text = |at: &str| o.pointer(at).and_then(Value::as_str).map(str::to_owned);
    let on = |at: &str| o.pointer(at).and_then(Value::as_bool).unwrap_or(false);
    let number = |at: &str| o.pointer(at).and_then(Value::as_i64);
    let list = |at: &str| o.pointer(at).and_then(Value::as_array).map_or(0, Vec::len);
    let selector = o.pointer("/spec/selector").and_then(Value::as_object).filter(|_| kind == Kind::Service);
    Seen {
        kind,
        uid: text("/metadata/uid").unwrap_or_default(),
        generation: number("/metadata/generation").unwrap_or(0),
        hash: text("/status/currentPodHash"),
        stable: text("/status/stableRS"),
        step: number("/status/currentStepIndex"),
        steps: list("/spec/strategy/canary/steps"),
        aborted: on("/status/abort"),
        paused: on("/spec/paused"),
        holds: list("/status/pauseConditions") > 0,
        replicas: number("/spec/replicas"),
        selector: selector
            .into_iter()
            .flatten()
            .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
            .collect(),
        earlier: None,
    }
}

/// The template of an earlier revision, from the ReplicaSet that still has it.
async fn earlier(
    client: &kube::Client,
    at: &Place<'_>,
    object: &Value,
    wanted: i64,
) -> Result<Option<Earlier>, String> {
    let sets = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("apps", "v1", "ReplicaSet"), "replicasets");
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), at.namespace, &sets);
    let list = in_time(api.list(&ListParams::default().limit(1000))).await.map_err(|f| f.words)?;
    let uid = object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    let mut found: Vec<(i64, Value)> = Vec::new();
    for set in list {
        let owned = set.metadata.owner_references.iter().flatten().any(|o| o.uid == uid);
        let annotations = set.metadata.annotations.clone().unwrap_or_default();
        let revision = ["rollout.argoproj.io/revision", "deployment.kubernetes.io/revision"]
            .iter()
            .find_map(|k| annotations.get(*k)?.parse().ok());
        if let (true, Some(n), Some(template)) = (owned, revision, set.data.pointer("/spec/template")) {
            found.push((n, template.clone()));
        }
    }
    found.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
    let pick = if wanted == 0 { found.into_iter().nth(1) } else { found.into_iter().find(|(n, _)| *n == wanted) };
    let Some((revision, mut template)) = pick else { return Ok(None) };
    // The controllers add these labels to the ReplicaSet's copy.
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.retain(|k, _| k != "pod-template-hash" && k != "rollouts-pod-template-hash");
    }
    let now = object.pointer("/spec/template").cloned().unwrap_or(Value::Null);
    let template = patch::merge_diff(&now, &template);
    if template.is_null() {
        return Err(format!("revision {revision} has the template it has now"));
    }
    Ok(Some(Earlier { revision, template }))
}
