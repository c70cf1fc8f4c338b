//! Opinions and answers: asking for them, what comes while they are formed, what people say to them; the triage queue.

use super::super::action::{Do, Scope};
use super::super::state::overlay::{Form, Purpose};
use super::super::state::{Asking, Load, Reveal, Run, State, Tab, Unanswered};
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::{Effect, Out, reload_detail};
use crate::model::ids::AlertId;
use crate::model::opinion::{Answered, Review, TriageStats};
use crate::model::verdict::{Verdict, VerdictKind};
use crate::text::Untrusted;

/// Questions and answers told again with the next question.
const BEFORE: usize = 4;
/// The page is not loaded more often than this.
const STATS_MS: i64 = 1_000;

// --- asking ------------------------------------------------------------------------------------

/// Asks for an opinion on the alert in hand, or puts the marked ones into the queue.
pub fn triage(state: &mut State, backend: Option<&'static str>, out: &mut Out) {
    let Some(by) = state.my_id().cloned() else { return };
    let ids = state.alerts_in_hand();
    if backend.is_none() && !state.full && !state.queue.marks.is_empty() {
        state.tell(Role::Dim, say!("queueing ", ids.len(), " for triage"));
        out.push(Effect::Enqueue { by, ids });
        return;
    }
    let Some(id) = state.alert_in_hand() else { return };
    if state.run_of(id, false).is_some() {
        state.tell(Role::Warn, say!("an opinion on alert ", id, " is being formed already"));
        return;
    }
    state.runs.push(Run::new(id, Asking::Opinion, state.now));
    state.detail.reveal = Some(Reveal::Opinion);
    out.push(Effect::Triage { by, id, backend });
}

/// Puts all that matches the filter into the queue.
pub fn triage_filter(state: &mut State, out: &mut Out) {
    let Some(by) = state.my_id().cloned() else { return };
    let q = &state.queue;
    out.push(Effect::EnqueueMatching { by, query: q.query.clone(), sort: q.sort });
    state.tell(Role::Dim, say!("queueing what matches ", Said::of(&state.queue.text)));
}

/// Opens the box for a question about the alert in hand.
pub fn open_ask(state: &mut State) {
    let Some(id) = state.alert_in_hand() else { return };
    if state.run_of(id, true).is_some() {
        state.tell(Role::Warn, say!("the answer to your last question is still being written"));
        return;
    }
    if !state.beside() {
        state.full = true;
    }
    state.detail.reveal = Some(Reveal::Question);
    let f = Form::new(Purpose::Ask, say!("Ask about alert ", id)).text(
        "question",
        super::super::state::input::Input::block(),
        say!("enter asks, alt-enter begins a line, up for an earlier question"),
        true,
    );
    super::open::form(state, f, vec![id]);
}

/// Sends the question.
pub fn ask(state: &mut State, id: AlertId, text: &str, out: &mut Out) -> Result<(), Said> {
    let by = state.my_id().cloned().ok_or_else(|| say!("the roster does not know you"))?;
    let question = Untrusted::new(text.trim());
    state.remember("question", text.trim());
    let before = conversation(state, id);
    state.unanswered = None;
    state.runs.push(Run::new(id, Asking::Question(question.clone()), state.now));
    state.detail.reveal = Some(Reveal::Question);
    out.push(Effect::Ask { by, id, text: question, before });
    Ok(())
}

/// What this person asked about the alert before, and was told.
fn conversation(state: &State, id: AlertId) -> Vec<(Untrusted, Untrusted)> {
    let Some(d) = state.detail.shown.as_ref().filter(|d| d.alert.id == id) else { return Vec::new() };
    let mine = d.asked.iter().filter(|a| a.by.as_ref() == state.my_id());
    let mut pairs: Vec<_> = mine.rev().take(BEFORE).map(|a| (a.question.clone(), a.text.clone())).collect();
    pairs.reverse();
    pairs
}

/// Stops what is being formed about the alert in hand, else the newest, else the queue.
pub fn cancel(state: &mut State, out: &mut Out) {
    let here = state.alert_in_hand();
    let run = state.runs.iter_mut().filter(|r| !r.stopping).max_by_key(|r| Some(r.alert) == here);
    if let Some(run) = run {
        run.stopping = true;
        out.push(Effect::CancelRun { id: run.alert, question: run.what.is_question() });
    } else if super::drafts::cancel(state, out) {
        state.tell(Role::Info, say!("stopping the draft"));
    } else if let Some(by) = state.my_id().cloned() {
        out.push(Effect::CancelQueue { by });
    }
}

/// Escape: stops what is being formed about the open alert. False: nothing is.
pub fn escape(state: &mut State, out: &mut Out) -> bool {
    let here = state.alert_in_hand();
    let Some(run) = state.runs.iter_mut().rev().find(|r| Some(r.alert) == here && !r.stopping) else { return false };
    run.stopping = true;
    out.push(Effect::CancelRun { id: run.alert, question: run.what.is_question() });
    true
}

// --- what comes back ---------------------------------------------------------------------------

pub fn progress(state: &mut State, id: AlertId, question: bool, text: &Untrusted) {
    if let Some(run) = state.runs.iter_mut().find(|r| r.alert == id && r.what.is_question() == question) {
        run.hear(text);
    }
}

fn ended(state: &mut State, id: AlertId, question: bool) -> Option<Run> {
    let at = state.runs.iter().position(|r| r.alert == id && r.what.is_question() == question)?;
    Some(state.runs.remove(at))
}

pub fn judged(state: &mut State, id: AlertId, result: Result<Box<Verdict>, Said>, out: &mut Out) {
    let run = ended(state, id, false);
    match result {
        Ok(v) => {
            let role = if v.fallback { Role::Warn } else { Role::Good };
            let n = v.claims.len();
            let by = if v.fallback { "FALLBACK to rules, " } else { "" };
            let said = say!("alert ", id, ": ", by, v.kind.label(), ", ", v.founded(), " of ", n, " claims founded");
            state.tell(role, said);
            out.push(Effect::Refresh(vec![id]));
            if state.detail.wanted == Some(id) {
                state.detail.claim = None;
                reload_detail(state, out);
            }
        }
        Err(_) if run.is_some_and(|r| r.stopping) => {
            state.tell(Role::Info, say!("stopped: no opinion on alert ", id));
        }
        Err(e) => state.tell(Role::Bad, say!("no opinion on alert ", id, ": ", e)),
    }
}

pub fn answered(state: &mut State, id: AlertId, result: Result<Box<Answered>, Said>, out: &mut Out) {
    let run = ended(state, id, true);
    match result {
        Ok(a) => {
            let founded = a.claims.iter().filter(|c| c.founded).count();
            let role = if founded == a.claims.len() { Role::Good } else { Role::Warn };
            state.tell(role, say!("answered; ", founded, " of ", a.claims.len(), " claims founded"));
            if state.detail.wanted == Some(id) {
                state.detail.reveal = Some(Reveal::Question);
                // Shown at once; the alert loaded anew then holds the same.
                if let Some(d) = state.detail.shown.as_mut().filter(|d| d.alert.id == id)
                    && !d.asked.iter().any(|x| x.request_id == a.request_id)
                {
                    // Its claims are the next to be looked at.
                    let before: usize = d.asked.iter().map(|x| x.claims.len()).sum();
                    let opinion = d.verdicts.first().map_or(0, |v| v.claims.len());
                    state.detail.claim = (!a.claims.is_empty()).then_some(opinion + before);
                    d.asked.push(*a);
                }
                reload_detail(state, out);
            }
        }
        Err(why) => {
            let stopped = run.as_ref().is_some_and(|r| r.stopping);
            let why = if stopped { say!("you stopped it") } else { why };
            if !stopped {
                state.tell(Role::Bad, say!("no answer about alert ", id, ": ", why));
            }
            if let Some(Asking::Question(question)) = run.map(|r| r.what) {
                state.unanswered = Some(Unanswered { alert: id, question, why });
                state.detail.reveal = Some(Reveal::Question);
            }
        }
    }
}

// --- what people say to it ---------------------------------------------------------------------

/// The verdict that can be agreed with or not: the newest of the alert in hand.
pub fn verdict_in_hand(state: &State) -> Option<(AlertId, &Verdict)> {
    let id = state.alert_in_hand()?;
    let d = state.detail.shown.as_ref().filter(|d| d.alert.id == id)?;
    d.verdicts.first().map(|v| (id, v))
}

/// Agrees with the opinion. It closes nothing.
pub fn accept(state: &mut State, out: &mut Out) {
    let Some(by) = state.my_id().cloned() else { return };
    let Some((id, v)) = verdict_in_hand(state) else { return };
    let (request, kind) = (v.request_id.clone(), v.kind);
    out.push(Effect::Review { by, id, request, kind, reason: Untrusted::default() });
}

/// Opens the form for another opinion than the backend's.
pub fn disagree(state: &mut State) {
    let Some((id, v)) = verdict_in_hand(state) else { return };
    let options = kinds().into_iter().map(|(k, kind)| (k, say!(kind.label()))).collect();
    let purpose = Purpose::Review { request: v.request_id.clone(), said: v.kind };
    let f = Form::new(purpose, say!("What is alert ", id, "?"))
        .lead(say!("the opinion says ", v.kind.label()), Role::Text)
        .lead(say!("yours is kept beside it; closing the alert is another act"), Role::Dim)
        .choice("it is", options, None)
        .text("reason", super::super::state::input::Input::line(""), say!("up for an older one"), true);
    super::open::form(state, f, vec![id]);
}

/// Kinds of verdict with the key that picks each.
pub fn kinds() -> [(char, VerdictKind); 4] {
    let [t, b, f, n] = VerdictKind::ALL;
    [('t', t), ('b', b), ('f', f), ('n', n)]
}

pub fn reviewed(state: &mut State, id: AlertId, result: Result<Review, Said>, out: &mut Out) {
    match result {
        Ok(r) => {
            super::forms::finish(state);
            let what = if r.agrees() { say!("agreed: ") } else { say!("noted, you say ") };
            state
                .tell(Role::Good, say!("alert ", id, ": ", what, r.kind.label(), "; it stays open until you close it"));
            if state.detail.wanted == Some(id) {
                if let Some(d) = state.detail.shown.as_mut().filter(|d| d.alert.id == id) {
                    d.reviews.insert(0, r);
                }
                reload_detail(state, out);
            }
        }
        Err(e) => super::forms::fail(state, e),
    }
}

// --- the queue and its page --------------------------------------------------------------------

/// So many of so many were put into the queue.
pub fn queued(state: &mut State, result: Result<(usize, bool), Said>) {
    match result {
        Ok((n, more)) => {
            state.queue.marks.clear();
            let key = state.look.keymap.hint(Do::CancelTriage, &[Scope::Alert]).unwrap_or_default();
            let more = if more { ", the first of more" } else { "" };
            state.tell(Role::Info, say!(n, " queued for triage", more, "; ", Said::of(&key), " stops it"));
        }
        Err(e) => state.tell(Role::Bad, e),
    }
}

pub fn unqueued(state: &mut State, result: Result<usize, Said>) {
    match result {
        Ok(n) => state.tell(Role::Info, say!("stopped: ", n, " taken out of the triage queue")),
        Err(e) => state.tell(Role::Bad, e),
    }
}

/// Loads the page, at most once a second.
pub fn load_stats(state: &mut State, out: &mut Out) {
    let now = state.now;
    let page = &mut state.triage;
    let soon = page.asked_at.is_some_and(|t| now.as_millisecond() - t.as_millisecond() < STATS_MS);
    if page.loading || soon {
        page.again = true;
        return;
    }
    page.loading = true;
    page.again = false;
    page.asked_at = Some(now);
    out.push(Effect::TriageStats);
}

pub fn stats(state: &mut State, result: Result<Box<TriageStats>, Said>) {
    let page = &mut state.triage;
    page.loading = false;
    match result {
        Ok(s) => {
            page.stats = Some(s);
            page.load = Load::Ready { at: state.now };
        }
        Err(e) => page.load.breaks(e, state.now),
    }
}

/// A beat: seconds that are counted on screen, and a page that wants to be loaded again.
pub fn beat(state: &mut State, out: &mut Out) {
    state.beating = false;
    if state.tab == Tab::Triage && state.triage.again {
        load_stats(state, out);
    }
}

/// Asks for the next beat while something counts seconds.
pub fn keep_beating(state: &mut State, out: &mut Out) {
    let counts =
        !state.runs.is_empty() || (state.tab == Tab::Triage && state.triage.again) || super::playbooks::counts(state);
    if counts && !state.beating {
        state.beating = true;
        out.push(Effect::Beat);
    }
}

/// Everything exchanged with models about the alert in hand, word for word.
pub fn exchanges(state: &mut State, id: AlertId, result: Result<Vec<crate::model::opinion::Exchange>, Said>) {
    use super::super::state::doc::Doc;
    use super::super::state::{Overlay, Sheet};
    let all = match result {
        Ok(all) if all.is_empty() => {
            state.tell(Role::Dim, say!("nothing was exchanged with a model about alert ", id));
            return;
        }
        Ok(all) => all,
        Err(e) => {
            state.tell(Role::Bad, e);
            return;
        }
    };
    let (width, _) = super::layout::sheet_size(state);
    let mut doc = Doc::new(width);
    for x in all.iter().take(12) {
        doc.heading(say!(x.purpose.word(), " at ", Said::moment(x.at), "  ", Said::of(&x.request_id)));
        let mut by = say!(Said::of(&x.backend));
        if let Some(s) = &x.server {
            by.push(&say!(" ", Said::of(s)));
        }
        doc.pair(say!("by"), &say!(by, " ", x.model, ", ended with ", Said::of(&x.finish)), Role::Text);
        if let Some(digest) = &x.model_digest {
            doc.pair(say!("digest"), &say!("sha256 ", Said::of(digest)), Role::Dim);
        }
        let n = |v: Option<u64>| v.map_or_else(|| say!("?"), |n| say!(n));
        let u = &x.usage;
        let tokens =
            say!(n(u.prompt_tokens), " in, ", n(u.cached_tokens), " of them cached, ", n(u.completion_tokens), " out");
        doc.pair(say!("tokens"), &tokens, Role::Dim);
        for (label, text) in [("answer", &x.output), ("alert", &x.user), ("told", &Untrusted::new(x.system.as_str()))] {
            let text = say!(crate::text::clean_block(text));
            doc.pair(say!(label), &text, if label == "told" { Role::Dim } else { Role::Text });
        }
    }
    let title = say!("What models were told and answered, alert ", id);
    state.overlays.push(Overlay::Sheet(Box::new(Sheet { title, doc, scroll: 0 })));
}
