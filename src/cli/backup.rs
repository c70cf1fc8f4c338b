//! `backup`: what is kept of what, how well that is proven, and what could go.

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::desk::operate_backup;
use crate::desk::operate_backup::Backups;
use crate::desk::operate_backup::Plan;
use crate::desk::operate_backup::Verify;
use crate::model::backup::AssetStatus;
use crate::model::backup::Graded;
use crate::model::health::Tri;
use crate::text::Untrusted;
use crate::text::clean;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Args)]
struct How {
    /// Write to every OpenSearch repository now and read that back; else it is done at most hourly.
    #[arg(long)]
    verify: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Every asset, worst first.
    List {
        #[command(flatten)]
        how: How,
    },
    /// One asset with its backups, or one backup by `SOURCE/ID`, with every reason.
    Show { name: String },
    /// Whether every asset meets its objectives.
    ///
    /// The recovery point is met by a backup graded A, B or C; one that only claims (D) does not count. The restore time
    /// is met by drills of the last 35 days: an asset that was never drilled has an objective nobody has shown to be
    /// met, which is no pass. With --rpo only the recovery point is asked.
    ///
    /// Exit status: 0 every asset passes; 1 one misses an objective, or it is not known (each line says which, and
    /// why), or there is no asset at all; 2 backups.toml is missing or faulty, or there is no such asset; 3 the desk's
    /// store cannot be used. A source that cannot be reached makes its assets unknown: 1.
    #[command(verbatim_doc_comment)]
    Check {
        /// These only.
        assets: Vec<String>,
        /// Only whether a good backup is young enough; not how long a restore takes.
        #[arg(long)]
        rpo: bool,
        #[command(flatten)]
        how: How,
    },
    /// What could be removed, and why the rest stays: a plan, nothing is removed.
    ///
    /// With --apply the plan is proposed through the action each source names (prune in backups.toml); other people
    /// approve it, and what must stay by then is refused at the start. Exit status with --apply: 0 all of it is
    /// proposed, 1 some of it is not.
    Prune {
        /// Also what stays.
        #[arg(long)]
        all: bool,
        /// Propose to remove it.
        #[arg(long)]
        apply: bool,
        /// Why, for those who approve.
        #[arg(long, requires = "apply", default_value = "backups past their retention")]
        reason: String,
    },
    /// Recovery drills: a backup restored aside, tried, timed, and removed again.
    #[command(subcommand)]
    Drill(super::drill::What),
    /// Keep a backup whatever its age.
    Hold {
        /// `SOURCE/ID`.
        id: String,
        #[arg(long)]
        reason: String,
    },
    /// Keep it no longer than its retention says.
    Release {
        /// `SOURCE/ID`.
        id: String,
    },
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    match args.what {
        What::List { how } => list(ctx, &how),
        What::Show { name } => show(ctx, &name),
        What::Check { assets, rpo, how } => check(ctx, &assets, rpo, &how),
        What::Prune { all, apply: false, .. } => prune(ctx, all),
        What::Prune { all, apply: true, reason } => propose(ctx, all, &reason),
        What::Drill(what) => super::drill::run(ctx, what),
        What::Hold { id, reason } => hold(ctx, &id, Some(&reason)),
        What::Release { id } => hold(ctx, &id, None),
    }
}

fn read(ctx: &Ctx, how: &How) -> Result<Backups, CliError> {
    let desk = ctx.desk()?;
    let verify = if how.verify { Verify::Now } else { Verify::WhenDue };
    Ok(super::block_on(desk.backups_with(verify))??)
}

fn list(ctx: &Ctx, how: &How) -> Result<Exit, CliError> {
    let read = read(ctx, how)?;
    read.assets.iter().try_for_each(|a| ctx.out().item(a))?;
    table(ctx, &read.assets)?;
    for s in read.sources.iter().filter(|s| s.state != crate::model::health::SourceWord::Live) {
        ctx.out().note(format!("{} ({}): {} {}", s.name, s.kind, s.state.word(), clean(&s.detail)))?;
    }
    Ok(Exit::Done)
}

fn table(ctx: &Ctx, assets: &[AssetStatus]) -> Result<(), CliError> {
    let rows: Vec<Vec<String>> = assets.iter().map(row).collect();
    ctx.out().table(&["ASSET", "GRADE", "RPO", "RTO", "COPIES", "NEXT", "WHY"], &rows)
}

fn row(a: &AssetStatus) -> Vec<String> {
    let n = |n: Option<u32>| n.map_or("?".to_owned(), |n| n.to_string());
    let against = |actual: Option<f64>, goal: u64, word: Tri| {
        let actual = actual.map_or("?".to_owned(), span);
        format!("{actual} / {} {}", span(goal as f64), word.word())
    };
    vec![
        a.asset.name.clone(),
        a.grade.word().to_owned(),
        against(a.rpo_actual_seconds, a.asset.rpo_seconds, a.rpo),
        against(a.rto_actual_seconds, a.asset.rto_seconds, a.rto),
        format!("{}-{}-{}", n(a.copies.copies), n(a.copies.media), n(a.copies.offsite)),
        a.next_run.map_or("-".to_owned(), |t| t.to_string()),
        a.why.join("; "),
    ]
}

fn span(seconds: f64) -> String {
    operate_backup::span(seconds)
}

fn show(ctx: &Ctx, name: &str) -> Result<Exit, CliError> {
    let read = read(ctx, &How { verify: false })?;
    if let Some(a) = read.assets.iter().find(|a| a.asset.name == name) {
        ctx.out().value(a)?;
        table(ctx, std::slice::from_ref(a))?;
        for why in &a.why {
            ctx.out().line(format!("  - {why}"))?;
        }
        return a.backups.iter().try_for_each(|g| tell(ctx, g)).map(|()| Exit::Done);
    }
    let found: Vec<(&AssetStatus, &Graded)> = read
        .assets
        .iter()
        .flat_map(|a| a.backups.iter().map(move |g| (a, g)))
        .filter(|(_, g)| format!("{}/{}", g.backup.source, g.backup.id) == name)
        .collect();
    if found.is_empty() {
        return Err(CliError::no(format!("{name} is neither an asset nor a SOURCE/ID of a backup: see `backup list`")));
    }
    ctx.out().value(&found.iter().map(|(_, g)| g).collect::<Vec<_>>())?;
    for (a, g) in found {
        ctx.out().line(format!("for {}:", a.asset.name))?;
        tell(ctx, g)?;
    }
    Ok(Exit::Done)
}

fn tell(ctx: &Ctx, g: &Graded) -> Result<(), CliError> {
    let b = &g.backup;
    let start = b.start.map_or("?".to_owned(), |t| t.to_string());
    ctx.out().line(format!("{}/{}  {}  begun {start}", b.source, b.id, g.grade.word()))?;
    g.why.iter().try_for_each(|why| ctx.out().line(format!("    {why}")))
}

fn check(ctx: &Ctx, names: &[String], rpo: bool, how: &How) -> Result<Exit, CliError> {
    let read = read(ctx, how)?;
    if let Some(unknown) = names.iter().find(|n| !read.assets.iter().any(|a| a.asset.name == **n)) {
        return Err(CliError::usage(format!("{unknown} is no asset: see `backup list`")));
    }
    let asked: Vec<&AssetStatus> =
        read.assets.iter().filter(|a| names.is_empty() || names.contains(&a.asset.name)).collect();
    let verdict = |a: &AssetStatus| if rpo { a.rpo } else { operate_backup::verdict(a) };
    for a in &asked {
        let word = verdict(a);
        ctx.out().item(&serde_json::json!({
            "asset": a.asset.name, "verdict": word, "rpo": a.rpo, "rto": a.rto, "grade": a.grade, "why": a.why,
        }))?;
        let (name, point, time) = (&a.asset.name, a.rpo.word(), a.rto.word());
        let why = a.why.join("; ");
        ctx.out().line(format!("{name}: {}  (recovery point {point}, restore time {time})  {why}", word.word()))?;
    }
    // Nothing to check is not a pass.
    let met = !asked.is_empty() && asked.iter().all(|a| verdict(a) == Tri::Pass);
    Ok(if met { Exit::Done } else { Exit::No })
}

fn prune(ctx: &Ctx, all: bool) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let plans = super::block_on(desk.backup_prune_plan())??;
    plans.iter().try_for_each(|p| ctx.out().item(p))?;
    steps(ctx, &plans, all)?;
    ctx.out().note("a plan: nothing was removed")?;
    Ok(Exit::Done)
}

fn steps(ctx: &Ctx, plans: &[Plan], all: bool) -> Result<(), CliError> {
    let mut rows = Vec::new();
    for plan in plans {
        for s in plan.steps.iter().filter(|s| all || s.remove) {
            let what = if s.remove { "remove" } else { "keep" };
            rows.push(vec![plan.asset.clone(), what.into(), format!("{}/{}", s.source, s.id), s.why.clone()]);
        }
    }
    ctx.out().table(&["ASSET", "PLAN", "BACKUP", "WHY"], &rows)
}

fn propose(ctx: &Ctx, all: bool, reason: &str) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let me = super::me(ctx, &desk)?;
    let done = super::block_on(desk.propose_prune(&me, reason))??;
    ctx.out().value(&done)?;
    steps(ctx, &done.plans, all)?;
    for r in &done.requests {
        let (id, n) = (&r.body.id, r.body.targets.len());
        ctx.out()
            .line(format!("{id}  {} of {n} backups, needs {} approvals", r.body.action, r.body.approvals_needed))?;
    }
    done.left.iter().try_for_each(|why| ctx.out().note(format!("not proposed: {}", clean(&Untrusted::new(why)))))?;
    if done.requests.is_empty() && done.left.is_empty() {
        ctx.out().note("nothing may go")?;
    }
    Ok(if done.left.is_empty() { Exit::Done } else { Exit::No })
}

fn hold(ctx: &Ctx, id: &str, reason: Option<&str>) -> Result<Exit, CliError> {
    let Some((source, id)) = id.split_once('/') else {
        return Err(CliError::usage("expected SOURCE/ID, as `backup show ASSET` names it"));
    };
    let desk = ctx.desk()?;
    let me = super::me(ctx, &desk)?;
    let backup = desk.hold_backup(&me, source, id, reason)?;
    ctx.out().value(&backup)?;
    ctx.out().line(match reason {
        Some(_) => format!("{source}/{id} is held"),
        None => format!("{source}/{id} is no longer held"),
    })?;
    Ok(Exit::Done)
}
