//! Models run inside this process: files in one folder, each with a record of where it came from and its digest.
//!
//! ```text
//! source (URL, hub, file) -> plan: licence, size, digest, room -> yes -> part file -> length, digest, header -> kept
//! ```
//!
//! Nothing here goes out by itself: [`pull`] does, and only when a person asked for it.

mod digest;
mod fetch;
pub mod gguf;
mod hub;
mod place;
mod pull;
mod recommend;
mod registry;
mod source;

pub use digest::Digest;
pub use fetch::Limits;
pub use place::{Fit, Room, room};
pub use pull::{Outbound, Plan, Puller, Step, Wanted};
pub use recommend::{Advice, Recommended, recommended};
pub use registry::{Entry, Model, Pin, Registry};
pub use source::Source;

/// Why it was not done. The messages may hold other people's text: they are cleaned where they are shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Asked for in a way that cannot be.
    #[error("{0}")]
    Usage(String),
    /// The answer is no: not there, does not match, no room.
    #[error("{0}")]
    No(String),
    /// Not allowed as it stands.
    #[error("{0}")]
    Refused(String),
    /// Somebody else does not answer. Trying again later makes sense.
    #[error("{0}")]
    Unreachable(String),
}

type Result<T> = std::result::Result<T, ModelError>;

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut n, mut unit) = (bytes as f64 / 1024.0, 0);
    while n >= 1024.0 && unit + 1 < UNITS.len() {
        n /= 1024.0;
        unit += 1;
    }
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        _ if n < 10.0 => format!("{n:.2} {}", UNITS[unit]),
        _ => format!("{n:.1} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_short() {
        let shown: Vec<_> = [0, 1023, 1024, 98_362_432, 2_497_280_256, 1 << 50].into_iter().map(super::size).collect();
        assert_eq!(shown, ["0 bytes", "1023 bytes", "1.00 KiB", "93.8 MiB", "2.33 GiB", "1024.0 TiB"]);
    }
}
