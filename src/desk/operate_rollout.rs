//! Rollouts of the clusters in the settings: watched while a desk is open, or read once for the command line.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Desk;
use super::DeskError;
use super::Result;
use super::live::stopped_within;
use crate::model::health::SourceState;
use crate::model::health::SourceWord;
use crate::model::rollout::Rollout;
use crate::operate::rollout::cluster::Pace;
use crate::operate::rollout::cluster::Reader;
use crate::operate::rollout::read::Pairs;
use crate::operate::rollout::read::rollouts;

/// However much changes, the reading is made anew at most so often.
const COALESCE: Duration = Duration::from_millis(500);
/// Without any change: clocks of sources move.
const QUIET: Duration = Duration::from_secs(10);
/// Longest wait of the command line for the first answers of all clusters.
const ONCE: Duration = Duration::from_secs(20);

/// What the clusters said.
#[derive(Debug)]
pub struct Clusters {
    pub rollouts: Vec<Rollout>,
    pub sources: Vec<SourceState>,
}

/// Watches every cluster until it is time to stop. Each process that has the desk open reads for itself.
pub(super) async fn clusters(desk: Arc<Desk>, stop: watch::Receiver<bool>) {
    let mut tasks = JoinSet::new();
    for (name, settings) in &desk.settings.operate.kubernetes {
        let reader = Reader::new(name, settings.clone(), Pace::default());
        tasks.spawn(cluster(Arc::clone(&desk), reader, name.clone(), stop.clone()));
    }
    while tasks.join_next().await.is_some() {}
}

async fn cluster(desk: Arc<Desk>, reader: Arc<Reader>, name: String, mut stop: watch::Receiver<bool>) {
    // Dropped with this function, which ends the watchers.
    let mut watchers = JoinSet::new();
    watchers.spawn(desk.watcher(&reader));
    let mut pairs = (Instant::now(), desk.pairs(&name));
    loop {
        let now = Timestamp::now();
        if pairs.0.elapsed() > QUIET {
            // A file with faults leaves the last good ones standing; the faults are shown as a source.
            pairs = (Instant::now(), desk.pairs(&name).or(pairs.1));
        }
        let declared = pairs.1.clone().unwrap_or_default();
        let read = reader.with(|snapshot| rollouts(snapshot, &declared, now)).unwrap_or_default();
        show(&desk, &name, read, reader.states());
        if stopped_within(&mut stop, COALESCE).await {
            return;
        }
        tokio::select! {
            () = reader.changed.notified() => {}
            () = tokio::time::sleep(QUIET) => {}
            _ = stop.wait_for(|s| *s) => return,
        }
    }
}

/// Puts one cluster's rollouts in place of those shown; what others found out about them stays.
fn show(desk: &Desk, cluster: &str, mut read: Vec<Rollout>, states: Vec<SourceState>) {
    desk.read_platform(|platform| {
        for rollout in &mut read {
            if let Some(known) = platform.rollouts.iter_mut().find(|r| r.id == rollout.id) {
                rollout.gates = std::mem::take(&mut known.gates);
                rollout.advice = known.advice.take();
                rollout.zone_minimum = known.zone_minimum;
                rollout.fast_rollback_until = rollout.fast_rollback_until.or(known.fast_rollback_until);
            }
        }
        platform.rollouts.retain(|r| r.id.cluster != cluster);
        platform.rollouts.extend(read);
        platform.sources.retain(|s| s.name != cluster || !s.kind.starts_with("kubernetes"));
        platform.sources.extend(states);
    });
}

impl Desk {
    /// Deployments declared to be one rollout; `None`: the file that declares them has faults.
    fn pairs(&self, cluster: &str) -> Option<Pairs> {
        self.rollout_rules().ok().map(|config| config.pairs(cluster))
    }

    /// Reads all clusters once, at the same time.
    ///
    /// # Errors
    /// Usage without any cluster in the settings; unreachable when no kind of object could be read anywhere.
    pub async fn read_clusters(&self) -> Result<Clusters> {
        let clusters = &self.settings.operate.kubernetes;
        if clusters.is_empty() {
            return Err(DeskError::Usage("there is no cluster: name one in operate.kubernetes".into()));
        }
        let mut watchers = JoinSet::new();
        let readers: Vec<Arc<Reader>> =
            clusters.iter().map(|(name, s)| Reader::new(name, s.clone(), Pace::default())).collect();
        for reader in &readers {
            watchers.spawn(self.watcher(reader));
        }
        let until = Instant::now() + ONCE;
        while !readers.iter().all(|r| r.started()) && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let now = Timestamp::now();
        let config = self.rollout_rules()?;
        let read = |r: &Arc<Reader>| r.with(|s| rollouts(s, &config.pairs(&s.cluster), now)).unwrap_or_default();
        let found = Clusters {
            rollouts: readers.iter().flat_map(read).collect(),
            sources: readers.iter().flat_map(|r| r.states()).collect(),
        };
        if found.sources.iter().any(|s| s.state == SourceWord::Live) {
            return Ok(Clusters { rollouts: self.with_gates(&config, found.rollouts)?, ..found });
        }
        let why = found.sources.iter().find(|s| !s.detail.is_empty());
        let why = why.map_or("no answer".to_owned(), |s| format!("{}: {}", s.name, crate::text::clean(&s.detail)));
        Err(DeskError::Unreachable(format!("no cluster can be read: {why}")))
    }
}
