//! Text a person types: cleaned as it comes in, so that what stands in a field can always be shown.

use ratatui_textarea::TextArea;

use super::super::keymap::Key;
use crate::text::{Untrusted, clean_block};

/// A text field of one or several lines.
#[derive(Clone, Debug)]
pub struct Input {
    area: Box<TextArea<'static>>,
    pub many: bool,
    /// As many lines as there is room for.
    pub tall: bool,
    /// Where in the history it stands; `None`: its own text.
    pub older: Option<usize>,
    max: usize,
}

impl Input {
    pub fn line(text: &str) -> Self {
        let mut input = Self { area: Box::default(), many: false, tall: false, older: None, max: 4096 };
        input.set(text);
        input
    }

    pub fn block() -> Self {
        Self { many: true, ..Self::line("") }
    }

    /// A text that is edited as a whole; the cursor stands at its beginning.
    pub fn page(text: &str) -> Self {
        let mut input = Self { many: true, tall: true, max: 64 << 10, ..Self::line("") };
        input.set(text);
        input.area.move_cursor(ratatui_textarea::CursorMove::Top);
        input
    }

    pub fn text(&self) -> String {
        self.area.lines().join("\n")
    }

    pub fn is_empty(&self) -> bool {
        self.area.is_empty()
    }

    /// The lines, and the cursor as (line, character).
    pub fn lines(&self) -> (&[String], (usize, usize)) {
        let c = self.area.cursor();
        (self.area.lines(), (c.0, c.1))
    }

    pub fn set(&mut self, text: &str) {
        *self.area = TextArea::default();
        self.paste(text);
    }

    /// Text from the clipboard or from us: controls and invisible characters become visible marks.
    pub fn paste(&mut self, text: &str) {
        let untrusted = Untrusted::new(text.replace("\r\n", "\n").replace('\r', "\n"));
        let cleaned = clean_block(&untrusted);
        let mut text = cleaned.as_str().to_owned();
        if !self.many {
            text = text.replace('\n', " ");
        }
        let room = self.max.saturating_sub(self.text().chars().count());
        let text: String = text.chars().take(room).collect();
        self.area.insert_str(text);
    }

    pub fn newline(&mut self) {
        if self.many {
            self.area.insert_newline();
        }
    }

    /// A key that is bound to nothing else. True: the text changed.
    pub fn key(&mut self, key: Key) -> bool {
        if let Some(c) = key.typed() {
            self.paste(c.encode_utf8(&mut [0; 4]));
            return true;
        }
        if matches!(key.code, super::super::keymap::Code::Enter | super::super::keymap::Code::Tab) {
            return false;
        }
        if key == (Key { ctrl: true, ..Key::char('u') }) {
            // As a shell does; the editor's own meaning would be undo.
            return self.area.delete_line_by_head();
        }
        self.area.input(key.to_event())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pasted_can_be_shown() {
        let mut i = Input::line("");
        i.paste("a\u{1b}]52;c;x\u{7}b\u{202e}c\nd");
        let text = i.text();
        assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
        assert!(text.starts_with('a') && text.ends_with('d'));
    }

    #[test]
    fn a_line_stays_a_line_and_ends_somewhere() {
        let mut i = Input::line("");
        i.paste(&"x\n".repeat(5000));
        assert_eq!(i.lines().0.len(), 1);
        assert!(i.text().chars().count() <= 4096);
        let mut b = Input::block();
        b.paste("a\r\nb");
        b.newline();
        assert_eq!(b.lines().0.len(), 3);
    }

    #[test]
    fn keys_edit() {
        let mut i = Input::line("abc");
        i.key(Key::plain(super::super::super::keymap::Code::Backspace));
        i.key(Key::char('d'));
        assert_eq!(i.text(), "abd");
        i.paste(" two");
        assert_eq!(i.text(), "abd two");
        let ctrl = |c| Key { ctrl: true, ..Key::char(c) };
        i.key(ctrl('w'));
        assert_eq!(i.text(), "abd ");
        i.key(Key::char('x'));
        assert_eq!(i.text(), "abd x", "typing goes on where it stopped");
        i.key(ctrl('u'));
        assert!(i.is_empty());
    }
}
