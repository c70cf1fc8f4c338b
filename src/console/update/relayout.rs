//! What follows from every message: documents laid out for the width they have, scrolls kept within them, and what was
//! asked for brought on screen.

use super::super::action::{Do, Scope};
use super::super::layout;
use super::super::state::evidence::{self, Mark};
use super::super::state::opinion::{Around, Keys, Opinion};
use super::super::state::overlay::RawMode;
use super::super::state::{Overlay, Reveal, State, doc};
use super::super::words::{Said, say};
use super::open;

/// Lays documents out for the width they have now, and keeps scrolls within them.
pub fn relayout(state: &mut State) {
    let (main, side) = layout::columns(state);
    let (width, rows) = (usize::from(main.width).max(20), usize::from(main.height).max(1));
    let side = side.map(|s| (usize::from(s.width), usize::from(s.height).max(1)));
    if let Some(shown) = &state.detail.shown {
        let keys = opinion_keys(state);
        let around = Around {
            now: state.now,
            runs: &state.runs,
            unanswered: state.unanswered.as_ref(),
            claim: state.detail.claim,
            ascii: state.look.ascii,
            backend: state.facts.backend.as_ref().map(|b| &b.name),
            keys: &keys,
        };
        let opinion = Opinion::of(shown, &around, side.map_or(width, |s| s.0));
        let base = (state.detail.base.width != width).then(|| {
            let key = state.look.keymap.hint(Do::Playbook, &[Scope::Alert]);
            let key = key.map_or_else(|| say!(":", Do::Playbook.word()), |k| Said::of(&k));
            doc::of_alert(shown, width, &key)
        });
        let d = &mut state.detail;
        d.opinion = opinion;
        d.aside = side.is_some();
        if let Some((base, gap)) = base {
            (d.base, d.gap) = (base, gap);
        }
    }
    let side_rows = side.map_or(0, |s| s.1);
    reveal(state, rows, side_rows);
    let d = &mut state.detail;
    d.scroll = d.scroll.min(d.lines().saturating_sub(rows));
    d.side_scroll = d.side_scroll.min(d.opinion.doc.rows.len().saturating_sub(side_rows));
    relayout_raw(state);
}

fn opinion_keys(state: &State) -> Keys {
    let key = |act: Do| match state.look.keymap.hint(act, &Scope::ALL) {
        Some(k) => Said::of(&k),
        None => say!(":", act.word()),
    };
    Keys {
        triage: key(Do::Triage),
        accept: key(Do::Accept),
        disagree: key(Do::Disagree),
        propose: key(Do::Propose),
        cancel: key(Do::Back),
    }
}

/// Brings on screen what was asked for.
fn reveal(state: &mut State, rows: usize, side_rows: usize) {
    let d = &mut state.detail;
    if d.shown.as_ref().map(|s| s.alert.id) != d.wanted {
        return;
    }
    let Some(what) = d.reveal.take() else { return };
    let end = d.opinion.doc.rows.len();
    let (from, to) = match what {
        Reveal::Opinion => (d.opinion.head, end),
        Reveal::Claim => {
            let claims = &d.opinion.claims;
            let Some(at) = d.claim.filter(|at| *at < claims.len()) else { return };
            (claims[at].0, claims.get(at + 1).map_or(claims[at].0 + 3, |next| next.0).min(end))
        }
        Reveal::Question => (d.opinion.question.unwrap_or(d.opinion.head), end),
    };
    d.reveal_rows(from, to.max(from), rows, side_rows);
}

fn relayout_raw(state: &mut State) {
    let (w, h) = layout::raw_size(state);
    let shown = state.detail.shown.as_ref();
    for overlay in &mut state.overlays {
        let Overlay::Raw(view) = overlay else { continue };
        let Some(bytes) = view.bytes.clone() else { continue };
        let fields = shown.filter(|d| d.alert.id == view.alert).map_or(&[][..], |d| d.fields.as_slice());
        if let Some(e) = view.evidence.as_mut().filter(|e| e.mark.is_none()) {
            let (mark, mode) = open::find(e, &bytes, fields);
            e.mark = Some(mark);
            view.mode = mode;
        }
        if view.doc.width != w.max(20) {
            let mark = view.evidence.as_ref().and_then(|e| e.mark.as_ref());
            let range = if let Some(Mark::Bytes(r)) = mark { Some(r) } else { None };
            let (doc, rows) = match view.mode {
                RawMode::Text => {
                    let m = evidence::of_raw(&bytes, w, range);
                    (m.doc, m.rows)
                }
                RawMode::Fields => {
                    let m = evidence::of_fields(fields, w, mark);
                    (m.doc, m.rows)
                }
                RawMode::Hex => (doc::Doc::new(w), range.map(|r| (r.start / 16, r.end.saturating_sub(1) / 16))),
            };
            view.doc = doc;
            if let Some((first, last)) = rows {
                view.scroll = first.saturating_sub(h.saturating_sub(last - first + 1) / 3);
            }
            if let Some(e) = &mut view.evidence {
                e.seen = rows.is_some();
            }
        }
        view.scroll = view.scroll.min(view.lines().saturating_sub(h));
    }
}
