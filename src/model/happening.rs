//! What happens around requests that somebody outside the desk should hear of.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::Tier;
use super::ids::{PersonId, RequestId};
use crate::text::Untrusted;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Happening {
    Proposed,
    Approved,
    Denied,
    Withdrawn,
    Expired,
    /// Something it was proposed for is no longer so.
    Void,
    Started,
    Done,
    Failed,
    /// One person let it run alone. Everybody is told, whatever they asked to hear.
    BreakGlass,
    /// Nobody decided in time, and the next people are told.
    Escalated,
    /// Nobody looked in time at what was done alone.
    ReviewOverdue,
    /// Somebody did.
    Reviewed,
    /// The policy or the roster is not what a request made it. Everybody is told.
    ChangedOutside,
    /// Nothing happened: somebody tries whether bulletins arrive.
    Test,
}

/// What a bulletin means for the one it continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Opens,
    /// Somebody is at it.
    Taken,
    Closes,
}

/// How much it matters, as those who page people ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    Info,
    Warning,
    Error,
    Critical,
}

impl Happening {
    pub const ALL: [Self; 15] = [
        Self::Proposed,
        Self::Approved,
        Self::Denied,
        Self::Withdrawn,
        Self::Expired,
        Self::Void,
        Self::Started,
        Self::Done,
        Self::Failed,
        Self::BreakGlass,
        Self::Escalated,
        Self::ReviewOverdue,
        Self::Reviewed,
        Self::ChangedOutside,
        Self::Test,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
            Self::Void => "void",
            Self::Started => "started",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::BreakGlass => "break-glass",
            Self::Escalated => "escalated",
            Self::ReviewOverdue => "review-overdue",
            Self::Reviewed => "reviewed",
            Self::ChangedOutside => "changed-outside",
            Self::Test => "test",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|h| h.word() == word)
    }

    pub fn phase(self) -> Phase {
        match self {
            Self::Proposed
            | Self::Failed
            | Self::BreakGlass
            | Self::Escalated
            | Self::ReviewOverdue
            | Self::ChangedOutside
            | Self::Test => Phase::Opens,
            Self::Approved | Self::Started => Phase::Taken,
            Self::Denied | Self::Withdrawn | Self::Expired | Self::Void | Self::Done | Self::Reviewed => Phase::Closes,
        }
    }

    pub fn urgency(self) -> Urgency {
        match self {
            Self::BreakGlass | Self::ChangedOutside => Urgency::Critical,
            Self::Failed | Self::Escalated | Self::ReviewOverdue => Urgency::Error,
            Self::Proposed | Self::Expired | Self::Void | Self::Denied => Urgency::Warning,
            Self::Approved | Self::Withdrawn | Self::Started | Self::Done | Self::Reviewed | Self::Test => {
                Urgency::Info
            }
        }
    }

    /// Told to everybody, whatever they asked to hear.
    pub fn to_all(self) -> bool {
        matches!(self, Self::BreakGlass | Self::ReviewOverdue | Self::ChangedOutside)
    }
}

/// One of them, with what a reader elsewhere needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bulletin {
    /// The same for the same happening, however often it is told.
    pub id: String,
    pub what: Happening,
    pub at: Timestamp,
    /// `desk.name`.
    pub desk: String,
    /// `None`: the desk itself.
    pub by: Option<PersonId>,
    pub request: Option<RequestId>,
    pub action: Option<String>,
    pub tier: Option<Tier>,
    pub targets: Vec<String>,
    /// Who should hear of it, where it is for certain people.
    pub to: Vec<PersonId>,
    /// A reason, a result.
    pub text: Untrusted,
}

impl Bulletin {
    /// Names what several bulletins are about. A page for what was done alone stays open when the request is done.
    pub fn thread(&self) -> String {
        let of = self.request.as_ref().map_or(self.id.as_str(), RequestId::as_str);
        let alone = matches!(self.what, Happening::BreakGlass | Happening::ReviewOverdue | Happening::Reviewed);
        format!("{}/{of}{}", self.desk, if alone { "/alone" } else { "" })
    }
}
