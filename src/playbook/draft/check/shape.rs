//! The shapes a draft may have: what [`super::super::expand()`] writes, and little more. A property that is not listed
//! here is a place where something could hide.

use serde_json::Map;
use serde_json::Value;

use super::Out;
use super::acts;
use super::below;
use super::prose;
use super::prose::Place;
use super::quoted;
use crate::model::playbook::ACTION;
use crate::model::playbook::ANSIBLE;
use crate::model::playbook::GENERATED;
use crate::model::playbook::OPENSEARCH;
use crate::model::playbook::Phase;
use crate::playbook::Document;
use crate::playbook::draft::Scope;
use crate::playbook::ids;
use crate::playbook::kinds;
use crate::playbook::lint;
use crate::playbook::react;
use crate::playbook::short::expand;

type Object = Map<String, Value>;

const MOST_STEPS: usize = 40;
const MOST_VARIABLES: usize = 40;
/// Characters of a name, of a description, of what a step says.
const NAME: usize = 120;
const TEXT: usize = 1_200;
/// A week in milliseconds: a draft that waits longer waits for nobody to look.
const LONGEST: u64 = 7 * 86_400_000;
/// Who a step may be for. Anybody else is a way to send people somewhere.
const AGENTS: [&str; 14] = [
    "analyst",
    "lead",
    "commander",
    "approver",
    "forensics",
    "identity",
    "network",
    "platform",
    "mail",
    "service desk",
    "legal",
    "privacy",
    "communications",
    "owner",
];

pub(super) struct Reader<'a> {
    pub scope: &'a Scope,
    pub out: &'a mut Out,
}

pub(super) fn check(doc: &Document, scope: &Scope, out: &mut Out) {
    let mut r = Reader { scope, out };
    let json = doc.json();
    for (key, v) in json {
        let at = below("", key);
        match key.as_str() {
            "type" | "spec_version" => r.plain(v, &at),
            "id" | "workflow_start" | "workflow_exception" => r.id(v, &at),
            "created_by" => {
                if v.as_str() != Some(&ids::model_identity()) {
                    r.out.error(&at, "mark", "a model wrote it, and this says that somebody else did");
                }
            }
            "created" | "modified" => r.time(v, &at),
            "name" => r.prose(v, &at, NAME),
            "description" => r.prose(v, &at, TEXT),
            "playbook_types" | "playbook_activities" => r.words(v, &at, 12),
            "labels" => r.words(v, &at, 12),
            "priority" | "severity" | "impact" => r.number(v, &at, 100),
            "markings" => r.markings(v, &at),
            "data_marking_definitions" => r.marking_definitions(v, &at),
            "playbook_variables" => r.variables(v, &at),
            "workflow" => r.workflow(v, &at),
            "playbook_extensions" => r.extension(v, &at, Reader::of_playbook),
            "extension_definitions" => r.extension_definitions(v, &at),
            "agent_definitions" => r.agents(v, &at),
            _ => r.unknown(key, v, &at),
        }
    }
    let labelled = json.get("labels").and_then(Value::as_array).into_iter().flatten();
    if !labelled.filter_map(Value::as_str).any(|l| l == GENERATED) {
        r.out.error("/labels", "mark", format!("a model wrote it, and the label {GENERATED} is missing"));
    }
    if !json.contains_key("created_by") {
        r.out.error("/created_by", "mark", "who made it is missing");
    }
    takes_place(json, scope, r.out);
}

/// A draft must not take the place of a playbook that people trust.
fn takes_place(json: &Object, scope: &Scope, out: &mut Out) {
    let own = json.get("playbook_extensions").and_then(|e| e.get(ids::EXTENSION));
    let key = own.and_then(|o| o.get("key"));
    for (at, word) in [("/id", json.get("id")), ("/playbook_extensions", key)] {
        match word.and_then(Value::as_str) {
            Some(word) if scope.playbooks.contains(word) => {
                out.error(at, "takes-place", format!("{word} is another playbook's: the draft would take its place"));
            }
            Some(_) => {}
            None => out.error(at, "takes-place", "it has no name of its own"),
        }
    }
}

impl Reader<'_> {
    fn unknown(&mut self, key: &str, v: &Value, at: &str) {
        let what = format!("a draft has no {}: what stands there nobody checks", quoted(key));
        self.out.error(at, "unknown-property", what);
        // It is read all the same: what it hides is named too.
        self.everything(v, at);
        prose::check(key, Place::text(at), self.scope, self.out);
    }

    fn everything(&mut self, v: &Value, at: &str) {
        match v {
            Value::String(t) => prose::check(t, Place::text(at), self.scope, self.out),
            Value::Array(all) => {
                for (i, v) in all.iter().enumerate().take(100) {
                    self.everything(v, &below(at, &i.to_string()));
                }
            }
            Value::Object(all) => {
                for (k, v) in all.iter().take(100) {
                    let at = below(at, k);
                    prose::check(k, Place::text(&at), self.scope, self.out);
                    self.everything(v, &at);
                }
            }
            _ => {}
        }
    }

    fn wrong(&mut self, v: &Value, at: &str, wanted: &str) {
        self.out.error(at, "wrong-type", format!("{wanted} was expected"));
        self.everything(v, at);
    }

    /// A word of a vocabulary: short, of lower case letters, digits and a few marks.
    fn plain(&mut self, v: &Value, at: &str) {
        match v.as_str() {
            Some(t) if ids::is_plain(t) && t.len() <= 64 => {}
            _ => self.wrong(v, at, "a plain word"),
        }
    }

    fn id(&mut self, v: &Value, at: &str) {
        match v.as_str() {
            Some(t) if ids::split(t).is_some_and(|(kind, _)| kind.len() <= 24) => {}
            _ => self.wrong(v, at, "an identifier"),
        }
    }

    fn time(&mut self, v: &Value, at: &str) {
        if !v.as_str().is_some_and(|t| t.len() <= 40 && t.parse::<jiff::Timestamp>().is_ok()) {
            self.wrong(v, at, "a time");
        }
    }

    fn number(&mut self, v: &Value, at: &str, most: u64) {
        if v.as_u64().is_none_or(|n| n > most) {
            self.wrong(v, at, &format!("a number up to {most}"));
        }
    }

    fn flag(&mut self, v: &Value, at: &str) {
        if !v.is_boolean() {
            self.wrong(v, at, "true or false");
        }
    }

    fn words(&mut self, v: &Value, at: &str, most: usize) {
        let Some(all) = v.as_array().filter(|a| a.len() <= most) else {
            return self.wrong(v, at, "a short list of words");
        };
        for (i, v) in all.iter().enumerate() {
            let at = below(at, &i.to_string());
            self.plain(v, &at);
            // A label is shown too.
            if let Some(t) = v.as_str().filter(|t| *t != GENERATED) {
                prose::check(t, Place::text(&at), self.scope, self.out);
            }
        }
    }

    fn prose(&mut self, v: &Value, at: &str, most: usize) {
        self.prose_of(v, at, most, None);
    }

    /// `act`: the action of the step it belongs to.
    fn prose_of(&mut self, v: &Value, at: &str, most: usize, act: Option<&str>) {
        let Some(t) = v.as_str() else { return self.wrong(v, at, "a text") };
        let n = t.chars().count();
        if n > most {
            self.out.error(at, "oversize", format!("{n} characters; at most {most} are read by anybody"));
        }
        prose::check(t, Place { at, act }, self.scope, self.out);
    }

    fn object<'v>(&mut self, v: &'v Value, at: &str, most: usize) -> Option<&'v Object> {
        match v.as_object() {
            Some(o) if o.len() <= most => Some(o),
            Some(o) => {
                self.out.error(at, "oversize", format!("{} entries; at most {most}", o.len()));
                None
            }
            None => {
                self.wrong(v, at, "an object");
                None
            }
        }
    }

    fn markings(&mut self, v: &Value, at: &str) {
        let known = |v: &Value| v.as_str().is_some_and(|id| ids::TLP.iter().any(|t| t.1 == id));
        if !v.as_array().is_some_and(|all| all.len() == 1 && all.iter().all(known)) {
            self.wrong(v, at, "one marking of TLP 2.0");
        }
    }

    fn marking_definitions(&mut self, v: &Value, at: &str) {
        for (id, v) in self.object(v, at, 5).into_iter().flatten() {
            let at = below(at, id);
            let level = ids::TLP.iter().find(|t| t.1 == id).map(|t| t.0);
            let ours = level.is_some_and(|level| {
                *v == serde_json::json!({
                    "type": "marking-tlp",
                    "id": id,
                    "created_by": expand::identity("watchfloor"),
                    "created": expand::CREATED,
                    "tlpv2_level": level,
                })
            });
            if !ours {
                prose::check(id, Place::text(&at), self.scope, self.out);
                self.wrong(v, &at, "a marking of TLP 2.0 as it is bundled");
            }
        }
    }

    fn extension_definitions(&mut self, v: &Value, at: &str) {
        for (id, v) in self.object(v, at, 5).into_iter().flatten() {
            let at = below(at, id);
            if id != ids::EXTENSION || *v != expand::definition() {
                prose::check(id, Place::text(&at), self.scope, self.out);
                self.wrong(v, &at, "no extension but our own");
            }
        }
    }

    fn agents(&mut self, v: &Value, at: &str) {
        for (id, v) in self.object(v, at, AGENTS.len()).into_iter().flatten() {
            let at = below(at, id);
            let known = |name: &&&str| *v == serde_json::json!({ "type": "group", "name": name });
            match AGENTS.iter().find(known) {
                Some(name) if expand::agent_id(name) == *id => {}
                _ => {
                    prose::check(id, Place::text(&at), self.scope, self.out);
                    let what = format!("not one of {}", AGENTS.join(", "));
                    self.out.error(&at, "unknown-agent", what);
                    self.everything(v, &at);
                }
            }
        }
    }

    fn variables(&mut self, v: &Value, at: &str) {
        for (name, v) in self.object(v, at, MOST_VARIABLES).into_iter().flatten() {
            let at = below(at, name);
            prose::check(&name.trim_matches('_').replace('_', " "), Place::text(&at), self.scope, self.out);
            if !ids::is_variable(name) || name.len() > 40 {
                self.out.error(&at, "wrong-type", "a variable is named __name__, in at most 40 characters");
            }
            let Some(o) = self.object(v, &at, 8) else { continue };
            let kind = o.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
            for (key, v) in o {
                let at = below(&at, key);
                match key.as_str() {
                    "type" if kinds::ALL.contains(&kind.as_str()) => {}
                    "type" => self.wrong(v, &at, "a type of CACAO"),
                    "description" => self.prose(v, &at, NAME * 2),
                    "constant" | "external" => self.flag(v, &at),
                    "value" => self.value(v, &kind, &at),
                    _ => self.unknown(key, v, &at),
                }
            }
        }
    }

    /// A value that is there beforehand is a target of the case, a number or a flag; anything else people give later.
    fn value(&mut self, v: &Value, kind: &str, at: &str) {
        match v.as_str() {
            _ if v.is_null() => {}
            Some("") => {}
            Some(t) if ["bool", "integer", "long", "float"].contains(&kind) && kinds::check(kind, t).is_ok() => {}
            Some(t) if self.scope.knows(t).is_some() => {}
            Some(t) => {
                self.out.error(at, "foreign-target", format!("{} is not of this case", quoted(t)));
                prose::check(t, Place::text(at), self.scope, self.out);
            }
            None => self.wrong(v, at, "a text"),
        }
    }

    fn workflow(&mut self, v: &Value, at: &str) {
        for (id, v) in self.object(v, at, MOST_STEPS * 2).into_iter().flatten() {
            let at = below(at, id);
            if !ids::is_plain(id) || ids::split(id).is_none() {
                self.out.error(&at, "wrong-type", "a step is named by an identifier");
                prose::check(id, Place::text(&at), self.scope, self.out);
            }
            if let Some(o) = self.object(v, &at, 30) {
                self.step(o, &at);
            }
        }
    }

    fn step(&mut self, o: &Object, at: &str) {
        let kind = o.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let act = acts::action_of(o).map(str::to_owned);
        let acts = matches!(kind.as_str(), "action" | "playbook-action");
        for (key, v) in o {
            let at = below(at, key);
            match (key.as_str(), kind.as_str()) {
                ("type", "start" | "end" | "action" | "playbook-action" | "parallel") => {}
                ("type", "if-condition" | "switch-condition") => {}
                ("type", "while-condition") => {
                    self.out.error(&at, "loop", "a draft does not go round: people start it again");
                }
                ("type", _) => self.wrong(v, &at, "a type of step"),
                ("name", _) => self.prose_of(v, &at, NAME, act.as_deref()),
                ("description", _) => self.prose_of(v, &at, TEXT, act.as_deref()),
                ("delay" | "timeout", _) => self.number(v, &at, LONGEST),
                ("on_completion" | "on_success" | "on_failure", _) => self.id(v, &at),
                ("on_true" | "on_false", "if-condition" | "while-condition") => self.id(v, &at),
                ("condition", "if-condition" | "while-condition") => self.condition(v, &at),
                ("switch", "switch-condition") => self.condition(v, &at),
                ("cases", "switch-condition") => {
                    for (case, v) in self.object(v, &at, 12).into_iter().flatten() {
                        let at = below(&at, case);
                        prose::check(case, Place::text(&at), self.scope, self.out);
                        self.id(v, &at);
                    }
                }
                ("next_steps", "parallel") => match v.as_array().filter(|a| a.len() <= MOST_STEPS) {
                    Some(all) => all.iter().for_each(|v| self.id(v, &at)),
                    None => self.wrong(v, &at, "a list of identifiers"),
                },
                ("in_args" | "out_args", _) if acts => self.args(v, &at),
                ("step_variables", _) => self.variables(v, &at),
                ("playbook_id", "playbook-action") => self.other(v, &at),
                ("agent", "action") => self.agent(v, &at),
                ("commands", "action") => self.commands(v, &at, act.as_deref()),
                ("step_extensions", _) => {
                    let act = act.clone();
                    self.extension(v, &at, move |r: &mut Self, o: &Object, at: &str| r.of_step(o, at, act.as_deref()));
                }
                _ => self.unknown(key, v, &at),
            }
        }
    }

    fn condition(&mut self, v: &Value, at: &str) {
        let Some(t) = v.as_str().filter(|t| t.len() <= 300) else { return self.wrong(v, at, "a short condition") };
        // Its grammar is the linter's; texts inside of it are prose.
        let bare = ids::references(t).iter().fold(t.to_owned(), |t, name| t.replace(&format!("{name}:value"), "x"));
        if bare.chars().any(|c| !(c.is_ascii_alphanumeric() || " ()='\"<>!,.-_%".contains(c))) {
            prose::check(&bare, Place::text(at), self.scope, self.out);
            self.out.error(at, "wrong-type", "a condition compares variables with plain words and numbers");
        }
        for text in bare.split('\'').skip(1).step_by(2) {
            prose::check(text, Place::text(at), self.scope, self.out);
        }
    }

    fn args(&mut self, v: &Value, at: &str) {
        let named = |v: &Value| v.as_str().is_some_and(|n| ids::is_variable(n) && n.len() <= 40);
        if !v.as_array().is_some_and(|all| all.len() <= MOST_VARIABLES && all.iter().all(named)) {
            self.wrong(v, at, "a list of variables");
        }
    }

    fn other(&mut self, v: &Value, at: &str) {
        match v.as_str() {
            Some(id) if self.scope.playbooks.contains(id) => {}
            Some(id) => {
                let what = format!("{} is no playbook of this desk", quoted(id));
                self.out.error(at, "unknown-playbook", what);
            }
            None => self.wrong(v, at, "the id of a playbook"),
        }
    }

    fn agent(&mut self, v: &Value, at: &str) {
        if !v.as_str().is_some_and(|id| AGENTS.iter().any(|name| expand::agent_id(name) == id)) {
            self.out.error(at, "unknown-agent", format!("not one of {}", AGENTS.join(", ")));
            self.everything(v, at);
        }
    }

    /// The allowlist of commands: what people do by hand, actions of the catalogue, questions to the store of events,
    /// modules of Ansible that only read.
    fn commands(&mut self, v: &Value, at: &str, act: Option<&str>) {
        let Some(all) = v.as_array().filter(|a| a.len() <= 6) else { return self.wrong(v, at, "a few commands") };
        for (i, c) in all.iter().enumerate() {
            let at = below(at, &i.to_string());
            let Some(o) = self.object(c, &at, 6) else { continue };
            let kind = o.get("type").and_then(Value::as_str).unwrap_or_default();
            if !["manual", ACTION, OPENSEARCH, ANSIBLE].contains(&kind) {
                let known = if lint::COMMANDS.contains(&kind) { "is not for drafts" } else { "is not known" };
                let what = format!("a command of type {} {known}: by hand, or by an action", quoted(kind));
                self.out.error(&at, "command-not-allowed", what);
            }
            for (key, v) in o {
                let at = below(&at, key);
                match (key.as_str(), kind) {
                    ("type", _) => {}
                    ("command", "manual") | ("description", _) => self.prose_of(v, &at, TEXT, act),
                    // Whether there is such an action is looked at with its targets.
                    ("command", ACTION) => self.plain(v, &at),
                    ("command", OPENSEARCH) => acts::query(v, &at, self),
                    ("command", ANSIBLE) => acts::ansible(v, &at, self),
                    _ => self.unknown(key, v, &at),
                }
            }
        }
    }

    fn extension(&mut self, v: &Value, at: &str, own: impl FnOnce(&mut Self, &Object, &str)) {
        let mut own = Some(own);
        for (id, v) in self.object(v, at, 5).into_iter().flatten() {
            let at = below(at, id);
            match (v.as_object(), id == ids::EXTENSION) {
                (Some(o), true) => {
                    if let Some(own) = own.take() {
                        own(self, o, &at);
                    }
                }
                _ => self.unknown(id, v, &at),
            }
        }
    }

    fn of_playbook(&mut self, o: &Object, at: &str) {
        for (key, v) in o {
            let at = below(at, key);
            match key.as_str() {
                "key" => self.plain(v, &at),
                "techniques" => self.words(v, &at, 12),
                "generated" => self.generated(v, &at),
                "rules" | "words" | "restricted" => {
                    let what = "a draft says nothing about whom or which alerts it is for besides its own";
                    self.out.error(&at, "takes-place", what);
                    self.everything(v, &at);
                }
                _ => self.unknown(key, v, &at),
            }
        }
    }

    /// What we write there ourselves; the model's name is as its server says it.
    fn generated(&mut self, v: &Value, at: &str) {
        for (key, v) in self.object(v, at, 4).into_iter().flatten() {
            let at = below(at, key);
            let short = |v: &Value| {
                v.as_str().is_some_and(|t| {
                    t.len() <= 200 && t.chars().all(|c| c.is_ascii_alphanumeric() || " ._-:/@+".contains(c))
                })
            };
            let ok = match key.as_str() {
                "model" => short(v),
                "prompt_sha256" => v.as_str().is_some_and(|t| kinds::check("sha256-hash", t).is_ok()),
                "at" => v.as_str().is_some_and(|t| t.parse::<jiff::Timestamp>().is_ok()),
                "edited_by" => v.as_array().is_some_and(|all| all.len() <= 50 && all.iter().all(short)),
                _ => false,
            };
            if !ok {
                self.unknown(key, v, &at);
            }
        }
    }

    fn of_step(&mut self, o: &Object, at: &str, act: Option<&str>) {
        for (key, v) in o {
            let at = below(at, key);
            match key.as_str() {
                "key" => self.plain(v, &at),
                "phase" if v.as_str().and_then(Phase::of).is_some() => {}
                "techniques" => self.words(v, &at, 12),
                "react" if v.as_array().is_some_and(|a| a.iter().all(is_react)) => {}
                "time_box" => self.number(v, &at, LONGEST),
                "look_at" | "stop_when" | "prompt" => self.prose_of(v, &at, TEXT / 2, act),
                "attach" => match v.as_array().filter(|a| a.len() <= 10) {
                    Some(all) => all.iter().for_each(|v| self.prose(v, &at, NAME * 2)),
                    None => self.wrong(v, &at, "a short list of texts"),
                },
                "sign_off" => self.words(v, &at, 6),
                "who" if v.as_str().is_some_and(|w| AGENTS.contains(&w)) => {}
                _ => self.unknown(key, v, &at),
            }
        }
    }
}

fn is_react(v: &Value) -> bool {
    v.as_str().is_some_and(|id| react::name(id).is_some())
}
