//! Records become alerts or dead letters, and both become durable, batch by batch.
//!
//! Nothing here drops a record: what a parser cannot read is a dead letter with its bytes, and a batch is either in the
//! store whole, together with the source's checkpoint, or not at all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::format::{Reader, Record};
use crate::model::alert::{AlertFields, DeadLetter, NewAlert, NewDeadLetter, Origin};
use crate::model::ids::{DeadLetterId, SuppressionId};
use crate::model::keys::KeyPolicy;
use crate::model::query::{MatchInput, Query};
use crate::store::{Ingested, Store, StoreError};
use crate::text::Untrusted;

/// Records in a batch at most.
pub const BATCH_RECORDS: usize = 2000;
/// Raw bytes in a batch, after which it is closed.
pub const BATCH_BYTES: usize = 8 << 20;
/// How long a batch that is not full waits for more.
pub const BATCH_WAIT: Duration = Duration::from_millis(200);
/// How long a store that other processes keep busy is asked again before intake gives up.
const BUSY_PATIENCE: Duration = Duration::from_secs(60);
/// How old the compiled suppressions may be.
const SUPPRESSIONS_FRESH: Duration = Duration::from_secs(1);

/// Asset weight of a host in percent.
pub type AssetWeight = Arc<dyn Fn(&str) -> u16 + Send + Sync>;

/// Why intake could not go on.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// What was asked for cannot be: an unknown format, a path that is not there.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of everything read. `accepted + duplicates + dead == read`: a record that holds several alerts counts
/// each of them, one that cannot be read counts once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub read: u64,
    /// New alerts.
    pub accepted: u64,
    /// Alerts the store already had.
    pub duplicates: u64,
    /// Records in the dead letter.
    pub dead: u64,
    /// Alerts read, new or not, by format id.
    pub by_format: BTreeMap<String, u64>,
    /// Files that could not be opened or read to their end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedInput>,
}

/// An input that could not be opened or read to its end; what was read before stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedInput {
    pub input: Untrusted,
    pub reason: String,
}

impl Summary {
    pub fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.dead += other.dead;
        for (format, n) in &other.by_format {
            *self.by_format.entry(format.clone()).or_default() += n;
        }
        self.failed.extend(other.failed.iter().cloned());
    }
}

/// Alerts and dead letters on their way into the store.
#[derive(Debug, Default)]
pub struct Batch {
    pub alerts: Vec<NewAlert>,
    pub dead: Vec<NewDeadLetter>,
    /// Raw bytes held.
    pub bytes: usize,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.alerts.is_empty() && self.dead.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.alerts.len() + self.dead.len() >= BATCH_RECORDS || self.bytes >= BATCH_BYTES
    }
}

/// What every source shares. Cheap to clone.
#[derive(Clone)]
pub struct Pipeline {
    store: Arc<dyn Store>,
    keys: KeyPolicy,
    asset_weight: AssetWeight,
    generic: Arc<BTreeMap<String, BTreeMap<String, String>>>,
    suppressions: Arc<Mutex<Suppressions>>,
}

impl Pipeline {
    /// `generic` are the field maps of the generic JSON format, by name.
    pub fn new(
        store: Arc<dyn Store>,
        keys: KeyPolicy,
        asset_weight: AssetWeight,
        generic: BTreeMap<String, BTreeMap<String, String>>,
    ) -> Self {
        Self { store, keys, asset_weight, generic: Arc::new(generic), suppressions: Arc::default() }
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Makes alerts of records; `format` as in `--format`, `None` or `auto` detects it record by record.
    pub fn maker(&self, format: Option<&str>) -> Result<Maker, IntakeError> {
        let format = format.filter(|f| *f != "auto");
        let reader = Reader::new(format, &self.generic).map_err(IntakeError::Usage)?;
        Ok(Maker { pipeline: self.clone(), reader, format: format.map(str::to_owned), active: Arc::default() })
    }

    /// Stores a batch and the source's checkpoint in one transaction. Waits while other processes hold the store.
    pub fn ingest(&self, batch: &Batch, checkpoint: Option<(&str, &str)>) -> Result<Summary, StoreError> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(20);
        let answers = loop {
            match self.store.ingest(&batch.alerts, &batch.dead, checkpoint, Timestamp::now()) {
                Err(StoreError::Busy(_)) if started.elapsed() < BUSY_PATIENCE => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
                other => break other?,
            }
        };
        let mut s = Summary { dead: batch.dead.len() as u64, ..Summary::default() };
        for (alert, answer) in batch.alerts.iter().zip(&answers) {
            match answer {
                Ingested::New(_) => s.accepted += 1,
                Ingested::Repeat(_) => s.duplicates += 1,
            }
            match s.by_format.get_mut(&alert.format) {
                Some(n) => *n += 1,
                None => {
                    s.by_format.insert(alert.format.clone(), 1);
                }
            }
        }
        s.read = s.accepted + s.duplicates + s.dead;
        Ok(s)
    }

    /// Reads a dead letter again, with a format of one's choice, and drops it once its alerts are in the store. A
    /// crash between the two leaves both, never neither.
    pub fn retry_dead_letter(&self, id: DeadLetterId, format: Option<&str>) -> Result<Retried, IntakeError> {
        let mut maker = self.maker(format)?;
        self.retry_one(&mut maker, id)
    }

    /// Reads every dead letter again, oldest first. `progress` hears each.
    pub fn retry_dead_letters(
        &self,
        format: Option<&str>,
        mut progress: impl FnMut(DeadLetterId, &Retried),
    ) -> Result<RetrySummary, IntakeError> {
        let mut maker = self.maker(format)?;
        let mut out = RetrySummary::default();
        let mut ids: Vec<DeadLetterId> = self.store.dead_letters(usize::MAX)?.iter().map(|d| d.id).collect();
        ids.sort_unstable();
        for id in ids {
            let retried = match self.retry_one(&mut maker, id) {
                // Somebody else retried or dropped it meanwhile.
                Err(IntakeError::Store(StoreError::NotFound(_))) => continue,
                other => other?,
            };
            out.tried += 1;
            match &retried {
                Retried::Read(s) => {
                    out.read += 1;
                    out.accepted += s.accepted;
                    out.duplicates += s.duplicates;
                }
                Retried::Unreadable(_) => out.still_dead += 1,
            }
            progress(id, &retried);
        }
        Ok(out)
    }

    fn retry_one(&self, maker: &mut Maker, id: DeadLetterId) -> Result<Retried, IntakeError> {
        let (letter, raw) =
            self.store.dead_letter(id)?.ok_or_else(|| StoreError::NotFound(format!("dead letter {id}")))?;
        let DeadLetter { source, offset, line, .. } = letter;
        let mut batch = Batch::default();
        maker.make(Record { offset, line, bytes: raw, error: None }, &source, None, &mut batch);
        if let Some(still) = batch.dead.pop() {
            self.store.dead_letter_failed_again(id, &still.reason)?;
            return Ok(Retried::Unreadable(still.reason));
        }
        let summary = self.ingest(&batch, None)?;
        self.store.drop_dead_letter(id)?;
        Ok(Retried::Read(summary))
    }

    /// The suppressions in force, at most a second old.
    fn active_suppressions(&self) -> Result<Arc<Vec<Active>>, StoreError> {
        let mut s = self.suppressions.lock().unwrap_or_else(PoisonError::into_inner);
        if s.read_at.is_none_or(|at| at.elapsed() >= SUPPRESSIONS_FRESH) {
            s.active = Arc::new(compile(&self.store.suppressions()?));
            s.read_at = Some(Instant::now());
        }
        Ok(Arc::clone(&s.active))
    }
}

/// What became of one dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Retried {
    Read(Summary),
    /// Still not: why.
    Unreadable(Untrusted),
}

/// What became of all dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RetrySummary {
    pub tried: u64,
    /// Letters that could be read and are gone.
    pub read: u64,
    pub still_dead: u64,
    pub accepted: u64,
    pub duplicates: u64,
}

#[derive(Default)]
struct Suppressions {
    read_at: Option<Instant>,
    active: Arc<Vec<Active>>,
}

/// A suppression whose query reads, compiled.
struct Active {
    id: SuppressionId,
    query: Query,
    expires: Timestamp,
}

/// A suppression whose query cannot be read hides nothing: unknown is never quiet.
fn compile(all: &[crate::model::case::Suppression]) -> Vec<Active> {
    let now = Timestamp::now();
    all.iter()
        .filter(|s| s.expires > now)
        .filter_map(|s| match crate::model::query::parse(&s.query, Some(&s.owner)) {
            Ok(query) => Some(Active { id: s.id, query, expires: s.expires }),
            Err(e) => {
                tracing::warn!(suppression = s.id.0, error = %e, "suppression cannot be read, it hides nothing");
                None
            }
        })
        .collect()
}

/// Turns records into alerts or dead letters. One per thread.
pub struct Maker {
    pipeline: Pipeline,
    reader: Reader,
    format: Option<String>,
    active: Arc<Vec<Active>>,
}

impl Maker {
    /// Looks the suppressions up again, if they may have changed. Called once per batch.
    pub fn refresh(&mut self) -> Result<(), StoreError> {
        self.active = self.pipeline.active_suppressions()?;
        Ok(())
    }

    /// Puts what the record holds into the batch: one or more alerts, or one dead letter.
    pub fn make(&mut self, record: Record, source: &Untrusted, origin: Option<Origin>, batch: &mut Batch) {
        batch.bytes += record.bytes.len();
        if let Some(why) = &record.error {
            let reason = why.as_str().into();
            batch.dead.push(dead(record, source, self.format.clone(), reason));
            return;
        }
        match self.reader.read(&record.bytes) {
            Ok((format, alerts)) if !alerts.is_empty() => self.alerts(record, &format, alerts, source, origin, batch),
            Ok((format, _)) => {
                let reason = format!("{format}: the record holds no alert").into();
                batch.dead.push(dead(record, source, Some(format), reason));
            }
            Err(e) => {
                let format = self.format.clone().or_else(|| (!e.format.is_empty()).then(|| e.format.to_owned()));
                batch.dead.push(dead(record, source, format, e.message));
            }
        }
    }

    fn alerts(
        &self,
        record: Record,
        format: &str,
        alerts: Vec<AlertFields>,
        source: &Untrusted,
        origin: Option<Origin>,
        batch: &mut Batch,
    ) {
        let raw_sha256: [u8; 32] = Sha256::digest(&record.bytes).into();
        let last = alerts.len() - 1;
        let mut raw = record.bytes;
        for (i, mut fields) in alerts.into_iter().enumerate() {
            if let Some(o) = &origin {
                let id = format!("{}/{}", o.index, o.doc_id);
                fields.source_id = Some(if last == 0 { id } else { format!("{id}#{i}") }.into());
            }
            // Several alerts of one record without ids of their own are still several alerts.
            let digest = if last == 0 { raw_sha256 } else { numbered(&raw_sha256, i) };
            let asset_weight = fields.host.as_ref().map_or(100, |h| (self.pipeline.asset_weight)(h.expose()));
            let mut alert = NewAlert {
                identity: self.pipeline.keys.identity(format, &fields, &digest),
                group: self.pipeline.keys.group(format, &fields, &digest),
                fields,
                format: format.to_owned(),
                source: source.clone(),
                raw: if i == last { std::mem::take(&mut raw) } else { raw.clone() },
                raw_sha256,
                suppressed_by: None,
                asset_weight,
                // One document cannot carry the status of several alerts.
                origin: if last == 0 { origin.clone() } else { None },
            };
            alert.suppressed_by = self.suppressed(&alert);
            batch.alerts.push(alert);
        }
    }

    fn suppressed(&self, alert: &NewAlert) -> Option<SuppressionId> {
        if self.active.is_empty() {
            return None;
        }
        let now = Timestamp::now();
        let input = MatchInput::of(alert, now);
        self.active.iter().find(|s| s.expires > now && s.query.matches(&input)).map(|s| s.id)
    }
}

fn numbered(digest: &[u8; 32], i: usize) -> [u8; 32] {
    let mut h = Sha256::new();
    h.update(digest);
    h.update((i as u64).to_be_bytes());
    h.finalize().into()
}

fn dead(record: Record, source: &Untrusted, format: Option<String>, reason: Untrusted) -> NewDeadLetter {
    NewDeadLetter {
        source: source.clone(),
        format,
        offset: record.offset,
        line: record.line,
        reason,
        raw: record.bytes,
    }
}
