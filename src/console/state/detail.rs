//! The alert in full: what is loaded of it, how it is laid out, where one stands in it.

use std::sync::Arc;

use super::super::words::Said;
use super::doc::{Doc, DocRow};
use super::opinion::Opinion;
use crate::desk::Detail;
use crate::model::ids::AlertId;

#[derive(Clone, Debug, Default)]
pub struct DetailPane {
    /// The alert that should be shown.
    pub wanted: Option<AlertId>,
    /// A load is under way for this one; the next starts when it has answered.
    pub loading: Option<AlertId>,
    /// It changed since that load began: what answers may be from before.
    pub again: bool,
    pub shown: Option<Box<Detail>>,
    /// The shown alert without its opinion, laid out for a width.
    pub base: Doc,
    /// Row of `base` before which the opinion stands.
    pub gap: usize,
    /// The opinion, what is being written of it, and the questions asked.
    pub opinion: Opinion,
    /// The opinion stands in a column of its own beside the rest.
    pub aside: bool,
    pub scroll: usize,
    /// Of the column beside.
    pub side_scroll: usize,
    pub broken: Option<Said>,
    /// The claim that is looked at, of all claims in the order they stand on screen.
    pub claim: Option<usize>,
    /// What the next layout brings on screen.
    pub reveal: Option<Reveal>,
    /// Raw bytes of an alert, loaded when asked for.
    pub raw: Option<(AlertId, Arc<Vec<u8>>)>,
}

/// A place to be brought on screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reveal {
    Opinion,
    /// The claim that is looked at.
    Claim,
    /// The last question.
    Question,
}

impl DetailPane {
    /// Another alert, or none.
    pub fn want(&mut self, id: Option<AlertId>) {
        self.wanted = id;
        self.scroll = 0;
        self.side_scroll = 0;
        self.claim = None;
        self.reveal = None;
        self.broken = None;
    }

    /// What was laid out is laid out anew.
    pub fn stale(&mut self) {
        self.base = Doc::default();
        self.opinion = Opinion::default();
    }

    /// Rows of the opinion within the main column.
    fn inner(&self) -> &[DocRow] {
        if self.aside { &[] } else { &self.opinion.doc.rows }
    }

    /// Rows of the main column.
    pub fn lines(&self) -> usize {
        self.base.rows.len() + self.inner().len()
    }

    /// A row of the main column.
    pub fn line(&self, at: usize) -> Option<&DocRow> {
        let inner = self.inner();
        if at < self.gap {
            self.base.rows.get(at)
        } else if at < self.gap + inner.len() {
            inner.get(at - self.gap)
        } else {
            self.base.rows.get(at - inner.len())
        }
    }

    /// Rows of the main column on which a section begins.
    pub fn sections(&self) -> Vec<usize> {
        let inner = self.inner().len();
        let mut out: Vec<usize> =
            self.base.sections.iter().map(|s| if *s < self.gap { *s } else { *s + inner }).collect();
        if !self.aside {
            out.extend(self.opinion.doc.sections.iter().map(|s| s + self.gap));
            out.sort_unstable();
        }
        out
    }

    /// Brings rows of the opinion on screen. `main` and `side` are the lines shown of the two columns.
    pub fn reveal_rows(&mut self, from: usize, to: usize, main: usize, side: usize) {
        let (scroll, at, shown) =
            if self.aside { (&mut self.side_scroll, from, side) } else { (&mut self.scroll, from + self.gap, main) };
        let end = at + (to - from).min(shown);
        if at < *scroll || end > *scroll + shown {
            // A little above, so that one sees where it stands.
            *scroll = at.saturating_sub(shown.saturating_sub(to - from).min(shown / 4));
        }
    }
}
