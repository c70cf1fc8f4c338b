//! The backends of a desk, made once, and how they are doing.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::super::Desk;
use super::super::DeskError;
use super::super::Health;
use super::super::Result;
use crate::config::settings::TriageSettings;
use crate::store::Store;
use crate::triage::Backends;
use crate::triage::Deps;
use crate::triage::Judged;
use crate::triage::Offer;
use crate::triage::Question;
use crate::triage::TriageError;

/// A person waits for an answer as long as this lives: workers leave a slot free.
pub(super) struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Desk {
    /// How the configured backend was when last asked.
    pub fn backend_health(&self) -> Health {
        let known = self.health.lock().ok().and_then(|h| h.clone());
        known.unwrap_or_else(|| Health {
            // Rules need nobody else to be up.
            up: self.settings.triage.backend == "rules",
            name: self.settings.triage.backend.clone(),
            detail: "not asked yet".into(),
            ..Health::default()
        })
    }

    pub(in crate::desk) async fn ask_health(&self) -> Health {
        let mut health = match self.backends(None) {
            Ok(backends) => backends.health().await,
            Err(e) => Health { name: self.settings.triage.backend.clone(), detail: e.to_string(), ..Health::default() },
        };
        let held = tokio::task::block_in_place(|| self.held(Timestamp::now()));
        if let Ok(Some(held)) = held {
            health.detail = if health.detail.is_empty() { held } else { format!("{}; {held}", health.detail) };
        }
        health
    }

    /// The backends asked for; each is made once and kept, with its connections.
    pub(super) fn backends(&self, name: Option<&str>) -> Result<Backends> {
        let name = self.backend_name(name);
        let kept = self.backends.lock().ok().and_then(|kept| kept.get(name).cloned());
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let made = self.make_backends(name)?;
        // Whoever was first is kept: limits count per backend.
        let mut all = self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(all.entry(name.to_owned()).or_insert(made).clone())
    }

    pub(super) fn backend_name<'a>(&'a self, name: Option<&'a str>) -> &'a str {
        name.unwrap_or(&self.settings.triage.backend)
    }

    fn make_backends(&self, name: &str) -> Result<Backends> {
        self.make_backends_of(&TriageSettings { backend: name.to_owned(), ..self.settings.triage.clone() })
    }

    /// Backends of settings that may not be this desk's own; nobody keeps them.
    pub(in crate::desk) fn make_backends_of(&self, settings: &TriageSettings) -> Result<Backends> {
        let offer = Offer {
            actions: self.catalogue().iter().map(|a| a.name.clone()).collect(),
            playbooks: self.known.playbooks.all().iter().map(|b| b.name.clone()).collect(),
        };
        let secrets = Arc::clone(&self.secrets);
        let models = settings.local.dir.clone().unwrap_or_else(|| self.data_dir.join("models"));
        let deps = Deps { offer, secrets: Arc::new(move |r| secrets(r).map(Zeroizing::new)), models };
        Backends::from_settings(settings, &deps).map_err(|e| DeskError::Usage(e.to_string()))
    }

    /// `rules` in the place of the configured backend, which could not even be made.
    pub(super) async fn rules_for_another(
        &self,
        question: &Question,
        why: &TriageError,
    ) -> std::result::Result<Judged, TriageError> {
        let rules = self.backends(Some("rules")).map_err(|e| TriageError::Configuration(e.to_string()))?;
        rules.stand_in_for(&self.settings.triage.backend, question, why).await
    }

    /// The configured backends, for something a person waits for.
    pub(in crate::desk) fn draft_backends(&self) -> Result<Backends> {
        self.backends(None)
    }

    /// Workers leave a slot free while a person waits.
    pub(in crate::desk) async fn draft_busy<T>(&self, work: impl Future<Output = T>) -> T {
        let _busy = self.busy();
        work.await
    }

    pub(super) fn busy(&self) -> Busy<'_> {
        self.asking.fetch_add(1, Ordering::SeqCst);
        Busy(&self.asking)
    }

    /// Why the queue stands still, in words.
    pub(super) fn held(&self, now: Timestamp) -> Result<Option<String>> {
        Ok(self.store.triage_held(now)?.map(|h| {
            let next = match h.next_try.duration_since(now).as_secs() {
                ..=0 => "trying again".to_owned(),
                left => format!("next try in {left} s"),
            };
            format!("rules only: {}, {next}", h.why)
        }))
    }
}
