//! What became of a run, in a few lines: what a case is closed with, until a person writes it better.

use std::collections::BTreeSet;

use super::sheet::span;
use crate::model::playbook::Playbook;
use crate::model::playbook_run::Run;
use crate::model::playbook_run::VisitState;
use crate::text::Untrusted;
use crate::text::front;

/// Bytes of a value, and of the whole.
const VALUE: usize = 80;
const LONGEST: usize = 2_000;

/// One paragraph: how it ended, what was found out, what was not done and why.
pub fn of(run: &Run, book: &Playbook) -> Untrusted {
    let name = |step: &str| book.step(step).map_or("?", |s| s.name.expose());
    let work: Vec<_> = run.visits.iter().filter(|v| book.work().any(|s| s.id == v.step)).collect();
    let count = |state: VisitState| work.iter().filter(|v| v.state == state).count();
    let took =
        run.ended_at.map(|end| end.duration_since(run.started_at).as_millis()).and_then(|ms| u64::try_from(ms).ok());
    let took = took.map(|ms| format!(" in {}", span(ms))).unwrap_or_default();
    let mut out = format!("{}: {}{took}, {} steps done", run.title.expose(), run.state.word(), count(VisitState::Done));
    for (state, word) in [(VisitState::Skipped, "skipped"), (VisitState::Failed, "failed")] {
        if count(state) > 0 {
            out.push_str(&format!(", {} {word}", count(state)));
        }
    }
    let people: BTreeSet<&str> = work.iter().filter_map(|v| v.ended_by.as_ref()).map(|p| p.as_str()).collect();
    if !people.is_empty() {
        out.push_str(&format!(", by {}", people.into_iter().collect::<Vec<_>>().join(", ")));
    }
    out.push_str(".\n");
    let mut known: Vec<String> = Vec::new();
    for (name, held) in run.variables.iter().filter(|(_, h)| h.by.is_some()) {
        let value = held.value.as_ref().map_or("not known", |v| front(v.expose(), VALUE));
        known.push(format!("{} {value}", name.trim_matches('_').replace('_', " ")));
    }
    if !known.is_empty() {
        out.push_str(&format!("Known: {}.\n", known.join("; ")));
    }
    for (state, word) in [(VisitState::Failed, "Failed"), (VisitState::Skipped, "Skipped")] {
        for v in work.iter().filter(|v| v.state == state) {
            let why = v.reason.as_ref().map_or("no reason given", |r| front(r.expose(), VALUE * 2));
            out.push_str(&format!("{word}: {} ({why}).\n", name(&v.step)));
        }
    }
    if let Some(why) = &run.ended_why {
        out.push_str(&format!("Ended: {}.\n", front(why.expose(), VALUE * 2)));
    }
    let asked: usize = work.iter().map(|v| v.requests.len()).sum();
    let evidence: usize = run.visits.iter().map(|v| v.evidence.len()).sum();
    if asked > 0 {
        out.push_str(&format!("Actions asked for: {asked}. "));
    }
    out.push_str(&format!("Evidence: {evidence} files."));
    Untrusted::new(front(&out, LONGEST))
}
