use super::*;
use crate::model::action::Tier;
use crate::respond::policy::{Escalate, TierRule};
use crate::respond::{ladder, testing};
use jiff::SignedDuration;

fn id(name: &str) -> PersonId {
    PersonId::new(name).unwrap()
}

fn people() -> Roster {
    Roster {
        people: vec![
            testing::person("alice", &[Role::Analyst]),
            testing::person("bob", &[Role::Lead]),
            testing::person("carol", &[Role::Commander]),
            testing::person("dave", &[Role::Auditor]),
            testing::person("dora", &[Role::Approver]),
        ],
    }
}

fn request(tier: Tier, needed: u8) -> Request {
    let mut body = testing::body(&["web1"]);
    (body.tier, body.approvals_needed) = (tier, needed);
    Request::new(body, "d", RequestState::Pending)
}

struct World {
    people: Roster,
    rules: Rules,
    leaving: Vec<PersonId>,
    now: Timestamp,
}

fn world() -> World {
    let now = "2026-11-21T12:10:00Z".parse().unwrap();
    World { people: people(), rules: Rules::default(), leaving: vec![], now }
}

impl World {
    fn facts(&self) -> Facts<'_> {
        Facts { people: &self.people, rules: &self.rules, leaving: &self.leaving, now: self.now }
    }

    fn take(&self, r: &mut Request, wish: Wish) -> Result<RequestState, No> {
        let f = self.facts();
        let state = decide(r, &wish, &f)?;
        apply(r, &wish, state, &f);
        Ok(state)
    }
}

fn approve(by: &str) -> Wish {
    Wish::Approve { by: id(by), digest: "d".into(), means: Means::KeyPress, signed: None, told: vec![] }
}

fn glass(by: &str) -> Wish {
    let (digest, reason) = ("d".into(), "it burns".into());
    Wish::BreakGlass { by: id(by), digest, reason, means: Means::KeyPress, signed: None }
}

#[test]
fn glass_is_broken_by_few_and_only_where_the_policy_says_so() {
    let mut w = world();
    for (by, tier, no) in [
        ("alice", Tier::T2, Some(No::Role)),
        ("dora", Tier::T2, Some(No::Role)),
        ("dave", Tier::T2, Some(No::Reader)),
        ("mallory", Tier::T2, Some(No::Stranger)),
        ("carol", Tier::T3, Some(No::NoGlass)),
        ("carol", Tier::T2, None),
        ("bob", Tier::T1, None),
    ] {
        let r = request(tier, 2);
        assert_eq!(decide(&r, &glass(by), &w.facts()).err(), no, "{by} {tier:?}");
    }
    let mut r = request(Tier::T2, 2);
    w.take(&mut r, glass("carol")).unwrap();
    let g = r.course.glass.clone().unwrap();
    assert_eq!((r.state, g.review_due), (RequestState::Approved, w.now + SignedDuration::from_hours(24)));
    // Whoever broke it is not held by who asked, and starts it alone.
    let begin = |by: &str| Wish::Begin { by: id(by), digest: "d".into() };
    assert!(decide(&r, &begin("carol"), &w.facts()).is_ok());
    assert_eq!(decide(&r, &glass("bob"), &w.facts()), Err(No::NotNow));
    w.rules.break_glass.roles.clear();
    assert_eq!(decide(&request(Tier::T2, 1), &glass("carol"), &w.facts()), Err(No::Role), "the policy may forbid it");
    let mut late = world();
    late.now = "2026-11-21T13:00:01Z".parse().unwrap();
    assert_eq!(decide(&request(Tier::T2, 1), &glass("carol"), &late.facts()), Err(No::Late));
    // How the desk is governed never.
    let mut r = request(Tier::T3, 2);
    r.body.action = "change-roster".into();
    let mut w = world();
    w.rules.break_glass.tiers.push(Tier::T3);
    assert_eq!(decide(&r, &glass("carol"), &w.facts()), Err(No::NoGlass));
}

#[test]
fn those_who_leave_by_it_cannot_carry_it_alone() {
    let mut w = world();
    w.leaving = vec![id("bob"), id("dora")];
    let mut r = request(Tier::T3, 2);
    assert_eq!(w.take(&mut r, approve("bob")), Ok(RequestState::Pending));
    assert_eq!(w.take(&mut r, approve("dora")), Ok(RequestState::Pending), "two, and both leave");
    assert_eq!(w.take(&mut r, approve("carol")), Ok(RequestState::Approved));
    let said = ["alice", "bob", "dora", "carol"].map(id);
    let trail: Vec<Said<'_>> = said
        .iter()
        .enumerate()
        .map(|(i, by)| Said {
            kind: if i == 0 { approve::PROPOSED } else { approve::APPROVED },
            by: Some(by),
            digest: Some("d"),
        })
        .collect();
    let worth = |_: &PersonId, _: Option<&Signed>, _: Timestamp, _: crate::respond::sign::Decision| Ok(Means::KeyPress);
    assert_eq!(fit(&r, &w.facts(), &trail, &worth), Ok(()));
    w.leaving.push(id("carol"));
    assert!(fit(&r, &w.facts(), &trail, &worth).unwrap_err().contains("whom it removes"));
    w.leaving.clear();
    w.people.people.retain(|p| p.id != id("dora"));
    assert!(fit(&r, &w.facts(), &trail, &worth).unwrap_err().contains("dora approved it, but is not on the roster"));
}

#[test]
fn questions_are_for_approvers_and_answers_for_who_asked_for_it() {
    let w = world();
    let mut r = request(Tier::T2, 1);
    let ask = |by: &str| Wish::Ask { by: id(by), text: "why this one?".into() };
    let answer = |by: &str| Wish::Answer { by: id(by), text: "it beacons".into() };
    assert_eq!(w.take(&mut r, answer("alice")), Err(No::NoQuestion));
    assert_eq!(w.take(&mut r, ask("alice")), Err(No::Requester));
    assert_eq!(w.take(&mut r, ask("dave")), Err(No::Reader));
    let deadlines = (r.body.approve_by, r.body.execute_by);
    assert_eq!(w.take(&mut r, ask("bob")), Ok(RequestState::Pending));
    assert_eq!(r.course.open_question().map(|m| m.by.clone()), Some(id("bob")));
    assert_eq!(w.take(&mut r, answer("bob")), Err(No::NotTheirs));
    assert_eq!(w.take(&mut r, answer("alice")), Ok(RequestState::Pending));
    assert!(r.course.open_question().is_none());
    assert_eq!((r.body.approve_by, r.body.execute_by), deadlines, "the clock goes on");
    let mut late = world();
    late.now = r.body.approve_by + SignedDuration::from_secs(1);
    assert_eq!(late.take(&mut r, Wish::Expire), Ok(RequestState::Expired));
    assert_eq!(w.take(&mut r, ask("bob")), Err(No::NotNow));
}

/// However many rungs there are and whoever they name, climbing moves no request and adds no approval.
#[test]
fn the_ladder_never_approves() {
    use rand::{Rng as _, SeedableRng as _};
    let mut rng = rand::rngs::StdRng::seed_from_u64(7);
    let roles = [Role::Analyst, Role::Lead, Role::Commander, Role::Approver, Role::Facilitator];
    let mut climbed = 0;
    for _ in 0..2_000 {
        let mut w = world();
        for _ in 0..rng.random_range(0..6) {
            w.rules.escalate.push(Escalate {
                after_minutes: rng.random_range(1..90),
                to: vec![roles[rng.random_range(0..roles.len())]],
                people: vec![],
                actions: vec!["*".into()],
                tiers: if rng.random_bool(0.3) { vec![Tier::T3] } else { vec![] },
            });
        }
        w.rules.tiers.insert(Tier::T1, TierRule { approvals: Some(0), ..TierRule::default() });
        let tier = [Tier::T1, Tier::T2, Tier::T3][rng.random_range(0..3)];
        let mut r = request(tier, rng.random_range(1..4));
        w.now = r.body.created;
        let all = ladder::rungs(&w.rules, &w.people, &r);
        assert!(all.is_sorted_by_key(|x| x.at) && all.iter().all(|x| x.at <= r.body.approve_by));
        for _ in 0..40 {
            w.now += SignedDuration::from_mins(rng.random_range(0..4));
            while let Some(rung) = ladder::due(&w.rules, &w.people, &r, w.now) {
                assert!(rung.at <= w.now);
                let again = Wish::Climb { rung: rung.clone() };
                let before = (r.approvals.clone(), r.body.clone(), r.digest.clone(), r.course.glass.clone());
                assert_eq!(w.take(&mut r, Wish::Climb { rung }), Ok(RequestState::Pending));
                assert_eq!(before, (r.approvals.clone(), r.body.clone(), r.digest.clone(), r.course.glass.clone()));
                assert_eq!(w.take(&mut r, again), Err(No::NotThatRung), "once");
                climbed += 1;
            }
        }
        assert!(r.course.rungs.len() <= all.len());
    }
    assert!(climbed > 1_000, "{climbed}");
    let w = world();
    let mut ended = request(Tier::T2, 1);
    ended.state = RequestState::Approved;
    let rung = Rung { number: 1, at: w.now, to: vec![], whom: "leads".into() };
    assert_eq!(decide(&ended, &Wish::Climb { rung }, &w.facts()), Err(No::NotNow));
}
