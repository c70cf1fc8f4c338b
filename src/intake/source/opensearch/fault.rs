//! What can go wrong between us and a cluster, each as one line that says what would help.

use std::error::Error as _;
use std::time::Duration;

use serde_json::Value;

use crate::store::StoreError;

/// Why the tail cannot go on for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The settings or a secret cannot be used.
    Settings(String),
    /// 401.
    Unauthorized { user: Option<String> },
    /// 403: the right that is missing, as the server names it.
    Forbidden { user: Option<String>, right: String },
    /// The server's certificate is not trusted, or it does not speak TLS.
    Tls(String),
    /// Nobody listens, or the name is unknown.
    Unreachable(String),
    /// No answer in time.
    Timeout(Duration),
    /// The node is starting, or a shard is not there yet.
    NotReady(String),
    /// No such index, alias or pattern yet.
    NoIndex(String),
    /// The point in time is gone: the node restarted or it expired.
    PitGone,
    /// An answer larger than we take, in bytes.
    TooLarge(u64),
    /// Too many requests.
    Busy(String),
    /// Anything else the server said.
    Server { status: u16, reason: String },
    /// An answer we cannot read.
    Protocol(String),
    /// Our own store.
    Store(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who = |user: &Option<String>| user.clone().unwrap_or_else(|| "nobody (no user name is set)".into());
        match self {
            Self::Settings(why) => f.write_str(why),
            Self::Unauthorized { user } => {
                write!(f, "user name or password refused (401) for {}: check `username` and `password`", who(user))
            }
            Self::Forbidden { user, right } => {
                write!(f, "{} lacks the right {right} (403): grant it in a role", who(user))
            }
            Self::Tls(why) => write!(f, "the server's certificate is not trusted: {why}; check `ca` and `url`"),
            Self::Unreachable(why) => write!(f, "cannot connect: {why}"),
            Self::Timeout(t) => write!(f, "no answer within {} s: the node hangs or the network drops it", t.as_secs()),
            Self::NotReady(why) => write!(f, "the cluster is not ready yet: {why}"),
            Self::NoIndex(index) => write!(f, "no index matches {index} yet"),
            Self::PitGone => f.write_str("the point in time is gone (node restarted?), taking a new one"),
            Self::TooLarge(n) => write!(f, "an answer of {n} bytes is larger than this reads"),
            Self::Busy(why) => write!(f, "the cluster is overloaded (429): {why}"),
            Self::Server { status, reason } => write!(f, "the server answered {status}: {reason}"),
            Self::Protocol(why) => write!(f, "an answer cannot be read: {why}"),
            Self::Store(why) => write!(f, "{why}"),
        }
    }
}

impl From<StoreError> for Fault {
    fn from(e: StoreError) -> Self {
        Self::Store(e.to_string())
    }
}

impl Fault {
    /// The shortest wait before another try. Wrong passwords wait longest, so that no account is locked by us.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(match self {
            Self::PitGone => 0,
            Self::Unauthorized { .. } => 30,
            Self::Settings(_) | Self::Forbidden { .. } | Self::Tls(_) => 10,
            Self::Busy(_) => 5,
            _ => 1,
        })
    }

    /// The longest wait before another try: what a restart cures is looked for sooner.
    pub(super) fn impatience(&self) -> Duration {
        Duration::from_secs(match self {
            Self::Unreachable(_) | Self::NotReady(_) | Self::NoIndex(_) | Self::PitGone => 15,
            _ => 60,
        })
    }

    /// From an error of the HTTP client, which hides its cause in a chain of sources.
    pub(super) fn from_transport(e: &opensearch::Error, timeout: Duration) -> Self {
        if e.is_timeout() {
            return Self::Timeout(timeout);
        }
        let mut words = vec![e.to_string()];
        let mut at = e.source();
        while let Some(cause) = at {
            words.push(cause.to_string());
            at = cause.source();
        }
        let all = words.join(": ").to_lowercase();
        // The innermost cause is the one that says something.
        let last = words.pop().unwrap_or_default();
        let last = last.split(" (os error").next().unwrap_or_default().to_owned();
        if all.contains("timed out") || all.contains("timeout") {
            Self::Timeout(timeout)
        } else if all.contains("certificate") || all.contains("tls") || all.contains("corrupt message") {
            Self::Tls(last)
        } else {
            Self::Unreachable(last)
        }
    }

    /// From an answer with an error status.
    pub(super) fn from_answer(status: u16, body: &[u8], user: Option<&str>, index: &str) -> Self {
        let user = user.map(str::to_owned);
        let said = Said::read(body);
        let kind = said.kind.as_str();
        match status {
            401 => Self::Unauthorized { user },
            403 if kind == "cluster_block_exception" => Self::Server { status, reason: said.reason },
            403 => Self::Forbidden { user, right: said.right() },
            404 if kind == "index_not_found_exception" => Self::NoIndex(index.to_owned()),
            404 if kind == "search_context_missing_exception" || said.all.contains("search_context_missing") => {
                Self::PitGone
            }
            // What a pattern that matches no index gives when a point in time is asked for.
            400 if said.reason.contains("invalid id: [null]") => Self::NoIndex(index.to_owned()),
            400 if kind == "illegal_argument_exception" && said.reason.contains("invalid id") => Self::PitGone,
            429 => Self::Busy(said.reason),
            500.. if said.all.contains("search_context_missing") => Self::PitGone,
            502..=504 => Self::NotReady(said.reason),
            500 if said.all.contains("not initialized") || said.all.contains("no_shard_available") => {
                Self::NotReady(said.reason)
            }
            _ => Self::Server { status, reason: said.reason },
        }
    }
}

/// What an error body says, in the server's words, cut to a line.
struct Said {
    kind: String,
    reason: String,
    all: String,
}

impl Said {
    fn read(body: &[u8]) -> Self {
        let all = String::from_utf8_lossy(&body[..body.len().min(16 << 10)]).into_owned();
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        let error = &value["error"];
        let cause = [&error["root_cause"][0], error];
        let text = |key: &str| cause.iter().find_map(|c| c[key].as_str());
        let kind = text("type").unwrap_or_default().to_owned();
        let reason = text("reason").or_else(|| error.as_str()).unwrap_or(&all);
        let mut reason: String = reason.lines().next().unwrap_or_default().chars().take(240).collect();
        if reason.is_empty() {
            reason = "no reason given".into();
        }
        Self { kind, reason, all }
    }

    /// The security plugin says `no permissions for [RIGHT, RIGHT] and User [...]`.
    fn right(&self) -> String {
        let named = self.reason.strip_prefix("no permissions for [").and_then(|rest| rest.split_once("] and "));
        named.map_or_else(|| format!("for this: {}", self.reason), |(right, _)| right.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, body: &str) -> String {
        Fault::from_answer(status, body.as_bytes(), Some("tail"), "alerts-*").to_string()
    }

    #[test]
    fn each_answer_gives_one_line_that_helps() {
        let denied = r#"{"error":{"root_cause":[{"type":"security_exception","reason":"no permissions for [indices:data/read/search] and User [name=tail, backend_roles=[], requestedTenant=null]"}],"type":"security_exception","reason":"x"},"status":403}"#;
        assert_eq!(said(403, denied), "tail lacks the right indices:data/read/search (403): grant it in a role");
        let nested = r#"{"error":{"type":"security_exception","reason":"no permissions for [indices:data/write/bulk[s]] and User [name=tail]"}}"#;
        assert!(said(403, nested).contains("right indices:data/write/bulk[s] (403)"));
        assert!(said(401, "Unauthorized").contains("password refused (401) for tail"));
        assert!(said(503, "OpenSearch Security not initialized.").contains("not ready yet: OpenSearch Security"));
        let missing = r#"{"error":{"type":"index_not_found_exception","reason":"no such index [x]"},"status":404}"#;
        assert_eq!(said(404, missing), "no index matches alerts-* yet");
        let null = r#"{"error":{"type":"illegal_argument_exception","reason":"invalid id: [null]"},"status":400}"#;
        assert_eq!(said(400, null), "no index matches alerts-* yet");
        let gone = r#"{"error":{"root_cause":[{"type":"search_context_missing_exception","reason":"No search context found for id [7]"}],"type":"search_phase_execution_exception"},"status":404}"#;
        assert_eq!(Fault::from_answer(404, gone.as_bytes(), None, "i"), Fault::PitGone);
        for line in [said(500, ""), said(500, "a\nb"), said(418, "{}")] {
            assert!(!line.contains('\n') && !line.is_empty());
        }
    }
}
