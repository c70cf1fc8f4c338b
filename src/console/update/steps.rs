//! What a step leads to outside its playbook: the action it proposes, the request that became of it, the run sheet.

use super::super::playbook as words;
use super::super::state::input::Input;
use super::super::state::overlay::{Form, Pick, Purpose};
use super::super::state::playbook::{run_in_hand, step_in_hand};
use super::super::state::{State, Tab};
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::{Effect, Out, acts, approvals, forms, open};
use crate::desk::StepOffer;
use crate::desk::playbook::marking_of_run;
use crate::model::action::{Request, RequestState};

/// Asks what this step can propose.
pub fn propose(state: &mut State, out: &mut Out) {
    let Some(by) = state.my_id().cloned() else { return };
    let Some((run, v, _)) = step_in_hand(state) else { return };
    out.push(Effect::StepOffer { by, run: run.id.clone(), visit: v.n });
}

/// Runs the step's search. The screen goes on meanwhile.
pub fn search(state: &mut State, out: &mut Out) {
    let Some((run, v, _)) = step_in_hand(state) else { return };
    let (run, visit) = (run.id.clone(), v.n);
    let Some(by) = state.my_id().cloned() else { return };
    state.tell(Role::Info, say!("searching; what comes back is kept as evidence of the step"));
    out.push(Effect::QueryStep { by, run, visit });
}

/// The action it names, in its form at once; else those of the catalogue, those first for which a target is known.
pub fn offered(state: &mut State, result: Result<Box<StepOffer>, Said>, out: &mut Out) {
    let offer = match result {
        Ok(offer) => offer,
        Err(e) => return state.tell(Role::Bad, e),
    };
    let here = step_in_hand(state).is_some_and(|(run, v, _)| run.id == offer.run && v.n == offer.visit);
    if !here || !state.overlays.is_empty() {
        // Whoever asked has gone on to something else.
        return;
    }
    if offer.named && offer.actions.len() == 1 {
        return form(state, &offer, 0, out);
    }
    let items = offer.actions.iter().enumerate().map(|(at, a)| {
        let def = state.catalogue.iter().find(|d| d.name == a.action);
        let on = a.targets.as_ref().map_or_else(Said::new, |t| say!("on ", t.value, "  "));
        let detail = def.map_or_else(Said::new, |d| say!(on, d.tier.word(), "  ", Said::of(&d.title)));
        open::item(Pick::StepAction { offer: offer.clone(), at }, Said::of(&a.action), detail)
    });
    let items = items.collect();
    open::pick(state, say!("Propose from this step"), items, Vec::new());
}

pub fn form(state: &mut State, offer: &StepOffer, at: usize, out: &mut Out) {
    let Some(a) = offer.actions.get(at) else { return };
    let Some(def) = state.catalogue.iter().find(|d| d.name == a.action).cloned() else {
        return state.tell(Role::Bad, say!("the catalogue no longer has ", Said::of(&a.action)));
    };
    let (target, mut hint) = match &a.targets {
        Some(t) => (t.value.expose().to_owned(), say!("from ", Said::of(&t.from))),
        None => (String::new(), open::many(&def)),
    };
    if let Some(also) = a.targets.as_ref().map(|t| &t.also).filter(|also| !also.is_empty()) {
        hint.push(&"; also seen:");
        also.iter().for_each(|v| hint.push(&say!(" ", v)));
    }
    let purpose =
        Purpose::ProposeStep { run: offer.run.clone(), visit: offer.visit, action: a.action.clone(), case: offer.case };
    let made = open::proposal_for(purpose, &def, &target, hint, &a.params, offer.reason.expose());
    open::form(state, made, offer.alerts.clone());
    acts::try_form(state, out);
}

/// The newest request that was proposed from the step in hand, as far as it is loaded.
pub fn request_of(state: &State) -> Option<&Request> {
    let (_, v, _) = step_in_hand(state)?;
    let newest = v.requests.last()?;
    state.requests.rows.iter().find(|r| r.body.id == *newest)
}

/// Opens it: to read, approve or run it.
pub fn its_request(state: &mut State, out: &mut Out) {
    let Some(request) = request_of(state).cloned() else { return };
    let run = request.state == RequestState::Approved;
    approvals::show(state, request, run, out);
}

pub fn proposed(state: &mut State, run: &str, result: Result<Box<Request>, Said>, out: &mut Out) {
    match result {
        Ok(request) => {
            forms::finish(state);
            let key = words::key(state, super::super::action::Do::StepRequest);
            let said = match request.body.approvals_needed {
                0 => say!("proposed; nobody else is needed: ", key, " opens it to run it"),
                n => say!("proposed; ", n, " other(s) must approve it: ", key, " opens it"),
            };
            state.tell(Role::Good, said);
        }
        Err(e) => forms::fail(state, e),
    }
    out.push(Effect::Requests);
    out.push(Effect::Runs);
    if state.tab == Tab::Playbooks {
        out.push(Effect::RunOf(run.to_owned()));
    }
}

/// Asks where the run sheet is to be written.
pub fn sheet(state: &mut State) {
    let Some(run) = run_in_hand(state) else { return };
    let tail = run.id.get(run.id.len().saturating_sub(6)..).unwrap_or_default();
    let name = format!("{}-{}.md", run.playbook, tail.to_lowercase());
    let shown = state.playbook.open.as_ref().and_then(|p| p.shown.as_ref());
    let marking = shown.map_or("", |s| marking_of_run(&s.1).word());
    let mut f = Form::new(Purpose::RunSheet { run: run.id.clone() }, say!("Run sheet: ", run.title))
        .lead(say!("Markdown, with what was done so far: ", marking), Role::Dim);
    if !run.restricted.is_empty() {
        f = f.lead(say!("RESTRICTED: only those who may see this playbook may have the file."), Role::Warn);
    }
    let f = f.text("file", Input::line(&name), say!("a new file on this machine; none is overwritten"), true);
    open::form(state, f, Vec::new());
}
