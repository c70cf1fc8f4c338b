//! When backups are due: 5-field cron, `@daily` and its like, and `@every 1h30m` (as Velero's, which is robfig/cron).

use croner::Cron as Pattern;
use croner::parser::CronParser;
use croner::parser::Seconds;
use croner::parser::Year;
use jiff::SignedDuration;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Runs looked at when the longest pause between two is sought.
const RUNS: usize = 800;
/// No further ahead than this: leap years come round.
const AHEAD_DAYS: i64 = 366 * 5;

/// A schedule that was understood.
#[derive(Clone, Debug)]
pub enum Cron {
    Pattern(Box<Pattern>, TimeZone),
    /// Seconds from one run to the next.
    Every(i64),
}

impl Cron {
    /// `zone` is an IANA name; a `TZ=` or `CRON_TZ=` before the pattern goes before it. The error is in words.
    pub fn parse(text: &str, zone: &str) -> Result<Self, String> {
        let mut text = text.trim();
        let mut zone = zone.to_owned();
        for prefix in ["CRON_TZ=", "TZ="] {
            if let Some(rest) = text.strip_prefix(prefix) {
                let (name, pattern) = rest.split_once(' ').ok_or("expected a pattern after the time zone")?;
                zone = name.to_owned();
                text = pattern.trim();
                break;
            }
        }
        let zone = if zone.is_empty() { "UTC".into() } else { zone };
        let zone = TimeZone::get(&zone).map_err(|_| format!("{zone:?} is no time zone"))?;
        if let Some(every) = text.strip_prefix("@every") {
            let every = go_span(every.trim()).filter(|s| *s >= 1);
            return every.map(Self::Every).ok_or_else(|| "expected a time such as 1h30m after @every".into());
        }
        let pattern = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields = pattern.split_whitespace().count();
        if fields != 5 {
            return Err(format!("expected five fields (minute hour day month weekday), found {fields}"));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let pattern = parser.parse(pattern).map_err(|e| e.to_string())?;
        Ok(Self::Pattern(Box::new(pattern), zone))
    }

    /// The first run after `from`. `last` is when it ran last: `@every` counts from there. `None`: it never runs.
    pub fn next(&self, from: Timestamp, last: Option<Timestamp>) -> Option<Timestamp> {
        match self {
            Self::Every(seconds) => {
                let base = last.unwrap_or(from);
                let behind = (from.as_second() - base.as_second()).div_euclid(*seconds).max(0);
                let ahead = behind.checked_add(1)?.checked_mul(*seconds)?;
                base.checked_add(SignedDuration::from_secs(ahead)).ok()
            }
            Self::Pattern(pattern, zone) => {
                let zoned = from.to_zoned(zone.clone());
                pattern.find_next_occurrence(&zoned, false).ok().map(|z| z.timestamp()).filter(|t| *t > from)
            }
        }
    }

    /// How many runs were due after `after` until `until`, at most 1,000.
    pub fn due(&self, after: Timestamp, until: Timestamp) -> usize {
        let mut at = after;
        let mut n = 0;
        while n < 1_000 {
            match self.next(at, Some(after)) {
                Some(next) if next <= until => {
                    at = next;
                    n += 1;
                }
                _ => break,
            }
        }
        n
    }

    /// The longest pause between two runs from now on, in seconds: what a recovery point cannot be better than.
    pub fn longest_pause(&self, from: Timestamp) -> Option<f64> {
        if let Self::Every(seconds) = self {
            return Some(*seconds as f64);
        }
        let end = from.checked_add(SignedDuration::from_hours(AHEAD_DAYS * 24)).ok()?;
        let mut at = self.next(from, None)?;
        let mut longest: Option<f64> = None;
        for _ in 0..RUNS {
            let Some(next) = self.next(at, None).filter(|n| *n <= end) else { break };
            let pause = next.duration_since(at).as_secs_f64();
            longest = Some(longest.map_or(pause, |l| l.max(pause)));
            at = next;
        }
        longest
    }
}

/// `1h30m`, `24h`, `35d`, `2w`, `90s` in seconds; whole parts, each unit at most once and largest first.
pub fn go_span(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total: i64 = 0;
    let mut last = i64::MAX;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let n: i64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next()?;
        let seconds = match unit {
            'w' => 7 * 86_400,
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        if seconds >= last {
            return None;
        }
        last = seconds;
        total = total.checked_add(n.checked_mul(seconds)?)?;
        rest = &rest[digits + 1..];
    }
    Some(total)
}

/// A time span in words, two units at most: `26h 5m`, `12d 3h`, `45s`.
pub fn span(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "?".into();
    }
    let s = seconds.abs().round() as u64;
    let two = |a: u64, ua: &str, b: u64, ub: &str| match b {
        0 => format!("{a}{ua}"),
        _ => format!("{a}{ua} {b}{ub}"),
    };
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => two(s / 60, "m", s % 60, "s"),
        3_600..172_800 => two(s / 3_600, "h", s % 3_600 / 60, "m"),
        _ => two(s / 86_400, "d", s % 86_400 / 3_600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn cron_is_read_in_its_zone() {
        let c = Cron::parse("0 2 * * *", "Europe/Berlin").unwrap();
        assert_eq!(c.next(t("2026-01-10T00:00:00Z"), None).unwrap(), t("2026-01-10T01:00:00Z"));
        assert_eq!(c.next(t("2026-07-10T00:00:00Z"), None).unwrap(), t("2026-07-11T00:00:00Z"));
        let c = Cron::parse("CRON_TZ=America/New_York 0 2 * * *", "Europe/Berlin").unwrap();
        assert_eq!(c.next(t("2026-01-10T00:00:00Z"), None).unwrap(), t("2026-01-10T07:00:00Z"));
        assert_eq!(Cron::parse("@daily", "UTC").unwrap().due(t("2026-01-01T00:00:00Z"), t("2026-01-04T00:00:00Z")), 3);
        for bad in ["", "* * * *", "0 2 * * * *", "61 * * * *", "@never", "@every", "@every x", "TZ=Nowhere 0 2 * * *"]
        {
            assert!(Cron::parse(bad, "UTC").is_err(), "{bad}");
        }
    }

    #[test]
    fn every_counts_from_the_last_run() {
        let c = Cron::parse("@every 1h30m", "UTC").unwrap();
        let last = t("2026-01-10T00:10:00Z");
        assert_eq!(c.next(t("2026-01-10T00:20:00Z"), Some(last)).unwrap(), t("2026-01-10T01:40:00Z"));
        assert_eq!(c.next(t("2026-01-10T04:00:00Z"), Some(last)).unwrap(), t("2026-01-10T04:40:00Z"));
        assert_eq!(c.longest_pause(last), Some(5_400.0));
        assert_eq!(c.due(last, t("2026-01-10T04:00:00Z")), 2);
    }

    #[test]
    fn the_longest_pause_knows_weekends_and_the_end_of_summer_time() {
        let from = t("2026-01-01T00:00:00Z");
        assert_eq!(Cron::parse("0 2 * * 1-5", "UTC").unwrap().longest_pause(from), Some(3.0 * 86_400.0));
        let berlin = Cron::parse("0 1 * * *", "Europe/Berlin").unwrap().longest_pause(from);
        assert_eq!(berlin, Some(25.0 * 3_600.0));
        assert_eq!(Cron::parse("0 0 30 2 *", "UTC").unwrap().longest_pause(from), None);
    }

    #[test]
    fn spans() {
        assert_eq!(go_span("1h30m"), Some(5_400));
        assert_eq!(go_span("35d"), Some(35 * 86_400));
        for bad in ["", "5", "h", "1x", "1m1h", "1m1m", "-1h", "99999999999999999999h", "1h 2m"] {
            assert_eq!(go_span(bad), None, "{bad}");
        }
        assert_eq!([span(45.0), span(93_600.0), span(93_900.0), span(1_047_600.0)], ["45s", "26h", "26h 5m", "12d 3h"]);
    }
}
