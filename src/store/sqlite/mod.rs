//! The embedded store: SQLite in WAL mode, `synchronous=FULL`, one writing connection and a few reading ones per
//! process. Several processes may hold the same file; SQLite's own locks keep them apart.

mod act;
#[cfg(test)]
mod agree;
mod change;
mod doc;
mod ingest;
mod near;
mod own;
mod page;
mod plan;
mod related;
mod request;
mod rows;
mod schema;
mod search;
mod side;
mod sql;
#[cfg(test)]
mod tests;
mod triage;
mod undo;
mod verdict;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::SignedDuration;
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::{
    Changes, Doc, Entry, Held, Ingested, Job, Near, OwnEvents, PastDispositions, Result, Seen, Store, StoreError,
    Wanted, Writeback,
};
use crate::model::act::{Act, ActReport, TimelineEvent};
use crate::model::action::{Receipt, Request, RequestState};
use crate::model::alert::{Alert, AlertRow, DeadLetter, NewAlert, NewDeadLetter};
use crate::model::case::{Case, SavedView, Suppression};
use crate::model::ids::{AlertId, CaseId, DeadLetterId, PersonId, RequestId, SuppressionId, UndoId};
use crate::model::opinion::{Agreement, Answered, Exchange, Review, TriageQueue, TriageStats};
use crate::model::query::{Count, Page, Query, SortKey};
use crate::model::slo::DeskSli;
use crate::model::verdict::Verdict;
use crate::text::Untrusted;

/// Reading connections kept open for the next reader.
const IDLE_READERS: usize = 4;

/// A store in one SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    writer: Mutex<Writer>,
    readers: Mutex<Vec<Connection>>,
    search: search::Cache,
    /// Keeps a throwaway store's folder until the store goes.
    _dir: Option<tempfile::TempDir>,
}

struct Writer {
    conn: Connection,
    words: ingest::Words,
}

impl SqliteStore {
    /// Opens the store in this file, making it (mode 0600) and its folder (0700) when they are not there.
    ///
    /// # Errors
    /// `Unreadable` when the file is no store or one of a newer watchfloor, `Unavailable` when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        make_file(path)?;
        let mut conn = schema::connect(path, true, 65_536)?;
        schema::migrate(&mut conn)?;
        sql::add_functions(&conn).map_err(err)?;
        Ok(Self {
            path: path.to_owned(),
            writer: Mutex::new(Writer { conn, words: ingest::Words::default() }),
            readers: Mutex::default(),
            search: search::Cache::default(),
            _dir: None,
        })
    }

    /// A store that goes with this value; for tests and the demo.
    pub fn open_temporary() -> Result<Self> {
        let dir = tempfile::tempdir().map_err(|e| StoreError::Unavailable(e.to_string()))?;
        let mut store = Self::open(&dir.path().join("watchfloor.db"))?;
        store._dir = Some(dir);
        Ok(store)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds up to `max` alerts to the text index; returns how many. Zero: nothing is left to do. Searches are
    /// complete without it, only slower, so it may run at any time and in any process.
    pub fn index_step(&self, max: usize) -> Result<usize> {
        search::build::step(self, max)
    }

    /// For a store that is thrown away whatever happens: what is written is not waited for.
    pub fn do_without_sync(&self) -> Result<()> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.conn.pragma_update(None, "synchronous", "OFF").map_err(err)
    }

    /// Forgets remembered search results, for measuring.
    #[doc(hidden)]
    pub fn forget_searches(&self) {
        self.search.clear();
    }

    /// SQLite's own check of the whole file: `ok`, or what is wrong.
    pub fn integrity_check(&self) -> Result<String> {
        self.read(|c| c.query_row("PRAGMA integrity_check", [], |r| r.get(0)).map_err(err))
    }

    /// One transaction that may write. Durable when it returns `Ok`.
    fn write<T>(&self, f: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        self.write_words(|tx, _| f(tx))
    }

    fn write_words<T>(&self, f: impl FnOnce(&Transaction<'_>, &mut ingest::Words) -> Result<T>) -> Result<T> {
        let mut guard = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Writer { conn, words } = &mut *guard;
        let done = (|| {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(err)?;
            let out = f(&tx, words)?;
            tx.commit().map_err(err)?;
            Ok(out)
        })();
        if done.is_err() {
            // Ids handed out in a transaction that was rolled back are nobody's.
            words.clear();
        }
        done
    }

    /// Reads within one snapshot.
    fn read<T>(&self, f: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let conn = self.reader()?;
        let out = (|| {
            let tx = conn.unchecked_transaction().map_err(err)?;
            f(&tx)
        })();
        self.give_back(conn);
        out
    }

    fn reader(&self) -> Result<Connection> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(conn) = idle {
            return Ok(conn);
        }
        let conn = schema::connect(&self.path, false, 16_384)?;
        sql::add_functions(&conn).map_err(err)?;
        conn.pragma_update(None, "query_only", true).map_err(err)?;
        Ok(conn)
    }

    fn give_back(&self, conn: Connection) {
        let mut idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_READERS {
            idle.push(conn);
        }
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Makes the file and its folder for their owner alone, before SQLite could make them for everybody.
fn make_file(path: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let fail = |e: std::io::Error| StoreError::Unavailable(format!("{}: {e}", path.display()));
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fail)?;
    }
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(fail(e)),
    }
}

/// What a SQLite error means to a caller.
fn err(e: rusqlite::Error) -> StoreError {
    let text = e.to_string();
    match e.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy(text),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Unreadable(text),
        _ => StoreError::Unavailable(text),
    }
}

/// A stored JSON text that does not read back.
fn bad_json(what: &str, e: &serde_json::Error) -> StoreError {
    StoreError::Unreadable(format!("{what}: {e}"))
}

fn to_json<T: serde::Serialize>(what: &str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| bad_json(what, &e))
}

fn us(t: Timestamp) -> i64 {
    t.as_microsecond()
}

/// Times are written by us alone, so one out of range is damage; it reads as the epoch rather than hiding the row.
fn time(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Store for SqliteStore {
    fn revision(&self) -> Result<u64> {
        self.newest_revision()
    }
    fn changes(&self, since: u64, limit: usize) -> Result<Changes> {
        self.changes_since(since, limit)
    }
    fn ingest(
        &self,
        batch: &[NewAlert],
        dead: &[NewDeadLetter],
        checkpoint: Option<(&str, &str)>,
        now: Timestamp,
    ) -> Result<Vec<Ingested>> {
        self.write_words(|tx, words| ingest::ingest(tx, words, batch, dead, checkpoint, now))
    }
    fn checkpoint(&self, name: &str) -> Result<Option<String>> {
        self.read(|c| side::checkpoint(c, name))
    }
    fn set_checkpoint(&self, name: &str, value: &str) -> Result<()> {
        self.write(|tx| side::set_checkpoint(tx, name, value))
    }
    fn alert(&self, id: AlertId) -> Result<Option<Alert>> {
        self.read(|c| rows::alert(c, id))
    }
    fn raw(&self, id: AlertId) -> Result<Option<Vec<u8>>> {
        self.read(|c| rows::raw(c, id))
    }
    fn repeats(&self, id: AlertId, limit: usize) -> Result<Vec<(Timestamp, Vec<u8>)>> {
        self.read(|c| rows::repeats(c, id, limit))
    }
    fn rows(&self, query: &Query, sort: SortKey, page: Page, limit: usize, now: Timestamp) -> Result<Vec<AlertRow>> {
        self.read(|c| page::rows(self, c, query, sort, page, limit, now))
    }
    fn rows_by_id(&self, ids: &[AlertId]) -> Result<Vec<AlertRow>> {
        self.read(|c| rows::by_id(c, ids))
    }
    fn count(&self, query: &Query, cap: u64, now: Timestamp) -> Result<Count> {
        self.read(|c| page::count(self, c, query, cap, now))
    }
    fn position(&self, query: &Query, sort: SortKey, id: AlertId, cap: u64, now: Timestamp) -> Result<Count> {
        self.read(|c| page::position(self, c, query, sort, id, cap, now))
    }
    fn related(&self, id: AlertId, limit: usize) -> Result<Vec<AlertRow>> {
        self.read(|c| related::related(c, id, limit))
    }
    fn neighbours(&self, id: AlertId, limit: usize) -> Result<Vec<Near>> {
        self.read(|c| near::neighbours(c, id, limit))
    }
    fn seen(&self, id: AlertId, since: Timestamp) -> Result<Seen> {
        self.read(|c| near::seen(c, id, since))
    }
    fn past_dispositions(&self, id: AlertId) -> Result<Vec<PastDispositions>> {
        self.read(|c| related::past_dispositions(c, id))
    }
    fn timeline(&self, id: AlertId, limit: usize) -> Result<Vec<TimelineEvent>> {
        self.read(|c| related::timeline(c, id, limit))
    }
    fn act(&self, act: &Act, ids: &[AlertId], by: &PersonId, now: Timestamp) -> Result<ActReport> {
        self.write(|tx| act::act(tx, act, ids, by, now))
    }
    fn undo(&self, undo: UndoId, by: &PersonId, now: Timestamp) -> Result<ActReport> {
        self.write(|tx| undo::undo(tx, undo, by, now))
    }
    fn last_undoable(&self, by: &PersonId) -> Result<Option<(UndoId, String, usize)>> {
        self.read(|c| undo::last(c, by))
    }
    fn wake_due(&self, now: Timestamp) -> Result<usize> {
        let due = self.read(|c| act::snoozes_due(c, now))?;
        if due { self.write(|tx| act::wake_due(tx, now)) } else { Ok(0) }
    }
    fn record_opinion(&self, id: AlertId, verdict: &Verdict, exchanges: &[Exchange]) -> Result<()> {
        self.write(|tx| {
            verdict::record(tx, id, verdict)?;
            triage::add_exchanges(tx, exchanges)?;
            if verdict.fallback { Ok(()) } else { triage::queue::remove(tx, id) }
        })
    }
    fn verdicts(&self, id: AlertId, limit: usize) -> Result<Vec<Verdict>> {
        self.read(|c| verdict::list(c, id, limit))
    }
    fn note_event(&self, event: &TimelineEvent) -> Result<()> {
        self.write(|tx| verdict::note_event(tx, event))
    }
    fn mark_contained(&self, ids: &[AlertId], at: Timestamp) -> Result<()> {
        self.write(|tx| verdict::mark_contained(tx, ids, at))
    }
    fn add_review(&self, review: &Review) -> Result<()> {
        self.write(|tx| triage::add_review(tx, review))
    }
    fn reviews(&self, id: AlertId, limit: usize) -> Result<Vec<Review>> {
        self.read(|c| triage::reviews(c, id, limit))
    }
    fn add_answer(&self, id: AlertId, answered: &Answered, exchanges: &[Exchange]) -> Result<()> {
        self.write(|tx| triage::add_answer(tx, id, answered, exchanges))
    }
    fn answers(&self, id: AlertId, limit: usize) -> Result<Vec<Answered>> {
        self.read(|c| triage::answers(c, id, limit))
    }
    fn add_exchanges(&self, exchanges: &[Exchange]) -> Result<()> {
        self.write(|tx| triage::add_exchanges(tx, exchanges))
    }
    fn exchanges(&self, id: AlertId, limit: usize) -> Result<Vec<Exchange>> {
        self.read(|c| triage::exchanges(c, id, limit))
    }
    fn exchange(&self, request_id: &str) -> Result<Option<Exchange>> {
        self.read(|c| triage::exchange(c, request_id))
    }
    fn drop_exchanges(&self, before: Timestamp, max: usize) -> Result<usize> {
        let due = self.read(|c| triage::exchanges_due(c, before))?;
        if due { self.write(|tx| triage::drop_exchanges(tx, before, max)) } else { Ok(0) }
    }
    fn agreement(&self, id: AlertId) -> Result<Vec<Agreement>> {
        self.read(|c| triage::stats::agreement_on(c, id))
    }
    fn triage_stats(&self, since: Timestamp, now: Timestamp) -> Result<TriageStats> {
        self.read(|c| triage::stats::stats(c, since, now))
    }
    fn enqueue_triage(&self, ids: &[AlertId], wanted: &Wanted, now: Timestamp) -> Result<usize> {
        self.write(|tx| triage::queue::enqueue(tx, ids, wanted, now))
    }
    fn auto_room(&self, per_hour: u32, now: Timestamp) -> Result<usize> {
        self.read(|c| triage::queue::auto_room(c, per_hour, now))
    }
    fn lease_triage(
        &self,
        worker: &str,
        n: usize,
        asked_before: Timestamp,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Job>> {
        if n == 0 || !self.read(|c| triage::queue::waiting(c, asked_before, now))? {
            return Ok(Vec::new());
        }
        self.write(|tx| triage::queue::lease(tx, worker, n, asked_before, now, until))
    }
    fn renew_triage(&self, worker: &str, until: Timestamp) -> Result<Vec<AlertId>> {
        self.write(|tx| triage::queue::renew(tx, worker, until))
    }
    fn leased_triage(&self, worker: &str) -> Result<Vec<AlertId>> {
        self.read(|c| triage::queue::leased(c, worker))
    }
    fn free_triage(&self, but: &str) -> Result<usize> {
        self.write(|tx| triage::queue::free(tx, but))
    }
    fn release_triage(&self, worker: &str, id: AlertId, ready: Timestamp) -> Result<bool> {
        self.write(|tx| triage::queue::release(tx, worker, id, ready))
    }
    fn finish_triage(&self, worker: &str, id: AlertId, verdict: &Verdict, exchanges: &[Exchange]) -> Result<bool> {
        self.write(|tx| triage::queue::finish(tx, worker, id, verdict, exchanges))
    }
    fn discard_triage(&self, worker: &str, id: AlertId) -> Result<bool> {
        self.write(|tx| triage::queue::discard(tx, worker, id))
    }
    fn cancel_triage(&self) -> Result<usize> {
        self.write(triage::queue::cancel)
    }
    fn triage_queue(&self, now: Timestamp) -> Result<TriageQueue> {
        self.read(|c| triage::queue::state(c, now))
    }
    fn hold_triage(&self, worker: &str, held: Option<&Held>) -> Result<()> {
        self.write(|tx| triage::queue::hold(tx, worker, held))
    }
    fn triage_held(&self, now: Timestamp) -> Result<Option<Held>> {
        self.read(|c| triage::queue::held(c, now))
    }
    fn cases(&self, limit: usize) -> Result<Vec<Case>> {
        self.read(|c| side::cases(c, limit))
    }
    fn case(&self, id: CaseId) -> Result<Option<Case>> {
        self.read(|c| side::case(c, id))
    }
    fn close_case(&self, id: CaseId, at: Option<Timestamp>) -> Result<bool> {
        self.write(|tx| side::close_case(tx, id, at))
    }
    fn views(&self) -> Result<Vec<SavedView>> {
        self.read(side::views)
    }
    fn put_view(&self, view: &SavedView) -> Result<()> {
        self.write(|tx| side::put_view(tx, view))
    }
    fn drop_view(&self, name: &str) -> Result<bool> {
        self.write(|tx| side::drop_view(tx, name))
    }
    fn suppressions(&self) -> Result<Vec<Suppression>> {
        self.read(side::suppressions)
    }
    fn add_suppression(&self, s: &Suppression) -> Result<SuppressionId> {
        self.write(|tx| side::add_suppression(tx, s))
    }
    fn end_suppression(&self, id: SuppressionId, now: Timestamp) -> Result<bool> {
        self.write(|tx| side::end_suppression(tx, id, now))
    }
    fn expire_suppressions(&self, now: Timestamp) -> Result<usize> {
        let due = self.read(|c| side::suppressions_due(c, now))?;
        if due { self.write(|tx| side::expire_suppressions(tx, now)) } else { Ok(0) }
    }
    fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>> {
        self.read(|c| side::dead_letters(c, limit))
    }
    fn dead_letter_count(&self) -> Result<u64> {
        self.read(side::dead_letter_count)
    }
    fn dead_letter(&self, id: DeadLetterId) -> Result<Option<(DeadLetter, Vec<u8>)>> {
        self.read(|c| side::dead_letter(c, id))
    }
    fn dead_letter_failed_again(&self, id: DeadLetterId, reason: &Untrusted) -> Result<()> {
        self.write(|tx| side::dead_letter_failed_again(tx, id, reason))
    }
    fn drop_dead_letter(&self, id: DeadLetterId) -> Result<bool> {
        self.write(|tx| side::drop_dead_letter(tx, id))
    }
    fn writebacks(&self, source: &str, limit: usize) -> Result<Vec<Writeback>> {
        self.read(|c| side::writebacks(c, source, limit))
    }
    fn writeback_done(&self, w: &Writeback, seq_no: i64, primary_term: i64) -> Result<()> {
        self.write(|tx| side::writeback_done(tx, w, seq_no, primary_term))
    }
    fn writeback_conflict(&self, w: &Writeback, seq_no: i64, primary_term: i64, what: &Untrusted) -> Result<()> {
        self.write(|tx| side::writeback_conflict(tx, w, seq_no, primary_term, what))
    }
    fn add_request(&self, request: &Request) -> Result<()> {
        self.write(|tx| request::add(tx, request))
    }
    fn request(&self, id: &RequestId) -> Result<Option<Request>> {
        self.read(|c| request::get(c, id))
    }
    fn requests(&self, states: &[RequestState], limit: usize) -> Result<Vec<Request>> {
        self.read(|c| request::list(c, states, limit))
    }
    fn update_request(&self, request: &Request) -> Result<Request> {
        self.write(|tx| request::update(tx, request))
    }
    fn begin_execution(&self, id: &RequestId, digest: &str, executor: &PersonId, now: Timestamp) -> Result<Request> {
        self.write(|tx| request::begin_execution(tx, id, digest, executor, now))
    }
    fn put_receipt(&self, id: &RequestId, receipt: &Receipt) -> Result<()> {
        self.write(|tx| request::put_receipt(tx, id, receipt))
    }
    fn execution_count(&self, action: Option<&str>, target: Option<&str>, since: Timestamp) -> Result<u64> {
        self.read(|c| request::execution_count(c, action, target, since))
    }
    fn kill_switch(&self) -> Result<Option<(PersonId, Timestamp)>> {
        self.read(request::kill_switch)
    }
    fn set_kill_switch(&self, on: Option<(&PersonId, Timestamp)>) -> Result<()> {
        self.write(|tx| request::set_kill_switch(tx, on))
    }
    fn own_events(
        &self,
        sli: DeskSli,
        within: SignedDuration,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<OwnEvents>> {
        self.read(|c| own::counted(c, sli, within, from, until))
    }
    fn doc(&self, kind: &str, key: &str) -> Result<Option<Doc>> {
        self.read(|c| doc::get(c, kind, key))
    }
    fn docs(&self, kind: &str, limit: usize) -> Result<Vec<Doc>> {
        self.read(|c| doc::list(c, kind, limit))
    }
    fn put_doc(&self, kind: &str, key: &str, body: &str, rev: u64, now: Timestamp) -> Result<u64> {
        self.write(|tx| doc::put(tx, kind, key, body, rev, now))
    }
    fn drop_doc(&self, kind: &str, key: &str) -> Result<bool> {
        self.write(|tx| doc::drop_one(tx, kind, key))
    }
    fn add_entry(&self, kind: &str, key: &str, entry: &Entry) -> Result<bool> {
        self.write(|tx| doc::add_entry(tx, kind, key, entry))
    }
    fn entries(&self, kind: &str, key: &str, from: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<Entry>> {
        self.read(|c| doc::entries(c, kind, key, from, until, limit))
    }
    fn entry_keys(&self, kind: &str) -> Result<Vec<String>> {
        self.read(|c| doc::keys(c, kind))
    }
    fn drop_entries(&self, kind: &str, before: Timestamp, max: usize) -> Result<usize> {
        self.write(|tx| doc::drop_entries(tx, kind, before, max))
    }
}
