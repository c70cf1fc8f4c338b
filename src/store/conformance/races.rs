//! Several threads at one store. That several processes see the same is the business of `tests/store_processes.rs`.

use std::sync::Barrier;

use super::*;
use crate::model::act::{Act, Refusal};
use crate::model::action::RequestState;
use crate::store::StoreError;

const THREADS: u32 = 8;

/// Runs it on eight threads at once.
fn at_once<T: Send>(f: impl Fn(u32) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..THREADS)
            .map(|i| {
                let (f, barrier) = (&f, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    f(i)
                })
            })
            .collect();
        handles.into_iter().map(|h| h.join().unwrap()).collect()
    })
}

pub(super) fn claims(make: Make<'_>) {
    let (store, ids) = filled(make, 5);
    for id in ids {
        let reports = at_once(|i| store.act(&Act::Claim, &[id], &who(&format!("p{i}")), at(10)).unwrap());
        let winners: Vec<_> = (0..THREADS).filter(|i| !reports[*i as usize].done.is_empty()).collect();
        let [winner] = winners.as_slice() else { panic!("{winners:?} won") };
        let holder = who(&format!("p{winner}"));
        assert_eq!(get(&*store, id).owner, Some(holder.clone()));
        for r in reports.iter().filter(|r| r.done.is_empty()) {
            assert_eq!(r.refused[0].why, Refusal::HeldBy { person: holder.clone(), since: at(10) });
        }
    }
}

pub(super) fn updates(make: Make<'_>) {
    let store = make();
    let r = requests::request("r1", RequestState::Pending);
    store.add_request(&r).unwrap();
    let results = at_once(|i| {
        let mut mine = r.clone();
        mine.note = Some(format!("p{i}"));
        store.update_request(&mine)
    });
    let won: Vec<_> = results.iter().filter_map(|r| r.as_ref().ok()).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(store.request(&r.body.id).unwrap().as_ref(), Some(won[0]));
    assert!(results.iter().all(|r| r.is_ok() || matches!(r, Err(StoreError::Conflict(_)))));
}

pub(super) fn executions(make: Make<'_>) {
    let store = make();
    let r = requests::request("r1", RequestState::Approved);
    store.add_request(&r).unwrap();
    let results = at_once(|i| store.begin_execution(&r.body.id, "d1", &who(&format!("p{i}")), at(1)));
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    assert_eq!(store.execution_count(Some("isolate-host"), Some("web-1"), at(0)).unwrap(), 1);
}

pub(super) fn ingests(make: Make<'_>) {
    let store = make();
    let batch: Vec<_> = (0..50).map(sample).collect();
    let results = at_once(|_| store.ingest(&batch, &[], None, at(1)).unwrap());
    let new = results.iter().flatten().filter(|i| matches!(i, Ingested::New(_))).count();
    assert_eq!(new, 50, "each alert is new once");
    let rows = store.rows(&Query::All, SortKey::Oldest, Page::First, 1000, at(2)).unwrap();
    assert_eq!(rows.len(), 50);
    assert!(rows.iter().all(|r| r.count == THREADS));
}
