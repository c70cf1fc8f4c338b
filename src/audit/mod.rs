//! The audit log: append-only, hash-chained, Merkle-checkpointed, verifiable without this program.
//!
//! `DIR/log.ndjson` holds one record per line, as canonical JSON (RFC 8785) and nothing else. Each record names the
//! hash of the one before (`prev`) and its own (`hash`), which is the leaf hash of RFC 6962 section 2.1: SHA-256 over
//! a zero byte and the record's canonical JSON without its `hash` member. The root over all leaves (same section)
//! together with their number is a [`Head`](crate::model::audit::Head), written `SIZE:ROOT`: whoever noted one can
//! later prove that the log still begins with exactly those records. `DIR/checkpoint` holds the newest head and the
//! right-hand edge of the tree, so that an append costs O(log n); it can be deleted and is then rebuilt, but until then
//! it shows a tail cut off by accident. Whoever can write the folder can rewrite both: keep a head elsewhere.
//!
//! Several processes append under an advisory lock on the log itself, and each looks at the tail again under the lock.
//! A line torn by a crash was never acknowledged; it is moved to `DIR/log.torn-TIME` and a record of kind `audit.torn`
//! says so. Anything else that does not fit is damage: appending is refused and reading goes on.
//!
//! # Checking it with nothing but Python
//!
//! In canonical form `hash` stands near the end of the line, so cutting out its last occurrence gives the bytes that
//! were hashed. This prints the head, or stops at the first line that does not fit. Say
//! `python3 check.py log.ndjson [SIZE]` to get the head after the first SIZE records.
//!
//! ```python
#![doc = include_str!("check.py")]
//! ```

mod export;
mod log;
mod merkle;
mod prefix;
mod record;
mod scan;
mod verify;

use std::path::PathBuf;

pub use export::{to_csv, to_ndjson};
pub use log::Audit;
pub use merkle::{Hash, consistent};
pub use scan::{AuditFilter, Scan};
pub use verify::{Fault, VerifyReport, verify, verify_heads};

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Nothing was recorded; whatever needed the record must not happen.
    #[error("the audit log cannot be written ({path}): {why}", path = path.display())]
    Unwritable { path: PathBuf, why: String },
    #[error("the audit log cannot be read ({path}): {why}", path = path.display())]
    Unreadable { path: PathBuf, why: String },
    /// The log is not what it was: nothing is added to it until somebody has looked.
    #[error("the audit log is damaged ({path}): {why}; run `watchfloor audit verify`", path = path.display())]
    Damaged { path: PathBuf, why: String },
}

#[cfg(test)]
mod tests;
