//! `config`: where the settings come from and whether they are right.

use clap::Subcommand;

use super::{CliError, Ctx, Exit};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Say whether the settings are right, or name every fault in them.
    Check,
    /// Show which files and folders are used.
    Path,
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    match args.command {
        Sub::Check => check(ctx),
        Sub::Path => path(ctx),
    }
}

fn check(ctx: &Ctx) -> Result<Exit, CliError> {
    ctx.loaded()?;
    ctx.out().line("ok")?;
    ctx.out().value(&serde_json::json!({"ok": true}))?;
    Ok(Exit::Done)
}

fn path(ctx: &Ctx) -> Result<Exit, CliError> {
    let paths = &ctx.loaded()?.paths;
    ctx.out().value(paths)?;
    ctx.out().line(format!("data      {}", paths.data_dir.display()))?;
    Ok(Exit::Done)
}
