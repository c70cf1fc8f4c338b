//! Which characters a reader cannot see, and which cling to the one before. From the Unicode tables of
//! `regex-syntax`, so that a new version of Unicode is a version of that crate.

use std::sync::OnceLock;

use regex_syntax::hir::{Class, HirKind};

/// Sorted ranges of characters.
struct Table(Vec<(char, char)>);

impl Table {
    /// From a character class. A class that did not parse holds everything beyond ASCII, which shows too much rather
    /// than too little; a test sees to it that they all parse.
    fn new(class: &str) -> Self {
        if let Ok(hir) = regex_syntax::parse(class)
            && let HirKind::Class(Class::Unicode(set)) = hir.kind()
        {
            return Self(set.iter().map(|r| (r.start(), r.end())).collect());
        }
        Self(vec![('\u{80}', char::MAX)])
    }

    fn has(&self, c: char) -> bool {
        let after = self.0.partition_point(|(start, _)| *start <= c);
        after.checked_sub(1).is_some_and(|i| c <= self.0[i].1)
    }
}

/// Controls, format characters (bidi, zero width, tags), private use, unassigned, line and paragraph separators,
/// everything else Unicode says to ignore (variation selectors, fillers), and the blank Braille pattern.
const HIDDEN: &str = r"[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\x{2800}]";

/// Combining marks, and what else extends the character before: emoji modifiers, halfwidth voicing marks.
const CLINGING: &str = r"[\p{M}\p{Emoji_Modifier}\x{FF9E}\x{FF9F}]";

/// No reader sees this character, or it drives the terminal.
pub fn is_hidden(c: char) -> bool {
    static TABLE: OnceLock<Table> = OnceLock::new();
    if c.is_ascii() { c.is_ascii_control() } else { TABLE.get_or_init(|| Table::new(HIDDEN)).has(c) }
}

/// Drawn onto the character before it.
pub fn is_clinging(c: char) -> bool {
    static TABLE: OnceLock<Table> = OnceLock::new();
    !c.is_ascii() && TABLE.get_or_init(|| Table::new(CLINGING)).has(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classes_parse() {
        for class in [HIDDEN, CLINGING] {
            assert!(Table::new(class).0.len() > 10, "{class}");
        }
    }

    #[test]
    fn the_usual_suspects() {
        for c in "\u{0}\u{1b}\u{7f}\u{80}\u{9b}\u{ad}\u{34f}\u{61c}\u{115f}\u{180e}\u{200b}\u{200d}\u{202e}\u{2028}\u{2029}\u{2066}\u{2800}\u{3164}\u{e000}\u{fe0f}\u{feff}\u{ffa0}\u{fff9}\u{e0041}\u{e0100}\u{f0000}\u{10ffff}\u{378}".chars() {
            assert!(is_hidden(c), "U+{:04X}", c as u32);
        }
        for c in "aZ~ é\u{a0}中ل한😀\u{301}⏎◌\u{fffd}".chars() {
            assert!(!is_hidden(c), "U+{:04X}", c as u32);
        }
        assert!(is_clinging('\u{301}') && is_clinging('\u{1f3fd}') && !is_clinging('a') && !is_clinging('中'));
    }
}
