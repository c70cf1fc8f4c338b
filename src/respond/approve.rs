//! What makes a request fit to run, and the token that says it is.

use jiff::Timestamp;

use super::catalogue::Catalogue;
use super::policy::Policy;
use super::sign::SignerFiles;
use super::{digest, execute};
use crate::model::action::{ActionDef, Approval, Means, Request, RequestBody, RequestState};
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
        if request.state != RequestState::Approved {
            return Err(format!("it is {}, not approved", request.state.word()));
        }
        if now > body.execute_by {
            return Err(format!("it could be started until {}", body.execute_by));
        }
        let recorded = |kind: &str, by: &PersonId| {
            trail.iter().any(|r| r.kind == kind && r.by.as_ref() == Some(by) && r.body["digest"] == **digest)
        };
        // The store could be made to forget this; the log could not.
        if let Some(over) = trail.iter().find(|r| OVER.contains(&r.kind.as_str())) {
            return Err(format!("the audit log holds its {} already", over.kind));
        }
        if !recorded(PROPOSED, &body.requester) {
            return Err("the audit log does not hold its proposal with these contents".into());
        }
        let roles = world.policy.rules.tier(body.tier).approve;
        let mut good: Vec<&PersonId> = Vec::new();
        for a in &request.approvals {
            let person =
                world.roster.get(&a.by).ok_or_else(|| format!("{} approved it, but is not on the roster", a.by))?;
            if !roles.iter().any(|r| person.has(*r)) {
                return Err(format!("{} approved it, but may not any more", a.by));
            }
            if a.by == body.requester || good.contains(&&a.by) || a.digest != *digest || a.at > body.approve_by {
                return Err(format!("the approval by {} does not hold", a.by));
            }
            if !recorded(APPROVED, &a.by) {
                return Err(format!("the audit log does not hold the approval by {}", a.by));
            }
            still_signed(a, request, world)?;
            good.push(&a.by);
        }
        if good.len() < usize::from(body.approvals_needed) {
            return Err(format!("it has {} approvals of {}", good.len(), body.approvals_needed));
        }
        Ok(Self { body: body.clone(), digest: digest.clone() })
    }
}

/// Whether an approval is worth what it was taken for, and what the policy asks for.
fn still_signed(a: &Approval, request: &Request, world: &World<'_>) -> Result<(), String> {
    let means = match &a.signed {
        Some(s) => world.signers.read()?.verify(s, &request.body, &request.digest, &a.by, a.at)?.means,
        None => Means::KeyPress,
    };
    let least = world.policy.rules.tier(request.body.tier).signed;
    if means != a.means || means < least {
        return Err(format!("the approval by {} is by {}; {} is the least", a.by, means.word(), least.word()));
    }
    Ok(())
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

/// After one of these a request cannot begin any more.
const OVER: [&str; 6] = [INTENT, OUTCOME, DENIED, WITHDRAWN, EXPIRED, VOID];

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
