//! Tables of messages in, state and effects out; and the fixtures the view tests share.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::super::action::Do;
use super::super::columns;
use super::super::keymap::{Code, Key, Keymap, parse_chord};
use super::super::state::overlay::Deciding;
use super::super::state::{Backend, Facts, Live, Look, Overlay, Start, State, Tab, ViewRow};
use super::super::theme::{Depth, Theme};
use super::super::words::{Said, say};
use super::{Effect, Msg, start, update};
use crate::desk::{Detail, Past};
use crate::model::act::{Act, ActReport, Refusal, Refused, TimelineEvent};
use crate::model::action::{
    ActionDef, Approval, Command, Executor, ParamType, Preview, Receipt, ReceiptState, Request, RequestBody,
    RequestState, Suggested, TargetRule, Tier,
};
use crate::model::alert::{Alert, AlertFields, AlertRow, Disposition, Observable, ObservableKind, Status};
use crate::model::case::{Case, SavedView};
use crate::model::fields::Field;
use crate::model::ids::{AlertId, CaseId, PersonId, RequestId, UndoId};
use crate::model::person::{Person, Role, Roster};
use crate::model::priority::Priority;
use crate::model::query::{Count, Page, Query, QueryError, SortKey};
use crate::model::risk;
use crate::model::severity::Severity;
use crate::model::verdict::{Claim, Verdict, VerdictKind};
use crate::text::Untrusted;

pub const HOSTILE: &str = "GET /\u{202e}gnp.exe \u{1b}]52;c;ZXZpbA==\u{7} \u{200b}\u{e0041}\r\n<script>";

pub fn now() -> Timestamp {
    "2026-01-15T09:00:00Z".parse().unwrap()
}

fn ago(seconds: i64) -> Timestamp {
    now().checked_sub(SignedDuration::from_secs(seconds)).unwrap()
}

pub fn person(id: &str, name: &str, role: Role) -> Person {
    Person {
        id: PersonId::new(id).unwrap(),
        name: name.into(),
        os_users: vec![],
        uids: vec![],
        keys: vec![],
        roles: vec![role],
    }
}

pub fn row(id: i64, title: &str, severity: Severity, waited: i64) -> AlertRow {
    let priority = Priority::from_severity(severity);
    AlertRow {
        id: AlertId(id),
        title: title.into(),
        rule_id: Some("9701".into()),
        rule_name: None,
        severity,
        priority,
        detector_priority: priority,
        host: Some("fin-ws-014".into()),
        user: Some("m.adler".into()),
        src_ip: "10.20.14.14".parse().ok(),
        dst_ip: None,
        format: "wazuh".into(),
        techniques: vec!["T1003.001".into()],
        count: 1,
        status: Status::New,
        owner: None,
        snoozed_until: None,
        disposition: None,
        case: None,
        verdict: None,
        confidence: Some(80),
        asset_weight: 130,
        t_event: Some(ago(waited)),
        t_ingest: ago(waited),
        t_claim: None,
        rev: 1,
    }
}

/// A queue with one of everything.
pub fn rows() -> Vec<AlertRow> {
    let mut all = vec![
        row(1, "LSASS memory read by an unusual process", Severity::Critical, 240),
        row(2, "Encoded PowerShell, first contact", Severity::High, 3200),
        row(3, HOSTILE, Severity::High, 4000),
        row(4, "\u{6f22}\u{5b57} wide title e\u{301} combined", Severity::Medium, 600),
        row(5, "SSH brute force", Severity::Medium, 7000),
        row(6, "Dovecot authentication success", Severity::Low, 7200),
        row(7, "Unknown severity", Severity::Unknown, 60),
        row(8, "Closed one", Severity::Informational, 90_000),
    ];
    all[1].status = Status::Claimed;
    all[1].owner = PersonId::new("bob");
    all[1].t_claim = Some(ago(100));
    all[3].priority = Priority::P1;
    all[4].status = Status::Snoozed;
    all[4].snoozed_until = now().checked_add(SignedDuration::from_secs(7200)).ok();
    all[4].count = 88;
    all[4].user = None;
    all[5].host = Some(HOSTILE.into());
    all[7].status = Status::Closed;
    all[7].disposition = Some(Disposition::FalsePositive);
    let v = verdict();
    all[0].verdict = Some(v.summary());
    all[2].verdict = Some(crate::model::verdict::VerdictSummary { speaks_to_model: true, ..v.summary() });
    all
}

pub fn verdict() -> Verdict {
    let claim = |text: &str, quote: &str, founded| Claim { founded, ..Claim::new(text, "process.command_line", quote) };
    Verdict {
        confidence: Some(0.86),
        claims: vec![claim("the command hides its script", "-enc SQBF", true), claim(HOSTILE, "mimikatz", false)],
        techniques: vec!["T1003.001".into()],
        advised_priority: Some(Priority::P0),
        questions: vec!["did the user open a mail?".into()],
        suggested_actions: vec!["isolate-host".into()],
        speaks_to_model: true,
        fallback: true,
        remark: Some("the model did not answer".into()),
        took_ms: 12,
        ..Verdict::new(VerdictKind::TruePositive, "rules", ago(30), "r1")
    }
}

pub fn detail(id: i64) -> Detail {
    let r = rows().into_iter().find(|r| r.id.0 == id).unwrap_or_else(|| row(id, "an alert", Severity::High, 60));
    let fields = AlertFields {
        title: r.title.clone(),
        rule_id: r.rule_id.clone(),
        severity: r.severity,
        source_severity: Some("level 12 of 15".into()),
        techniques: r.techniques.clone(),
        host: r.host.clone(),
        user: r.user.clone(),
        process: Some("C:\\Windows\\powershell.exe".into()),
        command_line: Some("powershell.exe -nop -w hidden -enc SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoA".into()),
        src_ip: r.src_ip,
        dst_ip: "203.0.113.9".parse().ok(),
        dst_port: Some(443),
        observables: vec![
            Observable { kind: ObservableKind::Url, value: "http://cdn.evil.example/a".into() },
            Observable { kind: ObservableKind::Sha256, value: "ab".repeat(32).into() },
        ],
        t_event: r.t_event,
        t_alert: r.t_event,
        ..AlertFields::default()
    };
    let alert = Alert {
        id: r.id,
        fields,
        format: r.format.clone(),
        source: "file:/var/log/alerts.json".into(),
        raw_sha256: "cd".repeat(32),
        raw_len: 1234,
        identity: "00".repeat(16),
        group: "11".repeat(16),
        count: r.count,
        last_seen: r.t_ingest,
        status: r.status,
        priority: r.priority,
        detector_priority: r.detector_priority,
        owner: r.owner.clone(),
        snoozed_until: r.snoozed_until,
        closing: None,
        case: r.case,
        verdict: r.verdict,
        asset_weight: r.asset_weight,
        t_ingest: r.t_ingest,
        t_claim: r.t_claim,
        t_verdict: None,
        t_contain: None,
        t_recover: None,
        t_close: None,
        origin: None,
        rev: r.rev,
    };
    Detail {
        risk: risk::explain(r.priority, r.asset_weight, r.confidence, r.t_ingest, now()),
        fields: vec![
            Field { path: "rule.description".into(), value: HOSTILE.into() },
            Field { path: "data.win.eventdata.commandLine".into(), value: "powershell -enc SQBF".into() },
        ],
        related: vec![row(2, "Encoded PowerShell, first contact", Severity::High, 3200)],
        past: vec![Past {
            alike: "rule+host",
            counts: vec![(Disposition::FalsePositive, 47), (Disposition::TruePositive, 1)],
            total: 60,
        }],
        timeline: vec![
            TimelineEvent { at: ago(240), alert: r.id, by: None, kind: "ingest".into(), text: "".into() },
            TimelineEvent {
                at: ago(20),
                alert: r.id,
                by: PersonId::new("bob"),
                kind: "note".into(),
                text: HOSTILE.into(),
            },
        ],
        verdicts: if id == 1 { vec![verdict()] } else { vec![] },
        reviews: vec![],
        agreement: vec![],
        context: vec![],
        taint: vec![],
        asked: vec![],
        alert,
    }
}

pub fn request(id: &str, tier: Tier, state: RequestState) -> Request {
    let approvals = if state == RequestState::Pending {
        vec![]
    } else {
        vec![Approval {
            by: PersonId::new("alice").unwrap(),
            at: ago(60),
            digest: "d".into(),
            means: "key press".into(),
        }]
    };
    let receipts = if state == RequestState::Done {
        vec![Receipt {
            target: "fin-ws-014".into(),
            state: ReceiptState::Done,
            changed: Some(1),
            detail: HOSTILE.into(),
            at: ago(5),
        }]
    } else {
        vec![]
    };
    Request {
        body: RequestBody {
            id: RequestId::new(id).unwrap(),
            action: "isolate-host".into(),
            tier,
            targets: vec!["fin-ws-014".into(), "fin-ws-022".into()],
            params: BTreeMap::from([("zone".to_owned(), "quarantine".to_owned())]),
            commands: vec![Command {
                targets: vec!["fin-ws-014".into()],
                argv: vec!["ansible-playbook".into(), "isolate.yml".into(), "--limit".into(), "fin-ws-014".into()],
                files: BTreeMap::new(),
            }],
            alerts: vec![AlertId(1)],
            case: None,
            reason: Untrusted::new(format!("spread to 3 subnets\nAPPROVED BY POLICY {HOSTILE}")),
            suggested_by: Suggested::Person,
            requester: PersonId::new("bob").unwrap(),
            created: ago(300),
            approve_by: now().checked_add(SignedDuration::from_secs(1500)).unwrap(),
            execute_by: now().checked_add(SignedDuration::from_secs(3600)).unwrap(),
            approvals_needed: 1,
            policy_digest: "31aa".repeat(16),
            action_digest: "77bb".repeat(16),
            audit_head: format!("18822:{}", "b7".repeat(32)),
            undo: Some("release-host".into()),
            contains: true,
        },
        digest: format!("9c1e{}44", "0".repeat(58)),
        state,
        approvals,
        denied: None,
        preview: vec![Preview {
            target: "fin-ws-014".into(),
            would_change: Some(1),
            failed: false,
            diff: "firewall profile: open -> quarantine".into(),
        }],
        findings: vec![],
        receipts,
        executor: None,
        started: None,
        finished: None,
        note: None,
        rev: 1,
    }
}

pub fn look(theme: &str, ascii: bool) -> Look {
    let names = crate::config::settings::ConsoleSettings::default().columns;
    Look {
        theme: Theme::load(theme, &[]).unwrap(),
        ascii,
        columns: columns::by_names(&names).0,
        keymap: Arc::new(Keymap::load("default", &[]).unwrap()),
        themes: vec!["dark".into(), "light".into()],
        own_themes: Arc::default(),
        depth: Depth::True,
    }
}

fn catalogue() -> Vec<ActionDef> {
    vec![ActionDef {
        name: "isolate-host".into(),
        title: "Isolate a host".into(),
        help: "Drops its traffic.".into(),
        tier: Tier::T2,
        targets: TargetRule { kind: ParamType::Host, allow: vec![], max: 20 },
        params: vec![],
        undo: Some("release-host".into()),
        contains: true,
        executor: Executor::Demo { millis_per_target: 0, changes: String::new() },
    }]
}

pub fn bare(size: (u16, u16), look: Look) -> State {
    let alice = person("alice", "Alice Moreau", Role::Analyst);
    let bob = person("bob", "Bob Kessler", Role::Lead);
    State::new(Start {
        now: now(),
        size,
        look,
        me: Some(alice.clone()),
        roster: Arc::new(Roster { people: vec![alice.clone(), bob.clone()] }),
        switchable: vec![alice, bob],
        catalogue: Arc::new(catalogue()),
        environment: "PROD-EU".into(),
        environment_class: "danger".into(),
        desk_name: "soc-desk-1".into(),
        exercise: None,
        read_only: false,
        filter: "not status:closed".into(),
        sort: SortKey::Risk,
    })
}

/// A console with everything loaded, cursor on the first alert.
pub fn loaded(size: (u16, u16), look: Look) -> State {
    let mut s = bare(size, look);
    let _ = start(&mut s);
    let mut feed = |msg| update(&mut s, now(), msg);
    feed(Msg::Link(Ok(())));
    feed(Msg::Facts(Facts {
        backend: Some(Backend {
            name: say!("vllm-a"),
            up: true,
            running: Some(2),
            waiting: Some(0),
            detail: say!("answers in 1.2 s"),
        }),
        links: vec![],
        dead_letters: 3,
        kill: None,
    }));
    feed(Msg::Parsed { text: "not status:closed".into(), apply: true, result: Ok(Query::All) });
    let generation = 1;
    feed(Msg::Rows { generation, page: Page::First, limit: 120, result: Ok((rows(), 0)) });
    feed(Msg::Counted { generation, cursor: None, result: Ok((Count { n: 148, exact: true }, None)) });
    feed(Msg::Detail { id: AlertId(1), result: Ok(Some(Box::new(detail(1)))) });
    feed(Msg::Requests(Ok(vec![
        request("R1", Tier::T2, RequestState::Pending),
        request("R2", Tier::T3, RequestState::Approved),
        request("R3", Tier::T1, RequestState::Done),
    ])));
    feed(Msg::Cases(Ok(vec![Case {
        id: CaseId(118),
        title: HOSTILE.into(),
        opened_by: PersonId::new("bob").unwrap(),
        opened_at: ago(900),
        closed_at: None,
        alerts: 13,
    }])));
    let view = SavedView { name: "mine".into(), query: "owner:me".into(), sort: "risk".into(), by: None };
    feed(Msg::Views(Ok(vec![ViewRow { view, count: Ok(Count { n: 4, exact: true }) }])));
    feed(Msg::Suppressions(Ok(vec![])));
    s
}

fn ready() -> State {
    loaded((80, 24), look("dark", false))
}

/// Types keys, one second apart.
pub fn press(s: &mut State, keys: &str) -> Vec<Effect> {
    let mut out = Vec::new();
    for key in parse_chord(keys).unwrap() {
        let at = s.now.checked_add(SignedDuration::from_secs(1)).unwrap();
        out.extend(update(s, at, Msg::Key(key)));
    }
    out
}

pub fn type_text(s: &mut State, text: &str) -> Vec<Effect> {
    text.chars().flat_map(|c| update(s, s.now, Msg::Key(Key::char(c)))).collect()
}

fn notice(s: &State) -> String {
    s.notice.as_ref().map(|n| n.text.as_str().to_owned()).unwrap_or_default()
}

fn acts(effects: &[Effect]) -> Vec<(&Act, &[AlertId])> {
    effects
        .iter()
        .filter_map(|e| match e {
            Effect::Act { act, ids, .. } => Some((act, ids.as_slice())),
            _ => None,
        })
        .collect()
}

fn report(done: &[i64]) -> ActReport {
    ActReport { done: done.iter().map(|i| AlertId(*i)).collect(), undo: Some(UndoId(1)), ..ActReport::default() }
}

// --- the queue ---------------------------------------------------------------------------------

#[test]
fn a_new_console_asks_for_its_queue_before_its_lists() {
    let mut s = bare((80, 24), look("dark", false));
    let effects = start(&mut s);
    assert!(matches!(&effects[..], [Effect::Parse { text, apply: true }] if text == "not status:closed"));
    update(&mut s, now(), Msg::Parsed { text: "x".into(), apply: true, result: Ok(Query::All) });
    let rows = || Msg::Rows { generation: 1, page: Page::First, limit: 120, result: Ok((rows(), 0)) };
    assert!(update(&mut s, now(), rows()).contains(&Effect::Requests));
    assert!(!update(&mut s, now(), rows()).contains(&Effect::Requests));
}

#[test]
fn the_cursor_holds_an_id_and_order_freezes_under_it() {
    let mut s = ready();
    assert!(s.queue.follow);
    press(&mut s, "j j");
    assert_eq!(s.queue.cursor, Some(AlertId(3)));
    assert!(!s.queue.follow);
    // New alerts: nothing is loaded into the list, only counted.
    let effects = update(&mut s, now(), Msg::Changed { alerts: vec![AlertId(99)], overflow: false, others: false });
    assert!(effects.iter().any(|e| matches!(e, Effect::Count { cursor: Some(AlertId(3)), .. })), "{effects:?}");
    assert!(!effects.iter().any(|e| matches!(e, Effect::Rows { .. })));
    let count = Count { n: 16, exact: true };
    let generation = s.queue.generation;
    update(
        &mut s,
        now(),
        Msg::Counted { generation, cursor: Some(AlertId(3)), result: Ok((Count { n: 162, exact: true }, Some(count))) },
    );
    assert_eq!(s.queue.new_above, 14);
    assert_eq!(s.queue.new_below, 0);
    let more = (Count { n: 170, exact: true }, Some(count));
    update(&mut s, now(), Msg::Counted { generation, cursor: Some(AlertId(3)), result: Ok(more) });
    assert_eq!((s.queue.new_above, s.queue.new_below), (14, 8));
    assert!(!s.queue.at_end, "what came below can be scrolled to");
    assert_eq!(s.queue.rows.len(), 8);
}

#[test]
fn at_the_top_it_follows_and_a_key_waits_for_eyes() {
    let mut s = ready();
    let effects = update(&mut s, now(), Msg::Changed { alerts: vec![AlertId(99)], overflow: false, others: false });
    let generation = s.queue.generation;
    assert!(effects.iter().any(|e| matches!(e, Effect::Rows { page: Page::First, .. })));
    let mut new = rows();
    new.insert(0, row(99, "brand new", Severity::Fatal, 1));
    update(&mut s, now(), Msg::Rows { generation, page: Page::First, limit: 120, result: Ok((new, 0)) });
    assert_eq!(s.queue.cursor, Some(AlertId(99)));
    // The alert under the cursor has just changed: the first press is not taken for it.
    let soon = now().checked_add(SignedDuration::from_millis(200)).unwrap();
    let effects = update(&mut s, soon, Msg::Key(Key::char('c')));
    assert!(acts(&effects).is_empty());
    assert!(notice(&s).contains("look"));
    let effects = update(&mut s, soon, Msg::Key(Key::char('c')));
    assert_eq!(acts(&effects).len(), 1);
}

#[test]
fn changed_rows_are_refreshed_in_their_place() {
    let mut s = ready();
    press(&mut s, "j");
    let effects = update(&mut s, now(), Msg::Changed { alerts: vec![AlertId(5)], overflow: false, others: false });
    assert!(effects.contains(&Effect::Refresh(vec![AlertId(5)])));
    let mut changed = rows()[4].clone();
    changed.status = Status::Closed;
    update(&mut s, now(), Msg::Refreshed(Ok(vec![changed])));
    assert_eq!(s.queue.index_of(AlertId(5)), Some(4));
    assert!(s.queue.gone.contains(&AlertId(5)));
}

#[test]
fn paused_means_paused() {
    let mut s = ready();
    press(&mut s, "P");
    assert_eq!(s.live, Live::Paused);
    let effects = update(&mut s, now(), Msg::Changed { alerts: vec![AlertId(1)], overflow: true, others: false });
    assert!(effects.is_empty(), "{effects:?}");
    let effects = press(&mut s, "P");
    assert!(effects.iter().any(|e| matches!(e, Effect::Rows { .. })));
}

#[test]
fn old_answers_are_dropped() {
    let mut s = ready();
    let old = s.queue.generation;
    press(&mut s, "g");
    update(&mut s, now(), Msg::Rows { generation: old, page: Page::First, limit: 120, result: Ok((vec![], 0)) });
    assert_eq!(s.queue.rows.len(), 8);
}

#[test]
fn the_window_grows_at_its_edges_and_forgets_its_far_end() {
    let mut s = ready();
    let many: Vec<AlertRow> = (0..120).map(|i| row(1000 + i, "x", Severity::Low, 10)).collect();
    let generation = s.queue.generation;
    update(&mut s, now(), Msg::Rows { generation, page: Page::First, limit: 120, result: Ok((many, 0)) });
    let mut next = 1120;
    let mut pages = 0;
    for _ in 0..600 {
        for e in press(&mut s, "pagedown") {
            if let Effect::Rows { generation, page: page @ Page::After(after), limit, .. } = e {
                pages += 1;
                assert_eq!(after, s.queue.rows.last().unwrap().id);
                let more: Vec<AlertRow> = (next..next + 120).map(|i| row(i, "x", Severity::Low, 10)).collect();
                next += 120;
                update(&mut s, now(), Msg::Rows { generation, page, limit, result: Ok((more, 0)) });
            }
        }
    }
    assert!(pages > 10);
    assert!(s.queue.rows.len() <= super::super::state::queue::WINDOW + super::super::state::queue::PAGE);
    assert!(!s.queue.at_top && s.queue.base > 0);
    assert!(s.queue.cursor_index().is_some());
}

#[test]
fn after_closing_one_stands_on_the_next_at_the_same_line() {
    let mut s = ready();
    press(&mut s, "j j x");
    assert!(matches!(s.overlays.last(), Some(Overlay::Form(_))));
    type_text(&mut s, "f");
    type_text(&mut s, "scanner");
    let effects = press(&mut s, "enter");
    let sent = acts(&effects);
    assert_eq!(sent.len(), 1);
    assert!(matches!(sent[0].0, Act::Close { disposition: Disposition::FalsePositive, comment: None, .. }));
    assert_eq!(sent[0].1, [AlertId(3)]);
    let act = sent[0].0.clone();
    let effects = update(&mut s, now(), Msg::Acted { act, result: Ok(report(&[3])) });
    assert!(s.overlays.is_empty(), "the form is gone once the desk has answered");
    assert_eq!(s.queue.cursor, Some(AlertId(4)));
    let Some(Effect::Rows { generation, page, limit, .. }) = effects.iter().find(|e| matches!(e, Effect::Rows { .. }))
    else {
        panic!("{effects:?}")
    };
    let left: Vec<AlertRow> = rows().into_iter().filter(|r| r.id.0 != 3).collect();
    update(&mut s, now(), Msg::Rows { generation: *generation, page: *page, limit: *limit, result: Ok((left, 0)) });
    assert_eq!(s.queue.cursor, Some(AlertId(4)));
    assert_eq!(s.queue.cursor_index().unwrap() - s.queue.scroll, 2, "the same line of the screen");
    assert!(notice(&s).contains("closed as false positive") && notice(&s).contains("takes it back"));
}

#[test]
fn a_refused_form_keeps_its_text() {
    let mut s = ready();
    press(&mut s, "j x");
    type_text(&mut s, "tmy reason");
    let effects = press(&mut s, "enter");
    let act = acts(&effects)[0].0.clone();
    update(&mut s, now(), Msg::Acted { act, result: Err(say!("the store is busy")) });
    match s.overlays.last() {
        Some(Overlay::Form(f)) => {
            assert_eq!(f.text_of("reason"), "my reason");
            assert!(f.busy.is_none() && f.error.is_some());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_form_says_what_is_missing() {
    let mut s = ready();
    press(&mut s, "x ctrl-s");
    match s.overlays.last() {
        Some(Overlay::Form(f)) => assert!(f.error.as_ref().unwrap().as_str().contains("disposition")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_second_claimer_is_told_who_has_it() {
    let mut s = ready();
    press(&mut s, "c");
    let bob = PersonId::new("bob").unwrap();
    let refused = vec![Refused { id: AlertId(1), why: Refusal::HeldBy { person: bob, since: ago(60) } }];
    update(&mut s, now(), Msg::Acted { act: Act::Claim, result: Ok(ActReport { refused, ..ActReport::default() }) });
    assert!(notice(&s).contains("with bob since 08:59"), "{}", notice(&s));
}

#[test]
fn marks_are_what_acts_reach() {
    let mut s = ready();
    press(&mut s, "space space");
    assert_eq!(s.queue.marks.len(), 2);
    let effects = press(&mut s, "c");
    assert_eq!(acts(&effects)[0].1, [AlertId(1), AlertId(2)]);
    press(&mut s, "esc");
    assert!(s.queue.marks.is_empty());
    let generation = s.queue.generation;
    update(&mut s, now(), Msg::AllIds { generation, result: Ok(((1..=8).map(AlertId).collect(), true)) });
    assert_eq!(s.queue.marks.len(), 8);
    assert!(notice(&s).contains("of more"));
}

#[test]
fn undo_goes_to_where_it_happened() {
    let mut s = ready();
    let effects = press(&mut s, "u");
    assert!(effects.iter().any(|e| matches!(e, Effect::Undo { .. })));
    let effects = update(&mut s, now(), Msg::Undone(Ok(("close".into(), report(&[42])))));
    assert!(effects.iter().any(|e| matches!(e, Effect::Rows { page: Page::Around(AlertId(42)), .. })), "{effects:?}");
}

#[test]
fn the_filter_shows_faults_while_typing_and_keeps_a_history() {
    let mut s = ready();
    press(&mut s, "/ ctrl-u");
    let effects = type_text(&mut s, "sev>=hi");
    assert!(matches!(effects.last(), Some(Effect::Parse { apply: false, text }) if text == "sev>=hi"));
    let fault = QueryError { column: 6, len: 2, message: "expected high".into() };
    update(&mut s, now(), Msg::Parsed { text: "sev>=hi".into(), apply: false, result: Err(fault.clone()) });
    press(&mut s, "enter");
    update(&mut s, now(), Msg::Parsed { text: "sev>=hi".into(), apply: true, result: Err(fault) });
    assert!(matches!(s.overlays.last(), Some(Overlay::Filter(_))), "a filter that cannot be read stays open");
    type_text(&mut s, "gh");
    press(&mut s, "enter");
    update(&mut s, now(), Msg::Parsed { text: "sev>=high".into(), apply: true, result: Ok(Query::All) });
    assert!(s.overlays.is_empty());
    assert_eq!(s.queue.text, "sev>=high");
    press(&mut s, "/ up");
    match s.overlays.last() {
        Some(Overlay::Filter(f)) => assert_eq!(f.input.text(), "sev>=high"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn plain_letters_in_a_text_field_are_text() {
    let mut s = ready();
    press(&mut s, "n");
    type_text(&mut s, "q?:/jkgG1");
    match s.overlays.last() {
        Some(Overlay::Form(f)) => assert_eq!(f.text_of("note"), "q?:/jkgG1"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_paste_goes_to_the_focused_text_only() {
    let mut s = ready();
    let effects = update(&mut s, now(), Msg::Paste("c\nx\n".into()));
    assert!(effects.is_empty() && s.overlays.is_empty());
    press(&mut s, "n");
    update(&mut s, now(), Msg::Paste(HOSTILE.into()));
    match s.overlays.last() {
        Some(Overlay::Form(f)) => assert!(!f.text_of("note").contains(['\u{1b}', '\u{202e}'])),
        other => panic!("{other:?}"),
    }
}

#[test]
fn read_only_takes_danger_away() {
    let mut s = ready();
    s.read_only = true;
    for keys in ["c", "x", "z", "p", "u", "t", "s"] {
        let effects = press(&mut s, keys);
        assert!(s.overlays.is_empty() && effects.is_empty(), "{keys}: {effects:?}");
        assert!(notice(&s).contains("read-only"), "{keys}: {}", notice(&s));
    }
    press(&mut s, ":");
    match s.overlays.last() {
        Some(Overlay::Picker(p)) => {
            assert!(!p.items.iter().any(|i| matches!(i.pick, super::super::state::overlay::Pick::Run(Do::Close))));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn someone_outside_the_roster_reads_only() {
    let mut s = ready();
    s.me = None;
    assert!(press(&mut s, "c").is_empty());
    assert!(notice(&s).contains("roster"));
    s.me = Some(person("eve", "Eve", Role::Auditor));
    assert!(press(&mut s, "c").is_empty());
    assert!(notice(&s).contains("auditor"));
}

#[test]
fn every_action_is_total() {
    // Whatever the state, no action panics; most panes, sizes and emptinesses.
    for size in [(80, 24), (20, 5)] {
        for filled in [true, false] {
            for tab in Tab::ALL {
                for act in Do::ALL {
                    let mut s =
                        if filled { loaded(size, look("dark", false)) } else { bare(size, look("dark", false)) };
                    s.tab = tab;
                    let mut out = Vec::new();
                    super::keys::run(&mut s, *act, &mut out);
                    update(&mut s, now(), Msg::Tick);
                    let _ = super::super::shot::buffer(&s);
                    for keys in ["down", "enter", "x", "ctrl-s", "esc", "esc"] {
                        press(&mut s, keys);
                    }
                    let _ = super::super::shot::buffer(&s);
                }
            }
        }
    }
}

#[test]
fn one_detail_is_loaded_at_a_time_and_the_newest_wish_wins() {
    let mut s = ready();
    let effects = press(&mut s, "j j j");
    let loads: Vec<_> = effects.iter().filter(|e| matches!(e, Effect::Detail(_))).collect();
    assert_eq!(loads, [&Effect::Detail(AlertId(2))]);
    let effects = update(&mut s, now(), Msg::Detail { id: AlertId(2), result: Ok(Some(Box::new(detail(2)))) });
    assert!(effects.contains(&Effect::Detail(AlertId(4))), "{effects:?}");
}

#[test]
fn a_store_that_does_not_answer_is_stale_and_comes_back() {
    let mut s = ready();
    update(&mut s, now(), Msg::Link(Err(say!("disk gone"))));
    let later = now().checked_add(SignedDuration::from_secs(30)).unwrap();
    update(&mut s, later, Msg::Link(Err(say!("disk gone"))));
    assert!(matches!(&s.live, Live::Stale { since, .. } if *since == now()));
    update(&mut s, later, Msg::Link(Ok(())));
    assert_eq!(s.live, Live::Live);
}

#[test]
fn snooze_and_priority_send_one_act_each() {
    let mut s = ready();
    press(&mut s, "z");
    type_text(&mut s, "4");
    let effects = press(&mut s, "enter");
    assert!(
        matches!(acts(&effects)[0].0, Act::Snooze { until, .. } if until.as_second() - s.now.as_second() <= 4 * 3600)
    );
    let mut s = ready();
    press(&mut s, "!");
    type_text(&mut s, "0");
    type_text(&mut s, "crown jewels");
    let effects = press(&mut s, "enter");
    assert!(matches!(acts(&effects)[0].0, Act::Prioritise { to: Priority::P0, .. }));
}

#[test]
fn proposing_takes_targets_from_the_alert() {
    let mut s = ready();
    press(&mut s, "p enter");
    match s.overlays.last() {
        Some(Overlay::Form(f)) => assert_eq!(f.text_of("targets"), "fin-ws-014"),
        other => panic!("{other:?}"),
    }
    type_text(&mut s, "spreads");
    let effects = press(&mut s, "enter");
    match effects.last() {
        Some(Effect::Propose { draft, .. }) => {
            assert_eq!(draft.action, "isolate-host");
            assert_eq!(draft.targets, ["fin-ws-014"]);
            assert_eq!(draft.alerts, [AlertId(1)]);
        }
        other => panic!("{other:?}"),
    }
    let made = Box::new(request("R9", Tier::T2, RequestState::Pending));
    update(&mut s, now(), Msg::Proposed(Ok(made)));
    assert!(matches!(s.overlays.as_slice(), [Overlay::Decide(_)]));
}

// --- deciding ----------------------------------------------------------------------------------

fn deciding(s: &State) -> &super::super::state::Decide {
    match s.overlays.last() {
        Some(Overlay::Decide(d)) => d,
        other => panic!("{other:?}"),
    }
}

fn at(s: &State, ms: i64) -> Timestamp {
    s.now.checked_add(SignedDuration::from_millis(ms)).unwrap()
}

/// Opens the request of this tier and waits until keys count.
fn open(tier: Tier, state: RequestState) -> State {
    let mut s = ready();
    update(&mut s, now(), Msg::Requests(Ok(vec![request("R1", tier, state)])));
    press(&mut s, "3");
    s.requests.cursor = RequestId::new("R1");
    press(&mut s, "enter");
    s
}

fn approvals(effects: &[Effect]) -> usize {
    effects.iter().filter(|e| matches!(e, Effect::Approve { .. } | Effect::Execute { .. })).count()
}

#[test]
fn nothing_counts_for_400_ms_and_until_keys_are_quiet() {
    let mut s = open(Tier::T1, RequestState::Pending);
    // Held down: a press every 50 ms for two seconds approves nothing.
    for _ in 0..40 {
        let t = at(&s, 50);
        assert_eq!(approvals(&update(&mut s, t, Msg::Key(Key::char('y')))), 0);
    }
    // Quiet, then one press.
    let t = at(&s, 350);
    assert_eq!(approvals(&update(&mut s, t, Msg::Key(Key::char('y')))), 1);
    // Sent: a second press sends nothing more.
    let t = at(&s, 1000);
    assert_eq!(approvals(&update(&mut s, t, Msg::Key(Key::char('y')))), 0);
}

#[test]
fn enter_mouse_and_paste_decide_nothing() {
    let mut s = open(Tier::T1, RequestState::Pending);
    let mut effects = press(&mut s, "enter enter enter");
    effects.extend(update(&mut s, now(), Msg::Paste("y".into())));
    effects.extend(update(&mut s, now(), Msg::Click { x: 2, y: 21 }));
    effects.extend(update(&mut s, now(), Msg::Wheel { up: false }));
    assert_eq!(approvals(&effects), 0);
    assert!(matches!(s.overlays.last(), Some(Overlay::Decide(_))));
}

#[test]
fn t2_wants_its_code_and_y_is_not_enough() {
    let mut s = open(Tier::T2, RequestState::Pending);
    assert_eq!(deciding(&s).what, Deciding::Approve);
    assert_eq!(approvals(&press(&mut s, "y y")), 0);
    let code = deciding(&s).code.clone();
    assert_eq!(code.len(), 3);
    let wrong: String = code.chars().rev().chain("a".chars()).take(3).collect();
    if wrong != code {
        assert_eq!(approvals(&type_text(&mut s, &wrong)), 0);
        assert!(deciding(&s).error.is_some());
    }
    let effects = type_text(&mut s, &code);
    assert!(
        effects.iter().any(|e| matches!(e, Effect::Approve { digest, .. } if digest.starts_with("9c1e"))),
        "{effects:?}"
    );
}

#[test]
fn codes_differ_from_opening_to_opening() {
    let mut s = open(Tier::T2, RequestState::Pending);
    let first = deciding(&s).code.clone();
    let mut differs = false;
    for _ in 0..5 {
        press(&mut s, "esc enter");
        differs |= deciding(&s).code != first;
    }
    assert!(differs);
}

#[test]
fn t3_wants_the_name_of_the_target() {
    let mut s = open(Tier::T3, RequestState::Pending);
    assert_eq!(approvals(&type_text(&mut s, "fin-ws-014")), 0, "not before typing was begun");
    let mut s = open(Tier::T3, RequestState::Pending);
    press(&mut s, "i");
    assert!(deciding(&s).typing);
    assert_eq!(approvals(&type_text(&mut s, "fin-ws-01")), 0);
    assert_eq!(approvals(&type_text(&mut s, "4")), 1);
}

#[test]
fn a_changed_request_must_be_read_again() {
    let mut s = open(Tier::T1, RequestState::Pending);
    let mut changed = request("R1", Tier::T1, RequestState::Pending);
    changed.body.targets.push("dc-01".into());
    changed.digest = format!("ffff{}", "0".repeat(60));
    changed.rev = 2;
    let t = s.now;
    update(&mut s, t, Msg::Requests(Ok(vec![changed])));
    assert!(deciding(&s).changed.is_some());
    assert_eq!(approvals(&press(&mut s, "y y y")), 0);
    press(&mut s, "o");
    assert!(deciding(&s).changed.is_none() && !deciding(&s).armed);
    assert_eq!(deciding(&s).request.body.targets.len(), 3);
    let effects = press(&mut s, "y");
    assert!(effects.iter().any(|e| matches!(e, Effect::Approve { digest, .. } if digest.starts_with("ffff"))));
}

#[test]
fn ones_own_request_cannot_be_approved() {
    let mut s = ready();
    let mut mine = request("R1", Tier::T1, RequestState::Pending);
    mine.body.requester = PersonId::new("alice").unwrap();
    update(&mut s, now(), Msg::Requests(Ok(vec![mine])));
    press(&mut s, "3 enter");
    assert_eq!(deciding(&s).what, Deciding::Look);
    assert_eq!(approvals(&press(&mut s, "y y")), 0);
    let effects = press(&mut s, "w");
    assert!(effects.iter().any(|e| matches!(e, Effect::Withdraw { .. })));
}

#[test]
fn running_asks_like_approving_and_stops_at_the_kill_switch() {
    let mut s = ready();
    update(&mut s, now(), Msg::Requests(Ok(vec![request("R1", Tier::T1, RequestState::Approved)])));
    press(&mut s, "3 x");
    assert_eq!(deciding(&s).what, Deciding::Execute);
    assert_eq!(approvals(&press(&mut s, "y")), 1);
    press(&mut s, "esc");
    let kill = Some((PersonId::new("bob").unwrap(), now()));
    let facts = Facts { kill, ..s.facts.clone() };
    update(&mut s, now(), Msg::Facts(facts));
    assert!(notice(&s).contains("KILL SWITCH"));
    press(&mut s, "x");
    assert!(s.overlays.is_empty() && notice(&s).contains("kill switch"));
}

#[test]
fn the_kill_switch_wants_its_word() {
    let mut s = ready();
    let mut out = Vec::new();
    super::keys::run(&mut s, Do::KillSwitch, &mut out);
    type_text(&mut s, "stopp");
    assert!(!press(&mut s, "enter").iter().any(|e| matches!(e, Effect::KillSwitch { .. })));
    press(&mut s, "backspace");
    assert!(press(&mut s, "enter").iter().any(|e| matches!(e, Effect::KillSwitch { on: true, .. })));
}

#[test]
fn denying_wants_a_reason() {
    let mut s = open(Tier::T2, RequestState::Pending);
    press(&mut s, "d");
    assert!(press(&mut s, "enter").is_empty());
    type_text(&mut s, "wrong host");
    assert!(press(&mut s, "enter").iter().any(|e| matches!(e, Effect::Deny { .. })));
}

#[test]
fn arriving_approvals_never_take_the_focus() {
    let mut s = ready();
    press(&mut s, "n");
    update(&mut s, now(), Msg::Requests(Ok(vec![request("R7", Tier::T1, RequestState::Pending)])));
    assert!(matches!(s.overlays.as_slice(), [Overlay::Form(_)]));
    assert_eq!(s.waiting_requests(), 1);
}

#[test]
fn chords_wait_and_escape_ends_them() {
    let mut s = ready();
    s.look.keymap = Arc::new(Keymap::load("vim", &[]).unwrap());
    press(&mut s, "g");
    assert_eq!(s.chord.len(), 1);
    press(&mut s, "esc");
    assert!(s.chord.is_empty());
    press(&mut s, "j g g");
    assert!(s.queue.follow);
    assert!(update(&mut s, now(), Msg::Key(Key::plain(Code::F(9)))).is_empty());
    assert!(notice(&s).contains("does nothing here"));
}

#[test]
fn said_is_what_a_hostile_reason_becomes() {
    let r = request("R1", Tier::T1, RequestState::Pending);
    let said = Said::from_untrusted(&r.body.reason);
    assert!(!said.as_str().chars().any(|c| c.is_control() || c == '\u{202e}'));
}
