//! Opinions: what the desk knows goes to a backend, what it says is checked and kept.

use std::sync::Arc;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::Cancel;
use super::Desk;
use super::DeskError;
use super::Health;
use super::Result;
use crate::config::settings::TriageSettings;
use crate::intake::format;
use crate::model::alert::Alert;
use crate::model::alert::Disposition;
use crate::model::ids::AlertId;
use crate::model::query::Query;
use crate::model::query::Term;
use crate::model::query::TextField;
use crate::model::verdict::Verdict;
use crate::store::Store;
use crate::text::Untrusted;
use crate::triage::Backends;
use crate::triage::Context;
use crate::triage::Deps;
use crate::triage::Neighbour;
use crate::triage::Offer;
use crate::triage::PastCount;
use crate::triage::Question;

/// Neighbours told to a backend, and how far away in time they may be.
const NEIGHBOURS: usize = 20;
const NEAR_SECONDS: i64 = 3_600;
/// Rule frequencies are counted up to this.
const SEEN_CAP: u64 = 100_000;

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
        let offer = Offer { actions: self.catalogue().iter().map(|a| a.name.clone()).collect(), playbooks: Vec::new() };
        let settings = TriageSettings { backend: name.to_owned(), ..self.settings.triage.clone() };
        let secrets = Arc::clone(&self.secrets);
        let models = settings.local.dir.clone().unwrap_or_else(|| self.data_dir.join("models"));
        let deps = Deps { offer, secrets: Arc::new(move |r| secrets(r).map(Zeroizing::new)), models };
        Backends::from_settings(&settings, &deps).map_err(|e| DeskError::Usage(e.to_string()))
    }

    fn question(&self, id: AlertId) -> Result<Question> {
        let alert = self.store.alert(id)?.ok_or_else(|| DeskError::No(format!("{id}: there is no such alert")))?;
        let raw = self.store.raw(id)?.unwrap_or_default();
        Ok(Question {
            fields: format::leaves(&alert.format, &raw),
            context: self.context(&alert)?,
            request_id: ulid::Ulid::new().to_string(),
            by: None,
            alert,
        })
    }

    fn context(&self, alert: &Alert) -> Result<Context> {
        let now = Timestamp::now();
        let half_life = self.settings.triage.half_life_days;
        let past = self.store.past_dispositions(alert.id)?.into_iter().map(|p| {
            let n = |d: Disposition| p.counts.iter().find(|c| c.0 == d).map_or(0, |c| c.1);
            PastCount {
                alike: p.alike.to_owned(),
                true_positive: n(Disposition::TruePositive),
                benign_true_positive: n(Disposition::BenignTruePositive),
                false_positive: n(Disposition::FalsePositive),
                undetermined: n(Disposition::Undetermined),
                total: p.total,
                weighted: p.weighted(now, half_life),
                last_closed: p.last_closed,
            }
        });
        let near = |t: Timestamp| t.as_second() - alert.t_ingest.as_second();
        let neighbours = self.store.related(alert.id, NEIGHBOURS)?;
        let neighbours = neighbours
            .into_iter()
            .map(|r| Neighbour {
                id: r.id,
                seconds: near(r.t_ingest),
                shares: Vec::new(),
                title: r.title,
                severity: r.severity,
                techniques: r.techniques,
                disposition: r.disposition,
                verdict: r.verdict.map(|v| v.kind),
            })
            .filter(|n| n.seconds.abs() <= NEAR_SECONDS)
            .collect();
        let rule = alert.fields.rule_id.as_ref().or(alert.fields.rule_name.as_ref());
        let rule_seen = match rule {
            Some(rule) => {
                let same = Query::Term(Term::Match(TextField::Rule, rule.expose().to_owned()));
                self.store.count(&same, SEEN_CAP, now)?.n
            }
            None => 0,
        };
        Ok(Context {
            past: past.collect(),
            neighbours,
            rule_seen,
            all_seen: self.store.count(&Query::All, SEEN_CAP, now)?.n,
            cases: alert.case.map(|c| self.store.case(c)).transpose()?.flatten().into_iter().collect(),
            ..Context::default()
        })
    }
}
