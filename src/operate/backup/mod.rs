//! Backups: read from their makers, graded by proof, held against objectives.
//!
//! [`config`] says what must be recoverable and where backups are; [`source`] reads them.

pub mod config;
pub mod drill;
pub mod grade;
pub mod history;
pub mod objective;
pub mod prune;
pub mod schedule;
pub mod source;

pub use config::AssetConfig;
pub use config::Config;
pub use config::Source;
pub use config::SourceConfig;
pub use grade::grade;
pub use source::Read;
pub use source::Schedule;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
