//! `status export`: a page for the public.

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
    /// How services are now and 90 days of each, without anything internal.
    Export {
        #[arg(long, value_enum, default_value_t = Format::Html)]
        format: Format,
        /// Heading of the page.
        #[arg(long)]
        title: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Html,
    Json,
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let What::Export { format, title } = args.what;
    let (page, html) = ctx.desk()?.status_page(title.as_deref())?;
    let text = match format {
        _ if ctx.out().json() => {
            ctx.out().value(&page)?;
            return Ok(Exit::Done);
        }
        Format::Html => html,
        Format::Json => crate::text::to_safe_json_pretty(&page)? + "\n",
    };
    ctx.out().bytes(text.as_bytes())?;
    Ok(Exit::Done)
}
