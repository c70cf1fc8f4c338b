//! Scoring opinions on throwaway desks: labelled records are filed as people would have closed them, others are judged
//! as they would be on a real desk, and nothing of either touches the real one.
//!
//! Every record comes in at its own time. The time at which all is judged is that of the newest record, so that the age
//! of what was learnt means what it would have meant then.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use serde::Serialize;
use tempfile::TempDir;

use super::Cancel;
use super::Desk;
use super::DeskError;
use super::DeskOptions;
use super::Result;
use crate::config::Loaded;
use crate::intake::Pipeline;
use crate::intake::format::Record;
use crate::intake::pipeline::Batch;
use crate::intake::pipeline::Maker;
use crate::model::act::Act;
use crate::model::alert::Alert;
use crate::model::alert::Disposition;
use crate::model::alert::NewAlert;
use crate::model::ids::AlertId;
use crate::model::ids::PersonId;
use crate::model::person::Person;
use crate::model::person::Role;
use crate::model::person::Roster;
use crate::model::verdict::Verdict;
use crate::respond::Policy;
use crate::store::Ingested;
use crate::store::Store;
use crate::text::Untrusted;
use crate::triage::Backends;
use crate::triage::eval::labelled;
use crate::triage::eval::metrics;
use crate::triage::eval::pairs;

pub use crate::model::verdict::VerdictKind;
pub use crate::triage::eval::labelled::Part;
pub use crate::triage::eval::metrics::BySource;
pub use crate::triage::eval::metrics::Outcome;
pub use crate::triage::eval::metrics::Score;
pub use crate::triage::eval::metrics::Share;
pub use crate::triage::eval::pairs::Injection;

/// Longest file read, in bytes.
const MAX_FILE: u64 = 1 << 30;

/// A file of labelled records, or a part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub path: PathBuf,
    pub part: Option<Part>,
}

impl Input {
    /// `FILE` or `FILE@K/N`: the Kth of N parts.
    pub fn parse(text: &str) -> Self {
        match text.rsplit_once('@').and_then(|(file, part)| Some((file, Part::parse(part)?))) {
            Some((file, part)) if !file.is_empty() => Self { path: file.into(), part: Some(part) },
            _ => Self { path: text.into(), part: None },
        }
    }
}

/// What to judge, with what, and what is known before.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub data: Vec<Input>,
    /// Filed as closed first.
    pub learn: Vec<Input>,
    /// `None`: that of the settings.
    pub backend: Option<String>,
    /// Judge so many, chosen by the seed.
    pub limit: Option<usize>,
    pub seed: u64,
    /// Keep each opinion in the report.
    pub each: bool,
}

/// A line that could not be used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileFault {
    pub file: Untrusted,
    pub line: u64,
    /// Empty: the line itself.
    pub field: &'static str,
    pub what: Untrusted,
}

/// What was filed as closed before anything was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Learnt {
    pub attack: u64,
    pub benign: u64,
    pub undetermined: u64,
    /// The same alert as one filed before: not filed again.
    pub repeated: u64,
}

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub backend: String,
    /// As the backend names them; fallbacks left out.
    pub models: BTreeSet<Untrusted>,
    pub learnt: Learnt,
    /// Records that were learnt from already, or stood twice in the data: not judged.
    pub known: u64,
    /// Labelled undetermined: filed, not judged.
    pub unlabelled: u64,
    /// The time that age is measured from.
    pub as_of: Timestamp,
    pub faults: Vec<FileFault>,
    pub score: Score,
    /// In the order of the data; empty unless asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub each: Vec<Each>,
}

/// One opinion, for looking at what went wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Each {
    pub file: Untrusted,
    pub line: u64,
    pub source: String,
    /// The label: it was an attack.
    pub attack: bool,
    pub verdict: VerdictKind,
    /// `None`: it says neither.
    pub right: Option<bool>,
    pub confidence: Option<f32>,
    pub fallback: bool,
    pub title: Untrusted,
    pub remark: Option<Untrusted>,
}

/// What an injection run found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InjectionReport {
    pub backend: String,
    pub learnt: Learnt,
    pub faults: Vec<FileFault>,
    pub injection: Injection,
}

/// How far it is, in words and in numbers.
pub type Progress<'a> = &'a dyn Fn(&str, usize, usize);

/// A record ready to be filed.
struct Ready {
    file: Untrusted,
    line: u64,
    alerts: Vec<NewAlert>,
    disposition: Disposition,
    source: String,
    at: Option<Timestamp>,
}

/// Judges the data after filing what is to be learnt.
///
/// # Errors
/// When a file cannot be read, the backend is not configured, or it was cancelled. Bad lines are in the report.
pub async fn score(loaded: &Loaded, plan: &Plan, progress: Progress<'_>, cancel: &Cancel) -> Result<Report> {
    let mut bench = Bench::open(loaded, plan.backend.as_deref())?;
    let mut faults = Vec::new();
    let learn = bench.read(&plan.learn, &mut faults)?;
    let data = bench.read(&plan.data, &mut faults)?;
    let as_of = bench.set_clock(&[&learn, &data]);
    let learnt = bench.file_closed(learn, progress)?;
    let (data, unlabelled): (Vec<_>, Vec<_>) =
        data.into_iter().partition(|r| r.disposition != Disposition::Undetermined);
    let unlabelled = unlabelled.len() as u64;
    let (mut todo, known) = bench.file_open(data, false)?;
    if let Some(limit) = plan.limit.filter(|l| *l < todo.len()) {
        todo.shuffle(&mut rand::rngs::StdRng::seed_from_u64(plan.seed));
        todo.truncate(limit);
    }
    let mut outcomes = Vec::with_capacity(todo.len());
    let (mut models, mut each) = (BTreeSet::new(), Vec::new());
    for ((_, ready), (verdict, took_ms)) in todo.iter().zip(bench.judge(&todo, progress, cancel).await?) {
        if !verdict.fallback {
            models.insert(verdict.model.clone());
        }
        let outcome = outcome(ready, &verdict, took_ms);
        if plan.each {
            each.push(one(ready, &outcome, &verdict));
        }
        outcomes.push(outcome);
    }
    let score = metrics::score(&outcomes);
    Ok(Report { backend: bench.backends.id().into(), models, learnt, known, unlabelled, as_of, faults, score, each })
}

fn one(ready: &Ready, outcome: &Outcome, v: &Verdict) -> Each {
    Each {
        file: ready.file.clone(),
        line: ready.line,
        source: ready.source.clone(),
        attack: outcome.attack,
        verdict: v.kind,
        right: outcome.says_attack().map(|said| said == outcome.attack),
        confidence: v.confidence,
        fallback: v.fallback,
        title: ready.alerts.first().map(|a| a.fields.title.clone()).unwrap_or_default(),
        remark: v.remark.clone(),
    }
}

fn outcome(ready: &Ready, v: &Verdict, took_ms: f64) -> Outcome {
    Outcome {
        attack: ready.disposition == Disposition::TruePositive,
        source: ready.source.clone(),
        kind: v.kind,
        confidence: v.confidence,
        fallback: v.fallback,
        claims: v.claims.len() as u64,
        founded: v.founded() as u64,
        took_ms,
        prompt_tokens: v.usage.prompt_tokens,
        completion_tokens: v.usage.completion_tokens,
    }
}

/// Judges each alert of the pairs without and with the injected text, on a desk each, and keeps the verdicts there as a
/// real desk would.
///
/// # Errors
/// As [`score`].
pub async fn injection(
    loaded: &Loaded,
    plan: &Plan,
    path: &Path,
    progress: Progress<'_>,
    cancel: &Cancel,
) -> Result<InjectionReport> {
    let (found, bad) = pairs::read(&text_of(path)?, "");
    let mut faults: Vec<FileFault> = bad.into_iter().map(|f| file_fault(path, f)).collect();
    let mut sides = [Bench::open(loaded, plan.backend.as_deref())?, Bench::open(loaded, plan.backend.as_deref())?];
    let mut made: Vec<[Ready; 2]> = Vec::new();
    for pair in found {
        let labelled = |record: Vec<u8>| labelled::Labelled {
            disposition: Disposition::Undetermined,
            source: pair.source.clone(),
            format: pair.format.clone(),
            record,
            line: pair.line,
        };
        match (sides[0].make(labelled(pair.plain)), sides[1].make(labelled(pair.injected))) {
            (Ok(plain), Ok(injected)) => made.push([plain, injected]),
            (Err(fault), _) | (_, Err(fault)) => faults.push(file_fault(path, fault)),
        }
    }
    let mut said: [Vec<pairs::Said>; 2] = Default::default();
    let (plain, injected): (Vec<Ready>, Vec<Ready>) = made.into_iter().map(|[a, b]| (a, b)).unzip();
    let mut learnt = Learnt::default();
    let mut learn_faults = Vec::new();
    for (side, (bench, records)) in sides.iter_mut().zip([plain, injected]).enumerate() {
        learn_faults.clear();
        let learn = bench.read(&plan.learn, &mut learn_faults)?;
        bench.set_clock(&[&learn, &records]);
        learnt = bench.file_closed(learn, progress)?;
        // Pairs often share an alert: each is one of its own here.
        let (todo, _) = bench.file_open(records, true)?;
        let verdicts = bench.judge(&todo, progress, cancel).await?;
        for ((id, _), (verdict, _)) in todo.iter().zip(verdicts) {
            said[side].push(bench.keep(*id, &verdict)?);
        }
    }
    faults.extend(learn_faults);
    let [plain, injected] = said;
    let both: Vec<_> = plain.into_iter().zip(injected).collect();
    Ok(InjectionReport { backend: sides[0].backends.id().into(), learnt, faults, injection: pairs::compare(&both) })
}

/// A desk that goes with this value, and the backend that is measured.
struct Bench {
    desk: Desk,
    by: PersonId,
    makers: BTreeMap<Option<String>, Maker>,
    pipeline: Pipeline,
    backends: Backends,
    _dir: TempDir,
}

impl Bench {
    /// With the settings of the real desk, save for what makes it that desk.
    fn open(loaded: &Loaded, backend: Option<&str>) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("watchfloor-eval-").tempdir();
        let dir = dir.map_err(|e| DeskError::Unreachable(format!("no folder for a throwaway desk: {e}")))?;
        let mut here = loaded.clone();
        here.settings.intake.sources.clear();
        here.settings.intake.generic.insert(labelled::AIT_ADS.to_owned(), labelled::ait_ads_map());
        // The models of the real desk.
        here.settings.triage.local.dir.get_or_insert_with(|| loaded.paths.data_dir.join("models"));
        if let Some(backend) = backend {
            backend.clone_into(&mut here.settings.triage.backend);
        }
        here.paths.data_dir = dir.path().to_owned();
        here.read_only = false;
        let by = PersonId::new("eval").ok_or_else(|| DeskError::Usage("eval is no person's id".into()))?;
        let mut options = DeskOptions::of(&here)?;
        options.roster = Roster { people: vec![analyst(&by)] };
        options.me = Some(by.clone());
        options.policy = Policy::built_in();
        let desk = Desk::open(options)?;
        let backends = desk.make_backends_of(&here.settings.triage)?;
        desk.store.do_without_sync()?;
        let store: Arc<dyn Store> = desk.store.clone();
        let intake = &desk.settings.intake;
        let pipeline = Pipeline::new(store, intake.keys.clone(), Arc::clone(&desk.assets), intake.generic.clone());
        Ok(Self { desk, by, makers: BTreeMap::new(), pipeline, backends, _dir: dir })
    }

    /// Reads and parses whole files.
    fn read(&mut self, inputs: &[Input], faults: &mut Vec<FileFault>) -> Result<Vec<Ready>> {
        let mut out = Vec::new();
        for input in inputs {
            let (good, bad) = labelled::read(&text_of(&input.path)?, "", input.part);
            faults.extend(bad.into_iter().map(|f| file_fault(&input.path, f)));
            for labelled in good {
                match self.make(labelled) {
                    Ok(ready) => out.push(Ready { file: input.path.display().to_string().into(), ..ready }),
                    Err(fault) => faults.push(file_fault(&input.path, fault)),
                }
            }
        }
        Ok(out)
    }

    fn make(&mut self, l: labelled::Labelled) -> std::result::Result<Ready, labelled::Fault> {
        let fault = |field, what: String| labelled::Fault { line: l.line, field, what: what.into() };
        if !self.makers.contains_key(&l.format) {
            let maker = self.pipeline.maker(l.format.as_deref()).map_err(|e| fault("format", e.to_string()))?;
            self.makers.insert(l.format.clone(), maker);
        }
        let Some(maker) = self.makers.get_mut(&l.format) else { return Err(fault("format", "unknown".into())) };
        let mut batch = Batch::default();
        let record = Record { offset: 0, line: Some(l.line), bytes: l.record, error: None };
        maker.make(record, &"eval".into(), None, &mut batch);
        if let Some(dead) = batch.dead.pop() {
            return Err(labelled::Fault { line: l.line, field: "alert", what: dead.reason });
        }
        let format = batch.alerts.first().map(|a| a.format.clone()).unwrap_or_default();
        let at = batch.alerts.iter().find_map(|a| a.fields.t_alert.or(a.fields.t_event));
        let source = if l.source.is_empty() { format } else { l.source };
        Ok(Ready {
            file: Untrusted::default(),
            line: l.line,
            alerts: batch.alerts,
            disposition: l.disposition,
            source,
            at,
        })
    }

    /// The desk's time is from now on that of the newest record; records without a time come in then.
    fn set_clock(&mut self, of: &[&[Ready]]) -> Timestamp {
        let now = Timestamp::now();
        let newest = of.iter().flat_map(|r| r.iter()).filter_map(|r| r.at).filter(|at| *at <= now).max();
        let as_of = newest.unwrap_or(now);
        self.desk.clock = Some(as_of);
        as_of
    }

    /// Files records as closed, each when it came.
    fn file_closed(&self, mut records: Vec<Ready>, progress: Progress<'_>) -> Result<Learnt> {
        let (store, as_of) = (&self.desk.store, self.desk.now());
        let mut learnt = Learnt::default();
        records.sort_by_key(|r| r.at.unwrap_or(as_of).min(as_of));
        let all = records.len();
        let mut done = 0;
        for same_time in records.chunk_by(|a, b| a.at.unwrap_or(as_of) == b.at.unwrap_or(as_of)) {
            let Some(at) = same_time.first().map(|r| r.at.unwrap_or(as_of).min(as_of)) else { continue };
            for disposition in Disposition::ALL {
                let alike = same_time.iter().filter(|r| r.disposition == disposition);
                let batch: Vec<NewAlert> = alike.flat_map(|r| r.alerts.iter().cloned()).collect();
                if batch.is_empty() {
                    continue;
                }
                let answers = store.ingest(&batch, &[], None, at)?;
                let ids: Vec<AlertId> = answers.iter().filter_map(new_one).collect();
                learnt.count(disposition, ids.len(), answers.len());
                let close = Act::Close { disposition, reason: "labelled".into(), comment: None };
                store.act(&close, &ids, &self.by, at)?;
            }
            done += same_time.len();
            progress("filed", done, all);
        }
        Ok(learnt)
    }

    /// Files records as new, in order of time; answers them in the order given, with how many were known already. With
    /// `apart`, each is an alert of its own whatever its identity.
    fn file_open(&self, records: Vec<Ready>, apart: bool) -> Result<(Vec<(AlertId, Ready)>, u64)> {
        let as_of = self.desk.now();
        let mut order: Vec<(usize, Ready)> = records.into_iter().enumerate().collect();
        order.sort_by_key(|(n, r)| (r.at.unwrap_or(as_of).min(as_of), *n));
        let (mut out, mut known) = (Vec::new(), 0);
        for (n, mut ready) in order {
            if apart {
                for (i, alert) in ready.alerts.iter_mut().enumerate() {
                    alert.identity = ((n as u128) << 32 | i as u128).to_be_bytes();
                }
            }
            let at = ready.at.unwrap_or(as_of).min(as_of);
            let answers = self.desk.store.ingest(&ready.alerts, &[], None, at)?;
            match answers.first() {
                Some(Ingested::New(id)) => out.push((n, *id, ready)),
                Some(Ingested::Repeat(_)) => known += 1,
                None => {}
            }
        }
        out.sort_by_key(|(n, _, _)| *n);
        Ok((out.into_iter().map(|(_, id, ready)| (id, ready)).collect(), known))
    }

    /// Verdicts in the order of `todo`, with the milliseconds each took. None is kept, so that none leads to another.
    async fn judge(
        &self,
        todo: &[(AlertId, Ready)],
        progress: Progress<'_>,
        cancel: &Cancel,
    ) -> Result<Vec<(Verdict, f64)>> {
        let slots = self.backends.slots().max(1);
        let asked = todo.iter().map(|(id, _)| async move {
            let question = tokio::task::block_in_place(|| self.desk.question(*id))?;
            let begun = Instant::now();
            let judged = self.backends.judge(&question, &|_| {}, cancel).await;
            let judged = judged.map_err(|e| DeskError::No(e.to_string()))?;
            Ok::<_, DeskError>((judged.verdict, begun.elapsed().as_secs_f64() * 1000.0))
        });
        let mut answers = futures_util::stream::iter(asked).buffered(slots);
        let mut out = Vec::with_capacity(todo.len());
        while let Some(answer) = answers.next().await {
            out.push(answer?);
            progress("judged", out.len(), todo.len());
        }
        Ok(out)
    }

    /// Keeps a verdict as a desk does, and says what that did to the alert.
    fn keep(&self, id: AlertId, verdict: &Verdict) -> Result<pairs::Said> {
        let store = &self.desk.store;
        let read = || store.alert(id)?.ok_or_else(|| DeskError::No(format!("{id}: there is no such alert")));
        let before = read()?;
        store.record_verdict(id, verdict)?;
        let after = read()?;
        let held =
            |a: &Alert| (a.status, a.owner.clone(), a.case, a.closing.clone(), a.snoozed_until, a.detector_priority);
        Ok(pairs::Said {
            kind: verdict.kind,
            detected: verdict.speaks_to_model,
            fallback: verdict.fallback,
            before: before.priority,
            after: after.priority,
            acted: held(&before) != held(&after),
        })
    }
}

fn analyst(id: &PersonId) -> Person {
    Person {
        id: id.clone(),
        name: "eval".into(),
        os_users: Vec::new(),
        uids: Vec::new(),
        keys: Vec::new(),
        roles: vec![Role::Analyst],
    }
}

fn new_one(ingested: &Ingested) -> Option<AlertId> {
    match ingested {
        Ingested::New(id) => Some(*id),
        Ingested::Repeat(_) => None,
    }
}

impl Learnt {
    fn count(&mut self, disposition: Disposition, new: usize, all: usize) {
        let n = match disposition {
            Disposition::TruePositive => &mut self.attack,
            Disposition::FalsePositive | Disposition::BenignTruePositive => &mut self.benign,
            Disposition::Undetermined => &mut self.undetermined,
        };
        *n += new as u64;
        self.repeated += all.saturating_sub(new) as u64;
    }
}

fn file_fault(path: &Path, fault: labelled::Fault) -> FileFault {
    let file = path.display().to_string();
    FileFault { file: file.into(), line: fault.line, field: fault.field, what: fault.what }
}

fn text_of(path: &Path) -> Result<String> {
    let cannot = |e: &dyn std::fmt::Display| DeskError::Usage(format!("{}: {e}", path.display()));
    let size = std::fs::metadata(path).map_err(|e| cannot(&e))?.len();
    if size > MAX_FILE {
        return Err(cannot(&format!("{size} bytes, at most {MAX_FILE} are read")));
    }
    let bytes = std::fs::read(path).map_err(|e| cannot(&e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
