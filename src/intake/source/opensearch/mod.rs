//! Tails an OpenSearch index, alias or pattern.
//!
//! ```text
//! forward  every poll: documents newer than the high-water mark, oldest first, in a point in time with search_after
//! overlap  documents of the last `overlap_seconds` behind the mark (and any dated in the future): first only their
//!          ids and numbers, then those not taken yet; for documents become visible late
//! untimed  documents without the time field, which sort last and have no place in time: looked for now and then
//! late     documents further back, found by counting: see `late`
//! back     status, owner and disposition written into documents of alerts that people changed
//! ```
//!
//! Pages are sorted by (time, `_seq_no`, `_index`): cheap for the cluster, unlike `_id`, and all but unique; see
//! `core` for ties and `window` for how nothing is taken twice.
//!
//! Rights it needs on the index: `indices:data/read/search`, `indices:data/read/point_in_time/create` and `.../delete`;
//! to write status back also `indices:data/read/get`, `indices:data/write/update`, `indices:data/write/index`,
//! `indices:data/write/bulk*`, and `indices:admin/mapping/put` unless the mapping knows the fields of `watchfloor`.
//!
//! What this cannot see: a document that becomes visible more than a day after newer ones did.

mod client;
mod core;
mod fault;
mod late;
pub mod search;
mod window;
mod writeback;

use std::time::{Duration, Instant};

use serde_json::{Value, json, value::RawValue};
use tokio::sync::watch;

use self::client::{Client, MAX_ANSWER, MAX_PAGE, UNMEASURED_PAGE};
use self::core::{Core, Page, Tally, Which};
pub use self::fault::Fault;
use super::{Link, LinkState, SecretResolver};
use crate::config::settings::OpensearchSettings;
use crate::intake::Pipeline;
use crate::model::Timestamp;

/// Documents per page when only their ids are asked for.
const LIGHT_PAGE: usize = 5000;
/// A sweep of the overlap that found more than this is not made at every poll.
const LIGHT_OFTEN: usize = 5000;
const LIGHT_SELDOM: Duration = Duration::from_secs(10);
const UNTIMED_EVERY: Duration = Duration::from_secs(30);
const LATE_EVERY: Duration = Duration::from_secs(30);
/// Documents without a time that are kept track of.
const UNTIMED_MOST: u64 = 20_000;

/// A live tail of one source.
pub struct Tail {
    name: String,
    settings: OpensearchSettings,
    pipeline: Pipeline,
    resolver: SecretResolver,
    /// Not there before it is loaded, and while a blocking thread has it.
    core: Option<Core>,
    last_good: Option<Timestamp>,
    light: Schedule,
    untimed: Schedule,
    untimed_seen: Tally,
    late: Schedule,
    /// Documents found late, since this tail started.
    late_found: u64,
    back: writeback::State,
}

/// When a sweep is due again.
#[derive(Default)]
struct Schedule {
    due: Option<Instant>,
}

impl Schedule {
    fn is_due(&self) -> bool {
        self.due.is_none_or(|d| d <= Instant::now())
    }

    fn again_in(&mut self, wait: Duration) {
        self.due = Some(Instant::now() + wait);
    }
}

impl Tail {
    /// `resolver` turns the password's reference into the password; it is asked again at every new connection.
    pub fn new(name: &str, settings: OpensearchSettings, pipeline: Pipeline, resolver: SecretResolver) -> Self {
        Self {
            name: name.to_owned(),
            settings,
            pipeline,
            resolver,
            core: None,
            last_good: None,
            light: Schedule::default(),
            untimed: Schedule::default(),
            untimed_seen: Tally::default(),
            late: Schedule::default(),
            late_found: 0,
            back: writeback::State::default(),
        }
    }

    /// Tails until `stop` turns true or its sender is gone. Every fault is reported and tried again, with growing
    /// pauses; nothing but `stop` ends it.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>, report: impl Fn(Link) + Send + Sync) {
        let mut failures = 0;
        report(self.link(LinkState::Starting, format!("connecting to {}", self.settings.url), None));
        loop {
            let good_before = self.last_good;
            let fault = tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                fault = self.session(&report) => fault,
            };
            if self.last_good != good_before {
                failures = 0;
            }
            failures += 1;
            let wait = backoff(failures, &fault);
            let next = Timestamp::now().checked_add(wait).ok();
            tracing::warn!(source = %self.name, fault = ?fault.to_string(), wait_ms = wait.as_millis() as u64, "tail interrupted");
            report(self.link(LinkState::Retrying, fault.to_string(), next));
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        report(self.link(LinkState::Stopped, "stopped".into(), None));
    }

    /// One connection, until something is wrong.
    async fn session(&mut self, report: &(impl Fn(Link) + Send + Sync)) -> Fault {
        let client = match Client::open(&self.settings, &self.resolver).await {
            Ok(client) => client,
            Err(fault) => return fault,
        };
        loop {
            if let Err(fault) = self.tick(&client, report).await {
                return fault;
            }
            tokio::time::sleep(Duration::from_secs(self.settings.poll_seconds.clamp(1, 3600))).await;
        }
    }

    async fn tick(&mut self, client: &Client, report: &(impl Fn(Link) + Send + Sync)) -> Result<(), Fault> {
        self.forward(client, report).await?;
        if self.light.is_due() {
            let hits = self.overlap(client).await?;
            let wait = if hits > LIGHT_OFTEN { LIGHT_SELDOM } else { Duration::ZERO };
            self.light.again_in(wait);
        }
        if self.untimed.is_due() {
            self.untimed(client).await?;
            self.untimed.again_in(UNTIMED_EVERY);
        }
        if self.late.is_due() {
            self.late_found += self.late(client).await?;
            self.late.again_in(LATE_EVERY);
        }
        if self.settings.write_back {
            self.write_back(client).await?;
        }
        self.with_core(Core::save_taken).await?;
        self.last_good = Some(Timestamp::now());
        report(self.link(LinkState::Live, self.words(), None));
        Ok(())
    }

    /// Documents newer than the mark.
    async fn forward(&mut self, client: &Client, report: &(impl Fn(Link) + Send + Sync)) -> Result<(), Fault> {
        let high = self.with_core(|core| Ok(core.high())).await?;
        let mut range = json!({ "lte": Timestamp::now().as_millisecond(), "format": "epoch_millis" });
        if let Some(high) = high {
            range["gt"] = high.into();
        }
        let query = json!({ "range": { self.settings.time_field.as_str(): range } });
        let pit = client.open_pit().await?;
        let done = self.forward_pages(client, &pit, &query, report).await;
        client.close_pit(&pit).await;
        done
    }

    async fn forward_pages(
        &mut self,
        client: &Client,
        pit: &str,
        query: &Value,
        report: &(impl Fn(Link) + Send + Sync),
    ) -> Result<(), Fault> {
        let most = self.settings.page.clamp(1, 10_000);
        let mut size = most;
        let mut after = None;
        loop {
            let asked = size;
            let page = self.heavy_page(client, pit, query, &mut size, after.as_deref(), (Which::Timed, true)).await?;
            self.last_good = Some(Timestamp::now());
            let full = page.hits >= asked.min(size);
            if !full || page.after.is_none() || page.after == after {
                return Ok(());
            }
            after = page.after;
            // An answer that was too large is followed by smaller pages, which grow again.
            size = (size * 2).min(most);
            report(self.link(LinkState::Live, self.words(), None));
        }
    }

    /// A page with documents; `size` shrinks until the answer is small enough. `what.1`: see [`Core::absorb`].
    async fn heavy_page(
        &mut self,
        client: &Client,
        pit: &str,
        query: &Value,
        size: &mut usize,
        after: Option<&str>,
        what: (Which, bool),
    ) -> Result<Page, Fault> {
        loop {
            let limit = if *size == 1 { MAX_ANSWER } else { MAX_PAGE };
            match client.search_pit(pit, self.body(query, *size, after, true), limit).await {
                Ok(answer) => {
                    let page = self.with_core(move |core| core.absorb(&answer.body, what.0, what.1)).await?;
                    if !answer.measured {
                        *size = (*size).min(UNMEASURED_PAGE);
                    }
                    return Ok(page);
                }
                Err(Fault::TooLarge(_)) if *size > 1 => *size = (*size / 2).max(1),
                Err(Fault::TooLarge(n)) => {
                    let answer = client.search_pit(pit, self.body(query, 1, after, false), MAX_PAGE).await?;
                    return self.with_core(move |core| core.bury(&answer.body, what.0, n, what.1)).await;
                }
                Err(other) => return Err(other),
            }
        }
    }

    /// Documents of the overlap that are not taken yet. Returns how many documents lie in it.
    async fn overlap(&mut self, client: &Client) -> Result<usize, Fault> {
        let (low, high) = self.with_core(|core| Ok((core.low(), core.high()))).await?;
        let field = self.settings.time_field.as_str();
        let now = Timestamp::now().as_millisecond();
        let mut should = vec![json!({ "range": { field: { "gt": now, "format": "epoch_millis" } } })];
        if let (Some(low), Some(high)) = (low, high) {
            should.push(json!({ "range": { field: { "gte": low, "lte": high, "format": "epoch_millis" } } }));
        }
        self.sweep_light(client, &json!({ "bool": { "should": should } }), Which::Timed, usize::MAX).await
    }

    /// Documents without a time, when there are new ones.
    async fn untimed(&mut self, client: &Client) -> Result<(), Fault> {
        let query = json!({ "bool": { "must_not": { "exists": { "field": self.settings.time_field } } } });
        let body = json!({
            "query": query, "size": 1, "_source": false, "track_total_hits": true, "seq_no_primary_term": true,
            "sort": [{ "_seq_no": "desc" }],
        });
        let tally = Core::tally(&client.search_now(body).await?.body)?;
        if tally != self.untimed_seen && tally.total > 0 {
            self.sweep_light(client, &query, Which::Untimed, UNTIMED_MOST as usize).await?;
        }
        self.untimed_seen = tally;
        Ok(())
    }

    async fn sweep_light(&mut self, client: &Client, query: &Value, which: Which, most: usize) -> Result<usize, Fault> {
        let pit = client.open_pit().await?;
        let done = self.light_pages(client, &pit, query, which, most).await;
        client.close_pit(&pit).await;
        done
    }

    async fn light_pages(
        &mut self,
        client: &Client,
        pit: &str,
        query: &Value,
        which: Which,
        most: usize,
    ) -> Result<usize, Fault> {
        let mut after: Option<String> = None;
        let mut hits = 0;
        loop {
            let answer =
                client.search_pit(pit, self.body(query, LIGHT_PAGE, after.as_deref(), false), MAX_ANSWER).await?;
            let page = self.with_core(move |core| core.sift(&answer.body, which)).await?;
            hits += page.hits;
            self.pick(client, pit, query, &page.unknown, which).await?;
            if page.hits < LIGHT_PAGE || page.after.is_none() || page.after == after || hits >= most {
                return Ok(hits);
            }
            after = page.after;
        }
    }

    /// Fetches documents by id. The same id in another index is known or wanted too, so it does no harm.
    async fn pick(
        &mut self,
        client: &Client,
        pit: &str,
        query: &Value,
        ids: &[String],
        which: Which,
    ) -> Result<(), Fault> {
        let mut size = self.settings.page.clamp(1, 1000);
        for chunk in ids.chunks(size) {
            let query = json!({ "bool": { "must": [query], "filter": { "ids": { "values": chunk } } } });
            let mut after = None;
            loop {
                let asked = size;
                let page = self.heavy_page(client, pit, &query, &mut size, after.as_deref(), (which, false)).await?;
                if page.hits < asked.min(size) || page.after.is_none() || page.after == after {
                    break;
                }
                after = page.after;
            }
        }
        Ok(())
    }

    fn body(&self, query: &Value, size: usize, after: Option<&str>, source: bool) -> Value {
        let mut body = json!({
            "query": query, "size": size, "_source": source, "track_total_hits": false, "seq_no_primary_term": true,
            "sort": [
                // Milliseconds, whether the field is a date, a date_nanos or a number; absent is last.
                { self.settings.time_field.as_str(): {
                    "order": "asc", "missing": "_last", "unmapped_type": "date", "numeric_type": "date",
                } },
                { "_seq_no": "asc" },
                { "_index": "asc" },
            ],
        });
        if let Some(after) = after.and_then(|a| serde_json::from_str::<Box<RawValue>>(a).ok()) {
            body["search_after"] = serde_json::to_value(after).unwrap_or_default();
        }
        body
    }

    /// Runs on a blocking thread with the core, which is loaded from the store first if need be.
    async fn with_core<T, F>(&mut self, f: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce(&mut Core) -> Result<T, Fault> + Send + 'static,
    {
        let core = self.core.take();
        let (name, settings, pipeline) = (self.name.clone(), self.settings.clone(), self.pipeline.clone());
        let task = tokio::task::spawn_blocking(move || {
            let mut core = match core {
                Some(core) => core,
                None => match Core::load(&name, &settings, &pipeline) {
                    Ok(core) => core,
                    Err(fault) => return (None, Err(fault)),
                },
            };
            let done = f(&mut core);
            (Some(core), done)
        });
        match task.await {
            Ok((core, done)) => {
                self.core = core;
                done
            }
            Err(_) => Err(Fault::Protocol("reading an answer failed, see the log".into())),
        }
    }

    /// What the tail does now, in a line.
    fn words(&self) -> String {
        let mut words = vec![format!("tailing {}", self.settings.index)];
        if let Some(core) = &self.core {
            match core.high().and_then(|ms| Timestamp::from_millisecond(ms).ok()) {
                Some(high) => words.push(format!("up to {high:.0}")),
                None => words.push("no documents yet".into()),
            }
            if core.dead > 0 {
                words.push(format!("{} in the dead letter", core.dead));
            }
            if core.shortened() {
                words.push("so many documents at once that the overlap is shortened".into());
            }
        }
        if self.late_found > 0 {
            words.push(format!("{} came later than the overlap", self.late_found));
        }
        let Tally { total, .. } = self.untimed_seen;
        if total > UNTIMED_MOST {
            words.push(format!(
                "{total} documents have no {} field, only the first {UNTIMED_MOST} are read",
                self.settings.time_field
            ));
        } else if total > 0 {
            words.push(format!(
                "{total} documents without {} are looked for every {} s",
                self.settings.time_field,
                UNTIMED_EVERY.as_secs()
            ));
        }
        if let Some(note) = self.back.note() {
            words.push(format!("write-back: {note}"));
        }
        words.join("; ")
    }

    fn link(&self, state: LinkState, detail: String, next_try: Option<Timestamp>) -> Link {
        Link {
            name: self.name.clone(),
            kind: "opensearch",
            state,
            detail: detail.into(),
            last_good: self.last_good,
            next_try,
            accepted: self.core.as_ref().map_or(0, |c| c.accepted),
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could stop us is gone.
    let _ = stop.wait_for(|s| *s).await;
}

/// 1, 2, 4 ... 60 s, not below what the fault asks for, give or take a quarter so that tails do not march in step.
fn backoff(failures: u32, fault: &Fault) -> Duration {
    let grown = Duration::from_secs(1 << failures.saturating_sub(1).min(6));
    let base = grown.max(fault.patience()).min(fault.impatience());
    base.mul_f64(rand::random_range(0.75..1.25))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_a_minute_and_spares_accounts() {
        let refused = Fault::Unreachable("refused".into());
        let hangs = Fault::Timeout(Duration::from_secs(1));
        let seconds = |n, f: &Fault| backoff(n, f).as_secs_f64();
        assert!((0.75..1.25).contains(&seconds(1, &refused)));
        assert!((6.0..10.0).contains(&seconds(4, &refused)));
        assert!((11.0..19.0).contains(&seconds(40, &refused)));
        assert!((45.0..75.0).contains(&seconds(40, &hangs)));
        assert!(seconds(1, &Fault::Unauthorized { user: None }) >= 22.0);
    }
}
