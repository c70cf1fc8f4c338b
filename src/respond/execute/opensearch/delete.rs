//! Snapshots of a repository, deleted one by one.
//!
//! What is approved is the request together with what was seen of the snapshot (`["DELETE URL", SEEN]`). Before it is
//! sent the snapshot is read again: another one that took the name meanwhile is not touched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Server, state_of};
use crate::model::action::{Command, ReceiptState, RequestBody, SnapshotAccess};
use crate::respond::execute::{DETAIL_MAX, Job, Secrets, bounded};
use crate::text::{Untrusted, clean};

/// What tells one snapshot from another of its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    uuid: String,
    /// Milliseconds since 1970.
    start: i64,
}

fn command(target: &str, access: &SnapshotAccess, seen: &Seen) -> Result<Command, String> {
    let url = access.url.trim_end_matches('/');
    let seen = serde_json::to_string(seen).map_err(|e| e.to_string())?;
    let argv = vec![format!("DELETE {url}/_snapshot/{}/{target}", access.repository), seen];
    Ok(Command { targets: vec![target.to_owned()], argv, files: BTreeMap::new() })
}

fn seen_of(command: &Command) -> Result<(&str, Seen), String> {
    let (Some(target), Some(seen)) = (command.targets.first(), command.argv.get(1)) else {
        return Err("a command of another kind".into());
    };
    Ok((target, serde_json::from_str(seen).map_err(|e| e.to_string())?))
}

/// The same commands again from what they say was seen: they can hold nothing else.
pub fn render(body: &RequestBody, access: &SnapshotAccess) -> Result<Vec<Command>, String> {
    body.commands
        .iter()
        .map(|c| {
            let (target, seen) = seen_of(c)?;
            command(target, access, &seen)
        })
        .collect()
}

async fn see(server: &Server<'_>, target: &str) -> Result<(Seen, String), String> {
    let Some(told) = server.snapshot(target).await? else {
        return Err(format!("there is no snapshot {target} in {}", server.access.repository));
    };
    let state = Untrusted::new(told["state"].as_str().unwrap_or("of unknown state"));
    if matches!(state.expose(), "IN_PROGRESS" | "STARTED" | "INIT") {
        return Err(format!("snapshot {target} is being taken"));
    }
    let (Some(uuid), Some(start)) = (told["uuid"].as_str(), told["start_time_in_millis"].as_i64()) else {
        return Err(format!("snapshot {target} cannot be told from another of its name"));
    };
    let begun = jiff::Timestamp::from_millisecond(start).map_or("?".to_owned(), |t| format!("{t:.0}"));
    let word = format!("snapshot {target} of {begun}, {}, is deleted", clean(&state).as_str());
    Ok((Seen { uuid: uuid.to_owned(), start }, word))
}

/// One request for each snapshot, from what it is now.
pub async fn plan(body: &RequestBody, access: &SnapshotAccess, secrets: &Secrets) -> Result<Vec<Command>, String> {
    let server = Server::new(access, secrets).await?;
    let mut out = Vec::new();
    for target in &body.targets {
        out.push(command(target, access, &see(&server, target).await?.0)?);
    }
    Ok(out)
}

/// The snapshot that was approved to go, still under its name.
async fn same(server: &Server<'_>, command: &Command) -> Result<String, String> {
    let (target, seen) = seen_of(command)?;
    let (now, word) = see(server, target).await?;
    if now != seen {
        return Err(format!("{target} is another snapshot now than the one that was approved"));
    }
    Ok(word)
}

/// A line for each target, in their order.
pub(super) async fn look(body: &RequestBody, server: &Server<'_>) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for command in &body.commands {
        lines.push(same(server, command).await?);
    }
    Ok(lines)
}

pub(super) async fn run(job: &Job, server: &Server<'_>) {
    for command in &job.approved.body().commands {
        let Some(target) = command.targets.first() else { continue };
        let (state, said) = match job.stopped() {
            Some(why) => (ReceiptState::Skipped, why),
            None => one(server, command, target).await,
        };
        let changed = match state {
            ReceiptState::Done => Some(1),
            ReceiptState::Unknown => None,
            _ => Some(0),
        };
        job.tell(target, state, changed, bounded(&said, DETAIL_MAX).expose()).await;
    }
}

async fn one(server: &Server<'_>, command: &Command, target: &str) -> (ReceiptState, String) {
    if let Err(why) = same(server, command).await {
        return (ReceiptState::Failed, format!("nothing was sent: {why}"));
    }
    let Some(line) = command.argv.first() else { return (ReceiptState::Failed, "no request".into()) };
    if let Err(f) = server.ask(line).await {
        return (state_of(&f), f.said);
    }
    match server.snapshot(target).await {
        Ok(None) => (ReceiptState::Done, "deleted; the repository no longer has it".into()),
        Ok(Some(_)) => (ReceiptState::Failed, "the cluster says it is deleted, and still has it".into()),
        Err(why) => (ReceiptState::Unknown, format!("the cluster says it is deleted; it cannot be looked at: {why}")),
    }
}
