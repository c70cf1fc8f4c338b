//! Indicators: what an objective is measured by, written out or referred to by name.

use super::World;
use super::metadata;
use crate::config::doc::Doc;
use crate::config::doc::Value;
use crate::model::slo::Compare;
use crate::model::slo::Indicator;
use crate::model::slo::MetricQuery;
use crate::operate::slo::spec::fields::Fields;
use crate::operate::slo::spec::is_windowed;
use crate::operate::slo::spec::template;

/// What an objective is measured by, once references are followed.
pub enum Sli<'a> {
    Spec {
        doc: &'a Doc,
        table: &'a crate::config::doc::Table,
        /// Where faults in it are said to be.
        path: String,
    },
    /// The reference or the place it leads to is wrong, and that was noted.
    Wrong,
}

/// `indicator` written out, or `indicatorRef` followed.
pub fn source_of_truth<'a>(world: &World<'a>, f: &mut Fields<'a>) -> Option<Sli<'a>> {
    let inline = f.map_opt("indicator");
    let reference = f.text_opt("indicatorRef");
    match (inline, reference) {
        (Some(_), Some(_)) => {
            f.wrong("indicatorRef", "indicator and indicatorRef are both there; expected one of them");
            Some(Sli::Wrong)
        }
        (Some(mut inner), None) => {
            inner.map_opt("metadata").map(metadata);
            let path = inner.path("spec");
            let spec = inner.map("spec");
            inner.finish();
            Some(spec.map_or(Sli::Wrong, |s| Sli::Spec { doc: s.doc, table: s.table, path: path.clone() }))
        }
        (None, Some(name)) => match world.find("SLI", &name.value) {
            Ok(doc) => match doc.root.get("spec").map(|e| &e.node.value) {
                Some(Value::Table(table)) => Some(Sli::Spec { doc, table, path: "spec".into() }),
                _ => Some(Sli::Wrong),
            },
            Err(why) => {
                f.wrong("indicatorRef", why);
                Some(Sli::Wrong)
            }
        },
        (None, None) if f.has("indicator") || f.has("indicatorRef") => Some(Sli::Wrong),
        (None, None) => None,
    }
}

/// What an objective adds to a threshold metric.
pub struct Limit {
    pub op: Option<Compare>,
    pub value: Option<f64>,
}

/// Reads an SLI's spec. `with` is the objective it is read for; without one it is only checked.
pub fn sli_spec(mut f: Fields<'_>, with: Option<(&Fields<'_>, Limit)>, notes: &mut Vec<String>) -> Option<Indicator> {
    f.skip(&["description"]);
    let threshold = f.map_opt("thresholdMetric");
    let ratio = f.map_opt("ratioMetric");
    let found = match (threshold, ratio) {
        (Some(_), Some(_)) => {
            f.wrong("ratioMetric", "thresholdMetric and ratioMetric are both there; expected one of them");
            None
        }
        (None, None) => {
            f.fault(f.table.at, "an indicator needs thresholdMetric or ratioMetric");
            None
        }
        (Some(t), None) => {
            let query = metric_source(t);
            match with {
                Some((objective, limit)) => threshold_of(query, objective, &limit),
                None => None,
            }
        }
        (None, Some(r)) => {
            if let Some((_, limit)) = &with
                && (limit.value.is_some() || limit.op.is_some())
            {
                notes.push("op and value mean nothing with a ratioMetric".into());
            }
            ratio_metric(r, notes)
        }
    };
    f.finish();
    found
}

fn threshold_of(query: Option<MetricQuery>, objective: &Fields<'_>, limit: &Limit) -> Option<Indicator> {
    for (key, there) in [("op", objective.has("op")), ("value", objective.has("value"))] {
        if !there {
            objective.fault(objective.table.at, format!("{} is needed with a thresholdMetric", objective.path(key)));
        }
    }
    Some(Indicator::Threshold { query: query?, op: limit.op?, threshold: limit.value? })
}

fn ratio_metric(mut f: Fields<'_>, notes: &mut Vec<String>) -> Option<Indicator> {
    let counter = f.bool_opt("counter");
    let good = f.map_opt("good").map(metric_source);
    let bad = f.map_opt("bad").map(metric_source);
    let total = f.map_opt("total").map(metric_source);
    let raw = f.map_opt("raw").map(metric_source);
    let raw_type = f.text_opt("rawType").map(|t| t.value);
    let found = match (good, bad, total, raw) {
        (None, None, None, Some(raw)) => raw_ratio(&f, raw, raw_type.as_deref()),
        (Some(_), Some(_), _, _) => {
            f.wrong("bad", "good and bad are both there; expected one of them");
            None
        }
        (_, _, _, Some(_)) => {
            f.wrong("raw", "a raw ratio stands alone; expected no good, bad or total beside it");
            None
        }
        (None, None, _, None) => {
            f.fault(f.table.at, "a ratioMetric needs good or bad, with total; or raw");
            None
        }
        (_, _, None, None) => {
            f.fault(f.table.at, "a ratioMetric needs total");
            None
        }
        (good, bad, Some(total), None) => {
            let mut events = |q: Option<MetricQuery>| q.map(|q| counted(q, counter, notes));
            match (good, bad) {
                (Some(good), _) => events(good).zip(events(total)).map(|(g, t)| (Some(g), None, t)),
                (None, bad) => events(bad.flatten()).zip(events(total)).map(|(b, t)| (None, Some(b), t)),
            }
            .map(|(good, bad, total)| Indicator::Ratio { good, bad, total })
        }
    };
    f.finish();
    found
}

fn raw_ratio(f: &Fields<'_>, raw: Option<MetricQuery>, kind: Option<&str>) -> Option<Indicator> {
    match kind {
        Some("failure") => Some(Indicator::ErrorRatio { query: raw? }),
        Some("success") => {
            let MetricQuery { source, query } = raw?;
            Some(Indicator::ErrorRatio { query: MetricQuery { source, query: format!("1 - ({query})") } })
        }
        Some(other) => {
            f.wrong("rawType", format!("expected success or failure, found {other:?}"));
            None
        }
        None => {
            f.fault(f.table.at, "a raw ratio needs rawType: success or failure");
            None
        }
    }
}

/// The query as one of events: a counter as it is; a gauge's samples are summed over each window.
fn counted(q: MetricQuery, counter: Option<bool>, notes: &mut Vec<String>) -> MetricQuery {
    let rate = ["rate(", "increase(", "delta("].iter().any(|f| q.query.contains(f));
    let mut note = |text: &str| {
        if !notes.iter().any(|n| n == text) {
            notes.push(text.to_owned());
        }
    };
    match counter {
        _ if is_windowed(&q.query) => q,
        Some(true) if rate => {
            note(
                "counter is true, but the query takes a rate itself: expected the counter alone, or a range of {{.window}}",
            );
            q
        }
        None if !rate => {
            note("counter is left out and taken as true: each query is a counter that only grows");
            q
        }
        Some(true) => q,
        Some(false) | None => MetricQuery { query: format!("sum_over_time(({})[{{{{.window}}}}:])", q.query), ..q },
    }
}

/// A `metricSource`: where it is asked, and PromQL.
fn metric_source(mut outer: Fields<'_>) -> Option<MetricQuery> {
    let source = outer.map("metricSource");
    outer.finish();
    let mut f = source?;
    let name = f.text_opt("metricSourceRef").map(|n| n.value);
    let kind = f.text_opt("type").map(|t| t.value);
    let known = kind.as_ref().is_none_or(|k| k.eq_ignore_ascii_case("prometheus"));
    if !known {
        f.wrong("type", format!("{:?} is not asked here; expected Prometheus", kind.unwrap_or_default()));
    }
    let query = f.map("spec").and_then(|mut spec| {
        if !known {
            return None;
        }
        let key = if spec.has("promql") { "promql" } else { "query" };
        let query = spec.text(key).and_then(|q| template(&q.value).map_err(|why| spec.wrong(key, why)).ok());
        spec.skip(&["query", "promql", "queryType"]);
        spec.finish();
        query
    });
    f.finish();
    Some(MetricQuery { source: name, query: query?.trim().to_owned() })
}
