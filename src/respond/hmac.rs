//! HMAC-SHA256 (RFC 2104), for those we send something to: it says that this desk sent it, and when.
//!
//! What is signed is `TIMESTAMP.BODY`: seconds since 1970 in decimal, a dot, and the bytes of the body (none for a
//! question). A receiver makes the same from the header with the time and the body as it came, compares in constant time,
//! and refuses what is older than a few minutes.

use sha2::{Digest as _, Sha256};

/// Bytes SHA-256 works on at a time.
const BLOCK: usize = 64;

pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut padded = [0u8; BLOCK];
    if key.len() > BLOCK {
        padded[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        padded[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| padded.map(|b| b ^ with);
    let mut inner = Sha256::new();
    inner.update(pad(0x36));
    parts.iter().for_each(|p| inner.update(p));
    let mut outer = Sha256::new();
    outer.update(pad(0x5c));
    outer.update(inner.finalize());
    outer.finalize().into()
}

/// The header's value, `sha256=HEX`.
pub fn signature(secret: &str, timestamp: i64, body: &[u8]) -> String {
    let mac = hmac_sha256(secret.as_bytes(), &[timestamp.to_string().as_bytes(), b".", body]);
    format!("sha256={}", hex::encode(mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, section 4: the test cases for HMAC-SHA-256.
    #[test]
    fn the_vectors_of_rfc_4231() {
        let cases: [(Vec<u8>, Vec<u8>, &str); 6] = [
            (vec![0x0b; 20], b"Hi There".to_vec(), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?".to_vec(),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (vec![0xaa; 20], vec![0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (
                (1..=25).collect(),
                vec![0xcd; 50],
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                vec![0xaa; 131],
                b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be \
                  hashed before being used by the HMAC algorithm."
                    .to_vec(),
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ];
        for (key, data, expected) in cases {
            assert_eq!(hex::encode(hmac_sha256(&key, &[&data])), expected);
            let (a, b) = data.split_at(data.len() / 2);
            assert_eq!(hex::encode(hmac_sha256(&key, &[a, b])), expected, "in two parts");
        }
    }

    #[test]
    fn time_and_body_are_signed() {
        let s = signature("k", 1, b"{}");
        assert_eq!(s.len(), "sha256=".len() + 64);
        assert_ne!(s, signature("k", 2, b"{}"));
        assert_ne!(s, signature("k", 1, b"{ }"));
        assert_ne!(s, signature("l", 1, b"{}"));
    }
}
