//! ArcSight Common Event Format, alone or behind a syslog header.
//!
//! Severity: 0 to 3 Low, 4 to 6 Medium, 7 and 8 High, 9 and 10 Very-High (Critical), or those words, as the CEF
//! implementation standard says.

use super::draft::{self, Draft, keep};
use super::pairs::Pairs;
use super::{Format, ParseError, Probe, syslog};
use crate::model::alert::{AlertFields, ObservableKind as Kind};
use crate::model::fields::{Field, Leaves};
use crate::model::severity::Severity;

pub struct Cef;

impl Format for Cef {
    fn id(&self) -> &'static str {
        "cef"
    }

    fn title(&self) -> &'static str {
        "CEF"
    }

    fn sniff(&self, probe: &Probe<'_>) -> u8 {
        match find(probe.text()) {
            Some(0) => 99,
            Some(_) => 97,
            None => 0,
        }
    }

    fn parse(&self, probe: &Probe<'_>) -> Result<Vec<AlertFields>, ParseError> {
        let Some(at) = find(probe.text()) else {
            return Err(ParseError::new(self.id(), "no `CEF:` header"));
        };
        let (envelope, text) = probe.text().split_at(at);
        let mut d = Draft::default();
        read(text, &mut d)?;
        syslog::envelope(envelope, &mut d);
        Ok(vec![d.done("CEF event")])
    }

    fn leaves(&self, probe: &Probe<'_>) -> Vec<Field> {
        let mut out = Leaves::default();
        let Some(at) = find(probe.text()) else { return out.done() };
        let (envelope, text) = probe.text().split_at(at);
        syslog::envelope_leaves(envelope, &mut out);
        leaves(text, &mut out);
        out.done()
    }
}

/// Where `CEF:` with a version begins. Behind a syslog header it stands at the start of a word.
pub fn find(text: &str) -> Option<usize> {
    memchr::memmem::find_iter(crate::text::front(text, 1024).as_bytes(), b"CEF:").find(|at| {
        let bytes = text.as_bytes();
        let bounded = *at == 0 || matches!(bytes[at - 1], b' ' | b':' | b']' | b'>' | b'\t');
        let version = bytes[at + 4..].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
        bounded && version > 0 && bytes.get(at + 4 + version) == Some(&b'|')
    })
}

const HEADER: [&str; 6] = ["deviceVendor", "deviceProduct", "deviceVersion", "signatureId", "name", "severity"];

/// The six header fields after the version, and the extension.
fn header(text: &str) -> Option<([String; 6], &str)> {
    let mut rest = text.split_once('|')?.1;
    let mut fields: [String; 6] = Default::default();
    for (i, field) in fields.iter_mut().enumerate() {
        let mut chars = rest.char_indices();
        let mut end = None;
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => field.extend(chars.next().map(|(_, c)| c)),
                '|' => {
                    end = Some(at);
                    break;
                }
                c => field.push(c),
            }
        }
        rest = match end {
            Some(at) => &rest[at + 1..],
            // Some sources leave the extension and its bar away.
            None if i == 5 => "",
            None => return None,
        };
    }
    Some((fields, rest))
}

pub fn read(text: &str, d: &mut Draft) -> Result<(), ParseError> {
    let Some(([vendor, product, _, id, name, severity], extension)) = header(text) else {
        return Err(ParseError::new("cef", "fewer than the seven header fields that `|` separates"));
    };
    d.f.product = Some(keep(&format!("{vendor} {product}")));
    d.f.rule_id = some(&id);
    d.f.rule_name = some(&name);
    d.f.title = keep(&name);
    d.f.severity = grade(&severity);
    d.f.source_severity = some(&severity).map(|s| keep(&format!("severity {} of 10", s.expose())));
    fill(&Pairs::cef(extension), d);
    Ok(())
}

fn some(text: &str) -> Option<crate::text::Untrusted> {
    let text = text.trim();
    (!text.is_empty()).then(|| keep(text))
}

/// Also for LEEF, whose scale is the same.
pub fn grade(word: &str) -> Severity {
    match word.trim().parse::<f64>() {
        Ok(n) if (0.0..4.0).contains(&n) => Severity::Low,
        Ok(n) if (4.0..7.0).contains(&n) => Severity::Medium,
        Ok(n) if (7.0..9.0).contains(&n) => Severity::High,
        Ok(n) if (9.0..=10.0).contains(&n) => Severity::Critical,
        Ok(_) => Severity::Unknown,
        Err(_) => Severity::parse(word).unwrap_or_default(),
    }
}

fn fill(x: &Pairs, d: &mut Draft) {
    let ip = |keys: &[&str]| keys.iter().find_map(|k| draft::ip(x.get(k)?));
    let port = |keys: &[&str]| keys.iter().find_map(|k| x.get(k)?.parse().ok()).filter(|p| *p > 0);
    let time = |keys: &[&str]| keys.iter().find_map(|k| super::time::parse(x.get(k)?));
    d.source(ip(&["src", "sourceAddress", "c6a2"]), port(&["spt", "sourcePort"]));
    d.destination(ip(&["dst", "destinationAddress", "c6a3"]), port(&["dpt", "destinationPort"]));
    d.f.t_event = time(&["start", "startTime", "rt", "deviceReceiptTime", "end"]);
    d.f.t_alert = time(&["rt", "deviceReceiptTime", "end", "art"]);
    d.f.source_id = x.get("externalId").map(keep);
    first(x, &["dhost", "destinationHostName", "dvchost", "deviceHostName", "shost", "sourceHostName"], &mut d.f.host);
    first(x, &["suser", "sourceUserName", "duser", "destinationUserName", "suid", "duid"], &mut d.f.user);
    first(x, &["sproc", "sourceProcessName", "dproc", "destinationProcessName", "deviceProcessName"], &mut d.f.process);
    first(x, &["cmdLine", "commandLine", "deviceCustomString1CommandLine"], &mut d.f.command_line);
    for (keys, kind) in [
        (["dhost", "shost", "dvchost"], Kind::Host),
        (["suser", "duser", "destinationUserName"], Kind::User),
        (["filePath", "fname", "oldFilePath"], Kind::File),
    ] {
        for value in keys.iter().filter_map(|k| x.get(k)) {
            let known = [&d.f.host, &d.f.user];
            if !known.iter().any(|k| k.as_ref().is_some_and(|k| k.expose() == value)) {
                d.observe(kind, value);
            }
        }
    }
    for key in ["fileHash", "oldFileHash"] {
        d.observe_hashes(x.get(key).unwrap_or_default());
    }
    d.observe_url(x.get("request").unwrap_or_default());
    for key in ["destinationDnsDomain", "sourceDnsDomain"] {
        d.observe_host(x.get(key).unwrap_or_default());
    }
    for key in ["dvc", "deviceAddress", "destinationTranslatedAddress", "sourceTranslatedAddress"] {
        d.observe_ip(x.get(key).unwrap_or_default());
    }
    labelled(x, d);
}

fn first(x: &Pairs, keys: &[&str], field: &mut Option<crate::text::Untrusted>) {
    if field.is_none() {
        *field = keys.iter().find_map(|k| x.get(k)).filter(|v| !super::json::is_nothing(v)).map(keep);
    }
}

/// Custom fields say in a second field (`cs1Label`) what they hold.
fn labelled(x: &Pairs, d: &mut Draft) {
    for (key, value) in x.iter() {
        let Some(label) = x.get(&format!("{key}Label")) else { continue };
        let label = label.to_ascii_lowercase();
        if label.contains("technique") || label.contains("mitre") || label.contains("att&ck") {
            d.technique(value);
        } else if label.contains("hash") || label.contains("sha") || label.contains("md5") {
            d.observe_hashes(value);
        } else if label.contains("url") {
            d.observe_url(value);
        } else if (label.contains("command") || label.contains("cmd")) && d.f.command_line.is_none() {
            d.f.command_line = Some(keep(value));
        } else if label.contains("domain") {
            d.observe_host(value);
        }
    }
    for key in ["cat", "deviceEventCategory", "reason", "msg", "mitreTechnique", "technique"] {
        d.technique(x.get(key).unwrap_or_default());
    }
}

pub fn leaves(text: &str, out: &mut Leaves) {
    let Some((fields, extension)) = header(text) else { return };
    for (name, value) in HEADER.iter().zip(&fields) {
        out.push(name, value);
    }
    for (key, value) in Pairs::cef(extension).iter() {
        out.push(key, value);
    }
}
