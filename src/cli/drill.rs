//! `backup drill`: recovery drills, proposed like any action, and their reports.

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::desk::operate_backup::span;
use crate::desk::operate_drill;
use crate::model::health::Tri;
use crate::model::recovery::DrillReport;
use crate::text::clean;

#[derive(Debug, clap::Subcommand)]
pub enum What {
    /// The drills of backups.toml, each with what became of its newest. Exit 1 unless every one worked within 35 days.
    List,
    /// Propose one: the newest good backup is restored aside, tried, and removed again, once somebody else approved it.
    Propose {
        /// Its name in backups.toml.
        name: String,
        #[arg(long)]
        reason: String,
    },
    /// Reports that there are, newest first.
    Reports,
    /// One report: of a request, or the newest of a drill.
    Report {
        /// A request, or a drill's name.
        name: String,
        #[arg(long, value_enum, default_value_t = Format::Markdown)]
        format: Format,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Markdown,
    Json,
}

pub fn run(ctx: &Ctx, what: What) -> Result<Exit, CliError> {
    match what {
        What::List => list(ctx),
        What::Propose { name, reason } => propose(ctx, &name, reason),
        What::Reports => reports(ctx),
        What::Report { name, format } => report(ctx, &name, format),
    }
}

fn list(ctx: &Ctx) -> Result<Exit, CliError> {
    let drills = ctx.desk()?.drills()?;
    let mut rows = Vec::new();
    for d in &drills {
        ctx.out().item(d)?;
        let last = d.last.as_ref().map_or("never".to_owned(), |r| r.ended.strftime("%Y-%m-%d %H:%M UTC").to_string());
        let due = d.due.map_or("now".to_owned(), |t| t.strftime("%Y-%m-%d").to_string());
        let said = d.last.as_ref().map_or(String::new(), operate_drill::summary);
        rows.push(vec![d.name.clone(), d.asset.clone(), d.state.word().into(), last, due, d.what.clone(), said]);
    }
    ctx.out().table(&["DRILL", "ASSET", "STATE", "LAST", "DUE", "WHAT", "RESULT"], &rows)?;
    // None described is none that works.
    let all = !drills.is_empty() && drills.iter().all(|d| d.state == Tri::Pass);
    Ok(if all { Exit::Done } else { Exit::No })
}

fn propose(ctx: &Ctx, name: &str, reason: String) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let me = super::me(ctx, &desk)?;
    let request = super::block_on(desk.propose_drill(&me, name, reason.into()))??;
    super::respond::show(ctx, &request)?;
    Ok(Exit::Done)
}

fn reports(ctx: &Ctx) -> Result<Exit, CliError> {
    let all = ctx.desk()?.drill_reports()?;
    all.iter().try_for_each(|r| ctx.out().item(r))?;
    ctx.out().table(
        &["REQUEST", "DRILL", "BACKUP", "ENDED", "RESULT", "REMOVED"],
        &all.iter().map(row).collect::<Vec<_>>(),
    )?;
    Ok(Exit::Done)
}

fn row(r: &DrillReport) -> Vec<String> {
    let took = r.recovery_seconds.map_or(String::new(), |s| format!(" in {}", span(s)));
    vec![
        r.request.to_string(),
        if r.drill.is_empty() { "-".into() } else { r.drill.clone() },
        format!("{}/{}", r.source, r.backup),
        r.ended.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        format!("{}{took}", r.outcome.word()),
        r.cleaned.word().into(),
    ]
}

fn report(ctx: &Ctx, name: &str, format: Format) -> Result<Exit, CliError> {
    let Some(r) = ctx.desk()?.drill_report(name)? else {
        let shown = crate::text::Untrusted::new(name);
        return Err(CliError::no(format!(
            "there is no report of {:?}: see `backup drill reports`",
            clean(&shown).as_str()
        )));
    };
    if ctx.out().json() {
        ctx.out().value(&r)?;
    } else if format == Format::Json {
        ctx.out().bytes((crate::text::to_safe_json_pretty(&r)? + "\n").as_bytes())?;
    } else {
        ctx.out().bytes(operate_drill::markdown(&r).as_bytes())?;
    }
    Ok(if r.outcome == Tri::Pass { Exit::Done } else { Exit::No })
}
