//! `slo`: objectives, checked and put in words.

use std::path::PathBuf;

use serde_json::json;

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::config::fault::nearest;
use crate::desk::operate_spec as spec;
use crate::model::slo::Slo;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Check files of objectives (OpenSLO, Sloth, Pyrra, TOML) without asking any server. Exit 1: there are faults.
    Lint {
        /// Files and folders. Without any: the folder of the settings.
        paths: Vec<PathBuf>,
        /// A scrape (Prometheus' text format) or a saved answer of `/api/v1/series`: latency thresholds that are no
        /// bucket in it are faults, too.
        #[arg(long, value_name = "FILE")]
        metrics: Option<PathBuf>,
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
        What::Lint { paths, metrics } => lint(ctx, paths, metrics),
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
fn lint(ctx: &Ctx, paths: Vec<PathBuf>, metrics: Option<PathBuf>) -> Result<Exit, CliError> {
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
    let no_buckets = metrics.map_or_else(Vec::new, |m| spec::no_buckets(&slos, &m));
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
