//! Does what `update` asked for, and answers with messages. Apart from the entry points this is the only file of the
//! console that talks to a desk.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::state::playbook::For;
use super::state::queue::{COUNT_CAP, MARK_CAP};
use super::state::{Backend, Facts, ViewRow};
use super::update::{Effect, Msg};
use super::words::{Said, say};
use crate::desk::playbook_draft::{DraftFor, DraftPage};
use crate::desk::playbook_runs::Start;
use crate::desk::{Cancel, Desk, DeskError, Health};
use crate::model::action::{Draft, Request};
use crate::model::alert::AlertRow;
use crate::model::ids::{AlertId, PersonId};
use crate::model::playbook_draft::PlaybookDraft;
use crate::model::query::{Page, Query, SortKey};
use crate::text::Untrusted;

/// How often the store is asked whether something changed.
const WATCH: Duration = Duration::from_millis(200);
/// How often backends, sources and switches are asked for, besides when something changed.
const FACTS: Duration = Duration::from_secs(2);
/// Counting dead letters reads them: not as often.
const DEAD_LETTERS: Duration = Duration::from_secs(10);
/// Changed alerts told one by one; beyond it everything on screen is loaded anew.
const CHANGES: usize = 500;
const LISTED: usize = 500;
/// Each is checked anew when it is listed.
const DRAFTS: usize = 50;
/// What the page about triage looks back on.
pub const STATS_HOURS: u32 = 24;

/// By alert, and whether it is a question.
type Cancels = Arc<Mutex<BTreeMap<(AlertId, bool), Cancel>>>;
/// Drafts of playbooks that are being written.
type Writing = Arc<Mutex<Vec<(For, Cancel)>>>;

#[derive(Clone)]
pub struct Runner {
    desk: Arc<Desk>,
    handle: Handle,
    to: mpsc::Sender<Msg>,
    cancels: Cancels,
    writing: Writing,
    in_flight: Arc<AtomicUsize>,
    turns: Turns,
}

/// Lists that are read and told one at a time, so that what is told last is what was read last.
type Turns = Arc<[Mutex<()>; 10]>;

/// Which of them it loads. Rows of the queue and details tell by themselves what is old.
fn list_of(effect: &Effect) -> Option<usize> {
    Some(match effect {
        Effect::Cases => 0,
        Effect::Requests => 1,
        Effect::Views => 2,
        Effect::Suppressions => 3,
        Effect::Runs => 4,
        Effect::RunOf(_) => 5,
        Effect::CaseOf { .. } => 6,
        Effect::Drafts => 7,
        Effect::DraftOf(_) => 8,
        Effect::TriageStats => 9,
        _ => return None,
    })
}

fn said(e: &DeskError) -> Said {
    Said::of(&e.to_string())
}

/// Files them in this order; the answer is the first one.
async fn propose(desk: &Desk, by: &PersonId, draft: Draft, then: Vec<Draft>) -> Result<Request, Said> {
    let first = desk.propose(by, draft).await.map_err(|e| said(&e))?;
    for next in then {
        let what = Said::of(&next.action);
        if let Err(e) = desk.propose(by, next).await {
            return Err(say!("only the first was asked for; ", what, " was not: ", said(&e)));
        }
    }
    Ok(first)
}

impl Runner {
    pub fn new(desk: Arc<Desk>, handle: Handle, to: mpsc::Sender<Msg>) -> Self {
        Self {
            desk,
            handle,
            to,
            cancels: Cancels::default(),
            writing: Writing::default(),
            in_flight: Arc::default(),
            turns: Turns::default(),
        }
    }

    /// Nothing is being done.
    pub fn at_rest(&self) -> bool {
        self.in_flight.load(Ordering::SeqCst) == 0
    }

    /// Starts it; the answer comes as a message. `me` is who asks, for `me` in a filter.
    pub fn run(&self, me: Option<&PersonId>, effect: Effect) {
        match effect {
            Effect::Wait(ms) => self.spawn(async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                Msg::Tick
            }),
            Effect::Propose { by, draft, then } => {
                let desk = Arc::clone(&self.desk);
                self.spawn(async move { Msg::Proposed(propose(&desk, &by, draft, then).await.map(Box::new)) });
            }
            Effect::Follow { by, id, undo } => {
                let desk = Arc::clone(&self.desk);
                self.spawn(async move {
                    let result = match undo {
                        true => desk.undo_request(&by, &id, false, None).await,
                        false => desk.retry(&by, &id, false, None).await,
                    };
                    Msg::Proposed(result.map(Box::new).map_err(|e| said(&e)))
                });
            }
            Effect::ProposeStep { by, run, visit, draft } => {
                let desk = Arc::clone(&self.desk);
                self.spawn(async move {
                    let result = desk.propose_from_step(&by, &run, visit, draft).await;
                    Msg::StepProposed { run, result: result.map(Box::new).map_err(|e| said(&e)) }
                });
            }
            Effect::TryOut { by, draft } => {
                let desk = Arc::clone(&self.desk);
                self.spawn(async move {
                    let result = desk.try_draft(&by, draft.clone()).await.map(Box::new).map_err(|e| said(&e));
                    Msg::Tried { draft, result }
                });
            }
            Effect::Execute { by, id } => {
                let desk = Arc::clone(&self.desk);
                self.spawn(async move {
                    let result = desk.execute(&by, &id).await.map(Box::new).map_err(|e| said(&e));
                    Msg::Decided { what: "it ran", result }
                });
            }
            Effect::Triage { by, id, backend } => {
                let desk = Arc::clone(&self.desk);
                self.stream(id, false, |progress, cancel| async move {
                    let result = desk.triage(id, backend, Some(&by), &progress, &cancel).await;
                    Msg::Judged { id, result: result.map(Box::new).map_err(|e| said(&e)) }
                });
            }
            Effect::Ask { by, id, text, before } => {
                let desk = Arc::clone(&self.desk);
                self.stream(id, true, |progress, cancel| async move {
                    let result = desk.ask(&by, id, text, before, &progress, &cancel).await;
                    Msg::Answered { id, result: result.map(Box::new).map_err(|e| said(&e)) }
                });
            }
            Effect::Draft { by, of } => {
                let desk = Arc::clone(&self.desk);
                let cancel = Cancel::new();
                let writing = Arc::clone(&self.writing);
                writing.lock().unwrap_or_else(PoisonError::into_inner).push((of, cancel.clone()));
                self.spawn(async move {
                    let what = match of {
                        For::Alert(id) => DraftFor::Alert(id),
                        For::Case(id) => DraftFor::Case(id),
                    };
                    let result = desk.draft_playbook(&by, what, &cancel).await;
                    writing.lock().unwrap_or_else(PoisonError::into_inner).retain(|(f, _)| *f != of);
                    Msg::Drafted { of, result: result.map(Box::new).map_err(|e| said(&e)) }
                });
            }
            Effect::CancelDraft(of) => {
                let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
                writing.iter().filter(|(f, _)| *f == of).for_each(|(_, c)| c.cancel());
            }
            Effect::SubmitRequest { by, id } => {
                let desk = Arc::clone(&self.desk);
                self.spawn(async move { decided("submitted", desk.submit(&by, &id).await) });
            }
            Effect::AskStep { by, run, visit } => {
                let desk = Arc::clone(&self.desk);
                self.spawn(async move {
                    let asked = desk.ask_step(&by, &run, visit, &Cancel::new()).await;
                    let result = asked.map(|_| say!("the model answered: its advice stands in the step"));
                    Msg::Stepped { run, result: result.map_err(|e| said(&e)) }
                });
            }
            Effect::QueryStep { by, run, visit } => {
                let desk = Arc::clone(&self.desk);
                self.spawn(async move {
                    let kept = desk.query_step(&by, &run, visit).await;
                    let result = kept.map(|all| searched(&all)).map_err(|e| said(&e));
                    Msg::Stepped { run, result }
                });
            }
            Effect::CancelRun { id, question } => {
                if let Some(c) = self.cancels.lock().unwrap_or_else(PoisonError::into_inner).get(&(id, question)) {
                    c.cancel();
                }
            }
            Effect::Beat => {
                // Time passing is no work under way.
                let to = self.to.clone();
                self.handle.spawn(async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    let _ = to.send(Msg::Beat).await;
                });
            }
            // The terminal's own, done by the loop.
            Effect::Copy(_) | Effect::Suspend => {}
            blocking => {
                let (desk, to, me) = (Arc::clone(&self.desk), self.to.clone(), me.cloned());
                let busy = Busy::new(&self.in_flight);
                let turns = Arc::clone(&self.turns);
                self.handle.spawn_blocking(move || {
                    let turn = list_of(&blocking).and_then(|at| turns.get(at));
                    let _turn = turn.map(|t| t.lock().unwrap_or_else(PoisonError::into_inner));
                    let _ = to.blocking_send(perform(&desk, me.as_ref(), blocking));
                    drop(busy);
                });
            }
        }
    }

    fn spawn(&self, work: impl Future<Output = Msg> + Send + 'static) {
        let to = self.to.clone();
        let busy = Busy::new(&self.in_flight);
        self.handle.spawn(async move {
            let _ = to.send(work.await).await;
            drop(busy);
        });
    }

    /// Runs what a model writes: its pieces come as messages, its end as the last one.
    fn stream<F, W>(&self, id: AlertId, question: bool, work: F)
    where
        F: FnOnce(Pieces, Cancel) -> W,
        W: Future<Output = Msg> + Send + 'static,
    {
        let cancel = Cancel::new();
        let cancels = Arc::clone(&self.cancels);
        cancels.lock().unwrap_or_else(PoisonError::into_inner).insert((id, question), cancel.clone());
        let work = work(pieces(self.to.clone(), id, question), cancel);
        self.spawn(async move {
            let msg = work.await;
            cancels.lock().unwrap_or_else(PoisonError::into_inner).remove(&(id, question));
            msg
        });
    }

    /// Watches the store and the desk until the console ends.
    pub fn watch(&self, stop: Arc<AtomicBool>) -> std::io::Result<()> {
        let (desk, to) = (Arc::clone(&self.desk), self.to.clone());
        // Before anything is loaded: what changes from here on is told, however late the thread comes to run.
        let since = desk.revision().ok();
        std::thread::Builder::new().name("console-watch".into()).spawn(move || watch(&desk, &to, &stop, since))?;
        Ok(())
    }
}

type Pieces = Box<dyn Fn(Untrusted) + Send + Sync>;

/// Sends pieces of an answer on. A slow screen does not slow the backend: what does not fit now goes with the next.
fn pieces(to: mpsc::Sender<Msg>, id: AlertId, question: bool) -> Pieces {
    let unsent = Mutex::new(String::new());
    Box::new(move |text: Untrusted| {
        let mut unsent = unsent.lock().unwrap_or_else(PoisonError::into_inner);
        unsent.push_str(text.expose());
        if let Ok(room) = to.try_reserve() {
            room.send(Msg::Progress { id, question, text: std::mem::take(&mut *unsent).into() });
        }
    })
}

/// Counts work under way, also when it panics.
struct Busy(Arc<AtomicUsize>);

impl Busy {
    fn new(n: &Arc<AtomicUsize>) -> Self {
        n.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(n))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn watch(desk: &Desk, to: &mpsc::Sender<Msg>, stop: &AtomicBool, mut since: Option<u64>) {
    let mut told: Option<Facts> = None;
    let mut asked: Option<Instant> = None;
    let mut healthy: Option<bool> = None;
    let mut dead = None;
    let mut reading = None;
    while !stop.load(Ordering::SeqCst) {
        let mut news = false;
        let now = match desk.revision() {
            Ok(now) => {
                if healthy != Some(true) {
                    healthy = Some(true);
                    if to.blocking_send(Msg::Link(Ok(()))).is_err() {
                        return;
                    }
                }
                Some(now)
            }
            Err(e) => {
                healthy = Some(false);
                if to.blocking_send(Msg::Link(Err(said(&e)))).is_err() {
                    return;
                }
                None
            }
        };
        if let (Some(now), Some(before)) = (now, since)
            && now != before
        {
            news = true;
            let msg = match desk.changes(before, CHANGES) {
                Ok(c) => {
                    since = Some(c.revision.max(now));
                    Msg::Changed { alerts: c.alerts, overflow: c.overflow, others: c.others }
                }
                Err(e) => Msg::Link(Err(said(&e))),
            };
            if to.blocking_send(msg).is_err() {
                return;
            }
        }
        since = since.or(now);
        if asked.is_none_or(|t| t.elapsed() >= FACTS) || (news && asked.is_none_or(|t| t.elapsed() >= WATCH * 2)) {
            let mut facts = quick_facts(desk);
            if dead.is_none_or(|(at, _): (Instant, u64)| at.elapsed() >= DEAD_LETTERS) {
                dead = Some((Instant::now(), desk.dead_letter_count().unwrap_or(0)));
            }
            facts.dead_letters = dead.map_or(0, |(_, n)| n);
            asked = Some(Instant::now());
            if told.as_ref() != Some(&facts) {
                told = Some(facts.clone());
                if to.blocking_send(Msg::Facts(facts)).is_err() {
                    return;
                }
            }
        }
        let newest = desk.platform();
        if reading.as_ref().is_none_or(|told| !Arc::ptr_eq(told, &newest)) {
            reading = Some(Arc::clone(&newest));
            if to.blocking_send(Msg::Platform(newest)).is_err() {
                return;
            }
        }
        std::thread::sleep(WATCH);
    }
}

/// What the header says.
pub fn facts(desk: &Desk) -> Facts {
    Facts { dead_letters: desk.dead_letter_count().unwrap_or(0), ..quick_facts(desk) }
}

fn quick_facts(desk: &Desk) -> Facts {
    Facts {
        backend: Some(backend(&desk.backend_health())),
        links: desk.links(),
        dead_letters: 0,
        kill: desk.kill_switch().unwrap_or(None),
        outside: desk.changed_outside().unwrap_or_default(),
        queue: desk.triage_queue().unwrap_or_default(),
    }
}

fn backend(h: &Health) -> Backend {
    Backend {
        name: Said::of(&h.name),
        up: h.up,
        running: h.running,
        waiting: h.waiting,
        kv_cache: h.kv_cache,
        prefix_hits: h.prefix_hits,
        ttft_p95_ms: h.ttft_p95_ms,
        detail: Said::of(&h.detail),
        servers: h.servers.iter().map(backend).collect(),
        backup: h.backup,
    }
}

fn perform(desk: &Desk, me: Option<&PersonId>, effect: Effect) -> Msg {
    match effect {
        Effect::Parse { text, apply } => {
            // Nobody has this id: `me` then matches nothing.
            let nobody = PersonId::new("-");
            let result = match me.or(nobody.as_ref()) {
                Some(me) => desk.parse_query(&text, me),
                None => Ok(Query::All),
            };
            Msg::Parsed { text, apply, result }
        }
        Effect::Rows { generation, query, sort, page, limit } => {
            let result = rows(desk, &query, sort, page, limit).map_err(|e| said(&e));
            Msg::Rows { generation, page, limit, result }
        }
        Effect::Refresh(ids) => Msg::Refreshed(desk.rows_by_id(&ids).map_err(|e| said(&e))),
        Effect::Count { generation, query, sort, cursor } => {
            let both = desk.count(&query, COUNT_CAP).and_then(|total| {
                let above = cursor.map(|id| desk.position(&query, sort, id, COUNT_CAP)).transpose()?;
                Ok((total, above))
            });
            Msg::Counted { generation, cursor, result: both.map_err(|e| said(&e)) }
        }
        Effect::Detail(id) => {
            Msg::Detail { id, result: desk.detail(id).map(|d| d.map(Box::new)).map_err(|e| said(&e)) }
        }
        Effect::Raw(id) => Msg::Raw { id, result: desk.raw(id).map(|r| r.map(Arc::new)).map_err(|e| said(&e)) },
        Effect::AllIds { generation, query, sort } => {
            let rows = desk.rows(&query, sort, Page::First, MARK_CAP + 1);
            let result = rows.map(|r| (r.iter().take(MARK_CAP).map(|a| a.id).collect(), r.len() > MARK_CAP));
            Msg::AllIds { generation, result: result.map_err(|e| said(&e)) }
        }
        Effect::Act { by, act, ids } => {
            let result = desk.act(&by, &act, &ids).map_err(|e| said(&e));
            Msg::Acted { act, result }
        }
        Effect::Undo { by } => Msg::Undone(desk.undo(&by).map_err(|e| said(&e))),
        other => perform_more(desk, me, other),
    }
}

fn perform_more(desk: &Desk, me: Option<&PersonId>, effect: Effect) -> Msg {
    match effect {
        Effect::Cases => Msg::Cases(desk.cases(LISTED).map_err(|e| said(&e))),
        Effect::Requests => Msg::Requests(desk.requests(&[], LISTED).map_err(|e| said(&e))),
        Effect::Views => Msg::Views(views(desk, me).map_err(|e| said(&e))),
        Effect::Suppressions => Msg::Suppressions(desk.suppressions().map_err(|e| said(&e))),
        Effect::PutView(view) => {
            let name = Said::of(&view.name);
            let by = view.by.clone().or(me.cloned());
            done(by.ok_or_else(unknown).and_then(|by| desk.put_view(&by, &view)), say!("saved as ", name))
        }
        Effect::DropView(name) => {
            let gone = me.ok_or_else(unknown).and_then(|me| desk.drop_view(me, &name));
            done(gone.map(drop), say!("view ", Said::of(&name), " deleted"))
        }
        Effect::PreviewSuppression(query) => {
            let result = desk.preview_suppression(&query).map_err(|e| said(&e));
            Msg::Preview { query, result }
        }
        Effect::AddSuppression { by, query, reason, expires } => {
            let added = desk.add_suppression(&by, &query, &reason, expires);
            done(added.map(drop), say!("suppressed until ", Said::moment(expires), " UTC"))
        }
        Effect::EndSuppression { by, id } => {
            let ended = desk.end_suppression(&by, id);
            done(ended.map(drop), say!("suppression ended; what it hid is back in the queue"))
        }
        Effect::Approve { by, id, digest } => decided("approved", desk.approve(&by, &id, &digest)),
        Effect::ApproveOverBudget { by, id, digest, reason } => {
            decided("approved", desk.approve_over_budget(&by, &id, &digest, reason))
        }
        Effect::Standing { by, request, judge } => {
            let id = request.body.id.clone();
            let result = judge.then(|| desk.standing(&by, &id).map_err(|e| said(&e)));
            // What cannot be told of the ladder is no reason to hold back the rest.
            Msg::Standing { result, ladder: desk.ladder(&request).unwrap_or_default(), id }
        }
        Effect::Talk { by, id, answer: true, text } => decided("answered", desk.answer_back(&by, &id, text)),
        Effect::Talk { by, id, answer: false, text } => decided("asked", desk.ask_back(&by, &id, text)),
        Effect::BreakGlass { by, id, digest, reason } => {
            decided("glass broken", desk.break_glass(&by, &id, &digest, reason))
        }
        Effect::GlassReview { by, id, justified, text } => {
            let closed = desk.close_glass_review(&by, &id, justified, text);
            let found = if justified { "justified" } else { "NOT justified" };
            done(closed.map(drop), say!("reviewed: ", found))
        }
        Effect::Deny { by, id, reason } => decided("denied", desk.deny(&by, &id, reason)),
        Effect::Withdraw { by, id } => decided("withdrawn", desk.withdraw(&by, &id)),
        Effect::KeepDraft { by, draft, then, step } => {
            let result = keep(desk, &by, draft, then, step.as_ref()).map(Box::new);
            Msg::Kept { run: step.map(|s| s.0), result }
        }
        Effect::EditRequest { by, id, draft } => {
            let result = desk.edit_request(&by, &id, draft).map(Box::new).map_err(|e| said(&e));
            Msg::Kept { run: None, result }
        }
        Effect::KillSwitch { by, on } => {
            let what = if on { say!("KILL SWITCH ON: nothing is executed") } else { say!("the kill switch is off") };
            done(desk.set_kill_switch(&by, on), what)
        }
        other => perform_playbook(desk, me, other),
    }
}

/// Keeps them in this order; the answer is the first one.
fn keep(
    desk: &Desk,
    by: &PersonId,
    draft: Draft,
    then: Vec<Draft>,
    step: Option<&(String, u32)>,
) -> Result<Request, Said> {
    let first = match step {
        Some((run, visit)) => desk.keep_from_step(by, run, *visit, draft),
        None => desk.keep_request(by, draft),
    };
    let first = first.map_err(|e| said(&e))?;
    for next in then {
        let what = Said::of(&next.action);
        if let Err(e) = desk.keep_request(by, next) {
            return Err(say!("only the first was kept; ", what, " was not: ", said(&e)));
        }
    }
    Ok(first)
}

fn perform_playbook(desk: &Desk, me: Option<&PersonId>, effect: Effect) -> Msg {
    match effect {
        Effect::Runs => Msg::Runs(desk.playbook_runs(me).map_err(|e| said(&e))),
        Effect::RunOf(id) => {
            let whole = |(run, book)| {
                let deadlines = desk.deadlines(&run, &book)?;
                Ok(Box::new((run, book, deadlines)))
            };
            let result = desk.playbook_run(me, &id).and_then(whole).map_err(|e| said(&e));
            Msg::RunOf { id, result }
        }
        Effect::Offer(of) => {
            Msg::Offered { of, result: desk.offer_playbooks(of.alert(), of.case()).map_err(|e| said(&e)) }
        }
        Effect::StartPlaybook { by, key, of, values } => {
            let start = Start { alert: of.alert(), case: of.case(), values, parent: None };
            Msg::Started(desk.start_playbook(&by, &key, start).map(Box::new).map_err(|e| said(&e)))
        }
        Effect::StepRun { by, run, event, done } => {
            let result = desk.playbook_event(&by, &run, &event).map(|_| done).map_err(|e| said(&e));
            Msg::Stepped { run, result }
        }
        Effect::StepOffer { by, run, visit } => {
            Msg::StepOffered(desk.step_offer(&by, &run, visit).map(Box::new).map_err(|e| said(&e)))
        }
        Effect::RunSheet { run, path } => {
            let written = desk.write_sheet(me, &run, std::path::Path::new(&path));
            Msg::Done(written.map(|()| say!("written: ", Said::of(&path))).map_err(|e| said(&e)))
        }
        Effect::CaseOf { id, close } => {
            Msg::CaseOf { id, close, result: desk.case_view(me, id).map(Box::new).map_err(|e| said(&e)) }
        }
        Effect::CloseCase { by, id, disposition, summary } => {
            let result = desk.close_case(&by, id, disposition, &summary);
            Msg::CaseDone { what: "closed", result: result.map(Box::new).map_err(|e| said(&e)) }
        }
        Effect::ReopenCase { by, id, reason } => {
            let result = desk.reopen_case(&by, id, &reason);
            Msg::CaseDone { what: "open again", result: result.map(Box::new).map_err(|e| said(&e)) }
        }
        Effect::Attach { by, run, visit, path } => {
            let result = attach(desk, &by, &run, visit, &path);
            Msg::Stepped { run, result }
        }
        other => perform_draft(desk, other),
    }
}

fn perform_draft(desk: &Desk, effect: Effect) -> Msg {
    let decided = |what, result: Result<DraftPage, DeskError>| Msg::DraftDecided {
        what,
        result: result.map(Box::new).map_err(|e| said(&e)),
    };
    match effect {
        Effect::Drafts => Msg::Drafts(drafts(desk).map_err(|e| said(&e))),
        Effect::DraftOf(id) => Msg::DraftOf(desk.playbook_draft(&id).map(Box::new).map_err(|e| said(&e))),
        Effect::ApproveDraft { by, id, hash } => decided("approved", desk.approve_draft(&by, &id, &hash)),
        Effect::RejectDraft { by, id, hash, reason } => decided("rejected", desk.reject_draft(&by, &id, &hash, reason)),
        Effect::EditDraft { by, id, hash, text } => decided("changed", desk.edit_draft(&by, &id, &hash, &text)),
        other => perform_triage(desk, other),
    }
}

/// Those that wait, each with how much stands in its way.
fn drafts(desk: &Desk) -> Result<Vec<(PlaybookDraft, usize)>, DeskError> {
    let mut out = Vec::new();
    for d in desk.playbook_drafts(false)?.into_iter().take(DRAFTS) {
        let page = desk.playbook_draft(&d.id)?;
        out.push((d, page.blocking()));
    }
    Ok(out)
}

/// Keeps a file of this machine as evidence.
/// What a step's searches found, on a line.
fn searched(all: &[crate::model::playbook_run::Evidence]) -> Said {
    let mut out = Said::new();
    for found in all.iter().filter_map(|e| e.found.as_ref()) {
        if !out.is_empty() {
            out.push(&"; ");
        }
        out.push(&super::playbook::found(found));
    }
    out
}

fn attach(desk: &Desk, by: &PersonId, run: &str, visit: u32, path: &str) -> Result<Said, Said> {
    let file = std::path::Path::new(path);
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut opened = std::fs::File::open(file).map_err(|e| Said::of(&format!("{path}: {e}")))?;
    let kept = desk.attach_evidence(by, run, visit, &name, &mut opened).map_err(|e| said(&e))?;
    Ok(say!("kept ", kept.name, ", ", kept.bytes, " bytes, sha256 ", Said::of(kept.sha256.get(..12).unwrap_or("?"))))
}

fn perform_triage(desk: &Desk, effect: Effect) -> Msg {
    match effect {
        Effect::Review { by, id, request, kind, reason } => {
            Msg::Reviewed { id, result: desk.review(&by, id, &request, kind, reason).map_err(|e| said(&e)) }
        }
        Effect::Enqueue { by, ids } => {
            Msg::Queued(desk.enqueue_triage(&by, &ids).map(|n| (n, false)).map_err(|e| said(&e)))
        }
        Effect::EnqueueMatching { by, query, sort } => {
            let queued = desk.rows(&query, sort, Page::First, MARK_CAP + 1).and_then(|rows| {
                let ids: Vec<AlertId> = rows.iter().take(MARK_CAP).map(|r| r.id).collect();
                Ok((desk.enqueue_triage(&by, &ids)?, rows.len() > MARK_CAP))
            });
            Msg::Queued(queued.map_err(|e| said(&e)))
        }
        Effect::CancelQueue { by } => Msg::Unqueued(desk.cancel_triage_queue(&by).map_err(|e| said(&e))),
        Effect::TriageStats => Msg::Stats(desk.triage_stats(STATS_HOURS).map(Box::new).map_err(|e| said(&e))),
        Effect::Exchanges(id) => Msg::Exchanges { id, result: desk.exchanges(id).map_err(|e| said(&e)) },
        _ => Msg::Tick,
    }
}

fn unknown() -> DeskError {
    DeskError::Refused("the roster does not know you".into())
}

fn done(result: Result<(), DeskError>, what: Said) -> Msg {
    Msg::Done(result.map(|()| what).map_err(|e| said(&e)))
}

fn decided(what: &'static str, result: Result<crate::model::action::Request, DeskError>) -> Msg {
    Msg::Decided { what, result: result.map(Box::new).map_err(|e| said(&e)) }
}

/// A page, and how many rows stand before its first one.
fn rows(
    desk: &Desk,
    query: &Query,
    sort: SortKey,
    page: Page,
    limit: usize,
) -> Result<(Vec<AlertRow>, u64), DeskError> {
    let rows = desk.rows(query, sort, page, limit)?;
    let base = match (page, rows.first()) {
        (Page::First, _) | (_, None) => 0,
        (_, Some(first)) => desk.position(query, sort, first.id, COUNT_CAP)?.n,
    };
    Ok((rows, base))
}

fn views(desk: &Desk, me: Option<&PersonId>) -> Result<Vec<ViewRow>, DeskError> {
    let nobody = PersonId::new("-");
    let count = |query: &str| {
        let me = me.or(nobody.as_ref()).ok_or_else(|| say!("nobody"))?;
        let parsed = desk.parse_query(query, me).map_err(|e| Said::of(&e.to_string()))?;
        desk.count(&parsed, COUNT_CAP).map_err(|e| said(&e))
    };
    Ok(desk.views()?.into_iter().map(|view| ViewRow { count: count(&view.query), view }).collect())
}
