//! How good opinions are: labelled records in, figures out. The desk files and judges them; everything here is pure.

pub mod labelled;
pub mod metrics;
pub mod pairs;
