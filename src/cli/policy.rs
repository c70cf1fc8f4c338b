//! `policy`: what governs response actions.

use super::CliError;
use super::Ctx;
use super::Exit;
use super::life;
use crate::model::action::Governed;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Ask that this file become the policy: shows the difference, needs approval at the highest tier.
    Propose(life::ProposeFile),
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    match args.what {
        What::Propose(file) => life::propose(ctx, Governed::Policy, &file),
    }
}
