//! pgBackRest's `info --output=json` (format of <https://pgbackrest.org/command.html#command-info>): an array of stanzas,
//! each with `status`, `repo` and `backup`. Times are seconds since 1970; `error` says that pages had bad checksums.

use jiff::Timestamp;
use serde::Deserialize;

use super::blank;
use crate::model::backup::Backup;
use crate::model::backup::BackupPhase;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::text::Untrusted;

#[derive(Deserialize)]
struct Stanza {
    name: String,
    #[serde(default)]
    backup: Vec<Item>,
    #[serde(default)]
    repo: Vec<Repo>,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Repo {
    key: u64,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Status {
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Item {
    label: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    error: Option<bool>,
    timestamp: Option<Times>,
    info: Option<Info>,
    archive: Option<Archive>,
    database: Option<RepoKey>,
    #[serde(default, rename = "database-ref")]
    databases: Vec<Named>,
    prior: Option<String>,
    #[serde(default)]
    reference: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Times {
    start: Option<i64>,
    stop: Option<i64>,
}

#[derive(Deserialize)]
struct Info {
    size: Option<u64>,
}

#[derive(Deserialize)]
struct Archive {
    start: Option<String>,
    stop: Option<String>,
}

#[derive(Deserialize)]
struct RepoKey {
    #[serde(rename = "repo-key")]
    repo: Option<u64>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// Backup ids are `STANZA/LABEL` (`STANZA/REPO:LABEL` but for the first repository); what is covered is the stanza and
/// its databases, where pgBackRest names them.
pub fn read(source: &str, bytes: &[u8]) -> Result<Vec<Backup>, (SourceWord, String)> {
    let stanzas: Vec<Stanza> = serde_json::from_slice(bytes)
        .map_err(|e| (SourceWord::Unreadable, format!("not what `pgbackrest info --output=json` writes: {e}")))?;
    Ok(stanzas.iter().flat_map(|s| s.backup.iter().map(move |b| backup(source, s, b, &s.backup))).collect())
}

fn backup(source: &str, stanza: &Stanza, item: &Item, all: &[Item]) -> Backup {
    let repo = item.database.as_ref().and_then(|d| d.repo).unwrap_or(1);
    let id = if repo == 1 {
        format!("{}/{}", stanza.name, item.label)
    } else {
        format!("{}/{repo}:{}", stanza.name, item.label)
    };
    let time = |t: Option<i64>| t.and_then(|t| Timestamp::from_second(t).ok());
    let times = item.timestamp.as_ref();
    let status = stanza.repo.iter().find(|r| r.key == repo).and_then(|r| r.status.as_ref()).or(stanza.status.as_ref());
    let mut said = vec![item.kind.clone().unwrap_or_else(|| "backup".into())];
    let mut b = blank(source, "pgbackrest", id);
    b.start = time(times.and_then(|t| t.start));
    b.end = time(times.and_then(|t| t.stop));
    b.bytes = item.info.as_ref().and_then(|i| i.size);
    b.location = Some(if repo == 1 { source.to_owned() } else { format!("{source} repo{repo}") });
    b.location_reachable = match status {
        Some(s) if s.code == 0 => Tri::Pass,
        // 1 missing stanza path, 2 no valid backups, 3 missing stanza data, 4 different across repos, 5 mismatch, 6 other
        Some(s) => {
            said.push(format!("status {}: {}", s.code, s.message));
            Tri::Fail
        }
        None => Tri::Unknown,
    };
    b.covers =
        std::iter::once(&stanza.name).chain(item.databases.iter().map(|d| &d.name)).map(Untrusted::new).collect();
    b.phase = match (item.error, b.end) {
        (_, None) => BackupPhase::Unknown,
        (Some(true), _) => BackupPhase::Partial,
        (Some(false), _) => BackupPhase::Completed,
        // Not told before 2.36.
        (None, _) => BackupPhase::Unknown,
    };
    if item.error == Some(true) {
        b.errors = 1;
        said.push("pages with bad checksums".into());
    }
    // Without the WAL from its start to its end a backup cannot be made consistent.
    let archive = item.archive.as_ref().map(|a| a.start.is_some() && a.stop.is_some());
    if archive == Some(false) {
        b.phase = BackupPhase::Partial;
        b.errors += 1;
        said.push("its write-ahead log is not archived: it cannot be made consistent".into());
    }
    let gone = missing(item, all, repo);
    if !gone.is_empty() {
        b.phase = BackupPhase::Partial;
        b.errors += gone.len() as u64;
        said.push(format!("what it builds on is gone: {}", gone.join(", ")));
    }
    b.said = Untrusted::new(said.join("; "));
    b
}

/// Backups a differential or incremental one builds on that are not there any more.
fn missing(item: &Item, all: &[Item], repo: u64) -> Vec<String> {
    let there = |label: &String| {
        all.iter().any(|i| i.label == *label && i.database.as_ref().and_then(|d| d.repo).unwrap_or(1) == repo)
    };
    let mut needs: Vec<String> = item.prior.iter().chain(item.reference.iter().flatten()).cloned().collect();
    needs.sort();
    needs.dedup();
    needs.retain(|label| !there(label));
    needs
}
