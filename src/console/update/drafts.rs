//! Playbooks the model drafts: asking for one, reading it with its findings, approving, editing, rejecting.

use super::super::action::{Do, Scope};
use super::super::drafts as words;
use super::super::layout;
use super::super::state::input::Input;
use super::super::state::overlay::{Form, Pick, Purpose, Review};
use super::super::state::playbook::{Drafting, For, step_in_hand};
use super::super::state::{Overlay, State, Tab, own_words};
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::{Effect, Out, forms, open};
use crate::desk::playbook_draft::{DraftPage, Drafted};
use crate::model::ids::PersonId;
use crate::model::playbook_draft::PlaybookDraft;

/// Longer ones are edited outside: a field of ours would cut them.
const EDITED_HERE: usize = 12 << 10;

pub fn act(state: &mut State, what: Do, out: &mut Out) {
    match what {
        Do::Draft | Do::CaseDraft => ask(state, out),
        Do::CancelDraft => drop(cancel(state, out)),
        Do::Drafts => out.push(Effect::Drafts),
        Do::ApproveDraft => approve(state, out),
        Do::EditDraft => edit(state),
        Do::RejectDraft => reject(state),
        Do::StepAsk => ask_step(state, out),
        _ => {}
    }
}

/// Has the model draft one for what is in hand.
fn ask(state: &mut State, out: &mut Out) {
    let of = match state.tab {
        Tab::Cases => state.cases.cursor.map(For::Case),
        _ => state.alerts_in_hand().first().copied().map(For::Alert),
    };
    let (Some(of), Some(by)) = (of, state.my_id().cloned()) else { return };
    if state.drafting.iter().any(|d| d.of == of) {
        return state.tell(Role::Warn, say!("a draft for it is being written already"));
    }
    state.drafting.push(Drafting { of, stopping: false });
    let scope = if state.tab == Tab::Cases { Scope::Cases } else { Scope::Alert };
    let act = if state.tab == Tab::Cases { Do::CancelDraft } else { Do::CancelTriage };
    let stops = state.look.keymap.hint(act, &[scope, Scope::Global]);
    let stops = stops.map_or_else(Said::new, |k| say!("; ", Said::of(&k), " stops it"));
    state.tell(Role::Info, say!("asking the model for a draft; go on, you are told when it is there", stops));
    out.push(Effect::Draft { by, of });
}

/// Stops the newest draft that is being written. False: none is.
pub fn cancel(state: &mut State, out: &mut Out) -> bool {
    let Some(d) = state.drafting.iter_mut().rev().find(|d| !d.stopping) else { return false };
    d.stopping = true;
    out.push(Effect::CancelDraft(d.of));
    true
}

pub fn drafted(state: &mut State, of: For, result: Result<Box<Drafted>, Said>, out: &mut Out) {
    let at = state.drafting.iter().position(|d| d.of == of);
    let stopped = at.is_some_and(|at| state.drafting.remove(at).stopping);
    match result.map(|d| *d) {
        Err(_) if stopped => state.tell(Role::Info, say!("stopped: no draft was written")),
        Err(e) => state.tell(Role::Bad, e),
        Ok(Drafted::Draft(page)) => {
            if state.overlays.is_empty() {
                show(state, *page);
                return;
            }
            // Whoever asked is at something else by now.
            state.tell(Role::Good, say!("the draft is there: ", page.draft.title, " (playbooks, drafts)"));
        }
        Ok(Drafted::Nearest { why, suggested }) => {
            state.tell(Role::Warn, say!("no draft: ", Said::of(&why), "; the nearest of the library instead"));
            if state.overlays.is_empty() && !suggested.is_empty() {
                state.playbook.asked = Some(of);
                out.push(Effect::Offer(of));
            }
        }
    }
}

/// Drafts to pick from, those that wait first.
pub fn listed(state: &mut State, result: Result<Vec<(PlaybookDraft, usize)>, Said>) {
    let all = match result {
        Ok(all) => all,
        Err(e) => return state.tell(Role::Bad, e),
    };
    if !state.overlays.is_empty() {
        return;
    }
    if all.is_empty() {
        let key = state.look.keymap.hint(Do::Draft, &[Scope::Alert]).unwrap_or_default();
        state
            .tell(Role::Dim, say!("no draft waits; on an alert or a case ", Said::of(&key), " asks the model for one"));
        return;
    }
    let items = all.into_iter().map(|(d, blocking)| {
        let of = match (d.alert, d.case) {
            (Some(alert), _) => say!("alert ", alert),
            (None, Some(case)) => say!("case #", case),
            (None, None) => Said::new(),
        };
        let stands = if blocking > 0 { say!(blocking, " in the way") } else { say!("clean") };
        let detail = say!(d.state.word(), ", ", stands, ", ", of, ", asked by ", d.asked_by);
        open::item(Pick::Review(d.id), say!("GENERATED  ", d.title), detail)
    });
    let items = items.collect();
    open::pick(state, say!("Drafts"), items, Vec::new());
}

pub fn opened(state: &mut State, result: Result<Box<DraftPage>, Said>) {
    match result {
        Ok(page) if state.overlays.is_empty() => show(state, *page),
        Ok(_) => {}
        Err(e) => state.tell(Role::Bad, e),
    }
}

fn show(state: &mut State, page: DraftPage) {
    // What was said while it was waited for is answered.
    state.notice = None;
    let doc = words::text(&page, layout::review_size(state).0);
    state.overlays.push(Overlay::Review(Box::new(Review { page, doc, scroll: 0 })));
}

/// The draft that lies open, in front or behind a form about it.
fn in_hand(state: &State) -> Option<&Review> {
    state.overlays.iter().rev().find_map(|o| if let Overlay::Review(r) = o { Some(&**r) } else { None })
}

fn approve(state: &mut State, out: &mut Out) {
    let (Some(r), Some(by)) = (in_hand(state), state.my_id().cloned()) else { return };
    let d = &r.page.draft;
    out.push(Effect::ApproveDraft { by, id: d.id.clone(), hash: d.hash.clone() });
}

fn reject(state: &mut State) {
    let Some(r) = in_hand(state) else { return };
    let d = &r.page.draft;
    let purpose = Purpose::RejectDraft { id: d.id.clone(), hash: d.hash.clone() };
    let f = Form::new(purpose, say!("Reject: ", d.title))
        .lead(say!("It ends here, and is kept with your reason."), Role::Dim)
        .text("reason", Input::line(""), say!("it is recorded with your name"), true);
    open::form(state, f, Vec::new());
}

fn edit(state: &mut State) {
    let Some(r) = in_hand(state) else { return };
    let d = &r.page.draft;
    let toml = r.page.toml.expose();
    if toml.len() > EDITED_HERE {
        let said = say!("too long to edit here: watchfloor playbook review edit ", Said::of(&d.key));
        return state.tell(Role::Warn, said);
    }
    let purpose = Purpose::EditDraft { id: d.id.clone(), hash: d.hash.clone() };
    let f = Form::new(purpose, say!("Edit: ", d.title)).text("text", Input::page(toml), Said::new(), true);
    open::form(state, f, Vec::new());
}

/// What a form about a draft sends.
pub fn sent(form: &Form, by: PersonId) -> Result<Effect, Said> {
    match &form.purpose {
        Purpose::RejectDraft { id, hash } => {
            let (id, hash, reason) = (id.clone(), hash.clone(), own_words(&form.text_of("reason")));
            Ok(Effect::RejectDraft { by, id, hash, reason })
        }
        Purpose::EditDraft { id, hash } => {
            Ok(Effect::EditDraft { by, id: id.clone(), hash: hash.clone(), text: form.text_of("text") })
        }
        _ => Err(say!("this form is not about a draft")),
    }
}

/// It was approved, rejected or changed, or was not.
pub fn decided(state: &mut State, what: &'static str, result: Result<Box<DraftPage>, Said>) {
    let page = match result {
        Ok(page) => *page,
        Err(e) => return forms::fail(state, e),
    };
    forms::finish(state);
    let (standing, role) = words::standing(&page);
    let said = if what == "changed" {
        say!("changed and checked again: ", standing)
    } else {
        say!(page.draft.title, ": ", what)
    };
    let role = if what == "changed" { role } else { Role::Good };
    let width = layout::review_size(state).0;
    for o in &mut state.overlays {
        if let Overlay::Review(r) = o
            && r.page.draft.id == page.draft.id
        {
            r.doc = words::text(&page, width);
            r.page = page.clone();
        }
    }
    state.tell(role, said);
}

/// The text is laid out for the width there is, and not scrolled past its end.
pub fn relayout(state: &mut State) {
    let (width, rows) = layout::review_size(state);
    for o in &mut state.overlays {
        if let Overlay::Review(r) = o {
            if r.doc.width != width.max(20) {
                r.doc = words::text(&r.page, width);
            }
            r.scroll = r.scroll.min(r.doc.rows.len().saturating_sub(rows));
        }
    }
}

/// Asks the model the question of the step in hand.
fn ask_step(state: &mut State, out: &mut Out) {
    let Some((run, v, _)) = step_in_hand(state) else { return };
    let (run, visit) = (run.id.clone(), v.n);
    let Some(by) = state.my_id().cloned() else { return };
    state.tell(Role::Info, say!("asking the model; its answer comes into the step as advice"));
    out.push(Effect::AskStep { by, run, visit });
}
