//! Cuts a stream of bytes into records, without reading what they say.
//!
//! It takes, also mixed in one stream: JSON lines, pretty-printed or concatenated JSON documents, a JSON array of
//! records, a search answer (`{"hits":{"hits":[..]}}`, each hit a record), and lines of text (syslog, CEF, LEEF).
//! Every record is a byte-exact slice of the stream.
//!
//! A broken JSON document becomes one record of its own and must not swallow its neighbours. The scanner knows the
//! JSON grammar, so it notices at once where a document cannot go on; what follows is cut at the next line that can
//! start a record: see [`Splitter::broken`].

use super::scanner::{Scan, Step};

/// Longest record, in bytes. A longer one comes out cut, with [`Record::error`] set.
pub const MAX_RECORD: usize = 16 * 1024 * 1024;

/// One record of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Bytes before it in the stream.
    pub offset: u64,
    /// Line it starts on, from 1.
    pub line: Option<u64>,
    /// The record's own bytes, without the newline after it.
    pub bytes: Vec<u8>,
    /// Set when the record is not whole: it is over [`MAX_RECORD`] and `bytes` is its beginning.
    pub error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Before a record.
    Between,
    /// In a record that ends with its line.
    Text,
    /// In a JSON document.
    Json,
    /// In a broken document of several lines.
    Swallow,
    /// In what surrounds the hits of a search answer; nothing of it is a record.
    Rest,
}

/// What a look at the waiting bytes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Again,
    NeedMore,
}

/// Cuts a stream into records: [`push`](Self::push) bytes, take records with [`next`](Self::next) until `None`, and
/// after the last bytes call [`finish`](Self::finish) until `None`. Holds at most one record and the bytes pushed.
#[derive(Debug, Default)]
pub struct Splitter {
    buf: Vec<u8>,
    /// Stream offset of `buf[0]`; every position below is a stream offset too.
    base: u64,
    at: u64,
    start: u64,
    /// Where the current line begins.
    line_begin: u64,
    /// Newlines before `counted`.
    newlines: u64,
    counted: u64,
    mode: Mode,
    scan: Scan,
    /// The search answer around the hits.
    outer: Option<Scan>,
    in_array: bool,
    /// A document was seen that began and ended on one line: from then on a line that starts with `{` starts a record.
    lines: bool,
    /// The last thing was a document, so that a comma may follow.
    after_document: bool,
    /// The record went over the limit and was given out; the rest of it is skipped.
    dropping: bool,
    ended: bool,
    /// Column the current record starts in.
    column: u64,
    /// The record has a newline in it.
    many_lines: bool,
    /// Only white space since the last newline.
    fresh: bool,
    /// The current line began where a record could, with neither a bracket nor a quote: no line of indented JSON.
    margin: bool,
    /// The first line inside the record that starts with `{` where a record could start.
    candidate: Option<u64>,
    ready: Option<Record>,
}

#[allow(clippy::derivable_impls, reason = "the default mode belongs beside the others")]
impl Default for Mode {
    fn default() -> Self {
        Self::Between
    }
}

impl Splitter {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.ended = false;
        self.compact();
        self.buf.extend_from_slice(bytes);
    }

    /// The next whole record; `None` when more bytes are needed.
    #[expect(clippy::should_implement_trait, reason = "an iterator that goes on after None would mislead")]
    pub fn next(&mut self) -> Option<Record> {
        loop {
            let turn = match self.mode {
                Mode::Between => self.between(),
                Mode::Text => self.text(),
                Mode::Json | Mode::Rest => self.json(),
                Mode::Swallow => self.swallow(),
            };
            if let Some(record) = self.ready.take() {
                return Some(record);
            }
            if turn == Turn::NeedMore {
                return self.oversize();
            }
        }
    }

    /// The stream has ended: gives out what is left, also when it is not whole. Call until `None`.
    pub fn finish(&mut self) -> Option<Record> {
        self.ended = true;
        loop {
            if let Some(record) = self.next() {
                return Some(record);
            }
            match self.mode {
                Mode::Between => return None,
                Mode::Rest => {
                    self.outer = None;
                    self.mode = Mode::Between;
                    self.at = self.end();
                }
                Mode::Json | Mode::Text | Mode::Swallow => {
                    let candidate = self.candidate.filter(|_| self.mode == Mode::Json && !self.dropping);
                    self.lines |= candidate.is_some();
                    self.cut_before(candidate.unwrap_or(self.end()));
                }
            }
            if let Some(record) = self.ready.take() {
                return Some(record);
            }
        }
    }

    /// Stream offset up to which every record was given out: where to read on after a restart.
    pub fn consumed(&self) -> u64 {
        if self.mode == Mode::Between { self.at } else { self.start }
    }

    fn end(&self) -> u64 {
        self.base + self.buf.len() as u64
    }

    fn index(&self, at: u64) -> usize {
        (at - self.base) as usize
    }

    fn byte(&self, at: u64) -> Option<u8> {
        self.buf.get(self.index(at)).copied()
    }

    fn newline_from(&self, at: u64) -> Option<u64> {
        memchr::memchr(b'\n', &self.buf[self.index(at)..]).map(|n| at + n as u64)
    }

    /// Drops the bytes before the current record.
    fn compact(&mut self) {
        let keep = match self.mode {
            Mode::Between | Mode::Rest => self.at,
            _ => self.start,
        };
        if keep > self.base {
            self.count_to(keep);
            self.buf.drain(..self.index(keep));
            self.base = keep;
        }
    }

    fn count_to(&mut self, at: u64) {
        if at > self.counted {
            let bytes = &self.buf[self.index(self.counted)..self.index(at)];
            self.newlines += memchr::memchr_iter(b'\n', bytes).count() as u64;
            self.counted = at;
        }
    }

    fn begin(&mut self, mode: Mode) {
        self.mode = mode;
        self.start = self.at;
        self.column = self.at - self.line_begin;
        self.many_lines = false;
        self.fresh = false;
        self.margin = false;
        self.candidate = None;
        self.dropping = false;
        self.after_document = false;
    }

    /// Gives out `start..end` and stands before the next record.
    fn emit(&mut self, end: u64) {
        self.mode = Mode::Between;
        if std::mem::take(&mut self.dropping) {
            return;
        }
        let bytes = &self.buf[self.index(self.start)..self.index(end)];
        let trimmed = bytes.trim_ascii_end();
        if trimmed.is_empty() {
            return;
        }
        let (len, error) = match bytes.len() > MAX_RECORD {
            true => (MAX_RECORD + 1, Some(too_long())),
            // Only what cannot belong to a record is cut: the newline and its carriage return.
            false => (bytes.strip_suffix(b"\r").unwrap_or(bytes).len(), None),
        };
        let bytes = bytes[..len].to_vec();
        self.give(bytes, error);
    }

    fn give(&mut self, bytes: Vec<u8>, error: Option<String>) {
        self.count_to(self.start);
        self.ready = Some(Record { offset: self.start, line: Some(self.newlines + 1), bytes, error });
    }

    /// Ends the record before `at`, white space (and in an array the comma) before it left out, and goes on there.
    fn cut_before(&mut self, at: u64) {
        let bytes = &self.buf[self.index(self.start)..self.index(at)];
        let mut trimmed = bytes.trim_ascii_end();
        if self.in_array {
            trimmed = trimmed.strip_suffix(b",").unwrap_or(trimmed);
        }
        let end = self.start + trimmed.len() as u64;
        self.emit(end);
        self.at = at;
        self.line_begin = at;
    }

    /// A record that outgrows the limit while it is still coming is given out and the rest of it dropped.
    fn oversize(&mut self) -> Option<Record> {
        if matches!(self.mode, Mode::Between | Mode::Rest) || self.at - self.start <= MAX_RECORD as u64 {
            return None;
        }
        if !self.dropping {
            let from = self.index(self.start);
            let bytes = self.buf[from..=from + MAX_RECORD].to_vec();
            self.give(bytes, Some(too_long()));
            self.dropping = true;
        }
        self.count_to(self.at);
        self.start = self.at;
        self.candidate = None;
        self.ready.take()
    }

    fn between(&mut self) -> Turn {
        if self.at == 0 && !self.ended && b"\xef\xbb\xbf".starts_with(&self.buf) {
            return Turn::NeedMore;
        }
        if self.at == 0 && self.buf.starts_with(b"\xef\xbb\xbf") {
            self.at = 3;
            self.line_begin = 3;
        }
        while let Some(b) = self.byte(self.at) {
            match b {
                b'\n' => {
                    self.line_begin = self.at + 1;
                    self.after_document = false;
                }
                b' ' | b'\t' | b'\r' => {}
                b',' if self.in_array || self.after_document => {}
                b']' if self.in_array => self.end_array(),
                b'{' => {
                    self.begin(Mode::Json);
                    self.scan = Scan::default();
                    return Turn::Again;
                }
                b'[' => return self.bracket(),
                _ => {
                    self.begin(Mode::Text);
                    return Turn::Again;
                }
            }
            self.at += 1;
            if self.mode == Mode::Rest {
                return Turn::Again;
            }
        }
        Turn::NeedMore
    }

    fn end_array(&mut self) {
        self.in_array = false;
        if let Some(outer) = self.outer.take() {
            self.scan = outer;
            self.mode = Mode::Rest;
        } else {
            self.after_document = true;
        }
    }

    /// A `[` is an array of records when an object follows; a line of text may start with one too.
    fn bracket(&mut self) -> Turn {
        let after = self.index(self.at) + 1;
        let Some(n) = self.buf[after..].iter().position(|b| !b.is_ascii_whitespace()) else {
            if self.ended {
                self.begin(Mode::Text);
                return Turn::Again;
            }
            return Turn::NeedMore;
        };
        match self.buf[after + n] {
            b'{' if !self.in_array => {
                self.in_array = true;
                self.at += 1;
            }
            b']' if !self.in_array => {
                self.at += 2 + n as u64;
                self.after_document = true;
            }
            _ if self.in_array => {
                self.begin(Mode::Json);
                self.scan = Scan::default();
            }
            _ => self.begin(Mode::Text),
        }
        Turn::Again
    }

    fn text(&mut self) -> Turn {
        match self.newline_from(self.at) {
            Some(n) => {
                if self.in_array {
                    self.cut_before(n);
                } else {
                    self.emit(n);
                }
                self.at = n + 1;
                self.line_begin = n + 1;
                Turn::Again
            }
            None => {
                self.at = self.end();
                Turn::NeedMore
            }
        }
    }

    fn json(&mut self) -> Turn {
        while self.at < self.end() {
            // The inside of a string: nothing to look at but its end, an escape and a newline that may not be there.
            if self.scan.in_string() {
                let from = self.index(self.at);
                match memchr::memchr3(b'"', b'\\', b'\n', &self.buf[from..]) {
                    Some(n) => self.at += n as u64,
                    None => {
                        self.at = self.end();
                        return Turn::NeedMore;
                    }
                }
            }
            let Some(b) = self.byte(self.at) else { return Turn::NeedMore };
            if self.mode == Mode::Json && !self.scan.inside_token() {
                if b == b'\n' {
                    self.many_lines = true;
                    self.fresh = true;
                    self.margin = false;
                    self.line_begin = self.at + 1;
                } else if self.fresh && !b.is_ascii_whitespace() && self.first_of_line(b) {
                    return Turn::Again;
                }
            }
            match self.scan.step(b) {
                Step::More => {}
                Step::Done => {
                    self.at += 1;
                    if self.mode == Mode::Rest {
                        self.mode = Mode::Between;
                    } else {
                        self.lines |= !self.many_lines;
                        self.emit(self.at);
                    }
                    self.after_document = true;
                    return Turn::Again;
                }
                Step::Hits if self.mode == Mode::Json && !self.in_array => {
                    self.at += 1;
                    self.outer = Some(std::mem::take(&mut self.scan).after_hits());
                    self.in_array = true;
                    self.mode = Mode::Between;
                    return Turn::Again;
                }
                Step::Hits => {}
                Step::Bad => {
                    self.broken();
                    return Turn::Again;
                }
            }
            if !b.is_ascii_whitespace() {
                self.fresh = false;
            }
            self.at += 1;
        }
        Turn::NeedMore
    }

    /// At the first byte of a line inside a document. Among JSON lines a `{` here means that the document before was
    /// cut off. True when the record was ended.
    fn first_of_line(&mut self, b: u8) -> bool {
        if self.dropping || self.at - self.line_begin > self.column {
            return false;
        }
        self.margin = !is_continuation(b);
        if b != b'{' {
            return false;
        }
        if self.lines {
            self.cut_before(self.line_begin);
            return true;
        }
        self.candidate = self.candidate.or(Some(self.line_begin));
        false
    }

    /// The document cannot go on. Where it ends is a guess, made so that its neighbours stay whole:
    /// with its line, when it has no second one; before the first line inside it that looks like a record; before
    /// this line, when that starts like no JSON; else where the indentation ends.
    fn broken(&mut self) {
        if self.mode == Mode::Rest {
            self.begin(Mode::Text);
            self.dropping = true;
            self.in_array = false;
        } else if !self.many_lines || self.dropping {
            self.mode = Mode::Text;
        } else if let Some(candidate) = self.candidate {
            self.cut_before(candidate);
            self.lines = true;
        } else if self.margin {
            self.cut_before(self.line_begin);
            self.lines = true;
        } else {
            self.mode = Mode::Swallow;
        }
    }

    /// Looks for the end of a broken document of several lines.
    fn swallow(&mut self) -> Turn {
        let Some(newline) = self.newline_from(self.at) else {
            self.at = self.end();
            return Turn::NeedMore;
        };
        let begin = newline + 1;
        let rest = &self.buf[self.index(begin)..];
        let Some(indent) = rest.iter().position(|b| !matches!(b, b' ' | b'\t' | b'\r')) else {
            self.at = newline;
            return Turn::NeedMore;
        };
        let b = rest[indent];
        if b == b'\n' || indent as u64 > self.column {
            self.at = begin;
        } else if b == b'}' || (b == b']' && !self.in_array) {
            self.at = begin;
            self.mode = Mode::Text;
        } else if b == b'"' {
            self.at = begin;
        } else {
            self.cut_before(begin);
        }
        Turn::Again
    }
}

/// A byte that goes on with a document rather than starting a record.
fn is_continuation(b: u8) -> bool {
    matches!(b, b'}' | b']' | b'"' | b',' | b':')
}

fn too_long() -> String {
    format!("record longer than {MAX_RECORD} bytes; only its beginning is kept")
}
