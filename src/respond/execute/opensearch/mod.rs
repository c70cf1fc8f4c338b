//! Snapshots of an OpenSearch cluster: taken, restored over indices that are in use, or deleted (see [`delete`]).
//!
//! What is sent are the approved requests, one an entry (`METHOD URL BODY`). A restore is close, restore, open: an index
//! that was open before is opened again whatever happens in between, also when the restore fails, is stopped, or takes
//! too long. A snapshot counts as restored only when every shard of it is, and every index answers afterwards.

pub mod delete;
pub mod drill;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::{DryRun, Job, Secrets, bounded, http, process};
use crate::model::action::{
    ActionDef, Command, Finding, Preview, ReceiptState, RequestBody, SnapshotAccess, SnapshotVerb,
};
use crate::text::{Untrusted, clean};

/// What may be restored over, and looked at, in one answer.
const ANSWER_MAX: usize = 4 << 20;
/// How long opening again is tried.
const REOPEN: Duration = Duration::from_secs(120);

/// Everything that is wrong with an executor of this kind.
pub fn check_def(def: &ActionDef, verb: SnapshotVerb, access: &SnapshotAccess) -> Vec<String> {
    let mut faults = Vec::new();
    match reqwest::Url::parse(&access.url) {
        Ok(u) if matches!(u.scheme(), "http" | "https") && u.username().is_empty() && u.password().is_none() => {}
        _ => faults.push("url: expected an http or https URL without user name or password".into()),
    }
    if access.repository.is_empty()
        || !access.repository.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    {
        faults.push("repository: expected its name".into());
    }
    if access.password.as_ref().is_some_and(|p| p.parse::<crate::config::secret::Reference>().is_err()) {
        faults.push("password: expected a secret reference, such as keyring:opensearch".into());
    }
    if verb == SnapshotVerb::Delete {
        faults.extend(super::restic::irreversible(def));
    } else if !def.params.iter().any(|p| p.name == "snapshot") {
        faults.push("a snapshot's name is needed: add the parameter \"snapshot\" of type index".into());
    }
    faults
}

fn snapshot(body: &RequestBody) -> Result<&str, String> {
    body.params.get("snapshot").map(String::as_str).ok_or_else(|| "the parameter \"snapshot\" is missing".into())
}

pub fn render(body: &RequestBody, verb: SnapshotVerb, access: &SnapshotAccess) -> Result<Vec<Command>, String> {
    let url = access.url.trim_end_matches('/');
    if verb == SnapshotVerb::Delete {
        return delete::render(body, access);
    }
    let (repository, snapshot) = (&access.repository, snapshot(body)?);
    let indices = body.targets.join(",");
    let what =
        json!({ "indices": indices, "include_global_state": false, "partial": false, "ignore_unavailable": false });
    let at = format!("{url}/_snapshot/{repository}/{snapshot}");
    let argv = match verb {
        SnapshotVerb::Take => vec![format!("PUT {at}?wait_for_completion=true {what}")],
        SnapshotVerb::Restore => vec![
            format!("POST {url}/{indices}/_close?ignore_unavailable=true"),
            format!("POST {at}/_restore?wait_for_completion=true {what}"),
            format!("POST {url}/{indices}/_open?ignore_unavailable=true"),
        ],
        SnapshotVerb::Drill => drill::lines(body, url, &at)?,
        SnapshotVerb::Delete => return delete::render(body, access),
    };
    Ok(vec![Command { targets: body.targets.clone(), argv, files: BTreeMap::new() }])
}

/// A server with what it takes to talk to it.
struct Server<'a> {
    client: reqwest::Client,
    access: &'a SnapshotAccess,
    password: Option<String>,
}

/// An answer that is no success: its status, or 0 without one, and what it says.
struct Failure {
    status: u16,
    /// The request may have been carried out.
    sent: bool,
    said: String,
}

impl<'a> Server<'a> {
    async fn new(access: &'a SnapshotAccess, secrets: &Secrets) -> Result<Self, String> {
        let client = http::client(access.ca.as_deref(), Duration::from_secs(access.timeout_seconds)).await?;
        let password = match access.password.clone() {
            Some(reference) => {
                let secrets = secrets.clone();
                Some(tokio::task::spawn_blocking(move || secrets(&reference)).await.map_err(|e| e.to_string())??)
            }
            None => None,
        };
        Ok(Self { client, access, password })
    }

    async fn ask(&self, line: &str) -> Result<Value, Failure> {
        let no = |said: String| Failure { status: 0, sent: false, said };
        let mut parts = line.splitn(3, ' ');
        let (Some(method), Some(url)) = (parts.next(), parts.next()) else { return Err(no("no request".into())) };
        let method = Method::from_bytes(method.as_bytes()).map_err(|e| no(e.to_string()))?;
        let mut request = self.client.request(method, url);
        if let Some(user) = &self.access.username {
            request = request.basic_auth(user, self.password.as_ref());
        }
        if let Some(body) = parts.next() {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        let answer = request.send().await.map_err(|e| Failure {
            status: 0,
            sent: !(e.is_connect() || e.is_builder()),
            said: http::causes(&e),
        })?;
        let status = answer.status();
        let text = http::read(answer, ANSWER_MAX).await;
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let reason = value.pointer("/error/reason").or(value.pointer("/error")).and_then(Value::as_str);
        let said = Untrusted::new(reason.unwrap_or(&text).chars().take(600).collect::<String>());
        Err(Failure { status: status.as_u16(), sent: true, said: format!("{status}: {}", clean(&said).as_str()) })
    }

    async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(&format!("GET {}/{path}", self.access.url.trim_end_matches('/'))).await
    }

    /// The snapshot's own entry; `None`: there is none.
    async fn snapshot(&self, name: &str) -> Result<Option<Value>, String> {
        match self.get(&format!("_snapshot/{}/{name}", self.access.repository)).await {
            Ok(v) => Ok(v.pointer("/snapshots/0").cloned()),
            // Also said of a repository that is not there.
            Err(f) if f.status == 404 && f.said.contains("snapshot") && !f.said.contains("repository") => Ok(None),
            Err(f) if f.status == 404 && f.said.contains(&format!("{name}] is missing")) => Ok(None),
            Err(f) => Err(f.said),
        }
    }

    /// Which of these indices are there, and whether each is open.
    async fn indices(&self, names: &[String]) -> Result<BTreeMap<String, bool>, String> {
        let path = format!(
            "_cluster/state/metadata/{}?ignore_unavailable=true&filter_path=metadata.indices.*.state",
            names.join(",")
        );
        let state = self.get(&path).await.map_err(|f| f.said)?;
        let all = state.pointer("/metadata/indices").and_then(Value::as_object);
        Ok(all.into_iter().flatten().map(|(k, v)| (k.clone(), v["state"] == "open")).collect())
    }
}

/// What would happen to each target, if it can. Nothing is changed.
async fn look(body: &RequestBody, verb: SnapshotVerb, server: &Server<'_>) -> Result<Vec<String>, String> {
    match verb {
        SnapshotVerb::Take => can_take(body, server).await,
        SnapshotVerb::Restore | SnapshotVerb::Drill => can_restore(body, verb, server).await,
        SnapshotVerb::Delete => delete::look(body, server).await,
    }
}

async fn can_take(body: &RequestBody, server: &Server<'_>) -> Result<Vec<String>, String> {
    let name = snapshot(body)?;
    if server.snapshot(name).await?.is_some() {
        return Err(format!("there is a snapshot {name} already"));
    }
    let there = server.indices(&body.targets).await?;
    match body.targets.iter().find(|t| !there.contains_key(*t)) {
        Some(t) => Err(format!("there is no index {t}")),
        None => Ok(body.targets.iter().map(|t| format!("{t} goes into the new snapshot {name}")).collect()),
    }
}

async fn can_restore(body: &RequestBody, verb: SnapshotVerb, server: &Server<'_>) -> Result<Vec<String>, String> {
    let name = snapshot(body)?;
    let Some(s) = server.snapshot(name).await? else {
        return Err(format!("there is no snapshot {name} in {}", server.access.repository));
    };
    let state = s["state"].as_str().unwrap_or("of unknown state");
    let failed = s.pointer("/shards/failed").and_then(Value::as_u64);
    if state != "SUCCESS" || failed != Some(0) {
        return Err(format!("snapshot {name} is {}: it may not be whole", clean(&Untrusted::new(state)).as_str()));
    }
    let holds: Vec<&str> = s["indices"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if let Some(t) = body.targets.iter().find(|t| !holds.contains(&t.as_str())) {
        return Err(format!("snapshot {name} does not hold {t}"));
    }
    let named = if verb == SnapshotVerb::Drill { drill::names(body) } else { body.targets.clone() };
    let there = server.indices(&named).await?;
    let taken = s["start_time"].as_str().map(Untrusted::new).unwrap_or_default();
    let taken = clean(&taken).as_str().to_owned();
    let line = |t: &String| match there.get(t) {
        _ if verb == SnapshotVerb::Drill => {
            format!("{t} comes back beside itself as {}, is counted, and removed", drill::name(body, t))
        }
        Some(_) => format!("{t} is closed, overwritten with its state of {taken}, and opened"),
        None => format!("{t} is not there and comes back with its state of {taken}"),
    };
    Ok(body.targets.iter().map(line).collect())
}

pub async fn dry_run(body: &RequestBody, verb: SnapshotVerb, access: &SnapshotAccess, secrets: &Secrets) -> DryRun {
    let looked = async {
        let server = Server::new(access, secrets).await?;
        look(body, verb, &server).await
    };
    match looked.await {
        Ok(lines) => {
            let preview = body.targets.iter().zip(lines).map(|(t, line)| Preview {
                target: t.clone(),
                would_change: Some(1),
                failed: false,
                diff: Untrusted::new(line),
            });
            DryRun { preview: preview.collect(), findings: Vec::new() }
        }
        Err(why) => {
            DryRun { preview: Vec::new(), findings: vec![Finding { refuses: true, text: format!("dry run: {why}") }] }
        }
    }
}

pub async fn preflight(
    body: &RequestBody,
    verb: SnapshotVerb,
    access: &SnapshotAccess,
    secrets: &Secrets,
) -> Result<(), String> {
    let server = Server::new(access, secrets).await?;
    look(body, verb, &server).await.map(drop)
}

pub async fn run(job: &Job, verb: SnapshotVerb, access: &SnapshotAccess) {
    let body = job.approved.body();
    let started = Instant::now();
    let done = match Server::new(access, &job.secrets).await {
        Ok(server) => match verb {
            SnapshotVerb::Take => take(job, &server).await,
            SnapshotVerb::Restore => restore(job, &server).await,
            SnapshotVerb::Drill => return drill::run(job, &server).await,
            SnapshotVerb::Delete => return delete::run(job, &server).await,
        },
        Err(why) => Err((ReceiptState::Failed, format!("nothing was sent: {why}"))),
    };
    let took = started.elapsed().as_secs_f64();
    for target in &body.targets {
        match &done {
            Ok(said) => {
                let said = said.get(target).map_or("", String::as_str);
                job.tell(target, ReceiptState::Done, Some(1), format!("{said} (took {took:.1} s)")).await;
            }
            Err((state, why)) => {
                let changed = (*state != ReceiptState::Unknown).then_some(0);
                job.tell(target, *state, changed, bounded(why, super::DETAIL_MAX).expose()).await;
            }
        }
    }
}

type Done = Result<BTreeMap<String, String>, (ReceiptState, String)>;

fn state_of(f: &Failure) -> ReceiptState {
    if f.sent && f.status == 0 { ReceiptState::Unknown } else { ReceiptState::Failed }
}

/// The one approved command's requests.
fn requests(job: &Job) -> &[String] {
    job.approved.body().commands.first().map_or(&[], |c| c.argv.as_slice())
}

async fn take(job: &Job, server: &Server<'_>) -> Done {
    let mut stop = job.stop.clone();
    let Some(line) = requests(job).first() else { return Err((ReceiptState::Failed, "no request".into())) };
    let made = tokio::select! {
        made = server.ask(line) => made,
        why = process::reason(&mut stop) => return Err((ReceiptState::Unknown, format!("stopped: {why}; it may go on in the cluster"))),
    };
    let made = made.map_err(|f| (state_of(&f), f.said))?;
    let shards = |what: &str| made.pointer(&format!("/snapshot/shards/{what}")).and_then(Value::as_u64);
    match (made.pointer("/snapshot/state").and_then(Value::as_str), shards("total"), shards("failed")) {
        (Some("SUCCESS"), Some(total), Some(0)) if total > 0 => {
            let said = format!("{total} shards in the snapshot");
            Ok(job.approved.body().targets.iter().map(|t| (t.clone(), said.clone())).collect())
        }
        (state, total, failed) => {
            let state = Untrusted::new(state.unwrap_or("unknown"));
            let why =
                format!("it is {} with {} of {} shards failed", clean(&state).as_str(), words(failed), words(total));
            Err((ReceiptState::Failed, why))
        }
    }
}

fn words(n: Option<u64>) -> String {
    n.map_or_else(|| "?".into(), |n| n.to_string())
}

async fn restore(job: &Job, server: &Server<'_>) -> Done {
    let [close, put, open] = requests(job) else { return Err((ReceiptState::Failed, "no requests".into())) };
    let targets = &job.approved.body().targets;
    let before = server.indices(targets).await.map_err(|e| (ReceiptState::Failed, format!("nothing was sent: {e}")))?;
    let was_open: Vec<&String> = before.iter().filter(|(_, open)| **open).map(|(name, _)| name).collect();
    let mut stop = job.stop.clone();
    let went = async {
        if !before.is_empty() {
            server.ask(close).await.map_err(|f| (state_of(&f), format!("not closed: {}", f.said)))?;
        }
        let answer = server.ask(put).await.map_err(|f| (state_of(&f), format!("not restored: {}", f.said)))?;
        whole(&answer).map_err(|why| (ReceiptState::Failed, why))
    };
    let went = tokio::select! {
        went = went => went,
        why = process::reason(&mut stop) => Err((ReceiptState::Unknown, format!("stopped: {why}"))),
    };
    // Whatever came of it: what people search in is searchable again.
    let opened = if was_open.is_empty() && went.is_err() { Ok(()) } else { reopen(server, open, &was_open).await };
    match (went, opened) {
        (Ok(()), Ok(())) => verify(server, targets).await,
        (Ok(()), Err(why)) => Err((ReceiptState::Failed, format!("restored, but not open: {why}"))),
        (Err((state, why)), Ok(())) => Err((state, format!("{why}; what was open is open again"))),
        (Err((_, why)), Err(open)) => Err((ReceiptState::Unknown, format!("{why}; AND STILL CLOSED: {open}"))),
    }
}

/// Every shard of it.
fn whole(answer: &Value) -> Result<(), String> {
    let shards = |what: &str| answer.pointer(&format!("/snapshot/shards/{what}")).and_then(Value::as_u64);
    match (shards("total"), shards("successful"), shards("failed")) {
        (Some(total), Some(good), Some(0)) if total > 0 && good == total => Ok(()),
        (total, good, _) => Err(format!("{} of {} shards were restored", words(good), words(total))),
    }
}

async fn reopen(server: &Server<'_>, open: &str, was_open: &[&String]) -> Result<(), String> {
    let names: Vec<String> = was_open.iter().map(|n| (*n).clone()).collect();
    let end = Instant::now() + REOPEN;
    loop {
        let why = match server.ask(open).await {
            Err(f) => f.said,
            Ok(_) => match server.indices(&names).await {
                Ok(now) if names.iter().all(|n| now.get(n) == Some(&true)) => return Ok(()),
                Ok(_) => "the cluster says it is still closed".into(),
                Err(why) => why,
            },
        };
        if Instant::now() >= end {
            return Err(why);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Each index answers a search over all of its shards.
async fn verify(server: &Server<'_>, targets: &[String]) -> Done {
    let mut out = BTreeMap::new();
    for target in targets {
        let failed = |why: String| (ReceiptState::Failed, format!("restored, but {target} does not answer: {why}"));
        let end = Instant::now() + REOPEN;
        loop {
            let counted = server.get(&format!("{target}/_count")).await;
            let n = counted.as_ref().ok().and_then(|v| {
                let shards = |what: &str| v.pointer(&format!("/_shards/{what}")).and_then(Value::as_u64);
                (shards("total") == shards("successful") && shards("total") > Some(0)).then(|| v["count"].as_u64())?
            });
            match (n, counted) {
                (Some(n), _) => {
                    out.insert(target.clone(), format!("restored and open, {n} documents"));
                    break;
                }
                (None, Err(f)) if Instant::now() >= end => return Err(failed(f.said)),
                (None, Ok(_)) if Instant::now() >= end => return Err(failed("not every shard does".into())),
                (None, _) => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        }
    }
    Ok(out)
}
