//! Several processes at one store, and processes killed in the middle of it.
//!
//! The children are this very test binary, started again with [`ROLE`] set and told to run [`child`] alone.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test starts processes and prints")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use watchfloor::model::act::Act;
use watchfloor::model::alert::{Disposition, NewDeadLetter, Status};
use watchfloor::model::ids::{AlertId, PersonId};
use watchfloor::model::query::{Page, Query, SortKey};
use watchfloor::store::conformance::sample;
use watchfloor::store::sqlite::SqliteStore;
use watchfloor::store::{Ingested, Store as _};

const ROLE: &str = "WATCHFLOOR_TEST_STORE_ROLE";
const FILE: &str = "WATCHFLOOR_TEST_STORE_FILE";
const NUMBER: &str = "WATCHFLOOR_TEST_STORE_NUMBER";
/// Fewer than the 200 the release asks for; the rest are the desk's and the executor's.
const KILLS: u32 = 60;

fn start(role: &str, file: &Path, number: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(FILE, file)
        .env(NUMBER, number.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What the child said, whole lines only: `word rest`.
fn said(out: impl std::io::Read) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut reader = BufReader::new(out);
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap_or(0) > 0 {
        lines.extend(word(&line));
        line.clear();
    }
    lines
}

fn word(line: &str) -> Option<(String, String)> {
    let (word, rest) = line.strip_suffix('\n')?.strip_prefix("> ")?.split_once(' ')?;
    Some((word.to_owned(), rest.to_owned()))
}

/// One write call, so that a kill leaves a whole line or none.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("\n> {line}\n").as_bytes());
    let _ = out.flush();
}

fn person(n: u32) -> PersonId {
    PersonId::new(format!("p{n}")).unwrap()
}

#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let store = SqliteStore::open(Path::new(&std::env::var(FILE).unwrap())).unwrap();
    let number = std::env::var(NUMBER).unwrap().parse().unwrap();
    match role.as_str() {
        "crowd" => crowd(&store, number),
        "busy" => busy(&store, number),
        "ticker" => ticker(&store),
        other => panic!("no role {other}"),
    }
}

fn id_of(i: &Ingested) -> AlertId {
    match i {
        Ingested::New(id) | Ingested::Repeat(id) => *id,
    }
}

/// One of several that bring the same alerts, some of their own, and claim what they can.
fn crowd(store: &SqliteStore, me: u32) {
    let now = Timestamp::now();
    for round in 0..20 {
        let mut batch: Vec<_> = (0..5).map(|i| sample(round * 5 + i)).collect();
        batch.push(sample(1000 * (me + 1) + round));
        let got = store.ingest(&batch, &[], None, now).unwrap();
        for i in got.iter().filter(|i| matches!(i, Ingested::New(_))) {
            say(&format!("new {}", id_of(i)));
        }
        let ids: Vec<_> = got[..5].iter().map(id_of).collect();
        for id in store.act(&Act::Claim, &ids, &person(me), now).unwrap().done {
            say(&format!("claimed {id}"));
        }
        if round % 5 == 0 {
            store.index_step(1000).unwrap();
        }
    }
    say("end -");
}

#[test]
fn four_processes_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("data/store.db");
    let children: Vec<_> = (0..4).map(|n| start("crowd", &file, n)).collect();
    let mut owners: BTreeMap<String, u32> = BTreeMap::new();
    let mut new = 0;
    for (n, mut child) in children.into_iter().enumerate() {
        let lines = said(child.stdout.take().unwrap());
        assert!(child.wait().unwrap().success());
        assert_eq!(lines.last().map(|l| l.0.as_str()), Some("end"), "process {n} came to its end");
        for (word, id) in lines {
            match word.as_str() {
                "new" => new += 1,
                // A claim of what one holds already is done again; another's never is.
                "claimed" => assert_eq!(*owners.entry(id).or_insert(n as u32), n as u32),
                _ => {}
            }
        }
    }
    assert_eq!(new, 100 + 4 * 20, "each alert was new to one process only");
    assert_eq!(owners.len(), 100);
    let store = SqliteStore::open(&file).unwrap();
    let rows = store.rows(&Query::All, SortKey::Oldest, Page::First, 1000, Timestamp::now()).unwrap();
    assert_eq!(rows.len(), 180);
    for (id, n) in owners {
        let id: AlertId = id.parse().unwrap();
        assert_eq!(store.alert(id).unwrap().unwrap().owner, Some(person(n)));
    }
    assert_eq!(rows.iter().filter(|r| r.count == 4).count(), 100);
    assert_eq!(store.integrity_check().unwrap(), "ok");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |p: &Path| p.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(file.parent().unwrap()), mode(&file)), (0o700, 0o600));
}

/// Changes something every 150 ms and says when.
fn ticker(store: &SqliteStore) {
    for n in 0..8 {
        std::thread::sleep(Duration::from_millis(150));
        store.ingest(&[sample(n)], &[], None, Timestamp::now()).unwrap();
        say(&format!("tick {}", Timestamp::now().as_millisecond()));
    }
}

#[test]
fn another_process_sees_a_change_at_its_next_look() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.db");
    let store = SqliteStore::open(&file).unwrap();
    let mut child = start("ticker", &file, 0);
    let (mut at, mut seen) = (store.revision().unwrap(), Vec::new());
    let begun = Instant::now();
    // The look before the one that found it: it began before the change was acknowledged, or it should have found it.
    let mut before = 0;
    while seen.len() < 8 && begun.elapsed() < Duration::from_secs(120) {
        let looked = Timestamp::now().as_millisecond();
        if store.revision().unwrap() != at {
            let changes = store.changes(at, 100).unwrap();
            seen.extend(changes.alerts.iter().map(|_| before));
            at = changes.revision;
        }
        before = looked;
        std::thread::sleep(Duration::from_millis(20));
    }
    let ticks: Vec<i64> = said(child.stdout.take().unwrap()).iter().map(|l| l.1.parse().unwrap()).collect();
    child.wait().unwrap();
    assert_eq!((ticks.len(), seen.len()), (8, 8));
    for (tick, missed) in ticks.iter().zip(&seen) {
        assert!(missed <= tick, "not seen {} ms after", missed - tick);
    }
}

/// Does one thing after the other and says each when it is done, until it is killed.
fn busy(store: &SqliteStore, run: u32) {
    let me = person(run);
    say("ready -");
    for n in 0.. {
        let now = Timestamp::now();
        let (a, b) = (sample(run * 10_000 + 2 * n), sample(run * 10_000 + 2 * n + 1));
        let letter = NewDeadLetter {
            source: "test".into(),
            format: None,
            offset: u64::from(run * 10_000 + n),
            line: None,
            reason: "bad".into(),
            raw: vec![b'x'; 100],
        };
        let mark = format!("{run}.{n}");
        let ids: Vec<_> =
            store.ingest(&[a, b], &[letter], Some(("busy", &mark)), now).unwrap().iter().map(id_of).collect();
        say(&format!("ingested {} {} {mark}", ids[0], ids[1]));
        store.act(&Act::Claim, &ids, &me, now).unwrap();
        say(&format!("claimed {} {}", ids[0], me));
        let close = Act::Close { disposition: Disposition::FalsePositive, reason: "r".into(), comment: None };
        let undo = store.act(&close, &ids[..1], &me, now).unwrap().undo;
        say(&format!("closed {} {}", ids[0], me));
        if n % 3 == 0 {
            store.undo(undo.unwrap(), &me, now).unwrap();
            say(&format!("reopened {} {}", ids[0], me));
        }
        if n % 40 == 0 {
            store.index_step(2000).unwrap();
        }
    }
}

#[test]
fn kill_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.db");
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
    let mut acknowledged = 0;
    let mut letters = BTreeSet::new();
    for run in 0..KILLS {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = start("busy", &file, run);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        // Most are killed at work, so many acknowledged writes after they were ready; some while they start.
        let wanted = if run % 4 > 0 { 1 + (chance >> 40) % 6 } else { 0 };
        let (mut lines, mut line) = (Vec::new(), String::new());
        while (lines.len() as u64) < wanted && out.read_line(&mut line).unwrap() > 0 {
            lines.extend(word(&line));
            line.clear();
        }
        std::thread::sleep(Duration::from_millis((chance >> 33) % 160));
        // SIGKILL.
        child.kill().unwrap();
        lines.extend(said(out));
        child.wait().unwrap();
        acknowledged += lines.len();
        let store = SqliteStore::open(&file).unwrap();
        check(&store, &lines, &mut letters);
        if run % 10 == 9 {
            assert_eq!(store.integrity_check().unwrap(), "ok", "after {} kills", run + 1);
        }
    }
    let store = SqliteStore::open(&file).unwrap();
    let stored: BTreeSet<u64> = store.dead_letters(1_000_000).unwrap().iter().map(|l| l.offset).collect();
    assert!(letters.is_subset(&stored));
    // The text index was being built all the while: it still finds each alert by its own bytes.
    let rows = store.rows(&Query::All, SortKey::Newest, Page::First, 20, Timestamp::now()).unwrap();
    for row in rows {
        let title = watchfloor::text::Untrusted::expose(&row.title).to_owned();
        let query = Query::Term(watchfloor::model::query::Term::Text(title));
        let found = store.rows(&query, SortKey::Newest, Page::First, 1000, Timestamp::now()).unwrap();
        assert!(found.iter().any(|r| r.id == row.id));
    }
    println!("{KILLS} kills, {acknowledged} acknowledged writes");
    assert!(acknowledged > KILLS as usize, "the children were killed before they did anything");
}

fn check(store: &SqliteStore, lines: &[(String, String)], letters: &mut BTreeSet<u64>) {
    // The last word on each alert.
    let mut last: BTreeMap<AlertId, (&str, &str)> = BTreeMap::new();
    let mut mark = None;
    for (word, rest) in lines {
        if word == "ready" {
            continue;
        }
        let mut parts = rest.split(' ');
        let id: AlertId = parts.next().unwrap().parse().unwrap();
        let second = parts.next().unwrap();
        if word == "ingested" {
            last.insert(second.parse().unwrap(), ("ingested", ""));
            let text = parts.next().unwrap();
            let (run, n) = text.split_once('.').unwrap();
            letters.insert(run.parse::<u64>().unwrap() * 10_000 + n.parse::<u64>().unwrap());
            mark = Some(text);
        }
        last.insert(id, (word, second));
    }
    if let Some(text) = mark {
        // The checkpoint is at least as far as the last acknowledged batch: perhaps one further.
        let stored = store.checkpoint("busy").unwrap().unwrap();
        let n = |s: &str| s.split_once('.').unwrap().1.parse::<u32>().unwrap();
        assert!(stored.split_once('.').unwrap().0 == text.split_once('.').unwrap().0);
        assert!(n(&stored) == n(text) || n(&stored) == n(text) + 1, "{stored} after {text}");
    }
    for (i, (id, (word, who))) in last.iter().enumerate() {
        let a = store.alert(*id).unwrap().unwrap_or_else(|| panic!("alert {id} is lost after {word}"));
        let newest = i + 2 >= last.len();
        match *word {
            // What was acknowledged holds; the alerts last spoken of may have gone one step further.
            "claimed" | "reopened" => {
                assert_eq!(a.owner.as_ref().map(PersonId::as_str), Some(*who));
                assert!(a.status == Status::Claimed || newest, "{id}: {:?} after {word}", a.status);
            }
            "closed" => assert!(a.status == Status::Closed || newest, "{id}: {:?}", a.status),
            _ => {}
        }
        assert!(store.raw(*id).unwrap().is_some());
    }
}
