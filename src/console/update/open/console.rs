//! What opens for the console itself: commands, help, looks, people, views.

use super::super::super::action::{self, ACTIONS, Danger, Scope};
use super::super::super::keymap::chord_text;
use super::super::super::layout;
use super::super::super::state::doc::Doc;
use super::super::super::state::input::Input;
use super::super::super::state::overlay::{Form, Pick, PickItem, Purpose, Sheet};
use super::super::super::state::{Overlay, State};
use super::super::super::theme::Role;
use super::super::super::words::{Said, say};
use super::super::keys;
use super::{form, item, pick};
use crate::model::query::SortKey;

pub fn palette(state: &mut State) {
    let scopes = action::scopes(state);
    let mut items: Vec<PickItem> = ACTIONS
        .iter()
        .filter(|a| !matches!(a.scope, Scope::Form | Scope::Picker | Scope::List))
        .filter(|a| !(state.read_only && a.danger > Danger::Reads))
        .map(|a| {
            let near = a.scope == Scope::Global || scopes.contains(&a.scope);
            let hint = state.look.keymap.hint(a.id, &Scope::ALL).unwrap_or_default();
            let disabled = if near { a.id.enabled(state).err() } else { Some(say!("works under ", a.scope.title())) };
            let detail = say!(Said::of(&hint).padded(10), " ", a.help);
            PickItem { pick: Pick::Run(a.id), label: say!(a.word), detail, disabled }
        })
        .collect();
    items.sort_by_key(|i| i.disabled.is_some());
    pick(state, say!("Command"), items, Vec::new());
}

pub fn help(state: &mut State) {
    let (width, _) = layout::sheet_size(state);
    let scopes = action::scopes(state).to_vec();
    let mut doc = Doc::new(width);
    let rest = Scope::ALL.into_iter().filter(|s| !scopes.contains(s));
    for scope in scopes.iter().copied().chain(rest) {
        let rows: Vec<_> = ACTIONS.iter().filter(|a| a.scope == scope).collect();
        if rows.is_empty() {
            continue;
        }
        let here = scopes.contains(&scope);
        doc.heading(if here { say!(scope.title()) } else { say!(scope.title(), "  (not here)") });
        for a in rows {
            if state.read_only && a.danger > Danger::Reads {
                continue;
            }
            let chords = state.look.keymap.chords(a.id, &Scope::ALL);
            let mut shown = Said::new();
            for c in chords.iter().take(3) {
                if !shown.is_empty() {
                    shown.push(&"  ");
                }
                shown.push(&Said::of(&chord_text(c)));
            }
            if chords.is_empty() {
                shown = say!(":", a.word);
            }
            let mut text = say!(a.help);
            if here && let Err(why) = a.id.enabled(state) {
                text.push(&say!("  [not now: ", why, "]"));
            }
            doc.labelled(shown, 18, &text, Role::Text);
        }
    }
    doc.heading(say!("Filter language"));
    for (example, meaning) in FILTER_HELP {
        doc.labelled(say!(*example), 24, &say!(*meaning), Role::Text);
    }
    let title = say!("Keys of the ", Said::of(&state.look.keymap.name), " keymap");
    state.overlays.push(Overlay::Sheet(Box::new(Sheet { title, doc, scroll: 0 })));
}

const FILTER_HELP: &[(&str, &str)] = &[
    ("powershell fin-ws", "free words: title, entities or raw bytes hold all of them"),
    ("sev>=high  prio:P0", "severity and priority, with < <= = >= >"),
    ("host:web-*  user:bob", "a field; * stands for anything; also rule, title, process, src, dst, format, source"),
    ("status:new  owner:me", "who has it and how far it is; owner:none is nobody"),
    ("tech:T1059", "ATT&CK technique with its sub-techniques"),
    ("age<2h  count>5", "since it came in; how often"),
    ("not src:10.0.0.0/8", "not, or, and ( )"),
];

pub fn themes(state: &mut State) {
    let items = state
        .look
        .themes
        .iter()
        .map(|n| {
            let now = if *n == state.look.theme.name { say!("in use") } else { Said::new() };
            item(Pick::Theme(n.clone()), Said::of(n), now)
        })
        .collect();
    pick(state, say!("Theme"), items, Vec::new());
}

pub fn columns(state: &mut State) {
    let all: Vec<&str> = super::super::super::columns::COLUMNS.iter().map(|c| c.word).collect();
    let f = Form::new(Purpose::Columns, say!("Columns of the queue"))
        .lead(say!("there are ", Said::of(&all.join(" "))), Role::Dim)
        .text("columns", Input::line(&keys::column_names(state)), say!("in this order"), true);
    form(state, f, Vec::new());
}

pub fn people_to_be(state: &mut State) {
    let items = state
        .switchable
        .iter()
        .map(|p| item(Pick::Person(p.id.clone()), say!(p.id), say!(Said::of(&p.name), ", ", p.main_role())))
        .collect();
    pick(state, say!("Act as (demo only)"), items, Vec::new());
}

pub fn kill_switch(state: &mut State) {
    let on = state.facts.kill.is_none();
    let (title, word, lead) = if on {
        (
            say!("KILL SWITCH: stop all execution"),
            "stop",
            say!(
                "No action starts any more, and what runs is told to stop, until somebody turns it off. It survives restarts."
            ),
        )
    } else {
        (say!("Turn the kill switch off"), "resume", say!("Approved requests can run again."))
    };
    let f = Form::new(Purpose::KillSwitch { on }, title).lead(lead, Role::Warn).text(
        "word",
        Input::line(""),
        say!("type ", word),
        true,
    );
    form(state, f, Vec::new());
}

// --- the queue ---------------------------------------------------------------------------------

pub fn sorts(state: &mut State) {
    let items = SortKey::ALL
        .into_iter()
        .map(|k| {
            let what = match k {
                SortKey::Risk => say!("severity x asset x confidence x age, riskiest first"),
                SortKey::Newest => say!("what came in last"),
                SortKey::Oldest => say!("what came in first"),
                SortKey::Severity => say!("most severe first, then newest"),
            };
            item(Pick::Sort(k), say!(k.word()), what)
        })
        .collect();
    pick(state, say!("Order by"), items, Vec::new());
}

pub fn views(state: &mut State) {
    let items = state
        .views
        .rows
        .iter()
        .map(|v| {
            let count = match &v.count {
                Ok(c) if c.exact => say!(c.n),
                Ok(c) => say!(c.n, "+"),
                Err(_) => say!("!"),
            };
            let detail = say!(count.padded(7), Said::of(&v.view.query));
            item(Pick::View(v.view.name.clone()), Said::of(&v.view.name), detail)
        })
        .collect();
    pick(state, say!("View"), items, Vec::new());
}

pub fn save_view(state: &mut State) {
    let name = state.queue.view.clone().unwrap_or_default();
    let f = Form::new(Purpose::SaveView, say!("Save this view"))
        .lead(say!("filter ", Said::of(&state.queue.text)), Role::Dim)
        .lead(say!("order  ", state.queue.sort.word()), Role::Dim)
        .text("name", Input::line(&name), say!("the same name replaces"), true);
    form(state, f, Vec::new());
}
