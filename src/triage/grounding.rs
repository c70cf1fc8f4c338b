//! Does the named field really hold the quote?
//!
//! A backend's claim counts only when it quotes the alert. The check is ours, byte for byte, and knows nothing of what
//! the claim says: a founded claim may still draw a wrong conclusion, but it cannot invent its evidence.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation as _;

use crate::model::fields::Field;
use crate::model::verdict::Claim;
use crate::text::{self, SHOWN_MAX, Untrusted, clean};

/// Shortest quote that proves anything, in letters and digits.
pub const MIN_QUOTE: usize = 3;
/// Shortest number that does: `1` or `445` stands somewhere in every record, `4625` is an event id.
pub const MIN_DIGITS: usize = 4;

/// Where a quote stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Index into the fields.
    pub field: usize,
    /// Bytes of the field's value. The whole value when the quote is of what only counts what it hides.
    pub range: Range<usize>,
}

/// Why a claim is unfounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfounded {
    /// Too short, only a small number, or a word such as `true`: it would be found by chance.
    ProvesNothing,
    NoSuchField,
    NotInField,
}

impl Unfounded {
    pub fn words(self) -> &'static str {
        match self {
            Self::ProvesNothing => "the quote is too short to prove anything",
            Self::NoSuchField => "the alert has no such field",
            Self::NotInField => "the field does not hold this quote",
        }
    }
}

/// Would finding this quote mean anything?
pub fn proves(quote: &str) -> bool {
    let q = quote.trim();
    let marks = q.chars().filter(|c| c.is_alphanumeric()).count();
    let digits = q.bytes().filter(u8::is_ascii_digit).count();
    let numeric = q.chars().all(|c| c.is_ascii_digit() || "+-.,eE ".contains(c));
    let word = ["true", "false", "null", "none", "yes", "unknown"].iter().any(|w| q.eq_ignore_ascii_case(w));
    marks >= MIN_QUOTE && !word && !(numeric && digits < MIN_DIGITS)
}

/// Finds the quote in the field of this path: in its bytes, else in its cleaned form, which is what a prompt and a screen
/// show, with runs of blanks counted as one. Case counts. A path is also known by its cleaned form.
pub fn locate(fields: &[Field], path: &Untrusted, quote: &Untrusted) -> Result<Span, Unfounded> {
    let q = quote.expose().trim();
    if !proves(q) {
        return Err(Unfounded::ProvesNothing);
    }
    let mut named = false;
    let is_named = |f: &Field| f.path == *path || clean(&f.path).as_str() == path.expose().trim();
    for (i, field) in fields.iter().enumerate().filter(|(_, f)| is_named(f)) {
        named = true;
        if let Some(range) = within(&field.value, q) {
            return Ok(Span { field: i, range });
        }
    }
    Err(if named { Unfounded::NotInField } else { Unfounded::NoSuchField })
}

fn within(value: &Untrusted, quote: &str) -> Option<Range<usize>> {
    let bytes = value.expose();
    if let Some(at) = bytes.find(quote) {
        return Some(at..at + quote.len());
    }
    // Only its front is shown, and so quoted.
    let seen = text::front(bytes, SHOWN_MAX);
    let normal = Normal::of(seen);
    let wanted = blanks_as_one(quote);
    if let Some(at) = normal.text.find(&wanted) {
        return Some(normal.range(at, at + wanted.len()));
    }
    // Characters that were counted instead of shown have no place of their own.
    clean(value).as_str().contains(quote).then_some(0..bytes.len())
}

fn blanks_as_one(text: &str) -> String {
    text.replace('\u{23ce}', " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text as it is shown, character by character, with where each came from.
struct Normal {
    text: String,
    /// For each byte of `text`, the bytes of the original behind it.
    from: Vec<(u32, u32)>,
}

impl Normal {
    fn of(original: &str) -> Self {
        let mut out = Self { text: String::with_capacity(original.len()), from: Vec::with_capacity(original.len()) };
        for (at, cluster) in original.grapheme_indices(true) {
            let behind = (at as u32, (at + cluster.len()) as u32);
            if cluster.chars().all(char::is_whitespace) {
                if !out.text.ends_with(' ') {
                    out.push(" ", behind);
                } else if let Some(last) = out.from.last_mut() {
                    last.1 = behind.1;
                }
            } else if cluster.len() == 1 && cluster.as_bytes()[0].is_ascii_graphic() {
                out.push(cluster, behind);
            } else {
                out.push(clean(&cluster.into()).as_str(), behind);
            }
        }
        out
    }

    fn push(&mut self, text: &str, behind: (u32, u32)) {
        self.text.push_str(text);
        self.from.resize(self.text.len(), behind);
    }

    fn range(&self, start: usize, end: usize) -> Range<usize> {
        let first = self.from.get(start).map_or(0, |f| f.0 as usize);
        let last = self.from.get(end.saturating_sub(1)).map_or(first, |f| f.1 as usize);
        first..last
    }
}

/// Marks each claim, whatever it said of itself before.
pub fn ground(claims: &mut [Claim], fields: &[Field]) {
    for claim in claims {
        let span = locate(fields, &claim.field, &claim.quote).ok();
        claim.founded = span.is_some();
        claim.span = span.map(|s| (s.range.start, s.range.end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(rows: &[(&str, &str)]) -> Vec<Field> {
        rows.iter().map(|(p, v)| Field { path: (*p).into(), value: (*v).into() }).collect()
    }

    fn at(f: &[Field], path: &str, quote: &str) -> Result<Range<usize>, Unfounded> {
        locate(f, &path.into(), &quote.into()).map(|s| s.range)
    }

    #[test]
    fn a_quote_counts_only_in_the_field_it_names() {
        let f =
            fields(&[("rule.description", "LSASS memory read"), ("agent.name", "fin-ws-014"), ("rule.level", "14")]);
        assert_eq!(at(&f, "rule.description", "memory"), Ok(6..12));
        assert_eq!(at(&f, "agent.name", "memory"), Err(Unfounded::NotInField));
        assert_eq!(at(&f, "agent", "fin-ws-014"), Err(Unfounded::NoSuchField));
        assert_eq!(at(&f, "rule.description", "lsass Memory"), Err(Unfounded::NotInField));
        assert_eq!(at(&f, "agent.name", " fin-ws-014 "), Ok(0..10));
    }

    #[test]
    fn what_proves_nothing_is_unfounded_even_when_it_is_there() {
        let f = fields(&[
            ("a", "1"),
            ("b", "true"),
            ("c", "445"),
            ("d", "-.5e3"),
            ("e", "..."),
            ("f", "ab"),
            ("g", "4625"),
        ]);
        for (path, quote) in
            [("a", "1"), ("b", "true"), ("c", "445"), ("d", "-.5e3"), ("e", "..."), ("f", "ab"), ("f", "")]
        {
            assert_eq!(at(&f, path, quote), Err(Unfounded::ProvesNothing), "{quote}");
        }
        assert_eq!(at(&f, "g", "4625"), Ok(0..4));
    }

    #[test]
    fn the_cleaned_form_counts_too() {
        let f = fields(&[("file.name", "invoice_\u{202e}fdp.exe")]);
        assert_eq!(at(&f, "file.name", "invoice_<U+202E>fdp.exe"), Ok(0..18));
        assert_eq!(at(&f, "file.name", "<U+202E>fdp"), Ok(8..14), "mapped to the bytes behind it");
        assert_eq!(at(&f, "file.name", "invoice_\u{202e}fdp.exe"), Ok(0..18));
        let g = fields(&[("log\n1", "sshd:  Failed\n\tpassword\u{1b}[2J for root")]);
        assert_eq!(at(&g, "log\n1", "sshd: Failed password"), Ok(0..23));
        assert_eq!(at(&g, "log\u{23ce}1", "Failed\u{23ce} password^[[2J for"), Ok(7..31), "by the path shown");
        assert_eq!(at(&g, "log\n1", "sshd:Failed"), Err(Unfounded::NotInField));
        let hidden = fields(&[("x", &format!("a{}bcd", "\u{200b}".repeat(40)))]);
        let shown = clean(&hidden[0].value).as_str().to_owned();
        assert_eq!(at(&hidden, "x", &shown), Ok(0..hidden[0].value.expose().len()));
        assert_eq!(at(&f, "file.name", "invoice_fdp.exe"), Err(Unfounded::NotInField));
    }

    #[test]
    fn a_backend_cannot_call_its_own_claims_founded() {
        let f = fields(&[("title", "Backup finished")]);
        let claim = |quote: &str| Claim { founded: true, ..Claim::new("x", "title", quote) };
        let mut claims = [claim("Backup"), claim("Mimikatz")];
        ground(&mut claims, &f);
        assert!(claims[0].founded && !claims[1].founded);
    }

    proptest::proptest! {
        #[test]
        fn every_long_piece_of_a_value_is_found_and_spans_fit(v in "\\PC{4,60}", a in 0usize..60, n in 4usize..40) {
            let piece: String = v.chars().skip(a).take(n).collect();
            let f = fields(&[("x", &v)]);
            match locate(&f, &"x".into(), &piece.as_str().into()) {
                Ok(s) => proptest::prop_assert_eq!(&v[s.range], piece.trim()),
                Err(e) => proptest::prop_assert_eq!(e, Unfounded::ProvesNothing),
            }
        }
    }
}
