//! What a form or a picked line sends.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::super::columns;
use super::super::state::overlay::{FieldKind, Form, Pick, Purpose};
use super::super::state::{Overlay, State, own_words};
use super::super::theme::{Role, Theme};
use super::super::words::{Said, say};
use super::{
    Effect, Out, acts, approvals, cases, deadlines, drafts, forms, kept, keys, open, playbooks, queue, steps, triage,
};
use crate::model::act::Act;
use crate::model::action::{Draft, Suggested};
use crate::model::alert::Disposition;
use crate::model::case::SavedView;
use crate::model::ids::CaseId;
use crate::model::priority::Priority;

/// Enter: on, or away with it when nothing that is needed is missing after this field.
pub fn enter(state: &mut State, out: &mut Out) {
    if let Some(Overlay::Filter(f)) = state.overlays.last() {
        let text = f.input.text().trim().to_owned();
        state.remember("filter", &text);
        state.queue.view = None;
        out.push(Effect::Parse { text, apply: true });
        return;
    }
    let Some(form) = forms::top(state) else { return };
    if form.busy.is_some() {
        return;
    }
    if let Some(FieldKind::Text(i)) = form.fields.get_mut(form.focus).map(|f| &mut f.kind)
        && i.tall
    {
        // Here a line ends; the whole is sent by its own key.
        i.newline();
        return;
    }
    let later = form.focus + 1;
    let needed = form.fields.iter().skip(later).position(|f| f.required && empty(&f.kind));
    match needed {
        Some(at) => form.focus = later + at,
        None => submit(state, out),
    }
}

pub fn empty(kind: &FieldKind) -> bool {
    match kind {
        FieldKind::Text(i) => i.text().trim().is_empty(),
        FieldKind::Choice { chosen, .. } => chosen.is_none(),
    }
}

/// Sends the form if nothing is missing.
pub fn submit(state: &mut State, out: &mut Out) {
    if matches!(state.overlays.last(), Some(Overlay::Filter(_))) {
        enter(state, out);
        return;
    }
    let now = state.now;
    let Some(form) = forms::top(state) else { return };
    if form.busy.is_some() {
        return;
    }
    if let Some(at) = form.fields.iter().position(|f| f.required && empty(&f.kind)) {
        lacks(form, at);
        return;
    }
    let form = form.clone();
    match send(state, &form, now, out) {
        Ok(true) => {
            if let Some(form) = forms::top(state) {
                form.busy = Some(now);
                form.error = None;
            }
        }
        Ok(false) => {
            state.overlays.pop();
        }
        Err(why) => {
            if let Some(form) = forms::top(state) {
                form.error = Some(why);
            }
        }
    }
}

/// Says that a field is needed, and goes there.
pub fn lacks(form: &mut Form, at: usize) {
    form.focus = at;
    let Some(field) = form.fields.get(at) else { return };
    let name = field.name.as_ref().map_or_else(|| say!(field.label), |n| Said::of(n));
    form.error = Some(say!(name, " is needed"));
}

/// True: an answer is awaited.
fn send(state: &mut State, form: &Form, now: Timestamp, out: &mut Out) -> Result<bool, Said> {
    let by = state.my_id().cloned();
    let reason = form.text_of("reason");
    state.remember("reason", &reason);
    let ids = form.alerts.clone();
    match &form.purpose {
        Purpose::Close => {
            let at = form.chosen("disposition").unwrap_or(3);
            let comment = form.text_of("comment");
            let comment = (!comment.trim().is_empty()).then(|| own_words(&comment));
            let act = Act::Close { disposition: Disposition::ALL[at], reason: own_words(&reason), comment };
            queue::act(state, act, ids, out);
        }
        Purpose::Snooze => {
            let until = presets(now).get(form.chosen("until").unwrap_or(0)).map(|p| p.2).ok_or(say!("no such time"))?;
            queue::act(state, Act::Snooze { until, reason: own_words(&reason) }, ids, out);
        }
        Purpose::Note => queue::act(state, Act::Note { text: own_words(&form.text_of("note")) }, ids, out),
        Purpose::Prioritise => {
            let to = Priority::ALL[form.chosen("priority").unwrap_or(2)];
            queue::act(state, Act::Prioritise { to, reason: own_words(&reason) }, ids, out);
        }
        Purpose::NewCase => {
            queue::act(state, Act::Merge { case: None, title: own_words(&form.text_of("title")) }, ids, out);
        }
        Purpose::SaveView => {
            let name = form.text_of("name").trim().to_owned();
            let view = SavedView { name, query: state.queue.text.clone(), sort: state.queue.sort.word().into(), by };
            state.queue.view = Some(view.name.clone());
            out.push(Effect::PutView(view));
        }
        Purpose::Suppress => {
            let expires = suppress_presets(now).get(form.chosen("until").unwrap_or(0)).map(|p| p.2);
            let expires = expires.ok_or(say!("no such time"))?;
            if let Some((_, Err(e))) = &form.preview {
                return Err(e.clone());
            }
            let by = by.ok_or(say!("the roster does not know you"))?;
            let query = form.text_of("query");
            out.push(Effect::AddSuppression { by, query, reason: own_words(&reason), expires });
        }
        Purpose::Deny(id) => {
            let by = by.ok_or(say!("the roster does not know you"))?;
            out.push(Effect::Deny { by, id: id.clone(), reason: own_words(&reason) });
        }
        Purpose::Talk { id, answer } => {
            let by = by.ok_or(say!("the roster does not know you"))?;
            let text = own_words(&form.text_of("text"));
            out.push(Effect::Talk { by, id: id.clone(), answer: *answer, text });
        }
        Purpose::BreakGlass { id, digest } => {
            if form.text_of("word").trim() != "alone" {
                return Err(say!("type alone to go on"));
            }
            let by = by.ok_or(say!("the roster does not know you"))?;
            let (id, digest) = (id.clone(), digest.clone());
            out.push(Effect::BreakGlass { by, id, digest, reason: own_words(&reason) });
        }
        Purpose::GlassReview(id) => {
            let by = by.ok_or(say!("the roster does not know you"))?;
            let Some(chosen) = form.chosen("it was") else { return Err(say!("pick what it was")) };
            let text = own_words(&form.text_of("found"));
            out.push(Effect::GlassReview { by, id: id.clone(), justified: chosen == 0, text });
        }
        Purpose::OverBudget(id) => {
            // It is signed on the screen behind, as its tier demands.
            approvals::set_aside(state, id, &reason, out);
            return Ok(false);
        }
        Purpose::KillSwitch { on } => {
            let word = if *on { "stop" } else { "resume" };
            if form.text_of("word").trim() != word {
                return Err(say!("type ", word, " to go on"));
            }
            let by = by.ok_or(say!("the roster does not know you"))?;
            out.push(Effect::KillSwitch { by, on: *on });
        }
        Purpose::Propose { action } => {
            let by = by.ok_or(say!("the roster does not know you"))?;
            if let Some(why) = form.trial.as_ref().and_then(acts::not_tried) {
                return Err(why);
            }
            let (draft, then) = proposal(state, form, action);
            out.push(Effect::Propose { by, draft, then });
        }
        Purpose::Review { request, .. } => {
            let by = by.ok_or(say!("the roster does not know you"))?;
            let (Some((_, kind)), Some(id)) =
                (form.chosen("it is").and_then(|at| triage::kinds().get(at).copied()), ids.first().copied())
            else {
                return Err(say!("pick what it is"));
            };
            out.push(Effect::Review { by, id, request: request.clone(), kind, reason: own_words(&reason) });
        }
        Purpose::Ask => {
            let id = ids.first().copied().ok_or(say!("no alert is under the cursor"))?;
            triage::ask(state, id, &form.text_of("question"), out)?;
            return Ok(false);
        }
        Purpose::ProposeStep { run, visit, action, case } => {
            let by = by.ok_or(say!("the roster does not know you"))?;
            if let Some(why) = form.trial.as_ref().and_then(acts::not_tried) {
                return Err(why);
            }
            let draft = step_proposal(form, action, *case);
            out.push(Effect::ProposeStep { by, run: run.clone(), visit: *visit, draft });
        }
        Purpose::EditRequest { .. } => {
            let by = by.ok_or(say!("the roster does not know you"))?;
            out.push(kept::sent(state, form, by)?);
        }
        Purpose::RunSheet { run } => {
            out.push(Effect::RunSheet { run: run.clone(), path: form.text_of("file").trim().to_owned() });
        }
        Purpose::CloseCase(_) | Purpose::ReopenCase(_) => {
            let by = by.ok_or(say!("the roster does not know you"))?;
            out.push(cases::sent(form, by)?);
        }
        Purpose::RejectDraft { .. } | Purpose::EditDraft { .. } => {
            let by = by.ok_or(say!("the roster does not know you"))?;
            out.push(drafts::sent(form, by)?);
        }
        Purpose::StartPlaybook { .. } | Purpose::Step { .. } | Purpose::CancelPlaybook { .. } => {
            let by = by.ok_or(say!("the roster does not know you"))?;
            out.push(playbooks::sent(form, by)?);
        }
        Purpose::Deadline { .. } | Purpose::DeadlineFrom { .. } => {
            let by = by.ok_or(say!("the roster does not know you"))?;
            out.push(deadlines::sent(form, by)?);
        }
        Purpose::Columns => {
            let names: Vec<String> =
                form.text_of("columns").split([' ', ',']).filter(|s| !s.is_empty()).map(String::from).collect();
            let (known, unknown) = columns::by_names(&names);
            if let Some(first) = unknown.first() {
                return Err(say!("there is no column ", Said::of(first)));
            }
            if known.is_empty() {
                return Err(say!("at least one column is needed"));
            }
            state.look.columns = known;
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a form proposes, and what is proposed with it.
pub fn proposal(state: &State, form: &Form, action: &str) -> (Draft, Vec<Draft>) {
    let mut draft = draft(form, action.to_owned(), &form.text_of("reason"));
    if open::suggested_by_model(state, action) {
        draft.suggested_by = Suggested::Model;
    }
    let mut then: Vec<_> = form.then.iter().map(|a| a.draft(draft.reason.clone())).collect();
    acts::number(&mut draft, &mut then);
    (draft, then)
}

/// The same from a step of a playbook.
pub fn step_proposal(form: &Form, action: &str, case: Option<CaseId>) -> Draft {
    let draft = draft(form, action.to_owned(), &form.text_of("reason"));
    Draft { suggested_by: Suggested::Playbook, case, ..draft }
}

pub fn draft(form: &Form, action: String, reason: &str) -> Draft {
    let targets =
        form.text_of("targets").split([' ', ',', ';', '\n']).filter(|s| !s.is_empty()).map(String::from).collect();
    let params = form
        .fields
        .iter()
        .filter_map(|f| {
            let name = f.name.clone()?;
            let value = match &f.kind {
                FieldKind::Text(i) => i.text(),
                FieldKind::Choice { options, chosen } => options.get((*chosen)?)?.1.as_str().to_owned(),
            };
            (!value.trim().is_empty()).then_some((name, value))
        })
        .collect();
    Draft {
        action,
        targets,
        params,
        alerts: form.alerts.clone(),
        case: None,
        reason: own_words(reason),
        suggested_by: Suggested::Person,
    }
}

/// Key, words and time of the snooze presets.
pub fn presets(now: Timestamp) -> Vec<(char, Said, Timestamp)> {
    let after = |secs: i64| now.checked_add(SignedDuration::from_secs(secs)).unwrap_or(now);
    let zoned = now.to_zoned(TimeZone::system());
    let morning = |days: i64| {
        zoned
            .date()
            .checked_add(days.days())
            .ok()
            .and_then(|d| d.at(8, 0, 0, 0).to_zoned(TimeZone::system()).ok())
            .map_or_else(|| after(days * 86_400), |z| z.timestamp())
    };
    let to_monday = match zoned.weekday().until(Weekday::Monday) {
        0 => 7,
        n => i64::from(n),
    };
    vec![
        ('1', say!("30 min"), after(1800)),
        ('2', say!("1 h"), after(3600)),
        ('4', say!("4 h"), after(4 * 3600)),
        ('t', say!("tomorrow 08:00"), morning(1)),
        ('m', say!("Monday 08:00"), morning(to_monday)),
    ]
}

pub fn suppress_presets(now: Timestamp) -> Vec<(char, Said, Timestamp)> {
    let after = |days: i64| now.checked_add(SignedDuration::from_secs(days * 86_400)).unwrap_or(now);
    vec![('1', say!("1 day"), after(1)), ('7', say!("7 days"), after(7)), ('3', say!("30 days"), after(30))]
}

/// Takes the line under the cursor of a picker.
pub fn take(state: &mut State, out: &mut Out) {
    let Some(Overlay::Picker(p)) = state.overlays.last() else { return };
    let Some(item) = p.current().cloned() else { return };
    let ids = p.alerts.clone();
    if let Some(why) = item.disabled {
        state.tell(Role::Warn, why);
        return;
    }
    state.overlays.pop();
    match item.pick {
        Pick::Run(act) => keys::run(state, act, out),
        Pick::Filter(text) => {
            state.remember("filter", &text);
            state.queue.view = None;
            state.full = false;
            out.push(Effect::Parse { text, apply: true });
        }
        Pick::View(name) => apply_view(state, &name, out),
        Pick::Act(act) => queue::act(state, act, ids, out),
        Pick::IntoCase(id) => {
            queue::act(state, Act::Merge { case: Some(id), title: own_words("") }, ids, out);
        }
        Pick::NewCase => open::new_case(state, ids),
        Pick::Person(id) => {
            let person = state.switchable.iter().find(|p| p.id == id).cloned();
            if let Some(p) = person {
                state.tell(Role::Info, say!("you are ", Said::of(&p.name), " now, ", p.main_role()));
                state.me = Some(p);
                // A decision screen was opened for somebody else.
                state.overlays.retain(|o| !matches!(o, Overlay::Decide(_)));
                // What `me` means in a filter has changed.
                let text = state.queue.text.clone();
                out.push(Effect::Parse { text, apply: true });
                out.push(Effect::Views);
                // Drafts are their authors' alone.
                out.push(Effect::Requests);
                let me = state.my_id().cloned();
                state.requests.rows.retain(|r| kept::seen_by(me.as_ref(), r));
            }
        }
        Pick::Theme(name) => {
            match Theme::load(&name, &state.look.own_themes.clone()).map(|t| t.at_depth(state.look.depth)) {
                Ok(theme) => {
                    state.look.theme = theme;
                    state.repaint = true;
                }
                Err(e) => state.tell(Role::Bad, Said::of(&e.to_string())),
            }
        }
        Pick::Sort(key) => queue::sort(state, key, out),
        Pick::Action(name) => open::propose_form(state, &name, ids, out),
        Pick::ActOn { action, targets, params, then } => {
            open::propose_on(state, &action, &targets, &params, then, out);
        }
        Pick::OpenAlert(id) => {
            state.queue.follow = false;
            state.queue.cursor = Some(id);
            queue::reload_in_place(state, out);
        }
        Pick::Copy(text) => out.push(Effect::Copy(Said::of(&text))),
        Pick::Deadline { run, clock } => deadlines::form(state, run, clock),
        Pick::DeadlineFrom { run, name } => deadlines::from_form(state, run, name),
        Pick::Review(id) => out.push(Effect::DraftOf(id)),
        Pick::StartPlaybook { key, title, of, asks } => playbooks::start(state, key, title, of, &asks, out),
        Pick::StepAction { offer, at } => steps::form(state, &offer, at, out),
        Pick::Step { run, event, done } => playbooks::push(state, run, *event, done, out),
    }
}

/// Shows a saved view in the queue.
pub fn apply_view(state: &mut State, name: &str, out: &mut Out) {
    let Some(row) = state.views.rows.iter().find(|v| v.view.name == name) else { return };
    let (text, sort) = (row.view.query.clone(), row.view.sort.clone());
    state.queue.view = Some(name.to_owned());
    if let Some(key) = crate::model::query::SortKey::parse(&sort) {
        state.queue.sort = key;
    }
    super::go_to(state, super::Tab::Queue, out);
    out.push(Effect::Parse { text, apply: true });
}
