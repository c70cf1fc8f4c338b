use std::collections::BTreeMap;

use super::*;
use crate::model::action::{Command, Receipt, ReceiptState, Request, RequestBody, RequestState, Suggested, Tier};
use crate::model::ids::RequestId;
use crate::store::StoreError;

/// A request over two hosts, in this state.
pub(super) fn request(id: &str, state: RequestState) -> Request {
    let targets = vec!["web-1".to_owned(), "web-2".to_owned()];
    let body = RequestBody {
        id: RequestId::new(id).unwrap(),
        action: "isolate-host".into(),
        tier: Tier::T2,
        commands: vec![Command { targets: targets.clone(), argv: vec!["x".into()], files: BTreeMap::new() }],
        targets,
        params: BTreeMap::new(),
        alerts: vec![AlertId(1)],
        case: None,
        reason: "spreading".into(),
        suggested_by: Suggested::Person,
        requester: who("bob"),
        created: at(0),
        approve_by: at(100),
        execute_by: at(200),
        approvals_needed: 1,
        policy_digest: "p".into(),
        action_digest: "a".into(),
        audit_head: "0:0".into(),
        undo: None,
        contains: true,
        replaces: None,
    };
    Request { rev: 1, ..Request::new(body, "d1", state) }
}

fn conflict<T: std::fmt::Debug>(r: Result<T, StoreError>, says: &str) {
    match r {
        Err(StoreError::Conflict(what)) => assert!(what.contains(says), "{what}"),
        other => panic!("no conflict: {other:?}"),
    }
}

pub(super) fn compare_and_set(make: Make<'_>) {
    let store = make();
    let first = request("r1", RequestState::Pending);
    store.add_request(&first).unwrap();
    conflict(store.add_request(&first), "r1");
    assert_eq!(store.request(&first.body.id).unwrap(), Some(first.clone()));
    assert_eq!(store.request(&RequestId::new("r9").unwrap()).unwrap(), None);
    let mut mine = first.clone();
    mine.state = RequestState::Approved;
    let stored = store.update_request(&mine).unwrap();
    assert_eq!((stored.rev, stored.state), (2, RequestState::Approved));
    conflict(store.update_request(&mine), "r1");
    assert_eq!(store.request(&first.body.id).unwrap(), Some(stored));
    let unknown = request("r9", RequestState::Pending);
    assert!(matches!(store.update_request(&unknown), Err(StoreError::NotFound(_))));
    let mut later = request("r2", RequestState::Pending);
    later.body.created = at(5);
    store.add_request(&later).unwrap();
    let ids = |states: &[RequestState], limit| -> Vec<String> {
        store.requests(states, limit).unwrap().iter().map(|r| r.body.id.to_string()).collect()
    };
    assert_eq!(ids(&[], 10), ["r2", "r1"], "newest first");
    assert_eq!(ids(&[], 1), ["r2"]);
    assert_eq!(ids(&[RequestState::Approved], 10), ["r1"]);
    assert_eq!(ids(&[RequestState::Pending, RequestState::Approved], 10), ["r2", "r1"]);
    assert!(ids(&[RequestState::Done], 10).is_empty());
}

pub(super) fn begin_once(make: Make<'_>) {
    let store = make();
    let r = request("r1", RequestState::Pending);
    let id = &r.body.id;
    store.add_request(&r).unwrap();
    let begin = |digest: &str, now| store.begin_execution(id, digest, &who("eve"), at(now));
    conflict(begin("d1", 10), "state");
    let mut approved = r.clone();
    approved.state = RequestState::Approved;
    store.update_request(&approved).unwrap();
    conflict(begin("d2", 10), "digest");
    conflict(begin("d1", 201), "time to start");
    assert_eq!(store.execution_count(Some("isolate-host"), None, at(0)).unwrap(), 0);
    let begun = begin("d1", 200).unwrap();
    assert_eq!(
        (begun.state, &begun.executor, begun.started),
        (RequestState::Executing, &Some(who("eve")), Some(at(200)))
    );
    assert_eq!(store.request(id).unwrap(), Some(begun));
    conflict(begin("d1", 200), "state");
    let nobody = RequestId::new("r9").unwrap();
    assert!(matches!(store.begin_execution(&nobody, "d1", &who("eve"), at(1)), Err(StoreError::NotFound(_))));
}

pub(super) fn kill_switch(make: Make<'_>) {
    let store = make();
    let r = request("r1", RequestState::Approved);
    store.add_request(&r).unwrap();
    assert_eq!(store.kill_switch().unwrap(), None);
    let since = store.revision().unwrap();
    store.set_kill_switch(Some((&who("lead"), at(5)))).unwrap();
    assert!(store.changes(since, 1).unwrap().others, "others hear of it");
    assert_eq!(store.kill_switch().unwrap(), Some((who("lead"), at(5))));
    conflict(store.begin_execution(&r.body.id, "d1", &who("eve"), at(6)), "kill switch");
    store.set_kill_switch(None).unwrap();
    assert_eq!(store.kill_switch().unwrap(), None);
    store.begin_execution(&r.body.id, "d1", &who("eve"), at(7)).unwrap();
}

pub(super) fn receipts_and_counts(make: Make<'_>) {
    let store = make();
    let r = request("r1", RequestState::Approved);
    let id = &r.body.id;
    store.add_request(&r).unwrap();
    store.begin_execution(id, "d1", &who("eve"), at(50)).unwrap();
    let receipt = |target: &str, state| Receipt {
        target: target.into(),
        state,
        changed: Some(1),
        detail: "ok".into(),
        at: at(60),
    };
    store.put_receipt(id, &receipt("web-1", ReceiptState::Pending)).unwrap();
    store.put_receipt(id, &receipt("web-2", ReceiptState::Unknown)).unwrap();
    store.put_receipt(id, &receipt("web-1", ReceiptState::Done)).unwrap();
    conflict(store.put_receipt(id, &receipt("web-1", ReceiptState::Pending)), "receipt");
    let got = store.request(id).unwrap().unwrap();
    let states: Vec<_> = got.receipts.iter().map(|r| (r.target.as_str(), r.state)).collect();
    assert_eq!(states, [("web-1", ReceiptState::Done), ("web-2", ReceiptState::Unknown)]);
    let count = |target, since| store.execution_count(Some("isolate-host"), target, at(since)).unwrap();
    assert_eq!((count(None, 0), count(Some("web-1"), 0), count(Some("db-1"), 0)), (2, 1, 0));
    assert_eq!((count(None, 50), count(None, 51)), (2, 0));
    assert_eq!(store.execution_count(Some("other"), None, at(0)).unwrap(), 0);
    assert_eq!(store.execution_count(None, None, at(0)).unwrap(), count(None, 0), "any action");
}
