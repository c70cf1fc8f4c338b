//! An alert's record as paths and values, for the detail pane, for quotes and for prompts.

use serde::{Deserialize, Serialize};

use crate::text::{self, Untrusted};

/// One leaf of a record: `rule.mitre.id[0]` = `T1078`. A key that itself holds `.`, `[`, `]` or `"`, or is empty, is
/// written as `["host.name"]`, so that no key can pose as a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    pub path: Untrusted,
    pub value: Untrusted,
}

/// Leaves kept at most, so that a hostile record cannot flood anything downstream.
pub const MAX_LEAVES: usize = 4096;

/// Longest path, in bytes; deeper or longer ones end in a count of what was cut.
pub const MAX_PATH: usize = 1024;

/// Flattens JSON into its leaves, in document order, at most [`MAX_LEAVES`] of them.
pub fn flatten(value: &serde_json::Value) -> Vec<Field> {
    let mut out = Leaves::default();
    walk(value, &mut out);
    out.done()
}

fn walk(value: &serde_json::Value, out: &mut Leaves) {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            for (k, v) in map {
                out.key(k, |out| walk(v, out));
            }
        }
        Value::Array(items) => {
            for (i, v) in items.iter().enumerate() {
                out.index(i, |out| walk(v, out));
            }
        }
        Value::String(s) => out.leaf(s),
        other => out.leaf(&other.to_string()),
    }
}

/// Leaves being collected, with the path to where the walk is.
#[derive(Debug, Default)]
pub struct Leaves {
    out: Vec<Field>,
    path: String,
}

impl Leaves {
    /// Walks into the member `key`.
    pub fn key(&mut self, key: &str, walk: impl FnOnce(&mut Self)) {
        if self.full() {
            return;
        }
        let len = self.path.len();
        if key.is_empty() || key.contains(['.', '[', ']', '"']) {
            self.path.push_str("[\"");
            self.path.push_str(short(key).as_ref());
            self.path.push_str("\"]");
        } else {
            if len > 0 {
                self.path.push('.');
            }
            self.path.push_str(short(key).as_ref());
        }
        walk(self);
        self.path.truncate(len);
    }

    /// Walks into the element `index`.
    pub fn index(&mut self, index: usize, walk: impl FnOnce(&mut Self)) {
        use std::fmt::Write as _;
        if self.full() {
            return;
        }
        let len = self.path.len();
        let _ = write!(self.path, "[{index}]");
        walk(self);
        self.path.truncate(len);
    }

    pub fn leaf(&mut self, value: &str) {
        if self.full() {
            return;
        }
        let path = match self.path.len() {
            n if n <= MAX_PATH => self.path.clone(),
            n => {
                let front = text::front(&self.path, MAX_PATH);
                format!("{front}<+{} bytes>", n - front.len())
            }
        };
        self.out.push(Field { path: Untrusted::new(path), value: Untrusted::new(value) });
    }

    /// Adds one leaf at the top, for formats that are not JSON.
    pub fn push(&mut self, path: &str, value: &str) {
        self.key(path, |out| out.leaf(value));
    }

    fn full(&self) -> bool {
        self.out.len() >= MAX_LEAVES
    }

    pub fn done(self) -> Vec<Field> {
        self.out
    }
}

/// A key of up to 256 bytes, a longer one cut and counted.
fn short(key: &str) -> std::borrow::Cow<'_, str> {
    const MAX: usize = 256;
    if key.len() <= MAX {
        return key.into();
    }
    let front = text::front(key, MAX);
    format!("{front}<+{} bytes>", key.len() - front.len()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(json: &str) -> Vec<String> {
        let value: serde_json::Value = serde_json::from_str(json).expect("valid");
        flatten(&value).into_iter().map(|f| f.path.into_exposed()).collect()
    }

    #[test]
    fn paths_name_every_leaf() {
        assert_eq!(paths(r#"{"a":{"b":[1,{"c":null}]},"d":"x"}"#), ["a.b[0]", "a.b[1].c", "d"]);
    }

    #[test]
    fn a_key_cannot_pose_as_a_path() {
        assert_eq!(paths(r#"{"rule.level":1,"rule":{"level":2}}"#), ["[\"rule.level\"]", "rule.level"]);
    }

    #[test]
    fn a_hostile_record_stays_bounded() {
        let mut inner = serde_json::Map::new();
        for i in 0..MAX_LEAVES + 5 {
            inner.insert(i.to_string(), 1.into());
        }
        let value = serde_json::json!({ "k".repeat(1_000_000): inner });
        let leaves = flatten(&value);
        assert_eq!(leaves.len(), MAX_LEAVES);
        assert!(leaves.iter().all(|f| f.path.expose().len() < 400));
    }
}
