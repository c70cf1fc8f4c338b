//! Looking closer: raw bytes, the next claim, related alerts; and copying.

use super::super::super::state::doc::{self, Doc};
use super::super::super::state::evidence::Mark;
use super::super::super::state::overlay::{Evidence, Pick, RawMode, RawView};
use super::super::super::state::{Overlay, Reveal, State, bytes_of};
use super::super::super::theme::Role;
use super::super::super::words::{Said, say};
use super::super::{Effect, Out};
use super::{item, pick};
use crate::model::fields::Field;
use crate::model::verdict::Claim;
use crate::text::{Untrusted, clean, defang};

/// The record of the alert in hand. Over an open one, it is another way to look at it.
pub fn raw(state: &mut State, mode: RawMode, out: &mut Out) {
    if let Some(Overlay::Raw(v)) = state.overlays.last_mut() {
        v.mode = mode;
        v.scroll = 0;
        v.doc = Doc::default();
        return;
    }
    let Some(alert) = state.alert_in_hand() else { return };
    show(state, RawView::new(alert, mode), out);
}

fn show(state: &mut State, mut view: RawView, out: &mut Out) {
    view.bytes = state.detail.raw.as_ref().filter(|(id, _)| *id == view.alert).map(|(_, b)| b.clone());
    if view.bytes.is_none() {
        out.push(Effect::Raw(view.alert));
    }
    state.overlays.push(Overlay::Raw(Box::new(view)));
}

/// Which claim comes next; the one that is looked at stays when nothing was shown of it yet.
fn step(state: &State, by: isize) -> Option<usize> {
    let n = state.detail.opinion.claims.len() as isize;
    let at = state.detail.claim.map_or(if by > 0 { -1 } else { n }, |c| c as isize);
    if n == 0 { None } else { usize::try_from((at + by).rem_euclid(n)).ok() }
}

/// Walks the claims. Over a record that shows a claim's evidence, it shows the next one's.
pub fn walk_claims(state: &mut State, by: isize, out: &mut Out) {
    let Some(at) = step(state, by) else { return };
    state.detail.claim = Some(at);
    state.detail.reveal = Some(Reveal::Claim);
    if matches!(state.overlays.last(), Some(Overlay::Raw(_))) {
        show_evidence(state, at, out);
    }
}

/// Where the quote of a claim stands in the record. Again: the next claim's.
pub fn evidence(state: &mut State, by: isize, out: &mut Out) {
    let shown = matches!(state.overlays.last(), Some(Overlay::Raw(v)) if v.evidence.is_some());
    let at = if shown { step(state, by) } else { state.detail.claim.or_else(|| step(state, by)) };
    let at = at.filter(|at| *at < state.detail.opinion.claims.len());
    if let Some(at) = at.or_else(|| step(state, by)) {
        show_evidence(state, at, out);
    }
}

fn show_evidence(state: &mut State, at: usize, out: &mut Out) {
    let of = state.detail.opinion.claims.len();
    let (Some((_, claim)), Some(alert)) = (state.detail.opinion.claims.get(at), state.alert_in_hand()) else { return };
    let mut view = RawView::new(alert, RawMode::Text);
    view.evidence = Some(Evidence { claim: claim.clone(), at, of, mark: None, seen: false });
    state.detail.claim = Some(at);
    state.detail.reveal = Some(Reveal::Claim);
    if matches!(state.overlays.last(), Some(Overlay::Raw(_))) {
        state.overlays.pop();
    }
    show(state, view, out);
}

/// Finds what a claim quotes, once the bytes are there, and says how the record is best looked at.
pub fn find(evidence: &Evidence, bytes: &[u8], fields: &[Field]) -> (Mark, RawMode) {
    let claim = &evidence.claim;
    let Some(at) = fields.iter().position(|f| f.path == claim.field && (!claim.founded || holds(f, claim))) else {
        return (Mark::Nowhere, RawMode::Fields);
    };
    let Some(span) = claim.span.filter(|_| claim.founded) else { return (Mark::Field(at, None), RawMode::Fields) };
    let field = &fields[at];
    match bytes_of(bytes, field.path.expose(), field.value.expose(), span) {
        Some(range) => (Mark::Bytes(range), RawMode::Text),
        None => (Mark::Field(at, Some(span)), RawMode::Fields),
    }
}

/// Of several fields of one path, the one that the quote was found in.
fn holds(field: &Field, claim: &Claim) -> bool {
    let piece = claim.span.and_then(|(from, to)| field.value.expose().get(from..to));
    piece.is_some_and(|p| p == claim.quote.expose().trim())
        || clean(&field.value).as_str().contains(claim.quote.expose().trim())
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
