//! Keys that count no longer: a list of public keys or `SHA256:` fingerprints, one a line, or a key revocation list
//! (KRL) as `ssh-keygen -k` writes it (OpenSSH's `PROTOCOL.krl`). What cannot be understood revokes everything.

use std::collections::BTreeSet;

use ssh_encoding::{Decode as _, Reader as _};
use ssh_key::public::KeyData;
use ssh_key::{Certificate, HashAlg, PublicKey};

use super::sshsig::Sshsig;

const MAGIC: &[u8; 8] = b"SSHKRL\n\0";

#[derive(Clone, Debug, Default)]
pub struct Revoked {
    /// Encoded public keys.
    keys: BTreeSet<Vec<u8>>,
    /// SHA-256 of encoded public keys.
    prints: BTreeSet<Vec<u8>>,
    certificates: Vec<Certificates>,
}

/// Certificates of one authority, or of any.
#[derive(Clone, Debug, Default)]
struct Certificates {
    authority: Option<Vec<u8>>,
    serials: Vec<(u64, u64)>,
    ids: BTreeSet<String>,
}

impl Revoked {
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.starts_with(MAGIC) {
            return krl(bytes).map_err(|e| format!("the key revocation list cannot be used: {e}"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "neither a key revocation list nor text")?;
        let mut out = Self::default();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Ok(print) = line.parse::<ssh_key::Fingerprint>()
                && print.is_sha256()
            {
                out.prints.insert(print.as_bytes().to_vec());
                continue;
            }
            let bad = |e| format!("line {}: expected a public key or SHA256:...: {e}", i + 1);
            let key = PublicKey::from_openssh(line).map_err(bad)?;
            out.keys.insert(key.to_bytes().map_err(bad)?);
        }
        Ok(out)
    }

    /// Why this signature's key, certificate or authority counts no longer, if so.
    pub fn revokes(&self, sig: &Sshsig) -> Option<String> {
        if self.has(&sig.key) {
            return Some(format!("the key {} is revoked", sig.fingerprint()));
        }
        let c = sig.certificate.as_deref()?;
        if self.has(c.signature_key()) {
            return Some(format!("the authority of the certificate {:?} is revoked", c.key_id()));
        }
        self.has_certificate(c).then(|| format!("the certificate {:?} is revoked", c.key_id()))
    }

    fn has(&self, key: &KeyData) -> bool {
        let Ok(blob) = blob_of(key) else { return true };
        self.prints.contains(key.fingerprint(HashAlg::Sha256).as_bytes()) || self.keys.contains(&blob)
    }

    fn has_certificate(&self, c: &Certificate) -> bool {
        let Ok(authority) = blob_of(c.signature_key()) else { return true };
        self.certificates.iter().filter(|l| l.authority.as_ref().is_none_or(|a| *a == authority)).any(|l| {
            l.ids.contains(c.key_id()) || l.serials.iter().any(|(from, to)| (*from..=*to).contains(&c.serial()))
        })
    }
}

fn blob_of(key: &KeyData) -> Result<Vec<u8>, ssh_key::Error> {
    PublicKey::from(key.clone()).to_bytes()
}

type Decoded<T> = Result<T, String>;

fn cut(e: ssh_encoding::Error) -> String {
    format!("cut short or malformed: {e}")
}

fn string(r: &mut &[u8]) -> Decoded<Vec<u8>> {
    Vec::decode(r).map_err(cut)
}

fn number(r: &mut &[u8]) -> Decoded<u64> {
    u64::decode(r).map_err(cut)
}

fn krl(bytes: &[u8]) -> Decoded<Revoked> {
    let mut r = &bytes[MAGIC.len()..];
    let version = u32::decode(&mut r).map_err(cut)?;
    if version != 1 {
        return Err(format!("format version {version}; 1 was expected"));
    }
    // Its own version, when it was made, flags.
    for _ in 0..3 {
        number(&mut r)?;
    }
    // Reserved, comment.
    for _ in 0..2 {
        string(&mut r)?;
    }
    let mut out = Revoked::default();
    while !r.is_finished() {
        let kind = u8::decode(&mut r).map_err(cut)?;
        let data = string(&mut r)?;
        let mut d = data.as_slice();
        match kind {
            1 => out.certificates.push(certificates(d)?),
            2 => {
                while !d.is_finished() {
                    out.keys.insert(string(&mut d)?);
                }
            }
            5 => {
                while !d.is_finished() {
                    out.prints.insert(string(&mut d)?);
                }
            }
            3 => return Err("it names keys by SHA-1; write it with SHA256: or whole keys".into()),
            // Signatures over the list come last; whoever may write the file is trusted.
            4 => string(&mut r).map(drop)?,
            255 => extension(d)?,
            other => return Err(format!("it has a section of the unknown kind {other}")),
        }
    }
    Ok(out)
}

fn certificates(mut d: &[u8]) -> Decoded<Certificates> {
    let authority = string(&mut d)?;
    string(&mut d)?;
    let mut out = Certificates { authority: Some(authority).filter(|a| !a.is_empty()), ..Certificates::default() };
    while !d.is_finished() {
        let kind = u8::decode(&mut d).map_err(cut)?;
        let data = string(&mut d)?;
        let mut s = data.as_slice();
        match kind {
            0x20 => {
                while !s.is_finished() {
                    let n = number(&mut s)?;
                    out.serials.push((n, n));
                }
            }
            0x21 => out.serials.push((number(&mut s)?, number(&mut s)?)),
            0x22 => bitmap(s, &mut out.serials)?,
            0x23 => {
                while !s.is_finished() {
                    let id = string(&mut s)?;
                    out.ids.insert(String::from_utf8_lossy(&id).into_owned());
                }
            }
            0x39 => extension(s)?,
            other => return Err(format!("it has certificates of the unknown kind {other:#x}")),
        }
    }
    Ok(out)
}

/// Serial numbers as the bits that are set, the lowest standing for `offset`.
fn bitmap(mut s: &[u8], out: &mut Vec<(u64, u64)>) -> Decoded<()> {
    let offset = number(&mut s)?;
    let bits = string(&mut s)?;
    for (i, byte) in bits.iter().rev().enumerate() {
        for bit in (0..8u64).filter(|b| byte & (1 << b) != 0) {
            let n = u64::try_from(i).ok().and_then(|i| offset.checked_add(i * 8 + bit)).ok_or("a serial too large")?;
            out.push((n, n));
        }
    }
    Ok(())
}

/// One that is not critical may be passed over.
fn extension(mut d: &[u8]) -> Decoded<()> {
    let name = string(&mut d)?;
    match u8::decode(&mut d).map_err(cut)? {
        0 => Ok(()),
        _ => Err(format!("it has the unknown extension {:?}", String::from_utf8_lossy(&name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for bytes in [&b"ssh-ed25519 AAAA"[..], b"\xff\xfe", b"SSHKRL\n\0\0\0\0\x02", b"SSHKRL\n\0\0\0\0\x01\0"] {
            assert!(Revoked::parse(bytes).is_err());
        }
        assert!(Revoked::parse(b"# none\n\n").unwrap().keys.is_empty());
    }
}
