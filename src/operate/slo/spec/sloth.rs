//! Sloth's `prometheus/v1` (`pkg/prometheus/api/v1` of slok/sloth) and its Kubernetes form, `PrometheusServiceLevel` of
//! `sloth.slok.dev/v1`, which has the same fields in camel case under `spec`. Queries have `{{.window}}`, targets are in
//! percent.

use super::Draft;
use super::FRESH_SECONDS;
use super::alerts;
use super::fields::Fields;
use super::is_windowed;
use super::target;
use super::template;
use crate::model::slo::Indicator;
use crate::model::slo::Method;
use crate::model::slo::MetricQuery;
use crate::model::slo::Window;

/// Sloth's own default.
const WINDOW_SECONDS: u64 = 30 * 86_400;

/// How a form writes its fields.
struct Keys {
    error_query: &'static str,
    total_query: &'static str,
    error_ratio_query: &'static str,
    page_alert: &'static str,
    ticket_alert: &'static str,
}

const PLAIN: Keys = Keys {
    error_query: "error_query",
    total_query: "total_query",
    error_ratio_query: "error_ratio_query",
    page_alert: "page_alert",
    ticket_alert: "ticket_alert",
};

const KUBERNETES: Keys = Keys {
    error_query: "errorQuery",
    total_query: "totalQuery",
    error_ratio_query: "errorRatioQuery",
    page_alert: "pageAlert",
    ticket_alert: "ticketAlert",
};

pub fn read(mut f: Fields<'_>, out: &mut Vec<Draft>) {
    f.skip(&["version", "slo_plugins"]);
    objectives(f, &PLAIN, out);
}

/// The object of a cluster, as it is applied or read back.
pub fn read_object(mut f: Fields<'_>, out: &mut Vec<Draft>) {
    f.skip(&["apiVersion", "metadata", "status"]);
    if f.text("kind").is_some_and(|k| k.value != "PrometheusServiceLevel") {
        f.wrong("kind", "expected PrometheusServiceLevel");
    }
    let spec = f.map("spec");
    f.finish();
    if let Some(mut spec) = spec {
        spec.skip(&["sloPlugins"]);
        objectives(spec, &KUBERNETES, out);
    }
}

fn objectives(mut f: Fields<'_>, keys: &Keys, out: &mut Vec<Draft>) {
    let service = f.text("service");
    let shared = f.labels("labels");
    let slos = f.maps("slos");
    if slos.is_empty() && !f.has("slos") {
        f.wrong("slos", "expected a list of objectives, found none");
    }
    for mut slo in slos {
        let name = slo.text("name");
        let description = slo.text_opt("description").map_or(String::new(), |d| d.value);
        let target = slo
            .number("objective")
            .and_then(|o| target::percent(o.value, None).map_err(|why| slo.wrong("objective", why)).ok());
        let mut labels = shared.clone();
        labels.extend(slo.labels("labels"));
        let indicator = slo.map("sli").and_then(|f| sli(f, keys));
        let (title, burn_rules) = alerting(&mut slo, keys);
        slo.skip(&["plugins"]);
        let place = slo.doc.place(slo.table.at);
        let plugins = slo.has("plugins");
        slo.finish();
        let (Some(service), Some(name), Some(target), Some(indicator)) = (&service, name, target, indicator) else {
            continue;
        };
        out.push(Draft {
            place,
            service: service.value.clone(),
            title: title.unwrap_or_default(),
            name: name.value,
            description,
            target,
            window: Window::Rolling { seconds: WINDOW_SECONDS },
            method: Method::Occurrences,
            indicator,
            alerting: "sloth".into(),
            burn_rules,
            fresh_seconds: FRESH_SECONDS,
            labels,
            notes: plugins.then(|| "plugins are Sloth's own and change nothing here".to_owned()).into_iter().collect(),
        });
    }
    f.finish();
}

fn sli(mut f: Fields<'_>, keys: &Keys) -> Option<Indicator> {
    let events = f.map_opt("events");
    let raw = f.map_opt("raw");
    f.skip(&["plugin"]);
    let found = match (events, raw, f.has("plugin")) {
        (_, _, true) => {
            f.wrong("plugin", "a Sloth plugin is a program and is not run here; write its queries as events or raw");
            None
        }
        (Some(mut e), None, _) => {
            let bad = query(&mut e, keys.error_query);
            let total = query(&mut e, keys.total_query);
            e.finish();
            bad.zip(total).map(|(bad, total)| Indicator::Ratio { good: None, bad: Some(bad), total })
        }
        (None, Some(mut r), _) => {
            let query = query(&mut r, keys.error_ratio_query);
            r.finish();
            query.map(|query| Indicator::ErrorRatio { query })
        }
        (Some(_), Some(_), _) => {
            f.wrong("raw", "events and raw are both there; expected one of them");
            None
        }
        (None, None, _) => {
            f.fault(f.table.at, format!("{} or {} was expected", f.path("events"), f.path("raw")));
            None
        }
    };
    f.finish();
    found
}

fn query(f: &mut Fields<'_>, key: &'static str) -> Option<MetricQuery> {
    let written = f.text(key)?;
    match template(&written.value) {
        Err(why) => {
            f.wrong(key, why);
            None
        }
        Ok(query) if !is_windowed(&query) => {
            f.wrong(
                key,
                "the query looks over no window: expected {{.window}} where it has its range, such as [{{.window}}]",
            );
            None
        }
        Ok(query) => Some(MetricQuery { source: None, query: query.trim().to_owned() }),
    }
}

/// The alert's name, and the preset without what is switched off.
fn alerting(slo: &mut Fields<'_>, keys: &Keys) -> (Option<String>, Vec<crate::model::slo::BurnRule>) {
    let mut rules = alerts::preset("sloth").unwrap_or_default();
    let Some(mut f) = slo.map_opt("alerting") else { return (None, rules) };
    let name = f.text_opt("name").map(|n| n.value);
    f.labels("labels");
    f.labels("annotations");
    for (key, severity) in [(keys.page_alert, "page"), (keys.ticket_alert, "ticket")] {
        let Some(mut alert) = f.map_opt(key) else { continue };
        if alert.bool_opt("disable") == Some(true) {
            rules.retain(|r| r.severity != severity);
        }
        alert.labels("labels");
        alert.labels("annotations");
        alert.finish();
    }
    f.finish();
    (name, rules)
}
