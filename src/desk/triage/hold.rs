//! When workers take nothing: why, since when, and when they try again. Pure; the time is told.

use std::time::Duration;

use jiff::SignedDuration;
use jiff::Timestamp;

use crate::store::Held;
use crate::triage::TriageError;

/// How long past its next try a hold is believed when nobody says it again: its process is gone.
const BELIEVED: SignedDuration = SignedDuration::from_secs(60);

/// What keeps a backend from answering, as far as it tells how soon to ask again: first and longest pause, seconds.
fn pauses(error: &TriageError) -> (i64, i64) {
    match error {
        TriageError::Configuration(_) => (10, 60),
        TriageError::OverBudget(_) => (5, 60),
        _ => (1, 15),
    }
}

/// Whether an error is about the backend, not about the alert it was asked about: another try later makes sense.
pub(super) fn is_away(error: &TriageError) -> bool {
    matches!(error, TriageError::Unavailable(_) | TriageError::OverBudget(_) | TriageError::Configuration(_))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub error: TriageError,
    pub since: Timestamp,
    pub next_try: Timestamp,
    pause: i64,
}

impl Hold {
    pub fn new(error: TriageError, now: Timestamp) -> Self {
        let (first, _) = pauses(&error);
        Self { error, since: now, next_try: now + SignedDuration::from_secs(first), pause: first }
    }

    /// It was tried again, in vain: twice the pause, up to the longest.
    pub fn again(&mut self, error: TriageError, now: Timestamp) {
        let (first, longest) = pauses(&error);
        self.pause = (self.pause * 2).clamp(first, longest);
        self.next_try = now + SignedDuration::from_secs(self.pause);
        self.error = error;
    }

    /// There was nothing to try it with.
    pub fn put_off(&mut self, now: Timestamp) {
        self.next_try = now + SignedDuration::from_secs(1);
    }

    pub fn is_due(&self, now: Timestamp) -> bool {
        self.next_try <= now
    }

    /// Rules stand in for alerts that were asked for before this. `None`: it has not lasted long enough for any.
    pub fn gives_up_on(&self, after: Duration, now: Timestamp) -> Option<Timestamp> {
        let before = SignedDuration::try_from(after).ok().and_then(|after| now.checked_sub(after).ok())?;
        (self.since <= before).then_some(before)
    }

    /// As told to whoever looks.
    pub fn said(&self, now: Timestamp) -> Held {
        Held {
            why: self.error.to_string(),
            since: self.since,
            next_try: self.next_try,
            until: self.next_try.max(now) + BELIEVED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn away() -> TriageError {
        TriageError::Unavailable("vllm-a: connection refused".into())
    }

    #[test]
    fn pauses_double_up_to_a_limit() {
        for (error, want) in [
            (away(), vec![1, 2, 4, 8, 15, 15]),
            (TriageError::OverBudget("full".into()), vec![5, 10, 20, 40, 60, 60]),
            (TriageError::Configuration("no such model".into()), vec![10, 20, 40, 60, 60]),
        ] {
            let mut hold = Hold::new(error.clone(), at(0));
            let (mut now, mut got) = (at(0), Vec::new());
            for _ in 0..want.len() {
                got.push(hold.next_try.duration_since(now).as_secs());
                assert!(!hold.is_due(now) && hold.is_due(hold.next_try));
                now = hold.next_try;
                hold.again(error.clone(), now);
            }
            assert_eq!(got, want, "{error}");
            assert_eq!(hold.since, at(0));
        }
    }

    #[test]
    fn rules_stand_in_only_when_both_waited_long_enough() {
        let hold = Hold::new(away(), at(100));
        let five = Duration::from_secs(300);
        assert_eq!(hold.gives_up_on(five, at(399)), None, "alerts that wait for long in a busy queue are not given up");
        assert_eq!(hold.gives_up_on(five, at(400)), Some(at(100)));
        assert_eq!(hold.gives_up_on(five, at(1000)), Some(at(700)), "a later alert waits its own time");
        assert_eq!(hold.gives_up_on(Duration::ZERO, at(100)), Some(at(100)));
        assert_eq!(hold.gives_up_on(Duration::from_secs(u64::MAX), at(100)), None);
    }

    #[test]
    fn only_faults_of_the_backend_hold_the_queue() {
        assert!(is_away(&away()) && is_away(&TriageError::Configuration(String::new())));
        for own in [TriageError::Invalid("no JSON".into()), TriageError::TooLong(String::new()), TriageError::Cancelled]
        {
            assert!(!is_away(&own), "{own}");
        }
    }
}
