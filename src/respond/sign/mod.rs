//! Approvals that are signed: what exactly is signed, by whose key, and how much that is worth.
//!
//! An approver signs a [`Statement`], canonical JSON (RFC 8785), with an SSH key in the namespace
//! `approve-v1@ORGANISATION`. The signature is an ordinary SSHSIG: `ssh-keygen -Y verify` agrees with us, and what
//! `ssh-keygen -Y sign` makes is accepted here. It is checked when it is given and again before anything runs.

pub mod agent;
pub mod allowed;
pub mod revoked;
pub mod sshsig;

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::fault::{Faults, Place};
use crate::model::action::{Means, RequestBody, Signed};
use crate::model::audit::Head;
use crate::model::ids::{PersonId, RequestId};
use crate::text::Untrusted;
use allowed::AllowedSigners;
use revoked::Revoked;
use sshsig::{Fido, Sshsig};

/// Clocks of two machines may differ by this much.
const CLOCKS: SignedDuration = SignedDuration::from_mins(2);
/// Longer than any statement; what is longer is not read.
const MAX_STATEMENT: usize = 8 << 10;

/// What a signature is for. One made for another purpose is never taken for an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Approve,
    Checkpoint,
    Drill,
    /// A playbook's file.
    Playbook,
}

/// `approve-v1@soc.example`.
pub fn namespace(purpose: Purpose, organisation: &str) -> String {
    let word = match purpose {
        Purpose::Approve => "approve",
        Purpose::Checkpoint => "checkpoint",
        Purpose::Drill => "drill",
        Purpose::Playbook => "playbook",
    };
    format!("{word}-v1@{organisation}")
}

/// Where the signing program ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Where {
    /// On the approver's own machine, which decoded and showed what it signed.
    OwnMachine,
    /// On the desk's machine, through an agent.
    Desk,
}

/// What is signed, as canonical JSON of exactly these fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    pub v: u8,
    pub decision: Decision,
    /// Name of the desk (`desk.name`): a statement for another one counts nothing here.
    pub desk: String,
    pub request: RequestId,
    /// SHA-256 of the request's canonical JSON, hex.
    pub digest: String,
    pub by: PersonId,
    /// The audit log as the signer was shown it, `SIZE:ROOT`; it holds the proposal already.
    pub head: String,
    pub place: Where,
    pub at: Timestamp,
    /// Why the glass is broken; nothing of an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Untrusted>,
}

/// What is decided; a signature under one is nothing under another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    Approve,
    /// It runs on this person's word alone.
    BreakGlass,
    /// A drill is approved: what it makes is removed again. Keys for drills are good for nothing else.
    Drill,
}

impl Decision {
    /// Whose namespace it is signed in.
    pub fn purpose(self) -> Purpose {
        match self {
            Self::Approve | Self::BreakGlass => Purpose::Approve,
            Self::Drill => Purpose::Drill,
        }
    }
}

impl Statement {
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        serde_json_canonicalizer::to_vec(self).map_err(|e| format!("no canonical JSON: {e}"))
    }
}

/// Who may sign: two files that are read again whenever they are asked, so that a revocation holds at once.
#[derive(Clone, Debug, Default)]
pub struct SignerFiles {
    pub organisation: String,
    /// Name of this desk.
    pub desk: String,
    /// `None`: signatures are not in use, and a key press is all there is.
    pub allowed: Option<PathBuf>,
    pub revoked: Option<PathBuf>,
}

impl SignerFiles {
    pub fn in_use(&self) -> bool {
        self.allowed.is_some()
    }

    pub fn namespace(&self, purpose: Purpose) -> String {
        namespace(purpose, &self.organisation)
    }

    /// The files as they are now. A revocation list that cannot be read is an error: nothing signed counts until it
    /// can be.
    pub fn read(&self) -> Result<Signers, String> {
        let Some(path) = &self.allowed else {
            return Err("signed approvals are not set up: respond.allowed_signers names no file".into());
        };
        let allowed =
            AllowedSigners::parse(path, &text(path).map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
        let revoked = match &self.revoked {
            Some(path) => {
                let bytes = std::fs::read(path).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
                Revoked::parse(&bytes).map_err(|e| format!("{}: {e}", path.display()))?
            }
            None => Revoked::default(),
        };
        Ok(Signers { organisation: self.organisation.clone(), desk: self.desk.clone(), allowed, revoked })
    }
}

fn text(path: &Path) -> Result<String, Faults> {
    std::fs::read_to_string(path)
        .map_err(|e| Faults::one(Place::Whole(path.to_owned()), format!("cannot be read: {e}")))
}

/// Everything a signature is checked against.
#[derive(Clone, Debug)]
pub struct Signers {
    pub organisation: String,
    pub desk: String,
    pub allowed: AllowedSigners,
    pub revoked: Revoked,
}

/// A signed statement that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub statement: Statement,
    pub head: Head,
    pub means: Means,
    /// `SHA256:...` of the key.
    pub key: String,
    pub fido: Option<Fido>,
}

impl Signers {
    /// Whether `signed` is `by`'s approval of exactly this request. `at`: when it was given to the desk; keys must be
    /// valid then, and not revoked now. That the log held what `head` says is for the caller to ask the log.
    pub fn verify(
        &self,
        signed: &Signed,
        body: &RequestBody,
        digest: &str,
        by: &PersonId,
        decision: Decision,
        at: Timestamp,
    ) -> Result<Verified, String> {
        let statement = statement(signed)?;
        let differs = |what: &str| Err(format!("the signature is for another {what}"));
        if statement.decision != decision {
            return differs("decision");
        }
        if statement.desk != self.desk {
            return differs("desk");
        }
        if statement.request != body.id || statement.digest != digest {
            return differs("request");
        }
        if statement.by != *by {
            return differs("person");
        }
        let head: Head = statement.head.parse().map_err(|e: &str| format!("its audit head is wrong: {e}"))?;
        let proposed: Head = body.audit_head.parse().map_err(|e: &str| format!("the request's audit head: {e}"))?;
        if head.size <= proposed.size {
            return Err("its audit head is older than the proposal".into());
        }
        if statement.at + CLOCKS < body.created || statement.at > at + CLOCKS || statement.at > body.approve_by {
            return Err(format!("it was signed at {:.0}, outside the time there is for it", statement.at));
        }
        let sig = Sshsig::parse(&signed.signature).map_err(|e| format!("the signature cannot be used: {e}"))?;
        let namespace = namespace(decision.purpose(), &self.organisation);
        sig.check(&namespace, signed.statement.as_bytes())?;
        self.allowed.allows(by.as_str(), &sig, &namespace, at)?;
        if let Some(why) = self.revoked.revokes(&sig) {
            return Err(why);
        }
        let fido = sig.fido();
        let touched = fido.is_some_and(|f| f.presence);
        let means = match (statement.place, touched) {
            (Where::OwnMachine, _) => Means::OwnMachine,
            (Where::Desk, true) => Means::AgentTouch,
            (Where::Desk, false) => Means::Agent,
        };
        Ok(Verified { statement, head, means, key: sig.fingerprint(), fido })
    }
}

/// The statement, if its bytes are the canonical ones of what they say.
fn statement(signed: &Signed) -> Result<Statement, String> {
    if signed.statement.len() > MAX_STATEMENT {
        return Err("the statement is too long".into());
    }
    let s: Statement =
        serde_json::from_str(&signed.statement).map_err(|e| format!("the statement cannot be read: {e}"))?;
    if s.v != 1 {
        return Err(format!("version {} of a statement; 1 was expected", s.v));
    }
    if s.bytes()? != signed.statement.as_bytes() {
        return Err("the statement is not canonical JSON".into());
    }
    Ok(s)
}

/// The digest that was signed.
pub fn digest_of(signed: &Signed) -> Result<String, String> {
    statement(signed).map(|s| s.digest)
}

/// Why the glass is broken, as it was signed.
pub fn reason_of(signed: &Signed) -> Option<Untrusted> {
    statement(signed).ok().and_then(|s| s.reason)
}
