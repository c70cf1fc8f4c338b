//! Questions for the unit tests of this room.

use crate::model::alert::Alert;
use crate::model::fields::flatten;
use crate::triage::{Context, Question, SecretOf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// A question about a JSON record of which nothing but its fields is known.
pub fn question(record: &str) -> Question {
    let alert = serde_json::json!({
        "id": 1, "title": "", "severity": "unknown", "format": "generic", "source": "test", "raw_sha256": "",
        "raw_len": 0, "identity": "", "group": "", "count": 1, "last_seen": "2026-01-05T09:00:00Z", "status": "new",
        "priority": "P2", "detector_priority": "P2", "asset_weight": 100, "t_ingest": "2026-01-05T09:00:00Z", "rev": 1,
        "observables": [], "techniques": [],
    });
    let alert: Alert = serde_json::from_value(alert).unwrap();
    let fields = flatten(&serde_json::from_str(record).unwrap());
    Question { alert, fields, context: Context::default(), request_id: "req-1".into(), by: None }
}

/// Every reference leads to this value.
pub fn secret(value: &'static str) -> SecretOf {
    Arc::new(move |_| Ok(Zeroizing::new(value.to_owned())))
}

pub fn no_secrets() -> SecretOf {
    Arc::new(|_| Err("no secret here".to_owned()))
}
