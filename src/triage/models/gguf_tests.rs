use proptest::prelude::*;

use super::*;

/// Writes small GGUF files.
#[derive(Default)]
struct Maker {
    values: Vec<u8>,
    count: u64,
    tensors: Vec<u8>,
    tensor_count: u64,
    data: usize,
}

impl Maker {
    fn key(&mut self, key: &str, kind: u32) -> &mut Self {
        self.count += 1;
        put(&mut self.values, key);
        self.values.extend(kind.to_le_bytes());
        self
    }

    fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.key(key, STRING);
        put(&mut self.values, value);
        self
    }

    fn number(&mut self, key: &str, value: u32) -> &mut Self {
        self.key(key, 4);
        self.values.extend(value.to_le_bytes());
        self
    }

    fn numbers(&mut self, key: &str, values: &[u32]) -> &mut Self {
        self.key(key, ARRAY);
        self.values.extend(4u32.to_le_bytes());
        self.values.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|v| self.values.extend(v.to_le_bytes()));
        self
    }

    fn tensor(&mut self, shape: &[u64], kind: u32, bytes: usize) -> &mut Self {
        self.tensor_count += 1;
        put(&mut self.tensors, "t");
        self.tensors.extend((shape.len() as u32).to_le_bytes());
        shape.iter().for_each(|d| self.tensors.extend(d.to_le_bytes()));
        self.tensors.extend(kind.to_le_bytes());
        self.tensors.extend((self.data as u64).to_le_bytes());
        self.data += bytes.next_multiple_of(32);
        self
    }

    fn done(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend(self.tensor_count.to_le_bytes());
        out.extend(self.count.to_le_bytes());
        out.extend(&self.values);
        out.extend(&self.tensors);
        out.resize(out.len().next_multiple_of(32) + self.data, 7);
        out
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn model() -> Vec<u8> {
    Maker::default()
        .text("general.architecture", "llama")
        .text("general.name", "Tiny")
        .text("general.license", "apache-2.0")
        .number("general.file_type", 15)
        .number("llama.context_length", 8192)
        .number("llama.block_count", 30)
        .number("llama.embedding_length", 576)
        .number("llama.attention.head_count", 9)
        .number("llama.attention.head_count_kv", 3)
        .text("tokenizer.chat_template", "{{ messages }}")
        .numbers("tokenizer.ggml.token_type", &[1, 2, 3])
        .tensor(&[256, 4], 12, 4 * 144)
        .tensor(&[10], 0, 40)
        .done()
}

fn read_all(bytes: &[u8]) -> Result<Header, GgufError> {
    read(bytes, bytes.len() as u64)
}

#[test]
fn a_model_says_what_it_is() {
    let h = read_all(&model()).unwrap();
    assert_eq!(h.architecture, Some("llama".into()));
    assert_eq!((h.name, h.licence), (Some("Tiny".into()), Some("apache-2.0".into())));
    assert_eq!((h.parameters, h.quantisation.as_deref()), (Some(1034), Some("Q4_K_M")));
    assert_eq!((h.context_length, h.chat_template, h.parts), (Some(8192), true, 1));
    // 30 layers of 3 heads, 64 wide, a key and a value of two bytes each.
    assert_eq!(h.cache_bytes_per_token, Some(30 * 3 * 64 * 2 * 2));
}

#[test]
fn order_does_not_matter_and_heads_may_differ_by_layer() {
    let bytes = Maker::default()
        .numbers("x.attention.head_count_kv", &[4, 0, 2])
        .number("x.block_count", 3)
        .number("x.embedding_length", 64)
        .number("x.attention.head_count", 4)
        .number("x.attention.key_length", 32)
        .number("x.attention.value_length", 16)
        .number("split.count", 3)
        .text("general.architecture", "x")
        .tensor(&[32], 2, 18)
        .done();
    let h = read_all(&bytes).unwrap();
    assert_eq!(h.cache_bytes_per_token, Some(6 * (32 + 16) * 2));
    assert_eq!((h.parts, h.quantisation.as_deref()), (3, Some("Q4_0")));
}

#[test]
fn every_cut_is_noticed_and_a_front_says_what_it_holds() {
    let whole = model();
    for end in 0..whole.len() - 32 {
        assert!(read_all(&whole[..end]).is_err(), "cut at {end}");
    }
    let front = peek(&whole[..200]).unwrap();
    assert_eq!((front.licence, front.chat_template), (Some("apache-2.0".into()), false));
    assert_eq!(peek(b"<html>404</html>"), None);
    assert!(matches!(read_all(b""), Err(GgufError::NotGguf)));
    assert!(matches!(read_all(b"GGUF\x01\0\0\0aaaaaaaaaaaaaaaaaa"), Err(GgufError::Version(1))));
    assert!(matches!(read_all(b"GGUF\0\0\0\x03aaaaaaaaaaaaaaaaaa"), Err(GgufError::Version(_))), "big endian");
}

#[test]
fn lengths_are_not_believed() {
    let huge = u64::MAX.to_le_bytes();
    let head = |tensors: u64, values: u64| {
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        out.extend(tensors.to_le_bytes());
        out.extend(values.to_le_bytes());
        out
    };
    let with = |mut a: Vec<u8>, parts: &[&[u8]]| {
        parts.iter().for_each(|p| a.extend(*p));
        a
    };
    let key: &[u8] = b"\x01\0\0\0\0\0\0\0k";
    let array = 9u32.to_le_bytes();
    let hostile = [
        head(u64::MAX, 0),
        head(0, u64::MAX),
        with(head(0, 1), &[&huge]),
        with(head(0, 1), &[key, &8u32.to_le_bytes(), &huge]),
        with(head(0, 1), &[key, &array, &8u32.to_le_bytes(), &huge]),
        with(head(0, 1), &[key, &array, &0u32.to_le_bytes(), &huge]),
        with(head(0, 1), &[key, &array, &[9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0].repeat(9)]),
        with(head(0, 1), &[key, &99u32.to_le_bytes()]),
        with(head(1, 0), &[key, &u32::MAX.to_le_bytes()]),
        with(head(1, 0), &[key, &2u32.to_le_bytes(), &huge, &huge, &[0; 12]]),
        with(head(1, 0), &[key, &1u32.to_le_bytes(), &[1, 0, 0, 0, 0, 0, 0, 0], &[0; 4], &huge]),
    ];
    for (i, bytes) in hostile.iter().enumerate() {
        assert!(read_all(bytes).is_err(), "case {i}");
    }
}

#[test]
fn long_texts_are_cut_and_never_trusted() {
    let long = "x".repeat(100_000);
    let bytes = Maker::default().text("general.name", &long).text("general.license", "\u{1b}]52;c;x\u{7}").done();
    let h = read_all(&bytes).unwrap();
    assert_eq!(h.name.unwrap().expose().len() as u64, KEPT);
    assert!(!format!("{:?}", h.licence).contains('\u{1b}'));
}

proptest! {
    /// Damaged files end in an answer or an error, never in a panic.
    #[test]
    fn damaged_headers_are_survived(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12), cut in any::<prop::sample::Index>()) {
        let mut bytes = model();
        for (at, b) in edits {
            let at = at.index(bytes.len());
            bytes[at] = b;
        }
        let _ = read_all(&bytes);
        let end = cut.index(bytes.len());
        let _ = read_all(&bytes[..end]);
        let _ = peek(&bytes[..end]);
    }

    #[test]
    fn any_bytes_after_the_magic_are_survived(rest in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(rest);
        let _ = read_all(&bytes);
        let _ = peek(&bytes);
    }
}
