//! What went wrong with a request, and what that means for the next step.

use std::error::Error as _;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use super::pool::Outcome;
use crate::triage::TriageError;
use crate::triage::wire::certificate;
pub(super) use crate::triage::wire::{chain, say};

/// Bytes of an error body that are read.
const BODY_MAX: usize = 16 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Another try may succeed: nothing of an answer has come.
    Retry(String),
    /// The connection was gone as soon as it was used: most likely a kept one that the server had closed meanwhile.
    Stale(String),
    /// Nothing came in time. Another try may succeed.
    Silent(&'static str, Duration),
    /// Not now.
    Unavailable(String),
    /// The answer began and then stopped.
    Slow(&'static str, Duration),
    /// A shorter prompt may succeed.
    TooLong(String),
    /// The same without log-probabilities may succeed.
    NoLogprobs,
    /// The server will refuse every request of ours.
    Refused(String),
    /// It refuses this request.
    Configuration(String),
    Invalid(String),
}

impl Fault {
    pub(super) fn of_send(e: reqwest::Error) -> Self {
        let said = chain(&e);
        if e.is_builder() {
            Self::Configuration(said)
        } else if e.is_connect() && certificate(&e) {
            Self::Refused(said)
        } else if !e.is_timeout() && closed(&e) {
            Self::Stale(said)
        } else {
            Self::Retry(said)
        }
    }

    /// Nothing of the answer has come, so that asking again does not show it twice.
    pub(super) fn may_retry(&self) -> bool {
        matches!(self, Self::Retry(_) | Self::Stale(_) | Self::Silent(..))
    }

    /// The same when an answer has begun.
    pub(super) fn begun(self) -> Self {
        match self {
            Self::Retry(s) | Self::Stale(s) => Self::Unavailable(s),
            Self::Silent(what, limit) => Self::Slow(what, limit),
            other => other,
        }
    }

    /// Another server may take what this one does not.
    pub(super) fn elsewhere(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Configuration(_))
    }

    /// What it says about the server.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Retry(s) | Self::Stale(s) | Self::Unavailable(s) => Outcome::Failed(s.clone()),
            Self::Silent(what, limit) | Self::Slow(what, limit) => {
                Outcome::Failed(format!("{what} within {} s", limit.as_secs()))
            }
            Self::Refused(s) => Outcome::Misconfigured(s.clone()),
            // A server that speaks no HTTP of ours is as good as none.
            Self::Invalid(s) => Outcome::Failed(s.clone()),
            Self::TooLong(_) | Self::NoLogprobs | Self::Configuration(_) => Outcome::Unknown,
        }
    }

    pub(super) fn into_error(self, host: &str) -> TriageError {
        match self {
            Self::Retry(s) | Self::Stale(s) | Self::Unavailable(s) => TriageError::Unavailable(format!("{host}: {s}")),
            Self::Silent(what, limit) | Self::Slow(what, limit) => {
                TriageError::Unavailable(format!("{host}: {what} within {} s", limit.as_secs()))
            }
            Self::TooLong(s) => TriageError::TooLong(format!("{host}: {s}")),
            Self::NoLogprobs => TriageError::Configuration(format!("{host}: the server refuses the request")),
            Self::Refused(s) | Self::Configuration(s) => TriageError::Configuration(format!("{host}: {s}")),
            Self::Invalid(s) => TriageError::Invalid(s),
        }
    }
}

/// The other side closed the connection before a word of an answer.
fn closed(e: &reqwest::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let mut source = e.source();
    while let Some(s) = source {
        let io = s.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        // What hyper calls an incomplete message; its type is none of ours.
        if matches!(io, Some(BrokenPipe | ConnectionAborted | ConnectionReset))
            || s.to_string().contains("closed before message completed")
        {
            return true;
        }
        source = s.source();
    }
    false
}

/// A body up to a length, as text.
pub(super) async fn body(mut response: reqwest::Response, max: usize) -> Result<String, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk[..chunk.len().min(max - bytes.len())]);
        if bytes.len() >= max {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a refusal means.
pub(super) async fn of_response(status: StatusCode, response: reqwest::Response, limit: Duration) -> Fault {
    let text = match tokio::time::timeout(limit, body(response, BODY_MAX)).await {
        Ok(Ok(text)) => text,
        _ => String::new(),
    };
    of_status(status.as_u16(), &text)
}

/// `{"error": {"message", "param", "type"}}` of OpenAI, vLLM and llama.cpp, `{"detail"}` of others.
pub(super) fn of_status(status: u16, body: &str) -> Fault {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let error = &json["error"];
    let message = error["message"].as_str().or(error.as_str()).or(json["message"].as_str()).or(json["detail"].as_str());
    let said = match message.map(say).filter(|s| !s.is_empty()) {
        Some(m) => format!("{status}, {m}"),
        None => format!("status {status}"),
    };
    let whole = message.unwrap_or_default().to_ascii_lowercase();
    let (param, kind) = (error["param"].as_str(), error["type"].as_str());
    let too_long = param == Some("input_tokens")
        || kind == Some("exceed_context_size_error")
        || whole.contains("maximum context length")
        || whole.contains("context size")
        || whole.contains("context_length");
    match status {
        400 | 413 if too_long || status == 413 => Fault::TooLong(said),
        400 | 422 if whole.contains("logprob") => Fault::NoLogprobs,
        401 | 403 => Fault::Refused(format!("the server refuses our key ({said})")),
        404 => Fault::Refused(format!("no such model or address ({said})")),
        408 | 429 | 500 => Fault::Unavailable(said),
        502..=504 => Fault::Retry(said),
        300..=399 => Fault::Refused(format!("the server points elsewhere ({said}); give the final address")),
        500.. => Fault::Unavailable(said),
        _ => Fault::Configuration(format!("the server refuses the request ({said})")),
    }
}
