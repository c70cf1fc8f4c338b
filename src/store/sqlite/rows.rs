//! Stored rows as the model's types.

use std::net::{IpAddr, Ipv6Addr};

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{err, time};
use crate::model::alert::{Alert, AlertFields, AlertRow, Closing, Disposition, Observable, Origin, Status};
use crate::model::ids::{AlertId, CaseId, PersonId};
use crate::model::priority::Priority;
use crate::model::severity::Severity;
use crate::model::verdict::VerdictSummary;
use crate::store::Result;
use crate::text::Untrusted;
use jiff::Timestamp;

type Sql<T> = rusqlite::Result<T>;

/// Columns of [`row`], of the table `a`.
pub(super) const ROW: &str = "a.id, a.title, a.rule_id, a.rule_name, a.severity, a.priority, a.detector_priority,
 a.host, a.user, a.src, a.dst, (SELECT text FROM word WHERE id = a.format), a.techniques, a.count, a.status, a.owner,
 a.snoozed_until, a.disposition, a.case_id, a.verdict, a.confidence, a.asset_weight, a.t_event, a.t_ingest, a.t_claim,
 a.rev";

pub(super) fn row(r: &Row<'_>) -> Sql<AlertRow> {
    Ok(AlertRow {
        id: AlertId(r.get(0)?),
        title: text(r, 1)?.unwrap_or_default(),
        rule_id: text(r, 2)?,
        rule_name: text(r, 3)?,
        severity: Severity::from_id(r.get(4)?),
        priority: priority(r, 5)?,
        detector_priority: priority(r, 6)?,
        host: text(r, 7)?,
        user: text(r, 8)?,
        src_ip: ip(r, 9)?,
        dst_ip: ip(r, 10)?,
        format: r.get::<_, Option<String>>(11)?.unwrap_or_default(),
        techniques: techniques(r, 12)?,
        count: r.get(13)?,
        status: status(r, 14)?,
        owner: person(r, 15)?,
        snoozed_until: at(r, 16)?,
        disposition: disposition(r, 17)?,
        case: r.get::<_, Option<i64>>(18)?.map(CaseId),
        verdict: verdict(r, 19)?,
        confidence: r.get(20)?,
        asset_weight: r.get(21)?,
        t_event: at(r, 22)?,
        t_ingest: time(r.get(23)?),
        t_claim: at(r, 24)?,
        rev: r.get::<_, i64>(25)?.unsigned_abs(),
    })
}

const ALERT: &str = "SELECT a.id, a.title, a.rule_id, a.rule_name, a.severity, r.source_severity, a.confidence,
 a.techniques, a.host, a.user, a.process, r.command_line, a.src, a.sport, a.dst, a.dport, r.observables, a.t_event,
 a.t_alert, (SELECT text FROM word WHERE id = a.product), r.source_id, (SELECT text FROM word WHERE id = a.format),
 (SELECT text FROM word WHERE id = a.source), r.sha256, length(r.raw), a.identity, a.grp, a.count, a.last_seen,
 a.status, a.priority, a.detector_priority, a.owner, a.snoozed_until, a.disposition, a.close_reason, a.close_comment,
 a.close_by, a.t_close, a.case_id, a.verdict, a.asset_weight, a.t_ingest, a.t_claim, a.t_verdict, a.t_contain,
 a.t_recover, a.rev, o.source, o.idx, o.doc_id, o.seq_no, o.primary_term
 FROM alert a JOIN record r ON r.id = a.id LEFT JOIN origin o ON o.alert = a.id WHERE a.id = ?";

pub(super) fn alert(conn: &Connection, id: AlertId) -> Result<Option<Alert>> {
    conn.prepare_cached(ALERT).and_then(|mut s| s.query_row([id.0], whole).optional()).map_err(err)
}

fn whole(r: &Row<'_>) -> Sql<Alert> {
    let t_close = at(r, 38)?;
    Ok(Alert {
        id: AlertId(r.get(0)?),
        fields: fields(r)?,
        format: r.get::<_, Option<String>>(21)?.unwrap_or_default(),
        source: text(r, 22)?.unwrap_or_default(),
        raw_sha256: hex::encode(r.get::<_, Vec<u8>>(23)?),
        raw_len: r.get::<_, i64>(24)?.unsigned_abs(),
        identity: hex::encode(r.get::<_, Vec<u8>>(25)?),
        group: hex::encode(r.get::<_, Vec<u8>>(26)?),
        count: r.get(27)?,
        last_seen: time(r.get(28)?),
        status: status(r, 29)?,
        priority: priority(r, 30)?,
        detector_priority: priority(r, 31)?,
        owner: person(r, 32)?,
        snoozed_until: at(r, 33)?,
        closing: closing(r, t_close)?,
        case: r.get::<_, Option<i64>>(39)?.map(CaseId),
        verdict: verdict(r, 40)?,
        asset_weight: r.get(41)?,
        t_ingest: time(r.get(42)?),
        t_claim: at(r, 43)?,
        t_verdict: at(r, 44)?,
        t_contain: at(r, 45)?,
        t_recover: at(r, 46)?,
        t_close,
        origin: origin(r, 48)?,
        rev: r.get::<_, i64>(47)?.unsigned_abs(),
    })
}

fn fields(r: &Row<'_>) -> Sql<AlertFields> {
    Ok(AlertFields {
        title: text(r, 1)?.unwrap_or_default(),
        rule_id: text(r, 2)?,
        rule_name: text(r, 3)?,
        severity: Severity::from_id(r.get(4)?),
        source_severity: text(r, 5)?,
        confidence: r.get(6)?,
        techniques: techniques(r, 7)?,
        host: text(r, 8)?,
        user: text(r, 9)?,
        process: text(r, 10)?,
        command_line: text(r, 11)?,
        src_ip: ip(r, 12)?,
        src_port: r.get(13)?,
        dst_ip: ip(r, 14)?,
        dst_port: r.get(15)?,
        observables: observables(r, 16)?,
        t_event: at(r, 17)?,
        t_alert: at(r, 18)?,
        product: text(r, 19)?,
        source_id: text(r, 20)?,
    })
}

fn closing(r: &Row<'_>, t_close: Option<Timestamp>) -> Sql<Option<Closing>> {
    let (Some(disposition), Some(by), Some(at)) = (disposition(r, 34)?, person(r, 37)?, t_close) else {
        return Ok(None);
    };
    let reason = text(r, 35)?.unwrap_or_default();
    Ok(Some(Closing { disposition, reason, comment: text(r, 36)?, by, at }))
}

/// Five columns from `i` on.
pub(super) fn origin(r: &Row<'_>, i: usize) -> Sql<Option<Origin>> {
    let Some(source) = r.get(i)? else { return Ok(None) };
    let (index, doc_id) = (r.get(i + 1)?, r.get(i + 2)?);
    Ok(Some(Origin { source, index, doc_id, seq_no: r.get(i + 3)?, primary_term: r.get(i + 4)? }))
}

pub(super) fn text(r: &Row<'_>, i: usize) -> Sql<Option<Untrusted>> {
    Ok(r.get::<_, Option<String>>(i)?.map(Untrusted::from))
}

pub(super) fn at(r: &Row<'_>, i: usize) -> Sql<Option<Timestamp>> {
    Ok(r.get::<_, Option<i64>>(i)?.map(time))
}

pub(super) fn person(r: &Row<'_>, i: usize) -> Sql<Option<PersonId>> {
    Ok(r.get::<_, Option<String>>(i)?.and_then(PersonId::new))
}

pub(super) fn disposition(r: &Row<'_>, i: usize) -> Sql<Option<Disposition>> {
    Ok(r.get::<_, Option<i64>>(i)?.and_then(Disposition::from_id))
}

fn bad(i: usize, what: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(i, rusqlite::types::Type::Integer, what.to_owned().into())
}

pub(super) fn status(r: &Row<'_>, i: usize) -> Sql<Status> {
    Status::from_id(r.get(i)?).ok_or_else(|| bad(i, "no such status"))
}

pub(super) fn priority(r: &Row<'_>, i: usize) -> Sql<Priority> {
    Priority::from_id(r.get(i)?).ok_or_else(|| bad(i, "no such priority"))
}

fn techniques(r: &Row<'_>, i: usize) -> Sql<Vec<String>> {
    let joined: Option<String> = r.get(i)?;
    Ok(joined.map(|t| t.split(',').map(str::to_owned).collect()).unwrap_or_default())
}

/// The inverse of [`crate::model::query::ip_bits`].
fn ip(r: &Row<'_>, i: usize) -> Sql<Option<IpAddr>> {
    let bits: Option<[u8; 16]> = r.get(i)?;
    Ok(bits.map(|b| {
        let v6 = Ipv6Addr::from(b);
        v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
    }))
}

fn observables(r: &Row<'_>, i: usize) -> Sql<Vec<Observable>> {
    json(r, i).map(Option::unwrap_or_default)
}

fn verdict(r: &Row<'_>, i: usize) -> Sql<Option<VerdictSummary>> {
    json(r, i)
}

fn json<T: serde::de::DeserializeOwned>(r: &Row<'_>, i: usize) -> Sql<Option<T>> {
    let text: Option<String> = r.get(i)?;
    text.map(|t| serde_json::from_str(&t))
        .transpose()
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(i, rusqlite::types::Type::Text, Box::new(e)))
}

pub(super) fn raw(conn: &Connection, id: AlertId) -> Result<Option<Vec<u8>>> {
    conn.prepare_cached("SELECT raw FROM record WHERE id = ?")
        .and_then(|mut s| s.query_row([id.0], |r| r.get(0)).optional())
        .map_err(err)
}

pub(super) fn repeats(conn: &Connection, id: AlertId, limit: usize) -> Result<Vec<(Timestamp, Vec<u8>)>> {
    conn.prepare_cached("SELECT at, raw FROM repeat WHERE alert = ? ORDER BY at DESC, id DESC LIMIT ?")
        .and_then(|mut s| s.query_map(params![id.0, limit as i64], |r| Ok((time(r.get(0)?), r.get(1)?)))?.collect())
        .map_err(err)
}

/// In the order asked for; ids that are not there are left out.
pub(super) fn by_id(conn: &Connection, ids: &[AlertId]) -> Result<Vec<AlertRow>> {
    let sql = format!("SELECT {ROW} FROM alert a WHERE a.id = ?");
    let mut stmt = conn.prepare_cached(&sql).map_err(err)?;
    let mut out = Vec::with_capacity(ids.len());
    for id in ids {
        out.extend(stmt.query_row([id.0], row).optional().map_err(err)?);
    }
    Ok(out)
}
