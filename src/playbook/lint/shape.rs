//! Properties, their types, identifiers, times: sections 3 to 10 of CACAO 2.0.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Map;
use serde_json::Value;

use super::COMMANDS;
use super::Out;
use super::Pointer;
use crate::config::fault::nearest;
use crate::playbook::Document;
use crate::playbook::ids;

type Object = Map<String, Value>;

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Bool,
    /// A whole number in a range.
    Whole(u64, u64),
    /// An identifier; of one of these types, where any are named.
    Id(&'static [&'static str]),
    Ids(&'static [&'static str]),
    Time,
    Texts,
    Dict,
    List,
}

/// Name, type, whether it must be there.
type Prop = (&'static str, Kind, bool);

const STEPS: [&str; 8] =
    ["start", "end", "action", "playbook-action", "parallel", "if-condition", "while-condition", "switch-condition"];

const PLAYBOOK: [Prop; 35] = [
    ("type", Kind::Text, true),
    ("spec_version", Kind::Text, true),
    ("id", Kind::Id(&["playbook"]), true),
    ("name", Kind::Text, true),
    ("description", Kind::Text, false),
    ("playbook_types", Kind::Texts, false),
    ("playbook_activities", Kind::Texts, false),
    ("playbook_processing_summary", Kind::Dict, false),
    ("created_by", Kind::Id(&["identity"]), true),
    ("created", Kind::Time, true),
    ("modified", Kind::Time, true),
    ("revoked", Kind::Bool, false),
    ("valid_from", Kind::Time, false),
    ("valid_until", Kind::Time, false),
    ("derived_from", Kind::Ids(&["playbook"]), false),
    ("related_to", Kind::Ids(&[]), false),
    ("priority", Kind::Whole(0, 100), false),
    ("severity", Kind::Whole(0, 100), false),
    ("impact", Kind::Whole(0, 100), false),
    ("industry_sectors", Kind::Texts, false),
    ("labels", Kind::Texts, false),
    ("external_references", Kind::List, false),
    ("markings", Kind::Ids(&["marking-tlp", "marking-statement", "marking-iep"]), false),
    ("playbook_variables", Kind::Dict, false),
    ("workflow_start", Kind::Id(&STEPS), true),
    ("workflow_exception", Kind::Id(&STEPS), false),
    ("workflow", Kind::Dict, true),
    ("playbook_extensions", Kind::Dict, false),
    ("authentication_info_definitions", Kind::Dict, false),
    ("agent_definitions", Kind::Dict, false),
    ("target_definitions", Kind::Dict, false),
    ("extension_definitions", Kind::Dict, false),
    ("data_marking_definitions", Kind::Dict, false),
    ("signatures", Kind::List, false),
    ("$schema", Kind::Text, false),
];

/// A year in milliseconds: nobody waits longer.
const LONGEST: u64 = 366 * 86_400_000;

const STEP: [Prop; 11] = [
    ("type", Kind::Text, true),
    ("name", Kind::Text, false),
    ("description", Kind::Text, false),
    ("external_references", Kind::List, false),
    ("delay", Kind::Whole(0, LONGEST), false),
    ("timeout", Kind::Whole(0, LONGEST), false),
    ("step_variables", Kind::Dict, false),
    ("owner", Kind::Id(&["identity"]), false),
    ("on_completion", Kind::Id(&STEPS), false),
    ("on_success", Kind::Id(&STEPS), false),
    ("on_failure", Kind::Id(&STEPS), false),
];

fn of_kind(kind: &str) -> &'static [Prop] {
    match kind {
        "action" => &[
            ("commands", Kind::List, true),
            ("agent", Kind::Text, true),
            ("targets", Kind::Texts, false),
            ("in_args", Kind::Texts, false),
            ("out_args", Kind::Texts, false),
        ],
        "playbook-action" => &[
            ("playbook_id", Kind::Id(&["playbook"]), true),
            ("playbook_version", Kind::Time, false),
            ("in_args", Kind::Texts, false),
            ("out_args", Kind::Texts, false),
        ],
        "parallel" => &[("next_steps", Kind::Ids(&STEPS), true)],
        "if-condition" => &[
            ("condition", Kind::Text, true),
            ("on_true", Kind::Id(&STEPS), true),
            ("on_false", Kind::Id(&STEPS), false),
        ],
        "while-condition" => &[("condition", Kind::Text, true), ("on_true", Kind::Id(&STEPS), true)],
        "switch-condition" => &[("switch", Kind::Text, true), ("cases", Kind::Dict, true)],
        _ => &[],
    }
}

pub(super) fn check(doc: &Document, out: &mut Out) {
    let json = doc.json();
    let root = Pointer::default();
    props(json, &PLAYBOOK, &root, out);
    unknown(json, &[&PLAYBOOK], &[], &root, out);
    if let Some(version) = json.get("spec_version").and_then(Value::as_str)
        && version != "cacao-2.0"
    {
        out.error(&root.to("spec_version"), "bad-version", format!("{version:?}; \"cacao-2.0\" was expected"));
    }
    times(json, &root, out);
    for (id, step) in object(json, "workflow") {
        workflow_step(json, id, step, out);
    }
    one_uuid_each(json, out);
    definitions(json, out);
}

fn object<'a>(o: &'a Object, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    o.get(key).and_then(Value::as_object).into_iter().flatten()
}

fn props(o: &Object, props: &[Prop], at: &Pointer, out: &mut Out) {
    for (name, kind, required) in props {
        match o.get(*name) {
            Some(v) => typed(v, *kind, &at.to(name), out),
            None if *required => out.error(at, "missing-property", format!("{name:?} is missing")),
            None => {}
        }
    }
}

/// What the standard has no property for may stand there; a slip of the pen should be seen.
fn unknown(o: &Object, known: &[&[Prop]], more: &[&str], at: &Pointer, out: &mut Out) {
    for name in o.keys() {
        let all = || known.iter().flat_map(|k| k.iter()).map(|p| p.0).chain(more.iter().copied());
        if !all().any(|k| k == name) {
            let meant = nearest(name, all()).map(|n| format!("; did you mean {n:?}?")).unwrap_or_default();
            out.note(&at.to(name), "unknown-property", format!("CACAO 2.0 has no property {name:?} here{meant}"));
        }
    }
}

fn typed(v: &Value, kind: Kind, at: &Pointer, out: &mut Out) {
    let wrong = |out: &mut Out, wanted: &str| {
        out.error(at, "wrong-type", format!("{} was expected, not {}", wanted, word(v)));
    };
    match (kind, v) {
        (Kind::Text, Value::String(_)) | (Kind::Bool, Value::Bool(_)) | (Kind::Dict, Value::Object(_)) => {}
        (Kind::Text, _) => wrong(out, "a string"),
        (Kind::Bool, _) => wrong(out, "true or false"),
        (Kind::Dict, _) => wrong(out, "an object"),
        (Kind::Whole(low, high), _) => match v.as_u64() {
            Some(n) if (low..=high).contains(&n) => {}
            Some(n) => out.error(at, "out-of-range", format!("{n}; {low} to {high} was expected")),
            None => wrong(out, "a whole number"),
        },
        (Kind::Id(types), Value::String(id)) => identifier(id, types, at, out),
        (Kind::Id(_), _) => wrong(out, "an identifier"),
        (Kind::Time, Value::String(t)) => timestamp(t, at, out),
        (Kind::Time, _) => wrong(out, "a time"),
        (Kind::Ids(_) | Kind::Texts | Kind::List, Value::Array(all)) => {
            if all.is_empty() {
                out.note(at, "empty-list", "a list has at least one item, or is left out");
            }
            for (i, item) in all.iter().enumerate() {
                match kind {
                    Kind::Ids(types) => typed(item, Kind::Id(types), &at.nth(i), out),
                    Kind::Texts => typed(item, Kind::Text, &at.nth(i), out),
                    _ if !item.is_object() => {
                        out.error(&at.nth(i), "wrong-type", format!("an object was expected, not {}", word(item)));
                    }
                    _ => {}
                }
            }
        }
        (Kind::Ids(_) | Kind::Texts | Kind::List, _) => wrong(out, "a list"),
    }
}

fn word(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn identifier(id: &str, types: &[&str], at: &Pointer, out: &mut Out) {
    match ids::split(id) {
        None if !ids::is_plain(id) => {
            out.error(at, "bad-identifier", format!("{id:?} is no identifier (type--UUID)"));
        }
        None => out.warn(at, "bad-identifier", format!("{id:?} is no identifier (type--UUID)")),
        Some((kind, _)) if !types.is_empty() && !types.contains(&kind) => {
            let wanted = types.join(", ");
            out.warn(at, "wrong-reference", format!("{id:?} is of type {kind}; {wanted} was expected"));
        }
        Some(_) => {}
    }
}

/// RFC 3339 in UTC with milliseconds (section 10.16).
fn timestamp(text: &str, at: &Pointer, out: &mut Out) {
    if text.parse::<Timestamp>().is_err() {
        out.error(at, "bad-timestamp", format!("{text:?} is no time such as 2026-01-31T09:00:00.000Z"));
    } else if !is_exact(text) {
        out.note(at, "bad-timestamp", format!("{text:?}: UTC with exactly three decimals and a Z was expected"));
    }
}

fn is_exact(text: &str) -> bool {
    let b = text.as_bytes();
    b.len() == 24 && b[10] == b'T' && b[19] == b'.' && b[23] == b'Z' && b[20..23].iter().all(u8::is_ascii_digit)
}

fn times(json: &Object, root: &Pointer, out: &mut Out) {
    let time = |key: &str| json.get(key).and_then(Value::as_str).and_then(|t| t.parse::<Timestamp>().ok());
    for (early, late) in [("created", "modified"), ("valid_from", "valid_until")] {
        if let (Some(a), Some(b)) = (time(early), time(late))
            && b < a
        {
            out.warn(&root.to(late), "time-order", format!("{late} is before {early}"));
        }
    }
}

fn workflow_step(json: &Object, id: &str, step: &Value, out: &mut Out) {
    let at = Pointer::step(id);
    let Some(o) = step.as_object() else {
        out.error(&at, "wrong-type", format!("a step was expected, not {}", word(step)));
        return;
    };
    let kind = o.get("type").and_then(Value::as_str).unwrap_or_default();
    if !STEPS.contains(&kind) && o.contains_key("type") {
        let meant = nearest(kind, STEPS).map(|n| format!("; did you mean {n:?}?")).unwrap_or_default();
        out.error(&at.to("type"), "unknown-step-type", format!("{kind:?} is no type of step{meant}"));
    }
    match ids::split(id) {
        None if ids::is_plain(id) => out.warn(&at, "bad-identifier", "the key of a step is type--UUID"),
        None => out.error(&at, "bad-identifier", "the key of a step is type--UUID"),
        Some((named, _)) if STEPS.contains(&kind) && named != kind => {
            out.warn(&at, "bad-identifier", format!("the key says {named}, the step says {kind}"));
        }
        Some(_) => {}
    }
    props(o, &STEP, &at, out);
    props(o, of_kind(kind), &at, out);
    unknown(o, &[&STEP, of_kind(kind)], &["step_extensions"], &at, out);
    if let Some(all) = o.get("commands").and_then(Value::as_array) {
        let at = at.to("commands");
        if all.is_empty() {
            out.error(&at, "missing-command", "an action has at least one command");
        }
        all.iter().enumerate().for_each(|(i, c)| command(c, &at.nth(i), out));
    }
    references(json, o, kind, &at, out);
}

fn command(c: &Value, at: &Pointer, out: &mut Out) {
    let Some(o) = c.as_object() else { return };
    let Some(kind) = o.get("type").and_then(Value::as_str) else {
        out.error(at, "missing-property", "\"type\" is missing");
        return;
    };
    if !COMMANDS.contains(&kind) {
        let meant = nearest(kind, COMMANDS).map(|n| format!("; did you mean {n:?}?")).unwrap_or_default();
        out.error(&at.to("type"), "unknown-command", format!("{kind:?} is no command we know{meant}"));
    }
    let told = |key: &str| o.get(key).and_then(Value::as_str).is_some_and(|t| !t.trim().is_empty());
    if !told("command") && !told("command_b64") && COMMANDS.contains(&kind) {
        out.error(at, "missing-command", format!("a {kind} command says what to do in \"command\""));
    }
    if kind == "http-api" && told("command") {
        let line = o.get("command").and_then(Value::as_str).unwrap_or_default();
        start_line(line, &at.to("command"), out);
    }
    for key in ["command_b64", "content_b64"] {
        use base64::Engine as _;
        let bad = |t: &&str| base64::engine::general_purpose::STANDARD.decode(t).is_err();
        if o.get(key).and_then(Value::as_str).filter(bad).is_some() {
            out.error(&at.to(key), "bad-base64", "this is not base64");
        }
    }
}

/// `METHOD target HTTP/1.1` (section 5.6).
fn start_line(line: &str, at: &Pointer, out: &mut Out) {
    const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    let mut words = line.split_ascii_whitespace();
    let (method, target, version) = (words.next(), words.next(), words.next());
    if !method.is_some_and(|m| METHODS.contains(&m)) || target.is_none() {
        out.warn(at, "bad-http", "an HTTP start line such as \"GET /path HTTP/1.1\" was expected");
    } else if version.is_none_or(|v| !v.starts_with("HTTP/")) || words.next().is_some() {
        out.note(at, "bad-http", "an HTTP start line ends with the version, such as HTTP/1.1");
    }
}

/// Agents and targets must be defined.
fn references(json: &Object, o: &Object, kind: &str, at: &Pointer, out: &mut Out) {
    let defined = |dict: &str, id: &str| json.get(dict).and_then(|d| d.get(id)).is_some();
    if let Some(agent) = o.get("agent").and_then(Value::as_str)
        && kind == "action"
        && !defined("agent_definitions", agent)
    {
        out.warn(&at.to("agent"), "missing-agent", format!("{agent:?} is not among agent_definitions"));
    }
    let targets = o.get("targets").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for (i, target) in targets.enumerate() {
        if !defined("target_definitions", target) {
            let what = format!("{target:?} is not among target_definitions");
            out.warn(&at.to("targets").nth(i), "missing-target", what);
        }
    }
    for (id, _) in object(o, "step_extensions") {
        if id != ids::EXTENSION && !defined("extension_definitions", id) {
            let at = at.to("step_extensions").to(id);
            out.note(&at, "missing-extension", "no such definition in extension_definitions");
        }
    }
}

/// A UUID belongs to one object, whatever its type (section 10.10).
fn one_uuid_each(json: &Object, out: &mut Out) {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    let own = json.get("id").and_then(Value::as_str);
    for id in own.into_iter().chain(object(json, "workflow").map(|s| s.0.as_str())) {
        let Some((_, uuid)) = ids::split(id) else { continue };
        if let Some(first) = seen.insert(uuid, id) {
            out.warn(&Pointer::step(id), "shared-uuid", format!("the UUID is that of {first} too"));
        }
    }
}

fn definitions(json: &Object, out: &mut Out) {
    let root = Pointer::default();
    for dict in ["agent_definitions", "target_definitions", "authentication_info_definitions"] {
        for (id, v) in object(json, dict) {
            let at = root.to(dict).to(id);
            let Some(o) = v.as_object() else {
                out.error(&at, "wrong-type", format!("an object was expected, not {}", word(v)));
                continue;
            };
            let named: &[Prop] = &[("type", Kind::Text, true), ("name", Kind::Text, true)];
            props(o, if dict.starts_with("auth") { &named[..1] } else { named }, &at, out);
            identifier(id, &[], &at, out);
            if let Some(auth) = o.get("authentication_info").and_then(Value::as_str)
                && json.get("authentication_info_definitions").and_then(|d| d.get(auth)).is_none()
            {
                let what = format!("{auth:?} is not among authentication_info_definitions");
                out.warn(&at.to("authentication_info"), "missing-authentication", what);
            }
        }
    }
    let markings = json.get("markings").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for (i, id) in markings.enumerate() {
        let defined = json.get("data_marking_definitions").and_then(|d| d.get(id)).is_some();
        if !defined && !ids::TLP.iter().any(|t| t.1 == id) {
            let at = root.to("markings").nth(i);
            out.warn(&at, "missing-marking", format!("{id:?} is not among data_marking_definitions"));
        }
    }
    for (id, v) in object(json, "data_marking_definitions") {
        let level = v.get("tlpv2_level").and_then(Value::as_str);
        let is_tlp = v.get("type").and_then(Value::as_str) == Some("marking-tlp");
        if is_tlp && level.and_then(crate::model::playbook::Tlp::of).is_none() {
            let at = root.to("data_marking_definitions").to(id);
            out.error(&at, "bad-marking", "tlpv2_level is one of TLP:CLEAR, GREEN, AMBER, AMBER+STRICT, RED");
        }
    }
}
