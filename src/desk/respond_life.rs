//! The life of a request beside approval and start: drafts, questions, broken glass, policy and roster as requests.

use jiff::Timestamp;

use super::Desk;
use super::Result;
use crate::model::action::Draft;
use crate::model::action::Governed;
use crate::model::action::Request;
use crate::model::action::Signed;
use crate::model::course::GlassReview;
use crate::model::course::Rung;
use crate::model::ids::PersonId;
use crate::model::ids::RequestId;
use crate::respond::govern;
use crate::text::Untrusted;

impl Desk {
    /// Keeps a draft that is asked of nobody yet.
    pub fn keep_request(&self, by: &PersonId, draft: Draft) -> Result<Request> {
        self.authorise(by)?;
        Ok(self.responder.keep_draft(by, draft, Timestamp::now())?)
    }

    /// New contents of one's own request. What waits or is approved is withdrawn, and a draft made that names it.
    pub fn edit_request(&self, by: &PersonId, id: &RequestId, draft: Draft) -> Result<Request> {
        self.authorise(by)?;
        let kept = self.responder.edit(by, id, draft, Timestamp::now())?;
        if kept.body.id != *id
            && let Err(e) = self.replace_in_steps(by, id, &kept.body.id)
        {
            // It was kept all the same, and names the one it replaces.
            tracing::warn!(error = %e, request = %kept.body.id, "a step does not know the draft that replaces its request");
        }
        Ok(kept)
    }

    /// Asks a draft of others: as [`Desk::propose`] from here on.
    pub async fn submit(&self, by: &PersonId, id: &RequestId) -> Result<Request> {
        self.authorise(by)?;
        if let Some(kept) = self.request(id)? {
            self.may_remove(&kept.body.action, &kept.body.targets, None).await?;
        }
        Ok(self.responder.submit(by, id, Timestamp::now()).await?)
    }

    /// Lets exactly what `digest` names run on this person's word alone; signed as an approval is. Everybody is paged
    /// and a review opened.
    pub fn break_glass(&self, by: &PersonId, id: &RequestId, digest: &str, reason: Untrusted) -> Result<Request> {
        self.authorise(by)?;
        let signed = self.sign_here(by, id, digest, Some(reason.clone()))?;
        Ok(self.responder.break_glass(by, id, digest, reason, signed, Timestamp::now())?)
    }

    /// The same by a statement signed elsewhere, which says why.
    pub fn break_glass_signed(&self, by: &PersonId, id: &RequestId, digest: &str, signed: Signed) -> Result<Request> {
        self.authorise(by)?;
        let reason = crate::respond::sign::reason_of(&signed).unwrap_or_default();
        Ok(self.responder.break_glass(by, id, digest, reason, Some(signed), Timestamp::now())?)
    }

    /// Looks still to be taken at what was done alone; `all`: those taken too.
    pub fn glass_reviews(&self, all: bool) -> Result<Vec<GlassReview>> {
        Ok(self.responder.reviews(all)?)
    }

    pub fn close_glass_review(
        &self,
        by: &PersonId,
        id: &RequestId,
        justified: bool,
        text: Untrusted,
    ) -> Result<GlassReview> {
        self.authorise(by)?;
        Ok(self.responder.close_review(by, id, justified, text, Timestamp::now())?)
    }

    /// An approver asks back; the clock goes on.
    pub fn ask_back(&self, by: &PersonId, id: &RequestId, text: Untrusted) -> Result<Request> {
        self.authorise(by)?;
        Ok(self.responder.ask(by, id, text, Timestamp::now())?)
    }

    pub fn answer_back(&self, by: &PersonId, id: &RequestId, text: Untrusted) -> Result<Request> {
        self.authorise(by)?;
        Ok(self.responder.answer(by, id, text, Timestamp::now())?)
    }

    /// The change board's ticket, as a person says: where no board is asked by itself.
    pub fn set_ticket(&self, by: &PersonId, id: &RequestId, ticket: &str) -> Result<Request> {
        self.authorise(by)?;
        if self.has_board() {
            return Err(super::DeskError::Refused(
                "the change board is asked by itself (respond.cab), and says so itself".into(),
            ));
        }
        Ok(self.responder.set_ticket(Some(by), id, ticket, Timestamp::now())?)
    }

    /// Every rung a request has, reached or not.
    pub fn ladder(&self, request: &Request) -> Result<Vec<Rung>> {
        Ok(self.responder.ladder(request)?)
    }

    /// Asks that this text become the policy or the roster.
    pub async fn propose_governing(
        &self,
        by: &PersonId,
        what: Governed,
        text: &str,
        reason: Untrusted,
    ) -> Result<Request> {
        if self.responder.catalogue().iter().all(|a| a.name != govern::name(what)) {
            let key = if what == Governed::Policy { "respond.policy" } else { "desk.roster" };
            return Err(super::DeskError::Usage(format!("this desk has no {} file: name one in {key}", what.word())));
        }
        self.propose(by, govern::draft(what, text, reason)).await
    }

    /// What governs the desk (`policy`, `roster`) and was changed past it in the last day, and when.
    pub fn changed_outside(&self) -> Result<Vec<(&'static str, Timestamp)>> {
        let day = Timestamp::now() - jiff::SignedDuration::from_hours(24);
        let seen = self.responder.governed()?;
        Ok(seen.into_iter().filter_map(|(what, s)| Some((what.word(), s.outside.filter(|t| *t > day)?))).collect())
    }

    /// Ladders, reviews, and a look at the files that govern.
    pub(super) fn keep_requests(&self, now: Timestamp) -> Result<()> {
        self.responder.climb(now)?;
        self.responder.settle_glass(now)?;
        self.responder.chase_reviews(now)?;
        self.responder.watch_governed(now)?;
        Ok(())
    }
}
