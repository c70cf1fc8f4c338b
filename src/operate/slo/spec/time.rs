//! Durations and windows as the dialects write them.

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;

use crate::model::slo::CalendarUnit;
use crate::model::slo::Window;

const DAY: u64 = 86_400;
/// Longer windows are a slip of the keyboard: no Prometheus keeps ten years.
const LONGEST: u64 = 3_660 * DAY;

/// OpenSLO's `duration-shorthand`: a whole number and one of `m h d w M Q Y`, where `m` is minute and `M` month.
/// Ours also takes `s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    pub count: u64,
    pub unit: char,
}

impl Short {
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected a duration such as 5m, 1h, 30d, 4w, 1M (month), 1Q or 1Y, found {text:?}");
        let unit = text.chars().last().ok_or_else(wrong)?;
        if !"smhdwMQY".contains(unit) {
            return Err(wrong());
        }
        let digits = &text[..text.len() - unit.len_utf8()];
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let count: u64 = digits.parse().map_err(|_| wrong())?;
        let short = Self { count, unit };
        within(short.seconds(), text)?;
        Ok(short)
    }

    /// A month counts as 30 days, a quarter as 90, a year as 365.
    pub fn seconds(self) -> u64 {
        self.count.saturating_mul(match self.unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => DAY,
            'w' => 7 * DAY,
            'M' => 30 * DAY,
            'Q' => 90 * DAY,
            _ => 365 * DAY,
        })
    }

    /// As the length of a window that slides, with what is odd about it.
    pub fn rolling(self) -> (Window, Option<String>) {
        let seconds = self.seconds();
        let days = seconds / DAY;
        let odd = matches!(self.unit, 'M' | 'Q' | 'Y')
            .then(|| format!("a rolling window of {}{} is taken as {days} days", self.count, self.unit));
        (Window::Rolling { seconds }, odd)
    }

    /// As the length of a window that follows the calendar.
    pub fn calendar(self, start: Timestamp, zone: String) -> Result<Window, String> {
        let unit = match self.unit {
            'd' => CalendarUnit::Day,
            'w' => CalendarUnit::Week,
            'M' => CalendarUnit::Month,
            'Q' => CalendarUnit::Quarter,
            'Y' => CalendarUnit::Year,
            unit => {
                let name = if unit == 'm' { "minutes" } else { "hours or seconds" };
                let meant =
                    if unit == 'm' { format!("; did you mean {}M (months)?", self.count) } else { String::new() };
                return Err(format!("a calendar window counts d, w, M, Q or Y, and {unit} is {name}{meant}"));
            }
        };
        let count = u32::try_from(self.count).map_err(|_| "too long".to_owned())?;
        Ok(Window::Calendar { unit, count, zone, start })
    }
}

/// Prometheus' duration: `1h30m`, `4w`, `500ms`; units once each, longest first. In seconds, rounded down.
pub fn prometheus(text: &str) -> Result<u64, String> {
    let wrong = || format!("expected a duration such as 30d, 4w or 1h30m, found {text:?}");
    const UNITS: [(&str, u64); 7] = [
        ("y", 365 * DAY * 1_000),
        ("w", 7 * DAY * 1_000),
        ("d", DAY * 1_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    let mut rest = text;
    let mut next = 0;
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit_len = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = &rest[digits..digits + unit_len];
        let place =
            UNITS.iter().position(|(name, _)| *name == unit).filter(|p| *p >= next).ok_or_else(|| {
                if unit == "M" { format!("{}; M is no unit here: write 30d", wrong()) } else { wrong() }
            })?;
        next = place + 1;
        millis = millis.saturating_add(count.saturating_mul(UNITS[place].1));
        rest = &rest[digits + unit_len..];
    }
    if text.is_empty() {
        return Err(wrong());
    }
    within(millis / 1_000, text)
}

fn within(seconds: u64, text: &str) -> Result<u64, String> {
    match seconds {
        0 => Err(format!("a duration above zero was expected, found {text:?}")),
        s if s > LONGEST => Err(format!("{text} is more than ten years")),
        s => Ok(s),
    }
}

/// The start of a calendar window: `2022-01-01 12:00:00` or with `T`, or a date alone, in `zone` (IANA).
pub fn start(text: &str, zone: &str) -> Result<Timestamp, String> {
    let zone = TimeZone::get(zone).map_err(|_| format!("{zone:?} is no time zone of the IANA database"))?;
    let civil: civil::DateTime = text
        .parse()
        .or_else(|_| text.parse::<civil::Date>().map(|d| d.at(0, 0, 0, 0)))
        .map_err(|_| format!("expected a time such as 2026-01-01 00:00:00, found {text:?}"))?;
    zone.to_timestamp(civil).map_err(|e| e.to_string())
}

/// Whether the IANA database has a zone of that name.
pub fn is_zone(name: &str) -> bool {
    TimeZone::get(name).is_ok()
}
