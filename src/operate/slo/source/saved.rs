//! Saved answers: OpenMetrics text with times, or the JSON of `query_range`.

use std::collections::BTreeMap;
use std::path::Path;

use super::prometheus::Fault;
use super::prometheus::Tracks;
use super::prometheus::number;
use super::query::unescape;
use crate::model::health::SourceWord;
use crate::operate::slo::series::Sample;

const FILE_MAX: u64 = 512 << 20;

pub fn read(path: &Path) -> Result<Tracks, Fault> {
    let wrong = |why: String| Fault::new(SourceWord::Unreadable, format!("{}: {why}", path.display()));
    let meta = std::fs::metadata(path).map_err(|e| Fault { word: SourceWord::Lost, ..wrong(e.to_string()) })?;
    if meta.len() > FILE_MAX {
        return Err(wrong("longer than 512 MiB".into()));
    }
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    parse(&text).map_err(|f| Fault { word: f.word, ..wrong(f.why) })
}

/// The text of such a file: JSON when it begins with a brace.
pub fn parse(text: &str) -> Result<Tracks, Fault> {
    if text.trim_start().starts_with('{') {
        return super::prometheus::parse(text);
    }
    open_metrics(text).map_err(|why| Fault::new(SourceWord::Unreadable, why))
}

/// `name{label="value"} value seconds`; comments, exemplars and `# EOF` are passed over.
fn open_metrics(text: &str) -> Result<Tracks, String> {
    let mut all = Tracks::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (labels, sample) = sample(line).map_err(|why| format!("line {}: {why}", i + 1))?;
        all.entry(labels).or_default().push(sample);
    }
    Ok(all)
}

fn sample(line: &str) -> Result<(BTreeMap<String, String>, Sample), String> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace()).ok_or("expected `name{labels} value time`")?;
    let mut all = BTreeMap::from([("__name__".to_owned(), line[..end].to_owned())]);
    let mut rest = &line[end..];
    if let Some(inside) = rest.strip_prefix('{') {
        rest = labels(inside, &mut all)?;
    }
    let mut words = rest.split_whitespace();
    let value = words.next().and_then(number).ok_or("expected a value after the name")?;
    let at = words.next().filter(|w| *w != "#").ok_or("expected a time in seconds after the value")?;
    let at: f64 = at.parse().map_err(|_| format!("expected a time in seconds, got `{at}`"))?;
    Ok((all, Sample { at: (at * 1000.0).round() as i64, value }))
}

/// Reads up to the closing brace; answers what follows it.
fn labels<'a>(mut rest: &'a str, all: &mut BTreeMap<String, String>) -> Result<&'a str, String> {
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Ok(after);
        }
        let (name, after) = rest.split_once("=\"").ok_or("expected label=\"value\"")?;
        let mut escaped = false;
        let end = after.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let end = end.ok_or("a label's value has no end")?;
        all.insert(name.trim().to_owned(), unescape(&after[..end]));
        rest = &after[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_text_is_read_and_faults_have_their_line() {
        let text = "# TYPE a counter\na_total{p=\"x,\\\"}\",q=\"\"} 5 1700000000.5\na_total 1e3 1700000000 # {} 1\nb NaN 1\n# EOF\n";
        let all = open_metrics(text).unwrap();
        assert_eq!(all.len(), 3);
        let (labels, track) = all.iter().find(|(l, _)| l.contains_key("p")).unwrap();
        assert_eq!((labels["p"].as_str(), track[0].at, track[0].value), ("x,\"}", 1_700_000_000_500, 5.0));
        for (text, line) in [("a 1\n", "line 1"), ("a 1 1\nb{ 2 3\n", "line 2"), ("a x 1", "line 1")] {
            assert!(open_metrics(text).unwrap_err().contains(line), "{text}");
        }
    }
}
