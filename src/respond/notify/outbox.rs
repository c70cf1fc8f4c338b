//! What is still to be told, kept in the store: one queue a notifier, its dead letters, and how it goes.
//!
//! Documents: `notify.out/NAME` by `0-SEQ` (urgent) or `1-SEQ`, so that the order of keys is the order of sending;
//! `notify.dead/NAME` likewise; `notify.made/NAME` by thread; `notify.state` by name.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::happening::{Bulletin, Urgency};
use crate::store::{Doc, Result, Store, StoreError};

/// Most that wait for one notifier; then the oldest that is not urgent is given up.
pub const QUEUE: usize = 2_000;
/// Dead letters kept of one notifier.
pub const DEAD: usize = 500;
/// Things made elsewhere that are remembered of one notifier.
const MADE: usize = 2_000;

const STATE: &str = "notify.state";

fn out(name: &str) -> String {
    format!("notify.out/{name}")
}

fn dead(name: &str) -> String {
    format!("notify.dead/{name}")
}

fn made_of(name: &str) -> String {
    format!("notify.made/{name}")
}

/// One bulletin for one notifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub bulletin: Bulletin,
    pub tries: u32,
    /// Not before.
    pub next: Timestamp,
    /// What went wrong last.
    pub last: String,
}

/// How it goes with one notifier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub sent: u64,
    /// Tries in a row that failed.
    pub failing: u32,
    /// Given up after too many tries, or refused by the receiver.
    pub dead: u64,
    /// Given up because too many waited.
    pub dropped: u64,
    pub last_sent: Option<Timestamp>,
    pub last_error: Option<(Timestamp, String)>,
    /// Nothing but what is urgent is tried before.
    pub not_before: Option<Timestamp>,
}

/// Queues it; once, however often it is asked for. `seq`: its record in the audit log.
pub fn put(store: &dyn Store, name: &str, seq: u64, bulletin: &Bulletin, now: Timestamp) -> Result<()> {
    let kind = out(name);
    let waiting = store.docs(&kind, QUEUE + 1)?;
    if waiting.len() >= QUEUE {
        let victim = waiting.iter().find(|d| d.key.starts_with('1')).or(waiting.first());
        if let Some(victim) = victim {
            store.drop_doc(&kind, &victim.key)?;
            change(store, name, now, |s| s.dropped += 1)?;
        }
    }
    let urgent = bulletin.what.urgency() == Urgency::Critical;
    let key = format!("{}-{seq:020}", if urgent { 0 } else { 1 });
    let w = Waiting { bulletin: bulletin.clone(), tries: 0, next: now, last: String::new() };
    match store.put_doc(&kind, &key, &json(&w)?, 0, now) {
        Ok(_) | Err(StoreError::Conflict(_)) => Ok(()),
        Err(e) => Err(e),
    }
}

fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| StoreError::Unavailable(e.to_string()))
}

/// In the order of sending, with their keys. One that cannot be read any more is let go.
pub fn waiting(store: &dyn Store, name: &str, limit: usize) -> Result<Vec<(Doc, Waiting)>> {
    read(store, &out(name), limit)
}

pub fn dead_letters(store: &dyn Store, name: &str, limit: usize) -> Result<Vec<(Doc, Waiting)>> {
    read(store, &dead(name), limit)
}

fn read(store: &dyn Store, kind: &str, limit: usize) -> Result<Vec<(Doc, Waiting)>> {
    let mut all = Vec::new();
    for doc in store.docs(kind, limit)? {
        match serde_json::from_str(&doc.body) {
            Ok(w) => all.push((doc, w)),
            Err(e) => {
                tracing::warn!(error = %e, kind, key = doc.key, "a bulletin that cannot be read is let go");
                store.drop_doc(kind, &doc.key)?;
            }
        }
    }
    Ok(all)
}

/// It was told.
pub fn sent(store: &dyn Store, name: &str, doc: &Doc, now: Timestamp) -> Result<()> {
    store.drop_doc(&doc.kind, &doc.key)?;
    change(store, name, now, |s| {
        s.sent += 1;
        s.failing = 0;
        s.last_sent = Some(now);
        s.not_before = None;
    })
}

/// This kind of receiver has nothing to hear of it.
pub fn skip(store: &dyn Store, doc: &Doc) -> Result<()> {
    store.drop_doc(&doc.kind, &doc.key).map(drop)
}

/// It did not arrive, and is tried again then.
pub fn failed(store: &dyn Store, name: &str, doc: &Doc, w: &Waiting, now: Timestamp) -> Result<()> {
    match store.put_doc(&doc.kind, &doc.key, &json(w)?, doc.rev, now) {
        // Another process told it or tried it meanwhile.
        Ok(_) | Err(StoreError::Conflict(_)) => {}
        Err(e) => return Err(e),
    }
    change(store, name, now, |s| {
        s.failing += 1;
        s.last_error = Some((now, w.last.clone()));
        s.not_before = Some(w.next);
    })
}

/// It never will.
pub fn give_up(store: &dyn Store, name: &str, doc: &Doc, w: &Waiting, now: Timestamp) -> Result<()> {
    let kind = dead(name);
    let old = store.docs(&kind, DEAD + 1)?;
    if old.len() >= DEAD
        && let Some(first) = old.first()
    {
        store.drop_doc(&kind, &first.key)?;
    }
    match store.put_doc(&kind, &doc.key, &json(w)?, 0, now) {
        Ok(_) | Err(StoreError::Conflict(_)) => {}
        Err(e) => return Err(e),
    }
    store.drop_doc(&doc.kind, &doc.key)?;
    change(store, name, now, |s| {
        s.dead += 1;
        s.failing += 1;
        s.last_error = Some((now, w.last.clone()));
    })
}

/// Dead letters wait again. Returns how many.
pub fn revive(store: &dyn Store, name: &str, now: Timestamp) -> Result<usize> {
    let mut n = 0;
    for (doc, w) in dead_letters(store, name, DEAD)? {
        let again = Waiting { tries: 0, next: now, ..w };
        match store.put_doc(&out(name), &doc.key, &json(&again)?, 0, now) {
            Ok(_) | Err(StoreError::Conflict(_)) => {}
            Err(e) => return Err(e),
        }
        store.drop_doc(&doc.kind, &doc.key)?;
        n += 1;
    }
    change(store, name, now, |s| s.not_before = None)?;
    Ok(n)
}

/// What the receiver called the thing it made for a thread.
pub fn made(store: &dyn Store, name: &str, thread: &str) -> Result<Option<String>> {
    Ok(store.doc(&made_of(name), thread)?.map(|d| d.body))
}

pub fn remember(store: &dyn Store, name: &str, thread: &str, what: &str, now: Timestamp) -> Result<()> {
    let kind = made_of(name);
    let old = store.docs(&kind, MADE + 1)?;
    if old.len() >= MADE
        && let Some(oldest) = old.iter().min_by_key(|d| d.at)
    {
        store.drop_doc(&kind, &oldest.key)?;
    }
    let rev = store.doc(&kind, thread)?.map_or(0, |d| d.rev);
    store.put_doc(&kind, thread, what, rev, now).map(drop)
}

pub fn forget(store: &dyn Store, name: &str, thread: &str) -> Result<()> {
    store.drop_doc(&made_of(name), thread).map(drop)
}

pub fn state(store: &dyn Store, name: &str) -> Result<State> {
    let doc = store.doc(STATE, name)?;
    Ok(doc.and_then(|d| serde_json::from_str(&d.body).ok()).unwrap_or_default())
}

fn change(store: &dyn Store, name: &str, now: Timestamp, change: impl Fn(&mut State)) -> Result<()> {
    let mut tries = 0;
    loop {
        let doc = store.doc(STATE, name)?;
        let mut state: State = doc.as_ref().and_then(|d| serde_json::from_str(&d.body).ok()).unwrap_or_default();
        change(&mut state);
        match store.put_doc(STATE, name, &json(&state)?, doc.map_or(0, |d| d.rev), now) {
            Err(StoreError::Conflict(_)) if tries < 8 => tries += 1,
            done => return done.map(drop),
        }
    }
}
