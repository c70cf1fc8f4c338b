//! Columns on a terminal, by grapheme: what a reader takes for one character takes the width of that character.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

use super::Clean;

/// How many columns the text takes: the sum over its graphemes, which is how ratatui places them.
pub fn width(text: &Clean<'_>) -> usize {
    columns(text.as_str())
}

fn columns(text: &str) -> usize {
    if text.bytes().all(|b| matches!(b, 0x20..=0x7e)) {
        return text.len();
    }
    text.graphemes(true).map(|g| g.width()).sum()
}

/// The text cut to at most `columns`, with a mark where something was cut off.
pub fn fit(text: &Clean<'_>, columns: usize) -> String {
    let text = text.as_str();
    let mut used = 0;
    // Where to cut so that the mark still has room.
    let mut cut = 0;
    for (at, g) in text.grapheme_indices(true) {
        if used < columns {
            cut = at;
        }
        used += g.width();
        if used > columns {
            let mut out = text[..cut].to_owned();
            if columns > 0 {
                out.push('~');
            }
            return out;
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::{Untrusted, clean};

    #[test]
    fn wide_and_narrow() {
        for (text, want) in [("abc", 3), ("中文", 4), ("e\u{301}", 1), ("😀", 2), ("لا", 2), ("", 0)] {
            assert_eq!(columns(text), want, "{text}");
        }
    }

    #[test]
    fn cutting_keeps_room_for_the_mark() {
        let at = |s: &str, n| fit(&clean(&Untrusted::new(s)), n);
        assert_eq!(at("abcdef", 6), "abcdef");
        assert_eq!(at("abcdef", 5), "abcd~");
        assert_eq!(at("中文字", 5), "中文~");
        assert_eq!(at("中文字", 4), "中~");
        assert_eq!((at("ab", 1), at("ab", 0)), ("~".to_owned(), String::new()));
        assert_eq!(at("a", 1), "a");
    }

    proptest! {
        #[test]
        fn fits_and_is_whole_when_it_fits(text in "\\PC{0,40}", n in 0_usize..40) {
            let text = Untrusted::new(text);
            let clean = clean(&text);
            let out = fit(&clean, n);
            prop_assert!(columns(&out) <= n);
            prop_assert_eq!(out == clean.as_str(), width(&clean) <= n);
        }
    }
}
