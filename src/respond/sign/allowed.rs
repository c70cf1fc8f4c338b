//! Whose key may sign: an `allowed_signers` file as `ssh-keygen(1)` describes it under ALLOWED SIGNERS. Principals are
//! the people's ids on the roster.
//!
//! ```text
//! # principals  options                                        key
//! alice         namespaces="approve-v1@soc.example"            ssh-ed25519 AAAA... alice's laptop
//! bob,carol     cert-authority,valid-before="20270101Z"        ssh-ed25519 AAAA... our authority
//! ```

use std::path::Path;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use ssh_key::public::KeyData;
use ssh_key::{Certificate, Fingerprint, HashAlg, PublicKey};

use super::sshsig::Sshsig;
use crate::config::fault::{Faults, Place};

#[derive(Clone, Debug, Default)]
pub struct AllowedSigners {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    principals: String,
    options: Options,
    key: KeyData,
}

#[derive(Clone, Debug, Default)]
struct Options {
    /// The key is an authority's: it vouches for the keys in its certificates, and is nobody's own.
    authority: bool,
    namespaces: Option<String>,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
}

impl Options {
    fn allow(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|n| matches_list(namespace, n))
    }
}

impl AllowedSigners {
    /// `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let mut out = Self::default();
        let mut offset = 0;
        for raw in text.split_inclusive('\n') {
            let line = raw.trim();
            if !line.is_empty() && !line.starts_with('#') {
                match parse_line(line) {
                    Ok(l) => out.lines.push(l),
                    Err(why) => faults.add(Place::at(path, text, offset + (raw.len() - raw.trim_start().len())), why),
                }
            }
            offset += raw.len();
        }
        faults.or(out)
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether this signature's key is `person`'s for `namespace` at `at`. The error says what is missing.
    pub fn allows(&self, person: &str, sig: &Sshsig, namespace: &str, at: Timestamp) -> Result<(), String> {
        let print = sig.fingerprint();
        let mut why = format!("the key {print} is not {person}'s in the file of allowed signers");
        for l in &self.lines {
            if !matches_list(person, &l.principals) {
                continue;
            }
            let o = &l.options;
            let theirs = match &sig.certificate {
                Some(c) if o.authority => c.signature_key() == &l.key,
                _ => !o.authority && l.key == sig.key,
            };
            if !theirs {
                continue;
            }
            if !o.allow(namespace) {
                why = format!("{person}'s key {print} may not sign for {namespace}");
            } else if o.after.is_some_and(|t| at < t) {
                why = format!("{person}'s key {print} is not valid yet");
            } else if o.before.is_some_and(|t| at >= t) {
                why = format!("{person}'s key {print} is not valid any more");
            } else if let Some(c) = sig.certificate.as_ref().filter(|_| o.authority) {
                match vouched(c, sig, person, &l.key.fingerprint(HashAlg::Sha256), at) {
                    Ok(()) => return Ok(()),
                    Err(e) => why = e,
                }
            } else {
                return Ok(());
            }
        }
        Err(why)
    }

    /// Whose the key of this signature is for `namespace` at `at`: the first principal that is allowed, as the file or the
    /// certificate names it.
    pub fn whose(&self, sig: &Sshsig, namespace: &str, at: Timestamp) -> Result<String, String> {
        let mut why = format!("the key {} is nobody's in the file of allowed signers", sig.fingerprint());
        for l in &self.lines {
            let theirs = match &sig.certificate {
                Some(c) if l.options.authority => c.signature_key() == &l.key,
                _ => !l.options.authority && l.key == sig.key,
            };
            if !theirs {
                continue;
            }
            let of_certificate = sig.certificate.iter().flat_map(|c| c.valid_principals().iter().cloned());
            let of_line = l.principals.split(',').filter(|p| !p.starts_with('!')).map(str::to_owned);
            for name in of_certificate.chain(of_line) {
                match self.allows(&name, sig, namespace, at) {
                    Ok(()) => return Ok(name),
                    Err(e) => why = e,
                }
            }
        }
        Err(why)
    }

    /// Whether `person` could sign with this key (or certificate): for choosing one among an agent's.
    pub fn could(&self, person: &str, key: &KeyData, authority: Option<&KeyData>, namespace: &str) -> bool {
        self.lines.iter().any(|l| {
            matches_list(person, &l.principals)
                && l.options.allow(namespace)
                && if l.options.authority { authority == Some(&l.key) } else { l.key == *key }
        })
    }
}

/// Whether a certificate of a trusted authority says that its key is `person`'s now.
fn vouched(c: &Certificate, sig: &Sshsig, person: &str, authority: &Fingerprint, at: Timestamp) -> Result<(), String> {
    let name = c.key_id();
    let seconds = u64::try_from(at.as_second()).unwrap_or(0);
    if !c.cert_type().is_user() {
        return Err(format!("the certificate {name:?} is a host's, not a person's"));
    }
    c.validate_at(seconds, [authority])
        .map_err(|_| format!("the certificate {name:?} is forged, not valid yet, or not valid any more"))?;
    if !c.valid_principals().iter().any(|p| p == person) {
        return Err(format!("the certificate {name:?} does not name {person}"));
    }
    for (option, _) in c.critical_options().iter() {
        match option.as_str() {
            "verify-required" if sig.fido().is_some_and(|f| f.verification) => {}
            "verify-required" => {
                return Err(format!("the certificate {name:?} asks for the security key's PIN or fingerprint"));
            }
            other => return Err(format!("the certificate {name:?} has the option {other:?}, which is not known here")),
        }
    }
    Ok(())
}

fn parse_line(line: &str) -> Result<Line, String> {
    let (principals, rest) = word(line)?;
    if let Ok(key) = PublicKey::from_openssh(rest) {
        return Ok(Line { principals, options: Options::default(), key: key.key_data().clone() });
    }
    let mut given = Options::default();
    let rest = options(rest, &mut given)?;
    let key = PublicKey::from_openssh(rest)
        .map_err(|e| format!("expected `PRINCIPALS [OPTIONS] KEYTYPE KEY`; the key cannot be read: {e}"))?;
    Ok(Line { principals, options: given, key: key.key_data().clone() })
}

/// Reads `name[="value"],...` and gives the rest.
fn options<'a>(text: &'a str, out: &mut Options) -> Result<&'a str, String> {
    let mut rest = text;
    loop {
        let end = rest.find([',', '=', ' ', '\t']).ok_or("expected `PRINCIPALS [OPTIONS] KEYTYPE KEY`")?;
        let (name, after) = rest.split_at(end);
        let (value, after) = match after.strip_prefix("=\"") {
            Some(v) => {
                let close = v.find('"').ok_or_else(|| format!("option {name}: its value has no closing quote"))?;
                (Some(&v[..close]), &v[close + 1..])
            }
            None => (None, after),
        };
        match (name.to_ascii_lowercase().as_str(), value) {
            ("cert-authority", None) => out.authority = true,
            ("namespaces", Some(v)) => out.namespaces = Some(v.to_owned()),
            ("valid-after", Some(v)) => out.after = Some(time(name, v)?),
            ("valid-before", Some(v)) => out.before = Some(time(name, v)?),
            _ => {
                return Err(format!(
                    "{name:?} is neither a key nor an option; options are cert-authority, namespaces=\"..\", \
                     valid-after=\"..\", valid-before=\"..\""
                ));
            }
        }
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Ok(after.trim_start()),
        }
    }
}

/// `YYYYMMDD` or `YYYYMMDDHHMM[SS]`, in UTC with a `Z`, else in the system's time zone.
fn time(option: &str, text: &str) -> Result<Timestamp, String> {
    let (digits, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(d) => (d, TimeZone::UTC),
        None => (text, TimeZone::system()),
    };
    let full = match digits.len() {
        8 => format!("{digits}000000"),
        12 => format!("{digits}00"),
        _ => digits.to_owned(),
    };
    DateTime::strptime("%Y%m%d%H%M%S", &full)
        .and_then(|t| t.to_zoned(zone))
        .map(|z| z.timestamp())
        .map_err(|_| format!("{option}: expected a time such as 20270131 or 202701312359Z, found {text:?}"))
}

/// The first word, in double quotes or not, and the rest.
fn word(line: &str) -> Result<(String, &str), String> {
    let (w, rest) = match line.strip_prefix('"') {
        Some(q) => q.split_once('"').ok_or("a quote is not closed")?,
        None => line.split_once([' ', '\t']).ok_or("expected `PRINCIPALS [OPTIONS] KEYTYPE KEY`")?,
    };
    Ok((w.to_owned(), rest.trim_start()))
}

/// OpenSSH's `match_pattern_list`: patterns with `*` and `?`, joined by commas; one with `!` that matches settles it.
pub fn matches_list(text: &str, list: &str) -> bool {
    let mut yes = false;
    for pattern in list.split(',') {
        match pattern.strip_prefix('!') {
            Some(not) if matches_one(text.as_bytes(), not.as_bytes()) => return false,
            Some(_) => {}
            None => yes |= matches_one(text.as_bytes(), pattern.as_bytes()),
        }
    }
    yes
}

/// Linear in the product of the lengths, whatever the pattern.
fn matches_one(text: &[u8], pattern: &[u8]) -> bool {
    let (mut t, mut p) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                t += 1;
                p += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn lists_match_as_in_openssh() {
        for (text, list, yes) in [
            ("alice", "alice", true),
            ("alice", "bob,alice", true),
            ("alice", "a*", true),
            ("alice", "?lice", true),
            ("alice", "*,!alice", false),
            ("alice", "!alice,*", false),
            ("alice", "!bob", false),
            ("alice", "", false),
            ("alice@soc", "*@soc", true),
            ("aaaaaaaaaaaaaaaaaaaaaaaa", "*a*a*a*a*a*b", false),
            ("", "*", true),
        ] {
            assert_eq!(matches_list(text, list), yes, "{text} {list}");
        }
    }

    #[test]
    fn lines_with_options_are_read() {
        let text = format!(
            "# people\n\nalice {KEY} laptop\n\"bob b,carol\" namespaces=\"a,b c\",valid-after=\"20260101Z\",\
             valid-before=\"202701312359Z\" {KEY}\n*@soc CERT-AUTHORITY {KEY}\n"
        );
        let a = AllowedSigners::parse(Path::new("s"), &text).unwrap();
        assert_eq!(a.lines.len(), 3);
        assert_eq!(a.lines[1].principals, "bob b,carol");
        assert_eq!(a.lines[1].options.namespaces.as_deref(), Some("a,b c"));
        assert_eq!(a.lines[1].options.after, Some("2026-01-01T00:00:00Z".parse().unwrap()));
        assert_eq!(a.lines[1].options.before, Some("2027-01-31T23:59:00Z".parse().unwrap()));
        assert!(a.lines[2].options.authority && !a.lines[0].options.authority);
    }

    #[test]
    fn faults_have_a_place() {
        for (line, why) in [
            ("alice".to_owned(), "s:2:1: expected `PRINCIPALS"),
            (format!("alice sudo {KEY}"), "s:2:1: \"sudo\" is neither"),
            (format!("alice namespaces=\"x {KEY}"), "s:2:1: option namespaces: its value has no closing"),
            (format!("alice valid-after=\"tomorrow\" {KEY}"), "s:2:1: valid-after: expected a time"),
            (format!("alice valid-after=\"20261301Z\" {KEY}"), "s:2:1: valid-after: expected a time"),
            ("  alice ssh-ed25519 AAAA".to_owned(), "s:2:3: "),
            ("\"alice".to_owned(), "s:2:1: a quote"),
        ] {
            let e = AllowedSigners::parse(Path::new("s"), &format!("# x\n{line}\n")).unwrap_err().to_string();
            assert!(e.starts_with(why), "{line}: {e}");
        }
    }
}
