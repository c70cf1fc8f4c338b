//! Follows a file as `tail -F` does, and better: it finishes a rotated file before it forgets it, finds rotated files
//! again after a restart, and notices truncation and rewriting.
//!
//! Only complete lines are records. A partial last line waits for its newline, or for the file to be rotated away and
//! quiet. The checkpoint holds a place in each file still being read and is stored with the alerts it speaks of.
//!
//! What this cannot see: bytes that were written and truncated away between two looks (unless `copytruncate` left a
//! copy beside it), and a rotated file that was compressed or moved to another folder while nobody was following.

mod place;
mod tracked;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use self::place::Head;
use self::place::{FileId, Sibling, looks_rotated, siblings, written};
use self::tracked::{Mark, Step, Tracked};
use super::file::plain;
use super::{Link, LinkState, Pace};
use crate::intake::pipeline::{Batch, IntakeError, Maker, Pipeline};
use crate::model::Timestamp;
use crate::text::Untrusted;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long a rotated file must be quiet before it is left: writers keep it open until they are told.
const LINGER: Duration = Duration::from_secs(10);

/// Follows one file.
pub struct Follow {
    name: String,
    path: PathBuf,
    format: Option<String>,
    pipeline: Pipeline,
}

/// The checkpoint: oldest file first, the one at the path last.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    files: Vec<Mark>,
    /// Whether the last one is the file at the path (or was, before it went away).
    current: bool,
}

struct State<'a> {
    follow: &'a Follow,
    maker: Maker,
    source: Untrusted,
    /// Rotated files still being read, oldest first.
    old: Vec<Tracked>,
    current: Option<Tracked>,
    /// Since when there is nothing at the path.
    missing: Option<Instant>,
    saved: String,
    /// Bytes of rotated files that could not be found again.
    lost: Option<String>,
    accepted: u64,
    dead: u64,
}

impl Follow {
    pub fn new(name: &str, path: PathBuf, format: Option<String>, pipeline: Pipeline) -> Self {
        Self { name: name.to_owned(), path, format, pipeline }
    }

    /// Blocking: follows until `stop` turns true or its sender is gone. Faults are reported and tried again.
    pub fn run(self, stop: watch::Receiver<bool>, report: impl Fn(Link)) {
        let mut pace = Pace::new(stop);
        let mut accepted = 0;
        let mut last_good = None;
        let link = |state, detail: String, last_good, next_try, accepted| Link {
            name: self.name.clone(),
            kind: "follow",
            state,
            detail: detail.into(),
            last_good,
            next_try,
            accepted,
        };
        report(link(LinkState::Starting, format!("opening {}", self.path.display()), None, None, 0));
        while !pace.stopped() {
            let fault = match State::load(&self) {
                Ok(mut state) => {
                    state.accepted = accepted;
                    let mut told = String::new();
                    let fault = loop {
                        match state.look() {
                            Ok(()) => {
                                pace.good();
                                last_good = Some(Timestamp::now());
                                let words = format!("{}{}", state.words(), state.accepted);
                                if words != told {
                                    report(link(state.state(), state.words(), last_good, None, state.accepted));
                                    told = words;
                                }
                            }
                            Err(fault) => break Some(fault),
                        }
                        if pace.wait(LOOK) {
                            break None;
                        }
                    };
                    accepted = state.accepted;
                    fault
                }
                Err(fault) => Some(fault),
            };
            let Some(fault) = fault else { break };
            let (wait, next) = pace.backoff();
            tracing::warn!(source = %self.name, fault = ?fault.to_string(), "follow interrupted");
            report(link(LinkState::Retrying, fault.to_string(), last_good, next, accepted));
            pace.wait(wait);
        }
        report(link(LinkState::Stopped, "stopped".into(), last_good, None, accepted));
    }

    fn checkpoint(&self) -> String {
        format!("follow:{}", self.name)
    }
}

impl<'a> State<'a> {
    /// Finds the files of the checkpoint again.
    fn load(follow: &'a Follow) -> Result<Self, IntakeError> {
        let saved = follow.pipeline.store().checkpoint(&follow.checkpoint())?.unwrap_or_default();
        let mut marks: Saved = serde_json::from_str(&saved).unwrap_or_default();
        let mut state = Self {
            follow,
            maker: follow.pipeline.maker(follow.format.as_deref())?,
            source: format!("file:{}", follow.path.display()).into(),
            old: Vec::new(),
            current: None,
            missing: None,
            saved,
            lost: None,
            accepted: 0,
            dead: 0,
        };
        let last = if marks.current { marks.files.pop() } else { None };
        for mark in &marks.files {
            state.find_rotated(mark);
        }
        if let Some(mark) = last {
            match open(&follow.path).map_err(|e| state.io(&e))? {
                Some(file) if is_at(&file, &mark, true) => {
                    state.current = Some(Tracked::open(file, Some(&mark)).map_err(|e| state.io(&e))?);
                }
                _ => {
                    state.find_rotated(&mark);
                    state.take_between(mark.id);
                }
            }
        }
        Ok(state)
    }

    /// A file that was being read and is not at the path any more: renamed, or copied and truncated.
    fn find_rotated(&mut self, mark: &Mark) {
        let beside = siblings(&self.follow.path);
        let by_id = beside.iter().find(|s| s.id == mark.id);
        // A copy has the same beginning. Without a beginning there is nothing to find it by, and nothing to lose.
        let by_head = || beside.iter().find(|s| !mark.head.is_empty() && holds(s, mark));
        match by_id.filter(|s| holds(s, mark)).or_else(by_head).and_then(|s| File::open(&s.path).ok()) {
            Some(file) => {
                if let Ok(tracked) = Tracked::open(file, Some(mark)) {
                    self.old.push(tracked);
                }
            }
            None => {
                self.lost = Some(format!(
                    "a rotated file is gone: read up to byte {}, what came after is unknown",
                    mark.offset
                ));
            }
        }
    }

    /// Files that came and were rotated away after the one with this id and before the one at the path.
    fn take_between(&mut self, after: FileId) {
        let known: Vec<FileId> = self.old.iter().chain(&self.current).map(|t| t.id).collect();
        let heads: Vec<Head> = self.old.iter().map(|t| t.mark().head).filter(|h| !h.is_empty()).collect();
        let last_written = self.old.iter().find(|t| t.id == after).and_then(Tracked::written);
        for s in siblings(&self.follow.path) {
            let later = match (s.id.born, after.born) {
                (Some(s), Some(after)) => s > after,
                // Not every file system keeps times of birth.
                _ => last_written.is_some_and(|old| written(&s.meta) > old),
            };
            if !later || known.contains(&s.id) || s.id == after || !looks_rotated(&self.follow.path, &s.path) {
                continue;
            }
            if let Ok(file) = File::open(&s.path)
                && !heads.iter().any(|h| h.matches(&file))
                && let Ok(tracked) = Tracked::open(file, None)
            {
                self.old.push(tracked);
            }
        }
    }

    /// One look: rotation, then everything there is to read, oldest file first.
    fn look(&mut self) -> Result<(), IntakeError> {
        // What is at the path is looked up first: if it is rotated while we read, the next look sees it.
        let at_path = id_at(&self.follow.path).map_err(|e| self.io(&e))?;
        self.missing = if at_path.is_some() { None } else { self.missing.or_else(|| Some(Instant::now())) };
        if at_path.is_some_and(|id| self.current.as_ref().is_none_or(|c| c.id != id))
            && let Some(file) = open(&self.follow.path).map_err(|e| self.io(&e))?
        {
            self.rotate(file)?;
        }
        let mut i = 0;
        while i < self.old.len() {
            self.drain(Some(i))?;
            if self.old[i].quiet_for() >= LINGER {
                self.leave(i)?;
            } else {
                i += 1;
            }
        }
        if self.current.is_some() {
            self.drain(None)?;
        }
        self.save()
    }

    fn rotate(&mut self, file: File) -> Result<(), IntakeError> {
        if let Some(previous) = self.current.take() {
            let id = previous.id;
            self.old.push(previous);
            self.current = Some(Tracked::open(file, None).map_err(|e| self.io(&e))?);
            self.take_between(id);
        } else {
            self.current = Some(Tracked::open(file, None).map_err(|e| self.io(&e))?);
        }
        Ok(())
    }

    /// Reads a file to its end, batch by batch. `which`: an index of `old`, or the current one.
    fn drain(&mut self, which: Option<usize>) -> Result<(), IntakeError> {
        self.maker.refresh()?;
        let mut batch = Batch::default();
        loop {
            let Self { old, current, maker, source, .. } = self;
            let Some(tracked) = which.map_or(current.as_mut(), |i| old.get_mut(i)) else { return Ok(()) };
            let step = tracked.step(&mut |record| maker.make(record, source, None, &mut batch));
            let step = step.map_err(|e| self.io(&e))?;
            if batch.is_full() || step != Step::More {
                self.ingest(&mut batch)?;
            }
            match step {
                Step::More => {}
                Step::Quiet => return Ok(()),
                Step::Rewritten => return self.rewritten(which),
            }
        }
    }

    /// The file was truncated or written anew in place.
    fn rewritten(&mut self, which: Option<usize>) -> Result<(), IntakeError> {
        let Some(tracked) = which.map_or(self.current.as_mut(), |i| self.old.get_mut(i)) else { return Ok(()) };
        let mark = tracked.mark();
        let path = self.follow.path.clone();
        // `copytruncate` left the rest, and our partial line, in a copy.
        let copy = siblings(&path).into_iter().rev().find(|s| !mark.head.is_empty() && holds(s, &mark));
        let mut batch = Batch::default();
        if let Some(file) = copy.and_then(|s| File::open(s.path).ok()) {
            tracked.drop_partial();
            self.old.push(Tracked::open(file, Some(&mark)).map_err(|e| self.io(&e))?);
        } else {
            let Self { old, current, maker, source, .. } = self;
            if let Some(tracked) = which.map_or(current.as_mut(), |i| old.get_mut(i)) {
                tracked.finish(&mut |record| maker.make(record, source, None, &mut batch));
            }
        }
        match which {
            Some(i) => drop(self.old.remove(i)),
            None => {
                self.current = match open(&path).map_err(|e| self.io(&e))? {
                    Some(file) => Some(Tracked::open(file, None).map_err(|e| self.io(&e))?),
                    None => None,
                };
            }
        }
        self.ingest(&mut batch)
    }

    /// A rotated file has been quiet for long: its last line is whole, newline or not.
    fn leave(&mut self, i: usize) -> Result<(), IntakeError> {
        let mut batch = Batch::default();
        let mut tracked = self.old.remove(i);
        let Self { maker, source, .. } = self;
        tracked.finish(&mut |record| maker.make(record, source, None, &mut batch));
        self.ingest(&mut batch)
    }

    /// Stores a batch with the places reached.
    fn ingest(&mut self, batch: &mut Batch) -> Result<(), IntakeError> {
        if batch.is_empty() {
            return Ok(());
        }
        let text = self.marks();
        let summary = self.follow.pipeline.ingest(batch, Some((&self.follow.checkpoint(), &text)))?;
        self.saved = text;
        self.accepted += summary.accepted;
        self.dead += summary.dead;
        *batch = Batch::default();
        Ok(())
    }

    /// Stores the places alone, when they changed without a record (blank lines, a file left or found).
    fn save(&mut self) -> Result<(), IntakeError> {
        let text = self.marks();
        if text != self.saved {
            self.follow.pipeline.store().set_checkpoint(&self.follow.checkpoint(), &text)?;
            self.saved = text;
        }
        Ok(())
    }

    fn marks(&self) -> String {
        let files = self.old.iter().chain(&self.current).map(Tracked::mark).collect();
        serde_json::to_string(&Saved { files, current: self.current.is_some() }).unwrap_or_default()
    }

    /// Nothing can arrive from a file that is not there; between two files of a rotation that is no news.
    fn gone(&self) -> bool {
        self.current.is_none() || self.missing.is_some_and(|since| since.elapsed() >= LINGER)
    }

    fn state(&self) -> LinkState {
        if self.gone() { LinkState::Retrying } else { LinkState::Live }
    }

    fn words(&self) -> String {
        let path = self.follow.path.display();
        let mut words = match &self.current {
            None => format!("waiting for {path}, which is not there yet"),
            Some(_) if self.gone() => format!("{path} is gone, waiting for a new one"),
            Some(_) => format!("following {path}"),
        };
        if !self.old.is_empty() {
            words += &format!("; finishing {} rotated", self.old.len());
        }
        if self.dead > 0 {
            words += &format!("; {} in the dead letter", self.dead);
        }
        if let Some(lost) = &self.lost {
            words += &format!("; {lost}");
        }
        words
    }

    fn io(&self, e: &io::Error) -> IntakeError {
        IntakeError::Usage(format!("{}: {}", self.follow.path.display(), plain(e)))
    }
}

/// What is at the path now. A pipe or a device would hold us up for ever, so only files will do.
fn id_at(path: &Path) -> io::Result<Option<FileId>> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => Ok(Some(FileId::of(&meta))),
        Ok(_) => Err(io::Error::other("not a regular file; use `import -` to read a pipe")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    if id_at(path)?.is_none() {
        return Ok(None);
    }
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether this is the file of the mark, as far as it was read.
fn is_at(file: &File, mark: &Mark, same_id: bool) -> bool {
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && (!same_id || FileId::of(&meta) == mark.id) && meta.len() >= mark.offset)
        && mark.head.matches(file)
}

fn holds(s: &Sibling, mark: &Mark) -> bool {
    s.meta.len() >= mark.offset && File::open(&s.path).is_ok_and(|file| is_at(&file, mark, false))
}
