//! Frames: only the cells that differ, in one write, between the marks of a synchronized update. No difference, no
//! byte.

use std::io::{self, Write};

use ratatui::backend::{Backend as _, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::super::state::State;
use super::super::view;

pub struct Screen<W: Write> {
    out: W,
    shown: Buffer,
    next: Buffer,
    bytes: Vec<u8>,
    clear: bool,
}

impl<W: Write> Screen<W> {
    pub fn new(out: W) -> Self {
        let none = Buffer::empty(Rect::ZERO);
        Self { out, shown: none.clone(), next: none, bytes: Vec::new(), clear: true }
    }

    /// The next frame is drawn whole, on a cleared screen.
    pub fn forget(&mut self) {
        self.clear = true;
    }

    /// Draws the state. True: something was written.
    pub fn draw(&mut self, state: &State) -> io::Result<bool> {
        let area = Rect::new(0, 0, state.size.0, state.size.1);
        if self.next.area != area {
            self.next = Buffer::empty(area);
            self.clear = true;
        } else {
            self.next.reset();
        }
        view::draw(state, &mut self.next);
        if self.clear || self.shown.area != area {
            self.shown = Buffer::empty(area);
        }
        let cells = self.shown.diff(&self.next);
        if cells.is_empty() && !self.clear {
            return Ok(false);
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(b"\x1b[?2026h");
        if self.clear {
            self.bytes.extend_from_slice(b"\x1b[0m\x1b[2J");
        }
        CrosstermBackend::new(&mut self.bytes).draw(cells.into_iter())?;
        self.bytes.extend_from_slice(b"\x1b[?2026l");
        self.out.write_all(&self.bytes)?;
        self.out.flush()?;
        self.clear = false;
        std::mem::swap(&mut self.shown, &mut self.next);
        Ok(true)
    }
}
