//! Removing backups: what a plan removes becomes requests that other people approve. What must stay (the last good one of
//! an asset, what is held) goes by no request, whoever made it: it is asked when it is proposed, and again when it is
//! started.

use std::collections::BTreeMap;
use std::collections::HashSet;

use super::Desk;
use super::DeskError;
use super::Result;
use super::operate_backup::Verify;
use crate::model::action::ActionDef;
use crate::model::action::Draft;
use crate::model::action::Request;
use crate::model::action::Suggested;
use crate::model::backup::AssetStatus;
use crate::model::backup::Backup;
use crate::model::health::SourceWord;
use crate::model::ids::PersonId;
use crate::operate::backup::Config;
use crate::operate::backup::Source;
use crate::operate::backup::prune;
use crate::operate::backup::prune::Plan;
use crate::operate::backup::prune::Step;
use crate::text::Untrusted;

/// What became of a plan.
#[derive(Debug, serde::Serialize)]
pub struct Pruning {
    pub plans: Vec<Plan>,
    pub requests: Vec<Request>,
    /// What may go and is not proposed, and why.
    pub left: Vec<String>,
}

impl Desk {
    /// What could be removed of each asset. Nothing is.
    pub async fn backup_prune_plan(&self) -> Result<Vec<Plan>> {
        self.prune_plans(&self.backup_config()?).await
    }

    async fn prune_plans(&self, config: &Config) -> Result<Vec<Plan>> {
        let (backups, _) = self.read_backups(config, Verify::WhenDue).await?;
        let now = self.now();
        let one = |s: &AssetStatus| config.asset(&s.asset.name).map(|a| prune::plan(a, s, now));
        let mut plans: Vec<Plan> = backups.assets.iter().filter_map(one).collect();
        prune::agree(&mut plans);
        Ok(plans)
    }

    /// Proposes to remove what the plan removes, through the action each source names. What cannot be proposed is told.
    pub async fn propose_prune(&self, by: &PersonId, reason: &str) -> Result<Pruning> {
        self.authorise(by)?;
        let config = self.backup_config()?;
        let plans = self.prune_plans(&config).await?;
        let catalogue = self.catalogue();
        let mut out = Pruning { plans, requests: Vec::new(), left: Vec::new() };
        for source in &config.sources {
            let steps = removed(&out.plans, source);
            if steps.is_empty() {
                continue;
            }
            let Some(name) = &source.prune else {
                out.left.push(format!("{}: it names no action that removes its backups (prune)", source.name));
                continue;
            };
            let Some(def) = catalogue.iter().find(|d| d.name == *name) else {
                out.left.push(format!("{}: the catalogue has no action {name}", source.name));
                continue;
            };
            for some in steps.chunks(def.targets.max.max(1)) {
                match self.propose(by, draft(source, def, some, reason)).await {
                    Ok(request) => out.requests.push(request),
                    Err(DeskError::Refused(why) | DeskError::Usage(why) | DeskError::No(why)) => {
                        out.left.push(format!("{}: {why}", source.name));
                    }
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(out)
    }

    /// Refuses what would take a backup that must stay. `None` of the request: it is only proposed.
    pub(super) async fn may_remove(&self, action: &str, targets: &[String], request: Option<&Request>) -> Result<()> {
        let catalogue = self.catalogue();
        let Some(def) = catalogue.iter().find(|d| d.name == action) else { return Ok(()) };
        let config = match self.backup_config() {
            Ok(config) => config,
            Err(_) if !def.executor.removes_backups() => return Ok(()),
            Err(e) => return Err(refused(action, &format!("what must stay cannot be told: {e}"))),
        };
        let sources: Vec<&Source> = config.sources.iter().filter(|s| s.prune.as_deref() == Some(action)).collect();
        if sources.is_empty() && !def.executor.removes_backups() {
            return Ok(());
        }
        if sources.is_empty() {
            return Err(refused(
                action,
                "no source in backups.toml names it under prune, so what must stay is not known",
            ));
        }
        if let Some(request) = request
            && request.approvals.iter().all(|a| a.by == request.body.requester)
        {
            return Err(refused(action, "nobody besides the requester approved it, and it cannot be taken back"));
        }
        let (read, all) = self.read_backups(&config, Verify::WhenDue).await?;
        let mut going = HashSet::new();
        for target in targets {
            let source = find(target, &sources, &all).map_err(|why| refused(action, &why))?;
            match read.sources.iter().find(|s| s.name == source.0) {
                Some(state) if state.state == SourceWord::Live => {}
                _ => {
                    return Err(refused(
                        action,
                        &format!("{} cannot be read, so what must stay is not known", source.0),
                    ));
                }
            }
            going.insert(source);
        }
        let goes = |b: &Backup| going.contains(&(b.source.clone(), b.id.clone()));
        match prune::forbids(&read.assets, goes, self.now()).as_slice() {
            [] => Ok(()),
            why => Err(refused(action, &why.join("; "))),
        }
    }
}

fn refused(action: &str, why: &str) -> DeskError {
    DeskError::Refused(format!("{action}: {why}"))
}

/// What goes of a source, each once, oldest first.
fn removed<'a>(plans: &'a [Plan], source: &Source) -> Vec<&'a Step> {
    let mut by_id: BTreeMap<&str, &Step> = BTreeMap::new();
    for plan in plans.iter().rev() {
        by_id.extend(plan.removed().filter(|s| s.source == source.name).map(|s| (s.id.as_str(), s)));
    }
    by_id.into_values().collect()
}

fn draft(source: &Source, def: &ActionDef, steps: &[&Step], reason: &str) -> Draft {
    let lines: Vec<String> = steps.iter().map(|s| format!("{}: {}", s.id, s.why)).collect();
    let mut text = format!("{reason}\n{}", lines.join("\n"));
    if text.len() > 4000 {
        let end = (0..=3990).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" ...");
    }
    Draft {
        action: def.name.clone(),
        targets: steps.iter().map(|s| source.target(&s.id)).collect(),
        params: BTreeMap::new(),
        alerts: Vec::new(),
        case: None,
        reason: Untrusted::new(text),
        suggested_by: Suggested::Person,
    }
}

/// Source and id of a backup by the name an action has for it.
fn find(target: &str, sources: &[&Source], all: &[Backup]) -> std::result::Result<(String, String), String> {
    let is =
        |b: &&Backup| b.gone_since.is_none() && sources.iter().any(|s| s.name == b.source && s.target(&b.id) == target);
    match all.iter().find(is) {
        Some(b) => Ok((b.source.clone(), b.id.clone())),
        None => Err(format!("{target} is no backup this desk has read: what it is good for is not known")),
    }
}
