//! Takes disguises off a text: case, look-alike letters, invisible characters, codings, letters moved or spaced.

use base64::Engine as _;

/// Encoded pieces that are decoded in one value.
const MAX_DECODED: usize = 32;
/// Bytes of a text that is read backwards, by ROT13 and in leet, too: at least a few words, at most a long line.
const DISGUISED: std::ops::RangeInclusive<usize> = 20..=8 * 1024;

/// Lower case, look-alikes made Latin, invisible characters dropped, tag characters read, separators made one space.
pub(super) fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut space = false;
    let mut tagged = false;
    for c in text.chars() {
        // A smuggled sentence begins where the tags begin, not in the middle of the word before.
        let tag = matches!(c, '\u{e0020}'..='\u{e007e}');
        space |= tag != std::mem::replace(&mut tagged, tag);
        let c = match c {
            '\u{e0020}'..='\u{e007e}' => char::from((c as u32 - 0xe0000) as u8),
            '\u{ff01}'..='\u{ff5e}' => char::from((c as u32 - 0xfee0) as u8),
            c => look_alike(c),
        };
        if invisible(c) {
            continue;
        }
        if c.is_whitespace() || matches!(c, '_' | '-' | '+' | '\u{2010}'..='\u{2015}') {
            space = true;
            continue;
        }
        if std::mem::take(&mut space) && !out.is_empty() {
            out.push(' ');
        }
        out.extend(c.to_lowercase());
    }
    out
}

pub(super) fn look_alike(c: char) -> char {
    match c {
        '\u{430}' | '\u{410}' | '\u{3b1}' => 'a',
        '\u{435}' | '\u{415}' => 'e',
        '\u{43e}' | '\u{41e}' | '\u{3bf}' => 'o',
        '\u{440}' | '\u{420}' | '\u{3c1}' => 'p',
        '\u{441}' | '\u{421}' => 'c',
        '\u{445}' | '\u{425}' => 'x',
        '\u{443}' => 'y',
        '\u{456}' | '\u{3b9}' | '\u{131}' => 'i',
        '\u{455}' => 's',
        '\u{458}' => 'j',
        '\u{2018}' | '\u{2019}' => '\'',
        '\u{392}' | '\u{412}' => 'b',
        '\u{395}' | '\u{3b5}' => 'e',
        '\u{397}' | '\u{41d}' | '\u{4bb}' => 'h',
        '\u{399}' | '\u{406}' | '\u{2160}' | '\u{2170}' => 'i',
        '\u{41a}' | '\u{43a}' | '\u{39a}' | '\u{3ba}' => 'k',
        '\u{41c}' | '\u{39c}' => 'm',
        '\u{39d}' | '\u{578}' => 'n',
        '\u{39f}' | '\u{585}' => 'o',
        '\u{405}' => 's',
        '\u{422}' | '\u{442}' | '\u{3a4}' | '\u{3c4}' => 't',
        '\u{57d}' | '\u{3c5}' => 'u',
        '\u{475}' | '\u{3bd}' => 'v',
        '\u{51d}' | '\u{461}' => 'w',
        '\u{423}' | '\u{3a5}' | '\u{4af}' => 'y',
        '\u{501}' => 'd',
        '\u{261}' | '\u{581}' => 'g',
        '\u{217c}' | '\u{4cf}' => 'l',
        '\u{280}' => 'r',
        // Letters in circles, and the alphabets of mathematics: 13 of them, capitals before small ones.
        '\u{24b6}'..='\u{24cf}' => nth_letter(c as u32 - 0x24b6),
        '\u{24d0}'..='\u{24e9}' => nth_letter(c as u32 - 0x24d0),
        '\u{1d400}'..='\u{1d6a3}' => nth_letter((c as u32 - 0x1d400) % 26),
        other => other,
    }
}

fn nth_letter(n: u32) -> char {
    char::from(b'a' + (n % 26) as u8)
}

fn invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        | '\u{e0000}'..='\u{e0fff}' | '\u{fe00}'..='\u{fe0f}')
}

/// Overrides and isolates of text direction, tag characters, and zero-width characters inside a Latin word. Plain
/// direction marks (U+200E, U+200F) and joiners in other scripts and emoji are ordinary text.
pub(super) fn hidden(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let mut before = ' ';
    let mut zero = None;
    for c in text.chars() {
        match c {
            '\u{202d}' | '\u{202e}' | '\u{2066}'..='\u{2069}' => return Some(format!("U+{:04X}", c as u32)),
            // Tags after a black flag are an emoji of a region.
            '\u{e0001}'..='\u{e007e}' if before != '\u{1f3f4}' => return Some(format!("U+{:04X}", c as u32)),
            '\u{e0001}'..='\u{e007f}' => continue,
            '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' if before.is_ascii_alphanumeric() => zero = Some(c),
            c => {
                if let Some(z) = zero.take().filter(|_| c.is_ascii_alphanumeric()) {
                    return Some(format!("U+{:04X}", z as u32));
                }
                before = c;
            }
        }
    }
    None
}

/// Control sequences other than colours, and the string sequences (titles, clipboard).
pub(super) fn drives_terminal(text: &str) -> bool {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let csi = match c {
            '\u{1b}' => match chars.peek() {
                Some('[') => {
                    chars.next();
                    true
                }
                Some(']' | 'P' | '_' | '^' | 'X' | 'c') => return true,
                _ => false,
            },
            '\u{9b}' => true,
            '\u{9d}' if chars.peek().is_some_and(char::is_ascii_digit) => return true,
            _ => false,
        };
        if csi {
            while chars.next_if(|c| matches!(c, '0'..='?')).is_some() {}
            if chars.peek().is_some_and(|c| matches!(c, '@'..='~') && *c != 'm') {
                return true;
            }
        }
    }
    false
}

/// Percent-coded text, and base64 or hex pieces that decode to text (UTF-8 or UTF-16LE).
pub(super) fn decode(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if text.contains('%') {
        let once = percent(text);
        if once.contains('%') && once != text {
            out.push(percent(&once));
        }
        if once != text {
            out.push(once);
        }
    }
    let piece = |c: char| !(c.is_ascii_alphanumeric() || "+/_-".contains(c));
    for token in text.split(piece).filter(|t| t.len() >= 20).take(MAX_DECODED) {
        let bare = token.replace('-', "+").replace('_', "/");
        let bytes = if bare.len().is_multiple_of(2) && bare.bytes().all(|b| b.is_ascii_hexdigit()) {
            hex::decode(&bare).ok()
        } else {
            base64::engine::general_purpose::STANDARD_NO_PAD.decode(&bare).ok()
        };
        out.extend(bytes.and_then(|b| readable(&b)));
    }
    out
}

/// The text as it may have been before somebody disguised it: backwards, by ROT13, in leet, with a blank after every
/// letter. Only what has several words, for nothing shorter can address anybody.
pub(super) fn disguises(text: &str) -> Vec<String> {
    let gaps = text.chars().filter(|c| c.is_whitespace() || "_+-.".contains(*c)).take(3).count();
    if !DISGUISED.contains(&text.len()) || gaps < 3 {
        return Vec::new();
    }
    let letters = text.bytes().filter(u8::is_ascii_alphabetic).count();
    let solid = text.len() - text.bytes().filter(u8::is_ascii_whitespace).count();
    if letters * 2 < solid {
        return leet(text).into_iter().collect();
    }
    let rot13 = text.chars().map(|c| match c {
        'a'..='m' | 'A'..='M' => char::from(c as u8 + 13),
        'n'..='z' | 'N'..='Z' => char::from(c as u8 - 13),
        c => c,
    });
    let mut out = vec![rot13.collect(), text.chars().rev().collect()];
    out.extend(leet(text));
    out.extend(spaced(text));
    out
}

/// Digits and signs that stand for letters inside words. `None`: there are too few to be more than numbers.
fn leet(text: &str) -> Option<String> {
    let stands_for = |c| {
        Some(match c {
            '0' => 'o',
            '1' | '!' | '|' => 'i',
            '3' => 'e',
            '4' | '@' => 'a',
            '5' | '$' => 's',
            '7' => 't',
            _ => return None,
        })
    };
    let (mut out, mut changed) = (String::with_capacity(text.len()), 0);
    for word in text.split_inclusive(|c: char| c.is_whitespace() || c == '_') {
        let mixed = word.chars().any(|c| c.is_ascii_alphabetic()) && word.chars().any(|c| stands_for(c).is_some());
        changed += usize::from(mixed);
        out.extend(word.chars().map(|c| if mixed { stands_for(c).unwrap_or(c) } else { c }));
    }
    (changed >= 2).then_some(out)
}

/// `i g n o r e   a l l`: single letters with blanks between, words further apart.
fn spaced(text: &str) -> Option<String> {
    let (mut single, mut tokens) = (0, 0);
    for token in text.split_whitespace() {
        tokens += 1;
        single += usize::from(token.chars().count() == 1);
    }
    if tokens < 12 || single * 10 < tokens * 9 {
        return None;
    }
    let mut out = String::with_capacity(text.len() / 2);
    let mut gap = 0;
    for c in text.chars() {
        if c.is_whitespace() {
            gap += 1;
            continue;
        }
        if std::mem::take(&mut gap) > 1 {
            out.push(' ');
        }
        out.push(c);
    }
    Some(out)
}

fn percent(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let pair = bytes.get(i + 1..i + 3).filter(|_| bytes[i] == b'%');
        let byte = pair.and_then(|p| std::str::from_utf8(p).ok()).and_then(|p| u8::from_str_radix(p, 16).ok());
        out.push(byte.unwrap_or(bytes[i]));
        i += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn readable(bytes: &[u8]) -> Option<String> {
    let wide = bytes.len() >= 8 && bytes.iter().skip(1).step_by(2).filter(|b| **b == 0).count() * 10 >= bytes.len() * 4;
    let text = if wide {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|p| u16::from_le_bytes([p[0], p[1]])).collect();
        String::from_utf16(&units).ok()?
    } else {
        std::str::from_utf8(bytes).ok()?.to_owned()
    };
    let plain = text.chars().filter(|c| c.is_alphanumeric() || c.is_whitespace()).count();
    (plain * 10 >= text.chars().count() * 7).then_some(text)
}
