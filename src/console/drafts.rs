//! A draft of a playbook in words: that a model wrote it, what the checks found, its steps, how it differs from the nearest
//! playbook of the library. Pure; what the model wrote is untrusted and stands here cleaned.

use super::state::doc::{Doc, block};
use super::theme::Role;
use super::words::{Clock, Said, say};
use crate::desk::playbook_draft::{Beside, Change, DraftPage, Line};
use crate::model::playbook::{ACTION, Grade, StepKind};
use crate::model::playbook_draft::DraftState;

pub fn state_role(state: DraftState) -> Role {
    match state {
        DraftState::Open => Role::Accent,
        DraftState::Approved => Role::Good,
        DraftState::Rejected => Role::Dim,
    }
}

fn grade_role(grade: Grade) -> Role {
    match grade {
        Grade::Error => Role::Bad,
        Grade::Warning => Role::Warn,
        Grade::Note => Role::Dim,
    }
}

/// What stands in the way, in one line.
pub fn standing(page: &DraftPage) -> (Said, Role) {
    match (page.blocking(), page.findings.len()) {
        (0, 0) => (say!("the checks found nothing"), Role::Good),
        (0, n) => (say!(n, " findings, none stands in the way"), Role::Warn),
        (n, _) => (say!(n, " findings stand in the way: edit it first"), Role::Bad),
    }
}

pub fn text(page: &DraftPage, width: usize) -> Doc {
    let mut doc = Doc::new(width);
    let d = &page.draft;
    doc.rows.push(vec![(say!("GENERATED  "), Role::Critical), (say!(d.title), Role::Heading)]);
    let (said, role) = standing(page);
    doc.rows.push(vec![(say!(d.state.word(), "  "), state_role(d.state)), (said, role)]);
    doc.pair(say!("what"), &block(&page.book.description), Role::Text);
    let of = match (d.alert, d.case) {
        (Some(alert), _) => say!("alert ", alert),
        (None, Some(case)) => say!("case #", case),
        (None, None) => say!("nothing"),
    };
    doc.pair(say!("for"), &say!(of, ", asked by ", d.asked_by, " at ", Clock(d.at)), Role::Dim);
    let prompt = Said::of(d.prompt.get(..12).unwrap_or("?"));
    doc.pair(say!("written by"), &say!(d.model, ", a model; prompt ", prompt), Role::Dim);
    for e in &d.edits {
        doc.pair(say!("edited by"), &say!(e.by, " at ", Clock(e.at)), Role::Dim);
    }
    if let Some(decided) = &d.decided {
        let why = decided.reason.as_ref().map_or_else(Said::new, |r| say!(": ", block(r)));
        let text = say!(decided.by, " at ", Clock(decided.at), why);
        doc.pair(say!(d.state.word()), &text, state_role(d.state));
    }
    findings(&mut doc, page);
    steps(&mut doc, page);
    difference(&mut doc, page);
    doc
}

fn findings(doc: &mut Doc, page: &DraftPage) {
    doc.heading(say!("Checks"));
    if page.findings.is_empty() {
        doc.text(
            0,
            &say!("Linter and safety checks found nothing. They read English, and they are no reader like you."),
            Role::Dim,
        );
    }
    for f in &page.findings {
        // The step a finding is about, by its short name; its place in the document where it is about none.
        let id = f.at.expose().split('/').nth(2).unwrap_or_default();
        let place = match page.book.step(id) {
            Some(step) => Said::of(&step.key),
            None => say!(f.at),
        };
        let text = say!(Said::of(&f.code), ": ", f.message, "  [", place, "]");
        doc.marked(f.grade.word().get(..1).unwrap_or("?"), grade_role(f.grade), &text, grade_role(f.grade));
    }
}

fn steps(doc: &mut Doc, page: &DraftPage) {
    doc.heading(say!("Steps"));
    for step in page.book.steps.iter().filter(|s| !matches!(s.kind, StepKind::Start | StepKind::End)) {
        let acts = step.commands.iter().find(|c| c.kind == ACTION);
        let action = acts.map_or_else(Said::new, |c| say!("   action ", c.text));
        let mut targets = Said::new();
        for name in &step.in_args {
            if let Some(value) = page.book.variables.get(name).and_then(|v| v.value.as_ref()) {
                targets.push(&say!(" ", value));
            }
        }
        let phase = step.phase.map_or("", |p| p.word());
        doc.pair(Said::of(&step.key), &say!(step.name, "   ", phase, action, targets), Role::Accent);
        for c in step.commands.iter().filter(|c| c.kind != ACTION) {
            doc.text(13, &block(&c.text), Role::Text);
        }
        for (label, text) in [("look at", &step.look_at), ("stop when", &step.stop_when)] {
            if let Some(t) = text {
                doc.text(13, &say!(label, ": ", block(t)), Role::Dim);
            }
        }
    }
}

fn difference(doc: &mut Doc, page: &DraftPage) {
    let Some((key, title)) = &page.nearest else {
        doc.heading(say!("No playbook of the library is near to it"));
        return;
    };
    doc.heading(say!("Against the nearest of the library: ", title, " (", Said::of(key), ")"));
    for b in &page.beside {
        let (mark, line, like) = b.parts();
        let role = match b {
            Beside::Missing(_) => Role::Bad,
            Beside::Both { .. } => Role::Dim,
            Beside::Added(_) => Role::Good,
        };
        let mut text = outline(line);
        if let Some(like) = like.filter(|like| like.name != line.name) {
            text.push(&say!("; here: ", like.name));
        }
        doc.marked(mark, role, &text, role);
    }
    doc.text(0, &say!("- only in the library's   = in both   + only here"), Role::Dim);
    doc.heading(say!("The same line by line"));
    for c in &page.diff {
        let (mark, text, role) = match c {
            Change::Same(t) => ("  ", say!(t), Role::Dim),
            Change::Gone(t) => ("- ", say!(t), Role::Bad),
            Change::New(t) => ("+ ", say!(t), Role::Good),
            Change::Skipped(n) => ("  ", say!("... ", *n, " lines the same"), Role::Dim),
        };
        for line in text.wrap(doc.width.saturating_sub(2)) {
            doc.rows.push(vec![(say!(mark), role), (line, role)]);
        }
    }
}

fn outline(line: &Line) -> Said {
    let action = line.action.as_ref().map_or_else(Said::new, |a| say!("   action ", a));
    say!(say!(line.phase.map_or("", |p| p.word())).padded(13), line.name, action)
}
