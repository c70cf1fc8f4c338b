//! Models run inside this process: what the doors need of them, and the probe of a backend.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ulid::Ulid;

use super::Cancel;
use super::Desk;
use super::DeskError;
use super::Result;
use crate::config::settings::TriageSettings;
use crate::intake::format;
use crate::intake::format::Reader;
use crate::model::alert::Alert;
use crate::model::alert::Status;
use crate::model::ids::AlertId;
use crate::model::priority::Priority;
use crate::triage::Context;
use crate::triage::Question;
use crate::triage::TriageError;

pub use crate::triage::models::*;

impl From<ModelError> for DeskError {
    fn from(e: ModelError) -> Self {
        match e {
            ModelError::Usage(m) => Self::Usage(m),
            ModelError::No(m) => Self::No(m),
            ModelError::Refused(m) => Self::Refused(m),
            ModelError::Unreachable(m) => Self::Unreachable(m),
        }
    }
}

/// Probing a backend with known alerts.
pub mod probe {
    pub use crate::triage::probe::*;
}

/// What to probe. Left out: that of the settings.
#[derive(Clone, Debug, Default)]
pub struct ProbeOf {
    pub backend: Option<String>,
    /// Instead of the local model in use, or the one of the server.
    pub model: Option<String>,
}

impl Desk {
    /// Puts known alerts to a backend, and says whether it is fit for triage. Nothing of this desk is told or changed.
    ///
    /// # Errors
    /// The backend is not configured right, or it was cancelled. One that does not answer is in the report.
    pub async fn probe(&self, of: &ProbeOf, told: probe::Told<'_>, cancel: &Cancel) -> Result<probe::Report> {
        let name = of.backend.as_deref().unwrap_or(&self.settings.triage.backend);
        let mut settings = TriageSettings { backend: name.to_owned(), ..self.settings.triage.clone() };
        if let Some(model) = &of.model {
            settings.local.model.clone_from(model);
            settings.openai.model.clone_from(model);
        }
        let backends = self.make_backends_of(&settings)?;
        backends.load().await.map_err(|e| match e {
            TriageError::Unavailable(m) => DeskError::Unreachable(m),
            other => DeskError::Usage(other.to_string()),
        })?;
        let asked = probe::cases().into_iter().map(|c| question(&c).map(|q| (c, q))).collect::<Result<Vec<_>>>()?;
        probe::run(&backends, asked, told, cancel).await.map_err(|e| match e {
            TriageError::Configuration(m) => DeskError::Usage(m),
            other => DeskError::No(other.to_string()),
        })
    }
}

/// The alert as it would be on a desk that knows of it what the case says.
fn question(case: &probe::Case) -> Result<Question> {
    let bad = |why: &str| DeskError::No(format!("the bundled alert {}: {why}", case.name));
    let mut reader = Reader::new(Some(&case.format), &BTreeMap::new()).map_err(|e| bad(&e))?;
    let (format, fields) = reader.read(case.record()).map_err(|e| bad(&e.to_string()))?;
    let fields = fields.into_iter().next().ok_or_else(|| bad("holds no alert"))?;
    let priority = Priority::from_severity(fields.severity);
    let now = Timestamp::now();
    let asset = case.asset();
    Ok(Question {
        fields: format::leaves(&format, case.record()),
        context: Context {
            past: case.past().into_iter().collect(),
            techniques: fields.techniques.clone(),
            asset: asset.clone(),
            ..Context::default()
        },
        request_id: Ulid::new().to_string(),
        by: None,
        alert: Alert {
            id: AlertId(0),
            format,
            source: "probe".into(),
            raw_sha256: String::new(),
            raw_len: case.record().len() as u64,
            identity: String::new(),
            group: String::new(),
            count: 1,
            last_seen: now,
            status: Status::New,
            priority,
            detector_priority: priority,
            owner: None,
            snoozed_until: None,
            closing: None,
            case: None,
            verdict: None,
            asset_weight: asset.map_or(100, |a| a.weight),
            t_ingest: now,
            t_claim: None,
            t_verdict: None,
            t_contain: None,
            t_recover: None,
            t_close: None,
            origin: None,
            rev: 1,
            fields,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_alert_is_read_by_its_format() {
        for case in probe::cases() {
            let q = question(&case).unwrap();
            assert!(!q.alert.fields.title.is_empty() && q.fields.len() > 8, "{}", case.name);
            assert!(q.alert.fields.host.is_some() || q.alert.fields.src_ip.is_some(), "{}", case.name);
            let sniffed = format::Reader::auto().read(case.record()).unwrap().0;
            assert_eq!(sniffed, case.format, "{}", case.name);
        }
    }
}
