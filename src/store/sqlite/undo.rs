//! Undo: each act keeps what the alerts were before it.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params, params_from_iter};

use super::act::{self, Found, STATE, STATE_COLUMNS, State};
use super::{change, err, related, side, us};
use crate::model::act::{ActReport, Refusal, Refused};
use crate::model::ids::{AlertId, PersonId, UndoId};
use crate::store::{Result, StoreError};

/// How long an act can be undone.
const KEEP_SECONDS: i64 = 14 * 86_400;

pub(super) fn start(tx: &Transaction<'_>, word: &str, by: &PersonId, now: Timestamp) -> Result<UndoId> {
    tx.prepare_cached("INSERT INTO undo(by, at, word, n) VALUES(?, ?, ?, 0)")
        .and_then(|mut s| s.execute(params![by.as_str(), us(now), word]))
        .map_err(err)?;
    let id = tx.last_insert_rowid();
    if id % 256 == 0 {
        prune(tx, now)?;
    }
    Ok(UndoId(id))
}

/// Lets go of what nobody can or will undo any more.
fn prune(tx: &Transaction<'_>, now: Timestamp) -> Result<()> {
    let old = us(now) - KEEP_SECONDS * 1_000_000;
    tx.execute("DELETE FROM undo_item WHERE undo IN (SELECT id FROM undo WHERE used = 1 OR at < ?)", [old])
        .map_err(err)?;
    tx.execute("DELETE FROM undo WHERE used = 1 OR at < ?", [old]).map_err(err)?;
    Ok(())
}

/// Keeps what one alert was. `line` is the timeline's line that an undo takes back (a note's text).
pub(super) fn remember(
    tx: &Transaction<'_>,
    undo: UndoId,
    id: AlertId,
    before: &Found,
    after: &State,
    line: Option<i64>,
) -> Result<()> {
    let set_priority = (after.priority != before.state.priority).then(|| after.priority.id());
    let marks: Vec<String> = (1..=STATE_COLUMNS + 5).map(|i| format!("?{i}")).collect();
    let sql = format!(
        "INSERT INTO undo_item(undo, alert, touch, timeline, set_priority, {STATE}) VALUES({})",
        marks.join(", ")
    );
    let head = [
        Value::Integer(undo.0),
        Value::Integer(id.0),
        Value::Integer(before.touch + 1),
        line.map_or(Value::Null, Value::Integer),
        set_priority.map_or(Value::Null, Value::Integer),
    ];
    let values = head.into_iter().chain(before.state.values().map(|(_, v)| v));
    tx.prepare_cached(&sql).and_then(|mut s| s.execute(params_from_iter(values))).map_err(err)?;
    Ok(())
}

pub(super) fn seal(tx: &Transaction<'_>, undo: UndoId, n: usize, made_case: Option<i64>) -> Result<()> {
    tx.execute("UPDATE undo SET n = ?, made_case = ? WHERE id = ?", params![n as i64, made_case, undo.0])
        .map_err(err)?;
    Ok(())
}

pub(super) fn forget(tx: &Transaction<'_>, undo: UndoId) -> Result<()> {
    tx.execute("DELETE FROM undo WHERE id = ?", [undo.0]).map_err(err)?;
    Ok(())
}

pub(super) fn last(conn: &Connection, by: &PersonId) -> Result<Option<(UndoId, String, usize)>> {
    conn.prepare_cached(
        "SELECT id, word, n FROM undo u INDEXED BY undo_by WHERE by = ? AND used = 0 AND EXISTS(
           SELECT 1 FROM undo_item i JOIN alert a ON a.id = i.alert WHERE i.undo = u.id AND a.touch = i.touch)
         ORDER BY id DESC LIMIT 1",
    )
    .and_then(|mut s| {
        s.query_row([by.as_str()], |r| {
            Ok((UndoId(r.get(0)?), r.get(1)?, usize::try_from(r.get::<_, i64>(2)?).unwrap_or(0)))
        })
        .optional()
    })
    .map_err(err)
}

struct Item {
    id: AlertId,
    touch: i64,
    line: Option<i64>,
    set_priority: Option<i64>,
    before: State,
}

/// Puts back alert by alert. It is spent afterwards, whatever came of it.
pub(super) fn undo(tx: &Transaction<'_>, undo: UndoId, by: &PersonId, now: Timestamp) -> Result<ActReport> {
    let known: Option<(String, Option<i64>)> = tx
        .query_row(
            "UPDATE undo SET used = 1 WHERE id = ? AND by = ? AND used = 0 RETURNING word, made_case",
            params![undo.0, by.as_str()],
            |r| Ok((r.get(0)?, r.get(1)?)),
        )
        .optional()
        .map_err(err)?;
    let Some((word, made_case)) = known else {
        return Err(StoreError::NotFound(format!("an act of {by} with undo {undo} that is not undone yet")));
    };
    let mut report = ActReport::default();
    let mut changed = Vec::new();
    for item in items(tx, undo)? {
        match put_back(tx, &item, by)? {
            Some(why) => report.refused.push(Refused { id: item.id, why }),
            None => {
                related::note(tx, item.id.0, us(now), Some(by), "undo", &word)?;
                changed.push(item.id.0);
                report.done.push(item.id);
            }
        }
    }
    if let Some(case) = made_case
        && side::drop_case_if_empty(tx, case)?
    {
        change::others(tx)?;
    }
    change::alerts(tx, changed)?;
    Ok(report)
}

fn items(tx: &Transaction<'_>, undo: UndoId) -> Result<Vec<Item>> {
    let sql = format!("SELECT alert, touch, timeline, set_priority, {STATE} FROM undo_item WHERE undo = ?");
    tx.prepare_cached(&sql)
        .and_then(|mut s| {
            s.query_map([undo.0], |r| {
                Ok(Item {
                    id: AlertId(r.get(0)?),
                    touch: r.get(1)?,
                    line: r.get(2)?,
                    set_priority: r.get(3)?,
                    before: act::state(r, 4)?,
                })
            })?
            .collect()
        })
        .map_err(err)
}

/// `Some`: why not.
fn put_back(tx: &Transaction<'_>, item: &Item, by: &PersonId) -> Result<Option<Refusal>> {
    let Some(found) = act::find(tx, item.id)? else { return Ok(Some(Refusal::NotFound)) };
    if found.touch != item.touch {
        return Ok(Some(Refusal::ChangedSince { by: found.touched_by.and_then(PersonId::new) }));
    }
    let mut before = item.before.clone();
    match item.set_priority {
        // A verdict has raised it since.
        Some(set) if set != found.state.priority.id() => return Ok(Some(Refusal::ChangedSince { by: None })),
        Some(_) => {}
        // The act left the priority alone, so its undo does too.
        None => before.priority = found.state.priority,
    }
    act::write(tx, item.id, &found, &before, Some(by))?;
    // As if it had not been done: what was done before it can be undone next.
    tx.prepare_cached("UPDATE alert SET touch = ? WHERE id = ?")
        .and_then(|mut s| s.execute([item.touch - 1, item.id.0]))
        .map_err(err)?;
    if let Some(line) = item.line {
        tx.execute("UPDATE timeline SET withdrawn = 1 WHERE id = ?", [line]).map_err(err)?;
    }
    Ok(None)
}
