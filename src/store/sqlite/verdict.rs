//! Verdicts and desk events. What stands here can raise a priority and nothing else.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::plan::verdict_number;
use super::{bad_json, change, err, related, rows, time, to_json, us};
use crate::model::act::TimelineEvent;
use crate::model::alert::Disposition;
use crate::model::ids::AlertId;
use crate::model::risk;
use crate::model::verdict::Verdict;
use crate::store::{Result, StoreError};

pub(super) fn record(tx: &Transaction<'_>, id: AlertId, v: &Verdict) -> Result<()> {
    let found = tx
        .prepare_cached("SELECT priority, confidence, asset_weight, t_ingest FROM alert WHERE id = ?")
        .and_then(|mut s| {
            s.query_row([id.0], |r| {
                Ok((rows::priority(r, 0)?, r.get::<_, Option<u8>>(1)?, r.get::<_, u16>(2)?, r.get::<_, i64>(3)?))
            })
            .optional()
        })
        .map_err(err)?;
    let Some((before, confidence, asset, t_ingest)) = found else {
        return Err(StoreError::NotFound(format!("alert {id}")));
    };
    let after = before.raised_to(v.advised_priority);
    let (json, summary) = (to_json("verdict", v)?, to_json("verdict", &v.summary())?);
    tx.prepare_cached("INSERT INTO verdict(alert, json) VALUES(?, ?)")
        .and_then(|mut s| s.execute(params![id.0, json]))
        .map_err(err)?;
    numbers(tx, tx.last_insert_rowid(), id, v, after != before)?;
    tx.prepare_cached(
        "UPDATE alert SET verdict = ?, verdict_kind = ?, t_verdict = coalesce(t_verdict, ?), rev = rev + 1 WHERE id = ?",
    )
    .and_then(|mut s| s.execute(params![summary, verdict_number(v.kind.word()), us(v.at), id.0]))
    .map_err(err)?;
    related::note(tx, id.0, us(v.at), None, "verdict", &format!("{} by {}", v.kind.label(), v.backend))?;
    if after != before {
        let rank = risk::rank(after, asset, confidence, time(t_ingest));
        tx.prepare_cached("UPDATE alert SET priority = ?, rank = ? WHERE id = ?")
            .and_then(|mut s| s.execute(params![after.id(), rank, id.0]))
            .map_err(err)?;
        let text = format!("{} to {}", before.word(), after.word());
        related::note(tx, id.0, us(v.at), None, "raise", &text)?;
    }
    change::alerts(tx, vec![id.0])
}

/// What statistics look at.
fn numbers(tx: &Transaction<'_>, verdict: i64, id: AlertId, v: &Verdict, raised: bool) -> Result<()> {
    let int = |n: Option<u64>| n.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    tx.prepare_cached(
        "INSERT INTO opinion(verdict, alert, at, kind, fallback, backend, model, rule, request_id, raised,
           text_dependent, claims, founded, took_ms, first_token_ms, served_ms, prompt_tokens, cached_tokens,
           completion_tokens)
         SELECT ?1, id, ?3, ?4, ?5, ?6, ?7, coalesce(rule_id, rule_name, title), ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,
           ?16, ?17, ?18 FROM alert WHERE id = ?2",
    )
    .and_then(|mut s| {
        s.execute(params![
            verdict,
            id.0,
            us(v.at),
            verdict_number(v.kind.word()),
            v.fallback,
            v.backend,
            v.model.expose(),
            v.request_id,
            raised,
            v.text_dependent == Some(true),
            v.claims.len() as i64,
            v.founded() as i64,
            int(Some(v.took_ms)),
            int(v.usage.first_token_ms),
            int(v.usage.served_ms),
            int(v.usage.prompt_tokens),
            int(v.usage.cached_tokens),
            int(v.usage.completion_tokens),
        ])
    })
    .map_err(err)?;
    Ok(())
}

pub(super) fn list(conn: &Connection, id: AlertId, limit: usize) -> Result<Vec<Verdict>> {
    let texts: Vec<String> = conn
        .prepare_cached("SELECT json FROM verdict WHERE alert = ? ORDER BY id DESC LIMIT ?")
        .and_then(|mut s| s.query_map(params![id.0, limit as i64], |r| r.get(0))?.collect())
        .map_err(err)?;
    texts.iter().map(|t| serde_json::from_str(t).map_err(|e| bad_json("verdict", &e))).collect()
}

pub(super) fn note_event(tx: &Transaction<'_>, e: &TimelineEvent) -> Result<()> {
    let n = tx
        .prepare_cached("UPDATE alert SET rev = rev + 1 WHERE id = ?")
        .and_then(|mut s| s.execute([e.alert.0]))
        .map_err(err)?;
    if n == 0 {
        return Err(StoreError::NotFound(format!("alert {}", e.alert)));
    }
    related::note(tx, e.alert.0, us(e.at), e.by.as_ref(), &e.kind, e.text.expose())?;
    change::alerts(tx, vec![e.alert.0])
}

pub(super) fn mark_contained(tx: &Transaction<'_>, ids: &[AlertId], at: Timestamp) -> Result<()> {
    let mut changed = Vec::new();
    for id in ids {
        let n = tx
            .prepare_cached(
                "UPDATE alert SET t_contain = ?, rev = rev + 1
                 WHERE id = ? AND t_contain IS NULL AND (status < 3 OR disposition = ?)",
            )
            .and_then(|mut s| s.execute(params![us(at), id.0, Disposition::TruePositive.id()]))
            .map_err(err)?;
        if n > 0 {
            changed.push(id.0);
        }
    }
    change::alerts(tx, changed)
}
