//! Reads the query language. Every error points at the characters it is about and says what was expected.
//!
//! ```text
//! query := all ("or" all)*
//! all   := one ("and"? one)*
//! one   := ("not" | "-" | "!") one | "(" query ")" | word | "quoted" | field op value ("," value)*
//! ```

use super::{Cmp, NetField, Query, QueryError, Term, TextField};
use crate::model::alert::{Disposition, Status};
use crate::model::ids::{AlertId, CaseId, PersonId};
use crate::model::priority::Priority;
use crate::model::severity::Severity;
use crate::model::verdict::VerdictKind;

/// Every field, its other names, and an example, for help and for completion.
pub const FIELDS: &[(&str, &[&str], &str)] = &[
    ("sev", &["severity"], "sev>=high"),
    ("pri", &["priority"], "pri<=P1"),
    ("status", &["state"], "status:new,claimed"),
    ("disp", &["disposition"], "disp:fp"),
    ("title", &[], "title:brute"),
    ("rule", &[], "rule:9701"),
    ("host", &[], "host:web-*"),
    ("user", &[], "user:bob"),
    ("proc", &["process"], "proc:cmd.exe"),
    ("src", &["srcip"], "src:10.0.0.0/8"),
    ("dst", &["dstip"], "dst:203.0.113.7"),
    ("ip", &["addr"], "ip:10.1.2.3"),
    ("sport", &[], "sport:53"),
    ("dport", &[], "dport>=1024"),
    ("port", &[], "port:445"),
    ("tech", &["technique", "attack"], "tech:T1059"),
    ("obs", &["observable"], "obs:*.example.com"),
    ("age", &[], "age<2h"),
    ("owner", &[], "owner:me"),
    ("case", &[], "case:12"),
    ("id", &[], "id:123"),
    ("verdict", &[], "verdict:true_positive"),
    ("count", &[], "count>10"),
    ("format", &[], "format:wazuh"),
    ("source", &[], "source:file:*"),
    ("product", &[], "product:Wazuh"),
    ("group", &[], "group:4f1a"),
    ("identity", &[], "identity:09bc"),
];

const MAX_DEPTH: usize = 32;
const MAX_TERMS: usize = 256;

/// Reads a query. `me` is who asks, for `owner:me`.
///
/// # Errors
/// Says where the text stops making sense, and what was expected there.
pub fn parse(text: &str, me: Option<&PersonId>) -> Result<Query, QueryError> {
    let mut p = Parser { chars: text.chars().collect(), at: 0, me, terms: 0 };
    p.space();
    if p.done() {
        return Ok(Query::All);
    }
    let q = p.any_of(0)?;
    if p.done() { Ok(q) } else { Err(p.error(p.at, 1, "there is no `(` that this `)` closes")) }
}

struct Parser<'a> {
    chars: Vec<char>,
    at: usize,
    me: Option<&'a PersonId>,
    terms: usize,
}

/// An operator, and whether it was written `:`.
type Sign = (Cmp, bool);

/// A value with its place and whether it stood in quotes.
struct Value {
    text: String,
    from: usize,
    len: usize,
    quoted: bool,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn done(&self) -> bool {
        self.at >= self.chars.len()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn error(&self, at: usize, len: usize, message: impl Into<String>) -> QueryError {
        QueryError { column: at + 1, len: len.max(1), message: message.into() }
    }

    fn bad(&self, v: &Value, message: impl Into<String>) -> QueryError {
        self.error(v.from, v.len, message)
    }

    /// Takes this keyword if it stands here as a whole word.
    fn keyword(&mut self, word: &str) -> bool {
        let n = word.chars().count();
        let here = self.chars.get(self.at..self.at + n);
        let same = here.is_some_and(|h| h.iter().collect::<String>().eq_ignore_ascii_case(word));
        let ends = self.chars.get(self.at + n).is_none_or(|c| c.is_whitespace() || matches!(c, '(' | ')' | '"'));
        if same && ends {
            self.at += n;
            self.space();
        }
        same && ends
    }

    fn any_of(&mut self, depth: usize) -> Result<Query, QueryError> {
        let mut parts = vec![self.all_of(depth)?];
        while self.keyword("or") {
            parts.push(self.all_of(depth)?);
        }
        Ok(single_or(parts, Query::Or))
    }

    fn all_of(&mut self, depth: usize) -> Result<Query, QueryError> {
        let mut parts = vec![self.one(depth)?];
        loop {
            self.space();
            let before = self.at;
            if self.keyword("or") {
                self.at = before;
                break;
            }
            let _ = self.keyword("and");
            if self.at == before && (self.done() || self.peek() == Some(')')) {
                break;
            }
            parts.push(self.one(depth)?);
        }
        Ok(single_or(parts, Query::And))
    }

    fn one(&mut self, depth: usize) -> Result<Query, QueryError> {
        self.space();
        let start = self.at;
        if depth > MAX_DEPTH {
            return Err(self.error(start, 1, "too deeply nested"));
        }
        let negated = self.keyword("not")
            || (matches!(self.peek(), Some('-' | '!'))
                && self.chars.get(self.at + 1).is_some_and(|c| !c.is_whitespace())
                && {
                    self.at += 1;
                    true
                });
        if negated {
            return Ok(Query::Not(Box::new(self.one(depth + 1)?)));
        }
        match self.peek() {
            None => Err(self.error(start, 1, "something to look for is missing here")),
            Some(')') => Err(self.error(start, 1, "something to look for is missing before `)`")),
            Some('(') => {
                self.at += 1;
                let inner = self.any_of(depth + 1)?;
                self.space();
                if self.peek() != Some(')') {
                    return Err(self.error(start, 1, "this `(` is never closed"));
                }
                self.at += 1;
                Ok(inner)
            }
            Some(_) => self.term(),
        }
    }

    fn term(&mut self) -> Result<Query, QueryError> {
        let start = self.at;
        if self.terms >= MAX_TERMS {
            return Err(self.error(start, 1, format!("more than {MAX_TERMS} terms")));
        }
        if self.peek() == Some('"') {
            self.terms += 1;
            return Ok(Query::Term(Term::Text(self.quoted()?)));
        }
        for word in ["or", "and"] {
            if self.keyword(word) {
                return Err(self.error(
                    start,
                    word.len(),
                    format!("`{word}` needs something before it; quote it to search for the word"),
                ));
            }
        }
        if let Some((name, op)) = self.field()? {
            return self.field_term(&name, start, op);
        }
        self.terms += 1;
        let word = self.run(false);
        if word.is_empty() {
            return Err(self.error(start, 1, "a word, a \"text\" or a field such as `host:` was expected"));
        }
        Ok(if word == "*" { Query::All } else { Query::Term(Term::Text(word)) })
    }

    /// Characters up to a space, bracket, quote (and comma inside lists).
    fn run(&mut self, list: bool) -> String {
        let from = self.at;
        let ends = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"') || (list && c == ',');
        while self.peek().is_some_and(|c| !ends(c)) {
            self.at += 1;
        }
        self.chars[from..self.at].iter().collect()
    }

    fn quoted(&mut self) -> Result<String, QueryError> {
        let open = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            match self.peek() {
                None => return Err(self.error(open, self.at - open, "this quote is never closed")),
                Some('"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some('\\') if matches!(self.chars.get(self.at + 1), Some('"' | '\\')) => {
                    out.extend(self.chars.get(self.at + 1));
                    self.at += 2;
                }
                Some(c) => {
                    out.push(c);
                    self.at += 1;
                }
            }
        }
    }

    /// A field name with its operator, if one stands here. Leaves the place after it.
    fn field(&mut self) -> Result<Option<(String, Sign)>, QueryError> {
        let start = self.at;
        let mut end = start;
        while self.chars.get(end).is_some_and(|c| c.is_ascii_alphabetic() || *c == '_') {
            end += 1;
        }
        let two: String = self.chars[end..(end + 2).min(self.chars.len())].iter().collect();
        let (op, len) = match (two.as_str(), two.chars().next()) {
            (">=", _) => ((Cmp::Ge, false), 2),
            ("<=", _) => ((Cmp::Le, false), 2),
            ("!=", _) => ((Cmp::Ne, false), 2),
            (_, Some('>')) => ((Cmp::Gt, false), 1),
            (_, Some('<')) => ((Cmp::Lt, false), 1),
            (_, Some(':')) => ((Cmp::Eq, true), 1),
            (_, Some('=')) => ((Cmp::Eq, false), 1),
            _ => return Ok(None),
        };
        if end == start {
            return Err(self.error(start, len, "a field name was expected before this"));
        }
        let name: String = self.chars[start..end].iter().collect::<String>().to_ascii_lowercase();
        let Some(known) = FIELDS.iter().find(|(n, others, _)| *n == name || others.contains(&name.as_str())) else {
            return Err(self.error(start, end - start, unknown_field(&name)));
        };
        self.at = end + len;
        Ok(Some((known.0.to_owned(), op)))
    }

    fn value(&mut self) -> Result<Value, QueryError> {
        let from = self.at;
        let quoted = self.peek() == Some('"');
        let text = if quoted { self.quoted()? } else { self.run(true) };
        Ok(Value { text, from, len: self.at - from, quoted })
    }

    fn field_term(&mut self, name: &str, start: usize, (cmp, colon): Sign) -> Result<Query, QueryError> {
        let name_len = self.at - start;
        let ordered = matches!(name, "sev" | "pri" | "age" | "count" | "sport" | "dport" | "port");
        let ranged = !matches!(cmp, Cmp::Eq | Cmp::Ne);
        let example = FIELDS.iter().find(|f| f.0 == name).map_or("", |f| f.2);
        if ranged && !ordered {
            return Err(self.error(
                start,
                name_len,
                format!("`{name}` has no order; write `{name}:`, as in `{example}`"),
            ));
        }
        if name == "age" && colon {
            return Err(self.error(start, name_len, "`age` wants a comparison, as in `age<2h` or `age>1d`"));
        }
        let mut parts = Vec::new();
        loop {
            let v = self.value()?;
            if v.text.is_empty() && !v.quoted {
                return Err(self.error(v.from, 1, format!("a value was expected, as in `{example}`")));
            }
            self.terms += 1;
            if self.terms > MAX_TERMS {
                return Err(self.error(v.from, v.len, format!("more than {MAX_TERMS} terms")));
            }
            parts.push(self.one_value(name, if cmp == Cmp::Ne { Cmp::Eq } else { cmp }, &v)?);
            if self.peek() != Some(',') {
                break;
            }
            if ranged {
                return Err(self.error(self.at, 1, "a comparison takes one value, not a list"));
            }
            self.at += 1;
        }
        if cmp == Cmp::Ne && ordered && parts.len() == 1 {
            return Ok(parts.pop().map_or(Query::All, not_equal));
        }
        let q = single_or(parts, Query::Or);
        Ok(if cmp == Cmp::Ne { Query::Not(Box::new(q)) } else { q })
    }

    fn one_value(&self, name: &str, cmp: Cmp, v: &Value) -> Result<Query, QueryError> {
        let text = v.text.as_str();
        let bare = (!v.quoted).then(|| text.to_ascii_lowercase());
        let special = bare.as_deref().unwrap_or("");
        let field = match name {
            "title" => Some(TextField::Title),
            "rule" => Some(TextField::Rule),
            "host" => Some(TextField::Host),
            "user" => Some(TextField::User),
            "proc" => Some(TextField::Process),
            "format" => Some(TextField::Format),
            "source" => Some(TextField::Source),
            "product" => Some(TextField::Product),
            "obs" => Some(TextField::Observable),
            "group" => Some(TextField::Group),
            "identity" => Some(TextField::Identity),
            _ => None,
        };
        if let Some(field) = field {
            return Ok(Query::Term(Term::Match(field, text.to_owned())));
        }
        let term = match name {
            "sev" => Term::Severity(cmp, self.named(v, Severity::parse, || words(Severity::ALL.map(Severity::word)))?),
            "pri" => Term::Priority(cmp, self.named(v, Priority::parse, || words(Priority::ALL.map(Priority::word)))?),
            "status" if special == "open" => return Ok(open()),
            "status" => Term::Status(
                self.named(v, Status::parse, || format!("{} or open", words(Status::ALL.map(Status::word))))?,
            ),
            "disp" => Term::Disposition(self.named(v, Disposition::parse, || {
                words(Disposition::ALL.map(Disposition::short)).to_ascii_lowercase()
            })?),
            "src" => Term::Net(NetField::Src, self.net(v)?),
            "dst" => Term::Net(NetField::Dst, self.net(v)?),
            "ip" => Term::Net(NetField::Any, self.net(v)?),
            "sport" => Term::Port(NetField::Src, cmp, self.number(v, "a port from 0 to 65535")?),
            "dport" => Term::Port(NetField::Dst, cmp, self.number(v, "a port from 0 to 65535")?),
            "port" => Term::Port(NetField::Any, cmp, self.number(v, "a port from 0 to 65535")?),
            "tech" => Term::Technique(self.technique(v)?),
            "age" => Term::Age(cmp, self.seconds(v)?),
            "owner" if special == "none" => Term::Owner(None),
            "owner" if special == "me" => match self.me {
                Some(me) => Term::Owner(Some(me.as_str().to_owned())),
                None => return Err(self.bad(v, "`me` is nobody here: nobody is named as the person who asks")),
            },
            "owner" => Term::Owner(Some(text.to_owned())),
            "case" if special == "any" => Term::InCase(true),
            "case" if special == "none" => Term::InCase(false),
            "case" => Term::Case(CaseId(self.id(v, "a case number, `any` or `none`")?)),
            "id" => Term::Id(AlertId(self.id(v, "an alert's number")?)),
            "verdict" if special == "none" => {
                return Ok(Query::Not(Box::new(Query::Term(Term::Verdict("any".into())))));
            }
            "verdict" => Term::Verdict(self.verdict(v)?),
            _ => Term::Count(cmp, self.number(v, "a number")?),
        };
        Ok(Query::Term(term))
    }

    fn named<T>(&self, v: &Value, read: fn(&str) -> Option<T>, all: impl Fn() -> String) -> Result<T, QueryError> {
        read(&v.text).ok_or_else(|| self.bad(v, format!("expected one of {}", all())))
    }

    fn number<T: std::str::FromStr>(&self, v: &Value, what: &str) -> Result<T, QueryError> {
        v.text.parse().map_err(|_| self.bad(v, format!("expected {what}")))
    }

    fn id(&self, v: &Value, what: &str) -> Result<i64, QueryError> {
        v.text.trim_start_matches('#').parse().map_err(|_| self.bad(v, format!("expected {what}")))
    }

    fn net(&self, v: &Value) -> Result<ipnet::IpNet, QueryError> {
        let net = v.text.parse::<ipnet::IpNet>().map(|n| n.trunc());
        net.or_else(|_| v.text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from))
            .map_err(|_| self.bad(v, "expected an address or a network, such as 10.0.0.0/8 or 2001:db8::1"))
    }

    fn technique(&self, v: &Value) -> Result<String, QueryError> {
        let id = v.text.to_ascii_uppercase();
        let (main, sub) = id.split_once('.').map_or((id.as_str(), None), |(m, s)| (m, Some(s)));
        let digits = |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_digit());
        let good = main.strip_prefix('T').is_some_and(|d| digits(d, 4)) && sub.is_none_or(|s| digits(s, 3));
        if good { Ok(id) } else { Err(self.bad(v, "expected an ATT&CK id such as T1059 or T1059.001")) }
    }

    fn verdict(&self, v: &Value) -> Result<String, QueryError> {
        let word = v.text.to_ascii_lowercase().replace(['-', ' '], "_");
        let short = match word.as_str() {
            "any" => return Ok("any".into()),
            "tp" => "true_positive",
            "btp" => "benign_true_positive",
            "fp" => "false_positive",
            "ni" => "needs_investigation",
            other => other,
        };
        VerdictKind::parse(short).map(|k| k.word().to_owned()).ok_or_else(|| {
            self.bad(v, format!("expected one of {}, any or none", words(VerdictKind::ALL.map(VerdictKind::word))))
        })
    }

    /// `90s`, `2h`, `1h30m`, `3d`, `1w`.
    fn seconds(&self, v: &Value) -> Result<i64, QueryError> {
        let fault = || self.bad(v, "expected a duration such as 90s, 30m, 2h, 1d or 1w");
        let (mut total, mut number, mut any) = (0i64, None::<i64>, false);
        for c in v.text.chars() {
            if let Some(d) = c.to_digit(10) {
                let n = number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(i64::from(d)));
                number = Some(n.ok_or_else(fault)?);
                continue;
            }
            let unit = match c.to_ascii_lowercase() {
                's' => 1,
                'm' => 60,
                'h' => 3_600,
                'd' => 86_400,
                'w' => 604_800,
                _ => return Err(fault()),
            };
            let part = number.take().and_then(|n| n.checked_mul(unit)).ok_or_else(fault)?;
            total = total.checked_add(part).ok_or_else(fault)?;
            any = true;
        }
        if any && number.is_none() && total < 100 * 366 * 86_400 { Ok(total) } else { Err(fault()) }
    }
}

fn single_or(mut parts: Vec<Query>, make: fn(Vec<Query>) -> Query) -> Query {
    match (parts.len(), parts.pop()) {
        (1, Some(one)) => one,
        (_, Some(last)) => {
            parts.push(last);
            make(parts)
        }
        (_, None) => Query::All,
    }
}

fn not_equal(q: Query) -> Query {
    match q {
        Query::Term(Term::Severity(_, s)) => Query::Term(Term::Severity(Cmp::Ne, s)),
        Query::Term(Term::Priority(_, p)) => Query::Term(Term::Priority(Cmp::Ne, p)),
        Query::Term(Term::Port(side, _, p)) => Query::Term(Term::Port(side, Cmp::Ne, p)),
        Query::Term(Term::Age(_, s)) => Query::Term(Term::Age(Cmp::Ne, s)),
        Query::Term(Term::Count(_, n)) => Query::Term(Term::Count(Cmp::Ne, n)),
        other => Query::Not(Box::new(other)),
    }
}

/// `status:open`: neither closed nor suppressed.
fn open() -> Query {
    let not = |s| Query::Not(Box::new(Query::Term(Term::Status(s))));
    Query::And(vec![not(Status::Closed), not(Status::Suppressed)])
}

fn words<const N: usize>(list: [&str; N]) -> String {
    list.join(", ")
}

fn unknown_field(name: &str) -> String {
    let names = FIELDS.iter().flat_map(|(n, others, _)| std::iter::once(n).chain(others.iter()));
    let near = names
        .map(|n| (strsim::damerau_levenshtein(name, n), *n))
        .filter(|(d, n)| *d <= 2.max(n.len() / 3) && *d < name.len().max(2))
        .min();
    let hint = near.map_or_else(String::new, |(_, n)| format!("; did you mean `{n}:`?"));
    format!("there is no field `{name}`{hint} (quote it to search for the text)")
}
