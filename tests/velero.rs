//! A real Velero on a real apiserver, with an object store that can be killed and come back empty: backups taken,
//! restored, drilled and deleted by approvals, and graded by what that proved.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    reason = "tests speak, start servers, and stop at the first surprise"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use watchfloor::config::settings::{KubernetesSettings, Settings};
use watchfloor::desk::{Desk, DeskError, DeskOptions, Known};
use watchfloor::model::action::{Draft, ReceiptState, Request, RequestState, Suggested, Tier};
use watchfloor::model::backup::{AssetStatus, EvidenceKind, Grade};
use watchfloor::model::health::Tri;
use watchfloor::model::ids::PersonId;
use watchfloor::model::person::{Person, Role, Roster};
use watchfloor::respond::{Catalogue, Policy};

#[path = "velero/snapshot.rs"]
mod snapshot;

/// Longest wait for anything; each ends as soon as it is so.
const PATIENCE: Duration = Duration::from_secs(180);

const BIN: &str = env!("CARGO_BIN_EXE_watchfloor");

fn script(dir: &Path, verb: &str) -> std::process::Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/kubernetes.sh");
    let mut bash = Command::new("bash");
    bash.arg(path).arg(verb).arg(dir).env("WATCHFLOOR_TEST_OWNER", std::process::id().to_string());
    bash.env("WATCHFLOOR_TEST_BUILD", "1").output().unwrap()
}

/// A cluster with Velero that ends with the test.
struct Cluster {
    dir: tempfile::TempDir,
    url: String,
    http: reqwest::Client,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        script(self.dir.path(), "stop");
    }
}

impl Cluster {
    fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        for verb in ["start", "velero"] {
            let out = script(dir.path(), verb);
            if out.status.code() == Some(77) {
                println!("skipped: {}", String::from_utf8_lossy(&out.stderr).trim());
                return None;
            }
            assert!(out.status.success(), "{verb}: {}", String::from_utf8_lossy(&out.stderr));
        }
        let env = std::fs::read_to_string(dir.path().join("env")).unwrap();
        let get = |key: &str| env.lines().find_map(|l| l.strip_prefix(key)).unwrap().to_owned();
        let ca = reqwest::Certificate::from_pem(&std::fs::read(get("CA=")).unwrap()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().timeout(Duration::from_secs(60));
        Some(Self { url: get("URL="), http: http.build().unwrap(), dir })
    }

    fn run(&self, verb: &str) {
        let out = script(self.dir.path(), verb);
        assert!(out.status.success(), "{verb}: {}", String::from_utf8_lossy(&out.stderr));
    }

    async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        request = request.bearer_auth("admin-token");
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn create(&self, folder: &str, body: &Value) {
        let (status, said) = self.ask("POST", folder, Some(body)).await;
        assert_eq!(status, 201, "{folder}: {said}");
    }

    async fn names(&self, folder: &str) -> Vec<String> {
        let (_, list) = self.ask("GET", folder, None).await;
        let all = list["items"].as_array().cloned().unwrap_or_default();
        all.iter().filter_map(|o| o["metadata"]["name"].as_str().map(str::to_owned)).collect()
    }

    async fn shop(&self) {
        self.create("/api/v1/namespaces", &json!({ "metadata": { "name": "shop" } })).await;
        for name in ["prices", "stock"] {
            let map = json!({ "metadata": { "name": name }, "data": { "a": "b" } });
            self.create("/api/v1/namespaces/shop/configmaps", &map).await;
        }
        let labels = json!({ "app": "web" });
        let web = json!({ "metadata": { "name": "web" }, "spec": {
            "replicas": 1, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "c", "image": "web:1" }] } },
        } });
        self.create("/apis/apps/v1/namespaces/shop/deployments", &web).await;
    }

    fn kubeconfig(&self, user: &str) -> PathBuf {
        self.dir.path().join(format!("{user}.kubeconfig"))
    }

    fn settings(&self, at: &Path) -> Settings {
        let mut settings = Settings::default();
        settings.operate.refresh_seconds = 1;
        settings.operate.backups = Some(at.join("backups.toml"));
        let cluster = KubernetesSettings {
            kubeconfig: Some(self.kubeconfig("reader")),
            write_kubeconfig: Some(self.kubeconfig("writer")),
            ..KubernetesSettings::default()
        };
        settings.operate.kubernetes.insert("prod".into(), cluster);
        settings
    }

    fn desk(&self, at: &Path, me: &str) -> Arc<Desk> {
        open(at, me, self.settings(at), Catalogue::default())
    }
}

/// One of three people at a desk of their own on the same folder.
fn open(at: &Path, me: &str, settings: Settings, catalogue: Catalogue) -> Arc<Desk> {
    let person = |name: &str, roles: &[Role]| Person {
        id: id(name),
        name: name.into(),
        os_users: vec![],
        uids: vec![],
        keys: vec![],
        roles: roles.to_vec(),
    };
    let people = vec![
        person("alice", &[Role::Analyst]),
        person("bob", &[Role::Lead, Role::Approver]),
        person("carol", &[Role::Commander, Role::Approver]),
    ];
    let desk = Desk::open(DeskOptions {
        data_dir: at.join("data"),
        settings,
        roster: Roster { people },
        roster_file: None,
        me: Some(id(me)),
        read_only: false,
        exercise: None,
        catalogue,
        policy: Policy::built_in(),
        secrets: Arc::new(|name| match name {
            "env:OPENSEARCH" => Ok("admin".to_owned()),
            other => Err(format!("{other} is not set")),
        }),
        assets: Arc::new(|_| 100),
        known: Known::default(),
        notices: vec![],
    });
    Arc::new(desk.unwrap())
}

fn id(name: &str) -> PersonId {
    PersonId::new(name).unwrap()
}

fn backups_toml(probe: &str) -> String {
    format!(
        r#"
[[sources]]
name = "cluster"
kind = "velero"
cluster = "prod"
[[assets]]
name = "shop objects"
source = "cluster"
covers = ["shop"]
profile = "1h/24h"
[[drills]]
name = "monthly"
asset = "shop objects"
objects = "configmaps>=2, deployments>=1"
probe = "{probe}"
limit = "10m"
[[drills]]
name = "greedy"
asset = "shop objects"
into = "drill-greedy"
objects = "configmaps>=99"
"#
    )
}

fn draft(action: &str, backup: &str, params: &[(&str, &str)]) -> Draft {
    Draft {
        action: action.into(),
        targets: vec![format!("prod/velero/{backup}")],
        params: params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        alerts: vec![],
        case: None,
        reason: "the monthly test".into(),
        suggested_by: Suggested::Person,
    }
}

/// Alice proposes and runs, others approve.
struct People {
    at: tempfile::TempDir,
    alice: Arc<Desk>,
    bob: Arc<Desk>,
    carol: Arc<Desk>,
}

impl People {
    fn new(cluster: &Cluster, probe: &str) -> Self {
        let at = tempfile::tempdir().unwrap();
        std::fs::write(at.path().join("backups.toml"), backups_toml(probe)).unwrap();
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|me| cluster.desk(at.path(), me));
        Self { at, alice, bob, carol }
    }

    fn approved(&self, r: &Request) {
        self.bob.approve(&id("bob"), &r.body.id, &r.digest).unwrap();
        if r.body.approvals_needed > 1 {
            self.carol.approve(&id("carol"), &r.body.id, &r.digest).unwrap();
        }
    }

    async fn propose(&self, d: Draft) -> Result<Request, DeskError> {
        self.alice.propose(&id("alice"), d).await
    }

    async fn done(&self, r: Request) -> Request {
        self.approved(&r);
        // At the highest tier it is started by somebody else than who asked.
        let (desk, who) = if r.body.tier == Tier::T3 { (&self.bob, "bob") } else { (&self.alice, "alice") };
        desk.execute(&id(who), &r.body.id).await.unwrap()
    }

    async fn ran(&self, d: Draft) -> Request {
        let r = self.propose(d).await.unwrap();
        self.done(r).await
    }

    async fn drilled(&self, name: &str) -> Request {
        let r = self.alice.propose_drill(&id("alice"), name, "monthly".into()).await.unwrap();
        self.done(r).await
    }

    async fn asset(&self) -> AssetStatus {
        self.alice.backups().await.unwrap().assets.remove(0)
    }

    async fn grade(&self, backup: &str) -> (Grade, Vec<String>) {
        let a = self.asset().await;
        let g = a.backups.iter().find(|g| g.backup.id == backup).unwrap_or_else(|| panic!("{backup}: {a:#?}"));
        (g.grade, g.why.clone())
    }
}

fn said(r: &Request) -> &str {
    r.receipts[0].detail.expose()
}

fn refused<T: std::fmt::Debug>(r: Result<T, DeskError>, why: &str) {
    match r {
        Err(e) => assert!(e.to_string().contains(why), "{e} does not say {why:?}"),
        other => panic!("not refused: {other:?}"),
    }
}

const ALL: [(&str, &str); 1] = [("namespaces", "shop")];
const DRILL_NAMESPACES: [&str; 2] = ["drill-shop", "drill-greedy"];

/// A server that says it is well, as what was restored would.
async fn well() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/health", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 1024];
            let _ = stream.read(&mut bytes).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_are_worth_what_was_proven_and_nothing_when_their_store_is_gone() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.shop().await;
    let people = People::new(&cluster, &well().await);

    taken(&people).await;
    restored(&cluster, &people).await;
    drilled(&cluster, &people).await;
    a_drill_that_was_killed(&cluster, &people).await;
    the_store_is_killed(&cluster, &people).await;
    the_store_comes_back_empty(&cluster, &people).await;
    deleted(&people).await;
    assert!(cluster.names("/api/v1/namespaces").await.iter().all(|n| !n.starts_with("drill-")));
    let report = watchfloor::desk::audit::verify(&people.at.path().join("data/audit"), None).unwrap();
    assert!(report.ok, "{report:?}");
}

async fn taken(people: &People) {
    refused(people.propose(draft("velero-backup", "one", &[("namespaces", "shpo")])).await, "no namespace shpo");
    let elsewhere = [("namespaces", "shop"), ("location", "tape")];
    refused(people.propose(draft("velero-backup", "one", &elsewhere)).await, "no storage location tape");
    refused(people.propose(draft("velero-restore", "one", &[("from", "shop"), ("into", "x")])).await, "no backup one");
    let r = people.propose(draft("velero-backup", "one", &ALL)).await.unwrap();
    assert!(r.body.commands[0].argv[0].contains(r#""ttl":"720h0m0s""#), "{:?}", r.body.commands);
    refused(people.alice.approve(&id("alice"), &r.body.id, &r.digest), "");
    let done = people.done(r).await;
    assert_eq!(done.state, RequestState::Done, "{done:#?}");
    assert!(said(&done).contains("0 errors"), "{}", said(&done));
    refused(people.propose(draft("velero-backup", "one", &ALL)).await, "already");
    assert_eq!(people.grade("one").await.0, Grade::C, "{:?}", people.grade("one").await);
}

async fn restored(cluster: &Cluster, people: &People) {
    let to = |into| [("from", "shop"), ("into", into)];
    refused(people.propose(draft("velero-restore", "one", &to("kube-system"))).await, "nothing is restored into");
    refused(
        people.propose(draft("velero-restore", "one", &[("from", "bank"), ("into", "x")])).await,
        "does not hold the namespace bank",
    );
    let done = people.ran(draft("velero-restore", "one", &to("shop-copy"))).await;
    assert_eq!(done.state, RequestState::Done, "{done:#?}");
    let maps = cluster.names("/api/v1/namespaces/shop-copy/configmaps").await;
    assert!(maps.contains(&"prices".into()) && maps.contains(&"stock".into()), "{maps:?}");
    assert_eq!(people.grade("one").await.0, Grade::B, "restored, and not drilled");
    assert_eq!(people.asset().await.rto, Tri::Unknown);
}

async fn drilled(cluster: &Cluster, people: &People) {
    // One that asks for more than is there fails, and is removed all the same.
    let done = people.drilled("greedy").await;
    assert_eq!(done.state, RequestState::Failed, "{done:#?}");
    assert!(said(&done).contains("configmaps failed"), "{}", said(&done));
    let (grade, why) = people.grade("one").await;
    assert_eq!(grade, Grade::Bad, "{why:?}");
    // The newest drill counts. Another backup is taken, for there is no good one left.
    refused(people.alice.propose_drill(&id("alice"), "monthly", "x".into()).await, "no good backup to drill");
    assert_eq!(people.ran(draft("velero-backup", "two", &ALL)).await.state, RequestState::Done);
    let done = people.drilled("monthly").await;
    assert_eq!(done.state, RequestState::Done, "{done:#?}");
    assert_eq!(done.body.targets, ["prod/velero/two"]);
    for step in ["namespace ok", "restore ok", "configmaps ok", "deployments ok", "probe ok", "cleanup ok"] {
        assert!(said(&done).contains(step), "{step}: {}", said(&done));
    }
    let left = cluster.names("/api/v1/namespaces").await;
    assert!(!left.iter().any(|n| DRILL_NAMESPACES.contains(&n.as_str())), "{left:?}");

    let a = people.asset().await;
    assert_eq!((a.grade, a.newest_good.as_deref(), a.rto), (Grade::A, Some("two"), Tri::Pass), "{a:#?}");
    assert!(a.rto_actual_seconds.is_some_and(|s| s > 0.0 && s < 600.0) && !a.drill_stale, "{a:#?}");
    let report = people.bob.drill_report("monthly").unwrap().unwrap();
    assert_eq!((report.outcome, report.cleaned, report.within_objective), (Tri::Pass, Tri::Pass, Tri::Pass));
    assert_eq!((report.backup.as_str(), report.assets[0].as_str()), ("two", "shop objects"));
    assert!(watchfloor::desk::operate_drill::markdown(&report).contains("Approved by | bob"));
    let rows = people.bob.drills().unwrap();
    assert_eq!(rows.iter().map(|r| r.state).collect::<Vec<_>>(), [Tri::Pass, Tri::Fail]);

    // The same by the command line, and in the panes.
    let listed = cli(cluster, people, &["backup", "list"]);
    assert_eq!((listed["grade"].as_str(), listed["newest_good"].as_str()), (Some("A"), Some("two")), "{listed:#}");
    let live = people.bob.start_live(None).unwrap();
    let start = Instant::now();
    while people.bob.platform().assets.first().is_none_or(|a| a.grade != Grade::A) {
        assert!(start.elapsed() < PATIENCE, "{:#?}", people.bob.platform().sources);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::task::spawn_blocking(move || drop(live)).await.unwrap();
}

/// The first line that a command says, as another process on the same desk.
fn cli(cluster: &Cluster, people: &People, args: &[&str]) -> Value {
    let config = people.at.path().join("config.toml");
    let (reader, writer) = (cluster.kubeconfig("reader"), cluster.kubeconfig("writer"));
    let text = format!(
        "[desk]\ndata_dir = {:?}\n[operate]\nbackups = {:?}\n[operate.kubernetes.prod]\nkubeconfig = {reader:?}\n\
         write_kubeconfig = {writer:?}\n",
        people.at.path().join("data"),
        people.at.path().join("backups.toml"),
    );
    std::fs::write(&config, text).unwrap();
    let out = Command::new(BIN).arg("--json").arg("--config").arg(&config).args(args).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let first = stdout.lines().next().unwrap_or_else(|| panic!("{args:?}: {stderr}"));
    serde_json::from_str(first).unwrap()
}

/// Not a test of its own: the process that is killed while it drills.
#[test]
fn child() {
    let Some(dir) = std::env::var_os("WATCHFLOOR_VELERO_CHILD") else { return };
    let at = PathBuf::from(dir);
    let request = std::env::var("WATCHFLOOR_VELERO_REQUEST").unwrap();
    let at_cluster = PathBuf::from(std::env::var_os("WATCHFLOOR_VELERO_CLUSTER").unwrap());
    let cluster = std::mem::ManuallyDrop::new(Cluster {
        dir: tempfile::tempdir_in(&at).unwrap(),
        url: String::new(),
        http: reqwest::Client::new(),
    });
    for user in ["reader", "writer"] {
        let name = format!("{user}.kubeconfig");
        std::fs::copy(at_cluster.join(&name), cluster.dir.path().join(&name)).unwrap();
    }
    let desk = cluster.desk(&at, "alice");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let request = watchfloor::model::ids::RequestId::new(request).unwrap();
    let _ = runtime.block_on(desk.execute(&id("alice"), &request));
}

async fn a_drill_that_was_killed(cluster: &Cluster, people: &People) {
    // A probe that is never answered keeps it busy.
    std::fs::write(people.at.path().join("backups.toml"), backups_toml("http://127.0.0.1:9/")).unwrap();
    let r = people.alice.propose_drill(&id("alice"), "monthly", "killed".into()).await.unwrap();
    people.approved(&r);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env("WATCHFLOOR_VELERO_CHILD", people.at.path())
        .env("WATCHFLOOR_VELERO_CLUSTER", cluster.dir.path())
        .env("WATCHFLOOR_VELERO_REQUEST", r.body.id.as_str())
        .spawn()
        .unwrap();
    let start = Instant::now();
    loop {
        let now = people.bob.request(&r.body.id).unwrap().unwrap();
        if now.receipts.iter().any(|r| r.detail.expose().contains("restore ok")) {
            break;
        }
        assert!(start.elapsed() < PATIENCE && !now.state.is_final(), "{now:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(cluster.names("/api/v1/namespaces").await.contains(&"drill-shop".into()), "it is left behind");
    let bob = Arc::clone(&people.bob);
    tokio::task::spawn_blocking(move || bob.keep_house()).await.unwrap().unwrap();
    let ended = people.bob.request(&r.body.id).unwrap().unwrap();
    assert_eq!((ended.state, ended.receipts[0].state), (RequestState::Failed, ReceiptState::Unknown));
    assert_eq!(people.bob.settle_drills().await.unwrap(), 1);
    assert!(!cluster.names("/api/v1/namespaces").await.contains(&"drill-shop".into()), "it is removed");
    let report = people.bob.drill_report(r.body.id.as_str()).unwrap().unwrap();
    assert_eq!((report.outcome, report.cleaned), (Tri::Unknown, Tri::Pass), "{report:#?}");
    assert_eq!(people.bob.settle_drills().await.unwrap(), 0, "once");
    assert_eq!(people.asset().await.grade, Grade::A, "nothing is known of that drill, and the one before stands");
}

fn no_good_one(a: &AssetStatus, when: &str) {
    let good: Vec<_> = a.backups.iter().filter(|g| g.grade.is_good()).collect();
    assert!(good.is_empty() && a.newest_good.is_none() && a.rpo != Tri::Pass, "{when}: {good:#?}");
}

async fn the_store_is_killed(cluster: &Cluster, people: &People) {
    cluster.run("s3-stop");
    let start = Instant::now();
    loop {
        let a = people.asset().await;
        if a.newest_good.is_none() {
            no_good_one(&a, "without its store");
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{a:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let a = people.asset().await;
    assert!(a.backups.iter().any(|g| g.why.iter().any(|w| w.contains("unavailable"))), "{a:#?}");
    refused(people.propose(draft("velero-backup", "three", &ALL)).await, "storage location default is Unavailable");
    refused(
        people.propose(draft("velero-restore", "two", &[("from", "shop"), ("into", "shop-2")])).await,
        "storage location default is Unavailable",
    );
    kept(&a);
}

/// Both are remembered with what was proven of them.
fn kept(a: &AssetStatus) {
    for name in ["one", "two"] {
        let g = a.backups.iter().find(|g| g.backup.id == name).unwrap();
        assert!(g.backup.evidence.iter().any(|e| e.what == EvidenceKind::Drill), "{name}: {g:#?}");
    }
}

async fn the_store_comes_back_empty(cluster: &Cluster, people: &People) {
    cluster.run("s3-start");
    let start = Instant::now();
    let mut believed = false;
    loop {
        let a = people.asset().await;
        no_good_one(&a, "with an empty store");
        let (_, location) =
            cluster.ask("GET", "/apis/velero.io/v1/namespaces/velero/backupstoragelocations/default", None).await;
        let objects = cluster.names("/apis/velero.io/v1/namespaces/velero/backups").await;
        // Velero drops them one by one, in no order.
        let left = objects.iter().any(|o| o == "one" || o == "two");
        believed |= location["status"]["phase"] == "Available" && left;
        if !left {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{a:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!("Velero believed in what was not there any more: {believed}");
    let a = people.asset().await;
    no_good_one(&a, "after the sync");
    kept(&a);
    assert!(a.backups.iter().all(|g| g.backup.gone_since.is_some()), "{a:#?}");
    refused(people.propose(draft("velero-restore", "two", &[("from", "shop"), ("into", "x")])).await, "no backup two");
    assert_eq!(people.ran(draft("velero-backup", "three", &ALL)).await.state, RequestState::Done);
    let a = people.asset().await;
    assert_eq!((a.newest_good.as_deref(), a.grade, a.rpo), (Some("three"), Grade::C, Tri::Pass), "{a:#?}");
    kept(&a);
}

async fn deleted(people: &People) {
    refused(people.propose(draft("velero-delete", "three", &[])).await, "the last good one");
    assert_eq!(people.ran(draft("velero-backup", "four", &ALL)).await.state, RequestState::Done);
    let gone = people.propose(draft("velero-delete", "three", &[])).await.unwrap();
    assert_eq!(gone.body.approvals_needed, 2, "for good");
    let done = people.done(gone).await;
    assert_eq!(done.state, RequestState::Done, "{done:#?}");
    let a = people.asset().await;
    assert_eq!(a.newest_good.as_deref(), Some("four"), "{a:#?}");
    let three = a.backups.iter().find(|g| g.backup.id == "three").unwrap();
    assert!(three.backup.gone_since.is_some_and(|t| t <= Timestamp::now()), "{three:#?}");
}
