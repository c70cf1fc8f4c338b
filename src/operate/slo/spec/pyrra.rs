//! Pyrra's `pyrra.dev/v1alpha1` `ServiceLevelObjective`: selectors of counters, targets in percent as texts.

use super::Draft;
use super::FRESH_SECONDS;
use super::alerts;
use super::fields::Fields;
use super::target;
use super::time;
use crate::config::doc::Value;
use crate::model::slo::Indicator;
use crate::model::slo::Method;
use crate::model::slo::MetricQuery;
use crate::model::slo::Window;

pub fn read(mut f: Fields<'_>, out: &mut Vec<Draft>) {
    f.skip(&["apiVersion", "status"]);
    if f.text("kind").is_some_and(|k| k.value != "ServiceLevelObjective") {
        f.wrong("kind", "expected ServiceLevelObjective");
    }
    let place = f.doc.place(f.table.at);
    let meta = f.map("metadata").and_then(metadata);
    let spec = f.map("spec").and_then(spec);
    f.finish();
    let (Some((service, name, labels)), Some(spec)) = (meta, spec) else { return };
    out.push(Draft {
        place,
        service,
        title: String::new(),
        name,
        description: spec.description,
        target: spec.target,
        window: Window::Rolling { seconds: spec.window_seconds },
        method: Method::Occurrences,
        indicator: spec.indicator,
        alerting: if spec.alerts { "pyrra" } else { "none" }.into(),
        burn_rules: if spec.alerts { alerts::pyrra(spec.window_seconds) } else { Vec::new() },
        fresh_seconds: FRESH_SECONDS,
        labels,
        notes: spec.notes,
    });
}

type Labels = std::collections::BTreeMap<String, String>;

/// Service, name and labels. The service is what the label `pyrra.dev/service` says, else the namespace.
fn metadata(mut f: Fields<'_>) -> Option<(String, String, Labels)> {
    // What a cluster adds to an object that is read back from it.
    f.skip(&["annotations", "creationTimestamp", "generation", "managedFields", "resourceVersion", "uid"]);
    f.skip(&["ownerReferences", "finalizers", "selfLink"]);
    let name = f.text("name");
    let namespace = f.text_opt("namespace").map_or_else(|| "default".to_owned(), |n| n.value);
    let labels = f.labels("labels");
    f.finish();
    let service = labels.get("pyrra.dev/service").cloned().unwrap_or(namespace);
    Some((service, name?.value, labels))
}

struct Spec {
    description: String,
    target: f64,
    window_seconds: u64,
    indicator: Indicator,
    alerts: bool,
    notes: Vec<String>,
}

fn spec(mut f: Fields<'_>) -> Option<Spec> {
    let mut notes = Vec::new();
    let description = f.text_opt("description").map_or(String::new(), |d| d.value);
    let target = percent(&mut f);
    let window = f.text("window").and_then(|w| time::prometheus(&w.value).map_err(|why| f.wrong("window", why)).ok());
    let indicator = f.map("indicator").and_then(|i| indicator(i, &mut notes));
    let mut alerts = true;
    if let Some(mut a) = f.map_opt("alerting") {
        alerts = a.bool_opt("disabled") != Some(true);
        alerts &= a.bool_opt("burnrates") != Some(false);
        a.bool_opt("absent");
        a.text_opt("name");
        a.text_opt("absentName");
        a.finish();
    }
    f.skip(&["partial_response_strategy", "performance_over_accuracy"]);
    f.finish();
    Some(Spec { description, target: target?, window_seconds: window?, indicator: indicator?, alerts, notes })
}

/// Pyrra wants a text, because its generator knows no fractions; a number is as clear.
fn percent(f: &mut Fields<'_>) -> Option<f64> {
    let text = f.table.get("target").is_some_and(|e| matches!(e.node.value, Value::Text(_)));
    let number = if text {
        let written = f.text("target")?.value;
        let parsed: Result<f64, _> = written.trim().parse();
        match parsed {
            Ok(x) if x.is_finite() => x,
            _ => {
                f.wrong("target", format!("expected a percent such as \"99.9\", found {written:?}"));
                return None;
            }
        }
    } else {
        f.number("target")?.value
    };
    target::percent(number, None).map_err(|why| f.wrong("target", why)).ok()
}

fn indicator(mut f: Fields<'_>, notes: &mut Vec<String>) -> Option<Indicator> {
    const KINDS: [&str; 4] = ["ratio", "latency", "latencyNative", "bool_gauge"];
    let given: Vec<_> = KINDS.into_iter().filter(|k| f.has(k)).collect();
    f.skip(&KINDS);
    let found = match given.as_slice() {
        [] => {
            f.fault(f.table.at, format!("{} needs one of {}", f.what(), KINDS.join(", ")));
            None
        }
        [one] => f.map(one).and_then(|inner| kind(one, inner, notes)),
        [first, second, ..] => {
            f.wrong(second, format!("{first} is there, too; expected one of them"));
            None
        }
    };
    f.finish();
    found
}

fn kind(kind: &str, mut f: Fields<'_>, notes: &mut Vec<String>) -> Option<Indicator> {
    if f.has("grouping") {
        notes.push("grouping is not applied: all groups together are one objective".into());
    }
    f.skip(&["grouping"]);
    let found = match kind {
        "ratio" => {
            let bad = metric(&mut f, "errors");
            let total = metric(&mut f, "total");
            bad.zip(total).map(|(bad, total)| Indicator::Ratio { good: None, bad: Some(bad), total })
        }
        "latency" => {
            let good = metric(&mut f, "success");
            let total = metric(&mut f, "total");
            if let Some(q) = &good
                && !q.query.contains("le=\"")
            {
                f.wrong("success", "expected the bucket that is fast enough, such as le=\"0.5\", among its labels");
                return None;
            }
            good.zip(total).map(|(good, total)| Indicator::Ratio { good: Some(good), bad: None, total })
        }
        "bool_gauge" => {
            // 1 is well, 0 is not; anything from 1 counts as well.
            let query = selector(&mut f);
            query.map(|query| Indicator::Threshold { query, op: crate::model::slo::Compare::Gte, threshold: 1.0 })
        }
        _ => {
            f.skip(&["total", "latency"]);
            f.fault(
                f.table.at,
                "latencyNative needs Prometheus' native histograms, which are not read here; use latency with a bucket",
            );
            None
        }
    };
    f.finish();
    found
}

fn metric(f: &mut Fields<'_>, key: &'static str) -> Option<MetricQuery> {
    let mut inner = f.map(key)?;
    let query = selector(&mut inner);
    inner.finish();
    query
}

fn selector(f: &mut Fields<'_>) -> Option<MetricQuery> {
    let query = f.text("metric")?.value.trim().to_owned();
    Some(MetricQuery { source: None, query })
}
