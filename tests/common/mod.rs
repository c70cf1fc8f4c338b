//! A console on a terminal of its own, driven and read as a person would.

#![allow(dead_code, reason = "each test uses its own part")]

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

pub const BIN: &str = env!("CARGO_BIN_EXE_watchfloor");

/// A program on a terminal of its own.
pub struct Term {
    pub master: Box<dyn MasterPty + Send>,
    pub writer: Box<dyn Write + Send>,
    pub child: Box<dyn Child + Send + Sync>,
    pub bytes: Arc<Mutex<Vec<u8>>>,
    pub size: (u16, u16),
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

    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    pub fn screen(&self) -> String {
        let n = |v| std::num::NonZeroU16::new(v).unwrap();
        let mut vt = vt100::Parser::new(n(self.size.1), n(self.size.0), 0);
        vt.process(&self.bytes());
        vt.screen().contents()
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
    pub fn settle(&self) {
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

/// The three characters after `type`.
pub fn code_on(screen: &str) -> String {
    let line = screen.lines().find(|l| l.trim_start().starts_with("type ")).unwrap_or_else(|| panic!("{screen}"));
    line.split_whitespace().nth(1).unwrap().to_owned()
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
