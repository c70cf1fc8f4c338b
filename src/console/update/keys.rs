//! Keys, pastes and the mouse: to the focused input, or through the keymap to an action.

use super::super::action::{self, Danger, Do, Scope};
use super::super::columns;
use super::super::keymap::{Code, Key, Lookup, chord_text};
use super::super::layout;
use super::super::state::input::Input;
use super::super::state::overlay::{FieldKind, FilterInput, RawMode};
use super::super::state::queue::MARK_CAP;
use super::super::state::{Live, Overlay, Reveal, State, Tab};
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::{
    Effect, Out, acts, approvals, cases, drafts, forms, go_to, kept, lists, open, platform, playbooks, queue, refresh,
    steps, submit, triage,
};
use crate::model::act::Act;

pub fn key(state: &mut State, key: Key, out: &mut Out) {
    state.which_keys = false;
    if let Some(Overlay::Decide(_)) = state.overlays.last()
        && approvals::key(state, key, out)
    {
        return;
    }
    state.notice = None;
    let scopes = action::scopes(state);
    let mut chord = std::mem::take(&mut state.chord);
    if !chord.is_empty() && key.code == Code::Esc {
        return;
    }
    chord.push(key);
    match state.look.keymap.clone().look_up(scopes, &chord) {
        // In a text field a plain character is always text.
        Lookup::Found(_) | Lookup::Pending(_) if chord.len() == 1 && key.typed().is_some() && typing(state) => {
            to_input(state, key, out);
        }
        Lookup::Found(act) => run(state, act, out),
        Lookup::Pending(_) => state.chord = chord,
        Lookup::Nothing if chord.len() == 1 && to_input(state, key, out) => {}
        Lookup::Nothing => {
            let help = state.look.keymap.hint(Do::Help, &[Scope::Global]).unwrap_or_default();
            let said = say!(Said::of(&chord_text(&chord)), " does nothing here; ", Said::of(&help), " shows the keys");
            state.tell(Role::Dim, said);
        }
    }
}

/// The focus is on something that takes characters.
fn typing(state: &State) -> bool {
    matches!(state.overlays.last(), Some(Overlay::Form(_) | Overlay::Filter(_) | Overlay::Picker(_)))
}

/// Gives the key to the focused input. False: nothing takes it.
fn to_input(state: &mut State, key: Key, out: &mut Out) -> bool {
    match state.overlays.last_mut() {
        Some(Overlay::Filter(f)) => {
            if f.input.key(key) {
                f.input.older = None;
                out.push(Effect::Parse { text: f.input.text(), apply: false });
            }
            true
        }
        Some(Overlay::Picker(p)) => {
            if p.input.key(key) {
                p.narrow();
            }
            true
        }
        Some(Overlay::Form(_)) => {
            forms::key(state, key, out);
            true
        }
        _ => false,
    }
}

/// A paste goes to the focused text and to nothing else.
pub fn paste(state: &mut State, text: &str, out: &mut Out) {
    match state.overlays.last_mut() {
        Some(Overlay::Filter(f)) => {
            f.input.paste(text);
            out.push(Effect::Parse { text: f.input.text(), apply: false });
        }
        Some(Overlay::Picker(p)) => {
            p.input.paste(text);
            p.narrow();
        }
        Some(Overlay::Form(f)) if f.busy.is_none() => {
            if let Some(FieldKind::Text(i)) = f.fields.get_mut(f.focus).map(|f| &mut f.kind) {
                i.paste(text);
            }
            forms::edited(state, out);
        }
        Some(Overlay::Decide(_)) => state.tell(Role::Warn, say!("a paste decides nothing")),
        _ => state.tell(Role::Dim, say!("nothing here takes a paste")),
    }
}

pub fn wheel(state: &mut State, up: bool, out: &mut Out) {
    if !matches!(state.overlays.last(), Some(Overlay::Form(_) | Overlay::Filter(_))) {
        let by = if up { -3 } else { 3 };
        move_by(state, by, out);
    }
}

/// A click moves the cursor or changes the tab. It never acts and never decides.
pub fn click(state: &mut State, x: u16, y: u16, out: &mut Out) {
    if !state.overlays.is_empty() {
        return;
    }
    let panes = layout::panes(state);
    if y == panes.tabs.y {
        if let Some(tab) = super::super::view::tab_at(state, x) {
            go_to(state, tab, out);
        }
        return;
    }
    let list = panes.list;
    if state.tab == Tab::Queue && !state.full && y > list.y && y < list.bottom() && x < list.right() {
        let row = state.queue.scroll + usize::from(y - list.y - 1);
        if row < state.queue.rows.len() {
            let at = state.queue.cursor_index().unwrap_or(0);
            queue::step(state, row as isize - at as isize);
        }
    }
}

/// Runs an action, or says why not.
pub fn run(state: &mut State, act: Do, out: &mut Out) {
    if let Err(why) = act.enabled(state) {
        state.tell(Role::Warn, say!(act.title(), ": ", why));
        return;
    }
    let on_alert = act.action().scope == Scope::Alert;
    if on_alert && act.action().danger > Danger::Reads && queue::moved_just_now(state) {
        state.tell(Role::Warn, say!("another alert just came under the cursor: look, then press again"));
        queue::freeze(state);
        return;
    }
    if on_alert {
        queue::freeze(state);
    }
    perform(state, act, out);
}

fn perform(state: &mut State, act: Do, out: &mut Out) {
    match act {
        Do::Quit => state.quitting = true,
        Do::Help => open::help(state),
        Do::Palette => open::palette(state),
        Do::Back => back(state, out),
        Do::Suspend => out.push(Effect::Suspend),
        Do::Repaint => state.repaint = true,
        Do::Refresh => refresh(state, out),
        Do::Redraw => state.which_keys = true,
        Do::Pause => pause(state, out),
        Do::TabQueue => go_to(state, Tab::Queue, out),
        Do::TabCases => to_tab(state, Tab::Cases, out),
        Do::TabPlaybooks => go_to(state, Tab::Playbooks, out),
        Do::TabApprovals => go_to(state, Tab::Approvals, out),
        Do::TabSlo => to_tab(state, Tab::Slo, out),
        Do::TabSla => go_to(state, Tab::Sla, out),
        Do::TabChecklists => go_to(state, Tab::Checklists, out),
        Do::TabRollouts => go_to(state, Tab::Rollouts, out),
        Do::TabBackups => go_to(state, Tab::Backups, out),
        Do::TabLists => to_tab(state, Tab::Views, out),
        Do::TabViews => go_to(state, Tab::Views, out),
        Do::TabSuppressions => go_to(state, Tab::Suppressions, out),
        Do::TabStatus => go_to(state, Tab::Status, out),
        Do::TabTriage => go_to(state, Tab::Triage, out),
        Do::NextTab => turn(state, 1, out),
        Do::PreviousTab => turn(state, Tab::BAR.len() - 1, out),
        Do::Undo => {
            if let Some(by) = state.my_id().cloned() {
                out.push(Effect::Undo { by });
            }
        }
        Do::Theme => open::themes(state),
        Do::Columns => open::columns(state),
        Do::SwitchPerson => open::people_to_be(state),
        Do::KillSwitch => open::kill_switch(state),
        Do::Up => move_by(state, -1, out),
        Do::Down => move_by(state, 1, out),
        Do::PageUp => move_by(state, -page(state), out),
        Do::PageDown => move_by(state, page(state), out),
        Do::Top => jump(state, false, out),
        Do::Bottom => jump(state, true, out),
        Do::Open => lists::open(state, out),
        _ => perform_more(state, act, out),
    }
}

fn perform_more(state: &mut State, act: Do, out: &mut Out) {
    match act {
        Do::Filter => {
            // What is typed next is a word of its own.
            let gap = if state.queue.text.is_empty() { "" } else { " " };
            let input = Input::line(&format!("{}{gap}", state.queue.text));
            out.push(Effect::Parse { text: input.text(), apply: false });
            state.overlays.push(Overlay::Filter(Box::new(FilterInput { input, parsed: None })));
        }
        Do::ClearFilter => {
            let (text, sort) = state.queue.home.clone();
            state.queue.sort = sort;
            state.queue.view = None;
            out.push(Effect::Parse { text, apply: true });
        }
        Do::Sort => open::sorts(state),
        Do::Mark => queue::mark(state),
        Do::MarkAll => {
            let q = &state.queue;
            out.push(Effect::AllIds { generation: q.generation, query: q.query.clone(), sort: q.sort });
            state.tell(Role::Dim, say!("marking, up to ", MARK_CAP));
        }
        Do::ClearMarks => state.queue.marks.clear(),
        Do::PickView => open::views(state),
        Do::SaveView => open::save_view(state),
        Do::Next => queue::step(state, 1),
        Do::Previous => queue::step(state, -1),
        Do::Claim => simple(state, Act::Claim, out),
        Do::Release => simple(state, Act::Release, out),
        Do::Reopen => simple(state, Act::Reopen, out),
        Do::Wake => simple(state, Act::Wake, out),
        Do::Detach => simple(state, Act::Detach, out),
        Do::Assign => open::assign(state),
        Do::Close => open::close(state),
        Do::Snooze => open::snooze(state),
        Do::Note => open::note(state),
        Do::Prioritise => open::prioritise(state),
        Do::Merge => open::merge(state, out),
        Do::Triage => triage::triage(state, None, out),
        Do::TriageRules => triage::triage(state, Some("rules"), out),
        Do::TriageFilter => triage::triage_filter(state, out),
        Do::CancelTriage => triage::cancel(state, out),
        Do::Ask => triage::open_ask(state),
        Do::Accept => triage::accept(state, out),
        Do::Disagree => triage::disagree(state),
        Do::Exchanges => out.extend(state.alert_in_hand().map(Effect::Exchanges)),
        Do::Propose => open::propose(state),
        Do::Draft
        | Do::CaseDraft
        | Do::Drafts
        | Do::ApproveDraft
        | Do::EditDraft
        | Do::RejectDraft
        | Do::StepAsk
        | Do::CancelDraft => {
            drafts::act(state, act, out);
        }
        Do::StepQuery => steps::search(state, out),
        Do::Playbook | Do::CasePlaybook => playbooks::offer(state, out),
        Do::CaseAlerts => cases::alerts(state, out),
        Do::CaseRun => cases::its_run(state, out),
        Do::CloseCase => cases::close(state, out),
        Do::ReopenCase => cases::reopen(state),
        Do::RunCase => {
            if let Some(id) = cases::in_hand(state) {
                cases::show(state, id, out);
            }
        }
        Do::Suppress => open::suppress(state, true, out),
        Do::Pivot => open::pivot(state),
        Do::Explain => open::explain(state),
        Do::Raw => open::raw(state, RawMode::Text, out),
        Do::Hex => open::raw(state, RawMode::Hex, out),
        Do::Fields => open::raw(state, RawMode::Fields, out),
        Do::CopyId => {
            if let Some(id) = state.alert_in_hand() {
                out.push(Effect::Copy(say!(id)));
            }
        }
        Do::CopyValue => open::copy(state),
        _ => perform_rest(state, act, out),
    }
}

fn perform_rest(state: &mut State, act: Do, out: &mut Out) {
    match act {
        Do::ScrollDown => scroll_detail(state, 1),
        Do::ScrollUp => scroll_detail(state, -1),
        Do::NextSection => section(state, true),
        Do::PreviousSection => section(state, false),
        Do::NextClaim => open::walk_claims(state, 1, out),
        Do::PreviousClaim => open::walk_claims(state, -1, out),
        Do::Evidence => open::evidence(state, 1, out),
        Do::EvidenceBefore => open::evidence(state, -1, out),
        Do::ToOpinion => {
            let rows = usize::from(layout::columns(state).0.height);
            let d = &mut state.detail;
            if d.shown.as_ref().map(|s| s.alert.id) != d.wanted {
                // It is still being loaded: there when it is.
                d.reveal = Some(Reveal::Opinion);
                return;
            }
            // To its top, wherever one stands; from there back to the facts.
            let at = if d.aside { 0 } else { d.gap };
            let at = at.min(d.lines().saturating_sub(rows));
            d.scroll = if d.scroll == at { 0 } else { at };
            d.side_scroll = 0;
        }
        Do::CancelQueue => {
            if let Some(by) = state.my_id().cloned() {
                out.push(Effect::CancelQueue { by });
            }
        }
        Do::Related => open::related(state),
        Do::RolloutPropose => acts::on_rollout(state),
        Do::RolloutAbort => acts::abort(state, out),
        Do::RolloutRequest => acts::its_request(state, out),
        Do::BackupPropose => acts::on_backup(state),
        Do::BackupEvidence => acts::evidence(state),
        Do::Execute => approvals::open(state, true, out),
        Do::OverBudget => open::over_budget(state),
        Do::Deny => open::deny(state),
        Do::AskBack => open::ask_back(state),
        Do::BreakGlass => open::break_glass(state),
        Do::GlassReview => open::review_glass(state),
        Do::Withdraw => approvals::withdraw(state, out),
        Do::EditRequest => kept::edit(state, out),
        Do::SubmitRequest => kept::submit(state, out),
        Do::RetryFailed => approvals::follow(state, false, out),
        Do::UndoRequest => approvals::follow(state, true, out),
        Do::Reread => approvals::reread(state, out),
        Do::TypeName => {
            if let Some(Overlay::Decide(d)) = state.overlays.last_mut() {
                d.typing = true;
            }
        }
        Do::NextPage => turn_page(state, 1, out),
        Do::PreviousPage => turn_page(state, state.tab.pages().len() - 1, out),
        Do::DetailDown => platform::scroll(state, 1),
        Do::DetailUp => platform::scroll(state, -1),
        Do::NextItem => platform::walk(state, 1),
        Do::PreviousItem => platform::walk(state, -1),
        Do::DropView => lists::drop_view(state, out),
        Do::AddSuppression => open::suppress(state, false, out),
        Do::EndSuppression => lists::end_suppression(state, out),
        Do::FormNext => forms::focus(state, 1),
        Do::FormPrevious => forms::focus(state, -1),
        Do::FormSubmit => submit::submit(state, out),
        Do::FormKeep => kept::keep(state, out),
        Do::FormEnter => submit::enter(state, out),
        Do::FormNewline => forms::newline(state),
        Do::FormOlder => forms::older(state, -1, out),
        Do::FormNewer => forms::older(state, 1, out),
        Do::PickUp | Do::PickDown => {
            if let Some(Overlay::Picker(p)) = state.overlays.last_mut()
                && !p.shown.is_empty()
            {
                let n = p.shown.len();
                p.at = if act == Do::PickUp { (p.at + n - 1) % n } else { (p.at + 1) % n };
            }
        }
        Do::PickTake => submit::take(state, out),
        other => playbooks::act(state, other, out),
    }
}

fn simple(state: &mut State, act: Act, out: &mut Out) {
    let ids = state.alerts_in_hand();
    queue::act(state, act, ids, out);
}

fn pause(state: &mut State, out: &mut Out) {
    if matches!(state.live, Live::Paused) {
        state.live = Live::Live;
        queue::reload_in_place(state, out);
        state.tell(Role::Info, say!("live again"));
    } else {
        state.live = Live::Paused;
        state.tell(
            Role::Warn,
            say!("paused: the queue shows what was there at ", super::super::words::Clock(state.now)),
        );
    }
}

/// One step back at a time: what lies on top, the open alert, marks, the filter.
fn back(state: &mut State, out: &mut Out) {
    if let Some(top) = state.overlays.pop() {
        // Following goes on where it stopped while something was open.
        if let Overlay::Form(f) = top
            && f.busy.is_some()
        {
            state.tell(Role::Warn, say!("it was sent already; the answer will be told here"));
        }
        return;
    }
    if triage::escape(state, out) {
        return;
    }
    if state.full {
        state.full = false;
    } else if state.tab != Tab::Queue {
        go_to(state, Tab::Queue, out);
    } else if !state.queue.marks.is_empty() {
        state.queue.marks.clear();
        state.tell(Role::Dim, say!("marks cleared"));
    } else if state.queue.text != state.queue.home.0 || state.queue.sort != state.queue.home.1 {
        perform_more(state, Do::ClearFilter, out);
    } else {
        let key = state.look.keymap.hint(Do::Quit, &[Scope::Global]).unwrap_or_default();
        state.tell(Role::Dim, say!("nothing to go back to; ", Said::of(&key), " leaves the console"));
    }
}

fn turn(state: &mut State, by: usize, out: &mut Out) {
    let pages = Tab::BAR[(state.tab.at() + by) % Tab::BAR.len()];
    go_to(state, pages[0], out);
}

/// The number of a tab that is in front already turns its page.
fn to_tab(state: &mut State, tab: Tab, out: &mut Out) {
    if state.tab.at() == tab.at() && state.overlays.is_empty() && !state.full {
        turn_page(state, 1, out);
    } else {
        go_to(state, tab, out);
    }
}

fn turn_page(state: &mut State, by: usize, out: &mut Out) {
    let pages = state.tab.pages();
    let at = pages.iter().position(|t| *t == state.tab).unwrap_or(0);
    go_to(state, pages[(at + by) % pages.len()], out);
}

fn page(state: &State) -> isize {
    let rows = match state.overlays.last() {
        Some(Overlay::Raw(_)) => layout::raw_size(state).1,
        Some(Overlay::Review(_)) => layout::review_size(state).1,
        Some(_) => layout::sheet_size(state).1,
        None if state.tab == Tab::Queue && state.full => layout::detail_rows(state),
        None if state.tab == Tab::Queue => layout::queue_rows(state),
        None => usize::from(layout::body(state).height),
    };
    (rows as isize - 1).max(1)
}

fn scroll(at: usize, by: isize, lines: usize, shown: usize) -> usize {
    let last = lines.saturating_sub(shown) as isize;
    (at as isize).saturating_add(by).min(last).max(0) as usize
}

/// Moves whatever has a cursor or a scroll position.
pub fn move_by(state: &mut State, by: isize, out: &mut Out) {
    let raw = layout::raw_size(state).1;
    let sheet = layout::sheet_size(state).1;
    let review = layout::review_size(state).1;
    match state.overlays.last_mut() {
        Some(Overlay::Raw(v)) => {
            v.scroll = scroll(v.scroll, by, v.lines(), raw);
            return;
        }
        Some(Overlay::Sheet(s)) => {
            s.scroll = scroll(s.scroll, by, s.doc.rows.len(), sheet);
            return;
        }
        Some(Overlay::Review(r)) => {
            r.scroll = scroll(r.scroll, by, r.doc.rows.len(), review);
            return;
        }
        Some(Overlay::Picker(p)) => {
            p.at = scroll(p.at, by, p.shown.len(), 1);
            return;
        }
        Some(Overlay::Decide(d)) => {
            d.scroll = scroll(d.scroll, by, 10_000, 1);
            return;
        }
        Some(_) => return,
        None => {}
    }
    match state.tab {
        Tab::Queue if state.full => {
            let rows = layout::detail_rows(state);
            state.detail.scroll = scroll(state.detail.scroll, by, state.detail.lines(), rows);
        }
        Tab::Queue => {
            queue::step(state, by);
            // Stepping up against the top edge is how one asks for what is new above.
            if by < 0 && state.queue.cursor_index() == Some(0) && state.queue.new_above > 0 && by == -1 {
                refresh(state, out);
            }
        }
        _ => lists::step(state, by),
    }
}

fn jump(state: &mut State, end: bool, out: &mut Out) {
    if state.overlays.is_empty() && state.tab == Tab::Queue && !state.full {
        if end {
            queue::bottom(state, out);
        } else {
            queue::top(state, out);
        }
        return;
    }
    move_by(state, if end { isize::MAX / 2 } else { isize::MIN / 2 }, out);
}

fn scroll_detail(state: &mut State, way: isize) {
    let rows = layout::detail_rows(state);
    let by = way * (rows as isize / 2).max(1);
    let d = &mut state.detail;
    if d.aside {
        // The other keys move the main column.
        d.side_scroll = scroll(d.side_scroll, by, d.opinion.doc.rows.len(), rows);
    } else {
        d.scroll = scroll(d.scroll, by, d.lines(), rows);
    }
}

fn section(state: &mut State, forward: bool) {
    let d = &mut state.detail;
    let sections = d.sections();
    let to =
        if forward { sections.iter().find(|s| **s > d.scroll) } else { sections.iter().rev().find(|s| **s < d.scroll) };
    if let Some(to) = to {
        d.scroll = *to;
    }
}

/// Names of columns for the form, and back.
pub fn column_names(state: &State) -> String {
    state.look.columns.iter().map(|i| columns::COLUMNS[*i].word).collect::<Vec<_>>().join(" ")
}
