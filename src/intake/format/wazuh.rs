//! Wazuh 4.x: one line of `alerts.json`, or the same document from a `wazuh-alerts-*` index.
//!
//! Severity: Wazuh's own dashboards draw Low at 0 to 6, Medium at 7 to 11, High at 12 to 14 and Critical from 15 on.
//! Levels 0 to 3 ("ignored", "system low priority notification", "successful/authorized events") are Informational
//! here: <https://documentation.wazuh.com/current/user-manual/ruleset/rules/rules-classification.html>.

use super::draft::{self, Draft, keep};
use super::json::Json;
use super::{Format, ParseError, Probe, scan};
use crate::model::alert::{AlertFields, ObservableKind as Kind};
use crate::model::severity::Severity;
use crate::text::Untrusted;

pub struct Wazuh;

impl Format for Wazuh {
    fn id(&self) -> &'static str {
        "wazuh"
    }

    fn title(&self) -> &'static str {
        "Wazuh 4 alerts.json"
    }

    fn sniff(&self, probe: &Probe<'_>) -> u8 {
        let Some(b) = probe.body() else { return 0 };
        let Some(rule) = b.get("rule") else { return if is_inventory(b) { 96 } else { 0 } };
        let signs = ["agent", "manager", "decoder", "full_log", "location"];
        let seen = signs.iter().filter(|k| b.get(k).is_some()).count();
        match (rule.get("level").is_some(), seen) {
            (true, 2..) => 98,
            (true, 1) => 80,
            (true, 0) => 40,
            (false, _) => 0,
        }
    }

    fn parse(&self, probe: &Probe<'_>) -> Result<Vec<AlertFields>, ParseError> {
        let b = probe.need(self.id())?;
        if is_inventory(b) {
            return Ok(vec![inventory(b)]);
        }
        if !b.has("rule") {
            return Err(ParseError::new(self.id(), "no `rule` object, as every Wazuh alert has"));
        }
        let mut fields = alert(b);
        fields.source_id = fields.source_id.or_else(|| probe.hit_id());
        Ok(vec![fields])
    }
}

/// Inventory synchronisation (`ModuleDelta`): state an agent reports, no detection.
fn is_inventory(b: &Json<'_>) -> bool {
    b.get("items").is_some()
        && b.get("metadata").is_some_and(|m| m.get("module").is_some() && m.get("indices").is_some())
}

fn inventory(b: &Json<'_>) -> AlertFields {
    let mut d = Draft::new("Wazuh");
    let module = b.word("metadata.module").unwrap_or_default();
    let items = b.all("items");
    d.f.title = keep(&format!("Inventory state from {module}: {} items", items.len()));
    d.f.severity = Severity::Informational;
    d.f.rule_name = b.text("metadata.mode");
    d.f.host = b.any_text(&["items.data.host.hostname", "items.data.host.name"]);
    d.f.t_event = items.iter().find_map(|i| i.time(&["data.state.modified_at"]));
    d.done("Wazuh inventory")
}

pub fn severity(level: i64) -> Severity {
    match level {
        i64::MIN..0 => Severity::Unknown,
        0..=3 => Severity::Informational,
        4..=6 => Severity::Low,
        7..=11 => Severity::Medium,
        12..=14 => Severity::High,
        15.. => Severity::Critical,
    }
}

fn alert(b: &Json<'_>) -> AlertFields {
    let mut d = Draft::new("Wazuh");
    if let Some(rule) = b.get("rule") {
        d.f.rule_id = rule.text("id");
        d.f.rule_name = rule.text("description");
        if let Some(level) = rule.int("level") {
            d.f.severity = severity(level);
            d.f.source_severity = Some(Untrusted::new(format!("level {level} of 15")));
        }
        for id in rule.all("mitre.id") {
            d.technique(&id.scalar().unwrap_or_default());
        }
    }
    d.f.title = d.f.rule_name.clone().unwrap_or_default();
    d.f.source_id = b.text("id");
    d.f.t_alert = b.time(&["timestamp", "@timestamp"]);
    host(b, &mut d);
    if let Some(data) = b.get("data") {
        network(data, &mut d);
        identity(data, &mut d);
        things(data, &mut d);
        d.f.t_event = data.time(&["timestamp", "win.eventdata.utcTime", "win.system.systemTime"]);
        if let Some(win) = data.get("win") {
            windows(win, &mut d);
        }
    }
    if let Some(check) = b.get("syscheck") {
        syscheck(check, &mut d);
    }
    if d.f.process.is_none() {
        d.f.process = b.text("predecoder.program_name");
    }
    if let Some(log) = b.word("full_log") {
        scan::message(&log, &mut d);
        if d.f.t_event.is_none() {
            d.f.t_event = log_time(b);
        }
    }
    d.f.t_event = d.f.t_event.or(d.f.t_alert);
    d.done("Wazuh alert")
}

/// The time in the log line has no year and no zone; it is taken when it lies within a day of the alert.
fn log_time(b: &Json<'_>) -> Option<jiff::Timestamp> {
    let alert = b.time(&["timestamp", "@timestamp"])?;
    let log = super::time::month_first(&b.word("predecoder.timestamp")?, Some(alert))?;
    (log.duration_since(alert).abs().as_secs() < 86_400).then_some(log)
}

/// The agent is authenticated by the manager, a name in the log line is not; so the line's host counts only when
/// the manager itself (agent 000) collected it.
fn host(b: &Json<'_>, d: &mut Draft) {
    let manager = b.word("agent.id").is_some_and(|id| id.bytes().all(|c| c == b'0'));
    let (first, second) =
        if manager { ("predecoder.hostname", "agent.name") } else { ("agent.name", "predecoder.hostname") };
    let (first, second) = (b.word(first), b.word(second));
    d.f.host = first.as_deref().or(second.as_deref()).map(keep);
    if let (Some(first), Some(second)) = (&first, &second)
        && !first.eq_ignore_ascii_case(second)
    {
        d.observe(Kind::Host, second);
    }
    if let Some(ip) = b.word("agent.ip") {
        d.observe_ip(&ip);
    }
}

fn network(data: &Json<'_>, d: &mut Draft) {
    for (paths, source) in
        [(["srcip", "src_ip", "srcIp", "aws.sourceIPAddress"], true), (["dstip", "dest_ip", "dst_ip", "dstIp"], false)]
    {
        let Some(text) = data.any(&paths) else { continue };
        let (ip, port) = draft::ip_port(&text);
        if ip.is_none() {
            d.observe_host(&text);
        }
        if source { d.source(ip, port) } else { d.destination(ip, port) }
    }
    d.source(None, data.port(&["srcport", "src_port", "srcPort"]));
    d.destination(None, data.port(&["dstport", "dest_port", "dst_port", "dstPort"]));
}

/// `root(uid=0)` and `DOMAIN\user` as Wazuh's decoders leave them: the uid is cut off.
fn account(name: &str) -> &str {
    name.split_once("(uid=").map_or(name, |(n, _)| n).trim()
}

fn identity(data: &Json<'_>, d: &mut Draft) {
    let paths = [
        "srcuser",
        "dstuser",
        "user",
        "audit.auid_name",
        "office365.UserId",
        "aws.userIdentity.userName",
        "gcp.protoPayload.authenticationInfo.principalEmail",
        "github.actor",
    ];
    for name in paths.iter().filter_map(|p| data.word(p)) {
        match &d.f.user {
            None => d.f.user = Some(keep(account(&name))),
            Some(user) if user.expose() != account(&name) => d.observe(Kind::User, account(&name)),
            Some(_) => {}
        }
    }
    d.f.process = data.any_text(&["audit.exe", "process.name"]);
    d.f.command_line = data.any_text(&["command", "audit.command", "audit.execve.a0"]);
}

fn things(data: &Json<'_>, d: &mut Draft) {
    if let Some(host) = data.any(&["http.hostname", "tls.sni", "dns.rrname"]) {
        d.observe_host(&host);
    }
    for query in data.all("dns.query").iter().take(8) {
        d.observe_host(&query.word("rrname").unwrap_or_default());
    }
    if let Some(url) = data.any(&["url", "http.url"]) {
        d.observe_url(&url);
    }
    for path in ["file", "audit.file.name", "virustotal.source.file", "fileinfo.filename", "vulnerability.package.name"]
    {
        if let Some(file) = data.word(path) {
            d.observe(Kind::File, &file);
        }
    }
    for path in [
        "virustotal.source.md5",
        "virustotal.source.sha1",
        "fileinfo.sha256",
        "fileinfo.md5",
        "tls.ja3.hash",
        "md5",
        "sha1",
        "sha256",
    ] {
        if let Some(hash) = data.word(path) {
            d.observe_hash(&hash);
        }
    }
    if let Some(cve) = data.word("vulnerability.cve") {
        d.observe(Kind::Other, &cve);
    }
}

/// The Windows event an agent's eventchannel reader forwarded (`data.win`).
fn windows(win: &Json<'_>, d: &mut Draft) {
    let Some(e) = win.get("eventdata") else { return };
    d.f.host = win.text("system.computer").or(d.f.host.take());
    d.f.user = e.any_text(&["user", "targetUserName", "subjectUserName", "sourceUser"]).or(d.f.user.take());
    d.f.process = e.any_text(&["image", "newProcessName", "sourceImage", "processName"]).or(d.f.process.take());
    d.f.command_line = e.any_text(&["commandLine", "scriptBlockText"]).or(d.f.command_line.take());
    d.source(e.ip(&["sourceIp", "ipAddress"]), e.port(&["sourcePort", "ipPort"]));
    d.destination(e.ip(&["destinationIp"]), e.port(&["destinationPort"]));
    if let Some(hashes) = e.word("hashes") {
        d.observe_hashes(&hashes);
    }
    for (path, kind) in [
        ("targetFilename", Kind::File),
        ("imageLoaded", Kind::File),
        ("targetObject", Kind::Registry),
        ("parentImage", Kind::Process),
        ("targetImage", Kind::Process),
    ] {
        if let Some(value) = e.word(path) {
            d.observe(kind, &value);
        }
    }
    for path in ["destinationHostname", "queryName"] {
        if let Some(name) = e.word(path) {
            d.observe_host(&name);
        }
    }
}

/// File integrity monitoring.
fn syscheck(check: &Json<'_>, d: &mut Draft) {
    if let Some(path) = check.word("path") {
        let registry = path.starts_with("HKEY_") || path.starts_with("[x");
        d.observe(if registry { Kind::Registry } else { Kind::File }, &path);
    }
    for hash in ["sha256_after", "sha1_after", "md5_after", "sha256_before", "sha1_before", "md5_before"] {
        if let Some(value) = check.word(hash) {
            d.observe_hash(&value);
        }
    }
    d.f.user =
        d.f.user.take().or_else(|| check.any_text(&["audit.effective_user.name", "audit.user.name", "uname_after"]));
    d.f.process = d.f.process.take().or_else(|| check.text("audit.process.name"));
}
