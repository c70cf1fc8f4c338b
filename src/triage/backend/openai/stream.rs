//! Reads a streamed answer.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::fault::{self, Fault};
use super::sse;
use crate::text::Untrusted;

/// Longest answer that is read, in bytes. An answer that keeps to the schema is far shorter.
const ANSWER_MAX: usize = 64 * 1024;
/// Bytes of a whole stream, its JSON around every token included.
const STREAM_MAX: usize = 16 << 20;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Until the first event.
    pub first: Duration,
    /// Between two events that bring the answer further. Comments, empty events and bytes that drip do not.
    pub idle: Duration,
}

/// What came of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reply {
    pub text: String,
    /// Why the server stopped: `stop`, `length`.
    pub finish: Option<String>,
    /// Of the model that answered, as the server names it.
    pub model: Option<Untrusted>,
    pub prompt_tokens: Option<u64>,
    pub cached_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
    pub first_ms: Option<u64>,
    /// Each token's text and natural log-probability.
    pub tokens: Vec<(String, f64)>,
    /// Log-probability of tokens whose text has not come yet.
    held: Option<f64>,
    /// How often an event brought something: text, thoughts, the end.
    steps: u64,
}

/// What an event may hold; the rest of it is skipped, not kept.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    model: Option<String>,
    usage: Option<Used>,
    choices: Option<Vec<Choice<'a>>>,
}

#[derive(Deserialize)]
struct Used {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<Cached>,
}

#[derive(Deserialize)]
struct Cached {
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    delta: Option<Said>,
    message: Option<Said>,
    #[serde(borrow)]
    logprobs: Option<Logprobs<'a>>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    content: Option<String>,
    // What models that think say before they answer, by the names of vLLM, of llama.cpp and of others.
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    thinking: Option<String>,
}

impl Said {
    fn thinks(&self) -> bool {
        [&self.reasoning_content, &self.reasoning, &self.thinking].into_iter().flatten().any(|t| !t.is_empty())
    }
}

#[derive(Deserialize)]
struct Logprobs<'a> {
    #[serde(borrow)]
    content: Option<Vec<Token<'a>>>,
}

#[derive(Deserialize)]
struct Token<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
    logprob: f64,
}

impl Reply {
    /// Of prompt and answer, where the server says.
    pub(super) fn tokens_used(&self) -> Option<u64> {
        Some(self.prompt_tokens?.saturating_add(self.completion_tokens.unwrap_or(0)))
    }

    /// Takes the tokens behind a piece of text, so that all of them spell it. Half a character is held back by servers
    /// until it is whole: its tokens then count as one. The token that ends an answer is none of its text.
    fn take_tokens(&mut self, tokens: &[Token<'_>], piece: &str) {
        let held = self.held.take();
        let mut rest = Some(piece);
        for token in tokens {
            rest = rest.and_then(|r| r.strip_prefix(&*token.token));
        }
        if held.is_none() && !tokens.is_empty() && rest == Some("") {
            self.tokens.extend(tokens.iter().map(|t| (t.token.clone().into_owned(), t.logprob)));
            return;
        }
        let known = held.is_some() || !tokens.is_empty();
        let sum = held.unwrap_or(0.0) + tokens.iter().map(|t| t.logprob).sum::<f64>();
        if piece.is_empty() {
            self.held = known.then_some(sum);
        } else if known {
            self.tokens.push((piece.to_owned(), sum));
        }
    }

    /// Takes one event. `Ok(true)`: the stream is over.
    fn take(&mut self, data: &str, progress: &(dyn Fn(Untrusted) + Send + Sync)) -> Result<bool, Fault> {
        if data.trim() == "[DONE]" {
            return Ok(true);
        }
        let event: Event<'_> = serde_json::from_str(data).map_err(|e| {
            let wrong = if e.is_data() { "holds something else than an answer" } else { "is no JSON" };
            Fault::Invalid(format!("an event of the stream {wrong}: {}", fault::say(data)))
        })?;
        if let Some(error) = event.error {
            let error: Value = serde_json::from_str(error.get()).unwrap_or_default();
            let status = error["code"].as_u64().and_then(|c| u16::try_from(c).ok()).unwrap_or(500);
            return Err(fault::of_status(status, data));
        }
        if let Some(model) = event.model.filter(|_| self.model.is_none()) {
            self.model = Some(model.chars().take(120).collect::<String>().into());
        }
        if let Some(usage) = event.usage {
            self.prompt_tokens = usage.prompt_tokens.or(self.prompt_tokens);
            self.completion_tokens = usage.completion_tokens.or(self.completion_tokens);
            let details = usage.prompt_tokens_details.and_then(|d| d.cached_tokens);
            self.cached_tokens = details.or(self.cached_tokens);
        }
        let Some(choice) = event.choices.and_then(|c| c.into_iter().next()) else { return Ok(false) };
        // Servers that do not stream answer with the whole message.
        let thinks = choice.delta.as_ref().is_some_and(Said::thinks);
        let piece = choice.delta.and_then(|d| d.content).or(choice.message.and_then(|m| m.content));
        let tokens = choice.logprobs.and_then(|l| l.content).unwrap_or_default();
        self.take_tokens(&tokens, piece.as_deref().unwrap_or_default());
        // Thoughts come under names of their own and are none of the answer.
        if thinks || piece.as_deref().is_some_and(|p| !p.is_empty()) || choice.finish_reason.is_some() {
            self.steps += 1;
        }
        if let Some(piece) = piece.filter(|p| !p.is_empty()) {
            self.text.push_str(&piece);
            if self.text.len() > ANSWER_MAX {
                return Err(Fault::Invalid(format!("the answer is longer than {ANSWER_MAX} bytes")));
            }
            progress(piece.into());
        }
        self.finish = choice.finish_reason.or(self.finish.take());
        Ok(false)
    }
}

/// Reads an answer to its end. What goes wrong before any of it was shown may be tried again, later nothing is.
pub(super) async fn read(
    response: reqwest::Response,
    limits: Limits,
    begun: Instant,
    progress: &(dyn Fn(Untrusted) + Send + Sync),
) -> Result<Reply, Fault> {
    let mut reply = Reply::default();
    match read_into(&mut reply, response, limits, begun, progress).await {
        Ok(()) if reply.finish.is_none() => Err(Fault::Retry("the stream ended before the answer did".into())),
        Ok(()) => return Ok(reply),
        Err(fault) => Err(fault),
    }
    .map_err(|fault: Fault| if reply.text.is_empty() { fault } else { fault.begun() })
}

async fn read_into(
    reply: &mut Reply,
    mut response: reqwest::Response,
    limits: Limits,
    begun: Instant,
    progress: &(dyn Fn(Untrusted) + Send + Sync),
) -> Result<(), Fault> {
    let kind =
        response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    if kind.starts_with("application/json") {
        let text = tokio::time::timeout(limits.first, fault::body(response, STREAM_MAX)).await;
        let text = text.map_err(|_| Fault::Silent("no answer", limits.first))?.map_err(Fault::of_send)?;
        reply.take(&text, progress)?;
        return Ok(());
    }
    if !kind.starts_with("text/event-stream") {
        return Err(Fault::Invalid(format!("the server answered {} instead of an event stream", fault::say(&kind))));
    }
    let (mut parser, mut events, mut total) = (sse::Parser::default(), Vec::new(), 0);
    let mut moved = begun;
    loop {
        let (limit, what) = match reply.first_ms {
            None => (limits.first, "no first token"),
            Some(_) => (limits.idle, "no further token"),
        };
        let left = limit.saturating_sub(moved.elapsed()).max(Duration::from_millis(1));
        let piece = tokio::time::timeout(left, response.chunk()).await.map_err(|_| Fault::Silent(what, limit))?;
        let Some(piece) = piece.map_err(|e| Fault::Retry(format!("the stream broke off: {}", fault::chain(&e))))?
        else {
            return Ok(());
        };
        total += piece.len();
        if total > STREAM_MAX {
            return Err(Fault::Invalid(format!("the stream is longer than {STREAM_MAX} bytes")));
        }
        parser.push(&piece, &mut events).map_err(|e| Fault::Invalid(e.to_string()))?;
        let steps = (reply.first_ms.is_some(), reply.steps);
        for data in events.drain(..) {
            reply.first_ms.get_or_insert_with(|| begun.elapsed().as_millis() as u64);
            if reply.take(&data, progress)? {
                return Ok(());
            }
        }
        if steps != (reply.first_ms.is_some(), reply.steps) {
            moved = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> impl Fn(Untrusted) + Send + Sync {
        |_| {}
    }

    #[test]
    fn chunks_of_vllm_make_a_reply() {
        let mut r = Reply::default();
        for data in [
            r#"{"model":"m","choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{"content":"{\"a\":"},"logprobs":{"content":[{"token":"{\"a","logprob":-0.1},{"token":"\":","logprob":0}]}}]}"#,
            r#"{"choices":[{"delta":{"content":"12}"},"logprobs":{"content":[{"token":"12","logprob":-0.6931471805599453},{"token":"}","logprob":0}]},"finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":700,"completion_tokens":4,"total_tokens":704}}"#,
        ] {
            assert!(!r.take(data, &quiet()).unwrap());
        }
        assert!(r.take("[DONE]", &quiet()).unwrap());
        assert_eq!((r.text.as_str(), r.finish.as_deref(), r.prompt_tokens), ("{\"a\":12}", Some("stop"), Some(700)));
        assert_eq!(r.tokens.iter().map(|t| t.0.as_str()).collect::<String>(), r.text);
    }

    #[test]
    fn tokens_spell_the_text_whatever_the_server_holds_back() {
        let mut r = Reply::default();
        let chunk = |content: &str, tokens: &[(&str, f64)]| {
            let tokens: Vec<Value> =
                tokens.iter().map(|(t, p)| serde_json::json!({"token": t, "logprob": p})).collect();
            serde_json::json!({"choices": [{"delta": {"content": content}, "logprobs": {"content": tokens}}]})
                .to_string()
        };
        for data in [
            chunk("a", &[("a", -1.0)]),
            // An emoji of three tokens: text comes with the last.
            chunk("", &[("\u{fffd}", -0.5)]),
            chunk("", &[("\u{fffd}", -0.25)]),
            chunk("\u{1f980}b", &[("\u{fffd}", -0.25), ("b", -1.0)]),
            chunk("cd", &[("c", -0.1), ("d", -0.2)]),
            chunk("", &[("<|im_end|>", -9.0)]),
        ] {
            r.take(&data, &quiet()).unwrap();
        }
        assert_eq!(r.tokens.iter().map(|t| t.0.as_str()).collect::<String>(), r.text);
        let p: Vec<f64> = r.tokens.iter().map(|t| t.1).collect();
        assert_eq!(p, [-1.0, -2.0, -0.1, -0.2]);
    }

    #[test]
    fn faults_inside_a_stream() {
        let mut r = Reply::default();
        let e = r.take(r#"{"error":{"message":"engine \u001b[2J dead","code":503}}"#, &quiet()).unwrap_err();
        assert_eq!(e, Fault::Retry("503, engine ^[[2J dead".into()));
        assert!(matches!(r.take("<html>", &quiet()), Err(Fault::Invalid(_))));
        let big = serde_json::json!({"choices":[{"delta":{"content":"x".repeat(ANSWER_MAX)}}]}).to_string();
        assert!(r.take(&big, &quiet()).is_ok());
        assert!(matches!(r.take(&big, &quiet()), Err(Fault::Invalid(_))));
    }
}
