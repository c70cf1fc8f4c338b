//! One record, looked at by several parsers and parsed once.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::json::{self, Json, JsonError};
use super::{ParseError, draft};
use crate::text::Untrusted;

/// A record and, once somebody asked, its JSON.
pub struct Probe<'a> {
    text: &'a str,
    json: OnceCell<Result<Json<'a>, JsonError>>,
}

/// The record as text: without byte order mark, invalid UTF-8 replaced by U+FFFD.
pub fn decode(record: &[u8]) -> Cow<'_, str> {
    let record = record.strip_prefix(b"\xef\xbb\xbf").unwrap_or(record);
    String::from_utf8_lossy(record)
}

impl<'a> Probe<'a> {
    /// `text` is the record [`decode`]d.
    pub fn new(text: &'a str) -> Self {
        Self { text: text.trim_matches([' ', '\t', '\r', '\n', '\u{feff}']), json: OnceCell::new() }
    }

    /// The record without white space around it.
    pub fn text(&self) -> &'a str {
        self.text
    }

    pub fn is_json(&self) -> bool {
        self.text.starts_with(['{', '['])
    }

    /// The whole record as JSON.
    pub fn json(&self) -> Result<&Json<'a>, JsonError> {
        self.json.get_or_init(|| json::parse(self.text)).as_ref().map_err(|e| *e)
    }

    /// The alert in the record: what lies in a `{"label":..,"alert":{..}}` wrapper or in a search hit's `_source`,
    /// else the record itself. `None` unless it is a JSON object.
    pub fn body(&self) -> Option<&Json<'a>> {
        if !self.is_json() {
            return None;
        }
        let root = self.json().ok()?;
        if let Some(source) = root.get("_source").filter(|s| s.is_obj()) {
            return Some(source);
        }
        if root.get("label").is_some()
            && root.get("event_type").is_none()
            && let Some(alert) = root.get("alert").filter(|a| a.is_obj())
        {
            return Some(alert);
        }
        root.is_obj().then_some(root)
    }

    /// The id a search hit carries beside its `_source`.
    pub fn hit_id(&self) -> Option<Untrusted> {
        let root = self.json().ok()?;
        root.get("_source")?;
        root.text("_id")
    }

    /// The body, or why there is none, in words for the dead letter.
    pub fn need(&self, format: &'static str) -> Result<&Json<'a>, ParseError> {
        self.body().ok_or_else(|| ParseError { format, message: Untrusted::new(self.fault()) })
    }

    /// Why this is not a JSON object.
    pub fn fault(&self) -> String {
        if self.text.is_empty() {
            return "empty record, expected a JSON object".to_owned();
        }
        if !self.is_json() {
            return format!("expected a JSON object, found text that starts with `{}`", head(self.text));
        }
        match self.json() {
            Err(e) => format!(
                "broken JSON at byte {} of {}: expected {}, found {}",
                e.at,
                self.text.len(),
                e.expected,
                match self.text.get(e.at..).filter(|t| !t.is_empty()) {
                    Some(rest) => format!("`{}`", head(rest)),
                    None => "the end of the record".to_owned(),
                }
            ),
            Ok(Json::Arr(_)) => "a JSON array inside a record, expected an object".to_owned(),
            Ok(_) => "expected a JSON object".to_owned(),
        }
    }
}

/// The first characters, for an error message.
pub fn head(text: &str) -> String {
    let end = text.char_indices().nth(24).map_or(text.len(), |(i, _)| i);
    draft::keep(&text[..end]).into_exposed()
}
