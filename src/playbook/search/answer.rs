//! What came back. The server's words and the documents are untrusted.

use serde_json::Value;

use crate::model::playbook_run::Found;
use crate::text;
use crate::text::Untrusted;

/// Hits told in short, and bytes of one.
const FIRST: usize = 5;
const LONGEST: usize = 300;
/// Buckets told of an aggregation.
const BUCKETS: usize = 5;
/// Fields told of a hit.
const FIELDS: usize = 40;

/// Reads an answer of `_search`. `asked`: how many hits were asked for. What the answer does not say is said to be missing.
///
/// # Errors
/// It is no answer, or nothing was searched.
pub fn read(bytes: &[u8], index: &str, asked: u64) -> Result<Found, String> {
    let v: Value = serde_json::from_slice(bytes).map_err(|e| format!("the answer cannot be read: {e}"))?;
    let hits = v["hits"]["hits"].as_array().ok_or("the answer holds no list of hits")?;
    let shards = &v["_shards"];
    if shards["total"].as_u64() == Some(0) {
        return Err(format!("no index matches {index}: nothing was searched"));
    }
    let total = &v["hits"]["total"];
    let mut first = aggregations(&v["aggregations"]);
    first.extend(hits.iter().take(FIRST).map(one));
    let kept = u64::try_from(hits.len()).unwrap_or(u64::MAX);
    Ok(Found {
        index: index.to_owned(),
        hits: total["value"].as_u64(),
        at_least: total["relation"].as_str() != Some("eq"),
        asked,
        kept,
        took_ms: v["took"].as_u64(),
        partial: partial(&v).map(Untrusted::new),
        first: first.into_iter().map(Untrusted::new).collect(),
    })
}

/// Why not everything was looked at, or that this is not known.
fn partial(v: &Value) -> Option<String> {
    let mut why = Vec::new();
    match v["timed_out"].as_bool() {
        Some(false) => {}
        Some(true) => why.push("the server's time ran out".to_owned()),
        None => why.push("it does not say whether its time ran out".to_owned()),
    }
    let shards = &v["_shards"];
    match (shards["total"].as_u64(), shards["failed"].as_u64()) {
        (Some(_), Some(0)) => {}
        (Some(total), Some(failed)) => {
            let reason = &shards["failures"][0]["reason"];
            let said =
                reason["caused_by"]["reason"].as_str().or(reason["reason"].as_str()).unwrap_or("no reason given");
            why.push(format!("{failed} of {total} shards failed: {}", text::front(said, 200)));
        }
        _ => why.push("it does not say how many shards answered".to_owned()),
    }
    if v["terminated_early"].as_bool() == Some(true) {
        why.push("it ended early, as the search asks".to_owned());
    }
    (!why.is_empty()).then(|| why.join("; "))
}

/// A hit on one line: its time first, then its fields in their order.
fn one(hit: &Value) -> String {
    let source = if hit["_source"].is_object() { &hit["_source"] } else { &hit["fields"] };
    let mut fields = Vec::new();
    flat(source, "", &mut fields);
    let time = |(name, _): &&(String, String)| ["@timestamp", "timestamp", "time"].contains(&name.as_str());
    let mut out: Vec<String> = fields.iter().find(time).map(|(_, v)| v.clone()).into_iter().collect();
    out.extend(fields.iter().filter(|f| !time(f)).map(|(name, v)| format!("{name}={v}")));
    if out.is_empty() {
        out.push(format!("_id={}", hit["_id"].as_str().unwrap_or("?")));
    }
    text::front(&out.join(" "), LONGEST).to_owned()
}

fn flat(v: &Value, name: &str, out: &mut Vec<(String, String)>) {
    if out.len() >= FIELDS {
        return;
    }
    match v {
        Value::Object(all) => {
            for (key, v) in all {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flat(v, &name, out);
            }
        }
        Value::Array(all) if all.iter().any(|v| v.is_object() || v.is_array()) => {
            all.iter().for_each(|v| flat(v, name, out));
        }
        Value::Array(all) => {
            let all: Vec<String> = all.iter().take(BUCKETS).map(scalar).collect();
            out.push((name.to_owned(), all.join(",")));
        }
        Value::Null => {}
        other => out.push((name.to_owned(), scalar(other))),
    }
}

fn scalar(v: &Value) -> String {
    v.as_str().map_or_else(|| v.to_string(), |s| text::front(s, LONGEST).to_owned())
}

/// The first buckets or the value of each.
fn aggregations(all: &Value) -> Vec<String> {
    let Some(all) = all.as_object() else { return Vec::new() };
    let told = |(name, a): (&String, &Value)| {
        let said = match a["buckets"].as_array() {
            Some(buckets) => {
                let each = buckets.iter().take(BUCKETS).map(|b| {
                    let key = if b["key_as_string"].is_string() { &b["key_as_string"] } else { &b["key"] };
                    format!("{} {}", scalar(key), b["doc_count"])
                });
                let more = if buckets.len() > BUCKETS { format!(", of {}", buckets.len()) } else { String::new() };
                format!("{}{more}", each.collect::<Vec<_>>().join(", "))
            }
            None if !a["value"].is_null() => scalar(&a["value"]),
            None => format!("{} documents", a["doc_count"]),
        };
        text::front(&format!("{name}: {said}"), LONGEST).to_owned()
    };
    all.iter().take(FIRST).map(told).collect()
}
