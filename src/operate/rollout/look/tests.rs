//! Looks at rollouts of each kind.

use std::collections::BTreeMap;

use super::testing::argo;
use super::testing::at;
use super::testing::blue_green;
use super::testing::replica_canary;
use super::testing::revision;
use super::testing::rollout;
use super::testing::rules;
use super::*;
use crate::operate::rollout::gate::ratio::Counter;

const ERRORS: &str =
    "[rollouts.errors]\nerrors = 'e{pod=~\"web-{{revision}}-.*\"}'\ntotal = 't{pod=~\"web-{{revision}}-.*\"}'\n";

fn canary_rules(more: &str) -> Rules {
    rules(&format!("[[rollouts]]\ntarget = \"prod/shop/web\"\n{more}{ERRORS}"))
}

/// A counter of a pod of this revision that grows by so much every 15 s, up to `until`.
fn counter(hash: &str, by: f64, until: i64) -> Counter {
    let labels = BTreeMap::from([("pod".to_owned(), format!("web-{hash}-x1"))]);
    Counter { labels, samples: (0..=until / 15).map(|i| (at(i * 15), by * i as f64)).collect() }
}

fn counted(new: f64, old: f64, until: i64) -> Counted {
    let side = |hash, errors| (Ok(vec![counter(hash, errors, until)]), Ok(vec![counter(hash, 100.0, until)]));
    Counted { new: side("new", new), old: Some(side("old", old)) }
}

fn gate_of<'a>(looked: &'a Looked, name: &str) -> &'a Gate {
    looked.facts.gates.iter().find(|g| g.name == name).unwrap_or_else(|| panic!("{:?}", looked.facts.gates))
}

#[test]
fn a_canary_asks_for_both_sides_by_their_hashes_from_the_stage_on() {
    let (rules, r) = (canary_rules(""), argo(5));
    let first = asks(&rules, &r, None, at(1000)).unwrap();
    assert_eq!((first.from, first.seconds), (at(1000), 150), "what came before this stage does not count");
    assert_eq!(first.new.errors, "e{pod=~\"web-new-.*\"}");
    assert!(matches!(&first.old, OldSide::Live(ask) if ask.total == "t{pod=~\"web-old-.*\"}"));

    let plan = rules.plan(&r).unwrap();
    let looked = judge(&rules, &r, None, &Heard::default(), at(1000));
    assert_eq!(gate_of(&looked, "error ratio").answer, Tri::Unknown, "not asked");
    let state = stage::advance(&plan, None, &looked.facts, at(1000)).0.unwrap();
    let later = asks(&rules, &r, Some(&state), at(1300)).unwrap();
    assert_eq!((later.from, later.seconds), (at(1000), 450));

    let mut half = state.clone();
    half.at = Place::Weight { percent: 100 };
    half.baseline = Some(Baseline { errors: 1.0, total: 1000.0, at: at(900) });
    let all = asks(&rules, &argo(100), Some(&half), at(1300)).unwrap();
    assert!(matches!(all.old, OldSide::Frozen(_, Some(_))), "at 100 % stable has no traffic");
    half.revision = "another".into();
    let all = asks(&rules, &argo(100), Some(&half), at(1300)).unwrap();
    assert!(matches!(all.old, OldSide::Frozen(_, None)), "somebody else's baseline is none");
}

#[test]
fn a_good_canary_passes_a_bad_one_fails_and_nothing_said_is_unknown() {
    let (rules, mut r) = (canary_rules(""), argo(5));
    let plan = rules.plan(&r).unwrap();
    let run = |new: Option<f64>, r: &mut Rollout| {
        let mut state = None;
        let mut last = None;
        for t in (0..=630).step_by(30) {
            r.seen = at(t);
            let heard = Heard { counted: new.map(|n| counted(n, 1.0, t)), ..Heard::default() };
            let looked = judge(&rules, r, state.as_ref(), &heard, at(t));
            let (after, advice) = stage::advance(&plan, state.as_ref(), &looked.facts, at(t));
            state = after;
            last = Some(fit(advice, r, &between(r, state.as_ref())));
        }
        let last = last.unwrap();
        (last.verb, last.why)
    };
    assert_eq!(run(Some(1.0), &mut r).0, Some(RolloutVerb::Promote));
    assert_eq!(run(Some(20.0), &mut r).0, Some(RolloutVerb::Abort));
    assert_eq!(run(None, &mut r).0, None);
    r.phase = RolloutPhase::Progressing;
    let (verb, why) = run(Some(1.0), &mut r);
    assert!(verb.is_none() && why.contains("still at work"), "{why}");
    (r.phase, r.message) = (RolloutPhase::Degraded, "ProgressDeadlineExceeded".into());
    let (verb, why) = run(Some(1.0), &mut r);
    assert!(verb == Some(RolloutVerb::Abort) && why.contains("ProgressDeadline"), "{why}");
}

#[test]
fn a_cluster_that_is_gone_and_a_name_that_is_no_name() {
    let (rules, r) = (canary_rules(""), argo(5));
    let heard = Heard { counted: Some(counted(1.0, 1.0, 600)), ..Heard::default() };
    let looked = judge(&rules, &r, None, &heard, at(600));
    assert_eq!(gate_of(&looked, "cluster").answer, Tri::Unknown, "it was last seen at 0");
    let mut odd = argo(5);
    odd.revisions[0].hash = "x\"} or up{a=\"".into();
    assert!(!asks(&rules, &odd, None, at(0)).unwrap().new.is_plain());
    odd.revisions[0].hash = "".into();
    odd.revisions[0].replica_set = "".into();
    assert!(!asks(&rules, &odd, None, at(0)).unwrap().new.is_plain());
}

#[test]
fn one_that_serves_is_watched_to_the_end_and_taken_back_by_undo() {
    let mut r = rollout(
        RolloutKind::Argo,
        RolloutPhase::Healthy,
        vec![revision(2, "new", "stable", 20, 100), revision(1, "old", "", 0, 0)],
    );
    (r.set_weight, r.actual_weight) = (Some(100), Some(100));
    let rules = canary_rules("");
    assert!(!between(&r, None).moving, "nothing is known of a beginning");
    let plan = rules.plan(&r).unwrap();
    let canary = argo(100);
    let state = stage::advance(&plan, None, &seen(&canary, &between(&canary, None)), at(0)).0.unwrap();
    let b = between(&r, Some(&state));
    assert!(b.moving && b.old.is_some_and(|o| name(o) == "old"));
    let abort = Advice { verb: Some(RolloutVerb::Abort), why: "error ratio".into(), due: None };
    assert_eq!(fit(abort, &r, &b).verb, Some(RolloutVerb::Undo));
    let done = StageState { at: Place::Done, ..state };
    assert!(!between(&r, Some(&done)).moving);
}

#[test]
fn a_blue_green_pair_is_smoked_switched_watched_and_switched_back() {
    let (rules, r) = blue_green("blue", true);
    let b = between(&r, None);
    assert_eq!((b.new.map(name), b.switched, b.moving), (Some("greenhash".into()), Some(false), true));
    assert!(asks(&rules, &r, None, at(200)).is_none(), "no traffic before the switch");
    let mut smoked = rules.clone();
    smoked.smoke =
        Some(super::super::config::Smoke { urls: vec!["http://x".into()], statuses: vec![], body: None, timeout: 5 });
    for (answer, t, want) in
        [(None, 10, Tri::Unknown), (Some(Err("503")), 10, Tri::Unknown), (Some(Ok("200")), 10, Tri::Pass)]
    {
        let smoke = answer.map(|a| vec![("http://x".to_owned(), a.map(str::to_owned).map_err(str::to_owned))]);
        let heard = Heard { smoke, ..Heard::default() };
        assert_eq!(gate_of(&judge(&smoked, &r, None, &heard, at(t)), "smoke").answer, want);
    }
    let plan = rules.plan(&r).unwrap();
    let looked = judge(&rules, &r, None, &Heard::default(), at(0));
    let (state, advice) = stage::advance(&plan, None, &looked.facts, at(0));
    assert_eq!(advice.verb, Some(RolloutVerb::SwitchSelector), "{}", advice.why);

    let (_, switched) = blue_green("green", true);
    let asked = asks(&rules, &switched, state.as_ref(), at(60)).unwrap();
    assert!(matches!(&asked.old, OldSide::Nothing(id) if id == "bluehash"), "only the absolute limit counts");
    let mut state = stage::advance(
        &plan,
        state.as_ref(),
        &judge(&rules, &switched, state.as_ref(), &Heard::default(), at(60)).facts,
        at(60),
    )
    .0;
    assert_eq!(state.as_ref().unwrap().at, Place::Watch);
    let bad = |t| {
        let labels = BTreeMap::from([("pod".to_owned(), "greenhash-1".to_owned())]);
        let track = |by: f64| Counter {
            labels: labels.clone(),
            samples: (0..=t / 15).map(|i| (at(i * 15), by * i as f64)).collect(),
        };
        Heard {
            counted: Some(Counted { new: (Ok(vec![track(6.0)]), Ok(vec![track(100.0)])), old: None }),
            ..Heard::default()
        }
    };
    let mut last = None;
    for t in (90..=240).step_by(30) {
        let looked = judge(&rules, &switched, state.as_ref(), &bad(t), at(t));
        let (after, advice) = stage::advance(&plan, state.as_ref(), &looked.facts, at(t));
        (state, last) = (after, Some(advice));
    }
    let last = last.unwrap();
    assert_eq!(last.verb, Some(RolloutVerb::SwitchSelector));
    assert!(last.why.contains("switch back"), "over 5 %: {}", last.why);
    let b = between(&r, state.as_ref());
    let state = stage::advance(&plan, state.as_ref(), &seen(&r, &b), at(270)).0;
    assert_eq!(state.unwrap().at, Place::Aborted, "switched back");
    assert!(!between(&blue_green("green", false).1, None).moving || blue_green("green", false).1.active.is_some());
}

#[test]
fn a_pair_at_rest_is_not_rolling() {
    let (_, mut r) = blue_green("green", true);
    r.revisions[0].desired = 0;
    r.revisions[0].ready = 0;
    assert!(!between(&r, None).moving, "green serves, blue is gone, and nobody saw a beginning");
    let (_, none) = replica_canary(20, 0);
    assert!(!between(&none, None).moving);
    let (rules, r) = replica_canary(15, 5);
    assert!(between(&r, None).moving);
    assert_eq!(standing(&rules, &r, None, at(0)).map(|p| p.0), Some(Place::Weight { percent: 25 }));
}

#[test]
fn a_deployment_that_rolls_is_only_ever_taken_back() {
    let mut r = rollout(
        RolloutKind::Rolling,
        RolloutPhase::Degraded,
        vec![revision(2, "new", "", 2, 100), revision(1, "old", "", 8, 0)],
    );
    r.message = "ProgressDeadlineExceeded".into();
    let rules = canary_rules("");
    assert!(rules.plan(&r).is_none());
    let looked = judge(&rules, &r, None, &Heard::default(), at(30));
    assert_eq!(by_itself(&r, &looked.facts.gates).verb, Some(RolloutVerb::Undo));
    r.phase = RolloutPhase::Progressing;
    let looked = judge(&rules, &r, None, &Heard::default(), at(30));
    assert_eq!(by_itself(&r, &looked.facts.gates).verb, None, "unknown is no reason to go back");
}

#[test]
fn argo_s_own_blue_green_is_promoted_and_undone() {
    let sides = |active: &str| {
        let role = |hash: &str| if hash == active { "active" } else { "preview" };
        rollout(
            RolloutKind::Argo,
            RolloutPhase::Paused,
            vec![revision(2, "new", role("new"), 5, 100), revision(1, "old", role("old"), 5, 0)],
        )
    };
    let (rules, r) = (canary_rules(""), sides("old"));
    let plan = rules.plan(&r).unwrap();
    assert!(matches!(plan, StagePlan::BlueGreen { .. }));
    let looked = judge(&rules, &r, None, &Heard::default(), at(0));
    let (state, advice) = stage::advance(&plan, None, &looked.facts, at(0));
    let b = between(&r, state.as_ref());
    assert_eq!(fit(advice, &r, &b).verb, Some(RolloutVerb::Promote));
    let switched = sides("new");
    let b = between(&switched, state.as_ref());
    assert_eq!((b.switched, b.moving), (Some(true), true));
    let back = Advice { verb: Some(RolloutVerb::SwitchSelector), why: "switch back".into(), due: None };
    assert_eq!(fit(back, &switched, &b).verb, Some(RolloutVerb::Undo));
}
