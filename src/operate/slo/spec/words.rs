//! An objective in words.

use crate::model::slo::BurnRule;
use crate::model::slo::CalendarUnit;
use crate::model::slo::Compare;
use crate::model::slo::DeskSli;
use crate::model::slo::Indicator;
use crate::model::slo::Method;
use crate::model::slo::MetricQuery;
use crate::model::slo::Slo;
use crate::model::slo::Window;

/// `30 d`, `1 h 30 min`, at most two units.
pub fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (size, name) in UNITS {
        if rest >= size && parts.len() < 2 {
            parts.push(format!("{} {name}", rest / size));
            rest %= size;
        }
    }
    if parts.is_empty() { "0 s".into() } else { parts.join(" ") }
}

/// Up to four digits behind the point, no zeros at the end.
pub fn number(x: f64) -> String {
    let text = format!("{x:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A share as percent.
pub fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0))
}

/// The length of a window; a calendar's at its longest.
pub fn window_seconds(window: &Window) -> u64 {
    match window {
        Window::Rolling { seconds } => *seconds,
        Window::Calendar { unit, count, .. } => {
            let days = match unit {
                CalendarUnit::Day => 1,
                CalendarUnit::Week => 7,
                CalendarUnit::Month => 31,
                CalendarUnit::Quarter => 92,
                CalendarUnit::Year => 366,
            };
            days * 86_400 * u64::from(*count)
        }
    }
}

fn window(w: &Window) -> String {
    match w {
        Window::Rolling { seconds } => format!("the last {} at any time", span(*seconds)),
        Window::Calendar { unit, count, zone, start } => {
            let unit = match unit {
                CalendarUnit::Day => "day",
                CalendarUnit::Week => "week",
                CalendarUnit::Month => "month",
                CalendarUnit::Quarter => "quarter",
                CalendarUnit::Year => "year",
            };
            let first = jiff::tz::TimeZone::get(zone)
                .map_or_else(|_| start.to_string(), |tz| start.to_zoned(tz).strftime("%Y-%m-%d %H:%M").to_string());
            match count {
                1 => format!("each calendar {unit}, counted from {first} {zone}"),
                n => format!("every {n} calendar {unit}s, counted from {first} {zone}"),
            }
        }
    }
}

fn method(m: Method, target: f64) -> String {
    let target = percent(target);
    match m {
        Method::Occurrences => format!("{target} of events are good"),
        Method::Timeslices { slice_seconds, target: each } => format!(
            "{target} of the slices of {} with events are good; a slice is good when at least {} of its events are",
            span(slice_seconds),
            percent(each)
        ),
        Method::RatioTimeslices { slice_seconds } => format!(
            "the mean share of good events over slices of {} is {target}, each slice counting the same",
            span(slice_seconds)
        ),
    }
}

fn query(q: &MetricQuery) -> String {
    let one_line = q.query.split_whitespace().collect::<Vec<_>>().join(" ");
    match &q.source {
        Some(source) => format!("{one_line} (at {source})"),
        None => one_line,
    }
}

fn indicator(i: &Indicator) -> Vec<String> {
    match i {
        Indicator::Ratio { good, bad, total } => {
            let mut out = Vec::new();
            out.extend(good.as_ref().map(|q| format!("good    {}", query(q))));
            out.extend(bad.as_ref().map(|q| format!("bad     {}", query(q))));
            out.push(format!("total   {}", query(total)));
            out
        }
        Indicator::ErrorRatio { query: q } => vec![format!("share of bad  {}", query(q))],
        Indicator::Threshold { query: q, op, threshold } => {
            let op = match op {
                Compare::Lt => "<",
                Compare::Lte => "<=",
                Compare::Gt => ">",
                Compare::Gte => ">=",
            };
            vec![format!("good while  {}  {op} {threshold}", query(q))]
        }
        Indicator::Desk { sli: DeskSli::FalsePositives, .. } => {
            vec!["good: a closed alert of this desk that was no false positive".into()]
        }
        Indicator::Desk { sli, threshold } => {
            let what = match sli {
                DeskSli::TimeToDetect => "detected",
                DeskSli::TimeToAcknowledge => "acknowledged",
                DeskSli::TimeToRespond => "contained",
                DeskSli::TriageTime => "closed after it was claimed",
                DeskSli::AnalysisLatency => "given its first opinion",
                DeskSli::InferenceLatency | DeskSli::FalsePositives => "answered by a model",
            };
            vec![format!("good: an alert of this desk {what} within {threshold} s")]
        }
    }
}

/// The alert's condition, and how soon the budget is gone at that rate.
fn alert(r: &BurnRule, window_seconds: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "seconds of at most ten years")]
    let (long, whole) = (r.long_seconds as f64, window_seconds as f64);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and bounded by the window")]
    let gone = (whole / r.factor) as u64;
    format!(
        "{}: burn rate above {} over {} and over {}: {} of the budget spent in {}; all of it gone in {}",
        r.severity,
        number(r.factor),
        span(r.long_seconds),
        span(r.short_seconds),
        percent(r.factor * long / whole),
        span(r.long_seconds),
        span(gone)
    )
}

/// Lines for people: what is promised, what may go wrong, who is told, and where that is written.
pub fn explain(slo: &Slo) -> Vec<String> {
    let whole = window_seconds(&slo.window);
    let mut out = vec![slo.id.clone()];
    if !slo.title.is_empty() && slo.title != slo.name {
        out.push(format!("  {}", slo.title));
    }
    out.extend(slo.description.lines().map(|l| format!("  {l}")));
    out.push(format!("promise  {}", method(slo.method, slo.target)));
    out.push(format!("window   {}", window(&slo.window)));
    #[expect(clippy::cast_precision_loss, reason = "seconds of at most ten years")]
    let minutes = (1.0 - slo.target) * whole as f64 / 60.0;
    let longest = if matches!(slo.window, Window::Calendar { .. }) { ", at its longest" } else { "" };
    out.push(format!(
        "budget   {} min of {}{longest}: {} may be bad",
        number(minutes),
        span(whole),
        percent(1.0 - slo.target)
    ));
    out.extend(indicator(&slo.indicator));
    if slo.burn_rules.is_empty() {
        out.push("alerts   none".into());
    } else {
        out.push(format!("alerts   {}", slo.alerting));
        out.extend(slo.burn_rules.iter().map(|r| format!("  {}", alert(r, whole))));
    }
    out.push(format!("stale    when the newest sample is older than {}", span(slo.fresh_seconds)));
    out.extend(slo.labels.iter().map(|(k, v)| format!("label    {k}={v}")));
    out.push(format!("from     {}", slo.from));
    out.extend(slo.notes.iter().map(|n| format!("note     {n}")));
    out
}
