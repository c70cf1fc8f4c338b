//! The machine look by look.

use super::*;
use crate::model::rollout::RolloutId;
use crate::operate::rollout::gate::gate;
use crate::store::Store as _;
use crate::store::StoreError;
use crate::store::sqlite::SqliteStore;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).unwrap()
}

fn facts(weight: u32) -> Facts {
    Facts {
        revision: Some("6d4b".into()),
        phase: RolloutPhase::Paused,
        aborted: false,
        weight: Some(weight),
        switched: None,
        old_is_gone: None,
        gates: vec![gate("error ratio", Tri::Pass, "fine")],
        measured: true,
        baseline: Some(Baseline { errors: f64::from(weight), total: 1000.0, at: at(0) }),
    }
}

/// Looks every 30 s from `from` to `to`; the last state and advice.
fn run(state: Option<StageState>, f: &Facts, from: i64, to: i64) -> (StageState, Advice) {
    let plan = StagePlan::default();
    let mut last = (state, hold("", None));
    for t in (from..=to).step_by(30) {
        last = advance(&plan, last.0.as_ref(), f, at(t));
    }
    (last.0.unwrap(), last.1)
}

#[test]
fn from_five_to_a_hundred_percent() {
    let mut state = None;
    let mut t = 0;
    for (weight, frozen) in [(5, 5.0), (25, 25.0), (50, 50.0), (100, 50.0)] {
        let (s, a) = run(state.clone(), &facts(weight), t, t + 570);
        assert_eq!((a.verb, s.measured), (None, 570), "{weight}: {}", a.why);
        assert_eq!(a.due, Some(at(t + 600)), "{weight}");
        let (s, a) = run(Some(s), &facts(weight), t + 600, t + 600);
        assert_eq!(a.verb, Some(RolloutVerb::Promote), "{weight}: {}", a.why);
        assert_eq!(s.baseline.unwrap().errors, frozen, "frozen from the 50 % stage on");
        state = Some(s);
        t += 630;
    }
    let mut healthy = facts(100);
    healthy.phase = RolloutPhase::Healthy;
    let (s, a) = run(state, &healthy, t, t);
    assert_eq!((s.at, a.verb), (Place::Done, None), "{}", a.why);
}

#[test]
fn nothing_measured_counts_nothing() {
    let (s, _) = run(None, &facts(5), 0, 300);
    let mut blind = facts(5);
    blind.measured = false;
    blind.gates = vec![gate("error ratio", Tri::Unknown, "stale")];
    let (s, a) = run(Some(s), &blind, 330, 3000);
    assert_eq!((s.measured, a.verb), (300, None));
    assert!(a.why.contains("stale"), "{}", a.why);
    let (s, a) = run(Some(s), &facts(5), 3030, 3300);
    assert_eq!((s.measured, a.verb), (570, None), "the first look after it starts the clock again");
    assert_eq!(run(Some(s), &facts(5), 3330, 3330).1.verb, Some(RolloutVerb::Promote));
}

#[test]
fn a_pause_of_the_desk_and_a_clock_set_back_count_nothing() {
    let (s, _) = run(None, &facts(5), 0, 300);
    let (s, _) = run(Some(s), &facts(5), 5000, 5000);
    assert_eq!(s.measured, 300);
    let (s, _) = run(Some(s), &facts(5), 100, 100);
    assert_eq!(s.measured, 300);
    let (s, _) = run(Some(s), &facts(5), 130, 130);
    assert_eq!(s.measured, 330);
}

#[test]
fn a_look_that_was_overtaken_counts_no_time_twice() {
    let (s, _) = run(None, &facts(5), 0, 300);
    // Begun before the last one, kept after it.
    let (s, _) = run(Some(s), &facts(5), 280, 280);
    assert_eq!((s.measured, s.looked), (300, Some((at(300), true))));
    assert!(s.history.is_sorted_by_key(|h| h.0), "{:?}", s.history);
    assert_eq!(run(Some(s), &facts(5), 330, 330).0.measured, 330);
}

#[test]
fn unknown_holds_and_fail_advises_to_abort_until_it_is_moved() {
    let (s, _) = run(None, &facts(5), 0, 600);
    let with = |name: &str, answer| {
        let mut f = facts(5);
        f.gates.push(gate(name, answer, "so"));
        f
    };
    assert_eq!(run(Some(s.clone()), &with("zones", Tri::Unknown), 630, 630).1.verb, None);
    let (budget, a) = run(Some(s.clone()), &with("budget", Tri::Fail), 630, 630);
    assert_eq!((a.verb, budget.failed), (None, None), "a closed budget holds");
    let (s, a) = run(Some(s), &with("zones", Tri::Fail), 630, 630);
    assert_eq!(a.verb, Some(RolloutVerb::Abort));
    let (s, a) = run(Some(s), &facts(5), 660, 1500);
    assert_eq!(a.verb, Some(RolloutVerb::Abort), "it stays: {}", a.why);
    let mut gone = facts(0);
    (gone.aborted, gone.phase) = (true, RolloutPhase::Degraded);
    let (s, a) = run(Some(s), &gone, 1530, 1530);
    assert_eq!((s.at, a.verb), (Place::Aborted, None));
    let (s, a) = run(Some(s), &facts(5), 1560, 1560);
    assert_eq!((s.failed, s.measured, a.verb), (None, 0, None), "retried: from the beginning");
    let mut none = facts(5);
    none.gates.clear();
    assert_eq!(run(None, &none, 0, 1200).1.verb, None, "no gate at all");
}

#[test]
fn another_revision_begins_anew_and_an_unseen_weight_holds() {
    let (s, _) = run(None, &facts(5), 0, 600);
    let mut unseen = facts(5);
    unseen.weight = None;
    let (s, a) = run(Some(s), &unseen, 630, 630);
    assert_eq!((a.verb, s.measured), (None, 600));
    unseen.revision = None;
    assert_eq!(run(Some(s.clone()), &unseen, 660, 660).1.verb, None);
    let mut new = facts(5);
    new.revision = Some("7c5d".into());
    let (s, a) = run(Some(s), &new, 690, 690);
    assert_eq!((s.revision.as_str(), s.measured, a.verb), ("7c5d", 0, None));
    assert_eq!(run(None, &facts(17), 0, 1200).1.verb, None, "17 % is no stage");
}

#[test]
fn blue_green_is_smoked_switched_watched_and_drained() {
    let plan = StagePlan::BlueGreen { ready_seconds: 300, watch_seconds: 600 };
    let mut f = facts(0);
    (f.weight, f.switched, f.old_is_gone) = (None, Some(false), Some(false));
    f.gates = vec![gate("ready", Tri::Pass, "5 of 5"), gate("smoke", Tri::Unknown, "not run")];
    let look = |s: &Option<StageState>, f: &Facts, t| advance(&plan, s.as_ref(), f, at(t));
    let (s, a) = look(&None, &f, 0);
    assert_eq!(a.verb, None, "no smoke test, no switch");
    f.gates[1] = gate("smoke", Tri::Pass, "3 of 3");
    let (s, a) = look(&s, &f, 30);
    assert_eq!(a.verb, Some(RolloutVerb::SwitchSelector));
    f.switched = Some(true);
    f.gates = vec![gate("error ratio", Tri::Pass, "0 %")];
    let mut s = s;
    for t in (60..=630).step_by(30) {
        let (next, a) = look(&s, &f, t);
        assert_eq!(a.verb, None, "{t}: {}", a.why);
        s = next;
    }
    let watched = s.clone();
    let (s, a) = look(&s, &f, 660);
    assert_eq!((s.as_ref().unwrap().at, a.verb), (Place::Drain, Some(RolloutVerb::Scale)));
    f.old_is_gone = Some(true);
    let (s, a) = look(&s, &f, 690);
    assert_eq!((s.unwrap().at, a.verb), (Place::Done, None));

    f.old_is_gone = Some(false);
    f.gates = vec![gate("error ratio", Tri::Fail, "6 %, above 5 %")];
    let (s, a) = look(&watched, &f, 660);
    assert_eq!(a.verb, Some(RolloutVerb::SwitchSelector));
    assert!(a.why.starts_with("switch back: error ratio"), "{}", a.why);
    f.switched = Some(false);
    assert_eq!(look(&s, &f, 690).0.unwrap().at, Place::Aborted);
}

#[test]
fn it_goes_on_after_a_restart_and_only_one_of_two_processes_counts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("desk.sqlite");
    let id = RolloutId { cluster: "c".into(), namespace: "n".into(), name: "web".into() };
    let plan = StagePlan::default();
    {
        let store = SqliteStore::open(&path).unwrap();
        for t in (0..=300).step_by(30) {
            kept::look(&store, &id, &plan, &facts(5), at(t)).unwrap();
        }
    }
    let store = SqliteStore::open(&path).unwrap();
    let (state, rev) = kept::read(&store, &id).unwrap();
    let state = state.unwrap();
    assert_eq!((state.measured, state.entered), (300, at(0)));
    let (after, _) = kept::look(&store, &id, &plan, &facts(5), at(330)).unwrap();
    assert_eq!(after.unwrap().measured, 330);
    let late = serde_json::to_string(&state).unwrap();
    let e = store.put_doc("stage", &id.to_string(), &late, rev, at(331));
    assert!(matches!(e, Err(StoreError::Conflict(_))), "{e:?}");
    let mut t = 360;
    loop {
        let (_, a) = kept::look(&store, &id, &plan, &facts(5), at(t)).unwrap();
        if a.verb == Some(RolloutVerb::Promote) {
            break;
        }
        t += 30;
    }
    assert_eq!(t, 600);
}
