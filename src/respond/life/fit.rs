//! The last word before a start.

use jiff::Timestamp;

use super::{Facts, may_break};
use crate::model::action::{Means, Request, RequestState, Signed};
use crate::model::ids::PersonId;
use crate::respond::approve::{APPROVED, GLASS, OVER, PROPOSED};
use crate::respond::sign::Decision;

/// One audit record of a request, as far as it counts here.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    pub kind: &'a str,
    pub by: Option<&'a PersonId>,
    /// Of the contents it was about.
    pub digest: Option<&'a str>,
}

/// What a signature, or the want of one, is worth now: by whom, given when, for what. An error: nothing.
pub type Worth<'a> = &'a dyn Fn(&PersonId, Option<&Signed>, Timestamp, Decision) -> Result<Means, String>;

/// Whether it may run: approved, in time, by people who are different, still there, still allowed, whose signatures
/// still count, and of whom the audit log (`trail`: the records of this request) says the same. The error is the first
/// thing that is not so.
pub fn fit(r: &Request, f: &Facts<'_>, trail: &[Said<'_>], worth: Worth<'_>) -> Result<(), String> {
    let body = &r.body;
    if r.state != RequestState::Approved {
        return Err(format!("it is {}, not approved", r.state.word()));
    }
    if f.now > body.execute_by {
        return Err(format!("it could be started until {}", body.execute_by));
    }
    agreed(r, f, trail, worth)
}

/// The same of one that the store lets begin this moment: whether what the log and the people say still carries it.
pub(in crate::respond) fn agreed(
    r: &Request,
    f: &Facts<'_>,
    trail: &[Said<'_>],
    worth: Worth<'_>,
) -> Result<(), String> {
    let (body, digest) = (&r.body, r.digest.as_str());
    let recorded = |kind: &str, by: &PersonId| {
        trail.iter().any(|s| s.kind == kind && s.by == Some(by) && s.digest == Some(digest))
    };
    // The store could be made to forget this; the log could not.
    if let Some(over) = trail.iter().find(|s| OVER.contains(&s.kind)) {
        return Err(format!("the audit log holds its {} already", over.kind));
    }
    if !recorded(PROPOSED, &body.requester) {
        return Err("the audit log does not hold its proposal with these contents".into());
    }
    let terms = f.rules.tier(body.tier);
    let least = |by: &PersonId, means: Means, said: Means| {
        if means == said && means >= terms.signed {
            return Ok(());
        }
        Err(format!("the approval by {by} is by {}; {} is the least", means.word(), terms.signed.word()))
    };
    if let Some(g) = &r.course.glass {
        may_break(body, &g.by, f).map_err(|_| format!("{} broke the glass, but may not any more", g.by))?;
        if g.digest != digest || g.at > body.approve_by || !recorded(GLASS, &g.by) {
            return Err(format!("the audit log does not hold that {} broke the glass for this", g.by));
        }
        return least(&g.by, worth(&g.by, g.signed.as_ref(), g.at, Decision::BreakGlass)?, g.means);
    }
    let mut good: Vec<&PersonId> = Vec::new();
    for a in &r.approvals {
        let person = f.people.get(&a.by).ok_or_else(|| format!("{} approved it, but is not on the roster", a.by))?;
        if !terms.approve.iter().any(|role| person.has(*role)) {
            return Err(format!("{} approved it, but may not any more", a.by));
        }
        if a.by == body.requester || good.contains(&&a.by) || a.digest != digest || a.at > body.approve_by {
            return Err(format!("the approval by {} does not hold", a.by));
        }
        if !recorded(APPROVED, &a.by) {
            return Err(format!("the audit log does not hold the approval by {}", a.by));
        }
        least(&a.by, worth(&a.by, a.signed.as_ref(), a.at, Decision::Approve)?, a.means)?;
        good.push(&a.by);
    }
    if good.len() < usize::from(body.approvals_needed) {
        return Err(format!("it has {} approvals of {}", good.len(), body.approvals_needed));
    }
    if !f.leaving.is_empty() && good.iter().all(|p| f.leaving.contains(p)) && body.approvals_needed > 0 {
        return Err("only people whom it removes approved it".into());
    }
    Ok(())
}
