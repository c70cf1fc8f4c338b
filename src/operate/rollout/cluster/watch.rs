//! One kind of object: listed in pages, then watched from the list's version on. A watch that ends is resumed from the
//! newest version seen; when the server no longer has that version (410) everything is listed again, and what is known
//! stays until the new list is whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::api::ListParams;
use kube::api::WatchEvent;
use kube::api::WatchParams;
use kube::core::Request;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Reader;
use super::Scope;
use crate::model::health::SourceWord;
use crate::operate::cluster;
use crate::operate::rollout::read::Kept;
use crate::operate::rollout::read::Key;

/// Objects of one page, as client-go asks for.
const PAGE: u32 = 500;
/// The server ends a watch after so long, so that a connection that died without a word is noticed.
const WATCH_SECONDS: u32 = 50;
/// After so long without even the end of the watch the connection is dead.
const SILENCE: Duration = Duration::from_secs(60);
/// How long an opened watch has to say that its version is gone.
const FIRST_WORD: Duration = Duration::from_millis(300);
/// A watch that ends at once is not started again at once.
const BREATH: Duration = Duration::from_millis(200);

/// Why a list or a watch ended.
enum Ended {
    /// In good order: go on from the version.
    Quietly,
    /// 410: list again.
    Gone,
    /// Of which sort, and what was said.
    Badly(SourceWord, String),
}

/// Objects that cannot be read as they are now, and why.
type Unreadable = BTreeMap<Key, String>;

/// Works until dropped.
pub async fn keep(reader: Arc<Reader>, client: kube::Client, scope: Scope) {
    let mut wait = reader.pace.least;
    let mut version: Option<String> = None;
    let mut unreadable = Unreadable::new();
    loop {
        let ended = match version.take() {
            None => match list(&reader, &client, &scope, &mut unreadable).await {
                Ok(at) => {
                    version = Some(at);
                    wait = reader.pace.least;
                    continue;
                }
                Err(ended) => ended,
            },
            Some(mut at) => {
                let began = std::time::Instant::now();
                let ended = watch(&reader, &client, &scope, &mut at, &mut unreadable).await;
                if began.elapsed() > BREATH && !matches!(ended, Ended::Badly(..)) {
                    wait = reader.pace.least;
                }
                if !matches!(ended, Ended::Gone) {
                    version = Some(at);
                }
                ended
            }
        };
        match ended {
            Ended::Quietly => tokio::time::sleep(BREATH).await,
            Ended::Gone => {
                // What is known stays; it is only no longer known to be new.
                let word = "the server has forgotten the version read last (410): listing again";
                reader.report(&scope, SourceWord::Lost, word, Some(BREATH));
                tokio::time::sleep(BREATH).await;
            }
            Ended::Badly(word, why) => {
                let pause =
                    if matches!(word, SourceWord::Lost | SourceWord::Unreadable) { wait } else { reader.pace.seldom };
                tracing::debug!(cluster = %reader.name, kind = scope.0.plural(), state = word.word(), "watch");
                reader.report(&scope, word, &why, Some(pause));
                tokio::time::sleep(jittered(pause)).await;
                wait = (wait * 2).min(reader.pace.most);
            }
        }
    }
}

/// Up to a fifth longer, so that many watchers do not all knock at once.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(1.0 + rand::random::<f64>() / 5.0)
}

#[derive(Deserialize)]
struct Page<'a> {
    metadata: PageMeta,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

/// Lists all pages, then replaces what is known in one go. The version to watch from.
async fn list(
    reader: &Reader,
    client: &kube::Client,
    scope: &Scope,
    unreadable: &mut Unreadable,
) -> Result<String, Ended> {
    let path = scope.0.path(scope.1.as_deref());
    let mut params = ListParams::default().limit(PAGE);
    let mut objects = Vec::new();
    let mut failed = Unreadable::new();
    let version = loop {
        let request = Request::new(path.as_str()).list(&params).map_err(|e| unreadable_answer(&e))?;
        let answer = tokio::time::timeout(cluster::timeout(&reader.settings), client.request_text(request)).await;
        let text = answer.map_err(|_| late(reader))?.map_err(|e| ended(&e))?;
        let page: Page<'_> = serde_json::from_str(&text).map_err(|e| unreadable_answer(&e))?;
        for item in page.items.unwrap_or_default() {
            match Kept::parse(scope.0, item.get()) {
                Ok(object) => objects.push(object),
                Err(e) => drop(failed.insert(key_of(item.get()), e.to_string())),
            }
        }
        match page.metadata.next.filter(|n| !n.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => break page.metadata.resource_version,
        }
    };
    reader.listed(scope, objects);
    *unreadable = failed;
    revive(reader, scope, unreadable);
    Ok(version)
}

/// Takes what changes until the watch ends.
async fn watch(
    reader: &Reader,
    client: &kube::Client,
    scope: &Scope,
    version: &mut String,
    unreadable: &mut Unreadable,
) -> Ended {
    let path = scope.0.path(scope.1.as_deref());
    let params = WatchParams { timeout: Some(WATCH_SECONDS), bookmarks: true, ..WatchParams::default() };
    let request = match Request::new(path.as_str()).watch(&params, version) {
        Ok(request) => request,
        Err(e) => return unreadable_answer(&e),
    };
    let opened =
        tokio::time::timeout(cluster::timeout(&reader.settings), client.request_events::<Value>(request)).await;
    let stream = match opened {
        Err(_) => return late(reader),
        Ok(Err(e)) => return ended(&e),
        Ok(Ok(stream)) => stream,
    };
    let mut stream = std::pin::pin!(stream);
    let mut said_live = false;
    loop {
        // A watch from a version that is gone is opened all the same, and says so in its first event.
        let patience = if said_live { SILENCE } else { FIRST_WORD };
        let event = match tokio::time::timeout(patience, stream.next()).await {
            Err(_) if said_live => return Ended::Badly(SourceWord::Lost, "nothing was heard for too long".into()),
            Err(_) => {
                said_live = true;
                revive(reader, scope, unreadable);
                continue;
            }
            Ok(Some(Err(e))) => return ended(&e),
            Ok(None) => break,
            Ok(Some(Ok(event))) => event,
        };
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                if take(reader, scope, &object, version, unreadable) {
                    said_live = false;
                }
            }
            WatchEvent::Deleted(object) => {
                let key = moved(&object, version);
                reader.remove(scope.0, &key);
                if unreadable.remove(&key).is_some() {
                    said_live = false;
                }
            }
            WatchEvent::Bookmark(mark) => *version = mark.metadata.resource_version,
            WatchEvent::Error(status) if is_gone(&status) => return Ended::Gone,
            WatchEvent::Error(status) => return refused(&status),
        }
        if !said_live {
            said_live = true;
            revive(reader, scope, unreadable);
        }
    }
    // The end that was asked for is a sign of life too.
    revive(reader, scope, unreadable);
    Ended::Quietly
}

/// Live, unless some object cannot be read as it is now.
fn revive(reader: &Reader, scope: &Scope, unreadable: &Unreadable) {
    let Some(((namespace, name), why)) = unreadable.first_key_value() else {
        return reader.report(scope, SourceWord::Live, "", None);
    };
    let what = format!("{} of its objects cannot be read; the first: {namespace}/{name}: {why}", unreadable.len());
    reader.report(scope, SourceWord::Unreadable, &what, None);
}

/// One changed object; what cannot be read moves the version on all the same. True: there is more or less now that
/// cannot be read.
fn take(reader: &Reader, scope: &Scope, object: &Value, version: &mut String, unreadable: &mut Unreadable) -> bool {
    let key = moved(object, version);
    match Kept::parse(scope.0, &object.to_string()) {
        Ok(kept) => {
            reader.put(scope.0, kept);
            unreadable.remove(&key).is_some()
        }
        Err(e) => {
            unreadable.insert(key, e.to_string());
            true
        }
    }
}

fn key(object: &Value) -> Key {
    let text = |key: &str| object.pointer(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    (text("/metadata/namespace"), text("/metadata/name"))
}

/// Of one that is no object of its kind.
fn key_of(json: &str) -> Key {
    serde_json::from_str(json).map(|object| key(&object)).unwrap_or_default()
}

/// The key of a changed object, whose version is the newest seen.
fn moved(object: &Value, version: &mut String) -> Key {
    let at = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    if let Some(at) = at.filter(|at| !at.is_empty()) {
        at.clone_into(version);
    }
    key(object)
}

fn late(reader: &Reader) -> Ended {
    let seconds = cluster::timeout(&reader.settings).as_secs();
    Ended::Badly(SourceWord::Lost, format!("no answer within {seconds} s"))
}

fn unreadable_answer(e: &dyn std::error::Error) -> Ended {
    Ended::Badly(SourceWord::Unreadable, e.to_string())
}

fn is_gone(status: &kube::core::Status) -> bool {
    status.code == 410 || matches!(status.reason.as_str(), "Expired" | "Gone")
}

fn refused(status: &kube::core::Status) -> Ended {
    let word = match status.code {
        401 | 403 => SourceWord::Forbidden,
        404 => SourceWord::Absent,
        _ => SourceWord::Lost,
    };
    Ended::Badly(word, format!("{}: {}", status.code, status.message))
}

fn ended(error: &kube::Error) -> Ended {
    match error {
        kube::Error::Api(status) if is_gone(status) => Ended::Gone,
        kube::Error::Api(status) => refused(status),
        kube::Error::SerdeError(e) => unreadable_answer(e),
        other => {
            // The cause at the end of the chain says what happened: `connection refused`.
            let mut cause: &dyn std::error::Error = other;
            while let Some(next) = cause.source() {
                cause = next;
            }
            Ended::Badly(SourceWord::Lost, cause.to_string())
        }
    }
}
