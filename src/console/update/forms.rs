//! Keys inside a form, and what becomes of one that was sent.

use super::super::keymap::{Code, Key};
use super::super::state::overlay::{FieldKind, Form, Purpose};
use super::super::state::{Overlay, State};
use super::super::theme::Role;
use super::super::words::Said;
use super::{Effect, Out, acts};
use crate::model::alert::AlertRow;
use crate::model::query::Count;

pub fn top(state: &mut State) -> Option<&mut Form> {
    match state.overlays.last_mut() {
        Some(Overlay::Form(f)) => Some(f),
        _ => None,
    }
}

/// A key that is bound to nothing: text, or the letter of a choice.
pub fn key(state: &mut State, key: Key, out: &mut Out) {
    let Some(form) = top(state) else { return };
    if form.busy.is_some() {
        return;
    }
    form.error = None;
    let at = form.focus;
    let Some(field) = form.fields.get_mut(at) else { return };
    let changed = match &mut field.kind {
        FieldKind::Text(input) => {
            input.older = None;
            input.key(key)
        }
        FieldKind::Choice { options, chosen } => {
            if let Some(i) = key.typed().and_then(|c| options.iter().position(|(o, _)| *o == c.to_ascii_lowercase())) {
                *chosen = Some(i);
                form.focus = (at + 1).min(form.fields.len() - 1);
            } else {
                let n = options.len();
                let now = *chosen;
                match key.code {
                    Code::Left => *chosen = Some(now.map_or(0, |c| (c + n - 1) % n)),
                    Code::Right | Code::Char(' ') => *chosen = Some(now.map_or(0, |c| (c + 1) % n)),
                    _ => {}
                }
            }
            true
        }
    };
    if changed {
        edited(state, out);
    }
}

/// A suppression shows what it would hide, and a proposal what it would do, as they are typed.
pub fn edited(state: &mut State, out: &mut Out) {
    let Some(form) = top(state) else { return };
    if form.trial.is_some() {
        acts::try_form(state, out);
        return;
    }
    if form.purpose != Purpose::Suppress {
        return;
    }
    let query = form.text_of("query");
    if form.preview.as_ref().is_none_or(|(q, _)| *q != query) {
        out.push(Effect::PreviewSuppression(query));
    }
}

pub fn preview(state: &mut State, query: String, result: Result<(Count, Vec<AlertRow>), Said>) {
    if let Some(form) = top(state)
        && form.purpose == Purpose::Suppress
        && form.text_of("query") == query
    {
        form.preview = Some((query, result));
    }
}

pub fn focus(state: &mut State, by: isize) {
    let Some(form) = top(state) else { return };
    let n = form.fields.len() as isize;
    if n > 0 {
        form.focus = (form.focus as isize + by).rem_euclid(n) as usize;
    }
}

pub fn newline(state: &mut State) {
    if let Some(form) = top(state)
        && let Some(FieldKind::Text(i)) = form.fields.get_mut(form.focus).map(|f| &mut f.kind)
    {
        i.newline();
    }
}

/// Up and down: lines of a text of several, choices of a choice, older entries of a line.
pub fn older(state: &mut State, by: isize, out: &mut Out) {
    let arrow = Key::plain(if by < 0 { Code::Up } else { Code::Down });
    let history = state.history.clone();
    let recall = |name: &str, input: &mut super::super::state::input::Input| {
        let Some(list) = history.get(name).filter(|l| !l.is_empty()) else { return };
        let n = list.len() as isize;
        let at = input.older.map_or(n, |o| o as isize) + by;
        if at >= n {
            input.older = None;
            input.set("");
        } else {
            let at = at.max(0) as usize;
            input.set(&list[at]);
            input.older = Some(at);
        }
    };
    match state.overlays.last_mut() {
        Some(Overlay::Filter(f)) => {
            recall("filter", &mut f.input);
            out.push(Effect::Parse { text: f.input.text(), apply: false });
        }
        Some(Overlay::Form(form)) => {
            let at = form.focus;
            let Some(field) = form.fields.get_mut(at) else { return };
            let label = field.label;
            match &mut field.kind {
                FieldKind::Text(i) if i.many => {
                    // At the edge of its lines, an older or newer entry.
                    let (lines, (row, _)) = i.lines();
                    let edge = if by < 0 { row == 0 } else { row + 1 == lines.len() };
                    if edge && (i.older.is_some() || i.is_empty() || by < 0) {
                        recall(label, i);
                    } else {
                        i.key(arrow);
                    }
                }
                FieldKind::Text(i) => recall(label, i),
                FieldKind::Choice { options, chosen } => {
                    let n = options.len() as isize;
                    let from = chosen.map_or(if by > 0 { -1 } else { 0 }, |c| c as isize);
                    *chosen = usize::try_from((from + by).rem_euclid(n.max(1))).ok();
                }
            }
            edited(state, out);
        }
        _ => {}
    }
}

/// The form that was sent is done with.
pub fn finish(state: &mut State) {
    if top(state).is_some_and(|f| f.busy.is_some()) {
        state.overlays.pop();
    }
}

/// What was sent was refused: the form stays, with its text.
pub fn fail(state: &mut State, why: Said) {
    match top(state) {
        Some(form) if form.busy.is_some() => {
            form.busy = None;
            form.error = Some(why);
        }
        _ => state.tell(Role::Bad, why),
    }
}

/// A small write was done, or refused.
pub fn done(state: &mut State, result: Result<Said, Said>, out: &mut Out) {
    match result {
        Ok(said) => {
            finish(state);
            state.tell(Role::Good, said);
            out.extend([Effect::Views, Effect::Suppressions]);
        }
        Err(e) => fail(state, e),
    }
}
