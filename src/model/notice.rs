//! Something people must hear of, kept until whoever delivers it has it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{PersonId, RequestId};
use crate::text::Untrusted;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What it is about; the same again is no second notice.
    pub key: String,
    pub at: Timestamp,
    /// It is to wake people.
    pub page: bool,
    pub to: Audience,
    /// In our words.
    pub title: String,
    pub text: Untrusted,
    pub request: Option<RequestId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    Everyone,
    People(Vec<PersonId>),
}
