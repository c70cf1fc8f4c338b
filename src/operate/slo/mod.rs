//! Objectives: their definitions, the series they are judged by, and how they stand.

pub mod eval;
mod exhaust;
pub mod gate;
pub mod series;
pub mod source;
pub mod spec;
pub mod window;
