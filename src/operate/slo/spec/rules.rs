//! Burn-rate alerts of objectives as Prometheus rules, in the form and with the names Sloth gives them (slok/sloth
//! `examples/_gen`): a recorded ratio of errors for every window, and an alert for each severity. A server that runs them
//! pages by the same conditions, at the same moments, as this desk shows.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::is_windowed;
use super::slug;
use super::words::percent;
use crate::model::slo::BurnRule;
use crate::model::slo::Indicator;
use crate::model::slo::Method;
use crate::model::slo::MetricQuery;
use crate::model::slo::Slo;
use crate::operate::slo::source::query::Shape;
use crate::operate::slo::source::query::WINDOW;
use crate::operate::slo::source::query::counter;

/// A rule file (YAML) of all objectives that can be written so, and a line for each that cannot.
pub fn file(slos: &[&Slo]) -> (String, Vec<String>) {
    let mut groups = String::new();
    let mut left_out = Vec::new();
    for slo in slos {
        match group(slo) {
            Ok(text) => groups.push_str(&text),
            Err(why) => left_out.push(format!("{}: {why}", slo.id)),
        }
    }
    let body = if groups.is_empty() { "groups: []\n".to_owned() } else { format!("groups:\n{groups}") };
    (body, left_out)
}

/// One group, so that Prometheus takes the recordings before the alerts, at the same moment.
fn group(slo: &Slo) -> Result<String, String> {
    if slo.method != Method::Occurrences {
        return Err(format!("counted by {}, which no recording rule does", slo.method.word()));
    }
    let ratio = ratio(&slo.indicator)?;
    let id = slug(&slo.id).unwrap_or_default();
    let windows: BTreeSet<u64> = slo.burn_rules.iter().flat_map(|r| [r.short_seconds, r.long_seconds]).collect();
    let mut out = format!("- name: {}\n  rules:\n", quote(&format!("sloth-slo-{id}")));
    for seconds in windows {
        let window = range(seconds);
        let expr = ratio.replace(WINDOW, &window);
        let _ = write!(out, "  - record: slo:sli_error:ratio_rate{window}\n    expr: {}\n    labels:\n", quote(&expr));
        labels(&mut out, slo, &id, &[("sloth_window", &window)]);
    }
    for severity in severities(&slo.burn_rules) {
        let rules = slo.burn_rules.iter().filter(|r| r.severity == severity);
        let any: Vec<_> = rules.map(|r| condition(r, &id, 1.0 - slo.target)).collect();
        let _ = write!(out, "  - alert: SloBurnRate\n    expr: {}\n    labels:\n", quote(&any.join(" or ")));
        labels(&mut out, slo, &id, &[("severity", severity), ("sloth_severity", severity)]);
        let summary = format!("{} burns its error budget too fast ({} promised)", slo.id, percent(slo.target));
        let _ = write!(out, "    annotations:\n      summary: {}\n", quote(&summary));
    }
    Ok(out)
}

/// The share of bad over `{{.window}}`.
fn ratio(indicator: &Indicator) -> Result<String, String> {
    match indicator {
        Indicator::Ratio { bad: Some(bad), total, .. } => Ok(format!("({}) / ({})", counted(bad)?, counted(total)?)),
        Indicator::Ratio { good: Some(good), total, .. } => {
            Ok(format!("1 - (({}) / ({}))", counted(good)?, counted(total)?))
        }
        Indicator::Ratio { .. } => Err("neither good nor bad events are counted".into()),
        Indicator::ErrorRatio { query } if is_windowed(&query.query) => Ok(format!("({})", query.query)),
        Indicator::ErrorRatio { .. } => Err("its query looks over no {{.window}}".into()),
        Indicator::Threshold { .. } => Err("a gauge beside a threshold is judged by this desk alone".into()),
        Indicator::Desk { .. } => Err("no Prometheus has what this desk measures of itself".into()),
    }
}

fn counted(q: &MetricQuery) -> Result<String, String> {
    if is_windowed(&q.query) {
        return Ok(q.query.clone());
    }
    match counter(&q.query) {
        Shape::Selector(selector) => Ok(format!("sum(rate({selector}[{WINDOW}]))")),
        _ => Err(format!("{:?} takes a range of its own", q.query)),
    }
}

/// The window's label is taken off, so that an alert stays the same one when another of its conditions takes over.
fn condition(r: &BurnRule, id: &str, allowed: f64) -> String {
    let above = |seconds: u64| {
        let name = format!("slo:sli_error:ratio_rate{}{{sloth_id={}}}", range(seconds), quote(id));
        format!("max({name} > ({} * {allowed:?})) without (sloth_window)", r.factor)
    };
    format!("({} and {})", above(r.short_seconds), above(r.long_seconds))
}

/// In the order they first appear.
fn severities(rules: &[BurnRule]) -> Vec<&str> {
    let mut out: Vec<&str> = Vec::new();
    for r in rules {
        if !out.contains(&r.severity.as_str()) {
            out.push(&r.severity);
        }
    }
    out
}

fn labels(out: &mut String, slo: &Slo, id: &str, more: &[(&str, &str)]) {
    let own = [("sloth_id", id), ("sloth_service", slo.service.as_str()), ("sloth_slo", slo.name.as_str())];
    for (name, value) in own.iter().chain(more) {
        let _ = writeln!(out, "      {name}: {}", quote(value));
    }
}

/// As Prometheus writes durations, in the largest unit that leaves no rest.
fn range(seconds: u64) -> String {
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    let fits = units.into_iter().find(|(size, _)| seconds.is_multiple_of(*size) && seconds > 0);
    fits.map_or_else(|| format!("{seconds}s"), |(size, unit)| format!("{}{unit}", seconds / size))
}

/// A text of YAML and of PromQL: both take JSON's.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::slo::spec::Folder;

    fn read(toml: &str) -> Slo {
        Folder::parse(vec![("a.toml".into(), toml.to_owned())]).unwrap().remove(0)
    }

    #[test]
    fn rules_are_those_sloth_writes() {
        let slo = read(
            "[[slo]]\nservice='api'\nname='up'\ntarget='99.5%'\nwindow='30d'\ngood='ok_total{a=\"b\"}'\ntotal='all_total'\n",
        );
        let (text, left_out) = file(&[&slo]);
        assert!(left_out.is_empty(), "{left_out:?}");
        for part in [
            "record: slo:sli_error:ratio_rate5m",
            "record: slo:sli_error:ratio_rate3d",
            r#"expr: "1 - ((sum(rate(ok_total{a=\"b\"}[30m]))) / (sum(rate(all_total[30m]))))""#,
            r#"max(slo:sli_error:ratio_rate1h{sloth_id=\"api-up\"} > (14.4 * 0.0050000000000000044)) without (sloth_window)"#,
            "sloth_severity: \"ticket\"",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(text.matches("- alert:").count(), 2, "{text}");
    }

    #[test]
    fn what_a_server_cannot_record_is_told() {
        let head = "[[slo]]\nservice='api'\nname='up'\ntarget='99%'\nwindow='30d'\n";
        for (rest, why) in [
            ("sli='triage_time'\nthreshold='5m'\n", "no Prometheus"),
            ("value='age'\nop='lte'\nthreshold=3\n", "by this desk alone"),
            ("bad='e'\ntotal='t'\nmethod='ratio_timeslices'\nslice='1m'\n", "ratio timeslices"),
            ("bad='rate(e[5m])'\ntotal='t'\n", "a range of its own"),
        ] {
            let (text, left_out) = file(&[&read(&format!("{head}{rest}"))]);
            assert_eq!(text, "groups: []\n");
            assert!(left_out[0].starts_with("api/up: ") && left_out[0].contains(why), "{left_out:?}");
        }
    }

    #[test]
    fn ranges_are_in_the_largest_unit() {
        assert_eq!([300, 3_600, 259_200, 90].map(range), ["5m", "1h", "3d", "90s"]);
    }
}
