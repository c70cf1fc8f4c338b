//! `actions`, `requests`, `propose`, `approve`, `deny`, `withdraw`, `execute`, `kill-switch`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::model::action::Draft;
use crate::model::action::ReceiptState;
use crate::model::action::Request;
use crate::model::action::RequestState;
use crate::model::action::Suggested;
use crate::model::audit::Head;
use crate::model::course::MessageKind;
use crate::model::ids::AlertId;
use crate::model::ids::CaseId;
use crate::model::ids::RequestId;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ActionsArgs {
    #[command(subcommand)]
    what: Option<ActionsWhat>,
    /// Requests instead of the catalogue: pending, approved, executing, done, failed, ... or `all`.
    #[arg(long, value_name = "STATE")]
    requests: Option<String>,
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, clap::Subcommand)]
enum ActionsWhat {
    /// A new request for the targets where one failed or never began; it names the old one.
    Retry(AfterArgs),
    /// A new request that takes back what one did, by the action that undoes it.
    Undo(AfterArgs),
}

#[derive(Debug, clap::Args)]
struct AfterArgs {
    request: String,
    /// Also the targets of which nobody knows whether it happened.
    #[arg(long)]
    unknown: bool,
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct ProposeArgs {
    /// Name in the catalogue, such as `isolate-host`.
    action: String,
    /// What it is to be done to; may be repeated.
    #[arg(long = "target", required = true, value_name = "T")]
    targets: Vec<String>,
    /// `name=value`; may be repeated.
    #[arg(long = "param", value_name = "N=V")]
    params: Vec<String>,
    /// Alerts it is for; may be repeated.
    #[arg(long = "alert", value_name = "ID")]
    alerts: Vec<AlertId>,
    #[arg(long)]
    case: Option<CaseId>,
    #[arg(long)]
    reason: String,
}

#[derive(Debug, clap::Args)]
pub struct ApproveArgs {
    id: String,
    /// The digest you were shown; without it the request as it stands is shown and nothing is approved.
    #[arg(long, value_name = "SHA256")]
    digest: Option<String>,
    /// Approve although the error budgets or the gates of a rollout say no, with this reason; takes a commander.
    #[arg(long, value_name = "REASON")]
    override_budget: Option<String>,
    /// Print what `watchfloor sign` on your own machine needs; nothing is approved.
    #[arg(long, conflicts_with_all = ["digest", "signed"])]
    ask: bool,
    /// With --ask: not an approval, but that it runs on your word alone, for this reason.
    #[arg(long, value_name = "REASON", requires = "ask")]
    break_glass: Option<String>,
    /// With --ask: the audit head your machine saw last, to be given proof that the log continues it.
    #[arg(long, value_name = "SIZE:ROOT", requires = "ask")]
    since: Option<Head>,
    /// Approve by what `watchfloor sign` printed; `-`: standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "digest")]
    signed: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct DenyArgs {
    id: String,
    #[arg(long)]
    reason: String,
}

#[derive(Debug, clap::Args)]
pub struct IdArgs {
    id: String,
}

#[derive(Debug, clap::Args)]
pub struct ExecuteArgs {
    id: String,
    /// In an emergency: run it on your word alone. Everybody is paged, and somebody else reviews it afterwards.
    #[arg(long, requires = "reason")]
    break_glass: bool,
    /// Why it cannot wait for the others.
    #[arg(long, requires = "break_glass")]
    reason: Option<String>,
    /// With --break-glass: the digest you were shown; without it the request is shown and nothing runs.
    #[arg(long, value_name = "SHA256", requires = "break_glass")]
    digest: Option<String>,
    /// With --break-glass: by what `watchfloor sign` printed; `-`: standard input.
    #[arg(long, value_name = "FILE", requires = "digest")]
    signed: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct KillArgs {
    /// on, off, or nothing to ask.
    #[arg(value_parser = ["on", "off"])]
    to: Option<String>,
}

/// A request that follows from another one.
fn follow(ctx: &Ctx, what: ActionsWhat) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let me = super::me(ctx, &desk)?;
    let request = match what {
        ActionsWhat::Retry(a) => {
            super::block_on(desk.retry(&me, &id(&a.request)?, a.unknown, a.reason.map(Into::into)))??
        }
        ActionsWhat::Undo(a) => {
            super::block_on(desk.undo_request(&me, &id(&a.request)?, a.unknown, a.reason.map(Into::into)))??
        }
    };
    show(ctx, &request)?;
    Ok(Exit::Done)
}

pub fn actions(ctx: &Ctx, args: ActionsArgs) -> Result<Exit, CliError> {
    if let Some(what) = args.what {
        return follow(ctx, what);
    }
    let desk = ctx.desk()?;
    let Some(state) = args.requests else {
        let mut rows = Vec::new();
        for a in desk.catalogue().iter() {
            ctx.out().item(a)?;
            rows.push(vec![
                a.name.clone(),
                a.tier.word().into(),
                a.executor.word().into(),
                a.undo.clone().unwrap_or_else(|| "-".into()),
                a.title.clone(),
            ]);
        }
        ctx.out().table(&["ACTION", "TIER", "EXECUTOR", "UNDO", "TITLE"], &rows)?;
        return Ok(Exit::Done);
    };
    let states: Vec<RequestState> = match state.as_str() {
        "all" => Vec::new(),
        word => RequestState::ALL.into_iter().filter(|s| s.word() == word).collect(),
    };
    if states.is_empty() && state != "all" {
        let known = RequestState::ALL.map(RequestState::word).join(", ");
        return Err(CliError::usage(format!("--requests {state}: all or one of {known} was expected")));
    }
    let mut rows = Vec::new();
    for r in desk.requests(&states, args.limit)? {
        ctx.out().item(&r)?;
        rows.push(vec![
            r.body.id.to_string(),
            r.state.word().into(),
            r.body.action.clone(),
            r.body.targets.join(" "),
            r.body.requester.to_string(),
            format!("{}/{}", r.approvals.len(), r.body.approvals_needed),
        ]);
    }
    ctx.out().table(&["REQUEST", "STATE", "ACTION", "TARGETS", "BY", "APPROVALS"], &rows)?;
    Ok(Exit::Done)
}

impl ProposeArgs {
    pub(super) fn draft(self) -> Result<Draft, CliError> {
        let mut params = BTreeMap::new();
        for p in &self.params {
            let (name, value) =
                p.split_once('=').ok_or_else(|| CliError::usage(format!("--param {p}: NAME=VALUE was expected")))?;
            if params.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(CliError::usage(format!("--param {name} is given twice")));
            }
        }
        Ok(Draft {
            action: self.action,
            targets: self.targets,
            params,
            alerts: self.alerts,
            case: self.case,
            reason: self.reason.into(),
            suggested_by: Suggested::Person,
        })
    }
}

pub fn propose(ctx: &Ctx, args: ProposeArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    desk.notices().iter().try_for_each(|n| ctx.out().note(n))?;
    let draft = args.draft()?;
    let me = super::me(ctx, &desk)?;
    let request = super::block_on(desk.propose(&me, draft))??;
    show(ctx, &request)?;
    Ok(Exit::Done)
}

pub fn approve(ctx: &Ctx, args: ApproveArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let id = id(&args.id)?;
    if args.ask {
        let asked = desk.ask_to_sign(&super::me(ctx, &desk)?, &id, args.break_glass.map(Into::into), args.since)?;
        let text = serde_json::to_string(&asked).map_err(|e| CliError::no(e.to_string()))?;
        ctx.out().block(text)?;
        return Ok(Exit::Done);
    }
    if let Some(path) = args.signed {
        let signed = serde_json::from_str(&super::sign::read(&path)?)
            .map_err(|e| CliError::usage(format!("{}: expected what `watchfloor sign` prints: {e}", path.display())))?;
        let me = super::me(ctx, &desk)?;
        super::block_on(desk.know_budgets())?;
        show(ctx, &desk.approve_signed(&me, &id, signed, args.override_budget.map(Into::into))?)?;
        return Ok(Exit::Done);
    }
    let Some(digest) = args.digest else {
        let request = desk.request(&id)?.ok_or_else(|| CliError::no(format!("{id}: there is no such request")))?;
        show(ctx, &request)?;
        ctx.out().note(format!("to approve exactly this: watchfloor approve {id} --digest {}", request.digest))?;
        return Ok(Exit::No);
    };
    let me = super::me(ctx, &desk)?;
    super::block_on(async {
        desk.know_budgets().await;
        desk.know_gates(&id).await;
    })?;
    let request = match args.override_budget {
        Some(reason) => desk.approve_over_budget(&me, &id, &digest, reason.into())?,
        None => desk.approve(&me, &id, &digest)?,
    };
    show(ctx, &request)?;
    Ok(Exit::Done)
}

pub fn deny(ctx: &Ctx, args: DenyArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let request = desk.deny(&super::me(ctx, &desk)?, &id(&args.id)?, args.reason.into())?;
    show(ctx, &request)?;
    Ok(Exit::Done)
}

pub fn withdraw(ctx: &Ctx, args: IdArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let request = desk.withdraw(&super::me(ctx, &desk)?, &id(&args.id)?)?;
    show(ctx, &request)?;
    Ok(Exit::Done)
}

pub fn execute(ctx: &Ctx, args: ExecuteArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let me = super::me(ctx, &desk)?;
    let which = id(&args.id)?;
    if args.break_glass {
        let Some(digest) = args.digest else {
            let request =
                desk.request(&which)?.ok_or_else(|| CliError::no(format!("{which}: there is no such request")))?;
            show(ctx, &request)?;
            ctx.out().note(format!("to run exactly this, alone: add --digest {}", request.digest))?;
            return Ok(Exit::No);
        };
        super::block_on(async {
            desk.know_budgets().await;
            desk.know_gates(&which).await;
        })?;
        match args.signed {
            Some(path) => {
                let signed = serde_json::from_str(&super::sign::read(&path)?).map_err(|e| {
                    CliError::usage(format!("{}: expected what `watchfloor sign` prints: {e}", path.display()))
                })?;
                desk.break_glass_signed(&me, &which, &digest, signed)?;
            }
            None => drop(desk.break_glass(&me, &which, &digest, args.reason.unwrap_or_default().into())?),
        }
        ctx.out().note("the glass is broken: everybody is told, and somebody else reviews it")?;
    }
    let request = super::block_on(async {
        desk.know_budgets().await;
        desk.execute(&me, &which).await
    })??;
    show(ctx, &request)?;
    Ok(if request.state == RequestState::Done { Exit::Done } else { Exit::No })
}

pub fn kill_switch(ctx: &Ctx, args: KillArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    if let Some(to) = args.to {
        desk.set_kill_switch(&super::me(ctx, &desk)?, to == "on")?;
    }
    let now = desk.kill_switch()?;
    ctx.out().value(&serde_json::json!({
        "on": now.is_some(),
        "by": now.as_ref().map(|n| n.0.as_str()),
        "since": now.as_ref().map(|n| n.1.to_string()),
    }))?;
    match now {
        Some((by, at)) => ctx.out().line(format!("on: {by} stopped all execution at {at:.0}"))?,
        None => ctx.out().line("off")?,
    }
    Ok(Exit::Done)
}

pub(super) fn id(text: &str) -> Result<RequestId, CliError> {
    RequestId::new(text).ok_or_else(|| CliError::usage(format!("{text}: a request id was expected")))
}

/// The request as an approver must see it: who, what, targets, changes, undo, digest.
pub(super) fn show(ctx: &Ctx, r: &Request) -> Result<(), CliError> {
    let out = ctx.out();
    out.value(r)?;
    let b = &r.body;
    out.line(format!("request {}  {}  {}", b.id, r.state.word(), b.tier.word()))?;
    let verb = if r.was_asked() { "asked" } else { "kept it" };
    out.line(format!("  who      {} {verb} at {:.0}, suggested by {:?}", b.requester, b.created, b.suggested_by))?;
    for c in &b.commands {
        out.line(format!("  what     {}", c.argv.join(" ")))?;
    }
    out.line(format!("  targets  {}", b.targets.join(" ")))?;
    for p in &r.preview {
        let change = p.would_change.map_or("unknown".to_owned(), |n| n.to_string());
        let failed = if p.failed { ", dry run failed" } else { "" };
        out.line(format!("  changes  {}: {change}{failed}", p.target))?;
        for line in p.diff.expose().lines() {
            out.line(format!("           {line}"))?;
        }
    }
    for f in &r.findings {
        out.line(format!("  policy   {}{}", if f.refuses { "refused: " } else { "" }, f.text))?;
    }
    out.line(format!("  undo     {}", b.undo.as_deref().unwrap_or("cannot be undone by an action")))?;
    out.line(format!("  reason   {}", b.reason.expose()))?;
    if r.was_asked() {
        out.line(format!("  needs    {} approvals, has {}", b.approvals_needed, r.approvals.len()))?;
    }
    for a in &r.approvals {
        out.line(format!("  approved by {} at {:.0}, {}", a.by, a.at, a.means.word()))?;
    }
    course(ctx, r)?;
    if r.was_asked() {
        out.line(format!("  expires  {:.0}, to be started until {:.0}", b.approve_by, b.execute_by))?;
        out.line(format!("  digest   {}", r.digest))?;
    } else {
        out.line(format!("  expires  {:.0} as a draft: nobody is asked until it is submitted", b.approve_by))?;
    }
    if let Some(note) = &r.note {
        out.line(format!("  note     {note}"))?;
    }
    for receipt in &r.receipts {
        let state = match receipt.state {
            ReceiptState::Pending => "pending",
            ReceiptState::Done => "done",
            ReceiptState::Failed => "failed",
            ReceiptState::Unknown => "unknown",
            ReceiptState::Skipped => "skipped",
        };
        let changed = receipt.changed.map_or(String::new(), |n| format!(" changed={n}"));
        out.line(format!("  receipt  {}: {state}{changed} {}", receipt.target, receipt.detail.expose()))?;
    }
    Ok(())
}

/// What happened to it besides approvals.
fn course(ctx: &Ctx, r: &Request) -> Result<(), CliError> {
    let (out, c) = (ctx.out(), &r.course);
    if let Some(old) = &r.body.replaces {
        out.line(format!("  instead of {old}"))?;
    }
    if let Some(t) = &c.ticket {
        out.line(format!("  ticket   {t}"))?;
    }
    if let Some(g) = &c.glass {
        out.line(format!("  GLASS    broken by {} at {:.0}, {}: {}", g.by, g.at, g.means.word(), g.reason.expose()))?;
        out.line(format!("           to be reviewed by {:.0}", g.review_due))?;
    }
    for m in &c.thread {
        let verb = if m.kind == MessageKind::Question { "asks" } else { "answers" };
        out.line(format!("  {verb:<8} {} at {:.0}: {}", m.by, m.at, m.text.expose()))?;
    }
    for rung in &c.rungs {
        out.line(format!("  rung {}   {} told at {:.0}", rung.number, rung.whom, rung.at))?;
    }
    Ok(())
}
