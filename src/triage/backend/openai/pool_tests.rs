//! The pool by tables and by random walks.

use super::*;

const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn person(id: &str) -> Option<PersonId> {
    PersonId::new(id)
}

fn failed() -> Outcome {
    Outcome::Failed("down".into())
}

/// Joins and takes whatever turn comes at once.
fn go(pool: &mut Pool, avoid: &[usize], now: Instant) -> Option<Turn> {
    let place = pool.place(Priority::P2);
    assert!(pool.join(place, None, avoid.to_vec()));
    let turns = pool.turns(now);
    let mine = turns.iter().find(|t| t.0 == place).map(|t| t.1);
    if mine.is_none() {
        pool.leave(place);
    }
    mine
}

fn server(turn: Option<Turn>) -> usize {
    match turn {
        Some(Turn::Go { server, .. }) => server,
        other => panic!("{other:?}"),
    }
}

/// Fails so many requests of a server in a row.
fn fail(pool: &mut Pool, which: usize, times: u32, now: Instant) {
    let others: Vec<usize> = (0..8).filter(|i| *i != which).collect();
    for _ in 0..times {
        let Some(Turn::Go { server, trial }) = go(pool, &others, now) else { panic!("no slot") };
        assert_eq!(server, which);
        pool.done(server, trial, None, failed(), now);
    }
}

#[test]
fn the_least_busy_by_its_size_and_ties_go_round() {
    let now = Instant::now();
    let mut pool = Pool::new([(2, false), (4, false)], 0);
    let picks: Vec<usize> = (0..6).map(|_| server(go(&mut pool, &[], now))).collect();
    assert_eq!(picks.iter().filter(|p| **p == 0).count(), 2, "{picks:?}");
    assert_eq!(go(&mut pool, &[], now), None, "both are full");
    pool.done(1, false, None, Outcome::Good, now);
    assert_eq!(server(go(&mut pool, &[], now)), 1);

    let mut pool = Pool::new([(8, false), (8, false), (8, false)], 0);
    let picks: Vec<usize> = (0..6)
        .map(|_| {
            let i = server(go(&mut pool, &[], now));
            pool.done(i, false, None, Outcome::Good, now);
            i
        })
        .collect();
    assert_eq!(picks, [0, 1, 2, 0, 1, 2], "idle servers take turns");
}

#[test]
fn out_after_three_failures_in_a_row_and_one_request_tries_it_again() {
    let t = Instant::now();
    let mut pool = Pool::new([(4, false)], 0);
    fail(&mut pool, 0, 2, t);
    let i = server(go(&mut pool, &[], t));
    pool.done(i, false, None, Outcome::Good, t);
    fail(&mut pool, 0, 2, t);
    assert!(pool.outages(t).is_empty(), "not in a row");
    fail(&mut pool, 0, 1, t);
    assert_eq!(go(&mut pool, &[], t + s(29)), Some(Turn::Nobody));
    assert_eq!(pool.outages(t + s(10)), [Outage { server: 0, left: s(20), why: "down".into() }]);
    assert_eq!(pool.changes_at(t), Some(t + s(30)));

    let t = t + s(30);
    assert_eq!(go(&mut pool, &[], t), Some(Turn::Go { server: 0, trial: true }));
    assert_eq!(go(&mut pool, &[], t), Some(Turn::Nobody), "one tries, the others do not wait for it");
    pool.done(0, true, None, failed(), t + s(1));
    assert_eq!(go(&mut pool, &[], t + s(30)), Some(Turn::Nobody), "out again, from the failure on");
    let t = t + s(31);
    assert_eq!(go(&mut pool, &[], t), Some(Turn::Go { server: 0, trial: true }));
    pool.done(0, true, None, Outcome::Unknown, t);
    assert_eq!(go(&mut pool, &[], t), Some(Turn::Go { server: 0, trial: true }), "a cancelled trial is repeated");
    pool.done(0, true, None, Outcome::Good, t);
    assert_eq!(go(&mut pool, &[], t), Some(Turn::Go { server: 0, trial: false }));
    assert_eq!(go(&mut pool, &[], t), Some(Turn::Go { server: 0, trial: false }));
}

#[test]
fn old_requests_that_fail_do_not_lengthen_an_outage() {
    let t = Instant::now();
    let mut pool = Pool::new([(8, false)], 0);
    for _ in 0..5 {
        server(go(&mut pool, &[], t));
    }
    for i in 0..5 {
        pool.done(0, false, None, failed(), t + s(i));
    }
    assert_eq!(pool.changes_at(t + s(5)), Some(t + s(32)), "30 s from the third failure");
}

#[test]
fn a_backup_is_asked_only_when_all_others_are_out() {
    let t = Instant::now();
    let mut pool = Pool::new([(1, false), (1, false), (8, true)], 0);
    let (a, b) = (server(go(&mut pool, &[], t)), server(go(&mut pool, &[], t)));
    assert_eq!((a.min(b), a.max(b)), (0, 1));
    assert_eq!(go(&mut pool, &[], t), None, "busy is not out: it waits, the backup stays idle");
    assert_eq!(go(&mut pool, &[0, 1], t), None, "not even a second try goes there");
    for i in [0, 1] {
        pool.done(i, false, None, Outcome::Good, t);
        fail(&mut pool, i, 3, t + s(i as u64 * 5));
    }
    let now = t + s(6);
    assert_eq!(server(go(&mut pool, &[], now)), 2);
    let turn = go(&mut pool, &[], t + s(30));
    assert_eq!(turn, Some(Turn::Go { server: 0, trial: true }), "the first that may be tried is tried");
    assert_eq!(server(go(&mut pool, &[], t + s(30))), 2, "the rest go on at the backup meanwhile");
    pool.done(0, true, None, Outcome::Good, t + s(31));
    assert_eq!(server(go(&mut pool, &[], t + s(31))), 0);
}

#[test]
fn another_try_prefers_another_server() {
    let t = Instant::now();
    let mut pool = Pool::new([(4, false), (1, false)], 0);
    assert_eq!(server(go(&mut pool, &[0], t)), 1);
    assert_eq!(go(&mut pool, &[0], t), None, "it waits for the other one rather than going back");
    fail(&mut pool, 0, 3, t);
    pool.done(1, false, None, Outcome::Good, t);
    assert_eq!(server(go(&mut pool, &[1], t)), 1, "nobody else is there");
}

#[test]
fn a_server_that_refuses_us_is_asked_last_and_is_no_outage() {
    let t = Instant::now();
    let mut pool = Pool::new([(4, false), (4, false), (4, true)], 0);
    let wrong = || Outcome::Misconfigured("no such model".into());
    server(go(&mut pool, &[1, 2], t));
    pool.done(0, false, None, wrong(), t);
    for _ in 0..4 {
        assert_eq!(server(go(&mut pool, &[], t)), 1);
    }
    assert_eq!(go(&mut pool, &[], t), None);
    fail_busy(&mut pool, 1, t);
    assert_eq!(server(go(&mut pool, &[], t)), 2, "the backup before one that refuses");
    assert!(pool.has_other(&[0], t) && !pool.has_other(&[2], t));
    let mut alone = Pool::new([(4, false)], 0);
    server(go(&mut alone, &[], t));
    alone.done(0, false, None, wrong(), t);
    assert_eq!(server(go(&mut alone, &[], t)), 0, "alone it is asked again: a person may have mended it");
}

/// All requests of a server fail.
fn fail_busy(pool: &mut Pool, which: usize, now: Instant) {
    while pool.busy(which) > 0 {
        pool.done(which, false, None, failed(), now);
    }
}

#[test]
fn the_line_is_by_priority_and_then_by_coming() {
    let t = Instant::now();
    let mut pool = Pool::new([(1, false)], 0);
    server(go(&mut pool, &[], t));
    let places: Vec<Place> = [Priority::P3, Priority::P1, Priority::P0, Priority::P1, Priority::P0]
        .into_iter()
        .map(|p| {
            let place = pool.place(p);
            pool.join(place, None, vec![]);
            place
        })
        .collect();
    let mut order = Vec::new();
    for _ in 0..5 {
        pool.done(0, false, None, Outcome::Good, t);
        let turns = pool.turns(t);
        assert_eq!(turns.len(), 1);
        order.push(places.iter().position(|p| *p == turns[0].0).unwrap());
    }
    assert_eq!(order, [2, 4, 1, 3, 0]);
}

#[test]
fn the_line_has_an_end_and_outage_empties_it() {
    let t = Instant::now();
    let mut pool = Pool::new([(1, false)], 0);
    server(go(&mut pool, &[], t));
    for _ in 0..LINE_MAX {
        let place = pool.place(Priority::P2);
        assert!(pool.join(place, None, vec![]));
    }
    let place = pool.place(Priority::P0);
    assert!(!pool.join(place, None, vec![]));
    for _ in 0..3 {
        pool.done(0, false, None, failed(), t);
    }
    let turns = pool.turns(t);
    assert!(turns.len() == LINE_MAX && turns.iter().all(|x| x.1 == Turn::Nobody));
}

#[derive(Clone, Debug)]
enum Step {
    Join(u8, u8, Vec<usize>),
    Leave(usize),
    Done(usize, u8),
    Wait(u64),
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    use proptest::prelude::*;
    let step = prop_oneof![
        4 => (0u8..4, 0u8..3, proptest::collection::vec(0usize..4, 0..3)).prop_map(|(p, w, a)| Step::Join(p, w, a)),
        1 => (0usize..64).prop_map(Step::Leave),
        4 => (0usize..64, 0u8..6).prop_map(|(n, o)| Step::Done(n, o)),
        2 => (0u64..20).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..120)
}

proptest::proptest! {
    /// Whatever happens: no server over its capacity, no person over the limit, a trial is alone, a backup never beside
    /// an open server, nobody waits while there is a place for them, and in the end nothing is held.
    #[test]
    fn the_pool_keeps_its_promises(steps in steps(), per_person in 0u32..3) {
        let sizes = [(2, false), (3, false), (1, false), (2, true)];
        let mut pool = Pool::new(sizes, per_person);
        let mut now = Instant::now();
        let mut waiting: Vec<(Place, Option<PersonId>)> = Vec::new();
        let mut running: Vec<(usize, bool, Option<PersonId>)> = Vec::new();
        for step in steps {
            match step {
                Step::Join(p, who, avoid) => {
                    let place = pool.place(Priority::ALL[p as usize]);
                    let by = [None, person("a"), person("b")][who as usize].clone();
                    pool.join(place, by.clone(), avoid);
                    waiting.push((place, by));
                }
                Step::Leave(n) if !waiting.is_empty() => {
                    let (place, _) = waiting.remove(n % waiting.len());
                    pool.leave(place);
                }
                Step::Done(n, outcome) if !running.is_empty() => {
                    let (server, trial, by) = running.remove(n % running.len());
                    let outcome = match outcome {
                        0 | 1 => Outcome::Good,
                        2 => Outcome::Misconfigured("m".into()),
                        3 => Outcome::Unknown,
                        _ => failed(),
                    };
                    pool.done(server, trial, by.as_ref(), outcome, now);
                }
                Step::Wait(n) => now += s(n),
                _ => {}
            }
            let primaries_usable = |pool: &Pool| {
                (0..3).any(|i| pool.servers[i].open(now).is_some() && !pool.servers[i].aside(now))
            };
            let before = primaries_usable(&pool);
            for (place, turn) in pool.turns(now) {
                let at = waiting.iter().position(|w| w.0 == place).unwrap();
                let (_, by) = waiting.remove(at);
                if let Turn::Go { server, trial } = turn {
                    proptest::prop_assert!(server != 3 || !before || !primaries_usable(&pool));
                    running.push((server, trial, by));
                }
            }
            for (i, (capacity, _)) in sizes.iter().enumerate() {
                let n = running.iter().filter(|r| r.0 == i).count() as u32;
                proptest::prop_assert!(n <= *capacity && n == pool.busy(i));
                proptest::prop_assert!(running.iter().filter(|r| r.0 == i && r.1).count() <= 1);
            }
            if per_person > 0 {
                for p in ["a", "b"] {
                    proptest::prop_assert!(running.iter().filter(|r| r.2 == person(p)).count() as u32 <= per_person);
                }
            }
            proptest::prop_assert_eq!(pool.waiting(), waiting.len());
            proptest::prop_assert!(pool.turns(now).is_empty(), "whoever could go has gone");
        }
        for (server, trial, by) in running {
            pool.done(server, trial, by.as_ref(), Outcome::Good, now);
        }
        proptest::prop_assert!(pool.people.is_empty() && pool.servers.iter().all(|s| s.busy == 0 && !s.trial));
    }
}
