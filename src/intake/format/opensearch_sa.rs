//! OpenSearch Security Analytics: findings, alerts and correlation alerts, as the plugin indexes them
//! (`.opensearch-sap-*-findings*`, `.opensearch-sap-*-alerts*`) and as its search calls answer
//! (`{"findings":[..]}`, `{"alerts":[..]}`).
//!
//! Severity of an alert is its trigger's, 1 (highest) to 5 (lowest), read as Critical, High, Medium, Low and
//! Informational. A finding carries the Sigma level of its rules among the tags; the worst one counts.

use super::draft::{Draft, keep};
use super::json::{self, Json};
use super::{Format, ParseError, Probe, ecs};
use crate::model::alert::{AlertFields, ObservableKind as Kind};
use crate::model::severity::Severity;
use crate::text::Untrusted;

pub struct OpensearchSa;

const PRODUCT: &str = "OpenSearch Security Analytics";

impl Format for OpensearchSa {
    fn id(&self) -> &'static str {
        "opensearch_sa"
    }

    fn title(&self) -> &'static str {
        "OpenSearch Security Analytics findings and alerts"
    }

    fn sniff(&self, probe: &Probe<'_>) -> u8 {
        let Some(b) = probe.body() else { return 0 };
        match shape(b) {
            Some(Shape::Finding | Shape::Alert | Shape::Correlation) => 97,
            Some(Shape::Findings | Shape::Alerts) => 96,
            None => 0,
        }
    }

    fn parse(&self, probe: &Probe<'_>) -> Result<Vec<AlertFields>, ParseError> {
        let b = probe.need(self.id())?;
        let mut all: Vec<AlertFields> = match shape(b) {
            Some(Shape::Findings) => b.all("findings").iter().map(finding).collect(),
            Some(Shape::Alerts) => b.all("alerts").iter().map(alert).collect(),
            Some(Shape::Finding) => vec![finding(b)],
            Some(Shape::Alert) => vec![alert(b)],
            Some(Shape::Correlation) => vec![correlation(b)],
            None => {
                let message =
                    "neither `queries` of a finding, nor a `trigger_name` of an alert, nor `correlated_finding_ids`";
                return Err(ParseError::new(self.id(), message));
            }
        };
        if let [one] = &mut all[..] {
            one.source_id = one.source_id.take().or_else(|| probe.hit_id());
        }
        Ok(all)
    }
}

enum Shape {
    Finding,
    Alert,
    Correlation,
    Findings,
    Alerts,
}

fn shape(b: &Json<'_>) -> Option<Shape> {
    let has = |k: &str| b.get(k).is_some();
    if has("correlated_finding_ids") && (has("correlation_rule_id") || has("correlation_rule_name")) {
        return Some(Shape::Correlation);
    }
    if has("queries") && (has("related_doc_ids") || has("monitor_id") || has("detectorId")) {
        return Some(Shape::Finding);
    }
    if (has("trigger_name") || has("trigger_id")) && (has("monitor_id") || has("detector_id") || has("finding_ids")) {
        return Some(Shape::Alert);
    }
    if has("total_findings") && has("findings") {
        return Some(Shape::Findings);
    }
    (has("total_alerts") && has("alerts")).then_some(Shape::Alerts)
}

fn finding(b: &Json<'_>) -> AlertFields {
    let mut d = Draft::new(PRODUCT);
    d.f.source_id = b.text("id");
    d.f.t_event = b.time(&["timestamp"]);
    d.f.t_alert = d.f.t_event;
    for query in b.all("queries") {
        d.f.rule_id = d.f.rule_id.take().or_else(|| query.text("id"));
        d.f.rule_name = d.f.rule_name.take().or_else(|| query.text("name"));
        for tag in query.all("tags").iter().take(64).filter_map(Json::scalar) {
            d.technique(&tag);
            match &*tag.to_ascii_lowercase() {
                "critical" | "high" | "medium" | "low" | "informational" => {
                    let level = Severity::parse(&tag).unwrap_or_default();
                    if level > d.f.severity {
                        d.f.severity = level;
                        d.f.source_severity = Some(keep(&format!("rule level {tag}")));
                    }
                }
                _ => {}
            }
        }
    }
    // The plugin names a query by its rule's id; the detector's name says more.
    let detector = b.any(&["monitor_name", "detector_name"]);
    let named = d.f.rule_name.is_some() && d.f.rule_name != d.f.rule_id;
    d.f.title = match (&d.f.rule_name, detector) {
        (Some(rule), Some(detector)) if !named => keep(&format!("{detector}: finding of rule {}", rule.expose())),
        (Some(rule), _) => rule.clone(),
        (None, Some(detector)) => keep(&detector),
        (None, None) => Untrusted::default(),
    };
    documents(b, &mut d);
    d.done("Security Analytics finding")
}

/// The documents that matched, which the search call gives as text.
fn documents(b: &Json<'_>, d: &mut Draft) {
    for document in b.all("document_list").iter().take(8) {
        let Some(body) = document.get("document") else { continue };
        let text = body.scalar().unwrap_or_default();
        let parsed = json::parse(&text);
        let doc = match (&parsed, body.is_obj()) {
            (_, true) => body,
            (Ok(doc), _) => doc,
            (Err(_), _) => continue,
        };
        ecs::entities(doc, d);
        let user =
            ["userIdentity.userName", "userIdentity.arn", "winlog.event_data.SubjectUserName", "SubjectUserName"];
        d.f.user = d.f.user.take().or_else(|| doc.any_text(&user));
        d.f.host = d.f.host.take().or_else(|| doc.any_text(&["Computer", "HostName", "Hostname"]));
        d.source(doc.ip(&["sourceIPAddress", "src_ip", "srcip", "c-ip"]), doc.port(&["src_port"]));
        d.destination(doc.ip(&["dest_ip", "dst_ip", "dstip"]), doc.port(&["dest_port", "dst_port"]));
    }
    for id in b.all("related_doc_ids").iter().take(16) {
        d.observe(Kind::Other, &id.scalar().unwrap_or_default());
    }
}

/// Trigger severity: <https://docs.opensearch.org/latest/security-analytics/sec-analytics-config/detectors-config/>.
fn trigger_severity(b: &Json<'_>, d: &mut Draft) {
    let Some(word) = b.word("severity") else { return };
    let (severity, said) = match &*word {
        "1" => (Severity::Critical, "severity 1 of 5 (1 is the highest)".to_owned()),
        "2" => (Severity::High, "severity 2 of 5 (1 is the highest)".to_owned()),
        "3" => (Severity::Medium, "severity 3 of 5 (1 is the highest)".to_owned()),
        "4" => (Severity::Low, "severity 4 of 5 (1 is the highest)".to_owned()),
        "5" => (Severity::Informational, "severity 5 of 5 (1 is the highest)".to_owned()),
        other => (Severity::parse(other).unwrap_or_default(), format!("severity {other}")),
    };
    d.f.severity = severity;
    d.f.source_severity = Some(keep(&said));
}

fn alert(b: &Json<'_>) -> AlertFields {
    let mut d = Draft::new(PRODUCT);
    d.f.source_id = b.text("id");
    d.f.rule_id = b.any_text(&["trigger_id", "monitor_id", "detector_id"]);
    d.f.rule_name = b.any_text(&["trigger_name", "monitor_name"]);
    d.f.title = match (b.word("trigger_name"), b.word("monitor_name")) {
        (Some(trigger), Some(detector)) => keep(&format!("{detector}: {trigger}")),
        (one, other) => one.or(other).map(|t| keep(&t)).unwrap_or_default(),
    };
    trigger_severity(b, &mut d);
    d.f.t_event = b.time(&["start_time"]);
    d.f.t_alert = b.time(&["start_time", "last_notification_time"]);
    for key in b.all("agg_alert_content.bucket_key").iter().take(16) {
        d.observe_ip(&key.scalar().unwrap_or_default());
    }
    if let Some(error) = b.text("error_message") {
        d.observe(Kind::Other, error.expose());
    }
    d.done("Security Analytics alert")
}

fn correlation(b: &Json<'_>) -> AlertFields {
    let mut d = Draft::new(PRODUCT);
    d.f.source_id = b.text("id");
    d.f.rule_id = b.text("correlation_rule_id");
    d.f.rule_name = b.text("correlation_rule_name");
    d.f.title = b.any_text(&["trigger_name", "correlation_rule_name"]).unwrap_or_default();
    trigger_severity(b, &mut d);
    d.f.t_event = b.time(&["start_time"]);
    d.f.t_alert = d.f.t_event;
    for id in b.all("correlated_finding_ids").iter().take(32) {
        d.observe(Kind::Other, &id.scalar().unwrap_or_default());
    }
    d.done("Security Analytics correlation")
}
