//! A backend that has a model read the alert: prompt, engine, answer read against the schema.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use rand::Rng as _;

use super::engine::{Engine, Finish, Generated, Generation};
use super::prompt::{self, Prompt};
use super::{Answering, Backend, Cancel, Health, Judged, Offer, Question, Telling, TriageError, schema};
use crate::model::opinion::{Exchange, Purpose};
use crate::model::verdict::Verdict;
use crate::text::Untrusted;

/// Times a prompt is made shorter when the model finds it too long.
const TRIMS: u32 = 3;
/// Greedy answers need none, but a stored prompt names what was sent.
const SEED: u64 = 0;

/// Asks a model through an engine.
#[derive(Clone)]
pub struct Reader {
    engine: Arc<dyn Engine>,
    offer: Offer,
}

impl Reader {
    pub fn new(engine: Arc<dyn Engine>, offer: Offer) -> Self {
        Self { engine, offer }
    }

    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    async fn read_alert(
        &self,
        q: &Question,
        progress: &(dyn Fn(Untrusted) + Send + Sync),
        cancel: &Cancel,
    ) -> Result<Judged, TriageError> {
        let begun = Instant::now();
        let (mut trims, mut budget) = (0, prompt::BUDGET);
        loop {
            let fence = format!("{:016x}", rand::rng().random::<u64>());
            let prompt = prompt::build(q, &self.offer, budget, &fence);
            let request = Generation {
                system: prompt.system.clone(),
                user: prompt.user.clone(),
                schema: Some(schema::schema(&self.offer)),
                max_tokens: self.engine.max_tokens(),
                seed: SEED,
                request_id: q.request_id.clone(),
                priority: q.alert.priority,
                by: q.by.clone(),
            };
            match self.engine.generate(&request, progress, cancel).await {
                Ok(made) => {
                    let took_ms = begun.elapsed().as_millis() as u64;
                    tracing::info!(
                        request_id = %q.request_id, took_ms, usage = ?made.usage, server = ?made.server, "model answered"
                    );
                    let exchange = exchange(q, Purpose::Judge, self.engine.id(), &request, &made);
                    let verdict = verdict(self.engine.id(), q, &prompt, &made, took_ms)?;
                    return Ok(Judged { verdict, exchanges: vec![exchange] });
                }
                Err(TriageError::TooLong(_)) if trims < TRIMS && budget / 2 >= prompt::MIN_BUDGET => {
                    trims += 1;
                    budget /= 2;
                    tracing::info!(request_id = %q.request_id, budget, "prompt too long for the model, shortening");
                }
                Err(TriageError::TooLong(said)) => {
                    return Err(TriageError::Configuration(format!(
                        "even a short prompt is too long for the model: {said}"
                    )));
                }
                Err(e) => return Err(e),
            }
        }
    }
}

/// What is kept of a request and its answer.
pub fn exchange(q: &Question, purpose: Purpose, backend: &str, request: &Generation, made: &Generated) -> Exchange {
    Exchange {
        request_id: request.request_id.clone(),
        alert: q.alert.id,
        purpose,
        at: Timestamp::now(),
        backend: backend.to_owned(),
        server: made.server.clone(),
        model: made.model.clone(),
        model_digest: made.model_digest.clone(),
        seed: request.seed,
        system: request.system.clone(),
        user: request.user.as_str().into(),
        schema: request.schema.clone(),
        max_tokens: request.max_tokens,
        output: made.text.as_str().into(),
        finish: made.finish.word().to_owned(),
        usage: made.usage,
    }
}

/// Reads an answer, not yet checked against the alert.
fn verdict(
    backend: &str,
    q: &Question,
    prompt: &Prompt,
    made: &Generated,
    took_ms: u64,
) -> Result<Verdict, TriageError> {
    match made.finish {
        Finish::Stop => {}
        Finish::Length => return Err(TriageError::Invalid("the answer was cut off at its longest".into())),
        Finish::Other(_) => {
            return Err(TriageError::Invalid("the model ended the answer for a reason of its own".into()));
        }
    }
    if prompt::leaks(&made.text, prompt) {
        return Err(TriageError::Invalid("the answer repeats our own prompt".into()));
    }
    let answer = schema::read(&made.text).map_err(TriageError::Invalid)?;
    let mut claims = answer.claims;
    for claim in &mut claims {
        claim.text = prompt.unmark(&claim.text);
        claim.quote = prompt.unmark(&claim.quote);
        claim.field = prompt.unmark(&claim.field);
    }
    Ok(Verdict {
        confidence: schema::verdict_span(&made.text).and_then(|span| made.probability(&span)),
        claims,
        techniques: answer.techniques,
        advised_priority: answer.advised_priority,
        questions: answer.questions.iter().map(|t| prompt.unmark(t)).collect(),
        suggested_actions: answer.suggested_actions,
        playbook: answer.playbook,
        server: made.server.clone(),
        model: made.model.clone(),
        took_ms,
        usage: made.usage,
        ..Verdict::new(answer.kind, backend, Timestamp::now(), &q.request_id)
    })
}

impl Backend for Reader {
    fn id(&self) -> &'static str {
        self.engine.id()
    }

    fn judge<'a>(
        &'a self,
        question: &'a Question,
        progress: &'a (dyn Fn(Untrusted) + Send + Sync),
        cancel: &'a Cancel,
    ) -> Answering<'a, Judged> {
        Box::pin(self.read_alert(question, progress, cancel))
    }

    fn health<'a>(&'a self) -> Telling<'a, Health> {
        self.engine.health()
    }

    fn load<'a>(&'a self) -> Answering<'a, ()> {
        self.engine.load()
    }

    fn runs(&self) -> Option<&dyn Engine> {
        Some(&*self.engine)
    }

    fn slots(&self) -> usize {
        self.engine.slots()
    }
}
