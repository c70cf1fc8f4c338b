//! What the desk itself remembers of backups: one document each, so that one that vanishes at its source stays, with
//! when that was, and so that what was proven is kept whatever the source forgets.

use std::collections::HashMap;
use std::collections::HashSet;

use jiff::SignedDuration;
use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use super::source::Read;
use super::source::Schedule;
use super::source::opensearch::Verified;
use crate::model::backup::Backup;
use crate::model::backup::BackupPhase;
use crate::model::backup::Evidence;
use crate::model::health::SourceState;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::store;
use crate::store::Store;
use crate::text::Untrusted;

const KIND: &str = "backup";
/// Backups that are remembered in all.
const MOST: usize = 50_000;
const READING: &str = "backup-source";
/// Sources whose readings are kept.
const SOURCES: usize = 1_000;

/// The newest reading of a source but for its backups, which have documents of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub at: Timestamp,
    pub state: SourceState,
    pub schedules: Vec<Schedule>,
    /// `opensearch`: when its repository was last written to, and what came of it.
    pub verified: Option<Verified>,
}

/// The newest reading of each source, with the revision of each.
pub fn readings(store: &dyn Store) -> store::Result<HashMap<String, (Reading, u64)>> {
    let docs = store.docs(READING, SOURCES)?;
    Ok(docs.into_iter().filter_map(|d| Some((d.key, (serde_json::from_str(&d.body).ok()?, d.rev)))).collect())
}

/// Keeps a reading. One that somebody else made meanwhile stands: it is as new.
pub fn keep_reading(store: &dyn Store, source: &str, reading: &Reading, rev: u64, now: Timestamp) -> store::Result<()> {
    let body = serde_json::to_string(reading).map_err(|e| store::StoreError::Unreadable(e.to_string()))?;
    match store.put_doc(READING, source, &body, rev, now) {
        Ok(_) | Err(store::StoreError::Conflict(_)) => Ok(()),
        Err(e) => Err(e),
    }
}

/// What another process read, as it counts now: a reading older than `fresh` speaks of the past only.
pub fn recall(
    source: &str,
    kind: &str,
    reading: Option<&Reading>,
    backups: &[Backup],
    fresh: SignedDuration,
    now: Timestamp,
) -> Read {
    let mut read = Read {
        backups: backups.iter().filter(|b| b.source == source).cloned().collect(),
        schedules: Vec::new(),
        state: SourceState {
            name: source.into(),
            kind: kind.into(),
            state: SourceWord::Starting,
            detail: Untrusted::new("not read yet"),
            last_good: None,
            next_try: None,
        },
    };
    let stale = match reading {
        None => true,
        Some(reading) => {
            read.schedules = reading.schedules.clone();
            read.state = reading.state.clone();
            let age = now.duration_since(reading.at);
            let stale = age > fresh || age < -fresh;
            if stale && read.state.state == SourceWord::Live {
                read.state.state = SourceWord::Lost;
                read.state.detail = Untrusted::new(format!("stale: last read at {:.0}", reading.at));
            }
            stale
        }
    };
    if stale {
        for b in read.backups.iter_mut().filter(|b| b.gone_since.is_none()) {
            b.location_reachable = b.location_reachable.and(Tri::Unknown);
        }
    }
    read
}

/// `SOURCE/ID`.
pub fn key(source: &str, id: &str) -> String {
    format!("{source}/{id}")
}

/// Everything remembered, with the revision of each; documents that cannot be read are left out.
pub fn remembered(store: &dyn Store) -> store::Result<Vec<(Backup, u64)>> {
    let docs = store.docs(KIND, MOST)?;
    Ok(docs.into_iter().filter_map(|d| Some((serde_json::from_str(&d.body).ok()?, d.rev))).collect())
}

/// The [`key`] of everything remembered.
pub fn keys(store: &dyn Store) -> store::Result<HashSet<String>> {
    Ok(store.docs(KIND, MOST)?.into_iter().map(|d| d.key).collect())
}

/// One reading laid over what is remembered of its source: what a complete reading lacks is gone, what an incomplete
/// one does not tell is not known to be reachable.
pub fn merge(source: &str, read: &Read, before: &[Backup], now: Timestamp) -> Vec<Backup> {
    let live = read.state.state == SourceWord::Live;
    let mut old: HashMap<&str, &Backup> =
        before.iter().filter(|b| b.source == source).map(|b| (b.id.as_str(), b)).collect();
    let mut out: Vec<Backup> = Vec::with_capacity(read.backups.len());
    let mut replaced = Vec::new();
    for b in &read.backups {
        let mut b = b.clone();
        if let Some(old) = old.remove(b.id.as_str()) {
            b.held = old.held.clone();
            if is_same_run(&b, old) {
                keep_evidence(&mut b, old);
            } else if let Some(was) = former(old, now) {
                replaced.push(was);
            }
        }
        out.push(b);
    }
    // One whose name was used again and again has a document each.
    replaced.retain(|b| !old.contains_key(b.id.as_str()));
    out.extend(replaced);
    let mut rest: Vec<&Backup> = old.into_values().collect();
    rest.sort_by(|a, b| a.id.cmp(&b.id));
    out.extend(rest.into_iter().map(|old| {
        let mut b = old.clone();
        if live {
            b.gone_since = b.gone_since.or(Some(now));
        } else if b.gone_since.is_none() {
            b.location_reachable = b.location_reachable.and(Tri::Unknown);
        }
        b
    }));
    out
}

/// Evidence speaks of one run. Another one under the same name began at another time; of one whose beginning is not told
/// it cannot be said, and it is not assumed.
fn is_same_run(b: &Backup, old: &Backup) -> bool {
    b.start.is_some() && b.start == old.start
}

/// What a run that lost its name to another one proved: it stays as one that is gone, under its name and its beginning.
fn former(old: &Backup, now: Timestamp) -> Option<Backup> {
    let start = old.start.filter(|_| !old.evidence.is_empty())?;
    Some(Backup { id: format!("{}@{start}", old.id), gone_since: Some(old.gone_since.unwrap_or(now)), ..old.clone() })
}

fn keep_evidence(b: &mut Backup, old: &Backup) {
    let same = |a: &Evidence, e: &Evidence| (a.what, a.at, &a.reference) == (e.what, e.at, &e.reference);
    for e in &old.evidence {
        if !b.evidence.iter().any(|a| same(a, e)) {
            b.evidence.push(e.clone());
        }
    }
    b.evidence.sort_by_key(|e| e.at);
}

/// Writes what changed. One that somebody else changed meanwhile is left to the next round.
pub fn remember(
    store: &dyn Store,
    merged: &[Backup],
    before: &[(Backup, u64)],
    now: Timestamp,
) -> store::Result<usize> {
    let known: HashMap<(&str, &str), &(Backup, u64)> =
        before.iter().map(|e| ((e.0.source.as_str(), e.0.id.as_str()), e)).collect();
    let mut written = 0;
    for b in merged {
        let old = known.get(&(b.source.as_str(), b.id.as_str()));
        if old.is_some_and(|o| o.0 == *b) {
            continue;
        }
        let Ok(body) = serde_json::to_string(b) else { continue };
        match store.put_doc(KIND, &key(&b.source, &b.id), &body, old.map_or(0, |o| o.1), now) {
            Ok(_) => written += 1,
            Err(store::StoreError::Conflict(_)) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(written)
}

/// Changes one remembered backup. `None`: it is not remembered.
pub fn change(
    store: &dyn Store,
    source: &str,
    id: &str,
    now: Timestamp,
    change: impl FnOnce(&mut Backup),
) -> store::Result<Option<Backup>> {
    let key = key(source, id);
    let Some(doc) = store.doc(KIND, &key)? else { return Ok(None) };
    let Ok(mut backup) = serde_json::from_str::<Backup>(&doc.body) else { return Ok(None) };
    change(&mut backup);
    let body = serde_json::to_string(&backup).map_err(|e| store::StoreError::Unreadable(e.to_string()))?;
    store.put_doc(KIND, &key, &body, doc.rev, now)?;
    Ok(Some(backup))
}

/// A backup that ended well enough to be worth holding.
pub fn can_be_held(b: &Backup) -> bool {
    b.gone_since.is_none() && !matches!(b.phase, BackupPhase::Failed | BackupPhase::Deleting)
}
