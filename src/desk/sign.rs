//! Signing approvals: through an agent where the desk runs, or on the approver's own machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use super::Desk;
use super::DeskError;
use super::Result;
use crate::audit::Hash;
use crate::audit::consistent;
use crate::model::action::Finding;
use crate::model::action::Preview;
use crate::model::action::Request;
use crate::model::action::RequestBody;
use crate::model::action::Signed;
use crate::model::audit::Head;
use crate::model::ids::PersonId;
use crate::model::ids::RequestId;
use crate::respond::digest;
use crate::respond::sign::Decision;
use crate::respond::sign::Statement;
use crate::respond::sign::Where;
use crate::respond::sign::agent;
use crate::respond::sign::agent::AgentKey;
use crate::respond::sign::namespace;
use crate::store::Store;
use crate::text::Untrusted;

/// What a desk hands to an approver's own machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// `watchfloor.approval`.
    pub kind: String,
    pub v: u8,
    pub organisation: String,
    /// To be signed, with the time and place of signing filled in there.
    pub statement: Statement,
    pub request: RequestBody,
    pub preview: Vec<Preview>,
    pub findings: Vec<Finding>,
    /// A head the approver's machine saw before, with the proof (hex) that the log still begins with it.
    pub since: Option<Head>,
    pub proof: Vec<String>,
}

const KIND: &str = "watchfloor.approval";

impl Asked {
    /// Whether it is a drill, and signed as nothing else.
    pub fn drill(&self) -> bool {
        self.statement.decision == Decision::Drill
    }
}

impl Desk {
    /// Everything an approver's own machine needs to decide and to sign. `since`: the head it saw last.
    /// `glass`: why it is to run on this person's word alone.
    pub fn ask_to_sign(
        &self,
        by: &PersonId,
        id: &RequestId,
        glass: Option<Untrusted>,
        since: Option<Head>,
    ) -> Result<Asked> {
        self.authorise(by)?;
        let signers = self.responder.signers();
        if !signers.in_use() {
            return Err(DeskError::Usage(
                "signed approvals are not set up: name a file in respond.allowed_signers".into(),
            ));
        }
        let request =
            self.store.request(id)?.ok_or_else(|| DeskError::Usage(format!("{id}: there is no such request")))?;
        let (head, proof) = self.audit.proof_since(since.as_ref().map_or(0, |h| h.size))?;
        let mut statement =
            self.responder.statement(by, id, &request.digest, glass, Where::OwnMachine, Timestamp::now())?;
        statement.head = head.to_string();
        Ok(Asked {
            kind: KIND.into(),
            v: 1,
            organisation: signers.organisation.clone(),
            statement,
            request: request.body,
            preview: request.preview,
            findings: request.findings,
            since,
            proof: proof.iter().map(hex::encode).collect(),
        })
    }

    /// Approves by a statement signed elsewhere. `over_budget`: as of [`Desk::approve_over_budget`].
    pub fn approve_signed(
        &self,
        by: &PersonId,
        id: &RequestId,
        signed: Signed,
        over_budget: Option<Untrusted>,
    ) -> Result<Request> {
        self.authorise(by)?;
        Ok(self.responder.approve_signed(by, id, signed, over_budget, Timestamp::now())?)
    }

    /// Signs through the agent of this session, if signatures are in use and it holds a key of this person. May wait
    /// for a touch.
    pub(super) fn sign_here(
        &self,
        by: &PersonId,
        id: &RequestId,
        digest: &str,
        glass: Option<Untrusted>,
    ) -> Result<Option<Signed>> {
        let signers = self.responder.signers();
        let Some(socket) = socket().filter(|_| signers.in_use()) else { return Ok(None) };
        let allowed = signers.read().map_err(DeskError::Unreachable)?.allowed;
        let statement = self.responder.statement(by, id, digest, glass, Where::Desk, Timestamp::now())?;
        let namespace = signers.namespace(statement.decision.purpose());
        let mut keys = match agent::keys(&socket) {
            Ok(keys) => keys,
            Err(e) => {
                tracing::warn!(error = e, "no key of the ssh-agent is used");
                return Ok(None);
            }
        };
        keys.retain(|k| {
            let authority = k.certificate.as_ref().map(|c| c.signature_key());
            allowed.could(by.as_str(), &k.key, authority, &namespace)
        });
        // A security key is worth more.
        keys.sort_by_key(|k| !k.of_token());
        let Some(key) = keys.first() else { return Ok(None) };
        signed(&statement, &socket, key, &namespace).map(Some).map_err(DeskError::Refused)
    }
}

/// Of the agent of this session.
pub(super) fn socket() -> Option<PathBuf> {
    std::env::var_os("SSH_AUTH_SOCK").filter(|s| !s.is_empty()).map(PathBuf::from)
}

fn signed(
    statement: &Statement,
    socket: &Path,
    key: &AgentKey,
    namespace: &str,
) -> std::result::Result<Signed, String> {
    let bytes = statement.bytes()?;
    let signature = agent::sign(socket, key, namespace, &bytes)?.armour()?;
    let statement = String::from_utf8(bytes).map_err(|e| e.to_string())?;
    Ok(Signed { statement, signature })
}

/// The approver's own machine: it decodes what it signs, and keeps the newest audit head of every desk it signed for.
#[derive(Debug)]
pub struct Helper {
    /// Heads seen, by `ORGANISATION/DESK`.
    heads: PathBuf,
}

impl Helper {
    pub fn new(data_dir: &Path) -> Self {
        Self { heads: data_dir.join("signed-heads.json") }
    }

    /// Reads what a desk asks to sign and checks that it is what it says: the digest is of these very contents, and the
    /// log still begins with what was seen of it before.
    pub fn read(&self, text: &str) -> Result<Asked> {
        let bad = |why: String| DeskError::Usage(why);
        let asked: Asked = serde_json::from_str(text)
            .map_err(|e| bad(format!("expected what `watchfloor approve ID --ask` prints: {e}")))?;
        if asked.kind != KIND || asked.v != 1 {
            return Err(bad(format!("{:?} version {}: expected {KIND} version 1", asked.kind, asked.v)));
        }
        let s = &asked.statement;
        if digest::of_request(&asked.request).map_err(bad)? != s.digest || s.request != asked.request.id {
            return Err(DeskError::Refused("what is shown is not what would be signed: the digest differs".into()));
        }
        if s.decision != Decision::BreakGlass && s.by == asked.request.requester {
            return Err(DeskError::Refused(format!("{} proposed it; somebody else must approve it", s.by)));
        }
        self.witness(&asked)?;
        Ok(asked)
    }

    /// Whether the audit log shown now continues the one seen last.
    fn witness(&self, asked: &Asked) -> Result<()> {
        let now = head(&asked.statement.head)?;
        let desk = desk_of(asked);
        let Some(before) = self.heads()?.get(&desk).map(|h| head(h)).transpose()? else { return Ok(()) };
        let refuse = |why: String| Err(DeskError::Refused(why));
        if now.size < before.size {
            return refuse(format!(
                "the audit log of {desk} held {} records when you last signed, and {} now: it was cut or replaced",
                before.size, now.size
            ));
        }
        if now != before && asked.since.as_ref() != Some(&before) {
            return refuse(format!("ask again, with proof that the log continues: --ask --since {before}"));
        }
        let proof: Option<Vec<Hash>> = asked.proof.iter().map(|h| hash(h)).collect();
        let whole = |h: &Head| hash(&h.root).map(|r| (h.size, r));
        let follows = match (whole(&before), whole(&now), proof) {
            _ if now == before => true,
            (Some(b), Some(n), Some(p)) => consistent(b, n, &p),
            _ => false,
        };
        if follows {
            return Ok(());
        }
        refuse(format!("the audit log of {desk} does not continue the one you signed for last: it was rewritten"))
    }

    /// Signs it, with the agent's only key or the one of this fingerprint, and remembers the head.
    pub fn sign(&self, asked: &Asked, key: Option<&str>, now: Timestamp) -> Result<Signed> {
        let socket = socket().ok_or_else(|| DeskError::Unreachable("no ssh-agent: SSH_AUTH_SOCK is not set".into()))?;
        let mut keys = agent::keys(&socket).map_err(DeskError::Unreachable)?;
        if let Some(print) = key {
            keys.retain(|k| k.fingerprint() == print);
        }
        let key = match keys.as_slice() {
            [one] => one,
            [] => return Err(DeskError::Usage("the ssh-agent holds no such key".into())),
            many => {
                let prints: Vec<String> = many.iter().map(AgentKey::fingerprint).collect();
                return Err(DeskError::Usage(format!("which key? --key {}", prints.join(" | --key "))));
            }
        };
        let statement = Statement { place: Where::OwnMachine, at: now, ..asked.statement.clone() };
        let namespace = namespace(statement.decision.purpose(), &asked.organisation);
        let signed = signed(&statement, &socket, key, &namespace).map_err(DeskError::Refused)?;
        self.remember(asked)?;
        Ok(signed)
    }

    fn heads(&self) -> Result<BTreeMap<String, String>> {
        let fail = |e: String| DeskError::Unreachable(format!("{}: {e}", self.heads.display()));
        match std::fs::read_to_string(&self.heads) {
            Ok(text) => serde_json::from_str(&text).map_err(|e| fail(e.to_string())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(e) => Err(fail(e.to_string())),
        }
    }

    fn remember(&self, asked: &Asked) -> Result<()> {
        let mut heads = self.heads()?;
        heads.insert(desk_of(asked), asked.statement.head.clone());
        let fail = |e: std::io::Error| DeskError::Unreachable(format!("{}: {e}", self.heads.display()));
        if let Some(dir) = self.heads.parent() {
            super::open::make_private_dir(dir)?;
        }
        let new = self.heads.with_extension("new");
        std::fs::write(&new, serde_json::json!(heads).to_string()).map_err(fail)?;
        std::fs::rename(&new, &self.heads).map_err(fail)
    }
}

fn desk_of(asked: &Asked) -> String {
    format!("{}/{}", asked.organisation, asked.statement.desk)
}

fn head(text: &str) -> Result<Head> {
    text.parse().map_err(|e: &str| DeskError::Usage(format!("{text:?}: {e}")))
}

fn hash(text: &str) -> Option<Hash> {
    hex::decode(text).ok().and_then(|b| Hash::try_from(b).ok())
}
