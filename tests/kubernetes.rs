//! A real apiserver with the real controllers of Kubernetes and Argo Rollouts: listed, watched, dropped and resumed,
//! refused, without a CRD, and with its old versions gone; by token, by client certificate, and as a pod would.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests speak, and start servers")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use watchfloor::config::settings::KubernetesSettings;
use watchfloor::model::health::SourceWord;
use watchfloor::model::rollout::{Pod, Rollout, RolloutKind, RolloutPhase, Step};
use watchfloor::operate::rollout::cluster::{Pace, Reader};
use watchfloor::operate::rollout::read::{Kind, Pair, Pairs, rollouts};

const PACE: Pace =
    Pace { least: Duration::from_millis(100), most: Duration::from_secs(1), seldom: Duration::from_secs(1) };

/// Longest wait for anything. Each wait ends as soon as what it waits for is so; a loaded machine may need minutes.
const PATIENCE: Duration = Duration::from_secs(240);

/// Everything the script starts, ended by process id with the test.
struct Cluster {
    dir: tempfile::TempDir,
    url: String,
    http: reqwest::Client,
}

fn script(dir: &Path, verb: &str) -> std::process::Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/kubernetes.sh");
    let owner = std::process::id().to_string();
    Command::new("bash").arg(path).arg(verb).arg(dir).env("WATCHFLOOR_TEST_OWNER", owner).output().unwrap()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        script(self.dir.path(), "stop");
    }
}

impl Cluster {
    /// `None`, with a word why, where Kubernetes is not built or etcd is not there.
    fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let out = script(dir.path(), "start");
        if out.status.code() == Some(77) {
            println!("skipped: {}", String::from_utf8_lossy(&out.stderr).trim());
            return None;
        }
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let env = std::fs::read_to_string(dir.path().join("env")).unwrap();
        let get = |key: &str| env.lines().find_map(|l| l.strip_prefix(key)).unwrap().to_owned();
        let ca = reqwest::Certificate::from_pem(&std::fs::read(get("CA=")).unwrap()).unwrap();
        let http = reqwest::Client::builder()
            .tls_certs_only([ca])
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        Some(Self { url: get("URL="), dir, http })
    }

    fn run(&self, verb: &str) {
        let out = script(self.dir.path(), verb);
        assert!(out.status.success(), "{verb}: {}", String::from_utf8_lossy(&out.stderr));
    }

    fn kubeconfig(&self, user: &str) -> PathBuf {
        self.dir.path().join(format!("{user}.kubeconfig"))
    }

    fn reader(&self, user: &str) -> (Arc<Reader>, tokio::task::JoinHandle<()>) {
        let settings = KubernetesSettings {
            kubeconfig: Some(self.kubeconfig(user)),
            namespaces: vec!["demo".into()],
            timeout_seconds: Some(60),
            ..KubernetesSettings::default()
        };
        let reader = Reader::new("test", settings, PACE);
        let task = tokio::spawn(Arc::clone(&reader).run());
        (reader, task)
    }

    /// Waits until the server takes this path: a CRD is served a moment after it was made.
    async fn served(&self, path: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let request = self.http.get(format!("{}{path}", self.url)).bearer_auth("admin-token");
            if request.send().await.is_ok_and(|a| a.status().is_success()) {
                return;
            }
            assert!(Instant::now() < end, "{path} is never served");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn ask(&self, method: &str, path: &str, kind: &str, body: &Value) -> Value {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        let request = request.bearer_auth("admin-token").header("content-type", kind).body(body.to_string());
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let said: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {status} {said}");
        said
    }

    /// Something that is nobody's, so that there is a new version of everything.
    async fn write_to_etcd(&self) {
        let env = std::fs::read_to_string(self.dir.path().join("env")).unwrap();
        let etcd = env.lines().find_map(|l| l.strip_prefix("ETCD=")).unwrap();
        // `test` and `it`, as base64.
        let body = json!({ "key": "dGVzdA==", "value": "aXQ=" }).to_string();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        let answer = http.post(format!("{etcd}/v3/kv/put")).body(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    async fn create(&self, folder: &str, body: &Value) {
        self.ask("POST", folder, "application/json", body).await;
    }

    async fn patch(&self, path: &str, body: &Value) {
        self.ask("PATCH", path, "application/merge-patch+json", body).await;
    }
}

const ROLLOUTS: &str = "/apis/argoproj.io/v1alpha1/namespaces/demo/rollouts";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/demo/deployments";

fn template(app: &str, image: &str) -> Value {
    json!({ "metadata": { "labels": { "app": app } }, "spec": { "containers": [{ "name": "c", "image": image }] } })
}

fn deployment(name: &str, app: &str, image: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": "demo" },
        "spec": {
            "replicas": replicas, "progressDeadlineSeconds": 5, "selector": { "matchLabels": { "app": app } },
            "template": template(app, image),
        },
    })
}

fn canary() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": { "name": "web", "namespace": "demo" },
        "spec": {
            "replicas": 5, "selector": { "matchLabels": { "app": "web" } },
            "template": template("web", "registry:5000/web:1"),
            "strategy": { "canary": { "steps": [
                { "setWeight": 20 }, { "pause": {} }, { "setWeight": 60 }, { "pause": { "duration": "10m" } },
            ] } },
        },
    })
}

fn all(reader: &Reader, pairs: &Pairs) -> Vec<Rollout> {
    reader.with(|s| rollouts(s, pairs, Timestamp::now())).unwrap()
}

fn word(reader: &Reader, kind: &str) -> SourceWord {
    let wanted = format!("kubernetes {kind}");
    reader.states().into_iter().find(|s| s.kind.starts_with(&wanted)).unwrap().state
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn rollout(reader: &Reader, name: &str, what: &str, ok: impl Fn(&Rollout) -> bool) -> Rollout {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = all(reader, &Pairs::default()).into_iter().find(|r| r.id.name == name);
        if let Some(r) = found.as_ref().filter(|r| ok(r)) {
            return r.clone();
        }
        assert!(Instant::now() < end, "{name} is not {what}: {found:#?}\n{:#?}", reader.states());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// In one test, one after the other: every cluster costs half a gigabyte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_listed_watched_lost_and_found_again() {
    let Some(cluster) = Cluster::start() else { return };
    let (reader, task) = cluster.reader("reader");

    // Without CRDs, and without anything else.
    until("first answers", || reader.started().then_some(())).await;
    // A server that is new may not know its own rights yet, and forbids for a moment what it will allow.
    let is = |kind, wanted| word(&reader, kind) == wanted;
    until("no CRDs, and all else", || {
        let absent = is("rollouts", SourceWord::Absent) && is("canaries", SourceWord::Absent);
        (absent && is("pods", SourceWord::Live)).then_some(())
    })
    .await;

    // Its CRDs come, and are found without a restart.
    cluster.run("argo");
    until("rollouts are read", || (word(&reader, "rollouts") == SourceWord::Live).then_some(())).await;
    canary_moves(&cluster, &reader).await;
    deployments(&cluster, &reader).await;
    flagger(&cluster, &reader).await;
    refused(&cluster).await;
    by_certificate(&cluster).await;
    lost(&cluster, &reader).await;
    task.abort();
    as_a_pod(&cluster);
    command_line(&cluster);
}

async fn canary_moves(cluster: &Cluster, reader: &Reader) {
    cluster.create(ROLLOUTS, &canary()).await;
    let web = rollout(reader, "web", "healthy with 5 pods", |r| {
        r.phase == RolloutPhase::Healthy
            && r.revisions.iter().map(|v| v.pods.len()).sum::<usize>() == 5
            && r.actual_weight == Some(100)
    })
    .await;
    assert_eq!(web.kind, RolloutKind::Argo);
    assert_eq!((web.set_weight, web.actual_weight), (Some(100), Some(100)));
    assert_eq!(web.steps[3], Step::Pause { seconds: Some(600) });
    let revision = &web.revisions[0];
    assert_eq!((revision.number, revision.role.as_str()), (Some(1), "stable"));
    assert!(!revision.images[0].floating, "a registry's port is no tag's absence: {:?}", revision.images);

    cluster.patch(&format!("{ROLLOUTS}/web"), &json!({ "spec": { "template": template("web", "web") } })).await;
    let web = rollout(reader, "web", "paused with its canary ready", |r| {
        r.phase == RolloutPhase::Paused
            && r.ready == 5
            && r.updated == 1
            && r.zones.iter().map(|z| z.total).sum::<u32>() == 5
            // Each kind is watched by itself: pods and ReplicaSets may be seen later than what was made of them.
            && r.zones.len() == 3
            && r.actual_weight == Some(20)
            && r.revisions.first().is_some_and(|v| v.images.first().is_some_and(|i| i.digest.is_some()))
    })
    .await;
    assert_eq!((web.step, web.set_weight, web.actual_weight), (Some(1), Some(20), Some(20)), "{web:#?}");
    let (what, since) = web.stuck.expect("a pause that only a person ends");
    assert_eq!(what.expose(), "CanaryPauseStep");
    assert_eq!(Some(since), web.paused_since);
    let roles: Vec<&str> = web.revisions.iter().map(|v| v.role.as_str()).collect();
    assert_eq!(roles, ["canary", "stable"]);
    assert!(web.revisions[0].images[0].floating, "no tag is the tag that moves");
    assert!(web.revisions[0].images[0].digest.as_ref().unwrap().expose().starts_with("sha256:"));
    assert_eq!(web.zones.len(), 3, "{:?}", web.zones);

    cluster.patch(&format!("{ROLLOUTS}/web/status"), &json!({ "status": { "abort": true } })).await;
    // The controller overlooks an abort that comes between its reading and its writing, until something lets it look
    // again.
    let (end, mut poked, mut n) = (Instant::now() + PATIENCE, Instant::now(), 0);
    while all(reader, &Pairs::default()).iter().all(|r| r.id.name != "web" || r.phase != RolloutPhase::Degraded) {
        assert!(Instant::now() < end, "its controller never aborts it: {:#?}", all(reader, &Pairs::default()));
        if poked.elapsed() > Duration::from_secs(10) {
            (poked, n) = (Instant::now(), n + 1);
            let again = json!({ "metadata": { "annotations": { "test/look-again": n.to_string() } } });
            cluster.patch(&format!("{ROLLOUTS}/web"), &again).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let web = rollout(reader, "web", "degraded and back at 5", |r| {
        r.phase == RolloutPhase::Degraded && r.revisions.iter().any(|v| v.role == "stable" && v.ready == 5)
    })
    .await;
    assert!(web.aborted);
    assert_eq!(web.set_weight, Some(0));
    assert!(web.stuck.unwrap().0.expose().starts_with("RolloutAborted"));
}

async fn deployments(cluster: &Cluster, reader: &Reader) {
    for (name, app, image, replicas) in [
        ("api", "api", "api:1", 4),
        ("bad", "bad", "broken:latest", 2),
        ("blue", "blue", "x:1", 2),
        ("green", "green", "x:2", 1),
    ] {
        cluster.create(DEPLOYMENTS, &deployment(name, app, image, replicas)).await;
    }
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "front", "namespace": "demo" },
        "spec": { "selector": { "app": "blue" }, "ports": [{ "port": 80 }] },
    });
    cluster.create("/api/v1/namespaces/demo/services", &service).await;
    rollout(reader, "api", "healthy", |r| r.phase == RolloutPhase::Healthy && r.ready == 4).await;
    let bad = rollout(reader, "bad", "over its deadline, and its pods in a loop", |r| {
        let loops = |p: &Pod| p.phase.expose() == "CrashLoopBackOff";
        r.phase == RolloutPhase::Degraded && r.revisions.first().is_some_and(|v| v.pods.first().is_some_and(loops))
    })
    .await;
    assert!(bad.stuck.unwrap().0.expose().starts_with("ProgressDeadlineExceeded"), "{:?}", bad.message);
    assert_eq!(bad.revisions[0].pods[0].phase.expose(), "CrashLoopBackOff");
    assert!(bad.revisions[0].images[0].floating);

    let pair = |kind, service: Option<&str>| {
        Pairs(vec![Pair {
            kind,
            name: "site".into(),
            namespace: "demo".into(),
            service: service.map(String::from),
            first: "blue".into(),
            second: "green".into(),
        }])
    };
    let site = |pairs: &Pairs| {
        let all = all(reader, pairs);
        assert!(!all.iter().any(|r| r.id.name == "blue"), "a member is no rollout of its own");
        all.into_iter().find(|r| r.id.name == "site").unwrap()
    };
    let blue_green = pair(RolloutKind::BlueGreen, Some("front"));
    until("blue is active", || {
        let s = site(&blue_green);
        (s.active.as_deref() == Some("blue") && s.ready == 3 && s.phase == RolloutPhase::Healthy).then_some(())
    })
    .await;
    cluster
        .patch("/api/v1/namespaces/demo/services/front", &json!({ "spec": { "selector": { "app": "green" } } }))
        .await;
    until("green is active", || (site(&blue_green).active.as_deref() == Some("green")).then_some(())).await;
    let absent = site(&pair(RolloutKind::BlueGreen, Some("nowhere")));
    assert_eq!((absent.phase, absent.active), (RolloutPhase::Unknown, None));
    let weighed = site(&pair(RolloutKind::ReplicaCanary, None));
    assert_eq!((weighed.set_weight, weighed.actual_weight), (Some(33), Some(33)));
}

/// Canaries of Flagger: their CRD comes while the watch runs, and what its controller would say of one is shown.
async fn flagger(cluster: &Cluster, reader: &Reader) {
    const CANARIES: &str = "/apis/flagger.app/v1beta1/namespaces/demo/canaries";
    assert_eq!(word(reader, "canaries"), SourceWord::Absent);
    let crd: Value = serde_json::from_str(include_str!("fixtures/rollout/flagger-crd.json")).unwrap();
    cluster.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd).await;
    cluster.served(CANARIES).await;
    for (name, image) in [("shop", "shop:2"), ("shop-primary", "shop:1")] {
        cluster.create(DEPLOYMENTS, &deployment(name, name, image, 1)).await;
    }
    let canary = json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": { "name": "shop", "namespace": "demo" },
        "spec": {
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop" },
            "analysis": { "interval": "1m", "threshold": 5, "stepWeight": 10, "maxWeight": 30 },
        },
    });
    cluster.create(CANARIES, &canary).await;
    let shop = rollout(reader, "shop", "read", |r| r.kind == RolloutKind::Flagger).await;
    assert_eq!(shop.phase, RolloutPhase::Unknown, "its controller has said nothing yet: {shop:#?}");

    // One that cannot be read says so for as long as it cannot, whatever else changes.
    let weight = |most: f64| json!({ "spec": { "analysis": { "maxWeight": most } } });
    cluster.patch(&format!("{CANARIES}/shop"), &weight(30.5)).await;
    until("one that cannot be read", || (word(reader, "canaries") == SourceWord::Unreadable).then_some(())).await;
    let mut other = canary.clone();
    other["metadata"]["name"] = json!("other");
    cluster.create(CANARIES, &other).await;
    rollout(reader, "other", "read", |r| r.kind == RolloutKind::Flagger).await;
    assert_eq!(word(reader, "canaries"), SourceWord::Unreadable);
    cluster.patch(&format!("{CANARIES}/shop"), &weight(30.0)).await;
    until("all of them read", || (word(reader, "canaries") == SourceWord::Live).then_some(())).await;
    cluster.patch(&format!("{CANARIES}/other"), &weight(30.5)).await;
    until("another", || (word(reader, "canaries") == SourceWord::Unreadable).then_some(())).await;
    cluster.ask("DELETE", &format!("{CANARIES}/other"), "application/json", &json!({})).await;
    until("it is gone", || (word(reader, "canaries") == SourceWord::Live).then_some(())).await;

    let status = |phase: &str, weight: u32, why: &str| {
        json!({ "status": {
            "phase": phase, "canaryWeight": weight, "failedChecks": 1, "iterations": 0,
            "lastTransitionTime": "2026-01-05T08:00:00Z",
            "conditions": [{
                "type": "Promoted", "status": if phase == "Failed" { "False" } else { "Unknown" }, "reason": phase,
                "message": why, "lastTransitionTime": "2026-01-05T08:00:00Z",
            }],
        } })
    };
    let path = format!("{CANARIES}/shop/status");
    cluster.patch(&path, &status("Progressing", 20, "New revision detected.")).await;
    let shop = rollout(reader, "shop", "progressing with both Deployments up", |r| {
        r.phase == RolloutPhase::Progressing && r.ready == 2 && r.revisions.len() == 2
    })
    .await;
    assert_eq!((shop.set_weight, shop.step, shop.steps.len()), (Some(20), Some(1), 3), "{shop:#?}");
    assert_eq!(shop.message.expose(), "Progressing: New revision detected.");
    let roles: Vec<&str> = shop.revisions.iter().map(|v| v.role.as_str()).collect();
    assert_eq!(roles, ["stable", "canary"]);
    cluster.patch(&path, &status("Failed", 0, "Canary analysis failed.")).await;
    let shop = rollout(reader, "shop", "degraded", |r| r.phase == RolloutPhase::Degraded).await;
    assert!(shop.aborted && shop.stuck.unwrap().0.expose().contains("Canary analysis failed"), "{:?}", shop.message);
}

/// A token without rights: each kind says that it is forbidden, with the server's words.
async fn refused(cluster: &Cluster) {
    let (reader, task) = cluster.reader("nobody");
    until("first answers", || reader.started().then_some(())).await;
    for s in reader.states() {
        assert_eq!(s.state, SourceWord::Forbidden, "{s:?}");
        assert!(s.detail.expose().contains("nobody"), "{s:?}");
        assert!(s.next_try.is_some());
    }
    task.abort();
}

/// The same rights by a client certificate instead of a token, and none by one that another authority signed.
async fn by_certificate(cluster: &Cluster) {
    let (reader, task) = cluster.reader("reader-certificate");
    until("pods are read", || (word(&reader, "pods") == SourceWord::Live).then_some(())).await;
    rollout(&reader, "web", "read", |_| true).await;
    task.abort();
    let (reader, task) = cluster.reader("stranger-certificate");
    until("first answers", || reader.started().then_some(())).await;
    assert_eq!(word(&reader, "pods"), SourceWord::Forbidden, "{:#?}", reader.states());
    task.abort();
}

/// The apiserver dies, its old versions go, it comes back: what is on screen stays, and what changed meanwhile is seen.
async fn lost(cluster: &Cluster, reader: &Arc<Reader>) {
    let before = all(reader, &Pairs::default()).len();
    let lists = reader.lists(Kind::Deployment);
    cluster.run("api-stop");
    // Each kind notices it by itself.
    until("lost", || reader.states().iter().all(|s| s.state == SourceWord::Lost).then_some(())).await;
    let shown = all(reader, &Pairs::default());
    assert_eq!(shown.len(), before, "what was known stays");
    let state = reader.states().into_iter().find(|s| s.kind.starts_with("kubernetes deployments")).unwrap();
    assert!(state.next_try.is_some() && state.last_good.is_some(), "{state:?}");
    assert!(shown.iter().all(|r| r.seen < Timestamp::now() - Duration::from_millis(1)), "and says how old it is");

    // From here on every state is noted, and the fewest rollouts that were ever in sight.
    let seen = Noted::start(reader);
    // The newest version that was read is older than the newest there is, also where a bookmark brought that.
    cluster.write_to_etcd().await;
    cluster.run("compact");
    cluster.run("api-start");
    cluster.patch(&format!("{DEPLOYMENTS}/api"), &json!({ "spec": { "replicas": 6 } })).await;
    rollout(reader, "api", "grown to 6", |r| r.replicas == 6).await;
    until("live again", || {
        Kind::ALL
            .iter()
            .all(|k| matches!(word(reader, k.plural()), SourceWord::Live | SourceWord::Absent))
            .then_some(())
    })
    .await;
    assert!(reader.lists(Kind::Deployment) > lists, "its version was gone (410), so everything was listed again");
    let (details, fewest) = seen.end().await;
    assert!(details.iter().any(|d| d.contains("(410)")), "the reason is told meanwhile: {details:#?}");
    assert_eq!(fewest, before, "and nothing goes from the screen while it is listed again");
}

/// What a reader said of Deployments at any time, and the fewest rollouts it showed.
struct Noted {
    stop: Arc<AtomicBool>,
    found: Arc<Mutex<(BTreeSet<String>, usize)>>,
    task: tokio::task::JoinHandle<()>,
}

impl Noted {
    fn start(reader: &Arc<Reader>) -> Self {
        let (stop, found) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new((BTreeSet::new(), usize::MAX))));
        let (reader, ended, into) = (Arc::clone(reader), Arc::clone(&stop), Arc::clone(&found));
        let task = tokio::spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                let count = all(&reader, &Pairs::default()).len();
                let states = reader.states().into_iter().map(|s| s.detail.expose().to_owned());
                {
                    let mut into = into.lock().unwrap();
                    into.0.extend(states);
                    into.1 = into.1.min(count);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        Self { stop, found, task }
    }

    async fn end(self) -> (BTreeSet<String>, usize) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.found.lock().unwrap().clone()
    }
}

/// As a pod of the cluster: no kubeconfig anywhere, only the account's files and the environment that Kubernetes gives
/// to every container. The files' place cannot be chosen, so the program gets a `/run` of its own.
fn as_a_pod(cluster: &Cluster) {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "[operate.kubernetes.here]\nnamespaces = [\"demo\"]\n").unwrap();
    let inside = r#"set -e
        mount -t tmpfs none /run
        [ -L /var/run ] || mount --bind /run /var/run
        mkdir -p /run/secrets/kubernetes.io/serviceaccount
        cd /run/secrets/kubernetes.io/serviceaccount
        cp "$CA" ca.crt; printf reader-token > token; printf demo > namespace
        exec "$@""#;
    let (host, port) = cluster.url.trim_start_matches("https://").split_once(':').unwrap();
    let run = |program: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "--", "sh", "-c", inside, "-"]).args(program);
        command.env("CA", cluster.dir.path().join("certs/ca.pem")).env("HOME", dir.path()).env_remove("KUBECONFIG");
        command.env("KUBERNETES_SERVICE_HOST", host).env("KUBERNETES_SERVICE_PORT", port);
        command.output()
    };
    if !run(&["true"]).is_ok_and(|o| o.status.success()) {
        println!("skipped: this machine gives no mount namespace, so no account of a pod");
        return;
    }
    let (config, data) = (config.display().to_string(), dir.path().join("data").display().to_string());
    let program = env!("CARGO_BIN_EXE_watchfloor");
    let out = run(&[program, "rollout", "list", "--json", "--config", &config, "--data-dir", &data]).unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(String::from_utf8_lossy(&out.stdout).contains(r#""name":"web""#), "{out:?}");
}

/// `rollout list` and `show` as a person calls them.
fn command_line(cluster: &Cluster) {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    let text = format!(
        "[operate.kubernetes.test]\nkubeconfig = {:?}\nnamespaces = [\"demo\"]\n",
        cluster.kubeconfig("reader").display().to_string()
    );
    std::fs::write(&config, text).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_watchfloor"));
        command.args(args).arg("--config").arg(&config).arg("--data-dir").arg(dir.path().join("data"));
        command.output().unwrap()
    };
    let out = run(&["rollout", "list", "--json"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let lines = String::from_utf8(out.stdout).unwrap();
    let first: Rollout = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first.phase, RolloutPhase::Degraded, "those first that want a look");
    assert_eq!(lines.lines().count(), 6, "{lines}");
    let out = run(&["rollout", "show", "demo/web"]);
    let text = String::from_utf8(out.stdout).unwrap();
    println!("{text}");
    assert!(out.status.success() && text.contains("RolloutAborted") && text.contains("zone zone-a"), "{text}");
    assert_eq!(run(&["rollout", "show", "demo/none"]).status.code(), Some(1));
    cluster.run("api-stop");
    let out = run(&["rollout", "list"]);
    assert_eq!(out.status.code(), Some(3), "{}", String::from_utf8_lossy(&out.stderr));
}
