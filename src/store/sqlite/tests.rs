use super::*;
use crate::model::alert::AlertFields;
use crate::model::query::parse;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn alert(n: u8, host: &str) -> NewAlert {
    NewAlert {
        fields: AlertFields { title: format!("alert {n}").into(), host: Some(host.into()), ..Default::default() },
        format: "wazuh".into(),
        source: "file:/x".into(),
        raw: format!("{{\"n\":{n},\"Host\":\"{host}\"}}").into_bytes(),
        raw_sha256: [n; 32],
        identity: [n; 16],
        group: [1; 16],
        suppressed_by: None,
        asset_weight: 100,
        origin: None,
    }
}

#[test]
fn it_does_what_every_store_must() {
    crate::store::conformance::all(&|| Box::new(SqliteStore::open_temporary().unwrap()));
}

#[test]
fn a_first_round() {
    let s = SqliteStore::open_temporary().unwrap();
    let batch: Vec<_> = (1..=9).map(|n| alert(n, if n % 2 == 0 { "web-1" } else { "db-1" })).collect();
    let got = s.ingest(&batch, &[], Some(("x", "7")), at(0)).unwrap();
    assert_eq!(got.len(), 9);
    assert_eq!(s.checkpoint("x").unwrap().as_deref(), Some("7"));
    for (q, n) in [
        ("", 9),
        ("host:web-*", 4),
        ("host:WEB-1", 4),
        ("not host:web-1", 5),
        ("WEB", 4),
        ("web status:open", 4),
        ("alert or nothing", 9),
        ("format:wazuh source:file:* -\"alert 3\"", 8),
        ("age<2h", 9),
        ("age>2h", 0),
        ("sev:unknown pri:P2", 9),
        ("owner:bob or case:any or verdict:any or disp:fp", 0),
    ] {
        let query = parse(q, None).unwrap();
        for sort in SortKey::ALL {
            assert_eq!(s.rows(&query, sort, Page::First, 100, at(1)).unwrap().len(), n, "{q} {sort:?}");
        }
        assert_eq!(s.count(&query, 100, at(1)).unwrap(), Count { n: n as u64, exact: true }, "{q}");
    }
    let many: Vec<_> = (0..2000u32)
        .map(|n| {
            let mut a = alert(9, "web-2");
            a.identity[4..8].copy_from_slice(&n.to_be_bytes());
            a.raw = format!("Needle-{n:04} and more").into_bytes();
            a
        })
        .collect();
    s.ingest(&many, &[], None, at(1)).unwrap();
    let searches = || {
        ["needle-1234", "NEEDLE", "ee", "web-2", "absent", "", "needle-00", "alert 9\u{7f}"]
            .map(|t| {
                s.rows(
                    &Query::Term(crate::model::query::Term::Text(t.into())),
                    SortKey::Newest,
                    Page::First,
                    9999,
                    at(2),
                )
            })
            .map(|rows| rows.unwrap().iter().map(|r| r.id).collect::<Vec<_>>())
    };
    let slow = searches();
    assert_eq!(slow[0].len(), 1);
    assert_eq!(slow[1].len(), 2000);
    assert_eq!(slow[5].len(), 2009);
    s.forget_searches();
    while s.index_step(1000).unwrap() > 0 {}
    assert_eq!(searches(), slow);
    let bob = PersonId::new("bob").unwrap();
    let r = s.act(&Act::Claim, &[AlertId(1)], &bob, at(2)).unwrap();
    assert_eq!(s.alert(AlertId(1)).unwrap().unwrap().owner, Some(bob.clone()));
    s.undo(r.undo.unwrap(), &bob, at(3)).unwrap();
    assert_eq!(s.alert(AlertId(1)).unwrap().unwrap().owner, None);
    assert_eq!(s.raw(AlertId(2)).unwrap().unwrap(), batch[1].raw);
    assert_eq!(s.integrity_check().unwrap(), "ok");
}

fn refused(path: &Path) -> String {
    match SqliteStore::open(path) {
        Err(StoreError::Unreadable(what)) => what,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn what_is_no_store_of_ours_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let newer = dir.path().join("newer.db");
    drop(SqliteStore::open(&newer).unwrap());
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(refused(&newer).contains("version 99"));
    let foreign = dir.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs(x); INSERT INTO theirs VALUES(1)").unwrap();
    assert!(refused(&foreign).contains("some other program"));
    let n: i64 =
        Connection::open(&foreign).unwrap().query_row("SELECT count(*) FROM theirs", [], |r| r.get(0)).unwrap();
    assert_eq!(n, 1);
    let text = dir.path().join("text.db");
    std::fs::write(&text, "this is no database, but it is long enough to be looked at as one".repeat(20)).unwrap();
    refused(&text);
    let nowhere = SqliteStore::open(Path::new("/proc/none/x.db"));
    assert!(matches!(nowhere, Err(StoreError::Unavailable(_))));
}

#[test]
fn a_reader_far_behind_is_told_to_reload() {
    let s = SqliteStore::open_temporary().unwrap();
    s.write(|tx| {
        for id in 0..70_000 {
            change::alerts(tx, vec![id % 10 + 1])?;
        }
        Ok(())
    })
    .unwrap();
    assert!(s.changes(1, 100).unwrap().overflow);
    let near = s.changes(69_995, 100).unwrap();
    assert_eq!((near.overflow, near.alerts.len(), near.revision), (false, 5, 70_000));
    let kept: i64 = s.read(|c| c.query_row("SELECT count(*) FROM change", [], |r| r.get(0)).map_err(err)).unwrap();
    assert!(kept < 67_000);
}

#[test]
fn plans_use_the_indexes_they_name() {
    // A query plan that SQLite cannot follow is an error, so every shape is tried; each answer is compared with the
    // others in `agree`.
    let s = SqliteStore::open_temporary().unwrap();
    s.ingest(&(1..=5).map(|n| alert(n, "web-1")).collect::<Vec<_>>(), &[], None, at(0)).unwrap();
    let bob = PersonId::new("bob").unwrap();
    for q in [
        "owner:me",
        "owner:none",
        "case:1",
        "case:any",
        "disp:fp",
        "verdict:fp",
        "verdict:any",
        "src:10.0.0.1",
        "dst:10.0.0.0/8",
        "age<1h",
        "age>=1h",
        "sev>=high",
        "sev:unknown",
        "sev>unknown",
        "pri<=P1 status:open",
        "status:claimed",
        "status:new,snoozed",
        "status:closed",
        "group:01",
        "group:0*",
        "identity:zz",
        "host:web-1",
        "user:x",
        "rule:1",
        "tech:T1059",
        "id:1",
        "proc:a",
        "not (status:closed or status:suppressed)",
        "(status:new sev:low) or web",
        "not *",
    ] {
        let query = parse(q, Some(&bob)).unwrap();
        for sort in SortKey::ALL {
            for page in
                [Page::First, Page::Last, Page::After(AlertId(2)), Page::Before(AlertId(2)), Page::Around(AlertId(3))]
            {
                s.rows(&query, sort, page, 3, at(1)).unwrap_or_else(|e| panic!("{q}: {e}"));
            }
            s.position(&query, sort, AlertId(3), 10, at(1)).unwrap_or_else(|e| panic!("{q}: {e}"));
        }
        s.count(&query, 10, at(1)).unwrap_or_else(|e| panic!("{q}: {e}"));
    }
}

#[test]
fn verdicts_of_an_older_store_count_in_the_figures() {
    use crate::model::verdict::{Claim, Verdict, VerdictKind};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(schema::MIGRATIONS[0]).unwrap();
    old.pragma_update(None, "application_id", 0x5746_6c72).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    for id in 1..=2 {
        old.execute(
            "INSERT INTO alert(id, status, priority, severity, sev_order, rank, t_ingest, format, source, title,
               detector_priority, asset_weight, identity, grp, last_seen, disposition)
             VALUES(?1, 3, 1, 4, 4, 1.0, 5, 1, 1, 'old', 1, 100, ?2, x'01', 5, 2)",
            rusqlite::params![id, [id as u8; 16]],
        )
        .unwrap();
        let mut v = Verdict::new(VerdictKind::FalsePositive, "openai", at(id), &format!("r{id}"));
        v.took_ms = 900;
        v.fallback = id == 2;
        v.claims = vec![Claim { founded: true, ..Claim::new("t", "f", "q") }, Claim::new("t", "f", "q")];
        let mut json = serde_json::to_value(&v).unwrap();
        // As older versions wrote it.
        for later in ["server", "playbook", "text_dependent", "usage"] {
            json.as_object_mut().unwrap().remove(later);
        }
        old.execute("INSERT INTO verdict(alert, json) VALUES(?, ?)", rusqlite::params![id, json.to_string()]).unwrap();
    }
    drop(old);
    let s = SqliteStore::open(&path).unwrap();
    let stats = s.triage_stats(at(0), at(60)).unwrap();
    assert_eq!((stats.verdicts, stats.fallbacks, stats.by_model, stats.kinds), (2, 1, 1, [0, 0, 2, 0]));
    assert_eq!((stats.took_p50, stats.claims, stats.founded), (Some(900), 4, 2));
    assert_eq!(stats.agreement.len(), 2);
    assert_eq!((stats.agreement[1].rule.expose(), stats.agreement[1].agreed), ("old", 1));
}
