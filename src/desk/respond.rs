//! Response actions: who may, then what the respond room says.

use std::sync::Arc;

use jiff::Timestamp;

use super::Desk;
use super::Result;
use crate::model::action::ActionDef;
use crate::model::action::Draft;
use crate::model::action::Finding;
use crate::model::action::Request;
use crate::model::action::RequestState;
use crate::model::action::Tried;
use crate::model::ids::PersonId;
use crate::model::ids::RequestId;
use crate::store::Store;
use crate::text::Untrusted;

impl Desk {
    pub fn catalogue(&self) -> Arc<Vec<ActionDef>> {
        self.responder.catalogue()
    }

    /// Newest first. An empty list of states means all of them.
    pub fn requests(&self, states: &[RequestState], limit: usize) -> Result<Vec<Request>> {
        let states = if states.is_empty() { &RequestState::ALL } else { states };
        let mut all = self.store.requests(states, limit)?;
        self.join_reviews(&mut all)?;
        Ok(all)
    }

    pub fn request(&self, id: &RequestId) -> Result<Option<Request>> {
        let mut one: Vec<Request> = self.store.request(id)?.into_iter().collect();
        self.join_reviews(&mut one)?;
        Ok(one.pop())
    }

    /// What others found of those that one person let run alone.
    fn join_reviews(&self, all: &mut [Request]) -> Result<()> {
        if all.iter().all(|r| r.course.glass.is_none()) {
            return Ok(());
        }
        let reviews = self.responder.reviews(true)?;
        for r in all {
            if let Some(g) = &mut r.course.glass {
                let mine = reviews.iter().find(|v| v.request == r.body.id);
                g.review = mine.and_then(|v| v.closed.clone());
            }
        }
        Ok(())
    }

    /// Checks the draft against catalogue and policy, runs the dry run and files the request. May take as long as
    /// the action's own time limit.
    pub async fn propose(&self, by: &PersonId, draft: Draft) -> Result<Request> {
        self.authorise(by)?;
        self.may_remove(&draft.action, &draft.targets, None).await?;
        Ok(self.responder.propose(by, draft, Timestamp::now()).await?)
    }

    /// What the draft would become if it were proposed now: exact commands and dry run. Nothing is filed.
    pub async fn try_draft(&self, by: &PersonId, draft: Draft) -> Result<Tried> {
        self.authorise(by)?;
        self.may_remove(&draft.action, &draft.targets, None).await?;
        Ok(self.responder.try_draft(by, draft, Timestamp::now()).await?)
    }

    /// What the policy would say if this person approved it now.
    pub fn standing(&self, by: &PersonId, id: &RequestId) -> Result<Vec<Finding>> {
        Ok(self.responder.standing(by, id, Timestamp::now())?)
    }

    /// `digest` is the one the approver was shown. Signed, where signatures are in use and the session's ssh-agent holds
    /// a key of theirs: then this may wait for a touch.
    pub fn approve(&self, by: &PersonId, id: &RequestId, digest: &str) -> Result<Request> {
        self.authorise(by)?;
        Ok(match self.sign_here(by, id, digest, None)? {
            Some(signed) => self.responder.approve_signed(by, id, signed, None, Timestamp::now())?,
            None => self.responder.approve(by, id, digest, Timestamp::now())?,
        })
    }

    /// Approves although the error budgets or the gates of a rollout say no: by a commander, with a reason, recorded.
    pub fn approve_over_budget(
        &self,
        by: &PersonId,
        id: &RequestId,
        digest: &str,
        reason: Untrusted,
    ) -> Result<Request> {
        self.authorise(by)?;
        Ok(match self.sign_here(by, id, digest, None)? {
            Some(signed) => self.responder.approve_signed(by, id, signed, Some(reason), Timestamp::now())?,
            None => self.responder.approve_over_budget(by, id, digest, reason, Timestamp::now())?,
        })
    }

    pub fn deny(&self, by: &PersonId, id: &RequestId, reason: Untrusted) -> Result<Request> {
        self.authorise(by)?;
        Ok(self.responder.deny(by, id, reason, Timestamp::now())?)
    }

    pub fn withdraw(&self, by: &PersonId, id: &RequestId) -> Result<Request> {
        self.authorise(by)?;
        Ok(self.responder.withdraw(by, id, Timestamp::now())?)
    }

    pub async fn execute(&self, by: &PersonId, id: &RequestId) -> Result<Request> {
        self.authorise(by)?;
        self.know_gates(id).await;
        if let Some(request) = self.request(id)?.filter(|r| r.state == RequestState::Approved) {
            self.may_remove(&request.body.action, &request.body.targets, Some(&request)).await?;
        }
        let done = self.responder.execute(by, id, Timestamp::now()).await?;
        self.settle_if_drill(&done).await;
        Ok(done)
    }

    /// Who stopped all execution, and when, if it is stopped.
    pub fn kill_switch(&self) -> Result<Option<(PersonId, Timestamp)>> {
        Ok(self.store.kill_switch()?)
    }

    pub fn set_kill_switch(&self, by: &PersonId, on: bool) -> Result<()> {
        self.authorise(by)?;
        Ok(self.responder.kill(by, on, Timestamp::now())?)
    }
}
