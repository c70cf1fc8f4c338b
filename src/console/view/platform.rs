//! The platform's panes: list and detail, whatever they are about.

use ratatui::layout::Rect;

use super::super::health;
use super::super::layout::{self, Panes};
use super::super::state::Tab;
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::paint::Canvas;
use super::{doc_rows, extent, pages};
use crate::model::slo::ChangeClass;

pub fn draw(c: &mut Canvas<'_>, panes: &Panes) {
    let tab = c.state.tab;
    let at = health::index(c.state, tab);
    let top = Rect { x: 0, width: c.state.size.0, ..panes.context };
    caption(c, top, at);
    if at.is_none() {
        nothing(c, panes.list);
        return;
    }
    if !c.state.full {
        list(c, panes.list, at);
    }
    if let Some(rule) = panes.rule {
        c.rule(rule);
    }
    if let Some(area) = panes.detail {
        detail(c, area);
    }
}

/// The pages of the tab or the count of the list, and what the gate says or which source is out.
fn caption(c: &mut Canvas<'_>, area: Rect, at: Option<usize>) {
    let tab = c.state.tab;
    let mut x = area.x + 1;
    if tab.pages().len() > 1 {
        pages(c, area);
        x += 46;
    } else {
        let n = health::ids(&c.state.platform, tab).len();
        x = c.put(x, area.y, 30, &say!(tab.title(), " ", n), Role::Heading) + 2;
    }
    let room = area.right().saturating_sub(x + 1);
    if at.is_some()
        && let Some(bad) = health::trouble(&c.state.platform, tab)
    {
        c.put(x, area.y, room, &bad, Role::Bad);
    } else if tab == Tab::Slo {
        gate(c, Rect { x, width: room, ..area });
    }
    // Where the detail does not stand beside the list, why the line under the cursor is as it is stands at the foot.
    let list = layout::panes(c.state).list;
    let used = health::ids(&c.state.platform, tab).len() as u16 + 1;
    if c.state.full || c.state.beside() || used + 2 > list.height {
        return;
    }
    if let Some((words, role)) = health::gist(c.state, tab) {
        let lines: Vec<_> = words.wrap(usize::from(list.width.saturating_sub(4))).into_iter().take(2).collect();
        let y = list.bottom().saturating_sub(lines.len() as u16);
        for (i, line) in lines.iter().enumerate() {
            c.put(list.x + 3, y + i as u16, list.width.saturating_sub(4), line, role);
        }
    }
}

/// What may go ahead, by class of change.
fn gate(c: &mut Canvas<'_>, area: Rect) {
    let mut x = area.x;
    let p = std::sync::Arc::clone(&c.state.platform);
    let all: usize = p.gate.iter().map(|g| g.class.word().len() + 10).sum();
    for g in &p.gate {
        if all > usize::from(area.width) && g.class != ChangeClass::Normal {
            continue;
        }
        let (word, role) = match g.answer {
            crate::model::health::Tri::Pass => ("goes", Role::Good),
            crate::model::health::Tri::Unknown => ("unknown", Role::Warn),
            crate::model::health::Tri::Fail => ("BLOCKED", Role::Bad),
        };
        x = c.put(x, area.y, area.right().saturating_sub(x), &say!(g.class.word(), " "), Role::Dim);
        x = c.put(x, area.y, area.right().saturating_sub(x), &say!(word), role) + 2;
    }
}

fn nothing(c: &mut Canvas<'_>, area: Rect) {
    let mut y = area.y + (area.height / 4).min(4);
    for (line, role) in health::empty(c.state, c.state.tab) {
        for part in line.wrap(usize::from(area.width.saturating_sub(4))) {
            if y < area.bottom() {
                c.put(area.x + 2, y, area.width.saturating_sub(4), &part, role);
            }
            y += 1;
        }
    }
}

fn list(c: &mut Canvas<'_>, area: Rect, at: Option<usize>) {
    let tab = c.state.tab;
    let cols = health::columns(tab);
    let widths = health::fit(cols, area.width.saturating_sub(5));
    let mark = if c.state.look.ascii { "~" } else { "\u{2026}" };
    let cell = |text: &Said, w: u16| text.fit(usize::from(w), mark).padded(usize::from(w) + 1);
    let head = widths.iter().map(|(i, w)| (cell(&say!(cols[*i].head), *w), Role::Dim)).collect();
    c.row(area.x + 3, area.y, area.width.saturating_sub(4), &head);
    let rows = health::ids(&c.state.platform, tab).len();
    let height = usize::from(area.height.saturating_sub(1)).max(1);
    let from = at.map_or(0, |i| (i + 1).saturating_sub(height));
    for i in from..rows.min(from + height) {
        let y = area.y + 1 + (i - from) as u16;
        if Some(i) == at {
            c.ground = Some(Role::Cursor);
            c.fill(Rect::new(area.x, y, area.width, 1), Role::Cursor);
            c.put(area.x, y, 1, &say!(if c.state.look.ascii { ">" } else { "\u{25b8}" }), Role::Accent);
        }
        let cells = health::line(c.state, tab, i);
        let row = widths.iter().filter_map(|(k, w)| cells.get(*k).map(|(t, role)| (cell(t, *w), *role))).collect();
        c.row(area.x + 3, y, area.width.saturating_sub(4), &row);
        c.ground = None;
    }
}

fn detail(c: &mut Canvas<'_>, area: Rect) {
    let tab = c.state.tab;
    let (width, height) = layout::platform_detail(c.state);
    let rows = health::detail(c.state, tab, width);
    let spot = c.state.spots.get(&tab).map_or(0, |s| s.scroll);
    let from = spot.min(rows.len().saturating_sub(height));
    let far = extent(from, height, rows.len());
    let room = area.width.saturating_sub(far.width() as u16 + 2);
    c.put(area.x + 1, area.y, room, &health::title(c.state, tab), Role::Heading);
    c.put_right(area.x, area.y, area.width, &far, Role::Dim);
    let body = Rect::new(area.x + 1, area.y + 1, width as u16, area.height.saturating_sub(1));
    doc_rows(c, body, &rows, from);
}
