//! What is known of an alert or a case, for the variables of a playbook and the targets of what its steps propose.
//!
//! Nothing is taken silently: each value comes with where it stands, and a person may write another. Values are attackers'
//! text: one with characters that hide something, or that is not of the type that is asked for, is not offered.

use super::Desk;
use super::Result;
use crate::intake::format;
use crate::model::action::ParamType;
use crate::model::alert::AlertFields;
use crate::model::alert::ObservableKind;
use crate::model::fields::Field;
use crate::model::ids::AlertId;
use crate::model::ids::CaseId;
use crate::model::playbook::Variable;
use crate::model::playbook_run::Run;
use crate::playbook::kinds;
use crate::store::Store;
use crate::text::Untrusted;
use crate::text::clean;

/// Alerts of a case that are looked at, and other values told of beside the first.
const ALERTS: usize = 5;
const ALSO: usize = 4;
/// Bytes of a value that is offered.
const LONGEST: usize = 512;

/// A value that is known already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    pub value: Untrusted,
    /// Where it stands, such as `host of alert 12`.
    pub from: String,
    /// Others that would fit.
    pub also: Vec<Untrusted>,
}

/// An alert with the leaves of its record.
pub(super) struct Known {
    id: AlertId,
    fields: AlertFields,
    leaves: Vec<Field>,
}

/// What kind of thing is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Want {
    Host,
    User,
    Ip,
    Domain,
    Url,
    Sha256,
    Hash(Vec<ObservableKind>),
    Sender,
    Recipient,
    Process,
    File,
    /// Whatever the record calls so.
    Leaf(String),
    Nothing,
}

impl Desk {
    /// The alert, or the newest of the case.
    pub(super) fn known_of(&self, alert: Option<AlertId>, case: Option<CaseId>) -> Result<Vec<Known>> {
        let mut ids: Vec<AlertId> = alert.into_iter().collect();
        if let Some(case) = case {
            ids.extend(self.alerts_of(case)?.into_iter().filter(|id| Some(*id) != alert));
        }
        let mut out = Vec::new();
        for id in ids.into_iter().take(ALERTS) {
            let Some(found) = self.store.alert(id)? else { continue };
            let raw = self.store.raw(id)?.unwrap_or_default();
            out.push(Known { id, leaves: format::leaves(&found.format, &raw), fields: found.fields });
        }
        Ok(out)
    }
}

/// What is known for a variable of a playbook.
pub(super) fn for_variable(known: &[Known], name: &str, variable: &Variable) -> Option<Filled> {
    first(found(known, &wanted(name, &variable.kind)).filter(|(v, _)| kinds::check(&variable.kind, v).is_ok()))
}

/// What is known for a target or parameter of an action: what the run holds before what its alerts say.
pub(super) fn for_param(known: &[Known], run: &Run, name: &str, kind: &ParamType) -> Option<Filled> {
    let want = match kind {
        ParamType::Host => Want::Host,
        ParamType::User => Want::User,
        ParamType::Ip => Want::Ip,
        ParamType::Domain => Want::Domain,
        ParamType::Url => Want::Url,
        ParamType::Sha256 => Want::Sha256,
        _ => Want::Nothing,
    };
    let same = |n: &str| plain(n) == plain(name) && !name.is_empty();
    let held = run.variables.iter().filter(|(n, h)| {
        let asked = wanted(n, &h.kind);
        same(n) || (want != Want::Nothing && asked == want)
    });
    let held = held.filter_map(|(n, h)| {
        let value = h.value.as_ref().filter(|v| !v.is_empty())?;
        Some((value.expose().to_owned(), format!("{} of this playbook", n.trim_matches('_'))))
    });
    // A list of hosts in one variable is several targets.
    let held: Vec<(String, String)> = held
        .flat_map(|(v, from)| {
            let parts: Vec<String> = v.split([',', ';', ' ', '\n']).map(str::to_owned).collect();
            parts.into_iter().filter(|p| !p.is_empty()).map(move |p| (p, from.clone()))
        })
        .collect();
    let fits = |v: &str| crate::respond::value::check(kind, v).is_ok();
    first(held.into_iter().chain(found(known, &want)).filter(|(v, _)| fits(v)))
}

fn first(mut all: impl Iterator<Item = (String, String)>) -> Option<Filled> {
    let is_plain = |v: &str| {
        let value = Untrusted::new(v);
        !v.is_empty() && v.len() <= LONGEST && !v.contains(['\n', '\r']) && clean(&value).as_str() == v
    };
    let (value, from) = all.find(|(v, _)| is_plain(v))?;
    let mut also: Vec<String> = Vec::new();
    for (v, _) in all.filter(|(v, _)| is_plain(v)) {
        if v != value && !also.contains(&v) && also.len() < ALSO {
            also.push(v);
        }
    }
    Some(Filled { value: Untrusted::new(value), from, also: also.into_iter().map(Untrusted::new).collect() })
}

/// By the type, and where that is any text, by the words of the name.
fn wanted(name: &str, kind: &str) -> Want {
    use ObservableKind as K;
    let lower = name.trim_matches('_').to_ascii_lowercase();
    let has = |words: &[&str]| lower.split(['_', '-']).any(|part| words.contains(&part));
    match kind {
        "sha256-hash" => return Want::Sha256,
        "md5-hash" => return Want::Hash(vec![K::Md5]),
        "hash" => return Want::Hash(vec![K::Sha256, K::Sha1, K::Md5, K::Hash]),
        "ipv4-addr" | "ipv6-addr" => return Want::Ip,
        "uri" => return Want::Url,
        "string" => {}
        _ => return Want::Nothing,
    }
    match () {
        () if has(&["host", "hostname", "workstation", "device", "endpoint"]) => Want::Host,
        () if has(&["sender", "from"]) => Want::Sender,
        () if has(&["recipient", "recipients"]) => Want::Recipient,
        () if has(&["user", "username", "account", "login"]) => Want::User,
        () if has(&["address", "ip"]) => Want::Ip,
        () if has(&["domain"]) => Want::Domain,
        () if has(&["url", "link"]) => Want::Url,
        () if has(&["process", "image"]) => Want::Process,
        () if has(&["file", "attachment"]) => Want::File,
        () => Want::Leaf(plain(name)),
    }
}

/// Letters and digits, lower case.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn found<'a>(known: &'a [Known], want: &'a Want) -> impl Iterator<Item = (String, String)> + 'a {
    known.iter().flat_map(move |k| {
        let id = k.id;
        of_alert(k, want).into_iter().map(move |(value, what)| (value, format!("{what} of alert {id}")))
    })
}

fn of_alert(k: &Known, want: &Want) -> Vec<(String, String)> {
    use ObservableKind as K;
    let f = &k.fields;
    let own = |v: &Option<Untrusted>, what: &str| v.iter().map(|v| (v.expose().to_owned(), what.to_owned())).collect();
    let observed = |kinds: &[K], what: &str| -> Vec<(String, String)> {
        let all = f.observables.iter().filter(|o| kinds.contains(&o.kind));
        all.map(|o| (o.value.expose().to_owned(), what.to_owned())).collect()
    };
    let leaves = |words: &[&str]| -> Vec<(String, String)> {
        let of = |l: &&Field| {
            let last = plain(l.path.expose().rsplit('.').next().unwrap_or_default());
            // `message_id` is also what ends so, such as InternetMessageId.
            words.iter().any(|w| last == *w || (w.len() >= 6 && last.ends_with(w)))
        };
        let exact = |l: &&Field| {
            let last = plain(l.path.expose().rsplit('.').next().unwrap_or_default());
            usize::from(!words.contains(&last.as_str()))
        };
        let mut all: Vec<&Field> = k.leaves.iter().filter(of).collect();
        all.sort_by_key(exact);
        let named = |l: &Field| (l.value.expose().to_owned(), clean(&l.path).as_str().to_owned());
        all.into_iter().filter(|l| !l.value.is_empty()).map(named).collect()
    };
    let joined = |a: Vec<(String, String)>, b: Vec<(String, String)>| a.into_iter().chain(b).collect();
    match want {
        Want::Host => joined(own(&f.host, "host"), observed(&[K::Host], "a host")),
        Want::User => joined(own(&f.user, "user"), observed(&[K::User], "a user")),
        Want::Ip => {
            let ends = [(f.src_ip, "source address"), (f.dst_ip, "destination")];
            let ends = ends.into_iter().filter_map(|(ip, what)| Some((ip?.to_string(), what.to_owned())));
            let mut all: Vec<(String, String)> = ends.chain(observed(&[K::Ip], "an address")).collect();
            // What is ours is rarely what is to be blocked or looked for.
            all.sort_by_key(|(ip, _)| own_address(ip));
            all
        }
        Want::Domain => observed(&[K::Domain], "a domain"),
        Want::Url => observed(&[K::Url], "a link"),
        Want::Sha256 => observed(&[K::Sha256], "the hash"),
        Want::Hash(kinds) => observed(kinds, "the hash"),
        Want::Sender => leaves(&["sender", "senderaddress", "mailfrom", "from", "senderemail"]),
        Want::Recipient => leaves(&["recipient", "recipientaddress", "rcptto", "recipientemail"]),
        Want::Process => own(&f.process, "process"),
        Want::File => observed(&[K::File], "a file"),
        Want::Leaf(name) if name.len() >= 4 => leaves(&[name]),
        Want::Leaf(_) | Want::Nothing => Vec::new(),
    }
}

fn own_address(ip: &str) -> bool {
    match ip.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(v4)) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        Ok(std::net::IpAddr::V6(v6)) => v6.is_loopback() || (v6.segments()[0] & 0xfe00) == 0xfc00,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::alert::Observable;

    fn leaf(path: &str, value: &str) -> Field {
        Field { path: path.into(), value: value.into() }
    }

    fn known() -> Vec<Known> {
        let sha = "c8456d8b1cc014ed506a1ef949c6c5f9feffa555501b92935c900a82fea881e5";
        let observables = vec![
            Observable { kind: ObservableKind::Sha256, value: sha.into() },
            Observable { kind: ObservableKind::Url, value: "https://parcel-notice.example/x".into() },
        ];
        let fields = AlertFields {
            host: Some("fin-ws-014".into()),
            user: Some("m.adler\u{202e}".into()),
            src_ip: "10.1.2.3".parse().ok(),
            dst_ip: "203.0.113.25".parse().ok(),
            observables,
            ..AlertFields::default()
        };
        let leaves = vec![
            leaf("Entities[2].InternetMessageId", "<4471@parcel-notice.example>"),
            leaf("Entities[2].Sender", "accounts@parcel-notice.example"),
            leaf("Entities[2].Subject", "Invoice"),
        ];
        vec![Known { id: AlertId(7), fields, leaves }]
    }

    fn var(kind: &str) -> Variable {
        Variable { kind: kind.into(), external: true, ..Variable::default() }
    }

    #[test]
    fn variables_are_filled_by_name_and_type_with_their_source() {
        let known = known();
        let of =
            |name: &str, kind: &str| for_variable(&known, name, &var(kind)).map(|f| (f.value.into_exposed(), f.from));
        let some = |v: &str, from: &str| Some((v.to_owned(), format!("{from} of alert 7")));
        assert_eq!(of("__host__", "string"), some("fin-ws-014", "host"));
        assert_eq!(of("__first_host__", "string"), some("fin-ws-014", "host"));
        assert_eq!(
            of("__message_id__", "string"),
            some("<4471@parcel-notice.example>", "Entities[2].InternetMessageId")
        );
        assert_eq!(of("__sender__", "string"), some("accounts@parcel-notice.example", "Entities[2].Sender"));
        assert_eq!(of("__sha256__", "sha256-hash").unwrap().1, "the hash of alert 7");
        assert_eq!(of("__attacker__", "ipv4-addr"), some("203.0.113.25", "destination"), "not one of ours first");
        assert_eq!(of("__link__", "uri"), some("https://parcel-notice.example/x", "a link"));
        assert_eq!(of("__md5__", "md5-hash"), None, "a SHA-256 is no MD5");
        assert_eq!(of("__user__", "string"), None, "what hides something is not offered");
        assert_eq!(of("__clicked__", "bool"), None);
        let ip = for_variable(&known, "__attacker__", &var("ipv4-addr")).unwrap();
        assert_eq!(ip.also, ["10.1.2.3".into()]);
    }
}
