//! The console in a real pseudo-terminal: what it writes byte by byte, what a person sees, how it ends.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

const BIN: &str = env!("CARGO_BIN_EXE_watchfloor");
const HOSTILE: &str = "evil \\u001b]52;c;ZXZpbA==\\u0007 \\u202egnp.exe \\u009b2J \\u200b end";

/// A program on a terminal of its own.
struct Term {
    master: Box<dyn MasterPty + Send>,
    writer: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    bytes: Arc<Mutex<Vec<u8>>>,
    size: (u16, u16),
}

impl Term {
    fn start(program: &str, args: &[&str], size: (u16, u16)) -> Self {
        let pty = native_pty_system()
            .openpty(PtySize { cols: size.0, rows: size.1, pixel_width: 0, pixel_height: 0 })
            .unwrap();
        let mut cmd = CommandBuilder::new(program);
        cmd.args(args);
        cmd.env("TERM", "xterm-256color");
        cmd.env("LANG", "C.UTF-8");
        cmd.env_remove("NO_COLOR");
        cmd.env_remove("SSH_CONNECTION");
        let child = pty.slave.spawn_command(cmd).unwrap();
        drop(pty.slave);
        let mut reader = pty.master.try_clone_reader().unwrap();
        let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
        let sink = Arc::clone(&bytes);
        std::thread::spawn(move || {
            let mut buf = [0; 65536];
            while let Ok(n) = reader.read(&mut buf) {
                if n == 0 {
                    break;
                }
                sink.lock().unwrap().extend_from_slice(&buf[..n]);
            }
        });
        let writer = pty.master.take_writer().unwrap();
        Self { master: pty.master, writer, child, bytes, size }
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    fn screen(&self) -> String {
        let n = |v| std::num::NonZeroU16::new(v).unwrap();
        let mut vt = vt100::Parser::new(n(self.size.1), n(self.size.0), 0);
        vt.process(&self.bytes());
        vt.screen().contents()
    }

    fn send(&mut self, keys: &str) {
        let w = &mut self.writer;
        w.write_all(keys.as_bytes()).unwrap();
        w.flush().unwrap();
    }

    /// Waits until the screen shows this.
    fn wait_for(&self, what: &str) -> String {
        self.wait(what, |s| s.contains(what))
    }

    fn wait(&self, what: &str, ok: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let screen = self.screen();
            if ok(&screen) {
                return screen;
            }
            assert!(Instant::now() < until, "no {what:?} on the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits until nothing was written for a while.
    fn settle(&self) {
        let mut last = self.bytes().len();
        let mut since = Instant::now();
        while since.elapsed() < Duration::from_millis(700) {
            std::thread::sleep(Duration::from_millis(50));
            let n = self.bytes().len();
            if n != last {
                last = n;
                since = Instant::now();
            }
        }
    }

    fn ends(&mut self, within: Duration) -> portable_pty::ExitStatus {
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.process_id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(args: &[&str]) {
    let out = Command::new(BIN).args(args).output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

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

/// A demo desk that stands still, opened by one of its people.
fn demo_desk(dir: &Path) -> String {
    let data = dir.join("demo").display().to_string();
    run(&["demo", "--data-dir", &data, "--headless", "--skip", "900"]);
    data
}

fn open_demo(data: &str, person: &str, size: (u16, u16)) -> Term {
    let term = Term::start(BIN, &["--data-dir", data, "--as", person], size);
    term.wait_for("Queue");
    term.wait("alerts", |s| s.contains(" P1 ") || s.contains(" P0 "));
    term
}

/// Every escape sequence the console may write; everything else must be text.
fn check_grammar(bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|e| format!("no UTF-8: {e}"))?;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let near = || text[at..].chars().take(24).collect::<String>().escape_debug().to_string();
        match c {
            '\u{1b}' => {
                if chars.next().map(|x| x.1) != Some('[') {
                    return Err(format!("not a CSI at {at}: {}", near()));
                }
                let mut body = String::new();
                let last = loop {
                    match chars.next().map(|x| x.1) {
                        Some(c) if ('\u{40}'..='\u{7e}').contains(&c) => break c,
                        Some(c) if c.is_ascii_digit() || ";:?".contains(c) => body.push(c),
                        other => return Err(format!("{other:?} inside a CSI at {at}: {}", near())),
                    }
                };
                let ok = match last {
                    'm' | 'H' => !body.contains('?'),
                    'J' => body == "2",
                    'h' | 'l' => ["?1049", "?2004", "?25", "?2026"].contains(&body.as_str()),
                    _ => false,
                };
                if !ok {
                    return Err(format!("CSI {body}{last} at {at}"));
                }
            }
            c if c.is_control() => return Err(format!("control {c:?} at {at}: {}", near())),
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{e0000}'..='\u{e0fff}' => {
                return Err(format!("{c:?} at {at}: {}", near()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn only_our_own_escape_sequences_and_silence_when_idle() {
    let dir = tempfile::tempdir().unwrap();
    let mut t = open_quiet(dir.path(), (120, 30));
    t.send("j");
    let screen = t.wait_for("<U+202E>");
    assert!(screen.contains("LIVE"), "{screen}");
    for keys in
        ["j", "j", "\r", "r", "h", "\u{1b}", "]", "]", "\u{1b}", "?", "\u{1b}", ":", "\u{1b}", "6", "1", "f", "\u{1b}"]
    {
        t.send(keys);
        std::thread::sleep(Duration::from_millis(60));
    }
    t.settle();
    let before = t.bytes();
    check_grammar(&before).unwrap();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(t.bytes().len(), before.len(), "nothing happens: nothing is written");
    t.send("\u{11}");
    assert!(t.ends(Duration::from_secs(5)).success());
    std::thread::sleep(Duration::from_millis(100));
    let all = t.bytes();
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
        t.master.resize(PtySize { cols: size.0, rows: size.1, pixel_width: 0, pixel_height: 0 }).unwrap();
        // What was written for the old size must not be read as the new one's.
        t.bytes.lock().unwrap().clear();
        t.size = size;
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
        t.ends(Duration::from_secs(4));
        std::thread::sleep(Duration::from_millis(100));
        let all = t.bytes();
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
    let until = Instant::now() + Duration::from_secs(10);
    while consoles(&word).is_empty() {
        assert!(Instant::now() < until, "it did not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(consoles(&word).len(), 1, "it ended by itself");
    owner.kill().unwrap();
    owner.wait().unwrap();
    let until = Instant::now() + Duration::from_secs(6);
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
fn an_analyst_works_from_the_keyboard_and_a_second_console_sees_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = demo_desk(dir.path());
    let mut alice = open_demo(&data, "alice", (120, 40));
    let bob = open_demo(&data, "bob", (120, 40));
    alice.settle();

    // Filter, claim: the other console shows the owner within a second.
    alice.send("/\u{15}host:fin-ws-014 status:new\r");
    alice.wait_for("host:fin-ws-014");
    alice.send("j");
    alice.settle();
    alice.send("c");
    let told = alice.wait_for("yours now");
    let id: String =
        told.split("alert ").filter_map(|p| p.split(':').next()).find(|p| p.parse::<u64>().is_ok()).unwrap().into();
    let mut bob = bob;
    bob.send(&format!("/\u{15}id:{id}\r"));
    bob.wait("alice as owner", |s| s.lines().any(|l| l.contains(" alice ") && l.contains(" P")));
    let before = Instant::now();
    alice.send("l");
    alice.wait_for("back in the queue");
    bob.wait("it is new again", |s| s.lines().any(|l| l.contains(" P") && l.contains(" new ")));
    assert!(before.elapsed() < Duration::from_millis(2500), "{:?}", before.elapsed());

    // An opinion by the rules.
    alice.send("t");
    alice.wait_for("claims founded");

    // Bulk close with a reason, and undo.
    alice.send("/\u{15}sev<=low status:new\r");
    alice.wait_for("sev<=low");
    alice.settle();
    alice.send("*");
    alice.wait_for("marked");
    alice.send("xf");
    alice.send("nightly noise\r");
    alice.wait_for("closed as false positive");
    alice.send("u");
    alice.wait_for("taken back");
}

#[test]
fn two_people_propose_approve_and_run_an_action() {
    let dir = tempfile::tempdir().unwrap();
    let data = demo_desk(dir.path());
    let mut t = open_demo(&data, "alice", (120, 40));
    t.send("/\u{15}host:fin-ws-014\r");
    t.wait_for("host:fin-ws-014");
    t.settle();
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
    bob.wait_for("isolate-host");
    bob.send("\r");
    bob.wait_for("to sign");
    std::thread::sleep(Duration::from_millis(500));
    let code = code_on(&bob.screen());
    bob.send("\r\r");
    bob.settle();
    assert!(bob.screen().contains("to sign"), "enter does not sign");
    for c in code.chars() {
        bob.send(&c.to_string());
        std::thread::sleep(Duration::from_millis(50));
    }
    bob.wait_for("runs it, once");
    bob.send("\u{1b}");
    bob.wait_for("NEXT");
    bob.send("x");
    bob.wait_for("to run");
    std::thread::sleep(Duration::from_millis(500));
    let code = code_on(&bob.screen());
    for c in code.chars() {
        bob.send(&c.to_string());
        std::thread::sleep(Duration::from_millis(50));
    }
    let screen = bob.wait_for("RECEIPTS");
    assert!(screen.contains("done") && screen.contains("changed=1"), "{screen}");
    // Alice's screen followed.
    t.wait_for("RECEIPTS");
}

/// The three characters after `type`.
fn code_on(screen: &str) -> String {
    let line = screen.lines().find(|l| l.trim_start().starts_with("type ")).unwrap_or_else(|| panic!("{screen}"));
    line.split_whitespace().nth(1).unwrap().to_owned()
}
