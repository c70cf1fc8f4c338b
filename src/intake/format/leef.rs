//! IBM QRadar Log Event Extended Format 1.0 and 2.0, alone or behind a syslog header. Attributes are separated by a
//! tab, in 2.0 by the character (or `0x..`) in the sixth header field.
//!
//! Severity is the `sev` attribute, 1 to 10, read like CEF's.

use super::draft::{self, Draft, keep};
use super::pairs::Pairs;
use super::{Format, ParseError, Probe, cef, syslog};
use crate::model::alert::{AlertFields, ObservableKind as Kind};
use crate::model::fields::{Field, Leaves};

pub struct Leef;

impl Format for Leef {
    fn id(&self) -> &'static str {
        "leef"
    }

    fn title(&self) -> &'static str {
        "LEEF 1 and 2"
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
            return Err(ParseError::new(self.id(), "no `LEEF:1.0|` or `LEEF:2.0|` header"));
        };
        let (envelope, text) = probe.text().split_at(at);
        let mut d = Draft::default();
        read(text, &mut d)?;
        syslog::envelope(envelope, &mut d);
        Ok(vec![d.done("LEEF event")])
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

pub fn find(text: &str) -> Option<usize> {
    memchr::memmem::find_iter(crate::text::front(text, 1024).as_bytes(), b"LEEF:").find(|at| {
        let bytes = text.as_bytes();
        let bounded = *at == 0 || matches!(bytes[at - 1], b' ' | b':' | b']' | b'>' | b'\t');
        bounded && matches!(bytes.get(at + 5), Some(b'1' | b'2')) && text[at + 5..].contains('|')
    })
}

struct Header<'a> {
    vendor: &'a str,
    product: &'a str,
    version: &'a str,
    event: &'a str,
    pairs: Pairs,
}

fn header(text: &str) -> Option<Header<'_>> {
    let mut parts = text.splitn(6, '|');
    let second = parts.next()?.starts_with("LEEF:2");
    let [vendor, product, version, event] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let rest = parts.next().unwrap_or_default();
    let (delimiter, attributes) = match rest.split_once('|') {
        Some((field, attributes)) if second && field.len() <= 6 && !field.contains('=') => {
            (delimiter(field), attributes)
        }
        // 1.0 knows only the tab; some sources write a caret anyway.
        _ if !rest.contains('\t') && rest.contains('^') => ('^', rest),
        _ => ('\t', rest),
    };
    Some(Header { vendor, product, version, event, pairs: Pairs::leef(attributes, delimiter) })
}

/// A character, or its code as `0x5e`, `x5e` or `\x5e`; nothing means a tab.
fn delimiter(field: &str) -> char {
    let code = field.trim_start_matches('\\').trim_start_matches('0').strip_prefix(['x', 'X']);
    if let Some(c) = code.and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32) {
        return c;
    }
    match field {
        "\\t" | "" => '\t',
        other => other.chars().next().unwrap_or('\t'),
    }
}

pub fn read(text: &str, d: &mut Draft) -> Result<(), ParseError> {
    let Some(h) = header(text) else {
        return Err(ParseError::new("leef", "fewer than the five header fields that `|` separates"));
    };
    let x = &h.pairs;
    let any = |keys: &[&str]| keys.iter().find_map(|k| x.get(k)).filter(|v| !super::json::is_nothing(v)).map(keep);
    let ip = |keys: &[&str]| keys.iter().find_map(|k| draft::ip(x.get(k)?));
    let port = |keys: &[&str]| keys.iter().find_map(|k| x.get(k)?.parse().ok()).filter(|p| *p > 0);
    d.f.product = Some(keep(&format!("{} {}", h.vendor, h.product)));
    d.f.rule_id = (!h.event.trim().is_empty()).then(|| keep(h.event));
    d.f.rule_name = any(&["eventName", "name", "signature", "ruleName", "cat"]);
    d.f.title = any(&["eventName", "name", "msg", "message", "reason", "cat"])
        .unwrap_or_else(|| keep(&format!("{} {}", h.product, h.event)));
    if let Some(sev) = x.get("sev").or_else(|| x.get("severity")) {
        d.f.severity = cef::grade(sev);
        d.f.source_severity = Some(keep(&format!("severity {sev} of 10")));
    }
    d.f.t_event = ["devTime", "eventTime", "startTime"].iter().find_map(|k| super::time::parse(x.get(k)?));
    d.f.t_alert = d.f.t_event;
    d.source(ip(&["src", "srcIP", "identSrc"]), port(&["srcPort"]));
    d.destination(ip(&["dst", "dstIP"]), port(&["dstPort"]));
    d.f.host = any(&["identHostName", "dstHostName", "hostName", "shost", "srcHostName", "deviceName"]);
    d.f.user = any(&["usrName", "accountName", "suser", "identUserName"]);
    d.f.process = any(&["process", "processName", "application"]);
    d.f.command_line = any(&["commandLine", "cmdLine", "command"]);
    for key in ["fileName", "filePath", "file"] {
        d.observe(Kind::File, x.get(key).unwrap_or_default());
    }
    for key in ["fileHash", "md5", "sha1", "sha256", "hash"] {
        d.observe_hashes(x.get(key).unwrap_or_default());
    }
    d.observe_url(x.get("url").unwrap_or_default());
    d.observe_host(x.get("domain").unwrap_or_default());
    for key in ["srcPostNAT", "dstPostNAT", "srcPreNAT", "dstPreNAT", "vSrc"] {
        d.observe_ip(x.get(key).unwrap_or_default());
    }
    for (key, value) in x.iter() {
        let key = key.to_ascii_lowercase();
        if key.contains("mitre") || key.contains("technique") || key == "cat" {
            d.technique(value);
        }
    }
    Ok(())
}

pub fn leaves(text: &str, out: &mut Leaves) {
    let Some(h) = header(text) else { return };
    for (name, value) in [("vendor", h.vendor), ("product", h.product), ("version", h.version), ("eventId", h.event)] {
        out.push(name, value);
    }
    for (key, value) in h.pairs.iter() {
        out.push(key, value);
    }
}
