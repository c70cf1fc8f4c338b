//! What surrounds verdicts: exchanges with models, reviews, answers. The queue is in [`queue`], figures in [`stats`].

pub(super) mod queue;
pub(super) mod stats;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{bad_json, change, err, related, rows, time, to_json, us};
use crate::model::ids::{AlertId, PersonId};
use crate::model::opinion::{Answered, Exchange, Review};
use crate::model::verdict::{Verdict, VerdictKind};
use crate::store::{Result, StoreError};
use crate::text::Untrusted;

// --- exchanges -----------------------------------------------------------------------------------

/// Keeps exchanges. One whose request id is known already is left as it is.
pub(super) fn add_exchanges(tx: &Transaction<'_>, exchanges: &[Exchange]) -> Result<()> {
    for e in exchanges {
        let system = shared(tx, &e.system)?;
        let schema = e.schema.as_ref().map(|s| to_json("schema", s).and_then(|s| shared(tx, &s))).transpose()?;
        let rest = Exchange { system: String::new(), schema: None, ..e.clone() };
        let body = lz4_flex::block::compress_prepend_size(to_json("exchange", &rest)?.as_bytes());
        tx.prepare_cached(
            "INSERT OR IGNORE INTO exchange(request_id, alert, at, system, schema, body) VALUES(?, ?, ?, ?, ?, ?)",
        )
        .and_then(|mut s| s.execute(params![e.request_id, e.alert.0, us(e.at), system, schema, body]))
        .map_err(err)?;
    }
    Ok(())
}

/// The id of a text that many exchanges share.
fn shared(tx: &Transaction<'_>, text: &str) -> Result<i64> {
    let sha: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    tx.prepare_cached("INSERT OR IGNORE INTO shared_text(sha256, text) VALUES(?, ?)")
        .and_then(|mut s| s.execute(params![sha, text]))
        .map_err(err)?;
    tx.prepare_cached("SELECT id FROM shared_text WHERE sha256 = ?")
        .and_then(|mut s| s.query_row([sha], |r| r.get(0)))
        .map_err(err)
}

const EXCHANGE: &str = "SELECT e.body, s.text, c.text FROM exchange e JOIN shared_text s ON s.id = e.system
 LEFT JOIN shared_text c ON c.id = e.schema";

fn exchange_of((body, system, schema): (Vec<u8>, String, Option<String>)) -> Result<Exchange> {
    let json = lz4_flex::block::decompress_size_prepended(&body)
        .map_err(|e| StoreError::Unreadable(format!("exchange: {e}")))?;
    let mut e: Exchange = serde_json::from_slice(&json).map_err(|e| bad_json("exchange", &e))?;
    e.system = system;
    e.schema = schema.map(|s| serde_json::from_str::<Value>(&s)).transpose().map_err(|e| bad_json("schema", &e))?;
    Ok(e)
}

/// Newest first.
pub(super) fn exchanges(conn: &Connection, id: AlertId, limit: usize) -> Result<Vec<Exchange>> {
    let found: Vec<_> = conn
        .prepare_cached(&format!("{EXCHANGE} WHERE e.alert = ? ORDER BY e.id DESC LIMIT ?"))
        .and_then(|mut s| {
            s.query_map(params![id.0, limit as i64], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?.collect()
        })
        .map_err(err)?;
    found.into_iter().map(exchange_of).collect()
}

pub(super) fn exchange(conn: &Connection, request_id: &str) -> Result<Option<Exchange>> {
    conn.prepare_cached(&format!("{EXCHANGE} WHERE e.request_id = ?"))
        .and_then(|mut s| s.query_row([request_id], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).optional())
        .map_err(err)?
        .map(exchange_of)
        .transpose()
}

pub(super) fn exchanges_due(conn: &Connection, before: Timestamp) -> Result<bool> {
    conn.prepare_cached("SELECT EXISTS(SELECT 1 FROM exchange WHERE at < ?)")
        .and_then(|mut s| s.query_row([us(before)], |r| r.get(0)))
        .map_err(err)
}

/// Forgets at most `max` old exchanges, and shared texts that none is left of.
pub(super) fn drop_exchanges(tx: &Transaction<'_>, before: Timestamp, max: usize) -> Result<usize> {
    let n = tx
        .execute(
            "DELETE FROM exchange WHERE id IN (SELECT id FROM exchange WHERE at < ? ORDER BY at LIMIT ?)",
            params![us(before), max as i64],
        )
        .map_err(err)?;
    // Reads every row that is left, so only in the last round of a clearing.
    if n > 0 && !exchanges_due(tx, before)? {
        tx.execute(
            "DELETE FROM shared_text WHERE id NOT IN
               (SELECT system FROM exchange UNION SELECT schema FROM exchange WHERE schema IS NOT NULL)",
            [],
        )
        .map_err(err)?;
    }
    Ok(n)
}

// --- reviews -------------------------------------------------------------------------------------

/// A verdict of an alert, by its request id.
pub(super) fn verdict(conn: &Connection, id: AlertId, request_id: &str) -> Result<Option<(i64, Verdict)>> {
    let found: Option<(i64, String)> = conn
        .prepare_cached(
            "SELECT v.id, v.json FROM opinion o JOIN verdict v ON v.id = o.verdict
             WHERE o.request_id = ? AND o.alert = ? ORDER BY v.id DESC LIMIT 1",
        )
        .and_then(|mut s| s.query_row(params![request_id, id.0], |r| Ok((r.get(0)?, r.get(1)?))).optional())
        .map_err(err)?;
    found.map(|(n, json)| serde_json::from_str(&json).map(|v| (n, v)).map_err(|e| bad_json("verdict", &e))).transpose()
}

/// Keeps a review and notes it on the timeline.
pub(super) fn add_review(tx: &Transaction<'_>, r: &Review) -> Result<()> {
    let Some((verdict, v)) = verdict(tx, r.alert, &r.request_id)? else {
        return Err(StoreError::NotFound(format!("verdict {} of alert {}", r.request_id, r.alert)));
    };
    tx.prepare_cached(
        "INSERT INTO review(verdict, alert, request_id, by, at, said, kind, reason) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .and_then(|mut s| {
        s.execute(params![
            verdict,
            r.alert.0,
            r.request_id,
            r.by.as_str(),
            us(r.at),
            number(r.said),
            number(r.kind),
            r.reason.expose()
        ])
    })
    .map_err(err)?;
    let mut text = if r.agrees() {
        format!("accepted {} by {}", r.said.label(), v.backend)
    } else {
        format!("overrode {} by {}: {}", r.said.label(), v.backend, r.kind.label())
    };
    if !r.reason.is_empty() {
        text = format!("{text}: {}", r.reason.expose());
    }
    tx.prepare_cached("UPDATE alert SET rev = rev + 1 WHERE id = ?")
        .and_then(|mut s| s.execute([r.alert.0]))
        .map_err(err)?;
    related::note(tx, r.alert.0, us(r.at), Some(&r.by), "review", &text)?;
    change::alerts(tx, vec![r.alert.0])
}

/// Newest first.
pub(super) fn reviews(conn: &Connection, id: AlertId, limit: usize) -> Result<Vec<Review>> {
    conn.prepare_cached(
        "SELECT request_id, by, at, said, kind, reason FROM review WHERE alert = ? ORDER BY id DESC LIMIT ?",
    )
    .and_then(|mut s| {
        s.query_map(params![id.0, limit as i64], |r| {
            let by = rows::person(r, 1)?.or_else(|| PersonId::new("unknown"));
            Ok(Review {
                alert: id,
                request_id: r.get(0)?,
                by: by.ok_or(rusqlite::Error::InvalidQuery)?,
                at: time(r.get(2)?),
                said: kind(r.get(3)?),
                kind: kind(r.get(4)?),
                reason: Untrusted::from(r.get::<_, String>(5)?),
            })
        })?
        .collect()
    })
    .map_err(err)
}

/// How a kind is stored; the same as in `alert.verdict_kind`.
pub(super) fn number(kind: VerdictKind) -> i64 {
    VerdictKind::ALL.iter().position(|k| *k == kind).unwrap_or(3) as i64
}

/// Kinds are written by us alone; one out of range is damage and concludes nothing.
pub(super) fn kind(n: i64) -> VerdictKind {
    let known = usize::try_from(n).ok().and_then(|n| VerdictKind::ALL.get(n).copied());
    known.unwrap_or(VerdictKind::NeedsInvestigation)
}

// --- answers -------------------------------------------------------------------------------------

/// Keeps the answer to a person's question, what was said to the model for it, and notes it on the timeline.
pub(super) fn add_answer(tx: &Transaction<'_>, id: AlertId, a: &Answered, exchanges: &[Exchange]) -> Result<()> {
    let known = tx
        .prepare_cached("UPDATE alert SET rev = rev + 1 WHERE id = ?")
        .and_then(|mut s| s.execute([id.0]))
        .map_err(err)?;
    if known == 0 {
        return Err(StoreError::NotFound(format!("alert {id}")));
    }
    let json = to_json("answer", a)?;
    tx.prepare_cached("INSERT INTO answer(alert, json) VALUES(?, ?)")
        .and_then(|mut s| s.execute(params![id.0, json]))
        .map_err(err)?;
    add_exchanges(tx, exchanges)?;
    related::note(tx, id.0, us(a.at), a.by.as_ref(), "ask", &format!("asked {}: {}", a.backend, a.question.expose()))?;
    change::alerts(tx, vec![id.0])
}

/// The newest `limit`, oldest of them first.
pub(super) fn answers(conn: &Connection, id: AlertId, limit: usize) -> Result<Vec<Answered>> {
    let mut texts: Vec<String> = conn
        .prepare_cached("SELECT json FROM answer WHERE alert = ? ORDER BY id DESC LIMIT ?")
        .and_then(|mut s| s.query_map(params![id.0, limit as i64], |r| r.get(0))?.collect())
        .map_err(err)?;
    texts.reverse();
    texts.iter().map(|t| serde_json::from_str(t).map_err(|e| bad_json("answer", &e))).collect()
}
