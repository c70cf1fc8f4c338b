//! Cases, saved views, suppressions.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::alert::Disposition;
use super::ids::{CaseId, PersonId, SuppressionId};
use crate::text::Untrusted;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    pub id: CaseId,
    pub title: Untrusted,
    pub opened_by: PersonId,
    pub opened_at: Timestamp,
    pub closed_at: Option<Timestamp>,
    /// Alerts in it now.
    pub alerts: u64,
}

/// How a case was closed last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    pub by: PersonId,
    pub at: Timestamp,
    pub disposition: Disposition,
    /// What came of it, in a person's words.
    pub summary: Untrusted,
}

/// A named query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedView {
    pub name: String,
    pub query: String,
    /// Sort key word, see [`super::query::SortKey`].
    pub sort: String,
    pub by: Option<PersonId>,
}

/// Hides what a query matches, for a while, in somebody's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    pub id: SuppressionId,
    pub query: String,
    pub owner: PersonId,
    pub reason: Untrusted,
    pub created: Timestamp,
    pub expires: Timestamp,
    /// Alerts it has hidden so far.
    pub hidden: u64,
}
