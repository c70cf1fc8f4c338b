//! One layer of settings, each value checked against the table of keys where it stands.

use std::collections::BTreeMap;
use std::path::Path;

use super::doc::{Doc, Node, Table, Value};
use super::fault::{Faults, Place, nearest};
use super::keys::{KEYS, Key, Kind, absolute, dotted};
use super::load::Env;

/// Where a value came from, weakest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    Default,
    File,
    Profile(String),
    Env,
    Flag,
}

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File => f.write_str("file"),
            Self::Profile(name) => write!(f, "profile {name}"),
            Self::Env => f.write_str("environment"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// The layer of a value and the place it stands at; a default stands nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub layer: Layer,
    pub place: Option<Place>,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Some(place) if matches!(self.layer, Layer::Env | Layer::Flag) => write!(f, "{place}"),
            Some(place) => write!(f, "{} {place}", self.layer),
            None => write!(f, "{}", self.layer),
        }
    }
}

/// Names from the root to a value.
pub type KeyPath = Vec<String>;

/// Values by path, with their origins.
pub type Values = BTreeMap<KeyPath, (toml::Value, Origin)>;

/// Names that may follow a path; `*` means any.
fn names_under(path: &[String]) -> Vec<&'static str> {
    let mut names: Vec<&str> = KEYS
        .iter()
        .filter(|k| k.segments().zip(path).filter(|(k, p)| *k == "*" || k == p).count() == path.len())
        .filter_map(|k| k.segments().nth(path.len()))
        .collect();
    names.dedup();
    names.sort_unstable();
    names.dedup();
    names
}

/// Stands where a value was told to be wrong, so that it is not told to be missing as well.
const WRONG: toml::Value = toml::Value::Boolean(false);

/// Reads the settings of one table of a file.
pub struct FileLayer<'a> {
    pub doc: &'a Doc,
    pub layer: Layer,
    pub base: &'a Path,
    pub home: Option<&'a str>,
    pub out: &'a mut Values,
    pub faults: &'a mut Faults,
}

impl FileLayer<'_> {
    /// `skip`: a name at this level that is somebody else's.
    pub fn table(&mut self, table: &Table, path: &mut KeyPath, skip: Option<&str>) {
        let names = names_under(path);
        for entry in table.entries.iter().filter(|e| Some(e.key.as_str()) != skip) {
            if !names.contains(&"*") && !names.contains(&entry.key.as_str()) {
                let message = unknown(path, &entry.key, &names);
                self.faults.add(self.doc.place(entry.key_at), message);
                continue;
            }
            if entry.key.is_empty() {
                self.faults.add(self.doc.place(entry.key_at), "a name must not be empty");
                continue;
            }
            path.push(entry.key.clone());
            match KEYS.iter().find(|k| k.is_at(path)) {
                Some(key) => self.value(key, &entry.node, path),
                None => match &entry.node.value {
                    Value::Table(t) => self.table(t, path, None),
                    _ => self.fault(&entry.node, path, "a table"),
                },
            }
            path.pop();
        }
    }

    fn fault(&mut self, node: &Node, path: &[String], expected: &str) {
        let message = format!("{}: expected {expected}, found {}", dotted(path), node.found());
        self.faults.add(self.doc.place(node.at), message);
    }

    fn value(&mut self, key: &Key, node: &Node, path: &[String]) {
        let value = match (key.kind, &node.value) {
            (Kind::Bool, Value::Bool(b)) => toml::Value::Boolean(*b),
            (Kind::Whole(least, most), Value::Integer(i)) if (least..=most).contains(i) => toml::Value::Integer(*i),
            (Kind::Texts | Kind::Words(_), Value::Array(items)) => {
                let texts: Vec<_> = items.iter().filter_map(|n| self.text(key, n, path)).collect();
                toml::Value::Array(texts)
            }
            (Kind::Bool | Kind::Whole(..) | Kind::Texts | Kind::Words(_), _) => {
                self.fault(node, path, &key.kind.expected());
                WRONG
            }
            _ => self.text(key, node, path).unwrap_or(WRONG),
        };
        let origin = Origin { layer: self.layer.clone(), place: Some(self.doc.place(node.at)) };
        self.out.insert(path.to_vec(), (value, origin));
    }

    fn text(&mut self, key: &Key, node: &Node, path: &[String]) -> Option<toml::Value> {
        let Value::Text(text) = &node.value else {
            self.fault(node, path, &key.kind.expected());
            return None;
        };
        if let Err(why) = key.kind.check_text(text) {
            self.faults.add(self.doc.place(node.at), format!("{}: {why}", dotted(path)));
            return None;
        }
        Some(toml::Value::String(settled(key.kind, text, self.base, self.home)))
    }
}

/// Paths are made absolute where they were written; other texts stay.
fn settled(kind: Kind, text: &str, base: &Path, home: Option<&str>) -> String {
    match kind {
        Kind::Path => absolute(text, base, home).to_string_lossy().into_owned(),
        _ => text.to_owned(),
    }
}

/// Says what was probably meant: a neighbour's name, or the same name in another table.
fn unknown(path: &[String], name: &str, names: &[&str]) -> String {
    let of = if path.is_empty() { String::new() } else { format!(" of {}", dotted(path)) };
    if let Some(near) = nearest(name, names.iter().copied()) {
        return format!("unknown key {name:?}{of}; did you mean {near:?}?");
    }
    match KEYS.iter().find(|k| k.name() == name) {
        Some(key) => format!("unknown key {name:?}{of}; did you mean {}?", key.path.replace('*', "NAME")),
        None => format!("unknown key {name:?}{of}; known: {}", names.join(", ")),
    }
}

const PREFIX: &str = "WATCHFLOOR_";
/// Variables that are no settings.
const OTHERS: &[&str] = &["WATCHFLOOR_CONFIG", "WATCHFLOOR_PROFILE", "WATCHFLOOR_DATA_DIR"];

/// Settings of the environment: `WATCHFLOOR_SECTION__KEY=value`. Lists are separated by commas.
pub fn environment(env: &Env, out: &mut Values, faults: &mut Faults) {
    for (name, value) in env.iter() {
        let Some(rest) = name.strip_prefix(PREFIX).filter(|_| !OTHERS.contains(&name)) else { continue };
        let path: KeyPath = rest.split("__").map(str::to_lowercase).collect();
        let place = Place::Env(name.to_owned());
        let Some(key) = KEYS.iter().find(|k| k.is_at(&path)) else {
            if let Some(message) = unknown_variable(rest) {
                faults.add(place, message);
            }
            continue;
        };
        let value = typed(key.kind, value, env.get("HOME")).unwrap_or_else(|why| {
            faults.add(place.clone(), why);
            WRONG
        });
        out.insert(path, (value, Origin { layer: Layer::Env, place: Some(place) }));
    }
}

/// A variable that begins like ours but is no setting; `None` for those that are clearly meant for something else.
fn unknown_variable(rest: &str) -> Option<String> {
    let known: Vec<String> = KEYS
        .iter()
        .filter(|k| !k.path.contains('*'))
        .map(|k| format!("{PREFIX}{}", k.path.to_uppercase().replace('.', "__")))
        .collect();
    let ours = rest.contains("__") || KEYS.iter().any(|k| k.segments().next().is_some_and(|s| starts(rest, s)));
    if !ours {
        return None;
    }
    Some(match nearest(&format!("{PREFIX}{rest}"), known.iter().map(String::as_str)) {
        Some(near) => format!("no such setting; did you mean {near}?"),
        None => "no such setting; settings are written WATCHFLOOR_SECTION__KEY".to_owned(),
    })
}

fn starts(rest: &str, section: &str) -> bool {
    rest.to_lowercase().strip_prefix(section).is_some_and(|r| r.starts_with('_'))
}

/// The value of a text that has no type of its own.
fn typed(kind: Kind, text: &str, home: Option<&str>) -> Result<toml::Value, String> {
    let expected = || format!("expected {}", kind.expected());
    match kind {
        Kind::Bool => match text.to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true.into()),
            "false" | "0" | "no" | "off" => Ok(false.into()),
            _ => Err(expected()),
        },
        Kind::Whole(least, most) => match text.trim().parse::<i64>() {
            Ok(i) if (least..=most).contains(&i) => Ok(i.into()),
            _ => Err(expected()),
        },
        Kind::Texts | Kind::Words(_) => {
            let items: Vec<&str> = text.split(',').map(str::trim).filter(|s| !s.is_empty()).collect();
            items.iter().try_for_each(|i| kind.check_text(i))?;
            Ok(toml::Value::Array(items.into_iter().map(toml::Value::from).collect()))
        }
        _ => {
            kind.check_text(text)?;
            let here = std::env::current_dir().unwrap_or_default();
            Ok(settled(kind, text, &here, home).into())
        }
    }
}
