//! One answer while it is being made.

use std::time::Instant;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use tokio::sync::mpsc;

use crate::model::verdict::Usage;
use crate::triage::{Cancel, Finish, Generated, Generation, TriageError};

/// To the one who asked.
pub enum Event {
    Piece(String),
    Done(Box<Result<Generated, TriageError>>),
}

/// A request on its way to the model's thread.
pub struct Ask {
    pub request: Generation,
    pub cancel: Cancel,
    pub events: mpsc::Sender<Event>,
    pub asked: Instant,
}

impl Ask {
    /// Nobody wants the answer any more.
    pub fn is_over(&self) -> bool {
        self.cancel.is_cancelled() || self.events.is_closed()
    }

    /// The channel holds as many events as an answer can have; when it does not take one, nobody listens.
    pub fn tell(&self, event: Event) {
        let _ = self.events.try_send(event);
    }

    pub fn done(&self, result: Result<Generated, TriageError>) {
        self.tell(Event::Done(Box::new(result)));
    }
}

/// What was written so far. Characters that several tokens make are held back until they are whole.
#[derive(Default)]
pub struct Written {
    pub text: String,
    pub tokens: Vec<(String, f64)>,
    /// Of tokens, those of characters not yet whole included.
    pub count: u32,
    held: Vec<u8>,
    held_log: f64,
}

impl Written {
    /// Takes a token's bytes and gives what is whole now.
    pub fn push(&mut self, bytes: &[u8], logprob: f64) -> Option<String> {
        self.count += 1;
        self.held.extend_from_slice(bytes);
        self.held_log += logprob;
        let piece = self.whole();
        if piece.is_empty() {
            return None;
        }
        self.text.push_str(&piece);
        self.tokens.push((piece.clone(), self.held_log));
        self.held_log = 0.0;
        Some(piece)
    }

    fn whole(&mut self) -> String {
        let mut piece = String::new();
        loop {
            match std::str::from_utf8(&self.held) {
                Ok(text) => {
                    piece.push_str(text);
                    self.held.clear();
                    return piece;
                }
                Err(e) => {
                    let rest = self.held.split_off(e.valid_up_to());
                    piece.push_str(&String::from_utf8_lossy(&self.held));
                    self.held = rest;
                    // Bytes that can never become a character are shown as such; a beginning of one waits.
                    let Some(bad) = e.error_len() else { return piece };
                    piece.push('\u{fffd}');
                    self.held.drain(..bad);
                }
            }
        }
    }
}

/// Times of a request that a slot was given to.
pub struct Clock {
    asked: Instant,
    began: Instant,
    first: Option<Instant>,
}

impl Clock {
    pub fn start(asked: Instant) -> Self {
        Self { asked, began: Instant::now(), first: None }
    }

    pub fn piece(&mut self) {
        self.first.get_or_insert_with(Instant::now);
    }

    pub fn first_token_ms(&self) -> Option<u64> {
        self.first.map(|f| f.duration_since(self.began).as_millis() as u64)
    }

    pub fn usage(&self, prompt: usize, cached: usize, written: u32) -> Usage {
        Usage {
            prompt_tokens: Some(prompt as u64),
            cached_tokens: Some(cached as u64),
            completion_tokens: Some(u64::from(written)),
            first_token_ms: self.first_token_ms(),
            queued_ms: Some(self.began.duration_since(self.asked).as_millis() as u64),
            served_ms: Some(self.began.elapsed().as_millis() as u64),
        }
    }
}

pub fn bytes_of(model: &LlamaModel, token: LlamaToken) -> Vec<u8> {
    model.vocab().token_to_piece(token, false, None)
}

pub fn generated(written: Written, finish: Finish, model: &str, digest: Option<String>, usage: Usage) -> Generated {
    Generated {
        text: written.text,
        finish,
        model: model.into(),
        model_digest: digest,
        server: None,
        usage,
        tokens: written.tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_come_whole() {
        let mut written = Written::default();
        let euro = "€".as_bytes();
        assert_eq!(written.push(b"a", -1.0).as_deref(), Some("a"));
        assert_eq!(written.push(&euro[..1], -0.5), None);
        assert_eq!(written.push(&euro[1..2], -0.25), None);
        assert_eq!(written.push(&[euro[2], b'!'], -0.25).as_deref(), Some("€!"));
        assert_eq!(written.push(&[0xff, b'b', euro[0]], 0.0).as_deref(), Some("\u{fffd}b"));
        assert_eq!(written.text, "a€!\u{fffd}b", "half a character at the end is no text");
        assert_eq!(written.count, 5);
        assert_eq!(written.tokens[1], ("€!".to_owned(), -1.0));
        let spelled: String = written.tokens.iter().map(|t| t.0.as_str()).collect();
        assert_eq!(spelled, written.text);
    }
}
