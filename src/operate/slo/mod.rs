//! Objectives: their definitions, the series they are judged by, and how they stand.

pub mod spec;
