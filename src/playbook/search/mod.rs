//! The search a step carries (`query` in the short form), made ready to be sent to `_search` of OpenSearch, and its answer
//! read. Pure. It is a text in Lucene's syntax, or a JSON body, told by its first character; the command may name its
//! `index`, else everything that may be searched is.
//!
//! Values of variables come from people and alerts. In a body each becomes a JSON value inside the parsed JSON; in a text
//! each is escaped: no value changes what is searched for other than by being looked for.

mod answer;
mod body;
mod lucene;
mod pieces;
#[cfg(test)]
mod tests;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::config::indices;
use crate::model::playbook::Command;
use crate::model::playbook::OPENSEARCH;
use crate::model::playbook::Step;

pub use answer::read;

/// Hits asked for at most.
pub const MOST_HITS: u64 = 100;
/// Of the search itself, told to the server: after that it answers with what it has.
pub const SERVER_TIME: &str = "15s";
/// Bytes of a search with its values.
const LONGEST: usize = 32 << 10;
/// Deeper pages are refused by the server.
const DEEPEST_PAGE: u64 = 9_900;

/// What a variable holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub text: String,
    /// Of `variable-type-ov`.
    pub kind: String,
}

impl Known {
    /// As a JSON value of its type. Never an object or a list.
    fn typed(&self) -> Value {
        let number = match self.kind.as_str() {
            "integer" | "long" => self.text.parse::<i64>().ok().map(Value::from),
            "float" => self.text.parse::<f64>().ok().filter(|f| f.is_finite()).map(Value::from),
            "bool" => match self.text.to_ascii_lowercase().as_str() {
                "true" | "1" => Some(true.into()),
                "false" | "0" => Some(false.into()),
                _ => None,
            },
            _ => None,
        };
        number.unwrap_or_else(|| Value::String(self.text.clone()))
    }
}

/// What is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// Names and patterns, each of them let.
    pub indices: Vec<String>,
    pub body: Value,
}

/// The searches of a step, in its order.
pub fn of_step(step: &Step) -> impl Iterator<Item = &Command> {
    step.commands.iter().filter(|c| c.kind == OPENSEARCH)
}

/// Makes it ready. `value` answers what a variable (with its underscores) holds, `None` where that is not known.
///
/// # Errors
/// Why it is not sent, in words that may quote the playbook.
pub fn prepare(
    command: &Command,
    allowed: &[String],
    value: &mut dyn FnMut(&str) -> Option<Known>,
) -> Result<Search, String> {
    let indices = wanted(command, allowed)?;
    let text = command.text.expose().trim();
    if text.is_empty() {
        return Err("the search is empty".into());
    }
    let mut value = |name: &str| {
        let bare = name.trim_matches('_');
        match value(name) {
            None => Err(format!("{bare} is not known yet")),
            // Nothing, as a part of something, is everything.
            Some(k) if k.text.trim().is_empty() => Err(format!("{bare} is empty")),
            Some(k) => Ok(k),
        }
    };
    let mut body = if text.starts_with('{') {
        let parsed: Value = serde_json::from_str(text).map_err(|e| format!("the search is no JSON: {e}"))?;
        let Value::Object(parsed) = parsed else { return Err("the search is no JSON object".into()) };
        body::Filler { value: &mut value }.body(parsed)?
    } else {
        let text = lucene::fill(text, &mut |name| Ok(value(name)?.text))?;
        Map::from_iter([("query".to_owned(), json!({ "query_string": { "query": text } }))])
    };
    let size = whole(&body, "size")?.unwrap_or(MOST_HITS).min(MOST_HITS);
    if whole(&body, "from")?.is_some_and(|n| n > DEEPEST_PAGE) {
        return Err(format!("from: at most {DEEPEST_PAGE}"));
    }
    body.insert("size".into(), size.into());
    body.insert("timeout".into(), SERVER_TIME.into());
    let body = Value::Object(body);
    match body.to_string().len() {
        n if n > LONGEST => Err(format!("the search has {n} bytes with its values; at most {LONGEST} are sent")),
        _ => Ok(Search { indices, body }),
    }
}

/// Whether a desk that lets everything be searched would send it, with whatever values.
///
/// # Errors
/// Why not.
pub fn sendable(command: &Command) -> Result<(), String> {
    let everything = ["*".to_owned(), ".*".to_owned()];
    let value = Known { text: "x".into(), kind: "string".into() };
    prepare(command, &everything, &mut |_| Some(value.clone())).map(|_| ())
}

fn whole(body: &Map<String, Value>, key: &str) -> Result<Option<u64>, String> {
    match body.get(key) {
        None => Ok(None),
        Some(v) => v.as_u64().map(Some).ok_or_else(|| format!("{key}: a whole number was expected")),
    }
}

/// The indices a command names, else all that may be searched.
fn wanted(command: &Command, allowed: &[String]) -> Result<Vec<String>, String> {
    if allowed.is_empty() {
        return Err("no index may be searched here (playbooks.query_indices)".into());
    }
    let named: Vec<String> = match command.more.get("index") {
        None => return Ok(allowed.to_vec()),
        Some(Value::String(all)) => all.split(',').map(|n| n.trim().to_owned()).collect(),
        Some(Value::Array(all)) => all.iter().map(|n| n.as_str().unwrap_or_default().to_owned()).collect(),
        Some(_) => return Err("index: a name or a list of names was expected".into()),
    };
    for name in &named {
        indices::check(name).map_err(|why| format!("index {name:?}: {why}"))?;
        if !indices::covered(name, allowed) {
            let allowed = allowed.join(", ");
            return Err(format!(
                "index {name} may not be searched here; what may is {allowed} (playbooks.query_indices)"
            ));
        }
    }
    if named.is_empty() { Err("index: a name was expected".into()) } else { Ok(named) }
}
