//! Recovery drills: which are described, what one that ended proves, and its report. Pure but for what is kept.

pub mod config;
pub mod kept;
pub mod report;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

use super::Config;
use super::config::SourceConfig;
use crate::model::action::Executor;
use crate::model::action::Receipt;
use crate::model::action::ReceiptState;
use crate::model::action::Request;
use crate::model::backup::Asset;
use crate::model::backup::Evidence;
use crate::model::backup::EvidenceKind;
use crate::model::health::Tri;
use crate::model::query::Glob;
use crate::model::recovery::CLEANUP;
use crate::model::recovery::DrillReport;
use crate::model::recovery::Step;
use crate::model::recovery::outcome;
use crate::model::recovery::recovery_seconds;
use crate::text::Untrusted;

pub use config::DrillConfig;
pub use config::What;

/// The steps of a drill that ended, from its receipts. Every target of it tells the same.
pub fn steps(request: &Request) -> Vec<Step> {
    let told = |r: &Receipt| Step::all(r.detail.expose());
    request.receipts.iter().map(told).max_by_key(Vec::len).unwrap_or_default()
}

/// Whether it began at all: one that was refused at the last look made nothing.
pub fn began(request: &Request) -> bool {
    request.started.is_some() && request.receipts.iter().any(|r| r.state != ReceiptState::Skipped)
}

/// Whether what it made is gone.
pub fn cleaned(steps: &[Step]) -> Tri {
    steps.iter().rev().find(|s| s.name == CLEANUP).map_or(Tri::Unknown, |s| s.outcome)
}

/// The source and the backup it restored, by the sources of `backups.toml`.
pub fn restored(request: &Request, executor: &Executor, config: &Config) -> Option<(String, String)> {
    let body = &request.body;
    match executor {
        Executor::Velero { .. } => {
            let mut parts = body.targets.first()?.splitn(3, '/');
            let (cluster, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
            let is = |s: &SourceConfig| matches!(s, SourceConfig::Velero { cluster: c, namespace: n } if c == cluster && n == namespace);
            let source = config.sources.iter().find(|s| is(&s.config))?;
            Some((source.name.clone(), name.to_owned()))
        }
        Executor::OpensearchSnapshot { access, .. } => {
            let url = access.url.trim_end_matches('/');
            let is = |s: &SourceConfig| matches!(s, SourceConfig::Opensearch(o) if o.url == url && o.repository == access.repository);
            let source = config.sources.iter().find(|s| is(&s.config))?;
            Some((source.name.clone(), body.params.get("snapshot")?.clone()))
        }
        _ => None,
    }
}

/// What of the backup it restored, by name as in `Backup::covers`.
pub fn covered(request: &Request) -> Vec<String> {
    let body = &request.body;
    // Velero's target is the backup, OpenSearch's are the indices.
    body.params.get("from").map_or_else(|| body.targets.clone(), |from| vec![from.clone()])
}

/// Assets it speaks of: those of the source that want something it restored, or the one of the drill's own description.
fn assets<'a>(request: &Request, source: &str, config: &'a Config) -> Vec<&'a Asset> {
    let drill = request.body.params.get("drill").and_then(|d| config.drills.iter().find(|c| c.name == *d));
    let covered = covered(request);
    let wants =
        |a: &Asset| a.covers.is_empty() || a.covers.iter().any(|w| covered.iter().any(|c| Glob::new(w).is_match(c)));
    let theirs = config.assets.iter().filter(|a| a.asset.source == source || a.copies.iter().any(|c| c == source));
    theirs
        .map(|a| &a.asset)
        .filter(|a| match drill {
            Some(d) => a.name == d.asset,
            None => wants(a),
        })
        .collect()
}

/// The report of a drill that ended, whatever end. `steps`: those of its receipts, and the cleanup if it came later.
pub fn report(
    request: &Request,
    steps: Vec<Step>,
    of: (String, String),
    backup_start: Option<Timestamp>,
    config: &Config,
    now: Timestamp,
) -> DrillReport {
    let body = &request.body;
    let assets = assets(request, &of.0, config);
    let objective = assets.iter().map(|a| a.rto_seconds).min();
    let worked = outcome(&steps);
    let took = (worked == Tri::Pass).then(|| recovery_seconds(&steps));
    let within = match (worked, took, objective) {
        (Tri::Pass, Some(t), Some(goal)) => Tri::of(Some(t <= goal as f64)),
        (Tri::Fail, ..) => Tri::Fail,
        _ => Tri::Unknown,
    };
    DrillReport {
        request: body.id.clone(),
        drill: body.params.get("drill").cloned().unwrap_or_default(),
        assets: assets.iter().map(|a| a.name.clone()).collect(),
        source: of.0,
        backup: of.1,
        backup_start,
        asked_by: body.requester.clone(),
        approved_by: request.approvals.iter().map(|a| a.by.clone()).collect(),
        run_by: request.executor.clone(),
        reason: body.reason.clone(),
        started: request.started,
        ended: request.finished.unwrap_or(now),
        cleaned: if began(request) { cleaned(&steps) } else { Tri::Pass },
        steps,
        outcome: worked,
        recovery_seconds: took,
        objective_seconds: objective,
        within_objective: within,
        note: request.note.clone(),
    }
}

/// What it proves of the backup. A drill of which it is not known how it went proves nothing, either way.
pub fn evidence(report: &DrillReport, covered: Vec<String>) -> Option<Evidence> {
    let ok = match report.outcome {
        Tri::Pass => true,
        Tri::Fail => false,
        Tri::Unknown => return None,
    };
    let worst = report.steps.iter().find(|s| s.outcome == Tri::Fail && s.name != CLEANUP);
    let detail = match worst {
        Some(s) => format!("{}: {}", s.name, s.said.expose()),
        None => report.steps.iter().filter(|s| s.name != CLEANUP).map(Step::line).collect::<Vec<_>>().join("; "),
    };
    Some(Evidence {
        what: EvidenceKind::Drill,
        at: report.ended,
        ok,
        took_seconds: report.recovery_seconds,
        detail: Untrusted::new(detail),
        reference: Some(report.request.to_string()),
        covers: covered.into_iter().map(Untrusted::new).collect(),
    })
}
