//! Tokens an hour, of everybody together and of each person. Pure: the time is told.
//!
//! What a request will cost is not known before it is over, so an estimate is held from the moment it is sent until its
//! usage is known. Spent tokens count for an hour from the end of the ten seconds they fell into. Budgets live in this
//! process: another console on the same desk has its own.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::model::ids::PersonId;

const HOUR: Duration = Duration::from_secs(3_600);
const GRAIN: Duration = Duration::from_secs(10);

/// Limits of one desk. 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    pub tokens_per_hour: u64,
    pub tokens_per_person_per_hour: u64,
    /// Requests of one person at the same time.
    pub requests_per_person: u32,
}

#[derive(Debug)]
struct Spent {
    /// Which ten seconds since the beginning.
    grain: u64,
    by: Option<PersonId>,
    tokens: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held(u64);

/// No room in a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Over {
    by: Option<PersonId>,
    limit: u64,
    need: u64,
    /// Until there is room. `None`: it depends on requests that are still running.
    wait: Option<Duration>,
}

impl std::fmt::Display for Over {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whose, key) = match &self.by {
            Some(by) => (format!("{by}'s budget"), "triage.tokens_per_person_per_hour"),
            None => ("the desk's budget".to_owned(), "triage.tokens_per_hour"),
        };
        let (limit, need) = (self.limit, self.need);
        if need > limit {
            return write!(
                f,
                "a request may take {need} tokens, more than {whose} of {limit} an hour ({key}): it never has room"
            );
        }
        write!(f, "{whose} of {limit} model tokens an hour is used up; ")?;
        match self.wait.map(|w| w.as_secs().max(1)) {
            None => f.write_str("there is room when the running requests are over"),
            Some(s) if s < 90 => write!(f, "there is room again in {s} s"),
            Some(s) => write!(f, "there is room again in {} min", s.div_ceil(60)),
        }
    }
}

#[derive(Debug)]
pub(super) struct Budget {
    all: u64,
    each: u64,
    began: Instant,
    spent: VecDeque<Spent>,
    held: BTreeMap<u64, (Option<PersonId>, u64)>,
    next: u64,
}

impl Budget {
    pub(super) fn new(quota: Quota, began: Instant) -> Self {
        Self {
            all: quota.tokens_per_hour,
            each: quota.tokens_per_person_per_hour,
            began,
            spent: VecDeque::new(),
            held: BTreeMap::new(),
            next: 0,
        }
    }

    /// Holds an estimate, if there is room for it.
    pub(super) fn hold(&mut self, by: Option<&PersonId>, need: u64, now: Instant) -> Result<Held, Over> {
        self.room(by, need, now)?;
        self.next += 1;
        self.held.insert(self.next, (by.cloned(), need));
        Ok(Held(self.next))
    }

    /// There is room for this many tokens, or why not.
    pub(super) fn room(&mut self, by: Option<&PersonId>, need: u64, now: Instant) -> Result<(), Over> {
        self.forget(now);
        if self.all > 0 {
            self.room_in(None, self.all, need, now)?;
        }
        if self.each > 0 && by.is_some() {
            self.room_in(by, self.each, need, now)?;
        }
        Ok(())
    }

    /// It is over and took this many tokens.
    pub(super) fn settle(&mut self, held: Held, used: u64, now: Instant) {
        let Some((by, _)) = self.held.remove(&held.0) else { return };
        self.forget(now);
        if used == 0 || (self.all == 0 && self.each == 0) {
            return;
        }
        let grain = self.grain(now);
        let same = self.spent.iter_mut().rev().take_while(|s| s.grain == grain).find(|s| s.by == by);
        match same {
            Some(s) => s.tokens = s.tokens.saturating_add(used),
            None => self.spent.push_back(Spent { grain, by, tokens: used }),
        }
    }

    fn grain(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / GRAIN.as_secs()
    }

    /// When what was spent in these ten seconds no longer counts.
    fn gone_at(&self, grain: u64) -> Instant {
        self.began + GRAIN * u32::try_from(grain + 1).unwrap_or(u32::MAX) + HOUR
    }

    fn forget(&mut self, now: Instant) {
        while let Some(first) = self.spent.front()
            && self.gone_at(first.grain) <= now
        {
            self.spent.pop_front();
        }
    }

    /// `whose` `None`: everybody's.
    fn room_in(&self, whose: Option<&PersonId>, limit: u64, need: u64, now: Instant) -> Result<(), Over> {
        let counts = |by: &Option<PersonId>| whose.is_none() || by.as_ref() == whose;
        let held: u64 = self.held.values().filter(|(by, _)| counts(by)).map(|h| h.1).fold(0, u64::saturating_add);
        let spent = || self.spent.iter().filter(|s| counts(&s.by));
        let mut used = spent().map(|s| s.tokens).fold(held, u64::saturating_add);
        if used.saturating_add(need) <= limit {
            return Ok(());
        }
        let mut wait = None;
        for s in spent() {
            used -= s.tokens;
            if used.saturating_add(need) <= limit {
                wait = Some(self.gone_at(s.grain).saturating_duration_since(now));
                break;
            }
        }
        Err(Over { by: whose.cloned(), limit, need, wait })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(id: &str) -> PersonId {
        PersonId::new(id).unwrap()
    }

    fn budget(all: u64, each: u64) -> (Budget, Instant) {
        let began = Instant::now();
        let quota = Quota { tokens_per_hour: all, tokens_per_person_per_hour: each, requests_per_person: 0 };
        (Budget::new(quota, began), began)
    }

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn an_estimate_is_held_and_what_was_used_counts_for_an_hour() {
        let (mut b, t) = budget(1_000, 0);
        let first = b.hold(None, 700, t).unwrap();
        let over = b.hold(None, 400, t).unwrap_err();
        assert_eq!(
            over.to_string(),
            "the desk's budget of 1000 model tokens an hour is used up; there is room when the running requests are over"
        );
        b.settle(first, 650, t + s(5));
        let second = b.hold(None, 350, t + s(65)).unwrap();
        b.settle(second, 350, t + s(65));
        let over = b.hold(None, 1, t + s(600)).unwrap_err();
        // 650 tokens of the first ten seconds are gone 3,610 s after the beginning.
        assert_eq!(
            over.to_string(),
            "the desk's budget of 1000 model tokens an hour is used up; there is room again in 51 min"
        );
        assert!(b.hold(None, 1, t + s(3_609)).is_err());
        b.hold(None, 650, t + s(3_610)).unwrap();
        let never = b.hold(None, 1_001, t + s(9_000)).unwrap_err().to_string();
        assert!(never.contains("more than the desk's budget of 1000") && never.contains("never"), "{never}");
    }

    #[test]
    fn each_person_has_a_share_and_the_desk_itself_none() {
        let (mut b, t) = budget(0, 100);
        let (bob, eve) = (person("bob"), person("eve"));
        let held = b.hold(Some(&bob), 90, t).unwrap();
        b.settle(held, 90, t);
        let said = b.hold(Some(&bob), 20, t + s(3_590)).unwrap_err().to_string();
        assert_eq!(said, "bob's budget of 100 model tokens an hour is used up; there is room again in 20 s");
        b.hold(Some(&eve), 100, t).unwrap();
        b.hold(None, 1_000_000, t).unwrap();
    }

    #[test]
    fn a_request_that_came_to_nothing_costs_nothing() {
        let (mut b, t) = budget(10, 0);
        for _ in 0..100 {
            let held = b.hold(None, 10, t).unwrap();
            b.settle(held, 0, t);
        }
        assert!(b.spent.is_empty() && b.held.is_empty());
    }

    proptest::proptest! {
        /// Within any hour no more is held and spent than the limit, as long as requests cost what they were thought to.
        #[test]
        fn no_hour_costs_more_than_its_budget(steps in proptest::collection::vec((0u64..400, 1u64..60, 0u64..=60, 0usize..3), 1..200)) {
            let (mut b, mut t) = budget(100, 0);
            let mut log: Vec<(Instant, u64)> = Vec::new();
            for (pause, need, used, who) in steps {
                t += s(pause);
                let by = [None, Some(person("a")), Some(person("b"))][who].clone();
                if let Ok(held) = b.hold(by.as_ref(), need, t) {
                    b.settle(held, used.min(need), t);
                    log.push((t, used.min(need)));
                }
                let hour: u64 = log.iter().filter(|(at, _)| t.duration_since(*at) < HOUR).map(|x| x.1).sum();
                proptest::prop_assert!(hour <= 100);
                // And it lets go: an idle hour and ten seconds later everything has room.
                proptest::prop_assert!(b.spent.len() <= 3 * 362);
            }
            proptest::prop_assert!(b.hold(None, 100, t + HOUR + GRAIN).is_ok());
        }

        /// The time it names is right: a moment earlier there is none, then there is.
        #[test]
        fn the_wait_it_names_is_the_wait(spends in proptest::collection::vec((0u64..600, 1u64..40), 1..30), need in 1u64..=100) {
            let (mut b, mut t) = budget(100, 0);
            for (pause, n) in spends {
                t += s(pause);
                if let Ok(h) = b.hold(None, n, t) { b.settle(h, n, t); }
            }
            if let Err(over) = b.room(None, need, t) {
                let wait = over.wait.unwrap();
                proptest::prop_assert!(wait > Duration::ZERO);
                proptest::prop_assert!(b.room(None, need, t + wait - Duration::from_millis(1)).is_err());
                proptest::prop_assert!(b.room(None, need, t + wait).is_ok());
            }
        }
    }
}
