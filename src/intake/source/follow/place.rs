//! Which file is which: identity that survives renames, and a fingerprint that notices rewriting.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Bytes at the start of a file that are remembered.
const HEAD: u64 = 1024;

/// A file, whatever it is called. The time of birth tells a reused inode from the file we knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileId {
    pub dev: u64,
    pub ino: u64,
    /// Nanoseconds since 1970, where the file system keeps it.
    pub born: Option<i64>,
}

impl FileId {
    pub fn of(meta: &Metadata) -> Self {
        let born = meta.created().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        Self { dev: meta.dev(), ino: meta.ino(), born: born.and_then(|d| i64::try_from(d.as_nanos()).ok()) }
    }
}

/// When a file was last written.
pub(super) fn written(meta: &Metadata) -> (i64, i64) {
    (meta.mtime(), meta.mtime_nsec())
}

/// A hash of the first bytes of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    len: u64,
    sha256: String,
}

impl Head {
    /// Of the first bytes, at most `upto`.
    pub fn of(file: &File, upto: u64) -> io::Result<Self> {
        let len = upto.min(HEAD);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(Self { len, sha256: hex::encode(&Sha256::digest(&bytes)[..16]) })
    }

    /// Whether the file still begins so. An empty head says nothing against any file.
    pub fn matches(&self, file: &File) -> bool {
        self.len == 0 || Self::of(file, self.len).is_ok_and(|now| now == *self)
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// More of the file may be remembered now that `upto` bytes of it are known.
    pub fn can_grow(&self, upto: u64) -> bool {
        self.len < upto.min(HEAD)
    }
}

/// Another file in the same folder.
pub(super) struct Sibling {
    pub path: PathBuf,
    pub meta: Metadata,
    pub id: FileId,
}

/// Regular files beside `path` (beside what it points to, when it is a link), itself left out, oldest first.
pub(super) fn siblings(path: &Path) -> Vec<Sibling> {
    let path = &real(path);
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut out: Vec<Sibling> = entries
        .flatten()
        .filter(|e| Some(e.file_name().as_os_str()) != path.file_name())
        .filter_map(|e| {
            let meta = e.metadata().ok().filter(Metadata::is_file)?;
            let id = FileId::of(&meta);
            Some(Sibling { path: e.path(), meta, id })
        })
        .collect();
    out.sort_by_key(|s| (s.id.born, written(&s.meta)));
    out
}

fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether `name` is what log rotation would call an older `path`: `alerts.json.1`, `alerts.json-20261121`,
/// `alerts-20261121.json`, `alerts.json.old`; not compressed.
pub(super) fn looks_rotated(path: &Path, name: &Path) -> bool {
    let path = &real(path);
    let text = |p: Option<&std::ffi::OsStr>| p.and_then(|s| s.to_str()).unwrap_or_default().to_owned();
    let (base, stem, name) = (text(path.file_name()), text(path.file_stem()), text(name.file_name()));
    if [".gz", ".xz", ".zst", ".bz2", ".lz4", ".zip"].iter().any(|s| name.ends_with(s)) {
        return false;
    }
    let numbered = |rest: &str| {
        let mut chars = rest.chars();
        chars.next().is_some_and(|c| ".-_".contains(c)) && chars.next().is_some_and(|c| c.is_ascii_digit())
    };
    match name.strip_prefix(base.as_str()) {
        Some(rest) => numbered(rest) || rest == ".old",
        None => name.strip_prefix(stem.as_str()).is_some_and(numbered),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_names_are_told_from_others() {
        let path = Path::new("/var/log/alerts.json");
        for yes in ["alerts.json.1", "alerts.json-20261121", "alerts-20261121.json", "alerts.json.old"] {
            assert!(looks_rotated(path, Path::new(yes)), "{yes}");
        }
        for no in ["alerts.json.1.gz", "alerts.json.idx", "alertsx.json", "other.json.1", "alerts.json~"] {
            assert!(!looks_rotated(path, Path::new(no)), "{no}");
        }
    }
}
