//! Drills of snapshots of a real OpenSearch: restored beside what is in use, counted, removed, and kept as proof.

use super::*;

struct Node {
    dir: tempfile::TempDir,
    url: String,
    ca: PathBuf,
    http: reqwest::Client,
}

fn opensearch(verb: &str, dir: &Path) -> std::process::Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/opensearch.sh");
    let owner = std::process::id().to_string();
    Command::new("bash").arg(path).arg(verb).arg(dir).env("WATCHFLOOR_TEST_OWNER", owner).output().unwrap()
}

impl Drop for Node {
    fn drop(&mut self) {
        opensearch("kill", self.dir.path());
    }
}

impl Node {
    fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let out = opensearch("start", dir.path());
        if out.status.code() == Some(77) {
            println!("skipped: {}", String::from_utf8_lossy(&out.stderr).trim());
            return None;
        }
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let env = std::fs::read_to_string(dir.path().join("env")).unwrap();
        let get = |key: &str| env.lines().find_map(|l| l.strip_prefix(key)).unwrap().to_owned();
        let ca = PathBuf::from(get("CA="));
        let cert = reqwest::Certificate::from_pem(&std::fs::read(&ca).unwrap()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([cert]).no_proxy().build().unwrap();
        Some(Self { url: get("URL="), ca, http, dir })
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Value {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        let answer = request.basic_auth("admin", Some("admin")).json(&body).send().await.unwrap();
        let status = answer.status();
        let value: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {status} {value}");
        value
    }

    async fn indices(&self) -> Vec<String> {
        let all = self.ask("GET", "/_cluster/state/metadata?filter_path=metadata.indices.*.state", json!({})).await;
        let all = all["metadata"]["indices"].as_object().cloned().unwrap_or_default();
        all.keys().filter(|k| k.contains("logs-")).cloned().collect()
    }

    async fn fill(&self) {
        let repo = json!({ "type": "fs", "settings": { "location": "nightly" } });
        self.ask("PUT", "/_snapshot/nightly", repo).await;
        for (index, n) in [("logs-a", 50), ("logs-b", 7)] {
            self.ask("PUT", &format!("/{index}"), json!({ "settings": { "number_of_replicas": 0 } })).await;
            for i in 0..n {
                self.ask("PUT", &format!("/{index}/_doc/{i}"), json!({ "n": i })).await;
            }
        }
        let what = json!({ "indices": "logs-a,logs-b", "include_global_state": false });
        self.ask("PUT", "/_snapshot/nightly/one?wait_for_completion=true", what).await;
    }

    fn desk(&self, at: &Path, me: &str) -> Arc<Desk> {
        let actions = format!(
            "[[actions]]\nname = \"drill-snapshot\"\ntitle = \"Drill\"\ntier = \"T1\"\n\
             targets = {{ is = {{ type = \"index\" }} }}\n\
             params = [{{ name = \"snapshot\", is = {{ type = \"index\" }} }}, \
             {{ name = \"documents\", is = {{ type = \"integer\", min = 0, max = 1000 }} }}, \
             {{ name = \"drill\", is = {{ type = \"text\", max = 99 }}, default = \"\" }}]\n\
             executor = {{ kind = \"opensearch_snapshot\", verb = \"drill\", url = {:?}, repository = \"nightly\", \
             username = \"admin\", password = \"env:OPENSEARCH\", ca = {:?}, timeout_seconds = 60 }}\n",
            self.url, self.ca
        );
        let drill = |name: &str, documents: u32| {
            format!("[[drills]]\nname = \"{name}\"\nasset = \"logs\"\ndocuments = {documents}\n")
        };
        let backups = format!(
            "[[sources]]\nname = \"search\"\nkind = \"opensearch\"\nurl = {:?}\nrepository = \"nightly\"\n\
             username = \"admin\"\npassword = \"env:OPENSEARCH\"\nca = {:?}\n\
             [[assets]]\nname = \"logs\"\nsource = \"search\"\ncovers = [\"logs-*\"]\nprofile = \"1h/24h\"\n{}{}",
            self.url,
            self.ca,
            drill("weekly", 5),
            drill("greedy", 10),
        );
        std::fs::write(at.join("actions.toml"), actions).unwrap();
        std::fs::write(at.join("backups.toml"), backups).unwrap();
        let mut settings = Settings::default();
        settings.operate.backups = Some(at.join("backups.toml"));
        open(at, me, settings, Catalogue::load(&at.join("actions.toml")).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_drilled_beside_what_is_in_use() {
    let Some(node) = Node::start() else { return };
    node.fill().await;
    let at = tempfile::tempdir().unwrap();
    let [alice, bob] = ["alice", "bob"].map(|me| node.desk(at.path(), me));
    let run = async |drill: &str| {
        let r = alice.propose_drill(&id("alice"), drill, "weekly".into()).await.unwrap();
        assert_eq!(r.body.targets, ["logs-a", "logs-b"], "what the asset names");
        assert!(r.preview[0].diff.expose().contains("beside itself"), "{:?}", r.preview);
        bob.approve(&id("bob"), &r.body.id, &r.digest).unwrap();
        alice.execute(&id("alice"), &r.body.id).await.unwrap()
    };
    let before = node.indices().await;
    let graded = async || alice.backups().await.unwrap().assets.remove(0);
    assert_eq!(graded().await.grade, Grade::C);

    // Seven documents are not ten.
    let done = run("greedy").await;
    assert_eq!(done.state, RequestState::Failed, "{done:#?}");
    assert!(said(&done).contains("documents failed") && said(&done).contains("cleanup ok"), "{}", said(&done));
    assert_eq!(node.indices().await, before, "nothing is left, nothing is lost");
    assert_eq!(graded().await.grade, Grade::Bad);
    refused(alice.propose_drill(&id("alice"), "weekly", "x".into()).await, "no good backup to drill");

    let what = json!({ "indices": "logs-a,logs-b", "include_global_state": false });
    node.ask("PUT", "/_snapshot/nightly/two?wait_for_completion=true", what).await;
    let done = run("weekly").await;
    assert_eq!(done.state, RequestState::Done, "{done:#?}");
    assert!(said(&done).contains("50 documents") && said(&done).contains("7 documents"), "{}", said(&done));
    assert_eq!(node.indices().await, before);
    let a = graded().await;
    assert_eq!((a.grade, a.newest_good.as_deref(), a.rto), (Grade::A, Some("two"), Tri::Pass), "{a:#?}");
    let report = bob.drill_report("weekly").unwrap().unwrap();
    assert_eq!((report.outcome, report.cleaned, report.backup.as_str()), (Tri::Pass, Tri::Pass, "two"));
}
