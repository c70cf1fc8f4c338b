//! Finds text in an alert that speaks to its reader: to the model, to the analyst, or to the analyst's terminal.
//!
//! This is a smoke detector, not a wall: what protects the desk is that no verdict can lower, close or run anything. It
//! looks through the usual disguises (case, look-alike letters, invisible characters, percent and base64 coding), and is
//! tuned to stay quiet on ordinary records. A finding never hides anything; it marks the alert and raises it.

mod disguise;
mod patterns;
#[cfg(test)]
mod tests;

use self::disguise::{decode, disguises, drives_terminal, fold, hidden};
use self::patterns::rules;
use crate::model::fields::Field;
use crate::model::opinion::Taint;
use crate::text::Untrusted;

/// Bytes of one value that are looked at: its head and its tail.
const HEAD: usize = 48 * 1024;
const TAIL: usize = 16 * 1024;
/// Bytes of a whole record that are looked at so closely, and of each later value's ends: padding may cost time, but it
/// may not push the last field out of sight.
const RECORD: usize = 1 << 20;
const PAST_RECORD: usize = 1024;

/// Findings shown of one alert.
const MAX_TAINTS: usize = 24;

/// What the text does. Worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Calls itself a test or maintenance.
    Pretext,
    /// Holds characters that cannot be seen or that turn text round.
    Hidden,
    /// Holds escape sequences that drive a terminal.
    Terminal,
    /// Talks to the model or the analyst.
    Address,
    /// Imitates the output of a tool.
    Tool,
    /// Imitates the turn marks of a chat.
    Role,
    /// Asks for a harmless verdict or for silence.
    Steer,
    /// Tells the reader to forget its instructions.
    Override,
}

impl Kind {
    pub fn words(self) -> &'static str {
        match self {
            Self::Pretext => "text that calls itself a test or maintenance",
            Self::Hidden => "characters that hide or turn text round",
            Self::Terminal => "escape sequences for a terminal",
            Self::Address => "text that talks to the model or the analyst",
            Self::Tool => "an imitated tool output",
            Self::Role => "imitated chat marks",
            Self::Steer => "text that asks for a harmless verdict",
            Self::Override => "text that tells the reader to ignore its instructions",
        }
    }

    /// Tries to change what is concluded, not just how it looks.
    pub fn steers(self) -> bool {
        self >= Self::Address
    }
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The field it stands in.
    pub path: Untrusted,
    pub kind: Kind,
    /// The words that gave it away, folded to lower case.
    pub excerpt: Untrusted,
    /// It was found under an encoding.
    pub encoded: bool,
}

/// Looks through every field, names of fields included.
pub fn scan(fields: &[Field]) -> Vec<Finding> {
    let mut out = Vec::new();
    let mut seen = 0;
    for field in fields {
        for text in [&field.value, &field.path] {
            let text = text.expose();
            let (head, tail) = if seen < RECORD { (HEAD, TAIL) } else { (PAST_RECORD, PAST_RECORD) };
            seen += text.len().min(head + tail);
            for (kind, excerpt, encoded) in look(text, head, tail) {
                out.push(Finding { path: field.path.clone(), kind, excerpt: excerpt.into(), encoded });
            }
        }
    }
    out
}

/// The finding that matters most.
pub fn worst(findings: &[Finding]) -> Option<&Finding> {
    findings.iter().max_by_key(|f| f.kind)
}

/// What one text does, each kind at most once.
pub fn kinds(text: &str) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = look(text, HEAD, TAIL).into_iter().map(|(k, _, _)| k).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn look(text: &str, head: usize, tail: usize) -> Vec<(Kind, String, bool)> {
    if text.len() < 3 {
        return Vec::new();
    }
    let text = ends(text, head, tail);
    let mut out = Vec::new();
    for part in [text.0, text.1] {
        if let Some(shown) = hidden(part) {
            out.push((Kind::Hidden, shown, false));
        }
        if drives_terminal(part) {
            out.push((Kind::Terminal, "ESC".to_owned(), false));
        }
        words(part, false, &mut out);
        for decoded in decode(part).into_iter().chain(disguises(part)) {
            words(&decoded, true, &mut out);
        }
    }
    out
}

/// What an analyst is shown of the findings: each kind once in a field, worst first.
pub fn taints(fields: &[Field]) -> Vec<Taint> {
    let mut found = scan(fields);
    found.sort_by_key(|f| std::cmp::Reverse(f.kind));
    let mut out: Vec<Taint> = Vec::new();
    for f in found {
        let what = f.kind.words().to_owned();
        if out.len() < MAX_TAINTS && !out.iter().any(|t| t.field == f.path && t.what == what) {
            out.push(Taint { field: f.path, what, excerpt: f.excerpt, encoded: f.encoded });
        }
    }
    out
}

fn ends(text: &str, head: usize, tail: usize) -> (&str, &str) {
    if text.len() <= head + tail {
        return (text, "");
    }
    let cut = |mut i: usize| {
        while !text.is_char_boundary(i) {
            i -= 1;
        }
        i
    };
    (&text[..cut(head)], &text[cut(text.len() - tail)..])
}

fn words(text: &str, encoded: bool, out: &mut Vec<(Kind, String, bool)>) {
    let folded = fold(text);
    let rules = rules();
    for i in &rules.set.matches(&folded) {
        let (kind, regex) = &rules.each[i];
        if !out.iter().any(|(k, _, _)| k == kind) {
            let excerpt = regex.find(&folded).map(|m| m.as_str().chars().take(120).collect());
            out.push((*kind, excerpt.unwrap_or_default(), encoded));
        }
    }
}
