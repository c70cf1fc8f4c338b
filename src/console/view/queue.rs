//! The queue.

use ratatui::layout::Rect;

use super::super::action::Do;
use super::super::columns::{COLUMNS, ClockState, clock, fit};
use super::super::layout::Panes;
use super::super::state::Live;
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::paint::Canvas;
use super::{detail, key_of, state_of_load};
use crate::model::alert::{AlertRow, Status};

pub fn draw(c: &mut Canvas<'_>, panes: &Panes) {
    context(c, panes.context);
    if c.state.full {
        if let Some(area) = panes.detail {
            detail::draw(c, area);
        }
        return;
    }
    list(c, panes.list);
    if let Some(rule) = panes.rule {
        c.rule(rule);
    }
    if let Some(area) = panes.detail {
        if c.state.beside() {
            detail::draw(c, area);
        } else {
            detail::preview(c, area);
        }
    }
}

/// View, filter, order on the left; what is new and marked on the right.
fn context(c: &mut Canvas<'_>, area: Rect) {
    let q = &c.state.queue;
    let mut right: Vec<(Said, Role)> = Vec::new();
    right.extend(bulk(c));
    if !q.marks.is_empty() {
        right.push((say!(q.marks.len(), " marked"), Role::Mark));
    }
    if matches!(c.state.live, Live::Paused) {
        right.push((say!("paused"), Role::Warn));
    } else if q.follow {
        right.push((say!("following"), Role::Good));
    } else {
        if q.new_above > 0 {
            right.push((say!("+", q.new_above, " new above, ", key_of(c.state, Do::Top), " shows"), Role::Accent));
        }
        if q.new_below > 0 {
            right.push((say!("+", q.new_below, if q.new_above > 0 { " below" } else { " new below" }), Role::Info));
        }
    }
    let width: usize = right.iter().map(|(t, _)| t.width() + 2).sum();
    let room = area.width.saturating_sub(width as u16 + 1);
    let mut x = area.x + 1;
    if let (true, Some(id), Some(at)) = (c.state.full, q.cursor, q.cursor_index()) {
        x = c.put(x, area.y, room, &say!("Queue > alert ", id), Role::Heading) + 2;
        let mut place = say!(q.base + at as u64 + 1);
        if let Some(t) = q.total {
            place.push(&say!(" of ", t.n, if t.exact { "" } else { "+" }));
        }
        x = c.put(x, area.y, room.saturating_sub(x), &place, Role::Dim) + 2;
    }
    if let Some(v) = &q.view {
        x = c.put(x, area.y, room.saturating_sub(x), &Said::of(v), Role::Heading) + 2;
    }
    let text = if q.text.trim().is_empty() { say!("everything") } else { Said::of(&q.text) };
    x = c.put(x, area.y, room.saturating_sub(x), &text, Role::Text);
    c.put(x + 2, area.y, room.saturating_sub(x + 2), &say!("by ", q.sort.word()), Role::Dim);
    let mut at = area.right().saturating_sub(width as u16);
    for (text, role) in right {
        at = c.put(at, area.y, area.right().saturating_sub(at), &text, role) + 2;
    }
}

/// How far the triage queue is, or why it stands still.
fn bulk(c: &Canvas<'_>) -> Option<(Said, Role)> {
    let q = &c.state.facts.queue;
    let (done, asked) = c.state.bulk()?;
    let far = say!("triage ", done, "/", asked);
    match &q.held {
        Some(_) if c.state.facts.backend.as_ref().is_some_and(|b| !b.up) => {
            Some((say!(far, " held, rules only"), Role::Warn))
        }
        Some(_) => Some((say!(far, " held"), Role::Warn)),
        None => Some((say!(far, ", ", q.running, " running"), Role::Accent)),
    }
}

/// Titles of fewer columns than this say too little.
const ROOMY: u16 = 34;

/// Columns before the first: cursor or mark, raised or text-dependent, text that speaks to its reader, a space.
const GLYPHS: u16 = 4;

fn list(c: &mut Canvas<'_>, area: Rect) {
    let s = c.state;
    let q = &s.queue;
    // Three columns for the cursor and the glyphs and one after, one to keep the last column off the rule.
    let room = area.width.saturating_sub(GLYPHS + 1);
    let mut widths = fit(&s.look.columns, room);
    let short = |w: &[(usize, u16)]| w.iter().any(|(i, w)| COLUMNS[*i].word == "rule" && *w < ROOMY);
    if s.beside() && short(&widths) {
        // The alert beside the list names its user: the titles can have that room.
        let without: Vec<usize> = s.look.columns.iter().copied().filter(|i| COLUMNS[*i].word != "user").collect();
        widths = fit(&without, room);
    }
    let mut x = area.x + GLYPHS;
    for (i, w) in &widths {
        let col = &COLUMNS[*i];
        if col.right {
            c.put_right(x, area.y, *w, &say!(col.title), Role::Dim);
        } else {
            c.put(x, area.y, *w, &say!(col.title), Role::Dim);
        }
        x += w + 1;
    }
    let body = Rect::new(area.x, area.y + 1, area.width, area.height.saturating_sub(1));
    if q.rows.is_empty() {
        let filtered = q.text != q.home.0;
        let empty = if filtered {
            vec![
                say!("no alert matches ", Said::of(&q.text)),
                say!(
                    key_of(s, Do::Filter),
                    " changes the filter, ",
                    key_of(s, Do::ClearFilter),
                    " goes back to the first one"
                ),
            ]
        } else {
            vec![
                say!("no open alerts"),
                say!("alerts arrive from the sources of the settings, or with: watchfloor import FILE"),
                say!(key_of(s, Do::Filter), " shows closed ones too: try status:closed"),
            ]
        };
        state_of_load(c, body, &q.load, "the queue", &empty);
        return;
    }
    for (i, row) in q.rows.iter().skip(q.scroll).take(usize::from(body.height)).enumerate() {
        let y = body.y + i as u16;
        line(c, Rect::new(body.x, y, body.width, 1), row, &widths);
    }
}

fn line(c: &mut Canvas<'_>, area: Rect, row: &AlertRow, widths: &[(usize, u16)]) {
    let s = c.state;
    let q = &s.queue;
    let here = q.cursor == Some(row.id);
    let marked = q.marks.contains(&row.id);
    if here {
        c.ground = Some(Role::Cursor);
        c.fill(area, Role::Cursor);
    }
    let ascii = s.look.ascii;
    if marked {
        c.put(area.x, area.y, 1, &say!(if ascii { "*" } else { "\u{25cf}" }), Role::Mark);
    } else if here {
        c.put(area.x, area.y, 1, &say!(if ascii { ">" } else { "\u{25b8}" }), Role::Accent);
    }
    if row.priority < row.detector_priority {
        c.put(area.x + 1, area.y, 1, &say!("^"), Role::Warn);
    } else if row.verdict.is_some_and(|v| v.text_dependent) {
        c.put(area.x + 1, area.y, 1, &say!("~"), Role::Warn);
    }
    if row.verdict.is_some_and(|v| v.speaks_to_model) {
        c.put(area.x + 2, area.y, 1, &say!("T"), Role::Bad);
    }
    let asleep = matches!(row.status, Status::Closed | Status::Suppressed | Status::Snoozed);
    let mut x = area.x + GLYPHS;
    for (i, w) in widths {
        let col = &COLUMNS[*i];
        let (text, mut role) = (col.cell)(row, s);
        if asleep && col.word != "state" {
            role = Role::Dim;
        }
        let over = col.word == "clock" && matches!(clock(row, s.now), ClockState::Over(_));
        if over && !asleep {
            reversed(c, Rect::new(x, area.y, *w, 1), &text);
        } else if col.right {
            c.put_right(x, area.y, *w, &text, role);
        } else {
            c.put(x, area.y, *w, &text, role);
        }
        x += w + 1;
    }
    c.ground = None;
}

/// A clock that ran out: reversed, so that it is seen without colour too.
fn reversed(c: &mut Canvas<'_>, area: Rect, text: &Said) {
    use ratatui::style::Modifier;
    c.put_right(area.x, area.y, area.width, text, Role::Critical);
    let from = area.right().saturating_sub(text.width() as u16);
    for x in from..area.right() {
        let cell = &mut c.buf[(x, area.y)];
        let style = cell.style();
        // On a reversed line, the other way round.
        let flip = if style.add_modifier.contains(Modifier::REVERSED) && c.ground.is_some() {
            style.remove_modifier(Modifier::REVERSED).add_modifier(Modifier::BOLD)
        } else {
            style.add_modifier(Modifier::REVERSED)
        };
        cell.set_style(flip);
    }
}
