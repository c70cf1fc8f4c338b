//! `update(&mut State, now, Msg) -> Vec<Effect>`: pure and total. What has to be done outside comes back as effects.

mod acts;
mod approvals;
pub mod cases;
mod deadlines;
mod drafts;
mod forms;
pub mod kept;
mod keys;
mod lists;
mod msg;
mod open;
mod platform;
mod playbooks;
mod queue;
mod relayout;
pub mod steps;
mod submit;
#[cfg(test)]
pub mod tests;
mod triage;

use std::sync::Arc;

use jiff::Timestamp;

use super::layout;
use super::state::{Facts, Live, Load, Overlay, State, Tab};
use super::theme::Role;
use super::words::{Said, say};
use crate::desk::Detail;
use crate::model::ids::AlertId;
pub use msg::{Effect, Msg};

type Out = Vec<Effect>;

/// What a new console asks first: the queue. The lists of the other tabs come after its first page.
pub fn start(state: &mut State) -> Out {
    let text = state.queue.text.clone();
    state.queue.asked = Some(text.clone());
    vec![Effect::Parse { text, apply: true }]
}

/// Takes one message.
pub fn update(state: &mut State, now: Timestamp, msg: Msg) -> Out {
    state.now = now;
    let mut out = Vec::new();
    take(state, msg, &mut out);
    settle(state, &mut out);
    for effect in &out {
        if let Effect::Parse { text, apply: true } = effect {
            state.queue.asked = Some(text.clone());
        }
    }
    out
}

/// A user's input is ignored from here on: it is for tests and the screenshot to see when all is at rest.
fn take(state: &mut State, msg: Msg, out: &mut Out) {
    match msg {
        Msg::Key(key) => keys::key(state, key, out),
        Msg::Paste(text) => keys::paste(state, &text, out),
        Msg::Wheel { up } => keys::wheel(state, up, out),
        Msg::Click { x, y } => keys::click(state, x, y, out),
        Msg::Resize(w, h) => {
            state.size = (w, h);
            state.repaint = true;
            let rows = layout::queue_rows(state);
            state.queue.reveal(rows);
        }
        Msg::Tick => {}
        Msg::Resumed => state.repaint = true,
        Msg::Changed { alerts, overflow, others } => {
            if state.tab == Tab::Triage {
                triage::load_stats(state, out);
            }
            if others && state.tab == Tab::Playbooks {
                playbooks::load(state, out);
            }
            if others && state.tab == Tab::Cases && state.full {
                cases::load(state, out);
            }
            queue::changed(state, &alerts, overflow, others, out);
        }
        Msg::Facts(facts) => {
            if facts.kill != state.facts.kill {
                kill_switch_moved(state, &facts);
            }
            let moved = facts.queue != state.facts.queue;
            state.facts = facts;
            if moved && state.tab == Tab::Triage {
                triage::load_stats(state, out);
            }
        }
        Msg::Platform(reading) => {
            let gate = state.platform.gate != reading.gate;
            platform::taken(state, reading);
            if gate {
                approvals::ask_standing(state, out);
            }
        }
        Msg::Link(Ok(())) => {
            let was_stale = matches!(state.live, Live::Stale { .. });
            if !matches!(state.live, Live::Paused) {
                state.live = Live::Live;
            }
            if was_stale {
                refresh(state, out);
            }
        }
        Msg::Link(Err(why)) => {
            let since = if let Live::Stale { since, .. } = state.live { since } else { state.now };
            state.live = Live::Stale { since, why };
        }
        Msg::Parsed { text, apply, result } => queue::parsed(state, text, apply, result, out),
        Msg::Rows { generation, page, limit, result } => queue::rows(state, generation, page, limit, result, out),
        Msg::Refreshed(Ok(rows)) => state.queue.replace(rows),
        Msg::Refreshed(Err(e)) => state.tell(Role::Bad, e),
        Msg::Counted { generation, cursor, result } => queue::counted(state, generation, cursor, result, out),
        Msg::Detail { id, result } => detail(state, id, result, out),
        Msg::Raw { id, result } => raw(state, id, result),
        Msg::AllIds { generation, result } => queue::all_ids(state, generation, result),
        Msg::Acted { act, result } => queue::acted(state, &act, result, out),
        Msg::Undone(result) => queue::undone(state, result, out),
        Msg::Cases(r) => put(&mut state.cases, r, state.now, |c| c.id),
        Msg::Requests(r) => approvals::loaded(state, r),
        Msg::Views(r) => put(&mut state.views, r, state.now, |v| v.view.name.clone()),
        Msg::Suppressions(r) => put(&mut state.suppressions, r, state.now, |s| s.id),
        Msg::Preview { query, result } => forms::preview(state, query, result),
        Msg::Done(r) => forms::done(state, r, out),
        Msg::Proposed(r) => approvals::proposed(state, r, out),
        Msg::Kept { run, result } => kept::kept(state, run.as_deref(), result, out),
        Msg::Tried { draft, result } => acts::tried(state, &draft, result, out),
        Msg::Standing { id, result, ladder } => approvals::standing(state, &id, result, &ladder),
        Msg::Decided { what, result } => approvals::decided(state, what, result, out),
        other => take_triage(state, other, out),
    }
}

fn take_triage(state: &mut State, msg: Msg, out: &mut Out) {
    match msg {
        Msg::Progress { id, question, text } => triage::progress(state, id, question, &text),
        Msg::Judged { id, result } => triage::judged(state, id, result, out),
        Msg::Answered { id, result } => triage::answered(state, id, result, out),
        Msg::Reviewed { id, result } => triage::reviewed(state, id, result, out),
        Msg::Queued(r) => triage::queued(state, r),
        Msg::Unqueued(r) => triage::unqueued(state, r),
        Msg::Stats(r) => triage::stats(state, r),
        Msg::Exchanges { id, result } => triage::exchanges(state, id, result),
        Msg::Beat => {
            triage::beat(state, out);
            playbooks::beat(state, out);
        }
        Msg::Runs(r) => put(&mut state.playbook.runs, r, state.now, |r| r.id.clone()),
        Msg::RunOf { id, result } => playbooks::loaded(state, &id, result),
        Msg::Offered { of, result } => playbooks::offered(state, of, result),
        Msg::StepOffered(result) => steps::offered(state, result, out),
        Msg::StepProposed { run, result } => steps::proposed(state, &run, result, out),
        Msg::CaseOf { id, close, result } => cases::loaded(state, id, close, result),
        Msg::CaseDone { what, result } => cases::done(state, what, result, out),
        Msg::Drafted { of, result } => drafts::drafted(state, of, result, out),
        Msg::Drafts(result) => drafts::listed(state, result),
        Msg::DraftOf(result) => drafts::opened(state, result),
        Msg::DraftDecided { what, result } => drafts::decided(state, what, result),
        Msg::Started(result) => playbooks::started(state, result, out),
        Msg::Stepped { run, result } => playbooks::stepped(state, &run, result, out),
        Msg::Copied(Ok(())) => state.tell(Role::Info, say!("sent to the terminal's clipboard")),
        Msg::Copied(Err(e)) => state.tell(Role::Bad, e),
        _ => {}
    }
}

fn put<Id: Clone + PartialEq, T>(
    table: &mut super::state::Table<Id, T>,
    result: Result<Vec<T>, Said>,
    now: Timestamp,
    id_of: impl Fn(&T) -> Id + Copy,
) {
    match result {
        Ok(rows) => table.put(rows, now, id_of),
        Err(e) => table.load.breaks(e, now),
    }
}

fn kill_switch_moved(state: &mut State, facts: &Facts) {
    match &facts.kill {
        Some((who, _)) => state.tell(Role::Critical, say!("KILL SWITCH ON by ", who, ": nothing is executed")),
        None => state.tell(Role::Info, say!("the kill switch is off")),
    }
}

/// What follows from any message: the detail that belongs to the cursor, pages near the window's edge, the layout.
fn settle(state: &mut State, out: &mut Out) {
    if state.tab == Tab::Queue {
        queue::near_edge(state, out);
        want_detail(state, out);
    }
    relayout::relayout(state);
    platform::keep_within(state);
    playbooks::keep_within(state);
    drafts::relayout(state);
    cases::keep_within(state);
    triage::keep_beating(state, out);
}

/// One detail load at a time; the newest wish wins.
fn want_detail(state: &mut State, out: &mut Out) {
    let visible = layout::panes(state).detail.is_some();
    let d = &mut state.detail;
    if !visible || d.wanted == state.queue.cursor {
        return;
    }
    d.want(state.queue.cursor);
    let Some(id) = d.wanted else {
        d.shown = None;
        return;
    };
    if d.loading.is_none() {
        (d.loading, d.again) = (Some(id), false);
        out.push(Effect::Detail(id));
    }
}

/// Loads the shown alert anew: now, or when the load that is under way has answered.
fn reload_detail(state: &mut State, out: &mut Out) {
    let d = &mut state.detail;
    match (d.wanted, d.loading) {
        (Some(id), None) => {
            (d.loading, d.again) = (Some(id), false);
            out.push(Effect::Detail(id));
        }
        (_, under_way) => d.again = under_way.is_some(),
    }
}

fn detail(state: &mut State, id: AlertId, result: Result<Option<Box<Detail>>, Said>, out: &mut Out) {
    let d = &mut state.detail;
    d.loading = None;
    if d.wanted != Some(id) {
        reload_detail(state, out);
        return;
    }
    match result {
        Ok(Some(detail)) => {
            d.broken = None;
            d.shown = Some(detail);
            d.stale();
        }
        Ok(None) => d.broken = Some(say!("alert ", id, " is no longer in the store")),
        Err(e) => d.broken = Some(e),
    }
    if d.again {
        reload_detail(state, out);
    }
}

fn raw(state: &mut State, id: AlertId, result: Result<Option<Arc<Vec<u8>>>, Said>) {
    let Some(Overlay::Raw(view)) =
        state.overlays.iter_mut().rev().find(|o| matches!(o, Overlay::Raw(r) if r.alert == id))
    else {
        return;
    };
    match result {
        Ok(Some(bytes)) => {
            view.bytes = Some(bytes.clone());
            state.detail.raw = Some((id, bytes));
        }
        Ok(None) => view.broken = Some(say!("the raw bytes of alert ", id, " are not in the store")),
        Err(e) => view.broken = Some(e),
    }
}

/// Loads the pane in front anew.
fn refresh(state: &mut State, out: &mut Out) {
    match state.tab {
        Tab::Queue => queue::reload_in_place(state, out),
        Tab::Cases => cases::load(state, out),
        Tab::Playbooks => playbooks::load(state, out),
        Tab::Approvals => out.push(Effect::Requests),
        Tab::Views => out.push(Effect::Views),
        Tab::Suppressions => out.push(Effect::Suppressions),
        Tab::Triage => triage::load_stats(state, out),
        Tab::Status | Tab::Slo | Tab::Sla | Tab::Checklists | Tab::Rollouts | Tab::Backups => {}
    }
    if let (Tab::Queue, Some(_)) = (state.tab, state.detail.wanted) {
        reload_detail(state, out);
    }
}

fn go_to(state: &mut State, tab: Tab, out: &mut Out) {
    state.tab = tab;
    state.full = false;
    // What lay over the pane before belongs to that pane.
    state.overlays.clear();
    match tab {
        Tab::Cases => out.push(Effect::Cases),
        Tab::Playbooks => playbooks::load(state, out),
        Tab::Approvals => out.push(Effect::Requests),
        Tab::Views => out.push(Effect::Views),
        Tab::Suppressions => out.push(Effect::Suppressions),
        Tab::Triage => triage::load_stats(state, out),
        Tab::Queue | Tab::Status | Tab::Slo | Tab::Sla | Tab::Checklists | Tab::Rollouts | Tab::Backups => {}
    }
}

impl State {
    /// Nothing is waited for.
    pub fn at_rest(&self) -> bool {
        let waiting = |l: &Load| matches!(l, Load::Waiting { .. });
        !self.queue.loading && !self.queue.counting && self.detail.loading.is_none() && !waiting(&self.queue.load)
    }
}

/// For the decision screen: how long input is ignored after it opens.
pub fn approvals_hold_ms() -> i64 {
    approvals::HOLD_MS
}
