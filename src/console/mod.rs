//! The terminal UI.
//!
//! ```text
//! key, signal, answer of the desk -> Msg -> update(&mut State, now, Msg) -> [Effect] -> effect runner -> Msg
//! State changed -> view::draw(&State) -> Buffer -> only the cells that differ -> terminal
//! ```
//!
//! `state` is plain data, `update` is pure, `view` only reads; I/O happens in `effect` (the desk) and `term` (the
//! terminal). `action` is the registry everything a person can do comes from.

pub mod action;
pub mod columns;
pub mod keymap;
pub mod layout;
pub mod state;
pub mod theme;
pub mod update;
pub mod view;
pub mod words;
