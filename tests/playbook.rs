//! Playbooks from outside: the shared CACAO files through the program, and whole runs worked from the keyboard.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test starts programs and stops at the first surprise"
)]

mod common;
#[path = "playbook/files.rs"]
mod files;
#[path = "playbook/hints.rs"]
mod hints;
#[path = "playbook/play.rs"]
mod play;
