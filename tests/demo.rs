//! The demo's platform, headless: what its panes show at moments of the scenario, and what people may do about it.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops at the first surprise"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use watchfloor::console::shot;
use watchfloor::desk::operate_sla::SlaReport;
use watchfloor::desk::{Demo, Desk, Live, Platform};
use watchfloor::model::action::{Draft, RequestState, Suggested};
use watchfloor::model::backup::{AssetStatus, Grade};
use watchfloor::model::health::{SourceWord, Tri};
use watchfloor::model::ids::PersonId;
use watchfloor::model::rollout::{Gate, Rollout, RolloutKind, RolloutPhase, RolloutVerb};
use watchfloor::model::slo::{SloState, SloStatus};

/// A demo at a scenario second, with its background work running.
struct Opened {
    demo: Demo,
    _live: Live,
    _dir: tempfile::TempDir,
}

fn open(second: f64) -> Opened {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::open(Some(dir.path().join("d")), None).unwrap();
    demo.fill(second).unwrap();
    let live = demo.desk.start_live(Some(demo.replay(second, 1.0))).unwrap();
    Opened { demo, _live: live, _dir: dir }
}

/// Waits until the reading is so.
fn wait(desk: &Arc<Desk>, what: &str, is: impl Fn(&Platform) -> bool) -> Arc<Platform> {
    let until = Instant::now() + Duration::from_secs(150);
    loop {
        let p = desk.platform();
        if is(&p) {
            return p;
        }
        assert!(Instant::now() < until, "{what}: {}", serde_json::to_string_pretty(&*p).unwrap());
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn full(p: &Platform) -> bool {
    !(p.slos.is_empty() || p.rollouts.is_empty() || p.assets.is_empty() || p.sla.is_empty() || p.checklists.is_empty())
}

fn slo<'a>(p: &'a Platform, id: &str) -> &'a SloStatus {
    &p.slos.iter().find(|(s, _)| s.id == id).unwrap_or_else(|| panic!("{id}")).1
}

fn rollout<'a>(p: &'a Platform, name: &str) -> &'a Rollout {
    p.rollouts.iter().find(|r| r.id.name == name).unwrap_or_else(|| panic!("{name}"))
}

fn gate<'a>(r: &'a Rollout, name: &str) -> &'a Gate {
    r.gates.iter().find(|g| g.name == name).unwrap_or_else(|| panic!("{name}: {:?}", r.gates))
}

fn asset<'a>(p: &'a Platform, name: &str) -> &'a AssetStatus {
    p.assets.iter().find(|a| a.asset.name == name).unwrap_or_else(|| panic!("{name}"))
}

/// For a person who looks: `WATCHFLOOR_SHOW=1 cargo test --test demo -- --nocapture`.
fn show(desk: &Arc<Desk>, keys: &[&str]) {
    if std::env::var_os("WATCHFLOOR_SHOW").is_none() {
        return;
    }
    for (w, h) in [(80, 24), (160, 45)] {
        for keys in keys {
            println!("--- {w}x{h} {keys}\n{}", screen(desk, w, h, keys));
        }
    }
}

fn screen(desk: &Arc<Desk>, w: u16, h: u16, keys: &str) -> String {
    let buffer = shot::buffer(&shot::state(desk, w, h, keys).unwrap());
    let rows = buffer.content().chunks(usize::from(w));
    rows.map(|r| r.iter().map(|c| c.symbol()).collect::<String>().trim_end().to_owned() + "\n").collect()
}

const PANES: [&str; 6] = ["4", "4 enter", "5", "5 enter", "6", "6 enter"];

#[test]
fn before_the_intrusion_nothing_burns_and_one_backup_lies() {
    let o = open(45.0);
    let desk = &o.demo.desk;
    // In the same reading: of each of these the scenario has something else in store.
    let p = wait(desk, "full", |p| full(p) && p.sources.iter().all(|s| s.state == SourceWord::Live));
    show(desk, &PANES);
    for (slo, status) in &p.slos {
        assert!(status.alerts.iter().all(|a| a.state != Tri::Fail), "{}: {:?}", slo.id, status.alerts);
    }
    let intake = slo(&p, "log-intake/accepted");
    assert_eq!(intake.state, SloState::SlowDown, "{intake:?}");
    assert_eq!(slo(&p, "mail-intake/accepted").state, SloState::Quiet);
    assert_eq!(slo(&p, "search/query-time").state, SloState::Healthy);
    assert!(rollout(&p, "report-writer").stuck.is_none(), "it still has time");

    let lies = asset(&p, "cluster objects");
    let newest = &lies.backups[0];
    assert_eq!(newest.backup.said.expose(), "Completed");
    assert_eq!(newest.grade, Grade::Bad);
    assert!(newest.why[0].contains("zero volumes"), "{:?}", newest.why);
    assert_eq!(lies.rpo, Tri::Fail, "the newest good one is days old");
    assert_eq!(asset(&p, "alerts index").grade, Grade::A);
    assert_eq!(asset(&p, "case evidence").rpo, Tri::Pass);
    let mail = asset(&p, "mail archive");
    assert_eq!((mail.grade, mail.drill_stale), (Grade::B, true));

    let canary = rollout(&p, "triage-api");
    assert_eq!((canary.set_weight, canary.actual_weight, canary.step), (Some(25), Some(25), Some(3)));
    assert_eq!(canary.zones.len(), 3);
    let read =
        |p: &Platform| rollout(p, "log-intake").gates.iter().any(|g| g.name == "readiness" && g.answer == Tri::Fail);
    let p = wait(desk, "gates", |p| !rollout(p, "triage-api").gates.is_empty() && read(p));
    let canary = rollout(&p, "triage-api");
    // Too few samples first, then a pass that is not yet long enough.
    let ratio = gate(canary, "error ratio");
    assert!(ratio.answer != Tri::Fail, "{ratio:?}");
    let advice = canary.advice.as_ref().unwrap();
    assert!(advice.verb.is_none(), "{advice:?}");
    let pair = rollout(&p, "log-intake");
    assert_eq!((pair.kind, pair.active.as_deref()), (RolloutKind::BlueGreen, Some("blue")));
    assert!(gate(pair, "readiness").why.contains("readiness"), "{:?}", pair.gates);
    for run in &p.checklists {
        let done = run.ticks.iter().filter(|t| t.by.is_some()).count();
        assert!(done > 0 && done < run.list.items.len(), "{}: {done}", run.list.name);
    }
    let picture = |theme: &str| watchfloor::console::screenshot(desk, 80, 24, "6", Some(theme.into()));
    let (safe, mono) = (picture("deuteranopia").unwrap(), picture("mono").unwrap());
    assert!(safe.contains("#e69f00") && !mono.contains("#e69f00"), "vermilion for bad where colours are told apart");
    assert!(picture("mauve").unwrap_err().to_string().contains("mauve"));
}

#[test]
fn the_intrusion_burns_a_budget_and_blinds_the_desk() {
    let o = open(1_150.0);
    let desk = &o.demo.desk;
    let p = wait(desk, "full", full);
    show(desk, &PANES);
    let intake = slo(&p, "log-intake/accepted");
    assert!(intake.spent.unwrap() > 0.95, "{intake:?}");
    assert!(intake.alerts.iter().any(|a| a.state == Tri::Fail && a.since.is_some()), "{:?}", intake.alerts);
    assert_eq!(slo(&p, "search/query-time").state, SloState::Stale);
    assert_eq!(p.gate[0].answer, Tri::Fail, "{:?}", p.gate);
    assert_eq!(asset(&p, "case evidence").rpo, Tri::Fail);
    assert!(rollout(&p, "report-writer").stuck.is_some());
    let p = wait(desk, "gates", |p| {
        let canary = rollout(p, "triage-api");
        canary.gates.iter().any(|g| g.name == "budget" && g.answer == Tri::Fail) && canary.advice.is_some()
    });
    let canary = rollout(&p, "triage-api");
    let ratio = gate(canary, "error ratio");
    assert_eq!(ratio.answer, Tri::Fail, "{ratio:?}");
    assert!(ratio.canary.unwrap() > 0.05 && ratio.history.len() > 20, "{ratio:?}");
    let advice = canary.advice.as_ref().unwrap();
    assert_eq!(advice.verb, Some(RolloutVerb::Abort), "{advice:?}");
    decide(desk);
}

/// The canary may not go on while the budget is spent, and may always go back.
fn decide(desk: &Arc<Desk>) {
    let [alice, bob] = ["alice", "bob"].map(|p| PersonId::new(p).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let propose = |action: &str| {
        let draft = Draft {
            action: action.into(),
            targets: vec!["prod-eu/soc/triage-api".into()],
            params: Default::default(),
            alerts: Vec::new(),
            case: None,
            reason: "seen in the pane".into(),
            suggested_by: Suggested::Person,
        };
        runtime.block_on(desk.propose(&alice, draft)).unwrap()
    };
    let promote = propose("rollout-promote");
    let refused = desk.approve(&bob, &promote.body.id, &promote.digest).unwrap_err().to_string();
    assert!(refused.contains("budget is closed for normal changes: log-intake/accepted"), "{refused}");

    let abort = propose("rollout-abort");
    desk.approve(&bob, &abort.body.id, &abort.digest).unwrap();
    let done = runtime.block_on(desk.execute(&alice, &abort.body.id)).unwrap();
    assert!(done.state == RequestState::Executing || done.state.is_final(), "{done:?}");
    let p = wait(desk, "aborted", |p| rollout(p, "triage-api").aborted);
    let back = rollout(&p, "triage-api");
    assert_eq!(back.phase, RolloutPhase::Degraded);
    let stable = back.revisions.iter().find(|r| r.role == "stable").unwrap();
    assert_eq!((stable.desired, stable.ready), (20, 20));
}

#[test]
fn a_month_has_a_gap_and_two_exclusions_of_which_one_counts() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::open(Some(dir.path().join("d")), None).unwrap();
    demo.fill(45.0).unwrap();
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    // What happened some hours and days ago may have been in another month.
    let month = |back: i64| now.checked_sub(jiff::Span::new().days(back)).unwrap().strftime("%Y-%m").to_string();
    let report = |back: i64| demo.desk.sla_report(Some(&month(back)), None).unwrap();
    let api = |r: &SlaReport| r.months.iter().find(|m| m.service == "soc-api").unwrap().clone();
    let month_of_gap = report(0);
    if now.day() > 1 {
        assert!(api(&month_of_gap).outages.iter().any(|o| !o.known), "{:?}", api(&month_of_gap).outages);
    }
    if now.day() > 5 {
        let m = api(&month_of_gap);
        assert!(m.excluded_seconds > 7_000.0, "{m:?}");
        let model = month_of_gap.months.iter().find(|m| m.service == "model").unwrap();
        let (_, counts, why) = &model.exclusions[0];
        assert!(!counts && !why.is_empty(), "{:?}", model.exclusions);
    }
}
