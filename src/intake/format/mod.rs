//! One parser per format.
//!
//! ```text
//! bytes --Splitter--> records --Reader--> (format id, alerts) | ParseError (a dead letter)
//! ```
//!
//! A parser turns one record into the fields every alert shares; it never fails on what it does not know, only on
//! what it cannot read. A new format is one file here and one row in [`all`].

mod draft;
mod json;
mod probe;
mod scan;
mod scanner;
pub mod split;
mod time;

mod alertmanager;
mod aminer;
mod cef;
mod defender;
mod ecs;
mod generic;
mod hayabusa;
mod leef;
mod ocsf;
mod opensearch_sa;
mod pairs;
mod suricata;
mod syslog;
mod wazuh;
mod windows;

pub use probe::{Probe, decode};
pub use split::{MAX_RECORD, Record, Splitter};

use std::collections::BTreeMap;

use crate::model::alert::AlertFields;
use crate::model::fields::Field;
use crate::model::severity::Severity;
use crate::text::Untrusted;

/// Why a record cannot be read: what is wrong and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{format}: {}", message.expose())]
pub struct ParseError {
    pub format: &'static str,
    pub message: Untrusted,
}

impl ParseError {
    pub fn new(format: &'static str, message: impl Into<String>) -> Self {
        Self { format, message: Untrusted::new(message) }
    }
}

/// One alert format.
pub trait Format: Send + Sync {
    /// As in `--format`, lower case.
    fn id(&self) -> &'static str;

    /// For people.
    fn title(&self) -> &'static str;

    /// 0 = surely not, 100 = surely; cheap. From [`SURE`] on no other format can be meant.
    fn sniff(&self, probe: &Probe<'_>) -> u8;

    /// Reads the record; it may hold several alerts (an Alertmanager body does).
    fn parse(&self, probe: &Probe<'_>) -> Result<Vec<AlertFields>, ParseError>;

    /// Leaves of the record for detail pane, quotes and prompts.
    fn leaves(&self, probe: &Probe<'_>) -> Vec<Field> {
        probe.body().map(json::Json::leaves).unwrap_or_default()
    }
}

/// A format that sniffs this high is taken without asking the others.
pub const SURE: u8 = 95;

/// Below this no format is taken.
const LIKELY: u8 = 50;

/// Every built-in format. Generic JSON is not here: it needs a field map.
pub fn all() -> &'static [&'static dyn Format] {
    &[
        &wazuh::Wazuh,
        &suricata::Suricata,
        &windows::Windows,
        &ocsf::Ocsf,
        &aminer::Aminer,
        &ecs::Ecs,
        &defender::Defender,
        &opensearch_sa::OpensearchSa,
        &hayabusa::Hayabusa,
        &alertmanager::Alertmanager,
        &cef::Cef,
        &leef::Leef,
        &syslog::Syslog,
    ]
}

/// The format with this id.
pub fn by_id(id: &str) -> Option<&'static dyn Format> {
    all().iter().copied().find(|f| f.id() == id)
}

/// Reads records of one chosen format, or of whatever each record turns out to be.
pub struct Reader {
    choice: Choice,
    /// The last hit, asked first.
    last: Option<&'static dyn Format>,
    maps: Vec<generic::Generic>,
}

enum Choice {
    Auto,
    Fixed(&'static dyn Format),
    /// Index of a field map.
    Map(usize),
}

impl Reader {
    /// Detects the format of every record.
    pub fn auto() -> Self {
        Self { choice: Choice::Auto, last: None, maps: Vec::new() }
    }

    /// Reads one format, or detects when `format` is `None` or `auto`. `generic` holds the user's field maps by name;
    /// such a map is chosen as `generic:NAME`, as `NAME`, or as `generic` when there is only one, and when detecting
    /// it is tried where no built-in format fits.
    ///
    /// # Errors
    /// Names the nearest format when there is none of this name; says what is wrong with a field map.
    pub fn new(format: Option<&str>, generic: &BTreeMap<String, BTreeMap<String, String>>) -> Result<Self, String> {
        let maps: Vec<_> =
            generic.iter().map(|(name, map)| generic::Generic::new(name, map)).collect::<Result<_, _>>()?;
        let choice = match format {
            None | Some("auto") => Choice::Auto,
            Some("generic") if maps.len() == 1 => Choice::Map(0),
            Some("generic") if maps.is_empty() => {
                return Err("format `generic` needs a field map: add one under [intake.generic.NAME]".to_owned());
            }
            Some(id) => {
                let name = id.strip_prefix("generic:").unwrap_or(id);
                match (maps.iter().position(|m| m.name == name), by_id(id)) {
                    (_, Some(f)) => Choice::Fixed(f),
                    (Some(index), None) => Choice::Map(index),
                    (None, None) => return Err(unknown(id, &maps)),
                }
            }
        };
        Ok(Self { choice, last: None, maps })
    }

    /// Reads one record: the format it has (`generic:NAME` for a field map), and its alerts.
    ///
    /// # Errors
    /// When no format knows it or it is broken; the message says what was expected.
    pub fn read(&mut self, record: &[u8]) -> Result<(String, Vec<AlertFields>), ParseError> {
        if record.len() > MAX_RECORD {
            return Err(ParseError::new("record", format!("longer than {MAX_RECORD} bytes")));
        }
        let text = decode(record);
        let probe = Probe::new(&text);
        let format = match &self.choice {
            Choice::Fixed(f) => Some(*f),
            Choice::Map(index) => return self.mapped(*index, &probe),
            Choice::Auto => self.detect(&probe),
        };
        if let Some(format) = format {
            return Ok((format.id().to_owned(), format.parse(&probe)?));
        }
        let scores = self.maps.iter().enumerate().map(|(i, m)| (m.sniff(&probe), i));
        match scores.max().filter(|(score, _)| *score >= LIKELY) {
            Some((_, index)) => self.mapped(index, &probe),
            None => Err(ParseError::new("auto", nothing_fits(&probe))),
        }
    }

    fn mapped(&self, index: usize, probe: &Probe<'_>) -> Result<(String, Vec<AlertFields>), ParseError> {
        let map = &self.maps[index];
        Ok((format!("generic:{}", map.name), map.parse(probe)?))
    }

    fn detect(&mut self, probe: &Probe<'_>) -> Option<&'static dyn Format> {
        if let Some(last) = self.last
            && last.sniff(probe) >= SURE
        {
            return Some(last);
        }
        let found = all().iter().map(|f| (f.sniff(probe), *f)).max_by_key(|(score, _)| *score);
        let found = found.filter(|(score, _)| *score >= LIKELY).map(|(_, f)| f);
        self.last = found.or(self.last);
        found
    }
}

/// A log level is how loud a program is about itself, not how bad a detection is, so it is read one step lower than
/// the same word of a detector: emergency and alert Critical, critical High, error Medium, warning Low, the rest
/// Informational.
fn log_level(word: &str) -> Severity {
    match word.trim().to_ascii_lowercase().as_str() {
        "emergency" | "emerg" | "panic" | "alert" => Severity::Critical,
        "critical" | "crit" | "fatal" => Severity::High,
        "error" | "err" => Severity::Medium,
        "warning" | "warn" => Severity::Low,
        "notice" | "information" | "informational" | "info" | "debug" | "trace" | "verbose" => Severity::Informational,
        _ => Severity::Unknown,
    }
}

/// The word of `known` that looks most like `word`.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    let score = |k: &&str| strsim::jaro_winkler(k, word);
    known.max_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or_default()
}

fn unknown(id: &str, maps: &[generic::Generic]) -> String {
    let known: Vec<&str> = all().iter().map(|f| f.id()).chain(maps.iter().map(|m| m.name.as_str())).collect();
    let near = nearest(id, known.iter().copied());
    format!("no format `{id}`; nearest is `{near}` (there are: auto, generic, {})", known.join(", "))
}

fn nothing_fits(probe: &Probe<'_>) -> String {
    match probe.body() {
        Some(json::Json::Obj(members)) => {
            let keys: Vec<String> = members.iter().take(8).map(|(k, _)| probe::head(k)).collect();
            format!("no format knows a JSON object with the keys {}", keys.join(", "))
        }
        _ if probe.is_json() => probe.fault(),
        _ if probe.text().starts_with(['\u{fffd}', '\0']) => {
            "no text in UTF-8 (UTF-16 needs converting first), expected JSON, CEF, LEEF or syslog".to_owned()
        }
        _ => {
            let start = probe::head(probe.text());
            format!("expected a JSON object, CEF, LEEF or a syslog line, found text that starts with `{start}`")
        }
    }
}

/// Leaves of a record of this format (as [`Reader::read`] named it); empty when it cannot be read.
pub fn leaves(format: &str, record: &[u8]) -> Vec<Field> {
    let text = decode(record);
    let probe = Probe::new(&text);
    match by_id(format) {
        Some(f) => f.leaves(&probe),
        None => probe.body().map(json::Json::leaves).unwrap_or_default(),
    }
}
