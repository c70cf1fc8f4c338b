//! An opinion on an alert: prompt, schema, grounding, taint, backends.
//!
//! ```text
//! question -> backend -> check: bounds, technique table, catalogue, grounding, detector -> verdict
//!
//! Backends        the one asked for, and `rules` standing in when it does not answer
//!   Rules         no model: a sum of reasons, and what the desk has learnt
//!   Reader        prompt -> Engine -> answer read against the schema
//!     Openai      a pool of servers
//!     Local       a model in this process
//! ```
//!
//! A backend has no tools and no write path, and whatever it answers goes through [`check`]: what comes out can raise an
//! alert's priority and nothing else.

mod answer;
pub mod attack;
pub mod backend;
mod backends;
pub mod bench;
pub mod check;
#[doc(hidden)]
pub mod conformance;
pub mod context;
pub mod detect;
mod engine;
pub mod eval;
pub mod grounding;
pub mod models;
pub mod partial;
pub mod probe;
pub mod prompt;
pub mod reader;
pub mod schema;
pub mod taint;
#[cfg(test)]
mod testing;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::model::alert::Alert;
use crate::model::fields::Field;
use crate::model::ids::PersonId;
use crate::model::opinion::{Answered, Exchange, Purpose};
use crate::model::verdict::Verdict;
use crate::text::Untrusted;

pub use self::backends::{Backends, Deps, SecretOf};
pub use self::context::{Context, Neighbour, PastCount, PlaybookRef};
pub use self::engine::{Engine, Finish, Generated, Generation};

/// What a backend may suggest: names only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Of the action catalogue.
    pub actions: Vec<String>,
    /// Of this desk's playbooks.
    pub playbooks: Vec<String>,
}

/// One thing to form an opinion on.
#[derive(Clone, Debug)]
pub struct Question {
    pub alert: Alert,
    pub fields: Vec<Field>,
    pub context: Context,
    /// Joins the log, the server's log and the audit trail.
    pub request_id: String,
    /// Who asked; `None`: the desk by itself.
    pub by: Option<PersonId>,
}

/// An opinion, and the exchanges with a model that led to it (none for `rules`).
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    pub verdict: Verdict,
    pub exchanges: Vec<Exchange>,
}

impl From<Verdict> for Judged {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, exchanges: Vec::new() }
    }
}

/// A person's question about an alert, with what was said before.
#[derive(Clone, Debug)]
pub struct Ask {
    pub about: Question,
    pub text: Untrusted,
    /// Question and answer pairs of this conversation, oldest first.
    pub before: Vec<(Untrusted, Untrusted)>,
}

/// Something a model is to write about an alert. It comes back as JSON text, read by whoever asked.
#[derive(Clone, Debug)]
pub struct Writing {
    pub about: Question,
    pub purpose: Purpose,
    /// The fixed part.
    pub system: String,
    /// What is asked, in our words; stands after the alert.
    pub task: String,
    /// JSON Schema of the answer.
    pub schema: serde_json::Value,
}

/// What a model wrote, and the exchange that led to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// One JSON object; its words are a stranger's.
    pub json: Untrusted,
    pub exchange: Exchange,
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
    /// Not there, too slow, or over capacity. `rules` can stand in, and trying again later makes sense.
    #[error("{0}")]
    Unavailable(String),
    /// The prompt does not fit the model. A shorter one may.
    #[error("the prompt is too long for the model: {0}")]
    TooLong(String),
    /// A token or request budget is used up.
    #[error("{0}")]
    OverBudget(String),
    /// It answered something that is no verdict.
    #[error("no valid verdict: {0}")]
    Invalid(String),
}

/// How a backend is doing. `None`: not known, which is not the same as none or well.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    pub up: bool,
    /// Such as `vllm-a` or `rules`.
    pub name: String,
    pub running: Option<u32>,
    pub waiting: Option<u32>,
    /// Share of the key-value cache in use, 0 to 1.
    pub kv_cache: Option<f32>,
    /// Share of prompt tokens found in the prefix cache, 0 to 1.
    pub prefix_hits: Option<f32>,
    /// Time to first token, 95th percentile: the server's own figure, else what this desk measured.
    pub ttft_p95_ms: Option<u64>,
    pub detail: String,
    /// Each server of a pool.
    pub servers: Vec<Health>,
    /// Asked only when all others are out.
    pub backup: bool,
}

pub type Answering<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, TriageError>> + Send + 'a>>;
pub type Telling<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

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
    ) -> Answering<'a, Judged>;

    /// Answers a person's question about an alert. Claims come back unchecked.
    fn ask<'a>(
        &'a self,
        _ask: &'a Ask,
        _progress: &'a (dyn Fn(Untrusted) + Send + Sync),
        _cancel: &'a Cancel,
    ) -> Answering<'a, (Answered, Vec<Exchange>)> {
        Box::pin(async { Err(TriageError::Configuration("rules cannot answer questions: that takes a model".into())) })
    }

    /// Writes something about an alert. It comes back unchecked.
    fn write<'a>(
        &'a self,
        _writing: &'a Writing,
        _progress: &'a (dyn Fn(Untrusted) + Send + Sync),
        _cancel: &'a Cancel,
    ) -> Answering<'a, Written> {
        Box::pin(async { Err(TriageError::Configuration("rules write nothing: that takes a model".into())) })
    }

    fn health<'a>(&'a self) -> Telling<'a, Health>;

    /// Makes it ready: loads the model, asks the servers what they are. Doing without it only makes the first answer
    /// slower.
    fn load<'a>(&'a self) -> Answering<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    /// What runs its model, if it has one.
    fn runs(&self) -> Option<&dyn Engine> {
        None
    }

    /// How many alerts it judges at the same time.
    fn slots(&self) -> usize {
        1
    }
}
