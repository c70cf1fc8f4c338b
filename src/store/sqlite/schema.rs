//! The tables, their versions, and how a connection is set up.
//!
//! Times are microseconds since the epoch, addresses 16 bytes (IPv4 mapped into IPv6), hashes raw bytes. `rank` is
//! [`crate::model::risk::rank`]. An alert's immutable bulk (raw bytes, observables) stands in `record`, so that the
//! queue's own rows stay small.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::err;
use crate::store::{Result, StoreError};

/// `PRAGMA application_id`: "WFlr".
const APPLICATION_ID: i64 = 0x5746_6c72;

/// One entry per version; each brings the schema from the version before to its own.
pub(super) const MIGRATIONS: &[&str] = &[V1, LEARNING, TRIAGE, OPERATE];

/// Bytes of a page. Small, for each batch of alerts touches as many pages of the key indexes as it has alerts, and
/// each of those goes through the log.
const PAGE_SIZE: u32 = 4096;
/// How long a writer waits for another process.
const BUSY: Duration = Duration::from_secs(10);

/// Opens the file read-write, creating it when `create` says so, and sets the connection up.
pub(super) fn connect(path: &Path, create: bool, cache_kib: u32) -> Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if create {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let conn = Connection::open_with_flags(path, flags).map_err(err)?;
    conn.busy_timeout(BUSY).map_err(err)?;
    conn.set_prepared_statement_cache_capacity(128);
    if create {
        conn.pragma_update(None, "page_size", PAGE_SIZE).map_err(err)?;
        // Turning WAL on needs the file for itself for a moment; the busy handler is not asked for it.
        retry_busy(|| conn.query_row("PRAGMA journal_mode=WAL", [], |_| Ok(())))?;
    }
    conn.execute_batch(&format!(
        "PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-{cache_kib};
         PRAGMA mmap_size=2147418112; PRAGMA wal_autocheckpoint=16384; PRAGMA journal_size_limit=67108864;
         PRAGMA foreign_keys=OFF; PRAGMA trusted_schema=OFF;"
    ))
    .map_err(err)?;
    Ok(conn)
}

/// Runs it again while another process is in the way, as long as a writer would wait.
fn retry_busy<T>(mut f: impl FnMut() -> rusqlite::Result<T>) -> Result<T> {
    let start = std::time::Instant::now();
    loop {
        match f().map_err(err) {
            Err(StoreError::Busy(_)) if start.elapsed() < BUSY => std::thread::sleep(Duration::from_millis(20)),
            other => return other,
        }
    }
}

/// Brings the schema up to this program's version. Safe when several processes do it at once.
pub(super) fn migrate(conn: &mut Connection) -> Result<()> {
    let newest = MIGRATIONS.len();
    if version(conn)? == newest {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(err)?;
    let have = version(&tx)?;
    if have > newest {
        return Err(StoreError::Unreadable(format!(
            "it has schema version {have}, made by a newer watchfloor; this one knows versions up to {newest}"
        )));
    }
    let id: i64 = tx.query_row("PRAGMA application_id", [], |r| r.get(0)).map_err(err)?;
    if have == 0 {
        let tables: i64 = tx.query_row("SELECT count(*) FROM sqlite_master", [], |r| r.get(0)).map_err(err)?;
        if tables > 0 || (id != 0 && id != APPLICATION_ID) {
            return Err(StoreError::Unreadable("it is a database of some other program".into()));
        }
    }
    for step in &MIGRATIONS[have..] {
        tx.execute_batch(step).map_err(err)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID).map_err(err)?;
    tx.pragma_update(None, "user_version", newest as i64).map_err(err)?;
    tx.commit().map_err(err)
}

fn version(conn: &Connection) -> Result<usize> {
    let v: i64 = conn.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(err)?;
    usize::try_from(v).map_err(|_| StoreError::Unreadable(format!("it has schema version {v}")))
}

const V1: &str = "
-- Words that many alerts share: formats, sources, products.
CREATE TABLE word(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);

CREATE TABLE alert(
  id INTEGER PRIMARY KEY,
  status INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  severity INTEGER NOT NULL,
  sev_order INTEGER NOT NULL,
  rank REAL NOT NULL,
  t_ingest INTEGER NOT NULL,
  owner TEXT,
  case_id INTEGER,
  disposition INTEGER,
  verdict_kind INTEGER,
  count INTEGER NOT NULL DEFAULT 1,
  sport INTEGER,
  dport INTEGER,
  src BLOB,
  dst BLOB,
  format INTEGER NOT NULL,
  source INTEGER NOT NULL,
  product INTEGER,
  techniques TEXT,
  host TEXT,
  user TEXT,
  process TEXT,
  rule_id TEXT,
  rule_name TEXT,
  title TEXT NOT NULL,
  rev INTEGER NOT NULL DEFAULT 1,
  -- Rises with every change people (or clocks on their behalf) make; an undo is void when it has risen since.
  touch INTEGER NOT NULL DEFAULT 0,
  touched_by TEXT,
  detector_priority INTEGER NOT NULL,
  confidence INTEGER,
  asset_weight INTEGER NOT NULL,
  identity BLOB NOT NULL,
  grp BLOB NOT NULL,
  last_seen INTEGER NOT NULL,
  t_event INTEGER,
  t_alert INTEGER,
  t_claim INTEGER,
  t_verdict INTEGER,
  t_contain INTEGER,
  t_recover INTEGER,
  t_close INTEGER,
  owner_since INTEGER,
  snoozed_until INTEGER,
  suppressed_by INTEGER,
  close_reason TEXT,
  close_comment TEXT,
  close_by TEXT,
  verdict TEXT
);
CREATE UNIQUE INDEX alert_identity ON alert(identity);
CREATE INDEX alert_grp ON alert(grp);
-- How alike alerts were closed; how many alike ones there are in all stands in `tally`.
CREATE INDEX alert_closed_rule ON alert(coalesce(rule_id, rule_name, title), host COLLATE NOCASE, user COLLATE NOCASE,
  disposition, t_close) WHERE disposition IS NOT NULL;
CREATE INDEX alert_closed_grp ON alert(grp, disposition, t_close) WHERE disposition IS NOT NULL;
CREATE INDEX alert_host ON alert(host COLLATE NOCASE) WHERE host IS NOT NULL;
CREATE INDEX alert_user ON alert(user COLLATE NOCASE) WHERE user IS NOT NULL;
CREATE INDEX alert_src ON alert(src) WHERE src IS NOT NULL;
CREATE INDEX alert_dst ON alert(dst) WHERE dst IS NOT NULL;
CREATE INDEX alert_t_ingest ON alert(t_ingest);
CREATE INDEX alert_rank ON alert(rank, id, status, priority, severity);
CREATE INDEX alert_open_rank ON alert(rank, id, status, priority, severity) WHERE status < 3;
CREATE INDEX alert_open_id ON alert(id, status, priority, severity) WHERE status < 3;
CREATE INDEX alert_sev ON alert(sev_order, id, status, priority, severity);
CREATE INDEX alert_open_priority ON alert(priority) WHERE status < 3;
CREATE INDEX alert_status ON alert(status) WHERE status IN (1, 2, 4);
CREATE INDEX alert_disposition ON alert(disposition) WHERE disposition IS NOT NULL;
CREATE INDEX alert_owner ON alert(owner) WHERE owner IS NOT NULL;
CREATE INDEX alert_case ON alert(case_id) WHERE case_id IS NOT NULL;
CREATE INDEX alert_verdict ON alert(verdict_kind) WHERE verdict_kind IS NOT NULL;
CREATE INDEX alert_snooze ON alert(snoozed_until) WHERE snoozed_until IS NOT NULL;
CREATE INDEX alert_suppressed ON alert(suppressed_by) WHERE suppressed_by IS NOT NULL;

-- How many alerts have the same rule, rule and host, rule and user, or group (see ingest::Tally).
CREATE TABLE tally(key BLOB PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;

-- What never changes and is read for one alert at a time, or by the text search.
CREATE TABLE record(
  id INTEGER PRIMARY KEY,
  sha256 BLOB NOT NULL,
  command_line TEXT,
  source_severity TEXT,
  source_id TEXT,
  observables TEXT,
  raw BLOB NOT NULL
);
CREATE TABLE repeat(
  id INTEGER PRIMARY KEY,
  alert INTEGER NOT NULL,
  at INTEGER NOT NULL,
  sha256 BLOB NOT NULL,
  raw BLOB NOT NULL
);
CREATE UNIQUE INDEX repeat_alert ON repeat(alert, sha256);

-- Text of the alerts from `lo` to `hi`, folded and compressed (see search::build), and what stands in it, in
-- short (search::sign).
CREATE TABLE search_block(
  hi INTEGER PRIMARY KEY,
  lo INTEGER NOT NULL,
  size INTEGER NOT NULL,
  offsets BLOB NOT NULL,
  body BLOB NOT NULL
);
CREATE TABLE search_three(hi INTEGER PRIMARY KEY, bits BLOB NOT NULL);
CREATE TABLE search_five(hi INTEGER PRIMARY KEY, bits BLOB NOT NULL);

CREATE TABLE origin(
  alert INTEGER PRIMARY KEY,
  source TEXT NOT NULL,
  idx TEXT NOT NULL,
  doc_id TEXT NOT NULL,
  seq_no INTEGER NOT NULL,
  primary_term INTEGER NOT NULL,
  -- The alert's rev whose status is still to be written back.
  dirty INTEGER
);
CREATE INDEX origin_dirty ON origin(source, dirty) WHERE dirty IS NOT NULL;

CREATE TABLE timeline(
  id INTEGER PRIMARY KEY,
  alert INTEGER NOT NULL,
  at INTEGER NOT NULL,
  by TEXT,
  kind TEXT NOT NULL,
  text TEXT NOT NULL,
  -- Taken back by an undo: kept, no longer shown.
  withdrawn INTEGER
);
CREATE INDEX timeline_alert ON timeline(alert);

CREATE TABLE verdict(id INTEGER PRIMARY KEY, alert INTEGER NOT NULL, json TEXT NOT NULL);
CREATE INDEX verdict_alert ON verdict(alert);

-- kind 0: alerts lo to hi; kind 1: anything else.
CREATE TABLE change(rev INTEGER PRIMARY KEY, kind INTEGER NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL);

CREATE TABLE undo(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  by TEXT NOT NULL,
  at INTEGER NOT NULL,
  word TEXT NOT NULL,
  n INTEGER NOT NULL,
  used INTEGER NOT NULL DEFAULT 0,
  made_case INTEGER
);
CREATE INDEX undo_by ON undo(by, id) WHERE used = 0;
-- What an alert was before the act, and its touch after it.
CREATE TABLE undo_item(
  undo INTEGER NOT NULL,
  alert INTEGER NOT NULL,
  touch INTEGER NOT NULL,
  timeline INTEGER,
  set_priority INTEGER,
  status INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  owner TEXT,
  owner_since INTEGER,
  case_id INTEGER,
  snoozed_until INTEGER,
  disposition INTEGER,
  close_reason TEXT,
  close_comment TEXT,
  close_by TEXT,
  t_claim INTEGER,
  t_close INTEGER,
  PRIMARY KEY(undo, alert)
) WITHOUT ROWID;

CREATE TABLE case_file(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  title TEXT NOT NULL,
  opened_by TEXT NOT NULL,
  opened_at INTEGER NOT NULL,
  closed_at INTEGER
);
CREATE TABLE view(name TEXT PRIMARY KEY, query TEXT NOT NULL, sort TEXT NOT NULL, by TEXT) WITHOUT ROWID;
CREATE TABLE suppression(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  query TEXT NOT NULL,
  owner TEXT NOT NULL,
  reason TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  hidden INTEGER NOT NULL DEFAULT 0,
  -- Set when it has ended and given back what it hid.
  ended INTEGER
);
CREATE TABLE dead_letter(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  source TEXT NOT NULL,
  format TEXT,
  offset INTEGER NOT NULL,
  line INTEGER,
  reason TEXT NOT NULL,
  sha256 BLOB NOT NULL,
  tries INTEGER NOT NULL DEFAULT 1,
  raw BLOB NOT NULL
);
CREATE TABLE checkpoint(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE request(
  id TEXT PRIMARY KEY,
  rev INTEGER NOT NULL,
  state INTEGER NOT NULL,
  created INTEGER NOT NULL,
  json TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX request_state ON request(state, created);
CREATE INDEX request_created ON request(created);
-- One row per target of an action that was started.
CREATE TABLE execution(
  id INTEGER PRIMARY KEY,
  request TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  at INTEGER NOT NULL
);
CREATE INDEX execution_action ON execution(action, at);
CREATE TABLE switch(name TEXT PRIMARY KEY, by TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
";

/// How alike alerts were closed: the newest closings of every likeness come straight from an index over closed alerts,
/// so that the answer takes the same time however many there are. Alerts from before this step have no shape or name
/// and are still found by rule, host, user and address.
const LEARNING: &str = "
ALTER TABLE alert ADD COLUMN shape BLOB;
ALTER TABLE alert ADD COLUMN name BLOB;
DROP INDEX alert_closed_rule;
DROP INDEX alert_closed_grp;
CREATE INDEX alert_closed_all ON alert(t_close, disposition) WHERE disposition IS NOT NULL;
CREATE INDEX alert_closed_grp ON alert(grp, t_close, disposition) WHERE disposition IS NOT NULL;
CREATE INDEX alert_closed_rule ON alert(coalesce(rule_id, rule_name, title), t_close, disposition)
  WHERE disposition IS NOT NULL;
CREATE INDEX alert_closed_rule_host ON alert(coalesce(rule_id, rule_name, title), host COLLATE NOCASE, t_close,
  disposition) WHERE disposition IS NOT NULL;
CREATE INDEX alert_closed_rule_user ON alert(coalesce(rule_id, rule_name, title), user COLLATE NOCASE, t_close,
  disposition) WHERE disposition IS NOT NULL;
CREATE INDEX alert_closed_rule_src ON alert(coalesce(rule_id, rule_name, title), src, t_close, disposition)
  WHERE disposition IS NOT NULL;
CREATE INDEX alert_closed_rule_dst ON alert(coalesce(rule_id, rule_name, title), dst, t_close, disposition)
  WHERE disposition IS NOT NULL;
CREATE INDEX alert_closed_shape ON alert(shape, t_close, disposition) WHERE disposition IS NOT NULL;
CREATE INDEX alert_closed_name ON alert(name, t_close, disposition) WHERE disposition IS NOT NULL;
CREATE INDEX alert_closed_host ON alert(host COLLATE NOCASE, t_close, disposition) WHERE disposition IS NOT NULL;
CREATE INDEX alert_closed_user ON alert(user COLLATE NOCASE, t_close, disposition) WHERE disposition IS NOT NULL;
CREATE INDEX alert_closed_src ON alert(src, t_close, disposition) WHERE disposition IS NOT NULL;
CREATE INDEX alert_closed_dst ON alert(dst, t_close, disposition) WHERE disposition IS NOT NULL;
";

/// What surrounds verdicts: their numbers for statistics, exchanges with models, reviews, answers, and the queue.
const TRIAGE: &str = "
-- The numbers of a verdict, in narrow rows: statistics look at many. kind as in alert.verdict_kind.
CREATE TABLE opinion(
  verdict INTEGER PRIMARY KEY,
  alert INTEGER NOT NULL,
  at INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  fallback INTEGER NOT NULL,
  backend TEXT NOT NULL,
  model TEXT NOT NULL,
  rule TEXT NOT NULL,
  request_id TEXT NOT NULL,
  raised INTEGER NOT NULL,
  text_dependent INTEGER NOT NULL,
  claims INTEGER NOT NULL,
  founded INTEGER NOT NULL,
  took_ms INTEGER NOT NULL,
  first_token_ms INTEGER,
  served_ms INTEGER,
  prompt_tokens INTEGER,
  cached_tokens INTEGER,
  completion_tokens INTEGER
);
INSERT INTO opinion(verdict, alert, at, kind, fallback, backend, model, rule, request_id, raised, text_dependent,
  claims, founded, took_ms)
SELECT v.id, v.alert, coalesce(unixepoch(v.json ->> 'at'), 0) * 1000000,
  CASE v.json ->> 'kind' WHEN 'true_positive' THEN 0 WHEN 'benign_true_positive' THEN 1
    WHEN 'false_positive' THEN 2 ELSE 3 END,
  coalesce(v.json ->> 'fallback', 0), v.json ->> 'backend', v.json ->> 'model',
  coalesce(a.rule_id, a.rule_name, a.title), v.json ->> 'request_id', 0, 0,
  json_array_length(v.json, '$.claims'),
  (SELECT count(*) FROM json_each(v.json, '$.claims') c WHERE c.value ->> 'founded'), v.json ->> 'took_ms'
FROM verdict v JOIN alert a ON a.id = v.alert;
CREATE INDEX opinion_alert ON opinion(alert, verdict);
CREATE INDEX opinion_at ON opinion(at);
CREATE INDEX opinion_rule ON opinion(rule, verdict) WHERE fallback = 0;
CREATE INDEX opinion_request ON opinion(request_id);

-- Text that many exchanges share: instructions and schemas.
CREATE TABLE shared_text(id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, text TEXT NOT NULL);
-- body: the rest of the exchange as JSON, LZ4 with its size before it.
CREATE TABLE exchange(
  id INTEGER PRIMARY KEY,
  request_id TEXT NOT NULL UNIQUE,
  alert INTEGER NOT NULL,
  at INTEGER NOT NULL,
  system INTEGER NOT NULL,
  schema INTEGER,
  body BLOB NOT NULL
);
CREATE INDEX exchange_alert ON exchange(alert);
CREATE INDEX exchange_at ON exchange(at);

CREATE TABLE review(
  id INTEGER PRIMARY KEY,
  verdict INTEGER NOT NULL,
  alert INTEGER NOT NULL,
  request_id TEXT NOT NULL,
  by TEXT NOT NULL,
  at INTEGER NOT NULL,
  said INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  reason TEXT NOT NULL
);
CREATE INDEX review_alert ON review(alert);
CREATE INDEX review_verdict ON review(verdict);

CREATE TABLE answer(id INTEGER PRIMARY KEY, alert INTEGER NOT NULL, json TEXT NOT NULL);
CREATE INDEX answer_alert ON answer(alert);

-- Alerts that wait for an opinion, once each. Those without a worker may be leased from `ready` on; a lease ends by
-- itself at `until`. urgent and rank follow the alert.
CREATE TABLE triage_job(
  alert INTEGER PRIMARY KEY,
  -- The person who asked; NULL: the desk by itself.
  by TEXT,
  asked_at INTEGER NOT NULL,
  urgent INTEGER NOT NULL,
  rank REAL NOT NULL,
  ready INTEGER NOT NULL,
  worker TEXT,
  until INTEGER
);
CREATE INDEX triage_job_waiting ON triage_job(urgent DESC, rank DESC, alert, ready) WHERE worker IS NULL;
CREATE INDEX triage_job_asked ON triage_job(asked_at) WHERE worker IS NULL;
CREATE INDEX triage_job_leased ON triage_job(until) WHERE worker IS NOT NULL;
CREATE INDEX triage_job_by ON triage_job(by) WHERE by IS NOT NULL;
CREATE TRIGGER triage_job_follows AFTER UPDATE OF rank ON alert BEGIN
  UPDATE triage_job SET urgent = new.priority = 0, rank = new.rank WHERE alert = new.id;
END;
-- The bulk under way: alerts people asked for since the queue last held none of theirs, and how many are done.
CREATE TABLE triage_bulk(id INTEGER PRIMARY KEY CHECK(id = 1), asked INTEGER NOT NULL, done INTEGER NOT NULL);
INSERT INTO triage_bulk VALUES(1, 0, 0);
-- What the desk queued by itself, for its hourly budget.
CREATE TABLE triage_spent(id INTEGER PRIMARY KEY, at INTEGER NOT NULL, n INTEGER NOT NULL);
CREATE INDEX triage_spent_at ON triage_spent(at);
-- Why the queue stands still, by worker process.
CREATE TABLE triage_held(worker TEXT PRIMARY KEY, json TEXT NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
";

/// What the platform's health keeps: documents that change, and series that only grow.
const OPERATE: &str = "
CREATE TABLE doc(
  kind TEXT NOT NULL,
  key TEXT NOT NULL,
  rev INTEGER NOT NULL,
  at INTEGER NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY(kind, key)
) WITHOUT ROWID;
CREATE TABLE entry(
  kind TEXT NOT NULL,
  key TEXT NOT NULL,
  at INTEGER NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY(kind, key, at)
) WITHOUT ROWID;
CREATE INDEX entry_at ON entry(kind, at);
";
