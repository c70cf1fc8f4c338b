//! The stage machine: what should be done next with a rollout. It advises and never acts: people propose and approve.
//!
//! Pure: the state that was, what is seen now, and the time give the new state and the advice. The state is kept in the
//! store (see [`kept`]), so a restart goes on where it was. Only time during which something was measured counts
//! towards a stage; the time between two looks that lie too far apart (a restart, a lost connection) does not.
//!
//! Unknown holds. A gate that looks at the new revision and fails advises to abort, and stays that way until somebody
//! moves the rollout. A closed error budget only holds: going back is a change too. Aborting is always allowed; nothing
//! here is asked for it.

pub mod blue_green;
pub mod canary;
pub mod kept;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::gate::ratio::Baseline;
use crate::model::health::Tri;
use crate::model::rollout::{Advice, Gate, RolloutPhase, RolloutVerb};

/// How a rollout is to go.
#[derive(Clone, Debug, PartialEq)]
pub enum StagePlan {
    Canary {
        /// Percent of traffic, rising; the last is 100.
        weights: Vec<u32>,
        /// How long each is watched.
        seconds: i64,
        /// The stable baseline is what was measured up to the end of this stage.
        freeze_from: u32,
    },
    BlueGreen {
        /// The new side must be ready within this.
        ready_seconds: i64,
        /// How long it is watched after the switch.
        watch_seconds: i64,
    },
}

impl Default for StagePlan {
    fn default() -> Self {
        Self::Canary { weights: vec![5, 25, 50, 100], seconds: 600, freeze_from: 50 }
    }
}

/// Where a rollout is. What is kept in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageState {
    /// Hash or name of the revision it is about. Another one begins anew.
    pub revision: String,
    pub at: Place,
    /// When it got there.
    pub entered: Timestamp,
    /// Seconds of it during which the new revision was measured.
    pub measured: i64,
    /// The last look, and whether it measured something.
    pub looked: Option<(Timestamp, bool)>,
    pub baseline: Option<Baseline>,
    /// Why and since when it should be aborted.
    pub failed: Option<(Timestamp, String)>,
    /// The error ratio at each look, oldest first; the newest [`HISTORY`].
    pub history: Vec<(Timestamp, Option<f64>)>,
}

/// How many looks are kept for the picture.
pub const HISTORY: usize = 240;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "place", rename_all = "snake_case")]
pub enum Place {
    /// The canary has this weight.
    Weight { percent: u32 },
    /// Blue-green: the new side comes up and is smoked.
    Preview,
    /// Blue-green: the traffic goes to the new side.
    Watch,
    /// Blue-green: watched to the end; the old side still runs.
    Drain,
    /// It is all the way.
    Done,
    /// Somebody, or the controller, took it back.
    Aborted,
}

/// What is seen now.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub revision: Option<String>,
    pub phase: RolloutPhase,
    pub aborted: bool,
    /// Percent of traffic the new revision has; `None`: not known.
    pub weight: Option<u32>,
    /// Blue-green: whether the Service points at the new side, and whether the old one has no pods.
    pub switched: Option<bool>,
    pub old_is_gone: Option<bool>,
    /// Every gate there is.
    pub gates: Vec<Gate>,
    /// The new revision's counters were there, sound and fresh.
    pub measured: bool,
    /// The stable side as it was measured now.
    pub baseline: Option<Baseline>,
}

/// Two looks further apart than this have time between them that nobody measured.
const GAP: SignedDuration = SignedDuration::from_secs(150);

/// Two processes may look at once, and what began first may end last: no look takes longer than this. What lies further
/// behind the last one is a clock that was set back.
pub(super) const OVERTAKEN: SignedDuration = SignedDuration::from_secs(90);

/// Gates that say nothing about the new revision: they hold, and are no reason to go back.
const ONLY_HOLD: [&str; 3] = ["budget", "readiness", "cluster"];

/// Whether a gate of this name is no reason to go back.
pub fn only_holds(gate: &str) -> bool {
    ONLY_HOLD.contains(&gate)
}

fn place(plan: &StagePlan, before: Option<&StageState>, facts: &Facts) -> Option<Place> {
    match plan {
        StagePlan::Canary { .. } => canary::place(before, facts),
        StagePlan::BlueGreen { .. } => blue_green::place(before, facts),
    }
}

/// Where it is and since when: what was counted before does not speak of this stage. `None`: where it is cannot be seen.
pub fn standing(
    plan: &StagePlan,
    before: Option<&StageState>,
    facts: &Facts,
    now: Timestamp,
) -> Option<(Place, Timestamp)> {
    let at = place(plan, before, facts)?;
    let same = before.filter(|s| facts.revision.as_ref() == Some(&s.revision) && s.at == at);
    Some((at, same.map_or(now, |s| s.entered)))
}

/// One look at a rollout.
pub fn advance(
    plan: &StagePlan,
    before: Option<&StageState>,
    facts: &Facts,
    now: Timestamp,
) -> (Option<StageState>, Advice) {
    let Some(revision) = facts.revision.as_deref() else {
        return (before.cloned(), hold("which revision is new is not known", None));
    };
    let place = place(plan, before, facts);
    let mut state = match (before, place) {
        (Some(s), Some(p)) if s.revision == revision && s.at == p => s.clone(),
        // Where it is cannot be seen: what is known of it stays.
        (Some(s), None) if s.revision == revision => {
            let mut s = s.clone();
            s.looked = Some((now, false));
            return (Some(s), hold("how far it is cannot be seen", None));
        }
        (_, None) => return (before.cloned(), hold("how far it is cannot be seen", None)),
        (Some(s), Some(p)) if s.revision == revision => s.moved(p, now),
        (_, Some(p)) => StageState::new(revision, p, now),
    };
    state.look(facts, now);
    if let Some(why) = failure(facts)
        && state.failed.is_none()
        && !matches!(state.at, Place::Done | Place::Aborted)
    {
        state.failed = Some((now, why));
    }
    let advice = match plan {
        StagePlan::Canary { weights, seconds, freeze_from } => {
            canary::freeze(&mut state, facts, *freeze_from);
            canary::advice(&mut state, facts, weights, *seconds, now)
        }
        StagePlan::BlueGreen { watch_seconds, .. } => blue_green::advice(&mut state, facts, *watch_seconds, now),
    };
    (Some(state), advice)
}

impl StageState {
    fn new(revision: &str, at: Place, now: Timestamp) -> Self {
        Self {
            revision: revision.into(),
            at,
            entered: now,
            measured: 0,
            looked: None,
            baseline: None,
            failed: None,
            history: Vec::new(),
        }
    }

    /// The same revision somewhere else: its clock begins again, what was frozen of the stable one stays.
    fn moved(&self, at: Place, now: Timestamp) -> Self {
        Self { baseline: self.baseline, history: self.history.clone(), ..Self::new(&self.revision, at, now) }
    }

    /// Counts the time since the last look, if both looks measured something.
    fn look(&mut self, facts: &Facts, now: Timestamp) {
        // Another look began later and was kept already: its time is counted, and must not be counted again.
        if self.looked.is_some_and(|(last, _)| last > now && last.duration_since(now) <= OVERTAKEN) {
            return;
        }
        if let Some((last, true)) = self.looked
            && facts.measured
        {
            let passed = now.duration_since(last);
            // A clock that was set back, or a pause: nothing is known of that time.
            if passed > SignedDuration::ZERO && passed <= GAP {
                self.measured += passed.as_secs();
            }
        }
        self.looked = Some((now, facts.measured));
        let ratio = facts.gates.iter().find(|g| g.name == "error ratio").and_then(|g| g.canary);
        self.history.push((now, ratio));
        let over = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..over);
    }

    /// When this stage has been measured for so long, if nothing comes between.
    fn due(&self, seconds: i64, now: Timestamp) -> Option<Timestamp> {
        now.checked_add(SignedDuration::from_secs((seconds - self.measured).max(0))).ok()
    }
}

/// The first gate that fails and speaks of the new revision.
fn failure(facts: &Facts) -> Option<String> {
    let gate = facts.gates.iter().find(|g| g.answer == Tri::Fail && !only_holds(&g.name))?;
    Some(format!("{}: {}", gate.name, gate.why))
}

/// Everything that does not pass, or that there is no gate at all.
fn held(facts: &Facts) -> Option<String> {
    if facts.gates.is_empty() {
        return Some("there is no gate".into());
    }
    let not: Vec<String> =
        facts.gates.iter().filter(|g| g.answer != Tri::Pass).map(|g| format!("{}: {}", g.name, g.why)).collect();
    (!not.is_empty()).then(|| not.join("; "))
}

fn hold(why: impl Into<String>, due: Option<Timestamp>) -> Advice {
    Advice { verb: None, why: why.into(), due }
}

fn advise(verb: RolloutVerb, why: impl Into<String>) -> Advice {
    Advice { verb: Some(verb), why: why.into(), due: None }
}

#[cfg(test)]
mod tests;
