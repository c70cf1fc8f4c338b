//! A platform with one of everything, for the tests of its panes.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::super::update::tests::{HOSTILE, now};
use crate::desk::Platform;
use crate::model::backup::{Asset, AssetStatus, Backup, BackupPhase, Copies, Evidence, EvidenceKind, Grade, Graded};
use crate::model::health::{SourceState, SourceWord, Tri};
use crate::model::ids::PersonId;
use crate::model::rollout::{
    Advice, Condition, Gate, Image, Pod, Revision, Rollout, RolloutId, RolloutKind, RolloutPhase, Step, Zone,
};
use crate::model::sla::{CheckItem, Checklist, ChecklistRun, Outage, SlaMonth, Tick};
use crate::model::slo::{
    BudgetPoint, Burn, BurnAlert, BurnRule, ChangeClass, GateAnswer, Indicator, Method, MetricQuery, MonthRow, Slo,
    SloState, SloStatus, Window,
};

pub fn ago(seconds: i64) -> Timestamp {
    now().checked_sub(SignedDuration::from_secs(seconds)).unwrap()
}

pub fn slo(name: &str, target: f64) -> Slo {
    Slo {
        id: format!("api/{name}"),
        service: "api".into(),
        name: name.into(),
        title: name.replace('-', " "),
        description: "answers that are no 5xx".into(),
        target,
        window: Window::Rolling { seconds: 2_592_000 },
        method: Method::Occurrences,
        indicator: Indicator::ErrorRatio { query: MetricQuery { source: None, query: "up".into() } },
        alerting: "workbook".into(),
        burn_rules: vec![],
        fresh_seconds: 300,
        labels: BTreeMap::new(),
        from: "slos/api.yaml:12".into(),
        notes: vec!["the ticket alert can never fire: its factor is above 1/(1 - target)".into()],
    }
}

pub fn status(d: &Slo, state: SloState, left: Option<f64>) -> SloStatus {
    let rule = |severity: &str, short_seconds, long_seconds, factor| BurnRule {
        severity: severity.into(),
        short_seconds,
        long_seconds,
        factor,
    };
    let point = |i: i64| BudgetPoint {
        at: ago(2_592_000 - i * 21_600),
        left: left.filter(|_| !(40..44).contains(&i)).map(|l| 1.0 - (1.0 - l) * (i as f64 / 119.0).powi(3)),
        events_per_second: Some(40.0 + 20.0 * (i as f64 / 2.0).sin()),
        burn: left.map(|_| if i > 100 { 18.2 } else { 0.4 }),
    };
    let known = left.is_some();
    SloStatus {
        id: d.id.clone(),
        at: now(),
        state,
        why: "spent faster than it comes back".into(),
        method: d.method,
        target: d.target,
        from: ago(2_592_000),
        until: now(),
        sli: known.then_some(0.9985),
        good: 1_000_000.0,
        total: 1_001_500.0,
        budget_seconds: 2592.0,
        spent_seconds: left.map(|l| (1.0 - l) * 2592.0),
        budget_events: left.map(|_| 1001.0),
        spent_events: left.map(|l| (1.0 - l) * 1001.0),
        spent: left.map(|l| 1.0 - l),
        left,
        burn: [300, 1800, 3600, 21_600, 86_400, 259_200]
            .map(|window_seconds| Burn {
                window_seconds,
                rate: left.map(|l| if l < 0.5 { 18.2 } else { 0.8 }),
                events: 4000.0,
                coverage: 0.99,
            })
            .to_vec(),
        alerts: vec![
            BurnAlert {
                rule: rule("page", 300, 3600, 14.4),
                state: left.map_or(Tri::Unknown, |l| if l < 0.5 { Tri::Fail } else { Tri::Pass }),
                since: left.filter(|l| *l < 0.5).map(|_| ago(1260)),
            },
            BurnAlert { rule: rule("ticket", 21_600, 259_200, 1.0), state: Tri::Pass, since: None },
        ],
        exhausted_in_seconds: left.filter(|l| *l > 0.0).map(|l| l * 2_678_400.0),
        exhausts: "40 more bad events, or 43 s of outage".into(),
        coverage: 0.987,
        newest: Some(ago(if state == SloState::Stale { 840 } else { 20 })),
        points: if state == SloState::Absent { vec![] } else { (0..120).map(point).collect() },
        months: vec![
            MonthRow { month: "2025-12".into(), sli: Some(0.9992), spent: Some(0.8), events: 3e6, coverage: 1.0 },
            MonthRow { month: "2026-01".into(), sli: None, spent: None, events: 0.0, coverage: 0.1 },
        ],
    }
}

pub fn canary() -> Rollout {
    let pod = |name: &str, ready| Pod {
        name: name.into(),
        phase: "Running".into(),
        ready,
        restarts: u32::from(!ready) * 3,
        zone: Some("eu-1a".into()),
        node: None,
        since: Some(ago(700)),
    };
    let revision = |number, role: &str, image: &str, floating| Revision {
        number: Some(number),
        replica_set: format!("intake-{number}").into(),
        hash: "6b9f".into(),
        role: role.into(),
        images: vec![Image { reference: image.into(), digest: Some("sha256:9c1e44".into()), floating }],
        desired: 2,
        ready: 1,
        available: 1,
        since: Some(ago(700)),
        pods: vec![pod("intake-a", true), pod(HOSTILE, false)],
        analyses: vec![],
    };
    let gate = |name: &str, answer, why: &str| Gate {
        name: name.into(),
        answer,
        why: why.into(),
        canary: Some(0.031),
        stable: Some(0.0021),
        limit: Some(0.01),
        limit_word: "at most".into(),
        events: Some(512.0),
        samples: Some(11),
        newest: Some(ago(12)),
        history: (0..40).map(|i| (ago(600 - i * 15), (i != 20).then_some(i as f64 / 1300.0))).collect(),
    };
    Rollout {
        id: RolloutId { cluster: "eu".into(), namespace: "soc".into(), name: "intake".into() },
        kind: RolloutKind::Argo,
        phase: RolloutPhase::Paused,
        message: "CanaryPauseStep".into(),
        object: "argoproj.io/v1alpha1 Rollout".into(),
        uid: "u".into(),
        resource_version: "881".into(),
        generation: 7,
        replicas: 4,
        updated: 2,
        ready: 3,
        available: 3,
        set_weight: Some(50),
        actual_weight: Some(48),
        steps: [5, 25, 50]
            .into_iter()
            .flat_map(|percent| [Step::Weight { percent }, Step::Pause { seconds: Some(600) }])
            .collect(),
        step: Some(5),
        paused_since: Some(ago(408)),
        aborted: false,
        revisions: vec![
            revision(7, "canary", "registry.example/intake:latest", true),
            revision(6, "stable", "registry.example/intake:1.4", false),
        ],
        active: None,
        conditions: vec![Condition {
            kind: "Progressing".into(),
            status: "Unknown".into(),
            reason: "RolloutPaused".into(),
            message: HOSTILE.into(),
            since: Some(ago(408)),
        }],
        stuck: Some(("a pod is not ready: intake-b".into(), ago(380))),
        zones: vec![
            Zone { name: "eu-1a".into(), ready: 2, total: 2 },
            Zone { name: "eu-1b".into(), ready: 0, total: 1 },
        ],
        zone_minimum: Some(1),
        fast_rollback_until: now().checked_add(SignedDuration::from_secs(1500)).ok(),
        gates: vec![
            gate("error ratio", Tri::Fail, "the canary fails 3.1 % of requests, at most 1 % may"),
            gate("budget", Tri::Unknown, "the newest sample of api/availability is 14 min old"),
            gate("ready", Tri::Pass, "2 of 2 ready"),
        ],
        advice: Some(Advice { verb: None, why: "error ratio does not pass".into(), due: None }),
        seen: ago(3),
        labels: BTreeMap::new(),
    }
}

pub fn backup(id: &str, grade: Grade, age: i64, why: &str) -> Graded {
    Graded {
        backup: Backup {
            id: id.into(),
            source: "velero-eu".into(),
            kind: "velero".into(),
            phase: BackupPhase::Completed,
            said: "Completed".into(),
            start: Some(ago(age)),
            end: Some(ago(age - 300)),
            expires: now().checked_add(SignedDuration::from_secs(86_400)).ok(),
            bytes: Some(1 << 30),
            items: Some((120, 120)),
            volumes: Some(if grade == Grade::Bad { (0, 0) } else { (4, 4) }),
            covers: vec!["soc".into()],
            location: Some("default".into()),
            location_reachable: if grade == Grade::Bad { Tri::Fail } else { Tri::Pass },
            schedule: None,
            errors: 0,
            warnings: 2,
            evidence: if grade == Grade::A {
                vec![Evidence {
                    covers: vec![],
                    what: EvidenceKind::Drill,
                    at: ago(age - 600),
                    ok: true,
                    took_seconds: Some(2280.0),
                    detail: HOSTILE.into(),
                    reference: None,
                }]
            } else {
                vec![]
            },
            held: None,
            gone_since: (grade == Grade::D).then(|| ago(100)),
        },
        grade,
        why: vec![why.into()],
    }
}

pub fn asset(name: &str, grade: Grade, rpo: Tri, backups: Vec<Graded>) -> AssetStatus {
    AssetStatus {
        asset: Asset {
            name: name.into(),
            source: "velero-eu".into(),
            covers: vec!["soc".into()],
            rpo_seconds: 86_400,
            rto_seconds: 3600,
            schedule: Some("0 2 * * *".into()),
            zone: "UTC".into(),
            volumes: true,
        },
        at: now(),
        grade,
        newest_good: backups.iter().find(|b| b.grade.is_good()).map(|b| b.backup.id.clone()),
        newest: backups.first().map(|b| b.backup.id.clone()),
        rpo_actual_seconds: match rpo {
            Tri::Pass => Some(25_200.0),
            Tri::Fail => Some(93_600.0),
            Tri::Unknown => None,
        },
        rpo,
        rto_actual_seconds: (grade == Grade::A).then_some(2280.0),
        rto: if grade == Grade::A { Tri::Pass } else { Tri::Unknown },
        drilled: (grade == Grade::A).then(|| ago(12 * 86_400)),
        drill_stale: false,
        next_run: now().checked_add(SignedDuration::from_secs(61_200)).ok(),
        next_breach: now().checked_add(SignedDuration::from_secs(61_200)).ok(),
        expires: None,
        copies: Copies { copies: Some(2), media: Some(1), offsite: None },
        why: backups.first().map(|b| b.why.clone()).unwrap_or_default(),
        backups,
    }
}

pub fn checklist() -> ChecklistRun {
    let item = |id: &str, text: &str| CheckItem {
        id: id.into(),
        section: "Before".into(),
        text: text.into(),
        owner: "platform".into(),
        evidence: "a drill within 35 days".into(),
        auto: None,
    };
    ChecklistRun {
        list: Checklist {
            name: "readiness".into(),
            title: "Readiness".into(),
            hard: true,
            items: vec![
                item("a", "Every asset has a good backup"),
                item("b", "A drill was held"),
                item("c", "On call"),
            ],
        },
        ticks: vec![
            Tick { item: "a".into(), answer: Tri::Fail, by: None, at: ago(60), evidence: HOSTILE.into() },
            Tick { item: "b".into(), answer: Tri::Pass, by: PersonId::new("bob"), at: ago(90), evidence: "ok".into() },
        ],
        answer: Tri::Fail,
        signed: None,
    }
}

pub fn sample() -> Platform {
    let pairs = [
        ("api-availability", 0.999, SloState::Emergency, Some(-0.5)),
        ("llm-inference-p95", 0.95, SloState::Stale, None),
        ("intake-lag", 0.995, SloState::Absent, None),
        ("triage-p95", 0.95, SloState::SlowDown, Some(0.42)),
        ("mail-intake", 0.995, SloState::Quiet, None),
        ("console", 0.99, SloState::Healthy, Some(0.97)),
    ];
    let gate = |class, answer| GateAnswer { class, answer, reasons: vec!["api/api-availability is exhausted".into()] };
    let source = |name: &str, kind: &str, state| SourceState {
        name: name.into(),
        kind: kind.into(),
        state,
        detail: HOSTILE.into(),
        last_good: Some(ago(840)),
        next_try: now().checked_add(SignedDuration::from_secs(60)).ok(),
    };
    let healthy = Rollout {
        id: RolloutId { cluster: "eu".into(), namespace: "soc".into(), name: "console".into() },
        kind: RolloutKind::Rolling,
        phase: RolloutPhase::Healthy,
        steps: vec![],
        step: None,
        set_weight: None,
        actual_weight: None,
        stuck: None,
        gates: vec![],
        ..canary()
    };
    Platform {
        at: Some(now()),
        pairs: BTreeMap::new(),
        slos: pairs
            .into_iter()
            .map(|(name, target, state, left)| {
                let d = slo(name, target);
                let x = status(&d, state, left);
                (d, x)
            })
            .collect(),
        gate: vec![
            gate(ChangeClass::Normal, Tri::Fail),
            gate(ChangeClass::Critical, Tri::Fail),
            gate(ChangeClass::Emergency, Tri::Unknown),
        ],
        rollouts: vec![canary(), healthy],
        assets: vec![
            asset(
                "cluster objects",
                Grade::Bad,
                Tri::Unknown,
                vec![backup("daily-3", Grade::Bad, 25_200, "it says Completed, and there are zero volumes in it")],
            ),
            asset(
                "postgres",
                Grade::C,
                Tri::Fail,
                vec![backup("full-1", Grade::C, 93_600, "1 run missed"), backup("full-0", Grade::D, 190_000, "gone")],
            ),
            asset(
                "alerts index",
                Grade::A,
                Tri::Pass,
                vec![
                    backup("snap-2", Grade::A, 25_200, "restored in a drill 12 d ago"),
                    backup("snap-1", Grade::B, 111_600, "its content was verified"),
                ],
            ),
        ],
        sla: vec![SlaMonth {
            service: "console".into(),
            month: "2026-01".into(),
            target: 0.999,
            from: ago(1_200_000),
            until: now(),
            up_seconds: 1_190_000.0,
            down_seconds: 4200.0,
            unknown_seconds: 5800.0,
            excluded_seconds: 0.0,
            uptime: Some(0.996_483),
            uptime_at_worst: Some(0.9917),
            met: Tri::Fail,
            credit_percent: 10,
            outages: vec![Outage { from: ago(9000), until: ago(4800), known: true, detail: HOSTILE.into() }],
            exclusions: vec![],
        }],
        checklists: vec![checklist()],
        sources: vec![source("prom-eu", "prometheus", SourceWord::Lost)],
    }
}
