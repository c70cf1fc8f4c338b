//! The body Prometheus Alertmanager posts to a webhook (version 4), one alert for each of its `alerts`; a single
//! alert of its API is read too: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>.
//!
//! Severity is the `severity` label, a word people choose: critical, warning (Medium), info, none (Informational) and
//! page (High, it is meant to wake somebody) are read. A resolved alert is Informational.

use super::draft::{Draft, keep};
use super::json::Json;
use super::{Format, ParseError, Probe};
use crate::model::alert::{AlertFields, ObservableKind as Kind};
use crate::model::severity::Severity;

pub struct Alertmanager;

impl Format for Alertmanager {
    fn id(&self) -> &'static str {
        "alertmanager"
    }

    fn title(&self) -> &'static str {
        "Prometheus Alertmanager webhook body"
    }

    fn sniff(&self, probe: &Probe<'_>) -> u8 {
        let Some(b) = probe.body() else { return 0 };
        if matches!(b.get("alerts"), Some(Json::Arr(_))) {
            let signs = ["receiver", "groupLabels", "commonLabels", "groupKey", "externalURL", "truncatedAlerts"];
            return match signs.iter().filter(|k| b.get(k).is_some()).count() {
                0 => 30,
                1 => 80,
                _ => 98,
            };
        }
        let one = b.get("labels").is_some_and(Json::is_obj) && b.get("startsAt").is_some();
        if one { 95 } else { 0 }
    }

    fn parse(&self, probe: &Probe<'_>) -> Result<Vec<AlertFields>, ParseError> {
        let b = probe.need(self.id())?;
        if b.get("labels").is_some() && b.get("alerts").is_none() {
            return Ok(vec![alert(b, b)]);
        }
        let alerts = b.all("alerts");
        if alerts.is_empty() || !alerts.iter().all(Json::is_obj) {
            return Err(ParseError::new(self.id(), "no list of objects in `alerts`, as every webhook body has"));
        }
        Ok(alerts.iter().map(|a| alert(a, b)).collect())
    }
}

fn alert(a: &Json<'_>, body: &Json<'_>) -> AlertFields {
    let label = |name: &str| {
        let own = a.get("labels").and_then(|l| l.get(name)).and_then(Json::scalar);
        own.or_else(|| body.get("commonLabels").and_then(|l| l.get(name)).and_then(Json::scalar))
    };
    let note = |name: &str| {
        let own = a.get("annotations").and_then(|l| l.get(name)).and_then(Json::scalar);
        own.or_else(|| body.get("commonAnnotations").and_then(|l| l.get(name)).and_then(Json::scalar))
    };
    let mut d = Draft::new("Prometheus Alertmanager");
    let name = label("alertname");
    d.f.rule_id = name.as_deref().map(keep);
    d.f.rule_name = name.as_deref().map(keep);
    let title = ["summary", "title", "message", "description"].iter().find_map(|n| note(n));
    d.f.title = title.or(name).map(|t| keep(&t)).unwrap_or_default();
    let status = a.any(&["status", "status.state"]).or_else(|| body.word("status")).unwrap_or_default();
    let resolved = status == "resolved";
    severity(label("severity").or_else(|| label("level")).as_deref(), resolved, &mut d);
    d.f.t_event = a.time(&["startsAt"]);
    d.f.t_alert = if resolved { a.time(&["endsAt"]).or(d.f.t_event) } else { d.f.t_event };
    // A repeat of the same firing is the same alert; its end is another.
    let id = a.word("fingerprint").zip(a.word("startsAt"));
    d.f.source_id =
        id.map(|(print, start)| keep(&format!("{print}@{start}{}", if resolved { "/resolved" } else { "" })));
    place(&label, &mut d);
    for bag in ["labels", "annotations"] {
        let Some(Json::Obj(members)) = a.get(bag) else { continue };
        for (key, value) in members.iter().take(128) {
            let key = key.to_ascii_lowercase();
            if ["mitre", "technique", "attack"].iter().any(|w| key.contains(w)) {
                d.technique(&value.scalar().unwrap_or_default());
            }
        }
    }
    d.done("Prometheus alert")
}

fn severity(word: Option<&str>, resolved: bool, d: &mut Draft) {
    let said = word.map_or_else(|| "no severity label".to_owned(), |w| format!("severity {w}"));
    d.f.severity = match word.map(str::to_ascii_lowercase).as_deref() {
        _ if resolved => Severity::Informational,
        Some("none") => Severity::Informational,
        Some("page") => Severity::High,
        Some(word) => Severity::parse(word).unwrap_or_default(),
        None => Severity::Unknown,
    };
    d.f.source_severity = Some(keep(&if resolved { format!("{said}, resolved") } else { said }));
}

fn place<'a>(label: &impl Fn(&str) -> Option<std::borrow::Cow<'a, str>>, d: &mut Draft) {
    let host = ["node", "host", "hostname", "nodename", "instance", "pod"].iter().find_map(|n| label(n));
    if let Some(host) = host {
        // `instance` is `host:port` of what was scraped.
        let name = match super::draft::ip_port(&host) {
            (Some(ip), _) => ip.to_string(),
            _ => host.rsplit_once(':').map_or(&*host, |(h, _)| h).to_owned(),
        };
        d.f.host = Some(keep(&name));
        d.observe_ip(&name);
    }
    d.f.user = label("user").or_else(|| label("username")).map(|u| keep(&u));
    d.f.process = label("process").or_else(|| label("proc_name")).or_else(|| label("container")).map(|p| keep(&p));
    let ip = |names: [&str; 3]| names.iter().find_map(|n| super::draft::ip(&label(n)?));
    d.source(ip(["src_ip", "source_ip", "client_ip"]), None);
    d.destination(ip(["dst_ip", "dest_ip", "destination_ip"]), None);
    for name in ["pod", "namespace", "service", "cluster", "device", "job"] {
        if let Some(value) = label(name) {
            d.observe(Kind::Other, &value);
        }
    }
}
