//! `cmd:PROGRAM ARG...`: no shell, nothing on its input, a deadline, the first line of what it writes.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use super::{Reference, Secret, SecretError};

const LONGEST: usize = 64 * 1024;
const STEP: Duration = Duration::from_millis(5);

pub fn run(reference: &Reference, argv: &[String], limit: Duration) -> Result<Secret, SecretError> {
    let deadline = Instant::now() + limit;
    #[expect(clippy::disallowed_methods, reason = "cmd: names a program of the settings' owner")]
    let mut command = Command::new(&argv[0]);
    // A group of its own, so that whatever it starts goes with it. Its messages are nobody's: they may hold the value.
    let spawned = command
        .args(&argv[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    let mut child = spawned.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => reference.missing("there is no such program"),
        _ => reference.refused(format!("the program cannot be started: {e}")),
    })?;
    let line = child.stdout.take().map(first_line);
    let result = finish(reference, &mut child, line, deadline, limit);
    if result.is_err() {
        stop(&mut child);
    }
    result
}

fn finish(
    reference: &Reference,
    child: &mut Child,
    line: Option<Receiver<Zeroizing<Vec<u8>>>>,
    deadline: Instant,
    limit: Duration,
) -> Result<Secret, SecretError> {
    let late = || reference.unreachable(format!("the program did not end within {} s", limit.as_secs()));
    let status = wait(child, deadline).ok_or_else(late)?;
    if !status.success() {
        return Err(reference.missing(format!("the program failed ({status}); run it by hand to see why")));
    }
    let left = deadline.saturating_duration_since(Instant::now()).max(STEP);
    let bytes = line.and_then(|l| l.recv_timeout(left).ok()).ok_or_else(late)?;
    if bytes.len() > LONGEST {
        return Err(reference.refused(format!("the program wrote more than {LONGEST} bytes")));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| reference.refused("the program did not write UTF-8 text"))?;
    Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text)))
}

/// Polls, because a child cannot be waited for with a deadline.
fn wait(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(STEP);
    }
}

fn stop(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let _ = child.wait();
}

/// Sends what comes before the first line end (or the end), at most one byte more than the longest. Then reads on
/// and throws away, so that the program is not stopped by a full pipe.
fn first_line(mut stdout: impl Read + Send + 'static) -> Receiver<Zeroizing<Vec<u8>>> {
    let (tx, rx) = mpsc::sync_channel(1);
    let _ = std::thread::Builder::new().name("secret-cmd".into()).spawn(move || {
        let mut line = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
        let mut chunk = Zeroizing::new([0; 4096]);
        let mut whole = false;
        while let Ok(n @ 1..) = stdout.read(&mut chunk[..]) {
            if whole {
                continue;
            }
            let end = chunk[..n].iter().position(|b| *b == b'\n');
            let room = LONGEST + 1 - line.len();
            line.extend_from_slice(&chunk[..end.unwrap_or(n).min(room)]);
            if end.is_some() || line.len() > LONGEST {
                whole = true;
                let _ = tx.send(std::mem::take(&mut line));
            }
        }
        if !whole {
            let _ = tx.send(line);
        }
    });
    rx
}
