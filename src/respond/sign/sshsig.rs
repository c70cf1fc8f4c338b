//! Signatures as `ssh-keygen -Y sign` makes them: the file format and what is signed are those of OpenSSH's
//! `PROTOCOL.sshsig`; keys, certificates and security-key signatures those of `PROTOCOL`, `PROTOCOL.certkeys` and
//! `PROTOCOL.u2f`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_encoding::{Decode as _, Encode as _, Reader as _};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, Certificate, HashAlg, PublicKey, Signature, SshSig};

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
const MAGIC: &[u8; 6] = b"SSHSIG";
const VERSION: u32 = 1;
/// Far above any signature; RSA-16384 with a certificate is under 10 kB.
const MAX: usize = 64 << 10;
/// Smaller RSA keys are refused, as OpenSSH's `RequiredRSASize` can be told to.
const MIN_RSA_BITS: usize = 2048;

/// A signature with the key that made it. Nothing here is checked until [`Sshsig::check`] is.
#[derive(Clone, Debug)]
pub struct Sshsig {
    pub key: KeyData,
    /// The certificate the key was given as, if it was.
    pub certificate: Option<Box<Certificate>>,
    pub namespace: String,
    hash: HashAlg,
    signature: Signature,
}

/// What a security key says about one signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fido {
    /// Somebody touched it.
    pub presence: bool,
    /// It knew who (PIN, fingerprint).
    pub verification: bool,
    /// Goes up with every signature of a key that counts; 0 for one that does not.
    pub counter: u32,
}

impl Sshsig {
    /// Reads the armoured form. The error says what is wrong with it.
    pub fn parse(armoured: &str) -> Result<Self, String> {
        if armoured.len() > MAX {
            return Err("it is too long for a signature".into());
        }
        let inner = armoured
            .trim()
            .strip_prefix(BEGIN)
            .and_then(|s| s.strip_suffix(END))
            .ok_or_else(|| format!("a signature begins with {BEGIN} and ends with {END}"))?;
        let text: String = inner.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(text).map_err(|e| format!("it is not Base64: {e}"))?;
        Self::decode(&bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let cut = |e: ssh_encoding::Error| format!("it is cut short or malformed: {e}");
        let mut r = bytes;
        let mut magic = [0; MAGIC.len()];
        r.read(&mut magic).map_err(cut)?;
        if magic != *MAGIC {
            return Err("it is no SSHSIG".into());
        }
        let version = u32::decode(&mut r).map_err(cut)?;
        if version != VERSION {
            return Err(format!("version {version} of SSHSIG; {VERSION} was expected"));
        }
        let key_blob = Vec::<u8>::decode(&mut r).map_err(cut)?;
        let namespace = String::decode(&mut r).map_err(cut)?;
        let reserved = Vec::<u8>::decode(&mut r).map_err(cut)?;
        let hash = String::decode(&mut r).map_err(cut)?;
        let signature = Vec::<u8>::decode(&mut r).map_err(cut)?;
        if !r.is_finished() || !reserved.is_empty() {
            return Err("it holds more than a signature".into());
        }
        let hash = match hash.as_str() {
            "sha256" => HashAlg::Sha256,
            "sha512" => HashAlg::Sha512,
            _ => return Err("its hash is neither sha256 nor sha512".into()),
        };
        let (key, certificate) = key(&key_blob)?;
        let mut s = signature.as_slice();
        let signature = Signature::decode(&mut s).map_err(|e| format!("its signature cannot be read: {e}"))?;
        if !s.is_finished() {
            return Err("its signature holds more than a signature".into());
        }
        let read = Self { key, certificate, namespace, hash, signature };
        // The reader is lenient about lengths inside of keys; one meaning has one encoding here.
        match read.encode() {
            Ok(again) if again == bytes => Ok(read),
            _ => Err("it is not encoded as ssh-keygen would".into()),
        }
    }

    /// What an agent is asked to sign for `message`.
    pub fn to_sign(namespace: &str, message: &[u8]) -> Result<Vec<u8>, String> {
        SshSig::signed_data(namespace, HashAlg::Sha512, message).map_err(|e| e.to_string())
    }

    /// The signature an agent made over [`Sshsig::to_sign`].
    pub fn made(key: KeyData, certificate: Option<Box<Certificate>>, namespace: &str, signature: Signature) -> Self {
        Self { key, certificate, namespace: namespace.to_owned(), hash: HashAlg::Sha512, signature }
    }

    /// Armoured, in lines of 70, as `ssh-keygen` writes it.
    pub fn armour(&self) -> Result<String, String> {
        let bytes = self.encode().map_err(|e| e.to_string())?;
        let text = STANDARD.encode(bytes);
        let mut out = format!("{BEGIN}\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, more) = rest.split_at(rest.len().min(70));
            out.push_str(line);
            out.push('\n');
            rest = more;
        }
        out.push_str(END);
        out.push('\n');
        Ok(out)
    }

    fn encode(&self) -> Result<Vec<u8>, ssh_key::Error> {
        let blob = match &self.certificate {
            Some(c) => c.to_bytes()?,
            None => PublicKey::from(self.key.clone()).to_bytes()?,
        };
        let mut signature = Vec::new();
        self.signature.encode(&mut signature)?;
        let mut out = MAGIC.to_vec();
        VERSION.encode(&mut out)?;
        blob.encode(&mut out)?;
        self.namespace.as_str().encode(&mut out)?;
        "".encode(&mut out)?;
        self.hash.as_str().encode(&mut out)?;
        signature.encode(&mut out)?;
        Ok(out)
    }

    /// Whether the key signed exactly this message in this namespace. Says nothing about whose key it is.
    pub fn check(&self, namespace: &str, message: &[u8]) -> Result<(), String> {
        if self.namespace != namespace {
            return Err(format!("it was signed for {:?}, not for {namespace:?}", self.namespace));
        }
        if let Some(bits) = rsa_bits(&self.key).filter(|b| *b < MIN_RSA_BITS) {
            return Err(format!("an RSA key of {bits} bits is too short; {MIN_RSA_BITS} is the least"));
        }
        let bad = |_| "the signature does not fit the message and the key".to_owned();
        let sig = SshSig::new(self.key.clone(), namespace, self.hash, self.signature.clone()).map_err(bad)?;
        PublicKey::from(self.key.clone()).verify(namespace, message, &sig).map_err(bad)
    }

    /// Of a security key; the last five bytes of its signature.
    pub fn fido(&self) -> Option<Fido> {
        let of_token = matches!(self.key.algorithm(), Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256);
        let (_, [flags, a, b, c, d]) = self.signature.as_bytes().split_last_chunk::<5>().filter(|_| of_token)?;
        Some(Fido {
            presence: flags & 0x01 != 0,
            verification: flags & 0x04 != 0,
            counter: u32::from_be_bytes([*a, *b, *c, *d]),
        })
    }

    /// Of the key, `SHA256:...`.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }
}

/// A public key, or the certificate it comes in.
fn key(blob: &[u8]) -> Result<(KeyData, Option<Box<Certificate>>), String> {
    let name = String::decode(&mut &*blob).map_err(|e| format!("its key cannot be read: {e}"))?;
    if name.ends_with("-cert-v01@openssh.com") {
        let c = Certificate::from_bytes(blob).map_err(|e| format!("its certificate cannot be read: {e}"))?;
        return Ok((c.public_key().clone(), Some(Box::new(c))));
    }
    let k = PublicKey::from_bytes(blob).map_err(|e| format!("its key cannot be read: {e}"))?;
    Ok((k.key_data().clone(), None))
}

fn rsa_bits(key: &KeyData) -> Option<usize> {
    key.rsa()?.n.as_positive_bytes().map(|b| b.len() * 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_signature_is_refused_with_a_reason() {
        let whole = |inner: &[u8]| format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(inner));
        for (text, why) in [
            (String::new(), "begins with"),
            (format!("{BEGIN}\n***\n{END}"), "not Base64"),
            (whole(b"SSH"), "cut short"),
            (whole(b"SSHSIC\0\0\0\x01"), "no SSHSIG"),
            (whole(b"SSHSIG\0\0\0\x02"), "version 2"),
            (whole(b"SSHSIG\0\0\0\x01\xff\xff\xff\xff"), "cut short"),
            ("x".repeat(MAX + 1), "too long"),
        ] {
            let e = Sshsig::parse(&text).unwrap_err();
            assert!(e.contains(why), "{e}");
        }
    }
}
