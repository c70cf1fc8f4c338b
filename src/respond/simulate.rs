//! What another policy would have said of what was asked for: the same pure evaluator over what is kept of each request.
//!
//! Roles are those people have now. Rate caps count the starts that really were. What error budgets and gates said at the
//! time is not kept: both policies are asked as if they had been open. Proposals that were refused were never filed, and
//! are not seen here.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::evaluate::{self, PolicyInput, Stage, approvals_needed, budgets_asked};
use super::policy::Policy;
use super::{Responder, Result};
use crate::model::action::{Request, RequestState, Tier};
use crate::model::health::Tri;
use crate::model::ids::{PersonId, RequestId};
use crate::model::person::Roster;
use crate::model::slo::GateAnswer;

/// Requests replayed at most, newest first.
const REQUESTS: usize = 20_000;

/// What would be otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It would be refused, and was not.
    Refused,
    /// It would be refused as before, for other reasons.
    OtherReasons,
    MorePeople,
    FewerPeople,
    /// It was refused, and would not be.
    Allowed,
}

impl Effect {
    pub fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::OtherReasons => "other reasons",
            Self::MorePeople => "more people",
            Self::FewerPeople => "fewer people",
            Self::Allowed => "allowed",
        }
    }
}

/// A request that would have gone otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    pub request: RequestId,
    pub created: Timestamp,
    pub requester: PersonId,
    pub action: String,
    pub tier: Tier,
    pub targets: Vec<String>,
    pub state: RequestState,
    pub effect: Effect,
    /// In words, each with the step it is about.
    pub why: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Simulation {
    pub since: Timestamp,
    /// Requests replayed.
    pub replayed: usize,
    /// Oldest first.
    pub changed: Vec<Changed>,
}

impl Responder {
    /// Replays the requests since then against a policy file, and against the policy in force; without a file, what
    /// really happened against the policy in force.
    pub fn simulate(&self, file: Option<&Path>, since: Timestamp) -> Result<Simulation> {
        let rules = self.inner.in_force()?;
        let mut past = self.inner.store.requests(&RequestState::ALL, REQUESTS)?;
        past.reverse();
        let changed = match file {
            Some(path) => {
                let new = Policy::load(path)?;
                simulate(Some(&rules.policy), &new, &rules.roster, &past, since)
            }
            None => simulate(None, &rules.policy, &rules.roster, &past, since),
        };
        let replayed = past.iter().filter(|r| counts(r, since)).count();
        Ok(Simulation { since, replayed, changed })
    }
}

fn counts(r: &Request, since: Timestamp) -> bool {
    r.body.created >= since && r.was_asked()
}

/// `old`: `None` stands for what happened. `past`: oldest first; those before `since` count for rate caps only.
pub fn simulate(
    old: Option<&Policy>,
    new: &Policy,
    roster: &Roster,
    past: &[Request],
    since: Timestamp,
) -> Vec<Changed> {
    let one = |r: &Request| {
        let before = match old {
            Some(policy) => verdict(policy, roster, r, past),
            None => Verdict { refusals: Vec::new(), needed: r.body.approvals_needed },
        };
        compare(r, &before, &verdict(new, roster, r, past))
    };
    past.iter().filter(|r| counts(r, since)).filter_map(one).collect()
}

/// What a policy says of all the steps of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    refusals: Vec<String>,
    needed: u8,
}

fn verdict(policy: &Policy, roster: &Roster, r: &Request, past: &[Request]) -> Verdict {
    let b = &r.body;
    let terms = policy.rules.tier(b.tier);
    let mut refusals = Vec::new();
    let mut ask = |stage: Stage, who: &PersonId, at: Timestamp, words: &str| {
        let findings = evaluate::evaluate(policy, &input(policy, roster, r, past, stage, who, at));
        refusals.extend(findings.into_iter().filter(|f| f.refuses).map(|f| format!("{words}: {}", f.text)));
    };
    ask(Stage::Propose, &b.requester, b.created, "proposal");
    for a in &r.approvals {
        ask(Stage::Approve, &a.by, a.at, &format!("approval by {}", a.by));
    }
    // One that was ready and never begun is judged as if its requester had begun it then.
    let ready = (r.state == RequestState::Approved).then(|| r.approvals.last().map_or(b.created, |a| a.at));
    let start = r.started.or(ready);
    if let Some(at) = start {
        ask(Stage::Execute, r.executor.as_ref().unwrap_or(&b.requester), at, "start");
    }
    for a in r.approvals.iter().filter(|a| a.means < terms.signed) {
        refusals.push(format!(
            "approval by {}: it is by {}, and {} is the least",
            a.by,
            a.means.word(),
            terms.signed.word()
        ));
    }
    let alone = r.course.glass.is_some();
    if terms.executor_differs && !alone && r.executor.as_ref() == Some(&b.requester) {
        refusals.push(format!("start: {} asked for it, and somebody else must start it", b.requester));
    }
    let needed = approvals_needed(policy, &b.action, b.tier, &b.targets, b.suggested_by);
    Verdict { refusals, needed }
}

fn input<'a>(
    policy: &Policy,
    roster: &'a Roster,
    r: &'a Request,
    past: &[Request],
    stage: Stage,
    who: &PersonId,
    at: Timestamp,
) -> PolicyInput<'a> {
    let b = &r.body;
    let hour_ago = at - SignedDuration::from_hours(1);
    let earlier =
        || past.iter().filter(move |p| p.body.id != b.id && p.started.is_some_and(|t| t >= hour_ago && t <= at));
    let hits = |p: &Request, target: &str| u64::from(p.body.targets.iter().any(|t| t == target));
    let same = || earlier().filter(|p| p.body.action == b.action);
    let by_target = |t: &String| (t.clone(), same().map(|p| hits(p, t)).sum());
    let any = |t: &String| (t.clone(), earlier().map(|p| hits(p, t)).sum());
    PolicyInput {
        stage,
        action: &b.action,
        tier: b.tier,
        targets: &b.targets,
        actor: roster.get(who),
        now: at,
        last_hour: Some(same().map(|p| p.body.targets.len() as u64).sum()),
        last_hour_by_target: b.targets.iter().map(by_target).collect::<BTreeMap<_, _>>(),
        any_by_target: b.targets.iter().map(any).collect::<BTreeMap<_, _>>(),
        ticket: r.course.ticket.as_deref(),
        budgets: budgets_asked(policy, &b.action, false)
            .into_iter()
            .map(|g| GateAnswer { class: g.class, answer: Tri::Pass, reasons: Vec::new() })
            .collect(),
        guards: Vec::new(),
        leads_back: false,
        alone: r.course.glass.is_some(),
        overridden: None,
    }
}

fn compare(r: &Request, old: &Verdict, new: &Verdict) -> Option<Changed> {
    let had = r.approvals.len();
    let (effect, why) = if new.refusals != old.refusals {
        let effect = match (old.refusals.is_empty(), new.refusals.is_empty()) {
            (true, _) => Effect::Refused,
            (false, true) => Effect::Allowed,
            (false, false) => Effect::OtherReasons,
        };
        let why = if new.refusals.is_empty() { &old.refusals } else { &new.refusals };
        (effect, why.clone())
    } else if new.needed != old.needed {
        let effect = if new.needed > old.needed { Effect::MorePeople } else { Effect::FewerPeople };
        (effect, vec![format!("{} people must agree instead of {}; {had} did", new.needed, old.needed)])
    } else {
        return None;
    };
    let b = &r.body;
    Some(Changed {
        request: b.id.clone(),
        created: b.created,
        requester: b.requester.clone(),
        action: b.action.clone(),
        tier: b.tier,
        targets: b.targets.clone(),
        state: r.state,
        effect,
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::action::{Approval, Means};
    use crate::model::person::{Person, Role};
    use crate::respond::testing::body;

    fn roster() -> Roster {
        let person = |name: &str, roles: &[Role]| Person {
            id: PersonId::new(name).unwrap(),
            name: name.into(),
            os_users: vec![],
            uids: vec![],
            keys: vec![],
            roles: roles.to_vec(),
        };
        Roster { people: vec![person("alice", &[Role::Analyst]), person("bob", &[Role::Lead])] }
    }

    fn ran(id: &str, at: &str, targets: &[&str]) -> Request {
        let mut b = body(targets);
        b.id = RequestId::new(id).unwrap();
        b.tier = Tier::T2;
        b.created = at.parse().unwrap();
        let by = PersonId::new("bob").unwrap();
        let approval = Approval { by, at: b.created, digest: "d".into(), means: Means::KeyPress, signed: None };
        Request {
            executor: Some(b.requester.clone()),
            started: Some(b.created),
            finished: Some(b.created),
            approvals: vec![approval],
            rev: 1,
            ..Request::new(b, "d", RequestState::Done)
        }
    }

    fn policy(text: &str) -> Policy {
        Policy::parse(Path::new("p"), text).unwrap()
    }

    fn effects(old: &str, new: &str, past: &[Request]) -> Vec<(String, Effect, String)> {
        let since = "2026-11-01T00:00:00Z".parse().unwrap();
        simulate(Some(&policy(old)), &policy(new), &roster(), past, since)
            .into_iter()
            .map(|c| (c.request.to_string(), c.effect, c.why.join("; ")))
            .collect()
    }

    #[test]
    fn each_rule_says_what_it_would_have_changed() {
        let past = [
            ran("01A", "2026-10-20T12:00:00Z", &["dc01"]),
            ran("01B", "2026-11-20T12:00:00Z", &["dc01"]),
            ran("01C", "2026-11-20T12:30:00Z", &["web1"]),
            ran("01D", "2026-11-20T23:00:00Z", &["web1", "web2"]),
        ];
        assert_eq!(effects("", "", &past), []);
        let protect = "[[protect]]\ntargets = [\"dc*\"]\nwhy = \"core\"\n";
        let got = effects("", protect, &past);
        assert_eq!((got.len(), got[0].0.as_str(), got[0].1), (1, "01B", Effect::Refused), "October is not asked for");
        assert!(got[0].2.starts_with("proposal: protected: dc01"), "{got:?}");
        assert_eq!(effects(protect, "", &past)[0].1, Effect::Allowed);
        let hours = "[[hours]]\nfrom = \"07:00\"\nto = \"20:00\"\n";
        let got = effects("", hours, &past);
        assert_eq!((got.len(), got[0].0.as_str(), got[0].1), (1, "01D", Effect::Refused), "{got:?}");
        assert!(got[0].2.contains("start: it is Fri 23:00"), "{got:?}");
        let caps = "[[caps]]\nper_hour = 1\n";
        let got = effects("", caps, &past);
        let ids: Vec<&str> = got.iter().map(|g| g.0.as_str()).collect();
        assert_eq!(ids, ["01C", "01D"], "the second within an hour, and two at once: {got:?}");
        let got = effects("", "[tiers.T2]\napprovals = 2\n", &past);
        assert!(got.len() == 3 && got.iter().all(|g| g.1 == Effect::MorePeople), "{got:?}");
        assert!(got[0].2.contains("2 people must agree instead of 1; 1 did"), "{got:?}");
        assert_eq!(effects("[tiers.T2]\napprovals = 2\n", "", &past)[0].1, Effect::FewerPeople);
        let got = effects("", "[tiers.T2]\nsigned = \"agent\"\n", &past);
        assert!(got.iter().all(|g| g.1 == Effect::Refused && g.2.contains("key press")), "{got:?}");
        let got = effects("", "[tiers.T2]\nexecutor_differs = true\n", &past);
        assert!(got.iter().all(|g| g.1 == Effect::Refused && g.2.contains("somebody else must start")), "{got:?}");
        let got = effects("", "[tiers.T2]\napprove = [\"commander\"]\n", &past);
        assert!(got.iter().all(|g| g.2.contains("approval by bob: bob may not approve")), "{got:?}");
        // Budgets are asked as if they had been open.
        assert_eq!(effects("", "[[budget]]\nactions = [\"*\"]\n", &past), []);
    }

    #[test]
    fn what_happened_can_be_held_against_the_policy_in_force() {
        let past = [ran("01B", "2026-11-20T12:00:00Z", &["dc01"])];
        let since = "2026-11-01T00:00:00Z".parse().unwrap();
        let protect = policy("[[protect]]\ntargets = [\"dc*\"]\nwhy = \"core\"\n");
        assert_eq!(simulate(None, &protect, &roster(), &past, since)[0].effect, Effect::Refused);
        assert_eq!(simulate(None, &policy(""), &roster(), &past, since), []);
    }
}
