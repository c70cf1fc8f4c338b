//! One suite for every kind: what vendors document about their fields, whatever stands in a bulletin.

use serde_json::{Value, json};

use super::*;
use crate::model::audit::AuditRecord;
use crate::model::happening::{Bulletin, Phase};
use crate::model::ids::{PersonId, RequestId};
use crate::text::{Untrusted, hostile};

fn settings(kind: &str) -> NotifySettings {
    NotifySettings {
        kind: kind.into(),
        url: match kind {
            "slack" | "pagerduty" | "opsgenie" => None,
            _ => Some("https://x.example/base/".into()),
        },
        secret: Some("keyring:x".into()),
        username: Some("watchfloor".into()).filter(|_| kind == "jira" || kind == "servicenow"),
        project: "SOC".into(),
        ..NotifySettings::default()
    }
}

const KINDS: [&str; 6] = ["webhook", "slack", "pagerduty", "opsgenie", "servicenow", "jira"];

fn all() -> Vec<Configured> {
    let (good, bad) = configured(&KINDS.map(|k| (k.to_owned(), settings(k))).into());
    assert_eq!(bad, []);
    good
}

fn bulletin(what: Happening) -> Bulletin {
    Bulletin {
        id: "41-0123456789ab".into(),
        what,
        at: "2026-11-21T12:00:00Z".parse().unwrap(),
        desk: "desk".into(),
        by: PersonId::new("alice"),
        request: RequestId::new("01JTEST"),
        action: Some("isolate-host".into()),
        tier: Some(Tier::T2),
        targets: vec!["web1".into(), "web2".into()],
        to: vec![],
        text: "it beacons".into(),
    }
}

fn chars(v: &Value) -> usize {
    v.as_str().unwrap_or_else(|| panic!("no text: {v}")).chars().count()
}

fn only(v: &Value, keys: &[&str]) {
    for k in v.as_object().unwrap().keys() {
        assert!(keys.contains(&k.as_str()), "{k} is no documented member");
    }
}

/// What the vendor says of a message's members and their lengths.
fn fits(kind: &str, m: &Message) {
    let b = &m.body;
    match kind {
        "webhook" => assert!(chars(&b["title"]) <= 300 && chars(&b["text"]) <= 4_000),
        "slack" => {
            only(b, &["text", "blocks"]);
            let blocks = b["blocks"].as_array().unwrap();
            assert!(blocks.len() <= 50 && chars(&b["text"]) <= 40_000);
            for block in blocks {
                let most = if block["type"] == "header" { 150 } else { 3_000 };
                assert!((1..=most).contains(&chars(&block["text"]["text"])), "{block}");
                if block["type"] == "section" {
                    let text = block["text"]["text"].as_str().unwrap();
                    assert!(!text.contains('<') && !text.contains('>'), "nobody is mentioned: {text}");
                }
            }
        }
        "pagerduty" => {
            only(b, &["event_action", "dedup_key", "payload", "client", "client_url", "links", "images"]);
            assert!((1..=255).contains(&chars(&b["dedup_key"])));
            match b["event_action"].as_str().unwrap() {
                "trigger" => {
                    let p = &b["payload"];
                    only(
                        p,
                        &[
                            "summary",
                            "source",
                            "severity",
                            "timestamp",
                            "component",
                            "group",
                            "class",
                            "custom_details",
                        ],
                    );
                    assert!((1..=1_024).contains(&chars(&p["summary"])) && chars(&p["source"]) >= 1);
                    let severity = p["severity"].as_str().unwrap();
                    assert!(["critical", "error", "warning", "info"].contains(&severity));
                }
                act => assert!(["acknowledge", "resolve"].contains(&act) && b.get("payload").is_none()),
            }
            assert!(b.to_string().len() < 512 << 10);
        }
        "opsgenie" if m.url.ends_with("/v2/alerts") => {
            only(
                b,
                &["message", "alias", "description", "source", "entity", "tags", "details", "priority", "user", "note"],
            );
            assert!((1..=130).contains(&chars(&b["message"])) && (1..=512).contains(&chars(&b["alias"])));
            assert!(chars(&b["description"]) <= 15_000 && chars(&b["entity"]) <= 512 && chars(&b["source"]) <= 100);
            assert!(b["details"].as_object().unwrap().values().map(chars).sum::<usize>() <= 8_000);
            assert!(b["tags"].as_array().unwrap().iter().all(|t| chars(t) <= 50));
            assert!(["P1", "P2", "P3", "P4", "P5"].contains(&b["priority"].as_str().unwrap()));
        }
        "opsgenie" => {
            only(b, &["source", "note", "user"]);
            assert!(chars(&b["note"]) <= 25_000 && m.url.ends_with("?identifierType=alias"), "{}", m.url);
        }
        "servicenow" if m.method == Method::PATCH => {
            only(b, &["work_notes"]);
            assert!(chars(&b["work_notes"]) <= 4_000);
        }
        "servicenow" => {
            assert!((1..=160).contains(&chars(&b["short_description"])) && chars(&b["description"]) <= 4_000);
            assert!(chars(&b["correlation_id"]) <= 100 && chars(&b["correlation_display"]) <= 100);
        }
        "jira" => {
            let text = b.get("body").unwrap_or_else(|| &b["fields"]["description"]);
            assert_eq!((&text["type"], &text["version"]), (&json!("doc"), &json!(1)));
            for p in text["content"].as_array().unwrap() {
                assert_eq!(p["type"], "paragraph");
                assert!(p["content"].as_array().unwrap().iter().all(|t| t["type"] == "text" && chars(&t["text"]) > 0));
            }
            assert!(text.to_string().chars().count() <= 32_767, "{}", text.to_string().len());
            if let Some(fields) = b.get("fields") {
                only(fields, &["project", "issuetype", "summary", "description", "labels"]);
                let summary = fields["summary"].as_str().unwrap();
                assert!((1..=255).contains(&summary.chars().count()) && !summary.contains('\n'));
                assert!(fields["labels"].as_array().unwrap().iter().all(|l| !l.as_str().unwrap().contains(' ')));
            }
        }
        other => panic!("{other}"),
    }
}

/// Every string of the tree.
fn texts(v: &Value, out: &mut Vec<String>) {
    match v {
        Value::String(s) => out.push(s.clone()),
        Value::Array(a) => a.iter().for_each(|v| texts(v, out)),
        Value::Object(o) => o.values().for_each(|v| texts(v, out)),
        _ => {}
    }
}

fn known(kind: &str) -> Option<&'static str> {
    match kind {
        "servicenow" => Some("0123456789abcdef0123456789abcdef"),
        "jira" => Some("SOC-12"),
        _ => None,
    }
}

#[test]
fn every_kind_says_every_happening_as_its_vendor_wants_it() {
    for c in all() {
        let kind = c.notifier.kind();
        assert_eq!(kind, c.name);
        for what in Happening::ALL {
            let b = bulletin(what);
            let first = c.notifier.message(&b, None);
            // What is over opens nothing where things are opened.
            assert_eq!(first.is_none(), known(kind).is_some() && what.phase() != Phase::Opens, "{kind} {what:?}");
            let later = c.notifier.message(&b, known(kind)).unwrap();
            for m in first.iter().chain([&later]) {
                fits(kind, m);
                let url = if m.url.is_empty() { "https://secret.example" } else { &m.url };
                assert!(reqwest::Url::parse(url).is_ok());
                assert!(!m.body.to_string().contains("keyring:"), "no reference is told");
            }
        }
    }
}

#[test]
fn hostile_and_endless_text_is_clean_and_fits() {
    let mut payloads: Vec<String> =
        hostile::corpus().iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect();
    payloads.extend([
        "<!channel> <https://evil.example|click> & `x`".repeat(2_000),
        "\u{1f4a9}".repeat(60_000),
        "\n".repeat(9_000),
        String::new(),
    ]);
    for c in all() {
        let kind = c.notifier.kind();
        for p in &payloads {
            let mut b = bulletin(Happening::Failed);
            b.text = Untrusted::new(p.as_str());
            b.targets = vec![p.chars().take(5_000).collect(); 3];
            b.action = Some(p.chars().take(5_000).collect());
            for known in [None, known(kind)] {
                let m = c.notifier.message(&b, known).unwrap();
                fits(kind, &m);
                let mut all = Vec::new();
                texts(&m.body, &mut all);
                for t in all {
                    let bad = t.chars().find(|c| *c != '\n' && (c.is_control() || crate::text::is_hidden(*c)));
                    assert_eq!(bad, None, "{kind}: {t:?}");
                }
            }
        }
    }
}

#[test]
fn a_page_opens_is_taken_and_closes_under_one_key() {
    let of = |kind: &str, what| {
        let c = all().into_iter().find(|c| c.name == kind).unwrap();
        c.notifier.message(&bulletin(what), None).unwrap()
    };
    let act = |what| of("pagerduty", what).body;
    let (opened, taken, closed) = (act(Happening::Proposed), act(Happening::Approved), act(Happening::Done));
    assert_eq!(
        [&opened["event_action"], &taken["event_action"], &closed["event_action"]],
        ["trigger", "acknowledge", "resolve"]
    );
    assert!(opened["dedup_key"] == taken["dedup_key"] && taken["dedup_key"] == closed["dedup_key"]);
    let glass = act(Happening::BreakGlass);
    assert_ne!(glass["dedup_key"], closed["dedup_key"], "what was done alone stays open when it is done");
    assert_eq!(glass["payload"]["severity"], "critical");
    assert_eq!(glass["dedup_key"], act(Happening::Reviewed)["dedup_key"]);

    let url = of("opsgenie", Happening::Done).url;
    assert_eq!(url, "https://api.opsgenie.com/v2/alerts/desk%2F01JTEST/close?identifierType=alias");
    let page = of("opsgenie", Happening::BreakGlass);
    assert_eq!((page.body["priority"].as_str(), page.secret), (Some("P1"), Place::Authorization("GenieKey")));
    assert_eq!(of("servicenow", Happening::Proposed).url, "https://x.example/base/api/now/table/incident");
    assert_eq!(of("jira", Happening::Proposed).url, "https://x.example/base/rest/api/3/issue");
}

#[test]
fn what_was_made_is_read_from_the_answer() {
    let made = |kind: &str, answer: &str| {
        let c = all().into_iter().find(|c| c.name == kind).unwrap();
        c.notifier.made(&bulletin(Happening::Proposed), answer)
    };
    let id = "0123456789abcdef0123456789abcdef";
    assert_eq!(
        made("servicenow", &json!({ "result": { "sys_id": id, "number": "INC1" } }).to_string()).as_deref(),
        Some(id)
    );
    assert_eq!(made("servicenow", &json!({ "result": { "sys_id": "../../x" } }).to_string()), None);
    assert_eq!(made("jira", r#"{"id":"1","key":"SOC-12","self":"x"}"#).as_deref(), Some("SOC-12"));
    for bad in ["", "[]", r#"{"key":"../x-1"}"#, r#"{"key":"SOC-"}"#, r#"{"key":5}"#] {
        assert_eq!(made("jira", bad), None, "{bad}");
    }
}

#[test]
fn settings_are_checked() {
    let wrong = |change: &dyn Fn(&mut NotifySettings), kind: &str| {
        let mut s = settings(kind);
        change(&mut s);
        configured(&[("n".to_owned(), s)].into()).1.into_iter().map(|w| w.key).collect::<Vec<_>>()
    };
    assert_eq!(wrong(&|s| s.kind = "pager".into(), "webhook"), ["kind"]);
    assert_eq!(wrong(&|s| s.url = None, "webhook"), ["url"]);
    assert_eq!(wrong(&|s| s.secret = None, "slack"), ["secret"]);
    assert_eq!(wrong(&|s| s.secret = None, "pagerduty"), ["secret"]);
    assert_eq!(wrong(&|s| s.table = "sys_user".into(), "servicenow"), ["table"]);
    assert_eq!(wrong(&|s| s.project = "A B".into(), "jira"), ["project"]);
    assert_eq!(wrong(&|s| s.events = vec!["party".into()], "webhook"), ["events"]);
    assert_eq!(wrong(&|s| s.min_tier = "T9".into(), "webhook"), ["min_tier"]);
    let quiet = NotifySettings { events: vec!["failed".into()], min_tier: "T3".into(), ..settings("webhook") };
    let (good, _) = configured(&[("n".to_owned(), quiet)].into());
    assert!(!good[0].wants(&bulletin(Happening::Failed)), "T2 is below T3");
    assert!(!good[0].wants(&bulletin(Happening::Done)));
    assert!(good[0].wants(&bulletin(Happening::BreakGlass)), "everybody hears of a broken glass");
}

#[test]
fn records_become_bulletins() {
    let record = |kind: &str, body: Value| AuditRecord {
        seq: 7,
        at: "2026-11-21T12:00:00Z".parse().unwrap(),
        by: PersonId::new("bob"),
        kind: kind.into(),
        request_id: Some("01JTEST".into()),
        body,
        prev: "0".repeat(64),
        hash: "f".repeat(64),
    };
    let told = |kind: &str, body: Value| from_audit::bulletin(&record(kind, body), None, "desk");
    let b =
        told("action.proposed", json!({ "action": "wipe", "tier": "T3", "targets": ["a"], "reason": "why" })).unwrap();
    assert_eq!(
        (b.what, b.tier, b.action.as_deref(), b.text.expose()),
        (Happening::Proposed, Some(Tier::T3), Some("wipe"), "why")
    );
    assert!(told("action.approved", json!({ "enough": false })).is_none(), "one of two is nothing yet");
    assert!(told("alert.close", json!({})).is_none());
    let receipt = json!({ "target": "a", "state": "unknown", "changed": null, "at": "2026-11-21T12:00:00Z", "detail": "lost\nmore" });
    let b = told("action.outcome", json!({ "ok": false, "receipts": [receipt] })).unwrap();
    assert_eq!((b.what, b.text.expose()), (Happening::Failed, "a: not known: lost"));
    let b = told("action.escalated", json!({ "rung": 2, "to": ["carol", 5], "whom": "commanders" })).unwrap();
    assert_eq!((b.what, b.to.len()), (Happening::Escalated, 1));
}
