//! Break-glass: one person, alone, with a reason, as well signed as an approval would be. Everybody is told, and somebody
//! else has to look at it afterwards.

use jiff::Timestamp;
use serde_json::json;

use super::approve::still_so;
use super::evaluate::Stage;
use super::life::{self, Wish};
use super::sign::{Decision, digest_of};
use super::{Ask, Inner, RespondError, Responder, Result, refused};
use crate::audit::AuditFilter;
use crate::model::action::{Means, Request, Signed};
use crate::model::course::{GlassReview, GlassVerdict};
use crate::model::ids::{PersonId, RequestId};
use crate::store::{Doc, StoreError};
use crate::text::Untrusted;

/// Documents of the store: a review for each broken glass, by request.
const REVIEW: &str = "glass.review";
/// Kinds of audit records.
const REVIEWED: &str = "glass.reviewed";
const OVERDUE: &str = "glass.overdue";

impl Responder {
    /// Lets what `digest` names run on this person's word alone. Policy, contents and files are looked at as for an
    /// approval.
    pub fn break_glass(
        &self,
        by: &PersonId,
        id: &RequestId,
        digest: &str,
        reason: Untrusted,
        signed: Option<Signed>,
        now: Timestamp,
    ) -> Result<Request> {
        let inner = &self.inner;
        if reason.expose().trim().is_empty() {
            return Err(RespondError::Usage("breaking the glass needs a reason: everybody will read it".into()));
        }
        if let Some(s) = &signed {
            // What was signed says why in the very words that are kept.
            let (of, why) = (digest_of(s).map_err(RespondError::Usage)?, super::sign::reason_of(s));
            if of != digest || why.as_ref() != Some(&reason) {
                return refused("the signature is for another request, or for another reason");
            }
        }
        let rules = inner.in_force()?;
        let request = inner.request(id)?;
        let mut wish = Wish::BreakGlass {
            by: by.clone(),
            digest: digest.to_owned(),
            reason: reason.clone(),
            means: Means::default(),
            signed: signed.clone(),
        };
        let facts = rules.facts(&[], now);
        life::decide(&request, &wish, &facts).map_err(|no| super::decide::refusal(&request, no, &wish, &facts))?;
        if let Err(why) = still_so(&request, &inner.world(&rules)) {
            return Err(inner.make_void(&request, &why, now));
        }
        let ask = Ask { alone: true, ..Ask::about(&request, Stage::BreakGlass, by, None) };
        Inner::obey(&inner.findings(&rules, &ask, now))?;
        let worth = inner.worth(&rules, &request, by, Decision::BreakGlass, signed.as_ref(), now)?;
        if let Wish::BreakGlass { means, .. } = &mut wish {
            *means = worth.means;
        }
        let record = json!({ "reason": reason, "means": worth.means, "key": worth.key, "signed": signed });
        let broken = inner.fulfil_by(&facts, id, &wish, record)?;
        inner.open_review(&broken, now)?;
        inner.note(&broken, Some(by), now, "let run alone, behind broken glass,");
        Ok(broken)
    }

    /// Looks that are still to be taken at what was done alone, oldest first; `all`: those taken too.
    pub fn reviews(&self, all: bool) -> Result<Vec<GlassReview>> {
        let mut out = Vec::new();
        for doc in self.inner.store.docs(REVIEW, 1000)? {
            let review = read(&doc)?;
            if all || review.closed.is_none() {
                out.push(review);
            }
        }
        out.sort_by_key(|r| (r.closed.is_some(), r.at));
        Ok(out)
    }

    /// Somebody else says whether it was right to break the glass.
    pub fn close_review(
        &self,
        by: &PersonId,
        id: &RequestId,
        justified: bool,
        text: Untrusted,
        now: Timestamp,
    ) -> Result<GlassReview> {
        let inner = &self.inner;
        let rules = inner.in_force()?;
        let person = rules.person(by)?;
        let doc = inner.store.doc(REVIEW, id.as_str())?;
        let doc = doc.ok_or_else(|| RespondError::Usage(format!("{id}: no glass was broken for it")))?;
        let mut review = read(&doc)?;
        if let Some(c) = &review.closed {
            return Err(RespondError::Conflict(format!("{} reviewed it already at {:.0}", c.by, c.at)));
        }
        if review.by == *by {
            return refused(format!("{by} broke the glass; somebody else reviews it"));
        }
        let request = inner.request(id)?;
        if request.executor.as_ref() == Some(by) {
            return refused(format!("{by} ran it; somebody else reviews it"));
        }
        let roles = rules.policy.rules.tier(request.body.tier).approve;
        if !roles.iter().any(|r| person.has(*r)) {
            return refused(format!(
                "{by} may not review it: that is for who may approve {}",
                request.body.tier.word()
            ));
        }
        if text.expose().trim().is_empty() {
            return Err(RespondError::Usage("a review says what was found".into()));
        }
        let record = json!({ "justified": justified, "text": text });
        inner.record(by, REVIEWED, &request, record, now)?;
        let verdict = GlassVerdict { by: by.clone(), at: now, justified, text };
        let (mut rev, mut tries) = (doc.rev, 0);
        loop {
            review.closed = Some(verdict.clone());
            match inner.store.put_doc(REVIEW, id.as_str(), &written(&review)?, rev, now) {
                Ok(_) => return Ok(review),
                // It was chased meanwhile, or somebody else was quicker.
                Err(StoreError::Conflict(_)) if tries < 8 => tries += 1,
                Err(e) => return Err(e.into()),
            }
            let doc = inner.store.doc(REVIEW, id.as_str())?;
            let doc = doc.ok_or_else(|| RespondError::Conflict(format!("{id}: its review is gone")))?;
            review = read(&doc)?;
            if let Some(c) = &review.closed {
                return Err(RespondError::Conflict(format!("{} reviewed it already at {:.0}", c.by, c.at)));
            }
            rev = doc.rev;
        }
    }

    /// Records, once, the reviews that are overdue, for everybody to be told. Returns how many it recorded.
    pub fn chase_reviews(&self, now: Timestamp) -> Result<usize> {
        let mut n = 0;
        for doc in self.inner.store.docs(REVIEW, 1000)? {
            let mut review = read(&doc)?;
            if review.chased || !review.overdue(now) {
                continue;
            }
            let id = doc.key.as_str();
            let body = json!({ "due": review.due, "by": review.by });
            let filter = AuditFilter { kind: Some(OVERDUE.into()), ..AuditFilter::request(id) };
            let once = || {
                let there = self.inner.audit.records(&filter, 1).map_err(|e| e.to_string())?;
                if there.is_empty() { Ok(()) } else { Err("recorded".to_owned()) }
            };
            n += usize::from(self.inner.audit.append_if(None, OVERDUE, Some(id), body, now, once)?.is_ok());
            // So that nobody reads the log for it every few seconds.
            review.chased = true;
            match self.inner.store.put_doc(REVIEW, id, &written(&review)?, doc.rev, now) {
                // Closed meanwhile, or another process was here.
                Ok(_) | Err(StoreError::Conflict(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(n)
    }

    /// Reviews and pages of glass that was broken by a process that died before it could open them.
    pub fn settle_glass(&self, now: Timestamp) -> Result<usize> {
        use crate::model::action::RequestState as S;
        let mut n = 0;
        for r in self.inner.store.requests(&[S::Approved, S::Executing, S::Done, S::Failed], 200)? {
            if r.course.glass.is_some() && self.inner.open_review(&r, now)? {
                n += 1;
            }
        }
        Ok(n)
    }
}

impl Inner {
    /// Opens the review; false when that was done before.
    fn open_review(&self, r: &Request, now: Timestamp) -> Result<bool> {
        let Some(g) = &r.course.glass else { return Ok(false) };
        let id = r.body.id.as_str();
        if self.store.doc(REVIEW, id)?.is_some() {
            return Ok(false);
        }
        let what = format!("{} on {}", r.body.action, r.body.targets.join(", "));
        let review = GlassReview {
            request: r.body.id.clone(),
            what,
            by: g.by.clone(),
            at: g.at,
            reason: g.reason.clone(),
            due: g.review_due,
            chased: false,
            closed: None,
        };
        match self.store.put_doc(REVIEW, id, &written(&review)?, 0, now) {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict(_)) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

fn read(doc: &Doc) -> Result<GlassReview> {
    serde_json::from_str(&doc.body)
        .map_err(|e| RespondError::Unavailable(format!("the review of {} cannot be read: {e}", doc.key)))
}

fn written(review: &GlassReview) -> Result<String> {
    serde_json::to_string(review).map_err(|e| RespondError::Unavailable(e.to_string()))
}
