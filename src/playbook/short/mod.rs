//! The form people write by hand: TOML, steps in the order they are worked, names instead of identifiers.
//!
//! ```toml
//! key = "lost-laptop"
//! title = "Lost laptop"
//! created = "2026-01-31T09:00:00.000Z"
//! techniques = ["T1052"]
//!
//! [vars.laptop]
//! type = "string"
//! external = true
//!
//! [[steps]]
//! key = "lock"
//! name = "Lock it"
//! who = "analyst"
//! do = "Find __laptop__:value in the inventory and lock it remotely."
//! failed = "call"              # on_failure; without `then` the next step of the file comes next
//!
//! [[steps]]
//! key = "call"
//! name = "Call the owner"
//! who = "lead"
//! do = "Ask what was on it."
//! then = "end"                 # an end step is made
//! ```
//!
//! Identifiers follow from the names, so the same file always makes the same document. What the short form has no word
//! for stands in `[[also]]`: a JSON pointer and the JSON that is there, or `gone = true`. Both ways lose nothing: see
//! [`to_toml`].

pub(in crate::playbook) mod expand;
mod patch;
mod shorten;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use super::Document;
use super::document::MAX_BYTES;
use crate::config::fault::Faults;
use crate::config::fault::Place;

/// Where a step leads when its branch or the playbook is over.
const END: &str = "end";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Short {
    key: String,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    created: String,
    /// Which version this is; `created` where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    /// A name that becomes an identity, or an identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    activities: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tlp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    impact: Option<u8>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    techniques: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rules: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    words: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    restricted: Vec<String>,
    /// Variables whose value the desk finds out itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    facts: BTreeMap<String, String>,
    /// The step that is gone to when one fails that has no way of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    exception: Option<String>,
    /// What is known of the model that wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    generated: Option<Made>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    vars: BTreeMap<String, Var>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    steps: Vec<Entry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    also: Vec<patch::Also>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    edited_by: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Var {
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    constant: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external: Option<bool>,
    /// The words it is one of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    choices: Vec<String>,
    /// It holds a time from which deadlines count: `aware`, `material`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<String>,
}

/// One step. What it does follows from which of `do`, `action`, `query`, ..., `parallel`, `if`, `while`, `switch`,
/// `playbook` it has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    /// What a person does.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    manual: Option<String>,
    /// An action of the catalogue to propose.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ansible: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sigma: Option<String>,
    /// The id of another playbook, or the key of one that ships.
    #[serde(skip_serializing_if = "Option::is_none")]
    playbook: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel: Option<Vec<String>>,
    #[serde(rename = "if", skip_serializing_if = "Option::is_none")]
    when: Option<String>,
    #[serde(rename = "while", skip_serializing_if = "Option::is_none")]
    repeat: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    switch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    yes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cases: Option<BTreeMap<String, String>>,
    /// An end step with a name of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<bool>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    uses: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gives: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    vars: BTreeMap<String, Var>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_box: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    react: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    techniques: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    look_at: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attach: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_when: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sign_off: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<String>,
    /// on_completion; or on_success where `failed` is given too.
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
}

/// Reads the short form.
///
/// # Errors
/// Names line and column of what is not understood.
pub fn from_toml(path: &Path, source: &str) -> Result<Document, Faults> {
    let whole = || Place::Whole(path.to_owned());
    if source.len() > MAX_BYTES {
        return Err(Faults::one(whole(), format!("{} bytes; a playbook has at most {MAX_BYTES}", source.len())));
    }
    let short: Short = toml::from_str(source).map_err(|e| {
        let place = e.span().map_or_else(whole, |s| Place::at(path, source, s.start));
        Faults::one(place, e.message().to_owned())
    })?;
    expand::document(&short).map_err(|wrong| {
        let mut faults = Faults::default();
        for (at, why) in wrong {
            let place = find(source, &at).map_or_else(whole, |offset| Place::at(path, source, offset));
            faults.add(place, why);
        }
        faults.sort();
        faults
    })
}

/// The document of a short form that was made, not written.
///
/// # Errors
/// What of it cannot be a playbook.
pub(in crate::playbook) fn from_value(short: serde_json::Value) -> Result<Document, String> {
    let short: Short = serde_json::from_value(short).map_err(|e| e.to_string())?;
    expand::document(&short).map_err(|all| all.into_iter().map(|w| w.1).collect::<Vec<_>>().join("; "))
}

/// Where the step of a key begins.
fn find(source: &str, key: &str) -> Option<usize> {
    let wanted = format!("key = {key:?}");
    source.match_indices(&wanted).map(|m| m.0).find(|at| source[..*at].ends_with('\n')).filter(|_| !key.is_empty())
}

/// Writes the short form. Read again, it gives an equal document.
///
/// # Errors
/// When it cannot be written as TOML.
pub fn to_toml(doc: &Document) -> Result<String, String> {
    let mut short = shorten::short(doc);
    let made = match expand::document(&short) {
        Ok(made) => made,
        // Names that cannot be used: the frame alone, and everything else as it is.
        Err(_) => {
            short = shorten::frame(doc);
            expand::document(&short).map_err(|e| e.into_iter().map(|e| e.1).collect::<Vec<_>>().join("; "))?
        }
    };
    short.also = patch::between(made.json(), doc.json());
    toml::to_string_pretty(&short).map_err(|e| e.to_string())
}

#[cfg(test)]
#[path = "../short_tests.rs"]
mod tests;
