//! An opinion on an alert: prompt, schema, grounding, taint, backends.
//!
//! ```text
//! question -> backend (openai, else rules) -> check: bounds, technique table, catalogue, grounding, detector -> verdict
//! ```
//!
//! A backend has no tools and no write path, and whatever it answers goes through [`check`]: what comes out can raise an
//! alert's priority and nothing else.

pub mod backend;
pub mod check;
pub mod detect;
pub mod grounding;
pub mod prompt;
pub mod schema;
#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use zeroize::Zeroizing;

use self::backend::openai::Openai;
use self::backend::rules::Rules;
use crate::config::settings::TriageSettings;

use crate::model::alert::Alert;
use crate::model::fields::Field;
use crate::model::verdict::Verdict;
use crate::text::Untrusted;

/// What the desk knows about an alert besides its own record. Context, not evidence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// How alike alerts were closed before: what is alike, disposition counts, total.
    pub past: Vec<PastCount>,
    /// Alerts near it in time on the same host, user or address: title and seconds apart.
    pub neighbours: Vec<(Untrusted, i64)>,
    /// How many alerts of this rule came in the last 30 days, and of all rules.
    pub rule_seen: u64,
    pub all_seen: u64,
    pub open_case: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PastCount {
    pub alike: String,
    pub true_positive: u64,
    pub benign_true_positive: u64,
    pub false_positive: u64,
    pub undetermined: u64,
    pub total: u64,
}

/// One thing to form an opinion on.
#[derive(Clone, Debug)]
pub struct Question {
    pub alert: Alert,
    pub fields: Vec<Field>,
    pub context: Context,
    /// Joins the log, the server's log and the audit trail.
    pub request_id: String,
}

/// Set from anywhere; looked at between tokens.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Returns once it is cancelled.
    pub async fn cancelled(&self) {
        while !self.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TriageError {
    #[error("cancelled")]
    Cancelled,
    /// Not configured right: wrong model name, bad URL.
    #[error("configuration: {0}")]
    Configuration(String),
    /// Not there, too slow, or over capacity. `rules` can stand in.
    #[error("{0}")]
    Unavailable(String),
    /// It answered something that is no verdict.
    #[error("no valid verdict: {0}")]
    Invalid(String),
}

/// How a backend is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    pub up: bool,
    /// Such as `vllm-a` or `rules`.
    pub name: String,
    pub running: Option<u32>,
    pub waiting: Option<u32>,
    pub detail: String,
}

/// Something that forms opinions. It has no tools and no write path.
pub trait Backend: Send + Sync {
    fn id(&self) -> &'static str;

    /// Answers, streaming pieces of text as they come (possibly none). Checks of the answer (grounding, technique
    /// table, detector) are the caller's and always on. Runs on its own task; `cancel` ends it within a second.
    fn judge<'a>(
        &'a self,
        question: &'a Question,
        progress: &'a (dyn Fn(Untrusted) + Send + Sync),
        cancel: &'a Cancel,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Verdict, TriageError>> + Send + 'a>>;

    fn health<'a>(&'a self) -> std::pin::Pin<Box<dyn Future<Output = Health> + Send + 'a>>;
}

/// The backends of a desk: the one that was asked for, and `rules`, which always answers.
#[derive(Clone, Default)]
pub struct Backends {
    primary: Option<Arc<dyn Backend>>,
    rules: Rules,
    actions: Vec<String>,
}

impl Backends {
    /// `primary` is `None` for `rules` alone. `actions` are the names of the action catalogue: others are not suggested.
    pub fn new(primary: Option<Arc<dyn Backend>>, actions: Vec<String>) -> Self {
        Self { primary, rules: Rules::new(actions.clone()), actions }
    }

    /// The backend of the settings. `api_key` is the secret `triage.openai.api_key` refers to, resolved by the caller.
    ///
    /// # Errors
    /// [`TriageError::Configuration`] names the setting that is wrong.
    pub fn from_settings(
        settings: &TriageSettings,
        api_key: Option<Zeroizing<String>>,
        actions: Vec<String>,
    ) -> Result<Self, TriageError> {
        match settings.backend.as_str() {
            "rules" => Ok(Self::new(None, actions)),
            "openai" => {
                let primary = Openai::new(&settings.openai, api_key, actions.clone())?;
                Ok(Self::new(Some(Arc::new(primary)), actions))
            }
            other => Err(TriageError::Configuration(format!(
                "triage.backend: {other:?} is no backend, expected `rules` or `openai`"
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
    ) -> Result<Verdict, TriageError> {
        let mut why = None;
        if let Some(primary) = &self.primary {
            let answer = tokio::select! {
                biased;
                () = cancel.cancelled() => Err(TriageError::Cancelled),
                answer = primary.judge(question, progress, cancel) => answer,
            };
            match answer {
                Ok(verdict) => return Ok(check::check(verdict, question, &self.actions)),
                Err(TriageError::Cancelled) => return Err(TriageError::Cancelled),
                Err(e) => {
                    tracing::warn!(request_id = %question.request_id, backend = primary.id(), error = %e, "opinion from rules instead");
                    why = Some(format!("{} did not give an opinion: {e}", primary.id()));
                }
            }
        }
        let mut verdict = self.rules.judge(question, progress, cancel).await?;
        if let Some(why) = why {
            verdict.fallback = true;
            let sum = verdict.remark.take();
            verdict.remark = Some(why.into());
            if let Some(sum) = sum {
                check::remark(&mut verdict, sum.expose());
            }
        }
        Ok(check::check(verdict, question, &self.actions))
    }

    /// Of the backend asked for.
    pub async fn health(&self) -> Health {
        match &self.primary {
            Some(b) => b.health().await,
            None => self.rules.health().await,
        }
    }
}
