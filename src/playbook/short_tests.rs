use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::playbook::Library;
use crate::playbook::lint::lint;

fn read(source: &str) -> Document {
    from_toml(Path::new("x.toml"), source).unwrap_or_else(|e| panic!("{e}\n{source}"))
}

const LAPTOP: &str = r#"
key = "lost-laptop"
title = "Lost laptop"
created = "2026-01-31T09:00:00.000Z"
tlp = "green"
exception = "tell"

[vars.laptop]
type = "string"
external = true

[vars.found]
type = "bool"

[[steps]]
key = "both"
name = "At once"
parallel = ["lock", "call"]
then = "decide"

[[steps]]
key = "lock"
name = "Lock it"
do = "Lock __laptop__:value."
time_box = "15m"
then = "end"

[[steps]]
key = "call"
name = "Call the owner"
who = "lead"
phase = "communicate"
do = "Ask what was on it."
gives = ["found"]
then = "end"

[[steps]]
key = "decide"
if = "__found__:value"
yes = "end"
no = "wipe"
then = "end"

[[steps]]
key = "wipe"
name = "Wipe it"
action = "wipe-host"
failed = "tell"
then = "end"

[[steps]]
key = "tell"
name = "Tell the lead"
do = "Say what went wrong."
"#;

#[test]
fn names_become_a_clean_document() {
    let doc = read(LAPTOP);
    assert_eq!(lint(&doc, None), []);
    let book = doc.view("x");
    assert_eq!((book.key.as_str(), book.tlp.map(|t| t.word())), ("lost-laptop", Some("TLP:GREEN")));
    let lock = book.find("lock").unwrap();
    assert_eq!((lock.box_ms, lock.who.as_ref().map(|w| w.expose())), (Some(900_000), Some("analyst")));
    assert_eq!(book.find("decide").unwrap().kind.branches().len(), 2);
    let wipe = book.find("wipe").unwrap();
    assert_eq!(wipe.on_failure.as_deref(), Some(book.find("tell").unwrap().id.as_str()));
    assert_eq!(wipe.commands[0].kind, crate::model::playbook::ACTION);
    // The same file, the same document, to the byte.
    assert_eq!(doc.hash(), read(LAPTOP).hash());
}

#[test]
fn what_was_written_by_hand_comes_back_short() {
    let doc = read(LAPTOP);
    let back = to_toml(&doc).unwrap();
    assert_eq!(read(&back), doc, "{back}");
    assert!(!back.contains("[[also]]") && !back.contains("--"), "{back}");
    for item in Library::bundled().items() {
        let back = to_toml(&item.document).unwrap();
        assert_eq!(read(&back), item.document, "{back}");
        assert!(!back.contains("[[also]]"), "{}: {back}", item.book.key);
    }
}

#[test]
fn faults_are_named_with_their_line() {
    for (from, to, wanted) in [
        (
            "then = \"decide\"",
            "then = \"decode\"",
            "x.toml:16:1: step \"both\": then = \"decode\": there is no such step; did you mean \"decide\"?",
        ),
        ("time_box = \"15m\"", "time_box = \"15 m\"", "x.toml:22:1: step \"lock\": time_box"),
        ("key = \"wipe\"", "key = \"tell\"", "a second step of the key \"tell\""),
        ("tlp = \"green\"", "tlp = \"pink\"", "tlp = \"pink\""),
        ("title = \"Lost laptop\"", "titel = \"Lost laptop\"", "x.toml:3:1: unknown field `titel`"),
        ("no = \"wipe\"", "no = \"wipe\"\nparallel = []", "two things at once"),
    ] {
        let source = LAPTOP.replacen(from, to, 1);
        let e = from_toml(Path::new("x.toml"), &source).unwrap_err().to_string();
        assert!(e.contains(wanted), "{wanted}: {e}");
    }
}

#[test]
fn published_playbooks_go_there_and_back() {
    let Some(folder) = shared("cacao") else { return };
    let (mut n, mut faults) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let doc = Document::read(&bytes).unwrap();
        let own: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(doc.clone().into_json(), own, "as it came");
        let toml = to_toml(&doc).unwrap();
        assert_eq!(read(&toml), doc, "{}: {toml}", path.display());
        faults.extend(lint(&doc, None).into_iter().map(|f| f.code));
        let book = doc.view("x");
        assert!(book.work().count() >= 1 && book.find(&book.start).is_some());
        n += 1;
    }
    assert!(n >= 6, "{n}");
    // They were chosen for their faults: secrets in the clear, commands of one vendor.
    for wanted in ["secret", "unknown-command", "bad-identifier", "no-failure-path"] {
        assert!(faults.iter().any(|f| f == wanted), "{wanted}: {faults:?}");
    }
}

/// A folder of the shared data, where it is there.
#[expect(clippy::disallowed_macros, reason = "says what it skips")]
fn shared(name: &str) -> Option<std::path::PathBuf> {
    let given = std::env::var_os("WATCHFLOOR_TEST_DATA").map(std::path::PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let there = [given.unwrap_or(beside)].into_iter().map(|d| d.join(name)).find(|d| d.is_dir());
    if there.is_none() {
        println!("skipped: no shared data {name}");
    }
    there
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn nothing_is_lost_either_way(json in crate::playbook::lint::tests::any_playbook(), extra in any::<f64>(), odd in "\\PC{0,12}") {
        let mut json = json;
        json["x-number"] = json!(extra);
        json["name"] = json!(odd);
        json["a/b~c"] = json!({ "null": null, odd.clone(): [1.0, 1, "1"] });
        let doc = Document::of(json).unwrap();
        let toml = to_toml(&doc).unwrap();
        let back = from_toml(Path::new("x.toml"), &toml).map_err(|e| TestCaseError::fail(format!("{e}\n{toml}")))?;
        prop_assert_eq!(back.json(), doc.json(), "{}", toml);
    }

    #[test]
    fn times_are_kept(ms in 1_u64..10_000_000_000) {
        prop_assert_eq!(expand::millis(&expand::span(ms)), Some(ms));
    }
}
