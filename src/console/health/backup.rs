//! Backups: an asset a line with what is proven, and the detail with every backup and why it is graded so.

use jiff::Timestamp;

use super::super::state::State;
use super::super::state::doc::DocRow;
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::bars::bar;
use super::{Cells, Col, Page, col, since, span, tri_role, when};
use crate::model::backup::{AssetStatus, Copies, EvidenceKind, Grade, Graded};
use crate::model::health::Tri;

pub const COLUMNS: &[Col] = &[
    col("ASSET", 15, 0),
    col("GRADE", 7, 0),
    col("LAST GOOD", 9, 3),
    col("RPO now/goal", 14, 0),
    col("RTO drill/goal", 15, 1),
    col("COPIES", 6, 2),
    col("NEXT", 6, 2),
    col("WHY", 0, 0),
];

pub fn grade_role(grade: Grade) -> Role {
    match grade {
        Grade::A | Grade::B => Role::Good,
        Grade::C => Role::Text,
        Grade::D | Grade::Unknown => Role::Warn,
        Grade::Bad => Role::Bad,
    }
}

fn letter(grade: Grade) -> &'static str {
    match grade {
        Grade::A => "A",
        Grade::B => "B",
        Grade::C => "C",
        Grade::D => "D",
        Grade::Bad => "BAD",
        Grade::Unknown => "unknown",
    }
}

/// `7h/24h ok`, `26h/24h LATE`, `?/24h ?`.
fn against(now: Option<f64>, goal: u64, answer: Tri, late: &'static str) -> (Said, Role) {
    let word = match answer {
        Tri::Pass => "ok",
        Tri::Unknown => "?",
        Tri::Fail => late,
    };
    let now = now.map_or_else(|| say!("?"), span);
    (say!(now, "/", Said::span(goal as i64), " ", word), tri_role(answer))
}

fn copies(c: Copies) -> Said {
    let n = |v: Option<u32>| v.map_or_else(|| say!("?"), |n| say!(n));
    say!(n(c.copies), "-", n(c.media), "-", n(c.offsite))
}

fn last_good(a: &AssetStatus, now: Timestamp) -> Said {
    let id = a.newest_good.as_ref();
    let of = a.backups.iter().find(|g| Some(&g.backup.id) == id).and_then(|g| g.backup.start);
    match (id, of, a.rpo_actual_seconds) {
        (None, ..) => say!("never"),
        (_, Some(t), _) => say!(since(now, t), " ago"),
        (_, None, Some(s)) => say!(span(s), " ago"),
        _ => say!("?"),
    }
}

pub fn line(a: &AssetStatus, now: Timestamp) -> Cells {
    let rto = if a.drilled.is_none() {
        (say!("never drilled"), Role::Warn)
    } else if a.drill_stale {
        (say!(a.drilled.map_or_else(Said::new, |t| since(now, t)), " stale"), Role::Warn)
    } else {
        against(a.rto_actual_seconds, a.asset.rto_seconds, a.rto, "SLOW")
    };
    let next = match a.next_run {
        Some(t) if t < now => (say!("due"), Role::Warn),
        Some(t) => (say!(when(now, t)), Role::Text),
        None => (say!("-"), Role::Dim),
    };
    vec![
        (Said::of(&a.asset.name), Role::Text),
        (say!(letter(a.grade)), grade_role(a.grade)),
        (last_good(a, now), Role::Text),
        against(a.rpo_actual_seconds, a.asset.rpo_seconds, a.rpo, "LATE"),
        rto,
        (copies(a.copies), Role::Text),
        next,
        (a.why.first().map_or_else(Said::new, |w| Said::of(w)), Role::Dim),
    ]
}

pub fn detail(s: &State, a: &AssetStatus, width: usize) -> Vec<DocRow> {
    let mut p = Page::new(width);
    let now = s.now;
    p.row(vec![(say!(a.grade.word()), grade_role(a.grade)), (say!("   last good ", last_good(a, now)), Role::Dim)]);
    objective(&mut p, s, "RPO", a.rpo_actual_seconds, a.asset.rpo_seconds, a.rpo, "LATE");
    objective(&mut p, s, "RTO", a.rto_actual_seconds, a.asset.rto_seconds, a.rto, "SLOW");
    match a.drilled {
        None => p.pair("drill", &say!("never drilled"), Role::Warn),
        Some(t) if a.drill_stale => p.pair("drill", &say!(since(now, t), " ago: stale, older than 35d"), Role::Warn),
        Some(t) => p.pair("drill", &say!(since(now, t), " ago"), Role::Text),
    }
    p.pair("copies", &say!(copies(a.copies), "   copies, kinds of storage, off site; 3-2-1 is the rule"), Role::Text);
    if let Some(t) = a.next_run {
        p.pair("next run", &say!(Said::minute(t), ", ", when(now, t)), if t < now { Role::Warn } else { Role::Text });
    }
    if let Some(t) = a.next_breach {
        let words = say!(Said::minute(t), ", ", when(now, t), ", if nothing more succeeds");
        p.pair("next miss", &words, if t < now { Role::Bad } else { Role::Text });
    }
    if let Some(t) = a.expires {
        p.pair("expires", &say!(Said::minute(t), ", ", when(now, t)), Role::Text);
    }
    if !a.why.is_empty() {
        p.heading(say!("WHY"));
        for why in &a.why {
            p.text(2, &Said::of(why), Role::Text);
        }
    }
    history(&mut p, a);
    p.heading(say!("BACKUPS, newest first"));
    if a.backups.is_empty() {
        p.text(2, &say!("none were ever seen in ", Said::of(&a.asset.source)), Role::Warn);
    }
    for g in &a.backups {
        backup(&mut p, g, now);
    }
    p.heading(say!("ASSET"));
    p.pair("source", &Said::of(&a.asset.source), Role::Dim);
    p.pair("must cover", &Said::of(&a.asset.covers.join(", ")), Role::Dim);
    if let Some(cron) = &a.asset.schedule {
        p.pair("schedule", &say!(Said::of(cron), " in ", Said::of(&a.asset.zone)), Role::Dim);
    }
    p.rows
}

/// A bar of how much of what is allowed is used up.
fn objective(
    p: &mut Page,
    s: &State,
    label: &'static str,
    now: Option<f64>,
    goal: u64,
    answer: Tri,
    late: &'static str,
) {
    let (words, role) = against(now, goal, answer, late);
    let used = now.filter(|v| v.is_finite()).map(|v| v / (goal.max(1)) as f64);
    let bar = used.map_or_else(|| say!("not known             "), |u| bar(u, 20, s.look.ascii));
    p.row(vec![(say!(label).padded(13), Role::Dim), (say!(bar, " ", words), role)]);
}

/// One letter a backup, the newest on the right: its grade, `x` bad, `?` unknown; small when its source lost it.
fn history(p: &mut Page, a: &AssetStatus) {
    if a.backups.is_empty() {
        return;
    }
    p.heading(say!("HISTORY  newest right, x bad, small gone"));
    let room = p.width.saturating_sub(2).max(1);
    let mut row = vec![(say!("  "), Role::Text)];
    let shown: Vec<&Graded> = a.backups.iter().take(room).collect();
    for g in shown.into_iter().rev() {
        let gone = g.backup.gone_since.is_some();
        let glyph = match (g.grade, gone) {
            (Grade::A, false) => "A",
            (Grade::B, false) => "B",
            (Grade::C, false) => "C",
            (Grade::D, false) => "D",
            (Grade::A, true) => "a",
            (Grade::B, true) => "b",
            (Grade::C, true) => "c",
            (Grade::D, true) => "d",
            (Grade::Bad, _) => "x",
            (Grade::Unknown, _) => "?",
        };
        row.push((say!(glyph), if gone { Role::Dim } else { grade_role(g.grade) }));
    }
    p.row(row);
}

fn backup(p: &mut Page, g: &Graded, now: Timestamp) {
    let b = &g.backup;
    let at = b.start.map_or_else(|| say!("no start"), Said::minute);
    p.row(vec![
        (say!("  ", at.padded(17)), Role::Text),
        (say!(letter(g.grade)).padded(8), grade_role(g.grade)),
        (Said::of(&b.id), Role::Text),
        (say!(if b.gone_since.is_some() { "  gone" } else { "" }), Role::Warn),
    ]);
    for why in &g.why {
        p.text(4, &Said::of(why), if g.grade == Grade::Bad { Role::Bad } else { Role::Dim });
    }
    let mut facts = say!(Said::of(&b.kind), " says ", b.said);
    if let Some((all, done)) = b.items {
        facts.push(&say!("; ", done, " of ", all, " items"));
    }
    if let Some((all, done)) = b.volumes {
        facts.push(&say!("; ", done, " of ", all, " volumes"));
    }
    if b.errors + b.warnings > 0 {
        facts.push(&say!("; ", b.errors, " errors, ", b.warnings, " warnings"));
    }
    if let Some(t) = b.expires {
        facts.push(&say!("; expires ", when(now, t)));
    }
    if let Some(place) = &b.location {
        let reach = match b.location_reachable {
            Tri::Pass => "",
            Tri::Unknown => " (reach unknown)",
            Tri::Fail => " (OUT OF REACH)",
        };
        facts.push(&say!("; in ", Said::of(place), reach));
    }
    p.text(4, &facts, Role::Dim);
    for e in &b.evidence {
        let what = match e.what {
            EvidenceKind::Drill => "drill",
            EvidenceKind::Restore => "restore",
            EvidenceKind::Verify => "verified",
        };
        let took = e.took_seconds.map_or_else(Said::new, |s| say!(" in ", span(s)));
        let (word, role) = if e.ok { ("worked", Role::Good) } else { ("FAILED", Role::Bad) };
        p.text(4, &say!(what, " ", word, " ", since(now, e.at), " ago", took, "  ", e.detail), role);
    }
    if let Some(held) = &b.held {
        p.text(4, &say!("kept: ", Said::of(held)), Role::Info);
    }
}
