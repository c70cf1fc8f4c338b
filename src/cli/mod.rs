//! Command line: one file per subcommand.
//!
//! To add a command: a file with `pub struct Args` (derives [`clap::Args`]) and
//! `pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError>`, then one row in [`Command`] and one in
//! [`dispatch`]. A command writes through [`Ctx::out`] only: [`Out::line`] and [`Out::table`] for people,
//! [`Out::value`] (one JSON value) or [`Out::item`] (one NDJSON line each) under `--json`, [`Out::note`] for messages.

pub mod completions;
pub mod config;
pub mod console;
pub mod ctx;
pub mod error;
pub mod out;
pub mod secret;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

pub use ctx::Ctx;
pub use error::{CliError, Exit};
pub use out::Out;

/// The console of a security operations centre, in a terminal.
///
/// Without a subcommand it opens the console on the configured desk.
///
/// Exit status: 0 done; 1 the answer is no; 2 bad usage or configuration; 3 a needed service is unreachable;
/// 4 refused by policy or permission.
#[derive(Debug, Parser)]
#[command(name = "watchfloor", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Global {
    /// Settings file instead of the one in the platform's own place (see `config path`).
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Use the `[profile.NAME]` tables of the settings file.
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Folder of the store, the audit log and the logs.
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// JSON on stdout (NDJSON for lists) and nothing else there; messages go to stderr.
    #[arg(long, global = true)]
    pub json: bool,
    /// No colour, whatever the terminal can do.
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Take no action that changes anything.
    #[arg(long, global = true)]
    pub read_only: bool,
    /// Act as this person. Demo desks only: elsewhere the person is the OS user, taken from the kernel.
    #[arg(long = "as", global = true, value_name = "PERSON")]
    pub as_person: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show, check and explain the settings.
    Config(config::Args),
    /// Keep, fetch and remove secrets in a keyring.
    Secret(secret::Args),
    /// Write a shell's completion script.
    Completions(completions::Args),
    /// Write the manual page (roff).
    Man(completions::ManArgs),
}

fn dispatch(ctx: &Ctx, command: Option<Command>) -> Result<Exit, CliError> {
    match command {
        None => console::run(ctx),
        Some(Command::Config(args)) => config::run(ctx, args),
        Some(Command::Secret(args)) => secret::run(ctx, args),
        Some(Command::Completions(args)) => completions::run(ctx, args),
        Some(Command::Man(args)) => completions::man(ctx, args),
    }
}

/// Parses the arguments (the first is the program's name), runs the command and says how it went.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    run_with(args, Out::std, crate::config::Env::process()).into()
}

/// As [`run`], with the places it writes to and the environment given.
pub fn run_with(
    args: impl IntoIterator<Item = OsString>,
    out: impl FnOnce(bool) -> Out,
    env: crate::config::Env,
) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(e) => return usage(&e, &out(false)),
    };
    let ctx = Ctx::new(cli.global, out, env);
    let result = dispatch(&ctx, cli.command).and_then(|exit| ctx.out().flush().map(|()| exit));
    match result {
        Ok(exit) => exit,
        Err(e) => e.report(ctx.out()),
    }
}

/// `--help` and `--version` are answers, everything else is bad usage.
fn usage(e: &clap::Error, out: &Out) -> Exit {
    let text = e.render().to_string();
    if e.use_stderr() {
        let _ = out.note(text.trim_end());
        return Exit::Usage;
    }
    match out.text(&text).and_then(|()| out.flush()) {
        Ok(()) => Exit::Done,
        Err(e) => e.report(out),
    }
}

/// The whole grammar, for completions, the manual and tests.
pub fn grammar() -> clap::Command {
    Cli::command()
}
