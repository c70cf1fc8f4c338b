//! kill -9 of the executing process, at a known point and at random ones.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::*;

/// Runs in a process of its own: executes the request it is told to.
#[tokio::test(flavor = "multi_thread")]
async fn helper_that_executes() {
    let (Ok(dir), Ok(request)) = (std::env::var("WF_TEST_CRASH_DIR"), std::env::var("WF_TEST_CRASH_ID")) else {
        return;
    };
    let d = open(Path::new(&dir));
    let _ = d.responder.execute(&id("alice"), &RequestId::new(request).unwrap(), now()).await;
}

fn executor(dir: &Path, r: &Request) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::helper_that_executes", "--test-threads=1"])
        .env("WF_TEST_CRASH_DIR", dir)
        .env("WF_TEST_CRASH_ID", r.body.id.as_str())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

pub fn marked(r: &Request) -> usize {
    marked_id(r.body.id.as_str())
}

/// Processes that run for this request.
pub fn marked_id(id: &str) -> usize {
    of_request(id, |_| true)
}

/// Those of them with such a command line.
pub fn of_request(id: &str, such: impl Fn(&[u8]) -> bool) -> usize {
    let mark = format!("WATCHFLOOR_REQUEST={id}\0");
    let of = |e: &fs::DirEntry, file: &str| fs::read(e.path().join(file)).unwrap_or_default();
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter(|e| memchr::memmem::find(&of(e, "environ"), mark.as_bytes()).is_some() && such(&of(e, "cmdline")))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_playbook_whose_watchfloor_was_killed_is_stopped_and_unknown_and_never_runs_again() {
    let dir = tempfile::tempdir().unwrap();
    let Some(d) = super::ansible::ansible_desk(dir.path()) else { return };
    let r = d.approved(draft("sleep", &["web1"], &[])).await;
    let mut child = executor(dir.path(), &r);
    // Asleep it says nothing, so that it does not notice at once that nobody listens any more.
    super::ansible::until("it runs", || super::ansible::sleepers(&r) == 1).await;
    assert!(d.kinds(&r.body.id).contains(&"action.intent".into()));
    assert_eq!(d.responder.recover(now()).unwrap(), 0, "its executor lives");
    assert_eq!(d.state(&r), RequestState::Executing);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(marked(&r) > 0, "the playbook is still at it");
    assert_eq!(d.responder.recover(now()).unwrap(), 1);
    assert_eq!(marked(&r), 0, "nobody watches it, so it was stopped");
    let ended = d.store.request(&r.body.id).unwrap().unwrap();
    assert_eq!((ended.state, states(&ended)), (RequestState::Failed, vec![ReceiptState::Unknown]));
    assert_eq!(d.responder.recover(now()).unwrap(), 0);
    assert!(matches!(d.execute(&r).await, Err(RespondError::Conflict(_))));
    assert_eq!(d.kinds(&r.body.id), ["action.proposed", "action.approved", "action.intent", "action.outcome"]);
    d.verify();
}

/// Each kill at another moment: nothing is sent twice, nothing is sent without its intent on the disk, nothing stays
/// executing, and the chain holds.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_points_nothing_runs_twice_or_unrecorded() {
    let dir = tempfile::tempdir().unwrap();
    let s = super::http::server();
    let d = desk(dir.path(), &super::http::actions(s.port), "");
    let rounds = std::env::var("WF_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(25);
    let mut ended: BTreeMap<String, usize> = BTreeMap::new();
    for i in 0..rounds {
        let r = d.approved(draft("paced", &["192.0.2.1", "192.0.2.2", "192.0.2.3"], &[])).await;
        let mut child = executor(dir.path(), &r);
        // From before it opens the desk to after it is done.
        let delay = (u64::from(rand::random::<u16>()) % 130) + (i % 3) * 10;
        tokio::time::sleep(Duration::from_millis(delay)).await;
        let _ = child.kill();
        child.wait().unwrap();
        d.responder.recover(now()).unwrap();
        // Whoever comes next tries it again.
        let again = d.execute(&r).await;
        let now_is = d.store.request(&r.body.id).unwrap().unwrap();
        assert!(now_is.state.is_final(), "{now_is:?} {again:?}");
        *ended.entry(format!("{} {}", now_is.state.word(), now_is.note.unwrap_or_default())).or_default() += 1;
        let kinds = d.kinds(&r.body.id);
        let intents = kinds.iter().filter(|k| *k == "action.intent").count();
        assert!(intents <= 1, "{kinds:?}");
        for t in &r.body.targets {
            let key = format!("idempotency-key: {}/{t}\r", r.body.id);
            let sent = s.got.lock().unwrap().iter().filter(|g| g.head.contains(&key)).count();
            assert!(sent <= 1, "{t} was hit {sent} times");
            assert!(sent <= intents, "{t} was hit without a record");
            let state = receipt(&now_is_of(&d, &r), t).state;
            match state {
                ReceiptState::Done => assert_eq!(sent, 1),
                ReceiptState::Skipped => assert_eq!(sent, 0, "said to be not started, but it was"),
                ReceiptState::Unknown => {}
                other => panic!("{other:?}"),
            }
        }
        d.verify();
    }
    println!("{rounds} kills: {ended:?}");
}

fn now_is_of(d: &Desk, r: &Request) -> Request {
    d.store.request(&r.body.id).unwrap().unwrap()
}

/// Runs in a process of its own: appends until it is killed, and says each record that is on the disk.
#[test]
fn helper_that_records() {
    let Ok(dir) = std::env::var("WF_TEST_AUDIT_DIR") else { return };
    let audit = Audit::open(Path::new(&dir)).unwrap();
    // Each process has its own: of a line cut short nothing else can follow.
    let said = format!("{dir}.said.{}", std::process::id());
    let mut out = fs::OpenOptions::new().append(true).create_new(true).open(said).unwrap();
    for i in 0..1_000_000u64 {
        let pad = "x".repeat((i % 97) as usize * 100);
        match audit.append(None, "crash", None, serde_json::json!({ "i": i, "pad": pad }), now()) {
            Ok(r) => {
                use std::io::Write as _;
                out.write_all(format!("{} {}\n", r.seq, r.hash).as_bytes()).unwrap();
            }
            Err(e) => {
                fs::write(format!("{dir}.error"), e.to_string()).unwrap();
                return;
            }
        }
    }
}

fn recorder(dir: &Path, shell: &str) -> Child {
    Command::new("/bin/sh")
        .args(["-c", &format!("{shell} exec \"$0\" --exact crash::helper_that_records --test-threads=1")])
        .arg(std::env::current_exe().unwrap())
        .env("WF_TEST_AUDIT_DIR", dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Everything that was said to be recorded is there, unchanged.
fn holds_what_was_said(dir: &Path) -> usize {
    let audit = Audit::open(dir).unwrap();
    audit.append(None, "after", None, serde_json::json!(null), now()).unwrap();
    let report = audit::verify(dir, None).unwrap();
    assert!(report.ok, "{report:?}");
    let all = audit.records(&AuditFilter::default(), usize::MAX).unwrap();
    let said = said(dir);
    for line in &said {
        let (seq, hash) = line.split_once(' ').unwrap();
        assert_eq!(all[seq.parse::<usize>().unwrap()].hash, hash);
    }
    said.len()
}

/// Every whole line of those who record.
fn said(dir: &Path) -> Vec<String> {
    let begins = format!("{}.said.", dir.file_name().unwrap().to_string_lossy());
    let files = fs::read_dir(dir.parent().unwrap()).unwrap().flatten();
    let files = files.filter(|e| e.file_name().to_string_lossy().starts_with(&begins));
    let texts: Vec<String> = files.map(|e| fs::read_to_string(e.path()).unwrap()).collect();
    let lines = texts.iter().flat_map(|t| t.split_inclusive('\n')).filter_map(|l| l.strip_suffix('\n'));
    lines.map(str::to_owned).collect()
}

#[test]
fn killed_while_recording_nothing_acknowledged_is_lost() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("audit");
    let mut count = 0;
    for round in 0..15 {
        let mut writers = [recorder(&dir, ""), recorder(&dir, "")];
        // In two rounds of three when they are at it, however slow the machine is; else wherever they are.
        let start = std::time::Instant::now();
        while round % 3 > 0 && said(&dir).len() < count + 6 {
            assert!(start.elapsed() < Duration::from_secs(150), "they record nothing");
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(40 + u64::from(rand::random::<u8>())));
        for w in &mut writers {
            w.kill().unwrap();
        }
        for w in &mut writers {
            w.wait().unwrap();
        }
        count = holds_what_was_said(&dir);
    }
    assert!(count > 50, "it recorded {count}");
}

/// The disk is full in the middle of a line: an error, and the log ends with the record before.
#[test]
fn a_full_disk_is_an_error_and_leaves_whole_records() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("audit");
    // A limit on the size of files, with its signal ignored, gives a short write and then an error.
    recorder(&dir, "trap '' XFSZ; ulimit -f 60;").wait().unwrap();
    let error = fs::read_to_string(dir.with_extension("error")).unwrap();
    assert!(error.contains("cannot be written"), "{error}");
    let bytes = fs::read(dir.join("log.ndjson")).unwrap();
    assert!(bytes.ends_with(b"\n") && bytes.len() > 10_000, "{} bytes", bytes.len());
    assert!(holds_what_was_said(&dir) > 5);
    assert!(!fs::read_dir(&dir).unwrap().flatten().any(|e| e.file_name().to_string_lossy().starts_with("log.torn")));
}
