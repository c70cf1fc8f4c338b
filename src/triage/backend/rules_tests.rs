use super::*;
use crate::model::verdict::Suggestion;
use crate::triage::check::check;
use crate::triage::testing::question;
use crate::triage::{Context, Neighbour};

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
    q.context =
        Context { past: vec![past("rule+host", 1, 0, 47)], rule_seen: 480, all_seen: 4000, ..Context::default() };
    let v = check(Rules::default().opinion(&q, at()), &q, &Offer::default());
    assert_eq!(v.kind, VerdictKind::FalsePositive, "{v:#?}");
    assert!(v.claims.iter().any(|c| c.founded && c.text.expose().contains("47 false of 48")), "{v:#?}");
    assert_eq!(v.advised_priority, None);

    q.context.past = vec![past("rule+host", 1, 40, 7)];
    assert_eq!(Rules::default().opinion(&q, at()).kind, VerdictKind::BenignTruePositive);
    q.context.past = vec![past("rule+host", 0, 0, 4)];
    assert_eq!(Rules::default().opinion(&q, at()).kind, VerdictKind::NeedsInvestigation, "four are not enough");
    q.context.past = vec![past("rule+host", 10, 0, 38)];
    assert_eq!(Rules::default().opinion(&q, at()).kind, VerdictKind::NeedsInvestigation, "one in five was real");
}

#[test]
fn history_does_not_outvote_a_telling_command_or_a_critical_alert() {
    let mut q =
        question(r#"{"rule":{"description":"Process created"},"cmdline":"vssadmin.exe Delete Shadows /all /quiet"}"#);
    q.alert.fields.title = "Process created".into();
    q.alert.fields.severity = Severity::Low;
    q.context.past = vec![past("rule", 0, 0, 500)];
    let v = Rules::default().opinion(&q, at());
    assert_eq!(v.kind, VerdictKind::NeedsInvestigation, "{v:#?}");
    assert!(v.claims.iter().any(|c| c.quote.expose().starts_with("Delete Shadows")), "{v:#?}");
    let mut q = question(r#"{"rule":{"description":"Process created"}}"#);
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
    assert!(v.remark.unwrap().expose().contains("not enough to say more"));
}

#[test]
fn a_story_nearby_counts_and_repeats_do_not() {
    let mut q = question(r#"{"host":"fin-ws-014"}"#);
    q.alert.fields.host = Some("fin-ws-014".into());
    q.context.neighbours = (0..9).map(|i| Neighbour::named("Same", i)).collect();
    assert!(neighbours(&q).is_none());
    q.context.neighbours = ["A", "B", "C", "D"].into_iter().map(|t| Neighbour::named(t, -60)).collect();
    assert_eq!(neighbours(&q).unwrap().weight, 1.0);
    q.context.neighbours.iter_mut().for_each(|n| n.seconds = 7200);
    assert!(neighbours(&q).is_none(), "two hours away");
}
