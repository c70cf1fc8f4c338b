//! Status, owner and disposition, written into the source document under `watchfloor`.
//!
//! An update is made only on the document as we know it (`if_seq_no`, `if_primary_term`). When somebody else changed it
//! meanwhile, that is noted on the alert's timeline and nothing is overwritten.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Tail;
use super::client::{Client, Numbers, Updated};
use super::core::Which;
use super::fault::Fault;
use super::window::Key;
use crate::model::Timestamp;
use crate::store::Writeback;

/// Documents updated between two polls.
const AT_ONCE: usize = 200;
/// How long a missing right is left alone.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct State {
    note: Option<String>,
    not_before: Option<Instant>,
}

impl State {
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }
}

impl Tail {
    /// Writes what is waiting. A missing right is told and tried again later, while the tail goes on.
    pub(super) async fn write_back(&mut self, client: &Client) -> Result<(), Fault> {
        if self.back.not_before.is_some_and(|t| t > Instant::now()) {
            return Ok(());
        }
        let source = self.name.clone();
        let waiting = self.stored(move |store| store.writebacks(&source, AT_ONCE)).await?;
        for w in waiting {
            match self.write_one(client, &w).await {
                Ok(()) => {}
                Err(fault @ (Fault::Forbidden { .. } | Fault::Server { .. } | Fault::Busy(_))) => {
                    self.back.note = Some(fault.to_string());
                    self.back.not_before = Some(Instant::now() + PATIENCE);
                    return Ok(());
                }
                Err(other) => return Err(other),
            }
        }
        self.back = State::default();
        Ok(())
    }

    async fn write_one(&mut self, client: &Client, w: &Writeback) -> Result<(), Fault> {
        let at = Numbers { seq_no: w.origin.seq_no, primary_term: w.origin.primary_term };
        let (index, id) = (w.origin.index.as_str(), w.origin.doc_id.as_str());
        let ours = ours(w);
        match client.update(index, id, &at, json!({ "watchfloor": ours })).await? {
            Updated::Done(now) => self.done(w, now).await,
            Updated::Gone => self.conflict(w, at, "the document is gone".into()).await,
            Updated::Refused(why) => self.conflict(w, at, format!("the cluster does not take it: {why}")).await,
            Updated::Conflict => match client.get(index, id).await? {
                // Written by us before a crash kept us from noting it.
                Some((now, there)) if same(&there, &ours) => self.done(w, now).await,
                Some((now, there)) => {
                    let what = format!(
                        "the document was changed by somebody else (sequence number {}, expected {}){}",
                        now.seq_no,
                        at.seq_no,
                        theirs(&there, &ours)
                    );
                    self.conflict(w, now, what).await
                }
                None => self.conflict(w, at, "the document is gone".into()).await,
            },
        }
    }

    async fn done(&mut self, w: &Writeback, now: Numbers) -> Result<(), Fault> {
        let key = Key::of(&w.origin.index, &w.origin.doc_id);
        let w = w.clone();
        let Numbers { seq_no, primary_term } = now;
        self.stored(move |store| store.writeback_done(&w, seq_no, primary_term)).await?;
        self.with_core(move |core| {
            for which in [Which::Timed, Which::Untimed] {
                core.window(which).renumber(&key, primary_term, seq_no);
            }
            Ok(())
        })
        .await
    }

    async fn conflict(&mut self, w: &Writeback, now: Numbers, what: String) -> Result<(), Fault> {
        tracing::warn!(source = %self.name, alert = w.alert.0, "status not written back: the document changed");
        let w = w.clone();
        self.stored(move |store| store.writeback_conflict(&w, now.seq_no, now.primary_term, &what.into())).await
    }

    async fn stored<T: Send + 'static>(
        &self,
        f: impl FnOnce(&dyn crate::store::Store) -> crate::store::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let store = std::sync::Arc::clone(self.pipeline.store());
        let task = tokio::task::spawn_blocking(move || f(store.as_ref()));
        Ok(task.await.map_err(|_| Fault::Store("writing status back failed, see the log".into()))??)
    }
}

/// The field as we write it. Absent is null, so that what was there before goes away.
fn ours(w: &Writeback) -> Value {
    json!({
        "status": w.status,
        "owner": w.owner,
        "disposition": w.disposition,
        "rev": w.rev,
        "at": Timestamp::now(),
    })
}

/// The same but for the time it was written.
fn same(there: &Value, ours: &Value) -> bool {
    ["status", "owner", "disposition", "rev"].iter().all(|k| there[k] == ours[k])
}

/// What the other side says of the status, when it says something else.
fn theirs(there: &Value, ours: &Value) -> String {
    let said: Vec<String> = ["status", "owner", "disposition"]
        .iter()
        .filter(|k| !there[**k].is_null() && there[**k] != ours[**k])
        .map(|k| format!("{k} is {}", there[*k].as_str().map_or_else(|| there[*k].to_string(), str::to_owned)))
        .collect();
    if said.is_empty() { String::new() } else { format!("; there {}", said.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_says_what_the_other_side_holds() {
        let ours = json!({ "status": "closed", "owner": "alice", "disposition": null, "rev": 4, "at": "x" });
        assert!(same(&json!({ "status": "closed", "owner": "alice", "rev": 4, "at": "y" }), &ours));
        assert!(!same(&json!({ "status": "closed", "owner": "alice", "rev": 3 }), &ours));
        assert_eq!(theirs(&json!({ "status": "claimed", "owner": "alice" }), &ours), "; there status is claimed");
        assert_eq!(theirs(&Value::Null, &ours), "");
    }
}
