//! Reads what appears in a folder: each file once, when it has stopped growing.
//!
//! A file's checkpoint lies in the store with its alerts, so a restart goes on in the middle of a file. A file that
//! grows after it was read is read on from there; one that is written anew is read again.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::file::{plain, walk};
use super::follow::Head;
use super::{Link, LinkState, Pace};
use crate::intake::format::{Record, Splitter};
use crate::intake::pipeline::{Batch, IntakeError, Maker, Pipeline};
use crate::model::Timestamp;
use crate::text::Untrusted;

const LOOK: Duration = Duration::from_secs(1);
/// How long a file must not change before it counts as complete.
const QUIET: Duration = Duration::from_secs(2);
const CHUNK: usize = 256 << 10;

/// Watches one folder and everything below it that is not hidden.
pub struct Directory {
    name: String,
    path: PathBuf,
    format: Option<String>,
    pipeline: Pipeline,
}

/// How far a file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// For people who look into the store.
    path: String,
    /// Size and modification time when it was last read to its end.
    done: Option<(u64, i64, i64)>,
    /// Bytes (after decompression) up to the end of the last record taken.
    offset: u64,
    head: Head,
}

/// What was last seen of a file.
struct Seen {
    stat: (u64, i64, i64),
    since: Instant,
    /// Read to its end as it is now, or not readable as it is now.
    settled: bool,
}

struct State<'a> {
    dir: &'a Directory,
    maker: Maker,
    seen: HashMap<PathBuf, Seen>,
    /// Files that cannot be read, with the reason.
    broken: HashMap<PathBuf, String>,
    files: u64,
    accepted: u64,
    dead: u64,
}

impl Directory {
    pub fn new(name: &str, path: PathBuf, format: Option<String>, pipeline: Pipeline) -> Self {
        Self { name: name.to_owned(), path, format, pipeline }
    }

    /// Blocking: watches until `stop` turns true or its sender is gone. Faults are reported and tried again.
    pub fn run(self, stop: watch::Receiver<bool>, report: impl Fn(Link)) {
        let mut pace = Pace::new(stop);
        let mut last_good = None;
        let link = |state, detail: String, last_good, next_try, accepted| Link {
            name: self.name.clone(),
            kind: "directory",
            state,
            detail: detail.into(),
            last_good,
            next_try,
            accepted,
        };
        report(link(LinkState::Starting, format!("opening {}", self.path.display()), None, None, 0));
        let mut state = None;
        let mut told = String::new();
        while !pace.stopped() {
            let looked = match &mut state {
                Some(state) => State::look(state, &pace),
                none => State::new(&self).map(|s| {
                    *none = Some(s);
                }),
            };
            let accepted = state.as_ref().map_or(0, |s| s.accepted);
            match looked {
                Ok(()) => {
                    pace.good();
                    last_good = Some(Timestamp::now());
                    let words = state.as_ref().map(State::words).unwrap_or_default();
                    if words != told {
                        report(link(LinkState::Live, words.clone(), last_good, None, accepted));
                        told = words;
                    }
                    pace.wait(LOOK);
                }
                Err(fault) => {
                    let (wait, next) = pace.backoff();
                    tracing::warn!(source = %self.name, fault = ?fault.to_string(), "directory interrupted");
                    report(link(LinkState::Retrying, fault.to_string(), last_good, next, accepted));
                    told.clear();
                    pace.wait(wait);
                }
            }
        }
        let accepted = state.as_ref().map_or(0, |s| s.accepted);
        report(link(LinkState::Stopped, "stopped".into(), last_good, None, accepted));
    }

    fn checkpoint(&self, file: &Path) -> String {
        let hash = Sha256::digest(file.as_os_str().as_encoded_bytes());
        format!("directory:{}:{}", self.name, hex::encode(&hash[..16]))
    }
}

impl<'a> State<'a> {
    fn new(dir: &'a Directory) -> Result<Self, IntakeError> {
        let maker = dir.pipeline.maker(dir.format.as_deref())?;
        Ok(Self { dir, maker, seen: HashMap::new(), broken: HashMap::new(), files: 0, accepted: 0, dead: 0 })
    }

    fn look(&mut self, pace: &Pace) -> Result<(), IntakeError> {
        let mut files = Vec::new();
        let mut closed = Vec::new();
        walk(&self.dir.path, 0, &mut files, &mut closed)
            .map_err(|e| IntakeError::Usage(format!("{}: {}", self.dir.path.display(), plain(&e))))?;
        let there: HashSet<&PathBuf> = files.iter().map(|(p, _)| p).collect();
        self.seen.retain(|p, _| there.contains(p));
        self.broken.retain(|p, _| there.contains(p));
        self.broken.extend(closed.into_iter().map(|(path, e)| (path, plain(&e))));
        for (path, _) in files {
            if pace.stopped() {
                return Ok(());
            }
            let Ok(meta) = std::fs::metadata(&path) else { continue };
            let stat = (meta.len(), meta.mtime(), meta.mtime_nsec());
            let seen = self.seen.entry(path.clone()).or_insert(Seen { stat, since: Instant::now(), settled: false });
            if seen.stat != stat {
                *seen = Seen { stat, since: Instant::now(), settled: false };
            }
            // A file that was last written long ago is complete at first sight.
            let age = meta.modified().ok().and_then(|m| m.elapsed().ok()).unwrap_or_default();
            if seen.settled || age.max(seen.since.elapsed()) < QUIET {
                continue;
            }
            seen.settled = true;
            match self.read(&path, stat) {
                Ok(()) => drop(self.broken.remove(&path)),
                Err(Broken::File(e)) => drop(self.broken.insert(path, plain(&e))),
                Err(Broken::Intake(e)) => {
                    self.seen.remove(&path);
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    /// Reads what is new in a file.
    fn read(&mut self, path: &Path, stat: (u64, i64, i64)) -> Result<(), Broken> {
        let name = self.dir.checkpoint(path);
        let saved = self.dir.pipeline.store().checkpoint(&name).map_err(IntakeError::from)?;
        let mut place: Place = saved.and_then(|s| serde_json::from_str(&s).ok()).unwrap_or_default();
        if place.done == Some(stat) {
            return Ok(());
        }
        let file = File::open(path)?;
        let shrunk = place.done.is_some_and(|(len, ..)| stat.0 < len);
        if shrunk || !place.head.matches(&file) {
            place = Place::default();
        }
        place.path = path.display().to_string();
        place.head = Head::of(&file, stat.0)?;
        self.maker.refresh().map_err(IntakeError::from)?;

        let source: Untrusted = format!("file:{}", path.display()).into();
        let mut reader = decoded(file)?;
        let mut splitter = Splitter::new();
        let mut batch = Batch::default();
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = match reader.read(&mut chunk) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            splitter.push(&chunk[..n]);
            while let Some(record) = splitter.next() {
                self.take(record, &source, &mut place, &mut batch);
                if batch.is_full() {
                    self.store(&name, &place, &mut batch)?;
                }
            }
            if n == 0 {
                break;
            }
        }
        while let Some(record) = splitter.finish() {
            self.take(record, &source, &mut place, &mut batch);
        }
        place.done = Some(stat);
        self.store(&name, &place, &mut batch)?;
        self.files += 1;
        Ok(())
    }

    fn take(&mut self, record: Record, source: &Untrusted, place: &mut Place, batch: &mut Batch) {
        // Taken before a restart, or before the file grew.
        if record.offset < place.offset {
            return;
        }
        place.offset = record.offset + record.bytes.len() as u64;
        self.maker.make(record, source, None, batch);
    }

    fn store(&mut self, name: &str, place: &Place, batch: &mut Batch) -> Result<(), IntakeError> {
        let text = serde_json::to_string(place).unwrap_or_default();
        if batch.is_empty() {
            self.dir.pipeline.store().set_checkpoint(name, &text)?;
        } else {
            let summary = self.dir.pipeline.ingest(batch, Some((name, &text)))?;
            self.accepted += summary.accepted;
            self.dead += summary.dead;
            *batch = Batch::default();
        }
        Ok(())
    }

    fn words(&self) -> String {
        let mut words = format!("watching {}, {} files read", self.dir.path.display(), self.files);
        if self.dead > 0 {
            words += &format!("; {} in the dead letter", self.dead);
        }
        if let Some((path, why)) = self.broken.iter().next() {
            words += &format!("; {} cannot be read: {}: {why}", self.broken.len(), path.display());
        }
        words
    }
}

enum Broken {
    File(io::Error),
    Intake(IntakeError),
}

impl From<io::Error> for Broken {
    fn from(e: io::Error) -> Self {
        Self::File(e)
    }
}

impl From<IntakeError> for Broken {
    fn from(e: IntakeError) -> Self {
        Self::Intake(e)
    }
}

fn decoded(file: File) -> io::Result<Box<dyn Read>> {
    let mut raw = BufReader::with_capacity(CHUNK, file);
    let gzip = raw.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if gzip { Box::new(flate2::bufread::MultiGzDecoder::new(raw)) } else { Box::new(raw) })
}
