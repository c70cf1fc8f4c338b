//! `watchfloor` without a subcommand: the console on the configured desk.

use std::sync::Arc;

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::console;
use crate::console::ConsoleError;
use crate::console::ConsoleOptions;
use crate::desk::Desk;

pub fn run(ctx: &Ctx) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let _live = desk.start_live(None)?;
    open(ctx, &desk, None)
}

/// The console on this desk, in this theme or that of the settings, until its user leaves.
pub(super) fn open(ctx: &Ctx, desk: &Arc<Desk>, theme: Option<String>) -> Result<Exit, CliError> {
    if ctx.out().json() {
        return Err(CliError::usage("the console draws on a terminal: --json is for commands"));
    }
    // A demo desk reads no settings file; everything else takes themes and keymaps from beside it.
    let config_dir = desk.exercise().is_none().then(|| ctx.loaded().map(|l| l.paths.config_dir.clone())).transpose()?;
    let options = ConsoleOptions {
        read_only: ctx.global.read_only,
        no_color: ctx.global.no_color,
        theme,
        ascii: false,
        config_dir,
    };
    console::run(Arc::clone(desk), options).map_err(|e| failed(&e))?;
    Ok(Exit::Done)
}

pub(super) fn failed(e: &ConsoleError) -> CliError {
    match e {
        ConsoleError::Usage(_) => CliError::usage(e.to_string()),
        ConsoleError::Terminal(_) | ConsoleError::Panicked => CliError::unreachable(e.to_string()),
    }
}
