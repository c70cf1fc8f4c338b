//! The backends of a desk: the one that was asked for, and `rules`, which always answers.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::backend::openai::{Openai, Quota};
use super::backend::rules::Rules;
use super::reader::Reader;
use super::{
    Answering, Ask, Backend, Cancel, Generation, Health, Judged, Offer, Question, TriageError, Writing, Written,
    answer, check,
};
use crate::config::settings::TriageSettings;
use crate::model::ids::PersonId;
use crate::model::opinion::{Answered, Exchange, Purpose};
use crate::model::priority::Priority;
use crate::text::Untrusted;

/// Turns a secret reference into its value; the error never holds the value.
pub type SecretOf = Arc<dyn Fn(&str) -> Result<Zeroizing<String>, String> + Send + Sync>;

/// What backends are made of besides their settings.
#[derive(Clone)]
pub struct Deps {
    pub offer: Offer,
    pub secrets: SecretOf,
    /// Where local models are kept.
    pub models: PathBuf,
}

/// The backend asked for and its stand-in.
#[derive(Clone, Default)]
pub struct Backends {
    primary: Option<Arc<dyn Backend>>,
    rules: Rules,
    offer: Offer,
}

impl Backends {
    /// `primary` is `None` for `rules` alone. What `offer` does not name is not suggested.
    pub fn new(primary: Option<Arc<dyn Backend>>, offer: Offer) -> Self {
        Self { primary, rules: Rules::new(offer.clone()), offer }
    }

    /// The backend of the settings.
    ///
    /// # Errors
    /// [`TriageError::Configuration`] names the setting that is wrong.
    pub fn from_settings(settings: &TriageSettings, deps: &Deps) -> Result<Self, TriageError> {
        match settings.backend.as_str() {
            "rules" => Ok(Self::new(None, deps.offer.clone())),
            "openai" => {
                let quota = Quota {
                    tokens_per_hour: settings.tokens_per_hour,
                    tokens_per_person_per_hour: settings.tokens_per_person_per_hour,
                    requests_per_person: settings.requests_per_person,
                };
                let engine = Arc::new(Openai::with_quota(&settings.openai, quota, &deps.secrets)?);
                let reader = Reader::new(engine, deps.offer.clone()).tuned(settings);
                Ok(Self::new(Some(Arc::new(reader)), deps.offer.clone()))
            }
            #[cfg(feature = "local")]
            "local" => {
                let engine = Arc::new(super::backend::local::Local::new(&settings.local, deps.models.clone()));
                let reader = Reader::new(engine, deps.offer.clone()).tuned(settings);
                Ok(Self::new(Some(Arc::new(reader)), deps.offer.clone()))
            }
            #[cfg(not(feature = "local"))]
            "local" => Err(TriageError::Configuration(
                "triage.backend: this build runs no local models; one made with `cargo build --features local` does"
                    .into(),
            )),
            other => Err(TriageError::Configuration(format!(
                "triage.backend: {other:?} is no backend, expected `rules`, `openai` or `local`"
            ))),
        }
    }

    /// `rules`, or the id of the backend asked for.
    pub fn id(&self) -> &'static str {
        self.primary.as_ref().map_or("rules", |b| b.id())
    }

    /// An opinion, checked. When the backend asked for does not answer, `rules` does, marked as a fallback with the
    /// reason. The only errors are [`TriageError::Cancelled`] and a fault of `rules` itself.
    pub async fn judge(
        &self,
        question: &Question,
        progress: &(dyn Fn(Untrusted) + Send + Sync),
        cancel: &Cancel,
    ) -> Result<Judged, TriageError> {
        match self.judge_strictly(question, progress, cancel).await {
            Err(TriageError::Cancelled) => Err(TriageError::Cancelled),
            Err(e) if self.primary.is_some() => self.stand_in(question, &e).await,
            other => other,
        }
    }

    /// An opinion of the backend asked for, checked, or why there is none. Nobody stands in.
    pub async fn judge_strictly(
        &self,
        question: &Question,
        progress: &(dyn Fn(Untrusted) + Send + Sync),
        cancel: &Cancel,
    ) -> Result<Judged, TriageError> {
        let judged = self.judge_unchecked(question, progress, cancel).await?;
        Ok(self.checked(judged, question))
    }

    /// What the backend asked for says by itself. For measuring it, never for an analyst.
    pub(super) async fn judge_unchecked(
        &self,
        question: &Question,
        progress: &(dyn Fn(Untrusted) + Send + Sync),
        cancel: &Cancel,
    ) -> Result<Judged, TriageError> {
        let backend: &dyn Backend = self.primary.as_deref().unwrap_or(&self.rules);
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(TriageError::Cancelled),
            answer = backend.judge(question, progress, cancel) => answer,
        }
    }

    /// The same after the checks that every opinion goes through.
    pub(super) fn checked(&self, judged: Judged, question: &Question) -> Judged {
        Judged { verdict: check::check(judged.verdict, question, &self.offer), ..judged }
    }

    /// The opinion of `rules`, marked as a fallback for this reason.
    pub async fn stand_in(&self, question: &Question, why: &TriageError) -> Result<Judged, TriageError> {
        self.stand_in_for(self.id(), question, why).await
    }

    /// The same in the place of a backend that could not even be made.
    pub async fn stand_in_for(
        &self,
        asked: &str,
        question: &Question,
        why: &TriageError,
    ) -> Result<Judged, TriageError> {
        tracing::warn!(request_id = %question.request_id, backend = asked, error = %why, "opinion from rules instead");
        let mut judged = self.rules.judge(question, &|_| {}, &Cancel::new()).await?;
        judged.verdict.fallback = true;
        let sum = judged.verdict.remark.take();
        judged.verdict.remark = Some(format!("{asked} did not give an opinion: {why}").into());
        if let Some(sum) = sum {
            check::remark(&mut judged.verdict, sum.expose());
        }
        Ok(Judged { verdict: check::check(judged.verdict, question, &self.offer), ..judged })
    }

    /// An answer to a person's question, checked like a verdict. Where no model answers, what the desk knows is looked
    /// through for the words asked, and the answer says so.
    pub fn ask<'a>(
        &'a self,
        ask: &'a Ask,
        progress: &'a (dyn Fn(Untrusted) + Send + Sync),
        cancel: &'a Cancel,
    ) -> Answering<'a, (Answered, Vec<Exchange>)> {
        Box::pin(async move {
            let Some(backend) = &self.primary else {
                return Ok((check::answered(answer::without_model(ask, None), &ask.about), Vec::new()));
            };
            let answered = tokio::select! {
                biased;
                () = cancel.cancelled() => Err(TriageError::Cancelled),
                answer = backend.ask(ask, progress, cancel) => answer,
            };
            match answered {
                Ok((answered, exchanges)) => Ok((check::answered(answered, &ask.about), exchanges)),
                Err(TriageError::Cancelled) => Err(TriageError::Cancelled),
                Err(e) => {
                    let why = format!("{}: {e}", self.id());
                    Ok((check::answered(answer::without_model(ask, Some(&why)), &ask.about), Vec::new()))
                }
            }
        })
    }

    /// Has the model write something about an alert. Nobody stands in for it.
    ///
    /// # Errors
    /// [`TriageError::Configuration`] where there is no model.
    pub async fn write(
        &self,
        writing: &Writing,
        progress: &(dyn Fn(Untrusted) + Send + Sync),
        cancel: &Cancel,
    ) -> Result<Written, TriageError> {
        let backend: &dyn Backend = self.primary.as_deref().unwrap_or(&self.rules);
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(TriageError::Cancelled),
            answer = backend.write(writing, progress, cancel) => answer,
        }
    }

    /// Longest answer of the model, in tokens. `None`: there is none.
    pub fn max_tokens(&self) -> Option<u32> {
        self.primary.as_ref().and_then(|b| b.runs()).map(|e| e.max_tokens())
    }

    /// Runs a stored prompt once more, with the same schema, seed and longest answer.
    ///
    /// # Errors
    /// [`TriageError::Configuration`] for `rules`, which has no prompts.
    pub async fn replay(
        &self,
        old: &Exchange,
        request_id: &str,
        by: &PersonId,
        cancel: &Cancel,
    ) -> Result<Exchange, TriageError> {
        let Some(engine) = self.primary.as_ref().and_then(|b| b.runs()) else {
            return Err(TriageError::Configuration("rules runs no model: there is nothing to run a prompt on".into()));
        };
        let request = Generation {
            system: old.system.clone(),
            user: old.user.expose().to_owned(),
            schema: old.schema.clone(),
            max_tokens: old.max_tokens,
            seed: old.seed,
            request_id: request_id.to_owned(),
            priority: Priority::P3,
            by: Some(by.clone()),
        };
        let made = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(TriageError::Cancelled),
            made = engine.generate(&request, &|_| {}, cancel) => made,
        }?;
        Ok(Exchange {
            request_id: request_id.to_owned(),
            purpose: Purpose::Replay,
            at: Timestamp::now(),
            backend: engine.id().to_owned(),
            server: made.server,
            model: made.model,
            model_digest: made.model_digest,
            output: made.text.as_str().into(),
            finish: made.finish.word().to_owned(),
            usage: made.usage,
            ..old.clone()
        })
    }

    /// Of the backend asked for.
    pub async fn health(&self) -> Health {
        match &self.primary {
            Some(b) => b.health().await,
            None => self.rules.health().await,
        }
    }

    /// Makes the backend asked for ready.
    pub async fn load(&self) -> Result<(), TriageError> {
        match &self.primary {
            Some(b) => b.load().await,
            None => Ok(()),
        }
    }

    /// How many alerts the backend asked for judges at the same time.
    pub fn slots(&self) -> usize {
        self.primary.as_ref().map_or(1, |b| b.slots())
    }
}
