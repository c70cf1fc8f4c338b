//! `draft`, `question`, `answer`, `ticket`, `review`, `policy propose`, `roster propose`.

use std::path::PathBuf;

use super::CliError;
use super::Ctx;
use super::Exit;
use super::respond::id;
use super::respond::show;
use crate::model::action::Governed;

#[derive(Debug, clap::Args)]
pub struct DraftArgs {
    #[command(subcommand)]
    what: DraftWhat,
}

#[derive(Debug, clap::Subcommand)]
enum DraftWhat {
    /// Keep a request that is asked of nobody yet.
    Keep(super::respond::ProposeArgs),
    /// New contents of a draft of yours; of a request that waits: withdraw it and keep a draft that names it.
    Edit {
        id: String,
        #[command(flatten)]
        new: super::respond::ProposeArgs,
    },
    /// Policy, dry run, and it waits for approval.
    Submit { id: String },
    /// Throw it away.
    Drop { id: String },
}

#[derive(Debug, clap::Args)]
pub struct SayArgs {
    id: String,
    text: String,
}

#[derive(Debug, clap::Args)]
pub struct TicketArgs {
    id: String,
    ticket: String,
}

#[derive(Debug, clap::Args)]
pub struct ReviewArgs {
    #[command(subcommand)]
    what: ReviewWhat,
}

#[derive(Debug, clap::Subcommand)]
enum ReviewWhat {
    /// What one person did alone and nobody looked at yet.
    List {
        /// Those that were looked at, too.
        #[arg(long)]
        all: bool,
    },
    /// Say whether it was right.
    Close {
        id: String,
        #[arg(long, value_parser = ["justified", "unjustified"])]
        verdict: String,
        #[arg(long)]
        text: String,
    },
}

#[derive(Debug, clap::Args)]
pub struct ProposeFile {
    /// The whole new file; `-`: standard input.
    file: PathBuf,
    #[arg(long)]
    reason: String,
}

#[derive(Debug, clap::Args)]
pub struct RosterArgs {
    #[command(subcommand)]
    what: RosterWhat,
}

#[derive(Debug, clap::Subcommand)]
enum RosterWhat {
    /// Ask that this file become the roster: shows the difference, needs approval at the highest tier.
    Propose(ProposeFile),
    /// The people as they are now.
    Show,
}

pub fn draft(ctx: &Ctx, args: DraftArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let me = super::me(ctx, &desk)?;
    let request = match args.what {
        DraftWhat::Keep(new) => desk.keep_request(&me, new.draft()?)?,
        DraftWhat::Edit { id: of, new } => desk.edit_request(&me, &id(&of)?, new.draft()?)?,
        DraftWhat::Submit { id: of } => super::block_on(desk.submit(&me, &id(&of)?))??,
        DraftWhat::Drop { id: of } => desk.withdraw(&me, &id(&of)?)?,
    };
    show(ctx, &request)?;
    Ok(Exit::Done)
}

pub fn question(ctx: &Ctx, args: SayArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    show(ctx, &desk.ask_back(&super::me(ctx, &desk)?, &id(&args.id)?, args.text.into())?)?;
    Ok(Exit::Done)
}

pub fn answer(ctx: &Ctx, args: SayArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    show(ctx, &desk.answer_back(&super::me(ctx, &desk)?, &id(&args.id)?, args.text.into())?)?;
    Ok(Exit::Done)
}

pub fn ticket(ctx: &Ctx, args: TicketArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    show(ctx, &desk.set_ticket(&super::me(ctx, &desk)?, &id(&args.id)?, &args.ticket)?)?;
    Ok(Exit::Done)
}

pub fn review(ctx: &Ctx, args: ReviewArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let all = match args.what {
        ReviewWhat::Close { id: of, verdict, text } => {
            let me = super::me(ctx, &desk)?;
            let closed = desk.close_glass_review(&me, &id(&of)?, verdict == "justified", text.into())?;
            ctx.out().value(&closed)?;
            ctx.out().line(format!("{of}: {verdict}"))?;
            return Ok(Exit::Done);
        }
        ReviewWhat::List { all } => all,
    };
    let now = jiff::Timestamp::now();
    let mut rows = Vec::new();
    let mut overdue = false;
    for r in desk.glass_reviews(all)? {
        ctx.out().item(&r)?;
        overdue |= r.overdue(now);
        let state = match &r.closed {
            Some(c) if c.justified => format!("justified, says {}", c.by),
            Some(c) => format!("UNJUSTIFIED, says {}", c.by),
            None if r.overdue(now) => "OVERDUE".into(),
            None => "open".into(),
        };
        rows.push(vec![
            r.request.to_string(),
            state,
            format!("{:.0}", r.due),
            r.by.to_string(),
            r.what.clone(),
            crate::text::clean(&r.reason).as_str().to_owned(),
        ]);
    }
    ctx.out().table(&["REQUEST", "REVIEW", "DUE", "BY", "WHAT", "WHY"], &rows)?;
    Ok(if overdue { Exit::No } else { Exit::Done })
}

pub fn roster(ctx: &Ctx, args: RosterArgs) -> Result<Exit, CliError> {
    match args.what {
        RosterWhat::Propose(file) => propose(ctx, Governed::Roster, &file),
        RosterWhat::Show => {
            let desk = ctx.desk()?;
            let mut rows = Vec::new();
            for p in &desk.roster().people {
                ctx.out().item(p)?;
                let roles: Vec<&str> = p.roles.iter().map(|r| r.word()).collect();
                rows.push(vec![p.id.to_string(), p.name.clone(), roles.join(" ")]);
            }
            ctx.out().table(&["ID", "NAME", "ROLES"], &rows)?;
            Ok(Exit::Done)
        }
    }
}

/// Asks that the file govern from now on.
pub fn propose(ctx: &Ctx, what: Governed, args: &ProposeFile) -> Result<Exit, CliError> {
    let text = super::sign::read(&args.file)?;
    let desk = ctx.desk()?;
    let me = super::me(ctx, &desk)?;
    let request = super::block_on(desk.propose_governing(&me, what, &text, args.reason.as_str().into()))??;
    show(ctx, &request)?;
    Ok(Exit::Done)
}
