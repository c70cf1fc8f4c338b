//! The triage queue: one row per alert that waits for an opinion. A row goes with its verdict in one transaction, so an
//! alert is neither forgotten nor judged twice, whoever dies when.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{add_exchanges, bad_json, change, err, rows, time, to_json, us};
use crate::model::ids::{AlertId, PersonId};
use crate::model::opinion::{Exchange, TriageQueue};
use crate::model::verdict::Verdict;
use crate::store::sqlite::verdict;
use crate::store::{Held, Job, Result, Wanted};

const HOUR_US: i64 = 3_600_000_000;

pub(in crate::store::sqlite) fn enqueue(
    tx: &Transaction<'_>,
    ids: &[AlertId],
    wanted: &Wanted,
    now: Timestamp,
) -> Result<usize> {
    let (by, room) = match wanted {
        Wanted::By(person) => (Some(person), usize::MAX),
        Wanted::Auto { per_hour } => (None, (*per_hour as usize).saturating_sub(spent(tx, now)?)),
    };
    if by.is_some() && bulk_left(tx)? == 0 {
        tx.execute("UPDATE triage_bulk SET asked = 0, done = 0", []).map_err(err)?;
    }
    let mut stmt = tx
        .prepare_cached(
            "INSERT OR IGNORE INTO triage_job(alert, by, asked_at, urgent, rank, ready)
             SELECT id, ?2, ?3, priority = 0, rank, ?3 FROM alert
             WHERE id = ?1 AND (?2 IS NOT NULL OR (status < 3 AND verdict_kind IS NULL))",
        )
        .map_err(err)?;
    let mut added = 0;
    for id in ids {
        if added >= room {
            break;
        }
        added += stmt.execute(params![id.0, by.map(PersonId::as_str), us(now)]).map_err(err)?;
    }
    if added == 0 {
        return Ok(0);
    }
    if by.is_some() {
        tx.execute("UPDATE triage_bulk SET asked = asked + ?", [added as i64]).map_err(err)?;
    } else {
        tx.execute("DELETE FROM triage_spent WHERE at <= ?", [us(now) - HOUR_US]).map_err(err)?;
        tx.execute("INSERT INTO triage_spent(at, n) VALUES(?, ?)", params![us(now), added as i64]).map_err(err)?;
    }
    change::others(tx)?;
    Ok(added)
}

/// What the desk queued by itself in the hour before `now`.
fn spent(conn: &Connection, now: Timestamp) -> Result<usize> {
    conn.prepare_cached("SELECT coalesce(sum(n), 0) FROM triage_spent WHERE at > ?")
        .and_then(|mut s| s.query_row([us(now) - HOUR_US], |r| r.get::<_, i64>(0)))
        .map(|n| usize::try_from(n).unwrap_or(0))
        .map_err(err)
}

pub(in crate::store::sqlite) fn auto_room(conn: &Connection, per_hour: u32, now: Timestamp) -> Result<usize> {
    Ok((per_hour as usize).saturating_sub(spent(conn, now)?))
}

fn bulk_left(conn: &Connection) -> Result<i64> {
    conn.prepare_cached("SELECT count(*) FROM triage_job WHERE by IS NOT NULL")
        .and_then(|mut s| s.query_row([], |r| r.get(0)))
        .map_err(err)
}

/// Whether a lease could be had now.
pub(in crate::store::sqlite) fn waiting(conn: &Connection, asked_before: Timestamp, now: Timestamp) -> Result<bool> {
    conn.prepare_cached(
        "SELECT EXISTS(SELECT 1 FROM triage_job WHERE worker IS NULL AND ready <= ?1 AND asked_at <= ?2)
             OR EXISTS(SELECT 1 FROM triage_job WHERE worker IS NOT NULL AND until <= ?1 AND asked_at <= ?2)",
    )
    .and_then(|mut s| s.query_row(params![us(now), us(asked_before)], |r| r.get(0)))
    .map_err(err)
}

pub(in crate::store::sqlite) fn lease(
    tx: &Transaction<'_>,
    worker: &str,
    n: usize,
    asked_before: Timestamp,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<Job>> {
    tx.prepare_cached("UPDATE triage_job SET worker = NULL, until = NULL WHERE worker IS NOT NULL AND until <= ?")
        .and_then(|mut s| s.execute([us(now)]))
        .map_err(err)?;
    let mut jobs = Vec::new();
    while jobs.len() < n {
        let Some((job, moot)) = next(tx, asked_before, now)? else { break };
        if moot {
            remove(tx, job.alert)?;
            change::others(tx)?;
            continue;
        }
        tx.prepare_cached("UPDATE triage_job SET worker = ?, until = ? WHERE alert = ?")
            .and_then(|mut s| s.execute(params![worker, us(until), job.alert.0]))
            .map_err(err)?;
        jobs.push(job);
    }
    Ok(jobs)
}

/// The most urgent one, and whether nobody wants it any more: the desk queued it by itself, and it has been closed,
/// hidden or judged since.
fn next(tx: &Transaction<'_>, asked_before: Timestamp, now: Timestamp) -> Result<Option<(Job, bool)>> {
    tx.prepare_cached(
        "SELECT j.alert, j.by, j.asked_at, j.by IS NULL AND (a.status >= 3 OR a.verdict_kind IS NOT NULL)
         FROM triage_job j INDEXED BY triage_job_waiting JOIN alert a ON a.id = j.alert
         WHERE j.worker IS NULL AND j.ready <= ? AND j.asked_at <= ?
         ORDER BY j.urgent DESC, j.rank DESC, j.alert LIMIT 1",
    )
    .and_then(|mut s| {
        s.query_row(params![us(now), us(asked_before)], |r| {
            let job = Job { alert: AlertId(r.get(0)?), by: rows::person(r, 1)?, asked_at: time(r.get(2)?) };
            Ok((job, r.get(3)?))
        })
        .optional()
    })
    .map_err(err)
}

/// Puts off the end of this worker's leases; answers with those it still holds.
pub(in crate::store::sqlite) fn renew(tx: &Transaction<'_>, worker: &str, until: Timestamp) -> Result<Vec<AlertId>> {
    tx.prepare_cached("UPDATE triage_job SET until = ? WHERE worker = ? AND worker IS NOT NULL RETURNING alert")
        .and_then(|mut s| s.query_map(params![us(until), worker], |r| Ok(AlertId(r.get(0)?)))?.collect())
        .map_err(err)
}

pub(in crate::store::sqlite) fn leased(conn: &Connection, worker: &str) -> Result<Vec<AlertId>> {
    conn.prepare_cached("SELECT alert FROM triage_job WHERE worker = ? AND worker IS NOT NULL")
        .and_then(|mut s| s.query_map([worker], |r| Ok(AlertId(r.get(0)?)))?.collect())
        .map_err(err)
}

pub(in crate::store::sqlite) fn free(tx: &Transaction<'_>, but: &str) -> Result<usize> {
    tx.execute("DELETE FROM triage_held WHERE worker <> ?", [but]).map_err(err)?;
    tx.execute("UPDATE triage_job SET worker = NULL, until = NULL WHERE worker IS NOT NULL AND worker <> ?", [but])
        .map_err(err)
}

pub(in crate::store::sqlite) fn release(
    tx: &Transaction<'_>,
    worker: &str,
    id: AlertId,
    ready: Timestamp,
) -> Result<bool> {
    tx.prepare_cached(
        "UPDATE triage_job SET worker = NULL, until = NULL, ready = max(ready, ?) WHERE alert = ? AND worker = ?",
    )
    .and_then(|mut s| s.execute(params![us(ready), id.0, worker]))
    .map(|n| n > 0)
    .map_err(err)
}

/// Keeps the verdict and ends the job, if this worker still holds it; else nothing.
pub(in crate::store::sqlite) fn finish(
    tx: &Transaction<'_>,
    worker: &str,
    id: AlertId,
    v: &Verdict,
    exchanges: &[Exchange],
) -> Result<bool> {
    let held = tx
        .prepare_cached("SELECT EXISTS(SELECT 1 FROM triage_job WHERE alert = ? AND worker = ?)")
        .and_then(|mut s| s.query_row(params![id.0, worker], |r| r.get::<_, bool>(0)))
        .map_err(err)?;
    if !held {
        return Ok(false);
    }
    remove(tx, id)?;
    verdict::record(tx, id, v)?;
    add_exchanges(tx, exchanges)?;
    Ok(true)
}

pub(in crate::store::sqlite) fn discard(tx: &Transaction<'_>, worker: &str, id: AlertId) -> Result<bool> {
    if !leased(tx, worker)?.contains(&id) {
        return Ok(false);
    }
    remove(tx, id)?;
    change::others(tx)?;
    Ok(true)
}

/// Takes a job out, whoever has it: it counts as done.
pub(in crate::store::sqlite) fn remove(tx: &Transaction<'_>, id: AlertId) -> Result<()> {
    let by: Option<Option<String>> = tx
        .prepare_cached("DELETE FROM triage_job WHERE alert = ? RETURNING by")
        .and_then(|mut s| s.query_row([id.0], |r| r.get(0)).optional())
        .map_err(err)?;
    if by.flatten().is_some() {
        tx.execute("UPDATE triage_bulk SET done = done + 1", []).map_err(err)?;
    }
    Ok(())
}

/// Takes out everything people asked for, leased or not.
pub(in crate::store::sqlite) fn cancel(tx: &Transaction<'_>) -> Result<usize> {
    let n = tx.execute("DELETE FROM triage_job WHERE by IS NOT NULL", []).map_err(err)?;
    if n > 0 {
        tx.execute("UPDATE triage_bulk SET asked = 0, done = 0", []).map_err(err)?;
        change::others(tx)?;
    }
    Ok(n)
}

pub(in crate::store::sqlite) fn state(conn: &Connection, now: Timestamp) -> Result<TriageQueue> {
    let (all, running, bulk): (i64, i64, i64) = conn
        .prepare_cached(
            "SELECT (SELECT count(*) FROM triage_job),
               (SELECT count(*) FROM triage_job WHERE worker IS NOT NULL AND until > ?),
               (SELECT count(*) FROM triage_job WHERE by IS NOT NULL)",
        )
        .and_then(|mut s| s.query_row([us(now)], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))))
        .map_err(err)?;
    let (asked, done): (i64, i64) = conn
        .prepare_cached("SELECT asked, done FROM triage_bulk")
        .and_then(|mut s| s.query_row([], |r| Ok((r.get(0)?, r.get(1)?))))
        .map_err(err)?;
    let of_bulk = |n: i64| if bulk > 0 { n.unsigned_abs() } else { 0 };
    Ok(TriageQueue {
        waiting: (all - running).unsigned_abs(),
        running: running.unsigned_abs(),
        asked: of_bulk(asked),
        done: of_bulk(done),
        held: None,
    })
}

pub(in crate::store::sqlite) fn hold(tx: &Transaction<'_>, worker: &str, held: Option<&Held>) -> Result<()> {
    match held {
        Some(h) => tx.execute(
            "INSERT INTO triage_held(worker, json, until) VALUES(?, ?, ?)
             ON CONFLICT(worker) DO UPDATE SET json = excluded.json, until = excluded.until",
            params![worker, to_json("hold", h)?, us(h.until)],
        ),
        None => tx.execute("DELETE FROM triage_held WHERE worker = ?", [worker]),
    }
    .map_err(err)?;
    change::others(tx)
}

pub(in crate::store::sqlite) fn held(conn: &Connection, now: Timestamp) -> Result<Option<Held>> {
    conn.prepare_cached("SELECT json FROM triage_held WHERE until > ? ORDER BY until DESC LIMIT 1")
        .and_then(|mut s| s.query_row([us(now)], |r| r.get::<_, String>(0)).optional())
        .map_err(err)?
        .map(|json| serde_json::from_str(&json).map_err(|e| bad_json("hold", &e)))
        .transpose()
}
