//! What a server is and what it takes: read from its own pages, before the first request and again after an outage.

use serde_json::{Value, json};

use crate::triage::Generation;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    Vllm,
    LlamaServer,
    /// Or not known.
    #[default]
    Other,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Vllm => "vLLM",
            Self::LlamaServer => "llama-server",
            Self::Other => "OpenAI API",
        }
    }
}

/// What is known of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub kind: Kind,
    /// Tokens that a prompt and its answer may have together.
    pub context: Option<usize>,
    /// Names of its models, as it says them.
    pub models: Vec<String>,
}

impl Known {
    /// `/v1/models`: `owned_by` and `max_model_len` of vLLM, `owned_by` and `meta.n_ctx` (of one slot) of llama-server.
    /// Other servers give a list of names.
    pub(super) fn read(body: &str, model: &str) -> Self {
        let page: Value = serde_json::from_str(body).unwrap_or_default();
        let list = page["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        let named = |m: &&Value| m["id"].as_str() == Some(model);
        let Some(entry) = list.iter().find(named).or(list.first()) else { return Self::default() };
        let kind = match entry["owned_by"].as_str() {
            Some("vllm") => Kind::Vllm,
            Some("llamacpp") => Kind::LlamaServer,
            _ => Kind::Other,
        };
        let size = entry["max_model_len"].as_u64().or(entry["meta"]["n_ctx"].as_u64());
        let context = size.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        let models = list.iter().filter_map(|m| m["id"].as_str()).take(64).map(str::to_owned).collect();
        Self { kind, context, models }
    }

    /// `/props` of a llama-server whose list of models does not say: context of one slot.
    pub(super) fn read_props(&mut self, body: &str) {
        let page: Value = serde_json::from_str(body).unwrap_or_default();
        let size = page["default_generation_settings"]["n_ctx"].as_u64();
        if let Some(n) = size.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0) {
            self.kind = Kind::LlamaServer;
            self.context = Some(n);
        }
    }

    /// The server takes any model name: llama-server answers with the one it has.
    pub(super) fn any_model(&self) -> bool {
        self.kind == Kind::LlamaServer
    }
}

/// A request that counts a prompt's tokens with its chat template: where to, and what.
pub(super) fn count(kind: Kind, model: &str, request: &Generation) -> Option<(&'static str, Value)> {
    let messages = messages(request);
    match kind {
        Kind::Vllm => Some(("/tokenize", json!({"model": model, "messages": messages}))),
        Kind::LlamaServer => Some(("/v1/chat/completions/input_tokens", json!({"messages": messages}))),
        Kind::Other => None,
    }
}

/// Tokens as either server counts them.
pub(super) fn counted(body: &str) -> Option<usize> {
    let page: Value = serde_json::from_str(body).ok()?;
    let n = page["count"].as_u64().or(page["input_tokens"].as_u64())?;
    usize::try_from(n).ok()
}

pub(super) fn messages(request: &Generation) -> Value {
    json!([{"role": "system", "content": request.system}, {"role": "user", "content": request.user}])
}

/// A prompt has hardly more tokens than this: base64 and hex have about one for two bytes.
pub(super) fn at_most(request: &Generation) -> usize {
    (request.system.len() + request.user.len()).div_ceil(2) + 64
}

/// About how many tokens a prompt has: log text has one for some three bytes.
pub(super) fn about(request: &Generation) -> usize {
    (request.system.len() + request.user.len()).div_ceil(3) + 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say_of_themselves() {
        let vllm = r#"{"data":[{"id":"a","owned_by":"vllm","max_model_len":4096},{"id":"b","owned_by":"vllm","max_model_len":2048}]}"#;
        let known = Known::read(vllm, "b");
        assert_eq!((known.kind, known.context, known.models.len()), (Kind::Vllm, Some(2048), 2));
        let llama = r#"{"data":[{"id":"/m.gguf","owned_by":"llamacpp","meta":{"n_ctx":1024,"n_ctx_train":8192}}]}"#;
        let known = Known::read(llama, "x");
        assert_eq!((known.kind, known.context), (Kind::LlamaServer, Some(1024)));
        let mut old = Known::read(r#"{"data":[{"id":"x","owned_by":"llamacpp"}]}"#, "x");
        old.read_props(r#"{"default_generation_settings":{"n_ctx":512}}"#);
        assert_eq!(old.context, Some(512));
        for nonsense in ["", "<html>", "[]", r#"{"data":{"id":3}}"#, r#"{"data":[]}"#] {
            assert_eq!(Known::read(nonsense, "x"), Known::default(), "{nonsense}");
        }
        assert_eq!(counted(r#"{"count":7,"max_model_len":4096,"tokens":[1]}"#), Some(7));
        assert_eq!(counted(r#"{"input_tokens":31}"#), Some(31));
        assert_eq!(counted(r#"{"tokens":[]}"#), None);
    }
}
