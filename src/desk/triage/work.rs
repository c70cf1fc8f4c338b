//! One alert of the queue: judged, checked, kept.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use super::super::Desk;
use super::super::DeskError;
use super::facts;
use super::hold::is_away;
use crate::store::Job;
use crate::store::Store;
use crate::triage::Backends;
use crate::triage::Cancel;
use crate::triage::Judged;
use crate::triage::Question;
use crate::triage::TriageError;

/// No answer takes longer; engines have time limits of their own, this is for one that forgets them.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// How an opinion is come by.
#[derive(Clone)]
pub(super) enum How {
    Judge(Backends),
    /// By rules, for this reason.
    StandIn(TriageError),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Ended {
    /// The backend answered then (perhaps nonsense, so that rules stood in), and the verdict is kept by now.
    Answered(Instant),
    /// Rules stood in without asking it.
    StoodIn,
    /// Cancelled, or somebody else has it by now.
    Lost,
    /// There is no such alert.
    NoAlert,
    /// The backend is not there for anybody, or says so.
    Away(TriageError),
    /// The desk itself could not go on: store or audit log.
    Broken(String),
}

pub(super) struct Work {
    pub desk: Arc<Desk>,
    pub worker: Arc<str>,
    pub job: Job,
    pub how: How,
    pub cancel: Cancel,
}

impl Work {
    pub async fn run(self) -> (Job, Ended) {
        let ended = self.work().await.unwrap_or_else(|ended| ended);
        (self.job, ended)
    }

    async fn work(&self) -> Result<Ended, Ended> {
        let question = self.question().await?;
        let (judged, ended) = match &self.how {
            How::StandIn(why) => (self.stand_in(None, &question, why).await?, Ended::StoodIn),
            How::Judge(backends) => {
                let answer = backends.judge_strictly(&question, &|_| {}, &self.cancel);
                let answer = tokio::time::timeout(LONGEST, answer).await.unwrap_or_else(|_| {
                    Err(TriageError::Invalid(format!("there was no answer within {} s", LONGEST.as_secs())))
                });
                let answered = Ended::Answered(Instant::now());
                match answer {
                    Ok(judged) => (judged, answered),
                    Err(TriageError::Cancelled) => return Err(Ended::Lost),
                    Err(e) if is_away(&e) => return Err(Ended::Away(e)),
                    Err(e) => (self.stand_in(Some(backends), &question, &e).await?, answered),
                }
            }
        };
        if self.cancel.is_cancelled() {
            return Err(Ended::Lost);
        }
        self.keep(question, judged, ended).await
    }

    /// In the desk's own name: limits per person are for those who wait for an answer, which must not stand in line
    /// behind what they queued. Who asked is in the audit log all the same.
    async fn question(&self) -> Result<Question, Ended> {
        let (desk, id) = (Arc::clone(&self.desk), self.job.alert);
        blocking(move || desk.question_of(id, None)).await?.map_err(|e| match e {
            DeskError::No(_) => Ended::NoAlert,
            e => Ended::Broken(e.to_string()),
        })
    }

    async fn stand_in(&self, backends: Option<&Backends>, q: &Question, why: &TriageError) -> Result<Judged, Ended> {
        let judged = match backends {
            Some(b) => b.stand_in(q, why).await,
            None => self.desk.rules_for_another(q, why).await,
        };
        judged.map_err(|e| Ended::Broken(e.to_string()))
    }

    async fn keep(&self, question: Question, judged: Judged, ended: Ended) -> Result<Ended, Ended> {
        let (desk, job, worker) = (Arc::clone(&self.desk), self.job.clone(), Arc::clone(&self.worker));
        let kept = blocking(move || {
            desk.on_record(job.by.as_ref(), "triage.verdict", &question, facts(&judged.verdict))?;
            Ok(desk.store.finish_triage(&worker, job.alert, &judged.verdict, &judged.exchanges)?)
        });
        match kept.await? {
            Ok(true) => Ok(ended),
            Ok(false) => Err(Ended::Lost),
            Err(e) => Err(Ended::Broken(e.to_string())),
        }
    }
}

/// Runs it where blocking is allowed.
async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> super::super::Result<T> + Send + 'static,
) -> Result<super::super::Result<T>, Ended> {
    tokio::task::spawn_blocking(f).await.map_err(|e| Ended::Broken(format!("a task of the desk ended: {e}")))
}
