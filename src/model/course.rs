//! What happens to a request besides the steps of its life: questions and answers, rungs of the ladder, broken glass.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::{Means, Signed};
use super::ids::{PersonId, RequestId};
use crate::text::Untrusted;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Course {
    /// Oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub thread: Vec<Message>,
    /// Rungs of the ladder that were reached, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rungs: Vec<Rung>,
    /// One person let it run alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub glass: Option<BreakGlass>,
    /// The ticket of the change board.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

impl Course {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The newest question nobody answered yet.
    pub fn open_question(&self) -> Option<&Message> {
        self.thread.last().filter(|m| m.kind == MessageKind::Question)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// An approver asks back. The clock goes on.
    Question,
    /// The requester answers.
    Answer,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub by: PersonId,
    pub at: Timestamp,
    pub kind: MessageKind,
    pub text: Untrusted,
}

/// A rung of the ladder: nobody had decided by then, and these people were told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// From 1.
    pub number: u8,
    /// When it was due.
    pub at: Timestamp,
    pub to: Vec<PersonId>,
    /// Who that is, in words, such as `commanders`.
    pub whom: String,
}

/// One person's word, in an emergency, that it runs without the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlass {
    pub by: PersonId,
    pub at: Timestamp,
    pub digest: String,
    pub reason: Untrusted,
    pub means: Means,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
    /// Another person must have looked at it by then.
    pub review_due: Timestamp,
    /// What they found; joined to it when it is read, kept with the review.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<GlassVerdict>,
}

impl BreakGlass {
    pub fn overdue(&self, now: Timestamp) -> bool {
        self.review.is_none() && now > self.review_due
    }
}

/// The look somebody else takes afterwards at what one person did alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlassReview {
    pub request: RequestId,
    /// What was done, such as `isolate-host on web1`.
    pub what: String,
    pub by: PersonId,
    pub at: Timestamp,
    pub reason: Untrusted,
    pub due: Timestamp,
    /// Everybody was told that it is overdue.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chased: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<GlassVerdict>,
}

impl GlassReview {
    pub fn overdue(&self, now: Timestamp) -> bool {
        self.closed.is_none() && now > self.due
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlassVerdict {
    pub by: PersonId,
    pub at: Timestamp,
    pub justified: bool,
    pub text: Untrusted,
}
