//! Latency thresholds that are no bucket: a selector `x_bucket{le="0.4"}` of a histogram without that bucket matches
//! nothing, and an objective over it is silent for ever.

use std::collections::BTreeMap;

use crate::model::slo::Indicator;
use crate::model::slo::MetricQuery;
use crate::model::slo::Slo;

/// The buckets by the name of their metric.
pub type Known = BTreeMap<String, Vec<f64>>;

/// The buckets next to a threshold that is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearest {
    pub below: Option<f64>,
    pub above: Option<f64>,
}

/// Whether `threshold` is one of `buckets` (numbers of `le` labels, in any order); if not, the two around it.
pub fn check_buckets(threshold: f64, buckets: &[f64]) -> Result<(), Nearest> {
    // As numbers, for servers differ in how they write them: `le="1"` and `le="1.0"`.
    let same = |b: &&f64| **b == threshold || (**b - threshold).abs() <= f64::EPSILON * threshold.abs();
    if buckets.iter().any(|b| same(&b)) {
        return Ok(());
    }
    let below = buckets.iter().copied().filter(|b| *b < threshold).max_by(f64::total_cmp);
    let above = buckets.iter().copied().filter(|b| *b > threshold && b.is_finite()).min_by(f64::total_cmp);
    Err(Nearest { below, above })
}

/// The questions an objective asks.
fn queries(slo: &Slo) -> Vec<&MetricQuery> {
    match &slo.indicator {
        Indicator::Ratio { good, bad, total } => {
            [good.as_ref(), bad.as_ref(), Some(total)].into_iter().flatten().collect()
        }
        Indicator::ErrorRatio { query } | Indicator::Threshold { query, .. } => vec![query],
        Indicator::Desk { .. } => Vec::new(),
    }
}

/// Metrics of which an objective asks for a bucket, and the question each is in.
pub fn asked(slo: &Slo) -> Vec<(&MetricQuery, String)> {
    let mut out = Vec::new();
    for q in queries(slo) {
        out.extend(selectors(&q.query).into_iter().map(|(metric, _)| (q, metric)));
    }
    out
}

/// What an objective asks for that is no bucket, a line each. Metrics that are not in `known` are not judged.
pub fn check(slo: &Slo, known: &Known) -> Vec<String> {
    let mut out = Vec::new();
    for (metric, le) in queries(slo).into_iter().flat_map(|q| selectors(&q.query)) {
        let Some(buckets) = known.get(&metric) else { continue };
        if buckets.is_empty() {
            out.push(format!("the server knows no bucket of {metric}, so {le} selects nothing"));
            continue;
        }
        let Err(near) = check_buckets(le, buckets) else { continue };
        let nearest: Vec<_> = [near.below, near.above].into_iter().flatten().map(|b| b.to_string()).collect();
        out.push(format!("{le} is no bucket of {metric}; the nearest are {}", nearest.join(" and ")));
    }
    out.dedup();
    out
}

/// The buckets of a scrape (Prometheus' text format, OpenMetrics), or of a saved answer of `/api/v1/series`.
pub fn known(text: &str) -> Known {
    let mut out = Known::new();
    let mut add = |metric: &str, le: f64| {
        let all: &mut Vec<f64> = out.entry(metric.to_owned()).or_default();
        if !all.contains(&le) {
            all.push(le);
        }
    };
    if let Ok(answer) = serde_json::from_str::<serde_json::Value>(text) {
        for series in answer.get("data").and_then(|d| d.as_array()).into_iter().flatten() {
            let label = |name: &str| series.get(name).and_then(|v| v.as_str());
            if let (Some(metric), Some(Ok(le))) = (label("__name__"), label("le").map(str::parse)) {
                add(metric, le);
            }
        }
        return out;
    }
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        for (metric, le) in selectors(line) {
            add(&metric, le);
        }
    }
    out
}

/// Metric and `le` of every selector with `le="..."` in PromQL (or a line of a scrape).
fn selectors(query: &str) -> Vec<(String, f64)> {
    let chars: Vec<char> = query.chars().collect();
    let (mut out, mut name, mut at) = (Vec::new(), String::new(), 0);
    while at < chars.len() {
        match chars[at] {
            '"' | '\'' | '`' => {
                at = quoted(&chars, at).1;
                name.clear();
            }
            '{' => {
                let (labels, end) = matchers(&chars, at + 1);
                at = end;
                let metric =
                    labels.iter().find(|(k, _)| k == "__name__").map_or_else(|| name.clone(), |(_, v)| v.clone());
                let le = labels.iter().find(|(k, _)| k == "le").and_then(|(_, v)| v.parse().ok());
                out.extend(le.filter(|_| !metric.is_empty()).map(|le: f64| (metric, le)));
                name.clear();
            }
            c if c.is_ascii_alphanumeric() || c == '_' || c == ':' => {
                // A blank ends a name only when another follows it.
                if at > 0 && chars[at - 1].is_whitespace() {
                    name.clear();
                }
                name.push(c);
                at += 1;
            }
            c => {
                if !c.is_whitespace() {
                    name.clear();
                }
                at += 1;
            }
        }
    }
    out
}

/// `name="value"` pairs up to the closing brace, only those compared by `=`, and where to go on.
fn matchers(chars: &[char], mut at: usize) -> (Vec<(String, String)>, usize) {
    let (mut out, mut name, mut op) = (Vec::new(), String::new(), String::new());
    while at < chars.len() {
        match chars[at] {
            '}' => return (out, at + 1),
            '"' | '\'' | '`' => {
                let (value, end) = quoted(chars, at);
                at = end;
                if op == "=" {
                    out.push((std::mem::take(&mut name), value));
                }
                name.clear();
                op.clear();
                continue;
            }
            c @ ('=' | '!' | '~') => op.push(c),
            c if c.is_ascii_alphanumeric() || c == '_' => name.push(c),
            _ => {}
        }
        at += 1;
    }
    (out, at)
}

/// The text of a string that begins at `at`, and the place after it.
fn quoted(chars: &[char], at: usize) -> (String, usize) {
    let quote = chars[at];
    let (mut out, mut i) = (String::new(), at + 1);
    while i < chars.len() && chars[i] != quote {
        if chars[i] == '\\' && quote != '`' && i + 1 < chars.len() {
            i += 1;
        }
        out.push(chars[i]);
        i += 1;
    }
    (out, i + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_that_is_no_bucket_is_offered_its_neighbours() {
        let buckets = [0.5, 0.1, 0.25, 1.0, f64::INFINITY];
        assert_eq!(check_buckets(0.25, &buckets), Ok(()));
        assert_eq!(check_buckets(1.0, &buckets), Ok(()));
        let near = |below, above| Err(Nearest { below, above });
        assert_eq!(check_buckets(0.4, &buckets), near(Some(0.25), Some(0.5)));
        assert_eq!(check_buckets(0.05, &buckets), near(None, Some(0.1)));
        assert_eq!(check_buckets(5.0, &buckets), near(Some(1.0), None));
        assert_eq!(check_buckets(f64::INFINITY, &buckets), Ok(()));
    }

    #[test]
    fn selectors_are_found_in_promql() {
        let q = r#"sum(rate(a_bucket{verb!="x}",le="0.4"}[{{.window}}])) - b_bucket {le='2'} or {__name__="c",le="1"} or d{le=~"0.1|1"} or e{f="le=\"3\""}"#;
        let expected = [("a_bucket", 0.4), ("b_bucket", 2.0), ("c", 1.0)];
        assert_eq!(selectors(q), expected.map(|(m, le)| (m.to_owned(), le)));
        assert!(selectors("x{le=\"").is_empty());
    }

    #[test]
    fn scrapes_and_answers_are_read() {
        let scrape = "# TYPE h histogram\nh_bucket{le=\"0.1\"} 3\nh_bucket{le=\"+Inf\"} 4\nh_count 4\n";
        assert_eq!(known(scrape)["h_bucket"], [0.1, f64::INFINITY]);
        let answer = r#"{"status":"success","data":[{"__name__":"h_bucket","le":"0.5"},{"__name__":"up"}]}"#;
        assert_eq!(known(answer)["h_bucket"], [0.5]);
    }
}
