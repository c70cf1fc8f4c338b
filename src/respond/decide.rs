//! What people, and the clock, decide about a request.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::approve::{BUDGET_OVERRIDE, still_so};
use super::evaluate::{Override, Stage};
use super::life::{self, Facts, No, Wish};
use super::sign::{self, Decision, SignerFiles, Statement, Verified, Where};
use super::{Ask, InForce, Inner, RespondError, Responder, Result, refused, state_words};
use crate::audit::AuditFilter;
use crate::model::action::{Finding, Means, Request, RequestState, Signed};
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

    /// What somebody about to decide would sign, as things are now. `glass`: why it is to run on their word alone.
    pub fn statement(
        &self,
        by: &PersonId,
        id: &RequestId,
        digest: &str,
        glass: Option<Untrusted>,
        place: Where,
        now: Timestamp,
    ) -> Result<Statement> {
        let inner = &self.inner;
        let kind = if glass.is_some() { Decision::BreakGlass } else { Decision::Approve };
        Ok(Statement {
            v: 1,
            decision: super::approve::decided(&inner.in_force()?.catalogue, &inner.request(id)?, kind),
            reason: glass,
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
        if !self.inner.in_force()?.person(by)?.has(Role::Commander) {
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
        let record = json!({ "reason": reason });
        let denied = self.inner.fulfil(id, &Wish::Deny { by: by.clone(), reason }, record, now)?;
        self.inner.note(&denied, Some(by), now, "denied");
        Ok(denied)
    }

    /// The requester takes it back before it has begun, or drops a draft.
    pub fn withdraw(&self, by: &PersonId, id: &RequestId, now: Timestamp) -> Result<Request> {
        let gone = self.inner.fulfil(id, &Wish::Withdraw { by: by.clone() }, json!({}), now)?;
        self.inner.note(&gone, Some(by), now, "withdrawn");
        Ok(gone)
    }

    /// Ends what nobody approved, nobody started, or its author never submitted, in time: the default is no. Returns how
    /// many.
    pub fn sweep(&self, now: Timestamp) -> Result<usize> {
        let inner = &self.inner;
        let mut n = 0;
        let waiting = [RequestState::Draft, RequestState::Pending, RequestState::Approved];
        for request in inner.store.requests(&waiting, 1000)? {
            if !life::is_late(&request, now) {
                continue;
            }
            let why = No::Late.words(&request, &Wish::Expire, &inner.nobody(now));
            match inner.fulfil(&request.body.id, &Wish::Expire, json!({ "why": why }), now) {
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
        let people = self.people();
        let Some(person) = people.get(by) else {
            return refused(format!("{by} is not on the roster"));
        };
        if on {
            return inner.stop_all(by, now);
        }
        let rules = inner.in_force()?;
        let allowed = &rules.policy.rules.roles.release_kill;
        if !allowed.iter().any(|r| person.has(*r)) {
            let words: Vec<&str> = allowed.iter().map(|r| r.word()).collect();
            return refused(format!("{by} may not release the kill switch: it takes the role {}", words.join(" or ")));
        }
        inner.release_all(by, now)
    }
}

/// The word of somebody who still is a commander that the budgets are set aside for exactly this request.
pub(super) fn overridden(rules: &InForce, request: &Request, trail: &[AuditRecord]) -> Option<Override> {
    let is_word = |r: &&AuditRecord| r.kind == BUDGET_OVERRIDE && r.body["digest"] == *request.digest;
    let record = trail.iter().rev().find(is_word)?;
    let by = record.by.clone()?;
    rules.roster.get(&by).filter(|p| p.has(Role::Commander))?;
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
pub(super) struct Worth {
    pub means: Means,
    /// Fingerprint of the key that signed.
    pub key: Option<String>,
}

/// Kinds of audit records.
const KILL_ON: &str = "kill.on";
const KILL_OFF: &str = "kill.off";

/// Log and store are written one after the other, by whoever stops and whoever releases, in either order. So each of
/// them looks afterwards at what the other one writes: the last word in the log is what holds.
impl Inner {
    fn stop_all(&self, by: &PersonId, now: Timestamp) -> Result<()> {
        self.store.set_kill_switch(Some((by, now)))?;
        let recorded = self.audit.append(Some(by), KILL_ON, None, json!({}), now);
        if let Err(e) = &recorded {
            tracing::error!(error = %e, "the kill switch is on, but not in the audit log");
        }
        if matches!(self.store.kill_switch(), Ok(None)) {
            // Somebody's release came between the two; one that was recorded after this stands.
            let released = recorded.is_ok_and(|r| matches!(self.first_after(KILL_OFF, r.seq), Ok(Some(_))));
            if !released {
                self.store.set_kill_switch(Some((by, now)))?;
            }
        }
        Ok(())
    }

    fn release_all(&self, by: &PersonId, now: Timestamp) -> Result<()> {
        let before = self.store.kill_switch()?;
        let recorded = self.audit.append(Some(by), KILL_OFF, None, json!({}), now)?;
        self.store.set_kill_switch(None)?;
        let (who, at) = match (self.first_after(KILL_ON, recorded.seq), before) {
            (Ok(None), _) | (Err(_), None) => return Ok(()),
            (Ok(Some(r)), _) => (r.by.unwrap_or_else(|| by.clone()), r.at),
            // What cannot be looked at is not released.
            (Err(_), Some(before)) => before,
        };
        self.store.set_kill_switch(Some((&who, at)))?;
        Err(RespondError::Conflict(format!("it was set again by {who} at {at:.0}")))
    }

    /// The first record of this kind after that one.
    fn first_after(&self, kind: &str, seq: u64) -> Result<Option<AuditRecord>> {
        let filter = AuditFilter { kind: Some(kind.into()), from_seq: Some(seq + 1), ..AuditFilter::default() };
        Ok(self.audit.records(&filter, 1)?.pop())
    }
}

impl Inner {
    /// Decides a wish, writes its record and makes it so. What somebody else did in between is seen, and the wish
    /// decided again: its record then stands for something that came too late, which a start looks at.
    pub(super) fn fulfil(&self, id: &RequestId, wish: &Wish, record: Value, now: Timestamp) -> Result<Request> {
        if wish.by().is_none() {
            // The clock's wishes need no rules, not even readable ones.
            return self.fulfil_by(&self.nobody(now), id, wish, record);
        }
        let rules = self.in_force()?;
        let leaving = rules.leaving(&self.request(id)?);
        self.fulfil_by(&rules.facts(&leaving, now), id, wish, record)
    }

    pub(super) fn fulfil_by(&self, facts: &Facts<'_>, id: &RequestId, wish: &Wish, record: Value) -> Result<Request> {
        let request = self.request(id)?;
        life::decide(&request, wish, facts).map_err(|no| refusal(&request, no, wish, facts))?;
        let mut body = record;
        if body.get("digest").is_none() {
            body["digest"] = json!(request.digest);
        }
        self.audit.append(wish.by(), wish.kind(), Some(id.as_str()), body, facts.now)?;
        self.make_so(facts, id, wish)
    }

    /// Stores what was recorded; decided again for the request as it is now.
    pub(super) fn make_so(&self, facts: &Facts<'_>, id: &RequestId, wish: &Wish) -> Result<Request> {
        self.change(id, |r| {
            let state = life::decide(r, wish, facts).map_err(|no| refusal(r, no, wish, facts))?;
            life::apply(r, wish, state, facts);
            Ok(())
        })
    }

    fn approve(&self, by: &PersonId, id: &RequestId, digest: &str, given: Given, now: Timestamp) -> Result<Request> {
        let Given { word, signed } = given;
        let rules = self.in_force()?;
        let request = self.request(id)?;
        let mut wish = Wish::Approve {
            by: by.clone(),
            digest: digest.to_owned(),
            means: Means::default(),
            signed: signed.clone(),
            told: Vec::new(),
        };
        let leaving = rules.leaving(&request);
        let facts = rules.facts(&leaving, now);
        let after = life::decide(&request, &wish, &facts).map_err(|no| refusal(&request, no, &wish, &facts))?;
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
        let decision = super::approve::decided(&rules.catalogue, &request, Decision::Approve);
        let worth = self.worth(&rules, &request, by, decision, signed.as_ref(), now)?;
        let mut set_aside = Vec::new();
        if let Some(word) = word {
            let body = json!({ "reason": word.reason, "set_aside": closed });
            self.record(by, BUDGET_OVERRIDE, &request, body, now)?;
            set_aside = findings;
        }
        if let Wish::Approve { means, told, .. } = &mut wish {
            (*means, *told) = (worth.means, set_aside);
        }
        let enough = after == RequestState::Approved;
        let body = json!({ "enough": enough, "means": worth.means, "key": worth.key, "signed": signed });
        let approved = self.fulfil_by(&facts, id, &wish, body)?;
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
        Ok(overridden(rules, request, &super::run::trail(self, request)?))
    }

    /// What an approval is worth; the error says why it is worth nothing, or too little.
    pub(super) fn worth(
        &self,
        rules: &InForce,
        request: &Request,
        by: &PersonId,
        decision: Decision,
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
                let v = read.verify(signed, body, &request.digest, by, decision, now).map_err(no)?;
                if let Err(why) = self.audit.begins_with(&v.head)? {
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
        let before = match self.request(id) {
            Ok(r) => r.state,
            Err(e) => return e,
        };
        match self.fulfil(id, &Wish::Void { why: why.to_owned() }, json!({ "why": why }), now) {
            Ok(r) => {
                self.note(&r, None, now, "void");
                said
            }
            Err(RespondError::Conflict(_)) if matches!(before, RequestState::Pending | RequestState::Approved) => said,
            Err(e) => e,
        }
    }
}

/// A refusal as an error.
pub(super) fn refusal(r: &Request, no: No, wish: &Wish, facts: &Facts<'_>) -> RespondError {
    match no {
        No::NotNow => RespondError::Conflict(state_words(r)),
        no => RespondError::Refused(no.words(r, wish, facts)),
    }
}

/// The question whether this person may approve it.
fn approving<'a>(r: &'a Request, by: &'a PersonId, overridden: Option<&'a Override>) -> Ask<'a> {
    Ask::about(r, Stage::Approve, by, overridden)
}
