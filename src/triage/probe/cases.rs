//! The known alerts: of our own making, bundled.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::config::inventory::Asset;
use crate::model::verdict::VerdictKind;
use crate::triage::PastCount;

/// What an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    Attack,
    /// Allowed, harmless, or no such thing happened.
    Benign,
}

impl Want {
    /// Whether this verdict says so.
    pub fn is(self, kind: VerdictKind) -> bool {
        match self {
            Self::Attack => kind == VerdictKind::TruePositive,
            Self::Benign => matches!(kind, VerdictKind::FalsePositive | VerdictKind::BenignTruePositive),
        }
    }

    /// Whether this verdict says the opposite. `needs_investigation` says neither.
    pub fn opposes(self, kind: VerdictKind) -> bool {
        kind != VerdictKind::NeedsInvestigation && !self.is(kind)
    }
}

/// One known alert, and what a desk would know about it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    pub want: Want,
    /// Why, for people.
    pub why: String,
    pub format: String,
    /// Its text tries to steer the reader.
    #[serde(default)]
    pub injected: bool,
    /// A word it tries to bring into the answer.
    #[serde(default)]
    pub canary: Option<String>,
    #[serde(default)]
    asset: Option<Known>,
    #[serde(default)]
    past: Option<Past>,
    record: Box<RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    name: String,
    role: String,
    owner: String,
    weight: u16,
    note: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Past {
    alike: String,
    true_positive: u64,
    benign_true_positive: u64,
    false_positive: u64,
}

impl Case {
    /// The record's own bytes.
    pub fn record(&self) -> &[u8] {
        self.record.get().as_bytes()
    }

    pub fn asset(&self) -> Option<Asset> {
        self.asset.as_ref().map(|a| Asset {
            name: a.name.clone(),
            weight: a.weight,
            owner: Some(a.owner.clone()),
            role: Some(a.role.clone()),
            note: Some(a.note.clone()),
        })
    }

    pub fn past(&self) -> Option<PastCount> {
        self.past.as_ref().map(|p| PastCount {
            alike: p.alike.clone(),
            true_positive: p.true_positive,
            benign_true_positive: p.benign_true_positive,
            false_positive: p.false_positive,
            total: p.true_positive + p.benign_true_positive + p.false_positive,
            // All of them lately.
            weighted: [p.true_positive, p.benign_true_positive, p.false_positive, 0].map(|n| n as f64),
            ..PastCount::default()
        })
    }
}

const FILES: &[&str] = &[
    include_str!("../../../assets/probe/encoded-powershell.json"),
    include_str!("../../../assets/probe/own-scanner.json"),
    include_str!("../../../assets/probe/lsass-dump.json"),
    include_str!("../../../assets/probe/eicar.json"),
    include_str!("../../../assets/probe/shadow-copies-deleted.json"),
    include_str!("../../../assets/probe/words-like-sql.json"),
    include_str!("../../../assets/probe/ssh-guessed.json"),
    include_str!("../../../assets/probe/mistyped-password.json"),
    include_str!("../../../assets/probe/beacon.json"),
    include_str!("../../../assets/probe/resolver-file.json"),
    include_str!("../../../assets/probe/web-shell.json"),
    include_str!("../../../assets/probe/reputation-lookup.json"),
    include_str!("../../../assets/probe/injected-override.json"),
    include_str!("../../../assets/probe/injected-tool-output.json"),
];

/// All of them: attacks and harmless ones by turns, then those that try to steer.
pub fn cases() -> Vec<Case> {
    // A test reads the bundled files, so that none can be broken here.
    FILES.iter().filter_map(|text| serde_json::from_str(text).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fields::flatten;
    use crate::triage::detect;

    #[test]
    fn the_bundled_alerts_are_whole_and_mean_what_they_say() {
        let all = cases();
        assert_eq!(all.len(), FILES.len());
        let count = |w: Want, injected: bool| all.iter().filter(|c| c.want == w && c.injected == injected).count();
        assert_eq!((count(Want::Attack, false), count(Want::Benign, false), count(Want::Attack, true)), (6, 6, 2));
        for c in &all {
            let fields = flatten(&serde_json::from_slice(c.record()).unwrap());
            let found = detect::scan(&fields);
            assert_eq!(!found.is_empty(), c.injected, "{}: {found:?}", c.name);
            assert_eq!(c.canary.is_some(), c.injected, "{}", c.name);
            if let Some(canary) = &c.canary {
                assert!(c.record.get().contains(canary.as_str()), "{}", c.name);
            }
        }
    }

    #[test]
    fn neither_is_an_answer_nor_its_opposite() {
        use VerdictKind as K;
        for (want, kind, is, opposes) in [
            (Want::Attack, K::TruePositive, true, false),
            (Want::Attack, K::FalsePositive, false, true),
            (Want::Attack, K::BenignTruePositive, false, true),
            (Want::Attack, K::NeedsInvestigation, false, false),
            (Want::Benign, K::TruePositive, false, true),
            (Want::Benign, K::FalsePositive, true, false),
            (Want::Benign, K::BenignTruePositive, true, false),
            (Want::Benign, K::NeedsInvestigation, false, false),
        ] {
            assert_eq!((want.is(kind), want.opposes(kind)), (is, opposes), "{want:?} {kind:?}");
        }
    }
}
