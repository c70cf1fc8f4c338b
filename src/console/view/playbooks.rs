//! Playbooks at work: the list of runs, and an open one.

use ratatui::layout::Rect;

use super::super::action::Do;
use super::super::deadlines;
use super::super::layout::{self, Panes};
use super::super::playbook as words;
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::paint::Canvas;
use super::{doc_rows, extent, key_of, lists};
use crate::model::playbook_run::RunState;

pub fn draw(c: &mut Canvas<'_>, panes: &Panes) {
    if c.state.full { run(c, panes) } else { runs(c, panes) }
}

fn runs(c: &mut Canvas<'_>, panes: &Panes) {
    let s = c.state;
    let cell = lists::cell;
    let wide = usize::from(panes.list.width.saturating_sub(61)).clamp(14, 46);
    let head = say!(
        cell(&say!("STATE"), 9),
        cell(&say!("PLAYBOOK"), wide),
        cell(&say!("FOR"), 6),
        cell(&say!("NOW"), 12),
        cell(&say!("OWNER"), 8),
        "CLOCK"
    );
    let empty = [
        say!("no playbook is at work"),
        say!("on an alert of the queue or a case, ", key_of(s, Do::Playbook), " shows which fit, and starts one"),
    ];
    lists::table(
        c,
        panes,
        "the list of playbooks",
        &s.playbook.runs,
        |r| r.id.clone(),
        &head,
        &empty,
        |r| {
            let role = if r.state == RunState::Running { Role::Text } else { Role::Dim };
            let of = match (r.case, r.alert) {
                (Some(case), _) => say!("#", case),
                (None, Some(alert)) => say!(alert),
                (None, None) => say!("-"),
            };
            let mut open = r.open();
            let now = open.next();
            let more = open.count();
            let step = now.map_or_else(|| say!("-"), |v| Said::of(&v.key));
            let step = if more > 0 { say!(step.fit(9, "~"), " +", more) } else { step };
            let owner = now.and_then(|v| v.owner.clone()).unwrap_or_else(|| r.started_by.clone());
            let (clock, clock_role) = words::run_clock(r, s.now);
            vec![
                (cell(&say!(r.state.word()), 9), words::run_role(r.state)),
                (cell(&say!(r.title), wide), role),
                (cell(&of, 6), Role::Info),
                (cell(&step, 12), role),
                (cell(&say!(owner), 8), Role::Dim),
                (clock, clock_role),
            ]
        },
    );
}

/// An open run: its steps, and the text of the one under the cursor beside or below them.
fn run(c: &mut Canvas<'_>, panes: &Panes) {
    let s = c.state;
    let Some(page) = &s.playbook.open else { return };
    let top = Rect { x: 1, width: s.size.0.saturating_sub(2), ..panes.context };
    let Some(shown) = &page.shown else {
        let said = match &page.broken {
            Some(why) => (say!("this playbook cannot be shown: ", why), Role::Bad),
            None => (say!("loading the playbook from the store"), Role::Dim),
        };
        c.put(top.x, top.y, top.width, &said.0, said.1);
        return;
    };
    let run = &shown.0;
    let mut x = c.put(top.x, top.y, top.width, &say!(run.title, "  "), Role::Heading);
    let room = |x: u16| top.right().saturating_sub(x);
    x = c.put(x, top.y, room(x), &say!(run.state.word(), "  "), words::run_role(run.state));
    let mut about = match (run.case, run.alert) {
        (Some(case), _) => say!("case #", case),
        (None, Some(alert)) => say!("alert ", alert),
        (None, None) => Said::new(),
    };
    if let Some(near) = deadlines::nearest(&page.deadlines).filter(|_| page.broken.is_none()) {
        let (left, role) = deadlines::clock(near, s.now);
        x = c.put(x, top.y, room(x), &say!("deadline ", left, "  "), role);
    }
    about.push(&say!("  ", words::done_of(run), ", begun by ", run.started_by));
    if !run.restricted.is_empty() {
        about.push(&"  RESTRICTED");
    }
    if let Some(signed) = &run.signed {
        about.push(&say!("  ", signed));
    }
    if let Some(why) = &run.ended_why {
        about.push(&say!("  ", why));
    }
    if let Some(why) = &page.broken {
        about = say!("NOT AS IT IS NOW: ", why);
    }
    c.put(x, top.y, room(x), &about, if page.broken.is_some() { Role::Bad } else { Role::Dim });
    steps(c, panes.list);
    if let Some(rule) = panes.rule {
        c.rule(rule);
    }
    if let Some(area) = panes.detail {
        let (width, rows) = layout::playbook_step(s);
        let doc = words::text(s, page, width);
        let from = page.scroll.min(doc.rows.len().saturating_sub(rows));
        doc_rows(c, Rect::new(area.x + 1, area.y, width as u16, area.height), &doc.rows, from);
        let far = extent(from, rows, doc.rows.len());
        c.put_right(area.x, area.y, area.width, &far, Role::Dim);
    }
}

fn steps(c: &mut Canvas<'_>, area: Rect) {
    let s = c.state;
    let Some(page) = &s.playbook.open else { return };
    let lines = page.lines();
    let at = page.index();
    let width = usize::from(area.width.saturating_sub(3));
    let height = usize::from(area.height).max(1);
    let half = height / 2;
    let from = at.map_or(0, |i| i.saturating_sub(half)).min(lines.len().saturating_sub(height));
    for (i, line) in lines.iter().enumerate().skip(from).take(height) {
        let y = area.y + (i - from) as u16;
        if Some(i) == at {
            c.ground = Some(Role::Cursor);
            c.fill(Rect::new(area.x, y, area.width, 1), Role::Cursor);
            c.put(area.x, y, 1, &say!(if s.look.ascii { ">" } else { "\u{25b8}" }), Role::Accent);
        }
        let row = words::line(page, &line.at, line.depth, width, s.now);
        c.row(area.x + 2, y, area.width.saturating_sub(2), &row);
        c.ground = None;
    }
}
