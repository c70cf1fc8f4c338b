//! `report`: what is handed to others.

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
    /// Uptime, outages, exclusions and credits of a month.
    Sla {
        /// Such as 2026-10; without it, the present month so far.
        #[arg(long, value_name = "YYYY-MM")]
        month: Option<String>,
        /// Of one service only.
        #[arg(long)]
        service: Option<String>,
        #[arg(long, value_enum, default_value_t = Format::Markdown)]
        format: Format,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Markdown,
    Html,
    Json,
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let What::Sla { month, service, format } = args.what;
    let report = ctx.desk()?.sla_report(month.as_deref(), service.as_deref())?;
    // Already cleaned and escaped for what it is.
    let text = match format {
        _ if ctx.out().json() => {
            ctx.out().value(&report.months)?;
            return Ok(Exit::Done);
        }
        Format::Markdown => report.markdown(),
        Format::Html => report.html(),
        Format::Json => crate::text::to_safe_json_pretty(&report.months)? + "\n",
    };
    ctx.out().bytes(text.as_bytes())?;
    Ok(Exit::Done)
}
