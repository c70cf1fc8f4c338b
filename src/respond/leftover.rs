//! What a drill left behind because its executor was killed is removed by whoever comes next.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::json;

use super::execute::{opensearch, steps::Ended, velero};
use super::propose::lost;
use super::{Responder, Result};
use crate::model::action::{ActionDef, Executor, Request, SnapshotVerb, VeleroVerb};
use crate::model::health::Tri;
use crate::model::recovery::{CLEANUP, Step};
use crate::text::Untrusted;

/// Kind of its audit record.
const CLEANED: &str = "drill.cleanup";

/// Whether an action is a drill: what it makes is removed again.
pub fn is_drill(def: &ActionDef) -> bool {
    matches!(
        def.executor,
        Executor::Velero { verb: VeleroVerb::Drill, .. }
            | Executor::OpensearchSnapshot { verb: SnapshotVerb::Drill, .. }
    )
}

impl Responder {
    /// Removes what an ended drill made and left behind: only what carries its mark or its name. It is part of what was
    /// approved, and recorded. The step says how it went.
    pub async fn clean_up(&self, request: &Request, now: Timestamp) -> Result<Step> {
        let body = &request.body;
        let def = self.catalogue().iter().find(|d| d.name == body.action).cloned();
        let started = Instant::now();
        let ended: Ended = match def.map(|d| d.executor) {
            Some(Executor::Velero { verb: VeleroVerb::Drill, .. }) => {
                velero::clean_up(body, &self.inner.clusters).await
            }
            Some(Executor::OpensearchSnapshot { verb: SnapshotVerb::Drill, access }) => {
                opensearch::drill::clean_up(body, &access, &self.inner.secrets).await
            }
            _ => Err((Tri::Unknown, format!("{} is no drill of the catalogue any more", body.action))),
        };
        let (outcome, said) = match ended {
            Ok(said) => (Tri::Pass, said),
            Err(other) => other,
        };
        let seconds = started.elapsed().as_secs_f64();
        let step = Step { name: CLEANUP.into(), outcome, seconds, said: Untrusted::new(said) };
        let record = json!({ "digest": request.digest, "outcome": outcome, "said": step.said });
        let (audit, id) = (self.inner.audit.clone(), body.id.clone());
        let kept = tokio::task::spawn_blocking(move || audit.append(None, CLEANED, Some(id.as_str()), record, now));
        kept.await.map_err(lost)??;
        Ok(step)
    }
}
