//! Acting: propose, check against the policy, dry run, approve by somebody else, execute once, keep the receipts.
//!
//! ```text
//! Draft -> values checked -> policy -> commands rendered -> dry run -> audit action.proposed -> store (pending)
//!       -> another person, same digest -> audit action.approved -> store (approved)
//!       -> everything looked at again -> Approved -> store begins (once) -> audit action.intent (fsync)
//!       -> processes or requests -> receipts -> audit action.outcome -> store (done, failed)
//! ```
//!
//! A kill -9 anywhere in this runs nothing twice and nothing unrecorded: the store lets a request begin once, the
//! intent is on the disk before anything starts, and a request that began but whose executor is gone ends as failed,
//! with receipts that say what is not known. Whether an executor is gone is told by a lock the kernel holds for it.

pub mod again;
pub mod approve;
pub mod cab;
pub mod catalogue;
mod decide;
pub mod digest;
mod drafts;
pub mod evaluate;
pub mod execute;
mod glass;
pub mod govern;
mod hmac;
mod ladder;
mod lease;
mod leftover;
pub mod life;
pub mod notify;
pub mod policy;
mod propose;
mod receipt;
mod recover;
pub mod request;
mod run;
pub mod sign;
pub mod simulate;
mod talk;
#[cfg(test)]
pub(crate) mod testing;
pub mod value;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};

pub use catalogue::Catalogue;
pub use evaluate::Guard;
pub use evaluate::Guarding;
pub use execute::Clusters;
pub use execute::Secrets;
pub use execute::kubernetes::catalogue as rollout_actions;
pub use execute::kubernetes::offered;
pub use leftover::is_drill;
pub use policy::Policy;
pub use wire::retry_after;

use crate::audit::{Audit, AuditError};
use crate::config::Faults;
use crate::model::act::TimelineEvent;
use crate::model::action::{ActionDef, Finding, Request, RequestState, Tier};
use crate::model::ids::{PersonId, RequestId};
use crate::model::person::{Person, Roster};
use crate::model::slo::{ChangeClass, GateAnswer};
use crate::store::{Store, StoreError};
use crate::text::Untrusted;
use approve::World;
use evaluate::{Override, PolicyInput, Stage};
use life::Facts;
use sign::SignerFiles;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum RespondError {
    /// By policy, by role, by the state of things.
    #[error("{0}")]
    Refused(String),
    /// It was asked for in a way that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The store, the audit log or a file cannot be used.
    #[error("{0}")]
    Unavailable(String),
    /// Somebody else was quicker.
    #[error("{0}")]
    Conflict(String),
}

impl From<StoreError> for RespondError {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::Conflict(_) => Self::Conflict(e.to_string()),
            StoreError::NotFound(_) => Self::Usage(e.to_string()),
            StoreError::Busy(_) | StoreError::Unavailable(_) | StoreError::Unreadable(_) => {
                Self::Unavailable(e.to_string())
            }
        }
    }
}

impl From<AuditError> for RespondError {
    fn from(e: AuditError) -> Self {
        Self::Unavailable(format!("nothing is done without a record: {e}"))
    }
}

impl From<Faults> for RespondError {
    fn from(e: Faults) -> Self {
        Self::Unavailable(e.to_string())
    }
}

type Result<T> = std::result::Result<T, RespondError>;

fn refused<T>(why: impl Into<String>) -> Result<T> {
    Err(RespondError::Refused(why.into()))
}

/// What the error budgets of these objectives (names with `*`) say of a change of this class.
pub type Budgets = Arc<dyn Fn(ChangeClass, &[String]) -> GateAnswer + Send + Sync>;

/// What guards a change of these targets with these parameters. Nothing: nobody asked for a guard.
pub type Guards = Arc<dyn Fn(&ActionDef, &[String], &BTreeMap<String, String>, Timestamp) -> Guarding + Send + Sync>;

/// What a [`Responder`] is made of.
pub struct ResponderDeps {
    pub store: Arc<dyn Store>,
    pub audit: Arc<Audit>,
    pub roster: Arc<Roster>,
    /// Where the roster came from; read again when it changed.
    pub roster_file: Option<PathBuf>,
    pub catalogue: Catalogue,
    pub policy: Policy,
    pub secrets: Secrets,
    /// Connections that may write to the clusters of the settings.
    pub clusters: Clusters,
    /// `DATA/run`: locks of running executions.
    pub run_dir: PathBuf,
    pub budgets: Budgets,
    pub guards: Guards,
    pub signers: SignerFiles,
}

/// The room's one door. Cheap to clone; every clone is the same one.
#[derive(Clone)]
pub struct Responder {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    audit: Arc<Audit>,
    roster_file: Option<PathBuf>,
    secrets: Secrets,
    clusters: Clusters,
    run_dir: PathBuf,
    budgets: Budgets,
    guards: Guards,
    signers: SignerFiles,
    /// Of the account this runs under, for child processes.
    home: PathBuf,
    rules: RwLock<InForce>,
    /// Executions this process has under way.
    running: AtomicUsize,
}

/// Catalogue, policy and people as they were last read.
#[derive(Clone, Debug)]
struct InForce {
    catalogue: Catalogue,
    policy: Policy,
    roster: Arc<Roster>,
    /// SHA-256 (hex) of the roster's file; empty before it was read here.
    roster_digest: String,
}

impl InForce {
    fn person(&self, id: &PersonId) -> Result<&Person> {
        match self.roster.get(id) {
            Some(p) if !p.read_only() => Ok(p),
            Some(p) => refused(format!("{} may only read", p.id)),
            None => refused(format!("{id} is not on the roster")),
        }
    }

    fn leaving(&self, request: &Request) -> Vec<PersonId> {
        govern::leaving(&request.body, &self.policy, &self.roster)
    }

    fn facts<'a>(&'a self, leaving: &'a [PersonId], now: Timestamp) -> Facts<'a> {
        Facts { people: &self.roster, rules: &self.policy.rules, leaving, now }
    }
}

impl Responder {
    pub fn new(deps: ResponderDeps) -> Self {
        let ResponderDeps {
            store,
            audit,
            roster,
            roster_file,
            catalogue,
            policy,
            secrets,
            clusters,
            run_dir,
            budgets,
            guards,
            signers,
        } = deps;
        let home = directories::BaseDirs::new().map_or_else(|| "/".into(), |d| d.home_dir().to_owned());
        let catalogue = catalogue.with_governing(policy.path.as_deref(), roster_file.as_deref());
        let rules = RwLock::new(InForce { catalogue, policy, roster, roster_digest: String::new() });
        Self {
            inner: Arc::new(Inner {
                store,
                audit,
                roster_file,
                secrets,
                clusters,
                run_dir,
                budgets,
                guards,
                signers,
                home,
                rules,
                running: AtomicUsize::new(0),
            }),
        }
    }

    /// Actions as they were last read.
    pub fn catalogue(&self) -> Arc<Vec<ActionDef>> {
        self.inner.rules.read().unwrap_or_else(PoisonError::into_inner).catalogue.defs()
    }

    /// The people as they are now; as they were last read where that cannot be told.
    pub fn people(&self) -> Arc<Roster> {
        match self.inner.in_force() {
            Ok(rules) => rules.roster,
            Err(e) => {
                tracing::warn!(error = %e, "the people are those last read");
                self.inner.rules.read().unwrap_or_else(PoisonError::into_inner).roster.clone()
            }
        }
    }

    /// Executions this process has under way. Ending it now stops them, with receipts that are not known.
    pub fn running(&self) -> usize {
        self.inner.running.load(Ordering::Relaxed)
    }

    /// People besides whoever asks that an action of this tier needs.
    pub fn approvals_of(&self, tier: Tier) -> u8 {
        self.inner.rules.read().unwrap_or_else(PoisonError::into_inner).policy.rules.tier(tier).approvals
    }

    /// Digest the policy file had when it was last read.
    pub fn policy_digest(&self) -> String {
        self.inner.rules.read().unwrap_or_else(PoisonError::into_inner).policy.digest.clone()
    }
}

impl Inner {
    /// Catalogue and policy as their files are now. A file that became unreadable is an error: the old rules are not
    /// used behind its back.
    fn in_force(&self) -> Result<InForce> {
        let old = self.rules.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut new = old.clone();
        if let Some(path) = &old.catalogue.path
            && digest::of_file(path).ok().as_ref() != Some(&old.catalogue.digest)
        {
            let read = Catalogue::load(path)?;
            let read = if old.catalogue.rollouts { read.with_rollouts() } else { read };
            new.catalogue = read.with_governing(old.policy.path.as_deref(), self.roster_file.as_deref());
        }
        if let Some(path) = &old.policy.path
            && digest::of_file(path).ok().as_ref() != Some(&old.policy.digest)
        {
            new.policy = Policy::load(path)?;
        }
        if let Some(path) = &self.roster_file {
            let digest = digest::of_file(path).map_err(RespondError::Unavailable)?;
            if digest != old.roster_digest {
                new.roster = Arc::new(crate::config::roster::read(path)?.roster);
                new.roster_digest = digest;
            }
        }
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = new.clone();
        Ok(new)
    }

    fn ways(&self) -> execute::Ways<'_> {
        execute::Ways { clusters: &self.clusters, secrets: &self.secrets }
    }

    fn world<'a>(&'a self, rules: &'a InForce) -> World<'a> {
        World { catalogue: &rules.catalogue, policy: &rules.policy, roster: &rules.roster, signers: &self.signers }
    }

    fn request(&self, id: &RequestId) -> Result<Request> {
        self.store.request(id)?.ok_or_else(|| RespondError::Usage(format!("there is no request {id}")))
    }

    /// Facts for wishes of the desk itself, which ask for nobody's role.
    fn nobody(&self, now: Timestamp) -> Facts<'static> {
        static NOBODY: std::sync::LazyLock<(Roster, policy::Rules)> = std::sync::LazyLock::new(Default::default);
        Facts { people: &NOBODY.0, rules: &NOBODY.1, leaving: &[], now }
    }

    /// What the policy says, with what the store knows of the last hour.
    fn findings(&self, rules: &InForce, ask: &Ask<'_>, now: Timestamp) -> Vec<Finding> {
        let since = now - SignedDuration::from_hours(1);
        let count = |target| self.store.execution_count(Some(ask.action), target, since).ok();
        let any = |target| self.store.execution_count(None, Some(target), since).ok();
        let by_target: BTreeMap<String, u64> =
            ask.targets.iter().filter_map(|t| count(Some(t)).map(|n| (t.clone(), n))).collect();
        let any_by_target = ask.targets.iter().filter_map(|t| any(t).map(|n| (t.clone(), n))).collect();
        let known = self.guarding(rules, ask.action, ask.targets, ask.params, now);
        let input = PolicyInput {
            stage: ask.stage,
            action: ask.action,
            tier: ask.tier,
            targets: ask.targets,
            actor: rules.roster.get(ask.by),
            now,
            last_hour: count(None),
            last_hour_by_target: by_target,
            any_by_target,
            ticket: ask.ticket,
            alone: ask.alone,
            budgets: evaluate::budgets_asked(&rules.policy, ask.action, known.leads_back)
                .into_iter()
                .map(|b| (self.budgets)(b.class, &b.slos))
                .collect(),
            guards: known.guards,
            leads_back: known.leads_back,
            overridden: ask.overridden,
        };
        evaluate::evaluate(&rules.policy, &input)
    }

    /// What the desk knows about the change. Nothing about an action that is not there any more.
    fn guarding(
        &self,
        rules: &InForce,
        action: &str,
        targets: &[String],
        params: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> Guarding {
        rules.catalogue.get(action).map(|def| (self.guards)(def, targets, params, now)).unwrap_or_default()
    }

    /// The refusals among them, as one sentence.
    fn obey(findings: &[Finding]) -> Result<()> {
        let no: Vec<&str> = findings.iter().filter(|f| f.refuses).map(|f| f.text.as_str()).collect();
        if no.is_empty() { Ok(()) } else { refused(no.join("; ")) }
    }

    /// A line on the timelines of the request's alerts. One that cannot be written is no reason to fail: the audit log
    /// has it.
    fn note(&self, request: &Request, by: Option<&PersonId>, at: Timestamp, what: &str) {
        // What happens to a draft is its author's alone.
        if !request.was_asked() {
            return;
        }
        for alert in &request.body.alerts {
            let text = format!("{} {} for {}", request.body.action, what, request.body.targets.join(", "));
            let event = TimelineEvent {
                at,
                alert: *alert,
                by: by.cloned(),
                kind: "action".into(),
                text: Untrusted::new(format!("{text} ({})", request.body.id)),
            };
            if let Err(e) = self.store.note_event(&event) {
                tracing::warn!(error = %e, alert = alert.0, "an action is not on the alert's timeline");
            }
        }
    }

    /// Changes a stored request; somebody else's change in between is seen and the change thought over again.
    fn change(&self, id: &RequestId, mut change: impl FnMut(&mut Request) -> Result<()>) -> Result<Request> {
        let mut tries = 0;
        loop {
            let mut request = self.request(id)?;
            change(&mut request)?;
            match self.store.update_request(&request) {
                Err(StoreError::Conflict(_)) if tries < 8 => tries += 1,
                done => return Ok(done?),
            }
        }
    }
}

/// One question to the policy.
struct Ask<'a> {
    stage: Stage,
    action: &'a str,
    tier: Tier,
    targets: &'a [String],
    params: &'a BTreeMap<String, String>,
    by: &'a PersonId,
    ticket: Option<&'a str>,
    /// Behind broken glass.
    alone: bool,
    overridden: Option<&'a Override>,
}

impl<'a> Ask<'a> {
    /// About a request that is filed.
    fn about(r: &'a Request, stage: Stage, by: &'a PersonId, overridden: Option<&'a Override>) -> Self {
        let b = &r.body;
        Self {
            stage,
            action: &b.action,
            tier: b.tier,
            targets: &b.targets,
            params: &b.params,
            by,
            ticket: r.course.ticket.as_deref(),
            alone: r.course.glass.is_some(),
            overridden,
        }
    }
}

/// Where a request stands, for somebody who wanted it elsewhere.
fn state_words(r: &Request) -> String {
    let id = &r.body.id;
    let at = |t: Option<Timestamp>| t.map(|t| format!(" at {}", t.strftime("%H:%M:%S UTC"))).unwrap_or_default();
    let who = r.executor.as_ref().map(|p| format!(" by {p}")).unwrap_or_default();
    let note = r.note.as_ref().map(|n| format!(": {n}")).unwrap_or_default();
    match r.state {
        RequestState::Executing => format!("{id} is being executed{who}, started{}", at(r.started)),
        RequestState::Done | RequestState::Failed => format!("{id} ran already{who}{}; it runs once", at(r.started)),
        RequestState::Denied => {
            let by = r.denied.as_ref().map(|d| format!(" by {}", d.by)).unwrap_or_default();
            format!("{id} was denied{by}")
        }
        state => format!("{id} is {}{note}", state.word()),
    }
}
