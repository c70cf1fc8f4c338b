//! Opinions: what the desk knows goes to a backend, what it says is checked and kept. People may ask for one, ask
//! questions, say what they think of a verdict, and have many alerts triaged by the workers.

mod auto;
mod backends;
mod hold;
mod work;
mod workers;

pub(super) use auto::auto;
pub(super) use workers::workers;

use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::json;

use super::Cancel;
use super::Desk;
use super::DeskError;
use super::Result;
use crate::model::ids::AlertId;
use crate::model::ids::PersonId;
use crate::model::opinion::Answered;
use crate::model::opinion::Exchange;
use crate::model::opinion::Review;
use crate::model::opinion::TriageQueue;
use crate::model::opinion::TriageStats;
use crate::model::verdict::Verdict;
use crate::model::verdict::VerdictKind;
use crate::store::Store;
use crate::store::Wanted;
use crate::text::Untrusted;
use crate::triage::Ask;
use crate::triage::Question;
use crate::triage::TriageError;

/// Exchanges and verdicts looked at of one alert.
const EXCHANGES: usize = 100;
const VERDICTS: usize = 100;
/// Alerts queued in one go: other writers get their turn between.
const ENQUEUE: usize = 1_000;
/// Exchanges forgotten in one go.
const FORGET: usize = 500;
/// Longest span of statistics: a year.
const STATS_MAX_HOURS: u32 = 366 * 24;
/// Longest question, in characters.
const QUESTION_MAX: usize = 4_000;

impl Desk {
    /// Forms an opinion on one alert and keeps it. It may raise the alert's priority and can change nothing else. Does
    /// not wait behind queued alerts, and `rules` stand in at once, marked, when the configured backend does not
    /// answer. With `by`, who asked is on record.
    pub async fn triage(
        &self,
        id: AlertId,
        backend: Option<&str>,
        by: Option<&PersonId>,
        progress: &(dyn Fn(Untrusted) + Send + Sync),
        cancel: &Cancel,
    ) -> Result<Verdict> {
        self.may_triage(by)?;
        let question = tokio::task::block_in_place(|| self.question_of(id, by))?;
        self.on_record(by, "triage.request", &question, json!({ "backend": self.backend_name(backend) }))?;
        let _busy = self.busy();
        let judged = match self.backends(backend) {
            Ok(backends) => backends.judge(&question, progress, cancel).await,
            Err(DeskError::Usage(why)) if backend.is_none() => {
                self.rules_for_another(&question, &TriageError::Configuration(why)).await
            }
            Err(e) => return Err(e),
        };
        let judged = judged.map_err(|e| DeskError::No(e.to_string()))?;
        self.on_record(by, "triage.verdict", &question, facts(&judged.verdict))?;
        tokio::task::block_in_place(|| self.store.record_opinion(id, &judged.verdict, &judged.exchanges))?;
        Ok(judged.verdict)
    }

    /// Asks the configured backend a question about an alert and keeps the answer. `before` holds the questions and
    /// answers of this conversation so far, oldest first.
    pub async fn ask(
        &self,
        by: &PersonId,
        id: AlertId,
        text: Untrusted,
        before: Vec<(Untrusted, Untrusted)>,
        progress: &(dyn Fn(Untrusted) + Send + Sync),
        cancel: &Cancel,
    ) -> Result<Answered> {
        self.may_triage(Some(by))?;
        let length = text.expose().trim().chars().count();
        if length == 0 || length > QUESTION_MAX {
            return Err(DeskError::Usage(format!("a question has 1 to {QUESTION_MAX} characters, this has {length}")));
        }
        let about = tokio::task::block_in_place(|| self.question_of(id, Some(by)))?;
        let backends = self.backends(None)?;
        self.on_record(Some(by), "triage.ask", &about, json!({ "backend": backends.id() }))?;
        let _busy = self.busy();
        let ask = Ask { about, text, before };
        let answer = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(TriageError::Cancelled),
            answer = backends.ask(&ask, progress, cancel) => answer,
        };
        let (answered, exchanges) = answer.map_err(|e| DeskError::No(e.to_string()))?;
        let answered = Answered { by: Some(by.clone()), question: ask.text.clone(), ..answered };
        let facts = json!({ "backend": answered.backend, "server": answered.server, "model": answered.model });
        self.on_record(Some(by), "triage.answer", &ask.about, facts)?;
        tokio::task::block_in_place(|| self.store.add_answer(id, &answered, &exchanges))?;
        Ok(answered)
    }

    /// What a person says to a verdict: `kind` as the verdict's own accepts it, another overrides it and needs a
    /// reason. Recorded, and nothing else changes.
    pub fn review(
        &self,
        by: &PersonId,
        id: AlertId,
        request_id: &str,
        kind: VerdictKind,
        reason: Untrusted,
    ) -> Result<Review> {
        let person = self.authorise(by)?;
        let verdicts = self.store.verdicts(id, VERDICTS)?;
        let Some(verdict) = verdicts.iter().find(|v| v.request_id == request_id) else {
            return Err(DeskError::No(format!("alert {id} has no verdict {request_id}")));
        };
        if kind != verdict.kind && reason.expose().trim().is_empty() {
            return Err(DeskError::Usage("overriding a verdict needs a reason".into()));
        }
        let review = Review {
            alert: id,
            request_id: request_id.to_owned(),
            by: person.id,
            // As the store keeps it.
            at: Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap_or_default(),
            said: verdict.kind,
            kind,
            reason,
        };
        let mut body = facts(verdict);
        body["alert"] = json!(id);
        body["says"] = json!(kind.word());
        body["reason"] = json!(review.reason);
        self.audit.append(Some(by), "triage.review", Some(request_id), body, review.at)?;
        self.store.add_review(&review)?;
        Ok(review)
    }

    /// Has the workers of this desk triage these alerts. Returns how many were not waiting already.
    pub fn enqueue_triage(&self, by: &PersonId, ids: &[AlertId]) -> Result<usize> {
        let person = self.authorise(by)?;
        if ids.is_empty() {
            return Err(DeskError::Usage("no alert named".into()));
        }
        let now = Timestamp::now();
        let body = json!({ "ids": ids, "backend": self.settings.triage.backend });
        self.audit.append(Some(by), "triage.enqueue", None, body, now)?;
        let wanted = Wanted::By(person.id);
        let mut added = 0;
        for some in ids.chunks(ENQUEUE) {
            added += self.store.enqueue_triage(some, &wanted, now)?;
        }
        Ok(added)
    }

    /// Takes back what people asked the workers for, also what they are at. Returns how many alerts.
    pub fn cancel_triage_queue(&self, by: &PersonId) -> Result<usize> {
        self.authorise(by)?;
        let state = self.store.triage_queue(Timestamp::now())?;
        let body = json!({ "asked": state.asked, "done": state.done });
        self.audit.append(Some(by), "triage.cancel", None, body, Timestamp::now())?;
        Ok(self.store.cancel_triage()?)
    }

    /// The queue, and why it stands still if it does.
    pub fn triage_queue(&self) -> Result<TriageQueue> {
        let now = Timestamp::now();
        let mut queue = self.store.triage_queue(now)?;
        queue.held = self.held(now)?;
        if queue.held.is_none() && queue.waiting > 0 && queue.running == 0 && !self.is_led() {
            queue.held = Some("no process of this desk works on it: start `watchfloor serve`".into());
        }
        Ok(queue)
    }

    /// How triage did in the last so many hours.
    pub fn triage_stats(&self, hours: u32) -> Result<TriageStats> {
        let now = Timestamp::now();
        let span = SignedDuration::from_hours(i64::from(hours.clamp(1, STATS_MAX_HOURS)));
        let stats = self.store.triage_stats(now - span, now)?;
        Ok(TriageStats { queue: self.triage_queue()?, ..stats })
    }

    /// What was said to models about an alert and what they answered, newest first.
    pub fn exchanges(&self, id: AlertId) -> Result<Vec<Exchange>> {
        Ok(self.store.exchanges(id, EXCHANGES)?)
    }

    /// Runs a stored prompt once more on the configured backend. Answers with the stored exchange and the new one.
    /// The new one is kept; of the alert nothing changes.
    pub async fn replay(&self, by: &PersonId, request_id: &str, cancel: &Cancel) -> Result<(Exchange, Exchange)> {
        self.may_triage(Some(by))?;
        let old = tokio::task::block_in_place(|| self.store.exchange(request_id))?.ok_or_else(|| {
            let days = self.settings.triage.keep_days;
            DeskError::No(format!("{request_id}: no such exchange (they are kept for {days} days)"))
        })?;
        let backends = self.backends(None)?;
        let fresh = ulid::Ulid::new().to_string();
        let body = json!({ "alert": old.alert, "of": old.request_id, "backend": backends.id() });
        self.audit.append(Some(by), "triage.replay", Some(&fresh), body, Timestamp::now())?;
        let _busy = self.busy();
        let new = backends.replay(&old, &fresh, by, cancel).await.map_err(|e| DeskError::No(e.to_string()))?;
        tokio::task::block_in_place(|| self.store.add_exchanges(std::slice::from_ref(&new)))?;
        Ok((old, new))
    }

    /// Forgets prompts and answers that are older than the settings say.
    pub(super) fn forget_exchanges(&self, now: Timestamp) -> Result<()> {
        let kept = SignedDuration::from_hours(24 * i64::from(self.settings.triage.keep_days));
        self.store.drop_exchanges(now - kept, FORGET)?;
        Ok(())
    }

    fn may_triage(&self, by: Option<&PersonId>) -> Result<()> {
        match by {
            Some(by) => self.authorise(by).map(|_| ()),
            None if self.read_only => Err(DeskError::Refused("this console is read-only".into())),
            None => Ok(()),
        }
    }

    fn question_of(&self, id: AlertId, by: Option<&PersonId>) -> Result<Question> {
        Ok(Question { by: by.cloned(), ..self.question(id)? })
    }

    /// What a person has a model do is in the audit log before it counts; the prompt is not.
    fn on_record(&self, by: Option<&PersonId>, kind: &str, q: &Question, mut body: serde_json::Value) -> Result<()> {
        let Some(by) = by else { return Ok(()) };
        body["alert"] = json!(q.alert.id);
        self.audit.append(Some(by), kind, Some(&q.request_id), body, Timestamp::now())?;
        Ok(())
    }
}

/// Of a verdict, what the audit log keeps.
fn facts(v: &Verdict) -> serde_json::Value {
    json!({
        "verdict": v.kind.word(),
        "backend": v.backend,
        "server": v.server,
        "model": v.model,
        "fallback": v.fallback,
    })
}

#[cfg(test)]
mod tests;
