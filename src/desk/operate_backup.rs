//! Backups: the reading of all sources, what people hold, and what could be pruned.
//!
//! One process of a desk reads the sources in turn (the one that leads, see `live`), a command line when it is asked;
//! each leaves what it learnt in the store, and every process shows what is there, with its age.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use futures_util::StreamExt as _;
use jiff::SignedDuration;
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
use crate::operate::backup::history::Reading;
use crate::operate::backup::objective;
use crate::operate::backup::source;
use crate::operate::backup::source::opensearch::Fetched;
use crate::operate::backup::source::opensearch::Verified;
use crate::operate::backup::source::velero::outages;
use crate::operate::cluster;
use crate::text::Untrusted;
use crate::text::clean;

pub use crate::operate::backup::prune::Plan;
pub use crate::operate::backup::source::opensearch::Verify;

/// Between two looks at whether somebody read, or wrote the file.
const LOOK: Duration = Duration::from_secs(2);
/// Sources asked at the same time.
const PARALLEL: usize = 4;

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
        self.backups_with(Verify::WhenDue).await
    }

    /// The same; with `Verify::Now` every repository is written to and read back, whenever that was done last.
    pub async fn backups_with(&self, verify: Verify) -> Result<Backups> {
        let config = self.backup_config()?;
        Ok(self.read_backups(&config, verify).await?.0)
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

    /// URL and repository of OpenSearch, by the name of the source in `backups.toml`; none where that cannot be read.
    pub fn snapshot_places(&self) -> BTreeMap<String, (String, String)> {
        let sources = self.backup_config().map(|c| c.sources).unwrap_or_default();
        let place = |s: Source| match s.config {
            SourceConfig::Opensearch(o) => Some((s.name, (o.url, o.repository))),
            _ => None,
        };
        sources.into_iter().filter_map(place).collect()
    }

    pub(super) fn backup_config(&self) -> Result<Config> {
        let none = |place: &str| {
            DeskError::Usage(format!("no backups are described: copy assets/backups.sample.toml {place}"))
        };
        let Some(path) = &self.settings.operate.backups else {
            return Err(none("beside the settings file as backups.toml"));
        };
        if !path.exists() {
            return Err(none(&format!("to {}", path.display())));
        }
        config::read(path).map_err(|e| DeskError::Usage(e.to_string()))
    }

    /// Every source is asked, a few at a time.
    pub(super) async fn read_backups(&self, config: &Config, verify: Verify) -> Result<(Backups, Vec<Backup>)> {
        let now = self.now();
        let store = self.store.as_ref();
        let last = history::readings(store)?;
        // Before anything is asked: of a backup that another process finds meanwhile this reading says nothing, least of
        // all that it is gone.
        let known = history::keys(store)?;
        let verify = if self.read_only { Verify::Never } else { verify };
        let mut asked = Vec::new();
        for source in &config.sources {
            let verified = last.get(&source.name).and_then(|(r, _)| r.verified.as_ref());
            asked.push(self.read_source(source, verified, verify, now));
        }
        let told: Vec<Told> = futures_util::stream::iter(asked).buffered(PARALLEL).collect().await;
        let reads: Vec<(&Source, Told)> = config.sources.iter().zip(told).collect();
        let before = history::remembered(store)?;
        let was_there = |b: &Backup| known.contains(&history::key(&b.source, &b.id));
        let told_of = |b: &Backup| {
            let mine = reads.iter().filter(|(source, _)| source.name == b.source);
            mine.flat_map(|(_, told)| &told.read.backups).any(|r| r.id == b.id)
        };
        let old: Vec<Backup> = before.iter().map(|(b, _)| b).filter(|b| was_there(b) || told_of(b)).cloned().collect();
        let all: Vec<Backup> =
            reads.iter().flat_map(|(source, told)| history::merge(&source.name, &told.read, &old, now)).collect();
        if !self.read_only {
            history::remember(store, &all, &before, now)?;
            for (source, told) in &reads {
                let rev = last.get(&source.name).map_or(0, |(_, rev)| *rev);
                let (state, schedules) = (told.read.state.clone(), told.read.schedules.clone());
                let reading = Reading { at: Timestamp::now(), state, schedules, verified: told.verified.clone() };
                history::keep_reading(store, &source.name, &reading, rev, now)?;
            }
        }
        let reads = reads.into_iter().map(|(source, told)| (source.name.clone(), told.read)).collect();
        Ok((stand(config, reads, &all, now), all))
    }

    /// The assets as the store knows them; asks no source.
    pub(super) fn remembered_backups(&self) -> Result<Backups> {
        let config = self.backup_config()?;
        let readings = history::readings(self.store.as_ref())?;
        self.recalled_backups(&config, &readings)
    }

    /// What is in the store, whoever read it; what was not read lately is marked so and proves nothing. How long ago that
    /// was goes by the real clock, also where the desk's own is that of an exercise.
    fn recalled_backups(&self, config: &Config, readings: &Readings) -> Result<Backups> {
        let now = self.now();
        let all: Vec<Backup> = history::remembered(self.store.as_ref())?.into_iter().map(|(b, _)| b).collect();
        let fresh = SignedDuration::from_secs(
            i64::try_from(self.settings.operate.refresh_seconds.saturating_mul(3)).unwrap_or(i64::MAX).max(180),
        );
        let recall = |s: &Source| {
            let reading = readings.get(&s.name).map(|(r, _)| r);
            (s.name.clone(), history::recall(&s.name, s.config.kind(), reading, &all, fresh, Timestamp::now()))
        };
        let reads: Vec<(String, Read)> = config.sources.iter().map(recall).collect();
        let known: Vec<Backup> = reads.iter().flat_map(|(_, r)| r.backups.clone()).collect();
        Ok(stand(config, reads, &known, now))
    }

    async fn read_source(&self, source: &Source, last: Option<&Verified>, verify: Verify, now: Timestamp) -> Told {
        if let Some(read) = self.demo_backups(source, now) {
            return Told { read, verified: None };
        }
        let read = match &source.config {
            SourceConfig::Files(_) => read_files(source, now).await,
            SourceConfig::Velero { cluster, namespace } => self.read_velero(source, cluster, namespace, now).await,
            SourceConfig::Opensearch(o) => return self.read_opensearch(source, o, (last, verify), now).await,
        };
        Told { read, verified: None }
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

    async fn read_opensearch(
        &self,
        source: &Source,
        o: &OpensearchSource,
        (last, verify): (Option<&Verified>, Verify),
        now: Timestamp,
    ) -> Told {
        let unusable =
            |why: &str| Told { read: Read::none(source, SourceWord::Unreadable, why), verified: last.cloned() };
        let password = match o.password.clone() {
            Some(reference) => {
                let secrets = Arc::clone(&self.secrets);
                let got = tokio::task::spawn_blocking(move || secrets(&reference)).await;
                match got.unwrap_or_else(|e| Err(e.to_string())) {
                    Ok(password) => Some(password),
                    Err(why) => return unusable(&why),
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
        let Fetched { mut read, managed, verified } = source::opensearch::fetch(&repository, last, verify, now).await;
        // A plugin that is not there is a fact about schedules, worth a word beside the snapshots.
        if managed.state != SourceWord::Live {
            let both =
                format!("{}; schedules: {}", clean(&read.state.detail).as_str(), clean(&managed.detail).as_str());
            read.state.detail = Untrusted::new(both);
        }
        Told { read, verified }
    }
}

/// What one source told.
struct Told {
    read: Read,
    verified: Option<Verified>,
}

type Readings = HashMap<String, (Reading, u64)>;

/// How the assets stand by what was read.
fn stand(config: &Config, reads: Vec<(String, Read)>, all: &[Backup], now: Timestamp) -> Backups {
    let schedules: Vec<(String, Schedule)> =
        reads.iter().flat_map(|(n, r)| r.schedules.iter().map(move |s| (n.clone(), s.clone()))).collect();
    let sources: Vec<SourceState> = reads.into_iter().map(|(_, r)| r.state).collect();
    let known = objective::Known { backups: all, schedules: &schedules, sources: &sources };
    let assets = objective::all(config, known, now);
    Backups { assets, sources }
}

async fn read_files(source: &Source, now: Timestamp) -> Read {
    let own = source.clone();
    match tokio::task::spawn_blocking(move || source::read_files(&own, now)).await {
        Ok(Some(read)) => read,
        Ok(None) | Err(_) => Read::none(source, SourceWord::Lost, "its reader ended before its time"),
    }
}

/// Reads the sources in turn. Of one desk one process does this; what it learns it leaves in the store. Without a file
/// there is nothing to read yet: one that is written later is found.
pub(super) async fn keep_backups(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    let every = Duration::from_secs(desk.settings.operate.refresh_seconds.max(1));
    loop {
        let pause = match desk.backup_config() {
            Ok(config) => {
                if let Err(e) = desk.read_backups(&config, Verify::WhenDue).await {
                    tracing::warn!(error = %e, "backups");
                }
                every
            }
            // Those who show say so.
            Err(_) => LOOK,
        };
        if stopped_within(&mut stop, pause).await {
            return;
        }
    }
}

/// Shows what is in the store, in every process of a desk: at once when somebody has read, else in turn, for ages grow.
pub(super) async fn show_backups(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    let every = Duration::from_secs(desk.settings.operate.refresh_seconds.clamp(1, 30));
    let mut shown: Option<(Instant, Vec<(String, Timestamp)>)> = None;
    loop {
        let reader = Arc::clone(&desk);
        let last = shown.take();
        let looked = tokio::task::spawn_blocking(move || reader.look_at_backups(last, every)).await;
        match looked {
            Ok(next) => shown = next,
            Err(e) => tracing::warn!(error = %e, "backups"),
        }
        if stopped_within(&mut stop, LOOK).await {
            return;
        }
    }
}

impl Desk {
    /// `last`: when something was shown, and how old each source's reading was. Answers with the same of now.
    fn look_at_backups(
        &self,
        last: Option<(Instant, Vec<(String, Timestamp)>)>,
        every: Duration,
    ) -> Option<(Instant, Vec<(String, Timestamp)>)> {
        let path = self.settings.operate.backups.as_deref()?;
        if last.is_none() && !path.exists() {
            return None;
        }
        let read = self.backup_config().and_then(|config| {
            let readings = history::readings(self.store.as_ref())?;
            let mut times: Vec<(String, Timestamp)> = readings.iter().map(|(n, (r, _))| (n.clone(), r.at)).collect();
            times.sort();
            if last.as_ref().is_some_and(|(at, seen)| at.elapsed() < every && *seen == times) {
                return Ok(None);
            }
            Ok(Some((self.recalled_backups(&config, &readings)?, times)))
        });
        match read {
            Ok(None) => last,
            Ok(Some((read, times))) => {
                show(self, read);
                Some((Instant::now(), times))
            }
            Err(e) => {
                show(self, broken(self, &e));
                Some((Instant::now(), Vec::new()))
            }
        }
    }
}

/// The file or the store cannot be used: said as a source of its own. The assets stay as they were shown, but what held
/// then is not known now.
fn broken(desk: &Desk, e: &DeskError) -> Backups {
    let path = desk.settings.operate.backups.as_deref().unwrap_or(Path::new("backups.toml"));
    let why = e.to_string();
    let state = SourceState {
        name: path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
        kind: "backups".into(),
        state: SourceWord::Unreadable,
        detail: Untrusted::new(why.as_str()),
        last_good: None,
        next_try: None,
    };
    let mut assets = desk.platform().assets.clone();
    for a in &mut assets {
        (a.rpo, a.rto) = (a.rpo.and(Tri::Unknown), a.rto.and(Tri::Unknown));
        let said = format!("not known any more: {why}");
        if a.why.first() != Some(&said) {
            a.why.insert(0, said);
        }
    }
    Backups { assets, sources: vec![state] }
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

#[cfg(test)]
#[path = "operate_backup_tests.rs"]
mod tests;
