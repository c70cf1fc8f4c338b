//! Priority and the response clock that comes with it.

use serde::{Deserialize, Serialize};

use super::severity::Severity;

/// How soon people must respond. `P0` is the most urgent and sorts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Priority {
    P0,
    P1,
    P2,
    P3,
}

impl Priority {
    pub const ALL: [Self; 4] = [Self::P0, Self::P1, Self::P2, Self::P3];

    /// The detector's own rank. An unknown severity is not a low one: it gets the middle.
    pub fn from_severity(severity: Severity) -> Self {
        match severity {
            Severity::Fatal | Severity::Critical => Self::P0,
            Severity::High => Self::P1,
            Severity::Medium | Severity::Unknown => Self::P2,
            Severity::Low | Severity::Informational => Self::P3,
        }
    }

    /// Seconds within which somebody must claim it: P0 15 min, P1 1 h, P2 4 h, P3 24 h.
    pub fn response_seconds(self) -> i64 {
        match self {
            Self::P0 => 15 * 60,
            Self::P1 => 60 * 60,
            Self::P2 => 4 * 60 * 60,
            Self::P3 => 24 * 60 * 60,
        }
    }

    pub fn id(self) -> i64 {
        self as i64
    }

    pub fn from_id(id: i64) -> Option<Self> {
        usize::try_from(id).ok().and_then(|i| Self::ALL.get(i).copied())
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::P0 => "P0",
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
        }
    }

    pub fn parse(s: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.word().eq_ignore_ascii_case(s))
    }

    /// The only way a verdict touches a priority: the result is never less urgent than `self`.
    #[must_use]
    pub fn raised_to(self, advised: Option<Priority>) -> Self {
        advised.map_or(self, |a| a.min(self))
    }
}
