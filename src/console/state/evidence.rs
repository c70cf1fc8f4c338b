//! The record itself, laid out: its bytes as text, or its fields, with a piece of it marked.

use std::ops::Range;

use super::super::theme::Role;
use super::super::words::{Said, say};
use super::doc::{Doc, DocRow};
use crate::model::fields::Field;
use crate::text::Untrusted;

/// Bytes cleaned at a time, for cleaning shows only so much of one text.
const PIECE: usize = 4096;

/// What is marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// These bytes of the record.
    Bytes(Range<usize>),
    /// A field of the list, and the piece of its value, if there is one.
    Field(usize, Option<(usize, usize)>),
    /// The field that is named is not there.
    Nowhere,
}

/// A record as rows, and where the mark stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marked {
    pub doc: Doc,
    /// First and last row that hold something marked.
    pub rows: Option<(usize, usize)>,
}

/// One line being put together.
struct Line<'a> {
    out: &'a mut Marked,
    text: Said,
    /// Bytes of `text` that are marked.
    marks: Vec<(usize, usize)>,
    /// Before every row of it.
    indent: usize,
}

impl Line<'_> {
    fn push(&mut self, text: &str, marked: bool) {
        let mut rest = text;
        while !rest.is_empty() {
            let piece = crate::text::front(rest, PIECE);
            self.said(&Said::of(piece), marked);
            rest = &rest[piece.len()..];
        }
    }

    fn said(&mut self, text: &Said, marked: bool) {
        let from = self.text.as_str().len();
        self.text.push(text);
        if marked {
            self.marks.push((from, self.text.as_str().len()));
        }
    }

    fn end(&mut self) {
        let doc = &mut self.out.doc;
        let mut at = 0;
        for row in std::mem::take(&mut self.text).chunks(doc.width.saturating_sub(self.indent)) {
            let end = at + row.as_str().len();
            let (mut row, marked) = highlight(row, at, &self.marks);
            if self.indent > 0 {
                row.insert(0, (Said::repeat(" ", self.indent), Role::Text));
            }
            if marked {
                let n = doc.rows.len();
                self.out.rows = Some(self.out.rows.map_or((n, n), |(first, _)| (first, n)));
            }
            doc.rows.push(row);
            at = end;
        }
        self.marks.clear();
    }
}

/// A row that begins at byte `at` of its line, cut where marks begin and end; and whether it holds one.
fn highlight(row: Said, at: usize, marks: &[(usize, usize)]) -> (DocRow, bool) {
    let end = at + row.as_str().len();
    let mut out = Vec::new();
    let (mut rest, mut done) = (row, at);
    for (from, to) in marks.iter().filter(|(from, to)| *from < end && *to > at) {
        let (from, to) = ((*from).max(done), (*to).min(end));
        let (before, tail) = rest.split(from - done);
        let (piece, tail) = tail.split(to - from);
        out.push((before, Role::Text));
        out.push((piece, Role::Evidence));
        (rest, done) = (tail, to);
    }
    let marked = !out.is_empty();
    out.push((rest, Role::Text));
    (out, marked)
}

/// Raw bytes as wrapped text, with these of them marked: what is no UTF-8 is shown as `<xFF>`.
pub fn of_raw(bytes: &[u8], width: usize, mark: Option<&Range<usize>>) -> Marked {
    let mut out = Marked { doc: Doc::new(width), rows: None };
    let mut line = Line { out: &mut out, text: Said::new(), marks: Vec::new(), indent: 0 };
    let within = |at: usize| mark.is_some_and(|m| m.contains(&at));
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        for (i, part) in chunk.valid().split('\n').enumerate() {
            if i > 0 {
                at += 1;
                line.end();
            }
            let mut rest = part;
            while !rest.is_empty() {
                // Up to where the mark begins or ends, whichever is next.
                let ends = mark.into_iter().flat_map(|m| [m.start, m.end]);
                let next = ends.filter(|e| *e > at && *e < at + rest.len()).min().unwrap_or(at + rest.len());
                let piece = crate::text::front(rest, next - at);
                let piece = if piece.is_empty() { rest } else { piece };
                line.push(piece, within(at));
                at += piece.len();
                rest = &rest[piece.len()..];
            }
        }
        for b in chunk.invalid() {
            line.said(&say!("<x", Said::hex(&[*b]), ">"), within(at));
            at += 1;
        }
    }
    if !line.text.is_empty() || line.out.doc.rows.is_empty() {
        line.end();
    }
    out
}

/// The fields of a record, one after the other, with a piece of one of them marked.
pub fn of_fields(fields: &[Field], width: usize, mark: Option<&Mark>) -> Marked {
    let mut out = Marked { doc: Doc::new(width), rows: None };
    for (i, f) in fields.iter().enumerate() {
        let here = match mark {
            Some(Mark::Field(at, span)) if *at == i => Some(*span),
            _ => None,
        };
        let path = Said::from_untrusted(&f.path);
        let lead = if here.is_some() { "> " } else { "  " };
        out.doc
            .rows
            .push(vec![(say!(lead), Role::Accent), (path, if here.is_some() { Role::Heading } else { Role::Dim })]);
        let row = out.doc.rows.len();
        let mut line = Line { out: &mut out, text: Said::new(), marks: Vec::new(), indent: 4 };
        value(&mut line, &f.value, here.flatten());
        line.end();
        if here.is_some() && out.rows.is_none() {
            out.rows = Some((row - 1, row));
        }
    }
    if fields.is_empty() {
        out.doc.text(2, &say!("the record has no fields that could be read"), Role::Dim);
    }
    out
}

fn value(line: &mut Line<'_>, value: &Untrusted, span: Option<(usize, usize)>) {
    let text = value.expose();
    let (from, to) = span.unwrap_or((0, 0));
    match (text.get(..from), text.get(from..to), text.get(to..)) {
        (Some(before), Some(piece), Some(after)) => {
            line.push(before, false);
            line.push(piece, true);
            line.push(after, false);
        }
        _ => line.push(text, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(m: &Marked) -> String {
        m.doc.rows.iter().flatten().map(|(s, _)| s.as_str()).collect()
    }

    fn marked(m: &Marked) -> String {
        m.doc.rows.iter().flatten().filter(|(_, r)| *r == Role::Evidence).map(|(s, _)| s.as_str()).collect()
    }

    #[test]
    fn raw_bytes_are_shown_whole_and_safe() {
        let mut bytes = b"{\"a\":\"x\xff\x1b[2J\"}\nnext line".to_vec();
        bytes.extend(std::iter::repeat_n(b'z', 20_000));
        let m = of_raw(&bytes, 60, None);
        assert!(all(&m).contains("<xff>"), "invalid bytes are visible");
        assert!(!all(&m).contains('\u{1b}'));
        assert_eq!(all(&m).matches('z').count(), 20_000, "nothing is cut");
        assert!(m.doc.rows.iter().all(|r| r.iter().map(|(s, _)| s.width()).sum::<usize>() <= 60));
    }

    #[test]
    fn exactly_the_marked_bytes_are_marked_across_rows_and_lines() {
        let bytes = b"0123456789012345678needle and more, then needle again\nsecond";
        let m = of_raw(bytes, 22, Some(&(19..25)));
        assert_eq!(marked(&m), "needle");
        assert_eq!(m.rows, Some((0, 1)));
        assert_eq!(all(&m), "0123456789012345678needle and more, then needle againsecond");
        let m = of_raw(bytes, 22, Some(&(48..57)));
        assert_eq!(marked(&m), "againsec", "the newline between them is a new row");
        let m = of_raw(b"a\xffb\x1bc", 22, Some(&(1..4)));
        assert_eq!(marked(&m), "<xff>b^[");
        assert_eq!(of_raw(b"\xc3\xa9", 22, Some(&(1..2))).doc.rows.len(), 1, "half a character is survived");
        assert_eq!(of_raw(b"abc", 22, Some(&(7..9))).rows, None);
    }

    #[test]
    fn a_field_is_marked_in_its_list() {
        let fields: Vec<Field> = [("a", "one needle"), ("b", "two needle\u{202e}"), ("c", "")]
            .map(|(p, v)| Field { path: p.into(), value: v.into() })
            .into();
        let m = of_fields(&fields, 40, Some(&Mark::Field(1, Some((4, 10)))));
        assert_eq!(marked(&m), "needle");
        assert_eq!(m.rows, Some((3, 3)));
        let m = of_fields(&fields, 40, Some(&Mark::Field(1, None)));
        assert_eq!((marked(&m), m.rows), (String::new(), Some((2, 3))), "the field is shown, nothing in it");
        assert_eq!(of_fields(&fields, 40, Some(&Mark::Nowhere)).rows, None);
        assert!(of_fields(&fields, 40, Some(&Mark::Field(2, Some((5, 9))))).rows.is_some());
    }
}
