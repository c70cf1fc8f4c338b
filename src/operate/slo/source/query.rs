//! What a query is: counters as they are scraped, or something a server has to compute.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use regex::Regex;

/// The place for a range in Sloth's queries.
pub const WINDOW: &str = "{{.window}}";

/// How a query is asked and read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Series as scraped. `sum(...)`, `sum(rate(...[{{.window}}]))` and the like are taken apart into it, so that resets
    /// are seen in each series by itself.
    Selector(String),
    /// Made of a range: asked for the range of one step. `per_second`: it is a rate.
    Templated { query: String, per_second: bool },
    /// Already a rate or an amount over a range of its own.
    Rate(String),
    /// Any other expression, read as it is.
    Other(String),
}

fn regex(cell: &'static OnceLock<Option<Regex>>, text: &str) -> Option<&'static Regex> {
    cell.get_or_init(|| Regex::new(text).ok()).as_ref()
}

const SELECTOR: &str = r"[a-zA-Z_:][a-zA-Z0-9_:]*\s*(?:\{[^{}]*\})?";

fn selector_of(query: &str) -> Option<&str> {
    static PLAIN: OnceLock<Option<Regex>> = OnceLock::new();
    static SUM: OnceLock<Option<Regex>> = OnceLock::new();
    static RATE: OnceLock<Option<Regex>> = OnceLock::new();
    let plain = regex(&PLAIN, &format!(r"^\s*({SELECTOR})\s*$"))?;
    let sum = regex(&SUM, &format!(r"^\s*sum\s*\(\s*({SELECTOR})\s*\)\s*$"))?;
    let rate = regex(
        &RATE,
        &format!(
            r"^\s*(?:sum\s*\(\s*)?(?:rate|increase)\s*\(\s*({SELECTOR})\s*\[\s*\{{\{{\.window\}}\}}\s*\]\s*\)\s*\)?\s*$"
        ),
    )?;
    [plain, sum, rate].into_iter().find_map(|r| r.captures(query)).and_then(|c| c.get(1)).map(|m| m.as_str().trim())
}

/// The shape of one side of a ratio of counters.
pub fn counter(query: &str) -> Shape {
    if let Some(selector) = selector_of(query) {
        return Shape::Selector(selector.to_owned());
    }
    if query.contains(WINDOW) {
        return Shape::Templated { query: query.to_owned(), per_second: query.contains("rate(") };
    }
    match query.contains("rate(") {
        true => Shape::Rate(query.to_owned()),
        false => Shape::Other(query.to_owned()),
    }
}

/// The shape of a gauge.
pub fn gauge(query: &str) -> Shape {
    if query.contains(WINDOW) {
        return Shape::Templated { query: query.to_owned(), per_second: false };
    }
    match Selector::parse(query) {
        Ok(_) => Shape::Selector(query.trim().to_owned()),
        Err(_) => Shape::Other(query.to_owned()),
    }
}

#[derive(Clone, Debug)]
enum Test {
    Is(String),
    Not(String),
    Like(Regex),
    Unlike(Regex),
}

/// A metric's name and matchers, for sources that are no server.
#[derive(Clone, Debug)]
pub struct Selector {
    pub name: String,
    tests: Vec<(String, Test)>,
}

impl Selector {
    pub fn parse(text: &str) -> Result<Self, String> {
        static PLAIN: OnceLock<Option<Regex>> = OnceLock::new();
        static TEST: OnceLock<Option<Regex>> = OnceLock::new();
        let no = || format!("expected a metric with matchers, such as `up{{job=\"api\"}}`, got `{text}`");
        let plain = regex(&PLAIN, r"^\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{([^{}]*)\})?\s*$").ok_or_else(no)?;
        let test = regex(&TEST, r#"^\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*,?"#);
        let test = test.ok_or_else(no)?;
        let parts = plain.captures(text).ok_or_else(no)?;
        let name = parts.get(1).map_or("", |m| m.as_str()).to_owned();
        let mut rest = parts.get(2).map_or("", |m| m.as_str());
        let mut tests = Vec::new();
        while !rest.trim().is_empty() {
            let m = test.captures(rest).ok_or_else(no)?;
            let value = unescape(&m[3]);
            let like = || Regex::new(&format!("^(?s:{value})$")).map_err(|e| format!("{value}: {e}"));
            let test = match &m[2] {
                "=" => Test::Is(value),
                "!=" => Test::Not(value),
                "=~" => Test::Like(like()?),
                _ => Test::Unlike(like()?),
            };
            tests.push((m[1].to_owned(), test));
            rest = &rest[m[0].len()..];
        }
        Ok(Self { name, tests })
    }

    /// A label that is not there is empty.
    pub fn takes(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = |name: &str| labels.get(name).map_or("", String::as_str);
        value("__name__") == self.name
            && self.tests.iter().all(|(name, test)| match test {
                Test::Is(v) => value(name) == v,
                Test::Not(v) => value(name) != v,
                Test::Like(r) => r.is_match(value(name)),
                Test::Unlike(r) => !r.is_match(value(name)),
            })
    }
}

pub fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => {}
            },
            (c, false) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_in_what_sloth_and_openslo_write() {
        for (query, selector) in [
            ("http_total", "http_total"),
            ("sum(http_total{code=~\"5..\"})", "http_total{code=~\"5..\"}"),
            ("sum(rate(http_total{code=~\"5..|429\"}[{{.window}}]))", "http_total{code=~\"5..|429\"}"),
            ("increase(http_total[{{.window}}])", "http_total"),
        ] {
            assert_eq!(counter(query), Shape::Selector(selector.into()), "{query}");
        }
        let two = "sum(rate(a_total[{{.window}}])) - sum(rate(b_total[{{.window}}]))";
        assert_eq!(counter(two), Shape::Templated { query: two.into(), per_second: true });
        assert_eq!(counter("sum(rate(a_total[5m]))"), Shape::Rate("sum(rate(a_total[5m]))".into()));
    }

    #[test]
    fn matchers_are_those_of_prometheus() {
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let s = Selector::parse(r#"http_total{code=~"5..", host!="a", zone=""}"#).unwrap();
        assert!(s.takes(&labels(&[("__name__", "http_total"), ("code", "503"), ("host", "b")])));
        assert!(!s.takes(&labels(&[("__name__", "http_total"), ("code", "5031")])), "anchored");
        assert!(!s.takes(&labels(&[("__name__", "http_total"), ("code", "503"), ("host", "a")])));
        assert!(!s.takes(&labels(&[("__name__", "http"), ("code", "503")])));
        assert!(Selector::parse("sum(a)").is_err());
    }
}
