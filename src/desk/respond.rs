//! Response actions: who may, then what the respond room says.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

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
use crate::respond::cab::Change;
use crate::respond::execute::Clock;
use crate::respond::simulate::Simulation;
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

    /// Asks again for the targets where it failed or never began; `unknown`: where nobody knows, too.
    pub async fn retry(
        &self,
        by: &PersonId,
        id: &RequestId,
        unknown: bool,
        reason: Option<Untrusted>,
    ) -> Result<Request> {
        self.authorise(by)?;
        if let Some(old) = self.request(id)? {
            self.may_remove(&old.body.action, &old.body.targets, None).await?;
        }
        Ok(self.responder.retry(by, id, unknown, reason, Timestamp::now()).await?)
    }

    /// Asks for the action that takes it back.
    pub async fn undo_request(
        &self,
        by: &PersonId,
        id: &RequestId,
        unknown: bool,
        reason: Option<Untrusted>,
    ) -> Result<Request> {
        self.authorise(by)?;
        Ok(self.responder.undo(by, id, unknown, reason, Timestamp::now()).await?)
    }

    /// What another policy, or without a file the one in force, would have said since then.
    pub fn simulate(&self, policy: Option<&Path>, since: Timestamp) -> Result<Simulation> {
        Ok(self.responder.simulate(policy, since)?)
    }

    /// Whether a change board is asked by itself.
    pub fn has_board(&self) -> bool {
        self.exercise.is_none() && self.settings.respond.cab.url.is_some()
    }

    /// Puts requests before the change board and does what it says. Returns how many moved.
    pub async fn ask_board(&self) -> Result<usize> {
        if !self.has_board() || self.read_only {
            return Ok(0);
        }
        let clock = Clock::starting(Timestamp::now());
        Ok(self.responder.ask_board(&self.settings.respond.cab, &self.settings.desk.name, clock).await?)
    }

    /// How the change board stands to a request, if it was put before it.
    pub fn board_change(&self, id: &RequestId) -> Result<Option<Change>> {
        Ok(self.responder.change(id)?)
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

/// Asks the change board by itself. Only one process does.
pub(super) async fn board(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    if !desk.has_board() {
        return;
    }
    let mut said = String::new();
    while !super::live::stopped_within(&mut stop, Duration::from_secs(1)).await {
        let asked = tokio::select! {
            asked = desk.ask_board() => asked,
            _ = stop.wait_for(|s| *s) => return,
        };
        match asked.map_err(|e| e.to_string()) {
            Ok(_) => said.clear(),
            Err(e) if e != said => {
                tracing::warn!(error = %e, "the change board");
                said = e;
            }
            Err(_) => {}
        }
    }
}
