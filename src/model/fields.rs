//! An alert's record as paths and values, for the detail pane, for quotes and for prompts.

use serde::{Deserialize, Serialize};

use crate::text::Untrusted;

/// One leaf of a record: `rule.mitre.id[0]` = `T1078`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    pub path: Untrusted,
    pub value: Untrusted,
}

/// Leaves kept at most, so that a hostile record cannot flood anything downstream.
pub const MAX_LEAVES: usize = 4096;

/// Flattens JSON into its leaves, in document order, at most [`MAX_LEAVES`] of them.
pub fn flatten(value: &serde_json::Value) -> Vec<Field> {
    let mut out = Vec::new();
    walk(value, &mut String::new(), &mut out);
    out
}

fn walk(value: &serde_json::Value, path: &mut String, out: &mut Vec<Field>) {
    use serde_json::Value;
    use std::fmt::Write as _;
    if out.len() >= MAX_LEAVES {
        return;
    }
    let len = path.len();
    match value {
        Value::Object(map) => {
            for (k, v) in map {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(k);
                walk(v, path, out);
                path.truncate(len);
            }
        }
        Value::Array(items) => {
            for (i, v) in items.iter().enumerate() {
                let _ = write!(path, "[{i}]");
                walk(v, path, out);
                path.truncate(len);
            }
        }
        leaf => {
            let value = match leaf {
                Value::String(s) => s.clone(),
                other => other.to_string(),
            };
            out.push(Field { path: Untrusted::new(path.clone()), value: value.into() });
        }
    }
}
