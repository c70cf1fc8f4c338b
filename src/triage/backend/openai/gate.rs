//! Where requests wait for a slot: the thin, waiting side of [`Pool`]. Its lock is never held across an await.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::pool::{Outage, Outcome, Place, Pool, Turn};
use crate::model::ids::PersonId;
use crate::model::priority::Priority;

/// How long one waits without looking again, when nothing is going to change by itself.
const LOOK: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Core {
    pool: Pool,
    waiting: HashMap<Place, oneshot::Sender<Turn>>,
}

impl Core {
    /// Tells everybody whose turn it is. A slot nobody takes goes to the next.
    fn pump(&mut self, now: Instant) {
        for (place, turn) in self.pool.turns(now) {
            // Whoever left took itself out of the line under the same lock, so there is always somebody to tell.
            if let Some(told) = self.waiting.remove(&place) {
                let _ = told.send(turn);
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Gate(Mutex<Core>);

/// Why there is no slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// Every server is out.
    Out(Vec<Outage>),
    LineFull,
}

impl Gate {
    pub(super) fn new(pool: Pool) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Core { pool, waiting: HashMap::new() })))
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the pool.
    pub(super) fn see<T>(&self, look: impl FnOnce(&Pool) -> T) -> T {
        look(&self.core().pool)
    }

    pub(super) fn place(&self, priority: Priority) -> Place {
        self.core().pool.place(priority)
    }

    /// Waits for a slot. Dropping the future leaves the line.
    pub(super) async fn enter(
        self: &Arc<Self>,
        place: Place,
        by: Option<PersonId>,
        avoid: Vec<usize>,
    ) -> Result<Pass, Closed> {
        let (tell, told) = oneshot::channel();
        {
            let mut core = self.core();
            if !core.pool.join(place, by.clone(), avoid) {
                return Err(Closed::LineFull);
            }
            core.waiting.insert(place, tell);
            core.pump(Instant::now());
        }
        let mut waiting = Waiting { gate: Arc::clone(self), place, by, told: Some(told) };
        loop {
            let now = Instant::now();
            let until = self.see(|p| p.changes_at(now)).map_or(LOOK, |t| t.saturating_duration_since(now).min(LOOK));
            let Some(told) = waiting.told.as_mut() else { return Err(Closed::Out(Vec::new())) };
            match tokio::time::timeout(until, told).await {
                Ok(turn) => {
                    waiting.told = None;
                    return waiting.go(turn.unwrap_or(Turn::Nobody));
                }
                Err(_) => self.core().pump(Instant::now()),
            }
        }
    }
}

/// One that stands in the line, until it is told.
struct Waiting {
    gate: Arc<Gate>,
    place: Place,
    by: Option<PersonId>,
    told: Option<oneshot::Receiver<Turn>>,
}

impl Waiting {
    fn go(&self, turn: Turn) -> Result<Pass, Closed> {
        match turn {
            Turn::Go { server, trial } => {
                Ok(Pass { gate: Arc::clone(&self.gate), server, trial, by: self.by.clone(), outcome: Outcome::Unknown })
            }
            Turn::Nobody => Err(Closed::Out(self.gate.see(|p| p.outages(Instant::now())))),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(mut told) = self.told.take() else { return };
        {
            let mut core = self.gate.core();
            core.pool.leave(self.place);
            core.waiting.remove(&self.place);
        }
        // Its turn may have come just before it left: the slot goes back.
        if let Ok(turn) = told.try_recv() {
            drop(self.go(turn));
        }
    }
}

/// A slot of one server, given back when dropped.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    pub server: usize,
    trial: bool,
    by: Option<PersonId>,
    outcome: Outcome,
}

impl Pass {
    /// It is over, and this is what it says about the server.
    pub(super) fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Outcome::Unknown);
        let now = Instant::now();
        let mut core = self.gate.core();
        core.pool.done(self.server, self.trial, self.by.as_ref(), outcome, now);
        core.pump(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(capacity: u32, per_person: u32) -> Arc<Gate> {
        Gate::new(Pool::new([(capacity, false)], per_person))
    }

    async fn soon<T>(f: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(10), f).await.unwrap()
    }

    #[tokio::test]
    async fn the_most_urgent_goes_first_and_those_who_left_hold_nothing() {
        let gate = gate(1, 0);
        let first = gate.enter(gate.place(Priority::P3), None, vec![]).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for (n, priority) in [Priority::P2, Priority::P3, Priority::P0, Priority::P2].into_iter().enumerate() {
            let (gate2, order) = (Arc::clone(&gate), Arc::clone(&order));
            tasks.spawn(async move {
                let pass = gate2.enter(gate2.place(priority), None, vec![]).await.unwrap();
                order.lock().unwrap().push(n);
                pass.end(Outcome::Good);
            });
            while gate.see(Pool::waiting) <= n {
                tokio::task::yield_now().await;
            }
        }
        // Waiting P1 that gives up before its turn.
        let left = gate.enter(gate.place(Priority::P1), None, vec![]);
        assert!(tokio::time::timeout(Duration::from_millis(20), left).await.is_err());
        assert_eq!(gate.see(Pool::waiting), 4);
        drop(first);
        soon(async { while tasks.join_next().await.is_some() {} }).await;
        assert_eq!(*order.lock().unwrap(), [2, 0, 3, 1]);
        assert_eq!(gate.see(|p| (p.busy(0), p.waiting())), (0, 0));
    }

    #[tokio::test]
    async fn a_turn_that_comes_while_one_leaves_is_not_lost() {
        let gate = gate(1, 0);
        let first = gate.enter(gate.place(Priority::P1), None, vec![]).await.unwrap();
        let mut second = Box::pin(gate.enter(gate.place(Priority::P1), None, vec![]));
        assert!(tokio::time::timeout(Duration::from_millis(10), &mut second).await.is_err());
        drop(first);
        assert_eq!(gate.see(|p| p.busy(0)), 1, "the slot is the second one's, told but not yet heard");
        drop(second);
        assert_eq!(gate.see(|p| p.busy(0)), 0);
        soon(gate.enter(gate.place(Priority::P1), None, vec![])).await.unwrap();
    }

    #[tokio::test]
    async fn a_person_at_the_limit_does_not_hold_up_others() {
        let gate = gate(4, 1);
        let bob = PersonId::new("bob");
        let one = gate.enter(gate.place(Priority::P0), bob.clone(), vec![]).await.unwrap();
        let mut two = Box::pin(gate.enter(gate.place(Priority::P0), bob, vec![]));
        assert!(tokio::time::timeout(Duration::from_millis(10), &mut two).await.is_err());
        let other = soon(gate.enter(gate.place(Priority::P3), PersonId::new("eve"), vec![])).await.unwrap();
        let desk = soon(gate.enter(gate.place(Priority::P3), None, vec![])).await.unwrap();
        one.end(Outcome::Good);
        soon(two).await.unwrap();
        drop((other, desk));
    }
}
