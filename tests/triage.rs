//! Triage on real records: the detector finds attacker text and leaves ordinary alerts alone. What attacker text can do to
//! a desk stands in `injection.rs`. Data under `../shared/data` was recorded by others and is not part of the project.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests start the server they talk to, say what they skip and fail aloud"
)]

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::Value;
use watchfloor::desk::scenario::Scenario;
use watchfloor::intake::format;
use watchfloor::model::alert::{Alert, AlertFields};
use watchfloor::model::fields::flatten;
use watchfloor::model::priority::Priority;
use watchfloor::model::verdict::VerdictKind;
use watchfloor::triage::backend::rules::Rules;
use watchfloor::triage::check::check;
use watchfloor::triage::detect::{self, Kind};
use watchfloor::triage::{Context, Neighbour, Offer, Question};

fn data(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("WATCHFLOOR_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no {}", path.display());
    None
}

fn lines(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
}

/// Records of which the detector says something, and how many there were.
fn flagged(name: &str, pick: impl Fn(&Value) -> Value) -> Option<(usize, usize, Vec<String>)> {
    let path = data(name)?;
    let files: Vec<PathBuf> = if path.is_dir() {
        std::fs::read_dir(path)
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "ndjson" || e == "json"))
            .collect()
    } else {
        vec![path]
    };
    let (mut n, mut hits, mut shown) = (0, 0, Vec::new());
    for record in files.iter().flat_map(|f| lines(f)) {
        n += 1;
        let found = detect::scan(&flatten(&pick(&record)));
        if let Some(f) = detect::worst(&found) {
            hits += 1;
            if shown.len() < 12 {
                shown.push(format!("{:?} {:?} in {:?}", f.kind, f.excerpt, f.path));
            }
        }
    }
    Some((hits, n, shown))
}

#[test]
fn ordinary_records_are_left_alone() {
    for (name, allowed) in [
        ("ait-llm-verdict/wazuh_labelled.ndjson", 0.001),
        ("otrf-windows/events", 0.001),
        ("suricata-eve", 0.001),
        ("secrl-alerts/alerts.ndjson", 0.01),
    ] {
        let pick = |r: &Value| r.get("alert").filter(|_| name.starts_with("ait")).unwrap_or(r).clone();
        let Some((hits, n, shown)) = flagged(name, pick) else { continue };
        println!("{name}: {hits} of {n} {shown:#?}");
        assert!(n > 0);
        assert!(hits as f64 <= allowed * n as f64, "{name}: {hits} of {n} flagged: {shown:#?}");
    }
}

#[test]
fn injections_written_for_logs_are_found() {
    let Some(path) = data("log-prompt-injection/injection_strings.ndjson") else { return };
    let all = lines(&path);
    let missed: Vec<&str> =
        all.iter().filter_map(|r| r["text"].as_str()).filter(|t| detect::kinds(t).is_empty()).collect();
    println!("missed {} of {}: {missed:#?}", missed.len(), all.len());
    assert!(missed.len() <= 1, "{missed:#?}");
    let steer =
        all.iter().filter_map(|r| r["text"].as_str()).filter(|t| detect::kinds(t).iter().any(|k| *k >= Kind::Steer));
    assert!(steer.count() >= 9);
}

#[test]
fn general_injections_are_mostly_found() {
    let Some(path) = data("prompt-injection/cyberseceval_prompt_injection.ndjson") else { return };
    let all = lines(&path);
    let by_kind = |variant: &str| {
        let of: Vec<_> =
            all.iter().filter(|r| r["injection_variant"].as_str().is_some_and(|v| v.contains(variant))).collect();
        let missed: Vec<_> =
            of.iter().filter_map(|r| r["user_input"].as_str()).filter(|t| detect::kinds(t).is_empty()).collect();
        (
            of.len(),
            missed.len(),
            missed.into_iter().map(|m| m.chars().take(160).collect::<String>()).collect::<Vec<_>>(),
        )
    };
    let (n, missed, which) = by_kind("ignore_previous_instructions");
    println!("ignore_previous_instructions: missed {missed} of {n} {which:#?}");
    let total = all.iter().filter_map(|r| r["user_input"].as_str()).filter(|t| detect::kinds(t).is_empty()).count();
    println!("all: missed {total} of {}", all.len());
    assert!(missed * 3 <= n, "{which:#?}");
    // Most of the rest asks for passwords or about omelettes; an alert that does is no attack on its reader.
    assert!(total * 10 <= all.len() * 7, "missed {total} of {}", all.len());
}

fn alert(fields: AlertFields, format: &str, priority: Priority) -> Alert {
    let shell = serde_json::json!({
        "id": 1, "title": "", "severity": "unknown", "format": format, "source": "test", "raw_sha256": "",
        "raw_len": 0, "identity": "", "group": "", "count": 1, "last_seen": "2026-01-05T09:00:00Z", "status": "new",
        "priority": priority, "detector_priority": priority, "asset_weight": 100, "t_ingest": "2026-01-05T09:00:00Z", "rev": 1,
    });
    Alert { fields, ..serde_json::from_value(shell).unwrap() }
}

/// Every alert of the demo as a question, with what came before it on the same host, user or address.
fn demo_questions() -> Vec<(bool, Question)> {
    let start: Timestamp = "2026-03-02T10:00:00Z".parse().unwrap();
    let scenario = Scenario::bundled().unwrap().starting(start, 1.0);
    let intrusion: Vec<f64> = scenario.steps().map(|(at, _)| at).collect();
    let mut reader = format::Reader::auto();
    let mut before: Vec<(f64, AlertFields)> = Vec::new();
    let mut out = Vec::new();
    for (at, record) in scenario.due(0.0, f64::INFINITY) {
        let (id, alerts) = reader.read(&record).unwrap();
        for f in alerts {
            let same = |a: &AlertFields| {
                (f.host.is_some() && a.host == f.host)
                    || (f.user.is_some() && a.user == f.user)
                    || (f.src_ip.is_some() && a.src_ip == f.src_ip)
            };
            let near = before.iter().filter(|(_, a)| same(a)).map(|(t, a)| Neighbour {
                id: watchfloor::model::ids::AlertId(0),
                title: a.title.clone(),
                seconds: (t - at) as i64,
                shares: vec!["host"],
                severity: a.severity,
                techniques: a.techniques.clone(),
                disposition: None,
                verdict: None,
            });
            let context = Context {
                neighbours: near.collect(),
                rule_seen: before.iter().filter(|(_, a)| a.title == f.title).count() as u64,
                all_seen: before.len() as u64,
                ..Context::default()
            };
            let bad = intrusion.contains(&at);
            before.push((at, f.clone()));
            let priority = Priority::from_severity(f.severity);
            let q = Question {
                alert: alert(f, &id, priority),
                fields: format::leaves(&id, &record),
                context,
                request_id: "r".into(),
                by: None,
            };
            out.push((bad, q));
        }
    }
    out
}

#[test]
fn rules_tell_the_intrusion_of_the_demo_from_its_noise() {
    let now = Timestamp::UNIX_EPOCH;
    let (mut found, mut bad_n, mut false_alarms, mut noise_n) = (0, 0, Vec::new(), 0);
    for (bad, q) in demo_questions() {
        let v = check(Rules::default().opinion(&q, now), &q, &Offer::default());
        let title = q.alert.fields.title.expose();
        assert!(v.claims.iter().all(|c| c.founded), "{title}: {:#?}", v.claims);
        assert!(!v.claims.is_empty(), "{title}: no claim; {:#?}", q.fields);
        let positive = v.kind == VerdictKind::TruePositive;
        if bad {
            bad_n += 1;
            found += usize::from(positive);
            println!("{:?} {:?} {title}: {}", v.kind, v.advised_priority, v.remark.as_ref().unwrap().expose());
            assert!(!matches!(v.kind, VerdictKind::FalsePositive | VerdictKind::BenignTruePositive), "{title}");
        } else {
            noise_n += 1;
            if positive {
                false_alarms.push(format!("{title}: {}", v.remark.as_ref().unwrap().expose()));
            }
        }
    }
    println!(
        "intrusion: {found} of {bad_n} true positive; noise: {} of {noise_n} {false_alarms:#?}",
        false_alarms.len()
    );
    assert!(found * 2 >= bad_n, "{found} of {bad_n}");
    assert!(false_alarms.len() * 50 <= noise_n, "{false_alarms:#?}");
}

/// Single alerts without a history: little can be concluded from one, but no attack may be waved through.
#[test]
fn no_labelled_attack_is_called_harmless() {
    let Some(path) = data("ait-llm-verdict/wazuh_labelled.ndjson") else { return };
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    let mut reader = format::Reader::auto();
    for record in lines(&path) {
        let raw = serde_json::to_vec(&record["alert"]).unwrap();
        let (id, alerts) = reader.read(&raw).unwrap();
        for f in alerts {
            let priority = Priority::from_severity(f.severity);
            let q = Question {
                alert: alert(f, &id, priority),
                fields: format::leaves(&id, &raw),
                context: Context::default(),
                request_id: "r".into(),
                by: None,
            };
            let v = check(Rules::default().opinion(&q, Timestamp::UNIX_EPOCH), &q, &Offer::default());
            assert!(!v.claims.is_empty() && v.claims.iter().all(|c| c.founded), "{v:#?}");
            assert!(matches!(v.kind, VerdictKind::TruePositive | VerdictKind::NeedsInvestigation), "{v:#?}");
            *counts.entry(format!("{} {}", record["label"].as_str().unwrap(), v.kind.word())).or_default() += 1;
        }
    }
    println!("{counts:?}");
    assert!(!counts.is_empty());
}

#[test]
fn text_that_speaks_to_the_reader_is_found_in_the_demo_and_only_there() {
    let hits: Vec<String> = demo_questions()
        .into_iter()
        .filter(|(_, q)| !detect::scan(&q.fields).is_empty())
        .map(|(_, q)| q.alert.fields.title.into_exposed())
        .collect();
    assert!((4..=6).contains(&hits.len()), "{hits:#?}");
}
