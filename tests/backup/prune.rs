//! Snapshots of a real OpenSearch that may go, and the one that may not.

use std::time::Duration;

use serde_json::json;
use watchfloor::model::action::{ReceiptState, RequestState};
use watchfloor::model::backup::Grade;
use watchfloor::model::health::SourceWord;

use super::{Node, desk};

/// `good` and `partial` hold `alerts-1` and are some time old; anything newer is of other indices.
pub async fn of_opensearch(node: &Node) {
    let dir = tempfile::tempdir().unwrap();
    let (url, ca) = (&node.url, &node.ca);
    let at = format!(
        "url = {url:?}, repository = \"nightly\", username = \"admin\", password = \"env:OPENSEARCH\", ca = {ca:?}"
    );
    let actions = format!(
        "[[actions]]\nname = \"delete-snapshot\"\ntitle = \"Delete\"\ntier = \"T2\"\n\
         targets = {{ is = {{ type = \"snapshot\" }} }}\nexecutor = {{ kind = \"opensearch_snapshot\", verb = \"delete\", {at} }}\n"
    );
    std::fs::write(dir.path().join("actions.toml"), actions).unwrap();
    let backups = format!(
        "[[sources]]\nname = \"search\"\nkind = \"opensearch\"\n{}\nprune = \"delete-snapshot\"\n\
         [[assets]]\nname = \"alerts\"\nsource = \"search\"\ncovers = [\"alerts-*\"]\nrto = \"1h\"\nrpo = \"60s\"\nkeep = \"60s\"\n",
        at.replace(", ", "\n")
    );
    std::fs::write(dir.path().join("backups.toml"), backups).unwrap();
    let desk = desk::open(dir.path(), "alice");
    let (alice, good) = (desk::who("alice"), "good");

    // The only good one stays, however old it is.
    let alerts = desk::asset(&desk).await;
    assert_eq!((alerts.grade, alerts.newest_good.as_deref()), (Grade::C, Some(good)), "{:?}", alerts.why);
    desk::refused(desk.propose(&alice, desk::draft("delete-snapshot", good)).await, "the last good one");
    let olds = alerts.backups.iter().filter(|b| [good, "partial"].contains(&b.backup.id.as_str()));
    let begun = olds.filter_map(|b| b.backup.start).max().unwrap();
    while begun.duration_until(jiff::Timestamp::now()).as_secs() <= 62 {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    node.put("/_snapshot/nightly/fresh?wait_for_completion=true", json!({ "indices": "alerts-1" })).await;
    let plan = desk.propose_prune(&alice, "past retention").await.unwrap();
    let [request] = plan.requests.as_slice() else { panic!("{plan:?}") };
    let mut targets = request.body.targets.clone();
    targets.sort();
    assert_eq!(targets, [good, "partial"]);
    assert!(request.preview.iter().any(|p| p.diff.expose().contains("PARTIAL")), "{:?}", request.preview);
    desk::refused(desk.propose(&alice, desk::draft("delete-snapshot", "fresh")).await, "would miss its objective");
    desk::approved(dir.path(), request);
    let done = desk.execute(&alice, &request.body.id).await.unwrap();
    assert_eq!(done.state, RequestState::Done, "{done:?}");
    assert!(done.receipts.iter().all(|r| r.state == ReceiptState::Done), "{done:?}");
    let read = desk.backups().await.unwrap();
    assert_eq!(read.sources[0].state, SourceWord::Live);
    assert_eq!(read.assets[0].newest_good.as_deref(), Some("fresh"));
    let gone = |b: &&watchfloor::model::backup::Graded| b.backup.gone_since.is_some();
    assert_eq!(read.assets[0].backups.iter().filter(gone).count(), 2, "history is kept");
}
