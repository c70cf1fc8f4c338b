//! What the desk can see of the platform, as facts by name. What was not read, is too old or does not exist is unknown.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::AssetStatus;
use crate::model::backup::Grade;
use crate::model::health::SourceState;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::model::rollout::Rollout;
use crate::model::rollout::RolloutPhase;
use crate::model::sla::SlaMonth;
use crate::model::slo::ChangeClass;
use crate::model::slo::GateAnswer;

/// Every fact there is.
pub const NAMES: [&str; 16] = [
    "audit.verifies",
    "backup.all_good",
    "backup.drilled",
    "dead_letters.none",
    "images.by_digest",
    "kill_switch.off",
    "model.up",
    "policy.present",
    "rollout.none_degraded",
    "roster.two_approvers",
    "sla.met",
    "slo.defined",
    "slo.gate.normal",
    "sources.live",
    "tls.configured",
    "zones.minimum",
];

/// A reading older than this says nothing about now.
const FRESH_SECONDS: i64 = 600;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    pub answer: Tri,
    /// In our words.
    pub evidence: String,
    pub at: Timestamp,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Facts(BTreeMap<String, Fact>);

impl Facts {
    pub fn set(&mut self, name: &str, answer: Tri, evidence: impl Into<String>, at: Timestamp) {
        self.0.insert(name.to_owned(), Fact { answer, evidence: evidence.into(), at });
    }

    pub fn answer(&self, name: &str) -> Tri {
        self.0.get(name).map_or(Tri::Unknown, |f| f.answer)
    }

    pub fn evidence(&self, name: &str) -> &str {
        self.0.get(name).map_or("not seen", |f| &f.evidence)
    }

    pub fn at(&self, name: &str) -> Option<Timestamp> {
        self.0.get(name).map(|f| f.at)
    }

    /// Takes from `other` what is unknown here and fresh there.
    pub fn fill(&mut self, other: &Self, now: Timestamp) {
        for (name, fact) in &other.0 {
            let fresh = now.duration_since(fact.at).as_secs() <= FRESH_SECONDS;
            if fresh && self.answer(name) == Tri::Unknown && fact.answer != Tri::Unknown {
                self.0.insert(name.clone(), fact.clone());
            }
        }
    }
}

/// What facts are made of. `None`: not known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen<'a> {
    /// Objectives, if they were read.
    pub slos: Option<usize>,
    pub gate: &'a [GateAnswer],
    pub rollouts: &'a [Rollout],
    pub assets: &'a [AssetStatus],
    pub sla: &'a [SlaMonth],
    pub sources: &'a [SourceState],
    /// Sources of alerts: how many live, of how many.
    pub links: Option<(usize, usize)>,
    pub audit_verifies: Option<bool>,
    pub kill_switch_off: Option<bool>,
    pub dead_letters: Option<u64>,
    pub approvers: Option<usize>,
    pub policy_present: Option<bool>,
    pub model_up: Option<bool>,
    /// Addresses outside this host that are reached without TLS, and with.
    pub tls: Option<(usize, usize)>,
}

impl Facts {
    pub fn of(seen: &Seen<'_>, now: Timestamp) -> Self {
        let mut out = Self::default();
        let mut put = |name: &str, (answer, evidence): (Tri, String)| out.set(name, answer, evidence, now);
        put(
            "audit.verifies",
            plain(seen.audit_verifies, "every record and the chain", "the audit log does not verify"),
        );
        put("kill_switch.off", plain(seen.kill_switch_off, "off", "the kill switch is on"));
        put("policy.present", plain(seen.policy_present, "a policy of this desk", "only the built-in policy"));
        put("model.up", plain(seen.model_up, "a model answers", "no model answers"));
        put("dead_letters.none", count(seen.dead_letters, |n| n == 0, "records that could not be read"));
        put("roster.two_approvers", count(seen.approvers.map(|n| n as u64), |n| n >= 2, "people who can approve"));
        put("slo.defined", count(seen.slos.map(|n| n as u64), |n| n > 0, "objectives"));
        put("tls.configured", tls(seen.tls));
        put("slo.gate.normal", gate(seen.gate));
        put("sla.met", sla(seen.sla));
        put("sources.live", sources(seen));
        put("backup.all_good", all(seen.assets, now, |a| a.at, backup));
        put("backup.drilled", all(seen.assets, now, |a| a.at, drilled));
        put("rollout.none_degraded", all(seen.rollouts, now, |r| r.seen, rolling));
        put("images.by_digest", all(seen.rollouts, now, |r| r.seen, digests));
        let zoned: Vec<&Rollout> = seen.rollouts.iter().filter(|r| r.zone_minimum.is_some()).collect();
        put("zones.minimum", all(&zoned, now, |r| r.seen, |r| zones(r)));
        out
    }
}

fn plain(known: Option<bool>, good: &str, bad: &str) -> (Tri, String) {
    let said = known.map_or("not known", |k| if k { good } else { bad });
    (Tri::of(known), said.to_owned())
}

fn count(n: Option<u64>, good: impl Fn(u64) -> bool, of: &str) -> (Tri, String) {
    (Tri::of(n.map(good)), n.map_or_else(|| format!("{of}: not known"), |n| format!("{n} {of}")))
}

fn tls(seen: Option<(usize, usize)>) -> (Tri, String) {
    match seen {
        Some((0, 0)) | None => (Tri::Unknown, "nothing outside this host is named in the settings".into()),
        Some((bare, with)) => (Tri::of(Some(bare == 0)), format!("{with} addresses with TLS, {bare} without")),
    }
}

fn gate(answers: &[GateAnswer]) -> (Tri, String) {
    match answers.iter().find(|g| g.class == ChangeClass::Normal) {
        None => (Tri::Unknown, "no gate was asked".into()),
        Some(g) => (g.answer, g.reasons.first().cloned().unwrap_or_else(|| "the budget lets it through".into())),
    }
}

fn sla(months: &[SlaMonth]) -> (Tri, String) {
    let Some(worst) = months.iter().map(|m| m.met).max() else {
        return (Tri::Unknown, "no service is probed".into());
    };
    let which: Vec<&str> = months.iter().filter(|m| m.met == worst).map(|m| m.service.as_str()).collect();
    (worst, format!("{}: {}", worst.word(), which.join(", ")))
}

fn sources(seen: &Seen<'_>) -> (Tri, String) {
    let (live, all) = seen.links.unwrap_or((0, 0));
    let good = |s: &&SourceState| matches!(s.state, SourceWord::Live | SourceWord::Absent);
    let starting = seen.sources.iter().filter(|s| s.state == SourceWord::Starting).count();
    let bad: Vec<&str> = seen.sources.iter().filter(|s| !good(s)).map(|s| s.name.as_str()).collect();
    let total = all + seen.sources.len();
    match () {
        () if total == 0 => (Tri::Unknown, "no source is known".into()),
        () if live == all && bad.is_empty() => (Tri::Pass, format!("all {total} live")),
        () if live == all && bad.len() == starting => (Tri::Unknown, format!("starting: {}", bad.join(", "))),
        () => (Tri::Fail, format!("{} of {} alert sources live; not live: {}", live, all, bad.join(", "))),
    }
}

/// The worst of several things, and which they are. None of them, or one seen too long ago, is unknown.
fn all<T>(
    things: &[T],
    now: Timestamp,
    at: impl Fn(&T) -> Timestamp,
    of: impl Fn(&T) -> (Tri, String),
) -> (Tri, String) {
    let fresh = |t: &T| now.duration_since(at(t)).as_secs() <= FRESH_SECONDS;
    let judged: Vec<(Tri, String)> = things
        .iter()
        .map(|t| {
            let (answer, name) = of(t);
            // What is too old can still have been bad; it cannot be good.
            (if fresh(t) { answer } else { answer.and(Tri::Unknown) }, name)
        })
        .collect();
    let Some(worst) = judged.iter().map(|j| j.0).max() else { return (Tri::Unknown, "none is known".into()) };
    if worst == Tri::Pass {
        return (worst, format!("all {}", judged.len()));
    }
    let mut which: Vec<&str> = judged.iter().filter(|j| j.0 == worst).map(|j| j.1.as_str()).collect();
    let more = which.len().saturating_sub(5);
    which.truncate(5);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (worst, format!("{}: {}{more}", worst.word(), which.join(", ")))
}

fn backup(a: &AssetStatus) -> (Tri, String) {
    let grade = match a.grade {
        Grade::Unknown => Tri::Unknown,
        g => Tri::of(Some(g.is_good())),
    };
    (grade.and(a.rpo), a.asset.name.clone())
}

fn drilled(a: &AssetStatus) -> (Tri, String) {
    let answer = match (a.drilled, a.grade) {
        (Some(_), _) => Tri::of(Some(!a.drill_stale)),
        (None, Grade::Unknown) => Tri::Unknown,
        (None, _) => Tri::Fail,
    };
    (answer, a.asset.name.clone())
}

fn rolling(r: &Rollout) -> (Tri, String) {
    let answer = match r.phase {
        RolloutPhase::Degraded => Tri::Fail,
        _ if r.stuck.is_some() => Tri::Fail,
        RolloutPhase::Unknown => Tri::Unknown,
        RolloutPhase::Healthy | RolloutPhase::Progressing | RolloutPhase::Paused => Tri::Pass,
    };
    (answer, r.id.to_string())
}

fn digests(r: &Rollout) -> (Tri, String) {
    let mut images = r.revisions.iter().filter(|v| v.desired > 0).flat_map(|v| &v.images).peekable();
    let known = images.peek().map(|_| ());
    // By digest in the reference itself: what a tag pointed at when it was pulled says nothing of the next pull.
    let good = images.all(|i| !i.floating && i.reference.expose().contains("@sha256:"));
    (Tri::of(known.map(|()| good)), r.id.to_string())
}

fn zones(r: &Rollout) -> (Tri, String) {
    let least = r.zones.iter().map(|z| z.ready).min();
    (Tri::of(least.zip(r.zone_minimum).map(|(ready, minimum)| ready >= minimum)), r.id.to_string())
}
