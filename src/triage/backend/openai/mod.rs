//! A model behind servers that speak OpenAI's chat completions: vLLM, llama.cpp, and those that imitate them.
//!
//! Only the plain subset is used: streaming, `stream_options.include_usage`, `response_format: json_schema`, `logprobs`
//! where the server takes them; and of vLLM, where it is one, `priority`, `cache_salt` and `/tokenize`. Everything a
//! server says, its errors included, is untrusted text.
//!
//! ```text
//! generate -> budget: room for it? -> gate: a slot of the least busy server -> server: one request -> stream
//!                                       ^ pool: who may send where              | fault
//!                                       +------- pause, another server ---------+
//! ```
//!
//! | the server | becomes |
//! |---|---|
//! | does not connect, sends nothing in time, 502, 503, 504 | tried again twice, elsewhere if there is another, with growing, jittered pauses, then `Unavailable` |
//! | 429, 500, a stream that breaks off or stops | `Unavailable` |
//! | 401, 403, 404, 3xx, other 4xx | another server, else `Configuration` |
//! | 400 for a prompt too long, or a count of its tokens that says so | `TooLong` |
//! | no event stream, no JSON | `Invalid` |
//!
//! Three failures in a row and a server is out for 30 s; see [`pool`].

mod budget;
mod fault;
mod gate;
mod metrics;
mod pool;
mod probe;
mod server;
mod sse;
mod stream;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::Rng as _;

pub use self::budget::Quota;

use self::budget::{Budget, Held};
use self::fault::Fault;
use self::gate::{Closed, Gate};
use self::pool::{Outage, Outcome, Pool};
use self::server::Server;
use self::stream::Reply;
use crate::config::settings::OpenaiSettings;
use crate::model::verdict::Usage;
use crate::text::Untrusted;
use crate::triage::{Answering, Cancel, Engine, Finish, Generated, Generation, Health, SecretOf, Telling, TriageError};

/// Tries of one request in all.
const TRIES: usize = 3;

/// A connection that closes so soon after it is used was closed before.
const STALE: Duration = Duration::from_secs(1);

/// Client of a pool of servers.
#[derive(Debug)]
pub struct Openai {
    servers: Vec<Server>,
    gate: Arc<Gate>,
    budget: Mutex<Budget>,
    max_tokens: u32,
}

/// An answer and what it took to get it.
struct Got {
    reply: Reply,
    server: usize,
    queued: Duration,
    served: Duration,
}

/// What a request costs of the budget; settled when dropped, however it ends.
struct Cost<'a> {
    of: &'a Openai,
    held: Option<Held>,
    /// About how many tokens the prompt has.
    prompt: u64,
    pieces: AtomicU64,
    /// It was sent and no answer or fault has come back.
    under_way: bool,
    /// As the server says.
    used: Option<u64>,
}

impl Drop for Cost<'_> {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let pieces = *self.pieces.get_mut();
        let begun = self.under_way || pieces > 0;
        let used = self.used.unwrap_or(if begun { self.prompt + pieces } else { 0 });
        self.of.budget().settle(held, used, Instant::now());
    }
}

impl Openai {
    /// Without limits per person and without budgets.
    ///
    /// # Errors
    /// [`TriageError::Configuration`] names the setting that is wrong.
    pub fn new(s: &OpenaiSettings, secrets: &SecretOf) -> Result<Self, TriageError> {
        Self::with_quota(s, Quota::default(), secrets)
    }

    /// # Errors
    /// [`TriageError::Configuration`] names the setting that is wrong.
    pub fn with_quota(s: &OpenaiSettings, quota: Quota, secrets: &SecretOf) -> Result<Self, TriageError> {
        let servers = server::all(s, secrets)?;
        let pool = Pool::new(servers.iter().map(|s| (s.slots, s.backup)), quota.requests_per_person);
        Ok(Self {
            gate: Gate::new(pool),
            servers,
            budget: Mutex::new(Budget::new(quota, Instant::now())),
            max_tokens: s.max_tokens.max(64),
        })
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks until there is an answer, a fault that another try cannot mend, or no try left.
    async fn ask(
        &self,
        request: &Generation,
        progress: &(dyn Fn(Untrusted) + Send + Sync),
    ) -> Result<Got, TriageError> {
        let over = |e: budget::Over| TriageError::OverBudget(e.to_string());
        let prompt = probe::about(request) as u64;
        let need = prompt.saturating_add(request.max_tokens.into());
        let by = request.by.as_ref();
        // Told before it waits, held when it is sent.
        self.budget().room(by, need, Instant::now()).map_err(over)?;
        let mut cost = Cost { of: self, held: None, prompt, pieces: AtomicU64::new(0), under_way: false, used: None };
        let place = self.gate.place(request.priority);
        let (mut tried, mut queued, mut last) = (Vec::new(), Duration::ZERO, None);
        let mut stale = false;
        loop {
            let since = Instant::now();
            let pass = match self.gate.enter(place, by.cloned(), tried.clone()).await {
                Ok(pass) => pass,
                // What went wrong with it says more than that nobody is left.
                Err(closed) => return Err(last.unwrap_or_else(|| self.closed(&closed))),
            };
            queued += since.elapsed();
            if cost.held.is_none() {
                cost.held = Some(self.budget().hold(by, need, Instant::now()).map_err(over)?);
            }
            let (at, server) = (pass.server, &self.servers[pass.server]);
            cost.under_way = true;
            let sent = Instant::now();
            let tell = |piece: Untrusted| {
                cost.pieces.fetch_add(1, Ordering::Relaxed);
                progress(piece);
            };
            let answer = server.once(request, &tell).await;
            cost.under_way = false;
            let fault = match answer {
                Ok(reply) => {
                    pass.end(Outcome::Good);
                    cost.used = reply.tokens_used();
                    return Ok(Got { reply, server: at, queued, served: sent.elapsed() });
                }
                Err(fault) => fault,
            };
            // Once: a kept connection that the server had closed says nothing about the server.
            if matches!(fault, Fault::Stale(_)) && sent.elapsed() < STALE && !std::mem::replace(&mut stale, true) {
                continue;
            }
            pass.end(fault.outcome());
            if self.gate.see(|p| p.outage(at, Instant::now())).is_some() {
                server.forget();
            }
            if fault == Fault::NoLogprobs && server.without_logprobs() {
                tracing::info!(request_id = %request.request_id, server = %server.name, "it takes no logprobs: no confidence");
                continue;
            }
            tried.push(at);
            let other = fault.elsewhere() && self.gate.see(|p| p.has_other(&tried, Instant::now()));
            let again = tried.len() < TRIES && (fault.may_retry() || other);
            let error = fault.into_error(&server.name);
            if !again {
                return Err(error);
            }
            let pause = if other { 0 } else { 250 * (1 << (tried.len() - 1)) + rand::rng().random_range(0..250) };
            tracing::info!(request_id = %request.request_id, tries = tried.len(), pause, %error, "asking again");
            last = Some(error);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    fn closed(&self, closed: &Closed) -> TriageError {
        TriageError::Unavailable(match closed {
            Closed::LineFull => "too many requests are waiting for the model".into(),
            Closed::Out(outages) => match outages.iter().map(|o| self.out(o)).collect::<Vec<_>>().join("; ") {
                none if none.is_empty() => "every model server is out".into(),
                all => all,
            },
        })
    }

    fn out(&self, o: &Outage) -> String {
        let name = self.servers.get(o.server).map_or("", |s| s.name.as_str());
        let when = match o.left.as_secs() {
            0 => "is being tried again".to_owned(),
            s => format!("is left alone for {s} s more"),
        };
        format!("{name} {when}: {}", o.why)
    }

    fn generated(&self, got: Got) -> Generated {
        let server = &self.servers[got.server];
        let finish = match got.reply.finish.as_deref() {
            Some("stop") => Finish::Stop,
            Some("length") => Finish::Length,
            other => Finish::Other(fault::say(other.unwrap_or_default())),
        };
        let reply = got.reply;
        Generated {
            usage: Usage {
                prompt_tokens: reply.prompt_tokens,
                cached_tokens: reply.cached_tokens,
                completion_tokens: reply.completion_tokens,
                first_token_ms: reply.first_ms,
                queued_ms: Some(got.queued.as_millis() as u64),
                served_ms: Some(got.served.as_millis() as u64),
            },
            model: reply.model.unwrap_or_else(|| server.model.as_str().into()),
            text: reply.text,
            finish,
            model_digest: None,
            server: Some(server.name.clone()),
            tokens: reply.tokens,
        }
    }

    /// How one server is, and whether we ask it.
    async fn health_of(&self, at: usize) -> Health {
        let mut health = self.servers[at].health().await;
        if let Some(outage) = self.gate.see(|p| p.outage(at, Instant::now())).filter(|o| !o.left.is_zero()) {
            health.up = false;
            health.detail = format!("left alone for {} s more: {}", outage.left.as_secs().max(1), outage.why);
        }
        health
    }

    /// The pool as one: sums of what is running and waiting, the fullest cache, the slowest first token.
    fn head(&self, servers: Vec<Health>) -> Health {
        let line = u32::try_from(self.gate.see(Pool::waiting)).unwrap_or(u32::MAX);
        let model = &self.servers[0].model;
        if let [one] = servers.as_slice() {
            let waiting = one.waiting.map(|n| n.saturating_add(line)).or((line > 0).then_some(line));
            return Health { name: format!("{model} at {}", one.name), waiting, ..one.clone() };
        }
        let up: Vec<&Health> = servers.iter().filter(|s| s.up).collect();
        let sum = |of: fn(&Health) -> Option<u32>| up.iter().filter_map(|s| of(s)).reduce(u32::saturating_add);
        let most = |of: fn(&Health) -> Option<f32>| up.iter().filter_map(|s| of(s)).reduce(f32::max);
        let hits: Vec<f32> = up.iter().filter_map(|s| s.prefix_hits).collect();
        let waiting = sum(|s| s.waiting).map(|n| n.saturating_add(line)).or((line > 0).then_some(line));
        let away: Vec<&str> = servers.iter().filter(|s| !s.up).map(|s| s.name.as_str()).collect();
        let mut detail = format!("{} of {} servers up", up.len(), servers.len());
        if !away.is_empty() {
            detail = format!("{detail}; away: {}", away.join(", "));
        }
        Health {
            up: !up.is_empty(),
            name: match up.as_slice() {
                [one] => format!("{model} at {}", one.name),
                _ => format!("{model} at {} servers", up.len()),
            },
            running: sum(|s| s.running),
            waiting,
            kv_cache: most(|s| s.kv_cache),
            prefix_hits: (!hits.is_empty()).then(|| hits.iter().sum::<f32>() / hits.len() as f32),
            ttft_p95_ms: up.iter().filter_map(|s| s.ttft_p95_ms).max(),
            detail,
            // Only the backups are left.
            backup: !up.is_empty() && up.iter().all(|s| s.backup),
            servers,
        }
    }
}

impl Engine for Openai {
    fn id(&self) -> &'static str {
        "openai"
    }

    fn generate<'a>(
        &'a self,
        request: &'a Generation,
        progress: &'a (dyn Fn(Untrusted) + Send + Sync),
        cancel: &'a Cancel,
    ) -> Answering<'a, Generated> {
        Box::pin(async move {
            // Dropping the request drops the connection, and the server stops generating.
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(TriageError::Cancelled),
                got = self.ask(request, progress) => Ok(self.generated(got?)),
            }
        })
    }

    /// Asks every server what it is. One that answers is enough.
    fn load<'a>(&'a self) -> Answering<'a, ()> {
        Box::pin(async move {
            join_all(self.servers.iter().map(Server::probe)).await;
            let health = self.health().await;
            if health.up { Ok(()) } else { Err(TriageError::Unavailable(health.detail)) }
        })
    }

    /// Of all servers but backups.
    fn slots(&self) -> usize {
        self.servers.iter().filter(|s| !s.backup).map(|s| s.slots as usize).sum::<usize>().max(1)
    }

    /// Of the smallest server that is no backup.
    fn prompt_limit(&self) -> Option<usize> {
        self.servers.iter().filter(|s| !s.backup).filter_map(|s| s.room(self.max_tokens)).min()
    }

    fn max_tokens(&self) -> u32 {
        self.max_tokens
    }

    fn health<'a>(&'a self) -> Telling<'a, Health> {
        Box::pin(async move { self.head(join_all((0..self.servers.len()).map(|i| self.health_of(i))).await) })
    }
}

#[cfg(test)]
#[path = "openai_tests.rs"]
mod tests;
