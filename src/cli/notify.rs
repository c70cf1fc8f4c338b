//! `notify`: those who are told of what happens to requests.

use serde_json::json;

use super::CliError;
use super::Ctx;
use super::Exit;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Each with how it goes: what waits, what was given up, the last fault. Exit 1 when one of them hears nothing.
    List,
    /// Tell one of them that nothing happened, now.
    Test { name: String },
    /// What one of them never took.
    Dead { name: String },
    /// Let what one of them never took wait again.
    Retry { name: String },
    /// Tell what is due now, where no console and no `serve` does so by itself.
    Now,
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    match args.what {
        What::List => {
            let mut rows = Vec::new();
            let mut exit = Exit::Done;
            for s in desk.notifier_states()? {
                ctx.out().item(&s)?;
                if s.failing || s.dead > 0 {
                    exit = Exit::No;
                }
                rows.push(vec![
                    s.name,
                    s.kind,
                    s.sent.to_string(),
                    s.waiting.to_string(),
                    s.dead.to_string(),
                    s.last_sent.map_or("never".into(), |t| format!("{t:.0}")),
                    if s.failing { s.last_error.unwrap_or_default() } else { "-".into() },
                ]);
            }
            ctx.out().table(&["NAME", "KIND", "TOLD", "WAIT", "DEAD", "LAST", "FAULT"], &rows)?;
            Ok(exit)
        }
        What::Test { name } => {
            let me = super::me(ctx, &desk)?;
            let said = super::block_on(desk.notify_test(&me, &name))??;
            ctx.out().value(&json!({ "name": name, "said": said }))?;
            ctx.out().line(said)?;
            Ok(Exit::Done)
        }
        What::Dead { name } => {
            let mut rows = Vec::new();
            for (b, why) in desk.notify_dead(&name)? {
                ctx.out().item(&json!({ "bulletin": b, "why": why }))?;
                let request = b.request.map_or("-".into(), |r| r.to_string());
                rows.push(vec![format!("{:.0}", b.at), b.what.word().into(), request, why]);
            }
            ctx.out().table(&["AT", "EVENT", "REQUEST", "WHY"], &rows)?;
            Ok(Exit::Done)
        }
        What::Retry { name } => {
            let n = desk.notify_retry(&super::me(ctx, &desk)?, &name)?;
            ctx.out().value(&json!({ "name": name, "waiting": n }))?;
            ctx.out().line(format!("{n} wait again"))?;
            Ok(Exit::Done)
        }
        What::Now => {
            super::me(ctx, &desk)?;
            let n = super::block_on(desk.notify_now())??;
            ctx.out().value(&json!({ "told": n }))?;
            ctx.out().line(format!("{n} told"))?;
            Ok(Exit::Done)
        }
    }
}
