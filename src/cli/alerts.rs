//! `alerts`: the queue as a list.

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::model::alert::AlertRow;
use crate::model::query::Page;
use crate::model::query::SortKey;
use crate::text::Untrusted;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Query, such as `sev>=high host:web-* not status:closed`; without one, every alert.
    #[arg(long, value_name = "Q", default_value = "")]
    filter: String,
    /// Rows at most.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    limit: usize,
    /// risk, newest, oldest or severity.
    #[arg(long, value_name = "KEY", default_value = "risk")]
    sort: String,
    /// Only how many there are.
    #[arg(long)]
    count: bool,
}

/// Rows fetched at a time, so that a long list takes no more memory than a short one.
const PAGE: usize = 1_000;

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let query = super::query(ctx, &desk, &args.filter)?;
    let sort = SortKey::parse(&args.sort).ok_or_else(|| {
        let known = SortKey::ALL.map(SortKey::word).join(", ");
        CliError::usage(format!("--sort {}: one of {known} was expected", args.sort))
    })?;
    if args.count {
        let count = desk.count(&query, u64::MAX >> 1)?;
        ctx.out().line(count.n.to_string())?;
        ctx.out().value(&count)?;
        return Ok(Exit::Done);
    }
    let mut table = Vec::new();
    let mut page = Page::First;
    let mut left = args.limit;
    while left > 0 {
        let rows = desk.rows(&query, sort, page, PAGE.min(left))?;
        let Some(last) = rows.last() else { break };
        page = Page::After(last.id);
        left -= rows.len();
        for row in &rows {
            if ctx.out().json() {
                ctx.out().item(row)?;
            } else {
                table.push(cells(row));
            }
        }
    }
    let head = ["ID", "PRI", "SEV", "RULE", "HOST", "USER", "ADDRESS", "N", "STATE", "TITLE"];
    ctx.out().table(&head, &table)?;
    Ok(Exit::Done)
}

fn cells(row: &AlertRow) -> Vec<String> {
    let text = |t: &Option<Untrusted>| t.as_ref().map_or("-".to_owned(), |t| t.expose().to_owned());
    let address = row.src_ip.or(row.dst_ip).map_or("-".to_owned(), |ip| ip.to_string());
    let state = match (&row.owner, row.disposition) {
        (_, Some(d)) => format!("closed {}", d.short()),
        (Some(owner), None) => format!("{} {owner}", row.status.word()),
        (None, None) => row.status.word().to_owned(),
    };
    vec![
        row.id.to_string(),
        row.priority.word().into(),
        row.severity.short().into(),
        text(&row.rule_id),
        text(&row.host),
        text(&row.user),
        address,
        row.count.to_string(),
        state,
        row.title.expose().to_owned(),
    ]
}
