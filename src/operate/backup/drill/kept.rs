//! Reports of drills: one document each, by the request.

use jiff::Timestamp;

use crate::model::backup::Backup;
use crate::model::backup::Evidence;
use crate::model::ids::RequestId;
use crate::model::recovery::DrillReport;
use crate::operate::backup::history;
use crate::store;
use crate::store::Store;

const KIND: &str = "drill-report";
/// Reports that are read.
const MOST: usize = 5_000;

/// All of them, newest first.
pub fn all(store: &dyn Store) -> store::Result<Vec<DrillReport>> {
    let docs = store.docs(KIND, MOST)?;
    let mut all: Vec<DrillReport> = docs.into_iter().filter_map(|d| serde_json::from_str(&d.body).ok()).collect();
    all.sort_by(|a, b| b.ended.cmp(&a.ended).then_with(|| b.request.as_str().cmp(a.request.as_str())));
    Ok(all)
}

pub fn one(store: &dyn Store, id: &RequestId) -> store::Result<Option<(DrillReport, u64)>> {
    let Some(doc) = store.doc(KIND, id.as_str())? else { return Ok(None) };
    Ok(serde_json::from_str(&doc.body).ok().map(|r| (r, doc.rev)))
}

/// Writes it over the one of revision `rev` (0: there is none yet). False: somebody else was quicker.
pub fn keep(store: &dyn Store, report: &DrillReport, rev: u64, now: Timestamp) -> store::Result<bool> {
    let body = serde_json::to_string(report).map_err(|e| store::StoreError::Unreadable(e.to_string()))?;
    match store.put_doc(KIND, report.request.as_str(), &body, rev, now) {
        Ok(_) => Ok(true),
        Err(store::StoreError::Conflict(_)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Adds what a drill proved to the backup as it is remembered, once. `None`: it is not remembered, or another process
/// is just writing it: to be tried again.
pub fn prove(
    store: &dyn Store,
    source: &str,
    backup: &str,
    evidence: &Evidence,
    now: Timestamp,
) -> store::Result<Option<Backup>> {
    let add = |b: &mut Backup| {
        if !b.evidence.iter().any(|e| e.what == evidence.what && e.reference == evidence.reference) {
            b.evidence.push(evidence.clone());
            b.evidence.sort_by_key(|e| e.at);
        }
    };
    match history::change(store, source, backup, now, add) {
        Err(store::StoreError::Conflict(_)) => Ok(None),
        other => other,
    }
}
