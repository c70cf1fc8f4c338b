//! Checklists: how far each is, and every item with who ticked it and what shows it.

use jiff::Timestamp;

use super::super::state::doc::DocRow;
use super::super::theme::Role;
use super::super::words::{Clock, Said, say};
use super::{Cells, Col, Page, col, since, tri};
use crate::model::health::Tri;
use crate::model::sla::ChecklistRun;

pub const COLUMNS: &[Col] = &[
    col("CHECKLIST", 0, 0),
    col("DONE", 9, 0),
    col("FAILED", 6, 1),
    col("GUARDS", 7, 2),
    col("SIGNED", 16, 1),
    col("ANSWER", 8, 0),
];

fn count(r: &ChecklistRun, answer: Tri) -> usize {
    r.list.items.iter().filter(|i| r.ticks.iter().any(|t| t.item == i.id && t.answer == answer)).count()
}

pub fn line(r: &ChecklistRun, now: Timestamp) -> Cells {
    let failed = count(r, Tri::Fail);
    let signed = match &r.signed {
        Some((who, at)) => say!(who.clone(), " ", since(now, *at), " ago"),
        None => say!("-"),
    };
    vec![
        (Said::of(&r.list.title), Role::Text),
        (say!(count(r, Tri::Pass), " of ", r.list.items.len()), Role::Text),
        (say!(failed), if failed > 0 { Role::Bad } else { Role::Dim }),
        (say!(if r.list.hard { "yes" } else { "advises" }), Role::Dim),
        (signed, Role::Dim),
        tri(r.answer),
    ]
}

pub fn detail(r: &ChecklistRun, width: usize) -> Vec<DocRow> {
    let mut p = Page::new(width);
    let done = say!("   ", count(r, Tri::Pass), " of ", r.list.items.len(), " pass");
    let guards = if r.list.hard { "; all must, before what it guards" } else { "; it advises" };
    p.row(vec![tri(r.answer), (say!(done, guards), Role::Dim)]);
    p.row(vec![(
        match &r.signed {
            Some((who, at)) => say!("signed by ", who.clone(), " at ", Said::minute(*at)),
            None => say!("not signed"),
        },
        Role::Dim,
    )]);
    let mut section = "";
    for item in &r.list.items {
        if item.section != section {
            section = &item.section;
            p.heading(Said::of(section));
        }
        let tick = r.ticks.iter().rev().find(|t| t.item == item.id);
        let (mark, role) = match tick.map(|t| t.answer) {
            Some(Tri::Pass) => ("[x] ", Role::Good),
            Some(Tri::Fail) => ("[!] ", Role::Bad),
            Some(Tri::Unknown) => ("[?] ", Role::Warn),
            None => ("[ ] ", Role::Dim),
        };
        let text = say!(Said::of(&item.text), "  (", Said::of(&item.owner), ")");
        for (i, part) in text.wrap(width.saturating_sub(4).max(10)).into_iter().enumerate() {
            p.row(vec![(say!(if i == 0 { mark } else { "    " }), role), (part, Role::Text)]);
        }
        match tick {
            Some(t) => {
                let by = t.by.clone().map_or_else(|| say!("the desk"), |who| say!(who));
                p.text(4, &say!("by ", by, " at ", Clock(t.at), ": ", t.evidence), Role::Dim);
            }
            None => p.text(4, &say!("shown by ", Said::of(&item.evidence)), Role::Dim),
        }
    }
    p.rows
}
