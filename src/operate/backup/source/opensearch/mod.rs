//! Snapshots of an OpenSearch repository. The requests are made here; what the answers mean is [`answers`]' part.
//!
//! Each request has a timeout and no answer larger than [`ANSWER_MAX`] is read. Rights: `cluster:admin/snapshot/get`,
//! `cluster:admin/snapshot/status`, `cluster:admin/repository/get` and `cluster:admin/repository/verify`; for policies
//! `cluster:admin/opensearch/snapshot_management/policy/{search,explain}`. What is not granted is unknown.
//!
//! Everything but one request only reads. `_verify` writes a small file into the repository and lets every node read it,
//! so it is sent seldom: see [`Verify`]. In between the lists and the shards of the newest snapshots are still read from
//! the repository at every reading.

pub mod answers;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use super::Read;
use crate::model::health::SourceState;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::text::Untrusted;

pub use answers::Answers;
pub use answers::read;

/// Bytes of one answer that are read.
pub const ANSWER_MAX: usize = 64 << 20;
/// Of how many of the newest snapshots shards and bytes are asked: each costs the node a walk through the repository.
const STATUS_OF: usize = 12;
/// Between two verifications while all is well.
const VERIFY_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// After one that failed, and while something in the repository cannot be read.
const VERIFY_AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// Whether the repository is verified, which writes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// At most hourly; at most every five minutes while something cannot be read.
    WhenDue,
    /// Somebody asked for it.
    Now,
    Never,
}

/// What a verification came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    pub at: Timestamp,
    pub reachable: Tri,
    pub words: Untrusted,
}

/// One reading of a repository.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetched {
    pub read: Read,
    /// Of the Snapshot Management plugin: absent where it is not installed.
    pub managed: SourceState,
    /// The newest verification, this reading's or an earlier one.
    pub verified: Option<Verified>,
}

/// Whether it is time to write to the repository again.
fn is_due(verify: Verify, last: Option<&Verified>, trouble: bool, now: Timestamp) -> bool {
    match (verify, last) {
        (Verify::Never, _) => false,
        (Verify::Now, _) | (Verify::WhenDue, None) => true,
        (Verify::WhenDue, Some(last)) => {
            let pause = if last.reachable == Tri::Pass && !trouble { VERIFY_EVERY } else { VERIFY_AGAIN };
            let age = now.duration_since(last.at);
            age >= pause || age < SignedDuration::ZERO
        }
    }
}

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

/// Reads the repository. `last`: its newest verification, as an earlier reading gave it.
pub async fn fetch(repository: &Repository, last: Option<&Verified>, verify: Verify, now: Timestamp) -> Fetched {
    let answers = match Client::open(repository) {
        Ok(client) => client.ask(last, verify, now).await,
        Err(trouble) => Answers { snapshots: Err(trouble.clone()), policies: Err(trouble), ..Answers::default() },
    };
    let verified = answers.verified.as_ref().map(|told| answers::verified(told, now)).or_else(|| last.cloned());
    let (read, managed) = read(&repository.name, &repository.repository, &answers, last, now);
    Fetched { read, managed, verified }
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

    async fn ask(&self, last: Option<&Verified>, verify: Verify, now: Timestamp) -> Answers {
        let repository = self.of.repository.as_str();
        let mut answers = Answers {
            snapshots: self.send(Method::GET, &["_snapshot", repository, "_all"], &[]).await,
            ..Answers::default()
        };
        if matches!(&answers.snapshots, Err(Trouble::Silent(_) | Trouble::Said { status: 401, .. })) {
            answers.policies = answers.snapshots.clone();
            return answers;
        }
        let trouble = matches!(&answers.snapshots, Err(Trouble::Said { .. }));
        if trouble {
            // One snapshot that cannot be read fails the whole list: those that can are asked for, and the names of all.
            let readable =
                self.send(Method::GET, &["_snapshot", repository, "_all"], &[("ignore_unavailable", "true")]).await;
            if readable.is_ok() {
                answers.names =
                    self.send(Method::GET, &["_snapshot", repository, "_all"], &[("verbose", "false")]).await.ok();
                answers.snapshots = readable;
            }
        }
        for name in answers.newest(STATUS_OF) {
            let status = self.send(Method::GET, &["_snapshot", repository, &name, "_status"], &[]).await;
            answers.status.insert(name, status);
        }
        let trouble =
            trouble || answers.status.values().any(|s| matches!(s, Err(Trouble::Said { status: 404 | 500.., .. })));
        if is_due(verify, last, trouble, now) {
            answers.verified = Some(self.send(Method::POST, &["_snapshot", repository, "_verify"], &[]).await);
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
