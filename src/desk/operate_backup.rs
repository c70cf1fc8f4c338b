//! Backups: the reading of all sources, what people hold, and what could be pruned.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;

use super::Desk;
use super::DeskError;
use super::Result;
use super::live::stopped_within;
use crate::model::backup::AssetStatus;
use crate::model::backup::Backup;
use crate::model::health::SourceState;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::model::ids::PersonId;
use crate::operate::backup::Config;
use crate::operate::backup::Read;
use crate::operate::backup::Schedule;
use crate::operate::backup::Source;
use crate::operate::backup::config;
use crate::operate::backup::config::OpensearchSource;
use crate::operate::backup::config::SourceConfig;
use crate::operate::backup::history;
use crate::operate::backup::objective;
use crate::operate::backup::prune;
use crate::operate::backup::source;
use crate::operate::backup::source::velero::outages;
use crate::operate::cluster;
use crate::text::Untrusted;
use crate::text::clean;

pub use crate::operate::backup::prune::Plan;

/// Assets, worst first, and the sources they were read from.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Backups {
    pub assets: Vec<AssetStatus>,
    pub sources: Vec<SourceState>,
}

pub use crate::operate::backup::schedule::span;

/// Whether an asset meets its objectives: a miss fails, what is not known is unknown.
pub fn verdict(status: &AssetStatus) -> Tri {
    objective::verdict(status)
}

impl Desk {
    /// Reads every source now. `Usage` without a `backups.toml` or with a faulty one.
    pub async fn backups(&self) -> Result<Backups> {
        let config = self.backup_config()?;
        Ok(self.read_backups(&config).await?.0)
    }

    /// What could be removed of each asset. Nothing is.
    pub async fn backup_prune_plan(&self) -> Result<Vec<Plan>> {
        let config = self.backup_config()?;
        let (backups, _) = self.read_backups(&config).await?;
        let now = self.now();
        let one = |s: &AssetStatus| config.asset(&s.asset.name).map(|a| prune::plan(a, s, now));
        let mut plans: Vec<Plan> = backups.assets.iter().filter_map(one).collect();
        prune::agree(&mut plans);
        Ok(plans)
    }

    /// Keeps a backup whatever its age, or (without a reason) no longer. Recorded first.
    pub fn hold_backup(&self, by: &PersonId, source: &str, id: &str, reason: Option<&str>) -> Result<Backup> {
        let person = self.authorise(by)?;
        let reason = reason.map(str::trim);
        if reason == Some("") {
            return Err(DeskError::Usage("a hold needs a reason".into()));
        }
        let store = self.store.as_ref();
        let known = history::remembered(store)?.into_iter().find(|(b, _)| b.source == source && b.id == id);
        let Some((backup, _)) = known else {
            return Err(DeskError::Usage(format!("{source}/{id} is no backup this desk has seen: see `backup list`")));
        };
        if reason.is_some() && !history::can_be_held(&backup) {
            return Err(DeskError::Refused(format!("{source}/{id} failed or is gone: there is nothing to hold")));
        }
        if reason.is_none() && backup.held.is_none() {
            return Err(DeskError::No(format!("{source}/{id} is not held")));
        }
        let now = Timestamp::now();
        let what = if reason.is_some() { "backup.hold" } else { "backup.release" };
        let body = json!({ "source": source, "backup": id, "reason": reason, "held": backup.held });
        self.audit.append(Some(&person.id), what, None, body, now)?;
        let held = reason.map(|r| format!("{r} ({})", person.id));
        let changed = history::change(store, source, id, now, |b| b.held = held)?;
        changed.ok_or_else(|| DeskError::Usage(format!("{source}/{id} is no longer remembered")))
    }

    /// `CLUSTER/NAMESPACE` of Velero, by the name of the source in `backups.toml`; none where that cannot be read.
    pub fn velero_places(&self) -> BTreeMap<String, String> {
        let sources = self.backup_config().map(|c| c.sources).unwrap_or_default();
        let place = |s: Source| match s.config {
            SourceConfig::Velero { cluster, namespace } => Some((s.name, format!("{cluster}/{namespace}"))),
            _ => None,
        };
        sources.into_iter().filter_map(place).collect()
    }

    pub(super) fn backup_config(&self) -> Result<Config> {
        let Some(path) = &self.settings.operate.backups else {
            return Err(DeskError::Usage(
                "no backups are described: copy assets/backups.sample.toml beside the settings file as backups.toml"
                    .into(),
            ));
        };
        config::read(path).map_err(|e| DeskError::Usage(e.to_string()))
    }

    async fn read_backups(&self, config: &Config) -> Result<(Backups, Vec<Backup>)> {
        let now = self.now();
        let mut reads = Vec::new();
        for source in &config.sources {
            reads.push((source.name.clone(), self.read_source(source, now).await));
        }
        let store = self.store.as_ref();
        let before = history::remembered(store)?;
        let old: Vec<Backup> = before.iter().map(|(b, _)| b.clone()).collect();
        let all: Vec<Backup> = reads.iter().flat_map(|(name, read)| history::merge(name, read, &old, now)).collect();
        if !self.read_only {
            history::remember(store, &all, &before, now)?;
        }
        let schedules: Vec<(String, Schedule)> =
            reads.iter().flat_map(|(n, r)| r.schedules.iter().map(move |s| (n.clone(), s.clone()))).collect();
        let sources: Vec<SourceState> = reads.into_iter().map(|(_, r)| r.state).collect();
        let known = objective::Known { backups: &all, schedules: &schedules, sources: &sources };
        let assets = objective::all(config, known, now);
        Ok((Backups { assets, sources }, all))
    }

    async fn read_source(&self, source: &Source, now: Timestamp) -> Read {
        if let Some(read) = self.demo_backups(source, now) {
            return read;
        }
        match &source.config {
            SourceConfig::Files(_) => read_files(source, now).await,
            SourceConfig::Velero { cluster, namespace } => self.read_velero(source, cluster, namespace, now).await,
            SourceConfig::Opensearch(o) => self.read_opensearch(source, o, now).await,
        }
    }

    async fn read_velero(&self, source: &Source, name: &str, namespace: &str, now: Timestamp) -> Read {
        let Some(settings) = self.settings.operate.kubernetes.get(name) else {
            return Read::none(source, SourceWord::Unreadable, format!("operate.kubernetes.{name} is not set"));
        };
        match cluster::connect(name, settings, cluster::As::Reader).await {
            Ok(client) => {
                let limit = cluster::timeout(settings);
                let mut outages = outages::known(self.store.as_ref(), &source.name).unwrap_or_default();
                let before = outages.seen.clone();
                let read = source::velero::fetch(&source.name, &client, namespace, limit, &mut outages.seen, now).await;
                if !self.read_only
                    && outages.seen != before
                    && let Err(e) = outages::keep(self.store.as_ref(), &source.name, &outages, now)
                {
                    tracing::warn!(error = %e, source = source.name, "an outage of its location is not kept");
                }
                read
            }
            Err(why) => Read::none(source, SourceWord::Lost, &why),
        }
    }

    async fn read_opensearch(&self, source: &Source, o: &OpensearchSource, now: Timestamp) -> Read {
        let password = match o.password.clone() {
            Some(reference) => {
                let secrets = Arc::clone(&self.secrets);
                let got = tokio::task::spawn_blocking(move || secrets(&reference)).await;
                match got.unwrap_or_else(|e| Err(e.to_string())) {
                    Ok(password) => Some(password),
                    Err(why) => return Read::none(source, SourceWord::Unreadable, &why),
                }
            }
            None => None,
        };
        let repository = source::opensearch::Repository {
            name: source.name.clone(),
            url: o.url.clone(),
            repository: o.repository.clone(),
            username: o.username.clone(),
            password,
            ca: o.ca.clone(),
            timeout: Duration::from_secs(o.timeout_seconds.max(1)),
        };
        let (mut read, policies) = source::opensearch::fetch(&repository, now).await;
        // A plugin that is not there is a fact about schedules, worth a word beside the snapshots.
        if policies.state != SourceWord::Live {
            let both =
                format!("{}; schedules: {}", clean(&read.state.detail).as_str(), clean(&policies.detail).as_str());
            read.state.detail = Untrusted::new(both);
        }
        read
    }
}

async fn read_files(source: &Source, now: Timestamp) -> Read {
    let own = source.clone();
    match tokio::task::spawn_blocking(move || source::read_files(&own, now)).await {
        Ok(Some(read)) => read,
        Ok(None) | Err(_) => Read::none(source, SourceWord::Lost, "its reader ended before its time"),
    }
}

/// Keeps the platform's reading of backups fresh.
pub(super) async fn keep_backups(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    let every = Duration::from_secs(desk.settings.operate.refresh_seconds.max(1));
    if desk.settings.operate.backups.is_none() {
        return;
    }
    loop {
        match desk.backups().await {
            Ok(read) => show(&desk, read),
            Err(e) => show(&desk, broken(&desk, &e)),
        }
        if stopped_within(&mut stop, every).await {
            return;
        }
    }
}

/// The file itself cannot be used: said as a source of its own; what was read before stays with its own time.
fn broken(desk: &Desk, e: &DeskError) -> Backups {
    let path = desk.settings.operate.backups.as_deref().unwrap_or(Path::new("backups.toml"));
    tracing::warn!(error = %e, "backups");
    let state = SourceState {
        name: path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
        kind: "backups".into(),
        state: SourceWord::Unreadable,
        detail: Untrusted::new(e.to_string()),
        last_good: None,
        next_try: None,
    };
    Backups { assets: Vec::new(), sources: vec![state] }
}

fn show(desk: &Desk, read: Backups) {
    const KINDS: [&str; 7] = ["velero", "opensearch", "pgbackrest", "restic", "pg_dump", "report", "backups"];
    desk.read_platform(|p| {
        p.assets = read.assets;
        // Several readers tell of their sources: only ours are replaced.
        p.sources.retain(|s| !KINDS.contains(&s.kind.as_str()));
        p.sources.extend(read.sources);
    });
}
