use super::*;
use crate::store::{Entry, StoreError};

pub(super) fn documents(make: Make<'_>) {
    let store = make();
    assert_eq!(store.doc("stage", "a").unwrap(), None);
    assert_eq!(store.put_doc("stage", "a", "{}", 0, at(1)).unwrap(), 1);
    assert!(matches!(store.put_doc("stage", "a", "[]", 0, at(2)), Err(StoreError::Conflict(_))), "it is there already");
    assert_eq!(store.put_doc("stage", "a", "[1]", 1, at(3)).unwrap(), 2);
    assert!(matches!(store.put_doc("stage", "a", "[2]", 1, at(4)), Err(StoreError::Conflict(_))), "changed since");
    assert!(matches!(store.put_doc("stage", "b", "{}", 7, at(4)), Err(StoreError::Conflict(_))), "never was");
    let doc = store.doc("stage", "a").unwrap().unwrap();
    assert_eq!((doc.rev, doc.at, doc.body.as_str()), (2, at(3), "[1]"));
    store.put_doc("other", "a", "{}", 0, at(5)).unwrap();
    assert_eq!(store.docs("stage", 10).unwrap(), [doc]);
    assert!(store.drop_doc("stage", "a").unwrap());
    assert!(!store.drop_doc("stage", "a").unwrap());
    assert_eq!(store.docs("other", 10).unwrap().len(), 1);
}

pub(super) fn series(make: Make<'_>) {
    let store = make();
    let entry = |t| Entry { at: at(t), body: format!("{t}") };
    for t in [3, 1, 2, 4] {
        assert!(store.add_entry("probe", "api", &entry(t)).unwrap());
    }
    assert!(!store.add_entry("probe", "api", &Entry { at: at(2), body: "later".into() }).unwrap());
    store.add_entry("probe", "mail", &entry(2)).unwrap();
    let read = |from, until, limit| store.entries("probe", "api", at(from), at(until), limit).unwrap();
    assert_eq!(read(1, 4, 10), [entry(1), entry(2), entry(3)], "from counts, until does not");
    assert_eq!(read(0, 9, 2), [entry(3), entry(4)], "the newest of them");
    assert_eq!(store.entry_keys("probe").unwrap(), ["api", "mail"]);
    assert_eq!(store.drop_entries("probe", at(3), 2).unwrap(), 2);
    assert_eq!(store.drop_entries("probe", at(3), 9).unwrap(), 1);
    assert_eq!(read(0, 9, 9), [entry(3), entry(4)]);
    assert_eq!(store.entry_keys("probe").unwrap(), ["api"]);
}
