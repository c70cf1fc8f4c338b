//! watchfloor: the console of a security operations centre, in a terminal.
//!
//! ```text
//! alert in  : source -> format parser -> clean -> dedup/group -> store -> revision+1
//! opinion   : store -> triage -> backend -> grounding -> monotone rule -> store
//! act       : propose -> policy -> dry run -> approval -> audit intent (fsync) -> execute -> receipt -> audit outcome
//! screen    : revision changed -> console state (ids, cursor) -> view(&State) -> frame, only when dirty
//! key       : key -> keymap -> action id -> guard -> update(State, Msg) -> [Effect]
//! ```
//!
//! Arrows run downwards only: `console` and `cli` see `desk`; `desk` sees `intake`, `triage`, `respond`, `operate`, `playbook`;
//! those see `store`, `audit`, `config`; all see `model` and `text`. `model` sees `text` alone, `text` nothing of ours.

// Tests and benches, which stop at the first surprise, are other crates and not bound by these.
#![deny(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::todo,
    clippy::unimplemented,
    clippy::unwrap_used
)]

pub mod audit;
pub mod cli;
pub mod config;
pub mod console;
pub mod desk;
pub mod intake;
pub mod model;
pub mod operate;
pub mod playbook;
pub mod respond;
pub mod store;
pub mod text;
pub mod triage;
