//! SHA-256 of files.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// SHA-256, 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Digest(String);

impl Digest {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Of a file's bytes; tells how many have been read.
    pub(super) fn of_file(path: &Path, told: &mut dyn FnMut(u64)) -> std::io::Result<Self> {
        let mut file = File::open(path)?;
        let (mut hash, mut buf, mut done) = (Sha256::new(), vec![0; 1 << 20], 0);
        loop {
            let n = file.read(&mut buf)?;
            if n == 0 {
                return Ok(Self(hex::encode(hash.finalize())));
            }
            hash.update(&buf[..n]);
            done += n as u64;
            told(done);
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for Digest {
    type Err = String;

    /// Also takes `sha256:` before it, as hubs and registries write it.
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim();
        let digits = digits.strip_prefix("sha256:").unwrap_or(digits).to_ascii_lowercase();
        if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(Self(digits));
        }
        Err("a SHA-256 has 64 hex digits".into())
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_64_hex_digits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "abc").unwrap();
        let mut seen = 0;
        let d = Digest::of_file(&path, &mut |n| seen = n).unwrap();
        // FIPS 180-2, B.1
        assert_eq!(d.as_str(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(seen, 3);
        assert_eq!(format!("sha256:{}", d.as_str().to_uppercase()).parse(), Ok(d.clone()));
        for wrong in ["", "abc", &d.as_str()[1..], &format!("{d}0"), &d.as_str().replace('b', "g")] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }
}
