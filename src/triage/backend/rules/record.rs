//! What the record itself says.

use super::{About, Reason, quote, quote_any, rule_quote, techniques};
use crate::model::fields::Field;
use crate::model::severity::Severity;
use crate::model::technique::Technique;
use crate::text::Untrusted;
use crate::triage::{Question, grounding};

/// Alerts seen in all from which rare and frequent mean something.
pub(super) const ENOUGH_SEEN: u64 = 200;
/// Weight of an asset, in percent, from which a raise is advised sooner.
pub(super) const HEAVY_ASSET: u16 = 200;

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

pub(super) fn reasons(q: &Question) -> Vec<Reason> {
    let mut out = vec![severity(q)];
    out.extend(confidence(q));
    out.extend(technique_reason(q));
    out.extend(telling(q));
    out.extend(frequency(q));
    out.extend(asset(q));
    out
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
    Reason {
        about: About::Severity,
        word: format!("severity {word}"),
        text,
        weight,
        quote: severity_quote(q).or_else(|| rule_quote(q)),
    }
}

fn confidence(q: &Question) -> Option<Reason> {
    let c = q.alert.fields.confidence?.min(100);
    let weight = (f64::from(c) - 50.0) / 50.0 * 0.7;
    let text = format!("the detector is {c} % sure");
    Some(Reason { about: About::Confidence, word: format!("detector {c} % sure"), text, weight, quote: None })
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
        about: About::Technique,
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
                    about: About::Command,
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

fn frequency(q: &Question) -> Option<Reason> {
    // The same rule may have come through another detector, with another id.
    let named = q.context.past.iter().find(|p| p.alike == "name").map_or(0, |p| p.total);
    let (seen, all) = (q.context.rule_seen.max(named), q.context.all_seen);
    if all < ENOUGH_SEEN {
        return None;
    }
    let share = seen as f64 / all as f64;
    let (weight, how) = match seen {
        0..=3 => (0.4, "rare"),
        _ if share > 0.05 => (-0.5, "frequent"),
        _ => return None,
    };
    let text = format!("{how}: this rule made {seen} of {all} alerts here lately");
    Some(Reason { about: About::Rarity, word: format!("{how} ({seen} of {all})"), text, weight, quote: rule_quote(q) })
}

/// Says nothing about truth, much about urgency.
fn asset(q: &Question) -> Option<Reason> {
    let w = q.alert.asset_weight;
    (w >= HEAVY_ASSET).then(|| Reason {
        about: About::Asset,
        word: format!("asset {w} %"),
        text: format!("the host weighs {w} % of an ordinary one"),
        weight: 0.0,
        quote: quote_any(&q.fields, [q.alert.fields.host.as_ref()]),
    })
}
