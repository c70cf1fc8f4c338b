//! Backups of real servers: an OpenSearch whose snapshots are good, partial, failed, killed and taken away; a Velero whose
//! backup is restored, whose object store is killed and comes back empty. Nothing is graded good that cannot be restored.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests speak, and start servers")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use watchfloor::model::backup::{Asset, Backup, BackupPhase, Grade};
use watchfloor::model::health::{SourceWord, Tri};
use watchfloor::operate::backup::source::opensearch::{self, Repository};
use watchfloor::operate::backup::{Read, grade};

fn script(name: &str, words: &[&str], dir: &Path) -> std::process::Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services").join(name);
    let owner = std::process::id().to_string();
    let (verb, rest) = words.split_first().unwrap();
    Command::new("bash").arg(path).arg(verb).arg(dir).args(rest).env("WATCHFLOOR_TEST_OWNER", owner).output().unwrap()
}

/// Whether a service started; says why when it is not to be had here.
fn started(name: &str, verb: &str, dir: &Path) -> bool {
    let out = script(name, &[verb], dir);
    if out.status.code() == Some(77) {
        println!("skipped: {}", String::from_utf8_lossy(&out.stderr).trim());
        return false;
    }
    assert!(out.status.success(), "{verb}: {}", String::from_utf8_lossy(&out.stderr));
    true
}

fn env(dir: &Path, key: &str) -> String {
    let text = std::fs::read_to_string(dir.join("env")).unwrap();
    let key = format!("{key}=");
    text.lines().find_map(|l| l.strip_prefix(&key)).unwrap().to_owned()
}

fn asset(source: &str, covers: &str) -> Asset {
    Asset {
        name: "it".into(),
        source: source.into(),
        covers: vec![covers.into()],
        rpo_seconds: 86_400,
        rto_seconds: 3600,
        schedule: None,
        zone: "UTC".into(),
        volumes: false,
    }
}

fn graded(read: &Read, id: &str, covers: &str) -> (Grade, Vec<String>) {
    let told = grade(found(read, id), &asset("it", covers), &read.backups, Timestamp::now());
    (told.grade, told.why)
}

fn found<'a>(read: &'a Read, id: &str) -> &'a Backup {
    read.backups.iter().find(|b| b.id == id).unwrap_or_else(|| panic!("no {id} in {read:#?}"))
}

fn none_is_good(read: &Read, covers: &str) {
    for b in &read.backups {
        let (grade, why) = graded(read, &b.id, covers);
        assert!(!grade.is_good(), "{} is {grade:?}: {why:?}", b.id);
    }
}

/// The node, ended by process id.
struct Node {
    dir: tempfile::TempDir,
    repository: Repository,
    http: reqwest::Client,
}

impl Node {
    fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        if !started("opensearch.sh", "start", dir.path()) {
            return None;
        }
        let ca = PathBuf::from(env(dir.path(), "CA"));
        let cert = reqwest::Certificate::from_pem(&std::fs::read(&ca).unwrap()).unwrap();
        let http = reqwest::Client::builder()
            .add_root_certificate(cert)
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        let repository = Repository {
            name: "it".into(),
            url: env(dir.path(), "URL"),
            repository: "nightly".into(),
            username: Some("admin".into()),
            password: Some("admin".into()),
            ca: Some(ca),
            timeout: Duration::from_secs(30),
        };
        Some(Self { dir, repository, http })
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let answer = self
            .http
            .request(method.parse().unwrap(), format!("{}{path}", self.repository.url))
            .basic_auth("admin", Some("admin"))
            .header("content-type", if path.contains("_bulk") { "application/x-ndjson" } else { "application/json" })
            .body(match body {
                Value::String(text) => text,
                Value::Null => String::new(),
                other => other.to_string(),
            })
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn put(&self, path: &str, body: Value) {
        let (status, said) = self.ask("PUT", path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {said}");
    }

    async fn fill(&self, index: &str, documents: usize) {
        self.put(&format!("/{index}"), json!({ "settings": { "number_of_shards": 2, "number_of_replicas": 0 } })).await;
        let mut lines = String::new();
        for n in 0..documents {
            let noise = format!("{:x}", (n as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
            lines += &format!("{{\"index\":{{}}}}\n{}\n", json!({ "n": n, "text": noise.repeat(8) }));
        }
        let (status, said) = self.ask("POST", &format!("/{index}/_bulk?refresh=true"), lines.into()).await;
        assert!(status == 200 && said["errors"] == false, "{status}");
        assert_eq!(self.ask("POST", &format!("/{index}/_flush?force=true"), Value::Null).await.0, 200);
    }

    async fn read(&self) -> (Read, watchfloor::model::health::SourceState) {
        opensearch::fetch(&self.repository, Timestamp::now()).await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = script("opensearch.sh", &["kill"], self.dir.path());
    }
}

#[tokio::test]
async fn snapshots_of_a_real_opensearch_are_graded_by_what_can_be_restored() {
    let Some(node) = Node::start() else { return };
    let place = node.dir.path().join("repo/nightly");
    let (read, _) = node.read().await;
    assert_eq!(read.state.state, SourceWord::Absent, "no such repository: {:?}", read.state);
    node.put("/_snapshot/nightly", json!({ "type": "fs", "settings": { "location": place } })).await;
    node.fill("alerts-1", 500).await;
    node.fill("cases-1", 500).await;

    // Good.
    node.put("/_snapshot/nightly/good?wait_for_completion=true", json!({ "indices": "alerts-1,cases-1" })).await;
    let (read, managed) = node.read().await;
    assert_eq!(read.state.state, SourceWord::Live);
    assert_eq!(managed.state, SourceWord::Absent, "{managed:?}");
    assert!(managed.detail.expose().contains("plugin absent"));
    let good = found(&read, "good");
    assert_eq!((good.phase, good.items, good.location_reachable), (BackupPhase::Completed, Some((4, 4)), Tri::Pass));
    assert!(good.bytes.is_some_and(|n| n > 10_000) && good.end >= good.start, "{good:?}");
    let (g, why) = graded(&read, "good", "alerts-*");
    assert_eq!(g, Grade::C, "{why:?}");
    assert_eq!(graded(&read, "good", "absent-*").0, Grade::Bad, "it does not cover what is wanted");

    // An index whose primaries have no place: partial when that is allowed, else failed.
    let nowhere =
        json!({ "settings": { "index.routing.allocation.require._name": "nobody", "number_of_replicas": 0 } });
    node.put("/homeless?wait_for_active_shards=0", nowhere).await;
    node.put(
        "/_snapshot/nightly/partial?wait_for_completion=true",
        json!({ "indices": "alerts-1,homeless", "partial": true }),
    )
    .await;
    node.ask("PUT", "/_snapshot/nightly/failed?wait_for_completion=true", json!({ "indices": "alerts-1,homeless" }))
        .await;
    let (read, _) = node.read().await;
    let partial = found(&read, "partial");
    assert!(partial.phase == BackupPhase::Partial && partial.errors > 0, "{partial:?}");
    assert!(partial.said.expose().contains("homeless"), "{:?}", partial.said);
    assert_eq!(graded(&read, "partial", "alerts-*").0, Grade::Bad);
    assert!(read.backups.iter().all(|b| b.id != "failed"), "the server refuses it and keeps nothing: {read:?}");
    assert_eq!(graded(&read, "good", "alerts-*").0, Grade::C, "the good one is as it was");

    // A wrong password and a dead address are states.
    let mut other = node.repository.clone();
    other.password = Some("wrong".into());
    assert_eq!(opensearch::fetch(&other, Timestamp::now()).await.0.state.state, SourceWord::Forbidden);
    other.ca = None;
    assert_eq!(opensearch::fetch(&other, Timestamp::now()).await.0.state.state, SourceWord::Lost);

    // Killed in the middle.
    node.put(
        "/_snapshot/nightly",
        json!({ "type": "fs", "settings": { "location": place, "max_snapshot_bytes_per_sec": "20kb" } }),
    )
    .await;
    node.fill("large-1", 5000).await;
    node.put("/_snapshot/nightly/killed", json!({ "indices": "large-1" })).await;
    let (read, _) = node.read().await;
    assert_eq!(found(&read, "killed").phase, BackupPhase::Running);
    assert!(!graded(&read, "killed", "large-*").0.is_good());
    assert!(script("opensearch.sh", &["kill"], node.dir.path()).status.success());
    let (read, _) = node.read().await;
    assert_eq!((read.state.state, read.backups.len()), (SourceWord::Lost, 0));
    assert!(started("opensearch.sh", "start", node.dir.path()));
    let (read, _) = node.read().await;
    assert_eq!(read.state.state, SourceWord::Live, "{:?}", read.state);
    none_is_good(&read, "large-*");
    assert_eq!(graded(&read, "good", "alerts-*").0, Grade::C);

    // The shards' files of the good one are gone, its name is not.
    node.put("/_snapshot/nightly/torn?wait_for_completion=true", json!({ "indices": "cases-1" })).await;
    let (_, told) = node.ask("GET", "/_snapshot/nightly/torn", Value::Null).await;
    let uuid = told["snapshots"][0]["uuid"].as_str().unwrap().to_owned();
    remove(&place.join("indices"), &format!("snap-{uuid}.dat"));
    let (read, _) = node.read().await;
    assert_eq!(graded(&read, "torn", "cases-*").0, Grade::Bad, "{:?}", found(&read, "torn"));
    assert_eq!(graded(&read, "good", "cases-*").0, Grade::C);

    // The repository is moved away: whatever is still told of it is not good.
    std::fs::rename(&place, place.with_extension("away")).unwrap();
    std::fs::write(&place, "no folder").unwrap();
    let (read, _) = node.read().await;
    none_is_good(&read, "alerts-*");
    assert!(
        read.state.state == SourceWord::Lost || read.backups.iter().all(|b| b.location_reachable == Tri::Fail),
        "{read:?}"
    );
    std::fs::remove_file(&place).unwrap();
    std::fs::rename(place.with_extension("away"), &place).unwrap();
    let (read, _) = node.read().await;
    assert_eq!(graded(&read, "good", "alerts-*").0, Grade::C, "back where it was: {read:?}");
}

/// Removes every file of that name below a folder.
fn remove(below: &Path, name: &str) {
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            remove(&path, name);
        } else if path.file_name().is_some_and(|n| n == name) {
            std::fs::remove_file(path).unwrap();
        }
    }
}
