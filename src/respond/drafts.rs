//! Requests kept before anybody is asked: written, changed and dropped by their author alone. Values are checked as they
//! are kept; policy and dry run come with the submission ([`Responder::submit`]).

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::approve::DRAFTED;
use super::life::{self, Wish};
use super::propose::{REASON_MAX, new_id, params, targets};
use super::{InForce, Inner, RespondError, Responder, Result};
use crate::model::action::{Draft, Request, RequestBody, RequestState};
use crate::model::ids::{PersonId, RequestId};

impl Responder {
    /// Keeps a draft; nobody is asked yet.
    pub fn keep_draft(&self, by: &PersonId, draft: Draft, now: Timestamp) -> Result<Request> {
        self.inner.keep(by, draft, None, now)
    }

    /// New contents. A draft is changed in its place; a request that waits or is approved is withdrawn and a draft made
    /// that names it, so that nothing of the old approvals is left.
    pub fn edit(&self, by: &PersonId, id: &RequestId, draft: Draft, now: Timestamp) -> Result<Request> {
        let inner = &self.inner;
        let old = inner.request(id)?;
        if old.state == RequestState::Draft {
            let rules = inner.in_force()?;
            let body = body(inner, &rules, by, draft, old.body.replaces.clone(), id.clone(), now)?;
            let record = json!({ "action": body.action, "targets": body.targets, "params": body.params });
            return inner.fulfil(id, &Wish::Edit { by: by.clone(), body: Box::new(body) }, record, now);
        }
        // What is wrong with the new contents is said before the old ones are given up.
        let rules = inner.in_force()?;
        body(inner, &rules, by, draft.clone(), None, id.clone(), now)?;
        self.withdraw(by, id, now)?;
        inner.keep(by, draft, Some(id.clone()), now)
    }
}

impl Inner {
    fn keep(&self, by: &PersonId, draft: Draft, replaces: Option<RequestId>, now: Timestamp) -> Result<Request> {
        let rules = self.in_force()?;
        rules.person(by)?;
        let body = body(self, &rules, by, draft, replaces, new_id()?, now)?;
        let record = json!({
            "action": body.action,
            "targets": body.targets,
            "params": body.params,
            "replaces": body.replaces,
        });
        self.audit.append(Some(by), DRAFTED, Some(body.id.as_str()), record, now)?;
        let id = body.id.clone();
        self.store.add_request(&Request::new(body, "", RequestState::Draft))?;
        self.request(&id)
    }
}

/// A draft of this person's, to be submitted.
pub(super) fn mine(inner: &Inner, by: &PersonId, id: &RequestId, now: Timestamp) -> Result<Request> {
    let request = inner.request(id)?;
    let rules = inner.in_force()?;
    // Asked with what it holds; what it becomes is asked again with what that needs.
    let wish = Wish::Edit { by: by.clone(), body: Box::new(request.body.clone()) };
    let facts = rules.facts(&[], now);
    life::decide(&request, &wish, &facts).map_err(|no| super::decide::refusal(&request, no, &wish, &facts))?;
    Ok(request)
}

fn body(
    inner: &Inner,
    rules: &InForce,
    by: &PersonId,
    draft: Draft,
    replaces: Option<RequestId>,
    id: RequestId,
    now: Timestamp,
) -> Result<RequestBody> {
    let def = rules.catalogue.get(&draft.action).map_err(RespondError::Usage)?;
    let long = draft.reason.expose().len();
    if long > REASON_MAX {
        return Err(RespondError::Usage(format!("the reason is {long} bytes long, at most {REASON_MAX}")));
    }
    Ok(RequestBody {
        id,
        action: def.name.clone(),
        tier: def.tier,
        targets: targets(def, &draft.targets)?,
        params: params(def, &draft.params)?,
        commands: Vec::new(),
        alerts: draft.alerts,
        case: draft.case,
        reason: draft.reason,
        suggested_by: draft.suggested_by,
        requester: by.clone(),
        created: now,
        // Until when it can be submitted; its other times begin then.
        approve_by: now + SignedDuration::from_hours(24 * i64::from(rules.policy.rules.draft_days)),
        execute_by: now,
        approvals_needed: 0,
        policy_digest: String::new(),
        action_digest: String::new(),
        audit_head: inner.audit.head()?.to_string(),
        undo: def.undo.clone(),
        contains: def.contains,
        replaces,
    })
}
