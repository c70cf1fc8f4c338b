//! Whether the log begins with the records of a head, without reading all of it every time.
//!
//! What this process has read and found whole once is kept as the right-hand edge of its tree, with the roots of the
//! newest sizes; only what was added since is read. That the file still is the one that was read is told by its inode,
//! its length, and its last known record. A byte changed further back after it was read is for
//! [`verify`](super::verify()) to find, which reads everything.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::sync::PoisonError;

use super::AuditError;
use super::log::{Audit, Tail, fits, lock, read_checkpoint, still_there, take_in};
use super::merkle::Hash;
use super::record;
use crate::model::audit::Head;

/// Roots kept: of so many sizes before the newest.
const ROOTS: usize = 4096;

/// What was read and fits together, from the first record on.
#[derive(Debug, Default)]
pub(super) struct Checked {
    inode: u64,
    tail: Tail,
    /// Size and root, oldest first.
    roots: VecDeque<(u64, Hash)>,
    /// Bytes read for it in all: for tests.
    pub(super) read: u64,
}

impl Audit {
    /// Whether the log begins with exactly the records of this head, and fits together from its first record to its
    /// last. `Ok(Err)` says what does not.
    pub fn begins_with(&self, head: &Head) -> Result<Result<(), String>, AuditError> {
        let fail = |e: std::io::Error| self.cannot_read(e.into());
        let mut file = File::open(self.log_path()).map_err(fail)?;
        lock(&file, false).map_err(fail)?;
        let meta = file.metadata().map_err(fail)?;
        let mut slot = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let known = slot.take().filter(|c| c.inode == meta.ino() && c.tail.end <= meta.len());
        let mut checked = match known {
            Some(c) if still_there(&file, &c.tail).is_ok() => c,
            _ => Checked { inode: meta.ino(), ..Checked::default() },
        };
        // Roots are dear: of a long log read for the first time only those near its end are wanted.
        let near = match read_checkpoint(self.dir()).map_err(fail)? {
            Some(Ok((tail, _))) => tail.tree.size().saturating_sub(ROOTS as u64),
            _ => 0,
        };
        file.seek(SeekFrom::Start(checked.tail.end)).map_err(fail)?;
        let mut reader = BufReader::with_capacity(1 << 16, (&file).take(meta.len() - checked.tail.end));
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).map_err(fail)? == 0 {
                break;
            }
            let size = checked.tail.tree.size();
            let read = line.strip_suffix(b"\n").and_then(|l| record::open(l).ok());
            let Some(read) = read.filter(|r| fits(r, &checked.tail)) else {
                return Ok(Err(format!("record {size} is damaged, or does not follow the one before")));
            };
            take_in(&mut checked.tail, read.hash, line.len());
            checked.read += line.len() as u64;
            if size + 1 >= near || size + 1 == head.size {
                checked.roots.push_back((size + 1, checked.tail.tree.root()));
                if checked.roots.len() > ROOTS {
                    checked.roots.pop_front();
                }
            }
        }
        let size = checked.tail.tree.size();
        let known = checked.roots.iter().rev().find(|(n, _)| *n == head.size).map(|(_, root)| hex::encode(root));
        *slot = Some(checked);
        drop(slot);
        Ok(match known {
            Some(root) if root == head.root => Ok(()),
            Some(root) => Err(format!("its first {} records have the root {root}, not {}", head.size, head.root)),
            None if head.size > size => Err(format!("it holds {size} records, not {}", head.size)),
            // Too far back to be remembered.
            None => {
                let report = super::verify(self.dir(), Some(head))?;
                let why = report.faults.first().map_or("it is damaged", |f| f.what.as_str()).to_owned();
                if report.ok { Ok(()) } else { Err(why) }
            }
        })
    }
}
