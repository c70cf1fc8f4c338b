//! What a draft would change: through which action, on what, on how much, and whether there is a way back.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Map;
use serde_json::Value;

use super::Out;
use super::below;
use super::prose;
use super::prose::Place;
use super::quoted;
use super::shape::Reader;
use super::tables;
use crate::model::action::Tier;
use crate::model::playbook::ACTION;
use crate::model::playbook::Playbook;
use crate::model::playbook::Step;
use crate::playbook::Document;
use crate::playbook::draft::Scope;
use crate::playbook::draft::What;
use crate::playbook::draft::expand::NO_WAY_BACK;
use crate::playbook::ids;

/// The action of a step, if it proposes one.
pub(super) fn action_of(step: &Map<String, Value>) -> Option<&str> {
    let all = step.get("commands").and_then(Value::as_array).into_iter().flatten();
    let mut acts = all.filter(|c| c.get("type").and_then(Value::as_str) == Some(ACTION));
    acts.next()?.get("command").and_then(Value::as_str)
}

pub(super) fn check(doc: &Document, scope: &Scope, out: &mut Out) {
    let book = doc.view("draft");
    let mut all: BTreeSet<String> = BTreeSet::new();
    for step in &book.steps {
        let at = below("/workflow", &step.id);
        let acts = step.commands.iter().filter(|c| c.kind == ACTION);
        match acts.clone().count() {
            0 => continue,
            1 => {}
            n => out.error(&at, "blast-radius", format!("{n} actions in one step: each is a step of its own")),
        }
        for c in acts {
            act(&book, step, c.text.expose().trim(), &at, scope, &mut all, out);
        }
    }
    if all.len() > scope.most_targets() {
        let what = format!("{} targets in all; a draft has at most {}", all.len(), scope.most_targets());
        out.error("/workflow", "blast-radius", what);
    }
    circles(&book, out);
}

fn act(book: &Playbook, step: &Step, name: &str, at: &str, scope: &Scope, all: &mut BTreeSet<String>, out: &mut Out) {
    let Some(act) = scope.act(name) else {
        out.error(at, "unknown-action", format!("{} is no action of the catalogue", quoted(name)));
        prose::check(name, Place::text(at), scope, out);
        return;
    };
    let mut targets = BTreeSet::new();
    for arg in &step.in_args {
        let v = step.variables.get(arg).or_else(|| book.variables.get(arg));
        let Some(value) = v.and_then(|v| v.value.as_ref()).filter(|v| !v.is_empty()) else {
            // A variable people fill in later could be anything.
            if v.is_none_or(|v| !["bool", "integer"].contains(&v.kind.as_str())) {
                out.error(at, "foreign-target", format!("{arg} is not bound to a target of this case"));
            }
            continue;
        };
        if v.is_some_and(|v| !v.constant || v.external) {
            out.error(at, "foreign-target", format!("{arg} can be changed after the draft was checked"));
        }
        let value = value.expose();
        match scope.knows(value) {
            Some(what) if what == act.wants => drop(targets.insert(value.to_lowercase())),
            Some(what) => {
                let why = format!("{} wants: {}. {} is: {}", act.name, act.wants.word(), quoted(value), what.word());
                out.error(at, "wrong-target", why);
            }
            None => out.error(at, "foreign-target", format!("{} is not of this case", quoted(value))),
        }
    }
    if targets.is_empty() {
        out.error(at, "no-target", format!("{} is for nothing: name a target of this case", act.name));
    }
    if targets.len() > act.most {
        let what = format!("{} targets of {}; at most {} at once", targets.len(), act.name, act.most);
        out.error(at, "blast-radius", what);
    }
    all.extend(targets);
    if act.wants == What::Other {
        out.error(at, "wrong-target", format!("{} is for something no alert names", act.name));
    }
    if act.tier == Tier::T0 {
        return;
    }
    if act.approvals == 0 && act.tier > Tier::T1 {
        out.error(at, "not-approved", format!("{} ({}) needs nobody's approval here", act.name, act.tier.word()));
    }
    let warned = [&step.stop_when, &step.look_at].into_iter().flatten().any(|t| t.expose().contains(NO_WAY_BACK));
    let agreed = step.sign_off.iter().any(|r| ["lead", "commander"].contains(&r.as_str()));
    if act.undo.is_none() && !(warned && agreed) {
        let why = format!(
            "{} has no way back: the step says \"{NO_WAY_BACK}\" in stop_when, and lead or commander sign it off",
            act.name
        );
        out.error(at, "no-way-back", why);
    }
}

/// A way from a step back to itself: the same action again and again.
fn circles(book: &Playbook, out: &mut Out) {
    let ways = |s: &Step| -> Vec<String> {
        let next = [&s.on_completion, &s.on_success, &s.on_failure].into_iter().flatten().cloned();
        next.chain(s.kind.branches().into_iter().map(|b| b.1.to_owned())).collect()
    };
    let graph: BTreeMap<&str, Vec<String>> = book.steps.iter().map(|s| (s.id.as_str(), ways(s))).collect();
    for step in &book.steps {
        let (mut seen, mut todo) = (BTreeSet::new(), graph.get(step.id.as_str()).cloned().unwrap_or_default());
        while let Some(id) = todo.pop() {
            if id == step.id {
                out.error(&below("/workflow", &step.id), "cycle", "it leads back to itself");
                break;
            }
            if seen.insert(id.clone()) {
                todo.extend(graph.get(id.as_str()).into_iter().flatten().cloned());
            }
        }
    }
}

/// A question to the store of events: fields and values, no script.
pub(super) fn query(v: &Value, at: &str, r: &mut Reader<'_>) {
    let Some(t) = v.as_str().filter(|t| t.len() <= 600) else {
        r.out.error(at, "wrong-type", "a short query was expected");
        return;
    };
    if t.contains(['{', '}', ';', '`', '|', '$', '\\', '<', '\n']) || t.to_ascii_lowercase().contains("script") {
        r.out.error(at, "shell", "a query holds fields and values alone");
    }
    prose::characters(t, at, r.out);
    let bare = ids::references(t).iter().fold(t.to_owned(), |t, name| t.replace(&format!("{name}:value"), "x"));
    // The name of a field looks like that of a host; what comes after the colon is what is asked for.
    for word in bare.split(|c: char| c.is_whitespace() || "()\"[]".contains(c)) {
        let value = match word.split_once(':') {
            Some((field, value)) if field.chars().all(|c| c.is_ascii_alphanumeric() || "._-@".contains(c)) => value,
            _ => word,
        };
        prose::value(value, at, r.scope, r.out);
    }
}

/// One module of Ansible that only reads, with plain arguments: `ansible.builtin.stat path=/etc/hosts`.
pub(super) fn ansible(v: &Value, at: &str, r: &mut Reader<'_>) {
    let Some(t) = v.as_str().filter(|t| t.len() <= 300 && !t.contains('\n')) else {
        r.out.error(at, "module-not-allowed", "one module on one line was expected");
        prose::check(v.as_str().unwrap_or_default(), Place::text(at), r.scope, r.out);
        return;
    };
    let mut words = t.split_whitespace();
    let module = words.next().unwrap_or_default();
    let bare = module.strip_prefix("ansible.builtin.").unwrap_or(module);
    if !tables::MODULES.contains(&bare) {
        let what =
            format!("the module {} may change something; in a draft: {}", quoted(module), tables::MODULES.join(", "));
        r.out.error(at, "module-not-allowed", what);
    }
    prose::characters(t, at, r.out);
    for word in words {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:=\\@".contains(c);
        let Some((name, value)) = word.split_once('=').filter(|_| word.chars().all(plain)) else {
            r.out.error(at, "shell", format!("{}: name=value was expected", quoted(word)));
            prose::check(word, Place::text(at), r.scope, r.out);
            continue;
        };
        // These send what they read, or take it from, somewhere else.
        if ["delegate_to", "url", "dest", "src", "host", "hosts", "cmd", "chdir"].contains(&name) {
            r.out.error(at, "module-not-allowed", format!("{} reaches elsewhere", quoted(name)));
        }
        prose::value(value, at, r.scope, r.out);
    }
}
