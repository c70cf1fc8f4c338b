use std::path::Path;

use jiff::Timestamp;

use super::*;
use crate::config::doc::Doc;
use crate::model::action::RequestBody;
use crate::model::action::RequestState;
use crate::model::action::Suggested;
use crate::model::action::Tier;
use crate::model::action::VeleroVerb;
use crate::model::ids::PersonId;
use crate::model::ids::RequestId;
use crate::operate::backup::config::parse;

const BASE: &str = r#"
[[sources]]
name = "cluster"
kind = "velero"
cluster = "prod"
[[sources]]
name = "search"
kind = "opensearch"
url = "https://search.example:9200/"
repository = "nightly"
[[assets]]
name = "shop"
source = "cluster"
covers = ["shop"]
profile = "1h/24h"
[[assets]]
name = "all"
source = "cluster"
covers = ["shop", "bank"]
profile = "4h/1h"
"#;

fn config(more: &str) -> Result<Config, Vec<String>> {
    let doc = Doc::parse(Path::new("backups.toml"), format!("{BASE}{more}")).unwrap();
    parse(&doc).map_err(|f| f.0.iter().map(ToString::to_string).collect())
}

const DRILL: &str = "[[drills]]\nname = \"monthly\"\nasset = \"shop\"\nobjects = \"configmaps>=2\"\nlimit = \"30m\"\n";

fn request(receipts: &[(ReceiptState, &str)], params: &[(&str, &str)]) -> Request {
    let who = |n: &str| PersonId::new(n).unwrap();
    let at: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let body = RequestBody {
        id: RequestId::new("01JDRILL").unwrap(),
        action: "velero-drill".into(),
        tier: Tier::T2,
        targets: vec!["prod/velero/nightly-1".into()],
        params: params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        commands: vec![],
        alerts: vec![],
        case: None,
        reason: "monthly | drill".into(),
        suggested_by: Suggested::Person,
        requester: who("alice"),
        created: at,
        approve_by: at,
        execute_by: at,
        approvals_needed: 1,
        policy_digest: String::new(),
        action_digest: String::new(),
        audit_head: String::new(),
        undo: None,
        contains: false,
        replaces: None,
    };
    let receipt = |(state, detail): &(ReceiptState, &str)| Receipt {
        target: "prod/velero/nightly-1".into(),
        state: *state,
        changed: None,
        detail: (*detail).into(),
        at,
    };
    Request {
        receipts: receipts.iter().map(receipt).collect(),
        executor: Some(who("alice")),
        started: Some(at),
        finished: Some(at),
        rev: 1,
        ..Request::new(body, "", RequestState::Done)
    }
}

const VELERO: Executor = Executor::Velero { verb: VeleroVerb::Drill, timeout_seconds: 60 };

fn reported(detail: &str, params: &[(&str, &str)]) -> DrillReport {
    let config = config(DRILL).unwrap();
    let r = request(&[(ReceiptState::Done, detail)], params);
    let of = restored(&r, &VELERO, &config).unwrap();
    report(&r, steps(&r), of, None, &config, r.body.created)
}

#[test]
fn a_drill_is_described_with_what_its_asset_lets_it_leave_out() {
    let c = config(DRILL).unwrap();
    let what = What::Namespace {
        from: "shop".into(),
        into: "drill-shop".into(),
        objects: "configmaps>=2".into(),
        probe: String::new(),
    };
    let expected = DrillConfig { name: "monthly".into(), asset: "shop".into(), what, limit_seconds: 1800 };
    assert_eq!(c.drills, [expected]);
}

#[test]
fn what_is_wrong_with_a_drill_has_a_place() {
    for (more, said) in [
        (
            "[[drills]]\nname = \"a\"\nasset = \"shpo\"\n",
            "backups.toml:23:9: no [[assets]] has the name \"shpo\"; did you mean \"shop\"?",
        ),
        ("[[drills]]\nname = \"a\"\nasset = \"all\"\n", "backups.toml:21:1: a drill needs \"namespace\""),
        (
            "[[drills]]\nname = \"a\"\nasset = \"shop\"\nobjects = \"cats>=1\"\n",
            "backups.toml:24:11: objects: \"cats\" cannot be counted",
        ),
        ("[[drills]]\nname = \"a\"\nasset = \"shop\"\nprobe = \"web\"\n", "backups.toml:24:9: probe: expected"),
        ("[[drills]]\nname = \"a\"\nasset = \"shop\"\nlimit = \"soon\"\n", "backups.toml:24:9: limit: expected"),
        ("[[drills]]\nname = \"a\"\nasset = \"shop\"\ndocuments = 3\n", "backups.toml:24:1: unknown key \"documents\""),
    ] {
        let faults = config(more).unwrap_err();
        assert!(faults.iter().any(|f| f.starts_with(said)), "{said}: {faults:#?}");
    }
    let twice = config(&DRILL.repeat(2)).unwrap_err();
    assert!(twice[0].contains("is there twice"), "{twice:?}");
}

#[test]
fn what_it_restored_is_found_by_where_it_came_from() {
    let c = config("").unwrap();
    let r = request(&[], &[("from", "shop"), ("snapshot", "night")]);
    assert_eq!(restored(&r, &VELERO, &c), Some(("cluster".into(), "nightly-1".into())));
    let mut elsewhere = r.clone();
    elsewhere.body.targets = vec!["test/velero/nightly-1".into()];
    assert_eq!(restored(&elsewhere, &VELERO, &c), None);
    assert_eq!(covered(&r), ["shop"]);
}

#[test]
fn only_what_is_known_proves_anything() {
    let good = "namespace ok 0.1 s made\nrestore ok 12.0 s 4 of 4 items\nconfigmaps ok 0.1 s 2 came back\ncleanup ok 9.0 s gone";
    let r = reported(good, &[("from", "shop"), ("drill", "monthly")]);
    assert_eq!((r.outcome, r.within_objective, r.cleaned), (Tri::Pass, Tri::Pass, Tri::Pass));
    assert_eq!(r.assets, ["shop"], "that of the drill alone");
    let e = evidence(&r, vec!["shop".into()]).unwrap();
    assert!(e.ok && e.took_seconds.is_some_and(|s| (s - 12.2).abs() < 1e-9), "{e:?}");
    assert_eq!(e.reference.as_deref(), Some("01JDRILL"));

    let by_hand = reported(good, &[("from", "shop")]);
    assert_eq!((by_hand.assets.len(), by_hand.objective_seconds), (2, Some(3600)), "every asset it speaks of");

    let bad =
        reported("restore ok 1.0 s x\nprobe failed 60.0 s answers 500\ncleanup ok 1.0 s gone", &[("from", "shop")]);
    assert!(evidence(&bad, vec![]).is_some_and(|e| !e.ok && e.detail.expose().contains("answers 500")));
    for open in ["", "stopped", "restore unknown 3.0 s stopped: the kill switch\ncleanup ok 1.0 s gone"] {
        let r = reported(open, &[("from", "shop")]);
        assert_eq!((r.outcome, r.recovery_seconds), (Tri::Unknown, None));
        assert_eq!(evidence(&r, vec![]), None, "{open}");
    }
    // It worked, and is not removed: proof, and still not clean.
    let left = reported("restore ok 1.0 s x\ncleanup failed 300.0 s NOT CLEANED UP", &[("from", "shop")]);
    assert_eq!((left.outcome, left.cleaned), (Tri::Pass, Tri::Fail));
}

#[test]
fn one_that_never_began_left_nothing_behind() {
    let r = request(&[(ReceiptState::Skipped, "not started: the kill switch")], &[]);
    assert!(!began(&r));
    let r = request(&[(ReceiptState::Unknown, "its executor ended before it could say")], &[]);
    assert!(began(&r) && cleaned(&steps(&r)) == Tri::Unknown);
}

#[test]
fn the_report_says_it_in_markdown_and_holds_no_markup_of_others() {
    let r = reported(
        "restore ok 12.0 s <b>4</b> | items\ncleanup ok 9.0 s gone",
        &[("from", "shop"), ("drill", "monthly")],
    );
    let text = report::markdown(&r);
    assert!(text.starts_with("# Recovery drill: monthly\n"), "{text}");
    assert!(text.contains("restored and working in 12") && text.contains("cleanup (not counted)"), "{text}");
    assert!(text.contains("&lt;b&gt;4&lt;/b&gt; \\| items"), "{text}");
    assert!(text.contains("monthly \\| drill"), "{text}");
}
