//! The part that reads answers, makes alerts of documents and stores them with the checkpoint. Blocking.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fault::Fault;
use super::late::{KnownDead, Taken};
use super::window::{Entry, Key, Known, Window, content_hash};
use crate::config::settings::OpensearchSettings;
use crate::intake::format::Record;
use crate::intake::pipeline::{Batch, IntakeError, Maker, Pipeline};
use crate::model::Timestamp;
use crate::model::alert::{NewDeadLetter, Origin};

/// A search answer, as far as it matters.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(default)]
    timed_out: bool,
    #[serde(borrow)]
    hits: Hits<'a>,
}

#[derive(Deserialize)]
struct Hits<'a> {
    #[serde(default)]
    total: Option<Total>,
    #[serde(borrow)]
    hits: Vec<Hit<'a>>,
}

#[derive(Deserialize)]
struct Total {
    value: u64,
}

#[derive(Deserialize)]
struct Hit<'a> {
    #[serde(rename = "_index", borrow)]
    index: Cow<'a, str>,
    #[serde(rename = "_id", borrow)]
    id: Cow<'a, str>,
    #[serde(rename = "_seq_no", default)]
    seq_no: i64,
    #[serde(rename = "_primary_term", default)]
    primary_term: i64,
    /// The bytes exactly as the server sent them.
    #[serde(rename = "_source", borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    sort: Option<&'a RawValue>,
}

impl Hit<'_> {
    /// Milliseconds; `i64::MAX` when the document has no time (missing sorts last).
    fn time(&self) -> i64 {
        let first = self.sort.and_then(|s| serde_json::from_str::<Vec<serde_json::Value>>(s.get()).ok());
        first.and_then(|s| s.first().and_then(serde_json::Value::as_i64)).unwrap_or(i64::MAX)
    }
}

/// Which of the two kinds of documents a sweep is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Timed,
    /// Documents without the time field.
    Untimed,
}

/// What a page held.
pub(super) struct Page {
    pub hits: usize,
    /// Sort values to go on after, as JSON; `None` when the page was empty.
    pub after: Option<String>,
    /// Documents not taken yet, of a page that was asked for without its documents.
    pub unknown: Vec<String>,
}

/// How many documents match, and the highest sequence number among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub total: u64,
    pub top: i64,
}

pub(super) struct Core {
    name: String,
    pipeline: Pipeline,
    maker: Maker,
    timed: Window,
    untimed: Window,
    /// What was taken, to notice documents that come late.
    pub taken: Taken,
    /// Set while documents are read again.
    known_dead: Option<KnownDead>,
    /// Since this tail started.
    pub accepted: u64,
    pub duplicates: u64,
    pub dead: u64,
}

impl Core {
    pub fn load(name: &str, settings: &OpensearchSettings, pipeline: &Pipeline) -> Result<Self, Fault> {
        let store = pipeline.store();
        let overlap = i64::try_from(settings.overlap_seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
        let timed = Window::load(store.as_ref(), format!("opensearch:{name}"), overlap, false)?;
        let untimed = Window::load(store.as_ref(), format!("opensearch:{name}:untimed"), overlap, true)?;
        let maker = pipeline.maker(settings.format.as_deref()).map_err(settings_fault)?;
        let saved = store.checkpoint(&format!("opensearch:{name}:taken"))?;
        let taken: Option<Taken> = saved.and_then(|s| serde_json::from_str(&s).ok());
        let began = timed.high().or_else(|| (settings.start == "now").then(|| Timestamp::now().as_millisecond()));
        let mut core = Self {
            name: name.to_owned(),
            pipeline: pipeline.clone(),
            maker,
            timed,
            untimed,
            taken: taken.unwrap_or_else(|| Taken::new(began)),
            known_dead: None,
            accepted: 0,
            duplicates: 0,
            dead: 0,
        };
        if core.timed.high().is_none() && settings.start == "now" {
            let pending = core.timed.checkpoint(Vec::new(), Some(Timestamp::now().as_millisecond()))?;
            core.pipeline.store().set_checkpoint(&pending.name, &pending.value)?;
            core.timed.stored(pending);
        }
        // From when we count must be known before the first alert is stored.
        core.save_taken()?;
        Ok(core)
    }

    pub fn high(&self) -> Option<i64> {
        self.timed.high()
    }

    pub fn low(&self) -> Option<i64> {
        self.timed.low()
    }

    pub fn window(&mut self, which: Which) -> &mut Window {
        match which {
            Which::Timed => &mut self.timed,
            Which::Untimed => &mut self.untimed,
        }
    }

    pub fn shortened(&self) -> bool {
        self.timed.shortened()
    }

    /// Reads a page with its documents. `advance`: the sweep goes forward in time, so the high-water mark follows it.
    pub fn absorb(&mut self, body: &[u8], which: Which, advance: bool) -> Result<Page, Fault> {
        let body = read(body)?;
        self.maker.refresh()?;
        let mut batch = Batch::default();
        let mut fresh = Vec::new();
        for hit in &body.hits.hits {
            self.take(hit, which, &mut batch, &mut fresh);
        }
        let high = advance.then(|| body.hits.hits.last().map(Hit::time)).flatten();
        self.store(which, &batch, fresh, high)?;
        Ok(page(&body, Vec::new()))
    }

    /// Reads a page without documents and says which of them are not taken yet.
    pub fn sift(&mut self, body: &[u8], which: Which) -> Result<Page, Fault> {
        let body = read(body)?;
        let window = self.window(which);
        let unknown = body
            .hits
            .hits
            .iter()
            .filter(|h| window.know(&Key::of(&h.index, &h.id), h.primary_term, h.seq_no) != Known::Same);
        let unknown = unknown.map(|h| h.id.clone().into_owned()).collect();
        Ok(page(&body, unknown))
    }

    /// A document larger than we read: the dead letter says where it lies.
    pub fn bury(&mut self, body: &[u8], which: Which, bytes: u64, advance: bool) -> Result<Page, Fault> {
        let body = read(body)?;
        let mut batch = Batch::default();
        let mut fresh = Vec::new();
        for hit in &body.hits.hits {
            let key = Key::of(&hit.index, &hit.id);
            if self.window(which).know(&key, hit.primary_term, hit.seq_no) == Known::Same {
                continue;
            }
            let reason = format!("the document has about {bytes} bytes, more than are read from a cluster");
            batch.dead.push(self.letter(hit, reason));
            fresh.push((key, entry(hit, 0)));
        }
        let high = advance.then(|| body.hits.hits.last().map(Hit::time)).flatten();
        self.store(which, &batch, fresh, high)?;
        Ok(page(&body, Vec::new()))
    }

    /// The answer to a search sorted by falling sequence number.
    pub fn tally(body: &[u8]) -> Result<Tally, Fault> {
        let body = read(body)?;
        Ok(Tally {
            total: body.hits.total.map_or(0, |t| t.value),
            top: body.hits.hits.first().map_or(-1, |h| h.seq_no),
        })
    }

    /// Before documents are read again. Returns how many alerts were taken so far.
    pub fn begin_again(&mut self) -> Result<u64, Fault> {
        let letters = self.pipeline.store().dead_letters(usize::MAX)?;
        let ours = letters.into_iter().map(|l| l.source.into_exposed()).filter(|s| s.starts_with("opensearch:"));
        self.known_dead = Some(ours.collect());
        Ok(self.accepted + self.dead)
    }

    /// How many were new after all.
    pub fn end_again(&mut self, before: u64) -> u64 {
        self.known_dead = None;
        self.accepted + self.dead - before
    }

    /// Not with every batch: what a crash leaves out of the counts is looked at again, nothing worse.
    pub fn save_taken(&mut self) -> Result<(), Fault> {
        if !std::mem::take(&mut self.taken.changed) {
            return Ok(());
        }
        let text = serde_json::to_string(&self.taken).map_err(|e| Fault::Store(e.to_string()))?;
        Ok(self.pipeline.store().set_checkpoint(&format!("opensearch:{}:taken", self.name), &text)?)
    }

    fn take(&mut self, hit: &Hit<'_>, which: Which, batch: &mut Batch, fresh: &mut Vec<(Key, Entry)>) {
        let key = Key::of(&hit.index, &hit.id);
        let known = self.window(which).know(&key, hit.primary_term, hit.seq_no);
        if known == Known::Same {
            return;
        }
        if known == Known::No && which == Which::Timed {
            self.taken.add(hit.time());
        }
        let Some(source) = hit.source else {
            batch.dead.push(self.letter(hit, "the index keeps no _source, so there is nothing to read".into()));
            fresh.push((key, entry(hit, 0)));
            return;
        };
        let raw = source.get().as_bytes();
        let content = content_hash(raw);
        fresh.push((key, entry(hit, content)));
        if let Known::Changed(before) = known
            && before.content == content
        {
            // Only our own status was written into it.
            return;
        }
        let origin = Origin {
            source: self.name.clone(),
            index: hit.index.clone().into_owned(),
            doc_id: hit.id.clone().into_owned(),
            seq_no: hit.seq_no,
            primary_term: hit.primary_term,
        };
        let record = Record { offset: 0, line: None, bytes: raw.to_vec(), error: None };
        let source = format!("opensearch:{}", hit.index).into();
        let letters = batch.dead.len();
        self.maker.make(record, &source, Some(origin), batch);
        for letter in &mut batch.dead[letters..] {
            letter.source = format!("opensearch:{}/{}", hit.index, hit.id).into();
        }
        if let Some(known) = &self.known_dead
            && batch.dead.len() > letters
            && known.contains(batch.dead[letters].source.expose())
        {
            batch.dead.truncate(letters);
        }
    }

    fn letter(&self, hit: &Hit<'_>, reason: String) -> NewDeadLetter {
        let raw = serde_json::json!({ "_index": hit.index, "_id": hit.id, "_seq_no": hit.seq_no });
        NewDeadLetter {
            source: format!("opensearch:{}/{}", hit.index, hit.id).into(),
            format: None,
            offset: 0,
            line: None,
            reason: reason.into(),
            raw: raw.to_string().into_bytes(),
        }
    }

    /// Alerts, dead letters and checkpoint in one transaction.
    fn store(&mut self, which: Which, batch: &Batch, fresh: Vec<(Key, Entry)>, high: Option<i64>) -> Result<(), Fault> {
        if fresh.is_empty() {
            return Ok(());
        }
        // A document dated in the future must not take the mark with it, or the present would count as past.
        let high = high.map(|h| h.min(Timestamp::now().as_millisecond()));
        let pending = self.window(which).checkpoint(fresh, high)?;
        if batch.is_empty() {
            self.pipeline.store().set_checkpoint(&pending.name, &pending.value)?;
        } else {
            let s = self.pipeline.ingest(batch, Some((&pending.name, &pending.value)))?;
            self.accepted += s.accepted;
            self.duplicates += s.duplicates;
            self.dead += s.dead;
        }
        self.window(which).stored(pending);
        Ok(())
    }
}

fn entry(hit: &Hit<'_>, content: u64) -> Entry {
    Entry { term: hit.primary_term, seq_no: hit.seq_no, content, time: hit.time() }
}

fn read(body: &[u8]) -> Result<Body<'_>, Fault> {
    let body: Body<'_> = serde_json::from_slice(body).map_err(|e| Fault::Protocol(e.to_string()))?;
    if body.timed_out {
        return Err(Fault::NotReady("a search timed out on some shards".into()));
    }
    Ok(body)
}

/// Where the next page begins. Documents on different shards may share all sort values, and the page may have cut
/// between them; so it goes on after the last values that differ from the very last, and reads the rest again.
fn page(body: &Body<'_>, unknown: Vec<String>) -> Page {
    let hits = &body.hits.hits;
    let sort = |h: &Hit<'_>| h.sort.map(|s| s.get().to_owned());
    let last = hits.last().and_then(sort);
    let before = hits.iter().rev().map(sort).find(|s| *s != last).flatten();
    Page { hits: hits.len(), after: before.or(last), unknown }
}

fn settings_fault(e: IntakeError) -> Fault {
    match e {
        IntakeError::Usage(why) => Fault::Settings(why),
        IntakeError::Store(e) => e.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(sorts: &[&str]) -> String {
        let hits: Vec<String> = sorts
            .iter()
            .enumerate()
            .map(|(i, s)| format!(r#"{{"_index":"a","_id":"{i}","_seq_no":1,"_primary_term":1,"sort":{s}}}"#))
            .collect();
        format!(r#"{{"timed_out":false,"hits":{{"hits":[{}]}}}}"#, hits.join(","))
    }

    fn after(sorts: &[&str]) -> Option<String> {
        page(&read(body(sorts).as_bytes()).unwrap(), Vec::new()).after
    }

    #[test]
    fn a_page_goes_on_before_a_cut_tie() {
        assert_eq!(after(&["[1,1,\"a\"]", "[2,7,\"a\"]", "[2,7,\"a\"]"]).unwrap(), "[1,1,\"a\"]");
        assert_eq!(after(&["[2,7,\"a\"]", "[2,7,\"a\"]"]).unwrap(), "[2,7,\"a\"]");
        assert_eq!(after(&["[5,1,\"a\"]"]).unwrap(), "[5,1,\"a\"]");
        assert_eq!(after(&[]), None);
    }

    #[test]
    fn a_search_that_timed_out_is_no_answer() {
        let err = read(br#"{"timed_out":true,"hits":{"hits":[]}}"#).err().unwrap();
        assert!(matches!(err, Fault::NotReady(_)));
    }

    #[test]
    fn time_is_the_first_sort_value_and_missing_is_last() {
        let text = body(&["[1795240800123,1,\"a\"]", "[9223372036854775807,2,\"a\"]"]);
        let body = read(text.as_bytes()).unwrap();
        assert_eq!(body.hits.hits[0].time(), 1_795_240_800_123);
        assert_eq!(body.hits.hits[1].time(), i64::MAX);
    }
}
