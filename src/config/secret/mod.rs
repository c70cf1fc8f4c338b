//! Secrets by reference: settings name a secret, they never hold one.
//!
//! | reference | where the value is |
//! |---|---|
//! | `keyring:NAME` | Secret Service if a session bus is there, else the kernel's keyring |
//! | `file:PATH` | a file of ours with mode 0600 or 0400 |
//! | `env:NAME` | an environment variable |
//! | `cmd:PROGRAM ARG...` | the first line a program writes, run without a shell |
//! | `vault:MOUNT/PATH#FIELD` | a KV version 2 secret of HashiCorp Vault or OpenBao |

mod command;
mod file;
mod index;
pub mod keyring;
mod vault;

use std::path::PathBuf;
use std::time::Duration;

use zeroize::{Zeroize, ZeroizeOnDrop};

pub use index::{NamedSecret, names};

use super::settings::SecretSettings;
use super::{Env, Loaded};

/// A value nobody prints. Wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// For the one call that sends it to whom it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Why there is no value. No variant ever holds one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The reference itself is wrong (exit 2).
    #[error("{0}")]
    BadReference(String),
    /// Nothing is there under that name (exit 1).
    #[error("{reference}: {why}")]
    Missing { reference: String, why: String },
    /// Not safe to use, or not allowed (exit 4).
    #[error("{reference}: {why}")]
    Refused { reference: String, why: String },
    /// The place that keeps it does not answer (exit 3).
    #[error("{reference}: {why}")]
    Unreachable { reference: String, why: String },
}

/// What resolving needs to know.
#[derive(Clone, Debug)]
pub struct SecretContext {
    pub env: Env,
    pub settings: SecretSettings,
    /// Relative `file:` paths start here.
    pub config_dir: PathBuf,
    /// The index of `keyring:` names lies here.
    pub data_dir: PathBuf,
}

impl SecretContext {
    pub fn new(loaded: &Loaded) -> Self {
        Self {
            env: loaded.env.clone(),
            settings: loaded.settings.secrets.clone(),
            config_dir: loaded.paths.config_dir.clone(),
            data_dir: loaded.paths.data_dir.clone(),
        }
    }
}

/// A reference, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    Keyring(String),
    File(PathBuf),
    Env(String),
    /// Program and arguments; at least one.
    Command(Vec<String>),
    Vault {
        mount: String,
        path: String,
        field: String,
    },
}

/// Shows what can be shown: of a command only the program, for an argument may be a password all the same.
impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Keyring(name) => write!(f, "keyring:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Env(name) => write!(f, "env:{name}"),
            Self::Command(argv) if argv.len() > 1 => write!(f, "cmd:{} ...", argv[0]),
            Self::Command(argv) => write!(f, "cmd:{}", argv.join(" ")),
            Self::Vault { mount, path, field } => write!(f, "vault:{mount}/{path}#{field}"),
        }
    }
}

/// The sentence for something that is no reference. It does not repeat it: it may be the secret itself.
const KINDS: &str = "expected a secret reference (keyring:NAME, file:PATH, env:NAME, cmd:PROGRAM ARG... or \
                     vault:MOUNT/PATH#FIELD), never the secret itself";

impl std::str::FromStr for Reference {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let bad = |why: &str| Err(SecretError::BadReference(why.to_owned()));
        let Some((kind, rest)) = text.split_once(':') else { return bad(KINDS) };
        match kind {
            "keyring" if keyring::good_name(rest) => Ok(Self::Keyring(rest.to_owned())),
            "keyring" => bad("keyring: expected a name of 1 to 64 of A-Z a-z 0-9 . _ - @ /"),
            "file" if rest.is_empty() => bad("file: expected a path"),
            "file" => Ok(Self::File(PathBuf::from(rest))),
            "env" if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
                Ok(Self::Env(rest.to_owned()))
            }
            "env" => bad("env: expected the name of a variable, of A-Z a-z 0-9 _"),
            "cmd" => match shell_words::split(rest) {
                Ok(argv) if argv.first().is_some_and(|p| !p.is_empty()) => Ok(Self::Command(argv)),
                Ok(_) => bad("cmd: expected a program"),
                Err(_) => bad("cmd: a quote is not closed"),
            },
            "vault" => vault::parse(rest)
                .ok_or_else(|| SecretError::BadReference("vault: expected MOUNT/PATH#FIELD".to_owned())),
            _ => bad(KINDS),
        }
    }
}

impl Reference {
    fn missing(&self, why: impl Into<String>) -> SecretError {
        SecretError::Missing { reference: self.to_string(), why: why.into() }
    }

    fn refused(&self, why: impl Into<String>) -> SecretError {
        SecretError::Refused { reference: self.to_string(), why: why.into() }
    }

    fn unreachable(&self, why: impl Into<String>) -> SecretError {
        SecretError::Unreachable { reference: self.to_string(), why: why.into() }
    }
}

/// Fetches the value a reference names. Blocks, at most for the timeouts of the settings.
pub fn resolve(reference: &str, ctx: &SecretContext) -> Result<Secret, SecretError> {
    let reference: Reference = reference.parse()?;
    let secret = match &reference {
        Reference::Keyring(name) => keyring::get(name, ctx).map(|(secret, _)| secret),
        Reference::File(path) => file::read(&reference, path, ctx),
        Reference::Env(name) => {
            ctx.env.get(name).map(Secret::new).ok_or_else(|| reference.missing("the environment has no such variable"))
        }
        Reference::Command(argv) => {
            command::run(&reference, argv, Duration::from_secs(ctx.settings.command_timeout_seconds))
        }
        Reference::Vault { mount, path, field } => vault::read(&reference, mount, path, field, ctx),
    }?;
    if secret.expose().is_empty() {
        return Err(reference.missing("the value is empty"));
    }
    if secret.expose().contains(['\n', '\r', '\0']) {
        return Err(reference.refused("the value has more than one line"));
    }
    tracing::debug!(%reference, "secret resolved");
    Ok(secret)
}

/// Runs what may hang on a thread of its own and stops waiting after `limit`. The thread is left behind then.
fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tx, rx) = std::sync::mpsc::sync_channel(1);
    let started = std::thread::Builder::new().name("secret".into()).spawn(move || {
        let _ = tx.send(work());
    });
    started.ok()?;
    rx.recv_timeout(limit).ok()
}
