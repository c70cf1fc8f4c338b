//! Server-sent events, read from bytes as they arrive.
//!
//! As <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream> has it: lines end in LF,
//! CR or CRLF, comments start with a colon, `data` lines of one event are joined by newlines. Pieces may be cut anywhere,
//! also inside a character or between CR and LF. `event`, `id` and `retry` mean nothing here and are dropped.

/// Longest line or event that is kept, in bytes.
const MAX: usize = 1 << 20;

/// The server sent an event longer than anything an answer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {MAX} bytes")]
pub struct TooLong;

#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    data: Vec<u8>,
    /// The event has a data line, perhaps an empty one.
    pending: bool,
    after_cr: bool,
    begun: bool,
}

impl Parser {
    /// Takes the next bytes and appends the data of every event they complete.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<String>) -> Result<(), TooLong> {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            // The second half of CRLF.
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', rest);
            let piece = &rest[..end.unwrap_or(rest.len())];
            if self.line.len() + piece.len() > MAX {
                return Err(TooLong);
            }
            self.line.extend_from_slice(piece);
            let Some(end) = end else { return Ok(()) };
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            self.end_of_line(out)?;
        }
        Ok(())
    }

    fn end_of_line(&mut self, out: &mut Vec<String>) -> Result<(), TooLong> {
        let whole = std::mem::take(&mut self.line);
        let result = self.take_line(&whole, out);
        self.line = whole;
        self.line.clear();
        result
    }

    fn take_line(&mut self, mut line: &[u8], out: &mut Vec<String>) -> Result<(), TooLong> {
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            if std::mem::take(&mut self.pending) {
                out.push(String::from_utf8_lossy(&self.data).into_owned());
                self.data.clear();
            }
            return Ok(());
        }
        let colon = line.iter().position(|b| *b == b':');
        let (name, value) = match colon {
            Some(i) => (&line[..i], &line[i + 1..]),
            None => (line, &b""[..]),
        };
        if name == b"data" {
            if std::mem::replace(&mut self.pending, true) {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            if self.data.len() > MAX {
                return Err(TooLong);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let (mut p, mut out) = (Parser::default(), Vec::new());
        for piece in pieces {
            p.push(piece, &mut out).unwrap();
        }
        out
    }

    #[test]
    fn events_comments_and_line_ends() {
        let text = b"\xef\xbb\xbf: ping\r\ndata: one\r\n\r\nevent: x\nid: 3\ndata:two\ndata: three\n\nretry: 10\n\ndata\r\rdata: [DONE]\n\n";
        assert_eq!(read(&[text]), ["one", "two\nthree", "", "[DONE]"]);
        assert_eq!(read(&[b"data: cut off\n"]), Vec::<String>::new());
    }

    #[test]
    fn too_long_is_an_error_not_memory() {
        let (mut p, mut out) = (Parser::default(), Vec::new());
        let piece = vec![b'x'; 64 * 1024];
        assert!((0..32).any(|_| p.push(&piece, &mut out) == Err(TooLong)));
        let (mut p, mut out) = (Parser::default(), Vec::new());
        let line = [b"data: ".as_slice(), &piece, b"\n"].concat();
        assert!((0..32).any(|_| p.push(&line, &mut out) == Err(TooLong)));
    }

    proptest::proptest! {
        /// However the bytes are cut, the same events come out.
        #[test]
        fn cuts_do_not_matter(texts in proptest::collection::vec("[^\r\n\u{feff}]{0,12}", 1..6), end in 0usize..3, cuts in proptest::collection::vec(1usize..9, 0..80)) {
            let nl = ["\n", "\r\n", "\r"][end];
            let whole: String = texts.iter().map(|t| format!("data: {t}{nl}: c{nl}{nl}")).collect();
            let (mut p, mut out, mut rest) = (Parser::default(), Vec::new(), whole.as_bytes());
            for c in cuts {
                let (a, b) = rest.split_at(c.min(rest.len()));
                p.push(a, &mut out).unwrap();
                rest = b;
            }
            p.push(rest, &mut out).unwrap();
            proptest::prop_assert_eq!(out, texts);
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(0u8.., 0..400)) {
            let _ = Parser::default().push(&bytes, &mut Vec::new());
        }
    }
}
