//! TOML with places: every value knows where in the file it stands, so that each fault can name line and column,
//! and several faults can be told at once.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Faults, Place, nearest};

/// A parsed file.
#[derive(Clone, Debug)]
pub struct Doc {
    pub path: PathBuf,
    source: String,
    pub root: Table,
}

/// A table in the order of its file.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub entries: Vec<Entry>,
    /// Where it begins, as a byte offset.
    pub at: usize,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_at: usize,
    pub node: Node,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub at: usize,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub enum Value {
    Text(String),
    Integer(i64),
    /// A whole number that does not fit.
    Huge,
    Float(f64),
    Bool(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
}

impl Value {
    /// With its article, for "expected a whole number, found a text".
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Huge => "a number beyond 64 bits",
            Self::Float(_) => "a fraction",
            Self::Bool(_) => "a true or false",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl Node {
    /// What was found, for the end of a sentence. Numbers are told, texts are not: one may be a secret in the wrong
    /// place.
    pub fn found(&self) -> String {
        match &self.value {
            Value::Integer(i) => i.to_string(),
            Value::Float(f) => f.to_string(),
            Value::Bool(b) => b.to_string(),
            other => other.kind().to_owned(),
        }
    }
}

impl Table {
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.key == key)
    }
}

impl Doc {
    /// Reads and parses a file. One that cannot be read is one fault.
    pub fn read(path: &Path) -> Result<Self, Faults> {
        let source = std::fs::read_to_string(path)
            .map_err(|e| Faults::one(Place::Whole(path.to_owned()), format!("cannot be read: {e}")))?;
        Self::parse(path, source)
    }

    /// Every mistake of grammar is told, not only the first.
    pub fn parse(path: &Path, source: String) -> Result<Self, Faults> {
        let (root, errors) = DeTable::parse_recoverable(&source);
        let mut faults = Faults::default();
        for e in errors {
            let at = e.span().map_or(0, |s| s.start);
            faults.add(Place::at(path, &source, at), format!("not TOML: {}", e.message()));
        }
        if !faults.is_empty() {
            faults.sort();
            return Err(faults);
        }
        let at = root.span().start;
        let root = table(root.into_inner(), at);
        Ok(Self { path: path.to_owned(), source, root })
    }

    /// A file that another parser read; offsets are bytes of `source`.
    pub fn new(path: &Path, source: String, root: Table) -> Self {
        Self { path: path.to_owned(), source, root }
    }

    pub fn place(&self, at: usize) -> Place {
        Place::at(&self.path, &self.source, at)
    }
}

fn table(t: DeTable<'_>, at: usize) -> Table {
    let mut entries: Vec<Entry> = t
        .into_iter()
        .map(|(k, v)| Entry { key_at: k.span().start, key: k.into_inner().into_owned(), node: node(v) })
        .collect();
    entries.sort_by_key(|e| e.key_at);
    Table { entries, at }
}

fn node(v: Spanned<DeValue<'_>>) -> Node {
    let at = v.span().start;
    let value = match v.into_inner() {
        DeValue::String(s) => Value::Text(s.into_owned()),
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).map_or(Value::Huge, Value::Integer),
        DeValue::Float(f) => Value::Float(f.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(b) => Value::Bool(b),
        DeValue::Datetime(d) => Value::Datetime(d.to_string()),
        DeValue::Array(a) => Value::Array(a.into_iter().map(node).collect()),
        DeValue::Table(t) => Value::Table(table(t, at)),
    };
    Node { at, value }
}

/// Takes the fields of one table out by name, noting what is missing, of the wrong kind, or unknown.
///
/// ```ignore
/// let mut f = Fields::new(&doc, &table, "a person", &mut faults);
/// let id = f.text("id");
/// let roles = f.texts("roles");
/// f.finish();
/// ```
pub struct Fields<'a, 'f> {
    doc: &'a Doc,
    table: &'a Table,
    /// What the table describes, such as `a person`.
    what: &'static str,
    faults: &'f mut Faults,
    asked: Vec<&'static str>,
}

/// A value with the place it stands at.
#[derive(Clone, Debug)]
pub struct At<T> {
    pub value: T,
    pub at: usize,
}

impl<'a, 'f> Fields<'a, 'f> {
    pub fn new(doc: &'a Doc, table: &'a Table, what: &'static str, faults: &'f mut Faults) -> Self {
        Self { doc, table, what, faults, asked: Vec::new() }
    }

    pub fn fault(&mut self, at: usize, message: impl Into<String>) {
        self.faults.add(self.doc.place(at), message);
    }

    /// The start of the table.
    pub fn at(&self) -> usize {
        self.table.at
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.asked.push(key);
        self.table.get(key)
    }

    fn of_kind<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        get: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<At<T>> {
        let entry = self.take(key)?;
        let got = get(&entry.node.value);
        if got.is_none() {
            let found = entry.node.found();
            self.fault(entry.node.at, format!("{key}: expected {expected}, found {found}"));
        }
        got.map(|value| At { value, at: entry.node.at })
    }

    /// Notes that `key` is missing when it is; one of the wrong kind was noted already.
    fn needed<T>(&mut self, key: &'static str, got: Option<At<T>>) -> Option<At<T>> {
        if self.table.get(key).is_none() {
            self.fault(self.table.at, format!("{} needs {key:?}", self.what));
        }
        got
    }

    /// A text that may be left out.
    pub fn text_opt(&mut self, key: &'static str) -> Option<At<String>> {
        self.of_kind(key, "a text", |v| if let Value::Text(s) = v { Some(s.clone()) } else { None })
    }

    /// A text that must be there.
    pub fn text(&mut self, key: &'static str) -> Option<At<String>> {
        let got = self.text_opt(key);
        self.needed(key, got)
    }

    /// A whole number within `range` that may be left out.
    pub fn integer_opt(&mut self, key: &'static str, range: std::ops::RangeInclusive<i64>) -> Option<At<i64>> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.of_kind(key, &expected, |v| match v {
            Value::Integer(i) if range.contains(i) => Some(*i),
            _ => None,
        })
    }

    /// A number, with a fraction or without, that may be left out. The caller checks its range.
    pub fn number_opt(&mut self, key: &'static str) -> Option<At<f64>> {
        self.of_kind(key, "a number", |v| match v {
            Value::Integer(i) => Some(*i as f64),
            Value::Float(f) if f.is_finite() => Some(*f),
            _ => None,
        })
    }

    pub fn bool_opt(&mut self, key: &'static str) -> Option<At<bool>> {
        self.of_kind(key, "true or false", |v| if let Value::Bool(b) = v { Some(*b) } else { None })
    }

    /// A list of texts; nothing when left out.
    pub fn texts(&mut self, key: &'static str) -> Vec<At<String>> {
        self.list(key, "a list of texts", |v| if let Value::Text(s) = v { Some(s.clone()) } else { None })
    }

    /// A list of whole numbers within `range`; nothing when left out.
    pub fn integers(&mut self, key: &'static str, range: std::ops::RangeInclusive<i64>) -> Vec<At<i64>> {
        let expected = format!("a list of whole numbers from {} to {}", range.start(), range.end());
        self.list(key, &expected, |v| match v {
            Value::Integer(i) if range.contains(i) => Some(*i),
            _ => None,
        })
    }

    fn list<T>(&mut self, key: &'static str, expected: &str, get: impl Fn(&Value) -> Option<T>) -> Vec<At<T>> {
        let Some(entry) = self.take(key) else { return Vec::new() };
        let Value::Array(items) = &entry.node.value else {
            let found = entry.node.found();
            self.fault(entry.node.at, format!("{key}: expected {expected}, found {found}"));
            return Vec::new();
        };
        let mut out = Vec::new();
        for item in items {
            match get(&item.value) {
                Some(value) => out.push(At { value, at: item.at }),
                None => self.fault(item.at, format!("{key}: expected {expected}, found {} in it", item.found())),
            }
        }
        out
    }

    /// The table of `[key]` that may be left out.
    pub fn table(&mut self, key: &'static str) -> Option<&'a Table> {
        let entry = self.take(key)?;
        match &entry.node.value {
            Value::Table(t) => Some(t),
            _ => {
                let found = entry.node.found();
                self.fault(entry.node.at, format!("{key}: expected a table, found {found}"));
                None
            }
        }
    }

    /// The tables of `[[key]]`; nothing when left out.
    pub fn tables(&mut self, key: &'static str) -> Vec<&'a Table> {
        let Some(entry) = self.take(key) else { return Vec::new() };
        let Value::Array(items) = &entry.node.value else {
            self.fault(entry.key_at, format!("{key}: expected [[{key}]] tables, found {}", entry.node.found()));
            return Vec::new();
        };
        let mut out = Vec::new();
        for item in items {
            match &item.value {
                Value::Table(t) => out.push(t),
                _ => self.fault(item.at, format!("{key}: expected [[{key}]] tables, found {}", item.found())),
            }
        }
        out
    }

    /// Notes every key nobody asked for, with the name that was probably meant.
    pub fn finish(self) {
        for e in self.table.entries.iter().filter(|e| !self.asked.contains(&e.key.as_str())) {
            let message = unknown_key(&e.key, self.what, self.asked.iter().copied());
            self.faults.add(self.doc.place(e.key_at), message);
        }
    }
}

/// The sentence about a key nobody knows.
pub fn unknown_key<'k>(key: &str, of: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    match nearest(key, known.clone()) {
        Some(near) => format!("unknown key {key:?} of {of}; did you mean {near:?}?"),
        None => format!("unknown key {key:?} of {of}; known: {}", known.collect::<Vec<_>>().join(", ")),
    }
}
