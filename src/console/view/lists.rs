//! Cases, approvals, views, suppressions, status.

use ratatui::layout::Rect;

use super::super::action::Do;
use super::super::case as words;
use super::super::layout::{self, Panes};
use super::super::state::doc::DocRow;
use super::super::state::{Live, Table};
use super::super::theme::Role;
use super::super::words::{Clock, Said, say};
use super::paint::Canvas;
use super::{key_of, state_of_load};
use crate::desk::LinkState;
use crate::model::action::{Request, RequestState};

/// A table of whole rows: the heads, then one line each, the cursor kept on screen.
pub fn table<Id: Clone + PartialEq, T>(
    c: &mut Canvas<'_>,
    panes: &Panes,
    what: &'static str,
    rows: &Table<Id, T>,
    id_of: impl Fn(&T) -> Id,
    head: &Said,
    empty: &[Said],
    line: impl Fn(&T) -> DocRow,
) {
    let mut area = Rect::new(0, panes.context.y, panes.list.width, panes.list.height + 1);
    if c.state.tab.pages().len() > 1 {
        super::pages(c, area);
        area = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    }
    c.put(area.x + 3, area.y, area.width.saturating_sub(3), head, Role::Dim);
    let body = Rect::new(area.x, area.y + 1, area.width, area.height.saturating_sub(1));
    if rows.rows.is_empty() {
        state_of_load(c, body, &rows.load, what, empty);
        return;
    }
    let height = usize::from(body.height).max(1);
    let at = rows.index(&id_of);
    let from = at.map_or(0, |i| (i + 1).saturating_sub(height));
    for (i, row) in rows.rows.iter().enumerate().skip(from).take(height) {
        let y = body.y + (i - from) as u16;
        if Some(i) == at {
            c.ground = Some(Role::Cursor);
            c.fill(Rect::new(body.x, y, body.width, 1), Role::Cursor);
            c.put(body.x, y, 1, &say!(if c.state.look.ascii { ">" } else { "\u{25b8}" }), Role::Accent);
        }
        c.row(body.x + 3, y, body.width.saturating_sub(4), &line(row));
        c.ground = None;
    }
}

/// Padded or cut to a column.
pub fn cell(text: &Said, columns: usize) -> Said {
    say!(text.fit(columns, "~").padded(columns), "  ")
}

/// A case in full.
fn case(c: &mut Canvas<'_>) {
    let s = c.state;
    let Some(page) = &s.case else { return };
    let body = layout::body(s);
    let area = Rect::new(body.x + 1, body.y, body.width.saturating_sub(2), body.height);
    let Some(view) = &page.shown else {
        let said = match &page.broken {
            Some(why) => (say!("this case cannot be shown: ", why), Role::Bad),
            None => (say!("loading case #", page.id, " from the store"), Role::Dim),
        };
        c.put(area.x, area.y, area.width, &said.0, said.1);
        return;
    };
    let doc = words::text(view, usize::from(area.width), s.now, &words::Keys::of(s));
    let from = page.scroll.min(doc.rows.len().saturating_sub(usize::from(area.height)));
    super::doc_rows(c, area, &doc.rows, from);
    let far = super::extent(from, usize::from(area.height), doc.rows.len());
    c.put_right(area.x, area.y, area.width, &far, Role::Dim);
    if let Some(why) = &page.broken {
        c.put_right(area.x, area.bottom() - 1, area.width, &say!("NOT AS IT IS NOW: ", why), Role::Bad);
    }
}

pub fn cases(c: &mut Canvas<'_>, panes: &Panes) {
    let s = c.state;
    if s.full {
        return case(c);
    }
    let wide = usize::from(panes.list.width.saturating_sub(50)).clamp(20, 80);
    let head = say!(
        cell(&say!("CASE"), 6),
        cell(&say!("TITLE"), wide),
        cell(&say!("ALERTS"), 6),
        cell(&say!("OPENED"), 16),
        "BY"
    );
    let empty =
        [say!("no cases yet"), say!("on alerts of the queue, ", key_of(s, Do::Merge), " puts them into a new one")];
    table(
        c,
        panes,
        "the list of cases",
        &s.cases,
        |x| x.id,
        &head,
        &empty,
        |case| {
            let role = if case.closed_at.is_some() { Role::Dim } else { Role::Text };
            vec![
                (cell(&say!("#", case.id), 6), Role::Info),
                (cell(&say!(case.title), wide), role),
                (cell(&say!(case.alerts), 6), role),
                (cell(&Said::moment(case.opened_at).fit(16, ""), 16), Role::Dim),
                (say!(case.opened_by, if case.closed_at.is_some() { "  closed" } else { "" }), Role::Dim),
            ]
        },
    );
}

pub fn request_role(state: RequestState) -> Role {
    match state {
        RequestState::Pending => Role::Warn,
        RequestState::Approved | RequestState::Executing => Role::Accent,
        RequestState::Done => Role::Good,
        RequestState::Failed | RequestState::Stale => Role::Bad,
        RequestState::Draft | RequestState::Expired | RequestState::Denied | RequestState::Withdrawn => Role::Dim,
    }
}

/// What somebody has to do about it.
fn next_step(s: &super::State, r: &Request) -> Said {
    let mine = s.my_id().is_some_and(|me| *me == r.body.requester);
    let left = usize::from(r.body.approvals_needed).saturating_sub(r.approvals.len());
    if let Some(g) = r.course.glass.as_ref().filter(|g| g.review.is_none() && r.state.is_final()) {
        let due = g.review_due.as_second() - s.now.as_second();
        return if due < 0 { say!("REVIEW OVERDUE") } else { say!("review in ", Said::span(due)) };
    }
    let asked = r.course.open_question().filter(|_| !r.state.is_final());
    if let Some(q) = asked {
        return if mine { say!("ANSWER ", q.by) } else { say!("asked by ", q.by) };
    }
    match r.state {
        RequestState::Draft => {
            let left = r.body.approve_by.as_second() - s.now.as_second();
            say!(key_of(s, Do::SubmitRequest), " submits, ", Said::span(left), " left")
        }
        RequestState::Pending if !r.course.rungs.is_empty() && !mine => {
            let left = Said::span(r.body.approve_by.as_second() - s.now.as_second());
            say!("rung ", r.course.rungs.len(), ", ", left, " left")
        }
        RequestState::Pending if mine => say!("needs ", left, " other"),
        RequestState::Pending => {
            say!("needs ", left, ", ", Said::span(r.body.approve_by.as_second() - s.now.as_second()), " left")
        }
        RequestState::Approved => say!("run within ", Said::span(r.body.execute_by.as_second() - s.now.as_second())),
        RequestState::Done | RequestState::Failed => {
            let done = r.receipts.iter().filter(|x| x.state == crate::model::action::ReceiptState::Done).count();
            say!(done, " of ", r.body.targets.len(), " done")
        }
        _ => r.note.as_deref().map(Said::of).unwrap_or_default(),
    }
}

/// What must not be overlooked.
fn next_role(s: &super::State, r: &Request) -> Option<Role> {
    let mine = s.my_id().is_some_and(|me| *me == r.body.requester);
    let glass = r.course.glass.as_ref().filter(|g| g.review.is_none());
    match glass {
        Some(g) if g.overdue(s.now) => Some(Role::Critical),
        Some(_) => Some(Role::Bad),
        None if mine && !r.state.is_final() && r.course.open_question().is_some() => Some(Role::Warn),
        None => None,
    }
}

pub fn requests(c: &mut Canvas<'_>, panes: &Panes) {
    let s = c.state;
    // On a small screen what is to be done matters more than whole names.
    let (name, wide) = match panes.list.width {
        0..100 => (14, 11),
        w => (18, usize::from(w.saturating_sub(68)).clamp(14, 60)),
    };
    let head = say!(
        cell(&say!("STATE"), 9),
        cell(&say!("TIER"), 4),
        cell(&say!("ACTION"), name),
        cell(&say!("TARGETS"), wide),
        cell(&say!("BY"), 9),
        "NEXT"
    );
    let empty = [
        say!("no requests"),
        say!(
            "on an alert of the queue, ",
            key_of(s, Do::Propose),
            " proposes an action; somebody else approves it here"
        ),
    ];
    table(
        c,
        panes,
        "the list of requests",
        &s.requests,
        |r| r.body.id.clone(),
        &head,
        &empty,
        |r| {
            let final_role = if r.state.is_final() { Role::Dim } else { Role::Text };
            let tier = say!(r.body.tier.word()).fit(2, "");
            vec![
                (cell(&say!(r.state.word()), 9), request_role(r.state)),
                (cell(&tier, 4), Role::Text),
                (cell(&Said::of(&r.body.action), name), final_role),
                (cell(&Said::of(&r.body.targets.join(" ")), wide), final_role),
                (cell(&say!(r.body.requester), 9), Role::Dim),
                (next_step(s, r), next_role(s, r).unwrap_or(final_role)),
            ]
        },
    );
}

pub fn views(c: &mut Canvas<'_>, panes: &Panes) {
    let s = c.state;
    let head = say!(cell(&say!("VIEW"), 20), cell(&say!("ALERTS"), 7), cell(&say!("ORDER"), 8), "FILTER");
    let empty = [
        say!("no saved views"),
        say!("in the queue, ", key_of(s, Do::SaveView), " keeps the present filter under a name"),
    ];
    table(
        c,
        panes,
        "the list of views",
        &s.views,
        |v| v.view.name.clone(),
        &head,
        &empty,
        |v| {
            let (count, role) = match &v.count {
                Ok(n) => (say!(n.n, if n.exact { "" } else { "+" }), Role::Text),
                Err(e) => (say!("! ", e), Role::Bad),
            };
            vec![
                (cell(&Said::of(&v.view.name), 20), Role::Heading),
                (cell(&count, 7), role),
                (cell(&Said::of(&v.view.sort), 8), Role::Dim),
                (Said::of(&v.view.query), Role::Text),
            ]
        },
    );
}

pub fn suppressions(c: &mut Canvas<'_>, panes: &Panes) {
    let s = c.state;
    let wide = usize::from(panes.list.width.saturating_sub(52)).clamp(16, 70);
    let head = say!(
        cell(&say!("QUERY"), wide),
        cell(&say!("HIDES"), 6),
        cell(&say!("ENDS"), 5),
        cell(&say!("OWNER"), 10),
        "REASON"
    );
    let empty = [
        say!("nothing is suppressed"),
        say!(
            key_of(s, Do::AddSuppression),
            " adds one here; ",
            key_of(s, Do::Suppress),
            " in the queue starts from an alert"
        ),
    ];
    table(
        c,
        panes,
        "the list of suppressions",
        &s.suppressions,
        |x| x.id,
        &head,
        &empty,
        |x| {
            let left = x.expires.as_second() - s.now.as_second();
            let (ends, role) = if left <= 0 { (say!("ended"), Role::Dim) } else { (Said::span(left), Role::Text) };
            vec![
                (cell(&Said::of(&x.query), wide), role),
                (cell(&say!(x.hidden), 6), role),
                (cell(&ends, 5), role),
                (cell(&say!(x.owner), 10), Role::Dim),
                (say!(x.reason), Role::Dim),
            ]
        },
    );
}

// --- status ------------------------------------------------------------------------------------

pub fn status(c: &mut Canvas<'_>, panes: &Panes) {
    let rows = status_rows(c);
    let area = Rect::new(1, panes.context.y, panes.list.width.saturating_sub(2), panes.list.height + 1);
    let from = c.state.status_scroll.min(rows.len().saturating_sub(usize::from(area.height)));
    super::doc_rows(c, area, &rows, from);
}

fn status_rows(c: &Canvas<'_>) -> Vec<DocRow> {
    let s = c.state;
    let mut rows: Vec<DocRow> = Vec::new();
    let head = |t: &'static str| vec![(say!(t), Role::Heading)];
    let item = |name: Said, word: Said, role: Role, rest: Said| {
        vec![(say!("  "), Role::Text), (cell(&name, 18), Role::Text), (cell(&word, 10), role), (rest, Role::Dim)]
    };
    rows.push(head("Desk"));
    let (word, role, why) = match &s.live {
        Live::Live => ("live", Role::Good, Said::new()),
        Live::Starting => ("starting", Role::Dim, Said::new()),
        Live::Paused => ("paused", Role::Warn, say!("by you; ", key_of(s, Do::Pause), " goes on")),
        Live::Stale { since, why } => ("stale", Role::Critical, say!("since ", Clock(*since), ": ", why)),
    };
    rows.push(item(say!(s.desk_name), say!(word), role, why));
    let (word, role, who) = match &s.facts.kill {
        Some((who, at)) => ("ON", Role::Critical, say!("by ", who, " at ", Clock(*at), ": nothing is executed")),
        None => ("off", Role::Good, say!(key_of(s, Do::KillSwitch), " stops all execution")),
    };
    rows.push(item(say!("kill switch"), say!(word), role, who));
    for (what, at) in &s.facts.outside {
        let how = say!(
            "at ",
            Clock(*at),
            ": not by a request; see: watchfloor audit query --kind ",
            *what,
            ".changed_outside"
        );
        rows.push(item(say!(*what), say!("CHANGED"), Role::Critical, how));
    }
    let dead = s.facts.dead_letters;
    let (word, role) = if dead == 0 { (say!("none"), Role::Good) } else { (say!(dead), Role::Warn) };
    let hint =
        if dead == 0 { Said::new() } else { say!("records that could not be read; see: watchfloor dead-letter list") };
    rows.push(item(say!("dead letters"), word, role, hint));
    rows.push(Vec::new());
    rows.push(head("Opinions"));
    match &s.facts.backend {
        Some(b) => {
            let (word, role) = if b.up { ("up", Role::Good) } else { ("DOWN", Role::Bad) };
            let mut rest = b.detail.clone();
            if let (Some(r), Some(w)) = (b.running, b.waiting) {
                rest.push(&say!("  ", r, " running, ", w, " waiting"));
            }
            rows.push(item(b.name.clone(), say!(word), role, rest));
        }
        None => rows.push(item(say!("backend"), say!("?"), Role::Dim, say!("not asked yet"))),
    }
    for run in &s.runs {
        let what = if run.what.is_question() { "answering" } else { "asking" };
        let waited = say!("for ", Said::span(run.seconds(s.now)), ", ", run.pieces, " pieces");
        rows.push(item(say!("alert ", run.alert), say!(what), Role::Accent, waited));
    }
    let hint = say!(key_of(s, Do::TabTriage), " shows how triage is doing");
    rows.push(item(say!("queue"), say!(s.facts.queue.waiting), Role::Text, say!("waiting; ", hint)));
    rows.push(Vec::new());
    rows.push(head("Sources"));
    if s.facts.links.is_empty() {
        rows.push(vec![(say!("  none configured; alerts come in through: watchfloor import FILE"), Role::Dim)]);
    }
    for l in &s.facts.links {
        let (word, role) = match l.state {
            LinkState::Starting => ("starting", Role::Dim),
            LinkState::Live => ("live", Role::Good),
            LinkState::Retrying => ("retrying", Role::Bad),
            LinkState::Stopped => ("stopped", Role::Warn),
        };
        let mut rest = say!(l.kind, "  ", l.accepted, " taken  ", l.detail);
        if let Some(t) = l.last_good {
            rest.push(&say!("  last good ", Clock(t)));
        }
        if let Some(t) = l.next_try {
            rest.push(&say!("  next try ", Clock(t)));
        }
        rows.push(item(Said::of(&l.name), say!(word), role, rest));
    }
    rows.push(Vec::new());
    rows.push(head("Actions"));
    if s.catalogue.is_empty() {
        rows.push(vec![(say!("  no catalogue; see respond.catalogue in the settings"), Role::Dim)]);
    }
    for a in s.catalogue.iter() {
        rows.push(item(Said::of(&a.name), say!(a.tier.word()).fit(2, ""), Role::Text, Said::of(&a.title)));
    }
    rows.push(Vec::new());
    rows.push(head("You"));
    let me = match &s.me {
        Some(p) => item(say!(p.id), say!(p.main_role()), Role::Text, Said::of(&p.name)),
        None => item(say!("unknown"), say!("reading"), Role::Warn, say!("your user is not in the roster")),
    };
    rows.push(me);
    let keymap = Said::of(&s.look.keymap.name);
    rows.push(vec![(say!("  theme ", Said::of(&s.look.theme.name), "   keymap ", keymap), Role::Dim)]);
    rows
}
