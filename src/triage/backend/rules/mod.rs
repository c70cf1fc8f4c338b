//! An opinion without a model: a sum of reasons, each with its weight, each shown.
//!
//! ```text
//! record   severity, technique, the detector's confidence, rarity, a few telling command lines
//! learnt   how alike alerts were closed, widest likeness first, each narrower one starting from what the wider says
//! nearby   what else happened within the hour on the same host, user or address, and how people closed it
//!          -> log-odds of a true positive -> a verdict if the evidence carries one, else what to find out
//! ```
//!
//! It says true positive when that is likely and history, closed neighbours or two reasons of the record support it, and
//! false or benign only on the history of a rule, never on the words of the alert: those an attacker may have written.
//! The verdict quotes the record for its reasons and writes the whole sum into the remark. It is a pure function of the
//! question and the time.

mod conclude;
mod learnt;
mod nearby;
mod record;

use std::time::Instant;

use jiff::Timestamp;

use crate::model::alert::{Alert, ObservableKind};
use crate::model::fields::Field;
use crate::model::technique::{self, Technique};
use crate::model::verdict::{Suggestion, Verdict, VerdictKind};
use crate::text::Untrusted;
use crate::triage::{Answering, Backend, Cancel, Health, Judged, Offer, Question, Telling, TriageError, grounding};

use self::learnt::Learnt;
use self::nearby::Nearby;

/// Log-odds of an alert about which nothing is known: one in four is a true positive.
const PRIOR: f64 = -1.1;
const QUOTE_MAX: usize = 160;

/// The backend that is always there.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// What may be suggested.
    offer: Offer,
}

/// What a reason is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Severity,
    Confidence,
    Technique,
    Command,
    Rarity,
    Asset,
    History,
    Entity,
    /// Neighbours people have closed.
    Closed,
    /// Neighbours that together tell a story.
    Story,
    Case,
}

/// One step of the sum.
#[derive(Clone, Debug)]
struct Reason {
    about: About,
    /// Short, for the sum in the remark.
    word: String,
    /// A sentence for a claim.
    text: String,
    weight: f64,
    /// Path and verbatim piece of the record.
    quote: Option<(Untrusted, Untrusted)>,
}

/// All that speaks for and against.
#[derive(Debug)]
struct Weighed {
    reasons: Vec<Reason>,
    learnt: Learnt,
    nearby: Nearby,
    /// Probability of a true positive.
    p: f64,
}

impl Weighed {
    fn of(q: &Question, at: Timestamp) -> Self {
        let mut reasons = record::reasons(q);
        let odds = PRIOR + reasons.iter().map(|r| r.weight).sum::<f64>();
        let learnt = Learnt::of(q, odds, at);
        let nearby = Nearby::of(q);
        reasons.extend(learnt.reasons.iter().cloned());
        reasons.extend(nearby.reasons.iter().cloned());
        let odds = PRIOR + reasons.iter().map(|r| r.weight).sum::<f64>();
        Self { reasons, learnt, nearby, p: probability(odds) }
    }

    fn has(&self, about: About) -> bool {
        self.reasons.iter().any(|r| r.about == about)
    }
}

fn probability(odds: f64) -> f64 {
    1.0 / (1.0 + (-odds).exp())
}

fn log_odds(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}

impl Rules {
    pub fn new(offer: Offer) -> Self {
        Self { offer }
    }

    /// The opinion: a pure function of the question and the time it is asked.
    pub fn opinion(&self, q: &Question, at: Timestamp) -> Verdict {
        let weighed = Weighed::of(q, at);
        let (kind, confidence) = conclude::conclude(q, &weighed);
        let mut verdict = Verdict {
            confidence: confidence.map(|c| c as f32),
            claims: conclude::claims(&weighed.reasons),
            techniques: q.alert.fields.techniques.clone(),
            advised_priority: conclude::advise(q, &weighed, kind).filter(|a| *a < q.alert.priority),
            questions: conclude::questions(q, &weighed),
            remark: Some(conclude::sum(&weighed, kind).into()),
            ..Verdict::new(kind, "rules", at, &q.request_id)
        };
        if kind == VerdictKind::TruePositive {
            verdict.suggested_actions = self.suggest(&q.alert);
        }
        verdict
    }

    /// Actions whose name fits what the alert names.
    fn suggest(&self, alert: &Alert) -> Vec<Suggestion> {
        let f = &alert.fields;
        let tactic = |t: &str| techniques(alert).any(|x| x.has_tactic(t));
        let outside = [f.src_ip, f.dst_ip].into_iter().flatten().any(is_outside);
        let hash = f.observables.iter().any(|o| o.kind == ObservableKind::Sha256);
        let fits = |name: &str| {
            (name.contains("isolate") && f.host.is_some())
                || (name.contains("disable-user")
                    && f.user.is_some()
                    && (tactic("credential-access") || tactic("lateral-movement")))
                || (name.contains("block-ip") && !name.starts_with("un") && outside)
                || (name.contains("quarantine-file") && hash)
        };
        self.offer.actions.iter().filter(|a| fits(a)).map(|a| a.as_str().into()).collect()
    }
}

impl Backend for Rules {
    fn id(&self) -> &'static str {
        "rules"
    }

    fn judge<'a>(
        &'a self,
        question: &'a Question,
        _progress: &'a (dyn Fn(Untrusted) + Send + Sync),
        cancel: &'a Cancel,
    ) -> Answering<'a, Judged> {
        Box::pin(async move {
            if cancel.is_cancelled() {
                return Err(TriageError::Cancelled);
            }
            let begun = Instant::now();
            let now = Timestamp::now();
            let mut verdict = self.opinion(question, question.context.at.unwrap_or(now));
            verdict.at = now;
            verdict.took_ms = begun.elapsed().as_millis() as u64;
            Ok(verdict.into())
        })
    }

    fn health<'a>(&'a self) -> Telling<'a, Health> {
        Box::pin(async {
            Health { up: true, name: "rules".into(), detail: "no model needed".into(), ..Health::default() }
        })
    }
}

fn techniques(alert: &Alert) -> impl Iterator<Item = &'static Technique> {
    alert.fields.techniques.iter().filter_map(|t| technique::lookup(t))
}

fn is_outside(ip: std::net::IpAddr) -> bool {
    match ip {
        std::net::IpAddr::V4(v4) => !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()),
        std::net::IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()),
    }
}

/// A verbatim piece of the record that holds the value, and the path it stands at. Whole values win over parts.
fn quote(fields: &[Field], value: &str) -> Option<(Untrusted, Untrusted)> {
    if !grounding::proves(value) {
        return None;
    }
    let whole = fields.iter().find(|f| f.value.expose().eq_ignore_ascii_case(value));
    if let Some(f) = whole {
        return Some((f.path.clone(), head(f.value.expose()).into()));
    }
    let part = fields.iter().find(|f| f.value.expose().contains(value))?;
    Some((part.path.clone(), head(value).into()))
}

fn head(text: &str) -> String {
    text.chars().take(QUOTE_MAX).collect()
}

fn quote_any<'a>(
    fields: &[Field],
    values: impl IntoIterator<Item = Option<&'a Untrusted>>,
) -> Option<(Untrusted, Untrusted)> {
    values.into_iter().flatten().find_map(|v| quote(fields, v.expose()))
}

fn rule_quote(q: &Question) -> Option<(Untrusted, Untrusted)> {
    let f = &q.alert.fields;
    quote_any(&q.fields, [f.rule_name.as_ref(), Some(&f.title), f.rule_id.as_ref()])
}

#[cfg(test)]
mod tests;
