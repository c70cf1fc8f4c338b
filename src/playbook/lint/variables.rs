//! Variables: declared, of their type, and set before they are read (section 10.18).

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Map;
use serde_json::Value;

use super::Out;
use super::Pointer;
use crate::model::playbook::Playbook;
use crate::model::playbook::Step;
use crate::model::playbook::StepKind;
use crate::model::playbook::Variable;
use crate::playbook::Document;
use crate::playbook::condition;
use crate::playbook::ids;
use crate::playbook::kinds;

/// Far more than any playbook takes to settle.
const MOST_ROUNDS: usize = 500;

pub(super) fn check(doc: &Document, out: &mut Out) {
    let book = doc.view("playbook");
    let root = Pointer::default();
    declared(doc.json(), "playbook_variables", &root, out);
    for (id, step) in doc.json().get("workflow").and_then(Value::as_object).into_iter().flatten() {
        let Some(o) = step.as_object() else { continue };
        declared(o, "step_variables", &Pointer::step(id), out);
    }
    let sets = before(&book);
    for step in &book.steps {
        uses(doc, &book, step, sets.get(step.id.as_str()), out);
    }
}

fn declared(o: &Map<String, Value>, key: &str, at: &Pointer, out: &mut Out) {
    let at = at.to(key);
    for (name, v) in o.get(key).and_then(Value::as_object).into_iter().flatten() {
        let at = at.to(name);
        if !ids::is_variable(name) {
            out.error(&at, "bad-variable-name", format!("{name:?}: __name__ with a letter first was expected"));
        }
        let Some(o) = v.as_object() else {
            out.error(&at, "wrong-type", "a variable is an object");
            continue;
        };
        let kind = match o.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            _ => {
                out.error(&at, "missing-property", "\"type\" of the variable is missing");
                continue;
            }
        };
        if !kinds::ALL.contains(&kind) {
            let known = kinds::ALL.join(", ");
            out.warn(&at.to("type"), "unknown-variable-type", format!("{kind:?}; known are {known}"));
        }
        match o.get("value") {
            Some(Value::String(value)) if value.is_empty() => {}
            Some(Value::String(value)) => {
                if let Err(why) = kinds::check(kind, value) {
                    out.error(&at.to("value"), "bad-variable-value", why);
                }
            }
            Some(Value::Null) | None => {
                if o.get("constant") == Some(&Value::Bool(true)) {
                    out.warn(&at, "unset-variable", "a constant without a value can never get one");
                }
            }
            // "a JSON object" is allowed for dictionaries.
            Some(Value::Object(_)) if kind == "dictionary" => {}
            Some(_) => out.error(&at.to("value"), "wrong-type", "a value is a string, or null while it is unknown"),
        }
    }
}

/// A place of a step that reads variables, and the text there.
fn read_places(doc: &Document, step: &Step) -> Vec<(Pointer, Vec<String>)> {
    let at = Pointer::step(&step.id);
    let mut out = Vec::new();
    match &step.kind {
        StepKind::If { condition, .. } | StepKind::While { condition, .. } => {
            let named = condition::parse(condition.expose()).map(|e| e.variables()).unwrap_or_default();
            out.push((at.to("condition"), named));
        }
        StepKind::Switch { on, .. } => out.push((at.to("switch"), ids::references(on.expose()))),
        _ => {}
    }
    let json = doc.json().get("workflow").and_then(|w| w.get(&step.id));
    for (i, c) in json.and_then(|s| s.get("commands")).and_then(Value::as_array).into_iter().flatten().enumerate() {
        strings(c, &at.to("commands").nth(i), &mut out);
    }
    for (i, name) in step.in_args.iter().enumerate() {
        out.push((at.to("in_args").nth(i), vec![name.clone()]));
    }
    out
}

fn strings(v: &Value, at: &Pointer, out: &mut Vec<(Pointer, Vec<String>)>) {
    match v {
        Value::String(text) => {
            let named = ids::references(text);
            if !named.is_empty() {
                out.push((at.clone(), named));
            }
        }
        Value::Array(all) => all.iter().enumerate().for_each(|(i, v)| strings(v, &at.nth(i), out)),
        Value::Object(all) => all.iter().for_each(|(k, v)| strings(v, &at.to(k), out)),
        _ => {}
    }
}

fn uses(doc: &Document, book: &Playbook, step: &Step, set: Option<&BTreeSet<String>>, out: &mut Out) {
    let find = |name: &str| step.variables.get(name).or_else(|| book.variables.get(name));
    for (at, names) in read_places(doc, step) {
        for name in names {
            let Some(v) = find(&name) else {
                out.error(&at, "undeclared-variable", format!("{name} is declared nowhere"));
                continue;
            };
            // A step that is never reached has no set; that is another fault.
            let known = has_value(v) || set.is_none_or(|s| s.contains(&name));
            let ever = book.steps.iter().any(|s| s.out_args.contains(&name)) && !step.variables.contains_key(&name);
            match (known, ever) {
                (true, _) => {}
                (false, true) => {
                    out.warn(
                        &at,
                        "unset-variable",
                        format!("{name} may have no value here: a way leads here without it"),
                    );
                }
                (false, false) => {
                    let what = format!("{name} has no value, is not external, and no step gives it one");
                    out.error(&at, "unset-variable", what);
                }
            }
        }
    }
    for (i, name) in step.out_args.iter().enumerate() {
        let at = Pointer::step(&step.id).to("out_args").nth(i);
        match find(name) {
            None => out.error(&at, "undeclared-variable", format!("{name} is declared nowhere")),
            Some(v) if v.constant => out.error(&at, "constant-written", format!("{name} is a constant")),
            Some(_) => {}
        }
    }
    for name in step.variables.keys().filter(|n| book.variables.contains_key(*n)) {
        let at = Pointer::step(&step.id).to("step_variables").to(name);
        out.warn(&at, "shadowed-variable", format!("{name} is a variable of the playbook too"));
    }
    if let StepKind::While { condition, body } = &step.kind
        && let Ok(e) = condition::parse(condition.expose())
    {
        let written = written(book, body);
        let read = e.variables();
        if !read.is_empty() && !read.iter().any(|n| written.contains(n)) {
            let at = Pointer::step(&step.id).to("condition");
            out.warn(&at, "endless-loop", format!("no step of the loop changes {}", read.join(", ")));
        }
    }
}

fn has_value(v: &Variable) -> bool {
    v.value.is_some() || v.external
}

/// Variables the steps of a branch may write.
fn written(book: &Playbook, head: &str) -> BTreeSet<String> {
    let (mut out, mut seen, mut todo) = (BTreeSet::new(), BTreeSet::new(), vec![head.to_owned()]);
    while let Some(id) = todo.pop() {
        let Some(step) = book.step(&id).filter(|_| seen.insert(id.clone())) else { continue };
        out.extend(step.out_args.iter().cloned());
        todo.extend([&step.on_completion, &step.on_success, &step.on_failure].into_iter().flatten().cloned());
        todo.extend(step.kind.branches().into_iter().map(|b| b.1.to_owned()));
    }
    out
}

/// For each step that is reached: variables that a step before it has set on every way there. A step that failed has
/// set nothing. Begins with everything and takes away what some way does not set, until nothing changes.
fn before(book: &Playbook) -> BTreeMap<&str, BTreeSet<String>> {
    let index: BTreeMap<&str, &Step> = book.steps.iter().map(|s| (s.id.as_str(), s)).collect();
    let all: BTreeSet<String> = book.steps.iter().flat_map(|s| s.out_args.iter().cloned()).collect();
    let entries: Vec<&str> = [Some(book.start.as_str()), book.exception.as_deref()].into_iter().flatten().collect();
    let mut at: BTreeMap<&str, BTreeSet<String>> =
        reached(&index, &entries).into_iter().map(|id| (id, all.clone())).collect();
    let ends: BTreeMap<&str, BTreeSet<&str>> = at
        .keys()
        .filter_map(|id| index.get(id))
        .flat_map(|s| s.kind.branches())
        .map(|(_, head)| (head, branch_ends(&index, head)))
        .collect();
    for _ in 0..MOST_ROUNDS {
        let mut next: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        let mut meet = |id: &'_ str, set: &BTreeSet<String>| {
            let Some((id, _)) = index.get_key_value(id) else { return };
            match next.get_mut(id) {
                None => drop(next.insert(id, set.clone())),
                Some(old) => old.retain(|name| set.contains(name)),
            }
        };
        entries.iter().for_each(|e| meet(e, &BTreeSet::new()));
        for (id, here) in &at {
            let Some(step) = index.get(id) else { continue };
            step.kind.branches().iter().for_each(|(_, head)| meet(head, here));
            let mut done = here.clone();
            done.extend(step.out_args.iter().cloned());
            done.extend(inside(step, &at, &ends));
            [&step.on_completion, &step.on_success].into_iter().flatten().for_each(|n| meet(n, &done));
            step.on_failure.iter().for_each(|n| meet(n, here));
        }
        if next == at {
            break;
        }
        at = next;
    }
    at
}

fn reached<'a>(index: &BTreeMap<&'a str, &'a Step>, from: &[&str]) -> BTreeSet<&'a str> {
    let mut out = BTreeSet::new();
    let mut todo: Vec<&str> = from.to_vec();
    while let Some(id) = todo.pop() {
        let Some(step) = index.get(id).filter(|s| out.insert(s.id.as_str())) else { continue };
        todo.extend(
            [&step.on_completion, &step.on_success, &step.on_failure].into_iter().flatten().map(String::as_str),
        );
        todo.extend(step.kind.branches().into_iter().map(|b| b.1));
    }
    out
}

/// What branches are sure to have set: of a parallel step all of them, of a choice what each of them sets, of a loop
/// nothing, for it may not run.
fn inside(
    step: &Step,
    at: &BTreeMap<&str, BTreeSet<String>>,
    ends: &BTreeMap<&str, BTreeSet<&str>>,
) -> BTreeSet<String> {
    let common = |mut sets: Vec<BTreeSet<String>>| {
        let first = sets.pop().unwrap_or_default();
        sets.iter().fold(first, |a, b| a.intersection(b).cloned().collect())
    };
    let of_branch = |head: &str| -> BTreeSet<String> {
        let sets = ends.get(head).into_iter().flatten().filter_map(|e| at.get(e)).cloned();
        common(sets.collect())
    };
    match &step.kind {
        StepKind::Parallel(heads) => heads.iter().flat_map(|h| of_branch(h)).collect(),
        StepKind::If { yes, no: Some(no), .. } => common(vec![of_branch(yes), of_branch(no)]),
        StepKind::Switch { cases, .. } if cases.iter().any(|c| c.0 == "default") => {
            common(cases.iter().map(|c| of_branch(&c.1)).collect())
        }
        _ => BTreeSet::new(),
    }
}

/// The ends a branch can come to.
fn branch_ends<'a>(index: &BTreeMap<&'a str, &'a Step>, head: &str) -> BTreeSet<&'a str> {
    let (mut out, mut seen, mut todo) = (BTreeSet::new(), BTreeSet::new(), vec![head]);
    while let Some(id) = todo.pop() {
        let Some(step) = index.get(id).filter(|s| seen.insert(s.id.as_str())) else { continue };
        if step.kind == StepKind::End {
            out.insert(step.id.as_str());
        }
        todo.extend(
            [&step.on_completion, &step.on_success, &step.on_failure].into_iter().flatten().map(String::as_str),
        );
    }
    out
}
