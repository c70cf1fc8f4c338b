//! The floor: read JSON, insert the same rows through plain rusqlite with the same settings.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde_json::Value;
use watchfloor::model::severity::Severity;
use watchfloor::store::sqlite::SqliteStore;

fn get<'v>(v: &'v Value, path: &str) -> Option<&'v str> {
    v.pointer(path)?.as_str()
}

fn ip(v: &Value, path: &str) -> Option<std::net::IpAddr> {
    get(v, path)?.parse().ok()
}

fn severity(v: &Value) -> Severity {
    match v.pointer("/rule/level").and_then(Value::as_u64).unwrap_or(0) {
        0 => Severity::Unknown,
        1..=3 => Severity::Informational,
        4..=6 => Severity::Low,
        7..=9 => Severity::Medium,
        10..=12 => Severity::High,
        _ => Severity::Critical,
    }
}

/// Reads each record as JSON and inserts one row into each of the two tables, in durable batches. The tables and
/// indexes are the store's own; keys are numbers, not hashes, for a bare loop would not hash.
pub fn run(path: &Path, records: impl Iterator<Item = Vec<u8>>, batch: usize) -> usize {
    drop(SqliteStore::open(path).unwrap());
    let mut conn = Connection::open(path).unwrap();
    conn.execute_batch("PRAGMA synchronous=FULL; PRAGMA cache_size=-65536; PRAGMA wal_autocheckpoint=16384; PRAGMA mmap_size=2147418112; PRAGMA temp_store=MEMORY")
        .unwrap();
    conn.execute("INSERT INTO word(id, text) VALUES(1, 'wazuh'), (2, 'file:/x'), (3, 'Wazuh')", []).unwrap();
    let mut n = 0u64;
    let mut records = records.peekable();
    while records.peek().is_some() {
        let now = Timestamp::now().as_microsecond();
        let tx = conn.transaction().unwrap();
        {
            let mut alert = tx
                .prepare_cached(
                    "INSERT INTO alert(status, priority, severity, sev_order, rank, t_ingest, sport, src, format, source,
                     product, techniques, host, user, process, rule_id, rule_name, title, detector_priority,
                     asset_weight, identity, grp, last_seen, t_alert)
                     VALUES(0, ?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, 2, 3, ?8, ?9, ?10, ?11, ?12, ?13, ?13, ?1, 100, ?14, ?15, ?5, ?16)",
                )
                .unwrap();
            let mut record =
                tx.prepare_cached("INSERT INTO record(id, sha256, source_id, raw) VALUES(?, ?, ?, ?)").unwrap();
            for raw in records.by_ref().take(batch) {
                let v: Value = serde_json::from_slice(&raw).unwrap();
                let severity = severity(&v);
                // Spread over the key space, as hashes are.
                n += 1;
                let key = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().repeat(2);
                let host = get(&v, "/agent/name").unwrap_or_default();
                let group: Vec<u8> = host.bytes().chain([b'x'; 16]).take(16).collect();
                let techniques: Vec<&str> = v
                    .pointer("/rule/mitre/id")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                let priority = 6 - severity.id().min(6);
                let src = ip(&v, "/data/srcip").map(watchfloor::model::query::ip_bits);
                let t_alert =
                    get(&v, "/timestamp").and_then(|t| t.parse::<Timestamp>().ok()).map(|t| t.as_microsecond());
                alert
                    .execute(params![
                        priority.min(3),
                        severity.id(),
                        severity.id() * 2,
                        -(now as f64) / 86_400e6 - priority as f64,
                        now,
                        get(&v, "/data/srcport").and_then(|p| p.parse::<u16>().ok()),
                        src,
                        techniques.join(","),
                        host,
                        get(&v, "/data/dstuser"),
                        get(&v, "/predecoder/program_name"),
                        get(&v, "/rule/id"),
                        get(&v, "/rule/description").unwrap_or_default(),
                        key,
                        group,
                        t_alert,
                    ])
                    .unwrap();
                record.execute(params![tx.last_insert_rowid(), [0u8; 32], get(&v, "/id"), raw]).unwrap();
            }
        }
        tx.commit().unwrap();
    }
    n as usize
}
