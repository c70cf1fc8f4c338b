//! Reading a cluster: every kind of object is listed once and then watched, each by a task of its own.
//!
//! The client's own watcher is not used: it resumes for ever where a watch cannot start from an old version, and it
//! keeps whole objects.

mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use super::read::Kept;
use super::read::Key;
use super::read::Kind;
use super::read::Snapshot;
use crate::config::settings::KubernetesSettings;
use crate::model::health::SourceState;
use crate::model::health::SourceWord;
use crate::operate::cluster;
use crate::text::Untrusted;

/// How long to wait before trying again.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// First wait after a lost connection; doubled until `most`.
    pub least: Duration,
    pub most: Duration,
    /// For what is forbidden or not there.
    pub seldom: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { least: Duration::from_millis(500), most: Duration::from_secs(30), seldom: Duration::from_secs(60) }
    }
}

/// What one watcher reads: a kind, in one namespace or in all.
type Scope = (Kind, Option<String>);

#[derive(Clone, Debug)]
struct Reading {
    word: SourceWord,
    detail: String,
    last_good: Option<Timestamp>,
    next_try: Option<Timestamp>,
    /// How often everything was listed, the first time counted.
    lists: u64,
}

#[derive(Default)]
struct Inner {
    snapshot: Snapshot,
    readings: BTreeMap<Scope, Reading>,
}

/// What is known of one cluster, kept up to date by [`Reader::run`].
pub struct Reader {
    name: String,
    settings: KubernetesSettings,
    pace: Pace,
    inner: Mutex<Inner>,
    /// Something changed.
    pub changed: Notify,
}

impl Reader {
    pub fn new(name: &str, settings: KubernetesSettings, pace: Pace) -> Arc<Self> {
        let mut inner = Inner::default();
        name.clone_into(&mut inner.snapshot.cluster);
        let starting =
            Reading { word: SourceWord::Starting, detail: String::new(), last_good: None, next_try: None, lists: 0 };
        inner.readings = scopes(&settings).into_iter().map(|scope| (scope, starting.clone())).collect();
        Arc::new(Self { name: name.to_owned(), settings, pace, inner: Mutex::new(inner), changed: Notify::new() })
    }

    /// Connects and watches until dropped. A kubeconfig that cannot be read is read again: it may be being written.
    pub async fn run(self: Arc<Self>) {
        loop {
            match cluster::connect(&self.name, &self.settings, cluster::As::Reader).await {
                Ok(client) => return self.watch_all(client).await,
                Err(why) => {
                    for scope in scopes(&self.settings) {
                        self.report(&scope, SourceWord::Unreadable, &why, Some(self.pace.most));
                    }
                    tokio::time::sleep(self.pace.most).await;
                }
            }
        }
    }

    async fn watch_all(self: &Arc<Self>, client: kube::Client) {
        let mut tasks = tokio::task::JoinSet::new();
        for scope in scopes(&self.settings) {
            tasks.spawn(watch::keep(Arc::clone(self), client.clone(), scope));
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Whether every kind had a first answer, be it a refusal.
    pub fn started(&self) -> bool {
        self.inner.lock().is_ok_and(|i| i.readings.values().all(|r| r.word != SourceWord::Starting))
    }

    /// One line for every kind that is read.
    pub fn states(&self) -> Vec<SourceState> {
        let Ok(inner) = self.inner.lock() else { return Vec::new() };
        let state = |((kind, namespace), r): (&Scope, &Reading)| SourceState {
            name: self.name.clone(),
            kind: match namespace {
                Some(namespace) => format!("kubernetes {} in {namespace}", kind.plural()),
                None => format!("kubernetes {}", kind.plural()),
            },
            state: r.word,
            detail: Untrusted::from(r.detail.as_str()),
            last_good: r.last_good,
            next_try: r.next_try,
        };
        inner.readings.iter().map(state).collect()
    }

    /// How often a kind was listed in full.
    pub fn lists(&self, kind: Kind) -> u64 {
        let of = |i: &Inner| i.readings.iter().filter(|((k, _), _)| *k == kind).map(|(_, r)| r.lists).sum();
        self.inner.lock().map_or(0, |i| of(&i))
    }

    /// Calls `look` with all that is known. Keep it short: the watchers wait meanwhile.
    pub fn with<T>(&self, look: impl FnOnce(&Snapshot) -> T) -> Option<T> {
        let mut inner = self.inner.lock().ok()?;
        let mut fresh: BTreeMap<Kind, (SourceWord, Option<Timestamp>)> = BTreeMap::new();
        for ((kind, _), r) in &inner.readings {
            let slot = fresh.entry(*kind).or_insert((r.word, r.last_good));
            // Of several namespaces the one that is worst off speaks for all.
            if slot.0 == SourceWord::Live && r.word != SourceWord::Live {
                *slot = (r.word, r.last_good);
            }
        }
        inner.snapshot.fresh = fresh;
        Some(look(&inner.snapshot))
    }

    fn report(&self, scope: &Scope, word: SourceWord, detail: &str, wait: Option<Duration>) {
        let now = Timestamp::now();
        if let Ok(mut inner) = self.inner.lock()
            && let Some(reading) = inner.readings.get_mut(scope)
        {
            reading.word = word;
            detail.clone_into(&mut reading.detail);
            reading.next_try = wait.and_then(|wait| now.checked_add(wait).ok());
            if word == SourceWord::Live {
                reading.last_good = Some(now);
            }
        }
        self.changed.notify_one();
    }

    /// Takes all objects of a kind from somewhere else than an apiserver, as if they had just been listed.
    pub fn feed(&self, kind: Kind, objects: Vec<Kept>) {
        let scope = (kind, None);
        self.listed(&scope, objects);
        self.report(&scope, SourceWord::Live, "", None);
    }

    fn listed(&self, scope: &Scope, objects: Vec<Kept>) {
        if let Ok(mut inner) = self.inner.lock() {
            inner.snapshot.replace(scope.0, scope.1.as_deref(), objects);
            if let Some(reading) = inner.readings.get_mut(scope) {
                reading.lists += 1;
            }
        }
    }

    fn put(&self, kind: Kind, object: Kept) {
        if let Ok(mut inner) = self.inner.lock() {
            inner.snapshot.put(kind, object);
        }
        self.changed.notify_one();
    }

    fn remove(&self, kind: Kind, key: &Key) {
        if let Ok(mut inner) = self.inner.lock() {
            inner.snapshot.remove(kind, key);
        }
        self.changed.notify_one();
    }
}

fn scopes(settings: &KubernetesSettings) -> Vec<Scope> {
    let mut scopes = Vec::new();
    for kind in Kind::ALL {
        if settings.namespaces.is_empty() || !kind.namespaced() {
            scopes.push((kind, None));
        } else {
            scopes.extend(settings.namespaces.iter().map(|n| (kind, Some(n.clone()))));
        }
    }
    scopes
}
