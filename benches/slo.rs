//! How long 500 objectives take to measure on a real Prometheus, beside a bare client that sends the very same questions
//! with as many at a time and only reads the answers (at most 1.2 of it):
//!
//! - the first reading, with thirty days of history;
//! - the reading a minute later, which asks only for what is new.
//!
//! `cargo bench --bench slo`. `WATCHFLOOR_BENCH_SLOS` (500) changes the number. Skipped where Prometheus is not installed.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, starts a server and stops at the first fault"
)]

mod common;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use watchfloor::config::settings::{OperateSettings, PrometheusSettings};
use watchfloor::model::slo::Slo;
use watchfloor::operate::slo::source::{Question, Reader};
use watchfloor::operate::slo::spec::Folder;
use watchfloor::store::sqlite::SqliteStore;

/// Services that the objectives share: what is measured is asking and judging, not how much a disk holds.
const SERVICES: usize = 50;
const ROUNDS: usize = 3;

fn main() {
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let n: usize = common::env("WATCHFLOOR_BENCH_SLOS", 500);
    let dir = tempfile::tempdir().unwrap();
    let end = Timestamp::now().as_second() / 60 * 60 + 1_800;
    std::fs::write(dir.path().join("in.om"), metrics(end)).unwrap();
    let Some(url) = start(dir.path()) else { return };
    let server = Server(dir.path());
    let slos = objectives(n);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(measure(&url, &slos));
    drop(server);
}

/// Thirty-one days every five minutes, and the last seven hours every minute.
fn metrics(end: i64) -> String {
    let mut text = String::from("# TYPE http_requests counter\n");
    let (days, hours) = (end - 31 * 86_400, end - 7 * 3_600);
    for service in 0..SERVICES {
        for (code, pace) in [(200, 10.0 + service as f64), (503, 0.01)] {
            let times = (days..hours).step_by(300).chain((hours..=end).step_by(60));
            for at in times {
                let n = ((at - days) as f64 * pace).floor();
                writeln!(text, "http_requests_total{{service=\"s{service}\",code=\"{code}\"}} {n} {at}").unwrap();
            }
        }
    }
    text + "# EOF\n"
}

/// Each asks questions of its own.
fn objectives(n: usize) -> Vec<Slo> {
    let one = |i: usize| {
        let service = format!("service=\"s{}\",other!=\"o{i}\"", i % SERVICES);
        format!(
            "[[slo]]\nservice = \"s{i}\"\nname = \"answers\"\ntarget = \"99.5%\"\nwindow = \"30d\"\nalerting = \"sloth\"\n\
             bad = 'http_requests_total{{{service},code=~\"5..\"}}'\ntotal = 'http_requests_total{{{service}}}'\n"
        )
    };
    Folder::parse(vec![("bench.toml".into(), (0..n).map(one).collect())]).unwrap()
}

struct Server<'a>(&'a Path);

impl Drop for Server<'_> {
    fn drop(&mut self) {
        script("stop", self.0);
    }
}

fn script(verb: &str, dir: &Path) -> std::process::Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/prometheus.sh");
    Command::new("bash").arg(path).arg(verb).arg(dir).output().unwrap()
}

fn start(dir: &Path) -> Option<String> {
    let out = script("start", dir);
    if out.status.code() == Some(77) {
        println!("skipped: {}", String::from_utf8_lossy(&out.stderr).trim());
        return None;
    }
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let env = std::fs::read_to_string(dir.join("env")).unwrap();
    env.lines().find_map(|l| l.strip_prefix("URL=")).map(str::to_owned)
}

async fn measure(url: &str, slos: &[Slo]) {
    let mut settings = OperateSettings::default();
    let parallel = settings.parallel as usize;
    let server = PrometheusSettings { url: url.into(), ..PrometheusSettings::default() };
    settings.prometheus.insert("main".into(), server);
    let store = Arc::new(SqliteStore::open_temporary().unwrap());
    let fresh = || Reader::new(&settings, Arc::new(|_| Err("no secrets".into())), store.clone());
    let client = reqwest::Client::new();
    let (mut first, mut first_bare, mut next, mut next_bare) = (vec![], vec![], vec![], vec![]);
    let now = Timestamp::now();
    let soon = now + SignedDuration::from_mins(1);
    let all = fresh().questions(slos, now);
    println!("{} objectives, {} questions, {parallel} at a time", slos.len(), all.len());
    // The server's own caches are warm for both.
    bare(&client, url, parallel, &all).await;
    for _ in 0..ROUNDS {
        let reader = fresh();
        first.push(ours(&reader, slos, now).await);
        first_bare.push(bare(&client, url, parallel, &all).await);
        let more = reader.questions(slos, soon);
        next.push(ours(&reader, slos, soon).await);
        next_bare.push(bare(&client, url, parallel, &more).await);
    }
    for (what, ours, bare) in [("first reading", first, first_bare), ("a minute later", next, next_bare)] {
        let (ours, bare) = (common::median(ours), common::median(bare));
        println!("{what}");
        println!("  bare client {:>9.2} s", bare.as_secs_f64());
        println!("  watchfloor  {:>9.2} s", ours.as_secs_f64());
        println!("  ratio       {:>9.2} (wanted: at most 1.2)", ours.as_secs_f64() / bare.as_secs_f64());
    }
}

async fn ours(reader: &Reader, slos: &[Slo], now: Timestamp) -> Duration {
    let start = Instant::now();
    let judged = reader.refresh(slos, now).await;
    let took = start.elapsed();
    assert!(judged.len() == slos.len() && judged.iter().all(|(_, s)| s.left.is_some()), "{:?}", judged.first());
    took
}

async fn bare(client: &reqwest::Client, url: &str, parallel: usize, questions: &[Question]) -> Duration {
    let start = Instant::now();
    let ask = |q: &Question| {
        let body = q.form();
        let request = client.post(format!("{url}/api/v1/query_range")).body(body);
        async move {
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            let answer = request.send().await.unwrap().error_for_status().unwrap();
            answer.bytes().await.unwrap().len()
        }
    };
    let sizes: Vec<usize> =
        futures_util::stream::iter(questions.iter().map(ask)).buffer_unordered(parallel).collect().await;
    assert_eq!(sizes.len(), questions.len());
    start.elapsed()
}
