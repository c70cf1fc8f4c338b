//! `dead-letter list|show|retry|drop`: records that could not be read.

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::model::ids::DeadLetterId;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Every dead letter with reason and position.
    List {
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// One dead letter; --raw gives its bytes.
    Show {
        id: DeadLetterId,
        #[arg(long)]
        raw: bool,
    },
    /// Read them again, all of them or these.
    Retry {
        ids: Vec<DeadLetterId>,
        #[arg(long, value_name = "F")]
        format: Option<String>,
    },
    /// Throw away.
    Drop {
        #[arg(required = true)]
        ids: Vec<DeadLetterId>,
    },
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    match args.what {
        What::List { limit } => {
            let letters = desk.dead_letters(limit)?;
            let mut rows = Vec::new();
            for l in &letters {
                ctx.out().item(l)?;
                let place = l.line.map_or_else(|| format!("byte {}", l.offset), |n| format!("line {n}"));
                rows.push(vec![
                    l.id.to_string(),
                    l.source.expose().to_owned(),
                    place,
                    l.tries.to_string(),
                    l.reason.expose().to_owned(),
                ]);
            }
            ctx.out().table(&["ID", "SOURCE", "WHERE", "TRIES", "WHY"], &rows)?;
            Ok(Exit::Done)
        }
        What::Show { id, raw } => {
            let Some((letter, bytes)) = desk.dead_letter(id)? else {
                ctx.out().note(format!("{id}: there is no such dead letter"))?;
                return Ok(Exit::No);
            };
            if raw && !ctx.out().stdout_is_terminal() {
                ctx.out().bytes(&bytes)?;
                return Ok(Exit::Done);
            }
            ctx.out().value(&letter)?;
            ctx.out().line(format!("{} {}: {}", letter.id, letter.source.expose(), letter.reason.expose()))?;
            ctx.out().block(String::from_utf8_lossy(&bytes))?;
            Ok(Exit::Done)
        }
        What::Retry { ids, format } => {
            let summary = desk.retry_dead_letters(&super::me(ctx, &desk)?, &ids, format.as_deref())?;
            ctx.out().value(&summary)?;
            ctx.out().line(format!(
                "read {}, accepted {}, still dead {}",
                summary.read, summary.accepted, summary.still_dead
            ))?;
            Ok(if summary.still_dead > 0 { Exit::No } else { Exit::Done })
        }
        What::Drop { ids } => {
            let me = super::me(ctx, &desk)?;
            let mut exit = Exit::Done;
            for id in ids {
                if !desk.drop_dead_letter(&me, id)? {
                    ctx.out().note(format!("{id}: there is no such dead letter"))?;
                    exit = Exit::No;
                }
            }
            Ok(exit)
        }
    }
}
