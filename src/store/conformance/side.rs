use super::*;
use crate::model::act::Act;
use crate::model::alert::{NewDeadLetter, Origin, Status};
use crate::model::case::{SavedView, Suppression};
use crate::model::ids::SuppressionId;

pub(super) fn views(make: Make<'_>) {
    let store = make();
    let mut view =
        SavedView { name: "mine".into(), query: "owner:me".into(), sort: "risk".into(), by: Some(who("bob")) };
    store.put_view(&view).unwrap();
    store.put_view(&SavedView { name: "all".into(), query: String::new(), sort: "newest".into(), by: None }).unwrap();
    view.query = "owner:bob".into();
    store.put_view(&view).unwrap();
    let names: Vec<_> = store.views().unwrap().into_iter().map(|v| v.name).collect();
    assert_eq!(names, ["all", "mine"]);
    assert_eq!(store.views().unwrap()[1], view);
    assert!(store.drop_view("all").unwrap());
    assert!(!store.drop_view("all").unwrap());
}

fn suppression(expires: i64) -> Suppression {
    Suppression {
        id: SuppressionId(0),
        query: "host:web-1".into(),
        owner: who("bob"),
        reason: "patch night".into(),
        created: at(0),
        expires: at(expires),
        hidden: 99,
    }
}

pub(super) fn suppressions(make: Make<'_>) {
    let store = make();
    let s = &*store;
    let first = s.add_suppression(&suppression(100)).unwrap();
    let second = s.add_suppression(&suppression(1000)).unwrap();
    assert_ne!(first, second);
    let hide = |n: u32, by: SuppressionId| {
        let mut a = sample(n);
        a.suppressed_by = Some(by);
        a
    };
    let a = put(s, &hide(1, first), 10);
    let b = put(s, &hide(2, second), 10);
    assert_eq!(get(s, a).status, Status::Suppressed);
    assert_eq!(s.suppressions().unwrap().iter().map(|x| x.hidden).collect::<Vec<_>>(), [1, 1]);
    assert!(found(s, "status:open", 11).is_empty());
    assert_eq!(s.expire_suppressions(at(99)).unwrap(), 0);
    assert_eq!(s.expire_suppressions(at(100)).unwrap(), 1);
    assert_eq!(s.expire_suppressions(at(101)).unwrap(), 0);
    assert_eq!((get(s, a).status, get(s, b).status), (Status::New, Status::Suppressed));
    // Ended meanwhile: what intake thought hidden is not.
    assert_eq!(get(s, put(s, &hide(3, first), 101)).status, Status::New);
    assert_eq!(get(s, put(s, &hide(4, SuppressionId(77)), 101)).status, Status::New, "nobody's suppression");
    assert!(s.end_suppression(second, at(200)).unwrap());
    assert!(!s.end_suppression(second, at(201)).unwrap());
    assert_eq!(get(s, b).status, Status::New);
    assert!(s.suppressions().unwrap().iter().all(|x| x.expires <= at(200)));
}

pub(super) fn dead_letters(make: Make<'_>) {
    let store = make();
    let letter = |raw: &[u8]| NewDeadLetter {
        source: "stdin".into(),
        format: None,
        offset: 0,
        line: None,
        reason: "bad".into(),
        raw: raw.to_vec(),
    };
    store.ingest(&[], &[letter(b"a"), letter(&[0, 255])], None, at(0)).unwrap();
    let list = store.dead_letters(10).unwrap();
    assert_eq!(store.dead_letter_count().unwrap(), list.len() as u64);
    assert_eq!(list.len(), 2);
    assert!(list[0].id > list[1].id, "newest first");
    store.dead_letter_failed_again(list[0].id, &"worse".into()).unwrap();
    let (again, raw) = store.dead_letter(list[0].id).unwrap().unwrap();
    assert_eq!((again.tries, again.reason.expose(), raw), (2, "worse", vec![0, 255]));
    assert!(store.drop_dead_letter(list[0].id).unwrap());
    assert!(!store.drop_dead_letter(list[0].id).unwrap());
    assert!(store.dead_letter(list[0].id).unwrap().is_none());
    assert!(store.dead_letter_failed_again(list[0].id, &"x".into()).is_err());
}

pub(super) fn writebacks(make: Make<'_>) {
    let store = make();
    let s = &*store;
    let origin = Origin { source: "os".into(), index: "i".into(), doc_id: "1".into(), seq_no: 5, primary_term: 1 };
    let mut a = sample(0);
    a.origin = Some(origin.clone());
    let id = put(s, &a, 0);
    put(s, &sample(1), 0);
    let bob = who("bob");
    assert!(s.writebacks("os", 10).unwrap().is_empty(), "nothing has changed yet");
    s.act(&Act::Note { text: "n".into() }, &[id], &bob, at(1)).unwrap();
    assert!(s.writebacks("os", 10).unwrap().is_empty(), "a note is ours alone");
    s.act(&Act::Claim, &[id, AlertId(2)], &bob, at(2)).unwrap();
    assert!(s.writebacks("other", 10).unwrap().is_empty());
    let w = s.writebacks("os", 10).unwrap().pop().unwrap();
    assert_eq!((w.alert, w.status, &w.owner, &w.origin), (id, Status::Claimed, &Some(bob.clone()), &origin));
    // It changes again while the first is being written: it is to be written again, with the new numbers.
    s.act(&Act::Release, &[id], &bob, at(3)).unwrap();
    s.writeback_done(&w, 6, 1).unwrap();
    let w = s.writebacks("os", 10).unwrap().pop().unwrap();
    assert_eq!((w.status, w.origin.seq_no), (Status::New, 6));
    s.writeback_conflict(&w, 8, 2, &"status is now resolved".into()).unwrap();
    assert!(s.writebacks("os", 10).unwrap().is_empty(), "not retried until it changes again");
    let last = s.timeline(id, 1).unwrap().pop().unwrap();
    assert_eq!((last.kind.as_str(), last.text.expose()), ("writeback", "status is now resolved"));
    s.act(&Act::Claim, &[id], &bob, at(4)).unwrap();
    let w = s.writebacks("os", 10).unwrap().pop().unwrap();
    assert_eq!((w.origin.seq_no, w.origin.primary_term), (8, 2));
}
