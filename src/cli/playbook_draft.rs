//! `playbook draft` and `playbook review ...`: playbooks the model drafts, and what people say to them.

use std::io::IsTerminal as _;
use std::io::Read as _;
use std::path::PathBuf;

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::desk::Cancel;
use crate::desk::playbook_draft::Change;
use crate::desk::playbook_draft::DraftFor;
use crate::desk::playbook_draft::DraftPage;
use crate::desk::playbook_draft::Drafted;
use crate::model::ids::AlertId;
use crate::model::ids::CaseId;
use crate::model::playbook::Finding;
use crate::model::playbook::Suggested;
use crate::model::playbook_draft::DraftState;
use crate::text::Untrusted;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("of").required(true).args(["alert", "case"])))]
pub struct DraftArgs {
    /// The alert it is for.
    alert: Option<AlertId>,
    /// The case it is for.
    #[arg(long)]
    case: Option<CaseId>,
}

#[derive(Debug, clap::Args)]
pub struct ReviewArgs {
    #[command(subcommand)]
    what: Review,
}

#[derive(Debug, clap::Subcommand)]
enum Review {
    /// Drafts that wait for somebody.
    List {
        /// Those that were decided too.
        #[arg(long)]
        all: bool,
    },
    /// A draft with its findings, its steps, and how it differs from the nearest playbook of the library. Exit 1: a
    /// finding stands in the way of approving it.
    Show {
        draft: String,
        /// The short form alone, to be edited and given back to `review edit`.
        #[arg(long)]
        toml: bool,
    },
    /// Let a draft into the library. Exit 4: you may not, or a finding stands in the way.
    Approve {
        draft: String,
        /// The version you read, as `review show` says it (enough of its beginning).
        #[arg(long, value_name = "SHA256")]
        version: String,
    },
    /// Change a draft; it is checked again. Without FILE in $VISUAL or $EDITOR; `-` is standard input.
    Edit { draft: String, file: Option<PathBuf> },
    /// End a draft.
    Reject {
        draft: String,
        #[arg(long)]
        reason: String,
    },
}

/// Exit 1: no model wrote one; what fits best of the library is named.
pub fn draft(ctx: &Ctx, args: &DraftArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let me = super::me(ctx, &desk)?;
    let of = match (args.alert, args.case) {
        (Some(alert), _) => DraftFor::Alert(alert),
        (None, Some(case)) => DraftFor::Case(case),
        (None, None) => return Err(CliError::usage("an alert or --case")),
    };
    match super::block_on(desk.draft_playbook(&me, of, &Cancel::new()))?? {
        Drafted::Draft(page) => show(ctx, &page),
        Drafted::Nearest { why, suggested } => nearest(ctx, &why, &suggested),
    }
}

fn nearest(ctx: &Ctx, why: &str, suggested: &[Suggested]) -> Result<Exit, CliError> {
    ctx.out().value(&serde_json::json!({ "draft": null, "why": why, "nearest": suggested }))?;
    ctx.out().note(format!("no draft: {why}"))?;
    if suggested.is_empty() {
        ctx.out().note("no playbook of the library fits either")?;
        return Ok(Exit::No);
    }
    ctx.out().line("nearest playbooks of the library:")?;
    let rows = suggested.iter().map(|s| {
        let why: Vec<&str> = s.why.iter().map(Untrusted::expose).collect();
        vec![s.playbook.clone(), s.title.expose().to_owned(), why.join("; ")]
    });
    ctx.out().table(&["PLAYBOOK", "TITLE", "WHY"], &rows.collect::<Vec<_>>())?;
    Ok(Exit::No)
}

pub fn review(ctx: &Ctx, args: ReviewArgs) -> Result<Exit, CliError> {
    match args.what {
        Review::List { all } => list(ctx, all),
        Review::Show { draft, toml } => {
            let page = ctx.desk()?.playbook_draft(&draft)?;
            if toml {
                return form(ctx, &page);
            }
            show(ctx, &page)
        }
        Review::Approve { draft, version } => approve(ctx, &draft, &version),
        Review::Edit { draft, file } => edit(ctx, &draft, file),
        Review::Reject { draft, reason } => {
            let desk = ctx.desk()?;
            let me = super::me(ctx, &desk)?;
            let page = desk.playbook_draft(&draft)?;
            let page = desk.reject_draft(&me, &draft, &page.draft.hash, reason.into())?;
            told(ctx, &page)
        }
    }
}

fn form(ctx: &Ctx, page: &DraftPage) -> Result<Exit, CliError> {
    let out = ctx.out();
    out.value(&page.toml)?;
    if !out.json() {
        let text = page.toml.expose();
        if out.stdout_is_terminal() { out.text(text)? } else { out.bytes(text.as_bytes())? }
    }
    Ok(Exit::Done)
}

fn list(ctx: &Ctx, all: bool) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let mut rows = Vec::new();
    for d in desk.playbook_drafts(all)? {
        let page = desk.playbook_draft(&d.id)?;
        ctx.out().item(&value(&page))?;
        let of = d.case.map(|c| format!("case {c}")).or(d.alert.map(|a| format!("alert {a}")));
        rows.push(vec![
            d.key.clone(),
            d.state.word().to_owned(),
            page.blocking().to_string(),
            of.unwrap_or_default(),
            d.asked_by.to_string(),
            format!("{:.0}", d.at),
            d.title.expose().to_owned(),
        ]);
    }
    ctx.out().table(&["DRAFT", "IS", "IN THE WAY", "FOR", "ASKED BY", "SINCE", "GENERATED TITLE"], &rows)?;
    Ok(Exit::Done)
}

fn value(page: &DraftPage) -> serde_json::Value {
    serde_json::json!({
        "draft": page.draft,
        "generated": page.book.generated,
        "findings": page.findings,
        "blocking": page.blocking(),
        "nearest": page.nearest.as_ref().map(|n| &n.0),
    })
}

fn show(ctx: &Ctx, page: &DraftPage) -> Result<Exit, CliError> {
    let (out, d) = (ctx.out(), &page.draft);
    out.value(&value(page))?;
    out.line(format!("GENERATED  {}  {}  {}", d.key, d.state.word(), d.title.expose()))?;
    out.block(page.book.description.expose())?;
    let of = d.case.map(|c| format!("case {c}")).or(d.alert.map(|a| format!("alert {a}"))).unwrap_or_default();
    out.line(format!("for {of}, asked by {} at {:.0}", d.asked_by, d.at))?;
    out.line(format!("model {} on {}, prompt sha256:{}", d.model.expose(), d.backend, d.prompt))?;
    out.line(format!("version sha256:{}", d.hash))?;
    for e in &d.edits {
        out.line(format!("edited by {} at {:.0}", e.by, e.at))?;
    }
    if let Some(decided) = &d.decided {
        let why = decided.reason.as_ref().map(|r| format!(": {}", r.expose())).unwrap_or_default();
        out.line(format!("{} by {} at {:.0}{why}", d.state.word(), decided.by, decided.at))?;
    }
    out.line("")?;
    findings(ctx, &page.findings)?;
    let mut rows = Vec::new();
    for step in page.book.work() {
        let acts: Vec<&str> = step
            .commands
            .iter()
            .filter(|c| c.kind == crate::model::playbook::ACTION)
            .map(|c| c.text.expose())
            .collect();
        rows.push(vec![
            step.key.clone(),
            step.phase.map_or("-", |p| p.word()).to_owned(),
            if acts.is_empty() { "-".to_owned() } else { acts.join(", ") },
            step.name.expose().to_owned(),
        ]);
    }
    out.table(&["STEP", "PHASE", "ACTION", "WHAT"], &rows)?;
    if let Some((key, title)) = &page.nearest {
        out.line("")?;
        out.line(format!("against the nearest playbook of the library, {key} ({}):", title.expose()))?;
        let mut rows = Vec::new();
        for b in &page.beside {
            let (mark, line, like) = b.parts();
            rows.push(vec![
                mark.to_owned(),
                line.phase.map_or("-", |p| p.word()).to_owned(),
                line.action.as_ref().map_or("-", |a| a.expose()).to_owned(),
                line.name.expose().to_owned(),
                like.map_or("-", |l| l.name.expose()).to_owned(),
            ]);
        }
        out.table(&["", "PHASE", "ACTION", "WHAT", "IN THE DRAFT"], &rows)?;
        out.line("- only in the library's, = in both, + only in the draft; the same line by line:")?;
        for c in &page.diff {
            match c {
                Change::Same(t) => out.line(format!("  {}", t.expose()))?,
                Change::Gone(t) => out.line(format!("- {}", t.expose()))?,
                Change::New(t) => out.line(format!("+ {}", t.expose()))?,
                Change::Skipped(n) => out.line(format!("  ... {n} lines the same"))?,
            }
        }
    }
    let blocked = d.state == DraftState::Open && page.blocking() > 0;
    Ok(if blocked { Exit::No } else { Exit::Done })
}

fn findings(ctx: &Ctx, found: &[Finding]) -> Result<(), CliError> {
    if found.is_empty() {
        return ctx.out().line("checks: nothing found");
    }
    for f in found {
        let at = if f.at.is_empty() { "/" } else { f.at.expose() };
        ctx.out().line(format!("{}: {at}: {} [{}]", f.grade.word(), f.message.expose(), f.code))?;
    }
    Ok(())
}

/// What became of it.
fn told(ctx: &Ctx, page: &DraftPage) -> Result<Exit, CliError> {
    ctx.out().value(&value(page))?;
    ctx.out().line(format!("{}: {} (GENERATED)", page.draft.key, page.draft.state.word()))?;
    Ok(Exit::Done)
}

fn approve(ctx: &Ctx, word: &str, version: &str) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let me = super::me(ctx, &desk)?;
    let page = desk.playbook_draft(word)?;
    let version = version.trim_start_matches("sha256:").to_ascii_lowercase();
    if version.len() < 8 || !page.draft.hash.starts_with(&version) {
        return Err(CliError::no(format!("the draft is sha256:{} now: read it again", page.draft.hash)));
    }
    let page = desk.approve_draft(&me, word, &page.draft.hash)?;
    told(ctx, &page)
}

fn edit(ctx: &Ctx, word: &str, file: Option<PathBuf>) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let me = super::me(ctx, &desk)?;
    let page = desk.playbook_draft(word)?;
    let cannot = |what: &std::path::Path, e: &std::io::Error| CliError::usage(format!("{}: {e}", what.display()));
    let text = match file {
        Some(path) if path.as_os_str() == "-" => {
            let mut text = String::new();
            // More than any draft has, so that what is too long is refused and not cut.
            let read = std::io::stdin().take(1 << 20).read_to_string(&mut text);
            read.map_err(|e| cannot(&path, &e))?;
            text
        }
        Some(path) => std::fs::read_to_string(&path).map_err(|e| cannot(&path, &e))?,
        None if std::io::stdin().is_terminal() => in_editor(ctx, page.toml.expose())?,
        None => return Err(CliError::usage("no terminal to edit in: name a FILE, or - for standard input")),
    };
    if text == page.toml.expose() {
        ctx.out().note("nothing was changed")?;
        return Ok(Exit::Done);
    }
    let page = desk.edit_draft(&me, word, &page.draft.hash, &text)?;
    show(ctx, &page)
}

/// The text after the person's own editor.
#[expect(clippy::disallowed_methods, reason = "the person's own editor, on the person's own terminal")]
fn in_editor(ctx: &Ctx, text: &str) -> Result<String, CliError> {
    let named = ["VISUAL", "EDITOR"].into_iter().find_map(|n| ctx.env().get(n).filter(|v| !v.trim().is_empty()));
    let named = named.ok_or_else(|| CliError::usage("no $VISUAL or $EDITOR: name a FILE, or - for standard input"))?;
    let mut words = named.split_whitespace();
    let program = words.next().unwrap_or_default().to_owned();
    let args: Vec<String> = words.map(str::to_owned).collect();
    let failed = |e: &dyn std::fmt::Display| CliError::no(format!("{program}: {e}"));
    let dir = tempfile::tempdir().map_err(|e| failed(&e))?;
    let path = dir.path().join("draft.toml");
    std::fs::write(&path, text).map_err(|e| failed(&e))?;
    let status = std::process::Command::new(&program).args(args).arg(&path).status().map_err(|e| failed(&e))?;
    if !status.success() {
        return Err(failed(&"it ended with an error; nothing was changed"));
    }
    std::fs::read_to_string(&path).map_err(|e| failed(&e))
}
