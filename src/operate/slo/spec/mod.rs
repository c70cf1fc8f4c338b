//! Objectives as people write them: OpenSLO v1, Sloth `prometheus/v1` and its Kubernetes form, Pyrra `v1alpha1`, and a short TOML of our own.
//!
//! What a document is, its content says; a file may hold several (YAML's `---`). All faults of all files are told at
//! once, each with file, line, column, the field's path and what was expected.
//!
//! The TOML, where everything that is not marked may be left out:
//!
//! ```toml
//! [[slo]]
//! service = "search"                  # needed
//! name = "availability"               # needed; the id is service/name
//! title = "Searches are answered"
//! description = "..."
//! target = "99.9%"                    # needed, a text with its percent sign
//! window = "30d"                      # needed: s m h d w, and M Q Y (month, quarter, year)
//! zone = "Europe/Paris"               # the window follows the calendar of this time zone instead of sliding
//! start = "2026-01-01 00:00:00"       # the first calendar window's start; left out: 2001-01-01, a Monday
//! method = "occurrences"              # or "timeslices" (needs slice, slice_target), "ratio_timeslices" (needs slice)
//! slice = "1m"
//! slice_target = "95%"
//! source = "prod"                     # a name of operate.prometheus
//! # One of:
//! good = 'http_requests_total{code!~"5.."}'   # or bad; counters, with total
//! total = 'http_requests_total'
//! error_ratio = 'job:errors:ratio{{.window}}' # a share of bad events
//! value = 'queue_age_seconds'                 # a gauge, good while `value op threshold`
//! op = "lte"                                  # lt lte gt gte
//! threshold = 30
//! sli = "time_to_acknowledge"                 # what this desk measures of itself, good within `threshold` (a duration)
//! alerting = "workbook"               # or "sloth", "none"
//! fresh = "5m"                        # the newest sample is older: stale
//! labels = { team = "soc" }
//! [[slo.alert]]                       # instead of a preset
//! severity = "page"                   # or "ticket"
//! short = "5m"
//! long = "1h"
//! factor = 14.4
//! ```

pub mod alerts;
pub mod buckets;
mod fields;
mod native;
mod openslo;
mod pyrra;
pub mod rules;
mod sloth;
mod target;
mod time;
pub mod words;
mod yaml;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use crate::config::doc::Doc;
use crate::config::doc::Value;
use crate::config::fault::Faults;
use crate::config::fault::Place;
use crate::model::slo::BurnRule;
use crate::model::slo::Indicator;
use crate::model::slo::Method;
use crate::model::slo::Slo;
use crate::model::slo::Window;

use fields::Fields;

/// A file of objectives is never larger.
const FILE_MAX: u64 = 4 * 1024 * 1024;
/// Folders inside folders.
const DEPTH_MAX: usize = 8;
/// Where nothing else is said.
const FRESH_SECONDS: u64 = 300;

/// A folder of objectives.
#[derive(Debug)]
pub struct Folder;

impl Folder {
    /// All objectives under a folder (`.yaml`, `.yml`, `.toml`; hidden ones left out) or in a file, in the order of
    /// their ids. What one file refers to may stand in another.
    pub fn read(path: &Path) -> Result<Vec<Slo>, Faults> {
        Self::read_all(&[path.to_owned()])
    }

    /// As [`Folder::read`], of several folders and files taken together.
    pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Slo>, Faults> {
        let mut faults = Faults::default();
        let mut files = Vec::new();
        for path in paths {
            if let Err(e) = walk(path, 0, &mut files) {
                faults.add(Place::Whole(path.clone()), format!("cannot be read: {e}"));
            }
        }
        files.sort();
        files.dedup();
        let mut read = Vec::new();
        for path in files {
            match text(&path) {
                Ok(source) => read.push((path, source)),
                Err(e) => faults.add(Place::Whole(path), format!("cannot be read: {e}")),
            }
        }
        match Self::parse(read) {
            Ok(slos) => faults.or(slos),
            Err(more) => {
                faults.extend(more);
                Err(faults)
            }
        }
    }

    /// The objectives of files that were read already.
    pub fn parse(files: Vec<(PathBuf, String)>) -> Result<Vec<Slo>, Faults> {
        let faults = RefCell::new(Faults::default());
        let mut docs = Vec::new();
        for (path, source) in files {
            let toml = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml"));
            let parsed = if toml { Doc::parse(&path, source).map(|d| vec![d]) } else { yaml::parse(&path, &source) };
            match parsed {
                Ok(more) => docs.extend(more.into_iter().map(|d| (toml, d))),
                Err(more) => faults.borrow_mut().extend(more),
            }
        }
        let mut drafts = Vec::new();
        let mut open = Vec::new();
        for (toml, doc) in &docs {
            match dialect(doc, *toml) {
                Ok(Dialect::OpenSlo) => open.push(doc),
                Ok(Dialect::Sloth) => sloth::read(Fields::new(doc, &doc.root, &faults), &mut drafts),
                Ok(Dialect::SlothObject) => sloth::read_object(Fields::new(doc, &doc.root, &faults), &mut drafts),
                Ok(Dialect::Pyrra) => pyrra::read(Fields::new(doc, &doc.root, &faults), &mut drafts),
                Ok(Dialect::Native) => native::read(Fields::new(doc, &doc.root, &faults), &mut drafts),
                Err((at, message)) => faults.borrow_mut().add(doc.place(at), message),
            }
        }
        openslo::read(&open, &faults, &mut drafts);
        let slos = settle(drafts, &faults);
        let mut faults = faults.into_inner();
        faults.sort();
        faults.or(slos)
    }
}

fn walk(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    if depth == DEPTH_MAX {
        return Err(std::io::Error::other(format!("more than {DEPTH_MAX} folders inside each other")));
    }
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let inner = entry.path();
        // A Kubernetes ConfigMap mounts its files as links; links to folders could go round in circles.
        let folder = entry.file_type()?.is_dir();
        let ours = inner
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| ["yaml", "yml", "toml"].iter().any(|known| e.eq_ignore_ascii_case(known)));
        if !hidden && (folder || (ours && inner.is_file())) {
            walk(&inner, depth + 1, files)?;
        }
    }
    Ok(())
}

fn text(path: &Path) -> std::io::Result<String> {
    let len = std::fs::metadata(path)?.len();
    if len > FILE_MAX {
        return Err(std::io::Error::other(format!("{len} bytes, and objectives are at most {FILE_MAX}")));
    }
    std::fs::read_to_string(path)
}

enum Dialect {
    OpenSlo,
    Sloth,
    SlothObject,
    Pyrra,
    Native,
}

const EXPECTED: &str = "expected OpenSLO (apiVersion: openslo/v1), Sloth (version: prometheus/v1, or apiVersion: \
                        sloth.slok.dev/v1), Pyrra (apiVersion: \
                        pyrra.dev/v1alpha1) or TOML with [[slo]]";

fn dialect(doc: &Doc, toml: bool) -> Result<Dialect, (usize, String)> {
    if toml {
        return Ok(Dialect::Native);
    }
    let named = |key: &str| {
        doc.root
            .get(key)
            .and_then(|e| if let Value::Text(s) = &e.node.value { Some((e.node.at, s.as_str())) } else { None })
    };
    match (named("apiVersion"), named("version")) {
        (Some((_, "openslo/v1")), _) => Ok(Dialect::OpenSlo),
        (Some((_, "pyrra.dev/v1alpha1")), _) => Ok(Dialect::Pyrra),
        (Some((_, "sloth.slok.dev/v1")), _) => Ok(Dialect::SlothObject),
        (_, Some((_, "prometheus/v1"))) => Ok(Dialect::Sloth),
        (Some((at, other)), _) => Err((at, format!("apiVersion: {other:?} is not known here; {EXPECTED}"))),
        (_, Some((at, other))) => Err((at, format!("version: {other:?} is not known here; {EXPECTED}"))),
        (None, None) => Err((doc.root.at, format!("no objective: {EXPECTED}"))),
    }
}

/// What a dialect's reader found out about an objective.
struct Draft {
    place: Place,
    service: String,
    name: String,
    title: String,
    description: String,
    target: f64,
    window: Window,
    method: Method,
    indicator: Indicator,
    alerting: String,
    burn_rules: Vec<BurnRule>,
    fresh_seconds: u64,
    labels: BTreeMap<String, String>,
    notes: Vec<String>,
}

/// Checks what all dialects have in common: ids are unique, alerts can fire, a slice fits its window.
fn settle(drafts: Vec<Draft>, faults: &RefCell<Faults>) -> Vec<Slo> {
    let mut seen: BTreeMap<String, Place> = BTreeMap::new();
    let mut out = Vec::new();
    for mut d in drafts {
        let id = format!("{}/{}", d.service, d.name);
        if let Some(first) = seen.get(&id) {
            faults.borrow_mut().add(d.place, format!("the objective {id:?} is there twice; the first is at {first}"));
            continue;
        }
        seen.insert(id.clone(), d.place.clone());
        if let Method::Timeslices { slice_seconds, .. } | Method::RatioTimeslices { slice_seconds } = d.method
            && slice_seconds > words::window_seconds(&d.window)
        {
            faults.borrow_mut().add(d.place, format!("{id}: a slice of time is longer than the window"));
            continue;
        }
        d.notes.extend(alerts::notes(&d.burn_rules, d.target, &d.window));
        if d.target < 0.5 {
            d.notes.push(format!("a target of {} is unusually low", words::percent(d.target)));
        }
        let from = match &d.place {
            Place::File { path, line, .. } => format!("{}:{line}", path.display()),
            other => other.to_string(),
        };
        out.push(Slo {
            id,
            service: d.service,
            title: if d.title.is_empty() { d.name.clone() } else { d.title },
            name: d.name,
            description: d.description,
            target: d.target,
            window: d.window,
            method: d.method,
            indicator: d.indicator,
            alerting: d.alerting,
            burn_rules: d.burn_rules,
            fresh_seconds: d.fresh_seconds,
            labels: d.labels,
            from,
            notes: d.notes,
        });
    }
    out.sort_by(|a, b| a.id.cmp(&b.id));
    out
}

/// Sloth's placeholder as ours, however it was spaced. Any other placeholder is a fault.
fn template(query: &str) -> Result<String, String> {
    let mut out = String::with_capacity(query.len());
    let mut rest = query;
    while let Some(open) = rest.find("{{") {
        let Some(len) = rest[open..].find("}}") else { break };
        let name = rest[open + 2..open + len].trim();
        if name != ".window" {
            return Err(format!("unknown placeholder {{{{{name}}}}}; only {{{{.window}}}} is filled in"));
        }
        out.push_str(&rest[..open]);
        out.push_str("{{.window}}");
        rest = &rest[open + len + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

/// For ids: lower case, other characters as one dash.
fn slug(text: &str) -> Option<String> {
    let mut out = String::new();
    for c in text.to_lowercase().chars() {
        match c {
            c if c.is_alphanumeric() => out.push(c),
            _ if out.ends_with('-') || out.is_empty() => {}
            _ => out.push('-'),
        }
    }
    let out = out.trim_end_matches('-');
    (!out.is_empty()).then(|| out.to_owned())
}

/// Whether a query says itself over how long it looks.
fn is_windowed(query: &str) -> bool {
    query.contains("{{.window}}")
}
