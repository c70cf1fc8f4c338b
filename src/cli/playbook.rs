//! `playbook list|show|lint|convert|export|sheet|suggest|clocks`; what is at work is in [`super::playbook_run`].

use std::path::Path;
use std::path::PathBuf;

use jiff::Timestamp;

use super::CliError;
use super::Ctx;
use super::Exit;
use super::playbook_draft;
use super::playbook_run;
use crate::desk::playbook;
use crate::desk::playbook::Document;
use crate::desk::playbook::Library;
use crate::desk::playbook::Origin;
use crate::desk::playbook_signature::Vouch;
use crate::model::ids::AlertId;
use crate::model::playbook::Audience;
use crate::model::playbook::Finding;
use crate::model::playbook::Grade;
use crate::model::playbook::Playbook;
use crate::model::playbook::Signature;
use crate::model::playbook::Step;
use crate::model::playbook::StepKind;
use crate::model::when;
use crate::text::to_safe_json_pretty;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// The library: those of this desk and those that ship.
    List,
    /// One playbook, step by step. With --json: the CACAO document.
    Show {
        /// Name, id, or a file (.toml short form, .json CACAO 2.0).
        playbook: String,
    },
    /// What is wrong with playbooks. Exit 1: errors (with --strict: warnings too).
    Lint {
        /// Names or files; none: the whole library.
        playbooks: Vec<String>,
        #[arg(long)]
        strict: bool,
    },
    /// The other form of a file: CACAO JSON of a .toml, the short TOML form of a .json.
    Convert { file: PathBuf },
    /// A playbook as CACAO 2.0 JSON, as far as its marking lets it go. Exit 4: it may not go there.
    Export {
        playbook: String,
        /// Who is to read it.
        #[arg(long, value_enum, default_value_t = To::Organisation)]
        audience: To,
    },
    /// A run sheet in Markdown, to print. With --json: the sheet as one string.
    Sheet { playbook: String },
    /// Playbooks that fit an alert, and why. Exit 1: none does.
    Suggest { alert: AlertId },
    /// Have the model draft a playbook for an alert or a case; it is checked, and waits for a review. Exit 1: it was
    /// flagged, or no model wrote one and the nearest of the library is named.
    Draft(playbook_draft::DraftArgs),
    /// Drafts: read, approve, edit, reject.
    Review(playbook_draft::ReviewArgs),
    /// Start a playbook: it is pinned to its version, and worked step by step.
    Start(playbook_run::StartArgs),
    /// Playbooks at work.
    Runs {
        /// Those that are over too.
        #[arg(long)]
        all: bool,
    },
    /// A run: every step, and what is to be done now. Exit 1: it failed or was cancelled, or evidence is broken.
    Status(playbook_run::StatusArgs),
    /// Work a step of a run, by its number.
    Step(playbook_run::StepArgs),
    /// Give a variable of a run another value.
    Set(playbook_run::SetArgs),
    /// Let somebody see a restricted run.
    Admit(playbook_run::AdmitArgs),
    /// End a run before its end.
    Cancel(playbook_run::CancelArgs),
    /// Who has to hear of this breach by when; or say that they were told, or need not be.
    Deadlines(playbook_run::DeadlinesArgs),
    /// Who has to hear of a data breach by when.
    Clocks {
        /// When somebody here became aware: `now`, `20m ago`, `14:30` or a date with a time, UTC.
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Another file instead of the settings' (`desk.breach_clocks`) or the bundled clocks.
        #[arg(long)]
        file: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum To {
    Public,
    Community,
    Clients,
    Organisation,
    Named,
}

impl To {
    fn audience(self) -> Audience {
        match self {
            Self::Public => Audience::Public,
            Self::Community => Audience::Community,
            Self::Clients => Audience::Clients,
            Self::Organisation => Audience::Organisation,
            Self::Named => Audience::Named,
        }
    }
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    match args.what {
        What::List => list(ctx),
        What::Show { playbook } => show(ctx, &playbook),
        What::Lint { playbooks, strict } => lint(ctx, &playbooks, strict),
        What::Convert { file } => convert(ctx, &file),
        What::Export { playbook, audience } => export(ctx, &playbook, audience),
        What::Sheet { playbook } => {
            let (_, book) = one(ctx, &playbook)?;
            let sheet = playbook::sheet(&book, None);
            ctx.out().value(&sheet)?;
            ctx.out().block(&sheet)?;
            Ok(Exit::Done)
        }
        What::Suggest { alert } => suggest(ctx, alert),
        What::Draft(args) => playbook_draft::draft(ctx, &args),
        What::Review(args) => playbook_draft::review(ctx, args),
        What::Start(args) => playbook_run::start(ctx, args),
        What::Runs { all } => playbook_run::runs(ctx, all),
        What::Status(args) => playbook_run::status(ctx, args),
        What::Step(args) => playbook_run::step(ctx, args),
        What::Set(args) => playbook_run::set(ctx, args),
        What::Admit(args) => playbook_run::admit(ctx, args),
        What::Cancel(args) => playbook_run::cancel(ctx, args),
        What::Deadlines(args) => playbook_run::deadlines(ctx, args),
        What::Clocks { from, file } => clocks(ctx, from, file.as_deref()),
    }
}

/// Of a desk that is there already: with the drafts that were approved. Files are read without one.
fn drafted(ctx: &Ctx) -> Option<Library> {
    ctx.data_dir().ok().filter(|dir| dir.join("desk.sqlite").exists())?;
    Some((*ctx.desk().ok()?.playbooks()).clone())
}

/// The library of the settings; of a demo's folder, which has none, those that ship.
fn library(ctx: &Ctx) -> Result<Library, CliError> {
    let library = match drafted(ctx) {
        Some(library) => library,
        None => {
            let folder = if ctx.global.data_dir.is_some() { None } else { playbook::folder(ctx.loaded()?) };
            playbook::library(folder.as_deref())
        }
    };
    for broken in library.broken() {
        ctx.out().note(format!("{}: {}", broken.path.display(), broken.why))?;
    }
    Ok(library)
}

/// By name, or a file where it looks like one.
fn one(ctx: &Ctx, word: &str) -> Result<(Document, Playbook), CliError> {
    if is_file(word) {
        let path = Path::new(word);
        let document = playbook::load(path).map_err(|why| bad_file(path, &why))?;
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let book = document.view(&stem);
        return Ok((document, book));
    }
    let library = library(ctx)?;
    match library.get(word) {
        Some(item) => Ok((item.document.clone(), item.book.clone())),
        None => {
            let near = library.nearest(word).map(|n| format!("; did you mean {n:?}?")).unwrap_or_default();
            Err(CliError::usage(format!("no playbook {word:?}{near} (`playbook list` names them)")))
        }
    }
}

/// The same, with what the signature beside its file says.
fn vouched(ctx: &Ctx, word: &str) -> Result<(Document, Playbook, Signature), CliError> {
    let (document, book) = one(ctx, word)?;
    let file = if is_file(word) {
        Some(PathBuf::from(word))
    } else {
        match library(ctx)?.get(word).map(|i| i.origin.clone()) {
            Some(Origin::File(path)) => Some(path),
            _ => None,
        }
    };
    let signature = signature_of(ctx, file, &document)?;
    Ok((document, book, signature))
}

/// Of a playbook that is a file. Without settings nothing says whose keys count.
fn signature_of(ctx: &Ctx, file: Option<PathBuf>, document: &Document) -> Result<Signature, CliError> {
    let Some(path) = file else { return Ok(Signature::Unsigned) };
    match ctx.loaded() {
        Ok(loaded) => Ok(Vouch::new(loaded).of_file(&path, document.hash(), Timestamp::now())),
        Err(e) if path.with_added_extension("sig").exists() => Err(e),
        Err(_) => Ok(Signature::Unsigned),
    }
}

fn is_file(word: &str) -> bool {
    word.contains('/') || word.ends_with(".toml") || word.ends_with(".json")
}

fn bad_file(path: &Path, why: &str) -> CliError {
    let named = path.display().to_string();
    let said = if why.starts_with(&named) { why.to_owned() } else { format!("{named}: {why}") };
    CliError::usage(said)
}

fn list(ctx: &Ctx) -> Result<Exit, CliError> {
    let library = library(ctx)?;
    let mut rows = Vec::new();
    for item in library.items() {
        let book = &item.book;
        ctx.out().item(&serde_json::json!({
            "key": book.key, "id": book.id, "title": book.title, "tlp": book.tlp, "version": book.modified,
            "sha256": book.hash, "steps": book.work().count(), "techniques": book.techniques,
            "revoked": book.revoked, "restricted": book.restricted, "from": item.origin.word(), "generated": book.generated,
        }))?;
        rows.push(vec![
            book.key.clone(),
            book.title.expose().to_owned(),
            book.work().count().to_string(),
            book.tlp.map_or("-", |t| t.word()).to_owned(),
            book.hash[..12].to_owned(),
            item.origin.word(),
        ]);
    }
    ctx.out().table(&["PLAYBOOK", "TITLE", "STEPS", "MARKING", "VERSION", "FROM"], &rows)?;
    Ok(if library.broken().is_empty() { Exit::Done } else { Exit::No })
}

fn show(ctx: &Ctx, word: &str) -> Result<Exit, CliError> {
    let (document, book, signature) = vouched(ctx, word)?;
    ctx.out().value(document.json())?;
    let mark = if book.generated.is_some() { "GENERATED  " } else { "" };
    ctx.out().line(format!("{mark}{}  {}", book.key, book.title.expose()))?;
    ctx.out().block(book.description.expose())?;
    let marking = book.tlp.map_or("not marked", |t| t.word());
    ctx.out().line(format!("{marking}  version {}  sha256:{}", book.modified.expose(), book.hash))?;
    ctx.out().line(signature.words())?;
    if document.json().contains_key("signatures") {
        ctx.out().line("signatures inside of the document are not checked: only FILE.sig beside FILE is")?;
    }
    if let Some(g) = &book.generated {
        let model = g.model.as_ref().map_or("a model", |m| m.expose());
        let edited: Vec<&str> = g.edited_by.iter().map(|p| p.expose()).collect();
        let edited = if edited.is_empty() { String::new() } else { format!(", edited by {}", edited.join(", ")) };
        ctx.out().line(format!("written by {model}{edited}"))?;
    }
    let mut rows = Vec::new();
    for step in book.steps.iter().filter(|s| !matches!(s.kind, StepKind::Start | StepKind::End)) {
        rows.push(vec![
            step.key.clone(),
            step.kind.word().to_owned(),
            step.phase.map_or("-", |p| p.word()).to_owned(),
            step.who.as_ref().map_or("-", |w| w.expose()).to_owned(),
            step.box_ms.or(step.timeout_ms).map_or("-".to_owned(), playbook::span),
            step.name.expose().to_owned(),
            ways(&book, step),
        ]);
    }
    ctx.out().table(&["STEP", "IS", "PHASE", "WHO", "WITHIN", "WHAT", "THEN"], &rows)?;
    Ok(Exit::Done)
}

/// Where a step leads, in short names.
fn ways(book: &Playbook, step: &Step) -> String {
    let key = |id: &str| match book.step(id) {
        Some(s) if s.kind == StepKind::End => "end".to_owned(),
        Some(s) => s.key.clone(),
        None => "?".to_owned(),
    };
    let mut out: Vec<String> =
        step.kind.branches().iter().map(|(word, head)| format!("{word}: {}", key(head))).collect();
    out.extend(step.next().map(|n| format!("then {}", key(n))));
    out.extend(step.on_failure.as_deref().map(|n| format!("failed: {}", key(n))));
    out.join("  ")
}

fn lint(ctx: &Ctx, words: &[String], strict: bool) -> Result<Exit, CliError> {
    let library = library(ctx)?;
    let mut exit = if library.broken().is_empty() { Exit::Done } else { Exit::No };
    let mut check = |name: &str, document: &Document, signature: Signature| -> Result<(), CliError> {
        let mut found = playbook::lint(document, &library);
        if let Signature::Bad { why } = &signature {
            let message = format!("bad signature: {why}").into();
            let at = Default::default();
            found.insert(0, Finding { grade: Grade::Error, at, code: "bad-signature".into(), message });
        }
        let worst = found.iter().map(|f| f.grade).min();
        if worst == Some(Grade::Error) || (strict && worst == Some(Grade::Warning)) {
            exit = Exit::No;
        }
        ctx.out().item(
            &serde_json::json!({ "playbook": name, "workable": playbook::workable(&found), "findings": found, "signature": signature }),
        )?;
        if signature != Signature::Unsigned {
            ctx.out().line(format!("{name}: {}", signature.words()))?;
        }
        findings(ctx, name, &found)
    };
    if words.is_empty() {
        for item in library.items() {
            let file = if let Origin::File(path) = &item.origin { Some(path.clone()) } else { None };
            check(&item.book.key, &item.document, signature_of(ctx, file, &item.document)?)?;
        }
    }
    for word in words {
        let (document, _, signature) = vouched(ctx, word)?;
        check(word, &document, signature)?;
    }
    Ok(exit)
}

fn findings(ctx: &Ctx, name: &str, found: &[Finding]) -> Result<(), CliError> {
    if found.is_empty() {
        return ctx.out().line(format!("{name}: clean"));
    }
    for f in found {
        let at = f.at.expose();
        let at = if at.is_empty() { "/" } else { at };
        ctx.out().line(format!("{name}: {}: {at}: {} [{}]", f.grade.word(), f.message.expose(), f.code))?;
    }
    Ok(())
}

fn convert(ctx: &Ctx, file: &Path) -> Result<Exit, CliError> {
    let document = playbook::load(file).map_err(|why| bad_file(file, &why))?;
    let short = file.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml"));
    if short || ctx.out().json() {
        let text = to_safe_json_pretty(document.json())? + "\n";
        ctx.out().bytes(text.as_bytes())?;
    } else {
        let text = playbook::to_toml(&document).map_err(CliError::no)?;
        // To a file or a pipe to the byte; what a terminal shows cannot drive it.
        if ctx.out().stdout_is_terminal() { ctx.out().text(&text)? } else { ctx.out().bytes(text.as_bytes())? }
    }
    Ok(Exit::Done)
}

fn export(ctx: &Ctx, word: &str, to: To) -> Result<Exit, CliError> {
    let (document, book) = one(ctx, word)?;
    playbook::may_go(&book, to.audience()).map_err(CliError::refused)?;
    let text = to_safe_json_pretty(document.json())? + "\n";
    ctx.out().bytes(text.as_bytes())?;
    Ok(Exit::Done)
}

fn suggest(ctx: &Ctx, alert: AlertId) -> Result<Exit, CliError> {
    let found = ctx.desk()?.suggest_playbooks(alert)?;
    let mut rows = Vec::new();
    for s in &found {
        ctx.out().item(s)?;
        let why: Vec<&str> = s.why.iter().map(|w| w.expose()).collect();
        rows.push(vec![s.playbook.clone(), s.title.expose().to_owned(), why.join("; ")]);
    }
    if found.is_empty() {
        ctx.out().note("no playbook fits this alert")?;
        return Ok(Exit::No);
    }
    ctx.out().table(&["PLAYBOOK", "TITLE", "WHY"], &rows)?;
    Ok(Exit::Done)
}

fn clocks(ctx: &Ctx, from: Option<String>, file: Option<&Path>) -> Result<Exit, CliError> {
    let own = playbook::breach_clocks(ctx.loaded()?);
    let all = match file.or(own.as_deref()) {
        Some(path) => playbook::clocks::read(path)?,
        None => playbook::clocks::bundled(),
    };
    let from = from.map(|t| when::past(&t, Timestamp::now()).map_err(CliError::usage)).transpose()?;
    let mut rows = Vec::new();
    for c in &all {
        // Only clocks that begin with awareness can be reckoned from it.
        let due = from.filter(|_| c.from == playbook::clocks::From::Aware).and_then(|t| c.due(t));
        ctx.out().item(&serde_json::json!({ "clock": c, "due": due }))?;
        let due = due.map_or("-".to_owned(), |t| t.to_string());
        rows.push(vec![c.id.clone(), c.within(), c.from.word().to_owned(), due, c.to.clone(), c.law.clone()]);
    }
    ctx.out().table(&["CLOCK", "WITHIN", "FROM", "DUE", "WHO", "WHERE IT IS WRITTEN"], &rows)?;
    ctx.out().note("Not legal advice: counsel says which of these apply.")?;
    Ok(Exit::Done)
}
