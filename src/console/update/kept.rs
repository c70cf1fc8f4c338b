//! Requests of one's own that nobody is asked about: kept from the form that proposes them, changed, submitted.

use super::super::action::{Do, Scope};
use super::super::state::overlay::{Form, Purpose};
use super::super::state::{Overlay, State, Tab};
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::{Effect, Out, acts, approvals, forms, open, submit};
use crate::model::action::{ActionDef, ParamType, Request, RequestState};
use crate::model::ids::PersonId;

/// Whether what this form holds can be kept as a draft.
pub fn keeps(form: &Form) -> bool {
    matches!(form.purpose, Purpose::Propose { .. } | Purpose::ProposeStep { .. } | Purpose::EditRequest { .. })
}

/// Keeps what the form holds. A reason can come later, and nothing needs to have been tried.
pub fn keep(state: &mut State, out: &mut Out) {
    let now = state.now;
    let by = state.my_id().cloned();
    let Some(form) = forms::top(state).filter(|f| f.busy.is_none() && keeps(f)) else { return };
    if let Some(at) = form.fields.iter().position(|f| f.required && f.label != "reason" && submit::empty(&f.kind)) {
        submit::lacks(form, at);
        return;
    }
    let form = form.clone();
    let Some(by) = by else { return };
    let sent = sent(state, &form, by);
    let Some(form) = forms::top(state) else { return };
    match sent {
        Ok(effect) => {
            (form.busy, form.error) = (Some(now), None);
            out.push(effect);
        }
        Err(why) => form.error = Some(why),
    }
}

/// What keeping this form sends.
pub fn sent(state: &State, form: &Form, by: PersonId) -> Result<Effect, Said> {
    match &form.purpose {
        Purpose::Propose { action } => {
            let (draft, then) = submit::proposal(state, form, action);
            Ok(Effect::KeepDraft { by, draft, then, step: None })
        }
        Purpose::ProposeStep { run, visit, action, case } => {
            let draft = submit::step_proposal(form, action, *case);
            Ok(Effect::KeepDraft { by, draft, then: Vec::new(), step: Some((run.clone(), *visit)) })
        }
        Purpose::EditRequest { id, action, suggested, case } => {
            let mut draft = submit::draft(form, action.clone(), &form.text_of("reason"));
            (draft.suggested_by, draft.case) = (*suggested, *case);
            Ok(Effect::EditRequest { by, id: id.clone(), draft })
        }
        _ => Err(say!("this form proposes nothing")),
    }
}

/// Why this request cannot be changed in a form here.
pub fn not_edited_here(state: &State, r: &Request) -> Option<Said> {
    let Some(def) = state.catalogue.iter().find(|a| a.name == r.body.action) else {
        return Some(say!("the catalogue no longer has ", Said::of(&r.body.action)));
    };
    // A form's line would lose their lines.
    let long = |def: &ActionDef| def.params.iter().any(|p| matches!(p.kind, ParamType::Document { .. }));
    let lines = r.body.params.values().any(|v| v.contains('\n')) || r.body.reason.expose().trim_end().contains('\n');
    let id = Said::of(r.body.id.as_str());
    (long(def) || lines).then(|| say!("it holds text of several lines: watchfloor draft edit ", id))
}

/// The form it was proposed with, filled in with what it holds.
pub fn edit(state: &mut State, out: &mut Out) {
    let Some(r) = state.request_in_hand().cloned() else { return };
    let Some(def) = state.catalogue.iter().find(|a| a.name == r.body.action).cloned() else { return };
    let b = &r.body;
    let purpose =
        Purpose::EditRequest { id: b.id.clone(), action: b.action.clone(), suggested: b.suggested_by, case: b.case };
    let targets = b.targets.join(" ");
    let mut f = open::proposal_for(purpose, &def, &targets, open::many(&def), &b.params, b.reason.expose());
    f.title = say!("Edit: ", Said::of(&def.title));
    let first = match r.state {
        RequestState::Draft => (say!("Your draft: nobody is asked until you submit it."), Role::Dim),
        state => {
            let n = r.approvals.len();
            let void = if n == 0 { say!("") } else { say!(" and its ", n, " approval(s) are void") };
            let text = say!("It is ", state.word(), ": keeping this TAKES IT BACK into a draft", void, ".");
            (text, Role::Warn)
        }
    };
    f.lead.insert(0, first);
    // The catalogue may have changed since.
    let gone: Vec<&str> =
        b.params.keys().filter(|k| def.params.iter().all(|p| p.name != **k)).map(|k| k.as_str()).collect();
    if !gone.is_empty() {
        f.lead.insert(1, (say!("No longer a parameter of it, and left out: ", Said::of(&gone.join(", "))), Role::Warn));
    }
    // A draft may lack it.
    if let Some(reason) = f.fields.last_mut() {
        reason.required = false;
    }
    let alerts = b.alerts.clone();
    open::form(state, f, alerts);
    acts::try_form(state, out);
}

/// Asks others: policy and dry run first. What they refuse is said on its screen, and the draft stays.
pub fn submit(state: &mut State, out: &mut Out) {
    let Some(by) = state.my_id().cloned() else { return };
    let Some(r) = state.request_in_hand().cloned() else { return };
    let id = r.body.id.clone();
    if !matches!(state.overlays.last(), Some(Overlay::Decide(_))) {
        approvals::show(state, r, false, out);
    }
    if let Some(Overlay::Decide(d)) = state.overlays.last_mut() {
        (d.busy, d.error) = (true, None);
    }
    out.push(Effect::SubmitRequest { by, id });
}

/// It was kept, or was not. `run`: the run of the step it was kept from.
pub fn kept(state: &mut State, run: Option<&str>, result: Result<Box<Request>, Said>, out: &mut Out) {
    let request = match result {
        Ok(r) => *r,
        Err(e) => {
            forms::fail(state, e);
            return;
        }
    };
    forms::finish(state);
    let id = request.body.id.clone();
    let instead = request.body.replaces.clone();
    let key = |act, scope| Said::of(&state.look.keymap.hint(act, &[scope]).unwrap_or_default());
    let (tab, submits) = (key(Do::TabApprovals, Scope::Global), key(Do::SubmitRequest, Scope::Decide));
    let said = match &request.body.replaces {
        Some(_) if state.tab == Tab::Approvals => say!("it is a draft again; ", submits, " submits it anew"),
        _ if state.tab == Tab::Approvals => say!("kept as a draft; ", submits, " submits it"),
        _ => say!("kept as a draft; in the approvals (", tab, ") ", submits, " submits it"),
    };
    // What was edited is shown as it is now: itself, or the draft that takes its place.
    let was = |old: &crate::model::ids::RequestId| *old == id || instead.as_ref() == Some(old);
    if state.requests.cursor.as_ref().is_some_and(was) {
        state.requests.cursor = Some(id.clone());
    }
    if let Some(Overlay::Decide(d)) = state.overlays.last()
        && was(&d.request.body.id)
    {
        state.overlays.pop();
        approvals::show(state, request, false, out);
    }
    state.tell(Role::Good, said);
    out.push(Effect::Requests);
    if let Some(run) = run {
        out.push(Effect::Runs);
        if state.tab == Tab::Playbooks {
            out.push(Effect::RunOf(run.to_owned()));
        }
    }
}

/// Requests this person sees: a draft of somebody else's is nobody's to decide about, and only its author can change,
/// submit or drop it.
pub fn seen_by(me: Option<&PersonId>, r: &Request) -> bool {
    r.was_asked() || me == Some(&r.body.requester)
}
