//! What the short form has no word for: differences between two JSON objects, as places and values.

use serde::Deserialize;
use serde::Serialize;
use serde_json::Map;
use serde_json::Value;

/// One place: the JSON that is there, or nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Also {
    /// JSON pointer (RFC 6901); only through objects.
    pub at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone: Option<bool>,
}

/// What turns `from` into `to`.
pub(super) fn between(from: &Map<String, Value>, to: &Map<String, Value>) -> Vec<Also> {
    let mut out = Vec::new();
    objects(from, to, "", &mut out);
    out
}

fn objects(from: &Map<String, Value>, to: &Map<String, Value>, at: &str, out: &mut Vec<Also>) {
    let place = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    for key in from.keys().filter(|k| !to.contains_key(*k)) {
        out.push(Also { at: place(key), json: None, gone: Some(true) });
    }
    for (key, value) in to {
        match (from.get(key), value) {
            (Some(Value::Object(a)), Value::Object(b)) => objects(a, b, &place(key), out),
            (Some(a), b) if a == b => {}
            _ => out.push(Also { at: place(key), json: Some(value.to_string()), gone: None }),
        }
    }
}

/// # Errors
/// What cannot be put there.
pub(super) fn apply(json: &mut Map<String, Value>, also: &[Also]) -> Result<(), String> {
    for a in also {
        let wrong = |why: &str| format!("[[also]] at {:?}: {why}", a.at);
        let path = a.at.strip_prefix('/').ok_or_else(|| wrong("a JSON pointer begins with /"))?;
        let mut keys: Vec<String> = path.split('/').map(|k| k.replace("~1", "/").replace("~0", "~")).collect();
        let last = keys.pop().ok_or_else(|| wrong("nothing is named"))?;
        let mut here = &mut *json;
        for key in keys {
            let next = here.entry(key).or_insert_with(|| Value::Object(Map::new()));
            here = next.as_object_mut().ok_or_else(|| wrong("it goes through something that is no object"))?;
        }
        match (&a.json, a.gone) {
            (Some(text), None) => {
                let value = serde_json::from_str(text).map_err(|e| wrong(&format!("no JSON: {e}")))?;
                here.insert(last, value);
            }
            (None, Some(true)) => drop(here.shift_remove(&last)),
            _ => return Err(wrong("either json or gone = true was expected")),
        }
    }
    Ok(())
}
