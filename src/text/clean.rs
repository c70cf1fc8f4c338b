//! `Untrusted` to `Clean`.
//!
//! What cannot be seen is shown: a control as `^[`, a C1 control or any other invisible character as `<U+202E>`, a
//! newline in one line as `⏎`, the fifth and further mark on one character as a count, what is over the length as a
//! count. Everything that is shown this way is plain ASCII (but for `⏎`), so cleaning twice changes nothing.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

use super::Untrusted;
use super::chars::{is_clinging, is_hidden};

/// Longest text that is shown, in bytes; the rest is replaced by a count.
pub const SHOWN_MAX: usize = 16 * 1024;

/// Combining marks kept on one character.
pub const MARKS_MAX: usize = 4;

/// Characters kept in one cell: enough for the conjuncts of Indic scripts.
const CLUSTER_MAX: usize = 12;

/// Hidden characters in a row that are shown one by one; further ones are counted.
const HIDDEN_RUN: usize = 8;

/// Stands under a mark that has no character of its own.
const BASE: char = '\u{25cc}';

/// Room for `<+N bytes>` at the end.
const TAIL: usize = 32;

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

    /// For this module, where only visible ASCII was put into clean text.
    pub(super) fn made(text: String) -> Clean<'static> {
        Clean(Cow::Owned(text))
    }
}

impl std::fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// Makes text safe for one line. Newlines become a visible mark.
pub fn clean(text: &Untrusted) -> Clean<'_> {
    Clean(clean_with(text.expose(), false))
}

/// Like [`clean`], but newlines stay (as `\n`, without a carriage return) and tabs become four spaces.
pub fn clean_block(text: &Untrusted) -> Clean<'_> {
    Clean(clean_with(text.expose(), true))
}

fn clean_with(text: &str, block: bool) -> Cow<'_, str> {
    if safe_prefix(text, block) == text.len() && text.len() <= SHOWN_MAX {
        return Cow::Borrowed(text);
    }
    let mut pen = Pen { out: String::with_capacity(text.len().min(SHOWN_MAX) + 16), block, run: 0, cut: (0, 0) };
    let mut at = 0;
    while at < text.len() {
        // Plain ASCII goes over in one piece; its last character may carry marks, so it goes with what follows.
        let run = safe_prefix(&text[at..], false);
        let alone = if at + run == text.len() { run } else { run.saturating_sub(1) };
        if !pen.plain(&text[at..at + alone], at) {
            return Cow::Owned(pen.end(text.len()));
        }
        at += alone;
        let base = run - alone;
        let odd = text.as_bytes()[at + base..].iter().position(|b| matches!(b, 0x20..=0x7e));
        let end = odd.map_or(text.len(), |n| at + base + n);
        for (i, cluster) in text[at..end].grapheme_indices(true) {
            pen.cluster(cluster);
            if !pen.fits(at + i + cluster.len()) {
                return Cow::Owned(pen.end(text.len()));
            }
        }
        at = end;
    }
    pen.end_run();
    if pen.out.len() > SHOWN_MAX {
        return Cow::Owned(pen.end(text.len()));
    }
    if pen.out == text {
        return Cow::Borrowed(text);
    }
    Cow::Owned(pen.out)
}

/// Bytes at the front that are plain ASCII and need nothing done.
fn safe_prefix(text: &str, block: bool) -> usize {
    let plain = |b: &u8| matches!(b, 0x20..=0x7e) || (block && *b == b'\n');
    text.bytes().position(|b| !plain(&b)).unwrap_or(text.len())
}

/// Whether this character would be drawn onto whatever stands before it. Some marks of Myanmar and Tai Tham are not.
fn needs_base(c: char) -> bool {
    is_clinging(c) && [BASE, c].iter().collect::<String>().graphemes(true).count() == 1
}

struct Pen {
    out: String,
    block: bool,
    /// Hidden characters in a row so far.
    run: usize,
    /// Bytes shown and bytes read at the last place where the text could be cut.
    cut: (usize, usize),
}

impl Pen {
    /// Ends the text at the last good place with a count of what follows.
    fn end(mut self, len: usize) -> String {
        self.out.truncate(self.cut.0);
        let _ = write!(self.out, "<+{} bytes>", len - self.cut.1);
        self.out
    }

    /// Whether there is room for more; remembers where to cut should the next not fit.
    fn fits(&mut self, read: usize) -> bool {
        let len = self.out.len();
        if len + TAIL <= SHOWN_MAX && self.run <= HIDDEN_RUN {
            self.cut = (len, read);
        }
        len <= SHOWN_MAX
    }

    /// Plain ASCII that begins `read` bytes into the text.
    fn plain(&mut self, text: &str, read: usize) -> bool {
        if text.is_empty() {
            return true;
        }
        self.end_run();
        let room = (SHOWN_MAX - TAIL).saturating_sub(self.out.len()).min(text.len());
        self.out.push_str(&text[..room]);
        if !self.fits(read + room) {
            return false;
        }
        // One byte over the limit is enough to know that it is over.
        let more = text.len().min((SHOWN_MAX + 1).saturating_sub(self.out.len() - room));
        if more > room {
            self.out.push_str(&text[room..more]);
        }
        self.out.len() <= SHOWN_MAX
    }

    /// One cluster: what a reader takes for one character.
    fn cluster(&mut self, cluster: &str) {
        if let [b @ 0x20..=0x7e] = cluster.as_bytes() {
            self.end_run();
            self.out.push(char::from(*b));
            return;
        }
        if matches!(cluster, "\n" | "\r\n") {
            self.end_run();
            self.out.push(if self.block { '\n' } else { '\u{23ce}' });
            return;
        }
        let seen = !cluster.chars().any(is_hidden);
        let orphan = cluster.starts_with(needs_base);
        if seen && cluster.width() == 0 && !orphan {
            // Drawn as nothing when it stands alone, such as a lone vowel of Hangul.
            cluster.chars().for_each(|c| self.hidden(c));
            return;
        }
        let (mut kept, mut marks, mut dropped) = (0, 0, 0);
        for c in cluster.chars() {
            if is_hidden(c) {
                self.count(&mut dropped);
                self.hidden(c);
                (kept, marks) = (0, 0);
                continue;
            }
            let clings = is_clinging(c);
            marks += usize::from(clings);
            if kept >= CLUSTER_MAX || marks > MARKS_MAX {
                dropped += 1;
                continue;
            }
            self.end_run();
            if kept == 0 && needs_base(c) {
                self.out.push(BASE);
            }
            self.out.push(c);
            kept += 1;
        }
        self.count(&mut dropped);
    }

    /// Says how many characters of a cluster were left out.
    fn count(&mut self, dropped: &mut usize) {
        if *dropped > 0 {
            let _ = write!(self.out, "<+{} marks>", std::mem::take(dropped));
        }
    }

    fn hidden(&mut self, c: char) {
        match c {
            '\t' if self.block => {
                self.end_run();
                self.out.push_str("    ");
            }
            '\0'..='\u{1f}' => {
                self.end_run();
                self.out.push('^');
                self.out.push(char::from((c as u8) + 0x40));
            }
            '\u{7f}' => {
                self.end_run();
                self.out.push_str("^?");
            }
            c => {
                self.run += 1;
                if self.run <= HIDDEN_RUN {
                    let _ = write!(self.out, "<U+{:04X}>", c as u32);
                }
            }
        }
    }

    fn end_run(&mut self) {
        if self.run > HIDDEN_RUN {
            let _ = write!(self.out, "<+{} hidden>", self.run - HIDDEN_RUN);
        }
        self.run = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::{hostile, width};

    fn line(text: &str) -> String {
        clean(&text.into()).as_str().to_owned()
    }

    fn block(text: &str) -> String {
        clean_block(&text.into()).as_str().to_owned()
    }

    #[test]
    fn clean_text_is_borrowed() {
        for text in ["", "plain ASCII ~", "Übung – 中文 한국어 हिन्दी العربية 😀 e\u{301}", "\u{fffd}"]
        {
            let text = Untrusted::new(text);
            assert!(matches!(clean(&text).into_cow(), Cow::Borrowed(_)), "{text:?}");
            assert!(matches!(clean_block(&text).into_cow(), Cow::Borrowed(_)), "{text:?}");
        }
        let text = Untrusted::new("two\nlines");
        assert!(matches!(clean_block(&text).into_cow(), Cow::Borrowed(_)));
        assert!(matches!(clean(&text).into_cow(), Cow::Owned(_)));
    }

    #[test]
    fn what_cannot_be_seen_is_shown() {
        for (text, want) in [
            ("\u{1b}]52;c;aGk=\u{7}", "^[]52;c;aGk=^G"),
            ("a\r\nb\nc\rd\te", "a⏎b⏎c^Md^Ie"),
            ("\0\u{7f}", "^@^?"),
            ("\u{9b}31m", "<U+009B>31m"),
            ("gpj\u{202e}exe", "gpj<U+202E>exe"),
            ("a\u{200b}b\u{2028}c\u{feff}", "a<U+200B>b<U+2028>c<U+FEFF>"),
            ("\u{e0041}", "<U+E0041>"),
            ("👩\u{200d}💻 ❤\u{fe0f}", "👩<U+200D>💻 ❤<U+FE0F>"),
            ("e\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}x", "e\u{301}\u{302}\u{303}\u{304}<+2 marks>x"),
            ("\u{301}a", "◌\u{301}a"),
            ("\u{1b}\u{301}", "^[◌\u{301}"),
            ("\u{e000}\u{378}\u{2800}\u{3164}", "<U+E000><U+0378><U+2800><U+3164>"),
            ("\u{1160}", "<U+1160>"),
        ] {
            assert_eq!(line(text), want, "{text:?}");
        }
        assert_eq!(line(&"\u{200b}".repeat(100)), format!("{}<+92 hidden>", "<U+200B>".repeat(8)));
    }

    #[test]
    fn every_character_alone_is_shown_or_marked() {
        // The planes left out are Han, unassigned or private from end to end.
        for c in (0..0x20000).chain(0xe0000..0xe0200).chain([0x10ffff]).filter_map(char::from_u32) {
            let text = c.to_string();
            let shown = clean_with(&text, false);
            assert!(shown.width() > 0 && shown.chars().all(|c| !is_hidden(c)), "U+{:04X}", c as u32);
            assert_eq!(clean_with(&shown, false), shown, "U+{:04X}", c as u32);
        }
    }

    #[test]
    fn blocks_keep_their_lines() {
        assert_eq!(block("a\r\nb\n\tc\u{1b}"), "a\nb\n    c^[");
        assert_eq!(block("a\rb"), "a^Mb");
    }

    #[test]
    fn long_text_is_cut_and_counted() {
        let exact = "x".repeat(SHOWN_MAX);
        assert_eq!(line(&exact), exact);
        let long = "x".repeat(1_000_000);
        let shown = line(&long);
        assert!(shown.len() <= SHOWN_MAX);
        let kept = shown.bytes().take_while(|b| *b == b'x').count();
        assert_eq!(shown[kept..], format!("<+{} bytes>", 1_000_000 - kept));
        let controls = line(&"\u{1b}".repeat(SHOWN_MAX));
        assert!(controls.len() <= SHOWN_MAX && controls.ends_with(" bytes>"));
        let zalgo = line(&format!("a{}", "\u{301}".repeat(100_000)));
        assert!(zalgo.len() < 100, "{}", zalgo.len());
    }

    fn is_safe(text: &str, block: bool) -> Result<(), TestCaseError> {
        for c in text.chars() {
            prop_assert!((block && c == '\n') || !is_hidden(c), "U+{:04X}", c as u32);
        }
        for g in text.graphemes(true) {
            prop_assert!(g.chars().filter(|c| is_clinging(*c)).count() <= MARKS_MAX);
            prop_assert!(!g.starts_with(needs_base));
            prop_assert!(g == "\n" || g.width() > 0, "{g:?} takes no room");
        }
        prop_assert!(text.len() <= SHOWN_MAX);
        Ok(())
    }

    /// Ordinary text mixed with everything that is not.
    fn strings() -> impl Strategy<Value = String> {
        let nasty = prop::sample::select(hostile::fragments());
        let piece = prop_oneof![3 => "\\PC{0,8}", 3 => any::<String>(), 4 => nasty.prop_map(str::to_owned)];
        prop::collection::vec(piece, 0..12).prop_map(|v| v.concat())
    }

    proptest! {
        #[test]
        fn output_is_safe_and_stable(text in strings(), is_block: bool) {
            let once = clean_with(&text, is_block).into_owned();
            is_safe(&once, is_block)?;
            prop_assert_eq!(clean_with(&once, is_block).into_owned(), once.clone());
            let borrowed = matches!(clean_with(&text, is_block), Cow::Borrowed(_));
            prop_assert_eq!(borrowed, once == text);
            let cells: usize = once.graphemes(true).map(|g| g.width()).sum();
            prop_assert_eq!(width(&Clean(Cow::Owned(once))), cells);
        }

        #[test]
        fn long_output_is_safe_and_stable(text in strings(), times in 1_usize..4000) {
            let text: String = text.repeat(times).chars().take(40_000).collect();
            let once = clean_with(&text, false).into_owned();
            is_safe(&once, false)?;
            prop_assert_eq!(clean_with(&once, false).into_owned(), once);
        }

        #[test]
        fn a_hostile_character_leaves_a_trace(before in "\\PC{0,4}", nasty in prop::sample::select(hostile::fragments()), after in "\\PC{0,4}") {
            let text = format!("{before}{nasty}{after}");
            prop_assert_ne!(clean_with(&text, false).into_owned(), text);
        }
    }
}
