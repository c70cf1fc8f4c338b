//! Attacker text is a type.
//!
//! [`Untrusted`] wraps every string that came from outside: alert fields, model output, file names,
//! HTTP error bodies, text typed by another person. It has no `Display` and no `Deref`, so it cannot
//! slip into a terminal, a log line, a shell or a format string. Only [`clean`] turns it into
//! [`Clean`], which can be shown.
//!
//! This module sees nothing else of ours.

mod chars;
mod clean;
mod defang;
#[doc(hidden)]
pub mod hostile;
mod json;
mod width;

pub use chars::is_hidden;
pub use clean::{Clean, SHOWN_MAX, clean, clean_block};
pub use defang::{defang, refang};
pub use json::{to_safe_json, to_safe_json_pretty};
pub use width::{fit, width};

use serde::{Deserialize, Serialize};

/// The front of the text, at most `max` bytes of it, cut between characters.
pub fn front(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Text somebody else wrote. Kept verbatim for evidence, shown only through [`clean`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Untrusted(String);

impl Untrusted {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as it came, for comparing, hashing, storing and parsing. Never for showing: the
    /// console may not call this (a test reads the source for it).
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn into_exposed(self) -> String {
        self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Untrusted {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Untrusted {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Debug output is escaped, so that even a stray `{:?}` cannot drive a terminal.
impl std::fmt::Debug for Untrusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Untrusted({:?})", clean(self).as_str())
    }
}
