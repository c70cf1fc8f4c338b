//! Cases: opening one, closing it with what came of it, opening it again.

use super::super::case as words;
use super::super::layout;
use super::super::state::input::Input;
use super::super::state::overlay::{Form, Purpose};
use super::super::state::playbook::run_in_hand;
use super::super::state::{CasePage, State, Tab, own_words};
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::{Effect, Out, forms, go_to, open, playbooks};
use crate::desk::case::CaseView;
use crate::model::alert::Disposition;
use crate::model::ids::{CaseId, PersonId};
use crate::model::playbook_run::RunState;

/// The case that keys speak of: the open one, the one under the cursor, or that of the playbook in front.
pub fn in_hand(state: &State) -> Option<CaseId> {
    match state.tab {
        Tab::Cases if state.full => state.case.as_ref().map(|c| c.id),
        Tab::Cases => state.cases.cursor,
        Tab::Playbooks => run_in_hand(state).and_then(|r| r.case),
        _ => None,
    }
}

/// Whether it is closed, as far as is known.
pub fn is_closed(state: &State, id: CaseId) -> bool {
    let page = state.case.as_ref().and_then(|c| c.shown.as_ref()).filter(|v| v.case.id == id);
    let row = state.cases.rows.iter().find(|c| c.id == id);
    page.map(|v| &v.case).or(row).is_some_and(|c| c.closed_at.is_some())
}

pub fn load(state: &State, out: &mut Out) {
    out.push(Effect::Cases);
    if let Some(page) = state.case.as_ref().filter(|_| state.full) {
        out.push(Effect::CaseOf { id: page.id, close: false });
    }
}

/// Opens a case in full.
pub fn show(state: &mut State, id: CaseId, out: &mut Out) {
    if state.case.as_ref().is_none_or(|c| c.id != id) {
        state.case = Some(CasePage { id, shown: None, broken: None, scroll: 0 });
    }
    state.tab = Tab::Cases;
    state.full = true;
    state.overlays.clear();
    state.cases.cursor = Some(id);
    out.push(Effect::Cases);
    out.push(Effect::CaseOf { id, close: false });
}

pub fn loaded(state: &mut State, id: CaseId, close: bool, result: Result<Box<CaseView>, Said>) {
    match result {
        Ok(view) => {
            let page = state.case.get_or_insert(CasePage { id, shown: None, broken: None, scroll: 0 });
            if page.id != id && !close {
                return;
            }
            if page.id != id {
                *page = CasePage { id, shown: None, broken: None, scroll: 0 };
            }
            page.broken = None;
            page.shown = Some(view);
            if close {
                close_form(state);
            }
        }
        Err(e) if close => state.tell(Role::Bad, e),
        Err(e) => {
            if let Some(page) = state.case.as_mut().filter(|c| c.id == id) {
                page.broken = Some(e);
            }
        }
    }
}

/// The text is not scrolled past its end, and nothing is open that is gone.
pub fn keep_within(state: &mut State) {
    if state.tab != Tab::Cases || !state.full {
        return;
    }
    let body = layout::body(state);
    let (now, width, rows) = (state.now, usize::from(body.width.saturating_sub(2)), usize::from(body.height));
    let keys = words::Keys::of(state);
    match &mut state.case {
        None => state.full = false,
        Some(page) if page.scroll > 0 => {
            let lines = page.shown.as_ref().map_or(0, |v| words::text(v, width, now, &keys).rows.len());
            page.scroll = page.scroll.min(lines.saturating_sub(rows));
        }
        Some(_) => {}
    }
}

pub fn step(state: &mut State, by: isize) {
    if !state.full {
        state.cases.step(by, |c| c.id);
    } else if let Some(page) = &mut state.case {
        page.scroll = (page.scroll as isize).saturating_add(by).max(0) as usize;
    }
}

/// Its alerts, in the queue.
pub fn alerts(state: &mut State, out: &mut Out) {
    let Some(id) = in_hand(state) else { return };
    go_to(state, Tab::Queue, out);
    state.queue.view = None;
    out.push(Effect::Parse { text: format!("case:{id}"), apply: true });
}

/// The newest playbook at work in it, else the newest.
pub fn its_run(state: &mut State, out: &mut Out) {
    let Some(run) = newest_run(state) else { return };
    go_to(state, Tab::Playbooks, out);
    playbooks::show(state, run, out);
}

pub fn newest_run(state: &State) -> Option<String> {
    let view = state.case.as_ref().filter(|_| state.tab == Tab::Cases && state.full)?.shown.as_ref()?;
    let running = view.runs.iter().find(|r| r.state == RunState::Running);
    running.or(view.runs.first()).map(|r| r.id.clone())
}

/// Asks for the case as it is now: its summary is drawn from that.
pub fn close(state: &mut State, out: &mut Out) {
    if let Some(id) = in_hand(state) {
        out.push(Effect::CaseOf { id, close: true });
    }
}

fn close_form(state: &mut State) {
    let Some(view) = state.case.as_ref().and_then(|c| c.shown.as_ref()) else { return };
    let (id, title) = (view.case.id, say!(view.case.title));
    if let Some(run) = view.runs.iter().find(|r| r.state == RunState::Running) {
        let said = say!("case #", id, " is not closed: a playbook is at work in it: ", run.title);
        state.tell(Role::Warn, said);
        return;
    }
    let open = view.alerts.iter().filter(|a| a.status != crate::model::alert::Status::Closed).count();
    let options = Disposition::ALL.into_iter().zip(['t', 'b', 'f', 'u']).map(|(d, k)| (k, say!(d.word()))).collect();
    let mut summary = Input::block();
    // Lines as long as the field is wide on a small screen: nothing of it stands outside.
    let lines: Vec<String> = view.summary.expose().lines().flat_map(wrapped).collect();
    summary.set(&lines.join("\n"));
    let f = Form::new(Purpose::CloseCase(id), say!("Close case #", id, ": ", title))
        .lead(say!("Its ", open, " open alert(s) are closed with it."), Role::Dim)
        .choice("it was", options, None)
        .text("summary", summary, say!("drawn from what was done; make it yours"), true);
    open::form(state, f, Vec::new());
}

pub fn reopen(state: &mut State) {
    let Some(id) = in_hand(state) else { return };
    let f = Form::new(Purpose::ReopenCase(id), say!("Open case #", id, " again"))
        .lead(say!("Its alerts stay as they are."), Role::Dim)
        .text("reason", Input::line(""), say!("it is recorded with your name"), true);
    open::form(state, f, Vec::new());
}

fn wrapped(line: &str) -> Vec<String> {
    Said::of(line).wrap(58).into_iter().map(|l| l.as_str().to_owned()).collect()
}

/// What the forms of cases send.
pub fn sent(form: &Form, by: PersonId) -> Result<Effect, Said> {
    match &form.purpose {
        Purpose::CloseCase(id) => {
            let at = form.chosen("it was").ok_or(say!("pick what it was"))?;
            let summary = own_words(&form.text_of("summary"));
            Ok(Effect::CloseCase { by, id: *id, disposition: Disposition::ALL[at], summary })
        }
        Purpose::ReopenCase(id) => Ok(Effect::ReopenCase { by, id: *id, reason: own_words(&form.text_of("reason")) }),
        _ => Err(say!("this form is not about a case")),
    }
}

/// It was closed or opened, or not.
pub fn done(state: &mut State, what: &'static str, result: Result<Box<CaseView>, Said>, out: &mut Out) {
    match result {
        Ok(view) => {
            forms::finish(state);
            let id = view.case.id;
            show(state, id, out);
            state.case = Some(CasePage { id, shown: Some(view), broken: None, scroll: 0 });
            state.tell(Role::Good, say!("case #", id, " is ", what));
        }
        Err(e) => forms::fail(state, e),
    }
}
