//! OCSF findings, 1.0 to 1.8: Detection Finding (2004), the Security Finding it replaced (2001), Vulnerability (2002),
//! Compliance (2003), Incident (2005), Data Security (2006), Application Security Posture (2007); other classes are
//! read as the events they are: <https://schema.ocsf.io/>.
//!
//! Severity is `severity_id` as it stands (0 to 6; 99 "Other" is Unknown with the source's word kept); without one the
//! word in `severity`; without that, for an old Security Finding, `risk_level_id` (0 Info .. 4 Critical).

use super::draft::{Draft, keep};
use super::json::Json;
use super::{Format, ParseError, Probe};
use crate::model::alert::{AlertFields, ObservableKind as Kind};
use crate::model::severity::Severity;
use crate::text::Untrusted;

pub struct Ocsf;

impl Format for Ocsf {
    fn id(&self) -> &'static str {
        "ocsf"
    }

    fn title(&self) -> &'static str {
        "OCSF finding or event"
    }

    fn sniff(&self, probe: &Probe<'_>) -> u8 {
        let Some(b) = probe.body() else { return 0 };
        if b.int("class_uid").is_none() {
            return 0;
        }
        let signs = ["metadata", "category_uid", "activity_id", "type_uid", "severity_id"];
        match signs.iter().filter(|k| b.get(k).is_some()).count() {
            0 => 40,
            1 => 85,
            _ => 98,
        }
    }

    fn parse(&self, probe: &Probe<'_>) -> Result<Vec<AlertFields>, ParseError> {
        let b = probe.need(self.id())?;
        if b.int("class_uid").is_none() {
            return Err(ParseError::new(self.id(), "no number in `class_uid`, as every OCSF event has"));
        }
        let mut fields = event(b);
        fields.source_id = fields.source_id.or_else(|| probe.hit_id());
        Ok(vec![fields])
    }
}

fn event(b: &Json<'_>) -> AlertFields {
    let mut d = Draft::default();
    d.f.product = b.any_text(&["metadata.product.name", "metadata.log_provider", "metadata.product.vendor_name"]);
    // 1.0 called it `finding`; from 1.1 on it is `finding_info`, and incidents list them.
    let info = ["finding_info", "finding", "finding_info_list"].iter().find_map(|k| b.get(k));
    if let Some(info) = info {
        d.f.title = info.any_text(&["title", "desc"]).unwrap_or_default();
        d.f.source_id = info.text("uid");
        d.f.t_alert = info.time(&["created_time_dt", "created_time", "modified_time_dt", "modified_time"]);
        d.f.t_event = info.time(&["first_seen_time_dt", "first_seen_time", "last_seen_time_dt", "last_seen_time"]);
    }
    let time = b.time(&["time_dt", "time", "start_time_dt", "start_time"]);
    d.f.t_event = d.f.t_event.or_else(|| b.time(&["start_time_dt", "start_time"])).or(time);
    d.f.t_alert = d.f.t_alert.or(if info.is_some() { time } else { None });
    d.f.source_id = d.f.source_id.take().or_else(|| b.text("metadata.uid"));
    severity(b, &mut d);
    confidence(b, &mut d);
    rule(b, info, &mut d);
    attacks(b, info, &mut d);
    evidence(b, &mut d);
    observables(b, &mut d);
    resources(b, &mut d);
    title(b, &mut d);
    d.done("OCSF event")
}

fn title(b: &Json<'_>, d: &mut Draft) {
    if d.f.title.is_empty() {
        let message = b.any_text(&["message", "title", "type_name", "activity_name"]);
        d.f.title = message.or_else(|| d.f.rule_name.clone()).or_else(|| b.text("class_name")).unwrap_or_default();
    }
}

fn severity(b: &Json<'_>, d: &mut Draft) {
    let word = b.text("severity");
    if let Some(id) = b.int("severity_id") {
        d.f.severity = if (0..=6).contains(&id) { Severity::from_id(id) } else { Severity::Unknown };
        let said = word.map(Untrusted::into_exposed).unwrap_or_else(|| d.f.severity.word().to_owned());
        d.f.source_severity = Some(Untrusted::new(format!("severity {said} ({id})")));
    } else if let Some(word) = word {
        d.f.severity = Severity::parse(word.expose()).unwrap_or_default();
        d.f.source_severity = Some(Untrusted::new(format!("severity {}", word.expose())));
    } else if let Some(id) = b.int("risk_level_id") {
        d.f.severity = match id {
            0 => Severity::Informational,
            1 => Severity::Low,
            2 => Severity::Medium,
            3 => Severity::High,
            4 => Severity::Critical,
            _ => Severity::Unknown,
        };
        let said = b.text("risk_level").map(Untrusted::into_exposed).unwrap_or_default();
        d.f.source_severity = Some(Untrusted::new(format!("no severity; risk level {said} ({id} of 4)")));
    }
}

/// `confidence_score` is 0 to 100; `confidence_id` 1 Low, 2 Medium, 3 High. Where the two sit side by side and the
/// score equals the id, it is the id written twice.
fn confidence(b: &Json<'_>, d: &mut Draft) {
    let score = b.int("confidence_score").or_else(|| b.int("confidence")).filter(|s| (0..=100).contains(s));
    let id = b.int("confidence_id");
    d.f.confidence = match (score, id) {
        (Some(score), id) if id != Some(score) => u8::try_from(score).ok(),
        (_, Some(1)) => Some(30),
        (_, Some(2)) => Some(60),
        (_, Some(3)) => Some(90),
        _ => None,
    };
}

fn rule(b: &Json<'_>, info: Option<&Json<'_>>, d: &mut Draft) {
    let analytic = info.and_then(|i| i.get("analytic")).or_else(|| b.get("analytic"));
    if let Some(a) = analytic {
        // A generic engine names the rule that fired beside it.
        let related = a.get("related_analytics").or_else(|| a.get("relatedAnalytics"));
        let (id, name) = (a.text("uid"), a.text("name"));
        if id.is_none()
            && let Some(related) = related
        {
            d.f.rule_id = related.items().iter().find_map(|r| r.text("uid"));
            d.f.rule_name = related.items().iter().find_map(|r| r.text("name")).or(name);
        } else {
            d.f.rule_id = id;
            d.f.rule_name = name.or_else(|| a.text("desc"));
        }
    }
    let id = ["rule.uid", "compliance.control", "vulnerabilities.cve.uid", "policy.uid", "finding.product_uid"];
    let name = [
        "rule.name",
        "compliance.control",
        "vulnerabilities.title",
        "policy.name",
        "finding_info.types",
        "finding.types",
        "class_name",
    ];
    d.f.rule_id = d.f.rule_id.take().or_else(|| b.any_text(&id));
    d.f.rule_name = d.f.rule_name.take().or_else(|| b.any_text(&name));
    for cve in b.all("vulnerabilities").iter().take(32) {
        if let Some(id) = cve.any(&["cve.uid", "advisory.uid"]) {
            d.observe(Kind::Other, &id);
        }
    }
}

fn attacks(b: &Json<'_>, info: Option<&Json<'_>>, d: &mut Draft) {
    let lists = [info.and_then(|i| i.get("attacks")), b.get("attacks"), info.and_then(|i| i.at("kill_chain.attacks"))];
    for attack in lists.into_iter().flatten().flat_map(|l| l.items()).take(64) {
        // The sub-technique is the finer word for the same thing.
        let paths = ["sub_technique.uid", "sub_techniques.uid", "technique.uid", "techniques.uid"];
        for path in paths {
            for technique in attack.at(path).map_or(&[][..], Json::items) {
                d.technique(&technique.scalar().unwrap_or_default());
            }
        }
        for technique in attack.all("techniques").iter().take(32) {
            d.technique(&technique.word("uid").unwrap_or_default());
        }
    }
}

/// The things a finding or event points at, on the event itself (host profile) and in each evidence.
fn evidence(b: &Json<'_>, d: &mut Draft) {
    artefacts(b, d);
    for part in b.all("evidences").iter().chain(b.all("evidence")).take(32) {
        if part.is_obj() {
            artefacts(part, d);
        }
    }
    for info in b.all("finding_info_list").iter().take(16) {
        for part in info.all("related_events").iter().take(16) {
            artefacts(part, d);
        }
    }
}

fn artefacts(e: &Json<'_>, d: &mut Draft) {
    let host = ["device.hostname", "device.name", "device.fqdn", "actor.process.device.hostname"];
    d.f.host = d.f.host.take().or_else(|| e.any_text(&host));
    let user = [
        "actor.user.name",
        "user.name",
        "actor.user.email_addr",
        "user.email_addr",
        "actor.process.user.name",
        "process.user.name",
        "actor.user.uid",
        "identity.user.name",
    ];
    for name in user.iter().filter_map(|p| e.word(p)) {
        match &d.f.user {
            None => d.f.user = Some(keep(&name)),
            Some(user) if user.expose() != name => d.observe(Kind::User, &name),
            Some(_) => {}
        }
    }
    let process =
        ["process.file.path", "process.name", "actor.process.file.path", "actor.process.name", "process.path"];
    d.f.process = d.f.process.take().or_else(|| e.any_text(&process));
    d.f.command_line = d.f.command_line.take().or_else(|| e.any_text(&["process.cmd_line", "actor.process.cmd_line"]));
    d.source(e.ip(&["src_endpoint.ip", "src_endpoint.ips"]), e.port(&["src_endpoint.port"]));
    d.destination(e.ip(&["dst_endpoint.ip", "dst_endpoint.ips"]), e.port(&["dst_endpoint.port"]));
    for path in ["device.ip", "src_endpoint.intermediate_ips", "proxy_endpoint.ip"] {
        if let Some(ip) = e.word(path) {
            d.observe_ip(&ip);
        }
    }
    for path in [
        "src_endpoint.hostname",
        "dst_endpoint.hostname",
        "src_endpoint.domain",
        "dst_endpoint.domain",
        "query.hostname",
        "tls.sni",
        "http_request.url.hostname",
    ] {
        if let Some(name) = e.word(path) {
            d.observe_host(&name);
        }
    }
    for path in ["url.url_string", "http_request.url.url_string", "http_request.url.path"] {
        if let Some(url) = e.word(path) {
            d.observe_url(&url);
        }
    }
    for base in ["file", "process.file", "actor.process.file", "process.parent_process.file", "malware.files"] {
        for file in e.all(base).iter().take(16) {
            self::file(file, d);
        }
    }
    for path in ["email.from", "email.to", "email.smtp_from", "email.smtp_to"] {
        for mail in e.all(path).iter().take(16) {
            d.observe(Kind::Email, &mail.scalar().unwrap_or_default());
        }
    }
    for path in ["reg_key.path", "reg_value.path", "win_resource.name"] {
        if let Some(key) = e.word(path) {
            d.observe(Kind::Registry, &key);
        }
    }
}

/// Hashes are a list of fingerprints from 1.0 on.
fn file(file: &Json<'_>, d: &mut Draft) {
    if let Some(path) = file.any(&["path", "name"]) {
        d.observe(Kind::File, &path);
    }
    for hash in file.all("hashes").iter().chain(file.all("fingerprints")).take(8) {
        d.observe_hash(&hash.word("value").unwrap_or_default());
    }
}

/// `observables[].type_id`: <https://schema.ocsf.io/1.4.0/objects/observable>.
fn observables(b: &Json<'_>, d: &mut Draft) {
    for o in b.all("observables").iter().take(super::draft::MAX_OBSERVABLES) {
        let Some(value) = o.word("value") else { continue };
        let name = o.word("name").unwrap_or_default();
        match o.int("type_id") {
            Some(1) => match &d.f.host {
                None => d.f.host = Some(keep(&value)),
                Some(_) => d.observe(Kind::Host, &value),
            },
            Some(2) => {
                let ip = super::draft::ip(&value);
                let source = name.contains("src") || name.contains("source");
                let destination = name.contains("dst") || name.contains("dest");
                match (source, destination) {
                    (true, _) if d.f.src_ip.is_none() => d.source(ip, None),
                    (_, true) if d.f.dst_ip.is_none() => d.destination(ip, None),
                    _ => d.observe_ip(&value),
                }
            }
            // A user here may be whom a case is assigned to, which is not who the finding is about.
            Some(4 | 21) if !name.contains("assign") => match &d.f.user {
                None => d.f.user = Some(keep(&value)),
                Some(user) if user.expose() != value => d.observe(Kind::User, &value),
                Some(_) => {}
            },
            Some(5 | 22) => d.observe(Kind::Email, &value),
            Some(6 | 23) => d.observe_url(&value),
            Some(7 | 24) => d.observe(Kind::File, &value),
            Some(8) => d.observe_hash(&value),
            Some(9 | 25) => d.observe(Kind::Process, &value),
            Some(28 | 29) => d.observe(Kind::Registry, &value),
            _ => {}
        }
    }
}

/// What the finding is about, when it is no host: `resources` (a single `resource` before 1.1).
fn resources(b: &Json<'_>, d: &mut Draft) {
    for r in b.all("resources").iter().chain(b.all("resource")).take(32) {
        let name = r.any(&["hostname", "name", "uid"]);
        if let Some(name) = name {
            d.observe(Kind::Other, &name);
            let host = r.word("hostname").is_some()
                || r.word("type").is_some_and(|t| matches!(&*t, "AwsEc2Instance" | "host" | "Host" | "virtualMachine"));
            if d.f.host.is_none() && host {
                d.f.host = Some(keep(&name));
            }
        }
        if let Some(ip) = r.word("ip") {
            d.observe_ip(&ip);
        }
        if d.f.user.is_none() {
            d.f.user = r.any_text(&["owner.name", "owner.email_addr"]);
        }
    }
}
