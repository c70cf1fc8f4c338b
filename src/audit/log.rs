//! Appending: the lock, the tail, the checkpoint.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::AuditError;
use super::merkle::{self, Frontier, Hash};
use super::record::{self, Entry, NO_PREV};
use super::scan::{AuditFilter, Scan, scan};
use crate::model::audit::{AuditRecord, Head};
use crate::model::ids::PersonId;

pub(super) const LOG: &str = "log.ndjson";
pub(super) const CHECKPOINT: &str = "checkpoint";

/// How long another process may hold the log before we give up. An append takes milliseconds.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The audit log of one desk. Cheap to open; safe to share between threads and with other processes.
#[derive(Debug)]
pub struct Audit {
    dir: PathBuf,
    /// What this process last saw of the log's end. Always checked against the log before it is believed.
    tail: Mutex<Option<Tail>>,
    /// What this process has checked from the first record on.
    pub(super) checked: Mutex<Option<super::prefix::Checked>>,
}

/// The end of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    pub tree: Frontier,
    /// Hash of the last record.
    pub last: Hash,
    /// Where the last record begins and ends in the file.
    pub last_start: u64,
    pub end: u64,
}

/// The file `checkpoint`, canonical JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoint {
    size: u64,
    root: String,
    at: Timestamp,
    last: String,
    last_start: u64,
    end: u64,
    frontier: Vec<String>,
}

/// Bytes after the last record that are no record.
struct Torn {
    bytes: Vec<u8>,
}

/// An error before it knows its file.
pub(super) enum Trouble {
    Io(std::io::Error),
    Damaged(String),
}

impl From<std::io::Error> for Trouble {
    fn from(e: std::io::Error) -> Self {
        Self::Io(e)
    }
}

impl Audit {
    /// Opens the log in `dir`, making the folder if need be. A folder that cannot be written is no error here: reading
    /// works, and each append says why it cannot be done.
    pub fn open(dir: &Path) -> Result<Self, AuditError> {
        let audit = Self { dir: dir.to_owned(), tail: Mutex::new(None), checked: Mutex::new(None) };
        if let Err(e) = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir) {
            tracing::warn!(error = %e, "the audit folder cannot be made");
        }
        if let Err(e) = audit.settle_torn() {
            tracing::warn!(error = %e, "a torn line of the audit log is not recorded yet");
        }
        Ok(audit)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    /// Adds one record. It is on the disk when this returns; on any error the log is as it was.
    /// `kind` is a word of ours, such as `action.intent`.
    pub fn append(
        &self,
        by: Option<&PersonId>,
        kind: &str,
        request_id: Option<&str>,
        body: Value,
        at: Timestamp,
    ) -> Result<AuditRecord, AuditError> {
        match self.append_if(by, kind, request_id, body, at, || Ok(()))? {
            Ok(record) => Ok(record),
            // Nothing above says no.
            Err(why) => Err(AuditError::Unwritable { path: self.log_path(), why }),
        }
    }

    /// Adds one record unless `allowed` says why not. Nobody, in any process, adds another while it is asked: what it
    /// reads in the log is all there is before this record. It must not append itself.
    pub fn append_if(
        &self,
        by: Option<&PersonId>,
        kind: &str,
        request_id: Option<&str>,
        body: Value,
        at: Timestamp,
        allowed: impl FnOnce() -> Result<(), String>,
    ) -> Result<Result<AuditRecord, String>, AuditError> {
        let mut cached = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let known = cached.take();
        let file = self.open_for_append()?;
        let (mut tail, torn) = self.at_end(&file, known).map_err(|t| self.cannot_write(t))?;
        if let Some(torn) = torn {
            self.move_aside(&file, &mut tail, &torn, at).map_err(|t| self.cannot_write(t))?;
        }
        if let Err(why) = allowed() {
            *cached = Some(tail);
            return Ok(Err(why));
        }
        let entry = Entry { at, by, kind, request_id, body };
        let record = write_one(&file, &mut tail, entry).map_err(|t| self.cannot_write(t))?;
        self.write_checkpoint(&tail, at);
        *cached = Some(tail);
        Ok(Ok(record))
    }

    /// Whether a record could be added now: the log opens for writing, can be locked, and is not damaged. It may still
    /// fail to be written, on a full disk.
    pub fn ready(&self) -> Result<(), AuditError> {
        let mut cached = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.open_for_append()?;
        let (tail, _) = self.at_end(&file, cached.take()).map_err(|t| self.cannot_write(t))?;
        *cached = Some(tail);
        Ok(())
    }

    /// How many records there are, and the root over them.
    pub fn head(&self) -> Result<Head, AuditError> {
        let mut cached = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.log_path();
        let file = match File::open(&path) {
            Ok(f) => f,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                // Never written, unless something remembers that it was.
                let before = self.read_checkpoint().map_err(|t| self.cannot_read(t))?;
                return match before.filter(|t| t.tree.size() > 0) {
                    Some(t) => Err(self.damaged(format!("it is gone; it held {} records", t.tree.size()))),
                    None => Ok(head_of(&Frontier::default())),
                };
            }
            Err(e) => return Err(self.cannot_read(e.into())),
        };
        lock(&file, false).map_err(|e| self.cannot_read(e.into()))?;
        let (tail, _) = self.at_end(&file, cached.take()).map_err(|t| self.cannot_read(t))?;
        let head = head_of(&tail.tree);
        *cached = Some(tail);
        Ok(head)
    }

    /// The head as it is now, with the proof that the log still begins with the first `size` records (RFC 6962 section
    /// 2.1.2). Reads the whole log.
    pub fn proof_since(&self, size: u64) -> Result<(Head, Vec<Hash>), AuditError> {
        let damaged = || self.damaged("a line cannot be read".into());
        let scan = self.scan(&AuditFilter::default(), usize::MAX)?;
        if !scan.unreadable.is_empty() {
            return Err(damaged());
        }
        let leaf = |r: &AuditRecord| hex::decode(&r.hash).ok().and_then(|b| Hash::try_from(b).ok());
        let leaves: Vec<Hash> = scan.records.iter().map(leaf).collect::<Option<_>>().ok_or_else(damaged)?;
        let head = Head { size: leaves.len() as u64, root: hex::encode(merkle::root_of(&leaves)) };
        Ok((head, merkle::consistency(&leaves, usize::try_from(size).unwrap_or(usize::MAX))))
    }

    /// The newest `limit` records that fit, oldest first. Lines that cannot be read are left out; [`Audit::scan`]
    /// names them.
    pub fn records(&self, filter: &AuditFilter, limit: usize) -> Result<Vec<AuditRecord>, AuditError> {
        self.scan(filter, limit).map(|s| s.records)
    }

    pub fn scan(&self, filter: &AuditFilter, limit: usize) -> Result<Scan, AuditError> {
        scan(&self.log_path(), filter, limit)
    }

    fn open_for_append(&self) -> Result<File, AuditError> {
        let path = self.log_path();
        let new = !path.exists();
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .and_then(|f| lock(&f, true).map(|()| f))
            .map_err(|e| self.cannot_write(e.into()))?;
        if new {
            // The name must be as durable as what is written under it.
            sync_dir(&self.dir).map_err(|e| self.cannot_write(e.into()))?;
        }
        Ok(file)
    }

    /// The end of the log, from what is known of it and what was added since. Call it under the lock.
    fn at_end(&self, file: &File, known: Option<Tail>) -> Result<(Tail, Option<Torn>), Trouble> {
        let known = match known {
            Some(tail) => Some(tail),
            None => self.read_checkpoint()?,
        };
        let from_start = known.is_none();
        let mut tail = known.unwrap_or_default();
        let len = file.metadata()?.len();
        if len < tail.end {
            return Err(Trouble::Damaged(format!(
                "it is {len} bytes long, but {} records in {} bytes were written",
                tail.tree.size(),
                tail.end
            )));
        }
        still_there(file, &tail)?;
        let torn = catch_up(file, &mut tail, len, from_start)?;
        Ok((tail, torn))
    }

    fn read_checkpoint(&self) -> Result<Option<Tail>, Trouble> {
        match read_checkpoint(&self.dir)? {
            None => Ok(None),
            Some(Ok((tail, _))) => Ok(Some(tail)),
            Some(Err(why)) => {
                Err(Trouble::Damaged(format!("its checkpoint {why}; once the log is verified, delete the checkpoint")))
            }
        }
    }

    /// A checkpoint that cannot be written leaves the older one, which is still true.
    fn write_checkpoint(&self, tail: &Tail, at: Timestamp) {
        let cp = Checkpoint {
            size: tail.tree.size(),
            root: hex::encode(tail.tree.root()),
            at,
            last: hex::encode(tail.last),
            last_start: tail.last_start,
            end: tail.end,
            frontier: tail.tree.peaks().iter().map(hex::encode).collect(),
        };
        let write = || -> std::io::Result<()> {
            let bytes = serde_json_canonicalizer::to_vec(&cp).map_err(std::io::Error::other)?;
            let new = self.dir.join("checkpoint.new");
            let mut f = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            f.write_all(&bytes)?;
            f.sync_data()?;
            fs::rename(&new, self.dir.join(CHECKPOINT))
        };
        if let Err(e) = write() {
            tracing::warn!(error = %e, "the audit checkpoint cannot be written");
        }
    }

    /// Keeps a torn line as evidence, takes it off the log, and records that this was done.
    fn move_aside(&self, file: &File, tail: &mut Tail, torn: &Torn, at: Timestamp) -> Result<(), Trouble> {
        let stamp = at.strftime("%Y%m%dT%H%M%S");
        let mut n = 0;
        let (name, mut out) = loop {
            let name = if n == 0 { format!("log.torn-{stamp}") } else { format!("log.torn-{stamp}-{n}") };
            let pending = self.dir.join(format!("{name}.pending"));
            if !self.dir.join(&name).exists() {
                match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&pending) {
                    Ok(f) => break (name, f),
                    Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                    Err(e) => return Err(e.into()),
                }
            }
            n += 1;
        };
        out.write_all(&torn.bytes)?;
        out.sync_all()?;
        sync_dir(&self.dir)?;
        file.set_len(tail.end)?;
        file.sync_all()?;
        self.record_torn(file, tail, &name, &torn.bytes, at)
    }

    fn record_torn(&self, f: &File, tail: &mut Tail, name: &str, bytes: &[u8], at: Timestamp) -> Result<(), Trouble> {
        let body = json!({
            "file": name,
            "bytes": bytes.len(),
            "sha256": hex::encode(Sha256::digest(bytes)),
            "offset": tail.end,
        });
        write_one(f, tail, Entry { at, by: None, kind: "audit.torn", request_id: None, body })?;
        fs::rename(self.dir.join(format!("{name}.pending")), self.dir.join(name))?;
        Ok(())
    }

    /// A crash may have come between moving a torn line aside and recording it.
    fn settle_torn(&self) -> Result<(), AuditError> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Ok(()) };
        for entry in entries.flatten() {
            let file_name = entry.file_name();
            let Some(name) = file_name.to_str().and_then(|n| n.strip_suffix(".pending")) else { continue };
            if !name.starts_with("log.torn-") {
                continue;
            }
            let mut cached = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            let file = self.open_for_append()?;
            // Another process may be at it, or have done it while we waited for the lock.
            let Ok(bytes) = fs::read(entry.path()) else { continue };
            let (mut tail, torn) = self.at_end(&file, cached.take()).map_err(|t| self.cannot_write(t))?;
            let at = Timestamp::now();
            if torn.is_some_and(|t| t.bytes == bytes) {
                file.set_len(tail.end).and_then(|()| file.sync_all()).map_err(|e| self.cannot_write(e.into()))?;
            }
            self.record_torn(&file, &mut tail, name, &bytes, at).map_err(|t| self.cannot_write(t))?;
            self.write_checkpoint(&tail, at);
            *cached = Some(tail);
        }
        Ok(())
    }

    fn damaged(&self, why: String) -> AuditError {
        AuditError::Damaged { path: self.log_path(), why }
    }

    fn cannot_write(&self, t: Trouble) -> AuditError {
        match t {
            Trouble::Io(e) => AuditError::Unwritable { path: self.log_path(), why: e.to_string() },
            Trouble::Damaged(why) => self.damaged(why),
        }
    }

    pub(super) fn cannot_read(&self, t: Trouble) -> AuditError {
        match t {
            Trouble::Io(e) => AuditError::Unreadable { path: self.log_path(), why: e.to_string() },
            Trouble::Damaged(why) => self.damaged(why),
        }
    }
}

fn head_of(tree: &Frontier) -> Head {
    Head { size: tree.size(), root: hex::encode(tree.root()) }
}

/// Reads a folder's checkpoint: none, or its tail and time, or what is wrong with it.
pub(super) fn read_checkpoint(dir: &Path) -> std::io::Result<Option<Result<(Tail, Head), String>>> {
    let bytes = match fs::read(dir.join(CHECKPOINT)) {
        Ok(b) => b,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    Ok(Some(parse_checkpoint(&bytes)))
}

fn parse_checkpoint(bytes: &[u8]) -> Result<(Tail, Head), String> {
    let cp: Checkpoint = serde_json::from_slice(bytes).map_err(|e| format!("cannot be read: {e}"))?;
    if serde_json_canonicalizer::to_vec(&cp).ok().as_deref() != Some(bytes) {
        return Err("is not in canonical form".into());
    }
    let hash = |s: &String| {
        let mut out = [0; 32];
        hex::decode_to_slice(s, &mut out).map(|()| out).map_err(|_| "holds something that is no hash".to_owned())
    };
    let peaks = cp.frontier.iter().map(hash).collect::<Result<_, _>>()?;
    let tree = Frontier::from_parts(cp.size, peaks).ok_or("does not fit its own size")?;
    if hash(&cp.root)? != tree.root() {
        return Err("does not fit its own root".into());
    }
    let tail = Tail { tree, last: hash(&cp.last)?, last_start: cp.last_start, end: cp.end };
    let head = Head { size: cp.size, root: cp.root };
    Ok((tail, head))
}

/// Takes the advisory lock; it ends with the file.
pub(super) fn lock(file: &File, exclusive: bool) -> std::io::Result<()> {
    let start = Instant::now();
    loop {
        let got = if exclusive { fs4::FileExt::try_lock(file) } else { fs4::FileExt::try_lock_shared(file) };
        match got {
            Ok(()) => return Ok(()),
            Err(fs4::TryLockError::Error(e)) => return Err(e),
            Err(fs4::TryLockError::WouldBlock) if start.elapsed() > LOCK_WAIT => {
                return Err(std::io::Error::other("another process has held its lock for 10 s"));
            }
            Err(fs4::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The record we know as the last one must still stand where it stood.
pub(super) fn still_there(file: &File, tail: &Tail) -> Result<(), Trouble> {
    if tail.tree.size() == 0 {
        return Ok(());
    }
    let changed = || Trouble::Damaged(format!("record {} is not what was written", tail.tree.size() - 1));
    let len = tail.end.checked_sub(tail.last_start).and_then(|n| usize::try_from(n).ok()).ok_or_else(changed)?;
    let mut line = vec![0; len];
    file.read_exact_at(&mut line, tail.last_start)?;
    let read = line.strip_suffix(b"\n").and_then(|l| record::open(l).ok()).ok_or_else(changed)?;
    if read.hash != tail.last || read.record.seq + 1 != tail.tree.size() {
        return Err(changed());
    }
    Ok(())
}

/// Takes in what stands between the known end and `len`. What follows the last record can only be torn when it is the
/// last thing in the file and either has no newline or was written after the known end; else the log is damaged.
fn catch_up(file: &File, tail: &mut Tail, len: u64, from_start: bool) -> Result<Option<Torn>, Trouble> {
    if tail.end == len {
        return Ok(None);
    }
    let mut reader = file.try_clone()?;
    reader.seek(SeekFrom::Start(tail.end))?;
    let mut reader = BufReader::with_capacity(1 << 16, reader.take(len - tail.end));
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let place = tail.tree.size();
        match line.strip_suffix(b"\n").map(record::open) {
            Some(Ok(read)) if fits(&read, tail) => take_in(tail, read.hash, line.len()),
            None => return Ok(Some(Torn { bytes: line })),
            Some(bad) => {
                let at_the_end = reader.fill_buf()?.is_empty();
                if at_the_end && !from_start && bad.is_err() {
                    return Ok(Some(Torn { bytes: line }));
                }
                let why = bad.err().unwrap_or_else(|| "it does not follow the record before".into());
                return Err(Trouble::Damaged(format!("where record {place} should be: {why}")));
            }
        }
    }
}

pub(super) fn fits(read: &record::Read, tail: &Tail) -> bool {
    let size = tail.tree.size();
    let prev = if size == 0 { NO_PREV } else { tail.last };
    read.record.seq == size && read.record.prev == hex::encode(prev) && read.record.hash == hex::encode(read.hash)
}

pub(super) fn take_in(tail: &mut Tail, hash: Hash, line: usize) {
    tail.tree.push(hash);
    tail.last = hash;
    tail.last_start = tail.end;
    tail.end += line as u64;
}

/// Writes one record and waits for the disk. When that fails, what was written of it is taken back.
fn write_one(mut file: &File, tail: &mut Tail, entry: Entry<'_>) -> Result<AuditRecord, Trouble> {
    let prev = if tail.tree.size() == 0 { NO_PREV } else { tail.last };
    let (record, hash, line) =
        record::seal(entry, tail.tree.size(), &prev).map_err(|e| Trouble::Io(std::io::Error::other(e)))?;
    if let Err(e) = file.write_all(&line).and_then(|()| file.sync_data()) {
        let _ = file.set_len(tail.end);
        return Err(e.into());
    }
    take_in(tail, hash, line.len());
    Ok(record)
}
