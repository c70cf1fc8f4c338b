//! Audit records that others hear of.

use serde_json::Value;

use crate::model::action::{Receipt, ReceiptState, Request, Tier};
use crate::model::audit::AuditRecord;
use crate::model::happening::{Bulletin, Happening};
use crate::model::ids::{PersonId, RequestId};
use crate::text::Untrusted;

/// Which happening a record is. An approval counts when with it there are enough.
pub fn happening(r: &AuditRecord) -> Option<Happening> {
    // A draft was asked of nobody; nobody hears of its end either.
    let draft = r.body["digest"] == "";
    Some(match r.kind.as_str() {
        "action.withdrawn" | "action.expired" if draft => return None,
        "action.proposed" => Happening::Proposed,
        "action.approved" if r.body["enough"] == true => Happening::Approved,
        "action.denied" => Happening::Denied,
        "action.withdrawn" => Happening::Withdrawn,
        "action.expired" => Happening::Expired,
        "action.void" => Happening::Void,
        "action.intent" => Happening::Started,
        "action.outcome" if r.body["ok"] == true => Happening::Done,
        "action.outcome" => Happening::Failed,
        "action.glass" => Happening::BreakGlass,
        "action.escalated" => Happening::Escalated,
        "glass.overdue" => Happening::ReviewOverdue,
        "glass.reviewed" => Happening::Reviewed,
        "policy.changed_outside" | "roster.changed_outside" => Happening::ChangedOutside,
        _ => return None,
    })
}

/// What is told of a record. `request`: the one it speaks of, for what the record leaves out.
pub fn bulletin(r: &AuditRecord, request: Option<&Request>, desk: &str) -> Option<Bulletin> {
    let what = happening(r)?;
    let body = request.map(|r| &r.body);
    let text = |key: &str| r.body[key].as_str().map(str::to_owned);
    let action = text("action").or_else(|| body.map(|b| b.action.clone()));
    let tier = serde_json::from_value::<Tier>(r.body["tier"].clone()).ok().or_else(|| body.map(|b| b.tier));
    let targets = strings(&r.body["targets"]).or_else(|| body.map(|b| b.targets.clone())).unwrap_or_default();
    let to = strings(&r.body["to"]).unwrap_or_default();
    let said = match what {
        Happening::Done | Happening::Failed => results(&r.body["receipts"]),
        Happening::Escalated => {
            let (rung, whom) = (&r.body["rung"], text("whom").unwrap_or_default());
            format!("Nobody has decided yet; rung {rung} of the ladder: {whom}")
        }
        Happening::ChangedOutside => {
            let what = r.kind.split('.').next().unwrap_or_default();
            format!("The {what} is no longer what people agreed on: {}", text("file").unwrap_or_default())
        }
        Happening::ReviewOverdue => {
            format!(
                "It was done alone by {}; the look at it was due at {}",
                text("by").unwrap_or_default(),
                text("due").unwrap_or_default()
            )
        }
        _ => ["reason", "why", "text"].into_iter().find_map(text).unwrap_or_default(),
    };
    Some(Bulletin {
        id: format!("{}-{}", r.seq, &r.hash[..r.hash.len().min(12)]),
        what,
        at: r.at,
        desk: desk.to_owned(),
        by: r.by.clone(),
        request: r.request_id.as_deref().and_then(RequestId::new),
        action,
        tier,
        targets,
        to: to.into_iter().filter_map(PersonId::new).collect(),
        text: Untrusted::new(said),
    })
}

fn strings(v: &Value) -> Option<Vec<String>> {
    v.as_array().map(|a| a.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// A line for each target: how it ended, and the first line of what was said.
fn results(receipts: &Value) -> String {
    let Ok(all) = serde_json::from_value::<Vec<Receipt>>(receipts.clone()) else { return String::new() };
    let line = |r: &Receipt| {
        let state = match r.state {
            ReceiptState::Pending => "pending",
            ReceiptState::Done => "done",
            ReceiptState::Failed => "failed",
            ReceiptState::Unknown => "not known",
            ReceiptState::Skipped => "not started",
        };
        format!("{}: {state}: {}", r.target, r.detail.expose().lines().next().unwrap_or_default())
    };
    all.iter().take(100).map(line).collect::<Vec<_>>().join("\n")
}
