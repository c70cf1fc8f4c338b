//! Playbooks at work: the list of runs, the open one, and which of its steps is in hand.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::super::words::Said;
use super::{State, Tab, Table};
use crate::model::ids::{AlertId, CaseId};
use crate::model::playbook::{Playbook, Step, StepKind};
use crate::model::playbook_run::{Deadline, Run, RunState, Visit, VisitState};

/// What a playbook is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    Alert(AlertId),
    Case(CaseId),
}

impl For {
    pub fn alert(self) -> Option<AlertId> {
        if let Self::Alert(id) = self { Some(id) } else { None }
    }

    pub fn case(self) -> Option<CaseId> {
        if let Self::Case(id) = self { Some(id) } else { None }
    }
}

/// A draft the model is writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drafting {
    pub of: For,
    pub stopping: bool,
}

/// The open run.
#[derive(Clone, Debug)]
pub struct RunPage {
    pub id: String,
    /// The run, and the version of the playbook it goes by.
    pub shown: Option<Box<(Run, Playbook)>>,
    /// Who has to hear of it by when, the nearest first.
    pub deadlines: Vec<Deadline>,
    pub broken: Option<Said>,
    /// The line of the step list, by what it is about.
    pub cursor: Option<At>,
    /// How far the step's text is scrolled.
    pub scroll: usize,
}

/// A line of the step list: a step that was come to, or one nobody came to yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    Visit(u32),
    Ahead(String),
}

/// The same, with how far it is indented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub at: At,
    pub depth: usize,
}

#[derive(Clone, Debug)]
pub struct PlaybookPage {
    pub runs: Table<String, Run>,
    pub open: Option<RunPage>,
    /// What playbooks were asked for; the answer is awaited.
    pub asked: Option<For>,
    /// When the runs were asked for last.
    pub asked_at: Timestamp,
}

impl PlaybookPage {
    pub fn new(now: Timestamp) -> Self {
        Self { runs: Table::new(now), open: None, asked: None, asked_at: now }
    }

    pub fn running(&self) -> usize {
        self.runs.rows.iter().filter(|r| r.state == RunState::Running).count()
    }
}

impl RunPage {
    pub fn new(id: String) -> Self {
        Self { id, shown: None, deadlines: Vec::new(), broken: None, cursor: None, scroll: 0 }
    }

    /// The steps as a tree: those come to, each branch below the step that opened it, then what nobody came to yet.
    pub fn lines(&self) -> Vec<Line> {
        let Some(shown) = &self.shown else { return Vec::new() };
        let (run, book) = (&shown.0, &shown.1);
        let mut out = Vec::new();
        let mut stack: Vec<(u32, usize)> = roots(run).rev().map(|n| (n, 0)).collect();
        while let Some((n, depth)) = stack.pop() {
            out.push(Line { at: At::Visit(n), depth });
            let mut below: Vec<&Visit> = run.visits.iter().filter(|v| v.parent == Some(n)).collect();
            // Branch by branch; the order within one is that in which they were come to.
            below.sort_by(|a, b| (a.round, &a.branch, a.n).cmp(&(b.round, &b.branch, b.n)));
            stack.extend(below.iter().rev().map(|v| (v.n, (depth + 1).min(8))));
        }
        if run.state == RunState::Running {
            let may_come = ahead(run, book);
            let ahead = book.work().filter(|s| may_come.contains(s.id.as_str()));
            out.extend(ahead.map(|s| Line { at: At::Ahead(s.id.clone()), depth: 0 }));
        }
        out
    }

    pub fn index(&self) -> Option<usize> {
        let lines = self.lines();
        let cursor = self.cursor.as_ref();
        let at = cursor.and_then(|c| lines.iter().position(|l| l.at == *c));
        at.or_else(|| (!lines.is_empty()).then_some(0))
    }

    /// The step under the cursor, and its visit if it was come to.
    pub fn step(&self) -> Option<(Option<&Visit>, &Step)> {
        let shown = self.shown.as_ref()?;
        let line = self.lines().into_iter().nth(self.index()?)?;
        match line.at {
            At::Visit(n) => {
                let visit = shown.0.visit(n)?;
                Some((Some(visit), shown.1.step(&visit.step)?))
            }
            At::Ahead(id) => Some((None, shown.1.step(&id)?)),
        }
    }

    /// Takes the run as it is now. The cursor stays, but where its step no longer waits for anybody: then it goes to what is
    /// to be done next.
    pub fn take(&mut self, run: Run, book: Playbook, deadlines: Vec<Deadline>) {
        let wants = |r: &Run, n: u32| r.visit(n).is_some_and(|v| v.state.wants_somebody());
        let moved = match (&self.cursor, &self.shown) {
            (Some(At::Visit(n)), Some(before)) => wants(&before.0, *n) && !wants(&run, *n),
            (Some(At::Ahead(id)), _) => run.visits.iter().any(|v| v.step == *id),
            (Some(At::Visit(_)), None) | (None, _) => true,
        };
        if moved && let Some(next) = run.open().next().or(run.visits.last()) {
            self.cursor = Some(At::Visit(next.n));
            self.scroll = 0;
        }
        self.broken = None;
        self.deadlines = deadlines;
        self.shown = Some(Box::new((run, book)));
    }
}

/// Steps nobody came to that may still come: from what is open, by every way but those not taken.
fn ahead<'a>(run: &'a Run, book: &'a Playbook) -> BTreeSet<&'a str> {
    let mut out = BTreeSet::new();
    let mut todo: Vec<&str> = Vec::new();
    for v in run.visits.iter().filter(|v| !v.state.over()) {
        let Some(step) = book.step(&v.step) else { continue };
        todo.extend(step.next());
        // A loop may go round again; what else is open has taken its branches.
        if v.state != VisitState::Open || matches!(step.kind, StepKind::While { .. }) {
            todo.extend(step.on_failure.as_deref());
            todo.extend(step.kind.branches().into_iter().map(|b| b.1));
        }
    }
    while let Some(id) = todo.pop() {
        if let Some(step) = book.step(id).filter(|_| out.insert(id)) {
            todo.extend(step.next());
            todo.extend(step.on_failure.as_deref());
            todo.extend(step.kind.branches().into_iter().map(|b| b.1));
        }
    }
    out.retain(|id| !run.visits.iter().any(|v| v.step == *id));
    out
}

fn roots(run: &Run) -> impl DoubleEndedIterator<Item = u32> + '_ {
    run.visits.iter().filter(|v| v.parent.is_none()).map(|v| v.n)
}

/// The open run, if one is in front.
pub fn run_in_hand(s: &State) -> Option<&Run> {
    let open = s.playbook.open.as_ref().filter(|_| s.tab == Tab::Playbooks && s.full)?;
    open.shown.as_ref().map(|shown| &shown.0)
}

/// The step under the cursor, if it was come to: its run, its visit and what the playbook says.
pub fn step_in_hand(s: &State) -> Option<(&Run, &Visit, &Step)> {
    let run = run_in_hand(s)?;
    let (visit, step) = s.playbook.open.as_ref()?.step()?;
    Some((run, visit?, step))
}
