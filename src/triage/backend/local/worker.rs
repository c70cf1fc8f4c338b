//! The thread that a model lives on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::answer::Ask;
use super::file;
use super::loaded::Loaded;
use super::quiet::{self, Errors};
use super::run::Run;
use super::shared::{Phase, Shared};
use crate::config::settings::LocalSettings;
use crate::triage::TriageError;

/// Requests that wait, at most.
pub const WAITING_MAX: usize = 256;
/// A thread with nothing to do looks this often whether it is to end.
const LOOK: Duration = Duration::from_secs(3_600);

pub enum Job {
    /// Makes the model ready.
    Load(oneshot::Sender<Result<(), TriageError>>),
    Answer(Box<Ask>),
}

impl Job {
    fn fail(self, error: TriageError) {
        match self {
            Self::Load(reply) => drop(reply.send(Err(error))),
            Self::Answer(ask) => ask.done(Err(error)),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Load(reply) => reply.is_closed(),
            Self::Answer(ask) => ask.is_over(),
        }
    }
}

/// Why a model left memory.
enum Left {
    Idle,
    Closed,
    /// Another one was chosen.
    Changed(Job),
}

pub struct Worker {
    pub settings: LocalSettings,
    pub models: PathBuf,
    pub shared: Arc<Shared>,
}

impl Worker {
    /// Until nobody can send jobs any more.
    pub fn run(self, jobs: &Receiver<Job>) {
        super::lower_priority(5);
        let errors = Errors::default();
        quiet::with(&errors, || {
            let mut kept = None;
            while let Some(job) = kept.take().or_else(|| jobs.recv().ok().inspect(|_| self.seen())) {
                match self.serve(job, jobs, &errors) {
                    Left::Idle => {}
                    Left::Changed(job) => kept = Some(job),
                    Left::Closed => return,
                }
            }
        });
    }

    fn seen(&self) {
        self.shared.sent.fetch_sub(1, Ordering::Relaxed);
    }

    fn closing(&self) -> bool {
        self.shared.closing.load(Ordering::Relaxed)
    }

    /// Loads the model and answers until it is not needed any more.
    fn serve(&self, job: Job, jobs: &Receiver<Job>, errors: &Errors) -> Left {
        if job.is_over() {
            job.fail(TriageError::Cancelled);
            return Left::Idle;
        }
        self.shared.phase(Phase::Loading);
        let failed = |e: TriageError, job: Job| {
            tracing::warn!(error = %e, "local model not loaded");
            self.shared.phase(Phase::Failed(e.to_string()));
            job.fail(e);
            Left::Idle
        };
        let loaded = match Loaded::new(&self.settings, &self.models, &self.shared.closing, errors) {
            Ok(loaded) => loaded,
            Err(e) => return failed(e, job),
        };
        let context = match loaded.context(&self.settings, errors) {
            Ok(context) => context,
            Err(e) => return failed(e, job),
        };
        self.shared.loaded(&loaded.name, &loaded.about, loaded.context);
        self.shared.want_digest(&loaded.path);
        let left = self.answer(Run::new(&loaded, context, &self.shared), &loaded, job, jobs);
        self.shared.phase(Phase::Away);
        self.shared.busy(0, 0, 0.0);
        left
    }

    fn answer(&self, mut run: Run<'_>, loaded: &Loaded, first: Job, jobs: &Receiver<Job>) -> Left {
        let mut job = Some(first);
        loop {
            if self.closing() {
                let error = TriageError::Unavailable("the desk is closing".into());
                if let Some(job) = job {
                    job.fail(error.clone());
                }
                run.fail(&error);
                return Left::Closed;
            }
            match job.take() {
                Some(job) if run.is_idle() && self.is_other(loaded) => return Left::Changed(job),
                Some(Job::Load(reply)) => drop(reply.send(Ok(()))),
                Some(Job::Answer(ask)) => run.take(*ask),
                None if run.is_idle() => {}
                None => {
                    // What broke told everybody; a model that is loaded anew may do better.
                    if run.step().is_err() {
                        return Left::Idle;
                    }
                }
            }
            job = match self.next(&run, jobs) {
                Ok(job) => job,
                Err(left) => return left,
            };
        }
    }

    /// The next job: at once while there is work, else after a wait.
    fn next(&self, run: &Run<'_>, jobs: &Receiver<Job>) -> Result<Option<Job>, Left> {
        let got = if run.is_idle() {
            let idle = match self.settings.unload_seconds {
                0 => LOOK,
                seconds => Duration::from_secs(seconds),
            };
            jobs.recv_timeout(idle).map_err(|e| match e {
                RecvTimeoutError::Timeout if self.settings.unload_seconds == 0 => None,
                RecvTimeoutError::Timeout => {
                    tracing::info!("local model not needed for a while: it leaves memory");
                    Some(Left::Idle)
                }
                RecvTimeoutError::Disconnected => Some(Left::Closed),
            })
        } else if run.waiting() >= WAITING_MAX {
            return Ok(None);
        } else {
            jobs.try_recv().map_err(|e| match e {
                TryRecvError::Empty => None,
                TryRecvError::Disconnected => Some(Left::Closed),
            })
        };
        match got {
            Ok(job) => {
                self.seen();
                Ok(Some(job))
            }
            Err(None) => Ok(None),
            Err(Some(left)) => Err(left),
        }
    }

    /// The settings lead to another file than the one in memory.
    fn is_other(&self, loaded: &Loaded) -> bool {
        match file::resolve(&self.settings.model, &self.models) {
            Ok(path) => path != loaded.path || file::stamp(&path) != loaded.stamp,
            Err(_) => true,
        }
    }
}
