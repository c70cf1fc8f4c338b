//! Values put into a search in Lucene's syntax (the classic query parser, as `query_string` speaks it) so that they stay
//! values: no character of theirs is an operator, a field, a wildcard or the end of a quote.

use super::pieces::Piece;
use super::pieces::pieces;

/// Words that are operators where they stand alone.
const OPERATORS: [&str; 4] = ["AND", "OR", "NOT", "TO"];

/// A value as a part of a term, of a quoted phrase, or of an expression between slashes: each of them takes a backslash
/// before any character that is neither letter nor digit.
pub fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 8);
    if OPERATORS.contains(&value) {
        out.push('\\');
    }
    for c in value.chars() {
        let special = c.is_whitespace() || (c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_');
        if special {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Puts values in. A value that stands alone becomes a quoted phrase, so that its words belong together.
///
/// # Errors
/// A variable without a value, or in a place where no value is safe.
pub fn fill(template: &str, value: &mut dyn FnMut(&str) -> Result<String, String>) -> Result<String, String> {
    // Where there are expressions between slashes, a quote may be part of one: then nothing is quoted.
    let may_quote = !Reader::default().sees_slash(template);
    let mut out = String::with_capacity(template.len());
    let mut at = Reader::default();
    let all = pieces(template);
    for (i, piece) in all.iter().enumerate() {
        let name = match piece {
            Piece::Text(text) => {
                at.read(text);
                out.push_str(text);
                continue;
            }
            Piece::Name(name) => name,
        };
        let bare = name.trim_matches('_');
        let value = value(name)?;
        if at.escaping {
            return Err(format!("{bare} stands behind a backslash, where no value is safe"));
        }
        // There a quoted bound may end at any quote the longest match finds.
        if at.range && value.contains(['"', '\\']) {
            return Err(format!("{bare} is a bound of a range, and holds a quote or a backslash"));
        }
        let alone = at.opens && closes(all.get(i + 1));
        if at.quoted || !(may_quote && alone) {
            // Between brackets a backslash means nothing outside quotes.
            if at.range && !(at.quoted && may_quote) {
                return Err(format!("{bare} is part of a bound of a range: a variable must be the whole bound"));
            }
            out.push_str(&escaped(&value));
        } else {
            out.push('"');
            out.push_str(&escaped(&value));
            out.push('"');
        }
        at.after_value();
    }
    Ok(out)
}

/// Whether what comes next ends a term.
fn closes(next: Option<&Piece<'_>>) -> bool {
    match next {
        None => true,
        Some(Piece::Name(_)) => false,
        Some(Piece::Text(t)) => t.chars().next().is_none_or(|c| c.is_whitespace() || ")]}".contains(c)),
    }
}

/// Where in the syntax the author's text has come to. Values never move it.
struct Reader {
    quoted: bool,
    /// The next character is escaped.
    escaping: bool,
    /// Between brackets.
    range: bool,
    /// A term may begin here.
    opens: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self { quoted: false, escaping: false, range: false, opens: true }
    }
}

impl Reader {
    fn read(&mut self, text: &str) {
        for c in text.chars() {
            if std::mem::take(&mut self.escaping) {
                self.opens = false;
                continue;
            }
            self.opens = !self.quoted && (c.is_whitespace() || ":([{".contains(c));
            match c {
                '\\' => self.escaping = true,
                '"' => self.quoted = !self.quoted,
                '[' | '{' if !self.quoted => self.range = true,
                ']' | '}' if !self.quoted => self.range = false,
                _ => {}
            }
        }
    }

    fn after_value(&mut self) {
        self.opens = false;
    }

    fn sees_slash(mut self, template: &str) -> bool {
        template.chars().any(|c| {
            let escaped = self.escaping;
            self.read(c.encode_utf8(&mut [0; 4]));
            c == '/' && !escaped
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, value: &str) -> Result<String, String> {
        fill(template, &mut |_| Ok(value.to_owned()))
    }

    #[test]
    fn a_value_stays_a_value() {
        for (template, value, wanted) in [
            ("user:__u__:value", "amara", r#"user:"amara""#),
            ("user:__u__:value AND x:y", r#"a" OR *:*"#, r#"user:"a\"\ OR\ \*\:\*" AND x:y"#),
            ("user:__u__:value", r"a\", r#"user:"a\\""#),
            (r#"id:"__u__:value""#, r#"<1@x>" OR a:"b"#, r#"id:"\<1\@x\>\"\ OR\ a\:\"b""#),
            ("user:__u__:value*", "*) OR (", r"user:\*\)\ OR\ \(*"),
            ("-__u__:value", "OR", r"-\OR"),
            ("web-__u__:value", "a b", r"web-a\ b"),
            ("@timestamp:[__u__:value TO *]", "2026-01-01] OR [x", r#"@timestamp:["2026\-01\-01\]\ OR\ \[x" TO *]"#),
            ("path:/.*__u__:value/", "a/ OR b:/.", r"path:/.*a\/\ OR\ b\:\/\./"),
            (r#"a:"x/y" AND u:__u__:value"#, "b c", r#"a:"x/y" AND u:b\ c"#),
            ("(__u__:value)", "日本 語", "(\"日本\\ 語\")"),
        ] {
            assert_eq!(filled(template, value).as_deref(), Ok(wanted), "{template}");
        }
        // The author's quote inside an expression does not turn ours around.
        assert_eq!(filled(r#"/a"b/ x:"p __u__:value q""#, "v w").as_deref(), Ok(r#"/a"b/ x:"p v\ w q""#));
    }

    #[test]
    fn where_no_value_is_safe_none_is_put() {
        assert!(filled(r"a:\__u__:value", "*").is_err_and(|e| e.contains("backslash")));
        assert!(filled("t:[__u__:value TO *]", r"a\").is_err_and(|e| e.contains("backslash")));
        assert!(filled("t:[2026-__u__:value TO *]", "01").is_err_and(|e| e.contains("whole bound")));
        assert!(filled("p:/a/ t:[__u__:value TO *]", "01").is_err_and(|e| e.contains("whole bound")));
        assert!(fill("a:__u__:value", &mut |n| Err(format!("{n} is not known"))).is_err());
    }
}
