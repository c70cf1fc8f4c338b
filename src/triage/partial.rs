//! What can be read of an answer while it is still being written.
//!
//! A model's answer is JSON that arrives in pieces. This reads whatever has come so far: claims, the verdict's word once
//! it is whole, the text of an answer to a question. It is pure and total: any text at all reads as something, if only as
//! nothing, and what it shows is unchecked until the whole answer has gone through [`super::check`].

use crate::model::verdict::VerdictKind;
use crate::text::{Untrusted, front};

/// Bytes that are looked at: longer answers than any schema of ours allows.
const LOOKED_AT: usize = 64 * 1024;
/// Nesting that is followed.
const DEPTH: usize = 16;
/// Members and elements kept at each level.
const WIDTH: usize = 256;

/// An answer so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partial {
    pub claims: Vec<PartialClaim>,
    /// Only once its word is whole.
    pub kind: Option<VerdictKind>,
    /// Such as `P1` or `keep`, once it is whole.
    pub priority: Option<Untrusted>,
    pub questions: Vec<Untrusted>,
    /// The answer to a person's question.
    pub text: Untrusted,
    /// It is still thinking aloud, which is not shown.
    pub thinking: bool,
}

/// A claim so far; what has not come yet is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartialClaim {
    pub field: Untrusted,
    pub quote: Untrusted,
    pub text: Untrusted,
    /// Its object is closed.
    pub whole: bool,
}

/// Reads what has come so far.
pub fn read(text: &str) -> Partial {
    let text = front(text, LOOKED_AT);
    let (text, thinking) = match (text.rfind("<think>"), text.rfind("</think>")) {
        (Some(open), Some(close)) if close > open => (&text[close + 8..], false),
        (Some(_), _) => ("", true),
        (None, Some(close)) => (&text[close + 8..], false),
        (None, None) => (text, false),
    };
    let mut out = Partial { thinking, ..Partial::default() };
    let Some(start) = text.find('{') else {
        return out;
    };
    let mut scan = Scan { rest: &text[start..] };
    let Node::Object(members, _) = scan.value(0) else { return out };
    // The last of several of the same name counts, as it will when the whole is read.
    for (key, node) in members {
        match (key.as_str(), node) {
            ("claims", Node::Array(items)) => out.claims = items.into_iter().filter_map(claim).collect(),
            ("verdict", Node::Text(word, true)) => out.kind = VerdictKind::parse(&word),
            ("priority", Node::Text(word, true)) => out.priority = Some(word.into()),
            ("questions", Node::Array(items)) => {
                out.questions = items.into_iter().filter_map(text_of).map(Untrusted::from).collect();
            }
            ("answer" | "text", Node::Text(text, _)) => out.text = text.into(),
            _ => {}
        }
    }
    out
}

fn text_of(node: Node) -> Option<String> {
    if let Node::Text(text, _) = node { Some(text) } else { None }
}

fn claim(node: Node) -> Option<PartialClaim> {
    let Node::Object(members, whole) = node else { return None };
    let mut out = PartialClaim { whole, ..PartialClaim::default() };
    for (key, node) in members {
        let text = text_of(node).unwrap_or_default().into();
        match key.as_str() {
            "field" => out.field = text,
            "quote" => out.quote = text,
            "text" => out.text = text,
            _ => {}
        }
    }
    Some(out)
}

/// A value so far.
enum Node {
    /// And whether its quote is closed.
    Text(String, bool),
    /// And whether its brace is closed.
    Object(Vec<(String, Node)>, bool),
    Array(Vec<Node>),
    /// A number or word; nothing of ours needs one.
    Other,
    /// Nothing, or nothing that is JSON.
    None,
}

struct Scan<'a> {
    rest: &'a str,
}

impl Scan<'_> {
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.rest.bytes().next()
    }

    /// Takes this byte if it is next.
    fn take(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        if is {
            self.rest = &self.rest[1..];
        }
        is
    }

    /// Reads one value; at something that is no JSON it gives up on all that follows.
    fn value(&mut self, depth: usize) -> Node {
        match self.peek() {
            _ if depth > DEPTH => self.stop(),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => {
                let (text, closed) = self.string();
                Node::Text(text, closed)
            }
            Some(b) if b.is_ascii_alphanumeric() || b == b'-' => {
                let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.');
                self.rest = self.rest.trim_start_matches(word);
                Node::Other
            }
            _ => self.stop(),
        }
    }

    fn stop(&mut self) -> Node {
        self.rest = "";
        Node::None
    }

    fn object(&mut self, depth: usize) -> Node {
        self.take(b'{');
        let mut members = Vec::new();
        while self.peek() == Some(b'"') {
            let (key, closed) = self.string();
            if !closed || !self.take(b':') {
                break;
            }
            let node = self.value(depth + 1);
            if members.len() < WIDTH {
                members.push((key, node));
            }
            if !self.take(b',') {
                break;
            }
        }
        let whole = self.take(b'}');
        if !whole {
            self.rest = "";
        }
        Node::Object(members, whole)
    }

    fn array(&mut self, depth: usize) -> Node {
        self.take(b'[');
        let mut items = Vec::new();
        while self.peek().is_some_and(|b| b != b']') {
            let node = self.value(depth + 1);
            if items.len() < WIDTH && !matches!(node, Node::None) {
                items.push(node);
            }
            if !self.take(b',') {
                break;
            }
        }
        if !self.take(b']') {
            self.rest = "";
        }
        Node::Array(items)
    }

    /// A string so far, unescaped; half an escape at the end is left out.
    fn string(&mut self) -> (String, bool) {
        self.take(b'"');
        let mut out = String::new();
        loop {
            let plain = self.rest.find(['"', '\\']).unwrap_or(self.rest.len());
            out.push_str(&self.rest[..plain]);
            self.rest = &self.rest[plain..];
            let mut chars = self.rest.chars();
            match (chars.next(), chars.next()) {
                (Some('"'), _) => {
                    self.rest = &self.rest[1..];
                    return (out, true);
                }
                (Some('\\'), Some('u')) => match unicode(self.rest) {
                    Some((c, len)) => {
                        out.push(c);
                        self.rest = &self.rest[len..];
                    }
                    None => break,
                },
                (Some('\\'), Some(c)) => {
                    match c {
                        'n' => out.push('\n'),
                        't' => out.push('\t'),
                        'r' => out.push('\r'),
                        'b' => out.push('\u{8}'),
                        'f' => out.push('\u{c}'),
                        '"' | '\\' | '/' => out.push(c),
                        _ => break,
                    }
                    self.rest = &self.rest[1 + c.len_utf8()..];
                }
                _ => break,
            }
        }
        self.rest = "";
        (out, false)
    }
}

/// The character of `\uXXXX` at the front, or of a surrogate pair of them, and its length. `None`: it is not all there,
/// or is none.
fn unicode(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| u32::from_str_radix(text.get(at + 2..at + 6)?, 16).ok();
    let first = unit(0)?;
    if let Some(c) = char::from_u32(first) {
        return Some((c, 6));
    }
    if text.get(6..8)? != "\\u" {
        return None;
    }
    let second = unit(6)?;
    let pair = (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(&second);
    let joined = pair.then(|| 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))?;
    char::from_u32(joined).map(|c| (c, 12))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::triage::schema;

    const ANSWER: &str = r#"{"claims":[{"field":"process.command_line","quote":"-enc SQBF","text":"hides \"its\" script"},
        {"field":"host","quote":"fin-ws-014","text":"a finance host"}],"techniques":["T1059.001"],
        "verdict":"true_positive","priority":"P1","questions":["who ran it?"],"actions":[]}"#;

    #[test]
    fn it_grows_piece_by_piece() {
        let at = |end: &str| read(&ANSWER[..ANSWER.find(end).unwrap() + end.len()]);
        assert_eq!(read(""), Partial::default());
        let p = at("\"quote\":\"-enc");
        assert_eq!(p.claims.len(), 1);
        assert_eq!(p.claims[0].field.expose(), "process.command_line");
        assert_eq!(p.claims[0].quote.expose(), "-enc");
        assert!(!p.claims[0].whole && p.claims[0].text.is_empty());
        let p = at("hides \\");
        assert_eq!(p.claims[0].text.expose(), "hides ", "half an escape is not shown");
        let p = at("script\"}");
        assert!(p.claims[0].whole && p.kind.is_none());
        assert_eq!(p.claims[0].text.expose(), "hides \"its\" script");
        assert_eq!(at("\"verdict\":\"true_pos").kind, None, "half a word is no verdict");
        assert_eq!(at("\"verdict\":\"true_positive\"").kind, Some(VerdictKind::TruePositive));
        let p = read(ANSWER);
        assert_eq!(p.claims.len(), 2);
        assert_eq!(p.priority.unwrap().expose(), "P1");
        assert_eq!(p.questions[0].expose(), "who ran it?");
    }

    #[test]
    fn thinking_and_fences_are_passed_over() {
        let p = read("<think>{\"verdict\":\"false_positive\"}");
        assert!(p.thinking && p.kind.is_none());
        let p = read("<think>hm {</think>\n```json\n{\"verdict\":\"false_positive\"}");
        assert_eq!((p.thinking, p.kind), (false, Some(VerdictKind::FalsePositive)));
        assert_eq!(read("hm</think>{\"answer\":\"yes, bec").text.expose(), "yes, bec");
    }

    #[test]
    fn what_is_no_answer_reads_as_nothing() {
        let deep = "{\"claims\":".to_owned() + &"[".repeat(100_000);
        let long = format!("{{\"answer\":\"{}", "x".repeat(1_000_000));
        for text in ["{", "{{{{", "[1,2]", "{\"claims\":[{\"field\":[", "null", "{\"a\" 1}", "\u{1b}]52;c;", &deep] {
            assert_eq!(read(text).kind, None, "{:?}", front(text, 40));
        }
        assert!(read(&long).text.expose().len() <= LOOKED_AT);
        assert_eq!(read(r#"{"answer":"\ud83d\ude00 \ud83d x"}"#).text.expose(), "\u{1f600} ");
    }

    fn answers() -> impl Strategy<Value = String> {
        let text = || "\\PC{0,12}|[\"\\\\/\n\t\u{0}\u{1f600}{}\\[\\],:]{0,6}";
        let claim = (text(), text(), text()).prop_map(|(f, q, t)| json!({"field": f, "quote": q, "text": t}));
        let claims = prop::collection::vec(claim, 0..5);
        let kind = prop::sample::select(VerdictKind::ALL.to_vec());
        (claims, kind, prop::collection::vec(text(), 0..3), any::<bool>()).prop_map(|(c, k, q, pretty)| {
            let v =
                json!({"claims": c, "techniques": ["T1059"], "verdict": k.word(), "priority": "P0", "questions": q});
            if pretty { serde_json::to_string_pretty(&v).unwrap() } else { v.to_string() }
        })
    }

    proptest! {
        #[test]
        fn every_prefix_reads_as_a_part_of_the_whole(answer in answers()) {
            let whole = read(&answer);
            let strict = schema::read(&answer).unwrap();
            prop_assert_eq!(whole.kind, Some(strict.kind));
            prop_assert_eq!(whole.claims.len(), strict.claims.len());
            for (a, b) in whole.claims.iter().zip(&strict.claims) {
                prop_assert_eq!((&a.field, &a.quote, &a.text, a.whole), (&b.field, &b.quote, &b.text, true));
            }
            prop_assert_eq!(&whole.questions, &strict.questions);
            for end in (0..answer.len()).filter(|i| answer.is_char_boundary(*i)) {
                let part = read(&answer[..end]);
                prop_assert!(part.kind.is_none() || part.kind == whole.kind);
                prop_assert!(part.claims.len() <= whole.claims.len());
                for (a, b) in part.claims.iter().zip(&whole.claims) {
                    for (a, b) in [(&a.field, &b.field), (&a.quote, &b.quote), (&a.text, &b.text)] {
                        prop_assert!(b.expose().starts_with(a.expose()), "{:?} of {:?}", a, b);
                    }
                }
            }
        }

        #[test]
        fn garbage_reads_as_something(text in "[\\{\\}\\[\\]\",:\\\\u0-9a-f<>/think\\s]{0,200}", any in any::<String>()) {
            let _ = read(&text);
            let _ = read(&any);
            let _ = read(&format!("{{\"claims\":[{{\"field\":\"{any}{text}"));
        }
    }
}
