//! Backups of real makers: an OpenSearch whose snapshots are good, partial, failed, killed, torn and taken away; a restic
//! repository that rots; pgBackRest and pg_dump. What is graded bad cannot be restored, and what may go is removed by two
//! people, never the last good one.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests speak, and start servers")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use watchfloor::model::backup::{Asset, Backup, BackupPhase, Evidence, EvidenceKind, Grade};
use watchfloor::model::health::{SourceState, SourceWord, Tri};
use watchfloor::operate::backup::source::opensearch::{self, Fetched, Repository, Verify};
use watchfloor::operate::backup::{Read, grade};
use watchfloor::text::Untrusted;

#[path = "backup/desk.rs"]
mod desk;
#[path = "backup/fresh.rs"]
mod fresh;
#[path = "backup/postgres.rs"]
mod postgres;
#[path = "backup/prune.rs"]
mod prune;
#[path = "backup/restic.rs"]
mod restic;
#[path = "common/opensearch.rs"]
mod server;

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

async fn fetch(repository: &Repository) -> Fetched {
    opensearch::fetch(repository, None, Verify::WhenDue, Timestamp::now()).await
}

/// The node with a repository and what it holds.
struct Node {
    node: server::Node,
    repository: Repository,
}

impl std::ops::Deref for Node {
    type Target = server::Node;

    fn deref(&self) -> &server::Node {
        &self.node
    }
}

impl Node {
    fn start() -> Option<Self> {
        let node = server::Node::start()?;
        let repository = Repository {
            name: "it".into(),
            url: node.url.clone(),
            repository: "nightly".into(),
            username: Some("admin".into()),
            password: Some("admin".into()),
            ca: Some(node.ca.clone()),
            timeout: Duration::from_secs(120),
        };
        Some(Self { node, repository })
    }

    async fn fill(&self, index: &str, documents: usize) {
        self.put(&format!("/{index}"), json!({ "settings": { "number_of_shards": 2, "number_of_replicas": 0 } })).await;
        let mut lines = String::new();
        for n in 0..documents {
            let noise = format!("{:x}", (n as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
            lines += &format!("{{\"index\":{{}}}}\n{}\n", json!({ "n": n, "text": noise.repeat(8) }));
        }
        let (status, said) = self.ask("POST", &format!("/{index}/_bulk?refresh=true"), lines).await;
        assert!(status == 200 && said["errors"] == false, "{status}");
        assert_eq!(self.ask("POST", &format!("/{index}/_flush?force=true"), Value::Null).await.0, 200);
    }

    async fn repository_at(&self, place: &Path, rate: Value) {
        let settings = json!({ "location": place, "max_snapshot_bytes_per_sec": rate });
        self.put("/_snapshot/nightly", json!({ "type": "fs", "settings": settings })).await;
    }

    async fn uuid(&self, snapshot: &str) -> String {
        let told = self.must("GET", &format!("/_snapshot/nightly/{snapshot}"), Value::Null).await;
        told["snapshots"][0]["uuid"].as_str().unwrap().to_owned()
    }

    /// Its data are cut off, which no list, status or verification of the server notices: so it is called complete
    /// and never verified, and the restore that fails makes it bad.
    async fn is_not_proven_by_its_lists(&self, place: &Path) {
        self.fill("cut-1", 300).await;
        let before = files(place);
        self.put("/_snapshot/nightly/cut?wait_for_completion=true", json!({ "indices": "cut-1" })).await;
        let told = self.must("GET", "/_snapshot/nightly/cut/_status", Value::Null).await;
        assert_eq!(told["snapshots"][0]["shards_stats"]["failed"], 0);
        let own = files(place).into_iter().filter(|p| !before.contains(p));
        let data: Vec<PathBuf> = own.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("__")).collect();
        assert!(!data.is_empty());
        for data in data {
            std::fs::OpenOptions::new().write(true).open(data).unwrap().set_len(40).unwrap();
        }
        let (mut read, _) = self.read().await;
        assert_eq!(graded(&read, "cut", "cut-*").0, Grade::C, "{:?}", found(&read, "cut"));
        let again = json!({ "indices": "cut-1", "rename_pattern": "cut-1", "rename_replacement": "drill-1" });
        let (status, said) = self.ask("POST", "/_snapshot/nightly/cut/_restore?wait_for_completion=true", again).await;
        let good = said["snapshot"]["shards"]["successful"].as_u64().unwrap_or(0);
        let all = said["snapshot"]["shards"]["total"].as_u64().unwrap_or(2);
        assert!(status != 200 || good < all, "{status} {said}");
        let cut = read.backups.iter_mut().find(|b| b.id == "cut").unwrap();
        cut.evidence.push(Evidence {
            what: EvidenceKind::Drill,
            at: Timestamp::now(),
            ok: status == 200 && good == all,
            took_seconds: None,
            detail: Untrusted::new(said.to_string()),
            reference: None,
            covers: Vec::new(),
        });
        assert_eq!(graded(&read, "cut", "cut-*").0, Grade::Bad);
        self.must("DELETE", "/drill-1?ignore_unavailable=true", Value::Null).await;
    }

    async fn read(&self) -> (Read, SourceState) {
        let f = fetch(&self.repository).await;
        (f.read, f.managed)
    }
}

#[tokio::test]
async fn snapshots_of_a_real_opensearch_are_graded_by_what_can_be_restored() {
    let Some(node) = Node::start() else { return };
    let place = node.dir.path().join("repo/nightly");
    let (read, _) = node.read().await;
    assert_eq!(read.state.state, SourceWord::Absent, "no such repository: {:?}", read.state);
    node.repository_at(&place, Value::Null).await;
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
    assert_eq!(fetch(&other).await.read.state.state, SourceWord::Forbidden);
    other.ca = None;
    assert_eq!(fetch(&other).await.read.state.state, SourceWord::Lost);

    // Killed in the middle. What is homeless would keep the node from ever being ready again.
    node.must("DELETE", "/homeless", Value::Null).await;
    node.repository_at(&place, json!("20kb")).await;
    node.fill("large-1", 5000).await;
    node.put("/_snapshot/nightly/killed", json!({ "indices": "large-1" })).await;
    let (read, _) = node.read().await;
    assert_eq!(found(&read, "killed").phase, BackupPhase::Running);
    assert_eq!(graded(&read, "killed", "large-*").0, Grade::Unknown);
    node.kill();
    let (read, _) = node.read().await;
    assert_eq!((read.state.state, read.backups.len()), (SourceWord::Lost, 0));
    node.start_again();
    let (read, _) = node.read().await;
    assert_eq!(read.state.state, SourceWord::Live, "{:?}", read.state);
    none_is_good(&read, "large-*");
    assert_eq!(graded(&read, "good", "alerts-*").0, Grade::C);
    node.repository_at(&place, Value::Null).await;

    // The shards' files of one are gone, its name is not.
    node.put("/_snapshot/nightly/torn?wait_for_completion=true", json!({ "indices": "cases-1" })).await;
    assert_eq!(graded(&node.read().await.0, "torn", "cases-*").0, Grade::C);
    let torn = node.uuid("torn").await;
    assert_eq!(remove(&place.join("indices"), &format!("snap-{torn}.dat")), 2);
    let (read, _) = node.read().await;
    assert_eq!(graded(&read, "torn", "cases-*").0, Grade::Bad, "{:?}", found(&read, "torn"));
    assert_eq!(graded(&read, "good", "cases-*").0, Grade::C);

    // One's own file is gone too: listed by name, and nothing else can be said of it.
    assert_eq!(remove(&place, &format!("snap-{torn}.dat")), 1);
    let (read, _) = node.read().await;
    assert_eq!(found(&read, "torn").phase, BackupPhase::Failed, "{:?}", found(&read, "torn"));
    assert_eq!(graded(&read, "good", "cases-*").0, Grade::C);

    prune::of_opensearch(&node).await;
    node.is_not_proven_by_its_lists(&place).await;

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
    assert_eq!(graded(&read, "fresh", "alerts-*").0, Grade::C, "back where it was: {read:?}");
}

/// Removes every file of that name below a folder; how many.
fn remove(below: &Path, name: &str) -> usize {
    let mut n = 0;
    for path in files(below) {
        if path.file_name().is_some_and(|f| f == name) {
            std::fs::remove_file(path).unwrap();
            n += 1;
        }
    }
    n
}

fn files(below: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(below).unwrap().map(|e| e.unwrap().path());
    paths.flat_map(|p| if p.is_dir() { files(&p) } else { vec![p] }).collect()
}
