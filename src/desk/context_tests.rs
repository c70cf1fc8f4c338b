use super::*;
use crate::desk::Demo;
use crate::model::query::Page;
use crate::model::query::Query;
use crate::model::query::SortKey;

#[test]
fn an_alert_of_the_demo_has_neighbours_facts_and_a_playbook() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::open(Some(dir.path().join("d")), None).unwrap();
    demo.fill(400.0).unwrap();
    let rows = demo.desk.rows(&Query::All, SortKey::Newest, Page::First, 500).unwrap();
    let (mut with_near, mut with_fact, mut with_book) = (0, 0, 0);
    for row in &rows {
        let alert = demo.desk.store.alert(row.id).unwrap().unwrap();
        let c = demo.desk.context(&alert).unwrap();
        assert!(c.rule_seen >= 1 && c.rule_seen <= c.all_seen, "{c:#?}");
        assert_eq!(c.all_seen, rows.len() as u64);
        assert!(c.neighbours.iter().all(|n| n.id != row.id && !n.shares.is_empty() && n.seconds.abs() <= NEAR_SECONDS));
        assert!(c.neighbours.is_sorted_by_key(|n| n.seconds.unsigned_abs()));
        with_near += usize::from(!c.neighbours.is_empty());
        with_fact += usize::from(c.asset.is_some());
        with_book += usize::from(c.playbook.is_some());
        assert_eq!(
            c.asset.as_ref().map(|a| a.weight),
            row.host.as_ref().map(|_| row.asset_weight).filter(|_| c.asset.is_some())
        );
    }
    assert!(
        with_near * 2 > rows.len() && with_fact * 3 > rows.len() && with_book > 10,
        "{with_near} {with_fact} {with_book} of {}",
        rows.len()
    );
    let lsass = rows.iter().find(|r| r.title.expose().contains("LSASS"));
    if let Some(row) = lsass {
        let q = demo.desk.question(row.id).unwrap();
        assert_eq!(q.context.playbook.unwrap().name, "credential-theft");
    }
}
