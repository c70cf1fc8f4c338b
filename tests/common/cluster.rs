//! A real cluster with the real controller of Argo Rollouts and a canary in it, for the tests that move one.

#![allow(dead_code, reason = "each test uses its own part")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use watchfloor::config::settings::KubernetesSettings;
use watchfloor::operate::cluster::{As, connect};

/// Longest wait for anything the cluster does; each ends as soon as it is so.
pub const PATIENCE: Duration = Duration::from_secs(150);

pub fn script(args: &[&str]) -> std::process::Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/kubernetes.sh");
    let mut bash = Command::new("bash");
    bash.arg(path).args(args).env("WATCHFLOOR_TEST_OWNER", std::process::id().to_string());
    bash.env("WATCHFLOOR_TEST_BUILD", "1").output().unwrap()
}

/// A cluster that ends with the test.
pub struct Cluster {
    pub dir: tempfile::TempDir,
    admin: kube::Client,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        script(&["stop", self.dir.path().to_str().unwrap()]);
    }
}

impl Cluster {
    pub async fn start() -> Option<Self> {
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

    pub fn api(&self, group: &str, version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
        let r = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        Api::namespaced_with(self.admin.clone(), "demo", &r)
    }

    pub fn rollouts(&self) -> Api<DynamicObject> {
        self.api("argoproj.io", "v1alpha1", "Rollout", "rollouts")
    }

    /// Waits until its controller has taken it back. An abort that comes between the controller's reading and its writing
    /// is there and is overlooked until something lets it look again.
    pub async fn until_aborted(&self) -> Value {
        let (mut poked, mut n) = (Instant::now(), 0);
        let end = Instant::now() + PATIENCE;
        loop {
            let r = self.rollout().await;
            if r["status"]["phase"] == "Degraded" {
                return r;
            }
            assert!(Instant::now() < end, "never degraded: {:#}", r["status"]);
            if r["status"]["abort"] == true && poked.elapsed() > Duration::from_secs(10) {
                (poked, n) = (Instant::now(), n + 1);
                let again = json!({ "metadata": { "annotations": { "test/look-again": n.to_string() } } });
                self.rollouts().patch("web", &PatchParams::default(), &Patch::Merge(again)).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub async fn rollout(&self) -> Value {
        serde_json::to_value(self.rollouts().get("web").await.unwrap()).unwrap()
    }

    /// Waits until the rollout is so.
    pub async fn until(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let r = self.rollout().await;
            if so(&r) {
                return r;
            }
            assert!(start.elapsed() < PATIENCE, "never {what}: {:#}", r["status"]);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Replicas wanted by ReplicaSet, smallest first.
    pub async fn sizes(&self) -> Vec<i64> {
        let sets = self.api("apps", "v1", "ReplicaSet", "replicasets").list(&Default::default()).await.unwrap();
        let mut all: Vec<i64> = sets.items.iter().filter_map(|s| s.data["spec"]["replicas"].as_i64()).collect();
        all.sort_unstable();
        all
    }

    pub async fn image(&self, image: &str) {
        let patch =
            json!({ "spec": { "template": { "spec": { "containers": [{ "name": "web", "image": image }] } } } });
        self.rollouts().patch("web", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub async fn create(&self) {
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

pub fn paused_at(step: i64) -> impl Fn(&Value) -> bool {
    move |r| r["status"]["phase"] == "Paused" && r["status"]["currentStepIndex"] == step
}

pub fn healthy(r: &Value) -> bool {
    let s = &r["status"];
    s["phase"] == "Healthy" && s["currentPodHash"] == s["stableRS"] && s["availableReplicas"] == 20
}
