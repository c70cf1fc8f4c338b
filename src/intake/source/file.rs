//! Files, folders and streams that are read once: `watchfloor import`.
//!
//! Three threads with bounded channels between them: one reads bytes, one makes alerts of them, and the caller's own
//! puts them into the store. Gzip is recognised by its first bytes.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;

use crate::intake::format::Splitter;
use crate::intake::pipeline::{BATCH_WAIT, Batch, FailedInput, IntakeError, Maker, Pipeline, Summary};
use crate::store::StoreError;
use crate::text::Untrusted;

/// Bytes read at once.
const CHUNK: usize = 256 << 10;
/// Chunks and batches that may wait between two threads.
const WAITING: usize = 4;
/// Folders inside folders that are entered.
const MAX_DEPTH: usize = 64;

/// Something to import.
pub enum Input {
    /// A file, or a folder with everything below it that is not hidden.
    Path(PathBuf),
    /// A stream such as standard input, and what to call it.
    Stream(String, Box<dyn Read + Send>),
}

impl Input {
    /// A path of a command line: `-` is standard input.
    pub fn from_arg(arg: &Path) -> Self {
        if arg.as_os_str() == "-" {
            Self::Stream("stdin".into(), Box::new(io::stdin()))
        } else {
            Self::Path(arg.to_owned())
        }
    }
}

/// How far an import has come.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    pub summary: &'a Summary,
    /// Bytes read, as stored (compressed files count compressed).
    pub bytes: u64,
    /// Bytes there are, when all inputs are files.
    pub total: Option<u64>,
}

/// Reads all inputs to their end. `progress` is called after each stored batch.
///
/// Every record read ends as an alert, a duplicate or a dead letter. A file that cannot be opened or read to its end is
/// in [`Summary::failed`]; a path that does not exist stops the import before anything is read.
pub fn import(
    pipeline: &Pipeline,
    inputs: Vec<Input>,
    format: Option<&str>,
    mut progress: impl FnMut(&Progress<'_>),
) -> Result<Summary, IntakeError> {
    let maker = pipeline.maker(format)?;
    let mut summary = Summary::default();
    let (inputs, total) = expand(inputs, &mut summary.failed)?;
    let (to_parse, chunks) = sync_channel(WAITING);
    let (to_store, batches) = sync_channel(WAITING);
    spawn("intake-read", move || read_all(inputs, &to_parse))?;
    spawn("intake-parse", move || parse_all(maker, &chunks, &to_store))?;

    let mut bytes = 0;
    for message in batches {
        match message {
            ToStore::Batch { batch, consumed } => {
                summary.add(&pipeline.ingest(&batch, None)?);
                bytes += consumed;
                progress(&Progress { summary: &summary, bytes, total });
            }
            ToStore::Failed(failed) => summary.failed.push(failed),
            ToStore::Broken(e) => return Err(e.into()),
        }
    }
    Ok(summary)
}

fn spawn(name: &str, f: impl FnOnce() + Send + 'static) -> Result<(), IntakeError> {
    // Not joined: a thread may sit in a read of standard input that never returns. Both end with their channels.
    std::thread::Builder::new()
        .name(name.into())
        .spawn(f)
        .map(drop)
        .map_err(|e| IntakeError::Usage(format!("cannot start a thread: {e}")))
}

/// One opened source of bytes.
enum Opened {
    File(PathBuf),
    Stream(String, Box<dyn Read + Send>),
}

/// Folders become their files, in the order of their names. Bytes in all, when they are known.
fn expand(inputs: Vec<Input>, failed: &mut Vec<FailedInput>) -> Result<(Vec<Opened>, Option<u64>), IntakeError> {
    let mut out = Vec::new();
    let mut total = Some(0);
    for input in inputs {
        match input {
            Input::Stream(name, stream) => {
                total = None;
                out.push(Opened::Stream(name, stream));
            }
            Input::Path(path) => {
                let meta = std::fs::metadata(&path)
                    .map_err(|e| IntakeError::Usage(format!("{}: {}", path.display(), plain(&e))))?;
                if meta.is_dir() {
                    let mut files = Vec::new();
                    let mut closed = Vec::new();
                    walk(&path, 0, &mut files, &mut closed)
                        .map_err(|e| IntakeError::Usage(format!("{}: {}", path.display(), plain(&e))))?;
                    failed.extend(closed.into_iter().map(|(path, e)| FailedInput {
                        input: format!("file:{}", path.display()).into(),
                        reason: plain(&e),
                    }));
                    total = total.map(|t| t + files.iter().map(|(_, len)| len).sum::<u64>());
                    out.extend(files.into_iter().map(|(p, _)| Opened::File(p)));
                } else {
                    total = if meta.is_file() { total.map(|t| t + meta.len()) } else { None };
                    out.push(Opened::File(path));
                }
            }
        }
    }
    Ok((out, total))
}

/// Regular files below a folder, hidden ones left out; links to files are followed, links to folders are not. Folders
/// below it that cannot be read are in `closed`.
pub(super) fn walk(
    dir: &Path,
    depth: usize,
    out: &mut Vec<(PathBuf, u64)>,
    closed: &mut Vec<(PathBuf, io::Error)>,
) -> io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(dir)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if depth < MAX_DEPTH
                && let Err(e) = walk(&path, depth + 1, out, closed)
            {
                closed.push((path, e));
            }
        } else if let Ok(meta) = std::fs::metadata(&path)
            && meta.is_file()
        {
            out.push((path, meta.len()));
        }
    }
    Ok(())
}

enum ToParse {
    Open(Untrusted),
    /// Bytes after decompression, and how many were read for them.
    Data(Vec<u8>, u64),
    End,
    Failed(FailedInput),
}

enum ToStore {
    Batch { batch: Batch, consumed: u64 },
    Failed(FailedInput),
    Broken(StoreError),
}

fn read_all(inputs: Vec<Opened>, to: &SyncSender<ToParse>) {
    for input in inputs {
        let (name, opened): (String, io::Result<Box<dyn Read + Send>>) = match input {
            Opened::File(path) => {
                (format!("file:{}", path.display()), File::open(&path).map(|f| Box::new(f) as Box<dyn Read + Send>))
            }
            Opened::Stream(name, stream) => (name, Ok(stream)),
        };
        let name = Untrusted::new(name);
        if to.send(ToParse::Open(name.clone())).is_err() {
            return;
        }
        let done = opened.and_then(|stream| read_one(stream, to));
        let told = match done {
            Ok(true) => Ok(()),
            Ok(false) => return,
            Err(e) => to.send(ToParse::Failed(FailedInput { input: name, reason: plain(&e) })),
        };
        if told.and_then(|()| to.send(ToParse::End)).is_err() {
            return;
        }
    }
}

/// False when nobody listens any more.
fn read_one(stream: Box<dyn Read + Send>, to: &SyncSender<ToParse>) -> io::Result<bool> {
    let mut raw = BufReader::with_capacity(CHUNK, Counted { inner: stream, n: 0 });
    let gzip = io::BufRead::fill_buf(&mut raw)?.starts_with(&[0x1f, 0x8b]);
    if gzip {
        let mut decoder = flate2::bufread::MultiGzDecoder::new(raw);
        pump(&mut decoder, |d| d.get_ref().get_ref().n, to)
    } else {
        pump(&mut raw, |r| r.get_ref().n, to)
    }
}

fn pump<R: Read>(from: &mut R, counted: impl Fn(&R) -> u64, to: &SyncSender<ToParse>) -> io::Result<bool> {
    let mut told = 0;
    loop {
        let mut chunk = vec![0; CHUNK];
        let n = match from.read(&mut chunk) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if n == 0 {
            return Ok(true);
        }
        chunk.truncate(n);
        let now = counted(from);
        if to.send(ToParse::Data(chunk, now - told)).is_err() {
            return Ok(false);
        }
        told = now;
    }
}

struct Counted<R> {
    inner: R,
    n: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.n += n as u64;
        Ok(n)
    }
}

/// The middle thread: bytes to records to alerts.
struct Parse<'a> {
    maker: Maker,
    source: Untrusted,
    splitter: Splitter,
    batch: Batch,
    consumed: u64,
    opened: Instant,
    to: &'a SyncSender<ToStore>,
}

fn parse_all(maker: Maker, from: &Receiver<ToParse>, to: &SyncSender<ToStore>) {
    let mut p = Parse {
        maker,
        source: Untrusted::default(),
        splitter: Splitter::new(),
        batch: Batch::default(),
        consumed: 0,
        opened: Instant::now(),
        to,
    };
    if let Err(e) = p.maker.refresh() {
        let _ = to.send(ToStore::Broken(e));
        return;
    }
    while p.step(from).is_some() {}
}

impl Parse<'_> {
    /// `None` when there is no more to do, or nobody to do it for.
    fn step(&mut self, from: &Receiver<ToParse>) -> Option<()> {
        match from.recv_timeout(BATCH_WAIT) {
            Ok(ToParse::Open(source)) => {
                self.source = source;
                self.splitter = Splitter::new();
                Some(())
            }
            Ok(ToParse::Data(bytes, consumed)) => {
                self.consumed += consumed;
                self.splitter.push(&bytes);
                drop(bytes);
                self.drain(Splitter::next)?;
                // A trickle is stored as it comes.
                if self.opened.elapsed() >= BATCH_WAIT && !self.batch.is_empty() { self.flush() } else { Some(()) }
            }
            Ok(ToParse::End) => {
                self.drain(Splitter::next)?;
                self.drain(Splitter::finish)
            }
            Ok(ToParse::Failed(failed)) => self.to.send(ToStore::Failed(failed)).ok(),
            Err(RecvTimeoutError::Timeout) if self.batch.is_empty() => Some(()),
            Err(RecvTimeoutError::Timeout) => self.flush(),
            Err(RecvTimeoutError::Disconnected) => {
                self.flush()?;
                None
            }
        }
    }

    fn drain(&mut self, next: impl Fn(&mut Splitter) -> Option<crate::intake::format::Record>) -> Option<()> {
        while let Some(record) = next(&mut self.splitter) {
            self.maker.make(record, &self.source, None, &mut self.batch);
            if self.batch.is_full() {
                self.flush()?;
            }
        }
        Some(())
    }

    fn flush(&mut self) -> Option<()> {
        let batch = std::mem::take(&mut self.batch);
        let consumed = std::mem::take(&mut self.consumed);
        self.to.send(ToStore::Batch { batch, consumed }).ok()?;
        self.opened = Instant::now();
        match self.maker.refresh() {
            Ok(()) => Some(()),
            Err(e) => {
                let _ = self.to.send(ToStore::Broken(e));
                None
            }
        }
    }
}

/// An I/O error in the words of the system, without `(os error 2)`.
pub(super) fn plain(e: &io::Error) -> String {
    let s = e.to_string();
    match s.find(" (os error") {
        Some(end) => s[..end].to_owned(),
        None => s,
    }
}
