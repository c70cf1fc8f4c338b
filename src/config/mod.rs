//! Settings, secrets, roster.
//!
//! [`load`] layers defaults < file < profile < environment < flags and remembers where each value came from.

pub mod doc;
pub mod explain;
pub mod fault;
pub mod indices;
pub mod inventory;
pub mod keys;
pub mod layer;
pub mod load;
pub mod log;
pub mod paths;
pub mod playbooks;
pub mod roster;
pub mod sample;
pub mod secret;
pub mod settings;

pub use fault::{Fault, Faults};
pub use load::{Env, Loaded, Overrides, load, places};
pub use paths::Paths;
pub use secret::{Secret, SecretContext, SecretError};
pub use settings::Settings;
