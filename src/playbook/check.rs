//! The playbook files of a desk, checked: what cannot be read, and what the linter calls an error, each with file, line
//! and column.

use std::path::Path;

use serde_json::Value;

use super::Document;
use super::library::Library;
use super::library::files;
use super::lint::lint;
use super::short;
use crate::config::fault::Faults;
use crate::config::fault::Place;
use crate::model::playbook::Grade;
use crate::text::Untrusted;
use crate::text::clean;

/// Everything that keeps a playbook of the folder from being worked. Warnings are for `playbook lint`.
pub fn faults(folder: &Path) -> Faults {
    let mut faults = Faults::default();
    let library = Library::read(folder);
    for path in files(folder).unwrap_or_default() {
        let source = match std::fs::read_to_string(&path) {
            Ok(source) => source,
            Err(e) => {
                faults.add(Place::Whole(path), format!("cannot be read: {e}"));
                continue;
            }
        };
        match read(&path, &source) {
            Ok(document) => linted(&path, &source, &document, &library, &mut faults),
            Err(f) => faults.extend(f),
        }
    }
    for broken in library.broken().iter().filter(|b| b.path == folder || b.why.starts_with("a second playbook")) {
        faults.add(Place::Whole(broken.path.clone()), broken.why.clone());
    }
    faults.sort();
    faults
}

fn is_toml(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml"))
}

fn read(path: &Path, source: &str) -> Result<Document, Faults> {
    if is_toml(path) {
        return short::from_toml(path, source);
    }
    let text = source.strip_prefix('\u{feff}').unwrap_or(source);
    if let Err(e) = serde_json::from_str::<Value>(text) {
        let place = Place::File { path: path.to_owned(), line: e.line().max(1), column: e.column().max(1) };
        return Err(Faults::one(place, format!("no JSON: {e}")));
    }
    Document::read(source.as_bytes()).map_err(|e| Faults::one(Place::Whole(path.to_owned()), e.to_string()))
}

fn linted(path: &Path, source: &str, document: &Document, library: &Library, faults: &mut Faults) {
    for f in lint(document, Some(&|id| library.get(id).is_some())) {
        if f.grade != Grade::Error {
            continue;
        }
        let at = f.at.expose();
        let offset = if is_toml(path) { in_toml(source, document, at) } else { in_json(source, at) };
        let place = offset.map_or_else(|| Place::Whole(path.to_owned()), |o| Place::at(path, source, o));
        let shown = Untrusted::new(if at.is_empty() { "/" } else { at });
        faults.add(place, format!("{}: {} [{}]", clean(&shown).as_str(), clean(&f.message).as_str(), f.code));
    }
}

/// The names of a pointer (RFC 6901).
fn names(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|s| s.replace("~1", "/").replace("~0", "~")).collect()
}

// --- JSON --------------------------------------------------------------------------------------

/// Byte of the key (in a list: of the value) that a pointer names; else of the nearest thing around it that is there.
fn in_json(source: &str, pointer: &str) -> Option<usize> {
    let names = names(pointer);
    let bytes = source.as_bytes();
    let (mut at, mut shown) = (blank(bytes, 0), None);
    for name in &names {
        match member(source, at, name) {
            Some((here, value)) => (shown, at) = (Some(here), value),
            None => break,
        }
    }
    shown
}

fn blank(b: &[u8], mut i: usize) -> usize {
    while b.get(i).is_some_and(|c| c.is_ascii_whitespace() || *c >= 0x80) {
        i += 1;
    }
    i
}

/// Where a value that begins at `i` ends. The text is known to be JSON.
fn end_of(b: &[u8], i: usize) -> usize {
    let (mut at, mut depth, mut quoted) = (i, 0_usize, false);
    while let Some(c) = b.get(at) {
        match (quoted, c) {
            (true, b'\\') => at += 1,
            (_, b'"') => quoted = !quoted,
            (true, _) => {}
            (_, b'{' | b'[') => depth += 1,
            (_, b'}' | b']' | b',') if depth == 0 => return at,
            (_, b'}' | b']') => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 && !quoted && matches!(c, b'"' | b'}' | b']') {
            return at;
        }
    }
    at
}

/// Of the object or list that begins at `i`: where the member is shown, and where its value begins.
fn member(source: &str, i: usize, name: &str) -> Option<(usize, usize)> {
    let b = source.as_bytes();
    let object = match b.get(i)? {
        b'{' => true,
        b'[' => false,
        _ => return None,
    };
    let (mut at, mut n) = (blank(b, i + 1), 0_usize);
    while !matches!(b.get(at)?, b'}' | b']') {
        let here = at;
        let mut own = n.to_string();
        if object {
            let end = end_of(b, at);
            own = serde_json::from_str(source.get(at..end)?).ok()?;
            at = blank(b, blank(b, end) + 1);
        }
        if own == name {
            return Some((here, at));
        }
        at = blank(b, end_of(b, at));
        if b.get(at) == Some(&b',') {
            at = blank(b, at + 1);
        }
        n += 1;
    }
    None
}

// --- TOML --------------------------------------------------------------------------------------

/// What the short form calls what the document calls so.
const WORDS: [(&str, &[&str]); 12] = [
    ("on_completion", &["then"]),
    ("on_success", &["then"]),
    ("on_failure", &["failed"]),
    ("on_true", &["yes"]),
    ("on_false", &["no"]),
    ("condition", &["if", "while"]),
    ("next_steps", &["parallel"]),
    ("playbook_id", &["playbook"]),
    ("in_args", &["uses"]),
    ("out_args", &["gives"]),
    ("agent", &["who"]),
    ("commands", &["do", "action", "ansible", "query", "http", "ssh", "bash", "sigma"]),
];

/// Byte of the line of the short form that a pointer into the document is about.
fn in_toml(source: &str, document: &Document, pointer: &str) -> Option<usize> {
    let names = names(pointer);
    let (from, to) = match (names.first().map(String::as_str), names.get(1)) {
        (Some("workflow"), Some(id)) => {
            let step = document.view("").step(id).map(|s| s.key.clone())?;
            let at = starts(source, &format!("key = {step:?}"))?;
            let end = source[at..].find("\n[[steps]]").map_or(source.len(), |e| at + e);
            (at, end)
        }
        (Some("playbook_variables"), Some(name)) => {
            return starts(source, &format!("[vars.{}]", name.trim_matches('_')));
        }
        _ => (0, source.find("\n[").unwrap_or(source.len())),
    };
    let part = &source[from..to];
    let words = names.iter().rev().flat_map(|n| {
        let known = WORDS.iter().find(|w| w.0 == n).map(|w| w.1.to_vec());
        known.unwrap_or_else(|| vec![n.as_str()])
    });
    let line = words.map(|w| format!("{w} =")).find_map(|w| starts(part, &w));
    Some(from + line.unwrap_or(0))
}

/// Where a line begins so.
fn starts(source: &str, wanted: &str) -> Option<usize> {
    source.match_indices(wanted).map(|m| m.0).find(|at| *at == 0 || source[..*at].ends_with('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, text: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name), text).unwrap();
        let at = format!("{}/", dir.path().display());
        faults(dir.path()).0.iter().map(|f| f.to_string().replace(&at, "")).collect()
    }

    const GOOD: &str = "key = \"mine\"\ntitle = \"Mine\"\ncreated = \"2026-01-01T00:00:00.000Z\"\nexception = \"b\"\n\n\
                        [vars.n]\ntype = \"bool\"\n\n[[steps]]\nkey = \"a\"\nname = \"A\"\ndo = \"Look.\"\n\
                        gives = [\"n\"]\n\n[[steps]]\nkey = \"b\"\nname = \"B\"\ndo = \"Tell.\"\n";

    #[test]
    fn faults_of_the_short_form_have_their_line() {
        assert!(told("mine.toml", GOOD).is_empty(), "{:?}", told("mine.toml", GOOD));
        let unset = GOOD.replace("gives = [\"n\"]", "gives = [\"m\"]");
        let f = told("mine.toml", &unset);
        assert!(f.iter().any(|f| f.starts_with("mine.toml:13:1: /workflow/action--")), "{f:?}");
        let kind = GOOD.replace("type = \"bool\"", "type = \"boll\"");
        let f = told("mine.toml", &kind);
        assert!(f.iter().all(|f| f.starts_with("mine.toml:6:1:")), "{f:?}");
        let f = told("mine.toml", &GOOD.replace("do = \"Look.\"", "doo = \"Look.\""));
        assert!(f[0].starts_with("mine.toml:12:1:"), "{f:?}");
        let f = told("mine.toml", &GOOD.replace("exception = \"b\"", "exception = \"z\""));
        assert!(f[0].contains("exception"), "{f:?}");
    }

    #[test]
    fn faults_of_cacao_have_their_line() {
        let doc = short::from_toml(Path::new("mine.toml"), GOOD).unwrap();
        let text = serde_json::to_string_pretty(doc.json()).unwrap();
        assert!(told("mine.json", &text).is_empty());
        let broken = text.replace("\"name\": \"A\"", "\"name\": 7");
        let f = told("mine.json", &broken);
        let line = broken.lines().position(|l| l.contains("\"name\": 7")).unwrap() + 1;
        assert!(f.iter().any(|f| f.starts_with(&format!("mine.json:{line}:"))), "{line}: {f:?}");
        let f = told("mine.json", &text[..text.len() - 2]);
        assert!(f[0].contains("no JSON") && f[0].starts_with("mine.json:"), "{f:?}");
    }

    #[test]
    fn a_pointer_is_found_in_what_is_written() {
        let text = "{ \"a\\\"b\": [1, {\"c}\": \"x,]\", \"d\": [true, null]}], \"e\": {} }";
        for (pointer, wanted) in
            [("/a\"b", "\"a"), ("/a\"b/0", "1"), ("/a\"b/1/d", "\"d"), ("/a\"b/1/d/1", "null"), ("/e", "\"e")]
        {
            let at = in_json(text, pointer).unwrap();
            assert!(text[at..].starts_with(wanted), "{pointer}: {}", &text[at..]);
        }
        assert_eq!(in_json(text, "/a\"b/1/zz"), in_json(text, "/a\"b/1"), "the nearest around it");
        assert_eq!(in_json(text, ""), None);
    }
}
