//! What runs a model: text in, text out, held to a schema. It knows nothing of alerts.

use std::ops::Range;

use serde_json::Value;

use super::{Answering, Cancel, Health, Telling};
use crate::model::ids::PersonId;
use crate::model::priority::Priority;
use crate::model::verdict::Usage;
use crate::text::Untrusted;

/// One request.
#[derive(Clone, Debug)]
pub struct Generation {
    /// The part that is the same for every request of a kind: first, so that prefix caches hold.
    pub system: String,
    pub user: String,
    /// JSON Schema of the answer. `None`: free text.
    pub schema: Option<Value>,
    pub max_tokens: u32,
    /// Answers are greedy (temperature 0); the seed is told anyway.
    pub seed: u64,
    pub request_id: String,
    /// More urgent ones go first.
    pub priority: Priority,
    /// For limits per person; `None`: the desk by itself.
    pub by: Option<PersonId>,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model was done.
    Stop,
    /// Cut off: it is no answer.
    Length,
    /// The engine's own word.
    Other(String),
}

impl Finish {
    pub fn word(&self) -> &str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Other(word) => word,
        }
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    pub text: String,
    pub finish: Finish,
    /// As the engine names it.
    pub model: Untrusted,
    /// SHA-256 of the model's file, hex, where it is known.
    pub model_digest: Option<String>,
    /// Of a pool: who answered.
    pub server: Option<String>,
    pub usage: Usage,
    /// Each token's text and natural log-probability, where the engine gives them.
    pub tokens: Vec<(String, f64)>,
}

impl Generated {
    /// Probability the model gave to what stands in this span of its text: the product over its tokens. `None` when
    /// there are no probabilities or the tokens do not spell the text.
    pub fn probability(&self, span: &Range<usize>) -> Option<f32> {
        let (mut at, mut sum, mut any) = (0, 0.0, false);
        for (token, logprob) in &self.tokens {
            if at >= span.end {
                break;
            }
            if self.text.get(at..at + token.len()) != Some(token) {
                return None;
            }
            if at + token.len() > span.start && logprob.is_finite() {
                sum += logprob;
                any = true;
            }
            at += token.len();
        }
        (any && at >= span.end).then(|| sum.exp().clamp(0.0, 1.0) as f32)
    }
}

/// Something that runs a model.
pub trait Engine: Send + Sync {
    /// `openai` or `local`.
    fn id(&self) -> &'static str;

    /// Answers, streaming pieces as they come, in order; all pieces together are `Generated::text`. `cancel` ends it,
    /// and what it holds of a server or a processor, within a second.
    ///
    /// # Errors
    /// [`TooLong`](super::TriageError::TooLong) when a shorter prompt may do.
    fn generate<'a>(
        &'a self,
        request: &'a Generation,
        progress: &'a (dyn Fn(Untrusted) + Send + Sync),
        cancel: &'a Cancel,
    ) -> Answering<'a, Generated>;

    fn health<'a>(&'a self) -> Telling<'a, Health>;

    /// Makes it ready: loads the model, asks the servers what they are.
    fn load<'a>(&'a self) -> Answering<'a, ()>;

    /// How many requests it answers at the same time.
    fn slots(&self) -> usize;

    /// Tokens a prompt may have, answer left out, where it is known.
    fn prompt_limit(&self) -> Option<usize> {
        None
    }

    /// Longest answer, in tokens.
    fn max_tokens(&self) -> u32;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probability_of_a_span_is_that_of_its_tokens() {
        let mut made = Generated {
            text: "{\"a\":12}".into(),
            finish: Finish::Stop,
            model: "m".into(),
            model_digest: None,
            server: None,
            usage: Usage::default(),
            tokens: [("{\"a\":", -0.1), ("12", 0.5_f64.ln()), ("}", 0.0)].map(|(t, p)| (t.to_owned(), p)).to_vec(),
        };
        assert!((made.probability(&(5..7)).unwrap() - 0.5).abs() < 1e-6);
        assert_eq!(made.probability(&(5..99)), None, "the tokens do not reach there");
        made.tokens[0].0 = "?".into();
        assert_eq!(made.probability(&(5..7)), None, "the tokens do not spell the text");
    }
}
