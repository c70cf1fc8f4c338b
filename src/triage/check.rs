//! What is done to every verdict, whoever made it: bounds, technique table, catalogue, grounding, detector, and the
//! monotone rule. A verdict that leaves here can only advise more urgency than the alert already has, never less.

use super::detect::{self, Finding, Kind};
use super::{Question, grounding};
use crate::model::priority::Priority;
use crate::model::technique;
use crate::model::verdict::{Verdict, VerdictKind};
use crate::text::Untrusted;

pub const MAX_CLAIMS: usize = 5;
pub const MAX_QUESTIONS: usize = 5;
pub const MAX_TECHNIQUES: usize = 8;
/// Longest sentence of a backend that is kept, in characters.
pub const MAX_SENTENCE: usize = 400;

/// Checks and completes a verdict. `actions` are the names of the action catalogue.
pub fn check(mut v: Verdict, question: &Question, actions: &[String]) -> Verdict {
    bound(&mut v);
    v.techniques = known_techniques(&v.techniques);
    v.suggested_actions = known_actions(&v.suggested_actions, actions);
    grounding::ground(&mut v.claims, &question.fields);
    let findings = detect::scan(&question.fields);
    v.speaks_to_model = !findings.is_empty();
    demand_evidence(&mut v);
    if let Some(finding) = detect::worst(&findings) {
        distrust(&mut v, question, finding);
    }
    let now = question.alert.priority;
    v.advised_priority = v.advised_priority.filter(|advised| *advised < now);
    v
}

fn bound(v: &mut Verdict) {
    v.claims.truncate(MAX_CLAIMS);
    for claim in &mut v.claims {
        shorten(&mut claim.text);
        shorten(&mut claim.quote);
        shorten(&mut claim.field);
    }
    v.questions.retain(|q| !q.expose().trim().is_empty());
    v.questions.truncate(MAX_QUESTIONS);
    v.questions.iter_mut().for_each(shorten);
    v.confidence = v.confidence.filter(|c| c.is_finite()).map(|c| c.clamp(0.0, 1.0));
}

fn shorten(text: &mut Untrusted) {
    if text.expose().chars().nth(MAX_SENTENCE).is_some() {
        *text = Untrusted::new(text.expose().chars().take(MAX_SENTENCE).collect::<String>());
    }
}

fn known_techniques(named: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for t in named.iter().filter_map(|t| technique::lookup(t.trim())) {
        if !out.iter().any(|o| o == t.id) && out.len() < MAX_TECHNIQUES {
            out.push(t.id.to_owned());
        }
    }
    out
}

fn known_actions(named: &[String], actions: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for a in named {
        if actions.contains(a) && !out.contains(a) {
            out.push(a.clone());
        }
    }
    out
}

/// A conclusion that rests on nothing found in the alert is no conclusion.
fn demand_evidence(v: &mut Verdict) {
    if v.kind != VerdictKind::NeedsInvestigation && v.founded() == 0 {
        undetermine(v, "none of its reasons quotes the alert");
    }
}

/// Text that addresses the reader is itself suspicious: it cannot argue an alert away, and it raises it.
fn distrust(v: &mut Verdict, question: &Question, finding: &Finding) {
    if matches!(v.kind, VerdictKind::FalsePositive | VerdictKind::BenignTruePositive) {
        undetermine(v, "the alert holds text that tries to steer the reader");
    }
    let advised = raise_for(finding.kind, question.alert.priority);
    v.advised_priority = v.advised_priority.into_iter().chain([advised]).min();
    let note = format!("{} in {}", finding.kind.words(), finding.path.expose());
    remark(v, &note);
}

/// One step for plain steering, so that an attacker cannot fill P0 at will; hidden characters lift out of P3 only.
fn raise_for(kind: Kind, now: Priority) -> Priority {
    match (kind.steers(), now) {
        (true, Priority::P3) | (false, Priority::P3 | Priority::P2) => Priority::P2,
        (true, Priority::P2) => Priority::P1,
        (_, other) => other,
    }
}

fn undetermine(v: &mut Verdict, why: &str) {
    let note = format!("said {}, not taken over: {why}", v.kind.word());
    v.kind = VerdictKind::NeedsInvestigation;
    v.confidence = None;
    remark(v, &note);
}

/// Adds a sentence to the remark.
pub(super) fn remark(v: &mut Verdict, note: &str) {
    let text = match v.remark.take() {
        Some(old) if !old.is_empty() => format!("{}; {note}", old.expose()),
        _ => note.to_owned(),
    };
    v.remark = Some(text.into());
}
