//! Which token comes next: the likeliest one that the schema allows.

use std::sync::Arc;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{InferenceCapabilities, SimpleVob, TokEnv, TokTrie, TokenId, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};

/// Makes constraints for one model. Costs about a second for a large vocabulary, so once per model.
pub struct Constrainer {
    factory: ParserFactory,
}

impl Constrainer {
    pub fn new(model: &Arc<LlamaModel>) -> Result<Self, String> {
        let tokens: TokEnv = Arc::new(Tokens { known: LlamaSampler::llguidance_tok_env(model), model: model.clone() });
        // Whatever the schema forces is taken without asking the model for it.
        let able = InferenceCapabilities { ff_tokens: true, ..InferenceCapabilities::default() };
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&tokens, able, &slices).map_err(|e| e.to_string())?;
        factory.quiet();
        Ok(Self { factory })
    }

    /// Holds one answer to a JSON Schema, without white space between its parts.
    pub fn constraint(&self, schema: &Value) -> Result<Constraint, String> {
        let mut schema = schema.clone();
        if let Some(object) = schema.as_object_mut() {
            object.insert("x-guidance".into(), json!({"whitespace_flexible": false}));
        }
        let parser = self.factory.create_parser(TopLevelGrammar::from_json_schema(schema));
        let matcher = Matcher::new(parser);
        match matcher.get_error() {
            None => Ok(Constraint { matcher }),
            Some(e) => Err(first_line(&e)),
        }
    }
}

/// The state of one answer.
pub struct Constraint {
    matcher: Matcher,
}

impl Constraint {
    /// Tokens that may come now.
    pub fn allowed(&mut self) -> Result<SimpleVob, String> {
        self.matcher.compute_mask_or_eos().map_err(|e| first_line(&e.to_string()))
    }

    /// Takes a token, and gives those that must follow it.
    pub fn take(&mut self, token: LlamaToken) -> Result<Vec<LlamaToken>, String> {
        self.matcher.consume_token(token.0.cast_unsigned()).map_err(|e| first_line(&e.to_string()))?;
        Ok(self.forced())
    }

    /// Tokens that must come now, already taken.
    pub fn forced(&mut self) -> Vec<LlamaToken> {
        if self.matcher.is_stopped() {
            return Vec::new();
        }
        self.matcher.consume_ff_tokens().into_iter().map(|t| LlamaToken(t.cast_signed())).collect()
    }

    /// Nothing can follow.
    pub fn is_complete(&self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error()
    }

    pub fn error(&self) -> Option<String> {
        self.matcher.get_error().map(|e| first_line(&e))
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

/// The model's vocabulary and its own tokenizer.
struct Tokens {
    known: TokEnv,
    model: Arc<LlamaModel>,
}

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        self.known.tok_trie()
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        // llama.cpp ends the process over text that is no UTF-8, and some tokenizers add a space in front.
        if std::str::from_utf8(bytes).is_ok() {
            let tokens = self.model.vocab().tokenize(bytes, false, false);
            let tokens: Vec<TokenId> = tokens.into_iter().map(|t| t.0.cast_unsigned()).collect();
            if self.tok_trie().decode(&tokens) == bytes {
                return tokens;
            }
        }
        self.tok_trie().greedy_tokenize(bytes)
    }
}

/// The likeliest allowed token and the natural logarithm of the probability the model gave it among all tokens. Of
/// equals the first. `None`: nothing is allowed, or no number is one.
pub fn likeliest(logits: &[f32], allowed: Option<&SimpleVob>) -> Option<(LlamaToken, f64)> {
    let (mut best, mut at) = (f32::NEG_INFINITY, None);
    let mut look = |i: usize| {
        if let Some(&logit) = logits.get(i)
            && (logit > best || (at.is_none() && !logit.is_nan()))
        {
            (best, at) = (logit, Some(i));
        }
    };
    match allowed {
        Some(allowed) => allowed.iter_set_entries(&mut look),
        None => (0..logits.len()).for_each(look),
    }
    let at = at.filter(|_| best.is_finite())?;
    Some((LlamaToken(i32::try_from(at).ok()?), log_probability(logits, best)))
}

/// `logit` minus the logarithm of the sum of all exponentials.
fn log_probability(logits: &[f32], logit: f32) -> f64 {
    let max = logits.iter().copied().filter(|l| l.is_finite()).fold(f32::NEG_INFINITY, f32::max);
    // Four sums at a time, so that the processor can: this runs once for every token and over every word there is.
    let mut sums = [0.0_f32; 4];
    for chunk in logits.chunks(4) {
        for (sum, l) in sums.iter_mut().zip(chunk) {
            *sum += (l - max).exp();
        }
    }
    let sum: f64 = sums.iter().map(|s| f64::from(*s)).sum();
    let log = f64::from(logit - max) - sum.ln();
    if log.is_nan() { log } else { log.min(0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_allowed_token_with_its_probability_among_all() {
        let logits = [1.0, 3.0, 2.0, 3.0];
        let (token, logprob) = likeliest(&logits, None).unwrap();
        assert_eq!(token.0, 1, "of equals the first");
        let all: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        assert!((logprob - (3.0_f64.exp() / all).ln()).abs() < 1e-5);

        let mut allowed = SimpleVob::alloc(4);
        allowed.allow_token(2);
        let (token, logprob) = likeliest(&logits, Some(&allowed)).unwrap();
        assert_eq!(token.0, 2);
        assert!((logprob - (2.0_f64.exp() / all).ln()).abs() < 1e-5, "a token it would not have chosen is unlikely");

        assert_eq!(likeliest(&logits, Some(&SimpleVob::alloc(4))), None);
        assert_eq!(likeliest(&[f32::NAN, f32::NAN], None), None);
        let odd = [f32::NAN, f32::NEG_INFINITY, 0.5];
        assert_eq!(likeliest(&odd, None).unwrap().0.0, 2);
    }
}
