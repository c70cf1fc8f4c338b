//! Where records come from: files and streams read once ([`file`]), files and folders that grow ([`follow`],
//! [`directory`]), and an OpenSearch cluster ([`opensearch`]).
//!
//! A live source reports through [`Link`]s, keeps its checkpoint in the store in the same transaction as the alerts it
//! speaks of, and goes on until it is told to stop.

pub mod file;

use jiff::Timestamp;

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
