//! What llama.cpp says, kept off the terminal: warnings and errors go to the log, the hundreds of lines it prints for
//! every model do not, and the last errors are kept for the sentence that a person gets to read.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// Target of the events that the binding makes of llama.cpp's log.
const TARGET: &str = "llama-cpp-2";
const KEPT: usize = 8;

/// Errors of llama.cpp on this thread, newest last.
#[derive(Clone, Default)]
pub struct Errors(Arc<Mutex<Vec<String>>>);

impl Errors {
    /// Takes what was said since the last look.
    pub fn take(&self) -> Vec<String> {
        self.0.lock().map(|mut kept| std::mem::take(&mut *kept)).unwrap_or_default()
    }

    fn keep(&self, line: String) {
        if let Ok(mut kept) = self.0.lock() {
            if kept.len() >= KEPT {
                kept.remove(0);
            }
            kept.push(line);
        }
    }
}

/// Sends llama.cpp's log to `tracing`, once for the process. Without it the lines go to standard error.
pub fn redirect() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| llama_cpp_2::send_logs_to_tracing(llama_cpp_2::LogOptions::default()));
}

/// Runs `work` with llama.cpp's log filtered; everything else goes where it went before.
pub fn with<T>(errors: &Errors, work: impl FnOnce() -> T) -> T {
    let inner = tracing::dispatcher::get_default(Clone::clone);
    tracing::subscriber::with_default(Filter { inner, errors: errors.clone() }, work)
}

struct Filter {
    inner: Dispatch,
    errors: Errors,
}

impl Subscriber for Filter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        if metadata.target() == TARGET { *metadata.level() <= Level::WARN } else { self.inner.enabled(metadata) }
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.inner.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.inner.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.inner.record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        if metadata.target() == TARGET && *metadata.level() == Level::ERROR {
            let mut message = Message(String::new());
            event.record(&mut message);
            self.errors.keep(message.0);
        }
        if self.inner.enabled(metadata) {
            self.inner.event(event);
        }
    }

    fn enter(&self, span: &Id) {
        self.inner.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.inner.exit(span);
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.inner.clone_span(id)
    }

    fn try_close(&self, id: Id) -> bool {
        self.inner.try_close(id)
    }
}

struct Message(String);

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0.push_str(value.trim());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}
