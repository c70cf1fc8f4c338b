//! Opinions, claims, questions, reviews, the triage queue.

use super::*;
