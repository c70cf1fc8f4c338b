//! Where a piece of a field's value stands in the bytes of the record.

use std::ops::Range;

/// As deep as the parser of records goes.
const DEPTH: usize = 128;

/// The bytes of `raw` that hold `value[span]`, where `path` names the field as [`crate::model::fields::flatten`] writes
/// it. `None`: the record is no JSON and does not hold the piece exactly once.
pub fn bytes_of(raw: &[u8], path: &str, value: &str, span: (usize, usize)) -> Option<Range<usize>> {
    let piece = value.get(span.0..span.1).filter(|p| !p.is_empty())?;
    in_json(raw, path, value, span).or_else(|| only(raw, piece.as_bytes()))
}

/// Where the piece stands if it stands there once.
fn only(raw: &[u8], piece: &[u8]) -> Option<Range<usize>> {
    let mut found = memchr::memmem::find_iter(raw, piece);
    let at = found.next()?;
    found.next().is_none().then(|| at..at + piece.len())
}

fn in_json(raw: &[u8], path: &str, value: &str, span: (usize, usize)) -> Option<Range<usize>> {
    let text = std::str::from_utf8(raw).ok()?;
    let start = text.find(['{', '['])?;
    let mut walk = Walk { text, at: start, here: String::new(), want: (path, value, span), found: None };
    // What stands after a fault is not looked at; what was found before it counts.
    let _ = walk.value(0);
    walk.found
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
    /// Path of where it stands.
    here: String,
    want: (&'a str, &'a str, (usize, usize)),
    /// The last match: of two members of one name, the last counts.
    found: Option<Range<usize>>,
}

impl Walk<'_> {
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.get(self.at..)?;
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            _ if depth > DEPTH => None,
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => {
                let (value, marks) = self.string(self.want.2)?;
                if self.here == self.want.0 && value == self.want.1 {
                    self.found = marks;
                }
                Some(())
            }
            _ => {
                let rest = self.text.get(self.at..)?;
                let len = rest.find([',', '}', ']', ' ', '\n', '\r', '\t']).unwrap_or(rest.len());
                if self.here == self.want.0 && len > 0 {
                    let token = &rest[..len];
                    let (from, to) = if token == self.want.1 { self.want.2 } else { (0, len) };
                    self.found = Some(self.at + from..self.at + to);
                }
                self.at += len;
                (len > 0).then_some(())
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            return self.take(b'}');
        }
        loop {
            self.peek()?;
            let (key, _) = self.string((0, 0))?;
            self.take(b':')?;
            let len = self.here.len();
            if key.is_empty() || key.contains(['.', '[', ']', '"']) {
                self.here.push_str("[\"");
                self.here.push_str(&key);
                self.here.push_str("\"]");
            } else {
                if len > 0 {
                    self.here.push('.');
                }
                self.here.push_str(&key);
            }
            self.value(depth + 1)?;
            self.here.truncate(len);
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        use std::fmt::Write as _;
        self.take(b'[')?;
        if self.peek()? == b']' {
            return self.take(b']');
        }
        for index in 0_usize.. {
            let len = self.here.len();
            let _ = write!(self.here, "[{index}]");
            self.value(depth + 1)?;
            self.here.truncate(len);
            if self.take(b',').is_none() {
                return self.take(b']');
            }
        }
        None
    }

    /// A string unescaped, and the bytes of the record that became `span` of it.
    fn string(&mut self, span: (usize, usize)) -> Option<(String, Option<Range<usize>>)> {
        self.take(b'"')?;
        let mut out = String::new();
        let (mut from, mut to) = (None, None);
        loop {
            if out.len() >= span.0 {
                from = from.or(Some(self.at));
            }
            if out.len() >= span.1 {
                to = to.or(Some(self.at));
            }
            let rest = self.text.get(self.at..)?;
            let c = rest.chars().next()?;
            match c {
                '"' => {
                    self.at += 1;
                    return Some((out, from.zip(to).map(|(f, t)| f..t)));
                }
                '\\' => {
                    let len = escape(rest);
                    // One escape at a time, by the parser that read the record.
                    let token = format!("\"{}\"", rest.get(..len)?);
                    out.push_str(&serde_json::from_str::<String>(&token).ok()?);
                    self.at += len;
                }
                c => {
                    out.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
    }
}

/// Length of the escape at the front: a pair of surrogates is one.
fn escape(rest: &str) -> usize {
    let unit = |at: usize| rest.get(at..at + 2) == Some("\\u");
    let high =
        rest.get(2..4).is_some_and(|d| matches!(d.as_bytes(), [b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B']));
    match (unit(0), high && unit(6)) {
        (true, true) => 12,
        (true, false) => 6,
        (false, _) => 2,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::model::fields::flatten;

    fn at(raw: &str, path: &str, quote: &str) -> Option<String> {
        let value: Value = serde_json::from_str(raw).unwrap();
        let field = flatten(&value).into_iter().find(|f| f.path.expose() == path)?;
        let start = field.value.expose().find(quote)?;
        let range = bytes_of(raw.as_bytes(), path, field.value.expose(), (start, start + quote.len()))?;
        Some(raw[range].to_owned())
    }

    #[test]
    fn a_quote_is_found_in_the_field_it_names_and_not_where_it_stands_too() {
        let raw = r#"{"other": "needle", "rule": {"id": "needle", "mitre": [{"id": "T1"}, {"id": "a needle b"}]}}"#;
        let value: Value = serde_json::from_str(raw).unwrap();
        let fields = flatten(&value);
        for (path, before) in
            [("other", "\"other\": \""), ("rule.id", "\"rule\": {\"id\": \""), ("rule.mitre[1].id", "\"a ")]
        {
            let field = fields.iter().find(|f| f.path.expose() == path).unwrap();
            let from = field.value.expose().find("needle").unwrap();
            let range = bytes_of(raw.as_bytes(), path, field.value.expose(), (from, from + 6)).unwrap();
            assert_eq!(&raw[range.clone()], "needle");
            assert!(raw[..range.start].ends_with(before), "{path}: {range:?}");
        }
    }

    #[test]
    fn escapes_numbers_and_odd_keys_are_followed() {
        let raw = r#"{"a.b": "x\ty\u00e9\ud83d\ude00z", "n": 4625, "f": 1.50, "": {"q\"": true}}"#;
        assert_eq!(at(raw, "[\"a.b\"]", "\ty\u{e9}").as_deref(), Some(r"\ty\u00e9"));
        assert_eq!(at(raw, "[\"a.b\"]", "\u{1f600}z").as_deref(), Some(r"\ud83d\ude00z"));
        assert_eq!(at(raw, "n", "462").as_deref(), Some("462"));
        assert_eq!(at(raw, "f", "1.5").as_deref(), Some("1.50"), "a number written otherwise is shown whole");
        assert_eq!(at(raw, "[\"\"][\"q\"\"]", "true").as_deref(), Some("true"));
        assert_eq!(at(r#"{"a": "one", "a": "one two"}"#, "a", "one").as_deref(), Some("one"));
    }

    #[test]
    fn what_is_no_json_is_found_only_where_it_is_alone() {
        let raw = b"CEF:0|vendor|product|1|rule|needle|9|msg=once twice twice";
        let find = |value: &str| bytes_of(raw, "msg", value, (0, value.len()));
        assert_eq!(find("needle").map(|r| r.start), Some(28));
        assert_eq!(find("twice"), None, "it stands there twice");
        assert_eq!(find("absent"), None);
        assert_eq!(bytes_of(b"\xff{\"a\":\"needle\"}", "a", "needle", (0, 6)), Some(7..13));
        assert_eq!(bytes_of(b"{\"a\":\"b\"}", "a", "b", (1, 9)), None);
    }

    proptest! {
        #[test]
        fn every_leaf_of_any_record_is_found(
            texts in prop::collection::vec("\\PC{1,12}|[\"\\\\\n\u{1f600}\u{e9}]{1,5}", 1..6),
            keys in prop::collection::vec("[a-c.\\[\\]\"]{0,3}", 6),
            pretty: bool,
        ) {
            let mut inner = serde_json::Map::new();
            for (k, t) in keys.iter().zip(&texts) {
                inner.insert(k.clone(), json!([t, {"x": t}, 17]));
            }
            let value = json!({"first": texts[0], "deep": inner});
            let raw = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            for f in flatten(&value) {
                let v = f.value.expose();
                let end = v.char_indices().nth(2).map_or(v.len(), |(i, _)| i);
                let range = bytes_of(raw.as_bytes(), f.path.expose(), v, (0, end)).expect("found");
                let piece = format!("\"{}\"", &raw[range]);
                prop_assert_eq!(serde_json::from_str::<String>(&piece).unwrap(), &v[..end]);
            }
        }

        #[test]
        fn garbage_is_survived(raw in any::<Vec<u8>>(), text in "[\\{\\}\\[\\]\":,\\\\ua0-9 ]{0,80}") {
            let _ = bytes_of(&raw, "a", "aa", (0, 2));
            let _ = bytes_of(text.as_bytes(), "a", "aa", (0, 2));
        }
    }
}
