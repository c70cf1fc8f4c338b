//! How a stream is cut into records.

use watchfloor::intake::format::{self, Reader, Record, Splitter};

/// Cuts bytes into records, pushed in pieces of `piece` bytes.
pub fn split(bytes: &[u8], piece: usize) -> Vec<Record> {
    let mut splitter = Splitter::new();
    let mut out = Vec::new();
    for chunk in bytes.chunks(piece) {
        splitter.push(chunk);
        while let Some(r) = splitter.next() {
            out.push(r);
        }
    }
    while let Some(r) = splitter.finish() {
        out.push(r);
    }
    out
}

/// Records as text, with the line they start on.
fn cut(text: &str) -> Vec<(String, u64)> {
    let records = split(text.as_bytes(), text.len().max(1));
    for piece in 1..8 {
        assert_eq!(records, split(text.as_bytes(), piece), "in pieces of {piece}: {text:?}");
    }
    records.into_iter().map(|r| (String::from_utf8(r.bytes).expect("utf8"), r.line.expect("line"))).collect()
}

#[track_caller]
fn cuts(text: &str, want: &[(&str, u64)]) {
    let want: Vec<_> = want.iter().map(|(t, l)| ((*t).to_owned(), *l)).collect();
    assert_eq!(cut(text), want, "{text:?}");
}

#[test]
fn streams_are_cut_into_records() {
    cuts("", &[]);
    cuts("\n \n", &[]);
    cuts("{\"a\":1}\n{\"b\":2}\n", &[("{\"a\":1}", 1), ("{\"b\":2}", 2)]);
    cuts("{\"a\":1}\r\n\r\n{\"b\":2}", &[("{\"a\":1}", 1), ("{\"b\":2}", 3)]);
    cuts("{\"a\":1}{\"b\":2} ,{\"c\":3}", &[("{\"a\":1}", 1), ("{\"b\":2}", 1), ("{\"c\":3}", 1)]);
    cuts("\u{feff}{\"a\":1}", &[("{\"a\":1}", 1)]);
    cuts(
        "{\n \"a\": {\n  \"b\": \"}{\"\n }\n}\n{\n \"c\": 1\n}\n",
        &[("{\n \"a\": {\n  \"b\": \"}{\"\n }\n}", 1), ("{\n \"c\": 1\n}", 6)],
    );
    cuts("[{\"a\":1},{\"b\":[2]}]", &[("{\"a\":1}", 1), ("{\"b\":[2]}", 1)]);
    cuts(
        "[\n  {\n    \"a\": 1\n  },\n  {\"b\": 2}\n]\nJun  1 00:00:01 h x: y\n",
        &[("{\n    \"a\": 1\n  }", 2), ("{\"b\": 2}", 5), ("Jun  1 00:00:01 h x: y", 7)],
    );
    cuts("[]\n[12.5] kernel: up\nplain text\r\n", &[("[12.5] kernel: up", 2), ("plain text", 3)]);
    cuts(
        "{\"took\":1,\"hits\":{\"total\":2,\"hits\":[{\"_id\":\"a\"},\n{\"_id\":\"b\"}],\"x\":{}},\"hits2\":[1]}\n{\"z\":1}",
        &[("{\"_id\":\"a\"}", 1), ("{\"_id\":\"b\"}", 2), ("{\"z\":1}", 3)],
    );
    cuts("{\"alerts\":[\n{\"a\":1},\n{\"b\":2}\n]}\n", &[("{\"alerts\":[\n{\"a\":1},\n{\"b\":2}\n]}", 1)]);
}

#[test]
fn a_broken_record_swallows_no_neighbour() {
    let good = ("{\"g\":1}", 1);
    // Cut off in a string, in a key, after a colon, in an array, mid-word; garbage; a missing brace; a stray one.
    for bad in [
        "{\"a\":\"x",
        "{\"a",
        "{\"a\":",
        "{\"a\":[1,",
        "{\"a\":{\"b\":1",
        "{\"a\":tr",
        "{bad}",
        "{\"a\":1",
        "}",
        "{\"a\" 1}",
        "{\"a\":1,",
    ] {
        cuts(
            &format!("{{\"g\":1}}\n{bad}\n{{\"h\":2}}\n{{\"i\":3}}\n"),
            &[good, (bad, 2), ("{\"h\":2}", 3), ("{\"i\":3}", 4)],
        );
        cuts(&format!("{bad}\n{{\"h\":2}}\n{{\"i\":3}}\n"), &[(bad, 1), ("{\"h\":2}", 2), ("{\"i\":3}", 3)]);
        cuts(&format!("{{\"g\":1}}\n{bad}"), &[good, (bad, 2)]);
    }
    cuts("{\"g\":1}\n{\"a\":\nJun  1 00:00:01 h x: y\n", &[good, ("{\"a\":", 2), ("Jun  1 00:00:01 h x: y", 3)]);
    // A pretty-printed document with a trailing comma is one broken record.
    cuts("{\n  \"a\": 1,\n}\n{\n  \"b\": 1\n}\n", &[("{\n  \"a\": 1,\n}", 1), ("{\n  \"b\": 1\n}", 4)]);
    cuts(
        "{\n  \"a\": oops oops,\n  \"b\": [\n    1\n  ]\n}\n{\"c\":1}\n",
        &[("{\n  \"a\": oops oops,\n  \"b\": [\n    1\n  ]\n}", 1), ("{\"c\":1}", 7)],
    );
    cuts(
        "[\n{\"a\":1},\n{\"b\":oops oops},\n{\"c\":3}\n]",
        &[("{\"a\":1}", 2), ("{\"b\":oops oops}", 3), ("{\"c\":3}", 4)],
    );
}

#[test]
fn a_record_over_the_limit_is_an_error_and_the_next_is_read() {
    for long in [format!("{{\"a\":\"{}\"}}", "x".repeat(format::MAX_RECORD)), "y".repeat(format::MAX_RECORD + 10)] {
        let stream = format!("{{\"g\":1}}\n{long}\n{{\"h\":2}}\n");
        for piece in [stream.len(), 1 << 20] {
            let records = split(stream.as_bytes(), piece);
            assert_eq!(records.len(), 3);
            assert!(records[1].error.is_some() && records[1].bytes.len() == format::MAX_RECORD + 1);
            assert!(Reader::auto().read(&records[1].bytes).is_err());
            assert_eq!((records[2].bytes.as_slice(), records[2].line), (&b"{\"h\":2}"[..], Some(3)));
        }
    }
}
