//! What the model's thread tells the rest of the program.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::file::{self, Stamp};
use crate::model::verdict::Usage;
use crate::triage::Health;

/// Answers that the times to the first token are told of.
const TIMES: usize = 200;

/// Where the model is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not in memory: not asked for yet, or not for a while.
    #[default]
    Away,
    Loading,
    Loaded,
    /// The last try to load it failed, and why.
    Failed(String),
}

#[derive(Default)]
struct Told {
    phase: Phase,
    name: String,
    about: String,
    context: Option<u32>,
    kv_cache: f32,
    prompt: u64,
    cached: u64,
    first: VecDeque<u64>,
    digest: Option<(PathBuf, Stamp, Option<String>)>,
}

#[derive(Default)]
pub struct Shared {
    running: AtomicU32,
    waiting: AtomicU32,
    /// Sent, not yet seen by the model's thread.
    pub sent: AtomicU32,
    pub closing: Arc<AtomicBool>,
    told: Mutex<Told>,
}

impl Shared {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn busy(&self, running: usize, waiting: usize, kv_cache: f32) {
        self.running.store(running as u32, Ordering::Relaxed);
        self.waiting.store(waiting as u32, Ordering::Relaxed);
        self.told().kv_cache = kv_cache;
    }

    pub fn phase(&self, phase: Phase) {
        self.told().phase = phase;
    }

    pub fn loaded(&self, name: &str, about: &str, context: u32) {
        let mut told = self.told();
        (told.phase, told.context) = (Phase::Loaded, Some(context));
        (told.name, told.about) = (name.to_owned(), about.to_owned());
    }

    pub fn answered(&self, usage: &Usage) {
        let mut told = self.told();
        told.prompt += usage.prompt_tokens.unwrap_or(0);
        told.cached += usage.cached_tokens.unwrap_or(0);
        if let Some(ms) = usage.first_token_ms {
            if told.first.len() >= TIMES {
                told.first.pop_front();
            }
            told.first.push_back(ms);
        }
    }

    /// Tokens of context of the loaded model.
    pub fn context(&self) -> Option<u32> {
        self.told().context
    }

    /// SHA-256 of the loaded file, once it is known.
    pub fn digest(&self) -> Option<String> {
        self.told().digest.as_ref().and_then(|d| d.2.clone())
    }

    /// Finds the digest out: from the note beside the file, else by reading the file on a thread of its own, once.
    pub fn want_digest(self: &Arc<Self>, path: &Path) {
        let Some(stamp) = file::stamp(path) else { return };
        let key = |d: &(PathBuf, Stamp, Option<String>)| d.0 == path && d.1 == stamp;
        let mut told = self.told();
        if told.digest.as_ref().is_some_and(key) {
            return;
        }
        let noted = file::noted_digest(path);
        let known = noted.is_some();
        told.digest = Some((path.to_owned(), stamp, noted));
        drop(told);
        if known {
            return;
        }
        let (shared, path) = (Arc::clone(self), path.to_owned());
        let hash = move || {
            super::lower_priority(10);
            let digest = file::digest(&path, &shared.closing);
            let mut told = shared.told();
            if let Some(kept) = told.digest.as_mut().filter(|d| d.0 == path && d.1 == stamp) {
                kept.2 = digest;
            }
        };
        if let Err(e) = std::thread::Builder::new().name("model-digest".into()).spawn(hash) {
            tracing::warn!(error = %e, "no thread for the model's digest");
        }
    }

    /// `file`: what would be loaded, or why nothing would.
    pub fn health(&self, file: &Result<PathBuf, String>) -> Health {
        let told = self.told();
        let name = match (&told.phase, file) {
            (Phase::Loaded, _) => told.name.clone(),
            (_, Ok(path)) => file::name(path),
            (_, Err(_)) => "local".to_owned(),
        };
        let (up, detail) = match (&told.phase, file) {
            (Phase::Loaded, _) => (true, format!("in memory: {}", told.about)),
            (_, Err(e)) => (false, e.clone()),
            (Phase::Failed(e), _) => (false, e.clone()),
            (Phase::Loading, _) => (true, "being loaded".into()),
            (Phase::Away, _) => (true, "not in memory; the first question loads it".into()),
        };
        let mut times: Vec<u64> = told.first.iter().copied().collect();
        times.sort_unstable();
        Health {
            up,
            name,
            running: Some(self.running.load(Ordering::Relaxed)),
            waiting: Some(self.waiting.load(Ordering::Relaxed) + self.sent.load(Ordering::Relaxed)),
            kv_cache: (told.phase == Phase::Loaded).then_some(told.kv_cache),
            prefix_hits: (told.prompt > 0).then(|| (told.cached as f64 / told.prompt as f64) as f32),
            ttft_p95_ms: times.get((times.len() * 95).div_ceil(100).saturating_sub(1)).copied(),
            detail,
            ..Health::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_knows_away_from_broken() {
        let shared = Shared::default();
        let there = Ok(PathBuf::from("/m/small.gguf"));
        let health = shared.health(&there);
        assert!(health.up && health.name == "small" && health.kv_cache.is_none() && health.prefix_hits.is_none());
        assert_eq!(health.ttft_p95_ms, None);
        assert!(!shared.health(&Err("no model is chosen".into())).up);
        shared.phase(Phase::Failed("the file is cut off".into()));
        let health = shared.health(&there);
        assert!(!health.up && health.detail.contains("cut off"));
        shared.loaded("small", "98 MB", 4096);
        for ms in 1..=100 {
            let usage =
                Usage { first_token_ms: Some(ms), prompt_tokens: Some(10), cached_tokens: Some(5), ..Usage::default() };
            shared.answered(&usage);
        }
        let health = shared.health(&there);
        assert_eq!((health.up, health.ttft_p95_ms, health.prefix_hits), (true, Some(95), Some(0.5)));
    }
}
