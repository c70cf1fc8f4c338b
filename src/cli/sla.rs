//! `sla`: what does not count, and one probe of each service.

use jiff::Timestamp;

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::desk::operate_sla::ExclusionDraft;
use crate::desk::operate_sla::counts;
use crate::desk::operate_sla::kind_word;
use crate::model::sla::Exclusion;
use crate::model::sla::ExclusionKind;
use crate::text::Untrusted;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Time that does not count.
    #[command(subcommand)]
    Exclude(Exclude),
    /// Probe every service once, now, and keep nothing. Exit 1: one is down.
    Probe,
}

#[derive(Debug, clap::Subcommand)]
enum Exclude {
    /// Ask for time that shall not count. Maintenance counts only with 7 days' notice.
    Add {
        service: String,
        /// RFC 3339, such as 2026-10-31T22:00:00Z.
        #[arg(long)]
        from: Timestamp,
        #[arg(long)]
        until: Timestamp,
        #[arg(long, value_enum)]
        kind: Kind,
        #[arg(long)]
        reason: String,
    },
    /// Approve what somebody else asked for (a commander or an approver).
    Approve { id: String },
    /// All of them, and whether each counts.
    List {
        #[arg(long)]
        service: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    Maintenance,
    ForceMajeure,
    Customer,
}

impl From<Kind> for ExclusionKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Maintenance => Self::Maintenance,
            Kind::ForceMajeure => Self::ForceMajeure,
            Kind::Customer => Self::Customer,
        }
    }
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    match args.what {
        What::Exclude(what) => exclude(ctx, what),
        What::Probe => probe(ctx),
    }
}

fn exclude(ctx: &Ctx, what: Exclude) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    match what {
        Exclude::Add { service, from, until, kind, reason } => {
            let draft = ExclusionDraft { service, from, until, kind: kind.into(), reason: Untrusted::new(reason) };
            let made = desk.ask_exclusion(&super::me(ctx, &desk)?, &draft)?;
            ctx.out().value(&made)?;
            ctx.out().line(format!("{}: asked for; it counts when somebody else approves it", made.id))?;
            // As if approved by another: what would still be in the way.
            let (counts, why) = counts(&Exclusion { approved_by: crate::model::ids::PersonId::new("-"), ..made });
            if !counts {
                ctx.out().note(format!("even then it will not count: {why}"))?;
            }
        }
        Exclude::Approve { id } => {
            let made = desk.approve_exclusion(&super::me(ctx, &desk)?, &id)?;
            ctx.out().value(&made)?;
            let (counts, why) = counts(&made);
            let word = if counts { "it counts" } else { "it does not count" };
            ctx.out().line(format!("{id}: {word}: {why}"))?;
        }
        Exclude::List { service } => list(ctx, desk.exclusions()?, service.as_deref())?,
    }
    Ok(Exit::Done)
}

fn list(ctx: &Ctx, all: Vec<Exclusion>, service: Option<&str>) -> Result<(), CliError> {
    let mut rows = Vec::new();
    for e in all.iter().filter(|e| service.is_none_or(|s| s == e.service)) {
        let (counted, why) = counts(e);
        ctx.out().item(&serde_json::json!({ "exclusion": e, "counts": counted, "why": why }))?;
        rows.push(vec![
            e.id.clone(),
            e.service.clone(),
            format!("{:.0}", e.from),
            format!("{:.0}", e.until),
            kind_word(e.kind).to_owned(),
            e.asked_by.to_string(),
            format!("{}: {why}", if counted { "yes" } else { "no" }),
            e.reason.expose().to_owned(),
        ]);
    }
    ctx.out().table(&["ID", "SERVICE", "FROM", "UNTIL", "KIND", "ASKED BY", "COUNTS", "REASON"], &rows)
}

fn probe(ctx: &Ctx) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let results = super::block_on(desk.probe_once())??;
    let mut rows = Vec::new();
    for (service, r) in &results {
        ctx.out().item(&serde_json::json!({ "service": service, "result": r }))?;
        let up = if r.up { "up" } else { "down" };
        rows.push(vec![service.clone(), up.into(), format!("{} ms", r.millis), r.detail.expose().to_owned()]);
    }
    ctx.out().table(&["SERVICE", "IS", "TOOK", "SAID"], &rows)?;
    Ok(if results.iter().all(|(_, r)| r.up) { Exit::Done } else { Exit::No })
}
