//! What can be done with a rollout now: the acts that fit, each with the patch it would send, and why others do not.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Desk;
use super::Platform;
use super::Result;
use super::operate_acts::own_names;
use super::operate_acts::pair_acts;
use crate::model::health::Tri;
use crate::model::rollout::Rollout;
use crate::model::rollout::RolloutKind;
use crate::model::rollout::RolloutPhase;
use crate::model::rollout::RolloutVerb;
use crate::operate::rollout::config::Config;
use crate::operate::rollout::config::PairRules;
use crate::operate::rollout::config::Rules;
use crate::operate::rollout::look;
use crate::operate::rollout::stage::StageState;
use crate::operate::rollout::stage::kept;
use crate::respond;

/// What can be done with a rollout to some end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    pub verb: RolloutVerb,
    /// All steps that are left at once.
    pub full: bool,
    /// The actions that do it, in this order: one, or for two Deployments as many as it takes. None where it does not fit.
    pub acts: Vec<OfferedAct>,
    /// The patch that would be sent (for a pair the changes in words; empty where it takes a parameter or a reading), or
    /// why it does not fit.
    pub patch: std::result::Result<String, String>,
}

/// An action of the catalogue with what it is to be done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OfferedAct {
    pub action: String,
    /// `CLUSTER/NAMESPACE/NAME`.
    pub target: String,
    pub params: BTreeMap<String, String>,
}

/// Two Deployments that are one rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PairOffers {
    /// `CLUSTER/NAMESPACE/NAME` of each object it is made of.
    pub members: Vec<String>,
    pub offers: Vec<Offer>,
}

impl Platform {
    /// Every act there is: what the stage machine advises first, then what fits, then the rest. While a gate fails the
    /// way back comes before the way on.
    pub fn offers(&self, r: &Rollout) -> Vec<Offer> {
        self.pairs.get(&r.id.to_string()).map_or_else(|| offers(r), |pair| pair.offers.clone())
    }
}

impl Desk {
    /// What can be done with those of these rollouts that `rollouts.toml` makes of two Deployments, by their name.
    pub(super) fn pair_offers(&self, config: &Config, all: &[Rollout]) -> Result<BTreeMap<String, PairOffers>> {
        let mut out = BTreeMap::new();
        for r in all {
            let Some((rules, pair)) = config.of(&r.id).and_then(|rules| Some((rules, rules.pair.as_ref()?))) else {
                continue;
            };
            let state = kept::read(self.store.as_ref(), &r.id)?.0;
            out.insert(r.id.to_string(), of_pair(rules, pair, r, state.as_ref()));
        }
        Ok(out)
    }
}

fn of_pair(rules: &Rules, pair: &PairRules, r: &Rollout, state: Option<&StageState>) -> PairOffers {
    let between = look::between(r, state);
    let acts = |verb| pair_acts(rules, pair, r, &between, verb);
    let advised = r.advice.as_ref().and_then(|a| a.verb).and_then(|verb| acts(verb).ok());
    let verbs: &[RolloutVerb] = match pair {
        PairRules::BlueGreen { .. } => &[
            RolloutVerb::Promote,
            RolloutVerb::Abort,
            RolloutVerb::Undo,
            RolloutVerb::Scale,
            RolloutVerb::SwitchSelector,
        ],
        PairRules::ReplicaCanary { .. } => &[RolloutVerb::Promote, RolloutVerb::Abort, RolloutVerb::Undo],
    };
    let mut all: Vec<(Offer, bool)> = Vec::new();
    for verb in verbs {
        let (acts, patch, first) = match acts(*verb) {
            Err(why) => (Vec::new(), Err(why), false),
            Ok(acts) => {
                let words: Vec<String> = acts.iter().map(ToString::to_string).collect();
                let first = advised.as_ref() == Some(&acts);
                (acts.into_iter().map(|a| a.offered(r)).collect(), Ok(words.join(", then ")), first)
            }
        };
        // Said once, under the first of its names.
        if patch.is_err() || all.iter().all(|(known, _)| known.acts != acts) {
            all.push((Offer { verb: *verb, full: false, acts, patch }, first));
        }
    }
    let failing = failing(r);
    all.sort_by_key(|(o, first)| (o.patch.is_err(), !first, if failing { rank_failing(o) } else { rank(o) }));
    let members = own_names(pair).into_iter().map(|n| format!("{}/{}/{n}", r.id.cluster, r.id.namespace)).collect();
    PairOffers { members, offers: all.into_iter().map(|(o, _)| o).collect() }
}

fn failing(r: &Rollout) -> bool {
    r.gates.iter().any(|g| g.answer == Tri::Fail)
}

fn offers(r: &Rollout) -> Vec<Offer> {
    let one = |verb: RolloutVerb, full: bool| {
        let word = (verb == RolloutVerb::Promote).then_some(if full { "yes" } else { "no" });
        let params: BTreeMap<_, _> = word.into_iter().map(|f| ("full".to_owned(), f.to_owned())).collect();
        let patch = fits(r, verb, &params);
        let act = OfferedAct { action: format!("rollout-{}", verb.word()), target: r.id.to_string(), params };
        Offer { verb, full, acts: vec![act], patch }
    };
    let verbs = RolloutVerb::ALL.into_iter().map(|verb| (verb, false)).chain([(RolloutVerb::Promote, true)]);
    let mut all: Vec<Offer> = verbs.map(|(verb, full)| one(verb, full)).collect();
    let failing = failing(r);
    let advised = r.advice.as_ref().and_then(|a| a.verb);
    all.sort_by_key(|o| (o.patch.is_err(), advised != Some(o.verb), if failing { rank_failing(o) } else { rank(o) }));
    all
}

/// On, then back, then the rest.
fn rank(o: &Offer) -> u8 {
    match (o.verb, o.full) {
        (RolloutVerb::Promote, false) => 0,
        (RolloutVerb::Abort, _) => 1,
        (RolloutVerb::Retry, _) => 2,
        (RolloutVerb::Pause, _) => 3,
        (RolloutVerb::Promote, true) => 4,
        (RolloutVerb::Undo, _) => 5,
        (RolloutVerb::Scale, _) => 6,
        (RolloutVerb::SwitchSelector, _) => 7,
    }
}

fn rank_failing(o: &Offer) -> u8 {
    match o.verb {
        RolloutVerb::Abort => 0,
        RolloutVerb::Pause => 1,
        RolloutVerb::Promote => 7,
        _ => 2 + rank(o) / 2,
    }
}

fn fits(r: &Rollout, verb: RolloutVerb, params: &BTreeMap<String, String>) -> std::result::Result<String, String> {
    match (verb, r.kind) {
        (_, RolloutKind::BlueGreen | RolloutKind::ReplicaCanary) => {
            Err("what it takes is not known: rollouts.toml, which makes it a pair, was not read yet".into())
        }
        (RolloutVerb::SwitchSelector, _) => Err("it is no pair behind a Service".into()),
        (RolloutVerb::Scale, RolloutKind::Argo | RolloutKind::Rolling) => Ok(String::new()),
        (RolloutVerb::Undo, RolloutKind::Argo | RolloutKind::Rolling) if r.revisions.len() > 1 => Ok(String::new()),
        (RolloutVerb::Undo, RolloutKind::Argo | RolloutKind::Rolling) => Err("no earlier revision is kept".into()),
        // A pause is for what moves; a quiet one would only be stopped from ever moving.
        (RolloutVerb::Pause, RolloutKind::Argo | RolloutKind::Rolling) if r.phase == RolloutPhase::Healthy => {
            Err("nothing is being rolled out".into())
        }
        (verb, _) => respond::offered(r, verb, params),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::rollout::look::testing;

    fn shown(rules: &Rules, r: &Rollout) -> Vec<String> {
        let pair = of_pair(rules, rules.pair.as_ref().unwrap(), r, None);
        let one = |o: Offer| format!("{}: {}", o.verb.word(), o.patch.unwrap_or_else(|why| format!("({why})")));
        pair.offers.into_iter().map(one).collect()
    }

    #[test]
    fn a_blue_green_pair_is_offered_its_switch_its_way_back_and_its_end() {
        let (rules, r) = testing::blue_green("blue", true);
        let offered = shown(&rules, &r);
        assert_eq!(offered[..2], ["promote: web: version=green", "abort: web-green: replicas=0"]);
        assert!(offered[2..].iter().all(|o| o.ends_with(')')), "a switch is the promotion, said once: {offered:?}");
        let (rules, r) = testing::blue_green("green", true);
        let offered = shown(&rules, &r);
        assert_eq!(offered[..2], ["abort: web: version=blue", "scale: web-blue: replicas=0"], "{offered:?}");
        assert!(offered[2..].contains(&"promote: (web-green serves already)".to_owned()), "{offered:?}");
        let pair = of_pair(&rules, rules.pair.as_ref().unwrap(), &r, None);
        assert_eq!(pair.members, ["prod/shop/web", "prod/shop/web-blue", "prod/shop/web-green"]);
        let act = &pair.offers[0].acts[0];
        assert_eq!((act.action.as_str(), act.target.as_str()), ("rollout-switch-selector", "prod/shop/web"));
        assert_eq!((act.params["key"].as_str(), act.params["value"].as_str()), ("version", "blue"));
    }

    #[test]
    fn a_canary_by_replicas_is_offered_in_two_acts_and_what_is_advised_first() {
        let (rules, mut r) = testing::replica_canary(19, 1);
        assert_eq!(
            shown(&rules, &r),
            [
                "promote: web-canary: replicas=5, then web: replicas=15",
                "abort: web: replicas=20, then web-canary: replicas=0"
            ]
        );
        r.advice = Some(crate::model::rollout::Advice {
            verb: Some(RolloutVerb::Abort),
            why: "error ratio".into(),
            due: None,
        });
        assert!(shown(&rules, &r)[0].starts_with("abort"));
        assert!(offers(&r).iter().all(|o| o.patch.is_err()), "without its rules nothing is guessed");
    }
}
