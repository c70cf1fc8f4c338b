//! `policy`: what governs response actions.

use std::path::Path;
use std::path::PathBuf;

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
    /// Replay past requests against another policy: what would be refused, allowed, or need more people. Exit 1 when
    /// anything would be.
    Simulate {
        /// The other policy. Left out: what really happened is held against the policy in force.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// How far back.
        #[arg(long, value_name = "TIME", default_value = "30d")]
        since: String,
    },
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    match args.what {
        What::Propose(file) => life::propose(ctx, Governed::Policy, &file),
        What::Simulate { policy, since } => simulate(ctx, policy.as_deref(), &since),
    }
}

fn simulate(ctx: &Ctx, policy: Option<&Path>, since: &str) -> Result<Exit, CliError> {
    let since = jiff::Timestamp::now() - super::duration(since)?;
    let s = ctx.desk()?.simulate(policy, since)?;
    ctx.out().value(&s)?;
    let mut rows = Vec::new();
    for c in &s.changed {
        rows.push(vec![
            format!("{:.0}", c.created),
            c.request.to_string(),
            format!("{} {}", c.action, c.targets.join(" ")),
            c.state.word().into(),
            c.effect.word().into(),
            c.why.join("; "),
        ]);
    }
    ctx.out().table(&["AT", "REQUEST", "WHAT", "WAS", "WOULD BE", "WHY"], &rows)?;
    ctx.out().note(format!(
        "{} of {} requests would have gone otherwise; error budgets and gates were taken as open",
        s.changed.len(),
        s.replayed
    ))?;
    Ok(if s.changed.is_empty() { Exit::Done } else { Exit::No })
}
