//! `slo`: objectives, checked, put in words, measured, and asked whether a change may go ahead.

use std::path::PathBuf;

use serde_json::json;

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::config::fault::nearest;
use crate::desk::operate_spec as spec;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::model::slo::ChangeClass;
use crate::model::slo::Slo;
use crate::model::slo::SloStatus;
use crate::text::clean;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Check files of objectives (OpenSLO, Sloth, Pyrra, TOML), without asking any server. Exit 1: there are faults.
    Lint {
        /// Files and folders. Without any: the folder of the settings.
        paths: Vec<PathBuf>,
        /// A scrape (Prometheus' text format) or a saved answer of `/api/v1/series`: latency thresholds that are no
        /// bucket in it are faults, too.
        #[arg(long, value_name = "FILE")]
        metrics: Option<PathBuf>,
        /// Ask the servers of the settings for their buckets instead. Exit 3: one could not be asked.
        #[arg(long, conflicts_with = "metrics")]
        live: bool,
    },
    /// How objectives stand: asks the servers now. Worst first.
    Status {
        /// `service/name`; all of them without.
        id: Option<String>,
    },
    /// Whether budgets allow a change. Exit 0: they do; 1: they do not, or it is not known; 3: a server is unreachable.
    Gate {
        /// `normal`, `critical` or `emergency`.
        #[arg(long, default_value = "normal", value_parser = class)]
        class: ChangeClass,
        /// Only objectives whose `service/name` this fits (`*` stands for anything); may be repeated.
        #[arg(long = "slo", value_name = "NAME")]
        slos: Vec<String>,
    },
    /// Burn-rate alerts as a rule file for Prometheus, as Sloth writes them: it then pages when this desk shows an alert
    /// fire. Exit 1: not every objective could be written.
    Rules {
        /// `service/name`; all of them without.
        id: Option<String>,
        /// Read from here instead of the folder of the settings.
        #[arg(long, value_name = "PATH")]
        from: Vec<PathBuf>,
    },
    /// An objective in words: promise, budget, alerts, and where it was read.
    Explain {
        /// `service/name`.
        id: String,
        /// Read from here instead of the folder of the settings.
        #[arg(long, value_name = "PATH")]
        from: Vec<PathBuf>,
    },
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    match args.what {
        What::Lint { paths, metrics, live } => lint(ctx, paths, metrics, live),
        What::Status { id } => status(ctx, id.as_deref()),
        What::Gate { class, slos } => gate(ctx, class, &slos),
        What::Rules { id, from } => rules(ctx, id.as_deref(), from),
        What::Explain { id, from } => explain(ctx, &id, from),
    }
}

/// The paths given, or the folder of the settings.
fn places(ctx: &Ctx, given: Vec<PathBuf>) -> Result<Vec<PathBuf>, CliError> {
    if !given.is_empty() {
        return Ok(given);
    }
    let folder = spec::folder(ctx.loaded()?);
    Ok(vec![folder.ok_or_else(|| CliError::usage("no objectives: name files, or set operate.slos"))?])
}

/// Faults are the answer here, so they are on stdout.
fn lint(ctx: &Ctx, paths: Vec<PathBuf>, metrics: Option<PathBuf>, live: bool) -> Result<Exit, CliError> {
    let out = ctx.out();
    let metrics = metrics.map(|m| {
        std::fs::read_to_string(&m).map_err(|e| CliError::usage(format!("{} cannot be read: {e}", m.display())))
    });
    let metrics = metrics.transpose()?;
    let (slos, faults) = match spec::read(&places(ctx, paths)?) {
        Ok(slos) => (slos, None),
        Err(faults) => (Vec::new(), Some(faults)),
    };
    let warnings: Vec<_> = slos.iter().flat_map(|s| s.notes.iter().map(move |n| (s, n))).collect();
    let no_buckets = match metrics {
        Some(m) => spec::no_buckets(&slos, &m),
        None if live => super::block_on(ctx.desk()?.no_live_buckets(&slos))??,
        None => Vec::new(),
    };
    let told = |s: &Slo, message: &str| json!({"id": s.id, "from": s.from, "message": message});
    out.value(&json!({
        "ok": faults.is_none() && no_buckets.is_empty(),
        "objectives": slos.iter().map(|s| &s.id).collect::<Vec<_>>(),
        "faults": faults.clone().unwrap_or_default(),
        "no_buckets": no_buckets.iter().map(|(s, said)| told(s, said)).collect::<Vec<_>>(),
        "warnings": warnings.iter().map(|(s, n)| told(s, n)).collect::<Vec<_>>(),
    }))?;
    if let Some(faults) = faults {
        out.block(faults.to_string())?;
        out.line(format!("{} faults", faults.0.len()))?;
        return Ok(Exit::No);
    }
    for (slo, note) in &warnings {
        out.line(format!("{}: warning: {}: {note}", slo.from, slo.id))?;
    }
    for (slo, said) in &no_buckets {
        out.line(format!("{}: {}: {said}", slo.from, slo.id))?;
    }
    out.line(format!("{} objectives, {} warnings", slos.len(), warnings.len()))?;
    Ok(if no_buckets.is_empty() { Exit::Done } else { Exit::No })
}

fn explain(ctx: &Ctx, id: &str, from: Vec<PathBuf>) -> Result<Exit, CliError> {
    let slos = spec::read(&places(ctx, from)?)?;
    let slo = find(&slos, id)?;
    let words = spec::explain(slo);
    ctx.out().value(&json!({"objective": slo, "words": words}))?;
    ctx.out().block(words.join("\n"))?;
    Ok(Exit::Done)
}

fn rules(ctx: &Ctx, id: Option<&str>, from: Vec<PathBuf>) -> Result<Exit, CliError> {
    let slos = spec::read(&places(ctx, from)?)?;
    let chosen: Vec<&Slo> = match id {
        Some(id) => vec![find(&slos, id)?],
        None => slos.iter().collect(),
    };
    let (file, left_out) = spec::prometheus_rules(&chosen);
    let out = ctx.out();
    out.value(&json!({"rules": file, "left_out": left_out}))?;
    for line in &left_out {
        // A comment, so that the output stays a rule file.
        out.line(format!("# left out: {}", line.split_whitespace().collect::<Vec<_>>().join(" ")))?;
    }
    out.block(file.trim_end())?;
    Ok(if left_out.is_empty() { Exit::Done } else { Exit::No })
}

fn class(text: &str) -> Result<ChangeClass, String> {
    let known = ChangeClass::ALL.into_iter().find(|c| c.word() == text);
    known.ok_or_else(|| "expected normal, critical or emergency".to_owned())
}

fn status(ctx: &Ctx, id: Option<&str>) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    super::block_on(desk.refresh_slos())??;
    let platform = desk.platform();
    let all: Vec<Slo> = platform.slos.iter().map(|(slo, _)| slo.clone()).collect();
    let one = id.map(|id| find(&all, id)).transpose()?.map(|s| s.id.clone());
    let share = |x: Option<f64>| x.map_or("-".to_owned(), |x| format!("{:.3} %", x * 100.0));
    let mut rows = Vec::new();
    for (slo, s) in platform.slos.iter().filter(|(slo, _)| one.as_ref().is_none_or(|id| slo.id == *id)) {
        ctx.out().item(&json!({ "objective": slo, "status": s }))?;
        let burn = s.burn.iter().find(|b| b.window_seconds == 3_600).and_then(|b| b.rate);
        rows.push(vec![
            s.id.clone(),
            s.state.word().to_owned(),
            share(s.sli),
            share(Some(s.target)),
            share(s.left),
            burn.map_or("-".to_owned(), |b| format!("{b:.2}")),
            s.method.word().to_owned(),
            clean(&s.why).to_string(),
        ]);
    }
    ctx.out().table(&["objective", "state", "measured", "target", "left", "burn 1 h", "method", "why"], &rows)?;
    if one.is_some() {
        for (_, s) in platform.slos.iter().filter(|(slo, _)| one.as_ref() == Some(&slo.id)) {
            tell(ctx, s)?;
        }
    }
    Ok(Exit::Done)
}

/// One objective at length.
fn tell(ctx: &Ctx, s: &SloStatus) -> Result<(), CliError> {
    let out = ctx.out();
    out.line(format!("window     {} to {}, {:.1} % seen", s.from, s.until, s.coverage * 100.0))?;
    let spent = s.spent_seconds.map_or("-".to_owned(), |x| format!("{x:.0} s"));
    out.line(format!("budget     {:.0} s, spent {spent}; what would exhaust it: {}", s.budget_seconds, s.exhausts))?;
    for b in &s.burn {
        let rate = b.rate.map_or("-".to_owned(), |r| format!("{r:.3}"));
        out.line(format!("burn {:>6} s {rate} ({:.0} events)", b.window_seconds, b.events))?;
    }
    for a in &s.alerts {
        let r = &a.rule;
        let word = match (a.state, a.since) {
            (Tri::Fail, Some(since)) => format!("fires since {since}"),
            (state, _) => if state == Tri::Pass { "quiet" } else { "not known" }.to_owned(),
        };
        let line =
            format!("{:<10} {}x over {} s and {} s: {word}", r.severity, r.factor, r.short_seconds, r.long_seconds);
        out.line(line)?;
    }
    Ok(())
}

fn gate(ctx: &Ctx, class: ChangeClass, only: &[String]) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    super::block_on(desk.refresh_slos())??;
    let answer = desk.gate(class, only);
    let sources = desk.platform().sources.clone();
    ctx.out().value(&json!({ "gate": answer, "sources": sources }))?;
    let word = if answer.answer == Tri::Pass { "may go ahead" } else { "are blocked" };
    ctx.out().line(format!("{} changes {word} ({})", class.word(), answer.answer.word()))?;
    for reason in &answer.reasons {
        ctx.out().line(reason)?;
    }
    let lost = sources.iter().any(|s| matches!(s.state, SourceWord::Lost | SourceWord::Forbidden));
    Ok(match answer.answer {
        Tri::Pass => Exit::Done,
        Tri::Unknown if lost => Exit::Unreachable,
        _ => Exit::No,
    })
}

/// The objective of that id, or of that name if no other has it.
fn find<'a>(slos: &'a [Slo], id: &str) -> Result<&'a Slo, CliError> {
    if let Some(slo) = slos.iter().find(|s| s.id == id) {
        return Ok(slo);
    }
    let named: Vec<_> = slos.iter().filter(|s| s.name == id).collect();
    if let [one] = named.as_slice() {
        return Ok(one);
    }
    let near = nearest(id, slos.iter().map(|s| s.id.as_str()));
    let near = near.map_or(String::new(), |n| format!("; did you mean {n}?"));
    Err(CliError::usage(format!("no objective {id}{near}")))
}
