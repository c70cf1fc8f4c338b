//! The demo's cluster: objects as an apiserver lists them.

use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

use super::series;
use super::world::Canary;
use super::world::World;
use crate::operate::rollout::read::Kept;
use crate::operate::rollout::read::Kind;

const NAMESPACE: &str = "soc";
const ZONES: [&str; 3] = ["eu-a", "eu-b", "eu-c"];
const NODES: usize = 6;

/// Every kind with all its objects at `now`.
pub fn objects(world: &World, now: Timestamp) -> Vec<(Kind, Vec<Kept>)> {
    let mut found: Vec<(Kind, Vec<Value>)> = Kind::ALL.map(|kind| (kind, Vec::new())).into();
    let mut put = |kind: Kind, value: Value| {
        if let Some((_, list)) = found.iter_mut().find(|(k, _)| *k == kind) {
            list.push(value);
        }
    };
    for i in 0..NODES {
        let labels = json!({ "topology.kubernetes.io/zone": ZONES[i % ZONES.len()] });
        put(Kind::Node, json!({ "metadata": { "name": node(i), "uid": node(i), "labels": labels } }));
    }
    canary(world, now, &mut put);
    intake(world, now, &mut put);
    reports(world, now, &mut put);
    llm(world, &mut put);
    let read = |(kind, list): (Kind, Vec<Value>)| {
        let kept = list.iter().filter_map(|v| {
            Kept::parse(kind, &v.to_string()).map_err(|e| tracing::warn!(error = %e, "demo object")).ok()
        });
        (kind, kept.collect())
    };
    found.into_iter().map(read).collect()
}

fn node(i: usize) -> String {
    format!("worker-{}-{}", ZONES[i % ZONES.len()].trim_start_matches("eu-"), i / ZONES.len() + 1)
}

fn condition(kind: &str, status: &str, reason: &str, message: &str, since: Timestamp) -> Value {
    json!({ "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since.to_string() })
}

/// What a ReplicaSet and its pods are made from.
struct Set<'a> {
    app: &'a str,
    hash: &'a str,
    hash_label: &'a str,
    owner: String,
    number: u32,
    image: &'a str,
    digest: &'a str,
    desired: u32,
    ready: u32,
    since: Timestamp,
    /// Why pods that are not ready wait.
    waits: &'a str,
    annotations: Vec<(&'a str, String)>,
}

fn set(s: &Set<'_>, put: &mut impl FnMut(Kind, Value)) {
    let name = format!("{}-{}", s.app, s.hash);
    let uid = format!("rs-{name}");
    let labels = json!({ "app": s.app, (s.hash_label): s.hash, "version": s.image.rsplit(':').next().unwrap_or("") });
    let mut annotations: serde_json::Map<String, Value> =
        s.annotations.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
    let revision = if s.hash_label == "pod-template-hash" {
        "deployment.kubernetes.io/revision"
    } else {
        "rollout.argoproj.io/revision"
    };
    annotations.insert(revision.into(), json!(s.number.to_string()));
    let image = if s.digest.is_empty() { s.image.to_owned() } else { format!("{}@sha256:{}", s.image, s.digest) };
    put(
        Kind::ReplicaSet,
        json!({
            "metadata": { "name": name, "namespace": NAMESPACE, "uid": uid, "labels": labels,
                "creationTimestamp": s.since.to_string(), "annotations": annotations,
                "ownerReferences": [{ "uid": s.owner, "controller": true }] },
            "spec": { "replicas": s.desired,
                "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": s.app, "image": image }] } } },
            "status": { "replicas": s.desired, "readyReplicas": s.ready, "availableReplicas": s.ready },
        }),
    );
    for i in 0..s.desired {
        let ready = i < s.ready;
        let state = if ready { json!({}) } else { json!({ "waiting": { "reason": s.waits } }) };
        put(
            Kind::Pod,
            json!({
                "metadata": { "name": format!("{name}-{}", series::name(s.hash, i)), "namespace": NAMESPACE,
                    "uid": format!("{uid}-{i}"), "labels": labels, "creationTimestamp": s.since.to_string(),
                    "ownerReferences": [{ "uid": uid, "controller": true }] },
                "spec": { "nodeName": node(i as usize % NODES) },
                "status": { "phase": if ready { "Running" } else { "Pending" }, "startTime": s.since.to_string(),
                    "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }],
                    "containerStatuses": [{ "name": s.app, "restartCount": 0, "state": state,
                        "imageID": if ready { format!("registry.soc.example/{}@sha256:{}", s.app, s.digest) } else { String::new() } }] },
            }),
        );
    }
}

/// An Argo Rollout in the middle of its canary.
fn canary(world: &World, now: Timestamp, put: &mut impl FnMut(Kind, Value)) {
    let Canary { weight, since, aborted } = world.canary(now);
    let (app, uid) = ("triage-api", "rollout-triage-api");
    let new = series::REPLICAS * weight / 100;
    let stable = series::REPLICAS - new;
    let whole = weight == 100;
    let weights = super::world::WEIGHTS;
    let steps: Vec<Value> = weights.iter().flat_map(|w| [json!({ "setWeight": w }), json!({ "pause": {} })]).collect();
    let index = weights.iter().position(|w| *w == weight).map_or(0, |i| 2 * i + 1);
    // Pods take a moment to come up, and to be taken back.
    let age = now.duration_since(since).as_secs_f64() * world.clock.speed;
    let coming = if age < 20.0 && world.clock.second(since) >= 0.0 { u32::from(age < 10.0) + 1 } else { 0 };
    let (word, message) = match (aborted, coming > 0) {
        (true, _) => ("Degraded", format!("RolloutAborted: Rollout aborted update to revision {NEW_NUMBER}")),
        (false, true) => ("Progressing", "more replicas need to be updated".to_owned()),
        (false, false) => ("Paused", "CanaryPauseStep".to_owned()),
    };
    let mut conditions =
        vec![condition("Available", "True", "AvailableReason", "Rollout has minimum availability", since)];
    if aborted {
        conditions.push(condition("Progressing", "False", "RolloutAborted", &message, since));
    } else {
        conditions.push(condition("Progressing", "Unknown", "RolloutPaused", "Rollout is paused", since));
    }
    let paused = if word == "Paused" {
        json!([{ "reason": "CanaryPauseStep", "startTime": since.to_string() }])
    } else {
        Value::Null
    };
    let replicas = series::REPLICAS;
    put(
        Kind::Rollout,
        json!({
            "metadata": { "name": app, "namespace": NAMESPACE, "uid": uid, "generation": NEW_NUMBER,
                "resourceVersion": (48_210_000 + since.as_second() % 100_000).to_string(),
                "creationTimestamp": days_before(world, 212).to_string(), "labels": { "app": app, "team": "soc-platform" } },
            "spec": { "replicas": replicas, "strategy": { "canary": { "steps": steps } } },
            "status": { "phase": word, "message": message, "abort": aborted,
                "observedGeneration": NEW_NUMBER.to_string(), "currentStepIndex": if aborted { 0 } else { index },
                "currentPodHash": series::NEW, "stableRS": series::STABLE, "pauseConditions": paused,
                "replicas": replicas, "updatedReplicas": new, "readyReplicas": replicas - coming,
                "availableReplicas": replicas - coming, "conditions": conditions },
        }),
    );
    let canary = Set {
        app,
        hash: series::NEW,
        hash_label: "rollouts-pod-template-hash",
        owner: uid.into(),
        number: NEW_NUMBER,
        image: "registry.soc.example/triage-api:2.9.0",
        digest: "9f1c2ab47de05c3b6a8812d4f7e09b35c1d6e8fa7402b93d5c6e1f0a8b7d4c21",
        desired: new,
        ready: new - coming.min(new),
        since: world.clock.real(-640.0),
        waits: "ContainerCreating",
        annotations: Vec::new(),
    };
    set(&canary, put);
    let kept = Set {
        hash: series::STABLE,
        number: NEW_NUMBER - 1,
        image: "registry.soc.example/triage-api:2.8.4",
        digest: "1b7e90d3c45fa2688b0e6d91f3a7c2e4d5b6980fa1c3e2d7b4a69f8805c7e3d2",
        desired: if whole { replicas } else { stable },
        ready: if whole { replicas } else { stable },
        since: days_before(world, 9),
        owner: uid.into(),
        annotations: Vec::new(),
        ..canary
    };
    set(&kept, put);
}

const NEW_NUMBER: u32 = 42;

fn days_before(world: &World, days: i64) -> Timestamp {
    world.clock.start() - SignedDuration::from_hours(24 * days)
}

fn deployment(
    app: &str,
    number: u32,
    wanted: u32,
    updated: u32,
    ready: u32,
    conditions: &[Value],
    labels: &Value,
) -> Value {
    json!({
        "metadata": { "name": app, "namespace": NAMESPACE, "uid": format!("deploy-{app}"), "generation": number,
            "resourceVersion": (48_000_000 + number).to_string(), "labels": { "app": app, "team": "soc-platform" } },
        "spec": { "replicas": wanted, "template": { "metadata": { "labels": labels } } },
        "status": { "observedGeneration": number, "replicas": ready, "updatedReplicas": updated, "readyReplicas": ready,
            "availableReplicas": ready, "conditions": conditions },
    })
}

/// Two Deployments behind one Service: blue serves, green waits.
fn intake(world: &World, now: Timestamp, put: &mut impl FnMut(Kind, Value)) {
    let sides = [
        (
            "log-intake-blue",
            "blue",
            series::BLUE,
            "3.12.1",
            "c0ffee31a59b7d24e8f6a1b3c5d7e9f02468ace13579bdf00112233445566778",
        ),
        (
            "log-intake-green",
            "green",
            series::GREEN,
            "3.13.0",
            "5eed5eed0a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3e4f5061728394a5b",
        ),
    ];
    for (app, color, hash, version, digest) in sides {
        // Green came last: it is the one that is to serve.
        let since = if color == "green" { world.clock.real(-5_400.0) } else { days_before(world, 26) };
        let labels = json!({ "app": "log-intake", "version": color });
        let fine =
            [condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", since)];
        put(Kind::Deployment, deployment(app, 7, 6, 6, 6, &fine, &labels));
        let one = Set {
            app,
            hash,
            hash_label: "pod-template-hash",
            owner: format!("deploy-{app}"),
            number: 7,
            image: &format!("registry.soc.example/log-intake:{version}"),
            digest,
            desired: 6,
            ready: 6,
            since,
            waits: "",
            annotations: Vec::new(),
        };
        set(&one, put);
    }
    // A switch by the people of the demo is seen here.
    let color = if world.switches(now).last().is_some_and(|s| s.1) { "green" } else { "blue" };
    put(
        Kind::Service,
        json!({ "metadata": { "name": "log-intake", "namespace": NAMESPACE, "uid": "svc-log-intake",
                "resourceVersion": "47999120" }, "spec": { "selector": { "app": "log-intake", "version": color } } }),
    );
}

/// A Deployment whose new image cannot be pulled; ten minutes after it was begun its controller gives up on it.
fn reports(world: &World, now: Timestamp, put: &mut impl FnMut(Kind, Value)) {
    let app = "report-writer";
    let begun = world.clock.real(-340.0);
    let late = world.clock.real(260.0);
    let message = "ReplicaSet \"report-writer-58d5c9f6b7\" has timed out progressing.";
    let progress = if now >= late {
        condition("Progressing", "False", "ProgressDeadlineExceeded", message, late)
    } else {
        condition(
            "Progressing",
            "True",
            "ReplicaSetUpdated",
            "ReplicaSet \"report-writer-58d5c9f6b7\" is progressing.",
            begun,
        )
    };
    let conditions = [
        condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", begun),
        progress,
    ];
    let undone = world.deeds.iter().any(|d| d.action == "rollout-undo" && d.target.ends_with("/report-writer"));
    let labels = json!({ "app": app });
    let old = Set {
        app,
        hash: "6bd4f7c9d8",
        hash_label: "pod-template-hash",
        owner: format!("deploy-{app}"),
        number: 18,
        image: "registry.soc.example/report-writer:1.4.2",
        digest: "77aa4400bb1122ccdd3344ee5566ff77889900aabbccddeeff00112233445566",
        desired: 3,
        ready: 3,
        since: days_before(world, 31),
        waits: "ImagePullBackOff",
        annotations: Vec::new(),
    };
    if undone {
        put(Kind::Deployment, deployment(app, 20, 3, 3, 3, &conditions[..1], &labels));
        set(&Set { number: 20, ..old }, put);
        return;
    }
    put(Kind::Deployment, deployment(app, 19, 3, 1, 3, &conditions, &labels));
    let new = Set {
        hash: "58d5c9f6b7",
        number: 19,
        image: "registry.soc.example/report-writer:latest",
        digest: "",
        desired: 1,
        ready: 0,
        since: begun,
        owner: old.owner.clone(),
        annotations: Vec::new(),
        ..old
    };
    set(&new, put);
    set(&old, put);
}

/// The model servers: nothing is being changed there.
fn llm(world: &World, put: &mut impl FnMut(Kind, Value)) {
    let app = "llm-server";
    let since = days_before(world, 12);
    let conditions = [
        condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", since),
        condition(
            "Progressing",
            "True",
            "NewReplicaSetAvailable",
            "ReplicaSet \"llm-server-5fd8c77b6c\" has successfully progressed.",
            since,
        ),
    ];
    put(Kind::Deployment, deployment(app, 5, 4, 4, 4, &conditions, &json!({ "app": app })));
    let one = Set {
        app,
        hash: "5fd8c77b6c",
        hash_label: "pod-template-hash",
        owner: format!("deploy-{app}"),
        number: 5,
        image: "registry.soc.example/vllm-openai:0.32.0",
        digest: "0badf00d1122334455667788990011223344556677889900aabbccddeeff0011",
        desired: 4,
        ready: 4,
        since,
        waits: "",
        annotations: Vec::new(),
    };
    set(&one, put);
}
