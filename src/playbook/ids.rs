//! Identifiers: `type--UUID` (CACAO 2.0 section 10.10), and the ones we make ourselves.

use sha2::Digest as _;
use sha2::Sha256;

/// The extension that holds what CACAO has no word for; on playbooks and on steps.
pub const EXTENSION: &str = "extension-definition--5b7f0a36-2f0c-4c5e-9d0e-6a3b1a8f4d21";

/// FIRST TLP 2.0 levels as marking objects; the UUIDs are those of the STIX 2.1 definitions of TLP 2.0.
pub const TLP: [(&str, &str); 5] = [
    ("TLP:CLEAR", "marking-tlp--94868c89-83c2-464b-929b-a1a8aa3c8487"),
    ("TLP:GREEN", "marking-tlp--bab4a63c-aed9-4cf5-a766-dfca5abac2bb"),
    ("TLP:AMBER", "marking-tlp--55d920b0-5e8b-4f79-9ee9-91f868d9b421"),
    ("TLP:AMBER+STRICT", "marking-tlp--939a9414-2ddd-4d32-a0cd-375ea402b003"),
    ("TLP:RED", "marking-tlp--e828b379-4e03-4974-9ac4-e53a884c97c1"),
];

/// Splits `type--UUID`. `None`: it is no identifier.
pub fn split(id: &str) -> Option<(&str, &str)> {
    let (kind, uuid) = id.split_once("--")?;
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = kind.as_bytes();
    let kind_ok = bytes.len() >= 3
        && bytes.len() <= 100
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
    (kind_ok && is_uuid(uuid)).then_some((kind, uuid))
}

/// RFC 4122, version 1 to 5, hyphenated.
pub fn is_uuid(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            14 => (b'1'..=b'5').contains(b),
            19 => matches!(b, b'8' | b'9' | b'a' | b'b' | b'A' | b'B'),
            _ => b.is_ascii_hexdigit(),
        })
}

/// Whether an id is harmless to keep as a plain string, if not correct.
pub fn is_plain(id: &str) -> bool {
    (1..=200).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// An identifier that follows from names alone, so that the same short form always makes the same document. In the form
/// of a version 4 UUID, which the standard wants of steps.
pub fn derived(kind: &str, names: &[&str]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"watchfloor playbook");
    for name in [kind].iter().chain(names) {
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name.as_bytes());
    }
    let mut b: [u8; 16] = [0; 16];
    b.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    let h = hex::encode(b);
    format!("{kind}--{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

/// Who made a playbook that a model wrote, whichever model it was.
pub fn model_identity() -> String {
    derived("identity", &["watchfloor model"])
}

/// A short name out of any text: lower case letters, digits and single hyphens, at most 40.
pub fn key_of(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(400).flat_map(char::to_lowercase) {
        if out.len() >= 40 {
            break;
        }
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            _ if !out.ends_with('-') && !out.is_empty() => out.push('-'),
            _ => {}
        }
    }
    out.truncate(out.trim_end_matches('-').len());
    out
}

/// Whether a text is such a short name.
pub fn is_key(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.len() <= 60
        && edge(text.chars().next())
        && edge(text.chars().last())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// `__name__`, at most 250 bytes, a letter first (section 10.18).
pub fn is_variable(name: &str) -> bool {
    let inner = name.strip_prefix("__").and_then(|n| n.strip_suffix("__"));
    inner.is_some_and(|n| {
        name.len() <= 250
            && n.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    })
}

/// Names of the variables a text refers to as `__name__:value`, in order, each once.
pub fn references(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for (end, _) in text.match_indices("__:value") {
        let before = &text[..end];
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let from = before.char_indices().rev().take_while(|(_, c)| plain(*c)).last().map_or(end, |(i, _)| i);
        // The name begins at the last `__` that leaves a letter behind it.
        let run = &before[from..];
        let Some(at) = run.rfind("__") else { continue };
        let name = format!("{}__", &run[at..]);
        if is_variable(&name) && !out.contains(&name) {
            out.push(name);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_told_from_what_looks_like_one() {
        for good in ["action--010b0420-db3e-4810-ba75-08a10f473214", EXTENSION, TLP[4].1] {
            assert!(split(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "--",
            "action--",
            "action-010b0420-db3e-4810-ba75-08a10f473214",
            "Action--010b0420-db3e-4810-ba75-08a10f473214",
            "action--010b0420-db3e-0810-ba75-08a10f473214",
            "action--010b0420-db3e-4810-ca75-08a10f473214",
            "action--010b0420-db3e-4810-ba75-08a10f47321",
            "action--010b0420-db3e-4810-ba75-08a10f47321\u{e9}",
            "soarca-fin-pong-f896bb3b-bb37-429e-8ece-2d4286cf326d",
        ] {
            assert!(split(bad).is_none(), "{bad}");
        }
        let made = derived("action", &["x", "y"]);
        assert_eq!(split(&made).map(|s| s.0), Some("action"), "{made}");
        assert_eq!(made, derived("action", &["x", "y"]));
        assert_ne!(made, derived("action", &["xy", ""]));
    }

    #[test]
    fn names_of_variables_are_found_in_text() {
        assert_eq!(references("GET /a/__ip__:value?x=__a_b__:value&y=__ip__:value"), ["__ip__", "__a_b__"]);
        assert_eq!(references("__ip__ __:value ____:value __1__:value"), Vec::<String>::new());
        assert!(is_variable("__a-1__") && !is_variable("__1a__") && !is_variable("_a_") && !is_variable("____"));
        assert_eq!(key_of("  Isolate: every host! "), "isolate-every-host");
        assert!(is_key("a-1") && !is_key("a-") && !is_key("") && !is_key("A"));
    }
}
