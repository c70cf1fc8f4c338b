//! Executing: once, recorded before anything starts.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::approve::{Approved, INTENT, OUTCOME, TICKET};
use super::evaluate::Stage;
use super::execute::{self, Clock, Job};
use super::lease::Lease;
use super::life::{self, Wish};
use super::propose::lost;
use super::request::Event;
use super::{Ask, Inner, RespondError, Responder, Result, receipt, refused, state_words};
use crate::audit::AuditFilter;
use crate::model::action::{ActionDef, Receipt, ReceiptState, Request, RequestState};
use crate::model::audit::{AuditRecord, Head};
use crate::model::ids::{PersonId, RequestId};

impl Responder {
    /// Runs an approved request to its end. It goes on even when the caller stops waiting.
    pub async fn execute(&self, by: &PersonId, id: &RequestId, now: Timestamp) -> Result<Request> {
        let (this, by, id) = (self.clone(), by.clone(), id.clone());
        tokio::spawn(async move {
            let _one = Running::new(this.inner.clone());
            this.execute_to_the_end(by, id, now).await
        })
        .await
        .map_err(lost)?
    }

    async fn execute_to_the_end(self, by: PersonId, id: RequestId, now: Timestamp) -> Result<Request> {
        let clock = Clock::starting(now);
        let inner = self.inner.clone();
        let (who, which) = (by.clone(), id.clone());
        let Ready { approved, def, lease } =
            spawn_blocking(move || ready(&inner, &who, &which, now)).await.map_err(lost)??;
        let (stop, _guard) = execute::watch_kill_switch(self.inner.store.clone()).await;
        if let Some(why) = stop.borrow().clone() {
            return refused(format!("nothing is started: {why}"));
        }
        if let Err(why) =
            execute::preflight(&def, approved.body(), self.inner.home.clone(), self.inner.ways(), stop.clone()).await
        {
            return refused(format!("not started: {why}"));
        }
        let inner = self.inner.clone();
        let at = clock.now();
        let approved = spawn_blocking(move || begin(&inner, approved, &by, at)).await.map_err(lost)??;
        let (tx, rx) = mpsc::channel(16);
        let job = Job {
            approved,
            def,
            secrets: self.inner.secrets.clone(),
            clusters: self.inner.clusters.clone(),
            stop,
            clock,
            lock: lease.file.clone(),
            home: self.inner.home.clone(),
            receipts: tx,
        };
        let running = async move {
            execute::run(&job).await;
            job.approved
        };
        let (approved, receipts) = tokio::join!(running, self.keep_receipts(id, rx));
        let inner = self.inner.clone();
        let done = spawn_blocking(move || finish(&inner, &approved, receipts, clock.now())).await.map_err(lost)?;
        drop(lease);
        done
    }

    /// Stores each receipt as it comes, and gives them all back at the end.
    async fn keep_receipts(&self, id: RequestId, mut rx: mpsc::Receiver<Receipt>) -> Vec<Receipt> {
        let mut all = Vec::new();
        while let Some(receipt) = rx.recv().await {
            let (store, id, r) = (self.inner.store.clone(), id.clone(), receipt.clone());
            let stored = spawn_blocking(move || store.put_receipt(&id, &r)).await;
            if !matches!(stored, Ok(Ok(()))) {
                tracing::error!(
                    target_name = receipt.target,
                    "a receipt could not be stored; it is tried again at the end"
                );
            }
            // Pending ones are for whoever watches; the one that counts is the last.
            all.retain(|r: &Receipt| r.target != receipt.target);
            if receipt.state != ReceiptState::Pending {
                all.push(receipt);
            }
        }
        all
    }
}

/// Counted while it lives.
struct Running(Arc<Inner>);

impl Running {
    fn new(inner: Arc<Inner>) -> Self {
        inner.running.fetch_add(1, Ordering::Relaxed);
        Self(inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Ready {
    approved: Approved,
    def: ActionDef,
    lease: Lease,
}

/// Everything that can refuse before the request is used up.
fn ready(inner: &Inner, by: &PersonId, id: &RequestId, now: Timestamp) -> Result<Ready> {
    let rules = inner.in_force()?;
    rules.person(by)?;
    startable(&inner.request(id)?)?;
    let lease = Lease::take(&inner.run_dir, id)
        .map_err(|e| RespondError::Unavailable(format!("{} cannot be used: {e}", inner.run_dir.display())))?
        .ok_or_else(|| RespondError::Conflict(format!("{id} is being executed by another process")))?;
    // From here on nobody else can begin it, so what is read now stays so.
    let request = inner.request(id)?;
    startable(&request)?;
    let b = &request.body;
    if let Some((who, since)) = inner.store.kill_switch()? {
        return refused(format!("nothing is started: the kill switch was set by {who} at {since}"));
    }
    let wish = Wish::Begin { by: by.clone(), digest: request.digest.clone() };
    let leaving = rules.leaving(&request);
    let facts = rules.facts(&leaving, now);
    life::decide(&request, &wish, &facts).map_err(|no| super::decide::refusal(&request, no, &wish, &facts))?;
    inner.audit.ready()?;
    let trail = trail(inner, &request)?;
    let approved = match Approved::check(&request, &inner.world(&rules), &trail, now) {
        Ok(a) => a,
        Err(why) => return Err(inner.make_void(&request, &why, now)),
    };
    let overridden = super::decide::overridden(&rules, &request, &trail);
    let mut ask = Ask::about(&request, Stage::Execute, by, overridden.as_ref());
    // A ticket that only the store knows of is none.
    ask.ticket = ask.ticket.filter(|ticket| recorded_ticket(&request, &trail, ticket));
    Inner::obey(&inner.findings(&rules, &ask, now))?;
    let def = rules.catalogue.get(&b.action).map_err(RespondError::Refused)?.clone();
    Ok(Ready { approved, def, lease })
}

/// Whether the log holds this ticket for exactly this request.
fn recorded_ticket(request: &Request, trail: &[AuditRecord], ticket: &str) -> bool {
    let same = |r: &AuditRecord| r.body["ticket"] == *ticket && r.body["digest"] == *request.digest;
    trail.iter().any(|r| r.kind == TICKET && same(r))
}

/// Whether it waits to be started, as far as its state says.
fn startable(request: &Request) -> Result<()> {
    match request.state {
        RequestState::Approved => Ok(()),
        RequestState::Pending => {
            let (have, need) = (request.approvals.len(), request.body.approvals_needed);
            refused(format!("{} waits for approval: {have} of {need} given", request.body.id))
        }
        _ => Err(RespondError::Conflict(state_words(request))),
    }
}

/// The audit records of a request, since it was proposed.
pub(super) fn trail(inner: &Inner, request: &Request) -> Result<Vec<AuditRecord>> {
    let head: Head = request.body.audit_head.parse().map_err(|e: &str| RespondError::Refused(e.to_owned()))?;
    let id = request.body.id.to_string();
    let filter = AuditFilter { request_id: Some(id), from_seq: Some(head.size), ..AuditFilter::default() };
    Ok(inner.audit.records(&filter, 1000)?)
}

/// The one point of no return: the store lets it begin once, then the intent goes to the disk. Without that record
/// nothing runs, and the request is over.
fn begin(inner: &Inner, approved: Approved, by: &PersonId, now: Timestamp) -> Result<Approved> {
    let body = approved.body();
    let begun = inner.store.begin_execution(&body.id, approved.digest(), by, now)?;
    let commands: Vec<_> = body.commands.iter().map(|c| &c.argv).collect();
    let intent = json!({
        "digest": approved.digest(),
        "action": body.action,
        "targets": body.targets,
        "requester": body.requester,
        "commands": commands,
        "pid": std::process::id(),
    });
    // Asked while nobody can add to the log: whoever denied it, or is no approver any more, before this very record,
    // has stopped it.
    let still = || still_agreed(inner, &begun, now);
    let why = match inner.audit.append_if(Some(by), INTENT, Some(body.id.as_str()), intent, now, still) {
        Ok(Ok(_)) => return Ok(approved),
        Ok(Err(why)) => format!("not run: {why}"),
        Err(e) => format!("not run: {e}"),
    };
    let skipped = receipt::missing(body, &[], ReceiptState::Skipped, &why, now);
    close(inner, body, &skipped, Some(why.clone()), now)?;
    Err(RespondError::Unavailable(why))
}

/// Whether the people it takes still carry what the store let begin a moment ago.
fn still_agreed(inner: &Inner, begun: &Request, now: Timestamp) -> std::result::Result<(), String> {
    let rules = inner.in_force().map_err(|e| e.to_string())?;
    let trail = trail(inner, begun).map_err(|e| e.to_string())?;
    let leaving = rules.leaving(begun);
    let facts = rules.facts(&leaving, now);
    life::agreed(begun, &facts, &super::approve::said(&trail), &|by, signed, at, decision| {
        let decision = super::approve::decided(&rules.catalogue, begun, decision);
        super::approve::worth(begun, &inner.signers, by, signed, at, decision)
    })
}

/// What became of it: outcome recorded, request ended.
fn finish(inner: &Inner, approved: &Approved, mut receipts: Vec<Receipt>, now: Timestamp) -> Result<Request> {
    let body = approved.body();
    receipts.extend(receipt::missing(body, &receipts, ReceiptState::Unknown, "the executor said nothing of it", now));
    let event = receipt::outcome(body, &receipts);
    let outcome = json!({
        "digest": approved.digest(),
        "ok": event == Event::Finish,
        "receipts": receipt::recorded(&receipts),
        // Nothing that was approved was swapped while it ran.
        "files_changed": body.commands.iter().find_map(|c| super::digest::changed_file(&c.files)),
    });
    let recorded = inner.audit.append(None, OUTCOME, Some(body.id.as_str()), outcome, now);
    let note = match (&recorded, event) {
        (Err(e), _) => Some(format!("{}; the outcome is not recorded: {e}", receipt::summary(&receipts))),
        (Ok(_), Event::Finish) => None,
        (Ok(_), _) => Some(receipt::summary(&receipts)),
    };
    close(inner, body, &receipts, note, now)
}

/// Stores the receipts, ends an executing request by what they say, and stops the response clock of its alerts if it
/// contained them.
pub(super) fn close(
    inner: &Inner,
    body: &crate::model::action::RequestBody,
    receipts: &[Receipt],
    note: Option<String>,
    now: Timestamp,
) -> Result<Request> {
    for r in receipts {
        inner.store.put_receipt(&body.id, r)?;
    }
    let event = receipt::outcome(body, receipts);
    let wish = Wish::End { receipts: receipts.to_vec(), note };
    let ended = inner.make_so(&inner.nobody(now), &body.id, &wish)?;
    if event == Event::Finish && body.contains && !body.alerts.is_empty() {
        inner.store.mark_contained(&body.alerts, now)?;
    }
    inner.note(&ended, ended.executor.as_ref(), now, &format!("ran: {}", receipt::summary(receipts)));
    Ok(ended)
}
