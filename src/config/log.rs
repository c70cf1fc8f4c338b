//! Structured logs: one JSON object a line in `DATA/log/watchfloor.YYYY-MM-DD.jsonl` (UTC days), never on the terminal.
//!
//! Work that belongs together runs in a [`request`] span, so that every line of it carries the same `request_id`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tracing::{Span, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::settings::LogSettings;

/// Lines that wait for the disk; beyond that lines are dropped and counted, for logging must never hold up the desk.
const QUEUE: usize = 16 * 1024;
const PREFIX: &str = "watchfloor.";
const SUFFIX: &str = ".jsonl";

/// Writes out what is still queued when dropped. Keep it until the end of `main`.
#[must_use]
pub struct LogGuard {
    dropped: ErrorCounter,
    _worker: WorkerGuard,
}

/// Says how many lines there was no room for; a log with holes must not look whole.
impl Drop for LogGuard {
    fn drop(&mut self) {
        let lines = self.dropped.dropped_lines();
        if lines > 0 {
            tracing::warn!(lines, "log lines were dropped: the disk could not keep up");
        }
    }
}

impl std::fmt::Debug for LogGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogGuard")
    }
}

/// Starts logging for this process, once, and logs panics from now on.
///
/// # Errors
/// If the log folder cannot be made or written: the caller says so and goes on without.
pub fn start(data_dir: &Path, settings: &LogSettings) -> io::Result<LogGuard> {
    let writer = Daily::open(data_dir, settings.keep)?;
    let (writer, worker) =
        NonBlockingBuilder::default().buffered_lines_limit(QUEUE).lossy(true).thread_name("log").finish(writer);
    let dropped = writer.error_counter();
    let started = subscriber(settings, writer)?.try_init();
    started.map_err(|e| io::Error::new(io::ErrorKind::AlreadyExists, e.to_string()))?;
    log_panics();
    Ok(LogGuard { dropped, _worker: worker })
}

/// The subscriber alone, for tests that look at what is logged.
pub fn subscriber<W>(settings: &LogSettings, writer: W) -> io::Result<impl Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&settings.level)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, format!("log.level: {e}")))?;
    Ok(tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(true)
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(Safe(writer))
        .finish())
}

/// A span of work with an id of its own, such as one import or one approved action.
pub fn request(kind: &'static str) -> Span {
    tracing::info_span!("request", kind, request_id = %ulid::Ulid::new())
}

fn log_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map(|l| format!("{}:{}:{}", l.file(), l.line(), l.column()));
        let payload = info.payload();
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("(no message)");
        let backtrace = std::backtrace::Backtrace::capture();
        let thread = std::thread::current();
        tracing::error!(
            target: "watchfloor::panic",
            place,
            thread = thread.name(),
            backtrace = (backtrace.status() == std::backtrace::BacktraceStatus::Captured).then(|| backtrace.to_string()),
            "panic: {message}"
        );
        before(info);
    }));
}

/// One file a UTC day, for its owner alone; older ones than `keep` are removed.
struct Daily {
    dir: PathBuf,
    keep: usize,
    day: jiff::civil::Date,
    file: File,
}

impl Daily {
    fn open(data_dir: &Path, keep: usize) -> io::Result<Self> {
        let dir = data_dir.join(super::paths::LOG);
        super::paths::private_dir(data_dir)?;
        super::paths::private_dir(&dir)?;
        let day = today();
        let file = open(&dir, day)?;
        prune(&dir, keep);
        Ok(Self { dir, keep, day, file })
    }
}

impl Write for Daily {
    /// Goes on with yesterday's file if today's cannot be opened: a line in the wrong file beats none.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let day = today();
        if day != self.day
            && let Ok(file) = open(&self.dir, day)
        {
            self.file = file;
            self.day = day;
            prune(&self.dir, self.keep);
        }
        self.file.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn today() -> jiff::civil::Date {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

fn open(dir: &Path, day: jiff::civil::Date) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(dir.join(format!("{PREFIX}{day}{SUFFIX}")))
}

/// Removes all but the newest `keep` files of ours; at least one stays.
fn prune(dir: &Path, keep: usize) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut days: Vec<String> = entries
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|n| {
            n.strip_prefix(PREFIX)
                .and_then(|n| n.strip_suffix(SUFFIX))
                .is_some_and(|d| d.parse::<jiff::civil::Date>().is_ok())
        })
        .collect();
    days.sort();
    let old = days.len().saturating_sub(keep.max(1));
    for name in &days[..old] {
        let _ = std::fs::remove_file(dir.join(name));
    }
}

/// Writes every character that could drive a terminal or hide from a reader as `\uXXXX`: somebody will `cat` the log.
struct Safe<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Safe<W> {
    type Writer = SafeWriter<W::Writer>;
    fn make_writer(&'a self) -> Self::Writer {
        SafeWriter(self.0.make_writer())
    }
}

struct SafeWriter<W>(W);

impl<W: Write> Write for SafeWriter<W> {
    /// `line` is one whole event: the formatter writes each in one piece.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if line.is_ascii() && !line.contains(&0x7f) {
            self.0.write_all(line)?;
        } else if let Ok(value) = serde_json::from_slice::<serde_json::Value>(line) {
            self.0.write_all(crate::text::to_safe_json(&value)?.as_bytes())?;
            self.0.write_all(b"\n")?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(buf);
            Ok(buf.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_safe_json_with_a_request_id() {
        let sink = Sink::default();
        let out = sink.clone();
        let sub = subscriber(&LogSettings { level: "info".into(), keep: 1 }, move || out.clone()).unwrap();
        tracing::subscriber::with_default(sub, || {
            let _in = request("import").entered();
            tracing::info!(evil = "\u{1b}[2J\u{9b}2J\u{202e}\u{e0041}é", "hello\n\u{7f}");
            tracing::debug!("below the level");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.chars().all(|c| c == '\n' || c == 'é' || (c.is_ascii() && !c.is_ascii_control())), "{text:?}");
        let v: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(v["evil"], "\u{1b}[2J\u{9b}2J\u{202e}\u{e0041}é");
        assert_eq!(v["message"], "hello\n\u{7f}");
        assert_eq!(v["spans"][0]["kind"], "import");
        assert_eq!(v["spans"][0]["request_id"].as_str().unwrap().len(), 26);
    }

    #[test]
    fn old_files_go_and_strangers_stay() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["watchfloor.2026-01-01.jsonl", "watchfloor.2026-01-02.jsonl", "watchfloor.2026-01-03.jsonl"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        std::fs::write(dir.path().join("watchfloor.notes.jsonl"), "x").unwrap();
        prune(dir.path(), 2);
        let mut left: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["watchfloor.2026-01-02.jsonl", "watchfloor.2026-01-03.jsonl", "watchfloor.notes.jsonl"]);
    }
}
