//! A backend that has a model read the alert: prompt, engine, answer read against the schema.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use rand::Rng as _;

use super::context::tokens;
use super::engine::{Engine, Finish, Generated, Generation};
use super::prompt::{self, Limits, Prompt};
use super::{Answering, Ask, Backend, Cancel, Health, Judged, Offer, Question, Telling, TriageError, Writing, Written};
use super::{check, detect, schema};
use crate::config::settings::TriageSettings;
use crate::model::opinion::{Answered, Exchange, Purpose};
use crate::model::verdict::{Verdict, VerdictKind};
use crate::text::Untrusted;

/// Times a prompt is made shorter when the model finds it too long.
const TRIMS: u32 = 3;
/// Greedy answers need none, but a stored prompt names what was sent.
const SEED: u64 = 0;
/// What a request's id ends in when it is a second look.
const SECOND: &str = "-2";

type Progress<'a> = &'a (dyn Fn(Untrusted) + Send + Sync);

/// When to read an alert again without the text that others can write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecondLook {
    #[default]
    Never,
    /// When it holds text that addresses its reader.
    Tainted,
    Always,
}

impl SecondLook {
    /// `None`: no such word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "never" => Some(Self::Never),
            "tainted" => Some(Self::Tainted),
            "always" => Some(Self::Always),
            _ => None,
        }
    }
}

/// Asks a model through an engine.
#[derive(Clone)]
pub struct Reader {
    engine: Arc<dyn Engine>,
    offer: Offer,
    limits: Limits,
    second: SecondLook,
}

impl Reader {
    /// Looks once, with limits of its own.
    pub fn new(engine: Arc<dyn Engine>, offer: Offer) -> Self {
        Self { engine, offer, limits: Limits::default(), second: SecondLook::default() }
    }

    /// As the settings want it.
    #[must_use]
    pub fn tuned(mut self, settings: &TriageSettings) -> Self {
        self.limits.context = settings.context_tokens as usize;
        self.second = SecondLook::parse(&settings.second_look).unwrap_or(SecondLook::Tainted);
        self
    }

    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    async fn read_alert(&self, q: &Question, progress: Progress<'_>, cancel: &Cancel) -> Result<Judged, TriageError> {
        let first = self.look(q, Purpose::Judge, progress, cancel).await?;
        let again = match self.second {
            SecondLook::Never => false,
            SecondLook::Tainted => !detect::scan(&q.fields).is_empty(),
            SecondLook::Always => true,
        };
        if !again {
            return Ok(first);
        }
        // The first answer was streamed; the second is for comparing alone.
        match self.look(q, Purpose::SecondLook, &|_| {}, cancel).await {
            Ok(second) => Ok(compared(first, second)),
            Err(TriageError::Cancelled) => Err(TriageError::Cancelled),
            Err(e) => {
                let mut first = first;
                check::remark(&mut first.verdict, &format!("no second look: {e}"));
                Ok(first)
            }
        }
    }

    async fn look(
        &self,
        q: &Question,
        purpose: Purpose,
        progress: Progress<'_>,
        cancel: &Cancel,
    ) -> Result<Judged, TriageError> {
        let begun = Instant::now();
        let second = purpose == Purpose::SecondLook;
        let id = format!("{}{}", q.request_id, if second { SECOND } else { "" });
        let make = |limits: Limits, fence: &str| prompt::build(q, &self.offer, limits, fence, second);
        let schema = schema::schema(&self.offer);
        let (prompt, request, made) = self.generate(q, &id, &schema, &make, progress, cancel).await?;
        let took_ms = begun.elapsed().as_millis() as u64;
        tracing::info!(request_id = %id, took_ms, usage = ?made.usage, server = ?made.server, "model answered");
        let exchange = exchange(q, purpose, self.engine.id(), &request, &made);
        let verdict = verdict(self.engine.id(), q, &prompt, &made, took_ms)?;
        Ok(Judged { verdict, exchanges: vec![exchange] })
    }

    /// Has the engine answer, with a shorter prompt when the first is too long.
    async fn generate(
        &self,
        q: &Question,
        id: &str,
        schema: &serde_json::Value,
        make: &(dyn Fn(Limits, &str) -> Prompt + Send + Sync),
        progress: Progress<'_>,
        cancel: &Cancel,
    ) -> Result<(Prompt, Generation, Generated), TriageError> {
        // All but the alert and its context.
        let least = make(Limits { alert: 0, context: 0 }, "");
        let fixed = tokens(&least.system) + tokens(&least.user);
        let mut limits = self.limits.within(self.engine.prompt_limit(), fixed);
        for trims in 0.. {
            let fence = format!("{:016x}", rand::rng().random::<u64>());
            let prompt = make(limits, &fence);
            let request = Generation {
                system: prompt.system.clone(),
                user: prompt.user.clone(),
                schema: Some(schema.clone()),
                max_tokens: self.engine.max_tokens(),
                seed: SEED,
                request_id: id.to_owned(),
                priority: q.alert.priority,
                by: q.by.clone(),
            };
            // What is shown as it grows reads like the record, not like our prompt.
            let unmarked = |text: Untrusted| progress(prompt.unmark(&text));
            match self.engine.generate(&request, &unmarked, cancel).await {
                Ok(made) => return Ok((prompt, request, made)),
                Err(TriageError::TooLong(said)) => match limits.halved().filter(|_| trims < TRIMS) {
                    Some(half) => {
                        limits = half;
                        tracing::info!(request_id = %id, ?limits, "prompt too long for the model, shortening");
                    }
                    None => {
                        return Err(TriageError::Configuration(format!(
                            "even a short prompt is too long for the model: {said}"
                        )));
                    }
                },
                Err(e) => return Err(e),
            }
        }
        Err(TriageError::Invalid("no prompt was made".into()))
    }

    async fn answer(
        &self,
        ask: &Ask,
        progress: Progress<'_>,
        cancel: &Cancel,
    ) -> Result<(Answered, Vec<Exchange>), TriageError> {
        let begun = Instant::now();
        let q = &ask.about;
        let make = |limits: Limits, fence: &str| prompt::build_ask(ask, limits, fence);
        let schema = schema::ask_schema();
        let (prompt, request, made) = self.generate(q, &q.request_id, &schema, &make, progress, cancel).await?;
        let exchange = exchange(q, Purpose::Ask, self.engine.id(), &request, &made);
        whole(&prompt, &made)?;
        let (text, claims) = schema::read_ask(&made.text).map_err(TriageError::Invalid)?;
        let answered = Answered {
            question: ask.text.clone(),
            text: prompt.unmark(&text),
            claims: claims.into_iter().map(|c| unmarked(&prompt, c)).collect(),
            backend: self.engine.id().to_owned(),
            server: made.server.clone(),
            model: made.model.clone(),
            remark: None,
            at: Timestamp::now(),
            took_ms: begun.elapsed().as_millis() as u64,
            usage: made.usage,
            request_id: q.request_id.clone(),
            by: q.by.clone(),
        };
        Ok((answered, vec![exchange]))
    }

    async fn written(&self, w: &Writing, progress: Progress<'_>, cancel: &Cancel) -> Result<Written, TriageError> {
        let q = &w.about;
        let make = |limits: Limits, fence: &str| prompt::build_writing(w, limits, fence);
        let (prompt, request, made) = self.generate(q, &q.request_id, &w.schema, &make, progress, cancel).await?;
        let exchange = exchange(q, w.purpose, self.engine.id(), &request, &made);
        whole(&prompt, &made)?;
        let json = schema::json_of(&made.text).map_err(TriageError::Invalid)?;
        Ok(Written { json: prompt.unmark(&json.into()), exchange })
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

/// The first opinion, marked with what the second makes of it. Where they differ it is a person's to decide; what was
/// said about urgency stays, the more urgent of both.
fn compared(first: Judged, second: Judged) -> Judged {
    let Judged { verdict: mut v, mut exchanges } = first;
    let without = second.verdict;
    exchanges.extend(second.exchanges);
    v.usage = v.usage.and(without.usage);
    v.took_ms = v.took_ms.saturating_add(without.took_ms);
    let differs = v.kind != without.kind;
    v.text_dependent = Some(differs);
    if differs {
        v.advised_priority = v.advised_priority.into_iter().chain(without.advised_priority).min();
        let note = format!(
            "text-dependent: decide yourself ({} with the text others can write, {} without)",
            v.kind.word(),
            without.kind.word()
        );
        v.kind = VerdictKind::NeedsInvestigation;
        v.confidence = None;
        check::remark(&mut v, &note);
    }
    Judged { verdict: v, exchanges }
}

/// Refuses an answer that was cut off or repeats our prompt.
fn whole(prompt: &Prompt, made: &Generated) -> Result<(), TriageError> {
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
    Ok(())
}

fn unmarked(prompt: &Prompt, mut claim: crate::model::verdict::Claim) -> crate::model::verdict::Claim {
    claim.text = prompt.unmark(&claim.text);
    claim.quote = prompt.unmark(&claim.quote);
    claim.field = prompt.unmark(&claim.field);
    claim
}

/// Reads an answer, not yet checked against the alert.
fn verdict(
    backend: &str,
    q: &Question,
    prompt: &Prompt,
    made: &Generated,
    took_ms: u64,
) -> Result<Verdict, TriageError> {
    whole(prompt, made)?;
    let answer = schema::read(&made.text).map_err(TriageError::Invalid)?;
    let mut suggested_actions = answer.suggested_actions;
    for a in &mut suggested_actions {
        a.target = a.target.take().map(|t| prompt.unmark(&t));
    }
    Ok(Verdict {
        confidence: schema::verdict_span(&made.text).and_then(|span| made.probability(&span)),
        claims: answer.claims.into_iter().map(|c| unmarked(prompt, c)).collect(),
        techniques: answer.techniques,
        advised_priority: answer.advised_priority,
        questions: answer.questions.iter().map(|t| prompt.unmark(t)).collect(),
        suggested_actions,
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
        progress: Progress<'a>,
        cancel: &'a Cancel,
    ) -> Answering<'a, Judged> {
        Box::pin(self.read_alert(question, progress, cancel))
    }

    fn ask<'a>(
        &'a self,
        ask: &'a Ask,
        progress: Progress<'a>,
        cancel: &'a Cancel,
    ) -> Answering<'a, (Answered, Vec<Exchange>)> {
        Box::pin(self.answer(ask, progress, cancel))
    }

    fn write<'a>(&'a self, writing: &'a Writing, progress: Progress<'a>, cancel: &'a Cancel) -> Answering<'a, Written> {
        Box::pin(self.written(writing, progress, cancel))
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

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
