//! Backends: `rules` needs nothing, `openai` a model server.

pub mod openai;
pub mod rules;
