//! Samples as they were read, and counts of events over any span of time taken from them.
//!
//! The increase of a counter is what Prometheus' `increase` answers (promql `extrapolatedRate`): last minus first, plus
//! the value before every reset, extrapolated to the ends of the span where a sample is less than 1.1 mean distances
//! away and by half a distance elsewhere, and at the start never past where the counter would have been zero. Spans
//! hold both their ends, as in Prometheus 2 (version 3 leaves the start out). A counter that appears inside the span with a
//! value is taken back as since 2.52: before, it was taken back to zero from further away (prometheus#13725).

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
        tracks: Vec<Track>,
        total: Vec<Track>,
        none_yet: bool,
    },
    /// Gauges of the share of bad, 0 to 1; NaN is a moment without events. Weighed by the time each stands for, so that
    /// an event is a second.
    BadShare(Vec<Track>),
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

/// A counter ready to be asked.
#[derive(Clone, Debug)]
struct Counter {
    at: Vec<i64>,
    value: Vec<f64>,
    /// The samples that are below the one before. Summed anew for every span: running sums would lose the last digits,
    /// and nothing would become a little.
    resets: Vec<usize>,
}

impl Counter {
    /// Samples in any order; what is no number is no sample, and of two at one time the first holds.
    fn new(track: &[Sample]) -> Self {
        let in_order = track.iter().all(|s| s.value.is_finite()) && track.is_sorted_by(|a, b| a.at < b.at);
        let mut sorted = Vec::new();
        let samples = if in_order {
            track
        } else {
            sorted.extend(track.iter().copied().filter(|s| s.value.is_finite()));
            sorted.sort_by_key(|s: &Sample| s.at);
            sorted.dedup_by_key(|s| s.at);
            &sorted
        };
        let resets = (1..samples.len()).filter(|i| samples[*i].value < samples[i - 1].value).collect();
        Self { at: samples.iter().map(|s| s.at).collect(), value: samples.iter().map(|s| s.value).collect(), resets }
    }

    fn increase(&self, from: i64, until: i64) -> Option<f64> {
        let first = self.at.partition_point(|t| *t < from);
        let end = self.at.partition_point(|t| *t <= until);
        if end < first + 2 {
            return None;
        }
        let last = end - 1;
        let resets = &self.resets[self.resets.partition_point(|i| *i <= first)..];
        let lost = resets.iter().take_while(|i| **i <= last).map(|i| self.value[i - 1]);
        let seen = lost.fold(self.value[last] - self.value[first], |sum, before| sum + before);
        let span = seconds(self.at[last] - self.at[first]);
        let mean = span / (last - first) as f64;
        let reach = |gap: f64| if gap < mean * 1.1 { gap } else { mean / 2.0 };
        let mut before = reach(seconds(self.at[first] - from));
        if seen > 0.0 && self.value[first] >= 0.0 {
            before = before.min(span * (self.value[first] / seen));
        }
        let after = reach(seconds(until - self.at[last]));
        Some(seen * ((span + before + after) / span))
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

    /// Of the entries after `from`, up to and with `until`. `None`: there is none.
    fn count(&self, from: i64, until: i64) -> Option<Count> {
        let first = self.at.partition_point(|t| *t <= from);
        let end = self.at.partition_point(|t| *t <= until);
        if end <= first {
            return None;
        }
        let before = |sums: &[f64]| if first == 0 { 0.0 } else { sums[first - 1] };
        Some(Count { bad: self.bad[end - 1] - before(&self.bad), total: self.total[end - 1] - before(&self.total) })
    }
}

#[derive(Clone, Debug)]
enum Base {
    Counters { part: Part, tracks: Vec<Counter>, total: Vec<Counter> },
    Tally(Tally),
}

impl Base {
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
fn sum(tracks: &[Counter], from: i64, until: i64) -> Option<f64> {
    tracks.iter().filter_map(|t| t.increase(from, until)).fold(None, |sum, n| Some(sum.unwrap_or(0.0) + n))
}

/// A series ready to be asked, counting as an objective's method does.
#[derive(Clone, Debug)]
pub struct Meter {
    base: Base,
    /// Slices by their end, for the methods that count those; and how long one is.
    slices: Option<(Tally, i64)>,
    seen: Seen,
    /// Whether the side counted beside the total was never there.
    pub part_absent: bool,
}

impl Meter {
    pub fn new(series: &Series, method: Method) -> Self {
        let seen = Seen::new(series);
        let base = base(series);
        let part_absent = matches!(&series.signal, Signal::Counters { tracks, none_yet: false, .. }
            if tracks.iter().flatten().all(|s| !s.value.is_finite()));
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
        self.seen.at.partition_point(|t| *t <= until).checked_sub(1).map(|i| self.seen.at[i])
    }

    pub fn oldest(&self) -> Option<i64> {
        self.seen.at.first().copied()
    }
}

fn base(series: &Series) -> Base {
    match &series.signal {
        Signal::Nothing => Base::Tally(Tally::default()),
        Signal::Counters { part, tracks, total, .. } => Base::Counters {
            part: *part,
            tracks: tracks.iter().map(|t| Counter::new(t)).collect(),
            total: total.iter().map(|t| Counter::new(t)).collect(),
        },
        Signal::BadShare(tracks) => {
            let weigh = |track: &Track| {
                let mut samples = track.clone();
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

fn slices(base: &Base, seen: &Seen, slice: i64, method: Method) -> Tally {
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
        let mut at: Vec<i64> = match &series.signal {
            Signal::Nothing => Vec::new(),
            Signal::Counters { total, .. } => {
                total.iter().flatten().filter(|s| s.value.is_finite()).map(|s| s.at).collect()
            }
            Signal::BadShare(tracks) => tracks.iter().flatten().map(|s| s.at).collect(),
            Signal::Events(events) => events.iter().map(|e| e.at).collect(),
        };
        let own = matches!(&series.signal, Signal::Events(_));
        at.sort_unstable();
        at.dedup();
        let span = stands_for(series, at.iter().copied());
        let mut total = 0;
        let sum = span.iter().map(|s| {
            total += s;
            total
        });
        Self { sum: sum.collect(), span, at, own }
    }

    fn covered(&self, from: i64, until: i64) -> i64 {
        let first = self.at.partition_point(|t| *t <= from);
        let end = self.at.partition_point(|t| *t <= until);
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
