//! Takes alerts from the triage queue and has the configured backend judge them, as many at a time as it has slots.
//!
//! ```text
//! lease -> judge -> keep verdict and end the job in one transaction
//!            |
//!            +- nonsense: rules stand in, marked
//!            +- backend away: the job goes back, the queue is held; after a pause it is probed and one job tried;
//!               what has waited long enough meanwhile gets rules, marked
//! ```
//!
//! Only the desk's leader runs this, so at most one process leases; should two ever, each verdict still needs a lease.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use jiff::SignedDuration;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::super::Desk;
use super::super::Result;
use super::hold::Hold;
use super::work::Ended;
use super::work::How;
use super::work::Work;
use crate::model::ids::AlertId;
use crate::store::Job;
use crate::store::Store;
use crate::triage::Backends;
use crate::triage::Cancel;
use crate::triage::TriageError;

/// A lease ends by itself after this long without renewal.
const LEASE: SignedDuration = SignedDuration::from_secs(60);
const RENEW: Duration = Duration::from_secs(20);
/// How often the queue is looked at: while there is something in it, and while not.
const BUSY: Duration = Duration::from_millis(200);
const IDLE: Duration = Duration::from_millis(500);
/// A job that went back is not taken again for so long, so that one bad alert does not stop the others.
const DEFER: SignedDuration = SignedDuration::from_secs(5);
/// Rules standing in at the same time.
const STAND_INS: usize = 2;
/// A job with so many strikes is itself what the backend does not answer: rules stand in for it.
const STRIKES: u32 = 3;
/// Remembered failures; a desk with more of them has other troubles than one bad alert.
const FAILED: usize = 10_000;
const PROBE: Duration = Duration::from_secs(10);
const SAY_AGAIN: Duration = Duration::from_secs(30);
const LEAVE: Duration = Duration::from_millis(1_500);

/// Runs the queue until told to stop.
pub(in crate::desk) async fn workers(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    let mut w = Workers::new(desk);
    w.take_over().await;
    while !*stop.borrow() {
        let pause = match w.step().await {
            Ok(pause) => pause,
            Err(e) => {
                tracing::warn!(error = %e, "triage queue");
                Duration::from_secs(1)
            }
        };
        tokio::select! {
            biased;
            () = told_to_stop(&mut stop) => break,
            Some(event) = w.tasks.join_next_with_id(), if !w.tasks.is_empty() => w.ended_all(event).await,
            () = tokio::time::sleep(pause) => {}
        }
    }
    w.leave().await;
}

async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|s| *s).await;
}

enum Event {
    Job(Job, Ended),
    /// The backend answers, or why not.
    Probe(std::result::Result<(), String>),
}

struct Running {
    job: Job,
    cancel: Cancel,
    how: How,
}

/// A job that went back.
struct Failed {
    last: Instant,
    /// Times it failed after the backend had answered others since it failed before.
    strikes: u32,
}

struct Workers {
    desk: Arc<Desk>,
    worker: Arc<str>,
    tasks: JoinSet<Event>,
    running: HashMap<tokio::task::Id, Running>,
    probing: bool,
    hold: Option<Hold>,
    /// When it was last found that the backend does not answer.
    broke: Instant,
    /// Jobs the backend did not answer.
    failed: HashMap<AlertId, Failed>,
    answered: Option<Instant>,
    renewed: Instant,
    /// When the hold was last told.
    said: Instant,
    /// When and at which revision it was last seen what this worker still has.
    looked: Instant,
    revision: u64,
    /// There is a backend.
    made: bool,
}

impl Workers {
    fn new(desk: Arc<Desk>) -> Self {
        Self {
            desk,
            worker: ulid::Ulid::new().to_string().into(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            probing: false,
            hold: None,
            broke: Instant::now(),
            failed: HashMap::new(),
            answered: None,
            renewed: Instant::now(),
            said: Instant::now(),
            looked: Instant::now(),
            revision: 0,
            made: false,
        }
    }

    /// Blocking work on the desk.
    async fn with<T: Send + 'static>(&self, f: impl FnOnce(&Desk, &str) -> Result<T> + Send + 'static) -> Result<T> {
        let (desk, worker) = (Arc::clone(&self.desk), Arc::clone(&self.worker));
        tokio::task::spawn_blocking(move || f(&desk, &worker))
            .await
            .map_err(|e| super::super::DeskError::Unreachable(format!("a task of the desk ended: {e}")))?
    }

    /// Whoever held leases before was a leader too, and is gone.
    async fn take_over(&self) {
        let freed = self.with(|desk, worker| Ok(desk.store.free_triage(worker)?)).await;
        match freed {
            Ok(0) => {}
            Ok(n) => tracing::info!(n, "triage jobs of a process that is gone are there again"),
            Err(e) => tracing::warn!(error = %e, "triage queue"),
        }
    }

    /// One look at the queue. Answers how long to wait for the next.
    async fn step(&mut self) -> Result<Duration> {
        self.keep_leases().await?;
        match self.hold.clone() {
            Some(hold) => self.while_held(hold).await?,
            None => self.fill().await?,
        }
        Ok(if self.running.is_empty() && self.hold.is_none() { IDLE } else { BUSY })
    }

    /// Renews what runs; what was taken away (cancelled, judged by a person) is stopped.
    async fn keep_leases(&mut self) -> Result<()> {
        if self.running.is_empty() {
            return Ok(());
        }
        let left = if self.renewed.elapsed() >= RENEW {
            self.renewed = Instant::now();
            self.with(|desk, worker| Ok(desk.store.renew_triage(worker, Timestamp::now() + LEASE)?)).await?
        } else {
            let revision = self.desk.store.revision()?;
            if revision == self.revision || self.looked.elapsed() < BUSY {
                return Ok(());
            }
            self.revision = revision;
            self.looked = Instant::now();
            self.with(|desk, worker| Ok(desk.store.leased_triage(worker)?)).await?
        };
        let left: HashSet<AlertId> = left.into_iter().collect();
        for r in self.running.values().filter(|r| !left.contains(&r.job.alert)) {
            r.cancel.cancel();
        }
        Ok(())
    }

    /// Judges as many as the backend has slots, less those that people wait for.
    async fn fill(&mut self) -> Result<()> {
        // A backend is made when it is first needed, which may ask for secrets and open a model.
        if !self.made && self.with(|desk, _| Ok(desk.store.triage_queue(Timestamp::now())?.waiting)).await? == 0 {
            return Ok(());
        }
        let Some(backends) = self.backends().await else { return Ok(()) };
        self.made = true;
        let asking = self.desk.asking.load(std::sync::atomic::Ordering::SeqCst);
        let free = backends.slots().saturating_sub(self.judging() + asking);
        for job in self.lease(free, Timestamp::now()).await? {
            self.start(job, How::Judge(backends.clone()));
        }
        Ok(())
    }

    async fn backends(&mut self) -> Option<Backends> {
        let made = self.with(|desk, _| Ok(desk.backends(None).map_err(|e| e.to_string()))).await;
        match made.unwrap_or_else(|e| Err(e.to_string())) {
            Ok(backends) => Some(backends),
            Err(why) => {
                let why = why.strip_prefix("configuration: ").unwrap_or(&why).to_owned();
                self.hold(TriageError::Configuration(why)).await;
                None
            }
        }
    }

    fn judging(&self) -> usize {
        self.running.values().filter(|r| matches!(r.how, How::Judge(_))).count()
    }

    async fn lease(&self, n: usize, asked_before: Timestamp) -> Result<Vec<Job>> {
        if n == 0 {
            return Ok(Vec::new());
        }
        let lease = move |desk: &Desk, worker: &str| {
            let now = Timestamp::now();
            Ok(desk.store.lease_triage(worker, n, asked_before, now, now + LEASE)?)
        };
        self.with(lease).await
    }

    fn start(&mut self, job: Job, how: How) {
        let cancel = Cancel::new();
        let work = Work {
            desk: Arc::clone(&self.desk),
            worker: Arc::clone(&self.worker),
            job: job.clone(),
            how: how.clone(),
            cancel: cancel.clone(),
        };
        let task = self.tasks.spawn(async move {
            let (job, ended) = work.run().await;
            Event::Job(job, ended)
        });
        self.running.insert(task.id(), Running { job, cancel, how });
    }

    // --- held --------------------------------------------------------------------------------

    /// Has rules stand in for what waited too long, and tries the backend again when it is time.
    async fn while_held(&mut self, hold: Hold) -> Result<()> {
        let now = Timestamp::now();
        if let Some(before) = hold.gives_up_on(self.fallback_after(), now) {
            let free = STAND_INS.saturating_sub(self.running.len() - self.judging());
            for job in self.lease(free, before).await? {
                self.start(job, How::StandIn(hold.error.clone()));
            }
        }
        if self.said.elapsed() >= SAY_AGAIN {
            self.say_hold().await;
        }
        if !hold.is_due(now) || self.probing || self.judging() > 0 {
            return Ok(());
        }
        let queue = self.with(|desk, _| Ok(desk.store.triage_queue(Timestamp::now())?)).await?;
        if queue.waiting + queue.running == 0 {
            // Nobody waits for it: it is not asked, and the next alert finds out.
            self.let_go().await;
        } else if matches!(hold.error, TriageError::Unavailable(_)) {
            self.probe();
        } else {
            self.try_one().await?;
        }
        Ok(())
    }

    fn fallback_after(&self) -> Duration {
        Duration::from_secs(self.desk.settings.triage.fallback_after_seconds)
    }

    fn probe(&mut self) {
        self.probing = true;
        let desk = Arc::clone(&self.desk);
        self.tasks.spawn(async move {
            let Ok(backends) = desk.backends(None) else { return Event::Probe(Ok(())) };
            Event::Probe(match tokio::time::timeout(PROBE, backends.health()).await {
                Ok(health) if health.up => Ok(()),
                Ok(health) => Err(health.detail),
                Err(_) => Err("it does not say how it is".into()),
            })
        });
    }

    async fn try_one(&mut self) -> Result<()> {
        let Some(backends) = self.backends().await else { return Ok(()) };
        let jobs = self.lease(1, Timestamp::now()).await?;
        if jobs.is_empty()
            && let Some(hold) = &mut self.hold
        {
            // What went back is not there again yet.
            hold.put_off(Timestamp::now());
        }
        for job in jobs {
            self.start(job, How::Judge(backends.clone()));
        }
        Ok(())
    }

    /// Holds the queue, or goes on holding it, longer.
    async fn hold(&mut self, error: TriageError) {
        let now = Timestamp::now();
        self.broke = Instant::now();
        match &mut self.hold {
            Some(hold) if hold.is_due(now) => hold.again(error, now),
            Some(_) => return,
            None => {
                tracing::warn!(error = %error, "triage queue held");
                self.hold = Some(Hold::new(error, now));
            }
        }
        self.say_hold().await;
    }

    async fn let_go(&mut self) {
        if self.hold.take().is_some() {
            tracing::info!("triage queue goes on");
            self.say_hold().await;
        }
    }

    async fn say_hold(&mut self) {
        self.said = Instant::now();
        let held = self.hold.as_ref().map(|h| h.said(Timestamp::now()));
        let said = self.with(move |desk, worker| Ok(desk.store.hold_triage(worker, held.as_ref())?)).await;
        if let Err(e) = said {
            tracing::warn!(error = %e, "triage queue");
        }
    }

    // --- what came of it -----------------------------------------------------------------------

    /// This one and whatever else ended meanwhile, so that one look at the queue serves them all.
    async fn ended_all(&mut self, first: std::result::Result<(tokio::task::Id, Event), tokio::task::JoinError>) {
        let mut next = Some(first);
        while let Some(event) = next {
            self.ended(event).await;
            next = self.tasks.try_join_next_with_id();
        }
    }

    async fn ended(&mut self, event: std::result::Result<(tokio::task::Id, Event), tokio::task::JoinError>) {
        match event {
            Ok((id, Event::Job(job, ended))) => {
                self.running.remove(&id);
                self.job_ended(job, ended).await;
            }
            Ok((_, Event::Probe(answer))) => {
                self.probing = false;
                self.probed(answer).await;
            }
            Err(e) => {
                let Some(was) = self.running.remove(&e.id()) else {
                    self.probing = false;
                    return;
                };
                tracing::error!(alert = %was.job.alert, error = %e, "a triage task ended by itself");
                match was.how {
                    How::Judge(_) => {
                        let why = TriageError::Invalid("it failed in itself".into());
                        self.start(was.job, How::StandIn(why));
                    }
                    // Not even rules can: it must not come back for ever.
                    How::StandIn(_) => self.discard(was.job.alert).await,
                }
            }
        }
    }

    async fn probed(&mut self, answer: std::result::Result<(), String>) {
        if self.hold.is_none() {
            return;
        }
        match answer {
            Ok(()) => {
                if let Err(e) = self.try_one().await {
                    tracing::warn!(error = %e, "triage queue");
                }
            }
            Err(why) => {
                let known = self.hold.as_ref().map(|h| h.error.clone());
                let why = if why.is_empty() { known } else { Some(TriageError::Unavailable(why)) };
                if let Some(why) = why {
                    self.hold(why).await;
                }
            }
        }
    }

    async fn job_ended(&mut self, job: Job, ended: Ended) {
        match ended {
            Ended::Answered(at) => {
                self.failed.remove(&job.alert);
                self.answered = self.answered.max(Some(at));
                // What was said before the backend broke, and only kept since, says nothing about it now.
                if at > self.broke {
                    self.let_go().await;
                }
            }
            Ended::StoodIn | Ended::Lost => {
                self.failed.remove(&job.alert);
            }
            Ended::NoAlert => self.discard(job.alert).await,
            Ended::Broken(why) => {
                tracing::warn!(alert = %job.alert, error = %why, "triage of an alert goes back to the queue");
                self.give_back(job.alert).await;
                self.hold(TriageError::Unavailable(why)).await;
            }
            Ended::Away(e) => {
                let own_fault = self.strikes(job.alert) >= STRIKES;
                if !own_fault {
                    self.hold(e.clone()).await;
                }
                if own_fault || self.fallback_after().is_zero() {
                    self.start(job, How::StandIn(e));
                } else {
                    self.give_back(job.alert).await;
                }
            }
        }
    }

    /// Counts a failure of this job.
    fn strikes(&mut self, id: AlertId) -> u32 {
        if self.failed.len() >= FAILED {
            self.failed.clear();
        }
        let answered = self.answered;
        let failed = self.failed.entry(id).or_insert(Failed { last: Instant::now(), strikes: 0 });
        if answered.is_some_and(|a| a > failed.last) {
            failed.strikes += 1;
        }
        failed.last = Instant::now();
        failed.strikes
    }

    async fn give_back(&self, id: AlertId) {
        let back =
            self.with(move |desk, worker| Ok(desk.store.release_triage(worker, id, Timestamp::now() + DEFER)?));
        if let Err(e) = back.await {
            // Its lease runs out by itself.
            tracing::warn!(alert = %id, error = %e, "triage queue");
        }
    }

    async fn discard(&self, id: AlertId) {
        let gone = self.with(move |desk, worker| Ok(desk.store.discard_triage(worker, id)?)).await;
        if let Err(e) = gone {
            tracing::warn!(alert = %id, error = %e, "triage queue");
        }
    }

    /// Stops what runs and gives everything back at once.
    async fn leave(mut self) {
        self.running.values().for_each(|r| r.cancel.cancel());
        let all_end = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LEAVE, all_end).await.is_err() {
            self.tasks.abort_all();
        }
        let left = self.with(|desk, worker| {
            for id in desk.store.leased_triage(worker)? {
                desk.store.release_triage(worker, id, Timestamp::now())?;
            }
            Ok(desk.store.hold_triage(worker, None)?)
        });
        if let Err(e) = left.await {
            tracing::warn!(error = %e, "triage queue");
        }
    }
}
