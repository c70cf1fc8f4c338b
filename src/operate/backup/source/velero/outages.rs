//! When locations were last seen away: kept, for Velero's own objects forget it once a location is back.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::store;
use crate::store::Store;

const KIND: &str = "velero-outages";

/// By location, with the revision it was read at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outages {
    pub seen: BTreeMap<String, Timestamp>,
    rev: u64,
}

/// Those of a source.
pub fn known(store: &dyn Store, source: &str) -> store::Result<Outages> {
    let Some(doc) = store.doc(KIND, source)? else { return Ok(Outages::default()) };
    Ok(Outages { seen: serde_json::from_str(&doc.body).unwrap_or_default(), rev: doc.rev })
}

/// Keeps them. What another process noted meanwhile is left as it is.
pub fn keep(store: &dyn Store, source: &str, outages: &Outages, now: Timestamp) -> store::Result<()> {
    let body = serde_json::to_string(&outages.seen).map_err(|e| store::StoreError::Unreadable(e.to_string()))?;
    match store.put_doc(KIND, source, &body, outages.rev, now) {
        Ok(_) | Err(store::StoreError::Conflict(_)) => Ok(()),
        Err(e) => Err(e),
    }
}
