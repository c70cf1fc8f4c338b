//! The shape of an answer, as JSON Schema for the server and as a reader for what comes back.
//!
//! The schema keeps to objects, enums, bounds and plain patterns, which vLLM and llama.cpp both enforce; both ignore or
//! refuse much of the rest. Claims come before the verdict, so that a model states its evidence before it concludes. A
//! grammar guarantees shape and nothing else: see [`super::check`].

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Offer;
use crate::model::priority::Priority;
use crate::model::verdict::{Claim, Suggestion, VerdictKind};
use crate::text::Untrusted;

/// Named where no playbook fits.
const NONE: &str = "none";

/// What a backend answered, read but not yet checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub kind: VerdictKind,
    pub claims: Vec<Claim>,
    pub techniques: Vec<String>,
    pub advised_priority: Option<Priority>,
    pub questions: Vec<Untrusted>,
    pub suggested_actions: Vec<Suggestion>,
    pub playbook: Option<String>,
}

/// The schema.
pub fn schema(offer: &Offer) -> Value {
    let actions = &offer.actions;
    let words: Vec<_> = VerdictKind::ALL.iter().map(|k| k.word()).collect();
    let mut properties = json!({
        "claims": {"type": "array", "items": claim(), "minItems": 1, "maxItems": 5},
        "techniques": {
            "type": "array", "maxItems": 4,
            "items": {"type": "string", "pattern": "^T[0-9][0-9][0-9][0-9](\\.[0-9][0-9][0-9])?$"},
        },
        "verdict": {"type": "string", "enum": words},
        "priority": {"type": "string", "enum": ["keep", "P0", "P1", "P2", "P3"]},
        "questions": {"type": "array", "items": text(160), "maxItems": 3},
    });
    let mut required = vec!["claims", "techniques", "verdict", "priority", "questions"];
    if !actions.is_empty() {
        let action = json!({
            "type": "object",
            "properties": {"action": {"type": "string", "enum": actions}, "target": text(120)},
            "required": ["action", "target"],
            "additionalProperties": false,
        });
        properties["actions"] = json!({"type": "array", "items": action, "maxItems": 3});
        required.push("actions");
    }
    if !offer.playbooks.is_empty() {
        let names: Vec<&str> = std::iter::once(NONE).chain(offer.playbooks.iter().map(String::as_str)).collect();
        properties["playbook"] = json!({"type": "string", "enum": names});
        required.push("playbook");
    }
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// Of an answer to a person's question.
pub fn ask_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "answer": {"type": "string", "minLength": 1, "maxLength": 1200},
            "claims": {"type": "array", "items": claim(), "maxItems": 5},
        },
        "required": ["answer", "claims"],
        "additionalProperties": false,
    })
}

fn claim() -> Value {
    json!({
        "type": "object",
        "properties": {"field": text(160), "quote": text(200), "text": text(240)},
        "required": ["field", "quote", "text"],
        "additionalProperties": false,
    })
}

fn text(max: usize) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": max})
}

#[derive(Deserialize)]
struct WireClaim {
    field: String,
    quote: String,
    text: String,
}

impl From<WireClaim> for Claim {
    fn from(c: WireClaim) -> Self {
        Self::new(c.text, c.field, c.quote)
    }
}

/// Reads the answer to a person's question: its text and its claims.
pub fn read_ask(text: &str) -> Result<(Untrusted, Vec<Claim>), String> {
    #[derive(Deserialize)]
    struct Wire {
        answer: String,
        #[serde(default)]
        claims: Vec<WireClaim>,
    }
    let wire: Wire = serde_json::from_str(&escaped(object(text)?))
        .map_err(|e| format!("the answer is not the JSON asked for: {e}"))?;
    if wire.answer.trim().is_empty() {
        return Err("the answer is empty".into());
    }
    Ok((wire.answer.into(), wire.claims.into_iter().map(Claim::from).collect()))
}

/// Reads an answer. Tolerates what servers without grammars add around it: a thinking part, a code fence.
pub fn read(text: &str) -> Result<Answer, String> {
    #[derive(Deserialize)]
    struct Wire {
        verdict: String,
        #[serde(default)]
        claims: Vec<WireClaim>,
        #[serde(default)]
        techniques: Vec<String>,
        #[serde(default)]
        priority: Option<String>,
        #[serde(default)]
        questions: Vec<String>,
        #[serde(default)]
        actions: Vec<Suggestion>,
        #[serde(default)]
        playbook: Option<String>,
    }
    let wire: Wire = serde_json::from_str(&escaped(object(text)?))
        .map_err(|e| format!("the answer is not the JSON asked for: {e}"))?;
    let kind = VerdictKind::parse(&wire.verdict).ok_or("the answer names no verdict we know")?;
    Ok(Answer {
        kind,
        claims: wire.claims.into_iter().map(Claim::from).collect(),
        techniques: wire.techniques,
        advised_priority: wire.priority.as_deref().and_then(Priority::parse),
        questions: wire.questions.into_iter().map(Untrusted::from).collect(),
        suggested_actions: wire.actions,
        playbook: wire.playbook.filter(|p| p != NONE),
    })
}

/// The one JSON object of an answer, without what stands around it.
pub(super) fn json_of(text: &str) -> Result<String, String> {
    Ok(escaped(object(text)?).into_owned())
}

fn object(text: &str) -> Result<&str, String> {
    let text = text.rsplit_once("</think>").map_or(text, |(_, after)| after);
    let missing = || "the answer holds no JSON object".to_owned();
    let (start, end) = (text.find('{').ok_or_else(missing)?, text.rfind('}').ok_or_else(missing)?);
    text.get(start..=end).ok_or_else(missing)
}

/// Escapes control characters that stand bare inside texts: vLLM's grammar (xgrammar 0.1) lets a model write them into
/// texts with a length bound, JSON does not.
fn escaped(json: &str) -> Cow<'_, str> {
    if !json.bytes().any(|b| b < 0x20) {
        return json.into();
    }
    let (mut out, mut inside, mut after_backslash) = (String::with_capacity(json.len() + 16), false, false);
    for c in json.chars() {
        match c {
            '"' if !after_backslash => inside = !inside,
            c if inside && c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
                after_backslash = false;
                continue;
            }
            _ => {}
        }
        after_backslash = c == '\\' && !after_backslash;
        out.push(c);
    }
    out.into()
}

/// Where the verdict's own word stands in the answer's text, for its tokens' probabilities.
pub fn verdict_span(text: &str) -> Option<std::ops::Range<usize>> {
    let key = text.rfind("\"verdict\"")?;
    let after = key + "\"verdict\"".len();
    let open = after + text.get(after..)?.find('"')? + 1;
    let len = text.get(open..)?.find('"')?;
    VerdictKind::parse(text.get(open..open + len)?).map(|_| open..open + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"claims":[{"field":"rule.id","quote":"100310","text":"known bad"}],"techniques":["T1059.001"],"verdict":"true_positive","priority":"P1","questions":[],"actions":[{"action":"isolate-host","target":"fin-ws-014"}],"playbook":"none"}"#;

    #[test]
    fn an_answer_is_read_bare_fenced_and_after_thinking() {
        for text in [ANSWER.to_owned(), format!("```json\n{ANSWER}\n```"), format!("<think>{{hm}}</think>\n{ANSWER}")] {
            let a = read(&text).unwrap();
            assert_eq!((a.kind, a.advised_priority), (VerdictKind::TruePositive, Some(Priority::P1)));
            assert_eq!((a.claims.len(), a.playbook), (1, None));
            assert_eq!(a.suggested_actions[0].target.as_ref().map(Untrusted::expose), Some("fin-ws-014"));
            let span = verdict_span(&text).unwrap();
            assert_eq!(&text[span], "true_positive");
        }
        assert_eq!(read(&ANSWER.replace("\"P1\"", "\"keep\"")).unwrap().advised_priority, None);
    }

    #[test]
    fn an_answer_to_a_question_is_read() {
        let (text, claims) =
            read_ask(r#"```{"answer":"Yes.","claims":[{"field":"a","quote":"b","text":"c"}]}```"#).unwrap();
        assert_eq!((text.expose(), claims.len()), ("Yes.", 1));
        assert!(read_ask(r#"{"answer":" "}"#).is_err() && read_ask("yes").is_err());
        assert!(
            read(&ANSWER.replace(r#"{"action":"isolate-host","target":"fin-ws-014"}"#, r#""isolate-host""#)).is_ok()
        );
    }

    #[test]
    fn control_characters_a_grammar_let_through_are_read() {
        let bare = ANSWER.replace("known bad", "known\tb\u{1}ad \\\"x\n");
        assert!(serde_json::from_str::<Value>(&bare).is_err());
        let a = read(&format!("{{\n\t{}", &bare[1..])).unwrap();
        assert_eq!(a.claims[0].text.expose(), "known\tb\u{1}ad \"x\n");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in
            ["", "}{", "I think it is benign.", "{}", "{\"verdict\":\"closed\"}", &ANSWER[..60], "{\"verdict\":3}"]
        {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(verdict_span("\"verdict\""), None);
        assert_eq!(verdict_span("\"verdict\":\"close it\""), None);
    }

    #[test]
    fn the_schema_uses_only_what_servers_enforce() {
        fn walk(v: &Value, keys: &mut Vec<String>) {
            match v {
                Value::Object(m) => m.iter().for_each(|(k, v)| {
                    keys.push(k.clone());
                    walk(v, keys);
                }),
                Value::Array(a) => a.iter().for_each(|v| walk(v, keys)),
                _ => {}
            }
        }
        let mut keys = Vec::new();
        let offer = Offer { actions: vec!["isolate-host".into()], playbooks: vec!["phishing".into()] };
        walk(&schema(&offer), &mut keys);
        walk(&ask_schema(), &mut keys);
        assert_eq!(schema(&offer)["properties"]["playbook"]["enum"], json!(["none", "phishing"]));
        let bad = ["uniqueItems", "format", "oneOf", "anyOf", "allOf", "$ref", "not", "if", "default"];
        assert!(!keys.iter().any(|k| bad.contains(&k.as_str())), "{keys:?}");
        assert!(schema(&Offer::default())["properties"].get("actions").is_none());
    }
}
