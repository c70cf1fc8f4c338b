//! What our extension says, secrets that do not belong into a playbook, and text that hides something.

use serde_json::Map;
use serde_json::Value;

use super::Out;
use super::Pointer;
use crate::config::fault::nearest;
use crate::model::playbook::Command;
use crate::model::playbook::FACTS;
use crate::model::playbook::OPENSEARCH;
use crate::model::playbook::Phase;
use crate::model::playbook::Playbook;
use crate::model::playbook::StepKind;
use crate::model::technique;
use crate::playbook::Document;
use crate::playbook::clocks::From;
use crate::playbook::ids;
use crate::playbook::react;
use crate::playbook::search;
use crate::playbook::view::extension;
use crate::playbook::view::is_technique;
use crate::text;

type Object = Map<String, Value>;

/// Roles of the roster, and people outside it whose word a playbook may need.
pub const SIGNERS: [&str; 10] =
    ["analyst", "lead", "commander", "approver", "legal", "privacy", "hr", "communications", "executive", "owner"];

const OF_GENERATED: [&str; 4] = ["model", "prompt_sha256", "at", "edited_by"];
const OF_PLAYBOOK: [&str; 9] =
    ["key", "techniques", "rules", "words", "restricted", "generated", "facts", "choices", "clocks"];
const OF_STEP: [&str; 11] =
    ["key", "who", "phase", "react", "techniques", "time_box", "look_at", "attach", "stop_when", "sign_off", "prompt"];

pub(super) fn check(doc: &Document, out: &mut Out) {
    let json = doc.json();
    let root = Pointer::default();
    if let Some(own) = extension(json, "playbook_extensions") {
        let at = root.to("playbook_extensions").to(ids::EXTENSION);
        known(own, &OF_PLAYBOOK, &at, out);
        listed(own, "techniques", &at, out, technique_fault);
        listed(own, "restricted", &at, out, |w| word_fault(w, &SIGNERS[..4], "role of the roster"));
        keys(own, &at, out);
        match own.get("generated") {
            None => {}
            Some(Value::Object(said)) => known(said, &OF_GENERATED, &at.to("generated"), out),
            Some(_) => out.error(&at.to("generated"), "wrong-type", "an object was expected"),
        }
        let book = doc.view("");
        facts(own, &book, &at, out);
        choices(own, &book, &at, out);
        clocks(own, &book, &at, out);
    }
    for (id, step) in json.get("workflow").and_then(Value::as_object).into_iter().flatten() {
        if let Some(own) = step.as_object().and_then(|o| extension(o, "step_extensions")) {
            step_extension(own, &Pointer::step(id).to("step_extensions").to(ids::EXTENSION), out);
        }
        searches(step, &Pointer::step(id).to("commands"), out);
    }
    for (id, v) in json.get("authentication_info_definitions").and_then(Value::as_object).into_iter().flatten() {
        let at = root.to("authentication_info_definitions").to(id);
        secrets(v, &at, out);
    }
    hidden(&Value::Object(json.clone()), &root, out);
}

/// Searches that no desk would send, whatever its settings let.
fn searches(step: &Value, at: &Pointer, out: &mut Out) {
    for (i, c) in step["commands"].as_array().into_iter().flatten().enumerate() {
        let (Some(OPENSEARCH), Some(text), Some(more)) = (c["type"].as_str(), c["command"].as_str(), c.as_object())
        else {
            continue;
        };
        let command = Command {
            kind: OPENSEARCH.to_owned(),
            text: text.into(),
            description: text::Untrusted::default(),
            more: more.clone(),
        };
        if let Err(why) = search::sendable(&command) {
            out.warn(&at.nth(i), "search", format!("this search is shown, and not sent: {why}"));
        }
    }
}

/// Words a variable is one of: a text that is there, plain words, and every case that asks for it is one of them.
fn choices(own: &Object, book: &Playbook, at: &Pointer, out: &mut Out) {
    let at = at.to("choices");
    for (name, words) in own.get("choices").and_then(Value::as_object).into_iter().flatten() {
        let here = at.to(name);
        let Some(known) = book.choices.get(name).filter(|k| words.as_array().is_some_and(|w| w.len() == k.len()))
        else {
            out.error(&here, "wrong-type", "at least two words of letters, digits and hyphens were expected");
            continue;
        };
        match book.variables.get(name) {
            Some(v) if v.kind == "string" => {
                if let Some(value) =
                    v.value.as_ref().filter(|v| !v.is_empty() && !known.iter().any(|k| k == v.expose()))
                {
                    let shown = text::clean(value);
                    out.error(&here, "bad-value", format!("its value {:?} is none of them", shown.as_str()));
                }
            }
            _ => out.error(&here, "bad-variable", "a string of this playbook was expected"),
        }
        for step in &book.steps {
            let StepKind::Switch { on, cases } = &step.kind else { continue };
            let stray =
                cases.iter().find(|(w, _)| on.expose().contains(name.as_str()) && w != "default" && !known.contains(w));
            if let Some((word, _)) = stray {
                out.error(&Pointer::step(&step.id).to("cases").to(word), "bad-value", format!("{word:?} is no choice"));
            }
        }
    }
}

/// Times from which deadlines count: a string of this playbook, and a word the file of clocks can have.
fn clocks(own: &Object, book: &Playbook, at: &Pointer, out: &mut Out) {
    let at = at.to("clocks");
    for name in own.get("clocks").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name) {
        let here = at.to(name);
        if !book.clocks.contains_key(name) {
            let words: Vec<&str> = From::ALL.iter().map(|f| f.word()).collect();
            out.error(&here, "bad-value", format!("one of {} was expected", words.join(", ")));
        } else if book.variables.get(name).is_none_or(|v| v.kind != "string" || v.constant) {
            out.error(&here, "bad-variable", "a string of this playbook that is no constant was expected");
        }
    }
}

/// What the desk is to find out: something it can, into a bool, where a step asks for it.
fn facts(own: &Object, book: &Playbook, at: &Pointer, out: &mut Out) {
    let at = at.to("facts");
    for (name, word) in own.get("facts").and_then(Value::as_object).into_iter().flatten() {
        let here = at.to(name);
        match word.as_str() {
            Some(w) if FACTS.contains(&w) => {}
            _ => out.error(&here, "bad-reference", format!("one of {} was expected", FACTS.join(", "))),
        }
        if book.variables.get(name).is_none_or(|v| v.kind != "bool" || v.external || v.value.is_some()) {
            out.error(&here, "bad-variable", "a bool of this playbook that nobody gave a value was expected");
        } else if !book.steps.iter().any(|s| s.out_args.contains(name)) {
            out.error(&here, "unset-variable", "no step gives it, so nobody would ever find it out");
        }
    }
}

fn step_extension(own: &Object, at: &Pointer, out: &mut Out) {
    known(own, &OF_STEP, at, out);
    keys(own, at, out);
    listed(own, "techniques", at, out, technique_fault);
    listed(own, "react", at, out, react_fault);
    listed(own, "sign_off", at, out, |w| word_fault(w, &SIGNERS, "signer"));
    match own.get("phase") {
        None => {}
        Some(Value::String(p)) if Phase::of(p).is_some() => {}
        Some(_) => {
            let words = Phase::ALL.map(Phase::word).join(", ");
            out.error(&at.to("phase"), "bad-phase", format!("one of {words} was expected"));
        }
    }
    if own.get("time_box").is_some_and(|t| t.as_u64().is_none_or(|t| t == 0)) {
        out.error(&at.to("time_box"), "wrong-type", "milliseconds were expected");
    }
}

fn known(own: &Object, words: &[&str], at: &Pointer, out: &mut Out) {
    for name in own.keys().filter(|n| !words.contains(&n.as_str())) {
        let meant = nearest(name, words.iter().copied()).map(|n| format!("; did you mean {n:?}?")).unwrap_or_default();
        out.warn(&at.to(name), "unknown-property", format!("the extension has no {name:?}{meant}"));
    }
}

fn keys(own: &Object, at: &Pointer, out: &mut Out) {
    if own.get("key").is_some_and(|k| !k.as_str().is_some_and(ids::is_key)) {
        out.error(&at.to("key"), "bad-key", "lower case letters, digits and hyphens were expected");
    }
}

fn listed(own: &Object, name: &str, at: &Pointer, out: &mut Out, fault: impl Fn(&str) -> Option<String>) {
    let at = at.to(name);
    match own.get(name) {
        None => {}
        Some(Value::Array(all)) => {
            for (i, item) in all.iter().enumerate() {
                match item.as_str().map(&fault) {
                    Some(None) => {}
                    Some(Some(why)) => out.error(&at.nth(i), "bad-reference", why),
                    None => out.error(&at.nth(i), "wrong-type", "a string was expected"),
                }
            }
        }
        Some(_) => out.error(&at, "wrong-type", "a list of strings was expected"),
    }
}

fn technique_fault(id: &str) -> Option<String> {
    match technique::lookup(id) {
        _ if !is_technique(id) => Some(format!("{id:?} is no ATT&CK id such as T1059.001")),
        None => Some(format!("{id} is not in ATT&CK Enterprise as bundled")),
        Some(t) if t.old => Some(format!("{id} ({}) is revoked or deprecated", t.name)),
        Some(_) => None,
    }
}

/// Response actions are numbered `RA`, stage (1 preparation to 6 lessons learned), category, two digits.
fn react_fault(id: &str) -> Option<String> {
    react::name(id).is_none().then(|| format!("{id:?} is no RE&CT response action such as RA3101"))
}

fn word_fault(word: &str, known: &[&str], what: &str) -> Option<String> {
    (!known.contains(&word)).then(|| format!("{word:?} is no {what}; known are {}", known.join(", ")))
}

/// A playbook is shared and stored in the clear.
fn secrets(v: &Value, at: &Pointer, out: &mut Out) {
    const SECRET: [&str; 5] = ["password", "token", "private_key", "secret", "client_secret"];
    for (name, value) in v.as_object().into_iter().flatten() {
        let plain = value.as_str().is_some_and(|t| !t.is_empty() && ids::references(t).is_empty());
        if SECRET.contains(&name.as_str()) && plain {
            out.warn(&at.to(name), "secret", "a secret in the clear: refer to a variable or a key store");
        }
    }
}

/// Characters that turn text around, or stand in it unseen.
fn hidden(v: &Value, at: &Pointer, out: &mut Out) {
    let bad = |t: &str| t.chars().any(|c| !matches!(c, '\n' | '\t' | '\r') && text::is_hidden(c));
    match v {
        Value::String(t) if bad(t) => {
            out.warn(at, "hidden-text", "it holds characters that hide or turn text around");
        }
        Value::Array(all) => all.iter().enumerate().for_each(|(i, v)| hidden(v, &at.nth(i), out)),
        Value::Object(all) => all.iter().for_each(|(k, v)| {
            let at = at.to(k);
            if bad(k) {
                out.warn(&at, "hidden-text", "the key holds characters that hide or turn text around");
            }
            hidden(v, &at, out);
        }),
        _ => {}
    }
}
