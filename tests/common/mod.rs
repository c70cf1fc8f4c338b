//! A console on a pty, driven and read as a person would.

#![allow(dead_code, reason = "each test uses its own part")]

use std::io::Read as _;
use std::io::Write as _;
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use portable_pty::Child;
use portable_pty::CommandBuilder;
use portable_pty::MasterPty;
use portable_pty::PtySize;
use portable_pty::native_pty_system;

pub const BIN: &str = env!("CARGO_BIN_EXE_watchfloor");

/// Slow machines are given time; a quick one never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Console {
    master: Box<dyn MasterPty + Send>,
    writer: Box<dyn std::io::Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    screen: Arc<Mutex<vt100::Parser>>,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Console {
    /// Opens a console of `columns` x `rows` on a data folder.
    pub fn open(data_dir: &Path, args: &[&str], columns: u16, rows: u16) -> Self {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(BIN);
        command.arg("--data-dir");
        command.arg(data_dir);
        args.iter().for_each(|a| command.arg(a));
        command.env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR");
        command.env_remove("SSH_CONNECTION");
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let non_zero = |n| NonZeroU16::new(n).unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(non_zero(rows), non_zero(columns), 0)));
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (parser, all) = (Arc::clone(&screen), Arc::clone(&bytes));
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(n) = reader.read(&mut buffer) {
                if n == 0 {
                    return;
                }
                all.lock().unwrap().extend_from_slice(&buffer[..n]);
                parser.lock().unwrap().process(&buffer[..n]);
            }
        });
        let writer = pair.master.take_writer().unwrap();
        Self { master: pair.master, writer, child, screen, bytes }
    }

    pub fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Every byte written to the terminal so far.
    pub fn written(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    /// Waits until the screen is as wanted, and says how long it took.
    pub fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Duration {
        let began = Instant::now();
        loop {
            let text = self.text();
            if wanted(&text) {
                return began.elapsed();
            }
            assert!(began.elapsed() < PATIENCE, "{what} did not come. The screen:\n{text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn sees(&self, words: &str) -> Duration {
        self.until(words, |text| text.contains(words))
    }

    /// Presses keys one after the other, at the pace of a quick person.
    pub fn press(&mut self, keys: &str) {
        for c in keys.chars() {
            self.writer.write_all(c.encode_utf8(&mut [0; 4]).as_bytes()).unwrap();
            self.writer.flush().unwrap();
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    pub fn enter(&mut self) {
        self.press("\r");
    }

    pub fn esc(&mut self) {
        self.press("\u{1b}");
        // Alone for a moment, or it is the beginning of a longer key.
        std::thread::sleep(Duration::from_millis(120));
    }

    /// `ctrl` with a letter.
    pub fn ctrl(&mut self, letter: char) {
        self.press(&char::from(letter as u8 & 0x1f).to_string());
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        self.master.resize(PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }).unwrap();
        let non_zero = |n| NonZeroU16::new(n).unwrap();
        self.screen.lock().unwrap().screen_mut().set_size(non_zero(rows), non_zero(columns));
    }

    /// Waits for the end and gives the exit status.
    pub fn ended(&mut self) -> u32 {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            assert!(began.elapsed() < PATIENCE, "it did not end. The screen:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command on a data folder and gives its standard output as JSON, one value a line.
pub fn json(data_dir: &Path, args: &[&str]) -> Vec<serde_json::Value> {
    let out =
        std::process::Command::new(BIN).arg("--json").arg("--data-dir").arg(data_dir).args(args).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}
