//! OpenSLO v1 (github.com/OpenSLO/OpenSLO): `SLO`, and the `SLI`, `Service`, `DataSource` and alerting objects it
//! refers to by name, which may stand in other files.

mod policy;
mod sli;

use std::cell::RefCell;

use super::Draft;
use super::FRESH_SECONDS;
use super::fields::Fields;
use super::slug;
use super::target;
use super::time;
use super::time::Short;
use crate::config::doc::Doc;
use crate::config::doc::Value;
use crate::config::fault::Faults;
use crate::config::fault::nearest;
use crate::model::slo::Compare;
use crate::model::slo::Indicator;
use crate::model::slo::Method;
use crate::model::slo::Window;

use sli::Limit;
use sli::Sli;
use sli::sli_spec;
use sli::source_of_truth;

const KINDS: [&str; 7] =
    ["SLO", "SLI", "Service", "DataSource", "AlertPolicy", "AlertCondition", "AlertNotificationTarget"];

/// The objects of one read, for references by name.
struct World<'a> {
    docs: &'a [&'a Doc],
    faults: &'a RefCell<Faults>,
}

impl<'a> World<'a> {
    fn of_kind(&self, kind: &str) -> impl Iterator<Item = (&'a str, &'a Doc)> {
        self.docs
            .iter()
            .filter(move |d| text(d, &["kind"]) == Some(kind))
            .filter_map(|d| Some((text(d, &["metadata", "name"])?, *d)))
    }

    fn find(&self, kind: &str, name: &str) -> Result<&'a Doc, String> {
        if let Some((_, doc)) = self.of_kind(kind).find(|(n, _)| *n == name) {
            return Ok(doc);
        }
        let near = nearest(name, self.of_kind(kind).map(|(n, _)| n));
        let near = near.map_or(String::new(), |n| format!("; did you mean {n:?}?"));
        Err(format!("no {kind} {name:?} was read{near}"))
    }
}

fn text<'a>(doc: &'a Doc, path: &[&str]) -> Option<&'a str> {
    let (last, before) = path.split_last()?;
    let mut table = &doc.root;
    for key in before {
        let Value::Table(t) = &table.get(key)?.node.value else { return None };
        table = t;
    }
    if let Value::Text(s) = &table.get(last)?.node.value { Some(s) } else { None }
}

pub fn read<'a>(docs: &'a [&'a Doc], faults: &'a RefCell<Faults>, out: &mut Vec<Draft>) {
    let world = World { docs, faults };
    twice(&world);
    for doc in docs {
        let mut f = Fields::new(doc, &doc.root, faults);
        f.skip(&["apiVersion"]);
        let Some(kind) = f.text("kind") else { continue };
        match kind.value.as_str() {
            "SLO" => objective(&world, f, out),
            "SLI" => alone(f),
            "AlertPolicy" => policy::alone(&world, f),
            "AlertCondition" => policy::condition_alone(f),
            known if KINDS.contains(&known) => {}
            other => {
                let near = nearest(other, KINDS).unwrap_or("SLO");
                f.wrong("kind", format!("unknown kind {other:?}; did you mean {near:?}?"));
            }
        }
    }
}

/// What is referred to by name has one meaning.
fn twice(world: &World<'_>) {
    for kind in KINDS.into_iter().filter(|k| *k != "SLO") {
        let mut seen = std::collections::BTreeMap::new();
        for (name, doc) in world.of_kind(kind) {
            if let Some(first) = seen.insert(name, doc) {
                let first = first.place(first.root.at);
                let message = format!("the {kind} {name:?} is there twice; the first is at {first}");
                world.faults.borrow_mut().add(doc.place(doc.root.at), message);
            }
        }
    }
}

/// An SLI by itself is checked even when nothing refers to it.
fn alone(mut f: Fields<'_>) {
    f.map("metadata").map(metadata);
    if let Some(spec) = f.map("spec") {
        sli_spec(spec, None, &mut Vec::new());
    }
    f.finish();
}

struct Meta {
    name: String,
    title: String,
    labels: std::collections::BTreeMap<String, String>,
}

fn metadata(mut f: Fields<'_>) -> Option<Meta> {
    let name = f.text("name");
    let title = f.text_opt("displayName").map_or(String::new(), |t| t.value);
    let labels = f.labels("labels");
    f.skip(&["annotations"]);
    f.finish();
    Some(Meta { name: name?.value, title, labels })
}

fn objective<'a>(world: &World<'a>, mut f: Fields<'a>, out: &mut Vec<Draft>) {
    let meta = f.map("metadata").and_then(metadata);
    let Some(mut spec) = f.map("spec") else { return };
    f.finish();
    let mut notes = Vec::new();
    let description = spec.text_opt("description").map_or(String::new(), |d| d.value);
    let service = spec.text("service").map(|s| s.value);
    let window = windows(&mut spec, &mut notes);
    let method = spec.text("budgetingMethod").map(|m| m.value);
    if let Some(m) = &method
        && !METHODS.contains(&m.as_str())
    {
        let near = nearest(m, METHODS).map_or(String::new(), |n| format!("; did you mean {n:?}?"));
        spec.wrong(
            "budgetingMethod",
            format!("expected Occurrences, Timeslices or RatioTimeslices, found {m:?}{near}"),
        );
    }
    let shared = source_of_truth(world, &mut spec);
    let (alerting, burn_rules) = policy::policies(world, &mut spec, &mut notes);
    let objectives = spec.maps("objectives");
    if objectives.is_empty() {
        spec.wrong("objectives", "expected at least one objective, found none");
    }
    let several = objectives.len() > 1;
    let title = service.as_deref().and_then(|s| world.find("Service", s).ok());
    let mut drafts = Vec::new();
    for (i, o) in objectives.into_iter().enumerate() {
        let Some(one) = one(world, o, method.as_deref(), shared.as_ref()) else { continue };
        let (Some(meta), Some(service), Some(window)) = (&meta, &service, &window) else { continue };
        let suffix = slug(&one.title).unwrap_or_else(|| (i + 1).to_string());
        let mut labels = meta.labels.clone();
        if let Some(shown) = title.and_then(|d| text(d, &["metadata", "displayName"])) {
            labels.entry("service_title".into()).or_insert_with(|| shown.to_owned());
        }
        drafts.push(Draft {
            place: one.place,
            service: service.clone(),
            name: if several { format!("{}/{suffix}", meta.name) } else { meta.name.clone() },
            title: match (meta.title.is_empty(), one.title.is_empty(), several) {
                (false, false, true) => format!("{}: {}", meta.title, one.title),
                (true, false, _) => one.title,
                _ => meta.title.clone(),
            },
            description: description.clone(),
            target: one.target,
            window: window.clone(),
            method: one.method,
            indicator: one.indicator,
            alerting: alerting.clone(),
            burn_rules: burn_rules.clone(),
            fresh_seconds: FRESH_SECONDS,
            labels,
            notes: notes.iter().cloned().chain(one.notes).collect(),
        });
    }
    spec.finish();
    out.extend(drafts);
}

const METHODS: [&str; 3] = ["Occurrences", "Timeslices", "RatioTimeslices"];

// --- windows --------------------------------------------------------------------------------------

fn windows(spec: &mut Fields<'_>, notes: &mut Vec<String>) -> Option<Window> {
    let mut all = spec.maps("timeWindow");
    if all.len() != 1 {
        spec.wrong("timeWindow", format!("expected a list of exactly one window, found {}", all.len()));
        return None;
    }
    let mut f = all.remove(0);
    let duration = f.text("duration").and_then(|d| Short::parse(&d.value).map_err(|why| f.wrong("duration", why)).ok());
    let rolling = f.bool_opt("isRolling");
    let calendar = f.map_opt("calendar");
    let window = match (rolling, calendar) {
        (Some(true), Some(_)) => {
            f.wrong("calendar", "a rolling window follows no calendar; expected isRolling: false, or no calendar");
            None
        }
        (Some(true), None) => duration.map(|d| {
            let (window, odd) = d.rolling();
            notes.extend(odd);
            window
        }),
        (_, Some(c)) => calendar_window(&f, c, duration),
        (Some(false), None) => {
            f.fault(f.table.at, format!("{} is needed when isRolling is false", f.path("calendar")));
            None
        }
        (None, None) if f.has("isRolling") => None,
        (None, None) => {
            f.fault(f.table.at, format!("{} (true), or a calendar, is needed", f.path("isRolling")));
            None
        }
    };
    f.finish();
    window
}

fn calendar_window(outer: &Fields<'_>, mut f: Fields<'_>, duration: Option<Short>) -> Option<Window> {
    let zone = f.text("timeZone").map(|z| z.value).filter(|z| {
        let known = time::is_zone(z);
        if !known {
            f.wrong(
                "timeZone",
                format!("{z:?} is no time zone of the IANA database; expected one such as Europe/Paris"),
            );
        }
        known
    });
    let written = f.text("startTime").map(|s| s.value);
    let start = match (&zone, written) {
        (Some(zone), Some(s)) => time::start(&s, zone).map_err(|why| f.wrong("startTime", why)).ok(),
        _ => None,
    };
    f.finish();
    duration?.calendar(start?, zone?).map_err(|why| outer.wrong("duration", why)).ok()
}

// --- objectives -----------------------------------------------------------------------------------

struct One {
    place: crate::config::fault::Place,
    title: String,
    target: f64,
    method: Method,
    indicator: Indicator,
    notes: Vec<String>,
}

fn one<'a>(world: &World<'a>, mut f: Fields<'a>, method: Option<&str>, shared: Option<&Sli<'_>>) -> Option<One> {
    let place = f.doc.place(f.table.at);
    let mut notes = Vec::new();
    let title = f.text_opt("displayName").map_or(String::new(), |t| t.value);
    let target = target(&mut f);
    let slices = slices(&mut f, method);
    let op = op(&mut f);
    let value = f.number_opt("value").map(|v| v.value);
    f.skip(&["compositeWeight"]);
    let own = source_of_truth(world, &mut f);
    let indicator = match own.as_ref().or(shared) {
        Some(Sli::Spec { doc, table, path }) => {
            let limit = Limit { op, value };
            let inner = Fields::within(doc, table, world.faults, path);
            sli_spec(inner, Some((&f, limit)), &mut notes)
        }
        Some(Sli::Wrong) => None,
        None => {
            f.fault(
                f.table.at,
                "no indicator: expected spec.indicator or spec.indicatorRef, or one of the objective's own",
            );
            None
        }
    };
    f.finish();
    Some(One { place, title, target: target?, method: slices?, indicator: indicator?, notes })
}

fn target(f: &mut Fields<'_>) -> Option<f64> {
    let share = f.number_opt("target");
    let percent = f.number_opt("targetPercent");
    match (share, percent) {
        (Some(_), Some(_)) => {
            f.wrong("targetPercent", "target and targetPercent are both there; expected one of them");
            None
        }
        (Some(x), None) => target::ratio(x.value, "targetPercent").map_err(|why| f.wrong("target", why)).ok(),
        (None, Some(x)) => target::percent(x.value, Some("target")).map_err(|why| f.wrong("targetPercent", why)).ok(),
        (None, None) if f.has("target") || f.has("targetPercent") => None,
        (None, None) => {
            f.fault(f.table.at, format!("{} (a share such as 0.999) or targetPercent is needed", f.path("target")));
            None
        }
    }
}

/// `None` when something is wrong.
fn slices(f: &mut Fields<'_>, method: Option<&str>) -> Option<Method> {
    let each = f.number_opt("timeSliceTarget").map(|t| t.value);
    let window = f.text_opt("timeSliceWindow");
    let width = window.and_then(|w| Short::parse(&w.value).map_err(|why| f.wrong("timeSliceWindow", why)).ok());
    let needs = |f: &Fields<'_>, key: &str| {
        if !f.has(key) {
            f.fault(f.table.at, format!("{} is needed with budgetingMethod {}", f.path(key), method.unwrap_or("")));
        }
    };
    match method? {
        "Occurrences" => {
            for key in ["timeSliceTarget", "timeSliceWindow"] {
                if f.has(key) {
                    f.wrong(
                        key,
                        "means nothing with budgetingMethod Occurrences; expected Timeslices or RatioTimeslices",
                    );
                    return None;
                }
            }
            Some(Method::Occurrences)
        }
        "Timeslices" => {
            needs(f, "timeSliceTarget");
            needs(f, "timeSliceWindow");
            let each = each?;
            // Unlike an objective, a slice may be asked to be wholly good.
            if !(each > 0.0 && each <= 1.0) {
                f.wrong("timeSliceTarget", format!("expected a share above 0, at most 1, found {each}"));
                return None;
            }
            Some(Method::Timeslices { slice_seconds: width?.seconds(), target: each })
        }
        "RatioTimeslices" => {
            needs(f, "timeSliceWindow");
            if f.has("timeSliceTarget") {
                f.wrong(
                    "timeSliceTarget",
                    "means nothing with budgetingMethod RatioTimeslices, whose slices count by their share",
                );
                return None;
            }
            Some(Method::RatioTimeslices { slice_seconds: width?.seconds() })
        }
        _ => None,
    }
}

fn op(f: &mut Fields<'_>) -> Option<Compare> {
    let written = f.text_opt("op")?.value;
    let op = compare(&written);
    if op.is_none() {
        f.wrong("op", format!("expected lt, lte, gt or gte, found {written:?}"));
    }
    op
}

pub fn compare(word: &str) -> Option<Compare> {
    match word {
        "lt" => Some(Compare::Lt),
        "lte" => Some(Compare::Lte),
        "gt" => Some(Compare::Gt),
        "gte" => Some(Compare::Gte),
        _ => None,
    }
}
