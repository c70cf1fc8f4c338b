//! `rollout`: what clusters are changing, read now.

use jiff::Timestamp;
use serde_json::json;

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::desk::Desk;
use crate::desk::DeskError;
use crate::desk::operate_rollout::Clusters;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::model::rollout::Advice;
use crate::model::rollout::Gate;
use crate::model::rollout::Revision;
use crate::model::rollout::Rollout;
use crate::model::rollout::RolloutVerb;
use crate::model::rollout::Step;
use crate::text::Untrusted;
use crate::text::clean;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// All rollouts of all clusters, those first that want a look.
    List,
    /// One with its steps, revisions, pods and analyses. Exit 1: there is none of that name.
    Show {
        /// `NAMESPACE/NAME`, or `CLUSTER/NAMESPACE/NAME`.
        name: String,
    },
    /// Whether one may go on: measures its gates (rollouts.toml) now. Exit 0: every gate passes; 1: one fails; 3: not
    /// known, for a server is unreachable; 4: not known, for something is missing, stale or too little.
    Gate {
        /// `NAMESPACE/NAME`, or `CLUSTER/NAMESPACE/NAME`.
        name: String,
    },
    /// Propose to go on: to the next step, to the other side of a blue-green pair.
    Promote(Wish),
    /// Propose to go back to the stable revision.
    Abort(Wish),
    /// Propose to try an aborted one again.
    Retry(Wish),
    /// Propose to pause one.
    Pause(Wish),
    /// Propose to go back to the revision before.
    Undo(Wish),
}

#[derive(Debug, clap::Args)]
struct Wish {
    /// `NAMESPACE/NAME`, or `CLUSTER/NAMESPACE/NAME`.
    name: String,
    #[arg(long)]
    reason: String,
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    match args.what {
        What::List => all(ctx, &desk, None),
        What::Show { name } => all(ctx, &desk, Some(&name)),
        What::Gate { name } => gate(ctx, &desk, &name),
        What::Promote(wish) => propose(ctx, &desk, RolloutVerb::Promote, wish),
        What::Abort(wish) => propose(ctx, &desk, RolloutVerb::Abort, wish),
        What::Retry(wish) => propose(ctx, &desk, RolloutVerb::Retry, wish),
        What::Pause(wish) => propose(ctx, &desk, RolloutVerb::Pause, wish),
        What::Undo(wish) => propose(ctx, &desk, RolloutVerb::Undo, wish),
    }
}

/// The gates of one, measured now.
fn gate(ctx: &Ctx, desk: &Desk, name: &str) -> Result<Exit, CliError> {
    let (rollout, record) = super::block_on(desk.look_at_rollout(name))??;
    let answer = record.answer();
    let out = ctx.out();
    out.value(&json!({ "rollout": rollout.id.to_string(), "answer": answer, "look": record }))?;
    let what = if record.moving { "is on its way" } else { "has nothing on its way" };
    out.line(format!("{}  {}  ({what})", rollout.id, answer.word()))?;
    show_gates(ctx, &record.gates, record.advice.as_ref())?;
    Ok(match answer {
        Tri::Pass => Exit::Done,
        Tri::Fail => Exit::No,
        Tri::Unknown if record.unreachable => Exit::Unreachable,
        Tri::Unknown => Exit::Refused,
    })
}

/// Each gate with its figures, and what should be done next.
fn show_gates(ctx: &Ctx, gates: &[Gate], advice: Option<&Advice>) -> Result<(), CliError> {
    let out = ctx.out();
    let number = |n: Option<f64>| n.map_or("-".to_owned(), |n| format!("{n:.4}"));
    let mut rows = Vec::new();
    for g in gates {
        rows.push(vec![
            g.name.clone(),
            g.answer.word().to_owned(),
            number(g.canary),
            number(g.stable),
            number(g.limit),
            g.events.map_or("-".to_owned(), |n| format!("{n:.0}")),
            g.samples.map_or("-".to_owned(), |n| n.to_string()),
            clean(&Untrusted::new(g.why.as_str())).to_string(),
        ]);
    }
    out.table(&["GATE", "ANSWER", "NEW", "OLD", "LIMIT", "EVENTS", "SAMPLES", "WHY"], &rows)?;
    if let Some(a) = advice {
        let why = clean(&Untrusted::new(a.why.as_str())).to_string();
        out.line(format!("advice: {}: {why}", a.verb.map_or("hold", |v| v.word())))?;
    }
    Ok(())
}

/// Files a request for each act it takes, in the order they are to be done.
fn propose(ctx: &Ctx, desk: &Desk, verb: RolloutVerb, wish: Wish) -> Result<Exit, CliError> {
    let me = super::me(ctx, desk)?;
    let filed = super::block_on(async {
        let rollout = desk.find_rollout(&wish.name).await?;
        let mut filed = Vec::new();
        for draft in desk.rollout_drafts(&rollout, verb, &Untrusted::new(wish.reason.as_str()))? {
            filed.push(desk.propose(&me, draft).await?);
        }
        Ok::<_, DeskError>(filed)
    })??;
    filed.iter().try_for_each(|request| super::respond::show(ctx, request))?;
    if filed.len() > 1 {
        ctx.out().note("start them in this order, each once the one before is done")?;
    }
    Ok(Exit::Done)
}

/// Every rollout, or one of them at length.
fn all(ctx: &Ctx, desk: &Desk, name: Option<&str>) -> Result<Exit, CliError> {
    let clusters = super::block_on(desk.read_clusters())??;
    troubles(ctx, &clusters)?;
    match name {
        None => list(ctx, &clusters),
        Some(name) => show(ctx, &clusters, name),
    }
}

/// What could not be read, so that nobody takes a short list for all there is.
fn troubles(ctx: &Ctx, clusters: &Clusters) -> Result<(), CliError> {
    for s in &clusters.sources {
        if !matches!(s.state, SourceWord::Live | SourceWord::Absent) {
            ctx.out().note(format!("{}: {}: {} {}", s.name, s.kind, s.state.word(), crate::text::clean(&s.detail)))?;
        }
    }
    Ok(())
}

fn weight(percent: Option<u32>) -> String {
    percent.map_or("-".to_owned(), |p| format!("{p} %"))
}

fn list(ctx: &Ctx, clusters: &Clusters) -> Result<Exit, CliError> {
    let mut rows = Vec::new();
    for r in &clusters.rollouts {
        ctx.out().item(r)?;
        let step = r.step.map_or("-".to_owned(), |s| format!("{s}/{}", r.steps.len()));
        rows.push(vec![
            r.id.to_string(),
            r.kind.word().to_owned(),
            r.phase.word().to_owned(),
            step,
            format!("{} of {}", weight(r.actual_weight), weight(r.set_weight)),
            format!("{}/{}", r.ready, r.replicas),
            r.message.expose().to_owned(),
        ]);
    }
    if !ctx.out().json() {
        ctx.out().table(&["ROLLOUT", "KIND", "PHASE", "STEP", "WEIGHT", "READY", "MESSAGE"], &rows)?;
    }
    Ok(Exit::Done)
}

fn show(ctx: &Ctx, clusters: &Clusters, name: &str) -> Result<Exit, CliError> {
    let is = |r: &&Rollout| r.id.to_string() == name || format!("{}/{}", r.id.namespace, r.id.name) == name;
    let found: Vec<&Rollout> = clusters.rollouts.iter().filter(is).collect();
    let r = match found.as_slice() {
        [] => return Err(DeskError::No(format!("there is no rollout {name}")).into()),
        [one] => *one,
        several => {
            let names: Vec<String> = several.iter().map(|r| r.id.to_string()).collect();
            return Err(DeskError::Usage(format!("{name} is one of several: {}", names.join(", "))).into());
        }
    };
    ctx.out().value(r)?;
    if ctx.out().json() {
        return Ok(Exit::Done);
    }
    let out = ctx.out();
    out.line(format!("{}  {}  {}", r.id, r.kind.word(), r.object))?;
    out.line(format!("{:<10} {} {}", "phase", r.phase.word(), r.message.expose()))?;
    if let Some((what, since)) = &r.stuck {
        out.line(format!("{:<10} {} for {}", "stuck", what.expose(), age(*since)))?;
    }
    out.line(format!("{:<10} {} set, {} actual", "weight", weight(r.set_weight), weight(r.actual_weight)))?;
    out.line(format!(
        "{:<10} {} wanted, {} updated, {} ready, {} available",
        "replicas", r.replicas, r.updated, r.ready, r.available
    ))?;
    for (i, s) in r.steps.iter().enumerate() {
        let mark = match r.step {
            Some(at) if i < at => "done",
            Some(at) if i == at => "now",
            _ => "",
        };
        out.line(format!("  step {:<3} {:<24} {mark}", i + 1, step(s)))?;
    }
    if !r.gates.is_empty() {
        show_gates(ctx, &r.gates, r.advice.as_ref())?;
    }
    for z in &r.zones {
        out.line(format!("  zone {:<20} {}/{} ready", z.name.expose(), z.ready, z.total))?;
    }
    r.revisions.iter().try_for_each(|revision| show_revision(ctx, revision))?;
    Ok(Exit::Done)
}

fn show_revision(ctx: &Ctx, v: &Revision) -> Result<(), CliError> {
    let out = ctx.out();
    let number = v.number.map_or("?".to_owned(), |n| n.to_string());
    let since = v.since.map_or("-".to_owned(), age);
    let counts = format!("{}/{} ready", v.ready, v.desired);
    out.line(format!("revision {number}  {}  {}  {counts}  {since}", v.replica_set.expose(), v.role))?;
    for image in &v.images {
        let digest = image.digest.as_ref().map_or("no digest seen", |d| d.expose());
        let floating = if image.floating { "  FLOATING TAG" } else { "" };
        out.line(format!("  image {}  {digest}{floating}", image.reference.expose()))?;
    }
    for pod in &v.pods {
        let zone = pod.zone.as_ref().map_or("-", |z| z.expose());
        let ready = if pod.ready { "ready" } else { "not ready" };
        let restarts = pod.restarts;
        out.line(format!("  pod {}  {} {ready}  {zone}  {restarts} restarts", pod.name.expose(), pod.phase.expose()))?;
    }
    for a in &v.analyses {
        out.line(format!("  analysis {}  {}  {}", a.name.expose(), a.phase.expose(), a.message.expose()))?;
        for m in &a.metrics {
            let value = m.value.as_ref().map_or("-", |v| v.expose());
            out.line(format!(
                "    {}  {}  {} good, {} failed, {} inconclusive, {} errors  newest {value}",
                m.name.expose(),
                m.phase.expose(),
                m.successful,
                m.failed,
                m.inconclusive,
                m.error
            ))?;
        }
    }
    Ok(())
}

fn step(step: &Step) -> String {
    match step {
        Step::Weight { percent } => format!("weight {percent} %"),
        Step::Pause { seconds: Some(s) } => format!("pause {s} s"),
        Step::Pause { seconds: None } => "pause until promoted".into(),
        Step::Analysis => "analysis".into(),
        Step::Experiment => "experiment".into(),
        Step::Scale => "set canary scale".into(),
        Step::Other { what } => what.expose().to_owned(),
    }
}

fn age(since: Timestamp) -> String {
    let seconds = Timestamp::now().duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
