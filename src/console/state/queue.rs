//! The queue: a window of rows around the cursor, in an order that stands still while somebody reads.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Load;
use crate::model::alert::{AlertRow, Status};
use crate::model::ids::AlertId;
use crate::model::query::{Count, Query, SortKey};

/// Rows kept in memory at most; the store holds the rest.
pub const WINDOW: usize = 400;
/// Rows asked for at a time.
pub const PAGE: usize = 120;
/// Counting stops here.
pub const COUNT_CAP: u64 = 10_000;
/// Alerts marked at most.
pub const MARK_CAP: usize = 1000;

#[derive(Clone, Debug)]
pub struct Queue {
    /// As typed.
    pub text: String,
    /// The filter that was asked for last: answers come in any order.
    pub asked: Option<String>,
    /// What the console started with.
    pub home: (String, SortKey),
    /// Name of the saved view it came from.
    pub view: Option<String>,
    pub query: Query,
    pub sort: SortKey,
    /// The window, in the order it was loaded.
    pub rows: Vec<AlertRow>,
    pub cursor: Option<AlertId>,
    /// Index in `rows` of the first line on screen.
    pub scroll: usize,
    pub marks: BTreeSet<AlertId>,
    /// The window reaches the first, or the last, row there is.
    pub at_top: bool,
    pub at_end: bool,
    /// How many rows stood before the window when it was loaded.
    pub base: u64,
    /// Rows of the window that no longer match, kept in their place until the next load.
    pub gone: BTreeSet<AlertId>,
    pub total: Option<Count>,
    /// New rows above and below the cursor since the order was frozen.
    pub new_above: u64,
    pub new_below: u64,
    /// How many matched when the window was loaded, if that many can be counted.
    pub base_total: Option<u64>,
    /// At the top with nothing marked: new alerts come in as they arrive.
    pub follow: bool,
    /// When following last put another alert under the cursor.
    pub moved_at: Option<Timestamp>,
    /// Answers to older questions are dropped.
    pub generation: u64,
    /// A load, a refresh, a count is under way; another is wanted after it.
    pub loading: bool,
    pub load_again: bool,
    pub counting: bool,
    pub count_again: bool,
    pub load: Load,
    /// After an act: the line the cursor stood on, to stand there again.
    pub keep_line: Option<usize>,
}

impl Queue {
    pub fn new(text: String, sort: SortKey, now: Timestamp) -> Self {
        Self {
            home: (text.clone(), sort),
            text,
            asked: None,
            view: None,
            query: Query::All,
            sort,
            rows: Vec::new(),
            cursor: None,
            scroll: 0,
            marks: BTreeSet::new(),
            at_top: true,
            at_end: false,
            base: 0,
            gone: BTreeSet::new(),
            total: None,
            new_above: 0,
            new_below: 0,
            base_total: None,
            follow: true,
            moved_at: None,
            generation: 0,
            loading: false,
            load_again: false,
            counting: false,
            count_again: false,
            load: Load::Waiting { since: now },
            keep_line: None,
        }
    }

    pub fn index_of(&self, id: AlertId) -> Option<usize> {
        self.rows.iter().position(|r| r.id == id)
    }

    pub fn cursor_index(&self) -> Option<usize> {
        self.index_of(self.cursor?)
    }

    pub fn row_in_hand(&self) -> Option<&AlertRow> {
        self.rows.get(self.cursor_index()?)
    }

    /// Keeps the cursor's line on a screen of `height` lines.
    pub fn reveal(&mut self, height: usize) {
        let height = height.max(1);
        if let Some(at) = self.cursor_index() {
            if at < self.scroll {
                self.scroll = at;
            }
            if at >= self.scroll + height {
                self.scroll = at + 1 - height;
            }
        }
        self.scroll = self.scroll.min(self.rows.len().saturating_sub(1));
        // No empty lines at the foot while there are rows above.
        if self.rows.len() >= height {
            self.scroll = self.scroll.min(self.rows.len() - height);
        } else {
            self.scroll = 0;
        }
    }

    /// Rows in the window above the cursor that still match: what `position` should answer if nothing new came.
    pub fn known_above(&self) -> u64 {
        let at = self.cursor_index().unwrap_or(0);
        let lost = self.rows[..at].iter().filter(|r| self.gone.contains(&r.id)).count();
        self.base + (at - lost) as u64
    }

    /// New versions of rows, each in its place. A row that was closed, hidden or put to sleep stays, marked as gone.
    pub fn replace(&mut self, rows: Vec<AlertRow>) {
        for new in rows {
            let Some(at) = self.index_of(new.id) else { continue };
            // Loads answer in any order: this one may have been read before what is shown.
            if new.rev < self.rows[at].rev {
                continue;
            }
            let left = matches!(new.status, Status::Closed | Status::Suppressed);
            let had = matches!(self.rows[at].status, Status::Closed | Status::Suppressed);
            if left && !had {
                self.gone.insert(new.id);
            } else if !left && had {
                self.gone.remove(&new.id);
            }
            self.rows[at] = new;
        }
    }

    /// Rows that come after (or before) the window. What is already there is left out; the far end is let go.
    pub fn extend(&mut self, rows: Vec<AlertRow>, after: bool, complete: bool) {
        let have: BTreeSet<AlertId> = self.rows.iter().map(|r| r.id).collect();
        let fresh: Vec<AlertRow> = rows.into_iter().filter(|r| !have.contains(&r.id)).collect();
        if after {
            self.at_end = complete;
            if !fresh.is_empty() {
                // What came below is in the window now; the next count begins from here.
                (self.new_below, self.base_total) = (0, None);
            }
            self.rows.extend(fresh);
            let over = self.rows.len().saturating_sub(WINDOW).min(self.scroll);
            if over > 0 {
                self.rows.drain(..over);
                self.scroll -= over;
                self.base += over as u64;
                self.at_top = false;
            }
        } else {
            self.at_top = complete;
            let n = fresh.len();
            self.rows.splice(0..0, fresh);
            self.scroll += n;
            self.base = if complete { 0 } else { self.base.saturating_sub(n as u64) };
            if self.rows.len() > WINDOW {
                self.rows.truncate(WINDOW);
                self.at_end = false;
            }
        }
    }
}
