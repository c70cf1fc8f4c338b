//! Two figures of the store, each beside its floor in the same run:
//!
//! - a substring over N stored alerts, beside `rg -c` over the same NDJSON file (at most 1.0 times its time);
//! - durable ingest of Wazuh NDJSON, beside a bare loop of `serde_json` and the same inserts (at least 0.8 of its pace).
//!
//! `WATCHFLOOR_BENCH_N` sets N (1,000,000). The data set and its store are kept under `$XDG_CACHE_HOME/watchfloor-bench`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, starts rg and stops at the first fault"
)]

#[path = "store/bare.rs"]
mod bare;
mod common;

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use watchfloor::intake::pipeline::{BATCH_RECORDS, Pipeline};
use watchfloor::intake::source::file::{Input, import};
use watchfloor::model::act::Act;
use watchfloor::model::alert::Disposition;
use watchfloor::model::ids::PersonId;
use watchfloor::model::keys::KeyPolicy;
use watchfloor::model::query::{Page, Query, SortKey, Term};
use watchfloor::store::Store as _;
use watchfloor::store::sqlite::SqliteStore;

const ROUNDS: usize = 7;

fn main() {
    let n: u64 = common::env("WATCHFLOOR_BENCH_N", 1_000_000);
    let file = common::ndjson(n as usize);
    let size = file.metadata().unwrap().len();
    println!("{n} alerts, {} MB, {} bytes each, {} cores", size / 1_000_000, size / n, cores());
    ingest(&file, n.min(100_000) as usize);
    let store = stored(n);
    search(&store, &file, n);
    paging(&store);
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |c| c.get())
}

fn lines(file: &Path) -> impl Iterator<Item = Vec<u8>> {
    BufReader::with_capacity(1 << 20, File::open(file).unwrap()).split(b'\n').map(Result::unwrap)
}

/// Pace of a durable import (the real readers and pipeline) beside the bare loop, both into fresh stores, in turns.
fn ingest(file: &Path, n: usize) {
    let few = file.with_extension(format!("{n}.ndjson"));
    if !few.exists() {
        let mut out = BufWriter::new(File::create(&few).unwrap());
        for line in lines(file).take(n) {
            out.write_all(&line).unwrap();
            out.write_all(b"\n").unwrap();
        }
        out.flush().unwrap();
    }
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let dir = tempfile::tempdir_in(common::cache()).unwrap();
        let start = Instant::now();
        assert_eq!(bare::run(&dir.path().join("bare.db"), lines(&few), BATCH_RECORDS), n);
        bare.push(start.elapsed());
        let dir = tempfile::tempdir_in(common::cache()).unwrap();
        let start = Instant::now();
        let store = SqliteStore::open(&dir.path().join("ours.db")).unwrap();
        assert_eq!(take_in(Arc::new(store), &few), n as u64);
        ours.push(start.elapsed());
    }
    let (ours, bare) = (common::median(ours), common::median(bare));
    let pace = |t: Duration| n as f64 / t.as_secs_f64();
    println!("\ndurable ingest of {n} records, batches of {BATCH_RECORDS} (median of 5 in turns)");
    println!("  bare loop   {:>9.0} records/s", pace(bare));
    println!("  watchfloor  {:>9.0} records/s", pace(ours));
    println!("  ratio       {:>9.2} (wanted: at least 0.8)", pace(ours) / pace(bare));
}

/// What `watchfloor import` does. Returns how many were new.
fn take_in(store: Arc<SqliteStore>, file: &Path) -> u64 {
    let pipeline = Pipeline::new(store, KeyPolicy::default(), Arc::new(|_| 100), Default::default());
    let summary = import(&pipeline, vec![Input::Path(file.to_owned())], Some("wazuh"), |_| {}).unwrap();
    assert_eq!(summary.dead, 0);
    summary.accepted
}

/// The store of a desk with `n` alerts, its text index built to the end.
fn stored(n: u64) -> SqliteStore {
    let db = common::desk_with(n as usize).join("desk.sqlite");
    let store = SqliteStore::open(&db).unwrap();
    while store.index_step(16_384).unwrap() > 0 {}
    println!("  store file {} MB", db.metadata().unwrap().len() / 1_000_000);
    store
}

/// The first search for a needle (nothing remembered), all matches counted.
fn search(store: &SqliteStore, file: &Path, n: u64) {
    println!("\nsubstring over {n} alerts, every match counted, beside `rg -c` (median of {ROUNDS} in turns)");
    let rare = format!("{}\"", 11_000_000 + n / 3);
    println!("  {:<24} {:>9} {:>10} {:>10} {:>7} {:>12}", "needle", "matches", "rg -c", "ours", "ratio", "first page");
    let mut worst = 0.0f64;
    for needle in
        [&rare, "Invoke-Mimikatz", "conf-123.yml", "wp-admin", "Failed password", "timestamp", "no such thing"]
    {
        let (mut rg, mut ours, mut page) = (Vec::new(), Vec::new(), Vec::new());
        let query = Query::Term(Term::Text(needle.into()));
        let now = Timestamp::now();
        let (mut theirs, mut mine) = (0, 0);
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let out = Command::new("rg").args(["-c", "-F", needle]).arg(file).output().expect("rg is needed");
            rg.push(start.elapsed());
            theirs = String::from_utf8_lossy(&out.stdout).trim().parse().unwrap_or(0);
            store.forget_searches();
            let start = Instant::now();
            mine = store.count(&query, u64::MAX, now).unwrap().n;
            ours.push(start.elapsed());
            let start = Instant::now();
            store.rows(&query, SortKey::Risk, Page::First, 50, now).unwrap();
            page.push(start.elapsed());
        }
        assert_eq!(mine, theirs, "{needle}");
        let (rg, ours, page) = (common::median(rg), common::median(ours), common::median(page));
        let ratio = ours.as_secs_f64() / rg.as_secs_f64();
        worst = worst.max(ratio);
        println!("  {needle:<24} {mine:>9} {:>7.1} ms {:>7.1} ms {ratio:>7.2} {:>9.1} ms", ms(rg), ms(ours), ms(page));
    }
    println!("  worst ratio {worst:.2} (wanted: at most 1.0)");
}

/// One act over ten thousand alerts, and its undo; then everything is as before.
fn bulk(store: &SqliteStore) {
    let now = Timestamp::now();
    let ids: Vec<_> =
        store.rows(&Query::All, SortKey::Newest, Page::First, 10_000, now).unwrap().iter().map(|r| r.id).collect();
    let who = PersonId::new("bench").unwrap();
    let close = Act::Close { disposition: Disposition::FalsePositive, reason: "bench".into(), comment: None };
    let start = Instant::now();
    let report = store.act(&close, &ids, &who, now).unwrap();
    println!("  {:<56} {:>8.0} ms", format!("close {} alerts in one act", report.done.len()), ms(start.elapsed()));
    let start = Instant::now();
    let undone = store.undo(report.undo.unwrap(), &who, now).unwrap();
    println!("  {:<56} {:>8.0} ms", format!("undo it ({} alerts)", undone.done.len()), ms(start.elapsed()));
}

fn ms(t: Duration) -> f64 {
    t.as_secs_f64() * 1000.0
}

/// What the console asks all day long.
fn paging(store: &SqliteStore) {
    println!("\nwhat a console asks");
    let now = Timestamp::now();
    let q = |t: &str| watchfloor::model::query::parse(t, None).unwrap();
    let time = |name: &str, f: &dyn Fn()| {
        let times = (0..5).map(|_| {
            let start = Instant::now();
            f();
            start.elapsed()
        });
        println!("  {name:<56} {:>8.2} ms", ms(common::median(times.collect())));
    };
    let open = "not status:closed not status:suppressed";
    for text in [
        "",
        open,
        "sev>=high",
        "host:web-07",
        "user:bob pri<=P1",
        "host:web-* age<2h",
        "src:10.0.0.0/8",
        "dport:4444",
        "tech:T1003 status:open",
    ] {
        let query = q(text);
        for sort in [SortKey::Risk, SortKey::Newest] {
            let page = store.rows(&query, sort, Page::First, 50, now).unwrap();
            time(&format!("first page by {}: {text}", sort.word()), &|| {
                store.rows(&query, sort, Page::First, 50, now).unwrap();
            });
            if let Some(last) = page.last() {
                time("  next page", &|| {
                    store.rows(&query, sort, Page::After(last.id), 50, now).unwrap();
                });
            }
        }
        time("  count to 10,000", &|| {
            store.count(&query, 10_000, now).unwrap();
        });
    }
    let some = store.rows(&Query::All, SortKey::Newest, Page::First, 50, now).unwrap()[20].id;
    time("revision", &|| {
        store.revision().unwrap();
    });
    time("position by risk", &|| {
        store.position(&q(open), SortKey::Risk, some, 10_000, now).unwrap();
    });
    time("related", &|| {
        store.related(some, 20).unwrap();
    });
    time("past dispositions", &|| {
        store.past_dispositions(some).unwrap();
    });
    time("alert", &|| {
        store.alert(some).unwrap();
    });
    bulk(store);
}
