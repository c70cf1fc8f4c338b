use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::audit::AuditFilter;
use crate::config::Settings;
use crate::desk::Demo;
use crate::desk::DeskOptions;
use crate::model::person::Person;
use crate::model::person::Role;
use crate::model::person::Roster;
use crate::model::query::Page;
use crate::model::query::Query;
use crate::model::query::SortKey;
use crate::respond::Catalogue;
use crate::respond::Policy;

fn who(name: &str) -> PersonId {
    PersonId::new(name).unwrap()
}

/// A desk of its own with three alerts, at which alice works and eve may only look.
fn desk(change: impl FnOnce(&mut Settings)) -> (Arc<Desk>, Vec<AlertId>, TempDir) {
    let person = |name: &str, roles: &[Role]| Person {
        id: who(name),
        name: name.into(),
        os_users: Vec::new(),
        uids: Vec::new(),
        keys: Vec::new(),
        roles: roles.to_vec(),
    };
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    change(&mut settings);
    let desk = Desk::open(DeskOptions {
        data_dir: dir.path().join("data"),
        settings,
        roster: Roster { people: vec![person("alice", &[Role::Analyst]), person("eve", &[Role::Auditor])] },
        roster_file: None,
        me: Some(who("alice")),
        read_only: false,
        exercise: None,
        catalogue: Catalogue::default(),
        policy: Policy::built_in(),
        secrets: Arc::new(|name| Err(format!("{name}: no secrets here"))),
        assets: Arc::new(|_| 100),
        known: Default::default(),
        notices: Vec::new(),
    });
    let desk = Arc::new(desk.unwrap());
    let batch: Vec<_> = (0..3).map(crate::store::conformance::sample).collect();
    desk.store.ingest(&batch, &[], None, Timestamp::now()).unwrap();
    let rows = desk.rows(&Query::All, SortKey::Oldest, Page::First, 9).unwrap();
    (desk, rows.iter().map(|r| r.id).collect(), dir)
}

/// Kind, request id and body of what is on record about triage, oldest first.
fn on_record(desk: &Desk) -> Vec<(String, Option<String>, Value)> {
    let mut all = desk.audit_records(&AuditFilter::default(), 1_000).unwrap();
    all.sort_by_key(|r| r.seq);
    all.into_iter().filter(|r| r.kind.starts_with("triage.")).map(|r| (r.kind, r.request_id, r.body)).collect()
}

async fn triage(desk: &Desk, id: AlertId, by: Option<&PersonId>) -> Result<Verdict> {
    desk.triage(id, None, by, &|_| {}, &Cancel::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_for_an_opinion_is_on_record_and_the_prompt_is_not() {
    let (desk, ids, _dir) = desk(|_| {});
    let verdict = triage(&desk, ids[0], Some(&who("alice"))).await.unwrap();
    let records = on_record(&desk);
    let kinds: Vec<&str> = records.iter().map(|r| r.0.as_str()).collect();
    assert_eq!(kinds, ["triage.request", "triage.verdict"]);
    assert!(records.iter().all(|r| r.1.as_ref() == Some(&verdict.request_id) && r.2["alert"] == ids[0].0));
    assert_eq!((&records[1].2["backend"], &records[1].2["fallback"]), (&"rules".into(), &false.into()));
    let text = serde_json::to_string(&records).unwrap();
    assert!(!text.contains("Sample"), "{text}");
    for stranger in ["eve", "bob"] {
        assert!(matches!(triage(&desk, ids[1], Some(&who(stranger))).await, Err(DeskError::Refused(_))), "{stranger}");
    }
    triage(&desk, ids[1], None).await.unwrap();
    assert_eq!(on_record(&desk).len(), 2, "the desk by itself asks for nobody");
    assert!(matches!(triage(&desk, AlertId(99), None).await, Err(DeskError::No(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_is_recorded_and_changes_nothing_else() {
    let (desk, ids, _dir) = desk(|_| {});
    let alice = who("alice");
    let verdict = triage(&desk, ids[0], None).await.unwrap();
    let other = VerdictKind::ALL.into_iter().find(|k| *k != verdict.kind).unwrap();
    let before = desk.detail(ids[0]).unwrap().unwrap();
    let say = |by: &str, request: &str, kind, reason: &str| desk.review(&who(by), ids[0], request, kind, reason.into());
    assert!(matches!(say("alice", &verdict.request_id, other, " "), Err(DeskError::Usage(_))), "without a reason");
    assert!(matches!(say("alice", "nobody", verdict.kind, ""), Err(DeskError::No(_))));
    assert!(matches!(say("eve", &verdict.request_id, verdict.kind, ""), Err(DeskError::Refused(_))));
    assert!(on_record(&desk).is_empty(), "what was refused is not recorded as done");
    let accepted = say("alice", &verdict.request_id, verdict.kind, "").unwrap();
    let overridden = say("alice", &verdict.request_id, other, "it is the backup job").unwrap();
    assert!(accepted.agrees() && !overridden.agrees() && overridden.by == alice);
    let records = on_record(&desk);
    assert_eq!(records.len(), 2);
    assert_eq!(records[1].2["says"], other.word());
    let after = desk.detail(ids[0]).unwrap().unwrap();
    assert_eq!(after.reviews, [overridden, accepted]);
    assert_eq!((after.agreement.len(), after.agreement[0].overridden), (1, 1), "the last word counts");
    let mut same = after.alert.clone();
    same.rev = before.alert.rev;
    assert_eq!(same, before.alert);
    assert_eq!(after.timeline.iter().filter(|e| e.kind == "review").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_cannot_be_made_is_labelled_unless_it_was_named() {
    let (desk, ids, _dir) = desk(|s| {
        s.triage.backend = "openai".into();
        s.triage.openai.url = "ftp://nowhere".into();
    });
    let verdict = triage(&desk, ids[0], None).await.unwrap();
    assert!(verdict.fallback);
    let remark = verdict.remark.unwrap();
    assert!(remark.expose().starts_with("openai did not give an opinion: configuration: "), "{remark:?}");
    let named = desk.triage(ids[0], Some("openai"), None, &|_| {}, &Cancel::new()).await;
    assert!(matches!(named, Err(DeskError::Usage(_))));
    let health = desk.ask_health().await;
    assert!(!health.up && health.detail.contains("triage.openai"), "{health:?}");
    let alice = who("alice");
    let asked = desk.ask(&alice, ids[0], "why?".into(), Vec::new(), &|_| {}, &Cancel::new()).await;
    assert!(matches!(asked, Err(DeskError::Usage(_))));
    assert!(matches!(desk.replay(&alice, "r", &Cancel::new()).await, Err(DeskError::No(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_bounded() {
    let (desk, ids, _dir) = desk(|_| {});
    for text in [String::new(), " \n".into(), "x".repeat(QUESTION_MAX + 1)] {
        let asked = desk.ask(&who("alice"), ids[0], text.into(), Vec::new(), &|_| {}, &Cancel::new()).await;
        assert!(matches!(asked, Err(DeskError::Usage(_))));
    }
}

#[test]
fn the_queue_is_for_those_who_work_here_and_says_when_nobody_runs_it() {
    let (desk, ids, _dir) = desk(|_| {});
    let alice = who("alice");
    assert!(matches!(desk.enqueue_triage(&who("eve"), &ids), Err(DeskError::Refused(_))));
    assert!(matches!(desk.enqueue_triage(&alice, &[]), Err(DeskError::Usage(_))));
    assert_eq!(desk.enqueue_triage(&alice, &ids).unwrap(), 3);
    let queue = desk.triage_queue().unwrap();
    assert_eq!((queue.waiting, queue.asked, queue.done), (3, 3, 0));
    assert!(queue.held.unwrap().contains("watchfloor serve"));
    assert_eq!(desk.cancel_triage_queue(&alice).unwrap(), 3);
    assert_eq!(desk.triage_stats(24).unwrap().queue, TriageQueue::default());
    let kinds: Vec<String> = on_record(&desk).into_iter().map(|r| r.0).collect();
    assert_eq!(kinds, ["triage.enqueue", "triage.cancel"]);
}

#[test]
fn workers_of_a_live_desk_do_what_is_asked() {
    let demo = Demo::open(None, Some("bob")).unwrap();
    demo.fill(60.0).unwrap();
    let desk = Arc::clone(&demo.desk);
    let ids: Vec<AlertId> = desk
        .rows(&Query::All, SortKey::Risk, Page::First, 40)
        .unwrap()
        .iter()
        .filter(|r| r.verdict.is_none())
        .map(|r| r.id)
        .collect();
    assert!(ids.len() > 10);
    let live = desk.start_live(None).unwrap();
    assert_eq!(desk.enqueue_triage(&who("bob"), &ids).unwrap(), ids.len());
    let until = std::time::Instant::now() + std::time::Duration::from_secs(150);
    while desk.triage_queue().unwrap() != TriageQueue::default() {
        assert!(std::time::Instant::now() < until, "{:?}", desk.triage_queue());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    drop(live);
    for id in &ids {
        assert_eq!(desk.store.verdicts(*id, 9).unwrap().len(), 1, "alert {id}");
    }
    let given = on_record(&desk).into_iter().filter(|r| r.0 == "triage.verdict").count();
    assert_eq!(given, ids.len(), "each with who asked for it");
    let stats = desk.triage_stats(1).unwrap();
    assert_eq!((stats.verdicts as usize, stats.fallbacks, stats.by_model), (ids.len(), 0, 0));
}
