//! What opens for alerts: closing, snoozing, notes, cases, suppressions, why it ranks where it does.

use super::super::super::layout;
use super::super::super::state::doc::{self, Doc};
use super::super::super::state::input::Input;
use super::super::super::state::overlay::{Form, Pick, Purpose, Sheet};
use super::super::super::state::{Overlay, State};
use super::super::super::theme::Role;
use super::super::super::words::{Said, say};
use super::super::{Effect, Out, submit};
use super::{form, item, pick, which};
use crate::model::act::Act;
use crate::model::alert::Disposition;
use crate::model::ids::AlertId;
use crate::model::priority::Priority;
use crate::model::risk;
use crate::text::clean;

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

/// A question to whoever asked for it; for them, the answer.
pub fn ask_back(state: &mut State) {
    let me = state.my_id().cloned();
    let Some(r) = state.request_in_hand() else { return };
    let (id, answer) = (r.body.id.clone(), me.is_some_and(|me| me == r.body.requester));
    let title = if answer {
        say!("Answer about ", Said::of(&r.body.action))
    } else {
        say!("Ask back: ", Said::of(&r.body.action))
    };
    let mut f = Form::new(Purpose::Talk { id, answer }, title);
    if let Some(q) = r.course.thread.last() {
        f = f.lead(say!(q.by, ": ", q.text), Role::Text);
    }
    let hint = if answer { say!("approvers read it") } else { say!("the requester reads it") };
    let f = f.lead(say!("The clock goes on."), Role::Dim).text("text", Input::block(), hint, true);
    form(state, f, Vec::new());
}

/// Why it runs on one person's word.
pub fn break_glass(state: &mut State) {
    let Some(r) = state.request_in_hand() else { return };
    let purpose = Purpose::BreakGlass { id: r.body.id.clone(), digest: r.digest.clone() };
    let n = r.body.targets.len();
    let f = Form::new(purpose, say!("BREAK THE GLASS: ", Said::of(&r.body.action), " on ", n, " target(s), alone"))
        .lead(
            say!("It skips ", r.body.approvals_needed, " approval(s), in your name. Everybody is paged."),
            Role::Critical,
        )
        .lead(say!("Somebody else reviews it afterwards; what the policy forbids stays forbidden."), Role::Dim)
        .text("reason", Input::line(""), say!("why it cannot wait"), true)
        .text("word", Input::line(""), say!("type alone"), true);
    form(state, f, Vec::new());
}

/// What is found of something one person ran alone.
pub fn review_glass(state: &mut State) {
    let Some(r) = state.request_in_hand() else { return };
    let Some(g) = &r.course.glass else { return };
    let options = vec![('j', say!("justified")), ('n', say!("not justified"))];
    let f =
        Form::new(Purpose::GlassReview(r.body.id.clone()), say!("Review: ", Said::of(&r.body.action), " by ", g.by))
            .lead(say!("they said: ", g.reason), Role::Text)
            .choice("it was", options, None)
            .text("found", Input::line(""), say!("what you found"), true);
    form(state, f, Vec::new());
}

/// For a commander: why a closed error budget is set aside.
pub fn over_budget(state: &mut State) {
    let Some(Overlay::Decide(d)) = state.overlays.last() else { return };
    let id = d.request.body.id.clone();
    let mut f = Form::new(Purpose::OverBudget(id), say!("Over the error budget: ", Said::of(&d.request.body.action)));
    for why in d.against() {
        f = f.lead(Said::of(why), Role::Bad);
    }
    let f = f
        .lead(say!("It is recorded with your name. You sign on the screen behind this, as always."), Role::Dim)
        .text("reason", Input::line(""), say!("why it cannot wait"), true);
    form(state, f, Vec::new());
}

// --- proposing ---------------------------------------------------------------------------------
