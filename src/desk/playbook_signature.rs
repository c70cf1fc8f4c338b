//! Detached signatures of playbook files: `FILE.sig` beside FILE, an SSHSIG in the namespace `playbook-v1@ORGANISATION`,
//! made with `ssh-keygen -Y sign -n playbook-v1@ORGANISATION -f KEY FILE` and checked against the same file of allowed
//! signers as approvals are.

use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

use jiff::Timestamp;

use super::Desk;
use super::playbook::Origin;
use crate::config::Loaded;
use crate::model::playbook::Signature;
use crate::playbook;
use crate::playbook::Item;
use crate::respond::sign::Purpose;
use crate::respond::sign::SignerFiles;
use crate::respond::sign::namespace;
use crate::respond::sign::sshsig::Sshsig;

/// Far above any signature, and above any playbook.
const LARGEST_SIGNATURE: u64 = 64 << 10;
const LARGEST: u64 = 1 << 20;

/// Says whose signature a playbook file has.
#[derive(Clone, Debug)]
pub struct Vouch {
    signers: SignerFiles,
}

impl Vouch {
    /// As the settings name the files; for commands that need no desk.
    pub fn new(loaded: &Loaded) -> Self {
        let respond = &loaded.settings.respond;
        Self {
            signers: SignerFiles {
                organisation: respond.organisation.clone(),
                desk: loaded.settings.desk.name.clone(),
                allowed: respond.allowed_signers.clone(),
                revoked: respond.revoked_keys.clone(),
            },
        }
    }

    /// The namespace signatures of playbooks are made in.
    pub fn namespace(&self) -> String {
        namespace(Purpose::Playbook, &self.signers.organisation)
    }

    /// Of a file as it is now. `hash`: of the document that was read from it; another one now is no longer what was
    /// signed.
    pub fn of_file(&self, path: &Path, hash: &str, now: Timestamp) -> Signature {
        let beside = signature_of(path);
        if !beside.exists() {
            return Signature::Unsigned;
        }
        self.checked(path, &beside, hash, now).unwrap_or_else(|why| Signature::Bad { why })
    }

    /// Of a playbook of the library: only files are signed.
    pub fn of_item(&self, item: &Item, now: Timestamp) -> Signature {
        match &item.origin {
            Origin::File(path) => self.of_file(path, item.document.hash(), now),
            Origin::Bundled | Origin::Drafted { .. } => Signature::Unsigned,
        }
    }

    fn checked(&self, path: &Path, beside: &Path, hash: &str, now: Timestamp) -> Result<Signature, String> {
        let message = whole(path, LARGEST)?;
        let same = playbook::parse(path, &message).is_ok_and(|d| d.hash() == hash);
        if !same {
            return Err(format!("{} changed while it was read", path.display()));
        }
        let armoured = String::from_utf8(whole(beside, LARGEST_SIGNATURE)?)
            .map_err(|_| format!("{} is no text", beside.display()))?;
        let sig = Sshsig::parse(&armoured).map_err(|e| format!("{}: {e}", beside.display()))?;
        let space = self.namespace();
        sig.check(&space, &message)?;
        let key = sig.fingerprint();
        if !self.signers.in_use() {
            return Ok(Signature::Unknown { key });
        }
        let signers = self.signers.read()?;
        if let Some(why) = signers.revoked.revokes(&sig) {
            return Err(why);
        }
        let by = signers.allowed.whose(&sig, &space, now)?;
        Ok(Signature::Good { by, key })
    }
}

fn signature_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

fn whole(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let cannot = |e: std::io::Error| format!("{} cannot be read: {e}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > most {
        return Err(format!("{} is longer than {most} bytes", path.display()));
    }
    Ok(bytes)
}

impl Desk {
    /// Says whose signatures playbook files of this desk have.
    pub fn vouch(&self) -> Vouch {
        Vouch { signers: self.responder.signers().clone() }
    }
}

#[cfg(test)]
#[path = "playbook_signature_tests.rs"]
mod tests;
