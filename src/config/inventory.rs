//! How much each host and each person's account matters, whose it is and what it is for: from CSV of hosts
//! (`host,weight[,owner[,role[,note]]]`) or TOML of both:
//!
//! ```toml
//! [[assets]]
//! host = "db-*"        # `*` any run of characters, `?` one; case does not matter
//! weight = 200         # percent; 100 is an ordinary host
//! owner = "payments"
//! role = "database"
//! note = "card data; call payments before isolating"
//!
//! [[people]]
//! user = "svc-backup"  # as alerts name it; a domain before it or behind it may be left out
//! weight = 300
//! role = "service account"
//! ```
//!
//! The most specific pattern wins: an exact name, then the pattern with more fixed characters, then the later line.

use std::collections::HashMap;
use std::path::Path;

use super::doc::{Doc, Fields};
use super::fault::{Faults, Place};
use crate::text;

/// Weight of a host nobody listed.
pub const ORDINARY: u16 = 100;
/// The largest weight: a host that matters ten times as much.
pub const HEAVIEST: u16 = 1000;
/// Bytes of a name that are looked at: alerts are written by others.
const LONGEST_NAME: usize = 512;

/// What the desk knows of a host, or of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asset {
    /// Host or user: lower case, with `*` and `?`.
    pub name: String,
    /// Percent.
    pub weight: u16,
    pub owner: Option<String>,
    /// Such as `domain controller`.
    pub role: Option<String>,
    pub note: Option<String>,
}

/// Every asset and every known account of a desk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    hosts: Table,
    people: Table,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    exact: HashMap<String, Asset>,
    /// Most specific first.
    patterns: Vec<Asset>,
}

impl Table {
    fn new(entries: impl IntoIterator<Item = Asset>) -> Self {
        let mut exact = HashMap::new();
        let mut patterns = Vec::new();
        for mut a in entries {
            a.name = a.name.to_lowercase();
            if a.name.contains(['*', '?']) {
                patterns.push(a);
            } else {
                exact.insert(a.name.clone(), a);
            }
        }
        patterns.reverse();
        patterns.sort_by_key(|a| std::cmp::Reverse(a.name.chars().filter(|c| !matches!(c, '*' | '?')).count()));
        Self { exact, patterns }
    }

    fn find(&self, name: &str) -> Option<&Asset> {
        let name = text::front(name, LONGEST_NAME).to_lowercase();
        self.exact.get(&name).or_else(|| self.patterns.iter().find(|a| matches(&a.name, &name)))
    }

    fn len(&self) -> usize {
        self.exact.len() + self.patterns.len()
    }
}

impl Inventory {
    pub fn new(hosts: impl IntoIterator<Item = Asset>, people: impl IntoIterator<Item = Asset>) -> Self {
        Self { hosts: Table::new(hosts), people: Table::new(people) }
    }

    /// Hosts and people.
    pub fn len(&self) -> usize {
        self.hosts.len() + self.people.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names written out, of hosts and of people, lower case; patterns are left out.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.hosts.exact.keys().chain(self.people.exact.keys()).map(String::as_str)
    }

    pub fn asset(&self, host: &str) -> Option<&Asset> {
        self.hosts.find(host)
    }

    /// The account, by the name an alert gives it: as it is, else without its domain (`CORP\\eve`, `eve@corp.example`).
    pub fn person(&self, user: &str) -> Option<&Asset> {
        let bare = user.rsplit('\\').next().unwrap_or(user);
        let bare = bare.split('@').next().unwrap_or(bare);
        self.people.find(user).or_else(|| self.people.find(bare))
    }

    /// Percent; [`ORDINARY`] for a host nobody listed.
    pub fn weight(&self, host: &str) -> u16 {
        self.asset(host).map_or(ORDINARY, |a| a.weight)
    }
}

/// Whether `name` fits `pattern`; both lower case. Time is at most pattern times name.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut i, mut j, mut star) = (0, 0, None);
    while j < n.len() {
        match p.get(i) {
            Some('*') => {
                star = Some((i, j));
                i += 1;
            }
            Some(c) if *c == '?' || *c == n[j] => {
                i += 1;
                j += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    i = at + 1;
                    j = from + 1;
                    star = Some((at, j));
                }
                None => return false,
            },
        }
    }
    p[i..].iter().all(|c| *c == '*')
}

/// Reads an inventory: TOML if the name ends in `.toml`, else CSV.
pub fn read(path: &Path) -> Result<Inventory, Faults> {
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml")) {
        return toml(&Doc::read(path)?);
    }
    let source = std::fs::read_to_string(path)
        .map_err(|e| Faults::one(Place::Whole(path.to_owned()), format!("cannot be read: {e}")))?;
    csv(path, &source)
}

fn toml(doc: &Doc) -> Result<Inventory, Faults> {
    let mut faults = Faults::default();
    let mut top = Fields::new(doc, &doc.root, "an inventory", &mut faults);
    let (hosts, people) = (top.tables("assets"), top.tables("people"));
    top.finish();
    let hosts: Vec<Asset> = hosts.into_iter().filter_map(|t| entry(doc, t, "an asset", "host", &mut faults)).collect();
    let people: Vec<Asset> =
        people.into_iter().filter_map(|t| entry(doc, t, "a person", "user", &mut faults)).collect();
    faults.sort();
    faults.or(Inventory::new(hosts, people))
}

fn entry(
    doc: &Doc,
    table: &super::doc::Table,
    what: &'static str,
    key: &'static str,
    faults: &mut Faults,
) -> Option<Asset> {
    let mut f = Fields::new(doc, table, what, faults);
    let name = f.text(key);
    let weight = f.integer_opt("weight", 0..=i64::from(HEAVIEST));
    let [owner, role, note] = ["owner", "role", "note"].map(|k| f.text_opt(k).map(|t| t.value));
    // A host is listed for its weight; a person may be listed for a role alone.
    if key == "host" && table.get("weight").is_none() {
        f.fault(table.at, "an asset needs \"weight\"");
    }
    f.finish();
    let weight = weight.map_or(ORDINARY, |w| u16::try_from(w.value).unwrap_or(ORDINARY));
    Some(Asset { name: name?.value, weight, owner, role, note })
}

/// A header line is allowed, so are empty lines and `#` comments, and fields in double quotes.
fn csv(path: &Path, source: &str) -> Result<Inventory, Faults> {
    let mut faults = Faults::default();
    let mut assets = Vec::new();
    let mut first = true;
    for (i, line) in source.trim_start_matches('\u{feff}').lines().enumerate() {
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let place = Place::File { path: path.to_owned(), line: i + 1, column: 1 };
        let header = std::mem::take(&mut first);
        let fields = match split(text) {
            Ok(fields) => fields,
            Err(why) => {
                faults.add(place, why);
                continue;
            }
        };
        if header && fields[0].eq_ignore_ascii_case("host") {
            continue;
        }
        if !(2..=5).contains(&fields.len()) || fields[0].is_empty() {
            let found = fields.len();
            faults.add(place, format!("expected host,weight[,owner[,role[,note]]], found {found} fields"));
            continue;
        }
        let text = |i: usize| fields.get(i).filter(|o| !o.is_empty()).cloned();
        match fields[1].trim_end_matches('%').trim_end().parse::<u16>() {
            Ok(weight) if weight <= HEAVIEST => {
                assets.push(Asset { name: fields[0].clone(), weight, owner: text(2), role: text(3), note: text(4) })
            }
            _ => faults.add(place, format!("weight {:?}: expected a whole number from 0 to {HEAVIEST}", fields[1])),
        }
    }
    faults.or(Inventory::new(assets, []))
}

/// The fields of one CSV line, RFC 4180 quoting, blanks around fields dropped.
fn split(line: &str) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start();
        let (field, after) = if let Some(body) = rest.strip_prefix('"') { quoted(body)? } else { plain(rest) };
        out.push(field);
        match after.trim_start().strip_prefix(',') {
            Some(next) => rest = next,
            None if after.trim().is_empty() => return Ok(out),
            None => return Err(format!("expected a comma after the closing quote of field {}", out.len())),
        }
    }
}

fn plain(rest: &str) -> (String, &str) {
    let end = rest.find(',').unwrap_or(rest.len());
    (rest[..end].trim().to_owned(), &rest[end..])
}

fn quoted(body: &str) -> Result<(String, &str), String> {
    let mut field = String::new();
    let mut rest = body;
    loop {
        let Some(end) = rest.find('"') else { return Err("a quoted field has no closing quote".to_owned()) };
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Ok((field, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_csv(text: &str) -> Result<Inventory, Faults> {
        csv(Path::new("assets.csv"), text)
    }

    #[test]
    fn the_most_specific_pattern_wins() {
        let inv =
            read_csv("host,weight,owner\nweb-*,80\n*,50\nDB-1,300,\"pay, ments\"\ndb-?,200%\ndb-*,150\n").unwrap();
        assert_eq!(inv.weight("db-1"), 300);
        assert_eq!(inv.asset("DB-1").unwrap().owner.as_deref(), Some("pay, ments"));
        let full = read_csv("dc-01,400,platform,domain controller,\"two of them, never both\"\n").unwrap();
        let dc = full.asset("DC-01").unwrap();
        assert_eq!(
            (dc.role.as_deref(), dc.note.as_deref()),
            (Some("domain controller"), Some("two of them, never both"))
        );
        assert_eq!(inv.weight("db-2"), 150, "later line first among equals");
        assert_eq!(inv.weight("db-22"), 150);
        assert_eq!(inv.weight("Web-07"), 80);
        assert_eq!(inv.weight("x"), 50);
        assert_eq!(Inventory::default().weight("x"), ORDINARY);
    }

    #[test]
    fn wildcards() {
        for (p, n, yes) in [
            ("*", "", true),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("?", "é", true),
            ("a**", "a", true),
            ("", "a", false),
            ("*.corp", "dc.corp", true),
            ("*aaa*b", "aaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(matches(p, n), yes, "{p} {n}");
        }
    }

    #[test]
    fn each_wrong_line_is_named() {
        let faults = read_csv("a,100\nb\nc,heavy\n# note\n\"d,1\n\"e\"x,1\nf,1001\n").unwrap_err().to_string();
        let want = "assets.csv:2:1: expected host,weight[,owner[,role[,note]]], found 1 fields
assets.csv:3:1: weight \"heavy\": expected a whole number from 0 to 1000
assets.csv:5:1: a quoted field has no closing quote
assets.csv:6:1: expected a comma after the closing quote of field 1
assets.csv:7:1: weight \"1001\": expected a whole number from 0 to 1000";
        assert_eq!(faults, want);
    }

    #[test]
    fn toml_inventory() {
        let doc = Doc::parse(Path::new("a.toml"), "[[assets]]\nhost='x'\nweight=5\nowner='o'\n".into()).unwrap();
        assert_eq!(toml(&doc).unwrap().weight("X"), 5);
        let people = "[[assets]]\nhost='x'\nweight=5\nrole='dns'\n[[people]]\nuser='svc-*'\nrole='service'\n[[people]]\nuser='Eve'\nweight=300\nnote='on leave'\n";
        let inv = toml(&Doc::parse(Path::new("a.toml"), people.into()).unwrap()).unwrap();
        assert_eq!((inv.len(), inv.asset("x").unwrap().role.as_deref()), (3, Some("dns")));
        assert_eq!(inv.person("CORP\\eve").unwrap().note.as_deref(), Some("on leave"));
        assert_eq!(inv.person("eve@corp.example").unwrap().weight, 300);
        assert_eq!(inv.person("svc-backup").map(|p| p.weight), Some(ORDINARY));
        assert!(inv.person("x").is_none() && inv.asset("eve").is_none());
        let doc = Doc::parse(Path::new("a.toml"), "[[assets]]\nhost=1\nwieght=5\n".into()).unwrap();
        let faults = toml(&doc).unwrap_err().to_string();
        assert!(faults.contains("a.toml:2:6: host: expected a text, found 1"), "{faults}");
        assert!(
            faults.contains("a.toml:3:1: unknown key \"wieght\" of an asset; did you mean \"weight\"?"),
            "{faults}"
        );
        assert!(faults.contains("an asset needs \"weight\""), "{faults}");
    }
}
