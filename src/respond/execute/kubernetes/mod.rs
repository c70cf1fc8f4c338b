//! Acts on rollouts: one patch per target, sent with the identity that may write.
//!
//! What is approved is the patch together with what was seen of the object (`["PATCH", PATH, PATCH, SEEN]`). Before it
//! is sent the object is read again; if what was seen no longer holds, nothing is sent. The patch carries the
//! `resourceVersion` of that last reading, so that a change in between is a conflict (409) and not a surprise. After a
//! conflict the object is read once more: while all that was seen still holds (a controller counted its pods), the same
//! patch is sent on that reading; otherwise nothing is done, and the difference is told.

mod heed;
mod look;
mod patch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kube::api::{Api, DynamicObject, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::{DryRun, Job, bounded};
use crate::model::action::{
    ActionDef, Command, ParamDef, ParamType, Preview, ReceiptState, RequestBody, TargetRule, Tier,
};
use crate::model::rollout::{Rollout, RolloutKind, RolloutPhase, RolloutVerb};
use crate::text::{Untrusted, clean};
use heed::Heed;
use look::look;
use patch::{Kind, Patch, Seen};

/// Connects to a cluster by its name in the settings, with the identity that may write. The error says in words why not.
pub type Clusters = Arc<dyn Fn(&str) -> BoxFuture<'static, Result<kube::Client, String>> + Send + Sync>;

const LIMIT: Duration = Duration::from_secs(20);
/// Shown of what a dry run would change.
const DIFF_LINES: usize = 200;
/// How often a patch is sent that others' writes overtake.
const CONFLICTS: usize = 5;
/// Before it is sent again, once for each time it was overtaken.
const PAUSE: Duration = Duration::from_millis(100);
/// How often an abort is looked after that the controller overwrote.
const ABORTS: usize = 3;
/// Who the cluster's audit log says it was.
pub(super) const MANAGER: &str = "watchfloor";

/// The actions every desk with a cluster it may write to has.
pub fn catalogue() -> Vec<ActionDef> {
    RolloutVerb::ALL.into_iter().map(entry).collect()
}

fn entry(verb: RolloutVerb) -> ActionDef {
    let (title, tier) = match verb {
        RolloutVerb::Promote => ("Promote a rollout to its next step", Tier::T2),
        RolloutVerb::Abort => ("Abort a rollout: back to the stable revision", Tier::T1),
        RolloutVerb::Retry => ("Retry an aborted rollout", Tier::T2),
        RolloutVerb::Pause => ("Pause a rollout", Tier::T1),
        RolloutVerb::Undo => ("Go back to an earlier revision", Tier::T2),
        RolloutVerb::Scale => ("Change the number of replicas", Tier::T2),
        RolloutVerb::SwitchSelector => ("Point a Service at other pods", Tier::T2),
    };
    let param = |name: &str, kind, help: &str, default: Option<&str>| ParamDef {
        name: name.into(),
        kind,
        help: help.into(),
        default: default.map(str::to_owned),
    };
    let params = match verb {
        RolloutVerb::Promote => {
            let of = vec!["no".to_owned(), "yes".to_owned()];
            vec![param("full", ParamType::Choice { of }, "skip all steps that are left", Some("no"))]
        }
        RolloutVerb::Scale => {
            vec![param("replicas", ParamType::Integer { min: 0, max: 10_000 }, "how many there shall be", None)]
        }
        RolloutVerb::Undo => {
            let kind = ParamType::Integer { min: 0, max: i64::MAX };
            vec![param("revision", kind, "its number; 0: the one before", Some("0"))]
        }
        RolloutVerb::SwitchSelector => vec![
            param("key", ParamType::Text { max: 253 }, "label of the selector", Some("version")),
            param("value", ParamType::Text { max: 63 }, "what it shall be", None),
        ],
        RolloutVerb::Abort | RolloutVerb::Retry | RolloutVerb::Pause => Vec::new(),
    };
    let undo = match verb {
        RolloutVerb::Abort => Some("rollout-retry"),
        RolloutVerb::Promote | RolloutVerb::Retry => Some("rollout-abort"),
        RolloutVerb::Pause => Some("rollout-promote"),
        RolloutVerb::Undo | RolloutVerb::Scale | RolloutVerb::SwitchSelector => None,
    };
    ActionDef {
        name: format!("rollout-{}", verb.word()),
        title: title.into(),
        help: "Target: CLUSTER/NAMESPACE/NAME.".into(),
        tier,
        targets: TargetRule { kind: ParamType::Object, allow: Vec::new(), max: 1 },
        params,
        undo: undo.map(str::to_owned),
        contains: false,
        executor: crate::model::action::Executor::Kubernetes { verb },
    }
}

/// The patch an act on this rollout would send, as far as the reading tells, or why there is none: what a person is
/// offered. What is proposed is made from a reading of its own.
pub fn offered(r: &Rollout, verb: RolloutVerb, params: &BTreeMap<String, String>) -> Result<String, String> {
    let kind = match r.kind {
        RolloutKind::Argo => Kind::Rollout,
        RolloutKind::Rolling => Kind::Deployment,
        RolloutKind::Flagger => return Err("Flagger's canaries are only read: Flagger moves them".into()),
        RolloutKind::BlueGreen | RolloutKind::ReplicaCanary => {
            return Err("it is two Deployments: name the one that is meant, or its Service".into());
        }
    };
    let newer = r.revisions.iter().any(|v| matches!(v.role.as_str(), "canary" | "preview"));
    let seen = Seen {
        kind,
        uid: r.uid.clone(),
        generation: r.generation,
        hash: Some(if newer { "new" } else { "old" }.into()),
        stable: Some("old".into()),
        step: r.step.and_then(|s| i64::try_from(s).ok()),
        steps: r.steps.len(),
        aborted: r.aborted,
        paused: r.phase == RolloutPhase::Paused && r.paused_since.is_none(),
        holds: r.paused_since.is_some(),
        replicas: Some(i64::from(r.replicas)),
        selector: BTreeMap::new(),
        earlier: None,
    };
    Ok(patch::make(verb, &seen, params)?.body.to_string())
}

/// `CLUSTER/NAMESPACE/NAME`.
struct Place<'a> {
    cluster: &'a str,
    namespace: &'a str,
    name: &'a str,
}

fn place(target: &str) -> Result<Place<'_>, String> {
    let mut parts = target.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(cluster), Some(namespace), Some(name)) => Ok(Place { cluster, namespace, name }),
        _ => Err(format!("{target:?} is not CLUSTER/NAMESPACE/NAME")),
    }
}

fn resource(kind: Kind) -> ApiResource {
    let of = |group, version, kind, plural| {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    };
    match kind {
        Kind::Rollout => of("argoproj.io", "v1alpha1", "Rollout", "rollouts"),
        Kind::Deployment => of("apps", "v1", "Deployment", "deployments"),
        Kind::Service => of("", "v1", "Service", "services"),
    }
}

fn api(client: &kube::Client, namespace: &str, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource(kind))
}

/// In our words; what the server says is cleaned.
fn words(e: &kube::Error) -> String {
    match e {
        kube::Error::Api(status) => {
            let said = Untrusted::new(status.message.as_str());
            let word = match status.code {
                401 => "the cluster does not know this identity",
                403 => "this identity may not",
                404 => "there is no such object",
                409 => "it changed meanwhile, nothing was done",
                422 => "the cluster refuses it",
                _ => "the cluster answers",
            };
            format!("{word} ({} {})", status.code, clean(&said).as_str())
        }
        other => {
            let said = Untrusted::new(other.to_string());
            format!("the cluster cannot be reached: {}", clean(&said).as_str())
        }
    }
}

pub(super) async fn in_time<T>(what: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(LIMIT, what).await {
        Ok(Ok(t)) => Ok(t),
        Ok(Err(e)) => {
            let is = |code| matches!(&e, kube::Error::Api(s) if s.code == code);
            let answered = matches!(e, kube::Error::Api(_));
            Err(Failure { answered, missing: is(404), overtaken: is(409), words: words(&e) })
        }
        Err(_) => {
            let words = format!("no answer within {} s", LIMIT.as_secs());
            Err(Failure { answered: false, missing: false, overtaken: false, words })
        }
    }
}

pub(super) struct Failure {
    /// The server said no; otherwise it is not known whether it did it.
    pub answered: bool,
    pub missing: bool,
    /// Somebody wrote it after our reading.
    pub overtaken: bool,
    pub words: String,
}

impl Failure {
    /// Before anything was sent.
    pub fn ours(words: String) -> Self {
        Self { answered: true, missing: false, overtaken: false, words }
    }
}

/// The exact patches, from what the objects are now.
pub async fn plan(body: &RequestBody, verb: RolloutVerb, clusters: &Clusters) -> Result<Vec<Command>, String> {
    let mut out = Vec::new();
    for target in &body.targets {
        let at = place(target)?;
        let client = clusters(at.cluster).await?;
        let (seen, _) = look(&client, &at, verb, &body.params).await.map_err(|e| format!("{target}: {e}"))?;
        out.push(command(target, &at, verb, &seen, &body.params).map_err(|e| format!("{target}: {e}"))?);
    }
    Ok(out)
}

fn command(
    target: &str,
    at: &Place<'_>,
    verb: RolloutVerb,
    seen: &Seen,
    params: &BTreeMap<String, String>,
) -> Result<Command, String> {
    let Patch { status, body } = patch::make(verb, seen, params)?;
    let r = resource(seen.kind);
    let base = if r.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}/{}", r.group, r.version) };
    let sub = if status { "/status" } else { "" };
    let path = format!("{base}/namespaces/{}/{}/{}{sub}", at.namespace, r.plural, at.name);
    let seen = serde_json::to_string(seen).map_err(|e| e.to_string())?;
    Ok(Command {
        targets: vec![target.to_owned()],
        argv: vec!["PATCH".into(), path, body.to_string(), seen],
        files: BTreeMap::new(),
    })
}

/// The same commands again from what they say was seen: they can hold nothing else.
pub fn render(body: &RequestBody, verb: RolloutVerb) -> Result<Vec<Command>, String> {
    let again = |c: &Command| {
        let (Some(target), Some(seen)) = (c.targets.first(), c.argv.get(3)) else {
            return Err("a command of another kind".to_owned());
        };
        let seen: Seen = serde_json::from_str(seen).map_err(|e| e.to_string())?;
        command(target, &place(target)?, verb, &seen, &body.params)
    };
    let made: Vec<Command> = body.commands.iter().map(again).collect::<Result<_, _>>()?;
    let targets: Vec<&String> = made.iter().flat_map(|c| &c.targets).collect();
    if !made.is_empty() && targets != body.targets.iter().collect::<Vec<_>>() {
        return Err("the commands are for other targets".into());
    }
    Ok(made)
}

/// One approved command, taken apart.
struct Ready<'a> {
    target: &'a str,
    at: Place<'a>,
    patch: Value,
    status: bool,
    seen: Seen,
}

fn ready(c: &Command) -> Result<Ready<'_>, String> {
    let [_, path, body, seen] = c.argv.as_slice() else { return Err("a command of another kind".into()) };
    let target = c.targets.first().ok_or("a command without a target")?;
    let seen: Seen = serde_json::from_str(seen).map_err(|e| e.to_string())?;
    let patch = serde_json::from_str(body).map_err(|e| e.to_string())?;
    Ok(Ready { target, at: place(target)?, patch, status: path.ends_with("/status"), seen })
}

impl Ready<'_> {
    /// Reads the object again, and answers with the patch tied to that reading.
    async fn check(
        &self,
        client: &kube::Client,
        verb: RolloutVerb,
        params: &BTreeMap<String, String>,
    ) -> Result<(Value, Value), String> {
        let params = match &self.seen.earlier {
            Some(e) => BTreeMap::from([("revision".to_owned(), e.revision.to_string())]),
            None => params.clone(),
        };
        let (now, object) = look(client, &self.at, verb, &params).await?;
        patch::still(verb, &self.seen, &now)?;
        let mut patch = self.patch.clone();
        if let Some(p) = patch.as_object_mut() {
            let version = object.pointer("/metadata/resourceVersion").cloned().unwrap_or(Value::Null);
            p.insert("metadata".into(), json!({ "resourceVersion": version }));
        }
        Ok((patch, object))
    }

    async fn send(&self, client: &kube::Client, patch: &Value, dry_run: bool) -> Result<Value, Failure> {
        let api = api(client, self.at.namespace, self.seen.kind);
        let how = PatchParams { dry_run, field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let patch = kube::api::Patch::Merge(patch);
        let sent = if self.status {
            in_time(api.patch_status(self.at.name, &how, &patch)).await
        } else {
            in_time(api.patch(self.at.name, &how, &patch)).await
        };
        sent.map(|o| serde_json::to_value(&o).unwrap_or(Value::Null))
    }

    /// Reads, checks and sends; answers with the object before and after.
    async fn apply(
        &self,
        client: &kube::Client,
        verb: RolloutVerb,
        params: &BTreeMap<String, String>,
        dry_run: bool,
    ) -> Result<(Value, Value), Failure> {
        let none = if dry_run { "" } else { "nothing was sent: " };
        let checked = self.check(client, verb, params).await;
        let (mut patch, mut before) = checked.map_err(|why| Failure::ours(format!("{none}{why}")))?;
        let mut overtaken = 0;
        loop {
            match self.send(client, &patch, dry_run).await {
                Ok(after) => return Ok((before, after)),
                Err(f) if f.overtaken && overtaken + 1 < CONFLICTS => overtaken += 1,
                Err(f) => return Err(f),
            }
            tokio::time::sleep(PAUSE * u32::try_from(overtaken).unwrap_or(1)).await;
            let checked = self.check(client, verb, params).await;
            (patch, before) =
                checked.map_err(|why| Failure::ours(format!("it changed meanwhile, nothing was done: {why}")))?;
        }
    }
}

/// What the cluster itself says it would change.
pub async fn dry_run(body: &RequestBody, verb: RolloutVerb, clusters: &Clusters) -> DryRun {
    let mut out = DryRun::default();
    for c in &body.commands {
        let target = c.targets.first().cloned().unwrap_or_default();
        let tried = async {
            let r = ready(c)?;
            let client = clusters(r.at.cluster).await?;
            let (before, after) = r.apply(&client, verb, &body.params, true).await.map_err(|f| f.words)?;
            Ok::<_, String>(patch::diff(&before, &after, DIFF_LINES))
        };
        out.preview.push(match tried.await {
            Ok(lines) => Preview {
                target,
                would_change: Some(u32::from(!lines.is_empty())),
                failed: false,
                diff: bounded(&lines.join("\n"), super::DETAIL_MAX),
            },
            Err(why) => {
                out.findings
                    .push(crate::model::action::Finding { refuses: true, text: format!("dry run: {target}: {why}") });
                Preview { target, would_change: None, failed: true, diff: Untrusted::new(why) }
            }
        });
    }
    out
}

/// Whether all that was seen still holds.
pub async fn preflight(body: &RequestBody, verb: RolloutVerb, clusters: &Clusters) -> Result<(), String> {
    for c in &body.commands {
        let r = ready(c)?;
        let client = clusters(r.at.cluster).await?;
        r.check(&client, verb, &body.params).await.map_err(|e| format!("{}: {e}", r.target))?;
    }
    Ok(())
}

pub async fn run(job: &Job, verb: RolloutVerb) {
    for c in &job.approved.body().commands {
        let Some(target) = c.targets.first() else { continue };
        if let Some(why) = job.stopped() {
            job.tell(target, ReceiptState::Skipped, Some(0), format!("not started: {why}")).await;
            continue;
        }
        let place = async {
            let r = ready(c)?;
            let client = (job.clusters)(r.at.cluster).await?;
            Ok::<_, String>((r, client))
        };
        let (r, client) = match place.await {
            Ok(all) => all,
            Err(why) => {
                job.tell(target, ReceiptState::Failed, Some(0), format!("nothing was sent: {why}")).await;
                continue;
            }
        };
        match r.apply(&client, verb, &job.approved.body().params, false).await {
            Ok((before, after)) => {
                let lines = patch::diff(&before, &after, DIFF_LINES);
                let changed = u32::from(!lines.is_empty());
                let (state, detail) = match verb {
                    RolloutVerb::Abort => heeded(job, &r, &client, lines.join("\n")).await,
                    _ => (ReceiptState::Done, lines.join("\n")),
                };
                job.tell(target, state, Some(changed), detail).await;
            }
            Err(f) if f.answered => job.tell(target, ReceiptState::Failed, Some(0), f.words).await,
            Err(f) => job.tell(target, ReceiptState::Unknown, None, f.words).await,
        }
    }
}

/// Waits for the controller to act on an abort. One that it overwrote is sent again: the same patch, while all that
/// was seen still holds.
async fn heeded(job: &Job, r: &Ready<'_>, client: &kube::Client, diff: String) -> (ReceiptState, String) {
    for _ in 0..ABORTS {
        match heed::watch(r, client).await {
            Heed::Taken => return (ReceiptState::Done, diff),
            Heed::Waits => break,
            Heed::Lost => {}
        }
        if let Err(f) = r.apply(client, RolloutVerb::Abort, &job.approved.body().params, false).await {
            return (ReceiptState::Unknown, format!("{diff}\nthe controller overwrote the abort: {}", f.words));
        }
    }
    let why = "the cluster took it, but its rollouts controller has not acted on it: look at the rollout (the \
               controller looks again by itself every 15 minutes, or when the rollout changes)";
    (ReceiptState::Unknown, format!("{diff}\n{why}"))
}
