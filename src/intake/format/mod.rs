//! One parser per format.
//!
//! A parser turns one record into the fields every alert shares; it never fails on what it does not know, only on
//! what it cannot read.

use crate::model::alert::AlertFields;
use crate::text::Untrusted;

/// What a parser made of one record. A record may hold several alerts (an Alertmanager body does).
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    pub fields: AlertFields,
}

/// Why a record cannot be read: what is wrong and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{format}: {}", message.expose())]
pub struct ParseError {
    pub format: &'static str,
    pub message: Untrusted,
}

/// One alert format.
pub trait Format: Send + Sync {
    /// As in `--format`, lower case.
    fn id(&self) -> &'static str;
    /// For people.
    fn title(&self) -> &'static str;
}
