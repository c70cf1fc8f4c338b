//! What an HTTP client says went wrong, in words that may be shown.

use std::error::Error as _;

use crate::text::{Untrusted, clean};

/// Characters of somebody else's words that are told.
const TOLD_MAX: usize = 240;

/// A wrong certificate stays wrong however often one tries.
pub fn certificate(e: &reqwest::Error) -> bool {
    let mut source = e.source();
    while let Some(s) = source {
        let text = s.to_string();
        if text.contains("certificate") || text.contains("UnknownIssuer") {
            return true;
        }
        source = s.source();
    }
    false
}

/// An error with its causes, cleaned and short. The URL, which may hold a signature, is left out: the host is told by
/// the caller.
pub fn chain(e: &reqwest::Error) -> String {
    let mut out = if e.is_connect() { "cannot connect".to_owned() } else { "the request failed".to_owned() };
    let mut source = e.source();
    while let Some(s) = source {
        let text = s.to_string();
        if !out.ends_with(&text) {
            out = format!("{out}: {text}");
        }
        source = s.source();
    }
    say(&out)
}

/// Somebody else's words, cleaned for one line and short.
pub fn say(text: &str) -> String {
    let text = Untrusted::new(text.trim());
    let text = clean(&text);
    match text.as_str().char_indices().nth(TOLD_MAX) {
        Some((end, _)) => format!("{}...", &text.as_str()[..end]),
        None => text.as_str().to_owned(),
    }
}
