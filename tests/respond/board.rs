//! The change board on a real socket, and requests that follow from others.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Mutex;

use watchfloor::config::settings::CabSettings;
use watchfloor::respond::cab::Word;
use watchfloor::respond::execute::Clock;
use watchfloor::respond::simulate::Effect;

use super::*;

#[derive(Default)]
struct State {
    /// What it says of a ticket.
    word: String,
    /// Answers this status instead, so many times.
    down: (u16, u32),
    /// Tickets by idempotency key.
    tickets: BTreeMap<String, String>,
    seen: Vec<(String, String)>,
}

/// A change board that keeps what it is sent: once for each key.
fn board(word: &str) -> (CabSettings, Arc<Mutex<State>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let state = Arc::new(Mutex::new(State { word: word.into(), ..State::default() }));
    let kept = state.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let Some((head, body)) = super::retry::read_request(&stream) else { continue };
            let mut s = kept.lock().unwrap();
            s.seen.push((head.clone(), body));
            let (status, text) = if s.down.1 > 0 {
                s.down.1 -= 1;
                (s.down.0, String::new())
            } else {
                let key = super::retry::header(&head, "idempotency-key").to_owned();
                let next = format!("CHG{:04}", s.tickets.len() + 1);
                let ticket = s.tickets.entry(key).or_insert(next).clone();
                let word = s.word.clone();
                (200, format!("{{\"ticket\":\"{ticket}\",\"state\":\"{word}\",\"reason\":\"said the board\"}}"))
            };
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
                text.len()
            );
        }
    });
    let settings = CabSettings {
        url: Some(format!("http://127.0.0.1:{port}/changes")),
        secret: Some("keyring:soar".into()),
        // Far longer than a slow machine needs from one line of a test to the next.
        poll_seconds: 600,
        timeout_seconds: 30,
        ..CabSettings::default()
    };
    (settings, state)
}

const TICKET: &str = "[tiers.T2]\nticket = true\n";

fn after(seconds: i64) -> Clock {
    Clock::starting(now() + SignedDuration::from_secs(seconds))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_the_boards_word_and_then_for_people() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, TICKET);
    let (cab, state) = board("pending");
    let r = d.propose(draft("isolate", &["web1"], &[])).await.unwrap();
    d.propose(draft("look", &["web1"], &[])).await.unwrap();
    // The first two tries are lost; it is asked again under the same key, and there is one ticket.
    state.lock().unwrap().down = (503, 2);
    assert_eq!(d.responder.ask_board(&cab, "desk", after(0)).await.unwrap(), 1);
    let c = d.responder.change(&r.body.id).unwrap().unwrap();
    assert_eq!((c.ticket.as_deref(), c.word), (Some("CHG0001"), Word::Pending));
    refused(d.responder.approve(&id("bob"), &r.body.id, &r.digest, now()), "needs a ticket of the change board");
    {
        let s = state.lock().unwrap();
        assert_eq!((s.seen.len(), s.tickets.len()), (3, 1));
        let (head, body) = &s.seen[2];
        let v: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((v["request"].as_str(), v["digest"].as_str()), (Some(r.body.id.as_str()), Some(r.digest.as_str())));
        assert_eq!(
            (v["tier"].as_str(), v["targets"][0].as_str(), v["reason"].as_str()),
            (Some("T2"), Some("web1"), Some("it beacons"))
        );
        let at = super::retry::header(head, "x-watchfloor-timestamp");
        if let Some(hex) = super::retry::openssl_hmac("s3cr3t-t0ken-0042", &format!("{at}.{body}")) {
            assert_eq!(super::retry::header(head, "x-watchfloor-signature"), format!("sha256={hex}"));
        }
    }
    // Not asked again before its time; then only looked at.
    assert_eq!(d.responder.ask_board(&cab, "desk", after(0)).await.unwrap(), 0);
    state.lock().unwrap().word = "approved".into();
    assert_eq!(d.responder.ask_board(&cab, "desk", after(700)).await.unwrap(), 1);
    assert!(state.lock().unwrap().seen.last().unwrap().0.starts_with("GET /changes/CHG0001 "));
    let r = d.responder.approve(&id("bob"), &r.body.id, &r.digest, now()).unwrap();
    assert_eq!(d.execute(&r).await.unwrap().state, RequestState::Done);
    let kinds = d.kinds(&r.body.id);
    assert_eq!(kinds[..4], ["action.proposed", "cab.filed", "cab.answered", "action.ticket"]);
    d.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_ends_it_with_its_reason_and_silence_ends_it_too() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, TICKET);
    let (cab, state) = board("rejected");
    let r = d.propose(draft("isolate", &["web1"], &[])).await.unwrap();
    d.responder.ask_board(&cab, "desk", after(0)).await.unwrap();
    let denied = d.store.request(&r.body.id).unwrap().unwrap();
    assert_eq!(denied.state, RequestState::Denied);
    let why = denied.denied.unwrap();
    assert_eq!(
        (why.by.as_str(), why.reason.expose()),
        ("change-board", "the change board rejected CHG0001: said the board")
    );
    // Unreachable is not known: nobody can approve, and in the end it is denied.
    state.lock().unwrap().down = (500, u32::MAX);
    let r = d.propose(draft("isolate", &["web2"], &[])).await.unwrap();
    for n in 0..3 {
        assert_eq!(d.responder.ask_board(&cab, "desk", after(n * 700)).await.unwrap(), 0);
        refused(d.responder.approve(&id("bob"), &r.body.id, &r.digest, now()), "needs a ticket");
    }
    let c = d.responder.change(&r.body.id).unwrap().unwrap();
    assert!(c.ticket.is_none() && c.fault.unwrap().contains("500"), "its fault is told");
    assert_eq!(d.responder.ask_board(&cab, "desk", after(3_700)).await.unwrap(), 1);
    let denied = d.store.request(&r.body.id).unwrap().unwrap();
    assert_eq!(denied.state, RequestState::Denied);
    assert!(denied.denied.unwrap().reason.expose().contains("said nothing within 60 minutes"));
    // An answer that makes no sense is no answer.
    state.lock().unwrap().down = (0, 0);
    state.lock().unwrap().word = "maybe".into();
    let r = d.propose(draft("isolate", &["web3"], &[])).await.unwrap();
    d.responder.ask_board(&cab, "desk", after(0)).await.unwrap();
    assert_eq!(d.state(&r), RequestState::Pending);
    d.verify();
}

/// Whoever can write the store cannot make the board say yes.
#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_only_the_store_knows_of_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let policy = "[tiers.T2]\nticket = true\napprovals = 0\n";
    let d = desk(dir.path(), DEMO, policy);
    let r = d.propose(draft("isolate", &["web1"], &[])).await.unwrap();
    let mut forged = d.store.request(&r.body.id).unwrap().unwrap();
    forged.course.ticket = Some("CHG0042".into());
    d.store.update_request(&forged).unwrap();
    refused(d.execute(&r).await, "needs a ticket of the change board");
    assert_eq!(d.state(&r), RequestState::Approved);
}

/// Executors of this catalogue fail for hosts that are named so.
const HALF: &str = r#"
[[actions]]
name = "block"
title = "Block"
tier = "T1"
undo = "unblock"
targets = { is = { type = "ip" } }
params = [{ name = "hours", is = { type = "integer", min = 1, max = 9 }, default = "2" }, { name = "only", is = { type = "integer", min = 1, max = 9 }, default = "1" }]
executor = { kind = "http", url = "URL", timeout_seconds = 30, body = { ip = "{{target}}" } }

[[actions]]
name = "unblock"
title = "Unblock"
tier = "T1"
targets = { is = { type = "ip" } }
params = [{ name = "hours", is = { type = "integer", min = 1, max = 9 }, default = "2" }]
executor = { kind = "http", url = "URL", timeout_seconds = 30, body = { ip = "{{target}}" } }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn only_what_failed_is_asked_for_again_and_what_was_done_is_taken_back() {
    use super::retry::{Do, scripted};
    let dir = tempfile::tempdir().unwrap();
    // One done, one failed, one nobody knows of; then everything works.
    let s = scripted(&[Do::Answer(200), Do::Answer(500), Do::Hang, Do::Answer(200)]);
    let d = desk(dir.path(), &HALF.replace("URL", &format!("http://127.0.0.1:{}/x", s.port)), "");
    let old =
        d.approved(draft("block", &["192.0.2.1", "192.0.2.2", "192.0.2.3"], &[("hours", "7"), ("only", "3")])).await;
    let old = d.execute(&old).await.unwrap();
    assert_eq!(states(&old), [ReceiptState::Done, ReceiptState::Failed, ReceiptState::Unknown]);
    let again = d.responder.retry(&id("alice"), &old.body.id, false, None, now()).await.unwrap();
    assert_eq!(again.body.targets, ["192.0.2.2"], "only what failed");
    assert_eq!((again.body.replaces.as_ref(), again.state), (Some(&old.body.id), RequestState::Pending));
    assert_eq!(again.body.params["hours"], "7");
    assert!(again.body.reason.expose().contains(old.body.id.as_str()));
    refused(d.responder.retry(&id("alice"), &old.body.id, false, None, now()).await, "does that already");
    let both = d.responder.retry(&id("alice"), &old.body.id, true, Some("looked".into()), now()).await.unwrap();
    assert_eq!(both.body.targets, ["192.0.2.3"], "asked for expressly");
    let done = d.responder.approve(&id("bob"), &again.body.id, &again.digest, now()).unwrap();
    assert_eq!(d.execute(&done).await.unwrap().state, RequestState::Done);

    let back = d.responder.undo(&id("alice"), &old.body.id, false, None, now()).await.unwrap();
    assert_eq!((back.body.action.as_str(), back.body.targets.as_slice()), ("unblock", &["192.0.2.1".to_owned()][..]));
    assert_eq!(back.body.params, [("hours".to_owned(), "7".to_owned())].into());
    assert_eq!(back.body.replaces.as_ref(), Some(&old.body.id));
    let back = d.responder.approve(&id("bob"), &back.body.id, &back.digest, now()).unwrap();
    let back = d.execute(&back).await.unwrap();
    refused(d.responder.undo(&id("alice"), &old.body.id, false, None, now()).await, "does that already");
    refused(d.responder.undo(&id("alice"), &back.body.id, false, None, now()).await, "cannot be undone by an action");

    // What a stricter policy would have said of all this.
    fs::write(dir.path().join("strict.toml"), "[tiers.T1]\napprovals = 2\n").unwrap();
    let since = now() - SignedDuration::from_hours(1);
    let strict = d.responder.simulate(Some(&dir.path().join("strict.toml")), since).unwrap();
    assert_eq!((strict.replayed, strict.changed.len()), (4, 4));
    assert!(strict.changed.iter().all(|c| c.effect == Effect::MorePeople), "{strict:?}");
    assert_eq!(d.responder.simulate(None, since).unwrap().changed, []);
    d.verify();
}

/// The program itself, from settings: a bulletin arrives, what does not arrive is told by `notify list` and `doctor`.
#[test]
fn the_program_tells_and_says_how_it_goes() {
    use std::process::Command;

    use super::retry::{Do, scripted};

    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let (well, ill) = (scripted(&[Do::Answer(200)]), scripted(&[Do::Answer(503)]));
    let hook = |name: &str, port: u16| {
        format!("[notify.{name}]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/x\"\nsecret = \"env:HOOK\"\n")
    };
    let config = hook("well", well.port) + &hook("ill", ill.port) + "[notify.odd]\nkind = \"pagerduty\"\n";
    fs::write(d.join("config.toml"), &config).unwrap();
    fs::write(d.join("actions.toml"), DEMO).unwrap();
    let uid = rustix::process::getuid().as_raw();
    let people = format!("[[people]]\nid = \"ana\"\nname = \"Ana\"\nuids = [{uid}]\nroles = [\"analyst\"]\n");
    fs::write(d.join("roster.toml"), people).unwrap();
    let run = |args: &[&str]| {
        let at = |name: &str| d.join(name).display().to_string();
        let out = Command::new(super::common::BIN)
            .args(["--config", &at("config.toml"), "--data-dir", &at("data"), "--json"])
            .args(args)
            .env("HOOK", "s3cret")
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap();
        (out.status.code().unwrap(), text)
    };
    let (code, said) = run(&["config", "check"]);
    assert!(code == 2 && said.contains("odd") && said.contains("routing key"), "{code} {said}");
    fs::write(d.join("config.toml"), config.replace("[notify.odd]\nkind = \"pagerduty\"\n", "")).unwrap();
    let (code, said) = run(&["notify", "test", "well"]);
    assert!(code == 0 && said.contains("took it"), "{code} {said}");
    let (code, said) = run(&["notify", "test", "ill"]);
    assert!(code == 3 && said.contains("503"), "{code} {said}");
    assert_eq!(run(&["notify", "test", "wel"]).0, 2);
    assert_eq!(run(&["notify", "now"]).0, 0);
    assert_eq!(run(&["propose", "isolate", "--target", "web1", "--reason", "it beacons"]).0, 0);
    let (code, said) = run(&["notify", "now"]);
    assert!(code == 0 && said.contains("\"told\":1"), "{code} {said}");
    let (code, said) = run(&["notify", "list"]);
    assert!(code == 1 && said.contains("\"name\":\"ill\"") && said.contains("\"failing\":true"), "{code} {said}");
    assert!(well.got.lock().unwrap()[1].2.contains("\"event\":\"proposed\""));
    let (_, said) = run(&["doctor"]);
    assert!(said.contains("well: 1 told") && said.contains("watchfloor notify test ill"), "{said}");
    assert!(!said.contains("s3cret"));
}
