//! What every [`Store`] must do. Run by each implementation's tests: `conformance::all(&|| Box::new(...))` wants a new,
//! empty store each time it asks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is a test suite; it is no test of this crate alone, so the lint does not see that"
)]

mod acts;
mod docs;
mod intake;
mod own;
mod races;
mod reading;
mod requests;
mod side;
mod triage;

use jiff::Timestamp;

use super::{Ingested, Store};
use crate::model::alert::{Alert, AlertFields, NewAlert};
use crate::model::ids::{AlertId, PersonId};
use crate::model::query::{self, Page, Query, SortKey};
use crate::model::severity::Severity;

/// Makes a new, empty store.
pub type Make<'a> = &'a dyn Fn() -> Box<dyn Store>;

/// What must be so, and what finds out.
type Check = (&'static str, fn(Make<'_>));

/// Every check there is, by name.
pub const CHECKS: &[Check] = &[
    ("an alert comes back as it was given", intake::round_trip),
    ("repeats are counted and their bytes kept", intake::repeats),
    ("a document read twice is one alert once", intake::same_document),
    ("a repeat after close is on the timeline", intake::repeat_after_close),
    ("checkpoints and dead letters come with their batch", intake::checkpoints_and_dead_letters),
    ("changes since a revision", intake::changes),
    ("pages hold every match once, in order", reading::pages),
    ("counts, caps and positions", reading::counts_and_positions),
    ("queries over what people did", reading::queries_over_state),
    ("related alerts and past dispositions", reading::related_and_past),
    ("claim, release, assign", acts::holding),
    ("close and reopen", acts::closing),
    ("snooze and wake", acts::snoozing),
    ("merge and detach", acts::cases),
    ("notes and priorities", acts::notes_and_priorities),
    ("undo once, newest first, not over others' changes", acts::undoing),
    ("a bulk act names each alert once", acts::bulk),
    ("verdicts raise and change nothing else", acts::verdicts),
    ("containment", acts::containment),
    ("documents change only from the revision that was read", docs::documents),
    ("series grow, are read by time, and forget what is old", docs::series),
    ("what people took is counted by the minute, late from when time ran out", own::people),
    ("what machines took is counted, and what they did not answer", own::machines),
    ("exchanges are kept whole, and dropped when old", triage::exchanges),
    ("reviews and answers change nothing else", triage::reviews_and_answers),
    ("agreement: reviews first, then closings, no fallbacks", triage::agreement),
    ("statistics of verdicts", triage::stats),
    ("the triage queue: P0, then risk, then age", triage::order),
    ("queued once, done once", triage::once),
    ("leases end, and come back", triage::leases),
    ("what is moot leaves the queue", triage::moot),
    ("auto-triage keeps to its hourly budget", triage::budget),
    ("bulk progress and cancel", triage::bulk),
    ("a held queue says why", triage::held),
    ("eight workers share a queue", triage::race),
    ("views", side::views),
    ("suppressions hide and give back", side::suppressions),
    ("dead letters: retry and drop", side::dead_letters),
    ("writing status back", side::writebacks),
    ("requests are replaced only at their revision", requests::compare_and_set),
    ("execution begins once, and only as approved", requests::begin_once),
    ("the kill switch stops execution", requests::kill_switch),
    ("receipts and rate counts", requests::receipts_and_counts),
    ("eight claim one alert", races::claims),
    ("eight replace one request", races::updates),
    ("eight begin one execution", races::executions),
    ("eight bring the same batch", races::ingests),
];

/// Runs every check.
///
/// # Panics
/// At the first thing that is not as it must be.
pub fn all(make: Make<'_>) {
    for (name, check) in CHECKS {
        let _running = Running(name);
        check(make);
    }
}

/// Names the check that failed.
struct Running(&'static str);

impl Drop for Running {
    fn drop(&mut self) {
        use std::io::Write as _;
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "store conformance: not so: {}", self.0);
        }
    }
}

/// A fixed time, and seconds after it.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn who(name: &str) -> PersonId {
    PersonId::new(name).unwrap()
}

/// The `n`th of many different alerts.
pub fn sample(n: u32) -> NewAlert {
    use sha2::Digest as _;
    let raw = format!("{{\"n\":{n},\"text\":\"Record {n} of this suite\"}}").into_bytes();
    let raw_sha256: [u8; 32] = sha2::Sha256::digest(&raw).into();
    let mut identity = [7; 16];
    identity[..4].copy_from_slice(&n.to_be_bytes());
    NewAlert {
        fields: AlertFields {
            title: format!("Sample {n}").into(),
            rule_id: Some(format!("{}", 100 + n % 3).into()),
            severity: Severity::ALL[n as usize % 7],
            host: Some(format!("web-{}", n % 4).into()),
            user: n.is_multiple_of(2).then(|| "bob".into()),
            ..AlertFields::default()
        },
        format: "wazuh".into(),
        source: "file:/var/log/alerts.json".into(),
        raw,
        raw_sha256,
        identity,
        group: [n as u8 % 5; 16],
        suppressed_by: None,
        asset_weight: 100,
        origin: None,
    }
}

/// A store with these samples, one second apart, and their ids.
fn filled(make: Make<'_>, n: u32) -> (Box<dyn Store>, Vec<AlertId>) {
    let store = make();
    let ids = (0..n).map(|i| put(&*store, &sample(i), i64::from(i))).collect();
    (store, ids)
}

fn put(store: &dyn Store, alert: &NewAlert, seconds: i64) -> AlertId {
    match store.ingest(std::slice::from_ref(alert), &[], None, at(seconds)).unwrap().as_slice() {
        [Ingested::New(id)] => *id,
        other => panic!("not new: {other:?}"),
    }
}

fn get(store: &dyn Store, id: AlertId) -> Alert {
    store.alert(id).unwrap().unwrap()
}

fn q(text: &str) -> Query {
    query::parse(text, None).unwrap()
}

/// Ids that match, in order of risk.
fn found(store: &dyn Store, text: &str, now: i64) -> Vec<AlertId> {
    let rows = store.rows(&q(text), SortKey::Risk, Page::First, 100_000, at(now)).unwrap();
    rows.into_iter().map(|r| r.id).collect()
}
