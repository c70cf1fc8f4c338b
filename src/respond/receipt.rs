//! What the receipts of a run add up to.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::execute::bounded;
use super::request::Event;
use crate::model::action::{Receipt, ReceiptState, RequestBody};

/// Longest detail that goes into the audit log, in bytes.
const RECORDED: usize = 2000;

/// Receipts for the targets that have none, all saying the same.
pub fn missing(body: &RequestBody, have: &[Receipt], state: ReceiptState, why: &str, at: Timestamp) -> Vec<Receipt> {
    let without =
        body.targets.iter().filter(|t| !have.iter().any(|r| r.target == **t && r.state != ReceiptState::Pending));
    let changed = (state == ReceiptState::Skipped).then_some(0);
    without.map(|t| Receipt { target: t.clone(), state, changed, detail: why.into(), at }).collect()
}

/// Done only if every target is known to be done.
pub fn outcome(body: &RequestBody, receipts: &[Receipt]) -> Event {
    let done = |t: &String| receipts.iter().any(|r| r.target == *t && r.state == ReceiptState::Done);
    if body.targets.iter().all(done) { Event::Finish } else { Event::Fail }
}

/// Such as `2 done, 1 failed, 1 not known`.
pub fn summary(receipts: &[Receipt]) -> String {
    let words = [
        (ReceiptState::Done, "done"),
        (ReceiptState::Failed, "failed"),
        (ReceiptState::Unknown, "not known"),
        (ReceiptState::Skipped, "not started"),
        (ReceiptState::Pending, "pending"),
    ];
    let count = |s| receipts.iter().filter(|r| r.state == s).count();
    let parts: Vec<String> =
        words.into_iter().filter(|(s, _)| count(*s) > 0).map(|(s, w)| format!("{} {w}", count(s))).collect();
    parts.join(", ")
}

/// For the audit log.
pub fn recorded(receipts: &[Receipt]) -> Value {
    receipts
        .iter()
        .map(|r| {
            json!({
                "target": r.target,
                "state": r.state,
                "changed": r.changed,
                "at": r.at,
                "detail": bounded(r.detail.expose(), RECORDED),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::respond::testing::body;

    fn receipt(target: &str, state: ReceiptState) -> Receipt {
        let at = "2026-11-21T12:00:00Z".parse().unwrap();
        Receipt { target: target.into(), state, changed: None, detail: "".into(), at }
    }

    #[test]
    fn only_all_done_is_done() {
        use ReceiptState::{Done, Failed, Pending, Skipped, Unknown};
        let b = body(&["a", "b"]);
        assert_eq!(outcome(&b, &[receipt("a", Done), receipt("b", Done)]), Event::Finish);
        for other in [Failed, Unknown, Skipped, Pending] {
            assert_eq!(outcome(&b, &[receipt("a", Done), receipt("b", other)]), Event::Fail);
        }
        assert_eq!(outcome(&b, &[receipt("a", Done)]), Event::Fail, "none is not done");
        assert_eq!(outcome(&b, &[]), Event::Fail);
    }

    #[test]
    fn each_target_gets_one() {
        let b = body(&["a", "b", "c"]);
        let at = "2026-11-21T12:00:00Z".parse().unwrap();
        let have = [receipt("a", ReceiptState::Done), receipt("b", ReceiptState::Pending)];
        let more = missing(&b, &have, ReceiptState::Unknown, "x", at);
        assert_eq!(more.iter().map(|r| r.target.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(summary(&more), "2 not known");
    }
}
