//! Conditions of steps: the comparisons of the STIX patterning grammar that CACAO 2.0 refers to (section 4.9), over
//! variables.
//!
//! ```text
//! __n__:value > 3 AND (__kind__:value = 'ransom' OR NOT __paid__:value)
//! __kind__:value IN ('a', 'b')        __name__:value LIKE 'fin-%'
//! ```
//!
//! Three-valued (Kleene): a variable without a value makes the answer unknown unless it does not matter.

use crate::model::health::Tri;

/// Depth of parentheses and NOTs.
const DEEPEST: usize = 64;
const LONGEST: usize = 8 << 10;

#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Compare(Operand, Op, Operand),
    In(Operand, Vec<Operand>),
    /// `%` any run of characters, `_` one.
    Like(Operand, String),
    /// A value taken as true or false.
    Is(Operand),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// `__name__:value`; holds `__name__`.
    Variable(String),
    Text(String),
    Number(f64),
    Bool(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// What is wrong with a condition, and at which character (from 1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("character {at}: {what}")]
pub struct Bad {
    pub at: usize,
    pub what: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Value(Operand),
    Op(Op),
    Open,
    Close,
    Comma,
}

/// # Errors
/// Where it departs from the grammar.
pub fn parse(text: &str) -> Result<Expr, Bad> {
    if text.len() > LONGEST {
        return Err(Bad { at: 1, what: format!("longer than {LONGEST} bytes") });
    }
    let tokens = tokens(text)?;
    let mut p = Parser { tokens, next: 0, end: text.chars().count() + 1, depth: 0 };
    let expr = p.or()?;
    match p.tokens.get(p.next) {
        None => Ok(expr),
        Some((at, _)) => Err(Bad { at: *at, what: "AND, OR or the end was expected".into() }),
    }
}

impl Expr {
    /// Variables it looks at, in order, each once.
    pub fn variables(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.walk(&mut |o| {
            if let Operand::Variable(name) = o
                && !out.contains(name)
            {
                out.push(name.clone());
            }
        });
        out
    }

    fn walk(&self, f: &mut impl FnMut(&Operand)) {
        match self {
            Self::And(a, b) | Self::Or(a, b) => {
                a.walk(f);
                b.walk(f);
            }
            Self::Not(a) => a.walk(f),
            Self::Compare(a, _, b) => {
                f(a);
                f(b);
            }
            Self::In(a, all) => {
                f(a);
                all.iter().for_each(f);
            }
            Self::Like(a, _) | Self::Is(a) => f(a),
        }
    }

    /// `value`: what a variable holds, if it holds anything.
    pub fn holds(&self, value: &impl Fn(&str) -> Option<String>) -> Tri {
        let not = |t: Tri| match t {
            Tri::Pass => Tri::Fail,
            Tri::Fail => Tri::Pass,
            Tri::Unknown => Tri::Unknown,
        };
        match self {
            Self::And(a, b) => match (a.holds(value), b.holds(value)) {
                (Tri::Fail, _) | (_, Tri::Fail) => Tri::Fail,
                (Tri::Pass, Tri::Pass) => Tri::Pass,
                _ => Tri::Unknown,
            },
            Self::Or(a, b) => match (a.holds(value), b.holds(value)) {
                (Tri::Pass, _) | (_, Tri::Pass) => Tri::Pass,
                (Tri::Fail, Tri::Fail) => Tri::Fail,
                _ => Tri::Unknown,
            },
            Self::Not(a) => not(a.holds(value)),
            Self::Compare(a, op, b) => match (read(a, value), read(b, value)) {
                (Some(a), Some(b)) => compare(&a, *op, &b),
                _ => Tri::Unknown,
            },
            Self::In(a, all) => {
                let Some(a) = read(a, value) else { return Tri::Unknown };
                let mut out = Tri::Fail;
                for other in all {
                    match read(other, value).map(|b| compare(&a, Op::Eq, &b)) {
                        Some(Tri::Pass) => return Tri::Pass,
                        Some(Tri::Fail) => {}
                        _ => out = Tri::Unknown,
                    }
                }
                out
            }
            Self::Like(a, pattern) => match read(a, value) {
                Some(a) => yes(like(&a, pattern)),
                None => Tri::Unknown,
            },
            Self::Is(a) => match read(a, value).as_deref().map(str::trim) {
                Some(v) if v.eq_ignore_ascii_case("true") || v == "1" => Tri::Pass,
                Some(v) if v.eq_ignore_ascii_case("false") || v == "0" || v.is_empty() => Tri::Fail,
                _ => Tri::Unknown,
            },
        }
    }
}

fn yes(b: bool) -> Tri {
    if b { Tri::Pass } else { Tri::Fail }
}

fn read(o: &Operand, value: &impl Fn(&str) -> Option<String>) -> Option<String> {
    match o {
        Operand::Variable(name) => value(name),
        Operand::Text(t) => Some(t.clone()),
        Operand::Number(n) => Some(n.to_string()),
        Operand::Bool(b) => Some(b.to_string()),
    }
}

/// As numbers where both are; else as text, which knows no order beyond equality unless both are text of equal kind.
fn compare(a: &str, op: Op, b: &str) -> Tri {
    let number = |t: &str| t.trim().parse::<f64>().ok().filter(|n| n.is_finite());
    let order = match (number(a), number(b)) {
        (Some(a), Some(b)) => a.partial_cmp(&b),
        // A number and a word have no order: whether one is larger is not known.
        (Some(_), None) | (None, Some(_)) if !matches!(op, Op::Eq | Op::Ne) => None,
        _ if a.eq_ignore_ascii_case(b) && is_bool(a) => Some(std::cmp::Ordering::Equal),
        _ => Some(a.cmp(b)),
    };
    let Some(order) = order else { return Tri::Unknown };
    yes(match op {
        Op::Eq => order.is_eq(),
        Op::Ne => order.is_ne(),
        Op::Lt => order.is_lt(),
        Op::Le => order.is_le(),
        Op::Gt => order.is_gt(),
        Op::Ge => order.is_ge(),
    })
}

fn is_bool(text: &str) -> bool {
    text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")
}

/// Greedy with one place to go back to: linear in the product of both lengths at worst.
fn like(text: &str, pattern: &str) -> bool {
    let (t, p): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut i, mut j, mut back) = (0, 0, None);
    while i < t.len() {
        if p.get(j) == Some(&'%') {
            back = Some((i, j));
            j += 1;
        } else if p.get(j).is_some_and(|c| *c == '_' || *c == t[i]) {
            (i, j) = (i + 1, j + 1);
        } else if let Some((at, star)) = back {
            back = Some((at + 1, star));
            (i, j) = (at + 1, star + 1);
        } else {
            return false;
        }
    }
    p.iter().skip(j).all(|c| *c == '%')
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Bad> {
    let c: Vec<char> = text.chars().collect();
    let mut out = Vec::new();
    let mut i = 0;
    while i < c.len() {
        let at = i + 1;
        let bad = |what: &str| Bad { at, what: what.to_owned() };
        let two: String = c.iter().skip(i).take(2).collect();
        let (token, len) = match c[i] {
            ch if ch.is_whitespace() => {
                i += 1;
                continue;
            }
            // STIX writes an observation expression in brackets.
            '(' | '[' => (Token::Open, 1),
            ')' | ']' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            _ if two == "==" => (Token::Op(Op::Eq), 2),
            _ if two == "!=" || two == "<>" => (Token::Op(Op::Ne), 2),
            _ if two == "<=" => (Token::Op(Op::Le), 2),
            _ if two == ">=" => (Token::Op(Op::Ge), 2),
            '=' => (Token::Op(Op::Eq), 1),
            '<' => (Token::Op(Op::Lt), 1),
            '>' => (Token::Op(Op::Gt), 1),
            quote @ ('\'' | '"') => {
                let (text, len) = quoted(&c[i + 1..], quote).ok_or_else(|| bad("a text that is not closed"))?;
                (Token::Value(Operand::Text(text)), len + 1)
            }
            ch if ch.is_alphanumeric() || "_-+.".contains(ch) => {
                let word: String = c[i..].iter().take_while(|c| c.is_alphanumeric() || "_-+.:".contains(**c)).collect();
                let len = word.chars().count();
                (self::word(word).map_err(|what| Bad { at, what })?, len)
            }
            other => return Err(bad(&format!("{other:?} was not expected"))),
        };
        out.push((at, token));
        i += len;
    }
    Ok(out)
}

/// The text up to the closing quote and how many characters it took with it.
fn quoted(c: &[char], quote: char) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut i = 0;
    while i < c.len() {
        match c[i] {
            '\\' if i + 1 < c.len() => {
                out.push(c[i + 1]);
                i += 2;
            }
            ch if ch == quote => return Some((out, i + 1)),
            ch => {
                out.push(ch);
                i += 1;
            }
        }
    }
    None
}

fn word(word: String) -> Result<Token, String> {
    if let Some(name) = word.strip_suffix(":value") {
        let known = super::ids::is_variable(name);
        return match known {
            true => Ok(Token::Value(Operand::Variable(name.to_owned()))),
            false => Err(format!("{name:?} is no name of a variable: __name__ was expected")),
        };
    }
    if super::ids::is_variable(&word) {
        return Err(format!("a variable is read as {word}:value"));
    }
    match word.to_ascii_lowercase().as_str() {
        "true" => return Ok(Token::Value(Operand::Bool(true))),
        "false" => return Ok(Token::Value(Operand::Bool(false))),
        "and" | "or" | "not" | "in" | "like" => return Ok(Token::Word(word.to_ascii_uppercase())),
        _ => {}
    }
    match word.parse::<f64>() {
        Ok(n) if n.is_finite() => Ok(Token::Value(Operand::Number(n))),
        _ => Err(format!("{word:?} is no word of a condition; texts stand in single quotes")),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    end: usize,
    depth: usize,
}

impl Parser {
    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |t| t.0)
    }

    fn bad<T>(&self, what: &str) -> Result<T, Bad> {
        Err(Bad { at: self.at(), what: what.to_owned() })
    }

    fn take(&mut self, wanted: &Token) -> bool {
        let found = self.tokens.get(self.next).is_some_and(|t| t.1 == *wanted);
        self.next += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        self.take(&Token::Word(word.to_owned()))
    }

    fn or(&mut self) -> Result<Expr, Bad> {
        let mut left = self.and()?;
        while self.word("OR") {
            left = Expr::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr, Bad> {
        let mut left = self.not()?;
        while self.word("AND") {
            left = Expr::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expr, Bad> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.bad("nested too deep");
        }
        let out = if self.word("NOT") {
            Ok(Expr::Not(Box::new(self.not()?)))
        } else if self.take(&Token::Open) {
            let inner = self.or()?;
            if self.take(&Token::Close) { Ok(inner) } else { self.bad("a closing parenthesis was expected") }
        } else {
            self.comparison()
        };
        self.depth -= 1;
        out
    }

    fn comparison(&mut self) -> Result<Expr, Bad> {
        let left = self.operand()?;
        let negated = matches!(self.tokens.get(self.next + 1), Some((_, Token::Word(w))) if w == "IN" || w == "LIKE")
            && self.word("NOT");
        let found = if self.word("IN") {
            Expr::In(left, self.list()?)
        } else if self.word("LIKE") {
            match self.operand()? {
                Operand::Text(pattern) => Expr::Like(left, pattern),
                _ => return self.bad("a pattern in quotes was expected"),
            }
        } else if let Some((_, Token::Op(op))) = self.tokens.get(self.next) {
            let op = *op;
            self.next += 1;
            Expr::Compare(left, op, self.operand()?)
        } else {
            Expr::Is(left)
        };
        Ok(if negated { Expr::Not(Box::new(found)) } else { found })
    }

    fn list(&mut self) -> Result<Vec<Operand>, Bad> {
        if !self.take(&Token::Open) {
            return self.bad("a list in parentheses was expected");
        }
        let mut out = vec![self.operand()?];
        while self.take(&Token::Comma) {
            out.push(self.operand()?);
        }
        if self.take(&Token::Close) { Ok(out) } else { self.bad("a comma or a closing parenthesis was expected") }
    }

    fn operand(&mut self) -> Result<Operand, Bad> {
        match self.tokens.get(self.next) {
            Some((_, Token::Value(o))) => {
                let o = o.clone();
                self.next += 1;
                Ok(o)
            }
            _ => self.bad("__name__:value, a text in quotes, a number, true or false was expected"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ask(text: &str) -> Tri {
        let value = |name: &str| match name {
            "__n__" => Some("10".to_owned()),
            "__kind__" => Some("ransom".to_owned()),
            "__yes__" => Some("True".to_owned()),
            "__empty__" => Some(String::new()),
            _ => None,
        };
        parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).holds(&value)
    }

    #[test]
    fn what_holds() {
        for t in [
            "__n__:value > 3",
            "__n__:value = '10.0'",
            "__n__:value <> 9 AND __n__:value >= 10",
            "__kind__:value == 'ransom'",
            "[__kind__:value IN ('x', 'ransom')]",
            "__kind__:value NOT IN ('x', 'y')",
            "__kind__:value LIKE 'r%s_m'",
            "__yes__:value",
            "__yes__:value = true",
            "NOT __empty__:value",
            "__lost__:value = 1 OR __yes__:value",
        ] {
            assert_eq!(ask(t), Tri::Pass, "{t}");
        }
        for t in ["__n__:value < 9", "__kind__:value = 'Ransom'", "false", "__lost__:value AND false"] {
            assert_eq!(ask(t), Tri::Fail, "{t}");
        }
        for t in [
            "__lost__:value",
            "NOT __lost__:value",
            "__lost__:value = 'a'",
            "__lost__:value OR false",
            "__kind__:value",
            "__kind__:value > 3",
            "__kind__:value IN ('x', __lost__:value)",
        ] {
            assert_eq!(ask(t), Tri::Unknown, "{t}");
        }
    }

    #[test]
    fn faults_have_a_place() {
        for (text, at) in [
            ("", 1),
            ("__n__ > 3", 1),
            ("__n__:value >", 14),
            ("__n__:value > 3 4", 17),
            ("(__n__:value", 13),
            ("__n__:value = 'x", 15),
            ("__n__:value = x", 15),
            ("__n__:value & 1", 13),
            ("__1__:value", 1),
            ("__n__:value LIKE 3", 19),
        ] {
            assert_eq!(parse(text).map_err(|e| e.at), Err(at), "{text}: {:?}", parse(text));
        }
        assert!(parse(&"(".repeat(5000)).is_err());
        assert!(parse(&format!("{}true", "NOT ".repeat(1500))).is_err());
    }

    proptest! {
        #[test]
        fn whatever_comes_it_answers(text in "[_a-z:value()'=<>! ANDORTIK,0-9%\\[\\]]{0,60}") {
            if let Ok(e) = parse(&text) {
                let _ = (e.holds(&|_| None), e.variables());
            }
        }
    }
}
