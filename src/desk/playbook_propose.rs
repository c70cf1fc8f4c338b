//! Proposing what a step of a playbook asks for. Nothing is run from here: it becomes a request like every other, which
//! says that a playbook suggested it, and the step keeps its number.

use std::collections::BTreeMap;

use super::Desk;
use super::DeskError;
use super::Result;
use super::playbook_fill;
use super::playbook_fill::Filled;
use crate::config::fault::nearest;
use crate::model::action::ActionDef;
use crate::model::action::Draft;
use crate::model::action::Executor;
use crate::model::action::ReceiptState;
use crate::model::action::Request;
use crate::model::action::Suggested;
use crate::model::ids::AlertId;
use crate::model::ids::CaseId;
use crate::model::ids::PersonId;
use crate::model::ids::RequestId;
use crate::model::playbook::ACTION;
use crate::model::playbook::ANSIBLE;
use crate::model::playbook::Step;
use crate::model::playbook_run::Event;
use crate::model::playbook_run::Run;
use crate::model::playbook_run::RunState;
use crate::store::Store;
use crate::text::Untrusted;

/// An action of the catalogue, with what is known for it.
#[derive(Clone, Debug, PartialEq)]
pub struct StepAction {
    pub action: String,
    pub targets: Option<Filled>,
    pub params: BTreeMap<String, String>,
}

/// What can be proposed from a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOffer {
    pub run: String,
    pub visit: u32,
    /// The step names exactly this; else any of these may do.
    pub named: bool,
    /// What fits first.
    pub actions: Vec<StepAction>,
    pub alerts: Vec<AlertId>,
    pub case: Option<CaseId>,
    /// What the approver reads, to begin with.
    pub reason: Untrusted,
}

impl Desk {
    /// The action a step names, or those of the catalogue that could do what it says, with targets and parameters from
    /// the values of the run and from its alerts.
    pub fn step_offer(&self, by: &PersonId, run: &str, visit: u32) -> Result<StepOffer> {
        let (run, book) = self.playbook_run(Some(by), run)?;
        let v =
            run.visit(visit).ok_or_else(|| DeskError::Usage(format!("run {} has no step number {visit}", run.id)))?;
        let step = book.step(&v.step).ok_or_else(|| DeskError::No("the step is not in the playbook".into()))?;
        let catalogue = self.catalogue();
        let (named, defs) = fitting(step, &catalogue)?;
        let known = self.known_of(run.alert, run.case)?;
        let mut actions: Vec<StepAction> = defs.into_iter().map(|def| with_known(def, &run, &known)).collect();
        let contains = |name: &str| catalogue.iter().any(|d| d.name == name && d.contains);
        actions.sort_by_key(|a| (a.targets.is_none(), !contains(&a.action)));
        Ok(StepOffer {
            visit,
            named,
            actions,
            alerts: run.alert.into_iter().collect(),
            case: run.case,
            // Short enough to be read whole in a field; why, a person adds.
            reason: Untrusted::new(reason(&run, step, "")),
            run: run.id,
        })
    }

    /// Proposes it, and keeps in the step which request it became.
    pub async fn propose_from_step(&self, by: &PersonId, run: &str, visit: u32, draft: Draft) -> Result<Request> {
        let (run, draft) = self.step_draft(by, run, visit, draft)?;
        let request = self.propose(by, draft).await?;
        self.playbook_event(by, &run.id, &Event::Proposed { visit, request: request.body.id.clone() })?;
        Ok(request)
    }

    /// Keeps it as a draft that is asked of nobody yet; the step keeps its number all the same.
    pub fn keep_from_step(&self, by: &PersonId, run: &str, visit: u32, draft: Draft) -> Result<Request> {
        let (run, draft) = self.step_draft(by, run, visit, draft)?;
        let request = self.keep_request(by, draft)?;
        self.playbook_event(by, &run.id, &Event::Proposed { visit, request: request.body.id.clone() })?;
        Ok(request)
    }

    /// The open steps from which a request was proposed keep the number of the one that takes its place, too.
    pub(super) fn replace_in_steps(&self, by: &PersonId, old: &RequestId, new: &RequestId) -> Result<()> {
        for run in self.playbook_runs(Some(by))?.into_iter().filter(|r| r.state == RunState::Running) {
            for v in run.visits.iter().filter(|v| !v.state.over() && v.requests.contains(old)) {
                self.playbook_event(by, &run.id, &Event::Proposed { visit: v.n, request: new.clone() })?;
            }
        }
        Ok(())
    }

    /// What a proposal from this step says besides what a person says.
    fn step_draft(&self, by: &PersonId, run: &str, visit: u32, mut draft: Draft) -> Result<(Run, Draft)> {
        self.authorise(by)?;
        let (run, book) = self.playbook_run(Some(by), run)?;
        let v =
            run.visit(visit).ok_or_else(|| DeskError::Usage(format!("run {} has no step number {visit}", run.id)))?;
        if v.state.over() {
            return Err(DeskError::No(format!("step {visit} ({}) is {} already", v.key, v.state.word())));
        }
        let Some(step) = book.step(&v.step) else {
            return Err(DeskError::No("the step is not in the playbook".into()));
        };
        draft.suggested_by = Suggested::Playbook;
        draft.case = draft.case.or(run.case);
        if let Some(alert) = run.alert.filter(|a| !draft.alerts.contains(a)) {
            draft.alerts.push(alert);
        }
        if !draft.reason.expose().starts_with(&reason(&run, step, "")) {
            draft.reason = Untrusted::new(reason(&run, step, draft.reason.expose()));
        }
        Ok((run, draft))
    }

    /// The requests that were proposed from a run, by its steps, oldest first. Those that are gone are left out.
    pub fn requests_of(&self, run: &Run) -> Result<Vec<Request>> {
        let ids = run.visits.iter().flat_map(|v| &v.requests);
        let mut out = Vec::new();
        for id in ids {
            out.extend(self.store.request(id)?);
        }
        Ok(out)
    }
}

/// Names playbook, run and step. Who may not see a restricted run reads requests all the same: of it only its run is named.
fn reason(run: &Run, step: &Step, rest: &str) -> String {
    let short = run.id.get(run.id.len().saturating_sub(6)..).unwrap_or(&run.id);
    if !run.restricted.is_empty() {
        return format!("a restricted playbook (run {short}): {rest}");
    }
    format!("playbook {} (run {short}), step {}: {rest}", run.playbook, step.key)
}

/// Whether the step names them itself, and the actions that can do what it says.
fn fitting<'a>(step: &Step, catalogue: &'a [ActionDef]) -> Result<(bool, Vec<&'a ActionDef>)> {
    if catalogue.is_empty() {
        return Err(DeskError::No("this desk has no action catalogue (respond.catalogue)".into()));
    }
    let mut missing = None;
    for c in &step.commands {
        let named: Vec<&ActionDef> = match c.kind.as_str() {
            ACTION => catalogue.iter().filter(|d| d.name == c.text.expose().trim()).collect(),
            ANSIBLE => catalogue.iter().filter(|d| plays(d, c.text.expose())).collect(),
            "http-api" => catalogue.iter().filter(|d| d.executor.word() == "http").collect(),
            "ssh" => catalogue.iter().filter(|d| d.executor.word() == "ssh").collect(),
            _ => continue,
        };
        if !named.is_empty() {
            return Ok((c.kind == ACTION || named.len() == 1, named));
        }
        missing = missing.or(Some(c));
    }
    if let Some(c) = missing {
        let said = c.text.expose().trim();
        let shown = crate::text::clean(&Untrusted::new(crate::text::front(said, 80))).as_str().to_owned();
        let near = nearest(said, catalogue.iter().map(|d| d.name.as_str()));
        let near = near.map(|n| format!("; did its author mean {n:?}?")).unwrap_or_default();
        return Err(DeskError::No(format!(
            "no action of the catalogue does this step's {} {shown:?}{near} (respond.catalogue)",
            c.kind
        )));
    }
    let by_hand = |d: &&ActionDef| !matches!(d.executor, Executor::Kubernetes { .. } | Executor::Velero { .. });
    Ok((false, catalogue.iter().filter(by_hand).collect()))
}

/// Whether this is the Ansible playbook of that name.
fn plays(def: &ActionDef, said: &str) -> bool {
    let name = |p: &str| p.trim().rsplit('/').next().unwrap_or_default().to_owned();
    matches!(&def.executor, Executor::Ansible { playbook, .. } if name(playbook) == name(said))
}

fn with_known(def: &ActionDef, run: &Run, known: &[playbook_fill::Known]) -> StepAction {
    let of = |name: &str, kind| playbook_fill::for_param(known, run, name, kind);
    let params = def.params.iter().filter_map(|p| {
        let value = of(&p.name, &p.kind)?.value.into_exposed();
        Some((p.name.clone(), value))
    });
    StepAction { action: def.name.clone(), targets: of("", &def.targets.kind), params: params.collect() }
}

/// What the receipts of a finished request say about what a step gives: only what follows from them, by the name of the
/// variable. `None` for a variable: nothing follows.
pub fn from_receipts(name: &str, kind: &str, request: &Request) -> Option<String> {
    const WORKED: [&str; 8] = ["done", "worked", "ok", "contained", "isolated", "blocked", "disabled", "removed"];
    const WHOM: [&str; 7] = ["targets", "hosts", "users", "accounts", "addresses", "done_on", "isolated_hosts"];
    if !request.state.is_final() || request.receipts.is_empty() {
        return None;
    }
    let name = name.trim_matches('_');
    let done = |r: &&crate::model::action::Receipt| r.state == ReceiptState::Done;
    match kind {
        "bool" if WORKED.contains(&name) => {
            // What may have happened is neither.
            let known = request.receipts.iter().all(|r| r.state != ReceiptState::Unknown);
            known.then(|| request.receipts.iter().all(|r| done(&r)).to_string())
        }
        "string" if name == "request" => Some(request.body.id.as_str().to_owned()),
        "string" if WHOM.contains(&name) => {
            let all: Vec<&str> = request.receipts.iter().filter(done).map(|r| r.target.as_str()).collect();
            (!all.is_empty()).then(|| all.join(", "))
        }
        _ => None,
    }
}
