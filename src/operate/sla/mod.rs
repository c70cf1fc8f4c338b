//! Agreements: probes, exclusions, uptime of a month, credits.

pub mod agreement;
pub mod month;
pub mod probe;
pub mod report;
pub mod status;

pub use agreement::Agreement;
pub use agreement::Credit;
pub use agreement::ProbeOf;
pub use agreement::Service;
pub use month::Month;
pub use month::evaluate;
