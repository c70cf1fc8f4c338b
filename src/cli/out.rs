//! Where a command writes.
//!
//! Text for people goes through [`clean`] line by line, JSON through [`to_safe_json`], so that nothing a command
//! says can drive a terminal, whoever wrote it. Only [`Out::bytes`] passes bytes as they are.

use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::CliError;
use crate::text::{Untrusted, clean, to_safe_json, width};

type Sink = Box<dyn Write + Send>;

/// Standard output and error of one command.
pub struct Out {
    json: bool,
    stdout_is_terminal: bool,
    stdout: Mutex<Sink>,
    stderr: Mutex<Sink>,
}

impl std::fmt::Debug for Out {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Out").field("json", &self.json).finish_non_exhaustive()
    }
}

impl Out {
    /// The process's own.
    pub fn std(json: bool) -> Self {
        let stdout = io::stdout();
        Self {
            json,
            stdout_is_terminal: stdout.is_terminal(),
            stdout: Mutex::new(Box::new(io::BufWriter::with_capacity(64 * 1024, stdout))),
            stderr: Mutex::new(Box::new(io::stderr())),
        }
    }

    /// Other places to write to, for tests and for one command inside another.
    pub fn to(json: bool, stdout: Sink, stderr: Sink) -> Self {
        Self { json, stdout_is_terminal: false, stdout: Mutex::new(stdout), stderr: Mutex::new(stderr) }
    }

    /// With `--json`: stdout takes [`Out::value`] or [`Out::item`] and nothing else.
    pub fn json(&self) -> bool {
        self.json
    }

    pub fn stdout_is_terminal(&self) -> bool {
        self.stdout_is_terminal
    }

    /// One line for people. Says nothing under `--json`.
    pub fn line(&self, text: impl AsRef<str>) -> Result<(), CliError> {
        if self.json {
            return Ok(());
        }
        let text = Untrusted::new(text.as_ref());
        Ok(writeln!(lock(&self.stdout), "{}", clean(&text))?)
    }

    /// Several lines for people; line ends are kept.
    pub fn block(&self, text: impl AsRef<str>) -> Result<(), CliError> {
        text.as_ref().lines().try_for_each(|l| self.line(l))
    }

    /// Lines that are the answer itself whether or not `--json` was given (help, a script).
    pub fn text(&self, text: impl AsRef<str>) -> Result<(), CliError> {
        let mut stdout = lock(&self.stdout);
        for line in text.as_ref().lines() {
            writeln!(stdout, "{}", clean(&Untrusted::new(line)))?;
        }
        Ok(())
    }

    /// Columns for people, as wide as their widest cell, two spaces between. Says nothing under `--json`.
    pub fn table(&self, head: &[&str], rows: &[Vec<String>]) -> Result<(), CliError> {
        let rows: Vec<Vec<_>> =
            rows.iter().map(|r| r.iter().map(|c| clean(&Untrusted::new(c.as_str())).into_owned()).collect()).collect();
        let widths: Vec<usize> = (0..head.len())
            .map(|i| rows.iter().filter_map(|r| r.get(i)).map(width).max().unwrap_or(0).max(head[i].len()))
            .collect();
        let pad = |text: &str, used: usize, i: usize| {
            let last = i + 1 == head.len();
            format!("{text}{}", " ".repeat(if last { 0 } else { widths[i].saturating_sub(used) + 2 }))
        };
        self.line(head.iter().enumerate().map(|(i, h)| pad(h, h.len(), i)).collect::<String>().trim_end())?;
        for row in &rows {
            let line: String =
                row.iter().take(head.len()).enumerate().map(|(i, c)| pad(c.as_str(), width(c), i)).collect();
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// The one JSON value of a command. Says nothing without `--json`.
    pub fn value<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), CliError> {
        if !self.json {
            return Ok(());
        }
        let text = to_safe_json(&value)?;
        Ok(writeln!(lock(&self.stdout), "{text}")?)
    }

    /// One line of NDJSON. Says nothing without `--json`.
    pub fn item<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), CliError> {
        self.value(value)
    }

    /// Bytes as they are: evidence asked for raw, a script for a shell.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        Ok(lock(&self.stdout).write_all(bytes)?)
    }

    /// A message, on stderr.
    pub fn note(&self, text: impl AsRef<str>) -> Result<(), CliError> {
        let mut stderr = lock(&self.stderr);
        for line in text.as_ref().lines() {
            writeln!(stderr, "{}", clean(&Untrusted::new(line)))?;
        }
        Ok(())
    }

    /// Why it did not work, on stderr.
    pub fn error(&self, text: impl AsRef<str>) -> Result<(), CliError> {
        self.note(format!("watchfloor: {}", text.as_ref()))
    }

    pub fn flush(&self) -> Result<(), CliError> {
        lock(&self.stderr).flush().ok();
        Ok(lock(&self.stdout).flush()?)
    }
}

fn lock(sink: &Mutex<Sink>) -> MutexGuard<'_, Sink> {
    sink.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cli::Exit;

    #[derive(Clone, Default)]
    struct Pipe {
        written: Arc<Mutex<Vec<u8>>>,
        closed: bool,
    }

    impl Write for Pipe {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            if self.closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.written.lock().unwrap().extend_from_slice(buf);
            Ok(buf.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn out(json: bool) -> (Out, Pipe, Pipe) {
        let (a, b) = (Pipe::default(), Pipe::default());
        (Out::to(json, Box::new(a.clone()), Box::new(b.clone())), a, b)
    }

    fn text(p: &Pipe) -> String {
        String::from_utf8(p.written.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn nothing_drives_the_terminal() {
        let evil = "a\u{1b}]52;c;x\u{7}\u{202e}\u{9b}2J\nb";
        let (o, stdout, stderr) = out(false);
        o.line(evil).unwrap();
        o.table(&["A", "B"], &[vec![evil.into(), evil.into()]]).unwrap();
        o.error(evil).unwrap();
        for said in [text(&stdout), text(&stderr)] {
            assert!(said.chars().all(|c| c == '\n' || (!c.is_control() && c != '\u{202e}')), "{said:?}");
        }
        let (o, stdout, _) = out(true);
        o.value(&serde_json::json!({"e": evil})).unwrap();
        let said = text(&stdout);
        assert!(said.trim_end().chars().all(|c| c.is_ascii() && !c.is_control()), "{said:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&said).unwrap()["e"], evil);
    }

    #[test]
    fn columns_line_up_by_what_is_seen() {
        let (o, stdout, _) = out(false);
        let rows = [vec!["\u{65e5}\u{672c}".into(), "x".into()], vec!["abcdef".into(), "y".into()], vec!["q".into()]];
        o.table(&["NAME", "N"], &rows).unwrap();
        assert_eq!(text(&stdout), "NAME    N\n\u{65e5}\u{672c}    x\nabcdef  y\nq\n");
    }

    #[test]
    fn each_mode_has_its_own_stdout() {
        let (o, stdout, stderr) = out(true);
        o.line("for people").unwrap();
        o.table(&["A"], &[vec!["x".into()]]).unwrap();
        o.note("a message").unwrap();
        assert_eq!((text(&stdout).as_str(), text(&stderr).as_str()), ("", "a message\n"));
        let (o, stdout, _) = out(false);
        o.value(&1).unwrap();
        o.item(&1).unwrap();
        assert_eq!(text(&stdout), "");
    }

    #[test]
    fn a_gone_reader_is_no_failure() {
        let closed = Pipe { closed: true, ..Pipe::default() };
        let (_, _, stderr) = out(false);
        let o = Out::to(false, Box::new(closed), Box::new(stderr.clone()));
        let e = o.line("x").unwrap_err();
        assert_eq!(e.report(&o), Exit::Done);
        assert_eq!(text(&stderr), "");
    }
}
