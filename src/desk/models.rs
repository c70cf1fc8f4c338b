//! Models run inside this process: what the doors need of them, and the probe of a backend.

use super::DeskError;
pub use crate::triage::models::*;

impl From<ModelError> for DeskError {
    fn from(e: ModelError) -> Self {
        match e {
            ModelError::Usage(m) => Self::Usage(m),
            ModelError::No(m) => Self::No(m),
            ModelError::Refused(m) => Self::Refused(m),
            ModelError::Unreachable(m) => Self::Unreachable(m),
        }
    }
}
