//! Objectives as files: reading them all, and saying what one means. Works without a desk.

use std::path::PathBuf;

use crate::config::Faults;
use crate::config::Loaded;
use crate::model::slo::Slo;
use crate::operate::slo::spec::Folder;
use crate::operate::slo::spec::buckets;
use crate::operate::slo::spec::rules;
use crate::operate::slo::spec::words;

/// Where the settings have their objectives: `operate.slos`, else `slos` beside the settings file if it is there.
pub fn folder(loaded: &Loaded) -> Option<PathBuf> {
    super::inspect::beside(loaded, &loaded.settings.operate.slos, "slos")
}

/// Every objective of these files and folders, or everything that is wrong with them.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Slo>, Faults> {
    Folder::read_all(paths)
}

/// An objective in words, a line each.
pub fn explain(slo: &Slo) -> Vec<String> {
    words::explain(slo)
}

/// Their burn-rate alerts as a rule file for Prometheus (YAML), and a line for each objective that no rule can measure.
pub fn prometheus_rules(slos: &[&Slo]) -> (String, Vec<String>) {
    rules::file(slos)
}

/// What objectives ask for that is no bucket of the histograms in `metrics` (a scrape, or a saved answer of
/// `/api/v1/series`): the objective and a sentence.
pub fn no_buckets<'a>(slos: &'a [Slo], metrics: &str) -> Vec<(&'a Slo, String)> {
    let known = buckets::known(metrics);
    slos.iter().flat_map(|s| buckets::check(s, &known).into_iter().map(move |said| (s, said))).collect()
}
