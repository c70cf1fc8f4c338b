use super::*;
use crate::model::act::Act;
use crate::model::alert::{Disposition, NewDeadLetter, Observable, ObservableKind, Origin, Status};
use crate::model::priority::Priority;

fn full() -> NewAlert {
    let mut a = sample(1);
    a.fields = AlertFields {
        title: "Tïtle with \u{202e} and \u{0}NUL".into(),
        rule_id: Some("9701".into()),
        rule_name: Some("rule name".into()),
        severity: Severity::High,
        source_severity: Some("level 12 of 15".into()),
        confidence: Some(88),
        techniques: vec!["T1059".into(), "T1110.001".into()],
        host: Some("web-01".into()),
        user: Some("CORP\\bob".into()),
        process: Some("C:\\Windows\\cmd.exe".into()),
        command_line: Some("cmd /c \"whoami\"".into()),
        src_ip: Some("10.1.2.3".parse().unwrap()),
        src_port: Some(65_535),
        dst_ip: Some("2001:db8::7".parse().unwrap()),
        dst_port: Some(0),
        observables: vec![Observable { kind: ObservableKind::Domain, value: "evil.example".into() }],
        t_event: Some(at(-5)),
        t_alert: Some(at(-3)),
        product: Some("Wazuh".into()),
        source_id: Some("1758539602.1".into()),
    };
    a.raw = vec![0, 255, b'A', 10, 13, 0];
    a.asset_weight = 250;
    a.origin =
        Some(Origin { source: "os".into(), index: "i-1".into(), doc_id: "d-1".into(), seq_no: 4, primary_term: 1 });
    a
}

pub(super) fn round_trip(make: Make<'_>) {
    let store = make();
    let given = full();
    let id = put(&*store, &given, 0);
    let got = get(&*store, id);
    assert_eq!(got.fields, given.fields);
    assert_eq!((got.format.as_str(), &got.source), ("wazuh", &given.source));
    assert_eq!(store.raw(id).unwrap().unwrap(), given.raw);
    assert_eq!(got.raw_len, 6);
    assert_eq!(got.raw_sha256, hex::encode(given.raw_sha256));
    assert_eq!((got.identity, got.group), (hex::encode(given.identity), hex::encode(given.group)));
    assert_eq!((got.status, got.priority, got.detector_priority), (Status::New, Priority::P1, Priority::P1));
    assert_eq!((got.t_ingest, got.last_seen, got.count, got.rev), (at(0), at(0), 1, 1));
    assert_eq!((got.asset_weight, got.origin), (250, given.origin));
    let row = store.rows_by_id(&[id, AlertId(999), id]).unwrap();
    assert_eq!(row.len(), 2);
    assert_eq!(row[0].title, given.fields.title);
    assert_eq!(row[0].techniques, given.fields.techniques);
    assert_eq!((row[0].src_ip, row[0].dst_ip), (given.fields.src_ip, given.fields.dst_ip));
    assert_eq!(store.alert(AlertId(999)).unwrap(), None);
    assert_eq!(store.raw(AlertId(999)).unwrap(), None);
    assert!(store.timeline(AlertId(999), 5).unwrap().is_empty());
    assert_eq!(store.timeline(id, 5).unwrap()[0].kind, "ingest");
}

pub(super) fn repeats(make: Make<'_>) {
    let store = make();
    let first = sample(1);
    let id = put(&*store, &first, 0);
    let mut other = first.clone();
    other.raw = b"other bytes".to_vec();
    other.raw_sha256 = [9; 32];
    let got = store.ingest(&[first.clone(), other.clone(), sample(2), other], &[], None, at(60)).unwrap();
    assert_eq!(got[0], Ingested::Repeat(id));
    assert_eq!(got[1], Ingested::Repeat(id));
    assert!(matches!(got[2], Ingested::New(n) if n != id));
    assert_eq!(got[3], Ingested::Repeat(id));
    let alert = get(&*store, id);
    assert_eq!((alert.count, alert.last_seen, alert.t_ingest), (4, at(60), at(0)));
    assert_eq!(store.raw(id).unwrap().unwrap(), first.raw);
    assert_eq!(store.repeats(id, 10).unwrap(), [(at(60), b"other bytes".to_vec())]);
    assert_eq!(found(&*store, "count>3", 61), [id]);
}

pub(super) fn same_document(make: Make<'_>) {
    let store = make();
    let mut a = full();
    let id = put(&*store, &a, 0);
    assert_eq!(store.ingest(std::slice::from_ref(&a), &[], None, at(1)).unwrap(), [Ingested::Repeat(id)]);
    assert_eq!(get(&*store, id).count, 1);
    // Somebody changed the document: the new bytes are kept, but it is no second alert.
    a.raw = b"changed".to_vec();
    a.raw_sha256 = [8; 32];
    a.origin.as_mut().unwrap().seq_no = 9;
    store.ingest(std::slice::from_ref(&a), &[], None, at(2)).unwrap();
    let got = get(&*store, id);
    assert_eq!((got.count, got.origin.unwrap().seq_no), (1, 9));
    assert_eq!(store.repeats(id, 10).unwrap().len(), 1);
    // The source moved it to another index: the same alert came again, and lives there now.
    a.origin.as_mut().unwrap().index = "i-2".into();
    store.ingest(&[a], &[], None, at(3)).unwrap();
    let got = get(&*store, id);
    assert_eq!((got.count, got.origin.unwrap().index.as_str()), (2, "i-2"));
}

pub(super) fn repeat_after_close(make: Make<'_>) {
    let (store, ids) = filled(make, 1);
    let close = Act::Close { disposition: Disposition::FalsePositive, reason: "noise".into(), comment: None };
    store.act(&close, &ids, &who("bob"), at(10)).unwrap();
    for i in 0..5 {
        store.ingest(&[sample(0)], &[], None, at(20 + i)).unwrap();
    }
    let a = get(&*store, ids[0]);
    assert_eq!((a.status, a.count), (Status::Closed, 6));
    let lines = store.timeline(ids[0], 50).unwrap();
    let repeats: Vec<_> = lines.iter().filter(|l| l.kind == "repeat").collect();
    assert_eq!(repeats.len(), 1, "one line, however many repeats");
    assert_eq!(repeats[0].text.expose(), "repeat after close");
}

pub(super) fn checkpoints_and_dead_letters(make: Make<'_>) {
    let store = make();
    assert_eq!(store.checkpoint("tail").unwrap(), None);
    let letter = NewDeadLetter {
        source: "file:x".into(),
        format: Some("ecs".into()),
        offset: 7,
        line: Some(2),
        reason: "no title".into(),
        raw: b"{".to_vec(),
    };
    store.ingest(&[], std::slice::from_ref(&letter), Some(("tail", "17")), at(0)).unwrap();
    assert_eq!(store.checkpoint("tail").unwrap().as_deref(), Some("17"));
    store.set_checkpoint("tail", "18").unwrap();
    assert_eq!(store.checkpoint("tail").unwrap().as_deref(), Some("18"));
    let list = store.dead_letters(10).unwrap();
    assert_eq!(list.len(), 1);
    let got = &list[0];
    assert_eq!((got.at, &got.source, &got.format), (at(0), &letter.source, &letter.format));
    assert_eq!((got.offset, got.line, &got.reason, got.tries), (7, Some(2), &letter.reason, 1));
    let (same, raw) = store.dead_letter(got.id).unwrap().unwrap();
    assert_eq!((&same, raw), (got, letter.raw));
    assert_eq!(got.raw_len, 1);
    assert_eq!(got.raw_sha256, "021fb596db81e6d02bf3d2586ee3981fe519f275c0ac9ca76bbcf2ebb4097d96");
}

pub(super) fn changes(make: Make<'_>) {
    let (store, ids) = filled(make, 5);
    let since = store.revision().unwrap();
    assert!(since > 0);
    let none = store.changes(since, 10).unwrap();
    assert_eq!((none.revision, none.alerts.len(), none.overflow, none.others), (since, 0, false, false));
    store.act(&Act::Claim, &[ids[4], ids[1]], &who("bob"), at(9)).unwrap();
    store.ingest(&[sample(9)], &[], None, at(10)).unwrap();
    store.set_kill_switch(None).unwrap();
    let mut some = store.changes(since, 10).unwrap();
    some.alerts.sort();
    assert_eq!(some.alerts.len(), 3);
    assert_eq!(some.alerts[..2], [ids[1], ids[4]]);
    assert!(some.others && !some.overflow && some.revision > since);
    let few = store.changes(since, 2).unwrap();
    assert!(few.overflow && few.alerts.len() == 2);
    assert_eq!(store.changes(0, 100).unwrap().alerts.len(), 6);
    // A revision of some other store, or from before a restore.
    assert!(store.changes(some.revision + 1000, 10).unwrap().overflow);
}
