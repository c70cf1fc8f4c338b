//! A console on a terminal of its own, driven and read as a person would.

#![allow(dead_code, reason = "each test uses its own part")]

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

pub const BIN: &str = env!("CARGO_BIN_EXE_watchfloor");

/// How long what must come is waited for: long, since it costs nothing where it comes.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A program on a terminal of its own.
pub struct Term {
    pub master: Box<dyn MasterPty + Send>,
    pub writer: Box<dyn Write + Send>,
    pub child: Box<dyn Child + Send + Sync>,
    pub bytes: Arc<Mutex<Vec<u8>>>,
    pub size: (u16, u16),
    reader: std::thread::JoinHandle<()>,
    seen: Mutex<Seen>,
}

/// What the terminal shows, and how many of its bytes that is.
struct Seen {
    vt: vt100::Parser,
    at: usize,
    size: (u16, u16),
}

impl Seen {
    fn new(size: (u16, u16)) -> Self {
        let n = |v| std::num::NonZeroU16::new(v).unwrap();
        Self { vt: vt100::Parser::new(n(size.1), n(size.0), 0), at: 0, size }
    }
}

/// Up to where it can be shown: neither a frame that is still being written nor its mark.
fn whole_frames(bytes: &[u8]) -> &[u8] {
    const MARKS: [&[u8]; 2] = [b"\x1b[?2026h", b"\x1b[?2026l"];
    let [begun, ended] = MARKS.map(|mark| bytes.windows(mark.len()).rposition(|w| w == mark));
    let tail = bytes.len().saturating_sub(MARKS[0].len() - 1);
    match begun {
        Some(begun) if ended.is_none_or(|at| at < begun) => &bytes[..begun],
        _ => &bytes[..bytes[tail..].iter().position(|b| *b == 0x1b).map_or(bytes.len(), |at| tail + at)],
    }
}

impl Term {
    pub fn start(program: &str, args: &[&str], size: (u16, u16)) -> Self {
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
        let reader = std::thread::spawn(move || {
            let mut buf = [0; 65536];
            while let Ok(n) = reader.read(&mut buf) {
                if n == 0 {
                    break;
                }
                sink.lock().unwrap().extend_from_slice(&buf[..n]);
            }
        });
        let writer = pty.master.take_writer().unwrap();
        Self { master: pty.master, writer, child, bytes, size, reader, seen: Mutex::new(Seen::new(size)) }
    }

    /// What was written so far, in whole frames: not half of a character either.
    pub fn bytes(&self) -> Vec<u8> {
        whole_frames(&self.bytes.lock().unwrap()).to_vec()
    }

    /// The last whole frame.
    pub fn screen(&self) -> String {
        let mut seen = self.seen.lock().unwrap();
        let bytes = self.bytes.lock().unwrap();
        if bytes.len() < seen.at || seen.size != self.size {
            *seen = Seen::new(self.size);
        }
        let new = whole_frames(&bytes[seen.at..]);
        seen.vt.process(new);
        seen.at += new.len();
        seen.vt.screen().contents()
    }

    /// From here on it is of this size; what was written for the old one is forgotten.
    pub fn resize(&mut self, size: (u16, u16)) {
        let mut bytes = self.bytes.lock().unwrap();
        bytes.clear();
        self.size = size;
        *self.seen.lock().unwrap() = Seen::new(size);
        drop(bytes);
        self.master.resize(PtySize { cols: size.0, rows: size.1, pixel_width: 0, pixel_height: 0 }).unwrap();
    }

    /// Keys one after the other, at the pace of a quick person.
    pub fn press(&mut self, keys: &str) {
        for c in keys.chars() {
            self.send(c.encode_utf8(&mut [0; 4]));
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    pub fn send(&mut self, keys: &str) {
        let w = &mut self.writer;
        w.write_all(keys.as_bytes()).unwrap();
        w.flush().unwrap();
    }

    /// Waits until the screen shows this.
    pub fn wait_for(&self, what: &str) -> String {
        self.wait(what, |s| s.contains(what))
    }

    pub fn wait(&self, what: &str, ok: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if ok(&screen) {
                return screen;
            }
            assert!(Instant::now() < until, "no {what:?} on the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits until nothing was written for a while. On a slow machine what was asked for may still come: wait for that.
    pub fn settle(&self) {
        let mut last = self.bytes.lock().unwrap().len();
        let mut since = Instant::now();
        let until = since + PATIENCE;
        while since.elapsed() < Duration::from_millis(700) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
            let n = self.bytes.lock().unwrap().len();
            if n != last {
                last = n;
                since = Instant::now();
            }
        }
    }

    /// Leaves what is in front. What comes next is pressed when that is to be seen: with a key right behind it, an
    /// escape is that key with alt.
    pub fn escape(&mut self, what: &str, left: impl Fn(&str) -> bool) -> String {
        self.send("\u{1b}");
        self.wait(what, left)
    }

    pub fn ends(&mut self, within: Duration) -> portable_pty::ExitStatus {
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// All that was written by a program that has ended.
    pub fn last_bytes(&self) -> Vec<u8> {
        let until = Instant::now() + PATIENCE;
        while !self.reader.is_finished() {
            assert!(Instant::now() < until, "somebody still holds the terminal:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.bytes.lock().unwrap().clone()
    }

    pub fn signal(&self, name: &str) {
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

pub fn run(args: &[&str]) {
    let out = Command::new(BIN).args(args).output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A demo desk that stands still, opened by one of its people.
pub fn demo_desk(dir: &Path) -> String {
    let data = dir.join("demo").display().to_string();
    run(&["demo", "--data-dir", &data, "--headless", "--skip", "900"]);
    data
}

pub fn open_demo(data: &str, person: &str, size: (u16, u16)) -> Term {
    let term = Term::start(BIN, &["--data-dir", data, "--as", person], size);
    term.wait_for("Queue");
    term.wait("alerts", |s| s.contains(" P1 ") || s.contains(" P0 "));
    term
}

/// Filters the queue, and waits for the rows: what is typed stands on the screen before it has any effect.
pub fn filter(term: &mut Term, query: &str) {
    term.send("/");
    term.wait("the filter's line", |s| s.lines().any(|l| l.starts_with(" filter")));
    term.send(&format!("\u{15}{query}\r"));
    term.wait("the filtered rows", |s| s.contains(&format!(" {query}  by ")) && s.contains('\u{25b8}'));
}

/// Types the code that is shown as a person does, who looks whether it is taken: a decision counts no key for a moment
/// after it opens, nor while others are pressed.
pub fn type_code(term: &mut Term) {
    let line = |s: &str| s.lines().find(|l| l.trim_start().starts_with("type ")).map(str::to_owned);
    let typed = |l: &str| l.rsplit_once(":  ").map_or("", |(_, typed)| typed).trim().to_owned();
    let mut shown = line(&term.wait("the code", |s| line(s).is_some())).unwrap();
    let until = Instant::now() + PATIENCE;
    loop {
        let code = shown.split_whitespace().nth(1).unwrap().to_owned();
        let done = typed(&shown);
        let next = match code.strip_prefix(&*done) {
            Some(rest) => rest.chars().next().unwrap().to_string(),
            None => "\u{7f}".to_owned(),
        };
        term.send(&next);
        // Only the first may not have counted: as long as keys must be quiet, and more.
        let answer = Instant::now() + if done.is_empty() { Duration::from_secs(2) } else { PATIENCE };
        shown = loop {
            std::thread::sleep(Duration::from_millis(30));
            match line(&term.screen()) {
                None => return,
                Some(now) if now != shown || Instant::now() > answer => break now,
                Some(_) => {}
            }
        };
        assert!(Instant::now() < until, "the code is not taken:\n{}", term.screen());
    }
}

/// Every escape sequence the console may write; everything else must be text.
pub fn check_grammar(bytes: &[u8]) -> Result<(), String> {
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

/// Runs a command on a data folder and gives its standard output as JSON, one value a line.
pub fn json(data: &str, args: &[&str]) -> Vec<serde_json::Value> {
    let out = Command::new(BIN).args(["--json", "--data-dir", data]).args(args).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// Runs a command as one of a demo's people: exit status and standard error.
pub fn as_person(data: &str, person: &str, args: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(BIN).args(["--as", person, "--data-dir", data]).args(args).output().unwrap();
    (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
}
