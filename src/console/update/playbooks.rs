//! Playbooks: which fit, starting one, working its steps.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::super::action::Do;
use super::super::layout;
use super::super::playbook as words;
use super::super::state::input::Input;
use super::super::state::overlay::{Field, FieldKind, Form, Pick, Purpose, StepWhat};
use super::super::state::playbook::{For, RunPage, run_in_hand, step_in_hand};
use super::super::state::{State, Tab, own_words};
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::{Effect, Out, deadlines, forms, go_to, open, steps};
use crate::desk::playbook_propose::from_receipts;
use crate::desk::{Asked, Offered};
use crate::model::action::Request;
use crate::model::ids::PersonId;
use crate::model::playbook::{Playbook, Step};
use crate::model::playbook_run::{Deadline, Event, Run, RunState, VisitState};
use crate::model::when;
use crate::text::Untrusted;

/// Others work the same runs, and time boxes run out: asked for again after so many seconds.
const AGAIN: i64 = 3;
/// What is written, and what is picked, where a value was found to be not known.
const UNKNOWN: [&str; 2] = ["?", "not known"];

// --- loading -----------------------------------------------------------------------------------

pub fn load(state: &mut State, out: &mut Out) {
    state.playbook.asked_at = state.now;
    out.push(Effect::Runs);
    if let Some(open) = state.playbook.open.as_ref().filter(|_| state.full) {
        out.push(Effect::RunOf(open.id.clone()));
        let asked = open.shown.as_ref().is_some_and(|s| s.0.visits.iter().any(|v| !v.requests.is_empty()));
        if asked {
            out.push(Effect::Requests);
        }
    }
}

pub fn beat(state: &mut State, out: &mut Out) {
    let waited = state.now.duration_since(state.playbook.asked_at);
    if state.tab == Tab::Playbooks && waited >= SignedDuration::from_secs(AGAIN) {
        load(state, out);
    }
}

pub fn loaded(state: &mut State, id: &str, result: Result<Box<(Run, Playbook, Vec<Deadline>)>, Said>) {
    let Some(page) = state.playbook.open.as_mut().filter(|p| p.id == id) else { return };
    match result {
        Ok(both) => {
            let (run, book, deadlines) = *both;
            page.take(run, book, deadlines);
        }
        Err(e) => page.broken = Some(e),
    }
}

/// The text is not scrolled past its end, and nothing is open that is gone.
pub fn keep_within(state: &mut State) {
    if state.tab != Tab::Playbooks || !state.full {
        return;
    }
    let (width, rows) = layout::playbook_step(state);
    let lines = match &state.playbook.open {
        None => {
            state.full = false;
            return;
        }
        Some(page) if page.scroll > 0 => words::text(state, page, width).rows.len(),
        Some(_) => return,
    };
    if let Some(page) = &mut state.playbook.open {
        page.scroll = page.scroll.min(lines.saturating_sub(rows));
    }
}

// --- moving ------------------------------------------------------------------------------------

pub fn step(state: &mut State, by: isize) {
    if !state.full {
        state.playbook.runs.step(by, |r| r.id.clone());
        return;
    }
    let Some(page) = &mut state.playbook.open else { return };
    let lines = page.lines();
    let at = page.index().unwrap_or(0) as isize;
    let to = at.saturating_add(by).min(lines.len() as isize - 1).max(0) as usize;
    let cursor = lines.into_iter().nth(to).map(|l| l.at);
    if page.cursor != cursor {
        page.cursor = cursor;
        page.scroll = 0;
    }
}

/// Enter: opens the run under the cursor.
pub fn open(state: &mut State, out: &mut Out) {
    if state.full {
        return;
    }
    if let Some(id) = state.playbook.runs.cursor.clone() {
        show(state, id, out);
    }
}

pub fn show(state: &mut State, id: String, out: &mut Out) {
    if state.playbook.open.as_ref().is_none_or(|p| p.id != id) {
        state.playbook.open = Some(RunPage::new(id.clone()));
    }
    state.full = true;
    out.push(Effect::RunOf(id));
}

// --- starting ----------------------------------------------------------------------------------

/// Asks which playbooks fit what is in hand.
pub fn offer(state: &mut State, out: &mut Out) {
    let of = match state.tab {
        Tab::Cases => state.cases.cursor.map(For::Case),
        _ => state.alerts_in_hand().first().copied().map(For::Alert),
    };
    if let Some(of) = of {
        state.playbook.asked = Some(of);
        out.push(Effect::Offer(of));
    }
}

pub fn offered(state: &mut State, of: For, result: Result<Vec<Offered>, Said>) {
    if state.playbook.asked.take() != Some(of) || !state.overlays.is_empty() {
        // Whoever asked has gone on to something else.
        return;
    }
    let all = match result {
        Ok(all) => all,
        Err(e) => {
            state.tell(Role::Bad, e);
            return;
        }
    };
    let fit = all.iter().filter(|o| !o.why.is_empty()).count();
    let title = match of {
        For::Alert(id) => say!("Playbooks for alert ", id, ", ", fit, " fit"),
        For::Case(id) => say!("Playbooks for case #", id, ", ", fit, " fit"),
    };
    let items = all.into_iter().map(|o| {
        let mut detail = Said::new();
        for why in &o.why {
            detail.push(if detail.is_empty() { &"" } else { &"; " });
            detail.push(&say!(why));
        }
        let fits = !o.why.is_empty();
        let detail = if fits { detail } else { say!("not suggested: ", o.description) };
        let title = say!(o.title);
        let label = say!(if fits { "* " } else { "  " }, title);
        open::item(Pick::StartPlaybook { key: o.key, title, of, asks: o.asks }, label, detail)
    });
    let items = items.collect();
    open::pick(state, title, items, Vec::new());
}

/// Starts it, or asks first for what it needs to know.
pub fn start(state: &mut State, key: String, title: Said, of: For, asks: &[Asked], out: &mut Out) {
    let Some(by) = state.my_id().cloned() else { return };
    if asks.is_empty() {
        state.tell(Role::Dim, say!("starting ", title));
        out.push(Effect::StartPlaybook { by, key, of, values: Vec::new() });
        return;
    }
    let known = asks.iter().any(|a| a.filled.is_some());
    let lead = if known {
        say!("What is known is filled in, with where it stands: look whether it is right. It can be changed.")
    } else {
        say!("It needs to know this to begin.")
    };
    let mut f = Form::new(Purpose::StartPlaybook { key, of }, say!("Start: ", title)).lead(lead, Role::Dim);
    f.fields = asks.iter().map(asked_field).collect();
    f.focus = f.fields.iter().position(|f| f.required && is_empty(f)).unwrap_or(f.fields.len() - 1);
    open::form(state, f, Vec::new());
}

/// With what is known of it, and where that stands.
fn asked_field(a: &Asked) -> Field {
    let mut f = field(&a.name, &a.variable.kind, &a.variable.description, &[], false);
    f.required = a.required;
    if a.time {
        f.hint.push(&say!("; ", when::EXPECTED));
    }
    if let Some(known) = &a.filled {
        if let FieldKind::Text(i) = &mut f.kind {
            i.set(known.value.expose());
        }
        f.hint.push(&say!("; from ", Said::of(&known.from)));
        if !known.also.is_empty() {
            f.hint.push(&"; also seen:");
            known.also.iter().for_each(|v| f.hint.push(&say!(" ", v)));
        }
    }
    f
}

fn is_empty(f: &Field) -> bool {
    match &f.kind {
        FieldKind::Text(i) => i.is_empty(),
        FieldKind::Choice { chosen, .. } => chosen.is_none(),
    }
}

pub fn started(state: &mut State, result: Result<Box<Run>, Said>, out: &mut Out) {
    match result {
        Ok(run) => {
            forms::finish(state);
            state.tell(Role::Good, say!("started: ", run.title));
            go_to(state, Tab::Playbooks, out);
            state.playbook.runs.cursor = Some(run.id.clone());
            show(state, run.id, out);
        }
        Err(e) => forms::fail(state, e),
    }
}

// --- working -----------------------------------------------------------------------------------

pub fn act(state: &mut State, what: Do, out: &mut Out) {
    match what {
        Do::StepDone => done(state, out),
        Do::StepFailed => reasoned(state, StepWhat::Fail, say!("Failed: ")),
        Do::StepSkip => reasoned(state, StepWhat::Skip, say!("Skip: ")),
        Do::StepNote => note(state),
        Do::StepTake => take(state, out),
        Do::StepAssign => assign(state),
        Do::StepSign => sign(state, out),
        Do::StepDecide => decide(state),
        Do::StepRetry => {
            let Some((run, v, _)) = step_in_hand(state) else { return };
            let (run, visit) = (run.id.clone(), v.n);
            push(state, run, Event::Retry { visit }, say!("it is tried again"), out);
        }
        Do::StepAttach => attach(state),
        Do::StepPropose => steps::propose(state, out),
        Do::StepRequest => steps::its_request(state, out),
        Do::Deadlines => deadlines::pick(state),
        Do::RunSheet => steps::sheet(state),
        Do::CancelPlaybook => cancel(state),
        Do::StepDown => scroll(state, 1),
        Do::StepUp => scroll(state, -1),
        _ => {}
    }
}

fn scroll(state: &mut State, way: isize) {
    let half = (layout::playbook_step(state).1 as isize / 2).max(1);
    if let Some(page) = &mut state.playbook.open {
        page.scroll = (page.scroll as isize).saturating_add(way * half).max(0) as usize;
    }
}

/// Sends what happens to a run.
pub fn push(state: &State, run: String, event: Event, done: Said, out: &mut Out) {
    if let Some(by) = state.my_id().cloned() {
        out.push(Effect::StepRun { by, run, event: Box::new(event), done });
    }
}

/// A form about the step in hand, with its name in the title.
fn form_of(state: &State, what: StepWhat, verb: &Said) -> Option<Form> {
    let (run, v, step) = step_in_hand(state)?;
    let purpose = Purpose::Step { run: run.id.clone(), visit: v.n, what };
    Some(Form::new(purpose, say!(verb, step.name)))
}

fn reasoned(state: &mut State, what: StepWhat, verb: Said) {
    let Some(f) = form_of(state, what, &verb) else { return };
    let f = f.text("reason", Input::line(""), say!("it is recorded with your name"), true);
    open::form(state, f, Vec::new());
}

fn note(state: &mut State) {
    let Some(f) = form_of(state, StepWhat::Note, &say!("Note on: ")) else { return };
    open::form(state, f.text("note", Input::block(), Said::new(), true), Vec::new());
}

fn attach(state: &mut State) {
    let Some(f) = form_of(state, StepWhat::Attach, &say!("Evidence of: ")) else { return };
    let f = f.lead(say!("A copy is kept by its hash; the file itself stays where it is."), Role::Dim).text(
        "file",
        Input::line(""),
        say!("its path on this machine"),
        true,
    );
    open::form(state, f, Vec::new());
}

fn cancel(state: &mut State) {
    let Some(run) = run_in_hand(state) else { return };
    let f = Form::new(Purpose::CancelPlaybook { run: run.id.clone() }, say!("Cancel: ", run.title))
        .lead(say!("All of it ends, with every branch that is at work."), Role::Warn)
        .text("reason", Input::line(""), say!("it is recorded with your name"), true);
    open::form(state, f, Vec::new());
}

/// Done at once where the step gives nothing; else what it gives is asked for, each by its type.
fn done(state: &mut State, out: &mut Out) {
    let Some((run, v, step)) = step_in_hand(state) else { return };
    let (id, visit, name) = (run.id.clone(), v.n, say!(step.name));
    let Some(shown) = state.playbook.open.as_ref().and_then(|p| p.shown.as_ref()) else { return };
    let book = &shown.1;
    // What the desk finds out itself nobody types.
    let asked: Vec<&String> = step.out_args.iter().filter(|arg| !book.facts.contains_key(*arg)).collect();
    if asked.is_empty() {
        push(state, id, Event::Done { visit, outputs: BTreeMap::new() }, say!("done: ", name), out);
        return;
    }
    let request = steps::request_of(state);
    let fields: Vec<Field> = asked.into_iter().map(|arg| given_field(run, book, step, arg, request)).collect();
    let Some(mut f) = form_of(state, StepWhat::Done, &say!("Done: ")) else { return };
    f.fields = fields;
    open::form(state, f, Vec::new());
}

/// What a step gives: filled in with what its receipts say, or what is known in the run already.
fn given_field(run: &Run, book: &Playbook, step: &Step, arg: &str, request: Option<&Request>) -> Field {
    let (kind, about) = words::variable(run, book, step, arg);
    let choices = book.choices.get(arg).map(Vec::as_slice).unwrap_or_default();
    let mut f = field(arg, &kind, &about, choices, true);
    if book.clocks.contains_key(arg) {
        f.hint.push(&say!("; ", when::EXPECTED));
    }
    let received = request.and_then(|r| from_receipts(arg, &kind, r));
    let held = run.variables.get(arg).filter(|h| h.by.is_some()).and_then(|h| h.value.as_ref());
    match (&mut f.kind, received, held) {
        (FieldKind::Text(i), Some(value), _) => {
            i.set(&value);
            f.hint.push(&"; from the receipts");
        }
        (FieldKind::Choice { options, chosen }, Some(value), _) => {
            *chosen = options.iter().position(|(_, word)| word.as_str() == value);
            f.hint.push(&"; from the receipts");
        }
        (FieldKind::Text(i), None, Some(value)) => {
            i.set(value.expose());
            f.hint.push(&"; known already");
        }
        // Yes or no is said anew each time.
        _ => {}
    }
    f
}

/// A value of a variable. `choices`: the words it is one of. `unknown`: it may also be said that nobody knows.
fn field(name: &str, kind: &str, about: &Untrusted, choices: &[String], unknown: bool) -> Field {
    let mut hint = say!(about);
    if hint.is_empty() {
        hint = Said::of(kind);
    } else if !matches!(kind, "string" | "bool") {
        hint.push(&say!(" (", Said::of(kind), ")"));
    }
    let with_unknown = |mut options: Vec<(char, Said)>| {
        if unknown {
            options.push(('?', say!(UNKNOWN[1])));
        }
        FieldKind::Choice { options, chosen: None }
    };
    let kind = match kind {
        "bool" => with_unknown(vec![('y', say!("true")), ('n', say!("false"))]),
        _ if !choices.is_empty() => {
            with_unknown(choices.iter().zip(('1'..='9').chain('a'..='z')).map(|(w, k)| (k, Said::of(w))).collect())
        }
        _ => {
            if unknown {
                hint.push(&"; ? where it is not known");
            }
            FieldKind::Text(Input::line(""))
        }
    };
    if let FieldKind::Choice { options, .. } = &kind {
        let keys: Vec<String> = options.iter().map(|(k, _)| k.to_string()).collect();
        hint.push(&say!(": press ", Said::of(&keys.join(" "))));
    }
    Field { label: "", name: Some(name.trim_matches('_').to_owned()), kind, hint, required: true }
}

/// Begins it; what another person has is taken over only after a look at who that is.
fn take(state: &mut State, out: &mut Out) {
    let Some((run, v, step)) = step_in_hand(state) else { return };
    let (id, visit, name) = (run.id.clone(), v.n, say!(step.name));
    match v.owner.clone().filter(|o| state.my_id() != Some(o)) {
        None => push(state, id, Event::Take { visit, over: false }, say!("yours: ", name), out),
        Some(owner) => {
            let event = Box::new(Event::Take { visit, over: true });
            let pick = Pick::Step { run: id, event, done: say!("yours now: ", name) };
            let over = open::item(pick, say!("take it over"), say!("from ", owner.clone(), ", who sees it in the run"));
            open::pick(state, say!(owner, " has this step"), vec![over], Vec::new());
        }
    }
}

fn assign(state: &mut State) {
    let Some((run, v, step)) = step_in_hand(state) else { return };
    let (id, visit, name) = (run.id.clone(), v.n, say!(step.name));
    let people = state.roster.people.iter().filter(|p| !p.read_only());
    let items = people
        .map(|p| {
            let event = Box::new(Event::Assign { visit, to: p.id.clone() });
            let pick = Pick::Step { run: id.clone(), event, done: say!("given to ", p.id, ": ", name) };
            open::item(pick, say!(p.id), say!(Said::of(&p.name), ", ", p.main_role()))
        })
        .collect();
    open::pick(state, say!("Give this step to"), items, Vec::new());
}

fn sign(state: &mut State, out: &mut Out) {
    let Some((run, v, step)) = step_in_hand(state) else { return };
    let open: Vec<String> = step.sign_off.iter().filter(|r| !v.signed.iter().any(|s| s.role == **r)).cloned().collect();
    let mine = |r: &String| state.me.as_ref().is_some_and(|p| p.roles.iter().any(|have| have.word() == *r));
    if let [role] = open.as_slice()
        && mine(role)
    {
        let (id, visit, said) = (run.id.clone(), v.n, say!("signed as ", Said::of(role)));
        push(state, id, Event::Sign { visit, role: role.clone(), named: None }, said, out);
        return;
    }
    let options = open.iter().zip('1'..='9').map(|(r, k)| (k, Said::of(r))).collect();
    let chosen = open.iter().position(mine).or((open.len() == 1).then_some(0));
    let Some(f) = form_of(state, StepWhat::Sign(open), &say!("Sign: ")) else { return };
    let f = f.choice("as", options, chosen).text(
        "given by",
        Input::line(""),
        say!("of somebody outside the roster: who, and where it is kept"),
        false,
    );
    open::form(state, f, Vec::new());
}

fn decide(state: &mut State) {
    let Some((_, v, step)) = step_in_hand(state) else { return };
    debug_assert!(v.state == VisitState::Undecided, "the action is offered only then");
    let mut ways: Vec<String> = step.kind.branches().into_iter().map(|b| b.0).collect();
    ways.push("on".into());
    let options = ways.iter().zip(('1'..='9').chain('a'..='z')).map(|(w, k)| (k, Said::of(w))).collect();
    let Some(f) = form_of(state, StepWhat::Decide(ways), &say!("Decide: ")) else { return };
    let f = f
        .lead(say!("It asks for what nobody knows: on goes past it."), Role::Dim)
        .choice("it goes", options, None)
        .text("reason", Input::line(""), say!("it is recorded with your name"), true);
    open::form(state, f, Vec::new());
}

// --- what forms send ---------------------------------------------------------------------------

pub fn sent(form: &Form, by: PersonId) -> Result<Effect, Said> {
    let reason = || own_words(&form.text_of("reason"));
    match &form.purpose {
        Purpose::StartPlaybook { key, of } => {
            let values = given(form).into_iter().filter_map(|(n, v)| Some((n, v.filter(|v| !v.is_empty())?))).collect();
            Ok(Effect::StartPlaybook { by, key: key.clone(), of: *of, values })
        }
        Purpose::CancelPlaybook { run } => {
            let event = Box::new(Event::Cancel { reason: reason() });
            Ok(Effect::StepRun { by, run: run.clone(), event, done: say!("cancelled") })
        }
        Purpose::Step { run, visit, what } => {
            let (run, visit) = (run.clone(), *visit);
            let (event, done) = match what {
                StepWhat::Done => (Event::Done { visit, outputs: given(form) }, say!("done")),
                StepWhat::Fail => (Event::Fail { visit, reason: reason() }, say!("it failed; it is recorded")),
                StepWhat::Skip => (Event::Skip { visit, reason: reason() }, say!("skipped")),
                StepWhat::Note => (Event::Note { visit, text: own_words(&form.text_of("note")) }, say!("noted")),
                StepWhat::Sign(roles) => {
                    let role = form.chosen("as").and_then(|i| roles.get(i)).ok_or(say!("pick a role"))?;
                    let named = form.text_of("given by");
                    let named = (!named.trim().is_empty()).then(|| own_words(&named));
                    (Event::Sign { visit, role: role.clone(), named }, say!("signed as ", Said::of(role)))
                }
                StepWhat::Decide(ways) => {
                    let branch = form.chosen("it goes").and_then(|i| ways.get(i)).ok_or(say!("pick a way"))?;
                    let done = say!("decided: ", Said::of(branch));
                    (Event::Decide { visit, branch: branch.clone(), reason: reason() }, done)
                }
                StepWhat::Attach => {
                    return Ok(Effect::Attach { by, run, visit, path: form.text_of("file").trim().to_owned() });
                }
            };
            Ok(Effect::StepRun { by, run, event: Box::new(event), done })
        }
        _ => Err(say!("this form is not about a playbook")),
    }
}

/// Values by the name of their variable; `None` where it was said that nobody knows.
fn given(form: &Form) -> BTreeMap<String, Option<Untrusted>> {
    let named = form.fields.iter().filter_map(|f| {
        let value = match &f.kind {
            FieldKind::Text(i) => i.text(),
            FieldKind::Choice { options, chosen } => options.get((*chosen)?)?.1.as_str().to_owned(),
        };
        Some((f.name.clone()?, (!UNKNOWN.contains(&value.trim())).then(|| own_words(value.trim()))))
    });
    named.collect()
}

/// What was sent took, or did not; either way the run is read again.
pub fn stepped(state: &mut State, run: &str, result: Result<Said, Said>, out: &mut Out) {
    match result {
        Ok(said) => {
            forms::finish(state);
            state.tell(Role::Good, said);
        }
        Err(e) => forms::fail(state, e),
    }
    out.push(Effect::Runs);
    if state.playbook.open.as_ref().is_some_and(|p| p.id == run) {
        out.push(Effect::RunOf(run.to_owned()));
    }
}

/// Whether the clock of an open run counts on screen.
pub fn counts(state: &State) -> bool {
    let running = state.playbook.runs.rows.iter().any(|r| r.state == RunState::Running);
    state.tab == Tab::Playbooks && (running || state.playbook.open.is_some())
}
