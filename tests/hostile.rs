//! Hostile text in every field of every format: no parser panics, nothing reaches the screen as it is, and the
//! analyst sees that something was there.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_macros,
    reason = "a test says what it missed by panicking"
)]

mod samples;

use std::collections::BTreeMap;

use serde_json::Value;
use watchfloor::intake::format::{self, Reader};
use watchfloor::model::alert::AlertFields;
use watchfloor::text::{self, Untrusted, hostile};

/// Stands where a payload goes, so that bytes which are no UTF-8 can be put there.
const MARK: &str = "HOSTILE-TEXT-HERE";

/// Payloads longer than this go into a few fields at once rather than into each alone.
const SHORT: usize = 4096;

fn reader(format: &str) -> Reader {
    Reader::new(Some(format), &BTreeMap::new()).expect("known format")
}

/// Every copy of the record with one string (or one key, or one word of a text line) replaced by [`MARK`], and one
/// copy with a few replaced.
fn marked(record: &str) -> (Vec<String>, String) {
    match serde_json::from_str::<Value>(record) {
        Ok(value) => {
            let count = strings(&mut value.clone(), &mut |_, _| {});
            let one = |n: usize| {
                let mut copy = value.clone();
                strings(&mut copy, &mut |i, s| {
                    if i == n {
                        *s = MARK.to_owned();
                    }
                });
                copy.to_string()
            };
            let mut many = value.clone();
            strings(&mut many, &mut |i, s| {
                if i == count / 3 || i == count / 2 {
                    *s = MARK.to_owned();
                }
            });
            ((0..count).map(one).collect(), many.to_string())
        }
        Err(_) => {
            let words: Vec<&str> = record.split_inclusive([' ', '|', '=', '^', ']', '"']).collect();
            let swap = |word: &str| {
                let body = word.trim_end_matches([' ', '|', '=', '^', ']', '"']);
                format!("{MARK}{}", &word[body.len()..])
            };
            let each = |n: usize| {
                words.iter().enumerate().map(|(i, w)| if i == n { swap(w) } else { (*w).to_owned() }).collect()
            };
            let many = words.iter().enumerate().map(|(i, w)| if i % 3 == 2 { swap(w) } else { (*w).to_owned() });
            ((0..words.len()).map(each).collect(), many.take(24).collect())
        }
    }
}

/// Calls `change` with every string of the tree, object keys left alone; returns how many there are.
fn strings(value: &mut Value, change: &mut impl FnMut(usize, &mut String)) -> usize {
    fn walk(value: &mut Value, n: &mut usize, change: &mut impl FnMut(usize, &mut String)) {
        match value {
            Value::String(s) => {
                change(*n, s);
                *n += 1;
            }
            Value::Array(items) => items.iter_mut().for_each(|v| walk(v, n, change)),
            Value::Object(map) => map.iter_mut().for_each(|(_, v)| walk(v, n, change)),
            _ => {}
        }
    }
    let mut n = 0;
    walk(value, &mut n, change);
    n
}

/// The payload as it stands inside a JSON string: escaped as JSON asks where it is text, as it is where it is not.
fn in_json(payload: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(payload) {
        Ok(text) => {
            let quoted = serde_json::to_string(text).expect("json");
            quoted.as_bytes()[1..quoted.len() - 1].to_vec()
        }
        Err(_) => payload.to_vec(),
    }
}

fn put(record: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, part) in record.split(MARK).enumerate() {
        if i > 0 {
            out.extend_from_slice(payload);
        }
        out.extend_from_slice(part.as_bytes());
    }
    out
}

/// Every text an alert was given.
fn texts(fields: &AlertFields) -> Vec<String> {
    fn walk(value: Value, out: &mut Vec<String>) {
        match value {
            Value::String(s) => out.push(s),
            Value::Array(items) => items.into_iter().for_each(|v| walk(v, out)),
            Value::Object(map) => map.into_iter().for_each(|(_, v)| walk(v, out)),
            _ => {}
        }
    }
    let mut out = Vec::new();
    walk(serde_json::to_value(fields).expect("serialises"), &mut out);
    out
}

/// What is shown holds nothing that could drive the terminal or hide, and what was hidden left a trace.
fn check_shown(raw: &str, at: &str) {
    let untrusted = Untrusted::new(raw);
    for (shown, block) in [(text::clean(&untrusted), false), (text::clean_block(&untrusted), true)] {
        let shown = shown.as_str();
        assert!(shown.len() <= text::SHOWN_MAX, "{at}");
        let bad = shown.chars().find(|c| text::is_hidden(*c) && !(block && *c == '\n'));
        assert!(bad.is_none(), "{at}: {bad:?} reaches the screen");
        // What lies beyond the length limit is counted, not shown, so the front is enough to look at.
        let hides = raw.chars().take(text::SHOWN_MAX).any(|c| text::is_hidden(c) && !(block && c == '\n'));
        assert!(!hides || shown != raw, "{at}: no trace");
        assert!(raw.is_empty() || !shown.is_empty(), "{at}: nothing shown");
    }
    let debug = format!("{untrusted:?}");
    assert!(!debug.chars().any(text::is_hidden), "{at}: debug output");
}

fn check_record(mut reader: Reader, bytes: &[u8], payload: &[u8], at: &str) {
    let wanted = String::from_utf8_lossy(payload).into_owned();
    let Ok((id, alerts)) = reader.read(bytes) else { return };
    for alert in &alerts {
        assert!(alert.techniques.iter().all(|t| t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')), "{at}");
        texts(alert).iter().for_each(|t| check_shown(t, at));
    }
    if reader_is_text(&id) {
        return;
    }
    // The record as a whole still holds the payload, where anyone can see it.
    let leaves = format::leaves(&id, bytes);
    assert!(leaves.iter().any(|l| l.value.expose().contains(&wanted)), "{at}: the payload is in no leaf");
    for leaf in leaves.iter().filter(|l| l.value.expose().contains(&wanted)) {
        check_shown(leaf.value.expose(), at);
        check_shown(leaf.path.expose(), at);
    }
}

/// In a line of text the payload may end a field or the line, so that it need not come out in one piece.
fn reader_is_text(id: &str) -> bool {
    matches!(id, "cef" | "leef" | "syslog")
}

#[test]
fn every_sample_is_read_as_its_format() {
    let mut seen: Vec<&str> = Vec::new();
    for (format, record) in samples::all() {
        let (id, alerts) = Reader::auto().read(record.as_bytes()).expect("reads");
        assert_eq!(id, format);
        assert!(!alerts[0].title.is_empty() && alerts[0].product.is_some());
        seen.push(format);
    }
    for format in format::all() {
        assert!(seen.contains(&format.id()), "no sample of {}", format.id());
    }
}

#[test]
fn hostile_text_in_every_field_of_every_format() {
    let corpus = hostile::corpus();
    for (format, record) in samples::all() {
        let (each, many) = marked(record);
        let json = record.starts_with('{');
        for (name, payload) in &corpus {
            let written = if json { in_json(payload) } else { payload.clone() };
            let records = if payload.len() > SHORT { std::slice::from_ref(&many) } else { &each[..] };
            for (n, record) in records.iter().enumerate() {
                let reader = if n % 4 == 0 { Reader::auto() } else { reader(format) };
                check_record(reader, &put(record, &written), payload, &format!("{format} field {n} {name}"));
            }
        }
    }
}

#[test]
fn hostile_keys_in_every_json_format() {
    for (format, record) in samples::all().into_iter().filter(|(_, r)| r.starts_with('{')) {
        for (name, payload) in hostile::corpus() {
            let mut bytes = b"{\"".to_vec();
            bytes.extend(in_json(&payload));
            bytes.extend(b"\":{\"");
            bytes.extend(in_json(&payload));
            bytes.extend(b"\":\"x\"},");
            bytes.extend(&record.as_bytes()[1..]);
            let (id, _) = reader(format).read(&bytes).expect("a strange key changes nothing");
            for leaf in format::leaves(&id, &bytes) {
                check_shown(leaf.path.expose(), &format!("{format} key {name}"));
                assert!(leaf.path.expose().len() < 2048);
            }
        }
    }
}

#[test]
fn odd_json_escapes_are_read() {
    for escape in [
        r"\ud800",
        r"\udc00\ud800",
        r"\ud83d",
        r"\u0000",
        r"\u001b[2J",
        r"\u009b",
        r"\u202e",
        r"\uffff",
        r"\ud800\u0041",
    ] {
        for (format, record) in samples::all().into_iter().filter(|(_, r)| r.starts_with('{')) {
            for (n, record) in marked(record).0.iter().enumerate() {
                let bytes = put(record, escape.as_bytes());
                let at = format!("{format} field {n} {escape}");
                let mut reader = reader(format);
                // Only a record that lost what makes it one of its format may be refused.
                if let Ok((_, alerts)) = reader.read(&bytes) {
                    alerts.iter().flat_map(texts).for_each(|t| check_shown(&t, &at));
                }
                assert!(!format::leaves(format, &bytes).is_empty(), "{at}");
            }
        }
    }
}

#[test]
fn odd_shapes_do_not_break_a_parser() {
    let shapes = [
        "null",
        "true",
        "-1",
        "1e999",
        "18446744073709551616",
        "NaN",
        "\"\"",
        "\" \"",
        "[]",
        "{}",
        "[[[[1]]]]",
        "[null,null]",
        "[{\"a\":[{}]}]",
        "{\"id\":{\"id\":[\"T1059\"]}}",
        "\"0x1F\"",
        "\"999.999.999.999\"",
        "\"9999-99-99T99:99:99Z\"",
        "99999999999999999999",
    ];
    for (format, record) in samples::all().into_iter().filter(|(_, r)| r.starts_with('{')) {
        let value: Value = serde_json::from_str(record).expect("json");
        for pointer in pointers(&value) {
            for shape in shapes {
                let mut copy = value.clone();
                *copy.pointer_mut(&pointer).expect("there") = MARK.into();
                let bytes = copy.to_string().replace(&format!("\"{MARK}\""), shape).into_bytes();
                let _ = reader(format).read(&bytes);
                let _ = Reader::auto().read(&bytes);
                let _ = format::leaves(format, &bytes);
            }
        }
    }
}

/// JSON pointers of everything in the tree.
fn pointers(value: &Value) -> Vec<String> {
    fn walk(value: &Value, at: String, out: &mut Vec<String>) {
        let step = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        match value {
            Value::Object(map) => map.iter().for_each(|(k, v)| walk(v, step(k), out)),
            Value::Array(items) => items.iter().enumerate().for_each(|(i, v)| walk(v, step(&i.to_string()), out)),
            _ => {}
        }
        out.push(at);
    }
    let mut out = Vec::new();
    walk(value, String::new(), &mut out);
    out
}

#[test]
fn nesting_does_not_overflow_the_stack() {
    for depth in [200, 100_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            for (format, record) in samples::all().into_iter().filter(|(_, r)| r.starts_with('{')) {
                let record = format!("{{\"deep\":{deep},{}", &record[1..]);
                let (id, _) = reader(format).read(record.as_bytes()).expect("nesting hides no alert");
                assert!(!format::leaves(&id, record.as_bytes()).is_empty());
            }
            let _ = Reader::auto().read(deep.as_bytes());
        }
    }
}
