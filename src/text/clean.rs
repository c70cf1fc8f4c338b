//! `Untrusted` to `Clean`.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::Untrusted;

/// Longest text that is shown, in bytes of input; the rest is replaced by a count.
pub const SHOWN_MAX: usize = 16 * 1024;

/// Text that is safe to put on a terminal: no controls, no bidi or invisible characters, bounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Clean<'a>(Cow<'a, str>);

impl<'a> Clean<'a> {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_owned(self) -> Clean<'static> {
        Clean(Cow::Owned(self.0.into_owned()))
    }

    /// Words of our own are clean by construction.
    pub const fn ours(text: &'static str) -> Clean<'static> {
        Clean(Cow::Borrowed(text))
    }

    pub fn into_cow(self) -> Cow<'a, str> {
        self.0
    }
}

impl std::fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// Makes text safe for one line. Newlines become a visible mark.
pub fn clean(text: &Untrusted) -> Clean<'_> {
    clean_with(text.expose(), false)
}

/// Like [`clean`], but newlines stay (as `\n`) and tabs become spaces.
pub fn clean_block(text: &Untrusted) -> Clean<'_> {
    clean_with(text.expose(), true)
}

fn clean_with(text: &str, block: bool) -> Clean<'_> {
    let mut end = text.len().min(SHOWN_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let shown = &text[..end];
    if end == text.len() && shown.chars().all(|c| !needs_mark(c, block)) {
        return Clean(Cow::Borrowed(shown));
    }
    let mut out = String::with_capacity(shown.len() + 16);
    for c in shown.chars() {
        if !needs_mark(c, block) {
            out.push(c);
        } else {
            mark(c, &mut out);
        }
    }
    if end < text.len() {
        let _ = write!(out, "<+{} bytes>", text.len() - end);
    }
    Clean(Cow::Owned(out))
}

fn needs_mark(c: char, block: bool) -> bool {
    if c == '\n' {
        return !block;
    }
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn mark(c: char, out: &mut String) {
    match c {
        '\n' => out.push('\u{23ce}'),
        '\t' => out.push(' '),
        c if (c as u32) < 0x20 => {
            out.push('^');
            out.push(char::from((c as u8) + 0x40));
        }
        '\u{7f}' => out.push_str("^?"),
        c => {
            let _ = write!(out, "<U+{:04X}>", c as u32);
        }
    }
}
