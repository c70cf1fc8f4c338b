//! Text that attackers write into alerts to drive a terminal, to hide, or to break a parser. For tests: of the
//! parsers, of [`super::clean`], and of the console on a real pseudo-terminal.

/// Valid UTF-8 of which every piece must leave a visible trace when it is cleaned for one line.
pub fn fragments() -> Vec<&'static str> {
    vec![
        "\u{1b}]52;c;cm0gLXJmIC8=\u{7}",
        "\u{1b}]52;c;cm0gLXJmIC8=\u{1b}\\",
        "\u{1b}]0;owned\u{7}",
        "\u{1b}]8;;http://evil.example\u{1b}\\click\u{1b}]8;;\u{1b}\\",
        "\u{1b}[2J\u{1b}[H",
        "\u{1b}[1A\u{1b}[2K",
        "\u{1b}[31;5m",
        "\u{1b}[?1049l",
        "\u{1b}[6n",
        "\u{1b}[>c",
        "\u{1b}P+q544e\u{1b}\\",
        "\u{1b}_Ga=T\u{1b}\\",
        "\u{1b}c",
        "\u{1b}#8",
        "\u{9b}2J",
        "\u{9d}52;c;aGk=\u{9c}",
        "\u{90}q\u{9c}",
        "\u{85}",
        "\u{0}",
        "\u{7}\u{8}\u{8}\u{8}",
        "\u{7f}",
        "\r",
        "\n",
        "\r\n",
        "\t",
        "\u{b}\u{c}",
        "\u{e}\u{f}",
        "\u{18}\u{1a}",
        "\u{202e}txt.exe\u{202c}",
        "\u{202a}\u{202b}\u{202d}",
        "\u{2066}a\u{2067}b\u{2068}c\u{2069}",
        "\u{200e}\u{200f}\u{61c}",
        "\u{200b}",
        "\u{200c}\u{200d}",
        "\u{2060}\u{2061}\u{2064}",
        "\u{feff}",
        "\u{ad}",
        "\u{180e}",
        "\u{34f}",
        "\u{2028}",
        "\u{2029}",
        "\u{e0001}\u{e0049}\u{e0067}\u{e006e}\u{e006f}\u{e0072}\u{e0065}",
        "\u{fe00}\u{fe0f}\u{e0100}\u{e01ef}",
        "\u{115f}\u{1160}\u{3164}\u{ffa0}",
        "\u{2800}",
        "\u{fff9}a\u{fffa}b\u{fffb}",
        "\u{e000}\u{f8ff}\u{f0000}",
        "\u{fdd0}\u{ffff}\u{10ffff}",
        "\u{378}",
        "a\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}",
        "👩\u{200d}👩\u{200d}👧",
        "❤\u{fe0f}",
    ]
}

/// Named payloads as bytes, some of them no UTF-8. Every one of them must leave a visible trace.
pub fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    const NAMES: [&str; 52] = [
        "osc52-bel",
        "osc52-st",
        "osc-title",
        "osc8-link",
        "csi-clear",
        "csi-up-erase",
        "csi-sgr",
        "csi-altscreen",
        "csi-report",
        "csi-device",
        "dcs-xtgettcap",
        "apc-kitty",
        "esc-reset",
        "esc-decaln",
        "c1-csi",
        "c1-osc",
        "c1-dcs",
        "c1-nel",
        "nul",
        "bell-backspace",
        "del",
        "cr",
        "lf",
        "crlf",
        "tab",
        "vt-ff",
        "shift-out",
        "cancel",
        "bidi-override",
        "bidi-embedding",
        "bidi-isolate",
        "bidi-marks",
        "zero-width-space",
        "zero-width-joiners",
        "word-joiners",
        "bom",
        "soft-hyphen",
        "mongolian-separator",
        "grapheme-joiner",
        "line-separator",
        "paragraph-separator",
        "tags",
        "variation-selectors",
        "fillers",
        "braille-blank",
        "interlinear",
        "private-use",
        "noncharacters",
        "unassigned",
        "combining",
        "emoji-zwj",
        "emoji-vs16",
    ];
    let mut out: Vec<(&'static str, Vec<u8>)> =
        NAMES.into_iter().zip(fragments()).map(|(name, text)| (name, text.as_bytes().to_vec())).collect();
    let mut add = |name, bytes: Vec<u8>| out.push((name, bytes));
    add("overlong-slash", b"\xc0\xaf".to_vec());
    add("overlong-esc", b"\xc0\x9b[2J".to_vec());
    add("overlong-nul", b"\xe0\x80\x80".to_vec());
    add("utf8-surrogate", b"\xed\xa0\x80".to_vec());
    add("utf8-cut", b"abc\xe2\x82".to_vec());
    add("utf8-beyond", b"\xf4\x90\x80\x80".to_vec());
    add("raw-c1", b"\x9b31m".to_vec());
    add("latin1", b"M\xfcller".to_vec());
    add("combining-flood", format!("Z{}", "\u{336}\u{489}".repeat(5_000)).into_bytes());
    add("zero-width-flood", "\u{200b}".repeat(20_000).into_bytes());
    add("variation-flood", format!("x{}", "\u{fe0f}".repeat(20_000)).into_bytes());
    add("tag-flood", "\u{e0041}".repeat(10_000).into_bytes());
    add("hangul-flood", "\u{1100}".repeat(10_000).into_bytes());
    add("modifier-flood", format!("👋{}", "\u{1f3ff}".repeat(5_000)).into_bytes());
    add("escape-flood", "\u{1b}[2J".repeat(10_000).into_bytes());
    add("one-megabyte", vec![b'A'; 1024 * 1024]);
    add("one-megabyte-wide", "中".repeat(350_000).into_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fragment_has_a_name() {
        assert_eq!(fragments().len(), 52);
        let mut names: Vec<_> = corpus().into_iter().map(|(name, _)| name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn every_payload_leaves_a_trace() {
        for (name, bytes) in corpus() {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let shown = crate::text::clean(&text.as_str().into()).as_str().to_owned();
            assert!(shown != text || shown.contains('\u{fffd}'), "{name}");
            assert!(!shown.is_empty(), "{name}");
        }
    }
}
