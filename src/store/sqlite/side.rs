//! Cases, views, suppressions, dead letters, checkpoints, and writing status back.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::{change, err, related, rows, time, us};
use crate::model::alert::{DeadLetter, Status};
use crate::model::case::{Case, SavedView, Suppression};
use crate::model::ids::{AlertId, CaseId, DeadLetterId, PersonId, SuppressionId};
use crate::store::{Result, Writeback};
use crate::text::Untrusted;

pub(super) fn checkpoint(conn: &Connection, name: &str) -> Result<Option<String>> {
    conn.prepare_cached("SELECT value FROM checkpoint WHERE name = ?")
        .and_then(|mut s| s.query_row([name], |r| r.get(0)).optional())
        .map_err(err)
}

pub(super) fn set_checkpoint(tx: &Transaction<'_>, name: &str, value: &str) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO checkpoint(name, value) VALUES(?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
    )
    .and_then(|mut s| s.execute([name, value]))
    .map_err(err)?;
    Ok(())
}

/// A person's id that we wrote ourselves; a damaged one is shown as nobody.
fn person(r: &Row<'_>, i: usize) -> rusqlite::Result<PersonId> {
    rows::person(r, i)?.or_else(|| PersonId::new("unknown")).ok_or(rusqlite::Error::InvalidQuery)
}

// --- cases ---------------------------------------------------------------------------------------

const CASE: &str = "SELECT c.id, c.title, c.opened_by, c.opened_at, c.closed_at,
 (SELECT count(*) FROM alert a WHERE a.case_id = c.id) FROM case_file c";

fn case_row(r: &Row<'_>) -> rusqlite::Result<Case> {
    Ok(Case {
        id: CaseId(r.get(0)?),
        title: r.get::<_, String>(1)?.into(),
        opened_by: person(r, 2)?,
        opened_at: time(r.get(3)?),
        closed_at: rows::at(r, 4)?,
        alerts: r.get::<_, i64>(5)?.unsigned_abs(),
    })
}

pub(super) fn cases(conn: &Connection, limit: usize) -> Result<Vec<Case>> {
    conn.prepare_cached(&format!("{CASE} ORDER BY c.id DESC LIMIT ?"))
        .and_then(|mut s| s.query_map([limit as i64], case_row)?.collect())
        .map_err(err)
}

pub(super) fn case(conn: &Connection, id: CaseId) -> Result<Option<Case>> {
    conn.prepare_cached(&format!("{CASE} WHERE c.id = ?"))
        .and_then(|mut s| s.query_row([id.0], case_row).optional())
        .map_err(err)
}

pub(super) fn new_case(tx: &Transaction<'_>, title: &Untrusted, by: &PersonId, now: Timestamp) -> Result<CaseId> {
    tx.execute(
        "INSERT INTO case_file(title, opened_by, opened_at) VALUES(?, ?, ?)",
        params![title.expose(), by.as_str(), us(now)],
    )
    .map_err(err)?;
    Ok(CaseId(tx.last_insert_rowid()))
}

pub(super) fn close_case(tx: &Transaction<'_>, id: CaseId, at: Option<Timestamp>) -> Result<bool> {
    let changed = tx
        .execute(
            "UPDATE case_file SET closed_at = ?1 WHERE id = ?2 AND (closed_at IS NULL) = (?1 IS NOT NULL)",
            params![at.map(us), id.0],
        )
        .map_err(err)?;
    if changed > 0 {
        change::others(tx)?;
    }
    Ok(changed > 0)
}

/// Whether an alert is in it still; if none is, it goes.
pub(super) fn drop_case_if_empty(tx: &Transaction<'_>, id: i64) -> Result<bool> {
    tx.execute("DELETE FROM case_file WHERE id = ?1 AND NOT EXISTS(SELECT 1 FROM alert WHERE case_id = ?1)", [id])
        .map(|n| n > 0)
        .map_err(err)
}

// --- views ---------------------------------------------------------------------------------------

pub(super) fn views(conn: &Connection) -> Result<Vec<SavedView>> {
    conn.prepare_cached("SELECT name, query, sort, by FROM view ORDER BY name")
        .and_then(|mut s| {
            s.query_map([], |r| {
                Ok(SavedView { name: r.get(0)?, query: r.get(1)?, sort: r.get(2)?, by: rows::person(r, 3)? })
            })?
            .collect()
        })
        .map_err(err)
}

pub(super) fn put_view(tx: &Transaction<'_>, v: &SavedView) -> Result<()> {
    tx.execute(
        "INSERT INTO view(name, query, sort, by) VALUES(?, ?, ?, ?)
         ON CONFLICT(name) DO UPDATE SET query = excluded.query, sort = excluded.sort, by = excluded.by",
        params![v.name, v.query, v.sort, v.by.as_ref().map(PersonId::as_str)],
    )
    .map_err(err)?;
    change::others(tx)
}

pub(super) fn drop_view(tx: &Transaction<'_>, name: &str) -> Result<bool> {
    let gone = tx.execute("DELETE FROM view WHERE name = ?", [name]).map_err(err)? > 0;
    if gone {
        change::others(tx)?;
    }
    Ok(gone)
}

// --- suppressions --------------------------------------------------------------------------------

/// Newest first, ended ones too.
pub(super) fn suppressions(conn: &Connection) -> Result<Vec<Suppression>> {
    conn.prepare_cached("SELECT id, query, owner, reason, created, expires, hidden FROM suppression ORDER BY id DESC")
        .and_then(|mut s| {
            s.query_map([], |r| {
                Ok(Suppression {
                    id: SuppressionId(r.get(0)?),
                    query: r.get(1)?,
                    owner: person(r, 2)?,
                    reason: r.get::<_, String>(3)?.into(),
                    created: time(r.get(4)?),
                    expires: time(r.get(5)?),
                    hidden: r.get::<_, i64>(6)?.unsigned_abs(),
                })
            })?
            .collect()
        })
        .map_err(err)
}

pub(super) fn suppression_alive(conn: &Connection, id: i64, now: Timestamp) -> Result<bool> {
    conn.query_row(
        "SELECT EXISTS(SELECT 1 FROM suppression WHERE id = ? AND ended IS NULL AND expires > ?)",
        params![id, us(now)],
        |r| r.get(0),
    )
    .map_err(err)
}

pub(super) fn add_suppression(tx: &Transaction<'_>, s: &Suppression) -> Result<SuppressionId> {
    tx.execute(
        "INSERT INTO suppression(query, owner, reason, created, expires) VALUES(?, ?, ?, ?, ?)",
        params![s.query, s.owner.as_str(), s.reason.expose(), us(s.created), us(s.expires)],
    )
    .map_err(err)?;
    let id = SuppressionId(tx.last_insert_rowid());
    change::others(tx)?;
    Ok(id)
}

/// `false`: there is none, or it has ended already.
pub(super) fn end_suppression(tx: &Transaction<'_>, id: SuppressionId, now: Timestamp) -> Result<bool> {
    let ended = tx
        .execute(
            "UPDATE suppression SET ended = ?1, expires = min(expires, ?1) WHERE id = ?2 AND ended IS NULL",
            params![us(now), id.0],
        )
        .map_err(err)?;
    if ended == 0 {
        return Ok(false);
    }
    reveal(tx, id.0, now)?;
    change::others(tx)?;
    Ok(true)
}

const DUE: &str = "SELECT id FROM suppression WHERE ended IS NULL AND expires <= ?";

pub(super) fn suppressions_due(conn: &Connection, now: Timestamp) -> Result<bool> {
    conn.prepare_cached(DUE).and_then(|mut s| s.exists([us(now)])).map_err(err)
}

pub(super) fn expire_suppressions(tx: &Transaction<'_>, now: Timestamp) -> Result<usize> {
    let due: Vec<i64> =
        tx.prepare_cached(DUE).and_then(|mut s| s.query_map([us(now)], |r| r.get(0))?.collect()).map_err(err)?;
    let mut given_back = 0;
    for id in &due {
        tx.execute("UPDATE suppression SET ended = ? WHERE id = ?", params![us(now), id]).map_err(err)?;
        given_back += reveal(tx, *id, now)?;
    }
    if !due.is_empty() {
        change::others(tx)?;
    }
    Ok(given_back)
}

/// Gives back what a suppression hides.
fn reveal(tx: &Transaction<'_>, id: i64, now: Timestamp) -> Result<usize> {
    let ids: Vec<i64> = tx
        .prepare_cached(
            "UPDATE alert SET status = ?1, rev = rev + 1, touch = touch + 1, touched_by = NULL
             WHERE suppressed_by = ?2 AND status = ?3 RETURNING id",
        )
        .and_then(|mut s| s.query_map(params![Status::New.id(), id, Status::Suppressed.id()], |r| r.get(0))?.collect())
        .map_err(err)?;
    for alert in &ids {
        related::note(tx, *alert, us(now), None, "reveal", &format!("suppression {id} ended"))?;
        mark_dirty(tx, *alert)?;
    }
    let n = ids.len();
    change::alerts(tx, ids)?;
    Ok(n)
}

// --- dead letters --------------------------------------------------------------------------------

const LETTER: &str =
    "SELECT id, at, source, format, offset, line, reason, length(raw), sha256, tries, raw FROM dead_letter";

fn letter(r: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        id: DeadLetterId(r.get(0)?),
        at: time(r.get(1)?),
        source: r.get::<_, String>(2)?.into(),
        format: r.get(3)?,
        offset: r.get::<_, i64>(4)?.unsigned_abs(),
        line: r.get::<_, Option<i64>>(5)?.map(i64::unsigned_abs),
        reason: r.get::<_, String>(6)?.into(),
        raw_len: r.get::<_, i64>(7)?.unsigned_abs(),
        raw_sha256: hex::encode(r.get::<_, Vec<u8>>(8)?),
        tries: r.get(9)?,
    })
}

/// Newest first.
pub(super) fn dead_letters(conn: &Connection, limit: usize) -> Result<Vec<DeadLetter>> {
    conn.prepare_cached(&format!("{LETTER} ORDER BY id DESC LIMIT ?"))
        .and_then(|mut s| s.query_map([limit as i64], letter)?.collect())
        .map_err(err)
}

pub(super) fn dead_letter_count(conn: &Connection) -> Result<u64> {
    let n: i64 = conn.query_row("SELECT count(*) FROM dead_letter", [], |r| r.get(0)).map_err(err)?;
    Ok(n.unsigned_abs())
}

pub(super) fn dead_letter(conn: &Connection, id: DeadLetterId) -> Result<Option<(DeadLetter, Vec<u8>)>> {
    conn.prepare_cached(&format!("{LETTER} WHERE id = ?"))
        .and_then(|mut s| s.query_row([id.0], |r| Ok((letter(r)?, r.get(10)?))).optional())
        .map_err(err)
}

pub(super) fn dead_letter_failed_again(tx: &Transaction<'_>, id: DeadLetterId, reason: &Untrusted) -> Result<()> {
    let n = tx
        .execute("UPDATE dead_letter SET tries = tries + 1, reason = ? WHERE id = ?", params![reason.expose(), id.0])
        .map_err(err)?;
    if n == 0 {
        return Err(crate::store::StoreError::NotFound(format!("dead letter {id}")));
    }
    change::others(tx)
}

pub(super) fn drop_dead_letter(tx: &Transaction<'_>, id: DeadLetterId) -> Result<bool> {
    let gone = tx.execute("DELETE FROM dead_letter WHERE id = ?", [id.0]).map_err(err)? > 0;
    if gone {
        change::others(tx)?;
    }
    Ok(gone)
}

// --- writing back --------------------------------------------------------------------------------

/// Status, owner or disposition changed: the source wants to hear of it. Call after the alert's `rev` went up.
pub(super) fn mark_dirty(tx: &Transaction<'_>, alert: i64) -> Result<()> {
    tx.prepare_cached("UPDATE origin SET dirty = (SELECT rev FROM alert WHERE id = ?1) WHERE alert = ?1")
        .and_then(|mut s| s.execute([alert]))
        .map_err(err)?;
    Ok(())
}

pub(super) fn writebacks(conn: &Connection, source: &str, limit: usize) -> Result<Vec<Writeback>> {
    conn.prepare_cached(
        "SELECT a.id, a.status, a.owner, a.disposition, o.dirty, o.source, o.idx, o.doc_id, o.seq_no, o.primary_term
         FROM origin o INDEXED BY origin_dirty JOIN alert a ON a.id = o.alert
         WHERE o.source = ? AND o.dirty IS NOT NULL ORDER BY o.dirty, a.id LIMIT ?",
    )
    .and_then(|mut s| {
        s.query_map(params![source, limit as i64], |r| {
            Ok(Writeback {
                alert: AlertId(r.get(0)?),
                status: rows::status(r, 1)?,
                owner: rows::person(r, 2)?,
                disposition: rows::disposition(r, 3)?,
                rev: r.get::<_, i64>(4)?.unsigned_abs(),
                origin: rows::origin(r, 5)?.ok_or(rusqlite::Error::InvalidQuery)?,
            })
        })?
        .collect()
    })
    .map_err(err)
}

/// Keeps the document's numbers; what changed after `w` was read stays to be written back.
fn settle(tx: &Transaction<'_>, w: &Writeback, seq_no: i64, primary_term: i64) -> Result<()> {
    tx.execute(
        "UPDATE origin SET seq_no = ?, primary_term = ?, dirty = CASE WHEN dirty <= ? THEN NULL ELSE dirty END
         WHERE alert = ? AND idx = ? AND doc_id = ?",
        params![seq_no, primary_term, w.rev as i64, w.alert.0, w.origin.index, w.origin.doc_id],
    )
    .map_err(err)?;
    Ok(())
}

pub(super) fn writeback_done(tx: &Transaction<'_>, w: &Writeback, seq_no: i64, primary_term: i64) -> Result<()> {
    settle(tx, w, seq_no, primary_term)
}

pub(super) fn writeback_conflict(
    tx: &Transaction<'_>,
    w: &Writeback,
    seq_no: i64,
    primary_term: i64,
    what: &Untrusted,
) -> Result<()> {
    settle(tx, w, seq_no, primary_term)?;
    let at = us(Timestamp::now());
    related::note(tx, w.alert.0, at, None, "writeback", what.expose())?;
    tx.execute("UPDATE alert SET rev = rev + 1 WHERE id = ?", [w.alert.0]).map_err(err)?;
    change::alerts(tx, vec![w.alert.0])
}
