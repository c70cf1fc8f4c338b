//! Backends: `rules` needs nothing, `openai` a model server, `local` a model's file.

#[cfg(feature = "local")]
pub mod local;
pub mod openai;
pub mod rules;
