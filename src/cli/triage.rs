//! `triage`: an opinion on alerts, kept with them.

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::desk::Cancel;
use crate::model::ids::AlertId;
use crate::model::query::Page;
use crate::model::query::SortKey;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Alerts to form an opinion on.
    #[arg(required_unless_present = "new")]
    ids: Vec<AlertId>,
    /// Every new alert without a verdict, riskiest first, up to --limit.
    #[arg(long, conflicts_with = "ids")]
    new: bool,
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
    /// `rules` or `openai`; without it, the one of the settings.
    #[arg(long, value_name = "B")]
    backend: Option<String>,
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let ids = if args.new {
        let query = super::query(ctx, &desk, "status:new verdict:none")?;
        desk.rows(&query, SortKey::Risk, Page::First, args.limit)?.iter().map(|r| r.id).collect()
    } else {
        args.ids
    };
    let cancel = Cancel::new();
    let by = desk.me().map(|p| p.id);
    for id in ids {
        let judged = desk.triage(id, args.backend.as_deref(), by.as_ref(), &|_| {}, &cancel);
        let verdict = super::block_on(judged)??;
        ctx.out().item(&serde_json::json!({ "id": id, "verdict": verdict }))?;
        let sure = verdict.confidence.map_or(String::new(), |c| format!(" {c:.2}"));
        let stands_in = if verdict.fallback { " (fallback)" } else { "" };
        ctx.out().line(format!("{id}: {}{sure} by {}{stands_in}", verdict.kind.label(), verdict.backend))?;
        for claim in &verdict.claims {
            let mark = if claim.founded { '=' } else { 'x' };
            ctx.out().line(format!(
                "  {mark} {} [{}: {}]",
                claim.text.expose(),
                claim.field.expose(),
                claim.quote.expose()
            ))?;
        }
        if let Some(remark) = &verdict.remark {
            ctx.out().line(format!("  {}", remark.expose()))?;
        }
    }
    Ok(Exit::Done)
}
