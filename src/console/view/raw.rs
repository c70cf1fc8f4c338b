//! The bytes as they came: as text with every hidden character visible, or in hex.

use ratatui::layout::Rect;

use super::super::layout;
use super::super::state::RawView;
use super::super::state::evidence::Mark;
use super::super::state::overlay::{Evidence, RawMode};
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::paint::Canvas;
use super::{doc_rows, extent};

pub fn draw(c: &mut Canvas<'_>, view: &RawView) {
    let body = layout::body(c.state);
    let (_, height) = layout::raw_size(c.state);
    let mode = match view.mode {
        RawMode::Text => " > raw",
        RawMode::Hex => " > hex",
        RawMode::Fields => " > fields",
    };
    let mut title = say!("Queue > alert ", view.alert, mode);
    let Some(bytes) = &view.bytes else {
        c.put(body.x + 1, body.y, body.width, &title, Role::Heading);
        let (text, role) = match &view.broken {
            Some(why) => (say!(why), Role::Bad),
            None => (say!("loading the bytes"), Role::Dim),
        };
        c.put(body.x + 1, body.y + 1, body.width.saturating_sub(2), &text, role);
        return;
    };
    title.push(&say!("   ", bytes.len(), " bytes"));
    c.put(body.x + 1, body.y, body.width, &title, Role::Heading);
    c.put_right(body.x, body.y, body.width, &extent(view.scroll, height, view.lines()), Role::Dim);
    let head = match &view.evidence {
        Some(e) => {
            evidence(c, Rect::new(body.x + 1, body.y + 1, body.width.saturating_sub(2), 2), e, view.mode);
            3
        }
        None => 1,
    };
    let area = Rect::new(body.x + 1, body.y + head, body.width.saturating_sub(2), height as u16);
    if view.mode == RawMode::Hex {
        hex(c, area, view, bytes);
    } else {
        doc_rows(c, area, &view.doc.rows, view.scroll);
    }
}

/// The claim, and whether the record holds what it quotes.
fn evidence(c: &mut Canvas<'_>, area: Rect, e: &Evidence, mode: RawMode) {
    let place = say!("claim ", e.at + 1, " of ", e.of, "  ");
    let x = c.put(area.x, area.y, area.width, &place, Role::Dim);
    let (mark, role, text) =
        if e.claim.founded { ("= ", Role::Good, Role::Heading) } else { ("x unfounded: ", Role::Bad, Role::Struck) };
    let x = c.put(x, area.y, area.right().saturating_sub(x), &say!(mark), role);
    c.put(x, area.y, area.right().saturating_sub(x), &say!(e.claim.text), text);
    let (said, role) = match (&e.mark, e.claim.founded) {
        (None, _) => (say!("looking for it"), Role::Dim),
        (Some(Mark::Nowhere), _) => (say!("the record has no field ", e.claim.field), Role::Bad),
        (Some(Mark::Field(..)), false) => (say!(e.claim.field, " does not hold \"", e.claim.quote, "\""), Role::Bad),
        (Some(_), _) if !e.seen && mode == RawMode::Text => {
            (say!("its bytes are written otherwise; the field list marks it in ", e.claim.field), Role::Dim)
        }
        (Some(_), _) => (say!("marked in ", e.claim.field, ": ", e.claim.quote), Role::Dim),
    };
    c.put(area.x, area.y + 1, area.width, &said, role);
}

fn hex(c: &mut Canvas<'_>, area: Rect, view: &RawView, bytes: &[u8]) {
    let marked = match view.evidence.as_ref().and_then(|e| e.mark.as_ref()) {
        Some(Mark::Bytes(range)) => range.clone(),
        _ => 0..0,
    };
    for (i, chunk) in bytes.chunks(16).enumerate().skip(view.scroll).take(usize::from(area.height)) {
        let y = area.y + (i - view.scroll) as u16;
        let offset = Said::hex(&u32::try_from(i * 16).unwrap_or(u32::MAX).to_be_bytes());
        let mut x = c.put(area.x, y, 9, &offset, Role::Dim) + 2;
        let ascii = area.x + 10 + 16 * 3 + 2;
        for (n, b) in chunk.iter().enumerate() {
            let here = marked.contains(&(i * 16 + n));
            let role = match b {
                _ if here => Role::Evidence,
                0x20..0x7f => Role::Text,
                _ => Role::Accent,
            };
            x = c.put(x, y, 2, &Said::hex(&[*b]), role) + if n == 7 { 2 } else { 1 };
            let role = if here { Role::Evidence } else { Role::Info };
            c.put(ascii + n as u16, y, area.right().saturating_sub(ascii + n as u16), &Said::ascii_of(&[*b]), role);
        }
    }
}
