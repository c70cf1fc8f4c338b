//! A shift at the console, on a real terminal: what one person does and another sees, and what attackers wrote.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test starts programs and stops at the first surprise"
)]

mod common;

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use common::BIN;
use common::PATIENCE;
use common::Term;
use common::as_person;
use common::check_grammar;
use common::demo_desk;
use common::filter;
use common::json;
use common::open_demo;
use common::run;
use common::type_code;
use watchfloor::text::hostile;

const SIZE: (u16, u16) = (100, 30);

fn alerts(data: &str, filter: &str) -> Vec<serde_json::Value> {
    json(data, &["alerts", "--filter", filter])
}

#[test]
fn a_shift() {
    let dir = tempfile::tempdir().unwrap();
    let data = &demo_desk(dir.path());
    let mut alice = open_demo(data, "alice", SIZE);
    let bob = open_demo(data, "bob", SIZE);
    filter(&mut alice, "host:fin-ws-014* status:new");

    // Claim: it is hers, and the second analyst is told so.
    alice.press("c");
    alice.wait_for("yours now");
    let claimed = alerts(data, "owner:alice");
    assert_eq!(claimed.len(), 1);
    let id = claimed[0]["id"].to_string();
    let (status, said) = as_person(data, "bob", &["alert", "claim", &id]);
    assert_eq!(status, Some(1));
    assert!(said.contains("alice has it"), "{said}");

    // An opinion by rules, every claim of it found in the record.
    alice.press("t");
    alice.wait_for("claims founded");
    let shown = &json(data, &["alert", "show", &id])[0];
    assert_eq!(shown["verdicts"][0]["backend"], "rules");
    assert!(shown["verdicts"][0]["claims"].as_array().unwrap().iter().all(|c| c["founded"] == true));

    // Two closed in one act with disposition and reason, and both taken back.
    let open = alerts(data, "status:open").len();
    alice.press("G k x");
    alice.wait_for("disposition");
    alice.press("ftest of the sensor\u{13}");
    alice.wait_for("closed as false positive");
    assert_eq!(alerts(data, "status:closed disp:fp owner:alice").len(), 2, "both were closed in one act");
    bob.wait("two fewer open alerts", |t| t.contains(&format!("Queue {}", open - 2)));
    alice.press("u");
    alice.wait_for("taken back");
    assert_eq!(alerts(data, "status:closed disp:fp owner:alice").len(), 0);
    bob.wait("the alerts again", |t| t.contains(&format!("Queue {open}")));

    let request = propose(&mut alice, data);
    bob.wait("the request", |t| t.contains("Appr 1"));

    // The requester cannot approve, whichever way.
    let digest = json(data, &["actions", "--requests", "pending"])[0]["digest"].as_str().unwrap().to_owned();
    let (status, said) = as_person(data, "alice", &["approve", &request, "--digest", &digest]);
    assert_eq!(status, Some(4), "{said}");

    // At the same terminal another person approves with the code, runs it, and sees a receipt for each target.
    // Her own request takes no key for a moment after it came up, which was before these commands.
    std::thread::sleep(Duration::from_millis(500));
    alice.press("@");
    alice.wait_for("Act as");
    alice.press("bob\r");
    alice.wait_for("you are Bob Kessler");
    // Back from the filter, which is the last there is to go back from.
    alice.escape("the whole queue", |t| !t.contains("host:fin-ws-014*") && t.contains('\u{25b8}'));
    alice.press("3");
    alice.wait("the list", |t| t.contains(" NEXT") && t.contains("isolate-host") && t.contains('\u{25b8}'));
    alice.press("\r");
    alice.wait_for("to sign");
    type_code(&mut alice);
    alice.wait_for("runs it, once");
    alice.escape("the list", |t| t.contains(" NEXT") && t.contains("approved"));
    alice.press("x");
    alice.wait_for("to run");
    type_code(&mut alice);
    alice.wait("the receipts", |t| t.contains("RECEIPTS") && t.contains("it is done"));
    let done = &json(data, &["actions", "--requests", "done"])[0];
    assert_eq!(done["body"]["requester"], "alice");
    assert_eq!(done["approvals"][0]["by"], "bob");
    let receipts = done["receipts"].as_array().unwrap();
    assert!(!receipts.is_empty() && receipts.iter().all(|r| r["state"] == "done"), "{receipts:?}");

    run(&["--data-dir", data, "audit", "verify"]);
    alice.press("\u{11}");
    assert!(alice.ends(PATIENCE).success());
}

#[test]
fn an_edited_request_is_void() {
    let dir = tempfile::tempdir().unwrap();
    let data = &demo_desk(dir.path());
    let mut alice = open_demo(data, "alice", SIZE);
    filter(&mut alice, "host:fin-ws-014* status:new");
    let request = propose(&mut alice, data);
    let digest = json(data, &["actions", "--requests", "pending"])[0]["digest"].as_str().unwrap().to_owned();
    // Somebody with the file in hands swaps the target behind everybody's back.
    let store = rusqlite::Connection::open(Path::new(data).join("desk.sqlite")).unwrap();
    let swap = "UPDATE request SET json = replace(json, 'fin-ws-014', 'fin-ws-099') WHERE id = ?1";
    assert_eq!(store.execute(swap, [&request]).unwrap(), 1);
    let (status, said) = as_person(data, "bob", &["approve", &request, "--digest", &digest]);
    assert_ne!(status, Some(0), "{said}");
    let now = &json(data, &["actions", "--requests", "all"])[0];
    assert!(now["state"] != "approved" && now["state"] != "executing", "{now}");
    let (status, _) = as_person(data, "bob", &["execute", &request]);
    assert_ne!(status, Some(0));
    assert!(json(data, &["actions", "--requests", "done"]).is_empty());
}

/// Proposes to isolate the host of the first alert. Gives the request's id.
fn propose(alice: &mut Term, data: &str) -> String {
    alice.press("g");
    alice.wait("the first alert", |t| t.contains("following") && t.contains('\u{25b8}'));
    alice.press("p");
    alice.wait_for("isolate-host");
    alice.press("isolate\r");
    alice.wait_for("the approver reads it");
    alice.press("spreading, see the case\u{13}");
    alice.wait_for("somebody else must approve");
    let pending = json(data, &["actions", "--requests", "pending"]);
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0]["preview"][0]["would_change"], 1, "the dry run says what would change");
    pending[0]["body"]["id"].as_str().unwrap().to_owned()
}

/// Every payload of the hostile corpus in every field of records of five formats, looked at in the list, the detail,
/// the raw and the hex view: nothing but our own escape sequences reaches the terminal.
#[test]
fn hostile_records_drive_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hostile.log");
    let mut out = std::fs::File::create(&file).unwrap();
    let corpus = hostile::corpus();
    for (n, (_, payload)) in corpus.iter().enumerate() {
        for record in records(n, payload) {
            out.write_all(&record).unwrap();
            out.write_all(b"\n").unwrap();
        }
    }
    drop(out);
    let data = &dir.path().join("data").display().to_string();
    // Some are broken on purpose and become dead letters, which is exit status 1.
    let imported = std::process::Command::new(BIN).args(["--data-dir", data, "import"]).arg(&file).output().unwrap();
    check_grammar(&imported.stdout.iter().copied().filter(|b| *b != b'\n').collect::<Vec<_>>()).unwrap();
    let all = alerts(data, "").len();
    assert!(all >= 3 * corpus.len(), "{all} of {} payloads in five formats were read", corpus.len());

    let mut console = Term::start(BIN, &["--data-dir", data], (160, 40));
    console.wait_for("CRIT");
    console.settle();
    for n in 0..all.min(300) {
        console.press("j");
        if n % 7 == 0 {
            for (keys, shown) in [("\r", "Queue > alert"), ("r", " > raw "), ("jh", " > hex ")] {
                console.press(keys);
                console.wait_for(shown);
            }
            console.escape("the alert", |t| !t.contains(" > hex "));
            console.escape("the list", |t| !t.contains("Queue > "));
        }
    }
    console.settle();
    check_grammar(&console.bytes()).unwrap();
    // The same from a shell: listed, shown, and among the dead letters.
    for args in [&["alerts"][..], &["alert", "show", "1", "2", "3", "4", "5"], &["dead-letter", "list"]] {
        let out = std::process::Command::new(BIN).args(["--data-dir", data]).args(args).output().unwrap();
        let text: Vec<u8> = out.stdout.into_iter().filter(|b| *b != b'\n').collect();
        check_grammar(&text).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        assert!(!text.contains(&0x1b), "{args:?}: an escape");
    }
}

fn records(n: usize, payload: &[u8]) -> Vec<Vec<u8>> {
    let flat: Vec<u8> = payload.iter().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b }).collect();
    let put = |template: &str, with: &[u8]| -> Vec<u8> {
        let mut out = Vec::new();
        for (i, piece) in template.split("@@").enumerate() {
            if i > 0 {
                out.extend_from_slice(with);
            }
            out.extend_from_slice(piece.replace("##", &n.to_string()).as_bytes());
        }
        out
    };
    // In JSON a control is written as an escape; bytes that are no UTF-8 stand as they are.
    let json = match std::str::from_utf8(payload) {
        Ok(text) => serde_json::to_string(text).unwrap().trim_matches('"').as_bytes().to_vec(),
        Err(_) => flat.clone(),
    };
    vec![
        put(
            r#"{"timestamp":"2026-01-05T09:00:00.000+0000","rule":{"level":12,"description":"@@","id":"@@","groups":["@@"]},"agent":{"id":"@@","name":"@@"},"manager":{"name":"@@"},"id":"w##","full_log":"@@","decoder":{"name":"@@"},"data":{"srcip":"192.0.2.1","dstuser":"@@"},"location":"@@"}"#,
            &json,
        ),
        put(
            r#"{"timestamp":"2026-01-05T09:00:00.000000+0000","flow_id":##,"event_type":"alert","src_ip":"192.0.2.1","dest_ip":"192.0.2.2","proto":"TCP","alert":{"action":"@@","gid":1,"signature_id":##,"signature":"@@","category":"@@","severity":1},"http":{"hostname":"@@","url":"@@","http_user_agent":"@@"},"host":"@@"}"#,
            &json,
        ),
        put(
            r#"{"@timestamp":"2026-01-05T09:00:00Z","ecs":{"version":"8.11.0"},"event":{"kind":"alert","severity":73,"id":"e##"},"rule":{"id":"@@","name":"@@"},"message":"@@","host":{"name":"@@"},"user":{"name":"@@"},"process":{"name":"@@","command_line":"@@"}}"#,
            &json,
        ),
        put("CEF:0|@@|@@|1|r##|@@|9|shost=@@ suser=@@ src=192.0.2.1 fname=@@ msg=@@", &flat),
        put("<13>1 2026-01-05T09:00:00Z h## app 1 ID## - @@", &flat),
    ]
}
