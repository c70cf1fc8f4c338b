use super::*;
use crate::model::act::Act;
use crate::model::alert::Disposition;
use crate::model::query::Count;
use crate::store::PastDispositions;

/// Reads the whole list by pages of this size, downwards and upwards.
fn walk(store: &dyn Store, query: &Query, sort: SortKey, size: usize) -> Vec<AlertId> {
    let page =
        |p| -> Vec<AlertId> { store.rows(query, sort, p, size, at(1000)).unwrap().iter().map(|r| r.id).collect() };
    let mut down = page(Page::First);
    while let Some(last) = down.last().copied() {
        let next = page(Page::After(last));
        if next.is_empty() {
            break;
        }
        assert!(next.len() <= size);
        down.extend(next);
    }
    let mut up = page(Page::Last);
    while let Some(first) = up.first().copied() {
        let before = page(Page::Before(first));
        if before.is_empty() {
            break;
        }
        up.splice(0..0, before);
    }
    assert_eq!(down, up, "{query} by {}", sort.word());
    down
}

pub(super) fn pages(make: Make<'_>) {
    let (store, ids) = filled(make, 60);
    let close = Act::Close { disposition: Disposition::FalsePositive, reason: "x".into(), comment: None };
    store.act(&close, &ids[10..20], &who("bob"), at(100)).unwrap();
    for text in ["", "status:open", "host:web-1", "sev>=medium", "sample", "status:closed or host:web-2", "title:none"]
    {
        for sort in SortKey::ALL {
            let query = q(text);
            let whole: Vec<_> = store.rows(&query, sort, Page::First, 1000, at(1000)).unwrap();
            for size in [1, 7, 60] {
                assert_eq!(walk(&*store, &query, sort, size), whole.iter().map(|r| r.id).collect::<Vec<_>>());
            }
            let sorted = whole.windows(2).all(|w| match sort {
                SortKey::Newest => w[0].id > w[1].id,
                SortKey::Oldest => w[0].id < w[1].id,
                SortKey::Risk => rank(&w[0]) >= rank(&w[1]),
                SortKey::Severity => true,
            });
            assert!(sorted, "{text} by {}", sort.word());
        }
    }
    let severities: Vec<_> = store
        .rows(&Query::All, SortKey::Severity, Page::First, 1000, at(1000))
        .unwrap()
        .iter()
        .map(|r| r.severity)
        .collect();
    let unknown = severities.iter().position(|s| *s == Severity::Unknown).unwrap();
    assert_eq!(severities[0], Severity::Fatal);
    assert_eq!(severities[59], Severity::Informational, "an unknown severity is not the lowest");
    assert_eq!(severities[unknown - 1], Severity::Medium);
    around(&*store, &ids);
}

fn rank(r: &crate::model::alert::AlertRow) -> f64 {
    crate::model::risk::rank(r.priority, r.asset_weight, r.confidence, r.t_ingest)
}

fn around(store: &dyn Store, ids: &[AlertId]) {
    let whole: Vec<AlertId> = walk(store, &Query::All, SortKey::Oldest, 100);
    for middle in [0, 1, 30, 58, 59] {
        let page = store.rows(&Query::All, SortKey::Oldest, Page::Around(whole[middle]), 9, at(1000)).unwrap();
        let page: Vec<_> = page.iter().map(|r| r.id).collect();
        let from = middle.saturating_sub(4).min(51);
        assert_eq!(page, whole[from..from + 9], "around {middle}");
    }
    // An anchor that itself does not match.
    let page = store.rows(&q("status:open"), SortKey::Oldest, Page::Around(ids[15]), 4, at(1000)).unwrap();
    assert_eq!(page.iter().map(|r| r.id).collect::<Vec<_>>(), [ids[8], ids[9], ids[20], ids[21]]);
    assert!(store.rows(&Query::All, SortKey::Risk, Page::After(AlertId(9999)), 4, at(1)).unwrap().is_empty());
    assert!(store.rows(&Query::All, SortKey::Risk, Page::First, 0, at(1)).unwrap().is_empty());
}

pub(super) fn counts_and_positions(make: Make<'_>) {
    let (store, _) = filled(make, 40);
    for text in ["", "host:web-1", "sample", "status:open pri<=P1", "nothing at all", "age>1d"] {
        let query = q(text);
        for sort in SortKey::ALL {
            let rows = store.rows(&query, sort, Page::First, 1000, at(50)).unwrap();
            let n = rows.len() as u64;
            let count = |cap| store.count(&query, cap, at(50)).unwrap();
            assert_eq!(count(1000), Count { n, exact: true }, "{text}");
            assert_eq!(count(n), Count { n, exact: true }, "{text}");
            if n > 0 {
                assert_eq!(count(n - 1), Count { n: n - 1, exact: false }, "{text}");
            }
            for (i, row) in rows.iter().enumerate() {
                let place = store.position(&query, sort, row.id, 1000, at(50)).unwrap();
                assert_eq!(place, Count { n: i as u64, exact: true }, "{text} by {}", sort.word());
            }
        }
    }
    let last = store.rows(&Query::All, SortKey::Newest, Page::Last, 1, at(50)).unwrap()[0].id;
    let place = store.position(&Query::All, SortKey::Newest, last, 5, at(50)).unwrap();
    assert_eq!(place, Count { n: 5, exact: false });
    assert_eq!(store.position(&Query::All, SortKey::Risk, AlertId(9999), 5, at(50)).unwrap().n, 0);
}

pub(super) fn queries_over_state(make: Make<'_>) {
    let (store, ids) = filled(make, 8);
    let bob = who("bob");
    let act = |act: &Act, id| store.act(act, &[id], &bob, at(20)).unwrap();
    act(&Act::Claim, ids[0]);
    let merged = act(&Act::Merge { case: None, title: "one".into() }, ids[1]);
    act(&Act::Close { disposition: Disposition::TruePositive, reason: "r".into(), comment: None }, ids[2]);
    act(&Act::Snooze { until: at(500), reason: "later".into() }, ids[3]);
    let case = merged.case.unwrap();
    let sorted = |text: &str| {
        let mut got = found(&*store, text, 30);
        got.sort();
        got
    };
    assert_eq!(sorted("owner:bob"), [ids[0], ids[2]]);
    assert_eq!(sorted("owner:none status:open").len(), 6);
    assert_eq!(sorted("status:claimed"), [ids[0]]);
    assert_eq!(sorted("status:claimed,snoozed"), [ids[0], ids[3]]);
    assert_eq!(sorted("status:closed disp:tp"), [ids[2]]);
    assert_eq!(sorted("status!=closed").len(), 7);
    assert_eq!(sorted(&format!("case:{case}")), [ids[1]]);
    assert_eq!(sorted("case:any"), [ids[1]]);
    assert_eq!(sorted("case:none").len(), 7);
    assert_eq!(sorted(&format!("id:{} or id:{}", ids[4], ids[5])), [ids[4], ids[5]]);
    assert_eq!(sorted("age<24s").len(), 1, "only the newest, 23 seconds old");
    assert_eq!(sorted("not (owner:bob or case:any) sample").len(), 5);
    assert!(sorted("verdict:any").is_empty());
    assert_eq!(sorted("verdict:none").len(), 8);
}

pub(super) fn related_and_past(make: Make<'_>) {
    const TP: Disposition = Disposition::TruePositive;
    const FP: Disposition = Disposition::FalsePositive;
    let store = make();
    let alike = |n: u32, rule: &str, host: &str, user: &str, group: u8| {
        let mut a = sample(n);
        a.fields.rule_id = Some(rule.into());
        a.fields.host = Some(host.into());
        a.fields.user = Some(user.into());
        a.fields.severity = Severity::Medium;
        a.group = [group; 16];
        a
    };
    let all = [
        alike(0, "1", "a", "x", 1),
        alike(1, "1", "A", "y", 2),
        alike(2, "1", "b", "X", 3),
        alike(3, "2", "c", "z", 1),
        alike(4, "3", "d", "w", 4),
    ];
    let mut all = all.to_vec();
    all[4].fields.dst_ip = Some("10.0.0.9".parse().unwrap());
    all[0].fields.src_ip = Some("10.0.0.9".parse().unwrap());
    let ids: Vec<_> = all.iter().enumerate().map(|(i, a)| put(&*store, a, i as i64)).collect();
    let related = |limit| -> Vec<_> { store.related(ids[0], limit).unwrap().iter().map(|r| r.id).collect() };
    assert_eq!(related(10), [ids[4], ids[3], ids[2], ids[1]], "address, group, user, host; newest first");
    assert_eq!(related(2), [ids[4], ids[3]]);
    let close = |d| Act::Close { disposition: d, reason: "r".into(), comment: None };
    store.act(&close(Disposition::FalsePositive), &ids[1..3], &who("bob"), at(50)).unwrap();
    store.act(&close(Disposition::TruePositive), &ids[3..4], &who("bob"), at(60)).unwrap();
    let past = store.past_dispositions(ids[0]).unwrap();
    let get = |alike: &str| past.iter().find(|p| p.alike == alike).unwrap();
    assert_eq!(get("rule").counts, [(Disposition::FalsePositive, 2)]);
    assert_eq!((get("rule").total, get("rule").last_closed), (2, Some(at(50))));
    assert_eq!((get("rule+host").total, get("rule+user").total), (1, 1));
    assert_eq!(get("group").counts, [(Disposition::TruePositive, 1)]);
    assert_eq!(get("shape").counts, [], "no other has a source address");
    let second = store.past_dispositions(ids[1]).unwrap();
    let shape = second.iter().find(|p| p.alike == "shape").unwrap();
    assert_eq!(shape.counts, [(FP, 1)], "the same but for a number in the title");
    assert_eq!(
        (get("name").counts[0].1 + get("name").counts[1].1, get("name").total),
        (3, 3),
        "whatever its rule's id"
    );
    assert_eq!(get("host").counts, [(Disposition::FalsePositive, 1)], "host names are alike in any case");
    assert_eq!(get("user").counts, [(Disposition::FalsePositive, 1)]);
    assert_eq!(get("all").closings, [(TP, at(60)), (FP, at(50)), (FP, at(50))], "newest first");
    let order: Vec<_> = past.iter().map(|p| p.alike).collect();
    let known: Vec<_> = PastDispositions::ALIKE.into_iter().filter(|a| order.contains(a)).collect();
    assert_eq!(order, known, "narrowest first");
    // Thirty days after, the old ones count half.
    let w = get("rule").weighted(at(50 + 30 * 86_400), 30);
    assert!((w[FP as usize] - 1.0).abs() < 1e-6 && w[TP as usize] == 0.0, "{w:?}");
    assert_eq!(get("rule").weighted(at(0), 30)[FP as usize], 2.0, "the future does not count more");
    let none = store.past_dispositions(ids[4]).unwrap();
    let own = |p: &&PastDispositions| !["name", "all"].contains(&p.alike);
    assert!(none.iter().filter(own).all(|p| p.total == 0 && p.counts.is_empty() && p.last_closed.is_none()));
    store.act(&Act::Reopen, &ids[1..3], &who("bob"), at(70)).unwrap();
    let past = store.past_dispositions(ids[0]).unwrap();
    assert!(past.iter().find(|p| p.alike == "rule").unwrap().closings.is_empty(), "opened again is not closed");
}
