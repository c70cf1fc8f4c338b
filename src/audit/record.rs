//! One record as bytes.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::merkle::{self, Hash};
use crate::model::audit::AuditRecord;
use crate::model::ids::PersonId;

/// `prev` of the first record.
pub const NO_PREV: Hash = [0; 32];

/// What the hash is over.
#[derive(Serialize)]
struct Unhashed<'a> {
    seq: u64,
    at: Timestamp,
    by: Option<&'a PersonId>,
    kind: &'a str,
    request_id: Option<&'a str>,
    body: &'a Value,
    prev: &'a str,
}

fn hash_of(r: &Unhashed<'_>) -> serde_json::Result<Hash> {
    serde_json_canonicalizer::to_vec(r).map(|bytes| merkle::leaf(&bytes))
}

/// What happened, before it has a place in the chain.
pub struct Entry<'a> {
    pub at: Timestamp,
    pub by: Option<&'a PersonId>,
    pub kind: &'a str,
    pub request_id: Option<&'a str>,
    pub body: Value,
}

/// Gives the entry its place: the record, its hash, and its line with the newline.
pub fn seal(entry: Entry<'_>, seq: u64, prev: &Hash) -> serde_json::Result<(AuditRecord, Hash, Vec<u8>)> {
    let Entry { at, by, kind, request_id, mut body } = entry;
    exact(&mut body);
    let prev = hex::encode(prev);
    let hash = hash_of(&Unhashed { seq, at, by, kind, request_id, body: &body, prev: &prev })?;
    let record = AuditRecord {
        seq,
        at,
        by: by.cloned(),
        kind: kind.to_owned(),
        request_id: request_id.map(str::to_owned),
        body,
        prev,
        hash: hex::encode(hash),
    };
    let mut line = serde_json_canonicalizer::to_vec(&record)?;
    // What a reader will see, to the last digit and the order of members.
    let record = serde_json::from_slice(&line)?;
    line.push(b'\n');
    Ok((record, hash, line))
}

/// RFC 8785 numbers are doubles: a whole number that is not exact as one is kept as text instead.
fn exact(v: &mut Value) {
    const SAFE: u64 = 1 << 53;
    match v {
        Value::Number(n) => {
            let whole = n.as_u64().or_else(|| n.as_i64().map(i64::unsigned_abs));
            if whole.is_some_and(|w| w > SAFE) {
                *v = Value::String(n.to_string());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(exact),
        Value::Object(map) => map.values_mut().for_each(exact),
        _ => {}
    }
}

/// A line read back.
pub struct Read {
    pub record: AuditRecord,
    /// Over what the line says, whatever `record.hash` claims.
    pub hash: Hash,
}

/// Reads one line (without its newline). Says what is wrong with it by itself; its place in the chain is the caller's.
pub fn open(line: &[u8]) -> Result<Read, String> {
    let record: AuditRecord = serde_json::from_slice(line).map_err(|e| format!("not a record: {e}"))?;
    let canonical = serde_json_canonicalizer::to_vec(&record).map_err(|e| format!("not a record: {e}"))?;
    if canonical != line {
        return Err("altered: not in canonical form".into());
    }
    let r = &record;
    let hash = hash_of(&Unhashed {
        seq: r.seq,
        at: r.at,
        by: r.by.as_ref(),
        kind: &r.kind,
        request_id: r.request_id.as_deref(),
        body: &r.body,
        prev: &r.prev,
    })
    .map_err(|e| format!("not a record: {e}"))?;
    Ok(Read { record, hash })
}
