//! `watchfloor` without a subcommand: the console on the configured desk.

use super::{CliError, Ctx, Exit};

pub fn run(ctx: &Ctx) -> Result<Exit, CliError> {
    ctx.loaded()?;
    Err(CliError::refused("this build has no console"))
}
