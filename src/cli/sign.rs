//! `sign`: on the approver's own machine.

use std::io::BufRead as _;
use std::io::Read as _;
use std::path::PathBuf;

use jiff::Timestamp;

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::desk::sign::Asked;
use crate::desk::sign::Helper;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What `watchfloor approve ID --ask` printed on the desk's machine; `-`: standard input.
    request: PathBuf,
    /// Fingerprint (SHA256:...) of the key to sign with, when the agent holds several.
    #[arg(long)]
    key: Option<String>,
    /// Sign without asking.
    #[arg(long)]
    yes: bool,
}

/// Longer than any request.
const MAX: u64 = 8 << 20;

/// What is read from a file, or from standard input for `-`.
pub fn read(path: &std::path::Path) -> Result<String, CliError> {
    let mut text = String::new();
    let fail = |e: std::io::Error| CliError::usage(format!("{}: cannot be read: {e}", path.display()));
    if path.as_os_str() == "-" {
        std::io::stdin().take(MAX).read_to_string(&mut text).map_err(fail)?;
    } else {
        std::fs::File::open(path).map_err(fail)?.take(MAX).read_to_string(&mut text).map_err(fail)?;
    }
    Ok(text)
}

pub fn run(ctx: &Ctx, args: &Args) -> Result<Exit, CliError> {
    let helper = Helper::new(&ctx.loaded()?.paths.data_dir);
    let asked = helper.read(&read(&args.request)?)?;
    show(ctx, &asked)?;
    if !args.yes && !agreed(ctx)? {
        ctx.out().note("nothing was signed")?;
        return Ok(Exit::No);
    }
    let signed = helper.sign(&asked, args.key.as_deref(), Timestamp::now())?;
    let text = serde_json::to_string(&signed).map_err(|e| CliError::no(e.to_string()))?;
    ctx.out().block(text)?;
    Ok(Exit::Done)
}

/// Standard input may be the request, so the answer is read from the terminal itself.
fn agreed(ctx: &Ctx) -> Result<bool, CliError> {
    let no_terminal = |e| CliError::refused(format!("nobody can be asked ({e}); say --yes to sign without"));
    ctx.out().note("type yes to sign exactly this:")?;
    ctx.out().flush()?;
    let tty = std::fs::File::open("/dev/tty").map_err(no_terminal)?;
    let mut answer = String::new();
    std::io::BufReader::new(tty.take(64)).read_line(&mut answer).map_err(no_terminal)?;
    Ok(answer.trim() == "yes")
}

/// Everything that is signed, decoded, on standard error: standard output is the signature.
fn show(ctx: &Ctx, asked: &Asked) -> Result<(), CliError> {
    let out = ctx.out();
    let b = &asked.request;
    let verb = match (&asked.statement.reason, asked.drill()) {
        (Some(_), _) => "BREAK THE GLASS for",
        (None, true) => "approve the drill",
        (None, false) => "approve",
    };
    out.note(format!("desk {} of {}: {verb} {}  {}", asked.statement.desk, asked.organisation, b.id, b.tier.word()))?;
    if let Some(why) = &asked.statement.reason {
        out.note(format!(
            "  ALONE    it runs on your word; everybody is told, and somebody reviews it: {}",
            why.expose()
        ))?;
    }
    out.note(format!("  as       {}", asked.statement.by))?;
    out.note(format!("  who      {} asked at {:.0}, suggested by {:?}", b.requester, b.created, b.suggested_by))?;
    for c in &b.commands {
        out.note(format!("  what     {}", c.argv.join(" ")))?;
    }
    out.note(format!("  targets  {}", b.targets.join(" ")))?;
    for (name, value) in &b.params {
        out.note(format!("  with     {name}={value}"))?;
    }
    for p in &asked.preview {
        let change = p.would_change.map_or("unknown".to_owned(), |n| n.to_string());
        out.note(format!("  changes  {}: {change}{}", p.target, if p.failed { ", dry run failed" } else { "" }))?;
        for line in p.diff.expose().lines() {
            out.note(format!("           {line}"))?;
        }
    }
    for f in &asked.findings {
        out.note(format!("  policy   {}", f.text))?;
    }
    out.note(format!("  undo     {}", b.undo.as_deref().unwrap_or("cannot be undone by an action")))?;
    out.note(format!("  reason   {}", b.reason.expose()))?;
    out.note(format!("  needs    {} approvals, until {:.0}", b.approvals_needed, b.approve_by))?;
    out.note(format!("  digest   {}", asked.statement.digest))?;
    out.note(format!("  log      {}", asked.statement.head))
}
