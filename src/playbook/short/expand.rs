//! From the short form to a CACAO document.

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::END;
use super::Entry;
use super::Short;
use super::Var;
use super::patch;
use crate::model::playbook::ACTION;
use crate::model::playbook::ANSIBLE;
use crate::model::playbook::OPENSEARCH;
use crate::model::playbook::Tlp;
use crate::playbook::Document;
use crate::playbook::ids;

type Object = Map<String, Value>;

/// The key of the step it is about (empty: of none), and what is wrong.
type Wrong = Vec<(String, String)>;

pub(super) fn document(short: &Short) -> Result<Document, Wrong> {
    let mut wrong = Wrong::new();
    let made = Made::new(short, &mut wrong);
    let mut json = head(short, &made, &mut wrong);
    let mut workflow = Object::new();
    if let Some(first) = short.steps.first() {
        workflow.insert(made.start.clone(), json!({ "type": "start", "on_completion": made.id_of(first) }));
    }
    let mut ends = Vec::new();
    for (i, entry) in short.steps.iter().enumerate() {
        let step = made.step(short, i, entry, &mut ends, &mut wrong);
        workflow.insert(made.id_of(entry), Value::Object(step));
    }
    for end in ends {
        workflow.entry(end).or_insert_with(|| json!({ "type": "end" }));
    }
    json.insert("workflow".into(), Value::Object(workflow));
    made.definitions(short, &mut json);
    if let Err(why) = patch::apply(&mut json, &short.also) {
        wrong.push((String::new(), why));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Document::of(Value::Object(json)).map_err(|e| vec![(String::new(), e.to_string())])
}

/// Identifiers that follow from the names.
pub(super) struct Made {
    pub playbook: String,
    pub start: String,
    /// Key to id.
    steps: BTreeMap<String, String>,
}

impl Made {
    pub(super) fn new(short: &Short, wrong: &mut Wrong) -> Self {
        let playbook = short.id.clone().unwrap_or_else(|| playbook_id(&short.key));
        if !ids::is_key(&short.key) {
            wrong.push((String::new(), format!("key {:?}: lower case letters, digits and hyphens", short.key)));
        }
        let mut steps = BTreeMap::new();
        for e in &short.steps {
            if !ids::is_key(&e.key) || e.key == END {
                wrong.push((
                    e.key.clone(),
                    format!("key {:?}: lower case letters, digits, hyphens; not {END:?}", e.key),
                ));
            }
            let id = e.id.clone().unwrap_or_else(|| ids::derived(kind_of(e), &[&playbook, &e.key]));
            if steps.insert(e.key.clone(), id).is_some() {
                wrong.push((e.key.clone(), format!("a second step of the key {:?}", e.key)));
            }
        }
        let start = ids::derived("start", &[&playbook, "start"]);
        Self { playbook, start, steps }
    }

    pub(super) fn id_of(&self, e: &Entry) -> String {
        self.steps.get(&e.key).cloned().unwrap_or_default()
    }

    /// The end step made for one way out of one step.
    pub(super) fn end_of(&self, key: &str, way: &str) -> String {
        ids::derived("end", &[&self.playbook, key, way])
    }

    fn goes(&self, from: &Entry, way: &str, to: &str, ends: &mut Vec<String>, wrong: &mut Wrong) -> Value {
        if to == END {
            let id = self.end_of(&from.key, way);
            ends.push(id.clone());
            return Value::String(id);
        }
        match self.steps.get(to) {
            Some(id) => Value::String(id.clone()),
            // An identifier is taken as it is: the linter says whether it is there.
            None if ids::split(to).is_some() => Value::String(to.to_owned()),
            None => {
                let near = crate::config::fault::nearest(to, self.steps.keys().map(String::as_str));
                let near = near.map(|n| format!("; did you mean {n:?}?")).unwrap_or_default();
                wrong.push((
                    from.key.clone(),
                    format!("step {:?}: {way} = {to:?}: there is no such step{near}", from.key),
                ));
                Value::Null
            }
        }
    }

    fn step(&self, short: &Short, i: usize, e: &Entry, ends: &mut Vec<String>, wrong: &mut Wrong) -> Object {
        let mut o = Object::new();
        let kind = kind_of(e);
        o.insert("type".into(), kind.into());
        put(&mut o, "name", e.name.as_deref());
        put(&mut o, "description", e.about.as_deref());
        for (name, time) in [("delay", &e.delay), ("timeout", &e.timeout)] {
            if let Some(ms) = time.as_ref().and_then(|t| self.millis(e, name, t, wrong)) {
                o.insert(name.into(), ms.into());
            }
        }
        variables(&mut o, "step_variables", &e.vars);
        if e.vars.values().any(|v| !v.choices.is_empty() || v.clock.is_some()) {
            wrong
                .push((e.key.clone(), format!("step {:?}: only a playbook's variables have choices or clocks", e.key)));
        }
        if kinds(e) > 1 {
            wrong.push((e.key.clone(), format!("step {:?} is two things at once", e.key)));
        }
        match kind {
            "action" => action(&mut o, e),
            "playbook-action" => {
                let named = e.playbook.as_deref().unwrap_or_default();
                let id = if ids::split(named).is_some() { named.to_owned() } else { playbook_id(named) };
                o.insert("playbook_id".into(), id.into());
            }
            "parallel" => {
                let heads = e.parallel.iter().flatten().map(|h| self.goes(e, "parallel", h, ends, wrong));
                o.insert("next_steps".into(), Value::Array(heads.collect()));
            }
            "if-condition" | "while-condition" => {
                let condition = e.when.as_deref().or(e.repeat.as_deref());
                put(&mut o, "condition", condition);
                for (name, way, to) in [("on_true", "yes", &e.yes), ("on_false", "no", &e.no)] {
                    if let Some(to) = to {
                        o.insert(name.into(), self.goes(e, way, to, ends, wrong));
                    }
                }
            }
            "switch-condition" => {
                put(&mut o, "switch", e.switch.as_deref());
                let cases = e.cases.iter().flatten();
                let cases = cases.map(|(v, to)| (v.clone(), self.goes(e, &format!("case {v}"), to, ends, wrong)));
                let cases: Object = cases.collect();
                o.insert("cases".into(), Value::Object(cases));
            }
            _ => {}
        }
        for (name, given) in [("in_args", &e.uses), ("out_args", &e.gives)] {
            if !given.is_empty() {
                o.insert(name.into(), given.iter().map(|n| Value::String(format!("__{n}__"))).collect());
            }
        }
        self.ways(short, i, e, &mut o, ends, wrong);
        self.extension(e, &mut o, wrong);
        o
    }

    /// Where it goes: said, or the step below it in the file, or an end.
    fn ways(&self, short: &Short, i: usize, e: &Entry, o: &mut Object, ends: &mut Vec<String>, wrong: &mut Wrong) {
        if kind_of(e) == "end" {
            return;
        }
        let below = short.steps.get(i + 1).map_or(END, |n| n.key.as_str());
        let to = e.then.as_deref().unwrap_or(below);
        let name = if e.failed.is_some() { "on_success" } else { "on_completion" };
        o.insert(name.into(), self.goes(e, "then", to, ends, wrong));
        if let Some(to) = &e.failed {
            o.insert("on_failure".into(), self.goes(e, "failed", to, ends, wrong));
        }
    }

    fn extension(&self, e: &Entry, o: &mut Object, wrong: &mut Wrong) {
        let mut own = Object::new();
        own.insert("key".into(), e.key.clone().into());
        if kind_of(e) != "action" {
            put(&mut own, "who", e.who.as_deref());
        }
        put(&mut own, "phase", e.phase.as_deref());
        list(&mut own, "react", &e.react);
        list(&mut own, "techniques", &e.techniques);
        if let Some(ms) = e.time_box.as_ref().and_then(|t| self.millis(e, "time_box", t, wrong)) {
            own.insert("time_box".into(), ms.into());
        }
        put(&mut own, "look_at", e.look_at.as_deref());
        list(&mut own, "attach", &e.attach);
        put(&mut own, "stop_when", e.stop_when.as_deref());
        list(&mut own, "sign_off", &e.sign_off);
        put(&mut own, "prompt", e.prompt.as_deref());
        o.insert("step_extensions".into(), json!({ ids::EXTENSION: own }));
    }

    fn millis(&self, e: &Entry, name: &str, text: &str, wrong: &mut Wrong) -> Option<u64> {
        let ms = millis(text);
        if ms.is_none() {
            let what = format!("step {:?}: {name} = {text:?}: a time such as 90s, 15m, 2h or 7d was expected", e.key);
            wrong.push((e.key.clone(), what));
        }
        ms
    }

    fn definitions(&self, short: &Short, json: &mut Object) {
        let mut agents = Object::new();
        for e in short.steps.iter().filter(|e| kind_of(e) == "action") {
            let who = who(e);
            agents.entry(agent_id(who)).or_insert_with(|| json!({ "type": "group", "name": who }));
        }
        if !agents.is_empty() {
            json.insert("agent_definitions".into(), Value::Object(agents));
        }
        json.insert("extension_definitions".into(), json!({ ids::EXTENSION: definition() }));
        if let Some((level, id)) = short.tlp.as_deref().and_then(marking) {
            let marking = json!({
                "type": "marking-tlp",
                "id": id,
                "created_by": identity("watchfloor"),
                "created": CREATED,
                "tlpv2_level": level,
            });
            json.insert("data_marking_definitions".into(), json!({ id: marking }));
        }
    }
}

pub(in crate::playbook) const CREATED: &str = "2026-01-01T00:00:00.000Z";

pub(in crate::playbook) fn definition() -> Value {
    json!({
        "type": "extension-definition",
        "name": "watchfloor",
        "description": "Phase, response actions, time box, sign-off and what to look at, for steps that people do",
        "created_by": identity("watchfloor"),
        "schema": "urn:watchfloor:playbook:1",
        "version": "1.0.0",
    })
}

fn head(short: &Short, made: &Made, wrong: &mut Wrong) -> Object {
    let mut o = Object::new();
    o.insert("type".into(), "playbook".into());
    o.insert("spec_version".into(), "cacao-2.0".into());
    o.insert("id".into(), made.playbook.clone().into());
    o.insert("name".into(), short.title.clone().into());
    put(&mut o, "description", short.description.as_deref());
    list(&mut o, "playbook_types", &short.types);
    list(&mut o, "playbook_activities", &short.activities);
    o.insert("created_by".into(), identity(short.author.as_deref().unwrap_or("watchfloor")).into());
    o.insert("created".into(), short.created.clone().into());
    o.insert("modified".into(), short.modified.as_deref().unwrap_or(&short.created).into());
    for (name, n) in [("priority", short.priority), ("severity", short.severity), ("impact", short.impact)] {
        if let Some(n) = n {
            o.insert(name.into(), n.into());
        }
    }
    list(&mut o, "labels", &short.labels);
    if let Some(tlp) = &short.tlp {
        match marking(tlp) {
            Some((_, id)) => drop(o.insert("markings".into(), json!([id]))),
            None => wrong.push((String::new(), format!("tlp = {tlp:?}: CLEAR, GREEN, AMBER, AMBER+STRICT or RED"))),
        }
    }
    variables(&mut o, "playbook_variables", &short.vars);
    o.insert("workflow_start".into(), made.start.clone().into());
    if let Some(to) = &short.exception {
        match made.steps.get(to) {
            Some(id) => drop(o.insert("workflow_exception".into(), id.clone().into())),
            None => wrong.push((String::new(), format!("exception = {to:?}: there is no such step"))),
        }
    }
    let mut own = Object::new();
    own.insert("key".into(), short.key.clone().into());
    list(&mut own, "techniques", &short.techniques);
    list(&mut own, "rules", &short.rules);
    list(&mut own, "words", &short.words);
    list(&mut own, "restricted", &short.restricted);
    if let Some(made) = &short.generated {
        let mut said = Object::new();
        for (name, text) in [("model", &made.model), ("prompt_sha256", &made.prompt_sha256), ("at", &made.at)] {
            put(&mut said, name, text.as_deref());
        }
        list(&mut said, "edited_by", &made.edited_by);
        own.insert("generated".into(), Value::Object(said));
    }
    let choices = short.vars.iter().filter(|(_, v)| !v.choices.is_empty());
    let choices: Object = choices.map(|(name, v)| (format!("__{name}__"), Value::from(v.choices.clone()))).collect();
    if !choices.is_empty() {
        own.insert("choices".into(), Value::Object(choices));
    }
    let clocks = short.vars.iter().filter_map(|(name, v)| Some((format!("__{name}__"), v.clock.clone()?.into())));
    let clocks: Object = clocks.collect();
    if !clocks.is_empty() {
        own.insert("clocks".into(), Value::Object(clocks));
    }
    if !short.facts.is_empty() {
        let facts = short.facts.iter().map(|(name, word)| (format!("__{name}__"), Value::String(word.clone())));
        own.insert("facts".into(), Value::Object(facts.collect()));
    }
    o.insert("playbook_extensions".into(), json!({ ids::EXTENSION: own }));
    o
}

fn action(o: &mut Object, e: &Entry) {
    o.insert("agent".into(), agent_id(who(e)).into());
    let commands = commands(e)
        .into_iter()
        .filter_map(|(kind, text)| text.as_ref().map(|text| json!({ "type": kind, "command": text })));
    o.insert("commands".into(), commands.collect());
}

/// In the order they are shown.
pub(super) fn commands(e: &Entry) -> [(&'static str, &Option<String>); 8] {
    [
        ("manual", &e.manual),
        (ACTION, &e.action),
        (ANSIBLE, &e.ansible),
        (OPENSEARCH, &e.query),
        ("http-api", &e.http),
        ("ssh", &e.ssh),
        ("bash", &e.bash),
        ("sigma", &e.sigma),
    ]
}

fn kinds(e: &Entry) -> usize {
    let acts = commands(e).iter().any(|c| c.1.is_some());
    let all = [e.end == Some(true), e.playbook.is_some(), e.parallel.is_some(), e.when.is_some()];
    let more = [e.repeat.is_some(), e.switch.is_some(), acts];
    all.iter().chain(&more).filter(|k| **k).count()
}

pub(super) fn kind_of(e: &Entry) -> &'static str {
    match e {
        _ if e.end == Some(true) => "end",
        _ if e.playbook.is_some() => "playbook-action",
        _ if e.parallel.is_some() => "parallel",
        _ if e.when.is_some() => "if-condition",
        _ if e.repeat.is_some() => "while-condition",
        _ if e.switch.is_some() => "switch-condition",
        _ => "action",
    }
}

pub(super) fn who(e: &Entry) -> &str {
    e.who.as_deref().unwrap_or("analyst")
}

pub(super) fn playbook_id(key: &str) -> String {
    ids::derived("playbook", &[key])
}

pub(in crate::playbook) fn agent_id(who: &str) -> String {
    ids::derived("group", &[who])
}

pub(in crate::playbook) fn identity(name: &str) -> String {
    if ids::split(name).is_some() { name.to_owned() } else { ids::derived("identity", &[name]) }
}

pub(super) fn marking(level: &str) -> Option<(&'static str, &'static str)> {
    let level = Tlp::of(level)?.word();
    ids::TLP.into_iter().find(|t| t.0 == level)
}

fn variables(o: &mut Object, key: &str, vars: &BTreeMap<String, Var>) {
    if vars.is_empty() {
        return;
    }
    let one = |v: &Var| {
        let mut o = Object::new();
        o.insert("type".into(), v.kind.clone().into());
        put(&mut o, "description", v.about.as_deref());
        put(&mut o, "value", v.value.as_deref());
        for (name, b) in [("constant", v.constant), ("external", v.external)] {
            if let Some(b) = b {
                o.insert(name.into(), b.into());
            }
        }
        Value::Object(o)
    };
    let all: Object = vars.iter().map(|(name, v)| (format!("__{name}__"), one(v))).collect();
    o.insert(key.into(), Value::Object(all));
}

fn put(o: &mut Object, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        o.insert(key.into(), text.into());
    }
}

fn list(o: &mut Object, key: &str, all: &[String]) {
    if !all.is_empty() {
        o.insert(key.into(), all.iter().map(|s| Value::String(s.clone())).collect());
    }
}

/// `250ms`, `90s`, `15m`, `2h`, `7d` in milliseconds.
pub(super) fn millis(text: &str) -> Option<u64> {
    let (number, unit) = UNITS.iter().find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, ms)))?;
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    number.parse::<u64>().ok().filter(|n| plain && *n > 0)?.checked_mul(*unit)
}

/// The way back, in the largest unit that leaves no rest.
pub(super) fn span(ms: u64) -> String {
    let fits = UNITS.iter().filter(|u| ms.is_multiple_of(u.1)).max_by_key(|u| u.1);
    fits.map_or_else(|| format!("{ms}ms"), |(unit, size)| format!("{}{unit}", ms / size))
}

/// `ms` before `s`: the suffix that is looked for first.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
