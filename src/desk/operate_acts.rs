//! Acts on rollouts as drafts of requests: what is meant ("promote it") becomes the actions of the catalogue that do it.
//! An object of a cluster takes one; two Deployments that are one rollout take what their shape needs.

use std::collections::BTreeMap;

use super::Desk;
use super::DeskError;
use super::Result;
use super::operate_offer::OfferedAct;
use crate::model::action::Draft;
use crate::model::action::Suggested;
use crate::model::rollout::Rollout;
use crate::model::rollout::RolloutVerb;
use crate::operate::rollout::config::PairRules;
use crate::operate::rollout::config::Rules;
use crate::operate::rollout::look;
use crate::operate::rollout::look::Between;
use crate::operate::rollout::stage::StagePlan;
use crate::operate::rollout::stage::kept;
use crate::text::Untrusted;

impl Desk {
    /// The drafts that do this to a rollout, in the order they are to be done. Nothing is filed: a person proposes each.
    ///
    /// # Errors
    /// No, in words, where the rollout cannot be done this to.
    pub fn rollout_drafts(&self, r: &Rollout, verb: RolloutVerb, reason: &Untrusted) -> Result<Vec<Draft>> {
        let config = self.rollout_rules()?;
        let rules = config.of(&r.id);
        let acts = match rules.and_then(|rules| Some((rules, rules.pair.as_ref()?))) {
            Some((rules, pair)) => {
                let state = kept::read(self.store.as_ref(), &r.id)?.0;
                pair_acts(rules, pair, r, &look::between(r, state.as_ref()), verb).map_err(DeskError::No)?
            }
            None => vec![own_act(r, verb).map_err(DeskError::No)?],
        };
        Ok(acts.into_iter().map(|a| a.offered(r).draft(reason.clone())).collect())
    }
}

impl OfferedAct {
    /// `rollout-scale prod/shop/web replicas=5`.
    pub fn words(&self) -> String {
        let params: Vec<String> = self.params.iter().map(|(k, v)| format!("{k}={v}")).collect();
        format!("{} {} {}", self.action, self.target, params.join(" ")).trim().to_owned()
    }

    /// The request that asks for it.
    pub fn draft(&self, reason: Untrusted) -> Draft {
        Draft {
            action: self.action.clone(),
            targets: vec![self.target.clone()],
            params: self.params.clone(),
            alerts: Vec::new(),
            case: None,
            reason,
            suggested_by: Suggested::Person,
        }
    }
}

/// One change of one object of a rollout.
#[derive(Debug, PartialEq)]
pub(super) struct Act {
    verb: RolloutVerb,
    name: String,
    params: BTreeMap<String, String>,
}

impl Act {
    /// The action that makes it.
    pub(super) fn offered(self, r: &Rollout) -> OfferedAct {
        OfferedAct {
            action: format!("rollout-{}", self.verb.word()),
            target: format!("{}/{}/{}", r.id.cluster, r.id.namespace, self.name),
            params: self.params,
        }
    }
}

/// `web: replicas=5`; of a switch only the label it sets.
impl std::fmt::Display for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let get = |key: &str| self.params.get(key).map_or("", String::as_str);
        match self.verb {
            RolloutVerb::SwitchSelector => write!(f, "{}: {}={}", self.name, get("key"), get("value")),
            RolloutVerb::Scale => write!(f, "{}: replicas={}", self.name, get("replicas")),
            verb => write!(f, "{}: {}", self.name, verb.word()),
        }
    }
}

/// The objects a pair is made of.
pub(super) fn own_names(pair: &PairRules) -> Vec<&str> {
    match pair {
        PairRules::BlueGreen { service, blue, green, .. } => vec![service, &blue.0, &green.0],
        PairRules::ReplicaCanary { stable, canary } => vec![stable, canary],
    }
}

fn act(verb: RolloutVerb, name: &str, params: &[(&str, String)]) -> Act {
    let params = params.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    Act { verb, name: name.to_owned(), params }
}

fn scale(name: &str, replicas: u32) -> Act {
    act(RolloutVerb::Scale, name, &[("replicas", replicas.to_string())])
}

fn own_act(r: &Rollout, verb: RolloutVerb) -> std::result::Result<Act, String> {
    match verb {
        RolloutVerb::Scale | RolloutVerb::SwitchSelector => {
            Err(format!("{} needs its parameters: propose rollout-{}", verb.word(), verb.word()))
        }
        _ => Ok(act(verb, &r.id.name, &[])),
    }
}

/// What does this to a pair, in the order it is to be done.
pub(super) fn pair_acts(
    rules: &Rules,
    pair: &PairRules,
    r: &Rollout,
    b: &Between<'_>,
    verb: RolloutVerb,
) -> std::result::Result<Vec<Act>, String> {
    match pair {
        PairRules::BlueGreen { service, blue, green, label } => {
            let active_is_blue = match r.active.as_deref() {
                Some("blue") => true,
                Some("green") => false,
                _ => return Err("the Service points at neither side alone".into()),
            };
            let switched = b.switched.ok_or("which side is new is not known")?;
            let (active, other) = if active_is_blue { (blue, green) } else { (green, blue) };
            let (serves, waits) = if switched { (b.new, b.old) } else { (b.old, b.new) };
            let switch =
                || act(RolloutVerb::SwitchSelector, service, &[("key", label.clone()), ("value", other.1.clone())]);
            // Traffic is sent only to where something answers.
            let ready = || match waits {
                Some(v) if v.ready > 0 => Ok(()),
                _ => Err(format!("{} has no ready pods", other.0)),
            };
            let gone = waits.is_none_or(|v| v.desired == 0);
            match (verb, switched) {
                (RolloutVerb::Promote, true) => Err(format!("{} serves already", active.0)),
                (RolloutVerb::Abort, true) if !b.moving => Err("nothing is being rolled out; undo leads back".into()),
                // First the way back is made.
                (RolloutVerb::Abort | RolloutVerb::Undo, true) if gone => {
                    Ok(vec![scale(&other.0, serves.map_or(1, |v| v.desired.max(1))), switch()])
                }
                (RolloutVerb::Promote, false) | (RolloutVerb::Abort | RolloutVerb::Undo, true) => {
                    ready().map(|()| vec![switch()])
                }
                (RolloutVerb::SwitchSelector, _) => ready().map(|()| vec![switch()]),
                (RolloutVerb::Abort, false) | (RolloutVerb::Scale, true) if gone => {
                    Err(format!("{} has no pods", other.0))
                }
                // The new side has no traffic yet, or the old one no longer: it goes away.
                (RolloutVerb::Abort, false) | (RolloutVerb::Scale, true) => Ok(vec![scale(&other.0, 0)]),
                (RolloutVerb::Scale, false) => Err(format!("{} still serves", active.0)),
                (RolloutVerb::Undo, false) => Err(format!("{} serves still: an abort ends it", active.0)),
                _ => Err(format!("a blue-green pair cannot be done {} to", verb.word())),
            }
        }
        PairRules::ReplicaCanary { stable, canary } => {
            let size = |role: &str| r.revisions.iter().find(|v| v.role == role).map(|v| v.desired);
            let (s, c) = (size("stable").ok_or("the stable Deployment was not seen")?, size("canary").unwrap_or(0));
            match verb {
                RolloutVerb::Promote => {
                    let (s, c) = next_sizes(rules, r, s + c)?;
                    Ok(vec![scale(canary, c), scale(stable, s)])
                }
                // First the way back is made, then the canary goes.
                RolloutVerb::Abort | RolloutVerb::Undo if c > 0 => Ok(vec![scale(stable, s + c), scale(canary, 0)]),
                RolloutVerb::Abort | RolloutVerb::Undo => Err("the canary has no pods".into()),
                _ => Err(format!("a canary by replicas cannot be done {} to", verb.word())),
            }
        }
    }
}

/// Replicas of stable and canary at the next weight: the canary's share rounded up, so that it has some.
fn next_sizes(rules: &Rules, r: &Rollout, all: u32) -> std::result::Result<(u32, u32), String> {
    let Some(StagePlan::Canary { weights, .. }) = rules.plan(r) else { return Err("it has no stages".into()) };
    let now = r.set_weight.unwrap_or(0);
    let next = weights.into_iter().find(|w| *w > now).ok_or("it is at its last stage")?;
    let canary = all.saturating_mul(next).div_ceil(100).min(all);
    Ok((all - canary, canary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::rollout::look::testing;

    fn shown(acts: std::result::Result<Vec<Act>, String>) -> Vec<String> {
        let one = |a: Act| {
            let params: Vec<String> = a.params.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("{} {} {}", a.verb.word(), a.name, params.join(" ")).trim().to_owned()
        };
        acts.map_or_else(|e| vec![e], |acts| acts.into_iter().map(one).collect())
    }

    #[test]
    fn a_canary_by_replicas_grows_first_and_goes_back_first() {
        let (rules, mut r) = testing::replica_canary(19, 1);
        let pair = rules.pair.clone().unwrap();
        let mut acts = |s, c, verb| {
            r = testing::replica_canary(s, c).1;
            shown(pair_acts(&rules, &pair, &r, &look::between(&r, None), verb))
        };
        assert_eq!(
            acts(19, 1, RolloutVerb::Promote),
            ["scale web-canary replicas=5", "scale web replicas=15"],
            "from 5 to 25 %"
        );
        assert_eq!(acts(10, 10, RolloutVerb::Promote), ["scale web-canary replicas=20", "scale web replicas=0"]);
        assert_eq!(acts(15, 5, RolloutVerb::Abort), ["scale web replicas=20", "scale web-canary replicas=0"]);
        assert_eq!(acts(20, 0, RolloutVerb::Abort), ["the canary has no pods"]);
        assert_eq!(acts(0, 20, RolloutVerb::Promote), ["it is at its last stage"]);
    }

    #[test]
    fn a_blue_green_pair_is_switched_there_and_back() {
        for (active, new_is_green, verb, want) in [
            ("blue", true, RolloutVerb::Promote, "switch-selector web key=version value=green"),
            ("green", true, RolloutVerb::Promote, "web-green serves already"),
            ("green", true, RolloutVerb::Abort, "switch-selector web key=version value=blue"),
            ("blue", true, RolloutVerb::Abort, "scale web-green replicas=0"),
            ("green", true, RolloutVerb::Scale, "scale web-blue replicas=0"),
            ("green", false, RolloutVerb::Promote, "switch-selector web key=version value=blue"),
        ] {
            let (rules, r) = testing::blue_green(active, new_is_green);
            let pair = rules.pair.clone().unwrap();
            let acts = shown(pair_acts(&rules, &pair, &r, &look::between(&r, None), verb));
            assert_eq!(acts, [want], "{active} {verb:?}");
        }
    }

    #[test]
    fn traffic_goes_only_to_a_side_that_has_pods() {
        let with = |active: &str, verb, desired, ready| {
            let (rules, mut r) = testing::blue_green(active, true);
            let waits = r.revisions.iter_mut().find(|v| v.role == "preview").unwrap();
            (waits.desired, waits.ready) = (desired, ready);
            let pair = rules.pair.clone().unwrap();
            shown(pair_acts(&rules, &pair, &r, &look::between(&r, None), verb))
        };
        assert_eq!(with("blue", RolloutVerb::Promote, 5, 0), ["web-green has no ready pods"]);
        assert_eq!(with("green", RolloutVerb::Abort, 5, 0), ["web-blue has no ready pods"], "they are coming");
        assert_eq!(with("green", RolloutVerb::Abort, 0, 0), ["nothing is being rolled out; undo leads back"]);
        assert_eq!(
            with("green", RolloutVerb::Undo, 0, 0),
            ["scale web-blue replicas=5", "switch-selector web key=version value=blue"],
            "the old side comes first"
        );
        assert_eq!(with("green", RolloutVerb::Scale, 0, 0), ["web-blue has no pods"]);
    }
}
