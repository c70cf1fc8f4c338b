//! Gates of rollouts, whole: a real apiserver with the real controller of Argo Rollouts, a real Prometheus that scrapes
//! what pods would say, and desks that measure, advise, refuse and act.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "tests speak, and start servers and the program"
)]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};
use watchfloor::config::Settings;
use watchfloor::config::settings::{KubernetesSettings, PrometheusSettings};
use watchfloor::desk::{Desk, DeskError, DeskOptions, Known, Live};
use watchfloor::model::action::{Request, RequestState};
use watchfloor::model::health::Tri;
use watchfloor::model::ids::PersonId;
use watchfloor::model::person::{Person, Role, Roster};
use watchfloor::model::rollout::{Advice, Rollout, RolloutId, RolloutVerb};
use watchfloor::operate::rollout::stage::{Place as At, StageState, kept};
use watchfloor::respond::{Catalogue, Policy};
use watchfloor::store::sqlite::SqliteStore;
use watchfloor::text::Untrusted;

#[path = "common/cluster.rs"]
mod cluster;
#[path = "common/prometheus.rs"]
mod prometheus;

use cluster::{Cluster, PATIENCE, healthy, paused_at};
use prometheus::Prometheus;

/// What each revision's pods count: requests and errors a second.
#[derive(Clone, Default)]
struct Pods(Arc<Mutex<BTreeMap<String, Served>>>);

/// Requests and errors each second, and since when.
type Served = (f64, f64, Instant);

impl Pods {
    fn say(&self, hash: &str, requests: f64, errors: f64) {
        self.0.lock().unwrap().insert(hash.to_owned(), (requests, errors, Instant::now()));
    }

    /// As `say`, counting from nought, and only once the server has seen the nought: a first sample that is late must not
    /// look like a burst.
    async fn begin(&self, prometheus: &Prometheus, hash: &str, requests: f64, errors: f64) {
        self.say(hash, 0.0, 0.0);
        let (query, start) = (format!("count(http_requests_total{{pod=\"web-{hash}-x1\"}}) == 2"), Instant::now());
        while !prometheus.finds(&query) {
            assert!(start.elapsed() < PATIENCE, "{hash} is never scraped");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.say(hash, requests, errors);
    }

    fn silence(&self, hash: &str) {
        self.0.lock().unwrap().remove(hash);
    }

    fn text(&self) -> String {
        let mut out = String::from("# TYPE http_requests_total counter\n");
        for (hash, (requests, errors, since)) in &*self.0.lock().unwrap() {
            let t = since.elapsed().as_secs_f64();
            for (code, rate) in [("200", requests - errors), ("503", *errors)] {
                let n = (rate * t).floor();
                out.push_str(&format!("http_requests_total{{pod=\"web-{hash}-x1\",code=\"{code}\"}} {n}\n"));
            }
        }
        out
    }

    /// Answers every request with the counters; `HOST:PORT`.
    fn serve(&self) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let pods = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let _ = stream.read(&mut [0; 4096]);
                let body = pods.text();
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
                let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
            }
        });
        address
    }
}

/// A stage of a few seconds, looked at every second.
const RULES: &str = r#"every = "1s"

[[rollouts]]
target = "prod/demo/web"
readiness = "readiness"
zone_minimum = 1

[rollouts.errors]
errors = 'http_requests_total{pod=~"web-{{revision}}-.*", code="503"}'
total = 'http_requests_total{pod=~"web-{{revision}}-.*"}'
min_events = 50
min_samples = 4
fresh = "20s"

[rollouts.stages]
each = "8s"

[[rollouts]]
target = "prod/demo/site"
fast_rollback = "30m"

[rollouts.blue_green]
service = "site"
blue = "site-blue"
green = "site-green"

[rollouts.smoke]
urls = ["http://PODS/"]
body = "http_requests_total"

[rollouts.errors]
errors = 'http_requests_total{pod=~"web-{{revision}}-.*", code="503"}'
total = 'http_requests_total{pod=~"web-{{revision}}-.*"}'
min_events = 50
min_samples = 4
fresh = "20s"

[rollouts.stages]
watch = "60s"
"#;

struct Place {
    dir: tempfile::TempDir,
    cluster: PathBuf,
    prometheus: String,
}

fn person(name: &str, roles: &[Role]) -> Person {
    Person { id: id(name), name: name.into(), os_users: vec![], uids: vec![], keys: vec![], roles: roles.to_vec() }
}

fn id(name: &str) -> PersonId {
    PersonId::new(name).unwrap()
}

impl Place {
    fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        let kubeconfig = |who: &str| Some(self.cluster.join(format!("{who}.kubeconfig")));
        settings.operate.kubernetes.insert(
            "prod".into(),
            KubernetesSettings {
                kubeconfig: kubeconfig("reader"),
                write_kubeconfig: kubeconfig("writer"),
                namespaces: vec!["demo".into()],
                ..Default::default()
            },
        );
        let url = self.prometheus.clone();
        settings.operate.prometheus.insert("main".into(), PrometheusSettings { url, ..Default::default() });
        settings.operate.rollouts = Some(self.dir.path().join("rollouts.toml"));
        settings
    }

    /// A process of this desk, for one of its people.
    fn desk(&self, who: &str) -> (Arc<Desk>, Live) {
        let desk = Desk::open(DeskOptions {
            data_dir: self.dir.path().join("data"),
            settings: self.settings(),
            roster: Roster {
                people: vec![
                    person("alice", &[Role::Analyst]),
                    person("bob", &[Role::Lead, Role::Approver]),
                    person("carol", &[Role::Commander]),
                ],
            },
            roster_file: None,
            me: Some(id(who)),
            read_only: false,
            exercise: None,
            catalogue: Catalogue::default(),
            policy: Policy::built_in(),
            secrets: Arc::new(|name| Err(format!("{name} is not set"))),
            assets: Arc::new(|_| 100),
            known: Known::default(),
            notices: vec![],
        })
        .unwrap();
        let desk = Arc::new(desk);
        let live = desk.start_live(None).unwrap();
        (desk, live)
    }

    /// `rollout gate` in a process of its own: its exit and what it says.
    fn gate(&self) -> (i32, Value) {
        let config = self.dir.path().join("config.toml");
        let at = |who: &str| self.cluster.join(format!("{who}.kubeconfig")).display().to_string();
        let text = format!(
            "[operate]\nrollouts = \"rollouts.toml\"\n[operate.kubernetes.prod]\nkubeconfig = {:?}\nnamespaces = [\"demo\"]\n\
             [operate.prometheus.main]\nurl = {:?}\n",
            at("reader"),
            self.prometheus
        );
        std::fs::write(&config, text).unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_watchfloor"));
        program.arg("--config").arg(&config).arg("--data-dir").arg(self.dir.path().join("data"));
        let out = program.args(["--json", "rollout", "gate", "demo/web"]).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        let value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
        (out.status.code().unwrap(), value)
    }
}

fn named(desk: &Desk, name: &str) -> Option<Rollout> {
    desk.platform().rollouts.iter().find(|r| r.id.name == name).cloned()
}

fn web(desk: &Desk) -> Option<Rollout> {
    named(desk, "web")
}

/// Waits until this process shows it so.
async fn until(desk: &Desk, what: &str, so: impl Fn(&Rollout) -> bool) -> Rollout {
    until_of(desk, "web", what, so).await
}

async fn until_of(desk: &Desk, name: &str, what: &str, so: impl Fn(&Rollout) -> bool) -> Rollout {
    let start = Instant::now();
    loop {
        let seen = named(desk, name);
        if let Some(r) = seen.as_ref().filter(|r| so(r)) {
            return r.clone();
        }
        let shown = seen.map(|r| (r.phase, r.set_weight, r.advice, r.gates));
        assert!(start.elapsed() < PATIENCE, "never {what}: {shown:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn advised(verb: RolloutVerb) -> impl Fn(&Rollout) -> bool {
    move |r| r.advice.as_ref().is_some_and(|a| a.verb == Some(verb))
}

fn gate(r: &Rollout, name: &str) -> (Tri, String) {
    r.gates.iter().find(|g| g.name == name).map_or((Tri::Unknown, "none".into()), |g| (g.answer, g.why.clone()))
}

async fn proposed(desk: &Desk, verb: RolloutVerb) -> Request {
    proposed_of(desk, "web", verb).await
}

async fn proposed_of(desk: &Desk, name: &str, verb: RolloutVerb) -> Request {
    let r = named(desk, name).unwrap();
    let draft = desk.rollout_drafts(&r, verb, &Untrusted::new("as advised")).unwrap().remove(0);
    desk.propose(&id("alice"), draft).await.unwrap()
}

fn refused<T: std::fmt::Debug>(got: Result<T, DeskError>, with: &str) {
    let e = got.expect_err("it must be refused");
    assert!(matches!(&e, DeskError::Refused(m) if m.contains(with)), "{e}");
}

fn hash(r: &Value, key: &str) -> String {
    r["status"][key].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_is_held_aborted_and_led_on_by_what_its_gates_measure() {
    let pods = Pods::default();
    let address = pods.serve();
    let Some(prometheus) = Prometheus::scraping(&address) else { return };
    let Some(cluster) = Cluster::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("rollouts.toml"), RULES.replace("PODS", &address)).unwrap();
    let place = Place { dir, cluster: cluster.dir.path().to_owned(), prometheus: prometheus.url.clone() };
    let (alice, live) = place.desk("alice");
    let (bob, bob_live) = place.desk("bob");

    cluster.create().await;
    let r = cluster.until("healthy", healthy).await;
    pods.begin(&prometheus, &hash(&r, "stableRS"), 100.0, 1.0).await;
    until(&alice, "at rest with its gates", |r| gate(r, "ready").0 == Tri::Pass && r.advice.is_none()).await;

    held(&place, &cluster, &alice, &bob).await;
    aborted(&place, &cluster, (&pods, &prometheus), &alice, &bob).await;
    sign(&alice, &bob);
    drop((live, bob_live));
    led_on(&place, &cluster, (&pods, &prometheus)).await;
    switched(&place, &cluster, (&pods, &prometheus)).await;
}

/// A canary nobody counts anything of: its stage passes, and it is never advised to go on; nor may anybody.
async fn held(place: &Place, cluster: &Cluster, alice: &Desk, bob: &Desk) {
    cluster.image("web:2").await;
    cluster.until("paused", paused_at(1)).await;
    let begun = Instant::now();
    until(alice, "measured while it rolls", |r| gate(r, "error ratio").1.contains("finds nothing")).await;
    while begun.elapsed() < Duration::from_secs(12) {
        let advice = web(alice).and_then(|r| r.advice);
        assert!(advice.as_ref().is_none_or(|a| a.verb.is_none()), "{advice:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let promote = proposed(alice, RolloutVerb::Promote).await;
    assert!(promote.findings.iter().any(|f| !f.refuses && f.text.contains("error ratio")), "{:?}", promote.findings);
    let over = bob.approve(&id("bob"), &promote.body.id, &promote.digest);
    refused(over, "gate \"error ratio\" of prod/demo/web is not known");
    refused(bob.approve(&id("bob"), &promote.body.id, &promote.digest), "readiness is not signed");
    let (exit, said) = place.gate();
    assert_eq!((exit, said["answer"].as_str()), (1, Some("fail")), "readiness is not signed: {said}");

    // A commander may set all of it aside, with a reason; here another one then says no.
    let (carol, live) = place.desk("carol");
    let reason = Untrusted::new("the fix for the outage");
    refused(bob.approve_over_budget(&id("bob"), &promote.body.id, &promote.digest, reason.clone()), "commander");
    let over = carol.approve_over_budget(&id("carol"), &promote.body.id, &promote.digest, reason).unwrap();
    assert_eq!(over.state, RequestState::Approved);
    assert!(over.findings.iter().any(|f| f.text.contains("overridden by carol")), "{:?}", over.findings);
    bob.deny(&id("bob"), &promote.body.id, Untrusted::new("not today")).unwrap();
    drop(live);
}

/// The canary answers half of its requests with an error: every process advises to abort, and that brings the old
/// ReplicaSet back.
async fn aborted(place: &Place, cluster: &Cluster, (pods, prometheus): (&Pods, &Prometheus), alice: &Desk, bob: &Desk) {
    let new = hash(&cluster.rollout().await, "currentPodHash");
    pods.begin(prometheus, &new, 40.0, 20.0).await;
    let r = until(alice, "advised to abort", advised(RolloutVerb::Abort)).await;
    assert_eq!(gate(&r, "error ratio").0, Tri::Fail);
    // Requests and errors are asked for one after the other, and a sample may come between: soon that does not show.
    until(alice, "measured at half", |r| {
        let measured = r.gates.iter().find(|g| g.name == "error ratio");
        measured.is_some_and(|g| g.canary.is_some_and(|c| (0.4..0.7).contains(&c)) && g.history.len() > 3)
    })
    .await;
    until(bob, "the same in another process", advised(RolloutVerb::Abort)).await;
    let (exit, _) = place.gate();
    assert_eq!(exit, 1);
    assert_eq!(cluster.rollout().await["status"]["abort"], Value::Null, "an advice does nothing");

    let abort = proposed(alice, RolloutVerb::Abort).await;
    bob.approve(&id("bob"), &abort.body.id, &abort.digest).unwrap();
    let done = alice.execute(&id("alice"), &abort.body.id).await.unwrap();
    assert_eq!(done.state, RequestState::Done, "{done:?}");
    let r = cluster.until_aborted().await;
    assert!(r["status"]["message"].as_str().unwrap().contains("RolloutAborted"), "{:#}", r["status"]);
    let start = Instant::now();
    while cluster.sizes().await != [0, 20] {
        assert!(start.elapsed() < PATIENCE, "{:?}", cluster.sizes().await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    until(alice, "known to be aborted", |r| r.advice.as_ref().is_none_or(|a| a.verb.is_none())).await;
    pods.silence(&new);
}

fn sign(alice: &Desk, bob: &Desk) {
    let run = alice.checklist("readiness").unwrap();
    for item in &run.list.items {
        let why = Some(Untrusted::new("a test"));
        alice.tick(&id("alice"), "readiness", &item.id, true, Untrusted::new("seen"), why).unwrap();
    }
    bob.sign_checklist(&id("bob"), "readiness").unwrap();
}

/// What is kept of the rollout's stage.
fn stage(place: &Place) -> Option<StageState> {
    let store = SqliteStore::open(&place.dir.path().join("data/desk.sqlite")).unwrap();
    let id = RolloutId { cluster: "prod".into(), namespace: "demo".into(), name: "web".into() };
    kept::read(&store, &id).unwrap().0
}

/// A good canary is advised to go on once it was measured long enough, what was measured before a restart included.
async fn led_on(place: &Place, cluster: &Cluster, (pods, prometheus): (&Pods, &Prometheus)) {
    cluster.image("web:3").await;
    let r = cluster.until("paused", |r| paused_at(1)(r) && r["status"]["abort"] != true).await;
    let new = hash(&r, "currentPodHash");
    pods.begin(prometheus, &new, 60.0, 0.6).await;
    let lives = [place.desk("alice").1, place.desk("bob").1];
    let start = Instant::now();
    let before = loop {
        match stage(place).filter(|s| s.revision == new && s.measured >= 3) {
            Some(state) => break state,
            None => assert!(start.elapsed() < PATIENCE, "never measured: {:?}", stage(place)),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    drop(lives);

    let (alice, _live) = place.desk("alice");
    let (bob, _bob_live) = place.desk("bob");
    let promote = until(&alice, "advised to go on", advised(RolloutVerb::Promote)).await;
    let after = stage(place).unwrap();
    assert_eq!((after.entered, after.at), (before.entered, before.at), "the same stage, begun when it began");
    assert!(after.measured > before.measured && after.measured >= 8, "{before:?} {after:?}");
    assert!(promote.gates.iter().all(|g| g.answer == Tri::Pass), "{:#?}", promote.gates);
    assert_eq!(promote.set_weight, Some(5));
    let (exit, said) = place.gate();
    assert_eq!((exit, said["answer"].as_str()), (0, Some("pass")), "{said}");

    let request = proposed(&alice, RolloutVerb::Promote).await;
    bob.approve(&id("bob"), &request.body.id, &request.digest).unwrap();
    let done = alice.execute(&id("alice"), &request.body.id).await.unwrap();
    assert_eq!(done.state, RequestState::Done, "{done:?}");
    // The next stage, with a clock of its own. That may have run out already where it took long to get there.
    let start = Instant::now();
    let next = loop {
        match stage(place).filter(|s| s.at == At::Weight { percent: 25 } && s.looked.is_some()) {
            Some(state) => break state,
            None => assert!(start.elapsed() < PATIENCE, "never at 25 %: {:?}", stage(place)),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    until(&alice, "its clock begins again", |r| {
        let waits = |a: &Advice| a.verb.is_none() && a.due.is_some();
        r.set_weight == Some(25) && r.advice.as_ref().is_some_and(|a| waits(a) || a.why.contains("25 % measured for"))
    })
    .await;
    assert!(next.entered > after.entered, "{after:?} {next:?}");
    let whole = next.looked.unwrap().0.duration_since(next.entered);
    assert!(next.measured <= whole.as_secs(), "only what was measured of this stage: {next:?}");
    cluster.until("at 25 %", paused_at(3)).await;
}

/// Two Deployments behind a Service: the new side is smoked, switched to by approval, watched, and switched back when
/// it answers with errors.
async fn switched(place: &Place, cluster: &Cluster, (pods, prometheus): (&Pods, &Prometheus)) {
    let deployments = cluster.api("apps", "v1", "Deployment", "deployments");
    let services = cluster.api("", "v1", "Service", "services");
    let post = PostParams::default();
    let side = |version: &str, image: &str| {
        let labels = json!({ "app": "site", "version": version });
        let value = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": format!("site-{version}"), "namespace": "demo" },
            "spec": { "replicas": 2, "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "c", "image": image }] } } } });
        serde_json::from_value(value).unwrap()
    };
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "site" },
        "spec": { "selector": { "app": "site", "version": "blue" }, "ports": [{ "port": 80 }] } });
    services.create(&post, &serde_json::from_value(service).unwrap()).await.unwrap();
    deployments.create(&post, &side("blue", "site:1")).await.unwrap();
    // The new side is the one whose ReplicaSet came last, and ReplicaSets tell their age in whole seconds.
    let sets = cluster.api("apps", "v1", "ReplicaSet", "replicasets");
    let start = Instant::now();
    let blue = loop {
        let all = sets.list(&ListParams::default().labels("app=site,version=blue")).await.unwrap();
        match all.items.first().and_then(|s| s.metadata.creation_timestamp.clone()) {
            Some(at) => break at.0.as_second(),
            None => assert!(start.elapsed() < PATIENCE, "blue never comes"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    while jiff::Timestamp::now().as_second() <= blue {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    deployments.create(&post, &side("green", "site:2")).await.unwrap();
    let selected = async || services.get("site").await.unwrap().data["spec"]["selector"]["version"].clone();

    let (alice, _live) = place.desk("alice");
    let (bob, _bob_live) = place.desk("bob");
    let ready = until_of(&alice, "site", "advised to switch", advised(RolloutVerb::SwitchSelector)).await;
    assert_eq!((gate(&ready, "smoke").0, ready.active.as_deref()), (Tri::Pass, Some("blue")));
    let act = async |verb| {
        let request = proposed_of(&alice, "site", verb).await;
        bob.approve(&id("bob"), &request.body.id, &request.digest).unwrap();
        alice.execute(&id("alice"), &request.body.id).await.unwrap()
    };
    let done = act(RolloutVerb::SwitchSelector).await;
    assert_eq!((done.state, selected().await), (RequestState::Done, json!("green")));

    let green = ready.revisions.iter().find(|v| v.role == "preview").unwrap();
    pods.begin(prometheus, green.hash.expose(), 60.0, 12.0).await;
    let bad = until_of(&alice, "site", "advised to switch back", |r| {
        r.active.as_deref() == Some("green") && r.advice.as_ref().is_some_and(|a| a.why.contains("switch back"))
    })
    .await;
    assert!(bad.fast_rollback_until.is_some(), "the old side still stands");
    let done = act(RolloutVerb::SwitchSelector).await;
    assert_eq!((done.state, selected().await), (RequestState::Done, json!("blue")), "back, though a gate fails");
    until_of(&alice, "site", "known to be back", |r| {
        r.active.as_deref() == Some("blue") && r.advice.as_ref().is_none_or(|a| a.verb.is_none())
    })
    .await;
}
