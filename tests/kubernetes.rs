//! A real apiserver with the real controllers of Kubernetes and Argo Rollouts: listed, watched, dropped and resumed,
//! refused, without a CRD, and with its old versions gone.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests speak, and start servers")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use watchfloor::config::settings::KubernetesSettings;
use watchfloor::model::health::SourceWord;
use watchfloor::model::rollout::{Rollout, RolloutKind, RolloutPhase, Step};
use watchfloor::operate::rollout::cluster::{Pace, Reader};
use watchfloor::operate::rollout::read::{Kind, Pair, Pairs, rollouts};

const PACE: Pace =
    Pace { least: Duration::from_millis(100), most: Duration::from_secs(1), seldom: Duration::from_secs(1) };

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
            .timeout(Duration::from_secs(20))
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
            timeout_seconds: Some(5),
            ..KubernetesSettings::default()
        };
        let reader = Reader::new("test", settings, PACE);
        let task = tokio::spawn(Arc::clone(&reader).run());
        (reader, task)
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

async fn until<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not within {seconds} s: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn rollout(reader: &Reader, name: &str, what: &str, ok: impl Fn(&Rollout) -> bool) -> Rollout {
    let end = Instant::now() + Duration::from_secs(90);
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
    until("first answers", 20, || reader.started().then_some(())).await;
    assert_eq!(word(&reader, "rollouts"), SourceWord::Absent, "{:#?}", reader.states());
    assert_eq!(word(&reader, "canaries"), SourceWord::Absent);
    assert_eq!(word(&reader, "pods"), SourceWord::Live);

    // Its CRDs come, and are found without a restart.
    cluster.run("argo");
    until("rollouts are read", 20, || (word(&reader, "rollouts") == SourceWord::Live).then_some(())).await;
    canary_moves(&cluster, &reader).await;
    deployments(&cluster, &reader).await;
    refused(&cluster).await;
    lost(&cluster, &reader).await;
    task.abort();
    command_line(&cluster);
}

async fn canary_moves(cluster: &Cluster, reader: &Reader) {
    cluster.create(ROLLOUTS, &canary()).await;
    let web = rollout(reader, "web", "healthy with 5 pods", |r| {
        r.phase == RolloutPhase::Healthy && r.revisions.iter().map(|v| v.pods.len()).sum::<usize>() == 5
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
    let bad = rollout(reader, "bad", "over its deadline", |r| r.phase == RolloutPhase::Degraded).await;
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
    until("blue is active", 20, || {
        let s = site(&blue_green);
        (s.active.as_deref() == Some("blue") && s.ready == 3 && s.phase == RolloutPhase::Healthy).then_some(())
    })
    .await;
    cluster
        .patch("/api/v1/namespaces/demo/services/front", &json!({ "spec": { "selector": { "app": "green" } } }))
        .await;
    until("green is active", 10, || (site(&blue_green).active.as_deref() == Some("green")).then_some(())).await;
    let absent = site(&pair(RolloutKind::BlueGreen, Some("nowhere")));
    assert_eq!((absent.phase, absent.active), (RolloutPhase::Unknown, None));
    let weighed = site(&pair(RolloutKind::ReplicaCanary, None));
    assert_eq!((weighed.set_weight, weighed.actual_weight), (Some(33), Some(33)));
}

/// A token without rights: each kind says that it is forbidden, with the server's words.
async fn refused(cluster: &Cluster) {
    let (reader, task) = cluster.reader("nobody");
    until("first answers", 20, || reader.started().then_some(())).await;
    for s in reader.states() {
        assert_eq!(s.state, SourceWord::Forbidden, "{s:?}");
        assert!(s.detail.expose().contains("nobody"), "{s:?}");
        assert!(s.next_try.is_some());
    }
    task.abort();
}

/// The apiserver dies, its old versions go, it comes back: what is on screen stays, and what changed meanwhile is seen.
async fn lost(cluster: &Cluster, reader: &Reader) {
    let before = all(reader, &Pairs::default()).len();
    let lists = reader.lists(Kind::Deployment);
    cluster.run("api-stop");
    until("lost", 20, || (word(reader, "deployments") == SourceWord::Lost).then_some(())).await;
    let shown = all(reader, &Pairs::default());
    assert_eq!(shown.len(), before, "what was known stays");
    let state = reader.states().into_iter().find(|s| s.kind.starts_with("kubernetes deployments")).unwrap();
    assert!(state.next_try.is_some() && state.last_good.is_some(), "{state:?}");
    assert!(shown.iter().all(|r| r.seen < Timestamp::now() - Duration::from_millis(1)), "and says how old it is");

    cluster.run("compact");
    cluster.run("api-start");
    cluster.patch(&format!("{DEPLOYMENTS}/api"), &json!({ "spec": { "replicas": 6 } })).await;
    rollout(reader, "api", "grown to 6", |r| r.replicas == 6).await;
    until("live again", 20, || {
        Kind::ALL
            .iter()
            .all(|k| matches!(word(reader, k.plural()), SourceWord::Live | SourceWord::Absent))
            .then_some(())
    })
    .await;
    assert!(reader.lists(Kind::Deployment) > lists, "its version was gone (410), so everything was listed again");
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
    assert_eq!(lines.lines().count(), 5, "{lines}");
    let out = run(&["rollout", "show", "demo/web"]);
    let text = String::from_utf8(out.stdout).unwrap();
    println!("{text}");
    assert!(out.status.success() && text.contains("RolloutAborted") && text.contains("zone zone-a"), "{text}");
    assert_eq!(run(&["rollout", "show", "demo/none"]).status.code(), Some(1));
    cluster.run("api-stop");
    let out = run(&["rollout", "list"]);
    assert_eq!(out.status.code(), Some(3), "{}", String::from_utf8_lossy(&out.stderr));
}
