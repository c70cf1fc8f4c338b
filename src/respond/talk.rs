//! What is said about a request while it waits: questions of approvers, answers of who asked, the board's ticket. None
//! of it stops the clock or changes what is signed.

use jiff::Timestamp;
use serde_json::json;

use super::life::Wish;
use super::{RespondError, Responder, Result};
use crate::model::action::Request;
use crate::model::ids::{PersonId, RequestId};
use crate::text::Untrusted;

/// Longest text, in bytes.
const TEXT_MAX: usize = 4096;
const TICKET_MAX: usize = 64;

impl Responder {
    /// An approver asks back.
    pub fn ask(&self, by: &PersonId, id: &RequestId, text: Untrusted, now: Timestamp) -> Result<Request> {
        let record = json!({ "text": said(&text)? });
        self.inner.fulfil(id, &Wish::Ask { by: by.clone(), text }, record, now)
    }

    /// The requester answers.
    pub fn answer(&self, by: &PersonId, id: &RequestId, text: Untrusted, now: Timestamp) -> Result<Request> {
        let record = json!({ "text": said(&text)? });
        self.inner.fulfil(id, &Wish::Answer { by: by.clone(), text }, record, now)
    }

    /// The change board's ticket for it; `by`: who says so, nobody when the board itself did.
    pub fn set_ticket(&self, by: Option<&PersonId>, id: &RequestId, ticket: &str, now: Timestamp) -> Result<Request> {
        let ok = (1..=TICKET_MAX).contains(&ticket.len()) && ticket.bytes().all(|b| b.is_ascii_graphic());
        if !ok {
            return Err(RespondError::Usage(format!("a ticket is 1 to {TICKET_MAX} letters without spaces")));
        }
        if let Some(by) = by {
            self.inner.in_force()?.person(by)?;
        }
        let record = json!({ "ticket": ticket, "given_by": by });
        self.inner.fulfil(id, &Wish::Ticket { ticket: ticket.to_owned() }, record, now)
    }
}

fn said(text: &Untrusted) -> Result<&Untrusted> {
    let t = text.expose();
    if t.trim().is_empty() {
        return Err(RespondError::Usage("nothing was said".into()));
    }
    if t.len() > TEXT_MAX {
        return Err(RespondError::Usage(format!("the text is {} bytes long, at most {TEXT_MAX}", t.len())));
    }
    Ok(text)
}
