//! An opinion without a model: a sum of reasons, each with its weight, each shown.
//!
//! Every reason is a step in log-odds that the alert is a true positive, from the severity, the technique, how alike
//! alerts were closed before, how often the rule fires, what else happened nearby and a few telling command lines. The
//! verdict quotes the record for its reasons and writes the whole sum into the remark. With little to go on it says so.

use std::time::Instant;

use jiff::Timestamp;

use crate::model::alert::{Alert, ObservableKind};
use crate::model::fields::Field;
use crate::model::priority::Priority;
use crate::model::severity::Severity;
use crate::model::technique::{self, Technique};
use crate::model::verdict::{Claim, Suggestion, Verdict, VerdictKind};
use crate::text::Untrusted;
use crate::triage::{
    Answering, Backend, Cancel, Health, Judged, Offer, PastCount, Question, Telling, TriageError, grounding,
};

/// Log-odds of an alert about which nothing is known: one in four is a true positive.
const PRIOR: f64 = -1.1;
/// Alerts' worth of prior mixed into a history, so that three closings do not count like three hundred.
const PRIOR_STRENGTH: f64 = 4.0;
const PRIOR_RATE: f64 = 0.25;
/// Closed alerts of a kind from which its history alone may carry a verdict.
const ENOUGH_HISTORY: u64 = 5;
/// Alerts seen in all from which rare and frequent mean something.
const ENOUGH_SEEN: u64 = 200;
/// From this probability on it says true positive, if two reasons of their own support it.
const LIKELY: f64 = 0.7;
/// Up to this, and with a history that says so, false or benign.
const UNLIKELY: f64 = 0.2;
/// A weight that counts as support of its own.
const SUPPORT: f64 = 0.4;
/// Weight of an asset, in percent, from which a raise is advised sooner.
const HEAVY_ASSET: u16 = 200;
const QUOTE_MAX: usize = 160;

/// Command line pieces that ordinary work rarely has: needle (lower case), what it means, weight.
const TELLING: &[(&str, &str, f64)] = &[
    ("delete shadows", "deletes the copies a recovery needs", 1.4),
    ("shadowcopy delete", "deletes the copies a recovery needs", 1.4),
    ("wbadmin delete", "deletes the copies a recovery needs", 1.4),
    ("recoveryenabled no", "switches recovery off", 1.2),
    ("minidump", "writes a process's memory to a file", 1.2),
    ("lsass", "touches the process that holds credentials", 1.0),
    ("sekurlsa", "asks for credentials in memory", 1.4),
    ("ntds.dit", "touches the directory's password store", 1.2),
    (" -enc ", "hides its script in an encoding", 1.0),
    ("-encodedcommand", "hides its script in an encoding", 1.0),
    ("downloadstring(", "fetches and runs code", 1.0),
    ("wevtutil cl", "clears an event log", 1.2),
    ("clear-eventlog", "clears an event log", 1.2),
    ("set-mppreference -disable", "switches protection off", 1.2),
    ("/dev/tcp/", "opens a connection from a shell", 1.2),
    ("authorized_keys", "changes who may sign in by key", 0.6),
];

/// The backend that is always there.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// What may be suggested.
    offer: Offer,
}

/// One step of the sum.
#[derive(Clone, Debug)]
struct Reason {
    /// Short, for the sum in the remark.
    word: String,
    /// A sentence for a claim.
    text: String,
    weight: f64,
    /// Path and verbatim piece of the record.
    quote: Option<(Untrusted, Untrusted)>,
}

impl Rules {
    pub fn new(offer: Offer) -> Self {
        Self { offer }
    }

    /// The opinion: a pure function of the question and the time it is asked.
    pub fn opinion(&self, q: &Question, at: Timestamp) -> Verdict {
        let reasons = reasons(q);
        let odds = PRIOR + reasons.iter().map(|r| r.weight).sum::<f64>();
        let p = 1.0 / (1.0 + (-odds).exp());
        let (kind, confidence) = conclude(q, &reasons, p);
        let mut verdict = Verdict {
            confidence: confidence.map(|c| c as f32),
            claims: claims(&reasons),
            techniques: q.alert.fields.techniques.clone(),
            advised_priority: advise(q, &reasons, kind, p).filter(|a| *a < q.alert.priority),
            questions: questions(q),
            remark: Some(sum(&reasons, p, kind).into()),
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
            let mut verdict = self.opinion(question, Timestamp::now());
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

fn reasons(q: &Question) -> Vec<Reason> {
    let mut out = vec![severity(q)];
    out.extend(confidence(q));
    out.extend(technique_reason(q));
    out.extend(telling(q));
    out.extend(history(q));
    out.extend(frequency(q));
    out.extend(neighbours(q));
    out.extend(asset(q));
    out
}

fn rule_quote(q: &Question) -> Option<(Untrusted, Untrusted)> {
    let f = &q.alert.fields;
    quote_any(&q.fields, [f.rule_name.as_ref(), Some(&f.title), f.rule_id.as_ref()])
}

/// The record's own word for its severity, where it has one.
fn severity_quote(q: &Question) -> Option<(Untrusted, Untrusted)> {
    let named = |f: &&Field| {
        let path = f.path.expose();
        let name = path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase();
        (name.contains("severity") || name == "level" || name == "priority")
            && grounding::proves(f.value.expose())
            && Severity::parse(f.value.expose()) == Some(q.alert.fields.severity)
    };
    q.fields.iter().find(named).map(|f| (f.path.clone(), f.value.clone()))
}

fn severity(q: &Question) -> Reason {
    let f = &q.alert.fields;
    let weight = match f.severity {
        Severity::Unknown => 0.0,
        Severity::Informational => -1.5,
        Severity::Low => -1.0,
        Severity::Medium => -0.3,
        Severity::High => 0.6,
        Severity::Critical => 1.4,
        Severity::Fatal => 1.8,
    };
    let word = f.severity.word();
    let source = f.source_severity.as_ref().map(|s| format!(" ({})", s.expose())).unwrap_or_default();
    let text = match f.severity {
        Severity::Unknown => "the detector gives this rule no severity".to_owned(),
        _ => format!("the detector rates this {word}{source}"),
    };
    Reason { word: format!("severity {word}"), text, weight, quote: severity_quote(q).or_else(|| rule_quote(q)) }
}

fn confidence(q: &Question) -> Option<Reason> {
    let c = q.alert.fields.confidence?.min(100);
    let weight = (f64::from(c) - 50.0) / 50.0 * 0.7;
    let text = format!("the detector is {c} % sure");
    Some(Reason { word: format!("detector {c} % sure"), text, weight, quote: None })
}

/// The technique that weighs most; what is hard to do by accident weighs more than looking around.
fn technique_reason(q: &Question) -> Option<Reason> {
    let weigh = |t: &Technique| {
        let of = |tactic: &str| match tactic {
            "impact" | "credential-access" | "lateral-movement" => 0.8,
            "execution" | "command-and-control" | "exfiltration" | "privilege-escalation" => 0.5,
            "defense-evasion" => 0.4,
            "initial-access" | "persistence" | "collection" => 0.3,
            _ => -0.2,
        };
        // Guessing passwords is the weather of every network.
        if t.id.starts_with("T1110") { 0.0 } else { t.tactics().map(of).fold(-0.2, f64::max) }
    };
    let t = techniques(&q.alert).max_by(|a, b| weigh(a).total_cmp(&weigh(b)))?;
    let tactics: Vec<_> = t.tactics().map(|x| x.replace('-', " ")).collect();
    let text = format!("technique {} {} ({})", t.id, t.name, tactics.join(", "));
    Some(Reason {
        word: format!("technique {}", t.id),
        text,
        weight: weigh(t),
        quote: quote(&q.fields, t.id).or_else(|| rule_quote(q)),
    })
}

fn telling(q: &Question) -> Option<Reason> {
    let command = |f: &&Field| {
        let path = f.path.expose().to_ascii_lowercase();
        ["command", "cmd", "image", "details", "process"].iter().any(|w| path.contains(w))
    };
    let mut best: Option<Reason> = None;
    for field in q.fields.iter().filter(command) {
        let value = field.value.expose();
        let lower = value.to_ascii_lowercase();
        for (needle, meaning, weight) in TELLING {
            let Some(at) = lower.find(needle) else { continue };
            if best.as_ref().is_none_or(|b| b.weight < *weight) {
                let piece: String = value[at..].trim_start().chars().take(80).collect();
                best = Some(Reason {
                    word: format!("command {}", needle.trim()),
                    text: format!("the command line {meaning}"),
                    weight: *weight,
                    quote: Some((field.path.clone(), piece.trim_end().into())),
                });
            }
        }
    }
    best
}

/// The narrowest history with something in it: the same rule on the same host says more than the same rule anywhere.
fn narrowest(past: &[PastCount]) -> Option<&PastCount> {
    let rank = |p: &PastCount| match p.alike.as_str() {
        "group" => 0,
        "rule+host" => 1,
        "rule+user" => 2,
        _ => 3,
    };
    let mut with: Vec<&PastCount> = past.iter().filter(|p| decided(p) > 0).collect();
    with.sort_by_key(|p| rank(p));
    with.iter().find(|p| decided(p) >= ENOUGH_HISTORY).or(with.last()).copied()
}

fn decided(p: &PastCount) -> u64 {
    p.true_positive + p.benign_true_positive + p.false_positive
}

fn history(q: &Question) -> Option<Reason> {
    let p = narrowest(&q.context.past)?;
    let n = decided(p) as f64;
    let rate = (p.true_positive as f64 + PRIOR_STRENGTH * PRIOR_RATE) / (n + PRIOR_STRENGTH);
    let weight = ((rate / (1.0 - rate)).ln() - (PRIOR_RATE / (1.0 - PRIOR_RATE)).ln()).clamp(-2.5, 2.5);
    let counts = format!(
        "{} true, {} benign, {} false of {} closed ({} alike in all)",
        p.true_positive,
        p.benign_true_positive,
        p.false_positive,
        decided(p),
        p.total
    );
    let text = format!("same {}: {counts}", p.alike.replace('+', " and "));
    Some(Reason { word: format!("history of {} {counts}", p.alike), text, weight, quote: rule_quote(q) })
}

fn frequency(q: &Question) -> Option<Reason> {
    let (seen, all) = (q.context.rule_seen, q.context.all_seen);
    if all < ENOUGH_SEEN {
        return None;
    }
    let share = seen as f64 / all as f64;
    let (weight, how) = match seen {
        0..=3 => (0.4, "rare"),
        _ if share > 0.05 => (-0.5, "frequent"),
        _ => return None,
    };
    let text = format!("{how}: this rule made {seen} of {all} alerts here");
    Some(Reason { word: format!("{how} ({seen} of {all})"), text, weight, quote: rule_quote(q) })
}

/// Different alerts on the same entity close in time make a story; the same alert again does not.
fn neighbours(q: &Question) -> Option<Reason> {
    let own = q.alert.fields.title.expose().to_lowercase();
    let near = q.context.neighbours.iter().filter(|n| n.seconds.abs() <= 1800);
    let mut titles: Vec<String> = near.map(|n| n.title.expose().to_lowercase()).filter(|t| *t != own).collect();
    titles.sort_unstable();
    titles.dedup();
    let weight = match titles.len() {
        0 | 1 => return None,
        2 | 3 => 0.5,
        _ => 1.0,
    };
    let f = &q.alert.fields;
    let text = format!("{} other kinds of alerts on the same host, user or address within 30 minutes", titles.len());
    let ip = f.src_ip.map(|i| Untrusted::new(i.to_string()));
    let quote = quote_any(&q.fields, [f.host.as_ref(), f.user.as_ref(), ip.as_ref()]);
    Some(Reason { word: format!("{} kinds nearby", titles.len()), text, weight, quote })
}

/// Says nothing about truth, much about urgency.
fn asset(q: &Question) -> Option<Reason> {
    let w = q.alert.asset_weight;
    (w >= HEAVY_ASSET).then(|| Reason {
        word: format!("asset {w} %"),
        text: format!("the host weighs {w} % of an ordinary one"),
        weight: 0.0,
        quote: quote_any(&q.fields, [q.alert.fields.host.as_ref()]),
    })
}

/// Reasons that speak for a true positive on their own and quote the record.
fn supports(reasons: &[Reason]) -> usize {
    reasons.iter().filter(|r| r.weight >= SUPPORT && r.quote.is_some()).count()
}

fn conclude(q: &Question, reasons: &[Reason], p: f64) -> (VerdictKind, Option<f64>) {
    if p >= LIKELY && supports(reasons) >= 2 {
        return (VerdictKind::TruePositive, Some(p));
    }
    let Some(past) = narrowest(&q.context.past).filter(|p| decided(p) >= ENOUGH_HISTORY) else {
        return (VerdictKind::NeedsInvestigation, None);
    };
    // History may close a case only where nothing else speaks against it.
    let telling =
        reasons.iter().any(|r| r.word.starts_with("command ") || (r.word.ends_with("nearby") && r.weight >= 1.0));
    let grave = q.alert.fields.severity >= Severity::Critical;
    if p > UNLIKELY || telling || grave || past.true_positive * 10 > decided(past) {
        return (VerdictKind::NeedsInvestigation, None);
    }
    let benign = past.benign_true_positive > past.false_positive;
    let kind = if benign { VerdictKind::BenignTruePositive } else { VerdictKind::FalsePositive };
    (kind, Some(1.0 - p))
}

fn advise(q: &Question, reasons: &[Reason], kind: VerdictKind, p: f64) -> Option<Priority> {
    let heavy = q.alert.asset_weight >= HEAVY_ASSET;
    let grave = techniques(&q.alert).any(|t| {
        ["impact", "credential-access", "lateral-movement"].iter().any(|x| t.has_tactic(x))
            && !t.id.starts_with("T1110")
    });
    match kind {
        VerdictKind::TruePositive if heavy || grave => Some(Priority::P0),
        VerdictKind::TruePositive => Some(Priority::P1),
        VerdictKind::NeedsInvestigation if heavy && p >= 0.6 => Some(Priority::P1),
        // Plain telemetry comes in at the bottom; three reasons of their own lift it to where it is looked at.
        VerdictKind::NeedsInvestigation if supports(reasons) >= 3 => Some(Priority::P2),
        _ => None,
    }
}

/// The strongest reasons that have a quote, one per quoted thing where there is a choice.
fn claims(reasons: &[Reason]) -> Vec<Claim> {
    let mut with: Vec<&Reason> = reasons.iter().filter(|r| r.quote.is_some()).collect();
    with.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
    let claim = |r: &&Reason| {
        let (field, quote) = r.quote.clone()?;
        Some(Claim::new(r.text.as_str(), field, quote))
    };
    with.iter().filter_map(claim).take(5).collect()
}

fn sum(reasons: &[Reason], p: f64, kind: VerdictKind) -> String {
    let parts: Vec<String> =
        reasons.iter().filter(|r| r.weight != 0.0).map(|r| format!("{} {:+.1}", r.word, r.weight)).collect();
    let thin = match kind {
        VerdictKind::NeedsInvestigation => "; not enough to say more",
        _ => "",
    };
    format!("{:.0} % true positive = prior {PRIOR:+.1}, {}{thin}", p * 100.0, parts.join(", "))
}

/// What it does not know, as things to find out.
fn questions(q: &Question) -> Vec<Untrusted> {
    let f = &q.alert.fields;
    let mut out: Vec<String> = Vec::new();
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
    if narrowest(&q.context.past).is_none() {
        out.push("Nobody closed an alert like this before: is it expected here?".into());
    }
    if q.context.all_seen < ENOUGH_SEEN {
        out.push("How often does this rule fire here? Too little was seen to tell.".into());
    }
    out.truncate(5);
    out.into_iter().map(Untrusted::from).collect()
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
