//! The life of a request, as one total function.

use crate::model::action::RequestState;

/// What can happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its author changes a draft.
    Edit,
    /// A draft is asked of others; `free`: it needs nobody.
    Submit {
        free: bool,
    },
    /// Somebody approved; `enough`: with that one there are as many as it needs.
    Approve {
        enough: bool,
    },
    /// One person lets it run alone, in an emergency.
    BreakGlass,
    Deny,
    /// Its author takes it back, or drops a draft.
    Withdraw,
    /// Its time ran out.
    Expire,
    /// Something it was proposed for is no longer so.
    Void,
    /// A question, an answer, a rung of the ladder, a ticket: nothing of its life.
    Remark,
    Begin,
    /// It ran, and every target is done.
    Finish,
    /// It ran, or should have, and not every target is known to be done.
    Fail,
}

impl Event {
    pub const ALL: [Self; 14] = [
        Self::Edit,
        Self::Submit { free: false },
        Self::Submit { free: true },
        Self::Approve { enough: false },
        Self::Approve { enough: true },
        Self::BreakGlass,
        Self::Deny,
        Self::Withdraw,
        Self::Expire,
        Self::Void,
        Self::Remark,
        Self::Begin,
        Self::Finish,
        Self::Fail,
    ];
}

/// The state after it, or `None` when it cannot happen now. Nothing leaves a final state, and only an approved
/// request can begin: once.
pub fn next(state: RequestState, event: Event) -> Option<RequestState> {
    use RequestState as S;
    match (state, event) {
        (S::Draft, Event::Edit) => Some(S::Draft),
        (S::Draft, Event::Submit { free: false }) => Some(S::Pending),
        (S::Draft, Event::Submit { free: true }) => Some(S::Approved),
        (S::Draft, Event::Withdraw) => Some(S::Withdrawn),
        (S::Draft, Event::Expire) => Some(S::Expired),
        (S::Pending, Event::Approve { enough: false }) => Some(S::Pending),
        (S::Pending, Event::Approve { enough: true } | Event::BreakGlass) => Some(S::Approved),
        (S::Pending | S::Approved, Event::Remark) => Some(state),
        (S::Pending | S::Approved, Event::Deny) => Some(S::Denied),
        (S::Pending | S::Approved, Event::Withdraw) => Some(S::Withdrawn),
        (S::Pending | S::Approved, Event::Expire) => Some(S::Expired),
        (S::Pending | S::Approved, Event::Void) => Some(S::Stale),
        (S::Approved, Event::Begin) => Some(S::Executing),
        (S::Executing, Event::Finish) => Some(S::Done),
        (S::Executing, Event::Fail) => Some(S::Failed),
        (
            S::Draft
            | S::Pending
            | S::Approved
            | S::Executing
            | S::Done
            | S::Failed
            | S::Expired
            | S::Denied
            | S::Withdrawn
            | S::Stale,
            _,
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every state against every event, written out. `.` cannot happen.
    #[test]
    fn the_whole_table() {
        //            edit subm free part full glas deny with expi void rema begi fini fail
        let table = [
            ("pending", ". . . pending approved approved denied withdrawn expired stale pending . . ."),
            ("approved", ". . . . . . denied withdrawn expired stale approved executing . ."),
            ("executing", ". . . . . . . . . . . . done failed"),
            ("done", ". . . . . . . . . . . . . ."),
            ("failed", ". . . . . . . . . . . . . ."),
            ("expired", ". . . . . . . . . . . . . ."),
            ("denied", ". . . . . . . . . . . . . ."),
            ("withdrawn", ". . . . . . . . . . . . . ."),
            ("stale", ". . . . . . . . . . . . . ."),
            ("draft", "draft pending approved . . . . withdrawn expired . . . . ."),
        ];
        for (state, (name, row)) in RequestState::ALL.into_iter().zip(table) {
            assert_eq!(state.word(), name);
            let cells: Vec<&str> = row.split_whitespace().collect();
            assert_eq!(cells.len(), Event::ALL.len());
            for (event, cell) in Event::ALL.into_iter().zip(cells) {
                assert_eq!(next(state, event).map_or(".", RequestState::word), cell, "{name} {event:?}");
            }
        }
    }
}
