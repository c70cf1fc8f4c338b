//! The search of a playbook's step, against the node: values of an attacker, what may not be searched, and a node that is
//! gone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use watchfloor::config::Settings;
use watchfloor::config::settings::SourceSettings;
use watchfloor::desk::playbook_runs::Start;
use watchfloor::desk::{Desk, DeskError, DeskOptions, Known};
use watchfloor::model::ids::PersonId;
use watchfloor::model::person::{Person, Role, Roster};
use watchfloor::model::playbook_run::{Event, Run};
use watchfloor::respond::policy::Policy;
use watchfloor::text::Untrusted;

use super::PASSWORD;
use super::server::Node;

const BOOK: &str = r#"
key = "look"
title = "Look it up"
created = "2026-11-21T00:00:00.000Z"

[vars.user]
type = "string"
external = true

[vars.net]
type = "ipv4-addr"
external = true

[vars.since]
type = "string"
external = true

[[steps]]
key = "text"
name = "In Lucene's syntax"
who = "analyst"
query = "user:__user__:value OR user:\"__user__:value\""

[[steps]]
key = "body"
name = "As JSON"
who = "analyst"
query = '{"query":{"bool":{"filter":[{"term":{"user":"__user__:value"}}]}},"aggs":{"users":{"terms":{"field":"user"}}}}'

[[steps]]
key = "range"
name = "A network, from some time on"
who = "analyst"
query = "ip:__net__:value AND @timestamp:[__since__:value TO *]"

[[steps]]
key = "many"
name = "More than is kept"
who = "analyst"
query = "message:filler"

[[steps]]
key = "elsewhere"
name = "Where nobody may look"
who = "analyst"
query = "*"

[[steps]]
key = "script"
name = "With a script"
who = "analyst"
query = '{"query":{"script":{"script":"true"}}}'

[[steps]]
key = "wrong"
name = "The server refuses it"
who = "analyst"
query = "user:((("
"#;

/// Users of one document each; most of them were written by an attacker.
const USERS: [&str; 8] = [
    "amara",
    "admin",
    r#"x"}},{"script":{"script":"true"}},{"term":{"user":"y"#,
    "*) OR (",
    r#"a" OR user:admin OR "b"#,
    r"back\",
    "OR",
    "two words AND [more]",
];

fn id(name: &str) -> PersonId {
    PersonId::new(name).unwrap()
}

fn desk(at: &Path, node: &Node, indices: &[&str]) -> Arc<Desk> {
    let mut settings = Settings::default();
    let source = json!({
        "url": node.url, "index": "alerts-*", "username": "look", "password": "env:PASSWORD", "ca": node.ca,
        "timeout_seconds": 20,
    });
    settings.intake.sources.insert("siem".into(), SourceSettings::Opensearch(serde_json::from_value(source).unwrap()));
    settings.playbooks.query_indices = indices.iter().map(|i| (*i).to_owned()).collect();
    settings.triage.playbooks = Some(at.join("playbooks"));
    let person = |name: &str, role| Person {
        id: id(name),
        name: name.into(),
        os_users: vec![],
        uids: vec![],
        keys: vec![],
        roles: vec![role],
    };
    let desk = Desk::open(DeskOptions {
        data_dir: at.join("data"),
        settings,
        roster: Roster { people: vec![person("alice", Role::Analyst), person("eve", Role::Auditor)] },
        roster_file: None,
        me: Some(id("alice")),
        read_only: false,
        exercise: None,
        catalogue: Default::default(),
        policy: Policy::built_in(),
        secrets: super::resolver(),
        assets: Arc::new(|_| 100),
        known: Known::default(),
        notices: vec![],
    });
    Arc::new(desk.unwrap())
}

/// The playbook as CACAO, with an index in one of its searches, as the short form has no word for it.
fn library(at: &Path) {
    let folder = at.join("playbooks");
    std::fs::create_dir_all(&folder).unwrap();
    let document = watchfloor::playbook::parse(Path::new("look.toml"), BOOK.as_bytes()).unwrap();
    let mut json = document.into_json();
    for step in json["workflow"].as_object_mut().unwrap().values_mut() {
        if step["name"] == "Where nobody may look" {
            step["commands"][0]["index"] = json!("secret-*");
        }
    }
    std::fs::write(folder.join("look.json"), json.to_string()).unwrap();
}

async fn fill(node: &Node) {
    let rights = json!({
        "cluster_permissions": [],
        // More than the desk lets be searched, so that it is the desk that refuses.
        "index_permissions": [{ "index_patterns": ["look-*", "secret-*"], "allowed_actions": ["indices:data/read/search"] }],
    });
    node.put("/_plugins/_security/api/roles/look", rights).await;
    node.put("/_plugins/_security/api/internalusers/look", json!({ "password": PASSWORD })).await;
    node.put("/_plugins/_security/api/rolesmapping/look", json!({ "users": ["look"] })).await;
    for index in ["look-000001", "secret-000001"] {
        let fields = json!({
            "@timestamp": { "type": "date" }, "user": { "type": "keyword" }, "ip": { "type": "ip" },
            "message": { "type": "text" },
        });
        let one = json!({ "number_of_shards": 1, "number_of_replicas": 0 });
        node.put(&format!("/{index}"), json!({ "settings": one, "mappings": { "properties": fields } })).await;
    }
    let mut lines = String::new();
    let mut add = |index: &str, source: Value| {
        lines.push_str(&format!("{}\n{source}\n", json!({ "index": { "_index": index } })));
    };
    for (i, user) in USERS.iter().enumerate() {
        let source = json!({
            "@timestamp": "2026-11-21T09:00:00Z", "user": user, "ip": format!("10.1.2.{i}"),
            "message": "\u{202e}hidden\u{1b}[31m",
        });
        add("look-000001", source);
    }
    for n in 0..150 {
        add("look-000001", json!({ "@timestamp": "2026-11-20T09:00:00Z", "message": format!("filler {n}") }));
    }
    add("secret-000001", json!({ "user": "amara", "message": "salary" }));
    node.must("POST", "/_bulk?refresh=true", lines).await;
}

fn start(desk: &Desk, user: &str) -> String {
    let values = [("user", user), ("net", "10.1.2.4/30"), ("since", "2026-11-21T00:00:00Z")];
    let values = values.iter().map(|(n, v)| ((*n).to_owned(), Untrusted::new(*v))).collect();
    desk.start_playbook(&id("alice"), "look", Start { values, ..Start::default() }).unwrap().id
}

fn next(desk: &Desk, run: &str, visit: u32) {
    desk.playbook_event(&id("alice"), run, &Event::Done { visit, outputs: BTreeMap::new() }).unwrap();
}

fn run(desk: &Desk, word: &str) -> Run {
    desk.playbook_run(Some(&id("alice")), word).unwrap().0
}

fn last_note(desk: &Desk, word: &str, visit: u32) -> String {
    run(desk, word).visit(visit).unwrap().notes.last().unwrap().text.expose().to_owned()
}

fn users(desk: &Desk, sha256: &str) -> Vec<String> {
    let path = watchfloor::playbook::evidence::path(&desk.evidence_folder(), sha256);
    let kept: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!((&kept["source"], &kept["indices"]), (&json!("siem"), &json!(["look-*"])));
    let hits = kept["answer"]["hits"]["hits"].as_array().unwrap();
    hits.iter().map(|h| h["_source"]["user"].as_str().unwrap_or("-").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_searches_and_keeps_what_it_found() {
    let Some(node) = Node::start() else { return };
    fill(&node).await;
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    library(at);
    let floor = desk(at, &node, &["look-*"]);
    let alice = id("alice");

    // Whatever an attacker calls himself, he is looked for and nothing else.
    for user in USERS {
        let r = start(&floor, user);
        for visit in [1, 2] {
            let kept = floor.query_step(&alice, &r, visit).await.unwrap_or_else(|e| panic!("{user}: {e}"));
            let found = kept[0].found.as_ref().unwrap();
            assert_eq!((found.hits, found.kept, &found.partial), (Some(1), 1, &None), "{user}: {found:?}");
            assert_eq!(users(&floor, &kept[0].sha256), [user]);
            assert!(last_note(&floor, &r, visit).contains("1 hit in look-*, all kept"), "{user}");
            next(&floor, &r, visit);
        }
        let now = run(&floor, &r);
        assert!(floor.broken_evidence(&now).is_empty());
        assert_eq!(now.visit(2).unwrap().evidence[0].name, Untrusted::new("query-body.json"));
    }

    let r = start(&floor, "amara");
    next(&floor, &r, 1);
    next(&floor, &r, 2);
    let kept = floor.query_step(&alice, &r, 3).await.unwrap();
    assert_eq!(users(&floor, &kept[0].sha256), USERS[4..8], "a network and a time are what they are");
    next(&floor, &r, 3);

    // Two at once: one is told to wait.
    let both = tokio::join!(floor.query_step(&alice, &r, 4), floor.query_step(&alice, &r, 4));
    let (one, Err(DeskError::No(why))) = both else { panic!("{both:?}") };
    assert!(why.contains("searches from this step already"), "{why}");
    let found = one.unwrap()[0].found.clone().unwrap();
    assert_eq!((found.hits, found.kept), (Some(150), 100));
    assert!(last_note(&floor, &r, 4).contains("150 hits in look-*, 100 kept (TRUNCATED)"));
    floor.query_step(&alice, &r, 4).await.unwrap();
    next(&floor, &r, 4);

    refusals(&floor, &r, at, &node).await;

    // The node goes away: that is said, and nothing is kept.
    let r = start(&floor, "amara");
    node.kill();
    let gone = floor.query_step(&alice, &r, 1).await;
    assert!(matches!(&gone, Err(DeskError::Unreachable(_))), "{gone:?}");
    assert!(last_note(&floor, &r, 1).contains("no answer, nothing is attached"), "{}", last_note(&floor, &r, 1));
    assert!(run(&floor, &r).visit(1).unwrap().evidence.is_empty());

    let log = at.join("data/audit");
    assert!(watchfloor::audit::verify(&log, None).unwrap().ok);
    let filter = watchfloor::audit::AuditFilter::request(&r);
    let all = floor.audit_records(&filter, 100).unwrap();
    assert!(all.iter().any(|x| x.kind == "playbook.step.query" && x.body["source"] == "siem"), "{all:?}");
}

/// The run stands before the step that looks elsewhere.
async fn refusals(floor: &Desk, r: &str, at: &Path, node: &Node) {
    let alice = id("alice");
    let denied = floor.query_step(&alice, r, 5).await;
    assert!(
        matches!(&denied, Err(DeskError::Refused(m)) if m.contains("secret-*") && m.contains("look-*")),
        "{denied:?}"
    );
    next(floor, r, 5);
    let script = floor.query_step(&alice, r, 6).await;
    assert!(matches!(&script, Err(DeskError::Refused(m)) if m.contains("no script")), "{script:?}");
    next(floor, r, 6);
    let wrong = floor.query_step(&alice, r, 7).await;
    assert!(matches!(&wrong, Err(DeskError::No(m)) if m.contains("400")), "{wrong:?}");
    for visit in [5, 6, 7] {
        assert!(run(floor, r).visit(visit).unwrap().evidence.is_empty());
    }
    assert!(matches!(floor.query_step(&id("eve"), r, 7).await, Err(DeskError::Refused(_))));
    // Where nothing may be searched, nothing is.
    let closed = desk(at, node, &[]);
    let no = closed.query_step(&alice, r, 7).await;
    assert!(matches!(&no, Err(DeskError::Usage(m)) if m.contains("playbooks.query_indices")), "{no:?}");
    // No such index: that is said.
    for pattern in ["nothing-*", "nothing"] {
        let other = desk(at, node, &[pattern]);
        let none = other.query_step(&alice, r, 1).await;
        assert!(matches!(&none, Err(DeskError::No(_))), "{pattern}: {none:?}");
        assert!(last_note(floor, r, 1).contains("nothing is attached"), "{}", last_note(floor, r, 1));
    }
}
