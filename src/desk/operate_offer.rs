//! What can be done with a rollout now: the acts that fit, each with the patch it would send, and why others do not.

use std::collections::BTreeMap;

use crate::model::health::Tri;
use crate::model::rollout::Rollout;
use crate::model::rollout::RolloutKind;
use crate::model::rollout::RolloutPhase;
use crate::model::rollout::RolloutVerb;
use crate::respond;

/// One act on a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub verb: RolloutVerb,
    /// All steps that are left at once.
    pub full: bool,
    /// `CLUSTER/NAMESPACE/NAME`.
    pub target: String,
    /// The patch that would be sent (empty where it takes a parameter or a reading), or why it does not fit.
    pub patch: Result<String, String>,
}

impl Offer {
    /// Its name in the catalogue.
    pub fn action(&self) -> String {
        format!("rollout-{}", self.verb.word())
    }

    pub fn params(&self) -> BTreeMap<String, String> {
        let full = (self.verb == RolloutVerb::Promote).then_some(if self.full { "yes" } else { "no" });
        full.into_iter().map(|f| ("full".to_owned(), f.to_owned())).collect()
    }
}

/// Every act there is: what the stage machine advises first, then what fits, then the rest. While a gate fails the way
/// back comes before the way on.
pub fn offers(r: &Rollout) -> Vec<Offer> {
    let one = |verb, full| {
        let mut offer = Offer { verb, full, target: r.id.to_string(), patch: Ok(String::new()) };
        offer.patch = fits(r, &offer);
        offer
    };
    let verbs = RolloutVerb::ALL.into_iter().map(|verb| (verb, false)).chain([(RolloutVerb::Promote, true)]);
    let mut all: Vec<Offer> = verbs.map(|(verb, full)| one(verb, full)).collect();
    let failing = r.gates.iter().any(|g| g.answer == Tri::Fail);
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

fn fits(r: &Rollout, offer: &Offer) -> Result<String, String> {
    match (offer.verb, r.kind) {
        // Which Service, only a person knows; the executor refuses what is none.
        (RolloutVerb::SwitchSelector, RolloutKind::BlueGreen) => Ok(String::new()),
        (RolloutVerb::SwitchSelector, _) => Err("it is no pair behind a Service".into()),
        (RolloutVerb::Scale, RolloutKind::Argo | RolloutKind::Rolling) => Ok(String::new()),
        (RolloutVerb::Undo, RolloutKind::Argo | RolloutKind::Rolling) if r.revisions.len() > 1 => Ok(String::new()),
        (RolloutVerb::Undo, RolloutKind::Argo | RolloutKind::Rolling) => Err("no earlier revision is kept".into()),
        // A pause is for what moves; a quiet one would only be stopped from ever moving.
        (RolloutVerb::Pause, RolloutKind::Argo | RolloutKind::Rolling) if r.phase == RolloutPhase::Healthy => {
            Err("nothing is being rolled out".into())
        }
        (verb, _) => respond::offered(r, verb, &offer.params()),
    }
}
