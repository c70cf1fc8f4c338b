//! The header of a GGUF file: what a model says of itself, without loading it.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3, little endian. Files come from
//! strangers: every length is checked against the file before it is believed, and nothing is kept but a few short
//! values. What the header says (a licence, a name) is the word of whoever made the file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use serde::Serialize;

use crate::text::Untrusted;

/// Bytes of a header at most; the largest vocabularies take about 20 MB.
const MAX_HEADER: u64 = 512 << 20;
const MAX_VALUES: u64 = 1 << 16;
const MAX_TENSORS: u64 = 1 << 17;
/// The format's own limit of a key.
const MAX_KEY: u64 = 65_535;
const MAX_NESTING: u32 = 4;
const MAX_DIMENSIONS: u32 = 8;
/// Bytes of a text value that are kept.
const KEPT: u64 = 512;
const ALIGNMENT: u64 = 32;

#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    #[error("it is no GGUF file: it does not begin with the letters GGUF")]
    NotGguf,
    #[error("its GGUF version is {0}, expected 2 or 3 (little endian)")]
    Version(u32),
    /// The file ends inside its header or before its last tensor.
    #[error("it is cut off: {what} needs {need} bytes, the file has {have}")]
    CutOff { what: &'static str, need: u64, have: u64 },
    #[error("its header is damaged at byte {at}: {what}")]
    Damaged { at: u64, what: &'static str },
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// What a model says of itself. `None`: it does not say.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Header {
    pub version: u32,
    pub tensors: u64,
    pub architecture: Option<Untrusted>,
    pub name: Option<Untrusted>,
    pub licence: Option<Untrusted>,
    /// Weights in all tensors, counted from their shapes.
    pub parameters: Option<u64>,
    /// As llama.cpp names it, such as `Q4_K_M`.
    pub quantisation: Option<String>,
    /// Tokens the model was made for.
    pub context_length: Option<u64>,
    pub chat_template: bool,
    /// Bytes of key-value cache one token takes at 16 bits a value.
    pub cache_bytes_per_token: Option<u64>,
    /// Files the model is split into; 1 for a whole one.
    pub parts: u64,
}

/// Reads the header of a whole file, and checks that the file is long enough for every tensor in it.
///
/// # Errors
/// Not GGUF, cut off, damaged, unreadable.
pub fn read_file(path: &Path) -> Result<Header, GgufError> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    read(BufReader::with_capacity(256 * 1024, file), len)
}

/// As [`read_file`], from anything that is `len` bytes long.
///
/// # Errors
/// As [`read_file`].
pub fn read(from: impl Read, len: u64) -> Result<Header, GgufError> {
    let (header, end) = scan(from, len);
    end.map(|()| header)
}

/// What the first bytes of a file say, as far as they go. `None` when it is no GGUF file.
pub fn peek(front: &[u8]) -> Option<Header> {
    match scan(front, front.len() as u64) {
        (_, Err(GgufError::NotGguf | GgufError::Version(_))) => None,
        (header, _) => Some(header),
    }
}

/// Reads as far as it goes.
fn scan(from: impl Read, len: u64) -> (Header, Result<(), GgufError>) {
    let mut scan =
        Scan { from, at: 0, len, header: Header { parts: 1, ..Header::default() }, numbers: BTreeMap::new() };
    let end = scan.run();
    scan.conclude();
    (scan.header, end)
}

struct Scan<R> {
    from: R,
    at: u64,
    len: u64,
    header: Header,
    /// Numbers whose key ends in one of [`NUMBERS`]; of an array, the sum and the count.
    numbers: BTreeMap<String, (u64, u64)>,
}

const NUMBERS: &[&str] = &[
    "general.file_type",
    "general.alignment",
    "split.count",
    ".context_length",
    ".block_count",
    ".embedding_length",
    ".attention.head_count",
    ".attention.head_count_kv",
    ".attention.key_length",
    ".attention.value_length",
];

impl<R: Read> Scan<R> {
    fn run(&mut self) -> Result<(), GgufError> {
        if self.len < 4 || self.bytes::<4>("the magic")? != *b"GGUF" {
            return Err(GgufError::NotGguf);
        }
        self.header.version = self.u32()?;
        if !matches!(self.header.version, 2 | 3) {
            return Err(GgufError::Version(self.header.version));
        }
        let tensors = self.u64()?;
        let values = self.u64()?;
        if tensors > MAX_TENSORS {
            return Err(self.damaged("more tensors than any model has"));
        }
        if values > MAX_VALUES {
            return Err(self.damaged("more values than any model has"));
        }
        self.header.tensors = tensors;
        for _ in 0..values {
            let key = self.text(MAX_KEY, "a key")?;
            let kind = self.u32()?;
            self.value(&key, kind)?;
        }
        self.tensors(tensors)
    }

    fn value(&mut self, key: &str, kind: u32) -> Result<(), GgufError> {
        match kind {
            STRING => {
                let text = self.text(u64::MAX, "a value")?;
                self.keep_text(key, text);
            }
            ARRAY => self.array(key, 0)?,
            _ => {
                let n = self.number(kind)?;
                if let Some(n) = n.filter(|_| wanted(key)) {
                    self.numbers.insert(key.to_owned(), (n, 1));
                }
            }
        }
        Ok(())
    }

    fn keep_text(&mut self, key: &str, text: String) {
        let h = &mut self.header;
        let slot = match key {
            "general.architecture" => &mut h.architecture,
            "general.name" => &mut h.name,
            "general.license" => &mut h.licence,
            "tokenizer.chat_template" => {
                h.chat_template = !text.is_empty();
                return;
            }
            _ => return,
        };
        *slot = Some(Untrusted::new(text)).filter(|t| !t.expose().trim().is_empty());
    }

    fn array(&mut self, key: &str, depth: u32) -> Result<(), GgufError> {
        let kind = self.u32()?;
        let count = self.u64()?;
        if depth >= MAX_NESTING {
            return Err(self.damaged("arrays nested too deep"));
        }
        match (kind, size_of(kind)) {
            // Each element takes eight bytes at least, so that a count beyond the file ends at once.
            (STRING | ARRAY, _) => {
                self.need(count.saturating_mul(8), "an array")?;
                for _ in 0..count {
                    if kind == STRING { self.skip_text()? } else { self.array(key, depth + 1)? }
                }
            }
            (_, Some(size)) if wanted(key) && count <= 4096 => {
                self.need(count * size, "an array")?;
                let mut sum = 0u64;
                for _ in 0..count {
                    sum = sum.saturating_add(self.number(kind)?.unwrap_or(0));
                }
                self.numbers.insert(key.to_owned(), (sum, count.max(1)));
            }
            (_, Some(size)) => self.skip(count.saturating_mul(size), "an array")?,
            (_, None) => return Err(self.damaged("an unknown type of value")),
        }
        Ok(())
    }

    /// A whole number, or `None` for a fraction or a negative one.
    fn number(&mut self, kind: u32) -> Result<Option<u64>, GgufError> {
        let wide = match size_of(kind) {
            Some(1) => u64::from(self.bytes::<1>("a value")?[0]),
            Some(2) => u64::from(u16::from_le_bytes(self.bytes("a value")?)),
            Some(4) => u64::from(u32::from_le_bytes(self.bytes("a value")?)),
            Some(_) => u64::from_le_bytes(self.bytes("a value")?),
            None => return Err(self.damaged("an unknown type of value")),
        };
        let bits = size_of(kind).unwrap_or(8) * 8;
        Ok(match kind {
            I8 | I16 | I32 | I64 if wide >> (bits - 1) != 0 => None,
            F32 | F64 => None,
            _ => Some(wide),
        })
    }

    fn tensors(&mut self, count: u64) -> Result<(), GgufError> {
        let (mut weights, mut end, mut by_kind) = (0u64, 0u64, BTreeMap::<u32, u64>::new());
        for _ in 0..count {
            self.skip_text()?;
            let dimensions = self.u32()?;
            if dimensions > MAX_DIMENSIONS {
                return Err(self.damaged("a tensor of too many dimensions"));
            }
            let mut n = 1u64;
            for _ in 0..dimensions {
                let d = self.u64()?;
                n = n.checked_mul(d).ok_or_else(|| self.damaged("a tensor larger than any file"))?;
            }
            let kind = self.u32()?;
            let offset = self.u64()?;
            weights = weights.saturating_add(n);
            let of_kind = by_kind.entry(kind).or_default();
            *of_kind = of_kind.saturating_add(n);
            if let Some((block, bytes)) = blocks(kind) {
                let last = n.div_ceil(block).checked_mul(bytes).and_then(|size| size.checked_add(offset));
                end = end.max(last.ok_or_else(|| self.damaged("a tensor larger than any file"))?);
            }
        }
        self.header.parameters = Some(weights).filter(|n| *n > 0);
        let align = self.numbers.get("general.alignment").map_or(ALIGNMENT, |n| n.0);
        if !align.is_power_of_two() || align > 1 << 20 {
            return Err(self.damaged("an alignment that is no power of two"));
        }
        let need = self.at.div_ceil(align).saturating_mul(align).saturating_add(end);
        if count > 0 && need > self.len {
            return Err(GgufError::CutOff { what: "its last tensor", need, have: self.len });
        }
        if !self.numbers.contains_key("general.file_type") {
            let most = by_kind.iter().max_by_key(|(_, n)| **n).and_then(|(kind, _)| type_name(*kind));
            self.header.quantisation = most.map(str::to_owned);
        }
        Ok(())
    }

    /// Puts together what was read, in whatever order it came.
    fn conclude(&mut self) {
        let arch = self.header.architecture.as_ref().map_or("", |a| a.expose()).to_owned();
        let of = |key: &str| self.numbers.get(&format!("{arch}.{key}")).copied();
        self.header.context_length = of("context_length").map(|n| n.0);
        if let Some(kind) = self.numbers.get("general.file_type") {
            self.header.quantisation = file_type(kind.0).map(str::to_owned);
        }
        self.header.parts = self.numbers.get("split.count").map_or(1, |n| n.0.max(1));
        let (Some((layers, _)), Some((width, _)), Some((heads, of_heads))) =
            (of("block_count"), of("embedding_length"), of("attention.head_count"))
        else {
            return;
        };
        let head_width = width.checked_div(heads / of_heads.max(1)).unwrap_or(0);
        let key = of("attention.key_length").map_or(head_width, |n| n.0);
        let value = of("attention.value_length").map_or(head_width, |n| n.0);
        // One number for all layers, or one for each.
        let all_heads = match of("attention.head_count_kv") {
            Some((sum, n)) if n > 1 => sum,
            Some((each, _)) => each.saturating_mul(layers),
            None => (heads / of_heads.max(1)).saturating_mul(layers),
        };
        let bytes = all_heads.saturating_mul(key.saturating_add(value)).saturating_mul(2);
        self.header.cache_bytes_per_token = Some(bytes).filter(|b| (1..1 << 30).contains(b));
    }

    fn need(&self, n: u64, what: &'static str) -> Result<(), GgufError> {
        let end = self.at.saturating_add(n);
        if end > self.len {
            return Err(GgufError::CutOff { what, need: end, have: self.len });
        }
        if end > MAX_HEADER {
            return Err(self.damaged("a header longer than any model has"));
        }
        Ok(())
    }

    fn bytes<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        self.need(N as u64, what)?;
        let mut out = [0; N];
        self.from.read_exact(&mut out)?;
        self.at += N as u64;
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.bytes("the header")?))
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.bytes("the header")?))
    }

    fn skip(&mut self, n: u64, what: &'static str) -> Result<(), GgufError> {
        self.need(n, what)?;
        let gone = io::copy(&mut self.from.by_ref().take(n), &mut io::sink())?;
        self.at += gone;
        if gone < n { Err(GgufError::CutOff { what, need: self.at + n - gone, have: self.at }) } else { Ok(()) }
    }

    fn skip_text(&mut self) -> Result<(), GgufError> {
        let n = self.u64()?;
        self.skip(n, "a text")
    }

    /// The front of a text; the rest is passed over.
    fn text(&mut self, max: u64, what: &'static str) -> Result<String, GgufError> {
        let n = self.u64()?;
        if n > max {
            return Err(self.damaged("a key longer than the format allows"));
        }
        self.need(n, what)?;
        let mut kept = Vec::new();
        self.from.by_ref().take(n.min(KEPT)).read_to_end(&mut kept)?;
        self.at += kept.len() as u64;
        self.skip(n - kept.len() as u64, what)?;
        Ok(String::from_utf8_lossy(&kept).into_owned())
    }

    fn damaged(&self, what: &'static str) -> GgufError {
        GgufError::Damaged { at: self.at, what }
    }
}

fn wanted(key: &str) -> bool {
    NUMBERS.iter().any(|n| if n.starts_with('.') { key.ends_with(n) } else { key == *n })
}

const I8: u32 = 1;
const I16: u32 = 3;
const I32: u32 = 5;
const F32: u32 = 6;
const STRING: u32 = 8;
const ARRAY: u32 = 9;
const I64: u32 = 11;
const F64: u32 = 12;

/// Bytes of a value of this type (`gguf_metadata_value_type`).
fn size_of(kind: u32) -> Option<u64> {
    match kind {
        0 | I8 | 7 => Some(1),
        2 | I16 => Some(2),
        4 | I32 | F32 => Some(4),
        10 | I64 | F64 => Some(8),
        _ => None,
    }
}

/// Weights in a block and bytes it takes, by tensor type (`ggml_type` and the blocks of ggml-common.h).
fn blocks(kind: u32) -> Option<(u64, u64)> {
    TYPES.iter().find(|t| t.0 == kind).map(|t| (t.2, t.3))
}

fn type_name(kind: u32) -> Option<&'static str> {
    TYPES.iter().find(|t| t.0 == kind).map(|t| t.1)
}

const TYPES: &[(u32, &str, u64, u64)] = &[
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (9, "Q8_1", 32, 36),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
];

/// `llama_ftype` of llama.h.
fn file_type(n: u64) -> Option<&'static str> {
    Some(match n {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        21 => "Q2_K_S",
        22 => "IQ3_XS",
        23 => "IQ3_XXS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        36 => "TQ1_0",
        37 => "TQ2_0",
        38 => "MXFP4",
        _ => return None,
    })
}

#[cfg(test)]
#[path = "gguf_tests.rs"]
mod tests;
