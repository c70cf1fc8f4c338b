//! Alerts in: imports, dead letters, live sources.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;

use super::Desk;
use super::DeskError;
use super::Result;
use super::Summary;
use super::live;
use crate::config::settings::SourceSettings;
use crate::intake::Pipeline;
use crate::model::alert::DeadLetter;
use crate::model::ids::DeadLetterId;
use crate::model::ids::PersonId;
use crate::store::Store;

impl Desk {
    fn pipeline(&self, format: Option<&str>) -> Result<Pipeline> {
        let intake = &self.settings.intake;
        let store: Arc<dyn Store> = self.store.clone();
        Pipeline::new(store, intake.keys.clone(), Arc::clone(&self.assets), format, &intake.generic)
            .map_err(DeskError::Usage)
    }

    /// Reads files, folders, or standard input (`-`).
    pub fn import(&self, by: &PersonId, paths: &[PathBuf], format: Option<&str>) -> Result<Summary> {
        self.authorise(by)?;
        let pipeline = self.pipeline(format)?;
        crate::intake::import(&pipeline, paths).map_err(|e| DeskError::Unreachable(e.to_string()))
    }

    pub fn dead_letter(&self, id: DeadLetterId) -> Result<Option<(DeadLetter, Vec<u8>)>> {
        Ok(self.store.dead_letter(id)?)
    }

    /// Reads dead letters again; none named means all of them.
    pub fn retry_dead_letters(&self, by: &PersonId, ids: &[DeadLetterId], format: Option<&str>) -> Result<Summary> {
        self.authorise(by)?;
        let pipeline = self.pipeline(format)?;
        crate::intake::retry(&pipeline, ids).map_err(|e| DeskError::No(e.to_string()))
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
        let (kind, format) = match &settings {
            SourceSettings::Follow { format, .. } => ("follow", format.clone()),
            SourceSettings::Directory { format, .. } => ("directory", format.clone()),
            SourceSettings::Opensearch(o) => ("opensearch", o.format.clone()),
        };
        let pipeline = match self.pipeline(format.as_deref()) {
            Ok(pipeline) => pipeline,
            Err(e) => return live::report(&self.links, live::stopped_link(&name, kind, e.to_string())),
        };
        let links = Arc::clone(&self.links);
        let report = move |link: crate::intake::source::Link| live::report(&links, link.into());
        crate::intake::source::run(name, settings, pipeline, Arc::clone(&self.secrets), stop, report).await;
    }
}
