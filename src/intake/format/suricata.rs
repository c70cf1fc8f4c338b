//! Suricata EVE JSON: <https://docs.suricata.io/en/latest/output/eve/eve-json-format.html>.
//!
//! Severity: `alert.severity` is the rule's priority, 1 the most urgent; `classification.config` as shipped uses 1
//! (high), 2 (medium), 3 (low) and 4 (very low), read here as High, Medium, Low and Informational.

use super::draft::Draft;
use super::json::Json;
use super::{Format, ParseError, Probe};
use crate::model::alert::{AlertFields, ObservableKind as Kind};
use crate::model::severity::Severity;
use crate::text::Untrusted;

pub struct Suricata;

impl Format for Suricata {
    fn id(&self) -> &'static str {
        "suricata"
    }

    fn title(&self) -> &'static str {
        "Suricata EVE JSON"
    }

    fn sniff(&self, probe: &Probe<'_>) -> u8 {
        let Some(b) = probe.body() else { return 0 };
        if b.get("event_type").is_none() || b.get("timestamp").is_none() {
            return 0;
        }
        let seen = ["flow_id", "src_ip", "dest_ip", "proto", "in_iface"].iter().filter(|k| b.get(k).is_some()).count();
        match seen {
            2.. => 97,
            1 => 85,
            0 => {
                if b.get("stats").is_some() {
                    80
                } else {
                    40
                }
            }
        }
    }

    fn parse(&self, probe: &Probe<'_>) -> Result<Vec<AlertFields>, ParseError> {
        let b = probe.need(self.id())?;
        if b.word("event_type").is_none() {
            return Err(ParseError::new(self.id(), "no `event_type`, as every EVE record has"));
        }
        let mut d = Draft::new("Suricata");
        fill(b, &mut d);
        d.f.source_id = probe.hit_id();
        d.f.host = b.any_text(&["host", "sensor_name"]);
        Ok(vec![d.done("Suricata event")])
    }
}

pub fn severity(priority: i64) -> Severity {
    match priority {
        1 => Severity::High,
        2 => Severity::Medium,
        3 => Severity::Low,
        4.. => Severity::Informational,
        _ => Severity::Unknown,
    }
}

/// Fills what an EVE record says; `ecs` and `wazuh` documents carry the same record inside.
pub fn fill(b: &Json<'_>, d: &mut Draft) {
    d.f.t_alert = b.time(&["timestamp"]);
    d.f.t_event = d.f.t_alert;
    d.source(b.ip(&["src_ip"]), b.port(&["src_port"]));
    d.destination(b.ip(&["dest_ip"]), b.port(&["dest_port"]));
    match b.get("alert") {
        Some(alert) => detection(alert, d),
        None => event(b, d),
    }
    application(b, d);
}

fn detection(alert: &Json<'_>, d: &mut Draft) {
    d.f.rule_id = alert.text("signature_id");
    d.f.rule_name = alert.text("signature");
    d.f.title = d.f.rule_name.clone().or_else(|| alert.text("category")).unwrap_or_default();
    if let Some(priority) = alert.int("severity") {
        d.f.severity = severity(priority);
        d.f.source_severity = Some(Untrusted::new(format!("priority {priority} (1 is the most urgent)")));
    }
    let Some(meta) = alert.get("metadata") else { return };
    for key in ["mitre_technique_id", "mitre_technique", "mitre_attack_id"] {
        for id in meta.all(key) {
            d.technique(&id.scalar().unwrap_or_default());
        }
    }
    // Emerging Threats grades its rules: Low, Medium, High.
    d.f.confidence = meta.word("confidence").and_then(|w| match w.to_ascii_lowercase().as_str() {
        "high" => Some(90),
        "medium" => Some(60),
        "low" => Some(30),
        _ => None,
    });
}

/// A record that is not an alert: what the sensor saw.
fn event(b: &Json<'_>, d: &mut Draft) {
    d.f.severity = Severity::Informational;
    let kind = b.word("event_type").unwrap_or_default();
    let what = b.any(&[
        "dns.rrname",
        "http.hostname",
        "tls.sni",
        "fileinfo.filename",
        "anomaly.event",
        "ssh.client.software_version",
    ]);
    let title = match what {
        Some(what) => format!("Suricata {kind}: {what}"),
        None => format!("Suricata {kind}"),
    };
    d.f.title = super::draft::keep(&title);
    d.f.source_severity = Some(Untrusted::new("an event, not an alert"));
}

fn application(b: &Json<'_>, d: &mut Draft) {
    if let Some(http) = b.get("http") {
        let host = http.word("hostname");
        if let Some(host) = &host {
            d.observe_host(host);
        }
        if let Some(url) = http.word("url") {
            match host {
                Some(host) if url.starts_with('/') => d.observe(Kind::Url, &format!("http://{host}{url}")),
                _ => d.observe_url(&url),
            }
        }
    }
    if let Some(dns) = b.get("dns") {
        for name in dns.word("rrname").iter() {
            d.observe_host(name);
        }
        for list in ["query", "queries", "answers", "answer"] {
            for item in dns.all(list).iter().take(16) {
                d.observe_host(&item.word("rrname").unwrap_or_default());
                d.observe_host(&item.word("rdata").unwrap_or_default());
            }
        }
    }
    if let Some(sni) = b.word("tls.sni") {
        d.observe_host(&sni);
    }
    for hash in ["tls.ja3.hash", "tls.ja3s.hash"].iter().filter_map(|p| b.word(p)) {
        d.observe(Kind::Hash, &hash);
    }
    for file in b.all("fileinfo").iter().chain(b.all("files")).take(16) {
        if let Some(name) = file.word("filename") {
            d.observe(Kind::File, &name);
        }
        for hash in ["sha256", "sha1", "md5"].iter().filter_map(|p| file.word(p)) {
            d.observe_hash(&hash);
        }
    }
    for mail in b.all("email.from").iter().chain(b.all("email.to")).take(16) {
        d.observe(Kind::Email, &mail.scalar().unwrap_or_default());
    }
    d.f.user = b.any_text(&["ftp.user", "smb.ntlmssp.user", "krb5.cname", "smtp.mail_from"]);
}
