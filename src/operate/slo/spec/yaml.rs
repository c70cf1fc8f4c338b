//! YAML with places, as the same tree that TOML is read into.

use std::path::Path;

use serde::de::Deserialize;
use serde::de::Deserializer;
use serde::de::Error as _;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_saphyr::Location;
use serde_saphyr::Spanned;

use crate::config::doc::Doc;
use crate::config::doc::Entry;
use crate::config::doc::Node;
use crate::config::doc::Table;
use crate::config::doc::Value;
use crate::config::fault::Faults;
use crate::config::fault::Place;

/// The documents of a file; those that hold nothing are left out, a list at the top is its items.
pub fn parse(path: &Path, source: &str) -> Result<Vec<Doc>, Faults> {
    let read: Vec<Spanned<Raw>> = serde_saphyr::from_multiple(source).map_err(|e| fault(path, &e))?;
    let mut docs = Vec::new();
    let mut faults = Faults::default();
    for raw in read {
        let Some(node) = node(raw) else { continue };
        let roots = match node.value {
            Value::Array(items) => items,
            _ => vec![node],
        };
        for root in roots {
            match root.value {
                Value::Table(t) => docs.push(Doc::new(path, source.to_owned(), t)),
                _ => {
                    faults.add(Place::at(path, source, root.at), format!("expected a mapping, found {}", root.found()))
                }
            }
        }
    }
    faults.or(docs)
}

fn fault(path: &Path, e: &serde_saphyr::Error) -> Faults {
    let whole = e.without_snippet().to_string();
    // The place is told by ours; the parser's own copy of it ends the sentence.
    let said = whole.split(" at line ").next().unwrap_or(&whole);
    let place = match e.location() {
        Some(at) if at != Location::UNKNOWN => Place::File {
            path: path.to_owned(),
            line: usize::try_from(at.line()).unwrap_or(usize::MAX),
            column: usize::try_from(at.column()).unwrap_or(usize::MAX),
        },
        _ => Place::Whole(path.to_owned()),
    };
    Faults::one(place, format!("not YAML: {said}"))
}

enum Raw {
    Null,
    Bool(bool),
    Integer(i64),
    Huge,
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn offset(at: Location) -> usize {
    at.span().byte_offset().and_then(|o| usize::try_from(o).ok()).unwrap_or(0)
}

/// `None` for null: a key without a value is as good as none.
fn node(raw: Spanned<Raw>) -> Option<Node> {
    let at = offset(raw.referenced);
    let value = match raw.value {
        Raw::Null => return None,
        Raw::Bool(b) => Value::Bool(b),
        Raw::Integer(i) => Value::Integer(i),
        Raw::Huge => Value::Huge,
        Raw::Float(f) => Value::Float(f),
        Raw::Text(s) => Value::Text(s),
        Raw::List(items) => Value::Array(items.into_iter().filter_map(node).collect()),
        Raw::Map(pairs) => {
            let entry = |(k, v): (Spanned<String>, Spanned<Raw>)| {
                Some(Entry { key_at: offset(k.referenced), key: k.value, node: node(v)? })
            };
            Value::Table(Table { entries: pairs.into_iter().filter_map(entry).collect(), at })
        }
    };
    Some(Node { at, value })
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Raw, E> {
        Ok(Raw::Integer(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Raw, E> {
        Ok(i64::try_from(v).map_or(Raw::Huge, Raw::Integer))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Huge)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Huge)
    }

    fn visit_f64<E>(self, v: f64) -> Result<Raw, E> {
        Ok(Raw::Float(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Raw, E> {
        Ok(Raw::Text(v.to_owned()))
    }

    fn visit_bytes<E: serde::de::Error>(self, _: &[u8]) -> Result<Raw, E> {
        Err(E::custom("binary data is not expected here"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut pairs: Vec<(Spanned<String>, Spanned<Raw>)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Raw>>()? {
            if pairs.iter().any(|(k, _)| k.value == key.value) {
                return Err(A::Error::custom(format!("the key {:?} is there twice", key.value)));
            }
            pairs.push((key, value));
        }
        Ok(Raw::Map(pairs))
    }
}
