//! Alerts in: source -> records -> format parser -> alert, or dead letter.
//!
//! [`pipeline::Pipeline`] is what every source shares: it turns records into alerts or dead letters and hands them to
//! the store in durable batches. [`source`] has the sources themselves.

pub mod format;
pub mod pipeline;
pub mod source;

pub use pipeline::{IntakeError, Pipeline, Summary};
