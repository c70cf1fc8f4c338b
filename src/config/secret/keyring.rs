//! `keyring:NAME`: Secret Service when a session bus is there, else the kernel's keyring; the one in use is named.

use std::sync::Arc;
use std::time::Duration;

use keyring_core::api::CredentialStoreApi as _;
use keyring_core::{Entry, Error};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::index::{self, NamedSecret};
use super::{Reference, Secret, SecretContext, SecretError, within};

const SERVICE: &str = "watchfloor";
/// A locked Secret Service asks its user on another screen; nobody may be there.
const PATIENCE: Duration = Duration::from_secs(15);

/// A place that keeps secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keyring {
    SecretService,
    Keyutils,
}

impl Keyring {
    pub fn word(self) -> &'static str {
        match self {
            Self::SecretService => "secret-service",
            Self::Keyutils => "keyutils",
        }
    }

    /// What its user should know about it.
    pub fn about(self) -> &'static str {
        match self {
            Self::SecretService => "the desktop's Secret Service",
            Self::Keyutils => "the kernel's keyring: gone after a restart, or after three days without use",
        }
    }
}

/// Good names are safe to show and to pass to any keyring.
pub fn good_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@/".contains(&b))
}

fn wanted(ctx: &SecretContext) -> &'static [Keyring] {
    match ctx.settings.keyring.as_str() {
        "secret-service" => &[Keyring::SecretService],
        "keyutils" => &[Keyring::Keyutils],
        _ => &[Keyring::SecretService, Keyring::Keyutils],
    }
}

fn open(kind: Keyring, name: &str) -> keyring_core::Result<Entry> {
    match kind {
        #[cfg(not(target_os = "macos"))]
        Keyring::SecretService => zbus_secret_service_keyring_store::Store::new()?.build(SERVICE, name, None),
        #[cfg(target_os = "linux")]
        Keyring::Keyutils => keyutils(name),
        #[allow(unreachable_patterns, reason = "which ones there are depends on the platform")]
        _ => Err(Error::NotSupportedByStore("not on this platform".into())),
    }
}

/// In the user's persistent keyring, reached through this process's own: a bare SSH login, a timer or a container
/// often has no session keyring, and one made on the spot would end with the process. Kernels without persistent
/// keyrings keep it in the session.
#[cfg(target_os = "linux")]
fn keyutils(name: &str) -> keyring_core::Result<Entry> {
    use linux_keyutils::{KeyRing, KeyRingIdentifier};
    use linux_keyutils_keyring_store::{Cred, Store};
    match KeyRing::get_persistent(KeyRingIdentifier::Process) {
        Ok(persistent) => Ok(Entry::new_with_credential(Arc::new(Cred {
            session: persistent,
            persistent: None,
            description: format!("keyring:{name}@{SERVICE}"),
            specifiers: Some((SERVICE.to_owned(), name.to_owned())),
        }))),
        Err(_) => Store::new()?.build(SERVICE, name, None),
    }
}

/// Does one thing with one entry of one keyring, on a thread of its own: a session bus may never answer.
fn with_entry<T: Send + 'static>(
    kind: Keyring,
    name: &str,
    act: impl FnOnce(Entry) -> keyring_core::Result<T> + Send + 'static,
) -> Result<T, Trouble> {
    let name = name.to_owned();
    let done = within(PATIENCE, move || open(kind, &name).and_then(act));
    match done {
        Some(Ok(t)) => Ok(t),
        Some(Err(e)) => Err(trouble(&e)),
        None => Err(Trouble::Away(format!("no answer within {} s; is it locked?", PATIENCE.as_secs()))),
    }
}

enum Trouble {
    NoEntry,
    /// The keyring does not work here, and why.
    Away(String),
}

/// The keyring's own sentence where it can hold no value; [`Error`] has variants that do.
fn trouble(e: &Error) -> Trouble {
    Trouble::Away(match e {
        Error::NoEntry => return Trouble::NoEntry,
        // zbus names the socket it missed, which helps nobody on a host that has no desktop.
        Error::PlatformFailure(e) if e.to_string().contains("Failed to connect") => "no session bus".into(),
        Error::PlatformFailure(e) | Error::NoStorageAccess(e) => e.to_string(),
        Error::NotSupportedByStore(why) => why.clone(),
        Error::BadEncoding(_) | Error::BadDataFormat(..) => "the value is not a text".into(),
        Error::Ambiguous(_) => "several entries have this name".into(),
        Error::TooLong(what, most) => format!("{what} is longer than {most}"),
        Error::Invalid(what, why) => format!("{what} {why}"),
        _ => "the keyring failed".into(),
    })
}

/// The first keyring that works here, or why none does.
pub fn working(ctx: &SecretContext) -> Result<Keyring, String> {
    let mut why = Vec::new();
    for kind in wanted(ctx) {
        match with_entry(*kind, "watchfloor.probe", |entry| entry.get_secret().map(drop)) {
            Ok(()) | Err(Trouble::NoEntry) => return Ok(*kind),
            Err(Trouble::Away(e)) => why.push(format!("{}: {e}", kind.word())),
        }
    }
    Err(format!("no keyring works here ({}); use file:PATH instead", why.join("; ")))
}

/// The value, and the keyring that had it.
pub fn get(name: &str, ctx: &SecretContext) -> Result<(Secret, Keyring), SecretError> {
    let reference = Reference::Keyring(name.to_owned());
    let mut away = Vec::new();
    let mut asked = Vec::new();
    // Where it was put first: asking a locked Secret Service for what the kernel keeps would only cost time.
    let put = index::names(ctx).unwrap_or_default().into_iter().find(|n| n.name == name).map(|n| n.keyring);
    let mut kinds = wanted(ctx).to_vec();
    kinds.sort_by_key(|kind| Some(*kind) != put);
    for kind in kinds {
        match with_entry(kind, name, |entry| entry.get_secret().map(Zeroizing::new)) {
            Ok(bytes) => {
                let text = std::str::from_utf8(&bytes).map_err(|_| reference.refused("the value is not UTF-8 text"))?;
                return Ok((Secret::new(text), kind));
            }
            Err(Trouble::NoEntry) => asked.push(kind.word()),
            Err(Trouble::Away(e)) => away.push(format!("{}: {e}", kind.word())),
        }
    }
    if asked.is_empty() {
        return Err(reference.unreachable(format!("no keyring works here ({})", away.join("; "))));
    }
    let also = if away.is_empty() { String::new() } else { format!(" ({})", away.join("; ")) };
    let why = format!("not in {}{also}; set it with: watchfloor secret set {name}", asked.join(" or "));
    Err(reference.missing(why))
}

/// Keeps a value in the first keyring that works, which it names.
pub fn set(name: &str, value: &Secret, ctx: &SecretContext) -> Result<Keyring, SecretError> {
    let reference = Reference::Keyring(name.to_owned());
    let _: Reference = reference.to_string().parse()?;
    let kind = working(ctx).map_err(|why| reference.unreachable(why))?;
    let bytes = Zeroizing::new(value.expose().as_bytes().to_vec());
    with_entry(kind, name, move |entry| entry.set_secret(&bytes)).map_err(|t| match t {
        Trouble::Away(e) => reference.unreachable(format!("{}: {e}", kind.word())),
        Trouble::NoEntry => reference.unreachable(format!("{}: there is no keyring to add to", kind.word())),
    })?;
    let entry = NamedSecret { name: name.to_owned(), keyring: kind, set_at: jiff::Timestamp::now() };
    index::add(ctx, entry).map_err(|e| reference.unreachable(format!("set, but the index cannot be written: {e}")))?;
    Ok(kind)
}

/// Removes a value from every keyring that has it. Says from which.
pub fn remove(name: &str, ctx: &SecretContext) -> Result<Vec<Keyring>, SecretError> {
    let reference = Reference::Keyring(name.to_owned());
    let mut gone = Vec::new();
    let mut away = Vec::new();
    for kind in wanted(ctx) {
        match with_entry(*kind, name, |entry| entry.delete_credential()) {
            Ok(()) => gone.push(*kind),
            Err(Trouble::NoEntry) => {}
            Err(Trouble::Away(e)) => away.push((*kind, format!("{}: {e}", kind.word()))),
        }
    }
    // A keyring that is away may still hold it: then its name stays known.
    let still = index::names(ctx).unwrap_or_default().into_iter().find(|n| n.name == name).map(|n| n.keyring);
    if let Some((_, why)) = away.iter().find(|(kind, _)| Some(*kind) == still) {
        return Err(reference.unreachable(why.clone()));
    }
    index::remove(ctx, name).map_err(|e| reference.unreachable(format!("the index cannot be written: {e}")))?;
    if gone.is_empty() && still.is_none() {
        return Err(reference.missing("there is no such secret"));
    }
    Ok(gone)
}
