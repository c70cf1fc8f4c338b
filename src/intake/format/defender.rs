//! Microsoft Defender and Sentinel: rows of the `SecurityAlert` table, Defender for Cloud's export, and the ARM form
//! (`properties.alertDisplayName`). Columns that hold JSON may be objects or text with JSON in it. `Entities` refer to
//! each other by `$id` and `$ref`: <https://learn.microsoft.com/azure/sentinel/entities-reference>.
//!
//! Severity is the word: Informational, Low, Medium, High.

use std::collections::HashMap;

use super::draft::{Draft, keep};
use super::json::{self, Json};
use super::{Format, ParseError, Probe};
use crate::model::alert::{AlertFields, ObservableKind as Kind};
use crate::model::severity::Severity;
use crate::text::Untrusted;

pub struct Defender;

impl Format for Defender {
    fn id(&self) -> &'static str {
        "defender"
    }

    fn title(&self) -> &'static str {
        "Microsoft Defender / Sentinel SecurityAlert"
    }

    fn sniff(&self, probe: &Probe<'_>) -> u8 {
        let Some(b) = probe.body() else { return 0 };
        if b.at("properties.alertDisplayName").is_some() {
            return 96;
        }
        let signs = [
            "SystemAlertId",
            "AlertName",
            "AlertSeverity",
            "AlertDisplayName",
            "ProviderName",
            "VendorOriginalId",
            "CompromisedEntity",
            "AlertType",
        ];
        match signs.iter().filter(|k| b.get(k).is_some()).count() {
            0 | 1 => 0,
            2 => 80,
            _ => 98,
        }
    }

    fn parse(&self, probe: &Probe<'_>) -> Result<Vec<AlertFields>, ParseError> {
        let b = probe.need(self.id())?;
        let b = b.get("properties").filter(|p| p.get("alertDisplayName").is_some()).unwrap_or(b);
        let title = b.any_text(&["DisplayName", "AlertDisplayName", "AlertName", "alertDisplayName"]);
        let Some(title) = title else {
            return Err(ParseError::new(self.id(), "no `DisplayName` or `AlertName`, as every SecurityAlert has"));
        };
        let mut fields = alert(b, title);
        fields.source_id = fields.source_id.or_else(|| probe.hit_id());
        Ok(vec![fields])
    }
}

/// A column that is JSON, or text that holds JSON.
fn column<R>(b: &Json<'_>, names: &[&str], read: impl FnOnce(&Json<'_>) -> R) -> Option<R> {
    let value = names.iter().find_map(|n| b.get(n))?;
    match value {
        Json::Str(text) if text.trim_start().starts_with(['{', '[']) => json::parse(text.trim()).ok().map(|j| read(&j)),
        other => Some(read(other)),
    }
}

fn alert(b: &Json<'_>, title: Untrusted) -> AlertFields {
    let mut d = Draft::default();
    d.f.title = title;
    d.f.product = b.any_text(&["ProductName", "productName", "ProviderName"]);
    d.f.rule_name = b.any_text(&["AlertName", "DisplayName", "AlertDisplayName", "alertDisplayName"]);
    d.f.rule_id = b.any_text(&["AlertType", "alertType"]);
    if let Some(word) = b.any(&["AlertSeverity", "Severity", "severity"]) {
        d.f.severity = Severity::parse(&word).unwrap_or_default();
        d.f.source_severity = Some(keep(&format!("severity {word}")));
    }
    d.f.source_id = b.any_text(&["SystemAlertId", "systemAlertId", "VendorOriginalId"]);
    d.f.t_event = b.time(&["StartTime", "StartTimeUtc", "startTimeUtc", "TimeGenerated"]);
    d.f.t_alert = b.time(&["ProcessingEndTime", "processingEndTimeUtc", "TimeGenerated", "timeGeneratedUtc"]);
    confidence(b, &mut d);
    for name in ["Techniques", "SubTechniques", "techniques", "subTechniques"] {
        for text in b.all(name).iter().filter_map(Json::scalar) {
            d.technique(&text);
        }
    }
    column(b, &["ExtendedProperties", "extendedProperties"], |extra| extended(extra, &mut d));
    column(b, &["Entities", "entities"], |entities| Graph::new(entities).read(b, &mut d));
    let hit = b.any(&["CompromisedEntity", "compromisedEntity"]);
    if let Some(hit) = hit {
        compromised(&hit, &mut d);
    }
    d.done("Microsoft security alert")
}

/// `ConfidenceScore` is 0 to 1, where it is there; `ConfidenceLevel` a word.
fn confidence(b: &Json<'_>, d: &mut Draft) {
    let score = b.float("ConfidenceScore").filter(|s| (0.0..=100.0).contains(s));
    d.f.confidence = match (score, b.word("ConfidenceLevel").as_deref()) {
        (Some(s), _) if s <= 1.0 => Some((s * 100.0).round() as u8),
        (Some(s), _) => Some(s.round() as u8),
        (None, Some("High")) => Some(90),
        (None, Some("Medium")) => Some(60),
        (None, Some("Low")) => Some(30),
        (None, _) => None,
    };
}

fn extended(extra: &Json<'_>, d: &mut Draft) {
    for name in ["MitreTechniques", "Techniques", "SubTechniques"] {
        if let Some(text) = extra.word(name) {
            d.technique(&text);
        }
    }
    // Every alert of Defender for Endpoint has the same type; the detector is what tells rules apart.
    let generic = d.f.rule_id.as_ref().is_none_or(|id| id.expose() == "WindowsDefenderAtp");
    if generic {
        d.f.rule_id = extra.text("DetectorId").or(d.f.rule_id.take());
    }
    for name in ["IP Addresses", "Client IP Address", "Attacker source IP", "IpAddress"] {
        for ip in extra.word(name).iter().flat_map(|t| t.split([',', ';', ' '])).take(16) {
            d.observe_ip(ip);
        }
    }
    for name in ["ThreatName", "ThreatFamilyName"] {
        if let Some(threat) = extra.word(name) {
            d.observe(Kind::Other, &threat);
        }
    }
}

/// The compromised entity may be a host, an account or a resource.
fn compromised(hit: &str, d: &mut Draft) {
    if hit.contains('@') {
        d.f.user = d.f.user.take().or_else(|| Some(keep(hit)));
    } else if let Some(host) = &d.f.host {
        let short = |h: &str| h.split('.').next().unwrap_or_default().to_ascii_lowercase();
        if short(host.expose()) != short(hit) {
            d.observe(Kind::Other, hit);
        }
    } else if !hit.contains('/') {
        d.f.host = Some(keep(hit));
    } else {
        d.observe(Kind::Other, hit);
    }
}

const MAX_ENTITIES: usize = 2048;
const MAX_DEPTH: usize = 12;

/// The entities and where each `$id` is.
struct Graph<'j, 'a> {
    list: &'j Json<'a>,
    ids: HashMap<&'j str, &'j Json<'a>>,
}

impl<'j, 'a> Graph<'j, 'a> {
    fn new(list: &'j Json<'a>) -> Self {
        let mut graph = Self { list, ids: HashMap::new() };
        graph.index(list, 0);
        graph
    }

    fn index(&mut self, node: &'j Json<'a>, depth: usize) {
        if depth > MAX_DEPTH || self.ids.len() >= MAX_ENTITIES {
            return;
        }
        match node {
            Json::Obj(members) => {
                let id = members.iter().find(|(k, _)| k == "$id").map(|(_, v)| v);
                match id {
                    Some(Json::Str(id)) => _ = self.ids.insert(id, node),
                    Some(Json::Num(id)) => _ = self.ids.insert(id, node),
                    _ => {}
                }
                members.iter().for_each(|(_, v)| self.index(v, depth + 1));
            }
            Json::Arr(items) => items.iter().for_each(|v| self.index(v, depth + 1)),
            _ => {}
        }
    }

    /// The entity itself, also when it is only referred to. One step: a reference to a reference is none.
    fn follow(&self, node: &'j Json<'a>) -> &'j Json<'a> {
        match node.get("$ref") {
            Some(Json::Str(id)) => self.ids.get(&**id).copied().unwrap_or(node),
            Some(Json::Num(id)) => self.ids.get(id).copied().unwrap_or(node),
            _ => node,
        }
    }

    fn member(&self, node: &'j Json<'a>, name: &str) -> Option<&'j Json<'a>> {
        node.get(name).map(|n| self.follow(n)).filter(|n| n.is_obj())
    }

    fn read(&self, alert: &Json<'_>, d: &mut Draft) {
        let all = self.list.items();
        let entities = || all.iter().take(MAX_ENTITIES).map(|e| self.follow(e));
        for e in entities() {
            match kind(e).as_str() {
                "host" | "machine" => self.host(e, d),
                "account" | "azure-ad-user" | "user" => account(e, d),
                "ip" | "ip-address" => ip(e, alert, d),
                "file" => self.file(e, d),
                "filehash" => d.observe_hash(&e.word("Value").unwrap_or_default()),
                "url" => d.observe_url(&e.word("Url").unwrap_or_default()),
                "dns" | "dnsresolution" => d.observe_host(&e.word("DomainName").unwrap_or_default()),
                "mailmessage" => mail(e, d),
                "mailbox" => mailbox(e, d),
                "registry-key" => d.observe(Kind::Registry, &registry(e)),
                "registry-value" => {
                    let key = self.member(e, "Key").map(registry).unwrap_or_default();
                    d.observe(Kind::Registry, &format!("{key}\\{}", e.word("Name").unwrap_or_default()));
                }
                "malware" => d.observe(Kind::Other, &e.word("Name").unwrap_or_default()),
                "azure-resource" => d.observe(Kind::Other, &e.word("ResourceId").unwrap_or_default()),
                "cloud-application" | "oauth-application" => {
                    d.observe(Kind::Other, &e.word("Name").unwrap_or_default())
                }
                "process" => self.process(e, d),
                _ => {}
            }
        }
        self.key_process(entities().filter(|e| kind(e) == "process").collect(), d);
    }

    fn host(&self, e: &'j Json<'a>, d: &mut Draft) {
        let name = e.any(&["FQDN", "HostName", "NetBiosName", "AzureID"]);
        if let Some(name) = name {
            match &d.f.host {
                None => d.f.host = Some(keep(&name)),
                Some(host) if host.expose() != name => d.observe(Kind::Host, &name),
                Some(_) => {}
            }
        }
        for address in ["LastIpAddress", "LastExternalIpAddress"] {
            if let Some(ip) = self.member(e, address) {
                d.observe_ip(&ip.word("Address").unwrap_or_default());
            }
        }
    }

    fn file(&self, e: &'j Json<'a>, d: &mut Draft) {
        if let Some(path) = path(e) {
            d.observe(Kind::File, &path);
        }
        for hash in e.all("FileHashes").iter().take(8) {
            d.observe_hash(&self.follow(hash).word("Value").unwrap_or_default());
        }
    }

    fn process(&self, e: &'j Json<'a>, d: &mut Draft) {
        if let Some(image) = self.member(e, "ImageFile") {
            self.file(image, d);
            if let Some(path) = path(image) {
                d.observe(Kind::Process, &path);
            }
        }
        if let Some(who) = self.member(e, "Account") {
            account(who, d);
        }
    }

    /// Of several processes the alert is about the one that came last and is no other's parent.
    fn key_process(&self, processes: Vec<&'j Json<'a>>, d: &mut Draft) {
        let parents: Vec<&Json<'a>> = processes.iter().filter_map(|p| self.member(p, "ParentProcess")).collect();
        let leaf = |p: &&&'j Json<'a>| !parents.iter().any(|parent| std::ptr::eq(*parent, **p));
        let created = |p: &Json<'_>| p.time(&["CreationTimeUtc", "CreatedTimeUtc"]);
        let key = processes.iter().filter(leaf).max_by_key(|p| created(p)).or(processes.last());
        let Some(key) = key else { return };
        d.f.process = self.member(key, "ImageFile").and_then(path).map(|p| keep(&p));
        d.f.command_line = key.text("CommandLine");
    }
}

fn kind(e: &Json<'_>) -> String {
    e.any(&["Type", "type", "kind"]).unwrap_or_default().to_ascii_lowercase()
}

/// Directory and name. Some providers put the whole path into the directory.
fn path(file: &Json<'_>) -> Option<String> {
    let name = file.word("Name")?;
    let Some(dir) = file.word("Directory") else { return Some(name.into_owned()) };
    if dir.to_ascii_lowercase().ends_with(&format!("\\{}", name.to_ascii_lowercase())) {
        return Some(dir.into_owned());
    }
    let bar = if dir.contains('/') && !dir.contains('\\') { '/' } else { '\\' };
    Some(format!("{}{bar}{name}", dir.trim_end_matches(bar)))
}

fn account(e: &Json<'_>, d: &mut Draft) {
    let name = match (e.word("UserPrincipalName"), e.word("Name"), e.word("UPNSuffix"), e.word("NTDomain")) {
        (Some(upn), ..) => upn.into_owned(),
        (None, Some(name), Some(suffix), _) if !name.contains(' ') => format!("{name}@{suffix}"),
        (None, Some(name), _, Some(domain)) => format!("{domain}\\{name}"),
        (None, Some(name), ..) => name.into_owned(),
        _ => match e.any(&["DisplayName", "Sid", "AadUserId"]) {
            Some(id) => id.into_owned(),
            None => return,
        },
    };
    match &d.f.user {
        None => d.f.user = Some(keep(&name)),
        Some(user) if user.expose() != name => d.observe(Kind::User, &name),
        Some(_) => {}
    }
}

/// An address has no direction. Of a sign-in or a cloud app it is where the user came from; of an endpoint's alert it
/// may as well be where the host went to, so there it stays an observable.
fn ip(e: &Json<'_>, alert: &Json<'_>, d: &mut Draft) {
    let Some(address) = e.word("Address") else { return };
    let endpoint = alert.any(&["ProviderName", "providerName"]).is_some_and(|p| p == "MDATP");
    if !endpoint && d.f.src_ip.is_none() {
        d.source(super::draft::ip(&address), None);
    }
    d.observe_ip(&address);
}

fn mail(e: &Json<'_>, d: &mut Draft) {
    for name in ["Sender", "P1Sender", "P2Sender", "Recipient"] {
        if let Some(address) = e.word(name) {
            d.observe(Kind::Email, &address);
        }
    }
    if let Some(ip) = e.word("SenderIP") {
        d.observe_ip(&ip);
        d.source(super::draft::ip(&ip), None);
    }
    for url in e.all("Urls").iter().take(16) {
        d.observe_url(&url.scalar().unwrap_or_default());
    }
    d.f.user = d.f.user.take().or_else(|| e.text("Recipient"));
}

fn mailbox(e: &Json<'_>, d: &mut Draft) {
    for name in ["MailboxPrimaryAddress", "Upn"] {
        if let Some(address) = e.word(name) {
            d.observe(Kind::Email, &address);
        }
    }
    d.f.user = d.f.user.take().or_else(|| e.any_text(&["Upn", "MailboxPrimaryAddress"]));
}

fn registry(key: &Json<'_>) -> String {
    format!("{}\\{}", key.word("Hive").unwrap_or_default(), key.word("Key").unwrap_or_default())
}
