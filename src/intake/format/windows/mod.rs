//! Windows and Sysmon events as JSON, in the forms that are about: `Event.System`/`Event.EventData` (evtx_dump,
//! Chainsaw, Velociraptor), Winlogbeat's `winlog`, and flat fields (NXLog, Logstash, OTRF's Security-Datasets).
//!
//! An event is no detection. Its severity is the level Windows gives it, read as a log level: Critical High, Error
//! Medium, Warning Low, everything else Informational; without a level Unknown. What Defender found (1116, 1117)
//! carries a threat severity of its own, which is taken.

mod names;

use std::borrow::Cow;

use super::draft::{Draft, keep};
use super::json::Json;
use super::{Format, ParseError, Probe};
use crate::model::alert::{AlertFields, ObservableKind as Kind};
use crate::model::severity::Severity;

pub struct Windows;

impl Format for Windows {
    fn id(&self) -> &'static str {
        "windows"
    }

    fn title(&self) -> &'static str {
        "Windows and Sysmon event JSON"
    }

    fn sniff(&self, probe: &Probe<'_>) -> u8 {
        let Some(b) = probe.body() else { return 0 };
        if b.get("Event").is_some_and(|e| e.get("System").is_some()) {
            return 98;
        }
        if b.get("System").is_some_and(|s| s.get("EventID").is_some()) {
            return 96;
        }
        if b.get("winlog").is_some_and(Json::is_obj) {
            return 93;
        }
        if b.get("EventID").is_none() {
            return if b.get("event_data").is_some() && b.get("event_id").is_some() { 90 } else { 0 };
        }
        if b.get("RuleTitle").is_some() {
            return 20;
        }
        let signs = ["Channel", "SourceName", "ProviderGuid", "Computer", "Hostname", "Provider", "EventRecordID"];
        match signs.iter().filter(|k| b.get(k).is_some()).count() {
            0 => 30,
            1 => 80,
            _ => 96,
        }
    }

    fn parse(&self, probe: &Probe<'_>) -> Result<Vec<AlertFields>, ParseError> {
        let b = probe.need(self.id())?;
        let event = Event::new(b);
        if event.id.is_none() {
            return Err(ParseError::new(self.id(), "no `EventID` (or `winlog.event_id`), as every Windows event has"));
        }
        let mut fields = event.read();
        fields.source_id = fields.source_id.or_else(|| probe.hit_id());
        Ok(vec![fields])
    }
}

/// One event, whatever its form.
struct Event<'j, 'a> {
    root: &'j Json<'a>,
    system: &'j Json<'a>,
    data: Option<&'j Json<'a>>,
    id: Option<i64>,
    channel: Cow<'j, str>,
    provider: Cow<'j, str>,
}

impl<'j, 'a> Event<'j, 'a> {
    fn new(root: &'j Json<'a>) -> Self {
        let event = root.get("Event").unwrap_or(root);
        let system = event.get("System").or_else(|| root.get("winlog")).unwrap_or(event);
        let data = event
            .get("EventData")
            .or_else(|| system.get("event_data"))
            .or_else(|| event.get("event_data"))
            .filter(|d| **d != Json::Null)
            .or_else(|| event.get("UserData").and_then(first_object))
            .or_else(|| system.get("user_data"));
        let id = ["EventID", "event_id", "event.code"].iter().find_map(|k| {
            let value = system.at(k).or_else(|| root.at(k))?;
            value.get("#text").or_else(|| value.get("Value")).unwrap_or(value).scalar()?.parse().ok()
        });
        let channel = system.any(&["Channel", "channel", "log_name"]).unwrap_or_default();
        let provider = system
            .any(&[
                "Provider.#attributes.Name",
                "Provider.Name",
                "Provider.@Name",
                "provider_name",
                "SourceName",
                "source_name",
                "Provider",
                "ProviderName",
            ])
            .unwrap_or_default();
        Self { root, system, data, id, channel, provider }
    }

    /// A field of the event's own data; in the flat form it stands beside the system's fields.
    fn get(&self, name: &str) -> Option<Cow<'j, str>> {
        let found = match self.data {
            Some(data) => data.get(name).and_then(Json::scalar).or_else(|| named(data.get("Data")?, name)),
            None => self.system.get(name).and_then(Json::scalar),
        };
        found.filter(|v| !super::json::is_nothing(v))
    }

    fn any(&self, names: &[&str]) -> Option<Cow<'j, str>> {
        names.iter().find_map(|n| self.get(n))
    }

    fn read(&self) -> AlertFields {
        let mut d = Draft::default();
        let id = self.id.unwrap_or_default();
        let source = names::source(&self.channel, &self.provider);
        d.f.product = Some(keep(if self.provider.is_empty() { source } else { &self.provider }));
        d.f.rule_id = Some(keep(&format!("{source}-{id}")));
        let name = names::event(source, id);
        d.f.rule_name = name.map(keep);
        self.level(&mut d);
        self.who(&mut d);
        self.network(&mut d);
        self.things(&mut d);
        self.when(&mut d);
        if let Some(rule) = self.get("RuleName") {
            d.technique(&rule);
        }
        if source == "Defender" {
            self.defender(&mut d);
        }
        if d.f.title.is_empty() {
            d.f.title = keep(&self.title(source, id, name));
        }
        d.done("Windows event")
    }

    /// What happened, and to what.
    fn title(&self, source: &str, id: i64, name: Option<&str>) -> String {
        let what = match name {
            Some(name) => format!("{source} {id}: {name}"),
            None => match self.any(&["Message"]).or_else(|| self.root.any(&["Message", "message"])) {
                Some(message) => format!("{source} {id}: {}", message.lines().next().unwrap_or_default()),
                None => format!("{source} event {id}"),
            },
        };
        let on = ["NewProcessName", "Image", "TargetFilename", "TargetObject", "ServiceName", "TaskName", "ObjectName"];
        match self.any(&on).or_else(|| self.any(&["SourceImage", "TargetUserName", "ProcessName"])) {
            Some(on) if name.is_some() => format!("{what} ({})", on.rsplit('\\').next().unwrap_or(&on)),
            _ => what,
        }
    }

    fn level(&self, d: &mut Draft) {
        let Some(level) = self.system.any(&["Level", "level"]).or_else(|| self.root.any(&["log.level", "Severity"]))
        else {
            return;
        };
        let (severity, word) = match &*level {
            "0" => (Severity::Informational, "LogAlways"),
            "1" => (Severity::High, "Critical"),
            "2" => (Severity::Medium, "Error"),
            "3" => (Severity::Low, "Warning"),
            "4" => (Severity::Informational, "Information"),
            "5" => (Severity::Informational, "Verbose"),
            "AUDIT_SUCCESS" | "AUDIT_FAILURE" => (Severity::Informational, &*level),
            word => (super::log_level(word), word),
        };
        d.f.severity = severity;
        d.f.source_severity = Some(keep(&format!("level {word}")));
    }

    fn who(&self, d: &mut Draft) {
        let host = self.system.any(&["Computer", "computer_name", "Hostname", "ComputerName"]);
        d.f.host = host
            .or_else(|| self.root.any(&["host.name", "Hostname", "computer_name", "agent.hostname"]))
            .map(|h| keep(&h));
        // Of a logon the account that logs on matters, of anything else the account that acts.
        let logon = matches!(self.id, Some(4624 | 4625 | 4634 | 4647 | 4648 | 4768 | 4769 | 4771 | 4776 | 4778 | 4779));
        let names: [&str; 5] = if logon {
            ["TargetUserName", "User", "SubjectUserName", "SourceUser", "AccountName"]
        } else {
            ["User", "SubjectUserName", "SourceUser", "TargetUserName", "UserName"]
        };
        let mut seen = names.iter().filter_map(|n| self.get(n));
        d.f.user = seen.next().map(|u| keep(&u));
        for other in seen {
            if d.f.user.as_ref().is_none_or(|u| u.expose() != other) {
                d.observe(Kind::User, &other);
            }
        }
        if d.f.user.is_none() {
            d.f.user =
                self.system.any_text(&["user.name", "AccountName"]).or_else(|| self.root.any_text(&["user.name"]));
        }
        let image = ["Image", "NewProcessName", "SourceImage", "ProcessName", "Application", "Process Name"];
        d.f.process = self.any(&image).map(|p| keep(&p));
        let command =
            ["CommandLine", "ProcessCommandLine", "ScriptBlockText", "HostApplication", "ServiceFileName", "ImagePath"];
        d.f.command_line = self.any(&command).map(|c| keep(&c));
    }

    fn network(&self, d: &mut Draft) {
        let ip = |names: &[&str]| names.iter().find_map(|n| super::draft::ip(&self.get(n)?));
        let port = |names: &[&str]| names.iter().find_map(|n| self.get(n)?.parse().ok()).filter(|p| *p > 0);
        d.source(
            ip(&["SourceIp", "IpAddress", "SourceAddress", "ClientAddress"]),
            port(&["SourcePort", "IpPort", "ClientPort"]),
        );
        d.destination(ip(&["DestinationIp", "DestAddress"]), port(&["DestinationPort", "DestPort"]));
        for name in ["QueryName", "DestinationHostname"] {
            if let Some(host) = self.get(name) {
                d.observe_host(&host);
            }
        }
        if let Some(results) = self.get("QueryResults") {
            for part in results.split(';').take(16) {
                d.observe_ip(part);
            }
        }
    }

    fn things(&self, d: &mut Draft) {
        for (name, kind) in [
            ("TargetFilename", Kind::File),
            ("ImageLoaded", Kind::File),
            ("RelativeTargetName", Kind::File),
            ("Path", Kind::File),
            ("TargetObject", Kind::Registry),
            ("ParentImage", Kind::Process),
            ("ParentProcessName", Kind::Process),
            ("TargetImage", Kind::Process),
            ("ShareName", Kind::Other),
            ("PipeName", Kind::Other),
            ("ServiceName", Kind::Other),
            ("TaskName", Kind::Other),
            ("WorkstationName", Kind::Host),
        ] {
            if let Some(value) = self.get(name) {
                d.observe(kind, &value);
            }
        }
        if let Some(object) = self.get("ObjectName") {
            let registry = object.starts_with("\\REGISTRY");
            d.observe(if registry { Kind::Registry } else { Kind::File }, &object);
        }
        for name in ["Hashes", "Hash"] {
            if let Some(hashes) = self.get(name) {
                d.observe_hashes(&hashes);
            }
        }
    }

    fn when(&self, d: &mut Draft) {
        let utc = self.get("UtcTime").and_then(|t| super::time::parse(&t));
        let paths = ["TimeCreated.#attributes.SystemTime", "TimeCreated.SystemTime", "TimeCreated.@SystemTime"];
        let system = self.system.time(&paths);
        // Without a zone `TimeCreated` and `EventTime` are the host's local time, so a time stamp of the shipper in
        // UTC goes first.
        d.f.t_event =
            utc.or(system).or_else(|| self.root.time(&["@timestamp", "TimeCreated", "EventTime", "timestamp"]));
        let record = self.system.any(&["EventRecordID", "record_id", "RecordNumber"]);
        if let (Some(record), Some(host), Some(t)) = (record, &d.f.host, d.f.t_event) {
            // Record numbers start again when a log is cleared or a machine is set back; the time tells those apart.
            d.f.source_id = Some(keep(&format!("{}/{}/{record}@{}", host.expose(), self.channel, t.as_millisecond())));
        }
    }

    /// Microsoft Defender Antivirus events name the threat and grade it.
    fn defender(&self, d: &mut Draft) {
        let Some(threat) = self.any(&["Threat Name", "ThreatName"]) else { return };
        d.f.title = keep(&format!("Defender found {threat}"));
        d.f.rule_name = Some(keep(&threat));
        if let Some(word) = self.any(&["Severity Name", "SeverityName"]) {
            d.f.severity = Severity::parse(&word).unwrap_or_default();
            d.f.source_severity = Some(keep(&format!("threat severity {word}")));
        }
        if let Some(path) = self.any(&["Path"]) {
            d.observe(Kind::File, path.trim_start_matches("file:_"));
        }
        d.f.user = self.any(&["Detection User", "DetectionUser"]).map(|u| keep(&u)).or(d.f.user.take());
    }
}

/// `UserData` holds one element of the provider's own name.
fn first_object<'j, 'a>(user: &'j Json<'a>) -> Option<&'j Json<'a>> {
    match user {
        Json::Obj(members) => members.iter().map(|(_, v)| v).find(|v| v.is_obj()),
        _ => None,
    }
}

/// `Data: [{"#attributes": {"Name": "Image"}, "#text": ".."}]` and its relatives.
fn named<'j>(data: &'j Json<'_>, name: &str) -> Option<Cow<'j, str>> {
    data.items().iter().find_map(|item| {
        let own = item.any(&["#attributes.Name", "@Name", "Name"])?;
        (own == name).then(|| item.any(&["#text", "text", "Value", "Content"])).flatten()
    })
}
