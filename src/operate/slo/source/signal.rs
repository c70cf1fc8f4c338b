//! From what is kept of an objective's questions to the series it is judged by.

use std::sync::Arc;

use super::MINUTE;
use super::Need;
use super::TAIL;
use super::kept::Kept;
use super::query::Selector;
use super::query::Shape;
use crate::model::slo::Compare;
use crate::model::slo::Indicator;
use crate::model::slo::Slo;
use crate::operate::slo::series::Part;
use crate::operate::slo::series::Sample;
use crate::operate::slo::series::Series;
use crate::operate::slo::series::Signal;
use crate::operate::slo::series::Track;
use crate::operate::slo::series::seconds;
use crate::text::Untrusted;

/// `sides`: what is kept of each question of `need`, in its order. `file`: samples lie as they were saved, not on a grid
/// that was asked for.
pub(super) fn series(slo: &Slo, need: &Need, sides: &[&Kept], file: bool, at: i64) -> Series {
    let side = |i: usize| -> Vec<Arc<Track>> {
        let (Some(kept), Some((_, shape))) = (sides.get(i), need.asks.get(i)) else { return Vec::new() };
        let grid = Grid { step: need.step, tail: at - TAIL };
        kept.tracks.values().map(|t| grid.track(t, shape)).collect()
    };
    let gauges = || sides.first().into_iter().flat_map(|k| k.tracks.values());
    let signal = match &slo.indicator {
        Indicator::Ratio { bad, .. } => {
            let part = if bad.is_some() { Part::Bad } else { Part::Good };
            let (tracks, total) = (side(0), side(1));
            let none_yet = part == Part::Bad && tracks.is_empty() && !total.is_empty() && same_metric(need);
            Signal::Counters { part, tracks, total, none_yet }
        }
        Indicator::ErrorRatio { .. } => Signal::BadShare(gauges().map(Arc::clone).collect()),
        Indicator::Threshold { op, threshold, .. } => {
            let judge = |s: &Sample| match s.value.is_nan() {
                true => *s,
                false => Sample { at: s.at, value: f64::from(u8::from(!holds(s.value, *op, *threshold))) },
            };
            Signal::BadShare(gauges().map(|track| Arc::new(track.iter().map(judge).collect())).collect())
        }
        Indicator::Desk { .. } => Signal::Nothing,
    };
    let step = if file { spacing(&signal).unwrap_or(need.step) } else { need.step };
    let mut series = Series::new(signal, step);
    series.tail = (!file).then_some((at - TAIL, MINUTE));
    series.fault = sides.iter().find_map(|k| k.fault.as_ref()).map(|f| Untrusted::new(f.why.clone()));
    series.notes = sides.iter().flat_map(|k| &k.notes).map(|n| Untrusted::new(n.clone())).collect();
    series
}

/// Whether both sides select from the same metric: then a side without a series is one of which nothing happened yet.
fn same_metric(need: &Need) -> bool {
    let name = |i: usize| match need.asks.get(i) {
        Some((_, Shape::Selector(q))) => Selector::parse(q).ok().map(|s| s.name),
        _ => None,
    };
    name(0).is_some() && name(0) == name(1)
}

fn holds(value: f64, op: Compare, threshold: f64) -> bool {
    match op {
        Compare::Lt => value < threshold,
        Compare::Lte => value <= threshold,
        Compare::Gt => value > threshold,
        Compare::Gte => value >= threshold,
    }
}

/// The middle one of the distances between samples.
fn spacing(signal: &Signal) -> Option<i64> {
    let tracks = match signal {
        Signal::Counters { total, .. } => total,
        Signal::BadShare(tracks) => tracks,
        _ => return None,
    };
    let mut gaps: Vec<i64> = tracks.iter().flat_map(|t| t.windows(2).map(|w| w[1].at - w[0].at)).collect();
    gaps.retain(|g| *g > 0);
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied()
}

/// How far apart the samples of a track were asked for.
struct Grid {
    step: i64,
    tail: i64,
}

impl Grid {
    /// Amounts and rates become a counter of what they add up to.
    fn track(&self, track: &Arc<Track>, shape: &Shape) -> Arc<Track> {
        let per_second = match shape {
            Shape::Selector(_) | Shape::Other(_) => return Arc::clone(track),
            Shape::Templated { per_second: false, .. } => 1.0 / ((self.step / 1000).max(300) as f64),
            Shape::Templated { .. } | Shape::Rate(_) => 1.0,
        };
        let mut sum = 0.0;
        let mut before = i64::MIN / 2;
        let mut out = Track::with_capacity(track.len() + 1);
        for s in track.iter().filter(|s| s.value.is_finite()) {
            let step = if s.at > self.tail { MINUTE } else { self.step };
            if s.at - before > 2 * step {
                before = s.at - step;
                out.push(Sample { at: before, value: sum });
            }
            sum += s.value * per_second * seconds(s.at - before);
            before = s.at;
            out.push(Sample { at: s.at, value: sum });
        }
        Arc::new(out)
    }
}
