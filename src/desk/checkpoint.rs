//! Heads of the audit log that people put their names to: a log that was cut or rewritten later no longer fits what they
//! signed. They stand beside the log, one JSON line each, signed in a namespace of their own.

use std::fs::OpenOptions;
use std::io::BufRead as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;

use super::Desk;
use super::DeskError;
use super::Result;
use super::sign::socket;
use crate::config::Loaded;
use crate::model::action::Signed;
use crate::model::audit::Head;
use crate::model::ids::PersonId;
use crate::respond::sign::Purpose;
use crate::respond::sign::SignerFiles;
use crate::respond::sign::agent;
use crate::respond::sign::namespace;
use crate::respond::sign::sshsig::Sshsig;

/// Beside the log.
const FILE: &str = "checkpoints.ndjson";
/// Only the newest are looked at.
const NEWEST: usize = 200;

/// What is signed, as canonical JSON (RFC 8785) of exactly these fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    pub v: u8,
    pub desk: String,
    /// `SIZE:ROOT`.
    pub head: String,
    pub by: PersonId,
    pub at: Timestamp,
}

/// A signed head as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    pub head: Option<Head>,
    pub by: Option<PersonId>,
    pub at: Option<Timestamp>,
    /// Why it counts nothing; `None`: it does.
    pub why: Option<String>,
}

/// Files and names signatures are checked against, as the settings have them.
pub fn signer_files(loaded: &Loaded) -> SignerFiles {
    let settings = &loaded.settings;
    let beside = |given: &Option<std::path::PathBuf>, name: &str| {
        given.clone().or_else(|| Some(loaded.paths.config_dir.join(name)).filter(|p| p.exists()))
    };
    SignerFiles {
        organisation: settings.respond.organisation.clone(),
        desk: settings.desk.name.clone(),
        allowed: beside(&settings.respond.allowed_signers, "allowed_signers"),
        revoked: beside(&settings.respond.revoked_keys, "revoked_keys"),
    }
}

impl Desk {
    /// Signs the present head through the agent of this session, and keeps it beside the log. Recorded, too.
    pub fn sign_checkpoint(&self, by: &PersonId) -> Result<Head> {
        self.authorise(by)?;
        let signers = self.responder.signers();
        if !signers.in_use() {
            let why = "signatures are not set up: name a file in respond.allowed_signers";
            return Err(DeskError::Usage(why.into()));
        }
        let socket = socket().ok_or_else(|| DeskError::Unreachable("no ssh-agent: SSH_AUTH_SOCK is not set".into()))?;
        let namespace = signers.namespace(Purpose::Checkpoint);
        let allowed = signers.read().map_err(DeskError::Unreachable)?.allowed;
        let mut keys = agent::keys(&socket).map_err(DeskError::Unreachable)?;
        keys.retain(|k| {
            let authority = k.certificate.as_ref().map(|c| c.signature_key());
            allowed.could(by.as_str(), &k.key, authority, &namespace)
        });
        keys.sort_by_key(|k| !k.of_token());
        let Some(key) = keys.first() else {
            return Err(DeskError::Refused(format!(
                "the ssh-agent holds no key of {by} that may sign for {namespace}"
            )));
        };
        let head = self.audit.head()?;
        let at = Timestamp::now();
        let said = Checkpoint { v: 1, desk: signers.desk.clone(), head: head.to_string(), by: by.clone(), at };
        let bytes = serde_json_canonicalizer::to_vec(&said).map_err(|e| DeskError::Unreachable(e.to_string()))?;
        let signed = agent::sign(&socket, key, &namespace, &bytes).and_then(|s| s.armour());
        let signature = signed.map_err(DeskError::Refused)?;
        let statement = String::from_utf8(bytes).map_err(|e| DeskError::Unreachable(e.to_string()))?;
        let record = json!({ "head": said.head, "key": key.fingerprint() });
        self.audit.append(Some(by), "audit.checkpoint", None, record, at)?;
        keep(self.audit.dir(), &Signed { statement, signature })?;
        Ok(head)
    }
}

fn keep(dir: &Path, signed: &Signed) -> Result<()> {
    let path = dir.join(FILE);
    let fail = |e: std::io::Error| DeskError::Unreachable(format!("{}: {e}", path.display()));
    let mut line = serde_json::to_vec(signed).map_err(|e| DeskError::Unreachable(e.to_string()))?;
    line.push(b'\n');
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(fail)?;
    file.write_all(&line).and_then(|()| file.sync_all()).map_err(fail)
}

/// The signed heads beside a log, oldest first, each with what is wrong with it. None where none was signed.
pub fn checkpoints(dir: &Path, signers: &SignerFiles) -> Result<Vec<Found>> {
    let path = dir.join(FILE);
    let file = match std::fs::File::open(&path) {
        Ok(f) => f,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(DeskError::Unreachable(format!("{}: {e}", path.display()))),
    };
    let lines: Vec<String> = std::io::BufReader::new(file)
        .lines()
        .map_while(std::result::Result::ok)
        .filter(|l| !l.trim().is_empty())
        .collect();
    Ok(lines[lines.len().saturating_sub(NEWEST)..].iter().map(|l| found(l, signers)).collect())
}

fn found(line: &str, signers: &SignerFiles) -> Found {
    let mut out = Found { head: None, by: None, at: None, why: None };
    if let Err(why) = look(line, signers, &mut out) {
        out.why = Some(why);
    }
    out
}

fn look(line: &str, signers: &SignerFiles, out: &mut Found) -> std::result::Result<(), String> {
    let signed: Signed = serde_json::from_str(line).map_err(|e| format!("it cannot be read: {e}"))?;
    let said: Checkpoint =
        serde_json::from_str(&signed.statement).map_err(|e| format!("its statement cannot be read: {e}"))?;
    (out.by, out.at) = (Some(said.by.clone()), Some(said.at));
    out.head = Some(said.head.parse().map_err(|e: &str| e.to_owned())?);
    let canonical = serde_json_canonicalizer::to_vec(&said).map_err(|e| e.to_string())?;
    if said.v != 1 || canonical != signed.statement.as_bytes() {
        return Err("its statement is not canonical JSON of version 1".into());
    }
    if said.desk != signers.desk {
        return Err(format!("it is of the desk {:?}", said.desk));
    }
    let read = signers.read()?;
    let namespace = namespace(Purpose::Checkpoint, &signers.organisation);
    let sig = Sshsig::parse(&signed.signature)?;
    sig.check(&namespace, signed.statement.as_bytes())?;
    read.allowed.allows(said.by.as_str(), &sig, &namespace, said.at)?;
    read.revoked.revokes(&sig).map_or(Ok(()), Err)
}
