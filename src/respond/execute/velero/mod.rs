//! Backups of Velero: taken, restored beside or where they were, deleted, and drilled.
//!
//! What is approved are the exact objects that are created together with what was seen of the backup. Velero does the
//! work; the object's own status says what became of it, and only a whole one is done. Neither a backup nor a restore
//! can be called back once Velero has it: stopped, or out of time, it is not known what became of it.

mod drill;
mod objects;

use std::time::{Duration, Instant};

use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use super::kubernetes::{Failure, MANAGER, in_time};
use super::{Clusters, DryRun, Job, bounded, process};
use crate::model::action::{
    ActionDef, Command, Executor, Finding, ParamDef, ParamType, Preview, ReceiptState, RequestBody, TargetRule, Tier,
    VeleroVerb,
};
use crate::text::{Untrusted, clean};
pub use drill::clean_up;
use objects::{Ask, Place, Seen};

/// How often Velero's object is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// After a lost answer: how long it is asked whether the object is there.
const LOST: Duration = Duration::from_secs(20);
/// Longest wait for a backup, a restore or a deletion.
const TIMEOUT_SECONDS: u64 = 4 * 3600;

/// The actions every desk with a cluster it may write to has.
pub fn catalogue() -> Vec<ActionDef> {
    [VeleroVerb::Take, VeleroVerb::Restore, VeleroVerb::Delete, VeleroVerb::Drill].into_iter().map(entry).collect()
}

fn entry(verb: VeleroVerb) -> ActionDef {
    let (name, title, tier, help) = match verb {
        VeleroVerb::Take => ("velero-backup", "Take a backup with Velero", Tier::T1, "the new backup"),
        VeleroVerb::Restore => (
            "velero-restore",
            "Restore a namespace from a backup of Velero",
            Tier::T2,
            "the backup; what is there already is not overwritten",
        ),
        VeleroVerb::Delete => ("velero-delete", "Delete a backup of Velero with all its files", Tier::T3, "the backup"),
        VeleroVerb::Drill => (
            "velero-drill",
            "Drill: restore a backup of Velero aside, try it, remove it again",
            Tier::T2,
            "the backup; what is restored runs while it is tried",
        ),
    };
    let param = |name: &str, kind, help: &str, default: Option<&str>| ParamDef {
        name: name.into(),
        kind,
        help: help.into(),
        default: default.map(str::to_owned),
    };
    let text = |max| ParamType::Text { max };
    let params = match verb {
        VeleroVerb::Take => vec![
            param("namespaces", text(2000), "what goes into it, separated by commas", None),
            param("ttl_hours", ParamType::Integer { min: 1, max: 87_600 }, "how long it is kept", Some("720")),
            param("location", ParamType::Host, "Velero's storage location", Some("default")),
        ],
        VeleroVerb::Restore => vec![
            param("from", text(63), "the namespace in the backup", None),
            param("into", text(63), "the namespace it is restored into", None),
        ],
        VeleroVerb::Delete => Vec::new(),
        VeleroVerb::Drill => vec![
            param("from", text(63), "the namespace in the backup", None),
            param("into", text(63), "the namespace made for it; must not be there", None),
            param("objects", text(500), "what must come back, such as configmaps>=2, deployments>=1", Some("")),
            param("probe", text(2000), "a URL that must answer 2xx; empty: none", Some("")),
            param("limit_minutes", ParamType::Integer { min: 1, max: 1440 }, "given up after that", Some("60")),
            param("drill", text(200), "its name in backups.toml; empty: asked for by hand", Some("")),
        ],
    };
    ActionDef {
        name: name.into(),
        title: title.into(),
        help: format!("Target: CLUSTER/VELERO-NAMESPACE/BACKUP, {help}."),
        tier,
        targets: TargetRule { kind: ParamType::Object, allow: Vec::new(), max: 1 },
        params,
        undo: (verb == VeleroVerb::Take).then(|| "velero-delete".to_owned()),
        contains: false,
        executor: Executor::Velero { verb, timeout_seconds: TIMEOUT_SECONDS },
    }
}

fn api(client: &kube::Client, namespace: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("velero.io", "v1", kind), plural);
    Api::namespaced_with(client.clone(), namespace, &resource)
}

fn namespaces(client: &kube::Client) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Namespace"), "namespaces");
    Api::all_with(client.clone(), &resource)
}

/// Where the object of an act goes.
fn api_of(client: &kube::Client, at: &Place<'_>, ask: &Ask) -> Api<DynamicObject> {
    let (kind, plural) = match ask {
        Ask::Take { .. } => ("Backup", "backups"),
        Ask::Restore { .. } | Ask::Drill(_) => ("Restore", "restores"),
        Ask::Delete => ("DeleteBackupRequest", "deletebackuprequests"),
    };
    api(client, at.namespace, kind, plural)
}

/// The object, or `None` where there is none.
async fn get(api: &Api<DynamicObject>, name: &str) -> Result<Option<Value>, Failure> {
    match in_time(api.get(name)).await {
        Ok(object) => Ok(Some(serde_json::to_value(&object).unwrap_or(Value::Null))),
        Err(f) if f.missing => Ok(None),
        Err(f) => Err(f),
    }
}

async fn create(api: &Api<DynamicObject>, object: &Value, dry_run: bool) -> Result<Value, Failure> {
    let object: DynamicObject =
        serde_json::from_value(object.clone()).map_err(|e| Failure::ours(format!("no object: {e}")))?;
    let how = PostParams { dry_run, field_manager: Some(MANAGER.into()) };
    in_time(api.create(&how, &object)).await.map(|o| serde_json::to_value(&o).unwrap_or(Value::Null))
}

/// One act, ready to be looked at or done.
struct Act<'a> {
    body: &'a RequestBody,
    verb: VeleroVerb,
    target: &'a str,
    at: Place<'a>,
    ask: Ask,
}

impl<'a> Act<'a> {
    fn of(body: &'a RequestBody, verb: VeleroVerb) -> Result<Self, String> {
        let target = body.targets.first().ok_or("a target is needed")?;
        let at = Place::of(target)?;
        let ask = objects::ask(body, verb, &at)?;
        Ok(Self { body, verb, target, at, ask })
    }

    fn command(&self, seen: Option<&Seen>) -> Result<Command, String> {
        let argv = objects::lines(self.body, &self.at, &self.ask, seen)?;
        Ok(Command { targets: vec![self.target.to_owned()], argv, files: Default::default() })
    }

    fn object(&self, seen: Option<&Seen>) -> Value {
        objects::object(self.body, &self.at, &self.ask, seen)
    }

    /// Whether it makes sense now, and what there is to know before. Changes nothing.
    async fn look(&self, client: &kube::Client) -> Result<(Option<Seen>, Vec<String>), String> {
        let Place { namespace, name, .. } = self.at;
        let backup = get(&api(client, namespace, "Backup", "backups"), name).await.map_err(|f| f.words)?;
        let mut told = Vec::new();
        let seen = match (&self.ask, &backup) {
            (Ask::Take { .. }, Some(_)) => return Err(format!("there is a backup {name} already")),
            (Ask::Take { namespaces: wanted, location, .. }, None) => {
                for ns in wanted {
                    if get(&namespaces(client), ns).await.map_err(|f| f.words)?.is_none() {
                        return Err(format!("there is no namespace {ns}"));
                    }
                }
                self.location(client, location).await?;
                return Ok((None, told));
            }
            (_, None) => return Err(format!("there is no backup {name} in {namespace}")),
            (_, Some(backup)) => Seen::of(backup),
        };
        let partial = seen.phase == "PartiallyFailed" && matches!(self.ask, Ask::Restore { .. });
        if partial {
            told.push("the backup is partial: what it lacks does not come back".into());
        } else if seen.phase != "Completed" && self.verb != VeleroVerb::Delete {
            let phase = Untrusted::new(seen.phase.as_str());
            return Err(format!("backup {name} is {}: it may not be whole", clean(&phase).as_str()));
        }
        self.location(client, seen.location.as_deref().unwrap_or("default")).await?;
        if let (Ask::Restore { from, .. } | Ask::Drill(objects::Drill { from, .. }), Some(backup)) =
            (&self.ask, &backup)
        {
            holds(backup, from)?;
        }
        match &self.ask {
            Ask::Drill(d) if get(&namespaces(client), &d.into).await.map_err(|f| f.words)?.is_some() => {
                return Err(format!("there is a namespace {} already: a drill makes its own", d.into));
            }
            Ask::Restore { into, .. } if get(&namespaces(client), into).await.map_err(|f| f.words)?.is_some() => {
                told.push(format!("namespace {into} is there: what it has stays as it is"));
            }
            _ => {}
        }
        Ok((Some(seen), told))
    }

    /// Velero's own word on a storage location. It may be old: what becomes of the act is told by the act itself.
    async fn location(&self, client: &kube::Client, name: &str) -> Result<(), String> {
        let locations = api(client, self.at.namespace, "BackupStorageLocation", "backupstoragelocations");
        let found = get(&locations, name).await.map_err(|f| f.words)?;
        match found.as_ref().map(|l| l["status"]["phase"].as_str()) {
            None => Err(format!("there is no storage location {name}")),
            Some(Some("Available")) => Ok(()),
            Some(phase) => {
                let phase = Untrusted::new(phase.unwrap_or("of unknown phase"));
                Err(format!("storage location {name} is {}", clean(&phase).as_str()))
            }
        }
    }

    /// Looks again, and refuses when what was seen is not so any more.
    async fn check(&self, client: &kube::Client) -> Result<Option<Seen>, String> {
        let (now, _) = self.look(client).await?;
        let argv = self.body.commands.first().map_or(&[][..], |c| &c.argv);
        match (objects::seen_in(argv)?, &now) {
            (Some(then), Some(now)) => then.still(now, self.verb).map(|()| Some(then)),
            (None, None) => Ok(None),
            _ => Err("a command of another kind".into()),
        }
    }

    fn first_words(&self) -> String {
        let name = self.at.name;
        match &self.ask {
            Ask::Take { namespaces, ttl_hours, location } => {
                let which = namespaces.join(", ");
                format!("a new backup {name} of {which} in {location}, kept for {ttl_hours} h")
            }
            Ask::Restore { from, into } => format!("{from} of backup {name} is restored into {into}"),
            Ask::Delete => format!("backup {name}, its files, volumes and restores are deleted for good"),
            Ask::Drill(d) => format!(
                "{} of backup {name} is restored into the new namespace {}, tried for at most {} min, and removed",
                d.from, d.into, d.limit_minutes
            ),
        }
    }
}

/// Whether the backup was told to hold this namespace.
fn holds(backup: &Value, namespace: &str) -> Result<(), String> {
    let list = |at: &str| -> Vec<&str> {
        backup.pointer(at).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let fits = |patterns: &[&str]| patterns.iter().any(|p| crate::model::query::Glob::new(p).is_match(namespace));
    let (included, excluded) = (list("/spec/includedNamespaces"), list("/spec/excludedNamespaces"));
    if (included.is_empty() || fits(&included)) && !fits(&excluded) {
        return Ok(());
    }
    Err(format!("the backup does not hold the namespace {namespace}"))
}

/// The exact objects, with what the backup is now.
pub async fn plan(body: &RequestBody, verb: VeleroVerb, clusters: &Clusters) -> Result<Vec<Command>, String> {
    let act = Act::of(body, verb)?;
    let client = clusters(act.at.cluster).await?;
    let (seen, _) = act.look(&client).await.map_err(|e| format!("{}: {e}", act.target))?;
    Ok(vec![act.command(seen.as_ref())?])
}

/// The same commands again from what they say was seen: they can hold nothing else.
pub fn render(body: &RequestBody, verb: VeleroVerb) -> Result<Vec<Command>, String> {
    let act = Act::of(body, verb)?;
    let again = |c: &Command| act.command(objects::seen_in(&c.argv)?.as_ref());
    body.commands.iter().map(again).collect()
}

/// What the cluster itself says of the objects, and what there is to know.
pub async fn dry_run(body: &RequestBody, verb: VeleroVerb, clusters: &Clusters) -> DryRun {
    let target = body.targets.first().cloned().unwrap_or_default();
    let tried = async {
        let act = Act::of(body, verb)?;
        let client = clusters(act.at.cluster).await?;
        let seen = act.check(&client).await?;
        let (_, told) = act.look(&client).await?;
        let mut wanted = vec![(api_of(&client, &act.at, &act.ask), act.object(seen.as_ref()))];
        if let Ask::Drill(d) = &act.ask {
            wanted.push((namespaces(&client), objects::namespace(body, &d.into)));
        }
        for (api, object) in wanted {
            create(&api, &object, true).await.map_err(|f| f.words)?;
        }
        let mut lines = vec![act.first_words()];
        lines.extend(told);
        Ok::<_, String>(lines)
    };
    match tried.await {
        Ok(lines) => {
            let diff = bounded(&lines.join("\n"), super::DETAIL_MAX);
            let preview = vec![Preview { target, would_change: Some(1), failed: false, diff }];
            DryRun { preview, findings: Vec::new() }
        }
        Err(why) => DryRun {
            findings: vec![Finding { refuses: true, text: format!("dry run: {target}: {why}") }],
            preview: vec![Preview { target, would_change: None, failed: true, diff: Untrusted::new(why) }],
        },
    }
}

/// Whether all that was seen still holds.
pub async fn preflight(body: &RequestBody, verb: VeleroVerb, clusters: &Clusters) -> Result<(), String> {
    let act = Act::of(body, verb)?;
    let client = clusters(act.at.cluster).await?;
    act.check(&client).await.map(drop).map_err(|e| format!("{}: {e}", act.target))
}

/// What became of it: `Err` with the state that fits.
type Came = Result<String, (ReceiptState, String)>;

pub async fn run(job: &Job, verb: VeleroVerb, timeout_seconds: u64) {
    let body = job.approved.body();
    let Some(target) = body.targets.first() else { return };
    if let Some(why) = job.stopped() {
        return job.tell(target, ReceiptState::Skipped, Some(0), format!("not started: {why}")).await;
    }
    let ready = async {
        let act = Act::of(body, verb)?;
        let client = (job.clusters)(act.at.cluster).await?;
        let seen = act.check(&client).await?;
        Ok::<_, String>((act, client, seen))
    };
    let (act, client, seen) = match ready.await {
        Ok(all) => all,
        Err(why) => return job.tell(target, ReceiptState::Failed, Some(0), format!("nothing was sent: {why}")).await,
    };
    if let Ask::Drill(d) = &act.ask {
        return drill::run(job, &act, d, &client, seen.as_ref()).await;
    }
    let started = Instant::now();
    let waiting = Waiting { job, target, end: started + Duration::from_secs(timeout_seconds) };
    let came = match &act.ask {
        Ask::Delete => delete(&waiting, &act, &client, seen.as_ref()).await,
        _ => {
            let made = waiting.make(&api_of(&client, &act.at, &act.ask), &act.object(seen.as_ref())).await;
            made.and_then(|status| {
                let verdict = match act.verb {
                    VeleroVerb::Take => objects::backed_up(&status),
                    _ => objects::restored(&status),
                };
                verdict.map_err(|why| (ReceiptState::Failed, why))
            })
        }
    };
    let took = started.elapsed().as_secs_f64();
    match came {
        Ok(said) => job.tell(target, ReceiptState::Done, Some(1), format!("{said} (took {took:.1} s)")).await,
        Err((state, why)) => job.tell(target, state, None, format!("{why} (after {took:.1} s)")).await,
    }
}

/// Something that Velero works on, watched until it ends.
struct Waiting<'a> {
    job: &'a Job,
    target: &'a str,
    end: Instant,
}

impl Waiting<'_> {
    /// Creates the object and waits for the end of what it starts; its last status.
    async fn make(&self, api: &Api<DynamicObject>, object: &Value) -> Result<Value, (ReceiptState, String)> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        self.put(api, object).await?;
        let mut told = String::new();
        self.watch(
            api,
            name,
            |found| {
                let status = found.map(|o| o["status"].clone());
                match status {
                    Some(s) if objects::is_final(&s) => Watched::Over(s),
                    Some(s) => Watched::On(objects::progress(&s)),
                    None => Watched::Gone,
                }
            },
            &mut told,
        )
        .await
    }

    /// Creates the object. An answer that was lost is no answer: the object itself is asked for.
    async fn put(&self, api: &Api<DynamicObject>, object: &Value) -> Result<(), (ReceiptState, String)> {
        let lost = match create(api, object, false).await {
            Ok(_) => return Ok(()),
            Err(f) if f.answered => return Err((ReceiptState::Failed, format!("nothing was done: {}", f.words))),
            Err(f) => f.words,
        };
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let until = Instant::now() + LOST;
        loop {
            match get(api, name).await {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => return Err((ReceiptState::Failed, format!("nothing was done: {lost}"))),
                Err(f) if Instant::now() >= until => {
                    return Err((ReceiptState::Unknown, format!("it may have been asked for: {}", f.words)));
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Looks at an object again and again. A cluster that does not answer for a while is no end.
    async fn watch<T>(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        see: impl Fn(Option<&Value>) -> Watched<T>,
        told: &mut String,
    ) -> Result<T, (ReceiptState, String)> {
        let mut stop = self.job.stop.clone();
        loop {
            let last = match get(api, name).await {
                Ok(found) => match see(found.as_ref()) {
                    Watched::Over(t) => return Ok(t),
                    Watched::Gone => return Err((ReceiptState::Unknown, format!("{name} vanished"))),
                    Watched::On(words) => words,
                },
                Err(f) => f.words,
            };
            if last != *told {
                told.clone_from(&last);
                self.job.tell(self.target, ReceiptState::Pending, None, last.clone()).await;
            }
            if Instant::now() >= self.end {
                return Err((ReceiptState::Unknown, format!("given up; last: {last}; Velero may go on")));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                why = process::reason(&mut stop) => {
                    return Err((ReceiptState::Unknown, format!("stopped: {why}; last: {last}; Velero may go on")));
                }
            }
        }
    }
}

enum Watched<T> {
    Over(T),
    On(String),
    Gone,
}

/// Asks Velero to delete the backup with all that belongs to it, and waits until it is gone.
async fn delete(waiting: &Waiting<'_>, act: &Act<'_>, client: &kube::Client, seen: Option<&Seen>) -> Came {
    let requests = api_of(client, &act.at, &act.ask);
    let object = act.object(seen);
    waiting.put(&requests, &object).await?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let mut told = String::new();
    // Velero removes the request itself once everything is gone; one that stays says what did not go.
    let status = waiting
        .watch(
            &requests,
            name,
            |found| {
                let status = found.map(|o| o["status"].clone());
                match status {
                    None => Watched::Over(Value::Null),
                    Some(s) if s["phase"] == "Processed" => Watched::Over(s),
                    Some(s) => Watched::On(objects::progress(&s)),
                }
            },
            &mut told,
        )
        .await?;
    let why = objects::said(&status);
    if !why.is_empty() {
        return Err((ReceiptState::Failed, format!("not deleted: {why}")));
    }
    match get(&api(client, act.at.namespace, "Backup", "backups"), act.at.name).await {
        Ok(None) => Ok("the backup is gone".into()),
        Ok(Some(_)) => Err((ReceiptState::Unknown, "Velero is done with it, and the backup is there still".into())),
        Err(f) => Err((ReceiptState::Unknown, format!("whether it is gone: {}", f.words))),
    }
}
