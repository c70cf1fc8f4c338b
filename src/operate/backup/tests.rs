//! Status fixtures by name, and what must hold for any backup.

use jiff::Timestamp;
use proptest::prelude::*;

use super::config;
use super::config::AssetConfig;
use super::grade::grade;
use super::history;
use super::objective;
use super::prune;
use super::source::blank;
use super::source::pg_dump;
use super::source::pgbackrest;
use super::source::restic;
use crate::config::doc::Doc;
use crate::model::backup::*;
use crate::model::health::SourceState;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::text::Untrusted;

pub const NOW: &str = "2026-11-20T12:00:00Z";

fn t(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn asset() -> Asset {
    Asset {
        name: "a".into(),
        source: "s".into(),
        covers: vec!["soc*".into()],
        rpo_seconds: 86_400,
        rto_seconds: 3_600,
        schedule: Some("0 2 * * *".into()),
        zone: "UTC".into(),
        volumes: true,
    }
}

/// What is wanted of a backup of a kind: only Velero and reports tell of volumes.
fn asset_of(b: &Backup) -> Asset {
    Asset { volumes: matches!(b.kind.as_str(), "velero" | "report"), ..asset() }
}

fn good(id: &str, start: &str) -> Backup {
    let start = t(start);
    Backup {
        phase: BackupPhase::Completed,
        start: Some(start),
        end: Some(start + jiff::SignedDuration::from_mins(5)),
        bytes: Some(10),
        items: Some((28, 28)),
        volumes: Some((2, 2)),
        covers: vec![Untrusted::new("soc")],
        location: Some("s".into()),
        location_reachable: Tri::Pass,
        ..blank("s", "report", id)
    }
}

fn proof(what: EvidenceKind, at: &str, ok: bool) -> Evidence {
    Evidence {
        what,
        at: t(at),
        ok,
        took_seconds: Some(1_800.0),
        detail: Untrusted::default(),
        reference: None,
        covers: vec![],
    }
}

/// Each lie or lack by name, and the grade it must have.
fn fixtures() -> Vec<(&'static str, Grade, Backup)> {
    let base = || good("b", "2026-11-20T02:00:00Z");
    let with = |change: fn(&mut Backup)| {
        let mut b = base();
        change(&mut b);
        b
    };
    use Grade::*;
    let mut all = vec![
        ("failed", Bad, with(|b| b.phase = BackupPhase::Failed)),
        ("partial", Bad, with(|b| b.phase = BackupPhase::Partial)),
        ("being deleted", Bad, with(|b| b.phase = BackupPhase::Deleting)),
        ("running", Unknown, with(|b| b.phase = BackupPhase::Running)),
        ("unknown phase", Unknown, with(|b| b.phase = BackupPhase::Unknown)),
        ("completed with errors", Bad, with(|b| b.errors = 1)),
        ("zero items", Bad, with(|b| b.items = Some((0, 0)))),
        ("items missing", Bad, with(|b| b.items = Some((28, 27)))),
        ("more items than there are", Bad, with(|b| b.items = Some((28, 29)))),
        ("zero bytes", Bad, with(|b| b.bytes = Some(0))),
        ("zero volumes", Bad, with(|b| b.volumes = Some((0, 0)))),
        ("a volume missing", Bad, with(|b| b.volumes = Some((2, 1)))),
        ("volumes not told", D, with(|b| b.volumes = None)),
        ("covers something else", Bad, with(|b| b.covers = vec![Untrusted::new("other")])),
        ("covers a longer name before", Bad, with(|b| b.covers = vec![Untrusted::new("xsoc")])),
        ("covers not told", D, with(|b| b.covers.clear())),
        ("location unavailable", Bad, with(|b| b.location_reachable = Tri::Fail)),
        ("location not known", D, with(|b| b.location_reachable = Tri::Unknown)),
        ("location not named", D, with(|b| b.location = None)),
        ("no start", Unknown, with(|b| b.start = None)),
        ("no end", D, with(|b| b.end = None)),
        ("start after end", Bad, with(|b| b.end = Some(t("2026-11-20T01:00:00Z")))),
        ("start in the future", Bad, with(|b| b.start = Some(t("2026-11-21T01:00:00Z")))),
        ("end in the future", Bad, with(|b| b.end = Some(t("2026-11-21T01:00:00Z")))),
        ("neither items nor size", D, with(|b| (b.items, b.bytes) = (None, None))),
        ("expired", Bad, with(|b| b.expires = Some(t("2026-11-20T11:00:00Z")))),
        ("expires now", Bad, with(|b| b.expires = Some(t(NOW)))),
        ("expires before the next run", Bad, with(|b| b.expires = Some(t("2026-11-20T20:00:00Z")))),
        ("gone", Bad, with(|b| b.gone_since = Some(t(NOW)))),
        (
            "gone although drilled",
            Bad,
            with(|b| {
                b.evidence = vec![proof(EvidenceKind::Drill, "2026-11-20T03:00:00Z", true)];
                b.gone_since = Some(t(NOW));
            }),
        ),
        ("drill failed", Bad, with(|b| b.evidence = vec![proof(EvidenceKind::Drill, "2026-11-20T03:00:00Z", false)])),
        (
            "verification failed after it worked",
            Bad,
            with(|b| {
                b.evidence = vec![
                    proof(EvidenceKind::Verify, "2026-11-20T03:00:00Z", true),
                    proof(EvidenceKind::Verify, "2026-11-20T04:00:00Z", false),
                ];
            }),
        ),
        (
            "drilled, but where it is cannot be asked",
            D,
            with(|b| {
                b.evidence = vec![proof(EvidenceKind::Drill, "2026-11-20T03:00:00Z", true)];
                b.location_reachable = Tri::Unknown;
            }),
        ),
        (
            "proof older than the backup",
            C,
            with(|b| {
                b.evidence = vec![proof(EvidenceKind::Drill, "2026-11-19T03:00:00Z", true)];
            }),
        ),
        (
            "proof from the future",
            C,
            with(|b| {
                b.evidence = vec![proof(EvidenceKind::Drill, "2026-11-23T03:00:00Z", true)];
            }),
        ),
        ("complete", C, base()),
        ("verified", B, with(|b| b.evidence = vec![proof(EvidenceKind::Verify, "2026-11-20T03:00:00Z", true)])),
        ("restored", B, with(|b| b.evidence = vec![proof(EvidenceKind::Restore, "2026-11-20T03:00:00Z", true)])),
        ("drilled", A, with(|b| b.evidence = vec![proof(EvidenceKind::Drill, "2026-11-20T03:00:00Z", true)])),
    ];
    all.extend(super::fixtures::all());
    all
}

#[test]
fn each_fixture_has_its_grade_and_says_why() {
    let all = fixtures();
    let names: std::collections::BTreeSet<&str> = all.iter().map(|f| f.0).collect();
    assert!(all.len() >= 60 && names.len() == all.len(), "{} fixtures, {} names", all.len(), names.len());
    for (name, want, b) in all {
        let got = grade(&b, &asset_of(&b), &[], t(NOW));
        assert_eq!(got.grade, want, "{name}: {:?} {b:?}", got.why);
        assert!(want == Grade::C || !got.why.is_empty(), "{name}: no reason");
    }
}

#[test]
fn the_sample_is_read() {
    let doc = Doc::parse(std::path::Path::new("backups.toml"), config::SAMPLE.into()).unwrap();
    let c = config::parse(&doc).unwrap();
    assert_eq!((c.sources.len(), c.assets.len()), (6, 3));
    assert_eq!((c.assets[0].asset.rto_seconds, c.assets[0].asset.rpo_seconds), (3_600, 86_400));
    let bad = config::SAMPLE.replace("kind = \"restic\"", "kind = \"restik\"").replace("\"1h/24h\"", "\"1h\"");
    let doc = Doc::parse(std::path::Path::new("backups.toml"), bad).unwrap();
    let faults = config::parse(&doc).unwrap_err().to_string();
    assert!(faults.contains("did you mean \"restic\"?") && faults.contains("RTO/RPO"), "{faults}");
}

fn config_of(asset: Asset) -> AssetConfig {
    AssetConfig { asset, copies: vec![], medium: Some("disk".into()), keep_seconds: Some(2 * 86_400), keep_at_least: 1 }
}

fn stand(backups: &[Backup], word: SourceWord) -> AssetStatus {
    let state = SourceState {
        name: "s".into(),
        kind: "report".into(),
        state: word,
        detail: Untrusted::default(),
        last_good: None,
        next_try: None,
    };
    let known = objective::Known { backups, schedules: &[], sources: std::slice::from_ref(&state) };
    objective::status(&config_of(asset()), &config::Config::default(), known, t(NOW))
}

#[test]
fn the_recovery_point_counts_from_the_start_of_the_newest_good_one() {
    let mut lies = good("new", "2026-11-20T02:00:00Z");
    lies.volumes = Some((0, 0));
    let s = stand(&[good("old", "2026-11-19T02:00:00Z"), lies], SourceWord::Live);
    assert_eq!((s.newest_good.as_deref(), s.newest.as_deref()), (Some("old"), Some("new")));
    assert_eq!((s.rpo_actual_seconds, s.rpo), (Some(34.0 * 3_600.0), Tri::Fail));
    assert_eq!(s.rto, Tri::Unknown);
    let s = stand(&[good("old", "2026-11-20T02:00:00Z")], SourceWord::Live);
    assert_eq!((s.rpo, s.next_breach), (Tri::Pass, Some(t("2026-11-21T02:00:00Z"))));
    assert!(s.why.iter().any(|w| w.starts_with("its schedule cannot keep the objective")), "{:?}", s.why);
    assert_eq!(stand(&[], SourceWord::Live).rpo, Tri::Fail);
    assert_eq!(stand(&[], SourceWord::Lost).rpo, Tri::Unknown);
}

#[test]
fn pruning_never_takes_the_last_good_one_or_what_is_held() {
    let mut held = good("held", "2026-11-01T02:00:00Z");
    held.held = Some("case 7".into());
    let all = [good("new", "2026-11-20T02:00:00Z"), good("old", "2026-11-02T02:00:00Z"), held];
    let plan = |b: &[Backup]| {
        let p = prune::plan(&config_of(asset()), &stand(b, SourceWord::Live), t(NOW));
        p.removed().map(|s| s.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(plan(&all), ["old"]);
    assert!(plan(&all[1..]).is_empty());
}

#[test]
fn nobody_removes_the_last_good_one_or_what_is_held_or_what_the_objective_needs() {
    let all =
        [good("new", "2026-11-20T02:00:00Z"), good("mid", "2026-11-19T20:00:00Z"), good("old", "2026-11-02T02:00:00Z")];
    let ask = |backups: &[Backup], going: &[&str], word| {
        let s = stand(backups, word);
        prune::forbids(&[s], |b| going.contains(&b.id.as_str()), t(NOW)).join("; ")
    };
    let live = |going: &[&str]| ask(&all, going, SourceWord::Live);
    assert_eq!(live(&["old"]), "");
    assert_eq!(live(&["new"]), "", "the one before still meets the objective");
    assert!(live(&["new", "mid"]).contains("would miss its objective"));
    assert!(live(&["new", "mid", "old"]).contains("new is the last good one of a"));
    assert!(ask(&all, &["old"], SourceWord::Lost).contains("or that is not known"));
    assert!(ask(&all[2..], &["old"], SourceWord::Live).contains("the last good one"));
    let mut held = all.clone();
    held[2].held = Some("case 7".into());
    assert!(ask(&held, &["old"], SourceWord::Live).contains("old is held: case 7"));
    let mut bad = all[2].clone();
    bad.phase = BackupPhase::Failed;
    assert!(ask(&[bad.clone()], &["old"], SourceWord::Live).contains("even a bad one"));
    assert_eq!(ask(&[all[0].clone(), bad], &["old"], SourceWord::Live), "");
}

fn reading(backups: Vec<Backup>) -> super::source::Read {
    let state = SourceState {
        name: "s".into(),
        kind: "report".into(),
        state: SourceWord::Live,
        detail: Untrusted::default(),
        last_good: None,
        next_try: None,
    };
    super::source::Read { backups, schedules: Vec::new(), state }
}

#[test]
fn what_one_run_proved_is_not_carried_to_another_of_its_name() {
    let mut old = good("nightly", "2026-11-19T02:00:00Z");
    old.evidence = vec![proof(EvidenceKind::Drill, "2026-11-20T03:00:00Z", true)];
    old.held = Some("case 7".into());
    let same = reading(vec![good("nightly", "2026-11-19T02:00:00Z")]);
    let merged = history::merge("s", &same, std::slice::from_ref(&old), t(NOW));
    assert_eq!((merged.len(), grade(&merged[0], &asset(), &[], t(NOW)).grade), (1, Grade::A));

    // Taken again under its name while the old one was being drilled.
    let again = reading(vec![good("nightly", "2026-11-20T02:30:00Z")]);
    let merged = history::merge("s", &again, std::slice::from_ref(&old), t(NOW));
    let find = |id: &str| merged.iter().find(|b| b.id == id).unwrap();
    assert_eq!(grade(find("nightly"), &asset(), &[], t(NOW)).grade, Grade::C);
    assert_eq!(find("nightly").held.as_deref(), Some("case 7"), "what is held is held by its name");
    let former = find("nightly@2026-11-19T02:00:00Z");
    assert!(former.gone_since.is_some() && former.evidence.len() == 1, "the drill itself is not forgotten");
    // Once more: nothing is doubled, and nothing is lost.
    let third = history::merge("s", &reading(vec![good("nightly", "2026-11-20T04:30:00Z")]), &merged, t(NOW));
    let mut ids: Vec<&str> = third.iter().map(|b| b.id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["nightly", "nightly@2026-11-19T02:00:00Z"]);

    // Of a run whose beginning is not told it cannot be said which it is.
    let mut untold = good("nightly", "2026-11-19T02:00:00Z");
    untold.start = None;
    let merged = history::merge("s", &reading(vec![untold]), &[old], t(NOW));
    assert!(merged.iter().find(|b| b.id == "nightly").unwrap().evidence.is_empty());
}

#[test]
fn pgbackrest_is_read_and_a_broken_chain_is_partial() {
    let info = r#"[{"name":"soc","status":{"code":0,"message":"ok"},"repo":[{"key":1,"status":{"code":0,"message":"ok"}}],
      "backup":[{"label":"20261120-020000F","type":"full","error":false,"prior":null,"reference":null,
        "timestamp":{"start":1795140000,"stop":1795140300},"info":{"size":100},"archive":{"start":"01","stop":"02"},
        "database":{"id":1,"repo-key":1}},
       {"label":"20261119-020000F_20261120-030000I","type":"incr","error":false,"prior":"20261119-020000F",
        "reference":["20261119-020000F"],"timestamp":{"start":1795143600,"stop":1795143700},"info":{"size":100},
        "archive":{"start":"03","stop":"04"},"database":{"id":1,"repo-key":1}}]}]"#;
    let b = pgbackrest::read("s", info.as_bytes()).unwrap();
    assert_eq!((b[0].id.as_str(), b[0].phase), ("soc/20261120-020000F", BackupPhase::Completed));
    assert_eq!(b[1].phase, BackupPhase::Partial);
    assert!(pgbackrest::read("s", b"{}").is_err());
}

#[test]
fn restic_says_wrong_password_and_dumps_say_when_they_are_cut_off() {
    let e = restic::read("s", br#"{"message_type":"exit_error","code":12,"message":"wrong"}"#, None, t(NOW));
    assert_eq!(e.unwrap_err().0, SourceWord::Forbidden);
    let head = b"--\n-- PostgreSQL database dump\n--\n";
    let whole = pg_dump::of_bytes(head, b"x;\n--\n-- PostgreSQL database dump complete\n--\n\n").unwrap();
    assert_eq!(whole.whole, Some(true));
    assert_eq!(pg_dump::of_bytes(head, b"COPY t FROM stdin;\n1\n").unwrap().whole, Some(false));
    assert_eq!(pg_dump::of_bytes(b"PGDMP\x01\x0e", b"").unwrap().whole, Some(false));
    assert!(pg_dump::of_bytes(b"notes", b"notes").is_none());
}

/// A count nobody tells cannot show what is lacking: then the size or the items alone are believed.
fn told_bad_by_a_count(b: &Backup) -> bool {
    b.items.is_some_and(|(all, done)| all == 0 || all != done) || b.bytes == Some(0)
}

#[test]
fn what_a_policy_of_the_cluster_does_is_said() {
    let status = |read: &super::source::Read| {
        let schedules: Vec<_> = read.schedules.iter().map(|s| ("s".to_owned(), s.clone())).collect();
        let known = objective::Known {
            backups: &read.backups,
            schedules: &schedules,
            sources: std::slice::from_ref(&read.state),
        };
        let wanted = Asset { schedule: None, volumes: false, ..asset() };
        objective::status(&config_of(wanted), &config::Config::default(), known, t(NOW)).why.join("; ")
    };
    let of = |change: fn(&mut serde_json::Value)| {
        // A function pointer carries nothing: what is explained is put in afterwards.
        let mut explained = serde_json::json!({ "name": "daily", "enabled": true, "creation": { "latest_execution": {
            "status": "SUCCESS", "start_time": 1_795_140_000_000_i64 } } });
        change(&mut explained);
        status(&super::fixtures::managed(explained))
    };
    let said = of(|_| {});
    assert!(!said.contains("paused") && !said.contains("last run"), "{said}");
    let said = of(|e| e["enabled"] = false.into());
    assert!(said.contains("its schedule is paused"), "{said}");
    let said = of(|e| {
        e["creation"]["latest_execution"]["status"] = "FAILED".into();
        e["creation"]["latest_execution"]["info"] = serde_json::json!({ "message": "no space left" });
    });
    assert!(said.contains("its schedule fails: last run FAILED; no space left"), "{said}");
    let none = super::fixtures::search(|_, _, _| {});
    assert!(none.schedules.is_empty());
}

proptest! {
    #[test]
    fn taking_facts_away_never_makes_it_good(which in 0usize..1000, facts in 0u16..1024) {
        let mut all = fixtures();
        let (name, _, b) = all.swap_remove(which % all.len());
        let before = grade(&b, &asset_of(&b), &[], t(NOW));
        let mut less = b.clone();
        let gone = |bit: u16| facts & (1 << bit) != 0;
        if gone(0) { less.start = None; }
        if gone(1) { less.end = None; }
        if gone(2) { less.bytes = None; }
        if gone(3) { less.items = None; }
        if gone(4) { less.volumes = None; }
        if gone(5) { less.covers.clear(); }
        if gone(6) { less.location = None; }
        if gone(7) { less.location_reachable = less.location_reachable.and(Tri::Unknown); }
        if gone(8) { less.evidence.retain(|e| !e.ok); }
        if gone(9) { less.phase = BackupPhase::Unknown; }
        let after = grade(&less, &asset_of(&b), &[], t(NOW));
        if before.grade.is_good() {
            prop_assert!(after.grade >= before.grade, "{name}: {:?} to {:?}", before.grade, after.grade);
        } else if !told_bad_by_a_count(&b) {
            prop_assert!(!after.grade.is_good(), "{name}: {:?} became {:?}", before.grade, after.grade);
        }
    }
}
