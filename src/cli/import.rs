//! `import`: alerts from files, folders or standard input.

use std::path::PathBuf;

use super::CliError;
use super::Ctx;
use super::Exit;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files or folders; `-` is standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Format of every record; without it each record's is detected.
    #[arg(long, value_name = "F")]
    format: Option<String>,
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let summary = desk.import(&super::me(ctx, &desk)?, &args.paths, args.format.as_deref(), |_, _, _| ())?;
    ctx.out().value(&summary)?;
    ctx.out().line(format!(
        "read {}, accepted {}, duplicates {}, dead {}",
        summary.read, summary.accepted, summary.duplicates, summary.dead
    ))?;
    for (format, n) in &summary.by_format {
        ctx.out().line(format!("  {format:<16} {n}"))?;
    }
    for failed in &summary.failed {
        ctx.out().note(format!("{}: {}", failed.input.expose(), failed.reason))?;
    }
    if !summary.failed.is_empty() {
        return Ok(Exit::Unreachable);
    }
    if summary.dead > 0 {
        ctx.out().note("some records could not be read: see `watchfloor dead-letter list`")?;
        return Ok(Exit::No);
    }
    Ok(Exit::Done)
}
