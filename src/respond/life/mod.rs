//! What may happen to a request, as functions of data: no file, no store, no clock. The desk's processes all ask these
//! before they record and store anything, and ask again when somebody else was quicker.
//!
//! [`decide`] says whether a [`Wish`] may come true and which state it leads to; [`apply`] makes it so. [`fit`] is the
//! last word before a start: whether the people it takes have agreed, are still there, and the log says so too.

mod fit;
#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod tests;
mod words;

use jiff::Timestamp;

use super::approve;
use super::policy::Rules;
use super::receipt;
use super::request::{Event, next};
use crate::model::action::Signed;
use crate::model::action::{Approval, Denial, Finding, Means, Preview, Receipt, Request, RequestBody, RequestState};
use crate::model::course::{BreakGlass, Message, MessageKind, Rung};
use crate::model::ids::PersonId;
use crate::model::person::{Person, Role, Roster};
use crate::text::Untrusted;

pub(super) use fit::agreed;
pub use fit::{Said, Worth, fit};

/// What somebody, or the clock, wants to happen to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// New contents of a draft.
    Edit {
        by: PersonId,
        body: Box<RequestBody>,
    },
    /// A draft, checked and tried, is asked of others.
    Submit {
        by: PersonId,
        filed: Box<Filed>,
    },
    Approve {
        by: PersonId,
        digest: String,
        means: Means,
        signed: Option<Signed>,
        told: Vec<Finding>,
    },
    BreakGlass {
        by: PersonId,
        digest: String,
        reason: Untrusted,
        means: Means,
        signed: Option<Signed>,
    },
    Deny {
        by: PersonId,
        reason: Untrusted,
    },
    Withdraw {
        by: PersonId,
    },
    Expire,
    Void {
        why: String,
    },
    Begin {
        by: PersonId,
        digest: String,
    },
    End {
        receipts: Vec<Receipt>,
        note: Option<String>,
    },
    Ask {
        by: PersonId,
        text: Untrusted,
    },
    Answer {
        by: PersonId,
        text: Untrusted,
    },
    Climb {
        rung: Rung,
    },
    Ticket {
        ticket: String,
    },
}

/// What a submitted draft becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Filed {
    pub body: RequestBody,
    pub digest: String,
    pub preview: Vec<Preview>,
    pub findings: Vec<Finding>,
}

/// What is so when a wish is decided.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub people: &'a Roster,
    pub rules: &'a Rules,
    /// Those whom this very request takes their say: they cannot carry it alone.
    pub leaving: &'a [PersonId],
    pub now: Timestamp,
}

/// Why not. [`No::words`] says it to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    /// Not in the state it is in.
    NotNow,
    Stranger,
    Reader,
    /// Who asked for it cannot allow it.
    Requester,
    /// They allowed it already.
    Twice,
    OtherDigest,
    Late,
    /// Their role is not one that may.
    Role,
    /// It is somebody else's.
    NotTheirs,
    /// Who asked for it cannot start it.
    SameHand,
    /// The policy does not let this tier, or this kind of action, be run alone.
    NoGlass,
    /// Nobody asked.
    NoQuestion,
    /// It is not the next rung, or it is not due.
    NotThatRung,
}

/// Whether it may happen, and the state it leads to.
pub fn decide(r: &Request, wish: &Wish, f: &Facts<'_>) -> Result<RequestState, No> {
    let event = match wish {
        Wish::Edit { by, .. } => {
            reaches(r, Event::Edit)?;
            theirs(r, by, f)?;
            in_time(r, f)?;
            Event::Edit
        }
        Wish::Submit { by, filed } => {
            let event = Event::Submit { free: filed.body.approvals_needed == 0 };
            reaches(r, event)?;
            theirs(r, by, f)?;
            in_time(r, f)?;
            event
        }
        Wish::Approve { by, digest, .. } => Event::Approve { enough: may_approve(r, by, digest, f)? },
        Wish::BreakGlass { by, digest, .. } => {
            working(by, f)?;
            reaches(r, Event::BreakGlass)?;
            if r.digest != *digest {
                return Err(No::OtherDigest);
            }
            in_time(r, f)?;
            may_break(&r.body, by, f)?;
            Event::BreakGlass
        }
        Wish::Deny { by, .. } => {
            let person = working(by, f)?;
            if !has_any(person, &f.rules.tier(r.body.tier).approve) {
                return Err(No::Role);
            }
            Event::Deny
        }
        Wish::Withdraw { by } => {
            theirs(r, by, f)?;
            Event::Withdraw
        }
        Wish::Expire => {
            reaches(r, Event::Expire)?;
            if !is_late(r, f.now) {
                return Err(No::NotNow);
            }
            Event::Expire
        }
        Wish::Void { .. } => Event::Void,
        Wish::Begin { by, digest } => {
            let person = working(by, f)?;
            reaches(r, Event::Begin)?;
            if f.now > r.body.execute_by {
                return Err(No::Late);
            }
            if r.digest != *digest {
                return Err(No::OtherDigest);
            }
            if !has_any(person, &f.rules.roles.execute) {
                return Err(No::Role);
            }
            let alone = r.course.glass.as_ref().is_some_and(|g| g.by == *by);
            if f.rules.tier(r.body.tier).executor_differs && r.body.requester == *by && !alone {
                return Err(No::SameHand);
            }
            Event::Begin
        }
        Wish::End { receipts, .. } => receipt::outcome(&r.body, receipts),
        Wish::Ask { by, .. } => {
            let person = working(by, f)?;
            if r.body.requester == *by {
                return Err(No::Requester);
            }
            if !has_any(person, &f.rules.tier(r.body.tier).approve) {
                return Err(No::Role);
            }
            Event::Remark
        }
        Wish::Answer { by, .. } => {
            theirs(r, by, f)?;
            reaches(r, Event::Remark)?;
            if r.course.thread.is_empty() {
                return Err(No::NoQuestion);
            }
            Event::Remark
        }
        Wish::Climb { rung } => {
            let next = r.course.rungs.len() + 1;
            if r.state != RequestState::Pending {
                return Err(No::NotNow);
            }
            if usize::from(rung.number) != next || f.now < rung.at {
                return Err(No::NotThatRung);
            }
            Event::Remark
        }
        Wish::Ticket { .. } => Event::Remark,
    };
    reaches(r, event)
}

fn reaches(r: &Request, event: Event) -> Result<RequestState, No> {
    next(r.state, event).ok_or(No::NotNow)
}

/// Somebody who may do more than read.
fn working<'a>(by: &PersonId, f: &Facts<'a>) -> Result<&'a Person, No> {
    match f.people.get(by) {
        Some(p) if !p.read_only() => Ok(p),
        Some(_) => Err(No::Reader),
        None => Err(No::Stranger),
    }
}

fn has_any(person: &Person, roles: &[Role]) -> bool {
    roles.iter().any(|r| person.has(*r))
}

fn theirs(r: &Request, by: &PersonId, f: &Facts<'_>) -> Result<(), No> {
    working(by, f)?;
    if r.body.requester == *by { Ok(()) } else { Err(No::NotTheirs) }
}

/// `Ok`: whether with this one there are enough.
fn may_approve(r: &Request, by: &PersonId, digest: &str, f: &Facts<'_>) -> Result<bool, No> {
    let person = working(by, f)?;
    if r.state != RequestState::Pending {
        return Err(No::NotNow);
    }
    if r.body.requester == *by {
        return Err(No::Requester);
    }
    if r.approvals.iter().any(|a| a.by == *by) {
        return Err(No::Twice);
    }
    if r.digest != digest {
        return Err(No::OtherDigest);
    }
    in_time(r, f)?;
    if !has_any(person, &f.rules.tier(r.body.tier).approve) {
        return Err(No::Role);
    }
    let stays = |p: &PersonId| !f.leaving.contains(p);
    let somebody_stays = f.leaving.is_empty() || stays(by) || r.approvals.iter().any(|a| stays(&a.by));
    Ok(r.approvals.len() + 1 >= usize::from(r.body.approvals_needed) && somebody_stays)
}

/// Whether this person could let it run alone.
fn may_break(body: &RequestBody, by: &PersonId, f: &Facts<'_>) -> Result<(), No> {
    let person = working(by, f)?;
    let glass = &f.rules.break_glass;
    // How the desk is governed is never one person's to change.
    if !glass.tiers.contains(&body.tier) || super::govern::governs(&body.action) {
        return Err(No::NoGlass);
    }
    if has_any(person, &glass.roles) { Ok(()) } else { Err(No::Role) }
}

fn in_time(r: &Request, f: &Facts<'_>) -> Result<(), No> {
    if is_late(r, f.now) { Err(No::Late) } else { Ok(()) }
}

/// Whether the time it had in this state is over. A draft kept before drafts had an end has none.
pub fn is_late(r: &Request, now: Timestamp) -> bool {
    match r.state {
        RequestState::Draft => r.body.approve_by > r.body.created && now > r.body.approve_by,
        RequestState::Pending => now > r.body.approve_by,
        RequestState::Approved => now > r.body.execute_by,
        _ => false,
    }
}

/// Makes it so. `state` is what [`decide`] answered for exactly this request.
pub fn apply(r: &mut Request, wish: &Wish, state: RequestState, f: &Facts<'_>) {
    let at = f.now;
    r.state = state;
    match wish {
        Wish::Edit { body, .. } => r.body = (**body).clone(),
        Wish::Submit { filed, .. } => {
            r.body = filed.body.clone();
            r.digest.clone_from(&filed.digest);
            r.preview.clone_from(&filed.preview);
            r.findings.clone_from(&filed.findings);
        }
        Wish::Approve { by, digest, means, signed, told } => {
            let (by, digest, signed) = (by.clone(), digest.clone(), signed.clone());
            r.approvals.push(Approval { by, at, digest, means: *means, signed });
            for f in told {
                if !r.findings.contains(f) {
                    r.findings.push(f.clone());
                }
            }
        }
        Wish::BreakGlass { by, digest, reason, means, signed } => {
            r.course.glass = Some(BreakGlass {
                by: by.clone(),
                at,
                digest: digest.clone(),
                reason: reason.clone(),
                means: *means,
                signed: signed.clone(),
                review: None,
                review_due: at + jiff::SignedDuration::from_hours(i64::from(f.rules.break_glass.review_hours)),
            });
        }
        Wish::Deny { by, reason } => {
            r.denied = Some(Denial { by: by.clone(), at, reason: reason.clone() });
            r.finished = Some(at);
        }
        Wish::Withdraw { .. } => r.finished = Some(at),
        Wish::Expire => {
            r.note = words::too_late(r);
            r.finished = Some(at);
        }
        Wish::Void { why } => {
            r.note = Some(why.clone());
            r.finished = Some(at);
        }
        Wish::Begin { by, .. } => {
            r.executor = Some(by.clone());
            r.started = Some(at);
        }
        Wish::End { receipts, note } => {
            r.receipts.clone_from(receipts);
            r.note.clone_from(note);
            r.finished = Some(at);
        }
        Wish::Ask { by, text } => r.course.thread.push(message(by, at, MessageKind::Question, text)),
        Wish::Answer { by, text } => r.course.thread.push(message(by, at, MessageKind::Answer, text)),
        Wish::Climb { rung } => r.course.rungs.push(rung.clone()),
        Wish::Ticket { ticket } => r.course.ticket = Some(ticket.clone()),
    }
}

fn message(by: &PersonId, at: Timestamp, kind: MessageKind, text: &Untrusted) -> Message {
    Message { by: by.clone(), at, kind, text: text.clone() }
}

impl Wish {
    /// The kind of the record that is written first.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Edit { .. } => approve::EDITED,
            Self::Submit { .. } => approve::PROPOSED,
            Self::Approve { .. } => approve::APPROVED,
            Self::BreakGlass { .. } => approve::GLASS,
            Self::Deny { .. } => approve::DENIED,
            Self::Withdraw { .. } => approve::WITHDRAWN,
            Self::Expire => approve::EXPIRED,
            Self::Void { .. } => approve::VOID,
            Self::Begin { .. } => approve::INTENT,
            Self::End { .. } => approve::OUTCOME,
            Self::Ask { .. } => approve::QUESTION,
            Self::Answer { .. } => approve::ANSWER,
            Self::Climb { .. } => approve::ESCALATED,
            Self::Ticket { .. } => approve::TICKET,
        }
    }

    /// Whose wish it is; `None`: the desk's own.
    pub fn by(&self) -> Option<&PersonId> {
        match self {
            Self::Edit { by, .. }
            | Self::Submit { by, .. }
            | Self::Approve { by, .. }
            | Self::BreakGlass { by, .. }
            | Self::Deny { by, .. }
            | Self::Withdraw { by }
            | Self::Begin { by, .. }
            | Self::Ask { by, .. }
            | Self::Answer { by, .. } => Some(by),
            Self::Expire | Self::Void { .. } | Self::End { .. } | Self::Climb { .. } | Self::Ticket { .. } => None,
        }
    }
}
