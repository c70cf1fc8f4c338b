//! Opinions, claims, questions, reviews, the triage queue.

use super::super::super::state::evidence::Mark;
use super::super::super::state::overlay::{Purpose, RawMode, RawView};
use super::super::super::state::{Form, Reveal, Run};
use super::*;

const FIRST: AlertId = AlertId(1);

fn judged(s: &mut State, result: Result<Verdict, Said>) -> Vec<Effect> {
    let t = s.now;
    update(s, t, Msg::Judged { id: FIRST, result: result.map(Box::new) })
}

fn opened(s: &State) -> &RawView {
    match s.overlays.last() {
        Some(Overlay::Raw(v)) => v,
        other => panic!("{other:?}"),
    }
}

fn form(s: &State) -> &Form {
    match s.overlays.last() {
        Some(Overlay::Form(f)) => f,
        other => panic!("{other:?}"),
    }
}

fn of_model() -> Verdict {
    Verdict { backend: "openai".into(), fallback: false, ..verdict() }
}

// --- asking for an opinion ---------------------------------------------------------------------

#[test]
fn an_opinion_is_asked_once_and_escape_stops_it() {
    let mut s = ready();
    let effects = press(&mut s, "t");
    assert!(matches!(&effects[..], [Effect::Triage { id: FIRST, backend: None, .. }, Effect::Beat]), "{effects:?}");
    assert!(press(&mut s, "t").is_empty());
    assert!(notice(&s).contains("already"));
    let t = s.now;
    update(&mut s, t, Msg::Progress { id: FIRST, question: false, text: r#"{"claims":[{"text":"half"#.into() });
    assert_eq!(s.runs[0].partial.claims[0].text.expose(), "half");
    // One step back: the opinion first, the rest later.
    press(&mut s, "enter");
    assert_eq!(press(&mut s, "esc"), [Effect::CancelRun { id: FIRST, question: false }]);
    assert!(s.full && s.runs[0].stopping);
    press(&mut s, "esc");
    assert!(!s.full, "a run that is stopping holds nobody up");
    judged(&mut s, Err(say!("cancelled")));
    assert!(s.runs.is_empty() && notice(&s).contains("stopped"), "{}", notice(&s));
}

#[test]
fn several_alerts_can_be_judged_at_once() {
    let mut s = ready();
    press(&mut s, "t j t");
    assert_eq!(s.runs.iter().map(|r| r.alert.0).collect::<Vec<_>>(), [1, 2]);
    // The one in hand is stopped first.
    assert_eq!(press(&mut s, "k T"), [Effect::CancelRun { id: FIRST, question: false }]);
    assert_eq!(press(&mut s, "T"), [Effect::CancelRun { id: AlertId(2), question: false }]);
}

#[test]
fn seconds_are_counted_only_while_something_is_formed() {
    let mut s = ready();
    press(&mut s, "t");
    assert!(s.beating);
    let t = s.now;
    assert_eq!(update(&mut s, t, Msg::Beat), [Effect::Beat]);
    judged(&mut s, Ok(verdict()));
    assert!(update(&mut s, t, Msg::Beat).is_empty(), "idle is silent");
}

/// Whatever a backend says: it is shown, and nothing else follows.
#[test]
fn an_opinion_changes_nothing_but_what_is_shown() {
    let mut s = ready();
    press(&mut s, "enter t");
    for kind in VerdictKind::ALL {
        let effects = judged(&mut s, Ok(Verdict { kind, text_dependent: Some(true), ..of_model() }));
        assert!(effects.iter().all(|e| matches!(e, Effect::Refresh(_) | Effect::Detail(_))), "{effects:?}");
        let t = s.now;
        update(&mut s, t, Msg::Detail { id: FIRST, result: Ok(Some(Box::new(detail(1)))) });
    }
    assert!(s.overlays.is_empty() && s.full);
    // Closing asks for everything anew.
    press(&mut s, "x");
    assert_eq!((form(&s).chosen("disposition"), form(&s).text_of("reason")), (None, String::new()));
}

#[test]
fn a_model_names_an_action_and_people_choose_its_targets() {
    let mut s = ready();
    s.detail.shown.as_mut().unwrap().verdicts = vec![of_model()];
    press(&mut s, "p enter");
    assert_eq!(form(&s).text_of("targets"), "");
    type_text(&mut s, "fin-ws-014");
    press(&mut s, "tab");
    type_text(&mut s, "spreads");
    let effects = press(&mut s, "enter");
    assert!(
        matches!(effects.last(), Some(Effect::Propose { draft, .. }) if draft.suggested_by == Suggested::Model),
        "{effects:?}"
    );
}

// --- claims and their evidence -----------------------------------------------------------------

#[test]
fn a_claim_leads_to_exactly_what_it_quotes() {
    let mut s = ready();
    assert_eq!(press(&mut s, "e"), [Effect::Raw(FIRST)]);
    let bytes = Arc::new(record());
    let t = s.now;
    update(&mut s, t, Msg::Raw { id: FIRST, result: Ok(Some(bytes.clone())) });
    let Some(Mark::Bytes(range)) = opened(&s).evidence.as_ref().unwrap().mark.clone() else { panic!() };
    assert_eq!(&bytes[range.clone()], b"-enc SQBF");
    assert!(bytes[..range.start].ends_with(b"\"powershell "), "not where the same words stand elsewhere");
    assert!(opened(&s).scroll > 0, "it is brought on screen");
    // Again: the next claim, which is unfounded: the field list, with nothing marked in the field.
    press(&mut s, "e");
    let v = opened(&s);
    assert_eq!((v.evidence.as_ref().unwrap().at, v.mode), (1, RawMode::Fields));
    assert_eq!(v.evidence.as_ref().unwrap().mark, Some(Mark::Field(1, None)));
    press(&mut s, "e");
    assert_eq!(opened(&s).evidence.as_ref().unwrap().at, 0, "round again");
    press(&mut s, "E");
    assert_eq!(opened(&s).evidence.as_ref().unwrap().at, 1);
    press(&mut s, "esc");
    assert!(s.overlays.is_empty());
    assert_eq!(s.detail.claim, Some(1));
    press(&mut s, "e");
    assert_eq!(opened(&s).evidence.as_ref().unwrap().at, 1, "the one that is looked at");
}

#[test]
fn evidence_that_is_written_otherwise_is_marked_in_the_field_list() {
    let mut s = ready();
    press(&mut s, "e");
    let t = s.now;
    let other = Arc::new(b"-enc SQBF and again -enc SQBF".to_vec());
    update(&mut s, t, Msg::Raw { id: FIRST, result: Ok(Some(other)) });
    assert_eq!(opened(&s).mode, RawMode::Fields);
    assert_eq!(opened(&s).evidence.as_ref().unwrap().mark, Some(Mark::Field(1, Some((11, 20)))));
    assert!(opened(&s).evidence.as_ref().unwrap().seen);
    // A field that is not there at all.
    let mut s = ready();
    s.detail.shown.as_mut().unwrap().verdicts[0].claims[0].field = "no.such".into();
    update(&mut s, t, Msg::Tick);
    press(&mut s, "e");
    update(&mut s, t, Msg::Raw { id: FIRST, result: Ok(Some(Arc::new(record()))) });
    assert_eq!(opened(&s).evidence.as_ref().unwrap().mark, Some(Mark::Nowhere));
}

#[test]
fn claims_are_walked_and_forgotten_with_their_alert() {
    let mut s = ready();
    press(&mut s, "enter .");
    assert_eq!(s.detail.claim, Some(0));
    let (at, _) = s.detail.opinion.claims[0];
    let top = s.detail.gap + at;
    assert!((s.detail.scroll..s.detail.scroll + 16).contains(&top), "{top} is off screen at {}", s.detail.scroll);
    press(&mut s, "right");
    assert_eq!(s.detail.claim, Some(1));
    press(&mut s, ". ,");
    assert_eq!(s.detail.claim, Some(1));
    press(&mut s, "J");
    assert_eq!(s.detail.claim, None);
}

// --- questions ---------------------------------------------------------------------------------

fn ask(s: &mut State, text: &str) -> Vec<Effect> {
    press(s, "a");
    assert_eq!(form(s).purpose, Purpose::Ask);
    type_text(s, text);
    press(s, "enter")
}

#[test]
fn a_question_is_sent_and_its_answer_read_in_the_alert() {
    let mut s = ready();
    let effects = ask(&mut s, "who else?");
    assert!(
        matches!(&effects[..], [Effect::Ask { id: FIRST, text, before, .. }, Effect::Beat]
            if text.expose() == "who else?" && before.is_empty()),
        "{effects:?}"
    );
    assert!(s.full && s.overlays.is_empty(), "the answer comes in the open alert");
    let t = s.now;
    update(&mut s, t, Msg::Progress { id: FIRST, question: true, text: r#"{"answer":"nob"#.into() });
    assert_eq!(s.run_of(FIRST, true).map(|r: &Run| r.partial.text.expose()), Some("nob"));
    let effects = update(&mut s, t, Msg::Answered { id: FIRST, result: Ok(Box::new(answer())) });
    assert_eq!(effects, [Effect::Detail(FIRST)]);
    assert_eq!(s.detail.opinion.claims.len(), 4, "the answer's claims are walked after the opinion's");
    press(&mut s, "e");
    assert_eq!(opened(&s).evidence.as_ref().map(|e| (e.at, e.of)), Some((2, 4)), "its first claim is the next");
    // The next question takes along what was said.
    press(&mut s, "esc");
    let effects = ask(&mut s, "and before?");
    assert!(matches!(&effects[0], Effect::Ask { before, .. } if before[0].0.expose() == "who else ran this?"));
}

#[test]
fn a_question_has_lines_and_a_history() {
    let mut s = ready();
    ask(&mut s, "first");
    let t = s.now;
    update(&mut s, t, Msg::Answered { id: FIRST, result: Err(say!("rules cannot answer")) });
    assert!(notice(&s).contains("rules cannot answer"));
    assert!(s.unanswered.is_some());
    press(&mut s, "a");
    type_text(&mut s, "one");
    press(&mut s, "alt-enter");
    type_text(&mut s, "two");
    assert_eq!(form(&s).text_of("question"), "one\ntwo");
    press(&mut s, "up");
    assert_eq!(form(&s).text_of("question"), "one\ntwo", "up moves within the lines first");
    press(&mut s, "ctrl-u ctrl-k esc a up");
    assert_eq!(form(&s).text_of("question"), "first");
    press(&mut s, "down");
    assert_eq!(form(&s).text_of("question"), "");
    assert!(press(&mut s, "enter").is_empty(), "nothing to ask");
}

#[test]
fn escape_stops_an_answer() {
    let mut s = ready();
    ask(&mut s, "who?");
    assert_eq!(press(&mut s, "esc"), [Effect::CancelRun { id: FIRST, question: true }]);
    let t = s.now;
    update(&mut s, t, Msg::Answered { id: FIRST, result: Err(say!("cancelled")) });
    assert_eq!(s.unanswered.as_ref().unwrap().why.as_str(), "you stopped it");
    assert_eq!(s.detail.reveal, None);
    let _ = Reveal::Question;
}

// --- what people say to it ---------------------------------------------------------------------

#[test]
fn one_key_agrees_and_closes_nothing() {
    let mut s = ready();
    let effects = press(&mut s, "+");
    assert!(
        matches!(&effects[..], [Effect::Review { id: FIRST, request, kind: VerdictKind::TruePositive, reason, .. }]
            if request == "r1" && reason.is_empty()),
        "{effects:?}"
    );
    let review = Review {
        alert: FIRST,
        request_id: "r1".into(),
        by: PersonId::new("alice").unwrap(),
        at: now(),
        said: VerdictKind::TruePositive,
        kind: VerdictKind::TruePositive,
        reason: "".into(),
    };
    let t = s.now;
    let effects = update(&mut s, t, Msg::Reviewed { id: FIRST, result: Ok(review) });
    assert_eq!(effects, [Effect::Detail(FIRST)]);
    assert!(s.overlays.is_empty() && notice(&s).contains("stays open"));
    assert_eq!(s.detail.shown.as_ref().unwrap().reviews.len(), 1);
}

#[test]
fn another_opinion_needs_its_reason() {
    let mut s = ready();
    press(&mut s, "-");
    assert_eq!((form(&s).chosen("it is"), form(&s).text_of("reason")), (None, String::new()), "nothing is filled in");
    type_text(&mut s, "f");
    assert!(press(&mut s, "enter").is_empty());
    assert!(form(&s).error.is_some());
    type_text(&mut s, "ours");
    let effects = press(&mut s, "enter");
    assert!(
        matches!(&effects[..], [Effect::Review { kind: VerdictKind::FalsePositive, reason, .. }] if reason.expose() == "ours"),
        "{effects:?}"
    );
    let t = s.now;
    update(&mut s, t, Msg::Reviewed { id: FIRST, result: Err(say!("the audit log is full")) });
    assert_eq!(form(&s).text_of("reason"), "ours", "a refused form keeps its text");
}

#[test]
fn without_an_opinion_there_is_nothing_to_agree_with() {
    let mut s = ready();
    s.detail.shown.as_mut().unwrap().verdicts.clear();
    update(&mut s, now(), Msg::Tick);
    for key in ["+", "-", "e", "."] {
        assert!(press(&mut s, key).is_empty() && s.overlays.is_empty(), "{key}");
        assert!(notice(&s).contains("no opinion"), "{key}: {}", notice(&s));
    }
    s.me = Some(person("eve", "Eve", Role::Auditor));
    for key in ["t", "a", "+"] {
        assert!(press(&mut s, key).is_empty(), "{key}");
        assert!(notice(&s).contains("auditor"), "{key}: {}", notice(&s));
    }
}

// --- the queue ---------------------------------------------------------------------------------

#[test]
fn marked_alerts_are_queued_together() {
    let mut s = ready();
    let effects = press(&mut s, "space space t");
    assert!(
        matches!(effects.last(), Some(Effect::Enqueue { ids, .. }) if *ids == [AlertId(1), AlertId(2)]),
        "{effects:?}"
    );
    assert!(s.runs.is_empty());
    let t = s.now;
    update(&mut s, t, Msg::Queued(Ok((2, false))));
    assert!(s.queue.marks.is_empty() && notice(&s).contains("2 queued"));
    let mut out = Vec::new();
    super::super::keys::run(&mut s, Do::TriageFilter, &mut out);
    assert!(matches!(&out[..], [Effect::EnqueueMatching { query: Query::All, .. }]), "{out:?}");
    // Stopping, once there is something to stop.
    assert!(press(&mut s, "T").is_empty());
    let queue = TriageQueue { waiting: 5, running: 1, asked: 8, done: 2, held: None };
    let facts = Facts { queue, ..s.facts.clone() };
    update(&mut s, t, Msg::Facts(facts));
    assert_eq!(s.bulk(), Some((2, 8)));
    assert!(matches!(&press(&mut s, "T")[..], [Effect::CancelQueue { .. }]));
}

#[test]
fn the_page_is_loaded_at_most_once_a_second() {
    let mut s = ready();
    assert_eq!(press(&mut s, "7"), [Effect::TriageStats]);
    let t = s.now;
    let changed = || Msg::Changed { alerts: vec![], overflow: false, others: true };
    let loads = |effects: &[Effect]| effects.iter().filter(|e| **e == Effect::TriageStats).count();
    assert_eq!(loads(&update(&mut s, t, changed())), 0, "one is under way");
    update(&mut s, t, Msg::Stats(Ok(Box::<TriageStats>::default())));
    assert!(s.beating, "the change is not forgotten");
    let later = at_ms(&s, 1100);
    assert_eq!(loads(&update(&mut s, later, Msg::Beat)), 1);
    let t = s.now;
    update(&mut s, t, Msg::Stats(Ok(Box::<TriageStats>::default())));
    assert_eq!(update(&mut s, t, Msg::Beat), [], "and then it is quiet");
}

fn at_ms(s: &State, ms: i64) -> Timestamp {
    s.now.checked_add(SignedDuration::from_millis(ms)).unwrap()
}
