//! Severity as OCSF counts it: <https://schema.ocsf.io/1.4.0/dictionary#severity_id> (0 to 6).

use serde::{Deserialize, Serialize};

/// How bad the detector says it is. `Unknown` is its own word, not the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    #[default]
    Unknown = 0,
    Informational = 1,
    Low = 2,
    Medium = 3,
    High = 4,
    Critical = 5,
    Fatal = 6,
}

impl Severity {
    pub const ALL: [Self; 7] =
        [Self::Unknown, Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical, Self::Fatal];

    pub fn from_id(id: i64) -> Self {
        usize::try_from(id).ok().and_then(|i| Self::ALL.get(i).copied()).unwrap_or_default()
    }

    pub fn id(self) -> i64 {
        self as i64
    }

    /// The whole word, lower case, as in queries and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
            Self::Fatal => "fatal",
        }
    }

    /// Four letters for a table cell.
    pub fn short(self) -> &'static str {
        match self {
            Self::Unknown => "?",
            Self::Informational => "INFO",
            Self::Low => "LOW",
            Self::Medium => "MED",
            Self::High => "HIGH",
            Self::Critical => "CRIT",
            Self::Fatal => "FATL",
        }
    }

    /// Reads a whole word or its usual short forms, any case.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.trim().to_ascii_lowercase().as_str() {
            "unknown" | "?" => Self::Unknown,
            "informational" | "information" | "info" | "notice" => Self::Informational,
            "low" | "minor" => Self::Low,
            "medium" | "med" | "moderate" | "warning" | "warn" => Self::Medium,
            "high" | "major" | "error" => Self::High,
            "critical" | "crit" | "very-high" | "very high" | "severe" => Self::Critical,
            "fatal" | "emergency" => Self::Fatal,
            _ => return None,
        })
    }
}
