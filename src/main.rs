//! Parse arguments and run.

fn main() {}
