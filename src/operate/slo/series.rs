//! Samples as they were read, and counts of events over any span of time taken from them.
//!
//! The increase of a counter is what Prometheus' `increase` answers (promql `extrapolatedRate`): last minus first, plus
//! the value before every reset, extrapolated to the ends of the span where a sample is less than 1.1 mean distances
//! away and by half a distance elsewhere, and at the start never past where the counter would have been zero. Spans
//! hold both their ends, as in Prometheus 2 (version 3 leaves the start out). A counter that appears inside the span with a
//! value is taken back as since 2.52: before, it was taken back to zero from further away (prometheus#13725).

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::slo::Method;
use crate::text::Untrusted;

/// A sample: milliseconds since 1970, and a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub at: i64,
    pub value: f64,
}

/// One time series, as scraped.
pub type Track = Vec<Sample>;

/// Which side of a ratio is counted beside the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Good,
    Bad,
}

/// Events whose outcome is known by itself, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    pub at: i64,
    pub good: u64,
    pub bad: u64,
}

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Signal {
    /// Nothing could be read.
    Nothing,
    /// Counters. `none_yet`: the metric of the part is there, only no series of it matches: nothing of it happened yet.
    Counters {
        part: Part,
        tracks: Vec<Arc<Track>>,
        total: Vec<Arc<Track>>,
        none_yet: bool,
    },
    /// Gauges of the share of bad, 0 to 1; NaN is a moment without events. Weighed by the time each stands for, so that
    /// an event is a second.
    BadShare(Vec<Arc<Track>>),
    Events(Vec<Events>),
}

/// What an objective is judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub signal: Signal,
    /// Milliseconds from one sample to the next, as asked for or as found.
    pub step: i64,
    /// From this moment on samples are as close as this.
    pub tail: Option<(i64, i64)>,
    /// Why the newest could not be read.
    pub fault: Option<Untrusted>,
    /// What a server remarked.
    pub notes: Vec<Untrusted>,
}

impl Series {
    pub fn new(signal: Signal, step: i64) -> Self {
        Self { signal, step: step.max(1), tail: None, fault: None, notes: Vec::new() }
    }

    pub fn failed(why: impl Into<Untrusted>) -> Self {
        Self { fault: Some(why.into()), ..Self::new(Signal::Nothing, 60_000) }
    }

    fn step_at(&self, at: i64) -> i64 {
        self.tail.filter(|(from, _)| at > *from).map_or(self.step, |(_, step)| step).max(1)
    }
}

/// Events over a span.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    pub bad: f64,
    pub total: f64,
}

/// How many of these times, in order, are before `t`. Samples lie about evenly: a guess by the whole span, one more by
/// the distance of two neighbours there, and doubling steps from where that was wrong.
fn before(len: usize, at: impl Fn(usize) -> i64, t: i64) -> usize {
    let Some(last) = len.checked_sub(1) else { return 0 };
    let (first_at, last_at) = (at(0), at(last));
    if t <= first_at {
        return 0;
    }
    if t > last_at {
        return len;
    }
    // From here on: at(0) < t <= at(last), so there are two, and they differ.
    let guess = ((t - first_at) as f64 / (last_at - first_at) as f64 * last as f64) as usize;
    let guess = guess.min(last - 1);
    let apart = (at(guess + 1) - at(guess)).max(1);
    let near = i64::try_from(guess).unwrap_or(0) + (t - at(guess)).div_euclid(apart);
    let near = usize::try_from(near).unwrap_or(0).min(last);
    let mut width = 1;
    let (mut low, mut high);
    if at(near) < t {
        // at(low) < t <= at(high)
        low = near;
        high = (near + width).min(last);
        while at(high) < t {
            low = high;
            width *= 2;
            high = (high + width).min(last);
        }
    } else {
        high = near;
        low = near.saturating_sub(width);
        while at(low) >= t {
            high = low;
            width *= 2;
            low = low.saturating_sub(width);
        }
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if at(middle) < t {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// How many of these times, in order, are not after `t`.
fn until(len: usize, at: impl Fn(usize) -> i64, t: i64) -> usize {
    before(len, at, t.saturating_add(1))
}

/// A counter ready to be asked.
#[derive(Clone, Debug)]
struct Counter<'a> {
    /// In order.
    samples: Cow<'a, [Sample]>,
    /// The samples that are below the one before. Summed anew for every span: running sums would lose the last digits,
    /// and nothing would become a little.
    resets: Vec<usize>,
}

impl<'a> Counter<'a> {
    /// Samples in any order; what is no number is no sample, and of two at one time the first holds.
    fn new(track: &'a [Sample]) -> Self {
        let in_order = track.iter().all(|s| s.value.is_finite()) && track.is_sorted_by(|a, b| a.at < b.at);
        let samples = if in_order {
            Cow::Borrowed(track)
        } else {
            let mut sorted: Vec<Sample> = track.iter().copied().filter(|s| s.value.is_finite()).collect();
            sorted.sort_by_key(|s| s.at);
            sorted.dedup_by_key(|s| s.at);
            Cow::Owned(sorted)
        };
        let resets = (1..samples.len()).filter(|i| samples[*i].value < samples[i - 1].value).collect();
        Self { samples, resets }
    }

    fn increase(&self, from: i64, end: i64) -> Option<f64> {
        let samples = &*self.samples;
        let at = |i: usize| samples[i].at;
        let first = before(samples.len(), at, from);
        let behind = until(samples.len(), at, end);
        if behind < first + 2 {
            return None;
        }
        let last = behind - 1;
        let resets = &self.resets[self.resets.partition_point(|i| *i <= first)..];
        let lost = resets.iter().take_while(|i| **i <= last).map(|i| samples[i - 1].value);
        let seen = lost.fold(samples[last].value - samples[first].value, |sum, before| sum + before);
        let span = seconds(at(last) - at(first));
        let mean = span / (last - first) as f64;
        let reach = |gap: f64| if gap < mean * 1.1 { gap } else { mean / 2.0 };
        let mut ahead = reach(seconds(at(first) - from));
        if seen > 0.0 && samples[first].value >= 0.0 {
            ahead = ahead.min(span * (samples[first].value / seen));
        }
        let after = reach(seconds(end - at(last)));
        Some(seen * ((span + ahead + after) / span))
    }
}

/// Outcomes by time with running sums: asked for any span in no time.
#[derive(Clone, Debug, Default)]
struct Tally {
    at: Vec<i64>,
    /// After the entry of the same index.
    bad: Vec<f64>,
    total: Vec<f64>,
}

impl Tally {
    fn new(mut entries: Vec<(i64, Count)>) -> Self {
        entries.sort_by_key(|e| e.0);
        let mut tally = Self::default();
        let mut sum = Count::default();
        for (at, c) in entries {
            sum.bad += c.bad;
            sum.total += c.total;
            tally.at.push(at);
            tally.bad.push(sum.bad);
            tally.total.push(sum.total);
        }
        tally
    }

    fn until(&self, t: i64) -> usize {
        until(self.at.len(), |i| self.at[i], t)
    }

    /// Of the entries after `from`, up to and with `until`. `None`: there is none.
    fn count(&self, from: i64, until: i64) -> Option<Count> {
        let (first, end) = (self.until(from), self.until(until));
        if end <= first {
            return None;
        }
        let before = |sums: &[f64]| if first == 0 { 0.0 } else { sums[first - 1] };
        Some(Count { bad: self.bad[end - 1] - before(&self.bad), total: self.total[end - 1] - before(&self.total) })
    }
}

#[derive(Clone, Debug)]
enum Base<'a> {
    Counters { part: Part, tracks: Vec<Counter<'a>>, total: Vec<Counter<'a>> },
    Tally(Tally),
}

impl Base<'_> {
    fn count(&self, from: i64, until: i64) -> Option<Count> {
        match self {
            Self::Tally(tally) => tally.count(from, until),
            Self::Counters { part, tracks, total } => {
                let total = sum(total, from, until)?;
                match (part, sum(tracks, from, until)) {
                    (Part::Bad, bad) => Some(Count { bad: bad.unwrap_or(0.0), total }),
                    (Part::Good, Some(good)) => Some(Count { bad: total - good, total }),
                    // Without traffic there is nothing good to be missed.
                    (Part::Good, None) if total == 0.0 => Some(Count::default()),
                    (Part::Good, None) => None,
                }
            }
        }
    }
}

/// `None`: no track has two samples there.
fn sum(tracks: &[Counter<'_>], from: i64, until: i64) -> Option<f64> {
    tracks.iter().filter_map(|t| t.increase(from, until)).fold(None, |sum, n| Some(sum.unwrap_or(0.0) + n))
}

/// A series ready to be asked, counting as an objective's method does.
#[derive(Clone, Debug)]
pub struct Meter<'a> {
    base: Base<'a>,
    /// Slices by their end, for the methods that count those; and how long one is.
    slices: Option<(Tally, i64)>,
    seen: Seen,
    /// Whether the side counted beside the total was never there.
    pub part_absent: bool,
}

impl<'a> Meter<'a> {
    pub fn new(series: &'a Series, method: Method) -> Self {
        let seen = Seen::new(series);
        let base = base(series);
        let part_absent = matches!(&series.signal, Signal::Counters { tracks, none_yet: false, .. }
            if tracks.iter().flat_map(|t| t.iter()).all(|s| !s.value.is_finite()));
        let slices = match method {
            Method::Occurrences => None,
            Method::Timeslices { slice_seconds, .. } | Method::RatioTimeslices { slice_seconds } => {
                let slice = i64::try_from(slice_seconds).unwrap_or(60).max(1) * 1000;
                Some((slices(&base, &seen, slice, method), slice))
            }
        };
        Self { base, slices, seen, part_absent }
    }

    /// Events, or slices: those that end in the span. A span shorter than a slice is the last whole slice.
    pub fn count(&self, from: i64, until: i64) -> Option<Count> {
        match &self.slices {
            None => self.base.count(from, until),
            Some((tally, slice)) => {
                let until = until.div_euclid(*slice) * slice;
                tally.count(from.min(until - slice), until)
            }
        }
    }

    /// Events, whatever the method counts.
    pub fn events(&self, from: i64, until: i64) -> Option<f64> {
        self.base.count(from, until).map(|c| c.total)
    }

    /// What the method counts, and the events; asked once where they are the same.
    pub fn both(&self, from: i64, until: i64) -> (Option<Count>, Option<f64>) {
        let count = self.count(from, until);
        let events = if self.slices.is_some() { self.events(from, until) } else { count.map(|c| c.total) };
        (count, events)
    }

    /// Share of the span that has samples.
    pub fn coverage(&self, from: i64, until: i64) -> f64 {
        if until <= from {
            return 0.0;
        }
        if self.seen.own {
            return 1.0;
        }
        self.seen.covered(from, until) as f64 / (until - from) as f64
    }

    /// Whether silence is no gap, because the events are our own.
    pub fn is_own(&self) -> bool {
        self.seen.own
    }

    /// The newest sample that is not after this.
    pub fn newest_until(&self, until: i64) -> Option<i64> {
        self.seen.until(until).checked_sub(1).map(|i| self.seen.at[i])
    }

    pub fn oldest(&self) -> Option<i64> {
        self.seen.at.first().copied()
    }
}

fn base(series: &Series) -> Base<'_> {
    match &series.signal {
        Signal::Nothing => Base::Tally(Tally::default()),
        Signal::Counters { part, tracks, total, .. } => Base::Counters {
            part: *part,
            tracks: tracks.iter().map(|t| Counter::new(t)).collect(),
            total: total.iter().map(|t| Counter::new(t)).collect(),
        },
        Signal::BadShare(tracks) => {
            let weigh = |track: &Arc<Track>| {
                let mut samples = Track::clone(track);
                samples.sort_by_key(|s| s.at);
                samples.dedup_by_key(|s| s.at);
                let spans = stands_for(series, samples.iter().map(|s| s.at));
                let counts = samples.iter().zip(spans).map(|(s, span)| {
                    let total = if s.value.is_finite() { seconds(span) } else { 0.0 };
                    let bad = if s.value.is_finite() { s.value * total } else { 0.0 };
                    (s.at, Count { bad, total })
                });
                counts.collect::<Vec<_>>()
            };
            Base::Tally(Tally::new(tracks.iter().flat_map(weigh).collect()))
        }
        Signal::Events(events) => Base::Tally(Tally::new(
            events.iter().map(|e| (e.at, Count { bad: e.bad as f64, total: (e.good + e.bad) as f64 })).collect(),
        )),
    }
}

fn slices(base: &Base<'_>, seen: &Seen, slice: i64, method: Method) -> Tally {
    let (Some(oldest), Some(newest)) = (seen.at.first(), seen.at.last()) else { return Tally::default() };
    let (first, last) = (oldest.div_euclid(slice), newest.div_euclid(slice));
    let judge = |k: i64| {
        let c = base.count((k - 1) * slice, k * slice)?;
        let share = c.bad / c.total;
        let bad = match method {
            Method::Timeslices { target, .. } => f64::from(u8::from(1.0 - share < target)),
            _ => share,
        };
        let slice_count = if c.total > 0.0 { Count { bad, total: 1.0 } } else { Count::default() };
        Some((k * slice, slice_count))
    };
    Tally::new((first..=last).filter_map(judge).collect())
}

/// How long each of these moments stands for: back to the one before, or a step if that is too far.
fn stands_for(series: &Series, at: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut before: Option<i64> = None;
    at.map(|t| {
        let step = series.step_at(t);
        let span = before.map_or(step, |b| if t - b <= 2 * step { t - b } else { step });
        before = Some(t);
        span
    })
    .collect()
}

/// The times at which any of these tracks has such a sample, in order. Those of one source have most of them at the same
/// times: what adds nothing is not sorted in.
fn times(tracks: &[Arc<Track>], counts: impl Fn(&Sample) -> bool) -> Vec<i64> {
    let mut all: Vec<i64> = Vec::new();
    for track in tracks {
        let mut mine = track.iter().filter(|s| counts(s)).map(|s| s.at);
        let same = track.len() == all.len() && mine.clone().eq(all.iter().copied());
        if !same {
            all.extend(&mut mine);
            all = in_order(all);
        }
    }
    all
}

/// Each once. A stable sort: parts that are in order are only merged.
fn in_order(mut at: Vec<i64>) -> Vec<i64> {
    if !at.is_sorted_by(|a, b| a < b) {
        at.sort();
        at.dedup();
    }
    at
}

/// When there were samples, of any track.
#[derive(Clone, Debug)]
struct Seen {
    at: Vec<i64>,
    /// How far back each stands for.
    span: Vec<i64>,
    /// Sum of spans up to and with this one.
    sum: Vec<i64>,
    /// Events of our own: silence is no gap.
    own: bool,
}

impl Seen {
    fn new(series: &Series) -> Self {
        let at: Vec<i64> = match &series.signal {
            Signal::Nothing => Vec::new(),
            Signal::Counters { total, .. } => times(total, |s| s.value.is_finite()),
            Signal::BadShare(tracks) => times(tracks, |_| true),
            Signal::Events(events) => in_order(events.iter().map(|e| e.at).collect()),
        };
        let own = matches!(&series.signal, Signal::Events(_));
        let span = stands_for(series, at.iter().copied());
        let mut total = 0;
        let sum = span.iter().map(|s| {
            total += s;
            total
        });
        Self { sum: sum.collect(), span, at, own }
    }

    fn until(&self, t: i64) -> usize {
        until(self.at.len(), |i| self.at[i], t)
    }

    fn covered(&self, from: i64, until: i64) -> i64 {
        let (first, end) = (self.until(from), self.until(until));
        let after = |i: usize| if i == 0 { 0 } else { self.sum[i - 1] };
        let mut covered = after(end) - after(first);
        // The first one reaches back past the start; the one after the end reaches back into the span.
        if first < end {
            covered -= (from - (self.at[first] - self.span[first])).max(0);
        }
        if let Some(next) = self.at.get(end) {
            covered += (until - (next - self.span[end]).max(from)).max(0);
        }
        covered
    }
}

pub(super) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

pub(super) fn stamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Even, uneven, with long gaps and with several at one time: as a plain binary search finds it.
        #[test]
        fn what_is_before_a_time_is_what_a_binary_search_finds(
            gaps in proptest::collection::vec(prop_oneof![Just(60_i64), Just(300), 0..1_000_i64, 0..10_000_000_i64], 0..200),
            asked in proptest::collection::vec(-1_000..100_000_000_i64, 20),
        ) {
            let mut at = Vec::new();
            let mut t = 0;
            for gap in gaps {
                t += gap;
                at.push(t);
            }
            for t in asked.into_iter().chain(at.iter().flat_map(|t| [t - 1, *t, t + 1])).chain([i64::MIN, i64::MAX]) {
                prop_assert_eq!(before(at.len(), |i| at[i], t), at.partition_point(|a| *a < t));
                prop_assert_eq!(until(at.len(), |i| at[i], t), at.partition_point(|a| *a <= t));
            }
        }
    }
}
