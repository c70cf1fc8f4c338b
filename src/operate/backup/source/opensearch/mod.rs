//! Snapshots of an OpenSearch repository. The requests are made here; what the answers mean is [`answers`]' part.
//!
//! Each request has a timeout and no answer larger than [`ANSWER_MAX`] is read. Rights: `cluster:admin/snapshot/get`,
//! `cluster:admin/snapshot/status`, `cluster:admin/repository/get` and `cluster:admin/repository/verify`; for policies
//! `cluster:admin/opensearch/snapshot_management/policy/{search,explain}`. What is not granted is unknown.

pub mod answers;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::Value;

use super::Read;
use crate::model::health::SourceState;
use crate::model::health::SourceWord;
use crate::text::Untrusted;

pub use answers::Answers;
pub use answers::read;

/// Bytes of one answer that are read.
pub const ANSWER_MAX: usize = 64 << 20;
/// Of how many of the newest snapshots shards and bytes are asked: each costs the node a walk through the repository.
const STATUS_OF: usize = 12;

/// A repository and how to reach it.
#[derive(Clone, Debug, Default)]
pub struct Repository {
    /// The source's, as configured.
    pub name: String,
    /// Such as `https://search.example:9200`.
    pub url: String,
    pub repository: String,
    pub username: Option<String>,
    /// The password itself.
    pub password: Option<String>,
    pub ca: Option<PathBuf>,
    /// For one request.
    pub timeout: Duration,
}

/// What a request came to when it was not answered with success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The server's own word: HTTP status, type of the error and reason.
    Said { status: u16, kind: String, reason: String },
    /// No answer at all.
    Silent(String),
    /// An answer that cannot be read, or settings that cannot be used.
    Unreadable(String),
}

impl Trouble {
    pub fn word(&self) -> SourceWord {
        match self {
            Self::Said { status: 401 | 403, .. } => SourceWord::Forbidden,
            Self::Said { kind, .. } if kind == "repository_missing_exception" => SourceWord::Absent,
            Self::Said { .. } | Self::Silent(_) => SourceWord::Lost,
            Self::Unreadable(_) => SourceWord::Unreadable,
        }
    }

    pub fn words(&self) -> String {
        match self {
            Self::Said { status, kind, reason } => format!("{status} {kind}: {reason}"),
            Self::Silent(why) | Self::Unreadable(why) => why.clone(),
        }
    }
}

/// Reads the repository. The second state is that of the Snapshot Management plugin: absent where it is not installed.
pub async fn fetch(repository: &Repository, now: Timestamp) -> (Read, SourceState) {
    let client = match Client::open(repository) {
        Ok(client) => client,
        Err(trouble) => {
            let answers = Answers { snapshots: Err(trouble.clone()), policies: Err(trouble), ..Answers::default() };
            return read(&repository.name, &repository.repository, &answers, now);
        }
    };
    let answers = client.ask().await;
    read(&repository.name, &repository.repository, &answers, now)
}

struct Client<'a> {
    http: reqwest::Client,
    of: &'a Repository,
    base: reqwest::Url,
}

impl<'a> Client<'a> {
    fn open(of: &'a Repository) -> Result<Self, Trouble> {
        let bad = |why: String| Trouble::Unreadable(why);
        let base = reqwest::Url::parse(&of.url).map_err(|e| bad(format!("url {}: {e}", of.url)))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(bad(format!("url {}: expected https://HOST:PORT", of.url)));
        }
        let mut builder = reqwest::Client::builder().timeout(of.timeout).redirect(reqwest::redirect::Policy::none());
        if base.host_str().is_some_and(|h| h == "localhost" || h.starts_with("127.") || h == "[::1]") {
            builder = builder.no_proxy();
        }
        if let Some(path) = &of.ca {
            let pem = std::fs::read(path).map_err(|e| bad(format!("ca {}: {e}", path.display())))?;
            let certificate =
                reqwest::Certificate::from_pem(&pem).map_err(|e| bad(format!("ca {}: {e}", path.display())))?;
            builder = builder.tls_certs_only([certificate]);
        }
        let http = builder.build().map_err(|e| bad(format!("cannot set up TLS: {e}")))?;
        Ok(Self { http, of, base })
    }

    async fn ask(&self) -> Answers {
        let repository = self.of.repository.as_str();
        let mut answers = Answers {
            snapshots: self.send(Method::GET, &["_snapshot", repository, "_all"], &[]).await,
            ..Answers::default()
        };
        if matches!(&answers.snapshots, Err(Trouble::Silent(_) | Trouble::Said { status: 401, .. })) {
            answers.policies = answers.snapshots.clone();
            return answers;
        }
        if matches!(&answers.snapshots, Err(Trouble::Said { .. })) {
            // One snapshot that cannot be read fails the whole list: those that can are asked for, and the names of all.
            let readable =
                self.send(Method::GET, &["_snapshot", repository, "_all"], &[("ignore_unavailable", "true")]).await;
            if readable.is_ok() {
                answers.names =
                    self.send(Method::GET, &["_snapshot", repository, "_all"], &[("verbose", "false")]).await.ok();
                answers.snapshots = readable;
            }
        }
        answers.verified = Some(self.send(Method::POST, &["_snapshot", repository, "_verify"], &[]).await);
        for name in answers.newest(STATUS_OF) {
            let status = self.send(Method::GET, &["_snapshot", repository, &name, "_status"], &[]).await;
            answers.status.insert(name, status);
        }
        answers.policies = self.send(Method::GET, &["_plugins", "_sm", "policies"], &[("size", "200")]).await;
        if answers.policies.is_ok() {
            answers.explained =
                self.send(Method::GET, &["_plugins", "_sm", "policies", "*", "_explain"], &[]).await.ok();
        }
        answers
    }

    async fn send(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Trouble> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url);
        if let Some(user) = &self.of.username {
            request = request.basic_auth(user, self.of.password.as_deref());
        }
        let mut response = request.send().await.map_err(|e| self.silent(&e))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.silent(&e))? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(Trouble::Unreadable(format!("an answer of more than {ANSWER_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        let value: Result<Value, _> = serde_json::from_slice(&body);
        if (200..300).contains(&status) {
            return value.map_err(|e| Trouble::Unreadable(format!("an answer that is no JSON: {e}")));
        }
        Err(said(status, &value.unwrap_or_default(), &body))
    }

    fn silent(&self, e: &reqwest::Error) -> Trouble {
        if e.is_timeout() {
            return Trouble::Silent(format!("no answer within {} s", self.of.timeout.as_secs_f64()));
        }
        let mut last: &dyn std::error::Error = e;
        while let Some(cause) = last.source() {
            last = cause;
        }
        Trouble::Silent(last.to_string())
    }
}

/// An error of OpenSearch: `{"error": {"type", "reason"}}`, or `{"error": "text"}` of a handler that is not there.
fn said(status: u16, value: &Value, body: &[u8]) -> Trouble {
    let error = &value["error"];
    let reason = match (error["reason"].as_str(), error.as_str()) {
        (Some(reason), _) => reason.to_owned(),
        (None, Some(text)) => text.to_owned(),
        (None, None) => String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
    };
    Trouble::Said { status, kind: error["type"].as_str().unwrap_or("error").into(), reason }
}

/// The state of a source that is not read by anybody else.
fn state(name: &str, word: SourceWord, detail: String, good: Option<Timestamp>) -> SourceState {
    SourceState {
        name: name.into(),
        kind: "opensearch".into(),
        state: word,
        detail: Untrusted::new(detail),
        last_good: good,
        next_try: None,
    }
}
