//! `view`, `suppress`, `case`.

use jiff::Timestamp;

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::desk::Desk;
use crate::desk::case::CaseView;
use crate::model::alert::Disposition;
use crate::model::case::SavedView;
use crate::model::ids::CaseId;
use crate::model::ids::SuppressionId;
use crate::text::Untrusted;

#[derive(Debug, clap::Args)]
pub struct ViewArgs {
    #[command(subcommand)]
    what: View,
}

#[derive(Debug, clap::Subcommand)]
enum View {
    /// Saved views with counts.
    List,
    /// Save a query under a name.
    Set {
        name: String,
        query: String,
        #[arg(long, default_value = "risk")]
        sort: String,
    },
    Rm {
        name: String,
    },
}

/// Views are counted up to this.
const COUNT_CAP: u64 = 100_000;

pub fn view(ctx: &Ctx, args: ViewArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    match args.what {
        View::List => {
            let mut rows = Vec::new();
            for v in desk.views()? {
                let count = desk.count(&super::query(ctx, &desk, &v.query)?, COUNT_CAP)?;
                ctx.out().item(&serde_json::json!({ "view": v, "count": count }))?;
                let more = if count.exact { "" } else { "+" };
                rows.push(vec![v.name, format!("{}{more}", count.n), v.sort, v.query]);
            }
            ctx.out().table(&["VIEW", "ALERTS", "SORT", "QUERY"], &rows)?;
        }
        View::Set { name, query, sort } => {
            let me = super::me(ctx, &desk)?;
            desk.put_view(&me, &SavedView { name, query, sort, by: Some(me.clone()) })?;
        }
        View::Rm { name } => {
            if !desk.drop_view(&super::me(ctx, &desk)?, &name)? {
                ctx.out().note(format!("{name}: there is no such view"))?;
                return Ok(Exit::No);
            }
        }
    }
    Ok(Exit::Done)
}

#[derive(Debug, clap::Args)]
pub struct SuppressArgs {
    #[command(subcommand)]
    what: Suppress,
}

#[derive(Debug, clap::Subcommand)]
enum Suppress {
    /// Suppressions with owner, reason, expiry and what they hid.
    List,
    /// What a query would have hidden, newest first; changes nothing.
    Preview { query: String },
    /// Hide what a query matches, for a while, in your name.
    Add {
        query: String,
        #[arg(long)]
        reason: String,
        /// How long: 8h, 7d.
        #[arg(long = "for", value_name = "TIME")]
        time: String,
    },
    /// End one now; what it hides comes back.
    End { id: SuppressionId },
}

pub fn suppress(ctx: &Ctx, args: SuppressArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    match args.what {
        Suppress::List => {
            let mut rows = Vec::new();
            for s in desk.suppressions()? {
                ctx.out().item(&s)?;
                rows.push(vec![
                    s.id.to_string(),
                    s.owner.to_string(),
                    format!("{:.0}", s.expires),
                    s.hidden.to_string(),
                    s.query.clone(),
                    s.reason.expose().to_owned(),
                ]);
            }
            ctx.out().table(&["ID", "OWNER", "EXPIRES", "HID", "QUERY", "REASON"], &rows)?;
        }
        Suppress::Preview { query } => {
            let (count, rows) = desk.preview_suppression(&query)?;
            ctx.out().value(&serde_json::json!({ "count": count, "newest": rows }))?;
            ctx.out().line(format!("{}{} alerts", count.n, if count.exact { "" } else { "+" }))?;
            for row in rows.iter().take(20) {
                ctx.out().line(format!("  {} {} {}", row.id, row.severity.short(), row.title.expose()))?;
            }
        }
        Suppress::Add { query, reason, time } => {
            let expires = Timestamp::now() + super::duration(&time)?;
            let me = super::me(ctx, &desk)?;
            let id = desk.add_suppression(&me, &query, &reason.into(), expires)?;
            ctx.out().value(&serde_json::json!({ "id": id, "expires": expires }))?;
            ctx.out().line(format!("suppression {id} until {expires:.0}"))?;
        }
        Suppress::End { id } => {
            if !desk.end_suppression(&super::me(ctx, &desk)?, id)? {
                ctx.out().note(format!("{id}: there is no such suppression"))?;
                return Ok(Exit::No);
            }
        }
    }
    Ok(Exit::Done)
}

#[derive(Debug, clap::Args)]
pub struct CaseArgs {
    #[command(subcommand)]
    what: Case,
}

#[derive(Debug, clap::Subcommand)]
enum Case {
    /// Cases, newest first.
    List {
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// A case with its alerts, the playbooks worked in it, and the evidence they kept. Exit 1: evidence is gone or changed.
    Show { id: CaseId },
    /// Close a case and its open alerts. Exit 4: a playbook is still at work in it.
    Close {
        id: CaseId,
        /// TP, BTP, FP or UND.
        #[arg(long)]
        disposition: String,
        /// What came of it; left out: drawn from the playbooks worked in it.
        #[arg(long)]
        summary: Option<String>,
    },
    /// Open a closed case again; its alerts stay as they are.
    Reopen {
        id: CaseId,
        #[arg(long)]
        reason: String,
    },
}

pub fn case(ctx: &Ctx, args: CaseArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let limit = match args.what {
        Case::List { limit } => limit,
        Case::Show { id } => {
            let me = desk.me().map(|p| p.id);
            return show_case(ctx, &desk, &desk.case_view(me.as_ref(), id)?);
        }
        Case::Close { id, disposition, summary } => {
            let me = super::me(ctx, &desk)?;
            let known = || CliError::usage(format!("--disposition {disposition}: TP, BTP, FP or UND was expected"));
            let disposition = Disposition::parse(&disposition).ok_or_else(known)?;
            let summary = match summary {
                Some(text) => Untrusted::new(text),
                None => desk.case_view(Some(&me), id)?.summary,
            };
            return show_case(ctx, &desk, &desk.close_case(&me, id, disposition, &summary)?);
        }
        Case::Reopen { id, reason } => {
            let me = super::me(ctx, &desk)?;
            return show_case(ctx, &desk, &desk.reopen_case(&me, id, &reason.into())?);
        }
    };
    let mut rows = Vec::new();
    for c in desk.cases(limit)? {
        ctx.out().item(&c)?;
        rows.push(vec![
            c.id.to_string(),
            c.alerts.to_string(),
            c.opened_by.to_string(),
            format!("{:.0}", c.opened_at),
            c.title.expose().to_owned(),
        ]);
    }
    ctx.out().table(&["CASE", "ALERTS", "BY", "OPENED", "TITLE"], &rows)?;
    Ok(Exit::Done)
}

fn show_case(ctx: &Ctx, desk: &Desk, v: &CaseView) -> Result<Exit, CliError> {
    let out = ctx.out();
    out.value(v)?;
    let c = &v.case;
    out.line(format!("case {}  {}", c.id, c.title.expose()))?;
    out.line(format!("opened {:.0} by {}", c.opened_at, c.opened_by))?;
    match &v.closing {
        Some(how) if c.closed_at.is_some() => {
            out.line(format!("closed {:.0} by {}: {}", how.at, how.by, how.disposition.word()))?;
            out.block(how.summary.expose())?;
        }
        _ => out.line("open")?,
    }
    for r in &v.runs {
        out.line(format!("playbook {}  {}  {}", r.playbook, r.id, r.state.word()))?;
    }
    let mut rows = Vec::new();
    for e in &v.evidence {
        rows.push(vec![
            e.evidence.sha256.clone(),
            e.evidence.bytes.to_string(),
            e.evidence.name.expose().to_owned(),
            format!("{} step {} {}", e.playbook, e.visit, e.step),
            e.evidence.by.to_string(),
        ]);
    }
    if !rows.is_empty() {
        out.table(&["SHA-256", "BYTES", "EVIDENCE", "OF", "BY"], &rows)?;
    }
    let alerts: Vec<Vec<String>> = v
        .alerts
        .iter()
        .map(|a| vec![a.id.to_string(), a.severity.short().into(), a.status.word().into(), a.title.expose().to_owned()])
        .collect();
    out.table(&["ALERT", "SEV", "STATE", "TITLE"], &alerts)?;
    for s in v.suggested.iter().take(1).filter(|_| v.runs.is_empty() && c.closed_at.is_none()) {
        let why: Vec<&str> = s.why.iter().map(|w| w.expose()).collect();
        out.line(format!("playbook {} fits: {}", s.playbook, why.join("; ")))?;
    }
    let mut exit = Exit::Done;
    for run in &v.runs {
        for (e, why) in desk.broken_evidence(run) {
            out.note(format!("evidence {}: {why}", e.name.expose()))?;
            exit = Exit::No;
        }
    }
    Ok(exit)
}
