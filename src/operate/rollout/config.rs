//! `rollouts.toml`: how each rollout is to go, what must hold before its next step, and which Deployments are one
//! rollout. The documented example is `assets/rollouts.sample.toml`.

use std::path::Path;

use super::gate::ratio::Limits;
use super::read::Pair;
use super::read::Pairs;
use super::stage::StagePlan;
use crate::config::doc::At;
use crate::config::doc::Doc;
use crate::config::doc::Fields;
use crate::config::doc::Table;
use crate::config::fault::Faults;
use crate::config::fault::nearest;
use crate::model::rollout::Rollout;
use crate::model::rollout::RolloutId;
use crate::model::rollout::RolloutKind;
use crate::model::rollout::Step;
use crate::model::slo::ChangeClass;
use crate::operate::backup::schedule::go_span;

/// The documented example.
pub const SAMPLE: &str = include_str!("../../../assets/rollouts.sample.toml");

/// What stands in a query for the revision that is asked about.
pub const REVISION: &str = "{{revision}}";

/// Looks further apart than 150 s count nothing towards a stage.
const EVERY_MAX: i64 = 120;
const DAY: i64 = 86_400;

/// A whole `rollouts.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Seconds between two looks.
    pub every: i64,
    pub rollouts: Vec<Rules>,
}

impl Default for Config {
    fn default() -> Self {
        Self { every: 30, rollouts: Vec::new() }
    }
}

/// What is asked of one rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    pub target: RolloutId,
    /// Two Deployments that are this rollout; else it is an object of the cluster.
    pub pair: Option<PairRules>,
    pub errors: Option<ErrorRules>,
    pub stages: Stages,
    /// Seconds within which pods must be ready.
    pub ready: i64,
    /// Ready pods each zone must have.
    pub zone_minimum: Option<u32>,
    /// How long the way back is kept open after a switch, in seconds.
    pub fast_rollback: Option<i64>,
    pub readiness: Option<Readiness>,
    pub budget: Option<BudgetRules>,
    pub smoke: Option<Smoke>,
}

/// A checklist that must be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    pub list: String,
    /// A signature older than so many seconds no longer counts.
    pub valid: i64,
}

/// Objectives whose budgets must be open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetRules {
    pub class: ChangeClass,
    /// Names with `*`.
    pub slos: Vec<String>,
}

/// What the new side of a blue-green rollout is asked before it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smoke {
    pub urls: Vec<String>,
    /// Empty: any of 200 to 299.
    pub statuses: Vec<u16>,
    pub body: Option<String>,
    pub timeout: u64,
}

/// Where the error ratio comes from, and what it may be.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorRules {
    /// As in `operate.prometheus`; `None`: the only one there.
    pub prometheus: Option<String>,
    /// Selectors of counters, with [`REVISION`] in them.
    pub errors: String,
    pub total: String,
    /// What [`REVISION`] stands for on each side where it is not the revision's own name, such as `canary` and `stable`.
    pub names: Option<(String, String)>,
    pub limits: Limits,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stages {
    /// Percent, rising, the last is 100. Empty: those of the rollout's own steps.
    pub weights: Vec<u32>,
    /// Seconds each is watched.
    pub each: i64,
    /// From this weight on the stable baseline is frozen.
    pub freeze_from: u32,
    /// Blue-green: seconds it is watched after the switch.
    pub watch: i64,
}

impl Default for Stages {
    fn default() -> Self {
        Self { weights: Vec::new(), each: 600, freeze_from: 50, watch: 600 }
    }
}

/// Two Deployments behind one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairRules {
    BlueGreen {
        service: String,
        /// Deployment, and the value of the selector's label that points at it.
        blue: (String, String),
        green: (String, String),
        /// The label of the Service's selector that is switched.
        label: String,
    },
    ReplicaCanary {
        stable: String,
        canary: String,
    },
}

/// What other files and settings know, for names in this one.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub clusters: Vec<String>,
    pub prometheus: Vec<String>,
    pub checklists: Vec<String>,
}

impl Config {
    pub fn of(&self, id: &RolloutId) -> Option<&Rules> {
        self.rollouts.iter().find(|r| r.target == *id)
    }

    /// The declared pairs of a cluster.
    pub fn pairs(&self, cluster: &str) -> Pairs {
        let mine = self.rollouts.iter().filter(|r| r.target.cluster == cluster);
        Pairs(mine.filter_map(|r| Some(r.pair.as_ref()?.read(&r.target))).collect())
    }
}

impl PairRules {
    fn read(&self, id: &RolloutId) -> Pair {
        let (kind, service, first, second) = match self {
            Self::BlueGreen { service, blue, green, .. } => {
                (RolloutKind::BlueGreen, Some(service.clone()), &blue.0, &green.0)
            }
            Self::ReplicaCanary { stable, canary } => (RolloutKind::ReplicaCanary, None, stable, canary),
        };
        Pair {
            kind,
            name: id.name.clone(),
            namespace: id.namespace.clone(),
            service,
            first: first.clone(),
            second: second.clone(),
        }
    }
}

impl Rules {
    /// How this rollout goes. `None`: it goes by itself and has no stages that could be led (a Deployment that rolls,
    /// a Canary of Flagger).
    pub fn plan(&self, rollout: &Rollout) -> Option<StagePlan> {
        let blue_green = || StagePlan::BlueGreen { ready_seconds: self.ready, watch_seconds: self.stages.watch };
        match rollout.kind {
            RolloutKind::Rolling | RolloutKind::Flagger => None,
            RolloutKind::BlueGreen => Some(blue_green()),
            // Argo's blue-green has no weight.
            RolloutKind::Argo if rollout.set_weight.is_none() => Some(blue_green()),
            RolloutKind::Argo | RolloutKind::ReplicaCanary => Some(StagePlan::Canary {
                weights: self.weights(&rollout.steps),
                seconds: self.stages.each,
                freeze_from: self.stages.freeze_from,
            }),
        }
    }

    /// The weights of this file, else those of the rollout's own steps, else 5, 25, 50, 100 %.
    fn weights(&self, steps: &[Step]) -> Vec<u32> {
        if !self.stages.weights.is_empty() {
            return self.stages.weights.clone();
        }
        let own = steps.iter().filter_map(|s| if let Step::Weight { percent } = s { Some(*percent) } else { None });
        let mut own: Vec<u32> = own.filter(|w| (1..100).contains(w)).collect();
        if own.is_empty() {
            return vec![5, 25, 50, 100];
        }
        own.push(100);
        own.sort_unstable();
        own.dedup();
        own
    }
}

/// Reads a file. With `known`, names in it must be known there.
pub fn read(path: &Path, known: Option<&Known>) -> Result<Config, Faults> {
    parse(&Doc::read(path)?, known)
}

pub fn parse(doc: &Doc, known: Option<&Known>) -> Result<Config, Faults> {
    let mut faults = Faults::default();
    let mut config = Config::default();
    let mut root = Fields::new(doc, &doc.root, "the file", &mut faults);
    if let Some(every) = span(&mut root, "every", 1..=EVERY_MAX) {
        config.every = every;
    }
    let tables = root.tables("rollouts");
    root.finish();
    for table in tables {
        if let Some(rules) = rollout(doc, table, known, &config, &mut faults) {
            config.rollouts.push(rules);
        }
    }
    faults.sort();
    faults.or(config)
}

fn rollout(doc: &Doc, table: &Table, known: Option<&Known>, before: &Config, faults: &mut Faults) -> Option<Rules> {
    let mut f = Fields::new(doc, table, "a rollout", faults);
    let target = target(&mut f, known, before);
    let mut rules = Rules {
        target: target?,
        pair: None,
        errors: None,
        stages: Stages::default(),
        ready: span(&mut f, "ready", 1..=DAY).unwrap_or(300),
        zone_minimum: f.integer_opt("zone_minimum", 1..=10_000).and_then(|m| u32::try_from(m.value).ok()),
        fast_rollback: span(&mut f, "fast_rollback", 1..=30 * DAY),
        readiness: readiness(&mut f, known),
        budget: None,
        smoke: None,
    };
    let [errors, stages, budget, smoke, blue_green, canary] =
        ["errors", "stages", "budget", "smoke", "blue_green", "replica_canary"].map(|key| f.table(key));
    if let (Some(_), Some(second)) = (blue_green, canary) {
        f.fault(second.at, "replica_canary stands beside blue_green: a rollout is one of them");
    }
    f.finish();
    rules.errors = errors.and_then(|t| error_rules(doc, t, known, faults));
    if let Some(t) = stages {
        rules.stages = stage_rules(doc, t, faults);
    }
    rules.budget = budget.and_then(|t| budget_rules(doc, t, faults));
    rules.smoke = smoke.and_then(|t| smoke_rules(doc, t, faults));
    rules.pair = match (blue_green, canary) {
        (Some(t), _) => blue_green_rules(doc, t, faults),
        (None, Some(t)) => canary_rules(doc, t, faults),
        (None, None) => None,
    };
    Some(rules)
}

fn target(f: &mut Fields, known: Option<&Known>, before: &Config) -> Option<RolloutId> {
    let At { value, at } = f.text("target")?;
    let parts: Vec<&str> = value.split('/').collect();
    let [cluster, namespace, name] = parts.as_slice() else {
        f.fault(at, "target: expected CLUSTER/NAMESPACE/NAME, as `rollout list` shows it");
        return None;
    };
    if parts.iter().any(|p| p.is_empty() || p.chars().any(|c| c.is_control() || c.is_whitespace())) {
        f.fault(at, "target: expected CLUSTER/NAMESPACE/NAME without empty parts and spaces");
        return None;
    }
    if let Some(known) = known {
        named(f, &At { value: (*cluster).to_owned(), at }, "operate.kubernetes has no cluster", &known.clusters);
    }
    let id = RolloutId { cluster: (*cluster).into(), namespace: (*namespace).into(), name: (*name).into() };
    if before.of(&id).is_some() {
        f.fault(at, format!("target: {value} is there twice"));
    }
    Some(id)
}

/// Notes a name nobody knows, with the one that was probably meant.
fn named(f: &mut Fields, name: &At<String>, what: &str, known: &[String]) {
    if !known.contains(&name.value) {
        let near = nearest(&name.value, known.iter().map(String::as_str));
        let near = near.map_or(String::new(), |n| format!("; did you mean {n:?}?"));
        f.fault(name.at, format!("{what} {:?}{near}", name.value));
    }
}

fn readiness(f: &mut Fields, known: Option<&Known>) -> Option<Readiness> {
    let list = f.text_opt("readiness");
    let valid = span(f, "readiness_valid", 60..=366 * DAY);
    let Some(list) = list else {
        if valid.is_some() {
            f.fault(f.at(), "readiness_valid stands without readiness, the name of a checklist");
        }
        return None;
    };
    if let Some(known) = known {
        named(f, &list, "there is no checklist", &known.checklists);
    }
    Some(Readiness { list: list.value, valid: valid.unwrap_or(7 * DAY) })
}

fn error_rules(doc: &Doc, table: &Table, known: Option<&Known>, faults: &mut Faults) -> Option<ErrorRules> {
    let mut f = Fields::new(doc, table, "[rollouts.errors]", faults);
    let prometheus = f.text_opt("prometheus");
    match (&prometheus, known) {
        (Some(name), Some(known)) => named(&mut f, name, "operate.prometheus has no server", &known.prometheus),
        (None, Some(known)) if known.prometheus.len() != 1 => {
            let n = known.prometheus.len();
            f.fault(f.at(), format!("operate.prometheus has {n} servers: say which one is asked, with prometheus ="));
        }
        _ => {}
    }
    let errors = f.text("errors");
    let total = f.text("total");
    for (key, query) in [("errors", &errors), ("total", &total)] {
        if let Some(At { value, at }) = query
            && let Err(why) = selector(value)
        {
            f.fault(*at, format!("{key}: {why}"));
        }
    }
    if let (Some(e), Some(t)) = (&errors, &total)
        && e.value == t.value
    {
        f.fault(t.at, "total: the same query as errors: every request would be an error");
    }
    let (canary, stable) = (f.text_opt("canary"), f.text_opt("stable"));
    let names = match (canary, stable) {
        (None, None) => None,
        (Some(c), Some(s)) if c.value == s.value || c.value.is_empty() || s.value.is_empty() => {
            f.fault(s.at, "stable: expected another name than the canary's, and neither empty");
            None
        }
        (Some(c), Some(s)) => Some((c.value, s.value)),
        (Some(one), None) | (None, Some(one)) => {
            f.fault(one.at, "canary and stable: expected both names or none");
            None
        }
    };
    let limits = limits(&mut f);
    f.finish();
    let prometheus = prometheus.map(|p| p.value);
    Some(ErrorRules { prometheus, errors: errors?.value, total: total?.value, names, limits })
}

/// Whether it is a bare selector with the revision in it.
fn selector(query: &str) -> Result<(), String> {
    const EXAMPLE: &str = r#"http_requests_total{pod=~"web-{{revision}}-.*", code=~"5.."}"#;
    if !query.contains(REVISION) {
        return Err(format!("expected {REVISION} in it, which tells canary from stable, as in {EXAMPLE}"));
    }
    let plain = query.replace(REVISION, "x");
    let bare = crate::operate::slo::source::query::Selector::parse(&plain);
    bare.map(drop).map_err(|_| format!("expected a counter as it is scraped, without functions, such as {EXAMPLE}"))
}

fn limits(f: &mut Fields) -> Limits {
    let mut l = Limits::default();
    // A share above 1 is a percent that somebody meant.
    let share = |f: &mut Fields, key: &'static str, slot: &mut f64| {
        if let Some(At { value, at }) = f.number_opt(key) {
            match value {
                v if (0.0..=1.0).contains(&v) => *slot = v,
                v if v > 1.0 && v <= 100.0 => {
                    f.fault(at, format!("{key}: expected a share from 0 to 1, found {v}; {v} % is {}", v / 100.0));
                }
                v => f.fault(at, format!("{key}: expected a share from 0 to 1, found {v}")),
            }
        }
    };
    share(f, "absolute", &mut l.absolute);
    share(f, "floor", &mut l.floor);
    if let Some(At { value, at }) = f.number_opt("relative") {
        if (1.0..=1000.0).contains(&value) {
            l.relative = value;
        } else {
            f.fault(at, format!("relative: expected times the stable ratio, from 1 to 1000, found {value}"));
        }
    }
    if let Some(n) = f.integer_opt("min_events", 1..=1_000_000_000) {
        l.min_events = n.value as f64;
    }
    if let Some(n) = f.integer_opt("min_errors", 1..=1_000_000_000) {
        l.min_errors = n.value as f64;
    }
    if let Some(n) = f.integer_opt("min_samples", 2..=100_000) {
        l.min_samples = u32::try_from(n.value).unwrap_or(l.min_samples);
    }
    l.fresh_seconds = span(f, "fresh", 1..=3_600).unwrap_or(l.fresh_seconds);
    l.recent_seconds = span(f, "recent", 1..=3_600).unwrap_or(l.recent_seconds);
    l.skew_seconds = span(f, "skew", 1..=300).unwrap_or(l.skew_seconds);
    l.absent_errors_are_zero = f.bool_opt("absent_errors_are_zero").is_some_and(|b| b.value);
    l
}

fn stage_rules(doc: &Doc, table: &Table, faults: &mut Faults) -> Stages {
    let mut f = Fields::new(doc, table, "[rollouts.stages]", faults);
    let mut s = Stages::default();
    let weights = f.integers("weights", 1..=100);
    if let Some(bad) = weights.windows(2).find(|w| matches!(w, [a, b] if b.value <= a.value)).and_then(|w| w.last()) {
        f.fault(bad.at, format!("weights: expected rising percents, found {} after a higher one", bad.value));
    }
    if let Some(last) = weights.last().filter(|w| w.value != 100) {
        f.fault(last.at, format!("weights: expected 100 as the last one, found {}", last.value));
    }
    s.weights = weights.iter().filter_map(|w| u32::try_from(w.value).ok()).collect();
    s.each = span(&mut f, "each", 1..=7 * DAY).unwrap_or(s.each);
    s.watch = span(&mut f, "watch", 1..=7 * DAY).unwrap_or(s.watch);
    if let Some(n) = f.integer_opt("freeze_from", 1..=99) {
        s.freeze_from = u32::try_from(n.value).unwrap_or(s.freeze_from);
    }
    f.finish();
    s
}

fn budget_rules(doc: &Doc, table: &Table, faults: &mut Faults) -> Option<BudgetRules> {
    let mut f = Fields::new(doc, table, "[rollouts.budget]", faults);
    let class = f.text_opt("class");
    let slos: Vec<String> = f.texts("slos").into_iter().map(|s| s.value).collect();
    let word = class.as_ref().map_or("normal", |c| c.value.as_str());
    let found = ChangeClass::ALL.into_iter().find(|c| c.word() == word);
    if let (None, Some(c)) = (found, &class) {
        f.fault(c.at, format!("class: expected normal, critical or emergency, found {:?}", c.value));
    }
    f.finish();
    let slos = if slos.is_empty() { vec!["*".into()] } else { slos };
    Some(BudgetRules { class: found?, slos })
}

fn smoke_rules(doc: &Doc, table: &Table, faults: &mut Faults) -> Option<Smoke> {
    let mut f = Fields::new(doc, table, "[rollouts.smoke]", faults);
    let urls = f.texts("urls");
    if urls.is_empty() {
        f.fault(f.at(), "[rollouts.smoke] needs \"urls\", a list of at least one address");
    }
    for u in urls.iter().filter(|u| !u.value.starts_with("http://") && !u.value.starts_with("https://")) {
        f.fault(u.at, "urls: expected addresses such as http://web-preview.shop:8080/healthz");
    }
    let statuses = f.integers("statuses", 100..=599);
    let body = f.text_opt("body").map(|b| b.value);
    let timeout = f.integer_opt("timeout_seconds", 1..=60).and_then(|t| u64::try_from(t.value).ok()).unwrap_or(5);
    f.finish();
    let statuses = statuses.iter().filter_map(|s| u16::try_from(s.value).ok()).collect();
    Some(Smoke { urls: urls.into_iter().map(|u| u.value).collect(), statuses, body, timeout })
}

fn blue_green_rules(doc: &Doc, table: &Table, faults: &mut Faults) -> Option<PairRules> {
    let mut f = Fields::new(doc, table, "[rollouts.blue_green]", faults);
    let (service, blue, green) = (f.text("service"), f.text("blue"), f.text("green"));
    let text = |f: &mut Fields, key, default: &str| f.text_opt(key).map_or(default.to_owned(), |t| t.value);
    let label = text(&mut f, "label", "version");
    let (blue_value, green_value) = (text(&mut f, "blue_value", "blue"), text(&mut f, "green_value", "green"));
    two(&mut f, blue.as_ref(), green.as_ref());
    if blue_value == green_value {
        f.fault(
            f.at(),
            format!("blue_value and green_value are both {blue_value:?}: the Service could not tell them apart"),
        );
    }
    f.finish();
    Some(PairRules::BlueGreen {
        service: service?.value,
        blue: (blue?.value, blue_value),
        green: (green?.value, green_value),
        label,
    })
}

fn canary_rules(doc: &Doc, table: &Table, faults: &mut Faults) -> Option<PairRules> {
    let mut f = Fields::new(doc, table, "[rollouts.replica_canary]", faults);
    let (stable, canary) = (f.text("stable"), f.text("canary"));
    two(&mut f, stable.as_ref(), canary.as_ref());
    f.finish();
    Some(PairRules::ReplicaCanary { stable: stable?.value, canary: canary?.value })
}

fn two(f: &mut Fields, a: Option<&At<String>>, b: Option<&At<String>>) {
    if let (Some(a), Some(b)) = (a, b)
        && a.value == b.value
    {
        f.fault(b.at, format!("expected two Deployments, found {:?} twice", b.value));
    }
}

/// `30s`, `10m`, `1h30m` in seconds.
fn span(f: &mut Fields, key: &'static str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
    let At { value, at } = f.text_opt(key)?;
    let got = go_span(&value).filter(|s| range.contains(s));
    if got.is_none() {
        let (from, to) = (range.start(), range.end());
        f.fault(at, format!("{key}: expected a time such as 30s or 10m, from {from} to {to} s, found {value:?}"));
    }
    got
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            clusters: vec!["prod".into()],
            prometheus: vec!["main".into()],
            checklists: vec!["readiness".into(), "production".into()],
        }
    }

    fn parse(text: &str) -> Result<Config, String> {
        let doc = Doc::parse(Path::new("r.toml"), text.to_owned()).map_err(|e| e.to_string())?;
        super::parse(&doc, Some(&known())).map_err(|e| e.to_string())
    }

    #[test]
    fn the_sample_says_what_the_defaults_are() {
        let config = parse(SAMPLE).unwrap_or_else(|e| panic!("{e}"));
        let web = &config.rollouts[0];
        assert_eq!((config.every, web.ready, web.zone_minimum), (30, 300, Some(2)));
        assert_eq!(web.errors.as_ref().unwrap().limits, Limits::default());
        assert_eq!(web.stages, Stages { weights: vec![5, 25, 50, 100], ..Stages::default() });
        assert_eq!(web.readiness, Some(Readiness { list: "readiness".into(), valid: 7 * DAY }));
        let pairs = config.pairs("prod").0;
        assert_eq!(
            pairs.iter().map(|p| p.kind).collect::<Vec<_>>(),
            [RolloutKind::BlueGreen, RolloutKind::ReplicaCanary]
        );
        assert!(config.pairs("other").0.is_empty());
    }

    const HEAD: &str = "[[rollouts]]\ntarget = \"prod/shop/web\"\n";
    const QUERIES: &str =
        "[rollouts.errors]\nerrors = 'e{pod=~\"{{revision}}.*\"}'\ntotal = 't{pod=~\"{{revision}}.*\"}'\n";

    #[test]
    fn faults_have_a_place_and_the_name_that_was_meant() {
        for (text, want) in [
            ("every = \"5m\"".to_owned(), "r.toml:1:9: every: expected a time"),
            ("[[rollouts]]\n".to_owned(), "a rollout needs \"target\""),
            ("[[rollouts]]\ntarget = \"web\"".to_owned(), "r.toml:2:10: target: expected CLUSTER/NAMESPACE/NAME"),
            ("[[rollouts]]\ntarget = \"prud/shop/web\"".to_owned(), "did you mean \"prod\"?"),
            (format!("{HEAD}{HEAD}"), "r.toml:4:10: target: prod/shop/web is there twice"),
            (
                format!("{HEAD}zone_minimun = 2"),
                "unknown key \"zone_minimun\" of a rollout; did you mean \"zone_minimum\"?",
            ),
            (
                format!("{HEAD}readiness = \"readines\""),
                "r.toml:3:13: there is no checklist \"readines\"; did you mean",
            ),
            (format!("{HEAD}readiness_valid = \"7d\""), "readiness_valid stands without readiness"),
            (format!("{HEAD}[rollouts.error]\nx = 1"), "did you mean \"errors\"?"),
            (
                format!("{HEAD}[rollouts.errors]\nerrors = 'e'\ntotal = 't'"),
                "r.toml:4:10: errors: expected {{revision}} in it",
            ),
            (
                format!(
                    "{HEAD}[rollouts.errors]\nerrors = 'sum(rate(e{{pod=\"{{{{revision}}}}\"}}[5m]))'\ntotal = 't{{p=\"{{{{revision}}}}\"}}'"
                ),
                "errors: expected a counter as it is scraped, without functions",
            ),
            (format!("{HEAD}{QUERIES}absolute = 5"), "absolute: expected a share from 0 to 1, found 5; 5 % is 0.05"),
            (format!("{HEAD}{QUERIES}relative = 0.5"), "relative: expected times the stable ratio"),
            (
                format!("{HEAD}{QUERIES}prometheus = \"mian\""),
                "operate.prometheus has no server \"mian\"; did you mean \"main\"?",
            ),
            (format!("{HEAD}{QUERIES}canary = \"c\""), "canary and stable: expected both names or none"),
            (format!("{HEAD}{QUERIES}canary = \"c\"\nstable = \"c\""), "expected another name than the canary's"),
            (
                format!("{HEAD}[rollouts.stages]\nweights = [5, 50, 25, 100]"),
                "r.toml:4:19: weights: expected rising percents",
            ),
            (format!("{HEAD}[rollouts.stages]\nweights = [5, 50]"), "expected 100 as the last one, found 50"),
            (format!("{HEAD}[rollouts.budget]\nclass = \"big\""), "class: expected normal, critical or emergency"),
            (format!("{HEAD}[rollouts.smoke]\nurls = [\"x\"]"), "urls: expected addresses"),
            (format!("{HEAD}[rollouts.smoke]\n"), "needs \"urls\""),
            (
                format!("{HEAD}[rollouts.blue_green]\nservice = \"s\"\nblue = \"a\"\ngreen = \"a\""),
                "r.toml:6:9: expected two Deployments, found \"a\" twice",
            ),
            (
                format!(
                    "{HEAD}[rollouts.blue_green]\nservice = \"s\"\nblue = \"a\"\ngreen = \"b\"\nblue_value = \"green\""
                ),
                "blue_value and green_value are both \"green\"",
            ),
            (
                format!(
                    "{HEAD}[rollouts.blue_green]\nservice = \"s\"\nblue = \"a\"\ngreen = \"b\"\n[rollouts.replica_canary]\nstable = \"a\"\ncanary = \"b\""
                ),
                "a rollout is one of them",
            ),
        ] {
            let e = parse(&text).unwrap_err();
            assert!(e.contains(want), "{text}\n{e}");
        }
        let several = Known { prometheus: vec!["a".into(), "b".into()], ..known() };
        let doc = Doc::parse(Path::new("r.toml"), format!("{HEAD}{QUERIES}")).unwrap();
        let e = super::parse(&doc, Some(&several)).unwrap_err().to_string();
        assert!(e.contains("has 2 servers: say which one"), "{e}");
    }

    #[test]
    fn weights_are_those_of_the_file_or_of_the_rollout_itself() {
        let rules = |text: &str| parse(&format!("{HEAD}{text}")).unwrap().rollouts.remove(0);
        let step = |percent| Step::Weight { percent };
        assert_eq!(rules("").weights(&[]), [5, 25, 50, 100]);
        assert_eq!(rules("").weights(&[step(20), Step::Pause { seconds: None }, step(60), step(100)]), [20, 60, 100]);
        assert_eq!(rules("[rollouts.stages]\nweights = [10, 100]").weights(&[step(20)]), [10, 100]);
    }
}
