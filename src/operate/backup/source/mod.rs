//! What makers of backups say. A reader of files is a pure function of their bytes; nothing is started.

pub mod opensearch;
pub mod pg_dump;
pub mod pgbackrest;
pub mod report;
pub mod restic;
pub mod velero;

use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use super::config::FileKind;
use super::config::Source;
use super::config::SourceConfig;
use crate::model::backup::Backup;
use crate::model::health::SourceState;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::text::Untrusted;

/// Bytes of one JSON file that are read.
pub const FILE_MAX: u64 = 64 * 1024 * 1024;
/// Backups of one source that are looked at.
pub const BACKUPS_MAX: usize = 10_000;

/// One reading of one source.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// In any order; `id` unique.
    pub backups: Vec<Backup>,
    /// Schedules and policies the source itself runs, if it knows of any.
    pub schedules: Vec<Schedule>,
    /// Only a [`SourceWord::Live`] reading is complete: what it lacks is gone.
    pub state: SourceState,
}

/// A schedule or policy as its source tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// As in [`Backup::schedule`].
    pub name: Untrusted,
    /// Such as `0 2 * * *` or `@every 1h`.
    pub expression: Untrusted,
    /// IANA name; `None`: UTC.
    pub zone: Option<String>,
    /// It takes nothing while this lasts.
    pub paused: bool,
    pub last_run: Option<Timestamp>,
    /// How long what it takes is kept, in seconds.
    pub keeps_seconds: Option<u64>,
    /// Its last run failed, or its maker refuses it.
    #[serde(default)]
    pub failing: bool,
    /// What the source says of it, such as a validation error.
    pub said: Untrusted,
}

impl Read {
    /// Nothing was learnt.
    pub fn none(source: &Source, state: SourceWord, detail: impl Into<String>) -> Self {
        Self { backups: Vec::new(), schedules: Vec::new(), state: state_of(source, state, detail, None) }
    }
}

pub(super) fn state_of(
    source: &Source,
    state: SourceWord,
    detail: impl Into<String>,
    last_good: Option<Timestamp>,
) -> SourceState {
    SourceState {
        name: source.name.clone(),
        kind: source.config.kind().into(),
        state,
        detail: Untrusted::new(detail),
        last_good,
        next_try: None,
    }
}

/// Bytes of a file and when it was written.
#[derive(Clone, Debug)]
pub struct Bytes {
    pub bytes: Vec<u8>,
    pub written: Option<Timestamp>,
}

/// Reads at most [`FILE_MAX`] bytes. The error is in words.
fn read_file(path: &Path) -> Result<Bytes, (SourceWord, String)> {
    use std::io::Read as _;
    let fail = |e: &std::io::Error| {
        let word = match e.kind() {
            std::io::ErrorKind::NotFound => SourceWord::Absent,
            std::io::ErrorKind::PermissionDenied => SourceWord::Forbidden,
            _ => SourceWord::Lost,
        };
        (word, format!("{}: {e}", path.display()))
    };
    let file = std::fs::File::open(path).map_err(|e| fail(&e))?;
    let meta = file.metadata().map_err(|e| fail(&e))?;
    if !meta.is_file() {
        return Err((SourceWord::Unreadable, format!("{}: not a plain file", path.display())));
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(|e| fail(&e))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err((SourceWord::Unreadable, format!("{}: more than {FILE_MAX} bytes", path.display())));
    }
    Ok(Bytes { bytes, written: meta.modified().ok().and_then(|t| Timestamp::try_from(t).ok()) })
}

/// Reads a source that is files; `None` for those that are servers.
pub fn read_files(source: &Source, now: Timestamp) -> Option<Read> {
    let SourceConfig::Files(files) = &source.config else { return None };
    if files.kind == FileKind::PgDump {
        return Some(pg_dump::read(source, files, now));
    }
    let main = match read_file(&files.path) {
        Ok(main) => main,
        Err((word, why)) => return Some(Read::none(source, word, why)),
    };
    let (fresh, age) = freshness(main.written, files.fresh_seconds, now);
    let parsed = match files.kind {
        FileKind::Pgbackrest => pgbackrest::read(&source.name, &main.bytes),
        FileKind::Restic => {
            let check = match &files.check {
                None => Ok(None),
                Some(path) => read_file(path).map(Some),
            };
            match check {
                Err((word, why)) if word != SourceWord::Absent => return Some(Read::none(source, word, why)),
                check => restic::read(&source.name, &main.bytes, check.ok().flatten().as_ref(), now),
            }
        }
        FileKind::Report => report::read(&source.name, &main.bytes),
        FileKind::PgDump => return None,
    };
    let mut backups = match parsed {
        Ok(backups) => backups,
        Err((word, why)) => return Some(Read::none(source, word, format!("{}: {why}", files.path.display()))),
    };
    if backups.len() > BACKUPS_MAX {
        let why = format!("{}: {} backups, more than {BACKUPS_MAX}", files.path.display(), backups.len());
        return Some(Read::none(source, SourceWord::Unreadable, why));
    }
    if let Err(why) = unique(&backups) {
        return Some(Read::none(source, SourceWord::Unreadable, format!("{}: {why}", files.path.display())));
    }
    if !fresh {
        // What a file said then may not be so now.
        for b in &mut backups {
            b.location_reachable = b.location_reachable.and(Tri::Unknown);
        }
        return Some(Read {
            backups,
            schedules: Vec::new(),
            state: state_of(source, SourceWord::Lost, age, main.written),
        });
    }
    Some(Read { backups, schedules: Vec::new(), state: state_of(source, SourceWord::Live, age, main.written) })
}

/// Whether a file is new enough to speak of now, and how old it is in words.
fn freshness(written: Option<Timestamp>, fresh_seconds: u64, now: Timestamp) -> (bool, String) {
    let Some(written) = written else { return (false, "when it was written is not known".into()) };
    let age = now.as_second() - written.as_second();
    if age < -300 {
        return (false, "written in the future: the clocks differ".into());
    }
    let fresh = u64::try_from(age.max(0)).is_ok_and(|a| a <= fresh_seconds);
    let age = super::schedule::span(age.max(0) as f64);
    match fresh {
        true => (true, format!("written {age} ago")),
        false => {
            (false, format!("stale: written {age} ago, more than {}", super::schedule::span(fresh_seconds as f64)))
        }
    }
}

fn unique(backups: &[Backup]) -> Result<(), String> {
    let mut seen = std::collections::HashSet::new();
    match backups.iter().find(|b| !seen.insert(b.id.as_str())) {
        Some(twice) => Err(format!("backup {:?} is told twice", twice.id)),
        None => Ok(()),
    }
}

/// A backup of which nothing is known but its name.
pub fn blank(source: &str, kind: &str, id: impl Into<String>) -> Backup {
    Backup {
        id: id.into(),
        source: source.into(),
        kind: kind.into(),
        phase: crate::model::backup::BackupPhase::Unknown,
        said: Untrusted::default(),
        start: None,
        end: None,
        expires: None,
        bytes: None,
        items: None,
        volumes: None,
        covers: Vec::new(),
        location: None,
        location_reachable: Tri::Unknown,
        schedule: None,
        errors: 0,
        warnings: 0,
        evidence: Vec::new(),
        held: None,
        gone_since: None,
    }
}
