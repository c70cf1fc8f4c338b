//! What parsers share to fill [`AlertFields`]: bounded text, addresses, techniques, observables.

use std::net::{IpAddr, Ipv6Addr};

use crate::model::alert::{AlertFields, Observable, ObservableKind as Kind};
use crate::text::{self, Untrusted};

/// Longest text a parsed field keeps, in bytes. The rest stays in the raw record and is counted in the field.
pub const FIELD_MAX: usize = 8 * 1024;

/// Observables kept of one alert, so that a hostile record cannot flood the store.
pub const MAX_OBSERVABLES: usize = 256;

/// Techniques kept of one alert.
const MAX_TECHNIQUES: usize = 64;

/// Text as a field keeps it: without white space around it, cut at [`FIELD_MAX`] with a count of what was cut.
pub fn keep(text: &str) -> Untrusted {
    let text = text.trim();
    if text.len() <= FIELD_MAX {
        return Untrusted::new(text);
    }
    let front = text::front(text, FIELD_MAX);
    Untrusted::new(format!("{front}<+{} bytes>", text.len() - front.len()))
}

/// An address, also in brackets, with a zone (`fe80::1%eth0`) or as IPv4 mapped into IPv6.
pub fn ip(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_start_matches('[').trim_end_matches(']');
    if text.is_empty() || text.len() > 64 {
        return None;
    }
    let text = text.split_once('%').map_or(text, |(a, _)| a);
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// `2.17.4.25:443`, `[2001:db8::1]:443`, or an address alone.
pub fn ip_port(text: &str) -> (Option<IpAddr>, Option<u16>) {
    let text = text.trim();
    if let Some(ip) = ip(text) {
        return (Some(ip), None);
    }
    let Some((head, port)) = text.rsplit_once(':') else { return (None, None) };
    match ip(head) {
        Some(ip) => (Some(ip), port.parse().ok().filter(|p| *p > 0)),
        None => (None, None),
    }
}

/// Whether this address says nothing about who it is: unspecified.
fn is_blank(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_unspecified(),
        IpAddr::V6(v6) => v6 == Ipv6Addr::UNSPECIFIED,
    }
}

/// Calls `each` with every ATT&CK technique id in the text, normalised: `T1059`, `T1059.001`. Takes any case and
/// Sigma's `attack.t1059.001`, and a slash before the sub-technique as in links.
pub fn techniques_in(text: &str, mut each: impl FnMut(String)) {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(n) = memchr::memchr2(b'T', b't', &bytes[from..]) {
        let at = from + n;
        from = at + 1;
        let bounded = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        let Some(digits) = bytes.get(at + 1..at + 5) else { return };
        if !bounded || !digits.iter().all(u8::is_ascii_digit) {
            continue;
        }
        let mut end = at + 5;
        let mut id = String::with_capacity(9);
        id.push('T');
        id.push_str(&text[at + 1..end]);
        if let Some([b'.' | b'/', sub @ ..]) = bytes.get(end..end + 4)
            && sub.iter().all(u8::is_ascii_digit)
        {
            id.push('.');
            id.push_str(&text[end + 1..end + 4]);
            end += 4;
        }
        if bytes.get(end).is_none_or(|b| !b.is_ascii_alphanumeric()) {
            each(id);
        }
        from = end;
    }
}

/// Fields being filled. Dereferences to them; the methods keep lists bounded and free of duplicates.
#[derive(Debug, Default)]
pub struct Draft {
    pub f: AlertFields,
}

impl Draft {
    pub fn new(product: &str) -> Self {
        Self { f: AlertFields { product: Some(Untrusted::new(product)), ..AlertFields::default() } }
    }

    pub fn observe(&mut self, kind: Kind, value: &str) {
        let value = value.trim();
        if value.is_empty() || super::json::is_nothing(value) || self.f.observables.len() >= MAX_OBSERVABLES {
            return;
        }
        if !self.f.observables.iter().any(|o| o.kind == kind && o.value.expose() == value) {
            self.f.observables.push(Observable { kind, value: keep(value) });
        }
    }

    /// An address beyond source and destination; those two are left out again by [`Draft::done`].
    pub fn observe_ip(&mut self, text: &str) {
        if let Some(ip) = ip(text).filter(|ip| !is_blank(*ip)) {
            self.observe(Kind::Ip, &ip.to_string());
        }
    }

    /// A hash, its kind told from its length in hex digits.
    pub fn observe_hash(&mut self, value: &str) {
        let value = value.trim();
        if value.bytes().all(|b| b == b'0') {
            return;
        }
        let hex = value.bytes().all(|b| b.is_ascii_hexdigit());
        let kind = match (hex, value.len()) {
            (true, 32) => Kind::Md5,
            (true, 40) => Kind::Sha1,
            (true, 64) => Kind::Sha256,
            _ => Kind::Hash,
        };
        self.observe(kind, &value.to_ascii_lowercase());
    }

    /// Sysmon's `SHA1=..,MD5=..,IMPHASH=..`.
    pub fn observe_hashes(&mut self, list: &str) {
        for part in list.split([',', ';', ' ']).filter(|p| !p.is_empty()) {
            match part.split_once('=') {
                Some((name, value)) if name.eq_ignore_ascii_case("IMPHASH") => {
                    if !value.bytes().all(|b| b == b'0') {
                        self.observe(Kind::Hash, value);
                    }
                }
                Some((_, value)) => self.observe_hash(value),
                None => self.observe_hash(part),
            }
        }
    }

    /// A URL, and the host in it as a domain or address.
    pub fn observe_url(&mut self, url: &str) {
        self.observe(Kind::Url, url);
        let Some((_, rest)) = url.split_once("://") else { return };
        let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
        let host = authority.rsplit_once('@').map_or(authority, |(_, h)| h);
        self.observe_host(host);
    }

    /// A network name: an address, or a domain, a port after it left out.
    pub fn observe_host(&mut self, host: &str) {
        let host = host.trim();
        if let (Some(ip), _) = ip_port(host) {
            return self.observe_ip(&ip.to_string());
        }
        let host = host.split_once(':').map_or(host, |(h, _)| h).trim_end_matches('.');
        if host.contains('.') {
            self.observe(Kind::Domain, host);
        }
    }

    pub fn technique(&mut self, text: &str) {
        let list = &mut self.f.techniques;
        techniques_in(text, |id| {
            if list.len() < MAX_TECHNIQUES && !list.contains(&id) {
                list.push(id);
            }
        });
    }

    /// Sets source and destination where they are still open.
    pub fn source(&mut self, ip: Option<IpAddr>, port: Option<u16>) {
        if self.f.src_ip.is_none() {
            self.f.src_ip = ip.filter(|ip| !is_blank(*ip));
        }
        self.f.src_port = self.f.src_port.or(port);
    }

    pub fn destination(&mut self, ip: Option<IpAddr>, port: Option<u16>) {
        if self.f.dst_ip.is_none() {
            self.f.dst_ip = ip.filter(|ip| !is_blank(*ip));
        }
        self.f.dst_port = self.f.dst_port.or(port);
    }

    /// The finished fields. `title` stands in where none was found.
    pub fn done(mut self, title: &str) -> AlertFields {
        if self.f.title.is_empty() {
            let named = self.f.rule_name.clone().filter(|n| !n.is_empty());
            self.f.title = named.unwrap_or_else(|| Untrusted::new(title));
        }
        let ends = [self.f.src_ip, self.f.dst_ip];
        if ends.iter().any(Option::is_some) {
            self.f.observables.retain(|o| o.kind != Kind::Ip || !ends.contains(&o.value.expose().parse().ok()));
        }
        // Absent is absent, whichever way a record said nothing.
        let f = &mut self.f;
        for text in [
            &mut f.rule_id,
            &mut f.rule_name,
            &mut f.source_severity,
            &mut f.host,
            &mut f.user,
            &mut f.process,
            &mut f.command_line,
            &mut f.product,
            &mut f.source_id,
        ] {
            text.take_if(|t| t.is_empty());
        }
        self.f
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn techniques(text: &str) -> Vec<String> {
        let mut d = Draft::default();
        d.technique(text);
        d.f.techniques
    }

    #[test]
    fn techniques_are_normalised_and_single() {
        assert_eq!(techniques("attack.t1059.001"), ["T1059.001"]);
        assert_eq!(techniques("[\"T1047\",\"t1082\",\"T1047\"]"), ["T1047", "T1082"]);
        assert_eq!(techniques("https://attack.mitre.org/techniques/T1003/001/"), ["T1003.001"]);
        assert_eq!(techniques("T1047;T1497.001 ¦ T1.2"), ["T1047", "T1497.001"]);
        assert!(techniques("T10591 AT1059 T105").is_empty());
        assert_eq!(techniques("T1059.1"), ["T1059"]);
    }

    #[test]
    fn what_is_empty_is_absent() {
        let mut d = Draft::default();
        d.f.command_line = Some(keep(" "));
        d.f.rule_name = Some(keep(""));
        let f = d.done("nothing");
        assert_eq!((f.command_line, f.rule_name), (None, None));
        assert_eq!(f.title.expose(), "nothing");
    }

    #[test]
    fn addresses_in_their_forms() {
        assert_eq!(ip("::ffff:10.0.0.1"), "10.0.0.1".parse().ok());
        assert_eq!(ip("fe80:0:0:0:90e:17af:263c:5209"), "fe80::90e:17af:263c:5209".parse().ok());
        assert_eq!(ip("[fe80::1%eth0]"), "fe80::1".parse().ok());
        assert_eq!(ip_port("2.17.4.25:443"), ("2.17.4.25".parse().ok(), Some(443)));
        assert_eq!(ip_port("[2001:db8::1]:80"), ("2001:db8::1".parse().ok(), Some(80)));
        assert_eq!(ip_port("host:80"), (None, None));
    }

    #[test]
    fn long_text_is_cut_and_counted() {
        let kept = keep(&"ä".repeat(FIELD_MAX));
        assert!(kept.expose().ends_with(&format!("<+{FIELD_MAX} bytes>")));
        assert_eq!(kept.expose().len(), FIELD_MAX + format!("<+{FIELD_MAX} bytes>").len());
    }

    #[test]
    fn urls_give_their_host() {
        let mut d = Draft::default();
        d.observe_url("https://user@evil.example:8443/a?b");
        d.observe_url("http://10.1.2.3/x");
        let got: Vec<_> = d.f.observables.iter().map(|o| (o.kind, o.value.expose())).collect();
        assert_eq!(got[1], (Kind::Domain, "evil.example"));
        assert_eq!(got[3], (Kind::Ip, "10.1.2.3"));
    }
}
