//! Opens what stands over a pane: forms, lists to pick from, explanations.

use super::super::action::{self, ACTIONS, Danger, Scope};
use super::super::keymap::chord_text;
use super::super::layout;
use super::super::state::doc::{self, Doc};
use super::super::state::input::Input;
use super::super::state::overlay::{Field, FieldKind, Form, Pick, PickItem, Picker, Purpose, RawView, Sheet};
use super::super::state::{Overlay, State};
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::{Effect, Out, keys, submit};
use crate::model::act::Act;
use crate::model::action::{ActionDef, ParamType};
use crate::model::alert::{AlertFields, Disposition, ObservableKind};
use crate::model::ids::AlertId;
use crate::model::priority::Priority;
use crate::model::query::SortKey;
use crate::model::risk;
use crate::text::{Untrusted, clean, defang};

fn item(pick: Pick, label: Said, detail: Said) -> PickItem {
    PickItem { pick, label, detail, disabled: None }
}

fn pick(state: &mut State, title: Said, items: Vec<PickItem>, alerts: Vec<AlertId>) {
    let mut p = Picker::new(title, items);
    p.alerts = alerts;
    state.overlays.push(Overlay::Picker(Box::new(p)));
}

fn form(state: &mut State, mut form: Form, alerts: Vec<AlertId>) {
    form.alerts = alerts;
    state.overlays.push(Overlay::Form(Box::new(form)));
}

/// `alert 12` or `14 alerts`.
fn which(ids: &[AlertId]) -> Said {
    match ids {
        [one] => say!("alert ", *one),
        many => say!(many.len(), " alerts"),
    }
}

// --- everywhere --------------------------------------------------------------------------------

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
    let all: Vec<&str> = super::super::columns::COLUMNS.iter().map(|c| c.word).collect();
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

pub fn pivot(state: &mut State) {
    let Some(row) = state.queue.row_in_hand() else { return };
    let mut items = Vec::new();
    let mut add = |word: &'static str, value: Option<Said>| {
        if let Some(v) = value {
            let quoted = if v.as_str().contains([' ', '"', ':', '(', ')']) {
                format!("{word}:\"{}\"", v.as_str().replace('"', "*"))
            } else {
                format!("{word}:{}", v.as_str())
            };
            items.push(item(Pick::Filter(quoted), say!("same ", word), v));
        }
    };
    add("rule", row.rule_id.as_ref().or(row.rule_name.as_ref()).map(Said::from_untrusted));
    add("host", row.host.as_ref().map(Said::from_untrusted));
    add("user", row.user.as_ref().map(Said::from_untrusted));
    add("src", row.src_ip.map(|ip| say!(ip)));
    add("dst", row.dst_ip.map(|ip| say!(ip)));
    add("tech", row.techniques.first().map(|t| Said::of(t)));
    add("case", row.case.map(|c| say!(c)));
    add("format", Some(Said::of(&row.format)));
    let group = state.detail.shown.as_ref().filter(|d| d.alert.id == row.id).map(|d| d.alert.group.clone());
    if let Some(g) = group {
        items.push(item(
            Pick::Filter(format!("group:{g}")),
            say!("same story"),
            say!("rule, host, user and address alike"),
        ));
    }
    pick(state, say!("Show alerts with the"), items, Vec::new());
}

pub fn explain(state: &mut State) {
    let (width, _) = layout::sheet_size(state);
    let Some(row) = state.queue.row_in_hand() else { return };
    let r = risk::explain(row.priority, row.asset_weight, row.confidence, row.t_ingest, state.now);
    let mut doc = Doc::new(width.min(76));
    doc.text(0, &say!(row.title), Role::Heading);
    doc.blank();
    let raised = if row.priority < row.detector_priority { "  (raised from the detector's)" } else { "" };
    doc.labelled(
        say!("severity"),
        13,
        &say!(Said::decimal(r.severity, 0), "   ", row.priority.word(), raised),
        Role::Text,
    );
    doc.pair(
        say!("x asset"),
        &say!(Said::decimal(r.asset, 2), "   weight ", row.asset_weight, " % from the inventory"),
        Role::Text,
    );
    let conf = match row.confidence {
        Some(c) => say!("the detector says ", c, " %"),
        None => say!("the detector gave none: 75 % is taken"),
    };
    doc.labelled(say!("x confidence"), 13, &say!(Said::decimal(r.confidence, 2), "   ", conf), Role::Text);
    let waited = Said::span(state.now.as_second() - row.t_ingest.as_second());
    doc.pair(
        say!("x age"),
        &say!(Said::decimal(r.age, 2), "   waiting for ", waited, ", doubles every 24 h"),
        Role::Text,
    );
    doc.labelled(say!("= risk"), 13, &Said::decimal(r.score, 1), Role::Heading);
    doc.blank();
    let text = "What waits grows, and all at the same pace, so the order of two alerts never changes with time alone. \
                Only a change of priority moves one.";
    doc.text(0, &say!(text), Role::Dim);
    state.overlays.push(Overlay::Sheet(Box::new(Sheet {
        title: say!("Why alert ", row.id, " stands here"),
        doc,
        scroll: 0,
    })));
}

// --- acts --------------------------------------------------------------------------------------

pub fn close(state: &mut State) {
    let ids = state.alerts_in_hand();
    let options = Disposition::ALL.into_iter().zip(['t', 'b', 'f', 'u']).map(|(d, k)| (k, say!(d.word()))).collect();
    let mut f = Form::new(Purpose::Close, say!("Close ", which(&ids)));
    if let ([_], Some(row)) = (ids.as_slice(), state.queue.row_in_hand()) {
        f = f.lead(say!(row.title), Role::Text);
        let past = state.detail.shown.as_ref().filter(|d| d.alert.id == row.id).and_then(|d| d.past.first());
        if let Some(p) = past.filter(|p| p.total > 0) {
            f = f.lead(say!("alike (", p.alike, "): ", doc::past_line(&p.counts, p.total)), Role::Dim);
        }
    }
    let f = f
        .choice("disposition", options, None)
        .text("reason", Input::line(""), say!("up for an older one"), true)
        .text("comment", Input::block(), say!("optional"), false);
    form(state, f, ids);
}

pub fn snooze(state: &mut State) {
    let ids = state.alerts_in_hand();
    let options = submit::presets(state.now).into_iter().map(|(k, words, _)| (k, words)).collect();
    let f = Form::new(Purpose::Snooze, say!("Snooze ", which(&ids))).choice("until", options, Some(1)).text(
        "reason",
        Input::line(""),
        say!("what is waited for"),
        false,
    );
    form(state, f, ids);
}

pub fn note(state: &mut State) {
    let ids = state.alerts_in_hand();
    let f = Form::new(Purpose::Note, say!("Note on ", which(&ids))).text("note", Input::block(), Said::new(), true);
    form(state, f, ids);
}

pub fn prioritise(state: &mut State) {
    let ids = state.alerts_in_hand();
    let options = Priority::ALL.into_iter().zip(['0', '1', '2', '3']).map(|(p, k)| (k, say!(p.word()))).collect();
    let now = state.queue.row_in_hand().map(|r| r.priority as usize);
    let f = Form::new(Purpose::Prioritise, say!("Priority of ", which(&ids))).choice("priority", options, now).text(
        "reason",
        Input::line(""),
        Said::new(),
        true,
    );
    form(state, f, ids);
}

pub fn assign(state: &mut State) {
    let ids = state.alerts_in_hand();
    let items = state
        .roster
        .people
        .iter()
        .filter(|p| !p.read_only())
        .map(|p| {
            let words = say!(Said::of(&p.name), ", ", p.main_role());
            item(Pick::Act(Act::Assign { to: p.id.clone() }), say!(p.id), words)
        })
        .collect();
    pick(state, say!("Give ", which(&ids), " to"), items, ids);
}

pub fn merge(state: &mut State, out: &mut Out) {
    let ids = state.alerts_in_hand();
    out.push(Effect::Cases);
    let mut items = vec![item(Pick::NewCase, say!("new case"), say!("with a title of its own"))];
    items.extend(state.cases.rows.iter().filter(|c| c.closed_at.is_none()).map(|c| {
        item(Pick::IntoCase(c.id), say!("#", c.id, "  ", c.title), say!(c.alerts, " alerts, opened by ", c.opened_by))
    }));
    pick(state, say!("Put ", which(&ids), " into"), items, ids);
}

pub fn new_case(state: &mut State, ids: Vec<AlertId>) {
    let title = state.queue.row_in_hand().map(|r| Said::from_untrusted(&r.title)).unwrap_or_default();
    let f = Form::new(Purpose::NewCase, say!("New case with ", which(&ids))).text(
        "title",
        Input::line(title.as_str()),
        Said::new(),
        true,
    );
    form(state, f, ids);
}

pub fn suppress(state: &mut State, from_alert: bool, out: &mut Out) {
    let mut query = String::new();
    if from_alert && let Some(row) = state.queue.row_in_hand() {
        let mut parts = Vec::new();
        for (word, value) in [("rule", row.rule_id.as_ref().or(row.rule_name.as_ref())), ("host", row.host.as_ref())] {
            if let Some(v) = value {
                let shown = clean(v);
                parts.push(format!("{word}:\"{}\"", shown.as_str().replace('"', "*")));
            }
        }
        query = parts.join(" ");
    }
    let options = submit::suppress_presets(state.now).into_iter().map(|(k, words, _)| (k, words)).collect();
    let f = Form::new(Purpose::Suppress, say!("Suppress alerts, in your name"))
        .lead(say!("They are kept and searchable, but leave the queue until it expires."), Role::Dim)
        .text("query", Input::line(&query), say!("as in the filter"), true)
        .text("reason", Input::line(""), Said::new(), true)
        .choice("until", options, Some(1));
    out.push(Effect::PreviewSuppression(query));
    form(state, f, Vec::new());
}

pub fn deny(state: &mut State) {
    let Some(r) = state.request_in_hand() else { return };
    let id = r.body.id.clone();
    let f = Form::new(Purpose::Deny(id), say!("Deny ", Said::of(&r.body.action)))
        .lead(say!("asked by ", r.body.requester), Role::Dim)
        .text("reason", Input::line(""), say!("the requester reads it"), true);
    form(state, f, Vec::new());
}

// --- proposing ---------------------------------------------------------------------------------

/// Values of the alert that could be a target of this kind.
fn entities(f: &AlertFields, kind: &ParamType) -> Vec<String> {
    let shown = |u: &Untrusted| clean(u).as_str().to_owned();
    let observed = |k: ObservableKind| f.observables.iter().filter(move |o| o.kind == k).map(|o| shown(&o.value));
    let mut all: Vec<String> = match kind {
        ParamType::Host => f.host.iter().map(shown).collect(),
        ParamType::User => f.user.iter().map(shown).chain(observed(ObservableKind::User)).collect(),
        ParamType::Ip => f
            .src_ip
            .iter()
            .chain(f.dst_ip.iter())
            .map(ToString::to_string)
            .chain(observed(ObservableKind::Ip))
            .collect(),
        ParamType::Domain => observed(ObservableKind::Domain).collect(),
        ParamType::Url => observed(ObservableKind::Url).collect(),
        ParamType::Sha256 => observed(ObservableKind::Sha256).collect(),
        ParamType::Integer { .. } | ParamType::Choice { .. } | ParamType::Text { .. } => Vec::new(),
    };
    all.retain(|v| !v.contains(char::is_whitespace));
    all.dedup();
    all
}

fn fields_in_hand(state: &State) -> Option<&AlertFields> {
    let id = state.alert_in_hand()?;
    state.detail.shown.as_ref().filter(|d| d.alert.id == id).map(|d| &d.alert.fields)
}

pub fn propose(state: &mut State) {
    let ids = state.alerts_in_hand();
    let suggested: Vec<String> = state
        .detail
        .shown
        .as_ref()
        .and_then(|d| d.verdicts.first())
        .map(|v| v.suggested_actions.clone())
        .unwrap_or_default();
    let mut items: Vec<(bool, PickItem)> = state
        .catalogue
        .iter()
        .map(|a| {
            let targets = fields_in_hand(state).map(|f| entities(f, &a.targets.kind)).unwrap_or_default();
            let fits = !targets.is_empty();
            let mut detail = say!(a.tier.word(), "  ", Said::of(&a.title));
            if suggested.contains(&a.name) {
                detail.push(&"  (suggested)");
            }
            if let Some(t) = targets.first() {
                detail.push(&say!("  on ", Said::of(t)));
            }
            (fits, item(Pick::Action(a.name.clone()), Said::of(&a.name), detail))
        })
        .collect();
    items.sort_by_key(|(fits, _)| !fits);
    pick(state, say!("Propose for ", which(&ids)), items.into_iter().map(|(_, i)| i).collect(), ids);
}

pub fn propose_form(state: &mut State, name: &str, ids: Vec<AlertId>) {
    let Some(def) = state.catalogue.iter().find(|a| a.name == name).cloned() else { return };
    let known = fields_in_hand(state).map(|f| entities(f, &def.targets.kind)).unwrap_or_default();
    // One target at first: a second one is a decision.
    let first = match def.targets.kind {
        ParamType::Ip => known.iter().find(|t| !private(t)).or(known.first()).cloned().unwrap_or_default(),
        _ => known.first().cloned().unwrap_or_default(),
    };
    let also: Vec<&String> = known.iter().filter(|t| **t != first).collect();
    let hint = if also.is_empty() {
        say!("at most ", def.targets.max, ", with spaces between")
    } else {
        say!("also seen: ", Said::of(&also.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" ")))
    };
    let mut f = Form::new(Purpose::Propose { action: def.name.clone() }, say!("Propose ", Said::of(&def.title)))
        .lead(say!(def.tier.word(), ", run by ", def.executor.word(), "; undo: ", undo_words(&def)), Role::Text);
    if !def.help.is_empty() {
        f = f.lead(Said::of(&def.help), Role::Dim);
    }
    f = f.text("targets", Input::line(&first), hint, true);
    for p in &def.params {
        let hint = Said::of(&p.help);
        let kind = match &p.kind {
            ParamType::Choice { of } => FieldKind::Choice {
                options: of.iter().zip(('1'..='9').chain('a'..='z')).map(|(o, k)| (k, Said::of(o))).collect(),
                chosen: p.default.as_ref().and_then(|d| of.iter().position(|o| o == d)),
            },
            _ => FieldKind::Text(Input::line(p.default.as_deref().unwrap_or_default())),
        };
        f.fields.push(Field { label: "", name: Some(p.name.clone()), kind, hint, required: p.default.is_none() });
    }
    let mut f = f.text("reason", Input::line(""), say!("the approver reads it"), true);
    f.focus = if first.is_empty() { 0 } else { f.fields.len() - 1 };
    form(state, f, ids);
}

fn private(ip: &str) -> bool {
    match ip.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(v4)) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        Ok(std::net::IpAddr::V6(v6)) => v6.is_loopback() || (v6.segments()[0] & 0xfe00) == 0xfc00,
        Err(_) => false,
    }
}

fn undo_words(def: &ActionDef) -> Said {
    def.undo.as_ref().map_or_else(|| say!("there is none"), |u| Said::of(u))
}

// --- reading -----------------------------------------------------------------------------------

pub fn raw(state: &mut State, hex: bool, quote: Option<Said>, out: &mut Out) {
    // The same key again switches between the two.
    if let Some(Overlay::Raw(v)) = state.overlays.last_mut() {
        v.hex = hex;
        v.scroll = 0;
        if quote.is_some() || v.quote.is_some() {
            v.quote = quote;
            v.doc = Doc::default();
        }
        return;
    }
    let Some(alert) = state.alert_in_hand() else { return };
    let bytes = state.detail.raw.as_ref().filter(|(id, _)| *id == alert).map(|(_, b)| b.clone());
    if bytes.is_none() {
        out.push(Effect::Raw(alert));
    }
    let view = RawView { alert, hex, scroll: 0, bytes, doc: Doc::default(), quote, broken: None };
    state.overlays.push(Overlay::Raw(Box::new(view)));
}

/// The quote of the next claim, in the raw bytes.
pub fn next_claim(state: &mut State, out: &mut Out) {
    let Some(v) = state.detail.shown.as_ref().and_then(|d| d.verdicts.first()) else { return };
    let n = v.claims.len();
    let at = state.detail.claim.map_or(0, |c| (c + 1) % n.max(1));
    let Some(claim) = v.claims.get(at) else { return };
    let quote = Said::from_untrusted(&claim.quote);
    let said =
        say!("claim ", at + 1, " of ", n, if claim.founded { " (founded): " } else { " (UNFOUNDED): " }, claim.text);
    let role = if claim.founded { Role::Good } else { Role::Bad };
    state.detail.claim = Some(at);
    raw(state, false, Some(quote), out);
    state.tell(role, said);
}

pub fn related(state: &mut State) {
    let Some(d) = &state.detail.shown else { return };
    let items = d
        .related
        .iter()
        .map(|r| {
            let mut detail = say!(r.severity.short(), "  ", r.status.word());
            if let Some(h) = &r.host {
                detail.push(&say!("  ", h));
            }
            item(Pick::OpenAlert(r.id), say!("#", r.id, "  ", r.title), detail)
        })
        .collect();
    pick(state, say!("Related alerts"), items, Vec::new());
}

pub fn copy(state: &mut State) {
    let Some(id) = state.alert_in_hand() else { return };
    let Some(d) = state.detail.shown.as_ref().filter(|d| d.alert.id == id) else {
        state.tell(Role::Dim, say!("the alert is still being loaded"));
        return;
    };
    let f = &d.alert.fields;
    let mut items = Vec::new();
    let mut add = |label: &'static str, value: Said| {
        items.push(item(Pick::Copy(value.as_str().to_owned()), say!(label), value));
    };
    for (label, value) in [
        ("title", Some(&f.title)),
        ("host", f.host.as_ref()),
        ("user", f.user.as_ref()),
        ("process", f.process.as_ref()),
        ("command", f.command_line.as_ref()),
    ] {
        if let Some(v) = value {
            add(label, Said::from_untrusted(v));
        }
    }
    for (label, ip) in [("source", f.src_ip), ("destination", f.dst_ip)] {
        if let Some(ip) = ip {
            add(label, say!(defang(&Untrusted::new(ip.to_string()))));
        }
    }
    for o in &f.observables {
        add(doc::observable_word(o.kind), say!(defang(&o.value)));
    }
    add("raw sha256", Said::of(&d.alert.raw_sha256));
    pick(state, say!("Copy (defanged)"), items, Vec::new());
}
