//! The error ratio of a canary against the stable revision: `sum(errors) / sum(total)`, never a mean of ratios.
//!
//! What comes in are raw samples of counters (`selector[600s]` asked as an instant query gives them), one series a pod,
//! so that resets, gaps and stray series are seen here and not hidden by a function of the server. The rule (DESIGN):
//! pass while the canary's ratio is at most `relative` times the stable one's and at most `absolute`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::gate;
use crate::model::health::Tri;
use crate::model::rollout::Gate;

/// One series of a counter as the server holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Counter {
    pub labels: BTreeMap<String, String>,
    pub samples: Vec<(Timestamp, f64)>,
}

/// What a query gave; the error is why it could not be asked. A failed query is not an empty one.
pub type Reading = Result<Vec<Counter>, String>;

/// One revision's counters.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// What its series must name: the pod template hash, or the Deployment of a pair.
    pub id: String,
    pub errors: Reading,
    pub total: Reading,
}

/// What the canary is held against.
#[derive(Clone, Debug, PartialEq)]
pub enum Against {
    Live(Side),
    /// Frozen from an earlier stage, because the stable revision has no traffic any more.
    Frozen {
        id: String,
        baseline: Baseline,
    },
    /// Only the absolute limit holds (blue-green after its switch).
    Nothing {
        id: String,
    },
    /// It should have been frozen, and was not.
    Missing {
        id: String,
    },
}

impl Against {
    fn id(&self) -> &str {
        match self {
            Self::Live(side) => &side.id,
            Self::Frozen { id, .. } | Self::Nothing { id } | Self::Missing { id } => id,
        }
    }
}

/// How the stable revision did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    pub errors: f64,
    pub total: f64,
    pub at: Timestamp,
}

impl Baseline {
    pub fn ratio(&self) -> f64 {
        self.errors / self.total
    }
}

/// What a ratio may be, and what it takes to believe one. Shares are 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// No canary above this share of errors.
    pub absolute: f64,
    /// Times the stable one's ratio.
    pub relative: f64,
    /// Below this share the relative limit is not asked: two errors of a million are not twice one.
    pub floor: f64,
    pub min_events: f64,
    /// Fewer errors than these of the canary are no reason to go back by the relative limit: they hold.
    pub min_errors: f64,
    pub min_samples: u32,
    pub fresh_seconds: i64,
    /// How far a sample may lie in the future.
    pub skew_seconds: i64,
    /// A late burst must not drown in a long good stage: the last seconds are looked at by themselves too.
    pub recent_seconds: i64,
    /// The error query finds nothing while nothing fails (a counter made with its first error). Off: nothing found is
    /// unknown.
    pub absent_errors_are_zero: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            absolute: 0.05,
            relative: 2.0,
            floor: 0.0,
            min_events: 100.0,
            min_errors: 5.0,
            min_samples: 5,
            fresh_seconds: 90,
            skew_seconds: 15,
            recent_seconds: 120,
            absent_errors_are_zero: false,
        }
    }
}

/// The gate with what the stage machine needs besides.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    pub gate: Gate,
    /// The canary's counters were there, sound and fresh: this time counts towards the stage.
    pub measured: bool,
    /// The stable side, where it was measured with enough events.
    pub baseline: Option<Baseline>,
}

/// Judges what was counted since `from`.
pub fn judge(canary: &Side, against: &Against, limits: &Limits, from: Timestamp, now: Timestamp) -> Judged {
    let mut judged = Judged { gate: gate("error ratio", Tri::Unknown, String::new()), measured: false, baseline: None };
    let own = match apart(canary, against)
        .and_then(|()| sum(canary, against.id(), limits, from, now, Count::WithFirstErrors))
    {
        Ok(own) => own,
        Err(why) => {
            judged.gate.why = format!("canary: {why}");
            return judged;
        }
    };
    judged.measured = true;
    judged.gate.events = Some(own.total);
    judged.gate.samples = Some(own.samples);
    judged.gate.newest = Some(own.newest);
    judged.gate.canary = own.ratio();
    judged.gate.limit = Some(limits.absolute);
    judged.gate.limit_word = "at most".into();
    let bound = bound(canary, against, limits, from, now);
    if let Ok(Some((_, baseline))) = &bound {
        judged.gate.stable = Some(baseline.ratio());
        judged.baseline = matches!(against, Against::Live(_)).then_some(*baseline);
    }
    let (answer, why, limit) = verdict(canary, &own, &bound, limits, now);
    judged.gate.answer = answer;
    judged.gate.why = why;
    judged.gate.limit = Some(limit);
    judged
}

/// The relative limit and what it was made of; `None`: there is none here. The error: why it is not known.
fn bound(
    canary: &Side,
    against: &Against,
    limits: &Limits,
    from: Timestamp,
    now: Timestamp,
) -> Result<Option<(f64, Baseline)>, String> {
    let baseline = match against {
        Against::Nothing { .. } => return Ok(None),
        Against::Missing { .. } => return Err("stable: no baseline was frozen before its traffic went".into()),
        Against::Frozen { baseline, .. } => *baseline,
        Against::Live(side) => {
            let s = sum(side, &canary.id, limits, from, now, Count::Plain).map_err(|why| format!("stable: {why}"))?;
            enough(&s, limits).map_err(|why| format!("stable: {why}"))?;
            Baseline { errors: s.errors, total: s.total, at: now }
        }
    };
    let sound = baseline.total > 0.0 && baseline.errors >= 0.0 && baseline.errors <= baseline.total;
    if !sound {
        return Err("stable: its baseline is no ratio".into());
    }
    Ok(Some(((baseline.ratio() * limits.relative).max(limits.floor), baseline)))
}

fn verdict(
    side: &Side,
    own: &Sum,
    bound: &Result<Option<(f64, Baseline)>, String>,
    limits: &Limits,
    now: Timestamp,
) -> (Tri, String, f64) {
    let absolute = limits.absolute;
    let (Some(ratio), Ok(())) = (own.ratio(), enough(own, limits)) else {
        let why = enough(own, limits).err().unwrap_or_else(|| "no requests".into());
        return (Tri::Unknown, format!("canary: {why}"), absolute);
    };
    if ratio > absolute {
        return (Tri::Fail, format!("{} of requests fail, above {}", percent(ratio), percent(absolute)), absolute);
    }
    if let Some(recent) = recent(side, own, limits, now)
        && recent > absolute
    {
        let seconds = limits.recent_seconds;
        return (
            Tri::Fail,
            format!("{} of requests failed in the last {seconds} s, above {}", percent(recent), percent(absolute)),
            absolute,
        );
    }
    let (limit, beyond) = match bound {
        Err(why) => return (Tri::Unknown, why.clone(), absolute),
        Ok(None) => (absolute, None),
        Ok(Some((relative, baseline))) => {
            (relative.min(absolute), (ratio > *relative).then_some((*relative, baseline)))
        }
    };
    if let Some((relative, baseline)) = beyond {
        return against_stable(ratio, own.errors, relative, baseline, limits, limit);
    }
    if own.old > 0 {
        let why = format!("{} of {} series of the canary are not fresh", own.old, own.series);
        return (Tri::Unknown, why, limit);
    }
    (Tri::Pass, format!("{} of requests fail, at most {} may", percent(ratio), percent(limit)), limit)
}

/// Above the relative limit: never a pass. A handful of errors holds and does not fail. Twice nothing is nothing: while the stable revision had no error at all, a canary with a
/// few of them holds, and fails once it has more than the stable one may have had by chance (at most 3 of n with 95 %
/// confidence when none of n were seen, the "rule of three").
fn against_stable(
    ratio: f64,
    errors: f64,
    relative: f64,
    b: &Baseline,
    limits: &Limits,
    limit: f64,
) -> (Tri, String, f64) {
    let times = limits.relative;
    let chance = errors < limits.min_errors || (b.errors == 0.0 && ratio <= times * 3.0 / b.total);
    let (answer, tail) =
        if chance { (Tri::Unknown, "; too few errors to tell it from chance") } else { (Tri::Fail, "") };
    let why = format!(
        "{} of requests fail, above {} ({times} times the stable {} of {}){tail}",
        percent(ratio),
        percent(relative),
        percent(b.ratio()),
        b.total
    );
    (answer, why, limit)
}

/// The canary's ratio over the last seconds, if there were enough requests to speak of one.
fn recent(side: &Side, own: &Sum, limits: &Limits, now: Timestamp) -> Option<f64> {
    let from = now - SignedDuration::from_secs(limits.recent_seconds);
    let of = |reading: &Reading, first| {
        let series = reading.as_ref().map_or(&[][..], Vec::as_slice);
        series.iter().filter_map(|c| increase(c, from, own.interval, first).ok()).map(|i| i.by).sum::<f64>()
    };
    let total = of(&side.total, Count::Plain);
    let errors = of(&side.errors, Count::Plain);
    (errors >= limits.min_errors && total >= (limits.min_events / 4.0).max(1.0)).then(|| errors / total)
}

/// The two sides are two.
fn apart(canary: &Side, against: &Against) -> Result<(), String> {
    if canary.id.is_empty() || canary.id == against.id() {
        return Err("it cannot be told from the stable revision: both have the same name".into());
    }
    let Against::Live(stable) = against else { return Ok(()) };
    for (a, b) in [(&canary.total, &stable.total), (&canary.errors, &stable.errors)] {
        let (Ok(a), Ok(b)) = (a, b) else { continue };
        if a.iter().any(|x| b.iter().any(|y| x.labels == y.labels)) {
            return Err("its query finds series that the stable revision's finds too".into());
        }
    }
    Ok(())
}

/// Whether the series is of `mine` and not of `other`: some label names it, as `web-6d4b-x2x` names `6d4b`.
fn belongs(labels: &BTreeMap<String, String>, mine: &str, other: &str) -> bool {
    let names = |id: &str| !id.is_empty() && labels.values().any(|v| holds(v, id));
    names(mine) && (mine.contains(other) || !names(other))
}

/// `id` as a word of `text`.
fn holds(text: &str, id: &str) -> bool {
    text.match_indices(id).any(|(i, _)| {
        let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        edge(text[..i].chars().next_back()) && edge(text[i + id.len()..].chars().next())
    })
}

/// What became of a side's counters.
#[derive(Clone, Debug, PartialEq)]
struct Sum {
    errors: f64,
    total: f64,
    /// Of the series that has most.
    samples: u32,
    newest: Timestamp,
    series: usize,
    /// Series whose newest sample is not fresh.
    old: usize,
    /// Usual distance of two samples.
    interval: SignedDuration,
}

impl Sum {
    fn ratio(&self) -> Option<f64> {
        (self.total > 0.0).then(|| self.errors / self.total)
    }
}

/// How the first value of a series that begins late is counted. A counter of errors is often made by its first error:
/// it begins at 1, not at 0, and that error would be lost. It is counted for the canary only, where more errors are the
/// careful side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Plain,
    WithFirstErrors,
}

fn enough(s: &Sum, limits: &Limits) -> Result<(), String> {
    if s.total <= 0.0 {
        return Err("no requests".into());
    }
    if s.samples < limits.min_samples {
        return Err(format!("{} samples of at least {}", s.samples, limits.min_samples));
    }
    if s.total < limits.min_events {
        return Err(format!("{} requests of at least {}", s.total, limits.min_events));
    }
    Ok(())
}

fn sum(
    side: &Side,
    other: &str,
    limits: &Limits,
    from: Timestamp,
    now: Timestamp,
    count: Count,
) -> Result<Sum, String> {
    let totals = sound("requests", side.total.as_ref(), &side.id, other, limits, now)?;
    let none = Vec::new();
    let errors = match &side.errors {
        Ok(found) if found.is_empty() && limits.absent_errors_are_zero => &none[..],
        found => sound("errors", found.as_ref(), &side.id, other, limits, now)?,
    };
    let newest = newest(totals).ok_or("requests: no samples")?;
    let fresh = now - SignedDuration::from_secs(limits.fresh_seconds);
    for (what, newest) in [("requests", Some(newest)), ("errors", self::newest(errors))] {
        if let Some(newest) = newest.filter(|t| *t < fresh) {
            let age = now.duration_since(newest).as_secs();
            return Err(format!("{what}: stale, the newest sample is {age} s old"));
        }
    }
    let interval = interval(totals);
    let mut out = Sum {
        errors: 0.0,
        total: 0.0,
        samples: 0,
        newest,
        series: totals.len(),
        old: totals.iter().filter(|c| c.samples.iter().all(|(t, _)| *t < fresh)).count(),
        interval,
    };
    for c in totals {
        let i = increase(c, from, interval, Count::Plain)?;
        out.total += i.by;
        out.samples = out.samples.max(i.samples);
    }
    for c in errors {
        out.errors += increase(c, from, interval, count)?.by;
    }
    if out.errors > out.total {
        return Err(format!(
            "{} errors of {} requests: the queries are swapped, or count different things",
            out.errors, out.total
        ));
    }
    Ok(out)
}

/// The series of a query, if each is a counter of this revision.
fn sound<'a>(
    what: &str,
    reading: Result<&'a Vec<Counter>, &String>,
    id: &str,
    other: &str,
    limits: &Limits,
    now: Timestamp,
) -> Result<&'a [Counter], String> {
    let found = reading.map_err(|why| format!("{what}: could not be asked: {why}"))?;
    if found.is_empty() {
        return Err(format!("{what}: the query finds nothing, which is not the same as zero"));
    }
    let latest = now + SignedDuration::from_secs(limits.skew_seconds);
    for c in found {
        if !belongs(&c.labels, id, other) {
            return Err(format!("{what}: a series names not {id}, or another revision"));
        }
        if c.samples.is_empty() {
            return Err(format!("{what}: a series without samples"));
        }
        for (at, v) in &c.samples {
            if !v.is_finite() || *v < 0.0 || v.fract() != 0.0 {
                return Err(format!("{what}: {v} is nothing a counter of events can hold"));
            }
            if *at > latest {
                let ahead = at.duration_since(now).as_secs();
                return Err(format!("{what}: a sample lies {ahead} s in the future: the clocks differ"));
            }
        }
    }
    Ok(found)
}

fn newest(series: &[Counter]) -> Option<Timestamp> {
    series.iter().flat_map(|c| c.samples.iter().map(|s| s.0)).max()
}

/// The median distance of neighbouring samples.
fn interval(series: &[Counter]) -> SignedDuration {
    let mut all: Vec<SignedDuration> = series
        .iter()
        .flat_map(|c| c.samples.windows(2))
        .filter_map(|w| Some(w.get(1)?.0.duration_since(w.first()?.0)))
        .collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

struct Increase {
    by: f64,
    samples: u32,
}

/// More restarts than these within one stage are a crash loop, or no counter.
const RESETS: u32 = 2;

/// By how much a counter grew since `from`: the sum of its steps, where one that fell began again at zero. The last
/// sample before `from` is where it starts.
fn increase(c: &Counter, from: Timestamp, interval: SignedDuration, count: Count) -> Result<Increase, String> {
    let mut samples = c.samples.clone();
    samples.sort_by_key(|s| s.0);
    if samples.windows(2).any(|w| matches!(w, [a, b] if a.0 == b.0 && a.1 != b.1)) {
        return Err("two different values at the same time".into());
    }
    samples.dedup();
    let base = samples.iter().rposition(|s| s.0 <= from).unwrap_or(0);
    let samples = &samples[base..];
    let mut out = Increase { by: 0.0, samples: u32::try_from(samples.len()).unwrap_or(u32::MAX) };
    let Some(first) = samples.first() else { return Ok(out) };
    if count == Count::WithFirstErrors && first.0 > from + interval + interval {
        out.by = first.1;
    }
    let mut resets = 0;
    for w in samples.windows(2) {
        let [a, b] = w else { continue };
        if b.1 < a.1 {
            resets += 1;
            out.by += b.1;
        } else {
            out.by += b.1 - a.1;
        }
    }
    if resets > RESETS {
        return Err(format!("a counter began again {resets} times: a crash loop, or a gauge"));
    }
    Ok(out)
}

/// `0.0312` as `3.12 %`.
fn percent(share: f64) -> String {
    let p = share * 100.0;
    if p != 0.0 && p < 0.01 { format!("{p:.4} %") } else { format!("{p:.2} %") }
}
