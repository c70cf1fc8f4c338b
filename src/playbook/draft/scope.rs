//! What a draft may speak of: the targets of its alert or case, and what this desk can do.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::model::action::ActionDef;
use crate::model::action::ParamType;
use crate::model::action::Tier;
use crate::model::alert::AlertFields;
use crate::model::alert::ObservableKind;
use crate::text::Untrusted;

/// Names taken from one case; more are no case but a flood.
const MOST: usize = 500;
/// Targets of all steps of a draft together.
const TARGETS: usize = 10;
/// Names that stand for many things, or for whatever is at hand.
const NO_NAMES: [&str; 16] = [
    "all",
    "any",
    "each",
    "every",
    "everyone",
    "everybody",
    "everything",
    "none",
    "null",
    "unknown",
    "localhost",
    "host",
    "user",
    "domain",
    "default",
    "-",
];

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Host,
    User,
    Address,
    Domain,
    Url,
    Mail,
    Hash,
    /// A file, a process, a registry key: may be spoken of, is no target.
    Other,
}

impl What {
    pub fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::User => "user",
            Self::Address => "address",
            Self::Domain => "domain",
            Self::Url => "URL",
            Self::Mail => "mail address",
            Self::Hash => "file hash",
            Self::Other => "thing",
        }
    }

    fn of(kind: &ParamType) -> Self {
        match kind {
            ParamType::Host => Self::Host,
            ParamType::User => Self::User,
            ParamType::Ip => Self::Address,
            ParamType::Domain => Self::Domain,
            ParamType::Url => Self::Url,
            ParamType::Sha256 => Self::Hash,
            _ => Self::Other,
        }
    }
}

/// An action of the catalogue, as far as a draft is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub name: String,
    pub title: String,
    pub tier: Tier,
    /// People besides whoever asks.
    pub approvals: u8,
    pub undo: Option<String>,
    pub wants: What,
    pub most: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// In lower case, with how they were written first and what they are.
    names: BTreeMap<String, (String, What)>,
    /// Hosts and people of the house that are not of this case, lower case.
    pub elsewhere: BTreeSet<String>,
    pub acts: Vec<Act>,
    /// Ids and short names of the playbooks there are.
    pub playbooks: BTreeSet<String>,
    pub techniques: Vec<String>,
    /// Looks for text that addresses its reader.
    pub speaks: Option<Speaks>,
}

/// What a text does to its reader, in words, and whether that is grave.
pub type Speaks = fn(&str) -> Vec<(&'static str, bool)>;

impl Scope {
    /// Takes what an alert names in fields of its own. Words of its free texts are an attacker's to choose: they are not
    /// looked at.
    pub fn add(&mut self, f: &AlertFields) {
        let texts = [(&f.host, What::Host), (&f.user, What::User), (&f.process, What::Other)];
        for (text, what) in texts {
            if let Some(t) = text {
                self.name(t, what);
            }
        }
        for ip in [f.src_ip, f.dst_ip].into_iter().flatten() {
            self.name(&Untrusted::new(ip.to_string()), What::Address);
        }
        for o in &f.observables {
            let what = match o.kind {
                ObservableKind::Ip => What::Address,
                ObservableKind::Domain => What::Domain,
                ObservableKind::Url => What::Url,
                ObservableKind::Email => What::Mail,
                ObservableKind::Md5 | ObservableKind::Sha1 | ObservableKind::Sha256 | ObservableKind::Hash => {
                    What::Hash
                }
                ObservableKind::Host => What::Host,
                ObservableKind::User => What::User,
                ObservableKind::File | ObservableKind::Registry | ObservableKind::Process | ObservableKind::Other => {
                    What::Other
                }
            };
            self.name(&o.value, what);
        }
        for t in &f.techniques {
            if !self.techniques.contains(t) {
                self.techniques.push(t.clone());
            }
        }
    }

    /// A name, unless it could stand for more than one thing.
    fn name(&mut self, name: &Untrusted, what: What) {
        let name = name.expose().trim();
        let lower = name.to_lowercase();
        let plain = |more: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
        let letter = name.chars().any(|c| c.is_ascii_alphanumeric());
        let ok = match what {
            What::Host | What::Domain => plain("-._") && name.len() <= 253,
            What::User => plain("-._\\@$") && name.len() <= 120,
            What::Mail => plain("-._@+") && name.len() <= 254,
            What::Address => name.parse::<IpAddr>().is_ok_and(|ip| !ip.is_unspecified() && !ip.is_loopback()),
            What::Hash => [32, 40, 64].contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit()),
            What::Url => name.len() <= 300 && name.contains("://") && name.bytes().all(|b| b.is_ascii_graphic()),
            What::Other => name.len() <= 300,
        };
        if !ok || !letter || NO_NAMES.contains(&lower.as_str()) || self.names.len() >= MOST {
            return;
        }
        if what == What::Url
            && let Some(host) = host_of(&lower)
        {
            let kind = if host.parse::<IpAddr>().is_ok() { What::Address } else { What::Domain };
            self.name(&Untrusted::new(host), kind);
        }
        self.names.entry(lower).or_insert_with(|| (name.to_owned(), what));
    }

    /// Takes what the desk can do. `approvals`: how many people besides whoever asks, by tier.
    pub fn offer(&mut self, catalogue: &[ActionDef], approvals: impl Fn(Tier) -> u8) {
        self.acts = catalogue
            .iter()
            .map(|a| Act {
                name: a.name.clone(),
                title: a.title.clone(),
                tier: a.tier,
                approvals: approvals(a.tier),
                undo: a.undo.clone(),
                wants: What::of(&a.targets.kind),
                most: a.targets.max.min(TARGETS),
            })
            .collect();
    }

    /// What it is, if it is of this case. A host may be named by the first label of its full name.
    pub fn knows(&self, name: &str) -> Option<What> {
        let lower = name.to_lowercase();
        if let Some((_, what)) = self.names.get(&lower) {
            return Some(*what);
        }
        let short = |(known, (_, what)): (&String, &(String, What))| {
            (*what == What::Host && known.split('.').next() == Some(&lower)).then_some(What::Host)
        };
        self.names.iter().find_map(short)
    }

    /// What an action could be for, as it was written first.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.names.values().filter(|n| !matches!(n.1, What::Other | What::Mail)).map(|n| n.0.as_str())
    }

    pub fn act(&self, name: &str) -> Option<&Act> {
        self.acts.iter().find(|a| a.name == name)
    }

    /// Actions there is a target for.
    pub fn usable(&self) -> impl Iterator<Item = &Act> {
        self.acts.iter().filter(|a| a.wants != What::Other && self.names.values().any(|n| n.1 == a.wants))
    }

    pub fn most_targets(&self) -> usize {
        TARGETS
    }
}

/// The host of a URL, without user, port and path.
pub(super) fn host_of(url: &str) -> Option<String> {
    let after = url.split_once("://")?.1;
    let authority = after.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => host.split(':').next()?,
    };
    (!host.is_empty()).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::alert::Observable;

    #[test]
    fn only_names_of_one_thing_are_taken() {
        let mut s = Scope::default();
        let observable = |kind, value: &str| Observable { kind, value: value.into() };
        s.add(&AlertFields {
            host: Some("FIN-WS-014.corp.example".into()),
            user: Some("*".into()),
            observables: vec![
                observable(ObservableKind::User, "all"),
                observable(ObservableKind::User, "m.adler"),
                observable(ObservableKind::Host, "a; rm -rf /"),
                observable(ObservableKind::Ip, "10.0.0.0/8"),
                observable(ObservableKind::Ip, "0.0.0.0"),
                observable(ObservableKind::Ip, "198.51.100.7"),
                observable(ObservableKind::Url, "http://evil.example:8080/x"),
                observable(ObservableKind::Hash, "abc"),
            ],
            ..AlertFields::default()
        });
        let all: Vec<&str> = s.targets().collect();
        assert_eq!(
            all,
            ["198.51.100.7", "evil.example", "FIN-WS-014.corp.example", "http://evil.example:8080/x", "m.adler"]
        );
        assert_eq!(s.knows("fin-ws-014"), Some(What::Host));
        assert_eq!((s.knows("M.Adler"), s.knows("all"), s.knows("corp")), (Some(What::User), None, None));
    }
}
