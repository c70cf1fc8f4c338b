//! Columns on a terminal, by grapheme.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

use super::Clean;

/// How many columns the text takes.
pub fn width(text: &Clean<'_>) -> usize {
    text.as_str().width()
}

/// The text cut to at most `columns`, with a mark where something was cut off.
pub fn fit(text: &Clean<'_>, columns: usize) -> String {
    if width(text) <= columns {
        return text.as_str().to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for g in text.as_str().graphemes(true) {
        let w = g.width();
        if used + w + 1 > columns {
            break;
        }
        out.push_str(g);
        used += w;
    }
    if columns > 0 {
        out.push('~');
    }
    out
}
