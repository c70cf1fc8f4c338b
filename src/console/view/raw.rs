//! The bytes as they came: as text with every hidden character visible, or in hex.

use ratatui::layout::Rect;

use super::super::layout;
use super::super::state::RawView;
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::paint::Canvas;
use super::{doc_rows, extent};

pub fn draw(c: &mut Canvas<'_>, view: &RawView) {
    let body = layout::body(c.state);
    let (_, height) = layout::raw_size(c.state);
    let mut title = say!("Queue > alert ", view.alert, if view.hex { " > hex" } else { " > raw" });
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
    let x = c.put(body.x + 1, body.y, body.width, &title, Role::Heading);
    if let Some(q) = &view.quote {
        let found = view.doc.rows.iter().any(|r| r.len() > 1);
        let (text, role) = if found {
            (say!("   shown: ", q), Role::Input)
        } else {
            (say!("   not found in the bytes: ", q), Role::Bad)
        };
        c.put(x, body.y, body.right().saturating_sub(x + 16), &text, role);
    }
    let area = Rect::new(body.x + 1, body.y + 1, body.width.saturating_sub(2), height as u16);
    let lines = if view.hex { bytes.len().div_ceil(16) } else { view.doc.rows.len() };
    c.put_right(body.x, body.y, body.width, &extent(view.scroll, height, lines), Role::Dim);
    if !view.hex {
        doc_rows(c, area, &view.doc.rows, view.scroll);
        return;
    }
    for (i, chunk) in bytes.chunks(16).enumerate().skip(view.scroll).take(height) {
        let y = area.y + (i - view.scroll) as u16;
        let offset = Said::hex(&u32::try_from(i * 16).unwrap_or(u32::MAX).to_be_bytes());
        let mut x = c.put(area.x, y, 9, &offset, Role::Dim) + 2;
        for (n, b) in chunk.iter().enumerate() {
            let role = if (0x20..0x7f).contains(b) { Role::Text } else { Role::Accent };
            x = c.put(x, y, 2, &Said::hex(&[*b]), role) + if n == 7 { 2 } else { 1 };
        }
        let ascii = area.x + 10 + 16 * 3 + 2;
        c.put(ascii, y, area.right().saturating_sub(ascii), &Said::ascii_of(chunk), Role::Info);
    }
}
