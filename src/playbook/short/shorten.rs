//! From a CACAO document to the short form: what it has words for. The rest is found by comparing.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Map;
use serde_json::Value;

use super::END;
use super::Entry;
use super::Made;
use super::Short;
use super::Var;
use super::expand;
use crate::playbook::Document;
use crate::playbook::ids;
use crate::playbook::view;

type Object = Map<String, Value>;

/// Title, key and times alone.
pub(super) fn frame(doc: &Document) -> Short {
    let json = doc.json();
    let own = view::extension(json, "playbook_extensions");
    let title = string(json, "name").unwrap_or_default();
    let key = own.and_then(|o| string(o, "key")).filter(|k| ids::is_key(k)).unwrap_or_else(|| ids::key_of(&title));
    let key = if ids::is_key(&key) { key } else { "playbook".to_owned() };
    let id = string(json, "id").filter(|id| *id != expand::playbook_id(&key));
    Short { key, id, title, created: string(json, "created").unwrap_or_default(), ..Short::default() }
}

pub(super) fn short(doc: &Document) -> Short {
    let json = doc.json();
    let mut out = frame(doc);
    let modified = string(json, "modified").filter(|m| *m != out.created);
    let author = string(json, "created_by").filter(|a| *a != expand::identity("watchfloor"));
    let own = view::extension(json, "playbook_extensions");
    let listed = |key: &str| own.map(|o| strings(o, key)).unwrap_or_default();
    let small = |key: &str| json.get(key).and_then(Value::as_u64).and_then(|n| u8::try_from(n).ok());
    let level = strings(json, "markings").first().and_then(|m| ids::TLP.into_iter().find(|t| t.1 == m));
    out = Short {
        description: string(json, "description"),
        modified,
        author,
        types: strings(json, "playbook_types"),
        activities: strings(json, "playbook_activities"),
        labels: strings(json, "labels"),
        tlp: level.map(|t| t.0.trim_start_matches("TLP:").to_owned()),
        priority: small("priority"),
        severity: small("severity"),
        impact: small("impact"),
        techniques: listed("techniques"),
        rules: listed("rules"),
        words: listed("words"),
        restricted: listed("restricted"),
        generated: own.and_then(|o| o.get("generated")).and_then(Value::as_object).map(made),
        facts: own.map(facts).unwrap_or_default(),
        vars: variables(json, "playbook_variables"),
        ..out
    };
    for (name, from) in own.and_then(|o| o.get("clocks")).and_then(Value::as_object).into_iter().flatten() {
        let inner = name.trim_start_matches("__").trim_end_matches("__");
        if let Some(var) = out.vars.get_mut(inner) {
            var.clock = from.as_str().map(str::to_owned);
        }
    }
    for (name, words) in own.and_then(|o| o.get("choices")).and_then(Value::as_object).into_iter().flatten() {
        let inner = name.trim_start_matches("__").trim_end_matches("__");
        let words: Option<Vec<String>> =
            words.as_array().into_iter().flatten().map(|w| w.as_str().map(str::to_owned)).collect();
        if let (Some(var), Some(words)) = (out.vars.get_mut(inner), words) {
            var.choices = words;
        }
    }
    steps(json, &mut out);
    out
}

fn made(o: &Object) -> Made {
    Made {
        model: string(o, "model"),
        prompt_sha256: string(o, "prompt_sha256"),
        at: string(o, "at"),
        edited_by: strings(o, "edited_by"),
    }
}

fn string(o: &Object, key: &str) -> Option<String> {
    o.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// A list of strings, or nothing: half of it would be another list.
fn strings(o: &Object, key: &str) -> Vec<String> {
    let all = o.get(key).and_then(Value::as_array).into_iter().flatten().map(|v| v.as_str().map(str::to_owned));
    all.collect::<Option<_>>().unwrap_or_default()
}

fn facts(own: &Object) -> BTreeMap<String, String> {
    let all = own.get("facts").and_then(Value::as_object).into_iter().flatten();
    let one = |(name, word): (&String, &Value)| {
        let inner = name.strip_prefix("__")?.strip_suffix("__").filter(|_| ids::is_variable(name))?;
        Some((inner.to_owned(), word.as_str()?.to_owned()))
    };
    all.map(one).collect::<Option<_>>().unwrap_or_default()
}

fn variables(o: &Object, key: &str) -> BTreeMap<String, Var> {
    let all = o.get(key).and_then(Value::as_object).into_iter().flatten();
    let one = |(name, v): (&String, &Value)| {
        let inner = name.strip_prefix("__")?.strip_suffix("__").filter(|_| ids::is_variable(name))?;
        let v = v.as_object()?;
        let flag = |key: &str| v.get(key).and_then(Value::as_bool);
        let var = Var {
            kind: string(v, "type")?,
            about: string(v, "description"),
            value: string(v, "value"),
            constant: flag("constant"),
            external: flag("external"),
            choices: Vec::new(),
            clock: None,
        };
        Some((inner.to_owned(), var))
    };
    all.filter_map(one).collect()
}

/// Steps in the order of the document, so that most need no `then`.
fn steps(json: &Object, out: &mut Short) {
    let Some(workflow) = json.get("workflow").and_then(Value::as_object) else { return };
    let mut taken = BTreeSet::from([END.to_owned()]);
    let mut keys: BTreeMap<&str, String> = BTreeMap::new();
    let objects: Vec<(&String, &Object)> = workflow.iter().filter_map(|(id, v)| Some((id, v.as_object()?))).collect();
    let playbook = out.id.clone().unwrap_or_else(|| expand::playbook_id(&out.key));
    let start = string(json, "workflow_start").unwrap_or_default();
    let made_start = ids::derived("start", &[&playbook, "start"]);
    for (id, o) in &objects {
        let kind = o.get("type").and_then(Value::as_str).unwrap_or_default();
        let bare_end = kind == "end" && o.len() == 1;
        let own_start = kind == "start" && **id == start && **id == made_start;
        if bare_end || own_start || !known(kind) {
            continue;
        }
        let named = view::extension(o, "step_extensions").and_then(|e| string(e, "key")).filter(|k| ids::is_key(k));
        let key = named.unwrap_or_else(|| ids::key_of(o.get("name").and_then(Value::as_str).unwrap_or(kind)));
        let key = if ids::is_key(&key) { key } else { kind.to_owned() };
        keys.insert(id, free(&key, &mut taken));
    }
    // The step a start step leads to comes first: the short form makes its own start step for it.
    let first = workflow.get(&start).and_then(|s| s.get("on_completion")).and_then(Value::as_str);
    let mut order: Vec<&(&String, &Object)> = objects.iter().filter(|(id, _)| keys.contains_key(id.as_str())).collect();
    order.sort_by_key(|(id, _)| Some(id.as_str()) != first);
    out.exception = string(json, "workflow_exception").and_then(|e| keys.get(e.as_str()).cloned());
    out.steps = order.iter().map(|(id, o)| entry(id, o, &keys, &playbook, json)).collect();
    implied(&mut out.steps);
}

fn known(kind: &str) -> bool {
    // A start step that is not ours is kept as it is.
    ["action", "playbook-action", "parallel", "if-condition", "while-condition", "switch-condition", "end"]
        .contains(&kind)
}

fn free(key: &str, taken: &mut BTreeSet<String>) -> String {
    let mut out = key.to_owned();
    let mut n = 2;
    while !taken.insert(out.clone()) {
        out = format!("{key}-{n}");
        n += 1;
    }
    out
}

/// Leaves out what the order says anyway.
fn implied(steps: &mut [Entry]) {
    for i in 0..steps.len() {
        let below = steps.get(i + 1).map_or(END, |n| n.key.as_str()).to_owned();
        if steps[i].then.as_deref() == Some(&below) {
            steps[i].then = None;
        }
    }
}

fn entry(id: &str, o: &Object, keys: &BTreeMap<&str, String>, playbook: &str, json: &Object) -> Entry {
    let kind = o.get("type").and_then(Value::as_str).unwrap_or_default();
    let own = view::extension(o, "step_extensions");
    let key = keys.get(id).cloned().unwrap_or_default();
    let to = |name: &str, way: &str| -> Option<String> {
        let target = o.get(name).and_then(Value::as_str)?;
        Some(word(target, &key, way, keys, playbook))
    };
    let told = |name: &str| own.and_then(|e| string(e, name));
    let listed = |name: &str| own.map(|e| strings(e, name)).unwrap_or_default();
    let time = |o: Option<&Object>, name: &str| {
        o.and_then(|o| o.get(name)).and_then(Value::as_u64).filter(|n| *n > 0).map(expand::span)
    };
    let args = |name: &str| -> Vec<String> {
        let all = strings(o, name).into_iter();
        let inner = |n: String| n.strip_prefix("__").and_then(|n| n.strip_suffix("__")).map(str::to_owned);
        all.map(inner).collect::<Option<_>>().unwrap_or_default()
    };
    let failed = to("on_failure", "failed");
    let then = if failed.is_some() { to("on_success", "then") } else { to("on_completion", "then") };
    let mut e = Entry {
        who: told("who"),
        name: string(o, "name"),
        about: string(o, "description"),
        phase: told("phase"),
        delay: time(Some(o), "delay"),
        timeout: time(Some(o), "timeout"),
        time_box: time(own, "time_box"),
        vars: variables(o, "step_variables"),
        uses: args("in_args"),
        gives: args("out_args"),
        react: listed("react"),
        techniques: listed("techniques"),
        look_at: told("look_at"),
        attach: listed("attach"),
        stop_when: told("stop_when"),
        sign_off: listed("sign_off"),
        prompt: told("prompt"),
        then,
        failed,
        ..Entry::default()
    };
    match kind {
        "end" => e.end = Some(true),
        "playbook-action" => e.playbook = Some(string(o, "playbook_id").unwrap_or_default()),
        "parallel" => {
            let heads = strings(o, "next_steps");
            e.parallel = Some(heads.iter().map(|h| word(h, &key, "parallel", keys, playbook)).collect());
        }
        "if-condition" | "while-condition" => {
            let condition = Some(string(o, "condition").unwrap_or_default());
            if kind == "if-condition" {
                e.when = condition
            } else {
                e.repeat = condition
            }
            (e.yes, e.no) = (to("on_true", "yes"), to("on_false", "no"));
        }
        "switch-condition" => {
            e.switch = Some(string(o, "switch").unwrap_or_default());
            let cases = o.get("cases").and_then(Value::as_object).into_iter().flatten();
            let head = |(v, h): (&String, &Value)| {
                let way = format!("case {v}");
                Some((v.clone(), word(h.as_str()?, &key, &way, keys, playbook)))
            };
            e.cases = Some(cases.filter_map(head).collect());
        }
        _ => action(o, json, &mut e),
    }
    e.key = key;
    let derived = ids::derived(expand::kind_of(&e), &[playbook, &e.key]);
    e.id = (derived != id).then(|| id.to_owned());
    e
}

/// A step by its key, an end that was made for this way as `end`, anything else by its identifier.
fn word(target: &str, key: &str, way: &str, keys: &BTreeMap<&str, String>, playbook: &str) -> String {
    if let Some(k) = keys.get(target) {
        return k.clone();
    }
    if target == ids::derived("end", &[playbook, key, way]) { END.to_owned() } else { target.to_owned() }
}

fn action(o: &Object, json: &Object, e: &mut Entry) {
    let agent = string(o, "agent").unwrap_or_default();
    let defined = json.get("agent_definitions").and_then(|d| d.get(&agent)).and_then(|a| a.get("name"));
    let name = defined.and_then(Value::as_str).unwrap_or("analyst");
    if expand::agent_id(name) == agent {
        e.who = Some(name.to_owned());
    }
    for c in o.get("commands").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object) {
        let (Some(kind), text) = (string(c, "type"), string(c, "command")) else { continue };
        let slot = match kind.as_str() {
            "manual" => &mut e.manual,
            crate::model::playbook::ACTION => &mut e.action,
            crate::model::playbook::ANSIBLE => &mut e.ansible,
            crate::model::playbook::OPENSEARCH => &mut e.query,
            "http-api" => &mut e.http,
            "ssh" => &mut e.ssh,
            "bash" => &mut e.bash,
            "sigma" => &mut e.sigma,
            _ => continue,
        };
        if slot.is_none() {
            *slot = text;
        }
    }
}
