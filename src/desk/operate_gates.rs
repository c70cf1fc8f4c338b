//! Gates of rollouts: looked at again and again by the process that leads, kept in the store, shown in every process,
//! and asked before a change is approved or started. Nothing here acts: an advice becomes a proposal only when a person
//! makes it one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::SignedDuration;
use jiff::Timestamp;
use tokio::sync::watch;

use super::Desk;
use super::DeskError;
use super::Platform;
use super::Result;
use super::live::stopped_within;
use crate::config::Faults;
use crate::model::action::ActionDef;
use crate::model::action::Executor;
use crate::model::health::SourceState;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::model::ids::RequestId;
use crate::model::rollout::Rollout;
use crate::model::rollout::RolloutId;
use crate::model::rollout::RolloutVerb;
use crate::model::sla::ChecklistRun;
use crate::operate::checklist;
use crate::operate::rollout::ask::Asker;
use crate::operate::rollout::config;
use crate::operate::rollout::config::Config;
use crate::operate::rollout::config::PairRules;
use crate::operate::rollout::config::Rules;
use crate::operate::rollout::look;
use crate::operate::rollout::look::Heard;
use crate::operate::rollout::record;
use crate::operate::rollout::stage;
use crate::operate::rollout::stage::Place;
use crate::operate::rollout::stage::StagePlan;
use crate::operate::rollout::stage::StageState;
use crate::operate::rollout::stage::kept;
use crate::respond::Guard;
use crate::respond::Guarding;
use crate::respond::Guards;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::sqlite::SqliteStore;
use crate::text::Untrusted;
use crate::text::clean;

pub use crate::operate::rollout::record::Record;

/// Rollouts looked at at the same time.
const AT_ONCE: usize = 8;
/// How soon what another process saw is shown here.
const SHOWN: Duration = Duration::from_secs(2);
/// Old values are forgotten so often.
const FORGET: Duration = Duration::from_secs(3_600);
/// One at rest is written down anew so often, though nothing changed.
const AT_REST: SignedDuration = SignedDuration::from_secs(45);

/// Reads the file, with the names this desk knows.
pub(super) fn read(path: &Path, settings: &crate::config::Settings) -> std::result::Result<Config, Faults> {
    let lists = checklist::bundled().unwrap_or_default();
    let known = config::Known {
        clusters: settings.operate.kubernetes.keys().cloned().collect(),
        prometheus: settings.operate.prometheus.keys().cloned().collect(),
        checklists: lists.into_iter().map(|l| l.name).collect(),
    };
    config::read(path, Some(&known))
}

impl Desk {
    /// What is asked of rollouts; nothing without a `rollouts.toml`.
    ///
    /// # Errors
    /// Usage: every fault of the file.
    pub(super) fn rollout_rules(&self) -> Result<Config> {
        match &self.settings.operate.rollouts {
            None => Ok(Config::default()),
            Some(path) => read(path, &self.settings).map_err(|f| DeskError::Usage(f.to_string())),
        }
    }

    pub(super) fn asker(&self) -> Asker {
        let asker = Asker::new(&self.settings.operate, Arc::clone(&self.secrets));
        match self.scrapes() {
            Some(feed) => asker.fed_by(feed),
            None => asker,
        }
    }

    /// Looks at one rollout now: measures its gates, moves its stage clock, keeps both.
    ///
    /// # Errors
    /// Usage without rules for it; no when the cluster has no such rollout.
    pub async fn look_at_rollout(&self, name: &str) -> Result<(Rollout, Record)> {
        let config = self.rollout_rules()?;
        let rollout = self.find_rollout(name).await?;
        let rules = config.of(&rollout.id).ok_or_else(|| {
            DeskError::Usage(format!("{} has no gates: rollouts.toml says nothing about it", rollout.id))
        })?;
        if rules.budget.is_some() {
            self.know_budgets().await;
        }
        if rules.readiness.is_some() && self.platform().checklists.is_empty() {
            let runs = self.checklists()?;
            self.read_platform(|p| p.checklists = runs);
        }
        let record = self.look(&self.asker(), &config, rules, &rollout, Timestamp::now()).await?;
        let mut shown = rollout;
        fill(&mut shown, &record, self.store.as_ref(), Timestamp::now())?;
        Ok((shown, record))
    }

    /// The rollout of that name, `NAMESPACE/NAME` or with its cluster: as this process watches it, else read now.
    pub async fn find_rollout(&self, name: &str) -> Result<Rollout> {
        let watched = self.platform();
        if let Some(r) = one_of(&watched.rollouts, name)? {
            return Ok(r.clone());
        }
        let read = self.read_clusters().await?;
        let found = one_of(&read.rollouts, name)?.cloned();
        found.ok_or_else(|| DeskError::No(format!("there is no rollout {name}")))
    }

    /// Measures what guards this request before it is decided or started. What cannot be had stays unknown, and unknown
    /// refuses.
    pub async fn know_gates(&self, id: &RequestId) {
        let Ok(Some(request)) = self.store.request(id) else { return };
        let catalogue = self.responder.catalogue();
        let Some(def) = catalogue.iter().find(|d| d.name == request.body.action) else { return };
        if !guarded(def) || self.settings.operate.rollouts.is_none() {
            return;
        }
        let Ok(config) = self.rollout_rules() else { return };
        for rules in request.body.targets.iter().filter_map(|t| rules_of(&config, t)) {
            if let Err(e) = self.look_at_rollout(&rules.target.to_string()).await {
                tracing::warn!(error = %e, rollout = %rules.target, "its gates were not measured");
            }
        }
    }

    pub(super) async fn look(
        &self,
        asker: &Asker,
        config: &Config,
        rules: &Rules,
        rollout: &Rollout,
        now: Timestamp,
    ) -> Result<Record> {
        let (store, id) = (Arc::clone(&self.store), rollout.id.clone());
        let state = blocking(move || kept::read(store.as_ref(), &id)).await?.0;
        let asks = look::asks(rules, rollout, state.as_ref(), now);
        let counted = async {
            match (&rules.errors, &asks) {
                (Some(errors), Some(asks)) => Some(asker.count(errors, asks, now).await),
                _ => None,
            }
        };
        let place = look::standing(rules, rollout, state.as_ref(), now).map(|p| p.0);
        let smoke = async {
            match &rules.smoke {
                Some(rules) if place == Some(Place::Preview) => Some(asker.smoke(rules).await),
                _ => None,
            }
        };
        let (counted, smoke) = tokio::join!(counted, smoke);
        let (counted, unreachable) = counted.map_or((None, false), |(c, lost)| (Some(c), lost));
        let platform = self.platform();
        let heard = Heard {
            counted,
            budget: rules.budget.as_ref().map(|b| super::platform::allows(&platform, b.class, &b.slos, now)),
            readiness: rules.readiness.as_ref().and_then(|r| run_of(&platform, &r.list)),
            smoke,
        };
        let looked = look::judge(rules, rollout, state.as_ref(), &heard, now);
        let moving = look::between(rollout, state.as_ref()).moving;
        let (after, advice) = self.advise(rules, rollout, state, &looked.facts, now).await?;
        let mut record = Record {
            at: now,
            revision: looked.facts.revision.clone(),
            moving,
            gates: looked.facts.gates,
            advice,
            fast_rollback_until: fast_rollback(rules, rollout, after.as_ref()),
            way_back: way_back(rules, rollout, after.as_ref()),
            abandon: abandon(rules, rollout, after.as_ref()),
            sizes: sizes(rollout),
            valid: (3 * config.every).max(60),
            unreachable,
        };
        if !self.read_only {
            let (store, id, new) = (Arc::clone(&self.store), rollout.id.clone(), record.clone());
            blocking(move || remember(store.as_ref(), &id, &new)).await?;
        }
        record.gates.iter_mut().for_each(|g| g.history.clear());
        Ok(record)
    }

    /// What should be done next. The stage machine is asked while something moves, and once more when it stopped, so
    /// that it knows.
    async fn advise(
        &self,
        rules: &Rules,
        rollout: &Rollout,
        state: Option<StageState>,
        facts: &stage::Facts,
        now: Timestamp,
    ) -> Result<(Option<StageState>, Option<crate::model::rollout::Advice>)> {
        let between = look::between(rollout, state.as_ref());
        let Some(plan) = rules.plan(rollout) else {
            let advice = between.moving.then(|| look::by_itself(rollout, &facts.gates));
            return Ok((None, advice));
        };
        let open = state.as_ref().is_some_and(|s| !matches!(s.at, Place::Done | Place::Aborted));
        if !between.moving && !open {
            return Ok((state, None));
        }
        let (after, advice) = match self.read_only {
            true => stage::advance(&plan, state.as_ref(), facts, now),
            false => {
                let (store, id, facts) = (Arc::clone(&self.store), rollout.id.clone(), facts.clone());
                blocking(move || look_and_keep(store.as_ref(), &id, &plan, &facts, now)).await?
            }
        };
        // The machine's own word first: which of the two sides is new may hang on what it just learned.
        let between = look::between(rollout, after.as_ref());
        let advice = look::fit(advice, rollout, &between);
        Ok((after, Some(advice)))
    }
}

/// As [`kept::look`]; where another process looked in between, its look counts and this one only advises.
fn look_and_keep(
    store: &SqliteStore,
    id: &RolloutId,
    plan: &StagePlan,
    facts: &stage::Facts,
    now: Timestamp,
) -> std::result::Result<(Option<StageState>, crate::model::rollout::Advice), StoreError> {
    match kept::look(store, id, plan, facts, now) {
        Err(StoreError::Conflict(_)) => {
            let state = kept::read(store, id)?.0;
            let (_, advice) = stage::advance(plan, state.as_ref(), facts, now);
            Ok((state, advice))
        }
        done => done,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, StoreError> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|e| DeskError::Unreachable(format!("the store was not asked: {e}")))??)
}

/// Keeps a look. One at rest that says what the last one said is not written again and again.
fn remember(store: &SqliteStore, id: &RolloutId, new: &Record) -> std::result::Result<(), StoreError> {
    if !new.moving
        && let (Some(old), _) = record::last(store, id)?
        && new.at.duration_since(old.at) < AT_REST
        && (Record { at: new.at, ..old }) == *new
    {
        return Ok(());
    }
    record::keep(store, id, new)
}

/// `CLUSTER/NAMESPACE/NAME` or `NAMESPACE/NAME`. The error: it is one of several.
fn one_of<'a>(all: &'a [Rollout], name: &str) -> Result<Option<&'a Rollout>> {
    let is = |r: &&Rollout| r.id.to_string() == name || format!("{}/{}", r.id.namespace, r.id.name) == name;
    let found: Vec<&Rollout> = all.iter().filter(is).collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        several => {
            let names: Vec<String> = several.iter().map(|r| r.id.to_string()).collect();
            Err(DeskError::Usage(format!("{name} is one of several: {}", names.join(", "))))
        }
    }
}

fn run_of<'a>(platform: &'a Platform, list: &str) -> Option<&'a ChecklistRun> {
    platform.checklists.iter().find(|c| c.list.name == list)
}

/// The time the old side is meant to stay after a switch, while it still has pods.
fn fast_rollback(rules: &Rules, r: &Rollout, state: Option<&StageState>) -> Option<Timestamp> {
    let (window, state) = (rules.fast_rollback?, state?);
    let old = look::between(r, Some(state)).old.is_some_and(|o| o.available > 0);
    let switched = matches!(state.at, Place::Watch | Place::Drain);
    (r.fast_rollback_until.is_none() && switched && old)
        .then(|| state.entered.checked_add(SignedDuration::from_secs(window)).ok())
        .flatten()
}

/// The selector's value that leads back to the old side.
fn way_back(rules: &Rules, r: &Rollout, state: Option<&StageState>) -> Option<String> {
    let Some(PairRules::BlueGreen { blue, green, .. }) = &rules.pair else { return None };
    let active_is_blue = r.active.as_deref()? == "blue";
    // The old side serves until the switch, and does not afterwards.
    let old_is_blue = active_is_blue != look::between(r, state).switched?;
    Some(if old_is_blue { blue.1.clone() } else { green.1.clone() })
}

/// The new side while it does not serve.
fn abandon(rules: &Rules, r: &Rollout, state: Option<&StageState>) -> Option<String> {
    let Some(PairRules::BlueGreen { blue, green, .. }) = &rules.pair else { return None };
    let active_is_blue = r.active.as_deref()? == "blue";
    let switched = look::between(r, state).switched?;
    (!switched).then(|| if active_is_blue { green.0.clone() } else { blue.0.clone() })
}

/// Pods wanted by each ReplicaSet that has a role.
fn sizes(r: &Rollout) -> BTreeMap<String, u32> {
    let named = r.revisions.iter().filter(|v| !v.role.is_empty());
    named.map(|v| (v.role.clone(), v.desired)).collect()
}

// --- in the background -----------------------------------------------------------------------------------

/// Looks at every rollout there are rules for, again and again. For the process that leads.
pub(super) async fn keep(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    if desk.settings.operate.rollouts.is_none() {
        return;
    }
    let asker = Arc::new(desk.asker());
    let mut forgotten: Option<Instant> = None;
    // The clusters are read first.
    let mut pause = SHOWN;
    while !stopped_within(&mut stop, pause).await {
        let began = Instant::now();
        let every = match desk.rollout_rules() {
            Ok(config) => {
                let every = u64::try_from(config.every).unwrap_or(30);
                tokio::select! {
                    () = round(&desk, &asker, config) => {}
                    _ = stop.wait_for(|s| *s) => return,
                }
                every
            }
            Err(e) => {
                tracing::warn!(error = %e, "rollouts.toml");
                30
            }
        };
        if forgotten.is_none_or(|at| at.elapsed() > FORGET) {
            forgotten = Some(Instant::now());
            let store = Arc::clone(&desk.store);
            if let Err(e) = blocking(move || record::forget(store.as_ref(), Timestamp::now())).await {
                tracing::warn!(error = %e, "old values of gates");
            }
        }
        pause = Duration::from_secs(every).saturating_sub(began.elapsed()).max(Duration::from_millis(500));
    }
}

async fn round(desk: &Arc<Desk>, asker: &Arc<Asker>, config: Config) {
    let config = Arc::new(config);
    let mut looks = Vec::new();
    for rollout in desk.platform().rollouts.iter().filter(|r| config.of(&r.id).is_some()) {
        looks.push(one(Arc::clone(desk), Arc::clone(asker), Arc::clone(&config), rollout.clone()));
    }
    stream::iter(looks).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

async fn one(desk: Arc<Desk>, asker: Arc<Asker>, config: Arc<Config>, rollout: Rollout) {
    let Some(rules) = config.of(&rollout.id) else { return };
    if let Err(e) = desk.look(&asker, &config, rules, &rollout, Timestamp::now()).await {
        tracing::warn!(error = %e, rollout = %rollout.id, "its gates");
    }
}

/// Shows what was last seen of each gate in this process's reading.
pub(super) async fn show(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    if desk.settings.operate.rollouts.is_none() {
        return;
    }
    while !stopped_within(&mut stop, SHOWN).await {
        let reader = Arc::clone(&desk);
        let done = tokio::task::spawn_blocking(move || reader.show_gates()).await;
        if let Ok(Err(e)) = done {
            tracing::warn!(error = %e, "gates of rollouts");
        }
    }
}

impl Desk {
    /// The same with what was last seen of their gates.
    pub(super) fn with_gates(&self, config: &Config, mut all: Vec<Rollout>) -> Result<Vec<Rollout>> {
        let now = Timestamp::now();
        for shown in &mut all {
            let Some(rules) = config.of(&shown.id) else { continue };
            shown.zone_minimum = rules.zone_minimum;
            if let (Some(record), _) = record::last(self.store.as_ref(), &shown.id)? {
                fill(shown, &record.as_of(now), self.store.as_ref(), now)?;
            }
        }
        Ok(all)
    }

    fn show_gates(&self) -> Result<()> {
        let (config, state) = match self.rollout_rules() {
            Ok(config) => (Some(config), None),
            Err(e) => (None, Some(unreadable(self.settings.operate.rollouts.as_deref(), &e))),
        };
        let ruled = |r: &&Rollout| config.as_ref().is_some_and(|c| c.of(&r.id).is_some());
        let found: Vec<Rollout> = self.platform().rollouts.iter().filter(ruled).cloned().collect();
        let found = match &config {
            Some(config) => self.with_gates(config, found)?,
            None => found,
        };
        let pairs = match &config {
            Some(config) => self.pair_offers(config, &found)?,
            None => BTreeMap::new(),
        };
        let state = state.or_else(|| {
            let absent = absent(config.as_ref()?, &self.platform());
            (!absent.is_empty()).then(|| SourceState {
                state: SourceWord::Absent,
                detail: Untrusted::new(format!("no cluster has {}", absent.join(", "))),
                ..rules_file(self.settings.operate.rollouts.as_deref())
            })
        });
        let known: BTreeMap<&RolloutId, &Rollout> = found.iter().map(|r| (&r.id, r)).collect();
        self.read_platform(|p| {
            for r in &mut p.rollouts {
                let of = known.get(&r.id);
                r.gates = of.map_or_else(Vec::new, |k| k.gates.clone());
                r.advice = of.and_then(|k| k.advice.clone());
                r.zone_minimum = of.and_then(|k| k.zone_minimum);
                r.fast_rollback_until = r.fast_rollback_until.or(of.and_then(|k| k.fast_rollback_until));
            }
            p.pairs = pairs;
            p.sources.retain(|s| s.kind != "rollouts");
            p.sources.extend(state);
        });
        Ok(())
    }
}

/// Puts a look into the picture of a rollout.
fn fill(r: &mut Rollout, record: &Record, store: &SqliteStore, now: Timestamp) -> Result<()> {
    r.gates.clone_from(&record.gates);
    record::histories(store, &r.id, &mut r.gates, now)?;
    r.advice.clone_from(&record.advice);
    r.fast_rollback_until = r.fast_rollback_until.or(record.fast_rollback_until);
    Ok(())
}

/// The file as a source of what is shown.
fn rules_file(path: Option<&Path>) -> SourceState {
    SourceState {
        name: path.and_then(Path::file_name).map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
        kind: "rollouts".into(),
        state: SourceWord::Live,
        detail: Untrusted::default(),
        last_good: None,
        next_try: None,
    }
}

fn unreadable(path: Option<&Path>, e: &DeskError) -> SourceState {
    SourceState { state: SourceWord::Unreadable, detail: Untrusted::new(e.to_string()), ..rules_file(path) }
}

/// Rollouts that are named and that no cluster has, as far as clusters can be read.
fn absent(config: &Config, platform: &Platform) -> Vec<String> {
    let read = |cluster: &str| {
        let mut of =
            platform.sources.iter().filter(|s| s.name == cluster && s.kind.starts_with("kubernetes")).peekable();
        of.peek().is_some() && of.all(|s| matches!(s.state, SourceWord::Live | SourceWord::Absent))
    };
    let missing = |r: &&Rules| platform.rollouts.iter().all(|known| known.id != r.target);
    let named = config.rollouts.iter().filter(missing).filter(|r| read(&r.target.cluster));
    named.map(|r| r.target.to_string()).collect()
}

// --- before a change -------------------------------------------------------------------------------------

/// The answer to what guards a change of a rollout, from the newest look in the store.
pub(super) fn guards(settings: &crate::config::Settings, store: Arc<SqliteStore>) -> Guards {
    let Some(path) = settings.operate.rollouts.clone() else { return Arc::new(|_, _, _, _| Guarding::default()) };
    Arc::new(
        move |def, targets, params, now| {
            if guarded(def) { holds(&path, store.as_ref(), def, targets, params, now) } else { Guarding::default() }
        },
    )
}

/// Going back is never held up.
fn guarded(def: &ActionDef) -> bool {
    match verb_of(def) {
        Some(RolloutVerb::Promote | RolloutVerb::Retry | RolloutVerb::Scale | RolloutVerb::SwitchSelector) => true,
        Some(RolloutVerb::Abort | RolloutVerb::Pause | RolloutVerb::Undo) | None => false,
    }
}

/// What an action does with a rollout; in a demo, with what stands for one.
fn verb_of(def: &ActionDef) -> Option<RolloutVerb> {
    let named = || RolloutVerb::ALL.into_iter().find(|v| def.name.strip_prefix("rollout-") == Some(v.word()));
    match &def.executor {
        Executor::Kubernetes { verb } => Some(*verb),
        Executor::Demo { .. } => named(),
        _ => None,
    }
}

/// The rules a target is under: its own, or those of the pair whose Service or Deployment it is.
fn rules_of<'a>(config: &'a Config, target: &str) -> Option<&'a Rules> {
    let mut parts = target.splitn(3, '/');
    let (cluster, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
    let here = |r: &&Rules| r.target.cluster == cluster && r.target.namespace == namespace;
    let part = |r: &&Rules| match &r.pair {
        None => r.target.name == name,
        Some(PairRules::BlueGreen { service, blue, green, .. }) => {
            [service, &blue.0, &green.0].iter().any(|n| *n == name)
        }
        Some(PairRules::ReplicaCanary { stable, canary }) => stable == name || canary == name,
    };
    config.rollouts.iter().filter(here).find(part)
}

fn holds(
    path: &Path,
    store: &SqliteStore,
    def: &ActionDef,
    targets: &[String],
    params: &BTreeMap<String, String>,
    now: Timestamp,
) -> Guarding {
    let unknown = |what: String, why: String| Guard { what, answer: Tri::Unknown, why };
    let config = match config::read(path, None) {
        Ok(config) => config,
        Err(faults) => {
            let guards = vec![unknown("what must hold for it".into(), faults.to_string())];
            return Guarding { guards, leads_back: false };
        }
    };
    let Some(verb) = verb_of(def) else { return Guarding::default() };
    let mut out = Vec::new();
    let mut back = 0;
    for target in targets {
        let Some(rules) = rules_of(&config, target) else { continue };
        let record = match record::last(store, &rules.target) {
            Ok((Some(record), _)) => record.as_of(now),
            Ok((None, _)) => {
                if leads_back(rules, verb, target, params, None) {
                    back += 1;
                } else if !harmless(rules, verb, params) {
                    out.push(unknown(format!("the gate of {}", rules.target), "nobody looked at it yet".into()));
                }
                continue;
            }
            Err(e) => {
                out.push(unknown(format!("the gate of {}", rules.target), e.to_string()));
                continue;
            }
        };
        if leads_back(rules, verb, target, params, Some(&record)) {
            back += 1;
            continue;
        }
        if harmless(rules, verb, params) {
            continue;
        }
        if verb != RolloutVerb::Retry && !record.moving {
            let why = format!("at {:.0} nothing was being rolled out", record.at);
            out.push(unknown(format!("the gate of {}", rules.target), why));
        }
        // Whoever retries measures from the beginning: only what does not speak of the revision counts.
        let counts = |g: &&crate::model::rollout::Gate| verb != RolloutVerb::Retry || g.name == "readiness";
        for g in record.gates.iter().filter(counts).filter(|g| g.answer != Tri::Pass) {
            let why = clean(&Untrusted::new(g.why.as_str())).to_string();
            out.push(Guard { what: format!("gate \"{}\" of {}", g.name, rules.target), answer: g.answer, why });
        }
    }
    // One that goes on among those that go back is not excused by them.
    Guarding { guards: out, leads_back: back > 0 && back == targets.len() }
}

/// Whether the change takes a pair back: neither a gate nor a budget holds that.
fn leads_back(
    rules: &Rules,
    verb: RolloutVerb,
    target: &str,
    params: &BTreeMap<String, String>,
    record: Option<&Record>,
) -> bool {
    let name = target.rsplit('/').next().unwrap_or(target);
    let size = |role: &str| record.and_then(|r| r.sizes.get(role)).copied();
    let wanted = params.get("replicas").and_then(|n| n.parse::<u32>().ok());
    match (verb, &rules.pair) {
        (RolloutVerb::SwitchSelector, Some(PairRules::BlueGreen { label, .. })) => {
            let to = record.and_then(|r| r.way_back.as_ref());
            to.is_some() && to == params.get("value") && params.get("key").is_none_or(|key| key == label)
        }
        // Up is a way back on the side that serves; down is on a canary.
        (RolloutVerb::Scale, Some(PairRules::ReplicaCanary { canary, .. })) => {
            let (role, is_canary) = if name == canary { ("canary", true) } else { ("stable", false) };
            match (wanted, size(role)) {
                (Some(0), _) if is_canary => true,
                (Some(n), Some(now)) if is_canary => n <= now,
                (Some(n), Some(now)) => n >= now,
                _ => false,
            }
        }
        // The new side goes before it ever served; the old one comes again, with as many pods as serve now.
        (RolloutVerb::Scale, Some(PairRules::BlueGreen { blue, green, .. })) => {
            let value = [blue, green].into_iter().find(|side| side.0 == name).map(|side| &side.1);
            let old = record.is_some_and(|r| r.way_back.is_some() && r.way_back.as_ref() == value);
            match wanted {
                Some(0) => record.is_some_and(|r| r.abandon.as_deref() == Some(name)),
                Some(n) => old && size("active").is_some_and(|now| n >= now),
                None => false,
            }
        }
        _ => false,
    }
}

/// Whether the change is no step of a rollout.
fn harmless(rules: &Rules, verb: RolloutVerb, params: &BTreeMap<String, String>) -> bool {
    let wanted = params.get("replicas").and_then(|n| n.parse::<u32>().ok());
    match (verb, &rules.pair) {
        (RolloutVerb::Scale, None) => true,
        // The new side comes up by this, and the old one goes by it.
        (RolloutVerb::Scale, Some(PairRules::BlueGreen { .. })) => wanted.is_some_and(|n| n > 0),
        _ => false,
    }
}

#[cfg(test)]
#[path = "operate_gates_tests.rs"]
mod tests;
