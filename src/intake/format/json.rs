//! JSON as alerts come: read once, borrowed from the record, forgiving where an attacker could otherwise keep an
//! alert out of the queue.
//!
//! It differs from a strict parser in these points only: a lone surrogate in an escape and invalid UTF-8 become
//! U+FFFD, raw control characters inside strings are kept, `NaN` and `Infinity` are numbers, all values of a
//! duplicate key are kept (the last one is what [`Json::get`] finds, as in most producers' own parsers), and what
//! lies deeper than [`MAX_DEPTH`] is kept as its own text instead of overflowing the stack. Numbers keep their
//! spelling, so that a quote of them can be found byte for byte.

use std::borrow::Cow;
use std::net::IpAddr;

use jiff::Timestamp;

use super::draft::keep;
use super::time;
use crate::model::fields::{self, Field};
use crate::text::Untrusted;

/// Objects and arrays deeper than this are kept as text.
pub const MAX_DEPTH: usize = 96;

/// A JSON value that borrows from the record's text.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    /// As it was spelled.
    Num(&'a str),
    Str(Cow<'a, str>),
    Arr(Vec<Json<'a>>),
    /// In document order, duplicates included.
    Obj(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// Where and why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// Byte offset in the text.
    pub at: usize,
    pub expected: &'static str,
}

/// Reads one whole JSON document; white space around it is allowed, anything else is an error.
pub fn parse(text: &str) -> Result<Json<'_>, JsonError> {
    let mut p = Parser { text, bytes: text.as_bytes(), at: 0 };
    p.space();
    let value = p.value(0)?;
    p.space();
    if p.at < p.bytes.len() {
        return p.fail("the end of the record");
    }
    Ok(value)
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn fail<T>(&self, expected: &'static str) -> Result<T, JsonError> {
        Err(JsonError { at: self.at, expected })
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        match self.peek() {
            Some(b'{' | b'[') if depth >= MAX_DEPTH => self.deep(),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::Str),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(b'N') => self.word("NaN", Json::Num("NaN")),
            Some(b'I') => self.word("Infinity", Json::Num("Infinity")),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.fail("a JSON value"),
        }
    }

    fn word(&mut self, word: &'static str, value: Json<'a>) -> Result<Json<'a>, JsonError> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            self.fail("true, false or null")
        }
    }

    fn number(&mut self) -> Result<Json<'a>, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
            if self.peek() == Some(b'I') {
                return self.word("Infinity", Json::Num("-Infinity"));
            }
        }
        let mut digits = 0;
        while let Some(b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-') = self.peek() {
            digits += 1;
            self.at += 1;
        }
        if digits == 0 {
            return self.fail("a number");
        }
        Ok(Json::Num(&self.text[start..self.at]))
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let start = self.at;
        match memchr::memchr2(b'"', b'\\', &self.bytes[start..]) {
            Some(n) if self.bytes[start + n] == b'"' => {
                self.at = start + n + 1;
                Ok(Cow::Borrowed(&self.text[start..start + n]))
            }
            Some(n) => self.escaped(start, start + n).map(Cow::Owned),
            None => {
                self.at = self.bytes.len();
                self.fail("a closing quote")
            }
        }
    }

    /// A string with escapes: `start` is its first byte, `at` the first backslash.
    fn escaped(&mut self, start: usize, at: usize) -> Result<String, JsonError> {
        let mut out = String::with_capacity(at - start + 32);
        out.push_str(&self.text[start..at]);
        self.at = at;
        loop {
            self.at += 1;
            match self.peek() {
                Some(b'n') => out.push('\n'),
                Some(b't') => out.push('\t'),
                Some(b'r') => out.push('\r'),
                Some(b'b') => out.push('\u{8}'),
                Some(b'f') => out.push('\u{c}'),
                Some(c @ (b'"' | b'\\' | b'/')) => out.push(char::from(c)),
                Some(b'u') => out.push(self.unicode()?),
                _ => return self.fail("one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX"),
            }
            self.at += 1;
            let from = self.at;
            match memchr::memchr2(b'"', b'\\', &self.bytes[from..]) {
                Some(n) => {
                    out.push_str(&self.text[from..from + n]);
                    self.at = from + n;
                    if self.bytes[self.at] == b'"' {
                        self.at += 1;
                        return Ok(out);
                    }
                }
                None => {
                    self.at = self.bytes.len();
                    return self.fail("a closing quote");
                }
            }
        }
    }

    /// At the `u`; leaves `at` on the last hex digit.
    fn unicode(&mut self) -> Result<char, JsonError> {
        let Some(high) = self.hex4(self.at + 1) else { return self.fail("four hex digits") };
        self.at += 4;
        if (0xd800..0xdc00).contains(&high)
            && self.bytes.get(self.at + 1..self.at + 3) == Some(b"\\u")
            && let Some(low @ 0xdc00..=0xdfff) = self.hex4(self.at + 3)
        {
            self.at += 6;
            let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&self, from: usize) -> Option<u32> {
        let digits = self.bytes.get(from..from + 4)?;
        digits.iter().try_fold(0, |n, d| Some(n * 16 + char::from(*d).to_digit(16)?))
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        self.at += 1;
        let mut members = Vec::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Obj(members));
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.fail("a key in quotes");
            }
            let key = self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return self.fail("`:`");
            }
            self.at += 1;
            self.space();
            let value = self.value(depth + 1)?;
            members.push((key, value));
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Json::Obj(members));
                }
                _ => return self.fail("`,` or `}`"),
            }
            self.space();
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Arr(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Json::Arr(items));
                }
                _ => return self.fail("`,` or `]`"),
            }
            self.space();
        }
    }

    /// Steps over a value that lies too deep, brackets balanced, and keeps its text.
    fn deep(&mut self) -> Result<Json<'a>, JsonError> {
        let start = self.at;
        let mut open = 0_usize;
        while let Some(b) = self.peek() {
            self.at += 1;
            match b {
                b'{' | b'[' => open += 1,
                b'}' | b']' => {
                    open -= 1;
                    if open == 0 {
                        return Ok(Json::Str(Cow::Borrowed(&self.text[start..self.at])));
                    }
                }
                b'"' => {
                    self.at -= 1;
                    self.string()?;
                }
                _ => {}
            }
        }
        self.fail("closing brackets")
    }
}

impl<'a> Json<'a> {
    /// The member `key` of an object; the last one when it is there twice.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Json::Obj(members) => members.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// A dotted path. Keys that themselves hold dots (`"host.name": ..`) are found too; an array on the way stands
    /// for its first element that has the rest.
    pub fn at(&self, path: &str) -> Option<&Self> {
        if let Json::Arr(items) = self {
            return items.iter().find_map(|i| i.at(path));
        }
        let Some((head, rest)) = path.split_once('.') else { return self.get(path) };
        if let Some(found) = self.get(head).and_then(|v| v.at(rest)) {
            return Some(found);
        }
        if let Some(found) = self.get(path) {
            return Some(found);
        }
        path.match_indices('.').skip(1).find_map(|(i, _)| self.get(&path[..i])?.at(&path[i + 1..]))
    }

    /// The elements of an array; anything else stands for itself; null for nothing.
    pub fn items(&self) -> &[Self] {
        match self {
            Json::Arr(items) => items,
            Json::Null => &[],
            other => std::slice::from_ref(other),
        }
    }

    /// The elements at a path, see [`Json::items`].
    pub fn all(&self, path: &str) -> &[Self] {
        self.at(path).map_or(&[], Json::items)
    }

    pub fn is_obj(&self) -> bool {
        matches!(self, Json::Obj(_))
    }

    pub fn has(&self, path: &str) -> bool {
        self.at(path).is_some_and(|v| *v != Json::Null)
    }

    /// The text of a scalar, or of the first scalar of an array; never empty, never of an object.
    pub fn scalar(&self) -> Option<Cow<'_, str>> {
        let text = match self {
            Json::Str(s) => Cow::Borrowed(s.trim()),
            Json::Num(n) => Cow::Borrowed(*n),
            Json::Bool(b) => Cow::Borrowed(if *b { "true" } else { "false" }),
            Json::Arr(items) => return items.iter().find_map(Json::scalar),
            Json::Null | Json::Obj(_) => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    /// The scalar at a path, `-` and other words for nothing left out.
    pub fn word(&self, path: &str) -> Option<Cow<'_, str>> {
        self.at(path)?.scalar().filter(|s| !is_nothing(s))
    }

    /// The first of several paths that has a value.
    pub fn any(&self, paths: &[&str]) -> Option<Cow<'_, str>> {
        paths.iter().find_map(|p| self.word(p))
    }

    pub fn text(&self, path: &str) -> Option<Untrusted> {
        self.word(path).map(|s| keep(&s))
    }

    pub fn any_text(&self, paths: &[&str]) -> Option<Untrusted> {
        self.any(paths).map(|s| keep(&s))
    }

    /// A whole number, also when it is written as text or with a fraction.
    pub fn int(&self, path: &str) -> Option<i64> {
        int(&self.at(path)?.scalar()?)
    }

    pub fn float(&self, path: &str) -> Option<f64> {
        self.at(path)?.scalar()?.parse().ok().filter(|f: &f64| f.is_finite())
    }

    pub fn ip(&self, paths: &[&str]) -> Option<IpAddr> {
        paths.iter().find_map(|p| super::draft::ip(&self.word(p)?))
    }

    pub fn port(&self, paths: &[&str]) -> Option<u16> {
        paths.iter().find_map(|p| self.int(p).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0))
    }

    pub fn time(&self, paths: &[&str]) -> Option<Timestamp> {
        paths.iter().find_map(|p| time::parse(&self.word(p)?))
    }
}

impl Json<'_> {
    /// The leaves in document order, as [`crate::model::fields::flatten`] gives them for a tree of its own.
    pub fn leaves(&self) -> Vec<Field> {
        let mut out = fields::Leaves::default();
        self.walk(&mut out);
        out.done()
    }

    fn walk(&self, out: &mut fields::Leaves) {
        match self {
            Json::Obj(members) => {
                for (key, value) in members {
                    out.key(key, |out| value.walk(out));
                }
            }
            Json::Arr(items) => {
                for (i, item) in items.iter().enumerate() {
                    out.index(i, |out| item.walk(out));
                }
            }
            Json::Str(s) => out.leaf(s),
            Json::Num(n) => out.leaf(n),
            Json::Bool(b) => out.leaf(if *b { "true" } else { "false" }),
            Json::Null => out.leaf("null"),
        }
    }
}

/// Words that sources write where they have nothing.
pub fn is_nothing(word: &str) -> bool {
    matches!(word, "-" | "N/A" | "n/a" | "null" | "NULL" | "None" | "(null)" | "<none>")
}

fn int(text: &str) -> Option<i64> {
    if let Ok(n) = text.parse() {
        return Some(n);
    }
    let f: f64 = text.parse().ok()?;
    // Beyond 2^53 a float no longer names one integer.
    (f.is_finite() && f.abs() < 9_007_199_254_740_992.0).then_some(f as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_serde_json_reads() {
        for text in [r#"{"a":[1,-2.5e3,true,null,"x\n\u00e4\ud83d\ude00"],"b":{}}"#, "[]", " \"q\" ", "0"] {
            let ours = parse(text).expect("valid");
            let theirs: serde_json::Value = serde_json::from_str(text).expect("valid");
            assert!(same(&ours, &theirs), "{text}");
        }
    }

    fn same(ours: &Json<'_>, theirs: &serde_json::Value) -> bool {
        use serde_json::Value;
        match (ours, theirs) {
            (Json::Null, Value::Null) => true,
            (Json::Bool(a), Value::Bool(b)) => a == b,
            (Json::Num(a), Value::Number(b)) => a.parse::<f64>().ok() == b.as_f64(),
            (Json::Str(a), Value::String(b)) => a == b,
            (Json::Arr(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
            (Json::Obj(a), Value::Object(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|((k, v), (l, w))| k == l && same(v, w))
            }
            _ => false,
        }
    }

    #[test]
    fn says_where_it_stopped() {
        for (text, at) in [("{\"a\":}", 5), ("{", 1), ("[1,]", 3), ("{\"a\":1} x", 8), ("\"ab", 3), ("{'a':1}", 1)] {
            assert_eq!(parse(text).expect_err(text).at, at, "{text}");
        }
    }

    #[test]
    fn odd_input_is_read() {
        let j = parse("{\"a\":\"\\ud800x\",\"k\":1,\"k\":2,\"raw\":\"a\u{1}b\",\"n\":NaN,\"s\":\"12\"}").expect("read");
        assert_eq!(j.word("a").as_deref(), Some("\u{fffd}x"));
        assert_eq!(j.int("k"), Some(2));
        assert_eq!(j.word("raw").as_deref(), Some("a\u{1}b"));
        assert_eq!(j.int("s"), Some(12));
    }

    #[test]
    fn deep_nesting_is_kept_as_text() {
        let deep = format!("{{\"a\":{}\"x]\"{},\"b\":7}}", "[".repeat(200_000), "]".repeat(200_000));
        let j = parse(&deep).expect("read");
        assert_eq!(j.int("b"), Some(7));
        assert!(parse(&"[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn paths_find_flat_and_nested_keys() {
        let j = parse(r#"{"host.name":"a","x":{"y.z":{"w":3}},"l":[{"n":1},{"m":2}],"r":{"id":["T1"]}}"#).expect("ok");
        assert_eq!(j.word("host.name").as_deref(), Some("a"));
        assert_eq!(j.int("x.y.z.w"), Some(3));
        assert_eq!(j.int("l.m"), Some(2));
        assert_eq!(j.word("r.id").as_deref(), Some("T1"));
        assert_eq!(j.word("l"), None);
    }
}
