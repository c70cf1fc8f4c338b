//! Gates: what must hold before a rollout goes on. Pure functions of what was read; time is an argument.
//!
//! Each answers pass, fail or unknown, and unknown is never a pass: a query that failed, found nothing, is old, or
//! holds what no counter holds says nothing about the canary, whatever number could be made of it.

pub mod other;
pub mod ratio;

#[cfg(test)]
mod canaries;

use crate::model::health::Tri;
use crate::model::rollout::Gate;

/// A gate with nothing measured yet.
pub(crate) fn gate(name: &str, answer: Tri, why: impl Into<String>) -> Gate {
    Gate {
        name: name.into(),
        answer,
        why: why.into(),
        canary: None,
        stable: None,
        limit: None,
        limit_word: String::new(),
        events: None,
        samples: None,
        newest: None,
        history: Vec::new(),
    }
}
