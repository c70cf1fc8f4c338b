//! Triage on real records: the detector finds attacker text and leaves ordinary alerts alone, and nothing an alert says
//! can lower a priority. Data under `../shared/data` was recorded by others and is not part of the project.

use std::path::PathBuf;

use serde_json::Value;
use watchfloor::model::fields::flatten;
use watchfloor::triage::detect::{self, Kind};

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
}
