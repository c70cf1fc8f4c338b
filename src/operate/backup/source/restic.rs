//! restic: `snapshots --json` (an array; `summary` since 0.17) and what `check` said, as a small JSON object beside it:
//! `{"exit_code": 0, "read_data": true, "at": "2026-11-20T03:00:00Z", "message": "no errors were found"}`. `at` left
//! out: when the file was written. Exit codes as in <https://restic.readthedocs.io/en/stable/075_scripting.html>.

use jiff::Timestamp;
use serde::Deserialize;

use super::Bytes;
use super::blank;
use crate::model::backup::Backup;
use crate::model::backup::BackupPhase;
use crate::model::backup::Evidence;
use crate::model::backup::EvidenceKind;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::text::Untrusted;

#[derive(Deserialize)]
struct Snapshot {
    id: String,
    time: Timestamp,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    tags: Option<Vec<String>>,
    summary: Option<Summary>,
}

#[derive(Deserialize)]
struct Summary {
    backup_start: Option<Timestamp>,
    backup_end: Option<Timestamp>,
    total_files_processed: Option<u64>,
    total_bytes_processed: Option<u64>,
}

#[derive(Deserialize)]
struct Failed {
    #[serde(default)]
    code: i32,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    exit_code: i32,
    /// Every byte was read back, not only what the repository says of itself.
    #[serde(default)]
    read_data: bool,
    at: Option<Timestamp>,
    #[serde(default)]
    message: String,
}

impl Check {
    /// Its exit code as versions from 0.17 on give it. Older ones say 1 for everything, and why in words.
    fn code(&self) -> i32 {
        let says = |what: &str| self.message.contains(what);
        match self.exit_code {
            1 if says("wrong password") => 12,
            1 if says("already locked") => 11,
            1 if says("Is there a repository at") || says("unable to open config file") => 10,
            code => code,
        }
    }
}

/// What restic's exit code means, in words.
pub fn exit_words(code: i32) -> &'static str {
    match code {
        0 => "done",
        1 => "failed",
        2 => "crashed",
        3 => "incomplete: some files could not be read",
        10 => "there is no such repository",
        11 => "the repository is locked",
        12 => "wrong password",
        130 => "interrupted",
        _ => "an unknown exit code",
    }
}

/// `check`: see the head of this file; without it nothing is known of the repository but what it listed.
pub fn read(
    source: &str,
    bytes: &[u8],
    check: Option<&Bytes>,
    now: Timestamp,
) -> Result<Vec<Backup>, (SourceWord, String)> {
    let snapshots: Vec<Snapshot> = serde_json::from_slice(bytes).map_err(|e| refused(bytes, &e))?;
    let check = check.map(|c| read_check(c, now)).transpose()?;
    if let Some((check, _)) = &check
        && matches!(check.code(), 10 | 12)
    {
        // Whatever the list says: what cannot be opened cannot be restored.
        return Ok(snapshots.into_iter().map(|s| unreachable(backup(source, s), check)).collect());
    }
    let found = |s: Snapshot| {
        let mut b = backup(source, s);
        if let Some((check, at)) = &check {
            b.evidence.extend(evidence(check, *at, &b));
        }
        b
    };
    Ok(snapshots.into_iter().map(found).collect())
}

/// Not a list: perhaps restic's own words about why.
fn refused(bytes: &[u8], e: &serde_json::Error) -> (SourceWord, String) {
    let failed = bytes.split(|b| *b == b'\n').find_map(|l| serde_json::from_slice::<Failed>(l).ok());
    match failed {
        Some(f) if f.code != 0 => {
            let word = match f.code {
                10 => SourceWord::Absent,
                12 => SourceWord::Forbidden,
                _ => SourceWord::Lost,
            };
            (word, format!("restic: {} ({}): {}", exit_words(f.code), f.code, f.message))
        }
        _ => (SourceWord::Unreadable, format!("not what `restic snapshots --json` writes: {e}")),
    }
}

fn read_check(check: &Bytes, now: Timestamp) -> Result<(Check, Timestamp), (SourceWord, String)> {
    let parsed: Check = serde_json::from_slice(&check.bytes).map_err(|e| {
        (SourceWord::Unreadable, format!("the check: expected {{\"exit_code\", \"read_data\", \"at\"}}: {e}"))
    })?;
    let at = parsed.at.or(check.written).unwrap_or(now);
    Ok((parsed, at))
}

/// A check speaks of the snapshots that were there when it ran. A lock says nothing about content.
fn evidence(check: &Check, at: Timestamp, b: &Backup) -> Option<Evidence> {
    let about = b.start.is_some_and(|s| s <= at);
    let speaks = match check.code() {
        0 => check.read_data,
        11 | 130 => false,
        _ => true,
    };
    (about && speaks).then(|| Evidence {
        covers: Vec::new(),
        what: EvidenceKind::Verify,
        at,
        ok: check.exit_code == 0,
        took_seconds: None,
        detail: Untrusted::new(format!(
            "restic check: {} ({}) {}",
            exit_words(check.code()),
            check.exit_code,
            check.message
        )),
        reference: None,
    })
}

fn unreachable(mut b: Backup, check: &Check) -> Backup {
    b.location_reachable = Tri::Fail;
    b.said = Untrusted::new(format!("restic check: {} ({})", exit_words(check.code()), check.exit_code));
    b
}

/// A snapshot is written last: one that is there was finished. Files that could not be read (exit code 3) it does not
/// tell of; without a summary neither its end nor its size is known.
fn backup(source: &str, s: Snapshot) -> Backup {
    let mut b = blank(source, "restic", s.id);
    b.phase = BackupPhase::Completed;
    b.start = Some(s.summary.as_ref().and_then(|y| y.backup_start).unwrap_or(s.time));
    b.location = Some(source.to_owned());
    b.location_reachable = Tri::Pass;
    b.covers = s.paths.into_iter().map(Untrusted::new).collect();
    b.said = Untrusted::new(format!("host {} tags {}", s.hostname, s.tags.unwrap_or_default().join(",")));
    if let Some(y) = s.summary {
        b.end = y.backup_end;
        b.bytes = y.total_bytes_processed;
        b.items = y.total_files_processed.map(|n| (n, n));
    }
    b
}
