//! The only place where text becomes cells. It takes [`Said`], which holds clean text only.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::super::state::State;
use super::super::state::doc::DocRow;
use super::super::theme::Role;
use super::super::words::{Said, cut, width};

pub struct Canvas<'a> {
    pub buf: &'a mut Buffer,
    pub state: &'a State,
    /// The ground text is put on instead of its own: the line under the cursor, a band.
    pub ground: Option<Role>,
}

impl<'a> Canvas<'a> {
    pub fn new(buf: &'a mut Buffer, state: &'a State) -> Self {
        Self { buf, state, ground: None }
    }

    pub fn style(&self, role: Role) -> Style {
        let theme = &self.state.look.theme;
        let own = theme.style(role);
        let Some(ground) = self.ground.map(|g| theme.style(g)) else { return own };
        let mut style = own;
        if own.bg == theme.style(Role::Text).bg {
            style.bg = ground.bg;
            style.add_modifier |= ground.add_modifier & (Modifier::REVERSED | Modifier::UNDERLINED);
        }
        if role == Role::Text {
            style.fg = ground.fg;
        }
        style
    }

    pub fn fill(&mut self, area: Rect, role: Role) {
        let style = self.style(role);
        let area = area.intersection(self.buf.area);
        for y in area.top()..area.bottom() {
            for x in area.left()..area.right() {
                let cell = &mut self.buf[(x, y)];
                cell.reset();
                cell.set_style(style);
            }
        }
    }

    /// A line of reversed letters in this role's colour, or on its own ground if it has one.
    pub fn band(&mut self, area: Rect, role: Role, text: &Said) {
        self.fill(area, role);
        self.put(area.x + 1, area.y, area.width.saturating_sub(2), text, role);
        if self.style(role).bg == self.style(Role::Text).bg {
            self.buf.set_style(area, Style::new().add_modifier(Modifier::REVERSED));
        }
    }

    /// Puts text at (x, y), at most `room` columns; a mark shows that some was cut off. Returns the next column.
    pub fn put(&mut self, x: u16, y: u16, room: u16, text: &Said, role: Role) -> u16 {
        let style = self.style(role);
        self.put_styled(x, y, room, text.as_str(), style)
    }

    fn put_styled(&mut self, x: u16, y: u16, room: u16, text: &str, style: Style) -> u16 {
        let room = room.min(self.buf.area.right().saturating_sub(x));
        if room == 0 || y >= self.buf.area.bottom() || text.is_empty() {
            return x;
        }
        let wanted = width(text);
        if wanted <= usize::from(room) {
            self.buf.set_stringn(x, y, text, usize::from(room), style);
            return x + wanted as u16;
        }
        let head = cut(text, usize::from(room) - 1);
        let (at, _) = self.buf.set_stringn(x, y, head, usize::from(room), style);
        self.buf.set_stringn(at, y, self.ellipsis(), 1, style);
        at + 1
    }

    /// The mark where text was cut.
    fn ellipsis(&self) -> &'static str {
        if self.state.look.ascii { "~" } else { "\u{2026}" }
    }

    /// Flush with the right edge of `room`.
    pub fn put_right(&mut self, x: u16, y: u16, room: u16, text: &Said, role: Role) {
        let w = (text.width() as u16).min(room);
        self.put(x + room - w, y, w, text, role);
    }

    /// Pieces one after the other.
    pub fn row(&mut self, x: u16, y: u16, room: u16, pieces: &DocRow) -> u16 {
        let end = x + room;
        let mut at = x;
        for (text, role) in pieces {
            at = self.put(at, y, end.saturating_sub(at), text, *role);
        }
        at
    }

    pub fn rule(&mut self, area: Rect) {
        let down = area.width == 1 && area.height > 1;
        let glyph = match (down, self.state.look.ascii) {
            (true, true) => "|",
            (true, false) => "\u{2502}",
            (false, true) => "-",
            (false, false) => "\u{2500}",
        };
        let style = self.style(Role::Fence).remove_modifier(Modifier::BOLD);
        for y in area.top()..area.bottom() {
            for x in area.left()..area.right() {
                self.buf.set_stringn(x, y, glyph, 1, style);
            }
        }
    }

    /// A frame with a title; what was below is gone.
    pub fn frame(&mut self, area: Rect, title: &Said, role: Role) {
        self.fill(area, Role::Text);
        if area.width < 2 || area.height < 2 {
            return;
        }
        let [h, v, tl, tr, bl, br] = if self.state.look.ascii {
            ["-", "|", "+", "+", "+", "+"]
        } else {
            ["\u{2500}", "\u{2502}", "\u{256d}", "\u{256e}", "\u{2570}", "\u{256f}"]
        };
        let style = self.style(role);
        let (l, r, t, b) = (area.left(), area.right() - 1, area.top(), area.bottom() - 1);
        for x in l..=r {
            self.buf.set_stringn(x, t, h, 1, style);
            self.buf.set_stringn(x, b, h, 1, style);
        }
        for y in t..=b {
            self.buf.set_stringn(l, y, v, 1, style);
            self.buf.set_stringn(r, y, v, 1, style);
        }
        for (x, y, c) in [(l, t, tl), (r, t, tr), (l, b, bl), (r, b, br)] {
            self.buf.set_stringn(x, y, c, 1, style);
        }
        if !title.is_empty() {
            let room = area.width.saturating_sub(6);
            let mut padded = Said::of(" ");
            padded.push(&title.fit(usize::from(room), self.ellipsis()));
            padded.push(&" ");
            self.put(l + 2, t, room + 2, &padded, Role::Heading);
        }
    }

    /// A field being typed into: the part around the cursor, the cursor as a reversed cell.
    pub fn input(&mut self, area: Rect, lines: &[String], cursor: (usize, usize), focused: bool) {
        let role = if focused { Role::Input } else { Role::Text };
        self.fill(area, role);
        let style = self.style(role);
        let height = usize::from(area.height).max(1);
        let first = cursor.0.saturating_sub(height - 1);
        for (i, line) in lines.iter().enumerate().skip(first).take(height) {
            let y = area.y + (i - first) as u16;
            let (before, rest) = match line.char_indices().nth(cursor.1) {
                Some((at, _)) if i == cursor.0 => line.split_at(at),
                _ => (line.as_str(), ""),
            };
            let mut skip = 0;
            if i == cursor.0 && focused {
                // Keep the cursor inside: let go of what stands too far to the left.
                let room = usize::from(area.width).saturating_sub(1);
                let mut over = width(before).saturating_sub(room);
                for (at, c) in before.char_indices() {
                    if over == 0 {
                        break;
                    }
                    over = over.saturating_sub(unicode_width::UnicodeWidthChar::width(c).unwrap_or(0));
                    skip = at + c.len_utf8();
                }
            }
            let x = self.put_styled(area.x, y, area.width, &before[skip..], style);
            self.put_styled(x, y, area.right().saturating_sub(x), rest, style);
            if i == cursor.0 && focused && x < area.right() {
                let cell = &mut self.buf[(x, y)];
                cell.set_style(style.add_modifier(Modifier::REVERSED));
            }
        }
    }
}
