//! Reading the log.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use jiff::Timestamp;

use super::{AuditError, record};
use crate::model::audit::AuditRecord;
use crate::model::ids::PersonId;

/// Which records; everything that is set must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// A kind, or a family of them such as `action.`.
    pub kind: Option<String>,
    pub by: Option<PersonId>,
    pub request_id: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Somewhere in the record's line, whatever its case.
    pub text: Option<String>,
    /// From this record on.
    pub from_seq: Option<u64>,
}

impl AuditFilter {
    pub fn request(id: &str) -> Self {
        Self { request_id: Some(id.to_owned()), ..Self::default() }
    }

    fn fits(&self, r: &AuditRecord) -> bool {
        self.kind.as_ref().is_none_or(|k| r.kind == *k || (k.ends_with('.') && r.kind.starts_with(k.as_str())))
            && self.by.as_ref().is_none_or(|p| r.by.as_ref() == Some(p))
            && self.request_id.as_ref().is_none_or(|i| r.request_id.as_ref() == Some(i))
            && self.since.is_none_or(|t| r.at >= t)
            && self.until.is_none_or(|t| r.at <= t)
            && self.from_seq.is_none_or(|s| r.seq >= s)
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    /// Oldest first.
    pub records: Vec<AuditRecord>,
    /// Lines (from 1; 0 when the reading did not begin at the first) that could not be read, or were altered, and were
    /// left out.
    pub unreadable: Vec<u64>,
}

/// The newest `limit` records that fit. A line that cannot be read is named and passed over, so that a damaged log
/// still answers.
pub fn scan(path: &Path, filter: &AuditFilter, limit: usize) -> Result<Scan, AuditError> {
    let fail = |e: std::io::Error| AuditError::Unreadable { path: path.to_owned(), why: e.to_string() };
    let mut found = VecDeque::new();
    let mut out = Scan::default();
    let text = filter.text.as_ref().map(|t| t.to_lowercase());
    // Most lines are passed over by a byte search before they are parsed.
    let needle = filter.request_id.as_ref().map(|id| memchr::memmem::Finder::new(id.as_bytes()).into_owned());
    let mut file = match File::open(path) {
        Ok(f) => f,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(out),
        Err(e) => return Err(fail(e)),
    };
    let (start, mut number) = match filter.from_seq {
        Some(seq) => (offset_before(&mut file, seq).map_err(fail)?, None),
        None => (0, Some(0u64)),
    };
    file.seek(SeekFrom::Start(start)).map_err(fail)?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(fail)? == 0 {
            break;
        }
        number = number.map(|n| n + 1);
        // Without its newline it is being written, or was torn: not a record yet.
        let Some(bytes) = line.strip_suffix(b"\n") else { break };
        if needle.as_ref().is_some_and(|n| n.find(bytes).is_none()) {
            continue;
        }
        let read = match record::open(bytes) {
            Ok(read) if read.record.hash == hex::encode(read.hash) => read,
            _ => {
                out.unreadable.push(number.unwrap_or(0));
                continue;
            }
        };
        let text_fits = |t: &String| String::from_utf8_lossy(bytes).to_lowercase().contains(t.as_str());
        if filter.fits(&read.record) && text.as_ref().is_none_or(text_fits) {
            if found.len() == limit {
                found.pop_front();
            }
            if limit > 0 {
                found.push_back(read.record);
            }
        }
    }
    out.records = found.into();
    Ok(out)
}

/// A line start at or before record `seq`, found from the end, so that the newest records of a long log are quick.
fn offset_before(file: &mut File, seq: u64) -> std::io::Result<u64> {
    const BLOCK: u64 = 1 << 16;
    let mut end = file.seek(SeekFrom::End(0))?;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        let mut block = vec![0; usize::try_from(BLOCK.min(end - start)).unwrap_or(0)];
        file.read_exact(&mut block)?;
        // The first line that begins in this block.
        let first = if start == 0 { Some(0) } else { memchr::memchr(b'\n', &block).map(|i| i + 1) };
        if let Some(first) = first {
            let at = start + first as u64;
            let mut line = Vec::new();
            file.seek(SeekFrom::Start(at))?;
            BufReader::new(&*file).read_until(b'\n', &mut line)?;
            let read = line.strip_suffix(b"\n").and_then(|l| record::open(l).ok());
            if read.is_some_and(|r| r.record.seq <= seq) {
                return Ok(at);
            }
        }
        end = start;
    }
    Ok(0)
}
