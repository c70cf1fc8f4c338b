//! The query language of `/`: its syntax tree, its sort keys, and pages.
//!
//! ```text
//! free words   sev>=high host:web-* user:bob status:new rule:9701 tech:T1059 age<2h not src:10.0.0.0/8
//! ```

mod glob;
mod matches;
mod parse;
mod show;
#[cfg(test)]
pub(crate) mod tests;

pub use glob::{Glob, contains_fold, fold};
pub use matches::{MatchInput, ip_bits, net_range};
pub(crate) use matches::{severity_holds, technique_is};
pub use parse::{FIELDS, parse};

use serde::{Deserialize, Serialize};

use super::alert::{Disposition, Status};
use super::ids::{AlertId, CaseId};
use super::priority::Priority;
use super::severity::Severity;

#[derive(Clone, Debug, PartialEq, Default)]
pub enum Query {
    #[default]
    All,
    And(Vec<Query>),
    Or(Vec<Query>),
    Not(Box<Query>),
    Term(Term),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// A substring of title, entities or raw bytes; case is folded for ASCII.
    Text(String),
    /// An unknown severity is neither high nor low: it answers to `sev:unknown` and to `sev!=...` alone.
    Severity(Cmp, Severity),
    Priority(Cmp, Priority),
    Status(Status),
    Disposition(Disposition),
    /// A pattern over one field; `*` matches any run of characters, case is folded for ASCII. It speaks of the whole
    /// value, except that a title pattern without `*` may stand anywhere in the title, a process pattern may also
    /// match the last part of its path, and identity and group patterns may be a prefix of the hex key.
    Match(TextField, String),
    /// Source or destination address in a network.
    Net(NetField, ipnet::IpNet),
    Port(NetField, Cmp, u16),
    /// ATT&CK id; `T1059` also matches its sub-techniques.
    Technique(String),
    /// Seconds since ingest.
    Age(Cmp, i64),
    /// Who has it; `None` is nobody. The parser puts the asking person in place of `me`.
    Owner(Option<String>),
    Case(CaseId),
    InCase(bool),
    Id(AlertId),
    /// Has a verdict of this word, or of any when the word is `any`.
    Verdict(String),
    Count(Cmp, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cmp {
    Lt,
    Le,
    Eq,
    Ne,
    Ge,
    Gt,
}

impl Cmp {
    pub fn sign(self) -> &'static str {
        match self {
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Ge => ">=",
            Self::Gt => ">",
        }
    }

    pub fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
        match self {
            Self::Lt => left < right,
            Self::Le => left <= right,
            Self::Eq => left == right,
            Self::Ne => left != right,
            Self::Ge => left >= right,
            Self::Gt => left > right,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextField {
    Title,
    Rule,
    Host,
    User,
    Process,
    Format,
    Source,
    Product,
    Observable,
    Group,
    Identity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetField {
    Src,
    Dst,
    /// Either side.
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SortKey {
    /// See [`super::risk`]: riskiest first.
    #[default]
    Risk,
    /// Newest ingest first.
    Newest,
    /// Oldest ingest first.
    Oldest,
    /// Most severe first, then newest.
    Severity,
}

impl SortKey {
    pub const ALL: [Self; 4] = [Self::Risk, Self::Newest, Self::Oldest, Self::Severity];

    pub fn word(self) -> &'static str {
        match self {
            Self::Risk => "risk",
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Severity => "severity",
        }
    }

    pub fn parse(s: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.word().eq_ignore_ascii_case(s))
    }
}

/// Which page of a sorted list: pages are cut by key, never by offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Page {
    #[default]
    First,
    Last,
    /// The rows after this alert in the sort order (which itself need not match the query).
    After(AlertId),
    /// The rows just before it, still in sort order.
    Before(AlertId),
    /// Rows around it, itself included when it matches.
    Around(AlertId),
}

/// How many rows match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub n: u64,
    /// False: counting stopped at the cap, there are more.
    pub exact: bool,
}

/// What is wrong with a query, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct QueryError {
    /// From 1, in characters.
    pub column: usize,
    /// Characters the fault covers, at least 1.
    pub len: usize,
    pub message: String,
}
