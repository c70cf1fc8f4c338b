//! The password of Ansible's vault, by reference.
//!
//! What is approved names the reference. Where `ansible-playbook` runs, a file that only this account can read stands in
//! its place, in memory where the machine has such a folder, for as long as the run lasts.

use std::io::Write as _;
use std::path::Path;

use tempfile::NamedTempFile;

use super::super::Secrets;
use crate::model::action::RequestBody;

const OPTION: &str = "--vault-password-file=";
/// Held in memory, on Linux.
const MEMORY: &str = "/dev/shm";

/// The option that names the reference.
pub(super) fn option(reference: &str) -> String {
    format!("{OPTION}{reference}")
}

/// A password that was looked up, for one run.
#[derive(Debug, Default)]
pub(super) struct Vault(Option<(String, NamedTempFile)>);

impl Vault {
    /// Looks up what the approved command names; nothing where it names none.
    pub async fn open(body: &RequestBody, secrets: &Secrets) -> Result<Self, String> {
        let args = body.commands.iter().flat_map(|c| &c.argv);
        let Some(option) = args.into_iter().find(|a| a.starts_with(OPTION) && is_reference(a)) else {
            return Ok(Self::default());
        };
        let (option, secrets) = (option.clone(), Secrets::clone(secrets));
        let looked_up = tokio::task::spawn_blocking(move || {
            let secret = secrets(&option[OPTION.len()..])?;
            let folder = Path::new(MEMORY);
            let make = || if folder.is_dir() { NamedTempFile::new_in(folder) } else { NamedTempFile::new() };
            let kept = make().and_then(|mut f| f.write_all(secret.as_bytes()).map(|()| f));
            kept.map(|file| Self(Some((option, file)))).map_err(|e| format!("the vault's password: {e}"))
        });
        looked_up.await.map_err(|e| e.to_string())?
    }

    /// The argument as the program gets it.
    pub fn given(&self, arg: &str) -> String {
        match &self.0 {
            Some((option, file)) if option == arg => format!("{OPTION}{}", file.path().display()),
            _ => arg.to_owned(),
        }
    }
}

fn is_reference(arg: &str) -> bool {
    arg.strip_prefix(OPTION).is_some_and(|r| r.parse::<crate::config::secret::Reference>().is_ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    use super::*;
    use crate::model::action::Command;
    use crate::respond::testing::body;

    #[tokio::test]
    async fn a_file_of_ours_alone_stands_for_the_reference_and_goes_with_the_run() {
        let mut b = body(&["h"]);
        let argv = vec!["/usr/bin/ansible-playbook".into(), option("keyring:vault"), "/p.yml".into()];
        b.commands = vec![Command { targets: vec![], argv, files: Default::default() }];
        let secrets: Secrets = Arc::new(|r| if r == "keyring:vault" { Ok("s3cret".into()) } else { Err("?".into()) });
        let vault = Vault::open(&b, &secrets).await.unwrap();
        let given = vault.given(&option("keyring:vault"));
        let path = given.strip_prefix(OPTION).unwrap().to_owned();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "s3cret");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(vault.given("/p.yml"), "/p.yml");
        drop(vault);
        assert!(!Path::new(&path).exists());
        let none: Secrets = Arc::new(|_| Err("the keyring is locked".into()));
        assert_eq!(Vault::open(&b, &none).await.unwrap_err(), "the keyring is locked");
    }
}
