//! What is common to the platform's health: a three-valued word, and where facts come from.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::text::Untrusted;

/// Three-valued: what is not known is never a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tri {
    Pass,
    Unknown,
    Fail,
}

impl Tri {
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Unknown => "unknown",
            Self::Fail => "fail",
        }
    }

    /// The worse of two; fail is worse than unknown.
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }

    pub fn of(known: Option<bool>) -> Self {
        match known {
            Some(true) => Self::Pass,
            Some(false) => Self::Fail,
            None => Self::Unknown,
        }
    }
}

/// How a server that facts are read from is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceState {
    /// As named in the settings.
    pub name: String,
    /// `prometheus`, `kubernetes`, `opensearch`, `file`, ...
    pub kind: String,
    pub state: SourceWord,
    /// In words; what the server said is somebody else's text.
    pub detail: Untrusted,
    pub last_good: Option<Timestamp>,
    pub next_try: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceWord {
    /// Nothing was asked yet.
    Starting,
    /// Up to date.
    Live,
    /// The connection is gone; tried again at `next_try`.
    Lost,
    /// 401 or 403.
    Forbidden,
    /// The kind of object (a CRD, a plugin) is not there: nothing to read, and no error.
    Absent,
    /// It answered something that cannot be read.
    Unreadable,
}

impl SourceWord {
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Lost => "lost",
            Self::Forbidden => "forbidden",
            Self::Absent => "absent",
            Self::Unreadable => "unreadable",
        }
    }
}
