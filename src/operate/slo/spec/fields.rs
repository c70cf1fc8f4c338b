//! The fields of one mapping, taken out by name: what is missing, of the wrong kind or unknown is noted with the
//! field's whole path (`spec.objectives[0].target`) and its place.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::config::doc::At;
use crate::config::doc::Doc;
use crate::config::doc::Node;
use crate::config::doc::Table;
use crate::config::doc::Value;
use crate::config::doc::unknown_key;
use crate::config::fault::Faults;

pub struct Fields<'a> {
    pub doc: &'a Doc,
    pub table: &'a Table,
    faults: &'a RefCell<Faults>,
    path: String,
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub fn new(doc: &'a Doc, table: &'a Table, faults: &'a RefCell<Faults>) -> Self {
        Self { doc, table, faults, path: String::new(), asked: Vec::new() }
    }

    /// A mapping that is not at the top of its document: faults in it are told as of fields under `path`.
    pub fn within(doc: &'a Doc, table: &'a Table, faults: &'a RefCell<Faults>, path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::new(doc, table, faults) }
    }

    fn inner(&self, table: &'a Table, path: String) -> Self {
        Self { doc: self.doc, table, faults: self.faults, path, asked: Vec::new() }
    }

    pub fn fault(&self, at: usize, message: impl Into<String>) {
        self.faults.borrow_mut().add(self.doc.place(at), message);
    }

    /// The path of a field of this mapping.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// What this mapping is called in a sentence.
    pub fn what(&self) -> &str {
        if self.path.is_empty() { "the document" } else { &self.path }
    }

    /// A fault of the field `key`: where its value stands, or the mapping if it is not there.
    pub fn wrong(&self, key: &str, message: impl AsRef<str>) {
        let at = self.table.get(key).map_or(self.table.at, |e| e.node.at);
        self.fault(at, format!("{}: {}", self.path(key), message.as_ref()));
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.asked.push(key);
        self.table.get(key).map(|e| &e.node)
    }

    /// Fields that are known and mean nothing here.
    pub fn skip(&mut self, keys: &[&'static str]) {
        self.asked.extend(keys);
    }

    fn missing(&self, key: &str) {
        self.fault(self.table.at, format!("{} needs {key:?}", self.what()));
    }

    fn of_kind<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        get: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<At<T>> {
        let node = self.node(key)?;
        let got = get(&node.value);
        if got.is_none() {
            self.wrong(key, format!("expected {expected}, found {}", node.found()));
        }
        got.map(|value| At { value, at: node.at })
    }

    pub fn text_opt(&mut self, key: &'static str) -> Option<At<String>> {
        self.of_kind(key, "a text", |v| if let Value::Text(s) = v { Some(s.clone()) } else { None })
    }

    /// A text that must be there and hold something.
    pub fn text(&mut self, key: &'static str) -> Option<At<String>> {
        if !self.has(key) {
            self.asked.push(key);
            self.missing(key);
            return None;
        }
        let got = self.text_opt(key)?;
        if got.value.trim().is_empty() {
            self.wrong(key, "expected a text, found an empty one");
            return None;
        }
        Some(got)
    }

    pub fn number_opt(&mut self, key: &'static str) -> Option<At<f64>> {
        self.of_kind(key, "a number", number)
    }

    pub fn number(&mut self, key: &'static str) -> Option<At<f64>> {
        if !self.has(key) {
            self.asked.push(key);
            self.missing(key);
            return None;
        }
        self.number_opt(key)
    }

    pub fn bool_opt(&mut self, key: &'static str) -> Option<bool> {
        self.of_kind(key, "true or false", |v| if let Value::Bool(b) = v { Some(*b) } else { None }).map(|b| b.value)
    }

    /// The mapping under `key`, if it is there.
    pub fn map_opt(&mut self, key: &'static str) -> Option<Self> {
        let node = self.node(key)?;
        match &node.value {
            Value::Table(t) => Some(self.inner(t, self.path(key))),
            _ => {
                self.wrong(key, format!("expected a mapping, found {}", node.found()));
                None
            }
        }
    }

    pub fn map(&mut self, key: &'static str) -> Option<Self> {
        if !self.has(key) {
            self.asked.push(key);
            self.missing(key);
            return None;
        }
        self.map_opt(key)
    }

    /// The mappings of a list; nothing when left out.
    pub fn maps(&mut self, key: &'static str) -> Vec<Self> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let Value::Array(items) = &node.value else {
            self.wrong(key, format!("expected a list, found {}", node.found()));
            return Vec::new();
        };
        let mut out = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let path = format!("{}[{i}]", self.path(key));
            match &item.value {
                Value::Table(t) => out.push(self.inner(t, path)),
                _ => self.fault(item.at, format!("{path}: expected a mapping, found {}", item.found())),
            }
        }
        out
    }

    /// Names and texts; numbers and booleans are taken as they are written, lists joined by commas.
    pub fn labels(&mut self, key: &'static str) -> BTreeMap<String, String> {
        let Some(fields) = self.map_opt(key) else { return BTreeMap::new() };
        let mut out = BTreeMap::new();
        for e in &fields.table.entries {
            match plain(&e.node) {
                Some(text) => _ = out.insert(e.key.clone(), text),
                None => fields.wrong(&e.key, format!("expected a text, found {}", e.node.found())),
            }
        }
        out
    }

    /// Notes every key nobody asked for, with the name that was probably meant.
    pub fn finish(self) {
        for e in self.table.entries.iter().filter(|e| !self.asked.contains(&e.key.as_str())) {
            self.fault(e.key_at, unknown_key(&e.key, self.what(), self.asked.iter().copied()));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "no target, threshold or factor needs more than 53 bits")]
fn number(v: &Value) -> Option<f64> {
    match v {
        Value::Integer(i) => Some(*i as f64),
        Value::Float(f) if f.is_finite() => Some(*f),
        _ => None,
    }
}

fn plain(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(s) => Some(s.clone()),
        Value::Integer(i) => Some(i.to_string()),
        Value::Float(f) => Some(f.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        Value::Array(items) => items.iter().map(plain).collect::<Option<Vec<_>>>().map(|all| all.join(",")),
        _ => None,
    }
}
