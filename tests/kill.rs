//! kill -9 at random points: nothing that was acknowledged is lost, nothing runs twice, nothing runs unrecorded.
//!
//! A child process does a shift as fast as it can (import, claim, propose, approve, execute, close) and prints a line
//! after each call has returned. The parent kills it at a random moment, again and again, and at the end compares what
//! was acknowledged, what a real HTTP server was sent, what the store holds and what the audit log says.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test starts itself again as the process that is killed, and stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use watchfloor::config::Settings;
use watchfloor::desk::Desk;
use watchfloor::desk::DeskOptions;
use watchfloor::model::act::Act;
use watchfloor::model::action::Draft;
use watchfloor::model::action::RequestState;
use watchfloor::model::action::Suggested;
use watchfloor::model::alert::Disposition;
use watchfloor::model::alert::Status;
use watchfloor::model::ids::AlertId;
use watchfloor::model::ids::PersonId;
use watchfloor::model::ids::RequestId;
use watchfloor::model::person::Person;
use watchfloor::model::person::Role;
use watchfloor::model::person::Roster;
use watchfloor::model::query::Page;
use watchfloor::model::query::SortKey;
use watchfloor::respond::Catalogue;
use watchfloor::respond::Policy;

const CHILD: &str = "WATCHFLOOR_KILL_CHILD";

fn kills() -> usize {
    std::env::var("WATCHFLOOR_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
}

fn id(name: &str) -> PersonId {
    PersonId::new(name).unwrap()
}

fn person(name: &str, roles: &[Role]) -> Person {
    Person {
        id: id(name),
        name: name.into(),
        os_users: Vec::new(),
        uids: Vec::new(),
        keys: Vec::new(),
        roles: roles.to_vec(),
    }
}

fn open(dir: &Path, me: &str) -> Desk {
    let roster =
        Roster { people: vec![person("alice", &[Role::Analyst]), person("bob", &[Role::Lead, Role::Approver])] };
    Desk::open(DeskOptions {
        data_dir: dir.join("data"),
        settings: Settings::default(),
        roster,
        roster_file: None,
        me: Some(id(me)),
        read_only: false,
        exercise: None,
        catalogue: Catalogue::load(&dir.join("actions.toml")).unwrap(),
        policy: Policy::load(&dir.join("policy.toml")).unwrap(),
        secrets: Arc::new(|name| Err(format!("{name}: no secrets here"))),
        assets: Arc::new(|_| 100),
        known: watchfloor::desk::Known::default(),
        notices: Vec::new(),
    })
    .unwrap()
}

/// Not a test of its own: the process that is killed.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let dir = Path::new(&dir);
    let round = std::env::var("WATCHFLOOR_KILL_ROUND").unwrap();
    let (alice, bob) = (open(dir, "alice"), open(dir, "bob"));
    alice.keep_house().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "ack {line}").unwrap();
        out.flush().unwrap();
    };
    for n in 0.. {
        let name = format!("k-{round}-{n}");
        let file = dir.join("in.ndjson");
        std::fs::write(&file, record(&name)).unwrap();
        alice.import(&id("alice"), std::slice::from_ref(&file), None, |_, _, _| ()).unwrap();
        say(format!("import {name}"));
        let query = alice.parse_query(&format!("host:{name}"), &id("alice")).unwrap();
        let alert = alice.rows(&query, SortKey::Newest, Page::First, 1).unwrap()[0].id;
        alice.act(&id("alice"), &Act::Claim, &[alert]).unwrap();
        say(format!("claim {alert}"));
        let draft = Draft {
            action: "isolate-host".into(),
            targets: vec![name],
            params: BTreeMap::new(),
            alerts: vec![alert],
            case: None,
            reason: "kill test".into(),
            suggested_by: Suggested::Person,
        };
        let request = runtime.block_on(alice.propose(&id("alice"), draft)).unwrap();
        say(format!("propose {}", request.body.id));
        bob.approve(&id("bob"), &request.body.id, &request.digest).unwrap();
        say(format!("approve {}", request.body.id));
        let done = runtime.block_on(bob.execute(&id("bob"), &request.body.id)).unwrap();
        assert_eq!(done.state, RequestState::Done);
        say(format!("execute {}", request.body.id));
        let close = Act::Close { disposition: Disposition::TruePositive, reason: "done".into(), comment: None };
        alice.act(&id("alice"), &close, &[alert]).unwrap();
        say(format!("close {alert}"));
    }
}

fn record(host: &str) -> String {
    format!(
        "{{\"timestamp\":\"2026-01-05T09:00:00.000+0000\",\"rule\":{{\"level\":12,\"description\":\"kill test\",\
         \"id\":\"100900\"}},\"agent\":{{\"id\":\"001\",\"name\":\"{host}\"}},\"manager\":{{\"name\":\"m\"}},\
         \"id\":\"{host}\",\"location\":\"test\"}}\n"
    )
}

/// Counts what is posted, by the request id in the body.
fn serve(listener: TcpListener, posts: Arc<Mutex<BTreeMap<String, u32>>>) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let posts = Arc::clone(&posts);
        std::thread::spawn(move || {
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = n.trim().parse().unwrap_or(0);
                }
                if line == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            *posts.lock().unwrap().entry(body["request"].as_str().unwrap().to_owned()).or_default() += 1;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
        });
    }
}

#[test]
fn kill_9_loses_nothing_acknowledged_and_runs_nothing_twice() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let posts = Arc::new(Mutex::new(BTreeMap::new()));
    let server_posts = Arc::clone(&posts);
    std::thread::spawn(move || serve(listener, server_posts));
    std::fs::write(dir.join("actions.toml"), catalogue(port)).unwrap();
    std::fs::write(dir.join("policy.toml"), POLICY).unwrap();

    let mut acks: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for round in 0..kills() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(CHILD, dir)
            .env("WATCHFLOOR_KILL_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (first, started) = std::sync::mpsc::sync_channel(1);
        // Every other one has carried something out, however slow the machine is.
        let until = if round % 2 == 1 { "ack execute" } else { "ack " };
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line.contains(until) {
                    let _ = first.try_send(());
                }
                all.push(line);
            }
            all
        });
        // Some die while they start, most while they work.
        if round % 10 != 0 {
            let _ = started.recv_timeout(Duration::from_secs(150));
        }
        std::thread::sleep(Duration::from_millis(rand::random_range(0..300)));
        let ended = child.try_wait().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert!(ended.is_none(), "round {round}: the child ended by itself: {stderr}");
        for line in reader.join().unwrap() {
            // The test harness may write its own words before ours on the same line.
            if let Some((kind, what)) = line.split_once("ack ").and_then(|(_, a)| a.split_once(' ')) {
                acks.entry(kind.to_owned()).or_default().insert(what.to_owned());
            }
        }
    }
    check(dir, &acks, &posts.lock().unwrap());
}

fn check(dir: &Path, acks: &BTreeMap<String, BTreeSet<String>>, posts: &BTreeMap<String, u32>) {
    let desk = open(dir, "alice");
    desk.keep_house().unwrap();
    let none = BTreeSet::new();
    let acked = |kind: &str| acks.get(kind).unwrap_or(&none);
    for name in acked("import") {
        let query = desk.parse_query(&format!("host:{name}"), &id("alice")).unwrap();
        assert_eq!(desk.count(&query, 10).unwrap().n, 1, "{name} was imported");
    }
    for alert in acked("claim") {
        let detail = desk.detail(AlertId(alert.parse().unwrap())).unwrap().unwrap();
        assert_eq!(detail.alert.owner, Some(id("alice")), "{alert} was claimed");
    }
    for alert in acked("close") {
        let detail = desk.detail(AlertId(alert.parse().unwrap())).unwrap().unwrap();
        assert_eq!(detail.alert.status, Status::Closed, "{alert} was closed");
    }
    let state = |r: &str| desk.request(&RequestId::new(r).unwrap()).unwrap().map(|r| r.state);
    for request in acked("propose") {
        assert!(state(request).is_some(), "{request} was proposed");
    }
    for request in acked("approve") {
        assert_ne!(state(request), Some(RequestState::Pending), "{request} was approved");
    }
    for request in acked("execute") {
        assert_eq!(state(request), Some(RequestState::Done), "{request} was executed");
        assert_eq!(posts.get(request), Some(&1), "{request} ran once");
    }
    let stuck = desk.requests(&[RequestState::Executing], 100).unwrap();
    assert!(stuck.is_empty(), "nothing is left executing: {stuck:?}");

    let report = watchfloor::audit::verify(&dir.join("data/audit"), None).unwrap();
    assert!(report.ok, "{:?}", report.faults);
    let intents: BTreeSet<String> = desk
        .audit_records(&watchfloor::audit::AuditFilter::default(), usize::MAX)
        .unwrap()
        .into_iter()
        .filter(|r| r.kind == "action.intent")
        .filter_map(|r| r.request_id)
        .collect();
    for (request, n) in posts {
        assert_eq!(*n, 1, "{request} ran {n} times");
        assert!(intents.contains(request), "{request} ran without a record");
    }
    let counts: Vec<String> = acks.iter().map(|(k, v)| format!("{k} {}", v.len())).collect();
    assert!(acked("execute").len() >= kills() / 4, "the kills came too early to prove anything: {counts:?}");
    println!("{} kills; acknowledged: {}; posts {}", kills(), counts.join(", "), posts.len());
}

fn catalogue(port: u16) -> String {
    format!(
        r#"
[[actions]]
name = "isolate-host"
title = "Isolate a host"
tier = "T1"
contains = true
targets = {{ is = {{ type = "host" }} }}
executor = {{ kind = "http", url = "http://127.0.0.1:{port}/isolate", body = {{ host = "{{{{target}}}}", request = "{{{{request.id}}}}" }} }}
"#
    )
}

const POLICY: &str = "";
