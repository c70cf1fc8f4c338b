//! `secret`: values in a keyring, so that settings need only name them.

use std::io::{IsTerminal as _, Read as _};

use clap::Subcommand;
use serde_json::json;
use zeroize::Zeroizing;

use super::{CliError, Ctx, Exit};
use crate::config::secret::{self, Secret, SecretContext, keyring};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Keep a value under a name. It is asked for without being shown, or read from a pipe (its first line).
    Set {
        /// Settings then say `keyring:NAME`.
        name: String,
    },
    /// Fetch a value, to see that a reference works.
    Get {
        /// A name, or a whole reference such as `file:/etc/watchfloor/token`.
        name: String,
        /// Write the value even to a terminal, where others can read it.
        #[arg(long)]
        reveal: bool,
    },
    /// Remove a value.
    Rm { name: String },
    /// List the names that were set here; never values.
    List,
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let secrets = SecretContext::new(ctx.loaded()?);
    match args.command {
        Sub::Set { name } => set(ctx, &secrets, &name),
        Sub::Get { name, reveal } => get(ctx, &secrets, &name, reveal),
        Sub::Rm { name } => remove(ctx, &secrets, &name),
        Sub::List => list(ctx, &secrets),
    }
}

/// The name itself, whether or not it was given as `keyring:NAME`.
fn bare(name: &str) -> Result<&str, CliError> {
    let bare = name.strip_prefix("keyring:").unwrap_or(name);
    if keyring::good_name(bare) {
        return Ok(bare);
    }
    Err(CliError::usage("a secret's name has 1 to 64 of A-Z a-z 0-9 . _ - @ /"))
}

fn set(ctx: &Ctx, secrets: &SecretContext, name: &str) -> Result<Exit, CliError> {
    let name = bare(name)?;
    refuse_read_only(ctx)?;
    let value = ask(ctx, name)?;
    if value.expose().is_empty() {
        return Err(CliError::usage("the value is empty; nothing was kept"));
    }
    let kept = keyring::set(name, &value, secrets)?;
    ctx.out().line(format!("kept keyring:{name} in {} ({})", kept.word(), kept.about()))?;
    ctx.out().value(&json!({"name": name, "keyring": kept}))?;
    Ok(Exit::Done)
}

/// Hidden, from the terminal; or the first line of what is piped in.
fn ask(ctx: &Ctx, name: &str) -> Result<Secret, CliError> {
    if std::io::stdin().is_terminal() {
        ctx.out().flush()?;
        let value = rpassword::prompt_password(format!("Value of {name} (not shown): "))
            .map_err(|e| CliError::no(format!("the value could not be read: {e}")))?;
        return Ok(Secret::new(value));
    }
    let mut text = Zeroizing::new(String::with_capacity(64 * 1024));
    std::io::stdin()
        .lock()
        .take(64 * 1024)
        .read_to_string(&mut text)
        .map_err(|e| CliError::usage(format!("the value could not be read from the pipe: {e}")))?;
    let mut lines = text.lines();
    let value = Secret::new(lines.next().unwrap_or_default());
    if lines.next().is_some() {
        return Err(CliError::usage("the value has more than one line; nothing was kept"));
    }
    Ok(value)
}

fn get(ctx: &Ctx, secrets: &SecretContext, name: &str, reveal: bool) -> Result<Exit, CliError> {
    if ctx.out().stdout_is_terminal() && !reveal {
        return Err(CliError::refused("a terminal is no place for a secret; pipe it on, or say --reveal"));
    }
    let value = match name.split_once(':') {
        Some(_) => secret::resolve(name, secrets)?,
        None => {
            let (value, kept) = keyring::get(bare(name)?, secrets)?;
            ctx.out().note(format!("from {}", kept.word()))?;
            value
        }
    };
    if ctx.out().json() {
        ctx.out().value(&json!({"name": name, "value": value.expose()}))?;
    } else {
        ctx.out().bytes(value.expose().as_bytes())?;
        ctx.out().bytes(b"\n")?;
    }
    Ok(Exit::Done)
}

fn remove(ctx: &Ctx, secrets: &SecretContext, name: &str) -> Result<Exit, CliError> {
    let name = bare(name)?;
    refuse_read_only(ctx)?;
    let gone = keyring::remove(name, secrets)?;
    let words: Vec<_> = gone.iter().map(|k| k.word()).collect();
    ctx.out().line(match words.as_slice() {
        [] => format!("forgot keyring:{name}; its value was gone already"),
        _ => format!("removed keyring:{name} from {}", words.join(" and ")),
    })?;
    ctx.out().value(&json!({"name": name, "removed_from": words}))?;
    Ok(Exit::Done)
}

fn list(ctx: &Ctx, secrets: &SecretContext) -> Result<Exit, CliError> {
    let names = secret::names(secrets)?;
    for n in &names {
        ctx.out().item(n)?;
    }
    if names.is_empty() {
        ctx.out().line("no secrets were set here")?;
        return Ok(Exit::Done);
    }
    let rows: Vec<_> = names
        .iter()
        .map(|n| vec![n.name.clone(), n.keyring.word().to_owned(), n.set_at.strftime("%Y-%m-%d %H:%MZ").to_string()])
        .collect();
    ctx.out().table(&["NAME", "KEYRING", "SET"], &rows)?;
    Ok(Exit::Done)
}

fn refuse_read_only(ctx: &Ctx) -> Result<(), CliError> {
    if ctx.loaded()?.read_only {
        return Err(CliError::refused("read-only: nothing was changed"));
    }
    Ok(())
}
