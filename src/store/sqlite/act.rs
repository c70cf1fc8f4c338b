//! What people do to alerts: the rules of each act, and writing it with its undo in one transaction.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params, params_from_iter};

use super::{change, err, related, rows, side, time, undo, us};
use crate::model::act::{Act, ActReport, Refusal, Refused};
use crate::model::alert::{Disposition, Status};
use crate::model::ids::{AlertId, CaseId, PersonId, UndoId};
use crate::model::priority::Priority;
use crate::model::risk;
use crate::store::Result;

/// The part of an alert that acts change, as stored.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    pub status: Status,
    pub priority: Priority,
    pub owner: Option<String>,
    pub owner_since: Option<i64>,
    pub case_id: Option<i64>,
    pub snoozed_until: Option<i64>,
    pub disposition: Option<i64>,
    pub close_reason: Option<String>,
    pub close_comment: Option<String>,
    pub close_by: Option<String>,
    pub t_claim: Option<i64>,
    pub t_close: Option<i64>,
}

/// The columns of [`State`], in order.
pub(super) const STATE: &str =
    "status, priority, owner, owner_since, case_id, snoozed_until, disposition, close_reason,
 close_comment, close_by, t_claim, t_close";

pub(super) const STATE_COLUMNS: usize = 12;

pub(super) fn state(r: &Row<'_>, i: usize) -> rusqlite::Result<State> {
    Ok(State {
        status: rows::status(r, i)?,
        priority: rows::priority(r, i + 1)?,
        owner: r.get(i + 2)?,
        owner_since: r.get(i + 3)?,
        case_id: r.get(i + 4)?,
        snoozed_until: r.get(i + 5)?,
        disposition: r.get(i + 6)?,
        close_reason: r.get(i + 7)?,
        close_comment: r.get(i + 8)?,
        close_by: r.get(i + 9)?,
        t_claim: r.get(i + 10)?,
        t_close: r.get(i + 11)?,
    })
}

impl State {
    pub(super) fn values(&self) -> [(&'static str, Value); STATE_COLUMNS] {
        let int = |v: Option<i64>| v.map_or(Value::Null, Value::Integer);
        let text = |v: &Option<String>| v.clone().map_or(Value::Null, Value::Text);
        [
            ("status", self.status.id().into()),
            ("priority", self.priority.id().into()),
            ("owner", text(&self.owner)),
            ("owner_since", int(self.owner_since)),
            ("case_id", int(self.case_id)),
            ("snoozed_until", int(self.snoozed_until)),
            ("disposition", int(self.disposition)),
            ("close_reason", text(&self.close_reason)),
            ("close_comment", text(&self.close_comment)),
            ("close_by", text(&self.close_by)),
            ("t_claim", int(self.t_claim)),
            ("t_close", int(self.t_close)),
        ]
    }

    fn give_to(&mut self, who: &PersonId, now: Timestamp) {
        if self.owner.as_deref() != Some(who.as_str()) {
            self.owner = Some(who.as_str().to_owned());
            self.owner_since = Some(us(now));
        }
        self.t_claim.get_or_insert(us(now));
    }

    fn forget_closing(&mut self) {
        self.disposition = None;
        self.close_reason = None;
        self.close_comment = None;
        self.close_by = None;
        self.t_close = None;
    }
}

/// An alert as an act finds it.
pub(super) struct Found {
    pub state: State,
    pub touch: i64,
    pub touched_by: Option<String>,
    confidence: Option<u8>,
    asset_weight: u16,
    t_ingest: i64,
}

pub(super) fn find(tx: &Transaction<'_>, id: AlertId) -> Result<Option<Found>> {
    let sql = format!("SELECT {STATE}, touch, touched_by, confidence, asset_weight, t_ingest FROM alert WHERE id = ?");
    tx.prepare_cached(&sql)
        .and_then(|mut s| {
            s.query_row([id.0], |r| {
                Ok(Found {
                    state: state(r, 0)?,
                    touch: r.get(STATE_COLUMNS)?,
                    touched_by: r.get(STATE_COLUMNS + 1)?,
                    confidence: r.get(STATE_COLUMNS + 2)?,
                    asset_weight: r.get(STATE_COLUMNS + 3)?,
                    t_ingest: r.get(STATE_COLUMNS + 4)?,
                })
            })
            .optional()
        })
        .map_err(err)
}

/// Writes what differs. `by` is `None` for a clock.
pub(super) fn write(
    tx: &Transaction<'_>,
    id: AlertId,
    found: &Found,
    after: &State,
    by: Option<&PersonId>,
) -> Result<()> {
    let mut sets = vec!["rev = rev + 1".to_owned(), "touch = touch + 1".to_owned(), "touched_by = ?1".to_owned()];
    let mut values = vec![by.map_or(Value::Null, |b| Value::Text(b.as_str().to_owned()))];
    for ((column, before), (_, now)) in found.state.values().into_iter().zip(after.values()) {
        if before != now {
            values.push(now);
            sets.push(format!("{column} = ?{}", values.len()));
        }
    }
    if after.priority != found.state.priority {
        let rank = risk::rank(after.priority, found.asset_weight, found.confidence, time(found.t_ingest));
        values.push(Value::Real(rank));
        sets.push(format!("rank = ?{}", values.len()));
    }
    values.push(Value::Integer(id.0));
    let sql = format!("UPDATE alert SET {} WHERE id = ?{}", sets.join(", "), values.len());
    tx.prepare_cached(&sql).and_then(|mut s| s.execute(params_from_iter(values))).map_err(err)?;
    let (a, b) = (&found.state, after);
    if (a.status, &a.owner, a.disposition) != (b.status, &b.owner, b.disposition) {
        side::mark_dirty(tx, id.0)?;
    }
    Ok(())
}

/// What an act makes of one alert.
#[derive(Debug)]
enum Outcome {
    /// With the timeline's words.
    Becomes(Box<State>, String),
    /// It is so already.
    Already,
    Refused(Refusal),
}

fn becomes(state: State, text: impl Into<String>) -> Outcome {
    Outcome::Becomes(Box::new(state), text.into())
}

/// The rules. Acts on what somebody else holds are refused with their name, save assigning, merging, noting and
/// prioritising, which do not take it away unawares.
fn judge(act: &Act, s: &State, by: &PersonId, now: Timestamp, case: Option<CaseId>) -> Outcome {
    let wrong = || Outcome::Refused(Refusal::WrongState { status: s.status });
    let open = matches!(s.status, Status::New | Status::Claimed | Status::Snoozed);
    let mine = s.owner.as_deref() == Some(by.as_str());
    let takes = matches!(act, Act::Claim | Act::Release | Act::Close { .. } | Act::Snooze { .. } | Act::Wake);
    if takes
        && open
        && !mine
        && let Some(holder) = held_by(s)
    {
        return Outcome::Refused(holder);
    }
    let mut next = s.clone();
    match act {
        Act::Claim if !open => wrong(),
        Act::Claim if mine && s.status == Status::Claimed => Outcome::Already,
        Act::Claim => {
            next.status = Status::Claimed;
            next.snoozed_until = None;
            next.give_to(by, now);
            becomes(next, "")
        }
        Act::Release if !open || !mine => wrong(),
        Act::Release => {
            // Nobody has it: its response clock runs again.
            (next.owner, next.owner_since, next.t_claim) = (None, None, None);
            if s.status == Status::Claimed {
                next.status = Status::New;
            }
            becomes(next, "")
        }
        Act::Assign { .. } if !open => wrong(),
        Act::Assign { to } if s.owner.as_deref() == Some(to.as_str()) => Outcome::Already,
        Act::Assign { to } => {
            if s.status == Status::New {
                next.status = Status::Claimed;
            }
            next.give_to(to, now);
            becomes(next, format!("to {to}"))
        }
        Act::Close { .. } if !open => wrong(),
        Act::Close { disposition, reason, comment } => {
            next.status = Status::Closed;
            next.snoozed_until = None;
            next.give_to(by, now);
            next.disposition = Some(disposition.id());
            next.close_reason = Some(reason.expose().to_owned());
            next.close_comment = comment.as_ref().map(|c| c.expose().to_owned());
            next.close_by = Some(by.as_str().to_owned());
            next.t_close = Some(us(now));
            let comment = comment.as_ref().map(|c| format!(" ({})", c.expose())).unwrap_or_default();
            becomes(next, format!("{}: {}{comment}", disposition.word(), reason.expose()))
        }
        Act::Reopen if s.status != Status::Closed => wrong(),
        Act::Reopen => {
            // Whoever opens it again has it.
            let was = s.disposition.and_then(Disposition::from_id).map_or("", Disposition::word);
            next.forget_closing();
            next.status = Status::Claimed;
            next.give_to(by, now);
            becomes(next, format!("was {was}"))
        }
        Act::Snooze { until, .. } if !open || *until <= now => wrong(),
        Act::Snooze { until, reason } => {
            next.status = Status::Snoozed;
            next.snoozed_until = Some(us(*until));
            becomes(next, format!("until {until}: {}", reason.expose()))
        }
        Act::Wake if s.status != Status::Snoozed => wrong(),
        Act::Wake => becomes(awake(next), ""),
        Act::Merge { .. } => match case {
            None => Outcome::Refused(Refusal::NoSuchCase),
            Some(case) if s.case_id == Some(case.0) => Outcome::Already,
            Some(case) => {
                next.case_id = Some(case.0);
                becomes(next, format!("into case {case}"))
            }
        },
        Act::Detach => match s.case_id {
            None => wrong(),
            Some(case) => {
                next.case_id = None;
                becomes(next, format!("from case {case}"))
            }
        },
        Act::Note { text } => becomes(next, text.expose()),
        Act::Prioritise { .. } if !open => wrong(),
        Act::Prioritise { to, .. } if *to == s.priority => Outcome::Already,
        Act::Prioritise { to, reason } => {
            next.priority = *to;
            becomes(next, format!("{} to {}: {}", s.priority.word(), to.word(), reason.expose()))
        }
    }
}

fn held_by(s: &State) -> Option<Refusal> {
    let person = PersonId::new(s.owner.clone()?)?;
    Some(Refusal::HeldBy { person, since: time(s.owner_since.or(s.t_claim).unwrap_or(0)) })
}

fn awake(mut s: State) -> State {
    s.snoozed_until = None;
    s.status = if s.owner.is_some() { Status::Claimed } else { Status::New };
    s
}

pub(super) fn act(
    tx: &Transaction<'_>,
    act: &Act,
    ids: &[AlertId],
    by: &PersonId,
    now: Timestamp,
) -> Result<ActReport> {
    let mut report = ActReport::default();
    let (case, made) = case_for(tx, act, by, now)?;
    let undo = undo::start(tx, act.word(), by, now)?;
    let mut changed = Vec::new();
    let mut seen = std::collections::HashSet::with_capacity(ids.len());
    for id in ids.iter().filter(|id| seen.insert(**id)) {
        let Some(found) = find(tx, *id)? else {
            report.refused.push(Refused { id: *id, why: Refusal::NotFound });
            continue;
        };
        match judge(act, &found.state, by, now, case) {
            Outcome::Refused(why) => report.refused.push(Refused { id: *id, why }),
            Outcome::Already => report.done.push(*id),
            Outcome::Becomes(after, text) => {
                write(tx, *id, &found, &after, Some(by))?;
                let line = related::note(tx, id.0, us(now), Some(by), act.word(), &text)?;
                undo::remember(tx, undo, *id, &found, &after, matches!(act, Act::Note { .. }).then_some(line))?;
                changed.push(id.0);
                report.done.push(*id);
            }
        }
    }
    finish(tx, &mut report, undo, &changed, made)?;
    if matches!(act, Act::Merge { .. }) && !report.done.is_empty() {
        report.case = case;
    }
    change::alerts(tx, changed)?;
    Ok(report)
}

/// The case a merge goes into, and whether it was made for it.
fn case_for(tx: &Transaction<'_>, act: &Act, by: &PersonId, now: Timestamp) -> Result<(Option<CaseId>, bool)> {
    match act {
        Act::Merge { case: Some(id), .. } => Ok((side::case(tx, *id)?.map(|c| c.id), false)),
        Act::Merge { case: None, title } => Ok((Some(side::new_case(tx, title, by, now)?), true)),
        _ => Ok((None, false)),
    }
}

fn finish(tx: &Transaction<'_>, report: &mut ActReport, undo: UndoId, changed: &[i64], made_case: bool) -> Result<()> {
    if changed.is_empty() {
        undo::forget(tx, undo)?;
        if made_case {
            // Nothing went into it: as if it had never been made.
            tx.execute("DELETE FROM case_file WHERE id = (SELECT max(id) FROM case_file)", []).map_err(err)?;
        }
        return Ok(());
    }
    let made = if made_case {
        tx.query_row("SELECT max(id) FROM case_file", [], |r| r.get::<_, Option<i64>>(0)).map_err(err)?
    } else {
        None
    };
    undo::seal(tx, undo, changed.len(), made)?;
    report.undo = Some(undo);
    if made_case {
        change::others(tx)?;
    }
    Ok(())
}

const DUE: &str = "SELECT id FROM alert INDEXED BY alert_snooze WHERE snoozed_until <= ? AND status = 2";

pub(super) fn snoozes_due(conn: &Connection, now: Timestamp) -> Result<bool> {
    conn.prepare_cached(DUE).and_then(|mut s| s.exists([us(now)])).map_err(err)
}

pub(super) fn wake_due(tx: &Transaction<'_>, now: Timestamp) -> Result<usize> {
    let due: Vec<i64> =
        tx.prepare_cached(DUE).and_then(|mut s| s.query_map(params![us(now)], |r| r.get(0))?.collect()).map_err(err)?;
    for id in &due {
        if let Some(found) = find(tx, AlertId(*id))? {
            let after = awake(found.state.clone());
            write(tx, AlertId(*id), &found, &after, None)?;
            related::note(tx, *id, us(now), None, "wake", "the snooze has run out")?;
        }
    }
    let n = due.len();
    change::alerts(tx, due)?;
    Ok(n)
}
