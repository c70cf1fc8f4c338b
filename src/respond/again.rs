//! A second request that follows from a first: the targets where it failed once more, or what it did taken back. Each is
//! a request of its own, with its own dry run and approvals, and names the one before.

use jiff::Timestamp;
use tokio::task::spawn_blocking;

use super::propose::lost;
use super::{RespondError, Responder, Result, refused};
use crate::model::action::{ActionDef, Draft, ReceiptState, Request, RequestState};
use crate::model::ids::{PersonId, RequestId};
use crate::text::Untrusted;

/// Requests looked through for ones that followed already.
const LATER: usize = 5_000;

impl Responder {
    /// Asks again for the targets where it failed or never began; with `unknown`, also for those where nobody knows
    /// whether it happened.
    pub async fn retry(
        &self,
        by: &PersonId,
        id: &RequestId,
        unknown: bool,
        reason: Option<Untrusted>,
        now: Timestamp,
    ) -> Result<Request> {
        let (old, later) = self.with_followers(id).await?;
        let targets = retried(&old, &later, unknown).map_err(RespondError::Refused)?;
        let reason = reason.unwrap_or_else(|| after("once more", &old));
        let draft = Draft { targets, reason, ..draft_of(&old) };
        self.propose_after(by, draft, id.clone(), now).await
    }

    /// Asks for the action that undoes it, for the targets where it was done; with `unknown`, also for those where it may
    /// have been.
    pub async fn undo(
        &self,
        by: &PersonId,
        id: &RequestId,
        unknown: bool,
        reason: Option<Untrusted>,
        now: Timestamp,
    ) -> Result<Request> {
        let (old, later) = self.with_followers(id).await?;
        let Some(undo) = old.body.undo.clone() else {
            return refused(format!("{} cannot be undone by an action", old.body.action));
        };
        let catalogue = self.catalogue();
        let def = catalogue
            .iter()
            .find(|d| d.name == undo)
            .ok_or_else(|| RespondError::Refused(format!("the action {undo} is not in the catalogue any more")))?;
        let targets = undone(&old, &later, unknown).map_err(RespondError::Refused)?;
        let reason = reason.unwrap_or_else(|| after("takes back", &old));
        let params = shared(def, &old);
        let draft = Draft { action: undo, targets, params, reason, ..draft_of(&old) };
        self.propose_after(by, draft, id.clone(), now).await
    }

    /// The request, and those that name it.
    async fn with_followers(&self, id: &RequestId) -> Result<(Request, Vec<Request>)> {
        let (inner, id) = (self.inner.clone(), id.clone());
        let read = spawn_blocking(move || {
            let old = inner.request(&id)?;
            let mut later = inner.store.requests(&RequestState::ALL, LATER)?;
            later.retain(|r| r.body.replaces.as_ref() == Some(&id));
            Ok((old, later))
        });
        read.await.map_err(lost)?
    }
}

fn draft_of(old: &Request) -> Draft {
    let b = &old.body;
    Draft {
        action: b.action.clone(),
        targets: Vec::new(),
        params: b.params.clone(),
        alerts: b.alerts.clone(),
        case: b.case,
        reason: Untrusted::default(),
        suggested_by: b.suggested_by,
    }
}

fn after(what: &str, old: &Request) -> Untrusted {
    Untrusted::new(format!("{what}: {} ({})", old.body.id, crate::text::front(old.body.reason.expose(), 3_000)))
}

/// Parameters of the old request that the undoing action has too.
fn shared(def: &ActionDef, old: &Request) -> std::collections::BTreeMap<String, String> {
    let has = |name: &String| def.params.iter().any(|p| p.name == *name);
    old.body.params.iter().filter(|(name, _)| has(name)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// The targets in one of these states, in the order of the request.
fn those(old: &Request, states: &[ReceiptState]) -> Vec<String> {
    let is = |t: &&String| old.receipts.iter().any(|r| r.target == **t && states.contains(&r.state));
    old.body.targets.iter().filter(is).cloned().collect()
}

/// Which of these another request that follows has in hand or has done. `same`: one of the same action, or of another.
fn taken<'a>(old: &Request, later: &'a [Request], target: &str, same: bool) -> Option<&'a Request> {
    later.iter().filter(|r| (r.body.action == old.body.action) == same).find(|r| {
        r.body.targets.iter().any(|t| t == target)
            && match r.state {
                RequestState::Done | RequestState::Failed => {
                    r.receipts.iter().any(|x| x.target == target && x.state == ReceiptState::Done)
                }
                state => !state.is_final(),
            }
    })
}

fn over(old: &Request) -> std::result::Result<(), String> {
    match old.state {
        RequestState::Done | RequestState::Failed => Ok(()),
        RequestState::Executing => Err(format!("{} is still being executed", old.body.id)),
        state => Err(format!("{} is {}: it never ran", old.body.id, state.word())),
    }
}

/// Leaves out what others have in hand; the error names one of those when nothing is left.
fn free(
    old: &Request,
    later: &[Request],
    wanted: Vec<String>,
    same: bool,
    none: &str,
) -> std::result::Result<Vec<String>, String> {
    let left: Vec<String> = wanted.iter().filter(|t| taken(old, later, t, same).is_none()).cloned().collect();
    match (left.is_empty(), wanted.iter().find_map(|t| taken(old, later, t, same))) {
        (false, _) => Ok(left),
        (true, Some(r)) => Err(format!("{} does that already: it is {}", r.body.id, r.state.word())),
        (true, None) => Err(none.to_owned()),
    }
}

/// Targets to ask for again.
pub fn retried(old: &Request, later: &[Request], unknown: bool) -> std::result::Result<Vec<String>, String> {
    over(old)?;
    let mut states = vec![ReceiptState::Failed, ReceiptState::Skipped];
    if unknown {
        states.extend([ReceiptState::Unknown, ReceiptState::Pending]);
    }
    let maybe = those(old, &[ReceiptState::Unknown]).len();
    let none = match (unknown, maybe) {
        (false, 1..) => format!(
            "no target of {} failed; of {maybe} it is not known whether it happened: look there first, then ask for them \
             expressly (--unknown)",
            old.body.id
        ),
        _ => format!("no target of {} failed", old.body.id),
    };
    free(old, later, those(old, &states), true, &none)
}

/// Targets where there is something to take back.
pub fn undone(old: &Request, later: &[Request], unknown: bool) -> std::result::Result<Vec<String>, String> {
    over(old)?;
    let mut states = vec![ReceiptState::Done];
    if unknown {
        states.push(ReceiptState::Unknown);
    }
    let maybe = those(old, &[ReceiptState::Unknown]).len();
    let none = match (unknown, maybe) {
        (false, 1..) => format!(
            "{} is known to be done nowhere; of {maybe} targets it is not known (--unknown takes those back too)",
            old.body.id
        ),
        _ => format!("{} was done nowhere: there is nothing to take back", old.body.id),
    };
    free(old, later, those(old, &states), false, &none)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::action::Receipt;
    use crate::respond::testing::body;

    fn request(action: &str, state: RequestState, receipts: &[(&str, ReceiptState)]) -> Request {
        let targets: Vec<&str> = receipts.iter().map(|r| r.0).collect();
        let mut body = body(&targets);
        body.action = action.into();
        let at = body.created;
        let receipt = |(t, state): &(&str, ReceiptState)| Receipt {
            target: (*t).into(),
            state: *state,
            changed: None,
            detail: "".into(),
            at,
        };
        let receipts = receipts.iter().map(receipt).collect();
        Request { receipts, rev: 1, ..Request::new(body, "", state) }
    }

    use ReceiptState::{Done, Failed, Skipped, Unknown};

    #[test]
    fn only_what_failed_is_asked_for_again() {
        let old = request("act", RequestState::Failed, &[("a", Done), ("b", Failed), ("c", Unknown), ("d", Skipped)]);
        assert_eq!(retried(&old, &[], false).unwrap(), ["b", "d"]);
        assert_eq!(retried(&old, &[], true).unwrap(), ["b", "c", "d"]);
        let waits = request("act", RequestState::Pending, &[("b", ReceiptState::Pending)]);
        assert_eq!(retried(&old, &[waits], false).unwrap(), ["d"], "b is asked for already");
        let denied = request("act", RequestState::Denied, &[("b", ReceiptState::Pending)]);
        assert_eq!(retried(&old, &[denied], false).unwrap(), ["b", "d"]);
        let did = request("act", RequestState::Failed, &[("b", Done), ("d", Failed)]);
        assert_eq!(retried(&old, &[did], false).unwrap(), ["d"]);
        let unsure = request("act", RequestState::Failed, &[("a", Unknown)]);
        assert!(retried(&unsure, &[], false).unwrap_err().contains("--unknown"));
        assert_eq!(retried(&unsure, &[], true).unwrap(), ["a"]);
        for state in [RequestState::Pending, RequestState::Executing, RequestState::Denied, RequestState::Expired] {
            assert!(retried(&request("act", state, &[("a", Failed)]), &[], true).is_err(), "{state:?}");
        }
    }

    #[test]
    fn only_what_was_done_is_taken_back_and_once() {
        let old = request("act", RequestState::Failed, &[("a", Done), ("b", Failed), ("c", Unknown)]);
        assert_eq!(undone(&old, &[], false).unwrap(), ["a"]);
        assert_eq!(undone(&old, &[], true).unwrap(), ["a", "c"]);
        let back = request("unact", RequestState::Done, &[("a", Done)]);
        assert!(undone(&old, &[back], false).unwrap_err().contains("does that already"));
        let retry = request("act", RequestState::Pending, &[("a", ReceiptState::Pending)]);
        assert_eq!(undone(&old, &[retry], false).unwrap(), ["a"], "that is no undoing");
        let nothing = request("act", RequestState::Failed, &[("a", Failed)]);
        assert!(undone(&nothing, &[], true).unwrap_err().contains("nothing to take back"));
    }
}
