//! A query as SQL over `alert a`, and how to get at its rows.
//!
//! There are two ways: *drive*, when some part of the query has few alerts (found by asking an index for at most
//! [`FEW`] of them), and *walk* the index of the sort order and keep what matches. SQLite is told which, for without
//! statistics it cannot know, and with old ones it guesses wrong.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::search::Bits;
use super::{SqliteStore, err, ingest, search, sql, us};
use crate::model::alert::Status;
use crate::model::query::{Cmp, Glob, NetField, Query, Term, TextField, net_range};
use crate::model::severity::Severity;
use crate::model::verdict::VerdictKind;
use crate::store::Result;

/// So few alerts are looked at one by one.
const FEW: usize = 10_000;
/// Looking ahead in the table gives up at so many: then the index of the sort order meets matches soon enough.
const MANY: usize = 2_000;
/// Shorter literals are in nearly every alert, so looking for them first saves nothing.
const MIN_LITERAL: usize = 3;

pub(super) struct Plan {
    /// A condition that is 0 or 1, never NULL.
    pub expr: String,
    pub params: Vec<Value>,
    /// No closed or suppressed alert can match.
    pub open: bool,
    /// All matches are among these ids (a JSON list).
    pub drive: Option<String>,
    /// The whole query is one text: these are its matches.
    pub exact: Option<u64>,
    /// Every column it asks for stands in the indexes of the sort orders.
    pub covered: bool,
}

impl Plan {
    /// Before walking the index of a sort order, which leads all over the table: reads the table from front to back,
    /// as far as it takes to know whether few alerts match.
    pub(super) fn look_ahead(&mut self, conn: &Connection) -> Result<()> {
        if self.drive.is_some() || self.covered {
            return Ok(());
        }
        let open = if self.open { "a.status < 3 AND " } else { "" };
        let sql = format!("SELECT a.id FROM alert a NOT INDEXED WHERE {open}({}) LIMIT {}", self.expr, MANY + 1);
        let mut stmt = conn.prepare_cached(&sql).map_err(err)?;
        let ids: Vec<i64> =
            stmt.query_map(params_from_iter(&self.params), |r| r.get(0)).and_then(Iterator::collect).map_err(err)?;
        if ids.len() <= MANY {
            self.drive = Some(id_list(&ids));
        }
        Ok(())
    }
}

fn id_list(ids: &[i64]) -> String {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    format!("[{}]", ids.join(","))
}

/// Whether status, priority, severity, id and remembered text answer it.
fn covered(query: &Query) -> bool {
    match query {
        Query::All => true,
        Query::And(parts) | Query::Or(parts) => parts.iter().all(covered),
        Query::Not(inner) => covered(inner),
        Query::Term(t) => {
            matches!(t, Term::Status(_) | Term::Priority(..) | Term::Severity(..) | Term::Id(_) | Term::Text(_))
        }
    }
}

struct Compiler<'a> {
    store: &'a SqliteStore,
    conn: &'a Connection,
    now: Timestamp,
    params: Vec<Value>,
    few: Option<Vec<i64>>,
    /// Sets that hold every match, to be asked before the row itself is read.
    within: Vec<String>,
}

pub(super) fn plan(store: &SqliteStore, conn: &Connection, query: &Query, now: Timestamp) -> Result<Plan> {
    let mut c = Compiler { store, conn, now, params: Vec::new(), few: None, within: Vec::new() };
    let mask = statuses(query);
    let open = mask & !OPEN == 0;
    let mut parts = Vec::new();
    flatten(query, &mut parts);
    let mut exprs = Vec::with_capacity(parts.len());
    for part in &parts {
        exprs.push(c.query(part, open, true)?);
    }
    if mask & !PROBED == 0 {
        let list: Vec<String> =
            Status::ALL.iter().filter(|s| mask & bit(**s) != 0).map(|s| s.id().to_string()).collect();
        let cond = format!("a.status IN (1, 2, 4) AND a.status IN ({})", list.join(","));
        c.probe("alert_status", &cond, vec![])?;
    }
    let exact = match parts.as_slice() {
        [Query::Term(Term::Text(text))] => Some(search::matches(store, conn, text)?.ones()),
        _ => None,
    };
    exprs.splice(0..0, std::mem::take(&mut c.within));
    let expr = if exprs.is_empty() { "1".to_owned() } else { exprs.join(" AND ") };
    let drive = c.few.as_deref().map(id_list);
    Ok(Plan { expr, params: c.params, open, drive, exact, covered: covered(query) })
}

/// The parts of the outermost conjunction.
fn flatten<'q>(query: &'q Query, out: &mut Vec<&'q Query>) {
    match query {
        Query::All => {}
        Query::And(parts) => parts.iter().for_each(|p| flatten(p, out)),
        other => out.push(other),
    }
}

const EVERY: u8 = 0b1_1111;
const OPEN: u8 = 0b0_0111;
/// The states `alert_status` knows.
const PROBED: u8 = 0b1_0110;

fn bit(s: Status) -> u8 {
    1 << s as u8
}

/// The states a match can be in, at most.
fn statuses(query: &Query) -> u8 {
    match query {
        Query::Term(Term::Status(s)) => bit(*s),
        Query::And(parts) => parts.iter().fold(EVERY, |m, p| m & statuses(p)),
        Query::Or(parts) if !parts.is_empty() => parts.iter().fold(0, |m, p| m | statuses(p)),
        Query::Not(inner) if of_status_alone(inner) => EVERY & !statuses(inner),
        _ => EVERY,
    }
}

fn of_status_alone(query: &Query) -> bool {
    match query {
        Query::Term(t) => matches!(t, Term::Status(_)),
        Query::And(parts) | Query::Or(parts) => !parts.is_empty() && parts.iter().all(of_status_alone),
        Query::Not(inner) => of_status_alone(inner),
        Query::All => false,
    }
}

impl Compiler<'_> {
    fn param(&mut self, value: impl Into<Value>) -> String {
        self.params.push(value.into());
        format!("?{}", self.params.len())
    }

    fn query(&mut self, query: &Query, open: bool, top: bool) -> Result<String> {
        Ok(match query {
            Query::All => "1".into(),
            Query::And(parts) => self.join(parts, " AND ", "1")?,
            Query::Or(parts) => self.join(parts, " OR ", "0")?,
            Query::Not(inner) => format!("NOT {}", self.query(inner, false, false)?),
            Query::Term(term) => {
                if top {
                    self.probe_term(term, open)?;
                }
                self.term(term)?
            }
        })
    }

    fn join(&mut self, parts: &[Query], between: &str, empty: &str) -> Result<String> {
        let exprs = parts.iter().map(|p| self.query(p, false, false)).collect::<Result<Vec<_>>>()?;
        Ok(if exprs.is_empty() { empty.into() } else { format!("({})", exprs.join(between)) })
    }

    fn term(&mut self, term: &Term) -> Result<String> {
        Ok(match term {
            Term::Text(text) => {
                let bits = search::matches(self.store, self.conn, text)?;
                self.in_bits(&bits)
            }
            Term::Severity(cmp, s) if matches!(cmp, Cmp::Eq | Cmp::Ne) => compare("a.severity", *cmp, s.id()),
            Term::Severity(Cmp::Le | Cmp::Ge, Severity::Unknown) => "a.severity = 0".into(),
            Term::Severity(_, Severity::Unknown) => "0".into(),
            Term::Severity(cmp, s) => format!("(a.severity <> 0 AND {})", compare("a.severity", *cmp, s.id())),
            Term::Priority(cmp, p) => compare("a.priority", *cmp, p.id()),
            Term::Status(s) => format!("a.status = {}", s.id()),
            Term::Disposition(d) => format!("a.disposition IS {}", d.id()),
            Term::Match(field, pattern) => self.pattern(*field, pattern)?,
            Term::Net(side, net) => {
                let (lo, hi) = net_range(net);
                let (lo, hi) = (self.param(lo.to_vec()), self.param(hi.to_vec()));
                on_sides(*side, "a.src", "a.dst", |c| format!("({c} IS NOT NULL AND {c} BETWEEN {lo} AND {hi})"))
            }
            Term::Port(side, cmp, port) => on_sides(*side, "a.sport", "a.dport", |c| {
                format!("({c} IS NOT NULL AND {})", compare(c, *cmp, i64::from(*port)))
            }),
            Term::Technique(id) => {
                let p = self.param(id.clone());
                format!("wf_tech({p}, a.techniques)")
            }
            Term::Age(cmp, seconds) => self.age(*cmp, *seconds),
            Term::Owner(None) => "a.owner IS NULL".into(),
            Term::Owner(Some(who)) => {
                let p = self.param(who.clone());
                format!("a.owner IS {p}")
            }
            Term::Case(id) => format!("a.case_id IS {}", id.0),
            Term::InCase(true) => "a.case_id IS NOT NULL".into(),
            Term::InCase(false) => "a.case_id IS NULL".into(),
            Term::Id(id) => format!("a.id = {}", id.0),
            Term::Verdict(word) => match verdict_number(word) {
                _ if word == "any" => "a.verdict_kind IS NOT NULL".into(),
                Some(n) => format!("a.verdict_kind IS {n}"),
                None => "0".into(),
            },
            Term::Count(cmp, n) => compare("a.count", *cmp, i64::from(*n)),
        })
    }

    fn in_bits(&mut self, bits: &Bits) -> String {
        let p = self.param(bits.bytes().to_vec());
        format!("wf_bit({p}, a.id)")
    }

    /// `now - t_ingest` against seconds, turned so that an index on `t_ingest` could serve.
    fn age(&mut self, cmp: Cmp, seconds: i64) -> String {
        let at = us(self.now).saturating_sub(seconds.saturating_mul(1_000_000));
        let turned = match cmp {
            Cmp::Lt => Cmp::Gt,
            Cmp::Le => Cmp::Ge,
            Cmp::Ge => Cmp::Le,
            Cmp::Gt => Cmp::Lt,
            same => same,
        };
        compare("a.t_ingest", turned, at)
    }

    fn pattern(&mut self, field: TextField, pattern: &str) -> Result<String> {
        let n = sql::field_number(field);
        let (column, function) = match field {
            TextField::Format => return self.words("a.format", field, pattern),
            TextField::Source => return self.words("a.source", field, pattern),
            TextField::Product => return self.words("a.product", field, pattern),
            TextField::Title => ("a.title", "wf_match"),
            TextField::Host => ("a.host", "wf_match"),
            TextField::User => ("a.user", "wf_match"),
            TextField::Process => ("a.process", "wf_match"),
            TextField::Group => ("a.grp", "wf_hex"),
            TextField::Identity => ("a.identity", "wf_hex"),
            TextField::Rule => {
                let p = self.param(pattern.to_owned());
                return Ok(format!("(wf_match({n}, {p}, a.rule_id) OR wf_match({n}, {p}, a.rule_name))"));
            }
            TextField::Observable => {
                let p = self.param(pattern.to_owned());
                return Ok(format!("wf_obs({p}, (SELECT observables FROM record WHERE id = a.id))"));
            }
        };
        let p = self.param(pattern.to_owned());
        Ok(format!("{function}({n}, {p}, {column})"))
    }

    /// Formats, sources and products are few words: the pattern is held against those, not against alerts.
    fn words(&self, column: &str, field: TextField, pattern: &str) -> Result<String> {
        let glob = Glob::new(pattern);
        let mut stmt = self.conn.prepare_cached("SELECT id, text FROM word").map_err(err)?;
        let mut rows = stmt.query([]).map_err(err)?;
        let mut ids = Vec::new();
        while let Some(row) = rows.next().map_err(err)? {
            let text: String = row.get(1).map_err(err)?;
            if field.value_matches(&glob, &text) {
                ids.push(row.get::<_, i64>(0).map_err(err)?.to_string());
            }
        }
        Ok(format!("({column} IS NOT NULL AND {column} IN ({}))", ids.join(",")))
    }

    /// Looks whether few alerts can match this part of the conjunction.
    fn probe_term(&mut self, term: &Term, open: bool) -> Result<()> {
        match term {
            Term::Id(id) => self.candidates(vec![id.0]),
            Term::Text(text) => {
                let bits = search::matches(self.store, self.conn, text)?;
                self.bits_as_candidates(&bits);
            }
            Term::Match(field, pattern) => self.probe_pattern(*field, pattern)?,
            Term::Technique(id) => self.probe_literal(&id.to_ascii_lowercase())?,
            Term::Owner(Some(who)) => self.probe("alert_owner", "a.owner = ?1", vec![who.clone().into()])?,
            Term::Case(id) => self.probe("alert_case", "a.case_id = ?1", vec![id.0.into()])?,
            Term::InCase(true) => self.probe("alert_case", "a.case_id IS NOT NULL", vec![])?,
            Term::Disposition(d) => self.probe("alert_disposition", "a.disposition = ?1", vec![d.id().into()])?,
            Term::Verdict(w) => match verdict_number(w) {
                Some(n) => self.probe("alert_verdict", "a.verdict_kind = ?1", vec![n.into()])?,
                None => self.probe("alert_verdict", "a.verdict_kind IS NOT NULL", vec![])?,
            },
            Term::Net(side @ (NetField::Src | NetField::Dst), net) => {
                let (lo, hi) = net_range(net);
                let (column, index) = if *side == NetField::Src { ("src", "alert_src") } else { ("dst", "alert_dst") };
                let cond = format!("a.{column} BETWEEN ?1 AND ?2");
                self.probe(index, &cond, vec![lo.to_vec().into(), hi.to_vec().into()])?;
            }
            Term::Age(cmp, seconds) if !matches!(cmp, Cmp::Ne) => {
                let cond = self.age(*cmp, *seconds);
                self.probe("alert_t_ingest", &cond, vec![])?;
            }
            Term::Severity(cmp @ (Cmp::Ge | Cmp::Gt | Cmp::Eq), s) if *cmp == Cmp::Eq || *s != Severity::Unknown => {
                let cond = compare("a.sev_order", *cmp, ingest::severity_order(*s));
                self.probe("alert_sev", &cond, vec![])?;
            }
            Term::Priority(cmp, p) if open && *cmp != Cmp::Ne => {
                let cond = format!("a.status < 3 AND {}", compare("a.priority", *cmp, p.id()));
                self.probe("alert_open_priority", &cond, vec![])?;
            }
            _ => {}
        }
        Ok(())
    }

    fn probe_pattern(&mut self, field: TextField, pattern: &str) -> Result<()> {
        let glob = Glob::new(pattern);
        let exact = glob.literal().is_some();
        match field {
            TextField::Host if exact => {
                self.probe("alert_host", "a.host = ?1 COLLATE NOCASE", vec![pattern.to_owned().into()])
            }
            TextField::User if exact => {
                self.probe("alert_user", "a.user = ?1 COLLATE NOCASE", vec![pattern.to_owned().into()])
            }
            TextField::Format | TextField::Source | TextField::Product => Ok(()),
            TextField::Group | TextField::Identity => {
                let index = if field == TextField::Group { "alert_grp" } else { "alert_identity" };
                let column = if field == TextField::Group { "grp" } else { "identity" };
                // Whole bytes of what every match begins with.
                let head = glob.prefix();
                let Ok(lo) = hex::decode(&head[..head.len() & !1]) else { return Ok(()) };
                let mut hi = lo.clone();
                hi.extend([0xff; 17]);
                self.probe(index, &format!("a.{column} BETWEEN ?1 AND ?2"), vec![lo.into(), hi.into()])
            }
            _ => self.probe_literal(&String::from_utf8_lossy(glob.longest())),
        }
    }

    /// Values of these fields are searched text, so a match holds the pattern's longest literal there.
    fn probe_literal(&mut self, literal: &str) -> Result<()> {
        if literal.len() >= MIN_LITERAL {
            let bits = search::matches(self.store, self.conn, literal)?;
            self.bits_as_candidates(&bits);
            let within = self.in_bits(&bits);
            self.within.push(within);
        }
        Ok(())
    }

    fn bits_as_candidates(&mut self, bits: &Bits) {
        if bits.ones() <= FEW as u64 {
            self.candidates(bits.ids());
        }
    }

    fn probe(&mut self, index: &str, cond: &str, params: Vec<Value>) -> Result<()> {
        let sql = format!("SELECT a.id FROM alert a INDEXED BY {index} WHERE {cond} LIMIT {}", FEW + 1);
        let mut stmt = self.conn.prepare_cached(&sql).map_err(err)?;
        let ids: Vec<i64> =
            stmt.query_map(params_from_iter(params), |r| r.get(0)).and_then(Iterator::collect).map_err(err)?;
        if ids.len() <= FEW {
            self.candidates(ids);
        }
        Ok(())
    }

    fn candidates(&mut self, ids: Vec<i64>) {
        if self.few.as_ref().is_none_or(|few| ids.len() < few.len()) {
            self.few = Some(ids);
        }
    }
}

fn compare(column: &str, cmp: Cmp, value: i64) -> String {
    let sign = if cmp == Cmp::Ne { "<>" } else { cmp.sign() };
    format!("{column} {sign} {value}")
}

fn on_sides(side: NetField, src: &str, dst: &str, one: impl Fn(&str) -> String) -> String {
    match side {
        NetField::Src => one(src),
        NetField::Dst => one(dst),
        NetField::Any => format!("({} OR {})", one(src), one(dst)),
    }
}

/// How a verdict's kind is stored.
pub(super) fn verdict_number(word: &str) -> Option<i64> {
    VerdictKind::ALL.iter().position(|k| k.word() == word).map(|i| i as i64)
}
