//! Backends: `rules`, `openai`.
