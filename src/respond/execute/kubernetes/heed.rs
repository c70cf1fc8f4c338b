//! Whether Argo's controller heeds an abort.
//!
//! The controller writes the status, too. An abort that comes between its reading and its writing can be overwritten,
//! or be there without being acted on until the controller looks again by itself (every 15 minutes). So an abort is
//! done when the controller says since when (`status.abortedAt`), not when the cluster has taken the patch.

use std::time::Duration;

use serde_json::Value;

use super::Kind;
use super::Ready;
use super::api;
use super::in_time;

/// A controller at work needs less than a second.
const WAIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heed {
    /// The controller aborts, or has nothing left to abort.
    Taken,
    /// The mark is gone before the controller saw it: to be sent again.
    Lost,
    /// The mark is there, and nothing was made of it.
    Waits,
}

/// What a reading of the rollout says.
fn heed(rollout: &Value) -> Heed {
    let status = |field: &str| rollout.pointer("/status").and_then(|s| s.get(field));
    let marked = status("abort").and_then(Value::as_bool).unwrap_or(false);
    let since = status("abortedAt").is_some_and(|at| !at.is_null());
    match (marked, since) {
        (_, true) => Heed::Taken,
        (false, false) => Heed::Lost,
        (true, false) => Heed::Waits,
    }
}

/// Looks until the controller has acted, or the mark is lost, or it takes too long. A reading that fails is no answer.
pub(super) async fn watch(r: &Ready<'_>, client: &kube::Client) -> Heed {
    let look = async {
        loop {
            if let Ok(object) = in_time(api(client, r.at.namespace, Kind::Rollout).get(r.at.name)).await {
                match heed(&serde_json::to_value(&object).unwrap_or(Value::Null)) {
                    Heed::Waits => {}
                    known => return known,
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(WAIT, look).await.unwrap_or(Heed::Waits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_abort_is_done_when_the_controller_says_since_when() {
        let of = |status: Value| heed(&json!({ "status": status }));
        assert_eq!(of(json!({ "abort": true, "abortedAt": "2026-11-21T20:00:00Z" })), Heed::Taken);
        assert_eq!(of(json!({ "abort": true })), Heed::Waits);
        assert_eq!(of(json!({ "abort": true, "abortedAt": null })), Heed::Waits);
        assert_eq!(of(json!({ "phase": "Progressing" })), Heed::Lost);
        assert_eq!(heed(&json!({})), Heed::Lost);
    }
}
