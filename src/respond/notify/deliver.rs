//! Feeding the outbox from the audit log, and emptying it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::task::spawn_blocking;

use super::outbox::{self, Waiting};
use super::{Configured, Message, Place, from_audit};
use crate::audit::{Audit, AuditFilter};
use crate::model::happening::{Bulletin, Urgency};
use crate::model::ids::RequestId;
use crate::respond::execute::http::client;
use crate::respond::execute::{Clock, Secrets};
use crate::respond::wire::{self, Outgoing, Sent, Signer};
use crate::store::{Doc, Store, StoreError};

/// Name of the checkpoint: the next record to read.
const READ: &str = "notify.audit";
/// Records read at once.
const RECORDS: usize = 5_000;
/// What is older is history, and nobody is told any more.
const HISTORY: SignedDuration = SignedDuration::from_hours(24);
/// Tries before it is a dead letter: with the pauses below, about two hours.
pub const TRIES: u32 = 14;
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(900);
/// Bulletins of one notifier in one round.
const ROUND: usize = 50;

/// Everything a round needs.
#[derive(Clone)]
pub struct Desk {
    pub store: Arc<dyn Store>,
    pub audit: Arc<Audit>,
    pub secrets: Secrets,
    pub name: String,
    pub notifiers: Vec<Configured>,
}

/// Queues what was recorded since the last time. The first time there is no history to tell. Returns how many bulletins.
pub fn feed(desk: &Desk, now: Timestamp) -> Result<usize, String> {
    let err = |e: StoreError| e.to_string();
    let head = desk.audit.head().map_err(|e| e.to_string())?;
    let read = desk.store.checkpoint(READ).map_err(err)?.and_then(|c| c.parse::<u64>().ok());
    let Some(from) = read else {
        desk.store.set_checkpoint(READ, &head.size.to_string()).map_err(err)?;
        return Ok(0);
    };
    if head.size <= from {
        return Ok(0);
    }
    let filter = AuditFilter { from_seq: Some(from), ..AuditFilter::default() };
    let records = desk.audit.records(&filter, RECORDS).map_err(|e| e.to_string())?;
    let mut n = 0;
    for r in records.iter().filter(|r| now.duration_since(r.at) < HISTORY) {
        if from_audit::happening(r).is_none() {
            continue;
        }
        let id = r.request_id.as_deref().and_then(RequestId::new);
        let request = id.map(|id| desk.store.request(&id)).transpose().map_err(err)?.flatten();
        let Some(b) = from_audit::bulletin(r, request.as_ref(), &desk.name) else { continue };
        for to in desk.notifiers.iter().filter(|c| c.wants(&b)) {
            outbox::put(&*desk.store, &to.name, r.seq, &b, now).map_err(err)?;
            n += 1;
        }
    }
    let next = records.last().map_or(head.size, |r| r.seq + 1);
    desk.store.set_checkpoint(READ, &next.to_string()).map_err(err)?;
    Ok(n)
}

/// Feeds, then tries everything that is due, each notifier for itself. Returns how many were told.
pub async fn round(desk: &Desk, clock: Clock) -> Result<usize, String> {
    let feeding = desk.clone();
    let now = clock.now();
    spawn_blocking(move || feed(&feeding, now)).await.map_err(|e| e.to_string())??;
    let told = join_all(desk.notifiers.iter().map(|c| empty(desk, c, clock))).await;
    let mut n = 0;
    for one in told {
        n += one?;
    }
    Ok(n)
}

/// Tells what waits for one notifier, in order, until one try fails: then the others wait too, but what is urgent is
/// always tried.
async fn empty(desk: &Desk, to: &Configured, clock: Clock) -> Result<usize, String> {
    let (store, name) = (desk.store.clone(), to.name.clone());
    let read = spawn_blocking(move || Ok((outbox::waiting(&*store, &name, ROUND)?, outbox::state(&*store, &name)?)));
    let (waiting, state) = read.await.map_err(|e| e.to_string())?.map_err(|e: StoreError| e.to_string())?;
    let mut n = 0;
    let mut down = state.not_before.is_some_and(|t| t > clock.now());
    for (doc, mut w) in waiting {
        let urgent = w.bulletin.what.urgency() == Urgency::Critical;
        if w.next > clock.now() || (down && !urgent) {
            continue;
        }
        let (store, name, thread) = (desk.store.clone(), to.name.clone(), w.bulletin.thread());
        let known = spawn_blocking(move || outbox::made(&*store, &name, &thread)).await;
        let known = known.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        let ended = tell(to, &w.bulletin, known.as_deref(), &desk.secrets, clock).await;
        let (store, name, now) = (desk.store.clone(), to.name.clone(), clock.now());
        match &ended {
            Told::Delivered(_) => n += 1,
            Told::Failed { .. } => down = true,
            Told::Nothing | Told::Refused { .. } => {}
        }
        let kept = spawn_blocking(move || keep(&*store, &name, &doc, &mut w, ended, known.is_some(), now)).await;
        kept.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    }
    Ok(n)
}

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The answer, if later bulletins need what stands in it.
    Delivered(Option<String>),
    /// This kind has nothing to say of it.
    Nothing,
    /// The receiver will never take it as it is.
    Refused { why: String },
    /// It may go better later.
    Failed { why: String, wait: Option<Duration>, gone: bool },
}

fn keep(
    store: &dyn Store,
    name: &str,
    doc: &Doc,
    w: &mut Waiting,
    ended: Told,
    known: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    match ended {
        Told::Nothing => outbox::skip(store, doc),
        Told::Delivered(made) => {
            if let Some(made) = made.filter(|_| !known) {
                outbox::remember(store, name, &w.bulletin.thread(), &made, now)?;
            }
            outbox::sent(store, name, doc, now)
        }
        Told::Refused { why } => {
            w.tries += 1;
            w.last = why;
            outbox::give_up(store, name, doc, w, now)
        }
        Told::Failed { why, wait, gone } => {
            // What it was to be added to is not there any more.
            if gone && known {
                outbox::forget(store, name, &w.bulletin.thread())?;
            }
            w.tries += 1;
            w.last = why;
            if w.tries >= TRIES {
                return outbox::give_up(store, name, doc, w, now);
            }
            let pause = wait.unwrap_or_else(|| pause(w.tries, rand::random()));
            w.next = SignedDuration::try_from(pause).ok().and_then(|p| now.checked_add(p).ok()).unwrap_or(now);
            outbox::failed(store, name, doc, w, now)
        }
    }
}

/// Twice as long each time, less up to a quarter by chance.
fn pause(tries: u32, chance: f64) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(1 << (tries.max(1) - 1).min(16)).min(LONGEST_PAUSE);
    full.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 4.0)
}

/// Tells one notifier of one bulletin, once.
pub async fn tell(to: &Configured, b: &Bulletin, known: Option<&str>, secrets: &Secrets, clock: Clock) -> Told {
    let failed = |why: String| Told::Failed { why, wait: None, gone: false };
    let Some(message) = to.notifier.message(b, known) else { return Told::Nothing };
    let secret = match &to.secret {
        Some(reference) => {
            let (ask, which) = (secrets.clone(), reference.clone());
            match spawn_blocking(move || ask(&which)).await {
                Ok(Ok(s)) if !s.is_empty() => Some(s),
                Ok(Ok(_)) => return failed(format!("{reference} is empty")),
                Ok(Err(why)) => return failed(why),
                Err(e) => return failed(e.to_string()),
            }
        }
        None => None,
    };
    let hide = |text: String| match &secret {
        Some(s) => text.replace(s.as_str(), "[secret]"),
        None => text,
    };
    let out = match outgoing(message, secret.as_deref(), b) {
        Ok(out) => out,
        Err(why) => return Told::Refused { why: hide(why) },
    };
    let client = match client(to.ca.as_deref(), to.limit).await {
        Ok(c) => c,
        Err(why) => return failed(why),
    };
    match wire::once(&client, &out, clock).await {
        Sent::Answer { status: 200..=299, text, .. } => Told::Delivered(to.notifier.made(b, &text)),
        Sent::Answer { status, wait, text } => {
            let why = hide(format!("{status} {}", crate::text::front(&text, 500)));
            match status {
                // What is wrong with these can be mended on either side: a key, an address, a limit.
                401 | 403 | 404 | 407 | 408 | 410 | 425 | 429 | 300..=399 | 500.. => {
                    Told::Failed { why, wait: wait.map(|w| w.min(LONGEST_PAUSE)), gone: matches!(status, 404 | 410) }
                }
                _ => Told::Refused { why },
            }
        }
        Sent::Unsent(why) => failed(hide(format!("not sent: {why}"))),
        Sent::Lost(why) => failed(hide(format!("sent, but no answer: {why}"))),
    }
}

/// The message with its secret in its place.
fn outgoing(message: Message, secret: Option<&str>, b: &Bulletin) -> Result<Outgoing, String> {
    let Message { method, mut url, mut body, secret: place } = message;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let key = HeaderValue::from_str(&b.id).map_err(|e| e.to_string())?;
    headers.insert(HeaderName::from_static("idempotency-key"), key);
    let need = || secret.ok_or_else(|| "it has no secret".to_owned());
    let mut sign = None;
    let mut authorise = |value: String| {
        let mut value = HeaderValue::from_str(&value).map_err(|_| "the secret fits no header".to_owned())?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
        Ok::<(), String>(())
    };
    match place {
        Place::Nowhere => {}
        Place::Url => need()?.clone_into(&mut url),
        Place::Signature => {
            sign = Some(Signer {
                secret: need()?.to_owned(),
                header: HeaderName::from_static("x-watchfloor-signature"),
                timestamp_header: HeaderName::from_static("x-watchfloor-timestamp"),
            });
        }
        Place::Authorization(word) => authorise(format!("{word} {}", need()?))?,
        Place::Basic(user) => authorise(format!("Basic {}", STANDARD.encode(format!("{user}:{}", need()?))))?,
        Place::Body(member) => body[member] = need()?.into(),
    }
    match reqwest::Url::parse(&url) {
        Ok(u) if matches!(u.scheme(), "http" | "https") && u.has_host() => {}
        _ => return Err("its address is no http or https address".into()),
    }
    Ok(Outgoing { method, url, headers, body: Some(body.to_string()), sign })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_quarter_of_an_hour() {
        assert_eq!(pause(1, 0.0), Duration::from_secs(5));
        assert_eq!(pause(3, 0.0), Duration::from_secs(20));
        assert_eq!(pause(3, 1.0), Duration::from_secs(15));
        assert_eq!(pause(60, 0.0), LONGEST_PAUSE);
        let all: Duration = (1..TRIES).map(|n| pause(n, 0.5)).sum();
        assert!(all > Duration::from_secs(3_600) && all < Duration::from_secs(4 * 3_600), "{all:?}");
    }
}
