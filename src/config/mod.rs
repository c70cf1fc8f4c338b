//! Settings, secrets, roster.

pub mod settings;

pub use settings::Settings;
