//! `watchfloor` without a subcommand: the console on the configured desk.

use std::sync::Arc;

use super::CliError;
use super::Ctx;
use super::Exit;
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
    let _ = desk;
    Err(CliError::refused("this build has no console"))
}
