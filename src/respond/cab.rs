//! The change board: a request whose policy wants a ticket is put before it, and waits for its word.
//!
//! `POST URL` opens the change, with the request's id as `idempotency-key`, so that it may be repeated; `GET URL/TICKET`
//! asks how it stands. Both are signed as [`hmac`](super::hmac) says. Either answers 2xx with
//!
//! ```json
//! { "ticket": "CHG0042", "state": "pending", "reason": "" }
//! ```
//!
//! where `state` is `pending`, `approved` or `rejected`. Approved, the ticket goes to the request, and people may approve
//! it; rejected, the request is denied with the board's reason; without a word in `wait_minutes` it is denied too. What
//! cannot be asked is not known, and what is not known does not start.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::evaluate::needs_ticket;
use super::execute::Clock;
use super::execute::http::client;
use super::life::{Facts, Wish};
use super::policy::Rules;
use super::propose::lost;
use super::wire::{self, Outgoing, Sent, Signer};
use super::{Inner, RespondError, Responder, Result};
use crate::config::settings::CabSettings;
use crate::model::action::{Request, RequestState};
use crate::model::ids::{PersonId, RequestId};
use crate::model::person::{Person, Role, Roster};
use crate::store::StoreError;
use crate::text::{Untrusted, clean, front};

/// Documents of the store: one for each request that is before the board.
const CHANGE: &str = "cab.change";
/// Kinds of audit records.
const FILED: &str = "cab.filed";
const ANSWERED: &str = "cab.answered";
/// Whom a denial by the board is by.
const BOARD: &str = "change-board";
/// Longest ticket id, in bytes.
const TICKET_MAX: usize = 64;
const TRIES: u32 = 3;

/// How a change stands with the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    Pending,
    Approved,
    Rejected,
}

/// A request before the board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub request: RequestId,
    pub digest: String,
    /// Once the board has taken it.
    pub ticket: Option<String>,
    pub word: Word,
    pub reason: Untrusted,
    /// When it was first to be put before the board.
    pub since: Timestamp,
    /// Not asked again before.
    pub next: Timestamp,
    /// Why it could not be asked, when it could not.
    pub fault: Option<String>,
}

/// What the board says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub ticket: String,
    pub word: Word,
    pub reason: Untrusted,
}

/// Reads an answer. A ticket goes into addresses and onto screens, so it is letters, digits and `._-` only.
pub fn read(text: &str) -> std::result::Result<Answer, String> {
    #[derive(Deserialize)]
    struct Raw {
        ticket: String,
        state: String,
        #[serde(default)]
        reason: Option<String>,
    }
    let raw: Raw = serde_json::from_str(text).map_err(|e| format!("the board's answer cannot be read: {e}"))?;
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let first = raw.ticket.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if !first || raw.ticket.len() > TICKET_MAX || !raw.ticket.bytes().all(good) {
        return Err(format!(
            "the board's answer: ticket: expected 1 to {TICKET_MAX} letters, digits, '.', '_' and '-'"
        ));
    }
    let word = match raw.state.as_str() {
        "pending" => Word::Pending,
        "approved" => Word::Approved,
        "rejected" => Word::Rejected,
        _ => return Err("the board's answer: state: expected pending, approved or rejected".into()),
    };
    let reason = raw.reason.unwrap_or_default();
    Ok(Answer { ticket: raw.ticket, word, reason: Untrusted::new(front(&reason, 2_000)) })
}

/// What the board is told.
pub fn change_request(r: &Request, desk: &str) -> Value {
    let b = &r.body;
    json!({
        "type": "watchfloor.change",
        "v": 1,
        "desk": desk,
        "request": b.id,
        "digest": r.digest,
        "action": b.action,
        "tier": b.tier,
        "targets": b.targets,
        "params": b.params,
        "commands": b.commands.iter().map(|c| &c.argv).collect::<Vec<_>>(),
        "requester": b.requester,
        "reason": clean(&b.reason).as_str(),
        "undo": b.undo,
        "window": { "from": b.created, "until": b.execute_by },
    })
}

/// What comes next for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    File,
    Look,
    Wait,
    /// The board said nothing in time.
    Late,
    /// Nothing any more.
    Over,
}

/// `wait`: how long the board may take.
pub fn step(c: &Change, wait: SignedDuration, now: Timestamp) -> Step {
    match c.word {
        Word::Approved | Word::Rejected => Step::Over,
        Word::Pending if now.duration_since(c.since) > wait => Step::Late,
        Word::Pending if now < c.next => Step::Wait,
        Word::Pending if c.ticket.is_none() => Step::File,
        Word::Pending => Step::Look,
    }
}

impl Responder {
    /// Puts what needs it before the board, asks for its word, and does what it says. Returns how many changes moved.
    /// Several processes may do this at once: the board takes a request once by its key.
    pub async fn ask_board(&self, board: &CabSettings, desk: &str, clock: Clock) -> Result<usize> {
        let inner = self.inner.clone();
        let now = clock.now();
        let open = spawn_blocking(move || inner.before_the_board(now)).await.map_err(lost)??;
        let mut moved = 0;
        for (request, change) in open {
            let wait = SignedDuration::from_mins(i64::from(board.wait_minutes));
            let (method, path) = match step(&change, wait, clock.now()) {
                Step::Wait | Step::Over => continue,
                Step::Late => {
                    let why = format!("the change board said nothing within {} minutes", board.wait_minutes);
                    let inner = self.inner.clone();
                    let at = clock.now();
                    spawn_blocking(move || inner.turned_down(&request, change, &why, at)).await.map_err(lost)??;
                    moved += 1;
                    continue;
                }
                Step::File => (Method::POST, None),
                Step::Look => (Method::GET, change.ticket.clone()),
            };
            let body = (method == Method::POST).then(|| change_request(&request, desk).to_string());
            let answer = self.put_to(board, method, path.as_deref(), body, &request, clock).await;
            let pause = SignedDuration::from_secs(i64::try_from(board.poll_seconds).unwrap_or(30));
            let (inner, at) = (self.inner.clone(), clock.now());
            let did = spawn_blocking(move || inner.heard(&request, change, answer, at + pause, at));
            moved += usize::from(did.await.map_err(lost)??);
        }
        Ok(moved)
    }

    /// How the board stands to a request, if it was put before it.
    pub fn change(&self, id: &RequestId) -> Result<Option<Change>> {
        let doc = self.inner.store.doc(CHANGE, id.as_str())?;
        doc.map(|d| serde_json::from_str(&d.body).map_err(|e| RespondError::Unavailable(e.to_string()))).transpose()
    }

    async fn put_to(
        &self,
        board: &CabSettings,
        method: Method,
        ticket: Option<&str>,
        body: Option<String>,
        request: &Request,
        clock: Clock,
    ) -> std::result::Result<Answer, String> {
        let mut url = reqwest::Url::parse(board.url.as_deref().unwrap_or_default()).map_err(|e| e.to_string())?;
        url.path_segments_mut()
            .map_err(|()| "the board's address takes no path".to_owned())?
            .pop_if_empty()
            .extend(ticket);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let key = HeaderValue::from_str(request.body.id.as_str()).map_err(|e| e.to_string())?;
        headers.insert(HeaderName::from_static("idempotency-key"), key);
        let sign = match board.secret.clone() {
            Some(reference) => {
                let ask = self.inner.secrets.clone();
                let secret = spawn_blocking(move || ask(&reference)).await.map_err(|e| e.to_string())??;
                Some(Signer {
                    secret,
                    header: HeaderName::from_static("x-watchfloor-signature"),
                    timestamp_header: HeaderName::from_static("x-watchfloor-timestamp"),
                })
            }
            None => None,
        };
        let ca = board.ca.as_ref().map(|p| p.to_string_lossy().into_owned());
        let client = client(ca.as_deref(), Duration::from_secs(board.timeout_seconds.clamp(1, 300))).await?;
        let out = Outgoing { method, url: url.into(), headers, body, sign };
        match wire::retried(&client, &out, clock, TRIES).await.last {
            Sent::Answer { status: 200..=299, text, .. } => read(&text),
            Sent::Answer { status, text, .. } => Err(format!("the board answers {status}: {}", front(&text, 300))),
            Sent::Unsent(why) | Sent::Lost(why) => Err(format!("the board cannot be asked: {why}")),
        }
    }
}

impl Inner {
    /// Requests that wait for the board's word, with how they stand.
    fn before_the_board(&self, now: Timestamp) -> Result<Vec<(Request, Change)>> {
        let rules = self.in_force()?;
        let mut open = Vec::new();
        for r in self.store.requests(&[RequestState::Pending], 1_000)? {
            if r.course.ticket.is_some() || !needs_ticket(&rules.policy, &r.body.action, r.body.tier) {
                continue;
            }
            let doc = self.store.doc(CHANGE, r.body.id.as_str())?;
            let kept: Option<Change> = doc.and_then(|d| serde_json::from_str(&d.body).ok());
            let fresh = Change {
                request: r.body.id.clone(),
                digest: r.digest.clone(),
                ticket: None,
                word: Word::Pending,
                reason: Untrusted::default(),
                since: now,
                next: now,
                fault: None,
            };
            // A word that was recorded but not carried out, because the process died between, is asked for again.
            let kept = kept.filter(|c| c.digest == r.digest).map(|c| Change { word: Word::Pending, ..c });
            open.push((r, kept.unwrap_or(fresh)));
        }
        Ok(open)
    }

    /// Does what the board said. True: something moved.
    fn heard(
        &self,
        request: &Request,
        mut change: Change,
        answer: std::result::Result<Answer, String>,
        next: Timestamp,
        now: Timestamp,
    ) -> Result<bool> {
        let id = request.body.id.clone();
        change.next = next;
        let answer = match answer {
            Ok(a) => a,
            Err(why) => {
                let shown = Untrusted::new(why);
                let shown = clean(&shown).as_str().to_owned();
                if change.fault.as_ref() != Some(&shown) {
                    tracing::warn!(request = %id, error = shown, "the change board");
                }
                change.fault = Some(shown);
                return self.keep_change(&change, now).map(|()| false);
            }
        };
        change.fault = None;
        if change.ticket.as_ref() != Some(&answer.ticket) {
            let body = json!({ "digest": request.digest, "ticket": answer.ticket });
            self.audit.append(None, FILED, Some(id.as_str()), body, now)?;
            change.ticket = Some(answer.ticket.clone());
        }
        change.reason = answer.reason.clone();
        change.word = answer.word;
        if answer.word == Word::Pending {
            return self.keep_change(&change, now).map(|()| true);
        }
        let body = json!({
            "digest": request.digest, "ticket": answer.ticket, "state": answer.word, "reason": answer.reason,
        });
        self.audit.append(None, ANSWERED, Some(id.as_str()), body, now)?;
        if answer.word == Word::Rejected {
            let why = match answer.reason.is_empty() {
                true => format!("the change board rejected {}", answer.ticket),
                false => format!("the change board rejected {}: {}", answer.ticket, clean(&answer.reason)),
            };
            return self.turned_down(request, change, &why, now).map(|()| true);
        }
        let record = json!({ "ticket": answer.ticket, "given_by": Value::Null });
        let done = self.fulfil(&id, &Wish::Ticket { ticket: answer.ticket }, record, now);
        self.keep_change(&change, now)?;
        match done {
            // Somebody decided meanwhile.
            Ok(_) | Err(RespondError::Conflict(_)) => Ok(true),
            Err(e) => Err(e),
        }
    }

    /// Denied, in the board's name.
    fn turned_down(&self, request: &Request, mut change: Change, why: &str, now: Timestamp) -> Result<()> {
        let by = PersonId::new(BOARD).ok_or_else(|| RespondError::Unavailable("no board".into()))?;
        let person = Person {
            id: by.clone(),
            name: "the change board".into(),
            os_users: Vec::new(),
            uids: Vec::new(),
            keys: Vec::new(),
            roles: vec![Role::Approver],
        };
        let (people, rules) = (Roster { people: vec![person] }, Rules::default());
        let facts = Facts { people: &people, rules: &rules, leaving: &[], now };
        let reason = Untrusted::new(why);
        let record = json!({ "reason": reason, "ticket": change.ticket });
        let denied = self.fulfil_by(&facts, &request.body.id, &Wish::Deny { by, reason }, record);
        change.word = Word::Rejected;
        self.keep_change(&change, now)?;
        match denied {
            Ok(r) => {
                self.note(&r, None, now, "denied by the change board");
                Ok(())
            }
            Err(RespondError::Conflict(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn keep_change(&self, change: &Change, now: Timestamp) -> Result<()> {
        let body = serde_json::to_string(change).map_err(|e| RespondError::Unavailable(e.to_string()))?;
        let rev = self.store.doc(CHANGE, change.request.as_str())?.map_or(0, |d| d.rev);
        match self.store.put_doc(CHANGE, change.request.as_str(), &body, rev, now) {
            // Another process keeps the same.
            Ok(_) | Err(StoreError::Conflict(_)) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_strictly() {
        let a = read(r#"{"ticket":"CHG0042","state":"approved","reason":"fine","url":"x"}"#).unwrap();
        assert_eq!((a.ticket.as_str(), a.word, a.reason.expose()), ("CHG0042", Word::Approved, "fine"));
        assert_eq!(read(r#"{"ticket":"a-1","state":"rejected"}"#).unwrap().word, Word::Rejected);
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"ticket":"","state":"approved"}"#,
            r#"{"ticket":"../x","state":"approved"}"#,
            r#"{"ticket":".x","state":"approved"}"#,
            r#"{"ticket":"a b","state":"approved"}"#,
            r#"{"ticket":"a","state":"Approved"}"#,
            r#"{"ticket":"a","state":"yes"}"#,
            r#"{"ticket":5,"state":"approved"}"#,
            r#"{"ticket":"a"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(&format!(r#"{{"ticket":"{}","state":"pending"}}"#, "a".repeat(65))).is_err());
    }

    #[test]
    fn a_change_is_filed_looked_at_and_late() {
        let at = |m: i64| "2026-11-21T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(m);
        let mut c = Change {
            request: RequestId::new("01J").unwrap(),
            digest: "d".into(),
            ticket: None,
            word: Word::Pending,
            reason: Untrusted::default(),
            since: at(0),
            next: at(0),
            fault: None,
        };
        let wait = SignedDuration::from_mins(60);
        assert_eq!(step(&c, wait, at(0)), Step::File);
        c.next = at(1);
        assert_eq!(step(&c, wait, at(0)), Step::Wait);
        c.ticket = Some("CHG1".into());
        assert_eq!(step(&c, wait, at(1)), Step::Look);
        assert_eq!(step(&c, wait, at(60)), Step::Look);
        assert_eq!(step(&c, wait, at(61)), Step::Late);
        c.word = Word::Approved;
        assert_eq!(step(&c, wait, at(61)), Step::Over);
    }
}
