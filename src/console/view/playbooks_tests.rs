//! Playbooks on screen: which fit, the runs, an open one, and what keys on its steps send.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::super::state::playbook::{At, For};
use super::super::state::{Overlay, State, Tab};
use super::super::update::tests::{HOSTILE, bare, loaded, look, now, press, request, type_text};
use super::super::update::{Effect, Msg, update};
use super::super::words::say;
use super::platform_sample::ago;
use super::tests::{each_of, text};
use crate::desk::case::{CaseEvidence, CaseView};
use crate::desk::playbook::library;
use crate::desk::playbook_propose::StepAction;
use crate::desk::{Asked, Filled, Offered, StepOffer};
use crate::model::action::{RequestState, Suggested, Tier};
use crate::model::alert::Disposition;
use crate::model::case::{Case, Closing};
use crate::model::ids::{AlertId, CaseId, PersonId};
use crate::model::playbook::Playbook;
use crate::model::playbook_run::{
    Branch, Deadline, DeadlineMark, DeadlineWord, Event, Evidence, Found, Note, Run, RunState, Visit, VisitState,
};
use crate::text::Untrusted;

const LOOKS: [(&str, bool); 3] = [("dark", false), ("mono", true), ("deuteranopia", false)];
const RUN: &str = "01JHQ3W5T0000000000000000A";

fn book() -> Playbook {
    // The library is read once: that takes its time.
    static BOOK: LazyLock<Playbook> = LazyLock::new(|| library(None).get("phishing").unwrap().book.clone());
    BOOK.clone()
}

fn who(id: &str) -> PersonId {
    PersonId::new(id).unwrap()
}

fn visit(n: u32, key: &str, state: VisitState, waited: i64) -> Visit {
    let over = state.over();
    Visit {
        n,
        step: book().find(key).unwrap().id.clone(),
        key: key.into(),
        parent: None,
        branch: String::new(),
        round: 0,
        state,
        owner: Some(who("alice")),
        assigned: false,
        entered_at: ago(waited),
        ready_at: ago(waited),
        began_at: Some(ago(waited)),
        ended_at: over.then(|| ago(waited - 60)),
        ended_by: over.then(|| who("alice")),
        box_until: (!over).then(|| ago(waited - 600)),
        fails_at: None,
        overdue: waited > 600,
        outputs: BTreeMap::new(),
        reason: None,
        notes: vec![],
        evidence: vec![],
        signed: vec![],
        branches: vec![],
        child: None,
        requests: vec![],
        advice: Vec::new(),
    }
}

/// Two steps done, the condition decided, its branches at work.
fn run() -> Run {
    let mut first = visit(1, "message", VisitState::Done, 1500);
    first.evidence.push(Evidence {
        sha256: "ab".repeat(32),
        bytes: 48_213,
        name: HOSTILE.into(),
        by: who("alice"),
        at: ago(1450),
        found: None,
    });
    first.notes.push(Note { by: who("bob"), at: ago(1440), text: HOSTILE.into() });
    let mut second = visit(2, "judge", VisitState::Done, 1400);
    second.outputs.insert("__is_phishing__".into(), Some("true".into()));
    let mut third = visit(3, "real", VisitState::Open, 1300);
    third.branches.push(Branch { word: "yes".into(), ended: None });
    third.box_until = None;
    let mut run = Run {
        id: RUN.into(),
        playbook: "phishing".into(),
        playbook_id: book().id,
        title: book().title,
        version: book().hash,
        alert: Some(AlertId(2)),
        case: None,
        started_by: who("alice"),
        started_at: ago(1500),
        state: RunState::Running,
        ended_at: None,
        ended_why: None,
        signed: None,
        restricted: vec![],
        named: vec![],
        variables: BTreeMap::new(),
        deadlines: BTreeMap::new(),
        visits: vec![first, second, third],
        parent: None,
        seq: 7,
    };
    let book = book();
    let heads = book.find("all").unwrap().kind.branches().into_iter().map(|(w, h)| (w, h.to_owned()));
    let mut all = visit(4, "all", VisitState::Open, 1300);
    (all.parent, all.branch, all.box_until) = (Some(3), "yes".into(), None);
    run.visits.push(all);
    for (n, (word, head)) in (5..).zip(heads) {
        let key = book.step(&head).unwrap().key.clone();
        let state = if n == 5 { VisitState::Active } else { VisitState::Ready };
        let mut v = visit(n, &key, state, if n == 5 { 1200 } else { 300 });
        (v.parent, v.branch) = (Some(4), word);
        v.owner = (n == 5).then(|| who("bob"));
        run.visits.push(v);
    }
    run
}

fn over() -> Run {
    let mut r = run();
    (r.id, r.state, r.ended_at) = ("01JHQ3W5T0000000000000000B".into(), RunState::Failed, Some(ago(20)));
    (r.title, r.alert, r.case) = (HOSTILE.into(), None, Some(CaseId(118)));
    r
}

fn runs(s: &mut State) {
    press(s, "2 2");
    update(s, now(), Msg::Runs(Ok(vec![run(), over()])));
}

fn opened(s: &mut State, run: Run) {
    runs(s);
    let out = press(s, "enter");
    assert!(out.contains(&Effect::RunOf(RUN.into())), "{out:?}");
    update(s, now(), Msg::RunOf { id: RUN.into(), result: Ok(Box::new((run, book(), Vec::new()))) });
    s.notice = None;
}

fn offers() -> Vec<Offered> {
    let asks = book()
        .variables
        .iter()
        .filter(|(n, _)| *n == "__message_id__")
        .map(|(n, v)| Asked { name: n.clone(), variable: v.clone(), required: true, time: false, filled: None })
        .collect();
    let of = |key: &str, title: &str, why: &[&str], asks| Offered {
        key: key.into(),
        title: title.into(),
        description: HOSTILE.into(),
        why: why.iter().map(|w| (*w).into()).collect(),
        asks,
    };
    vec![
        of("phishing", "Phishing message", &["the rule fits \"*phish*\"", "it is for T1566 Phishing"], asks),
        of("malware", "Malware on a host", &["the alert says malware"], vec![]),
        of("outage", HOSTILE, &[], vec![]),
    ]
}

fn offered(s: &mut State) {
    let out = press(s, "b");
    assert_eq!(out, [Effect::Offer(For::Alert(AlertId(1)))]);
    update(s, now(), Msg::Offered { of: For::Alert(AlertId(1)), result: Ok(offers()) });
}

#[test]
fn pictures() {
    each_of(&LOOKS, "playbook_offer", offered);
    each_of(&LOOKS, "playbook_runs", runs);
    each_of(&LOOKS, "playbook_open", |s| opened(s, run()));
    each_of(&LOOKS[..2], "playbook_step_done", |s| {
        opened(s, run());
        press(s, "g");
    });
    each_of(&LOOKS[..1], "playbook_gives", |s| {
        let mut r = run();
        r.visits.truncate(2);
        (r.visits[1].state, r.visits[1].ended_at) = (VisitState::Active, None);
        opened(s, r);
        press(s, "d");
    });
    each_of(&LOOKS[..1], "playbook_runs_empty", |s| {
        press(s, "2 ]");
        update(s, now(), Msg::Runs(Ok(vec![])));
    });
}

fn deadline(id: &str, to: &str, hours: i64, mark: Option<DeadlineWord>) -> Deadline {
    let began = (hours != 0).then(|| ago(3600));
    Deadline {
        id: id.into(),
        to: to.into(),
        law: "Regulation (EU) 2016/679 (GDPR), Art. 33(1)".into(),
        applies: "personal data of people in the EU or EEA".into(),
        within: format!("{hours} h"),
        from: if hours == 0 { "__material_at__".into() } else { "__aware_at__".into() },
        began,
        due: began.map(|t| t + jiff::SignedDuration::from_hours(hours)),
        mark: mark.map(|word| DeadlineMark { word, by: who("carol"), at: ago(60), text: HOSTILE.into() }),
    }
}

fn with_deadlines(s: &mut State) {
    runs(s);
    press(s, "enter");
    let all = vec![
        deadline("contracts", "customers whose contracts name a time", -1, None),
        deadline("cert-in", "CERT-In", 4, None),
        deadline("gdpr-authority", "data protection authority", 72, None),
        deadline("sec-8k", "U.S. Securities and Exchange Commission", 0, None),
        deadline("nis2-early", "national CSIRT", 24, Some(DeadlineWord::Told)),
        deadline("hipaa-people", "people concerned", 1440, Some(DeadlineWord::Excluded)),
    ];
    update(s, now(), Msg::RunOf { id: RUN.into(), result: Ok(Box::new((run(), book(), all))) });
    s.notice = None;
}

#[test]
fn deadlines_stand_in_the_head_and_below_the_step() {
    each_of(&LOOKS[..2], "playbook_deadlines", |s| {
        with_deadlines(s);
        press(s, "> > > > > >");
    });
    each_of(&LOOKS[..2], "playbook_deadline_pick", |s| {
        with_deadlines(s);
        press(s, "t");
    });
    each_of(&LOOKS[..1], "playbook_deadline_form", |s| {
        with_deadlines(s);
        press(s, "t down enter");
    });
}

#[test]
fn a_deadline_is_marked_and_the_time_it_counts_from_is_set() {
    let mut s = loaded((80, 24), look("dark", false));
    opened(&mut s, run());
    press(&mut s, "t");
    assert!(s.overlays.is_empty() && text(&s).contains("asks for no time"), "{}", text(&s));
    with_deadlines(&mut s);
    // Neither without a word nor without a reason.
    press(&mut s, "t down enter t enter ctrl-s");
    assert!(text(&s).contains("because is needed"), "{}", text(&s));
    type_text(&mut s, "receipt 7");
    let out = press(&mut s, "ctrl-s");
    let told = Event::Deadline { clock: "cert-in".into(), word: Some(DeadlineWord::Told), text: "receipt 7".into() };
    assert_eq!(event(&out), Some(told), "{out:?}");
    update(&mut s, now(), Msg::Stepped { run: RUN.into(), result: Ok(say!("cert-in: told")) });
    // A deadline somebody dealt with can be opened again.
    press(&mut s, "t");
    type_text(&mut s, "nis2");
    press(&mut s, "enter o enter");
    type_text(&mut s, "it was another one");
    let out = press(&mut s, "ctrl-s");
    assert!(matches!(event(&out), Some(Event::Deadline { word: None, .. })), "{out:?}");
    update(&mut s, now(), Msg::Stepped { run: RUN.into(), result: Ok(say!("open")) });
    press(&mut s, "t");
    type_text(&mut s, "material");
    press(&mut s, "enter");
    type_text(&mut s, "20m ago");
    let out = press(&mut s, "enter");
    let set = Event::Set { name: "__material_at__".into(), value: Some("20m ago".into()) };
    assert_eq!(event(&out), Some(set), "{out:?}");
}

#[test]
fn a_playbook_is_started_from_an_alert_or_a_case() {
    let mut s = loaded((80, 24), look("dark", false));
    offered(&mut s);
    // The second asks for nothing: it starts at once.
    let out = press(&mut s, "down enter");
    let by = who("alice");
    let of = For::Alert(AlertId(1));
    let start = |key: &str, of, values| Effect::StartPlaybook { by: by.clone(), key: key.into(), of, values };
    assert!(out.contains(&start("malware", of, vec![])), "{out:?}");
    // The first asks for a value, and does not go without one.
    offered(&mut s);
    press(&mut s, "enter ctrl-s");
    assert!(text(&s).contains("message_id is needed"), "{}", text(&s));
    type_text(&mut s, "<1@example>");
    let out = press(&mut s, "enter");
    assert!(out.contains(&start("phishing", of, vec![("message_id".into(), "<1@example>".into())])), "{out:?}");
    update(&mut s, now(), Msg::Started(Err(say!("no such thing"))));
    assert!(text(&s).contains("no such thing") && s.overlays.len() == 1, "what was typed stays");
    press(&mut s, "enter");
    let out = update(&mut s, now(), Msg::Started(Ok(Box::new(run()))));
    assert!(s.overlays.is_empty() && s.tab == Tab::Playbooks && s.full);
    assert!(out.contains(&Effect::RunOf(RUN.into())), "{out:?}");
    press(&mut s, "q 2");
    assert_eq!(press(&mut s, "2 2 b"), [Effect::Runs, Effect::Cases, Effect::Offer(For::Case(CaseId(118)))]);
}

#[test]
fn an_offer_that_comes_late_opens_nothing() {
    let mut s = loaded((80, 24), look("dark", false));
    press(&mut s, "b x");
    update(&mut s, now(), Msg::Offered { of: For::Alert(AlertId(1)), result: Ok(offers()) });
    assert!(matches!(s.overlays.as_slice(), [Overlay::Form(_)]), "the form that was opened meanwhile");
    press(&mut s, "esc");
    update(&mut s, now(), Msg::Offered { of: For::Alert(AlertId(7)), result: Ok(offers()) });
    assert!(s.overlays.is_empty());
}

fn event(out: &[Effect]) -> Option<Event> {
    out.iter().find_map(|e| match e {
        Effect::StepRun { event, run, .. } if run == RUN => Some((**event).clone()),
        _ => None,
    })
}

/// The open run with the cursor on the step that carries a search.
fn on_search(size: (u16, u16), change: impl Fn(&mut Visit)) -> State {
    let mut s = loaded(size, look("dark", false));
    let mut r = run();
    let v = r.visits.iter_mut().find(|v| v.key == "readers").unwrap();
    let n = v.n;
    change(v);
    opened(&mut s, r);
    s.playbook.open.as_mut().unwrap().cursor = Some(At::Visit(n));
    s
}

#[test]
fn a_step_is_searched_from_and_shows_what_was_found() {
    let mut s = on_search((80, 24), |_| ());
    assert!(text(&s).contains("/ searches"), "{}", text(&s));
    assert!(text(&s).contains("/ search"), "in the footer: {}", text(&s));
    let out = press(&mut s, "/");
    let visit = run().visits.iter().find(|v| v.key == "readers").unwrap().n;
    assert_eq!(out, [Effect::QueryStep { by: who("alice"), run: RUN.into(), visit }]);
    assert!(text(&s).contains("searching"), "{}", text(&s));
    // Where nothing may be searched the key says why, and is not advertised.
    s.no_search = Some(say!("no index may be searched (playbooks.query_indices)"));
    s.notice = None;
    assert!(!text(&s).contains("/ search"), "{}", text(&s));
    assert_eq!(press(&mut s, "/"), []);
    assert!(text(&s).contains("playbooks.query_indices"), "{}", text(&s));
    // A step without one.
    let mut s = loaded((80, 24), look("dark", false));
    opened(&mut s, run());
    assert_eq!(press(&mut s, "/"), []);
    assert!(text(&s).contains("this step searches nothing"), "{}", text(&s));

    let found = |v: &mut Visit| {
        let found = Found {
            index: "logs-*".into(),
            hits: Some(10_000),
            at_least: true,
            asked: 100,
            kept: 100,
            took_ms: Some(12),
            partial: Some("1 of 5 shards failed: \u{1b}[31mdisk".into()),
            first: vec![Untrusted::new("2026-11-21T09:00:00Z user=\u{202e}amara"), "| NEXT: d when done".into()],
        };
        v.evidence.push(Evidence {
            sha256: "cd".repeat(32),
            bytes: 2_048,
            name: "query-readers.json".into(),
            by: who("alice"),
            at: ago(30),
            found: Some(Box::new(found)),
        });
    };
    let s = on_search((160, 45), found);
    let shown = text(&s);
    assert!(!shown.contains("/ searches"), "it was: {shown}");
    for wanted in [
        "query-readers.json",
        "at least 10000 hits in logs-*, 100 kept (TRUNCATED), in 12 ms;",
        "PARTIAL: 1 of 5 shards failed: ^[[31mdisk",
        "e attaches a file",
        "| 2026-11-21T09:00:00Z user=",
        "| | NEXT: d when done",
        "| the first 2 of 100 that are kept",
    ] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    assert!(!shown.contains(['\u{1b}', '\u{202e}']));
}

#[test]
fn keys_on_a_step_send_what_happened() {
    let make = || {
        let mut s = loaded((80, 24), look("dark", false));
        opened(&mut s, run());
        press(&mut s, "j");
        s
    };
    // The cursor opens on what is to be done, bob's; one further nobody has it.
    let visit = 6;
    for (keys, typed, wanted) in [
        ("d", "", Some(Event::Done { visit, outputs: BTreeMap::new() })),
        ("f", "mail server is away", Some(Event::Fail { visit, reason: "mail server is away".into() })),
        ("s", "done by IT", Some(Event::Skip { visit, reason: "done by IT".into() })),
        ("n", "asked Kim", Some(Event::Note { visit, text: "asked Kim".into() })),
        ("c", "", Some(Event::Take { visit, over: false })),
        ("k c enter", "", Some(Event::Take { visit: 5, over: true })),
        ("A down enter", "", Some(Event::Assign { visit, to: who("bob") })),
        // Without a reason nothing goes out; what does not fit the step is refused here.
        ("f enter", "", None),
        ("r", "", None),
        ("o", "", None),
    ] {
        let mut s = make();
        let mut out = press(&mut s, keys);
        if !typed.is_empty() {
            type_text(&mut s, typed);
            out.extend(press(&mut s, "enter"));
        }
        let sent = event(&out);
        let gives =
            s.overlays.iter().any(|o| matches!(o, Overlay::Form(f) if f.fields.iter().any(|x| x.name.is_some())));
        assert!(sent == wanted || (keys == "d" && gives), "{keys}: {sent:?}\n{}", text(&s));
    }
}

#[test]
fn what_a_step_gives_is_asked_for_by_its_type() {
    let mut s = loaded((80, 24), look("dark", false));
    let mut r = run();
    r.visits.truncate(2);
    (r.visits[1].state, r.visits[1].ended_at) = (VisitState::Active, None);
    opened(&mut s, r);
    assert_eq!(s.playbook.open.as_ref().unwrap().cursor, Some(At::Visit(2)));
    press(&mut s, "d");
    assert_eq!(event(&press(&mut s, "ctrl-s")), None, "not without a value");
    assert!(text(&s).contains("is_phishing is needed"), "{}", text(&s));
    let with = |v: Option<&str>| BTreeMap::from([("is_phishing".to_owned(), v.map(Into::into))]);
    let mut again = s.clone();
    assert_eq!(event(&press(&mut s, "n ctrl-s")), Some(Event::Done { visit: 2, outputs: with(Some("false")) }));
    let unknown = event(&press(&mut again, "? ctrl-s"));
    assert_eq!(unknown, Some(Event::Done { visit: 2, outputs: with(None) }));
    // Refused: the form stays. Taken: it closes, and the run is read again.
    update(&mut s, now(), Msg::Stepped { run: RUN.into(), result: Err(say!("not signed off yet")) });
    assert!(text(&s).contains("not signed off yet"));
    press(&mut s, "ctrl-s");
    let out = update(&mut s, now(), Msg::Stepped { run: RUN.into(), result: Ok(say!("done")) });
    assert!(s.overlays.is_empty() && out.contains(&Effect::RunOf(RUN.into())), "{out:?}");
}

#[test]
fn the_cursor_goes_on_when_a_step_is_over_and_stays_else() {
    let mut s = loaded((80, 24), look("dark", false));
    opened(&mut s, run());
    let cursor = |s: &State| s.playbook.open.as_ref().unwrap().cursor.clone();
    let take = |s: &mut State, r: Run| {
        update(s, now(), Msg::RunOf { id: RUN.into(), result: Ok(Box::new((r, book(), Vec::new()))) });
    };
    assert_eq!(cursor(&s), Some(At::Visit(5)));
    press(&mut s, "g");
    take(&mut s, run());
    assert_eq!(cursor(&s), Some(At::Visit(1)), "what one reads is not taken away");
    press(&mut s, "j j j j");
    let mut r = run();
    r.visits[4].state = VisitState::Done;
    take(&mut s, r.clone());
    assert_eq!(cursor(&s), Some(At::Visit(6)));
    press(&mut s, "G");
    assert!(matches!(cursor(&s), Some(At::Ahead(_))));
    assert!(text(&s).contains("nobody came to this step yet"), "{}", text(&s));
    assert_eq!(event(&press(&mut s, "d")), None);
    // A run that is over takes notes, and nothing else.
    r.state = RunState::Done;
    take(&mut s, r);
    press(&mut s, "g d");
    assert!(text(&s).contains("already"), "{}", text(&s));
    press(&mut s, "q");
    assert!(!s.full && s.tab == Tab::Playbooks);
}

#[test]
fn nothing_hostile_and_ascii_is_ascii() {
    for size in [(60, 15), (80, 24), (160, 45)] {
        for keys in ["", "enter", "enter g", "enter G", "enter g > >", "enter A", "enter n"] {
            let mut s = bare(size, look("mono", true));
            press(&mut s, "2 2");
            update(&mut s, now(), Msg::Runs(Ok(vec![run(), over()])));
            press(&mut s, keys.split(' ').next().filter(|k| !k.is_empty()).unwrap_or("k"));
            update(&mut s, now(), Msg::RunOf { id: RUN.into(), result: Ok(Box::new((run(), book(), Vec::new()))) });
            for key in keys.split(' ').skip(1) {
                press(&mut s, key);
            }
            s.notice = None;
            // The mark for a line break within foreign text is the one letter of its own.
            let t = text(&s).replace('\u{23ce}', "");
            assert!(t.is_ascii(), "{size:?} {keys}: {:?}", t.chars().find(|c| !c.is_ascii()));
            assert!(t.chars().all(|c| c == '\n' || !c.is_control()), "{size:?} {keys}");
        }
    }
}

#[test]
fn a_reader_works_no_step() {
    let mut s = loaded((80, 24), look("dark", false));
    s.read_only = true;
    opened(&mut s, run());
    for key in ["d", "f", "s", "n", "c", "A", "X", "e"] {
        let out = press(&mut s, key);
        assert!(event(&out).is_none() && s.overlays.is_empty(), "{key}");
        assert!(text(&s).contains("read-only"), "{key}");
    }
}

/// What the desk would offer for a step.
fn step_offer(named: bool, visit: u32) -> StepOffer {
    let targets =
        Filled { value: "fin-ws-014".into(), from: "host of alert 2".into(), also: vec!["fin-ws-022".into()] };
    let action = StepAction { action: "isolate-host".into(), targets: Some(targets), params: BTreeMap::new() };
    StepOffer {
        run: RUN.into(),
        visit,
        named,
        actions: vec![action],
        alerts: vec![AlertId(2)],
        case: Some(CaseId(118)),
        reason: "playbook phishing (run 00000A), step purge: Take it out".into(),
    }
}

#[test]
fn a_step_proposes_its_action_and_shows_what_became_of_it() {
    let mut s = loaded((80, 24), look("dark", false));
    opened(&mut s, run());
    let by = who("alice");
    let out = press(&mut s, "p");
    assert_eq!(out, [Effect::StepOffer { by: by.clone(), run: RUN.into(), visit: 5 }]);
    // Not the step in hand any more: nothing opens.
    update(&mut s, now(), Msg::StepOffered(Ok(Box::new(step_offer(true, 6)))));
    assert!(s.overlays.is_empty());
    update(&mut s, now(), Msg::StepOffered(Ok(Box::new(step_offer(true, 5)))));
    let shown = text(&s);
    for wanted in ["Propose: Isolate a host", "fin-ws-014", "from host of alert 2", "fin-ws-022", "playbook phishing"] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    // Kept first: the step is told, and the draft says where it is from.
    let mut later = s.clone();
    let out = press(&mut later, "ctrl-o");
    let Some(Effect::KeepDraft { draft, then, step: Some(step), .. }) = out.first() else { panic!("{out:?}") };
    assert_eq!((step, then.len(), draft.suggested_by), (&(RUN.to_owned(), 5), 0, Suggested::Playbook));
    assert_eq!((draft.case, draft.alerts.as_slice()), (Some(CaseId(118)), &[AlertId(2)][..]));
    let draft = Box::new(request("01REQUEST", Tier::T2, RequestState::Draft));
    let out = update(&mut later, now(), Msg::Kept { run: Some(RUN.into()), result: Ok(draft) });
    assert!(later.overlays.is_empty() && out.contains(&Effect::RunOf(RUN.into())), "{out:?}");
    let out = press(&mut s, "ctrl-s");
    let Some(Effect::ProposeStep { run: of, visit: 5, draft, .. }) = out.first() else { panic!("{out:?}") };
    assert_eq!(
        (of.as_str(), draft.targets.as_slice(), draft.case),
        (RUN, &["fin-ws-014".to_owned()][..], Some(CaseId(118)))
    );
    assert_eq!((draft.alerts.as_slice(), draft.suggested_by), (&[AlertId(2)][..], Suggested::Playbook));
    update(&mut s, now(), Msg::StepProposed { run: RUN.into(), result: Err(say!("dc-01 is protected")) });
    assert!(text(&s).contains("dc-01 is protected"), "what was written stays");
    press(&mut s, "ctrl-s");
    let asked = request("01REQUEST", Tier::T2, RequestState::Pending);
    update(&mut s, now(), Msg::StepProposed { run: RUN.into(), result: Ok(Box::new(asked.clone())) });
    assert!(s.overlays.is_empty());

    // The step says how far its request is, and one key opens it.
    let mut r = run();
    r.visits[4].requests.push(asked.body.id.clone());
    update(&mut s, now(), Msg::RunOf { id: RUN.into(), result: Ok(Box::new((r, book(), Vec::new()))) });
    update(&mut s, now(), Msg::Requests(Ok(vec![asked])));
    assert!(text(&s).contains(": PENDING"), "{}", text(&s));
    press(&mut s, "v");
    assert!(matches!(s.overlays.last(), Some(Overlay::Decide(_))));
    press(&mut s, "esc");
    let done = request("01REQUEST", Tier::T2, RequestState::Done);
    update(&mut s, now(), Msg::Requests(Ok(vec![done])));
    assert!(text(&s).contains(": DONE"), "{}", text(&s));
}

#[test]
fn where_several_actions_may_do_one_is_picked() {
    let mut s = loaded((80, 24), look("dark", false));
    opened(&mut s, run());
    press(&mut s, "p");
    update(&mut s, now(), Msg::StepOffered(Ok(Box::new(step_offer(false, 5)))));
    assert!(text(&s).contains("Propose from this step") && text(&s).contains("on fin-ws-014"), "{}", text(&s));
    press(&mut s, "enter");
    assert!(text(&s).contains("Propose: Isolate a host"), "{}", text(&s));
}

#[test]
fn what_is_known_is_filled_in_with_where_it_stands() {
    let mut s = loaded((80, 24), look("dark", false));
    press(&mut s, "b");
    let mut all = offers();
    all[0].asks[0].filled = Some(Filled { value: "<1@x>".into(), from: "host of alert 2".into(), also: vec![] });
    update(&mut s, now(), Msg::Offered { of: For::Alert(AlertId(1)), result: Ok(all) });
    press(&mut s, "enter");
    assert!(text(&s).contains("<1@x>") && text(&s).contains("from host of alert 2"), "{}", text(&s));
    let out = press(&mut s, "enter");
    let sent = |e: &Effect| matches!(e, Effect::StartPlaybook { values, .. } if values[0].1 == "<1@x>".into());
    assert!(out.iter().any(sent), "{out:?}");
}

fn case_view(closed: bool) -> CaseView {
    let case = Case {
        id: CaseId(118),
        title: HOSTILE.into(),
        opened_by: who("bob"),
        opened_at: ago(4000),
        closed_at: closed.then(|| ago(10)),
        alerts: 2,
    };
    let piece = run().visits[0].evidence[0].clone();
    let closing = Closing {
        by: who("bob"),
        at: ago(10),
        disposition: Disposition::TruePositive,
        summary: format!("It was real.\n{HOSTILE}").into(),
    };
    let mut over = over();
    over.case = Some(CaseId(118));
    CaseView {
        case,
        closing: closed.then_some(closing),
        alerts: vec![],
        runs: vec![over],
        evidence: vec![CaseEvidence {
            run: RUN.into(),
            playbook: "phishing".into(),
            step: "message".into(),
            visit: 1,
            evidence: piece,
            gone: false,
        }],
        requests: vec![],
        suggested: vec![],
        summary: "Phishing message: done in 20 min, 8 steps done, 1 skipped, by alice and by bob who took over at ten."
            .into(),
    }
}

#[test]
fn a_case_is_read_closed_and_opened_again() {
    each_of(&LOOKS[..2], "case_open", |s| {
        press(s, "2 enter");
        update(s, now(), Msg::CaseOf { id: CaseId(118), close: false, result: Ok(Box::new(case_view(false))) });
    });
    let mut s = loaded((80, 24), look("dark", false));
    let out = press(&mut s, "2 enter");
    assert!(out.contains(&Effect::CaseOf { id: CaseId(118), close: false }), "{out:?}");
    update(&mut s, now(), Msg::CaseOf { id: CaseId(118), close: false, result: Ok(Box::new(case_view(false))) });
    let out = press(&mut s, "x");
    assert_eq!(out, [Effect::CaseOf { id: CaseId(118), close: true }], "as it is now");
    update(&mut s, now(), Msg::CaseOf { id: CaseId(118), close: true, result: Ok(Box::new(case_view(false))) });
    assert!(text(&s).contains("took over at ten"), "nothing of the summary stands outside: {}", text(&s));
    let out = press(&mut s, "t ctrl-s");
    let closes = |e: &Effect| matches!(e, Effect::CloseCase { disposition: Disposition::TruePositive, .. });
    assert!(out.iter().any(closes), "{out:?}");
    update(&mut s, now(), Msg::CaseDone { what: "closed", result: Ok(Box::new(case_view(true))) });
    s.notice = None;
    assert!(text(&s).contains("CLOSED") && text(&s).contains("It was real."), "{}", text(&s));
    assert_eq!(press(&mut s, "x"), []);
    let out = press(&mut s, "X");
    assert_eq!(out, []);
    type_text(&mut s, "a second host");
    let out = press(&mut s, "enter");
    assert!(matches!(out.as_slice(), [Effect::ReopenCase { .. }]), "{out:?}");
    press(&mut s, "esc");
    // One that a playbook is at work in is not closed.
    let mut at_work = case_view(false);
    at_work.runs[0].state = RunState::Running;
    update(&mut s, now(), Msg::CaseOf { id: CaseId(118), close: true, result: Ok(Box::new(at_work)) });
    assert!(s.overlays.is_empty() && text(&s).contains("is at work in it"), "{}", text(&s));
}
