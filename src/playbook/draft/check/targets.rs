//! Names of things in prose: are they of this case?

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::str::FromStr as _;

use super::Out;
use super::quoted;
use super::tables;
use crate::playbook::draft::Scope;
use crate::playbook::ids;
use crate::playbook::react;
use crate::text::Untrusted;
use crate::text::refang;

/// Looks at every word of a text that was made plain (quotes and dashes of ASCII).
pub(super) fn check(text: &str, at: &str, scope: &Scope, out: &mut Out) {
    let text = refang(&Untrusted::new(text)).into_exposed();
    let text = without_references(&text);
    let foreign = |out: &mut Out, what: &str, name: &str| {
        out.error(at, "foreign-target", format!("{} is no {what} of this case", quoted(name)));
    };
    for word in text.split(|c: char| c.is_whitespace() || ",\"()<>[]{}|`".contains(c)) {
        let word = word.trim_matches(|c: char| ".:;!?'*".contains(c));
        let word = word.strip_suffix("'s").unwrap_or(word);
        if word.is_empty() || scope.knows(word).is_some() || is_ours(word, scope) {
            continue;
        }
        if scope.elsewhere.contains(&word.to_lowercase()) {
            foreign(out, "host or account", word);
            continue;
        }
        if let Some(kind) = kind_of(word) {
            // `HOST:PORT` and `HOST/path` of a host of the case; never of a link.
            let bare = word.split([':', '/']).next().unwrap_or_default();
            if matches!(kind, "host" | "domain" | "address") && !bare.is_empty() && scope.knows(bare).is_some() {
                continue;
            }
            foreign(out, kind, word);
        }
        for part in word.split(['/', '=', ':', '+']).filter(|p| *p != word && !p.is_empty()) {
            let inside = scope.knows(part).is_none() && !is_ours(part, scope);
            if inside && let Some(kind @ ("address" | "domain" | "host" | "mail address")) = kind_of(part) {
                foreign(out, kind, part);
            }
        }
    }
}

fn without_references(text: &str) -> String {
    ids::references(text).iter().fold(text.to_owned(), |t, name| t.replace(&format!("{name}:value"), " "))
}

/// Names of our own: actions, playbooks, variables, keys of steps.
fn is_ours(word: &str, scope: &Scope) -> bool {
    scope.acts.iter().any(|a| a.name == word || a.undo.as_deref() == Some(word))
        || scope.playbooks.contains(word)
        || ids::is_variable(word)
        || react::name(word).is_some()
}

/// What a word looks like the name of.
fn kind_of(word: &str) -> Option<&'static str> {
    let lower = word.to_ascii_lowercase();
    if lower.contains("://") || lower.starts_with("www.") || lower.starts_with("mailto:") || lower.starts_with("data:")
    {
        return Some("link");
    }
    if lower.starts_with("\\\\") || lower.starts_with("//") {
        return Some("share");
    }
    if is_address(&lower) {
        return Some("address");
    }
    if let Some((name, domain)) = lower.split_once('@')
        && !name.is_empty()
        && !domain.is_empty()
    {
        return Some("mail address");
    }
    let hex = lower.len() >= 32 && lower.bytes().all(|b| b.is_ascii_hexdigit());
    if hex {
        return Some("file hash");
    }
    if let Some((domain, user)) = lower.split_once('\\')
        && !user.is_empty()
        && !user.contains('\\')
        && domain.len() > 1
        && domain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
    {
        return Some("account");
    }
    if is_domain(&lower) {
        return Some("domain");
    }
    let plain = lower.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_$".contains(&b));
    if plain && (lower.contains('_') || lower.ends_with('$')) && lower.bytes().any(|b| b.is_ascii_alphabetic()) {
        return Some("account");
    }
    (plain && is_host(word, &lower)).then_some("host")
}

/// An address in any spelling: of version 4 or 6, a network, a range, hex or one number.
fn is_address(word: &str) -> bool {
    let bare = word.trim_start_matches('[').split(']').next().unwrap_or_default();
    if IpAddr::from_str(bare).is_ok() || ipnet::IpNet::from_str(bare).is_ok() {
        return true;
    }
    let head = bare.split(['/', '-', ':']).next().unwrap_or_default();
    let octets: Vec<&str> = head.split('.').collect();
    let number = |o: &&str| {
        o.strip_prefix("0x").map_or_else(
            || !o.is_empty() && (o.bytes().all(|b| b.is_ascii_digit()) || ["*", "x", "xx", "xxx"].contains(o)),
            |h| !h.is_empty() && h.bytes().all(|b| b.is_ascii_hexdigit()),
        )
    };
    let dotted = octets.len() == 4 && octets.iter().all(number);
    let hex = head.strip_prefix("0x").is_some_and(|h| h.len() == 8 && h.bytes().all(|b| b.is_ascii_hexdigit()));
    // One number, as some programs take it: only where it could be a public or private network.
    let one = head.len() >= 9 && head.parse::<u32>().is_ok_and(|n| Ipv4Addr::from(n).octets()[0] > 0);
    dotted || hex || (one && bare == head)
}

fn is_domain(word: &str) -> bool {
    let word = word.split([':', '/', '?', '#']).next().unwrap_or_default();
    let labels: Vec<&str> = word.split('.').collect();
    let Some(last) = labels.last().filter(|_| labels.len() >= 2) else { return false };
    let label =
        |l: &&str| !l.is_empty() && l.len() <= 63 && l.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let top = (2..=24).contains(&last.len()) && last.bytes().all(|b| b.is_ascii_alphabetic());
    let punycode = last.starts_with("xn--");
    labels.iter().all(label) && (punycode || top) && !tables::FILES.contains(last)
}

/// Letters, a digit, and nothing that is known to be written so.
fn is_host(word: &str, lower: &str) -> bool {
    if tables::HOST_ENDINGS.iter().any(|e| lower.ends_with(e) && lower.len() > e.len() + 1) {
        return true;
    }
    let upper = |p: &str| p.len() >= 2 && p.bytes().all(|b| b.is_ascii_uppercase());
    if word.split('-').count() >= 2 && word.split('-').all(upper) {
        return true;
    }
    let Some(digit) = lower.find(|c: char| c.is_ascii_digit()) else { return false };
    let head = lower[..digit].trim_end_matches('-');
    let tail = lower.rsplit(|c: char| c.is_ascii_digit()).next().unwrap_or_default();
    if head.is_empty() || !head.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return false;
    }
    // `sha256`, `T1059`, `step-2`; but `step2-db` is a host all the same.
    let vocabulary = head.split('-').all(|h| tables::NO_HOSTS.contains(&h)) && tail.is_empty();
    let cve = lower.starts_with("cve-") || lower.starts_with("ghsa-");
    !vocabulary && !cve
}
