//! A real OpenSearch node with TLS and its security plugin, ended by process id when it is dropped.

#![allow(dead_code, reason = "each test uses its own part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

pub struct Node {
    /// Certificates, data, logs, and `repo` for snapshots.
    pub dir: tempfile::TempDir,
    /// Such as `https://127.0.0.1:21000`; the same after a restart.
    pub url: String,
    pub ca: PathBuf,
    pub http: reqwest::Client,
}

fn script(verb: &str, dir: &Path) -> Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/opensearch.sh");
    let owner = std::process::id().to_string();
    Command::new("bash").arg(path).arg(verb).arg(dir).env("WATCHFLOOR_TEST_OWNER", owner).output().unwrap()
}

fn done(out: &Output) {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

impl Node {
    /// `None`, with a word why, where there is no Java, no Maven, or nothing to get the jars from.
    pub fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let out = script("start", dir.path());
        if out.status.code() == Some(77) {
            println!("skipped: {}", String::from_utf8_lossy(&out.stderr).trim());
            return None;
        }
        done(&out);
        let env = std::fs::read_to_string(dir.path().join("env")).unwrap();
        let get = |key: &str| env.lines().find_map(|l| l.strip_prefix(key)).unwrap().to_owned();
        let (url, ca) = (get("URL="), PathBuf::from(get("CA=")));
        let cert = reqwest::Certificate::from_pem(&std::fs::read(&ca).unwrap()).unwrap();
        let http = reqwest::Client::builder()
            .add_root_certificate(cert)
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        Some(Self { dir, url, ca, http })
    }

    /// Ends it politely and starts it again with its data.
    pub fn restart(&self) {
        done(&script("stop", self.dir.path()));
        self.start_again();
    }

    pub fn kill(&self) {
        done(&script("kill", self.dir.path()));
    }

    /// It must be able to become yellow: an index without any copy keeps it red for ever.
    pub fn start_again(&self) {
        done(&script("start", self.dir.path()));
    }

    /// As its administrator. Status 0: no answer. A string is sent as it is, null as no body.
    pub async fn ask(&self, method: &str, path: &str, body: impl Into<Value>) -> (u16, Value) {
        let request = self
            .http
            .request(method.parse().unwrap(), format!("{}{path}", self.url))
            .basic_auth("admin", Some("admin"))
            .header("content-type", if path.contains("_bulk") { "application/x-ndjson" } else { "application/json" });
        let request = match body.into() {
            Value::Null => request,
            Value::String(text) => request.body(text),
            other => request.body(other.to_string()),
        };
        match request.send().await {
            Ok(r) => (r.status().as_u16(), r.json().await.unwrap_or_default()),
            Err(_) => (0, Value::Null),
        }
    }

    /// The same, and it must have worked.
    pub async fn must(&self, method: &str, path: &str, body: impl Into<Value>) -> Value {
        let (status, said) = self.ask(method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {said}");
        said
    }

    pub async fn put(&self, path: &str, body: Value) {
        self.must("PUT", path, body).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        script("kill", self.dir.path());
    }
}
