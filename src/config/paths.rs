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

impl Paths {
    /// Makes the data folder for its owner alone (mode 0700), and the log folder in it.
    pub fn create_data_dir(&self) -> std::io::Result<()> {
        private_dir(&self.data_dir)?;
        private_dir(&self.log_dir)
    }
}

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
