//! `bench triage`: how much a backend takes, measured with the alerts of the demo on a throwaway desk.

use std::sync::Arc;

use super::Cancel;
use super::Desk;
use super::DeskError;
use super::DeskOptions;
use super::Result;
use super::scenario::Scenario;
use crate::config::Loaded;
use crate::intake::Pipeline;
use crate::intake::format::Record;
use crate::intake::pipeline::Batch;
use crate::model::ids::AlertId;
use crate::store::Ingested;
use crate::store::Store;
use crate::triage;
use crate::triage::Question;
use crate::triage::TriageError;

pub use crate::triage::bench::BenchReport;
pub use crate::triage::bench::Load;

/// Asks a backend (`None`: that of the settings) for opinions on the demo's alerts. The real desk is not opened, nothing
/// is kept, and the pool's limit of requests per server is raised to what is asked for.
///
/// # Errors
/// When the backend is not configured or nobody answers at all. What ends badly during the run is in the report.
pub async fn triage(
    loaded: &Loaded,
    backend: Option<&str>,
    load: Load,
    progress: &dyn Fn(usize),
    cancel: &Cancel,
) -> Result<BenchReport> {
    let dir = tempfile::Builder::new().prefix("watchfloor-bench-").tempdir();
    let dir = dir.map_err(|e| DeskError::Unreachable(format!("no folder for a throwaway desk: {e}")))?;
    let mut here = loaded.clone();
    here.settings.intake.sources.clear();
    here.read_only = false;
    here.paths.data_dir = dir.path().to_owned();
    let settings = &mut here.settings.triage;
    if let Some(backend) = backend {
        backend.clone_into(&mut settings.backend);
    }
    let at_once = u32::try_from(load.at_once).unwrap_or(u32::MAX);
    settings.openai.concurrency = at_once;
    settings.openai.servers.values_mut().for_each(|s| s.concurrency = None);
    // The models of the real desk.
    settings.local.dir.get_or_insert_with(|| loaded.paths.data_dir.join("models"));

    let desk = Desk::open(DeskOptions::of(&here)?)?;
    let backends = desk.make_backends_of(&here.settings.triage)?;
    backends.load().await.map_err(|e| match e {
        TriageError::Configuration(m) => DeskError::Usage(m),
        other => DeskError::Unreachable(other.to_string()),
    })?;
    let questions = tokio::task::block_in_place(|| questions(&desk))?;
    Ok(triage::bench::run(&backends, &questions, load, progress, cancel).await)
}

/// One for each alert of the demo, with the neighbours it has there.
fn questions(desk: &Desk) -> Result<Vec<Question>> {
    desk.store.do_without_sync()?;
    let scenario = Scenario::bundled().map_err(|e| DeskError::Usage(format!("the bundled scenario: {e}")))?;
    let store: Arc<dyn Store> = desk.store.clone();
    let intake = &desk.settings.intake;
    let pipeline = Pipeline::new(store, intake.keys.clone(), Arc::clone(&desk.assets), intake.generic.clone());
    let mut maker = pipeline.maker(None)?;
    let mut batch = Batch::default();
    for (_, bytes) in scenario.due(0.0, f64::INFINITY) {
        maker.make(Record { offset: 0, line: None, bytes, error: None }, &"demo".into(), None, &mut batch);
    }
    let filed = desk.store.ingest(&batch.alerts, &[], None, desk.now())?;
    let new: Vec<AlertId> =
        filed.into_iter().filter_map(|i| if let Ingested::New(id) = i { Some(id) } else { None }).collect();
    new.into_iter().map(|id| desk.question(id)).collect()
}
