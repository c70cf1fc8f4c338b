//! A document read into types. Total: what is missing or of the wrong type is left out; the linter names it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Map;
use serde_json::Value;

use super::Document;
use super::clocks::From;
use super::ids;
use crate::model::playbook::Command;
use crate::model::playbook::FACTS;
use crate::model::playbook::GENERATED;
use crate::model::playbook::Generated;
use crate::model::playbook::Phase;
use crate::model::playbook::Playbook;
use crate::model::playbook::Step;
use crate::model::playbook::StepKind;
use crate::model::playbook::Tlp;
use crate::model::playbook::Variable;
use crate::text::Untrusted;

type Object = Map<String, Value>;

pub(super) fn read(doc: &Document, key: &str) -> Playbook {
    let json = doc.json();
    let own = extension(json, "playbook_extensions");
    let mut keys = BTreeSet::new();
    let steps = object(json, "workflow").into_iter().flatten();
    let steps: Vec<Step> =
        steps.filter(|(id, _)| ids::is_plain(id)).filter_map(|(id, v)| step(json, id, v, &mut keys)).collect();
    let named = own.and_then(|o| string(o, "key")).filter(|k| ids::is_key(k));
    Playbook {
        id: id(json, "id").unwrap_or_default(),
        key: named.unwrap_or(key).to_owned(),
        title: text(json, "name").unwrap_or_default(),
        description: text(json, "description").unwrap_or_default(),
        modified: text(json, "modified").unwrap_or_default(),
        revoked: json.get("revoked") == Some(&Value::Bool(true)),
        types: texts(json, "playbook_types"),
        tlp: strictest(json),
        techniques: techniques(json, own),
        rules: own.map(|o| lower(o, "rules")).unwrap_or_default(),
        words: own.map(|o| lower(o, "words")).unwrap_or_default(),
        restricted: own.map(|o| words(o, "restricted")).unwrap_or_default(),
        generated: generated(json, own),
        facts: own.map(facts).unwrap_or_default(),
        clocks: own.map(clocks).unwrap_or_default(),
        choices: own.map(choices).unwrap_or_default(),
        variables: variables(json, "playbook_variables"),
        start: id(json, "workflow_start").unwrap_or_default(),
        exception: id(json, "workflow_exception"),
        steps,
        hash: doc.hash().to_owned(),
    }
}

/// By its label, by what our extension says, or by who made it: none of them can be lost alone.
fn generated(json: &Object, own: Option<&Object>) -> Option<Generated> {
    let said = own.and_then(|o| object(o, "generated"));
    let labelled = strings(json, "labels").any(|l| l.eq_ignore_ascii_case(GENERATED));
    let ours = string(json, "created_by").is_some_and(|by| by == ids::model_identity());
    (said.is_some() || labelled || ours || own.is_some_and(|o| o.contains_key("generated"))).then(|| Generated {
        model: said.and_then(|o| text(o, "model")),
        prompt: said.and_then(|o| text(o, "prompt_sha256")),
        at: said.and_then(|o| text(o, "at")),
        edited_by: said.map(|o| texts(o, "edited_by")).unwrap_or_default(),
    })
}

fn string<'a>(o: &'a Object, key: &str) -> Option<&'a str> {
    o.get(key).and_then(Value::as_str)
}

fn text(o: &Object, key: &str) -> Option<Untrusted> {
    string(o, key).map(Untrusted::new)
}

fn object<'a>(o: &'a Object, key: &str) -> Option<&'a Object> {
    o.get(key).and_then(Value::as_object)
}

fn strings<'a>(o: &'a Object, key: &str) -> impl Iterator<Item = &'a str> {
    o.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn texts(o: &Object, key: &str) -> Vec<Untrusted> {
    strings(o, key).map(Untrusted::new).collect()
}

/// Plain words: letters, digits, hyphens.
fn words(o: &Object, key: &str) -> Vec<String> {
    strings(o, key).filter(|w| ids::is_plain(w)).map(str::to_owned).collect()
}

fn lower(o: &Object, key: &str) -> Vec<String> {
    strings(o, key).map(str::to_lowercase).collect()
}

/// What the desk finds out, by the variable that holds it.
fn facts(own: &Object) -> BTreeMap<String, String> {
    let all = object(own, "facts").into_iter().flatten();
    let one = |(name, word): (&String, &Value)| {
        let word = word.as_str().filter(|w| FACTS.contains(w))?;
        ids::is_variable(name).then(|| (name.clone(), word.to_owned()))
    };
    all.filter_map(one).collect()
}

/// Which deadlines count from the time a variable holds.
fn clocks(own: &Object) -> BTreeMap<String, String> {
    let all = object(own, "clocks").into_iter().flatten();
    let one = |(name, word): (&String, &Value)| {
        let from = word.as_str().and_then(From::parse)?;
        ids::is_variable(name).then(|| (name.clone(), from.word().to_owned()))
    };
    all.filter_map(one).collect()
}

/// Variables that are one of a few plain words.
fn choices(own: &Object) -> BTreeMap<String, Vec<String>> {
    let all = object(own, "choices").into_iter().flatten().filter(|(name, _)| ids::is_variable(name));
    let named = all.filter_map(|(name, _)| Some((name.clone(), words(object(own, "choices")?, name))));
    named.filter(|(_, words)| words.len() > 1).collect()
}

/// An id that is harmless as a string.
fn id(o: &Object, key: &str) -> Option<String> {
    string(o, key).filter(|i| ids::is_plain(i)).map(str::to_owned)
}

fn millis(o: &Object, key: &str) -> Option<u64> {
    o.get(key).and_then(Value::as_u64)
}

/// Our extension on a playbook or a step.
pub(super) fn extension<'a>(o: &'a Object, key: &str) -> Option<&'a Object> {
    object(o, key).and_then(|e| object(e, ids::EXTENSION))
}

pub(super) fn variables(o: &Object, key: &str) -> BTreeMap<String, Variable> {
    let all = object(o, key).into_iter().flatten().filter(|(name, _)| ids::is_variable(name));
    let one = |v: &Object| Variable {
        kind: string(v, "type").filter(|k| ids::is_plain(k)).unwrap_or("string").to_owned(),
        description: text(v, "description").unwrap_or_default(),
        value: text(v, "value"),
        constant: v.get("constant") == Some(&Value::Bool(true)),
        external: v.get("external") == Some(&Value::Bool(true)),
    };
    all.filter_map(|(name, v)| Some((name.clone(), one(v.as_object()?)))).collect()
}

fn strictest(json: &Object) -> Option<Tlp> {
    let defined = object(json, "data_marking_definitions");
    let level = |id: &str| {
        let own = defined.and_then(|d| object(d, id)).and_then(|m| string(m, "tlpv2_level"));
        own.or_else(|| ids::TLP.iter().find(|t| t.1 == id).map(|t| t.0)).and_then(Tlp::of)
    };
    strings(json, "markings").filter_map(level).max()
}

/// ATT&CK ids: ours, and those among its external references.
fn techniques(json: &Object, own: Option<&Object>) -> Vec<String> {
    let mut out: Vec<String> = own.map(|o| words(o, "techniques")).unwrap_or_default();
    let refs = json.get("external_references").and_then(Value::as_array).into_iter().flatten();
    out.extend(refs.filter_map(Value::as_object).filter_map(|r| string(r, "external_id")).map(str::to_owned));
    out.iter_mut().for_each(|t| t.make_ascii_uppercase());
    out.retain(|t| is_technique(t));
    out.sort();
    out.dedup();
    out
}

/// `T1059` or `T1059.001`.
pub(super) fn is_technique(text: &str) -> bool {
    let digits = |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_digit());
    let (head, sub) = text.split_once('.').map_or((text, None), |(h, s)| (h, Some(s)));
    head.strip_prefix('T').is_some_and(|d| digits(d, 4)) && sub.is_none_or(|s| digits(s, 3))
}

fn step(json: &Object, id_of: &str, value: &Value, keys: &mut BTreeSet<String>) -> Option<Step> {
    let o = value.as_object()?;
    let kind = kind(o)?;
    let own = extension(o, "step_extensions");
    let name = text(o, "name").unwrap_or_default();
    let named = own.and_then(|e| string(e, "key")).filter(|k| ids::is_key(k)).map(str::to_owned);
    let key = unique(named.unwrap_or_else(|| ids::key_of(name.expose())), kind.word(), keys);
    let list = |key: &str| own.map(|e| words(e, key)).unwrap_or_default();
    let told = |key: &str| own.and_then(|e| text(e, key));
    Some(Step {
        id: id_of.to_owned(),
        key,
        kind,
        name,
        description: text(o, "description").unwrap_or_default(),
        delay_ms: millis(o, "delay").filter(|d| *d > 0),
        timeout_ms: millis(o, "timeout").filter(|t| *t > 0),
        box_ms: own.and_then(|e| millis(e, "time_box")).filter(|t| *t > 0),
        on_completion: id(o, "on_completion"),
        on_success: id(o, "on_success"),
        on_failure: id(o, "on_failure"),
        variables: variables(o, "step_variables"),
        in_args: strings(o, "in_args").map(bare).filter(|n| ids::is_variable(n)).collect(),
        out_args: strings(o, "out_args").map(bare).filter(|n| ids::is_variable(n)).collect(),
        who: agent(json, o).or_else(|| told("who")),
        targets: targets(json, o),
        commands: commands(o),
        phase: own.and_then(|e| string(e, "phase")).and_then(Phase::of),
        react: list("react"),
        techniques: list("techniques").into_iter().filter(|t| is_technique(t)).collect(),
        look_at: told("look_at"),
        attach: own.map(|e| texts(e, "attach")).unwrap_or_default(),
        stop_when: told("stop_when"),
        sign_off: list("sign_off"),
        prompt: told("prompt"),
    })
}

/// Arguments are named with or without `:value`.
pub(super) fn bare(name: &str) -> String {
    name.strip_suffix(":value").unwrap_or(name).to_owned()
}

fn unique(wanted: String, kind: &str, keys: &mut BTreeSet<String>) -> String {
    let base = if wanted.is_empty() { kind.to_owned() } else { wanted };
    let mut key = base.clone();
    let mut n = 2;
    while !keys.insert(key.clone()) {
        key = format!("{base}-{n}");
        n += 1;
    }
    key
}

fn kind(o: &Object) -> Option<StepKind> {
    let condition = || text(o, "condition").unwrap_or_default();
    Some(match string(o, "type")? {
        "start" => StepKind::Start,
        "end" => StepKind::End,
        "action" => StepKind::Action,
        "playbook-action" => StepKind::Playbook(id(o, "playbook_id").unwrap_or_default()),
        "parallel" => {
            let heads = strings(o, "next_steps").filter(|i| ids::is_plain(i)).map(str::to_owned);
            StepKind::Parallel(heads.collect())
        }
        "if-condition" => {
            StepKind::If { condition: condition(), yes: id(o, "on_true").unwrap_or_default(), no: id(o, "on_false") }
        }
        "while-condition" => StepKind::While { condition: condition(), body: id(o, "on_true").unwrap_or_default() },
        "switch-condition" => {
            let cases = object(o, "cases").into_iter().flatten();
            let head = |v: &Value| v.as_str().filter(|i| ids::is_plain(i)).map(str::to_owned);
            StepKind::Switch {
                on: text(o, "switch").unwrap_or_default(),
                cases: cases.filter_map(|(value, h)| Some((value.clone(), head(h)?))).collect(),
            }
        }
        _ => return None,
    })
}

fn agent(json: &Object, o: &Object) -> Option<Untrusted> {
    let id = string(o, "agent")?;
    let named = object(json, "agent_definitions").and_then(|d| object(d, id)).and_then(|a| text(a, "name"));
    Some(named.unwrap_or_else(|| Untrusted::new(id)))
}

fn targets(json: &Object, o: &Object) -> Vec<Untrusted> {
    let defined = object(json, "target_definitions");
    let name = |id: &str| defined.and_then(|d| object(d, id)).and_then(|t| text(t, "name"));
    strings(o, "targets").map(|id| name(id).unwrap_or_else(|| Untrusted::new(id))).collect()
}

fn commands(o: &Object) -> Vec<Command> {
    let all = o.get("commands").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
    let one = |c: &Object| {
        let kind = string(c, "type").filter(|k| ids::is_plain(k)).unwrap_or("unknown").to_owned();
        let body = text(c, "command").or_else(|| decoded(c)).unwrap_or_default();
        let mut more = c.clone();
        for known in ["type", "command", "description"] {
            more.remove(known);
        }
        Command { kind, text: body, description: text(c, "description").unwrap_or_default(), more }
    };
    all.map(one).collect()
}

/// Some commands come in base64 alone; people read what is in it.
fn decoded(c: &Object) -> Option<Untrusted> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(string(c, "command_b64")?).ok()?;
    Some(Untrusted::new(String::from_utf8_lossy(&bytes).into_owned()))
}
