//! What a month of probes comes to. Pure: the time is an argument.
//!
//! Each probe stands for the time until the next one, at most 1.5 intervals; what is left over is unknown, neither up
//! nor down. Time that is excluded counts for nothing, whatever the probes said. Sums are exact (whole microseconds).

use jiff::Timestamp;
use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Agreement;
use super::Credit;
use super::Service;
use crate::model::health::Tri;
use crate::model::sla::Exclusion;
use crate::model::sla::ExclusionKind;
use crate::model::sla::Outage;
use crate::model::sla::ProbeResult;
use crate::model::sla::SlaMonth;
use crate::text::Untrusted;

/// Planned maintenance must have been announced so long before it begins.
pub const NOTICE_DAYS: i64 = 7;

/// A calendar month, such as `2026-10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(Date);

impl Month {
    pub fn of(at: Timestamp, zone: &TimeZone) -> Self {
        Self(at.to_zoned(zone.clone()).date().first_of_month())
    }

    /// From its first moment to the first moment of the next, in that time zone: 28 to 31 days, an hour more or less
    /// when clocks change.
    ///
    /// # Errors
    /// When the calendar ends there.
    pub fn bounds(self, zone: &TimeZone) -> Result<(Timestamp, Timestamp), String> {
        let start = |d: Date| d.to_zoned(zone.clone()).map(|z| z.timestamp()).map_err(|e| e.to_string());
        let next = self.0.checked_add(1.month()).map_err(|e| e.to_string())?;
        Ok((start(self.0)?, start(next)?))
    }
}

impl std::str::FromStr for Month {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?}: a month such as 2026-10 was expected");
        let (year, month) = text.split_once('-').ok_or_else(wrong)?;
        if (year.len(), month.len()) != (4, 2) || !text.chars().all(|c| c.is_ascii_digit() || c == '-') {
            return Err(wrong());
        }
        let date = Date::new(year.parse().map_err(|_| wrong())?, month.parse().map_err(|_| wrong())?, 1);
        Ok(Self(date.map_err(|_| wrong())?))
    }
}

impl std::fmt::Display for Month {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

/// What a stretch of time was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Was {
    Up,
    Down,
    Unknown,
    Excluded,
}

/// A stretch of time, in microseconds since 1970, and the probe it stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    from: i64,
    until: i64,
    was: Was,
    probe: Option<usize>,
}

/// Microseconds by what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub up: i64,
    pub down: i64,
    pub unknown: i64,
    pub excluded: i64,
}

impl Sums {
    /// Up over up and down; `None`: nothing was probed.
    pub fn uptime(&self) -> Option<f64> {
        share(self.up, self.up + self.down)
    }

    /// As if all that is unknown was down.
    pub fn at_worst(&self) -> Option<f64> {
        share(self.up, self.up + self.down + self.unknown)
    }

    fn at_best(&self) -> Option<f64> {
        share(self.up + self.unknown, self.up + self.down + self.unknown)
    }
}

fn share(part: i64, of: i64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

/// Whether a share reaches a bound. 99.5 % of a month is met by exactly 99.5 %, however the fraction rounds.
fn reaches(share: f64, bound: f64) -> bool {
    share >= bound - 1e-12
}

/// Why an exclusion counts or does not.
pub fn counts(e: &Exclusion) -> (bool, String) {
    if e.until <= e.from {
        return (false, "it ends before it begins".into());
    }
    match &e.approved_by {
        None => return (false, "nobody approved it".into()),
        Some(by) if *by == e.asked_by => return (false, "approved by the one who asked".into()),
        Some(_) => {}
    }
    let notice = e.from.duration_since(e.announced);
    if e.kind == ExclusionKind::Maintenance && notice < jiff::SignedDuration::from_hours(24 * NOTICE_DAYS) {
        let hours = notice.as_hours();
        let said = if notice.is_negative() {
            "announced after it began".to_owned()
        } else {
            format!("announced {} d {} h before", hours / 24, hours % 24)
        };
        return (false, format!("{said}; maintenance needs {NOTICE_DAYS} days' notice"));
    }
    (true, "approved".into())
}

/// The time of exclusions that count, sorted, what overlaps or touches as one.
fn merged(exclusions: &[Exclusion]) -> Vec<(i64, i64)> {
    let counted = exclusions.iter().filter(|e| counts(e).0);
    let mut spans: Vec<(i64, i64)> = counted.map(|e| (e.from.as_microsecond(), e.until.as_microsecond())).collect();
    spans.sort_unstable();
    let mut out: Vec<(i64, i64)> = Vec::new();
    for (from, until) in spans {
        match out.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(until),
            _ => out.push((from, until)),
        }
    }
    out
}

/// All of `from..until` cut into stretches, without gap or overlap. `probes` are in the order of time.
fn stretches(
    service: &Service,
    probes: &[ProbeResult],
    excluded: &[(i64, i64)],
    from: i64,
    until: i64,
) -> Vec<Stretch> {
    let longest = i64::from(service.interval_seconds) * 1_500_000;
    let mut plain: Vec<Stretch> = Vec::new();
    let mut push = |from: i64, until: i64, was: Was, probe: Option<usize>| {
        if until > from {
            plain.push(Stretch { from, until, was, probe });
        }
    };
    let mut at = from;
    for (i, p) in probes.iter().enumerate() {
        let start = p.at.as_microsecond();
        let next = probes.get(i + 1).map_or(i64::MAX, |n| n.at.as_microsecond());
        let end = start.saturating_add(longest).min(next).min(until);
        let start = start.max(at);
        if end <= start {
            continue;
        }
        push(at, start, Was::Unknown, None);
        push(start, end, if p.up { Was::Up } else { Was::Down }, Some(i));
        at = end;
    }
    push(at, until, Was::Unknown, None);
    let mut out = Vec::with_capacity(plain.len());
    let mut next = 0;
    for s in plain {
        let mut at = s.from;
        while excluded.get(next).is_some_and(|e| e.1 <= at) {
            next += 1;
        }
        let mut i = next;
        while at < s.until {
            let (end, was) = match excluded.get(i) {
                Some(e) if e.0 <= at => {
                    i += 1;
                    (e.1.min(s.until), Was::Excluded)
                }
                Some(e) => (e.0.min(s.until), s.was),
                None => (s.until, s.was),
            };
            out.push(Stretch { from: at, until: end, was, ..s });
            at = end;
        }
    }
    out
}

fn sums(stretches: &[Stretch]) -> Sums {
    let mut sums = Sums::default();
    for s in stretches {
        let slot = match s.was {
            Was::Up => &mut sums.up,
            Was::Down => &mut sums.down,
            Was::Unknown => &mut sums.unknown,
            Was::Excluded => &mut sums.excluded,
        };
        *slot += s.until - s.from;
    }
    sums
}

/// Any span of time of a service. `probes` are in the order of time; one from before the span counts as far as it
/// reaches into it.
pub fn totals(
    service: &Service,
    probes: &[ProbeResult],
    exclusions: &[Exclusion],
    from: Timestamp,
    until: Timestamp,
) -> Sums {
    let (from, until) = (from.as_microsecond(), until.as_microsecond());
    sums(&stretches(service, probes, &merged(exclusions), from, until))
}

/// A month of a service, so far. `probes` are in the order of time; exclusions of other services are left out.
///
/// # Errors
/// When the month has not begun.
pub fn evaluate(
    agreement: &Agreement,
    service: &Service,
    month: Month,
    probes: &[ProbeResult],
    exclusions: &[Exclusion],
    now: Timestamp,
) -> Result<SlaMonth, String> {
    let (from, end) = month.bounds(&agreement.zone)?;
    let until = end.min(now);
    if until <= from {
        return Err(format!("{month} has not begun"));
    }
    let mine = |e: &&Exclusion| e.service == service.name && e.from < end && e.until > from;
    let exclusions: Vec<Exclusion> = exclusions.iter().filter(mine).cloned().collect();
    let excluded = merged(&exclusions);
    let stretches = stretches(service, probes, &excluded, from.as_microsecond(), until.as_microsecond());
    let sums = sums(&stretches);
    let seconds = |us: i64| us as f64 / 1e6;
    let exclusions = exclusions.into_iter().map(|e| {
        let (counted, why) = counts(&e);
        (e, counted, why)
    });
    Ok(SlaMonth {
        service: service.name.clone(),
        month: month.to_string(),
        target: service.target,
        from,
        until,
        up_seconds: seconds(sums.up),
        down_seconds: seconds(sums.down),
        unknown_seconds: seconds(sums.unknown),
        excluded_seconds: seconds(sums.excluded),
        uptime: sums.uptime(),
        uptime_at_worst: sums.at_worst(),
        met: met(&sums, service.target),
        credit_percent: sums.uptime().map_or(0, |u| credit(u, &agreement.credits)),
        outages: outages(&stretches, probes),
        exclusions: exclusions.collect(),
    })
}

/// Met only if it is met even when all that is unknown was down; missed only if it is even when all that was up.
fn met(sums: &Sums, target: f64) -> Tri {
    match (sums.at_worst(), sums.at_best()) {
        (Some(worst), _) if reaches(worst, target) => Tri::Pass,
        (_, Some(best)) if !reaches(best, target) => Tri::Fail,
        _ => Tri::Unknown,
    }
}

/// Percent owed: that of the lowest bound the uptime is below. `credits`: lowest bound first.
pub fn credit(uptime: f64, credits: &[Credit]) -> u32 {
    credits.iter().find(|c| !reaches(uptime, c.below)).map_or(0, |c| c.percent)
}

fn outages(stretches: &[Stretch], probes: &[ProbeResult]) -> Vec<Outage> {
    let mut out: Vec<Outage> = Vec::new();
    let time = |us| Timestamp::from_microsecond(us).unwrap_or_default();
    for s in stretches.iter().filter(|s| matches!(s.was, Was::Down | Was::Unknown)) {
        let known = s.was == Was::Down;
        match out.last_mut() {
            Some(last) if last.known == known && last.until == time(s.from) => last.until = time(s.until),
            _ => out.push(Outage {
                from: time(s.from),
                until: time(s.until),
                known,
                detail: s
                    .probe
                    .and_then(|i| probes.get(i))
                    .filter(|_| known)
                    .map_or_else(|| Untrusted::new("no probe"), |p| p.detail.clone()),
            }),
        }
    }
    out
}

#[cfg(test)]
#[path = "month_tests.rs"]
mod tests;
