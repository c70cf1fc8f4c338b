//! `config`: where the settings come from and whether they are right.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use clap::Subcommand;
use serde_json::json;

use super::{CliError, Ctx, Exit, keys};
use crate::config::{self, Faults, explain, inventory, roster, sample};
use crate::desk::inspect;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Say whether the settings and every file they name are right (roster, inventory, catalogue, policy, playbooks,
    /// objectives, backups, agreements), or name every fault in them.
    Check,
    /// Show each value and where it came from.
    Explain {
        /// Only this setting, or this section, such as `console` or `triage.openai.url`.
        key: Option<String>,
        /// What each one means, too.
        #[arg(long)]
        about: bool,
    },
    /// Write a settings file in which everything is explained and commented out.
    Init {
        /// Write it to stdout instead.
        #[arg(long)]
        stdout: bool,
    },
    /// Show which files and folders are used.
    Path,
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    match args.command {
        Sub::Check => check(ctx),
        Sub::Explain { key, about } => explain(ctx, key.as_deref(), about),
        Sub::Init { stdout } => init(ctx, stdout),
        Sub::Path => path(ctx),
    }
}

/// Faults are the answer here, so with `--json` they are on stdout.
fn check(ctx: &Ctx) -> Result<Exit, CliError> {
    let out = ctx.out();
    let mut faults = Faults::default();
    let mut notices = Vec::new();
    match config::load(&ctx.overrides(), ctx.env()) {
        Ok(loaded) => {
            match roster::load(&loaded) {
                Ok(people) => notices = people.notices,
                Err(f) => faults.extend(f),
            }
            if let Some(Err(f)) = loaded.settings.desk.inventory.as_deref().map(inventory::read) {
                faults.extend(f);
            }
            if let Err(f) = inspect::files(&loaded) {
                faults.extend(f);
            }
            faults.extend(keys::faults(&loaded));
        }
        Err(f) => faults = f,
    }
    out.value(&json!({"ok": faults.is_empty(), "faults": faults, "notices": notices}))?;
    if !out.json() {
        out.note(notices.join("\n"))?;
    }
    if faults.is_empty() {
        out.line("ok")?;
        return Ok(Exit::Done);
    }
    out.block(faults.to_string())?;
    Ok(Exit::Usage)
}

fn explain(ctx: &Ctx, key: Option<&str>, about: bool) -> Result<Exit, CliError> {
    let loaded = ctx.loaded()?;
    let rows = match key {
        Some(key) => explain::explain_one(loaded, key).map_err(CliError::usage)?,
        None => explain::explain(loaded),
    };
    for row in &rows {
        ctx.out().item(row)?;
    }
    let shown = |v: &serde_json::Value| if v.is_null() { "-".to_owned() } else { v.to_string() };
    let cells: Vec<_> = rows
        .iter()
        .map(|r| {
            let mut cells = vec![r.key.clone(), shown(&r.value), r.from.clone()];
            cells.extend(about.then(|| r.about.to_owned()));
            cells
        })
        .collect();
    ctx.out().table(if about { &["KEY", "VALUE", "FROM", "ABOUT"] } else { &["KEY", "VALUE", "FROM"] }, &cells)?;
    Ok(Exit::Done)
}

fn init(ctx: &Ctx, stdout: bool) -> Result<Exit, CliError> {
    if stdout {
        ctx.out().text(sample::sample())?;
        return Ok(Exit::Done);
    }
    let paths = config::places(&ctx.overrides(), ctx.env())?;
    let file = paths.config_file;
    let shown = file.display();
    std::fs::create_dir_all(&paths.config_dir)
        .map_err(|e| CliError::no(format!("{} cannot be made: {e}", paths.config_dir.display())))?;
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
    let mut handle = opened.map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => CliError::refused(format!("{shown} is there already; it stays as it is")),
        _ => CliError::no(format!("{shown} cannot be written: {e}")),
    })?;
    handle.write_all(sample::sample().as_bytes())?;
    ctx.out().line(format!("wrote {shown}"))?;
    ctx.out().value(&json!({"wrote": file}))?;
    Ok(Exit::Done)
}

/// Works beside broken settings, for it is asked when something is wrong.
fn path(ctx: &Ctx) -> Result<Exit, CliError> {
    let (paths, faults) = match config::load(&ctx.overrides(), ctx.env()) {
        Ok(loaded) => (loaded.paths, None),
        Err(faults) => (config::places(&ctx.overrides(), ctx.env())?, Some(faults)),
    };
    let there = if paths.config_file.exists() { "" } else { " (not there)" };
    ctx.out().value(&paths)?;
    ctx.out().line(format!("settings  {}{there}", paths.config_file.display()))?;
    ctx.out().line(format!("data      {}", paths.data_dir.display()))?;
    ctx.out().line(format!("logs      {}", paths.log_dir.display()))?;
    if let Some(faults) = faults {
        ctx.out().note(format!("the settings have faults, so a data folder set there does not count:\n{faults}"))?;
        return Ok(Exit::Usage);
    }
    Ok(Exit::Done)
}
