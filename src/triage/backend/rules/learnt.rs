//! What the desk has learnt: how alike alerts were closed before.
//!
//! Closings count by age (half after a half-life) and each of them once, at its narrowest likeness: those of the rule
//! elsewhere make the expectation that those of the rule on this host start from, and so on down to the same story. At
//! each step
//!
//! ```text
//! p = (true + K * p of the wider step) / (closed + K)
//! ```
//!
//! which is the mean of a Beta posterior whose prior is worth K closings. The first prior is what the record says by
//! itself. So two closings move little, fifty move much, and a host where a noisy rule is always right is believed.
//!
//! Entities count apart and little: how alerts of *other* rules on this host, of this user or from this address were
//! closed, against how the desk closes in general.

use jiff::Timestamp;

use super::{About, Reason, log_odds, probability, quote_any, rule_quote};
use crate::text::Untrusted;
use crate::triage::{PastCount, Question};

/// Closings' worth of prior at each step.
const STRENGTH: f64 = 6.0;
/// No history makes surer than this, in log-odds.
const SUREST: f64 = 4.5;
/// Weighted closings of one likeness from which its history may carry a verdict: three, a few days old.
const ENOUGH: f64 = 2.5;
/// Weights smaller than this are summed and not told.
const TOLD: f64 = 0.05;

/// Likenesses that hold the rule, widest first, with how they read.
const OF_RULE: [(&str, &str); 7] = [
    ("name", "same name, whatever the detector"),
    ("rule", "same rule"),
    ("shape", "same rule and shape"),
    ("rule+address", "same rule from this address"),
    ("rule+user", "same rule for this user"),
    ("rule+host", "same rule on this host"),
    ("group", "same group"),
];
/// Entities: likeness, the same with the rule, how it reads, least and greatest weight. Who did it counts more than where
/// and to whom it was done.
const ENTITIES: [(&str, &str, &str, f64, f64); 3] = [
    ("address", "rule+address", "other alerts from this address", -0.3, 0.8),
    ("host", "rule+host", "other alerts on this host", -0.2, 0.3),
    ("user", "rule+user", "other alerts of this user", -0.2, 0.3),
];

#[derive(Debug)]
pub(super) struct Learnt {
    pub reasons: Vec<Reason>,
    /// A likeness with the rule has enough closings to carry a verdict.
    pub enough: bool,
    /// Of the narrowest such likeness, more than one in ten were real.
    pub mixed: bool,
    /// Any alike alert was ever closed with a decision.
    pub any: bool,
    /// Benign rather than false, at the narrowest likeness that was decided.
    pub benign: bool,
}

/// Weighted closings: true positives, and the others that were decided.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Closed {
    attack: f64,
    other: f64,
}

impl Closed {
    fn of(p: &PastCount) -> Self {
        let [tp, btp, fp, _] = p.weighted;
        Self { attack: tp, other: btp + fp }
    }

    fn sum(self) -> f64 {
        self.attack + self.other
    }

    fn less(self, narrower: Self) -> Self {
        Self { attack: (self.attack - narrower.attack).max(0.0), other: (self.other - narrower.other).max(0.0) }
    }

    fn times(self, share: f64) -> Self {
        Self { attack: self.attack * share, other: self.other * share }
    }

    fn larger(self, o: Self) -> Self {
        Self { attack: self.attack.max(o.attack), other: self.other.max(o.other) }
    }

    fn posterior(self, prior: f64) -> f64 {
        (self.attack + STRENGTH * prior) / (self.sum() + STRENGTH)
    }
}

impl Learnt {
    /// `odds`: what the record says by itself.
    pub(super) fn of(q: &Question, odds: f64, at: Timestamp) -> Self {
        let named: Vec<Option<&PastCount>> = OF_RULE.iter().map(|(alike, _)| find(q, alike)).collect();
        let some = || named.iter().flatten().copied().filter(|p| decided(p) > 0);
        let mut out = Self {
            reasons: of_rule(q, &named, odds, at),
            enough: some().any(|p| Closed::of(p).sum() >= ENOUGH),
            mixed: some().map(Closed::of).rfind(|c| c.sum() >= ENOUGH).is_some_and(|c| c.attack * 10.0 > c.sum()),
            any: some().next().is_some(),
            benign: some().next_back().is_some_and(|p| p.weighted[1] > p.weighted[2]),
        };
        out.reasons.extend(ENTITIES.iter().filter_map(|e| entity(q, e, at)));
        out
    }
}

fn find<'a>(q: &'a Question, alike: &str) -> Option<&'a PastCount> {
    q.context.past.iter().find(|p| p.alike == alike)
}

pub(super) fn decided(p: &PastCount) -> u64 {
    p.true_positive + p.benign_true_positive + p.false_positive
}

/// One reason per likeness that says something of its own.
fn of_rule(q: &Question, named: &[Option<&PastCount>], odds: f64, at: Timestamp) -> Vec<Reason> {
    let start = probability(odds);
    let mut p = start;
    let mut told: Vec<(usize, f64)> = Vec::new();
    for (i, closed) in steps(named) {
        let next = closed.posterior(p);
        told.push((i, log_odds(next) - log_odds(p)));
        p = next;
    }
    let whole = log_odds(p).clamp(-SUREST, SUREST) - log_odds(start);
    let sum: f64 = told.iter().map(|t| t.1).sum();
    let mut out: Vec<Reason> = Vec::new();
    for (i, weight) in told {
        if let Some(past) = named[i]
            && weight.abs() >= TOLD
        {
            out.push(reason(About::History, OF_RULE[i].1, past, weight, at, rule_quote(q)));
        }
    }
    // What the bound cut off, and steps too small to tell, belong to the strongest step.
    let rest = whole - out.iter().map(|r| r.weight).sum::<f64>();
    match out.iter_mut().max_by(|a, b| a.weight.abs().total_cmp(&b.weight.abs())) {
        Some(strongest) => strongest.weight += rest,
        None if sum != 0.0 => {
            let narrowest =
                named.iter().enumerate().rev().find_map(|(i, p)| Some((i, (*p)?)).filter(|(_, p)| decided(p) > 0));
            out.extend(narrowest.map(|(i, past)| reason(About::History, OF_RULE[i].1, past, whole, at, rule_quote(q))));
        }
        None => {}
    }
    out
}

/// Closings of each likeness that belong to no narrower one, widest first.
fn steps(named: &[Option<&PastCount>]) -> Vec<(usize, Closed)> {
    let at = |i: usize| named.get(i).copied().flatten().map(Closed::of).unwrap_or_default();
    let (name, rule, group) = (at(0), at(1), at(6));
    let middle: Vec<usize> = (2..6).filter(|i| at(*i).sum() > 0.0).collect();
    let narrower = middle.iter().fold(group, |all, i| all.larger(at(*i)));
    let mut out = vec![(0, name.less(rule)), (1, rule.less(narrower))];
    // These overlap, so they share.
    let share = 1.0 / middle.len().max(1) as f64;
    out.extend(middle.iter().map(|i| (*i, at(*i).less(group).times(share))));
    out.push((6, group));
    out.retain(|(_, c)| c.sum() > 0.0);
    out
}

/// Entities are compared with how the desk closes in general, so that a desk that sees little evil does not suspect
/// everybody, nor the other way round.
fn entity(q: &Question, e: &(&str, &str, &str, f64, f64), at: Timestamp) -> Option<Reason> {
    let (alike, with_rule, words, least, greatest) = *e;
    let past = find(q, alike)?;
    let past = &others(past, find(q, with_rule));
    let others = Closed::of(past);
    if others.sum() <= 0.0 {
        return None;
    }
    let all = find(q, "all").map(Closed::of).unwrap_or_default();
    let base = all.posterior(0.25).clamp(0.05, 0.5);
    let weight = (log_odds(others.posterior(base)) - log_odds(base)).clamp(least, greatest);
    let f = &q.alert.fields;
    let address = f.src_ip.or(f.dst_ip).map(|ip| Untrusted::new(ip.to_string()));
    let value = match alike {
        "host" => f.host.as_ref(),
        "user" => f.user.as_ref(),
        _ => address.as_ref(),
    };
    (weight.abs() >= TOLD).then(|| reason(About::Entity, words, past, weight, at, quote_any(&q.fields, [value])))
}

/// What is left without the alerts of the same rule.
fn others(all: &PastCount, own: Option<&PastCount>) -> PastCount {
    let Some(own) = own else { return all.clone() };
    let mut weighted = all.weighted;
    for (all, own) in weighted.iter_mut().zip(own.weighted) {
        *all = (*all - own).max(0.0);
    }
    PastCount {
        true_positive: all.true_positive.saturating_sub(own.true_positive),
        benign_true_positive: all.benign_true_positive.saturating_sub(own.benign_true_positive),
        false_positive: all.false_positive.saturating_sub(own.false_positive),
        undetermined: all.undetermined.saturating_sub(own.undetermined),
        total: all.total.saturating_sub(own.total),
        weighted,
        ..all.clone()
    }
}

fn reason(
    about: About,
    words: &str,
    past: &PastCount,
    weight: f64,
    at: Timestamp,
    quote: Option<(Untrusted, Untrusted)>,
) -> Reason {
    let counts = format!("{} of {} closed", parts(past), decided(past));
    let last = past.last_closed.map_or(String::new(), |t| format!(", last {}", ago(at, t)));
    let more = if past.total > decided(past) { format!(" ({} alike in all)", past.total) } else { String::new() };
    Reason {
        about,
        word: format!("{words}: {counts}{last}"),
        text: format!("{words}: {counts}{last}{more}"),
        weight,
        quote,
    }
}

/// `47 false`, `1 true, 47 false`.
fn parts(p: &PastCount) -> String {
    let all = [(p.true_positive, "true"), (p.benign_true_positive, "benign"), (p.false_positive, "false")];
    let some: Vec<String> = all.iter().filter(|(n, _)| *n > 0).map(|(n, w)| format!("{n} {w}")).collect();
    if some.is_empty() { "none".into() } else { some.join(", ") }
}

fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    let (n, unit) = match seconds {
        0..3_600 => (seconds / 60, "minute"),
        3_600..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    if n == 1 { format!("1 {unit} ago") } else { format!("{n} {unit}s ago") }
}
