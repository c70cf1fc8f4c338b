//! AMiner, the log anomaly detector of AIT: one JSON anomaly per record, as in the AIT Alert Data Set.
//!
//! An anomaly has no severity of its own, so it stays Unknown. `Confidence` (0 to 1), where a detector gives it, is
//! read as a percentage.

use super::draft::{self, Draft};
use super::{Format, ParseError, Probe, scan};
use crate::model::alert::{AlertFields, ObservableKind as Kind};

pub struct Aminer;

impl Format for Aminer {
    fn id(&self) -> &'static str {
        "aminer"
    }

    fn title(&self) -> &'static str {
        "AMiner anomaly JSON"
    }

    fn sniff(&self, probe: &Probe<'_>) -> u8 {
        let Some(b) = probe.body() else { return 0 };
        match (b.get("AnalysisComponent"), b.get("LogData").or_else(|| b.get("AMiner"))) {
            (Some(_), Some(_)) => 98,
            (Some(_), None) => 70,
            _ => 0,
        }
    }

    fn parse(&self, probe: &Probe<'_>) -> Result<Vec<AlertFields>, ParseError> {
        let b = probe.need(self.id())?;
        let Some(part) = b.get("AnalysisComponent") else {
            return Err(ParseError::new(self.id(), "no `AnalysisComponent`, as every AMiner anomaly has"));
        };
        let mut d = Draft::new("AMiner");
        d.f.rule_id = part.any_text(&["AnalysisComponentIdentifier", "PersistenceFileName"]);
        d.f.rule_name = part.any_text(&["AnalysisComponentName", "AnalysisComponentType"]);
        d.f.title = d.f.rule_name.clone().or_else(|| part.text("Message")).unwrap_or_default();
        d.f.source_id = probe.hit_id();
        let confidence = b.float("CountData.Confidence").or_else(|| b.float("FrequencyData.Confidence"));
        d.f.confidence = confidence.filter(|c| (0.0..=1.0).contains(c)).map(|c| (c * 100.0).round() as u8);
        d.f.t_event = b.time(&["LogData.Timestamps"]);
        d.f.t_alert = b.time(&["LogData.DetectionTimestamp"]).or(d.f.t_event);
        // The sensor's id is the address of the host whose log it reads.
        d.f.host = b.text("AMiner.ID");
        for line in b.all("LogData.RawLogData").iter().take(16) {
            scan::message(&line.scalar().unwrap_or_default(), &mut d);
        }
        for file in b.all("LogData.LogResources").iter().take(16) {
            d.observe(Kind::File, &file.scalar().unwrap_or_default());
        }
        affected(part, &mut d);
        Ok(vec![d.done("AMiner anomaly")])
    }
}

/// The values the detector found odd; its paths say what they are.
fn affected(part: &super::json::Json<'_>, d: &mut Draft) {
    let paths = part.all("AffectedLogAtomPaths");
    for value in part.all("AffectedLogAtomValues").iter().flat_map(|v| v.items()).take(64) {
        let Some(text) = value.scalar() else { continue };
        if let Some(ip) = draft::ip(&text) {
            d.observe_ip(&ip.to_string());
        } else if paths.iter().any(|p| p.scalar().is_some_and(|p| p.ends_with("/domain"))) {
            d.observe_host(&text);
        }
    }
}
