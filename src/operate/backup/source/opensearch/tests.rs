use jiff::Timestamp;
use serde_json::{Value, json};

use super::answers::Answers;
use super::{Trouble, Verified, Verify, is_due};
use crate::model::backup::{Backup, BackupPhase};
use crate::model::health::SourceState;
use crate::model::health::{SourceWord, Tri};
use crate::operate::backup::Read;

fn now() -> Timestamp {
    "2026-11-21T02:10:00Z".parse().unwrap()
}

fn said(status: u16, kind: &str, reason: &str) -> Trouble {
    Trouble::Said { status, kind: kind.into(), reason: reason.into() }
}

fn taken(state: &str, total: u64, failed: u64) -> Value {
    json!({
        "snapshot": "nightly-1", "uuid": "x", "indices": ["alerts-1", "cases-1"], "data_streams": ["logs"], "state": state,
        "start_time_in_millis": 1_795_226_400_000_i64, "end_time_in_millis": 1_795_226_460_000_i64,
        "failures": [], "shards": { "total": total, "failed": failed, "successful": total - failed },
    })
}

fn answers(snapshot: Value) -> Answers {
    Answers {
        snapshots: Ok(json!({ "snapshots": [snapshot] })),
        verified: Some(Ok(json!({ "nodes": { "n1": { "name": "n1" } } }))),
        policies: Err(said(400, "error", "no handler found for uri [/_plugins/_sm/policies] and method [GET]")),
        ..Answers::default()
    }
}

fn read(name: &str, repository: &str, answers: &Answers, now: Timestamp) -> (Read, SourceState) {
    super::answers::read(name, repository, answers, None, now)
}

fn one(answers: &Answers) -> Backup {
    read("search", "nightly", answers, now()).0.backups.remove(0)
}

#[test]
fn every_state_has_one_meaning_and_a_new_word_has_none() {
    let means = |state| one(&answers(taken(state, 2, 0))).phase;
    assert_eq!(means("SUCCESS"), BackupPhase::Completed);
    assert_eq!(means("PARTIAL"), BackupPhase::Partial);
    assert_eq!(means("FAILED"), BackupPhase::Failed);
    assert_eq!(means("INCOMPATIBLE"), BackupPhase::Failed);
    assert_eq!(means("IN_PROGRESS"), BackupPhase::Running);
    assert_eq!(means("success"), BackupPhase::Unknown);
    assert_eq!(means("SUPER"), BackupPhase::Unknown);
}

#[test]
fn success_is_not_believed_when_shards_are_missing() {
    let good = one(&answers(taken("SUCCESS", 2, 0)));
    assert_eq!((good.items, good.errors), (Some((2, 2)), 0));
    assert_eq!(good.covers.len(), 3);
    assert!(good.end > good.start);
    assert_eq!(one(&answers(taken("SUCCESS", 2, 1))).phase, BackupPhase::Partial);
    assert_eq!(one(&answers(taken("SUCCESS", 0, 0))).phase, BackupPhase::Partial);
    let mut nothing = taken("SUCCESS", 2, 0);
    nothing["indices"] = json!([]);
    nothing["data_streams"] = json!([]);
    assert_eq!(one(&answers(nothing)).phase, BackupPhase::Partial);
}

#[test]
fn shards_that_cannot_be_read_back_take_success_away_and_silence_does_not() {
    let with = |status| {
        let mut a = answers(taken("SUCCESS", 2, 0));
        a.status.insert("nightly-1".into(), status);
        one(&a)
    };
    let told = |done: u64| json!({ "snapshots": [{ "shards_stats": { "total": 2, "done": done, "failed": 2 - done }, "stats": { "total": { "size_in_bytes": 4096 } } }] });
    let good = with(Ok(told(2)));
    assert_eq!((good.phase, good.bytes), (BackupPhase::Completed, Some(4096)));
    assert_eq!(with(Ok(told(1))).phase, BackupPhase::Partial);
    let torn = with(Err(said(500, "snapshot_missing_exception", "gone")));
    assert_eq!((torn.phase, torn.errors), (BackupPhase::Partial, 1));
    let refused = with(Err(said(403, "security_exception", "no permissions")));
    assert_eq!((refused.phase, refused.bytes), (BackupPhase::Completed, None));
}

#[test]
fn only_a_node_that_verified_makes_a_repository_reachable() {
    let with = |verified| {
        let mut a = answers(taken("SUCCESS", 2, 0));
        a.verified = verified;
        one(&a).location_reachable
    };
    assert_eq!(with(None), Tri::Unknown);
    assert_eq!(with(Some(Ok(json!({ "nodes": {} })))), Tri::Unknown);
    assert_eq!(with(Some(Err(said(403, "security_exception", "no permissions")))), Tri::Unknown);
    assert_eq!(with(Some(Err(Trouble::Silent("no answer".into())))), Tri::Unknown);
    assert_eq!(with(Some(Err(said(500, "repository_verification_exception", "not accessible")))), Tri::Fail);
}

#[test]
fn a_listed_snapshot_whose_files_are_gone_is_failed() {
    let mut a = answers(taken("SUCCESS", 2, 0));
    a.names = Some(json!({ "snapshots": [{ "snapshot": "nightly-1" }, { "snapshot": "nightly-0" }] }));
    let backups = read("search", "nightly", &a, now()).0.backups;
    assert_eq!(backups.len(), 2);
    assert_eq!((backups[1].id.as_str(), backups[1].phase), ("nightly-0", BackupPhase::Failed));
}

#[test]
fn each_way_not_to_be_told_is_its_own_state() {
    let with = |snapshots| {
        let mut a = answers(taken("SUCCESS", 2, 0));
        a.snapshots = snapshots;
        let read = read("search", "nightly", &a, now()).0;
        assert!(read.backups.is_empty() && read.state.last_good.is_none());
        read.state.state
    };
    assert_eq!(with(Err(said(404, "repository_missing_exception", "[nightly] missing"))), SourceWord::Absent);
    assert_eq!(with(Err(said(403, "security_exception", "no permissions"))), SourceWord::Forbidden);
    assert_eq!(with(Err(said(500, "repository_exception", "could not read"))), SourceWord::Lost);
    assert_eq!(with(Err(Trouble::Silent("connection refused".into()))), SourceWord::Lost);
    assert_eq!(with(Ok(json!({ "hello": 1 }))), SourceWord::Unreadable);
}

#[test]
fn policies_are_schedules_and_an_absent_plugin_is_said() {
    let mut a = answers(taken("SUCCESS", 2, 0));
    let managed = read("search", "nightly", &a, now()).1;
    assert_eq!(managed.state, SourceWord::Absent);
    assert!(managed.detail.expose().contains("plugin absent"));

    let policy = |repository: &str| {
        json!({ "sm_policy": {
            "name": "daily", "enabled": true, "snapshot_config": { "repository": repository },
            "creation": { "schedule": { "cron": { "expression": "0 2 * * *", "timezone": "Europe/Berlin" } } },
            "deletion": { "condition": { "max_age": "7d", "min_count": 1 } },
        }})
    };
    a.policies = Ok(json!({ "policies": [policy("nightly"), policy("other")] }));
    a.explained = Some(json!({ "policies": [{ "name": "daily", "enabled": false, "creation": { "latest_execution": {
        "status": "FAILED", "start_time": 1_795_226_400_000_i64, "info": { "message": "no space" } } } }] }));
    if let Ok(s) = &mut a.snapshots {
        s["snapshots"][0]["metadata"] = json!({ "sm_policy": "daily" });
    }
    let (read, managed) = read("search", "nightly", &a, now());
    assert_eq!((managed.state, read.schedules.len()), (SourceWord::Live, 1));
    let s = &read.schedules[0];
    assert_eq!((s.expression.expose(), s.zone.as_deref(), s.paused), ("0 2 * * *", Some("Europe/Berlin"), true));
    assert!(s.said.expose().contains("no space") && s.last_run.is_some());
    assert_eq!(s.keeps_seconds, Some(7 * 86_400));
    let b = &read.backups[0];
    assert_eq!(b.expires.unwrap().as_second() - b.start.unwrap().as_second(), 7 * 86_400);
}

#[test]
fn a_repository_is_written_to_seldom_and_an_old_verification_counts_no_more() {
    let ago = |minutes: i64, reachable: Tri| Verified {
        at: now() - jiff::SignedDuration::from_mins(minutes),
        reachable,
        words: crate::text::Untrusted::new("verified on 1 nodes"),
    };
    let due = |minutes, reachable, trouble| is_due(Verify::WhenDue, Some(&ago(minutes, reachable)), trouble, now());
    assert!(is_due(Verify::WhenDue, None, false, now()) && is_due(Verify::Now, Some(&ago(0, Tri::Pass)), false, now()));
    assert!(!is_due(Verify::Never, None, true, now()));
    assert_eq!([due(59, Tri::Pass, false), due(60, Tri::Pass, false)], [false, true]);
    assert_eq!([due(4, Tri::Pass, true), due(5, Tri::Pass, true), due(5, Tri::Fail, false)], [false, true, true]);
    assert!(due(-10, Tri::Pass, false), "a clock that went back");

    let reach = |last: &Verified| {
        let a = Answers { verified: None, ..answers(taken("SUCCESS", 2, 0)) };
        super::answers::read("search", "nightly", &a, Some(last), now()).0.backups.remove(0).location_reachable
    };
    assert_eq!(reach(&ago(59, Tri::Pass)), Tri::Pass);
    assert_eq!(reach(&ago(59, Tri::Fail)), Tri::Fail);
    assert_eq!(reach(&ago(25 * 60, Tri::Pass)), Tri::Unknown);
    assert_eq!(reach(&ago(25 * 60, Tri::Fail)), Tri::Fail);
}
