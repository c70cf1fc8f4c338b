//! Hayabusa's `json-timeline`, as one JSON document after the other or as JSON lines, in any of its profiles:
//! <https://github.com/Yamato-Security/hayabusa>. `Details` and `ExtraFieldInfo` are objects, or text with ` ¦ `
//! between the pairs.
//!
//! Severity is the rule's level: info, low, med, high, crit (or the words in full), emergency as Fatal.

use std::borrow::Cow;

use super::draft::{Draft, keep};
use super::json::Json;
use super::{Format, ParseError, Probe};
use crate::model::alert::{AlertFields, ObservableKind as Kind};
use crate::model::severity::Severity;

pub struct Hayabusa;

impl Format for Hayabusa {
    fn id(&self) -> &'static str {
        "hayabusa"
    }

    fn title(&self) -> &'static str {
        "Hayabusa JSON timeline"
    }

    fn sniff(&self, probe: &Probe<'_>) -> u8 {
        let Some(b) = probe.body() else { return 0 };
        if b.get("RuleTitle").is_none() {
            return 0;
        }
        let signs = ["Level", "Timestamp", "Computer", "Channel", "EventID", "Details", "RecordID"];
        match signs.iter().filter(|k| b.get(k).is_some()).count() {
            0 | 1 => 40,
            2 => 85,
            _ => 98,
        }
    }

    fn parse(&self, probe: &Probe<'_>) -> Result<Vec<AlertFields>, ParseError> {
        let b = probe.need(self.id())?;
        let Some(title) = b.text("RuleTitle") else {
            return Err(ParseError::new(self.id(), "no `RuleTitle`, as every Hayabusa detection has"));
        };
        let mut d = Draft::new("Hayabusa");
        d.f.rule_id = b.any_text(&["RuleID", "RuleFile"]).or_else(|| Some(title.clone()));
        d.f.rule_name = Some(title.clone());
        d.f.title = title;
        if let Some(level) = b.word("Level") {
            d.f.severity = severity(&level);
            d.f.source_severity = Some(keep(&format!("level {level}")));
        }
        d.f.t_event = b.time(&["Timestamp"]);
        d.f.host = b.text("Computer");
        for path in ["MitreTags", "OtherTags", "MitreTactics", "Tags"] {
            for tag in b.all(path).iter().take(64).filter_map(Json::scalar) {
                d.technique(&tag);
            }
        }
        details(b, &mut d);
        d.f.source_id = identity(b);
        Ok(vec![d.done("Hayabusa detection")])
    }
}

/// One record can match several rules, so the rule is part of its id.
fn identity(b: &Json<'_>) -> Option<crate::text::Untrusted> {
    let record = b.word("RecordID")?;
    let part = |key: &str| b.word(key).unwrap_or_default();
    let rule = b.any(&["RuleID", "RuleTitle"]).unwrap_or_default();
    Some(keep(&format!("{}/{}/{record}/{rule}@{}", part("Computer"), part("Channel"), part("Timestamp"))))
}

fn severity(level: &str) -> Severity {
    match level.to_ascii_lowercase().as_str() {
        "emer" | "emergency" => Severity::Fatal,
        other => Severity::parse(other).unwrap_or_default(),
    }
}

/// A value by the name Hayabusa gives it, from whichever of the bags has it.
fn find<'j>(b: &'j Json<'_>, names: &[&str]) -> Option<Cow<'j, str>> {
    names.iter().find_map(|name| {
        ["Details", "ExtraFieldInfo", "AllFieldInfo"].iter().find_map(|bag| {
            let found = match b.get(bag)? {
                Json::Str(text) => text.split(" ¦ ").find_map(|pair| {
                    let (key, value) = pair.split_once(": ")?;
                    (key.trim() == *name).then(|| Cow::Borrowed(value.trim()))
                }),
                object => object.get(name).and_then(Json::scalar),
            };
            found.filter(|v| !v.is_empty() && !super::json::is_nothing(v))
        })
    })
}

fn details(b: &Json<'_>, d: &mut Draft) {
    let text = |names: &[&str]| find(b, names).map(|v| keep(&v));
    let ip = |names: &[&str]| find(b, names).and_then(|v| super::draft::ip(&v));
    let port = |names: &[&str]| find(b, names).and_then(|v| v.parse().ok()).filter(|p| *p > 0);
    d.f.user = text(&["User", "TgtUser", "SrcUser", "SubjectUserName", "TargetUserName"]);
    d.f.process = text(&["Proc", "Image", "SrcProc", "NewProcessName"]);
    d.f.command_line = text(&["Cmdline", "Cmd", "CommandLine", "ScriptBlock", "ScriptBlockText"]);
    d.source(ip(&["SrcIP", "SourceIp", "IpAddress"]), port(&["SrcPort", "SourcePort"]));
    d.destination(ip(&["TgtIP", "DstIP", "DestinationIp"]), port(&["TgtPort", "DstPort", "DestinationPort"]));
    for (name, kind) in [
        ("TgtUser", Kind::User),
        ("SrcUser", Kind::User),
        ("SrcComp", Kind::Host),
        ("TgtHost", Kind::Domain),
        ("Query", Kind::Domain),
        ("ParentProc", Kind::Process),
        ("ParentImage", Kind::Process),
        ("TgtProc", Kind::Process),
        ("Path", Kind::File),
        ("File", Kind::File),
        ("TgtFile", Kind::File),
        ("TargetFilename", Kind::File),
        ("TgtObj", Kind::Registry),
        ("TargetObject", Kind::Registry),
        ("Svc", Kind::Other),
        ("Threat", Kind::Other),
        ("URL", Kind::Url),
    ] {
        if let Some(value) = find(b, &[name])
            && d.f.user.as_ref().is_none_or(|u| u.expose() != value)
        {
            d.observe(kind, &value);
        }
    }
    if let Some(hashes) = find(b, &["Hashes", "Hash"]) {
        d.observe_hashes(&hashes);
    }
}
