//! Each value and where it came from.

use serde_json::Value as Json;

use super::Loaded;
use super::fault::nearest;
use super::keys::{KEYS, Key, Kind, SECTIONS, dotted};
use super::layer::{KeyPath, Layer, Origin};
use super::secret::Reference;

/// One setting as it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Explained {
    pub key: String,
    /// `null` when it is not set and has no default. Of a secret, its reference.
    pub value: Json,
    /// `default`, or the layer and the place.
    pub from: String,
    pub about: &'static str,
}

/// Every setting, in the order of the sample.
pub fn explain(loaded: &Loaded) -> Vec<Explained> {
    let Ok(root) = serde_json::to_value(&loaded.settings) else { return Vec::new() };
    let mut out = Vec::new();
    for key in KEYS {
        let segments: Vec<&str> = key.segments().collect();
        let of = key.path.rsplit_once('.').map_or("", |(of, _)| of);
        let section = SECTIONS.iter().position(|s| s.path == of).unwrap_or(usize::MAX);
        visit(&root, &segments, &mut KeyPath::new(), &mut |path, value| {
            let default = Origin { layer: Layer::Default, place: None };
            let from = loaded.origins.get(path).unwrap_or(&default).to_string();
            let table = path[..path.len().saturating_sub(1)].to_vec();
            let row = Explained { key: dotted(path), value: shown(key, value), from, about: key.about };
            out.push((section, table, row));
        });
    }
    // Stable: what belongs to one source stands together, in the order of the table of keys.
    out.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    out.into_iter().map(|(_, _, row)| row).collect()
}

/// Settings at or under `key`, or the sentence about there being none.
pub fn explain_one(loaded: &Loaded, key: &str) -> Result<Vec<Explained>, String> {
    let all = explain(loaded);
    let under = |k: &str| k == key || k.strip_prefix(key).is_some_and(|r| r.starts_with('.'));
    let found: Vec<Explained> = all.iter().filter(|e| under(&e.key)).cloned().collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let sections = SECTIONS.iter().map(|s| s.path).filter(|p| !p.contains('*'));
    Err(match nearest(key, all.iter().map(|e| e.key.as_str()).chain(sections)) {
        Some(near) => format!("there is no setting {key:?}; did you mean {near}?"),
        None => format!("there is no setting {key:?}; see: watchfloor config explain"),
    })
}

/// Calls `each` for every value the pattern fits; names of tables fill in for `*`.
pub fn visit(node: &Json, pattern: &[&str], path: &mut KeyPath, each: &mut impl FnMut(&KeyPath, &Json)) {
    let Some((first, rest)) = pattern.split_first() else { return each(path, node) };
    let Json::Object(map) = node else { return };
    for (name, child) in map.iter().filter(|(n, _)| *first == "*" || n == first) {
        path.push(name.clone());
        visit(child, rest, path, each);
        path.pop();
    }
}

/// A reference is shown as one; anything else in its place is not.
fn shown(key: &Key, value: &Json) -> Json {
    match (key.kind, value) {
        (Kind::Secret, Json::String(text)) => {
            text.parse::<Reference>().map_or_else(|_| "(hidden)".to_owned(), |r| r.to_string()).into()
        }
        _ => value.clone(),
    }
}
