//! A query against an alert that is not stored yet: what suppressions are asked at intake.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

use super::{Glob, NetField, Query, Term, TextField, contains_fold, fold};
use crate::model::alert::{AlertFields, NewAlert, Observable, Status};
use crate::model::priority::Priority;
use crate::model::severity::Severity;
use crate::text::Untrusted;

/// A new alert, as a query sees it: status new, nobody's, in no case, seen once, without verdict.
#[derive(Clone, Copy, Debug)]
pub struct MatchInput<'a> {
    pub fields: &'a AlertFields,
    pub format: &'a str,
    pub source: &'a Untrusted,
    pub raw: &'a [u8],
    pub identity: [u8; 16],
    pub group: [u8; 16],
    pub t_ingest: Timestamp,
    pub now: Timestamp,
}

impl<'a> MatchInput<'a> {
    pub fn of(alert: &'a NewAlert, now: Timestamp) -> Self {
        Self {
            fields: &alert.fields,
            format: &alert.format,
            source: &alert.source,
            raw: &alert.raw,
            identity: alert.identity,
            group: alert.group,
            t_ingest: now,
            now,
        }
    }
}

/// An address as 16 bytes, IPv4 mapped into IPv6 (RFC 4291 2.5.5.2), so that both compare alike.
pub fn ip_bits(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// First and last address of a network, as [`ip_bits`].
pub fn net_range(net: &IpNet) -> ([u8; 16], [u8; 16]) {
    (ip_bits(net.network()), ip_bits(net.broadcast()))
}

impl Query {
    /// Whether a new alert matches.
    pub fn matches(&self, input: &MatchInput<'_>) -> bool {
        match self {
            Self::All => true,
            Self::And(parts) => parts.iter().all(|q| q.matches(input)),
            Self::Or(parts) => parts.iter().any(|q| q.matches(input)),
            Self::Not(inner) => !inner.matches(input),
            Self::Term(term) => term.matches(input),
        }
    }
}

impl Term {
    fn matches(&self, i: &MatchInput<'_>) -> bool {
        let f = i.fields;
        match self {
            Self::Text(text) => {
                let needle = fold(text.as_bytes());
                contains_fold(i.raw, &needle) || f.searched_values().any(|v| contains_fold(v.as_bytes(), &needle))
            }
            Self::Severity(cmp, s) => super::severity_holds(*cmp, f.severity, *s),
            Self::Priority(cmp, p) => cmp.holds(Priority::from_severity(f.severity), *p),
            Self::Status(s) => *s == Status::New,
            Self::Match(field, pattern) => field.matches(&Glob::new(pattern), pattern, i),
            Self::Net(side, net) => {
                let (lo, hi) = net_range(net);
                let within = |ip: Option<IpAddr>| ip.map(ip_bits).is_some_and(|b| lo <= b && b <= hi);
                either(*side, within(f.src_ip), within(f.dst_ip))
            }
            Self::Port(side, cmp, port) => {
                let holds = |p: Option<u16>| p.is_some_and(|p| cmp.holds(p, *port));
                either(*side, holds(f.src_port), holds(f.dst_port))
            }
            Self::Technique(id) => f.techniques.iter().any(|t| technique_is(t, id)),
            Self::Age(cmp, seconds) => {
                cmp.holds(i.now.as_microsecond() - i.t_ingest.as_microsecond(), seconds.saturating_mul(1_000_000))
            }
            Self::Owner(who) => who.is_none(),
            Self::InCase(within) => !within,
            Self::Count(cmp, n) => cmp.holds(1, *n),
            Self::Disposition(_) | Self::Case(_) | Self::Id(_) | Self::Verdict(_) => false,
        }
    }
}

fn either(side: NetField, src: bool, dst: bool) -> bool {
    match side {
        NetField::Src => src,
        NetField::Dst => dst,
        NetField::Any => src || dst,
    }
}

/// Whether technique `have` is `want` or one of its sub-techniques, any case.
pub(crate) fn technique_is(have: &str, want: &str) -> bool {
    let (have, want) = (have.as_bytes(), want.as_bytes());
    have.len() >= want.len()
        && have[..want.len()].eq_ignore_ascii_case(want)
        && have.get(want.len()).is_none_or(|b| *b == b'.')
}

/// See [`Term::Severity`].
pub(crate) fn severity_holds(cmp: super::Cmp, have: Severity, want: Severity) -> bool {
    use super::Cmp;
    match cmp {
        Cmp::Eq | Cmp::Ne => cmp.holds(have, want),
        Cmp::Le | Cmp::Ge if want == Severity::Unknown => have == want,
        Cmp::Lt | Cmp::Gt if want == Severity::Unknown => false,
        _ => have != Severity::Unknown && cmp.holds(have, want),
    }
}

impl TextField {
    /// Whether one value of this field matches.
    pub(crate) fn value_matches(self, glob: &Glob, value: &str) -> bool {
        if glob.is_match(value) {
            return true;
        }
        match self {
            Self::Title => glob.literal().is_some_and(|l| contains_fold(value.as_bytes(), l)),
            Self::Process => value.rsplit(['/', '\\']).next().is_some_and(|base| glob.is_match(base)),
            Self::Identity | Self::Group => {
                glob.literal().is_some_and(|l| !l.is_empty() && value.as_bytes().starts_with(l))
            }
            _ => false,
        }
    }

    fn matches(self, glob: &Glob, _pattern: &str, i: &MatchInput<'_>) -> bool {
        let f = i.fields;
        let one = |v: &Option<Untrusted>| v.as_ref().is_some_and(|v| self.value_matches(glob, v.expose()));
        match self {
            Self::Title => self.value_matches(glob, f.title.expose()),
            Self::Rule => one(&f.rule_id) || one(&f.rule_name),
            Self::Host => one(&f.host),
            Self::User => one(&f.user),
            Self::Process => one(&f.process),
            Self::Format => self.value_matches(glob, i.format),
            Self::Source => self.value_matches(glob, i.source.expose()),
            Self::Product => one(&f.product),
            Self::Observable => f.observables.iter().any(|o| self.value_matches(glob, o.value.expose())),
            Self::Group => self.value_matches(glob, &hex::encode(i.group)),
            Self::Identity => self.value_matches(glob, &hex::encode(i.identity)),
        }
    }
}

impl AlertFields {
    /// Every value that free text is looked for in, besides the raw bytes.
    pub fn searched_values(&self) -> impl Iterator<Item = &str> {
        let texts = [
            Some(&self.title),
            self.rule_id.as_ref(),
            self.rule_name.as_ref(),
            self.host.as_ref(),
            self.user.as_ref(),
            self.process.as_ref(),
            self.command_line.as_ref(),
            self.product.as_ref(),
            self.source_id.as_ref(),
        ];
        let observables = self.observables.iter().map(|Observable { value, .. }| value);
        texts
            .into_iter()
            .flatten()
            .chain(observables)
            .map(Untrusted::expose)
            .chain(self.techniques.iter().map(String::as_str))
    }
}
