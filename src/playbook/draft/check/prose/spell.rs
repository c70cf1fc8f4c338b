//! Characters: what each is made into before a text is looked at, and those that nobody can read.

use super::super::Out;
use crate::text;

/// Letters with accents that names of people and places need, and what they are without.
const ACCENTS: [(char, char); 60] = [
    ('\u{e0}', 'a'),
    ('\u{e1}', 'a'),
    ('\u{e2}', 'a'),
    ('\u{e3}', 'a'),
    ('\u{e4}', 'a'),
    ('\u{e5}', 'a'),
    ('\u{e6}', 'a'),
    ('\u{e7}', 'c'),
    ('\u{e8}', 'e'),
    ('\u{e9}', 'e'),
    ('\u{ea}', 'e'),
    ('\u{eb}', 'e'),
    ('\u{ec}', 'i'),
    ('\u{ed}', 'i'),
    ('\u{ee}', 'i'),
    ('\u{ef}', 'i'),
    ('\u{f1}', 'n'),
    ('\u{f2}', 'o'),
    ('\u{f3}', 'o'),
    ('\u{f4}', 'o'),
    ('\u{f5}', 'o'),
    ('\u{f6}', 'o'),
    ('\u{f8}', 'o'),
    ('\u{f9}', 'u'),
    ('\u{fa}', 'u'),
    ('\u{fb}', 'u'),
    ('\u{fc}', 'u'),
    ('\u{fd}', 'y'),
    ('\u{ff}', 'y'),
    ('\u{df}', 's'),
    ('\u{c0}', 'A'),
    ('\u{c1}', 'A'),
    ('\u{c2}', 'A'),
    ('\u{c3}', 'A'),
    ('\u{c4}', 'A'),
    ('\u{c5}', 'A'),
    ('\u{c7}', 'C'),
    ('\u{c8}', 'E'),
    ('\u{c9}', 'E'),
    ('\u{ca}', 'E'),
    ('\u{cb}', 'E'),
    ('\u{cc}', 'I'),
    ('\u{cd}', 'I'),
    ('\u{d1}', 'N'),
    ('\u{d2}', 'O'),
    ('\u{d3}', 'O'),
    ('\u{d4}', 'O'),
    ('\u{d6}', 'O'),
    ('\u{d8}', 'O'),
    ('\u{d9}', 'U'),
    ('\u{da}', 'U'),
    ('\u{db}', 'U'),
    ('\u{dc}', 'U'),
    ('\u{105}', 'a'),
    ('\u{107}', 'c'),
    ('\u{119}', 'e'),
    ('\u{142}', 'l'),
    ('\u{15b}', 's'),
    ('\u{161}', 's'),
    ('\u{17e}', 'z'),
];

/// Marks of typesetting, and what they are in ASCII.
const MARKS: [(char, char); 22] = [
    ('\u{a0}', ' '),
    ('\u{2010}', '-'),
    ('\u{2011}', '-'),
    ('\u{2012}', '-'),
    ('\u{2013}', '-'),
    ('\u{2014}', '-'),
    ('\u{2018}', '\''),
    ('\u{2019}', '\''),
    ('\u{201c}', '"'),
    ('\u{201d}', '"'),
    ('\u{201e}', '"'),
    ('\u{2026}', ' '),
    ('\u{2022}', ' '),
    ('\u{b7}', ' '),
    ('\u{b0}', ' '),
    ('\u{b1}', ' '),
    ('\u{d7}', 'x'),
    ('\u{a7}', ' '),
    ('\u{20ac}', ' '),
    ('\u{a3}', ' '),
    ('\u{2192}', ' '),
    ('\u{2265}', ' '),
];

fn plain_of(c: char) -> Option<char> {
    if c.is_ascii() {
        return (!c.is_ascii_control() || matches!(c, '\n' | '\t')).then_some(c);
    }
    ACCENTS.iter().chain(&MARKS).find(|m| m.0 == c).map(|m| m.1)
}

pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| plain_of(c).unwrap_or('\u{fffd}')).collect()
}

/// Characters that hide, turn text round, or are of a script the other checks cannot read.
pub(in super::super) fn characters(text: &str, at: &str, out: &mut Out) {
    let bad = |c: &char| plain_of(*c).is_none();
    if let Some(c) = text.chars().find(|c| bad(c) && text::is_hidden(*c)) {
        out.error(at, "hidden-text", format!("U+{:04X}: nobody sees it, or it turns text round", u32::from(c)));
    }
    if let Some(c) = text.chars().find(|c| bad(c) && !text::is_hidden(*c)) {
        let why = "a character the safety checks cannot read; it may look like another";
        out.error(at, "unread-text", format!("U+{:04X}: {why}", u32::from(c)));
    }
}
