//! Why the desk did not do it.

use crate::audit::AuditError;
use crate::intake::IntakeError;
use crate::respond::RespondError;
use crate::store::StoreError;

/// Each kind is one exit status of the command line.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// Exit 2.
    #[error("{0}")]
    Usage(String),
    /// Exit 3.
    #[error("{0}")]
    Unreachable(String),
    /// Exit 4.
    #[error("{0}")]
    Refused(String),
    /// Exit 1.
    #[error("{0}")]
    No(String),
}

impl From<StoreError> for DeskError {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::Busy(_) | StoreError::Unavailable(_) => Self::Unreachable(e.to_string()),
            StoreError::Unreadable(_) => Self::Usage(e.to_string()),
            StoreError::Conflict(_) | StoreError::NotFound(_) => Self::No(e.to_string()),
        }
    }
}

impl From<IntakeError> for DeskError {
    fn from(e: IntakeError) -> Self {
        match e {
            IntakeError::Usage(m) => Self::Usage(m),
            IntakeError::Store(e) => e.into(),
        }
    }
}

impl From<AuditError> for DeskError {
    fn from(e: AuditError) -> Self {
        Self::Refused(format!("refused, because it cannot be recorded: {e}"))
    }
}

impl From<RespondError> for DeskError {
    fn from(e: RespondError) -> Self {
        match e {
            RespondError::Usage(m) => Self::Usage(m),
            RespondError::Refused(m) => Self::Refused(m),
            RespondError::Unavailable(m) => Self::Unreachable(m),
            RespondError::Conflict(m) => Self::No(m),
        }
    }
}
