use super::*;
use crate::model::act::{Act, ActReport, Refusal, TimelineEvent};
use crate::model::alert::{Disposition, Status};
use crate::model::priority::Priority;
use crate::model::verdict::{Verdict, VerdictKind};
use crate::store::StoreError;

fn one(store: &dyn Store, act: &Act, id: AlertId, by: &str, seconds: i64) -> Result<ActReport, Refusal> {
    let mut report = store.act(act, &[id], &who(by), at(seconds)).unwrap();
    assert_eq!(report.done.len() + report.refused.len(), 1);
    match report.refused.pop() {
        Some(r) => {
            assert_eq!((r.id, report.undo), (id, None));
            Err(r.why)
        }
        None => Ok(report),
    }
}

fn close(reason: &str) -> Act {
    Act::Close { disposition: Disposition::FalsePositive, reason: reason.into(), comment: Some("seen".into()) }
}

pub(super) fn holding(make: Make<'_>) {
    let (store, ids) = filled(make, 3);
    let s = &*store;
    let done = one(s, &Act::Claim, ids[0], "bob", 10).unwrap();
    assert!(done.undo.is_some());
    let a = get(s, ids[0]);
    assert_eq!((a.status, a.owner, a.t_claim), (Status::Claimed, Some(who("bob")), Some(at(10))));
    assert_eq!(a.rev, 2);
    // Again by the holder: done, and nothing to undo. By another: told who has it.
    assert_eq!(one(s, &Act::Claim, ids[0], "bob", 11).unwrap().undo, None);
    let held = Refusal::HeldBy { person: who("bob"), since: at(10) };
    for act in [Act::Claim, Act::Release, close("mine"), Act::Snooze { until: at(99), reason: "r".into() }] {
        assert_eq!(one(s, &act, ids[0], "eve", 12), Err(held.clone()), "{}", act.word());
    }
    one(s, &Act::Assign { to: who("eve") }, ids[0], "lead", 13).unwrap();
    let a = get(s, ids[0]);
    assert_eq!((a.owner, a.t_claim), (Some(who("eve")), Some(at(10))), "the response clock is not turned back");
    let now_held = Refusal::HeldBy { person: who("eve"), since: at(13) };
    assert_eq!(one(s, &Act::Claim, ids[0], "bob", 14), Err(now_held));
    one(s, &Act::Release, ids[0], "eve", 15).unwrap();
    let a = get(s, ids[0]);
    assert_eq!((a.status, a.owner, a.t_claim), (Status::New, None, None), "the clock runs again");
    assert_eq!(one(s, &Act::Release, ids[0], "eve", 16), Err(Refusal::WrongState { status: Status::New }));
    assert_eq!(one(s, &Act::Claim, AlertId(77), "bob", 17), Err(Refusal::NotFound));
    let words: Vec<_> = s.timeline(ids[0], 50).unwrap().into_iter().map(|l| l.kind).collect();
    assert_eq!(words, ["ingest", "claim", "assign", "release"]);
}

pub(super) fn closing(make: Make<'_>) {
    let (store, ids) = filled(make, 2);
    let s = &*store;
    one(s, &close("noise"), ids[0], "bob", 10).unwrap();
    let a = get(s, ids[0]);
    assert_eq!((a.status, a.owner), (Status::Closed, Some(who("bob"))));
    assert_eq!((a.t_claim, a.t_close), (Some(at(10)), Some(at(10))), "closing is claiming when nobody had it");
    let c = a.closing.unwrap();
    assert_eq!((c.disposition, c.by, c.at), (Disposition::FalsePositive, who("bob"), at(10)));
    assert_eq!((c.reason.expose(), c.comment.unwrap().expose()), ("noise", "seen"));
    let wrong = Refusal::WrongState { status: Status::Closed };
    for act in [Act::Claim, close("again"), Act::Wake, Act::Assign { to: who("eve") }] {
        assert_eq!(one(s, &act, ids[0], "eve", 11), Err(wrong.clone()), "{}", act.word());
    }
    one(s, &Act::Reopen, ids[0], "eve", 12).unwrap();
    let a = get(s, ids[0]);
    assert_eq!((a.status, a.owner, a.closing, a.t_close), (Status::Claimed, Some(who("eve")), None, None));
    assert_eq!(one(s, &Act::Reopen, ids[1], "eve", 13), Err(Refusal::WrongState { status: Status::New }));
}

pub(super) fn snoozing(make: Make<'_>) {
    let (store, ids) = filled(make, 3);
    let s = &*store;
    let snooze = |until| Act::Snooze { until: at(until), reason: "maintenance".into() };
    assert_eq!(one(s, &snooze(5), ids[0], "bob", 10), Err(Refusal::WrongState { status: Status::New }));
    one(s, &snooze(100), ids[0], "bob", 10).unwrap();
    one(s, &Act::Claim, ids[1], "bob", 10).unwrap();
    one(s, &snooze(200), ids[1], "bob", 11).unwrap();
    assert_eq!(get(s, ids[1]).snoozed_until, Some(at(200)));
    assert_eq!(s.wake_due(at(99)).unwrap(), 0);
    assert_eq!(s.wake_due(at(100)).unwrap(), 1);
    let a = get(s, ids[0]);
    assert_eq!((a.status, a.snoozed_until), (Status::New, None));
    one(s, &Act::Wake, ids[1], "bob", 120).unwrap();
    assert_eq!(get(s, ids[1]).status, Status::Claimed, "back with whoever had it");
    assert_eq!(s.wake_due(at(1000)).unwrap(), 0);
    one(s, &snooze(2000), ids[2], "bob", 1000).unwrap();
    one(s, &Act::Claim, ids[2], "eve", 1001).unwrap();
    assert_eq!(get(s, ids[2]).snoozed_until, None, "claiming ends a snooze");
}

pub(super) fn cases(make: Make<'_>) {
    let (store, ids) = filled(make, 4);
    let s = &*store;
    let merge = |case| Act::Merge { case, title: "Break-in".into() };
    let report = s.act(&merge(None), &ids[..2], &who("bob"), at(10)).unwrap();
    let case = report.case.unwrap();
    let c = s.case(case).unwrap().unwrap();
    assert_eq!((c.title.expose(), c.opened_by, c.opened_at, c.alerts), ("Break-in", who("bob"), at(10), 2));
    assert_eq!(get(s, ids[0]).case, Some(case));
    one(s, &merge(Some(case)), ids[2], "eve", 11).unwrap();
    assert_eq!(one(s, &merge(Some(crate::model::ids::CaseId(99))), ids[3], "eve", 12), Err(Refusal::NoSuchCase));
    one(s, &Act::Detach, ids[0], "eve", 13).unwrap();
    assert_eq!(one(s, &Act::Detach, ids[0], "eve", 14), Err(Refusal::WrongState { status: Status::New }));
    assert_eq!(s.cases(10).unwrap().len(), 1);
    assert_eq!(s.cases(10).unwrap()[0].alerts, 2);
    // Undoing the merge that made the case leaves it, for it is not empty.
    let undone = s.undo(report.undo.unwrap(), &who("bob"), at(15)).unwrap();
    assert_eq!((undone.done.len(), undone.refused.len()), (1, 1), "the detached one changed since");
    assert_eq!(s.case(case).unwrap().unwrap().alerts, 1);
    // It is closed once, and opened once.
    assert!(s.close_case(case, Some(at(15))).unwrap() && !s.close_case(case, Some(at(16))).unwrap());
    assert_eq!(s.case(case).unwrap().unwrap().closed_at, Some(at(15)));
    assert!(s.close_case(case, None).unwrap() && !s.close_case(case, None).unwrap());
    assert_eq!(s.case(case).unwrap().unwrap().closed_at, None);
    assert!(!s.close_case(crate::model::ids::CaseId(99), Some(at(15))).unwrap());
    // A case of its own goes with the undo.
    let report = one(s, &merge(None), ids[3], "bob", 16).unwrap();
    s.undo(report.undo.unwrap(), &who("bob"), at(17)).unwrap();
    assert_eq!(s.cases(10).unwrap().len(), 1);
    // A merge of nothing makes none.
    let report = s.act(&merge(None), &[AlertId(77)], &who("bob"), at(18)).unwrap();
    assert_eq!((report.case, report.undo, s.cases(10).unwrap().len()), (None, None, 1));
}

pub(super) fn notes_and_priorities(make: Make<'_>) {
    let (store, ids) = filled(make, 3);
    let s = &*store;
    let note = one(s, &Act::Note { text: "called \u{1b}[31m him".into() }, ids[0], "bob", 10).unwrap();
    let last = s.timeline(ids[0], 1).unwrap().pop().unwrap();
    assert_eq!((last.kind.as_str(), last.text.expose(), last.by), ("note", "called \u{1b}[31m him", Some(who("bob"))));
    s.undo(note.undo.unwrap(), &who("bob"), at(11)).unwrap();
    assert!(s.timeline(ids[0], 50).unwrap().iter().all(|l| l.kind != "note"), "a note taken back is not shown");
    let before = get(s, ids[0]);
    let to = |to| Act::Prioritise { to, reason: "crown jewels".into() };
    let raised = one(s, &to(Priority::P0), ids[0], "bob", 12).unwrap();
    assert_eq!(get(s, ids[0]).priority, Priority::P0);
    assert_eq!(found(s, "", 13)[0], ids[0], "the risk order follows");
    assert_eq!(one(s, &to(Priority::P0), ids[0], "bob", 13).unwrap().undo, None);
    s.undo(raised.undo.unwrap(), &who("bob"), at(14)).unwrap();
    assert_eq!(get(s, ids[0]).priority, before.priority);
    let event = TimelineEvent {
        at: at(15),
        alert: ids[0],
        by: None,
        kind: "action".into(),
        text: "isolate-host proposed".into(),
    };
    let since = s.revision().unwrap();
    s.note_event(&event).unwrap();
    assert_eq!(s.timeline(ids[0], 1).unwrap(), [event]);
    assert_eq!(s.changes(since, 10).unwrap().alerts, [ids[0]]);
}

pub(super) fn undoing(make: Make<'_>) {
    let (store, ids) = filled(make, 2);
    let (s, bob) = (&*store, who("bob"));
    let before = get(s, ids[0]);
    let claim = one(s, &Act::Claim, ids[0], "bob", 10).unwrap().undo.unwrap();
    let shut = one(s, &close("noise"), ids[0], "bob", 11).unwrap().undo.unwrap();
    assert_eq!(s.last_undoable(&bob).unwrap(), Some((shut, "close".into(), 1)));
    assert_eq!(s.last_undoable(&who("eve")).unwrap(), None);
    assert!(s.undo(shut, &who("eve"), at(12)).is_err(), "nobody undoes another's act");
    // The older act cannot be undone under the newer one.
    // (It is spent by the attempt, so it is tried on a second alert.)
    let c2 = one(s, &Act::Claim, ids[1], "bob", 10).unwrap().undo.unwrap();
    one(s, &Act::Note { text: "n".into() }, ids[1], "eve", 11).unwrap();
    let late = s.undo(c2, &bob, at(12)).unwrap();
    assert_eq!(late.refused[0].why, Refusal::ChangedSince { by: Some(who("eve")) });
    // Newest first, both go.
    assert_eq!(s.undo(shut, &bob, at(13)).unwrap().done, [ids[0]]);
    let a = get(s, ids[0]);
    assert_eq!((a.status, a.owner, a.closing, a.t_close), (Status::Claimed, Some(bob.clone()), None, None));
    assert_eq!(s.last_undoable(&bob).unwrap().map(|u| u.0), Some(claim));
    s.undo(claim, &bob, at(14)).unwrap();
    let a = get(s, ids[0]);
    assert_eq!((a.status, a.owner, a.t_claim), (before.status, before.owner, before.t_claim));
    assert_eq!(s.last_undoable(&bob).unwrap(), None);
    assert!(matches!(s.undo(claim, &bob, at(15)), Err(StoreError::NotFound(_))), "only once");
    // What the desk adds by itself does not stand in the way.
    let shut = one(s, &close("noise"), ids[0], "bob", 16).unwrap().undo.unwrap();
    s.ingest(&[sample(0)], &[], None, at(17)).unwrap();
    s.record_verdict(ids[0], &verdict(Some(Priority::P0))).unwrap();
    assert_eq!(s.undo(shut, &bob, at(18)).unwrap().done, [ids[0]]);
    let a = get(s, ids[0]);
    assert_eq!((a.status, a.priority, a.count), (Status::New, Priority::P0, 2), "and is kept");
}

pub(super) fn bulk(make: Make<'_>) {
    let (store, ids) = filled(make, 30);
    let s = &*store;
    one(s, &Act::Claim, ids[3], "eve", 40).unwrap();
    let mut asked = ids.clone();
    asked.extend([ids[0], AlertId(999)]);
    let report = s.act(&close("storm"), &asked, &who("bob"), at(50)).unwrap();
    assert_eq!((report.done.len(), report.refused.len()), (29, 2));
    let mut named: Vec<_> = report.done.iter().copied().chain(report.refused.iter().map(|r| r.id)).collect();
    named.sort();
    named.dedup();
    assert_eq!(named.len(), 31);
    assert_eq!(s.last_undoable(&who("bob")).unwrap(), Some((report.undo.unwrap(), "close".into(), 29)));
    let back = s.undo(report.undo.unwrap(), &who("bob"), at(51)).unwrap();
    assert_eq!((back.done.len(), back.refused.len()), (29, 0));
    assert_eq!(found(s, "status:new", 52).len(), 29);
}

fn verdict(advised: Option<Priority>) -> Verdict {
    Verdict {
        confidence: Some(0.5),
        advised_priority: advised,
        suggested_actions: vec!["isolate-host".into()],
        speaks_to_model: true,
        took_ms: 3,
        ..Verdict::new(VerdictKind::FalsePositive, "rules", at(100), "r-1")
    }
}

pub(super) fn verdicts(make: Make<'_>) {
    let (store, ids) = filled(make, 7);
    let s = &*store;
    for (id, advised) in ids.iter().flat_map(|id| [None, Some(Priority::P3), Some(Priority::P1)].map(|a| (id, a))) {
        let before = get(s, *id);
        let v = verdict(advised);
        s.record_verdict(*id, &v).unwrap();
        let mut after = get(s, *id);
        assert_eq!(after.priority, before.priority.raised_to(advised));
        assert!(after.priority <= before.priority, "never less urgent");
        assert_eq!(after.verdict, Some(v.summary()));
        assert_eq!(s.verdicts(*id, 1).unwrap(), [v]);
        // Nothing else moved.
        after.priority = before.priority;
        after.verdict = before.verdict;
        after.t_verdict = before.t_verdict;
        after.rev = before.rev;
        assert_eq!(after, before);
    }
    assert_eq!(s.verdicts(ids[0], 10).unwrap().len(), 3);
    assert_eq!(get(s, ids[0]).t_verdict, Some(at(100)));
    assert_eq!(found(s, "verdict:fp", 200).len(), 7);
    assert!(found(s, "verdict:tp", 200).is_empty());
    let rows = s.rows(&Query::All, SortKey::Risk, Page::First, 50, at(200)).unwrap();
    assert!(rows.windows(2).all(|w| w[0].priority <= w[1].priority), "a raise moves it up the risk order");
    let kinds: Vec<_> = s.timeline(ids[1], 50).unwrap().into_iter().map(|l| l.kind).collect();
    assert_eq!(kinds, ["ingest", "verdict", "verdict", "verdict", "raise"]);
    assert!(s.record_verdict(AlertId(99), &verdict(None)).is_err());
}

pub(super) fn containment(make: Make<'_>) {
    let (store, ids) = filled(make, 3);
    let s = &*store;
    one(s, &close("noise"), ids[1], "bob", 10).unwrap();
    let tp = Act::Close { disposition: Disposition::TruePositive, reason: "real".into(), comment: None };
    one(s, &tp, ids[2], "bob", 10).unwrap();
    s.mark_contained(&ids, at(20)).unwrap();
    s.mark_contained(&ids, at(30)).unwrap();
    let contained: Vec<_> = ids.iter().map(|id| get(s, *id).t_contain).collect();
    assert_eq!(contained, [Some(at(20)), None, Some(at(20))], "open ones and true positives, once");
}
