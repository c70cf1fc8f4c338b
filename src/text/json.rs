//! JSON for a pipe or a terminal: the same value, with every character that could drive a terminal
//! or hide from a reader written as `\uXXXX`. Any JSON parser reads back exactly what went in.

use std::fmt::Write as _;

use serde::Serialize;

use super::chars::{is_clinging, is_hidden};

/// One line.
///
/// # Errors
/// When the value does not serialise.
pub fn to_safe_json<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(value).map(escape)
}

/// Indented.
///
/// # Errors
/// When the value does not serialise.
pub fn to_safe_json_pretty<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value).map(escape)
}

/// Letters and digits of any script stay; all else beyond ASCII, and what hides among letters, is escaped. Such
/// characters stand only inside strings, and serde_json has escaped the ASCII controls already.
fn is_risky(c: char) -> bool {
    c == '\u{7f}' || (!c.is_ascii() && (!c.is_alphanumeric() || is_hidden(c) || is_clinging(c)))
}

fn escape(json: String) -> String {
    if json.bytes().all(|b| b.is_ascii() && b != 0x7f) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 32);
    for c in json.chars() {
        if is_risky(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::hostile;

    #[test]
    fn risky_characters_are_escaped() {
        let json = to_safe_json(&"a\u{1b}\u{202e}\u{200b}é中😀\u{7f}e\u{301}\u{e0041}").expect("json");
        assert_eq!(json, r#""a\u001b\u202e\u200bé中\ud83d\ude00\u007fe\u0301\udb40\udc41""#);
    }

    proptest! {
        #[test]
        fn lossless_and_safe(text: String, nasty in prop::sample::select(hostile::fragments())) {
            let value = serde_json::json!({ "k": [text.clone(), format!("{text}{nasty}")], nasty: 1 });
            for json in [to_safe_json(&value), to_safe_json_pretty(&value)] {
                let json = json.expect("json");
                prop_assert!(json.chars().all(|c| c == '\n' || !is_risky(c) && !is_hidden(c)));
                let back: serde_json::Value = serde_json::from_str(&json).expect("valid");
                prop_assert_eq!(&back, &value);
            }
        }
    }
}
