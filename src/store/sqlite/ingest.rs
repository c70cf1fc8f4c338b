//! Alerts in.

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, Transaction, params};
use sha2::{Digest as _, Sha256};

use super::related::Alike;
use super::{change, err, side, to_json, us};
use crate::model::alert::{NewAlert, NewDeadLetter, Origin, Status};
use crate::model::ids::AlertId;
use crate::model::priority::Priority;
use crate::model::query::ip_bits;
use crate::model::risk;
use crate::model::severity::Severity;
use crate::model::shape;
use crate::store::{Ingested, Result};
use crate::text::Untrusted;

/// Ids of the words of this store, as far as this process has met them.
#[derive(Default)]
pub(super) struct Words(HashMap<String, i64>);

impl Words {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn id(&mut self, conn: &Connection, text: &str) -> Result<i64> {
        if let Some(id) = self.0.get(text) {
            return Ok(*id);
        }
        conn.prepare_cached("INSERT OR IGNORE INTO word(text) VALUES(?)")
            .and_then(|mut s| s.execute([text]))
            .map_err(err)?;
        let id = conn
            .prepare_cached("SELECT id FROM word WHERE text = ?")
            .and_then(|mut s| s.query_row([text], |r| r.get(0)))
            .map_err(err)?;
        // A source that makes up a new name for every record must not eat the memory.
        if self.0.len() > 10_000 {
            self.0.clear();
        }
        self.0.insert(text.to_owned(), id);
        Ok(id)
    }
}

/// Where a severity stands when sorted: unknown with the middle ones, as its priority does.
pub(super) fn severity_order(s: Severity) -> i64 {
    if s == Severity::Unknown { 2 * Severity::Medium.id() - 1 } else { 2 * s.id() }
}

const INSERT_ALERT: &str = "INSERT INTO alert(
  status, priority, severity, sev_order, rank, t_ingest, sport, dport, src, dst, format, source, product, techniques,
  host, user, process, rule_id, rule_name, title, detector_priority, confidence, asset_weight, identity, grp,
  last_seen, t_event, t_alert, suppressed_by, shape, name)
 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?2, ?21, ?22, ?23,
  ?24, ?6, ?25, ?26, ?27, ?28, ?29)
 ON CONFLICT(identity) DO NOTHING";
const INSERT_RECORD: &str = "INSERT INTO record(id, sha256, command_line, source_severity, source_id, observables, raw)
 VALUES(?, ?, ?, ?, ?, ?, ?)";

pub(super) fn ingest(
    tx: &Transaction<'_>,
    words: &mut Words,
    batch: &[NewAlert],
    dead: &[NewDeadLetter],
    checkpoint: Option<(&str, &str)>,
    now: Timestamp,
) -> Result<Vec<Ingested>> {
    let mut out = Vec::with_capacity(batch.len());
    let mut changed = Vec::new();
    let mut hides = Hides::default();
    let mut tally = Tally::default();
    let mut insert_alert = tx.prepare_cached(INSERT_ALERT).map_err(err)?;
    let mut insert_record = tx.prepare_cached(INSERT_RECORD).map_err(err)?;
    for new in batch {
        let hidden_by = hides.alive(tx, new, now)?;
        if let Some(id) = insert(tx, words, &mut insert_alert, new, hidden_by, now)? {
            insert_rest(tx, &mut insert_record, id, new)?;
            tally.add(new);
            if let Some(s) = hidden_by {
                hides.hid(s);
            }
            changed.push(id);
            out.push(Ingested::New(AlertId(id)));
        } else {
            let (id, counted) = repeat(tx, new, now)?;
            if counted {
                changed.push(id);
            }
            out.push(Ingested::Repeat(AlertId(id)));
        }
    }
    change::alerts(tx, changed)?;
    hides.store(tx)?;
    tally.store(tx)?;
    for letter in dead {
        add_dead(tx, letter, now)?;
    }
    if !dead.is_empty() || hides.any() {
        change::others(tx)?;
    }
    if let Some((name, value)) = checkpoint {
        side::set_checkpoint(tx, name, value)?;
    }
    Ok(out)
}

fn text(t: &Option<Untrusted>) -> Option<&str> {
    t.as_ref().map(Untrusted::expose)
}

/// The new row's id, or `None` when the identity is known already.
fn insert(
    tx: &Transaction<'_>,
    words: &mut Words,
    stmt: &mut CachedStatement<'_>,
    new: &NewAlert,
    hidden_by: Option<i64>,
    now: Timestamp,
) -> Result<Option<i64>> {
    let f = &new.fields;
    let priority = Priority::from_severity(f.severity);
    let status = if hidden_by.is_some() { Status::Suppressed } else { Status::New };
    let bits = |ip: Option<IpAddr>| ip.map(ip_bits);
    let techniques = (!f.techniques.is_empty()).then(|| f.techniques.join(","));
    let product = f.product.as_ref().map(|p| words.id(tx, p.expose())).transpose()?;
    let n = stmt
        .execute(params![
            status.id(),
            priority.id(),
            f.severity.id(),
            severity_order(f.severity),
            risk::rank(priority, new.asset_weight, f.confidence, now),
            us(now),
            f.src_port,
            f.dst_port,
            bits(f.src_ip),
            bits(f.dst_ip),
            words.id(tx, &new.format)?,
            words.id(tx, new.source.expose())?,
            product,
            techniques,
            text(&f.host),
            text(&f.user),
            text(&f.process),
            text(&f.rule_id),
            text(&f.rule_name),
            f.title.expose(),
            f.confidence,
            new.asset_weight,
            new.identity,
            new.group,
            f.t_event.map(us),
            f.t_alert.map(us),
            hidden_by,
            shape::shape_key(&new.format, f),
            shape::name_key(f),
        ])
        .map_err(err)?;
    Ok((n == 1).then(|| tx.last_insert_rowid()))
}

fn insert_rest(tx: &Transaction<'_>, stmt: &mut CachedStatement<'_>, id: i64, new: &NewAlert) -> Result<()> {
    let f = &new.fields;
    let observables = if f.observables.is_empty() { None } else { Some(to_json("observables", &f.observables)?) };
    stmt.execute(params![
        id,
        new.raw_sha256,
        text(&f.command_line),
        text(&f.source_severity),
        text(&f.source_id),
        observables,
        new.raw,
    ])
    .map_err(err)?;
    if let Some(origin) = &new.origin {
        put_origin(tx, id, origin)?;
    }
    Ok(())
}

fn put_origin(tx: &Transaction<'_>, id: i64, o: &Origin) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO origin(alert, source, idx, doc_id, seq_no, primary_term) VALUES(?, ?, ?, ?, ?, ?)
         ON CONFLICT(alert) DO UPDATE SET source = excluded.source, idx = excluded.idx, doc_id = excluded.doc_id,
           seq_no = excluded.seq_no, primary_term = excluded.primary_term",
    )
    .and_then(|mut s| s.execute(params![id, o.source, o.index, o.doc_id, o.seq_no, o.primary_term]))
    .map_err(err)?;
    Ok(())
}

/// The same alert again. Whether it counts: the very document we have already, read a second time by a tail that
/// looks back over its checkpoint, does not.
fn repeat(tx: &Transaction<'_>, new: &NewAlert, now: Timestamp) -> Result<(i64, bool)> {
    type Known = (i64, i64, Option<i64>, Vec<u8>, Option<(String, String, String, i64)>);
    let (id, status, t_close, sha, origin): Known = tx
        .prepare_cached(
            "SELECT a.id, a.status, a.t_close, r.sha256, o.source, o.idx, o.doc_id, o.seq_no
             FROM alert a JOIN record r ON r.id = a.id LEFT JOIN origin o ON o.alert = a.id WHERE a.identity = ?",
        )
        .and_then(|mut s| {
            s.query_row([new.identity], |r| {
                let source: Option<String> = r.get(4)?;
                let origin = match source {
                    Some(source) => Some((source, r.get(5)?, r.get(6)?, r.get(7)?)),
                    None => None,
                };
                Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, origin))
            })
        })
        .map_err(err)?;
    let mut same_document = false;
    if let Some(o) = &new.origin {
        if let Some((source, index, doc, seq)) = &origin {
            same_document = *source == o.source && *index == o.index && *doc == o.doc_id;
            if same_document && o.seq_no <= *seq {
                return Ok((id, false));
            }
        }
        put_origin(tx, id, o)?;
    }
    if sha != new.raw_sha256 {
        tx.prepare_cached("INSERT OR IGNORE INTO repeat(alert, at, sha256, raw) VALUES(?, ?, ?, ?)")
            .and_then(|mut s| s.execute(params![id, us(now), new.raw_sha256, new.raw]))
            .map_err(err)?;
    }
    tx.prepare_cached(
        "UPDATE alert SET count = min(count + ?, 4294967295), last_seen = max(last_seen, ?), rev = rev + 1 WHERE id = ?",
    )
    .and_then(|mut s| s.execute(params![i64::from(!same_document), us(now), id]))
    .map_err(err)?;
    if status == Status::Closed.id() && !same_document {
        // One line per closing: a storm of repeats must not flood the timeline.
        tx.prepare_cached(
            "INSERT INTO timeline(alert, at, kind, text) SELECT ?1, ?2, 'repeat', 'repeat after close'
             WHERE NOT EXISTS(SELECT 1 FROM timeline WHERE alert = ?1 AND kind = 'repeat' AND at >= ?3)",
        )
        .and_then(|mut s| s.execute(params![id, us(now), t_close.unwrap_or(0)]))
        .map_err(err)?;
    }
    Ok((id, true))
}

/// How many alike alerts a batch brought, by [`Alike::key`]. Gathered, for a batch has few kinds of alerts.
#[derive(Default)]
struct Tally(HashMap<Vec<u8>, i64>);

impl Tally {
    fn add(&mut self, new: &NewAlert) {
        let f = &new.fields;
        let rule = f.rule_id.as_ref().or(f.rule_name.as_ref()).unwrap_or(&f.title).expose();
        let host = f.host.as_ref().map(|h| Alike::RuleHost(rule, h.expose()));
        let user = f.user.as_ref().map(|u| Alike::RuleUser(rule, u.expose()));
        let all = [Some(Alike::Rule(rule)), host, user, Some(Alike::Group(&new.group))];
        for alike in all.into_iter().flatten() {
            *self.0.entry(alike.key()).or_default() += 1;
        }
    }

    fn store(self, tx: &Transaction<'_>) -> Result<()> {
        let mut stmt = tx
            .prepare_cached("INSERT INTO tally(key, n) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET n = n + excluded.n")
            .map_err(err)?;
        for (key, n) in self.0 {
            stmt.execute(params![key, n]).map_err(err)?;
        }
        Ok(())
    }
}

/// Which suppressions still live, and how much each hides of this batch.
#[derive(Default)]
struct Hides {
    alive: HashMap<i64, bool>,
    hidden: HashMap<i64, i64>,
}

impl Hides {
    /// The suppression that hides this alert, unless it has ended since intake looked.
    fn alive(&mut self, tx: &Transaction<'_>, new: &NewAlert, now: Timestamp) -> Result<Option<i64>> {
        let Some(id) = new.suppressed_by.map(|s| s.0) else { return Ok(None) };
        let alive = match self.alive.get(&id) {
            Some(alive) => *alive,
            None => {
                let alive = side::suppression_alive(tx, id, now)?;
                self.alive.insert(id, alive);
                alive
            }
        };
        Ok(alive.then_some(id))
    }

    fn hid(&mut self, id: i64) {
        *self.hidden.entry(id).or_default() += 1;
    }

    fn any(&self) -> bool {
        !self.hidden.is_empty()
    }

    fn store(&self, tx: &Transaction<'_>) -> Result<()> {
        for (id, n) in &self.hidden {
            tx.execute("UPDATE suppression SET hidden = hidden + ? WHERE id = ?", [n, id]).map_err(err)?;
        }
        Ok(())
    }
}

fn add_dead(tx: &Transaction<'_>, d: &NewDeadLetter, now: Timestamp) -> Result<()> {
    let sha: [u8; 32] = Sha256::digest(&d.raw).into();
    tx.prepare_cached(
        "INSERT INTO dead_letter(at, source, format, offset, line, reason, sha256, raw) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .and_then(|mut s| {
        s.execute(params![
            us(now),
            d.source.expose(),
            d.format,
            d.offset as i64,
            d.line.map(|l| l as i64),
            d.reason.expose(),
            sha,
            d.raw
        ])
    })
    .map_err(err)?;
    Ok(())
}
