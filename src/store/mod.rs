//! Where alerts, cases, requests and checkpoints live.
//!
//! [`Store`] is blocking: callers on an async task use `spawn_blocking`. Whatever a method has returned
//! `Ok` for survives a kill -9. Several processes may hold the same store open; [`Store::revision`] is
//! cheap enough to ask several times a second and grows with every change any of them makes.

#[doc(hidden)]
pub mod conformance;
pub mod sqlite;

use jiff::SignedDuration;
use jiff::Timestamp;

use crate::model::act::{Act, ActReport, TimelineEvent};
use crate::model::action::{Receipt, Request, RequestState};
use crate::model::alert::{Alert, AlertRow, DeadLetter, Disposition, NewAlert, NewDeadLetter, Origin};
use crate::model::case::{Case, SavedView, Suppression};
use crate::model::ids::{AlertId, CaseId, DeadLetterId, PersonId, RequestId, SuppressionId, UndoId};
use crate::model::opinion::{Agreement, Answered, Exchange, Review, TriageQueue, TriageStats};
use crate::model::query::{Count, Page, Query, SortKey};
use crate::model::slo::DeskSli;
use crate::model::verdict::Verdict;
use crate::text::Untrusted;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the write lock for longer than we wait.
    #[error("the store is busy: {0}")]
    Busy(String),
    #[error("the store cannot be reached or written: {0}")]
    Unavailable(String),
    /// Made by a newer watchfloor, or damaged.
    #[error("the store cannot be read: {0}")]
    Unreadable(String),
    /// Somebody else changed it first.
    #[error("{0} changed meanwhile")]
    Conflict(String),
    #[error("{0} not found")]
    NotFound(String),
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// What became of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingested {
    /// A new alert.
    New(AlertId),
    /// The same alert again: its count went up; bytes that differ from the first are kept too.
    Repeat(AlertId),
}

/// What changed since a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The revision these lead up to.
    pub revision: u64,
    /// Alerts that changed or arrived, at most the limit asked for.
    pub alerts: Vec<AlertId>,
    /// More changed than the limit, or the log no longer reaches back: reload.
    pub overflow: bool,
    /// Requests, views, cases, suppressions or switches changed.
    pub others: bool,
}

/// How alerts of one kind were disposed of before.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PastDispositions {
    /// What is alike: one of [`PastDispositions::ALIKE`].
    pub alike: &'static str,
    /// Of the closings in `closings`, most frequent first.
    pub counts: Vec<(Disposition, u64)>,
    /// Alike alerts in all, closed or not; at least as many as were counted, where there are very many.
    pub total: u64,
    pub last_closed: Option<Timestamp>,
    /// The newest of them, newest first, at most [`PastDispositions::NEWEST`].
    #[serde(skip)]
    pub closings: Vec<(Disposition, Timestamp)>,
}

impl PastDispositions {
    /// What can be alike, narrowest first. `shape` and `name` are those of [`crate::model::shape`]; `host`, `user` and
    /// `address` are of whatever rule; `all` is every alert of this desk.
    pub const ALIKE: [&'static str; 11] =
        ["group", "rule+host", "rule+user", "rule+address", "shape", "rule", "name", "host", "user", "address", "all"];
    /// Closings looked at of each kind: enough to judge by, and the same work however many there are.
    pub const NEWEST: usize = 1000;

    /// How much the closings count at this time, in the order of [`Disposition::ALL`]: each one half after a half-life.
    pub fn weighted(&self, now: Timestamp, half_life_days: u32) -> [f64; 4] {
        let half_life = f64::from(half_life_days.max(1)) * 86_400.0;
        let mut out = [0.0; 4];
        for (disposition, at) in &self.closings {
            let age = now.duration_since(*at).as_secs_f64().max(0.0);
            if let Some(sum) = out.get_mut(*disposition as usize) {
                *sum += (-age / half_life).exp2();
            }
        }
        out
    }
}

/// An alert near another one, and what the two share: `group`, `host`, `user`, `address`.
#[derive(Clone, Debug, PartialEq)]
pub struct Near {
    pub row: AlertRow,
    pub shares: Vec<&'static str>,
}

/// How often a rule fired since some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub rule: u64,
    pub all: u64,
    /// `rule` is scaled up from the newest alerts.
    pub estimated: bool,
}

/// An alert whose new status a source wants to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writeback {
    pub alert: AlertId,
    pub origin: Origin,
    pub status: crate::model::alert::Status,
    pub owner: Option<PersonId>,
    pub disposition: Option<Disposition>,
    /// The alert's `rev` this speaks of.
    pub rev: u64,
}

/// Who wants alerts triaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    By(PersonId),
    /// The desk by itself: open alerts without a verdict, at most so many in any hour.
    Auto {
        per_hour: u32,
    },
}

/// An alert leased from the triage queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub alert: AlertId,
    /// The person who asked; `None`: the desk by itself.
    pub by: Option<PersonId>,
    pub asked_at: Timestamp,
}

/// Why a worker takes nothing from the triage queue.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Held {
    /// In words.
    pub why: String,
    pub since: Timestamp,
    pub next_try: Timestamp,
    /// Not to be believed after this: a worker that lives says it again before.
    pub until: Timestamp,
}

/// A small document of a capability room, kept by kind and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doc {
    pub kind: String,
    pub key: String,
    /// From 1, one more with every change.
    pub rev: u64,
    pub at: Timestamp,
    /// JSON.
    pub body: String,
}

/// A line of a series that only grows: a probe, a measurement, a backup as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Timestamp,
    /// JSON.
    pub body: String,
}

/// Events of this desk in a minute, named by its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnEvents {
    pub until: Timestamp,
    pub good: u64,
    pub bad: u64,
}

pub trait Store: Send + Sync {
    // --- change feed -------------------------------------------------------------------------
    fn revision(&self) -> Result<u64>;
    fn changes(&self, since: u64, limit: usize) -> Result<Changes>;

    // --- alerts in ---------------------------------------------------------------------------
    /// Durable when it returns; one transaction. Answers in the order given.
    /// `checkpoint` (name, value) is stored in the same transaction.
    fn ingest(
        &self,
        batch: &[NewAlert],
        dead: &[NewDeadLetter],
        checkpoint: Option<(&str, &str)>,
        now: Timestamp,
    ) -> Result<Vec<Ingested>>;
    fn checkpoint(&self, name: &str) -> Result<Option<String>>;
    fn set_checkpoint(&self, name: &str, value: &str) -> Result<()>;

    // --- reading -----------------------------------------------------------------------------
    fn alert(&self, id: AlertId) -> Result<Option<Alert>>;
    /// The original bytes.
    fn raw(&self, id: AlertId) -> Result<Option<Vec<u8>>>;
    /// Bytes of repeats that differ from the first, newest first.
    fn repeats(&self, id: AlertId, limit: usize) -> Result<Vec<(Timestamp, Vec<u8>)>>;
    fn rows(&self, query: &Query, sort: SortKey, page: Page, limit: usize, now: Timestamp) -> Result<Vec<AlertRow>>;
    fn rows_by_id(&self, ids: &[AlertId]) -> Result<Vec<AlertRow>>;
    /// Counts up to `cap` matches.
    fn count(&self, query: &Query, cap: u64, now: Timestamp) -> Result<Count>;
    /// How many matching rows stand before this alert in the sort order, up to `cap`.
    fn position(&self, query: &Query, sort: SortKey, id: AlertId, cap: u64, now: Timestamp) -> Result<Count>;
    /// Same group, host, user or address, newest first, itself left out.
    fn related(&self, id: AlertId, limit: usize) -> Result<Vec<AlertRow>>;
    /// Same group, host, user or address: the nearest `limit` of each before and after it, in the order they came.
    fn neighbours(&self, id: AlertId, limit: usize) -> Result<Vec<Near>>;
    /// How many alerts of its rule, itself included, and of all rules came since.
    fn seen(&self, id: AlertId, since: Timestamp) -> Result<Seen>;
    /// How alike alerts were closed, narrowest likeness first; the alert itself is left out. What it has not (no user,
    /// say) makes no likeness.
    fn past_dispositions(&self, id: AlertId) -> Result<Vec<PastDispositions>>;
    fn timeline(&self, id: AlertId, limit: usize) -> Result<Vec<TimelineEvent>>;

    // --- acts of people ----------------------------------------------------------------------
    /// Applies one act to several alerts in one transaction: each either done or refused with a reason.
    fn act(&self, act: &Act, ids: &[AlertId], by: &PersonId, now: Timestamp) -> Result<ActReport>;
    /// Puts back what an act changed, alert by alert, unless it changed since. Only once.
    fn undo(&self, undo: UndoId, by: &PersonId, now: Timestamp) -> Result<ActReport>;
    /// The newest act of this person that can still be undone, with its word and how many alerts it touched.
    fn last_undoable(&self, by: &PersonId) -> Result<Option<(UndoId, String, usize)>>;
    /// Wakes alerts whose snooze has run out. Returns how many.
    fn wake_due(&self, now: Timestamp) -> Result<usize>;

    // --- verdicts ----------------------------------------------------------------------------
    /// Stores the verdict and raises the priority if it advises so; it can change nothing else.
    fn record_verdict(&self, id: AlertId, verdict: &Verdict) -> Result<()> {
        self.record_opinion(id, verdict, &[])
    }
    /// The same, with the exchanges that led to it, in one transaction. Unless it is a fallback, the alert leaves the
    /// triage queue: whoever has leased it finishes in vain.
    fn record_opinion(&self, id: AlertId, verdict: &Verdict, exchanges: &[Exchange]) -> Result<()>;
    fn verdicts(&self, id: AlertId, limit: usize) -> Result<Vec<Verdict>>;
    /// Notes a desk event on an alert's timeline.
    fn note_event(&self, event: &TimelineEvent) -> Result<()>;
    /// Sets t_contain once, for true positives and alerts still open.
    fn mark_contained(&self, ids: &[AlertId], at: Timestamp) -> Result<()>;

    // --- what surrounds verdicts -------------------------------------------------------------
    /// Keeps a review and notes it on the timeline; changes nothing else. `NotFound` without that verdict.
    fn add_review(&self, review: &Review) -> Result<()>;
    /// Newest first.
    fn reviews(&self, id: AlertId, limit: usize) -> Result<Vec<Review>>;
    /// Keeps the answer to a person's question with its exchanges and notes it on the timeline.
    fn add_answer(&self, id: AlertId, answered: &Answered, exchanges: &[Exchange]) -> Result<()>;
    /// The newest `limit`, oldest of them first.
    fn answers(&self, id: AlertId, limit: usize) -> Result<Vec<Answered>>;
    /// Keeps exchanges; one whose request id is known stays as it was.
    fn add_exchanges(&self, exchanges: &[Exchange]) -> Result<()>;
    /// Newest first.
    fn exchanges(&self, id: AlertId, limit: usize) -> Result<Vec<Exchange>>;
    fn exchange(&self, request_id: &str) -> Result<Option<Exchange>>;
    /// Forgets at most `max` exchanges older than this. Returns how many.
    fn drop_exchanges(&self, before: Timestamp, max: usize) -> Result<usize>;
    /// How often people agreed with verdicts on this alert's rule, by backend and model; over the newest 1,000
    /// verdicts that are no fallback. A review counts as it says. An alert without one counts once it is closed, as
    /// agreed when its disposition is the very one its newest verdict named; undetermined and needs-investigation
    /// count neither way.
    fn agreement(&self, id: AlertId) -> Result<Vec<Agreement>>;
    /// Figures over what was given after `since`; percentiles exactly, over at most the newest 10,000 that are no
    /// fallback. Agreement is over the newest 10,000 verdicts, however old. `queue` is left empty.
    fn triage_stats(&self, since: Timestamp, now: Timestamp) -> Result<TriageStats>;

    // --- triage queue ------------------------------------------------------------------------
    /// Queues alerts; one that is queued already stays as it is. Returns how many were added.
    fn enqueue_triage(&self, ids: &[AlertId], wanted: &Wanted, now: Timestamp) -> Result<usize>;
    /// How many the desk may still queue by itself in the hour that ends now.
    fn auto_room(&self, per_hour: u32, now: Timestamp) -> Result<usize>;
    /// Leases at most `n` alerts until then: P0 first, then by risk, then by age. Only those asked for by
    /// `asked_before`. Leases that have run out are there for anybody again.
    fn lease_triage(
        &self,
        worker: &str,
        n: usize,
        asked_before: Timestamp,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Job>>;
    /// Puts off the end of this worker's leases; answers with all it still has.
    fn renew_triage(&self, worker: &str, until: Timestamp) -> Result<Vec<AlertId>>;
    /// The leases this worker still has.
    fn leased_triage(&self, worker: &str) -> Result<Vec<AlertId>>;
    /// Ends the leases of every worker but this one, which knows that they are gone. Returns how many.
    fn free_triage(&self, but: &str) -> Result<usize>;
    /// Gives an alert back, to be leased again from `ready` on. False: it was not this worker's any more.
    fn release_triage(&self, worker: &str, id: AlertId, ready: Timestamp) -> Result<bool>;
    /// Stores verdict and exchanges and takes the alert out of the queue, in one transaction, if this worker still has
    /// it. False: it has not, and nothing was stored.
    fn finish_triage(&self, worker: &str, id: AlertId, verdict: &Verdict, exchanges: &[Exchange]) -> Result<bool>;
    /// Takes an alert out of the queue without a verdict, if this worker still has it.
    fn discard_triage(&self, worker: &str, id: AlertId) -> Result<bool>;
    /// Takes out everything people asked for, leased or not. Returns how many.
    fn cancel_triage(&self) -> Result<usize>;
    /// Counts. `held` is left empty: see [`Store::triage_held`].
    fn triage_queue(&self, now: Timestamp) -> Result<TriageQueue>;
    /// This worker takes nothing, and why; or it does again.
    fn hold_triage(&self, worker: &str, held: Option<&Held>) -> Result<()>;
    fn triage_held(&self, now: Timestamp) -> Result<Option<Held>>;

    // --- cases, views, suppressions ----------------------------------------------------------
    fn cases(&self, limit: usize) -> Result<Vec<Case>>;
    fn case(&self, id: CaseId) -> Result<Option<Case>>;
    /// Closes it at a time, or opens it again. `false`: there is none, or it is so already.
    fn close_case(&self, id: CaseId, at: Option<Timestamp>) -> Result<bool>;
    fn views(&self) -> Result<Vec<SavedView>>;
    fn put_view(&self, view: &SavedView) -> Result<()>;
    fn drop_view(&self, name: &str) -> Result<bool>;
    fn suppressions(&self) -> Result<Vec<Suppression>>;
    /// Adds one (its `id` and `hidden` are set by the store).
    fn add_suppression(&self, s: &Suppression) -> Result<SuppressionId>;
    /// Ends one now and gives what it still hides back to the queue.
    fn end_suppression(&self, id: SuppressionId, now: Timestamp) -> Result<bool>;
    /// Gives back what expired suppressions hide. Returns how many alerts.
    fn expire_suppressions(&self, now: Timestamp) -> Result<usize>;

    // --- dead letters ------------------------------------------------------------------------
    /// Newest first.
    fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>>;
    fn dead_letter_count(&self) -> Result<u64>;
    fn dead_letter(&self, id: DeadLetterId) -> Result<Option<(DeadLetter, Vec<u8>)>>;
    fn dead_letter_failed_again(&self, id: DeadLetterId, reason: &Untrusted) -> Result<()>;
    fn drop_dead_letter(&self, id: DeadLetterId) -> Result<bool>;

    // --- writing status back -----------------------------------------------------------------
    /// Alerts with an origin whose status changed since it was last written back.
    fn writebacks(&self, source: &str, limit: usize) -> Result<Vec<Writeback>>;
    /// Written: remembers the document's new sequence numbers.
    fn writeback_done(&self, w: &Writeback, seq_no: i64, primary_term: i64) -> Result<()>;
    /// The document was changed by somebody else: noted on the timeline, the source's new numbers kept, not retried
    /// until the alert changes again.
    fn writeback_conflict(&self, w: &Writeback, seq_no: i64, primary_term: i64, what: &Untrusted) -> Result<()>;

    // --- requests ----------------------------------------------------------------------------
    fn add_request(&self, request: &Request) -> Result<()>;
    fn request(&self, id: &RequestId) -> Result<Option<Request>>;
    /// Newest first.
    fn requests(&self, states: &[RequestState], limit: usize) -> Result<Vec<Request>>;
    /// Replaces the request if its stored `rev` is `request.rev`, and adds one to it. Else `Conflict`.
    fn update_request(&self, request: &Request) -> Result<Request>;
    /// Single use: moves `Approved` to `Executing` in one transaction if the digest is still this one, the kill
    /// switch is off and `execute_by` is not past. `Conflict` says which of these failed.
    fn begin_execution(&self, id: &RequestId, digest: &str, executor: &PersonId, now: Timestamp) -> Result<Request>;
    fn put_receipt(&self, id: &RequestId, receipt: &Receipt) -> Result<()>;
    /// Starts of this action (of any) since a time, for rate caps: of all targets, or of this one.
    fn execution_count(&self, action: Option<&str>, target: Option<&str>, since: Timestamp) -> Result<u64>;

    // --- switches ----------------------------------------------------------------------------
    /// The kill switch: who set it and when, if it is on.
    fn kill_switch(&self) -> Result<Option<(PersonId, Timestamp)>>;
    fn set_kill_switch(&self, on: Option<(&PersonId, Timestamp)>) -> Result<()>;

    // --- the desk's own events -----------------------------------------------------------------
    /// Counted after `from`, up to and with `until`, oldest first; minutes without any are left out. What takes time is
    /// good when it took `within` at most, and counts when it was done; what is late counts as bad from the moment its
    /// time ran out, whether it was done later or is still open.
    fn own_events(
        &self,
        sli: DeskSli,
        within: SignedDuration,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<OwnEvents>>;

    // --- documents and series of the platform's health ------------------------------------------
    fn doc(&self, kind: &str, key: &str) -> Result<Option<Doc>>;
    /// By key.
    fn docs(&self, kind: &str, limit: usize) -> Result<Vec<Doc>>;
    /// Writes if the stored `rev` is this one; 0: if there is none yet. Answers with the new one. Else `Conflict`.
    fn put_doc(&self, kind: &str, key: &str, body: &str, rev: u64, now: Timestamp) -> Result<u64>;
    fn drop_doc(&self, kind: &str, key: &str) -> Result<bool>;
    /// Adds one; the same time of the same series again is kept as it was first. False: it was there.
    fn add_entry(&self, kind: &str, key: &str, entry: &Entry) -> Result<bool>;
    /// From (inclusive) until (exclusive), oldest first; the newest `limit` of them.
    fn entries(&self, kind: &str, key: &str, from: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<Entry>>;
    /// Keys that have entries of this kind.
    fn entry_keys(&self, kind: &str) -> Result<Vec<String>>;
    /// Forgets at most `max` entries of this kind before then. Returns how many.
    fn drop_entries(&self, kind: &str, before: Timestamp, max: usize) -> Result<usize>;
}
