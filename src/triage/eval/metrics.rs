//! How good opinions were, as numbers. Pure: outcomes in, figures out.
//!
//! A true positive verdict says "attack", benign true positive and false positive say "no attack", needs investigation
//! says neither: it is *uncovered*. Shares over covered alerts say how good the opinions are that were given; the strict
//! ones count every uncovered alert as wrong and say how far the backend gets alone. Opinions of `rules` standing in for
//! a model that did not answer are no opinions of that model: they are counted and left out.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::verdict::VerdictKind;

/// Standard normal quantile of a two-sided 95 % interval.
const Z95: f64 = 1.959_963_984_540_054;

/// What was judged, and what was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The label: it was an attack.
    pub attack: bool,
    /// Where the record is from, such as `wazuh`.
    pub source: String,
    pub kind: VerdictKind,
    pub confidence: Option<f32>,
    /// Given by `rules` because the backend did not answer.
    pub fallback: bool,
    pub claims: u64,
    pub founded: u64,
    pub took_ms: f64,
    pub prompt_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
}

impl Outcome {
    /// What the verdict says: attack, no attack, or neither.
    pub fn says_attack(&self) -> Option<bool> {
        match self.kind {
            VerdictKind::TruePositive => Some(true),
            VerdictKind::BenignTruePositive | VerdictKind::FalsePositive => Some(false),
            VerdictKind::NeedsInvestigation => None,
        }
    }
}

/// So many of so many, with the 95 % interval of Wilson (1927): sound for small counts and at 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    pub hits: u64,
    pub of: u64,
}

impl Share {
    pub fn new(hits: u64, of: u64) -> Self {
        Self { hits: hits.min(of), of }
    }

    fn count<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>, hit: impl Fn(&Outcome) -> bool) -> Self {
        let (mut hits, mut of) = (0, 0);
        for o in outcomes {
            of += 1;
            hits += u64::from(hit(o));
        }
        Self { hits, of }
    }

    /// `None` of nothing.
    pub fn rate(&self) -> Option<f64> {
        (self.of > 0).then(|| self.hits as f64 / self.of as f64)
    }

    /// Lower and upper bound; everything of nothing.
    pub fn interval(&self) -> (f64, f64) {
        let Some(p) = self.rate() else { return (0.0, 1.0) };
        let n = self.of as f64;
        let z2 = Z95 * Z95;
        let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = Z95 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
        // Rounding must not put the share itself outside.
        ((centre - half).clamp(0.0, p), (centre + half).clamp(p, 1.0))
    }
}

impl Serialize for Share {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let (low, high) = self.interval();
        let mut map = s.serialize_map(Some(5))?;
        map.serialize_entry("hits", &self.hits)?;
        map.serialize_entry("of", &self.of)?;
        map.serialize_entry("rate", &self.rate())?;
        map.serialize_entry("low", &low)?;
        map.serialize_entry("high", &high)?;
        map.end()
    }
}

/// Verdicts by label: rows in the order of [`VerdictKind::ALL`], columns attack and benign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Matrix(pub [[u64; 2]; 4]);

impl Matrix {
    pub fn of<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Self {
        let mut m = Self::default();
        for o in outcomes {
            m.0[o.kind as usize][usize::from(!o.attack)] += 1;
        }
        m
    }

    fn cell(&self, kind: VerdictKind, attack: bool) -> u64 {
        self.0[kind as usize][usize::from(!attack)]
    }

    /// Alerts with this label, in all.
    pub fn labelled(&self, attack: bool) -> u64 {
        VerdictKind::ALL.iter().map(|k| self.cell(*k, attack)).sum()
    }

    pub fn total(&self) -> u64 {
        self.labelled(true) + self.labelled(false)
    }

    fn said_benign(&self, attack: bool) -> u64 {
        self.cell(VerdictKind::BenignTruePositive, attack) + self.cell(VerdictKind::FalsePositive, attack)
    }

    fn covered(&self, attack: bool) -> u64 {
        self.labelled(attack) - self.cell(VerdictKind::NeedsInvestigation, attack)
    }

    /// Of the covered attacks, how many were called one.
    pub fn recall(&self) -> Share {
        Share::new(self.cell(VerdictKind::TruePositive, true), self.covered(true))
    }

    /// Of the covered benign alerts, how many were called benign or false.
    pub fn specificity(&self) -> Share {
        Share::new(self.said_benign(false), self.covered(false))
    }

    /// Of all attacks, how many were called one: uncovered counts as wrong.
    pub fn strict_recall(&self) -> Share {
        Share::new(self.cell(VerdictKind::TruePositive, true), self.labelled(true))
    }

    pub fn strict_specificity(&self) -> Share {
        Share::new(self.said_benign(false), self.labelled(false))
    }

    /// Of what was called an attack, how much was one.
    pub fn precision(&self) -> Share {
        let said = self.cell(VerdictKind::TruePositive, true) + self.cell(VerdictKind::TruePositive, false);
        Share::new(self.cell(VerdictKind::TruePositive, true), said)
    }

    /// Alerts with an opinion that says something.
    pub fn coverage(&self) -> Share {
        Share::new(self.covered(true) + self.covered(false), self.total())
    }

    /// Covered alerts whose opinion is right.
    pub fn accuracy(&self) -> Share {
        let right = self.cell(VerdictKind::TruePositive, true) + self.said_benign(false);
        Share::new(right, self.covered(true) + self.covered(false))
    }
}

/// Mean of recall and specificity; `None` unless both labels are there.
pub fn balanced(recall: Share, specificity: Share) -> Option<f64> {
    Some((recall.rate()? + specificity.rate()?) / 2.0)
}

/// How one source of records fared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BySource {
    pub attack: u64,
    pub benign: u64,
    pub accuracy: Share,
    pub coverage: Share,
    pub balanced_accuracy: Option<f64>,
}

/// The whole table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Scored; fallbacks are not among them.
    pub scored: u64,
    pub attack: u64,
    pub benign: u64,
    /// Left out of every figure below.
    pub fallbacks: u64,
    /// Rows: true positive, benign true positive, false positive, needs investigation. Columns: attack, benign.
    pub matrix: Matrix,
    pub recall: Share,
    pub specificity: Share,
    pub precision: Share,
    pub balanced_accuracy: Option<f64>,
    pub coverage: Share,
    /// With every alert that needs investigation counted as wrong.
    pub strict_recall: Share,
    pub strict_specificity: Share,
    pub strict_balanced_accuracy: Option<f64>,
    pub by_source: BTreeMap<String, BySource>,
    /// Claims whose quote stands in the named field.
    pub claims_founded: Share,
    /// Mean squared distance between the probability of an attack that the confidence means and the label (Brier 1950);
    /// covered alerts with a confidence only.
    pub brier: Option<f64>,
    pub took_ms: Latency,
    pub prompt_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub max: Option<f64>,
}

impl Latency {
    /// Nearest-rank percentiles: values that were really measured.
    pub fn of(mut ms: Vec<f64>) -> Self {
        ms.retain(|m| m.is_finite());
        ms.sort_by(f64::total_cmp);
        let rank = |q: f64| ms.get(((q * ms.len() as f64).ceil() as usize).clamp(1, ms.len().max(1)) - 1).copied();
        Self { p50: rank(0.5), p95: rank(0.95), max: ms.last().copied() }
    }
}

pub fn score(outcomes: &[Outcome]) -> Score {
    let own: Vec<&Outcome> = outcomes.iter().filter(|o| !o.fallback).collect();
    let all = || own.iter().copied();
    let matrix = Matrix::of(all());
    let sum =
        |f: fn(&Outcome) -> Option<u64>| all().filter_map(f).fold(None, |s: Option<u64>, n| Some(s.unwrap_or(0) + n));
    let mut by_source: BTreeMap<String, Vec<&Outcome>> = BTreeMap::new();
    for o in all() {
        by_source.entry(o.source.clone()).or_default().push(o);
    }
    Score {
        scored: matrix.total(),
        attack: matrix.labelled(true),
        benign: matrix.labelled(false),
        fallbacks: Share::count(outcomes, |o| o.fallback).hits,
        matrix,
        recall: matrix.recall(),
        specificity: matrix.specificity(),
        precision: matrix.precision(),
        balanced_accuracy: balanced(matrix.recall(), matrix.specificity()),
        coverage: matrix.coverage(),
        strict_recall: matrix.strict_recall(),
        strict_specificity: matrix.strict_specificity(),
        strict_balanced_accuracy: balanced(matrix.strict_recall(), matrix.strict_specificity()),
        by_source: by_source.into_iter().map(|(source, of)| (source, of_source(&of))).collect(),
        claims_founded: Share::new(all().map(|o| o.founded).sum(), all().map(|o| o.claims).sum()),
        brier: brier(all()),
        took_ms: Latency::of(all().map(|o| o.took_ms).collect()),
        prompt_tokens: sum(|o| o.prompt_tokens),
        completion_tokens: sum(|o| o.completion_tokens),
    }
}

fn of_source(outcomes: &[&Outcome]) -> BySource {
    let m = Matrix::of(outcomes.iter().copied());
    BySource {
        attack: m.labelled(true),
        benign: m.labelled(false),
        accuracy: m.accuracy(),
        coverage: m.coverage(),
        balanced_accuracy: balanced(m.recall(), m.specificity()),
    }
}

fn brier<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Option<f64> {
    let (mut sum, mut n) = (0.0, 0.0);
    for o in outcomes {
        let (Some(says), Some(c)) = (o.says_attack(), o.confidence) else { continue };
        let p = if says { f64::from(c) } else { 1.0 - f64::from(c) };
        sum += (p - f64::from(u8::from(o.attack))).powi(2);
        n += 1.0;
    }
    (n > 0.0).then(|| sum / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(attack: bool, kind: VerdictKind) -> Outcome {
        Outcome {
            attack,
            source: "s".into(),
            kind,
            confidence: None,
            fallback: false,
            claims: 0,
            founded: 0,
            took_ms: 1.0,
            prompt_tokens: None,
            completion_tokens: None,
        }
    }

    /// Cells in the order of the matrix.
    fn made(cells: [[u64; 2]; 4]) -> Vec<Outcome> {
        let mut out = Vec::new();
        for (kind, row) in VerdictKind::ALL.into_iter().zip(cells) {
            for (attack, n) in [(true, row[0]), (false, row[1])] {
                out.extend((0..n).map(|_| outcome(attack, kind)));
            }
        }
        out
    }

    #[test]
    fn known_matrices() {
        type Row = ([[u64; 2]; 4], Option<f64>, Option<f64>, Option<f64>, f64, Option<f64>);
        // matrix, recall, specificity, balanced, coverage, strict balanced
        let table: [Row; 6] = [
            ([[8, 1], [0, 3], [2, 6], [0, 0]], Some(0.8), Some(0.9), Some(0.85), 1.0, Some(0.85)),
            ([[8, 1], [0, 3], [2, 6], [10, 10]], Some(0.8), Some(0.9), Some(0.85), 0.5, Some(0.425)),
            ([[0, 0], [0, 0], [0, 0], [5, 5]], None, None, None, 0.0, Some(0.0)),
            ([[5, 5], [0, 0], [0, 0], [0, 0]], Some(1.0), Some(0.0), Some(0.5), 1.0, Some(0.5)),
            ([[5, 0], [0, 0], [0, 0], [0, 0]], Some(1.0), None, None, 1.0, None),
            ([[0, 0], [4, 0], [0, 4], [0, 0]], Some(0.0), Some(1.0), Some(0.5), 1.0, Some(0.5)),
        ];
        for (cells, recall, specificity, both, coverage, strict) in table {
            let s = score(&made(cells));
            let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-9,
                (a, b) => a.is_none() && b.is_none(),
            };
            assert_eq!(s.matrix.0, cells);
            assert!(near(s.recall.rate(), recall) && near(s.specificity.rate(), specificity), "{cells:?} {s:?}");
            assert!(near(s.balanced_accuracy, both) && near(s.strict_balanced_accuracy, strict), "{cells:?} {s:?}");
            assert!(near(s.coverage.rate(), Some(coverage)), "{cells:?} {s:?}");
        }
        let s = score(&[]);
        assert_eq!((s.scored, s.balanced_accuracy, s.coverage.rate(), s.took_ms.p95), (0, None, None, None));
    }

    #[test]
    fn wilson_intervals_as_published() {
        // Newcombe (1998), table I, method 3.
        for (hits, of, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let (l, h) = Share::new(hits, of).interval();
            assert!((l - low).abs() < 5e-5 && (h - high).abs() < 5e-5, "{hits}/{of}: {l} {h}");
        }
        assert_eq!(Share::new(0, 0).interval(), (0.0, 1.0), "nothing is known of nothing");
    }

    #[test]
    fn fallbacks_are_counted_and_left_out() {
        let mut all = made([[3, 0], [0, 0], [0, 3], [0, 0]]);
        all.extend(made([[0, 9], [0, 0], [9, 0], [0, 0]]).into_iter().map(|o| Outcome { fallback: true, ..o }));
        let s = score(&all);
        assert_eq!((s.scored, s.fallbacks, s.balanced_accuracy), (6, 18, Some(1.0)));
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let l = Latency::of((1..=100).map(f64::from).rev().collect());
        assert_eq!((l.p50, l.p95, l.max), (Some(50.0), Some(95.0), Some(100.0)));
        assert_eq!(Latency::of(vec![7.0]).p95, Some(7.0));
        assert_eq!(Latency::of(vec![f64::NAN]).p50, None);
    }

    #[test]
    fn a_sure_and_wrong_opinion_scores_worst() {
        let at = |attack, kind, c| Outcome { confidence: Some(c), ..outcome(attack, kind) };
        let b = |o: Outcome| score(&[o]).brier.unwrap();
        assert!(b(at(true, VerdictKind::TruePositive, 1.0)) < 1e-9);
        assert!((b(at(true, VerdictKind::FalsePositive, 1.0)) - 1.0).abs() < 1e-9);
        assert!((b(at(false, VerdictKind::FalsePositive, 0.8)) - 0.04).abs() < 1e-6);
        assert_eq!(score(&[at(true, VerdictKind::NeedsInvestigation, 0.8)]).brier, None);
    }

    proptest::proptest! {
        #[test]
        fn shares_lie_within_their_intervals_and_sums_add_up(cells in proptest::array::uniform4(proptest::array::uniform2(0u64..40))) {
            let s = score(&made(cells));
            for share in [s.recall, s.specificity, s.precision, s.coverage, s.strict_recall, s.strict_specificity] {
                let (low, high) = share.interval();
                proptest::prop_assert!((0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high) && low <= high);
                if let Some(rate) = share.rate() {
                    proptest::prop_assert!(low <= rate && rate <= high);
                }
            }
            proptest::prop_assert_eq!(s.scored, s.attack + s.benign);
            proptest::prop_assert_eq!(s.scored, cells.iter().flatten().sum::<u64>());
            if let (Some(strict), Some(covered)) = (s.strict_balanced_accuracy, s.balanced_accuracy) {
                proptest::prop_assert!(strict <= covered + 1e-12, "uncovered never helps");
            }
        }
    }
}
