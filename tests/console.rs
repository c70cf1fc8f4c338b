//! The console in a real pseudo-terminal: what it writes byte by byte, what a person sees, how it ends.
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

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{BIN, PATIENCE, Term, check_grammar, demo_desk, filter, json, open_demo, run, type_code};

const HOSTILE: &str = "evil \\u001b]52;c;ZXZpbA==\\u0007 \\u202egnp.exe \\u009b2J \\u200b end";

/// A desk with three alerts, one of them hostile in every field; clocks off.
fn quiet_desk(dir: &Path) -> Vec<String> {
    let config = dir.join("config.toml");
    std::fs::write(&config, "[console]\nclock = \"off\"\n[desk]\nenvironment = \"PROD-EU\"\n").unwrap();
    let mut lines = String::new();
    for (id, text) in [("1", "first of three"), ("2", HOSTILE), ("3", "third of three")] {
        lines.push_str(&format!(
            "{{\"timestamp\":\"2026-01-15T08:00:0{id}.000+0000\",\"rule\":{{\"level\":12,\"description\":\"{text}\",\"id\":\"10000{id}\"}},\
             \"agent\":{{\"id\":\"00{id}\",\"name\":\"{text}\"}},\"manager\":{{\"name\":\"{text}\"}},\"id\":\"1.{id}\",\
             \"data\":{{\"dstuser\":\"{text}\"}},\"decoder\":{{\"name\":\"{text}\"}},\"location\":\"{text}\"}}\n"
        ));
    }
    let alerts = dir.join("alerts.json");
    std::fs::write(&alerts, lines).unwrap();
    let data = dir.join("data").display().to_string();
    let args = vec!["--config".to_owned(), config.display().to_string(), "--data-dir".to_owned(), data];
    let mut import: Vec<&str> = args.iter().map(String::as_str).collect();
    let path = alerts.display().to_string();
    import.extend(["import", path.as_str()]);
    run(&import);
    args
}

fn open_quiet(dir: &Path, size: (u16, u16)) -> Term {
    let args = quiet_desk(dir);
    let term = Term::start(BIN, &args.iter().map(String::as_str).collect::<Vec<_>>(), size);
    term.wait_for("third of three");
    term
}

#[test]
fn only_our_own_escape_sequences_and_silence_when_idle() {
    let dir = tempfile::tempdir().unwrap();
    let mut t = open_quiet(dir.path(), (120, 30));
    t.send("j");
    t.wait("the hostile alert, live", |s| s.contains("<U+202E>") && s.contains("LIVE"));
    for keys in [
        "j", "j", "\r", "r", "h", "\u{1b}", "]", "]", "\u{1b}", "?", "\u{1b}", ":", "\u{1b}", "6", "8", "1", "f",
        "\u{1b}",
    ] {
        t.send(keys);
        std::thread::sleep(Duration::from_millis(60));
    }
    // What the last keys asked for may take its time; after that nothing happens, and nothing is written.
    let until = Instant::now() + PATIENCE;
    let mut written = usize::MAX;
    while t.bytes().len() != written {
        assert!(Instant::now() < until, "it writes again and again:\n{}", t.screen());
        written = t.bytes().len();
        std::thread::sleep(Duration::from_secs(5));
    }
    check_grammar(&t.bytes()).unwrap();
    t.send("\u{11}");
    assert!(t.ends(PATIENCE).success());
    let all = t.last_bytes();
    check_grammar(&all).unwrap();
    let tail = String::from_utf8_lossy(&all[all.len().saturating_sub(80)..]).into_owned();
    for must in ["\u{1b}[?1049l", "\u{1b}[?2004l", "\u{1b}[?25h"] {
        assert!(tail.contains(must), "{must:?} is missing at the end: {tail:?}");
    }
}

#[test]
fn a_resize_is_followed_and_a_tiny_screen_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut t = open_quiet(dir.path(), (80, 24));
    for (size, words) in
        [((140, 40), "FACTS as the source gave them"), ((50, 10), "at least 60x15"), ((80, 24), "ALERT")]
    {
        // What was written for the old size must not be read as the new one's.
        t.settle();
        t.resize(size);
        t.wait_for(words);
    }
}

#[test]
fn hangup_and_terminate_give_the_terminal_back() {
    let dir = tempfile::tempdir().unwrap();
    let args = quiet_desk(dir.path());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    for name in ["HUP", "TERM", "INT"] {
        let mut t = Term::start(BIN, &args, (80, 24));
        t.wait_for("third of three");
        t.signal(name);
        t.ends(PATIENCE);
        let all = t.last_bytes();
        assert!(all.windows(8).any(|w| w == b"\x1b[?1049l"), "SIG{name}: the terminal was not given back");
    }
}

/// The processes with this word on their command line that run this program.
fn consoles(word: &str) -> Vec<String> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.starts_with(BIN) && line.contains(word) {
            out.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    out
}

#[test]
fn a_terminal_that_vanishes_ends_it() {
    // `script` owns the terminal; killed with -9 it gives nothing back and says nothing.
    if Command::new("script").arg("--version").output().is_err() {
        println!("skipped: there is no script(1)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let args = quiet_desk(dir.path());
    let line = format!("exec {BIN} {}", args.join(" "));
    let mut owner = Command::new("script")
        .args(["-qfc", &line, "/dev/null"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let word = dir.path().display().to_string();
    let until = Instant::now() + PATIENCE;
    while consoles(&word).is_empty() {
        assert!(Instant::now() < until, "it did not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(consoles(&word).len(), 1, "it ended by itself");
    owner.kill().unwrap();
    owner.wait().unwrap();
    let until = Instant::now() + PATIENCE;
    while !consoles(&word).is_empty() {
        assert!(Instant::now() < until, "it outlives its terminal");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn ctrl_z_gives_the_terminal_to_the_shell_and_fg_comes_back() {
    if Command::new("bash").arg("--version").output().is_err() {
        println!("skipped: there is no bash");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let args = quiet_desk(dir.path());
    let mut t = Term::start("bash", &["--norc", "--noprofile", "-i"], (100, 30));
    t.send(&format!("PS1='shell> '; {BIN} {}\n", args.join(" ")));
    t.wait_for("third of three");
    t.send("\u{1a}");
    let screen = t.wait_for("Stopped");
    assert!(!screen.contains("third of three"), "the other screen is gone:\n{screen}");
    t.send("echo still-a-$((40+2))-shell\n");
    t.wait_for("still-a-42-shell");
    t.send("fg\n");
    t.wait_for("third of three");
    t.send("\u{11}");
    t.wait("a prompt", |s| s.trim_end().ends_with("shell>"));
}

#[test]
fn two_people_propose_approve_and_run_an_action() {
    let dir = tempfile::tempdir().unwrap();
    let data = demo_desk(dir.path());
    let mut t = open_demo(&data, "alice", (120, 40));
    filter(&mut t, "host:fin-ws-014");
    t.send("p");
    t.wait_for("Propose for");
    t.send("isolate\r");
    t.wait_for("the approver reads it");
    t.send("spreads to the file server\r");
    t.wait_for("somebody else must approve");
    // Nobody approves their own.
    t.send("y");
    t.settle();
    assert!(t.screen().contains("somebody else must approve"));

    // Bob, on his own console, types the code that is shown.
    let mut bob = open_demo(&data, "bob", (120, 40));
    bob.send("3");
    bob.wait("the list", |s| s.contains("isolate-host") && s.contains('\u{25b8}'));
    bob.send("\r");
    bob.wait_for("to sign");
    // Once keys count.
    std::thread::sleep(Duration::from_millis(500));
    bob.send("\r\r");
    bob.settle();
    assert!(bob.screen().contains("to sign"), "enter does not sign");
    sign_and_run(&mut bob);
    let screen = bob.screen();
    assert!(screen.contains("changed=1"), "{screen}");
    // Alice's screen followed.
    t.wait_for("RECEIPTS");
}

/// By the codes that are shown: approves the request in front, and runs it from the list.
fn sign_and_run(t: &mut Term) {
    type_code(t);
    t.wait_for("runs it, once");
    t.escape("the list", |s| s.contains(" NEXT") && s.contains("approved"));
    t.send("x");
    t.wait_for("to run");
    type_code(t);
    t.wait("the receipts", |s| s.contains("RECEIPTS") && s.contains("it is done"));
}

#[test]
fn a_draft_is_kept_edited_submitted_approved_and_run_by_keys_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data = demo_desk(dir.path());
    let mut alice = open_demo(&data, "alice", (80, 24));
    filter(&mut alice, "host:fin-ws-014");
    alice.send("p");
    alice.wait_for("Propose for");
    alice.send("isolate\r");
    alice.wait_for("ctrl-o keep as draft");
    // No reason yet: it can come later.
    alice.send("\u{f}");
    alice.wait_for("kept as a draft");
    let kept = &json(&data, &["actions", "--requests", "draft"])[0];
    assert_eq!((&kept["body"]["requester"], &kept["body"]["reason"]), (&"alice".into(), &"".into()));

    // It is hers alone.
    let mut bob = open_demo(&data, "bob", (80, 24));
    bob.send("3");
    bob.wait_for("no requests");
    alice.send("3");
    // The notice before said so too.
    alice.wait("the draft", |s| s.lines().any(|l| l.starts_with('\u{25b8}') && l.contains("s submits")));
    // Without a reason it is refused, and stays.
    alice.send("s");
    alice.wait_for("a reason is needed");
    assert!(alice.screen().contains("DRAFT"), "{}", alice.screen());
    std::thread::sleep(Duration::from_millis(900));
    alice.send("e");
    alice.wait_for("nobody is asked until you submit it");
    alice.press("spreads to the file server");
    alice.send("\u{f}");
    alice.wait_for("kept as a draft");
    alice.wait_for("spreads to the file server");
    std::thread::sleep(Duration::from_millis(900));
    alice.send("s");
    alice.wait_for("somebody else must approve");

    bob.wait("the list", |s| s.contains("isolate-host") && s.contains('\u{25b8}'));
    bob.send("\r");
    bob.wait_for("to sign");
    sign_and_run(&mut bob);
    let done = &json(&data, &["actions", "--requests", "done"])[0];
    assert_eq!((&done["body"]["id"], &done["approvals"][0]["by"]), (&kept["body"]["id"], &"bob".into()));
    run(&["--data-dir", &data, "audit", "verify"]);
}
