//! The grammar of JSON as a machine that is fed one byte at a time. It says whether a document can go on, and where
//! it ends; it does not look into numbers and words.

/// What one byte meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    More,
    /// The document ends with this byte.
    Done,
    /// This byte opens the array of hits in a search answer.
    Hits,
    /// No document goes on like this.
    Bad,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Want {
    #[default]
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    Text,
    Escape,
    /// In a number, `true`, `false` or `null`.
    Word,
}

/// One document being scanned.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    want: Want,
    /// Open brackets; true is an object.
    open: Vec<bool>,
    is_key: bool,
    /// How much of the key `hits` was read, while a key is; 5 when it is another.
    matched: u8,
    /// The last key of the outermost object, and of the object under its `hits`, was `hits`.
    hits: [bool; 2],
}

const HITS: &[u8; 4] = b"hits";
const OTHER: u8 = 5;

impl Scan {
    /// Inside a string, so that only a quote, a backslash or a newline matters. While a short key is compared this
    /// says no.
    pub fn in_string(&self) -> bool {
        self.want == Want::Text && (!self.is_key || self.matched == OTHER)
    }

    /// Inside a string, where a newline is no line's end.
    pub fn inside_token(&self) -> bool {
        matches!(self.want, Want::Text | Want::Escape)
    }

    /// The scan of a search answer, gone on behind its hits.
    pub fn after_hits(mut self) -> Self {
        self.open.pop();
        self.want = Want::CommaOrEnd;
        self.hits = [false; 2];
        self
    }

    pub fn step(&mut self, b: u8) -> Step {
        match self.want {
            Want::Text => return self.text(b),
            Want::Escape => {
                self.want = Want::Text;
                self.matched = OTHER;
                return if b == b'\n' { Step::Bad } else { Step::More };
            }
            Want::Word => {
                if b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-') {
                    return Step::More;
                }
                self.want = Want::CommaOrEnd;
            }
            _ => {}
        }
        if matches!(b, b' ' | b'\t' | b'\n' | b'\r') {
            return Step::More;
        }
        match (self.want, b) {
            (Want::Value | Want::ValueOrEnd, _) => self.value(b),
            (Want::Key | Want::KeyOrEnd, b'"') => {
                self.want = Want::Text;
                self.is_key = true;
                self.matched = if self.open.len() <= 2 { 0 } else { OTHER };
                Step::More
            }
            (Want::KeyOrEnd, b'}') => self.close(true),
            (Want::Colon, b':') => {
                self.want = Want::Value;
                Step::More
            }
            (Want::CommaOrEnd, b',') => {
                self.want = if self.open.last() == Some(&true) { Want::Key } else { Want::Value };
                Step::More
            }
            (Want::CommaOrEnd, b'}') => self.close(true),
            (Want::CommaOrEnd, b']') => self.close(false),
            _ => Step::Bad,
        }
    }

    fn text(&mut self, b: u8) -> Step {
        match b {
            b'"' if self.is_key => {
                let hits = self.matched == 4;
                match self.open.len() {
                    1 => self.hits = [hits, false],
                    2 => self.hits[1] = hits && self.hits[0],
                    _ => {}
                }
                self.want = Want::Colon;
            }
            b'"' => self.want = Want::CommaOrEnd,
            b'\\' => self.want = Want::Escape,
            b'\n' => return Step::Bad,
            _ if self.is_key && self.matched < OTHER => {
                let right = HITS.get(usize::from(self.matched)) == Some(&b);
                self.matched = if right { self.matched + 1 } else { OTHER };
            }
            _ => {}
        }
        Step::More
    }

    fn value(&mut self, b: u8) -> Step {
        match b {
            b'{' => {
                self.open.push(true);
                self.want = Want::KeyOrEnd;
            }
            b'[' => {
                let hits = self.open.len() == 2 && self.hits == [true, true] && self.open == [true, true];
                self.open.push(false);
                self.want = Want::ValueOrEnd;
                if hits {
                    return Step::Hits;
                }
            }
            b']' if self.want == Want::ValueOrEnd => return self.close(false),
            b'"' => {
                self.want = Want::Text;
                self.is_key = false;
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b'N' | b'I' => self.want = Want::Word,
            _ => return Step::Bad,
        }
        Step::More
    }

    fn close(&mut self, object: bool) -> Step {
        if self.open.pop() != Some(object) {
            return Step::Bad;
        }
        self.want = Want::CommaOrEnd;
        if self.open.is_empty() { Step::Done } else { Step::More }
    }
}
