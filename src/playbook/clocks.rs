//! Clocks of regulators and customers after a data breach, from a data file: the desk's own, else the one that ships.

use std::path::Path;

use jiff::SignedDuration;
use jiff::Timestamp;
use jiff::Zoned;
use jiff::civil::Weekday;
use serde::Deserialize;
use serde::Serialize;

use crate::config::fault::Faults;
use crate::config::fault::Place;

const BUNDLED: &str = include_str!("../../assets/breach/clocks.toml");

/// What starts a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum From {
    Aware,
    Classified,
    Material,
    Paid,
    Notified,
}

impl From {
    pub fn word(self) -> &'static str {
        match self {
            Self::Aware => "aware",
            Self::Classified => "classified",
            Self::Material => "material",
            Self::Paid => "paid",
            Self::Notified => "notified",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    pub id: String,
    pub to: String,
    pub law: String,
    pub applies: String,
    pub from: From,
    pub hours: Option<u32>,
    /// Monday to Friday; holidays are not known here.
    pub business_days: Option<u32>,
}

impl Clock {
    /// By when, if it began then. `None`: without undue delay, no number.
    pub fn due(&self, began: Timestamp) -> Option<Timestamp> {
        match (self.hours, self.business_days) {
            (Some(h), _) => began.checked_add(SignedDuration::from_hours(i64::from(h))).ok(),
            (None, Some(days)) => business_days(began, days),
            (None, None) => None,
        }
    }
}

/// The end of the day (UTC) so many business days later.
fn business_days(began: Timestamp, days: u32) -> Option<Timestamp> {
    let mut day: Zoned = began.to_zoned(jiff::tz::TimeZone::UTC);
    let mut left = days;
    while left > 0 {
        day = day.tomorrow().ok()?;
        left -= u32::from(!matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday));
    }
    day.end_of_day().ok().map(|d| d.timestamp())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    clocks: Vec<Clock>,
}

/// Those that ship with the program; a test holds that they can be read.
pub fn bundled() -> Vec<Clock> {
    toml::from_str::<File>(BUNDLED).map(|f| f.clocks).unwrap_or_default()
}

/// Those of a file.
///
/// # Errors
/// With line and column.
pub fn read(path: &Path) -> Result<Vec<Clock>, Faults> {
    let whole = || Place::Whole(path.to_owned());
    let text = std::fs::read_to_string(path).map_err(|e| Faults::one(whole(), format!("cannot be read: {e}")))?;
    let file: File = toml::from_str(&text).map_err(|e| {
        let place = e.span().map_or_else(whole, |s| Place::at(path, &text, s.start));
        Faults::one(place, e.message().to_owned())
    })?;
    Ok(file.clocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines() {
        let all = bundled();
        assert!(all.len() >= 15);
        let due = |id: &str, began: &str| {
            let clock = all.iter().find(|c| c.id == id).unwrap();
            clock.due(began.parse().unwrap()).map(|t| t.to_string())
        };
        assert_eq!(due("gdpr-authority", "2026-03-28T23:30:00Z").as_deref(), Some("2026-03-31T23:30:00Z"));
        assert_eq!(due("gdpr-people", "2026-03-28T23:30:00Z"), None);
        // A Thursday: Friday, Monday, Tuesday, Wednesday.
        let wednesday = due("sec-8k", "2026-11-19T10:00:00Z").unwrap();
        assert!(wednesday.starts_with("2026-11-25T23:59:59"), "{wednesday}");
    }
}
