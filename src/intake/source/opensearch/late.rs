//! Documents that become visible long after newer ones did, behind the overlap: held back by a shipper that was cut
//! off, or dated by when a thing happened and not by when it was found.
//!
//! We count what we took, in buckets of five minutes, over the last day. Now and then the cluster is asked for the same
//! counts. A bucket that holds more than we took is read again; the store knows the documents it has by their ids.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Tail;
use super::client::Client;
use super::core::Which;
use super::fault::Fault;
use crate::model::Timestamp;

const BUCKET_MS: i64 = 300_000;
const REACH_MS: i64 = 24 * 3_600_000;
/// Buckets read again at one time; the rest wait for the next.
const AT_ONCE: usize = 4;

/// What was taken, by bucket.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Taken {
    /// Buckets that begin before this were not counted from their beginning.
    since: Option<i64>,
    counts: BTreeMap<i64, u64>,
    /// Since it was saved.
    #[serde(skip)]
    pub changed: bool,
}

impl Taken {
    /// `since`: what is older was not read while counting; `None` when everything is.
    pub fn new(since: Option<i64>) -> Self {
        Self { since, counts: BTreeMap::new(), changed: true }
    }

    pub fn add(&mut self, time_ms: i64) {
        *self.counts.entry(bucket(time_ms)).or_default() += 1;
        self.changed = true;
        let now = Timestamp::now().as_millisecond();
        while let Some((first, _)) = self.counts.first_key_value().filter(|(b, _)| **b < now - 2 * REACH_MS) {
            let first = *first;
            self.counts.remove(&first);
        }
    }

    /// Buckets in which the cluster has more than we took.
    fn behind(&self, theirs: &[Bucket]) -> Vec<Bucket> {
        let covered = |b: &&Bucket| self.since.is_none_or(|s| b.key > s);
        let more = |b: &&Bucket| b.doc_count > self.counts.get(&b.key).copied().unwrap_or(0);
        theirs.iter().filter(covered).filter(more).copied().collect()
    }

    fn settle(&mut self, b: &Bucket) {
        self.counts.insert(b.key, b.doc_count);
        self.changed = true;
    }
}

fn bucket(ms: i64) -> i64 {
    ms.div_euclid(BUCKET_MS) * BUCKET_MS
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Bucket {
    key: i64,
    doc_count: u64,
}

#[derive(Deserialize)]
struct Answer {
    aggregations: Aggregations,
}

#[derive(Deserialize)]
struct Aggregations {
    late: Buckets,
}

#[derive(Deserialize)]
struct Buckets {
    buckets: Vec<Bucket>,
}

impl Tail {
    /// Looks for late documents and reads them. Returns how many there were.
    pub(super) async fn late(&mut self, client: &Client) -> Result<u64, Fault> {
        let Some(low) = self.with_core(|core| Ok(core.low())).await? else { return Ok(0) };
        let before = bucket(low);
        let from = bucket(Timestamp::now().as_millisecond() - REACH_MS);
        if from >= before {
            return Ok(0);
        }
        let field = self.settings.time_field.clone();
        let range =
            |from, to| json!({ "range": { field.as_str(): { "gte": from, "lt": to, "format": "epoch_millis" } } });
        let body = json!({
            "query": range(from, before), "size": 0, "track_total_hits": false,
            "aggs": { "late": { "date_histogram": { "field": &field, "fixed_interval": "5m", "min_doc_count": 1 } } },
        });
        let answer = match client.search_now(body).await {
            Ok(answer) => answer,
            // A time field that is a plain number has no histogram of dates: the overlap must do.
            Err(Fault::Server { status: 400, .. }) => return Ok(0),
            Err(other) => return Err(other),
        };
        let answer: Answer = serde_json::from_slice(&answer.body).map_err(|e| Fault::Protocol(e.to_string()))?;
        let theirs = answer.aggregations.late.buckets;
        let behind = self.with_core(move |core| Ok(core.taken.behind(&theirs))).await?;
        let mut found = 0;
        for b in behind.into_iter().take(AT_ONCE) {
            let query = range(b.key, b.key + BUCKET_MS);
            let before = self.with_core(|core| core.begin_again()).await?;
            let swept = self.sweep_light(client, &query, Which::Timed, usize::MAX).await;
            let new = self.with_core(move |core| Ok(core.end_again(before))).await?;
            swept?;
            self.with_core(move |core| {
                core.taken.settle(&b);
                core.save_taken()
            })
            .await?;
            found += new;
        }
        Ok(found)
    }
}

/// Dead letters that are there already must not be made again when their documents are read again.
pub(super) type KnownDead = HashSet<String>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_buckets_with_more_than_we_took_are_behind() {
        let now = Timestamp::now().as_millisecond();
        let b = bucket(now) - 10 * BUCKET_MS;
        let mut taken = Taken::new(None);
        taken.add(b);
        taken.add(b + BUCKET_MS - 1);
        taken.add(b + BUCKET_MS);
        let theirs = |n, m| [Bucket { key: b, doc_count: n }, Bucket { key: b + BUCKET_MS, doc_count: m }];
        assert!(taken.behind(&theirs(2, 1)).is_empty());
        // Deleted there: nothing to read.
        assert!(taken.behind(&theirs(1, 0)).is_empty());
        assert_eq!(taken.behind(&theirs(2, 2)), [Bucket { key: b + BUCKET_MS, doc_count: 2 }]);
        taken.settle(&Bucket { key: b + BUCKET_MS, doc_count: 2 });
        assert!(taken.behind(&theirs(2, 2)).is_empty());
        // What was there before we began is none of ours.
        let late_start = Taken::new(Some(b));
        assert_eq!(late_start.behind(&theirs(9, 1)).len(), 1);
    }
}
