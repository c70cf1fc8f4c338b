//! `update(&mut State, now, Msg) -> Vec<Effect>`: pure and total. What has to be done outside comes back as effects.

mod approvals;
mod forms;
mod keys;
mod lists;
mod open;
mod platform;
mod queue;
mod relayout;
mod submit;
#[cfg(test)]
pub mod tests;
mod triage;

use std::sync::Arc;

use jiff::Timestamp;

use super::keymap::Key;
use super::layout;
use super::state::{Facts, Live, Load, Overlay, State, Tab, ViewRow};
use super::theme::Role;
use super::words::{Said, say};
use crate::desk::Detail;
use crate::desk::Platform;
use crate::model::act::{Act, ActReport};
use crate::model::action::{Draft, Request};
use crate::model::alert::AlertRow;
use crate::model::case::{Case, SavedView, Suppression};
use crate::model::ids::{AlertId, PersonId, RequestId, SuppressionId};
use crate::model::opinion::{Answered, Exchange, Review, TriageStats};
use crate::model::query::{Count, Page, Query, QueryError, SortKey};
use crate::model::verdict::{Verdict, VerdictKind};
use crate::text::Untrusted;

/// What happened.
#[derive(Debug)]
pub enum Msg {
    Key(Key),
    Paste(String),
    Wheel {
        up: bool,
    },
    Click {
        x: u16,
        y: u16,
    },
    Resize(u16, u16),
    /// Time passed: a clock on screen, or a wait that was asked for.
    Tick,
    /// Back from the shell.
    Resumed,
    // --- from the desk -----------------------------------------------------------------------
    Changed {
        alerts: Vec<AlertId>,
        overflow: bool,
        others: bool,
    },
    Facts(Facts),
    /// A new reading of the platform's health.
    Platform(Arc<Platform>),
    /// The store stopped answering, or answers again.
    Link(Result<(), Said>),
    Parsed {
        text: String,
        apply: bool,
        result: Result<Query, QueryError>,
    },
    Rows {
        generation: u64,
        page: Page,
        limit: usize,
        result: Result<(Vec<AlertRow>, u64), Said>,
    },
    Refreshed(Result<Vec<AlertRow>, Said>),
    Counted {
        generation: u64,
        cursor: Option<AlertId>,
        result: Result<(Count, Option<Count>), Said>,
    },
    Detail {
        id: AlertId,
        result: Result<Option<Box<Detail>>, Said>,
    },
    Raw {
        id: AlertId,
        result: Result<Option<Arc<Vec<u8>>>, Said>,
    },
    AllIds {
        generation: u64,
        result: Result<(Vec<AlertId>, bool), Said>,
    },
    Acted {
        act: Act,
        result: Result<ActReport, Said>,
    },
    Undone(Result<(String, ActReport), Said>),
    Cases(Result<Vec<Case>, Said>),
    Requests(Result<Vec<Request>, Said>),
    Views(Result<Vec<ViewRow>, Said>),
    Suppressions(Result<Vec<Suppression>, Said>),
    Preview {
        query: String,
        result: Result<(Count, Vec<AlertRow>), Said>,
    },
    /// A small write was done, or refused.
    Done(Result<Said, Said>),
    Proposed(Result<Box<Request>, Said>),
    /// Approved, denied, withdrawn or executed.
    Decided {
        what: &'static str,
        result: Result<Box<Request>, Said>,
    },
    /// A piece of an opinion, or of an answer to a question.
    Progress {
        id: AlertId,
        question: bool,
        text: Untrusted,
    },
    Judged {
        id: AlertId,
        result: Result<Box<Verdict>, Said>,
    },
    Answered {
        id: AlertId,
        result: Result<Box<Answered>, Said>,
    },
    Reviewed {
        id: AlertId,
        result: Result<Review, Said>,
    },
    /// How many were put into the triage queue, and whether more matched.
    Queued(Result<(usize, bool), Said>),
    Unqueued(Result<usize, Said>),
    Stats(Result<Box<TriageStats>, Said>),
    Exchanges {
        id: AlertId,
        result: Result<Vec<Exchange>, Said>,
    },
    /// A second passed, as was asked for.
    Beat,
    Copied(Result<(), Said>),
}

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Parse {
        text: String,
        apply: bool,
    },
    Rows {
        generation: u64,
        query: Query,
        sort: SortKey,
        page: Page,
        limit: usize,
    },
    Refresh(Vec<AlertId>),
    Count {
        generation: u64,
        query: Query,
        sort: SortKey,
        cursor: Option<AlertId>,
    },
    Detail(AlertId),
    Raw(AlertId),
    AllIds {
        generation: u64,
        query: Query,
        sort: SortKey,
    },
    Act {
        by: PersonId,
        act: Act,
        ids: Vec<AlertId>,
    },
    Undo {
        by: PersonId,
    },
    Cases,
    Requests,
    Views,
    PutView(SavedView),
    DropView(String),
    Suppressions,
    PreviewSuppression(String),
    AddSuppression {
        by: PersonId,
        query: String,
        reason: Untrusted,
        expires: Timestamp,
    },
    EndSuppression {
        by: PersonId,
        id: SuppressionId,
    },
    Propose {
        by: PersonId,
        draft: Draft,
    },
    Approve {
        by: PersonId,
        id: RequestId,
        digest: String,
    },
    Deny {
        by: PersonId,
        id: RequestId,
        reason: Untrusted,
    },
    Withdraw {
        by: PersonId,
        id: RequestId,
    },
    Execute {
        by: PersonId,
        id: RequestId,
    },
    KillSwitch {
        by: PersonId,
        on: bool,
    },
    Triage {
        by: PersonId,
        id: AlertId,
        backend: Option<&'static str>,
    },
    Ask {
        by: PersonId,
        id: AlertId,
        text: Untrusted,
        before: Vec<(Untrusted, Untrusted)>,
    },
    CancelRun {
        id: AlertId,
        question: bool,
    },
    Review {
        by: PersonId,
        id: AlertId,
        request: String,
        kind: VerdictKind,
        reason: Untrusted,
    },
    Enqueue {
        by: PersonId,
        ids: Vec<AlertId>,
    },
    EnqueueMatching {
        by: PersonId,
        query: Query,
        sort: SortKey,
    },
    CancelQueue {
        by: PersonId,
    },
    TriageStats,
    Exchanges(AlertId),
    /// A `Beat` after a second.
    Beat,
    /// To the terminal's clipboard; text that is safe to show.
    Copy(Said),
    Suspend,
    /// A `Tick` after so many milliseconds.
    Wait(u64),
}

type Out = Vec<Effect>;

/// What a new console asks first: the queue. The lists of the other tabs come after its first page.
pub fn start(state: &mut State) -> Out {
    let text = state.queue.text.clone();
    vec![Effect::Parse { text, apply: true }]
}

/// Takes one message.
pub fn update(state: &mut State, now: Timestamp, msg: Msg) -> Out {
    state.now = now;
    let mut out = Vec::new();
    take(state, msg, &mut out);
    settle(state, &mut out);
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
        Msg::Platform(reading) => platform::taken(state, reading),
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
        Msg::Beat => triage::beat(state, out),
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
        d.loading = Some(id);
        out.push(Effect::Detail(id));
    }
}

/// Loads the shown alert anew.
fn reload_detail(state: &mut State, out: &mut Out) {
    let d = &mut state.detail;
    if let (Some(id), None) = (d.wanted, d.loading) {
        d.loading = Some(id);
        out.push(Effect::Detail(id));
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
        Tab::Cases => out.push(Effect::Cases),
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
