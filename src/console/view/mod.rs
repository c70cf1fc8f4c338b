//! Drawing: reads the state, fills a buffer, knows no clock and no desk.

mod decide;
mod detail;
mod dialog;
#[cfg(test)]
mod drafts_tests;
pub mod lists;
pub mod paint;
mod platform;
#[cfg(test)]
pub mod platform_sample;
#[cfg(test)]
mod platform_tests;
mod playbooks;
#[cfg(test)]
mod playbooks_tests;
mod queue;
mod raw;
#[cfg(test)]
mod tests;
mod triage;
#[cfg(test)]
mod triage_tests;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::action::{self, Do, Scope};
use super::health;
use super::keymap::{Lookup, chord_text};
use super::layout::{self, Panes};
use super::state::doc::DocRow;
use super::state::overlay::{FieldKind, Purpose};
use super::state::{Backend, Live, Load, Overlay, State, Tab};
use super::theme::Role;
use super::words::{Clock, Said, say};
use paint::Canvas;

/// Draws everything into `buf`, whose area is the screen.
pub fn draw(state: &State, buf: &mut Buffer) {
    let mut c = Canvas::new(buf, state);
    c.fill(c.buf.area, Role::Text);
    if state.tiny() {
        let text = say!("watchfloor needs at least 60x15; this is ", state.size.0, "x", state.size.1, ".");
        c.put(0, 0, state.size.0, &text, Role::Text);
        return;
    }
    let panes = layout::panes(state);
    header(&mut c, &panes);
    if let (Some(area), Some(banner)) = (panes.banner, &state.exercise) {
        c.band(area, Role::Critical, banner);
    }
    tabs(&mut c, &panes);
    match state.overlays.iter().rev().find(|o| matches!(o, Overlay::Raw(_) | Overlay::Decide(_))) {
        Some(Overlay::Raw(view)) => raw::draw(&mut c, view),
        Some(Overlay::Decide(d)) => decide::draw(&mut c, d),
        _ => pane(&mut c, &panes),
    }
    match state.overlays.last() {
        Some(Overlay::Filter(f)) => dialog::filter(&mut c, panes.context, f),
        Some(Overlay::Form(f)) if f.purpose == Purpose::Ask && panes.ask.is_some() => {
            dialog::ask(&mut c, panes.ask.unwrap_or_default(), f);
        }
        Some(Overlay::Form(f)) => dialog::form(&mut c, f),
        Some(Overlay::Picker(p)) => dialog::picker(&mut c, p),
        Some(Overlay::Sheet(s)) => dialog::sheet(&mut c, s),
        Some(Overlay::Review(r)) => dialog::review(&mut c, r),
        Some(Overlay::Decide(_) | Overlay::Raw(_)) | None => {}
    }
    footer(&mut c, &panes);
    which_keys(&mut c, &panes);
}

fn pane(c: &mut Canvas<'_>, panes: &Panes) {
    match c.state.tab {
        Tab::Queue => queue::draw(c, panes),
        Tab::Cases => lists::cases(c, panes),
        Tab::Playbooks => playbooks::draw(c, panes),
        Tab::Approvals => lists::requests(c, panes),
        Tab::Slo | Tab::Sla | Tab::Checklists | Tab::Rollouts | Tab::Backups => platform::draw(c, panes),
        Tab::Views => lists::views(c, panes),
        Tab::Suppressions => lists::suppressions(c, panes),
        Tab::Status => lists::status(c, panes),
        Tab::Triage => triage::draw(c, panes),
    }
}

// --- header and tabs ---------------------------------------------------------------------------

fn header(c: &mut Canvas<'_>, panes: &Panes) {
    let s = c.state;
    let area = panes.header;
    c.ground = Some(Role::Bar);
    c.fill(area, Role::Bar);
    let who = match &s.me {
        Some(p) => {
            let role = if s.read_only { "read-only" } else { p.main_role() };
            say!(Said::of(&p.name), " ", role, " ")
        }
        None => say!("nobody known, reading only "),
    };
    let room = area.width.saturating_sub(who.width() as u16 + 2);
    let mut x = c.put(area.x, area.y, room, &say!(" ", s.environment, " "), s.environment_role);
    x = c.put(x, area.y, room.saturating_sub(x), &say!(" "), Role::Bar);
    let (live, role) = live(s);
    x = c.put(x, area.y, room.saturating_sub(x), &live, role);
    let mut pieces: Vec<(Said, Role)> = Vec::new();
    if let Some((who, _)) = &s.facts.kill {
        pieces.push((say!("KILL SWITCH by ", who), Role::Critical));
    }
    for (what, _) in &s.facts.outside {
        pieces.push((say!(*what, " CHANGED OUTSIDE"), Role::Critical));
    }
    // The queue's own line says it where that is in front.
    if let Some((done, asked)) = s.bulk().filter(|_| s.tab != Tab::Queue) {
        pieces.push((say!("triage ", done, "/", asked), Role::Accent));
    }
    if s.facts.dead_letters > 0 {
        pieces.push((say!("dead ", s.facts.dead_letters), Role::Warn));
    }
    let broken = s.facts.links.iter().filter(|l| matches!(l.state, crate::desk::LinkState::Retrying)).count();
    if broken > 0 {
        pieces.push((say!(broken, if broken == 1 { " source down" } else { " sources down" }), Role::Bad));
    }
    let taken: usize = pieces.iter().map(|(t, _)| t.width() + 2).sum();
    let left = usize::from(room.saturating_sub(x)).saturating_sub(taken + 2);
    let (platform, calm) = platform(s, left);
    pieces.extend(platform);
    if let Some(b) = &s.facts.backend {
        let taken: usize = pieces.iter().map(|(t, _)| t.width() + 2).sum();
        let left = usize::from(room.saturating_sub(x)).saturating_sub(taken + 2);
        pieces.push(model_words(b, left));
    }
    pieces.extend(calm);
    pieces.push((say!(s.desk_name), Role::Dim));
    for (text, role) in pieces {
        // Whole or not at all: half a word in the header misleads.
        if x + text.width() as u16 + 2 > room {
            continue;
        }
        x = c.put(x + 2, area.y, room - x - 2, &text, role);
    }
    c.put_right(area.x, area.y, area.width, &who, Role::Text);
    c.ground = None;
}

type Pieces = Vec<(Said, Role)>;

/// What of the platform is not well, and what is; in short words where the long ones of what is not do not fit.
fn platform(s: &State, room: usize) -> (Pieces, Pieces) {
    let said = |short| -> (Pieces, Pieces) {
        health::summary(&s.platform, short).into_iter().partition(|(_, role)| *role != Role::Text)
    };
    let long = said(false);
    let width: usize = long.0.iter().map(|(t, _)| t.width() + 2).sum();
    if width <= room { long } else { said(true) }
}

/// The model and how it is doing, as much of it as there is room for.
fn model_words(b: &Backend, room: usize) -> (Said, Role) {
    if b.name.as_str() == "rules" {
        return (say!("rules, no model"), Role::Text);
    }
    if !b.up {
        let long = say!("RULES ONLY ", b.name, " is down");
        return (if long.width() <= room { long } else { say!("RULES ONLY") }, Role::Warn);
    }
    let percent = |share: Option<f32>| share.map(|v| Said::decimal(f64::from(v) * 100.0, 0));
    let load = match (b.running, b.waiting) {
        (Some(r), Some(w)) => say!(" ", r, " run ", w, " wait"),
        (Some(r), None) => say!(" ", r, " run"),
        _ => Said::new(),
    };
    let kv = percent(b.kv_cache).map(|p| say!(" kv ", p, "%")).unwrap_or_default();
    let hits = percent(b.prefix_hits).map(|p| say!(" hit ", p, "%")).unwrap_or_default();
    let ttft = b.ttft_p95_ms.map(|ms| say!(" ttft ", Said::decimal(ms as f64 / 1000.0, 1), "s")).unwrap_or_default();
    let forms = [
        say!("model ", b.name, load, kv, hits, ttft),
        say!(b.name, load, kv, hits, ttft),
        say!(b.name, load, kv, ttft),
        say!(b.name, load, ttft),
        say!("model ", b.name, load),
        say!(b.name, load),
    ];
    let fits = forms.into_iter().find(|f| f.width() <= room);
    (fits.unwrap_or_else(|| b.name.clone()), Role::Text)
}

fn live(s: &State) -> (Said, Role) {
    match &s.live {
        Live::Starting => (say!("STARTING"), Role::Dim),
        Live::Live => (say!("LIVE"), Role::Good),
        Live::Paused => (say!("PAUSED"), Role::Warn),
        Live::Stale { since, .. } => (say!("STALE since ", Clock(*since)), Role::Critical),
    }
}

/// A tab of the tab line: its first page, its words, what it counts, and the spaces around it.
struct TabWords {
    tab: Tab,
    words: Said,
    badge: Badge,
    pad: u16,
}
type Badge = Option<(Said, Role)>;

impl TabWords {
    fn width(&self) -> usize {
        usize::from(self.pad) * 2 + usize::from(self.pad == 0) + self.words.width() + self.badge_width()
    }

    fn badge_width(&self) -> usize {
        self.badge.as_ref().map_or(0, |(n, _)| n.width() + usize::from(self.spaced()))
    }

    /// A lone mark sits close to its word where room is short; a count never does.
    fn spaced(&self) -> bool {
        self.pad > 0 || self.badge.as_ref().is_none_or(|(n, _)| n.as_str().bytes().any(|b| b.is_ascii_digit()))
    }
}

fn badge(s: &State, tab: Tab) -> Badge {
    match tab {
        Tab::Queue => s.queue.total.map(|t| (say!(t.n, if t.exact { "" } else { "+" }), Role::Text)),
        Tab::Cases => some(s.cases.rows.iter().filter(|c| c.closed_at.is_none()).count(), Role::Text),
        Tab::Approvals => some(s.waiting_requests(), Role::Warn),
        Tab::Status => {
            let bad = s.facts.links.iter().any(|l| matches!(l.state, crate::desk::LinkState::Retrying))
                || s.facts.backend.as_ref().is_some_and(|b| !b.up);
            bad.then(|| (say!("!"), Role::Bad))
        }
        Tab::Triage if s.facts.queue.held.is_some() => Some((say!("!"), Role::Warn)),
        Tab::Triage => some(s.facts.queue.waiting as usize, Role::Dim),
        Tab::Slo | Tab::Rollouts | Tab::Backups => health::badge(&s.platform, tab),
        Tab::Views | Tab::Suppressions | Tab::Sla | Tab::Checklists | Tab::Playbooks => None,
    }
}

/// The tab line, in the longest form there is room for.
fn tab_words(s: &State) -> Vec<TabWords> {
    let form = |short: bool, pad: u16, gap: &'static str, counts: bool| -> Vec<TabWords> {
        let tabs = Tab::BAR.iter().map(|pages| pages[0]).enumerate();
        tabs.map(|(i, tab)| {
            let title = if short { tab.short() } else { tab.long() };
            let kept = |(text, _): &(Said, Role)| counts || !text.as_str().bytes().any(|b| b.is_ascii_digit());
            TabWords { tab, words: say!(i + 1, gap, title), badge: badge(s, tab).filter(kept), pad }
        })
        .collect()
    };
    let room = usize::from(s.size.0);
    let fits = |words: &Vec<TabWords>| words.iter().map(TabWords::width).sum::<usize>() <= room;
    let forms = [(false, 1, " ", true), (true, 1, " ", true), (true, 0, " ", true), (true, 0, " ", false)];
    let found = forms.into_iter().map(|(short, pad, gap, counts)| form(short, pad, gap, counts)).find(fits);
    found.unwrap_or_else(|| form(true, 0, "", false))
}

fn some(n: usize, role: Role) -> Option<(Said, Role)> {
    (n > 0).then(|| (say!(n), role))
}

fn tabs(c: &mut Canvas<'_>, panes: &Panes) {
    let (y, width) = (panes.tabs.y, panes.tabs.width);
    let mut x = 0;
    for t in tab_words(c.state) {
        let front = t.tab.at() == c.state.tab.at();
        c.ground = front.then_some(Role::Cursor);
        let role = if front { Role::Heading } else { Role::Dim };
        let pad = Said::repeat(" ", usize::from(t.pad));
        let mut at = c.put(x, y, width.saturating_sub(x), &say!(pad, t.words), role);
        if let Some((n, role)) = &t.badge {
            let gap = if t.spaced() { " " } else { "" };
            at = c.put(at, y, width.saturating_sub(at), &say!(gap, n), *role);
        }
        at = c.put(at, y, width.saturating_sub(at), &pad, role);
        c.ground = None;
        // Tabs without spaces of their own keep one between them.
        x = at + u16::from(t.pad == 0);
    }
}

/// The pages of the tab in front, on one line.
fn pages(c: &mut Canvas<'_>, area: Rect) {
    let s = c.state;
    let mut x = area.x + 1;
    for page in s.tab.pages() {
        let front = *page == s.tab;
        c.ground = front.then_some(Role::Cursor);
        let words = if front { say!("[", page.title(), "]") } else { say!(" ", page.title(), " ") };
        let role = if front { Role::Heading } else { Role::Dim };
        x = c.put(x, area.y, area.right().saturating_sub(x), &words, role) + 1;
        c.ground = None;
    }
    let hint = say!(key_of(s, Do::NextPage), " next page");
    c.put(x + 1, area.y, area.right().saturating_sub(x + 1), &hint, Role::Dim);
}

/// The tab at a column of the tab line, for the mouse.
pub fn tab_at(state: &State, column: u16) -> Option<Tab> {
    let mut x = 0;
    for words in tab_words(state) {
        x += words.width() as u16;
        if column < x {
            return Some(words.tab);
        }
    }
    None
}

// --- footer ------------------------------------------------------------------------------------

/// The keys worth showing here, most useful first.
fn hints(s: &State) -> &'static [Do] {
    match s.overlays.last() {
        Some(Overlay::Filter(_)) => &[Do::FormEnter, Do::Back, Do::FormOlder],
        Some(Overlay::Form(f)) if matches!(f.purpose, Purpose::EditDraft { .. }) => &[Do::FormSubmit, Do::Back],
        Some(Overlay::Form(f)) if matches!(f.purpose, Purpose::EditRequest { .. }) => {
            &[Do::FormEnter, Do::FormNext, Do::FormKeep, Do::Back, Do::FormOlder]
        }
        Some(Overlay::Form(f)) => {
            let field = f.fields.get(f.focus).map(|f| &f.kind);
            match (f.fields.len() > 1, matches!(field, Some(FieldKind::Text(i)) if i.many)) {
                (true, true) => {
                    &[Do::FormEnter, Do::FormNext, Do::FormSubmit, Do::FormNewline, Do::Back, Do::FormOlder]
                }
                (true, false) => &[Do::FormEnter, Do::FormNext, Do::FormSubmit, Do::FormKeep, Do::Back, Do::FormOlder],
                (false, true) => &[Do::FormEnter, Do::FormNewline, Do::FormOlder, Do::Back],
                (false, false) => &[Do::FormEnter, Do::FormOlder, Do::Back],
            }
        }
        Some(Overlay::Picker(_)) => &[Do::PickTake, Do::PickDown, Do::PickUp, Do::Back],
        Some(Overlay::Decide(_)) => &[
            Do::Back,
            Do::Execute,
            Do::Deny,
            Do::AskBack,
            Do::OverBudget,
            Do::SubmitRequest,
            Do::EditRequest,
            Do::Withdraw,
            Do::RetryFailed,
            Do::UndoRequest,
            Do::GlassReview,
            Do::Reread,
            Do::BreakGlass,
            Do::Down,
        ],
        Some(Overlay::Raw(_)) => {
            &[Do::Back, Do::Evidence, Do::EvidenceBefore, Do::Raw, Do::Hex, Do::Fields, Do::PageDown, Do::Help]
        }
        Some(Overlay::Sheet(_)) => &[Do::Back, Do::PageDown, Do::PageUp],
        Some(Overlay::Review(_)) => {
            &[Do::ApproveDraft, Do::EditDraft, Do::RejectDraft, Do::PageDown, Do::PageUp, Do::Back]
        }
        None => match s.tab {
            Tab::Queue if s.full && s.run_of_hand() => &[Do::Back, Do::Ask, Do::Raw, Do::Next, Do::Help],
            Tab::Queue if s.full => &[
                Do::Claim,
                Do::Triage,
                Do::Evidence,
                Do::Accept,
                Do::Disagree,
                Do::Ask,
                Do::Close,
                Do::Propose,
                Do::Playbook,
                Do::ToOpinion,
                Do::Raw,
                Do::Next,
                Do::Help,
                Do::Note,
                Do::NextSection,
                Do::Back,
            ],
            Tab::Queue => &[
                Do::Open,
                Do::Claim,
                Do::Triage,
                Do::Close,
                Do::Playbook,
                Do::Filter,
                Do::Help,
                Do::Propose,
                Do::Snooze,
                Do::Mark,
                Do::Palette,
                Do::Undo,
                Do::Note,
                Do::Pivot,
                Do::Raw,
            ],
            Tab::Cases if s.full => &[
                Do::CaseRun,
                Do::CloseCase,
                Do::CasePlaybook,
                Do::CaseAlerts,
                Do::ReopenCase,
                Do::Down,
                Do::Back,
                Do::Help,
            ],
            Tab::Cases => &[
                Do::Open,
                Do::CasePlaybook,
                Do::CaseAlerts,
                Do::CloseCase,
                Do::NextPage,
                Do::Palette,
                Do::Help,
                Do::Back,
            ],
            Tab::Playbooks if s.full => &[
                Do::CloseCase,
                Do::StepDecide,
                Do::StepRetry,
                Do::StepSign,
                Do::StepDone,
                Do::StepQuery,
                Do::StepPropose,
                Do::StepRequest,
                Do::StepAttach,
                Do::StepNote,
                Do::StepSkip,
                Do::StepFailed,
                Do::StepTake,
                Do::StepAsk,
                Do::Deadlines,
                Do::StepDown,
                Do::RunCase,
                Do::RunSheet,
                Do::Back,
                Do::StepAssign,
                Do::CancelPlaybook,
                Do::Help,
            ],
            Tab::Playbooks => &[Do::Open, Do::Drafts, Do::NextPage, Do::Refresh, Do::Palette, Do::Help, Do::Back],
            Tab::Approvals => &[
                Do::Open,
                Do::Execute,
                Do::Deny,
                Do::SubmitRequest,
                Do::EditRequest,
                Do::Withdraw,
                Do::KillSwitch,
                Do::Palette,
                Do::Help,
            ],
            Tab::Rollouts if s.full => &[
                Do::Back,
                Do::RolloutPropose,
                Do::RolloutAbort,
                Do::RolloutRequest,
                Do::Down,
                Do::PageDown,
                Do::NextItem,
                Do::Help,
            ],
            Tab::Rollouts => &[
                Do::Open,
                Do::RolloutPropose,
                Do::RolloutAbort,
                Do::RolloutRequest,
                Do::DetailDown,
                Do::Palette,
                Do::Help,
                Do::Back,
            ],
            Tab::Backups if s.full => {
                &[Do::Back, Do::BackupPropose, Do::BackupEvidence, Do::Down, Do::PageDown, Do::NextItem, Do::Help]
            }
            Tab::Backups => {
                &[Do::Open, Do::BackupPropose, Do::BackupEvidence, Do::DetailDown, Do::Palette, Do::Help, Do::Back]
            }
            Tab::Slo | Tab::Sla | Tab::Checklists if s.full => {
                &[Do::Back, Do::Down, Do::PageDown, Do::NextItem, Do::PreviousItem, Do::Palette, Do::Help]
            }
            Tab::Slo | Tab::Sla | Tab::Checklists => {
                &[Do::Open, Do::NextPage, Do::DetailDown, Do::Refresh, Do::Palette, Do::Help, Do::Back]
            }
            Tab::Views => &[Do::Open, Do::NextPage, Do::DropView, Do::Palette, Do::Help, Do::Back],
            Tab::Suppressions => {
                &[Do::AddSuppression, Do::NextPage, Do::EndSuppression, Do::Open, Do::Palette, Do::Help]
            }
            Tab::Status => &[Do::KillSwitch, Do::Theme, Do::Refresh, Do::Palette, Do::Help],
            Tab::Triage => &[Do::CancelQueue, Do::Refresh, Do::PageDown, Do::Palette, Do::Help, Do::Back],
        },
    }
}

fn footer(c: &mut Canvas<'_>, panes: &Panes) {
    let area = panes.footer;
    let s = c.state;
    c.ground = Some(Role::Bar);
    c.fill(area, Role::Bar);
    let mut x = area.x + 1;
    let end = area.right().saturating_sub(1);
    if let Some(n) = &s.notice {
        c.put(x, area.y, end - x, &n.text, n.role);
        c.ground = None;
        return;
    }
    if let Live::Stale { why, .. } = &s.live {
        c.put(x, area.y, end - x, &say!("STALE: ", why, "   reading goes on with what is here"), Role::Critical);
        c.ground = None;
        return;
    }
    let scopes = action::scopes(s);
    for act in hints(s) {
        if act.enabled(s).is_err() {
            continue;
        }
        let chord = s.look.keymap.hint(*act, scopes).or_else(|| s.look.keymap.hint(*act, &[Scope::Global]));
        let Some(chord) = chord else { continue };
        let (key, title) = (Said::of(&chord), say!(act.title()));
        let need = (key.width() + title.width() + 1) as u16;
        if x + need > end {
            break;
        }
        x = c.put(x, area.y, end - x, &key, Role::Accent);
        x = c.put(x + 1, area.y, end - x - 1, &title, Role::Dim) + 2;
    }
    c.ground = None;
}

/// The box of what an unfinished chord can become.
fn which_keys(c: &mut Canvas<'_>, panes: &Panes) {
    let s = c.state;
    if s.chord.is_empty() {
        return;
    }
    let Lookup::Pending(next) = s.look.keymap.look_up(action::scopes(s), &s.chord) else { return };
    let rows = next.len().min(usize::from(panes.footer.y.saturating_sub(4))) as u16;
    let area = Rect::new(0, panes.footer.y.saturating_sub(rows + 2), 44.min(panes.footer.width), rows + 2);
    c.frame(area, &say!(Said::of(&chord_text(&s.chord)), " then"), Role::Accent);
    for (i, (key, act)) in next.iter().take(usize::from(rows)).enumerate() {
        let y = area.y + 1 + i as u16;
        let at = c.put(area.x + 2, y, 10, &Said::of(&chord_text(&[*key])).padded(9), Role::Accent);
        let what = act.map_or("more", Do::title);
        c.put(at + 1, y, area.right().saturating_sub(at + 2), &say!(what), Role::Text);
    }
}

// --- what every pane shares --------------------------------------------------------------------

/// Lines for a pane that has nothing to show: waiting, broken, or empty with what would fill it.
fn state_of_load(c: &mut Canvas<'_>, area: Rect, load: &Load, what: &'static str, empty: &[Said]) {
    let now = c.state.now;
    let (lines, role): (Vec<Said>, Role) = match load {
        Load::Waiting { since } => {
            let waited = now.as_second() - since.as_second();
            let mut said = say!("loading ", what, " from the store");
            if waited > 1 {
                said.push(&say!(", for ", Said::span(waited)));
            }
            (vec![said], Role::Dim)
        }
        Load::Broken { what: why, since, last_good } => {
            let good = match last_good {
                Some(t) => say!("last good at ", Clock(*t)),
                None => say!("it has not worked yet in this session"),
            };
            let lines = vec![
                say!(what, " cannot be shown: ", why),
                say!("since ", Clock(*since), "; ", good, "; tried again when something changes, or on refresh"),
                say!("what is on the other tabs still works"),
            ];
            (lines, Role::Bad)
        }
        Load::Ready { .. } => (empty.to_vec(), Role::Dim),
    };
    let width = usize::from(area.width.saturating_sub(4));
    let mut y = area.y + (area.height / 4).min(4);
    for (i, line) in lines.iter().enumerate() {
        for part in line.wrap(width) {
            if y < area.bottom() {
                let role = if i == 0 || role == Role::Dim { role } else { Role::Dim };
                c.put(area.x + 2, y, area.width.saturating_sub(4), &part, role);
            }
            y += 1;
        }
    }
}

/// `12-40 of 120`, for a text longer than its pane.
fn extent(scroll: usize, shown: usize, all: usize) -> Said {
    if all <= shown {
        return Said::new();
    }
    say!(" ", scroll + 1, "-", (scroll + shown).min(all), " of ", all, " ")
}

fn doc_rows(c: &mut Canvas<'_>, area: Rect, rows: &[DocRow], scroll: usize) {
    rows_from(c, area, |at| rows.get(at), scroll);
}

fn rows_from<'r>(c: &mut Canvas<'_>, area: Rect, row: impl Fn(usize) -> Option<&'r DocRow>, scroll: usize) {
    for i in 0..area.height {
        let Some(row) = row(scroll + usize::from(i)) else { return };
        c.row(area.x, area.y + i, area.width, row);
    }
}

/// The key of an action as it is bound now, for sentences.
fn key_of(s: &State, act: Do) -> Said {
    match s.look.keymap.hint(act, &Scope::ALL) {
        Some(k) => Said::of(&k),
        None => say!(":", act.word()),
    }
}
