//! Following real files: rotation, truncation, partial lines, and a follower that is killed again and again.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "tests speak, and start themselves again as the process that gets killed"
)]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;
use watchfloor::intake::Pipeline;
use watchfloor::intake::source::directory::Directory;
use watchfloor::intake::source::follow::Follow;
use watchfloor::intake::source::{Link, LinkState};
use watchfloor::model::keys::KeyPolicy;
use watchfloor::model::query::{Cmp, Query, Term};
use watchfloor::store::Store;
use watchfloor::store::sqlite::SqliteStore;

fn line(n: usize) -> String {
    format!(
        r#"{{"timestamp":"2026-11-21T06:00:00.000+0000","rule":{{"level":7,"description":"Follow test {n}","id":"1002"}},"agent":{{"id":"001","name":"web-1"}},"manager":{{"name":"m"}},"id":"{n}.1","full_log":"line {n} of the test","location":"/var/log/syslog"}}"#
    ) + "\n"
}

fn pipeline(db: &Path) -> Pipeline {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(db).unwrap());
    Pipeline::new(store, KeyPolicy::default(), Arc::new(|_| 100), BTreeMap::new())
}

/// How many alerts there are, and how many of them came more than once.
fn counts(store: &dyn Store) -> (u64, u64) {
    let now = Timestamp::now();
    let all = store.count(&Query::All, 1_000_000, now).unwrap().n;
    let doubled = store.count(&Query::Term(Term::Count(Cmp::Gt, 1)), 1_000_000, now).unwrap().n;
    (all, doubled)
}

/// A source on a thread of this process.
struct Running {
    pipeline: Pipeline,
    stop: watch::Sender<bool>,
    links: Arc<Mutex<Vec<Link>>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(db: &Path, run: impl FnOnce(Pipeline, watch::Receiver<bool>, Box<dyn Fn(Link)>) + Send + 'static) -> Self {
        let pipeline = pipeline(db);
        let (stop, stopped) = watch::channel(false);
        let links: Arc<Mutex<Vec<Link>>> = Arc::default();
        let (p, sink) = (pipeline.clone(), Arc::clone(&links));
        let thread = std::thread::spawn(move || run(p, stopped, Box::new(move |l| sink.lock().unwrap().push(l))));
        Self { pipeline, stop, links, thread: Some(thread) }
    }

    fn follow(db: &Path, log: &Path) -> Self {
        let log = log.to_owned();
        Self::start(db, move |p, stop, report| Follow::new("t", log, Some("wazuh".into()), p).run(stop, report))
    }

    fn wait_for(&self, alerts: u64) {
        wait(&format!("{alerts} alerts"), || {
            let (n, _) = counts(self.pipeline.store().as_ref());
            if n == alerts { Ok(()) } else { Err(format!("{n}")) }
        });
    }

    fn says(&self, words: &str) -> bool {
        self.links.lock().unwrap().iter().any(|l| format!("{:?}", l.detail).contains(words))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(t) = self.thread.take() {
            t.join().unwrap();
        }
    }
}

fn wait(what: &str, mut done: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + Duration::from_secs(150);
    loop {
        match done() {
            Ok(()) => return,
            Err(now) if Instant::now() > end => panic!("waited long for {what}, there are {now}"),
            Err(_) => sleep(Duration::from_millis(50)),
        }
    }
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_file_absent_at_first_partial_lines_and_truncation() {
    let dir = tempfile::tempdir().unwrap();
    let (db, log) = (dir.path().join("t.db"), dir.path().join("alerts.json"));
    let f = Running::follow(&db, &log);
    wait("the file is missed", || f.says("not there yet").then_some(()).ok_or_else(String::new));
    assert_eq!(f.links.lock().unwrap().last().unwrap().state, LinkState::Retrying);

    let third = line(3);
    append(&log, &format!("{}{}{}", line(1), line(2), &third[..40]));
    f.wait_for(2);
    sleep(Duration::from_millis(700));
    assert_eq!(counts(f.pipeline.store().as_ref()), (2, 0), "a partial line is no record");
    assert!(f.pipeline.store().dead_letters(10).unwrap().is_empty());
    append(&log, &third[40..]);
    f.wait_for(3);

    // Truncated in place and written on, as `: > file` does.
    File::create(&log).unwrap();
    append(&log, &line(4));
    f.wait_for(4);
    // Rewritten to something longer between two looks: only its beginning tells.
    let long: String = (10..20).map(line).collect();
    fs::write(&log, long).unwrap();
    f.wait_for(14);

    // Copied and truncated, with lines nobody had read yet: they are in the copy.
    let unread: String = (20..23).map(line).collect();
    append(&log, &unread);
    fs::copy(&log, dir.path().join("alerts.json.1")).unwrap();
    File::create(&log).unwrap();
    append(&log, &line(23));
    f.wait_for(18);

    // A line nobody can read stops nothing.
    append(&log, &format!("{{broken\n{}", line(24)));
    f.wait_for(19);
    assert_eq!(f.pipeline.store().dead_letters(10).unwrap().len(), 1);
    // What a look found is stored before the link tells of it.
    let live = || f.links.lock().unwrap().last().is_some_and(|l| l.state == LinkState::Live);
    wait("the link is live", || live().then_some(()).ok_or_else(|| format!("{:?}", f.links.lock().unwrap().last())));
    assert_eq!(counts(f.pipeline.store().as_ref()).1, 0);
}

#[test]
fn a_rotated_file_is_finished_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (db, log) = (dir.path().join("t.db"), dir.path().join("alerts.json"));
    let f = Running::follow(&db, &log);
    append(&log, &line(1));
    f.wait_for(1);
    // The writer goes on in the renamed file, as it does until it is told to reopen.
    let old = dir.path().join("alerts.json.1");
    fs::rename(&log, &old).unwrap();
    append(&old, &line(2));
    append(&log, &line(3));
    f.wait_for(3);
    append(&old, &line(4));
    f.wait_for(4);
    drop(f);

    // Twice rotated while nobody followed: one file nobody has ever seen.
    append(&log, &line(5));
    fs::rename(&old, dir.path().join("alerts.json.2")).unwrap();
    fs::rename(&log, dir.path().join("alerts.json.1b")).unwrap();
    fs::rename(dir.path().join("alerts.json.1b"), &old).unwrap();
    append(&log, &line(6));
    fs::rename(&old, dir.path().join("alerts.json.3")).unwrap();
    fs::rename(&log, &old).unwrap();
    append(&log, &line(7));
    let f = Running::follow(&db, &log);
    f.wait_for(7);
    assert_eq!(counts(f.pipeline.store().as_ref()), (7, 0));
}

#[test]
fn a_link_is_followed_to_where_it_points_and_a_pipe_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (db, log, pods) = (dir.path().join("t.db"), dir.path().join("alerts.json"), dir.path().join("pods"));
    fs::create_dir(&pods).unwrap();
    append(&pods.join("0.log"), &line(1));
    std::os::unix::fs::symlink(pods.join("0.log"), &log).unwrap();
    let f = Running::follow(&db, &log);
    f.wait_for(1);
    drop(f);
    append(&pods.join("0.log"), &line(2));
    fs::rename(pods.join("0.log"), pods.join("0.log.20261121-060000")).unwrap();
    append(&pods.join("0.log"), &line(3));
    let f = Running::follow(&db, &log);
    f.wait_for(3);
    drop(f);

    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let f = Running::follow(&dir.path().join("p.db"), &pipe);
    wait("the pipe is refused", || f.says("not a regular file").then_some(()).ok_or_else(String::new));
}

#[test]
fn a_folder_is_read_file_by_file_and_not_again() {
    let dir = tempfile::tempdir().unwrap();
    let (db, inbox) = (dir.path().join("t.db"), dir.path().join("in"));
    fs::create_dir(&inbox).unwrap();
    let start = |db: &Path, inbox: PathBuf| {
        Running::start(db, move |p, stop, report| Directory::new("t", inbox, None, p).run(stop, report))
    };
    let f = start(&db, inbox.clone());
    fs::write(inbox.join("a.ndjson"), (0..50).map(line).collect::<String>()).unwrap();
    fs::write(inbox.join(".hidden"), line(999)).unwrap();
    f.wait_for(50);
    drop(f);
    let f = start(&db, inbox.clone());
    // Grown, and a new one, compressed.
    append(&inbox.join("a.ndjson"), &(50..60).map(line).collect::<String>());
    let mut gz = flate2::write::GzEncoder::new(File::create(inbox.join("b.gz")).unwrap(), flate2::Compression::fast());
    gz.write_all((60..70).map(line).collect::<String>().as_bytes()).unwrap();
    gz.finish().unwrap();
    f.wait_for(70);
    assert_eq!(counts(f.pipeline.store().as_ref()), (70, 0));
}

const CHILD: &str = "WATCHFLOOR_TEST_FOLLOW";

/// Not a test: what the next one starts, and kills.
#[test]
fn follower_process() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let dir = PathBuf::from(dir);
    let (_keep, stop) = watch::channel(false);
    Follow::new("t", dir.join("alerts.json"), None, pipeline(&dir.join("t.db"))).run(stop, |_| {});
}

fn spawn(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "follower_process", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn nothing_is_missing_or_doubled_under_rotation_and_kill() {
    const LINES: usize = 12_000;
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("alerts.json");
    let store = SqliteStore::open(&dir.path().join("t.db")).unwrap();

    let writer = {
        let dir = dir.path().to_owned();
        std::thread::spawn(move || {
            let mut rotated = 0;
            let mut out = File::create(&log).unwrap();
            for n in 0..LINES {
                let text = line(n);
                // Some lines are written in two pieces.
                let cut = if n % 7 == 0 { text.len() / 2 } else { 0 };
                out.write_all(&text.as_bytes()[..cut]).unwrap();
                out.write_all(&text.as_bytes()[cut..]).unwrap();
                if rand::random_ratio(1, 900) {
                    for i in (1..=rotated).rev() {
                        fs::rename(dir.join(format!("alerts.json.{i}")), dir.join(format!("alerts.json.{}", i + 1)))
                            .unwrap();
                    }
                    fs::rename(&log, dir.join("alerts.json.1")).unwrap();
                    rotated += 1;
                    // The old file is still open for a while.
                    out.write_all(line(LINES + rotated).as_bytes()).unwrap();
                    out = File::create(&log).unwrap();
                }
                if n % 20 == 0 {
                    sleep(Duration::from_millis(12));
                }
            }
            rotated
        })
    };

    let mut kills = 0;
    while !writer.is_finished() {
        let mut child = spawn(dir.path());
        sleep(Duration::from_millis(rand::random_range(150..900)));
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    let expected = (LINES + writer.join().unwrap()) as u64;
    let mut child = spawn(dir.path());
    let end = Instant::now() + Duration::from_secs(150);
    while counts(&store).0 < expected && Instant::now() < end {
        sleep(Duration::from_millis(100));
    }
    // Anything doubled would come now.
    sleep(Duration::from_millis(1500));
    child.kill().unwrap();
    child.wait().unwrap();
    let dead = store.dead_letters(10).unwrap().len();
    println!("{expected} lines, {kills} kills, {} rotated files", expected as usize - LINES);
    assert_eq!((counts(&store), dead), ((expected, 0), 0), "(alerts, doubled), dead");
}
