//! `bench triage`: how many opinions a second a backend gives, and how soon.

use std::cell::Cell;
use std::time::Duration;
use std::time::Instant;

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::desk::Cancel;
use crate::desk::DeskError;
use crate::desk::bench;
use crate::desk::bench::BenchReport;
use crate::desk::bench::Load;

const PROGRESS_EVERY: Duration = Duration::from_secs(2);

const DETAILS: &str = "\
The alerts are those of the demo, on a throwaway desk: the real one is not opened and nothing is kept. For servers the
limit of requests at the same time is --concurrency while this runs; limits per hour hold. Nobody stands in for a backend
that fails: what ends without a verdict is counted by kind.

Exit status: 0 when every request got a verdict; 1 when some did not; 3 when nobody answered at all.";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Opinions a second, time to the first token, tokens a second, prefix hits, errors by kind.
    Triage(TriageArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_long_help = DETAILS)]
struct TriageArgs {
    /// `rules`, `openai` or `local`; without it, the one of the settings.
    #[arg(long, value_name = "B")]
    backend: Option<String>,
    /// Requests at the same time.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    concurrency: u32,
    /// Requests in all.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    requests: u32,
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let What::Triage(args) = args.what;
    let loaded = ctx.loaded()?;
    let load = Load { at_once: args.concurrency as usize, requests: args.requests as usize };
    let told = Cell::new(Instant::now());
    let progress = |done: usize| {
        if told.get().elapsed() >= PROGRESS_EVERY {
            told.set(Instant::now());
            let _ = ctx.out().note(format!("{done} of {}", load.requests));
        }
    };
    let cancel = Cancel::new();
    let work = async {
        let run = bench::triage(loaded, args.backend.as_deref(), load, &progress, &cancel);
        tokio::pin!(run);
        tokio::select! {
            done = &mut run => done,
            _ = tokio::signal::ctrl_c() => {
                cancel.cancel();
                Err(DeskError::No("cancelled".into()))
            }
        }
    };
    let report = super::block_on(work)??;
    show(ctx, &report)?;
    if report.unreachable() {
        return Ok(Exit::Unreachable);
    }
    Ok(if report.answered == report.requests as u64 { Exit::Done } else { Exit::No })
}

fn show(ctx: &Ctx, r: &BenchReport) -> Result<(), CliError> {
    ctx.out().value(r)?;
    let models: Vec<&str> = r.models.keys().map(|m| m.expose()).collect();
    let by = if models.is_empty() { r.backend.clone() } else { format!("{} ({})", r.backend, models.join(", ")) };
    let out = |name: &str, value: String| ctx.out().line(format!("{name:<16} {value}"));
    out("backend", by)?;
    out("requests", format!("{}, {} at the same time, {:.1} s", r.requests, r.at_once, r.seconds))?;
    out("verdicts", format!("{} ({:.2} a second)", r.answered, r.per_second))?;
    let both = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => format!("P50 {a} ms, P95 {b} ms"),
        _ => "not known".to_owned(),
    };
    out("time to verdict", both(r.took_p50, r.took_p95))?;
    out("first token", both(r.first_token_p50, r.first_token_p95))?;
    out("tokens out", format!("{} ({:.1} a second)", r.completion_tokens, r.tokens_per_second))?;
    let hits = r.prefix_hits.map_or("not known".to_owned(), |h| format!("{:.0} % found in a prefix cache", h * 100.0));
    out("tokens in", format!("{}, {hits}", r.prompt_tokens))?;
    if r.servers.len() > 1 {
        let each: Vec<String> = r.servers.iter().map(|(name, n)| format!("{name} {n}")).collect();
        out("servers", each.join(", "))?;
    }
    for (kind, n) in &r.errors {
        let said = r.said.get(kind).map_or("", |s| s.expose());
        out("no verdict", format!("{n} x {kind}: {said}"))?;
    }
    Ok(())
}
