//! Opinions and answers under way, and the page that tells how triage is doing.

use jiff::Timestamp;

use super::super::words::Said;
use super::Load;
use crate::desk::partial::{self, Partial};
use crate::model::ids::AlertId;
use crate::model::opinion::{TriageQueue, TriageStats};
use crate::text::Untrusted;

/// Bytes of an unfinished answer that are kept; more than any schema of ours allows.
const HEARD: usize = 64 * 1024;

/// What is being formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asking {
    Opinion,
    /// A person's question.
    Question(Untrusted),
}

impl Asking {
    pub fn is_question(&self) -> bool {
        matches!(self, Self::Question(_))
    }
}

/// An opinion or an answer being formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub alert: AlertId,
    pub what: Asking,
    pub since: Timestamp,
    /// What has come so far, as it came.
    heard: String,
    /// The same, read.
    pub partial: Partial,
    pub pieces: u64,
    /// It was told to stop.
    pub stopping: bool,
}

impl Run {
    pub fn new(alert: AlertId, what: Asking, since: Timestamp) -> Self {
        Self { alert, what, since, heard: String::new(), partial: Partial::default(), pieces: 0, stopping: false }
    }

    /// One more piece.
    pub fn hear(&mut self, text: &Untrusted) {
        self.pieces += 1;
        if self.heard.len() < HEARD {
            self.heard.push_str(text.expose());
            self.partial = partial::read(&self.heard);
        }
    }

    pub fn seconds(&self, now: Timestamp) -> i64 {
        (now.as_second() - self.since.as_second()).max(0)
    }
}

/// Why there is no answer to the last question about an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    pub alert: AlertId,
    pub question: Untrusted,
    pub why: Said,
}

/// What the settings say of triage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriageSetup {
    /// `rules`, `openai` or `local`.
    pub backend: String,
    /// Query of what is judged unasked; empty: nothing.
    pub auto: String,
    pub auto_per_hour: u32,
    /// What the model's machine draws; 0: not known.
    pub watts: u32,
}

/// The page.
#[derive(Clone, Debug)]
pub struct TriagePage {
    pub stats: Option<Box<TriageStats>>,
    pub load: Load,
    /// A load is under way since then; another is wanted after it.
    pub loading: bool,
    pub again: bool,
    pub asked_at: Option<Timestamp>,
    pub scroll: usize,
}

impl TriagePage {
    pub fn new(now: Timestamp) -> Self {
        Self {
            stats: None,
            load: Load::Waiting { since: now },
            loading: false,
            again: false,
            asked_at: None,
            scroll: 0,
        }
    }
}

/// Something is waiting or running in the queue, or is held back.
pub fn busy(q: &TriageQueue) -> bool {
    q.waiting > 0 || q.running > 0 || q.held.is_some()
}
