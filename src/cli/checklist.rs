//! `checklist list|show|tick|sign|begin|export`.

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::desk::operate_checklist::answer_of;
use crate::model::health::Tri;
use crate::model::sla::ChecklistRun;
use crate::text::Untrusted;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// The lists and how they stand.
    List,
    /// One list, item by item. Exit 1: it does not pass.
    Show { list: String },
    /// Say that an item passes, and what shows it.
    Tick {
        list: String,
        item: String,
        #[arg(long)]
        evidence: String,
        /// It fails.
        #[arg(long, conflicts_with = "overrule")]
        fail: bool,
        /// Why it passes though the desk sees it failing.
        #[arg(long, value_name = "REASON")]
        overrule: Option<String>,
    },
    /// Put your name to a list; only when every item passes.
    Sign { list: String },
    /// Start a new run of a list.
    Begin { list: String },
    /// A list as Markdown, or as JSON.
    Export {
        list: String,
        #[arg(long, value_enum, default_value_t = Format::Markdown)]
        format: Format,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Markdown,
    Json,
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    match args.what {
        What::List => {
            let runs = desk.checklists()?;
            runs.iter().try_for_each(|r| ctx.out().item(r))?;
            let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
            ctx.out().table(&["LIST", "IS", "PASS", "OF", "GATE", "SIGNED BY"], &rows)?;
        }
        What::Show { list } => return show(ctx, &desk.checklist(&list)?),
        What::Tick { list, item, evidence, fail, overrule } => {
            let me = super::me(ctx, &desk)?;
            let overrule = overrule.map(Untrusted::new);
            let run = desk.tick(&me, &list, &item, !fail, Untrusted::new(evidence), overrule)?;
            ctx.out().value(&run)?;
            ctx.out().line(format!("{item}: {}", answer_of(&run, &item).0.word()))?;
        }
        What::Sign { list } => {
            let run = desk.sign_checklist(&super::me(ctx, &desk)?, &list)?;
            ctx.out().value(&run)?;
            ctx.out().line(format!("{list}: signed off"))?;
        }
        What::Begin { list } => {
            desk.begin_checklist(&super::me(ctx, &desk)?, &list)?;
            ctx.out().value(&serde_json::json!({ "begun": list }))?;
            ctx.out().line(format!("{list}: begun"))?;
        }
        What::Export { list, format } => {
            let run = desk.checklist(&list)?;
            let text = match format {
                _ if ctx.out().json() => {
                    ctx.out().value(&run)?;
                    return Ok(Exit::Done);
                }
                Format::Markdown => desk.checklist_markdown(&run),
                Format::Json => crate::text::to_safe_json_pretty(&run)? + "\n",
            };
            ctx.out().bytes(text.as_bytes())?;
        }
    }
    Ok(Exit::Done)
}

fn row(run: &ChecklistRun) -> Vec<String> {
    let pass = run.list.items.iter().filter(|i| answer_of(run, &i.id).0 == Tri::Pass).count();
    vec![
        run.list.name.clone(),
        run.answer.word().into(),
        pass.to_string(),
        run.list.items.len().to_string(),
        if run.list.hard { "hard" } else { "advises" }.into(),
        run.signed.as_ref().map_or("-".into(), |(by, at)| format!("{by} {at:.0}")),
    ]
}

fn show(ctx: &Ctx, run: &ChecklistRun) -> Result<Exit, CliError> {
    ctx.out().value(run)?;
    let mut rows = Vec::new();
    for item in &run.list.items {
        let (word, tick) = answer_of(run, &item.id);
        let by = tick.map_or("-".to_owned(), |t| t.by.as_ref().map_or("the desk".into(), |p| p.to_string()));
        let given = tick.map_or(String::new(), |t| t.evidence.expose().to_owned());
        rows.push(vec![item.id.clone(), word.word().into(), by, item.text.clone(), given]);
    }
    ctx.out().table(&["ITEM", "IS", "SAID BY", "WHAT", "EVIDENCE"], &rows)?;
    Ok(if run.answer == Tri::Pass { Exit::Done } else { Exit::No })
}
