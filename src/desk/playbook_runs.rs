//! Playbooks at work, kept in the store.
//!
//! A transition is recorded in the audit log, then the run is written if nobody else wrote it meanwhile. Killed in between,
//! the log has a transition that did not take: its `seq` comes again. A run goes by the version it was started with, which
//! is kept by its hash.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::json;

use super::AtWork;
use super::Desk;
use super::DeskError;
use super::Result;
use crate::model::health::Tri;
use crate::model::ids::AlertId;
use crate::model::ids::CaseId;
use crate::model::ids::PersonId;
use crate::model::person::Person;
use crate::model::playbook::GENERATED;
use crate::model::playbook::Playbook;
use crate::model::playbook::Signature;
use crate::model::playbook_run::Deadline;
use crate::model::playbook_run::Event;
use crate::model::playbook_run::Evidence;
use crate::model::playbook_run::Run;
use crate::playbook::Document;
use crate::playbook::clocks;
use crate::playbook::clocks::Clock;
use crate::playbook::evidence;
use crate::playbook::lint;
use crate::playbook::run;
use crate::playbook::run::Actor;
use crate::playbook::run::Effect;
use crate::playbook::run::Refusal;
use crate::playbook::sheet;
use crate::store::Store;
use crate::store::StoreError;
use crate::text::Untrusted;

pub use crate::playbook::run::fill;

const RUN: &str = "playbook.run";
const VERSION: &str = "playbook.version";
/// Runs listed at most.
const MOST: usize = 1_000;
/// Somebody else wrote the run first: tried again so often.
const TRIES: usize = 8;

impl From<Refusal> for DeskError {
    fn from(r: Refusal) -> Self {
        match r {
            Refusal::Usage(m) => Self::Usage(m),
            Refusal::Refused(m) => Self::Refused(m),
            Refusal::Stale(m) => Self::No(m),
        }
    }
}

/// What a run is started with.
#[derive(Clone, Debug, Default)]
pub struct Start {
    pub alert: Option<AlertId>,
    pub case: Option<CaseId>,
    /// Values of variables by name, with or without the underscores.
    pub values: Vec<(String, Untrusted)>,
    /// The run and the step in it that wait for this one.
    pub parent: Option<(String, u32)>,
}

impl Desk {
    /// Starts a playbook of the library, by its name or id. One with errors is not started.
    pub fn start_playbook(&self, by: &PersonId, word: &str, start: Start) -> Result<Run> {
        let person = self.authorise(by)?;
        let library = self.playbooks();
        let Some(item) = library.get(word) else {
            let near = library.nearest(word).map(|n| format!("; did you mean {n:?}?")).unwrap_or_default();
            return Err(DeskError::Usage(format!("no playbook {word:?}{near}")));
        };
        let signature = self.vouch().of_item(item, Timestamp::now());
        if let Signature::Bad { .. } = signature {
            return Err(DeskError::Refused(format!("{word} is not started: {}", signature.words())));
        }
        let found = lint::lint(&item.document, None);
        if let Some(f) = found.iter().find(|_| !lint::workable(&found)) {
            let at = f.at.expose();
            return Err(DeskError::Refused(format!("{word} has errors: {at}: {}", f.message.expose())));
        }
        if let Some(alert) = start.alert
            && self.store.alert(alert)?.is_none()
        {
            return Err(DeskError::Usage(format!("there is no alert {alert}")));
        }
        if let Some(case) = start.case
            && self.store.case(case)?.is_none()
        {
            return Err(DeskError::Usage(format!("there is no case {case}")));
        }
        let now = Timestamp::now();
        let id = ulid::Ulid::new().to_string();
        let with = run::Begin {
            id: id.clone(),
            alert: start.alert,
            case: start.case,
            parent: start.parent.clone(),
            values: start.values,
        };
        // What comes of it is kept in a case; one that could not begin opens none.
        run::begin(&item.book, with.clone(), &actor(&person), now)?;
        let case = self.case_for(by, start.alert, start.case)?;
        let (mut made, effects) = run::begin(&item.book, run::Begin { case, ..with }, &actor(&person), now)?;
        if item.book.generated.is_some() {
            made.title = marked(&made.title);
        }
        made.signed = (signature != Signature::Unsigned).then(|| signature.words().into());
        let body = serde_json::to_string(item.document.json()).map_err(|e| unreadable(&id, &e))?;
        match self.store.put_doc(VERSION, item.document.hash(), &body, 0, now) {
            Ok(_) | Err(StoreError::Conflict(_)) => {}
            Err(e) => return Err(e.into()),
        }
        self.write_records(Some(by), &id, &effects, 0, now)?;
        self.store.put_doc(RUN, &id, &serde_json::to_string(&made).map_err(|e| unreadable(&id, &e))?, 0, now)?;
        if let Some((parent, visit)) = start.parent {
            self.step_run(Some(by), &parent, &Event::Begun { visit, child: id })?;
        }
        Ok(made)
    }

    /// The runs this person may see, the newest first.
    pub fn playbook_runs(&self, by: Option<&PersonId>) -> Result<Vec<Run>> {
        let people = self.roster();
        let person = by.and_then(|b| people.get(b));
        let mut out = Vec::new();
        for doc in self.store.docs(RUN, MOST)? {
            let run: Run = serde_json::from_str(&doc.body).map_err(|e| unreadable(&doc.key, &e))?;
            if sees(&run, person) {
                out.push(run);
            }
        }
        out.sort_by(|a, b| b.id.cmp(&a.id));
        Ok(out)
    }

    /// Those started for an alert, without the restricted ones.
    pub(super) fn runs_for(&self, alert: AlertId) -> Result<Vec<AtWork>> {
        // Every look at an alert asks: what is about others is not read whole.
        let about = format!("\"alert\":{alert},");
        let mut out = Vec::new();
        for doc in self.store.docs(RUN, MOST)?.iter().filter(|d| d.body.contains(&about)) {
            let run: Run = serde_json::from_str(&doc.body).map_err(|e| unreadable(&doc.key, &e))?;
            if run.alert == Some(alert) && sees(&run, None) {
                out.push(AtWork { run: run.id, title: run.title, state: run.state, started_by: run.started_by });
            }
        }
        out.sort_by(|a, b| b.run.cmp(&a.run));
        Ok(out)
    }

    /// A run and the version of the playbook it goes by. `word`: its id, or enough of its beginning or end.
    pub fn playbook_run(&self, by: Option<&PersonId>, word: &str) -> Result<(Run, Playbook)> {
        let upper = word.to_ascii_uppercase();
        let fits =
            |r: &Run| r.id == upper || (upper.len() >= 4 && (r.id.starts_with(&upper) || r.id.ends_with(&upper)));
        let mut all = self.playbook_runs(by)?.into_iter().filter(fits);
        match (all.next(), all.next()) {
            (Some(run), None) => {
                let book = self.pinned(&run)?;
                Ok((run, book))
            }
            (Some(_), Some(_)) => Err(DeskError::Usage(format!("{word} fits more than one run"))),
            // Also of a run this person may not see: that there is one is not told.
            (None, _) => Err(DeskError::No(format!("no run {word}"))),
        }
    }

    /// Who has to hear of a breach by when, as far as this run's times tell. Most playbooks have no such clocks.
    pub fn deadlines(&self, run: &Run, book: &Playbook) -> Result<Vec<Deadline>> {
        if book.clocks.is_empty() {
            return Ok(Vec::new());
        }
        Ok(clocks::deadlines(book, run, &self.breach_clocks()?))
    }

    /// The clocks of this desk. Read anew each time: counsel changes them while they run.
    pub fn breach_clocks(&self) -> Result<Vec<Clock>> {
        match &self.settings.desk.breach_clocks {
            Some(path) => clocks::read(path).map_err(|f| DeskError::Usage(f.to_string())),
            None => Ok(clocks::bundled()),
        }
    }

    /// Something happens to a run.
    pub fn playbook_event(&self, by: &PersonId, run: &str, event: &Event) -> Result<Run> {
        self.authorise(by)?;
        let (found, _) = self.playbook_run(Some(by), run)?;
        if let Event::Assign { to, .. } | Event::Admit { person: to } = event
            && self.roster().get(to).is_none()
        {
            return Err(DeskError::Usage(format!("{to} is not in the roster")));
        }
        if let Event::Deadline { clock, .. } = event
            && !self.breach_clocks()?.iter().any(|c| c.id == *clock)
        {
            return Err(DeskError::Usage(format!("there is no clock {clock}; `playbook clocks` lists them")));
        }
        // Time first: a step that timed out cannot be done any more.
        self.step_run(None, &found.id, &Event::Tick)?;
        let Event::Done { visit, outputs } = event else { return self.step_run(Some(by), &found.id, event) };
        self.keep_receipts(by, &found, *visit)?;
        let outputs = self.found_out(by, &found.id, *visit, outputs.clone())?;
        self.step_run(Some(by), &found.id, &Event::Done { visit: *visit, outputs })
    }

    /// What the desk finds out itself takes the place of what anybody wrote. What is not known is no.
    fn found_out(
        &self,
        by: &PersonId,
        run: &str,
        visit: u32,
        mut outputs: BTreeMap<String, Option<Untrusted>>,
    ) -> Result<BTreeMap<String, Option<Untrusted>>> {
        let (run, book) = self.playbook_run(Some(by), run)?;
        let Some(step) = run.visit(visit).and_then(|v| book.step(&v.step)) else { return Ok(outputs) };
        for (name, word) in book.facts.iter().filter(|(name, _)| step.out_args.contains(name)) {
            let (answer, why) = self.fact(word);
            outputs.retain(|given, _| run::full_name(given) != *name);
            outputs.insert(name.clone(), Some(Untrusted::new((answer == Tri::Pass).to_string())));
            let said = format!("found out by the desk: {} is {}: {why}", name.trim_matches('_'), answer.word());
            self.step_run(Some(by), &run.id, &Event::Note { visit, text: Untrusted::new(said) })?;
        }
        Ok(outputs)
    }

    /// The receipts of what was proposed from a step are evidence of it.
    fn keep_receipts(&self, by: &PersonId, run: &Run, visit: u32) -> Result<()> {
        let Some(v) = run.visit(visit) else { return Ok(()) };
        for id in &v.requests {
            let Some(request) = self.store.request(id)?.filter(|r| r.state.is_final() && !r.receipts.is_empty()) else {
                continue;
            };
            let body = serde_json::to_vec_pretty(&request).map_err(|e| unreadable(&run.id, &e))?;
            let (sha256, bytes) =
                evidence::keep(&self.evidence_folder(), &mut body.as_slice()).map_err(DeskError::No)?;
            let tail = id.as_str().get(id.as_str().len().saturating_sub(6)..).unwrap_or_default();
            let name = Untrusted::new(format!("receipts-{}-{tail}.json", request.body.action));
            let piece = Evidence { sha256, bytes, name, by: by.clone(), at: Timestamp::now(), found: None };
            self.step_run(Some(by), &run.id, &Event::Attach { visit, evidence: piece })?;
        }
        Ok(())
    }

    /// Keeps a file as evidence of a step.
    pub fn attach_evidence(
        &self,
        by: &PersonId,
        run: &str,
        visit: u32,
        name: &str,
        from: &mut dyn std::io::Read,
    ) -> Result<Evidence> {
        self.authorise(by)?;
        let (found, _) = self.playbook_run(Some(by), run)?;
        if found.visit(visit).is_none() {
            return Err(DeskError::Usage(format!("run {} has no step number {visit}", found.id)));
        }
        let (sha256, bytes) = evidence::keep(&self.evidence_folder(), from).map_err(DeskError::No)?;
        let name = Untrusted::new(crate::text::front(name, 255));
        let piece = Evidence { sha256, bytes, name, by: by.clone(), at: Timestamp::now(), found: None };
        self.playbook_event(by, &found.id, &Event::Attach { visit, evidence: piece.clone() })?;
        Ok(piece)
    }

    pub fn evidence_folder(&self) -> PathBuf {
        self.data_dir.join("evidence")
    }

    /// Pieces of evidence of a run that are gone or are not what they were.
    pub fn broken_evidence(&self, run: &Run) -> Vec<(Evidence, String)> {
        let all = run.visits.iter().flat_map(|v| &v.evidence);
        all.filter_map(|e| Some((e.clone(), evidence::verify(&self.evidence_folder(), &e.sha256).err()?))).collect()
    }

    /// Writes the sheet of a run, with what was done, to a new file for its owner alone.
    pub fn write_sheet(&self, by: Option<&PersonId>, run: &str, path: &Path) -> Result<()> {
        let (run, book) = self.playbook_run(by, run)?;
        let cannot = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::AlreadyExists => DeskError::Refused(format!("{} is there already", path.display())),
            _ => DeskError::Usage(format!("{}: {e}", path.display())),
        };
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(cannot)?;
        let deadlines = self.deadlines(&run, &book)?;
        file.write_all(sheet::markdown(&book, Some((&run, &deadlines))).as_bytes()).map_err(cannot)
    }

    /// Time passes for every run: delays, time boxes, timeouts. Returns how many changed.
    pub fn tick_playbooks(&self) -> Result<usize> {
        let now = Timestamp::now();
        let mut changed = 0;
        // Most runs are over; those need not be read whole.
        for doc in self.store.docs(RUN, MOST)?.iter().filter(|d| d.body.contains("\"state\":\"running\"")) {
            let run: Run = serde_json::from_str(&doc.body).map_err(|e| unreadable(&doc.key, &e))?;
            if run.due().is_some_and(|t| t <= now) {
                changed += usize::from(self.step_run(None, &run.id, &Event::Tick)?.seq != run.seq);
            }
        }
        Ok(changed)
    }

    fn pinned(&self, run: &Run) -> Result<Playbook> {
        let doc = self.store.doc(VERSION, &run.version)?;
        let doc = doc.ok_or_else(|| DeskError::No(format!("the version of run {} is not in the store", run.id)))?;
        let document = Document::read(doc.body.as_bytes()).map_err(|e| unreadable(&run.id, &e))?;
        if document.hash() != run.version {
            return Err(DeskError::Refused(format!(
                "the playbook of run {} is not the one it was started with",
                run.id
            )));
        }
        Ok(document.view(&run.playbook))
    }

    /// One transition: worked out, recorded, written; once more if somebody else was first.
    fn step_run(&self, by: Option<&PersonId>, id: &str, event: &Event) -> Result<Run> {
        let people = self.roster();
        let person = by.and_then(|b| people.get(b));
        for _ in 0..TRIES {
            let doc = self.store.doc(RUN, id)?.ok_or_else(|| DeskError::No(format!("no run {id}")))?;
            let before: Run = serde_json::from_str(&doc.body).map_err(|e| unreadable(id, &e))?;
            let book = self.pinned(&before)?;
            let now = Timestamp::now();
            let actor = person.map(actor);
            let (after, effects) = run::advance(&book, &before, event, actor.as_ref(), now)?;
            if after == before {
                return Ok(after);
            }
            self.write_records(by, id, &effects, doc.rev, now)?;
            let body = serde_json::to_string(&after).map_err(|e| unreadable(id, &e))?;
            match self.store.put_doc(RUN, id, &body, doc.rev, now) {
                Ok(_) => {}
                Err(StoreError::Conflict(_)) => {
                    let lost = json!({ "run": id, "rev": doc.rev, "from_seq": before.seq, "to_seq": after.seq });
                    self.audit.append(by, "playbook.conflict", Some(id), lost, now)?;
                    continue;
                }
                Err(e) => return Err(e.into()),
            }
            self.follow_up(by, &after, effects)?;
            return Ok(after);
        }
        Err(DeskError::No(format!("run {id} is changed by others all the time: try again")))
    }

    fn write_records(
        &self,
        by: Option<&PersonId>,
        id: &str,
        effects: &[Effect],
        rev: u64,
        now: Timestamp,
    ) -> Result<()> {
        for effect in effects {
            if let Effect::Record { kind, body } = effect {
                let mut body = body.clone();
                body["rev"] = rev.into();
                self.audit.append(by, kind, Some(id), body, now)?;
            }
        }
        Ok(())
    }

    /// Other runs that begin, or wait for this one.
    fn follow_up(&self, by: Option<&PersonId>, run: &Run, effects: Vec<Effect>) -> Result<()> {
        for effect in effects {
            match effect {
                Effect::Start { visit, playbook } => {
                    let Some(by) = by else { continue };
                    let known = |h: &crate::model::playbook_run::Held| h.value.clone();
                    let library = self.playbooks();
                    let asked = library.get(&playbook).map(|i| i.book.variables.clone()).unwrap_or_default();
                    let passed = asked.iter().filter(|(_, v)| v.external);
                    let values = passed.filter_map(|(n, _)| Some((n.clone(), run.variables.get(n).and_then(known)?)));
                    let start = Start {
                        alert: run.alert,
                        case: run.case,
                        values: values.collect(),
                        parent: Some((run.id.clone(), visit)),
                    };
                    // The step is taken either way; a person may have to give what the other playbook needs.
                    if let Err(e) = self.start_playbook(by, &playbook, start) {
                        let key = library.get(&playbook).map_or(playbook.as_str(), |i| i.book.key.as_str());
                        return Err(DeskError::No(format!(
                            "the step is yours, but {key} was not started: {e}; start it with `playbook start {key} \
                             --parent {}:{visit} --var NAME=VALUE`",
                            run.id
                        )));
                    }
                }
                Effect::Tell { run, visit, ok } => match self.step_run(by, &run, &Event::Ended { visit, ok }) {
                    // It may have gone on without waiting.
                    Ok(_) | Err(DeskError::No(_)) => {}
                    Err(e) => return Err(e),
                },
                Effect::Record { .. } => {}
            }
        }
        Ok(())
    }
}

/// The title of what a model wrote says so wherever it is shown.
pub(super) fn marked(title: &Untrusted) -> Untrusted {
    Untrusted::new(format!("{GENERATED}: {}", title.expose()))
}

fn actor(person: &Person) -> Actor<'_> {
    Actor { id: &person.id, roles: &person.roles }
}

fn sees(run: &Run, person: Option<&Person>) -> bool {
    match person {
        Some(p) => run.seen_by(&p.id, &p.roles),
        None => run.restricted.is_empty(),
    }
}

fn unreadable(id: &str, e: &dyn std::fmt::Display) -> DeskError {
    DeskError::Usage(format!("run {id} cannot be read or written: {e}"))
}

#[cfg(test)]
#[path = "playbook_runs_tests.rs"]
mod tests;
