//! Cases, views, suppressions: moving in them and what enter does.

use super::super::state::{State, Tab};
use super::super::theme::Role;
use super::super::words::say;
use super::{Effect, Out, approvals, cases, platform, playbooks, submit};

pub fn step(state: &mut State, by: isize) {
    match state.tab {
        Tab::Cases => cases::step(state, by),
        Tab::Playbooks => playbooks::step(state, by),
        Tab::Approvals => state.requests.step(by, |r| r.body.id.clone()),
        Tab::Views => state.views.step(by, |v| v.view.name.clone()),
        Tab::Suppressions => state.suppressions.step(by, |s| s.id),
        Tab::Status => {
            let to = (state.status_scroll as isize).saturating_add(by).clamp(0, 500);
            state.status_scroll = to as usize;
        }
        Tab::Triage => {
            let to = (state.triage.scroll as isize).saturating_add(by).clamp(0, 500);
            state.triage.scroll = to as usize;
        }
        Tab::Slo | Tab::Sla | Tab::Checklists | Tab::Rollouts | Tab::Backups => platform::step(state, by),
        Tab::Queue => {}
    }
}

/// Enter.
pub fn open(state: &mut State, out: &mut Out) {
    if !state.overlays.is_empty() {
        return;
    }
    match state.tab {
        Tab::Queue => {
            if state.queue.cursor.is_some() {
                super::queue::freeze(state);
                state.full = !state.full;
                state.detail.scroll = 0;
                // From its top, whether what was asked for before had been loaded by now or not.
                state.detail.reveal = None;
            }
        }
        Tab::Cases => {
            if let Some(id) = state.cases.cursor.filter(|_| !state.full) {
                cases::show(state, id, out);
            }
        }
        Tab::Playbooks => playbooks::open(state, out),
        Tab::Approvals => approvals::open(state, false, out),
        Tab::Views => {
            if let Some(name) = state.views.cursor.clone() {
                submit::apply_view(state, &name, out);
            }
        }
        Tab::Suppressions => {
            let at = state.suppressions.index(|s| s.id);
            if let Some(s) = at.and_then(|i| state.suppressions.rows.get(i)) {
                let text = s.query.clone();
                state.tab = Tab::Queue;
                state.queue.view = None;
                out.push(Effect::Parse { text, apply: true });
            }
        }
        Tab::Slo | Tab::Sla | Tab::Checklists | Tab::Rollouts | Tab::Backups => platform::open(state),
        Tab::Status | Tab::Triage => {}
    }
}

pub fn drop_view(state: &mut State, out: &mut Out) {
    match state.views.cursor.clone() {
        Some(name) => out.push(Effect::DropView(name)),
        None => state.tell(Role::Dim, say!("no view is under the cursor")),
    }
}

pub fn end_suppression(state: &mut State, out: &mut Out) {
    match (state.suppressions.cursor, state.my_id().cloned()) {
        (Some(id), Some(by)) => out.push(Effect::EndSuppression { by, id }),
        _ => state.tell(Role::Dim, say!("no suppression is under the cursor")),
    }
}
