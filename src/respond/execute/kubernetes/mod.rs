//! Acts on rollouts: one patch per target, sent with the identity that may write.
//!
//! What is approved is the patch together with what was seen of the object (`["PATCH", PATH, PATCH, SEEN]`). Before it
//! is sent the object is read again; if what was seen no longer holds, nothing is sent. The patch carries the
//! `resourceVersion` of that last reading, so that a change in between is a conflict (409) and not a surprise.

mod heed;
mod patch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kube::api::{Api, DynamicObject, ListParams, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::{DryRun, Job, bounded};
use crate::model::action::{
    ActionDef, Command, ParamDef, ParamType, Preview, ReceiptState, RequestBody, TargetRule, Tier,
};
use crate::model::rollout::{Rollout, RolloutKind, RolloutPhase, RolloutVerb};
use crate::text::{Untrusted, clean};
use heed::Heed;
use patch::{Earlier, Kind, Patch, Seen};

/// Connects to a cluster by its name in the settings, with the identity that may write. The error says in words why not.
pub type Clusters = Arc<dyn Fn(&str) -> BoxFuture<'static, Result<kube::Client, String>> + Send + Sync>;

const LIMIT: Duration = Duration::from_secs(20);
/// Shown of what a dry run would change.
const DIFF_LINES: usize = 200;
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
            Err(Failure { answered: matches!(e, kube::Error::Api(_)), missing: missing(&e), words: words(&e) })
        }
        Err(_) => {
            let words = format!("no answer within {} s", LIMIT.as_secs());
            Err(Failure { answered: false, missing: false, words })
        }
    }
}

fn missing(e: &kube::Error) -> bool {
    matches!(e, kube::Error::Api(s) if s.code == 404)
}

pub(super) struct Failure {
    /// The server said no; otherwise it is not known whether it did it.
    pub answered: bool,
    pub missing: bool,
    pub words: String,
}

impl Failure {
    /// Before anything was sent.
    pub fn ours(words: String) -> Self {
        Self { answered: true, missing: false, words }
    }
}

/// The object of a target with what matters of it.
async fn look(
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
}

/// What the cluster itself says it would change.
pub async fn dry_run(body: &RequestBody, verb: RolloutVerb, clusters: &Clusters) -> DryRun {
    let mut out = DryRun::default();
    for c in &body.commands {
        let target = c.targets.first().cloned().unwrap_or_default();
        let tried = async {
            let r = ready(c)?;
            let client = clusters(r.at.cluster).await?;
            let (patch, before) = r.check(&client, verb, &body.params).await?;
            let after = r.send(&client, &patch, true).await.map_err(|f| f.words)?;
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
        let checked = async {
            let r = ready(c)?;
            let client = (job.clusters)(r.at.cluster).await?;
            let (patch, before) = r.check(&client, verb, &job.approved.body().params).await?;
            Ok::<_, String>((r, client, patch, before))
        };
        let (r, client, patch, before) = match checked.await {
            Ok(all) => all,
            Err(why) => {
                job.tell(target, ReceiptState::Failed, Some(0), format!("nothing was sent: {why}")).await;
                continue;
            }
        };
        match r.send(&client, &patch, false).await {
            Ok(after) => {
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
        let again = async {
            let (patch, _) = r.check(client, RolloutVerb::Abort, &job.approved.body().params).await?;
            r.send(client, &patch, false).await.map_err(|f| f.words)
        };
        if let Err(why) = again.await {
            return (ReceiptState::Unknown, format!("{diff}\nthe controller overwrote the abort: {why}"));
        }
    }
    let why = "the cluster took it, but its rollouts controller has not acted on it: look at the rollout (the \
               controller looks again by itself every 15 minutes, or when the rollout changes)";
    (ReceiptState::Unknown, format!("{diff}\n{why}"))
}
