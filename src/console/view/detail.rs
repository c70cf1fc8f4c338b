//! One alert: in full, beside the list, or a few lines below it.

use ratatui::layout::Rect;

use super::super::action::Do;
use super::super::columns::{self, ClockState, clock, severity_glyph, severity_role};
use super::super::layout;
use super::super::state::Asking;
use super::super::state::doc::DocRow;
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::paint::Canvas;
use super::{doc_rows, extent, key_of, rows_from};
use crate::desk::Detail;
use crate::model::alert::Status;

/// What stands in the pane instead of an alert, if there is none.
fn missing(c: &mut Canvas<'_>, area: Rect) -> bool {
    let d = &c.state.detail;
    let text = if let Some(why) = &d.broken {
        (say!("cannot be shown: ", why), Role::Bad)
    } else if d.wanted.is_none() {
        (say!("no alert is under the cursor"), Role::Dim)
    } else if d.shown.as_ref().map(|s| s.alert.id) != d.wanted {
        (say!("loading the alert"), Role::Dim)
    } else {
        return false;
    };
    c.put(area.x + 1, area.y, area.width.saturating_sub(2), &text.0, text.1);
    true
}

pub fn draw(c: &mut Canvas<'_>, area: Rect) {
    if missing(c, area) {
        return;
    }
    let s = c.state;
    let Some(d) = &s.detail.shown else { return };
    let inner = Rect::new(area.x + 1, area.y, area.width.saturating_sub(2), area.height);
    let left_over = head(c, inner, d);
    let rule = Rect::new(inner.x, inner.y + 2, inner.width, 1);
    c.rule(rule);
    let (body, side) = layout::columns(s);
    let pane = &s.detail;
    let text = extent(pane.scroll, usize::from(body.height), pane.lines());
    let mut right = rule.right();
    if let Some(side) = side {
        let text = extent(pane.side_scroll, usize::from(side.height), pane.opinion.doc.rows.len());
        c.put_right(side.x, rule.y, side.width, &text, Role::Dim);
        right = body.right();
    }
    c.put_right(rule.x, rule.y, right - rule.x, &text, Role::Dim);
    if let Some(mut opinion) = left_over {
        shorten(&mut opinion, d);
        opinion.push((say!(" "), Role::Text));
        c.row(rule.x, rule.y, rule.width.saturating_sub(text.width() as u16 + 1), &opinion);
    }
    rows_from(c, body, |at| pane.line(at), pane.scroll);
    if let Some(side) = side {
        c.rule(Rect::new(side.x - 2, side.y, 1, side.height));
        doc_rows(c, side, &pane.opinion.doc.rows, pane.side_scroll);
    }
}

/// Two lines: what and how sure; how bad, how urgent, whose. The opinion comes back when there was no room for it.
fn head(c: &mut Canvas<'_>, area: Rect, d: &Detail) -> Option<DocRow> {
    let a = &d.alert;
    let opinion = opinion(c, d);
    let wide = |row: &DocRow| row.iter().map(|(t, _)| t.width()).sum::<usize>() as u16;
    let w = wide(&opinion);
    let beside_title = area.width >= 100;
    let room = if beside_title { area.width.saturating_sub(w + 2) } else { area.width };
    c.put(area.x, area.y, room, &say!("#", a.id, "  ", a.fields.title), Role::Heading);
    let pieces = facts(c, d);
    c.row(area.x, area.y + 1, area.width, &pieces);
    if beside_title {
        c.row(area.right() - w.min(area.width), area.y, w, &opinion);
    } else if wide(&pieces) + w + 2 <= area.width {
        c.row(area.right() - w, area.y + 1, w, &opinion);
    } else {
        return Some(opinion);
    }
    None
}

fn facts(c: &Canvas<'_>, d: &Detail) -> DocRow {
    let a = &d.alert;
    let s = c.state;
    let sev = a.fields.severity;
    let mut out = vec![
        (say!(severity_glyph(sev, s.look.ascii), " ", sev.short(), " "), severity_role(sev)),
        (say!(a.priority.word()), columns::priority_role(a.priority)),
    ];
    if a.priority < a.detector_priority {
        out.push((say!(" raised from ", a.detector_priority.word()), Role::Warn));
    }
    let due = s.queue.rows.iter().find(|r| r.id == a.id).map(|r| clock(r, s.now));
    match due {
        Some(ClockState::Fine(left)) => out.push((say!("  ", Said::span(left), " left"), Role::Text)),
        Some(ClockState::Soon(left)) => out.push((say!("  ", Said::span(left), " left"), Role::Warn)),
        Some(ClockState::Over(by)) => out.push((say!("  ", Said::span(by), " over"), Role::Critical)),
        Some(ClockState::Stopped) | None => {}
    }
    let state = match (&a.status, &a.owner) {
        (Status::Claimed, Some(o)) => (say!("  with ", o), Role::Text),
        (Status::Closed, _) => {
            let how = a.closing.as_ref().map_or("closed", |c| c.disposition.word());
            (say!("  closed: ", how), Role::Dim)
        }
        (st, _) => (say!("  ", st.word()), if *st == Status::New { Role::Accent } else { Role::Dim }),
    };
    out.push(state);
    if let Some(case) = a.case {
        out.push((say!("  case #", case), Role::Info));
    }
    out
}

fn opinion(c: &Canvas<'_>, d: &Detail) -> DocRow {
    let mut out = Vec::new();
    // Before what is concluded, what not to trust.
    if !d.taint.is_empty() || d.verdicts.first().is_some_and(|v| v.speaks_to_model) {
        let wide = c.state.size.0 >= 100 && (c.state.full || !c.state.beside());
        out.push((say!(if wide { "T speaks to its reader  " } else { "T  " }), Role::Bad));
    }
    if let Some(run) = c.state.run_of(d.alert.id, false) {
        let waited = Said::span(run.seconds(c.state.now));
        out.push(match run.partial.kind {
            Some(kind) => (say!(kind.label(), " unchecked, ", waited), Role::Accent),
            None if run.pieces > 0 => (say!("still writing, unchecked, ", waited), Role::Accent),
            None => (say!("asking for an opinion, ", waited), Role::Accent),
        });
        return out;
    }
    let Some(v) = d.verdicts.first() else {
        out.push((say!("no opinion; ", key_of(c.state, Do::Triage), " asks"), Role::Dim));
        return out;
    };
    out.push((say!("opinion ", v.kind.label()), Role::Info));
    if let Some(p) = v.confidence {
        out.push((say!(" ", Said::decimal(f64::from(p), 2)), Role::Info));
    }
    let role = if v.founded() == v.claims.len() { Role::Good } else { Role::Bad };
    out.push((say!("  ", v.founded(), "/", v.claims.len(), " founded"), role));
    if v.fallback {
        out.push((say!("  fallback"), Role::Warn));
    }
    if v.text_dependent == Some(true) {
        out.push((say!("  ~ text-dependent"), Role::Bad));
    }
    out
}

/// Without the word that says what it is, where there is little room.
fn shorten(opinion: &mut DocRow, d: &Detail) {
    if let (Some(word), Some(v)) = (opinion.iter_mut().find(|(_, role)| *role == Role::Info), d.verdicts.first()) {
        word.0 = say!(v.kind.label());
    }
}

/// Four lines under the list.
pub fn preview(c: &mut Canvas<'_>, area: Rect) {
    if missing(c, area) {
        return;
    }
    let Some(d) = &c.state.detail.shown else { return };
    let inner = Rect::new(area.x + 1, area.y, area.width.saturating_sub(2), area.height);
    let mut o = opinion(c, d);
    shorten(&mut o, d);
    let w = (o.iter().map(|(t, _)| t.width()).sum::<usize>() as u16).min(inner.width * 3 / 5);
    c.put(inner.x, inner.y, inner.width.saturating_sub(w + 2), &say!(d.alert.fields.title), Role::Heading);
    c.row(inner.right() - w, inner.y, w, &o);
    let pieces = facts(c, d);
    c.row(inner.x, inner.y + 1, inner.width, &pieces);
    let f = &d.alert.fields;
    let mut who: DocRow = Vec::new();
    let mut add = |label: &'static str, value: Option<Said>| {
        if let Some(v) = value {
            who.push((say!(label, " "), Role::Dim));
            who.push((say!(v, "  "), Role::Text));
        }
    };
    add("host", f.host.as_ref().map(Said::from_untrusted));
    add("user", f.user.as_ref().map(Said::from_untrusted));
    add("from", f.src_ip.map(|ip| say!(ip)));
    add("to", f.dst_ip.map(|ip| say!(ip)));
    add("att&ck", f.techniques.first().map(|t| Said::of(t)));
    c.row(inner.x, inner.y + 2, inner.width, &who);
    last_line(c, inner, d);
}

/// The command line, or else what the opinion rests on, or else how alike ones were closed.
fn last_line(c: &mut Canvas<'_>, inner: Rect, d: &Detail) {
    let y = inner.y + 3;
    let run = c.state.runs.iter().find(|r| r.alert == d.alert.id && r.what == Asking::Opinion);
    let claims = &c.state.detail.opinion.claims;
    let looked_at = c.state.detail.claim.and_then(|at| claims.get(at)).map(|(_, claim)| claim);
    if let Some(claim) = run.and_then(|r| r.partial.claims.last()) {
        let x = c.put(inner.x, y, inner.width, &say!(". "), Role::Dim);
        c.put(x, y, inner.right().saturating_sub(x), &say!(claim.text), Role::Dim);
    } else if let Some(claim) = looked_at {
        let (mark, role, text) =
            if claim.founded { ("= ", Role::Good, Role::Text) } else { ("x unfounded: ", Role::Bad, Role::Struck) };
        let x = c.put(inner.x, y, inner.width, &say!(mark), role);
        c.put(x, y, inner.right().saturating_sub(x), &say!(claim.text), text);
    } else if let Some(cmd) = &d.alert.fields.command_line {
        c.put(inner.x, y, inner.width, &Said::from_untrusted(cmd), Role::Text);
    } else if let Some(claim) = d.verdicts.first().and_then(|v| v.claims.first()) {
        let (mark, role) = if claim.founded { ("= ", Role::Good) } else { ("x ", Role::Bad) };
        let x = c.put(inner.x, y, inner.width, &say!(mark), role);
        c.put(x, y, inner.right().saturating_sub(x), &say!(claim.text), Role::Text);
    } else if let Some(p) = d.past.iter().find(|p| p.total > 0) {
        let past = super::super::state::doc::past_line(&p.counts, p.total);
        c.put(inner.x, y, inner.width, &say!("alike (", p.alike, "): ", past), Role::Dim);
    }
}
