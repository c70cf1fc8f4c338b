//! `playbook start|runs|status|step|set|admit|cancel`: playbooks at work.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::desk::Cancel;
use crate::desk::Desk;
use crate::desk::StepOffer;
use crate::desk::playbook;
use crate::desk::playbook_runs::Start;
use crate::desk::playbook_runs::fill;
use crate::model::action::Draft;
use crate::model::action::Suggested;
use crate::model::ids::AlertId;
use crate::model::ids::CaseId;
use crate::model::ids::PersonId;
use crate::model::playbook::Playbook;
use crate::model::playbook_run::Deadline;
use crate::model::playbook_run::DeadlineWord;
use crate::model::playbook_run::Event;
use crate::model::playbook_run::Run;
use crate::model::playbook_run::RunState;
use crate::model::playbook_run::Visit;
use crate::model::playbook_run::VisitState;
use crate::text::Untrusted;

#[derive(Debug, clap::Args)]
pub struct StartArgs {
    /// Name or id of the library.
    playbook: String,
    #[arg(long)]
    alert: Option<AlertId>,
    #[arg(long)]
    case: Option<CaseId>,
    /// A value the playbook asks for; may be given several times.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
    /// The run and step number that wait for this one.
    #[arg(long, value_name = "RUN:STEP")]
    parent: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// The run's id, or enough of its beginning or end.
    run: String,
    /// The run sheet in Markdown, with what was done.
    #[arg(long)]
    sheet: bool,
}

#[derive(Debug, clap::Args)]
pub struct StepArgs {
    #[command(subcommand)]
    what: StepAct,
}

#[derive(Debug, clap::Subcommand)]
enum StepAct {
    /// Ask the model the step's question; the answer is kept with the step as advice.
    Ask {
        run: String,
        step: u32,
    },
    /// Run the search the step carries, in the indices of `playbooks.query_indices`; what comes back is kept as evidence.
    Query {
        run: String,
        step: u32,
    },
    /// Begin a step.
    Take {
        run: String,
        step: u32,
        /// Take it over from who has it.
        #[arg(long)]
        over: bool,
    },
    /// Give a step, or a branch from this step on, to somebody.
    Assign {
        run: String,
        step: u32,
        to: String,
    },
    /// It is done.
    Done {
        run: String,
        step: u32,
        /// What it gives; `NAME=?` where it is not known.
        #[arg(long = "out", value_name = "NAME=VALUE")]
        outputs: Vec<String>,
        /// A file to keep as evidence, before it is done.
        #[arg(long)]
        attach: Vec<PathBuf>,
    },
    /// It failed; of a held step: give it up.
    Fail {
        run: String,
        step: u32,
        #[arg(long)]
        reason: String,
    },
    /// Go past it.
    Skip {
        run: String,
        step: u32,
        #[arg(long)]
        reason: String,
    },
    /// Try a held step again.
    Retry {
        run: String,
        step: u32,
    },
    /// Decide what a condition does not know: a branch's word, or `on`.
    Decide {
        run: String,
        step: u32,
        branch: String,
        #[arg(long)]
        reason: String,
    },
    /// Put your name to it, in a role it asks for.
    Sign {
        run: String,
        step: u32,
        role: String,
        /// Of somebody outside the roster: who gave it, and where that is kept.
        #[arg(long)]
        named: Option<String>,
    },
    Note {
        run: String,
        step: u32,
        text: String,
    },
    /// Propose this step's action: a request that others approve. Target, parameters and reason are taken from the run and
    /// its alert where they are left out.
    Propose {
        run: String,
        step: u32,
        /// An action of the catalogue, where the step names none.
        #[arg(long)]
        action: Option<String>,
        #[arg(long = "target")]
        targets: Vec<String>,
        #[arg(long = "param", value_name = "NAME=VALUE")]
        params: Vec<String>,
        #[arg(long)]
        reason: Option<String>,
    },
    /// Keep a file as evidence.
    Attach {
        run: String,
        step: u32,
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
pub struct SetArgs {
    run: String,
    /// NAME=VALUE, or NAME=? where it is not known.
    value: String,
}

#[derive(Debug, clap::Args)]
pub struct DeadlinesArgs {
    run: String,
    /// The clock of which something is said, as the list names it.
    #[arg(requires = "word")]
    clock: Option<String>,
    #[arg(requires = "text")]
    word: Option<DeadlineIs>,
    /// The number of the receipt, or why it does not apply or is open after all.
    #[arg(long)]
    text: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum DeadlineIs {
    /// They were told.
    Told,
    /// It does not apply.
    Excluded,
    /// It is to be done after all.
    Open,
}

#[derive(Debug, clap::Args)]
pub struct AdmitArgs {
    run: String,
    person: String,
}

#[derive(Debug, clap::Args)]
pub struct CancelArgs {
    run: String,
    #[arg(long)]
    reason: String,
}

pub fn start(ctx: &Ctx, args: StartArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let me = super::me(ctx, &desk)?;
    let mut values = Vec::new();
    for given in &args.vars {
        let (name, value) = pair(given)?;
        values.push((name, value.ok_or_else(|| CliError::usage(format!("{given}: a value was expected")))?));
    }
    let parent = args.parent.as_deref().map(|p| parent(&desk, &me, p)).transpose()?;
    let run = desk.start_playbook(&me, &args.playbook, Start { alert: args.alert, case: args.case, values, parent })?;
    told(ctx, &desk, &me, &run.id)
}

fn parent(desk: &Desk, me: &PersonId, text: &str) -> Result<(String, u32), CliError> {
    let split = text.rsplit_once(':').and_then(|(run, n)| Some((run, n.parse().ok()?)));
    let (run, n) = split.ok_or_else(|| CliError::usage(format!("{text}: RUN:STEP was expected")))?;
    Ok((desk.playbook_run(Some(me), run)?.0.id, n))
}

/// `NAME=VALUE`; `?` is no value.
fn pair(text: &str) -> Result<(String, Option<Untrusted>), CliError> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| CliError::usage(format!("{text}: NAME=VALUE was expected")))?;
    Ok((name.trim().to_owned(), (value != "?").then(|| Untrusted::new(value))))
}

/// The run as it stands after something was done.
fn told(ctx: &Ctx, desk: &Desk, me: &PersonId, id: &str) -> Result<Exit, CliError> {
    let (run, book) = desk.playbook_run(Some(me), id)?;
    ctx.out().value(&run)?;
    ctx.out().line(format!("{} {}: {}", run.playbook, run.id, run.state.word()))?;
    for v in run.open() {
        ctx.out().line(line(v, &book))?;
    }
    Ok(Exit::Done)
}

fn line(v: &Visit, book: &Playbook) -> String {
    let name = book.step(&v.step).map_or("", |s| s.name.expose());
    let who = v.owner.as_ref().map_or(String::new(), |o| format!(" ({o})"));
    let late = if v.overdue { "  OVER TIME" } else { "" };
    format!("  {:>3}  {:<9} {name}{who}{late}", v.n, v.state.word())
}

pub fn runs(ctx: &Ctx, all: bool) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let me = desk.me().map(|p| p.id);
    let mut rows = Vec::new();
    for run in desk.playbook_runs(me.as_ref())?.iter().filter(|r| all || r.state == RunState::Running) {
        ctx.out().item(run)?;
        let over = run.visits.iter().filter(|v| v.state.over()).count();
        rows.push(vec![
            run.id.clone(),
            run.playbook.clone(),
            run.state.word().to_owned(),
            over.to_string(),
            run.open().map(|v| v.key.as_str()).collect::<Vec<_>>().join(", "),
            run.started_by.to_string(),
            format!("{:.0}", run.started_at),
        ]);
    }
    ctx.out().table(&["RUN", "PLAYBOOK", "IS", "DONE", "NOW", "BY", "SINCE"], &rows)?;
    Ok(Exit::Done)
}

/// Exit 1: it failed or was cancelled, or evidence is broken.
pub fn status(ctx: &Ctx, args: StatusArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let me = desk.me().map(|p| p.id);
    let (run, book) = desk.playbook_run(me.as_ref(), &args.run)?;
    let broken = desk.broken_evidence(&run);
    if args.sheet {
        let sheet = playbook::sheet(&book, Some((&run, &desk.deadlines(&run, &book)?)));
        ctx.out().value(&sheet)?;
        ctx.out().block(&sheet)?;
    } else {
        ctx.out().value(&run)?;
        show(ctx, &run, &book)?;
    }
    for (e, why) in &broken {
        ctx.out().note(format!("evidence {}: {why}", e.name.expose()))?;
    }
    let well = matches!(run.state, RunState::Running | RunState::Done) && broken.is_empty();
    Ok(if well { Exit::Done } else { Exit::No })
}

fn show(ctx: &Ctx, run: &Run, book: &Playbook) -> Result<(), CliError> {
    let out = ctx.out();
    out.line(format!("{}  {}  {}", run.playbook, run.id, run.state.word()))?;
    if book.generated.is_some() {
        out.line("GENERATED: a model wrote this playbook")?;
    }
    if let Some(signed) = &run.signed {
        out.line(signed.expose())?;
    }
    let mut rows = Vec::new();
    for v in &run.visits {
        let name = book.step(&v.step).map_or("", |s| s.name.expose());
        let depth = std::iter::successors(v.parent, |p| run.visit(*p).and_then(|v| v.parent)).take(16).count();
        rows.push(vec![
            v.n.to_string(),
            v.key.clone(),
            v.state.word().to_owned(),
            v.owner.as_ref().map_or("-".to_owned(), |o| o.to_string()),
            clock(v, Timestamp::now()),
            v.evidence.len().to_string(),
            format!("{}{name}", "  ".repeat(depth)),
        ]);
    }
    out.table(&["N", "STEP", "IS", "OWNER", "CLOCK", "EVIDENCE", "WHAT"], &rows)?;
    for v in run.open() {
        let Some(step) = book.step(&v.step) else { continue };
        out.line("")?;
        out.line(format!("{}. {}", v.n, step.name.expose()))?;
        for c in &step.commands {
            out.line(format!("[{}]", c.kind))?;
            out.block(fill(run, step, &c.text).expose())?;
        }
        if step.searches() {
            out.line(format!("to search: `playbook step query {} {}`", run.id, v.n))?;
        }
        for (label, text) in [("look at", &step.look_at), ("stop when", &step.stop_when)] {
            if let Some(t) = text {
                out.line(format!("{label}: {}", fill(run, step, t).expose()))?;
            }
        }
        step.attach.iter().try_for_each(|a| out.line(format!("attach: {}", a.expose())))?;
        if !step.out_args.is_empty() {
            let asked: Vec<String> =
                step.out_args.iter().map(|n| format!("--out {}=...", n.trim_matches('_'))).collect();
            out.line(format!("gives: {}", asked.join(" ")))?;
        }
        if let Some(prompt) = &step.prompt {
            let question = fill(run, step, prompt);
            out.line(format!("to ask the model: {} (`playbook step ask {} {}`)", question.expose(), run.id, v.n))?;
        }
        for a in &v.advice {
            out.line(format!("advice of {} (a model; it decides nothing):", a.model.expose()))?;
            out.block(a.text.expose())?;
        }
        let open = step.sign_off.iter().filter(|r| !v.signed.iter().any(|s| s.role == **r));
        let open: Vec<&str> = open.map(String::as_str).collect();
        if !open.is_empty() {
            out.line(format!("wants the signature of: {}", open.join(", ")))?;
        }
        if matches!(v.state, VisitState::Undecided) {
            let words: Vec<String> = step.kind.branches().into_iter().map(|b| b.0).collect();
            out.line(format!("to decide: {} or on", words.join(", ")))?;
        }
        if let Some(why) = &v.reason {
            out.line(format!("why: {}", why.expose()))?;
        }
    }
    Ok(())
}

/// How long it took, or how long is left of its time.
fn clock(v: &Visit, now: Timestamp) -> String {
    let span = |from: Timestamp, to: Timestamp| {
        playbook::span(u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0))
    };
    match (v.ended_at, v.fails_at.or(v.box_until)) {
        (Some(end), _) => span(v.ready_at.min(end), end),
        (None, Some(until)) if until > now => format!("{} left", span(now, until)),
        (None, Some(until)) => format!("{} over", span(until, now)),
        (None, None) => span(v.entered_at, now),
    }
}

pub fn step(ctx: &Ctx, args: StepArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let me = super::me(ctx, &desk)?;
    let text = |t: String| Untrusted::new(t);
    let (run, event) = match args.what {
        StepAct::Take { run, step, over } => (run, Event::Take { visit: step, over }),
        StepAct::Assign { run, step, to } => (run, Event::Assign { visit: step, to: person(&to)? }),
        StepAct::Done { run, step, outputs, attach } => {
            let outputs = outputs.iter().map(|o| pair(o)).collect::<Result<BTreeMap<_, _>, _>>()?;
            for file in attach {
                keep(&desk, &me, &run, step, &file)?;
            }
            (run, Event::Done { visit: step, outputs })
        }
        StepAct::Fail { run, step, reason } => (run, Event::Fail { visit: step, reason: text(reason) }),
        StepAct::Skip { run, step, reason } => (run, Event::Skip { visit: step, reason: text(reason) }),
        StepAct::Retry { run, step } => (run, Event::Retry { visit: step }),
        StepAct::Decide { run, step, branch, reason } => {
            (run, Event::Decide { visit: step, branch, reason: text(reason) })
        }
        StepAct::Sign { run, step, role, named } => (run, Event::Sign { visit: step, role, named: named.map(text) }),
        StepAct::Note { run, step, text: said } => (run, Event::Note { visit: step, text: text(said) }),
        StepAct::Propose { run, step, action, targets, params, reason } => {
            let offer = desk.step_offer(&me, &run, step)?;
            let draft = draft(&offer, action.as_deref(), targets, &params, reason)?;
            let request = super::block_on(desk.propose_from_step(&me, &offer.run, step, draft))??;
            ctx.out().value(&request)?;
            let on = request.body.targets.join(" ");
            ctx.out().line(format!("{} {} on {on}: {}", request.body.id, request.body.action, request.state.word()))?;
            return Ok(Exit::Done);
        }
        StepAct::Ask { run, step } => {
            let run = super::block_on(desk.ask_step(&me, &run, step, &Cancel::new()))??;
            if let Some(a) = run.visit(step).and_then(|v| v.advice.last()) {
                ctx.out().value(a)?;
                ctx.out().line(format!("advice of {}, asked: {}", a.model.expose(), a.question.expose()))?;
                ctx.out().block(a.text.expose())?;
                for (quote, founded) in &a.quotes {
                    ctx.out().line(format!("  {} {}", if *founded { '=' } else { 'x' }, quote.expose()))?;
                }
            }
            return Ok(Exit::Done);
        }
        StepAct::Query { run, step } => {
            let kept = super::block_on(desk.query_step(&me, &run, step))??;
            ctx.out().value(&kept)?;
            for (piece, found) in kept.iter().filter_map(|e| Some((e, e.found.as_ref()?))) {
                ctx.out().line(format!("{}: {}", piece.name.expose(), found.words()))?;
                found.first.iter().try_for_each(|line| ctx.out().line(format!("  {}", line.expose())))?;
            }
            return Ok(Exit::Done);
        }
        StepAct::Attach { run, step, file } => {
            keep(&desk, &me, &run, step, &file)?;
            return told(ctx, &desk, &me, &run);
        }
    };
    let run = desk.playbook_event(&me, &run, &event)?;
    told(ctx, &desk, &me, &run.id)
}

/// What is given, and the rest from what is known.
fn draft(
    offer: &StepOffer,
    action: Option<&str>,
    targets: Vec<String>,
    params: &[String],
    reason: Option<String>,
) -> Result<Draft, CliError> {
    let names = || offer.actions.iter().map(|a| a.action.as_str()).collect::<Vec<_>>().join(", ");
    let chosen = match action {
        Some(name) => offer.actions.iter().find(|a| a.action == name),
        None if offer.named => offer.actions.first(),
        None => None,
    };
    let chosen = chosen.ok_or_else(|| CliError::usage(format!("--action: one of {} was expected", names())))?;
    let known = || chosen.targets.iter().map(|t| t.value.expose().to_owned()).collect();
    let mut all = chosen.params.clone();
    for p in params {
        let (name, value) =
            p.split_once('=').ok_or_else(|| CliError::usage(format!("--param {p}: NAME=VALUE was expected")))?;
        all.insert(name.to_owned(), value.to_owned());
    }
    Ok(Draft {
        action: chosen.action.clone(),
        targets: if targets.is_empty() { known() } else { targets },
        params: all,
        alerts: offer.alerts.clone(),
        case: offer.case,
        reason: reason.map_or_else(|| offer.reason.clone(), Untrusted::new),
        suggested_by: Suggested::Playbook,
    })
}

fn keep(desk: &Desk, me: &PersonId, run: &str, step: u32, file: &std::path::Path) -> Result<(), CliError> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let cannot = |e: std::io::Error| CliError::usage(format!("{}: {e}", file.display()));
    let mut opened = std::fs::File::open(file).map_err(cannot)?;
    desk.attach_evidence(me, run, step, &name, &mut opened)?;
    Ok(())
}

fn person(word: &str) -> Result<PersonId, CliError> {
    PersonId::new(word).ok_or_else(|| CliError::usage(format!("{word} is no person's id")))
}

pub fn set(ctx: &Ctx, args: SetArgs) -> Result<Exit, CliError> {
    let (name, value) = pair(&args.value)?;
    event(ctx, &args.run, &Event::Set { name, value })
}

/// Exit 1: one of them is overdue.
pub fn deadlines(ctx: &Ctx, args: DeadlinesArgs) -> Result<Exit, CliError> {
    if let (Some(clock), Some(word), Some(text)) = (args.clock, args.word, args.text) {
        let word = match word {
            DeadlineIs::Told => Some(DeadlineWord::Told),
            DeadlineIs::Excluded => Some(DeadlineWord::Excluded),
            DeadlineIs::Open => None,
        };
        return event(ctx, &args.run, &Event::Deadline { clock, word, text: Untrusted::new(text) });
    }
    let desk = ctx.desk()?;
    let me = desk.me().map(|p| p.id);
    let (run, book) = desk.playbook_run(me.as_ref(), &args.run)?;
    let all = desk.deadlines(&run, &book)?;
    if all.is_empty() {
        ctx.out().note(format!("{} asks for no time from which deadlines count", run.playbook))?;
        return Ok(Exit::Done);
    }
    let now = Timestamp::now();
    let late = |d: &Deadline| d.late(now);
    let mut rows = Vec::new();
    for d in &all {
        ctx.out().item(d)?;
        let is = match (&d.mark, d.began) {
            (Some(m), _) => format!("{} ({}: {})", m.word.word(), m.by, m.text.expose()),
            (None, Some(_)) if late(d) => "OVERDUE".to_owned(),
            (None, Some(_)) => "open".to_owned(),
            (None, None) => format!("{} is not known", d.from.trim_matches('_')),
        };
        let due = d.due.map_or("-".to_owned(), |t| format!("{t:.0}"));
        rows.push(vec![d.id.clone(), due, d.within.clone(), is, d.to.clone(), d.law.clone()]);
    }
    ctx.out().table(&["CLOCK", "DUE", "WITHIN", "IS", "WHO", "WHERE IT IS WRITTEN"], &rows)?;
    ctx.out().note("Not legal advice: counsel says which of these apply.")?;
    Ok(if all.iter().any(late) { Exit::No } else { Exit::Done })
}

pub fn admit(ctx: &Ctx, args: AdmitArgs) -> Result<Exit, CliError> {
    event(ctx, &args.run, &Event::Admit { person: person(&args.person)? })
}

pub fn cancel(ctx: &Ctx, args: CancelArgs) -> Result<Exit, CliError> {
    event(ctx, &args.run, &Event::Cancel { reason: Untrusted::new(args.reason) })
}

fn event(ctx: &Ctx, run: &str, event: &Event) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let me = super::me(ctx, &desk)?;
    let run = desk.playbook_event(&me, run, event)?;
    told(ctx, &desk, &me, &run.id)
}
