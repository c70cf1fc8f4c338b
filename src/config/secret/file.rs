//! `file:PATH`.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Reference, Secret, SecretContext, SecretError};

/// More than any key or token needs.
const LONGEST: u64 = 64 * 1024;

/// Reads a file that only we can read. The rights are those of the open file, so a swap in between changes nothing.
pub fn read(reference: &Reference, path: &Path, ctx: &SecretContext) -> Result<Secret, SecretError> {
    let path = place(path, ctx);
    let shown = path.display();
    // Without waiting: a named pipe would hold us forever.
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file =
        std::fs::OpenOptions::new().read(true).custom_flags(nonblock).open(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => reference.missing(format!("there is no file {shown}")),
            _ => reference.refused(format!("{shown} cannot be read: {e}")),
        })?;
    let meta = file.metadata().map_err(|e| reference.refused(format!("{shown} cannot be read: {e}")))?;
    if !meta.is_file() {
        return Err(reference.refused(format!("{shown} is not a plain file")));
    }
    let us = rustix::process::geteuid().as_raw();
    if meta.uid() != us {
        let why = format!("{shown} belongs to uid {}, not to us (uid {us}); run: chown {us} {shown}", meta.uid());
        return Err(reference.refused(why));
    }
    let mode = meta.mode() & 0o7777;
    if mode & !0o600 != 0 {
        let why = format!("{shown} has mode {mode:04o}, so others may read it; run: chmod 600 {shown}");
        return Err(reference.refused(why));
    }
    if meta.len() > LONGEST {
        return Err(reference.refused(format!("{shown} has {} bytes; a secret has at most {LONGEST}", meta.len())));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize));
    file.take(LONGEST)
        .read_to_end(&mut bytes)
        .map_err(|e| reference.unreachable(format!("{shown} cannot be read: {e}")))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| reference.refused(format!("{shown} is not UTF-8 text")))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    Ok(Secret::new(line.strip_suffix('\r').unwrap_or(line)))
}

/// `~/` is our home folder; a relative path starts beside the settings file.
fn place(path: &Path, ctx: &SecretContext) -> PathBuf {
    match (path.strip_prefix("~"), ctx.env.get("HOME")) {
        (Ok(rest), Some(home)) => Path::new(home).join(rest),
        _ => ctx.config_dir.join(path),
    }
}
