//! Which `keyring:` names were set, and where: names and stores, never values. Keyrings cannot all be listed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use fs4::FileExt;
use serde::{Deserialize, Serialize};

use super::SecretContext;
use super::keyring::Keyring;

const FILE: &str = "secret-names.json";

/// A name that was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedSecret {
    pub name: String,
    pub keyring: Keyring,
    pub set_at: jiff::Timestamp,
}

/// Every name that was set here, in order.
pub fn names(ctx: &SecretContext) -> io::Result<Vec<NamedSecret>> {
    read(&ctx.data_dir)
}

fn read(dir: &Path) -> io::Result<Vec<NamedSecret>> {
    match std::fs::read(dir.join(FILE)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

pub fn add(ctx: &SecretContext, entry: NamedSecret) -> io::Result<()> {
    change(&ctx.data_dir, |names| {
        names.retain(|n| n.name != entry.name);
        names.push(entry);
        names.sort_by(|a, b| a.name.cmp(&b.name));
    })
}

pub fn remove(ctx: &SecretContext, name: &str) -> io::Result<()> {
    change(&ctx.data_dir, |names| names.retain(|n| n.name != name))
}

/// Under a lock, and by renaming, so that two processes lose nothing and a crash leaves the old index.
fn change(dir: &Path, edit: impl FnOnce(&mut Vec<NamedSecret>)) -> io::Result<()> {
    super::super::paths::private_dir(dir)?;
    let lock: File =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join("secret-names.lock"))?;
    FileExt::lock(&lock)?;
    let mut names = read(dir)?;
    edit(&mut names);
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&serde_json::to_vec_pretty(&names)?)?;
    file.as_file().sync_all()?;
    file.persist(dir.join(FILE)).map_err(|e| e.error)?;
    Ok(())
}
