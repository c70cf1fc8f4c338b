//! `restic forget` of single snapshots of a repository.
//!
//! One run of the program for each snapshot, with the clean environment every child has: the password and what else the
//! repository needs come from secrets and never stand among the arguments. Restic answers with success also when there
//! was nothing to forget, so a snapshot counts as forgotten only when the list no longer has it. Data is given back by
//! `restic prune`, which is another job's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::process::{self, Output, Spec};
use super::{DryRun, Job, Secrets, Stop, bounded};
use crate::config::secret::Reference;
use crate::model::action::{
    ActionDef, Command, Finding, ParamType, Preview, ReceiptState, RequestBody, ResticAccess, Tier,
};
use crate::text::{Untrusted, clean};

/// Of its list of snapshots.
const LIST_MAX: usize = 32 << 20;

/// Everything that is wrong with an executor of this kind.
pub fn check_def(def: &ActionDef, access: &ResticAccess) -> Vec<String> {
    let mut faults = Vec::new();
    if access.repository.is_empty() || access.repository.starts_with('-') {
        faults.push("repository: expected where it is, such as /srv/restic or s3:https://s3.example/backups".into());
    }
    if access.repository.split("://").nth(1).is_some_and(|rest| rest.split('/').next().unwrap_or("").contains('@')) {
        faults.push("repository: no user name and password here; they go into env as secret references".into());
    }
    if access.password.parse::<Reference>().is_err() {
        faults.push("password: expected a secret reference, such as keyring:restic".into());
    }
    if !Path::new(&access.program).is_absolute() {
        faults.push("program: expected an absolute path".into());
    }
    if let Some(name) = access.env.keys().find(|k| k.starts_with("LD_") || k.starts_with("RESTIC_") || *k == "PATH") {
        faults.push(format!("env: {name} may not be set"));
    }
    faults.extend(irreversible(def));
    faults
}

/// What every action that removes backups must say of itself.
pub fn irreversible(def: &ActionDef) -> Vec<String> {
    let mut faults = Vec::new();
    if def.tier < Tier::T2 {
        faults.push("it cannot be taken back: expected tier T2 or T3, which a second person approves".into());
    }
    if def.targets.kind != ParamType::Snapshot {
        faults.push("targets: expected { is = { type = \"snapshot\" } }".into());
    }
    faults
}

pub fn render(body: &RequestBody, access: &ResticAccess) -> Vec<Command> {
    let one = |target: &String| {
        let mut argv = base(access);
        argv.extend(["forget".to_owned(), target.clone()]);
        Command { targets: vec![target.clone()], argv, files: BTreeMap::new() }
    };
    body.targets.iter().map(one).collect()
}

fn base(access: &ResticAccess) -> Vec<String> {
    vec![access.program.clone(), "--repo".into(), access.repository.clone(), "--no-cache".into()]
}

/// What a run needs besides its arguments.
struct Setting<'a> {
    access: &'a ResticAccess,
    env: BTreeMap<String, String>,
    home: &'a Path,
    mark: String,
    lock: Option<Arc<std::fs::File>>,
    stop: Stop,
}

impl<'a> Setting<'a> {
    async fn new(
        access: &'a ResticAccess,
        secrets: &Secrets,
        home: &'a Path,
        body: &RequestBody,
        stop: Stop,
    ) -> Result<Self, String> {
        let mut env = BTreeMap::from([("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())]);
        env.insert("HOME".into(), home.display().to_string());
        let wanted = access.env.iter().map(|(k, v)| (k.clone(), v.clone()));
        for (name, value) in wanted.chain([("RESTIC_PASSWORD".to_owned(), access.password.clone())]) {
            let value = if value.parse::<Reference>().is_ok() {
                let secrets = secrets.clone();
                tokio::task::spawn_blocking(move || secrets(&value)).await.map_err(|e| e.to_string())??
            } else {
                value
            };
            env.insert(name, value);
        }
        Ok(Self { access, env, home, mark: body.id.to_string(), lock: None, stop })
    }

    async fn run(&self, argv: Vec<String>) -> Result<Output, String> {
        let spec = Spec {
            argv,
            env: self.env.clone(),
            cwd: self.home.to_owned(),
            stdin: self.lock.clone(),
            mark: self.mark.clone(),
            limit: Duration::from_secs(self.access.timeout_seconds),
            max_stdout: LIST_MAX,
            live: None,
        };
        process::run(spec, self.stop.clone()).await
    }

    /// Snapshots of the repository by their full id, each with a word about it.
    async fn list(&self) -> Result<BTreeMap<String, String>, String> {
        let mut argv = base(self.access);
        // A list needs no lock, and a repository that is written to right now can be looked at.
        argv.extend(["--no-lock", "--json", "snapshots"].map(str::to_owned));
        let out = self.run(argv).await?;
        if let Some(why) = out.stopped {
            return Err(why);
        }
        if !out.status.is_some_and(|s| s.success()) {
            return Err(format!("restic snapshots: {}", words(&out)));
        }
        let all: Vec<Value> =
            serde_json::from_slice(&out.stdout).map_err(|e| format!("restic's list cannot be read: {e}"))?;
        let named = |s: Value| {
            let text = |k: &str| s[k].as_str().unwrap_or("?").to_owned();
            let paths: Vec<&str> = s["paths"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            Some((
                s["id"].as_str()?.to_owned(),
                format!("of {}, {} {}", text("time"), text("hostname"), paths.join(" ")),
            ))
        };
        Ok(all.into_iter().filter_map(named).collect())
    }

    /// A word about each target, which must all be there.
    async fn look(&self, targets: &[String]) -> Result<Vec<String>, String> {
        let there = self.list().await?;
        if there.len() <= targets.len() {
            return Err("no snapshot would be left".into());
        }
        let word = |t: &String| there.get(t).cloned().ok_or_else(|| format!("there is no snapshot {t} (its full id)"));
        targets.iter().map(word).collect()
    }
}

/// Its exit code and the end of what it said.
fn words(out: &Output) -> String {
    let code =
        out.status.and_then(|s| s.code()).map_or("without an exit code".to_owned(), |c| format!("exit code {c}"));
    let said = String::from_utf8_lossy(&out.stderr);
    let said = Untrusted::new(said.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("nothing was said"));
    format!("{code}: {}", clean(&said).as_str())
}

pub async fn dry_run(body: &RequestBody, access: &ResticAccess, home: &Path, secrets: &Secrets, stop: Stop) -> DryRun {
    let looked = async { Setting::new(access, secrets, home, body, stop).await?.look(&body.targets).await };
    match looked.await {
        Ok(lines) => {
            let preview = body.targets.iter().zip(lines).map(|(t, line)| Preview {
                target: t.clone(),
                would_change: Some(1),
                failed: false,
                diff: Untrusted::new(format!("the snapshot {line} is forgotten")),
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
    access: &ResticAccess,
    home: &Path,
    secrets: &Secrets,
    stop: Stop,
) -> Result<(), String> {
    Setting::new(access, secrets, home, body, stop).await?.look(&body.targets).await.map(drop)
}

pub async fn run(job: &Job, access: &ResticAccess) {
    let body = job.approved.body();
    let mut setting = match Setting::new(access, &job.secrets, &job.home, body, job.stop.clone()).await {
        Ok(setting) => setting,
        Err(why) => {
            for target in &body.targets {
                job.tell(target, ReceiptState::Failed, Some(0), format!("nothing was started: {why}")).await;
            }
            return;
        }
    };
    setting.lock = Some(job.lock.clone());
    for command in &body.commands {
        let Some(target) = command.targets.first() else { continue };
        if let Some(why) = job.stopped() {
            job.tell(target, ReceiptState::Skipped, Some(0), why).await;
            continue;
        }
        let (state, said) = forget(&setting, command, target).await;
        let changed = match state {
            ReceiptState::Done => Some(1),
            ReceiptState::Unknown => None,
            _ => Some(0),
        };
        job.tell(target, state, changed, bounded(&said, super::DETAIL_MAX).expose()).await;
    }
}

async fn forget(setting: &Setting<'_>, command: &Command, target: &str) -> (ReceiptState, String) {
    let ran = match setting.run(command.argv.clone()).await {
        Err(why) => return (ReceiptState::Failed, why),
        Ok(out) => out,
    };
    if let Some(why) = &ran.stopped {
        return (ReceiptState::Unknown, why.clone());
    }
    match setting.list().await {
        Ok(left) if !left.contains_key(target) => (ReceiptState::Done, "forgotten; the list no longer has it".into()),
        Ok(_) => (ReceiptState::Failed, format!("it is still there: {}", words(&ran))),
        Err(why) => (ReceiptState::Unknown, format!("{}; the list cannot be read: {why}", words(&ran))),
    }
}
