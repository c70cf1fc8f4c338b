//! A drill: indices of a snapshot restored under names of the drill's own, counted, and removed again whatever came of
//! it. What people search in is not touched.

use std::time::{Duration, Instant};

use serde_json::json;

use super::super::steps::{Ended, Steps, bounded_by};
use super::{Server, requests, snapshot, whole};
use crate::model::action::{RequestBody, SnapshotAccess};
use crate::model::health::Tri;
use crate::model::recovery::CLEANUP;
use crate::respond::execute::{Job, Secrets};

/// How long removing is tried.
const GONE: Duration = Duration::from_secs(120);
const AGAIN: Duration = Duration::from_millis(500);
/// Without the parameter `limit_minutes`.
const LIMIT_MINUTES: u64 = 60;

/// What an index is called while it is drilled: nothing else can have that name.
pub fn name(body: &RequestBody, index: &str) -> String {
    format!("drill-{}-{index}", body.id.as_str().to_lowercase())
}

pub fn names(body: &RequestBody) -> Vec<String> {
    body.targets.iter().map(|t| name(body, t)).collect()
}

fn number(body: &RequestBody, param: &str, otherwise: u64) -> Result<u64, String> {
    let Some(text) = body.params.get(param) else { return Ok(otherwise) };
    text.parse().map_err(|_| format!("parameter {param:?}: expected a whole number"))
}

/// The restore, one count an index, and the removal.
pub fn lines(body: &RequestBody, url: &str, at: &str) -> Result<Vec<String>, String> {
    snapshot(body)?;
    number(body, "limit_minutes", LIMIT_MINUTES)?;
    let least = number(body, "documents", 1)?;
    let what = json!({
        "indices": body.targets.join(","), "include_global_state": false, "partial": false, "ignore_unavailable": false,
        "include_aliases": false, "rename_pattern": "(.+)", "rename_replacement": name(body, "$1"),
        "index_settings": { "index.number_of_replicas": 0 },
    });
    let mut out = vec![format!("POST {at}/_restore?wait_for_completion=true {what}")];
    out.extend(names(body).iter().map(|n| format!("COUNT {url}/{n}/_count >= {least}")));
    out.push(format!("DELETE {url}/{}?ignore_unavailable=true", names(body).join(",")));
    Ok(out)
}

pub(super) async fn run(job: &Job, server: &Server<'_>) {
    let body = job.approved.body();
    let mut steps = Steps::new(job);
    let (Ok(limit), Ok(least)) = (number(body, "limit_minutes", LIMIT_MINUTES), number(body, "documents", 1)) else {
        return steps.end().await;
    };
    let end = Instant::now() + Duration::from_secs(limit.saturating_mul(60));
    let Some(put) = requests(job).first() else { return steps.end().await };
    if steps.take("restore", bounded_by(job, end, restore(server, put))).await {
        for index in names(body) {
            steps.take("documents", bounded_by(job, end, counted(server, &index, least))).await;
        }
    }
    // Neither the kill switch nor the limit ends this.
    steps.take(CLEANUP, remove(server, &names(body))).await;
    steps.end().await;
}

async fn restore(server: &Server<'_>, put: &str) -> Ended {
    match server.ask(put).await {
        Ok(answer) => match whole(&answer) {
            Ok(()) => Ok("every shard is back".into()),
            Err(why) => Err((Tri::Fail, why)),
        },
        // No answer, or one that speaks of the cluster and not of the snapshot.
        Err(f) if f.status == 0 || matches!(f.status, 401 | 403 | 408 | 429 | 502..=504) => Err((Tri::Unknown, f.said)),
        Err(f) => Err((Tri::Fail, f.said)),
    }
}

/// Asked until every shard of it answers: one that is only just back may not yet.
async fn counted(server: &Server<'_>, index: &str, least: u64) -> Ended {
    let until = Instant::now() + GONE;
    loop {
        let last = match server.get(&format!("{index}/_count")).await {
            Ok(v) => {
                let shards = |what: &str| v.pointer(&format!("/_shards/{what}")).and_then(serde_json::Value::as_u64);
                match v["count"].as_u64() {
                    Some(n) if shards("total") > Some(0) && shards("total") == shards("successful") => {
                        let said = format!("{n} documents in {index}, at least {least} expected");
                        return if n >= least { Ok(said) } else { Err((Tri::Fail, said)) };
                    }
                    _ => (Tri::Fail, format!("not every shard of {index} answers")),
                }
            }
            Err(f) => (Tri::Unknown, f.said),
        };
        if Instant::now() >= until {
            return Err(last);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn remove(server: &Server<'_>, names: &[String]) -> Ended {
    let url = server.access.url.trim_end_matches('/');
    let line = format!("DELETE {url}/{}?ignore_unavailable=true", names.join(","));
    let until = Instant::now() + GONE;
    loop {
        let why = match server.ask(&line).await {
            Ok(_) => match server.indices(names).await {
                Ok(left) if left.is_empty() => return Ok(format!("{} is gone", names.join(", "))),
                Ok(left) => format!("{} is still there", left.into_keys().collect::<Vec<_>>().join(", ")),
                Err(why) => why,
            },
            // Nothing of that name.
            Err(f) if f.status == 404 => return Ok("nothing was left".into()),
            Err(f) => f.said,
        };
        if Instant::now() >= until {
            return Err((Tri::Fail, format!("NOT CLEANED UP, {}: {why}", names.join(", "))));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Removes what a drill left behind whose executor is gone: its names are nobody else's.
pub async fn clean_up(body: &RequestBody, access: &SnapshotAccess, secrets: &Secrets) -> Ended {
    let server = Server::new(access, secrets).await.map_err(|why| (Tri::Unknown, why))?;
    remove(&server, &names(body)).await
}
