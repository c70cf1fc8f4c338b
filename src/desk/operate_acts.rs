//! Acts on rollouts as drafts of requests: what is meant ("promote it") becomes the actions of the catalogue that do it.
//! An object of a cluster takes one; two Deployments that are one rollout take what their shape needs.

use std::collections::BTreeMap;

use super::Desk;
use super::DeskError;
use super::Result;
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
        let draft = |a: Act| Draft {
            action: format!("rollout-{}", a.verb.word()),
            targets: vec![format!("{}/{}/{}", r.id.cluster, r.id.namespace, a.name)],
            params: a.params,
            alerts: Vec::new(),
            case: None,
            reason: reason.clone(),
            suggested_by: Suggested::Person,
        };
        Ok(acts.into_iter().map(draft).collect())
    }
}

#[derive(Debug, PartialEq)]
struct Act {
    verb: RolloutVerb,
    name: String,
    params: BTreeMap<String, String>,
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

fn pair_acts(
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
            let switch =
                || act(RolloutVerb::SwitchSelector, service, &[("key", label.clone()), ("value", other.1.clone())]);
            match (verb, switched) {
                (RolloutVerb::Promote, false) | (RolloutVerb::SwitchSelector, _) => Ok(vec![switch()]),
                (RolloutVerb::Promote, true) => Err(format!("{} serves already", active.0)),
                (RolloutVerb::Abort | RolloutVerb::Undo, true) => Ok(vec![switch()]),
                // The new side has no traffic yet: it goes away.
                (RolloutVerb::Abort, false) => Ok(vec![scale(&other.0, 0)]),
                (RolloutVerb::Scale, true) => Ok(vec![scale(&other.0, 0)]),
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
}
