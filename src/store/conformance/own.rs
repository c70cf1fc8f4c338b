use super::*;
use crate::model::act::Act;
use crate::model::alert::Disposition;
use crate::model::slo::DeskSli;
use crate::model::verdict::{Verdict, VerdictKind};
use crate::store::{OwnEvents, Wanted};
use jiff::SignedDuration;

fn counted(store: &dyn Store, sli: DeskSli, within: i64, from: i64, until: i64) -> Vec<(i64, u64, u64)> {
    let all = store.own_events(sli, SignedDuration::from_secs(within), at(from), at(until)).unwrap();
    all.into_iter().map(|OwnEvents { until, good, bad }| (until.as_second() - at(0).as_second(), good, bad)).collect()
}

/// Samples that came at 0, 1, 2 and so on. Claimed at 100, 200 and 400, or never.
pub(super) fn people(make: Make<'_>) {
    let (store, ids) = filled(make, 6);
    let s = &*store;
    assert_eq!(counted(s, DeskSli::TriageTime, 300, 0, 9_000), [], "nothing was claimed yet");
    let bob = who("bob");
    s.act(&Act::Claim, &ids[..1], &bob, at(100)).unwrap();
    s.act(&Act::Claim, &ids[1..2], &bob, at(200)).unwrap();
    s.act(&Act::Claim, &ids[2..3], &bob, at(400)).unwrap();
    // In time: when they were claimed. Late, and not at all: when their 300 s ran out. Minutes are named by their end.
    let mtta = |until| counted(s, DeskSli::TimeToAcknowledge, 300, 0, until);
    assert_eq!(mtta(299), [(120, 1, 0), (240, 1, 0)], "nobody is late yet");
    assert_eq!(mtta(9_000), [(120, 1, 0), (240, 1, 0), (360, 0, 4)]);
    assert_eq!(
        counted(s, DeskSli::TimeToAcknowledge, 300, 100, 9_000),
        [(240, 1, 0), (360, 0, 4)],
        "from is not in it"
    );

    let close = |disposition| Act::Close { disposition, reason: "seen".into(), comment: None };
    s.act(&close(Disposition::FalsePositive), &ids[..1], &bob, at(160)).unwrap();
    s.act(&close(Disposition::TruePositive), &ids[1..2], &bob, at(600)).unwrap();
    assert_eq!(counted(s, DeskSli::FalsePositives, 0, 0, 9_000), [(180, 0, 1), (600, 1, 0)]);
    // 60 s; more than 300 s; and one that is still open.
    assert_eq!(counted(s, DeskSli::TriageTime, 300, 0, 9_000), [(180, 1, 0), (540, 0, 1), (720, 0, 1)]);
    assert_eq!(counted(s, DeskSli::TriageTime, 300, 0, 699), [(180, 1, 0), (540, 0, 1)], "the open one has time left");

    assert_eq!(counted(s, DeskSli::TimeToRespond, 300, 0, 9_000), [], "no verdict: no clock");
    s.record_verdict(ids[1], &Verdict::new(VerdictKind::TruePositive, "openai", at(250), "r")).unwrap();
    assert_eq!(counted(s, DeskSli::TimeToRespond, 300, 0, 9_000), [(600, 0, 1)], "not contained");
    s.mark_contained(&ids[..2], at(500)).unwrap();
    assert_eq!(counted(s, DeskSli::TimeToRespond, 300, 0, 9_000), [(540, 1, 0)]);
}

pub(super) fn machines(make: Make<'_>) {
    let (store, ids) = filled(make, 5);
    let s = &*store;
    assert_eq!(counted(s, DeskSli::AnalysisLatency, 30, 0, 9_000), [], "nobody asked for an opinion");
    assert_eq!(counted(s, DeskSli::InferenceLatency, 3, 0, 9_000), []);
    s.enqueue_triage(&ids[4..], &Wanted::By(who("bob")), at(5)).unwrap();
    let verdict = |i: usize, seconds: i64, took_ms: u64| {
        let base = Verdict::new(VerdictKind::FalsePositive, "openai", at(seconds), &format!("r{i}"));
        Verdict { took_ms, ..base }
    };
    s.record_verdict(ids[0], &verdict(0, 20, 2_900)).unwrap();
    s.record_verdict(ids[1], &verdict(1, 90, 3_001)).unwrap();
    s.record_verdict(ids[2], &Verdict { fallback: true, backend: "rules".into(), ..verdict(2, 100, 1) }).unwrap();
    s.record_verdict(ids[3], &Verdict { backend: "rules".into(), ..verdict(3, 130, 1) }).unwrap();
    // One within 30 s, three later, and one that waits: all late at 31 to 34.
    assert_eq!(counted(s, DeskSli::AnalysisLatency, 30, -1, 9_000), [(60, 1, 4)]);
    // Rules are no model, but where they stood in for one it did not answer.
    assert_eq!(counted(s, DeskSli::InferenceLatency, 3, 0, 9_000), [(60, 1, 0), (120, 0, 2)]);

    let mut seen = sample(9);
    let times = [(Some(-100), Some(-50)), (Some(-100), None), (Some(50), Some(40)), (None, Some(0))];
    for (i, (event, alert)) in times.into_iter().enumerate() {
        seen.identity[5] = i as u8 + 1;
        seen.fields.t_event = event.map(at);
        seen.fields.t_alert = alert.map(at);
        put(s, &seen, 30);
    }
    // After 50 s; after 130 s; before it happened, and at an unknown time: no figure.
    assert_eq!(counted(s, DeskSli::TimeToDetect, 60, 0, 9_000), [(60, 1, 1)]);
}
