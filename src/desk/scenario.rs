//! The bundled demo scenario: about twenty minutes of an invented freight company, with one intrusion in it.
//!
//! A scenario is NDJSON, one record a line: `{"at": seconds, "record": "the record's own bytes", "step": "lsass"}`.
//! `at` counts from the start; `step` names the stage of the intrusion and is absent from noise. Times inside a record
//! are markers, `@@T+12.5:rfc3339@@`, that stand for a scenario second in one of the ways of [`Style`]. Replaying turns
//! them into real times. That is a pure function of the record, the start and the speed, so a replay never looks at the
//! clock and the same start gives the same bytes.
//!
//! Hosts and people are invented, addresses are private (RFC 1918) or for documentation (RFC 5737), domains end in
//! `.example`.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// Longest marker, delimiters included; anything longer is not one.
const MARKER_MAX: usize = 40;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScenarioError {
    #[error("scenario line {line}: {what}")]
    Line { line: usize, what: String },
    #[error("scenario holds no record")]
    Empty,
}

/// A scenario and the mapping from its seconds to real time.
#[derive(Clone, Debug)]
pub struct Scenario {
    records: Vec<Record>,
    clock: Clock,
}

#[derive(Clone, Debug)]
struct Record {
    at: f64,
    pieces: Vec<Piece>,
    step: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Time { second: f64, style: Style },
}

/// Scenario second `anchor` is `real`, and from there `speed` scenario seconds pass in one real second.
#[derive(Clone, Copy, Debug)]
struct Clock {
    anchor: f64,
    real: Timestamp,
    speed: f64,
}

/// How a time is written inside a record; all in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// `2026-01-05T09:00:00.000Z`
    Rfc3339,
    /// `2026-01-05T09:00:00.000000+0000`
    Suricata,
    /// `2026-01-05T09:00:00.000+0000`
    Wazuh,
    /// `2026-01-05 09:00:00.000`, as in Windows events.
    Space,
    /// `2026-01-05 09:00:00.000 +00:00`
    Hayabusa,
    /// `2026-01-05T09:00:00.0000000Z`
    Defender,
    /// `Jan  5 09:00:00`, RFC 3164.
    Syslog,
    EpochSeconds,
    EpochMillis,
}

impl Style {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "rfc3339" => Self::Rfc3339,
            "suricata" => Self::Suricata,
            "wazuh" => Self::Wazuh,
            "space" => Self::Space,
            "hayabusa" => Self::Hayabusa,
            "defender" => Self::Defender,
            "syslog" => Self::Syslog,
            "epoch_s" => Self::EpochSeconds,
            "epoch_ms" => Self::EpochMillis,
            _ => return None,
        })
    }

    fn write(self, t: Timestamp) -> String {
        let pattern = match self {
            Self::Rfc3339 => "%Y-%m-%dT%H:%M:%S%.3fZ",
            Self::Suricata => "%Y-%m-%dT%H:%M:%S%.6f+0000",
            Self::Wazuh => "%Y-%m-%dT%H:%M:%S%.3f+0000",
            Self::Space => "%Y-%m-%d %H:%M:%S%.3f",
            Self::Hayabusa => "%Y-%m-%d %H:%M:%S%.3f +00:00",
            Self::Defender => "%Y-%m-%dT%H:%M:%S%.7fZ",
            Self::Syslog => "%b %e %H:%M:%S",
            Self::EpochSeconds => return t.as_second().to_string(),
            Self::EpochMillis => return t.as_millisecond().to_string(),
        };
        t.strftime(pattern).to_string()
    }
}

impl Clock {
    /// What lies before the start is history and keeps its own pace: three hours ago stays three hours ago at any speed.
    fn real(&self, second: f64) -> Timestamp {
        let real = (second.max(0.0) - self.anchor) / self.speed + second.min(0.0);
        let millis = SignedDuration::from_millis((real * 1000.0).round() as i64);
        self.real.checked_add(millis).unwrap_or(self.real)
    }
}

impl Scenario {
    /// The scenario that ships with the program, starting at 2026-01-05T09:00:00Z until [`Self::starting`] says other.
    pub fn bundled() -> Result<Self, ScenarioError> {
        Self::parse(include_str!("../../assets/demo/scenario.ndjson"))
    }

    /// Reads a scenario. Records are put in order of their time.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Line {
            at: f64,
            record: String,
            #[serde(default)]
            step: Option<String>,
        }
        let mut records = Vec::new();
        for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let wrong = |what: String| ScenarioError::Line { line: i + 1, what };
            let line: Line = serde_json::from_str(line).map_err(|e| wrong(e.to_string()))?;
            if !line.at.is_finite() || line.at < 0.0 {
                return Err(wrong(format!("`at` is {}, expected seconds from the start, 0 or more", line.at)));
            }
            let pieces = compile(&line.record).map_err(wrong)?;
            records.push(Record { at: line.at, pieces, step: line.step });
        }
        if records.is_empty() {
            return Err(ScenarioError::Empty);
        }
        records.sort_by(|a, b| a.at.total_cmp(&b.at));
        let real = Timestamp::from_second(1_767_603_600).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(Self { records, clock: Clock { anchor: 0.0, real, speed: 1.0 } })
    }

    /// The same scenario beginning at `start`, with `speed` scenario seconds to one real second.
    #[must_use]
    pub fn starting(mut self, start: Timestamp, speed: f64) -> Self {
        self.retime(0.0, start, speed);
        self
    }

    /// Says that scenario second `second` is `real` and that time runs at `speed` from there: call it when the speed
    /// changes or a pause ends. A speed that is not a positive number counts as 1.
    pub fn retime(&mut self, second: f64, real: Timestamp, speed: f64) {
        let speed = if speed.is_finite() && speed > 0.0 { speed } else { 1.0 };
        self.clock = Clock { anchor: second.max(0.0), real, speed };
    }

    /// Records with `from <= at < to`, in order, each as its own bytes with real times in it.
    pub fn due(&self, from: f64, to: f64) -> impl Iterator<Item = (f64, Vec<u8>)> + '_ {
        let first = self.records.partition_point(|r| r.at < from);
        let records = self.records.get(first..).unwrap_or_default();
        records.iter().take_while(move |r| r.at < to).map(|r| (r.at, r.render(&self.clock)))
    }

    /// The stages of the intrusion with the second each record of theirs appears.
    pub fn steps(&self) -> impl Iterator<Item = (f64, &str)> {
        self.records.iter().filter_map(|r| r.step.as_deref().map(|s| (r.at, s)))
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Scenario seconds until the last record.
    pub fn duration(&self) -> f64 {
        self.records.last().map_or(0.0, |r| r.at)
    }
}

impl Record {
    fn render(&self, clock: &Clock) -> Vec<u8> {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(t) => out.push_str(t),
                Piece::Time { second, style } => out.push_str(&style.write(clock.real(*second))),
            }
        }
        out.into_bytes()
    }
}

/// Cuts a record at its markers. A malformed marker is an error, so that none can reach the screen.
fn compile(record: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = record;
    while let Some(start) = rest.find("@@T") {
        let (text, marked) = rest.split_at(start);
        let body = &marked[3..];
        let end = body.find("@@").filter(|e| e + 5 <= MARKER_MAX);
        let piece = end.and_then(|e| body[..e].split_once(':')).and_then(|(second, style)| {
            let second: f64 = second.parse().ok().filter(|s: &f64| s.is_finite())?;
            Some(Piece::Time { second, style: Style::parse(style)? })
        });
        let (Some(end), Some(piece)) = (end, piece) else {
            let shown: String = marked.chars().take(MARKER_MAX).collect();
            return Err(format!("`{}` is no time marker, expected @@T+12.5:rfc3339@@", shown.escape_debug()));
        };
        pieces.push(Piece::Text(text.to_owned()));
        pieces.push(piece);
        rest = &body[end + 2..];
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(s: &Scenario) -> Vec<(f64, String)> {
        s.due(0.0, f64::INFINITY).map(|(at, r)| (at, String::from_utf8(r).unwrap())).collect()
    }

    #[test]
    fn bundled_is_large_alive_at_once_and_twenty_minutes_long() {
        let s = Scenario::bundled().unwrap();
        assert!(s.len() >= 420, "{}", s.len());
        assert!(s.due(0.0, 2.0).count() >= 40);
        assert!((1000.0..1300.0).contains(&s.duration()), "{}", s.duration());
        assert_eq!(all(&s).len(), s.len());
    }

    #[test]
    fn windows_of_a_replay_neither_miss_nor_double() {
        let s = Scenario::bundled().unwrap();
        let mut n = 0;
        for tick in 0..1300 {
            n += s.due(f64::from(tick), f64::from(tick + 1)).count();
        }
        assert_eq!(n, s.len());
    }

    #[test]
    fn no_marker_is_left_and_json_records_are_json() {
        let s = Scenario::bundled().unwrap();
        let (mut json, mut syslog) = (0, 0);
        for (at, r) in all(&s) {
            assert!(!r.contains("@@T"), "{at}: {r}");
            if r.starts_with('{') {
                serde_json::from_str::<serde_json::Value>(&r).unwrap_or_else(|e| panic!("{at}: {e}: {r}"));
                json += 1;
            } else {
                assert!(r.starts_with('<') && (r.contains(" CEF:0|") || r.contains(" LEEF:2.0|")), "{r}");
                syslog += 1;
            }
        }
        assert!(json > 300 && syslog > 60, "{json} {syslog}");
    }

    /// Alertmanager sends a firing alert again and again: those repeats are wanted, no others.
    #[test]
    fn only_alertmanager_repeats_itself() {
        let s = Scenario::bundled().unwrap();
        let mut seen = std::collections::HashSet::new();
        let repeats: Vec<_> = all(&s).into_iter().map(|(_, r)| r).filter(|r| !seen.insert(r.clone())).collect();
        assert!(!repeats.is_empty());
        assert!(repeats.iter().all(|r| r.contains("\"groupKey\"")));
    }

    #[test]
    fn the_intrusion_runs_in_its_order() {
        let s = Scenario::bundled().unwrap();
        let mut firsts: Vec<&str> = Vec::new();
        for (_, step) in s.steps() {
            if !firsts.contains(&step) {
                firsts.push(step);
            }
        }
        let order = [
            "phishing",
            "macro",
            "powershell",
            "beacon",
            "discovery",
            "lsass",
            "account",
            "lateral",
            "evasion",
            "backup",
            "staging",
        ];
        assert_eq!(firsts, order);
    }

    #[test]
    fn times_are_a_pure_function_of_start_and_speed() {
        let text = r#"{"at": 60, "record": "@@T+60:rfc3339@@ @@T-10:epoch_s@@ @@T+60:syslog@@ @@T+60:epoch_ms@@"}"#;
        let start: Timestamp = "2026-03-02T10:00:00Z".parse().unwrap();
        let at = |speed| all(&Scenario::parse(text).unwrap().starting(start, speed))[0].1.clone();
        assert_eq!(at(1.0), "2026-03-02T10:01:00.000Z 1772445590 Mar  2 10:01:00 1772445660000");
        assert_eq!(at(60.0), "2026-03-02T10:00:01.000Z 1772445590 Mar  2 10:00:01 1772445601000");
        assert_eq!(at(60.0), at(60.0));
        let mut s = Scenario::parse(text).unwrap();
        s.retime(30.0, start, 10.0);
        assert!(all(&s)[0].1.starts_with("2026-03-02T10:00:03.000Z"), "{:?}", all(&s));
    }

    #[test]
    fn faults_name_their_line() {
        let bad = "{\"at\": 0, \"record\": \"x\"}\n{\"at\": 1, \"record\": \"@@T+x:rfc3339@@\"}";
        let e = Scenario::parse(bad).unwrap_err().to_string();
        assert!(e.contains("line 2") && e.contains("no time marker"), "{e}");
        let e = Scenario::parse("{\"at\": -1, \"record\": \"x\"}").unwrap_err().to_string();
        assert!(e.contains("line 1") && e.contains("`at` is -1"), "{e}");
        assert_eq!(Scenario::parse("\n").unwrap_err(), ScenarioError::Empty);
        assert!(Scenario::parse("{\"at\": 0, \"record\": \"@@T+1:\u{1b}]0;x\"}").unwrap_err().to_string().is_ascii());
    }

    /// Every record is read by a parser that knows its format, and says what an analyst needs first.
    #[test]
    fn every_record_parses_with_entity_rule_and_severity() {
        use crate::intake::format::Reader;
        use crate::model::severity::Severity;
        let start: Timestamp = "2026-03-02T10:00:00Z".parse().unwrap();
        let s = Scenario::bundled().unwrap().starting(start, 1.0);
        let mut reader = Reader::auto();
        let (mut formats, mut lacking) = (std::collections::BTreeMap::<String, usize>::new(), Vec::new());
        for (at, record) in s.due(0.0, f64::INFINITY) {
            let shown = String::from_utf8_lossy(&record).into_owned();
            let (format, alerts) = reader.read(&record).unwrap_or_else(|e| panic!("{at}: {e}: {shown}"));
            *formats.entry(format.clone()).or_default() += 1;
            assert!(!alerts.is_empty(), "{shown}");
            for a in alerts {
                let entity = a.host.is_some() || a.user.is_some() || a.src_ip.is_some();
                let rule = a.rule_id.is_some() || a.rule_name.is_some();
                let when = a.t_event.or(a.t_alert);
                let late = when.map(|w| w.as_second() - start.as_second() - at as i64);
                let timed = late.is_some_and(|l| {
                    (-60..=1).contains(&l) || at < 2.0 && (-11_000..=1).contains(&l) || format == "alertmanager"
                });
                if !entity || !rule || a.severity == Severity::Unknown || !timed || a.title.is_empty() {
                    lacking.push(format!("{format}: {entity} {rule} {:?} {late:?} {shown:.300}", a.severity));
                }
            }
        }
        assert!(formats.len() >= 7, "{formats:?}");
        assert!(lacking.is_empty(), "{} lack something:\n{}", lacking.len(), lacking.join("\n"));
    }

    #[test]
    fn the_people_and_assets_of_the_demo_are_read() {
        let demo = |name: &str| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo").join(name);
        let people = crate::config::roster::read(&demo("roster.toml")).unwrap().roster.people;
        assert_eq!(people.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["alice", "bob", "carol"]);
        let assets = crate::config::inventory::read(&demo("inventory.csv")).unwrap();
        assert!(assets.len() > 40);
        let actions = crate::respond::catalogue::Catalogue::load(&demo("actions.toml")).unwrap();
        assert!(actions.defs().iter().all(|a| a.executor.word() == "demo") && actions.defs().len() >= 8);
        crate::respond::policy::Policy::load(&demo("policy.toml")).unwrap();
    }

    #[test]
    fn only_reserved_addresses_and_names() {
        let ip = regex::Regex::new(r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b").unwrap();
        for (_, r) in all(&Scenario::bundled().unwrap()) {
            for m in ip.find_iter(&r) {
                let ok = ["10.20.", "198.51.100.", "203.0.113."].iter().any(|p| m.as_str().starts_with(p));
                assert!(ok, "{} in {r}", m.as_str());
            }
            assert!(!r.contains(".com") && !r.contains(".net/"), "{r}");
        }
    }
}
