//! How soon the console is useful with many alerts on disk, and what it writes while nobody touches it.
//!
//! `cargo bench --bench start`. Prints the time from exec to the first frame that shows alerts, beside the time `true`
//! takes through the same pty, and the bytes written to the terminal in an idle minute with the clock off.
//! `WATCHFLOOR_BENCH_N` (alerts, default 1,000,000) and `WATCHFLOOR_BENCH_IDLE` (seconds, default 60) change the size.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark starts programs, prints, and stops at the first fault"
)]

use std::io::Read as _;
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use portable_pty::Child;
use portable_pty::CommandBuilder;
use portable_pty::MasterPty;
use portable_pty::PtySize;
use portable_pty::native_pty_system;

mod common;

const BIN: &str = env!("CARGO_BIN_EXE_watchfloor");
const RUNS: usize = 15;

fn main() {
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let n: usize = common::env("WATCHFLOOR_BENCH_N", 1_000_000);
    let idle = Duration::from_secs(common::env("WATCHFLOOR_BENCH_IDLE", 60));
    let desk = common::desk_with(n);
    let mut paint = Vec::new();
    let mut floor = Vec::new();
    for _ in 0..RUNS {
        paint.push(first_paint(&desk));
        floor.push(exec_true());
    }
    let (paint, floor) = (common::median(paint), common::median(floor));
    println!("first useful paint, {n} alerts: {:.1} ms; `true`: {:.1} ms", ms(paint), ms(floor));
    println!("idle for {} s, clock off: {} bytes", idle.as_secs(), idle_bytes(&desk, idle));
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1000.0
}

fn size() -> PtySize {
    PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 }
}

fn console(desk: &Path) -> CommandBuilder {
    let mut command = CommandBuilder::new(BIN);
    command.arg("--data-dir");
    command.arg(desk);
    command.env("TERM", "xterm-256color");
    command.env("WATCHFLOOR_CONSOLE__CLOCK", "off");
    command
}

/// A command on a pty: what it writes, with the time it came.
struct Started {
    child: Box<dyn Child + Send + Sync>,
    bytes: mpsc::Receiver<(Instant, Vec<u8>)>,
    began: Instant,
    _master: Box<dyn MasterPty + Send>,
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(command: CommandBuilder) -> Started {
    let pair = native_pty_system().openpty(size()).expect("a pty");
    let mut reader = pair.master.try_clone_reader().expect("a reader");
    let began = Instant::now();
    let child = pair.slave.spawn_command(command).expect("spawn");
    drop(pair.slave);
    let (send, bytes) = mpsc::sync_channel(1024);
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(n) = reader.read(&mut buffer) {
            if n == 0 || send.send((Instant::now(), buffer[..n].to_vec())).is_err() {
                return;
            }
        }
    });
    Started { child, bytes, began, _master: pair.master }
}

/// Until the first frame in which a row of the queue stands.
fn first_paint(desk: &Path) -> Duration {
    let console = start(console(desk));
    let mut screen = vt100::Parser::new(NonZeroU16::new(24).expect("rows"), NonZeroU16::new(80).expect("columns"), 0);
    while let Ok((at, chunk)) = console.bytes.recv_timeout(Duration::from_secs(20)) {
        screen.process(&chunk);
        if screen.screen().contents().contains(" P1 ") {
            return at - console.began;
        }
    }
    panic!("the console showed no alerts within 20 s")
}

fn exec_true() -> Duration {
    let mut started = start(CommandBuilder::new("true"));
    let _ = started.child.wait();
    started.began.elapsed()
}

fn idle_bytes(desk: &Path, time: Duration) -> usize {
    let console = start(console(desk));
    // Settled: nothing for two seconds after the first paint.
    while console.bytes.recv_timeout(Duration::from_secs(2)).is_ok() {}
    let end = Instant::now() + time;
    let mut written = 0;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        if let Ok((_, chunk)) = console.bytes.recv_timeout(left) {
            written += chunk.len();
        }
    }
    written
}
