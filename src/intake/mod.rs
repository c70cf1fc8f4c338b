//! Alerts in: source -> records -> format parser -> alert, or dead letter.

pub mod format;
pub mod source;
