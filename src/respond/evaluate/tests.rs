use super::*;
use std::path::Path;

fn person(roles: &[Role]) -> Person {
    Person {
        id: PersonId::new("pat").unwrap(),
        name: "Pat".into(),
        os_users: vec![],
        uids: vec![],
        keys: vec![],
        roles: roles.to_vec(),
    }
}

struct Case {
    policy: Policy,
    stage: Stage,
    tier: Tier,
    targets: Vec<String>,
    actor: Option<Person>,
    now: &'static str,
    last_hour: Option<u64>,
    by_target: BTreeMap<String, u64>,
    any: BTreeMap<String, u64>,
    ticket: Option<&'static str>,
}

fn case(policy: &str, targets: &[&str]) -> Case {
    Case {
        policy: Policy::parse(Path::new("p"), policy).unwrap(),
        stage: Stage::Execute,
        tier: Tier::T2,
        targets: targets.iter().map(|s| (*s).to_owned()).collect(),
        actor: Some(person(&[Role::Lead])),
        now: "2026-11-21T12:00:00Z",
        last_hour: Some(0),
        by_target: targets.iter().map(|t| ((*t).to_owned(), 0)).collect(),
        any: targets.iter().map(|t| ((*t).to_owned(), 0)).collect(),
        ticket: None,
    }
}

fn run(c: &Case) -> Vec<(bool, String)> {
    let input = PolicyInput {
        stage: c.stage,
        action: "isolate-host",
        tier: c.tier,
        targets: &c.targets,
        actor: c.actor.as_ref(),
        now: c.now.parse().unwrap(),
        last_hour: c.last_hour,
        last_hour_by_target: c.by_target.clone(),
        any_by_target: c.any.clone(),
        ticket: c.ticket,
        alone: false,
        budgets: vec![],
        guards: vec![],
        leads_back: false,
        overridden: None,
    };
    evaluate(&c.policy, &input).into_iter().map(|f| (f.refuses, f.text)).collect()
}

fn refused(c: &Case) -> bool {
    run(c).iter().any(|(r, _)| *r)
}

#[test]
fn protected_names_and_networks_refuse() {
    let p = "[[protect]]\ntargets = [\"dc*\", \"10.0.0.0/8\", \"2001:db8::/32\"]\nwhy = \"core\"\n";
    for t in ["dc01", "DC01", "dc01.corp.example", "10.1.2.3", "2001:db8::5"] {
        let c = case(p, &["web01", t]);
        assert_eq!(run(&c), [(true, format!("protected: {t} (core)"))]);
    }
    for t in ["web01", "adc01", "11.0.0.1", "2001:db9::1"] {
        assert!(run(&case(p, &[t])).is_empty(), "{t}");
    }
    let mut read = case(p, &["dc01"]);
    read.tier = Tier::T0;
    assert!(run(&read).is_empty(), "reading is not refused");
    let other = "[[protect]]\ntargets = [\"*\"]\nactions = [\"wipe-*\"]\nwhy = \"x\"\n";
    assert!(run(&case(other, &["dc01"])).is_empty());
}

#[test]
fn sensitive_targets_and_the_model_raise_the_approvals() {
    let p =
        Policy::parse(Path::new("p"), "[[protect]]\ntargets = [\"vip-*\"]\nwhy = \"board\"\napprovals = 2\n").unwrap();
    let vip = ["vip-1".to_owned()];
    let web = ["web-1".to_owned()];
    let need = |tier, targets: &[String], by| approvals_needed(&p, "isolate-host", tier, targets, by);
    assert_eq!(need(Tier::T1, &vip, Suggested::Person), 2);
    assert_eq!(need(Tier::T1, &web, Suggested::Person), 1);
    assert_eq!(need(Tier::T0, &web, Suggested::Person), 0);
    assert_eq!(need(Tier::T0, &web, Suggested::Model), 1);
    assert_eq!(need(Tier::T3, &web, Suggested::Playbook), 2);
}

#[test]
fn roles_by_stage_and_tier() {
    let p = "[tiers.T3]\napprove = [\"commander\"]\n";
    let mut c = case(p, &["a"]);
    for (stage, tier, roles, ok) in [
        (Stage::Propose, Tier::T2, vec![Role::Analyst], true),
        (Stage::Approve, Tier::T2, vec![Role::Analyst], false),
        (Stage::Approve, Tier::T2, vec![Role::Approver], true),
        (Stage::Approve, Tier::T3, vec![Role::Approver], false),
        (Stage::Approve, Tier::T3, vec![Role::Analyst, Role::Commander], true),
        (Stage::Execute, Tier::T2, vec![Role::Auditor], false),
        (Stage::Propose, Tier::T0, vec![Role::Facilitator], false),
        (Stage::Execute, Tier::T2, vec![], false),
    ] {
        (c.stage, c.tier) = (stage, tier);
        c.actor = Some(person(&roles));
        assert_eq!(!refused(&c), ok, "{stage:?} {tier:?} {roles:?}");
    }
    c.actor = None;
    assert!(refused(&c), "unknown is nobody");
}

#[test]
fn hours_follow_the_time_zone_and_its_clock_changes() {
    let p = "time_zone = \"Europe/Berlin\"\n[[hours]]\ntiers = [\"T2\"]\ndays = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\"]\n\
             from = \"07:00\"\nto = \"20:00\"\n";
    let mut c = case(p, &["a"]);
    for (now, ok) in [
        // Winter: UTC+1. 2026-11-20 is a Friday.
        ("2026-11-20T05:59:59Z", false),
        ("2026-11-20T06:00:00Z", true),
        ("2026-11-20T18:59:59Z", true),
        ("2026-11-20T19:00:00Z", false),
        ("2026-11-21T12:00:00Z", false),
        // Summer: UTC+2.
        ("2026-07-01T05:00:00Z", true),
        ("2026-07-01T18:00:00Z", false),
    ] {
        c.now = now;
        assert_eq!(!refused(&c), ok, "{now}");
    }
    assert_eq!(
        run(&c)[0].1,
        "it is Wed 20:00 in Europe/Berlin, and this may start only Mon, Tue, Wed, Thu, Fri 07:00 to 20:00"
    );
    c.stage = Stage::Propose;
    assert!(!refused(&c) && run(&c).len() == 1, "told, not refused");
    c.tier = Tier::T1;
    assert!(run(&c).is_empty());
}

#[test]
fn a_span_past_midnight_belongs_to_the_day_it_begins() {
    let p = "[[hours]]\ndays = [\"fri\"]\nfrom = \"22:00\"\nto = \"06:00\"\n";
    let mut c = case(p, &["a"]);
    for (now, ok) in [
        ("2026-11-20T21:59:00Z", false),
        ("2026-11-20T22:00:00Z", true),
        ("2026-11-21T05:59:00Z", true),
        ("2026-11-21T06:00:00Z", false),
        ("2026-11-21T23:00:00Z", false),
        ("2026-11-20T03:00:00Z", false),
    ] {
        c.now = now;
        assert_eq!(!refused(&c), ok, "{now}");
    }
}

#[test]
fn caps_refuse_the_start_and_what_is_not_known_refuses() {
    let p = "[[caps]]\nactions = [\"isolate-*\"]\nper_hour = 3\nper_target_per_hour = 1\n";
    let mut c = case(p, &["a", "b"]);
    assert!(!refused(&c));
    c.last_hour = Some(2);
    assert!(refused(&c));
    c.stage = Stage::Propose;
    assert!(!refused(&c) && run(&c).len() == 1, "told, not refused");
    c.last_hour = None;
    assert!(refused(&c), "unknown");
    let mut c = case(p, &["a", "b"]);
    c.by_target.insert("b".into(), 1);
    assert!(refused(&c));
    c.by_target.remove("b");
    assert!(refused(&c), "unknown");
    let mut c = case(p, &["a", "b", "c", "d"]);
    c.stage = Stage::Propose;
    assert!(refused(&c), "it could never start");
}

#[test]
fn a_guard_that_fails_or_is_not_known_refuses_until_it_is_set_aside() {
    let (lead, action, targets) = (person(&[Role::Lead]), "rollout-promote", vec!["prod/shop/web".to_owned()]);
    let policy = Policy::built_in();
    let word = Override { by: PersonId::new("carol").unwrap(), reason: Untrusted::new("we know") };
    let look = |stage, answer, overridden| {
        let input = PolicyInput {
            stage,
            action,
            tier: Tier::T2,
            targets: &targets,
            actor: Some(&lead),
            now: Timestamp::UNIX_EPOCH,
            last_hour: Some(0),
            last_hour_by_target: BTreeMap::new(),
            any_by_target: BTreeMap::new(),
            ticket: None,
            alone: false,
            budgets: vec![],
            guards: vec![Guard { what: "gate \"zones\"".into(), answer, why: "1 of 2".into() }],
            leads_back: false,
            overridden,
        };
        let found = evaluate(&policy, &input);
        (found.iter().any(|f| f.refuses), found.first().map(|f| f.text.clone()).unwrap_or_default())
    };
    for answer in [Tri::Fail, Tri::Unknown] {
        assert!(!look(Stage::Propose, answer, None).0, "proposing is told");
        assert!(look(Stage::Approve, answer, None).0 && look(Stage::Execute, answer, None).0);
        let (refuses, text) = look(Stage::Approve, answer, Some(&word));
        assert!(!refuses && text.contains("overridden by carol: we know"), "{text}");
    }
    assert_eq!(look(Stage::Approve, Tri::Fail, None).1, "gate \"zones\" fails: 1 of 2");
    assert_eq!(look(Stage::Approve, Tri::Pass, None), (false, String::new()));
}

#[test]
fn a_closed_or_unknown_budget_refuses_approval_and_start() {
    use crate::model::slo::ChangeClass;
    let policy = Policy::parse(Path::new("p"), "[[budget]]\nactions = [\"rollout-*\"]\n").unwrap();
    let actor = person(&[Role::Commander]);
    let word = Override { by: PersonId::new("carol").unwrap(), reason: "the fix itself".into() };
    let run = |stage, answer: Option<Tri>, overridden| {
        let reasons = vec!["shop/api: 80 % spent".to_owned()];
        let input = PolicyInput {
            stage,
            action: "rollout-promote",
            tier: Tier::T1,
            targets: &["shop/web".to_owned()],
            actor: Some(&actor),
            now: "2026-11-21T12:00:00Z".parse().unwrap(),
            last_hour: Some(0),
            last_hour_by_target: BTreeMap::new(),
            any_by_target: BTreeMap::new(),
            ticket: None,
            alone: false,
            budgets: answer
                .map(|answer| GateAnswer { class: ChangeClass::Normal, answer, reasons })
                .into_iter()
                .collect(),
            guards: vec![],
            leads_back: false,
            overridden,
        };
        evaluate(&policy, &input).into_iter().map(|f| (f.refuses, f.text)).collect::<Vec<_>>()
    };
    for (stage, answer, refuses) in [
        (Stage::Propose, Some(Tri::Fail), Some(false)),
        (Stage::Approve, Some(Tri::Pass), None),
        (Stage::Approve, Some(Tri::Fail), Some(true)),
        (Stage::Approve, Some(Tri::Unknown), Some(true)),
        (Stage::Approve, None, Some(true)),
        (Stage::Execute, Some(Tri::Pass), None),
        (Stage::Execute, Some(Tri::Fail), Some(true)),
        (Stage::Execute, None, Some(true)),
    ] {
        let found = run(stage, answer, None);
        assert_eq!(found.first().map(|f| f.0), refuses, "{stage:?} {answer:?}: {found:?}");
        let found = run(stage, answer, Some(&word));
        assert!(found.iter().all(|f| !f.0 && f.1.contains("overridden by carol: the fix itself")), "{found:?}");
        assert_eq!(found.is_empty(), refuses.is_none(), "an override is shown");
    }
    assert_eq!(
        run(Stage::Approve, Some(Tri::Fail), None)[0].1,
        "the error budget is closed for normal changes: shop/api: 80 % spent"
    );
    for (action, asked) in [("rollout-promote", 1), ("rollout-abort", 0), ("rollout-undo", 0), ("isolate-host", 0)] {
        assert_eq!(budgets_asked(&policy, action, false).len(), asked, "{action}: going back is always allowed");
    }
    let asked = |policy: &Policy, back| budgets_asked(policy, "rollout-scale", back).len();
    assert_eq!((asked(&policy, false), asked(&policy, true)), (1, 0), "a pair goes back by a scale");
    let strict = "[[budget]]\nactions = [\"rollout-*\"]\nexcept = []\n";
    let strict = Policy::parse(Path::new("p"), strict).unwrap();
    assert_eq!(asked(&strict, true), 1, "who holds aborts holds these too");
}

#[test]
fn too_many_targets_refuse() {
    let c = case("max_targets = 2\n", &["a", "b", "c"]);
    assert_eq!(run(&c)[0].1, "3 targets, but the policy allows 2 in one T2 disruptive request");
}

#[test]
fn a_host_has_a_cap_over_all_actions() {
    let mut c = case("[[caps]]\nper_host_per_hour = 2\n", &["a", "b"]);
    c.any.insert("a".into(), 1);
    assert!(!refused(&c));
    c.any.insert("a".into(), 2);
    assert_eq!(run(&c), [(true, "a was acted on 2 times in the last hour; the cap is 2".to_owned())]);
    c.stage = Stage::Approve;
    assert!(!refused(&c) && run(&c).len() == 1, "told, not refused");
    c.any.remove("b");
    assert!(refused(&c), "unknown");
}

#[test]
fn a_ticket_that_is_missing_refuses_approval_and_start() {
    for policy in ["[tiers.T2]\nticket = true\n", "[[ticket]]\nactions = [\"isolate-*\"]\ntiers = [\"T2\"]\n"] {
        let mut c = case(policy, &["a"]);
        for (stage, refuses) in
            [(Stage::Propose, false), (Stage::Approve, true), (Stage::BreakGlass, false), (Stage::Execute, true)]
        {
            c.stage = stage;
            c.actor = Some(person(&[Role::Lead, Role::Commander]));
            assert_eq!(refused(&c), refuses, "{stage:?}");
            assert_eq!(run(&c).len(), 1, "and it is told");
        }
        c.ticket = Some("CHG0042");
        assert_eq!(run(&c), [(false, "the change board knows it as CHG0042".to_owned())]);
        c.tier = Tier::T1;
        assert!(run(&c).is_empty());
    }
}

#[test]
fn maintenance_forbids_opens_and_limits() {
    let zone = "time_zone = \"Europe/Berlin\"\n";
    let window = |start: &str| {
        format!(
            "{zone}[[maintenance]]\nstart = \"{start}\"\nfrom = \"2026-11-20T20:00\"\nto = \"2026-11-20T23:00\"\n\
             targets = [\"db*\"]\nwhy = \"year-end closing\"\n"
        )
    };
    let hours = "[[hours]]\nfrom = \"07:00\"\nto = \"18:00\"\n";
    let (before, within) = ("2026-11-20T18:59:59Z", "2026-11-20T19:00:00Z");
    let (last, after) = ("2026-11-20T21:59:59Z", "2026-11-20T22:00:00Z");
    for (start, target, now, ok) in [
        ("forbidden", "db1", before, true),
        ("forbidden", "db1", within, false),
        ("forbidden", "db1", last, false),
        ("forbidden", "db1", after, true),
        ("forbidden", "web1", within, true),
        ("only", "db1", before, false),
        ("only", "db1", within, true),
        ("only", "db1", last, true),
        ("only", "db1", after, false),
        ("only", "web1", before, true),
    ] {
        let mut c = case(&window(start), &[target]);
        c.now = now;
        assert_eq!(!refused(&c), ok, "{start} {target} {now}: {:?}", run(&c));
        c.stage = Stage::Approve;
        assert!(!refused(&c), "only the start");
    }
    // In an open window the hours do not count, and outside of it they do.
    for (target, now, ok) in [("db1", within, true), ("db1", after, false), ("web1", within, false)] {
        let mut c = case(&format!("{}{hours}", window("allowed")), &[target]);
        c.now = now;
        assert_eq!(!refused(&c), ok, "{target} {now}: {:?}", run(&c));
    }
    let mut c = case(&window("forbidden"), &["db1"]);
    c.now = within;
    assert_eq!(
        run(&c)[0].1,
        "nothing may start from 2026-11-20T20:00 to 2026-11-20T23:00 in Europe/Berlin: year-end closing"
    );
}
