//! How an objective stands: a pure function of its definition, what was read, and the time.

use jiff::Timestamp;

use super::exhaust;
use super::series::Meter;
use super::series::Series;
use super::series::stamp;
use super::window;
use super::window::Bounds;
use crate::model::health::Tri;
use crate::model::slo::BudgetPoint;
use crate::model::slo::Burn;
use crate::model::slo::BurnAlert;
use crate::model::slo::BurnRule;
use crate::model::slo::MonthRow;
use crate::model::slo::Slo;
use crate::model::slo::SloState;
use crate::model::slo::SloStatus;
use crate::text::Untrusted;

/// The windows whose burn rates are shown: 5 m, 30 m, 1 h, 6 h, 1 d, 3 d.
pub const BURN_WINDOWS: [u64; 6] = [300, 1_800, 3_600, 21_600, 86_400, 259_200];
/// What the time to exhaustion goes by.
const PRESENT: u64 = 21_600;
/// A window of which less than this share was seen says nothing.
pub const MIN_COVERAGE: f64 = 0.5;
const POINTS: i64 = 240;
const MINUTE: i64 = 60_000;
/// How many moments the start of an alert is looked for in.
const LOOK_BACK: usize = 10_000;

/// One objective at a moment, with what is asked of it again and again.
struct Eval<'a> {
    slo: &'a Slo,
    meter: Meter<'a>,
    now: i64,
    bounds: Bounds,
    from: i64,
}

/// How `slo` stands at `now`, judged by `series`; samples after `now` are not looked at.
///
/// - share of bad = bad / total by the objective's method over the part of the window that has passed
/// - budget seconds = (1 - target) x whole window; spent seconds = share of bad x the time passed; never clamped
/// - burn = share of bad / (1 - target), over the span that ends now
/// - time to exhaustion = budget seconds left / (burn over 6 h x (1 - target))
pub fn evaluate(slo: &Slo, series: &Series, now: Timestamp) -> SloStatus {
    let bounds = match window::bounds(&slo.window, now) {
        Ok(bounds) => bounds,
        Err(why) => return empty(slo, now, SloState::Unknown, why),
    };
    let eval = Eval {
        slo,
        meter: Meter::new(series, slo.method),
        now: now.as_millisecond(),
        from: bounds.from.as_millisecond(),
        bounds,
    };
    eval.status(series)
}

/// A status without a figure.
pub fn empty(slo: &Slo, now: Timestamp, state: SloState, why: impl Into<Untrusted>) -> SloStatus {
    let bounds = window::bounds(&slo.window, now).ok();
    SloStatus {
        id: slo.id.clone(),
        at: now,
        state,
        why: why.into(),
        method: slo.method,
        target: slo.target,
        from: bounds.map_or(now, |b| b.from),
        until: bounds.map_or(now, |b| b.end),
        sli: None,
        good: 0.0,
        total: 0.0,
        budget_seconds: bounds.map_or(0.0, |b| allowed(slo) * b.whole_seconds()),
        spent_seconds: None,
        budget_events: None,
        spent_events: None,
        spent: None,
        left: None,
        burn: BURN_WINDOWS.map(|window_seconds| Burn { window_seconds, rate: None, events: 0.0, coverage: 0.0 }).into(),
        alerts: slo
            .burn_rules
            .iter()
            .map(|rule| BurnAlert { rule: rule.clone(), state: Tri::Unknown, since: None })
            .collect(),
        exhausted_in_seconds: None,
        exhausts: "not known".into(),
        coverage: 0.0,
        newest: None,
        points: Vec::new(),
        months: Vec::new(),
    }
}

fn allowed(slo: &Slo) -> f64 {
    1.0 - slo.target
}

impl Eval<'_> {
    fn status(&self, series: &Series) -> SloStatus {
        let count = self.meter.count(self.from, self.now);
        let mut status = empty(self.slo, self.bounds.until, SloState::Unknown, "");
        status.coverage = self.meter.coverage(self.from, self.now);
        status.newest = self.newest().map(stamp);
        if let Some(c) = count {
            status.total = c.total;
            status.good = c.total - c.bad;
            if c.total > 0.0 && !self.meter.part_absent {
                let bad = c.bad / c.total;
                let spent_seconds = bad * self.bounds.elapsed_seconds();
                let spent = spent_seconds / status.budget_seconds;
                status.sli = Some(1.0 - bad);
                status.spent_seconds = Some(spent_seconds);
                status.spent = Some(spent);
                status.left = Some(1.0 - spent);
                status.budget_events = Some(allowed(self.slo) * c.total);
                status.spent_events = Some(c.bad);
            }
        }
        if !self.meter.part_absent {
            status.burn = BURN_WINDOWS.map(|w| self.burn(w)).into();
            status.alerts = self.slo.burn_rules.iter().map(|r| self.alert(r)).collect();
        }
        let present = status.burn.iter().find(|b| b.window_seconds == PRESENT).and_then(|b| b.rate);
        status.exhausted_in_seconds = self.exhausted_in(&status, present);
        status.exhausts = exhaust::words(&status, present, self.slo);
        status.points = self.points(&status);
        status.months = self.months();
        let (state, why) = self.judge(&status, series);
        status.state = state;
        status.why = why;
        status
    }

    /// Not after now.
    fn newest(&self) -> Option<i64> {
        self.meter.newest_until(self.now)
    }

    fn ratio(&self, from: i64, until: i64) -> Option<f64> {
        self.meter.count(from, until).filter(|c| c.total > 0.0).map(|c| c.bad / c.total)
    }

    fn rate_at(&self, window_seconds: u64, at: i64) -> Option<f64> {
        self.ratio(at - ms(window_seconds), at).map(|bad| bad / allowed(self.slo))
    }

    fn burn(&self, window_seconds: u64) -> Burn {
        let from = self.now - ms(window_seconds);
        Burn {
            window_seconds,
            rate: self.rate_at(window_seconds, self.now),
            events: self.meter.events(from, self.now).unwrap_or(0.0),
            coverage: self.meter.coverage(from, self.now),
        }
    }

    /// Above the factor over both windows. No traffic burns nothing; no samples is not known.
    fn rule_at(&self, rule: &BurnRule, at: i64) -> Tri {
        let above = |window: u64| match self.meter.count(at - ms(window), at) {
            Some(c) if c.total > 0.0 => Some(c.bad / c.total / allowed(self.slo) > rule.factor),
            Some(_) => Some(false),
            None => None,
        };
        match (above(rule.short_seconds), above(rule.long_seconds)) {
            (Some(true), Some(true)) => Tri::Fail,
            (Some(false), _) | (_, Some(false)) => Tri::Pass,
            _ => Tri::Unknown,
        }
    }

    fn alert(&self, rule: &BurnRule) -> BurnAlert {
        let state = self.rule_at(rule, self.now);
        let since = (state == Tri::Fail).then(|| self.since(rule));
        BurnAlert { rule: rule.clone(), state, since: since.map(stamp) }
    }

    /// The first whole minute from which on it fires without a break.
    fn since(&self, rule: &BurnRule) -> i64 {
        let oldest = self.meter.oldest().unwrap_or(self.now);
        let mut since = self.now;
        let mut at = self.now.div_euclid(MINUTE) * MINUTE;
        for _ in 0..LOOK_BACK {
            if at < oldest || self.rule_at(rule, at) != Tri::Fail {
                break;
            }
            since = at;
            at -= MINUTE;
        }
        since
    }

    /// At the present rate. A rate that leaves budget when all of today has dropped out of the window, or at the end of
    /// the period, exhausts nothing.
    fn exhausted_in(&self, status: &SloStatus, present: Option<f64>) -> Option<f64> {
        let left = status.left?;
        if left <= 0.0 {
            return Some(0.0);
        }
        let burn = present.filter(|b| *b > 0.0)?;
        let seconds = left * status.budget_seconds / (burn * allowed(self.slo));
        let horizon = match self.slo.window {
            crate::model::slo::Window::Rolling { seconds } => seconds as f64,
            crate::model::slo::Window::Calendar { .. } => self.bounds.whole_seconds() - self.bounds.elapsed_seconds(),
        };
        (seconds <= horizon).then_some(seconds)
    }

    /// The burn-down: what was spent from the start of the window up to each moment.
    fn points(&self, status: &SloStatus) -> Vec<BudgetPoint> {
        let span = self.now - self.from;
        if span <= 0 {
            return Vec::new();
        }
        let n = POINTS.min((span / MINUTE).max(1));
        // A bad event weighs the same all along, so that the last point is the budget left.
        let weight = match status.spent_seconds {
            Some(_) if status.total > 0.0 => Some(self.bounds.elapsed_seconds() / status.total / status.budget_seconds),
            _ => None,
        };
        let mut before = self.from;
        let point = |i: i64| {
            let at = if i == n { self.now } else { self.from + span * i / n };
            let seen = self.meter.coverage(before, at) > 0.0;
            let bad = self.meter.count(self.from, at).map(|c| c.bad);
            let (step, events) = self.meter.both(before, at);
            let events = events.map(|e| e / super::series::seconds(at - before));
            let point = BudgetPoint {
                at: stamp(at),
                left: weight.zip(bad).filter(|_| seen).map(|(w, bad)| 1.0 - bad * w),
                events_per_second: events.filter(|_| seen),
                burn: step.filter(|c| c.total > 0.0).map(|c| c.bad / c.total / allowed(self.slo)),
            };
            before = at;
            point
        };
        (1..=n).map(point).collect()
    }

    fn months(&self) -> Vec<MonthRow> {
        let (Ok(zone), Some(oldest)) = (window::zone(&self.slo.window), self.meter.oldest()) else { return Vec::new() };
        let row = |(month, start, end): (String, Timestamp, Timestamp)| {
            let (from, until) = (start.as_millisecond(), end.as_millisecond().min(self.now));
            let bad = self.ratio(from, until).filter(|_| !self.meter.part_absent);
            let share = (until - from) as f64 / (end.as_millisecond() - from) as f64;
            MonthRow {
                month,
                sli: bad.map(|b| 1.0 - b),
                spent: bad.map(|b| b * share / allowed(self.slo)),
                events: self.meter.events(from, until).unwrap_or(0.0),
                coverage: self.meter.coverage(from, until),
            }
        };
        window::months(&zone, stamp(oldest), stamp(self.now)).into_iter().map(row).collect()
    }

    fn judge(&self, status: &SloStatus, series: &Series) -> (SloState, Untrusted) {
        let fault = series.fault.as_ref().map(|f| f.expose().to_owned());
        let Some(newest) = self.newest().or(self.meter.is_own().then_some(self.now)) else {
            return match fault {
                Some(fault) => (SloState::Unknown, format!("it could not be asked: {fault}").into()),
                None => (SloState::Absent, "no series answers the query, in the whole window".into()),
            };
        };
        if self.meter.part_absent {
            let why = "no series answers the query of one side, though there are events in all: the metric does not \
                       exist (append `or vector(0)` to a query that is rightly empty)";
            return (SloState::Absent, why.into());
        }
        let age = (self.now - newest) / 1000;
        if !self.meter.is_own() && age > i64::try_from(self.slo.fresh_seconds).unwrap_or(i64::MAX) {
            let mut why = format!(
                "the newest sample is {} old, more than {} is stale",
                exhaust::time(age as f64),
                exhaust::time(self.slo.fresh_seconds as f64)
            );
            if let Some(fault) = fault {
                why = format!("{why}: {fault}");
            }
            return (SloState::Stale, why.into());
        }
        let (state, mut why) = self.band(status);
        if let Some(fault) = fault {
            why = format!("{why}; the last question failed: {fault}");
        }
        (state, why.into())
    }

    fn band(&self, status: &SloStatus) -> (SloState, String) {
        // The time not seen taken as good: what is spent all the same is spent for certain.
        let certain = status.spent.map(|s| s * status.coverage.min(1.0));
        if status.coverage < MIN_COVERAGE && certain.is_none_or(|c| c < 1.0) {
            let seen = status.coverage * 100.0;
            return (SloState::Unknown, format!("only {seen:.1} % of the window has samples"));
        }
        let Some(spent) = status.spent else {
            return match self.meter.count(self.from, self.now) {
                None if self.meter.is_own() => {
                    (SloState::Unknown, "this desk has seen no such event in the whole window".into())
                }
                None => (SloState::Unknown, "there are too few samples to count anything by".into()),
                Some(_) => (SloState::Quiet, "samples come, but no traffic".into()),
            };
        };
        let words = format!("{:.1} % of the budget spent ({})", spent * 100.0, self.slo.method.word());
        let state = match spent {
            s if s < 0.5 => SloState::Healthy,
            s if s < 0.75 => SloState::SlowDown,
            s if s < 1.0 => SloState::Freeze,
            _ => SloState::Emergency,
        };
        (state, words)
    }
}

fn ms(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX / 1000).saturating_mul(1000)
}

#[cfg(test)]
#[path = "eval_tests.rs"]
mod tests;
