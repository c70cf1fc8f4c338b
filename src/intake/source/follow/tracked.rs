//! One file that is being read while it grows: complete lines are records, a partial last line waits.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::place::{FileId, Head, written};
use crate::intake::format::{MAX_RECORD, Record};

const CHUNK: usize = 256 << 10;

/// A place in a file, as the checkpoint keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub id: FileId,
    /// Bytes up to the end of the last record taken.
    pub offset: u64,
    /// Lines up to there.
    pub line: u64,
    pub head: Head,
}

pub(super) struct Tracked {
    file: File,
    pub id: FileId,
    /// End of the last record taken.
    offset: u64,
    line: u64,
    head: Head,
    /// Bytes after `offset` that hold no newline yet.
    partial: Vec<u8>,
    /// Length and modification time when it was last read to its end.
    at_end: Option<(u64, i64, i64)>,
    last_change: Instant,
}

/// What reading some of it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing new.
    Quiet,
    /// Read something; there may be more.
    More,
    /// It is shorter than what was read of it, or begins differently.
    Rewritten,
}

impl Tracked {
    /// From a mark, or from its beginning.
    pub fn open(file: File, mark: Option<&Mark>) -> io::Result<Self> {
        let id = FileId::of(&file.metadata()?);
        let (offset, line, head) = mark.map_or((0, 0, Head::default()), |m| (m.offset, m.line, m.head.clone()));
        Ok(Self { file, id, offset, line, head, partial: Vec::new(), at_end: None, last_change: Instant::now() })
    }

    pub fn mark(&self) -> Mark {
        Mark { id: self.id, offset: self.offset, line: self.line, head: self.head.clone() }
    }

    /// When it was last written.
    pub fn written(&self) -> Option<(i64, i64)> {
        self.file.metadata().ok().map(|m| written(&m))
    }

    pub fn quiet_for(&self) -> Duration {
        self.last_change.elapsed()
    }

    /// Reads one chunk and hands complete lines to `take`.
    pub fn step(&mut self, take: &mut dyn FnMut(Record)) -> io::Result<Step> {
        let meta = self.file.metadata()?;
        let now = (meta.size(), meta.mtime(), meta.mtime_nsec());
        if self.at_end == Some(now) {
            return Ok(Step::Quiet);
        }
        let read = self.offset + self.partial.len() as u64;
        if now.0 < read || !self.head.matches(&self.file) {
            return Ok(Step::Rewritten);
        }
        let mut chunk = vec![0; CHUNK];
        let n = self.file.read_at(&mut chunk, read)?;
        if n == 0 {
            self.at_end = Some(now);
            return Ok(Step::Quiet);
        }
        self.last_change = Instant::now();
        self.lines(&chunk[..n], take);
        let known = self.offset + self.partial.len() as u64;
        if self.head.can_grow(known) {
            self.head = Head::of(&self.file, known)?;
        }
        Ok(Step::More)
    }

    /// What is left when nothing more will come: a last line without a newline.
    pub fn finish(&mut self, take: &mut dyn FnMut(Record)) {
        if !self.partial.is_empty() {
            let bytes = std::mem::take(&mut self.partial);
            let len = bytes.len();
            self.emit(bytes, len, None, take);
        }
    }

    /// Forgets the partial line, which is read again elsewhere.
    pub fn drop_partial(&mut self) {
        self.partial.clear();
    }

    fn lines(&mut self, mut bytes: &[u8], take: &mut dyn FnMut(Record)) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let mut line = std::mem::take(&mut self.partial);
            line.extend_from_slice(&bytes[..end]);
            let len = line.len() + 1;
            self.emit(line, len, None, take);
            bytes = &bytes[end + 1..];
        }
        self.partial.extend_from_slice(bytes);
        if self.partial.len() > MAX_RECORD {
            // Cut, so that no line can take all memory; the pieces are dead letters, nothing is lost.
            let piece = std::mem::take(&mut self.partial);
            let (len, why) = (piece.len(), format!("a line of more than {MAX_RECORD} bytes: this is a piece of it"));
            self.emit(piece, len, Some(why), take);
        }
    }

    fn emit(&mut self, mut line: Vec<u8>, len: usize, error: Option<String>, take: &mut dyn FnMut(Record)) {
        let offset = self.offset;
        self.offset += len as u64;
        self.line += 1;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if !line.iter().all(u8::is_ascii_whitespace) {
            take(Record { offset, line: Some(self.line), bytes: line, error });
        }
    }
}
