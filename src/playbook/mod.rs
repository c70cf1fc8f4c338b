//! Playbooks: CACAO 2.0 (OASIS, Security Playbooks Version 2.0) read, checked, written, suggested and worked.
//!
//! A [`Document`] is the JSON as it came, unknown fields and all: what is stored, hashed and exported. [`Document::view`]
//! reads it into [`Playbook`](crate::model::playbook::Playbook); whatever is not as it should be is left out there and
//! named by [`lint`]. Nothing here runs a command: steps are shown to people, and a step's action goes the way of every
//! action.
//!
//! What CACAO has no word for (phase, RE&CT ids, time box, sign-off, what to look at) stands in an extension of ours,
//! [`ids::EXTENSION`], as the standard provides.

pub mod check;
pub mod clocks;
pub mod condition;
mod document;
pub mod draft;
pub mod evidence;
pub mod export;
pub mod ids;
pub mod kinds;
mod library;
pub mod lint;
pub mod react;
pub mod run;
pub mod search;
pub mod sheet;
pub mod short;
mod suggest;
pub mod summary;
mod view;

pub use document::Document;
pub use document::ReadError;
pub use library::Broken;
pub use library::Item;
pub use library::Library;
pub use library::Origin;
pub use library::load;
pub use library::parse;
pub use suggest::suggest;
