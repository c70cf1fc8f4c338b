//! The state in the store: one document a rollout, compared and set, so that two processes never count the same time.

use jiff::Timestamp;

use super::{Facts, StagePlan, StageState, advance};
use crate::model::rollout::{Advice, RolloutId};
use crate::store::Store;
use crate::store::StoreError;

const KIND: &str = "stage";

/// The state as it is kept, with its revision number; 0 when there is none.
pub fn read(store: &dyn Store, id: &RolloutId) -> Result<(Option<StageState>, u64), StoreError> {
    let Some(doc) = store.doc(KIND, &id.to_string())? else { return Ok((None, 0)) };
    let state =
        serde_json::from_str(&doc.body).map_err(|e| StoreError::Unreadable(format!("the stage of {id}: {e}")))?;
    Ok((Some(state), doc.rev))
}

/// Looks, and keeps what came of it. `Conflict`: another process looked in between; its look counts.
pub fn look(
    store: &dyn Store,
    id: &RolloutId,
    plan: &StagePlan,
    facts: &Facts,
    now: Timestamp,
) -> Result<(Option<StageState>, Advice), StoreError> {
    let (before, rev) = read(store, id)?;
    let (after, advice) = advance(plan, before.as_ref(), facts, now);
    if let Some(state) = &after
        && after != before
    {
        let body =
            serde_json::to_string(state).map_err(|e| StoreError::Unreadable(format!("the stage of {id}: {e}")))?;
        store.put_doc(KIND, &id.to_string(), &body, rev, now)?;
    }
    Ok((after, advice))
}
