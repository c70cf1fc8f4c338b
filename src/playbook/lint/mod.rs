//! What is wrong with a playbook, each with its place. Never fails, whatever the document says.
//!
//! Errors are what keeps people from working it (a step that is not there, a loop nobody leaves); warnings what will
//! make them stumble (no way on after a failure); notes are departures from the standard that harm nobody.

mod flow;
mod own;
mod shape;
mod variables;

use serde_json::Value;

use super::Document;
use crate::model::playbook::Finding;
use crate::model::playbook::Grade;
use crate::text::Untrusted;

/// More than anybody reads.
const MOST: usize = 1_000;
/// Steps of one playbook.
const MOST_STEPS: usize = 1_000;

/// Commands we know how to show: `command-type-ov` of CACAO 2.0 (section 5.2), and ours.
pub const COMMANDS: [&str; 15] = [
    "manual",
    "bash",
    "caldera-cmd",
    "elastic",
    "http-api",
    "jupyter",
    "kestrel",
    "openc2-http",
    "powershell",
    "sigma",
    "ssh",
    "yara",
    crate::model::playbook::ACTION,
    crate::model::playbook::ANSIBLE,
    crate::model::playbook::OPENSEARCH,
];

/// Everything that is wrong, the worst first, then in the order of the document. `known`: whether there is another
/// playbook of this id; without it, references to other playbooks are not followed.
pub fn lint(doc: &Document, known: Option<&dyn Fn(&str) -> bool>) -> Vec<Finding> {
    let mut out = Out::default();
    shape::check(doc, &mut out);
    own::check(doc, &mut out);
    let steps = doc.json().get("workflow").and_then(Value::as_object).map_or(0, |w| w.len());
    if steps > MOST_STEPS {
        let at = Pointer::default().to("workflow");
        out.error(&at, "too-many-steps", format!("{steps} steps; at most {MOST_STEPS} can be worked"));
    } else {
        flow::check(doc, known, &mut out);
        variables::check(doc, &mut out);
    }
    let mut found = out.found;
    found.truncate(MOST);
    // Stable: within a grade the order in which things were found.
    found.sort_by_key(|f| f.grade);
    found.dedup();
    found
}

/// Whether people can work it.
pub fn workable(findings: &[Finding]) -> bool {
    !findings.iter().any(|f| f.grade == Grade::Error)
}

#[derive(Default)]
struct Out {
    found: Vec<Finding>,
}

impl Out {
    fn add(&mut self, grade: Grade, at: &Pointer, code: &str, message: impl Into<String>) {
        if self.found.len() < MOST {
            let at = Untrusted::new(at.0.clone());
            self.found.push(Finding { grade, at, code: code.to_owned(), message: Untrusted::new(message.into()) });
        }
    }

    fn error(&mut self, at: &Pointer, code: &str, message: impl Into<String>) {
        self.add(Grade::Error, at, code, message);
    }

    fn warn(&mut self, at: &Pointer, code: &str, message: impl Into<String>) {
        self.add(Grade::Warning, at, code, message);
    }

    fn note(&mut self, at: &Pointer, code: &str, message: impl Into<String>) {
        self.add(Grade::Note, at, code, message);
    }
}

/// A JSON pointer (RFC 6901) while it is built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Pointer(String);

impl Pointer {
    fn to(&self, name: &str) -> Self {
        Self(format!("{}/{}", self.0, name.replace('~', "~0").replace('/', "~1")))
    }

    fn nth(&self, i: usize) -> Self {
        Self(format!("{}/{i}", self.0))
    }

    fn step(id: &str) -> Self {
        Self::default().to("workflow").to(id)
    }
}

#[cfg(test)]
#[path = "../lint_tests.rs"]
pub(in crate::playbook) mod tests;
