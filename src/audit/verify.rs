//! Is the log what it was?

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::AuditError;
use super::log::{CHECKPOINT, LOG, read_checkpoint};
use super::merkle::{Frontier, Hash};
use super::record::{self, NO_PREV};
use crate::model::audit::Head;

/// More faults than this are counted, not listed.
const LISTED: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The record it should be, where that is known.
    pub seq: Option<u64>,
    /// Line in the file, from 1; 0 when it is about the whole.
    pub line: u64,
    /// Byte at which the line begins.
    pub offset: u64,
    pub what: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    pub ok: bool,
    pub file: PathBuf,
    /// Records found.
    pub size: u64,
    /// Root over the records as they are, hex.
    pub root: String,
    pub faults: Vec<Fault>,
    /// Faults beyond those listed.
    pub more_faults: u64,
    /// What could not be checked, and other things worth knowing.
    pub notes: Vec<String>,
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
}

/// Checks a log (a file) or an audit folder (its log against its checkpoint too), and, with a `known` head, that the
/// log still begins with exactly the records of that head. Errors only when the file cannot be read at all.
pub fn verify(dir_or_file: &Path, known: Option<&Head>) -> Result<VerifyReport, AuditError> {
    verify_heads(dir_or_file, known, &[])
}

/// The same with heads that people signed.
pub fn verify_heads(dir_or_file: &Path, known: Option<&Head>, signed: &[Head]) -> Result<VerifyReport, AuditError> {
    let is_dir = dir_or_file.is_dir();
    let file = if is_dir { dir_or_file.join(LOG) } else { dir_or_file.to_owned() };
    let fail = |e: std::io::Error| AuditError::Unreadable { path: file.clone(), why: e.to_string() };
    let mut walk = Walk::new(&file);
    let (log, checkpoint) = open_both(dir_or_file, is_dir, &file).map_err(fail)?;
    if let Some(head) = known {
        walk.anchors.push(Anchor::new("the known head", head));
    }
    walk.anchors.extend(signed.iter().map(|head| Anchor::new("a signed checkpoint", head)));
    match checkpoint {
        Some(Ok(head)) => walk.anchors.push(Anchor::new("the checkpoint", &head)),
        Some(Err(why)) => walk.fault(None, 0, 0, format!("the file {CHECKPOINT} {why}")),
        None if known.is_none() => {
            walk.report.notes.push("no checkpoint and no known head: records cut off the end cannot be noticed".into())
        }
        None => {}
    }
    walk.anchors_at_size();
    if let Some((log, len)) = log {
        walk.lines(BufReader::with_capacity(1 << 16, log.take(len))).map_err(fail)?;
    } else if is_dir {
        walk.report.notes.push("there is no log yet".into());
    }
    Ok(walk.finish())
}

type Opened = (Option<(File, u64)>, Option<Result<Head, String>>);

/// Opens the log at its present length, with the checkpoint that belongs to it: both under the lock, so that a writer
/// cannot come between.
fn open_both(path: &Path, is_dir: bool, file: &Path) -> std::io::Result<Opened> {
    let log = match File::open(file) {
        Ok(f) => Some(f),
        Err(e) if is_dir && e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    if let Some(f) = &log {
        // Evidence on a medium without locks is still verified.
        let _ = fs4::FileExt::lock_shared(f);
    }
    let checkpoint = if is_dir { read_checkpoint(path)?.map(|c| c.map(|(_, head)| head)) } else { None };
    let log = match log {
        Some(f) => {
            let len = f.metadata()?.len();
            let _ = fs4::FileExt::unlock(&f);
            Some((f, len))
        }
        None => None,
    };
    Ok((log, checkpoint))
}

/// A head the log must pass through.
struct Anchor {
    name: &'static str,
    head: Head,
    met: bool,
}

impl Anchor {
    fn new(name: &'static str, head: &Head) -> Self {
        Self { name, head: head.clone(), met: false }
    }
}

struct Walk {
    report: VerifyReport,
    anchors: Vec<Anchor>,
    tree: Frontier,
    /// What the next record may name as `prev`: what the last line says its hash is, and what it really is.
    before: [Hash; 2],
    expected: u64,
}

impl Walk {
    fn new(file: &Path) -> Self {
        let report = VerifyReport {
            ok: false,
            file: file.to_owned(),
            size: 0,
            root: String::new(),
            faults: Vec::new(),
            more_faults: 0,
            notes: Vec::new(),
            first: None,
            last: None,
        };
        Self { report, anchors: Vec::new(), tree: Frontier::default(), before: [NO_PREV; 2], expected: 0 }
    }

    fn fault(&mut self, seq: Option<u64>, line: u64, offset: u64, what: String) {
        if self.report.faults.len() < LISTED {
            self.report.faults.push(Fault { seq, line, offset, what });
        } else {
            self.report.more_faults += 1;
        }
    }

    fn lines(&mut self, mut reader: impl BufRead) -> std::io::Result<()> {
        let (mut number, mut offset) = (0, 0);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            if reader.read_until(b'\n', &mut bytes)? == 0 {
                return Ok(());
            }
            number += 1;
            match bytes.strip_suffix(b"\n") {
                Some(line) => self.line(line, number, offset),
                None => {
                    let what = format!("the last line has no end: {} bytes of a record cut short", bytes.len());
                    self.fault(Some(self.expected), number, offset, what);
                }
            }
            offset += bytes.len() as u64;
        }
    }

    fn line(&mut self, line: &[u8], number: u64, offset: u64) {
        let seq = self.expected;
        self.expected += 1;
        let read = match record::open(line) {
            Ok(read) => read,
            Err(what) => {
                self.fault(Some(seq), number, offset, what);
                // The tree goes on with what stands there, so that the root cannot come out right by luck.
                self.push(super::merkle::leaf(line));
                let says = claimed_hash(line).unwrap_or(NO_PREV);
                self.before = [says, says];
                return;
            }
        };
        let r = &read.record;
        if r.seq != seq {
            let what = if r.seq > seq {
                format!(
                    "record {seq} should stand here, but this is record {}: moved, or records before it removed",
                    r.seq
                )
            } else {
                format!("record {seq} should stand here, but this is record {}: moved, or put in", r.seq)
            };
            self.fault(Some(seq), number, offset, what);
            self.expected = r.seq + 1;
        }
        if r.hash != hex::encode(read.hash) {
            self.fault(Some(r.seq), number, offset, "altered: its hash does not fit its content".into());
        }
        if !self.before.iter().any(|h| r.prev == hex::encode(h)) {
            let what = "does not follow the record before it: that one was altered, removed or replaced";
            self.fault(Some(r.seq), number, offset, what.into());
        }
        self.report.first.get_or_insert(r.at);
        self.report.last = Some(r.at);
        self.before = [claimed(&r.hash).unwrap_or(read.hash), read.hash];
        self.push(read.hash);
    }

    fn push(&mut self, hash: Hash) {
        self.tree.push(hash);
        self.anchors_at_size();
    }

    /// Compares every head of exactly the present size.
    fn anchors_at_size(&mut self) {
        let size = self.tree.size();
        let mut forks = Vec::new();
        for a in self.anchors.iter_mut().filter(|a| a.head.size == size) {
            a.met = true;
            let root = hex::encode(self.tree.root());
            if root != a.head.root {
                forks.push(format!(
                    "forked: the first {size} records are not those of {}; their root is {root}, not {}",
                    a.name, a.head.root
                ));
            }
        }
        for what in forks {
            self.fault(None, 0, 0, what);
        }
    }

    fn finish(mut self) -> VerifyReport {
        let size = self.tree.size();
        let cut: Vec<_> = self
            .anchors
            .iter()
            .filter(|a| !a.met)
            .map(|a| format!("cut: there are {size} records, but {} knows of {}", a.name, a.head.size))
            .collect();
        for what in cut {
            self.fault(Some(size), 0, 0, what);
        }
        self.report.size = size;
        self.report.root = hex::encode(self.tree.root());
        self.report.ok = self.report.faults.is_empty();
        self.report
    }
}

fn claimed(hex_hash: &str) -> Option<Hash> {
    let mut out = NO_PREV;
    hex::decode_to_slice(hex_hash, &mut out).ok().map(|()| out)
}

/// What an unreadable line still says its hash is, so that one altered record is one fault and not two.
fn claimed_hash(line: &[u8]) -> Option<Hash> {
    const MARK: &[u8] = b",\"hash\":\"";
    let at = memchr::memmem::rfind(line, MARK)? + MARK.len();
    let text = std::str::from_utf8(line.get(at..at + 64)?).ok()?;
    claimed(text)
}
