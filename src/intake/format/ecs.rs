//! Elastic Common Schema: documents of Beats, Elastic Agent, Elastic Security and the OpenSearch tools that write
//! the same fields, nested or flattened: <https://www.elastic.co/guide/en/ecs/current/index.html>.
//!
//! Severity, first that is there: the word in `kibana.alert.severity` (or `signal.rule.severity`); the risk score
//! (0 to 100) on Elastic's own bands low to 21, medium to 47, high to 73, critical above; `event.severity`, whose
//! scale ECS leaves to the source, where the source is known (Suricata 1 to 4, Elastic Endpoint 21/47/73/99);
//! `log.level` of an event. Else Unknown, with the number kept.

use super::draft::{Draft, keep};
use super::json::Json;
use super::{Format, ParseError, Probe, suricata};
use crate::model::alert::{AlertFields, ObservableKind as Kind};
use crate::model::severity::Severity;
use crate::text::Untrusted;

pub struct Ecs;

impl Format for Ecs {
    fn id(&self) -> &'static str {
        "ecs"
    }

    fn title(&self) -> &'static str {
        "Elastic Common Schema"
    }

    fn sniff(&self, probe: &Probe<'_>) -> u8 {
        let Some(b) = probe.body() else { return 0 };
        if !b.has("@timestamp") {
            return 0;
        }
        let alert = b.has("kibana.alert.rule.name")
            || b.has("signal.rule.name")
            || b.word("event.kind").is_some_and(|k| k == "alert" || k == "signal");
        if alert {
            return if b.get("rule").is_some_and(|r| r.get("level").is_some()) { 60 } else { 96 };
        }
        if b.has("ecs.version") {
            return 90;
        }
        match ["event.kind", "event.category", "event.dataset", "event.module"].iter().filter(|p| b.has(p)).count() {
            0 => 0,
            1 => 70,
            _ => 88,
        }
    }

    fn parse(&self, probe: &Probe<'_>) -> Result<Vec<AlertFields>, ParseError> {
        let b = probe.need(self.id())?;
        let mut fields = document(b);
        fields.source_id = fields.source_id.or_else(|| probe.hit_id());
        Ok(vec![fields])
    }
}

fn document(b: &Json<'_>) -> AlertFields {
    let mut d = Draft::default();
    product(b, &mut d);
    if let Some(eve) = b.get("suricata").and_then(|s| s.get("eve")) {
        suricata::fill(eve, &mut d);
    }
    rule(b, &mut d);
    d.f.source_id = b.any_text(&["kibana.alert.uuid", "event.id"]);
    let (severity, said) = severity(b);
    d.f.severity = severity;
    d.f.source_severity = said.map(Untrusted::new);
    d.f.t_event = b.time(&["kibana.alert.original_time", "@timestamp"]);
    d.f.t_alert = b.time(&["kibana.alert.start", "event.created", "event.ingested", "@timestamp"]);
    if b.has("kibana.alert.original_time") {
        d.f.t_alert = b.time(&["@timestamp"]).or(d.f.t_alert);
    }
    entities(b, &mut d);
    d.done("ECS event")
}

/// Who, where and with what: also for formats that carry an ECS document.
pub fn entities(b: &Json<'_>, d: &mut Draft) {
    people(b, d);
    network(b, d);
    things(b, d);
}

fn product(b: &Json<'_>, d: &mut Draft) {
    let paths = ["observer.product", "event.module", "agent.type", "observer.vendor"];
    let elastic = b.has("kibana.alert.rule.name") || b.has("signal.rule.name");
    d.f.product = if elastic { Some("Elastic Security".into()) } else { b.any_text(&paths) };
}

fn rule(b: &Json<'_>, d: &mut Draft) {
    let rule_id = [
        "kibana.alert.rule.rule_id",
        "signal.rule.rule_id",
        "kibana.alert.rule.uuid",
        "signal.rule.id",
        "rule.id",
        "rule.uuid",
    ];
    let name = ["kibana.alert.rule.name", "signal.rule.name", "rule.name", "rule.description"];
    d.f.rule_id = b.any_text(&rule_id).or(d.f.rule_id.take());
    d.f.rule_name = b.any_text(&name).or(d.f.rule_name.take());
    let title = d.f.rule_name.clone().or_else(|| b.any_text(&["kibana.alert.reason", "message", "event.action"]));
    d.f.title = title.unwrap_or_default();
    for path in [
        "threat.technique.id",
        "threat.technique.subtechnique.id",
        "kibana.alert.rule.threat",
        "kibana.alert.rule.parameters.threat",
        "signal.rule.threat",
        "rule.threat",
    ] {
        threat(b.at(path), d, 0);
    }
    // `threat` may be an array of tactics, each with its techniques.
    threat(b.get("threat"), d, 0);
}

/// Every `id` under a threat mapping that is a technique.
fn threat(node: Option<&Json<'_>>, d: &mut Draft, depth: usize) {
    match node {
        Some(Json::Str(s)) => d.technique(s),
        Some(Json::Arr(items)) if depth < 8 => items.iter().take(64).for_each(|i| threat(Some(i), d, depth + 1)),
        Some(Json::Obj(members)) if depth < 8 => {
            for (key, value) in members {
                if matches!(&**key, "id" | "technique" | "subtechnique" | "techniques") {
                    threat(Some(value), d, depth + 1);
                }
            }
        }
        _ => {}
    }
}

/// Elastic's bands: <https://www.elastic.co/guide/en/security/current/rules-ui-create.html>, default risk scores.
fn risk_band(score: f64) -> Severity {
    match score {
        s if s > 73.0 => Severity::Critical,
        s if s > 47.0 => Severity::High,
        s if s > 21.0 => Severity::Medium,
        s if s > 0.0 => Severity::Low,
        _ => Severity::Informational,
    }
}

fn severity(b: &Json<'_>) -> (Severity, Option<String>) {
    for path in ["kibana.alert.severity", "signal.rule.severity", "kibana.alert.rule.severity", "event.severity_label"]
    {
        if let Some(word) = b.word(path) {
            let text = keep(&word).into_exposed();
            return (Severity::parse(&word).unwrap_or_default(), Some(format!("severity {text}")));
        }
    }
    for path in ["kibana.alert.risk_score", "signal.rule.risk_score", "event.risk_score_norm", "event.risk_score"] {
        if let Some(score) = b.float(path).filter(|s| (0.0..=100.0).contains(s)) {
            return (risk_band(score), Some(format!("risk score {score} of 100")));
        }
    }
    if let Some(n) = b.int("event.severity") {
        let source = b.any(&["event.module", "observer.product"]).unwrap_or_default().to_ascii_lowercase();
        return match (source.as_str(), n) {
            ("suricata", _) => (suricata::severity(n), Some(format!("priority {n} (1 is the most urgent)"))),
            ("endpoint" | "endgame", 0..=100) => (risk_band(n as f64), Some(format!("severity {n} of 100"))),
            _ => (Severity::Unknown, Some(format!("event.severity {n}, on the source's own scale"))),
        };
    }
    if let Some(word) = b.any(&["log.level", "log.syslog.severity.name"]) {
        let event = b.word("event.kind").is_none_or(|k| k == "event");
        let text = keep(&word).into_exposed();
        let level = match word.to_ascii_lowercase().as_str() {
            "information" | "info" | "notice" | "debug" | "trace" | "verbose" => Severity::Informational,
            _ if event => super::log_level(&word),
            _ => Severity::Unknown,
        };
        return (level, Some(format!("log level {text}")));
    }
    (Severity::Unknown, None)
}

fn people(b: &Json<'_>, d: &mut Draft) {
    // `observer` is the sensor, not the host it watches.
    let host = ["host.name", "host.hostname", "winlog.computer_name", "cloud.instance.name", "agent.hostname"];
    let user = ["user.name", "user.email", "user.id", "source.user.name", "client.user.name", "user.target.name"];
    d.f.host = d.f.host.take().or_else(|| b.any_text(&host));
    d.f.user = d.f.user.take().or_else(|| b.any_text(&user)).or_else(|| b.text("winlog.event_data.TargetUserName"));
    d.f.process = d.f.process.take().or_else(|| b.any_text(&["process.executable", "process.name"]));
    let command = d.f.command_line.take().or_else(|| b.text("process.command_line"));
    d.f.command_line = command.or_else(|| arguments(b.at("process.args")?));
    for (paths, kind) in [
        (["user.target.name", "user.effective.name", "destination.user.name"], Kind::User),
        (["process.parent.executable", "process.parent.name", "Target.process.executable"], Kind::Process),
        (["file.path", "dll.path", "file.name"], Kind::File),
        (["registry.path", "registry.key", "registry.data.path"], Kind::Registry),
        (["email.from.address", "email.sender.address", "email.to.address"], Kind::Email),
    ] {
        for value in paths.iter().filter_map(|p| b.word(p)) {
            d.observe(kind, &value);
        }
    }
    for user in b.all("related.user").iter().take(32) {
        let name = user.scalar().unwrap_or_default();
        match &d.f.user {
            None => d.f.user = Some(keep(&name)),
            Some(user) if user.expose() != name => d.observe(Kind::User, &name),
            Some(_) => {}
        }
    }
}

/// `process.args` is the command line in parts.
fn arguments(args: &Json<'_>) -> Option<Untrusted> {
    let parts: Vec<_> = args.items().iter().take(256).filter_map(Json::scalar).collect();
    (!parts.is_empty()).then(|| keep(&parts.join(" ")))
}

fn network(b: &Json<'_>, d: &mut Draft) {
    d.source(b.ip(&["source.ip", "client.ip", "source.address"]), b.port(&["source.port", "client.port"]));
    d.destination(
        b.ip(&["destination.ip", "server.ip", "destination.address"]),
        b.port(&["destination.port", "server.port"]),
    );
    for path in [
        "destination.domain",
        "source.domain",
        "server.domain",
        "url.domain",
        "dns.question.name",
        "tls.client.server_name",
    ] {
        if let Some(name) = b.word(path) {
            d.observe_host(&name);
        }
    }
    for ip in b.all("related.ip").iter().chain(b.all("host.ip")).chain(b.all("dns.resolved_ip")).take(64) {
        d.observe_ip(&ip.scalar().unwrap_or_default());
    }
    if let Some(url) = b.any(&["url.full", "url.original"]) {
        d.observe_url(&url);
    }
}

fn things(b: &Json<'_>, d: &mut Draft) {
    for path in [
        "file.hash.sha256",
        "file.hash.sha1",
        "file.hash.md5",
        "process.hash.sha256",
        "process.hash.sha1",
        "process.hash.md5",
        "dll.hash.sha256",
        "process.parent.hash.sha256",
    ] {
        if let Some(value) = b.word(path) {
            d.observe_hash(&value);
        }
    }
    for hash in b.all("related.hash").iter().take(32) {
        d.observe_hash(&hash.scalar().unwrap_or_default());
    }
    for host in b.all("related.hosts").iter().take(32) {
        let host = host.scalar().unwrap_or_default();
        if d.f.host.as_ref().is_none_or(|h| h.expose() != host) {
            d.observe_host(&host);
        }
    }
    if let Some(hash) = b.any(&["tls.client.ja3", "tls.server.ja3s"]) {
        d.observe(Kind::Hash, &hash);
    }
}
