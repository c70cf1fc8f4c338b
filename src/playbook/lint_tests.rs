use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::playbook::Library;

const A: &str = "action--11111111-1111-4111-8111-111111111111";
const B: &str = "action--22222222-2222-4222-8222-222222222222";
const S: &str = "start--33333333-3333-4333-8333-333333333333";
const E: &str = "end--44444444-4444-4444-8444-444444444444";
const E2: &str = "end--55555555-5555-4555-8555-555555555555";
const W: &str = "while-condition--66666666-6666-4666-8666-666666666666";
const I: &str = "if-condition--77777777-7777-4777-8777-777777777777";
const P: &str = "parallel--88888888-8888-4888-8888-888888888888";
const X: &str = "switch-condition--99999999-9999-4999-8999-999999999999";
const AGENT: &str = "group--aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";

fn act(next: &str) -> Value {
    json!({ "type": "action", "name": "Do", "agent": AGENT, "on_completion": next,
            "commands": [{ "type": "manual", "command": "Do it" }] })
}

/// A playbook nothing is wrong with: start, two actions, end.
fn good() -> Value {
    json!({
        "type": "playbook", "spec_version": "cacao-2.0",
        "id": "playbook--bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb", "name": "Good",
        "created_by": "identity--cccccccc-cccc-4ccc-8ccc-cccccccccccc",
        "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-02T00:00:00.000Z",
        "playbook_variables": { "__x__": { "type": "string" }, "__n__": { "type": "integer", "value": "3" } },
        "workflow_start": S, "workflow_exception": E2,
        "workflow": {
            S: { "type": "start", "on_completion": A },
            A: act(B), B: act(E),
            E: { "type": "end" }, E2: { "type": "end", "name": "Told the lead" },
        },
        "agent_definitions": { AGENT: { "type": "group", "name": "Analysts" } },
    })
}

fn found(json: Value) -> Vec<(Grade, String, String)> {
    let doc = Document::of(json).unwrap();
    lint(&doc, None).into_iter().map(|f| (f.grade, f.code, f.at.into_exposed())).collect()
}

#[test]
fn nothing_is_wrong_with_a_good_one() {
    assert_eq!(found(good()), []);
}

/// Changes one place of the good one and names what must be found there.
fn broken(at: &str, value: Value, grade: Grade, code: &str, pointer: &str) {
    let mut json = good();
    let (parent, last) = at.rsplit_once('/').unwrap();
    let last = last.replace("~1", "/");
    let o = json.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value == json!("GONE") {
        o.remove(&last);
    } else {
        o.insert(last, value);
    }
    let found = found(json);
    let wanted = (grade, code.to_owned(), pointer.to_owned());
    assert!(found.contains(&wanted), "{at}: {wanted:?} is not among {found:#?}");
}

#[test]
fn every_fault_has_its_place() {
    use Grade::Error;
    use Grade::Note;
    use Grade::Warning;
    let step = |id: &str, rest: &str| format!("/workflow/{id}{rest}");
    let gone = || json!("GONE");
    broken("/id", gone(), Error, "missing-property", "");
    broken("/id", json!(3), Error, "wrong-type", "/id");
    broken("/id", json!("playbook--1"), Warning, "bad-identifier", "/id");
    broken("/id", json!("playbook\u{1b}[2J"), Error, "bad-identifier", "/id");
    broken("/id", json!(A), Warning, "wrong-reference", "/id");
    broken("/spec_version", json!("cacao-1.1"), Error, "bad-version", "/spec_version");
    broken("/created", json!("yesterday"), Error, "bad-timestamp", "/created");
    broken("/created", json!("2026-01-01T00:00:00Z"), Note, "bad-timestamp", "/created");
    broken("/modified", json!("2025-01-01T00:00:00.000Z"), Warning, "time-order", "/modified");
    broken("/priority", json!(101), Error, "out-of-range", "/priority");
    broken("/labels", json!("a"), Error, "wrong-type", "/labels");
    broken("/lables", json!(["a"]), Note, "unknown-property", "/lables");
    broken("/markings", json!([A]), Warning, "missing-marking", "/markings/0");
    broken("/workflow_start", json!(E), Warning, "no-start", "/workflow_start");
    broken("/workflow_start", json!(W), Error, "missing-step", "/workflow_start");
    broken(&step(A, "/on_completion"), json!(W), Error, "missing-step", &step(A, "/on_completion"));
    broken(&step(A, "/on_completion"), gone(), Error, "no-way-on", &step(A, ""));
    broken(&step(A, "/on_failure"), json!(E), Error, "bad-exits", &step(A, ""));
    broken(&step(A, "/type"), json!("acton"), Error, "unknown-step-type", &step(A, "/type"));
    broken(&step(A, "/commands"), json!([]), Error, "missing-command", &step(A, "/commands"));
    broken(&step(A, "/commands"), json!([{ "type": "manual" }]), Error, "missing-command", &step(A, "/commands/0"));
    let other = json!([{ "type": "openc2", "command": "x" }]);
    broken(&step(A, "/commands"), other, Error, "unknown-command", &step(A, "/commands/0/type"));
    let get = json!([{ "type": "http-api", "command": "fetch it" }]);
    broken(&step(A, "/commands"), get, Warning, "bad-http", &step(A, "/commands/0/command"));
    broken(&step(A, "/agent"), json!("x"), Warning, "missing-agent", &step(A, "/agent"));
    broken(&step(A, "/targets"), json!(["x"]), Warning, "missing-target", &step(A, "/targets/0"));
    broken(&step(A, "/timeout"), json!(-1), Error, "wrong-type", &step(A, "/timeout"));
    broken(&step(E, "/on_completion"), json!(A), Error, "end-goes-on", &step(E, ""));
    broken("/workflow_exception", gone(), Warning, "no-failure-path", &step(A, ""));
    broken("/workflow_exception", gone(), Warning, "unreachable", &step(E2, ""));
    // B leads back to A and nowhere else.
    broken(&step(B, "/on_completion"), json!(A), Error, "endless-cycle", &step(A, ""));
    broken(&step(B, "/on_completion"), json!(B), Error, "endless-cycle", &step(B, ""));
    let says = |text: &str| json!([{ "type": "manual", "command": text }]);
    broken(&step(A, "/commands"), says("__y__:value"), Error, "undeclared-variable", &step(A, "/commands/0/command"));
    broken(&step(A, "/commands"), says("__x__:value"), Error, "unset-variable", &step(A, "/commands/0/command"));
    broken(&step(A, "/commands"), says("a\u{202e}b"), Warning, "hidden-text", &step(A, "/commands/0/command"));
    broken(&step(A, "/out_args"), json!(["__z__"]), Error, "undeclared-variable", &step(A, "/out_args/0"));
    broken(
        "/playbook_variables/__n__/value",
        json!("x"),
        Error,
        "bad-variable-value",
        "/playbook_variables/__n__/value",
    );
    broken("/playbook_variables/n", json!({ "type": "string" }), Error, "bad-variable-name", "/playbook_variables/n");
    let own = |o: Value| json!({ ids::EXTENSION: o });
    let at = |rest: &str| step(A, &format!("/step_extensions/{}{rest}", ids::EXTENSION));
    let put = |o: Value, code: &str, rest: &str| broken(&step(A, "/step_extensions"), own(o), Error, code, &at(rest));
    put(json!({ "phase": "panic" }), "bad-phase", "/phase");
    put(json!({ "react": ["RA9999"] }), "bad-reference", "/react/0");
    put(json!({ "techniques": ["T9999"] }), "bad-reference", "/techniques/0");
    put(json!({ "sign_off": ["king"] }), "bad-reference", "/sign_off/0");
    let auth = json!({ "user-auth--dddddddd-dddd-4ddd-8ddd-dddddddddddd": { "type": "user-auth", "password": "x" } });
    let id = "user-auth--dddddddd-dddd-4ddd-8ddd-dddddddddddd";
    let place = format!("/authentication_info_definitions/{id}/password");
    broken("/authentication_info_definitions", auth, Warning, "secret", &place);
}

use crate::playbook::ids;

#[test]
fn loops_and_choices_are_followed() {
    // A loop with a way out is none; what its body gives is not sure to be there after it.
    let mut json = good();
    let w = json.pointer_mut("/workflow").unwrap().as_object_mut().unwrap();
    w.insert(
        A.into(),
        json!({ "type": "action", "agent": AGENT, "on_completion": E, "out_args": ["__x__"],
        "commands": [{ "type": "manual", "command": "Ask" }] }),
    );
    w.insert(S.into(), json!({ "type": "start", "on_completion": W }));
    w.insert(
        W.into(),
        json!({ "type": "while-condition", "condition": "__n__:value > 0 AND __x__:value = 'go'",
        "on_true": A, "on_completion": B }),
    );
    w.insert(
        B.into(),
        json!({ "type": "action", "agent": AGENT, "on_completion": E2,
        "commands": [{ "type": "manual", "command": "Say __x__:value" }] }),
    );
    let here = found(json.clone());
    let codes: Vec<&str> = here.iter().map(|f| f.1.as_str()).collect();
    assert_eq!(codes, ["unset-variable", "unset-variable"], "{here:#?}");
    assert!(here.iter().all(|f| f.0 == Grade::Warning));
    // A condition whose variable nothing changes never ends.
    json["workflow"][W]["condition"] = json!("__n__:value > 0");
    assert!(found(json.clone()).iter().any(|f| f.1 == "endless-loop"));
    json["workflow"][W]["condition"] = json!("1 = 1");
    assert!(found(json).iter().any(|f| f.0 == Grade::Error && f.1 == "constant-condition"));
}

#[test]
fn what_every_branch_sets_is_set() {
    let give = |next: &str| {
        json!({ "type": "action", "agent": AGENT, "on_completion": next, "out_args": ["__x__"],
        "commands": [{ "type": "manual", "command": "Ask" }] })
    };
    let book = |opener: &str, step: Value, second: Value| {
        let mut json = good();
        let w = json.pointer_mut("/workflow").unwrap().as_object_mut().unwrap();
        let last = "action--eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee";
        let over = "end--ffffffff-ffff-4fff-8fff-ffffffffffff";
        w.insert(S.into(), json!({ "type": "start", "on_completion": opener }));
        let mut step = step;
        step["on_completion"] = json!(last);
        w.insert(opener.into(), step);
        w.insert(A.into(), give(E));
        w.insert(B.into(), second);
        w.insert(
            last.into(),
            json!({ "type": "action", "agent": AGENT, "on_completion": over,
            "commands": [{ "type": "manual", "command": "Say __x__:value" }] }),
        );
        w.insert(over.into(), json!({ "type": "end" }));
        // An exception arrives there with nothing: keep it away from the ends of the branches.
        json["workflow_exception"] = json!(over);
        found(json).into_iter().map(|f| f.1).collect::<Vec<_>>()
    };
    let none: Vec<String> = Vec::new();
    let parallel = json!({ "type": "parallel", "next_steps": [A, B] });
    assert_eq!(book(P, parallel, act(E2)), none, "one of the branches is enough");
    let choice = json!({ "type": "if-condition", "condition": "__n__:value = 3", "on_true": A, "on_false": B });
    assert_eq!(book(I, choice.clone(), give(E2)), none);
    assert_eq!(book(I, choice, act(E2)), ["unset-variable"], "one of them is not");
    let switch = json!({ "type": "switch-condition", "switch": "__n__:value", "cases": { "1": A, "default": B } });
    assert_eq!(book(X, switch, give(E2)), none);
    let open = json!({ "type": "switch-condition", "switch": "__n__:value", "cases": { "1": A, "2": B } });
    assert_eq!(book(X, open, give(E2)), ["no-default", "unset-variable"]);
}

#[test]
fn bundled_playbooks_are_clean() {
    let library = Library::bundled();
    assert_eq!(library.broken(), []);
    assert_eq!(library.items().len(), 21);
    for item in library.items() {
        let known = |id: &str| library.get(id).is_some();
        let found = lint(&item.document, Some(&known));
        assert!(found.is_empty(), "{}: {found:#?}", item.book.key);
        let book = &item.book;
        assert!(book.work().count() >= 5, "{}: too thin", book.key);
        for step in book.work() {
            assert!(step.phase.is_some() && step.who.is_some(), "{}: {}: phase and who", book.key, step.key);
            assert!(
                step.commands.iter().all(|c| c.kind != "manual" || c.text.expose().len() > 20),
                "{}: {}",
                book.key,
                step.key
            );
        }
        assert!(book.tlp.is_some() && !book.description.is_empty(), "{}", book.key);
        assert!(book.work().filter(|s| !s.attach.is_empty()).count() >= 2, "{}: evidence", book.key);
        assert!(book.work().any(|s| s.stop_when.is_some()), "{}: when to stop", book.key);
        assert!(book.work().any(|s| s.box_ms.is_some()), "{}: a time box", book.key);
        let sheet = crate::playbook::sheet::markdown(book, None);
        assert!(sheet.starts_with("**TLP:") && sheet.contains("[ ] Done"), "{sheet}");
        assert!(!sheet.contains(":value"), "people read names, not references: {sheet}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec![A, B, S, E, W, I, P, X, "default", "__x__:value", "__x__", "a/b~c", ""])
            .prop_map(Value::from),
    ];
    let word = prop::sample::select(vec![
        "type",
        "workflow",
        "on_completion",
        "on_failure",
        "on_true",
        "next_steps",
        "cases",
        "commands",
        "command",
        "playbook_variables",
        "value",
        "step_extensions",
        ids::EXTENSION,
        "key",
        "phase",
        "switch",
        "condition",
        A,
        W,
    ]);
    leaf.prop_recursive(4, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6)
                .prop_map(|all| Value::Object(all.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

pub(in crate::playbook) fn any_playbook() -> impl Strategy<Value = Value> {
    let places = prop::collection::vec((0_usize..64, any_json()), 1..6);
    places.prop_map(|changes| {
        let mut json = good();
        for (n, value) in changes {
            // Some place or other, at the top, in the workflow or in a step.
            let keys = ["workflow", "playbook_variables", "labels", "workflow_start", "x", "markings", "modified"];
            match n {
                0..=9 => drop(json.as_object_mut().unwrap().insert(keys[n % keys.len()].into(), value)),
                10..=39 => {
                    if let Some(w) = json["workflow"].as_object_mut() {
                        w.insert([A, B, S, E, W, I, P, X, "odd id"][n % 9].into(), value);
                    }
                }
                _ => {
                    let name = ["on_completion", "commands", "type", "step_variables", "timeout", "agent"][n % 6];
                    if let Some(a) = json.pointer_mut(&format!("/workflow/{A}")).and_then(Value::as_object_mut) {
                        a.insert(name.into(), value);
                    }
                }
            }
        }
        json
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn whatever_comes_it_is_read(json in any_playbook()) {
        let doc = Document::of(json).unwrap();
        let found = lint(&doc, Some(&|_| false));
        let sheet = crate::playbook::sheet::markdown(&doc.view("x"), None);
        prop_assert!(sheet.starts_with("**"));
        // What is not an object where a step should be is seen.
        if doc.json()["workflow"].as_object().is_none_or(|w| w.values().any(|s| !s.is_object())) {
            prop_assert!(!workable(&found));
        }
    }
}
