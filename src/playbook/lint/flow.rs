//! Where steps lead: what is not there, what is never reached, what is never left.
//!
//! A branch runs from its head to an `end`; then the step that opened it goes on (section 4).

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::Out;
use super::Pointer;
use crate::model::playbook::Grade;
use crate::model::playbook::Playbook;
use crate::model::playbook::Step;
use crate::model::playbook::StepKind;
use crate::playbook::Document;
use crate::playbook::condition;
use crate::playbook::ids;

pub(super) fn check(doc: &Document, known: Option<&dyn Fn(&str) -> bool>, out: &mut Out) {
    let book = doc.view("playbook");
    let graph = Graph::of(&book);
    dangling(doc, &book, out);
    ends(&book, out);
    for step in &book.steps {
        exits(&book, step, out);
        conditions(step, out);
        if let (StepKind::Playbook(id), Some(known)) = (&step.kind, known)
            && !known(id)
            && *id != book.id
        {
            out.warn(&Pointer::step(&step.id).to("playbook_id"), "missing-playbook", format!("{id:?} is not here"));
        }
        if let StepKind::Playbook(id) = &step.kind
            && *id == book.id
        {
            let at = Pointer::step(&step.id).to("playbook_id");
            out.error(&at, "endless-cycle", "the playbook calls itself");
        }
    }
    let reached = graph.reached(&book);
    for step in &book.steps {
        if !reached.contains(step.id.as_str()) && graph.knows(&book.start) {
            out.warn(&Pointer::step(&step.id), "unreachable", "no step leads here");
        }
    }
    endless(&book, &graph, &reached, out);
}

/// Steps by id.
struct Graph<'a> {
    steps: BTreeMap<&'a str, &'a Step>,
}

impl<'a> Graph<'a> {
    fn of(book: &'a Playbook) -> Self {
        Self { steps: book.steps.iter().map(|s| (s.id.as_str(), s)).collect() }
    }

    fn knows(&self, id: &str) -> bool {
        self.steps.contains_key(id)
    }

    fn reached(&self, book: &'a Playbook) -> BTreeSet<&'a str> {
        let mut out = BTreeSet::new();
        let mut todo: Vec<&str> =
            [Some(book.start.as_str()), book.exception.as_deref()].into_iter().flatten().collect();
        while let Some(id) = todo.pop() {
            let Some(step) = self.steps.get(id).filter(|s| out.insert(s.id.as_str())) else { continue };
            todo.extend(follow(step));
            todo.extend(step.kind.branches().into_iter().map(|b| b.1));
        }
        out
    }
}

/// Steps that come after this one on its own branch.
fn follow(step: &Step) -> impl Iterator<Item = &str> {
    [&step.on_completion, &step.on_success, &step.on_failure].into_iter().flatten().map(String::as_str)
}

/// Every step that is named is there.
fn dangling(doc: &Document, book: &Playbook, out: &mut Out) {
    let workflow = doc.json().get("workflow");
    let there = |id: &str| workflow.and_then(|w| w.get(id)).is_some();
    let mut need = |id: &str, at: Pointer| {
        if !there(id) {
            out.error(&at, "missing-step", format!("there is no step {id:?}"));
        }
    };
    let root = Pointer::default();
    if !book.start.is_empty() {
        need(&book.start, root.to("workflow_start"));
    }
    if let Some(e) = &book.exception {
        need(e, root.to("workflow_exception"));
    }
    for step in &book.steps {
        let at = Pointer::step(&step.id);
        let named = [
            ("on_completion", &step.on_completion),
            ("on_success", &step.on_success),
            ("on_failure", &step.on_failure),
        ];
        for (name, id) in named {
            if let Some(id) = id {
                need(id, at.to(name));
            }
        }
        match &step.kind {
            StepKind::Parallel(heads) => {
                heads.iter().enumerate().for_each(|(i, h)| need(h, at.to("next_steps").nth(i)));
            }
            StepKind::If { yes, no, .. } => {
                need(yes, at.to("on_true"));
                if let Some(no) = no {
                    need(no, at.to("on_false"));
                }
            }
            StepKind::While { body, .. } => need(body, at.to("on_true")),
            StepKind::Switch { cases, .. } => {
                cases.iter().for_each(|(value, head)| need(head, at.to("cases").to(value)));
            }
            StepKind::Start | StepKind::End | StepKind::Action | StepKind::Playbook(_) => {}
        }
    }
}

fn ends(book: &Playbook, out: &mut Out) {
    let root = Pointer::default();
    match book.step(&book.start).map(|s| &s.kind) {
        Some(StepKind::Start) | None => {}
        Some(other) => {
            let what = format!("the workflow begins with a {} step; a start step was expected", other.word());
            out.warn(&root.to("workflow_start"), "no-start", what);
        }
    }
    let workflow = root.to("workflow");
    let starts = book.steps.iter().filter(|s| s.kind == StepKind::Start).count();
    if starts > 1 {
        out.warn(&workflow, "no-start", format!("{starts} start steps; one was expected"));
    }
    if !book.steps.iter().any(|s| s.kind == StepKind::End) {
        out.error(&workflow, "no-end", "no end step");
    }
    if book.work().next().is_none() {
        out.warn(&workflow, "no-action", "no action step: nobody has anything to do");
    }
}

/// The three ways on, and the way on after a failure.
fn exits(book: &Playbook, step: &Step, out: &mut Out) {
    let at = Pointer::step(&step.id);
    let both = step.on_completion.is_some() && (step.on_success.is_some() || step.on_failure.is_some());
    match step.kind {
        StepKind::End if follow(step).next().is_some() => {
            out.error(&at, "end-goes-on", "an end step leads nowhere");
            return;
        }
        StepKind::End => return,
        StepKind::Start if step.on_success.is_some() || step.on_failure.is_some() => {
            out.error(&at, "bad-exits", "a start step has on_completion alone");
        }
        // Its branches end by themselves; the document may go on from there or not.
        _ if both => out.error(&at, "bad-exits", "on_completion stands alone, without on_success and on_failure"),
        _ => {}
    }
    if step.next().is_none() {
        let grade = if step.kind.branches().is_empty() { Grade::Error } else { Grade::Warning };
        out.add(grade, &at, "no-way-on", "neither on_completion nor on_success: nothing comes after it");
    }
    let acts = matches!(step.kind, StepKind::Action | StepKind::Playbook(_));
    if acts && step.on_failure.is_none() && book.exception.is_none() {
        out.warn(&at, "no-failure-path", "neither on_failure nor a workflow_exception: a failure stops here");
    }
    if let StepKind::Switch { cases, .. } = &step.kind {
        match cases.iter().any(|c| c.0 == "default") {
            _ if cases.is_empty() => out.error(&at.to("cases"), "no-cases", "a switch has at least one case"),
            false => out.warn(&at.to("cases"), "no-default", "no default: another value is left to people"),
            true => {}
        }
    }
    if let StepKind::Parallel(heads) = &step.kind
        && heads.len() < 2
    {
        out.note(&at.to("next_steps"), "lonely-branch", "fewer than two branches run at the same time");
    }
}

fn conditions(step: &Step, out: &mut Out) {
    let at = Pointer::step(&step.id);
    let (StepKind::If { condition, .. } | StepKind::While { condition, .. }) = &step.kind else {
        if let StepKind::Switch { on, .. } = &step.kind {
            let name = on.expose().strip_suffix(":value");
            if !name.is_some_and(ids::is_variable) {
                out.error(&at.to("switch"), "bad-condition", "a variable such as __kind__:value was expected");
            }
        }
        return;
    };
    match condition::parse(condition.expose()) {
        Err(e) => out.error(&at.to("condition"), "bad-condition", e.to_string()),
        Ok(e) if e.variables().is_empty() => {
            let grade = if matches!(step.kind, StepKind::While { .. }) { Grade::Error } else { Grade::Warning };
            out.add(grade, &at.to("condition"), "constant-condition", "it asks no variable: the answer never changes");
        }
        Ok(_) => {}
    }
}

/// Steps from which no end can be reached. A step that opens branches is left when its branches can be.
fn endless(book: &Playbook, graph: &Graph<'_>, reached: &BTreeSet<&str>, out: &mut Out) {
    let mut ok: BTreeSet<&str> = BTreeSet::new();
    // What is not there is another fault; it does not make a loop.
    let fine = |ok: &BTreeSet<&str>, id: &str| ok.contains(id) || !graph.knows(id);
    loop {
        let before = ok.len();
        for step in &book.steps {
            let heads: Vec<&str> = step.kind.branches().into_iter().map(|b| b.1).collect();
            let inside = match &step.kind {
                StepKind::Parallel(_) => heads.iter().all(|h| fine(&ok, h)),
                _ => heads.is_empty() || heads.iter().any(|h| fine(&ok, h)),
            };
            let mut after = follow(step).peekable();
            let ended = step.kind == StepKind::End || after.peek().is_none() || after.any(|id| fine(&ok, id));
            if inside && ended {
                ok.insert(&step.id);
            }
        }
        if ok.len() == before {
            break;
        }
    }
    let stuck: Vec<&Step> =
        book.steps.iter().filter(|s| reached.contains(s.id.as_str()) && !ok.contains(s.id.as_str())).collect();
    // Those that merely lead into the loop are not the fault.
    let in_loop = |s: &Step| {
        let mut seen = BTreeSet::new();
        let mut todo: Vec<&str> = follow(s).chain(s.kind.branches().into_iter().map(|b| b.1)).collect();
        while let Some(id) = todo.pop() {
            if id == s.id {
                return true;
            }
            let Some(step) = graph.steps.get(id).filter(|_| seen.insert(id.to_owned())) else { continue };
            todo.extend(follow(step).chain(step.kind.branches().into_iter().map(|b| b.1)));
        }
        false
    };
    for step in stuck.into_iter().filter(|s| in_loop(s)) {
        out.error(&Pointer::step(&step.id), "endless-cycle", "no end can be reached from here");
    }
}
