use super::*;
use crate::model::act::Act;
use crate::model::alert::Disposition;
use crate::model::opinion::{Agreement, Answered, Exchange, Purpose, Review, TriageQueue};
use crate::model::priority::Priority;
use crate::model::verdict::{Claim, Usage, Verdict, VerdictKind};
use crate::store::{Held, Job, StoreError, Wanted};
use crate::text::Untrusted;

fn verdict(kind: VerdictKind, request_id: &str) -> Verdict {
    Verdict { model: "m".into(), ..Verdict::new(kind, "openai", at(50), request_id) }
}

fn exchange(alert: AlertId, request_id: &str, seconds: i64) -> Exchange {
    Exchange {
        request_id: request_id.into(),
        alert,
        purpose: Purpose::Judge,
        at: at(seconds),
        backend: "openai".into(),
        server: Some("a".into()),
        model: "m".into(),
        model_digest: Some("d".repeat(64)),
        seed: 7,
        system: "Fixed.\n\u{202e}".into(),
        user: Untrusted::from(format!("[data {request_id}]\n\u{1b}]52;x")),
        schema: Some(serde_json::json!({"type": "object", "required": ["b", "a"]})),
        max_tokens: 700,
        output: "{\"verdict\":\"true_positive\"}".into(),
        finish: "stop".into(),
        usage: Usage { prompt_tokens: Some(900), ..Usage::default() },
    }
}

pub(super) fn exchanges(make: Make<'_>) {
    let (store, ids) = filled(make, 2);
    let (a, b) = (exchange(ids[0], "r1", 10), exchange(ids[0], "r1-2", 20));
    store.record_opinion(ids[0], &verdict(VerdictKind::TruePositive, "r1"), &[a.clone(), b.clone()]).unwrap();
    let bare = Exchange { schema: None, ..exchange(ids[1], "r2", 30) };
    store.add_exchanges(std::slice::from_ref(&bare)).unwrap();
    assert_eq!(store.exchanges(ids[0], 9).unwrap(), [b.clone(), a.clone()], "newest first, byte for byte");
    assert_eq!(store.exchanges(ids[0], 1).unwrap(), std::slice::from_ref(&b));
    assert_eq!(store.exchange("r2").unwrap(), Some(bare.clone()));
    assert_eq!(store.exchange("r9").unwrap(), None);
    let other = Exchange { output: "other".into(), ..a.clone() };
    store.add_exchanges(&[other]).unwrap();
    assert_eq!(store.exchange("r1").unwrap(), Some(a), "a known one stays as it was");
    assert_eq!(store.drop_exchanges(at(10), 9).unwrap(), 0);
    assert_eq!(store.drop_exchanges(at(31), 1).unwrap(), 1, "the oldest, no more than asked");
    assert_eq!(store.exchange("r1").unwrap(), None);
    assert_eq!(store.exchange("r1-2").unwrap(), Some(b), "what it shares with others is still there");
    assert_eq!(store.drop_exchanges(at(30), 9).unwrap(), 1);
    assert_eq!(store.exchange("r2").unwrap(), Some(bare));
    assert_eq!(store.drop_exchanges(at(99), 9).unwrap(), 1);
    store.add_exchanges(&[exchange(ids[1], "r3", 200)]).unwrap();
    assert_eq!(store.exchange("r3").unwrap(), Some(exchange(ids[1], "r3", 200)));
}

fn review(alert: AlertId, request_id: &str, said: VerdictKind, kind: VerdictKind) -> Review {
    Review {
        alert,
        request_id: request_id.into(),
        by: who("bob"),
        at: at(60),
        said,
        kind,
        reason: "scan window".into(),
    }
}

pub(super) fn reviews_and_answers(make: Make<'_>) {
    use VerdictKind::{FalsePositive, TruePositive};
    let (store, ids) = filled(make, 2);
    store.record_verdict(ids[0], &verdict(TruePositive, "r1")).unwrap();
    let before = get(&*store, ids[0]);
    let since = store.revision().unwrap();
    let (first, second) =
        (review(ids[0], "r1", TruePositive, FalsePositive), review(ids[0], "r1", TruePositive, TruePositive));
    store.add_review(&first).unwrap();
    store.add_review(&second).unwrap();
    assert_eq!(store.changes(since, 9).unwrap().alerts, [ids[0]]);
    assert_eq!(store.reviews(ids[0], 9).unwrap(), [second, first]);
    assert!(store.reviews(ids[1], 9).unwrap().is_empty());
    for (id, request) in [(ids[0], "r9"), (ids[1], "r1"), (AlertId(99), "r1")] {
        let unknown = review(id, request, TruePositive, TruePositive);
        assert!(matches!(store.add_review(&unknown), Err(StoreError::NotFound(_))), "{id} {request}");
    }
    let answered = Answered {
        question: "is this\nnew?".into(),
        text: "no \u{1b}[2J".into(),
        claims: vec![Claim::new("t", "f", "q")],
        backend: "openai".into(),
        server: None,
        model: "m".into(),
        remark: None,
        at: at(61),
        took_ms: 900,
        usage: Usage::default(),
        request_id: "r5".into(),
        by: Some(who("bob")),
    };
    let later = Answered { request_id: "r6".into(), ..answered.clone() };
    store.add_answer(ids[0], &answered, &[exchange(ids[0], "r5", 61)]).unwrap();
    store.add_answer(ids[0], &later, &[]).unwrap();
    assert_eq!(store.answers(ids[0], 9).unwrap(), [answered.clone(), later.clone()], "oldest first");
    assert_eq!(store.answers(ids[0], 1).unwrap(), [later], "the newest is kept");
    assert!(store.exchange("r5").unwrap().is_some());
    assert!(matches!(store.add_answer(AlertId(99), &answered, &[]), Err(StoreError::NotFound(_))));
    let mut after = get(&*store, ids[0]);
    after.rev = before.rev;
    assert_eq!(after, before, "nothing else changed");
    let kinds: Vec<String> = store.timeline(ids[0], 20).unwrap().into_iter().map(|e| e.kind).collect();
    assert_eq!(kinds, ["ingest", "verdict", "review", "review", "ask", "ask"]);
}

pub(super) fn agreement(make: Make<'_>) {
    use Disposition as D;
    use VerdictKind as V;
    // What the model said, how it was reviewed, how it was closed; agreed or not.
    let table = [
        (V::TruePositive, None, Some(D::TruePositive), Some(true)),
        (V::TruePositive, None, Some(D::FalsePositive), Some(false)),
        (V::FalsePositive, None, Some(D::BenignTruePositive), Some(false)),
        (V::BenignTruePositive, None, Some(D::BenignTruePositive), Some(true)),
        (V::TruePositive, None, Some(D::Undetermined), None),
        (V::NeedsInvestigation, None, Some(D::TruePositive), None),
        (V::NeedsInvestigation, None, Some(D::Undetermined), None),
        (V::TruePositive, None, None, None),
        (V::TruePositive, Some(V::TruePositive), Some(D::FalsePositive), Some(true)),
        (V::TruePositive, Some(V::FalsePositive), Some(D::TruePositive), Some(false)),
        (V::NeedsInvestigation, Some(V::NeedsInvestigation), None, Some(true)),
        (V::NeedsInvestigation, Some(V::TruePositive), None, Some(false)),
    ];
    for (i, (said, reviewed, closed, want)) in table.into_iter().enumerate() {
        let (store, ids) = filled(make, 1);
        let fallback = Verdict { fallback: true, ..Verdict::new(V::FalsePositive, "rules", at(40), "r0") };
        store.record_verdict(ids[0], &fallback).unwrap();
        store.record_verdict(ids[0], &verdict(said, "r1")).unwrap();
        if let Some(kind) = reviewed {
            // Only the last word counts.
            store.add_review(&review(ids[0], "r1", said, V::BenignTruePositive)).unwrap();
            store.add_review(&review(ids[0], "r1", said, kind)).unwrap();
        }
        if let Some(disposition) = closed {
            let close = Act::Close { disposition, reason: "r".into(), comment: None };
            store.act(&close, &ids, &who("bob"), at(70)).unwrap();
        }
        let want: Vec<Agreement> = want
            .into_iter()
            .map(|ok| Agreement {
                rule: "100".into(),
                backend: "openai".into(),
                model: "m".into(),
                agreed: u64::from(ok),
                overridden: u64::from(!ok),
            })
            .collect();
        assert_eq!(store.agreement(ids[0]).unwrap(), want, "row {i}");
        let all = store.triage_stats(at(0), at(100)).unwrap().agreement;
        assert_eq!(all.len(), want.len() * 2, "row {i}: over all rules first, then this one");
    }
    // Of several verdicts of an alert nobody reviewed, the newest counts.
    let (store, ids) = filled(make, 4);
    store.record_verdict(ids[3], &verdict(V::FalsePositive, "a")).unwrap();
    store.record_verdict(ids[3], &verdict(V::TruePositive, "b")).unwrap();
    store.record_verdict(ids[0], &verdict(V::TruePositive, "c")).unwrap();
    let close = Act::Close { disposition: D::TruePositive, reason: "r".into(), comment: None };
    store.act(&close, &ids, &who("bob"), at(70)).unwrap();
    let both = store.agreement(ids[0]).unwrap();
    assert_eq!(both.len(), 1, "alerts 0 and 3 have the same rule");
    assert_eq!((both[0].agreed, both[0].overridden), (2, 0));
    assert!(store.agreement(ids[1]).unwrap().is_empty());
    assert!(store.agreement(AlertId(99)).unwrap().is_empty());
}

pub(super) fn stats(make: Make<'_>) {
    let (store, ids) = filled(make, 30);
    let none = store.triage_stats(at(0), at(3_600)).unwrap();
    assert_eq!((none.verdicts, none.took_p50, none.first_token_p95), (0, None, None));
    for (n, id) in ids.iter().enumerate() {
        let n = n as u64;
        let v = Verdict {
            at: at(n as i64 * 100),
            took_ms: 100 * (n + 1),
            fallback: n >= 20,
            advised_priority: (n == 3).then_some(Priority::P0),
            text_dependent: (n < 4).then_some(n.is_multiple_of(2)),
            claims: (0..2).map(|c| Claim { founded: c == 0, ..Claim::new("t", "f", "q") }).collect(),
            usage: Usage {
                prompt_tokens: Some(10),
                cached_tokens: (n == 0).then_some(4),
                completion_tokens: Some(1),
                first_token_ms: (n < 2).then_some(n + 5),
                queued_ms: None,
                served_ms: Some(3),
            },
            ..verdict(VerdictKind::ALL[n as usize % 3], &format!("r{n}"))
        };
        let v = if n >= 20 { Verdict { backend: "rules".into(), model: "rules".into(), ..v } } else { v };
        store.record_verdict(*id, &v).unwrap();
    }
    let s = store.triage_stats(at(-1), at(3_600)).unwrap();
    assert_eq!((s.verdicts, s.fallbacks, s.by_model, s.kinds), (30, 10, 20, [10, 10, 10, 0]));
    assert_eq!((s.took_p50, s.took_p95), (Some(1_000), Some(1_900)), "fallbacks left out");
    assert_eq!((s.first_token_p95, s.raised, s.text_dependent), (Some(6), 1, 2));
    assert_eq!((s.prompt_tokens, s.cached_tokens, s.completion_tokens, s.served_ms), (300, 4, 30, 90));
    assert_eq!((s.claims, s.founded), (40, 20), "of models");
    assert!((s.per_hour - 20.0).abs() < 0.1, "{}", s.per_hour);
    assert_eq!(store.triage_stats(at(0), at(1_950)).unwrap().per_hour_now, 36.0, "three in five minutes");
    let late = store.triage_stats(at(2_450), at(3_600)).unwrap();
    assert_eq!((late.verdicts, late.by_model, late.took_p95), (5, 0, None));
}

// --- the queue -----------------------------------------------------------------------------------

const FAR: i64 = 1_000;

fn lease(store: &dyn Store, worker: &str, n: usize, now: i64, until: i64) -> Vec<AlertId> {
    let jobs = store.lease_triage(worker, n, at(now), at(now), at(until)).unwrap();
    jobs.iter().map(|j| j.alert).collect()
}

fn by_bob(store: &dyn Store, ids: &[AlertId], now: i64) -> usize {
    store.enqueue_triage(ids, &Wanted::By(who("bob")), at(now)).unwrap()
}

fn by_itself(store: &dyn Store, ids: &[AlertId], per_hour: u32, now: i64) -> usize {
    store.enqueue_triage(ids, &Wanted::Auto { per_hour }, at(now)).unwrap()
}

fn state(store: &dyn Store, now: i64) -> TriageQueue {
    store.triage_queue(at(now)).unwrap()
}

fn finish(store: &dyn Store, worker: &str, id: AlertId) -> bool {
    let request = format!("{worker}-{id}");
    let v = verdict(VerdictKind::FalsePositive, &request);
    store.finish_triage(worker, id, &v, &[exchange(id, &request, 50)]).unwrap()
}

pub(super) fn order(make: Make<'_>) {
    let (store, ids) = filled(make, 21);
    let mut scrambled = ids.clone();
    scrambled.rotate_left(9);
    scrambled.reverse();
    assert_eq!(by_bob(&*store, &scrambled, 30), 21);
    // A person makes the least urgent one the most urgent, while it waits.
    let last = *found(&*store, "", 30).last().unwrap();
    let urgent = Act::Prioritise { to: Priority::P0, reason: "ceo".into() };
    store.act(&urgent, &[last], &who("bob"), at(31)).unwrap();
    let mut want = found(&*store, "pri:P0", 30);
    want.extend(found(&*store, "not pri:P0", 30));
    assert_eq!(want.len(), 21);
    assert!(want.iter().position(|id| *id == last).unwrap() < 8);
    let mut got = lease(&*store, "w", 5, 40, FAR);
    got.extend(lease(&*store, "v", 99, 40, FAR));
    assert_eq!(got, want);
    assert!(lease(&*store, "w", 9, 40, FAR).is_empty());
    // Asked for by: older ones alone.
    let (store, ids) = filled(make, 2);
    by_bob(&*store, &ids[..1], 30);
    by_bob(&*store, &ids[1..], 60);
    let jobs = store.lease_triage("w", 9, at(30), at(90), at(FAR)).unwrap();
    assert_eq!(jobs, [Job { alert: ids[0], by: Some(who("bob")), asked_at: at(30) }]);
}

pub(super) fn once(make: Make<'_>) {
    let (store, ids) = filled(make, 3);
    let since = store.revision().unwrap();
    assert_eq!(by_bob(&*store, &[ids[0], ids[0], ids[1], AlertId(99)], 10), 2, "once each, and only what is there");
    assert!(store.changes(since, 9).unwrap().others, "others hear of it");
    assert_eq!(by_bob(&*store, &ids[..2], 20), 0, "waiting already");
    assert_eq!(by_itself(&*store, &ids[..1], 9, 20), 0);
    let jobs = store.lease_triage("w", 1, at(30), at(30), at(FAR)).unwrap();
    assert_eq!((jobs.len(), jobs[0].asked_at), (1, at(10)), "as it was first asked for");
    let id = jobs[0].alert;
    assert_eq!(by_bob(&*store, &[id], 31), 0, "leased already");
    assert!(!finish(&*store, "v", id), "somebody else's lease");
    assert!(store.verdicts(id, 9).unwrap().is_empty() && store.exchanges(id, 9).unwrap().is_empty());
    assert!(finish(&*store, "w", id));
    assert!(!finish(&*store, "w", id), "a second time");
    assert_eq!(store.verdicts(id, 9).unwrap().len(), 1);
    assert_eq!(store.exchanges(id, 9).unwrap().len(), 1);
    assert_eq!(get(&*store, id).verdict.unwrap().kind, VerdictKind::FalsePositive);
    assert_eq!(by_bob(&*store, &[id], 40), 1, "a person may ask again");
}

pub(super) fn leases(make: Make<'_>) {
    let (store, ids) = filled(make, 2);
    by_bob(&*store, &ids, 10);
    let first = lease(&*store, "w", 1, 20, 80)[0];
    let other = *ids.iter().find(|id| **id != first).unwrap();
    assert_eq!((state(&*store, 79).running, state(&*store, 79).waiting), (1, 1));
    assert_eq!((state(&*store, 80).running, state(&*store, 80).waiting), (0, 2));
    assert_eq!(store.renew_triage("w", at(100)).unwrap(), [first]);
    assert!(store.renew_triage("v", at(100)).unwrap().is_empty());
    assert_eq!(lease(&*store, "v", 9, 99, 200), [other], "renewed");
    assert_eq!(lease(&*store, "v", 9, 100, 200), [first], "run out");
    assert!(!finish(&*store, "w", first) && !store.release_triage("w", first, at(0)).unwrap());
    assert!(!store.discard_triage("w", first).unwrap());
    assert_eq!(store.leased_triage("v").unwrap().len(), 2);
    // Given back, and not there again before its time.
    assert!(store.release_triage("v", first, at(150)).unwrap());
    assert!(lease(&*store, "w", 9, 149, 300).is_empty());
    assert_eq!(lease(&*store, "w", 9, 150, 300), [first]);
    assert!(finish(&*store, "w", first));
    // A new leader knows that the others are gone.
    assert_eq!((store.free_triage("v").unwrap(), store.free_triage("x").unwrap()), (0, 1));
    assert_eq!(lease(&*store, "x", 9, 151, 300), [other]);
    assert!(store.discard_triage("x", other).unwrap());
    assert_eq!(state(&*store, 151), TriageQueue::default());
    assert!(store.verdicts(other, 9).unwrap().is_empty());
}

pub(super) fn moot(make: Make<'_>) {
    let close = Act::Close { disposition: Disposition::FalsePositive, reason: "r".into(), comment: None };
    let (store, ids) = filled(make, 6);
    store.act(&close, &ids[..1], &who("bob"), at(9)).unwrap();
    store.record_verdict(ids[1], &verdict(VerdictKind::TruePositive, "r1")).unwrap();
    assert_eq!(by_itself(&*store, &ids, 99, 10), 4, "closed and judged ones are left alone");
    // Closed or judged while they wait.
    store.act(&close, &ids[2..3], &who("bob"), at(11)).unwrap();
    store.record_verdict(ids[3], &verdict(VerdictKind::TruePositive, "r3")).unwrap();
    let fallback = Verdict { fallback: true, ..verdict(VerdictKind::TruePositive, "r4") };
    store.record_verdict(ids[4], &fallback).unwrap();
    assert_eq!(lease(&*store, "w", 9, 20, FAR), [ids[5]]);
    assert_eq!((state(&*store, 20).waiting, state(&*store, 20).running), (0, 1));
    // A person who asks gets an opinion of closed ones too; one given meanwhile ends the wait, a fallback does not.
    let (store, ids) = filled(make, 3);
    store.act(&close, &ids[..1], &who("bob"), at(9)).unwrap();
    assert_eq!(by_bob(&*store, &ids, 10), 3);
    store.record_verdict(ids[1], &Verdict { fallback: true, ..verdict(VerdictKind::TruePositive, "r1") }).unwrap();
    assert_eq!(state(&*store, 11).waiting, 3);
    assert_eq!(lease(&*store, "w", 9, 20, FAR).len(), 3);
    store.record_verdict(ids[2], &verdict(VerdictKind::TruePositive, "r2")).unwrap();
    assert_eq!((state(&*store, 11).done, state(&*store, 11).running), (1, 2));
    assert!(!finish(&*store, "w", ids[2]), "somebody was quicker");
    assert_eq!(store.verdicts(ids[2], 9).unwrap().len(), 1);
    assert!(finish(&*store, "w", ids[0]) && finish(&*store, "w", ids[1]));
}

pub(super) fn budget(make: Make<'_>) {
    let (store, ids) = filled(make, 30);
    let room = |now| store.auto_room(10, at(now)).unwrap();
    assert_eq!(by_itself(&*store, &ids[..6], 10, 0), 6);
    assert_eq!(room(0), 4);
    assert_eq!(by_itself(&*store, &ids[..12], 10, 1_800), 4, "those queued already cost nothing");
    assert_eq!((room(1_800), room(3_599), room(3_600), room(5_399), room(5_400)), (0, 0, 6, 6, 10));
    assert_eq!(by_itself(&*store, &ids[12..], 10, 3_599), 0);
    assert_eq!(by_bob(&*store, &ids[12..14], 3_599), 2, "what people ask for is not budgeted");
    assert_eq!(by_itself(&*store, &ids[14..], 10, 3_600), 6);
    assert_eq!(room(3_601), 0);
    assert_eq!(by_itself(&*store, &ids[25..], 3, 3_601), 0, "a smaller budget than was spent");
}

pub(super) fn bulk(make: Make<'_>) {
    let (store, ids) = filled(make, 10);
    by_itself(&*store, &ids[8..], 99, 10);
    assert_eq!(by_bob(&*store, &ids[..4], 10), 4);
    assert_eq!(by_bob(&*store, &ids[4..6], 10), 2, "more of the same bulk");
    let counts = || {
        let s = state(&*store, 20);
        (s.asked, s.done, s.waiting, s.running)
    };
    assert_eq!(counts(), (6, 0, 8, 0));
    let leased = lease(&*store, "w", 8, 20, FAR);
    for id in leased.iter().filter(|id| **id < ids[3]) {
        assert!(finish(&*store, "w", *id));
    }
    assert_eq!(counts(), (6, 3, 0, 5));
    assert_eq!(store.cancel_triage().unwrap(), 3, "leased ones too, auto ones not");
    assert_eq!(counts(), (0, 0, 0, 2));
    let lost = leased.iter().find(|id| (ids[3]..ids[6]).contains(id)).unwrap();
    assert!(!finish(&*store, "w", *lost) && store.verdicts(*lost, 9).unwrap().is_empty());
    assert_eq!(store.cancel_triage().unwrap(), 0);
    // A new bulk counts from nought.
    by_bob(&*store, &ids[..2], 30);
    assert_eq!(counts(), (2, 0, 2, 2));
    for id in lease(&*store, "w", 9, 30, FAR) {
        assert!(finish(&*store, "w", id));
    }
    assert_eq!(counts(), (0, 0, 0, 2), "none under way");
}

pub(super) fn held(make: Make<'_>) {
    let store = make();
    let hold = |seconds| Held {
        why: "vllm-a does not answer".into(),
        since: at(1),
        next_try: at(seconds),
        until: at(seconds + 10),
    };
    assert_eq!(store.triage_held(at(0)).unwrap(), None);
    let since = store.revision().unwrap();
    store.hold_triage("w", Some(&hold(5))).unwrap();
    assert!(store.changes(since, 1).unwrap().others, "others hear of it");
    store.hold_triage("w", Some(&hold(7))).unwrap();
    assert_eq!(store.triage_held(at(9)).unwrap(), Some(hold(7)));
    assert_eq!(store.triage_held(at(17)).unwrap(), None, "whoever said so is gone");
    store.hold_triage("w", None).unwrap();
    assert_eq!(store.triage_held(at(9)).unwrap(), None);
    store.hold_triage("w", Some(&hold(7))).unwrap();
    store.free_triage("v").unwrap();
    assert_eq!(store.triage_held(at(9)).unwrap(), None, "a new leader starts afresh");
}

/// Eight workers, some of which die with leases in hand, and one that comes back too late.
pub(super) fn race(make: Make<'_>) {
    let (store, ids) = filled(make, 60);
    by_bob(&*store, &ids, 100);
    let dead = lease(&*store, "dead", 7, 100, 150);
    let kept: Vec<usize> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|i| {
                let store = &store;
                scope.spawn(move || {
                    let (worker, mut kept) = (format!("w{i}"), 0);
                    for now in 140.. {
                        let mine = lease(&**store, &worker, 3, now, now + FAR);
                        if mine.is_empty() && now > 150 && state(&**store, now).waiting == 0 {
                            return kept;
                        }
                        for id in mine {
                            if (id.0 + now) % 5 == 0 {
                                assert!(store.release_triage(&worker, id, at(now)).unwrap());
                            } else {
                                kept += usize::from(finish(&**store, &worker, id));
                            }
                        }
                    }
                    kept
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    assert_eq!(kept.iter().sum::<usize>(), 60, "{kept:?}");
    assert!(dead.iter().all(|id| !finish(&*store, "dead", *id)), "too late");
    for id in &ids {
        assert_eq!(store.verdicts(*id, 9).unwrap().len(), 1, "alert {id}");
        assert_eq!(store.exchanges(*id, 9).unwrap().len(), 1, "alert {id}");
    }
    assert_eq!(state(&*store, 5_000), TriageQueue::default());
}
