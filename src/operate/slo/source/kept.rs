//! What was read of a question, kept from one reading to the next.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::MINUTE;
use super::TAIL;
use super::prometheus::Fault;
use super::prometheus::Labels;
use super::prometheus::Tracks;
use crate::operate::slo::series::Sample;
use crate::operate::slo::series::Track;

/// Steps of one question in which a counter started anew that are read again by the minute, newest first.
const RESETS: usize = 24;

/// How the samples of a question lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lie {
    /// Milliseconds from one to the next, before the last six hours.
    pub step: i64,
    /// They are counters as scraped: lower than before means started anew.
    pub counts: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    /// Shared with what is judged, so that judging copies nothing.
    pub tracks: BTreeMap<Labels, Arc<Track>>,
    pub from: i64,
    pub until: i64,
    pub notes: Vec<String>,
    pub fault: Option<Fault>,
}

impl Kept {
    /// Read in one go.
    pub fn new(tracks: Tracks, from: i64, until: i64) -> Self {
        let tracks = tracks.into_iter().map(|(labels, track)| (labels, Arc::new(track))).collect();
        Self { tracks, from, until, ..Self::default() }
    }

    /// Adds what was read since.
    pub fn add(&mut self, new: Tracks, from: i64, until: i64) {
        for (labels, track) in new {
            merge(Arc::make_mut(self.tracks.entry(labels).or_default()), track);
        }
        self.from = self.from.max(from);
        self.until = until;
    }

    /// Forgets what is out of the window, and minutes that are not of the coarse grid any more, but for the last before
    /// and the first after a counter started anew. `since`: what is older than this was thinned before.
    pub fn thin(&mut self, lie: Lie, since: Option<i64>) {
        for track in self.tracks.values_mut() {
            let track = Arc::make_mut(track);
            let old = track.partition_point(|s| s.at < self.from);
            track.drain(..old);
            if lie.step > MINUTE {
                thin(track, lie, since, self.until - TAIL);
            }
        }
        self.tracks.retain(|_, track| !track.is_empty());
    }

    pub fn samples(&self) -> usize {
        self.tracks.values().map(|t| t.len()).sum()
    }
}

fn thin(track: &mut Track, lie: Lie, since: Option<i64>, tail: i64) {
    let first = since.map_or(0, |since| track.partition_point(|s| s.at < since));
    let end = track.partition_point(|s| s.at < tail);
    if first >= end {
        return;
    }
    // With their neighbours: whether a counter started anew at the edge is seen there.
    let near = &track[first.saturating_sub(1)..(end + 1).min(track.len())];
    let anew = if lie.counts { around_resets(near) } else { BTreeSet::new() };
    let stays = |s: &Sample| s.at.rem_euclid(lie.step) == 0 || anew.contains(&s.at);
    let some: Vec<Sample> = track[first..end].iter().copied().filter(stays).collect();
    track.splice(first..end, some);
}

/// Adds what was read now; of two samples at one time this one holds. What is kept is in order, so only its end is
/// touched.
pub(super) fn merge(into: &mut Track, mut later: Track) {
    let Some(first) = later.iter().map(|s| s.at).min() else { return };
    let rest = into.partition_point(|s| s.at < first);
    later.extend(into.drain(rest..));
    later.sort_by_key(|s| s.at);
    later.dedup_by_key(|s| s.at);
    into.append(&mut later);
}

/// Where a counter is lower than one coarse step before: from and until, the newest ones.
pub(super) fn resets(tracks: &Tracks, step: i64) -> Vec<(i64, i64)> {
    let mut out = BTreeSet::new();
    for track in tracks.values() {
        let coarse = |w: &&[Sample]| w[1].value < w[0].value && w[1].at - w[0].at == step;
        out.extend(track.windows(2).filter(coarse).map(|w| (w[0].at, w[1].at)));
    }
    out.into_iter().rev().take(RESETS).collect()
}

/// Times of the samples just before and after a counter started anew.
fn around_resets(track: &[Sample]) -> BTreeSet<i64> {
    track.windows(2).filter(|w| w[1].value < w[0].value).flat_map(|w| [w[0].at, w[1].at]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: i64 = 300_000;

    /// A counter by the minute, from minute 0 on, that starts anew at these minutes.
    fn counter(minutes: std::ops::Range<i64>, anew: &[i64]) -> Tracks {
        let sample = |m: i64| {
            let start = anew.iter().copied().filter(|a| *a <= m).max().unwrap_or(0);
            Sample { at: m * MINUTE, value: (m - start) as f64 }
        };
        Tracks::from([(Labels::new(), minutes.map(sample).collect())])
    }

    /// Thinned minute by minute, a track is what it is when it is read and thinned at once.
    #[test]
    fn thinning_step_by_step_is_thinning_at_once() {
        let lie = Lie { step: STEP, counts: true };
        for anew in [vec![], vec![401], vec![403, 404], vec![399, 400, 405], vec![410, 412, 500]] {
            let mut kept = Kept::new(counter(0..600, &anew), 0, 599 * MINUTE);
            kept.thin(lie, None);
            for now in 600..1_000 {
                let since = kept.until - TAIL;
                kept.add(counter(now - 5..now + 1, &anew), 0, now * MINUTE);
                kept.thin(lie, Some(since));
            }
            let mut once = Kept::new(counter(0..1_000, &anew), 0, 999 * MINUTE);
            once.thin(lie, None);
            assert_eq!(kept.tracks, once.tracks, "anew at {anew:?}");
            assert!(once.samples() < 600, "{}", once.samples());
        }
    }
}
