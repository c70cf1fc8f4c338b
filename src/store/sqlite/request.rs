//! Requests to act, their single use, and the kill switch.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{bad_json, change, err, time, to_json, us};
use crate::model::action::{Receipt, ReceiptState, Request, RequestState};
use crate::model::ids::{PersonId, RequestId};
use crate::store::{Result, StoreError};

const KILL: &str = "kill";

fn parse(json: &str) -> Result<Request> {
    serde_json::from_str(json).map_err(|e| bad_json("request", &e))
}

fn gone(id: &RequestId) -> StoreError {
    StoreError::NotFound(format!("request {id}"))
}

pub(super) fn add(tx: &Transaction<'_>, r: &Request) -> Result<()> {
    let n = tx
        .execute(
            "INSERT OR IGNORE INTO request(id, rev, state, created, json) VALUES(?, ?, ?, ?, ?)",
            params![r.body.id.as_str(), r.rev as i64, r.state.id(), us(r.body.created), to_json("request", r)?],
        )
        .map_err(err)?;
    if n == 0 {
        return Err(StoreError::Conflict(format!("request {}", r.body.id)));
    }
    change::others(tx)
}

pub(super) fn get(conn: &Connection, id: &RequestId) -> Result<Option<Request>> {
    conn.prepare_cached("SELECT json FROM request WHERE id = ?")
        .and_then(|mut s| s.query_row([id.as_str()], |r| r.get::<_, String>(0)).optional())
        .map_err(err)?
        .map(|json| parse(&json))
        .transpose()
}

/// An empty list of states means every state.
pub(super) fn list(conn: &Connection, states: &[RequestState], limit: usize) -> Result<Vec<Request>> {
    let cond = if states.is_empty() {
        "1".to_owned()
    } else {
        let ids: Vec<String> = states.iter().map(|s| s.id().to_string()).collect();
        format!("state IN ({})", ids.join(","))
    };
    let sql = format!("SELECT json FROM request WHERE {cond} ORDER BY created DESC, id DESC LIMIT ?");
    let texts: Vec<String> = conn
        .prepare_cached(&sql)
        .and_then(|mut s| s.query_map([limit as i64], |r| r.get(0))?.collect())
        .map_err(err)?;
    texts.iter().map(|t| parse(t)).collect()
}

pub(super) fn update(tx: &Transaction<'_>, r: &Request) -> Result<Request> {
    let mut next = r.clone();
    next.rev += 1;
    let n = tx
        .execute(
            "UPDATE request SET rev = ?, state = ?, json = ? WHERE id = ? AND rev = ?",
            params![next.rev as i64, next.state.id(), to_json("request", &next)?, r.body.id.as_str(), r.rev as i64],
        )
        .map_err(err)?;
    if n == 0 {
        let known = get(tx, &r.body.id)?.is_some();
        return Err(if known { StoreError::Conflict(format!("request {}", r.body.id)) } else { gone(&r.body.id) });
    }
    change::others(tx)?;
    Ok(next)
}

pub(super) fn begin_execution(
    tx: &Transaction<'_>,
    id: &RequestId,
    digest: &str,
    executor: &PersonId,
    now: Timestamp,
) -> Result<Request> {
    let mut r = get(tx, id)?.ok_or_else(|| gone(id))?;
    let kill = kill_switch(tx)?;
    r.may_begin(digest, kill.as_ref().map(|(by, at)| (by, *at)), now)
        .map_err(|what| StoreError::Conflict(format!("request {id}: {what}")))?;
    r.state = RequestState::Executing;
    r.executor = Some(executor.clone());
    r.started = Some(now);
    for target in &r.body.targets {
        tx.prepare_cached("INSERT INTO execution(request, action, target, at) VALUES(?, ?, ?, ?)")
            .and_then(|mut s| s.execute(params![id.as_str(), r.body.action, target, us(now)]))
            .map_err(err)?;
    }
    update(tx, &r)
}

/// Puts one target's receipt in the place of the one before. A receipt that is final stays.
pub(super) fn put_receipt(tx: &Transaction<'_>, id: &RequestId, receipt: &Receipt) -> Result<()> {
    let mut r = get(tx, id)?.ok_or_else(|| gone(id))?;
    match r.receipts.iter_mut().find(|have| have.target == receipt.target) {
        Some(have) if have == receipt => return Ok(()),
        Some(have) => {
            let settled = !matches!(have.state, ReceiptState::Pending | ReceiptState::Unknown);
            if settled && receipt.state == ReceiptState::Pending {
                return Err(StoreError::Conflict(format!("receipt of request {id}")));
            }
            *have = receipt.clone();
        }
        None => r.receipts.push(receipt.clone()),
    }
    update(tx, &r).map(|_| ())
}

/// Counts targets: a request over three hosts is three starts.
pub(super) fn execution_count(
    conn: &Connection,
    action: Option<&str>,
    target: Option<&str>,
    since: Timestamp,
) -> Result<u64> {
    let sql = match action {
        Some(_) => "SELECT count(*) FROM execution WHERE action = ?1 AND at >= ?2 AND (?3 IS NULL OR target = ?3)",
        None => "SELECT count(*) FROM execution WHERE ?1 IS NULL AND at >= ?2 AND (?3 IS NULL OR target = ?3)",
    };
    conn.prepare_cached(sql)
        .and_then(|mut s| s.query_row(params![action, us(since), target], |r| r.get::<_, i64>(0)))
        .map(i64::unsigned_abs)
        .map_err(err)
}

pub(super) fn kill_switch(conn: &Connection) -> Result<Option<(PersonId, Timestamp)>> {
    let row: Option<(String, i64)> = conn
        .prepare_cached("SELECT by, at FROM switch WHERE name = ?")
        .and_then(|mut s| s.query_row([KILL], |r| Ok((r.get(0)?, r.get(1)?))).optional())
        .map_err(err)?;
    row.map(|(by, at)| match PersonId::new(by) {
        Some(by) => Ok((by, time(at))),
        // A switch somebody set must hold even when we cannot read who.
        None => Err(StoreError::Unreadable("the kill switch is on, by nobody known".into())),
    })
    .transpose()
}

pub(super) fn set_kill_switch(tx: &Transaction<'_>, on: Option<(&PersonId, Timestamp)>) -> Result<()> {
    match on {
        Some((by, at)) => tx.execute(
            "INSERT INTO switch(name, by, at) VALUES(?, ?, ?)
             ON CONFLICT(name) DO UPDATE SET by = excluded.by, at = excluded.at",
            params![KILL, by.as_str(), us(at)],
        ),
        None => tx.execute("DELETE FROM switch WHERE name = ?", [KILL]),
    }
    .map_err(err)?;
    change::others(tx)
}
