//! Timed steps of a drill, told as they come, and the probe of what was restored.

use std::time::{Duration, Instant};

use reqwest::Method;

use super::{Job, http, process};
use crate::model::action::ReceiptState;
use crate::model::health::Tri;
use crate::model::recovery::{CLEANUP, Step, outcome};
use crate::text::Untrusted;

/// One try of a probe.
const PROBE: Duration = Duration::from_secs(10);
/// Between two tries.
const AGAIN: Duration = Duration::from_secs(1);

/// How a step ended: in words, or which word fits and why.
pub type Ended = Result<String, (Tri, String)>;

/// The steps so far.
pub struct Steps<'a> {
    job: &'a Job,
    done: Vec<Step>,
}

impl<'a> Steps<'a> {
    pub fn new(job: &'a Job) -> Self {
        Self { job, done: Vec::new() }
    }

    /// Does one step and notes it. False: nothing that builds on it makes sense any more.
    pub async fn take(&mut self, name: &str, work: impl Future<Output = Ended>) -> bool {
        let started = Instant::now();
        let (outcome, said) = match work.await {
            Ok(said) => (Tri::Pass, said),
            Err((word, why)) => (word, why),
        };
        let seconds = started.elapsed().as_secs_f64();
        self.done.push(Step { name: name.into(), outcome, seconds, said: Untrusted::new(said) });
        self.tell(ReceiptState::Pending).await;
        outcome == Tri::Pass
    }

    fn text(&self) -> String {
        self.done.iter().map(Step::line).collect::<Vec<_>>().join("\n")
    }

    async fn tell(&self, state: ReceiptState) {
        for target in &self.job.approved.body().targets {
            self.job.tell(target, state, None, self.text()).await;
        }
    }

    /// The receipts that count. A drill that was not cleaned up is not done, however well it went.
    pub async fn end(self) {
        let cleaned = self.done.iter().rev().find(|s| s.name == CLEANUP).map_or(Tri::Unknown, |s| s.outcome);
        let state = match (outcome(&self.done), cleaned) {
            (Tri::Pass, Tri::Pass) => ReceiptState::Done,
            (Tri::Fail, _) | (_, Tri::Fail) => ReceiptState::Failed,
            _ => ReceiptState::Unknown,
        };
        self.tell(state).await;
    }
}

/// Works until its end, the time's end, or until everything must stop.
pub async fn bounded_by(job: &Job, end: Instant, work: impl Future<Output = Ended>) -> Ended {
    let mut stop = job.stop.clone();
    tokio::select! {
        ended = work => ended,
        () = tokio::time::sleep_until(end.into()) => Err((Tri::Unknown, "given up: its time is over".into())),
        why = process::reason(&mut stop) => Err((Tri::Unknown, format!("stopped: {why}"))),
    }
}

/// Asks the URL until it answers 2xx, at the latest until `end`. What was restored may take a while to start.
pub async fn probe(job: &Job, url: &str, end: Instant) -> Ended {
    let client = http::client(None, PROBE).await.map_err(|e| (Tri::Unknown, e))?;
    let mut stop = job.stop.clone();
    loop {
        let said = match client.request(Method::GET, url).send().await {
            Ok(answer) if answer.status().is_success() => return Ok(format!("answers {}", answer.status())),
            Ok(answer) => format!("answers {}", answer.status()),
            Err(e) => http::causes(&e),
        };
        if Instant::now() >= end {
            return Err((Tri::Fail, format!("{said}; its time is over")));
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            why = process::reason(&mut stop) => return Err((Tri::Unknown, format!("stopped: {why}"))),
        }
    }
}
