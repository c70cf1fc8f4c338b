//! The change log: what any process changed, as ranges of alert ids, so that others need not look at every row.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{SqliteStore, err};
use crate::model::ids::AlertId;
use crate::store::{Changes, Result};

/// Entries kept; a reader further behind reloads.
const KEEP: i64 = 65_536;
const ALERTS: i64 = 0;
const OTHERS: i64 = 1;

/// Notes that these alerts changed. Sorts them to find runs.
pub(super) fn alerts(conn: &Connection, mut ids: Vec<i64>) -> Result<()> {
    ids.sort_unstable();
    ids.dedup();
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for id in ids {
        match runs.last_mut() {
            Some((_, hi)) if *hi + 1 == id => *hi = id,
            _ => runs.push((id, id)),
        }
    }
    for (lo, hi) in runs {
        add(conn, ALERTS, lo, hi)?;
    }
    Ok(())
}

/// Notes that something else changed.
pub(super) fn others(conn: &Connection) -> Result<()> {
    add(conn, OTHERS, 0, 0)
}

fn add(conn: &Connection, kind: i64, lo: i64, hi: i64) -> Result<()> {
    conn.prepare_cached("INSERT INTO change(kind, lo, hi) VALUES(?, ?, ?)")
        .and_then(|mut s| s.execute(params![kind, lo, hi]))
        .map_err(err)?;
    let rev = conn.last_insert_rowid();
    if rev % 1024 == 0 {
        conn.execute("DELETE FROM change WHERE rev <= ?", [rev - KEEP]).map_err(err)?;
    }
    Ok(())
}

fn newest(conn: &Connection) -> Result<u64> {
    conn.prepare_cached("SELECT max(rev) FROM change")
        .and_then(|mut s| s.query_row([], |r| r.get::<_, Option<i64>>(0)))
        .map(|rev| rev.unwrap_or(0).unsigned_abs())
        .map_err(err)
}

impl SqliteStore {
    /// A lookup of the last key of a small table: microseconds.
    pub(super) fn newest_revision(&self) -> Result<u64> {
        self.read(newest)
    }

    pub(super) fn changes_since(&self, since: u64, limit: usize) -> Result<Changes> {
        self.read(|conn| {
            let revision = newest(conn)?;
            let mut out = Changes { revision, ..Changes::default() };
            let since = i64::try_from(since).unwrap_or(i64::MAX);
            let oldest: Option<i64> =
                conn.query_row("SELECT min(rev) FROM change", [], |r| r.get(0)).optional().map_err(err)?.flatten();
            if oldest.is_some_and(|o| since < o - 1) || since.unsigned_abs() > revision {
                out.overflow = true;
                out.others = true;
                return Ok(out);
            }
            let mut seen = HashSet::new();
            let mut stmt =
                conn.prepare_cached("SELECT kind, lo, hi FROM change WHERE rev > ? ORDER BY rev").map_err(err)?;
            let mut rows = stmt.query([since]).map_err(err)?;
            while let Some(row) = rows.next().map_err(err)? {
                let (kind, lo, hi): (i64, i64, i64) =
                    (row.get(0).map_err(err)?, row.get(1).map_err(err)?, row.get(2).map_err(err)?);
                if kind != ALERTS {
                    out.others = true;
                    continue;
                }
                for id in lo..=hi {
                    if seen.contains(&id) {
                        continue;
                    }
                    if out.alerts.len() >= limit {
                        out.overflow = true;
                        break;
                    }
                    seen.insert(id);
                    out.alerts.push(AlertId(id));
                }
            }
            Ok(out)
        })
    }
}
