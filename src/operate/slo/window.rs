//! The span an objective is judged over.

use jiff::Span;
use jiff::Timestamp;
use jiff::Zoned;
use jiff::tz::TimeZone;

use crate::model::slo::CalendarUnit;
use crate::model::slo::Window;

/// From, up to now, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub from: Timestamp,
    /// Not after `end`.
    pub until: Timestamp,
    pub end: Timestamp,
}

impl Bounds {
    pub fn whole_seconds(&self) -> f64 {
        self.end.duration_since(self.from).as_secs_f64()
    }

    pub fn elapsed_seconds(&self) -> f64 {
        self.until.duration_since(self.from).as_secs_f64()
    }
}

/// The zone that months are counted in.
pub fn zone(window: &Window) -> Result<TimeZone, String> {
    match window {
        Window::Rolling { .. } => Ok(TimeZone::UTC),
        Window::Calendar { zone, .. } => TimeZone::get(zone).map_err(|e| format!("the time zone {zone}: {e}")),
    }
}

pub fn bounds(window: &Window, now: Timestamp) -> Result<Bounds, String> {
    match window {
        Window::Rolling { seconds } => {
            let length = i64::try_from(*seconds).map_err(|_| "the window is too long".to_owned())?;
            let from = now.checked_sub(jiff::SignedDuration::from_secs(length)).map_err(|e| e.to_string())?;
            Ok(Bounds { from, until: now, end: now })
        }
        Window::Calendar { unit, count, start, .. } => {
            let zone = zone(window)?;
            let first = start.to_zoned(zone);
            let length = i64::from(*count).max(1);
            let at = |k: i64| later(&first, *unit, k * length);
            // Periods differ in length by less than a tenth, so an estimate is a few steps away at most.
            let typical = at(1)?.timestamp().duration_since(*start).as_secs().max(1);
            let mut k = now.duration_since(*start).as_secs().div_euclid(typical);
            while at(k)?.timestamp() > now {
                k -= 1;
            }
            while at(k + 1)?.timestamp() <= now {
                k += 1;
            }
            Ok(Bounds { from: at(k)?.timestamp(), until: now, end: at(k + 1)?.timestamp() })
        }
    }
}

/// Counted from the first one, so that a start on the 31st stays at the end of months.
fn later(first: &Zoned, unit: CalendarUnit, n: i64) -> Result<Zoned, String> {
    let span = match unit {
        CalendarUnit::Day => Span::new().try_days(n),
        CalendarUnit::Week => Span::new().try_weeks(n),
        CalendarUnit::Month => Span::new().try_months(n),
        CalendarUnit::Quarter => Span::new().try_months(n * 3),
        CalendarUnit::Year => Span::new().try_years(n),
    };
    span.and_then(|s| first.checked_add(s)).map_err(|e| format!("the calendar window: {e}"))
}

/// The months that a span touches: name, start and end (not cut to the span).
pub fn months(zone: &TimeZone, from: Timestamp, until: Timestamp) -> Vec<(String, Timestamp, Timestamp)> {
    let mut out = Vec::new();
    let Ok(mut start) = from.to_zoned(zone.clone()).first_of_month().and_then(|z| z.start_of_day()) else {
        return out;
    };
    while start.timestamp() < until && out.len() < 60 {
        let Ok(next) = start.checked_add(Span::new().months(1)).and_then(|z| z.start_of_day()) else { break };
        out.push((start.strftime("%Y-%m").to_string(), start.timestamp(), next.timestamp()));
        start = next;
    }
    out
}
