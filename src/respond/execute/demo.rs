//! An executor that waits and touches nothing: for the demo and for drills.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{DryRun, Job, process};
use crate::model::action::{Command, Preview, ReceiptState, RequestBody};
use crate::text::Untrusted;

pub fn render(body: &RequestBody, changes: &str) -> Vec<Command> {
    body.targets
        .iter()
        .map(|t| Command {
            targets: vec![t.clone()],
            argv: ["demo", &body.action, t, changes].map(str::to_owned).to_vec(),
            files: BTreeMap::new(),
        })
        .collect()
}

pub fn dry_run(body: &RequestBody, changes: &str) -> DryRun {
    let preview = body.targets.iter().map(|t| Preview {
        target: t.clone(),
        would_change: Some(u32::from(!changes.is_empty())),
        failed: false,
        diff: Untrusted::new(changes),
    });
    DryRun { preview: preview.collect(), findings: Vec::new() }
}

pub async fn run(job: &Job, millis: u64, changes: &str) {
    let mut stop = job.stop.clone();
    for (i, target) in job.approved.body().targets.iter().enumerate() {
        if let Some(why) = job.stopped() {
            job.tell(target, ReceiptState::Skipped, Some(0), format!("not started: {why}")).await;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(millis)) => {
                let what = if changes.is_empty() { "done (demo: nothing outside was touched)" } else { changes };
                job.tell(target, ReceiptState::Done, Some(u32::from(!changes.is_empty())), what).await;
            }
            why = process::reason(&mut stop) => {
                job.tell(target, ReceiptState::Unknown, None, format!("stopped at target {}: {why}", i + 1)).await;
            }
        }
    }
}
