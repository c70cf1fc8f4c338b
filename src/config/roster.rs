//! The people of a desk, from a TOML file:
//!
//! ```toml
//! [[people]]
//! id = "alice"                  # 1 to 64 of A-Z a-z 0-9 . _ - @ :
//! name = "Alice Martin"
//! os_users = ["amartin"]        # accounts, looked up as the system does (files, LDAP, SSSD)
//! uids = [1001]                 # or by number
//! keys = ["ssh-ed25519 AAAA..."]
//! roles = ["analyst", "approver"]
//! ```
//!
//! Who somebody is comes from the kernel ([`uid`]), never from `USER`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::doc::{At, Doc, Fields, Table};
use super::fault::{Faults, Place, nearest};
use super::load::Loaded;
use crate::model::ids::PersonId;
use crate::model::person::{Person, Role, Roster};

/// A roster that was read or made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct People {
    /// Account names are resolved: `uids` holds every uid a person has.
    pub roster: Roster,
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// What the people at the desk should know about it.
    pub notices: Vec<String>,
}

/// The real uid of this process, as the kernel says.
pub fn uid() -> u32 {
    rustix::process::getuid().as_raw()
}

/// The account name of a uid, looked up as the system does.
pub fn account_of(uid: u32) -> Option<String> {
    nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten().map(|u| u.name)
}

fn uid_of(account: &str) -> Result<Option<u32>, String> {
    match nix::unistd::User::from_name(account) {
        Ok(user) => Ok(user.map(|u| u.uid.as_raw())),
        Err(e) => Err(e.to_string()),
    }
}

/// The roster of the settings: `desk.roster`, else `roster.toml` beside the settings file, else the OS account alone.
pub fn load(loaded: &Loaded) -> Result<People, Faults> {
    if let Some(path) = &loaded.settings.desk.roster {
        return read(path);
    }
    let beside = loaded.paths.config_dir.join("roster.toml");
    if beside.exists() { read(&beside) } else { Ok(alone(uid())) }
}

/// Reads a roster file.
pub fn read(path: &Path) -> Result<People, Faults> {
    parse(&Doc::read(path)?)
}

/// One person made of an OS account, who may work alerts but has nobody to approve.
pub fn alone(uid: u32) -> People {
    let account = account_of(uid);
    let id = account.clone().and_then(PersonId::new).or_else(|| PersonId::new(format!("uid:{uid}")));
    let people = id.map(|id| Person {
        name: account.clone().unwrap_or_else(|| format!("uid {uid}")),
        id,
        os_users: account.into_iter().collect(),
        uids: vec![uid],
        keys: Vec::new(),
        roles: vec![Role::Analyst, Role::Lead],
    });
    People {
        roster: Roster { people: people.into_iter().collect() },
        file: None,
        notices: vec![
            "no roster file: you are the only person of this desk, and approvals need a second one".to_owned(),
        ],
    }
}

/// Reads a roster's text; `path` is for messages.
pub fn parse_text(path: &Path, text: &str) -> Result<People, Faults> {
    parse(&Doc::parse(path, text.to_owned())?)
}

fn parse(doc: &Doc) -> Result<People, Faults> {
    let mut faults = Faults::default();
    let mut top = Fields::new(doc, &doc.root, "a roster", &mut faults);
    let tables = top.tables("people");
    if tables.is_empty() {
        top.fault(0, "a roster needs at least one [[people]] table");
    }
    top.finish();

    let mut seen = Seen::default();
    let mut out = People { roster: Roster::default(), file: Some(doc.path.clone()), notices: Vec::new() };
    for table in tables {
        if let Some(person) = person(doc, table, &mut seen, &mut out.notices, &mut faults) {
            out.roster.people.push(person);
        }
    }
    faults.sort();
    faults.or(out)
}

/// What must be one person's only, with the line it was first said on.
#[derive(Default)]
struct Seen {
    ids: BTreeMap<String, Place>,
    uids: BTreeMap<u32, (String, Place)>,
    keys: BTreeMap<String, (String, Place)>,
}

fn person(doc: &Doc, table: &Table, seen: &mut Seen, notices: &mut Vec<String>, faults: &mut Faults) -> Option<Person> {
    let mut f = Fields::new(doc, table, "a person", faults);
    let id = f.text("id");
    let name = f.text_opt("name");
    let accounts = f.texts("os_users");
    let uids = f.integers("uids", 0..=i64::from(u32::MAX));
    let keys = f.texts("keys");
    let role_words = f.texts("roles");
    let roles = roles(&mut f, role_words);
    f.finish();

    let At { value: id_text, at: id_at } = id?;
    let Some(id) = PersonId::new(id_text.clone()) else {
        faults.add(doc.place(id_at), format!("id {id_text:?}: expected 1 to 64 of A-Z a-z 0-9 . _ - @ :"));
        return None;
    };
    if let Some(first) = seen.ids.insert(id_text.clone(), doc.place(id_at)) {
        faults.add(doc.place(id_at), format!("id {id_text:?} is taken already on {}", first.line()));
    }

    let mut all: Vec<(u32, usize)> = uids.iter().filter_map(|u| Some((u32::try_from(u.value).ok()?, u.at))).collect();
    for a in &accounts {
        match uid_of(&a.value) {
            Ok(Some(uid)) => all.push((uid, a.at)),
            Ok(None) => notices.push(format!("{}: no account {:?} on this host", doc.place(a.at), a.value)),
            Err(e) => notices.push(format!("{}: account {:?} cannot be looked up: {e}", doc.place(a.at), a.value)),
        }
    }
    for (uid, at) in &all {
        match seen.uids.get(uid) {
            Some((other, first)) if *other != id_text => {
                faults.add(doc.place(*at), format!("uid {uid} is {other:?} already on {}", first.line()));
            }
            Some(_) => {}
            None => {
                seen.uids.insert(*uid, (id_text.clone(), doc.place(*at)));
            }
        }
    }
    for k in &keys {
        let body = key_body(&k.value);
        match seen.keys.get(body) {
            Some((other, first)) if *other != id_text => {
                faults.add(doc.place(k.at), format!("this key is {other:?}'s already on {}", first.line()));
            }
            Some(_) => {}
            None if body.is_empty() => faults.add(doc.place(k.at), "keys: expected an SSH public key or SHA256:..."),
            None => {
                seen.keys.insert(body.to_owned(), (id_text.clone(), doc.place(k.at)));
            }
        }
    }
    let mut uids: Vec<u32> = all.into_iter().map(|(u, _)| u).collect();
    uids.sort_unstable();
    uids.dedup();
    Some(Person {
        name: name.map_or_else(|| id_text.clone(), |n| n.value),
        id,
        os_users: accounts.into_iter().map(|a| a.value).collect(),
        uids,
        keys: keys.into_iter().map(|k| k.value).collect(),
        roles,
    })
}

const ROLES: [Role; 6] = [Role::Analyst, Role::Lead, Role::Commander, Role::Approver, Role::Facilitator, Role::Auditor];

fn roles(f: &mut Fields<'_, '_>, words: Vec<At<String>>) -> Vec<Role> {
    let mut out = Vec::new();
    for w in words {
        match ROLES.into_iter().find(|r| r.word() == w.value) {
            Some(role) if !out.contains(&role) => out.push(role),
            Some(_) => {}
            None => {
                let message = match nearest(&w.value, ROLES.map(Role::word)) {
                    Some(near) => format!("unknown role {:?}; did you mean {near:?}?", w.value),
                    None => format!("unknown role {:?}; known: {}", w.value, ROLES.map(Role::word).join(", ")),
                };
                f.fault(w.at, message);
            }
        }
    }
    out
}

/// What of a key line makes it the same key: the base64 body of `type body comment`, or the fingerprint itself.
fn key_body(key: &str) -> &str {
    let mut words = key.split_whitespace();
    match (words.next(), words.next()) {
        (Some(one), None) if one.starts_with("SHA256:") => one,
        (Some(kind), Some(body))
            if kind.starts_with("ssh-") || kind.starts_with("ecdsa-") || kind.starts_with("sk-") =>
        {
            body
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(text: &str) -> Result<People, Faults> {
        parse(&Doc::parse(Path::new("roster.toml"), text.to_owned())?)
    }

    #[test]
    fn accounts_become_uids() {
        let people = roster(
            "[[people]]\nid='a'\nname='A'\nos_users=['root','no-such-account-here']\nuids=[7]\nroles=['analyst']\n\
             keys=['ssh-ed25519 AAAA a@b']\n[[people]]\nid='b'\nroles=['approver','lead']\n",
        )
        .unwrap();
        assert_eq!(people.roster.by_uid(0).unwrap().id.as_str(), "a");
        assert_eq!(people.roster.by_uid(7).unwrap().id.as_str(), "a");
        assert!(people.roster.by_uid(8).is_none());
        assert_eq!(people.roster.people[1].name, "b", "the id stands in for a name");
        assert_eq!(people.notices, ["roster.toml:4:18: no account \"no-such-account-here\" on this host"]);
    }

    #[test]
    fn every_fault_is_told_with_its_line() {
        let faults = roster(
            "[[people]]\nid='a'\nuids=[5]\nkeys=['ssh-ed25519 AAAA x', 'nonsense']\nroles=['analist']\n\
             [[people]]\nid='a'\nuids=[5, -1]\nkeys=['ssh-ed25519 AAAA y']\n\
             [[people]]\nid='b c'\nrole=['lead']\n[[people]]\nid='d'\nuids=[5]\nkeys=['ssh-ed25519 AAAA y']\n",
        )
        .unwrap_err()
        .to_string();
        let want = "\
roster.toml:4:29: keys: expected an SSH public key or SHA256:...
roster.toml:5:8: unknown role \"analist\"; did you mean \"analyst\"?
roster.toml:7:4: id \"a\" is taken already on line 2
roster.toml:8:10: uids: expected a list of whole numbers from 0 to 4294967295, found -1 in it
roster.toml:11:4: id \"b c\": expected 1 to 64 of A-Z a-z 0-9 . _ - @ :
roster.toml:12:1: unknown key \"role\" of a person; did you mean \"roles\"?
roster.toml:15:7: uid 5 is \"a\" already on line 3
roster.toml:16:7: this key is \"a\"'s already on line 4";
        assert_eq!(faults, want);
        assert!(roster("").unwrap_err().to_string().contains("needs at least one [[people]]"));
    }

    #[test]
    fn alone_has_nobody_to_approve() {
        let people = alone(uid());
        assert_eq!(people.roster.by_uid(uid()).unwrap().roles, [Role::Analyst, Role::Lead]);
        assert!(people.notices[0].contains("second"));
        assert_eq!(alone(4_000_000_000).roster.people[0].id.as_str(), "uid:4000000000");
    }
}
