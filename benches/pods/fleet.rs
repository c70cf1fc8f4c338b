//! The objects of a large cluster, made over the API: Deployments of a hundred pods each, spread over nodes in three
//! zones, with all that a pod of a real service carries.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use kube::api::Patch;
use kube::api::PatchParams;
use kube::api::PostParams;
use kube::config::KubeConfigOptions;
use kube::config::Kubeconfig;
use serde_json::Value;
use serde_json::json;

const NAMESPACE: &str = "fleet";
/// Of one Deployment.
const PODS: usize = 100;
const NODES: usize = 60;
const AT_ONCE: usize = 24;
/// Changes of [`change`].
pub const A_SECOND: u32 = 4;

pub async fn client(kubeconfig: &Path) -> kube::Client {
    let read = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

pub async fn fill(kubeconfig: &Path, n: usize) {
    let client = client(kubeconfig).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let spaces: Api<Namespace> = Api::all(client.clone());
    spaces.create(&PostParams::default(), &of(json!({ "metadata": { "name": NAMESPACE } }))).await.unwrap();
    let nodes: Api<Node> = Api::all(client.clone());
    for i in 0..NODES {
        let zone = format!("zone-{}", ["a", "b", "c"][i % 3]);
        let labels = json!({ "topology.kubernetes.io/zone": zone });
        let node = of(json!({ "metadata": { "name": format!("node-{i}"), "labels": labels } }));
        nodes.create(&PostParams::default(), &node).await.unwrap();
    }
    let mut owners = Vec::new();
    for i in 0..n.div_ceil(PODS) {
        owners.push(owner(&client, i, PODS.min(n - i * PODS)).await);
    }
    let make = |i: usize| {
        let (pods, uid) = (pods.clone(), owners[i / PODS].clone());
        async move {
            let made = pods.create(&PostParams::default(), &of(pod(i, &uid))).await.unwrap();
            let name = made.metadata.name.unwrap();
            pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status(i))).await.unwrap();
        }
    };
    stream::iter(0..n).map(make).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn app(i: usize) -> String {
    format!("service-{i:03}")
}

/// A Deployment and its ReplicaSet, of which the UID.
async fn owner(client: &kube::Client, i: usize, replicas: usize) -> String {
    let labels = json!({ "app": app(i), "pod-template-hash": "5d59d67564" });
    let spec = spec(i);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let deployment = of(json!({
        "metadata": { "name": app(i), "labels": { "app": app(i) } },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": { "app": app(i) } },
            "template": { "metadata": { "labels": { "app": app(i) } }, "spec": spec },
        },
    }));
    let made = deployments.create(&PostParams::default(), &deployment).await.unwrap();
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), NAMESPACE);
    let set = of(json!({
        "metadata": {
            "name": format!("{}-5d59d67564", app(i)), "labels": labels,
            "annotations": { "deployment.kubernetes.io/revision": "1" },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "name": app(i), "uid": made.metadata.uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": spec },
        },
    }));
    sets.create(&PostParams::default(), &set).await.unwrap().metadata.uid.unwrap()
}

/// What every pod of a Deployment is to be.
fn spec(i: usize) -> Value {
    json!({
        "containers": containers(i),
        "volumes": [{ "name": "config", "configMap": { "name": format!("{}-config", app(i)) } }],
    })
}

fn containers(i: usize) -> Value {
    let variable = |k: usize| json!({ "name": format!("SETTING_{k}"), "value": format!("value {k} of {}", app(i)) });
    let probe = |path: &str| {
        json!({
            "httpGet": { "path": path, "port": 8080, "scheme": "HTTP" },
            "initialDelaySeconds": 5, "periodSeconds": 10, "timeoutSeconds": 2, "failureThreshold": 3,
        })
    };
    json!([
        {
            "name": "main", "image": format!("registry.internal:5000/team/{}:1.4.2", app(i)),
            "args": ["--listen=:8080", "--log-format=json"],
            "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
            "env": (0..8).map(variable).collect::<Vec<_>>(),
            "resources": { "requests": { "cpu": "100m", "memory": "256Mi" }, "limits": { "memory": "512Mi" } },
            "livenessProbe": probe("/healthz"), "readinessProbe": probe("/readyz"),
            "volumeMounts": [{ "name": "config", "mountPath": "/etc/service", "readOnly": true }],
        },
        {
            "name": "proxy", "image": "registry.internal:5000/mesh/proxy:2.11.0",
            "ports": [{ "name": "mesh", "containerPort": 15001, "protocol": "TCP" }],
            "resources": { "requests": { "cpu": "10m", "memory": "64Mi" } },
        },
    ])
}

fn pod(i: usize, owner: &str) -> Value {
    let app = app(i / PODS);
    let away = |key: &str| json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 });
    let mut spec = spec(i / PODS);
    spec["nodeName"] = json!(format!("node-{}", i % NODES));
    spec["tolerations"] = json!(["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].map(away));
    json!({
        "metadata": {
            "name": format!("{app}-5d59d67564-{i:05}"),
            "labels": { "app": app, "pod-template-hash": "5d59d67564", "team": "soc", "tier": "backend" },
            "annotations": { "prometheus.io/scrape": "true", "prometheus.io/port": "8080", "mesh/inject": "enabled" },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{app}-5d59d67564"), "uid": owner,
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": spec,
    })
}

fn status(i: usize) -> Value {
    const AT: &str = "2026-01-05T08:00:00Z";
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": AT });
    let container = |name: &str, image: &str| {
        json!({
            "name": name, "image": image, "imageID": format!("{image}@sha256:{:064x}", i / PODS),
            "containerID": format!("containerd://{i:064x}"), "ready": true, "started": true, "restartCount": 0,
            "state": { "running": { "startedAt": AT } }, "lastState": {},
        })
    };
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(condition);
    json!({ "status": {
        "phase": "Running", "startTime": AT, "hostIP": format!("10.0.0.{}", i % NODES),
        "podIP": format!("10.1.{}.{}", i / 250, i % 250),
        "conditions": conditions,
        "containerStatuses": [container("main", &app(i / PODS)), container("proxy", "mesh/proxy")],
    } })
}

/// Restarts counted on one pod after another, until the process is ended.
pub async fn change(kubeconfig: &Path) {
    let pods: Api<Pod> = Api::namespaced(client(kubeconfig).await, NAMESPACE);
    let names: Vec<String> = pods
        .list_metadata(&ListParams::default())
        .await
        .unwrap()
        .items
        .into_iter()
        .filter_map(|p| p.metadata.name)
        .collect();
    // Another count than that of an earlier run: what is the same already is no change.
    let first = jiff::Timestamp::now().as_second() % 1_000_000;
    for turn in 0_usize.. {
        // A step that is prime to the number of pods: all Deployments have their turn.
        let i = turn * 7_919 % names.len();
        let mut next = status(i);
        next["status"]["containerStatuses"][0]["restartCount"] = json!(first + turn as i64);
        pods.patch_status(&names[i], &PatchParams::default(), &Patch::Merge(next)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1) / A_SECOND).await;
    }
}
