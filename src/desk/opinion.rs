//! Opinions: what the desk knows goes to a backend, what it says is checked and kept.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::Cancel;
use super::Desk;
use super::DeskError;
use super::Health;
use super::Result;
use crate::config::settings::TriageSettings;
use crate::model::ids::AlertId;
use crate::model::verdict::Verdict;
use crate::store::Store;
use crate::text::Untrusted;
use crate::triage::Backends;
use crate::triage::Deps;
use crate::triage::Offer;

impl Desk {
    /// Forms an opinion on one alert and keeps it. It may raise the alert's priority and can change nothing else.
    pub async fn triage(
        &self,
        id: AlertId,
        backend: Option<&str>,
        progress: &(dyn Fn(Untrusted) + Send + Sync),
        cancel: &Cancel,
    ) -> Result<Verdict> {
        if self.read_only {
            return Err(DeskError::Refused("this console is read-only".into()));
        }
        let question = tokio::task::block_in_place(|| self.question(id))?;
        let judged = self.backends(backend)?.judge(&question, progress, cancel).await;
        let verdict = judged.map_err(|e| DeskError::No(e.to_string()))?.verdict;
        tokio::task::block_in_place(|| self.store.record_verdict(id, &verdict))?;
        Ok(verdict)
    }

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

    pub(super) async fn ask_health(&self) -> Health {
        match self.backends(None) {
            Ok(backends) => backends.health().await,
            Err(e) => Health { name: self.settings.triage.backend.clone(), detail: e.to_string(), ..Health::default() },
        }
    }

    /// The backends asked for; each is made once and kept, with its connections.
    fn backends(&self, name: Option<&str>) -> Result<Backends> {
        let name = name.unwrap_or(&self.settings.triage.backend);
        let kept = self.backends.lock().ok().and_then(|kept| kept.get(name).cloned());
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let made = self.make_backends(name)?;
        if let Ok(mut kept) = self.backends.lock() {
            kept.insert(name.to_owned(), made.clone());
        }
        Ok(made)
    }

    fn make_backends(&self, name: &str) -> Result<Backends> {
        let offer = Offer {
            actions: self.catalogue().iter().map(|a| a.name.clone()).collect(),
            playbooks: self.known.playbooks.all().iter().map(|b| b.name.clone()).collect(),
        };
        let settings = TriageSettings { backend: name.to_owned(), ..self.settings.triage.clone() };
        let secrets = Arc::clone(&self.secrets);
        let models = settings.local.dir.clone().unwrap_or_else(|| self.data_dir.join("models"));
        let deps = Deps { offer, secrets: Arc::new(move |r| secrets(r).map(Zeroizing::new)), models };
        Backends::from_settings(&settings, &deps).map_err(|e| DeskError::Usage(e.to_string()))
    }
}
