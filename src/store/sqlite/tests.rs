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
