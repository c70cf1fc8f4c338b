//! What an ATT&CK technique looks like, in a sentence of our own, for prompts and for the analyst.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::model::technique::{self, Technique};

/// `id<TAB>sentence`; tactics by their short name.
const HINTS: &str = include_str!("../../assets/attack/hints.tsv");

fn hints() -> &'static HashMap<&'static str, &'static str> {
    static TABLE: OnceLock<HashMap<&'static str, &'static str>> = OnceLock::new();
    TABLE.get_or_init(|| HINTS.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once('\t')).collect())
}

/// The sentence about a technique, or about the technique above it.
pub fn hint(id: &str) -> Option<&'static str> {
    let id = id.to_ascii_uppercase();
    let parent = id.split('.').next().unwrap_or_default();
    hints().get(id.as_str()).or_else(|| hints().get(parent)).copied()
}

/// The sentence about a tactic, such as `credential-access`.
pub fn tactic(name: &str) -> Option<&'static str> {
    hints().get(name).copied()
}

/// Tactics in the order of an attack.
pub const TACTICS: [&str; 14] = [
    "reconnaissance",
    "resource-development",
    "initial-access",
    "execution",
    "persistence",
    "privilege-escalation",
    "defense-evasion",
    "credential-access",
    "discovery",
    "lateral-movement",
    "collection",
    "command-and-control",
    "exfiltration",
    "impact",
];

/// `T1003.001 LSASS Memory (credential access): ...`; without a sentence of our own, name and tactics. `None`: no such
/// technique.
pub fn told(id: &str) -> Option<String> {
    let t: &Technique = technique::lookup(id)?;
    let tactics: Vec<String> = t.tactics().map(|x| x.replace('-', " ")).collect();
    let head = format!("{} {} ({})", t.id, t.name, tactics.join(", "));
    Some(match hint(t.id) {
        Some(sentence) => format!("{head}: {sentence}"),
        None => head,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hint_is_of_a_technique_and_every_tactic_has_one() {
        assert!(hints().len() >= 80 + TACTICS.len(), "{}", hints().len());
        for (id, sentence) in hints() {
            assert!(TACTICS.contains(id) || technique::lookup(id).is_some_and(|t| !t.old), "{id}");
            assert!((15..=180).contains(&sentence.len()) && sentence.ends_with('.'), "{id}: {sentence}");
        }
        assert!(TACTICS.iter().all(|t| tactic(t).is_some()));
        assert_eq!(hint("t1059.999"), hint("T1059"));
        assert!(told("T1003.001").unwrap().starts_with("T1003.001 LSASS Memory (credential access): "));
        assert!(told("T9999").is_none());
        assert_eq!(told("T1592").unwrap(), "T1592 Gather Victim Host Information (reconnaissance)");
    }
}
