//! Looking closer: raw bytes, the next claim, related alerts; and copying.

use super::super::super::state::doc::{self, Doc};
use super::super::super::state::overlay::{Pick, RawView};
use super::super::super::state::{Overlay, State};
use super::super::super::theme::Role;
use super::super::super::words::{Said, say};
use super::super::{Effect, Out};
use super::{item, pick};
use crate::text::{Untrusted, defang};

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
