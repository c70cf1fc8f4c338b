//! Who works here, what matters, and whether secrets are where the settings say.

use super::Check;
use crate::config::keys::{KEYS, Kind};
use crate::config::secret::{self, Reference, SecretContext, SecretError, keyring};
use crate::config::{Loaded, explain, inventory as assets, roster as people};
use crate::model::person::{Person, Role};

pub fn roster(loaded: &Loaded) -> Vec<Check> {
    let name = "roster";
    let found = match people::load(loaded) {
        Ok(found) => found,
        Err(faults) => return vec![Check::fail(name, faults.to_string().replace('\n', "; "))],
    };
    let list = &found.roster.people;
    let mut checks: Vec<Check> = found.notices.iter().map(|n| Check::warn(name, n)).collect();
    if let Some(file) = &found.file {
        checks.push(Check::ok(name, format!("{} people in {}", list.len(), file.display())));
    }
    let uid = people::uid();
    checks.push(match found.roster.by_uid(uid) {
        Some(me) if me.read_only() => Check::warn("you", format!("{}: reading only", who(me))),
        Some(me) => Check::ok("you", who(me)),
        None => {
            let account = people::account_of(uid).unwrap_or_else(|| "no account".to_owned());
            Check::fail("you", format!("uid {uid} ({account}) is nobody of the roster, so you can only look"))
        }
    });
    let approvers = list.iter().filter(|p| p.has(Role::Approver) || p.has(Role::Lead) || p.has(Role::Commander));
    if found.file.is_some() && (approvers.count() == 0 || list.len() < 2) {
        checks.push(Check::warn("approvals", "nobody could approve what another proposes"));
    }
    // A person nobody can log in as is a typing error, or somebody of another host.
    let nobody: Vec<&str> =
        list.iter().filter(|p| p.uids.is_empty() && p.keys.is_empty()).map(|p| p.id.as_str()).collect();
    if !nobody.is_empty() {
        checks.push(Check::warn(name, format!("no account on this host and no key: {}", nobody.join(", "))));
    }
    checks
}

fn who(p: &Person) -> String {
    let roles: Vec<&str> = p.roles.iter().map(|r| r.word()).collect();
    let roles = if roles.is_empty() { "no role".to_owned() } else { roles.join(", ") };
    format!("{} ({}): {roles}", p.id, p.name)
}

pub fn inventory(loaded: &Loaded) -> Option<Check> {
    let file = loaded.settings.desk.inventory.as_deref()?;
    Some(match assets::read(file) {
        Ok(inv) if inv.is_empty() => Check::warn("inventory", format!("{} lists nothing", file.display())),
        Ok(inv) => Check::ok("inventory", format!("{} assets in {}", inv.len(), file.display())),
        Err(faults) => Check::fail("inventory", faults.to_string().replace('\n', "; ")),
    })
}

/// Looks up what can be looked up here; programs are not run and servers not asked.
pub fn secrets(loaded: &Loaded) -> Vec<Check> {
    let ctx = SecretContext::new(loaded);
    let mut checks = vec![match keyring::working(&ctx) {
        Ok(kind) => Check::ok("keyring", format!("{}, {}", kind.word(), kind.about())),
        Err(why) => Check::warn("keyring", why),
    }];
    for (key, reference) in references(loaded) {
        let name = "secret";
        checks.push(match reference.parse::<Reference>() {
            Err(e) => Check::fail(name, format!("{key}: {e}")),
            Ok(r @ (Reference::Command(_) | Reference::Vault { .. })) => {
                Check::unknown(name, format!("{key} = {r}: not tried"))
                    .advise("watchfloor secret get REFERENCE tries it")
            }
            Ok(r) => match secret::resolve(&reference, &ctx) {
                Ok(_) => Check::ok(name, format!("{key} = {r}")),
                Err(e @ SecretError::Unreachable { .. }) => Check::unknown(name, format!("{key}: {e}")),
                Err(e) => Check::fail(name, format!("{key}: {e}")),
            },
        });
    }
    checks
}

/// Each setting that is a reference, with the reference as written.
fn references(loaded: &Loaded) -> Vec<(String, String)> {
    let json = serde_json::to_value(&loaded.settings).unwrap_or_default();
    let mut out = Vec::new();
    for key in KEYS.iter().filter(|k| k.kind == Kind::Secret) {
        let segments: Vec<&str> = key.segments().collect();
        explain::visit(&json, &segments, &mut Vec::new(), &mut |path, value| {
            if let Some(text) = value.as_str() {
                out.push((crate::config::keys::dotted(path), text.to_owned()));
            }
        });
    }
    out
}
