//! What makes a request fit to run, and the token that says it is.

use jiff::Timestamp;

use super::catalogue::Catalogue;
use super::life::{self, Facts, Said};
use super::policy::Policy;
use super::sign::{Decision, SignerFiles};
use super::{digest, execute};
use crate::model::action::{ActionDef, Means, Request, RequestBody, Signed};
use crate::model::audit::AuditRecord;
use crate::model::ids::PersonId;
use crate::model::person::Roster;

/// Exactly this was approved, by enough people, and still holds. Only [`Approved::check`] makes one, and the executors
/// take nothing else.
#[derive(Debug)]
pub struct Approved {
    body: RequestBody,
    digest: String,
}

impl Approved {
    pub fn body(&self) -> &RequestBody {
        &self.body
    }

    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Checks everything an approval was given for. `trail`: the audit records of this request, since it was proposed.
    /// The error says what is no longer so; the request is then void.
    pub fn check(request: &Request, world: &World<'_>, trail: &[AuditRecord], now: Timestamp) -> Result<Self, String> {
        let (body, digest) = (&request.body, &request.digest);
        still_so(request, world)?;
        let leaving = super::govern::leaving(body, world.policy, world.roster);
        let facts = Facts { people: world.roster, rules: &world.policy.rules, leaving: &leaving, now };
        life::fit(request, &facts, &said(trail), &|by, signed, at, decision| {
            worth(request, world.signers, by, signed, at, decided(world.catalogue, request, decision))
        })?;
        Ok(Self { body: body.clone(), digest: digest.clone() })
    }
}

/// The records of a request, as far as they count for a start.
pub(super) fn said(trail: &[AuditRecord]) -> Vec<Said<'_>> {
    trail.iter().map(|r| Said { kind: &r.kind, by: r.by.as_ref(), digest: r.body["digest"].as_str() }).collect()
}

/// As what a decision about this request is signed: an approval of a drill is one of its own kind.
pub(super) fn decided(catalogue: &Catalogue, request: &Request, decision: Decision) -> Decision {
    let drill = catalogue.get(&request.body.action).is_ok_and(super::is_drill);
    if drill && decision == Decision::Approve { Decision::Drill } else { decision }
}

/// What a signature, or the want of one, is worth now.
pub(super) fn worth(
    request: &Request,
    signers: &SignerFiles,
    by: &PersonId,
    signed: Option<&Signed>,
    at: Timestamp,
    decision: Decision,
) -> Result<Means, String> {
    match signed {
        Some(s) => Ok(signers.read()?.verify(s, &request.body, &request.digest, by, decision, at)?.means),
        None => Ok(Means::KeyPress),
    }
}

/// Kinds of audit records.
pub const PROPOSED: &str = "action.proposed";
pub const APPROVED: &str = "action.approved";
pub const BUDGET_OVERRIDE: &str = "budget.override";
pub const INTENT: &str = "action.intent";
pub const OUTCOME: &str = "action.outcome";
pub const DENIED: &str = "action.denied";
pub const WITHDRAWN: &str = "action.withdrawn";
pub const EXPIRED: &str = "action.expired";
pub const VOID: &str = "action.void";
pub const DRAFTED: &str = "action.drafted";
pub const EDITED: &str = "action.edited";
pub const GLASS: &str = "action.glass";
pub const QUESTION: &str = "action.question";
pub const ANSWER: &str = "action.answer";
pub const ESCALATED: &str = "action.escalated";
pub const TICKET: &str = "action.ticket";

/// After one of these a request cannot begin any more.
pub(super) const OVER: [&str; 6] = [INTENT, OUTCOME, DENIED, WITHDRAWN, EXPIRED, VOID];

/// What is in force now.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    pub catalogue: &'a Catalogue,
    pub policy: &'a Policy,
    pub roster: &'a Roster,
    pub signers: &'a SignerFiles,
}

/// Whether a request still is what it was when it was proposed: its own bytes, the policy, the catalogue entry, the
/// commands made from it, and every file they read. The error is the first thing that is not.
pub fn still_so(request: &Request, world: &World<'_>) -> Result<ActionDef, String> {
    let body = &request.body;
    if digest::of_request(body)? != request.digest {
        return Err("its contents are not those it was proposed with".into());
    }
    if body.policy_digest != world.policy.digest {
        return Err("the policy changed since it was proposed".into());
    }
    let def = world.catalogue.get(&body.action)?;
    if digest::of_json(def)? != body.action_digest {
        return Err(format!("the action {} changed in the catalogue since it was proposed", def.name));
    }
    for command in &body.commands {
        if let Some(what) = digest::changed_file(&command.files) {
            return Err(format!("{what} since it was proposed"));
        }
    }
    if execute::render(def, body)? != body.commands {
        return Err("the commands would not be the same any more".into());
    }
    Ok(def.clone())
}
