//! A real OpenSearch node with TLS and its security plugin: tailed by a least-privilege user while it restarts and the
//! tailing process is killed; status written back; and each way to be refused.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "tests speak, and start a server, and themselves again to be killed"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use watchfloor::config::settings::OpensearchSettings;
use watchfloor::intake::Pipeline;
use watchfloor::intake::source::opensearch::Tail;
use watchfloor::intake::source::{Link, LinkState, SecretResolver};
use watchfloor::model::act::Act;
use watchfloor::model::alert::{AlertRow, Disposition};
use watchfloor::model::ids::PersonId;
use watchfloor::model::keys::KeyPolicy;
use watchfloor::model::query::{Cmp, Page, Query, SortKey, Term};
use watchfloor::store::Store;
use watchfloor::store::sqlite::SqliteStore;

const DOCUMENTS: usize = 50_000;
const CHUNK: usize = 1000;
const PASSWORD: &str = "Kx7-quiet-Harbour-19";

#[path = "common/opensearch.rs"]
mod server;
#[path = "opensearch/step_query.rs"]
mod step_query;

/// The node with what the tail is tested by.
struct Node(server::Node);

impl std::ops::Deref for Node {
    type Target = server::Node;

    fn deref(&self) -> &server::Node {
        &self.0
    }
}

impl Node {
    fn start() -> Option<Self> {
        server::Node::start().map(Self)
    }

    fn settings(&self, user: &str) -> OpensearchSettings {
        serde_json::from_value(json!({
            "url": self.url, "index": "alerts-*", "username": user, "password": "env:PASSWORD", "ca": self.ca,
            "poll_seconds": 1, "timeout_seconds": 10, "write_back": true,
        }))
        .unwrap()
    }

    /// A role with what the tail needs and nothing else, and a user without any right.
    async fn prepare(&self) {
        self.put(
            "/_plugins/_security/api/roles/tail",
            json!({
                "cluster_permissions": [],
                "index_permissions": [{
                    "index_patterns": ["alerts-*"],
                    "allowed_actions": [
                        "indices:data/read/search", "indices:data/read/point_in_time/create",
                        "indices:data/read/point_in_time/delete", "indices:data/read/get", "indices:data/write/update",
                        "indices:data/write/bulk*", "indices:data/write/index",
                    ],
                }],
            }),
        )
        .await;
        for user in ["tail", "nobody"] {
            let password = json!({ "password": PASSWORD });
            self.put(&format!("/_plugins/_security/api/internalusers/{user}"), password).await;
        }
        self.put("/_plugins/_security/api/rolesmapping/tail", json!({ "users": ["tail"] })).await;
        for (index, shards) in [("alerts-000001", 3), ("alerts-000002", 2)] {
            self.put(
                &format!("/{index}"),
                json!({
                    "settings": { "number_of_shards": shards, "number_of_replicas": 0, "refresh_interval": "500ms" },
                    "mappings": { "properties": {
                        "@timestamp": { "type": "date" },
                        // Known beforehand, so that the tail needs no right to change mappings.
                        "watchfloor": { "properties": {
                            "status": { "type": "keyword" }, "owner": { "type": "keyword" },
                            "disposition": { "type": "keyword" }, "rev": { "type": "long" },
                            "at": { "type": "date" },
                        } },
                    } },
                }),
            )
            .await;
        }
    }

    /// Indexes until the node has taken it, however often that takes.
    async fn bulk(&self, from: usize, to: usize) {
        let body: String = (from..to).map(document).collect();
        let end = Instant::now() + Duration::from_secs(90);
        loop {
            let (status, said) = self.ask("POST", "/_bulk", body.clone()).await;
            let taken = |i: &Value| [200, 201, 409].contains(&i["create"]["status"].as_u64().unwrap_or(0));
            if status == 200 && said["items"].as_array().is_some_and(|items| items.iter().all(taken)) {
                return;
            }
            assert!(Instant::now() < end, "bulk {from}: {status} {said}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
}

/// A Wazuh alert; many share one time, and the second index takes over halfway.
fn document(n: usize) -> String {
    let index = if n < DOCUMENTS / 2 { "alerts-000001" } else { "alerts-000002" };
    let time = Timestamp::from_millisecond(Timestamp::now().as_millisecond() / 1000 * 1000).unwrap();
    let source = json!({
        "@timestamp": time, "timestamp": time, "id": format!("{n}.1"),
        "rule": { "level": n % 16, "description": format!("Tail test {n}"), "id": "5710" },
        "agent": { "id": "001", "name": format!("web-{}", n % 40) }, "manager": { "name": "m" },
        "full_log": format!("record {n} of the test"), "location": "/var/log/auth.log",
    });
    format!("{}\n{source}\n", json!({ "create": { "_index": index, "_id": format!("d{n}") } }))
}

fn pipeline(db: &Path) -> Pipeline {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(db).unwrap());
    Pipeline::new(store, KeyPolicy::default(), Arc::new(|_| 100), BTreeMap::new())
}

fn resolver() -> SecretResolver {
    Arc::new(|reference| Ok(if reference == "env:PASSWORD" { PASSWORD } else { "wrong" }.into()))
}

const CHILD: &str = "WATCHFLOOR_TEST_TAIL";

/// Not a test: the tailing process, which the test starts and kills.
#[test]
fn tail_process() {
    let Ok(arg) = std::env::var(CHILD) else { return };
    let arg: Value = serde_json::from_str(&arg).unwrap();
    let settings = serde_json::from_value(arg["settings"].clone()).unwrap();
    let pipeline = pipeline(Path::new(arg["db"].as_str().unwrap()));
    let log = Mutex::new(std::fs::File::create(arg["log"].as_str().unwrap()).unwrap());
    let (_keep, stop) = watch::channel(false);
    let rt = tokio::runtime::Runtime::new().unwrap();
    rt.block_on(Tail::new("siem", settings, pipeline, resolver()).run(stop, |link| {
        use std::io::Write as _;
        writeln!(log.lock().unwrap(), "{} {:?} {:?}", Timestamp::now(), link.state, link.detail).unwrap();
    }));
}

struct TailProcess(Child);

impl TailProcess {
    fn start(node: &Node, n: usize) -> Self {
        let arg = json!({
            "settings": node.settings("tail"), "db": node.dir.path().join("t.db"),
            "log": node.dir.path().join(format!("tail-{n}.log")),
        });
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tail_process", "--nocapture"])
            .env(CHILD, arg.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for TailProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn counts(store: &dyn Store) -> (u64, u64) {
    let now = Timestamp::now();
    let all = store.count(&Query::All, 1_000_000, now).unwrap().n;
    (all, store.count(&Query::Term(Term::Count(Cmp::Gt, 1)), 1_000_000, now).unwrap().n)
}

async fn wait(what: &str, seconds: u64, log: &Path, mut done: impl AsyncFnMut() -> Option<String>) {
    let end = Instant::now() + Duration::from_secs(seconds);
    while let Some(now) = done().await {
        if Instant::now() > end {
            let log = std::fs::read_to_string(log).unwrap_or_default();
            panic!("waited {seconds} s for {what}: {now}\n{log}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[test]
fn fifty_thousand_alerts_through_restarts_and_a_kill() {
    let Some(node) = Node::start() else { return };
    let rt = tokio::runtime::Runtime::new().unwrap();
    rt.block_on(async {
        node.prepare().await;
        let store = SqliteStore::open(&node.dir.path().join("t.db")).unwrap();
        tail(&node, &store).await;
        write_back(&node, &store).await;
        faults(&node).await;
    });
}

async fn tail(node: &Node, store: &SqliteStore) {
    let started = Instant::now();
    let mut process = TailProcess::start(node, 0);
    for from in (0..DOCUMENTS).step_by(CHUNK) {
        node.bulk(from, from + CHUNK).await;
        match from / CHUNK {
            12 | 35 => tokio::task::block_in_place(|| node.restart()),
            22 => {
                wait("the tail is under way", 150, &node.dir.path().join("tail-0.log"), async || {
                    let n = counts(store).0;
                    (n < 5000).then(|| n.to_string())
                })
                .await;
                process.kill();
                process = TailProcess::start(node, 1);
            }
            _ => {}
        }
    }
    let indexed = started.elapsed();
    let log = node.dir.path().join("tail-1.log");
    wait("all documents", 400, &log, async || {
        let n = counts(store).0;
        (n < DOCUMENTS as u64).then(|| n.to_string())
    })
    .await;
    println!("indexed after {indexed:.1?}, tailed after {:.1?}", started.elapsed());
    // Anything doubled would come now: several sweeps of the overlap.
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(counts(store), (DOCUMENTS as u64, 0), "(alerts, doubled)");
    assert!(store.dead_letters(1).unwrap().is_empty());
    process.kill();
}

fn first_rows(store: &SqliteStore, n: usize) -> Vec<AlertRow> {
    store.rows(&Query::All, SortKey::Newest, Page::First, n, Timestamp::now()).unwrap()
}

async fn write_back(node: &Node, store: &SqliteStore) {
    let alice = PersonId::new("alice").unwrap();
    let rows = first_rows(store, 3);
    let log = node.dir.path().join("tail-2.log");
    let place = |row: &AlertRow| {
        let origin = store.alert(row.id).unwrap().unwrap().origin.unwrap();
        format!("/{}/_doc/{}", origin.index, origin.doc_id)
    };

    // The bytes kept are the bytes sent.
    let (_, doc) = node.ask("GET", &place(&rows[0]), Value::Null).await;
    let raw: Value = serde_json::from_slice(&store.raw(rows[0].id).unwrap().unwrap()).unwrap();
    assert_eq!(raw, doc["_source"]);

    // Somebody else writes into the second document before we do.
    let path = place(&rows[1]).replace("_doc", "_update");
    let theirs = json!({ "doc": { "watchfloor": { "status": "closed", "owner": "bob" } } });
    let (status, _) = node.ask("POST", &path, theirs).await;
    assert_eq!(status, 200);

    let now = Timestamp::now();
    let act = |act: &Act, row: &AlertRow| {
        let done = store.act(act, &[row.id], &alice, now).unwrap();
        assert_eq!(done.done, [row.id]);
    };
    act(&Act::Claim, &rows[0]);
    act(&Act::Claim, &rows[1]);
    let close =
        Act::Close { disposition: Disposition::FalsePositive, reason: "a scanner of ours".into(), comment: None };
    act(&close, &rows[2]);

    let process = TailProcess::start(node, 2);
    for (row, status, disposition) in [(&rows[0], "claimed", None), (&rows[2], "closed", Some("false_positive"))] {
        let path = place(row);
        wait("status in the document", 150, &log, async || {
            let (_, doc) = node.ask("GET", &path, Value::Null).await;
            let there = &doc["_source"]["watchfloor"];
            let good = there["status"] == status && there["disposition"].as_str() == disposition;
            (!good).then(|| doc.to_string())
        })
        .await;
    }
    wait("the conflict is noticed", 150, &log, async || {
        let timeline = store.timeline(rows[1].id, 20).unwrap();
        let told = timeline.iter().any(|e| e.kind == "writeback" && format!("{:?}", e.text).contains("somebody else"));
        (!told).then(|| format!("{timeline:?}"))
    })
    .await;
    // Their words stand until ours change again.
    let (_, doc) = node.ask("GET", &place(&rows[1]), Value::Null).await;
    assert_eq!(doc["_source"]["watchfloor"]["owner"], "bob");
    act(&close, &rows[1]);
    let path = place(&rows[1]);
    wait("the next change is written", 150, &log, async || {
        let (_, doc) = node.ask("GET", &path, Value::Null).await;
        (doc["_source"]["watchfloor"]["status"] != "closed" || doc["_source"]["watchfloor"]["owner"] == "bob")
            .then(|| doc.to_string())
    })
    .await;

    // Late, later than the overlap, without a time, from the future, large, and unreadable.
    let ago = |seconds| Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
    let rule = |what: &str| json!({ "level": 5, "description": what, "id": "1" });
    let agent = json!({ "name": "a" });
    let mut bodies = vec![
        ("late".to_owned(), json!({ "@timestamp": ago(60), "rule": rule("late"), "agent": agent })),
        ("later".to_owned(), json!({ "@timestamp": ago(7200), "rule": rule("later"), "agent": agent })),
        ("untimed".to_owned(), json!({ "rule": rule("untimed"), "agent": agent })),
        ("future".to_owned(), json!({ "@timestamp": ago(-86_400 * 365), "rule": rule("future"), "agent": agent })),
        ("unreadable".to_owned(), json!({ "@timestamp": ago(60), "nothing": "we know" })),
        ("unreadable later".to_owned(), json!({ "@timestamp": ago(7200), "nothing": "we know" })),
    ];
    // Together more than one answer may have.
    for n in 0..6 {
        let text = "x".repeat(4 << 20);
        let large = json!({ "@timestamp": ago(1), "rule": rule("large"), "agent": agent, "full_log": text });
        bodies.push((format!("large{n}"), large));
    }
    for (id, body) in &bodies {
        node.put(&format!("/alerts-000002/_doc/{id}"), body.clone()).await;
    }
    let expected = DOCUMENTS as u64 + 10;
    wait("late, untimed, large and future documents", 200, &log, async || {
        let (n, dead) = (counts(store).0, store.dead_letters(10).unwrap().len());
        (n < expected || dead < 2).then(|| format!("{n} alerts, {dead} dead"))
    })
    .await;
    // After the future one, the present is still read.
    node.bulk(DOCUMENTS, DOCUMENTS + 10).await;
    wait("documents after one from the future", 150, &log, async || {
        let n = counts(store).0;
        (n < expected + 10).then(|| n.to_string())
    })
    .await;
    // Another late one: its bucket is read again, what is known there is not taken again.
    node.put("/alerts-000002/_doc/later2", json!({ "@timestamp": ago(7200), "rule": rule("later"), "agent": agent }))
        .await;
    wait("another late document", 150, &log, async || {
        let n = counts(store).0;
        (n < expected + 11).then(|| n.to_string())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(store.dead_letters(10).unwrap().len(), 2, "an unreadable document is one dead letter");
    // What bob changed is the document changed by somebody, under our field alone: no alert again.
    assert_eq!(counts(store), (expected + 11, 0), "our own updates are no alerts");
    process.kill();
}

/// The first thing a tail of these settings has to complain about.
async fn complaint(node: &Node, settings: OpensearchSettings) -> String {
    let db = node.dir.path().join("faults.db");
    let p = pipeline(&db);
    let store = Arc::clone(p.store());
    let (stop, stopped) = watch::channel(false);
    let (tell, mut told) = tokio::sync::mpsc::channel(8);
    let tail = tokio::spawn(Tail::new("f", settings, p, resolver()).run(stopped, move |link: Link| {
        if link.state == LinkState::Retrying {
            assert!(link.next_try.is_some());
            let _ = tell.try_send(link.detail.expose().to_owned());
        }
    }));
    // The queue is usable all the while.
    for _ in 0..5 {
        let asked = Instant::now();
        assert_eq!(counts(store.as_ref()).0, 0);
        assert!(asked.elapsed() < Duration::from_secs(20));
    }
    let said = tokio::time::timeout(Duration::from_secs(150), told.recv()).await.unwrap().unwrap();
    stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(60), tail).await.unwrap().unwrap();
    println!("  {said}");
    assert!(!said.contains('\n') && said.len() < 240, "{said}");
    said
}

async fn faults(node: &Node) {
    let mut wrong = node.settings("tail");
    wrong.password = Some("plain".into());
    assert!(complaint(node, wrong).await.contains("password refused (401) for tail"));

    let said = complaint(node, node.settings("nobody")).await;
    assert!(said.contains("nobody lacks the right indices:data/read/point_in_time/create"), "{said}");

    let mut ca = node.settings("tail");
    let other = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap();
    let path = node.dir.path().join("other.pem");
    std::fs::write(&path, other.cert.pem()).unwrap();
    ca.ca = Some(path);
    let said = complaint(node, ca).await;
    assert!(said.contains("certificate is not trusted"), "{said}");

    let hang = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut hanging = node.settings("tail");
    hanging.url = format!("https://{}", hang.local_addr().unwrap());
    hanging.timeout_seconds = 2;
    assert!(complaint(node, hanging.clone()).await.contains("no answer within 2 s"));

    drop(hang);
    let said = complaint(node, hanging).await;
    assert!(said.contains("cannot connect") && said.contains("refused"), "{said}");

    let mut missing = node.settings("tail");
    missing.index = "alerts-never-*".into();
    assert!(complaint(node, missing).await.contains("no index matches alerts-never-*"));

    let mut unreadable = node.settings("tail");
    unreadable.ca = Some("/nonexistent/ca.pem".into());
    assert!(complaint(node, unreadable).await.contains("ca /nonexistent/ca.pem: No such file"));
}
