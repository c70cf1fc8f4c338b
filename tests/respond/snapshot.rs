//! Snapshots of a real OpenSearch: taken, restored, and a restore that fails in the middle.

use std::path::Path;

use serde_json::json;

use super::*;

#[path = "../common/opensearch.rs"]
mod server;

/// The node with indices to take snapshots of.
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

    /// Documents that a search sees. An index that was opened a moment ago may not answer yet.
    async fn count(&self, index: &str) -> u64 {
        let start = std::time::Instant::now();
        loop {
            let (refreshed, _) = self.ask("POST", &format!("/{index}/_refresh"), json!({})).await;
            let (status, said) = self.ask("GET", &format!("/{index}/_count"), json!({})).await;
            let shards = &said["_shards"];
            if refreshed == 200 && status == 200 && shards["successful"] == shards["total"] {
                return said["count"].as_u64().unwrap();
            }
            assert!(start.elapsed() < std::time::Duration::from_secs(150), "{index}: {status} {said}");
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    async fn state(&self, index: &str) -> String {
        let path = format!("/_cluster/state/metadata/{index}");
        let all = self.must("GET", &path, json!({})).await;
        all["metadata"]["indices"][index]["state"].as_str().unwrap().to_owned()
    }

    async fn fill(&self) {
        let repo = json!({ "type": "fs", "settings": { "location": "nightly" } });
        self.must("PUT", "/_snapshot/nightly", repo).await;
        for (index, n) in [("logs-a", 50), ("logs-b", 7)] {
            self.must("PUT", &format!("/{index}"), json!({ "settings": { "number_of_replicas": 0 } })).await;
            for i in 0..n {
                self.must("PUT", &format!("/{index}/_doc/{i}"), json!({ "n": i })).await;
            }
        }
    }

    fn desk(&self, dir: &Path) -> Desk {
        let action = |name: &str, verb: &str, tier: &str| {
            format!(
                "[[actions]]\nname = \"{name}\"\ntitle = \"{name}\"\ntier = \"{tier}\"\ntargets = {{ is = {{ type = \"index\" }} }}\n\
                 params = [{{ name = \"snapshot\", is = {{ type = \"index\" }} }}]\n\
                 executor = {{ kind = \"opensearch_snapshot\", verb = \"{verb}\", url = \"{}\", repository = \"nightly\", \
                 username = \"admin\", password = \"env:OPENSEARCH\", ca = {:?}, timeout_seconds = 300 }}\n",
                self.url, self.ca
            )
        };
        let delete = action("delete-snapshot", "delete", "T2")
            .replace("targets = { is = { type = \"index\" } }", "targets = { is = { type = \"snapshot\" } }")
            .replace("params = [{ name = \"snapshot\", is = { type = \"index\" } }]\n", "");
        let actions = delete + &action("take-snapshot", "take", "T1") + &action("restore-snapshot", "restore", "T2");
        desk(dir, &actions, "")
    }
}

fn restore(snapshot: &str, targets: &[&str]) -> Draft {
    draft("restore-snapshot", targets, &[("snapshot", snapshot)])
}

/// What index metadata a restore reads after it has closed the index; the snapshot's own entry does not need it.
fn lose_index_metadata(repo: &Path) -> usize {
    let mut n = 0;
    for index in fs::read_dir(repo.join("indices")).unwrap() {
        for file in fs::read_dir(index.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("meta-") {
                fs::remove_file(path).unwrap();
                n += 1;
            }
        }
    }
    n
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_taken_and_restored_and_what_was_open_stays_open_when_that_fails() {
    let Some(node) = Node::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let desk = node.desk(dir.path());
    node.fill().await;

    let both = ["logs-a", "logs-b"];
    refused(desk.propose(draft("take-snapshot", &["logs-c"], &[("snapshot", "one")])).await, "no index logs-c");
    assert!(desk.propose(draft("take-snapshot", &["logs-*"], &[("snapshot", "one")])).await.is_err(), "one index each");
    let r = desk.approved(draft("take-snapshot", &both, &[("snapshot", "one")])).await;
    let done = desk.execute(&r).await.unwrap();
    assert_eq!(states(&done), [ReceiptState::Done; 2], "{done:?}");
    let kept = node.must("GET", "/_snapshot/nightly/one", json!({})).await;
    assert_eq!(kept["snapshots"][0]["state"], "SUCCESS");
    refused(desk.propose(draft("take-snapshot", &both, &[("snapshot", "one")])).await, "already");

    // Deleting by query sees what a search sees, which may not yet be all that was written.
    assert_eq!((node.count("logs-a").await, node.count("logs-b").await), (50, 7));
    let gone = json!({ "query": { "range": { "n": { "gte": 10 } } } });
    node.must("POST", "/logs-a/_delete_by_query?refresh=true", gone).await;
    node.must("DELETE", "/logs-b", json!({})).await;
    assert_eq!(node.count("logs-a").await, 10);
    refused(desk.propose(restore("two", &both)).await, "no snapshot two");
    refused(desk.propose(restore("one", &["logs-c"])).await, "does not hold logs-c");
    let r = desk.approved(restore("one", &both)).await;
    assert!(r.preview[0].diff.expose().contains("overwritten"), "{:?}", r.preview);
    assert!(r.preview[1].diff.expose().contains("comes back"), "{:?}", r.preview);
    assert_eq!(node.state("logs-a").await, "open", "neither dry run nor approval closes anything");
    let done = desk.execute(&r).await.unwrap();
    assert_eq!(states(&done), [ReceiptState::Done; 2], "{done:?}");
    assert!(receipt(&done, "logs-a").detail.expose().contains("50 documents"), "{done:?}");
    assert_eq!((node.count("logs-a").await, node.count("logs-b").await), (50, 7));

    // Another one that took the name meanwhile is not what was approved to go.
    let r = desk.approved(draft("take-snapshot", &["logs-b"], &[("snapshot", "two")])).await;
    assert_eq!(desk.execute(&r).await.unwrap().state, RequestState::Done);
    let r = desk.approved(draft("delete-snapshot", &["two"], &[])).await;
    assert!(r.preview[0].diff.expose().contains("is deleted"), "{:?}", r.preview);
    node.must("DELETE", "/_snapshot/nightly/two", json!({})).await;
    node.must("PUT", "/_snapshot/nightly/two?wait_for_completion=true", json!({ "indices": "logs-a" })).await;
    refused(desk.execute(&r).await, "another snapshot now");
    let r = desk.approved(draft("delete-snapshot", &["two"], &[])).await;
    let done = desk.execute(&r).await.unwrap();
    assert_eq!(states(&done), [ReceiptState::Done], "{done:?}");
    assert_eq!(node.ask("GET", "/_snapshot/nightly/two", json!({})).await.0, 404);
    refused(desk.propose(draft("delete-snapshot", &["two"], &[])).await, "no snapshot two");

    assert!(lose_index_metadata(&node.dir.path().join("repo/nightly")) > 0);
    let r = desk.approved(restore("one", &both)).await;
    let done = desk.execute(&r).await.unwrap();
    assert_eq!((done.state, states(&done)), (RequestState::Failed, vec![ReceiptState::Failed; 2]), "{done:?}");
    let said = receipt(&done, "logs-a").detail.expose();
    assert!(said.contains("not restored") && said.contains("open again"), "{said}");
    assert_eq!((node.state("logs-a").await, node.count("logs-a").await), ("open".into(), 50));
    assert_eq!((node.state("logs-b").await, node.count("logs-b").await), ("open".into(), 7));
    desk.verify();
}
