//! The queue: loading its window, live changes, moving, acts and what follows from them.

use super::super::layout;
use super::super::state::queue::{MARK_CAP, PAGE};
use super::super::state::{Load, Overlay, State, Tab};
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::{Effect, Out, reload_detail};
use crate::model::act::{Act, ActReport, Refusal};
use crate::model::alert::AlertRow;
use crate::model::ids::AlertId;
use crate::model::query::{Count, Page, Query, QueryError, SortKey};

/// While following, keys for the alert under the cursor wait this long after another alert came there.
const LOOK_AGAIN_MS: i64 = 600;

/// A new filter, order or view: from the top.
pub fn load_top(state: &mut State, out: &mut Out) {
    let q = &mut state.queue;
    q.follow = q.marks.is_empty();
    q.keep_line = None;
    load(state, Page::First, PAGE, out);
}

/// The same query again, standing where we stand.
pub fn reload_in_place(state: &mut State, out: &mut Out) {
    let q = &mut state.queue;
    q.keep_line = q.cursor_index().map(|i| i.saturating_sub(q.scroll));
    match (q.cursor, q.at_top && q.rows.len() <= 2 * PAGE) {
        (Some(_), true) | (None, _) => {
            let at = q.cursor_index().unwrap_or(0);
            load(state, Page::First, (at + PAGE / 2).max(PAGE), out);
        }
        (Some(id), false) => load(state, Page::Around(id), PAGE, out),
    }
}

fn load(state: &mut State, page: Page, limit: usize, out: &mut Out) {
    let q = &mut state.queue;
    // A newer question makes the answer to an older one worthless.
    q.generation += 1;
    q.base_total = None;
    q.loading = true;
    q.load_again = false;
    out.push(Effect::Rows { generation: q.generation, query: q.query.clone(), sort: q.sort, page, limit });
    count(state, out);
}

fn count(state: &mut State, out: &mut Out) {
    let q = &mut state.queue;
    if q.counting {
        q.count_again = true;
        return;
    }
    q.counting = true;
    q.count_again = false;
    let cursor = if q.follow { None } else { q.cursor };
    out.push(Effect::Count { generation: q.generation, query: q.query.clone(), sort: q.sort, cursor });
}

pub fn parsed(state: &mut State, text: String, apply: bool, result: Result<Query, QueryError>, out: &mut Out) {
    if !apply {
        if let Some(Overlay::Filter(f)) = state.overlays.last_mut() {
            f.parsed = Some((text, result));
        }
        return;
    }
    if state.queue.asked.as_ref().is_some_and(|asked| *asked != text) {
        return;
    }
    match result {
        Ok(query) => {
            if matches!(state.overlays.last(), Some(Overlay::Filter(_))) {
                state.overlays.pop();
            }
            let q = &mut state.queue;
            q.query = query;
            q.text = text;
            q.cursor = None;
            q.marks.clear();
            q.rows.clear();
            q.gone.clear();
            q.total = None;
            q.load = Load::Waiting { since: state.now };
            load_top(state, out);
        }
        Err(e) => {
            let said = say!("column ", e.column, ": ", Said::of(&e.message));
            if let Some(Overlay::Filter(f)) = state.overlays.last_mut() {
                f.parsed = Some((text, Err(e)));
            } else {
                state.queue.load.breaks(say!("the filter cannot be read, ", said), state.now);
            }
        }
    }
}

pub fn rows(
    state: &mut State,
    generation: u64,
    page: Page,
    limit: usize,
    result: Result<(Vec<AlertRow>, u64), Said>,
    out: &mut Out,
) {
    if generation != state.queue.generation {
        return;
    }
    if !state.lists_asked {
        state.lists_asked = true;
        out.extend([Effect::Requests, Effect::Cases, Effect::Views, Effect::Suppressions]);
    }
    let height = layout::queue_rows(state);
    let now = state.now;
    state.queue.loading = false;
    let (rows, base) = match result {
        Ok(r) => r,
        Err(e) => {
            state.queue.load.breaks(e.clone(), now);
            state.tell(Role::Bad, say!("the queue could not be loaded: ", e));
            return;
        }
    };
    if matches!(state.queue.load, Load::Broken { .. }) {
        state.tell(Role::Good, say!("the queue is loaded again"));
    }
    let q = &mut state.queue;
    q.load = Load::Ready { at: now };
    let complete = rows.len() < limit;
    match page {
        Page::After(_) => q.extend(rows, true, complete),
        Page::Before(_) => q.extend(rows, false, complete),
        Page::First | Page::Last | Page::Around(_) => {
            let old = q.cursor_index();
            let before = q.cursor;
            q.at_top = page == Page::First || base == 0;
            q.at_end = page == Page::Last || (page == Page::First && complete);
            q.base = if q.at_top { 0 } else { base };
            q.rows = rows;
            q.gone.clear();
            (q.new_above, q.new_below) = (0, 0);
            if q.follow {
                q.cursor = q.rows.first().map(|r| r.id);
                if before.is_some() && before != q.cursor {
                    q.moved_at = Some(now);
                }
                q.scroll = 0;
            } else if q.cursor_index().is_none() {
                let fallback = if page == Page::Last { q.rows.len() } else { old.unwrap_or(0) };
                q.cursor = q.rows.get(fallback.min(q.rows.len().saturating_sub(1))).map(|r| r.id);
            }
            if let (Some(line), Some(at)) = (q.keep_line.take(), q.cursor_index()) {
                q.scroll = at.saturating_sub(line);
            }
        }
    }
    q.reveal(height);
    if q.load_again {
        live_reload(state, out);
    }
}

/// Near an edge of the window, the next page is asked for.
pub fn near_edge(state: &mut State, out: &mut Out) {
    let height = layout::queue_rows(state);
    let q = &mut state.queue;
    if q.loading || !matches!(q.load, Load::Ready { .. }) {
        return;
    }
    let Some(at) = q.cursor_index() else { return };
    let page = if !q.at_end && q.rows.len() - at <= height + 10 {
        q.rows.last().map(|r| Page::After(r.id))
    } else if !q.at_top && at <= height + 10 {
        q.rows.first().map(|r| Page::Before(r.id))
    } else {
        None
    };
    if let Some(page) = page {
        q.loading = true;
        out.push(Effect::Rows { generation: q.generation, query: q.query.clone(), sort: q.sort, page, limit: PAGE });
    }
}

/// Something changed in the store.
pub fn changed(state: &mut State, alerts: &[AlertId], overflow: bool, others: bool, out: &mut Out) {
    if others {
        out.extend([Effect::Requests, Effect::Cases]);
        match state.tab {
            Tab::Views => out.push(Effect::Views),
            Tab::Suppressions => out.push(Effect::Suppressions),
            _ => {}
        }
    }
    if matches!(state.live, super::Live::Paused) || (alerts.is_empty() && !overflow) {
        return;
    }
    if state.detail.wanted.is_some_and(|id| overflow || alerts.contains(&id)) {
        reload_detail(state, out);
    }
    live_reload(state, out);
    if !state.queue.follow {
        let seen: Vec<AlertId> =
            state.queue.rows.iter().map(|r| r.id).filter(|id| overflow || alerts.contains(id)).collect();
        if !seen.is_empty() {
            out.push(Effect::Refresh(seen));
        }
    }
}

/// Following: the top again. Frozen: only count.
fn live_reload(state: &mut State, out: &mut Out) {
    let q = &mut state.queue;
    if matches!(q.load, Load::Waiting { .. }) && !q.loading {
        return;
    }
    if q.follow && state.overlays.is_empty() {
        if q.loading {
            q.load_again = true;
        } else {
            load(state, Page::First, PAGE, out);
        }
    } else {
        count(state, out);
    }
}

pub fn counted(
    state: &mut State,
    generation: u64,
    cursor: Option<AlertId>,
    result: Result<(Count, Option<Count>), Said>,
    out: &mut Out,
) {
    let q = &mut state.queue;
    q.counting = false;
    match result {
        Ok((total, above)) if generation == q.generation => {
            q.total = Some(total);
            if total.exact && q.base_total.is_none() {
                q.base_total = Some(total.n);
            }
            if let Some(above) = above.filter(|_| cursor == q.cursor && !q.follow) {
                q.new_above = above.n.saturating_sub(q.known_above());
                let new = total.n.saturating_sub(q.base_total.unwrap_or(total.n));
                q.new_below = if total.exact { new.saturating_sub(q.new_above) } else { 0 };
                // The end has moved away: it can be gone to again.
                q.at_end &= q.new_below == 0;
            }
        }
        Ok(_) => q.count_again = true,
        Err(e) => state.tell(Role::Bad, say!("the queue cannot be counted: ", e)),
    }
    if state.queue.count_again {
        count(state, out);
    }
}

// --- moving ------------------------------------------------------------------------------------

/// The person looks at a certain row: order stands still from now on.
pub fn freeze(state: &mut State) {
    state.queue.follow = false;
}

pub fn step(state: &mut State, by: isize) {
    freeze(state);
    let height = layout::queue_rows(state);
    let q = &mut state.queue;
    let at = q.cursor_index().unwrap_or(0) as isize;
    let last = q.rows.len() as isize - 1;
    let to = at.saturating_add(by).min(last).max(0) as usize;
    if let Some(row) = q.rows.get(to) {
        if q.cursor != Some(row.id) {
            // The count was for another row: right again with the next answer.
            q.new_above =
                if q.at_top && to == 0 { q.new_above } else { q.new_above.min(super::super::state::queue::COUNT_CAP) };
        }
        q.cursor = Some(row.id);
    }
    q.reveal(height);
}

pub fn top(state: &mut State, out: &mut Out) {
    state.queue.cursor = None;
    state.queue.follow = state.queue.marks.is_empty();
    state.queue.scroll = 0;
    load(state, Page::First, PAGE, out);
    state.queue.moved_at = None;
}

pub fn bottom(state: &mut State, out: &mut Out) {
    freeze(state);
    if state.queue.at_end {
        step(state, isize::MAX);
    } else {
        state.queue.cursor = None;
        load(state, Page::Last, PAGE, out);
    }
}

/// While new alerts come in at the top, a key must not hit an alert nobody has seen there yet.
pub fn moved_just_now(state: &State) -> bool {
    let q = &state.queue;
    q.follow && q.moved_at.is_some_and(|t| state.now.as_millisecond() - t.as_millisecond() < LOOK_AGAIN_MS)
}

pub fn mark(state: &mut State) {
    let Some(id) = state.queue.cursor else { return };
    freeze(state);
    if !state.queue.marks.remove(&id) {
        if state.queue.marks.len() >= MARK_CAP {
            state.tell(Role::Warn, say!("at most ", MARK_CAP, " can be marked"));
            return;
        }
        state.queue.marks.insert(id);
    }
    step(state, 1);
}

pub fn all_ids(state: &mut State, generation: u64, result: Result<(Vec<AlertId>, bool), Said>) {
    match result {
        Ok((ids, more)) if generation == state.queue.generation => {
            freeze(state);
            let n = ids.len();
            state.queue.marks.extend(ids);
            if more {
                state.tell(Role::Warn, say!("marked the first ", n, " of more; acts reach the marked ones only"));
            } else {
                state.tell(Role::Info, say!("marked all ", n));
            }
        }
        Ok(_) => {}
        Err(e) => state.tell(Role::Bad, e),
    }
}

pub fn sort(state: &mut State, key: SortKey, out: &mut Out) {
    state.queue.sort = key;
    state.queue.cursor = None;
    state.queue.rows.clear();
    load_top(state, out);
    state.tell(Role::Info, say!("ordered by ", key.word()));
}

// --- acts --------------------------------------------------------------------------------------

/// Sends an act of this person on these alerts.
pub fn act(state: &mut State, act: Act, ids: Vec<AlertId>, out: &mut Out) {
    let Some(by) = state.my_id().cloned() else { return };
    if ids.is_empty() {
        return;
    }
    freeze(state);
    state.acting += 1;
    out.push(Effect::Act { by, act, ids });
}

pub fn acted(state: &mut State, act: &Act, result: Result<ActReport, Said>, out: &mut Out) {
    state.acting = state.acting.saturating_sub(1);
    let report = match result {
        Ok(r) => r,
        Err(e) => {
            super::forms::fail(state, say!("not done: ", e));
            return;
        }
    };
    super::forms::finish(state);
    tell_report(state, act, &report);
    for id in &report.done {
        state.queue.marks.remove(id);
    }
    follow_up(state, act, &report, out);
}

/// Afterwards the list is brought up to date, and the cursor stays where it is or on the next line.
fn follow_up(state: &mut State, act: &Act, report: &ActReport, out: &mut Out) {
    if report.done.is_empty() {
        out.push(Effect::Refresh(report.refused.iter().map(|r| r.id).collect()));
        return;
    }
    if matches!(act, Act::Merge { .. } | Act::Detach) {
        out.push(Effect::Cases);
    }
    let leaves = matches!(act, Act::Close { .. } | Act::Snooze { .. });
    if !leaves {
        out.push(Effect::Refresh(report.done.clone()));
        if state.detail.wanted.is_some_and(|id| report.done.contains(&id)) {
            reload_detail(state, out);
        }
        return;
    }
    let q = &mut state.queue;
    let line = q.cursor_index().map(|i| i.saturating_sub(q.scroll));
    if let Some(at) = q.cursor_index().filter(|at| report.done.contains(&q.rows[*at].id)) {
        let stays = |r: &&AlertRow| !report.done.contains(&r.id);
        let next = q.rows[at..].iter().find(stays).or_else(|| q.rows[..at].iter().rev().find(stays));
        q.cursor = next.map(|r| r.id);
    }
    reload_in_place(state, out);
    state.queue.keep_line = line;
}

fn tell_report(state: &mut State, act: &Act, report: &ActReport) {
    let n = report.done.len();
    let done = match (n, report.done.first()) {
        (0, _) => None,
        (1, Some(id)) => Some(say!("alert ", *id)),
        _ => Some(say!(n, " alerts")),
    };
    let past = match act {
        Act::Claim => say!("yours now"),
        Act::Release => say!("back in the queue"),
        Act::Assign { to } => say!("given to ", to),
        Act::Close { disposition, .. } => say!("closed as ", disposition.word()),
        Act::Reopen => say!("open again"),
        Act::Snooze { until, .. } => say!("asleep until ", Said::moment(*until), " UTC"),
        Act::Wake => say!("awake"),
        Act::Merge { .. } => match report.case {
            Some(c) => say!("in case #", c),
            None => say!("in the case"),
        },
        Act::Detach => say!("out of its case"),
        Act::Note { .. } => say!("noted"),
        Act::Prioritise { to, .. } => say!("is ", to.word()),
    };
    let mut said = done.map_or_else(Said::new, |d| say!(d, ": ", past));
    if let Some(first) = report.refused.first() {
        if !said.is_empty() {
            said.push(&"   ");
        }
        said.push(&refusal(first.id, &first.why));
        if report.refused.len() > 1 {
            said.push(&say!(" (and ", report.refused.len() - 1, " more refused)"));
        }
    }
    if report.undo.is_some() {
        let key = state.look.keymap.hint(super::super::action::Do::Undo, &[super::super::action::Scope::Global]);
        if let Some(key) = key {
            said.push(&say!("   ", Said::of(&key), " takes it back"));
        }
    }
    let role = match (report.done.is_empty(), report.refused.is_empty()) {
        (false, true) => Role::Good,
        (false, false) => Role::Warn,
        _ => Role::Bad,
    };
    state.tell(role, said);
}

/// Why an alert was left as it was, in words.
pub fn refusal(id: AlertId, why: &Refusal) -> Said {
    match why {
        Refusal::NotFound => say!("alert ", id, " is no longer there"),
        Refusal::HeldBy { person, since } => {
            say!("alert ", id, " is with ", person, " since ", super::super::words::Clock(*since))
        }
        Refusal::WrongState { status } => say!("alert ", id, " is ", status.word()),
        Refusal::ChangedSince { by: Some(p) } => say!("alert ", id, " was changed since by ", p),
        Refusal::ChangedSince { by: None } => say!("alert ", id, " has changed since"),
        Refusal::NoSuchCase => say!("there is no such case"),
    }
}

pub fn undone(state: &mut State, result: Result<(String, ActReport), Said>, out: &mut Out) {
    match result {
        Ok((what, report)) => {
            let mut said = say!("taken back: ", Said::of(&what), " of ");
            match report.done.as_slice() {
                [one] => said.push(&say!("alert ", *one)),
                many => said.push(&say!(many.len(), " alerts")),
            }
            if let Some(first) = report.refused.first() {
                said.push(&say!("   ", refusal(first.id, &first.why)));
            }
            let role = if report.refused.is_empty() { Role::Good } else { Role::Warn };
            state.tell(role, said);
            freeze(state);
            if let Some(id) = report.done.first() {
                // To where it happened.
                state.queue.cursor = Some(*id);
            }
            reload_in_place(state, out);
            if let Some(id) = report.done.first()
                && state.queue.index_of(*id).is_none()
            {
                load(state, Page::Around(*id), PAGE, out);
            }
            reload_detail(state, out);
            out.push(Effect::Cases);
        }
        Err(e) => state.tell(Role::Warn, e),
    }
}
