//! Acting on rollouts and backups: what fits, what is tried first, and who signs what.

use super::super::super::view::platform_sample::{canary, sample};
use super::*;
use crate::desk::{Offer, OfferedAct, PairOffers};
use crate::model::action::{Draft, Finding, ParamDef, SnapshotAccess, SnapshotVerb, Tried};
use crate::model::rollout::{Rollout, RolloutKind, RolloutPhase, RolloutVerb};

/// Actions on rollouts, as every desk with a cluster it may write to has them.
fn rollout_actions() -> impl Iterator<Item = ActionDef> {
    RolloutVerb::ALL.into_iter().map(|verb| {
        let of = vec!["no".to_owned(), "yes".to_owned()];
        let full = ParamDef {
            name: "full".into(),
            kind: ParamType::Choice { of },
            help: String::new(),
            default: Some("no".into()),
        };
        ActionDef {
            name: format!("rollout-{}", verb.word()),
            title: verb.word().into(),
            help: String::new(),
            tier: if verb == RolloutVerb::Abort { Tier::T1 } else { Tier::T2 },
            targets: TargetRule { kind: ParamType::Object, allow: vec![], max: 1 },
            params: if verb == RolloutVerb::Promote { vec![full] } else { vec![] },
            undo: None,
            contains: false,
            executor: Executor::Kubernetes { verb },
        }
    })
}

/// A console of somebody with this role, before the rollouts.
fn before(role: Role, r: Rollout) -> State {
    let mut s = loaded((80, 24), look("dark", false));
    let mut all = (*s.catalogue).clone();
    all.extend(rollout_actions());
    all.push(ActionDef {
        name: "restore".into(),
        title: "Restore".into(),
        help: String::new(),
        tier: Tier::T2,
        targets: TargetRule { kind: ParamType::Index, allow: vec![], max: 5 },
        params: vec![],
        undo: None,
        contains: false,
        executor: Executor::OpensearchSnapshot {
            verb: SnapshotVerb::Restore,
            access: SnapshotAccess {
                url: "https://localhost".into(),
                repository: "r".into(),
                username: None,
                password: None,
                ca: None,
                timeout_seconds: 5,
            },
        },
    });
    s.catalogue = Arc::new(all);
    s.me = Some(person("alice", "Alice Moreau", role));
    let mut p = sample();
    p.rollouts = vec![r];
    // Its only asset lies in that repository; the others lie elsewhere.
    p.assets.last_mut().unwrap().asset.source = "search".into();
    s.snapshots = [("search".to_owned(), ("https://localhost/".to_owned(), "r".to_owned()))].into();
    update(&mut s, now(), Msg::Platform(Arc::new(p)));
    press(&mut s, "5");
    s
}

/// A console before a canary by replicas that is at 5 of 20 pods.
fn before_a_pair() -> State {
    let mut r = canary();
    r.kind = RolloutKind::ReplicaCanary;
    r.gates.clear();
    let mut s = before(Role::Analyst, r.clone());
    let scale = |name: &str, n: u32| OfferedAct {
        action: "rollout-scale".into(),
        target: format!("eu/soc/{name}"),
        params: [("replicas".to_owned(), n.to_string())].into(),
    };
    let offer = |verb, acts: Vec<OfferedAct>, what: &str| Offer { verb, full: false, acts, patch: Ok(what.into()) };
    let pair = PairOffers {
        members: vec!["eu/soc/intake-stable".into(), "eu/soc/intake-canary".into()],
        offers: vec![
            offer(
                RolloutVerb::Promote,
                vec![scale("intake-canary", 10), scale("intake-stable", 10)],
                "intake-canary: replicas=10, then intake-stable: replicas=10",
            ),
            offer(
                RolloutVerb::Abort,
                vec![scale("intake-stable", 20), scale("intake-canary", 0)],
                "intake-stable: replicas=20, then intake-canary: replicas=0",
            ),
        ],
    };
    let mut p = sample();
    p.pairs = [(r.id.to_string(), pair)].into();
    p.rollouts = vec![r];
    update(&mut s, now(), Msg::Platform(Arc::new(p)));
    s
}

/// What was proposed with the first one, in one effect.
fn together(effects: &[Effect]) -> Vec<Draft> {
    let of = |e: &Effect| match e {
        Effect::Propose { draft, then, .. } => Some([std::slice::from_ref(draft), then.as_slice()].concat()),
        _ => None,
    };
    effects.iter().find_map(of).unwrap_or_default()
}

fn asked(drafts: &[Draft]) -> Vec<String> {
    drafts.iter().map(|d| format!("{} {} {}", d.action, d.targets.join(" "), d.params["replicas"])).collect()
}

#[test]
fn two_deployments_are_led_by_their_own_names() {
    let mut s = before_a_pair();
    let mut all = (*s.catalogue).clone();
    let scale = all.iter_mut().find(|a| a.name == "rollout-scale").unwrap();
    let (kind, help) = (ParamType::Integer { min: 0, max: 10_000 }, String::new());
    scale.params = vec![ParamDef { name: "replicas".into(), kind, help, default: None }];
    s.catalogue = Arc::new(all);
    press(&mut s, "p");
    let Some(Overlay::Picker(p)) = s.overlays.last() else { panic!() };
    let labels: Vec<&str> = p.items.iter().map(|i| i.label.as_str()).collect();
    assert_eq!(
        labels,
        [
            "promote: intake-canary: replicas=10, then intake-stable: replicas=10",
            "ABORT, back to the old one: intake-stable: replicas=20, then intake-canary: replicas=0"
        ]
    );
    let first = drafts(&press(&mut s, "enter"));
    let Some(Overlay::Form(f)) = s.overlays.last() else { panic!() };
    assert!(f.lead.iter().any(|(t, _)| t.as_str().ends_with("rollout-scale eu/soc/intake-stable replicas=10")));
    type_text(&mut s, "it is well");
    update(&mut s, now(), Msg::Tried { draft: first[0].clone(), result: Ok(tried(vec![])) });
    let sent = together(&press(&mut s, "ctrl-s"));
    assert_eq!(
        asked(&sent),
        ["rollout-scale eu/soc/intake-canary 10", "rollout-scale eu/soc/intake-stable 10"],
        "both are asked for at once, so that the second does not follow from half a change"
    );
    let reasons: Vec<&str> = sent.iter().map(|d| d.reason.expose()).collect();
    assert_eq!(reasons, ["1 of 2: it is well", "2 of 2: it is well"]);
    // The abort key: all of it, the way back first, and once.
    let mut s = before_a_pair();
    let sent = together(&press(&mut s, "a"));
    assert_eq!(asked(&sent), ["rollout-scale eu/soc/intake-stable 20", "rollout-scale eu/soc/intake-canary 0"]);
    let mut second = request("R8", Tier::T1, RequestState::Pending);
    (second.body.action, second.body.targets) = (sent[1].action.clone(), sent[1].targets.clone());
    second.body.params = sent[1].params.clone();
    let mut other = second.clone();
    other.body.id = RequestId::new("R7").unwrap();
    other.body.params = [("replicas".to_owned(), "10".to_owned())].into();
    s.aborting = false;
    update(&mut s, now(), Msg::Requests(Ok(vec![other.clone()])));
    assert_eq!(together(&press(&mut s, "a")).len(), 2, "a request to go on is none to go back");
    s.aborting = false;
    update(&mut s, now(), Msg::Requests(Ok(vec![other, second])));
    assert!(proposals(&press(&mut s, "a")).is_empty(), "asked for already");
    assert!(matches!(s.overlays.last(), Some(Overlay::Decide(_))));
}

fn tried(findings: Vec<Finding>) -> Box<Tried> {
    Box::new(Tried {
        tier: Tier::T2,
        commands: vec![],
        approvals_needed: 1,
        preview: vec![Preview {
            target: "eu/soc/intake".into(),
            would_change: Some(1),
            failed: false,
            diff: "- /status/pauseConditions: []".into(),
        }],
        findings,
    })
}

fn drafts(effects: &[Effect]) -> Vec<Draft> {
    let of = |e: &Effect| if let Effect::TryOut { draft, .. } = e { Some(draft.clone()) } else { None };
    effects.iter().filter_map(of).collect()
}

fn proposals(effects: &[Effect]) -> Vec<Draft> {
    let of = |e: &Effect| if let Effect::Propose { draft, .. } = e { Some(draft.clone()) } else { None };
    effects.iter().filter_map(of).collect()
}

#[test]
fn what_does_not_fit_is_offered_with_why_not() {
    let mut s = before(Role::Analyst, canary());
    press(&mut s, "p");
    let Some(Overlay::Picker(p)) = s.overlays.last() else { panic!() };
    let named = |word: &str| p.items.iter().find(|i| i.label.as_str().starts_with(word)).unwrap();
    assert_eq!(p.items[0].label.as_str(), "ABORT, back to the stable one", "a gate fails: the way back first");
    let on = named("promote, on to 100 %");
    assert!(on.detail.as_str().contains(r#"{"status":{"pauseConditions":null}}"#), "{on:?}");
    assert!(named("ABORT").disabled.is_none());
    assert_eq!(named("retry").disabled.as_ref().unwrap().as_str(), "it is not aborted: there is nothing to retry");
    let mut done = canary();
    (done.kind, done.phase) = (RolloutKind::Flagger, RolloutPhase::Progressing);
    let mut s = before(Role::Analyst, done);
    press(&mut s, "p");
    let Some(Overlay::Picker(p)) = s.overlays.last() else { panic!() };
    assert!(p.items.iter().all(|i| i.disabled.is_some()), "Flagger is only read: {:?}", p.items);
}

#[test]
fn nothing_is_proposed_before_it_was_tried() {
    let mut well = canary();
    well.gates.clear();
    let mut s = before(Role::Analyst, well);
    let first = drafts(&press(&mut s, "p enter"));
    assert_eq!((first.len(), first[0].targets.as_slice()), (1, &["eu/soc/intake".to_owned()][..]));
    type_text(&mut s, "it is well");
    assert!(press(&mut s, "enter").is_empty(), "the answer is awaited");
    // Another choice while the first answer is on its way: asked for once that is there.
    assert!(drafts(&press(&mut s, "shift-tab 2")).is_empty());
    let effects = update(&mut s, now(), Msg::Tried { draft: first[0].clone(), result: Ok(tried(vec![])) });
    let second = drafts(&effects);
    assert_eq!(second[0].params["full"], "yes");
    assert!(press(&mut s, "ctrl-s").is_empty(), "the old answer does not count");
    let no = Finding { refuses: true, text: "protected".into() };
    update(&mut s, now(), Msg::Tried { draft: second[0].clone(), result: Ok(tried(vec![no])) });
    assert!(press(&mut s, "ctrl-s").is_empty(), "it would be refused");
    let third = drafts(&press(&mut s, "shift-tab 1"));
    update(&mut s, now(), Msg::Tried { draft: third[0].clone(), result: Ok(tried(vec![])) });
    let sent = proposals(&press(&mut s, "ctrl-s"));
    assert_eq!((sent[0].action.as_str(), sent[0].reason.expose()), ("rollout-promote", "it is well"));
}

#[test]
fn abort_is_one_key_and_asks_once() {
    let mut s = before(Role::Analyst, canary());
    let sent = proposals(&press(&mut s, "a a"));
    assert_eq!(sent.len(), 1, "a second press asks for nothing more");
    assert_eq!(sent[0].action, "rollout-abort");
    assert!(sent[0].reason.expose().contains("error ratio fail"), "{:?}", sent[0].reason);
    let mut made = request("R9", Tier::T1, RequestState::Approved);
    (made.body.action, made.body.targets) = ("rollout-abort".into(), vec!["eu/soc/intake".into()]);
    made.body.requester = PersonId::new("alice").unwrap();
    update(&mut s, now(), Msg::Proposed(Ok(Box::new(made.clone()))));
    let Some(Overlay::Decide(d)) = s.overlays.last() else { panic!() };
    assert_eq!(d.what, Deciding::Execute, "it needs nobody else: confirmed here");
    // Asked for already: the request is shown, none is added.
    press(&mut s, "esc");
    update(&mut s, now(), Msg::Requests(Ok(vec![made])));
    assert!(proposals(&press(&mut s, "a")).is_empty());
    assert!(matches!(s.overlays.last(), Some(Overlay::Decide(_))));
    // An answer does not come up over what somebody turned to meanwhile.
    let mut s = before(Role::Analyst, canary());
    press(&mut s, "a ?");
    update(&mut s, now(), Msg::Proposed(Ok(Box::new(request("R9", Tier::T1, RequestState::Pending)))));
    assert!(matches!(s.overlays.as_slice(), [Overlay::Sheet(_)]));
    // Nothing to abort.
    let mut quiet = canary();
    (quiet.aborted, quiet.phase) = (true, RolloutPhase::Degraded);
    let mut s = before(Role::Analyst, quiet);
    assert!(press(&mut s, "a").is_empty());
    assert!(notice(&s).contains("aborted already"), "{}", notice(&s));
    // A pause of its own is no reason; what blocks it is.
    let mut paused = canary();
    paused.gates.clear();
    let mut s = before(Role::Analyst, paused.clone());
    assert!(proposals(&press(&mut s, "a"))[0].reason.expose().contains("stuck: a pod is not ready"));
    paused.stuck = paused.paused_since.map(|at| ("CanaryPauseStep".into(), at));
    let mut s = before(Role::Analyst, paused);
    assert!(!proposals(&press(&mut s, "a"))[0].reason.expose().contains("stuck"));
}

#[test]
fn a_closed_budget_is_said_and_only_a_commander_sets_it_aside() {
    let closed =
        Finding { refuses: true, text: "the error budget is closed for normal changes: api: 80 % spent".into() };
    for (role, may) in [(Role::Lead, false), (Role::Commander, true)] {
        let mut s = before(role, canary());
        let effects = press(&mut s, "3 enter");
        assert!(effects.iter().any(|e| matches!(e, Effect::Standing { .. })), "{effects:?}");
        let id = s.requests.cursor.clone().unwrap();
        let at = s.now;
        update(&mut s, at, Msg::Standing { id: id.clone(), result: Some(Ok(vec![closed.clone()])), ladder: vec![] });
        press(&mut s, "down b");
        let form = matches!(s.overlays.last(), Some(Overlay::Form(_)));
        assert_eq!(form, may, "{role:?}: {}", notice(&s));
        if !may {
            assert!(notice(&s).contains("commander"), "{}", notice(&s));
            continue;
        }
        assert!(press(&mut s, "enter").is_empty(), "a reason is needed");
        type_text(&mut s, "it is the fix");
        press(&mut s, "enter down");
        let Some(Overlay::Decide(d)) = s.overlays.last() else { panic!("{:?}", s.overlays.last()) };
        assert_eq!(d.over.as_deref(), Some("it is the fix"));
        let code = d.code.clone();
        let sent = type_text(&mut s, &code);
        assert!(
            sent.iter()
                .any(|e| matches!(e, Effect::ApproveOverBudget { reason, .. } if reason.expose() == "it is the fix")),
            "{sent:?}"
        );
    }
}

#[test]
fn backups_are_proposed_with_what_is_known_and_their_proofs_are_shown() {
    let mut s = before(Role::Analyst, canary());
    press(&mut s, "6 p");
    assert!(s.overlays.is_empty(), "no action works where this one lies");
    assert!(notice(&s).contains("no action of the catalogue works on velero-eu"), "{}", notice(&s));
    press(&mut s, "G p");
    let Some(Overlay::Picker(p)) = s.overlays.last() else { panic!() };
    assert_eq!(p.items.len(), 1);
    let tried = drafts(&press(&mut s, "enter"));
    assert_eq!(tried[0].targets, ["soc"], "what the asset covers");
    press(&mut s, "esc e");
    let Some(Overlay::Sheet(sheet)) = s.overlays.last() else { panic!() };
    let all: String = sheet.doc.rows.iter().flatten().map(|(t, _)| t.as_str()).collect();
    assert!(all.contains("drill worked") && all.contains("nothing proves it"), "{all}");
}
