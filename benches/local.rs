//! A model in this process beside llama.cpp's own server: the same file, as many threads, the same priority, in turns.
//!
//! - decoding, tokens a second, beside the server's (at least 0.9 of its pace);
//! - the time to the first token with a known prefix, over that with a new one (at most 0.25);
//! - held to a schema, beside free;
//! - four answers together, beside one.
//!
//! `WATCHFLOOR_BENCH_ROUNDS` sets the rounds (5), `WATCHFLOOR_BENCH_MODEL` another model than the tests' own. Without a
//! built server (`tests/services/llama-server.sh`) that part is left out, and said so.
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

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use watchfloor::config::settings::{LocalSettings, OpenaiSettings};
use watchfloor::triage::backend::local::Local;
use watchfloor::triage::backend::openai::Openai;
use watchfloor::triage::conformance::{fresh_system, request};
use watchfloor::triage::{Cancel, Engine, Generated, Generation, Offer, schema};

/// Tokens of an answer that is timed.
const TOKENS: u32 = 128;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn script(name: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services").join(name);
    let out = Command::new(path).arg("--check").output().unwrap();
    out.status.success().then(|| String::from_utf8(out.stdout).unwrap().trim().to_owned())
}

/// As ours is: one thread less than there are cores, behind everything else, four slots of one cache.
fn server(binary: &str, model: &Path, threads: u32) -> (Server, Openai) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("nice")
        .args(["-n", "5", binary, "-m"])
        .arg(model)
        .args(["--host", "127.0.0.1", "--port", &port.to_string(), "-c", "4096", "-np", "4", "--kv-unified"])
        .args(["-t", &threads.to_string(), "-tb", &threads.to_string(), "-ngl", "0"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let settings = OpenaiSettings {
        url: format!("http://127.0.0.1:{port}/v1"),
        model: "m".into(),
        first_token_seconds: 300,
        idle_seconds: 300,
        ..OpenaiSettings::default()
    };
    let none: watchfloor::triage::SecretOf = Arc::new(|_| Err("no secret here".into()));
    (Server(child), Openai::new(&settings, &none).unwrap())
}

async fn ask(engine: &dyn Engine, request: &Generation) -> Generated {
    engine.generate(request, &|_| {}, &Cancel::new()).await.unwrap()
}

/// Tokens a second after the first.
fn pace(made: &Generated) -> f64 {
    let usage = made.usage;
    let ms = usage.served_ms.unwrap() - usage.first_token_ms.unwrap();
    (usage.completion_tokens.unwrap() - 1) as f64 * 1e3 / ms.max(1) as f64
}

fn free(user: &str) -> Generation {
    Generation { schema: None, max_tokens: TOKENS, ..request(user) }
}

/// Processor seconds a process has used, all its threads together: on a busy machine a steadier measure than a clock.
fn processor(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |s| s.1);
    let ticks = after.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn verdict(ratio: f64, ok: bool, wanted: &str) {
    println!("  ratio {ratio:.2} (wanted: {wanted}) {}", if ok { "ok" } else { "SHORT OF IT" });
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let rounds: usize = common::env("WATCHFLOOR_BENCH_ROUNDS", 5);
    let given = std::env::var_os("WATCHFLOOR_BENCH_MODEL").map(PathBuf::from);
    let Some(model) = given.or_else(|| script("smollm2.sh").map(PathBuf::from)) else {
        println!("skipped: no model; tests/services/smollm2.sh gets one");
        return;
    };
    let settings = LocalSettings { model: model.display().to_string(), ..LocalSettings::default() };
    let local = Local::new(&settings, PathBuf::new());
    local.load().await.unwrap();
    println!("{}: {}", model.display(), local.health().await.detail);

    beside_the_server(&local, &model, rounds).await;
    prefixes(&local, rounds).await;
    constrained(&local, rounds).await;
    together(&local, rounds).await;
}

async fn beside_the_server(local: &Local, model: &Path, rounds: usize) {
    let Some(line) = script("llama-server.sh") else {
        println!("decoding: skipped, no llama-server; tests/services/llama-server.sh builds one (about half an hour)");
        return;
    };
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    let binary = line.split(' ').next().unwrap().to_owned();
    let (running, theirs) = server(&binary, model, cores.saturating_sub(1).max(1));
    let until = Instant::now() + Duration::from_secs(120);
    while !theirs.health().await.up {
        assert!(Instant::now() < until, "the server does not start");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (mut ours, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut our_first, mut their_first, mut work) = (Vec::new(), Vec::new(), Vec::new());
    let (me, them) = (std::process::id(), running.0.id());
    for round in 0..=rounds {
        let request = free(&format!("Write a long story about a ship, part {round}."));
        let before = (processor(me), processor(them));
        let (a, b) = if round % 2 == 0 {
            let a = ask(local, &request).await;
            (a, ask(&theirs, &request).await)
        } else {
            let b = ask(&theirs, &request).await;
            (ask(local, &request).await, b)
        };
        // The first round warms both.
        if round > 0 {
            ratios.push(pace(&a) / pace(&b));
            ours.push(pace(&a));
            bare.push(pace(&b));
            let each = |pid, before, made: &Generated| {
                (processor(pid) - before) / made.usage.completion_tokens.unwrap() as f64
            };
            work.push(each(them, before.1, &b) / each(me, before.0, &a));
        }
        let system = fresh_system(500);
        let cold = Generation { system, max_tokens: 2, ..request };
        let (a, b) = (ask(local, &cold).await, ask(&theirs, &cold).await);
        if round > 0 {
            our_first.push(a.usage.prompt_tokens.unwrap() as f64 * 1e3 / a.usage.first_token_ms.unwrap() as f64);
            their_first.push(b.usage.prompt_tokens.unwrap() as f64 * 1e3 / b.usage.first_token_ms.unwrap() as f64);
        }
    }
    println!("decoding: ours {:.1} tokens/s, llama-server {:.1} (medians of {rounds})", median(ours), median(bare));
    let ratio = median(ratios);
    verdict(ratio, ratio >= 0.9, "at least 0.9");
    println!("  by processor time instead of the clock: ratio {:.2}", median(work));
    let (a, b) = (median(our_first), median(their_first));
    println!("reading a new prompt: ours {a:.0} tokens/s, llama-server {b:.0}, ratio {:.2}", a / b);
}

async fn prefixes(local: &Local, rounds: usize) {
    let (mut cold, mut warm, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let system = fresh_system(700);
        let first = async |user: &str| {
            let request = Generation { system: system.clone(), max_tokens: 4, ..request(user) };
            ask(local, &request).await.usage.first_token_ms.unwrap() as f64
        };
        let (a, b) = (first("Alert one: a login.").await, first("Alert two: a scan of our ports.").await);
        ratios.push(b / a);
        cold.push(a);
        warm.push(b);
    }
    println!("first token: new prefix {:.0} ms, known prefix {:.0} ms", median(cold), median(warm));
    let ratio = median(ratios);
    verdict(ratio, ratio <= 0.25, "at most 0.25");
}

async fn constrained(local: &Local, rounds: usize) {
    let offer = Offer { actions: vec!["isolate-host".into(), "disable-user".into()], ..Offer::default() };
    let schema = schema::schema(&offer);
    let (mut held, mut loose) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let user = format!("Alert {round}: LSASS memory read by rundll32.");
        let request = Generation { schema: Some(schema.clone()), max_tokens: TOKENS, ..request(&user) };
        held.push(pace(&ask(local, &request).await));
        loose.push(pace(&ask(local, &free(&user)).await));
    }
    let (held, loose) = (median(held), median(loose));
    println!("held to the schema {held:.1} tokens/s, free {loose:.1}, ratio {:.2}", held / loose);
}

async fn together(local: &Local, rounds: usize) {
    let (mut four, mut one) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let requests: Vec<_> = (0..4).map(|i| free(&format!("Write a long story, number {round}.{i}."))).collect();
        let total = async |requests: &[Generation]| {
            let begun = Instant::now();
            let made = join_all(requests.iter().map(|r| ask(local, r))).await;
            let tokens: u64 = made.iter().map(|m| m.usage.completion_tokens.unwrap()).sum();
            tokens as f64 / begun.elapsed().as_secs_f64()
        };
        four.push(total(&requests).await);
        one.push(total(&requests[..1]).await);
    }
    let (four, one) = (median(four), median(one));
    println!(
        "four answers together {four:.1} tokens/s, one alone {one:.1}, ratio {:.2} (prompts included)",
        four / one
    );
}
