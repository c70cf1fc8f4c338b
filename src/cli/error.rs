//! How a command ends.

use std::process::ExitCode;

use super::Out;
use crate::config::SecretError;
use crate::desk::DeskError;

/// Exit status; scripts depend on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    /// The answer is no: a gate closed, a verification failed, some records were rejected.
    No = 1,
    /// Bad usage or configuration.
    Usage = 2,
    /// A needed service is unreachable.
    Unreachable = 3,
    /// By policy or permission.
    Refused = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do it. The message may hold other people's text: it is cleaned where it is shown.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{message}")]
    Failed { exit: Exit, message: String },
    /// Whoever read our output has read enough. Not an error anybody wants to see.
    #[error("the reader of the output is gone")]
    BrokenPipe,
}

impl CliError {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self::Failed { exit, message: message.into() }
    }

    pub fn no(message: impl Into<String>) -> Self {
        Self::new(Exit::No, message)
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, message)
    }

    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message)
    }

    pub fn exit(&self) -> Exit {
        match self {
            Self::Failed { exit, .. } => *exit,
            Self::BrokenPipe => Exit::Done,
        }
    }

    /// Says it on stderr and gives the exit status.
    pub fn report(&self, out: &Out) -> Exit {
        if let Self::Failed { message, .. } = self {
            let _ = out.error(message);
        }
        self.exit()
    }
}

impl From<std::io::Error> for CliError {
    fn from(e: std::io::Error) -> Self {
        match e.kind() {
            std::io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            std::io::ErrorKind::PermissionDenied => Self::refused(e.to_string()),
            _ => Self::no(e.to_string()),
        }
    }
}

impl From<serde_json::Error> for CliError {
    fn from(e: serde_json::Error) -> Self {
        Self::no(format!("cannot be written as JSON: {e}"))
    }
}

impl From<crate::config::Faults> for CliError {
    fn from(faults: crate::config::Faults) -> Self {
        Self::usage(faults.to_string())
    }
}

impl From<SecretError> for CliError {
    fn from(e: SecretError) -> Self {
        let exit = match e {
            SecretError::BadReference(_) => Exit::Usage,
            SecretError::Missing { .. } => Exit::No,
            SecretError::Refused { .. } => Exit::Refused,
            SecretError::Unreachable { .. } => Exit::Unreachable,
        };
        Self::new(exit, e.to_string())
    }
}

impl From<DeskError> for CliError {
    fn from(e: DeskError) -> Self {
        let exit = match e {
            DeskError::Usage(_) => Exit::Usage,
            DeskError::Unreachable(_) => Exit::Unreachable,
            DeskError::Refused(_) => Exit::Refused,
            DeskError::No(_) => Exit::No,
        };
        Self::new(exit, e.to_string())
    }
}
