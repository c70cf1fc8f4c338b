//! Who executes a request: a lock the kernel holds for as long as somebody does.
//!
//! `RUN/ID.lock` is an empty file. The executing process locks it before the request begins and gives it to its child
//! processes as their (empty) standard input, so the lock ends with the last of them, however they end.
//! `RUN/ID.json` names the process, so that children it left behind can be told from children it still watches.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::ids::RequestId;

/// Held while executing; let go by dropping it.
#[derive(Debug)]
pub struct Lease {
    pub file: Arc<File>,
    dir: PathBuf,
    id: RequestId,
}

#[derive(Serialize, Deserialize)]
struct Holder {
    pid: u32,
    /// Clock ticks since boot; tells a process from a later one with the same number.
    started: Option<u64>,
}

impl Lease {
    /// `None`: somebody has it.
    pub fn take(dir: &Path, id: &RequestId) -> std::io::Result<Option<Self>> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let path = dir.join(format!("{id}.lock"));
        let Some(file) = lock_at(&path)? else { return Ok(None) };
        let pid = std::process::id();
        let holder = serde_json::to_vec(&Holder { pid, started: start_of(pid) }).map_err(std::io::Error::other)?;
        let mut out = File::create(dir.join(format!("{id}.json")))?;
        out.write_all(&holder)?;
        Ok(Some(Self { file: Arc::new(file), dir: dir.to_owned(), id: id.clone() }))
    }
}

/// The file goes while it is still locked; [`lock_at`] sees to those who had opened it before.
impl Drop for Lease {
    fn drop(&mut self) {
        for end in ["json", "lock"] {
            let _ = fs::remove_file(self.dir.join(format!("{}.{end}", self.id)));
        }
    }
}

/// Locks the file of that name, and makes sure that it still has that name: its last holder may have removed it between
/// our opening and our locking it. Opened for reading only: nothing may ever stand in it.
fn lock_at(path: &Path) -> std::io::Result<Option<File>> {
    loop {
        OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let file = match File::open(path) {
            Ok(f) => f,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        match fs4::FileExt::try_lock(&file) {
            Ok(()) => {}
            Err(fs4::TryLockError::WouldBlock) => return Ok(None),
            Err(fs4::TryLockError::Error(e)) => return Err(e),
        }
        let ours = file.metadata()?;
        if fs::metadata(path).is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())) {
            return Ok(Some(file));
        }
    }
}

/// Whether the process that took the lease lives. `None`: it cannot be told.
pub fn holder_lives(dir: &Path, id: &RequestId) -> Option<bool> {
    let holder: Holder = serde_json::from_slice(&fs::read(dir.join(format!("{id}.json"))).ok()?).ok()?;
    let started = holder.started?;
    Some(start_of(holder.pid) == Some(started))
}

/// When a process started, from `/proc/PID/stat` (fields 3 and 22 of proc(5)). `None`: it is gone, or dead and only not
/// waited for yet.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let id = RequestId::new("01J").unwrap();
        let lease = Lease::take(dir.path(), &id).unwrap().unwrap();
        assert!(Lease::take(dir.path(), &id).unwrap().is_none());
        assert_eq!(holder_lives(dir.path(), &id), Some(true));
        drop(lease);
        let again = Lease::take(dir.path(), &id).unwrap().unwrap();
        drop(again);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(holder_lives(dir.path(), &id), None);
        fs::write(dir.path().join("01J.json"), b"{\"pid\":1,\"started\":999999999999}").unwrap();
        assert_eq!(holder_lives(dir.path(), &id), Some(false));
    }

    /// Whoever started it may take their time to wait for it.
    #[test]
    fn the_dead_do_not_live_though_nobody_has_waited_for_them() {
        let dir = tempfile::tempdir().unwrap();
        let id = RequestId::new("01J").unwrap();
        #[expect(clippy::disallowed_methods, reason = "a process that can be killed")]
        let mut child = std::process::Command::new("/bin/sleep").arg("300").spawn().unwrap();
        let holder = Holder { pid: child.id(), started: start_of(child.id()) };
        fs::write(dir.path().join("01J.json"), serde_json::to_vec(&holder).unwrap()).unwrap();
        assert_eq!(holder_lives(dir.path(), &id), Some(true));
        child.kill().unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while holder_lives(dir.path(), &id) != Some(false) {
            assert!(std::time::Instant::now() < until, "it is dead, and said to live");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().unwrap();
    }
}
