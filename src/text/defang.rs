//! Makes addresses unclickable, so that a copied report cannot be followed by accident: `hxxps[://]evil[.]example`,
//! `10[.]0[.]0[.]1`, `2001[:]db8[:][:]1`, `eve[@]evil[.]example`; and back.

use std::net::Ipv6Addr;

use super::{Clean, Untrusted, clean};

/// Defanged and clean. Doing it twice changes nothing (but for text that is cut at the length limit).
pub fn defang(text: &Untrusted) -> Clean<'static> {
    let mut text = clean(text).as_str().to_owned();
    // A covered dot can make an address of what stands beside it: go on until nothing is left to cover.
    for _ in 0..8 {
        let next = pass(&text);
        if next == text {
            break;
        }
        text = next;
    }
    Clean::made(text)
}

/// No IPv6 address is written longer; a longer run of its characters is none.
const V6_MAX: usize = 64;

fn pass(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    // A word of address characters, then what stands between words.
    while !rest.is_empty() {
        let end = rest.find(|c| !is_address(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let scheme = after.starts_with("://") && is_scheme(word);
        if scheme {
            match word.contains('.') {
                true => push_word(word, false, &mut out),
                false => out.push_str(&scheme_word(word)),
            }
            out.push_str("[://]");
            rest = &after[3..];
            continue;
        }
        let quiet = after.starts_with(':')
            && ["mailto", "javascript", "data", "tel", "sip"].iter().any(|s| word.eq_ignore_ascii_case(s));
        if quiet {
            out.push_str(word);
            out.push_str("[:]");
            rest = &after[1..];
            continue;
        }
        // Colons belong to the word only when the whole is an IPv6 address.
        let not_v6 = |b: u8| !(b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
        let wide = rest.bytes().take(V6_MAX).position(not_v6).unwrap_or(rest.len().min(V6_MAX));
        let bounded = wide < V6_MAX
            && !out.ends_with(|c: char| c.is_alphanumeric() || c == ']')
            && !rest[wide..].starts_with(char::is_alphanumeric);
        if wide > end
            && bounded
            && let Some(len) = ipv6(&rest[..wide])
        {
            out.push_str(&rest[..len].replace(':', "[:]").replace('.', "[.]"));
            rest = &rest[len..];
            continue;
        }
        let in_url = out.ends_with("[://]");
        push_word(word, in_url, &mut out);
        let mut chars = after.chars();
        match chars.next() {
            // A mail address, or the name and password of a URL.
            Some('@') if !word.is_empty() && chars.next().is_some_and(char::is_alphanumeric) => {
                out.push_str("[@]");
                rest = &after[1..];
            }
            Some(c) => {
                out.push(c);
                rest = &after[c.len_utf8()..];
            }
            None => rest = after,
        }
    }
    out
}

/// Takes the fangs' covers off, as analysts write them: for a query from a pasted report.
pub fn refang(text: &Untrusted) -> Untrusted {
    let mut out = text.expose().to_owned();
    for (covered, plain) in [
        ("[://]", "://"),
        ("[:]//", "://"),
        ("[.]", "."),
        ("(.)", "."),
        ("{.}", "."),
        ("[dot]", "."),
        ("(dot)", "."),
        ("[:]", ":"),
        ("[@]", "@"),
        ("[at]", "@"),
        ("(at)", "@"),
        ("[/]", "/"),
    ] {
        if out.contains(covered) {
            out = out.replace(covered, plain);
        }
    }
    for (covered, plain) in
        [("hxxp", "http"), ("HXXP", "HTTP"), ("Hxxp", "Http"), ("fxp://", "ftp://"), ("FXP://", "FTP://")]
    {
        if out.contains(covered) {
            out = out.replace(covered, plain);
        }
    }
    Untrusted::new(out)
}

/// Letters and digits of any script, and the dots browsers take for one.
fn is_address(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '+') || is_dot(c)
}

fn is_dot(c: char) -> bool {
    matches!(c, '.' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}')
}

fn is_scheme(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// `https` as `hxxps`, `ftp` as `fxp`, in the case it came in; other schemes as they are.
fn scheme_word(word: &str) -> String {
    match word.get(..4) {
        Some("http") => format!("hxxp{}", &word[4..]),
        Some("HTTP") => format!("HXXP{}", &word[4..]),
        Some("Http") => format!("Hxxp{}", &word[4..]),
        _ => match word {
            "ftp" => "fxp".to_owned(),
            "FTP" => "FXP".to_owned(),
            other => other.to_owned(),
        },
    }
}

/// The length of the IPv6 address at the front, a dot or colon that ends the sentence left out.
fn ipv6(text: &str) -> Option<usize> {
    let mut candidate = text;
    loop {
        if candidate.matches(':').count() < 2 {
            return None;
        }
        if candidate.parse::<Ipv6Addr>().is_ok() {
            return Some(candidate.len());
        }
        candidate = candidate.strip_suffix(['.', ':'])?;
    }
}

/// A word between delimiters: its dots are covered when it is a domain, an IPv4 address, or stands in a URL.
fn push_word(word: &str, in_url: bool, out: &mut String) {
    let core = word.trim_end_matches(is_dot);
    let labels: Vec<&str> = core.split(is_dot).collect();
    let numeric = labels.iter().all(|l| !l.is_empty() && l.len() <= 3 && l.bytes().all(|b| b.is_ascii_digit()));
    let named = labels.last().is_some_and(|l| l.chars().count() >= 2 && l.chars().any(char::is_alphabetic));
    let cover = labels.len() > 1 && (in_url || named || (numeric && labels.len() == 4));
    if !cover {
        out.push_str(word);
        return;
    }
    for c in core.chars() {
        if is_dot(c) {
            out.push('[');
            out.push(c);
            out.push(']');
        } else {
            out.push(c);
        }
    }
    out.push_str(&word[core.len()..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::hostile;

    fn d(text: &str) -> String {
        defang(&text.into()).as_str().to_owned()
    }

    #[test]
    fn addresses_lose_their_fangs() {
        for (text, want) in [
            ("http://evil.example/a.php?x=1", "hxxp[://]evil[.]example/a[.]php?x=1"),
            ("see HTTPS://Evil.Example.", "see HXXPS[://]Evil[.]Example."),
            ("ftp://10.0.0.1:21/x", "fxp[://]10[.]0[.]0[.]1:21/x"),
            ("10.0.0.1, 192.168.1.254:8080", "10[.]0[.]0[.]1, 192[.]168[.]1[.]254:8080"),
            ("2001:db8::1 and [fe80::1]:443", "2001[:]db8[:][:]1 and [fe80[:][:]1]:443"),
            ("::ffff:1.2.3.4", "[:][:]ffff[:]1[.]2[.]3[.]4"),
            ("eve@evil.example", "eve[@]evil[.]example"),
            ("mailto:eve@evil.example", "mailto[:]eve[@]evil[.]example"),
            ("evil。example", "evil[。]example"),
            ("xn--80ak6aa92e.com пример.рф", "xn--80ak6aa92e[.]com пример[.]рф"),
            ("at 12:30:45 pi is 3.14, v1.2.3", "at 12:30:45 pi is 3.14, v1.2.3"),
            ("The end. New sentence...", "The end. New sentence..."),
            ("http://1.2/", "hxxp[://]1[.]2/"),
            ("a\u{202e}evil.com", "a<U+202E>evil[.]com"),
        ] {
            assert_eq!(d(text), want, "{text}");
            assert_eq!(d(&d(text)), want, "twice: {text}");
        }
    }

    #[test]
    fn floods_stay_cheap() {
        for flood in [":", "a.", "::", "1:", "@a", "://"] {
            assert!(d(&flood.repeat(8_000)).len() >= 8_000);
        }
    }

    #[test]
    fn refang_takes_what_people_write() {
        for (text, want) in [
            ("hxxp[://]evil[.]example/a", "http://evil.example/a"),
            ("hxxps[:]//evil(.)example", "https://evil.example"),
            ("eve[at]evil[dot]example", "eve@evil.example"),
            ("2001[:]db8[:][:]1", "2001:db8::1"),
        ] {
            assert_eq!(refang(&text.into()).expose(), want);
        }
    }

    proptest! {
        #[test]
        fn twice_is_once(text: String, host in "[a-z]{1,8}(\\.[a-z]{2,5}){1,3}", nasty in prop::sample::select(hostile::fragments())) {
            for text in [text.clone(), format!("{text}{host}"), format!("{host}{nasty}{host}:{text}"), format!("http://{text}{host}")] {
                let once = d(&text);
                prop_assert_eq!(d(&once), once);
            }
        }

        #[test]
        fn there_and_back(scheme in "(https?|ftp|ssh)", host in "[a-z0-9]{1,8}(\\.[a-z]{2,5}){1,3}", path in "(/[a-z0-9.?=&]{0,12})?") {
            let url = format!("{scheme}://{host}{path}");
            let once = d(&url);
            let open = format!("{scheme}://");
            prop_assert!(!once.contains(&open) && !once.starts_with("http"), "{}", once);
            let back = refang(&once.as_str().into());
            prop_assert_eq!(back.expose(), url);
        }

        #[test]
        fn addresses_there_and_back(v4: std::net::Ipv4Addr, v6: std::net::Ipv6Addr, user in "[a-z]{1,6}", host in "[a-z]{1,8}\\.[a-z]{2,5}") {
            for text in [v4.to_string(), v6.to_string(), format!("{user}@{host}")] {
                let once = d(&text);
                prop_assert_ne!(&once, &text);
                let back = refang(&once.as_str().into());
                prop_assert_eq!(back.expose(), text);
            }
        }
    }
}
