//! A playbook as the JSON it is.

use serde_json::Map;
use serde_json::Value;
use sha2::Digest as _;
use sha2::Sha256;

use super::view;
use crate::model::playbook::Playbook;

/// Bytes of one document; the largest published ones have a tenth of it.
pub const MAX_BYTES: usize = 1 << 20;

/// Why some bytes are no playbook at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("{0} bytes; a playbook has at most {MAX_BYTES}")]
    TooLarge(usize),
    /// With line and column as serde_json says them.
    #[error("no JSON: {0}")]
    Json(String),
    #[error("no playbook: {0}")]
    NotPlaybook(&'static str),
}

/// A CACAO document: an object whose `type` is `playbook`. Whether it is a good one, [`super::lint`] says.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    json: Map<String, Value>,
    hash: String,
}

impl Document {
    /// # Errors
    /// When it is no JSON, no object, or no playbook.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        if bytes.len() > MAX_BYTES {
            return Err(ReadError::TooLarge(bytes.len()));
        }
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        Self::of(serde_json::from_slice(bytes).map_err(|e| ReadError::Json(e.to_string()))?)
    }

    /// # Errors
    /// When it is no object whose `type` is `playbook`.
    pub fn of(json: Value) -> Result<Self, ReadError> {
        let Value::Object(json) = json else { return Err(ReadError::NotPlaybook("a JSON object was expected")) };
        if json.get("type").and_then(Value::as_str) != Some("playbook") {
            return Err(ReadError::NotPlaybook("\"type\": \"playbook\" was expected"));
        }
        let canonical = serde_json_canonicalizer::to_vec(&json).map_err(|e| ReadError::Json(e.to_string()))?;
        let hash = hex::encode(Sha256::digest(canonical));
        Ok(Self { json, hash })
    }

    pub fn json(&self) -> &Map<String, Value> {
        &self.json
    }

    /// SHA-256 of its canonical form (RFC 8785), hex.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What it says. `key`: the short name it is known by where it gives none itself.
    pub fn view(&self, key: &str) -> Playbook {
        view::read(self, key)
    }

    pub fn into_json(self) -> Value {
        Value::Object(self.json)
    }
}
