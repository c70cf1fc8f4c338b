//! What a target or parameter may be. Strict: what passes here goes into argument vectors, inventories and JSON.

use std::net::{IpAddr, Ipv6Addr};

use crate::config::fault::nearest;
use crate::model::action::ParamType;
use crate::text::{Untrusted, clean};

/// The value in its one canonical spelling, or what was expected.
pub fn check(kind: &ParamType, value: &str) -> Result<String, String> {
    match kind {
        ParamType::Host => host(value).map(|()| value.to_owned()),
        ParamType::Domain => match host(value) {
            Ok(()) if value.contains('.') && !value.contains('_') => Ok(value.to_ascii_lowercase()),
            Ok(()) => Err("expected a domain name with a dot, such as evil.example".into()),
            Err(why) => Err(why),
        },
        ParamType::User => user(value).map(|()| value.to_owned()),
        ParamType::Ip => ip(value).map(|ip| ip.to_string()),
        ParamType::Url => url(value),
        ParamType::Sha256 => {
            if value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit()) {
                Ok(value.to_ascii_lowercase())
            } else {
                Err("expected a SHA-256: 64 hex digits".into())
            }
        }
        ParamType::Integer { min, max } => match value.parse::<i64>() {
            Ok(n) if (*min..=*max).contains(&n) && n.to_string() == value => Ok(value.to_owned()),
            _ => Err(format!("expected a whole number from {min} to {max}")),
        },
        ParamType::Choice { of } => {
            if of.iter().any(|c| c == value) {
                return Ok(value.to_owned());
            }
            let near = nearest(value, of.iter().map(String::as_str)).map(|n| format!("; did you mean {n:?}?"));
            Err(format!("expected one of {}{}", of.join(", "), near.unwrap_or_default()))
        }
        ParamType::Index => index(value).map(|()| value.to_owned()),
        ParamType::Snapshot => snapshot(value).map(|()| value.to_owned()),
        ParamType::Object => object(value).map(|()| value.to_owned()),
        ParamType::Text { max } => text(value, *max).map(|()| value.to_owned()),
        ParamType::Document { max } => document(value, *max).map(|()| value.to_owned()),
    }
}

/// The word for it in messages.
pub fn word(kind: &ParamType) -> &'static str {
    match kind {
        ParamType::Host => "host",
        ParamType::User => "user",
        ParamType::Ip => "IP address",
        ParamType::Domain => "domain",
        ParamType::Url => "URL",
        ParamType::Sha256 => "SHA-256",
        ParamType::Integer { .. } => "number",
        ParamType::Choice { .. } => "choice",
        ParamType::Index => "index",
        ParamType::Snapshot => "backup",
        ParamType::Object => "cluster object",
        ParamType::Text { .. } => "text",
        ParamType::Document { .. } => "document",
    }
}

/// A DNS or inventory name: letters, digits, `.`, `_` and `-`, not at either end. So it is never an option, a pattern,
/// a path, a list, or anything a shell or a template would read.
fn host(value: &str) -> Result<(), String> {
    let expected =
        || "expected a host name: letters, digits, '.', '_' and '-', beginning and ending with a letter or digit";
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    let ok = (1..=253).contains(&bytes.len())
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
        && value.split('.').all(|label| (1..=63).contains(&label.len()));
    if ok { Ok(()) } else { Err(expected().into()) }
}

/// As OpenSearch names indices and snapshots, without what would name several of them.
fn index(value: &str) -> Result<(), String> {
    let first = value.as_bytes().first().copied().unwrap_or(b'-');
    let ok = (1..=255).contains(&value.len())
        && (first.is_ascii_lowercase() || first.is_ascii_digit() || first == b'.')
        && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        && !value.contains("..")
        && value != ".";
    if ok { Ok(()) } else { Err("expected one index: lower case letters, digits, '.', '_' and '-'".into()) }
}

/// As OpenSearch and restic name snapshots, without what would name several of them or be an option.
fn snapshot(value: &str) -> Result<(), String> {
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ok = (1..=255).contains(&value.len())
        && value.as_bytes().first().is_some_and(plain)
        && value.bytes().all(|b| plain(&b) || b"._-:".contains(&b))
        && !value.contains("..");
    if ok { Ok(()) } else { Err("expected one snapshot: lower case letters, digits, '.', '_', '-' and ':'".into()) }
}

/// A cluster of the settings, and two names as Kubernetes has them (RFC 1123).
fn object(value: &str) -> Result<(), String> {
    let label = |s: &str| host(s).is_ok() && !s.bytes().any(|b| b.is_ascii_uppercase() || b == b'_');
    let parts: Vec<&str> = value.split('/').collect();
    match parts.as_slice() {
        [cluster, namespace, name] if host(cluster).is_ok() && label(namespace) && label(name) => Ok(()),
        _ => Err("expected CLUSTER/NAMESPACE/NAME".into()),
    }
}

/// `bob`, `bob.lee@corp.example`, `CORP\bob`, `web01$`.
fn user(value: &str) -> Result<(), String> {
    let name_ok = |s: &str, more: &[u8]| {
        !s.is_empty()
            && s.as_bytes().first().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b) || more.contains(&b))
    };
    let ok = value.len() <= 256
        && match value.split_once('\\') {
            Some((domain, name)) => name_ok(domain, b"") && name_ok(name.strip_suffix('$').unwrap_or(name), b""),
            None => name_ok(value.strip_suffix('$').unwrap_or(value), b"@+"),
        };
    if ok { Ok(()) } else { Err("expected a user name, such as bob, bob@corp.example or CORP\\bob".into()) }
}

/// An address; one written as IPv4 inside IPv6 is the IPv4 address.
fn ip(value: &str) -> Result<IpAddr, String> {
    let ip: IpAddr = value.parse().map_err(|_| "expected an IP address".to_owned())?;
    Ok(match ip {
        IpAddr::V6(v6) => mapped(v6),
        v4 => v4,
    })
}

fn mapped(v6: Ipv6Addr) -> IpAddr {
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

fn url(value: &str) -> Result<String, String> {
    let expected = || "expected an http or https URL without user name or password".to_owned();
    if value.len() > 2048 || value.bytes().any(|b| b <= b' ' || b >= 0x7f) {
        return Err(expected());
    }
    let url = reqwest::Url::parse(value).map_err(|_| expected())?;
    let ok = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none();
    if ok { Ok(url.to_string()) } else { Err(expected()) }
}

fn text(value: &str, max: usize) -> Result<(), String> {
    if value.chars().count() > max {
        return Err(format!("expected at most {max} characters"));
    }
    if clean(&Untrusted::new(value)).as_str() != value {
        return Err("expected plain text: it holds control, direction or invisible characters".into());
    }
    Ok(())
}

/// Lines of plain text; tabs are allowed.
fn document(value: &str, max: usize) -> Result<(), String> {
    if value.len() > max {
        return Err(format!("expected at most {max} bytes"));
    }
    for (i, line) in value.split('\n').enumerate() {
        let plain = line.replace('\t', " ");
        if clean(&Untrusted::new(plain.as_str())).as_str() != plain {
            return Err(format!("line {}: it holds control, direction or invisible characters", i + 1));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(kind: &ParamType, value: &str, canonical: &str) {
        assert_eq!(check(kind, value).as_deref(), Ok(canonical), "{value:?}");
    }

    #[test]
    fn a_host_is_a_name_and_nothing_else() {
        for good in ["web01", "web-01.corp.example", "a", "srv_db", "10.0.0.1", "WEB01"] {
            ok(&ParamType::Host, good, good);
        }
        let long = "a".repeat(254);
        for bad in [
            "",
            "-web",
            "web-",
            ".web",
            "web.",
            "a..b",
            "a b",
            "a;b",
            "$(id)",
            "`id`",
            "a|b",
            "a&b",
            "a,b",
            "a:b",
            "!a",
            "@file",
            "web*",
            "~web",
            "a/b",
            "../x",
            "a\nb",
            "{{x}}",
            "wéb",
            "a\u{202e}b",
            "[a]",
            "a\0",
            &long,
        ] {
            assert!(check(&ParamType::Host, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn each_kind_takes_its_own_and_refuses_the_rest() {
        ok(&ParamType::Ip, "::ffff:10.0.0.1", "10.0.0.1");
        ok(&ParamType::Ip, "2001:DB8::0:1", "2001:db8::1");
        ok(&ParamType::Domain, "Evil.Example", "evil.example");
        ok(&ParamType::User, "CORP\\bob", "CORP\\bob");
        ok(&ParamType::User, "web01$", "web01$");
        ok(&ParamType::Snapshot, "daily-2026-11-20t02:00:00-x1", "daily-2026-11-20t02:00:00-x1");
        for bad in ["", "-x", "_all", "*", "a,b", "a/b", "a..b", "A", ":a"] {
            assert!(check(&ParamType::Snapshot, bad).is_err(), "{bad:?}");
        }
        ok(&ParamType::User, "bob+x@corp.example", "bob+x@corp.example");
        ok(&ParamType::Url, "https://Evil.example/a?b=c", "https://evil.example/a?b=c");
        ok(&ParamType::Sha256, &"AB".repeat(32), &"ab".repeat(32));
        ok(&ParamType::Integer { min: 1, max: 9 }, "9", "9");
        ok(&ParamType::Text { max: 3 }, "äöü", "äöü");
        ok(&ParamType::Document { max: 30 }, "a\n\tb = 1\n", "a\n\tb = 1\n");
        let choice = ParamType::Choice { of: vec!["open".into(), "closed".into()] };
        ok(&choice, "open", "open");
        assert_eq!(check(&choice, "opne").unwrap_err(), "expected one of open, closed; did you mean \"open\"?");
        for (kind, bad) in [
            (ParamType::Ip, "10.0.0.1/8"),
            (ParamType::Ip, "010.0.0.1"),
            (ParamType::Ip, " 10.0.0.1"),
            (ParamType::Domain, "localhost"),
            (ParamType::Domain, "_x.example"),
            (ParamType::User, "-rf"),
            (ParamType::User, "a b"),
            (ParamType::User, "a\\b\\c"),
            (ParamType::User, "a;id"),
            (ParamType::User, "$"),
            (ParamType::Url, "file:///etc/passwd"),
            (ParamType::Url, "javascript:alert(1)"),
            (ParamType::Url, "https://u:p@x.example"),
            (ParamType::Url, "https://x.example/\u{202e}"),
            (ParamType::Sha256, "ab"),
            (ParamType::Integer { min: 1, max: 9 }, "10"),
            (ParamType::Integer { min: 1, max: 9 }, "+1"),
            (ParamType::Integer { min: 1, max: 9 }, "01"),
            (ParamType::Text { max: 3 }, "abcd"),
            (ParamType::Document { max: 3 }, "a\nbc"),
            (ParamType::Document { max: 30 }, "a\n\u{202e}b"),
            (ParamType::Document { max: 30 }, "a\r\nb"),
            (ParamType::Text { max: 30 }, "a\u{1b}[2J"),
            (ParamType::Text { max: 30 }, "a\nb"),
        ] {
            assert!(check(&kind, bad).is_err(), "{kind:?} {bad:?}");
        }
    }
}
