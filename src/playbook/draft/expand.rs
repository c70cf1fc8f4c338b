//! From a model's sketch to a document: ours in everything but the words.

use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

use super::Scope;
use super::What;
use super::answer::Kind;
use super::answer::NONE;
use super::answer::Part;
use super::answer::Sketch;
use super::answer::When;
use crate::model::action::Tier;
use crate::model::playbook::GENERATED;
use crate::playbook::Document;
use crate::playbook::ids;
use crate::playbook::kinds;
use crate::playbook::short;
use crate::text::Untrusted;

/// What the safety checks look for where an action has no way back.
pub(super) const NO_WAY_BACK: &str = "It cannot be undone";

/// Where a draft comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// A short name of its own.
    pub key: String,
    pub at: Timestamp,
    pub model: Untrusted,
    /// SHA-256 of the prompt, hex.
    pub prompt: String,
}

/// Makes the document. Actions and targets go into it as the model wrote them: whether they may stand there is for the
/// checks to say.
///
/// # Errors
/// When it makes no document.
pub fn expand(sketch: &Sketch, scope: &Scope, from: &Origin) -> Result<Document, String> {
    let mut made = Making { scope, vars: Vec::new(), steps: Vec::new(), asked: 0 };
    made.all(&sketch.steps);
    made.steps.push(stuck());
    let vars: serde_json::Map<String, Value> = made.vars.into_iter().map(|(name, var, _)| (name, var)).collect();
    let at = from.at.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
    short::from_value(json!({
        "key": from.key,
        "title": sketch.title,
        "description": sketch.summary,
        "created": at,
        "author": ids::model_identity(),
        "types": ["investigation"],
        "labels": [GENERATED],
        "techniques": scope.techniques.iter().take(8).collect::<Vec<_>>(),
        "exception": STUCK,
        "generated": { "model": from.model, "prompt_sha256": from.prompt, "at": at },
        "vars": vars,
        "steps": made.steps,
    }))
}

const STUCK: &str = "stuck";
const END: &str = "end";

/// Where it goes when a step fails; the words are ours.
fn stuck() -> Value {
    json!({
        "key": STUCK,
        "name": "Tell the lead what failed",
        "phase": "communicate",
        "who": "analyst",
        "do": "Say which step failed and what was tried. The lead decides how to go on.",
        "then": END,
    })
}

struct Making<'a> {
    scope: &'a Scope,
    /// Name, declaration, and the value of a target.
    vars: Vec<(String, Value, String)>,
    steps: Vec<Value>,
    asked: usize,
}

impl Making<'_> {
    /// Steps in order; those that hang on an answer become the branches of a condition.
    fn all(&mut self, parts: &[Part]) {
        let mut i = 0;
        while let Some(part) = parts.get(i) {
            let mut step = self.step(part, i);
            let below = parts.get(i + 1..).unwrap_or_default();
            let hanging = below.iter().take_while(|p| p.only_if != When::Always).count();
            if part.kind != Kind::Ask || hanging == 0 {
                // One that hangs on no question is worked always.
                let then = if i + 1 < parts.len() { key(i + 1) } else { END.to_owned() };
                step["then"] = then.into();
                self.steps.push(step);
                i += 1;
                continue;
            }
            self.asked += 1;
            let name = format!("answer_{}", self.asked);
            let var = json!({ "type": "bool", "about": "The answer: true for yes, false for no" });
            self.vars.push((name.clone(), var, String::new()));
            let choice = format!("choice-{}", i + 1);
            step["gives"] = json!([name]);
            step["then"] = choice.clone().into();
            self.steps.push(step);
            let all: Vec<usize> = (i + 1..=i + hanging).collect();
            let branch = |when: When| -> Vec<usize> {
                all.iter().copied().filter(|n| parts.get(*n).is_some_and(|p| p.only_if == when)).collect()
            };
            let (yes, no) = (branch(When::Yes), branch(When::No));
            let after = if i + hanging + 1 < parts.len() { key(i + hanging + 1) } else { END.to_owned() };
            // `yes` must lead somewhere: without a step for it, the condition is turned round.
            let (condition, first, second) = if yes.is_empty() {
                (format!("NOT __{name}__:value"), no, yes)
            } else {
                (format!("__{name}__:value"), yes, no)
            };
            let mut decide = json!({ "key": choice, "name": "Go on by the answer", "if": condition, "then": after });
            for (way, branch) in [("yes", &first), ("no", &second)] {
                if let Some(head) = branch.first() {
                    decide[way] = key(*head).into();
                }
            }
            self.steps.push(decide);
            for branch in [first, second] {
                for (n, at) in branch.iter().enumerate() {
                    let Some(part) = parts.get(*at) else { continue };
                    let mut step = self.step(part, *at);
                    step["then"] = branch.get(n + 1).map_or_else(|| END.to_owned(), |next| key(*next)).into();
                    self.steps.push(step);
                }
            }
            i += hanging + 1;
        }
    }

    fn step(&mut self, part: &Part, i: usize) -> Value {
        let mut step = json!({
            "key": key(i),
            "name": part.name,
            "phase": part.phase.word(),
            "who": "analyst",
            "do": part.text,
            "time_box": "30m",
        });
        if part.kind != Kind::Act && part.action == NONE && part.targets.is_empty() {
            return step;
        }
        step["action"] = part.action.clone().into();
        let mut used: Vec<String> = Vec::new();
        for t in &part.targets {
            let name = self.target(t);
            if !used.contains(&name) {
                used.push(name);
            }
        }
        step["uses"] = used.into();
        match self.scope.act(&part.action) {
            Some(a) if a.tier == Tier::T0 => {}
            Some(a) => match &a.undo {
                Some(undo) => step["look_at"] = format!("The way back is the action {undo}").into(),
                None => {
                    step["stop_when"] = format!("{NO_WAY_BACK}: the lead agrees first, or it is left").into();
                    step["sign_off"] = json!(["lead"]);
                }
            },
            None => {}
        }
        step
    }

    /// The constant that holds a target; each target has one.
    fn target(&mut self, t: &Untrusted) -> String {
        if let Some((name, ..)) = self.vars.iter().find(|v| v.2 == t.expose()) {
            return name.clone();
        }
        let kind = match self.scope.knows(t.expose()) {
            Some(What::Address) => {
                ["ipv4-addr", "ipv6-addr"].into_iter().find(|k| kinds::check(k, t.expose()).is_ok()).unwrap_or("string")
            }
            Some(What::Url) if kinds::check("uri", t.expose()).is_ok() => "uri",
            Some(What::Hash) => "hash",
            _ => "string",
        };
        let name = format!("target_{}", self.vars.iter().filter(|v| !v.2.is_empty()).count() + 1);
        let var = json!({ "type": kind, "about": "A target of an action", "value": t, "constant": true });
        self.vars.push((name.clone(), var, t.expose().to_owned()));
        name
    }
}

fn key(i: usize) -> String {
    format!("step-{}", i + 1)
}
