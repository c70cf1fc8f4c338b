//! What surrounds an alert: related ones, how alike ones were closed, its timeline.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter};

use super::{err, rows, time};
use crate::model::act::TimelineEvent;
use crate::model::alert::{AlertRow, Disposition};
use crate::model::ids::{AlertId, PersonId};
use crate::store::{PastDispositions, Result};
use crate::text::Untrusted;

/// What makes alerts alike, as stored.
pub(super) struct Kin {
    pub(super) grp: Vec<u8>,
    pub(super) rule: String,
    pub(super) host: Option<String>,
    pub(super) user: Option<String>,
    pub(super) src: Option<Vec<u8>>,
    pub(super) dst: Option<Vec<u8>>,
    shape: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
}

pub(super) fn kin(conn: &Connection, id: AlertId) -> Result<Option<Kin>> {
    conn.prepare_cached(
        "SELECT grp, coalesce(rule_id, rule_name, title), host, user, src, dst, shape, name FROM alert WHERE id = ?",
    )
    .and_then(|mut s| {
        s.query_row([id.0], |r| {
            Ok(Kin {
                grp: r.get(0)?,
                rule: r.get(1)?,
                host: r.get(2)?,
                user: r.get(3)?,
                src: r.get(4)?,
                dst: r.get(5)?,
                shape: r.get(6)?,
                name: r.get(7)?,
            })
        })
        .optional()
    })
    .map_err(err)
}

pub(super) fn related(conn: &Connection, id: AlertId, limit: usize) -> Result<Vec<AlertRow>> {
    let Some(k) = kin(conn, id)? else { return Ok(Vec::new()) };
    let mut found = BTreeSet::new();
    let mut add = |index: &str, cond: &str, value: Option<Value>| -> Result<()> {
        let Some(value) = value else { return Ok(()) };
        let sql = format!(
            "SELECT a.id FROM alert a INDEXED BY {index} WHERE {cond} AND a.id <> ?2 ORDER BY a.id DESC LIMIT ?3"
        );
        let mut stmt = conn.prepare_cached(&sql).map_err(err)?;
        let ids = stmt.query_map(params![value, id.0, limit as i64], |r| r.get::<_, i64>(0)).map_err(err)?;
        for id in ids {
            found.insert(id.map_err(err)?);
        }
        Ok(())
    };
    add("alert_grp", "a.grp = ?1", Some(k.grp.into()))?;
    add("alert_host", "a.host = ?1 COLLATE NOCASE", k.host.map(Value::from))?;
    add("alert_user", "a.user = ?1 COLLATE NOCASE", k.user.map(Value::from))?;
    for bits in [k.src, k.dst].into_iter().flatten() {
        add("alert_src", "a.src = ?1", Some(bits.clone().into()))?;
        add("alert_dst", "a.dst = ?1", Some(bits.into()))?;
    }
    let newest: Vec<AlertId> = found.into_iter().rev().take(limit).map(AlertId).collect();
    rows::by_id(conn, &newest)
}

/// Closings come from indexes over closed alerts alone, the newest of each; totals of rules from the tally, of entities
/// from their index up to a bound. Nothing here grows with how many alike alerts there are.
pub(super) fn past_dispositions(conn: &Connection, id: AlertId) -> Result<Vec<PastDispositions>> {
    const RULE: &str = "coalesce(a.rule_id, a.rule_name, a.title) = ?2";
    let Some(k) = kin(conn, id)? else { return Ok(Vec::new()) };
    let rule = || Value::from(k.rule.clone());
    let mut out = Vec::new();
    // The alert itself is one of those tallied.
    let tallied = |alike: Alike<'_>| tally(conn, &alike.key()).map(|n| n.saturating_sub(1));
    let mut add = |alike: &'static str, total: u64, index: &str, cond: &str, values: Vec<Value>| -> Result<()> {
        out.push(closed(conn, alike, total, index, cond, id, values)?);
        Ok(())
    };
    add("group", tallied(Alike::Group(&k.grp))?, "alert_closed_grp", "a.grp = ?2", vec![k.grp.clone().into()])?;
    if let Some(host) = &k.host {
        let cond = format!("{RULE} AND a.host = ?3 COLLATE NOCASE");
        let values = vec![rule(), host.clone().into()];
        add("rule+host", tallied(Alike::RuleHost(&k.rule, host))?, "alert_closed_rule_host", &cond, values)?;
    }
    if let Some(user) = &k.user {
        let cond = format!("{RULE} AND a.user = ?3 COLLATE NOCASE");
        let values = vec![rule(), user.clone().into()];
        add("rule+user", tallied(Alike::RuleUser(&k.rule, user))?, "alert_closed_rule_user", &cond, values)?;
    }
    // Who did it says more than whom it was done to.
    let address = k.src.as_ref().map(|a| ("src", a)).or(k.dst.as_ref().map(|a| ("dst", a)));
    if let Some((column, bits)) = address {
        let cond = format!("{RULE} AND a.{column} = ?3");
        add("rule+address", 0, &format!("alert_closed_rule_{column}"), &cond, vec![rule(), bits.clone().into()])?;
    }
    if let Some(shape) = &k.shape {
        add("shape", 0, "alert_closed_shape", "a.shape = ?2", vec![shape.clone().into()])?;
    }
    add("rule", tallied(Alike::Rule(&k.rule))?, "alert_closed_rule", RULE, vec![rule()])?;
    if let Some(name) = &k.name {
        add("name", 0, "alert_closed_name", "a.name = ?2", vec![name.clone().into()])?;
    }
    for (alike, value, index) in [("host", &k.host, "alert_closed_host"), ("user", &k.user, "alert_closed_user")] {
        if let Some(value) = value {
            let total = entity(conn, &index.replace("_closed", ""), &format!("{alike} = ? COLLATE NOCASE"), value)?;
            add(alike, total, index, &format!("a.{alike} = ?2 COLLATE NOCASE"), vec![value.clone().into()])?;
        }
    }
    if let Some((column, bits)) = address {
        let total = entity(conn, &format!("alert_{column}"), &format!("{column} = ?"), bits)?;
        let cond = format!("a.{column} = ?2");
        add("address", total, &format!("alert_closed_{column}"), &cond, vec![bits.clone().into()])?;
    }
    add("all", 0, "alert_closed_all", "1", Vec::new())?;
    Ok(out)
}

/// Other alerts of an entity, counted up to a bound.
fn entity(conn: &Connection, index: &str, cond: &str, value: &dyn rusqlite::ToSql) -> Result<u64> {
    const CAP: usize = 10_000;
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM alert INDEXED BY {index} WHERE {cond} LIMIT {CAP})");
    conn.prepare_cached(&sql)
        .and_then(|mut s| s.query_row([value], |r| r.get::<_, i64>(0)))
        .map(|n| n.unsigned_abs().saturating_sub(1))
        .map_err(err)
}

/// What alerts can have in common.
pub(super) enum Alike<'a> {
    Rule(&'a str),
    RuleHost(&'a str, &'a str),
    RuleUser(&'a str, &'a str),
    Group(&'a [u8]),
}

impl Alike<'_> {
    /// Its key in `tally`. Hosts and users are alike in any case; lengths keep parts apart.
    pub(super) fn key(&self) -> Vec<u8> {
        let (kind, first, second): (u8, &[u8], &[u8]) = match self {
            Self::Rule(r) => (b'r', r.as_bytes(), b""),
            Self::RuleHost(r, h) => (b'h', r.as_bytes(), h.as_bytes()),
            Self::RuleUser(r, u) => (b'u', r.as_bytes(), u.as_bytes()),
            Self::Group(g) => (b'g', g, b""),
        };
        let mut key = Vec::with_capacity(5 + first.len() + second.len());
        key.push(kind);
        key.extend((first.len() as u32).to_be_bytes());
        key.extend(first);
        key.extend(second.iter().map(u8::to_ascii_lowercase));
        key
    }
}

pub(super) fn tally(conn: &Connection, key: &[u8]) -> Result<u64> {
    conn.prepare_cached("SELECT n FROM tally WHERE key = ?")
        .and_then(|mut s| s.query_row([key], |r| r.get::<_, i64>(0)).optional())
        .map(|n| n.unwrap_or(0).unsigned_abs())
        .map_err(err)
}

/// `values` stand for `?2` and on; the alert itself is left out. `total` is raised to what was found closed.
fn closed(
    conn: &Connection,
    alike: &'static str,
    total: u64,
    index: &str,
    cond: &str,
    id: AlertId,
    values: Vec<Value>,
) -> Result<PastDispositions> {
    let params = std::iter::once(Value::Integer(id.0)).chain(values);
    let sql = format!(
        "SELECT a.disposition, a.t_close FROM alert a INDEXED BY {index}
         WHERE {cond} AND a.id <> ?1 AND a.disposition IS NOT NULL ORDER BY a.t_close DESC LIMIT {}",
        PastDispositions::NEWEST
    );
    let mut stmt = conn.prepare_cached(&sql).map_err(err)?;
    let rows: Vec<(i64, Option<i64>)> = stmt
        .query_map(params_from_iter(params), |r| Ok((r.get(0)?, r.get(1)?)))
        .and_then(Iterator::collect)
        .map_err(err)?;
    let closings: Vec<(Disposition, Timestamp)> =
        rows.iter().filter_map(|(d, at)| Some((Disposition::from_id(*d)?, time(at.unwrap_or(0))))).collect();
    let count = |d: Disposition| (d, closings.iter().filter(|c| c.0 == d).count() as u64);
    let mut counts: Vec<(Disposition, u64)> = Disposition::ALL.into_iter().map(count).filter(|c| c.1 > 0).collect();
    counts.sort_by_key(|c| std::cmp::Reverse(c.1));
    let last_closed = closings.first().map(|c| c.1);
    Ok(PastDispositions { alike, counts, total: total.max(closings.len() as u64), last_closed, closings })
}

/// The newest `limit` lines, oldest of them first. The line of the ingest itself is made from the alert.
pub(super) fn timeline(conn: &Connection, id: AlertId, limit: usize) -> Result<Vec<TimelineEvent>> {
    let head: Option<(i64, String)> = conn
        .prepare_cached("SELECT t_ingest, (SELECT text FROM word WHERE id = source) FROM alert WHERE id = ?")
        .and_then(|mut s| s.query_row([id.0], |r| Ok((r.get(0)?, r.get(1)?))).optional())
        .map_err(err)?;
    let Some((t_ingest, source)) = head else { return Ok(Vec::new()) };
    let mut lines: Vec<TimelineEvent> = conn
        .prepare_cached(
            "SELECT at, by, kind, text FROM timeline WHERE alert = ? AND withdrawn IS NULL ORDER BY id DESC LIMIT ?",
        )
        .and_then(|mut s| {
            s.query_map(params![id.0, limit as i64], |r| {
                Ok(TimelineEvent {
                    at: time(r.get(0)?),
                    alert: id,
                    by: r.get::<_, Option<String>>(1)?.and_then(PersonId::new),
                    kind: r.get(2)?,
                    text: r.get::<_, String>(3)?.into(),
                })
            })?
            .collect()
        })
        .map_err(err)?;
    if lines.len() < limit {
        let text = Untrusted::new(format!("from {source}"));
        lines.push(TimelineEvent { at: time(t_ingest), alert: id, by: None, kind: "ingest".into(), text });
    }
    lines.reverse();
    Ok(lines)
}

/// Adds a line.
pub(super) fn note(conn: &Connection, id: i64, at: i64, by: Option<&PersonId>, kind: &str, text: &str) -> Result<i64> {
    conn.prepare_cached("INSERT INTO timeline(alert, at, by, kind, text) VALUES(?, ?, ?, ?, ?)")
        .and_then(|mut s| s.execute(params![id, at, by.map(PersonId::as_str), kind, text]))
        .map_err(err)?;
    Ok(conn.last_insert_rowid())
}
