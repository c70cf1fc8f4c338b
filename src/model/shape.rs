//! What makes alerts alike beyond their words: a name with its variable parts taken out, and the shape of a record.
//!
//! Both are keys for counting how alike alerts were closed. A placeholder is never narrower than what it replaces, so
//! an attacker who changes a number, an address or a path in a title does not get a history of his own.

use sha2::{Digest as _, Sha256};

use super::alert::AlertFields;

/// Longest normalised name, in bytes, and the words looked at for it.
pub const MAX_NAME: usize = 200;
const MAX_WORDS: usize = 48;

/// A title in lower case with numbers, addresses, hashes, paths, links and quoted text replaced by `#`, `<ip>`, `<hash>`,
/// `<path>`, `<url>` and `<text>`; white space is one space; at most [`MAX_NAME`] bytes.
pub fn normal(title: &str) -> String {
    let mut out = String::new();
    for word in unquoted(title).split_whitespace().take(MAX_WORDS) {
        if out.len() >= MAX_NAME {
            break;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        // Marks around a word say nothing about what it is.
        let core = word
            .trim_matches(|c: char| matches!(c, '(' | ')' | '[' | ']' | '{' | '}' | ',' | ';' | ':' | '.' | '!' | '?'));
        match kind(core) {
            Some(holder) => out.push_str(holder),
            None => plain(word, &mut out),
        }
    }
    crate::text::front(&out, MAX_NAME).to_owned()
}

/// Quoted pieces of up to 200 characters become one word. A quote within a word (`user's`) is none.
fn unquoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(4 * MAX_NAME));
    let mut rest = crate::text::front(text, 4 * MAX_NAME);
    while let Some(at) = rest.find(['"', '\'', '`']) {
        let quote = rest[at..].chars().next().unwrap_or('"');
        let opens = rest[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
        let after = &rest[at + quote.len_utf8()..];
        let close = after.find(quote).filter(|n| opens && *n > 0 && *n <= 200);
        match close {
            Some(n) => {
                out.push_str(&rest[..at]);
                out.push_str(" <text> ");
                rest = &after[n + quote.len_utf8()..];
            }
            None => {
                out.push_str(&rest[..at]);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// What a whole word stands for, if it is of a kind that varies.
fn kind(word: &str) -> Option<&'static str> {
    if word == "<text>" {
        return Some("<text>");
    }
    let host =
        word.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(word, |(h, _)| h);
    if word.parse::<std::net::IpAddr>().is_ok() || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok() {
        return Some("<ip>");
    }
    if word.contains("://") {
        return Some("<url>");
    }
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let hex = word.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = word.bytes().filter(|b| matches!(b, b'-' | b':')).count();
    // Hashes and identifiers: long, hexadecimal throughout, with a digit (`deadbeef` alone is a word too).
    if word.len() >= 8 && hex + dashes == word.len() && digits > 0 && hex > digits {
        return Some("<hash>");
    }
    let windows = word.as_bytes().get(1) == Some(&b':') && word.as_bytes().get(2) == Some(&b'\\');
    let unix = word.starts_with('/') && word[1..].contains('/');
    if windows || unix || word.starts_with("\\\\") || word.to_ascii_lowercase().starts_with("hkey_") {
        return Some("<path>");
    }
    None
}

/// A word in lower case, each run of digits one `#`.
fn plain(word: &str, out: &mut String) {
    let mut number = false;
    for c in word.chars() {
        if c.is_numeric() {
            if !number {
                out.push('#');
            }
            number = true;
        } else {
            number = false;
            out.extend(c.to_lowercase());
        }
    }
}

/// The name of what was detected, normalised: that of the rule, or the title where the rule has none. The same for one
/// rule in whatever format it arrives.
pub fn name(fields: &AlertFields) -> String {
    normal(fields.rule_name.as_ref().unwrap_or(&fields.title).expose())
}

/// Key of [`name`].
pub fn name_key(fields: &AlertFields) -> [u8; 16] {
    key(&[name(fields).as_bytes()])
}

/// Key of an alert's shape: format, rule, normalised title, and which of our fields and kinds of observables it has.
pub fn shape_key(format: &str, f: &AlertFields) -> [u8; 16] {
    // An id is what it is; a name may carry numbers of its own.
    let id = f.rule_id.as_ref().map_or("", |r| r.expose());
    let rule = f.rule_name.as_ref().map_or_else(String::new, |r| normal(r.expose()));
    let has = [
        f.host.is_some(),
        f.user.is_some(),
        f.process.is_some(),
        f.command_line.is_some(),
        f.src_ip.is_some(),
        f.src_port.is_some(),
        f.dst_ip.is_some(),
        f.dst_port.is_some(),
    ];
    let has: Vec<u8> = has.iter().map(|h| u8::from(*h)).collect();
    let mut kinds: Vec<u8> = f.observables.iter().map(|o| o.kind as u8).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let techniques = f.techniques.join(",");
    key(&[
        format.as_bytes(),
        id.as_bytes(),
        rule.as_bytes(),
        normal(f.title.expose()).as_bytes(),
        techniques.as_bytes(),
        &[f.severity as u8],
        &has,
        &kinds,
    ])
}

fn key(parts: &[&[u8]]) -> [u8; 16] {
    let mut h = Sha256::new();
    for part in parts {
        h.update((part.len() as u64).to_be_bytes());
        h.update(part);
    }
    let mut out = [0; 16];
    out.copy_from_slice(&h.finalize()[..16]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_becomes_a_placeholder() {
        for (title, want) in [
            ("Dovecot Authentication Success.", "dovecot authentication success."),
            ("Login from 10.0.0.7 failed 12 times", "login from <ip> failed # times"),
            ("Beacon to 203.0.113.9:4444 (fe80::1)", "beacon to <ip> <ip>"),
            ("Hash d41d8cd98f00b204e9800998ecf8427e seen", "hash <hash> seen"),
            ("Task 3F2504E0-4F89-11D3-9A0C-0305E82C3301", "task <hash>"),
            (r"Wrote C:\Users\bob\a.exe and /etc/cron.d/x", "wrote <path> and <path>"),
            ("GET https://evil.example/a?b=1 by 'bob o' twice", "get <url> by <text> twice"),
            ("user's T1059.001 web-17", "users t#.# web-#"),
            ("", ""),
        ] {
            assert_eq!(normal(title), want, "{title}");
        }
    }

    #[test]
    fn one_rule_has_one_name_and_several_shapes() {
        let mut a = AlertFields { title: "Login from 10.0.0.7".into(), ..AlertFields::default() };
        let mut b = AlertFields { title: "login  from 10.9.9.9".into(), ..AlertFields::default() };
        assert_eq!((name_key(&a), shape_key("x", &a)), (name_key(&b), shape_key("x", &b)));
        assert_ne!(shape_key("x", &a), shape_key("y", &a));
        b.user = Some("bob".into());
        assert_eq!(name_key(&a), name_key(&b));
        assert_ne!(shape_key("x", &a), shape_key("x", &b));
        a.rule_name = Some("Other".into());
        assert_ne!(name_key(&a), name_key(&b));
    }

    proptest::proptest! {
        #[test]
        fn bounded_stable_and_without_digits(title in "\\PC{0,600}") {
            let once = normal(&title);
            proptest::prop_assert!(once.len() <= MAX_NAME);
            proptest::prop_assert!(!once.chars().any(|c| c.is_ascii_digit()));
        }
    }
}
