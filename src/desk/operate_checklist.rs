//! Checklists of this desk: what the desk sees, what people tick, sign-off.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;

use super::Desk;
use super::DeskError;
use super::LinkState;
use super::Result;
use super::live::stopped_within;
use crate::model::health::Tri;
use crate::model::ids::PersonId;
use crate::model::person::Role;
use crate::model::sla::CheckItem;
use crate::model::sla::Checklist;
use crate::model::sla::ChecklistRun;
use crate::operate::checklist;
use crate::operate::checklist::Facts;
use crate::operate::checklist::Kept;
use crate::operate::checklist::PersonTick;
use crate::operate::checklist::Seen;
use crate::operate::sla::report::escape_markdown;
use crate::store::Store;
use crate::text::Untrusted;

pub use crate::operate::checklist::answer_of;

/// The run of each list, and those that were signed.
const RUN: &str = "checklist";
const SIGNED: &str = "checklist.signed";
/// What the leading process last saw.
const FACTS: &str = "facts";
/// The whole audit log is read for it.
const VERIFY_EVERY: Duration = Duration::from_secs(300);

impl Desk {
    /// Every list as it stands.
    pub fn checklists(&self) -> Result<Vec<ChecklistRun>> {
        let facts = self.facts(self.audit_verifies())?;
        self.checklist_runs(&facts)
    }

    /// One list as it stands.
    pub fn checklist(&self, name: &str) -> Result<ChecklistRun> {
        let list = list(name)?;
        let facts = self.facts(self.audit_verifies())?;
        Ok(checklist::resolve(&list, self.kept_run(name)?.1.as_ref(), &facts, Timestamp::now()))
    }

    pub fn checklist_markdown(&self, run: &ChecklistRun) -> String {
        checklist::markdown(run, escape_markdown)
    }

    /// Says that an item passes or fails. To pass what the desk itself sees failing takes `overrules`, a reason.
    pub fn tick(
        &self,
        by: &PersonId,
        name: &str,
        item: &str,
        pass: bool,
        evidence: Untrusted,
        overrules: Option<Untrusted>,
    ) -> Result<ChecklistRun> {
        self.authorise(by)?;
        let list = list(name)?;
        let item = item_of(&list, item)?;
        let (rev, kept) = self.kept_run(name)?;
        let now = Timestamp::now();
        let mut kept = kept.unwrap_or(Kept { list: name.into(), begun: now, ticks: Vec::new(), signed: None });
        if let Some((who, _)) = &kept.signed {
            return Err(DeskError::No(format!("{who} signed it off: `checklist begin {name}` starts a new run")));
        }
        let blank = |t: &Untrusted| t.expose().trim().is_empty();
        if blank(&evidence) || overrules.as_ref().is_some_and(blank) {
            return Err(DeskError::Usage(format!("say what shows it: {}", item.evidence)));
        }
        let facts = self.facts(self.audit_verifies())?;
        let own = item.auto.as_deref().and_then(|f| checklist::auto(f, &facts).map(|word| (f, word)));
        if let (true, Some((fact, Tri::Fail)), None) = (pass, own, &overrules) {
            let seen = facts.evidence(fact);
            return Err(DeskError::Refused(format!(
                "the desk sees it failing ({seen}): to overrule it, give a reason"
            )));
        }
        let tick = PersonTick { item: item.id.clone(), pass, by: by.clone(), at: now, evidence, overrules };
        let body = json!({ "list": name, "tick": tick, "desk": own.map(|o| o.1) });
        self.audit.append(Some(by), "checklist.tick", None, body, now)?;
        kept.ticks.push(tick);
        self.keep_run(name, &kept, rev, now)?;
        Ok(checklist::resolve(&list, Some(&kept), &facts, now))
    }

    /// A commander or a lead puts their name to it; only when every item passes.
    pub fn sign_checklist(&self, by: &PersonId, name: &str) -> Result<ChecklistRun> {
        let person = self.authorise(by)?;
        if !(person.has(Role::Commander) || person.has(Role::Lead)) {
            return Err(DeskError::Refused("a checklist is signed off by a commander or a lead".into()));
        }
        let list = list(name)?;
        let (rev, kept) = self.kept_run(name)?;
        let now = Timestamp::now();
        let mut kept = kept.unwrap_or(Kept { list: name.into(), begun: now, ticks: Vec::new(), signed: None });
        if let Some((who, _)) = &kept.signed {
            return Err(DeskError::No(format!("{who} signed it off already")));
        }
        let facts = self.facts(self.audit_verifies())?;
        let run = checklist::resolve(&list, Some(&kept), &facts, now);
        let open: Vec<&str> =
            list.items.iter().map(|i| i.id.as_str()).filter(|i| answer_of(&run, i).0 != Tri::Pass).collect();
        if !open.is_empty() {
            return Err(DeskError::Refused(format!("{} items do not pass: {}", open.len(), open.join(", "))));
        }
        self.audit.append(Some(by), "checklist.sign", None, json!({ "list": name, "run": run }), now)?;
        kept.signed = Some((by.clone(), now));
        self.keep_run(name, &kept, rev, now)?;
        let run = checklist::resolve(&list, Some(&kept), &facts, now);
        // With what the desk saw at that moment: it may see something else tomorrow.
        self.store.put_doc(SIGNED, &format!("{name}@{now}"), &write(&run)?, 0, now)?;
        Ok(run)
    }

    /// Starts a new run: what people ticked before no longer counts. Signed runs are kept.
    pub fn begin_checklist(&self, by: &PersonId, name: &str) -> Result<()> {
        self.authorise(by)?;
        list(name)?;
        let (rev, _) = self.kept_run(name)?;
        let now = Timestamp::now();
        self.audit.append(Some(by), "checklist.begin", None, json!({ "list": name }), now)?;
        self.keep_run(name, &Kept { list: name.into(), begun: now, ticks: Vec::new(), signed: None }, rev, now)
    }

    fn kept_run(&self, name: &str) -> Result<(u64, Option<Kept>)> {
        let Some(doc) = self.store.doc(RUN, name)? else { return Ok((0, None)) };
        let kept = serde_json::from_str(&doc.body);
        Ok((doc.rev, Some(kept.map_err(|e| DeskError::Usage(format!("checklist {name} cannot be read: {e}")))?)))
    }

    fn keep_run(&self, name: &str, kept: &Kept, rev: u64, now: Timestamp) -> Result<()> {
        self.store.put_doc(RUN, name, &write(kept)?, rev, now)?;
        Ok(())
    }

    fn checklist_runs(&self, facts: &Facts) -> Result<Vec<ChecklistRun>> {
        let now = Timestamp::now();
        let mut runs = Vec::new();
        for list in lists()? {
            runs.push(checklist::resolve(&list, self.kept_run(&list.name)?.1.as_ref(), facts, now));
        }
        Ok(runs)
    }

    fn audit_verifies(&self) -> Option<bool> {
        crate::audit::verify(&self.data_dir.join("audit"), None).ok().map(|r| r.ok)
    }

    /// What this process sees, and where it sees nothing, what the leading one saw within minutes.
    fn facts(&self, audit_verifies: Option<bool>) -> Result<Facts> {
        let now = Timestamp::now();
        let platform = self.platform();
        let links = self.links();
        let live = links.iter().filter(|l| l.state == LinkState::Live).count();
        let may_approve = |p: &&crate::model::person::Person| {
            [Role::Approver, Role::Lead, Role::Commander].into_iter().any(|r| p.has(r))
        };
        let health = self.health.lock().ok().and_then(|h| h.clone());
        let seen = Seen {
            slos: Some(platform.slos.len()).filter(|n| *n > 0),
            gate: &platform.gate,
            rollouts: &platform.rollouts,
            assets: &platform.assets,
            sla: &platform.sla,
            sources: &platform.sources,
            links: Some((live, links.len())),
            audit_verifies,
            kill_switch_off: self.store.kill_switch().ok().map(|k| k.is_none()),
            dead_letters: self.dead_letter_count().ok(),
            approvers: Some(self.roster().people.iter().filter(may_approve).count()),
            policy_present: Some(self.settings.respond.policy.is_some()),
            model_up: health.map(|h| h.up && h.name != "rules"),
            tls: serde_json::to_value(&self.settings).ok().map(|v| addresses(&v)),
        };
        let mut facts = Facts::of(&seen, now);
        if let Some(doc) = self.store.doc(FACTS, "leader")?
            && let Ok(other) = serde_json::from_str::<Facts>(&doc.body)
        {
            facts.fill(&other, now);
        }
        Ok(facts)
    }
}

fn lists() -> Result<Vec<Checklist>> {
    checklist::bundled().map_err(DeskError::Usage)
}

fn list(name: &str) -> Result<Checklist> {
    let all = lists()?;
    let names: Vec<String> = all.iter().map(|l| l.name.clone()).collect();
    all.into_iter()
        .find(|l| l.name == name)
        .ok_or_else(|| DeskError::Usage(format!("no checklist {name:?}; known: {}", names.join(", "))))
}

fn item_of<'a>(list: &'a Checklist, id: &str) -> Result<&'a CheckItem> {
    let near = || crate::config::fault::nearest(id, list.items.iter().map(|i| i.id.as_str())).unwrap_or("none");
    let found = list.items.iter().find(|i| i.id == id);
    found.ok_or_else(|| DeskError::Usage(format!("no item {id:?} in {}; the nearest: {}", list.name, near())))
}

fn write<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| DeskError::Usage(format!("cannot be written as JSON: {e}")))
}

/// Addresses outside this host anywhere in the settings: without TLS, and with.
fn addresses(value: &serde_json::Value) -> (usize, usize) {
    use serde_json::Value;
    let add = |a: (usize, usize), b: (usize, usize)| (a.0 + b.0, a.1 + b.1);
    match value {
        Value::String(text) => {
            let host = |rest: &str| {
                let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
                host.starts_with("127.") || host.starts_with("[::1]") || host.split(':').next() == Some("localhost")
            };
            match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
                (Some(rest), _) if !host(rest) => (1, 0),
                (_, Some(rest)) if !host(rest) => (0, 1),
                _ => (0, 0),
            }
        }
        Value::Array(all) => all.iter().map(addresses).fold((0, 0), add),
        Value::Object(all) => all.values().map(addresses).fold((0, 0), add),
        _ => (0, 0),
    }
}

/// Keeps the lists in this process's reading. The process that leads also leaves what it sees for the others.
pub(super) async fn keep(desk: Arc<Desk>, mut stop: watch::Receiver<bool>, leads: bool) {
    let pause = Duration::from_secs(desk.settings.operate.refresh_seconds.clamp(5, 60));
    let mut verified: Option<(std::time::Instant, Option<bool>)> = None;
    while !stopped_within(&mut stop, pause.min(Duration::from_secs(10))).await {
        let reader = Arc::clone(&desk);
        let known = verified.filter(|v| v.0.elapsed() < VERIFY_EVERY);
        let done = tokio::task::spawn_blocking(move || {
            let known = known.unwrap_or_else(|| (std::time::Instant::now(), reader.audit_verifies()));
            (known, reader.keep_checklists(known.1, leads))
        });
        let Ok((known, kept)) = done.await else { return };
        verified = Some(known);
        if let Err(e) = kept {
            tracing::warn!(error = %e, "checklists");
        }
        if stopped_within(&mut stop, pause).await {
            return;
        }
    }
}

impl Desk {
    fn keep_checklists(&self, audit_verifies: Option<bool>, leads: bool) -> Result<()> {
        let facts = self.facts(audit_verifies)?;
        if leads {
            let rev = self.store.doc(FACTS, "leader")?.map_or(0, |d| d.rev);
            self.store.put_doc(FACTS, "leader", &write(&facts)?, rev, Timestamp::now())?;
            return Ok(());
        }
        let runs = self.checklist_runs(&facts)?;
        self.read_platform(|p| p.checklists = runs);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::Demo;

    #[test]
    fn readiness_is_ticked_overruled_with_a_reason_and_signed_when_all_pass() {
        let dir = tempfile::tempdir().unwrap();
        let demo = Demo::open(Some(dir.path().join("d")), None).unwrap();
        let desk = &demo.desk;
        let [alice, carol] = ["alice", "carol"].map(|p| PersonId::new(p).unwrap());
        let say = |item: &str, why: Option<&str>| {
            desk.tick(&alice, "readiness", item, true, Untrusted::new("seen"), why.map(Untrusted::new))
        };
        let run = desk.checklist("readiness").unwrap();
        // The desk itself sees that the log verifies and the switch is off, and nothing of backups.
        assert_eq!(answer_of(&run, "rdp-01").0, Tri::Pass);
        assert_eq!(answer_of(&run, "rdp-03").0, Tri::Pass);
        assert_eq!(answer_of(&run, "rdb-01").0, Tri::Unknown);
        desk.set_kill_switch(&carol, true).unwrap();
        assert!(matches!(say("rdp-03", None), Err(DeskError::Refused(_))));
        assert!(matches!(desk.sign_checklist(&carol, "readiness"), Err(DeskError::Refused(_))));
        for item in &run.list.items {
            say(&item.id, Some("a rehearsal")).unwrap();
        }
        assert!(matches!(desk.sign_checklist(&alice, "readiness"), Err(DeskError::Refused(_))), "an analyst");
        let signed = desk.sign_checklist(&carol, "readiness").unwrap();
        assert_eq!((signed.answer, signed.signed.map(|s| s.0)), (Tri::Pass, Some(carol.clone())));
        assert!(matches!(say("rdp-03", Some("more")), Err(DeskError::No(_))), "signed");
        desk.begin_checklist(&carol, "readiness").unwrap();
        assert_eq!(desk.checklist("readiness").unwrap().answer, Tri::Fail, "the switch is on");
        assert_eq!(desk.store.docs(SIGNED, 9).unwrap().len(), 1);
        let text = json!({ "a": ["http://x.example", "https://y", "http://localhost:1", "http://127.0.0.1"] });
        assert_eq!(addresses(&text), (1, 1));
    }
}
