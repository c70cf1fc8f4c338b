//! What the last look at each rollout came to, in the store: one document a rollout, so that every process shows the
//! same and an approval asks the newest; and each gate's value over time.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use super::stage::OVERTAKEN;
use crate::model::health::Tri;
use crate::model::rollout::Advice;
use crate::model::rollout::Gate;
use crate::model::rollout::RolloutId;
use crate::store::Entry;
use crate::store::Store;
use crate::store::StoreError;

const LAST: &str = "rollout.gates";
const VALUES: &str = "rollout.gate";

/// How many looks are shown of each gate.
const SHOWN: usize = 240;
/// Values older than this are forgotten.
const KEPT: SignedDuration = SignedDuration::from_hours(14 * 24);
const FORGET_AT_ONCE: usize = 5_000;

/// One look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub at: Timestamp,
    /// The revision it is about; `None`: not known.
    pub revision: Option<String>,
    /// Something is on its way.
    pub moving: bool,
    /// Without their histories, which are kept apart.
    pub gates: Vec<Gate>,
    pub advice: Option<Advice>,
    /// Until when going back needs no new pods, where the cluster itself does not say.
    pub fast_rollback_until: Option<Timestamp>,
    /// Blue-green: the selector's value that leads back to the old side.
    pub way_back: Option<String>,
    /// Blue-green before the switch: the Deployment of the new side, which goes when it is aborted.
    #[serde(default)]
    pub abandon: Option<String>,
    /// Pods wanted by role: `stable`, `canary`, `active`, `preview`.
    pub sizes: BTreeMap<String, u32>,
    /// Seconds after which it says nothing any more.
    pub valid: i64,
    /// A server that should have been asked could not be reached.
    pub unreachable: bool,
}

/// A gate's value at a look.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Value {
    v: Option<f64>,
    a: Tri,
}

impl Record {
    /// The worst of all gates; without any it is not known.
    pub fn answer(&self) -> Tri {
        self.gates.iter().map(|g| g.answer).reduce(Tri::and).unwrap_or(Tri::Unknown)
    }

    /// The same, where what is too old says nothing: no gate that passed then is known to pass now.
    #[must_use]
    pub fn as_of(mut self, now: Timestamp) -> Self {
        if now.duration_since(self.at) > SignedDuration::from_secs(self.valid) {
            for gate in self.gates.iter_mut().filter(|g| g.answer == Tri::Pass) {
                gate.answer = Tri::Unknown;
                gate.why = format!("last looked at {:.0}: {}", self.at, gate.why);
            }
            if let Some(advice) = self.advice.as_mut().filter(|_| self.moving) {
                *advice = Advice { verb: None, why: format!("nobody looked since {:.0}", self.at), due: None };
            }
        }
        self
    }
}

/// The newest look, with the document's revision number; 0 when there is none.
pub fn last(store: &dyn Store, id: &RolloutId) -> Result<(Option<Record>, u64), StoreError> {
    let Some(doc) = store.doc(LAST, &id.to_string())? else { return Ok((None, 0)) };
    let record =
        serde_json::from_str(&doc.body).map_err(|e| StoreError::Unreadable(format!("the last look at {id}: {e}")))?;
    Ok((Some(record), doc.rev))
}

/// Keeps a look. One that somebody else kept meanwhile stands, and so does one that began later than this: what it saw is
/// newer.
pub fn keep(store: &dyn Store, id: &RolloutId, record: &Record) -> Result<(), StoreError> {
    let unwritable = |e: serde_json::Error| StoreError::Unreadable(format!("the look at {id}: {e}"));
    let key = id.to_string();
    let kept = store.doc(LAST, &key)?;
    let newer = |old: Record| old.at > record.at && old.at.duration_since(record.at) <= OVERTAKEN;
    if kept.as_ref().and_then(|d| serde_json::from_str(&d.body).ok()).is_some_and(newer) {
        return Ok(());
    }
    let rev = kept.map_or(0, |d| d.rev);
    match store.put_doc(LAST, &key, &serde_json::to_string(record).map_err(unwritable)?, rev, record.at) {
        Ok(_) => {}
        Err(StoreError::Conflict(_)) => return Ok(()),
        Err(e) => return Err(e),
    }
    if record.moving {
        let values: BTreeMap<&str, Value> =
            record.gates.iter().map(|g| (g.name.as_str(), Value { v: g.canary, a: g.answer })).collect();
        let body = serde_json::to_string(&values).map_err(unwritable)?;
        store.add_entry(VALUES, &key, &Entry { at: record.at, body })?;
    }
    Ok(())
}

/// Fills in what each gate measured before, oldest first.
pub fn histories(store: &dyn Store, id: &RolloutId, gates: &mut [Gate], now: Timestamp) -> Result<(), StoreError> {
    let from = now.checked_sub(KEPT).unwrap_or(now);
    let until = now.checked_add(SignedDuration::from_mins(1)).unwrap_or(now);
    let mut all: BTreeMap<String, Vec<(Timestamp, Option<f64>)>> = BTreeMap::new();
    for entry in store.entries(VALUES, &id.to_string(), from, until, SHOWN)? {
        // One that cannot be read is a gap, not a reason to show nothing.
        let Ok(values) = serde_json::from_str::<BTreeMap<String, Value>>(&entry.body) else { continue };
        for (name, value) in values {
            all.entry(name).or_default().push((entry.at, value.v));
        }
    }
    for gate in gates {
        gate.history = all.remove(&gate.name).unwrap_or_default();
    }
    Ok(())
}

/// Forgets old values. Returns how many.
pub fn forget(store: &dyn Store, now: Timestamp) -> Result<usize, StoreError> {
    store.drop_entries(VALUES, now.checked_sub(KEPT).unwrap_or(now), FORGET_AT_ONCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::rollout::gate::gate;
    use crate::store::sqlite::SqliteStore;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + seconds).unwrap()
    }

    fn record(seconds: i64, value: f64) -> Record {
        let mut g = gate("error ratio", Tri::Pass, "fine");
        g.canary = Some(value);
        Record {
            at: at(seconds),
            revision: Some("new".into()),
            moving: true,
            gates: vec![g],
            advice: Some(Advice {
                verb: Some(crate::model::rollout::RolloutVerb::Promote),
                why: "go".into(),
                due: None,
            }),
            fast_rollback_until: None,
            way_back: None,
            abandon: None,
            sizes: BTreeMap::new(),
            valid: 90,
            unreachable: false,
        }
    }

    #[test]
    fn looks_are_kept_over_time_and_an_old_one_passes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("s.sqlite")).unwrap();
        let id = RolloutId { cluster: "prod".into(), namespace: "shop".into(), name: "web".into() };
        assert_eq!(last(&store, &id).unwrap(), (None, 0));
        for (i, value) in [0.01, 0.02, 0.03].into_iter().enumerate() {
            keep(&store, &id, &record(i as i64 * 30, value)).unwrap();
        }
        keep(&store, &id, &Record { moving: false, ..record(90, 0.5) }).unwrap();
        let newest = last(&store, &id).unwrap().0.unwrap();
        let mut gates = newest.gates.clone();
        histories(&store, &id, &mut gates, at(100)).unwrap();
        assert_eq!(
            gates[0].history,
            [(at(0), Some(0.01)), (at(30), Some(0.02)), (at(60), Some(0.03))],
            "what is at rest has no history"
        );
        let fresh = record(0, 0.0).as_of(at(90));
        assert_eq!((fresh.answer(), fresh.advice.unwrap().verb.is_some()), (Tri::Pass, true));
        let old = record(0, 0.0).as_of(at(91));
        assert_eq!((old.answer(), old.advice.unwrap().verb), (Tri::Unknown, None));
        assert_eq!(Record { gates: vec![], ..record(0, 0.0) }.answer(), Tri::Unknown, "no gate is no pass");
        assert_eq!(forget(&store, at(15 * 86_400)).unwrap(), 3);
    }

    #[test]
    fn a_look_that_ends_late_does_not_undo_a_newer_one() {
        let store = SqliteStore::open_temporary().unwrap();
        let id = RolloutId { cluster: "prod".into(), namespace: "shop".into(), name: "web".into() };
        keep(&store, &id, &record(30, 0.5)).unwrap();
        keep(&store, &id, &record(10, 0.01)).unwrap();
        assert_eq!(last(&store, &id).unwrap().0.unwrap().at, at(30));
        let mut gates = record(0, 0.0).gates;
        histories(&store, &id, &mut gates, at(100)).unwrap();
        assert_eq!(gates[0].history, [(at(30), Some(0.5))]);
        // A clock that was set back.
        keep(&store, &id, &record(-3_600, 0.02)).unwrap();
        assert_eq!(last(&store, &id).unwrap().0.unwrap().at, at(-3_600));
    }
}
