//! Proposing an action: which one, on what, why.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::super::state::State;
use super::super::super::state::input::Input;
use super::super::super::state::overlay::{Field, FieldKind, Form, Pick, PickItem, Purpose, Trial};
use super::super::super::theme::Role;
use super::super::super::words::{Said, say};
use super::super::{Out, acts, submit};
use super::{form, item, pick, which};
use crate::desk::OfferedAct;
use crate::model::action::{ActionDef, ParamType};
use crate::model::alert::{AlertFields, ObservableKind};
use crate::model::ids::AlertId;
use crate::text::{Untrusted, clean};

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
        ParamType::Object
        | ParamType::Index
        | ParamType::Snapshot
        | ParamType::Integer { .. }
        | ParamType::Choice { .. }
        | ParamType::Text { .. }
        | ParamType::Document { .. } => Vec::new(),
    };
    all.retain(|v| !v.contains(char::is_whitespace));
    all.dedup();
    all
}

/// What is known of the alert in hand: all of it, or what its line says while the rest is still being loaded.
fn fields_in_hand(state: &State) -> Option<Cow<'_, AlertFields>> {
    let id = state.alert_in_hand()?;
    if let Some(d) = state.detail.shown.as_ref().filter(|d| d.alert.id == id) {
        return Some(Cow::Borrowed(&d.alert.fields));
    }
    let row = state.queue.rows.iter().find(|r| r.id == id)?;
    let (host, user) = (row.host.clone(), row.user.clone());
    let (src_ip, dst_ip) = (row.src_ip, row.dst_ip);
    Some(Cow::Owned(AlertFields { host, user, src_ip, dst_ip, ..AlertFields::default() }))
}

/// Names of the actions that the newest opinion on the alert in hand suggests.
fn suggested(state: &State) -> Vec<String> {
    let verdict = super::super::triage::verdict_in_hand(state).map(|(_, v)| v);
    verdict.map(|v| v.suggested_actions.iter().map(|s| s.action.clone()).collect()).unwrap_or_default()
}

/// A model (not the rules) suggested this action for the alert in hand: its approvers are told.
pub fn suggested_by_model(state: &State, action: &str) -> bool {
    let of_model = super::super::triage::verdict_in_hand(state).is_some_and(|(_, v)| v.backend != "rules");
    of_model && suggested(state).iter().any(|s| s == action)
}

pub fn propose(state: &mut State) {
    let ids = state.alerts_in_hand();
    let suggested = suggested(state);
    let mut items: Vec<(bool, PickItem)> = state
        .catalogue
        .iter()
        .map(|a| {
            let targets = fields_in_hand(state).map(|f| entities(&f, &a.targets.kind)).unwrap_or_default();
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

/// For the alerts in hand.
pub fn propose_form(state: &mut State, name: &str, ids: Vec<AlertId>, out: &mut Out) {
    let Some(def) = state.catalogue.iter().find(|a| a.name == name).cloned() else { return };
    let known = fields_in_hand(state).map(|f| entities(&f, &def.targets.kind)).unwrap_or_default();
    // One target at first: a second one is a decision. Of an action that a model suggested, the first one is too.
    let first = match def.targets.kind {
        _ if suggested_by_model(state, name) => String::new(),
        ParamType::Ip => known.iter().find(|t| !private(t)).or(known.first()).cloned().unwrap_or_default(),
        _ => known.first().cloned().unwrap_or_default(),
    };
    let also: Vec<&String> = known.iter().filter(|t| **t != first).collect();
    let hint = if also.is_empty() {
        many(&def)
    } else {
        say!(
            if first.is_empty() { "seen: " } else { "also seen: " },
            Said::of(&also.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" "))
        )
    };
    let made = proposal(&def, &first, hint, &BTreeMap::new());
    form(state, made, ids);
    acts::try_form(state, out);
}

/// For something other than an alert: what it is for is known.
/// `then`: what is proposed with it.
pub fn propose_on(
    state: &mut State,
    name: &str,
    targets: &[String],
    params: &BTreeMap<String, String>,
    then: Vec<OfferedAct>,
    out: &mut Out,
) {
    let Some(def) = state.catalogue.iter().find(|a| a.name == name).cloned() else { return };
    let mut made = proposal(&def, &targets.join(" "), many(&def), params);
    for next in &then {
        let text = say!("and with it, to be run after it: ", Said::of(&next.words()));
        made = made.lead(text, Role::Warn);
    }
    made.then = then;
    form(state, made, Vec::new());
    acts::try_form(state, out);
}

pub fn many(def: &ActionDef) -> Said {
    match def.targets.max {
        1 => say!("one"),
        n => say!("at most ", n, ", with spaces between"),
    }
}

fn proposal(def: &ActionDef, targets: &str, hint: Said, given: &BTreeMap<String, String>) -> Form {
    proposal_for(Purpose::Propose { action: def.name.clone() }, def, targets, hint, given, "")
}

/// `reason`: what stands in that field to begin with.
pub fn proposal_for(
    purpose: Purpose,
    def: &ActionDef,
    targets: &str,
    hint: Said,
    given: &BTreeMap<String, String>,
    reason: &str,
) -> Form {
    let mut f = Form::new(purpose, say!("Propose: ", Said::of(&def.title)))
        .lead(say!(def.tier.word(), ", run by ", def.executor.word(), "; undo: ", undo_words(def)), Role::Text);
    // What a target looks like need not be said of one that stands there.
    if !def.help.is_empty() && (given.is_empty() || targets.is_empty()) {
        f = f.lead(Said::of(&def.help), Role::Dim);
    }
    f = f.text("targets", Input::line(targets), hint, true);
    for p in &def.params {
        let hint = Said::of(&p.help);
        let value = given.get(&p.name).or(p.default.as_ref());
        let kind = match &p.kind {
            ParamType::Choice { of } => FieldKind::Choice {
                options: of.iter().zip(('1'..='9').chain('a'..='z')).map(|(o, k)| (k, Said::of(o))).collect(),
                chosen: value.and_then(|d| of.iter().position(|o| o == d)),
            },
            _ => FieldKind::Text(Input::line(value.map_or("", String::as_str))),
        };
        f.fields.push(Field { label: "", name: Some(p.name.clone()), kind, hint, required: p.default.is_none() });
    }
    let mut f = f.text("reason", Input::line(reason), say!("the approver reads it"), true);
    // Where something is missing, first.
    let lacks = |field: &Field| match &field.kind {
        FieldKind::Text(i) => field.required && i.text().is_empty(),
        FieldKind::Choice { chosen, .. } => chosen.is_none(),
    };
    f.focus = f.fields.iter().position(lacks).unwrap_or(f.fields.len() - 1);
    if acts::is_tried(def) {
        let draft = submit::draft(&f, def.name.clone(), "");
        f.trial = Some(Trial { draft, since: jiff::Timestamp::UNIX_EPOCH, in_flight: false, result: None });
    }
    f
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
