//! Our own TOML, described in the parent's documentation.

use super::Draft;
use super::FRESH_SECONDS;
use super::alerts;
use super::fields::Fields;
use super::openslo::compare;
use super::target;
use super::template;
use super::time;
use super::time::Short;
use crate::config::doc::Value;
use crate::config::fault::nearest;
use crate::model::slo::BurnRule;
use crate::model::slo::DeskSli;
use crate::model::slo::Indicator;
use crate::model::slo::Method;
use crate::model::slo::MetricQuery;
use crate::model::slo::Window;

pub fn read(mut f: Fields<'_>, out: &mut Vec<Draft>) {
    if !f.has("slo") {
        f.fault(f.table.at, "no objective: expected [[slo]] tables");
    }
    for slo in f.maps("slo") {
        out.extend(objective(slo));
    }
    f.finish();
}

fn objective(mut f: Fields<'_>) -> Option<Draft> {
    let place = f.doc.place(f.table.at);
    let mut notes = Vec::new();
    let service = f.text("service");
    let name = f.text("name");
    let title = f.text_opt("title").map_or(String::new(), |t| t.value);
    let description = f.text_opt("description").map_or(String::new(), |t| t.value);
    let target = share(&mut f, "target", true);
    let window = window(&mut f, &mut notes);
    let method = method(&mut f);
    let indicator = indicator(&mut f);
    let alerts = alerting(&mut f);
    let fresh_seconds = short(&mut f, "fresh").unwrap_or(FRESH_SECONDS);
    let labels = f.labels("labels");
    f.finish();
    let (alerting, burn_rules) = alerts?;
    Some(Draft {
        place,
        service: service?.value,
        name: name?.value,
        title,
        description,
        target: target?,
        window: window?,
        method: method?,
        indicator: indicator?,
        alerting,
        burn_rules,
        fresh_seconds,
        labels,
        notes,
    })
}

/// `"99.9%"`. A number is refused: it could be either.
fn share(f: &mut Fields<'_>, key: &'static str, needed: bool) -> Option<f64> {
    let number = f.table.get(key).is_some_and(|e| matches!(e.node.value, Value::Integer(_) | Value::Float(_)));
    if number {
        f.skip(&[key]);
        let written = f.table.get(key).map_or(String::new(), |e| e.node.found());
        f.wrong(key, format!("{written} could be a share or a percent; expected a text such as \"99.9%\""));
        return None;
    }
    let text = if needed { f.text(key) } else { f.text_opt(key) }?.value;
    let number: Option<f64> = text.trim().strip_suffix('%').and_then(|n| n.trim().parse().ok());
    match number {
        Some(x) if x == 100.0 && !needed => Some(1.0),
        Some(x) => target::percent(x, None).map_err(|why| f.wrong(key, why)).ok(),
        None => {
            f.wrong(key, format!("expected a percent such as \"99.9%\", found {text:?}"));
            None
        }
    }
}

fn short(f: &mut Fields<'_>, key: &'static str) -> Option<u64> {
    let text = f.text_opt(key)?;
    Short::parse(&text.value).map_err(|why| f.wrong(key, why)).ok().map(Short::seconds)
}

fn window(f: &mut Fields<'_>, notes: &mut Vec<String>) -> Option<Window> {
    let text = f.text("window");
    let zone = f.text_opt("zone").map(|z| z.value);
    let start = f.text_opt("start").map(|s| s.value);
    let length = text.and_then(|t| Short::parse(&t.value).map_err(|why| f.wrong("window", why)).ok());
    let Some(zone) = zone else {
        if start.is_some() {
            f.wrong("start", "only a window of the calendar has a start; expected zone, too");
            return None;
        }
        let (window, odd) = length?.rolling();
        notes.extend(odd);
        return Some(window);
    };
    if !time::is_zone(&zone) {
        f.wrong("zone", format!("{zone:?} is no time zone of the IANA database; expected one such as Europe/Paris"));
        return None;
    }
    let start = time::start(start.as_deref().unwrap_or("2001-01-01"), &zone);
    let start = start.map_err(|why| f.wrong("start", why)).ok()?;
    length?.calendar(start, zone).map_err(|why| f.wrong("window", why)).ok()
}

fn method(f: &mut Fields<'_>) -> Option<Method> {
    const KNOWN: [&str; 3] = ["occurrences", "timeslices", "ratio_timeslices"];
    let word = f.text_opt("method").map_or_else(|| "occurrences".to_owned(), |m| m.value);
    let slice = short(f, "slice");
    let each = share(f, "slice_target", false);
    let needs = |f: &Fields<'_>, key: &str| {
        if !f.has(key) {
            f.fault(f.table.at, format!("{} is needed with method = {word:?}", f.path(key)));
        }
    };
    match word.as_str() {
        "occurrences" => {
            for key in ["slice", "slice_target"] {
                if f.has(key) {
                    f.wrong(key, "means nothing with method = \"occurrences\"");
                    return None;
                }
            }
            Some(Method::Occurrences)
        }
        "timeslices" => {
            needs(f, "slice");
            needs(f, "slice_target");
            Some(Method::Timeslices { slice_seconds: slice?, target: each? })
        }
        "ratio_timeslices" => {
            needs(f, "slice");
            if f.has("slice_target") {
                f.wrong("slice_target", "means nothing with method = \"ratio_timeslices\"");
                return None;
            }
            Some(Method::RatioTimeslices { slice_seconds: slice? })
        }
        other => {
            let near = nearest(other, KNOWN).map_or(String::new(), |n| format!("; did you mean {n:?}?"));
            f.wrong("method", format!("expected {}, found {other:?}{near}", KNOWN.join(", ")));
            None
        }
    }
}

fn indicator(f: &mut Fields<'_>) -> Option<Indicator> {
    let source = f.text_opt("source").map(|s| s.value);
    let query = |f: &mut Fields<'_>, key: &'static str| {
        let text = f.text_opt(key)?.value;
        let query = template(text.trim()).map_err(|why| f.wrong(key, why)).ok()?;
        Some(MetricQuery { source: source.clone(), query })
    };
    let good = query(f, "good");
    let bad = query(f, "bad");
    let total = query(f, "total");
    let error_ratio = query(f, "error_ratio");
    let value = query(f, "value");
    let sli = f.text_opt("sli").map(|s| s.value);
    let kinds: Vec<_> = ["good", "bad", "error_ratio", "value", "sli"].into_iter().filter(|k| f.has(k)).collect();
    f.skip(&["op", "threshold"]);
    match kinds.as_slice() {
        ["good" | "bad"] => {
            if !f.has("total") {
                f.fault(f.table.at, format!("{} is needed with {}", f.path("total"), kinds[0]));
            }
            if good.is_none() && bad.is_none() {
                return None;
            }
            Some(Indicator::Ratio { good, bad, total: total? })
        }
        ["error_ratio"] => Some(Indicator::ErrorRatio { query: error_ratio? }),
        ["value"] => {
            let word = f.text("op").map(|o| o.value);
            let op = word.as_deref().and_then(|w| {
                let op = compare(w);
                if op.is_none() {
                    f.wrong("op", format!("expected lt, lte, gt or gte, found {w:?}"));
                }
                op
            });
            let threshold = f.number("threshold").map(|t| t.value);
            Some(Indicator::Threshold { query: value?, op: op?, threshold: threshold? })
        }
        ["sli"] => desk_sli(f, &sli?),
        [] => {
            f.fault(
                f.table.at,
                format!("{}: no indicator; expected good, bad, error_ratio, value or sli", f.path("*")),
            );
            None
        }
        [first, second, ..] => {
            f.wrong(second, format!("{first} is there, too; expected one of them"));
            None
        }
        _ => {
            f.fault(f.table.at, format!("{} needs an indicator: good, bad, error_ratio, value or sli", f.what()));
            None
        }
    }
}

fn desk_sli(f: &mut Fields<'_>, word: &str) -> Option<Indicator> {
    const KNOWN: [(&str, DeskSli); 7] = [
        ("time_to_detect", DeskSli::TimeToDetect),
        ("time_to_acknowledge", DeskSli::TimeToAcknowledge),
        ("time_to_respond", DeskSli::TimeToRespond),
        ("triage_time", DeskSli::TriageTime),
        ("false_positives", DeskSli::FalsePositives),
        ("analysis_latency", DeskSli::AnalysisLatency),
        ("inference_latency", DeskSli::InferenceLatency),
    ];
    let Some((_, sli)) = KNOWN.into_iter().find(|(name, _)| *name == word) else {
        let names = KNOWN.map(|(name, _)| name);
        let near = nearest(word, names).map_or(String::new(), |n| format!("; did you mean {n:?}?"));
        f.wrong("sli", format!("expected {}, found {word:?}{near}", names.join(", ")));
        return None;
    };
    if sli == DeskSli::FalsePositives {
        return Some(Indicator::Desk { sli, threshold: 0.0 });
    }
    let within = f.text("threshold")?;
    let seconds = time::prometheus(&within.value).map_err(|why| f.wrong("threshold", why)).ok()?;
    #[expect(clippy::cast_precision_loss, reason = "at most ten years")]
    Some(Indicator::Desk { sli, threshold: seconds as f64 })
}

fn alerting(f: &mut Fields<'_>) -> Option<(String, Vec<BurnRule>)> {
    let preset = f.text_opt("alerting");
    let rules = f.maps("alert");
    if !rules.is_empty() {
        if preset.is_some() {
            f.wrong("alerting", "[[slo.alert]] is there, too; expected a preset or alerts of one's own");
            return None;
        }
        let all: Option<Vec<_>> = rules.into_iter().map(rule).collect();
        return Some(("custom".into(), all?));
    }
    let name = preset.map_or_else(|| "workbook".to_owned(), |p| p.value);
    let Some(rules) = alerts::preset(&name) else {
        f.wrong("alerting", format!("expected {}, found {name:?}", alerts::PRESETS.join(", ")));
        return None;
    };
    Some((name, rules))
}

fn rule(mut f: Fields<'_>) -> Option<BurnRule> {
    let severity = f.text("severity").map(|s| s.value).filter(|s| {
        let known = s == "page" || s == "ticket";
        if !known {
            f.wrong("severity", format!("expected page or ticket, found {s:?}"));
        }
        known
    });
    let [short_seconds, long_seconds] = ["short", "long"].map(|key| {
        f.text(key).and_then(|t| Short::parse(&t.value).map_err(|why| f.wrong(key, why)).ok()).map(Short::seconds)
    });
    let factor = f.number("factor").map(|x| x.value).filter(|x| {
        if *x <= 0.0 {
            f.wrong("factor", format!("expected a number above 0, found {x}"));
        }
        *x > 0.0
    });
    if let (Some(short), Some(long)) = (short_seconds, long_seconds)
        && short >= long
    {
        f.wrong("short", "expected a window shorter than long");
        return None;
    }
    f.finish();
    Some(BurnRule { severity: severity?, short_seconds: short_seconds?, long_seconds: long_seconds?, factor: factor? })
}
