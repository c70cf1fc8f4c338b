//! Objectives against a real Prometheus with thirty days of two planted burns: what the command says agrees with sums
//! over what was written and with the server's own `increase`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "tests speak, and start a server and the program"
)]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[path = "slo/coarse.rs"]
mod coarse;
#[path = "slo/gate.rs"]
mod gate;
#[path = "slo/own.rs"]
mod own;
#[path = "slo/pane.rs"]
mod pane;
#[path = "slo/promtool.rs"]
mod promtool;

const MINUTE: i64 = 60;
const DAYS: i64 = 30;
/// Seconds from now to the last planted event: longer than a test takes, and shorter than the burn that runs.
const AHEAD: i64 = 1_800;

struct Server {
    dir: tempfile::TempDir,
    url: String,
}

fn script(verb: &str, dir: &Path) -> std::process::Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/prometheus.sh");
    Command::new("bash").arg(path).arg(verb).arg(dir).output().unwrap()
}

impl Server {
    fn start(open_metrics: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("in.om"), open_metrics).unwrap();
        let out = script("start", dir.path());
        if out.status.code() == Some(77) {
            println!("skipped: {}", String::from_utf8_lossy(&out.stderr).trim());
            return None;
        }
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let env = std::fs::read_to_string(dir.path().join("env")).unwrap();
        let url = env.lines().find_map(|l| l.strip_prefix("URL=")).unwrap().to_owned();
        Some(Self { dir, url })
    }

    fn ask(&self, query: &str, at: i64) -> f64 {
        let out = Command::new("curl")
            .args(["-sf", "--data-urlencode"])
            .arg(format!("query={query}"))
            .args(["-d", &format!("time={at}"), &format!("{}/api/v1/query", self.url)])
            .output()
            .unwrap();
        let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
        answer["data"]["result"][0]["value"][1].as_str().unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        script("stop", self.dir.path());
    }
}

/// Events of a minute, by the minute's number: good ones and bad ones. Two burns: one of 2 h half-way, and one that
/// runs.
fn events(i: i64, minutes: i64) -> (f64, f64) {
    let good = 600.0 + (i % 97) as f64;
    let half_way = (minutes / 2..minutes / 2 + 120).contains(&i);
    let running = i > minutes - 90;
    (good, if half_way || running { 150.0 + (i % 7) as f64 } else { f64::from(u8::from(i % 50 == 0)) })
}

struct Planted {
    /// Seconds, good and bad counted up to here, with resets in.
    minutes: Vec<(i64, f64, f64)>,
    text: String,
}

/// Both counters start anew every eleven days.
fn plant(end: i64, days: i64) -> Planted {
    let minutes = days * 1440;
    let (mut ok, mut failed) = (0.0, 0.0);
    let (mut all_ok, mut all_failed) = (0.0, 0.0);
    let mut rows = Vec::new();
    let (mut good_text, mut bad_text) = (String::new(), String::new());
    for i in 0..=minutes {
        let at = end - (minutes - i) * MINUTE;
        let (good, bad) = if i == 0 { (0.0, 0.0) } else { events(i, minutes) };
        if i % (11 * 1440) == 0 {
            (ok, failed) = (0.0, 0.0);
        }
        ok += good;
        failed += bad;
        all_ok += good;
        all_failed += bad;
        writeln!(good_text, "http_requests_total{{code=\"200\"}} {ok} {at}").unwrap();
        writeln!(bad_text, "http_requests_total{{code=\"503\"}} {failed} {at}").unwrap();
        rows.push((at, all_ok, all_failed));
    }
    Planted { minutes: rows, text: format!("# TYPE http_requests counter\n{good_text}{bad_text}# EOF\n") }
}

impl Planted {
    /// Good and bad from one moment to another, by subtraction.
    fn between(&self, from: i64, until: i64) -> (f64, f64) {
        let at = |t: i64| self.minutes.iter().rev().find(|m| m.0 <= t).unwrap_or(&self.minutes[0]);
        (at(until).1 - at(from).1, at(until).2 - at(from).2)
    }
}

const OBJECTIVE: &str = r#"version: prometheus/v1
service: api
slos:
  - name: availability
    objective: 99.5
    description: Answers
    sli:
      events:
        error_query: sum(rate(http_requests_total{code=~"5.."}[{{.window}}]))
        total_query: sum(rate(http_requests_total[{{.window}}]))
    alerting:
      name: Availability
      page_alert: {}
      ticket_alert: {}
"#;

fn desk(prometheus: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("slos")).unwrap();
    std::fs::write(dir.path().join("slos/api.yml"), OBJECTIVE).unwrap();
    std::fs::write(dir.path().join("config.toml"), format!("[operate.prometheus.main]\n{prometheus}\n")).unwrap();
    dir
}

fn run(desk: &Path, args: &[&str]) -> (i32, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_watchfloor"))
        .arg("--config")
        .arg(desk.join("config.toml"))
        .arg("--data-dir")
        .arg(desk.join("data"))
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code().unwrap(), said)
}

fn status(desk: &Path) -> Value {
    let (code, said) = run(desk, &["slo", "status", "--json"]);
    assert_eq!(code, 0, "{said}");
    let line: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    line["status"].clone()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

fn this_minute() -> i64 {
    jiff::Timestamp::now().as_second().div_euclid(MINUTE) * MINUTE
}

fn wait_until(second: i64) {
    while jiff::Timestamp::now().as_second() < second {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

/// What a status says against sums over what was written. Growth over a reset is what came after it.
fn compare(status: &Value, planted: &Planted) {
    let at = status["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    let end = planted.minutes.last().unwrap().0;
    assert!(at <= end, "the machine is too slow: {} s", at - end);
    let number = |name: &str| status[name].as_f64().unwrap_or_else(|| panic!("{name}: {status}"));
    let (good, bad) = planted.between(at - DAYS * 86_400, at);
    let spent = bad / (good + bad) / (1.0 - 0.995);
    assert!(close(number("total"), good + bad), "{} {}", number("total"), good + bad);
    assert!(close(number("sli"), good / (good + bad)));
    assert!(close(number("spent"), spent), "{} {spent}", number("spent"));
    assert!(close(number("left"), 1.0 - spent));
    assert!(close(number("coverage"), 1.0), "{}", number("coverage"));
    for burn in status["burn"].as_array().unwrap() {
        let (good, bad) = planted.between(at - burn["window_seconds"].as_i64().unwrap(), at);
        let rate = bad / (good + bad) / (1.0 - 0.995);
        assert!(close(burn["rate"].as_f64().unwrap(), rate), "{burn} {rate}");
    }
}

#[test]
fn thirty_days_with_two_burns_agree_with_sums_and_with_the_server() {
    // It starts before the window and ends after it, so that the last whole minute is one that was written.
    let planted = plant(this_minute() + AHEAD, DAYS + 1);
    let Some(server) = Server::start(&planted.text) else { return };
    let desk = desk(&format!("url = \"{}\"", server.url));
    let status = status(desk.path());
    let at = status["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    let share = |range: &str| {
        let bad = server.ask(&format!("sum(increase(http_requests_total{{code=\"503\"}}[{range}]))"), at);
        bad / server.ask(&format!("sum(increase(http_requests_total[{range}]))"), at) / (1.0 - 0.995)
    };
    for (range, seconds) in [("5m", 300), ("30m", 1800), ("1h", 3600), ("6h", 21_600), ("1d", 86_400), ("3d", 259_200)]
    {
        let burn = status["burn"].as_array().unwrap().iter().find(|b| b["window_seconds"] == seconds).unwrap();
        let rate = burn["rate"].as_f64().unwrap();
        let (good, bad) = planted.between(at - seconds, at);
        assert!(close(rate, share(range)), "{range}: {rate}, the server {}", share(range));
        assert!(close(rate, bad / (good + bad) / (1.0 - 0.995)), "{range}: {rate}");
    }
    coarse::agrees(&server.url);
    pane::agrees(desk.path(), &server.url, &planted);
    let spent = status["spent"].as_f64().unwrap();
    let (good, bad) = planted.between(at - DAYS * 86_400, at);
    assert!(close(spent, bad / (good + bad) / (1.0 - 0.995)), "{spent}");
    assert!(close(spent, share("30d")), "{spent}, the server {}", share("30d"));
    let above = |t: &i64| {
        [300, 3600].into_iter().all(|w| {
            let (good, bad) = planted.between(t - w, *t);
            bad / (good + bad) / (1.0 - 0.995) > 14.4
        })
    };
    let since = (0..1440).map(|i| at - i * MINUTE).take_while(above).last();
    assert_eq!(status["alerts"][0]["state"], "fail", "{}", status["alerts"]);
    let said: jiff::Timestamp = status["alerts"][0]["since"].as_str().unwrap().parse().unwrap();
    assert_eq!(Some(said.as_second()), since);

    let (code, said) = run(desk.path(), &["slo", "gate", "--class", "normal"]);
    println!("{said}");
    assert_eq!(code, i32::from(spent >= 0.75), "{said}");
    drop(server);
    let (code, said) = run(desk.path(), &["slo", "gate", "--class", "emergency"]);
    assert_eq!(code, 3, "a server that is gone: {said}");
    assert!(said.contains("unknown"), "{said}");
}

#[test]
fn a_saved_answer_agrees_with_sums_to_the_last_digits() {
    let planted = plant(this_minute() + AHEAD, DAYS + 1);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &planted.text).unwrap();
    let desk = desk(&format!("file = {:?}", file.path()));
    compare(&status(desk.path()), &planted);
}
