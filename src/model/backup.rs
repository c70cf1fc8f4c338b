//! Backups: what is kept of what, how well that is proven, and what would be lost.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::health::Tri;
use crate::text::Untrusted;

/// How well it is proven that a backup can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Grade {
    /// Restored in a drill.
    A,
    /// Its content was verified.
    B,
    /// Complete, and stored where it can be reached.
    C,
    /// It says so itself; nothing else does.
    D,
    /// Of no use: failed, partial, empty, expired, not covering what it must, or out of reach.
    Bad,
    /// Not known.
    Unknown,
}

impl Grade {
    pub fn word(self) -> &'static str {
        match self {
            Self::A => "A restored",
            Self::B => "B verified",
            Self::C => "C complete",
            Self::D => "D claims",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it counts for the recovery point: A, B and C do.
    pub fn is_good(self) -> bool {
        matches!(self, Self::A | Self::B | Self::C)
    }
}

/// What its maker says became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupPhase {
    Running,
    Completed,
    Partial,
    Failed,
    Deleting,
    Unknown,
}

/// One backup as its source tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    /// Unique within its source.
    pub id: String,
    /// As named in `operate.backups`.
    pub source: String,
    /// `velero`, `opensearch`, `pgbackrest`, `restic`, `pg_dump` or `report`.
    pub kind: String,
    pub phase: BackupPhase,
    /// The source's own word and what it says of errors.
    pub said: Untrusted,
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
    pub expires: Option<Timestamp>,
    pub bytes: Option<u64>,
    /// Items, volumes, shards or files, in all and done.
    pub items: Option<(u64, u64)>,
    pub volumes: Option<(u64, u64)>,
    /// What is in it: namespaces, indices, databases, paths.
    pub covers: Vec<Untrusted>,
    pub location: Option<String>,
    pub location_reachable: Tri,
    /// Taken by this schedule or policy.
    pub schedule: Option<Untrusted>,
    pub errors: u64,
    pub warnings: u64,
    pub evidence: Vec<Evidence>,
    /// Kept whatever its age: who said so, and why.
    pub held: Option<String>,
    /// The source no longer has it; kept here for the history.
    pub gone_since: Option<Timestamp>,
}

/// What proves a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub what: EvidenceKind,
    pub at: Timestamp,
    pub ok: bool,
    /// Seconds the restore took.
    pub took_seconds: Option<f64>,
    pub detail: Untrusted,
    /// The request or drill it comes from, if any.
    pub reference: Option<String>,
    /// What of it was looked at, by name as in `Backup::covers`; empty: all of it.
    #[serde(default)]
    pub covers: Vec<Untrusted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// Restored elsewhere and smoke-tested.
    Drill,
    /// Restored; nobody looked whether it works.
    Restore,
    /// Read back and compared (`restic check --read-data`, `pgbackrest verify`, a checksum).
    Verify,
}

/// What must be recoverable, and how soon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asset {
    pub name: String,
    pub source: String,
    /// Names that must be in a backup, `*` allowed.
    pub covers: Vec<String>,
    pub rpo_seconds: u64,
    pub rto_seconds: u64,
    /// 5-field cron, in `zone`.
    pub schedule: Option<String>,
    pub zone: String,
    /// Must have volumes in it.
    pub volumes: bool,
}

/// One backup with its grade.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graded {
    pub backup: Backup,
    pub grade: Grade,
    /// Every reason, worst first.
    pub why: Vec<String>,
}

/// 3-2-1: copies, kinds of storage, copies off site. `None`: not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    pub copies: Option<u32>,
    pub media: Option<u32>,
    pub offsite: Option<u32>,
}

/// How an asset stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssetStatus {
    pub asset: Asset,
    pub at: Timestamp,
    /// Of the newest good backup; else of the newest.
    pub grade: Grade,
    pub newest_good: Option<String>,
    pub newest: Option<String>,
    /// Seconds since the start of the newest good backup.
    pub rpo_actual_seconds: Option<f64>,
    pub rpo: Tri,
    /// Of the last drills, in seconds, and when the newest was.
    pub rto_actual_seconds: Option<f64>,
    pub rto: Tri,
    pub drilled: Option<Timestamp>,
    /// Newest drill older than 35 days.
    pub drill_stale: bool,
    pub next_run: Option<Timestamp>,
    /// When the objective is missed next if nothing more succeeds.
    pub next_breach: Option<Timestamp>,
    pub expires: Option<Timestamp>,
    pub copies: Copies,
    /// Worst first.
    pub why: Vec<String>,
    /// Newest first, also those that are gone.
    pub backups: Vec<Graded>,
}
