//! `audit verify|query|export|head`.

use std::path::PathBuf;

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::desk::audit::AuditFilter;
use crate::desk::audit::to_csv;
use crate::desk::audit::to_ndjson;
use crate::desk::audit::verify_heads;
use crate::desk::checkpoint::checkpoints;
use crate::desk::checkpoint::signer_files;
use crate::model::audit::Head;
use crate::model::ids::PersonId;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Check every record, the chain, and that a head seen before is still a prefix.
    Verify {
        /// A head seen before, `SIZE:ROOT`: finds a cut tail and a fork.
        #[arg(long, value_name = "SIZE:ROOT")]
        head: Option<Head>,
        /// Another log, such as an export; without it, this desk's.
        path: Option<PathBuf>,
    },
    /// Records that match.
    Query(Filter),
    /// The log's own bytes (NDJSON), which `audit verify` checks anywhere; or matching records as CSV.
    Export {
        #[arg(long)]
        csv: bool,
        #[command(flatten)]
        filter: Filter,
    },
    /// The present head, `SIZE:ROOT`. Write it down somewhere else.
    Head,
    /// Put your name to the present head: `audit verify` then finds a log cut or rewritten before it.
    Checkpoint {
        /// With a key of yours in the ssh-agent; without it, those that were signed are listed.
        #[arg(long)]
        sign: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Filter {
    /// Only this person's.
    #[arg(long)]
    by: Option<String>,
    /// Only this kind or, with a trailing `.`, kinds that begin so.
    #[arg(long)]
    kind: Option<String>,
    /// Only since this time (RFC 3339).
    #[arg(long)]
    since: Option<jiff::Timestamp>,
    /// Only until this time.
    #[arg(long)]
    until: Option<jiff::Timestamp>,
    #[arg(long)]
    limit: Option<usize>,
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.by.is_none() && self.kind.is_none() && self.since.is_none() && self.until.is_none() && self.limit.is_none()
    }

    fn read(self) -> Result<(AuditFilter, usize), CliError> {
        let by = self
            .by
            .map(|b| PersonId::new(&b).ok_or_else(|| CliError::usage(format!("--by {b}: an id was expected"))))
            .transpose()?;
        let filter = AuditFilter { by, kind: self.kind, since: self.since, until: self.until, ..Default::default() };
        Ok((filter, self.limit.unwrap_or(usize::MAX)))
    }
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    match args.what {
        What::Verify { head, path } => {
            // No desk is opened: a damaged log must be checkable by whoever can read the file.
            let path = match path {
                Some(path) => path,
                None => ctx.data_dir()?.join("audit"),
            };
            let signed = signed_heads(ctx, &path)?;
            let report =
                verify_heads(&path, head.as_ref(), &signed).map_err(|e| CliError::unreachable(e.to_string()))?;
            ctx.out().value(&report)?;
            for fault in &report.faults {
                let line = if fault.line == 0 {
                    String::new()
                } else {
                    format!("line {}, byte {}: ", fault.line, fault.offset)
                };
                ctx.out().line(format!("fault: {line}{}", fault.what))?;
            }
            if report.more_faults > 0 {
                ctx.out().line(format!("and {} more faults", report.more_faults))?;
            }
            for note in &report.notes {
                ctx.out().note(note)?;
            }
            if report.ok {
                ctx.out().line(format!("ok: {} records, head {}:{}", report.size, report.size, report.root))?;
                if !signed.is_empty() {
                    ctx.out().line(format!("it fits {} signed checkpoint(s)", signed.len()))?;
                }
                return Ok(Exit::Done);
            }
            Ok(Exit::No)
        }
        What::Query(filter) => {
            let desk = ctx.desk()?;
            let (filter, limit) = filter.read()?;
            let mut rows = Vec::new();
            for r in desk.audit_records(&filter, limit)? {
                ctx.out().item(&r)?;
                let by = r.by.as_ref().map_or("desk", PersonId::as_str).to_owned();
                rows.push(vec![r.seq.to_string(), format!("{:.0}", r.at), by, r.kind.clone(), r.body.to_string()]);
            }
            ctx.out().table(&["SEQ", "AT", "BY", "KIND", "WHAT"], &rows)?;
            Ok(Exit::Done)
        }
        What::Export { csv, filter } => export(ctx, csv, filter),
        What::Checkpoint { sign: true } => {
            let desk = ctx.desk()?;
            let head = desk.sign_checkpoint(&super::me(ctx, &desk)?)?;
            ctx.out().value(&head)?;
            ctx.out().line(format!("signed: {head}"))?;
            Ok(Exit::Done)
        }
        What::Checkpoint { sign: false } => {
            let found = checkpoints(&ctx.data_dir()?.join("audit"), &signer_files(ctx.loaded()?))?;
            let mut rows = Vec::new();
            for f in &found {
                ctx.out().item(f)?;
                rows.push(vec![
                    f.at.map_or_else(|| "-".into(), |t| format!("{t:.0}")),
                    f.by.as_ref().map_or("-", PersonId::as_str).to_owned(),
                    f.why.clone().unwrap_or_else(|| "good".into()),
                    f.head.as_ref().map_or_else(|| "-".into(), ToString::to_string),
                ]);
            }
            ctx.out().table(&["AT", "BY", "SIGNATURE", "HEAD"], &rows)?;
            Ok(if found.iter().all(|f| f.why.is_none()) { Exit::Done } else { Exit::No })
        }
        What::Head => {
            let head = ctx.desk()?.audit_head()?;
            ctx.out().value(&head)?;
            ctx.out().line(head.to_string())?;
            Ok(Exit::Done)
        }
    }
}

/// Heads with a good signature beside this log; of the others it is told why they count nothing.
fn signed_heads(ctx: &Ctx, path: &std::path::Path) -> Result<Vec<Head>, CliError> {
    // A log on its own, or settings that cannot be read, is still verified without.
    let Ok(loaded) = ctx.loaded() else { return Ok(Vec::new()) };
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let mut good = Vec::new();
    for f in checkpoints(path, &signer_files(loaded))? {
        match (f.why, f.head) {
            (None, Some(head)) => good.push(head),
            (why, _) => {
                let by = f.by.as_ref().map_or("somebody", PersonId::as_str);
                ctx.out().note(format!("a checkpoint signed by {by} does not count: {}", why.unwrap_or_default()))?;
            }
        }
    }
    Ok(good)
}

fn export(ctx: &Ctx, csv: bool, filter: Filter) -> Result<Exit, CliError> {
    let mut bytes = Vec::new();
    if csv {
        let (filter, limit) = filter.read()?;
        to_csv(&ctx.desk()?.audit_records(&filter, limit)?, &mut bytes)?;
    } else if filter.is_empty() {
        let log = ctx.data_dir()?.join("audit").join("log.ndjson");
        to_ndjson(&log, &mut bytes).map_err(|e| CliError::unreachable(e.to_string()))?;
    } else {
        return Err(CliError::usage("a part of the log proves nothing: filter with --csv, or with `audit query`"));
    }
    ctx.out().bytes(&bytes)?;
    Ok(Exit::Done)
}
