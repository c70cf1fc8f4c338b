//! Where things stand, for the views and for paging alike.

use ratatui::layout::Rect;

use super::state::overlay::Purpose;
use super::state::{Overlay, State, Tab};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Panes {
    pub header: Rect,
    /// The line of a demo or drill.
    pub banner: Option<Rect>,
    pub tabs: Rect,
    /// View, filter, order, what is new.
    pub context: Rect,
    /// Column heads and rows, or the whole pane of another tab.
    pub list: Rect,
    /// The alert: beside the list, below it, or in full.
    pub detail: Option<Rect>,
    /// The line between list and detail.
    pub rule: Option<Rect>,
    /// The box a question is typed into, below the alert.
    pub ask: Option<Rect>,
    pub footer: Rect,
}

/// Lines of the short preview under the list.
const PREVIEW: u16 = 4;
/// Lines of the box a question is typed into, with its frame.
const ASK: u16 = 6;
/// From so many columns on, an open alert has its opinion in a column of its own.
const ASIDE: u16 = 132;

pub fn panes(state: &State) -> Panes {
    let mut p = whole(state);
    let asking = state.overlays.iter().any(|o| matches!(o, Overlay::Form(f) if f.purpose == Purpose::Ask));
    if let Some(detail) = p.detail.as_mut().filter(|d| asking && d.height > ASK + DETAIL_HEAD) {
        detail.height -= ASK;
        p.ask = Some(Rect::new(detail.x, detail.bottom(), detail.width, ASK));
    }
    p
}

fn whole(state: &State) -> Panes {
    let (w, h) = state.size;
    let line = |y: u16| Rect::new(0, y.min(h.saturating_sub(1)), w, 1);
    let mut p = Panes { header: line(0), footer: line(h.saturating_sub(1)), ..Panes::default() };
    let mut y = 1;
    if state.exercise.is_some() {
        p.banner = Some(line(y));
        y += 1;
    }
    p.tabs = line(y);
    p.context = line(y + 1);
    y += 2;
    let body = Rect::new(0, y, w, h.saturating_sub(y + 1));
    p.list = body;
    if state.tab.is_platform() {
        platform(state, &mut p);
    }
    if state.tab == Tab::Playbooks && state.full {
        playbook(state, &mut p);
    }
    if state.tab != Tab::Queue {
        return p;
    }
    if state.full {
        p.detail = Some(body);
        return p;
    }
    if state.beside() {
        let right = (u32::from(w) * 2 / 5).clamp(46, 100) as u16;
        p.list.width = w - right - 1;
        p.rule = Some(Rect::new(p.list.width, y, 1, body.height));
        p.detail = Some(Rect::new(p.list.width + 1, y, right, body.height));
    } else if body.height >= 14 {
        p.list.height = body.height - PREVIEW - 1;
        p.rule = Some(Rect::new(0, y + p.list.height, w, 1));
        p.detail = Some(Rect::new(0, y + p.list.height + 1, w, PREVIEW));
    }
    p
}

/// The platform's panes: list, and the detail beside it or in its place. Their first line says what the pane is.
fn platform(state: &State, p: &mut Panes) {
    let body = p.list;
    let (w, y, height) = (body.width, body.y, body.height);
    if state.full {
        p.detail = Some(body);
    } else if state.beside() {
        let right = (u32::from(w) * 2 / 5).clamp(56, 110) as u16;
        p.list.width = w - right - 1;
        p.rule = Some(Rect::new(p.list.width, y, 1, height));
        p.detail = Some(Rect::new(p.list.width + 1, y, right, height));
    }
}

/// An open run of a playbook: its steps, and the one under the cursor beside or below them.
fn playbook(state: &State, p: &mut Panes) {
    let body = p.list;
    if state.beside() {
        let right = body.width / 2;
        p.list.width = body.width - right - 1;
        p.rule = Some(Rect::new(p.list.width, body.y, 1, body.height));
        p.detail = Some(Rect::new(p.list.width + 1, body.y, right, body.height));
    } else {
        let steps = state.playbook.open.as_ref().map_or(0, |o| o.lines().len());
        let rows = (steps as u16).clamp(2, (body.height / 3).max(2)) + 1;
        p.list.height = rows.min(body.height);
        p.rule = Some(Rect::new(0, body.y + p.list.height, body.width, 1));
        let y = (p.list.bottom() + 1).min(body.bottom());
        p.detail = Some(Rect::new(0, y, body.width, body.bottom() - y));
    }
}

/// Columns and lines of the text of a step.
pub fn playbook_step(state: &State) -> (usize, usize) {
    let r = panes(state).detail.unwrap_or_else(|| panes(state).list);
    (usize::from(r.width.saturating_sub(2)), usize::from(r.height).max(1))
}

/// Columns and lines of the detail of a platform pane, without its title.
pub fn platform_detail(state: &State) -> (usize, usize) {
    let r = panes(state).detail.unwrap_or_else(|| panes(state).list);
    (usize::from(r.width.saturating_sub(2)), usize::from(r.height.saturating_sub(1)).max(1))
}

/// Rows of the queue on screen: one line is for the column heads.
pub fn queue_rows(state: &State) -> usize {
    usize::from(panes(state).list.height.saturating_sub(1)).max(1)
}

/// Lines of the alert's text on screen: the head of the pane takes some.
pub fn detail_rows(state: &State) -> usize {
    let h = panes(state).detail.map_or(0, |r| r.height);
    usize::from(h.saturating_sub(DETAIL_HEAD)).max(1)
}

/// Title, state and opinion of an alert stand still above its text.
pub const DETAIL_HEAD: u16 = 3;

/// The alert's text below its head: the main column, and on a wide screen the opinion beside it.
pub fn columns(state: &State) -> (Rect, Option<Rect>) {
    let pane = panes(state).detail.unwrap_or(Rect::new(0, 0, state.size.0, 0));
    let inner = Rect::new(
        pane.x + 1,
        pane.y + DETAIL_HEAD.min(pane.height),
        pane.width.saturating_sub(2),
        pane.height.saturating_sub(DETAIL_HEAD),
    );
    if !state.full || state.size.0 < ASIDE {
        return (inner, None);
    }
    let side = (inner.width * 9 / 20).min(92);
    let main = Rect { width: inner.width - side - 3, ..inner };
    (main, Some(Rect { x: main.right() + 3, width: side, ..inner }))
}

/// The body of a tab, also the place of the raw view and the decision screen.
pub fn body(state: &State) -> Rect {
    let p = panes(state);
    let y = p.context.y;
    Rect::new(0, y, state.size.0, state.size.1.saturating_sub(y + 1))
}

/// Columns and lines of the raw view's text. A claim whose evidence is shown stands above it.
pub fn raw_size(state: &State) -> (usize, usize) {
    let b = body(state);
    let claim = state.overlays.iter().any(|o| matches!(o, Overlay::Raw(v) if v.evidence.is_some()));
    (usize::from(b.width.saturating_sub(2)), usize::from(b.height.saturating_sub(if claim { 3 } else { 1 })).max(1))
}

/// A box in the middle, at most as large as the body.
pub fn centred(state: &State, width: u16, height: u16) -> Rect {
    let b = body(state);
    let w = width.min(b.width.saturating_sub(2));
    let h = height.min(b.height);
    Rect::new(b.x + (b.width - w) / 2, b.y + (b.height - h) / 3, w, h)
}

/// Where a draft is read: most of the body.
pub fn review(state: &State) -> Rect {
    let b = body(state);
    centred(state, 150, b.height)
}

/// Inner columns and lines of it.
pub fn review_size(state: &State) -> (usize, usize) {
    let r = review(state);
    (usize::from(r.width.saturating_sub(4)), usize::from(r.height.saturating_sub(2)).max(1))
}

/// Inner columns and lines of a sheet.
pub fn sheet_size(state: &State) -> (usize, usize) {
    let r = sheet(state);
    (usize::from(r.width.saturating_sub(4)), usize::from(r.height.saturating_sub(2)).max(1))
}

pub fn sheet(state: &State) -> Rect {
    let b = body(state);
    centred(state, 100, b.height)
}
