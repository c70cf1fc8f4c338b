//! Where a run goes by itself: into steps, through branches, to its end.

use serde_json::json;

use super::Effect;
use super::MOST_VISITS;
use super::Machine;
use super::value_of;
use crate::model::health::Tri;
use crate::model::playbook::Step;
use crate::model::playbook::StepKind;
use crate::model::playbook_run::Branch;
use crate::model::playbook_run::RunState;
use crate::model::playbook_run::Visit;
use crate::model::playbook_run::VisitState;
use crate::playbook::condition;
use crate::text::Untrusted;

/// Rounds of one loop before a person looks at it.
const MOST_ROUNDS: u32 = 200;
/// The branch on which the step for exceptions is worked.
pub(super) const EXCEPTION: &str = "exception";

/// What is still to be gone through. A list and not calls: documents decide how long it gets.
enum Todo {
    Enter {
        step: String,
        parent: Option<u32>,
        branch: String,
        round: u32,
    },
    /// A branch came to its end.
    Over {
        parent: Option<u32>,
        branch: String,
        ok: bool,
    },
    /// A step that opened branches is through with them.
    Close {
        n: u32,
        ok: bool,
    },
}

impl Machine<'_> {
    pub(super) fn enter_from(&mut self, step: &str, parent: Option<u32>, branch: &str, round: u32) {
        self.go(vec![Todo::Enter { step: step.to_owned(), parent, branch: branch.to_owned(), round }]);
    }

    fn go(&mut self, mut todo: Vec<Todo>) {
        // Start steps and ends leave no visit; a document may still chain as many as it likes.
        let mut hops = self.book.steps.len() * 4 + MOST_VISITS * 4;
        while let Some(next) = todo.pop() {
            hops = hops.saturating_sub(1);
            if hops == 0 {
                return;
            }
            match next {
                Todo::Enter { step, parent, branch, round } => self.enter(&step, parent, branch, round, &mut todo),
                Todo::Over { parent, branch, ok } => self.over(parent, &branch, ok, &mut todo),
                Todo::Close { n, ok } => self.close(n, ok, &mut todo),
            }
        }
    }

    fn enter(&mut self, id: &str, parent: Option<u32>, branch: String, round: u32, todo: &mut Vec<Todo>) {
        let Some(step) = self.book.step(id).cloned() else {
            // The linter keeps such a playbook from being started.
            todo.push(Todo::Over { parent, branch, ok: false });
            return;
        };
        match &step.kind {
            StepKind::Start => {
                let next = step.next().map(str::to_owned);
                todo.push(match next {
                    Some(step) => Todo::Enter { step, parent, branch, round },
                    None => Todo::Over { parent, branch, ok: true },
                });
                return;
            }
            StepKind::End => {
                todo.push(Todo::Over { parent, branch, ok: true });
                return;
            }
            _ => {}
        }
        let n = self.visit(&step, parent, branch, round);
        if self.run.visits.len() >= MOST_VISITS {
            self.hold(n, "this run has come to more steps than it may: somebody looks whether it goes in circles");
            return;
        }
        match &step.kind {
            StepKind::Parallel(_) => self.open(n, &step, None, todo),
            StepKind::If { .. } | StepKind::While { .. } | StepKind::Switch { .. } => self.ask(n, &step, todo),
            _ => {}
        }
    }

    /// A new visit, and its record.
    fn visit(&mut self, step: &Step, parent: Option<u32>, branch: String, round: u32) -> u32 {
        let n = u32::try_from(self.run.visits.len() + 1).unwrap_or(u32::MAX);
        let now = self.now;
        let ready_at = step.delay_ms.map_or(now, |ms| self.after(now, ms));
        let work = matches!(step.kind, StepKind::Action | StepKind::Playbook(_));
        let state = match (work, ready_at > now) {
            (false, _) => VisitState::Open,
            (true, true) => VisitState::Waiting,
            (true, false) => VisitState::Ready,
        };
        // Who was given a branch has what follows on it; who merely did a step has not.
        let before = self.run.visits.iter().rev().find(|v| v.parent == parent && v.branch == branch);
        let before = before.or_else(|| parent.and_then(|p| self.run.visit(p)));
        let owner = before.filter(|v| v.assigned).and_then(|v| v.owner.clone());
        let time = |ms: Option<u64>| ms.filter(|_| work).map(|ms| self.after(ready_at, ms));
        let visit = Visit {
            n,
            step: step.id.clone(),
            key: step.key.clone(),
            parent,
            branch,
            round,
            state,
            assigned: owner.is_some(),
            owner,
            entered_at: now,
            ready_at,
            began_at: None,
            ended_at: None,
            ended_by: None,
            box_until: time(step.box_ms),
            fails_at: time(step.timeout_ms),
            overdue: false,
            outputs: Default::default(),
            reason: None,
            notes: Vec::new(),
            evidence: Vec::new(),
            signed: Vec::new(),
            branches: Vec::new(),
            child: None,
            requests: Vec::new(),
            advice: Vec::new(),
        };
        self.run.visits.push(visit);
        self.record_visit("playbook.step.enter", n, &[], json!({ "state": state.word() }));
        n
    }

    /// Opens one branch of a step, or all of them.
    fn open(&mut self, n: u32, step: &Step, only: Option<&str>, todo: &mut Vec<Todo>) {
        let heads = step.kind.branches();
        let chosen: Vec<_> = heads.into_iter().filter(|(word, _)| only.is_none_or(|o| o == word)).collect();
        let round = self.run.visit(n).map_or(0, |v| v.round);
        let Some(v) = self.visit_mut(n) else { return };
        v.state = VisitState::Open;
        v.branches = chosen.iter().map(|(word, _)| Branch { word: word.clone(), ended: None }).collect();
        if chosen.is_empty() {
            todo.push(Todo::Close { n, ok: true });
        }
        // The first branch is worked through first: it is pushed last.
        for (word, head) in chosen.into_iter().rev() {
            todo.push(Todo::Enter { step: head.to_owned(), parent: Some(n), branch: word, round });
        }
    }

    /// Asks a condition; what it does not know, a person decides.
    fn ask(&mut self, n: u32, step: &Step, todo: &mut Vec<Todo>) {
        match self.answer(step) {
            Some(Some(word)) => self.open(n, step, Some(&word), todo),
            Some(None) => todo.push(Todo::Close { n, ok: true }),
            None => {
                if let Some(v) = self.visit_mut(n) {
                    v.state = VisitState::Undecided;
                }
                self.record_visit("playbook.step.undecided", n, &[], json!({}));
            }
        }
    }

    /// The branch that is taken; `Some(None)`: none, it goes on. `None`: not known.
    fn answer(&self, step: &Step) -> Option<Option<String>> {
        let value = |name: &str| value_of(&self.run, Some(step), name);
        match &step.kind {
            StepKind::If { condition, no, .. } => match condition::parse(condition.expose()).ok()?.holds(&value) {
                Tri::Pass => Some(Some("yes".into())),
                Tri::Fail => Some(no.as_ref().map(|_| "no".into())),
                Tri::Unknown => None,
            },
            StepKind::While { condition, .. } => match condition::parse(condition.expose()).ok()?.holds(&value) {
                Tri::Pass => Some(Some("again".into())),
                Tri::Fail => Some(None),
                Tri::Unknown => None,
            },
            StepKind::Switch { on, cases } => {
                let held = value(on.expose().strip_suffix(":value")?)?;
                let find = |word: &str| cases.iter().find(|c| c.0 == word).map(|c| c.0.clone());
                // A value with no case and no default is nobody's: a person decides.
                find(&held).or_else(|| find("default")).map(Some)
            }
            _ => Some(None),
        }
    }

    fn over(&mut self, parent: Option<u32>, branch: &str, ok: bool, todo: &mut Vec<Todo>) {
        let Some(p) = parent else {
            self.finish(if ok { RunState::Done } else { RunState::Failed }, None);
            return;
        };
        if branch == EXCEPTION {
            self.hold(p, "the step for exceptions is through: try again, go on, or give it up");
            return;
        }
        let Some(v) = self.visit_mut(p) else { return };
        v.branches.iter_mut().filter(|b| b.word == branch && b.ended.is_none()).for_each(|b| b.ended = Some(ok));
        if v.branches.iter().any(|b| b.ended.is_none()) {
            return;
        }
        let all = v.branches.iter().all(|b| b.ended == Some(true));
        let again = self.step_of(p).filter(|s| all && matches!(s.kind, StepKind::While { .. })).cloned();
        match again {
            Some(step) => {
                let round = self.visit_mut(p).map_or(0, |v| {
                    v.round += 1;
                    v.round
                });
                if round >= MOST_ROUNDS {
                    self.hold(p, "the loop went round too often: somebody looks whether it ends");
                } else {
                    self.ask(p, &step, todo);
                }
            }
            None => todo.push(Todo::Close { n: p, ok: all }),
        }
    }

    fn close(&mut self, n: u32, ok: bool, todo: &mut Vec<Todo>) {
        if ok {
            self.end(n, VisitState::Done);
            self.record_visit("playbook.step.done", n, &[], json!({}));
            self.leave(n, todo);
        } else {
            self.failed(n, todo);
        }
    }

    /// Nothing happens to it any more.
    fn end(&mut self, n: u32, state: VisitState) {
        let (now, by) = (self.now, self.by.map(|b| b.id.clone()));
        if let Some(v) = self.visit_mut(n) {
            v.state = state;
            v.ended_at = Some(now);
            v.ended_by = by;
        }
    }

    /// On to what comes after it.
    fn leave(&mut self, n: u32, todo: &mut Vec<Todo>) {
        let Some(v) = self.run.visit(n) else { return };
        let (parent, branch, round) = (v.parent, v.branch.clone(), v.round);
        // A loop counts its own rounds; what follows it is in the round it began in.
        let round = match self.step_of(n).map(|s| &s.kind) {
            Some(StepKind::While { .. }) => parent.and_then(|p| self.run.visit(p)).map_or(0, |p| p.round),
            _ => round,
        };
        let next = self.step_of(n).and_then(Step::next).map(str::to_owned);
        todo.push(match next {
            Some(step) => Todo::Enter { step, parent, branch, round },
            None => Todo::Over { parent, branch, ok: true },
        });
    }

    /// On_failure, else the step for exceptions, else it waits for a person.
    fn failed(&mut self, n: u32, todo: &mut Vec<Todo>) {
        let Some(v) = self.run.visit(n) else { return };
        let (parent, branch, round) = (v.parent, v.branch.clone(), v.round);
        let inside = self.inside_exception(n);
        if let Some(step) = self.step_of(n).and_then(|s| s.on_failure.clone()) {
            self.end(n, VisitState::Failed);
            todo.push(Todo::Enter { step, parent, branch, round });
            return;
        }
        let opened = self.step_of(n).is_some_and(|s| !s.kind.branches().is_empty());
        match self.book.exception.clone() {
            // What failed inside a branch has been through the exception already.
            Some(step) if !inside && !opened => {
                if let Some(v) = self.visit_mut(n) {
                    v.state = VisitState::Escalated;
                }
                self.record_visit("playbook.step.escalated", n, &[], json!({}));
                todo.push(Todo::Enter { step, parent: Some(n), branch: EXCEPTION.into(), round });
            }
            _ => self.hold(n, "it failed and leads nowhere: try again, go on, or give it up"),
        }
    }

    fn inside_exception(&self, n: u32) -> bool {
        let mut at = self.run.visit(n);
        while let Some(v) = at {
            if v.branch == EXCEPTION {
                return true;
            }
            at = v.parent.and_then(|p| self.run.visit(p));
        }
        false
    }

    fn hold(&mut self, n: u32, why: &str) {
        if let Some(v) = self.visit_mut(n) {
            v.state = VisitState::Held;
            if v.reason.is_none() {
                v.reason = Some(Untrusted::new(why));
            }
        }
        self.record_visit("playbook.step.held", n, &[], json!({ "why": why }));
    }

    pub(super) fn finish(&mut self, state: RunState, why: Option<Untrusted>) {
        self.run.state = state;
        self.run.ended_at = Some(self.now);
        let open: Vec<u32> = self.run.visits.iter().filter(|v| !v.state.over()).map(|v| v.n).collect();
        open.into_iter().for_each(|n| self.end(n, VisitState::Cancelled));
        let told = why.as_ref().map(|w| self.told(w));
        self.run.ended_why = why;
        self.record("playbook.end", json!({ "state": state.word(), "why": told }));
        if let Some((run, visit)) = self.run.parent.clone() {
            self.effects.push(Effect::Tell { run, visit, ok: state == RunState::Done });
        }
    }

    // --- what people's acts lead to ------------------------------------------------------------

    pub(super) fn succeed(&mut self, n: u32, state: VisitState) {
        self.end(n, state);
        let mut todo = Vec::new();
        self.leave(n, &mut todo);
        self.go(todo);
    }

    pub(super) fn fail_now(&mut self, n: u32) {
        let mut todo = Vec::new();
        self.failed(n, &mut todo);
        self.go(todo);
    }

    /// Its branch is over, and not well.
    pub(super) fn give_up(&mut self, n: u32) {
        self.end(n, VisitState::Failed);
        let Some(v) = self.run.visit(n) else { return };
        let over = Todo::Over { parent: v.parent, branch: v.branch.clone(), ok: false };
        self.go(vec![over]);
    }

    /// The same step once more.
    pub(super) fn again(&mut self, n: u32) {
        self.end(n, VisitState::Failed);
        let Some(v) = self.run.visit(n) else { return };
        let (step, parent, branch, round) = (v.step.clone(), v.parent, v.branch.clone(), v.round);
        self.go(vec![Todo::Enter { step, parent, branch, round }]);
    }

    /// A person chose the branch; `None`: on.
    pub(super) fn decided(&mut self, n: u32, branch: Option<&str>) {
        let Some(step) = self.step_of(n).cloned() else { return };
        let mut todo = Vec::new();
        match branch {
            Some(word) => self.open(n, &step, Some(word), &mut todo),
            None => todo.push(Todo::Close { n, ok: true }),
        }
        self.go(todo);
    }

    /// Asks again after a value changed.
    pub(super) fn ask_again(&mut self, n: u32) {
        let Some(step) = self.step_of(n).cloned() else { return };
        if self.answer(&step).is_some() {
            let mut todo = Vec::new();
            self.ask(n, &step, &mut todo);
            self.go(todo);
        }
    }
}
