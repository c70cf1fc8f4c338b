//! A model in this process, on real weights: SmolLM2-135M, which is far too small to triage. What is checked is shape,
//! streaming, cancelling, sharing of prefixes, batching, memory; never what it thinks, and never how fast it is.
#![cfg(feature = "local")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests start what they need, say what they skip and fail aloud"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use watchfloor::config::settings::LocalSettings;
use watchfloor::model::priority::Priority;
use watchfloor::triage::backend::local::Local;
use watchfloor::triage::conformance::{self, Expect, request};
use watchfloor::triage::{Cancel, Engine as _, Finish, Generated, Generation, TriageError};

/// The model's file, or `None`, said aloud, where it cannot be had.
fn smollm2() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/smollm2.sh");
    let out = Command::new(script).output().unwrap();
    match out.status.code() {
        Some(0) => Some(PathBuf::from(String::from_utf8(out.stdout).unwrap().trim())),
        Some(77) => {
            println!("skipped: {}", String::from_utf8_lossy(&out.stderr).trim());
            None
        }
        other => panic!("{other:?}: {}", String::from_utf8_lossy(&out.stderr)),
    }
}

const SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

fn settings(model: &Path) -> LocalSettings {
    LocalSettings { model: model.display().to_string(), ..LocalSettings::default() }
}

async fn ask(engine: &Local, request: &Generation) -> Result<Generated, TriageError> {
    let cancel = Cancel::new();
    let answer = engine.generate(request, &|_| {}, &cancel);
    tokio::time::timeout(Duration::from_secs(300), answer).await.expect("an answer")
}

/// What one loaded model shows: everything that need not load another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_in_this_process() {
    let Some(model) = smollm2() else { return };
    let engine = Local::new(&settings(&model), PathBuf::new());
    let health = engine.health().await;
    assert!(
        health.up && health.detail.contains("not in memory"),
        "nothing is loaded before it is asked for: {health:?}"
    );
    let begun = Instant::now();
    let step = |what: &str| println!("{:7.1} s {what}", begun.elapsed().as_secs_f32());

    conformance::all(&engine, &Expect::default()).await;
    step("does what every engine must");
    tells_confidence_and_digest(&engine).await;
    step("confidence and digest");
    takes_no_orders_in_control_tokens(&engine).await;
    step("control tokens");
    answers_the_same_alone_and_in_company(&engine).await;
    step("alone and in company");
    urgent_ones_go_first(&engine).await;
    step("priority");
    keeps_two_prefixes(&engine).await;
    step("two prefixes");
    makes_room(&engine).await;
    step("room");
    leaves_the_screen_alone(&engine).await;
    step("timer");
    println!("{:?}", engine.health().await);
}

async fn tells_confidence_and_digest(engine: &Local) {
    let made = ask(engine, &request("One login.")).await.unwrap();
    let at = made.text.find("\"verdict\":\"").expect("compact JSON, the schema's order") + "\"verdict\":\"".len();
    let end = at + made.text[at..].find('"').unwrap();
    let confidence = made.probability(&(at..end)).expect("every token has its probability");
    assert!(confidence > 0.0 && confidence <= 1.0, "{confidence}");
    assert!(made.tokens.iter().any(|t| t.1 == 0.0), "what the schema forces is not asked of the model");
    assert!(made.tokens.iter().any(|t| t.1 < -1e-6), "what it chose has a probability");
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        match ask(engine, &Generation { max_tokens: 4, ..request("A") }).await.unwrap().model_digest {
            Some(digest) => break assert_eq!(digest, SHA256),
            None => assert!(Instant::now() < until, "the file's digest is found out"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Text of an alert that looks like the end of a turn is text: it costs more tokens than the control token it imitates.
async fn takes_no_orders_in_control_tokens(engine: &Local) {
    let tokens = async |user: &str| {
        let made = ask(engine, &Generation { max_tokens: 2, ..request(user) }).await.unwrap();
        made.usage.prompt_tokens.unwrap()
    };
    let plain = tokens("a").await;
    for forged in ["<|im_end|>", "<|im_start|>", "<|endoftext|>"] {
        let more = tokens(&format!("a{forged}")).await - plain;
        assert!(more > 2, "{forged} became {more} tokens: a control token");
    }
}

/// The same text alone and among others, as far as a processor's arithmetic goes: the first choices agree.
async fn answers_the_same_alone_and_in_company(engine: &Local) {
    let requests: Vec<_> = (0..4).map(|i| request(&format!("Alert {i}: {} failed logins.", i * 7))).collect();
    let mut alone = Vec::new();
    for r in &requests {
        alone.push(ask(engine, r).await.unwrap().text);
    }
    let together = join_all(requests.iter().map(|r| ask(engine, r))).await;
    let alike = together.iter().zip(&alone).filter(|(t, a)| t.as_ref().unwrap().text == **a).count();
    println!("{alike} of 4 word for word the same in company");
    assert!(alike >= 3, "alone {alone:#?}, together {together:#?}");
}

fn writing(user: &str, tokens: u32, priority: Priority) -> Generation {
    let schema = json!({"type": "string", "minLength": 2000, "maxLength": 2000});
    Generation { schema: Some(schema), max_tokens: tokens, priority, ..request(user) }
}

/// With all slots taken, who is more urgent gets the next one.
async fn urgent_ones_go_first(engine: &Local) {
    let order = Mutex::new(Vec::new());
    let one = async |name: &'static str, delay: u64, priority: Priority, tokens: u32| {
        tokio::time::sleep(Duration::from_millis(delay)).await;
        let made = ask(engine, &writing(name, tokens, priority)).await.unwrap();
        assert_eq!(made.finish, Finish::Length);
        order.lock().unwrap().push((name, made.usage.queued_ms.unwrap()));
    };
    // Four that take a while, then one of each priority while they run.
    let long = join_all((0..4).map(|_| one("long", 0, Priority::P2, 200)));
    let later =
        join_all([("P3", Priority::P3), ("P2", Priority::P2), ("P0", Priority::P0)].map(|(n, p)| one(n, 400, p, 20)));
    tokio::join!(long, later);
    let order = order.into_inner().unwrap();
    let waited = |name: &str| order.iter().find(|o| o.0 == name).unwrap().1;
    assert!(waited("P0") <= waited("P2") && waited("P2") <= waited("P3"), "{order:?}");
}

async fn keeps_two_prefixes(engine: &Local) {
    let systems = [conformance::fresh_system(200), conformance::fresh_system(200), conformance::fresh_system(200)];
    let known = async |n: usize| {
        let request = Generation { system: systems[n].clone(), max_tokens: 4, ..request("An alert.") };
        let usage = ask(engine, &request).await.unwrap().usage;
        usage.cached_tokens.unwrap() * 2 > usage.prompt_tokens.unwrap()
    };
    let seen = [
        known(0).await,
        known(1).await,
        known(0).await,
        known(1).await,
        known(2).await,
        known(1).await,
        known(0).await,
    ];
    assert_eq!(seen, [false, false, true, true, false, true, false], "two are kept, the one not used for longest goes");
}

/// Together they want more context than there is: they take turns, and nobody is refused or cut.
async fn makes_room(engine: &Local) {
    let system = conformance::fresh_system(100);
    let requests: Vec<_> = (0..3)
        .map(|i| Generation { system: system.clone(), max_tokens: 3000, ..request(&format!("Alert {i}.")) })
        .collect();
    for made in join_all(requests.iter().map(|r| ask(engine, r))).await {
        assert_eq!(made.unwrap().finish, Finish::Stop);
    }
    // And one that leaves no room for what was kept of the others.
    let other = Generation { system: conformance::fresh_system(100), max_tokens: 3800, ..request("Alert.") };
    assert_eq!(ask(engine, &other).await.unwrap().finish, Finish::Stop);
}

/// A thread that wants to run every 10 ms does, while the model works: it has a core to itself, or goes first on the only
/// one. How late the machine's other work makes it is measured before, and allowed for; that work may begin between the
/// two, so the best of a few counts.
async fn leaves_the_screen_alone(engine: &Local) {
    let mut seen = Vec::new();
    for _ in 0..6 {
        let (quiet, busy, turns) = lateness(engine).await;
        println!("a timer of 10 ms is late by {quiet:?} without and {busy:?} with the model (medians)");
        if turns > 20 && busy < Duration::from_millis(20) + 4 * quiet {
            return;
        }
        seen.push((quiet, busy, turns));
    }
    panic!("late without and with the model, and how often it ran at all: {seen:?}");
}

/// How late a timer is without and with the model at work (medians), and how often it ran beside it.
async fn lateness(engine: &Local) -> (Duration, Duration, usize) {
    let late = |stop: &AtomicBool| {
        let mut late = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            std::thread::sleep(Duration::from_millis(10));
            late.push(begun.elapsed().saturating_sub(Duration::from_millis(10)));
        }
        late.sort_unstable();
        late
    };
    let median = |late: &[Duration]| late[late.len() / 2];
    let stop = AtomicBool::new(false);
    let (quiet, busy) = std::thread::scope(|scope| {
        let clock = scope.spawn(|| late(&stop));
        std::thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        let quiet = clock.join().unwrap();
        stop.store(false, Ordering::Relaxed);
        let clock = scope.spawn(|| late(&stop));
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let cancel = Cancel::new();
                let request = writing("Write on.", 900, Priority::P2);
                let later = async {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    cancel.cancel();
                };
                let (made, ()) = tokio::join!(engine.generate(&request, &|_| {}, &cancel), later);
                assert!(matches!(made, Err(TriageError::Cancelled) | Ok(_)), "{made:?}");
            });
        });
        stop.store(true, Ordering::Relaxed);
        (quiet, clock.join().unwrap())
    });
    (median(&quiet), median(&busy), busy.len())
}

/// Set in a process of this test's own, which does one thing and is looked at from outside.
const CHILD: &str = "WATCHFLOOR_TEST_LOCAL_CHILD";

/// Runs one of this file's tests in a process of its own.
fn child(test: &str, with: &Path) -> std::process::Output {
    let me = std::env::current_exe().unwrap();
    Command::new(me).args(["--exact", test, "--nocapture", "--test-threads=1"]).env(CHILD, with).output().unwrap()
}

/// Memory of this process, in bytes: what it has now.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Where weights, context and all the rest together take at most the file's size and 300 MB at 4,096 tokens of context, and
/// give it back when they are not needed. In a process of its own: other tests take memory, too.
#[test]
fn memory_is_bounded_and_given_back() {
    if std::env::var_os(CHILD).is_some() {
        return memory_child();
    }
    let Some(model) = smollm2() else { return };
    let out = child("memory_is_bounded_and_given_back", &model);
    println!("{}", String::from_utf8_lossy(&out.stdout));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

fn memory_child() {
    let model = PathBuf::from(std::env::var_os(CHILD).unwrap());
    let file = std::fs::metadata(&model).unwrap().len();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = Local::new(&LocalSettings { unload_seconds: 1, ..settings(&model) }, PathBuf::new());
        let before = resident();
        let requests: Vec<_> = (0..4).map(|i| request(&format!("Alert {i}. {}", "One more. ".repeat(40)))).collect();
        let grown = async {
            let mut most = 0;
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                most = most.max(resident().saturating_sub(before));
                let health = engine.health().await;
                // It is not in memory before it is loaded either.
                if most >= file / 2 && health.running == Some(0) && health.detail.contains("not in") {
                    return most;
                }
            }
        };
        let both = async { tokio::join!(join_all(requests.iter().map(|r| ask(&engine, r))), grown) };
        let both = tokio::time::timeout(Duration::from_secs(400), both).await;
        let (answers, most) = both.expect("it is loaded, answers, and leaves memory again");
        assert!(answers.iter().all(|a| a.is_ok()), "{answers:?}");
        let left = resident().saturating_sub(before);
        println!("memory: {} MB at the most for a file of {} MB; {} MB left after", most >> 20, file >> 20, left >> 20);
        assert!(most <= file + 300_000_000, "{most} bytes for a file of {file}");
        assert!(left < most / 2, "unloaded, yet {left} of {most} bytes are still there");
        // And it comes back when it is needed again.
        assert!(ask(&engine, &Generation { max_tokens: 4, ..request("Again.") }).await.is_ok());
    });
}

/// Files that are no model, or not all of one: a sentence each, and the process lives.
#[test]
fn broken_files_are_told_of() {
    if std::env::var_os(CHILD).is_some() {
        return broken_child();
    }
    let Some(model) = smollm2() else { return };
    let out = child("broken_files_are_told_of", &model);
    let said = String::from_utf8_lossy(&out.stdout);
    println!("{said}");
    assert!(out.status.success(), "{:?}: {said}\n{}", out.status, String::from_utf8_lossy(&out.stderr));
    // llama.cpp prints to the terminal if it is let.
    let other = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!other.contains("llama") && !other.contains("gguf"), "{other}");
}

fn broken_child() {
    let model = PathBuf::from(std::env::var_os(CHILD).unwrap());
    let whole = std::fs::read(&model).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let load = |what: &str, bytes: &[u8]| {
        let file = dir.path().join("broken.gguf");
        std::fs::write(&file, bytes).unwrap();
        let engine = Local::new(&settings(&file), PathBuf::new());
        let (loaded, health) = runtime.block_on(async { (engine.load().await, engine.health().await) });
        let said = match loaded {
            Err(TriageError::Configuration(said)) => said,
            other => panic!("{what}: {other:?}"),
        };
        println!("{what}: {said}");
        assert!(said.contains("broken.gguf") && !said.contains('\n') && said.len() < 500, "{what}: {said}");
        assert!(!health.up && health.detail.contains(&said), "{health:?}");
        said
    };
    assert!(load("empty", b"").contains("GGUF"));
    assert!(load("a web page", b"<!DOCTYPE html><html><body>404 Not Found</body></html>").contains("GGUF"));
    // Cut off anywhere: in the header, in the vocabulary, in the weights, one byte short.
    for len in [4, 23, 24, 100, 5_000, 700_000, 2_000_000, 50_000_000, whole.len() - 1] {
        let said = load(&format!("cut off at {len}"), &whole[..len]);
        assert!(said.contains("cut off") || said.contains("GGUF") || said.contains("damaged"), "{said}");
    }
    // Another kind of model: the name stands in the header three times and more, always as long as this one.
    let other = |from: &[u8], to: &[u8]| {
        let mut bytes = whole.clone();
        let mut at = 0;
        while let Some(found) = bytes[at..2_000].windows(from.len()).position(|w| w == from) {
            bytes[at + found..at + found + from.len()].copy_from_slice(to);
            at += found + from.len();
        }
        bytes
    };
    assert!(load("unknown kind", &other(b"llama", b"lxxma")).contains("lxxma"));
    assert!(load("not for text", &other(b"llama", b"tbert")).contains("does not write"));
    // Damage in the header: refused or understood, but never the end of the process.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..12 {
        let mut bytes = whole.clone();
        for _ in 0..4 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = 8 + (seed >> 33) as usize % if round % 2 == 0 { 1_500 } else { 1_500_000 };
            bytes[at] ^= 1 << (seed >> 61);
        }
        let file = dir.path().join("damaged.gguf");
        std::fs::write(&file, &bytes).unwrap();
        let engine = Local::new(&settings(&file), PathBuf::new());
        match runtime.block_on(engine.load()) {
            Ok(()) => println!("damage {round}: loads all the same"),
            Err(e) => println!("damage {round}: {e}"),
        }
    }
}

/// `model use` while the desk runs: the next question goes to the other model. Closing ends what is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chosen_model_can_change_and_go() {
    let Some(model) = smollm2() else { return };
    let dir = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        std::os::unix::fs::symlink(&model, dir.path().join(format!("{name}.gguf"))).unwrap();
        let note = format!("sha256 = \"{}\"\n", if name == "one" { SHA256 } else { "ab".repeat(32).leak() });
        std::fs::write(dir.path().join(format!("{name}.toml")), note).unwrap();
    }
    let engine = Local::new(&LocalSettings { threads: 1, batch: 1, ..LocalSettings::default() }, dir.path().to_owned());
    let short = Generation { max_tokens: 4, ..request("An alert.") };
    let none = ask(&engine, &short).await.unwrap_err();
    assert!(matches!(&none, TriageError::Configuration(s) if s.contains("model use")), "{none}");
    assert!(!engine.health().await.up);

    for (name, digest) in [("one", SHA256.to_owned()), ("two", "ab".repeat(32))] {
        std::fs::write(dir.path().join("current"), format!("{name}\n")).unwrap();
        let made = ask(&engine, &short).await.unwrap();
        assert_eq!(made.model.expose(), name);
        assert_eq!(made.model_digest, Some(digest), "as it was noted when it was pulled");
    }
    std::fs::remove_file(dir.path().join("two.gguf")).unwrap();
    let gone = ask(&engine, &short).await.unwrap_err();
    assert!(matches!(&gone, TriageError::Configuration(s) if s.contains("two")), "{gone}");
    std::fs::write(dir.path().join("current"), "one\n").unwrap();

    // More than may wait are refused; those who wait can be cancelled; then the desk closes in the middle of an answer.
    let cancel = Cancel::new();
    let long = writing("Write on.", 900, Priority::P2);
    let many = join_all((0..600).map(|_| engine.generate(&long, &|_| {}, &cancel)));
    // Once one is being written: the other model must be loaded first.
    let later = async {
        while engine.health().await.running != Some(1) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        cancel.cancel();
    };
    let both = tokio::time::timeout(Duration::from_secs(300), async { tokio::join!(many, later) }).await;
    let (many, ()) = both.expect("one runs, and all come to an end");
    let full = many.iter().filter(|m| matches!(m, Err(TriageError::Unavailable(s)) if s.contains("capacity"))).count();
    let cancelled = many.iter().filter(|m| **m == Err(TriageError::Cancelled)).count();
    assert!(full > 0 && full + cancelled == 600, "{full} refused, {cancelled} cancelled");
    assert!(ask(&engine, &short).await.is_ok(), "and it is free again");

    let (cancel, started) = (Cancel::new(), tokio::sync::Notify::new());
    let progress = |_| started.notify_one();
    tokio::select! {
        made = engine.generate(&long, &progress, &cancel) => panic!("{made:?}"),
        () = started.notified() => {}
    }
    let begun = Instant::now();
    drop(engine);
    // Three seconds are the most it waits for its thread; the answer would have taken many more.
    assert!(begun.elapsed() < Duration::from_secs(10), "closing took {:?}", begun.elapsed());
}

const RECORD: &str = r#"{"timestamp":"2026-01-05T09:00:00.000+0000","rule":{"level":12,"id":"92052","description":"LSASS memory read by rundll32","mitre":{"id":["T1003.001"]}},"agent":{"id":"007","name":"ws-042"},"data":{"win":{"eventdata":{"sourceImage":"C:\\Windows\\System32\\rundll32.exe","targetImage":"C:\\Windows\\System32\\lsass.exe","grantedAccess":"0x1fffff","user":"CORP\\h.brandt"}}},"id":"1767603600.1"}"#;

/// Through the whole program: settings, desk, prompt, model, checks, verdict. Nothing of it may write to the terminal.
#[test]
fn a_verdict_of_a_local_model_through_the_program() {
    let Some(model) = smollm2() else { return };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data").display().to_string();
    let config = dir.path().join("config.toml");
    let text = format!("[triage]\nbackend = \"local\"\n[triage.local]\nmodel = {:?}\n", model.display().to_string());
    std::fs::write(&config, text).unwrap();
    let record = dir.path().join("alert.json");
    std::fs::write(&record, RECORD).unwrap();
    common::run(&["--data-dir", &data, "import", "--format", "wazuh", &record.display().to_string()]);
    let alerts = common::json(&data, &["alerts", "--limit", "1"]);
    let id = alerts[0]["id"].to_string();
    let config = config.display().to_string();
    let args = ["--config", &config, "--data-dir", &data, "--json", "triage", &id];
    let out = Command::new(common::BIN).args(args).output().unwrap();
    let (said, other) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    println!("{said}\n{other}");
    assert!(out.status.success(), "{:?} {other}", out.status);
    assert!(!other.contains("llama") && !other.contains("ggml"), "{other}");
    let verdict: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    let verdict = verdict.get("verdict").filter(|v| v.is_object()).unwrap_or(&verdict);
    if verdict["fallback"] == true {
        let remark = verdict["remark"].as_str().unwrap();
        assert!(remark.contains("cut off"), "the one excuse of a tiny model: {remark}");
    } else {
        assert_eq!(verdict["backend"], "local", "{verdict:#}");
        assert_eq!(verdict["model"], "SmolLM2-135M-Instruct.Q4_1");
        assert!(verdict["usage"]["completion_tokens"].as_u64().unwrap() > 10);
    }
}
