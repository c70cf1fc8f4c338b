//! Text that may stand on the screen: our own words and numbers, and what [`crate::text::clean`] let through.
//!
//! [`Said`] can only be built from `&'static str`, numbers, ids and [`Clean`], so a borrowed `&str` or a `String`
//! from a file, a person or an alert cannot reach a cell without being cleaned: it does not compile.

use jiff::Timestamp;

use crate::model::ids::{AlertId, CaseId, PersonId, RequestId, SuppressionId};
use crate::text::{Clean, Untrusted, clean};

/// A piece of safe text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said(String);

impl Said {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn push(&mut self, what: &(impl Show + ?Sized)) {
        what.show(&mut self.0);
    }

    /// Any other text: settings, roster, file names, error messages. Cleaned, as one line.
    pub fn of(text: &str) -> Self {
        Self(clean(&Untrusted::new(text)).as_str().to_owned())
    }

    /// Alert text, cleaned, as one line.
    pub fn from_untrusted(text: &Untrusted) -> Self {
        Self(clean(text).as_str().to_owned())
    }

    /// Columns on the screen.
    pub fn width(&self) -> usize {
        width(&self.0)
    }

    /// Cut into lines of at most `columns`, at spaces where there are some. Never empty.
    pub fn wrap(&self, columns: usize) -> Vec<Said> {
        wrap(&self.0, columns).into_iter().map(Said).collect()
    }

    /// Cut into lines of at most `columns`, keeping every character: for bytes, where a lost space matters.
    pub fn chunks(&self, columns: usize) -> Vec<Said> {
        let mut out = Vec::new();
        let mut rest = self.0.as_str();
        while !rest.is_empty() {
            let n = match cut(rest, columns.max(1)).len() {
                0 => rest.chars().next().map_or(1, char::len_utf8),
                n => n,
            };
            out.push(Self(rest[..n].to_owned()));
            rest = &rest[n..];
        }
        if out.is_empty() {
            out.push(Self::new());
        }
        out
    }

    /// The first `at` bytes and the rest, cut between characters.
    pub fn split(self, at: usize) -> (Self, Self) {
        let end = crate::text::front(&self.0, at).len();
        let mut head = self.0;
        let tail = head.split_off(end);
        (Self(head), Self(tail))
    }

    /// Padded with spaces to `columns`, on the right.
    pub fn padded(mut self, columns: usize) -> Self {
        let w = self.width();
        self.0.extend(std::iter::repeat_n(' ', columns.saturating_sub(w)));
        self
    }
}

/// Columns a string takes; quick for ASCII.
pub fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { unicode_width::UnicodeWidthStr::width(text) }
}

/// Something that is safe to show.
pub trait Show {
    fn show(&self, out: &mut String);
}

impl Show for &'static str {
    fn show(&self, out: &mut String) {
        out.push_str(self);
    }
}

impl Show for Clean<'_> {
    fn show(&self, out: &mut String) {
        out.push_str(self.as_str());
    }
}

impl Show for Said {
    fn show(&self, out: &mut String) {
        out.push_str(&self.0);
    }
}

/// Cleaned on the way.
impl Show for Untrusted {
    fn show(&self, out: &mut String) {
        out.push_str(clean(self).as_str());
    }
}

impl<T: Show + ?Sized> Show for &T
where
    T: NotStr,
{
    fn show(&self, out: &mut String) {
        (*self).show(out);
    }
}

/// Keeps the blanket reference impl away from `str`.
pub trait NotStr {}
impl NotStr for Clean<'_> {}
impl NotStr for Said {}
impl NotStr for Untrusted {}

macro_rules! show_by_display {
    ($($t:ty),*) => { $(
        impl Show for $t {
            fn show(&self, out: &mut String) {
                use std::fmt::Write as _;
                let _ = write!(out, "{self}");
            }
        }
        impl NotStr for $t {}
    )* };
}
show_by_display!(
    u8,
    u16,
    u32,
    u64,
    usize,
    i16,
    i32,
    i64,
    AlertId,
    CaseId,
    SuppressionId,
    PersonId,
    RequestId,
    std::net::IpAddr,
    Clock
);

/// `09:41`, time of day in UTC, as everywhere on screen.
pub struct Clock(pub Timestamp);

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let minutes = self.0.as_second().rem_euclid(86_400) / 60;
        write!(f, "{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl Said {
    /// Two decimals at most, such as `12.5` or `0.86`.
    pub fn decimal(value: f64, places: usize) -> Self {
        Self(format!("{value:.places$}"))
    }

    /// `2026-11-21 09:41:03` in UTC.
    pub fn moment(at: Timestamp) -> Self {
        Self(at.strftime("%Y-%m-%d %H:%M:%S").to_string())
    }

    /// A length of time in at most four columns: `42s`, `11m`, `3h`, `12d`.
    pub fn span(seconds: i64) -> Self {
        let s = seconds.abs();
        Self(match s {
            0..60 => format!("{s}s"),
            60..3600 => format!("{}m", s / 60),
            3600..172_800 => format!("{}h", s / 3600),
            _ => format!("{}d", s / 86_400),
        })
    }

    /// Lower-case hex of bytes.
    pub fn hex(bytes: &[u8]) -> Self {
        Self(hex::encode(bytes))
    }

    /// `15 234` style grouping is left out on purpose: numbers are searched and copied.
    pub fn number(n: u64) -> Self {
        Self(n.to_string())
    }

    /// What a person typed into one of our own fields. It was cleaned when it was typed.
    pub fn typed(text: &str) -> Self {
        Self::of(text)
    }

    /// One printable ASCII character, others as a dot: the right side of a hex view.
    pub fn ascii_of(bytes: &[u8]) -> Self {
        Self(bytes.iter().map(|b| if (0x20..0x7f).contains(b) { char::from(*b) } else { '.' }).collect())
    }

    /// Braille cells of two by four dots; each byte is a cell's dots as Unicode numbers them.
    pub fn braille(cells: &[u8]) -> Self {
        Self(cells.iter().filter_map(|dots| char::from_u32(0x2800 + u32::from(*dots))).collect())
    }

    /// `03:12`, minutes and seconds, or hours before them; for clocks that count down.
    pub fn countdown(seconds: i64) -> Self {
        let s = seconds.max(0);
        let (h, m) = (s / 3600, s / 60 % 60);
        Self(if h > 0 { format!("{h}:{m:02}:{:02}", s % 60) } else { format!("{m:02}:{:02}", s % 60) })
    }

    /// `2026-11-21 09:41` in UTC.
    pub fn minute(at: Timestamp) -> Self {
        Self(at.strftime("%Y-%m-%d %H:%M").to_string())
    }

    /// The same text `n` times.
    pub fn repeat(what: &'static str, n: usize) -> Self {
        Self(what.repeat(n))
    }

    /// At most `columns`, with a mark where something was cut off.
    pub fn fit(&self, columns: usize, mark: &'static str) -> Self {
        if self.width() <= columns {
            return self.clone();
        }
        let mut out = cut(&self.0, columns.saturating_sub(width(mark))).to_owned();
        if columns > 0 {
            out.push_str(mark);
        }
        Self(out)
    }
}

/// The longest prefix of whole graphemes within `columns`.
pub fn cut(text: &str, columns: usize) -> &str {
    if text.is_ascii() {
        return &text[..text.len().min(columns)];
    }
    use unicode_segmentation::UnicodeSegmentation as _;
    let mut used = 0;
    for (at, g) in text.grapheme_indices(true) {
        let w = width(g);
        if used + w > columns {
            return &text[..at];
        }
        used += w;
    }
    text
}

/// Builds a [`Said`] from pieces: `say!("alert ", id, " is yours")`.
#[macro_export]
#[doc(hidden)]
macro_rules! __say {
    ($($piece:expr),* $(,)?) => {{
        #[allow(unused_mut, reason = "an empty list of words pushes nothing")]
        let mut said = $crate::console::words::Said::new();
        $( said.push(&$piece); )*
        said
    }};
}
pub use crate::__say as say;

fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut out = Vec::new();
    for part in text.split('\n') {
        let mut rest = part;
        loop {
            let head = cut(rest, columns);
            if head.len() == rest.len() {
                out.push(rest.to_owned());
                break;
            }
            let head = if head.is_empty() {
                // One grapheme wider than the whole column: take it anyway rather than loop for ever.
                let n = rest.chars().next().map_or(1, char::len_utf8);
                &rest[..n]
            } else {
                head
            };
            let at = match head.rfind(' ') {
                // A space in the first third would leave a ragged line: cut the word instead.
                Some(i) if i > head.len() / 3 => i + 1,
                _ if rest[head.len()..].starts_with(' ') => head.len(),
                _ => head.len(),
            };
            out.push(rest[..at].trim_end().to_owned());
            rest = rest[at..].trim_start_matches(' ');
            if rest.is_empty() {
                break;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_spaces_and_never_loses_a_word() {
        let s = Said::of("the quick brown fox jumps over the lazy dog");
        let lines = s.wrap(12);
        assert!(lines.iter().all(|l| l.width() <= 12), "{lines:?}");
        let joined = lines.iter().map(Said::as_str).collect::<Vec<_>>().join(" ");
        assert_eq!(joined, "the quick brown fox jumps over the lazy dog");
    }

    #[test]
    fn wraps_long_words_and_wide_characters() {
        let s = Said::of("漢字漢字漢字");
        assert!(s.wrap(5).iter().all(|l| l.width() <= 4));
        assert_eq!(Said::of(&"a".repeat(25)).wrap(10).len(), 3);
        assert_eq!(Said::of("漢").wrap(1).len(), 1);
        assert_eq!(Said::new().wrap(10).len(), 1);
    }

    #[test]
    fn borrowed_text_is_cleaned() {
        assert!(!Said::of("a\u{1b}[31mb").as_str().contains('\u{1b}'));
        let hostile = Untrusted::new("x\u{202e}y");
        assert!(!say!("t: ", hostile).as_str().contains('\u{202e}'));
    }

    #[test]
    fn fit_marks_what_it_cuts() {
        assert_eq!(Said::of("abcdef").fit(4, "~").as_str(), "abc~");
        assert_eq!(Said::of("漢字漢字").fit(4, "~").as_str(), "漢~");
        assert_eq!(Said::of("abc").fit(3, "~").as_str(), "abc");
    }

    #[test]
    fn spans_are_short() {
        for s in [0, 59, 60, 3599, 3600, 100_000, 999 * 86_400] {
            assert!(Said::span(s).width() <= 4);
        }
    }
}
