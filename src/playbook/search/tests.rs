use serde_json::json;

use super::*;
use crate::text::Untrusted;

/// What an attacker would write into a field of an alert.
const HOSTILE: [&str; 9] = [
    r#"x"}},{"script":{"script":"ctx._source.remove('a')"}},{"term":{"a":"b"#,
    "*) OR (",
    "* OR _exists_:password",
    r#"" OR user:admin OR ""#,
    r"\",
    "]} OR [a TO z",
    "/.*/",
    "a\" \nAND\tNOT b || !c && d^9 ~2",
    "__other__:value",
];

fn command(text: &str) -> Command {
    Command { kind: OPENSEARCH.into(), text: text.into(), description: Untrusted::default(), more: Map::new() }
}

fn allowed() -> Vec<String> {
    ["alerts-*", "logs-web"].map(String::from).to_vec()
}

fn with(text: &str, value: &str, kind: &str) -> Result<Search, String> {
    let known = Known { text: value.into(), kind: kind.into() };
    prepare(&command(text), &allowed(), &mut |name| (name == "__v__").then(|| known.clone()))
}

/// The shape: every key and the kind of every value, without the texts.
fn shape(v: &Value) -> Value {
    match v {
        Value::Object(o) => Value::Object(o.iter().map(|(k, v)| (k.clone(), shape(v))).collect()),
        Value::Array(a) => a.iter().map(shape).collect(),
        Value::String(_) => "text".into(),
        other => other.clone(),
    }
}

#[test]
fn no_value_changes_what_is_searched_for() {
    for text in [
        r#"{"query":{"term":{"user.name":"__v__:value"}}}"#,
        r#"{"query":{"bool":{"filter":[{"match":{"m":{"query":"__v__:value"}}},{"terms":{"a":["x","__v__:value"]}}]}}}"#,
        r#"{"query":{"wildcard":{"a":{"value":"*__v__:value*"}}},"aggs":{"h":{"filter":{"term":{"b":"__v__:value"}}}}}"#,
        r#"{"query":{"query_string":{"query":"a:__v__:value AND b:\"__v__:value\""}}}"#,
        "user.name:__v__:value OR a:\"__v__:value\" OR b:__v__:value*",
    ] {
        let plain = with(text, "amara", "string").unwrap();
        for value in HOSTILE {
            let one = with(text, value, "string").unwrap();
            assert_eq!(shape(&one.body), shape(&plain.body), "{text}: {value}");
            assert_eq!(one.indices, plain.indices);
        }
    }
    let one = with(r#"{"query":{"term":{"u":"__v__:value"}}}"#, HOSTILE[0], "string").unwrap();
    assert_eq!(one.body["query"]["term"]["u"], HOSTILE[0], "looked for as it is");
    let one = with(r#"{"query":{"wildcard":{"u":"*__v__:value*"}}}"#, r"a*b?c\", "string").unwrap();
    assert_eq!(one.body["query"]["wildcard"]["u"], r"*a\*b\?c\\*");
    let one = with(r#"{"query":{"regexp":{"u":".*__v__:value"}}}"#, "a.b|c", "string").unwrap();
    assert_eq!(one.body["query"]["regexp"]["u"], r".*a\.b\|c");
}

#[test]
fn a_value_has_the_type_of_its_variable() {
    let of = |value: &str, kind: &str| {
        with(r#"{"query":{"term":{"n":"__v__:value"}}}"#, value, kind).unwrap().body["query"]["term"]["n"].clone()
    };
    assert_eq!(of("5", "integer"), json!(5));
    assert_eq!(of("5", "string"), json!("5"));
    assert_eq!(of("1.5", "float"), json!(1.5));
    assert_eq!(of("True", "bool"), json!(true));
    assert_eq!(of(r#"{"a":1}"#, "dictionary"), json!(r#"{"a":1}"#), "never an object");
}

#[test]
fn what_is_not_known_is_not_searched() {
    let text = "a:__v__:value AND b:__w__:value";
    assert_eq!(with(text, "x", "string"), Err("w is not known yet".into()));
    assert_eq!(with("a:__v__:value*", "  ", "string"), Err("v is empty".into()));
}

#[test]
fn only_what_reads_is_sent() {
    for (text, why) in [
        (r#"{"query":{"script":{"script":"1"}}}"#, "no script"),
        (r#"{"query":{"bool":{"filter":{"script":{"script":"1"}}}}}"#, "no script"),
        (r#"{"query":{"script_score":{"query":{"match_all":{}},"script":{"source":"1"}}}}"#, "no script"),
        (r#"{"query":{"function_score":{"script_score":{"script":"1"}}}}"#, "is not sent"),
        (r#"{"query":{"wrapper":{"query":"eyJzY3JpcHQiOnt9fQ=="}}}"#, "is not sent"),
        (r#"{"query":{"terms":{"u":{"index":"secret","id":"1","path":"u"}}}}"#, "not a look-up"),
        (r#"{"query":{"percolate":{"field":"q","index":"secret","id":"1"}}}"#, "is not sent"),
        (r#"{"query":{"more_like_this":{"like":[{"_index":"secret","_id":"1"}]}}}"#, "is not sent"),
        (r#"{"query":{"geo_shape":{"l":{"indexed_shape":{"index":"s","id":"1"}}}}}"#, "is not sent"),
        (
            r#"{"query":{"terms_set":{"u":{"terms":["a"],"minimum_should_match_script":{"source":"1"}}}}}"#,
            "is not sent",
        ),
        (r#"{"query":{"match":{"u":{"query":"x","script":"1"}}}}"#, "no script"),
        (r#"{"query":{"term":{"a":"1"},"script":{"script":"1"}}}"#, "one key"),
        (r#"{"script_fields":{"a":{"script":"1"}}}"#, "no script"),
        (r#"{"runtime_mappings":{"a":{"type":"keyword"}}}"#, "no script"),
        (r#"{"derived":{"a":{"type":"keyword","script":"emit(1)"}}}"#, "is not sent"),
        (r#"{"pit":{"id":"x"}}"#, "is not sent"),
        (r#"{"search_pipeline":{"request_processors":[]}}"#, "is not sent"),
        (r#"{"suggest":{"a":{"text":"x","phrase":{"field":"f","collate":{"query":{"source":"x"}}}}}}"#, "is not sent"),
        (r#"{"sort":[{"_script":{"type":"number","script":"1"}}]}"#, "no script"),
        (r#"{"sort":"_script"}"#, "no script"),
        (r#"{"aggs":{"a":{"scripted_metric":{"init_script":"1"}}}}"#, "no script"),
        (r#"{"aggs":{"a":{"terms":{"script":"1"}}}}"#, "no script"),
        (r#"{"aggs":{"a":{"terms":{"field":"f"},"aggs":{"b":{"bucket_script":{"script":"1"}}}}}}"#, "no script"),
        (r#"{"aggs":{"a":{"top_hits":{"script_fields":{"a":{"script":"1"}}}}}}"#, "no script"),
        (r#"{"aggs":{"a":{"filter":{"script":{"script":"1"}}}}}"#, "no script"),
        (r#"{"aggs":{"a":{"filters":{"filters":{"x":{"script":{"script":"1"}}}}}}}"#, "no script"),
        (
            r#"{"aggs":{"a":{"significant_terms":{"field":"f","background_filter":{"wrapper":{"query":"x"}}}}}}"#,
            "not sent",
        ),
        (r#"{"highlight":{"fields":{"a":{"highlight_query":{"script":{"script":"1"}}}}}}"#, "no script"),
        (r#"{"doc":{"a":1}}"#, "is not sent"),
        (r#"{"query":{"term":{"__v__:value":"x"}}}"#, "in the name"),
        (r#"{"query":{"multi_match":{"query":"x","fields":["__v__:value"]}}}"#, "only where a value"),
        (r#"{"_source":["__v__:value"]}"#, "only where a value"),
        (r#"{"sort":[{"__v__:value":"asc"}]}"#, "in the name"),
        (r#"{"size":"__v__:value"}"#, "only where a value"),
        (r#"{"size":-1}"#, "whole number"),
        (r#"{"from":10000}"#, "at most"),
        (r#"{"query":"#, "no JSON"),
        ("  ", "empty"),
    ] {
        let refused = with(text, "x", "string");
        assert!(matches!(&refused, Err(e) if e.contains(why)), "{text}: {refused:?}");
    }
    // A field may be called anything.
    assert!(with(r#"{"query":{"term":{"script":"x"}}}"#, "x", "string").is_ok());
    let deep = format!("{{\"query\":{}{{\"match_all\":{{}}}}{}}}", "{\"bool\":{\"must\":".repeat(40), "}}".repeat(40));
    assert!(with(&deep, "x", "string").is_err_and(|e| e.contains("levels")));
    assert!(with("a:__v__:value", &"x".repeat(40_000), "string").is_err_and(|e| e.contains("bytes")));
}

#[test]
fn the_linter_names_what_is_not_sent() {
    let library = crate::playbook::Library::bundled();
    let mut seen = 0;
    for (item, c) in library.items().iter().flat_map(|i| i.book.steps.iter().flat_map(of_step).map(move |c| (i, c))) {
        assert_eq!(sendable(c), Ok(()), "{}", item.book.key);
        seen += 1;
    }
    assert!(seen >= 5, "{seen}");
    let mut json = library.get("malware").unwrap().document.json().clone();
    for step in json["workflow"].as_object_mut().unwrap().values_mut() {
        for c in step["commands"].as_array_mut().into_iter().flatten().filter(|c| c["type"] == OPENSEARCH) {
            c["command"] = r#"{"query":{"script":{"script":"1"}}}"#.into();
        }
    }
    let changed = crate::playbook::Document::of(Value::Object(json)).unwrap();
    let found = crate::playbook::lint::lint(&changed, None);
    let named = found.iter().find(|f| f.code == "search").unwrap();
    assert!(named.at.expose().ends_with("/commands/0") || named.at.expose().ends_with("/commands/1"), "{named:?}");
    assert!(named.message.expose().contains("no script"), "{named:?}");
}

#[test]
fn size_and_time_have_a_limit() {
    for (text, size) in
        [("a:b", 100), (r#"{"size":100000}"#, 100), (r#"{"size":3,"timeout":"2h"}"#, 3), (r#"{"size":0}"#, 0)]
    {
        let one = with(text, "x", "string").unwrap();
        assert_eq!(
            (one.body["size"].as_u64(), one.body["timeout"].as_str()),
            (Some(size), Some(SERVER_TIME)),
            "{text}"
        );
    }
}

#[test]
fn only_indices_that_are_let_are_searched() {
    let of = |index: Value| {
        let command = Command { more: Map::from_iter([("index".to_owned(), index)]), ..command("a:b") };
        prepare(&command, &allowed(), &mut |_| None).map(|s| s.indices)
    };
    assert_eq!(of(json!("alerts-2026*, logs-web")), Ok(vec!["alerts-2026*".into(), "logs-web".into()]));
    assert_eq!(of(json!(["alerts-a"])), Ok(vec!["alerts-a".into()]));
    for bad in [
        json!("*"),
        json!("alerts-a,secret"),
        json!("alerts-*,-alerts-a"),
        json!("_all"),
        json!(""),
        json!([]),
        json!(7),
    ] {
        assert!(of(bad.clone()).is_err(), "{bad}");
    }
    assert_eq!(prepare(&command("a:b"), &allowed(), &mut |_| None).unwrap().indices, allowed());
    assert!(prepare(&command("a:b"), &[], &mut |_| None).is_err_and(|e| e.contains("query_indices")));
}

#[test]
fn an_answer_says_what_it_leaves_out() {
    let answer = |more: Value| {
        let mut v = json!({
            "took": 4, "timed_out": false, "_shards": { "total": 2, "successful": 2, "failed": 0 },
            "hits": { "total": { "value": 1, "relation": "eq" }, "hits": [
                { "_id": "1", "_source": { "user": { "name": "a" }, "@timestamp": "2026-11-21T09:00:00Z", "n": [1, 2] } },
            ] },
        });
        for (k, part) in more.as_object().unwrap() {
            v[k] = part.clone();
        }
        read(v.to_string().as_bytes(), "alerts-*", 100)
    };
    let whole = answer(json!({})).unwrap();
    assert_eq!(whole.words(), "1 hit in alerts-*, all kept, in 4 ms");
    assert_eq!(whole.first, [Untrusted::new("2026-11-21T09:00:00Z user.name=a n=1,2")]);
    let late = answer(json!({ "timed_out": true })).unwrap();
    assert!(late.words().ends_with("PARTIAL: the server's time ran out"), "{}", late.words());
    let failed = json!({ "_shards": { "total": 2, "failed": 1, "failures": [{ "reason": { "reason": "disk" } }] } });
    assert!(answer(failed).unwrap().words().ends_with("PARTIAL: 1 of 2 shards failed: disk"));
    let more = json!({ "hits": { "total": { "value": 10_000, "relation": "gte" }, "hits": [] } });
    assert_eq!(answer(more).unwrap().words(), "at least 10000 hits in alerts-*, 0 kept (TRUNCATED), in 4 ms");
    let none = json!({ "hits": { "total": { "value": 0, "relation": "eq" }, "hits": [] } });
    assert_eq!(answer(none).unwrap().words(), "0 hits in alerts-*, in 4 ms");
    // What is not said is not good.
    assert!(answer(json!({ "timed_out": null })).unwrap().partial.is_some());
    assert!(answer(json!({ "_shards": {} })).unwrap().partial.is_some());
    assert!(answer(json!({ "_shards": { "total": 0, "failed": 0 } })).is_err_and(|e| e.contains("no index matches")));
    assert!(answer(json!({ "hits": {} })).is_err() && read(b"<html>", "a", 1).is_err());
    let counted = answer(json!({ "aggregations": { "by": { "buckets": [{ "key": "x", "doc_count": 7 }] } } })).unwrap();
    assert_eq!(counted.first[0], Untrusted::new("by: x 7"));
}
