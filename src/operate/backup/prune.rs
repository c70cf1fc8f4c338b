//! What may go: a plan and nothing else. Never the last good one, nothing under hold, nothing whose removal leaves the
//! objective or the retention unmet; what is not known stays.

use jiff::Timestamp;
use serde::Serialize;

use super::config::AssetConfig;
use super::schedule::span;
use crate::model::backup::AssetStatus;
use crate::model::backup::Backup;
use crate::model::backup::BackupPhase;
use crate::model::backup::Grade;
use crate::model::backup::Graded;
use crate::model::health::Tri;

/// What becomes of one backup, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    pub id: String,
    pub source: String,
    pub grade: Grade,
    pub remove: bool,
    pub why: String,
}

/// One asset's plan; newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    pub asset: String,
    pub steps: Vec<Step>,
}

impl Plan {
    pub fn removed(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|s| s.remove)
    }
}

/// `now` decides ages. Backups that another asset needs are not known here: see [`agree`].
pub fn plan(config: &AssetConfig, status: &AssetStatus, now: Timestamp) -> Plan {
    let good: Vec<&Graded> = status.backups.iter().filter(|g| g.grade.is_good()).collect();
    let steps = status
        .backups
        .iter()
        .map(|g| {
            let kept = keep(g, &good, config, now);
            let age = g.backup.start.map_or(String::new(), |s| format!(", {} old", age(s, now)));
            Step {
                id: g.backup.id.clone(),
                source: g.backup.source.clone(),
                grade: g.grade,
                remove: kept.is_none(),
                why: kept
                    .unwrap_or_else(|| format!("{}{age}: past its retention, newer good ones stand", g.grade.word())),
            }
        })
        .collect();
    Plan { asset: config.asset.name.clone(), steps }
}

fn age(start: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(start).as_secs_f64().max(0.0))
}

/// Why it stays, if it does.
fn keep(g: &Graded, good: &[&Graded], config: &AssetConfig, now: Timestamp) -> Option<String> {
    let b = &g.backup;
    if let Some(held) = &b.held {
        return Some(format!("held: {held}"));
    }
    if b.gone_since.is_some() {
        return Some("its source no longer has it: there is nothing to remove".into());
    }
    if matches!(b.phase, BackupPhase::Running | BackupPhase::Deleting) || g.grade == Grade::Unknown {
        return Some("what is not known stays".into());
    }
    let Some(start) = b.start else { return Some("when it was begun is not known".into()) };
    if good.is_empty() {
        return Some("there is no good one: even a bad one may be all there is".into());
    }
    if let Some(place) = good.iter().position(|o| o.backup.id == b.id && o.backup.source == b.source) {
        if place == 0 {
            return Some("the last good one".into());
        }
        let at_least = config.keep_at_least.max(1) as usize;
        if place < at_least {
            return Some(format!("one of the {at_least} newest good ones"));
        }
    }
    let keep = config.keep_seconds.or(config.asset.rpo_seconds.checked_mul(2));
    let keep = keep.unwrap_or(u64::MAX).max(config.asset.rpo_seconds);
    let old = now.as_second() - start.as_second();
    if config.keep_seconds.is_none() && g.grade != Grade::Bad {
        return Some("no retention is set for this asset".into());
    }
    if u64::try_from(old).map_or(true, |old| old <= keep) {
        return Some(format!("within its retention of {}", span(keep as f64)));
    }
    // The newest good one must meet the objective by itself once this one is gone.
    let newest = good.first().and_then(|n| n.backup.start)?;
    if g.grade.is_good()
        && u64::try_from(now.as_second() - newest.as_second()).is_ok_and(|a| a > config.asset.rpo_seconds)
    {
        return Some("the objective is missed: nothing good goes before it is met again".into());
    }
    None
}

/// Why these may not go, all of them together, whoever asks: what is held, what is under way, the last good one of an
/// asset, one without which its objective is missed. Retention is no matter here: people may decide otherwise.
pub fn forbids(assets: &[AssetStatus], removed: impl Fn(&Backup) -> bool, now: Timestamp) -> Vec<String> {
    assets.iter().flat_map(|a| forbids_of(a, &removed, now)).collect()
}

fn forbids_of(status: &AssetStatus, removed: &impl Fn(&Backup) -> bool, now: Timestamp) -> Vec<String> {
    let asset = &status.asset.name;
    let there = || status.backups.iter().filter(|g| g.backup.gone_since.is_none());
    let mut why = Vec::new();
    for b in there().map(|g| &g.backup).filter(|b| removed(b)) {
        if let Some(held) = &b.held {
            why.push(format!("{} is held: {held}", b.id));
        }
        if matches!(b.phase, BackupPhase::Running | BackupPhase::Deleting) {
            why.push(format!("{} is still being taken or deleted", b.id));
        }
    }
    let (gone, left): (Vec<&Graded>, Vec<&Graded>) =
        there().filter(|g| g.grade.is_good()).partition(|g| removed(&g.backup));
    match (gone.first(), left.iter().filter_map(|g| g.backup.start).max()) {
        (None, None) if there().any(|g| removed(&g.backup)) => {
            why.push(format!("there is no good one of {asset}: even a bad one may be all there is"));
        }
        (None, _) => {}
        (Some(last), None) => why.push(format!("{} is the last good one of {asset}", last.backup.id)),
        (Some(newest), Some(next)) => {
            let age = u64::try_from(now.as_second() - next.as_second()).unwrap_or(0);
            if status.rpo != Tri::Pass {
                why.push(format!(
                    "{asset} misses its objective, or that is not known: nothing good goes before it is met"
                ));
            } else if age > status.asset.rpo_seconds {
                why.push(format!("without {} {asset} would miss its objective", newest.backup.id));
            }
        }
    }
    why
}

/// A backup that several assets share goes only if every one of them lets it go.
pub fn agree(plans: &mut [Plan]) {
    let kept: std::collections::HashMap<(String, String), String> = plans
        .iter()
        .flat_map(|p| p.steps.iter().filter(|s| !s.remove).map(|s| ((s.source.clone(), s.id.clone()), p.asset.clone())))
        .collect();
    for plan in plans {
        for step in plan.steps.iter_mut().filter(|s| s.remove) {
            if let Some(asset) = kept.get(&(step.source.clone(), step.id.clone())) {
                step.remove = false;
                step.why = format!("{asset} needs it");
            }
        }
    }
}
