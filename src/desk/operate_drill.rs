//! Recovery drills at the desk: proposed of what `backups.toml` describes, settled when they ended: what they left
//! behind is removed, what they proved is kept with the backup, and their report is written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use super::Desk;
use super::DeskError;
use super::Result;
use super::live::stopped_within;
use crate::model::action::ActionDef;
use crate::model::action::Draft;
use crate::model::action::Executor;
use crate::model::action::Request;
use crate::model::action::RequestState;
use crate::model::action::SnapshotVerb;
use crate::model::action::Suggested;
use crate::model::action::VeleroVerb;
use crate::model::backup::AssetStatus;
use crate::model::backup::Backup;
use crate::model::health::Tri;
use crate::model::ids::PersonId;
use crate::model::query::Glob;
use crate::model::recovery::DrillReport;
use crate::operate::backup::Config;
use crate::operate::backup::config::OpensearchSource;
use crate::operate::backup::config::SourceConfig;
use crate::operate::backup::drill;
use crate::operate::backup::drill::DrillConfig;
use crate::operate::backup::drill::What;
use crate::operate::backup::drill::kept;
use crate::operate::backup::history;
use crate::operate::backup::objective::DRILL_STALE_DAYS;
use crate::respond;
use crate::store::Store;
use crate::text::Untrusted;

pub use crate::operate::backup::drill::report::markdown;
pub use crate::operate::backup::drill::report::summary;

/// How often ended drills are looked for.
const SETTLE: Duration = Duration::from_secs(10);
/// Ended requests that are looked at.
const LOOKED_AT: usize = 200;
/// What could not be removed by then is left to people.
const GIVEN_UP: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// One drill of `backups.toml` with what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DrillRow {
    pub name: String,
    pub asset: String,
    pub what: String,
    /// The newest that ended.
    pub last: Option<DrillReport>,
    /// When one must have worked again; `None`: none ever did.
    pub due: Option<Timestamp>,
    /// Pass: one worked within 35 days, and the newest did.
    pub state: Tri,
}

impl Desk {
    /// The drills that are described, each with its newest report.
    pub fn drills(&self) -> Result<Vec<DrillRow>> {
        let config = self.backup_config()?;
        let reports = self.drill_reports()?;
        let now = self.now();
        let row = |d: &DrillConfig| {
            let mut mine = reports.iter().filter(|r| r.drill == d.name);
            let last = mine.clone().next().cloned();
            let worked = mine.find(|r| r.outcome == Tri::Pass);
            let stale = jiff::SignedDuration::from_hours(24 * DRILL_STALE_DAYS);
            let due = worked.and_then(|r| r.ended.checked_add(stale).ok());
            let state = match (&last, due) {
                (Some(l), _) if l.outcome == Tri::Fail => Tri::Fail,
                (Some(l), Some(due)) if l.outcome == Tri::Pass && due > now => Tri::Pass,
                _ => Tri::Unknown,
            };
            let what = match &d.what {
                What::Namespace { from, into, .. } => format!("namespace {from} into {into}"),
                What::Indices { indices, .. } if indices.is_empty() => "the asset's indices".to_owned(),
                What::Indices { indices, .. } => indices.join(", "),
            };
            DrillRow { name: d.name.clone(), asset: d.asset.clone(), what, last, due, state }
        };
        Ok(config.drills.iter().map(row).collect())
    }

    /// Reports, newest first.
    pub fn drill_reports(&self) -> Result<Vec<DrillReport>> {
        Ok(kept::all(self.store.as_ref())?)
    }

    /// The report of a request, or the newest of a drill by its name.
    pub fn drill_report(&self, name: &str) -> Result<Option<DrillReport>> {
        let mut all = self.drill_reports()?.into_iter();
        Ok(all.find(|r| r.request.as_str() == name || r.drill == name))
    }

    /// Proposes a drill of the newest good backup. It runs once somebody else approved it.
    pub async fn propose_drill(&self, by: &PersonId, name: &str, reason: Untrusted) -> Result<Request> {
        self.authorise(by)?;
        let config = self.backup_config()?;
        let Some(described) = config.drills.iter().find(|d| d.name == name) else {
            let known: Vec<&str> = config.drills.iter().map(|d| d.name.as_str()).collect();
            let known = if known.is_empty() { "none is described".to_owned() } else { known.join(", ") };
            return Err(DeskError::Usage(format!("there is no drill {name:?} in backups.toml; there are: {known}")));
        };
        let backups = self.backups().await?;
        let status = backups.assets.iter().find(|a| a.asset.name == described.asset);
        let status = status.ok_or_else(|| DeskError::Usage(format!("there is no asset {}", described.asset)))?;
        let draft = self.drill_draft(&config, described, status, reason)?;
        self.propose(by, draft).await
    }

    fn drill_draft(
        &self,
        config: &Config,
        described: &DrillConfig,
        status: &AssetStatus,
        reason: Untrusted,
    ) -> Result<Draft> {
        let good = status.backups.iter().find(|g| g.grade.is_good() && g.backup.source == status.asset.source);
        let Some(good) = good else {
            let why = status.why.first().cloned().unwrap_or_default();
            return Err(DeskError::No(format!("{} has no good backup to drill: {why}", described.asset)));
        };
        let backup = &good.backup;
        let minutes = described.limit_seconds.div_ceil(60).clamp(1, 1440).to_string();
        let mut params = BTreeMap::from([("limit_minutes".to_owned(), minutes)]);
        params.insert("drill".into(), described.name.clone());
        let source = config.source(&status.asset.source).map(|s| &s.config);
        let (action, targets) = match (&described.what, source) {
            (What::Namespace { from, into, objects, probe }, Some(SourceConfig::Velero { cluster, namespace })) => {
                for (name, value) in [("from", from), ("into", into), ("objects", objects), ("probe", probe)] {
                    params.insert(name.into(), value.clone());
                }
                let def = self.drill_action(|e| matches!(e, Executor::Velero { verb: VeleroVerb::Drill, .. }));
                let def = def.ok_or_else(|| {
                    let why = "no action drills a cluster: give the cluster a write_kubeconfig in operate.kubernetes";
                    DeskError::Usage(why.into())
                })?;
                (def, vec![format!("{cluster}/{namespace}/{}", backup.id)])
            }
            (What::Indices { indices, documents }, Some(SourceConfig::Opensearch(o))) => {
                params.insert("snapshot".into(), backup.id.clone());
                params.insert("documents".into(), documents.to_string());
                let def = self.snapshot_drill(o)?;
                let targets = if indices.is_empty() { wanted(status, backup) } else { indices.clone() };
                (def, targets)
            }
            _ => return Err(DeskError::Usage(format!("{} cannot be drilled", described.asset))),
        };
        // What an action of the catalogue does not ask for is not told.
        params.retain(|name, _| action.params.iter().any(|p| p.name == *name));
        Ok(Draft {
            action: action.name,
            targets,
            params,
            alerts: Vec::new(),
            case: None,
            reason,
            suggested_by: Suggested::Person,
        })
    }

    fn drill_action(&self, is: impl Fn(&Executor) -> bool) -> Option<ActionDef> {
        self.responder.catalogue().iter().find(|d| is(&d.executor)).cloned()
    }

    /// The catalogue's drill of this very repository: only it says who may restore there.
    fn snapshot_drill(&self, o: &OpensearchSource) -> Result<ActionDef> {
        let mine = |e: &Executor| {
            matches!(e, Executor::OpensearchSnapshot { verb: SnapshotVerb::Drill, access }
                if access.url.trim_end_matches('/') == o.url && access.repository == o.repository)
        };
        self.drill_action(mine).ok_or_else(|| {
            DeskError::Usage(format!(
                "no action drills the repository {} of {}: add one to actions.toml with executor = {{ kind = \
                 \"opensearch_snapshot\", verb = \"drill\", ... }}, see assets/actions.sample.toml",
                o.repository, o.url
            ))
        })
    }

    /// Settles every drill that ended and is not settled: see the head of this file. Safe in several processes at once.
    pub async fn settle_drills(&self) -> Result<usize> {
        if self.read_only {
            return Ok(0);
        }
        let ended = self.store.requests(&[RequestState::Done, RequestState::Failed], LOOKED_AT)?;
        let catalogue = self.responder.catalogue();
        let mut settled = 0;
        for request in ended {
            let def = catalogue.iter().find(|d| d.name == request.body.action && respond::is_drill(d));
            let Some(def) = def else { continue };
            settled += usize::from(self.settle(&request, &def.executor).await?);
        }
        Ok(settled)
    }

    /// The same of one request that just ended; what cannot be settled now is settled later.
    pub(super) async fn settle_if_drill(&self, request: &Request) {
        let def = self.responder.catalogue().iter().find(|d| d.name == request.body.action).cloned();
        if let Some(def) = def.filter(respond::is_drill)
            && let Err(e) = self.settle(request, &def.executor).await
        {
            tracing::warn!(error = %e, request = %request.body.id, "a drill is not settled yet");
        }
    }

    async fn settle(&self, request: &Request, executor: &Executor) -> Result<bool> {
        let now = Timestamp::now();
        let store = self.store.as_ref();
        let before = kept::one(store, &request.body.id)?;
        let late = request.finished.is_none_or(|t| now.duration_since(t) > GIVEN_UP);
        let done = |r: &DrillReport| r.cleaned == Tri::Pass || late;
        if before.as_ref().is_some_and(|(r, _)| done(r)) {
            return Ok(false);
        }
        let mut steps = drill::steps(request);
        if drill::began(request) && drill::cleaned(&steps) != Tri::Pass {
            steps.push(self.responder.clean_up(request, now).await?);
        }
        // Without a description it cannot be told whose backup it was: what it left behind is removed all the same.
        let config = self.backup_config().unwrap_or_default();
        let of = drill::restored(request, executor, &config).unwrap_or_else(|| {
            let backup = request.body.params.get("snapshot").or(request.body.targets.first());
            ("?".to_owned(), backup.cloned().unwrap_or_default())
        });
        let known = self.remembered_backup(&of).await?;
        let start = known.as_ref().and_then(|b| b.start);
        let report = drill::report(request, steps, of, start, &config, now);
        // What it proved first: a report says that all is done.
        if known.is_some()
            && let Some(evidence) = drill::evidence(&report, drill::covered(request))
            && kept::prove(store, &report.source, &report.backup, &evidence, now)?.is_none()
        {
            return Ok(false);
        }
        let (told, rev) = before.map_or((None, 0), |(r, rev)| (Some(r), rev));
        if told.as_ref() == Some(&report) {
            return Ok(false);
        }
        Ok(kept::keep(store, &report, rev, now)?)
    }

    /// The backup as it is remembered; one that nobody read yet is read now.
    async fn remembered_backup(&self, of: &(String, String)) -> Result<Option<Backup>> {
        let find = || -> Result<Option<Backup>> {
            let all = history::remembered(self.store.as_ref())?;
            Ok(all.into_iter().map(|(b, _)| b).find(|b| b.source == of.0 && b.id == of.1))
        };
        match find()? {
            Some(found) => Ok(Some(found)),
            None if of.0 == "?" => Ok(None),
            None => {
                self.backups().await?;
                find()
            }
        }
    }
}

/// The indices of a backup that its asset wants.
fn wanted(status: &AssetStatus, backup: &Backup) -> Vec<String> {
    let covers = &status.asset.covers;
    let is = |name: &&str| covers.is_empty() || covers.iter().any(|w| Glob::new(w).is_match(name));
    let mut names: Vec<String> = backup.covers.iter().map(Untrusted::expose).filter(is).map(str::to_owned).collect();
    names.sort();
    names
}

/// Settles what other processes left behind, until it is time to stop.
pub(super) async fn drills(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    while !stopped_within(&mut stop, SETTLE).await {
        if let Err(e) = desk.settle_drills().await {
            tracing::warn!(error = %e, "drills are not settled");
        }
    }
}
