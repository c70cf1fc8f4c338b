//! Acts on rollouts in a real cluster: a real apiserver, the real controller of Argo Rollouts.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use watchfloor::config::settings::KubernetesSettings;
use watchfloor::operate::cluster::{As, connect};

use super::*;

fn script(args: &[&str]) -> std::process::Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/kubernetes.sh");
    let mut bash = Command::new("bash");
    bash.arg(path).args(args).env("WATCHFLOOR_TEST_OWNER", std::process::id().to_string());
    bash.env("WATCHFLOOR_TEST_BUILD", "1").output().unwrap()
}

/// A cluster that ends with the test.
struct Cluster {
    dir: tempfile::TempDir,
    admin: kube::Client,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        script(&["stop", self.dir.path().to_str().unwrap()]);
    }
}

impl Cluster {
    async fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_str().unwrap().to_owned();
        for args in [["start", &at], ["argo", &at]] {
            let out = script(&args);
            if out.status.code() == Some(77) {
                println!("skipped: {}", String::from_utf8_lossy(&out.stderr).trim());
                return None;
            }
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        }
        let settings =
            KubernetesSettings { kubeconfig: Some(dir.path().join("admin.kubeconfig")), ..Default::default() };
        let admin = connect("admin", &settings, As::Reader).await.unwrap();
        Some(Self { dir, admin })
    }

    fn desk(&self, dir: &Path, writer: &str) -> Desk {
        let settings = KubernetesSettings {
            kubeconfig: Some(self.dir.path().join("reader.kubeconfig")),
            write_kubeconfig: (!writer.is_empty()).then(|| self.dir.path().join(format!("{writer}.kubeconfig"))),
            ..Default::default()
        };
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("actions.toml"), DEMO).unwrap();
        fs::write(dir.join("policy.toml"), "").unwrap();
        open_with(
            dir,
            Arc::new(move |name| {
                let (name, settings) = (name.to_owned(), settings.clone());
                Box::pin(async move { connect(&name, &settings, As::Writer).await })
            }),
        )
    }

    fn api(&self, group: &str, version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
        let r = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        Api::namespaced_with(self.admin.clone(), "demo", &r)
    }

    fn rollouts(&self) -> Api<DynamicObject> {
        self.api("argoproj.io", "v1alpha1", "Rollout", "rollouts")
    }

    async fn rollout(&self) -> Value {
        serde_json::to_value(self.rollouts().get("web").await.unwrap()).unwrap()
    }

    /// Waits until the rollout is so.
    async fn until(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let r = self.rollout().await;
            if so(&r) {
                return r;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "never {what}: {:#}", r["status"]);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Replicas wanted by ReplicaSet, smallest first.
    async fn sizes(&self) -> Vec<i64> {
        let sets = self.api("apps", "v1", "ReplicaSet", "replicasets").list(&Default::default()).await.unwrap();
        let mut all: Vec<i64> = sets.items.iter().filter_map(|s| s.data["spec"]["replicas"].as_i64()).collect();
        all.sort_unstable();
        all
    }

    async fn image(&self, image: &str) {
        let patch =
            json!({ "spec": { "template": { "spec": { "containers": [{ "name": "web", "image": image }] } } } });
        self.rollouts().patch("web", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    async fn create(&self) {
        let steps = json!([
            { "setWeight": 5 }, { "pause": {} }, { "setWeight": 25 }, { "pause": {} }, { "setWeight": 50 }, { "pause": {} }
        ]);
        let pods = json!({ "metadata": { "labels": { "app": "web" } },
            "spec": { "containers": [{ "name": "web", "image": "web:1" }] } });
        let web = json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": { "name": "web" },
            "spec": { "replicas": 20, "selector": { "matchLabels": { "app": "web" } }, "template": pods,
                "strategy": { "canary": { "steps": steps } } } });
        let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
            "spec": { "selector": { "app": "web", "version": "blue" }, "ports": [{ "port": 80 }] } });
        let post = PostParams::default();
        self.rollouts().create(&post, &serde_json::from_value(web).unwrap()).await.unwrap();
        let services = self.api("", "v1", "Service", "services");
        services.create(&post, &serde_json::from_value(service).unwrap()).await.unwrap();
    }
}

fn act(action: &str, params: &[(&str, &str)]) -> Draft {
    draft(action, &["prod/demo/web"], params)
}

fn paused_at(step: i64) -> impl Fn(&Value) -> bool {
    move |r| r["status"]["phase"] == "Paused" && r["status"]["currentStepIndex"] == step
}

fn healthy(r: &Value) -> bool {
    let s = &r["status"];
    s["phase"] == "Healthy" && s["currentPodHash"] == s["stableRS"] && s["availableReplicas"] == 20
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_goes_from_5_to_100_by_approvals_and_another_is_aborted() {
    let Some(cluster) = Cluster::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let desk = cluster.desk(&dir.path().join("desk"), "writer");
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
    assert_eq!(states(&done), [ReceiptState::Done]);
    let r = cluster.until("degraded", |r| r["status"]["phase"] == "Degraded").await;
    assert!(r["status"]["message"].as_str().unwrap().contains("RolloutAborted"), "{:#}", r["status"]);
    let start = Instant::now();
    while cluster.sizes().await != [0, 0, 20] {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", cluster.sizes().await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    refused(desk.execute(&promote).await, "when it was proposed");
    refused(desk.propose(act("rollout-abort", &[])).await, "aborted already");

    // Retried, it is where it was; undone, it is the revision before.
    let retry = desk.approved(act("rollout-retry", &[])).await;
    assert_eq!(states(&desk.execute(&retry).await.unwrap()), [ReceiptState::Done]);
    cluster.until("paused again", paused_at(1)).await;
    let undo = desk.approved(act("rollout-undo", &[])).await;
    assert!(undo.preview[0].diff.expose().contains("web:2"), "{:?}", undo.preview);
    assert_eq!(states(&desk.execute(&undo).await.unwrap()), [ReceiptState::Done]);
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
    assert!(e.to_string().contains("modified"), "the precondition that every patch carries: {e}");
}

/// Identities that may not, clusters that are not there, names that are none.
async fn others(cluster: &Cluster, desk: &Desk, dir: &Path) {
    let scale = act("rollout-scale", &[("replicas", "4")]);
    let reader = cluster.desk(&dir.join("reader"), "reader");
    refused(reader.propose(scale.clone()).await, "403");
    let none = cluster.desk(&dir.join("none"), "");
    refused(none.propose(scale.clone()).await, "can only be read");
    let nobody = cluster.desk(&dir.join("nobody"), "nobody");
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
