//! Answers being made together: each step writes the next token of every answer and reads one more piece of one prompt.
//!
//! The fixed part of a prompt is read into a sequence of its own and shared with every request that begins with it;
//! sharing costs neither time nor memory, since cells of the cache can belong to several sequences. Prompts are read in
//! pieces of one size, never together with anything else, so that the same prompt gives the same numbers on every run.

use std::cmp::Reverse;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;

use super::answer::{self, Ask, Clock, Event, Written};
use super::constrain::{self, Constraint};
use super::loaded::{BATCH, Loaded, PREFIXES};
use super::shared::Shared;
use super::template::Tokens;
use crate::triage::{Finish, TriageError};

/// Bytes of prompt for each token of context beyond which nobody needs to count tokens.
const BYTES_PER_TOKEN: usize = 64;

/// A request that waits for a slot.
struct Waiting {
    ask: Ask,
    tokens: Tokens,
    order: u64,
}

/// The fixed part of prompts, in a sequence of its own.
struct Prefix {
    seq: i32,
    tokens: Vec<LlamaToken>,
    read: usize,
    used: u64,
}

/// A request that is being answered.
struct Slot {
    ask: Ask,
    seq: i32,
    order: u64,
    prefix: i32,
    clock: Clock,
    fixed: usize,
    /// Of the fixed part, tokens that were read for this request.
    drove: usize,
    rest: Vec<LlamaToken>,
    /// Of the rest, tokens already read; meaningless before `forked`.
    read: usize,
    forked: bool,
    /// Where the next token stands.
    pos: usize,
    /// What the schema says the answer begins with: read together with the prompt.
    lead: Vec<LlamaToken>,
    /// Chosen and not yet given to the model.
    next: Vec<LlamaToken>,
    constraint: Option<Constraint>,
    written: Written,
    /// Room it was given: tokens of its own at most.
    room: usize,
}

impl Slot {
    fn is_reading(&self) -> bool {
        self.next.is_empty()
    }
}

pub struct Run<'m> {
    loaded: &'m Loaded,
    context: LlamaContext<'m>,
    batch: LlamaBatch<'static>,
    shared: &'m Shared,
    slots: Vec<Slot>,
    prefixes: Vec<Prefix>,
    waiting: Vec<Waiting>,
    count: u64,
}

impl<'m> Run<'m> {
    pub fn new(loaded: &'m Loaded, context: LlamaContext<'m>, shared: &'m Shared) -> Self {
        Self {
            loaded,
            context,
            batch: LlamaBatch::new(BATCH, 1),
            shared,
            slots: Vec::new(),
            prefixes: Vec::new(),
            waiting: Vec::new(),
            count: 0,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.slots.is_empty() && self.waiting.is_empty()
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes a request, or refuses it at once.
    pub fn take(&mut self, ask: Ask) {
        let context = self.loaded.context as usize;
        let bytes = ask.request.system.len() + ask.request.user.len();
        if bytes > context * BYTES_PER_TOKEN {
            ask.done(Err(TriageError::TooLong(format!("{bytes} bytes, where {context} tokens fit"))));
            return;
        }
        let tokens = self.loaded.template.tokens(&self.loaded.model, &ask.request.system, &ask.request.user);
        let (prompt, answer) = (tokens.len(), ask.request.max_tokens as usize);
        if prompt + answer > context {
            ask.done(Err(TriageError::TooLong(format!(
                "{prompt} tokens and up to {answer} of answer, where {context} fit in all"
            ))));
            return;
        }
        self.count += 1;
        self.waiting.push(Waiting { ask, tokens, order: self.count });
        self.tell();
    }

    /// One step of everything that is under way.
    ///
    /// # Errors
    /// The model cannot go on. All requests were told.
    pub fn step(&mut self) -> Result<(), TriageError> {
        self.drop_cancelled();
        self.admit();
        self.tell();
        let done = self.write().and_then(|()| self.read());
        if let Err(e) = &done {
            self.fail(e);
        }
        self.tell();
        done
    }

    /// Tells every request that it gets no answer.
    pub fn fail(&mut self, error: &TriageError) {
        for slot in self.slots.drain(..) {
            slot.ask.done(Err(error.clone()));
        }
        for waiting in self.waiting.drain(..) {
            waiting.ask.done(Err(error.clone()));
        }
        self.tell();
    }

    fn tell(&self) {
        let own: usize = self.slots.iter().map(|s| s.pos.saturating_sub(if s.forked { s.fixed } else { 0 })).sum();
        let kept: usize = self.prefixes.iter().map(|p| p.read).sum();
        let share = (own + kept) as f32 / self.loaded.context as f32;
        self.shared.busy(self.slots.len(), self.waiting.len(), share.min(1.0));
    }

    fn drop_cancelled(&mut self) {
        self.waiting.retain(|w| {
            let over = w.ask.is_over();
            if over {
                w.ask.done(Err(TriageError::Cancelled));
            }
            !over
        });
        let over: Vec<i32> = self.slots.iter().filter(|s| s.ask.is_over()).map(|s| s.seq).collect();
        for seq in over {
            self.end(seq, Err(TriageError::Cancelled));
        }
    }

    /// Gives free slots to those who wait, the most urgent first. Who does not fit yet is not overtaken.
    fn admit(&mut self) {
        while self.slots.len() < self.loaded.slots && !self.waiting.is_empty() {
            self.waiting.sort_by_key(|w| Reverse((w.ask.request.priority, w.order)));
            let Some(first) = self.waiting.last() else { return };
            let (prefix, answer) = (first.tokens.fixed.clone(), first.ask.request.max_tokens as usize);
            let room = first.tokens.rest.len() + answer;
            let Some(prefix) = self.prefix(prefix, room) else { return };
            let Some(waiting) = self.waiting.pop() else { return };
            self.begin(waiting, prefix, room);
        }
    }

    /// The sequence of this fixed part, made if it is new and there is room for it and for `room` tokens more.
    fn prefix(&mut self, tokens: Vec<LlamaToken>, room: usize) -> Option<i32> {
        self.count += 1;
        let known = self.prefixes.iter().position(|p| p.tokens == tokens);
        let need = room + if known.is_some() { 0 } else { tokens.len() };
        let keep = known.and_then(|i| self.prefixes.get(i)).map(|p| p.seq);
        // Room is made by forgetting the fixed part that was not used for longest, as long as nobody stands on it.
        while self.used() + need > self.loaded.context as usize || (keep.is_none() && self.prefixes.len() >= PREFIXES) {
            let free = |p: &&Prefix| Some(p.seq) != keep && !self.slots.iter().any(|s| s.prefix == p.seq);
            let oldest = self.prefixes.iter().filter(free).min_by_key(|p| p.used)?.seq;
            self.clear(oldest);
            self.prefixes.retain(|p| p.seq != oldest);
        }
        let used = self.count;
        if let Some(known) = self.prefixes.iter_mut().find(|p| Some(p.seq) == keep) {
            known.used = used;
            return keep;
        }
        let first = self.loaded.slots as i32;
        let seq = (first..first + PREFIXES as i32).find(|s| self.prefixes.iter().all(|p| p.seq != *s))?;
        self.clear(seq);
        self.prefixes.push(Prefix { seq, tokens, read: 0, used });
        Some(seq)
    }

    /// Tokens of context that are promised to somebody.
    fn used(&self) -> usize {
        self.prefixes.iter().map(|p| p.tokens.len()).sum::<usize>() + self.slots.iter().map(|s| s.room).sum::<usize>()
    }

    fn begin(&mut self, waiting: Waiting, prefix: i32, room: usize) {
        let Waiting { ask, tokens, order } = waiting;
        let constraint = ask.request.schema.as_ref().map(|s| self.loaded.constrainer.constraint(s)).transpose();
        let mut constraint = match constraint {
            Ok(constraint) => constraint,
            Err(e) => {
                ask.done(Err(TriageError::Configuration(format!("the schema of the answer: {e}"))));
                return;
            }
        };
        let lead = constraint.as_mut().map(Constraint::forced).unwrap_or_default();
        let Some(seq) = (0..self.loaded.slots as i32).find(|s| self.slots.iter().all(|o| o.seq != *s)) else { return };
        self.clear(seq);
        let mut rest = tokens.rest;
        rest.extend_from_slice(&lead);
        self.slots.push(Slot {
            clock: Clock::start(ask.asked),
            ask,
            seq,
            order,
            prefix,
            fixed: tokens.fixed.len(),
            drove: 0,
            rest,
            read: 0,
            forked: false,
            pos: 0,
            lead,
            next: Vec::new(),
            constraint,
            written: Written::default(),
            room,
        });
    }

    /// Frees what a sequence holds.
    fn clear(&mut self, seq: i32) {
        if let Err(e) = self.context.clear_kv_cache_seq(u32::try_from(seq).ok(), None, None) {
            tracing::warn!(seq, error = %e, "a sequence cannot be cleared");
        }
    }

    fn end(&mut self, seq: i32, result: Result<Finish, TriageError>) {
        let Some(at) = self.slots.iter().position(|s| s.seq == seq) else { return };
        let slot = self.slots.swap_remove(at);
        self.clear(seq);
        // Who is told that it is over may ask again at once, and is to find it free.
        self.tell();
        let result = result.map(|finish| {
            let prompt = slot.fixed + slot.rest.len() - slot.lead.len();
            let usage = slot.clock.usage(prompt, slot.fixed - slot.drove.min(slot.fixed), slot.written.count);
            self.shared.answered(&usage);
            answer::generated(slot.written, finish, &self.loaded.name, self.shared.digest(), usage)
        });
        slot.ask.done(result);
    }

    /// The next token of every answer that has begun.
    fn write(&mut self) -> Result<(), TriageError> {
        self.batch.clear();
        let mut last = Vec::new();
        for slot in self.slots.iter_mut().filter(|s| !s.is_reading()) {
            if self.batch.n_tokens() as usize + slot.next.len() > BATCH {
                break;
            }
            let n = slot.next.len();
            for (i, token) in slot.next.drain(..).enumerate() {
                add(&mut self.batch, token, slot.pos, slot.seq, i + 1 == n)?;
                slot.pos += 1;
            }
            last.push((slot.seq, self.batch.n_tokens() - 1));
        }
        if last.is_empty() {
            return Ok(());
        }
        self.decode()?;
        for (seq, index) in last {
            self.choose(seq, index);
        }
        Ok(())
    }

    /// One more piece of the most urgent prompt.
    fn read(&mut self) -> Result<(), TriageError> {
        let reading = self.slots.iter_mut().filter(|s| s.is_reading());
        let Some(slot) = reading.min_by_key(|s| (s.ask.request.priority, s.order)) else { return Ok(()) };
        let Some(prefix) = self.prefixes.iter_mut().find(|p| p.seq == slot.prefix) else { return Ok(()) };
        let chunk = self.loaded.chunk as usize;
        self.batch.clear();
        if prefix.read < prefix.tokens.len() {
            let piece: Vec<_> = prefix.tokens.iter().skip(prefix.read).take(chunk).copied().collect();
            for (i, token) in piece.iter().enumerate() {
                add(&mut self.batch, *token, prefix.read + i, prefix.seq, false)?;
            }
            prefix.read += piece.len();
            slot.drove += piece.len();
            return self.decode();
        }
        if !slot.forked {
            let copied = self.context.copy_kv_cache_seq(prefix.seq, slot.seq, None, None);
            copied.map_err(|e| TriageError::Unavailable(format!("the local model: {e}")))?;
            (slot.forked, slot.pos) = (true, prefix.tokens.len());
        }
        let piece: Vec<_> = slot.rest.iter().skip(slot.read).take(chunk).copied().collect();
        for token in &piece {
            slot.read += 1;
            add(&mut self.batch, *token, slot.pos, slot.seq, slot.read == slot.rest.len())?;
            slot.pos += 1;
        }
        let (seq, whole) = (slot.seq, slot.read == slot.rest.len());
        self.decode()?;
        if whole {
            self.lead(seq);
            self.choose(seq, piece.len() as i32 - 1);
        }
        Ok(())
    }

    fn decode(&mut self) -> Result<(), TriageError> {
        self.context.decode(&mut self.batch).map_err(|e| TriageError::Unavailable(format!("the local model: {e}")))
    }

    /// Writes down what the schema begins the answer with.
    fn lead(&mut self, seq: i32) {
        let Some(slot) = self.slots.iter_mut().find(|s| s.seq == seq) else { return };
        let most = slot.ask.request.max_tokens as usize;
        for token in slot.lead.iter().take(most) {
            slot.clock.piece();
            if let Some(piece) = slot.written.push(&answer::bytes_of(&self.loaded.model, *token), 0.0) {
                slot.ask.tell(Event::Piece(piece));
            }
        }
    }

    /// Chooses a token from what the model said at this place of the batch, and those that must follow it.
    fn choose(&mut self, seq: i32, index: i32) {
        let Some(slot) = self.slots.iter_mut().find(|s| s.seq == seq) else { return };
        match choose(slot, self.context.get_logits_ith(index), self.loaded) {
            Ok(None) => {}
            Ok(Some(finish)) => self.end(seq, Ok(finish)),
            Err(e) => self.end(seq, Err(TriageError::Invalid(e))),
        }
    }
}

/// `Some` when the answer ends here.
fn choose(slot: &mut Slot, logits: &[f32], loaded: &Loaded) -> Result<Option<Finish>, String> {
    let most = slot.ask.request.max_tokens;
    if slot.written.count >= most {
        return Ok(Some(Finish::Length));
    }
    let allowed = slot.constraint.as_mut().map(Constraint::allowed).transpose()?;
    let (token, logprob) =
        constrain::likeliest(logits, allowed.as_ref()).ok_or("the model's numbers allow no next token")?;
    let forced = match &mut slot.constraint {
        Some(constraint) => constraint.take(token)?,
        None => Vec::new(),
    };
    if loaded.model.vocab().is_eog(token) {
        return Ok(Some(Finish::Stop));
    }
    let mut write = |token: LlamaToken, logprob: f64| {
        slot.clock.piece();
        if let Some(piece) = slot.written.push(&answer::bytes_of(&loaded.model, token), logprob) {
            slot.ask.tell(Event::Piece(piece));
        }
        slot.next.push(token);
        slot.written.count >= most
    };
    let mut full = write(token, logprob);
    let mut left = forced.into_iter().filter(|t| !loaded.model.vocab().is_eog(*t));
    while !full {
        // What must follow was not the model's choice: given the rest, it is certain.
        let Some(token) = left.next() else { break };
        full = write(token, 0.0);
    }
    if let Some(constraint) = &slot.constraint {
        if let Some(e) = constraint.error() {
            return Err(e);
        }
        if constraint.is_complete() && left.next().is_none() {
            return Ok(Some(Finish::Stop));
        }
    }
    Ok(full.then_some(Finish::Length))
}

fn add(batch: &mut LlamaBatch<'_>, token: LlamaToken, pos: usize, seq: i32, logits: bool) -> Result<(), TriageError> {
    let pos = i32::try_from(pos).unwrap_or(i32::MAX);
    batch.add(token, pos, &[seq], logits).map_err(|e| TriageError::Unavailable(format!("the local model: {e}")))
}
