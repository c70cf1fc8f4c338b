//! What people, and the clock, decide about a request.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::approve::{APPROVED, BUDGET_OVERRIDE, DENIED, EXPIRED, VOID, WITHDRAWN, still_so};
use super::evaluate::{Override, Stage};
use super::request::Event;
use super::sign::{self, Decision, SignerFiles, Statement, Verified, Where};
use super::{Ask, InForce, Inner, RespondError, Responder, Result, refused, state_words, step};
use crate::model::action::{Approval, Denial, Finding, Means, Request, RequestState, Signed};
use crate::model::audit::AuditRecord;
use crate::model::ids::{PersonId, RequestId};
use crate::model::person::Role;
use crate::text::Untrusted;

impl Responder {
    /// Approves what `digest` names, in the name of somebody other than the requester. Everything it was proposed for
    /// is looked at again; what no longer holds makes it void.
    pub fn approve(&self, by: &PersonId, id: &RequestId, digest: &str, now: Timestamp) -> Result<Request> {
        self.inner.approve(by, id, digest, Given::default(), now)
    }

    /// Approves by a signed statement, made here through an agent or on the approver's own machine. `over_budget`: as
    /// of [`Responder::approve_over_budget`].
    pub fn approve_signed(
        &self,
        by: &PersonId,
        id: &RequestId,
        signed: Signed,
        over_budget: Option<Untrusted>,
        now: Timestamp,
    ) -> Result<Request> {
        let word = over_budget.map(|reason| self.word(by, reason)).transpose()?;
        let digest = sign::digest_of(&signed).map_err(RespondError::Usage)?;
        self.inner.approve(by, id, &digest, Given { word, signed: Some(signed) }, now)
    }

    /// What somebody about to approve would sign, as things are now.
    pub fn statement(
        &self,
        by: &PersonId,
        id: &RequestId,
        digest: &str,
        place: Where,
        now: Timestamp,
    ) -> Result<Statement> {
        let inner = &self.inner;
        Ok(Statement {
            v: 1,
            decision: Decision::Approve,
            desk: inner.signers.desk.clone(),
            request: id.clone(),
            digest: digest.to_owned(),
            by: by.clone(),
            head: inner.audit.head()?.to_string(),
            place,
            at: now,
        })
    }

    /// Files and names signatures are checked against.
    pub fn signers(&self) -> &SignerFiles {
        &self.inner.signers
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
        let word = Some(self.word(by, reason)?);
        self.inner.approve(by, id, digest, Given { word, signed: None }, now)
    }

    /// A commander's word that budgets are set aside.
    fn word(&self, by: &PersonId, reason: Untrusted) -> Result<Override> {
        if reason.expose().trim().is_empty() {
            return Err(RespondError::Usage("setting a budget or a gate aside needs a reason".into()));
        }
        if !self.inner.person(by)?.has(Role::Commander) {
            return refused(format!("{by} may not set an error budget or a gate aside: it takes the role commander"));
        }
        Ok(Override { by: by.clone(), reason })
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

/// Documents of the store: how often each security key has signed.
const COUNTERS: &str = "signer.counter";

/// What comes with an approval besides a key press.
#[derive(Default)]
struct Given {
    word: Option<Override>,
    signed: Option<Signed>,
}

#[derive(Default)]
struct Worth {
    means: Means,
    /// Fingerprint of the key that signed.
    key: Option<String>,
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
    fn approve(&self, by: &PersonId, id: &RequestId, digest: &str, given: Given, now: Timestamp) -> Result<Request> {
        let Given { word, signed } = given;
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
        let word = word.filter(|_| !closed.is_empty());
        if let Some(word) = &word {
            findings = self.findings(&rules, &ask(Some(word)), now);
        }
        Self::obey(&findings)?;
        // An approval that is worth too little sets nothing aside either.
        let worth = self.worth(&rules, &request, by, signed.as_ref(), now)?;
        let mut told = Vec::new();
        if let Some(word) = word {
            let body = json!({ "reason": word.reason, "set_aside": closed });
            self.record(by, BUDGET_OVERRIDE, &request, body, now)?;
            told = findings;
        }
        let body = json!({ "enough": enough, "means": worth.means, "key": worth.key, "signed": signed });
        self.record(by, APPROVED, &request, body, now)?;
        let approved = self.change(id, |r| {
            let enough = may_approve(r, by, digest, now)?;
            r.approvals.push(Approval {
                by: by.clone(),
                at: now,
                digest: digest.to_owned(),
                means: worth.means,
                signed: signed.clone(),
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
        let known = self.guarding(rules, &b.action, &b.targets, &b.params, now);
        let budgets = super::evaluate::budgets_asked(&rules.policy, &b.action, known.leads_back);
        if budgets.is_empty() && known.guards.is_empty() {
            return Ok(None);
        }
        Ok(overridden(self, request, &super::run::trail(self, request)?))
    }

    /// What an approval is worth; the error says why it is worth nothing, or too little.
    fn worth(
        &self,
        rules: &InForce,
        request: &Request,
        by: &PersonId,
        signed: Option<&Signed>,
        now: Timestamp,
    ) -> Result<Worth> {
        let body = &request.body;
        let least = rules.policy.rules.tier(body.tier).signed;
        let (worth, verified) = match signed {
            None => (Worth::default(), None),
            Some(signed) => {
                let no = RespondError::Refused;
                let read = self.signers.read().map_err(RespondError::Unavailable)?;
                let v = read.verify(signed, body, &request.digest, by, now).map_err(no)?;
                let log = crate::audit::verify(self.audit.dir(), Some(&v.head))?;
                if !log.ok {
                    let why = log.faults.first().map_or("it is damaged", |f| f.what.as_str());
                    return refused(format!("the audit log is not the one that was signed: {why}"));
                }
                (Worth { means: v.means, key: Some(v.key.clone()) }, Some(v))
            }
        };
        if worth.means < least {
            let (is, tier) = (worth.means.word(), body.tier.word());
            let how = match least {
                Means::OwnMachine => format!(
                    "on your own machine: `watchfloor approve {} --ask | watchfloor sign - > s.json`, then \
                     `watchfloor approve {} --signed s.json`",
                    body.id, body.id
                ),
                _ => "with a key of yours in an ssh-agent (ssh -A; a key bound to destinations by ssh-add -h is not offered \
                      there), or with `watchfloor sign` on your own machine"
                    .into(),
            };
            return refused(format!("{tier} asks for approval by {}; this is by {is}. Sign {how}", least.word()));
        }
        verified.map_or(Ok(()), |v| self.counts_up(&v, now))?;
        Ok(worth)
    }

    /// A security key that counts never goes back: a copy of it would.
    fn counts_up(&self, v: &Verified, now: Timestamp) -> Result<()> {
        let Some(count) = v.fido.map(|f| f.counter).filter(|c| *c > 0) else { return Ok(()) };
        let before = self.store.doc(COUNTERS, &v.key)?;
        let last = before.as_ref().and_then(|d| d.body.parse::<u64>().ok()).unwrap_or(0);
        if u64::from(count) <= last {
            return refused(format!(
                "the security key {} counted {last} signatures before and {count} now: it may have been copied",
                v.key
            ));
        }
        self.store.put_doc(COUNTERS, &v.key, &count.to_string(), before.map_or(0, |d| d.rev), now)?;
        Ok(())
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
