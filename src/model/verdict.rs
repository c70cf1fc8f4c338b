//! A verdict: what a backend thinks. It advises; people decide.
//!
//! The monotone rule lives in these types: from a verdict one can only get an advised priority, and
//! [`super::priority::Priority::raised_to`] is the only function that takes one. Nothing turns a verdict into an
//! [`super::act::Act`], a disposition, a status or an approval.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::priority::Priority;
use crate::text::Untrusted;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    TruePositive,
    BenignTruePositive,
    FalsePositive,
    NeedsInvestigation,
}

impl VerdictKind {
    pub const ALL: [Self; 4] =
        [Self::TruePositive, Self::BenignTruePositive, Self::FalsePositive, Self::NeedsInvestigation];

    /// As in the schema and in queries.
    pub fn word(self) -> &'static str {
        match self {
            Self::TruePositive => "true_positive",
            Self::BenignTruePositive => "benign_true_positive",
            Self::FalsePositive => "false_positive",
            Self::NeedsInvestigation => "needs_investigation",
        }
    }

    /// As on screen.
    pub fn label(self) -> &'static str {
        match self {
            Self::TruePositive => "TRUE POSITIVE",
            Self::BenignTruePositive => "BENIGN TRUE POSITIVE",
            Self::FalsePositive => "FALSE POSITIVE",
            Self::NeedsInvestigation => "NEEDS INVESTIGATION",
        }
    }

    pub fn parse(s: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.word().eq_ignore_ascii_case(s))
    }
}

/// One reason, tied to a field of the alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub text: Untrusted,
    /// Path of the field, as [`super::fields::flatten`] writes it.
    pub field: Untrusted,
    /// What the backend says stands there.
    pub quote: Untrusted,
    /// Set by our code alone: the named field really holds the quote.
    #[serde(default)]
    pub founded: bool,
    /// Where the quote stands, as bytes of the field's value. Set by our code alone, for founded claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<(usize, usize)>,
}

impl Claim {
    /// One that nobody has checked yet.
    pub fn new(text: impl Into<Untrusted>, field: impl Into<Untrusted>, quote: impl Into<Untrusted>) -> Self {
        Self { text: text.into(), field: field.into(), quote: quote.into(), founded: false, span: None }
    }
}

/// A response action a backend thinks would help: a name of the catalogue, and what it would be aimed at, which is an
/// entity of the alert. It fills nothing in and runs nothing; a person may open the action and chooses what it is aimed at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    pub action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Untrusted>,
}

impl<'de> Deserialize<'de> for Suggestion {
    /// Also takes a bare name, as verdicts were kept before there were targets.
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Wire {
            Name(String),
            Whole {
                action: String,
                #[serde(default)]
                target: Option<Untrusted>,
            },
        }
        Ok(match Wire::deserialize(d)? {
            Wire::Name(action) => Self { action, target: None },
            Wire::Whole { action, target } => Self { action, target },
        })
    }
}

impl From<&str> for Suggestion {
    fn from(action: &str) -> Self {
        Self { action: action.to_owned(), target: None }
    }
}

/// What an answer cost. `None`: the server did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// Of the prompt's tokens, how many were found in a prefix cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<u64>,
    /// From sending the request to the first piece of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<u64>,
    /// Spent waiting for a free slot, before sending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued_ms: Option<u64>,
    /// From sending to the end of the answer: the time a slot of the server was held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served_ms: Option<u64>,
}

impl Usage {
    /// Both together, for an opinion that took more than one request.
    pub fn and(self, other: Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
        };
        Self {
            prompt_tokens: sum(self.prompt_tokens, other.prompt_tokens),
            cached_tokens: sum(self.cached_tokens, other.cached_tokens),
            completion_tokens: sum(self.completion_tokens, other.completion_tokens),
            first_token_ms: self.first_token_ms.or(other.first_token_ms),
            queued_ms: sum(self.queued_ms, other.queued_ms),
            served_ms: sum(self.served_ms, other.served_ms),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub kind: VerdictKind,
    /// 0 to 1; `None`: not known.
    pub confidence: Option<f32>,
    /// At most 5.
    pub claims: Vec<Claim>,
    /// ATT&CK ids that passed the table.
    #[serde(default)]
    pub techniques: Vec<String>,
    /// May only raise.
    #[serde(default)]
    pub advised_priority: Option<Priority>,
    /// What a person should find out next.
    #[serde(default)]
    pub questions: Vec<Untrusted>,
    /// Actions of the catalogue.
    #[serde(default)]
    pub suggested_actions: Vec<Suggestion>,
    /// Name of a playbook of this desk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playbook: Option<String>,
    /// The alert holds text that addresses the analyst or the model.
    #[serde(default)]
    pub speaks_to_model: bool,
    /// A second look without the text an attacker can write came to another conclusion (`true`) or to the same
    /// (`false`). `None`: nobody looked twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_dependent: Option<bool>,
    /// `rules`, `openai`, `local`.
    pub backend: String,
    /// Which server answered, by its name in the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    pub model: Untrusted,
    /// Made by `rules` because the backend asked for did not answer.
    #[serde(default)]
    pub fallback: bool,
    /// What the fallback was for, or what else the reader should know.
    #[serde(default)]
    pub remark: Option<Untrusted>,
    pub at: Timestamp,
    pub took_ms: u64,
    #[serde(default)]
    pub usage: Usage,
    /// Joins log lines, server logs and the audit trail.
    pub request_id: String,
}

impl Verdict {
    /// One without reasons or advice.
    pub fn new(kind: VerdictKind, backend: &str, at: Timestamp, request_id: &str) -> Self {
        Self {
            kind,
            confidence: None,
            claims: Vec::new(),
            techniques: Vec::new(),
            advised_priority: None,
            questions: Vec::new(),
            suggested_actions: Vec::new(),
            playbook: None,
            speaks_to_model: false,
            text_dependent: None,
            backend: backend.to_owned(),
            server: None,
            model: backend.into(),
            fallback: false,
            remark: None,
            at,
            took_ms: 0,
            usage: Usage::default(),
            request_id: request_id.to_owned(),
        }
    }

    pub fn founded(&self) -> usize {
        self.claims.iter().filter(|c| c.founded).count()
    }

    pub fn summary(&self) -> VerdictSummary {
        VerdictSummary {
            kind: self.kind,
            confidence: self.confidence,
            founded: self.founded() as u8,
            claims: self.claims.len() as u8,
            speaks_to_model: self.speaks_to_model,
            fallback: self.fallback,
            text_dependent: self.text_dependent == Some(true),
        }
    }
}

/// What a queue line shows of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerdictSummary {
    pub kind: VerdictKind,
    pub confidence: Option<f32>,
    pub founded: u8,
    pub claims: u8,
    pub speaks_to_model: bool,
    pub fallback: bool,
    #[serde(default)]
    pub text_dependent: bool,
}
