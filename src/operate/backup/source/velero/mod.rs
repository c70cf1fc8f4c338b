//! Velero: its objects in a cluster, listed with get and list rights only. What they mean is [`objects`]' part.

pub mod objects;
pub mod outages;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};

use super::BACKUPS_MAX;
use super::Read;
use crate::model::health::SourceState;
use crate::model::health::SourceWord;
use crate::text::Untrusted;

pub use objects::Kind;
pub use objects::Objects;
pub use objects::read;

/// Objects asked for at once.
const PAGE: u32 = 500;

/// Why a kind could not be listed.
struct Trouble {
    word: SourceWord,
    why: String,
}

/// Lists what Velero keeps in `namespace` and reads it. `limit` is the time one request may take. `outages` are those
/// known of its locations; those seen now are added.
pub async fn fetch(
    name: &str,
    client: &kube::Client,
    namespace: &str,
    limit: Duration,
    outages: &mut BTreeMap<String, Timestamp>,
    now: Timestamp,
) -> Read {
    let state = |word, detail: String| SourceState {
        name: name.into(),
        kind: "velero".into(),
        state: word,
        detail: Untrusted::new(detail),
        last_good: None,
        next_try: None,
    };
    let mut objects = Objects::default();
    for kind in Kind::ALL {
        match list(client, kind, namespace, limit).await {
            Ok(found) => objects.put(kind, found),
            // Without the backups there is nothing to tell; without the rest they are told, and less is known of them.
            Err(trouble) if kind == Kind::Backup => {
                let why = match trouble.word {
                    SourceWord::Absent => {
                        "Velero is not installed in this cluster: no kind Backup (velero.io/v1)".into()
                    }
                    _ => format!("backups: {}", trouble.why),
                };
                return Read { backups: Vec::new(), schedules: Vec::new(), state: state(trouble.word, why) };
            }
            Err(trouble) if trouble.word == SourceWord::Lost => {
                let why = format!("{}: {}", kind.plural(), trouble.why);
                return Read { backups: Vec::new(), schedules: Vec::new(), state: state(SourceWord::Lost, why) };
            }
            Err(trouble) => objects.missing.push((kind, format!("{} ({})", trouble.why, trouble.word.word()))),
        }
    }
    for location in objects::away(&objects, now) {
        outages.insert(location, now);
    }
    objects.outages = outages.clone();
    read(name, &objects, now)
}

async fn list(
    client: &kube::Client,
    kind: Kind,
    namespace: &str,
    limit: Duration,
) -> Result<Vec<DynamicObject>, Trouble> {
    let resource = resource(kind);
    let api: Api<DynamicObject> = match kind {
        Kind::Namespace => Api::all_with(client.clone(), &resource),
        _ => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let mut found = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = match tokio::time::timeout(limit, api.list(&params)).await {
            Ok(Ok(page)) => page,
            Ok(Err(e)) => return Err(trouble(&e)),
            Err(_) => {
                let why = format!("no answer within {} s", limit.as_secs_f64());
                return Err(Trouble { word: SourceWord::Lost, why });
            }
        };
        found.extend(page.items);
        if found.len() > BACKUPS_MAX {
            let why = format!("more than {BACKUPS_MAX} objects");
            return Err(Trouble { word: SourceWord::Unreadable, why });
        }
        match page.metadata.continue_.filter(|c| !c.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(found),
        }
    }
}

fn resource(kind: Kind) -> ApiResource {
    let (group, version, name) = kind.group();
    ApiResource {
        group: group.into(),
        version: version.into(),
        api_version: if group.is_empty() { version.into() } else { format!("{group}/{version}") },
        kind: name.into(),
        plural: kind.plural().into(),
    }
}

fn trouble(e: &kube::Error) -> Trouble {
    match e {
        kube::Error::Api(status) => {
            let word = match status.code {
                401 | 403 => SourceWord::Forbidden,
                404 => SourceWord::Absent,
                // A list that outlived its continue token is simply asked for again next time.
                _ => SourceWord::Lost,
            };
            Trouble { word, why: status.message.clone() }
        }
        kube::Error::SerdeError(e) => Trouble { word: SourceWord::Unreadable, why: e.to_string() },
        other => {
            let mut last: &dyn std::error::Error = other;
            while let Some(cause) = last.source() {
                last = cause;
            }
            Trouble { word: SourceWord::Lost, why: last.to_string() }
        }
    }
}
