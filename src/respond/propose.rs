//! A draft becomes a request: checked, rendered, tried without effect, recorded, stored.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::approve::PROPOSED;
use super::evaluate::{self, Stage};
use super::execute::{self, DryRun};
use super::life::{Filed, Wish};
use super::{Ask, InForce, Inner, RespondError, Responder, Result, digest, refused, value};
use crate::config::fault::nearest;
use crate::model::action::{ActionDef, Draft, Finding, Request, RequestBody, RequestState, Tried};
use crate::model::ids::{PersonId, RequestId};
use crate::model::query::Glob;
use crate::text::{Untrusted, clean};

/// Longest reason, in bytes.
pub(super) const REASON_MAX: usize = 4096;

impl Responder {
    /// Makes a request of a draft: targets and parameters are checked, the policy is asked, the exact commands are
    /// made and tried without effect, and it is recorded and stored. It waits for approval, unless none is needed.
    pub async fn propose(&self, by: &PersonId, draft: Draft, now: Timestamp) -> Result<Request> {
        let (prepared, dry) = self.tried(by, draft, From::default(), now).await?;
        let inner = self.inner.clone();
        spawn_blocking(move || finish(&inner, prepared, dry, now)).await.map_err(lost)?
    }

    /// The same of one that follows from another request, and names it.
    pub(super) async fn propose_after(
        &self,
        by: &PersonId,
        draft: Draft,
        after: RequestId,
        now: Timestamp,
    ) -> Result<Request> {
        let from = From { after: Some(after), kept: None };
        let (prepared, dry) = self.tried(by, draft, from, now).await?;
        let inner = self.inner.clone();
        spawn_blocking(move || finish(&inner, prepared, dry, now)).await.map_err(lost)?
    }

    /// The same of a draft that was kept: it becomes the request.
    pub async fn submit(&self, by: &PersonId, id: &RequestId, now: Timestamp) -> Result<Request> {
        let (inner, who, which) = (self.inner.clone(), by.clone(), id.clone());
        let kept = spawn_blocking(move || super::drafts::mine(&inner, &who, &which, now)).await.map_err(lost)??;
        let (prepared, dry) =
            self.tried(by, kept.as_draft(), From { after: kept.body.replaces.clone(), kept: Some(kept) }, now).await?;
        let inner = self.inner.clone();
        spawn_blocking(move || finish(&inner, prepared, dry, now)).await.map_err(lost)?
    }

    /// What `propose` would file: the exact commands, and what the dry run says of them. Nothing is recorded or stored,
    /// and a reason is not needed yet.
    pub async fn try_draft(&self, by: &PersonId, mut draft: Draft, now: Timestamp) -> Result<Tried> {
        if draft.reason.expose().trim().is_empty() {
            draft.reason = "not given yet".into();
        }
        let (prepared, dry) = self.tried(by, draft, From::default(), now).await?;
        let Prepared { body, mut findings, .. } = prepared;
        findings.extend(dry.findings);
        Ok(Tried {
            tier: body.tier,
            commands: body.commands,
            approvals_needed: body.approvals_needed,
            preview: dry.preview,
            findings,
        })
    }

    /// Checked, with its commands, and tried without effect.
    async fn tried(&self, by: &PersonId, draft: Draft, from: From, now: Timestamp) -> Result<(Prepared, DryRun)> {
        let (inner, who) = (self.inner.clone(), by.clone());
        let mut prepared = spawn_blocking(move || prepare(&inner, &who, draft, from, now)).await.map_err(lost)??;
        let planned = execute::plan(&prepared.def, &prepared.body, self.inner.ways()).await;
        if let Some(commands) = planned.map_err(RespondError::Refused)? {
            prepared.body.commands = commands;
        }
        let dry = self.try_out(&prepared).await;
        Ok((prepared, dry))
    }

    async fn try_out(&self, p: &Prepared) -> DryRun {
        let (stop, _guard) = execute::watch_kill_switch(self.inner.store.clone()).await;
        if let Some(why) = stop.borrow().clone() {
            let text = format!("no dry run: {why}");
            return DryRun { preview: Vec::new(), findings: vec![Finding { refuses: false, text }] };
        }
        execute::dry_run(&p.def, &p.body, self.inner.home.clone(), self.inner.ways(), stop).await
    }
}

/// A task that did not come back.
pub(super) fn lost(e: tokio::task::JoinError) -> RespondError {
    RespondError::Unavailable(format!("it was given up: {e}"))
}

/// Where a proposal comes from.
#[derive(Default)]
struct From {
    /// The request it follows.
    after: Option<RequestId>,
    /// It was kept as a draft before.
    kept: Option<Request>,
}

struct Prepared {
    def: ActionDef,
    body: RequestBody,
    findings: Vec<Finding>,
    /// It was kept as a draft before.
    kept: bool,
}

fn prepare(inner: &Inner, by: &PersonId, draft: Draft, from: From, now: Timestamp) -> Result<Prepared> {
    let From { after, kept } = from;
    let rules = inner.in_force()?;
    rules.person(by)?;
    let def = rules.catalogue.get(&draft.action).map_err(RespondError::Usage)?.clone();
    let targets = targets(&def, &draft.targets)?;
    let params = params(&def, &draft.params)?;
    let reason = reason(draft.reason)?;
    let ask = Ask {
        stage: Stage::Propose,
        action: &def.name,
        tier: def.tier,
        targets: &targets,
        params: &params,
        by,
        ticket: kept.as_ref().and_then(|k| k.course.ticket.as_deref()),
        alone: false,
        overridden: None,
    };
    let mut findings = inner.findings(&rules, &ask, now);
    Inner::obey(&findings)?;
    let terms = rules.policy.rules.tier(def.tier);
    let minutes = |n: u32| SignedDuration::from_mins(i64::from(n));
    let approve_by = now + minutes(terms.approve_minutes);
    let head = inner.audit.head()?;
    let mut body = RequestBody {
        id: kept.as_ref().map_or_else(new_id, |k| Ok(k.body.id.clone()))?,
        action: def.name.clone(),
        tier: def.tier,
        approvals_needed: needed(&rules, &def, &targets, &draft.suggested_by),
        targets,
        params,
        commands: Vec::new(),
        alerts: draft.alerts,
        case: draft.case,
        reason,
        suggested_by: draft.suggested_by,
        requester: by.clone(),
        created: now,
        approve_by,
        execute_by: approve_by + minutes(terms.execute_minutes),
        policy_digest: rules.policy.digest.clone(),
        action_digest: digest::of_json(&def).map_err(RespondError::Unavailable)?,
        audit_head: head.to_string(),
        undo: def.undo.clone(),
        contains: def.contains,
        replaces: after,
    };
    body.commands = execute::render(&def, &body).map_err(RespondError::Refused)?;
    findings.extend(super::govern::findings(&body, &rules.policy, &rules.roster));
    Inner::obey(&findings)?;
    Ok(Prepared { def, body, findings, kept: kept.is_some() })
}

fn needed(rules: &InForce, def: &ActionDef, targets: &[String], by: &crate::model::action::Suggested) -> u8 {
    evaluate::approvals_needed(&rules.policy, &def.name, def.tier, targets, *by)
}

pub(super) fn new_id() -> Result<RequestId> {
    RequestId::new(ulid::Ulid::new().to_string()).ok_or_else(|| RespondError::Unavailable("no id".into()))
}

fn finish(inner: &Inner, prepared: Prepared, dry: DryRun, now: Timestamp) -> Result<Request> {
    let Prepared { body, mut findings, kept, .. } = prepared;
    findings.extend(dry.findings);
    Inner::obey(&findings)?;
    let digest = digest::of_request(&body).map_err(RespondError::Unavailable)?;
    let state = if body.approvals_needed == 0 { RequestState::Approved } else { RequestState::Pending };
    let record = json!({
        "digest": digest,
        "action": body.action,
        "tier": body.tier,
        "targets": body.targets,
        "params": body.params,
        "reason": body.reason,
        "suggested_by": body.suggested_by,
        "approvals_needed": body.approvals_needed,
        "approve_by": body.approve_by,
        "execute_by": body.execute_by,
        "policy": body.policy_digest,
        "head": body.audit_head,
        "alerts": body.alerts,
        "replaces": body.replaces,
    });
    if kept {
        let (id, by) = (body.id.clone(), body.requester.clone());
        let filed = Box::new(Filed { body, digest, preview: dry.preview, findings });
        let request = inner.fulfil(&id, &Wish::Submit { by: by.clone(), filed }, record, now)?;
        inner.note(&request, Some(&by), now, "proposed");
        return Ok(request);
    }
    inner.audit.append(Some(&body.requester), PROPOSED, Some(body.id.as_str()), record, now)?;
    let request = Request { preview: dry.preview, findings, ..Request::new(body, digest, state) };
    inner.store.add_request(&request)?;
    inner.note(&request, Some(&request.body.requester), now, "proposed");
    // As the store has it, with its own `rev`.
    inner.request(&request.body.id)
}

/// Each target once, in its canonical spelling.
pub(super) fn targets(def: &ActionDef, given: &[String]) -> Result<Vec<String>> {
    let what = value::word(&def.targets.kind);
    let mut out: Vec<String> = Vec::new();
    for t in given {
        let shown = Untrusted::new(t.as_str());
        let shown = clean(&shown);
        let usage = |why: String| RespondError::Usage(format!("target {:?}: {why}", shown.as_str()));
        let t = value::check(&def.targets.kind, t).map_err(usage)?;
        if !def.targets.allow.is_empty() && !def.targets.allow.iter().any(|p| Glob::new(p).is_match(&t)) {
            return refused(format!(
                "{} does not take the {what} {t}: it takes {}",
                def.name,
                def.targets.allow.join(", ")
            ));
        }
        if !out.contains(&t) {
            out.push(t);
        }
    }
    if out.is_empty() {
        return Err(RespondError::Usage(format!("{} needs a target: a {what}", def.name)));
    }
    if out.len() > def.targets.max {
        return refused(format!("{} takes at most {} targets, not {}", def.name, def.targets.max, out.len()));
    }
    Ok(out)
}

/// Every parameter the action has, given or by default.
pub(super) fn params(def: &ActionDef, given: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let known = || def.params.iter().map(|p| p.name.as_str());
    if let Some(unknown) = given.keys().find(|k| !known().any(|n| n == k.as_str())) {
        let shown = Untrusted::new(unknown.as_str());
        let near = nearest(unknown, known()).map(|n| format!("; did you mean {n:?}?")).unwrap_or_default();
        let message = format!("{} has no parameter {:?}{near}", def.name, clean(&shown).as_str());
        return Err(RespondError::Usage(message));
    }
    let mut out = BTreeMap::new();
    for p in &def.params {
        let Some(v) = given.get(&p.name).or(p.default.as_ref()) else {
            return Err(RespondError::Usage(format!("{} needs the parameter {:?} ({})", def.name, p.name, p.help)));
        };
        let v =
            value::check(&p.kind, v).map_err(|why| RespondError::Usage(format!("parameter {:?}: {why}", p.name)))?;
        out.insert(p.name.clone(), v);
    }
    Ok(out)
}

fn reason(reason: Untrusted) -> Result<Untrusted> {
    let text = reason.expose();
    if text.trim().is_empty() {
        return Err(RespondError::Usage("a reason is needed: what the approver will read".into()));
    }
    if text.len() > REASON_MAX {
        return Err(RespondError::Usage(format!("the reason is {} bytes long, at most {REASON_MAX}", text.len())));
    }
    Ok(reason)
}
