//! Documents that change and series that only grow.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::{change, err, time, us};
use crate::store::{Doc, Entry, Result, StoreError};

fn doc_row(r: &Row<'_>) -> rusqlite::Result<Doc> {
    Ok(Doc {
        kind: r.get(0)?,
        key: r.get(1)?,
        rev: r.get::<_, i64>(2)?.unsigned_abs(),
        at: time(r.get(3)?),
        body: r.get(4)?,
    })
}

pub(super) fn get(conn: &Connection, kind: &str, key: &str) -> Result<Option<Doc>> {
    conn.prepare_cached("SELECT kind, key, rev, at, body FROM doc WHERE kind = ? AND key = ?")
        .and_then(|mut s| s.query_row([kind, key], doc_row).optional())
        .map_err(err)
}

pub(super) fn list(conn: &Connection, kind: &str, limit: usize) -> Result<Vec<Doc>> {
    conn.prepare_cached("SELECT kind, key, rev, at, body FROM doc WHERE kind = ? ORDER BY key LIMIT ?")
        .and_then(|mut s| s.query_map(params![kind, limit as i64], doc_row)?.collect())
        .map_err(err)
}

pub(super) fn put(tx: &Transaction<'_>, kind: &str, key: &str, body: &str, rev: u64, now: Timestamp) -> Result<u64> {
    let have = get(tx, kind, key)?.map_or(0, |d| d.rev);
    if have != rev {
        return Err(StoreError::Conflict(format!("{kind} {key}")));
    }
    tx.prepare_cached(
        "INSERT INTO doc(kind, key, rev, at, body) VALUES(?, ?, ?, ?, ?)
         ON CONFLICT(kind, key) DO UPDATE SET rev = excluded.rev, at = excluded.at, body = excluded.body",
    )
    .and_then(|mut s| s.execute(params![kind, key, (rev + 1) as i64, us(now), body]))
    .map_err(err)?;
    change::others(tx)?;
    Ok(rev + 1)
}

pub(super) fn drop_one(tx: &Transaction<'_>, kind: &str, key: &str) -> Result<bool> {
    let n = tx
        .prepare_cached("DELETE FROM doc WHERE kind = ? AND key = ?")
        .and_then(|mut s| s.execute([kind, key]))
        .map_err(err)?;
    if n > 0 {
        change::others(tx)?;
    }
    Ok(n > 0)
}

pub(super) fn add_entry(tx: &Transaction<'_>, kind: &str, key: &str, entry: &Entry) -> Result<bool> {
    let n = tx
        .prepare_cached("INSERT OR IGNORE INTO entry(kind, key, at, body) VALUES(?, ?, ?, ?)")
        .and_then(|mut s| s.execute(params![kind, key, us(entry.at), entry.body]))
        .map_err(err)?;
    Ok(n > 0)
}

pub(super) fn entries(
    conn: &Connection,
    kind: &str,
    key: &str,
    from: Timestamp,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<Entry>> {
    let mut out: Vec<Entry> = conn
        .prepare_cached(
            "SELECT at, body FROM entry WHERE kind = ? AND key = ? AND at >= ? AND at < ? ORDER BY at DESC LIMIT ?",
        )
        .and_then(|mut s| {
            s.query_map(params![kind, key, us(from), us(until), limit as i64], |r| {
                Ok(Entry { at: time(r.get(0)?), body: r.get(1)? })
            })?
            .collect()
        })
        .map_err(err)?;
    out.reverse();
    Ok(out)
}

pub(super) fn keys(conn: &Connection, kind: &str) -> Result<Vec<String>> {
    conn.prepare_cached("SELECT DISTINCT key FROM entry WHERE kind = ? ORDER BY key")
        .and_then(|mut s| s.query_map([kind], |r| r.get(0))?.collect())
        .map_err(err)
}

pub(super) fn drop_entries(tx: &Transaction<'_>, kind: &str, before: Timestamp, max: usize) -> Result<usize> {
    tx.prepare_cached(
        "DELETE FROM entry WHERE (kind, key, at) IN (SELECT kind, key, at FROM entry WHERE kind = ? AND at < ? LIMIT ?)",
    )
    .and_then(|mut s| s.execute(params![kind, us(before), max as i64]))
    .map_err(err)
}
