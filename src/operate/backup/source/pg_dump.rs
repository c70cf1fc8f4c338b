//! Files that `pg_dump` and `pg_dumpall` wrote, in one folder. Known by their first bytes, not by their names: custom
//! format begins with `PGDMP`, a version and a table of contents; a plain dump ends in `PostgreSQL database dump
//! complete` (or `cluster dump complete`), and one that does not was cut off.
//!
//! What the files cannot tell stays unknown: a custom dump has no end marker, so it stays a claim.

use std::fs::File;
use std::io::Read as _;
use std::io::Seek as _;
use std::io::SeekFrom;
use std::path::Path;

use jiff::Timestamp;

use super::BACKUPS_MAX;
use super::Read;
use super::blank;
use super::state_of;
use crate::model::backup::Backup;
use crate::model::backup::BackupPhase;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::operate::backup::config::FileSource;
use crate::operate::backup::config::Source;
use crate::text::Untrusted;

const HEAD: u64 = 16 * 1024;
const TAIL: u64 = 4 * 1024;
/// Bytes a compressed dump may unpack to while its end is sought.
const UNPACKED_MAX: u64 = 4 * 1024 * 1024 * 1024;
const ENDS: [&str; 2] = ["-- PostgreSQL database dump complete", "-- PostgreSQL database cluster dump complete"];

/// What the bytes of one file say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub format: &'static str,
    /// `Some(false)`: cut off.
    pub whole: Option<bool>,
    /// Items of a custom dump's table of contents, by its own count.
    pub entries: Option<u64>,
    pub database: Option<String>,
    /// In words.
    pub why: String,
}

/// Reads every plain file of the folder that is a dump; others are passed over.
pub fn read(source: &Source, files: &FileSource, now: Timestamp) -> Read {
    let folder = match std::fs::read_dir(&files.path) {
        Ok(folder) => folder,
        Err(e) => {
            let word = match e.kind() {
                std::io::ErrorKind::NotFound => SourceWord::Absent,
                std::io::ErrorKind::PermissionDenied => SourceWord::Forbidden,
                _ => SourceWord::Lost,
            };
            return Read::none(source, word, format!("{}: {e}", files.path.display()));
        }
    };
    let mut backups = Vec::new();
    for entry in folder {
        let Ok(entry) = entry else { return Read::none(source, SourceWord::Lost, "the folder could not be listed") };
        if !entry.file_type().is_ok_and(|t| t.is_file()) {
            continue;
        }
        if backups.len() == BACKUPS_MAX {
            return Read::none(source, SourceWord::Unreadable, format!("more than {BACKUPS_MAX} dumps"));
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        match dump(&entry.path()) {
            Ok(None) => {}
            Ok(Some(found)) => backups.push(backup(&source.name, name, &found)),
            Err(e) => {
                let mut b = blank(&source.name, "pg_dump", name);
                b.said = Untrusted::new(format!("cannot be read: {e}"));
                backups.push(b);
            }
        }
    }
    let detail = format!("{} dumps in the folder", backups.len());
    Read { backups, schedules: Vec::new(), state: state_of(source, SourceWord::Live, detail, Some(now)) }
}

/// One file of a folder.
pub struct Found {
    pub told: Told,
    pub bytes: u64,
    /// When it came to be, and when it was last written to.
    pub begun: Option<Timestamp>,
    pub written: Option<Timestamp>,
}

fn dump(path: &Path) -> std::io::Result<Option<Found>> {
    let mut file = File::open(path)?;
    let meta = file.metadata()?;
    let mut head = Vec::new();
    (&mut file).take(HEAD).read_to_end(&mut head)?;
    let told = if head.starts_with(&[0x1f, 0x8b]) {
        file.seek(SeekFrom::Start(0))?;
        gzip(flate2::read::MultiGzDecoder::new(std::io::BufReader::new(file)))
    } else {
        file.seek(SeekFrom::Start(meta.len().saturating_sub(TAIL)))?;
        let mut tail = Vec::new();
        file.take(TAIL).read_to_end(&mut tail)?;
        let dump_by_name = path.extension().is_some_and(|e| e == "sql" || e == "dump");
        match (head.is_empty(), dump_by_name) {
            (true, true) => {
                Some(Told { format: "empty file", whole: Some(false), why: "zero bytes".into(), ..Told::default() })
            }
            _ => of_bytes(&head, &tail),
        }
    };
    let time = |t: std::io::Result<std::time::SystemTime>| t.ok().and_then(|t| Timestamp::try_from(t).ok());
    let written = time(meta.modified());
    // When the file came to be, where the file system tells; a copy came to be after it was written.
    let begun = time(meta.created()).into_iter().chain(written).min();
    Ok(told.map(|told| Found { told, bytes: meta.len(), begun, written }))
}

/// What the first and the last bytes of a file say; `None`: it is no dump.
pub fn of_bytes(head: &[u8], tail: &[u8]) -> Option<Told> {
    if head.starts_with(b"PGDMP") {
        return Some(custom(head));
    }
    let text = String::from_utf8_lossy(head);
    let begins = text
        .lines()
        .take(40)
        .any(|l| l.starts_with("-- PostgreSQL database dump") || l.starts_with("-- PostgreSQL database cluster dump"));
    if !begins {
        return None;
    }
    let whole = ends(tail);
    let database =
        text.lines().find_map(|l| l.strip_prefix("\\connect ")).map(|d| d.trim().trim_matches('"').to_owned());
    let why = if whole { "its end marker is there" } else { "its end marker is missing: cut off" };
    Some(Told { format: "plain", whole: Some(whole), entries: None, database, why: why.into() })
}

/// Whether the last lines hold the marker, with nothing but comments, blank lines and psql's `\unrestrict` behind it.
fn ends(tail: &[u8]) -> bool {
    let text = String::from_utf8_lossy(tail);
    text.lines()
        .rev()
        .find(|l| !(l.trim().is_empty() || l.trim() == "--" || l.starts_with("\\unrestrict")))
        .is_some_and(|l| ENDS.contains(&l.trim_end()))
}

/// Unpacks to the end, keeping only the first and the last bytes.
fn gzip(mut unpack: impl std::io::Read) -> Option<Told> {
    let (mut head, mut tail, mut seen) = (Vec::new(), Vec::new(), 0_u64);
    let mut buffer = vec![0; 64 * 1024];
    let broken = loop {
        match unpack.read(&mut buffer) {
            Ok(0) => break None,
            Ok(n) => {
                let bytes = &buffer[..n];
                let room = (HEAD as usize).saturating_sub(head.len());
                head.extend_from_slice(&bytes[..n.min(room)]);
                tail.extend_from_slice(bytes);
                tail.drain(..tail.len().saturating_sub(TAIL as usize));
                seen += n as u64;
            }
            Err(e) => break Some(format!("cannot be unpacked after {seen} bytes: {e}")),
        }
        if of_bytes(&head, &[]).is_none() && head.len() == HEAD as usize {
            return None;
        }
        if seen > UNPACKED_MAX {
            return of_bytes(&head, &[]).map(|t| Told {
                whole: None,
                why: "too large to look for its end".into(),
                ..t
            });
        }
    };
    let told = of_bytes(&head, &tail)?;
    Some(match broken {
        Some(why) => Told { whole: Some(false), why, ..told },
        None => told,
    })
}

/// Custom format: `PGDMP`, three bytes of version, sizes of integer and offset, format, compression, the time it was
/// begun, database, server and tool versions, then the count of the table of contents
/// (`ReadHead` and `ReadToc` of PostgreSQL's `pg_backup_archiver.c`).
fn custom(head: &[u8]) -> Told {
    let mut told = Told { format: "custom", why: "a custom dump has no end marker".into(), ..Told::default() };
    let mut r = Reader { bytes: head, at: 5, int: 4 };
    match r.head() {
        Some((database, entries)) => {
            told.database = Some(database).filter(|d| !d.is_empty());
            told.entries = Some(entries);
        }
        None => {
            told.whole = Some(false);
            told.why = "its header is cut off or of an unknown version".into();
        }
    }
    told
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    int: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let b = self.bytes.get(self.at).copied();
        self.at += 1;
        b
    }

    /// A sign byte, then `int` bytes, lowest first.
    fn int(&mut self) -> Option<i64> {
        let negative = self.byte()? != 0;
        let mut value = 0_i64;
        for i in 0..self.int {
            value |= i64::from(self.byte()?).checked_shl(u32::try_from(i * 8).ok()?)?;
        }
        Some(if negative { -value } else { value })
    }

    fn text(&mut self) -> Option<String> {
        let len = self.int()?;
        if len < 0 {
            return Some(String::new());
        }
        let end = self.at.checked_add(usize::try_from(len).ok()?)?;
        let text = String::from_utf8_lossy(self.bytes.get(self.at..end)?).into_owned();
        self.at = end;
        Some(text)
    }

    fn head(&mut self) -> Option<(String, u64)> {
        let (major, minor, _revision) = (self.byte()?, self.byte()?, self.byte()?);
        if major != 1 || !(8..=16).contains(&minor) {
            return None;
        }
        self.int = usize::from(self.byte()?);
        let _offset = self.byte()?;
        if !(1..=8).contains(&self.int) {
            return None;
        }
        let _format = self.byte()?;
        // From 1.15 on one byte names the algorithm; before, a number gave the level.
        if minor >= 15 {
            self.byte()?;
        } else {
            self.int()?;
        }
        for _ in 0..7 {
            self.int()?; // seconds, minutes, hours, day, month, year, summer time
        }
        let database = self.text()?;
        if minor >= 10 {
            self.text()?; // server version
            self.text()?; // pg_dump version
        }
        let entries = u64::try_from(self.int()?).ok()?;
        Some((database, entries))
    }
}

/// A dump shows the state of its beginning: that of its file, where the file system keeps it.
pub fn backup(source: &str, name: String, found: &Found) -> Backup {
    let Found { told, bytes, begun, written } = found;
    let mut b = blank(source, "pg_dump", name);
    b.phase = if told.whole == Some(false) { BackupPhase::Partial } else { BackupPhase::Completed };
    b.start = *begun;
    // A file that is still being written has no marker; a custom dump's end cannot be seen at all.
    b.end = written.filter(|_| told.whole == Some(true));
    b.bytes = Some(*bytes);
    b.items = told.entries.filter(|n| *n == 0).map(|n| (n, n));
    b.covers = told.database.iter().map(Untrusted::new).collect();
    b.location = Some(source.to_owned());
    b.location_reachable = Tri::Pass;
    b.said = Untrusted::new(format!("{}: {}", told.format, told.why));
    b
}
