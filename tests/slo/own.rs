//! The desk's own events as objectives, from alerts that came in through the program.

use super::run;

const OBJECTIVES: &str = r#"
[[slo]]
service = "desk"
name = "acknowledge"
target = "90%"
window = "7d"
sli = "time_to_acknowledge"
threshold = "15m"

[[slo]]
service = "desk"
name = "detect"
target = "90%"
window = "7d"
sli = "time_to_detect"
threshold = "2h"

[[slo]]
service = "desk"
name = "false-positives"
target = "85%"
window = "7d"
sli = "false_positives"

[[slo]]
service = "desk"
name = "triage"
target = "90%"
window = "7d"
sli = "triage_time"
threshold = "5m"

[[slo]]
service = "desk"
name = "contain"
target = "90%"
window = "7d"
sli = "time_to_respond"
threshold = "4h"

[[slo]]
service = "desk"
name = "analysis"
target = "95%"
window = "7d"
sli = "analysis_latency"
threshold = "30s"

[[slo]]
service = "desk"
name = "inference"
target = "95%"
window = "7d"
sli = "inference_latency"
threshold = "3s"
"#;

#[test]
fn the_desk_measures_itself() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("slos")).unwrap();
    std::fs::write(dir.path().join("slos/desk.toml"), OBJECTIVES).unwrap();
    let uid = String::from_utf8(std::process::Command::new("id").arg("-u").output().unwrap().stdout).unwrap();
    let roster = format!("[[people]]\nid = \"bob\"\nname = \"Bob\"\nuids = [{}]\nroles = [\"lead\"]\n", uid.trim());
    std::fs::write(dir.path().join("roster.toml"), roster).unwrap();
    std::fs::write(dir.path().join("config.toml"), "[desk]\nroster = \"roster.toml\"\n").unwrap();
    let status = |name: &str| {
        let (code, said) = run(dir.path(), &["slo", "status", &format!("desk/{name}"), "--json"]);
        assert_eq!(code, 0, "{said}");
        let line: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
        line["status"].clone()
    };
    let all = ["acknowledge", "detect", "false-positives", "triage", "contain", "analysis", "inference"];
    for name in all {
        let s = status(name);
        assert_eq!(s["state"], "unknown", "{name}: nothing happened yet: {s}");
        assert!(s["why"].as_str().unwrap().contains("no such event"), "{s}");
    }
    let (code, said) = run(dir.path(), &["slo", "gate", "--class", "emergency"]);
    assert!(code == 1 && said.contains("unknown"), "{said}");

    let now = jiff::Timestamp::now();
    let lines: String = (0..4)
        .map(|i| {
            let at = (now - jiff::SignedDuration::from_secs(60 + i)).strftime("%Y-%m-%dT%H:%M:%S.000+0000").to_string();
            format!(
                "{{\"timestamp\":\"{at}\",\"rule\":{{\"level\":12,\"description\":\"a\",\"id\":\"{i}\"}},\"agent\":{{\"id\":\"00{i}\",\
                 \"name\":\"h{i}\"}},\"manager\":{{\"name\":\"m\"}},\"id\":\"1.{i}\",\"location\":\"x\"}}\n"
            )
        })
        .collect();
    std::fs::write(dir.path().join("a.ndjson"), lines).unwrap();
    let file = dir.path().join("a.ndjson").display().to_string();
    let done = |args: &[&str]| {
        let (code, said) = run(dir.path(), args);
        assert_eq!(code, 0, "{args:?}: {said}");
        said
    };
    done(&["import", &file]);
    let said = done(&["alerts", "--json"]);
    let ids: Vec<String> = said
        .lines()
        .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok())
        .map(|v| v["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 4, "{said}");
    done(&["alert", "claim", &ids[0], &ids[1]]);
    done(&["alert", "close", &ids[0], "--disposition", "FP", "--reason", "a test"]);
    done(&["alert", "close", &ids[1], "--disposition", "TP", "--reason", "real"]);
    // Whole minutes are judged: what happens in this one counts with the next.
    let next = (jiff::Timestamp::now().as_second() / 60 + 1) * 60;
    super::wait_until(next);
    let counted = |name: &str| {
        let s = status(name);
        (s["good"].as_f64().unwrap(), s["total"].as_f64().unwrap(), s["state"].as_str().unwrap().to_owned())
    };
    assert_eq!(counted("acknowledge"), (2.0, 2.0, "healthy".into()), "the other two still have time");
    assert_eq!(counted("triage"), (2.0, 2.0, "healthy".into()));
    assert_eq!(counted("false-positives"), (1.0, 2.0, "emergency".into()));
    assert_eq!(counted("contain").2, "unknown", "nobody gave an opinion, so no clock started");
    assert_eq!(counted("inference").2, "unknown");
}
