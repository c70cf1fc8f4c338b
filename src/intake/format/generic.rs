//! JSON of any shape, read through a map the user writes: our field name -> where the value is.
//!
//! ```toml
//! [intake.generic.acme]
//! title = "detection.name"          # dotted path; `[0]` picks an element
//! host = "/asset/0/hostname"        # or a JSON pointer (RFC 6901)
//! severity = "risk"
//! severity_map = "1=low, 2=medium, 3=high, P1=critical"
//! product = "=Acme EDR"             # `=` in front: this text, not a path
//! sha256 = "file.digest"            # any observable kind
//! ```
//!
//! Without `severity_map` a severity is the word, or OCSF's number (0 to 6); anything else is Unknown.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::draft::{self, Draft, keep};
use super::json::Json;
use super::{ParseError, Probe};
use crate::model::alert::{AlertFields, ObservableKind as Kind};
use crate::model::severity::Severity;

const FIELDS: [&str; 19] = [
    "title",
    "rule_id",
    "rule_name",
    "severity",
    "severity_map",
    "source_severity",
    "confidence",
    "techniques",
    "host",
    "user",
    "process",
    "command_line",
    "src_ip",
    "src_port",
    "dst_ip",
    "dst_port",
    "t_event",
    "t_alert",
    "product",
];
const MORE: [&str; 1] = ["source_id"];
const KINDS: [(&str, Kind); 14] = [
    ("ip", Kind::Ip),
    ("domain", Kind::Domain),
    ("url", Kind::Url),
    ("email", Kind::Email),
    ("file", Kind::File),
    ("md5", Kind::Md5),
    ("sha1", Kind::Sha1),
    ("sha256", Kind::Sha256),
    ("hash", Kind::Hash),
    ("registry", Kind::Registry),
    ("other_host", Kind::Host),
    ("other_user", Kind::User),
    ("other_process", Kind::Process),
    ("other", Kind::Other),
];

/// A checked field map.
#[derive(Clone, Debug)]
pub struct Generic {
    pub name: String,
    fields: BTreeMap<String, Place>,
    severities: Vec<(String, Severity)>,
}

#[derive(Clone, Debug)]
enum Place {
    /// A value that is always the same.
    Text(String),
    Path(Vec<Part>),
}

#[derive(Clone, Debug)]
enum Part {
    /// Dotted keys, found nested or flattened.
    Keys(String),
    /// One key exactly as it is (from a JSON pointer).
    Key(String),
    Index(usize),
}

impl Generic {
    /// # Errors
    /// Names a field or a severity we do not have, and the nearest we do.
    pub fn new(name: &str, map: &BTreeMap<String, String>) -> Result<Self, String> {
        let known = || FIELDS.into_iter().chain(MORE).chain(KINDS.iter().map(|(k, _)| *k));
        let mut out = Self { name: name.to_owned(), fields: BTreeMap::new(), severities: Vec::new() };
        for (field, place) in map {
            if !known().any(|k| k == field) {
                let near = super::nearest(field, known());
                return Err(format!("field map `{name}`: no field `{field}`; nearest is `{near}`"));
            }
            if field == "severity_map" {
                out.severities = severities(name, place)?;
            } else {
                out.fields.insert(field.clone(), place_of(name, field, place)?);
            }
        }
        if !out.fields.contains_key("title") && !out.fields.contains_key("rule_name") {
            return Err(format!("field map `{name}`: needs `title` or `rule_name`"));
        }
        Ok(out)
    }

    /// How many of the map's paths the record has, in percent; 0 when it has no title.
    pub fn sniff(&self, probe: &Probe<'_>) -> u8 {
        let Some(b) = probe.body() else { return 0 };
        let has = |place: &Place| matches!(place, Place::Path(path) if walk(b, path).is_some());
        if !["title", "rule_name"].iter().filter_map(|f| self.fields.get(*f)).any(has) {
            return 0;
        }
        let paths = self.fields.values().filter(|p| matches!(p, Place::Path(_))).count().max(1);
        (self.fields.values().filter(|p| has(p)).count() * 100 / paths).min(94) as u8
    }

    pub fn parse(&self, probe: &Probe<'_>) -> Result<Vec<AlertFields>, ParseError> {
        let b = probe.need("generic")?;
        let mut d = Draft::default();
        let text = |field: &str| self.value(b, field).map(|v| keep(&v));
        d.f.rule_id = text("rule_id");
        d.f.rule_name = text("rule_name");
        d.f.title = text("title").or_else(|| d.f.rule_name.clone()).unwrap_or_default();
        if d.f.title.is_empty() {
            let message = format!("the record has neither title nor rule name where field map `{}` looks", self.name);
            return Err(ParseError::new("generic", message));
        }
        if let Some(said) = self.value(b, "severity") {
            d.f.severity = self.severity(&said);
            d.f.source_severity = Some(keep(&format!("severity {said}")));
        }
        d.f.source_severity = text("source_severity").or(d.f.source_severity);
        let confidence = self.value(b, "confidence").and_then(|c| c.parse::<f64>().ok());
        d.f.confidence = confidence.filter(|c| (0.0..=100.0).contains(c)).map(|c| c.round() as u8);
        self.each(b, "techniques", |t| d.technique(t));
        d.f.host = text("host");
        d.f.user = text("user");
        d.f.process = text("process");
        d.f.command_line = text("command_line");
        let port = |field: &str| self.value(b, field).and_then(|p| p.parse().ok()).filter(|p| *p > 0);
        let (ip, found) = self.value(b, "src_ip").map_or((None, None), |v| draft::ip_port(&v));
        d.source(ip, port("src_port").or(found));
        let (ip, found) = self.value(b, "dst_ip").map_or((None, None), |v| draft::ip_port(&v));
        d.destination(ip, port("dst_port").or(found));
        d.f.t_event = self.value(b, "t_event").and_then(|t| super::time::parse(&t));
        d.f.t_alert = self.value(b, "t_alert").and_then(|t| super::time::parse(&t));
        d.f.product = text("product");
        d.f.source_id = text("source_id").or_else(|| probe.hit_id());
        for (name, kind) in KINDS {
            self.each(b, name, |value| match kind {
                Kind::Ip => d.observe_ip(value),
                Kind::Url => d.observe_url(value),
                kind => d.observe(kind, value),
            });
        }
        Ok(vec![d.done("")])
    }

    fn value<'j>(&'j self, b: &'j Json<'_>, field: &str) -> Option<Cow<'j, str>> {
        match self.fields.get(field)? {
            Place::Text(text) => Some(Cow::Borrowed(text)),
            Place::Path(path) => walk(b, path)?.scalar().filter(|s| !super::json::is_nothing(s)),
        }
    }

    /// Every value of a list.
    fn each(&self, b: &Json<'_>, field: &str, mut use_it: impl FnMut(&str)) {
        match self.fields.get(field) {
            Some(Place::Text(text)) => use_it(text),
            Some(Place::Path(path)) => {
                let found = walk(b, path).map_or(&[][..], Json::items);
                found.iter().filter_map(Json::scalar).take(256).for_each(|v| use_it(&v));
            }
            None => {}
        }
    }

    fn severity(&self, said: &str) -> Severity {
        if let Some((_, severity)) = self.severities.iter().find(|(word, _)| word.eq_ignore_ascii_case(said)) {
            return *severity;
        }
        if !self.severities.is_empty() {
            return Severity::Unknown;
        }
        match said.parse::<i64>() {
            Ok(n @ 0..=6) => Severity::from_id(n),
            Ok(_) => Severity::Unknown,
            Err(_) => Severity::parse(said).unwrap_or_default(),
        }
    }
}

fn severities(name: &str, text: &str) -> Result<Vec<(String, Severity)>, String> {
    let pairs = text.split(',').map(str::trim).filter(|p| !p.is_empty());
    pairs
        .map(|pair| {
            let (said, word) = pair.split_once('=').unwrap_or((pair, ""));
            match Severity::parse(word) {
                Some(severity) => Ok((said.trim().to_owned(), severity)),
                None => Err(format!(
                    "field map `{name}`: severity_map has `{pair}`, expected `theirs=ours` with ours one of {}",
                    Severity::ALL.map(Severity::word).join(", ")
                )),
            }
        })
        .collect()
}

fn place_of(name: &str, field: &str, text: &str) -> Result<Place, String> {
    if let Some(text) = text.strip_prefix('=') {
        return Ok(Place::Text(text.to_owned()));
    }
    if text.is_empty() {
        return Err(format!(
            "field map `{name}`: `{field}` is empty, expected a path such as `a.b[0].c` or `/a/b/0/c`"
        ));
    }
    if let Some(pointer) = text.strip_prefix('/') {
        let part = |p: &str| match p.parse() {
            Ok(index) => Part::Index(index),
            Err(_) => Part::Key(p.replace("~1", "/").replace("~0", "~")),
        };
        return Ok(Place::Path(pointer.split('/').map(part).collect()));
    }
    let mut parts = Vec::new();
    for piece in text.split('[') {
        let (index, keys) = match piece.split_once(']') {
            Some((index, keys)) => (Some(index), keys),
            None => (None, piece),
        };
        if let Some(index) = index {
            let Ok(index) = index.parse() else {
                return Err(format!(
                    "field map `{name}`: `{field}` has `[{index}]`, expected a number in the brackets"
                ));
            };
            parts.push(Part::Index(index));
        }
        let keys = keys.trim_matches('.');
        if !keys.is_empty() {
            parts.push(Part::Keys(keys.to_owned()));
        }
    }
    Ok(Place::Path(parts))
}

fn walk<'j, 'a>(b: &'j Json<'a>, path: &[Part]) -> Option<&'j Json<'a>> {
    path.iter().try_fold(b, |node, part| match (part, node) {
        (Part::Keys(keys), node) => node.at(keys),
        (Part::Key(key), node) => node.get(key),
        (Part::Index(index), Json::Arr(items)) => items.get(*index),
        // In a pointer a number may be the name of a member.
        (Part::Index(index), node) => node.get(&index.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn paths_pointers_and_texts() {
        let pairs = [
            ("title", "det.name"),
            ("host", "/assets/1/h~1n"),
            ("severity", "risk"),
            ("severity_map", "1=low, 9=critical"),
            ("product", "=Acme"),
            ("techniques", "ttp"),
            ("user", "users[0].id"),
            ("dst_ip", "to"),
            ("sha256", "files"),
        ];
        let g = Generic::new("acme", &map(&pairs)).expect("good map");
        let text = r#"{"det":{"name":"Bad"},"assets":[0,{"h/n":"web-1"}],"risk":9,"ttp":["T1059","x"],"users":[{"id":7}],"to":"10.0.0.9:443","files":["aa","bb"]}"#;
        let probe = Probe::new(text);
        assert!(g.sniff(&probe) > 90);
        let f = g.parse(&probe).expect("reads").remove(0);
        assert_eq!((f.title.expose(), f.host.as_ref().map(|h| h.expose())), ("Bad", Some("web-1")));
        assert_eq!((f.severity, f.techniques.as_slice()), (Severity::Critical, &["T1059".to_owned()][..]));
        assert_eq!(f.user.as_ref().map(|u| u.expose()), Some("7"));
        assert_eq!((f.dst_ip, f.dst_port, f.observables.len()), ("10.0.0.9".parse().ok(), Some(443), 2));
    }

    #[test]
    fn faults_name_what_is_near() {
        let err = |pairs: &[(&str, &str)]| Generic::new("m", &map(pairs)).expect_err("bad map");
        assert!(err(&[("titel", "a")]).contains("nearest is `title`"));
        assert!(err(&[("title", "a[x]")]).contains("expected a number"));
        assert!(err(&[("host", "a")]).contains("needs `title`"));
        assert!(err(&[("title", "a"), ("severity_map", "1=bad")]).contains("critical"));
    }
}
