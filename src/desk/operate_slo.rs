//! Objectives on a desk: read, measured again and again, and asked before a change.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch as channel;

use super::Desk;
use super::DeskError;
use super::Result;
use crate::model::query::Glob;
use crate::model::slo::ChangeClass;
use crate::model::slo::GateAnswer;
use crate::model::slo::Slo;
use crate::operate::slo::gate;
use crate::operate::slo::source::Reader;
use crate::operate::slo::spec::Folder;

/// Measures them every `operate.refresh_seconds`; definitions are read anew each time, and a folder with faults leaves
/// the last good ones standing.
pub(super) async fn watch(desk: Arc<Desk>, mut stop: channel::Receiver<bool>) {
    if desk.settings.operate.slos.is_none() {
        return;
    }
    let reader = desk.slo_reader();
    let pause = Duration::from_secs(desk.settings.operate.refresh_seconds.max(5));
    let mut slos = Vec::new();
    loop {
        match desk.objectives() {
            Ok(read) => slos = read,
            Err(e) => tracing::warn!(error = %e, "objectives"),
        }
        tokio::select! {
            () = desk.measure(&reader, &slos) => {}
            _ = stop.wait_for(|s| *s) => return,
        }
        if super::live::stopped_within(&mut stop, pause).await {
            return;
        }
    }
}

impl Desk {
    fn slo_reader(&self) -> Reader {
        let reader = Reader::new(&self.settings.operate, Arc::clone(&self.secrets), self.store.clone());
        match self.feed() {
            Some(feed) => reader.fed_by(feed),
            None => reader,
        }
    }

    /// The objectives of the settings' folder; none without one.
    pub fn objectives(&self) -> Result<Vec<Slo>> {
        match &self.settings.operate.slos {
            None => Ok(Vec::new()),
            Some(path) => Folder::read(path).map_err(|faults| DeskError::Usage(faults.to_string())),
        }
    }

    /// Reads the definitions, asks every server, and keeps the answer where [`Desk::platform`] shows it.
    pub async fn refresh_slos(&self) -> Result<()> {
        let slos = self.objectives()?;
        if slos.is_empty() {
            return Err(DeskError::Usage("no objectives: put files into `slos` or set operate.slos".into()));
        }
        self.measure(&self.slo_reader(), &slos).await;
        Ok(())
    }

    /// What these objectives ask for that is no bucket of a histogram on their servers now: the objective and a sentence.
    /// Unreachable when a server could not be asked.
    pub async fn no_live_buckets<'a>(&self, slos: &'a [Slo]) -> Result<Vec<(&'a Slo, String)>> {
        let reader = self.slo_reader();
        let mut out = Vec::new();
        for slo in slos {
            let said = reader.no_buckets(slo).await.map_err(DeskError::Unreachable)?;
            out.extend(said.into_iter().map(|s| (slo, s)));
        }
        Ok(out)
    }

    /// Measures before something is decided by it, in a process that does not do so by itself. What cannot be had stays
    /// unknown, and unknown refuses.
    pub async fn know_budgets(&self) {
        if self.settings.operate.slos.is_some()
            && let Err(e) = self.refresh_slos().await
        {
            tracing::warn!(error = %e, "objectives were not measured");
        }
    }

    async fn measure(&self, reader: &Reader, slos: &[Slo]) {
        let judged = reader.refresh(slos, self.clock.unwrap_or_else(Timestamp::now)).await;
        let bands = gate::bands();
        let answers = match judged.is_empty() {
            true => Vec::new(),
            false => ChangeClass::ALL.map(|class| gate::gate(&judged, class, &bands)).into(),
        };
        let sources = reader.sources();
        self.read_platform(|p| {
            p.slos = judged;
            p.gate = answers;
            p.sources.retain(|s| sources.iter().all(|new| new.name != s.name || new.kind != s.kind));
            p.sources.extend(sources);
        });
    }

    /// What the budgets say of a change, by the newest reading: those of objectives that one of these names (with `*`)
    /// fits, or all without any.
    pub fn gate(&self, class: ChangeClass, only: &[String]) -> GateAnswer {
        let globs: Vec<Glob> = only.iter().map(|p| Glob::new(p)).collect();
        let mut counted = self.platform().slos.clone();
        counted.retain(|(slo, _)| globs.is_empty() || globs.iter().any(|g| g.is_match(&slo.id)));
        gate::gate(&counted, class, &gate::bands())
    }
}
