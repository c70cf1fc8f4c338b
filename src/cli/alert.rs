//! `alert show|claim|release|assign|close|reopen|snooze|wake|note|merge|detach|prioritise|undo`.

use jiff::Timestamp;

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::desk::Desk;
use crate::desk::Detail;
use crate::model::act::Act;
use crate::model::act::ActReport;
use crate::model::act::Refusal;
use crate::model::alert::Disposition;
use crate::model::ids::AlertId;
use crate::model::ids::CaseId;
use crate::model::ids::PersonId;
use crate::model::priority::Priority;
use crate::text::Untrusted;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Everything known about alerts.
    Show {
        #[arg(required = true)]
        ids: Vec<AlertId>,
        /// The original bytes, nothing else.
        #[arg(long)]
        raw: bool,
        /// With --raw: bytes of repeats that differ from the first, newest first, each on a line.
        #[arg(long, requires = "raw")]
        repeats: bool,
    },
    /// Take alerts; refused when somebody else has them.
    Claim {
        #[arg(required = true)]
        ids: Vec<AlertId>,
    },
    /// Give alerts back to the queue.
    Release {
        #[arg(required = true)]
        ids: Vec<AlertId>,
    },
    /// Give alerts to somebody.
    Assign {
        #[arg(required = true)]
        ids: Vec<AlertId>,
        #[arg(long, value_name = "PERSON")]
        to: String,
    },
    /// Close alerts: disposition, reason and comment in one act.
    Close {
        #[arg(required = true)]
        ids: Vec<AlertId>,
        /// TP, BTP, FP or UND, or the words.
        #[arg(long, value_name = "D")]
        disposition: String,
        #[arg(long)]
        reason: String,
        #[arg(long)]
        comment: Option<String>,
    },
    /// Open closed alerts again.
    Reopen {
        #[arg(required = true)]
        ids: Vec<AlertId>,
    },
    /// Put alerts aside until a time.
    Snooze {
        #[arg(required = true)]
        ids: Vec<AlertId>,
        /// How long: 30m, 2h, 1d.
        #[arg(long = "for", value_name = "TIME")]
        time: String,
        #[arg(long)]
        reason: String,
    },
    /// End a snooze now.
    Wake {
        #[arg(required = true)]
        ids: Vec<AlertId>,
    },
    /// Write a note.
    Note {
        #[arg(required = true)]
        ids: Vec<AlertId>,
        #[arg(long)]
        text: String,
    },
    /// Put alerts into a case, or into a new one with --title.
    Merge {
        #[arg(required = true)]
        ids: Vec<AlertId>,
        #[arg(long, required_unless_present = "title")]
        case: Option<CaseId>,
        #[arg(long, conflicts_with = "case")]
        title: Option<String>,
    },
    /// Take alerts out of their case.
    Detach {
        #[arg(required = true)]
        ids: Vec<AlertId>,
    },
    /// Set the priority by hand.
    Prioritise {
        #[arg(required = true)]
        ids: Vec<AlertId>,
        /// P0, P1, P2 or P3.
        #[arg(long, value_name = "P")]
        to: String,
        #[arg(long)]
        reason: String,
    },
    /// Take back your newest act.
    Undo,
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let (act, ids) = match args.what {
        What::Show { ids, raw, repeats } => return show(ctx, &desk, &ids, raw, repeats),
        What::Undo => {
            let (what, report) = desk.undo(&super::me(ctx, &desk)?)?;
            return told(ctx, &format!("{what} undone"), &report);
        }
        What::Claim { ids } => (Act::Claim, ids),
        What::Release { ids } => (Act::Release, ids),
        What::Assign { ids, to } => (Act::Assign { to: person(&to)? }, ids),
        What::Close { ids, disposition, reason, comment } => {
            let known = || CliError::usage(format!("--disposition {disposition}: TP, BTP, FP or UND was expected"));
            let disposition = Disposition::parse(&disposition).ok_or_else(known)?;
            (Act::Close { disposition, reason: reason.into(), comment: comment.map(Untrusted::new) }, ids)
        }
        What::Reopen { ids } => (Act::Reopen, ids),
        What::Snooze { ids, time, reason } => {
            (Act::Snooze { until: Timestamp::now() + super::duration(&time)?, reason: reason.into() }, ids)
        }
        What::Wake { ids } => (Act::Wake, ids),
        What::Note { ids, text } => (Act::Note { text: text.into() }, ids),
        What::Merge { ids, case, title } => (Act::Merge { case, title: title.unwrap_or_default().into() }, ids),
        What::Detach { ids } => (Act::Detach, ids),
        What::Prioritise { ids, to, reason } => {
            let to = Priority::parse(&to)
                .ok_or_else(|| CliError::usage(format!("--to {to}: P0, P1, P2 or P3 was expected")))?;
            (Act::Prioritise { to, reason: reason.into() }, ids)
        }
    };
    let report = desk.act(&super::me(ctx, &desk)?, &act, &ids)?;
    told(ctx, act.word(), &report)
}

fn person(id: &str) -> Result<PersonId, CliError> {
    PersonId::new(id).ok_or_else(|| CliError::usage(format!("{id}: an id of the roster was expected")))
}

/// Says what was done and what was not; the answer is no when anything was refused.
fn told(ctx: &Ctx, what: &str, report: &ActReport) -> Result<Exit, CliError> {
    ctx.out().value(report)?;
    if !report.done.is_empty() {
        let ids: Vec<String> = report.done.iter().map(ToString::to_string).collect();
        ctx.out().line(format!("{what}: {}", ids.join(" ")))?;
    }
    if let Some(case) = report.case {
        ctx.out().line(format!("case {case}"))?;
    }
    for refused in &report.refused {
        ctx.out().note(format!("{}: {}", refused.id, why(&refused.why)))?;
    }
    Ok(if report.refused.is_empty() { Exit::Done } else { Exit::No })
}

fn why(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NotFound => "there is no such alert".into(),
        Refusal::HeldBy { person, since } => format!("{person} has it since {since:.0}"),
        Refusal::WrongState { status } => format!("it is {}", status.word()),
        Refusal::ChangedSince { by: Some(by) } => format!("{by} changed it since"),
        Refusal::ChangedSince { by: None } => "it changed since".into(),
        Refusal::NoSuchCase => "there is no such case".into(),
    }
}

fn show(ctx: &Ctx, desk: &Desk, ids: &[AlertId], raw: bool, repeats: bool) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    for id in ids {
        if raw {
            let shown = show_raw(ctx, desk, *id, repeats)?;
            exit = if shown == Exit::Done { exit } else { shown };
            continue;
        }
        match desk.detail(*id)? {
            None => {
                ctx.out().note(format!("{id}: there is no such alert"))?;
                exit = Exit::No;
            }
            Some(detail) if ctx.out().json() => ctx.out().item(&as_json(&detail))?,
            Some(detail) => show_one(ctx, &detail)?,
        }
    }
    Ok(exit)
}

/// Bytes exactly as they came when they go to a file or a pipe; made visible when a person looks.
fn show_raw(ctx: &Ctx, desk: &Desk, id: AlertId, repeats: bool) -> Result<Exit, CliError> {
    let Some(first) = desk.raw(id)? else {
        ctx.out().note(format!("{id}: there is no such alert"))?;
        return Ok(Exit::No);
    };
    let mut all = vec![first];
    if repeats {
        all.extend(desk.repeats(id, 1_000)?.into_iter().map(|(_, bytes)| bytes));
    }
    let many = all.len() > 1;
    for bytes in all {
        if ctx.out().json() {
            use base64::Engine as _;
            let encoded = base64::engine::general_purpose::STANDARD.encode(&bytes);
            ctx.out().item(&serde_json::json!({ "id": id, "raw_base64": encoded }))?;
        } else if ctx.out().stdout_is_terminal() {
            ctx.out().block(String::from_utf8_lossy(&bytes))?;
        } else {
            ctx.out().bytes(&bytes)?;
            if many {
                ctx.out().bytes(b"\n")?;
            }
        }
    }
    Ok(Exit::Done)
}

fn as_json(d: &Detail) -> serde_json::Value {
    let mut value = serde_json::to_value(&d.alert).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.insert("risk".into(), serde_json::json!(d.risk));
        map.insert("record".into(), serde_json::json!(d.fields));
        map.insert("timeline".into(), serde_json::json!(d.timeline));
        map.insert("verdicts".into(), serde_json::json!(d.verdicts));
        map.insert("related".into(), serde_json::json!(d.related.iter().map(|r| r.id).collect::<Vec<_>>()));
    }
    value
}

fn show_one(ctx: &Ctx, d: &Detail) -> Result<(), CliError> {
    let a = &d.alert;
    let f = &a.fields;
    let out = ctx.out();
    out.line(format!("{} {} {}", a.id, a.priority.word(), f.title.expose()))?;
    let text = |t: &Option<Untrusted>| t.as_ref().map(|t| t.expose().to_owned());
    let end = |ip: Option<std::net::IpAddr>, port: Option<u16>| {
        ip.map(|ip| port.map_or_else(|| ip.to_string(), |p| std::net::SocketAddr::new(ip, p).to_string()))
    };
    let verdict = d
        .verdicts
        .first()
        .map(|v| format!("{} {}/{} claims founded, by {}", v.kind.label(), v.founded(), v.claims.len(), v.backend));
    let closing = a.closing.as_ref().map(|c| format!("{} by {}: {}", c.disposition.word(), c.by, c.reason.expose()));
    let facts = [
        ("severity", Some(format!("{} ({})", f.severity.word(), text(&f.source_severity).unwrap_or_default()))),
        ("rule", text(&f.rule_id)),
        ("rule name", text(&f.rule_name)),
        ("techniques", (!f.techniques.is_empty()).then(|| f.techniques.join(" "))),
        ("host", text(&f.host)),
        ("user", text(&f.user)),
        ("process", text(&f.process)),
        ("command", text(&f.command_line)),
        ("source", end(f.src_ip, f.src_port)),
        ("destination", end(f.dst_ip, f.dst_port)),
        ("event", f.t_event.map(|t| t.to_string())),
        ("ingested", Some(a.t_ingest.to_string())),
        ("status", Some(a.status.word().to_owned())),
        ("owner", a.owner.as_ref().map(ToString::to_string)),
        ("closed", closing),
        ("case", a.case.map(|c| c.to_string())),
        ("seen", Some(a.count.to_string())),
        ("format", Some(a.format.clone())),
        ("from", Some(a.source.expose().to_owned())),
        ("sha256", Some(a.raw_sha256.clone())),
        ("verdict", verdict),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            out.line(format!("  {name:<12} {value}"))?;
        }
    }
    for o in &f.observables {
        out.line(format!("  {:<12} {}", format!("{:?}", o.kind).to_lowercase(), o.value.expose()))?;
    }
    for e in &d.timeline {
        let by = e.by.as_ref().map_or("desk", PersonId::as_str);
        out.line(format!("  {:.0} {by} {}: {}", e.at, e.kind, e.text.expose()))?;
    }
    Ok(())
}
