//! Where records come from: files and streams read once ([`file`]), files and folders that grow ([`follow`],
//! [`directory`]), and an OpenSearch cluster ([`opensearch`]).
//!
//! A live source reports through [`Link`]s, keeps its checkpoint in the store in the same transaction as the alerts it
//! speaks of, and goes on until it is told to stop.

pub mod directory;
pub mod file;
pub mod follow;
pub mod opensearch;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::text::Untrusted;

/// How a live source is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// As in the settings.
    pub name: String,
    /// `follow`, `directory` or `opensearch`.
    pub kind: &'static str,
    pub state: LinkState,
    /// One line that says what it does or what is wrong and what would help; may hold the other side's words.
    pub detail: Untrusted,
    /// When it last heard from the other side.
    pub last_good: Option<Timestamp>,
    /// When it tries again, while [`LinkState::Retrying`].
    pub next_try: Option<Timestamp>,
    /// Alerts taken since it started.
    pub accepted: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    Starting,
    Live,
    Retrying,
    Stopped,
}

/// Turns a secret's reference, such as `keyring:opensearch`, into the secret; the error is one line for people. May
/// block.
pub type SecretResolver = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// Waiting between looks and between tries, on a thread of its own.
struct Pace {
    stop: watch::Receiver<bool>,
    failures: u32,
}

impl Pace {
    fn new(stop: watch::Receiver<bool>) -> Self {
        Self { stop, failures: 0 }
    }

    fn stopped(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }

    /// Sleeps, and wakes within a quarter of a second when told to stop. True when stopped.
    fn wait(&self, how_long: Duration) -> bool {
        let end = Instant::now() + how_long;
        while !self.stopped() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::sleep(left.min(Duration::from_millis(250)));
        }
        true
    }

    fn good(&mut self) {
        self.failures = 0;
    }

    /// 1, 2, 4 ... 30 s, and when that is over.
    fn backoff(&mut self) -> (Duration, Option<Timestamp>) {
        let wait = Duration::from_secs(1 << self.failures.min(5)).min(Duration::from_secs(30));
        self.failures += 1;
        (wait, Timestamp::now().checked_add(wait).ok())
    }
}
