//! The deadlines of a breach in words: the nearest for the head of a playbook at work, all of them below its steps. Pure.

use jiff::Timestamp;

use super::action::Do;
use super::playbook::key;
use super::state::State;
use super::state::doc::{Doc, block};
use super::theme::Role;
use super::words::{Clock, Said, say};
use crate::model::playbook_run::{Deadline, DeadlineWord};

/// Less than this left asks for attention, seconds.
const SOON: i64 = 4 * 3600;
/// From here on days say enough.
const FAR: i64 = 100 * 3600;

/// How long is left, or by how much it is late; or what holds it.
pub fn clock(d: &Deadline, now: Timestamp) -> (Said, Role) {
    if let Some(mark) = &d.mark {
        let role = if mark.word == DeadlineWord::Told { Role::Good } else { Role::Dim };
        return (say!(mark.word.word()), role);
    }
    let Some(due) = d.due else {
        return match d.began {
            Some(_) => (Said::of(&d.within), Role::Warn),
            None => (say!("not begun"), Role::Dim),
        };
    };
    let left = due.as_second() - now.as_second();
    match left {
        ..0 => (say!("LATE by ", Said::span(-left)), Role::Bad),
        0..SOON => (say!(Said::countdown(left), " left"), Role::Warn),
        FAR.. => (say!(Said::span(left), " left"), Role::Info),
        _ => (say!(Said::countdown(left), " left"), Role::Info),
    }
}

/// The open one that ends first.
pub fn nearest(all: &[Deadline]) -> Option<&Deadline> {
    all.iter().find(|d| d.open() && d.due.is_some())
}

/// The time a deadline counts from, as people say it: `aware at`.
pub fn from(d: &Deadline) -> Said {
    Said::of(&d.from.trim_matches('_').replace('_', " "))
}

/// All of them, the nearest first.
pub fn list(doc: &mut Doc, s: &State, all: &[Deadline]) {
    if all.is_empty() {
        return;
    }
    let open = all.iter().filter(|d| d.open()).count();
    let how = say!("   ", key(s, Do::Deadlines), " says who was told");
    doc.heading(say!("DEADLINES ", open, " open of ", all.len(), ", not legal advice", how));
    for d in all {
        let (left, role) = clock(d, s.now);
        let by = d.due.map_or_else(Said::new, |t| say!("  by ", Said::minute(t)));
        let waits = if d.began.is_none() && d.open() { say!("  once ", from(d), " is known") } else { Said::new() };
        doc.rows.push(vec![
            (say!("  ", left), role),
            (say!(by, waits), Role::Text),
            (say!("  ", Said::of(&d.id)), Role::Dim),
        ]);
        doc.text(4, &say!(Said::of(&d.to), "; ", Said::of(&d.law)), if d.open() { Role::Text } else { Role::Dim });
        match &d.mark {
            Some(m) => doc.text(4, &say!(m.by, " at ", Clock(m.at), ": ", block(&m.text)), Role::Dim),
            None => doc.text(4, &say!("for ", Said::of(&d.applies)), Role::Dim),
        }
    }
}
