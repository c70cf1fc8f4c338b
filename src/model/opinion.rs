//! What surrounds verdicts: the exchange with the model that led to one, what people said to it, questions asked about an
//! alert, and how triage is doing as a whole.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{AlertId, PersonId};
use super::verdict::{Claim, Usage, VerdictKind};
use crate::text::Untrusted;

/// What a request to a model was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Judge,
    /// The same alert without the text an attacker can write.
    SecondLook,
    /// A person's question.
    Ask,
    /// A stored prompt run once more.
    Replay,
    /// A playbook.
    Draft,
}

impl Purpose {
    pub fn word(self) -> &'static str {
        match self {
            Self::Judge => "judge",
            Self::SecondLook => "second look",
            Self::Ask => "ask",
            Self::Replay => "replay",
            Self::Draft => "draft",
        }
    }
}

/// One request to a model and what it answered, kept whole so that it can be run again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// Same as in the verdict, the log, the server's log and the audit trail. A second look ends in `-2`.
    pub request_id: String,
    pub alert: AlertId,
    pub purpose: Purpose,
    pub at: Timestamp,
    pub backend: String,
    pub server: Option<String>,
    pub model: Untrusted,
    /// SHA-256 of the model's file, hex, where it is known.
    pub model_digest: Option<String>,
    pub seed: u64,
    /// The fixed part.
    pub system: String,
    /// The alert, fenced and marked.
    pub user: Untrusted,
    /// The JSON Schema the answer was held to.
    pub schema: Option<serde_json::Value>,
    pub max_tokens: u32,
    pub output: Untrusted,
    /// `stop`, `length`, or what the server said.
    pub finish: String,
    pub usage: Usage,
}

/// What a person said to a verdict. It changes nothing else: closing an alert is an act of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    pub alert: AlertId,
    /// Of the verdict.
    pub request_id: String,
    pub by: PersonId,
    pub at: Timestamp,
    /// What the backend said, and what the person says. The same: accepted.
    pub said: VerdictKind,
    pub kind: VerdictKind,
    /// Empty when accepted without one; an override needs one.
    pub reason: Untrusted,
}

impl Review {
    pub fn agrees(&self) -> bool {
        self.said == self.kind
    }
}

/// How often people agreed with a backend: by reviews, and by how alerts were closed where nobody reviewed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// A rule's id or name, or empty for all rules together.
    pub rule: Untrusted,
    pub backend: String,
    pub model: Untrusted,
    pub agreed: u64,
    pub overridden: u64,
}

impl Agreement {
    /// 0 to 1; `None` when nobody has said anything yet.
    pub fn rate(&self) -> Option<f64> {
        let n = self.agreed + self.overridden;
        (n > 0).then(|| self.agreed as f64 / n as f64)
    }
}

/// A question of a person about an alert, and the answer: advice like a verdict, under the same checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    pub question: Untrusted,
    pub text: Untrusted,
    pub claims: Vec<Claim>,
    pub backend: String,
    pub server: Option<String>,
    pub model: Untrusted,
    /// What the checks found, in words.
    pub remark: Option<Untrusted>,
    pub at: Timestamp,
    pub took_ms: u64,
    pub usage: Usage,
    pub request_id: String,
    /// The person who asked.
    pub by: Option<PersonId>,
}

/// How triage is doing over a span of time (the last 24 hours, say). Durations in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TriageStats {
    pub since: Option<Timestamp>,
    /// Verdicts given, those of rules standing in, and those of a model.
    pub verdicts: u64,
    pub fallbacks: u64,
    pub by_model: u64,
    /// Of each kind, in the order of `VerdictKind::ALL`.
    pub kinds: [u64; 4],
    pub text_dependent: u64,
    pub raised: u64,
    /// Model verdicts per hour over the span, and in the last five minutes (scaled to an hour).
    pub per_hour: f64,
    pub per_hour_now: f64,
    pub took_p50: Option<u64>,
    pub took_p95: Option<u64>,
    pub first_token_p95: Option<u64>,
    pub prompt_tokens: u64,
    pub cached_tokens: u64,
    pub completion_tokens: u64,
    /// Milliseconds of a server's slot held, all verdicts together: GPU-seconds where slots share no batch.
    pub served_ms: u64,
    /// Claims made and claims founded, by models.
    pub claims: u64,
    pub founded: u64,
    /// Overall first, then by rule with most reviews first (at most 20).
    pub agreement: Vec<Agreement>,
    pub queue: TriageQueue,
}

/// The triage queue now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriageQueue {
    pub waiting: u64,
    pub running: u64,
    /// Of the bulk under way: how many were asked for, and how many are done.
    pub asked: u64,
    pub done: u64,
    /// Why nothing moves, in words; `None` when it does.
    pub held: Option<String>,
}

/// One thing the desk knows about an alert, as shown to the analyst and told to the model. Context, not evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextLine {
    /// Such as `past`, `neighbour`, `asset`, `identity`, `case`, `technique`, `playbook`.
    pub label: String,
    pub text: Untrusted,
    /// It fitted into what is told to a model.
    pub told: bool,
}

/// Text in an alert that addresses its reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taint {
    /// Path of the field.
    pub field: Untrusted,
    /// What it does, in our words.
    pub what: String,
    pub excerpt: Untrusted,
    /// It was found under an encoding.
    pub encoded: bool,
}
