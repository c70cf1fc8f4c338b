//! What the desk itself remembers of backups: one document each, so that one that vanishes at its source stays, with
//! when that was, and so that what was proven is kept whatever the source forgets.

use std::collections::HashMap;

use jiff::Timestamp;

use super::source::Read;
use crate::model::backup::Backup;
use crate::model::backup::BackupPhase;
use crate::model::backup::Evidence;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::store;
use crate::store::Store;

const KIND: &str = "backup";
/// Backups that are remembered in all.
const MOST: usize = 50_000;

/// `SOURCE/ID`.
pub fn key(source: &str, id: &str) -> String {
    format!("{source}/{id}")
}

/// Everything remembered, with the revision of each; documents that cannot be read are left out.
pub fn remembered(store: &dyn Store) -> store::Result<Vec<(Backup, u64)>> {
    let docs = store.docs(KIND, MOST)?;
    Ok(docs.into_iter().filter_map(|d| Some((serde_json::from_str(&d.body).ok()?, d.rev))).collect())
}

/// One reading laid over what is remembered of its source: what a complete reading lacks is gone, what an incomplete
/// one does not tell is not known to be reachable.
pub fn merge(source: &str, read: &Read, before: &[Backup], now: Timestamp) -> Vec<Backup> {
    let live = read.state.state == SourceWord::Live;
    let mut old: HashMap<&str, &Backup> =
        before.iter().filter(|b| b.source == source).map(|b| (b.id.as_str(), b)).collect();
    let mut out: Vec<Backup> = read
        .backups
        .iter()
        .map(|b| {
            let mut b = b.clone();
            if let Some(old) = old.remove(b.id.as_str()) {
                b.held = old.held.clone();
                keep_evidence(&mut b, old);
            }
            b
        })
        .collect();
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

/// Evidence speaks of one run: that of another run under the same name (it began at another time) is not taken over.
fn keep_evidence(b: &mut Backup, old: &Backup) {
    let other_run = matches!((b.start, old.start), (Some(a), Some(o)) if a != o);
    if other_run {
        return;
    }
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
