//! Tables of messages in, state and effects out; and the fixtures the view tests share.

mod acts;
mod decide;
mod kept;
mod queue;
mod triage;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::super::action::Do;
use super::super::columns;
use super::super::keymap::{Code, Key, Keymap, parse_chord};
use super::super::state::overlay::Deciding;
use super::super::state::{Backend, Facts, Live, Look, Overlay, Start, State, Tab, TriageSetup, ViewRow};
use super::super::theme::{Depth, Theme};
use super::super::words::{Said, say};
use super::{Effect, Msg, start, update};
use crate::desk::{Detail, Past};
use crate::model::act::{Act, ActReport, Refusal, Refused, TimelineEvent};
use crate::model::action::{
    ActionDef, Approval, Command, Executor, Means, ParamType, Preview, Receipt, ReceiptState, Request, RequestBody,
    RequestState, Suggested, TargetRule, Tier,
};
use crate::model::alert::{Alert, AlertFields, AlertRow, Disposition, Observable, ObservableKind, Status};
use crate::model::case::{Case, SavedView};
use crate::model::fields::Field;
use crate::model::ids::{AlertId, CaseId, PersonId, RequestId, UndoId};
use crate::model::opinion::{Agreement, Answered, ContextLine, Review, Taint, TriageQueue, TriageStats};
use crate::model::person::{Person, Role, Roster};
use crate::model::priority::Priority;
use crate::model::query::{Count, Page, Query, QueryError, SortKey};
use crate::model::risk;
use crate::model::severity::Severity;
use crate::model::verdict::{Claim, Usage, Verdict, VerdictKind};
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
    Verdict {
        confidence: Some(0.86),
        claims: claims(),
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

/// One that the record holds, one that it does not.
pub fn claims() -> Vec<Claim> {
    let path = "data.win.eventdata.commandLine";
    let span = Some((11, 20));
    let first = Claim { founded: true, span, ..Claim::new("the command hides its script", path, "-enc SQBF") };
    vec![first, Claim::new(HOSTILE, path, "mimikatz")]
}

/// The record that the fields of [`detail`] were read from.
pub fn record() -> Vec<u8> {
    let mut wide = serde_json::json!({
        "rule": {"description": HOSTILE, "level": 12},
        "other": "-enc SQBF",
        "data": {"win": {"eventdata": {"commandLine": "powershell -enc SQBF"}}},
    });
    for i in 0..60 {
        wide[format!("filler{i}")] = "x".repeat(40).into();
    }
    let last = wide.as_object_mut().and_then(|o| o.shift_remove("data")).unwrap();
    wide["data"] = last;
    serde_json::to_vec(&wide).unwrap()
}

/// An answer to a question about it.
pub fn answer() -> Answered {
    Answered {
        question: "who else ran this?".into(),
        text: Untrusted::new(format!("Nobody else in this alert. {HOSTILE}\nAsk the asset owner.")),
        claims: claims(),
        backend: "openai".into(),
        server: Some("vllm-a".into()),
        model: "some-model".into(),
        remark: Some("1 of 2 claims is unfounded".into()),
        at: ago(10),
        took_ms: 2300,
        usage: Usage::default(),
        request_id: "a1".into(),
        by: PersonId::new("alice"),
    }
}

fn around(id: i64) -> (Vec<Agreement>, Vec<ContextLine>, Vec<Taint>) {
    if id != 1 {
        return Default::default();
    }
    let of = |model: &str, agreed| Agreement {
        rule: "9701".into(),
        backend: model.into(),
        model: model.into(),
        agreed,
        overridden: 3,
    };
    let line = |label: &str, text: &str, told| ContextLine { label: label.into(), text: text.into(), told };
    (
        vec![of("other", 1), of("rules", 14)],
        vec![
            line("past", "closed FP 47 of 48 of this rule on this host", true),
            line("asset", "finance workstation, owner treasury, weighs 130 %", true),
            line("neighbour", HOSTILE, false),
        ],
        vec![Taint {
            field: "rule.description".into(),
            what: "text that tells the reader to ignore its instructions".into(),
            excerpt: "ignore all previous".into(),
            encoded: true,
        }],
    )
}

pub fn detail(id: i64) -> Detail {
    let (agreement, context, taint) = around(id);
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
        agreement,
        context,
        taint,
        asked: vec![],
        suggested: None,
        at_work: vec![],
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
            means: Means::KeyPress,
            signed: None,
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
    let body = RequestBody {
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
        replaces: None,
    };
    let preview = Preview {
        target: "fin-ws-014".into(),
        would_change: Some(1),
        failed: false,
        diff: "firewall profile: open -> quarantine".into(),
    };
    let digest = format!("9c1e{}44", "0".repeat(58));
    Request { approvals, receipts, preview: vec![preview], rev: 1, ..Request::new(body, digest, state) }
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
        no_search: None,
        velero: BTreeMap::new(),
        snapshots: BTreeMap::new(),
        environment: "PROD-EU".into(),
        environment_class: "danger".into(),
        desk_name: "soc-desk-1".into(),
        exercise: None,
        read_only: false,
        filter: "not status:closed".into(),
        sort: SortKey::Risk,
        triage: TriageSetup { backend: "openai".into(), auto: "pri<=P1".into(), auto_per_hour: 1000, watts: 0 },
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
            kv_cache: Some(0.41),
            prefix_hits: Some(0.83),
            ttft_p95_ms: Some(712),
            detail: say!("answers in 1.2 s"),
            ..Backend::default()
        }),
        dead_letters: 3,
        ..Facts::default()
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
