//! Labelled records: NDJSON lines, and the CSV of the AIT Alert Data Set.

use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::model::alert::Disposition;
use crate::text::Untrusted;

/// Longest line read, in bytes.
pub const MAX_LINE: usize = 4 << 20;

/// Name of the field map that reads the records made of the data set's rows.
pub const AIT_ADS: &str = "ait-ads";

/// The columns of the AIT Alert Data Set (<https://zenodo.org/records/8263181>, `alerts_csv`), in order.
const COLUMNS: &str = "time,name,ip,host,short,time_label,event_label";

/// One record and what it is known to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    pub disposition: Disposition,
    /// Such as `wazuh`; empty: the format that reads it.
    pub source: String,
    /// Format that must read it; `None`: detected.
    pub format: Option<String>,
    pub record: Vec<u8>,
    /// From 1.
    pub line: u64,
}

impl Labelled {
    /// Was it an attack? `None`: nobody knows.
    pub fn attack(&self) -> Option<bool> {
        match self.disposition {
            Disposition::TruePositive => Some(true),
            Disposition::BenignTruePositive | Disposition::FalsePositive => Some(false),
            Disposition::Undetermined => None,
        }
    }
}

/// A line that is no labelled record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub line: u64,
    /// Field of the line; empty: the line itself.
    pub field: &'static str,
    /// What was found and what was expected. May quote the line.
    pub what: Untrusted,
}

impl Fault {
    fn new(line: u64, field: &'static str, what: impl Into<String>) -> Self {
        Self { line, field, what: Untrusted::new(what) }
    }
}

/// The word of a label, any case, `_` or `-` between words.
pub fn disposition(label: &str) -> Option<Disposition> {
    let word = label.trim().to_ascii_lowercase().replace(['-', ' '], "_");
    Some(match word.as_str() {
        "attack" | "malicious" | "true_positive" | "tp" => Disposition::TruePositive,
        "benign" | "normal" | "false_positive" | "fp" => Disposition::FalsePositive,
        "benign_true_positive" | "btp" => Disposition::BenignTruePositive,
        "undetermined" | "unknown" => Disposition::Undetermined,
        _ => return None,
    })
}

const LABELS: &str =
    "attack, benign, malicious, normal, true_positive, benign_true_positive, false_positive or undetermined";

/// Which part of a file is meant: the `part`th of `parts`, from 1, by SHA-256 of each line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub part: u64,
    pub parts: u64,
}

impl Part {
    /// `K/N`.
    pub fn parse(text: &str) -> Option<Self> {
        let (part, parts) = text.split_once('/')?;
        let (part, parts) = (part.parse().ok()?, parts.parse().ok()?);
        (part >= 1 && part <= parts && parts <= 1_000_000).then_some(Self { part, parts })
    }

    /// Whether this line (without its line end) belongs to it: the first eight bytes of the SHA-256, big-endian, modulo
    /// `parts`.
    pub fn holds(&self, line: &str) -> bool {
        let digest = Sha256::digest(line.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        u64::from_be_bytes(first) % self.parts == self.part - 1
    }
}

/// Reads a whole file: NDJSON, or the data set's CSV when its first line names those columns. Lines outside `part` are
/// left out; empty lines too.
pub fn read(text: &str, source: &str, part: Option<Part>) -> (Vec<Labelled>, Vec<Fault>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let csv = text.lines().next().is_some_and(|l| l.trim() == COLUMNS);
    for (n, line) in text.lines().enumerate().skip(usize::from(csv)) {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || part.is_some_and(|p| !p.holds(line)) {
            continue;
        }
        let n = n as u64 + 1;
        match if csv { row(n, line) } else { self::line(n, line, source) } {
            Ok(labelled) => good.push(labelled),
            Err(fault) => bad.push(fault),
        }
    }
    (good, bad)
}

/// One line: `{"label": "attack", "alert": {...} or "text", "source": "wazuh", "format": "wazuh"}`; the last two may be
/// left out, other members are ignored.
///
/// # Errors
/// Names the field and what was expected.
pub fn line(n: u64, line: &str, source: &str) -> Result<Labelled, Fault> {
    let map = object(n, line)?;
    let label = match map.get("label") {
        Some(Value::String(label)) => label,
        Some(other) => return Err(Fault::new(n, "label", format!("expected a text, found {}", sort(other)))),
        None => return Err(Fault::new(n, "label", format!("is not there; expected {LABELS}"))),
    };
    let disposition = disposition(label).ok_or_else(|| {
        let found = crate::text::front(label, 40);
        Fault::new(n, "label", format!("{found:?} is none of {LABELS}"))
    })?;
    Ok(Labelled {
        disposition,
        source: word(n, &map, "source")?.unwrap_or_else(|| source.to_owned()),
        format: word(n, &map, "format")?,
        record: record(n, &map, "alert")?,
        line: n,
    })
}

pub(super) fn object(n: u64, line: &str) -> Result<Map<String, Value>, Fault> {
    if line.len() > MAX_LINE {
        return Err(Fault::new(n, "", format!("longer than {MAX_LINE} bytes")));
    }
    match serde_json::from_str(line) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(Fault::new(n, "", format!("expected a JSON object, found {}", sort(&other)))),
        Err(e) => Err(Fault::new(n, "", format!("no JSON: {e}"))),
    }
}

/// A record as an object or as the text it came as.
pub(super) fn record(n: u64, map: &Map<String, Value>, field: &'static str) -> Result<Vec<u8>, Fault> {
    match map.get(field) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.as_bytes().to_vec()),
        Some(object @ Value::Object(_)) => Ok(object.to_string().into_bytes()),
        Some(other) => Err(Fault::new(n, field, format!("expected an object or a text, found {}", sort(other)))),
        None => Err(Fault::new(n, field, "is not there; expected the alert as an object or a text")),
    }
}

pub(super) fn word(n: u64, map: &Map<String, Value>, field: &'static str) -> Result<Option<String>, Fault> {
    match map.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(crate::text::front(text, 100).to_owned())),
        Some(other) => Err(Fault::new(n, field, format!("expected a text, found {}", sort(other)))),
    }
}

fn sort(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// One row of the data set. An event of its own label was part of the attack. One without, in an interval of the attack,
/// may be either and is filed as undetermined; all others are false alarms. `name` is the rule's name; that of Wazuh's
/// rules has `Wazuh: ` put before it by the data set.
fn row(n: u64, line: &str) -> Result<Labelled, Fault> {
    let cells: Vec<&str> = line.split(',').collect();
    // Only the name may hold a comma.
    let ([time, ..], [ip, host, short, interval, event]) =
        (cells.as_slice(), cells.last_chunk::<5>().unwrap_or(&[""; 5]))
    else {
        return Err(Fault::new(n, "", format!("expected the columns {COLUMNS}")));
    };
    if cells.len() < 7 {
        return Err(Fault::new(n, "", format!("{} columns, expected {COLUMNS}", cells.len())));
    }
    let name = cells[1..cells.len() - 5].join(",");
    let at = time.parse().ok().and_then(|s: i64| Timestamp::from_second(s).ok());
    let at = at.ok_or_else(|| Fault::new(n, "time", "expected seconds since 1970"))?;
    let disposition = match (*interval, *event) {
        ("false_positive", "-") => Disposition::FalsePositive,
        (_, "-") => Disposition::Undetermined,
        _ => Disposition::TruePositive,
    };
    let record = serde_json::json!({
        "time": at.to_string(), "name": name.strip_prefix("Wazuh: ").unwrap_or(&name), "ip": ip, "host": host,
        "detector": short, "row": n,
    });
    Ok(Labelled {
        disposition,
        source: AIT_ADS.to_owned(),
        format: Some(AIT_ADS.to_owned()),
        record: record.to_string().into_bytes(),
        line: n,
    })
}

/// The field map that reads a converted row.
pub fn ait_ads_map() -> std::collections::BTreeMap<String, String> {
    [
        ("rule_name", "name"),
        ("title", "name"),
        ("host", "host"),
        ("ip", "ip"),
        ("t_event", "time"),
        ("t_alert", "time"),
        ("source_id", "row"),
    ]
    .map(|(field, place)| (field.to_owned(), place.to_owned()))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_many_words() {
        for (word, want) in [
            ("attack", Some(Disposition::TruePositive)),
            ("Malicious", Some(Disposition::TruePositive)),
            ("TRUE-POSITIVE", Some(Disposition::TruePositive)),
            ("benign", Some(Disposition::FalsePositive)),
            ("normal ", Some(Disposition::FalsePositive)),
            ("benign true positive", Some(Disposition::BenignTruePositive)),
            ("unknown", Some(Disposition::Undetermined)),
            ("evil", None),
            ("", None),
        ] {
            assert_eq!(disposition(word), want, "{word}");
        }
    }

    #[test]
    fn a_bad_line_names_its_field_and_the_others_are_read() {
        let text = "{\"label\":\"attack\",\"alert\":{\"a\":1}}\n\nnope\n{\"alert\":{}}\n{\"label\":\"x\",\"alert\":{}}\n{\"label\":\"benign\",\"alert\":7}\n{\"label\":\"benign\",\"alert\":\"CEF:0|..\",\"source\":\"s\"}\r\n[1]\n{\"label\":\"benign\",\"alert\":{},\"source\":4}";
        let (good, bad) = read(text, "file", None);
        let got: Vec<_> = good.iter().map(|g| (g.line, g.attack(), g.source.as_str(), g.record.as_slice())).collect();
        assert_eq!(got, [(1, Some(true), "file", &b"{\"a\":1}"[..]), (7, Some(false), "s", b"CEF:0|..")]);
        let got: Vec<_> = bad.iter().map(|b| (b.line, b.field)).collect();
        assert_eq!(got, [(3, ""), (4, "label"), (5, "label"), (6, "alert"), (8, ""), (9, "source")]);
    }

    #[test]
    fn rows_of_the_alert_data_set() {
        let text = "time,name,ip,host,short,time_label,event_label\n\
            1643070002,Wazuh: IDS event.,172.27.180.4,inet-firewall,W-All-Evt,false_positive,-\n\
            1643070002,AMiner: a, b,10.0.0.1,web,A-x,dirb,dirb\n\
            1643070003,Wazuh: IDS event.,172.27.180.4,fw,W-All-Evt,dnsteal,-\n\
            never,x,1,2,3,4,5\n\
            1643070003,x\n";
        let (good, bad) = read(text, "ads.csv", None);
        let labels: Vec<_> = good.iter().map(|g| g.attack()).collect();
        assert_eq!(labels, [Some(false), Some(true), None]);
        let first: Value = serde_json::from_slice(&good[0].record).unwrap();
        assert_eq!((&first["name"], &first["time"]), (&"IDS event.".into(), &"2022-01-25T00:20:02Z".into()));
        let second: Value = serde_json::from_slice(&good[1].record).unwrap();
        assert_eq!((&second["name"], &second["ip"]), (&"AMiner: a, b".into(), &"10.0.0.1".into()));
        assert_eq!(bad.iter().map(|b| (b.line, b.field)).collect::<Vec<_>>(), [(5, "time"), (6, "")]);
    }

    #[test]
    fn parts_share_a_file_out_and_stay_what_they_are() {
        let lines: Vec<String> =
            (0..400).map(|i| format!("{{\"label\":\"benign\",\"alert\":{{\"n\":{i}}}}}")).collect();
        let text = lines.join("\n");
        let part = |p: &str| read(&text, "f", Part::parse(p)).0;
        assert_eq!(part("1/2").len() + part("2/2").len(), 400);
        assert!(part("1/2").len() > 150 && part("2/2").len() > 150);
        let mut quarters = part("1/4");
        quarters.extend(part("3/4"));
        quarters.sort_by_key(|l| l.line);
        assert_eq!(quarters, part("1/2"), "the quarters of a half");
        // SHA-256 of "abc" begins ba7816bf8f01cfea: even.
        assert!(Part { part: 1, parts: 2 }.holds("abc"));
        for bad in ["0/2", "3/2", "1", "a/b", "1/0", ""] {
            assert_eq!(Part::parse(bad), None, "{bad}");
        }
    }
}
