//! A model in this process: a file in GGUF, run by llama.cpp on a thread of its own.
//!
//! ```text
//! generate -> jobs (bounded) -> the model's thread: wait by priority -> read the prompt -> write, all answers together
//!          <- pieces, then the answer <-
//! ```
//!
//! Nothing is loaded before it is needed, and what was not needed for a while leaves memory. The thread yields to
//! everything else on the machine and leaves a core to the screen. Answers are greedy and held to their schema token by
//! token.

mod answer;
mod constrain;
mod file;
mod loaded;
mod quiet;
mod run;
mod shared;
mod template;
mod worker;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use self::answer::{Ask, Event};
use self::shared::Shared;
use self::worker::{Job, WAITING_MAX, Worker};
use crate::config::settings::LocalSettings;
use crate::text::Untrusted;
use crate::triage::{Answering, Cancel, Engine, Generated, Generation, Health, Telling, TriageError};

/// How long a cancelled request waits for the model's thread to let go of it.
const LET_GO: Duration = Duration::from_millis(900);
/// How long closing waits for the thread.
const CLOSING: Duration = Duration::from_secs(3);

struct Thread {
    jobs: SyncSender<Job>,
    join: JoinHandle<()>,
}

/// The engine.
pub struct Local {
    settings: LocalSettings,
    models: PathBuf,
    shared: Arc<Shared>,
    thread: Mutex<Option<Thread>>,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local")
            .field("model", &self.settings.model)
            .field("models", &self.models)
            .finish_non_exhaustive()
    }
}

impl Local {
    /// Loads nothing yet. `models` is the folder that names of models are looked up in.
    pub fn new(settings: &LocalSettings, models: PathBuf) -> Self {
        Self { settings: settings.clone(), models, shared: Arc::default(), thread: Mutex::new(None) }
    }

    /// Gives a job to the model's thread, started if there is none.
    fn send(&self, job: Job) -> Result<(), TriageError> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let mut job = job;
        for _ in 0..2 {
            let jobs = match thread.as_ref() {
                Some(running) => &running.jobs,
                None => &thread.insert(self.start()?).jobs,
            };
            self.shared.sent.fetch_add(1, Ordering::Relaxed);
            job = match jobs.try_send(job) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(_)) => {
                    self.shared.sent.fetch_sub(1, Ordering::Relaxed);
                    let what = format!("the local model is over capacity: {WAITING_MAX} requests wait for it");
                    return Err(TriageError::Unavailable(what));
                }
                // It came to an unexpected end: once more on a new one.
                Err(TrySendError::Disconnected(job)) => job,
            };
            *thread = None;
        }
        Err(TriageError::Unavailable("the local model's thread does not start".into()))
    }

    fn start(&self) -> Result<Thread, TriageError> {
        let (jobs, receiver) = sync_channel(WAITING_MAX);
        self.shared.busy(0, 0, 0.0);
        self.shared.sent.store(0, Ordering::Relaxed);
        let worker =
            Worker { settings: self.settings.clone(), models: self.models.clone(), shared: Arc::clone(&self.shared) };
        let thread = std::thread::Builder::new().name("local-model".into()).spawn(move || worker.run(&receiver));
        let join = thread.map_err(|e| TriageError::Unavailable(format!("no thread for the local model: {e}")))?;
        Ok(Thread { jobs, join })
    }

    async fn answer(
        &self,
        request: &Generation,
        progress: &(dyn Fn(Untrusted) + Send + Sync),
        cancel: &Cancel,
    ) -> Result<Generated, TriageError> {
        if cancel.is_cancelled() {
            return Err(TriageError::Cancelled);
        }
        // A piece for every token at most, and the answer.
        let (events, mut received) = mpsc::channel(request.max_tokens as usize + 2);
        let ask = Ask { request: request.clone(), cancel: cancel.clone(), events, asked: Instant::now() };
        self.send(Job::Answer(Box::new(ask)))?;
        let mut let_go = None;
        loop {
            let event = tokio::select! {
                biased;
                event = received.recv() => event,
                () = cancel.cancelled(), if let_go.is_none() => {
                    let_go = Some(tokio::time::Instant::now() + LET_GO);
                    continue;
                }
                // It is loading, or reading in a slow place: it will see that nobody listens any more.
                () = tokio::time::sleep_until(let_go.unwrap_or_else(tokio::time::Instant::now)), if let_go.is_some() => {
                    return Err(TriageError::Cancelled);
                }
            };
            match event {
                Some(Event::Piece(piece)) if let_go.is_none() => progress(piece.into()),
                Some(Event::Piece(_)) => {}
                Some(Event::Done(_)) if cancel.is_cancelled() => return Err(TriageError::Cancelled),
                Some(Event::Done(result)) => return *result,
                None => return Err(TriageError::Unavailable("the local model's thread ended".into())),
            }
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Thread { jobs, join }) = thread else { return };
        drop(jobs);
        // It must not be in the middle of something when the program ends.
        let until = Instant::now() + CLOSING;
        while !join.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Engine for Local {
    fn id(&self) -> &'static str {
        "local"
    }

    fn generate<'a>(
        &'a self,
        request: &'a Generation,
        progress: &'a (dyn Fn(Untrusted) + Send + Sync),
        cancel: &'a Cancel,
    ) -> Answering<'a, Generated> {
        Box::pin(self.answer(request, progress, cancel))
    }

    fn health<'a>(&'a self) -> Telling<'a, Health> {
        Box::pin(async move {
            let file = file::resolve(&self.settings.model, &self.models).map_err(|e| e.to_string());
            self.shared.health(&file)
        })
    }

    fn load<'a>(&'a self) -> Answering<'a, ()> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.send(Job::Load(reply))?;
            answer.await.unwrap_or_else(|_| Err(TriageError::Unavailable("the local model's thread ended".into())))
        })
    }

    fn slots(&self) -> usize {
        self.settings.batch.max(1) as usize
    }

    fn prompt_limit(&self) -> Option<usize> {
        let context = self.shared.context().unwrap_or(self.settings.context_tokens);
        Some(context.saturating_sub(self.max_tokens()) as usize)
    }

    fn max_tokens(&self) -> u32 {
        self.settings.max_tokens.max(64)
    }
}

/// Lets everything else on the machine go first. On Linux that is a thread's own matter, and its children's.
fn lower_priority(by: i32) {
    #[cfg(target_os = "linux")]
    if let Err(e) = rustix::process::nice(by) {
        tracing::debug!(error = %e, "the model's thread keeps its priority");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = by;
}
