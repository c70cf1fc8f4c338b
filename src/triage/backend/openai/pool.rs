//! Who may send to which server, and when. Pure: the time is told, and nothing here waits.
//!
//! A server is *out* for [`OUT`] after [`FAILURES`] failures in a row; after that one request tries it, and only when that
//! one succeeds do others follow. A server that refuses our key or does not know the model is set *aside* as long: it is
//! asked only when nobody else is there. Backups are asked only when every other server is out or aside.
//!
//! Whoever finds no free slot waits in one line, the most urgent first, in the order they came within a priority. A try
//! after a failure keeps its place in the line and prefers a server that it has not tried.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::model::ids::PersonId;
use crate::model::priority::Priority;

/// Failures in a row after which a server is out, and for how long.
pub(super) const FAILURES: u32 = 3;
pub(super) const OUT: Duration = Duration::from_secs(30);
/// Longest line. Workers are no more than slots, so this is far more than a desk ever has.
const LINE_MAX: usize = 4_096;

/// A place in the line: the most urgent first, then the first come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place(Priority, u64);

/// What became of one that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It may send to this server. `trial`: it is the one request that tries a server that was out.
    Go { server: usize, trial: bool },
    /// Every server is out.
    Nobody,
}

/// How a request to a server ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Good,
    /// The server failed it: no connection, silence, a status that means trouble, a broken stream.
    Failed(String),
    /// The server will refuse every such request: a wrong key, an unknown model.
    Misconfigured(String),
    /// It says nothing about the server: cancelled, or the request itself was wrong.
    Unknown,
}

#[derive(Debug)]
struct Server {
    capacity: u32,
    backup: bool,
    busy: u32,
    /// In a row.
    failures: u32,
    out_until: Option<Instant>,
    /// One request is trying it.
    trial: bool,
    aside_until: Option<Instant>,
    why: String,
}

impl Server {
    /// `None`: out. Otherwise whether a request to it would be a trial.
    fn open(&self, now: Instant) -> Option<bool> {
        match self.out_until {
            None => Some(false),
            Some(until) => (now >= until && !self.trial).then_some(true),
        }
    }

    fn aside(&self, now: Instant) -> bool {
        self.aside_until.is_some_and(|until| now < until)
    }
}

#[derive(Debug)]
struct Waiter {
    by: Option<PersonId>,
    /// Servers it would rather not try again.
    avoid: Vec<usize>,
}

/// An out server, for messages: which, for how long still, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outage {
    pub server: usize,
    pub left: Duration,
    pub why: String,
}

#[derive(Debug)]
pub(super) struct Pool {
    servers: Vec<Server>,
    line: BTreeMap<Place, Waiter>,
    /// Requests of each person that hold a slot.
    people: HashMap<PersonId, u32>,
    /// 0: no limit.
    per_person: u32,
    came: u64,
    /// Where the search for the least busy begins, so that ties go round.
    turn: usize,
}

impl Pool {
    /// Each server by its capacity and whether it is a backup. `per_person` 0: no limit.
    pub(super) fn new(servers: impl IntoIterator<Item = (u32, bool)>, per_person: u32) -> Self {
        let servers = servers.into_iter().map(|(capacity, backup)| Server {
            capacity: capacity.max(1),
            backup,
            busy: 0,
            failures: 0,
            out_until: None,
            trial: false,
            aside_until: None,
            why: String::new(),
        });
        Self { servers: servers.collect(), line: BTreeMap::new(), people: HashMap::new(), per_person, came: 0, turn: 0 }
    }

    /// A place in the line that is its own for all its tries.
    pub(super) fn place(&mut self, priority: Priority) -> Place {
        self.came += 1;
        Place(priority, self.came)
    }

    /// Stands in the line. `false`: it is full.
    pub(super) fn join(&mut self, place: Place, by: Option<PersonId>, avoid: Vec<usize>) -> bool {
        if self.line.len() >= LINE_MAX {
            return false;
        }
        self.line.insert(place, Waiter { by, avoid });
        true
    }

    pub(super) fn leave(&mut self, place: Place) {
        self.line.remove(&place);
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.len()
    }

    #[cfg(test)]
    pub(super) fn busy(&self, server: usize) -> u32 {
        self.servers.get(server).map_or(0, |s| s.busy)
    }

    /// Whoever's turn has come, taken out of the line.
    pub(super) fn turns(&mut self, now: Instant) -> Vec<(Place, Turn)> {
        let mut turns = Vec::new();
        let places: Vec<Place> = self.line.keys().copied().collect();
        for place in places {
            let Some(waiter) = self.line.get(&place) else { continue };
            if self.at_limit(waiter.by.as_ref()) {
                continue;
            }
            let pick = self.pick(&waiter.avoid, now);
            let turn = match pick {
                Pick::Full => continue,
                Pick::Nobody => Turn::Nobody,
                Pick::One { server, trial } => Turn::Go { server, trial },
            };
            let Some(waiter) = self.line.remove(&place) else { continue };
            if let Turn::Go { server, trial } = turn {
                self.take(server, trial, waiter.by);
            }
            turns.push((place, turn));
        }
        turns
    }

    fn at_limit(&self, by: Option<&PersonId>) -> bool {
        self.per_person > 0 && by.and_then(|p| self.people.get(p)).is_some_and(|n| *n >= self.per_person)
    }

    fn take(&mut self, server: usize, trial: bool, by: Option<PersonId>) {
        if let Some(s) = self.servers.get_mut(server) {
            s.busy += 1;
            s.trial |= trial;
        }
        if let Some(by) = by {
            *self.people.entry(by).or_default() += 1;
        }
        self.turn = (server + 1) % self.servers.len().max(1);
    }

    fn pick(&self, avoid: &[usize], now: Instant) -> Pick {
        let open = |i: &usize| self.servers[*i].open(now).is_some();
        let ready = |i: &usize| open(i) && !self.servers[*i].aside(now);
        let all = || (0..self.servers.len()).map(|i| (i + self.turn) % self.servers.len());
        let of = |keep: &dyn Fn(&usize) -> bool| all().filter(|i| keep(i)).collect::<Vec<usize>>();
        let tiers = [
            of(&|i| ready(i) && !self.servers[*i].backup),
            of(&|i| ready(i) && self.servers[*i].backup),
            of(&|i| open(i)),
        ];
        let Some(tier) = tiers.into_iter().find(|t| !t.is_empty()) else { return Pick::Nobody };
        let fresh: Vec<usize> = tier.iter().copied().filter(|i| !avoid.contains(i)).collect();
        let tier = if fresh.is_empty() { tier } else { fresh };
        let share = |i: &usize| f64::from(self.servers[*i].busy) / f64::from(self.servers[*i].capacity);
        let free = tier.into_iter().filter(|i| self.servers[*i].busy < self.servers[*i].capacity);
        match free.min_by(|a, b| share(a).total_cmp(&share(b))) {
            Some(server) => Pick::One { server, trial: self.servers[server].open(now) == Some(true) },
            None => Pick::Full,
        }
    }

    /// A request that held a slot is over.
    pub(super) fn done(&mut self, server: usize, trial: bool, by: Option<&PersonId>, outcome: Outcome, now: Instant) {
        if let Some(by) = by
            && let Some(n) = self.people.get_mut(by)
        {
            *n = n.saturating_sub(1);
            if *n == 0 {
                self.people.remove(by);
            }
        }
        let Some(s) = self.servers.get_mut(server) else { return };
        s.busy = s.busy.saturating_sub(1);
        s.trial &= !trial;
        match outcome {
            Outcome::Good => {
                (s.failures, s.out_until, s.aside_until) = (0, None, None);
                s.why.clear();
            }
            Outcome::Failed(why) => {
                s.failures += 1;
                s.why = why;
                // Old requests that fail while it is out do not make it longer.
                if trial || (s.out_until.is_none() && s.failures >= FAILURES) {
                    s.out_until = Some(now + OUT);
                }
            }
            Outcome::Misconfigured(why) => {
                // It answers, so it is there; but not for us.
                (s.failures, s.out_until) = (0, None);
                s.aside_until = Some(now + OUT);
                s.why = why;
            }
            Outcome::Unknown => {}
        }
    }

    /// Another server than those could take a request now or once it has a free slot.
    pub(super) fn has_other(&self, tried: &[usize], now: Instant) -> bool {
        let other = |(i, s): (usize, &Server)| !tried.contains(&i) && s.open(now).is_some() && !s.aside(now);
        self.servers.iter().enumerate().any(other)
    }

    /// When something changes by itself: a server may be tried again.
    pub(super) fn changes_at(&self, now: Instant) -> Option<Instant> {
        let times = self.servers.iter().flat_map(|s| [s.out_until, s.aside_until]).flatten();
        times.filter(|t| *t > now).min()
    }

    /// The server is out, or being tried after it was, or set aside.
    pub(super) fn outage(&self, server: usize, now: Instant) -> Option<Outage> {
        let s = self.servers.get(server)?;
        let until = s.out_until.or_else(|| s.aside_until.filter(|t| *t > now))?;
        Some(Outage { server, left: until.saturating_duration_since(now), why: s.why.clone() })
    }

    /// Servers that are out.
    pub(super) fn outages(&self, now: Instant) -> Vec<Outage> {
        (0..self.servers.len()).filter_map(|i| self.outage(i, now)).collect()
    }
}

enum Pick {
    One {
        server: usize,
        trial: bool,
    },
    /// Those that could take it have no free slot.
    Full,
    Nobody,
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
