//! Points in time as people type them.

use jiff::SignedDuration;
use jiff::Span;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::civil::Time;
use jiff::tz::TimeZone;

/// What may be typed, for hints and errors.
pub const EXPECTED: &str = "now, 20m ago, 14:30, 2026-11-21 14:30 (UTC) or 2026-11-21T15:30+01:00";

/// Reads a time that has passed: `now`; `20m ago` and `1h 5m ago`; `14:30`, the last time it was that late (UTC);
/// a date with a time, in UTC unless it names its offset. Up to a minute ahead is taken for a clock that differs.
///
/// # Errors
/// What was expected, in words.
pub fn past(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    let at = read(text, now).ok_or_else(|| format!("a time was expected: {EXPECTED}"))?;
    let ahead = at.duration_since(now);
    if ahead > SignedDuration::from_mins(1) {
        return Err(format!("{at:.0} has not come yet"));
    }
    Ok(at)
}

fn read(text: &str, now: Timestamp) -> Option<Timestamp> {
    if text.eq_ignore_ascii_case("now") {
        return Some(now);
    }
    if text.len() > 64 {
        return None;
    }
    if text.ends_with("ago") {
        return now.checked_add(text.parse::<Span>().ok()?.to_duration(now.to_zoned(TimeZone::UTC).date()).ok()?).ok();
    }
    let short = text.trim_end_matches(['Z', 'z']);
    if let Some(time) = short.contains(':').then(|| clock(short)).flatten() {
        let today = now.to_zoned(TimeZone::UTC).date();
        let then = today.to_datetime(time).to_zoned(TimeZone::UTC).ok()?.timestamp();
        let passed = then.duration_since(now) <= SignedDuration::from_mins(1);
        return if passed { Some(then) } else { then.checked_sub(SignedDuration::from_hours(24)).ok() };
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let civil: DateTime = text.parse().ok()?;
    // A date alone is midnight to the parser, and nobody means that.
    text.contains(':').then(|| civil.to_zoned(TimeZone::UTC).ok()).flatten().map(|z| z.timestamp())
}

/// `14:30` and `14:30:05`, and nothing with a date.
fn clock(text: &str) -> Option<Time> {
    let digits = |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = text.split(':').collect();
    if !(2..=3).contains(&parts.len()) || !parts.iter().all(|p| digits(p)) {
        return None;
    }
    let number = |i: usize| parts.get(i).map_or(Some(0), |p| p.parse::<i8>().ok());
    Time::new(number(0)?, number(1)?, number(2)?, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_type_them() {
        let now: Timestamp = "2026-11-21T14:30:20Z".parse().unwrap();
        let of = |text: &str| past(text, now).map(|t| format!("{t:.0}"));
        for (text, wanted) in [
            ("now", "2026-11-21T14:30:20Z"),
            (" Now ", "2026-11-21T14:30:20Z"),
            ("20m ago", "2026-11-21T14:10:20Z"),
            ("1h 5m ago", "2026-11-21T13:25:20Z"),
            ("2 days ago", "2026-11-19T14:30:20Z"),
            ("14:30", "2026-11-21T14:30:00Z"),
            ("9:05", "2026-11-21T09:05:00Z"),
            ("14:31", "2026-11-21T14:31:00Z"),
            ("14:40", "2026-11-20T14:40:00Z"),
            ("23:59:59Z", "2026-11-20T23:59:59Z"),
            ("2026-11-20 08:00", "2026-11-20T08:00:00Z"),
            ("2026-11-20T08:00:00", "2026-11-20T08:00:00Z"),
            ("2026-11-20 08:00Z", "2026-11-20T08:00:00Z"),
            ("2026-11-21T15:30+01:00", "2026-11-21T14:30:00Z"),
        ] {
            assert_eq!(of(text).as_deref(), Ok(wanted), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_time_or_has_not_come_is_refused() {
        let now: Timestamp = "2026-11-21T14:30:20Z".parse().unwrap();
        for text in
            ["", "soon", "20m", "in 20m", "2026-11-21", "25:00", "12:60", "1:2:3:4", "yesterday", "ago", "-1 ago"]
        {
            let said = past(text, now).unwrap_err();
            assert!(said.contains("a time was expected"), "{text:?}: {said}");
        }
        for text in ["2026-11-22 08:00", "2026-11-21T14:00-01:00"] {
            assert!(past(text, now).unwrap_err().contains("has not come yet"), "{text}");
        }
        assert!(past(&"9".repeat(1_000_000), now).is_err());
    }
}
