//! How much a backend takes: the same questions, so many at a time, and what came of them in figures.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde::Serialize;

use super::{Backends, Cancel, Question, TriageError};
use crate::model::verdict::Verdict;
use crate::text::Untrusted;

/// What is asked of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests at the same time.
    pub at_once: usize,
    pub requests: usize,
}

/// What came of it. Times in milliseconds; `None`: nothing told.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BenchReport {
    pub backend: String,
    /// Names of models and servers, as they say them, with how many requests each answered.
    pub models: BTreeMap<Untrusted, u64>,
    pub servers: BTreeMap<String, u64>,
    pub at_once: usize,
    pub requests: usize,
    /// Requests with a verdict.
    pub answered: u64,
    pub seconds: f64,
    /// Verdicts a second.
    pub per_second: f64,
    /// From asking to a verdict, waiting for a slot included.
    pub took_p50: Option<u64>,
    pub took_p95: Option<u64>,
    /// From sending to the first piece; of every request of which a piece came, also of those that ended badly.
    pub first_token_p50: Option<u64>,
    pub first_token_p95: Option<u64>,
    pub prompt_tokens: u64,
    pub cached_tokens: u64,
    pub completion_tokens: u64,
    /// Of the answers, all requests together.
    pub tokens_per_second: f64,
    /// Share of prompt tokens that servers say they knew.
    pub prefix_hits: Option<f64>,
    /// How many requests ended without a verdict, by kind, and the first words of each kind.
    pub errors: BTreeMap<&'static str, u64>,
    pub said: BTreeMap<&'static str, Untrusted>,
}

/// One request.
struct Shot {
    took: Duration,
    /// From asking to the first piece.
    first: Option<Duration>,
    pieces: u64,
    outcome: Result<Verdict, TriageError>,
}

impl BenchReport {
    fn new(backend: &str, load: Load, seconds: f64, shots: &[Shot]) -> Self {
        let (mut took, mut first) = (Vec::new(), Vec::new());
        let mut report = Self {
            backend: backend.to_owned(),
            at_once: load.at_once,
            requests: shots.len(),
            seconds,
            ..Self::default()
        };
        let (mut told, mut known) = (0, 0);
        for shot in shots {
            let ms = |d: Duration| d.as_millis() as u64;
            match &shot.outcome {
                Ok(verdict) => {
                    let usage = verdict.usage;
                    report.answered += 1;
                    took.push(ms(shot.took));
                    first.extend(usage.first_token_ms.or(shot.first.map(ms)));
                    *report.models.entry(verdict.model.clone()).or_default() += 1;
                    if let Some(server) = &verdict.server {
                        *report.servers.entry(server.clone()).or_default() += 1;
                    }
                    report.prompt_tokens += usage.prompt_tokens.unwrap_or(0);
                    report.cached_tokens += usage.cached_tokens.unwrap_or(0);
                    report.completion_tokens += usage.completion_tokens.unwrap_or(shot.pieces);
                    if let (Some(prompt), Some(cached)) = (usage.prompt_tokens, usage.cached_tokens) {
                        (told, known) = (told + prompt, known + cached);
                    }
                }
                Err(e) => {
                    first.extend(shot.first.map(ms));
                    // What was streamed was made, whatever it was worth: about a token a piece.
                    report.completion_tokens += shot.pieces;
                    let kind = kind(e);
                    *report.errors.entry(kind).or_default() += 1;
                    report.said.entry(kind).or_insert_with(|| e.to_string().into());
                }
            }
        }
        report.per_second = rate(report.answered, seconds);
        report.tokens_per_second = rate(report.completion_tokens, seconds);
        report.prefix_hits = (told > 0).then(|| known as f64 / told as f64);
        (report.took_p50, report.took_p95) = (rank(&mut took, 50), rank(&mut took, 95));
        (report.first_token_p50, report.first_token_p95) = (rank(&mut first, 50), rank(&mut first, 95));
        report
    }

    /// Every request ended because nobody was there.
    pub fn unreachable(&self) -> bool {
        self.answered == 0 && self.errors.keys().eq([UNAVAILABLE].iter())
    }
}

fn rate(n: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { n as f64 / seconds } else { 0.0 }
}

/// The smallest that so many percent do not exceed.
fn rank(all: &mut [u64], percent: usize) -> Option<u64> {
    all.sort_unstable();
    all.get((all.len() * percent).div_ceil(100).checked_sub(1)?).copied()
}

const UNAVAILABLE: &str = "unavailable";

fn kind(e: &TriageError) -> &'static str {
    match e {
        TriageError::Cancelled => "cancelled",
        TriageError::Configuration(_) => "configuration",
        TriageError::Unavailable(_) => UNAVAILABLE,
        TriageError::TooLong(_) => "too long",
        TriageError::OverBudget(_) => "over budget",
        TriageError::Invalid(_) => "no valid verdict",
    }
}

/// Asks the backend itself, nobody stands in. Questions are asked in turn, each again when all were asked.
pub async fn run(
    backends: &Backends,
    questions: &[Question],
    load: Load,
    progress: &dyn Fn(usize),
    cancel: &Cancel,
) -> BenchReport {
    let begun = Instant::now();
    let asked = questions.iter().cycle().take(load.requests).enumerate().map(|(n, question)| {
        let question = Question { request_id: format!("{}-{n}", question.request_id), ..question.clone() };
        async move { shoot(backends, &question, cancel).await }
    });
    let mut answers = futures_util::stream::iter(asked).buffer_unordered(load.at_once.max(1));
    let mut shots = Vec::with_capacity(load.requests);
    while let Some(shot) = answers.next().await {
        let cancelled = shot.outcome == Err(TriageError::Cancelled);
        shots.push(shot);
        progress(shots.len());
        if cancelled {
            break;
        }
    }
    BenchReport::new(backends.id(), load, begun.elapsed().as_secs_f64(), &shots)
}

async fn shoot(backends: &Backends, question: &Question, cancel: &Cancel) -> Shot {
    let (begun, first, pieces) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    let progress = |_: Untrusted| {
        if pieces.fetch_add(1, Ordering::Relaxed) == 0 {
            first.store(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
        }
    };
    let outcome = backends.judge_strictly(question, &progress, cancel).await;
    let pieces = pieces.into_inner();
    Shot {
        took: begun.elapsed(),
        first: (pieces > 0).then(|| Duration::from_micros(first.into_inner())),
        pieces,
        outcome: outcome.map(|judged| judged.verdict),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::verdict::{Usage, VerdictKind};
    use crate::triage::Offer;
    use crate::triage::testing::question;

    fn shot(ms: u64, outcome: Result<Usage, TriageError>) -> Shot {
        let outcome = outcome.map(|usage| Verdict {
            usage,
            server: Some("a".into()),
            ..Verdict::new(VerdictKind::TruePositive, "openai", jiff::Timestamp::UNIX_EPOCH, "r")
        });
        Shot { took: Duration::from_millis(ms), first: Some(Duration::from_millis(ms / 2)), pieces: 10, outcome }
    }

    #[test]
    fn figures_of_a_run() {
        let usage = |first, cached| Usage {
            prompt_tokens: Some(100),
            cached_tokens: cached,
            completion_tokens: Some(20),
            first_token_ms: Some(first),
            ..Usage::default()
        };
        let mut shots: Vec<Shot> = (1..=18).map(|n| shot(n * 100, Ok(usage(n, Some(50))))).collect();
        shots.push(shot(9_000, Err(TriageError::Invalid("cut off".into()))));
        shots.push(shot(5, Err(TriageError::Unavailable("gone".into()))));
        let r = BenchReport::new("openai", Load { at_once: 4, requests: 20 }, 2.0, &shots);
        assert_eq!((r.answered, r.per_second, r.requests), (18, 9.0, 20));
        assert_eq!((r.took_p50, r.took_p95), (Some(900), Some(1_800)));
        assert_eq!((r.first_token_p50, r.first_token_p95), (Some(9), Some(18)), "2 ms, 1..=18 ms and 4,500 ms");
        assert_eq!((r.completion_tokens, r.tokens_per_second, r.prefix_hits), (380, 190.0, Some(0.5)));
        assert_eq!(r.errors, BTreeMap::from([("no valid verdict", 1), ("unavailable", 1)]));
        assert!(!r.unreachable());
        let r = BenchReport::new("openai", Load { at_once: 1, requests: 1 }, 0.0, &shots[19..]);
        assert!(r.unreachable() && r.took_p50.is_none() && r.prefix_hits.is_none() && r.per_second == 0.0);
    }

    #[tokio::test]
    async fn every_request_is_counted_and_cancelling_ends_it() {
        let backends = Backends::new(None, Offer::default());
        let questions = [question(r#"{"a":1}"#), question(r#"{"a":2}"#)];
        let load = Load { at_once: 3, requests: 25 };
        let r = run(&backends, &questions, load, &|_| {}, &Cancel::new()).await;
        assert_eq!((r.answered, r.requests, r.backend.as_str()), (25, 25, "rules"));
        let cancel = Cancel::new();
        cancel.cancel();
        let r = run(&backends, &questions, load, &|_| {}, &cancel).await;
        assert_eq!((r.answered, r.errors.get("cancelled")), (0, Some(&1)));
    }
}
