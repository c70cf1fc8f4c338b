//! The plain data of the audit log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::PersonId;

/// One record. `hash` is SHA-256(0x00 || canonical JSON of the record without `hash`), the leaf hash of
/// RFC 6962 section 2.1; `prev` is the `hash` of the record before, all zeros for the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// From 0, without gaps.
    pub seq: u64,
    pub at: Timestamp,
    /// `None`: the desk itself.
    pub by: Option<PersonId>,
    /// Such as `alert.close`, `action.intent`, `action.outcome`.
    pub kind: String,
    /// Joins this to log lines and to other records of the same work.
    pub request_id: Option<String>,
    pub body: serde_json::Value,
    /// Hex.
    pub prev: String,
    /// Hex.
    pub hash: String,
}

/// A known state of the log: how many records, and the RFC 6962 root over them. Written `SIZE:ROOT`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub size: u64,
    /// Hex.
    pub root: String,
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.size, self.root)
    }
}

impl std::str::FromStr for Head {
    type Err = &'static str;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (size, root) = s.split_once(':').ok_or("a head is SIZE:ROOT")?;
        let size = size.parse().map_err(|_| "the size of a head is a whole number")?;
        let hexish = root.len() == 64 && root.bytes().all(|b| b.is_ascii_hexdigit());
        if !hexish {
            return Err("the root of a head is 64 hex digits");
        }
        Ok(Self { size, root: root.to_ascii_lowercase() })
    }
}
