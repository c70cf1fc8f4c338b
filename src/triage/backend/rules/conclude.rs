//! From reasons to a verdict, its claims, its remark and what to find out.

use super::record::{ENOUGH_SEEN, HEAVY_ASSET};
use super::{About, PRIOR, Reason, Weighed, techniques};
use crate::model::priority::Priority;
use crate::model::severity::Severity;
use crate::model::verdict::{Claim, VerdictKind};
use crate::text::Untrusted;
use crate::triage::Question;

/// From this probability on it says true positive, up to that one false or benign; both want more than the number.
const LIKELY: f64 = 0.65;
const UNLIKELY: f64 = 0.25;
/// A weight that counts as support of its own.
const SUPPORT: f64 = 0.4;

/// Sorts of reasons that speak for a true positive on their own and quote the record.
fn supports(reasons: &[Reason]) -> usize {
    let mut sorts: Vec<About> = Vec::new();
    for r in reasons.iter().filter(|r| r.weight >= SUPPORT && r.quote.is_some()) {
        if !sorts.contains(&r.about) {
            sorts.push(r.about);
        }
    }
    sorts.len()
}

/// The verdict and how sure it is.
pub(super) fn conclude(q: &Question, w: &Weighed) -> (VerdictKind, Option<f64>) {
    let carried = w.learnt.enough || w.nearby.attack || supports(&w.reasons) >= 2;
    if w.p >= LIKELY && carried {
        return (VerdictKind::TruePositive, Some(w.p));
    }
    if w.p <= UNLIKELY && against(q, w).is_none() {
        let kind = if w.learnt.benign { VerdictKind::BenignTruePositive } else { VerdictKind::FalsePositive };
        return (kind, Some(1.0 - w.p));
    }
    (VerdictKind::NeedsInvestigation, None)
}

/// Why an unlikely alert is not called false all the same.
fn against(q: &Question, w: &Weighed) -> Option<&'static str> {
    let f = &q.alert.fields;
    if !w.learnt.enough {
        return Some("too few alike ones were closed");
    }
    // Whoever writes the words of an alert could copy those of a harmless one.
    if f.rule_id.is_none() && f.rule_name.is_none() {
        return Some("only its title is alike, and that is text");
    }
    if w.learnt.mixed && !w.nearby.benign {
        return Some("more than one in ten alike ones was real");
    }
    if f.severity >= Severity::Critical {
        return Some("its detector rates it critical");
    }
    if w.has(About::Command) {
        return Some("its command line speaks against that");
    }
    if w.nearby.any_attack {
        return Some("a true positive is near");
    }
    if w.nearby.story {
        return Some("too much else happened nearby");
    }
    None
}

pub(super) fn advise(q: &Question, w: &Weighed, kind: VerdictKind) -> Option<Priority> {
    let heavy = q.alert.asset_weight >= HEAVY_ASSET;
    let grave = techniques(&q.alert).any(|t| {
        ["impact", "credential-access", "lateral-movement"].iter().any(|x| t.has_tactic(x))
            && !t.id.starts_with("T1110")
    });
    match kind {
        VerdictKind::TruePositive if heavy || grave => Some(Priority::P0),
        VerdictKind::TruePositive => Some(Priority::P1),
        VerdictKind::NeedsInvestigation if heavy && w.p >= 0.6 => Some(Priority::P1),
        // Plain telemetry comes in at the bottom; three reasons of their own lift it to where it is looked at.
        VerdictKind::NeedsInvestigation if supports(&w.reasons) >= 3 => Some(Priority::P2),
        _ => None,
    }
}

/// The strongest reasons that have a quote.
pub(super) fn claims(reasons: &[Reason]) -> Vec<Claim> {
    let mut with: Vec<&Reason> = reasons.iter().filter(|r| r.quote.is_some()).collect();
    with.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
    let claim = |r: &&Reason| {
        let (field, quote) = r.quote.clone()?;
        let weighs = if r.weight == 0.0 { String::new() } else { format!("; weighs {:+.1}", r.weight) };
        Some(Claim::new(format!("{}{weighs}", r.text), field, quote))
    };
    with.iter().filter_map(claim).take(crate::triage::check::MAX_CLAIMS).collect()
}

/// The whole sum in words, and what is missing.
pub(super) fn sum(w: &Weighed, kind: VerdictKind) -> String {
    let parts: Vec<String> =
        w.reasons.iter().filter(|r| r.weight != 0.0).map(|r| format!("{} {:+.1}", r.word, r.weight)).collect();
    let parts = if parts.is_empty() { String::new() } else { format!(", {}", parts.join(", ")) };
    let unknown = match (w.learnt.any, kind) {
        (false, VerdictKind::NeedsInvestigation) => {
            "; no closed alert is alike, the record alone is not enough to say more"
        }
        (false, _) => "; no closed alert is alike: the record alone",
        (true, VerdictKind::NeedsInvestigation) => "; not enough to say more",
        (true, _) => "",
    };
    format!("{:.0} % true positive = prior {PRIOR:+.1}{parts}{unknown}", w.p * 100.0)
}

/// What it does not know, as things to find out.
pub(super) fn questions(q: &Question, w: &Weighed) -> Vec<Untrusted> {
    let f = &q.alert.fields;
    let mut out: Vec<String> = Vec::new();
    if w.p <= UNLIKELY
        && w.learnt.any
        && let Some(why) = against(q, w)
    {
        out.push(format!("Is it as harmless as those before? It looks so, but {why}."));
    }
    if !w.learnt.any {
        out.push("Nobody closed an alert like this before: is it expected here?".into());
    }
    if f.host.is_none() {
        out.push("Which host is this? The record names none.".into());
    }
    if f.user.is_none() {
        out.push("Which account was used? The record names none.".into());
    }
    let tactic = |t: &str| techniques(&q.alert).any(|x| x.has_tactic(t));
    if tactic("execution") {
        out.push("What started the process, and what did it start or fetch afterwards?".into());
    }
    if tactic("credential-access") || tactic("lateral-movement") {
        out.push("Which accounts were signed in there, and where were they used since?".into());
    }
    if tactic("impact") {
        out.push("Do the backups and snapshots of these hosts still exist?".into());
    }
    if tactic("command-and-control") || tactic("exfiltration") {
        out.push("Which other hosts talked to the same address, and how much was sent?".into());
    }
    if q.context.all_seen < ENOUGH_SEEN {
        out.push("How often does this rule fire here? Too little was seen to tell.".into());
    }
    out.truncate(crate::triage::check::MAX_QUESTIONS);
    out.into_iter().map(Untrusted::from).collect()
}
