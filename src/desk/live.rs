//! What runs by itself while a desk is open: sources, housekeeping, the search index, the triage queue, backend health.
//!
//! Several processes may have the same desk open. Work that must be done once (sources, index) is done by the one that
//! holds a lock file; the lock goes with its process, and another takes over within a few seconds.

use std::fs::File;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::watch;

use super::Desk;
use super::DeskError;
use super::Link;
use super::Result;
use crate::store::Store;

const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// How often requests of changes, and the clocks of playbooks, which go by minutes, are looked at.
const REQUESTS: Duration = Duration::from_secs(5);
const PLAYBOOKS: Duration = Duration::from_secs(10);
const HEALTH: Duration = Duration::from_secs(10);
/// Rows the search index takes in one go; small, so that writers never wait long for it.
const INDEX_ROWS: usize = 2_000;
/// The leader's lock, in the desk's `run` folder.
const LEADER: &str = "sources.lock";

/// Stops the background work when dropped.
pub struct Live {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Desk {
    /// Starts the background work of this process. `extra` runs beside it until told to stop (the demo's scenario).
    pub fn start_live(self: &Arc<Self>, extra: Option<super::demo::Replay>) -> Result<Live> {
        let (stop, stopped) = watch::channel(false);
        let desk = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name("desk".into())
            .spawn(move || run(&desk, &stopped, extra))
            .map_err(|e| super::DeskError::Unreachable(format!("no thread for the desk: {e}")))?;
        Ok(Live { stop, thread: Some(thread) })
    }
}

fn run(desk: &Arc<Desk>, stop: &watch::Receiver<bool>, extra: Option<super::demo::Replay>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).max_blocking_threads(64).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => {
            tracing::error!(error = %e, "the desk has no runtime: no live sources, no housekeeping");
            return;
        }
    };
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(housekeeping(Arc::clone(desk), stop.clone()));
        tasks.spawn(health(Arc::clone(desk), stop.clone()));
        tasks.spawn(leader(Arc::clone(desk), stop.clone()));
        tasks.spawn(super::operate_checklist::keep(Arc::clone(desk), stop.clone(), false));
        tasks.spawn(super::operate_backup::show_backups(Arc::clone(desk), stop.clone()));
        // Every process has a reading of its own.
        tasks.spawn(super::operate_slo::watch(Arc::clone(desk), stop.clone()));
        tasks.spawn(super::operate_rollout::clusters(Arc::clone(desk), stop.clone()));
        tasks.spawn(super::operate_gates::show(Arc::clone(desk), stop.clone()));
        tasks.spawn(super::operate_sla::months(Arc::clone(desk), stop.clone()));
        tasks.spawn(super::operate_drill::drills(Arc::clone(desk), stop.clone()));
        if let Some(replay) = extra {
            tasks.spawn(replay.run(Arc::clone(desk), stop.clone()));
        }
        while tasks.join_next().await.is_some() {}
    });
    runtime.shutdown_timeout(Duration::from_secs(2));
}

/// Sleeps, or answers true at once when it is time to stop.
pub(super) async fn stopped_within(stop: &mut watch::Receiver<bool>, time: Duration) -> bool {
    if *stop.borrow() {
        return true;
    }
    matches!(tokio::time::timeout(time, stop.wait_for(|s| *s)).await, Ok(Ok(_) | Err(_)))
}

/// Snoozes that run out, suppressions that expire, requests nobody approved, executions whose process died.
async fn housekeeping(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    let (mut requests, mut playbooks) = (Every::new(REQUESTS), Every::new(PLAYBOOKS));
    while !stopped_within(&mut stop, HOUSEKEEPING).await {
        if desk.read_only {
            continue;
        }
        let (desk, now) = (Arc::clone(&desk), Instant::now());
        let due = Due { requests: requests.is_due(now), playbooks: playbooks.is_due(now) };
        let done = tokio::task::spawn_blocking(move || desk.keep(due)).await;
        if let Ok(Err(e)) = done {
            tracing::warn!(error = %e, "housekeeping");
        }
    }
}

/// What is done less often than the rest, however long a round takes.
struct Every {
    pause: Duration,
    last: Option<Instant>,
}

impl Every {
    fn new(pause: Duration) -> Self {
        Self { pause, last: None }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.duration_since(last) >= self.pause);
        if due {
            self.last = Some(now);
        }
        due
    }
}

#[derive(Clone, Copy)]
struct Due {
    requests: bool,
    playbooks: bool,
}

impl Desk {
    /// One round of all the housekeeping; safe to run in several processes at once.
    ///
    /// # Errors
    /// The first of them; what can be done besides is done.
    pub fn keep_house(&self) -> Result<()> {
        self.keep(Due { requests: true, playbooks: true })
    }

    fn keep(&self, due: Due) -> Result<()> {
        let now = Timestamp::now();
        let done = [
            self.store.wake_due(now).map(drop).map_err(DeskError::from),
            self.store.expire_suppressions(now).map(drop).map_err(DeskError::from),
            self.responder.sweep(now).map(drop).map_err(DeskError::from),
            self.responder.recover(now).map(drop).map_err(DeskError::from),
            if due.requests { self.keep_requests(now) } else { Ok(()) },
            self.forget_exchanges(now),
            if due.playbooks { self.tick_playbooks().map(drop) } else { Ok(()) },
        ];
        done.into_iter().collect()
    }
}

async fn health(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    loop {
        let health = desk.ask_health().await;
        if let Ok(mut slot) = desk.health.lock() {
            *slot = Some(health);
        }
        if stopped_within(&mut stop, HEALTH).await {
            return;
        }
    }
}

/// Takes the lock when it is free, then does what only one process may do.
async fn leader(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    let lock = loop {
        match try_lead(&desk) {
            Some(lock) => break lock,
            None if stopped_within(&mut stop, Duration::from_secs(2)).await => return,
            None => {}
        }
    };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(index(Arc::clone(&desk), stop.clone()));
    tasks.spawn(super::triage::workers(Arc::clone(&desk), stop.clone()));
    tasks.spawn(super::operate_checklist::keep(Arc::clone(&desk), stop.clone(), true));
    tasks.spawn(super::operate_sla::probes(Arc::clone(&desk), stop.clone()));
    tasks.spawn(super::triage::auto(Arc::clone(&desk), stop.clone()));
    tasks.spawn(super::operate_gates::keep(Arc::clone(&desk), stop.clone()));
    tasks.spawn(super::respond::board(Arc::clone(&desk), stop.clone()));
    tasks.spawn(super::notify::keep(Arc::clone(&desk), stop.clone()));
    tasks.spawn(super::operate_backup::keep_backups(Arc::clone(&desk), stop.clone()));
    for name in desk.settings.intake.sources.keys().cloned() {
        tasks.spawn(Arc::clone(&desk).run_source(name, stop.clone()));
    }
    while tasks.join_next().await.is_some() {}
    drop(lock);
}

impl Desk {
    /// Whether some process (this one too) does what only one may do.
    pub(super) fn is_led(&self) -> bool {
        let file = File::options().write(true).open(self.data_dir.join("run").join(LEADER));
        file.is_ok_and(|f| f.try_lock().is_err())
    }
}

fn try_lead(desk: &Desk) -> Option<File> {
    if desk.read_only {
        return None;
    }
    let dir = desk.data_dir.join("run");
    std::fs::create_dir_all(&dir).ok()?;
    let file = File::options().create(true).truncate(false).write(true).open(dir.join(LEADER)).ok()?;
    file.try_lock().ok().map(|()| file)
}

/// Keeps the search index up with what arrives.
async fn index(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    let mut pause = Duration::from_millis(500);
    while !stopped_within(&mut stop, pause).await {
        let desk = Arc::clone(&desk);
        let done = tokio::task::spawn_blocking(move || desk.store.index_step(INDEX_ROWS)).await;
        pause = match done {
            Ok(Ok(n)) if n >= INDEX_ROWS => Duration::from_millis(5),
            _ => Duration::from_millis(500),
        };
    }
}

/// Puts a link's newest state where the header finds it.
pub(super) fn report(links: &Mutex<Vec<Link>>, link: Link) {
    let known = links.lock().ok().and_then(|l| l.iter().find(|l| l.name == link.name).cloned());
    if known.is_none_or(|k| k.state != link.state) {
        let detail = crate::text::clean(&link.detail);
        tracing::info!(source = %link.name, kind = link.kind, state = link.state.word(), detail = %detail, "source");
    }
    if let Ok(mut links) = links.lock() {
        match links.iter_mut().find(|l| l.name == link.name) {
            Some(slot) => {
                let last_good = link.last_good.or(slot.last_good);
                *slot = Link { last_good, ..link };
            }
            None => links.push(link),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_less_often_is_done_however_long_rounds_take() {
        let start = Instant::now();
        for (round, want) in
            [(1_000, vec![0, 5, 10]), (1_300, vec![0, 4, 8]), (5_000, vec![0, 1, 2]), (7_000, vec![0, 1])]
        {
            let mut every = Every::new(Duration::from_secs(5));
            let at = |n: u64| start + Duration::from_millis(n * round);
            let done: Vec<u64> = (0..).take_while(|n| n * round <= 10_400).filter(|n| every.is_due(at(*n))).collect();
            assert_eq!(done, want, "rounds of {round} ms");
        }
    }
}
