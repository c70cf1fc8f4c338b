use super::*;
use crate::model::alert::Disposition;
use crate::model::priority::Priority;
use crate::model::severity::Severity;
use crate::model::verdict::Suggestion;
use crate::triage::check::check;
use crate::triage::testing::question;
use crate::triage::{Context, Neighbour, PastCount};

fn at() -> Timestamp {
    "2026-01-05T09:00:00Z".parse().unwrap()
}

fn past(alike: &str, tp: u64, btp: u64, fp: u64) -> PastCount {
    PastCount {
        alike: alike.into(),
        true_positive: tp,
        benign_true_positive: btp,
        false_positive: fp,
        undetermined: 0,
        total: tp + btp + fp,
        weighted: [tp as f64, btp as f64, fp as f64, 0.0],
        ..PastCount::default()
    }
}

#[test]
fn lsass_on_a_workstation_is_a_true_positive_with_founded_quotes() {
    let mut q = question(
        r#"{"rule":{"description":"LSASS memory read","id":"100310","mitre":{"id":["T1003.001"]}},
        "agent":{"name":"fin-ws-014"},"data":{"commandLine":"rundll32.exe comsvcs.dll, MiniDump 712 c:\\x.dmp full"}}"#,
    );
    q.alert.fields.title = "LSASS memory read".into();
    q.alert.fields.severity = Severity::High;
    q.alert.fields.host = Some("fin-ws-014".into());
    q.alert.fields.techniques = vec!["T1003.001".into()];
    q.alert.priority = Priority::P1;
    let offer = Offer { actions: vec!["isolate-host".to_owned(), "wipe-host".to_owned()], ..Offer::default() };
    let v = check(Rules::new(offer.clone()).opinion(&q, at()), &q, &offer);
    assert_eq!(v.kind, VerdictKind::TruePositive, "{v:#?}");
    assert!(v.confidence.unwrap() > 0.8 && v.claims.len() >= 3, "{v:#?}");
    assert!(v.claims.iter().all(|c| c.founded), "{v:#?}");
    assert_eq!(v.advised_priority, Some(Priority::P0));
    assert_eq!(v.suggested_actions, [Suggestion::from("isolate-host")]);
    assert!(v.remark.as_ref().unwrap().expose().contains("technique T1003.001 +0.8"));
    assert_eq!(v, check(Rules::new(offer.clone()).opinion(&q, at()), &q, &offer), "deterministic");
}

#[test]
fn a_rule_closed_as_false_47_of_48_times_is_a_false_positive_and_says_so() {
    let mut q = question(r#"{"RuleTitle":"Print spooler loaded a driver file","Computer":"srv-print-01"}"#);
    q.alert.fields.title = "Print spooler loaded a driver file".into();
    q.alert.fields.severity = Severity::Medium;
    q.alert.fields.rule_name = Some(q.alert.fields.title.clone());
    q.context =
        Context { past: vec![past("rule+host", 1, 0, 47)], rule_seen: 480, all_seen: 4000, ..Context::default() };
    let v = check(Rules::default().opinion(&q, at()), &q, &Offer::default());
    assert_eq!(v.kind, VerdictKind::FalsePositive, "{v:#?}");
    assert!(v.claims.iter().any(|c| c.founded && c.text.expose().contains("47 false of 48")), "{v:#?}");
    assert_eq!(v.advised_priority, None);

    q.context.past = vec![past("rule+host", 1, 40, 7)];
    assert_eq!(Rules::default().opinion(&q, at()).kind, VerdictKind::BenignTruePositive);
    q.context.past = vec![past("rule+host", 0, 0, 2)];
    assert_eq!(Rules::default().opinion(&q, at()).kind, VerdictKind::NeedsInvestigation, "two are not enough");
    q.context.past = vec![past("rule+host", 10, 0, 38)];
    assert_eq!(Rules::default().opinion(&q, at()).kind, VerdictKind::NeedsInvestigation, "one in five was real");
}

#[test]
fn history_does_not_outvote_a_telling_command_or_a_critical_alert() {
    let mut q =
        question(r#"{"rule":{"description":"Process created"},"cmdline":"vssadmin.exe Delete Shadows /all /quiet"}"#);
    q.alert.fields.title = "Process created".into();
    q.alert.fields.severity = Severity::Low;
    q.alert.fields.rule_name = Some("Process created".into());
    q.context.past = vec![past("rule", 0, 0, 500)];
    let v = Rules::default().opinion(&q, at());
    assert_eq!(v.kind, VerdictKind::NeedsInvestigation, "{v:#?}");
    assert!(v.claims.iter().any(|c| c.quote.expose().starts_with("Delete Shadows")), "{v:#?}");
    let mut q = question(r#"{"rule":{"description":"Process created"}}"#);
    q.alert.fields.rule_name = Some("Process created".into());
    q.alert.fields.severity = Severity::High;
    q.context.past = vec![past("rule", 0, 0, 500)];
    assert_eq!(Rules::default().opinion(&q, at()).kind, VerdictKind::FalsePositive);
    q.alert.fields.severity = Severity::Critical;
    q.context.past = vec![past("rule", 0, 0, 500)];
    assert_eq!(Rules::default().opinion(&q, at()).kind, VerdictKind::NeedsInvestigation);
}

#[test]
fn with_nothing_known_it_says_what_to_find_out() {
    let q = question("{}");
    let v = check(Rules::default().opinion(&q, at()), &q, &Offer::default());
    assert_eq!((v.kind, v.confidence), (VerdictKind::NeedsInvestigation, None));
    assert!(v.claims.is_empty() && v.questions.len() >= 3, "{v:#?}");
    assert!(v.remark.unwrap().expose().contains("no closed alert is alike"));
}

#[test]
fn a_story_nearby_counts_and_repeats_do_not() {
    let mut q = question(r#"{"host":"fin-ws-014"}"#);
    q.alert.fields.host = Some("fin-ws-014".into());
    q.alert.fields.title = "Same".into();
    let weight = |q: &Question| Nearby::of(q).reasons.iter().map(|r| r.weight).sum::<f64>();
    q.context.neighbours = (0..9).map(|i| Neighbour::named("Same", i)).collect();
    assert_eq!(weight(&q), 0.0);
    q.context.neighbours = ["A", "B", "C", "D"].into_iter().map(|t| Neighbour::named(t, -60)).collect();
    assert_eq!((weight(&q), Nearby::of(&q).story), (0.4, false));
    for (n, technique) in q.context.neighbours.iter_mut().zip(["T1003", "T1021", "T1059", "T1486"]) {
        n.techniques = vec![technique.into()];
    }
    assert_eq!((weight(&q), Nearby::of(&q).story), (1.0, true));
    q.context.neighbours.iter_mut().for_each(|n| n.severity = Severity::Informational);
    assert_eq!(weight(&q), 0.0, "telemetry tells no story");
    q.context.neighbours.iter_mut().for_each(|n| (n.severity, n.seconds) = (Severity::High, 7200));
    assert_eq!(weight(&q), 0.0, "two hours away");
}

/// A question whose rule was closed as said.
fn ruled(past: Vec<PastCount>) -> Question {
    let mut q = question(r#"{"rule":{"description":"Login succeeded","id":"9701"},"host":"mail-1"}"#);
    q.alert.fields.title = "Login succeeded".into();
    q.alert.fields.rule_name = Some("Login succeeded".into());
    q.alert.fields.rule_id = Some("9701".into());
    q.alert.fields.host = Some("mail-1".into());
    q.alert.fields.severity = Severity::Medium;
    q.context.past = past;
    q
}

fn kind(q: &Question) -> VerdictKind {
    check(Rules::default().opinion(q, at()), q, &Offer::default()).kind
}

#[test]
fn history_alone_can_carry_a_true_positive_and_the_narrower_one_wins() {
    assert_eq!(kind(&ruled(vec![past("rule", 60, 0, 2)])), VerdictKind::TruePositive);
    // Noise everywhere but on this host.
    let q = ruled(vec![past("rule+host", 30, 0, 0), past("rule", 30, 0, 900)]);
    assert_eq!(kind(&q), VerdictKind::TruePositive);
    let q = ruled(vec![past("rule+host", 0, 0, 30), past("rule", 900, 0, 30)]);
    assert_eq!(kind(&q), VerdictKind::FalsePositive);
    assert_eq!(kind(&ruled(vec![past("rule", 2, 0, 0)])), VerdictKind::NeedsInvestigation, "two are not enough");
}

#[test]
fn a_closing_counts_once_however_many_ways_it_is_alike() {
    let alike = ["group", "rule+host", "rule+user", "rule+address", "shape", "rule", "name"];
    let odds = |names: &[&str]| {
        let q = ruled(names.iter().map(|a| past(a, 0, 0, 6)).collect());
        Weighed::of(&q, at()).p
    };
    let (all, one) = (odds(&alike), odds(&["rule"]));
    assert!((all - one).abs() < 1e-9, "{all} {one}");
}

#[test]
fn the_words_of_an_alert_alone_never_make_it_false() {
    let mut q = ruled(vec![past("rule", 0, 0, 500)]);
    assert_eq!(kind(&q), VerdictKind::FalsePositive);
    (q.alert.fields.rule_id, q.alert.fields.rule_name) = (None, None);
    let v = Rules::default().opinion(&q, at());
    assert_eq!(v.kind, VerdictKind::NeedsInvestigation);
    assert!(v.questions[0].expose().contains("only its title is alike"), "{v:#?}");
    // Entities without the rule carry nothing either.
    let q = ruled(vec![past("host", 0, 0, 500), past("address", 0, 0, 500), past("all", 0, 0, 900)]);
    assert_eq!(kind(&q), VerdictKind::NeedsInvestigation);
}

#[test]
fn a_true_positive_near_by_is_believed_and_never_called_away() {
    let near = |disposition, seconds, n: usize, title: &str| {
        let one = Neighbour { disposition: Some(disposition), ..Neighbour::named(title, seconds) };
        vec![one; n]
    };
    let noisy = || ruled(vec![past("rule", 0, 0, 500)]);
    let mut q = noisy();
    q.context.neighbours = near(Disposition::TruePositive, 1800, 1, "Shell opened");
    assert_eq!(kind(&q), VerdictKind::NeedsInvestigation, "not false any more");
    let mut q = ruled(vec![]);
    q.context.neighbours = near(Disposition::TruePositive, 20, 3, "Login succeeded");
    assert_eq!(kind(&q), VerdictKind::TruePositive, "one of a burst that people have closed");
    q.context.neighbours.iter_mut().for_each(|n| n.disposition = None);
    assert_eq!(kind(&q), VerdictKind::NeedsInvestigation);
    q.context.neighbours.iter_mut().for_each(|n| n.verdict = Some(VerdictKind::TruePositive));
    assert_eq!(kind(&q), VerdictKind::NeedsInvestigation, "what a backend said is no evidence");
    let mut q = noisy();
    q.context.neighbours = near(Disposition::FalsePositive, 20, 5, "Login succeeded");
    assert_eq!(kind(&q), VerdictKind::FalsePositive);
}

#[test]
fn old_experience_fades() {
    let mut old = past("rule", 0, 0, 40);
    old.weighted = [0.0, 0.0, 0.3, 0.0];
    old.last_closed = Some("2025-07-05T09:00:00Z".parse().unwrap());
    let q = ruled(vec![old]);
    assert_eq!(kind(&q), VerdictKind::NeedsInvestigation);
    let said = Rules::default().opinion(&q, at()).remark.unwrap().into_exposed();
    assert!(said.contains("40 false of 40 closed, last 184 days ago"), "{said}");
}

#[test]
fn claims_say_what_they_weigh() {
    let mut p = past("rule+host", 1, 0, 47);
    p.last_closed = Some("2026-01-03T08:00:00Z".parse().unwrap());
    let v = check(Rules::default().opinion(&ruled(vec![p]), at()), &ruled(vec![]), &Offer::default());
    let text = v.claims[0].text.expose();
    assert!(
        text.starts_with("same rule on this host: 1 true, 47 false of 48 closed, last 2 days ago; weighs -"),
        "{text}"
    );
}

proptest::proptest! {
    /// More closings as true never make it less likely, more as false never more so; and nothing makes a probability
    /// that is none.
    #[test]
    fn experience_points_its_way(
        parts in proptest::collection::vec((0u64..20, 0u64..20, 0u64..20), 11),
        which in 0usize..7,
    ) {
        let alike = crate::store::PastDispositions::ALIKE;
        // Wider ones hold what narrower ones hold.
        let counts: Vec<(u64, u64, u64)> = parts
            .iter()
            .scan((0, 0, 0), |sum, p| {
                *sum = (sum.0 + p.0, sum.1 + p.1, sum.2 + p.2);
                Some(*sum)
            })
            .collect();
        let made = |add: (u64, u64)| {
            let all = alike.iter().zip(&counts).enumerate();
            ruled(all.map(|(i, (a, (t, b, f)))| {
                let more = if i >= which && i < 7 || i == 10 { add } else { (0, 0) };
                past(a, t + more.0, *b, f + more.1)
            }).collect())
        };
        let p = |q: &Question| Weighed::of(q, at()).learnt.reasons.iter()
            .filter(|r| r.about == About::History).map(|r| r.weight).sum::<f64>();
        let (plain, more_true, more_false) = (p(&made((0, 0))), p(&made((20, 0))), p(&made((0, 20))));
        proptest::prop_assert!(plain.is_finite());
        let whole = Weighed::of(&made((0, 0)), at());
        proptest::prop_assert!((0.0..=1.0).contains(&whole.p));
        proptest::prop_assert!(more_true >= plain - 1e-9 && more_false <= plain + 1e-9);
    }
}
