//! Import, dead letters and suppressions, into a real store.
#![allow(clippy::disallowed_macros, reason = "tests say what they skipped")]

use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::file::{Input, import};
use crate::intake::pipeline::{Pipeline, Retried, Summary};
use crate::model::alert::Status;
use crate::model::case::Suppression;
use crate::model::ids::{DeadLetterId, PersonId, SuppressionId};
use crate::model::keys::KeyPolicy;
use crate::model::query::{Page, Query, SortKey};
use crate::store::Store;
use crate::store::sqlite::SqliteStore;

fn pipeline() -> Pipeline {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open_temporary().unwrap());
    let weight = Arc::new(|host: &str| if host == "crown" { 300 } else { 100 });
    Pipeline::new(store, KeyPolicy::default(), weight, BTreeMap::new())
}

fn wazuh(n: usize, host: &str) -> String {
    format!(
        r#"{{"timestamp":"2026-11-21T06:00:00.000+0000","rule":{{"level":7,"description":"Import test","id":"1002"}},"agent":{{"id":"001","name":"{host}"}},"id":"{n}.1","full_log":"line {n}","location":"/var/log/syslog"}}"#
    ) + "\n"
}

fn stream(text: impl Into<Vec<u8>>) -> Vec<Input> {
    vec![Input::Stream("stdin".into(), Box::new(std::io::Cursor::new(text.into())))]
}

fn read(p: &Pipeline, inputs: Vec<Input>, format: Option<&str>) -> Summary {
    let s = import(p, inputs, format, |_| ()).unwrap();
    assert_eq!(s.accepted + s.duplicates + s.dead, s.read, "{s:?}");
    assert_eq!(s.by_format.values().sum::<u64>(), s.accepted + s.duplicates, "{s:?}");
    let now = Timestamp::now();
    assert!(p.store().dead_letters(usize::MAX).unwrap().len() as u64 >= s.dead);
    assert!(p.store().count(&Query::All, u64::MAX, now).unwrap().n >= s.accepted);
    s
}

#[test]
fn broken_records_stop_nothing_and_the_same_again_is_a_duplicate() {
    let p = pipeline();
    let text = format!("{}{{\"rule\": oops\n\n{}not an alert\n{}", wazuh(1, "a"), wazuh(2, "crown"), wazuh(3, "a"));
    let s = read(&p, stream(text.clone()), Some("wazuh"));
    assert_eq!((s.read, s.accepted, s.duplicates, s.dead), (5, 3, 0, 2));
    let s = read(&p, stream(text), Some("wazuh"));
    assert_eq!((s.accepted, s.duplicates, s.dead), (0, 3, 2));
    let letters = p.store().dead_letters(10).unwrap();
    let lines: Vec<Option<u64>> = letters.iter().map(|l| l.line).collect();
    assert!(lines.contains(&Some(2)) && lines.contains(&Some(5)), "{lines:?}");
    assert!(letters.iter().all(|l| l.format.as_deref() == Some("wazuh") && !l.reason.is_empty()));
    // The inventory's weight is on the alert, the bytes are the record's own.
    let rows = p.store().rows(&Query::All, SortKey::Newest, Page::First, 10, Timestamp::now()).unwrap();
    let crown = rows.iter().find(|r| r.asset_weight == 300).unwrap();
    assert_eq!(p.store().raw(crown.id).unwrap().unwrap(), wazuh(2, "crown").trim_end().as_bytes());
}

#[test]
fn files_folders_and_gzip() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("sub")).unwrap();
    std::fs::write(at("sub/a.json"), wazuh(1, "a")).unwrap();
    std::fs::write(at(".hidden"), wazuh(2, "a")).unwrap();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(format!("{}{}", wazuh(3, "a"), wazuh(4, "a")).as_bytes()).unwrap();
    let gz = gz.finish().unwrap();
    std::fs::write(at("b.gz"), &gz).unwrap();
    let p = pipeline();
    let mut total = 0;
    let mut last = 0;
    let s = import(&p, vec![Input::Path(dir.path().to_owned())], None, |x| {
        total = x.total.unwrap();
        last = x.bytes;
    })
    .unwrap();
    assert_eq!((s.read, s.accepted, s.dead, s.failed.len()), (3, 3, 0, 0));
    assert_eq!(last, total, "progress reaches the end");

    // Cut short: what was there is kept, and the file is named.
    std::fs::write(at("cut.gz"), &gz[..gz.len() - 12]).unwrap();
    let s = import(&p, vec![Input::Path(at("cut.gz"))], None, |_| ()).unwrap();
    assert_eq!(s.failed.len(), 1, "{s:?}");
    assert!(s.failed[0].input.expose().ends_with("cut.gz") && !s.failed[0].reason.is_empty());

    let gone = import(&p, vec![Input::Path(at("nowhere"))], None, |_| ()).unwrap_err().to_string();
    assert!(gone.ends_with("nowhere: No such file or directory"), "{gone}");
    let format = import(&p, stream(""), Some("wazu"), |_| ()).unwrap_err().to_string();
    assert!(format.contains("wazuh"), "{format}");
}

/// A pipe somebody writes into now and then.
struct Pipe(Receiver<Vec<u8>>);

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let bytes = self.0.recv().unwrap_or_default();
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

#[test]
fn a_trickle_is_stored_as_it_comes() {
    let p = pipeline();
    let (write, pipe) = channel();
    let q = p.clone();
    let importing = std::thread::spawn(move || {
        import(&q, vec![Input::Stream("stdin".into(), Box::new(Pipe(pipe)))], None, |_| ()).unwrap()
    });
    write.send(wazuh(1, "a").into_bytes()).unwrap();
    let end = Instant::now() + Duration::from_secs(120);
    while p.store().count(&Query::All, 9, Timestamp::now()).unwrap().n == 0 {
        assert!(Instant::now() < end, "an alert waits for the end of its stream");
        std::thread::sleep(Duration::from_millis(20));
    }
    write.send(wazuh(2, "a").trim_end().as_bytes().to_vec()).unwrap();
    drop(write);
    let s = importing.join().unwrap();
    assert_eq!((s.read, s.accepted), (2, 2), "a last line without a newline is a record");
}

#[test]
fn a_dead_letter_is_read_again_and_only_then_gone() {
    let p = pipeline();
    let s = read(&p, stream(format!("{}garbage\n", wazuh(1, "a"))), Some("suricata"));
    assert_eq!((s.accepted, s.dead), (0, 2));
    let letters = p.store().dead_letters(10).unwrap();
    let garbage = letters.iter().find(|l| l.raw_len == 7).unwrap();
    assert!(matches!(p.retry_dead_letter(garbage.id, Some("wazuh")).unwrap(), Retried::Unreadable(_)));
    assert_eq!(p.store().dead_letter(garbage.id).unwrap().unwrap().0.tries, garbage.tries + 1);
    let sum = p.retry_dead_letters(Some("wazuh"), |_, _| ()).unwrap();
    assert_eq!((sum.tried, sum.read, sum.still_dead, sum.accepted), (2, 1, 1, 1));
    let left: Vec<_> = p.store().dead_letters(10).unwrap().iter().map(|l| l.id).collect();
    assert_eq!(left, [garbage.id]);
    assert!(p.retry_dead_letter(DeadLetterId(left[0].0 + 99), None).unwrap_err().to_string().contains("not found"));
}

#[test]
fn a_suppression_hides_what_it_covers_and_nothing_else() {
    let p = pipeline();
    let now = Timestamp::now();
    let mut s = Suppression {
        id: SuppressionId(0),
        query: "host:quiet-*".into(),
        owner: PersonId::new("alice").unwrap(),
        reason: "a test".into(),
        created: now,
        expires: now + SignedDuration::from_hours(1),
        hidden: 0,
    };
    let id = p.store().add_suppression(&s).unwrap();
    (s.query, s.expires) = ("host:late-*".into(), now - SignedDuration::from_hours(1));
    p.store().add_suppression(&s).unwrap();
    read(&p, stream(format!("{}{}{}", wazuh(1, "quiet-1"), wazuh(2, "loud"), wazuh(3, "late-1"))), None);
    let rows = p.store().rows(&Query::All, SortKey::Newest, Page::First, 10, now).unwrap();
    let hidden: Vec<&str> = rows
        .iter()
        .filter(|r| r.status == Status::Suppressed)
        .filter_map(|r| r.host.as_ref().map(crate::text::Untrusted::expose))
        .collect();
    assert_eq!((rows.len(), hidden), (3, vec!["quiet-1"]));
    let counted = p.store().suppressions().unwrap().into_iter().find(|s| s.id == id).unwrap().hidden;
    assert_eq!(counted, 1);
}

#[test]
fn several_alerts_of_one_record_are_several_alerts() {
    let p = pipeline();
    let body = r#"{"version":"4","groupKey":"g","status":"firing","receiver":"soc","groupLabels":{},"commonLabels":{"alertname":"Disk"},"commonAnnotations":{},"externalURL":"http://am","alerts":[
        {"status":"firing","labels":{"alertname":"Disk","instance":"a:9100"},"annotations":{},"startsAt":"2026-11-21T06:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://p"},
        {"status":"firing","labels":{"alertname":"Disk","instance":"b:9100"},"annotations":{},"startsAt":"2026-11-21T06:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://p"}]}"#;
    let s = read(&p, stream(body), None);
    assert_eq!((s.read, s.accepted), (2, 2), "{s:?}");
}

fn data() -> Option<PathBuf> {
    let dir = std::env::var_os("WATCHFLOOR_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    dir.is_dir().then_some(dir)
}

#[test]
fn no_record_of_the_real_files_is_lost() {
    let Some(dir) = data() else {
        println!("skipped: no shared/data beside the checkout (WATCHFLOOR_TEST_DATA)");
        return;
    };
    let p = pipeline();
    let mut sum = Summary::default();
    for name in ["wazuh", "suricata-eve", "ecs", "otrf-windows", "secrl-alerts", "ait-llm-verdict", "ocsf"] {
        let s = read(&p, vec![Input::Path(dir.join(name))], None);
        println!("{name}: {s:?}");
        assert!(s.accepted > 0 && s.failed.is_empty(), "{name}: {s:?}");
        sum.add(&s);
    }
    let stored = p.store().count(&Query::All, u64::MAX, Timestamp::now()).unwrap().n;
    assert_eq!(stored, sum.accepted);
    assert_eq!(p.store().dead_letters(usize::MAX).unwrap().len() as u64, sum.dead);
}
