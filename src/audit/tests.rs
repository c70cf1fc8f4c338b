use std::fs;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::model::audit::Head;
use crate::model::ids::PersonId;
use jiff::Timestamp;

fn at(s: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + s).unwrap()
}

fn alice() -> PersonId {
    PersonId::new("alice").unwrap()
}

fn fill(dir: &Path, n: u64) -> Head {
    let audit = Audit::open(dir).unwrap();
    for i in 0..n {
        let body = json!({"alert": i, "reason": "käse \u{202e} \u{1f512} \"x\"", "n": 1.5});
        let r = audit.append(Some(&alice()), "alert.close", Some("01J"), body, at(i as i64)).unwrap();
        assert_eq!(r.seq, i);
    }
    audit.head().unwrap()
}

fn log(dir: &Path) -> Vec<u8> {
    fs::read(dir.join("log.ndjson")).unwrap()
}

fn faults(dir: &Path, known: Option<&Head>) -> Vec<Fault> {
    let report = verify(dir, known).unwrap();
    assert_eq!(report.ok, report.faults.is_empty());
    report.faults
}

#[test]
fn a_log_that_nobody_touched_is_ok() {
    let dir = tempfile::tempdir().unwrap();
    let empty = Audit::open(dir.path()).unwrap().head().unwrap();
    assert_eq!(empty.size, 0);
    assert!(verify(dir.path(), Some(&empty)).unwrap().ok);
    let early = fill(dir.path(), 5);
    let audit = Audit::open(dir.path()).unwrap();
    audit.append(None, "desk.start", None, json!({}), at(9)).unwrap();
    for known in [None, Some(&empty), Some(&early), Some(&audit.head().unwrap())] {
        let report = verify(dir.path(), known).unwrap();
        assert_eq!((report.ok, report.size), (true, 6), "{report:?}");
        assert_eq!(report.root, audit.head().unwrap().root);
    }
    let text = early.to_string();
    assert_eq!(text.parse::<Head>().unwrap(), early);
}

/// Every byte, three ways: one bit, another letter case or digit, and gone.
#[test]
fn any_byte_that_is_changed_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let head = fill(dir.path(), 4);
    let whole = log(dir.path());
    let path = dir.path().join("log.ndjson");
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', &whole).collect();
    for i in 0..whole.len() {
        let line = ends.iter().filter(|e| **e < i).count() as u64 + 1;
        for change in 0..3 {
            let mut bytes = whole.clone();
            match change {
                0 => bytes[i] ^= 1,
                1 => bytes[i] ^= 0x20,
                _ => drop(bytes.remove(i)),
            }
            fs::write(&path, &bytes).unwrap();
            // The log alone shows it, but for the very last newline's absence, which is also a fault.
            let found = verify(&path, None).unwrap();
            assert!(!found.ok, "byte {i} change {change}");
            let first = &found.faults[0];
            assert!(first.line == line || first.line == line + 1, "byte {i} of line {line}: {first:?}");
            assert!(!faults(dir.path(), Some(&head)).is_empty());
        }
    }
    fs::write(&path, &whole).unwrap();
    assert!(faults(dir.path(), Some(&head)).is_empty());
}

#[test]
fn a_cut_tail_is_found_against_the_checkpoint_and_a_known_head() {
    let dir = tempfile::tempdir().unwrap();
    let head = fill(dir.path(), 6);
    let whole = log(dir.path());
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', &whole).map(|e| e + 1).collect();
    for keep in 0..6 {
        let end = if keep == 0 { 0 } else { ends[keep - 1] };
        fs::write(dir.path().join("log.ndjson"), &whole[..end]).unwrap();
        let cut = faults(dir.path(), None);
        assert!(cut[0].what.contains("the checkpoint knows of 6"), "{cut:?}");
        let alone = verify(&dir.path().join("log.ndjson"), Some(&head)).unwrap();
        assert!(alone.faults[0].what.contains("the known head knows of 6"), "{alone:?}");
        let refused = Audit::open(dir.path()).unwrap().append(None, "x", None, json!({}), at(0));
        assert!(matches!(refused, Err(AuditError::Damaged { .. })), "{refused:?}");
    }
    fs::remove_file(dir.path().join("log.ndjson")).unwrap();
    assert!(!faults(dir.path(), None).is_empty());
    assert!(matches!(Audit::open(dir.path()).unwrap().head(), Err(AuditError::Damaged { .. })));
}

#[test]
fn swapped_removed_inserted_and_doubled_records_are_found() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 6);
    let text = String::from_utf8(log(dir.path())).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let try_it = |lines: Vec<&str>, line: u64| {
        let path = dir.path().join("other.ndjson");
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let report = verify(&path, None).unwrap();
        assert!(!report.ok);
        assert_eq!(report.faults[0].line, line, "{report:?}");
    };
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    try_it(swapped, 3);
    let mut removed = lines.clone();
    removed.remove(2);
    try_it(removed, 3);
    let mut first_gone = lines.clone();
    first_gone.remove(0);
    try_it(first_gone, 1);
    let mut doubled = lines.clone();
    doubled.insert(3, lines[2]);
    try_it(doubled, 4);
    // A record of another log with the right number.
    let other = tempfile::tempdir().unwrap();
    let a = Audit::open(other.path()).unwrap();
    for i in 0..6 {
        a.append(None, "x", None, json!({ "i": i }), at(i)).unwrap();
    }
    let foreign = String::from_utf8(log(other.path())).unwrap();
    let mut replaced = lines.clone();
    replaced[2] = foreign.lines().nth(2).unwrap();
    try_it(replaced, 3);
}

/// Somebody rewrites the whole log with good hashes: only a head noted before can show it.
#[test]
fn a_fork_is_found_against_a_known_head() {
    let dir = tempfile::tempdir().unwrap();
    let known = fill(dir.path(), 5);
    let forged = tempfile::tempdir().unwrap();
    let a = Audit::open(forged.path()).unwrap();
    for i in 0..9 {
        a.append(Some(&alice()), "alert.close", None, json!({ "i": i }), at(i)).unwrap();
    }
    assert!(faults(forged.path(), None).is_empty());
    let found = faults(forged.path(), Some(&known));
    assert!(found[0].what.starts_with("forked"), "{found:?}");
}

#[test]
fn a_torn_line_is_moved_aside_and_recorded() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 3);
    let path = dir.path().join("log.ndjson");
    let whole = log(dir.path());
    let line = whole.split_inclusive(|b| *b == b'\n').next_back().unwrap().to_vec();
    for cut in [1, line.len() / 2, line.len() - 1] {
        let mut torn = log(dir.path());
        let before = torn.len();
        torn.extend_from_slice(&line[..cut]);
        fs::write(&path, &torn).unwrap();
        assert!(!verify(dir.path(), None).unwrap().ok, "a torn line is not silently accepted");
        let audit = Audit::open(dir.path()).unwrap();
        let size = audit.head().unwrap().size;
        let r = audit.append(None, "desk.start", None, json!({}), at(50)).unwrap();
        assert_eq!(r.seq, size + 1, "the record of it comes first");
        let said = audit.records(&AuditFilter { kind: Some("audit.torn".into()), ..Default::default() }, 1).unwrap();
        assert_eq!(said[0].body["bytes"], cut);
        assert_eq!(said[0].body["offset"], before);
        let name = said[0].body["file"].as_str().unwrap();
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), &line[..cut]);
        assert!(verify(dir.path(), None).unwrap().ok);
    }
}

/// The process died after moving the line aside and before recording it.
#[test]
fn a_torn_line_moved_aside_but_not_recorded_is_recorded_later() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 3);
    fs::write(dir.path().join("log.torn-x.pending"), b"{\"at\"").unwrap();
    let audit = Audit::open(dir.path()).unwrap();
    assert_eq!(audit.head().unwrap().size, 4);
    assert!(dir.path().join("log.torn-x").exists());
    assert!(verify(dir.path(), None).unwrap().ok);
}

#[test]
fn a_missing_checkpoint_is_rebuilt_and_a_stale_one_caught_up() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 3);
    let stale = fs::read(dir.path().join("checkpoint")).unwrap();
    let head = {
        let a = Audit::open(dir.path()).unwrap();
        for i in 3..7 {
            a.append(None, "x", None, json!(null), at(i)).unwrap();
        }
        a.head().unwrap()
    };
    fs::write(dir.path().join("checkpoint"), &stale).unwrap();
    assert_eq!(Audit::open(dir.path()).unwrap().head().unwrap(), head);
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    let a = Audit::open(dir.path()).unwrap();
    assert_eq!(a.head().unwrap(), head);
    assert_eq!(a.append(None, "x", None, json!(null), at(8)).unwrap().seq, 7);
    assert!(verify(dir.path(), Some(&head)).unwrap().ok);
    fs::write(dir.path().join("checkpoint"), b"{}").unwrap();
    assert!(matches!(
        Audit::open(dir.path()).unwrap().append(None, "x", None, json!(1), at(9)),
        Err(AuditError::Damaged { .. })
    ));
}

#[test]
fn an_altered_last_record_stops_appending_but_not_reading() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 3);
    let mut bytes = log(dir.path());
    let i = memchr::memmem::rfind(&bytes, b"alert.close").unwrap();
    bytes[i] = b'X';
    fs::write(dir.path().join("log.ndjson"), &bytes).unwrap();
    for with_checkpoint in [true, false] {
        if !with_checkpoint {
            fs::remove_file(dir.path().join("checkpoint")).unwrap();
        }
        let a = Audit::open(dir.path()).unwrap();
        assert!(matches!(a.append(None, "x", None, json!(1), at(9)), Err(AuditError::Damaged { .. })));
        let seen = a.scan(&AuditFilter::default(), 10).unwrap();
        assert_eq!(seen.records.len() + seen.unreadable.len(), 3);
    }
}

#[test]
fn several_writers_make_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    // Each has its own open file, as each process has.
    let writers: Vec<_> = (0..4)
        .map(|w| {
            let dir = dir.path().to_owned();
            std::thread::spawn(move || {
                let a = Audit::open(&dir).unwrap();
                (0..25).map(|i| a.append(None, "w", None, json!([w, i]), at(i)).unwrap().seq).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut all: Vec<u64> = writers.into_iter().flat_map(|w| w.join().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    let report = verify(dir.path(), None).unwrap();
    assert_eq!((report.ok, report.size), (true, 100));
}

#[test]
fn a_log_that_cannot_be_written_is_an_error_each_time_and_reading_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    // A folder where the log should be: fails for root too, unlike permissions.
    fs::create_dir(dir.path().join("log.ndjson")).unwrap();
    let a = Audit::open(dir.path()).unwrap();
    for _ in 0..2 {
        let e = a.append(None, "x", None, json!(1), at(0)).unwrap_err();
        assert!(matches!(e, AuditError::Unwritable { .. }), "{e}");
    }
    fs::remove_dir(dir.path().join("log.ndjson")).unwrap();
    assert_eq!(a.append(None, "x", None, json!(1), at(0)).unwrap().seq, 0);
    // No space left: every write to this one fails.
    let full = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", full.path().join("log.ndjson")).unwrap();
    let e = Audit::open(full.path()).unwrap().append(None, "x", None, json!(1), at(0)).unwrap_err();
    assert!(matches!(e, AuditError::Unwritable { .. }), "{e}");
}

#[test]
fn what_is_returned_is_what_stands_there_whatever_is_in_the_body() {
    let dir = tempfile::tempdir().unwrap();
    let a = Audit::open(dir.path()).unwrap();
    let bodies = [
        json!({"big": u64::MAX, "neg": i64::MIN, "f": 1e300, "tiny": 1e-9, "z": -0.0, "third": 1.0 / 3.0}),
        json!({"\u{1f600}": 1, "\u{fffd}": 2, "é": 3, "": 4, "a\"b": "\u{0}\u{7f}\u{2028}\\"}),
        json!({"hash": "0".repeat(64), "body": {"by": null, "hash": "x\",\"kind\":\"y"}}),
        json!("x".repeat(300_000)),
    ];
    for body in bodies {
        let wrote = a.append(None, "x", None, body, at(0)).unwrap();
        let read = a.records(&AuditFilter::default(), 1).unwrap();
        assert_eq!(read, vec![wrote]);
    }
    let first = &a.records(&AuditFilter { from_seq: Some(0), ..Default::default() }, 9).unwrap()[0];
    assert_eq!(first.body["big"], u64::MAX.to_string(), "not a rounded double");
    assert!(verify(dir.path(), None).unwrap().ok);
}

#[test]
fn records_are_found_by_filter_newest_kept_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    let a = Audit::open(dir.path()).unwrap();
    for i in 0..600 {
        let kind = if i % 2 == 0 { "action.intent" } else { "alert.close" };
        let who = if i % 3 == 0 { Some(alice()) } else { None };
        let id = format!("R{}", i % 5);
        a.append(who.as_ref(), kind, Some(&id), json!({"pad": "p".repeat(400), "Word": "Zebra"}), at(i)).unwrap();
    }
    let seqs = |f: AuditFilter, n| a.records(&f, n).unwrap().iter().map(|r| r.seq).collect::<Vec<_>>();
    assert_eq!(seqs(AuditFilter::default(), 3), [597, 598, 599]);
    assert_eq!(seqs(AuditFilter { kind: Some("action.".into()), ..Default::default() }, 2), [596, 598]);
    assert_eq!(seqs(AuditFilter { by: Some(alice()), ..Default::default() }, 2), [594, 597]);
    assert_eq!(seqs(AuditFilter::request("R3"), 2), [593, 598]);
    assert_eq!(seqs(AuditFilter { text: Some("zebra".into()), until: Some(at(7)), ..Default::default() }, 1), [7]);
    for from in [0, 1, 300, 599] {
        let f = AuditFilter { from_seq: Some(from), ..Default::default() };
        assert_eq!(seqs(f, 1000), (from..600).collect::<Vec<_>>());
    }
    assert!(seqs(AuditFilter { from_seq: Some(600), ..Default::default() }, 9).is_empty());
}

#[test]
fn exports_verify_and_hold_no_formulas() {
    let dir = tempfile::tempdir().unwrap();
    let head = fill(dir.path(), 3);
    let a = Audit::open(dir.path()).unwrap();
    let copy = dir.path().join("copy");
    let mut out = Vec::new();
    to_ndjson(&a.log_path(), &mut out).unwrap();
    fs::write(&copy, &out).unwrap();
    assert!(verify(&copy, Some(&head)).unwrap().ok);
    let mut r = a.records(&AuditFilter::default(), 1).unwrap().remove(0);
    r.kind = "=HYPERLINK(\"x\")".into();
    let mut out = Vec::new();
    to_csv(&[r], &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains(",\"'=HYPERLINK(\"\"x\"\")\","), "{text}");
    assert!(!text.contains('\u{202e}') && text.contains("\\u202e"), "{text}");
}

/// The snippet in the module's documentation is this file.
#[test]
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "runs the documented check; says when it cannot"
)]
fn python_alone_can_verify_it() {
    let dir = tempfile::tempdir().unwrap();
    let early = fill(dir.path(), 6);
    let a = Audit::open(dir.path()).unwrap();
    a.append(None, "x", None, json!({"hash": "0".repeat(64), "b": {"by": null, "hash": "y"}}), at(0)).unwrap();
    let head = a.head().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/audit/check.py");
    let run = |path: &Path, size: Option<u64>| {
        let mut c = std::process::Command::new("python3");
        c.arg(&script).arg(path);
        if let Some(s) = size {
            c.arg(s.to_string());
        }
        c.output()
    };
    let path = dir.path().join("log.ndjson");
    let out = match run(&path, None) {
        Ok(o) => o,
        Err(e) => return println!("skipped: python3: {e}"),
    };
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), head.to_string(), "{out:?}");
    let out = run(&path, Some(early.size)).unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), early.to_string());
    let mut bytes = log(dir.path());
    bytes[700] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let out = run(&path, None).unwrap();
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("line 3"), "{out:?}");
}

#[test]
fn a_head_is_checked_against_what_was_added_and_never_taken_on_trust() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path()).unwrap();
    let at = "2026-11-21T12:00:00Z".parse().unwrap();
    let add = |n: usize| {
        for i in 0..n {
            audit.append(None, "x", None, serde_json::json!({ "i": i }), at).unwrap();
        }
        audit.head().unwrap()
    };
    let read = || audit.checked.lock().unwrap().as_ref().unwrap().read;
    let (first, second) = (add(50), add(50));
    audit.begins_with(&first).unwrap().unwrap();
    let all = read();
    audit.begins_with(&second).unwrap().unwrap();
    assert_eq!(read(), all, "nothing was added, nothing is read");
    let third = add(1);
    audit.begins_with(&third).unwrap().unwrap();
    assert!(read() - all < all / 50, "only what was added");
    assert_eq!(read(), std::fs::metadata(audit.log_path()).unwrap().len());
    let forged = Head { size: 50, root: third.root.clone() };
    assert!(audit.begins_with(&forged).unwrap().unwrap_err().contains("have the root"));
    let longer = Head { size: 500, root: third.root.clone() };
    assert!(audit.begins_with(&longer).unwrap().unwrap_err().contains("holds 101 records"));
    // Another log under the same name is read from its beginning.
    let text = std::fs::read_to_string(audit.log_path()).unwrap();
    std::fs::rename(audit.log_path(), dir.path().join("kept")).unwrap();
    std::fs::write(audit.log_path(), text.replacen("\"i\":7", "\"i\":8", 1)).unwrap();
    assert!(audit.begins_with(&third).unwrap().unwrap_err().contains("record 7 is damaged"));
    // And one cut short has lost what was signed.
    let cut: String = text.lines().take(40).map(|l| format!("{l}\n")).collect();
    std::fs::write(audit.log_path(), cut).unwrap();
    assert!(audit.begins_with(&first).unwrap().is_err());
    std::fs::rename(dir.path().join("kept"), audit.log_path()).unwrap();
    audit.begins_with(&first).unwrap().unwrap();
}

#[test]
fn a_conditional_record_is_written_only_while_nothing_says_no() {
    let dir = tempfile::tempdir().unwrap();
    let at = "2026-11-21T12:00:00Z".parse().unwrap();
    let logs: Vec<Audit> = (0..4).map(|_| Audit::open(dir.path()).unwrap()).collect();
    std::thread::scope(|s| {
        for log in &logs {
            s.spawn(move || {
                for _ in 0..20 {
                    let none = || {
                        let there = log.records(&AuditFilter::request("r"), 10).map_err(|e| e.to_string())?;
                        if there.is_empty() { Ok(()) } else { Err("there".to_owned()) }
                    };
                    log.append_if(None, "once", Some("r"), serde_json::json!({}), at, none).unwrap().ok();
                    log.append(None, "often", None, serde_json::json!({}), at).unwrap();
                }
            });
        }
    });
    assert_eq!(logs[0].records(&AuditFilter::request("r"), 100).unwrap().len(), 1);
    assert!(verify(dir.path(), None).unwrap().ok);
}
