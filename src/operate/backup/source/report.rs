//! A report in JSON, for everything without a reader of its own:
//!
//! ```json
//! {"backups": [{
//!   "id": "2026-11-20", "phase": "completed", "start": "2026-11-20T02:00:00Z", "end": "2026-11-20T02:10:00Z",
//!   "expires": null, "bytes": 123, "items": {"total": 10, "done": 10}, "volumes": {"total": 1, "done": 1},
//!   "covers": ["vault"], "location": "s3-eu", "reachable": true, "schedule": "nightly", "errors": 0, "warnings": 0,
//!   "message": "", "evidence": [{"what": "verify", "at": "2026-11-20T03:00:00Z", "ok": true, "seconds": 12.5,
//!   "detail": "checksums", "reference": "job 7"}]}]}
//! ```
//!
//! Only `id` is needed; what is left out is not known. `phase` is `running`, `completed`, `partial`, `failed` or
//! `deleting`; another word is kept and means unknown. Times are RFC 3339. `what` is `drill`, `restore` or `verify`.
//! A key that is not in this list is a mistake: a fact somebody meant to tell would be lost.

use jiff::Timestamp;
use serde::Deserialize;

use super::blank;
use crate::model::backup::Backup;
use crate::model::backup::BackupPhase;
use crate::model::backup::Evidence;
use crate::model::backup::EvidenceKind;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::text::Untrusted;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    backups: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    id: String,
    phase: Option<String>,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    expires: Option<Timestamp>,
    bytes: Option<u64>,
    items: Option<Count>,
    volumes: Option<Count>,
    #[serde(default)]
    covers: Vec<String>,
    location: Option<String>,
    reachable: Option<bool>,
    schedule: Option<String>,
    #[serde(default)]
    errors: u64,
    #[serde(default)]
    warnings: u64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    evidence: Vec<Proof>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    total: u64,
    done: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    what: EvidenceKind,
    at: Timestamp,
    ok: bool,
    seconds: Option<f64>,
    #[serde(default)]
    detail: String,
    reference: Option<String>,
}

pub fn read(source: &str, bytes: &[u8]) -> Result<Vec<Backup>, (SourceWord, String)> {
    let report: Report =
        serde_json::from_slice(bytes).map_err(|e| (SourceWord::Unreadable, format!("not a report of backups: {e}")))?;
    Ok(report.backups.into_iter().map(|item| backup(source, item)).collect())
}

fn backup(source: &str, item: Item) -> Backup {
    let phase = item.phase.unwrap_or_default();
    let said = if item.message.is_empty() { phase.clone() } else { format!("{phase}: {}", item.message) };
    let pair = |c: Option<Count>| c.map(|c| (c.total, c.done));
    Backup {
        phase: match phase.to_lowercase().as_str() {
            "running" => BackupPhase::Running,
            "completed" => BackupPhase::Completed,
            "partial" => BackupPhase::Partial,
            "failed" => BackupPhase::Failed,
            "deleting" => BackupPhase::Deleting,
            _ => BackupPhase::Unknown,
        },
        said: Untrusted::new(said),
        start: item.start,
        end: item.end,
        expires: item.expires,
        bytes: item.bytes,
        items: pair(item.items),
        volumes: pair(item.volumes),
        covers: item.covers.into_iter().map(Untrusted::new).collect(),
        location: Some(item.location.unwrap_or_else(|| source.to_owned())),
        location_reachable: Tri::of(item.reachable),
        schedule: item.schedule.map(Untrusted::new),
        errors: item.errors,
        warnings: item.warnings,
        evidence: item
            .evidence
            .into_iter()
            .map(|p| Evidence {
                covers: Vec::new(),
                what: p.what,
                at: p.at,
                ok: p.ok,
                took_seconds: p.seconds.filter(|s| s.is_finite() && *s >= 0.0),
                detail: Untrusted::new(p.detail),
                reference: p.reference,
            })
            .collect(),
        ..blank(source, "report", item.id)
    }
}
