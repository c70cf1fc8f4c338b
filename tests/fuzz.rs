//! Fuzz targets of everything that reads foreign bytes. Under `cargo test` each runs for a moment on random input;
//! `cargo bolero test NAME` runs one for long.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_macros,
    reason = "a test says what it missed by panicking"
)]

#[path = "fuzz/drafts.rs"]
mod drafts;
#[path = "fuzz/platform.rs"]
mod platform;
#[path = "fuzz/respond.rs"]
mod respond;
mod samples;

use std::collections::BTreeMap;

use bolero::{TypeGenerator, check};
use watchfloor::intake::format::{self, Reader, Record, Splitter};
use watchfloor::model::alert::AlertFields;
use watchfloor::text::{self, Untrusted};

/// A sample with some of its bytes changed, so that the input gets past the first look.
#[derive(Clone, Debug, TypeGenerator)]
struct Mutant {
    sample: u8,
    edits: Vec<Edit>,
}

#[derive(Clone, Debug, TypeGenerator)]
enum Edit {
    Byte(u16, u8),
    /// Puts one of the characters that mean something to a parser.
    Meaning(u16, u8),
    Cut(u16, u8),
    Repeat(u16, u8, u8),
    Insert(u16, Vec<u8>),
}

const MEANING: &[u8] = b"{}[]\",:\\|=<>%- \n\t\0T^/.";

impl Mutant {
    fn bytes(&self) -> (&'static str, Vec<u8>) {
        let samples = samples::all();
        let (format, record) = samples[usize::from(self.sample) % samples.len()];
        (format, self.changed(record))
    }

    fn changed(&self, sample: &str) -> Vec<u8> {
        let mut bytes = sample.as_bytes().to_vec();
        for edit in self.edits.iter().take(16) {
            let place = |at: u16, len: usize| usize::from(at) % len.max(1);
            let len = bytes.len();
            match edit {
                _ if len == 0 => {}
                Edit::Byte(at, b) => bytes[place(*at, len)] = *b,
                Edit::Meaning(at, b) => bytes[place(*at, len)] = MEANING[usize::from(*b) % MEANING.len()],
                Edit::Cut(at, n) => {
                    let at = place(*at, len);
                    bytes.drain(at..(at + usize::from(*n)).min(len));
                }
                Edit::Repeat(at, n, times) => {
                    let at = place(*at, len);
                    let part = bytes[at..(at + usize::from(*n)).min(len)].repeat(usize::from(*times % 16));
                    bytes.splice(at..at, part);
                }
                Edit::Insert(at, new) => {
                    let at = place(*at, len);
                    bytes.splice(at..at, new.iter().copied().take(256));
                }
            }
        }
        bytes
    }
}

/// What must hold of whatever a parser makes.
fn sane(alerts: &[AlertFields]) {
    for f in alerts {
        assert!(f.observables.len() <= 256 && f.techniques.len() <= 64);
        assert!(f.confidence.is_none_or(|c| c <= 100));
        assert!(f.src_port != Some(0) && f.dst_port != Some(0));
        for text in [&f.rule_id, &f.rule_name, &f.host, &f.user, &f.process, &f.command_line, &f.source_id, &f.product]
        {
            let long = text.as_ref().is_some_and(|t| t.expose().len() > 9000 || t.is_empty());
            assert!(!long, "{f:?}");
        }
    }
}

fn read_all(bytes: &[u8]) {
    for format in format::all() {
        let mut reader = Reader::new(Some(format.id()), &BTreeMap::new()).expect("known");
        if let Ok((_, alerts)) = reader.read(bytes) {
            sane(&alerts);
        }
        let _ = format::leaves(format.id(), bytes);
    }
}

#[test]
fn fuzz_parsers_on_bytes() {
    check!().with_iterations(2000).for_each(|bytes: &[u8]| {
        read_all(bytes);
        let _ = Reader::auto().read(bytes);
    });
}

#[test]
fn fuzz_parsers_on_changed_samples() {
    check!().with_iterations(4000).with_type::<Mutant>().for_each(|mutant| {
        let (format, bytes) = mutant.bytes();
        let mut reader = Reader::new(Some(format), &BTreeMap::new()).expect("known");
        if let Ok((_, alerts)) = reader.read(&bytes) {
            sane(&alerts);
        }
        if let Ok((_, alerts)) = Reader::auto().read(&bytes) {
            sane(&alerts);
        }
        let _ = format::leaves(format, &bytes);
    });
}

#[test]
fn fuzz_field_map() {
    let map = ["title", "host", "severity", "techniques", "src_ip", "t_event", "sha256"];
    check!().with_iterations(2000).with_type::<(Vec<String>, Mutant)>().for_each(|(paths, mutant)| {
        let map = map.iter().zip(paths).map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        let maps = BTreeMap::from([("m".to_owned(), map)]);
        if let Ok(mut reader) = Reader::new(Some("generic"), &maps)
            && let Ok((_, alerts)) = reader.read(&mutant.bytes().1)
        {
            sane(&alerts);
        }
    });
}

fn split(bytes: &[u8], piece: usize) -> Vec<Record> {
    let mut splitter = Splitter::new();
    let mut out = Vec::new();
    for chunk in bytes.chunks(piece.max(1)) {
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

fn check_split(bytes: &[u8], piece: usize) {
    let records = split(bytes, bytes.len());
    assert_eq!(records, split(bytes, piece));
    let mut end = 0;
    let mut gaps = Vec::new();
    for r in &records {
        let at = r.offset as usize;
        assert!(at >= end && !r.bytes.is_empty());
        assert_eq!(r.bytes, &bytes[at..at + r.bytes.len()]);
        let lines = bytes[..at].iter().filter(|b| **b == b'\n').count() as u64;
        assert_eq!(r.line, Some(lines + 1));
        gaps.extend_from_slice(&bytes[end..at]);
        end = at + r.bytes.len();
    }
    gaps.extend_from_slice(&bytes[end..]);
    // Nothing is lost between records but what separates them; only a search answer has words around its hits.
    if !bytes.windows(6).any(|w| w == b"\"hits\"") {
        let lost = gaps
            .iter()
            .find(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b'\x0c' | b',' | b'[' | b']' | 0xef | 0xbb | 0xbf));
        assert!(lost.is_none(), "lost {lost:?} of {:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn fuzz_splitter_on_bytes() {
    check!().with_iterations(3000).with_type::<(Vec<u8>, u8)>().for_each(|(bytes, piece)| {
        check_split(bytes, usize::from(*piece % 9) + 1);
    });
}

/// Streams made of the pieces that matter to the splitter.
#[test]
fn fuzz_splitter_on_pieces() {
    const PIECES: &[&str] = &[
        "{\"a\":1}",
        "{\"b\":[1,2,{\"c\":null}]}",
        "\n",
        "\n",
        "\r\n",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\"",
        "\\",
        ":",
        " ",
        "  \"k\": ",
        "text line",
        "Jun  1 00:00:01 h x: y",
        "{\"hits\":{\"hits\":[",
        "]}}",
        "{\"_id\":\"x\"}",
        "\n{",
        "\n  {\n",
        "\n}\n",
        "true",
        "-1.5e3",
        "oops",
        "\u{feff}",
    ];
    check!().with_iterations(6000).with_type::<(Vec<u8>, u8)>().for_each(|(choice, piece)| {
        let stream: String = choice.iter().map(|c| PIECES[usize::from(*c) % PIECES.len()]).collect();
        check_split(stream.as_bytes(), usize::from(*piece % 9) + 1);
    });
}

#[test]
fn fuzz_clean() {
    check!().with_iterations(4000).for_each(|bytes: &[u8]| {
        let text = Untrusted::new(String::from_utf8_lossy(bytes));
        for (block, shown) in [(false, text::clean(&text)), (true, text::clean_block(&text))] {
            let shown = shown.as_str();
            assert!(!shown.chars().any(|c| text::is_hidden(c) && !(block && c == '\n')));
            let again = Untrusted::new(shown);
            let twice = if block { text::clean_block(&again) } else { text::clean(&again) };
            assert_eq!(twice.as_str(), shown);
        }
    });
}

#[test]
fn fuzz_defang() {
    check!().with_iterations(4000).for_each(|bytes: &[u8]| {
        let text = Untrusted::new(String::from_utf8_lossy(bytes));
        let once = text::defang(&text);
        let twice = text::defang(&Untrusted::new(once.as_str()));
        assert_eq!(once.as_str(), twice.as_str());
        let _ = text::refang(&text);
    });
}

/// Header of a model file: from a stranger, and read before anything vouches for it.
#[test]
fn fuzz_model_header() {
    use watchfloor::desk::models::gguf;
    check!().with_iterations(3000).for_each(|bytes: &[u8]| {
        let _ = gguf::read(bytes, bytes.len() as u64);
        let behind = [b"GGUF\x03\0\0\0", bytes].concat();
        let _ = gguf::peek(&behind);
        // One value and one tensor, so that the input gets past the counts.
        let deeper = [b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0", bytes].concat();
        let (whole, longer) = (gguf::read(&deeper[..], deeper.len() as u64), gguf::read(&deeper[..], u64::MAX));
        assert!(whole.is_err() || longer.is_ok(), "a longer file is not cut off");
    });
}

/// Playbooks come from strangers: bytes, and one that ships with some of its bytes changed, in both forms.
#[test]
fn fuzz_playbooks() {
    use std::path::Path;
    use watchfloor::playbook::{Document, Library, condition, lint, sheet, short};
    fn whole(doc: &Document) {
        let found = lint::lint(doc, Some(&|_| false));
        assert!(found.len() <= 1000);
        let sheet = sheet::markdown(&doc.view("x"), None);
        assert!(!sheet.chars().any(|c| text::is_hidden(c) && c != '\n'), "{sheet:?}");
        let toml = short::to_toml(doc).expect("any document can be written");
        let back = short::from_toml(Path::new("x.toml"), &toml).expect("what we wrote we read");
        assert_eq!(back.json(), doc.json());
    }
    let library = Library::bundled();
    let samples: Vec<Vec<u8>> =
        library.items().iter().take(5).map(|i| serde_json::to_vec(i.document.json()).expect("json")).collect();
    check!().with_iterations(1000).with_type::<(u8, Vec<(u16, u8)>, Vec<u8>)>().for_each(|(which, edits, bytes)| {
        let mut changed = samples[usize::from(*which) % samples.len()].clone();
        for (at, with) in edits.iter().take(8) {
            let at = usize::from(*at) % changed.len();
            changed[at] = *with;
        }
        for bytes in [&changed, bytes] {
            if let Ok(doc) = Document::read(bytes) {
                whole(&doc);
            }
            let text = String::from_utf8_lossy(bytes);
            if let Ok(doc) = short::from_toml(Path::new("x.toml"), &text) {
                whole(&doc);
            }
            if let Ok(e) = condition::parse(&text) {
                let _ = e.holds(&|_| None);
            }
        }
    });
}
