//! A search written as JSON (the body of `_search`), read clause by clause: only what is known to read passes, and a value
//! stands only where a value is looked for. Scripts, stored templates, encoded queries and look-ups in other indices have no
//! place in it.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::Known;
use super::lucene;
use super::pieces::Piece;
use super::pieces::pieces;
use super::pieces::refers;

type Object = Map<String, Value>;
type Outcome = Result<Value, String>;

/// Clauses inside each other, and objects of any kind.
const DEEPEST: usize = 20;
/// Parts of a body that hold neither clauses nor values.
const PLAIN: [&str; 15] = [
    "_source",
    "fields",
    "docvalue_fields",
    "stored_fields",
    "sort",
    "size",
    "from",
    "track_total_hits",
    "track_scores",
    "timeout",
    "min_score",
    "terminate_after",
    "search_after",
    "collapse",
    "highlight",
];
/// Clauses of the shape `{FIELD: VALUE}` or `{FIELD: {PARAMETER: VALUE}}`.
const OF_FIELD: [&str; 10] = [
    "term",
    "match",
    "match_phrase",
    "match_phrase_prefix",
    "match_bool_prefix",
    "prefix",
    "wildcard",
    "regexp",
    "fuzzy",
    "range",
];
/// Parameters of such a clause that hold what is looked for.
const VALUES: [&str; 9] = ["value", "query", "gte", "gt", "lte", "lt", "from", "to", "wildcard"];
const AGGREGATIONS: [&str; 24] = [
    "terms",
    "rare_terms",
    "significant_terms",
    "date_histogram",
    "auto_date_histogram",
    "histogram",
    "range",
    "date_range",
    "ip_range",
    "missing",
    "composite",
    "nested",
    "reverse_nested",
    "cardinality",
    "value_count",
    "min",
    "max",
    "avg",
    "sum",
    "stats",
    "extended_stats",
    "percentiles",
    "percentile_ranks",
    "top_hits",
];

/// What the syntax of a value is: what must be escaped in it.
#[derive(Clone, Copy, PartialEq)]
enum Syntax {
    /// Nothing means anything.
    None,
    Wildcard,
    /// Also for simple query strings: a backslash before anything but letters and digits.
    Escapes,
    Lucene,
}

pub(super) struct Filler<'a> {
    pub value: &'a mut dyn FnMut(&str) -> Result<Known, String>,
}

impl Filler<'_> {
    /// # Errors
    /// What is not sent, and why.
    pub fn body(&mut self, body: Object) -> Result<Object, String> {
        let mut out = Object::new();
        for (key, part) in body {
            let part = match key.as_str() {
                "query" | "post_filter" => self.clause(part, 0)?,
                "aggs" | "aggregations" => self.aggregations(part, 0)?,
                k if PLAIN.contains(&k) => plain(part, 0)?,
                k => return Err(refused("part", k, &format!("query, post_filter, aggs, {}", PLAIN.join(", ")))),
            };
            out.insert(key, part);
        }
        Ok(out)
    }

    fn clause(&mut self, clause: Value, depth: usize) -> Outcome {
        deep(depth)?;
        let Value::Object(clause) = clause else { return Err("a clause of a search is an object".into()) };
        let mut all = clause.into_iter();
        let (Some((kind, inside)), None) = (all.next(), all.next()) else {
            return Err("a clause of a search is an object with one key: its kind".into());
        };
        let inside = match kind.as_str() {
            "bool" => self.parts(inside, &["must", "should", "filter", "must_not"], depth)?,
            "constant_score" => self.parts(inside, &["filter"], depth)?,
            "dis_max" => self.parts(inside, &["queries"], depth)?,
            "boosting" => self.parts(inside, &["positive", "negative"], depth)?,
            "nested" => self.parts(inside, &["query"], depth)?,
            "match_all" | "match_none" | "exists" => plain(inside, depth)?,
            "query_string" => self.text(inside, Syntax::Lucene)?,
            "simple_query_string" => self.text(inside, Syntax::Escapes)?,
            "multi_match" => self.text(inside, Syntax::None)?,
            "terms" => self.lists(inside)?,
            "ids" => self.lists(inside)?,
            "wildcard" => self.field(inside, Syntax::Wildcard)?,
            "regexp" => self.field(inside, Syntax::Escapes)?,
            k if OF_FIELD.contains(&k) => self.field(inside, Syntax::None)?,
            k => {
                let known = "bool, constant_score, dis_max, boosting, nested, match_all, match_none, exists, terms, ids, \
                             query_string, simple_query_string, multi_match";
                return Err(refused("clause", k, &format!("{known}, {}", OF_FIELD.join(", "))));
            }
        };
        Ok(json!({ kind: inside }))
    }

    /// A clause that holds others under these keys.
    fn parts(&mut self, inside: Value, keys: &[&str], depth: usize) -> Outcome {
        let mut out = Object::new();
        for (key, part) in object(inside)? {
            let part = match part {
                part if !keys.contains(&key.as_str()) => named(&key).and_then(|()| plain(part, depth))?,
                Value::Array(all) => {
                    all.into_iter().map(|c| self.clause(c, depth + 1)).collect::<Result<Vec<_>, _>>()?.into()
                }
                one => self.clause(one, depth + 1)?,
            };
            out.insert(key, part);
        }
        Ok(Value::Object(out))
    }

    /// A clause over any fields, whose `query` is what is looked for.
    fn text(&mut self, inside: Value, syntax: Syntax) -> Outcome {
        let mut out = Object::new();
        for (key, part) in object(inside)? {
            let part =
                if key == "query" { self.scalar(part, syntax)? } else { named(&key).and_then(|()| plain(part, 0))? };
            out.insert(key, part);
        }
        Ok(Value::Object(out))
    }

    /// `{FIELD: [VALUES]}`; an object there would be a look-up in another index.
    fn lists(&mut self, inside: Value) -> Outcome {
        let mut out = Object::new();
        for (key, part) in object(inside)? {
            no_name(&key)?;
            let part = match part {
                Value::Array(all) => {
                    all.into_iter().map(|v| self.scalar(v, Syntax::None)).collect::<Result<Vec<_>, _>>()?.into()
                }
                Value::Object(_) => return Err(format!("{key:?}: a list of values was expected, not a look-up")),
                part => plain(part, 0)?,
            };
            out.insert(key, part);
        }
        Ok(Value::Object(out))
    }

    fn field(&mut self, inside: Value, syntax: Syntax) -> Outcome {
        let mut out = Object::new();
        for (field, part) in object(inside)? {
            no_name(&field)?;
            let part = match part {
                Value::Object(params) => {
                    let mut all = Object::new();
                    for (key, v) in params {
                        let v = if VALUES.contains(&key.as_str()) {
                            self.scalar(v, syntax)?
                        } else {
                            named(&key).and_then(|()| plain(v, 0))?
                        };
                        all.insert(key, v);
                    }
                    Value::Object(all)
                }
                one => self.scalar(one, syntax)?,
            };
            out.insert(field, part);
        }
        Ok(Value::Object(out))
    }

    /// What is looked for.
    fn scalar(&mut self, v: Value, syntax: Syntax) -> Outcome {
        let text = match v {
            Value::Array(_) | Value::Object(_) => return Err("a single value was expected to be looked for".into()),
            Value::String(text) if refers(&text) => text,
            other => return Ok(other),
        };
        if syntax == Syntax::Lucene {
            let value = &mut *self.value;
            return Ok(lucene::fill(&text, &mut |name| Ok(value(name)?.text))?.into());
        }
        let all = pieces(&text);
        if let ([Piece::Name(name)], Syntax::None) = (all.as_slice(), syntax) {
            return Ok((self.value)(name)?.typed());
        }
        let mut out = String::new();
        for piece in all {
            match piece {
                Piece::Text(t) => out.push_str(t),
                Piece::Name(name) if out.ends_with('\\') && syntax != Syntax::None => {
                    return Err(format!(
                        "{} stands behind a backslash, where no value is safe",
                        name.trim_matches('_')
                    ));
                }
                Piece::Name(name) => {
                    let value = (self.value)(name)?.text;
                    match syntax {
                        Syntax::Wildcard => out.push_str(&literal(&value)),
                        Syntax::Escapes | Syntax::Lucene => out.push_str(&lucene::escaped(&value)),
                        Syntax::None => out.push_str(&value),
                    }
                }
            }
        }
        Ok(out.into())
    }

    fn aggregations(&mut self, all: Value, depth: usize) -> Outcome {
        deep(depth)?;
        let mut out = Object::new();
        for (name, one) in object(all)? {
            no_name(&name)?;
            let mut parts = Object::new();
            for (kind, inside) in object(one)? {
                let inside = match kind.as_str() {
                    "aggs" | "aggregations" => self.aggregations(inside, depth + 1)?,
                    "filter" => self.clause(inside, depth + 1)?,
                    "filters" => self.filters(inside, depth + 1)?,
                    "meta" => plain(inside, depth)?,
                    k if AGGREGATIONS.contains(&k) => plain(inside, depth)?,
                    k => {
                        return Err(refused(
                            "aggregation",
                            k,
                            &format!("filter, filters, {}", AGGREGATIONS.join(", ")),
                        ));
                    }
                };
                parts.insert(kind, inside);
            }
            out.insert(name, Value::Object(parts));
        }
        Ok(Value::Object(out))
    }

    fn filters(&mut self, inside: Value, depth: usize) -> Outcome {
        let mut out = Object::new();
        for (key, part) in object(inside)? {
            let part = match part {
                Value::Object(named) if key == "filters" => {
                    let mut all = Object::new();
                    for (name, clause) in named {
                        no_name(&name)?;
                        all.insert(name, self.clause(clause, depth)?);
                    }
                    Value::Object(all)
                }
                Value::Array(list) if key == "filters" => {
                    list.into_iter().map(|c| self.clause(c, depth)).collect::<Result<Vec<_>, _>>()?.into()
                }
                part => named(&key).and_then(|()| plain(part, depth))?,
            };
            out.insert(key, part);
        }
        Ok(Value::Object(out))
    }
}

/// The wildcards of a value, escaped.
fn literal(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if "*?\\".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A part that holds parameters alone: nothing in it runs, looks elsewhere or is a variable.
fn plain(v: Value, depth: usize) -> Outcome {
    deep(depth)?;
    Ok(match v {
        Value::Object(all) => {
            let mut out = Object::new();
            for (key, part) in all {
                named(&key)?;
                out.insert(key, plain(part, depth + 1)?);
            }
            Value::Object(out)
        }
        Value::Array(all) => all.into_iter().map(|p| plain(p, depth + 1)).collect::<Result<Vec<_>, _>>()?.into(),
        Value::String(text) => {
            if refers(&text) {
                return Err(format!("a variable stands in {text:?}: it may stand only where a value is looked for"));
            }
            if text == "_script" {
                return Err("no script is sent".into());
            }
            Value::String(text)
        }
        other => other,
    })
}

/// Whether a parameter's name is harmless.
fn named(key: &str) -> Result<(), String> {
    const ELSEWHERE: [&str; 13] = [
        "runtime_mappings",
        "derived",
        "wrapper",
        "percolate",
        "index",
        "_index",
        "indexed_shape",
        "indices_boost",
        "search_pipeline",
        "pit",
        "scroll",
        "ext",
        "template",
    ];
    if key.contains("script") || key == "lang" {
        return Err(format!("{key:?}: no script is sent"));
    }
    if ELSEWHERE.contains(&key) {
        return Err(format!("{key:?} is not sent: it reaches past the search itself"));
    }
    no_name(key)
}

fn no_name(key: &str) -> Result<(), String> {
    if refers(key) {
        Err(format!("a variable stands in the name {key:?}: it may stand only for a value"))
    } else {
        Ok(())
    }
}

fn object(v: Value) -> Result<Object, String> {
    match v {
        Value::Object(o) => Ok(o),
        _ => Err("an object was expected".into()),
    }
}

fn deep(depth: usize) -> Result<(), String> {
    if depth > DEEPEST { Err(format!("more than {DEEPEST} levels inside each other")) } else { Ok(()) }
}

fn refused(what: &str, key: &str, known: &str) -> String {
    if key.contains("script") || key == "runtime_mappings" {
        return format!("{key:?}: no script is sent");
    }
    format!("the {what} {key:?} is not sent; sent are {known}")
}
