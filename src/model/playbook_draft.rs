//! A playbook that a model drafted, on its way past people.

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use super::ids::AlertId;
use super::ids::CaseId;
use super::ids::PersonId;
use crate::text::Untrusted;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DraftState {
    Open,
    Approved,
    Rejected,
}

impl DraftState {
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
        }
    }
}

/// Who changed it, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DraftEdit {
    pub by: PersonId,
    pub at: Timestamp,
    /// SHA-256 of the document from then on, hex.
    pub hash: String,
}

/// Who ended it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DraftDecision {
    pub by: PersonId,
    pub at: Timestamp,
    /// Of a rejection.
    pub reason: Option<Untrusted>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlaybookDraft {
    /// A ULID.
    pub id: String,
    /// The short name it is started by once it is approved.
    pub key: String,
    pub title: Untrusted,
    pub alert: Option<AlertId>,
    pub case: Option<CaseId>,
    pub asked_by: PersonId,
    pub at: Timestamp,
    pub state: DraftState,
    /// SHA-256 of the document in canonical form, hex.
    pub hash: String,
    pub backend: String,
    pub model: Untrusted,
    /// SHA-256 of the model's file, hex, where it is known.
    pub model_digest: Option<String>,
    /// SHA-256 of the prompt, hex.
    pub prompt: String,
    /// Of the exchange with the model.
    pub request_id: String,
    pub edits: Vec<DraftEdit>,
    pub decided: Option<DraftDecision>,
    /// The CACAO document.
    pub document: serde_json::Value,
}
