//! Alerts in: imports, dead letters, live sources.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;

use super::Desk;
use super::Link;
use super::LinkState;
use super::Result;
use super::Summary;
use super::live;
use crate::config::settings::SourceSettings;
use crate::intake::Pipeline;
use crate::intake::pipeline::Retried;
use crate::intake::pipeline::RetrySummary;
use crate::intake::source;
use crate::intake::source::directory::Directory;
use crate::intake::source::file;
use crate::intake::source::follow::Follow;
use crate::intake::source::opensearch::Tail;
use crate::model::alert::DeadLetter;
use crate::model::ids::DeadLetterId;
use crate::model::ids::PersonId;
use crate::store::Store;

impl Desk {
    fn pipeline(&self) -> Pipeline {
        let intake = &self.settings.intake;
        let store: Arc<dyn Store> = self.store.clone();
        Pipeline::new(store, intake.keys.clone(), Arc::clone(&self.assets), intake.generic.clone())
    }

    /// Reads files, folders, or standard input (`-`). `progress` hears records read, and bytes read of how many.
    pub fn import(
        &self,
        by: &PersonId,
        paths: &[PathBuf],
        format: Option<&str>,
        mut progress: impl FnMut(u64, u64, Option<u64>),
    ) -> Result<Summary> {
        self.authorise(by)?;
        let inputs = paths.iter().map(|p| file::Input::from_arg(p)).collect();
        Ok(file::import(&self.pipeline(), inputs, format, |p| progress(p.summary.read, p.bytes, p.total))?)
    }

    pub fn dead_letter(&self, id: DeadLetterId) -> Result<Option<(DeadLetter, Vec<u8>)>> {
        Ok(self.store.dead_letter(id)?)
    }

    /// Reads dead letters again; none named means all of them.
    pub fn retry_dead_letters(
        &self,
        by: &PersonId,
        ids: &[DeadLetterId],
        format: Option<&str>,
    ) -> Result<RetrySummary> {
        self.authorise(by)?;
        let pipeline = self.pipeline();
        if ids.is_empty() {
            return Ok(pipeline.retry_dead_letters(format, |_, _| ())?);
        }
        let mut sum = RetrySummary::default();
        for id in ids {
            sum.tried += 1;
            match pipeline.retry_dead_letter(*id, format)? {
                Retried::Read(s) => {
                    sum.read += 1;
                    sum.accepted += s.accepted;
                    sum.duplicates += s.duplicates;
                }
                Retried::Unreadable(_) => sum.still_dead += 1,
            }
        }
        Ok(sum)
    }

    /// Throws one away, on record.
    pub fn drop_dead_letter(&self, by: &PersonId, id: DeadLetterId) -> Result<bool> {
        self.authorise(by)?;
        let Some((letter, _)) = self.store.dead_letter(id)? else { return Ok(false) };
        let body = json!({ "id": id, "sha256": letter.raw_sha256, "source": letter.source });
        self.audit.append(Some(by), "dead-letter.drop", None, body, Timestamp::now())?;
        Ok(self.store.drop_dead_letter(id)?)
    }

    /// Runs one configured source until told to stop.
    pub(super) async fn run_source(self: Arc<Self>, name: String, stop: watch::Receiver<bool>) {
        let Some(settings) = self.settings.intake.sources.get(&name).cloned() else { return };
        let links = Arc::clone(&self.links);
        let report = move |link: source::Link| live::report(&links, link.into());
        let pipeline = self.pipeline();
        let ended = match settings {
            SourceSettings::Follow { path, format } => {
                let follow = Follow::new(&name, path, format, pipeline);
                tokio::task::spawn_blocking(move || follow.run(stop, report)).await
            }
            SourceSettings::Directory { path, format } => {
                let directory = Directory::new(&name, path, format, pipeline);
                tokio::task::spawn_blocking(move || directory.run(stop, report)).await
            }
            SourceSettings::Opensearch(settings) => {
                let tail = Tail::new(&name, settings, pipeline, Arc::clone(&self.secrets));
                tail.run(stop, report).await;
                Ok(())
            }
        };
        if let Err(e) = ended {
            tracing::error!(source = %name, error = %e, "a source ended by itself");
        }
    }
}

impl From<source::Link> for Link {
    fn from(l: source::Link) -> Self {
        let state = match l.state {
            source::LinkState::Starting => LinkState::Starting,
            source::LinkState::Live => LinkState::Live,
            source::LinkState::Retrying => LinkState::Retrying,
            source::LinkState::Stopped => LinkState::Stopped,
        };
        Self {
            name: l.name,
            kind: l.kind,
            state,
            detail: l.detail,
            last_good: l.last_good,
            next_try: l.next_try,
            accepted: l.accepted,
        }
    }
}
