//! Pulling the plug: whatever dies in the middle of a bulk triage, no alert is lost and none is triaged twice.
//!
//! The desk is the real program (`watchfloor serve`), killed as a power cut would. The model server is a stub of this
//! test, since it has to die and come back on one port in the middle of its answers.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test starts and kills the program, and stops at the first surprise"
)]

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tempfile::TempDir;
use watchfloor::config::{Env, Overrides, load};
use watchfloor::desk::Cancel;
use watchfloor::desk::audit::AuditFilter;
use watchfloor::model::ids::AlertId;

const BIN: &str = env!("CARGO_BIN_EXE_watchfloor");
/// No step takes longer, on a machine that builds other things meanwhile.
const PATIENCE: Duration = Duration::from_secs(150);

// --- the model server ----------------------------------------------------------------------------

/// Answers like vLLM on one port, until it is cut off.
struct Server {
    port: u16,
    up: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    /// Answers under way.
    answering: Arc<AtomicUsize>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Server {
    fn start(pace: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server =
            Self { port, up: Arc::default(), asked: Arc::default(), answering: Arc::default(), open: Arc::default() };
        server.listen(listener, pace);
        server
    }

    fn listen(&self, listener: TcpListener, pace: Duration) {
        listener.set_nonblocking(true).unwrap();
        self.up.store(true, Ordering::SeqCst);
        let (up, open) = (Arc::clone(&self.up), Arc::clone(&self.open));
        let (asked, answering) = (Arc::clone(&self.asked), Arc::clone(&self.answering));
        std::thread::spawn(move || {
            while up.load(Ordering::SeqCst) {
                let Ok((stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(2));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                open.lock().unwrap().push(stream.try_clone().unwrap());
                let (asked, answering) = (Arc::clone(&asked), Arc::clone(&answering));
                std::thread::spawn(move || drop(answer(stream, &asked, &answering, pace)));
            }
        });
    }

    /// The same in the middle of an answer.
    fn cut_mid_answer(&self) {
        let answering = || self.answering.load(Ordering::SeqCst);
        wait("an answer under way", || answering() > 0, String::new);
        self.cut();
    }

    /// No listener any more, and every connection breaks where it is.
    fn cut(&self) {
        self.up.store(false, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn back(&self, pace: Duration) {
        let until = Instant::now() + PATIENCE;
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", self.port)) {
                Ok(l) => break l,
                Err(e) => assert!(Instant::now() < until, "port {}: {e}", self.port),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        self.listen(listener, pace);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cut();
    }
}

const ANSWER: &str = r#"{"claims":[{"field":"rule.id","quote":"100900","text":"the rule is a test"}],"techniques":[],"verdict":"benign_true_positive","priority":"keep","questions":[],"actions":[],"playbook":"none"}"#;

const ASKED: &str = "Is that the scanner?";
const REPLY: &str = r#"{"answer":"It may be: nothing else is known.","claims":[{"field":"rule.id","quote":"100900","text":"the rule is a test"}]}"#;

/// A host whose alerts the server fails on.
const POISON: &str = "host-13";

/// One request to a connection.
fn answer(mut stream: TcpStream, asked: &AtomicUsize, answering: &AtomicUsize, pace: Duration) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let whole = |stream: &mut TcpStream, status: &str, kind: &str, body: &str| {
        let n = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {n}\r\nConnection: close\r\n\r\n{body}"
        )
    };
    if first.starts_with("GET /v1/models") {
        let list =
            r#"{"object":"list","data":[{"id":"stub","object":"model","owned_by":"vllm","max_model_len":32768}]}"#;
        return whole(&mut stream, "200 OK", "application/json", list);
    }
    if first.starts_with("GET /health") {
        return whole(&mut stream, "200 OK", "text/plain", "");
    }
    if !first.starts_with("POST /v1/chat/completions") {
        return whole(&mut stream, "404 Not Found", "application/json", r#"{"error":"Not Found"}"#);
    }
    asked.fetch_add(1, Ordering::SeqCst);
    if String::from_utf8_lossy(&body).contains(POISON) {
        let error =
            r#"{"error":{"message":"EngineCore encountered an issue.","type":"InternalServerError","code":500}}"#;
        return whole(&mut stream, "500 Internal Server Error", "application/json", error);
    }
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")?;
    let chunk = |stream: &mut TcpStream, delta: Value, finish: Option<&str>| {
        let chunk = serde_json::json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "stub",
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
        });
        write!(stream, "data: {chunk}\n\n")?;
        stream.flush()
    };
    chunk(&mut stream, serde_json::json!({"role": "assistant", "content": ""}), None)?;
    let reply = if String::from_utf8_lossy(&body).contains(ASKED) { REPLY } else { ANSWER };
    answering.fetch_add(1, Ordering::SeqCst);
    let said = reply.as_bytes().chunks(40).try_for_each(|piece| {
        std::thread::sleep(pace / 5);
        chunk(&mut stream, serde_json::json!({ "content": std::str::from_utf8(piece).unwrap() }), None)
    });
    answering.fetch_sub(1, Ordering::SeqCst);
    said?;
    chunk(&mut stream, serde_json::json!({}), Some("stop"))?;
    let usage = r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"stub","choices":[],"usage":{"prompt_tokens":900,"total_tokens":960,"completion_tokens":60}}"#;
    write!(stream, "data: {usage}\n\ndata: [DONE]\n\n")?;
    stream.flush()
}

// --- the desk ------------------------------------------------------------------------------------

struct Desk {
    dir: TempDir,
}

impl Desk {
    /// With so many alerts, and these settings.
    fn with(alerts: usize, settings: &str) -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::write(desk.path("config.toml"), settings).unwrap();
        let lines: String = (0..alerts)
            .map(|n| {
                let (level, host) = (5 + n % 9, n % 12);
                format!(
                    "{{\"timestamp\":\"2026-01-05T09:00:00.000+0000\",\"rule\":{{\"level\":{level},\
                     \"description\":\"outage test {n}\",\"id\":\"100900\"}},\"agent\":{{\"id\":\"001\",\
                     \"name\":\"host-{host}\"}},\"manager\":{{\"name\":\"m\"}},\"id\":\"a-{n}\",\"location\":\"test\"}}\n"
                )
            })
            .collect();
        let file = desk.path("in.ndjson");
        std::fs::write(&file, lines).unwrap();
        let done = desk.run(&["import", file.to_str().unwrap()]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(desk.count("SELECT count(*) FROM alert"), alerts as i64);
        desk
    }

    /// A desk whose model is this server.
    fn on(server: &Server, alerts: usize) -> Self {
        let port = server.port;
        Self::with(
            alerts,
            &format!(
                "[triage]\nbackend = \"openai\"\n[triage.openai]\nurl = \"http://127.0.0.1:{port}/v1\"\n\
                 model = \"stub\"\nconcurrency = 8\nconnect_seconds = 2\n"
            ),
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BIN);
        command.arg("--config").arg(self.path("config.toml")).arg("--data-dir").arg(self.path("data")).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let out = self.run(&[&["--json"], args].concat());
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {out:?}"))
    }

    fn serve(&self) -> Serving {
        let child = self.command(&["serve"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Serving(child)
    }

    fn enqueue_all(&self) {
        let done = self.json(&["triage", "--new", "--queue", "--limit", "5000"]);
        assert_eq!(done["queued"], done["asked"], "{done}");
    }

    fn sql(&self) -> Connection {
        open(&self.path("data/desk.sqlite"))
    }

    fn count(&self, sql: &str) -> i64 {
        self.sql().query_row(sql, [], |r| r.get(0)).unwrap()
    }

    fn verdicts(&self) -> i64 {
        self.count("SELECT count(*) FROM verdict")
    }

    /// Waits until there are so many verdicts.
    fn wait_for_verdicts(&self, n: i64) {
        wait(
            &format!("{n} verdicts"),
            || self.verdicts() >= n,
            || format!("{} verdicts; {}", self.verdicts(), self.json(&["triage", "queue"])),
        );
    }

    /// The queue is held for a reason that says this, and what was under way before is over.
    fn wait_for_hold(&self, says: &str) -> String {
        let seen = RefCell::new(Value::Null);
        let held = || seen.borrow()["held"].as_str().unwrap_or_default().to_owned();
        let look = || {
            seen.replace(self.json(&["triage", "queue"]));
            held().contains(says) && seen.borrow()["running"] == 0
        };
        wait(says, look, || seen.borrow().to_string());
        held()
    }

    /// Exactly one verdict to each alert, no job left, and each exchange belongs to a verdict.
    fn assert_each_once(&self, alerts: i64) {
        self.wait_for_verdicts(alerts);
        wait("an empty queue", || self.count("SELECT count(*) FROM triage_job") == 0, || "jobs left".into());
        assert_eq!(self.verdicts(), alerts, "one verdict to each alert");
        assert_eq!(self.count("SELECT count(DISTINCT alert) FROM verdict"), alerts);
        assert_eq!(self.count("SELECT count(*) FROM alert WHERE verdict_kind IS NULL"), 0);
        assert_eq!(self.count("SELECT count(*) FROM opinion"), alerts);
        let exchanges = self.count("SELECT count(*) FROM exchange");
        let by_model = self.count("SELECT count(*) FROM opinion WHERE backend = 'openai'");
        assert_eq!(exchanges, by_model, "an exchange to each verdict of the model");
        assert!(self.run(&["audit", "verify"]).status.success());
    }
}

fn open(path: &Path) -> Connection {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    conn.busy_timeout(Duration::from_secs(20)).unwrap();
    conn
}

fn wait(what: &str, ok: impl Fn() -> bool, or: impl Fn() -> String) {
    let until = Instant::now() + PATIENCE;
    while !ok() {
        assert!(Instant::now() < until, "no {what}: {}", or());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Killed, as by a power cut, when it goes.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// --- the tests -----------------------------------------------------------------------------------

#[test]
fn the_model_server_dies_in_the_middle_of_a_thousand_and_comes_back() {
    // Slow at first, so that it is cut in the middle of answers.
    let server = Server::start(Duration::from_millis(150));
    let desk = Desk::on(&server, 1_000);
    desk.enqueue_all();
    let queue = desk.json(&["triage", "queue"]);
    assert_eq!((queue["waiting"].as_u64(), queue["asked"].as_u64()), (Some(1_000), Some(1_000)), "{queue}");
    assert!(queue["held"].as_str().unwrap().contains("watchfloor serve"), "nobody works on it yet: {queue}");
    let serving = desk.serve();
    desk.wait_for_verdicts(200);
    server.cut_mid_answer();
    let held = desk.wait_for_hold("rules only");
    assert!(held.contains("next try in") || held.contains("trying again"), "{held}");
    let during = desk.verdicts();
    assert!((200..1_000).contains(&during), "{during} when it was cut");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(desk.verdicts(), during, "nobody guesses meanwhile");
    let queue = desk.json(&["triage", "queue"]);
    assert_eq!(queue["done"].as_i64(), Some(during), "{queue}");
    assert_eq!(queue["waiting"].as_i64().unwrap() + queue["running"].as_i64().unwrap(), 1_000 - during, "{queue}");
    server.back(Duration::from_millis(10));
    desk.assert_each_once(1_000);
    assert_eq!(desk.count("SELECT count(*) FROM opinion WHERE fallback"), 0, "it was back in time");
    println!("{} requests for 1000 alerts, cut at {during}", server.asked());
    assert!(server.asked() > 1_000, "none was cut in the middle of an answer");
    let queue = desk.json(&["triage", "queue"]);
    assert_eq!((queue["held"].as_str(), queue["asked"].as_u64()), (None, Some(0)), "{queue}");
    drop(serving);
}

#[test]
fn the_desk_dies_in_the_middle_and_is_started_again() {
    let server = Server::start(Duration::from_millis(40));
    let desk = Desk::on(&server, 200);
    desk.enqueue_all();
    for n in [30, 90] {
        let serving = desk.serve();
        desk.wait_for_verdicts(n);
        drop(serving);
        let left = desk.json(&["triage", "queue"]);
        assert_eq!(
            left["waiting"].as_i64().unwrap() + left["running"].as_i64().unwrap(),
            200 - desk.verdicts(),
            "{left}"
        );
    }
    assert!(desk.verdicts() < 200);
    let _serving = desk.serve();
    desk.assert_each_once(200);
}

#[test]
fn two_processes_share_a_desk_and_one_dies() {
    let server = Server::start(Duration::from_millis(40));
    let desk = Desk::on(&server, 200);
    let leader = desk.serve();
    wait("a leader", || desk.path("data/run/sources.lock").exists(), String::new);
    std::thread::sleep(Duration::from_millis(300));
    let _other = desk.serve();
    desk.enqueue_all();
    // People go on asking meanwhile, for alerts that wait or are being judged.
    let id = desk.count("SELECT alert FROM triage_job ORDER BY rank LIMIT 1").to_string();
    let asked = desk.run(&["triage", &id]);
    assert!(asked.status.success(), "{asked:?}");
    desk.wait_for_verdicts(60);
    drop(leader);
    desk.assert_each_once(200);
}

#[test]
fn an_alert_the_server_fails_on_does_not_stop_the_others() {
    let server = Server::start(Duration::from_millis(5));
    let desk = Desk::on(&server, 40);
    let poison = desk.path("poison.ndjson");
    let record = std::fs::read_to_string(desk.path("in.ndjson")).unwrap().lines().next().unwrap().to_owned();
    let record = record.replace("host-0", POISON).replace("a-0", "poison").replace("\"level\":5", "\"level\":15");
    std::fs::write(&poison, format!("{record}\n")).unwrap();
    assert!(desk.run(&["import", poison.to_str().unwrap()]).status.success());
    desk.enqueue_all();
    let begun = Instant::now();
    let _serving = desk.serve();
    let others = || desk.count("SELECT count(*) FROM opinion WHERE NOT fallback");
    wait("opinions on the 40 others", || others() == 40, || others().to_string());
    println!("40 others after {:?}", begun.elapsed());
    // It goes back again and again until somebody gives it up: rules, after five minutes, or, on a machine so slow that
    // the others took that long, by its strikes.
    let left = desk.sql().query_row(
        "SELECT (SELECT count(*) FROM triage_job), (SELECT count(*) FROM opinion WHERE fallback)",
        [],
        |r| Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?)),
    );
    let left = left.unwrap();
    assert!(left == (1, 0) || left == (0, 1) && begun.elapsed() > Duration::from_secs(10), "{left:?}");
}

#[test]
fn a_person_does_not_wait_behind_the_bulk_and_what_was_said_can_be_run_again() {
    let server = Server::start(Duration::from_millis(400));
    let desk = Desk::on(&server, 100);
    let config =
        std::fs::read_to_string(desk.path("config.toml")).unwrap().replace("concurrency = 8", "concurrency = 2");
    std::fs::write(desk.path("config.toml"), config).unwrap();
    desk.enqueue_all();
    let overrides = Overrides {
        config: Some(desk.path("config.toml")),
        profile: None,
        data_dir: Some(desk.path("data")),
        read_only: false,
    };
    let here = Arc::new(watchfloor::desk::Desk::configured(&load(&overrides, &Env::process()).unwrap()).unwrap());
    let live = here.start_live(None).unwrap();
    desk.wait_for_verdicts(4);
    // The least urgent of all, at the end of the queue.
    let id = AlertId(desk.count("SELECT alert FROM triage_job ORDER BY rank LIMIT 1"));
    let me = here.me().unwrap().id;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let verdict = runtime.block_on(here.triage(id, None, Some(&me), &|_| {}, &Cancel::new())).unwrap();
    assert!(!verdict.fallback && verdict.backend == "openai", "{verdict:?}");
    let left = here.triage_queue().unwrap();
    assert!(left.waiting > 50, "the last of all had its answer before most others: {left:?}");
    assert_eq!(
        desk.count(&format!("SELECT count(*) FROM triage_job WHERE alert = {id}")),
        0,
        "it need not be judged again"
    );
    here.cancel_triage_queue(&me).unwrap();
    drop(live);
    let cancel = Cancel::new();
    let answered = runtime.block_on(here.ask(&me, id, ASKED.into(), Vec::new(), &|_| {}, &cancel)).unwrap();
    assert_eq!(answered.text.expose(), "It may be: nothing else is known.");
    assert!(answered.claims[0].founded && answered.by.as_ref() == Some(&me), "{answered:?}");
    let detail = here.detail(id).unwrap().unwrap();
    assert_eq!(detail.asked.len(), 1);
    assert_eq!((&detail.asked[0].request_id, detail.asked[0].question.expose()), (&answered.request_id, ASKED));
    assert_eq!(detail.verdicts.len(), 1, "an answer is no verdict");
    // The prompt is kept, and runs again to the same answer; of the alert nothing changes.
    let exchanges = here.exchanges(id).unwrap();
    let requests: Vec<&str> = exchanges.iter().map(|e| e.request_id.as_str()).collect();
    assert_eq!(requests, [&answered.request_id, &verdict.request_id], "newest first");
    let before = here.detail(id).unwrap().unwrap();
    let (old, new) = runtime.block_on(here.replay(&me, &verdict.request_id, &Cancel::new())).unwrap();
    assert_eq!((&old.user, &old.schema, &old.output), (&new.user, &new.schema, &new.output));
    assert_ne!(old.request_id, new.request_id);
    assert_eq!(here.detail(id).unwrap().unwrap().alert, before.alert);
    assert_eq!(desk.count(&format!("SELECT count(*) FROM verdict WHERE alert = {id}")), 1);
    let again = desk.json(&["triage", "replay", &verdict.request_id]);
    assert_eq!(again["same"], serde_json::json!({"text": true, "verdict": true, "model": true, "model_digest": null}));
    assert_eq!(here.exchanges(id).unwrap().len(), 4, "replays are kept");
    let audit = here.audit_records(&AuditFilter::default(), 1_000).unwrap();
    for kind in ["triage.request", "triage.verdict", "triage.ask", "triage.answer", "triage.replay", "triage.enqueue"] {
        let record = audit.iter().find(|r| r.kind == kind).unwrap_or_else(|| panic!("no {kind} on record"));
        assert_eq!(record.by.as_ref(), Some(&me), "{kind}");
        assert!(!record.body.to_string().contains("outage test"), "{kind} holds the prompt");
    }
    let given = audit.iter().find(|r| r.request_id.as_ref() == Some(&verdict.request_id) && r.kind == "triage.verdict");
    assert_eq!(given.unwrap().body["model"], "stub");
    let out = desk.run(&["triage", "exchanges", &id.to_string()]);
    assert_eq!(String::from_utf8_lossy(&out.stdout).matches("replay").count(), 2, "{out:?}");
    assert_eq!(desk.run(&["triage", "replay", "nobody"]).status.code(), Some(1));
}

#[test]
fn rules_need_nobody() {
    let desk = Desk::with(150, "");
    let _serving = desk.serve();
    desk.enqueue_all();
    desk.assert_each_once(150);
    assert_eq!(desk.count("SELECT count(*) FROM opinion WHERE backend = 'rules' AND NOT fallback"), 150);
    let out = desk.run(&["triage", "cancel"]);
    assert!(String::from_utf8_lossy(&out.stdout).contains("0 cancelled"), "{out:?}");
}

#[test]
fn a_local_model_that_is_gone_holds_the_queue_and_then_rules_stand_in() {
    let desk = Desk::with(
        30,
        "[triage]\nbackend = \"local\"\nfallback_after_seconds = 8\n[triage.local]\nmodel = \"/nowhere/model.gguf\"\n",
    );
    let begun = Instant::now();
    desk.enqueue_all();
    let _serving = desk.serve();
    let held = desk.wait_for_hold("rules only");
    assert!(held.contains("configuration"), "{held}");
    desk.wait_for_verdicts(1);
    assert!(begun.elapsed() >= Duration::from_secs(8), "they wait their time first");
    desk.assert_each_once(30);
    assert_eq!(desk.count("SELECT count(*) FROM opinion WHERE fallback"), 30, "labelled");
    let verdict: String = desk.sql().query_row("SELECT json FROM verdict LIMIT 1", [], |r| r.get(0)).unwrap();
    let verdict: Value = serde_json::from_str(&verdict).unwrap();
    assert!(verdict["remark"].as_str().unwrap().starts_with("local did not give an opinion"), "{verdict}");
}

#[test]
fn what_is_cancelled_stays_without_a_verdict_and_auto_triage_keeps_its_budget() {
    let server = Server::start(Duration::from_millis(100));
    let desk = Desk::on(&server, 120);
    let _serving = desk.serve();
    desk.enqueue_all();
    desk.wait_for_verdicts(10);
    let cancelled = desk.json(&["triage", "cancel"])["cancelled"].as_i64().unwrap();
    assert!(cancelled > 0);
    std::thread::sleep(Duration::from_secs(1));
    let given = desk.verdicts();
    assert_eq!(given + cancelled, 120, "what was under way at that moment is not kept");
    assert_eq!(desk.count("SELECT count(*) FROM triage_job"), 0);
    drop(_serving);
    // The desk itself goes on with the most severe ones, 25 in an hour, whoever restarts it.
    let config = std::fs::read_to_string(desk.path("config.toml")).unwrap();
    let auto = config.replace("[triage]\n", "[triage]\nauto = \"pri<=P2\"\nauto_per_hour = 25\n");
    std::fs::write(desk.path("config.toml"), auto).unwrap();
    for _ in 0..2 {
        let _serving = desk.serve();
        desk.wait_for_verdicts(given + 25);
        std::thread::sleep(Duration::from_millis(1_500));
        assert_eq!(desk.verdicts(), given + 25);
    }
    assert_eq!(desk.count("SELECT count(DISTINCT alert) FROM verdict"), given + 25);
}
