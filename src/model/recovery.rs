//! Recovery drills: a backup restored aside, tried, and removed again, with the time each step took.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::health::Tri;
use super::ids::{PersonId, RequestId};
use crate::text::{Untrusted, clean};

/// The step that removes what a drill made. It is no part of the recovery.
pub const CLEANUP: &str = "cleanup";

/// One step, as it stands in a receipt: `restore ok 12.3 s 4 items, 0 errors`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// One word.
    pub name: String,
    pub outcome: Tri,
    pub seconds: f64,
    pub said: Untrusted,
}

impl Step {
    /// One line, whatever was said.
    pub fn line(&self) -> String {
        let word = match self.outcome {
            Tri::Pass => "ok",
            Tri::Fail => "failed",
            Tri::Unknown => "unknown",
        };
        format!("{} {word} {:.1} s {}", self.name, self.seconds, clean(&self.said).as_str())
    }

    /// The step of such a line.
    pub fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(5, ' ');
        let (name, word, seconds, unit) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let outcome = match word {
            "ok" => Tri::Pass,
            "failed" => Tri::Fail,
            "unknown" => Tri::Unknown,
            _ => return None,
        };
        let seconds: f64 = seconds.parse().ok().filter(|s: &f64| s.is_finite() && *s >= 0.0)?;
        let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase());
        (named && unit == "s").then(|| Self {
            name: name.into(),
            outcome,
            seconds,
            said: Untrusted::new(parts.next().unwrap_or_default()),
        })
    }

    /// Those of a receipt's detail; lines that are none are left out.
    pub fn all(detail: &str) -> Vec<Self> {
        detail.lines().filter_map(Self::parse).collect()
    }
}

/// What the steps say of the backup: every one but the cleanup must have worked. No step at all says nothing.
pub fn outcome(steps: &[Step]) -> Tri {
    let mut tried = steps.iter().filter(|s| s.name != CLEANUP).peekable();
    match tried.peek() {
        None => Tri::Unknown,
        Some(_) => tried.fold(Tri::Pass, |all, s| all.and(s.outcome)),
    }
}

/// Seconds until what was restored worked: all steps but the cleanup.
pub fn recovery_seconds(steps: &[Step]) -> f64 {
    steps.iter().filter(|s| s.name != CLEANUP).map(|s| s.seconds).sum()
}

/// One drill that came to its end, whatever end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillReport {
    pub request: RequestId,
    /// As named in `backups.toml`; empty: asked for by hand.
    pub drill: String,
    pub assets: Vec<String>,
    pub source: String,
    pub backup: String,
    pub backup_start: Option<Timestamp>,
    pub asked_by: PersonId,
    pub approved_by: Vec<PersonId>,
    pub run_by: Option<PersonId>,
    pub reason: Untrusted,
    pub started: Option<Timestamp>,
    pub ended: Timestamp,
    pub steps: Vec<Step>,
    /// Whether the backup could be restored and worked.
    pub outcome: Tri,
    pub recovery_seconds: Option<f64>,
    /// The shortest restore time any of the assets may take.
    pub objective_seconds: Option<u64>,
    pub within_objective: Tri,
    /// Whether what it made is gone again.
    pub cleaned: Tri,
    /// What became of it in words, when it did not come to its own end.
    pub note: Option<String>,
}

/// At least so many objects of a kind of Kubernetes must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub least: u64,
}

/// Kinds that can be counted: plural, group, version, kind.
const KINDS: [(&str, &str, &str, &str); 13] = [
    ("pods", "", "v1", "Pod"),
    ("services", "", "v1", "Service"),
    ("configmaps", "", "v1", "ConfigMap"),
    ("secrets", "", "v1", "Secret"),
    ("serviceaccounts", "", "v1", "ServiceAccount"),
    ("persistentvolumeclaims", "", "v1", "PersistentVolumeClaim"),
    ("deployments", "apps", "v1", "Deployment"),
    ("statefulsets", "apps", "v1", "StatefulSet"),
    ("daemonsets", "apps", "v1", "DaemonSet"),
    ("replicasets", "apps", "v1", "ReplicaSet"),
    ("jobs", "batch", "v1", "Job"),
    ("cronjobs", "batch", "v1", "CronJob"),
    ("ingresses", "networking.k8s.io", "v1", "Ingress"),
];

/// `configmaps>=2, deployments>=1`, or `configmaps=2`, which is the same: at least two.
pub fn counts(text: &str) -> Result<Vec<Count>, String> {
    let mut out = Vec::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let wrong = || format!("objects: expected counts such as \"configmaps>=2, deployments>=1\", found {part:?}");
        let (plural, least) = part.split_once(">=").or_else(|| part.split_once('=')).ok_or_else(wrong)?;
        let least: u64 = least.trim().parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?;
        let Some((plural, group, version, kind)) = KINDS.iter().find(|k| k.0 == plural.trim()).copied() else {
            let known = KINDS.map(|k| k.0).join(", ");
            return Err(format!("objects: {:?} cannot be counted; those that can: {known}", plural.trim()));
        };
        out.push(Count { group, version, kind, plural, least });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, outcome: Tri, seconds: f64) -> Step {
        Step { name: name.into(), outcome, seconds, said: "4 items, 0 errors".into() }
    }

    #[test]
    fn a_line_reads_back_and_holds_one_step_whatever_was_said() {
        for outcome in [Tri::Pass, Tri::Fail, Tri::Unknown] {
            let s = step("restore", outcome, 12.3);
            assert_eq!(Step::parse(&s.line()), Some(s));
        }
        let mut evil = step("restore", Tri::Fail, 1.0);
        evil.said = "no\ncleanup ok 0.1 s gone\u{1b}[2J".into();
        let all = Step::all(&evil.line());
        assert_eq!((all.len(), all[0].outcome), (1, Tri::Fail), "{all:?}");
        for bad in
            ["", "restore", "restore ok", "restore ok -1 s x", "restore ok NaN s x", "restore fine 1 s x", "A ok 1 s"]
        {
            assert_eq!(Step::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_cleanup_is_no_part_of_the_recovery() {
        let good = [step("restore", Tri::Pass, 10.0), step("probe", Tri::Pass, 2.0), step(CLEANUP, Tri::Fail, 99.0)];
        assert_eq!((outcome(&good), recovery_seconds(&good)), (Tri::Pass, 12.0));
        assert_eq!(outcome(&[step(CLEANUP, Tri::Pass, 1.0)]), Tri::Unknown, "nothing was tried");
        assert_eq!(outcome(&[step("restore", Tri::Pass, 1.0), step("probe", Tri::Unknown, 1.0)]), Tri::Unknown);
        assert_eq!(outcome(&[step("restore", Tri::Unknown, 1.0), step("probe", Tri::Fail, 1.0)]), Tri::Fail);
    }
}
