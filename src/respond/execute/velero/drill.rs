//! A drill: a namespace of a backup restored into one made for it, looked at, tried, and removed again whatever came
//! of it.

use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Preconditions};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use super::super::kubernetes::{Failure, in_time};
use super::super::steps::{Ended, Steps, bounded_by, probe};
use super::objects::{self, DRILL_LABEL, Drill, Seen};
use super::{Act, Ask, LOOK, Waiting, api_of, create, get, namespaces};
use crate::model::action::{ReceiptState, RequestBody, VeleroVerb};
use crate::model::health::Tri;
use crate::model::recovery::{CLEANUP, Count};
use crate::respond::execute::{Clusters, Job};

/// How long it is waited for Velero to let go, and then for the namespace to be gone.
const LET_GO: Duration = Duration::from_secs(120);
const GONE: Duration = Duration::from_secs(300);
/// What was restored is there when the restore ends; the watch caches of a busy cluster may lag.
const COUNTED: Duration = Duration::from_secs(15);

pub async fn run(job: &Job, act: &Act<'_>, drill: &Drill, client: &kube::Client, seen: Option<&Seen>) {
    let end = Instant::now() + Duration::from_secs(drill.limit_minutes.saturating_mul(60));
    let mut steps = Steps::new(job);
    let restores = api_of(client, &act.at, &act.ask);
    let worked = steps.take("namespace", bounded_by(job, end, make_namespace(client, act.body, drill))).await
        && steps.take("restore", restore(job, act, &restores, seen, end)).await;
    if worked {
        for count in &drill.counts {
            steps.take(count.plural, bounded_by(job, end, counted(client, &drill.into, count, end))).await;
        }
        if let Some(url) = &drill.probe {
            steps.take("probe", probe(job, url, end)).await;
        }
    }
    // Neither the kill switch nor the limit ends this: what was made for the drill is not left behind.
    steps.take(CLEANUP, remove(client, act, drill)).await;
    steps.end().await;
}

async fn make_namespace(client: &kube::Client, body: &RequestBody, drill: &Drill) -> Ended {
    match create(&namespaces(client), &objects::namespace(body, &drill.into), false).await {
        Ok(_) => Ok(format!("{} made", drill.into)),
        Err(f) => Err((Tri::Unknown, f.words)),
    }
}

async fn restore(job: &Job, act: &Act<'_>, restores: &Api<DynamicObject>, seen: Option<&Seen>, end: Instant) -> Ended {
    let waiting = Waiting { job, target: act.target, end };
    match waiting.make(restores, &act.object(seen)).await {
        Ok(status) => objects::restored(&status).map_err(|why| (Tri::Fail, why)),
        Err((ReceiptState::Failed, why)) => Err((Tri::Unknown, why)),
        Err((_, why)) => Err((Tri::Unknown, why)),
    }
}

async fn counted(client: &kube::Client, namespace: &str, count: &Count, end: Instant) -> Ended {
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(count.group, count.version, count.kind), count.plural);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let until = (Instant::now() + COUNTED).min(end);
    loop {
        let last = match in_time(api.list(&ListParams::default().limit(500))).await {
            Ok(list) => {
                let more = list.metadata.remaining_item_count.unwrap_or(0);
                let n = (list.items.len() as u64).saturating_add(u64::try_from(more).unwrap_or(0));
                let said = format!("{n} came back, at least {} expected", count.least);
                if n >= count.least {
                    return Ok(said);
                }
                (Tri::Fail, said)
            }
            Err(f) => (Tri::Unknown, f.words),
        };
        if Instant::now() >= until {
            return Err(last);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Removes what the drill made: its namespace, if it is marked as its own, and volumes the restore brought.
async fn remove(client: &kube::Client, act: &Act<'_>, drill: &Drill) -> Ended {
    let failed = |f: Failure| (Tri::Fail, format!("NOT CLEANED UP, namespace {}: {}", drill.into, f.words));
    let restores = api_of(client, &act.at, &act.ask);
    let name = objects::object_name(act.body);
    // While Velero still restores, it would bring back what is removed.
    let until = Instant::now() + LET_GO;
    loop {
        match get(&restores, &name).await {
            Ok(None) => break,
            Ok(Some(r)) if objects::is_final(&r["status"]) => break,
            Ok(Some(_)) | Err(_) if Instant::now() < until => tokio::time::sleep(LOOK).await,
            Ok(Some(_)) => break,
            Err(f) => return Err(failed(f)),
        }
    }
    let volumes = volumes(client, &name).await;
    let mark = act.body.id.as_str().to_lowercase();
    let all = namespaces(client);
    let until = Instant::now() + GONE;
    loop {
        let found = match get(&all, &drill.into).await {
            Ok(None) => break,
            Ok(Some(ns)) => Ok(ns),
            Err(f) => Err(f),
        };
        let went = match found {
            Ok(ns) if ns["metadata"]["labels"][DRILL_LABEL] != *mark => {
                return Ok(format!("namespace {} is not of this drill and stays", drill.into));
            }
            Ok(ns) if ns["metadata"]["deletionTimestamp"].is_null() => delete(&all, &ns).await,
            Ok(_) => Ok(()),
            Err(f) => Err(f),
        };
        match went {
            Err(f) if Instant::now() >= until || (f.answered && !f.missing) => return Err(failed(f)),
            Ok(()) if Instant::now() >= until => {
                return Err((Tri::Fail, format!("NOT CLEANED UP: namespace {} is still being removed", drill.into)));
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
    Ok(format!("namespace {} is gone{volumes}", drill.into))
}

/// Exactly this object, should another of its name have come meanwhile.
async fn delete(api: &Api<DynamicObject>, object: &Value) -> Result<(), Failure> {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).map(str::to_owned);
    let only = Preconditions { uid: text("/metadata/uid"), resource_version: None };
    let how = DeleteParams { preconditions: Some(only), ..DeleteParams::background() };
    in_time(api.delete(&text("/metadata/name").unwrap_or_default(), &how)).await.map(drop)
}

/// Volumes are of no namespace: those the restore brought carry its name. In words what became of them.
async fn volumes(client: &kube::Client, restore: &str) -> String {
    let kind = GroupVersionKind::gvk("", "v1", "PersistentVolume");
    let api: Api<DynamicObject> =
        Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&kind, "persistentvolumes"));
    let brought = ListParams::default().labels(&format!("velero.io/restore-name={restore}")).limit(500);
    let list = match in_time(api.list(&brought)).await {
        Ok(list) => list.items,
        Err(f) => return format!("; volumes were not looked at: {}", f.words),
    };
    let mut left = 0;
    for volume in &list {
        let volume = serde_json::to_value(volume).unwrap_or(Value::Null);
        left += usize::from(delete(&api, &volume).await.is_err());
    }
    match (list.len(), left) {
        (0, _) => String::new(),
        (n, 0) => format!("; {n} volumes removed"),
        (n, left) => format!("; {left} OF {n} VOLUMES ARE LEFT"),
    }
}

/// Removes what a drill left behind whose executor is gone. Does nothing to anything that does not carry its mark.
pub async fn clean_up(body: &RequestBody, clusters: &Clusters) -> Ended {
    let unknown = |why: String| (Tri::Unknown, why);
    let act = Act::of(body, VeleroVerb::Drill).map_err(unknown)?;
    let Ask::Drill(drill) = &act.ask else { return Err((Tri::Unknown, "no drill".into())) };
    let client = clusters(act.at.cluster).await.map_err(unknown)?;
    remove(&client, &act, drill).await
}
