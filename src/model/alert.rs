//! An alert: what a parser reads, and what the desk adds while people work it.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{AlertId, CaseId, PersonId};
use super::priority::Priority;
use super::severity::Severity;
use super::verdict::VerdictSummary;
use crate::text::Untrusted;

/// What a detection said, in the terms every format shares. Absent is absent, never an empty string.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertFields {
    /// One line that says what was detected.
    pub title: Untrusted,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<Untrusted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_name: Option<Untrusted>,
    pub severity: Severity,
    /// The source's own words and scale, such as `level 12 of 15`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_severity: Option<Untrusted>,
    /// The detector's confidence, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<u8>,
    /// ATT&CK ids, upper case, `T1059` or `T1059.001`, no duplicates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub techniques: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Untrusted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Untrusted>,
    /// Image or program name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Untrusted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_line: Option<Untrusted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst_port: Option<u16>,
    /// Files, hashes, domains, URLs, mail addresses and further IPs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub observables: Vec<Observable>,
    /// When the thing happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub t_event: Option<Timestamp>,
    /// When the detector raised it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub t_alert: Option<Timestamp>,
    /// The product that raised it, such as `Wazuh`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<Untrusted>,
    /// The id the source gave this record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<Untrusted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObservableKind {
    Ip,
    Domain,
    Url,
    Email,
    File,
    Md5,
    Sha1,
    Sha256,
    Hash,
    Registry,
    Host,
    User,
    Process,
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Observable {
    pub kind: ObservableKind,
    pub value: Untrusted,
}

/// One parsed record on its way into the store.
#[derive(Clone, Debug, PartialEq)]
pub struct NewAlert {
    pub fields: AlertFields,
    /// Format id, such as `wazuh`.
    pub format: String,
    /// Where it came from, such as `file:/var/log/alerts.json` or `opensearch:alerts-*`.
    pub source: Untrusted,
    /// The record's own bytes, exactly as they came.
    pub raw: Vec<u8>,
    /// SHA-256 of `raw`.
    pub raw_sha256: [u8; 32],
    /// Same key: the same alert again.
    pub identity: [u8; 16],
    /// Same key: the same story.
    pub group: [u8; 16],
    /// Set when a suppression covers it: kept, but born hidden.
    pub suppressed_by: Option<super::ids::SuppressionId>,
    /// Asset weight of the host in percent (100 is an ordinary asset), from the inventory.
    pub asset_weight: u16,
    /// Where the document lives, for writing status back. Replaced when the source moved it.
    pub origin: Option<Origin>,
}

/// A document of a source that takes status back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub source: String,
    pub index: String,
    pub doc_id: String,
    pub seq_no: i64,
    pub primary_term: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    #[default]
    New = 0,
    Claimed = 1,
    Snoozed = 2,
    Closed = 3,
    Suppressed = 4,
}

impl Status {
    pub const ALL: [Self; 5] = [Self::New, Self::Claimed, Self::Snoozed, Self::Closed, Self::Suppressed];

    pub fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Claimed => "claimed",
            Self::Snoozed => "snoozed",
            Self::Closed => "closed",
            Self::Suppressed => "suppressed",
        }
    }

    pub fn parse(s: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|x| x.word().eq_ignore_ascii_case(s))
    }

    pub fn id(self) -> i64 {
        self as i64
    }

    pub fn from_id(id: i64) -> Option<Self> {
        usize::try_from(id).ok().and_then(|i| Self::ALL.get(i).copied())
    }
}

/// What people decided. A verdict is never a disposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    TruePositive,
    BenignTruePositive,
    FalsePositive,
    Undetermined,
}

impl Disposition {
    pub const ALL: [Self; 4] = [Self::TruePositive, Self::BenignTruePositive, Self::FalsePositive, Self::Undetermined];

    pub fn word(self) -> &'static str {
        match self {
            Self::TruePositive => "true positive",
            Self::BenignTruePositive => "benign true positive",
            Self::FalsePositive => "false positive",
            Self::Undetermined => "undetermined",
        }
    }

    /// `TP`, `BTP`, `FP`, `UND`.
    pub fn short(self) -> &'static str {
        match self {
            Self::TruePositive => "TP",
            Self::BenignTruePositive => "BTP",
            Self::FalsePositive => "FP",
            Self::Undetermined => "UND",
        }
    }

    /// Takes the short form, the words, or the words joined by `_` or `-`; any case.
    pub fn parse(s: &str) -> Option<Self> {
        let s = s.trim().to_ascii_lowercase().replace(['_', '-'], " ");
        Self::ALL.into_iter().find(|d| d.word() == s || d.short().eq_ignore_ascii_case(&s))
    }

    pub fn id(self) -> i64 {
        self as i64
    }

    pub fn from_id(id: i64) -> Option<Self> {
        usize::try_from(id).ok().and_then(|i| Self::ALL.get(i).copied())
    }
}

/// How an alert was closed: disposition, reason and comment in one act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    pub disposition: Disposition,
    pub reason: Untrusted,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub comment: Option<Untrusted>,
    pub by: PersonId,
    pub at: Timestamp,
}

/// A whole alert, as the detail pane and `alert show` want it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub id: AlertId,
    #[serde(flatten)]
    pub fields: AlertFields,
    pub format: String,
    pub source: Untrusted,
    /// SHA-256 of the raw bytes, hex.
    pub raw_sha256: String,
    pub raw_len: u64,
    /// Identity and group keys, hex.
    pub identity: String,
    pub group: String,
    /// How often the same alert came (1 is once).
    pub count: u32,
    pub last_seen: Timestamp,
    pub status: Status,
    /// What people see and are held to.
    pub priority: Priority,
    /// What the detector's severity gives; `priority` may be more urgent through a verdict or a person.
    pub detector_priority: Priority,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub owner: Option<PersonId>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub snoozed_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub closing: Option<Closing>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub case: Option<CaseId>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub verdict: Option<VerdictSummary>,
    pub asset_weight: u16,
    pub t_ingest: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub t_claim: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub t_verdict: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub t_contain: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub t_recover: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub t_close: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<Origin>,
    /// Goes up by one with every change of this alert.
    pub rev: u64,
}

/// One line of the queue: light, so that a page of them is cheap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRow {
    pub id: AlertId,
    pub title: Untrusted,
    pub rule_id: Option<Untrusted>,
    pub rule_name: Option<Untrusted>,
    pub severity: Severity,
    pub priority: Priority,
    pub detector_priority: Priority,
    pub host: Option<Untrusted>,
    pub user: Option<Untrusted>,
    pub src_ip: Option<IpAddr>,
    pub dst_ip: Option<IpAddr>,
    pub format: String,
    pub techniques: Vec<String>,
    pub count: u32,
    pub status: Status,
    pub owner: Option<PersonId>,
    pub snoozed_until: Option<Timestamp>,
    pub disposition: Option<Disposition>,
    pub case: Option<CaseId>,
    pub verdict: Option<VerdictSummary>,
    pub confidence: Option<u8>,
    pub asset_weight: u16,
    pub t_event: Option<Timestamp>,
    pub t_ingest: Timestamp,
    pub t_claim: Option<Timestamp>,
    pub rev: u64,
}

impl AlertRow {
    /// When the response clock runs out. `None` once somebody has it or it is closed.
    pub fn due(&self) -> Option<Timestamp> {
        if self.t_claim.is_some() || matches!(self.status, Status::Closed | Status::Suppressed) {
            return None;
        }
        let secs = self.priority.response_seconds();
        self.t_ingest.checked_add(jiff::SignedDuration::from_secs(secs)).ok()
    }
}

/// A record that could not be read, kept whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub id: super::ids::DeadLetterId,
    pub at: Timestamp,
    pub source: Untrusted,
    /// Format asked for or guessed, when there was one.
    pub format: Option<String>,
    /// Byte offset of the record in its source.
    pub offset: u64,
    /// Line number, from 1, when the source has lines.
    pub line: Option<u64>,
    /// What was wrong and what was expected.
    pub reason: Untrusted,
    pub raw_len: u64,
    pub raw_sha256: String,
    pub tries: u32,
}

/// A dead letter on its way into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeadLetter {
    pub source: Untrusted,
    pub format: Option<String>,
    pub offset: u64,
    pub line: Option<u64>,
    pub reason: Untrusted,
    pub raw: Vec<u8>,
}
