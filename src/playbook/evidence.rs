//! Evidence by what is in it: `FOLDER/ab/abcdef...`, named by SHA-256, written once, never changed.

use std::fs::File;
use std::io::Read;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::path::PathBuf;

use sha2::Digest as _;
use sha2::Sha256;

/// Bytes of one piece.
pub const LARGEST: u64 = 64 << 20;

/// Keeps what the reader gives, durable when it returns. Answers with its hash (hex) and how many bytes it has. The same
/// bytes again are kept once.
///
/// # Errors
/// When it is larger than [`LARGEST`], empty, or cannot be read or written.
pub fn keep(folder: &Path, from: &mut dyn Read) -> Result<(String, u64), String> {
    let cannot = |e: std::io::Error| format!("{}: cannot be written: {e}", folder.display());
    make(folder).map_err(cannot)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(cannot)?;
    let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0_u8; 64 << 10];
    loop {
        let n = from.read(&mut buffer).map_err(|e| format!("cannot be read: {e}"))?;
        if n == 0 {
            break;
        }
        bytes += n as u64;
        if bytes > LARGEST {
            return Err(format!("larger than {LARGEST} bytes: keep it elsewhere and attach a note with its SHA-256"));
        }
        hash.update(&buffer[..n]);
        file.write_all(&buffer[..n]).map_err(cannot)?;
    }
    if bytes == 0 {
        return Err("it is empty".into());
    }
    let sha256 = hex::encode(hash.finalize());
    let to = path(folder, &sha256);
    let beside = to.parent().unwrap_or(folder);
    make(beside).map_err(cannot)?;
    if !to.exists() {
        file.as_file().sync_all().map_err(cannot)?;
        file.persist(&to).map_err(|e| cannot(e.error))?;
        // The name is as durable as the bytes.
        File::open(beside).and_then(|d| d.sync_all()).map_err(cannot)?;
    }
    Ok((sha256, bytes))
}

/// Where a piece is kept.
pub fn path(folder: &Path, sha256: &str) -> PathBuf {
    folder.join(sha256.get(..2).unwrap_or("00")).join(sha256)
}

/// Whether it is there and still what it was.
///
/// # Errors
/// What is wrong with it.
pub fn verify(folder: &Path, sha256: &str) -> Result<(), String> {
    let path = path(folder, sha256);
    let mut file = File::open(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).map_err(|e| format!("{}: {e}", path.display()))?;
    if hex::encode(hash.finalize()) == sha256 {
        Ok(())
    } else {
        Err(format!("{}: its bytes are others", path.display()))
    }
}

fn make(dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_came() {
        let dir = tempfile::tempdir().unwrap();
        let (sha, n) = keep(dir.path(), &mut &b"abc"[..]).unwrap();
        assert_eq!((sha.as_str(), n), ("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", 3));
        assert_eq!(keep(dir.path(), &mut &b"abc"[..]).unwrap().0, sha, "once");
        assert_eq!(verify(dir.path(), &sha), Ok(()));
        std::fs::write(path(dir.path(), &sha), "abd").unwrap();
        assert!(verify(dir.path(), &sha).is_err());
        assert!(keep(dir.path(), &mut &b""[..]).is_err());
        assert!(keep(dir.path(), &mut std::io::repeat(1)).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing half is left");
    }
}
