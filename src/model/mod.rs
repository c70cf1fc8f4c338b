//! Plain data of the domain. No I/O, no terminal; it sees `text` (fields an attacker can write are
//! [`crate::text::Untrusted`]) and nothing else of ours.

pub mod act;
pub mod action;
pub mod alert;
pub mod audit;
pub mod backup;
pub mod case;
pub mod course;
pub mod fields;
pub mod happening;
pub mod health;
pub mod ids;
pub mod keys;
pub mod opinion;
pub mod person;
pub mod playbook;
pub mod playbook_draft;
pub mod playbook_run;
pub mod priority;
pub mod query;
pub mod recovery;
pub mod risk;
pub mod rollout;
pub mod severity;
pub mod shape;
pub mod sla;
pub mod slo;
pub mod technique;
pub mod verdict;
pub mod when;

pub use jiff::Timestamp;
