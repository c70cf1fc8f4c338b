//! Backends: `rules`.

pub mod rules;
