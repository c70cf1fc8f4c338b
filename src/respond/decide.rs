//! What people, and the clock, decide about a request.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::approve::{APPROVED, BUDGET_OVERRIDE, DENIED, EXPIRED, VOID, WITHDRAWN, still_so};
use super::evaluate::{Override, Stage};
use super::request::Event;
use super::{Ask, InForce, Inner, RespondError, Responder, Result, refused, state_words, step};
use crate::model::action::{Approval, Denial, Finding, Request, RequestState};
use crate::model::audit::AuditRecord;
use crate::model::ids::{PersonId, RequestId};
use crate::model::person::Role;
use crate::text::Untrusted;

impl Responder {
    /// Approves what `digest` names, in the name of somebody other than the requester. Everything it was proposed for
    /// is looked at again; what no longer holds makes it void.
    pub fn approve(&self, by: &PersonId, id: &RequestId, digest: &str, now: Timestamp) -> Result<Request> {
        self.inner.approve(by, id, digest, None, now)
    }

    /// Approves although the error budgets, or the gates of a rollout, say no or say nothing. It takes a commander and a
    /// reason, and is recorded; where nothing is closed this is an approval like any other.
    pub fn approve_over_budget(
        &self,
        by: &PersonId,
        id: &RequestId,
        digest: &str,
        reason: Untrusted,
        now: Timestamp,
    ) -> Result<Request> {
        if reason.expose().trim().is_empty() {
            return Err(RespondError::Usage("setting a budget or a gate aside needs a reason".into()));
        }
        if !self.inner.person(by)?.has(Role::Commander) {
            return refused(format!("{by} may not set an error budget or a gate aside: it takes the role commander"));
        }
        self.inner.approve(by, id, digest, Some(Override { by: by.clone(), reason }), now)
    }

    /// What the policy would say if this person approved it now. A budget that somebody set aside already is told, not
    /// refused.
    pub fn standing(&self, by: &PersonId, id: &RequestId, now: Timestamp) -> Result<Vec<Finding>> {
        let inner = &self.inner;
        let rules = inner.in_force()?;
        let request = inner.request(id)?;
        let known = inner.set_aside(&rules, &request, now)?;
        Ok(inner.findings(&rules, &approving(&request, by, known.as_ref()), now))
    }

    /// Says no: to a waiting request, or to an approved one that has not begun.
    pub fn deny(&self, by: &PersonId, id: &RequestId, reason: Untrusted, now: Timestamp) -> Result<Request> {
        let inner = &self.inner;
        let rules = inner.in_force()?;
        let person = inner.person(by)?;
        let request = inner.request(id)?;
        let roles = rules.policy.rules.tier(request.body.tier).approve;
        if !roles.iter().any(|r| person.has(*r)) {
            return refused(format!("{by} may not decide about this; the requester may withdraw it"));
        }
        step(&mut request.clone(), Event::Deny)?;
        inner.record(by, DENIED, &request, json!({ "reason": reason }), now)?;
        let denied = inner.change(id, |r| {
            step(r, Event::Deny)?;
            r.denied = Some(Denial { by: by.clone(), at: now, reason: reason.clone() });
            r.finished = Some(now);
            Ok(())
        })?;
        inner.note(&denied, Some(by), now, "denied");
        Ok(denied)
    }

    /// The requester takes it back before it has begun.
    pub fn withdraw(&self, by: &PersonId, id: &RequestId, now: Timestamp) -> Result<Request> {
        let inner = &self.inner;
        inner.person(by)?;
        let request = inner.request(id)?;
        if request.body.requester != *by {
            return refused(format!("only {} can withdraw it; an approver can deny it", request.body.requester));
        }
        step(&mut request.clone(), Event::Withdraw)?;
        inner.record(by, WITHDRAWN, &request, json!({}), now)?;
        let gone = inner.change(id, |r| {
            step(r, Event::Withdraw)?;
            r.finished = Some(now);
            Ok(())
        })?;
        inner.note(&gone, Some(by), now, "withdrawn");
        Ok(gone)
    }

    /// Ends what nobody approved, or nobody started, in time: the default is no. Returns how many.
    pub fn sweep(&self, now: Timestamp) -> Result<usize> {
        let inner = &self.inner;
        let mut n = 0;
        for request in inner.store.requests(&[RequestState::Pending, RequestState::Approved], 1000)? {
            let Some(why) = too_late(&request, now) else { continue };
            let body = json!({ "digest": request.digest, "why": why });
            inner.audit.append(None, EXPIRED, Some(request.body.id.as_str()), body, now)?;
            let done = inner.change(&request.body.id, |r| {
                let why = too_late(r, now).ok_or_else(|| RespondError::Conflict(state_words(r)))?;
                step(r, Event::Expire)?;
                r.note = Some(why);
                r.finished = Some(now);
                Ok(())
            });
            match done {
                Ok(expired) => {
                    inner.note(&expired, None, now, "expired");
                    n += 1;
                }
                // Somebody else ended it first.
                Err(RespondError::Conflict(_)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(n)
    }

    /// Stops everything that runs and lets nothing begin, in every process on this desk, until it is released.
    /// Anybody on the roster may stop, even when the audit log cannot be written; releasing needs a role and a record.
    pub fn kill(&self, by: &PersonId, on: bool, now: Timestamp) -> Result<()> {
        let inner = &self.inner;
        let Some(person) = inner.roster.get(by) else {
            return refused(format!("{by} is not on the roster"));
        };
        if on {
            inner.store.set_kill_switch(Some((by, now)))?;
            if let Err(e) = inner.audit.append(Some(by), "kill.on", None, json!({}), now) {
                tracing::error!(error = %e, "the kill switch is on, but not in the audit log");
            }
            return Ok(());
        }
        let rules = inner.in_force()?;
        let allowed = &rules.policy.rules.roles.release_kill;
        if !allowed.iter().any(|r| person.has(*r)) {
            let words: Vec<&str> = allowed.iter().map(|r| r.word()).collect();
            return refused(format!("{by} may not release the kill switch: it takes the role {}", words.join(" or ")));
        }
        inner.audit.append(Some(by), "kill.off", None, json!({}), now)?;
        inner.store.set_kill_switch(None)?;
        Ok(())
    }
}

/// The word of somebody who still is a commander that the budgets are set aside for exactly this request.
pub(super) fn overridden(inner: &Inner, request: &Request, trail: &[AuditRecord]) -> Option<Override> {
    let is_word = |r: &&AuditRecord| r.kind == BUDGET_OVERRIDE && r.body["digest"] == *request.digest;
    let record = trail.iter().rev().find(is_word)?;
    let by = record.by.clone()?;
    inner.roster.get(&by).filter(|p| p.has(Role::Commander))?;
    Some(Override { by, reason: Untrusted::new(record.body["reason"].as_str()?) })
}

/// Which of its times has run out.
fn too_late(r: &Request, now: Timestamp) -> Option<String> {
    match r.state {
        RequestState::Pending if now > r.body.approve_by => {
            Some(format!("nobody approved it by {}", r.body.approve_by))
        }
        RequestState::Approved if now > r.body.execute_by => {
            Some(format!("nobody started it by {}", r.body.execute_by))
        }
        _ => None,
    }
}

impl Inner {
    fn approve(
        &self,
        by: &PersonId,
        id: &RequestId,
        digest: &str,
        word: Option<Override>,
        now: Timestamp,
    ) -> Result<Request> {
        let rules = self.in_force()?;
        self.person(by)?;
        let request = self.request(id)?;
        let enough = may_approve(&request, by, digest, now)?;
        if let Err(why) = still_so(&request, &self.world(&rules)) {
            return Err(self.make_void(&request, &why, now));
        }
        let known = self.set_aside(&rules, &request, now)?;
        let ask = |overridden| approving(&request, by, overridden);
        let mut findings = self.findings(&rules, &ask(known.as_ref()), now);
        let closed: Vec<String> = findings.iter().filter(|f| f.refuses).map(|f| f.text.clone()).collect();
        let mut told = Vec::new();
        if let Some(word) = word.as_ref().filter(|_| !closed.is_empty()) {
            findings = self.findings(&rules, &ask(Some(word)), now);
            Self::obey(&findings)?;
            let body = json!({ "reason": word.reason, "set_aside": closed });
            self.record(by, BUDGET_OVERRIDE, &request, body, now)?;
            told = findings.clone();
        }
        Self::obey(&findings)?;
        self.record(by, APPROVED, &request, json!({ "enough": enough }), now)?;
        let approved = self.change(id, |r| {
            let enough = may_approve(r, by, digest, now)?;
            r.approvals.push(Approval {
                by: by.clone(),
                at: now,
                digest: digest.to_owned(),
                means: "key press".to_owned(),
            });
            r.findings.extend(told.iter().filter(|f| !r.findings.contains(f)).cloned().collect::<Vec<_>>());
            step(r, Event::Approve { enough })
        })?;
        self.note(&approved, Some(by), now, "approved");
        Ok(approved)
    }

    /// An earlier approver may have set aside what is closed.
    fn set_aside(&self, rules: &InForce, request: &Request, now: Timestamp) -> Result<Option<Override>> {
        let b = &request.body;
        let guarded = || {
            let guards = rules.catalogue.get(&b.action).map(|def| (self.guards)(def, &b.targets, &b.params, now));
            guards.is_ok_and(|g| !g.is_empty())
        };
        if super::evaluate::budgets_asked(&rules.policy, &b.action).is_empty() && !guarded() {
            return Ok(None);
        }
        Ok(overridden(self, request, &super::run::trail(self, request)?))
    }

    /// Writes the record a change of this request needs first.
    pub(super) fn record(&self, by: &PersonId, kind: &str, r: &Request, more: Value, now: Timestamp) -> Result<()> {
        let mut body = more;
        body["digest"] = json!(r.digest);
        self.audit.append(Some(by), kind, Some(r.body.id.as_str()), body, now)?;
        Ok(())
    }

    /// Ends a request that no longer is what it was, and gives the refusal that says so.
    pub(super) fn make_void(&self, request: &Request, why: &str, now: Timestamp) -> RespondError {
        let id = &request.body.id;
        let said = RespondError::Refused(format!("{id} is void: {why}"));
        // It may have begun or ended since it was read; then there is nothing to void.
        if let Err(e) = self.request(id).and_then(|mut now_is| step(&mut now_is, Event::Void)) {
            return e;
        }
        let body = json!({ "digest": request.digest, "why": why });
        if let Err(e) = self.audit.append(None, VOID, Some(id.as_str()), body, now) {
            return e.into();
        }
        let ended = self.change(id, |r| {
            step(r, Event::Void)?;
            r.note = Some(why.to_owned());
            r.finished = Some(now);
            Ok(())
        });
        match ended {
            Ok(r) => {
                self.note(&r, None, now, "void");
                said
            }
            Err(RespondError::Conflict(_)) => said,
            Err(e) => e,
        }
    }
}

/// The question whether this person may approve it.
fn approving<'a>(r: &'a Request, by: &'a PersonId, overridden: Option<&'a Override>) -> Ask<'a> {
    let b = &r.body;
    Ask {
        stage: Stage::Approve,
        action: &b.action,
        tier: b.tier,
        targets: &b.targets,
        params: &b.params,
        by,
        overridden,
    }
}

/// Everything that can be said without the policy. `Ok`: whether with this one there are enough.
fn may_approve(r: &Request, by: &PersonId, digest: &str, now: Timestamp) -> Result<bool> {
    if r.state != RequestState::Pending {
        return Err(RespondError::Conflict(state_words(r)));
    }
    if r.body.requester == *by {
        return refused(format!("{by} proposed it; somebody else must approve it"));
    }
    if r.approvals.iter().any(|a| a.by == *by) {
        return refused(format!("{by} approved it already; it needs somebody else"));
    }
    if r.digest != digest {
        return refused("it is not what was shown: its digest differs");
    }
    if let Some(why) = too_late(r, now) {
        return refused(format!("too late: {why}"));
    }
    Ok(r.approvals.len() + 1 >= usize::from(r.body.approvals_needed))
}
