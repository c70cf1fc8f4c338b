//! The demo's platform: what its servers would answer at a moment. Only inputs are made here (samples, objects, reports
//! of backups, probes); what they mean is found out by the same code that judges real ones. A pure function of the
//! scenario's clock, the time, and the actions people of the demo have had carried out.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use crate::desk::DeskError;
use crate::desk::Result;
use crate::model::action::ReceiptState;
use crate::model::action::RequestState;
use crate::store::Store;

/// Where the clock is kept, for every process that has the demo open.
const CLOCK: &str = "demo.clock";
/// Requests looked at; a demo has a handful.
const REQUESTS: usize = 500;

/// The cluster all of it runs in, and the canary in it.
pub const CLUSTER: &str = "prod-eu";
pub const CANARY: &str = "prod-eu/soc/triage-api";

/// Scenario seconds at which something happens to the platform.
pub mod at {
    /// The canary got a quarter of the traffic.
    pub const CANARY: f64 = -15.0;
    /// Credential theft begins; alerts of a shape the canary cannot read come in.
    pub const ODD_ALERTS: f64 = 334.0;
    /// Lateral movement: more events than the intake takes.
    pub const FLOOD: f64 = 472.0;
    pub const FLOOD_ENDS: f64 = 1_180.0;
    /// The exporter of the search cluster is among what the intruder ends.
    pub const EVASION: f64 = 688.0;
    /// Backups are tampered with.
    pub const BACKUP: f64 = 752.0;
}

/// Which scenario second it is when. Before `real` one passes in a second, from then on `speed`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    pub second: f64,
    pub real: Timestamp,
    pub speed: f64,
}

impl Clock {
    pub fn new(second: f64, real: Timestamp, speed: f64) -> Self {
        let speed = if speed.is_finite() && speed > 0.0 { speed } else { 1.0 };
        Self { second, real, speed }
    }

    /// The scenario second at a moment.
    pub fn second(&self, at: Timestamp) -> f64 {
        let passed = at.duration_since(self.real).as_secs_f64();
        self.second + if passed > 0.0 { passed * self.speed } else { passed }
    }

    /// When a scenario second is, or was.
    pub fn real(&self, second: f64) -> Timestamp {
        let passed = second - self.second;
        let passed = if passed > 0.0 { passed / self.speed } else { passed };
        let passed = SignedDuration::from_millis((passed * 1000.0).round() as i64);
        self.real.checked_add(passed).unwrap_or(self.real)
    }

    /// Scenario seconds to a real one at a moment, in milliseconds.
    pub fn speed_at(&self, ms: i64) -> f64 {
        if ms > self.real.as_millisecond() { self.speed } else { 1.0 }
    }

    /// When the scenario began.
    pub fn start(&self) -> Timestamp {
        self.real(0.0)
    }
}

/// An action that was carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Deed {
    pub at: Timestamp,
    pub action: String,
    pub target: String,
    pub params: BTreeMap<String, String>,
}

impl Deed {
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct World {
    pub clock: Clock,
    /// By time.
    pub deeds: Vec<Deed>,
}

/// How far the canary is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Canary {
    /// Percent of the traffic.
    pub weight: u32,
    pub since: Timestamp,
    pub aborted: bool,
}

/// The weights of its stages.
pub const WEIGHTS: [u32; 4] = [5, 25, 50, 100];

impl World {
    /// What became of the canary up to `now`: promoted, aborted and retried as people had it.
    pub fn canary(&self, now: Timestamp) -> Canary {
        self.stages(now).pop().unwrap_or(Canary { weight: 25, since: now, aborted: false })
    }

    /// When the Service of the log intake was pointed elsewhere, and whether at green.
    pub fn switches(&self, now: Timestamp) -> Vec<(Timestamp, bool)> {
        let mine =
            |d: &&Deed| d.action == "rollout-switch-selector" && d.target.ends_with("/log-intake") && d.at <= now;
        let known = self.deeds.iter().filter(mine).filter_map(|d| Some((d.at, d.param("value")?)));
        known.filter(|(_, color)| ["blue", "green"].contains(color)).map(|(at, c)| (at, c == "green")).collect()
    }

    /// Every stage it was in since the demo began, oldest first.
    pub fn stages(&self, now: Timestamp) -> Vec<Canary> {
        let mut stages = vec![Canary { weight: 25, since: self.clock.real(at::CANARY), aborted: false }];
        for deed in self.deeds.iter().filter(|d| d.target == CANARY && d.at <= now) {
            let Some(last) = stages.last().copied() else { continue };
            let next = WEIGHTS.into_iter().find(|w| *w > last.weight);
            let (weight, aborted) = match deed.action.as_str() {
                "rollout-promote" if last.aborted => continue,
                "rollout-promote" if deed.param("full") == Some("yes") => (100, false),
                "rollout-promote" => (next.unwrap_or(100), false),
                "rollout-abort" | "rollout-undo" => (0, true),
                "rollout-retry" if last.aborted => (WEIGHTS[0], false),
                _ => continue,
            };
            stages.push(Canary { weight, since: deed.at, aborted });
        }
        stages
    }
}

impl World {
    /// The world of a demo's store; `None` while its clock was not set.
    pub fn read(store: &dyn Store) -> Option<Self> {
        let text = store.checkpoint(CLOCK).ok()??;
        let clock = serde_json::from_str(&text).ok()?;
        Some(Self { clock, deeds: deeds(store) })
    }
}

/// Sets the scenario's clock for every process.
pub fn set_clock(store: &dyn Store, clock: &Clock) -> Result<()> {
    let text = serde_json::to_string(clock).map_err(|e| DeskError::Usage(e.to_string()))?;
    Ok(store.set_checkpoint(CLOCK, &text)?)
}

fn deeds(store: &dyn Store) -> Vec<Deed> {
    let done = store.requests(&[RequestState::Done, RequestState::Failed], REQUESTS).unwrap_or_default();
    let mut deeds: Vec<Deed> = done
        .iter()
        .flat_map(|r| {
            let carried_out = r.receipts.iter().filter(|t| t.state == ReceiptState::Done);
            carried_out.map(|t| Deed {
                at: t.at,
                action: r.body.action.clone(),
                target: t.target.clone(),
                params: r.body.params.clone(),
            })
        })
        .collect();
    deeds.sort_by_key(|d| d.at);
    deeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_runs_at_its_speed_from_its_anchor_and_at_one_before() {
        let real: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let clock = Clock::new(60.0, real, 10.0);
        for second in [-3600.0, 0.0, 60.0, 700.0] {
            assert!((clock.second(clock.real(second)) - second).abs() < 0.02, "{second}");
        }
        assert_eq!(clock.real(160.0), real + SignedDuration::from_secs(10));
        assert_eq!(clock.start(), real - SignedDuration::from_secs(60));
    }

    #[test]
    fn the_canary_goes_where_people_sent_it() {
        let real: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let deed = |minute: i64, action: &str, target: &str| Deed {
            at: real + SignedDuration::from_mins(minute),
            action: action.into(),
            target: target.into(),
            params: BTreeMap::new(),
        };
        let deeds = vec![
            deed(1, "rollout-promote", "prod-eu/soc/other"),
            deed(2, "rollout-promote", CANARY),
            deed(3, "rollout-abort", CANARY),
            deed(4, "rollout-promote", CANARY),
            deed(5, "rollout-retry", CANARY),
        ];
        let world = World { clock: Clock::new(0.0, real, 1.0), deeds };
        let seen = |minute| world.canary(real + SignedDuration::from_mins(minute));
        assert_eq!((seen(0).weight, seen(1).weight, seen(2).weight), (25, 25, 50));
        assert!(seen(3).aborted && seen(4).aborted, "an aborted one is not promoted");
        assert_eq!((seen(5).weight, seen(5).aborted), (5, false));
    }
}
