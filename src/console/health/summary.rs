//! The platform in a few words: for the header, the tab line, and panes with nothing to show.

use super::super::state::{State, Tab};
use super::super::theme::Role;
use super::super::words::{Clock, Said, say};
use super::{percent, rollout, slo};
use crate::desk::Platform;
use crate::model::backup::{AssetStatus, Grade};
use crate::model::health::{SourceState, SourceWord, Tri};
use crate::model::rollout::{Rollout, RolloutPhase};
use crate::model::slo::{SloState, SloStatus};

/// Whether an objective lets one sleep.
fn slo_tri(x: &SloStatus) -> Tri {
    let alerts = x.alerts.iter().any(|a| a.state == Tri::Fail);
    match x.state {
        _ if alerts => Tri::Fail,
        SloState::Healthy | SloState::SlowDown | SloState::Quiet => Tri::Pass,
        SloState::Freeze | SloState::Emergency => Tri::Fail,
        SloState::Stale | SloState::Absent | SloState::Unknown => Tri::Unknown,
    }
}

fn rollout_tri(r: &Rollout) -> Tri {
    if (r.stuck.is_some() && !rollout::waits(r)) || r.phase == RolloutPhase::Degraded || r.aborted {
        return Tri::Fail;
    }
    let moving = matches!(r.phase, RolloutPhase::Progressing | RolloutPhase::Paused);
    let gates = rollout::gates(r).filter(|_| moving).unwrap_or(Tri::Pass);
    if r.phase == RolloutPhase::Unknown { gates.and(Tri::Unknown) } else { gates }
}

fn asset_tri(a: &AssetStatus) -> Tri {
    let grade = match a.grade {
        Grade::A | Grade::B | Grade::C => Tri::Pass,
        Grade::D | Grade::Unknown => Tri::Unknown,
        Grade::Bad => Tri::Fail,
    };
    a.rpo.and(grade)
}

fn worst(of: impl Iterator<Item = Tri>) -> Option<Tri> {
    of.reduce(Tri::and)
}

/// `!` something is wrong, `?` something is not known, nothing when all is known to be well.
pub fn badge(p: &Platform, tab: Tab) -> Option<(Said, Role)> {
    let worst = match tab {
        Tab::Slo => worst(p.slos.iter().map(|(_, x)| slo_tri(x)).chain(p.sla.iter().map(|m| m.met))),
        Tab::Rollouts => worst(p.rollouts.iter().map(rollout_tri)),
        Tab::Backups => worst(p.assets.iter().map(asset_tri)),
        _ => None,
    };
    match worst? {
        Tri::Fail => Some((say!("!"), Role::Bad)),
        Tri::Unknown => Some((say!("?"), Role::Warn)),
        Tri::Pass => None,
    }
}

/// For the header: budget, rollouts, backups, the worst of each. What is well has [`Role::Text`]. `short`: in the words
/// of the tabs, where the long ones do not all fit.
pub fn summary(p: &Platform, short: bool) -> Vec<(Said, Role)> {
    let mut out = Vec::new();
    let lowest = p.slos.iter().filter(|(_, x)| x.state.is_known()).filter_map(|(_, x)| Some((x.left?, x.state)));
    if let Some((left, state)) = lowest.min_by(|a, b| a.0.total_cmp(&b.0)) {
        let role = if state == SloState::Healthy { Role::Text } else { slo::state_role(state) };
        let share = percent(Some(left), 0);
        out.push((if short { say!("SLO ", share) } else { say!("budget ", share, " left") }, role));
    }
    out.extend(rollouts(p, if short { "roll" } else { "rollout" }));
    let backup = if short { "back" } else { "backup" };
    let late = p.assets.iter().filter(|a| a.rpo == Tri::Fail).count();
    out.extend(match worst(p.assets.iter().map(asset_tri)) {
        Some(Tri::Fail) if late > 0 => Some((say!(backup, " LATE"), Role::Bad)),
        Some(Tri::Fail) => Some((say!(backup, " BAD"), Role::Bad)),
        Some(Tri::Unknown) => Some((say!(backup, " unknown"), Role::Warn)),
        Some(Tri::Pass) => Some((say!("backups ok"), Role::Text)),
        None => None,
    });
    let blind = p.slos.iter().filter(|(_, x)| slo_tri(x) == Tri::Unknown).count();
    if blind > 0 {
        out.push((say!(blind, if blind == 1 { " SLO unknown" } else { " SLOs unknown" }), Role::Warn));
    }
    out
}

fn rollouts(p: &Platform, name: &'static str) -> Option<(Said, Role)> {
    let moving = |r: &&Rollout| matches!(r.phase, RolloutPhase::Progressing | RolloutPhase::Paused);
    match worst(p.rollouts.iter().map(rollout_tri))? {
        Tri::Fail => {
            // One that failed is worse than one that is held, whichever stands first.
            let failed = |r: &Rollout| r.aborted || r.phase == RolloutPhase::Degraded;
            Some((say!(name, if p.rollouts.iter().any(failed) { " FAILED" } else { " held" }), Role::Bad))
        }
        Tri::Unknown => Some((say!(name, " unknown"), Role::Warn)),
        Tri::Pass => {
            let r = p.rollouts.iter().find(moving)?;
            Some((r.set_weight.map_or_else(|| say!(name), |w| say!(name, " ", w, " %")), Role::Text))
        }
    }
}

// --- panes with nothing to show ----------------------------------------------------------------

/// The tab that is filled from sources of this kind. A kind in several words begins with the one that counts
/// (`kubernetes Pod`).
fn tab_of(kind: &str) -> Tab {
    match kind.split_whitespace().next().unwrap_or_default() {
        "prometheus" | "file" | "query_range" | "openmetrics" | "slo" | "desk" => Tab::Slo,
        "probe" | "agreement" | "sla" => Tab::Sla,
        "checklist" => Tab::Checklists,
        "kubernetes" | "argo" | "flagger" | "rollouts" => Tab::Rollouts,
        _ => Tab::Backups,
    }
}

/// The sources a tab reads from.
pub fn sources(p: &Platform, tab: Tab) -> Vec<&SourceState> {
    p.sources.iter().filter(|s| tab_of(&s.kind) == tab).collect()
}

fn broken(s: &SourceState) -> bool {
    matches!(s.state, SourceWord::Lost | SourceWord::Forbidden | SourceWord::Unreadable)
}

fn source_words(s: &SourceState) -> Said {
    let mut said = say!(Said::of(&s.name), " (", Said::of(&s.kind), ") is ", s.state.word(), ": ", s.detail);
    said.push(&match s.last_good {
        Some(t) => say!("; last good at ", Clock(t)),
        None => say!("; it has not worked yet"),
    });
    if let Some(t) = s.next_try {
        said.push(&say!("; next try at ", Clock(t)));
    }
    said
}

/// Above a list that is still shown: what of it can no longer be read.
pub fn trouble(p: &Platform, tab: Tab) -> Option<Said> {
    let bad: Vec<_> = sources(p, tab).into_iter().filter(|s| broken(s)).collect();
    let first = source_words(bad.first()?);
    Some(if bad.len() > 1 { say!(first, "; and ", bad.len() - 1, " more") } else { first })
}

/// What stands in a pane without a line: loading, broken, or what would fill it.
pub fn empty(s: &State, tab: Tab) -> Vec<(Said, Role)> {
    let all = sources(&s.platform, tab);
    let mut lines: Vec<(Said, Role)> = Vec::new();
    for source in all.iter().filter(|x| broken(x)) {
        lines.push((source_words(source), Role::Bad));
    }
    if !lines.is_empty() {
        lines.push((say!("what is on the other tabs still works"), Role::Dim));
        return lines;
    }
    if all.iter().any(|x| x.state == SourceWord::Starting) {
        for source in all.iter().filter(|x| x.state == SourceWord::Starting) {
            lines.push((say!("loading from ", Said::of(&source.name), " (", Said::of(&source.kind), ")"), Role::Dim));
        }
        return lines;
    }
    for source in all.iter().filter(|x| x.state == SourceWord::Absent) {
        lines.push((source_words(source), Role::Dim));
    }
    let words: [&'static str; 3] = match tab {
        Tab::Sla => [
            "no service is probed",
            "operate.sla in the settings names a TOML file of services and what was promised for them",
            "left out: sla.toml beside the settings file",
        ],
        Tab::Checklists => [
            "no checklist is being worked through",
            "they come with the program, and what the desk can see is ticked by itself",
            "",
        ],
        Tab::Rollouts => [
            "no rollouts",
            "operate.kubernetes.NAME in the settings names a cluster; its Deployments and Rollouts are then shown here",
            "operate.rollouts names the file of their gates; left out: rollouts.toml beside the settings file",
        ],
        Tab::Backups => [
            "nothing is named that must be recoverable",
            "operate.backups in the settings names a TOML file of assets and of where their backups are",
            "left out: backups.toml beside the settings file",
        ],
        _ => [
            "no objectives",
            "operate.slos in the settings names a folder of them (OpenSLO, Sloth, Pyrra or TOML)",
            "left out: slos beside the settings file; operate.prometheus.NAME names the server they are measured by",
        ],
    };
    lines.extend(words.into_iter().filter(|w| !w.is_empty()).map(|w| (say!(w), Role::Dim)));
    lines
}
