//! Clocks of regulators and customers after a data breach, from a data file: the desk's own, else the one that ships; and
//! the deadlines they make of the times a run holds.

use std::path::Path;

use jiff::SignedDuration;
use jiff::Timestamp;
use jiff::Zoned;
use jiff::civil::Weekday;
use serde::Deserialize;
use serde::Serialize;

use super::ids;

use crate::config::fault::Faults;
use crate::config::fault::Place;
use crate::model::playbook::Playbook;
use crate::model::playbook_run::Deadline;
use crate::model::playbook_run::Run;

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
    pub const ALL: [Self; 5] = [Self::Aware, Self::Classified, Self::Material, Self::Paid, Self::Notified];

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.word() == word)
    }

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
    /// How long there is, in words.
    pub fn within(&self) -> String {
        match (self.hours, self.business_days) {
            (Some(h), _) => format!("{h} h"),
            (None, Some(d)) => format!("{d} business days"),
            (None, None) => "without undue delay".to_owned(),
        }
    }

    /// By when, if it began then. `None`: without undue delay, no number.
    pub fn due(&self, began: Timestamp) -> Option<Timestamp> {
        match (self.hours, self.business_days) {
            (Some(h), _) => began.checked_add(SignedDuration::from_hours(i64::from(h))).ok(),
            (None, Some(days)) => business_days(began, days),
            (None, None) => None,
        }
    }
}

/// The deadlines of a run: of each clock that counts from a time this playbook asks for. Those open come first, by when
/// they end; then those without a number, those that have not begun, and those somebody has dealt with. A time that
/// cannot be read is not known.
pub fn deadlines(book: &Playbook, run: &Run, clocks: &[Clock]) -> Vec<Deadline> {
    let began = |name: &String| run.variables.get(name)?.value.as_ref()?.expose().parse::<Timestamp>().ok();
    let one = |clock: &Clock| {
        let (name, _) = book.clocks.iter().find(|(_, from)| From::parse(from) == Some(clock.from))?;
        let began = began(name);
        Some(Deadline {
            id: clock.id.clone(),
            to: clock.to.clone(),
            law: clock.law.clone(),
            applies: clock.applies.clone(),
            within: clock.within(),
            from: name.clone(),
            began,
            due: began.and_then(|t| clock.due(t)),
            mark: run.deadlines.get(&clock.id).cloned(),
        })
    };
    let mut out: Vec<Deadline> = clocks.iter().filter_map(one).collect();
    out.sort_by_key(|d| (!d.open(), d.began.is_none(), d.due.is_none(), d.due));
    out
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
    let mut faults = Faults::default();
    for (i, c) in file.clocks.iter().enumerate() {
        // Where it stands in the text is lost; its number and name are as good.
        let mut wrong = |what: &str| faults.add(whole(), format!("clock {} ({:?}): {what}", i + 1, c.id));
        if !ids::is_plain(&c.id) {
            wrong("id: letters, digits and hyphens were expected");
        }
        if file.clocks.iter().take(i).any(|other| other.id == c.id) {
            wrong("there is another of this id");
        }
        if c.hours.is_some() && c.business_days.is_some() {
            wrong("either hours or business_days was expected, not both");
        }
        if c.hours.is_some_and(|h| h > 24 * 3660) || c.business_days.is_some_and(|d| d > 3660) {
            wrong("ten years at most were expected");
        }
    }
    if faults.is_empty() { Ok(file.clocks) } else { Err(faults) }
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

    #[test]
    fn a_file_of_clocks_says_what_is_wrong_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("breach_clocks.toml");
        let told = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path).map(|c| c.len()).map_err(|f| f.to_string())
        };
        let one = |id: &str, more: &str| {
            format!("[[clocks]]\nid = {id:?}\nto = \"x\"\nlaw = \"y\"\napplies = \"z\"\nfrom = \"aware\"\n{more}\n")
        };
        assert_eq!(told(&one("a", "hours = 24")), Ok(1));
        assert!(told(&one("a", "hours = \"soon\"")).unwrap_err().contains("breach_clocks.toml:7:9"));
        assert!(told(&one("a", "minutes = 5")).unwrap_err().contains("minutes"));
        for (text, wanted) in [
            (one("a/b", ""), "letters, digits and hyphens"),
            (one("a", "") + &one("a", ""), "clock 2 (\"a\"): there is another"),
            (one("a", "hours = 1\nbusiness_days = 1"), "not both"),
            (one("a", "business_days = 4000000000"), "ten years"),
        ] {
            let said = told(&text).unwrap_err();
            assert!(said.contains(wanted), "{said}");
        }
        assert!(read(&dir.path().join("none.toml")).unwrap_err().to_string().contains("none.toml"));
    }
}
