//! An ssh-agent: whose keys it holds, and signing with one of them.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use ssh_agent_client_rs::{Client, Error, Identity};
use ssh_key::public::KeyData;
use ssh_key::{Certificate, HashAlg};

use super::sshsig::Sshsig;

/// Listing takes no person.
const LIST: Duration = Duration::from_secs(5);
/// A security key waits for a touch, an agent may ask first.
const TOUCH: Duration = Duration::from_secs(90);

/// A key an agent can sign with.
#[derive(Clone, Debug)]
pub struct AgentKey {
    pub key: KeyData,
    pub certificate: Option<Box<Certificate>>,
    identity: Identity<'static>,
}

impl AgentKey {
    /// `SHA256:...`.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Lives in a security key, which has to be touched.
    pub fn of_token(&self) -> bool {
        self.key.is_sk_ed25519() || self.key.is_sk_ecdsa_p256()
    }
}

fn connect(socket: &Path, wait: Duration) -> Result<Client, String> {
    let fail = |e: std::io::Error| format!("the ssh-agent at {} cannot be used: {e}", socket.display());
    let stream = UnixStream::connect(socket).map_err(fail)?;
    stream.set_read_timeout(Some(wait)).map_err(fail)?;
    stream.set_write_timeout(Some(LIST)).map_err(fail)?;
    Ok(Client::with_read_write(Box::new(stream)))
}

/// What the agent behind this socket holds.
pub fn keys(socket: &Path) -> Result<Vec<AgentKey>, String> {
    let all =
        connect(socket, LIST)?.list_all_identities().map_err(|e| format!("the ssh-agent does not answer: {e}"))?;
    Ok(all
        .into_iter()
        .map(|identity| match &identity {
            Identity::PublicKey(k) => AgentKey { key: k.key_data().clone(), certificate: None, identity },
            Identity::Certificate(c) => {
                AgentKey { key: c.public_key().clone(), certificate: Some(Box::new(c.clone().into_owned())), identity }
            }
        })
        .collect())
}

/// Signs `message` for `namespace`; waits for a touch or a question the agent asks.
pub fn sign(socket: &Path, with: &AgentKey, namespace: &str, message: &[u8]) -> Result<Sshsig, String> {
    let data = Sshsig::to_sign(namespace, message)?;
    let signature = connect(socket, TOUCH)?.sign_with_ref(&with.identity, &data).map_err(|e| match e {
        Error::RemoteFailure => format!(
            "the ssh-agent refused to sign with {}. Was it asked and said no, is it locked, or is the key bound to \
             destinations (ssh-add -h)? Such a key logs in and signs nothing else: keep another one for approvals",
            with.fingerprint()
        ),
        e => format!("the ssh-agent did not sign: {e}"),
    })?;
    Ok(Sshsig::made(with.key.clone(), with.certificate.clone(), namespace, signature))
}
