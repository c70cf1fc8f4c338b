//! Syslog, RFC 3164 and RFC 5424, with CEF, LEEF or JSON inside when the message holds it.
//!
//! A syslog line is a log entry, no detection: its severity is the one in `<PRI>`, read as a log level (emergency and
//! alert Critical, critical High, error Medium, warning Low, the rest Informational). Without `<PRI>` it is Unknown.

use jiff::Timestamp;

use super::draft::{Draft, keep};
use super::{Format, LIKELY, ParseError, Probe, cef, leef, scan, time};
use crate::model::alert::AlertFields;
use crate::model::fields::{Field, Leaves};
use crate::model::severity::Severity;

pub struct Syslog;

impl Format for Syslog {
    fn id(&self) -> &'static str {
        "syslog"
    }

    fn title(&self) -> &'static str {
        "Syslog RFC 3164 and 5424"
    }

    fn sniff(&self, probe: &Probe<'_>) -> u8 {
        if probe.is_json() {
            return 0;
        }
        let line = Line::read(probe.text());
        match (line.pri.is_some(), line.time.is_some(), line.host.is_some()) {
            (true, true, _) => 94,
            (true, false, _) => 75,
            (false, true, true) => 85,
            _ => 0,
        }
    }

    fn parse(&self, probe: &Probe<'_>) -> Result<Vec<AlertFields>, ParseError> {
        let text = probe.text();
        if text.is_empty() {
            return Err(ParseError::new(self.id(), "empty line"));
        }
        let line = Line::read(text);
        if let Some(at) = cef::find(text) {
            let mut d = Draft::default();
            cef::read(&text[at..], &mut d)?;
            line.fill(&mut d);
            return Ok(vec![d.done("CEF event")]);
        }
        if let Some(at) = leef::find(text) {
            let mut d = Draft::default();
            leef::read(&text[at..], &mut d)?;
            line.fill(&mut d);
            return Ok(vec![d.done("LEEF event")]);
        }
        if let Some(alerts) = line.json() {
            return Ok(alerts);
        }
        let mut d = Draft::default();
        line.fill(&mut d);
        line.message(&mut d);
        Ok(vec![d.done("Syslog line")])
    }

    fn leaves(&self, probe: &Probe<'_>) -> Vec<Field> {
        let mut out = Leaves::default();
        let text = probe.text();
        let line = Line::read(text);
        line.leaves(&mut out);
        if let Some(at) = cef::find(text) {
            cef::leaves(&text[at..], &mut out);
        } else if let Some(at) = leef::find(text) {
            leef::leaves(&text[at..], &mut out);
        } else {
            out.push("message", line.text);
        }
        out.done()
    }
}

/// Fills what the header before a CEF or LEEF record says, where the record itself is silent.
pub fn envelope(header: &str, d: &mut Draft) {
    if !header.trim().is_empty() {
        Line::read(header).fill(d);
    }
}

pub fn envelope_leaves(header: &str, out: &mut Leaves) {
    if !header.trim().is_empty() {
        Line::read(header).leaves(out);
    }
}

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "security", "console", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// The parts of a line.
#[derive(Debug, Default)]
struct Line<'a> {
    pri: Option<u8>,
    time: Option<Timestamp>,
    stamp: &'a str,
    host: Option<&'a str>,
    app: Option<&'a str>,
    pid: Option<&'a str>,
    msgid: Option<&'a str>,
    structured: Vec<(String, String)>,
    text: &'a str,
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Self {
        let mut out = Self { text: line, ..Self::default() };
        let mut rest = line;
        if let Some((pri, after)) = line.strip_prefix('<').and_then(|r| r.split_once('>'))
            && pri.len() <= 3
            && let Ok(pri @ 0..=191) = pri.parse()
        {
            out.pri = Some(pri);
            rest = after;
            out.text = rest;
        }
        if out.pri.is_some()
            && let Some(after) = rest.strip_prefix("1 ")
            && out.rfc5424(after).is_some()
        {
            return out;
        }
        out.rfc3164(rest);
        out
    }

    /// `TIMESTAMP HOST APP PROCID MSGID SD [MSG]`, each but the message possibly `-`.
    fn rfc5424(&mut self, text: &'a str) -> Option<()> {
        let mut parts = text.splitn(6, ' ');
        let stamp = parts.next()?;
        let time = time::parse(stamp);
        if time.is_none() && stamp != "-" {
            return None;
        }
        let mut word = || parts.next().map(|w| (w != "-" && !w.is_empty()).then_some(w));
        let (host, app, pid, msgid) = (word()?, word()?, word()?, word()?);
        let rest = parts.next().unwrap_or("-");
        let (structured, message) = structured(rest)?;
        (self.time, self.stamp, self.host, self.app, self.pid, self.msgid) = (time, stamp, host, app, pid, msgid);
        self.structured = structured;
        self.text = message.trim_start_matches('\u{feff}').trim();
        Some(())
    }

    /// `Mmm dd hh:mm:ss HOST TAG[PID]: MSG`, or rsyslog's ISO time in front; host and tag may be missing.
    fn rfc3164(&mut self, text: &'a str) {
        let Some((stamp, rest)) = stamp(text) else {
            self.text = text.trim();
            return;
        };
        self.stamp = stamp;
        self.time = time::parse(stamp);
        let rest = rest.trim_start();
        self.text = rest;
        let mut rest = rest;
        if let Some((word, after)) = rest.split_once(' ')
            && !word.ends_with(':')
            && !word.contains(['[', '=', '|', '{'])
        {
            self.host = Some(word);
            rest = after.trim_start();
            self.text = rest;
        }
        let Some(end) = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_-./@()%".contains(c))) else { return };
        let (tag, after) = rest.split_at(end);
        let (pid, after) = match after.strip_prefix('[').and_then(|a| a.split_once(']')) {
            Some((pid, after)) => (Some(pid), after),
            None => (None, after),
        };
        if let Some(message) = after.strip_prefix(':')
            && !tag.is_empty()
            && tag.len() <= 64
        {
            (self.app, self.pid, self.text) = (Some(tag), pid, message.trim());
        }
    }

    fn fill(&self, d: &mut Draft) {
        if d.f.severity == Severity::Unknown
            && d.f.source_severity.is_none()
            && let Some(pri) = self.pri
        {
            let level = LEVELS[usize::from(pri % 8)];
            d.f.severity = super::log_level(level);
            let facility = FACILITIES.get(usize::from(pri / 8)).unwrap_or(&"?");
            d.f.source_severity = Some(keep(&format!("{facility}.{level}")));
        }
        d.f.host = d.f.host.take().or_else(|| self.host.map(keep));
        d.f.process = d.f.process.take().or_else(|| self.app.map(keep));
        d.f.t_event = d.f.t_event.or(self.time);
        if d.f.product.is_none() {
            d.f.product = Some("Syslog".into());
        }
    }

    /// What the message says in plain words.
    fn message(&self, d: &mut Draft) {
        d.f.rule_id = self.msgid.or(self.app).map(keep);
        d.f.rule_name = self.app.map(keep);
        let title = match self.app {
            Some(app) => format!("{app}: {}", self.text),
            None => self.text.to_owned(),
        };
        // A title is one line; the whole message stays in the record.
        d.f.title = keep(title.lines().next().unwrap_or_default());
        cisco(self.text, d);
        for (key, value) in &self.structured {
            let name = key.rsplit('.').next().unwrap_or(key);
            match name {
                "ip" | "src" | "srcip" | "src_ip" => d.source(super::draft::ip(value), None),
                "dst" | "dstip" | "dst_ip" => d.destination(super::draft::ip(value), None),
                "user" | "username" | "suser" if d.f.user.is_none() => d.f.user = Some(keep(value)),
                _ => {}
            }
            d.observe_ip(value);
            d.technique(value);
        }
        scan::message(self.text, d);
    }

    /// A message that is JSON of a format we know, as Wazuh and Suricata send it.
    fn json(&self) -> Option<Vec<AlertFields>> {
        let body = self.text.trim_start_matches("@cee:").trim_start();
        if !body.starts_with('{') {
            return None;
        }
        let probe = Probe::new(body);
        probe.body()?;
        let best = super::all().iter().map(|f| (f.sniff(&probe), f)).max_by_key(|(score, _)| *score);
        let (_, format) = best.filter(|(score, _)| *score >= LIKELY)?;
        let mut alerts = format.parse(&probe).ok()?;
        for alert in &mut alerts {
            alert.host = alert.host.take().or_else(|| self.host.map(keep));
            alert.t_event = alert.t_event.or(self.time);
        }
        Some(alerts)
    }

    fn leaves(&self, out: &mut Leaves) {
        if let Some(pri) = self.pri {
            out.push("facility", FACILITIES.get(usize::from(pri / 8)).unwrap_or(&"?"));
            out.push("severity", LEVELS[usize::from(pri % 8)]);
        }
        if !self.stamp.is_empty() {
            out.push("timestamp", self.stamp);
        }
        for (name, value) in [("host", self.host), ("app", self.app), ("pid", self.pid), ("msgid", self.msgid)] {
            if let Some(value) = value {
                out.push(name, value);
            }
        }
        for (key, value) in &self.structured {
            out.push(key, value);
        }
    }
}

/// Cuts the time off the front: `Mmm dd hh:mm:ss`, or an ISO time with a `T` in it.
fn stamp(text: &str) -> Option<(&str, &str)> {
    if let Some((word, rest)) = text.split_once(' ')
        && word.len() >= 19
        && word.as_bytes()[10] == b'T'
        && time::parse(word).is_some()
    {
        return Some((word, rest));
    }
    // Cisco puts a star before a time it does not trust.
    let text = text.strip_prefix('*').unwrap_or(text);
    let head = text.get(..15)?;
    time::month(head.get(..3)?.as_bytes())?;
    if head.as_bytes()[6] == b' ' && head.as_bytes()[9] == b':' && time::parse(head).is_some() {
        let rest = &text[15..];
        // A fraction or a year may follow.
        let cut = rest.find(' ').filter(|_| rest.starts_with('.')).unwrap_or(0);
        return Some((head, &rest[cut..]));
    }
    None
}

/// Elements as `id.name` = value: `[exampleSDID@32473 iut="3" eventSource="App"]`, and what follows.
fn structured(text: &str) -> Option<(Vec<(String, String)>, &str)> {
    const MAX: usize = 256;
    let mut out = Vec::new();
    if let Some(rest) = text.strip_prefix('-') {
        return Some((out, rest));
    }
    let mut rest = text;
    while let Some(inner) = rest.strip_prefix('[') {
        let end = inner.find([' ', ']'])?;
        let (id, mut params) = inner.split_at(end);
        loop {
            params = params.trim_start_matches(' ');
            if let Some(after) = params.strip_prefix(']') {
                rest = after;
                break;
            }
            let (name, after) = params.split_once("=\"")?;
            let mut value = String::new();
            let mut chars = after.char_indices();
            let close = loop {
                match chars.next()? {
                    (at, '"') => break at,
                    (_, '\\') => match chars.next()?.1 {
                        c @ ('"' | '\\' | ']') => value.push(c),
                        c => value.extend(['\\', c]),
                    },
                    (_, c) => value.push(c),
                }
            };
            if out.len() < MAX {
                out.push((format!("{id}.{name}"), value));
            }
            params = &after[close + 1..];
        }
    }
    (!out.is_empty() || rest.len() < text.len()).then_some((out, rest))
}

/// `%ASA-4-106023: Deny tcp ..`: the facility, the severity and the name of the message.
fn cisco(text: &str, d: &mut Draft) {
    let Some(at) = text.find('%').filter(|at| *at < 64) else { return };
    let Some((code, message)) = text[at + 1..].split_once(": ") else { return };
    let mut parts = code.splitn(3, '-');
    let (Some(facility), Some(level), Some(name)) = (parts.next(), parts.next(), parts.next()) else { return };
    let Ok(level @ 0..=7) = level.parse::<usize>() else { return };
    if facility.is_empty() || !facility.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
        return;
    }
    d.f.rule_id = Some(keep(name));
    d.f.rule_name = Some(keep(&format!("{facility}-{level}-{name}")));
    d.f.product = Some(keep(&format!("Cisco {facility}")));
    d.f.title = keep(message.lines().next().unwrap_or_default());
    d.f.severity = super::log_level(LEVELS[level]);
    d.f.source_severity = Some(keep(&format!("level {level} ({})", LEVELS[level])));
}
