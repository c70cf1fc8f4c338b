//! The platform's own places for files.

use std::path::{Path, PathBuf};

/// Where things are. Nothing is made by asking.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Paths {
    /// Settings, roster, catalogue, policy: the folder of the settings file.
    pub config_dir: PathBuf,
    /// The settings file, there or not.
    pub config_file: PathBuf,
    /// Store and audit log.
    pub data_dir: PathBuf,
    /// Structured logs: `log` under the data folder.
    pub log_dir: PathBuf,
}

/// Folder of the logs, under the data folder.
pub const LOG: &str = "log";

/// Makes a folder with mode 0700; one that is there stays as it is.
pub fn private_dir(dir: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(dir)
}
