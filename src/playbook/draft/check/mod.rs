//! Safety checks of a draft. Pure, total and strict: what is not one of the few things a draft may hold is a finding.
//!
//! - [`shape`]: only properties, steps, commands, agents, markings and extensions that we write ourselves; every other
//!   string is prose.
//! - [`acts`]: what changes anything is an action of the catalogue that people approve, for targets of the case, few of
//!   them, with a way back or a warning; nothing goes round in circles.
//! - [`prose`]: no command lines, codings, secrets, hidden or unreadable characters, templates; nothing destructive
//!   outside of an action; nobody is told to go past an approval.
//! - [`targets`]: hosts, accounts, addresses, links and hashes in prose are those of the case.
//!
//! The prose checks read English. They are a sieve in front of people, not in their place: a step of prose runs nothing.

mod acts;
mod prose;
mod shape;
mod tables;
mod targets;

use super::Scope;
use crate::model::playbook::Finding;
use crate::model::playbook::Grade;
use crate::playbook::Document;
use crate::text::Untrusted;

/// More than anybody reads.
const MOST: usize = 300;
/// Bytes of a draft; what we make ourselves has a tenth of it.
const LARGEST: usize = 64 << 10;

/// Everything that speaks against a draft, the worst first.
pub fn check(doc: &Document, scope: &Scope) -> Vec<Finding> {
    let mut out = Out { found: Vec::new() };
    let size = serde_json::to_string(doc.json()).map_or(usize::MAX, |t| t.len());
    if size > LARGEST {
        out.error("", "oversize", format!("{size} bytes; a draft has at most {LARGEST}"));
        return out.found;
    }
    shape::check(doc, scope, &mut out);
    acts::check(doc, scope, &mut out);
    out.found.sort_by_key(|f| f.grade);
    out.found.dedup();
    out.found
}

struct Out {
    found: Vec<Finding>,
}

impl Out {
    fn add(&mut self, grade: Grade, at: &str, code: &str, message: impl Into<String>) {
        let full = self.found.len() >= MOST;
        // What blocks is never crowded out by what does not.
        if full && (grade != Grade::Error || self.found.iter().all(|f| f.grade == Grade::Error)) {
            return;
        }
        if full && let Some(i) = self.found.iter().position(|f| f.grade != Grade::Error) {
            self.found.swap_remove(i);
        }
        let message = Untrusted::new(message.into());
        self.found.push(Finding { grade, at: Untrusted::new(at), code: code.to_owned(), message });
    }

    fn error(&mut self, at: &str, code: &str, message: impl Into<String>) {
        self.add(Grade::Error, at, code, message);
    }

    fn warn(&mut self, at: &str, code: &str, message: impl Into<String>) {
        self.add(Grade::Warning, at, code, message);
    }
}

/// Where something stands: one level deeper (RFC 6901).
fn below(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A piece of a text for a message, short.
fn quoted(text: &str) -> String {
    let front: String = text.chars().take(60).collect();
    let more = if text.chars().nth(60).is_some() { "..." } else { "" };
    format!("{front:?}{more}")
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
