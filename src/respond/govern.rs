//! Policy and roster change as everything else does: proposed with the difference shown, approved by others at the
//! highest tier, written once. What somebody writes into the files past the desk is noticed and recorded.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::policy::Policy;
use super::{Inner, RespondError, Responder, Result, digest};
use crate::model::action::{
    ActionDef, Draft, Executor, Finding, Governed, ParamDef, ParamType, Request, RequestBody, RequestState, Suggested,
    TargetRule, Tier,
};
use crate::model::ids::PersonId;
use crate::model::person::Roster;
use crate::store::StoreError;
use crate::text::Untrusted;

const POLICY: &str = "change-policy";
const ROSTER: &str = "change-roster";
/// Its parameter: the whole new file.
pub(super) const TEXT: &str = "text";
/// Longest file, in bytes.
const MAX: usize = 256 << 10;
/// Documents of the store: the digest each file had when the desk last looked.
const SEEN: &str = "governed";

pub fn name(what: Governed) -> &'static str {
    match what {
        Governed::Policy => POLICY,
        Governed::Roster => ROSTER,
    }
}

/// Whether this action changes how the desk is governed.
pub fn governs(action: &str) -> bool {
    action == POLICY || action == ROSTER
}

/// As the catalogue has it.
pub fn entry(what: Governed, path: &Path) -> ActionDef {
    ActionDef {
        name: name(what).into(),
        title: format!("Change the {} of this desk", what.word()),
        help: format!("watchfloor {} propose FILE", what.word()),
        tier: Tier::T3,
        targets: TargetRule { kind: ParamType::Choice { of: vec![what.word().into()] }, allow: Vec::new(), max: 1 },
        params: vec![ParamDef {
            name: TEXT.into(),
            kind: ParamType::Document { max: MAX },
            help: "the whole new file".into(),
            default: None,
        }],
        undo: None,
        contains: false,
        executor: Executor::Govern { what, path: path.display().to_string() },
    }
}

/// What a person proposes who wants this text to be the new file.
pub fn draft(what: Governed, text: &str, reason: Untrusted) -> Draft {
    Draft {
        action: name(what).into(),
        targets: vec![what.word().into()],
        params: [(TEXT.to_owned(), text.to_owned())].into(),
        alerts: Vec::new(),
        case: None,
        reason,
        suggested_by: Suggested::Person,
    }
}

/// Policy and roster as a request would make them; `None`: it changes neither, or cannot be read.
fn after(
    body: &RequestBody,
    policy: &Policy,
    roster: &Roster,
) -> Option<std::result::Result<(Policy, Roster), String>> {
    let text = body.params.get(TEXT)?;
    let (mut policy, mut roster) = (policy.clone(), roster.clone());
    match body.action.as_str() {
        POLICY => match Policy::parse(Path::new("policy.toml"), text) {
            Ok(new) => policy = new,
            Err(e) => return Some(Err(e.to_string())),
        },
        ROSTER => match crate::config::roster::parse_text(Path::new("roster.toml"), text) {
            Ok(new) => roster = new.roster,
            Err(e) => return Some(Err(e.to_string())),
        },
        _ => return None,
    }
    Some(Ok((policy, roster)))
}

/// Who may approve at the highest tier.
fn say(policy: &Policy, roster: &Roster) -> Vec<PersonId> {
    let roles = policy.rules.tier(Tier::T3).approve;
    let may = |p: &&crate::model::person::Person| !p.read_only() && roles.iter().any(|r| p.has(*r));
    roster.people.iter().filter(may).map(|p| p.id.clone()).collect()
}

/// Those whom a request takes their say at the highest tier: they cannot carry it alone.
pub fn leaving(body: &RequestBody, policy: &Policy, roster: &Roster) -> Vec<PersonId> {
    if !governs(&body.action) {
        return Vec::new();
    }
    let Some(Ok((new_policy, new_roster))) = after(body, policy, roster) else { return Vec::new() };
    let left = say(&new_policy, &new_roster);
    say(policy, roster).into_iter().filter(|p| !left.contains(p)).collect()
}

/// What is to be said of a change of policy or roster before anybody approves it.
pub fn findings(body: &RequestBody, policy: &Policy, roster: &Roster) -> Vec<Finding> {
    let mut out = Vec::new();
    let mut add = |refuses: bool, text: String| out.push(Finding { refuses, text });
    let (new_policy, new_roster) = match after(body, policy, roster) {
        None => return out,
        Some(Err(why)) => {
            add(true, format!("it cannot be read: {why}"));
            return out;
        }
        Some(Ok(new)) => new,
    };
    let (before, left) = (say(policy, roster), say(&new_policy, &new_roster));
    // Besides whoever asks there must be as many as the next change will take, or nobody could ever set it right.
    let needed = usize::from(new_policy.rules.tier(Tier::T3).approvals.max(1));
    if left.is_empty() {
        add(true, "it would leave nobody who may approve at the highest tier".into());
    } else if left.len() < needed {
        let n = left.len();
        add(
            true,
            format!("it would leave {n} who may approve at the highest tier, and the next change takes {needed}"),
        );
    }
    if !say_any(&new_policy, &new_roster) {
        add(true, "it would leave nobody who may propose anything".into());
    }
    let join = |people: Vec<&PersonId>| people.iter().map(|p| p.as_str()).collect::<Vec<_>>().join(", ");
    let gone: Vec<&PersonId> = before.iter().filter(|p| !left.contains(p)).collect();
    let come: Vec<&PersonId> = left.iter().filter(|p| !before.contains(p)).collect();
    if !gone.is_empty() {
        add(false, format!("it takes the say at the highest tier from {}; they cannot carry it alone", join(gone)));
    }
    if !come.is_empty() {
        add(false, format!("it gives a say at the highest tier to {}", join(come)));
    }
    let terms = |p: &Policy| p.rules.tier(Tier::T3).approvals;
    if terms(&new_policy) < terms(policy) {
        add(false, format!("it lowers the approvals of the highest tier from {} to {}", terms(policy), needed));
    }
    out
}

fn say_any(policy: &Policy, roster: &Roster) -> bool {
    let roles = &policy.rules.roles.propose;
    roster.people.iter().any(|p| !p.read_only() && roles.iter().any(|r| p.has(*r)))
}

/// What the desk remembers of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenFile {
    pub digest: String,
    /// It was changed past the desk, then.
    pub outside: Option<Timestamp>,
}

impl Responder {
    /// Looks whether policy and roster still are what the desk last saw or wrote; what is not is recorded, once, and
    /// told. Returns what was changed past the desk.
    pub fn watch_governed(&self, now: Timestamp) -> Result<Vec<Governed>> {
        let inner = &self.inner;
        let policy = inner.rules.read().unwrap_or_else(std::sync::PoisonError::into_inner).policy.path.clone();
        let mut changed = Vec::new();
        for (what, path) in [(Governed::Policy, policy), (Governed::Roster, inner.roster_file.clone())] {
            let Some(path) = path else { continue };
            // A file that cannot be read says so to whoever acts; here it has no digest to compare.
            let Ok(digest) = digest::of_file(&path) else { continue };
            if inner.look_at(what, &path, &digest, now)? {
                changed.push(what);
            }
        }
        Ok(changed)
    }

    /// What the desk remembers of its files.
    pub fn governed(&self) -> Result<Vec<(Governed, SeenFile)>> {
        let mut out = Vec::new();
        for what in Governed::ALL {
            if let Some((seen, _)) = self.inner.seen(what)? {
                out.push((what, seen));
            }
        }
        Ok(out)
    }
}

impl Inner {
    fn seen(&self, what: Governed) -> Result<Option<(SeenFile, u64)>> {
        let Some(doc) = self.store.doc(SEEN, what.word())? else { return Ok(None) };
        let seen = serde_json::from_str(&doc.body)
            .map_err(|e| RespondError::Unavailable(format!("what is known of the {}: {e}", what.word())))?;
        Ok(Some((seen, doc.rev)))
    }

    /// True: it was changed past the desk, and this process is the one that says so.
    fn look_at(&self, what: Governed, path: &Path, digest: &str, now: Timestamp) -> Result<bool> {
        let known = self.seen(what)?;
        let rev = known.as_ref().map_or(0, |(_, rev)| *rev);
        let before = known.map(|(seen, _)| seen.digest);
        if before.as_deref() == Some(digest) {
            return Ok(false);
        }
        let by_request = before.is_some() && self.written_by_a_request(what, digest)?;
        let outside = before.is_some() && !by_request;
        let seen = SeenFile { digest: digest.to_owned(), outside: outside.then_some(now) };
        let body = serde_json::to_string(&seen).map_err(|e| RespondError::Unavailable(e.to_string()))?;
        if outside {
            let record = json!({ "file": path, "from": before, "to": digest });
            // Recorded before it is remembered; that somebody remembered it meanwhile is seen under the log's lock.
            let first = || match self.seen(what) {
                Ok(Some((s, _))) if s.digest == digest => Err("known".to_owned()),
                Ok(_) => Ok(()),
                Err(e) => Err(e.to_string()),
            };
            let kind = format!("{}.changed_outside", what.word());
            if self.audit.append_if(None, &kind, None, record, now, first)?.is_err() {
                return Ok(false);
            }
        }
        match self.store.put_doc(SEEN, what.word(), &body, rev, now) {
            Ok(_) => {}
            Err(StoreError::Conflict(_)) => return Ok(false),
            Err(e) => return Err(e.into()),
        }
        Ok(outside)
    }

    /// Whether a request that was approved wrote exactly these bytes, or is about to have.
    fn written_by_a_request(&self, what: Governed, digest: &str) -> Result<bool> {
        let states = [RequestState::Executing, RequestState::Done, RequestState::Failed];
        let wrote = |r: &Request| {
            r.body.action == name(what)
                && r.body.params.get(TEXT).is_some_and(|t| digest::of_bytes(t.as_bytes()) == digest)
        };
        Ok(self.store.requests(&states, 1000)?.iter().any(wrote))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::respond::testing::body;

    fn people(ids: &[(&str, &str)]) -> String {
        ids.iter().map(|(id, role)| format!("[[people]]\nid = \"{id}\"\nroles = [\"{role}\"]\n")).collect()
    }

    fn ask(what: Governed, text: &str) -> RequestBody {
        let mut b = body(&[what.word()]);
        b.action = name(what).into();
        b.params.insert(TEXT.into(), text.into());
        b
    }

    fn ids(of: &[PersonId]) -> Vec<&str> {
        of.iter().map(PersonId::as_str).collect()
    }

    #[test]
    fn nobody_is_left_out_alone_and_the_last_approvers_stay() {
        let policy = Policy::built_in();
        let now = people(&[("ana", "analyst"), ("bob", "lead"), ("carol", "commander"), ("dora", "approver")]);
        let roster = crate::config::roster::parse_text(Path::new("r"), &now).unwrap().roster;
        let without_bob = ask(
            Governed::Roster,
            &people(&[("ana", "analyst"), ("bob", "analyst"), ("carol", "commander"), ("dora", "approver")]),
        );
        assert_eq!(ids(&leaving(&without_bob, &policy, &roster)), ["bob"], "a role taken is a say taken");
        assert!(findings(&without_bob, &policy, &roster).iter().all(|f| !f.refuses));
        for (left, why) in [
            (&[("ana", "analyst")][..], "nobody who may approve"),
            (&[("ana", "analyst"), ("carol", "commander")], "leave 1 who may approve"),
            (&[("bob", "auditor"), ("carol", "auditor")], "nobody who may approve"),
        ] {
            let said = findings(&ask(Governed::Roster, &people(left)), &policy, &roster);
            assert!(said.iter().any(|f| f.refuses && f.text.contains(why)), "{left:?}: {said:?}");
        }
        let said = findings(&ask(Governed::Roster, "[[people]]\nid = 5\n"), &policy, &roster);
        assert!(said[0].refuses && said[0].text.contains("roster.toml:2:"), "{said:?}");
        // The policy can take a say, too.
        let strict = ask(Governed::Policy, "[tiers.T3]\napprove = [\"commander\"]\napprovals = 1\n");
        assert_eq!(ids(&leaving(&strict, &policy, &roster)), ["bob", "dora"]);
        let said = findings(&strict, &policy, &roster);
        assert!(said.iter().all(|f| !f.refuses) && said.iter().any(|f| f.text.contains("from 2 to 1")), "{said:?}");
        let shut = ask(Governed::Policy, "[tiers.T3]\napprove = [\"facilitator\"]\n");
        assert!(findings(&shut, &policy, &roster).iter().any(|f| f.refuses));
        assert!(leaving(&body(&["web1"]), &policy, &roster).is_empty());
    }
}
