//! Does the named field really hold the quote?
//!
//! A backend's claim counts only when it quotes the alert. The check is ours, byte for byte, and knows nothing of what
//! the claim says: a founded claim may still draw a wrong conclusion, but it cannot invent its evidence.

use std::ops::Range;

use crate::model::fields::Field;
use crate::model::verdict::Claim;
use crate::text::{Untrusted, clean};

/// Shortest quote that proves anything, in letters and digits.
pub const MIN_QUOTE: usize = 3;
/// Shortest number that does: `1` or `445` stands somewhere in every record, `4625` is an event id.
pub const MIN_DIGITS: usize = 4;

/// Where a quote stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Index into the fields.
    pub field: usize,
    /// Bytes of the field's value. The whole value when the quote is of its cleaned form.
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

/// Finds the quote in the field of exactly this path: in its bytes, or in its cleaned form, which is what a prompt and
/// a screen show.
pub fn locate(fields: &[Field], path: &Untrusted, quote: &Untrusted) -> Result<Span, Unfounded> {
    let q = quote.expose().trim();
    if !proves(q) {
        return Err(Unfounded::ProvesNothing);
    }
    let mut named = false;
    for (i, field) in fields.iter().enumerate().filter(|(_, f)| f.path == *path) {
        named = true;
        let value = field.value.expose();
        if let Some(at) = value.find(q) {
            return Ok(Span { field: i, range: at..at + q.len() });
        }
        if clean(&field.value).as_str().contains(q) {
            return Ok(Span { field: i, range: 0..value.len() });
        }
    }
    Err(if named { Unfounded::NotInField } else { Unfounded::NoSuchField })
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
        assert_eq!(at(&f, "file.name", "invoice_\u{202e}fdp.exe"), Ok(0..18));
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
