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
    /// Names of catalogue actions.
    #[serde(default)]
    pub suggested_actions: Vec<String>,
    /// The alert holds text that addresses the analyst or the model.
    #[serde(default)]
    pub speaks_to_model: bool,
    /// `rules`, `openai`.
    pub backend: String,
    pub model: Untrusted,
    /// Made by `rules` because the backend asked for did not answer.
    #[serde(default)]
    pub fallback: bool,
    /// What the fallback was for, or what else the reader should know.
    #[serde(default)]
    pub remark: Option<Untrusted>,
    pub at: Timestamp,
    pub took_ms: u64,
    /// Joins log lines, server logs and the audit trail.
    pub request_id: String,
}

impl Verdict {
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
}
