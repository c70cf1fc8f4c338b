//! `watchfloor` without a subcommand: the console on the configured desk.

use std::sync::Arc;

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::console::ConsoleOptions;
use crate::desk::Desk;

pub fn run(ctx: &Ctx) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let _live = desk.start_live(None)?;
    open(ctx, &desk)
}

/// The console on this desk, until its user leaves.
pub(super) fn open(ctx: &Ctx, desk: &Arc<Desk>) -> Result<Exit, CliError> {
    if ctx.out().json() {
        return Err(CliError::usage("the console draws on a terminal: --json is for commands"));
    }
    let no_color = ctx.global.no_color || ctx.env().get("NO_COLOR").is_some_and(|v| !v.is_empty());
    let options = ConsoleOptions { read_only: ctx.global.read_only, no_color, ..ConsoleOptions::default() };
    crate::console::run(Arc::clone(desk), options).map_err(|e| CliError::unreachable(e.to_string()))?;
    Ok(Exit::Done)
}
