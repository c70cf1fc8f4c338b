//! Acts on rollouts in a real cluster: a real apiserver, the real controller of Argo Rollouts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use serde_json::json;
use watchfloor::config::settings::KubernetesSettings;
use watchfloor::operate::cluster::{As, connect};

use super::cluster::{Cluster, healthy, paused_at, script};
use super::*;

fn settings(cluster: &Cluster, writer: &str) -> KubernetesSettings {
    KubernetesSettings {
        kubeconfig: Some(cluster.dir.path().join("reader.kubeconfig")),
        write_kubeconfig: (!writer.is_empty()).then(|| cluster.dir.path().join(format!("{writer}.kubeconfig"))),
        ..Default::default()
    }
}

fn desk_on(cluster: &Cluster, dir: &Path, writer: &str) -> Desk {
    let settings = settings(cluster, writer);
    prepared(
        dir,
        Arc::new(move |name| {
            let (name, settings) = (name.to_owned(), settings.clone());
            Box::pin(async move { connect(&name, &settings, As::Writer).await })
        }),
    )
}

fn prepared(dir: &Path, clusters: Clusters) -> Desk {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("actions.toml"), DEMO).unwrap();
    fs::write(dir.join("policy.toml"), "").unwrap();
    open_with(dir, clusters)
}

fn act(action: &str, params: &[(&str, &str)]) -> Draft {
    draft(action, &["prod/demo/web"], params)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_goes_from_5_to_100_by_approvals_and_another_is_aborted() {
    let Some(cluster) = Cluster::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let desk = desk_on(&cluster, &dir.path().join("desk"), "writer");
    cluster.create().await;
    cluster.until("healthy", healthy).await;

    refused(desk.propose(act("rollout-promote", &[])).await, "nothing to promote");
    cluster.image("web:2").await;
    for (step, sizes) in [(1, [1, 19]), (3, [5, 15]), (5, [10, 10])] {
        cluster.until("paused at its step", paused_at(step)).await;
        assert_eq!(cluster.sizes().await, sizes, "at step {step}");
        let r = desk.approved(act("rollout-promote", &[])).await;
        assert_eq!(r.body.commands[0].argv[2], r#"{"status":{"pauseConditions":null}}"#);
        let shown = r.preview[0].diff.expose();
        assert!(shown.contains("- /status/pauseConditions"), "what the cluster would change: {shown}");
        assert_eq!(cluster.rollout().await["status"]["currentStepIndex"], step, "neither dry run nor approval acts");
        let done = desk.execute(&r).await.unwrap();
        assert_eq!((done.state, states(&done)), (RequestState::Done, vec![ReceiptState::Done]), "{done:?}");
    }
    cluster.until("healthy at the new revision", healthy).await;
    assert_eq!(cluster.sizes().await, [0, 20]);

    aborted(&cluster, &desk).await;
    switched(&cluster, &desk).await;
    overtaken(&cluster, &dir.path().join("overtaken")).await;
    others(&cluster, &desk, dir.path()).await;
    desk.verify();
}

/// Aborting brings the old ReplicaSet back; what was approved before does not hold any more.
async fn aborted(cluster: &Cluster, desk: &Desk) {
    cluster.image("web:3").await;
    cluster.until("paused", paused_at(1)).await;
    let promote = desk.approved(act("rollout-promote", &[])).await;
    let abort = desk.approved(act("rollout-abort", &[])).await;
    let done = desk.execute(&abort).await.unwrap();
    assert_eq!(states(&done), [ReceiptState::Done], "{done:?}");
    let r = cluster.until("degraded", |r| r["status"]["phase"] == "Degraded").await;
    assert!(r["status"]["message"].as_str().unwrap().contains("RolloutAborted"), "{:#}", r["status"]);
    let start = Instant::now();
    while cluster.sizes().await != [0, 0, 20] {
        assert!(start.elapsed() < Duration::from_secs(150), "{:?}", cluster.sizes().await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    refused(desk.execute(&promote).await, "when it was proposed");
    refused(desk.propose(act("rollout-abort", &[])).await, "aborted already");

    // Retried, it is where it was; undone, it is the revision before.
    let retry = desk.approved(act("rollout-retry", &[])).await;
    let done = desk.execute(&retry).await.unwrap();
    assert_eq!(states(&done), [ReceiptState::Done], "{done:?}");
    cluster.until("paused again", paused_at(1)).await;
    let undo = desk.approved(act("rollout-undo", &[])).await;
    assert!(undo.preview[0].diff.expose().contains("web:2"), "{:?}", undo.preview);
    let done = desk.execute(&undo).await.unwrap();
    assert_eq!(states(&done), [ReceiptState::Done], "{done:?}");
    let r = cluster.until("healthy", healthy).await;
    assert_eq!(r["spec"]["template"]["spec"]["containers"][0]["image"], "web:2");
}

/// A Service is pointed elsewhere once it is approved, and not when somebody moved it meanwhile.
async fn switched(cluster: &Cluster, desk: &Desk) {
    let services = cluster.api("", "v1", "Service", "services");
    let to = |v: &str| act("rollout-switch-selector", &[("key", "version"), ("value", v)]);
    let green = desk.approved(to("green")).await;
    let also = desk.approved(to("green")).await;
    assert_eq!(states(&desk.execute(&green).await.unwrap()), [ReceiptState::Done]);
    let selector = services.get("web").await.unwrap().data["spec"]["selector"].clone();
    let selector: BTreeMap<String, String> = serde_json::from_value(selector).unwrap();
    assert_eq!(selector["version"], "green");
    assert_eq!(selector["app"], "web", "what was not named stays");
    refused(desk.execute(&also).await, "selector was");
    refused(desk.propose(to("green")).await, "already");
    let stale = json!({ "metadata": { "resourceVersion": "1" }, "spec": { "selector": { "version": "red" } } });
    let e = services.patch("web", &PatchParams::default(), &Patch::Merge(stale)).await.unwrap_err();
    assert!(matches!(e, kube::Error::Api(s) if s.code == 409), "the precondition that every patch carries");
}

/// Between the last look and the patch somebody else is faster, so often: the server refuses the patch (409), and only
/// the `resourceVersion` can tell it. What they write is `note`, with the count of the times for `N`.
fn hurried(cluster: &Cluster, dir: &Path, writer: kube::Client, times: usize, note: &'static str) -> Desk {
    let (rollouts, left) = (cluster.rollouts(), Arc::new(AtomicUsize::new(times)));
    let service = tower::service_fn(move |request: ::http::Request<kube::client::Body>| {
        let (writer, rollouts, left) = (writer.clone(), rollouts.clone(), left.clone());
        async move {
            let real = request.method() == "PATCH" && !request.uri().to_string().contains("dryRun");
            let now = left.load(Ordering::SeqCst);
            if real && now > 0 {
                left.store(now - 1, Ordering::SeqCst);
                let note: serde_json::Value = serde_json::from_str(&note.replace('N', &now.to_string())).unwrap();
                rollouts.patch("web", &PatchParams::default(), &Patch::Merge(note)).await?;
            }
            writer.send(request).await
        }
    });
    let client = kube::Client::new(service, "demo");
    prepared(
        dir,
        Arc::new(move |_| {
            let client = client.clone();
            Box::pin(async move { Ok(client) })
        }),
    )
}

/// A patch that was overtaken is sent again while all that was looked at holds, and not for ever; when what was looked at
/// changed, nothing is done.
async fn overtaken(cluster: &Cluster, dir: &Path) {
    const NOTE: &str = r#"{ "metadata": { "annotations": { "counted": "N times" } } }"#;
    const SIZE: &str = r#"{ "spec": { "replicas": 20, "progressDeadlineSeconds": 60N } }"#;
    let writer = connect("prod", &settings(cluster, "writer"), As::Writer).await.unwrap();
    for (n, times, note, replicas, said) in [
        (0, usize::MAX, NOTE, "7", "it changed meanwhile, nothing was done (409"),
        (1, 1, SIZE, "8", "it changed meanwhile, nothing was done: its generation was"),
        (2, 2, NOTE, "19", ""),
    ] {
        let desk = hurried(cluster, &dir.join(n.to_string()), writer.clone(), times, note);
        let scale = desk.approved(act("rollout-scale", &[("replicas", replicas)])).await;
        let done = desk.execute(&scale).await.unwrap();
        let (state, size) = if said.is_empty() { (ReceiptState::Done, 19) } else { (ReceiptState::Failed, 20) };
        assert_eq!(states(&done), [state], "{done:?}");
        assert!(done.receipts[0].detail.expose().contains(said), "{done:?}");
        assert_eq!(cluster.rollout().await["spec"]["replicas"], size);
        desk.verify();
    }
}

/// Identities that may not, clusters that are not there, names that are none.
async fn others(cluster: &Cluster, desk: &Desk, dir: &Path) {
    let scale = act("rollout-scale", &[("replicas", "4")]);
    let reader = desk_on(cluster, &dir.join("reader"), "reader");
    refused(reader.propose(scale.clone()).await, "403");
    let none = desk_on(cluster, &dir.join("none"), "");
    refused(none.propose(scale.clone()).await, "can only be read");
    let nobody = desk_on(cluster, &dir.join("nobody"), "nobody");
    refused(nobody.propose(scale.clone()).await, "this identity may not");
    refused(desk.propose(draft("rollout-abort", &["prod/demo/absent"], &[])).await, "there is no");
    assert!(desk.propose(draft("rollout-abort", &["prod/demo"], &[])).await.is_err());

    let approved = desk.approved(scale).await;
    script(&["api-stop", cluster.dir.path().to_str().unwrap()]);
    refused(desk.execute(&approved).await, "cannot be reached");
    assert_eq!(desk.state(&approved), RequestState::Approved, "nothing was started");
    assert!(script(&["api-start", cluster.dir.path().to_str().unwrap()]).status.success());
    let done = desk.execute(&approved).await.unwrap();
    assert_eq!(states(&done), [ReceiptState::Done], "{done:?}");
    cluster.until("smaller", |r| r["status"]["availableReplicas"] == 4).await;
}
