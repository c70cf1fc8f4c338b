//! Running what was approved, and nothing else: every executor takes an [`Approved`], which only
//! [`approve`](super::approve) can make.

pub mod ansible;
mod demo;
mod govern;
pub mod http;
mod kill;
pub mod kubernetes;
pub mod opensearch;
mod process;
pub mod restic;
mod shell;
pub mod ssh;
pub mod steps;
pub mod velero;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

pub use kill::{POLL, watch_kill_switch};
pub use kubernetes::Clusters;
pub use process::{kill_marked, wipe_out_marked};

use super::approve::Approved;
use crate::model::action::{
    ActionDef, Command, Executor, Finding, Preview, Receipt, ReceiptState, RequestBody, SnapshotVerb,
};
use crate::text::Untrusted;

/// Asks for a secret by its reference, such as `keyring:soar`. The answer is used at once and kept nowhere.
pub type Secrets = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// Says why everything must stop, once it must.
pub type Stop = watch::Receiver<Option<String>>;

/// Longest detail of a receipt or diff of a preview, in bytes.
pub const DETAIL_MAX: usize = 16 * 1024;

/// The caller's clock, carried on while something runs.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    now: Timestamp,
    since: std::time::Instant,
}

impl Clock {
    pub fn starting(now: Timestamp) -> Self {
        Self { now, since: std::time::Instant::now() }
    }

    pub fn now(&self) -> Timestamp {
        jiff::SignedDuration::try_from(self.since.elapsed())
            .ok()
            .and_then(|d| self.now.checked_add(d).ok())
            .unwrap_or(self.now)
    }
}

/// One run of something approved.
pub struct Job {
    pub approved: Approved,
    pub def: ActionDef,
    pub secrets: Secrets,
    pub clusters: Clusters,
    pub stop: Stop,
    pub clock: Clock,
    /// Locked, empty. Child processes hold it open too, so that the lock ends with the last of them.
    pub lock: Arc<File>,
    pub home: PathBuf,
    /// Receives each target's receipt once.
    pub receipts: mpsc::Sender<Receipt>,
}

impl Job {
    async fn tell(&self, target: &str, state: ReceiptState, changed: Option<u32>, detail: impl Into<String>) {
        let detail = bounded(&detail.into(), DETAIL_MAX);
        let at = self.clock.now();
        // The receiver lives as long as the run.
        let _ = self.receipts.send(Receipt { target: target.to_owned(), state, changed, detail, at }).await;
    }

    fn stopped(&self) -> Option<String> {
        self.stop.borrow().clone()
    }
}

/// Runs it to its end. Targets it says nothing about are for the caller to call unknown.
pub async fn run(job: &Job) {
    match &job.def.executor {
        Executor::Ansible { timeout_seconds, .. } => ansible::run(job, *timeout_seconds).await,
        Executor::Http { ca, timeout_seconds, idempotent, sign, .. } => {
            http::run(
                job,
                &http::Sending {
                    ca: ca.as_deref(),
                    sign: sign.as_ref(),
                    idempotent: *idempotent,
                    timeout_seconds: *timeout_seconds,
                },
            )
            .await;
        }
        Executor::Ssh(with) => ssh::run(job, with).await,
        Executor::OpensearchSnapshot { verb, access } => opensearch::run(job, *verb, access).await,
        Executor::Restic { access } => restic::run(job, access).await,
        Executor::Kubernetes { verb } => kubernetes::run(job, *verb).await,
        Executor::Velero { verb, timeout_seconds } => velero::run(job, *verb, *timeout_seconds).await,
        Executor::Govern { what, path } => govern::run(job, *what, path).await,
        Executor::Demo { millis_per_target, changes } => demo::run(job, *millis_per_target, changes).await,
    }
}

/// The exact commands for a request. The same input always gives the same bytes.
pub fn render(def: &ActionDef, body: &RequestBody) -> Result<Vec<Command>, String> {
    match &def.executor {
        Executor::Ansible { playbook, inventory, extra_args, vault_password, .. } => {
            ansible::render(body, playbook, inventory, extra_args, vault_password.as_deref()).map(|c| vec![c])
        }
        Executor::Http { url, headers, body: template, ca, sign, .. } => {
            http::render(def, body, &http::Template { url, headers, template, ca: ca.as_deref(), sign: sign.as_ref() })
        }
        Executor::Ssh(with) => ssh::render(body, with),
        Executor::OpensearchSnapshot { verb, access } => opensearch::render(body, *verb, access),
        Executor::Restic { access } => Ok(restic::render(body, access)),
        Executor::Kubernetes { verb } => kubernetes::render(body, *verb),
        // Made by [`plan`]; before that there is none.
        Executor::Velero { verb, .. } => velero::render(body, *verb),
        Executor::Govern { path, .. } => govern::render(body, path).map(|c| vec![c]),
        Executor::Demo { changes, .. } => Ok(demo::render(body, changes)),
    }
}

/// Commands that follow from what is out there: asked for once, when it is proposed. `None`: they follow from the
/// request alone, see [`render`].
pub async fn plan(def: &ActionDef, body: &RequestBody, ways: Ways<'_>) -> Result<Option<Vec<Command>>, String> {
    match &def.executor {
        Executor::Kubernetes { verb } => kubernetes::plan(body, *verb, ways.clusters).await.map(Some),
        Executor::Velero { verb, .. } => velero::plan(body, *verb, ways.clusters).await.map(Some),
        Executor::OpensearchSnapshot { verb: SnapshotVerb::Delete, access } => {
            opensearch::delete::plan(body, access, ways.secrets).await.map(Some)
        }
        Executor::Ansible { .. }
        | Executor::Http { .. }
        | Executor::Ssh(_)
        | Executor::OpensearchSnapshot { .. }
        | Executor::Restic { .. }
        | Executor::Govern { .. }
        | Executor::Demo { .. } => Ok(None),
    }
}

/// What a look at the world outside takes.
#[derive(Clone, Copy)]
pub struct Ways<'a> {
    pub clusters: &'a Clusters,
    pub secrets: &'a Secrets,
}

/// What a dry run says.
#[derive(Debug, Default)]
pub struct DryRun {
    pub preview: Vec<Preview>,
    pub findings: Vec<Finding>,
}

/// Finds out what it would do, changing nothing.
pub async fn dry_run(def: &ActionDef, body: &RequestBody, home: PathBuf, ways: Ways<'_>, stop: Stop) -> DryRun {
    match &def.executor {
        Executor::Ansible { timeout_seconds, .. } => {
            ansible::dry_run(body, *timeout_seconds, home, ways.secrets, stop).await
        }
        Executor::Http { .. } => http::dry_run(body),
        Executor::Ssh(with) => ssh::dry_run(body, with, &home, stop).await,
        Executor::OpensearchSnapshot { verb, access } => opensearch::dry_run(body, *verb, access, ways.secrets).await,
        Executor::Restic { access } => restic::dry_run(body, access, &home, ways.secrets, stop).await,
        Executor::Kubernetes { verb } => kubernetes::dry_run(body, *verb, ways.clusters).await,
        Executor::Velero { verb, .. } => velero::dry_run(body, *verb, ways.clusters).await,
        Executor::Govern { what, path } => govern::dry_run(body, *what, path),
        Executor::Demo { changes, .. } => demo::dry_run(body, changes),
    }
}

/// The last look before the start, for what digests cannot cover: refuses with a reason.
pub async fn preflight(
    def: &ActionDef,
    body: &RequestBody,
    home: PathBuf,
    ways: Ways<'_>,
    stop: Stop,
) -> Result<(), String> {
    match &def.executor {
        Executor::Ansible { .. } => ansible::same_hosts(body, home, ways.secrets, stop).await,
        Executor::OpensearchSnapshot { verb, access } => opensearch::preflight(body, *verb, access, ways.secrets).await,
        Executor::Restic { access } => restic::preflight(body, access, &home, ways.secrets, stop).await,
        Executor::Kubernetes { verb } => kubernetes::preflight(body, *verb, ways.clusters).await,
        Executor::Velero { verb, .. } => velero::preflight(body, *verb, ways.clusters).await,
        // Commands, and with them hosts and the digest of the file of their keys, were made again and compared.
        Executor::Http { .. } | Executor::Ssh(_) | Executor::Govern { .. } | Executor::Demo { .. } => Ok(()),
    }
}

/// The beginning of a text, and how much was left out.
pub(super) fn bounded(text: &str, max: usize) -> Untrusted {
    if text.len() <= max {
        return Untrusted::new(text);
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Untrusted::new(format!("{}\n[{} bytes more]", &text[..end], text.len() - end))
}
