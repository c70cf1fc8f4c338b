//! JSON for a pipe or a terminal: the same value, with every character that could drive a terminal
//! or hide from a reader written as `\uXXXX`. Any JSON parser reads back exactly what went in.

use std::fmt::Write as _;

use serde::Serialize;

pub fn to_safe_json<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(value).map(|s| escape(&s))
}

pub fn to_safe_json_pretty<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value).map(|s| escape(&s))
}

fn escape(json: &str) -> String {
    let risky = |c: char| !c.is_ascii() && !c.is_alphanumeric() || c == '\u{7f}';
    if !json.contains(risky) {
        return json.to_owned();
    }
    let mut out = String::with_capacity(json.len() + 32);
    for c in json.chars() {
        if risky(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}
