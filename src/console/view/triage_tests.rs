//! Opinions on screen: as they are written, checked, their evidence, questions, and the page about them all.

use ratatui::style::Modifier;

use super::super::shot::buffer;
use super::super::state::{Load, State};
use super::super::update::tests::{answer, detail, loaded, look, now, press, record, type_text};
use super::super::update::{Msg, update};
use super::super::words::say;
use super::tests::{each_of, text};
use crate::model::ids::{AlertId, PersonId};
use crate::model::opinion::{Agreement, Review, TriageQueue, TriageStats};
use crate::model::verdict::VerdictKind;

const LOOKS: [(&str, bool); 2] = [("dark", false), ("mono", true)];
const PIECES: [&str; 4] = [
    r#"{"claims":[{"field":"data.win.eventdata.commandLine","quote":"-enc SQBF","text":"the command hides"#,
    r#" its script"},{"field":"host","quote":"fin-ws-014","text":"a work"#,
    r#"station of the finance department"}],"techniques":[],"verdict":"true_positive","priority":"P0","questions":["did"#,
    r#" the user open a mail?"],"actions":[]}"#,
];

fn later(s: &State, seconds: i64) -> jiff::Timestamp {
    s.now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap()
}

fn hear(s: &mut State, question: bool, pieces: &[&str]) {
    for piece in pieces {
        let at = later(s, 1);
        update(s, at, Msg::Progress { id: AlertId(1), question, text: (*piece).into() });
    }
}

/// An open alert with an opinion, what is known besides, an answer and a review.
fn rich(s: &mut State) {
    let mut d = detail(1);
    d.asked = vec![answer()];
    d.verdicts[0].text_dependent = Some(true);
    d.reviews = vec![Review {
        alert: AlertId(1),
        request_id: "r1".into(),
        by: PersonId::new("bob").unwrap(),
        at: now(),
        said: VerdictKind::TruePositive,
        kind: VerdictKind::FalsePositive,
        reason: "a packaging job of ours".into(),
    }];
    update(s, now(), Msg::Detail { id: AlertId(1), result: Ok(Some(Box::new(d))) });
    press(s, "enter");
}

fn bytes(s: &mut State) {
    update(s, now(), Msg::Raw { id: AlertId(1), result: Ok(Some(record().into())) });
}

pub fn figures() -> TriageStats {
    let of = |rule: &str, agreed, overridden| Agreement {
        rule: rule.into(),
        backend: "openai".into(),
        model: "some-model".into(),
        agreed,
        overridden,
    };
    TriageStats {
        since: Some(now()),
        verdicts: 412,
        fallbacks: 16,
        by_model: 396,
        kinds: [12, 3, 200, 197],
        text_dependent: 3,
        raised: 9,
        per_hour: 16.5,
        per_hour_now: 240.0,
        took_p50: Some(1200),
        took_p95: Some(3400),
        first_token_p95: Some(712),
        prompt_tokens: 812_000,
        cached_tokens: 673_000,
        completion_tokens: 41_000,
        served_ms: 396 * 2300,
        claims: 1203,
        founded: 1170,
        agreement: vec![of("", 30, 4), of("9701", 14, 3), of("100012", 3, 3)],
        queue: TriageQueue::default(),
    }
}

fn page(s: &mut State, stats: TriageStats) {
    press(s, "7");
    update(s, now(), Msg::Stats(Ok(Box::new(stats))));
}

// --- pictures ----------------------------------------------------------------------------------

#[test]
fn an_opinion_being_written() {
    each_of(&LOOKS, "streaming", |s| {
        s.detail.shown.as_mut().unwrap().verdicts.clear();
        press(s, "enter t");
        hear(s, false, &PIECES[..3]);
    });
}

#[test]
fn a_checked_opinion() {
    each_of(&LOOKS, "opinion", |s| {
        rich(s);
        press(s, "o .");
    });
}

#[test]
fn evidence_in_the_record() {
    each_of(&LOOKS, "evidence", |s| {
        press(s, "e");
        bytes(s);
        s.notice = None;
    });
}

#[test]
fn evidence_that_is_not_there() {
    each_of(&LOOKS, "unfounded", |s| {
        press(s, "e");
        bytes(s);
        press(s, "e");
    });
}

#[test]
fn a_question_and_its_answer() {
    each_of(&LOOKS, "ask", |s| {
        rich(s);
        press(s, "a");
        type_text(s, "and on other hosts?");
    });
}

#[test]
fn another_opinion() {
    each_of(&LOOKS, "override", |s| {
        press(s, "enter -");
        type_text(s, "bsigned by our packagers");
    });
}

#[test]
fn the_page_empty_busy_and_held() {
    each_of(&LOOKS, "page_empty", |s| page(s, TriageStats::default()));
    each_of(&LOOKS, "page_busy", |s| {
        s.setup.watts = 700;
        let mut b = s.facts.backend.clone().unwrap();
        let mut second = b.clone();
        second.name = say!("vllm-b");
        second.up = false;
        second.backup = true;
        second.kv_cache = None;
        second.detail = say!("out for 22 s: connection refused");
        b.servers = vec![b.clone(), second];
        s.facts.backend = Some(b);
        s.facts.queue = TriageQueue { waiting: 686, running: 2, asked: 1000, done: 312, held: None };
        page(s, figures());
    });
    each_of(&LOOKS, "page_held", |s| {
        let b = s.facts.backend.as_mut().unwrap();
        b.up = false;
        b.detail = say!("connection refused");
        let held = Some("rules only: vllm-a is down since 09:12, tried again in 20 s".to_owned());
        s.facts.queue = TriageQueue { waiting: 688, running: 0, asked: 1000, done: 312, held };
        page(s, figures());
    });
}

#[test]
fn a_bulk_under_way() {
    each_of(&LOOKS, "bulk", |s| {
        press(s, "j");
        s.facts.queue = TriageQueue { waiting: 686, running: 2, asked: 1000, done: 312, held: None };
        s.queue.rows[4].verdict = s.queue.rows[0].verdict.map(|v| crate::model::verdict::VerdictSummary {
            text_dependent: true,
            speaks_to_model: false,
            ..v
        });
    });
}

// --- words -------------------------------------------------------------------------------------

#[test]
fn what_is_unchecked_says_so_and_goes_when_it_is_checked() {
    let mut s = loaded((80, 24), look("dark", false));
    s.detail.shown.as_mut().unwrap().verdicts.clear();
    press(&mut s, "enter t");
    assert!(text(&s).contains("waiting for vllm-a"), "{}", text(&s));
    hear(&mut s, false, &PIECES[..1]);
    let t = text(&s);
    assert!(t.contains("UNCHECKED, still writing: vllm-a") && t.contains("the command hides"), "{t}");
    hear(&mut s, false, &PIECES[1..]);
    assert!(text(&s).contains("TRUE POSITIVE   unchecked"), "{}", text(&s));
    let verdict = detail(1).verdicts[0].clone();
    update(&mut s, now(), Msg::Judged { id: AlertId(1), result: Ok(Box::new(verdict)) });
    update(&mut s, now(), Msg::Detail { id: AlertId(1), result: Ok(Some(Box::new(detail(1)))) });
    assert!(!text(&s).contains("UNCHECKED"), "{}", text(&s));
}

#[test]
fn an_unfounded_claim_is_crossed_out_in_every_look() {
    for (theme, ascii) in [("dark", false), ("mono", true), ("high-contrast", false)] {
        let mut s = loaded((80, 24), look(theme, ascii));
        rich(&mut s);
        press(&mut s, "o");
        let buf = buffer(&s);
        let row = (0..24).find(|y| line(&s, *y).contains("x unfounded: GET")).unwrap_or_else(|| panic!("{}", text(&s)));
        let at = line(&s, row).find("GET").unwrap() as u16;
        assert!(buf[(at, row)].style().add_modifier.contains(Modifier::CROSSED_OUT), "{theme}");
        assert!(!buf[(4, row)].style().add_modifier.contains(Modifier::CROSSED_OUT), "{theme}");
    }
}

fn line(s: &State, y: u16) -> String {
    let buf = buffer(s);
    (0..s.size.0).map(|x| buf[(x, y)].symbol().to_owned()).collect()
}

#[test]
fn the_quote_is_on_screen_and_marked_where_it_stands() {
    for size in [(80, 24), (160, 45)] {
        let mut s = loaded(size, look("mono", true));
        press(&mut s, "e");
        bytes(&mut s);
        let buf = buffer(&s);
        let marked: String = buf
            .content()
            .iter()
            .filter(|c| c.style().add_modifier.contains(Modifier::REVERSED | Modifier::BOLD) && c.symbol() != " ")
            .map(|c| c.symbol())
            .collect();
        assert!(marked.ends_with("-encSQBF"), "{size:?} {marked}: {}", text(&s));
        assert!(text(&s).contains("powershell"), "the field's own, not the same words elsewhere: {}", text(&s));
        press(&mut s, "h");
        assert!(text(&s).contains("2d 65 6e 63"), "{}", text(&s));
    }
}

#[test]
fn the_page_says_what_is_not_known() {
    let mut s = loaded((100, 40), look("dark", false));
    press(&mut s, "7");
    assert!(text(&s).contains("loading the figures"), "{}", text(&s));
    update(&mut s, now(), Msg::Stats(Err(say!("disk I/O error"))));
    assert!(text(&s).contains("disk I/O error") && text(&s).contains("still works"), "{}", text(&s));
    update(&mut s, now(), Msg::Stats(Ok(Box::new(TriageStats { took_p95: None, ..figures() }))));
    let t = text(&s);
    assert!(t.contains("unknown") && !t.contains("met") && t.contains("triage.watts is not set"), "{t}");
    update(&mut s, now(), Msg::Stats(Err(say!("disk I/O error"))));
    assert!(text(&s).contains("these are of 09:00"), "{}", text(&s));
    assert!(matches!(s.triage.load, Load::Broken { .. }));
}

#[test]
fn the_header_shortens_the_model_to_what_fits() {
    for (width, words) in
        [(160, "model vllm-a 2 run 0 wait kv 41% hit 83% ttft 0.7s"), (80, "dead 3  vllm-a 2 run 0 wait ttft 0.7s")]
    {
        let s = loaded((width, 24), look("dark", false));
        assert!(text(&s).lines().next().unwrap().contains(words), "{width}: {}", text(&s));
    }
    let mut s = loaded((80, 24), look("dark", false));
    s.facts.backend.as_mut().unwrap().up = false;
    assert!(text(&s).lines().next().unwrap().contains("RULES ONLY"), "{}", text(&s));
}
