//! The pool engine against what it is made for: a real llama.cpp server with a tiny model, and a stand-in that replays what
//! a real vLLM said. Checked are shape, streaming, cancelling, prefixes, slots and faults; never what a model thinks.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests start the server they talk to, say what they skip and fail aloud"
)]

#[path = "common/llama.rs"]
mod llama;
#[path = "common/vllm.rs"]
mod vllm;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use watchfloor::config::settings::OpenaiSettings;
use watchfloor::desk::scenario::Scenario;
use watchfloor::intake::format;
use watchfloor::model::alert::{Alert, AlertFields};
use watchfloor::model::fields::Field;
use watchfloor::model::priority::Priority;
use watchfloor::model::verdict::VerdictKind;
use watchfloor::text::Untrusted;
use watchfloor::triage::backend::openai::Openai;
use watchfloor::triage::conformance::{self, Expect};
use watchfloor::triage::reader::Reader;
use watchfloor::triage::{
    Backend as _, Backends, Cancel, Context, Engine as _, Finish, Generated, Generation, Offer, Question, SecretOf,
    TriageError,
};
use zeroize::Zeroizing;

use self::llama::{KEY, Llama};
use self::vllm::{Act, Vllm};

fn settings(url: &str) -> OpenaiSettings {
    OpenaiSettings {
        url: url.into(),
        model: vllm::MODEL.into(),
        api_key: Some("env:KEY".into()),
        max_tokens: 300,
        concurrency: 4,
        // A busy machine may take its time: what is not about limits must not run into them.
        first_token_seconds: 120,
        idle_seconds: 120,
        ..OpenaiSettings::default()
    }
}

fn engine(settings: &OpenaiSettings, key: &'static str) -> Openai {
    let secrets: SecretOf = Arc::new(move |_| Ok(Zeroizing::new(key.to_owned())));
    Openai::new(settings, &secrets).unwrap()
}

fn offer() -> Offer {
    Offer { actions: vec!["isolate-host".into()], ..Offer::default() }
}

/// The alert of the demo about a process that reads LSASS.
fn lsass() -> Question {
    let start: Timestamp = "2026-03-02T10:00:00Z".parse().unwrap();
    let mut reader = format::Reader::auto();
    for (_, record) in Scenario::bundled().unwrap().starting(start, 1.0).due(0.0, f64::INFINITY) {
        let (id, alerts) = reader.read(&record).unwrap();
        if let Some(f) = alerts.into_iter().find(|f| f.title.expose().starts_with("LSASS")) {
            let mut fields = format::leaves(&id, &record);
            fields.truncate(12);
            let alert = alert(f, &id);
            return Question { alert, fields, context: Context::default(), request_id: "req-lsass".into(), by: None };
        }
    }
    panic!("no such alert")
}

fn alert(fields: AlertFields, format: &str) -> Alert {
    let shell = serde_json::json!({
        "id": 1, "title": "", "severity": "unknown", "format": format, "source": "test", "raw_sha256": "",
        "raw_len": 0, "identity": "", "group": "", "count": 1, "last_seen": "2026-01-05T09:00:00Z", "status": "new",
        "priority": "P1", "detector_priority": "P1", "asset_weight": 100, "t_ingest": "2026-01-05T09:00:00Z", "rev": 1,
    });
    Alert { fields, ..serde_json::from_value(shell).unwrap() }
}

/// Everything at a real llama.cpp server, one start for all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_llama_server() {
    let Some(server) = Llama::start(4, 2048) else { return };
    let patient = OpenaiSettings {
        model: "smollm2".into(),
        first_token_seconds: 300,
        idle_seconds: 300,
        ..settings(&server.url)
    };
    let pool = Arc::new(engine(&patient, KEY));
    let begun = Instant::now();
    while pool.load().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(240), "{:?}", pool.health().await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(pool.prompt_limit(), Some(2048 - 300), "of one slot, as the server says it");

    conformance::all(pool.as_ref(), &Expect::default()).await;
    let health = pool.health().await;
    println!("{health:?}");
    assert!(health.up && health.detail == "llama-server" && health.running.is_some() && health.waiting.is_some());
    assert!(health.prefix_hits.is_some_and(|h| h > 0.0 && h < 1.0) && health.ttft_p95_ms.is_some(), "{health:?}");

    slot_is_free_soon_after_cancelling(&pool, &server).await;
    a_verdict_streams(&pool).await;
    a_long_record_is_shortened(&pool).await;
    what_a_person_must_set_right(&patient, &server).await;

    drop(server);
    let desk = Backends::new(Some(Arc::new(Reader::new(pool, offer()))), offer());
    let gone = desk.judge(&lsass(), &|_| {}, &Cancel::new()).await.unwrap().verdict;
    assert!(gone.fallback && gone.remark.unwrap().expose().contains("cannot connect"));
}

/// How many slots of the server compute, by its own page.
async fn computing(server: &Llama) -> usize {
    let root = server.url.trim_end_matches("/v1");
    let page = reqwest::Client::new().get(format!("{root}/slots")).bearer_auth(KEY).send().await.unwrap();
    let slots: Value = page.json().await.unwrap();
    slots.as_array().unwrap().iter().filter(|s| s["is_processing"] == true).count()
}

async fn slot_is_free_soon_after_cancelling(pool: &Openai, server: &Llama) {
    let mut took = Vec::new();
    // On a busy machine the server's own loop may be slow to see it: the best of a few counts.
    for _ in 0..5 {
        let (cancel, stopped) = (Cancel::new(), Mutex::new(None));
        let first = |_: Untrusted| {
            stopped.lock().unwrap().get_or_insert_with(Instant::now);
            cancel.cancel();
        };
        let request =
            Generation { schema: None, max_tokens: 300, ..conformance::request("Count from one to two hundred.") };
        let got = pool.generate(&request, &first, &cancel).await;
        assert_eq!(got.unwrap_err(), TriageError::Cancelled);
        let begun = Instant::now();
        while computing(server).await > 0 {
            assert!(begun.elapsed() < Duration::from_secs(120), "the server goes on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        took.push(stopped.lock().unwrap().unwrap().elapsed());
        if took.last().is_some_and(|t| *t < Duration::from_secs(1)) {
            return;
        }
    }
    panic!("the server's slot is free after {took:?}");
}

/// An answer streams in pieces, keeps to the schema and may be cut off: the model knows no end.
async fn a_verdict_streams(pool: &Arc<Openai>) {
    let desk = Backends::new(Some(Arc::new(Reader::new(pool.clone(), offer()))), offer());
    let pieces = Mutex::new(Vec::new());
    let progress = |t: Untrusted| pieces.lock().unwrap().push(t.into_exposed());
    let v = desk.judge(&lsass(), &progress, &Cancel::new()).await.unwrap().verdict;
    let streamed: String = pieces.lock().unwrap().concat();
    println!("{} pieces: {streamed}\n{v:#?}", pieces.lock().unwrap().len());
    assert!(pieces.lock().unwrap().len() > 10 && streamed.trim_start().starts_with('{'), "{streamed}");
    if v.fallback {
        assert!(v.remark.as_ref().unwrap().expose().contains("cut off"), "the one excuse of a tiny model: {v:#?}");
    } else {
        assert!(v.backend == "openai" && !v.model.is_empty() && v.took_ms > 0);
        assert!(v.confidence.is_none_or(|c| (0.0..=1.0).contains(&c)));
        assert!(v.kind == VerdictKind::NeedsInvestigation || v.founded() > 0, "{v:#?}");
    }
}

/// A record longer than the model's context is shortened until it fits.
async fn a_long_record_is_shortened(pool: &Arc<Openai>) {
    let mut long = lsass();
    let piece = (0..60).map(|i| format!("{i:x}q")).collect::<String>();
    long.fields
        .extend((0..200).map(|i| Field { path: format!("field{i}").into(), value: format!("{i}{piece}").into() }));
    match Reader::new(pool.clone(), offer()).judge(&long, &|_| {}, &Cancel::new()).await {
        Ok(_) | Err(TriageError::Invalid(_)) => {}
        Err(e) => panic!("{e}"),
    }
}

async fn what_a_person_must_set_right(patient: &OpenaiSettings, server: &Llama) {
    let ask = async |settings: &OpenaiSettings, key| {
        let request = conformance::request("Anything.");
        engine(settings, key).generate(&request, &|_| {}, &Cancel::new()).await.unwrap_err()
    };
    let key = ask(patient, "wrong").await;
    assert!(matches!(&key, TriageError::Configuration(s) if s.contains("refuses our key")), "{key}");
    let path = ask(&OpenaiSettings { url: format!("{}/nope", server.url), ..patient.clone() }, KEY).await;
    assert!(matches!(&path, TriageError::Configuration(s) if s.contains("404")), "{path}");
}

/// The suite against the stand-in, which answers in the shape of the recorded stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_every_engine_must_do_in_the_shape_of_vllm() {
    let server = Vllm::start_with(Duration::from_millis(2), Duration::from_millis(50), Some(KEY)).await;
    let pool =
        engine(&OpenaiSettings { priority: true, cache_salt: Some("desk".into()), ..settings(&server.url) }, KEY);
    conformance::all(&pool, &Expect::default()).await;
    assert_eq!(pool.prompt_limit(), Some(4096 - 300));
    // What was cancelled last may not have been noticed yet.
    idle(&server).await;
    let health = pool.health().await;
    println!("{health:?}");
    assert!(health.up && health.detail == "vLLM" && health.running == Some(0) && health.kv_cache.is_some());
    assert!(health.prefix_hits.is_some_and(|h| h > 0.5 && h < 1.0), "5120 of 7710 recorded: {health:?}");
    assert!(health.ttft_p95_ms.is_some_and(|ms| (2_500..5_000).contains(&ms)), "of the recorded histogram: {health:?}");
    let seen = server.seen();
    assert!(seen.iter().all(|r| r["priority"] == 2 && r["cache_salt"] == "desk" && r["guided_json"].is_null()));
    assert!(seen.iter().all(|r| r["head"].as_str().unwrap().contains("x-request-id: conformance-")));
    let wrong =
        engine(&settings(&server.url), "wrong").generate(&conformance::request("a"), &|_| {}, &Cancel::new()).await;
    assert!(
        matches!(&wrong, Err(TriageError::Configuration(s)) if s.contains("refuses our key (401, Unauthorized)")),
        "{wrong:?}"
    );
}

/// Waits until a stand-in does nothing any more.
async fn idle(server: &Vllm) {
    let begun = Instant::now();
    while server.running() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(120), "the server goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// One request to a stand-in that does as it is told, what was shown of it, and how often it was asked.
async fn told(acts: Vec<Act>) -> (Result<Generated, TriageError>, String, usize) {
    told_within(120, acts).await
}

/// The same with other limits, in seconds.
async fn told_within(limit: u64, acts: Vec<Act>) -> (Result<Generated, TriageError>, String, usize) {
    let server = Vllm::start().await;
    let limits = OpenaiSettings { first_token_seconds: limit, idle_seconds: limit, ..settings(&server.url) };
    let pool = engine(&limits, KEY);
    pool.load().await.unwrap();
    if let [act] = acts.as_slice() {
        server.always(act.clone());
    }
    server.next(acts);
    let shown = Mutex::new(String::new());
    let progress = |t: Untrusted| shown.lock().unwrap().push_str(t.expose());
    let (request, cancel) = (conformance::request("x"), Cancel::new());
    let asked = pool.generate(&request, &progress, &cancel);
    let got = tokio::time::timeout(Duration::from_secs(300), asked).await.expect("it ends");
    (got, shown.into_inner().unwrap(), server.seen().len())
}

#[tokio::test]
async fn recorded_answers_are_read_as_they_are() {
    let (made, shown, asked) = told(vec![Act::Replay("judge")]).await;
    let made = made.unwrap();
    assert_eq!((made.text.as_str(), shown.as_str(), asked), (vllm::text_of("judge").as_str(), made.text.as_str(), 1));
    assert_eq!((made.finish, made.model.expose(), made.server.as_deref()), (Finish::Stop, "tiny", Some("127.0.0.1")));
    assert_eq!(
        (made.usage.prompt_tokens, made.usage.cached_tokens, made.usage.completion_tokens),
        (Some(891), Some(640), Some(128))
    );
    assert!(made.usage.queued_ms.is_some() && made.usage.served_ms >= made.usage.first_token_ms);
    let spelled: String = made.tokens.iter().map(|t| t.0.as_str()).collect();
    assert_eq!(spelled, made.text, "the token that ends the answer is none of its text");
    // The whole way: what a real vLLM wrote is read against our schema.
    let answer: Value = serde_json::from_str(&made.text).unwrap();
    assert!(answer["verdict"].is_string() && answer["claims"].is_array());

    for (name, finish) in [("length", Finish::Length), ("cached", Finish::Stop), ("salted", Finish::Stop)] {
        let (made, shown, _) = told(vec![Act::Paced(name, Duration::from_millis(1))]).await;
        let made = made.unwrap();
        assert_eq!((&made.finish, made.text.as_str()), (&finish, shown.as_str()), "{name}");
        assert_eq!(made.text, vllm::text_of(name));
    }
    for name in ["usage-in-every-chunk", "top-logprobs", "priority-ignored", "control-character"] {
        assert!(told(vec![Act::Replay(name)]).await.0.is_ok(), "{name}");
    }
    let (made, shown, _) = told(vec![Act::Replay("whole")]).await;
    assert_eq!(made.unwrap().text, shown, "a server that does not stream");
}

/// What each recorded refusal becomes, and how often the server is asked.
#[tokio::test]
async fn recorded_refusals_become_what_they_mean() {
    type Is = fn(&TriageError) -> bool;
    let configuration: Is = |e| matches!(e, TriageError::Configuration(_));
    let unavailable: Is = |e| matches!(e, TriageError::Unavailable(_));
    let too_long: Is = |e| matches!(e, TriageError::TooLong(_));
    for (name, is, words, asked) in [
        ("error-model", configuration, "The model `nope` does not exist. Valid aliases: tiny.", 1),
        ("error-address", configuration, "404, Not Found", 1),
        ("error-no-key", configuration, "refuses our key", 1),
        ("error-too-long", too_long, "maximum context length is 4096 tokens", 1),
        ("error-max-tokens", configuration, "cannot be greater than max_model_len", 1),
        ("error-schema", configuration, "Grammar error: Invalid type: nonsense", 1),
        ("error-schema-streamed", configuration, "Grammar error: Invalid type: nonsense", 1),
        ("error-schema-key-streamed", configuration, "Unimplemented keys", 1),
        ("error-json", configuration, "400", 1),
        ("error-no-messages", configuration, "400", 1),
        ("error-cache-salt", configuration, "must be a non-empty string", 1),
        ("busy", unavailable, "The engine is currently busy", 3),
        ("error-engine-dead", unavailable, "500", 1),
        ("health-dead", unavailable, "503", 3),
    ] {
        let (got, shown, n) = told(vec![Act::Replay(name)]).await;
        let e = got.expect_err(name);
        assert!(is(&e) && e.to_string().contains(words), "{name}: {e:?}");
        assert_eq!((shown.as_str(), n), ("", asked), "{name}");
    }
    // Busy, and then not: nobody notices.
    let (got, _, n) = told(vec![Act::Replay("busy"), Act::Replay("busy"), Act::Replay("judge")]).await;
    assert!(got.is_ok() && n == 3, "{got:?}");
    // Too many likely tokens asked for: the refusal names log-probabilities, so it goes without them.
    let (got, _, n) = told(vec![Act::Replay("error-logprobs"), Act::Replay("cached")]).await;
    assert!(got.is_ok() && n == 2, "{got:?}");
}

/// Servers that break off, never end, send too much or too slowly.
#[tokio::test]
async fn no_answer_however_broken_hangs_or_fills_memory() {
    let begun = Instant::now();
    let event = |content: &str| {
        let chunk = serde_json::json!({"choices": [{"delta": {"content": content}}]});
        format!("data: {chunk}\n\n").into_bytes()
    };
    let head = |length: usize, kind: &str, status: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n").into_bytes()
    };
    let big = |kind: &str, status: &str| [head(20 << 20, kind, status), vec![b'x'; 20 << 20]].concat();
    let dead = "the engine's process was killed";
    for (name, act, words, asked) in [
        ("cut in the middle", Act::Cut("judge", 40), "the stream broke off", 1),
        ("cut before any text", Act::Cut("judge", 1), "the stream broke off", 3),
        ("ends without an end", Act::Then("judge", 40, b"\n".to_vec(), 1), "the stream ended before the answer did", 1),
        (dead, Act::Replay("engine-died"), "500", 1),
        ("half JSON", Act::Then("judge", 4, b"data: {\"choices\":[{\"del\n\n".to_vec(), 1), "is no JSON", 1),
        ("endless text", Act::Then("judge", 2, event(&"x".repeat(900)), usize::MAX), "longer than 65536 bytes", 1),
        ("endless nothing", Act::Then("judge", 2, event("").repeat(200), usize::MAX), "longer than 16777216 bytes", 1),
        ("endless event", Act::Then("judge", 2, vec![b'y'; 64 << 10], usize::MAX), "longer than 1048576 bytes", 1),
        ("20 MB of JSON", Act::Bytes(big("application/json", "200 OK")), "is no JSON", 1),
        ("20 MB of page", Act::Bytes(big("text/html", "200 OK")), "instead of an event stream", 1),
        ("20 MB of error", Act::Bytes(big("text/html", "500 Internal Server Error")), "status 500", 1),
    ] {
        is_fault(name, words, asked, told(vec![act]).await);
    }
    // Long enough for what is sent at once to arrive on a busy machine; an event that drips takes longer. At the same
    // time, since all they do is wait.
    let drip = |at_once| Act::Drip("judge", at_once, Duration::from_millis(20));
    let (silence, first, later) = tokio::join!(
        told_within(3, vec![Act::Silence]),
        told_within(3, vec![drip(0)]),
        told_within(3, vec![drip(2_000)])
    );
    is_fault("silence", "no answer within 3 s", 3, silence);
    is_fault("a drip", "no first token within 3 s", 3, first);
    is_fault("a drip later", "no further token within 3 s", 1, later);
    println!("{:?}", begun.elapsed());
    let peak = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", peak.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default());
}

/// It came to nothing, for this reason, after so many requests.
fn is_fault(name: &str, words: &str, asked: usize, (got, _, n): (Result<Generated, TriageError>, String, usize)) {
    let e = got.expect_err(name);
    assert!(matches!(e, TriageError::Unavailable(_) | TriageError::Invalid(_)), "{name}: {e:?}");
    assert!(e.to_string().contains(words), "{name}: {e}");
    assert_eq!(n, asked, "{name}: {e}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_of_them_shares_work_and_outlives_one() {
    let (a, b) = (Vllm::start().await, Vllm::start().await);
    let mut pool = settings("");
    for (name, server) in [("a", &a), ("b", &b)] {
        let one = watchfloor::config::settings::ServerSettings { url: server.url.clone(), ..Default::default() };
        pool.servers.insert(name.to_owned(), one);
    }
    let pool = Arc::new(engine(&pool, KEY));
    assert_eq!(pool.slots(), 8);
    let requests: Vec<Generation> = (0..40)
        .map(|i| Generation { priority: Priority::ALL[i % 4], ..conformance::request(&format!("Alert {i}")) })
        .collect();
    let cancel = Cancel::new();
    let all = futures_util::future::join_all(requests.iter().map(|r| pool.generate(r, &|_| {}, &cancel))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let (from_a, from_b) = (a.seen().len(), b.seen().len());
    // The first eight are shared evenly; who is slower by chance gets fewer of the others.
    assert!(from_a + from_b == 40 && from_a.min(from_b) >= 4, "{from_a} and {from_b}");
    // Fewer than slots at a time each: more was never running. The urgent waited least.
    let queued = |p: Priority| -> u64 {
        let of = all.iter().zip(&requests).filter(|(_, r)| r.priority == p);
        of.map(|(g, _)| g.as_ref().unwrap().usage.queued_ms.unwrap()).sum()
    };
    assert!(queued(Priority::P0) < queued(Priority::P3), "{} {}", queued(Priority::P0), queued(Priority::P3));

    // One dies in the middle of its work: what it had not begun to answer goes to the other.
    a.go().await;
    let all = futures_util::future::join_all(requests.iter().map(|r| pool.generate(r, &|_| {}, &cancel))).await;
    assert!(all.iter().all(|g| g.as_ref().is_ok_and(|g| g.server.as_deref() == Some("b"))), "{all:?}");
    let health = pool.health().await;
    assert!(health.up && health.servers.iter().any(|s| s.name == "a" && !s.up), "{health:?}");
}

#[tokio::test]
async fn what_is_cancelled_stops_at_the_server() {
    let server = Vllm::start().await;
    let pool = engine(&settings(&server.url), KEY);
    let (cancel, pieces) = (Cancel::new(), Mutex::new(0));
    let progress = |_: Untrusted| {
        *pieces.lock().unwrap() += 1;
        if *pieces.lock().unwrap() == 3 {
            cancel.cancel();
        }
    };
    server.always(Act::Paced("length", Duration::from_millis(500)));
    let got = pool.generate(&conformance::request("x"), &progress, &cancel).await;
    assert_eq!(got.unwrap_err(), TriageError::Cancelled);
    idle(&server).await;
    assert_eq!(server.hung_up(), 1, "it stopped before its end");
}

/// `watchfloor bench triage` with settings from the environment: exit status, standard output, standard error.
fn bench(url: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_watchfloor"))
        .args(["--data-dir", &dir.path().join("desk").display().to_string(), "bench", "triage"])
        .args(args)
        .env("WATCHFLOOR_TRIAGE__BACKEND", "openai")
        .env("WATCHFLOOR_TRIAGE__OPENAI__URL", url)
        .env("WATCHFLOOR_TRIAGE__OPENAI__MODEL", vllm::MODEL)
        .env("XDG_CONFIG_HOME", dir.path())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bench_triage_says_what_a_server_does() {
    let server = Vllm::start().await;
    let url = server.url.clone();
    let run = |url: String, args: &'static [&'static str]| tokio::task::spawn_blocking(move || bench(&url, args));
    let (code, out, err) = run(url.clone(), &["--requests", "12", "--concurrency", "6", "--json"]).await.unwrap();
    assert_eq!(code, Some(0), "{out} {err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&report["answered"], &report["at_once"], &report["backend"]),
        (&12.into(), &6.into(), &"openai".into())
    );
    assert!(report["per_second"].as_f64().unwrap() > 0.0 && report["first_token_p95"].is_u64(), "{report}");
    assert!(report["prefix_hits"].as_f64().is_some_and(|h| h > 0.0), "one prefix for all: {report}");
    let seen = server.seen();
    let prompts: std::collections::BTreeSet<String> = seen.iter().map(|r| r["messages"].to_string()).collect();
    assert!(seen.len() == 12 && prompts.len() == 12, "different alerts");
    assert!(seen.iter().all(|r| r["messages"][0] == seen[0]["messages"][0]), "the fixed part is the same");

    server.always(Act::Replay("length"));
    let (code, out, _) = run(url, &["--requests", "3"]).await.unwrap();
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("no verdict       3 x no valid verdict"), "{out}");
    let (code, out, err) = run("http://127.0.0.1:1/v1".into(), &["--requests", "3"]).await.unwrap();
    assert!(code == Some(3) && out.is_empty() && err.contains("cannot connect"), "{code:?} {out} {err}");
    let (code, _, err) = run("http://127.0.0.1:1/v1".into(), &["--concurrency", "0"]).await.unwrap();
    assert!(code == Some(2) && err.contains("1..=10000"), "{err}");
}
