//! After a crash: what began and was not ended is ended, and never runs again.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::json;

use super::approve::{INTENT, OUTCOME};
use super::execute::{kill_marked, wipe_out_marked};
use super::lease::{Lease, holder_lives};
use super::run::{close, trail};
use super::{Inner, RespondError, Responder, Result, receipt};
use crate::model::action::{Receipt, ReceiptState, Request, RequestState};
use crate::model::audit::AuditRecord;

/// How long a lock is waited for whose last holders were killed.
const LET_GO: Duration = Duration::from_secs(3);

impl Responder {
    /// Ends every executing request whose executor is gone: targets without a receipt are unknown, or not started when
    /// it died before its intent was recorded. Processes it left behind are stopped first. Returns how many it ended.
    pub fn recover(&self, now: Timestamp) -> Result<usize> {
        let inner = &self.inner;
        let mut n = 0;
        for request in inner.store.requests(&[RequestState::Executing], 1000)? {
            let Some(_lease) = orphaned(inner, &request)? else { continue };
            match end(inner, &request, now) {
                Ok(()) => n += 1,
                // Its executor ended it between our reading and our taking the lock.
                Err(RespondError::Conflict(_)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(n)
    }
}

/// The lease, when nobody has it any more.
fn orphaned(inner: &Inner, request: &Request) -> Result<Option<Lease>> {
    let id = &request.body.id;
    let take = || {
        Lease::take(&inner.run_dir, id)
            .map_err(|e| RespondError::Unavailable(format!("{} cannot be used: {e}", inner.run_dir.display())))
    };
    if let Some(lease) = take()? {
        // Those that closed their input, and with it the lock.
        wipe_out_marked(id.as_str());
        return Ok(Some(lease));
    }
    if holder_lives(&inner.run_dir, id) != Some(false) {
        return Ok(None);
    }
    // Its executor died and left children that nobody watches.
    kill_marked(id.as_str(), Signal::TERM);
    std::thread::sleep(Duration::from_millis(300));
    wipe_out_marked(id.as_str());
    let until = Instant::now() + LET_GO;
    loop {
        let lease = take()?;
        if lease.is_some() || Instant::now() >= until {
            return Ok(lease);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn end(inner: &Inner, request: &Request, now: Timestamp) -> Result<()> {
    let body = &request.body;
    // Somebody may have ended it before we got the lock.
    let request = inner.request(&body.id)?;
    if request.state != RequestState::Executing {
        return Err(RespondError::Conflict(super::state_words(&request)));
    }
    let trail = trail(inner, &request);
    let mut receipts: Vec<_> = request.receipts.into_iter().filter(|r| r.state != ReceiptState::Pending).collect();
    if let Some(recorded) = trail.as_ref().ok().and_then(|t| recorded(t)) {
        // It had ended, and only the store was not told.
        receipts.extend(recorded.into_iter().filter(|r| body.targets.contains(&r.target)));
        let mut seen = Vec::new();
        receipts.retain(|r| {
            !seen.contains(&r.target) && {
                seen.push(r.target.clone());
                true
            }
        });
        receipts.extend(receipt::missing(body, &receipts, ReceiptState::Unknown, "nothing is recorded of it", now));
        let note = format!("taken from the audit log: {}", receipt::summary(&receipts));
        return close(inner, body, &receipts, Some(note), now).map(drop);
    }
    // Not being able to read the log is not knowing.
    let started = trail.map_or(true, |t| t.iter().any(|r| r.kind == INTENT));
    let (state, why) = if started {
        (ReceiptState::Unknown, "its executor ended before it could say what became of this target")
    } else {
        (ReceiptState::Skipped, "its executor ended before anything was started")
    };
    receipts.extend(receipt::missing(body, &receipts, state, why, now));
    let outcome = json!({
        "digest": request.digest,
        "ok": false,
        "recovered": true,
        "receipts": receipt::recorded(&receipts),
    });
    inner.audit.append(None, OUTCOME, Some(body.id.as_str()), outcome, now)?;
    let note = format!("its executor ended unexpectedly: {}", receipt::summary(&receipts));
    close(inner, body, &receipts, Some(note), now).map(drop)
}

/// The receipts of the outcome, when its executor came as far as recording it.
fn recorded(trail: &[AuditRecord]) -> Option<Vec<Receipt>> {
    let outcome = trail.iter().rev().find(|r| r.kind == OUTCOME)?;
    serde_json::from_value(outcome.body["receipts"].clone()).ok()
}
