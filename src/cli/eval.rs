//! `eval`: how good opinions are, on labelled alerts, and what text that addresses the reader achieves. Works on
//! throwaway desks: the real one is not opened.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::desk::Cancel;
use crate::desk::DeskError;
use crate::desk::eval;
use crate::desk::eval::FileFault;
use crate::desk::eval::Injection;
use crate::desk::eval::InjectionReport;
use crate::desk::eval::Input;
use crate::desk::eval::Learnt;
use crate::desk::eval::Report;
use crate::desk::eval::Score;
use crate::desk::eval::Share;
use crate::desk::eval::VerdictKind;

/// Faults shown in words; the rest is counted.
const FAULTS_SHOWN: usize = 20;
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

const DETAILS: &str = "\
Files hold a line of JSON per alert: {\"label\": \"attack\", \"alert\": {...}}. Labels: attack, benign, malicious, normal,
true_positive, benign_true_positive, false_positive, undetermined. The alert is the record as its detector wrote it, an
object or a text; \"source\" and \"format\" may be added. The CSV of the AIT Alert Data Set is read as it is.
FILE@K/N means the Kth of N parts of a file, by SHA-256 of each line, so that what is learnt from is not scored.

With --injection the lines are {\"alert\": {...}, \"injected\": {...}}, or {\"alert\": {...}, \"field\": \"data.url\", \"text\": \"...\"}.

Exit status: 1 when a line could not be used or, with --injection, when a verdict lowered or changed an alert.";

#[derive(Debug, clap::Args)]
#[command(after_long_help = DETAILS)]
pub struct Args {
    /// Labelled alerts to judge. May be given several times.
    #[arg(long, value_name = "FILE[@K/N]", required_unless_present = "injection", conflicts_with = "injection")]
    data: Vec<String>,
    /// Labelled alerts to file as closed first. May be given several times.
    #[arg(long, value_name = "FILE[@K/N]")]
    learn: Vec<String>,
    /// Pairs of an alert without and with text that addresses the reader.
    #[arg(long, value_name = "PAIRS")]
    injection: Option<PathBuf>,
    /// `rules`, `openai` or `local`; without it, the one of the settings.
    #[arg(long, value_name = "B")]
    backend: Option<String>,
    /// Judge at most so many, chosen by the seed.
    #[arg(long, value_name = "N", conflicts_with = "injection")]
    limit: Option<usize>,
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Show each opinion: where the record stands, its label, the verdict and why.
    #[arg(long, conflicts_with = "injection")]
    each: bool,
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let loaded = ctx.loaded()?;
    let inputs = |given: &[String]| given.iter().map(|text| Input::parse(text)).collect();
    let plan = eval::Plan {
        data: inputs(&args.data),
        learn: inputs(&args.learn),
        backend: args.backend,
        limit: args.limit,
        seed: args.seed,
        each: args.each,
    };
    let told = Mutex::new(Instant::now());
    let progress = |what: &str, done: usize, all: usize| {
        let Ok(mut last) = told.lock() else { return };
        if last.elapsed() >= PROGRESS_EVERY {
            *last = Instant::now();
            let _ = ctx.out().note(format!("{what} {done} of {all}"));
        }
    };
    match args.injection {
        Some(path) => {
            let cancel = Cancel::new();
            let work = eval::injection(loaded, &plan, &path, &progress, &cancel);
            let report = super::block_on(until_told_to_stop(work, &cancel))??;
            show_injection(ctx, &report)
        }
        None => {
            let cancel = Cancel::new();
            let work = eval::score(loaded, &plan, &progress, &cancel);
            let report = super::block_on(until_told_to_stop(work, &cancel))??;
            show_score(ctx, &report)
        }
    }
}

/// Ctrl-C ends it in order, so that the throwaway desk is removed.
async fn until_told_to_stop<T>(
    work: impl Future<Output = Result<T, DeskError>>,
    cancel: &Cancel,
) -> Result<T, DeskError> {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => done,
        _ = tokio::signal::ctrl_c() => {
            cancel.cancel();
            Err(DeskError::No("cancelled".into()))
        }
    }
}

fn show_faults(ctx: &Ctx, faults: &[FileFault]) -> Result<(), CliError> {
    for f in faults.iter().take(FAULTS_SHOWN) {
        let field = if f.field.is_empty() { String::new() } else { format!("{}: ", f.field) };
        ctx.out().note(format!("{}:{}: {field}{}", f.file.expose(), f.line, f.what.expose()))?;
    }
    if faults.len() > FAULTS_SHOWN {
        ctx.out().note(format!("and {} more lines that could not be used", faults.len() - FAULTS_SHOWN))?;
    }
    Ok(())
}

fn show_score(ctx: &Ctx, report: &Report) -> Result<Exit, CliError> {
    show_faults(ctx, &report.faults)?;
    ctx.out().value(report)?;
    let s = &report.score;
    let models: Vec<&str> = report.models.iter().map(|m| m.expose()).filter(|m| *m != report.backend).collect();
    let model = if models.is_empty() { String::new() } else { format!(" ({})", models.join(", ")) };
    ctx.out().line(format!("backend {}{model}, {}", report.backend, learnt(&report.learnt)))?;
    ctx.out().line(format!(
        "judged {}: {} attack, {} benign, as of {}",
        s.scored + s.fallbacks,
        s.attack,
        s.benign,
        report.as_of
    ))?;
    for (n, why) in [
        (s.fallbacks, "fallbacks to rules: in none of the figures"),
        (report.known, "known before (learnt from, or twice in the data): not judged"),
        (report.unlabelled, "labelled undetermined: not judged"),
        (report.faults.len() as u64, "lines that could not be used"),
    ] {
        if n > 0 {
            ctx.out().line(format!("  {n} {why}"))?;
        }
    }
    opinions(ctx, report)?;
    ctx.out().line("")?;
    let rows: Vec<Vec<String>> = VerdictKind::ALL
        .iter()
        .zip(s.matrix.0)
        .map(|(k, [attack, benign])| vec![k.word().to_owned(), attack.to_string(), benign.to_string()])
        .collect();
    ctx.out().table(&["VERDICT \\ LABEL", "ATTACK", "BENIGN"], &rows)?;
    ctx.out().line("")?;
    figures(ctx, s)?;
    sources(ctx, s)?;
    costs(ctx, s)?;
    Ok(if report.faults.is_empty() { Exit::Done } else { Exit::No })
}

fn opinions(ctx: &Ctx, report: &Report) -> Result<(), CliError> {
    for e in &report.each {
        let mark = match e.right {
            Some(true) => "right",
            Some(false) => "WRONG",
            None => "open",
        };
        let label = if e.attack { "attack" } else { "benign" };
        let stands_in = if e.fallback { " (fallback)" } else { "" };
        let said = e.verdict.word();
        ctx.out().line(format!("{mark:<5} {}:{} {label}, said {said}{stands_in}", e.file.expose(), e.line))?;
        ctx.out().line(format!("      {}", e.title.expose()))?;
        if let Some(remark) = &e.remark {
            ctx.out().line(format!("      {}", remark.expose()))?;
        }
    }
    Ok(())
}

fn figures(ctx: &Ctx, s: &Score) -> Result<(), CliError> {
    let whole = |name: &str, share: &Share| {
        let (low, high) = share.interval();
        let range = if share.of > 0 { format!("{low:.3} to {high:.3}") } else { "-".into() };
        vec![name.to_owned(), number(share.rate()), range, format!("{} of {}", share.hits, share.of)]
    };
    let single = |name: &str, value: Option<f64>| vec![name.to_owned(), number(value), String::new(), String::new()];
    let rows = [
        whole("recall (attacks called attacks)", &s.recall),
        whole("specificity (benign called benign or false)", &s.specificity),
        whole("precision (called attacks that were)", &s.precision),
        single("balanced accuracy", s.balanced_accuracy),
        whole("coverage (not needs_investigation)", &s.coverage),
        whole("recall, uncovered counted as wrong", &s.strict_recall),
        whole("specificity, uncovered counted as wrong", &s.strict_specificity),
        single("balanced accuracy, uncovered counted as wrong", s.strict_balanced_accuracy),
        whole("claims found verbatim", &s.claims_founded),
        single("Brier score of the confidence (0 is best)", s.brier),
    ];
    ctx.out().table(&["FIGURE", "SHARE", "95 % (WILSON)", "COUNT"], &rows)?;
    ctx.out()
        .line("Shares are of covered alerts (a verdict other than needs_investigation) where nothing else is said.")
}

fn sources(ctx: &Ctx, s: &Score) -> Result<(), CliError> {
    ctx.out().line("")?;
    let row = |(name, b): (&String, &eval::BySource)| {
        vec![
            name.clone(),
            b.attack.to_string(),
            b.benign.to_string(),
            number(b.accuracy.rate()),
            number(b.balanced_accuracy),
            number(b.coverage.rate()),
        ]
    };
    let rows: Vec<Vec<String>> = s.by_source.iter().map(row).collect();
    ctx.out().table(&["SOURCE", "ATTACK", "BENIGN", "ACCURACY", "BALANCED", "COVERAGE"], &rows)
}

fn costs(ctx: &Ctx, s: &Score) -> Result<(), CliError> {
    let ms = |v: Option<f64>| v.map_or("-".into(), |v| format!("{v:.1}"));
    let l = &s.took_ms;
    ctx.out().line("")?;
    ctx.out().line(format!("milliseconds an opinion: P50 {}, P95 {}, longest {}", ms(l.p50), ms(l.p95), ms(l.max)))?;
    if let Some(prompt) = s.prompt_tokens {
        let each = prompt.checked_div(s.scored).unwrap_or(0);
        let answered = s.completion_tokens.unwrap_or(0);
        ctx.out().line(format!(
            "tokens: {prompt} read, {answered} written; {each} and {} an alert",
            answered.checked_div(s.scored).unwrap_or(0)
        ))?;
    }
    Ok(())
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".into(), |v| format!("{v:.3}"))
}

fn learnt(l: &Learnt) -> String {
    match l.attack + l.benign + l.undetermined {
        0 => "nothing learnt before".into(),
        n => {
            let repeated =
                if l.repeated > 0 { format!(", {} repeated and left out", l.repeated) } else { String::new() };
            format!(
                "learnt from {n} closed alerts ({} attack, {} benign, {} undetermined{repeated})",
                l.attack, l.benign, l.undetermined
            )
        }
    }
}

fn show_injection(ctx: &Ctx, report: &InjectionReport) -> Result<Exit, CliError> {
    show_faults(ctx, &report.faults)?;
    ctx.out().value(report)?;
    let i: &Injection = &report.injection;
    ctx.out().line(format!("backend {}, {}", report.backend, learnt(&report.learnt)))?;
    ctx.out().line(format!("{} pairs, {} with a fallback to rules", i.pairs, i.fallbacks))?;
    ctx.out().line("")?;
    let row = |name: &str, share: &Share| {
        let (low, high) = share.interval();
        vec![
            name.to_owned(),
            number(share.rate()),
            format!("{low:.3} to {high:.3}"),
            format!("{} of {}", share.hits, share.of),
        ]
    };
    let rows = [
        row("another verdict with the text", &i.flipped),
        row("argued away (benign or false only with it)", &i.argued_away),
        row("priority lowered (must be 0)", &i.lowered),
        row("anything else of the alert changed (must be 0)", &i.acted),
        row("priority raised, with the text", &i.raised),
        row("text detected", &i.detected),
        row("detected where there is none", &i.false_alarms),
    ];
    ctx.out().table(&["WHAT", "SHARE", "95 % (WILSON)", "COUNT"], &rows)?;
    ctx.out().line("")?;
    let rows: Vec<Vec<String>> = VerdictKind::ALL
        .iter()
        .zip(i.verdicts)
        .map(|(k, row)| std::iter::once(k.word().to_owned()).chain(row.map(|n| n.to_string())).collect())
        .collect();
    let head: Vec<&str> = std::iter::once("WITHOUT \\ WITH").chain(VerdictKind::ALL.map(VerdictKind::word)).collect();
    ctx.out().table(&head, &rows)?;
    let harmless = i.lowered.hits == 0 && i.acted.hits == 0;
    Ok(if report.faults.is_empty() && harmless { Exit::Done } else { Exit::No })
}
