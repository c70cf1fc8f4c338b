//! Queries as text that reads back as the same query.

use std::fmt::{Display, Formatter, Result, Write as _};

use super::{Cmp, NetField, Query, Term, TextField};

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::All => Ok(()),
            Self::And(parts) | Self::Or(parts) if parts.is_empty() => f.write_str("*"),
            Self::And(parts) => join(f, parts, " "),
            Self::Or(parts) => join(f, parts, " or "),
            Self::Not(inner) => {
                f.write_str("not ")?;
                nested(f, inner)
            }
            Self::Term(term) => term.fmt(f),
        }
    }
}

fn join(f: &mut Formatter<'_>, parts: &[Query], between: &str) -> Result {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            f.write_str(between)?;
        }
        nested(f, part)?;
    }
    Ok(())
}

fn nested(f: &mut Formatter<'_>, q: &Query) -> Result {
    match q {
        Query::All => f.write_str("*"),
        Query::And(_) | Query::Or(_) => write!(f, "({q})"),
        Query::Not(_) | Query::Term(_) => q.fmt(f),
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Text(text) => word(f, text, true),
            Self::Severity(cmp, s) => write!(f, "sev{}{}", sign(*cmp), s.word()),
            Self::Priority(cmp, p) => write!(f, "pri{}{}", sign(*cmp), p.word()),
            Self::Status(s) => write!(f, "status:{}", s.word()),
            Self::Disposition(d) => write!(f, "disp:{}", d.short().to_ascii_lowercase()),
            Self::Match(field, pattern) => {
                write!(f, "{}:", field.word())?;
                word(f, pattern, false)
            }
            Self::Net(side, net) => {
                let name = match side {
                    NetField::Src => "src",
                    NetField::Dst => "dst",
                    NetField::Any => "ip",
                };
                if net.prefix_len() == net.max_prefix_len() {
                    write!(f, "{name}:{}", net.addr())
                } else {
                    write!(f, "{name}:{net}")
                }
            }
            Self::Port(side, cmp, port) => {
                let name = match side {
                    NetField::Src => "sport",
                    NetField::Dst => "dport",
                    NetField::Any => "port",
                };
                write!(f, "{name}{}{port}", sign(*cmp))
            }
            Self::Technique(id) => {
                f.write_str("tech:")?;
                word(f, id, false)
            }
            Self::Age(cmp, seconds) => write!(f, "age{}{}", cmp.sign(), duration(*seconds)),
            Self::Owner(None) => f.write_str("owner:none"),
            Self::Owner(Some(who)) => {
                f.write_str("owner:")?;
                word(f, who, false)
            }
            Self::Case(id) => write!(f, "case:{id}"),
            Self::InCase(true) => f.write_str("case:any"),
            Self::InCase(false) => f.write_str("case:none"),
            Self::Id(id) => write!(f, "id:{id}"),
            Self::Verdict(w) => {
                f.write_str("verdict:")?;
                word(f, w, false)
            }
            Self::Count(cmp, n) => write!(f, "count{}{n}", sign(*cmp)),
        }
    }
}

fn sign(cmp: Cmp) -> &'static str {
    if cmp == Cmp::Eq { ":" } else { cmp.sign() }
}

impl TextField {
    /// The field's name in a query.
    pub fn word(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Rule => "rule",
            Self::Host => "host",
            Self::User => "user",
            Self::Process => "proc",
            Self::Format => "format",
            Self::Source => "source",
            Self::Product => "product",
            Self::Observable => "obs",
            Self::Group => "group",
            Self::Identity => "identity",
        }
    }
}

/// The largest unit that divides it.
fn duration(seconds: i64) -> String {
    for (unit, size) in [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds != 0 && seconds % size == 0 {
            return format!("{}{unit}", seconds / size);
        }
    }
    format!("{seconds}s")
}

/// Bare when it reads back as itself, else in quotes. `free`: stands alone, where words such as `or` mean something.
fn word(f: &mut Formatter<'_>, text: &str, free: bool) -> Result {
    let plain = |c: char| c.is_alphanumeric() || "._-/\\@".contains(c) || (!free && c == '*');
    let keyword = ["and", "or", "not", "none", "any", "me"].iter().any(|k| text.eq_ignore_ascii_case(k));
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with('-') && !keyword {
        return f.write_str(text);
    }
    f.write_char('"')?;
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    f.write_char('"')
}
