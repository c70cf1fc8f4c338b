//! Playbooks at work in words: the lines of the step list, and the text of one step. Pure: of the run, the playbook, the
//! time and the width there is. What a playbook says is untrusted and stands here cleaned.

use jiff::Timestamp;

use super::action::{Do, Scope};
use super::deadlines;
use super::state::doc::{Doc, DocRow, block};
use super::state::playbook::At;
use super::state::{RunPage, State};
use super::theme::Role;
use super::words::{Clock, Said, say};
use crate::desk::playbook_runs::fill;
use crate::model::action::{ReceiptState, RequestState};
use crate::model::playbook::{ACTION, ANSIBLE, OPENSEARCH, Playbook, Step, StepKind};
use crate::model::playbook_run::{Found, Run, RunState, Visit, VisitState};
use crate::text::Untrusted;

pub fn run_role(state: RunState) -> Role {
    match state {
        RunState::Running => Role::Accent,
        RunState::Done => Role::Good,
        RunState::Failed => Role::Bad,
        RunState::Cancelled => Role::Dim,
    }
}

pub fn visit_role(v: &Visit) -> Role {
    match v.state {
        VisitState::Ready | VisitState::Active if v.overdue => Role::Bad,
        VisitState::Ready => Role::Accent,
        VisitState::Active | VisitState::Open => Role::Info,
        VisitState::Undecided | VisitState::Escalated => Role::Warn,
        VisitState::Held | VisitState::Failed => Role::Bad,
        VisitState::Done => Role::Good,
        VisitState::Waiting | VisitState::Skipped | VisitState::Cancelled => Role::Dim,
    }
}

/// How long it took, or how long is left of its time.
pub fn clock(v: &Visit, now: Timestamp) -> (Said, Role) {
    let between = |from: Timestamp, to: Timestamp| (to.as_second() - from.as_second()).max(0);
    if let Some(end) = v.ended_at {
        return (say!("took ", Said::span(between(v.ready_at.min(end), end))), Role::Dim);
    }
    if v.state == VisitState::Waiting {
        return (say!("in ", Said::countdown(between(now, v.ready_at))), Role::Dim);
    }
    match v.fails_at.into_iter().chain(v.box_until).min() {
        Some(until) if until > now => (say!(Said::countdown(between(now, until)), " left"), Role::Text),
        Some(until) => (say!("OVER by ", Said::span(between(until, now))), Role::Bad),
        None => (say!("for ", Said::span(between(v.entered_at, now))), Role::Dim),
    }
}

/// The nearest clock of a run, for the list: of its open steps the one with least time left.
pub fn run_clock(run: &Run, now: Timestamp) -> (Said, Role) {
    let Some(over) = run.ended_at.filter(|_| run.state != RunState::Running) else {
        let until = |v: &&Visit| v.fails_at.into_iter().chain(v.box_until).min();
        let next = run.open().filter(|v| until(v).is_some()).min_by_key(until);
        return match next.or_else(|| run.open().next()) {
            Some(v) => clock(v, now),
            None => (say!("for ", Said::span(now.as_second() - run.started_at.as_second())), Role::Dim),
        };
    };
    (say!("took ", Said::span(over.as_second() - run.started_at.as_second())), Role::Dim)
}

/// How many steps are over. How many there will be nobody knows: branches are taken or not.
pub fn done_of(run: &Run) -> Said {
    match run.visits.iter().filter(|v| v.state.over()).count() {
        1 => say!("1 step over"),
        n => say!(n, " steps over"),
    }
}

/// One line of the step list.
pub fn line(page: &RunPage, at: &At, depth: usize, width: usize, now: Timestamp) -> DocRow {
    let Some(shown) = &page.shown else { return Vec::new() };
    let (run, book) = (&shown.0, &shown.1);
    let indent = Said::repeat("  ", depth);
    let narrow = width < 66;
    let name_room = width.saturating_sub(if narrow { 26 } else { 38 }).max(8);
    let cell = |text: &Said, w: usize| say!(text.fit(w, "~").padded(w), " ");
    match at {
        At::Ahead(id) => {
            let name = book.step(id).map(|s| say!(s.name)).unwrap_or_default();
            vec![
                (cell(&Said::new(), 3), Role::Dim),
                (cell(&name, name_room), Role::Dim),
                (cell(&say!("ahead"), 9), Role::Dim),
            ]
        }
        At::Visit(n) => {
            let Some(v) = run.visit(*n) else { return Vec::new() };
            let name = book.step(&v.step).map(|s| say!(s.name)).unwrap_or_else(|| Said::of(&v.key));
            let branch =
                if v.parent.is_some() && !v.branch.is_empty() { say!(Said::of(&v.branch), ": ") } else { Said::new() };
            let round = if v.round > 0 { say!(" (round ", v.round + 1, ")") } else { Said::new() };
            let role = if v.state.over() { Role::Dim } else { Role::Text };
            let owner = v.owner.as_ref().map_or_else(|| say!("-"), |o| say!(o.clone()));
            let (clock, clock_role) = clock(v, now);
            let mut row = vec![
                (cell(&say!(*n), 3), Role::Dim),
                (cell(&say!(indent, branch, name, round), name_room), role),
                (cell(&say!(v.state.word()), 9), visit_role(v)),
            ];
            if !narrow {
                row.push((cell(&owner, 10), Role::Dim));
            }
            row.push((clock, clock_role));
            row
        }
    }
}

/// The key of an action as it is bound in an open playbook, for sentences.
pub fn key(s: &State, act: Do) -> Said {
    match s.look.keymap.hint(act, &[Scope::Playbooks, Scope::Global]) {
        Some(k) => Said::of(&k),
        None => say!(":", act.word()),
    }
}

/// The step under the cursor: what to do, with what, what became of it, and where it leads.
pub fn text(s: &State, page: &RunPage, width: usize) -> Doc {
    let mut doc = Doc::new(width);
    let (Some(shown), Some((visit, step))) = (&page.shown, page.step()) else { return doc };
    let (run, book) = (&shown.0, &shown.1);
    if run.state != RunState::Running {
        over(&mut doc, s, run);
    }
    doc.text(0, &say!(step.name), Role::Heading);
    match visit {
        Some(v) => standing(&mut doc, v, s.now),
        None => doc.text(0, &say!("nobody came to this step yet"), Role::Dim),
    }
    let open = visit.is_some_and(|v| v.state.wants_somebody()) && run.state == RunState::Running;
    // Before the text, which may be longer than the screen.
    if open {
        next(&mut doc, s, book, step, visit);
    }
    if let Some(v) = visit {
        requests(&mut doc, s, v);
    }
    let given = &step.description;
    if !given.is_empty() && !step.commands.iter().any(|c| c.text == *given) {
        doc.pair(say!("what"), &block(&fill(run, step, given)), Role::Text);
    }
    commands(&mut doc, run, step);
    for (label, given) in [("look at", &step.look_at), ("stop when", &step.stop_when)] {
        if let Some(t) = given {
            doc.pair(say!(label), &block(&fill(run, step, t)), Role::Text);
        }
    }
    for what in &step.attach {
        doc.pair(say!("attach"), &say!(what), Role::Text);
    }
    asked(&mut doc, step, visit);
    if let Some(v) = visit {
        became(&mut doc, v);
    }
    leads(&mut doc, book, step, visit);
    if run.state == RunState::Running {
        known(&mut doc, run);
    }
    deadlines::list(&mut doc, s, &page.deadlines);
    doc
}

/// What comes after the last step.
fn over(doc: &mut Doc, s: &State, run: &Run) {
    let mut said = say!("this playbook is ", run.state.word());
    match run.case {
        Some(id) if super::update::cases::is_closed(s, id) => said.push(&say!(", case #", id, " is closed")),
        Some(id) => said.push(&say!("; ", key(s, Do::CloseCase), " closes case #", id, " with what came of it")),
        None => {}
    }
    said.push(&say!("; ", key(s, Do::RunSheet), " writes the run sheet"));
    doc.pair(say!("NEXT"), &said, Role::Accent);
    doc.blank();
}

/// What this step waits for, in the order of the keys.
fn next(doc: &mut Doc, s: &State, book: &Playbook, step: &Step, visit: Option<&Visit>) {
    let Some(v) = visit else { return };
    let mut said = Said::new();
    let mut add = |part: Said| {
        if !said.is_empty() {
            said.push(&", ");
        }
        said.push(&part);
    };
    match v.state {
        VisitState::Undecided => add(say!(key(s, Do::StepDecide), " says which way it goes")),
        VisitState::Held => {
            add(say!(key(s, Do::StepRetry), " tries again"));
            add(say!(key(s, Do::StepSkip), " goes on past it"));
            add(say!(key(s, Do::StepFailed), " gives it up"));
        }
        _ => {
            if step.commands.iter().any(|c| c.kind == ACTION) && v.requests.is_empty() && !s.catalogue.is_empty() {
                add(say!(key(s, Do::StepPropose), " proposes it"));
            }
            let searched = v.evidence.iter().any(|e| e.found.is_some());
            if step.searches() && s.no_search.is_none() && !searched {
                add(say!(key(s, Do::StepQuery), " searches"));
            }
            if !step.attach.is_empty() && !v.evidence.iter().any(|e| e.found.is_none()) {
                add(say!(key(s, Do::StepAttach), " attaches a file"));
            }
            if step.sign_off.iter().any(|r| !v.signed.iter().any(|x| x.role == *r)) {
                add(say!(key(s, Do::StepSign), " signs"));
            }
            let gives: Vec<String> = step
                .out_args
                .iter()
                .filter(|n| !book.facts.contains_key(*n))
                .map(|n| n.trim_matches('_').replace('_', " "))
                .collect();
            let found = step.out_args.len() > gives.len();
            match (gives.is_empty(), matches!(step.kind, StepKind::Playbook(_))) {
                (true, true) => add(say!(key(s, Do::StepTake), " starts the other playbook")),
                (true, false) if found => {
                    add(say!(key(s, Do::StepDone), " when done: the desk itself finds out the rest"))
                }
                (true, false) => add(say!(key(s, Do::StepDone), " when it is done")),
                (false, _) => {
                    add(say!(key(s, Do::StepDone), " when it is done: asks for ", Said::of(&gives.join(", "))));
                }
            }
        }
    }
    doc.pair(say!("NEXT"), &said, Role::Accent);
}

/// The actions that were proposed from it, and how far they are.
fn requests(doc: &mut Doc, s: &State, v: &Visit) {
    for id in &v.requests {
        let Some(r) = s.requests.rows.iter().find(|r| r.body.id == *id) else {
            doc.pair(say!("request"), &say!("loading"), Role::Dim);
            continue;
        };
        let left = usize::from(r.body.approvals_needed).saturating_sub(r.approvals.len());
        let how = match r.state {
            RequestState::Pending => say!("waits for ", left, " approval(s); ", key(s, Do::StepRequest), " opens it"),
            RequestState::Approved => say!("approved; ", key(s, Do::StepRequest), " opens it to run it"),
            RequestState::Executing => say!("runs"),
            RequestState::Done | RequestState::Failed => {
                let done = r.receipts.iter().filter(|x| x.state == ReceiptState::Done).count();
                say!(done, " of ", r.body.targets.len(), " done; its receipts are kept with this step")
            }
            other => say!(other.word()),
        };
        let on = Said::of(&r.body.targets.join(" "));
        let said =
            say!(Said::of(&r.body.action), " on ", on, ": ", Said::of(&r.state.word().to_uppercase()), ", ", how);
        doc.pair(say!("request"), &said, super::view::lists::request_role(r.state));
    }
}

/// Values the run holds, and who gave them.
fn known(doc: &mut Doc, run: &Run) {
    for (name, held) in run.variables.iter().filter(|(_, h)| h.by.is_some()) {
        let value = held.value.as_ref().map_or_else(|| say!("not known"), |v| say!(v));
        let by = held.by.as_ref().map_or_else(Said::new, |b| say!("   (", b, ")"));
        doc.pair(say!("known"), &say!(Said::of(name.trim_matches('_')), " = ", value, by), Role::Dim);
    }
}

fn standing(doc: &mut Doc, v: &Visit, now: Timestamp) {
    let (clock, role) = clock(v, now);
    let owner = v.owner.as_ref().map_or_else(|| say!("nobody has it"), |o| say!(o.clone(), " has it"));
    let owner =
        if v.state.over() { v.ended_by.as_ref().map_or_else(Said::new, |o| say!("by ", o.clone())) } else { owner };
    doc.rows.push(vec![(say!(v.state.word(), "   "), visit_role(v)), (say!(owner, "   "), Role::Text), (clock, role)]);
    if let Some(why) = &v.reason {
        doc.pair(say!("because"), &block(why), Role::Warn);
    }
    if let Some(child) = &v.child {
        doc.pair(say!("waits for"), &say!("the playbook of run ", Said::of(child)), Role::Info);
    }
}

/// Commands as they are written, in a box that our own words never stand in.
fn commands(doc: &mut Doc, run: &Run, step: &Step) {
    for c in &step.commands {
        let room = doc.width.saturating_sub(2);
        let kind = match c.kind.as_str() {
            "manual" => say!("what to do"),
            ACTION => say!("the action to propose"),
            ANSIBLE => say!("Ansible playbook"),
            OPENSEARCH => say!("search"),
            other => Said::of(other),
        };
        doc.rows.push(vec![(say!("| ", kind), Role::Fence)]);
        let mut lines = Vec::new();
        for text in [&c.text, &c.description].into_iter().filter(|t| !t.is_empty()) {
            lines.extend(block(&fill(run, step, text)).wrap(room));
        }
        for part in lines {
            doc.rows.push(vec![(say!("| "), Role::Fence), (part, Role::Text)]);
        }
    }
}

fn asked(doc: &mut Doc, step: &Step, visit: Option<&Visit>) {
    if let Some(who) = &step.who {
        doc.pair(say!("for"), &say!(who), Role::Dim);
    }
    if !step.targets.is_empty() {
        let mut all = Said::new();
        for t in &step.targets {
            all.push(&say!(t, "  "));
        }
        doc.pair(say!("on"), &all, Role::Dim);
    }
    if !step.out_args.is_empty() && visit.is_none_or(|v| !v.state.wants_somebody()) {
        let names: Vec<&str> = step.out_args.iter().map(|n| n.trim_matches('_')).collect();
        doc.pair(say!("gives"), &Said::of(&names.join(", ")), Role::Info);
    }
    let signed = |r: &String| visit.is_some_and(|v| v.signed.iter().any(|s| s.role == *r));
    let open: Vec<&str> = step.sign_off.iter().filter(|r| !signed(r)).map(String::as_str).collect();
    if !open.is_empty() {
        doc.pair(say!("sign off"), &say!("wanted of ", Said::of(&open.join(", "))), Role::Warn);
    }
    if let Some(prompt) = &step.prompt {
        doc.pair(say!("to ask"), &say!("the model: ", block(prompt)), Role::Info);
    }
    if let StepKind::If { condition, .. } | StepKind::While { condition, .. } | StepKind::Switch { on: condition, .. } =
        &step.kind
    {
        doc.pair(say!("asks"), &say!(condition), Role::Text);
    }
}

/// What people did with it.
fn became(doc: &mut Doc, v: &Visit) {
    for (name, value) in &v.outputs {
        let value = value.as_ref().map_or_else(|| say!("not known"), block);
        doc.pair(Said::of(name.trim_matches('_')), &value, Role::Text);
    }
    for s in &v.signed {
        let named = s.named.as_ref().map_or_else(Said::new, |n| say!(" (", n, ")"));
        doc.pair(say!("signed"), &say!(Said::of(&s.role), named, " by ", s.by, " at ", Clock(s.at)), Role::Good);
    }
    for e in &v.evidence {
        let hash = Said::of(e.sha256.get(..12).unwrap_or("?"));
        let text = say!(e.name, "  ", e.bytes, " bytes  sha256 ", hash, "  by ", e.by, " at ", Clock(e.at));
        doc.pair(say!("evidence"), &text, Role::Text);
        if let Some(f) = &e.found {
            doc.pair(say!("found"), &found(f), if f.partial.is_some() { Role::Warn } else { Role::Text });
            quoted(doc, f);
        }
    }
    for a in &v.advice {
        doc.pair(say!("advice"), &say!(a.model, ", a model, at ", Clock(a.at), ": ", block(&a.text)), Role::Info);
        for (quote, founded) in &a.quotes {
            let mark = if *founded { "=" } else { "x" };
            doc.text(13, &say!(mark, " ", block(quote)), if *founded { Role::Dim } else { Role::Warn });
        }
    }
    for n in &v.notes {
        doc.pair(say!("note"), &say!(n.by, " at ", Clock(n.at), ": ", block(&n.text)), Role::Text);
    }
    for b in &v.branches {
        let (word, role) = match b.ended {
            None => ("at work", Role::Info),
            Some(true) => ("done", Role::Good),
            Some(false) => ("failed", Role::Bad),
        };
        doc.pair(say!("branch"), &say!(Said::of(&b.word), "  ", word), role);
    }
}

/// The first of what was found, in the box of what others wrote.
fn quoted(doc: &mut Doc, f: &Found) {
    let room = doc.width.saturating_sub(2);
    for line in &f.first {
        for part in say!(line).wrap(room) {
            doc.rows.push(vec![(say!("| "), Role::Fence), (part, Role::Text)]);
        }
    }
    let shown = f.first.len();
    if f.kept > shown as u64 {
        doc.rows.push(vec![(say!("| ", "the first ", shown, " of ", f.kept, " that are kept"), Role::Fence)]);
    }
}

/// What the answer of a search says, on a line.
pub fn found(f: &Found) -> Said {
    Said::of(&f.words())
}

fn leads(doc: &mut Doc, book: &Playbook, step: &Step, visit: Option<&Visit>) {
    let branch = visit.is_some_and(|v| v.parent.is_some());
    let name = |id: &str| match book.step(id) {
        Some(s) if s.kind == StepKind::End && branch => say!("the end of this branch"),
        Some(s) if s.kind == StepKind::End => say!("the end"),
        Some(s) => say!(s.name),
        None => say!("?"),
    };
    for (word, head) in step.kind.branches() {
        doc.pair(say!("branch"), &say!(Said::of(&word), "  leads to  ", name(head)), Role::Dim);
    }
    if let Some(next) = step.next() {
        doc.pair(say!("then"), &name(next), Role::Dim);
    }
    if let Some(next) = &step.on_failure {
        doc.pair(say!("if it fails"), &name(next), Role::Dim);
    }
}

/// The type and the meaning of something a step gives.
pub fn variable(run: &Run, book: &Playbook, step: &Step, name: &str) -> (String, Untrusted) {
    let declared = step.variables.get(name).or_else(|| book.variables.get(name));
    let kind = declared.map(|v| v.kind.clone()).or_else(|| run.variables.get(name).map(|h| h.kind.clone()));
    (kind.unwrap_or_else(|| "string".into()), declared.map(|v| v.description.clone()).unwrap_or_default())
}
